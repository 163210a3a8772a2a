"""Lists: NumPy's functions that are called with lists of traced values, ``np.vstack([[a, b], [c, d]])``.

NumPy's protocols ask arguments, and not what is in lists of lists: it would make an array of objects, the dtype of
which is another, so that code that reads it takes another branch.  Where a function asks a traced value in a list for
an array, its names are bound to a wrapper (see `names`) that joins such lists first, and the trace starts again.

>>> import wengert as wg
>>> def f(x):
...     a = np.vstack([[x[0], 1.0], [0.0, x[1]]])
...     return np.linalg.det(a) if a.dtype == float else 0.0
>>> wg.grad(f)(np.array([2.0, 3.0]))
array([3., 2.])
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from types import CodeType, FrameType, ModuleType
from typing import Any

import numpy as np

from wengert.errors import LIBRARIES
from wengert.tracing import names
from wengert.tracing.context import threads
from wengert.tracing.flat import Flat, as_arrays
from wengert.tracing.results import finish
from wengert.tracing.tape import PLAIN
from wengert.tracing.traced import Traced, first_traced, holds_traced, join, through
from wengert.tracing.unsupported import called

NUMPY = os.path.dirname(os.path.abspath(np.__file__)) + os.sep
"""The folder of NumPy's modules."""
_HOMES: tuple[ModuleType, ...] = (np, np.linalg, np.fft)
"""The modules that users call NumPy's functions from."""
_OF_ARRAYS = frozenset({
    np.concatenate, np.stack, np.vstack, np.hstack, np.dstack, np.column_stack, np.select, np.linalg.multi_dot,
    np.choose, np.lexsort, np.broadcast_arrays,
})  # fmt: skip
"""Functions that take a sequence of arrays, in which each may be a list."""
_NOT_JOINED = frozenset({np.copyto, np.put, np.putmask, np.place, np.fill_diagonal, np.put_along_axis, np.block})
"""Functions that write into a plain array, or that take a list for what it is."""


def array_of(value: Any) -> Traced | None:
    """Return the traced array that an object stands for by its method ``__array__``; NumPy wants a plain one of it."""
    kind = type(value)
    if (
        kind in (Traced, Flat)
        or kind in PLAIN
        or issubclass(kind, (type, np.ndarray))
        or not hasattr(kind, "__array__")
    ):
        return None
    array = value.__array__()
    return array if type(array) is Traced else None


class Joining:
    """A function of NumPy's that joins lists of traced values first; in all else it is that function.

    It asks objects with a method ``__array__``, too, for the traced array that they stand for.
    """

    def __init__(self, function: Any) -> None:
        self._function = function
        self._takes_arrays = function in _OF_ARRAYS

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._function)

    def __eq__(self, other: object) -> bool:
        return bool(self._function == other)

    def __hash__(self) -> int:
        return hash(self._function)

    def __repr__(self) -> str:
        return repr(self._function)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._function, name)
        return functools.partial(self._call, value) if name in _METHODS and callable(value) else value

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(self._function, *args, **kwargs)

    def _call(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        if not threads.context.tapes:
            return function(*args, **kwargs)
        args = tuple([value if (array := array_of(value)) is None else array for value in args])
        values = [value for value in (*args, *kwargs.values()) if type(value) in (list, tuple, Traced)]
        if (traced := first_traced(values)) is not None:
            args = tuple(map(self._joined, args))
            kwargs = {name: self._joined(value) for name, value in kwargs.items()}
            return finish(function, args, kwargs, through(traced, function, args, kwargs, 3))
        return function(*args, **kwargs)

    def _joined(self, value: Any) -> Any:
        if type(value) not in (list, tuple) or not holds_traced(value):
            return value
        value = as_arrays(value)
        return type(value)(map(join, value)) if self._takes_arrays else join(value)


_METHODS = frozenset({"accumulate", "outer", "reduce", "reduceat"})


def join_lists(frame: FrameType) -> None:
    """Bind the names of the function that asks for an array to one that joins lists, and start the trace again.

    `frame` is that which asks: of the user's code, or of NumPy's where the function is written in Python.
    """
    inner = None
    user: FrameType | None = frame
    while user is not None and user.f_code.co_filename.startswith(NUMPY):
        inner, user = user, user.f_back
    if user is None or user.f_code.co_filename.startswith(LIBRARIES):
        return
    function = called(user) if inner is None else _publics().get(inner.f_code)
    function = getattr(function, "__self__", None) if type(function) is _Method else function
    if inner is not None or type(function) in _COMPILED:
        functions = [function]
    elif function is None:  # the source is not known
        functions = [scope.get(name) for scope, candidates in names.scopes_of(user) for name in candidates]
    else:
        return
    is_bound = [_bind(f, user) for f in functions if inner is not None or type(f) in _COMPILED]
    if any(is_bound):
        names.restart()


def _bind(function: Any, user: FrameType) -> bool:
    """Bind the names of a function of NumPy's that users call to one that joins lists; return whether there were any.

    Those are names in NumPy's modules, and in the code that calls it.
    """
    if function is None or function in _NOT_JOINED:
        return False
    scopes = [(scope, list(scope)) for scope in map(vars, _HOMES)]
    places = [
        (scope, name)
        for scope, candidates in (*scopes, *names.scopes_of(user))
        for name in candidates
        if scope.get(name) is function and scope is not user.f_locals
    ]
    if places and id(function) not in names.wrapper_of:
        names.enter(function, Joining(function))
    for scope, name in places:
        names.rebind(scope, name, function, names.wrapper_of[id(function)][1])
    return bool(places)


_Method = type(np.add.reduce)
_COMPILED = frozenset({np.ufunc, type(np.concatenate)})
"""The types of functions that ask in compiled code, and have no frame of their own."""


@functools.cache
def _publics() -> dict[CodeType, Any]:
    """Return NumPy's functions that are written in Python, by the code of them."""
    functions = [function for home in _HOMES for function in vars(home).values()]
    codes = [getattr(getattr(function, "__wrapped__", function), "__code__", None) for function in functions]
    return {code: f for code, f in zip(codes, functions, strict=True) if isinstance(code, CodeType)}
