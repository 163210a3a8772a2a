"""Conversions: in a package's code, ``float(x)`` and ``np.float64(x)`` of a traced value stay traced.

What Python makes of ``float(x)`` is a plain number, whatever ``__float__`` returns.  So where an installed package,
which its users cannot edit, has just asked for one, the names in that module mean a stand-in of the type while a trace
runs, and the trace starts again.  The stand-in is equal to the type, has its instances and subclasses, and NumPy takes
it for the dtype; only ``kind is float`` tells them apart, and where a module's text says that, no name is changed.

>>> import wengert as wg
>>> converts = _stand_in(float)
>>> isinstance(0.5, converts), converts == float, np.zeros(2, dtype=converts).dtype, converts("1.5")
(True, True, dtype('float64'), 1.5)
>>> wg.grad(lambda x: converts(x) ** 2)(np.float64(3.0))
np.float64(6.0)
"""

from __future__ import annotations

import functools
import linecache
import re
import types
from typing import Any

import numpy as np

from wengert.errors import is_installed
from wengert.primitives.numpy import functions
from wengert.tracing import names
from wengert.tracing.context import threads
from wengert.tracing.tape import PLAIN
from wengert.tracing.traced import Traced, all_constant, as_array, as_scalar, first_traced, join, plain, through

_BUILTIN = {"float": float, "complex": complex}
_OF_NUMPY = {name: getattr(np, name) for name in ("float64", "complex128")}
_TYPES = *_BUILTIN.values(), *_OF_NUMPY.values()


class _Kind(type):
    """The class of the stand-ins for types of numbers."""

    original: Any
    dtype: Any

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if threads.context.tapes:
            args = tuple(map(_number_of, args))
            traced = first_traced((*args, *kwargs.values()))
            if traced is not None and not all_constant((args, kwargs)) and traced.dtype.kind in "fc":
                if cls.original in _BUILTIN.values():
                    cls.original(*plain(args), **plain(kwargs))  # raises what users expect: of two numbers, of text
                return through(traced, _convert, (cls, *args), kwargs)
        return cls.original(*args, **kwargs)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, cls.original)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass.original if isinstance(subclass, _Kind) else subclass, cls.original)

    def __eq__(cls, other: Any) -> bool:
        return other is cls or other is cls.original

    def __hash__(cls) -> int:
        return hash(cls.original)

    def __getattr__(cls, name: str) -> Any:
        return getattr(cls.original, name)

    def __repr__(cls) -> str:
        return repr(cls.original)


def _number_of(value: Any) -> Any:
    """Return the traced number that an object of another class holds, as its method ``__float__`` returns it."""
    if type(value) is Traced or type(value) in PLAIN:
        return value
    method = getattr(type(value), "__float__", None)
    number = method(value) if type(method) is types.FunctionType else None
    return number if type(number) is Traced else value


def _convert(kind: _Kind, value: Any, imaginary: Any = None) -> Any:
    """Return a traced value, or a complex one of two parts, as a number of a kind, or as an array of NumPy's kinds."""
    if imaginary is not None:
        value = value + 1j * imaginary
    array = functions.astype(as_array(join(value)), kind.dtype)
    if kind.original in _BUILTIN.values():
        array = array.reshape(())
    return as_scalar(array) if array.ndim == 0 else array.copy()


@functools.cache
def _stand_in(original: type) -> _Kind:
    """Return what stands in for a type of numbers."""
    kind = _Kind(original.__name__, (), {"original": original, "dtype": np.dtype(original)})
    names.original_of[id(kind)] = original
    return kind


class _Module(types.ModuleType):
    """Stands in for NumPy in one module: it has the stand-ins of types, and whatever else NumPy has at the time."""

    def __init__(self) -> None:
        super().__init__("numpy")
        vars(self).update({name: _stand_in(kind) for name, kind in _OF_NUMPY.items()})

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


_numpy = _Module()
names.original_of[id(_numpy)] = np


@functools.cache
def _tells_apart(file: str, name: str) -> bool:
    """Return whether a module's text may ask ``kind is float``, of a type or of NumPy by the name that it has it by."""
    text = "".join(linecache.getlines(file))
    return not text or re.search(rf"\bis\s+(not\s+)?{name}\b|\b{name}\s+is\b", text) is not None


def rebind_conversions(frame: types.FrameType) -> bool:
    """Let names of types of numbers in a package's module mean their stand-ins; return whether there were any."""
    code, scope = frame.f_code, frame.f_globals
    if not is_installed(code):
        return False
    is_rebound = False
    for name in {*code.co_names, *code.co_freevars}:
        value = scope.get(name)
        stand_in: Any
        if value is np and not _OF_NUMPY.keys().isdisjoint(code.co_names):
            asked, stand_in = rf"{name}\.({'|'.join(_OF_NUMPY)})", _numpy
        elif name not in scope and name in _BUILTIN and frame.f_builtins.get(name) is _BUILTIN[name]:
            asked, stand_in = name, _stand_in(_BUILTIN[name])
        elif any(value is kind for kind in _TYPES):
            asked, stand_in = name, _stand_in(value)
        else:
            continue
        if not _tells_apart(code.co_filename, asked):
            is_rebound = True
            if name in scope:
                names.rebind(scope, name, value, stand_in)
            else:
                names.shadow(scope, name, stand_in)
    return is_rebound
