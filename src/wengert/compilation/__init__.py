"""Compilation: Programs and their sweeps as code, looked up by structure; `jit`, which traces once and then runs code.

Another back end is another printer of `Code`, called by `Branch` (`wengert.compilation.branches`): it makes a function
that returns the result, or what the exit returns by which a decision leaves it.  Signatures, environment and the choice
of a branch stay the same.
"""
