"""Vectorcall: classes whose objects CPython calls by a function of machine code, once they have one.

CPython calls an object of such a class by the address that it holds (PEP 590), without a frame, a tuple of arguments or
a look-up of ``__call__``; while there is no address, ``__call__`` runs.  The class is a subclass, made by Python's own
C API, with two words more: that address, and one of a record for the function to read.

>>> @with_vectorcall
... class Doubling:
...     def __call__(self, x):
...         return 2 * x
>>> Doubling()(3), Doubling.__name__, len(Doubling.__mro__) - 2 == is_possible()
(6, 'Doubling', True)
"""

from __future__ import annotations

import ctypes
import functools
import sys
from typing import Any, TypeVar

Class = TypeVar("Class", bound=type)

_HAS_VECTORCALL, _IS_BASE = 1 << 11, 1 << 10
_MEMBERS, _SIZE, _READ_ONLY = 72, 19, 1
"""The number of a class's slot of members, the type of a member that is a size, and that it is not set."""


@functools.cache
def is_possible() -> bool:
    """Return whether objects are laid out as CPython does on 64 bits with its lock."""
    return (
        sys.implementation.name == "cpython"
        and sys.maxsize == 2**63 - 1
        and sys.platform == "linux"
        and "t" not in sys.abiflags
    )


class _Member(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("type", ctypes.c_int), ("offset", ctypes.c_ssize_t),
                ("flags", ctypes.c_int), ("documentation", ctypes.c_char_p))  # fmt: skip


class _Slot(ctypes.Structure):
    _fields_ = (("number", ctypes.c_int), ("value", ctypes.c_void_p))


class _Class(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("size", ctypes.c_int), ("item_size", ctypes.c_int),
                ("flags", ctypes.c_uint), ("slots", ctypes.c_void_p))  # fmt: skip


_described: list[Any] = []
"""What classes were made of; older versions of CPython point to it."""


def with_vectorcall(cls: Class) -> Class:
    """Return a class with room for the address of a function; the class itself where that is not possible."""
    if not is_possible():
        return cls
    members = (_Member * 2)(_Member(b"__vectorcalloffset__", _SIZE, cls.__basicsize__, _READ_ONLY, None))
    slots = (_Slot * 2)(_Slot(_MEMBERS, ctypes.addressof(members)))
    name = f"{cls.__module__}.{cls.__qualname__}".encode()
    size = cls.__basicsize__ + 2 * ctypes.sizeof(ctypes.c_void_p)
    described = _Class(name, size, 0, _HAS_VECTORCALL | _IS_BASE, ctypes.addressof(slots))
    _described.append((members, slots, described))
    make = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object)(
        ("PyType_FromSpecWithBases", ctypes.pythonapi)
    )
    made: Class = make(ctypes.addressof(described), (cls,))
    made.__doc__, made.__qualname__ = vars(cls)["__doc__"], cls.__qualname__
    return made


def attach(called: Any, function: int, record: int) -> None:
    """Let an object be called by the function at an address, which reads a record; both live as long as the object."""
    first = id(called) + type(called).__basicsize__ - 2 * ctypes.sizeof(ctypes.c_void_p)
    ctypes.c_void_p.from_address(first + ctypes.sizeof(ctypes.c_void_p)).value = record
    ctypes.c_void_p.from_address(first).value = function
