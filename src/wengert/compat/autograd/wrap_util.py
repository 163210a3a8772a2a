"""The place of ``autograd.wrap_util``: operators on functions of one argument become operators on an argument chosen.

>>> @unary_to_nary
... def double_at(fun, x):
...     return 2 * fun(x)
>>> double_at(lambda a, b: a - b, 1)(5.0, 3.0)
4.0
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from wengert.compat.autograd.differential_operators import Argnum, of_chosen_argument

__all__ = ["get_name", "unary_to_nary", "wraps"]

wraps = functools.wraps


def unary_to_nary(unary_operator: Callable[..., Any]) -> Callable[..., Any]:
    """Make of ``operator(fun, x)`` an operator ``(fun, argnum)`` that returns a function of all arguments of `fun`."""

    @functools.wraps(unary_operator)
    def nary_operator(fun: Callable[..., Any], argnum: Argnum = 0, *options: Any, **named: Any) -> Callable[..., Any]:
        @functools.wraps(fun)
        def applied(*args: Any, **kwargs: Any) -> Any:
            return unary_operator(*of_chosen_argument(fun, argnum, args, kwargs), *options, **named)

        return applied

    return nary_operator


def get_name(f: Any) -> str:
    """Return the name of a function.

    >>> get_name(get_name)
    'get_name'
    """
    return getattr(f, "__name__", "[unknown name]")
