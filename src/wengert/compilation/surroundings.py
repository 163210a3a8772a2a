"""Surroundings: the values that a user's function reads beside its arguments, as a key.

Code that was recorded from a run of a function is valid as long as another run would do the same: while its globals,
the variables it closes over, and those of the functions that it calls are unchanged.

>>> scale = 2.0
>>> def rule(y, x):
...     return scale * y
>>> rule.__globals__.update(scale=scale)
>>> before = surroundings_of(rule)
>>> before == surroundings_of(rule)
True
>>> rule.__globals__.update(scale=3.0)
>>> before == surroundings_of(rule)
False
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from wengert.errors import LIBRARIES
from wengert.program import Primitive
from wengert.program.structure import exactly

_LONGEST = 64
"""The number of elements up to which arrays are compared; a function that reads a longer one has no key."""


def surroundings_of(function: Callable[..., Any]) -> Hashable | None:
    """Return a key that changes if the values that a function reads change; None if that cannot be guaranteed.

    The contents of wengert, NumPy, SciPy and the standard library do not change.
    """
    seen: set[int] = set()
    try:
        return tuple(_parts_of(function, seen))
    except (TypeError, ValueError):  # an unsupported value, or a variable without a value yet
        return None


def is_settled(function: Callable[..., Any]) -> bool:
    """Return whether a function belongs to wengert, NumPy or SciPy, and so reads nothing that may change."""
    code = getattr(function, "__code__", None)
    return code is not None and code.co_filename.startswith(LIBRARIES)


def _parts_of(value: Any, seen: set[int]) -> Iterator[Hashable]:
    if id(value) in seen:
        return
    if isinstance(value, FunctionType):
        yield value
        seen.add(id(value))
        if is_settled(value):
            return
        for cell in value.__closure__ or ():
            yield from _parts_of(cell.cell_contents, seen)
        for default in (*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()):
            yield from _parts_of(default, seen)
        for name in [name for code in with_inner(value.__code__) for name in code.co_names]:
            if name in value.__globals__:
                yield name
                yield from _parts_of(value.__globals__[name], seen)
    elif isinstance(value, ModuleType):
        origin = getattr(value, "__file__", None)
        name = value.__name__.split(".", 1)[0]
        if name not in sys.stdlib_module_names and not (origin or "").startswith(LIBRARIES):
            raise TypeError(f"what the module {value.__name__} holds may change")
        yield value.__name__
    elif isinstance(value, (BuiltinFunctionType, np.ufunc, Primitive)) or _is_class_of_a_library(value):
        yield value
    else:
        yield exactly(value, _LONGEST)


def _is_class_of_a_library(value: Any) -> bool:
    return isinstance(value, type) and value.__module__.split(".", 1)[0] in _SETTLED


_SETTLED = frozenset({"builtins", "numpy", "scipy", "wengert"})


def with_inner(code: CodeType) -> Iterator[CodeType]:
    """Yield the code of a function and of the functions written inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from with_inner(constant)
