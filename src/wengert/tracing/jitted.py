"""Jitted: a function that Numba has compiled runs as Python where an argument is traced.

Compiled code takes the memory of arrays, and there is none.  Numba keeps the function that it was given, ``py_func``:
once a call of compiled code has failed, calls of Numba's functions are caught while a trace runs, and it starts again.

>>> caught()
False
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from wengert.tracing import names
from wengert.tracing.context import threads
from wengert.tracing.traced import Traced, all_constant, first_traced, innermost

_MODULE, _CLASS = "numba.core.dispatcher", "Dispatcher"
"""The class of Numba's functions."""
_caught: set[type] = set()


def caught() -> bool:
    """Return whether calls of Numba's functions are caught from now on: Numba is there, and they were not before."""
    kind = getattr(sys.modules.get(_MODULE), _CLASS, None)
    if kind is None or kind in _caught:
        return False
    _caught.add(kind)
    names.set_attribute(kind, "__call__", _patch_call(kind.__call__))
    return True


def _patch_call(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not threads.context.tapes or first_traced((*args, *kwargs.values())) is None:
            return original(self, *args, **kwargs)
        if all_constant((args, kwargs)):
            return _on_copies(functools.partial(original, self), args, kwargs)
        return self.py_func(*args, **kwargs)

    return call


def _on_copies(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Call compiled code on the arrays that constants are, and write into these what it has written."""
    copies: list[tuple[Traced, Any]] = []

    def copied(value: Any) -> Any:
        if type(value) is Traced:
            copies.append((value, np.copy(innermost(value), "K")[()]))
            return copies[-1][1]
        return type(value)(map(copied, value)) if type(value) in (list, tuple) else value

    result = function(*copied(args), **dict(zip(kwargs, copied(list(kwargs.values())), strict=True)))
    for constant, array in copies:
        if not np.array_equal(innermost(constant), array, equal_nan=True):
            constant[...] = array  # type: ignore[index]
    return result
