"""Batching: a function over an axis of its arguments.

- `vmap`: the transformation, and a rule for each kind of primitive;
- `loops`: loops, branches and checkpoints for all members of a batch at once.
"""

from wengert.batching.vmap import vmap

__all__ = ["vmap"]
