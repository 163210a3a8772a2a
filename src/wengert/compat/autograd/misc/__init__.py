"""The place of ``autograd.misc``: `flatten`, and optimizers."""

from wengert.compat.autograd.misc.flatten import flatten

__all__ = ["flatten"]
