"""State: what a body reads besides its arguments and may change itself, a list, an iterator, a random generator.

Two steps that wrote the same rows say nothing of the next ones if the body keeps state, as ``next(weights)`` does.  So
the objects that it reaches, by its closure, its globals and its defaults, are compared before the first step and after
the second.

>>> seen = []
>>> before = reached_state(seen.append)
>>> same_state(before, reached_state(seen.append))
True
>>> seen.append(1)
>>> same_state(before, reached_state(seen.append))
False
"""

from __future__ import annotations

import collections
import functools
import random
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from wengert.compilation.environment import is_empty, progress_of, with_inner
from wengert.program import Recordable
from wengert.tracing import Traced

Function = Callable[..., Any]
OBJECTS = 2000
"""So many objects are looked at, at most."""
ELEMENTS = 1000
"""The elements of larger containers and arrays are not looked at: no more than their number."""
_VALUES = (int, float, complex, str, bytes, bool, type(None), np.generic)
_WITHOUT_STATE = (*_VALUES, Recordable, type)
_KINDS_WITHOUT_STATE = frozenset({*_VALUES, np.float64, np.int64, np.bool_, np.ufunc, types.ModuleType, Traced})
"""The most frequent types of objects that hold nothing, which are told at once."""
_CONTAINERS = (list, tuple, set, frozenset, collections.deque)
_LIBRARIES = frozenset({"numpy", "scipy", "wengert", "builtins", "jax", "autograd", "optree"})


def reached_state(*functions: Function) -> list[tuple[Any, Any]]:
    """Return the objects that functions reach, each with what it holds."""
    state: list[tuple[Any, Any]] = []
    met: set[int] = set()
    pending: list[Any] = list(functions)
    while pending and len(state) < OBJECTS:
        value = pending.pop()
        if type(value) in _KINDS_WITHOUT_STATE or id(value) in met or isinstance(value, _WITHOUT_STATE):
            continue
        met.add(id(value))
        if isinstance(value, (types.MethodType, types.BuiltinMethodType)):  # each access makes another object of it
            pending.extend((value.__self__, getattr(value, "__func__", None)))
            continue
        held = _held_by(value)
        if held is not None:
            state.append((value, held))
            if type(held) is tuple:
                pending.extend(held)
    return state


def same_state(before: list[tuple[Any, Any]], after: list[tuple[Any, Any]]) -> bool:
    """Return whether the same objects were reached, and hold what they did."""
    return len(before) == len(after) and all(
        a is b and _same(held, now) for (a, held), (b, now) in zip(before, after, strict=True)
    )


def _same(held: Any, now: Any) -> bool:
    if type(held) is not tuple or type(now) is not tuple:
        return bool(held == now)
    return len(held) == len(now) and all(
        a is b or (type(a) is type(b) and isinstance(a, _VALUES) and bool(a == b or (a != a and b != b)))
        for a, b in zip(held, now, strict=True)
    )


def _held_by(value: Any) -> Any:
    """Return what an object holds: a tuple of other objects, or bytes and numbers; None where it has no state."""
    if isinstance(value, types.FunctionType):
        return tuple(_read_by(value)) if not _is_of_library(value.__module__) else None
    if isinstance(value, np.ndarray):
        return value.tobytes() if value.size <= ELEMENTS and value.dtype != object else None
    if isinstance(value, functools.partial):
        return value.func, *value.args, *value.keywords.values()
    if isinstance(value, dict):
        return (*value, *value.values()) if len(value) <= ELEMENTS else len(value)
    if isinstance(value, _CONTAINERS):
        return tuple(value) if len(value) <= ELEMENTS else len(value)
    if isinstance(value, (np.random.Generator, np.random.RandomState, random.Random)):
        return [progress_of(value)]  # in no tuple, which would be taken for other objects
    if isinstance(value, Iterator):
        return object()  # what it gives next cannot be asked without taking it
    if isinstance(value, types.ModuleType):
        return None
    attributes = getattr(value, "__dict__", {})
    if "__wrapped__" in attributes:
        return (attributes["__wrapped__"],)
    if _is_of_library(type(value).__module__):
        return None
    slots = [slot for kind in type(value).__mro__ for slot in vars(kind).values() if type(slot) is _SLOT]
    held = [slot.__get__(value) for slot in slots if hasattr(value, slot.__name__)]
    calls = [vars(kind)["__call__"] for kind in type(value).__mro__ if "__call__" in vars(kind)]
    return (*held, *attributes.values(), *calls)


_SLOT = types.MemberDescriptorType


def _is_of_library(module: str | None) -> bool:
    return (module or "").partition(".")[0] in _LIBRARIES


def _read_by(function: types.FunctionType) -> Iterator[Any]:
    """Go through what a function reads besides its arguments."""
    for cell in function.__closure__ or ():
        yield None if is_empty(cell) else cell.cell_contents
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    yield from function.__dict__.values()
    names = _names_in(function.__code__)
    for name in names:
        value = function.__globals__.get(name)
        yield value
        if isinstance(value, types.ModuleType):
            yield from _read_of(value, names)


def _read_of(module: types.ModuleType, names: tuple[str, ...]) -> Iterator[Any]:
    """Go through what names say of a module and of its modules: ``np.random.normal`` belongs to a generator."""
    for name in names:
        value = vars(module).get(name)
        if isinstance(value, types.ModuleType):
            if value is not module:
                yield from (vars(value).get(inner) for inner in names)
        else:
            yield value


@functools.lru_cache(maxsize=1024)
def _names_in(code: types.CodeType) -> tuple[str, ...]:
    """Return the names of globals and attributes in a function and in those that it defines."""
    return tuple(dict.fromkeys(name for inner in with_inner(code) for name in inner.co_names))
