"""Compilation: Programs and their sweeps as code, looked up by structure; `jit`, which traces once and then runs code.

Another back end is another way to write a `Branch` (`wengert.compilation.branches`): it takes the Program of a branch,
and returns a function of the same values that returns the results, or the `Exit` by which a decision leaves it.
Signatures, environment and the choice of a branch stay as they are.
"""
