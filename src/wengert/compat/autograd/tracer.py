"""The place of ``autograd.tracer``."""

from __future__ import annotations

from typing import Any

from wengert.compat.autograd.extend import notrace_primitive, primitive
from wengert.tracing import Traced, innermost

__all__ = ["getval", "isbox", "notrace_primitive", "primitive"]


def getval(x: Any) -> Any:
    """Return the plain value that a traced one stands for.

    >>> getval(2.0)
    2.0
    """
    return innermost(x)


def isbox(x: Any) -> bool:
    """Return whether a value is traced.

    >>> isbox(2.0)
    False
    """
    return type(x) is Traced
