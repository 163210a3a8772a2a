"""The place of ``autograd.builtins``: containers are Python's own, and traced values are of the types they stand for.

>>> from wengert.compat.autograd import grad
>>> def f(x):
...     return float(isinstance(x, float)) + dict(a=x)["a"] ** 2
>>> float(grad(f)(3.0))
6.0
"""

# ruff: noqa: A001, A004 - autograd's own names
from __future__ import annotations

import builtins
from builtins import dict, list, tuple  # noqa: UP029 - to be imported from here
from typing import Any

import numpy

from wengert.tracing import innermost

__all__ = ["dict", "isinstance", "list", "tuple", "type"]


def type(value: Any) -> Any:
    """Return the type of a value; of a traced one, that of what it stands for."""
    return builtins.type(innermost(value))


def isinstance(value: Any, kinds: Any) -> bool:
    """Return whether a value is of one of the types; a traced one counts as the value it stands for.

    >>> isinstance(1.0, (float, int))
    True
    """
    value = innermost(value)
    if builtins.isinstance(value, numpy.float64) and kinds is numpy.ndarray:
        return False
    return builtins.isinstance(value, kinds)
