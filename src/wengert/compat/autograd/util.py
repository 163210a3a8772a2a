"""The place of ``autograd.util``: tuples with other elements, and the check of older versions."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from wengert.compat.autograd.test_util import check_grads

__all__ = ["func", "quick_grad_check", "subval", "subvals"]


def subvals(x: Sequence[Any], ivs: Iterable[tuple[int, Any]]) -> tuple[Any, ...]:
    """Return a tuple with other elements at some positions.

    >>> subvals((1, 2, 3), [(0, 5), (2, 6)])
    (5, 2, 6)
    """
    elements = list(x)
    for position, value in ivs:
        elements[position] = value
    return tuple(elements)


def subval(x: Sequence[Any], i: int, v: Any) -> tuple[Any, ...]:
    """Return a tuple with another element at one position.

    >>> subval((1, 2), 0, 5)
    (5, 2)
    """
    return subvals(x, [(i, v)])


def func(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function itself.

    >>> func(len) is len
    True
    """
    return f


def quick_grad_check(
    fun: Callable[..., Any],
    arg0: Any,
    extra_args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    **_tolerances: Any,
) -> None:
    """Check a gradient; deprecated there, `check_grads` takes its place."""
    warnings.warn("quick_grad_check is deprecated: use test_util.check_grads.", DeprecationWarning, stacklevel=2)
    check_grads(lambda x: fun(x, *extra_args, **(kwargs or {})), modes=["rev"], order=1)(arg0)
