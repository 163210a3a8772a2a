"""Layout: where CPython and NumPy keep what machine code reads of objects, and the functions of theirs that it calls.

The offsets are those of NumPy 2 and of CPython's headers; `fits` compares them with what objects hold here, once.

>>> fits() or not is_available()
True
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import numpy as np

from wengert.compilation.native.engine import address_of, is_available
from wengert.compilation.native.vectorcall import is_possible, with_vectorcall

TYPE, CONTENT, ITEMS = 8, 16, 24
"""Offsets in an object: of its type; of the size of a container, the value of a float, the content of a cell, the data
of an array; of the items of a tuple, and of the address of those of a list."""
DATA, NDIM, SHAPE, DTYPE, FLAGS = 16, 24, 32, 56, 64
"""Offsets in an array."""
VECTORCALL = 56
"""Offset in a class, of that of the address by which its objects are called."""
CONTIGUOUS, ALIGNED, WRITEABLE = 0x1, 0x100, 0x400
"""Flags of arrays."""
NEW, SCALAR = 94, 60
"""Entries of NumPy's table of functions: `PyArray_NewFromDescr`, `PyArray_Scalar`."""


def word_at(address: int, kind: Any = ctypes.c_void_p) -> Any:
    """Return the word at an address: an address itself, or of another kind; None where it is zero."""
    return kind.from_address(address).value


def numpy_function(entry: int) -> int:
    """Return the address of a function in NumPy's table."""
    return int(word_at(_table() + 8 * entry))


def _table() -> int:
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return int(pointer(np._core._multiarray_umath._ARRAY_API, None))  # type: ignore[attr-defined]


@functools.cache
def fits() -> bool:
    """Return whether objects and NumPy's table of functions are laid out as machine code reads them."""
    if not is_available() or not is_possible():
        return False
    try:
        return _objects_fit() and _arrays_fit() and _functions_fit()
    except (AttributeError, ValueError, TypeError, ctypes.ArgumentError):
        return False


@with_vectorcall
class _Called:
    __slots__ = ()

    def __call__(self) -> None: ...


def _objects_fit() -> bool:
    for number in (3.25, np.float64(-0.5)):
        value = word_at(id(number) + CONTENT, ctypes.c_double)
        if word_at(id(number) + TYPE) != id(type(number)) or value != float(number):
            return False
    content = [object(), object()]
    items = tuple(content)
    cell = (lambda: content).__closure__[0]  # type: ignore[index]
    return bool(
        word_at(id(content) + CONTENT, ctypes.c_ssize_t) == word_at(id(items) + CONTENT, ctypes.c_ssize_t) == 2
        and word_at(word_at(id(content) + ITEMS) + 8) == word_at(id(items) + ITEMS + 8) == id(content[1])
        and word_at(id(cell) + CONTENT) == id(content)
        and word_at(id(_Called) + VECTORCALL) == _Called.__basicsize__ - 16
    )


def _arrays_fit() -> bool:
    base = np.arange(24.0)
    frozen = base.copy()
    frozen.flags.writeable = False
    shifted = np.frombuffer(bytes(33), np.uint8)[1:].view(float) if np.little_endian else base
    samples = (base, base.reshape(2, 3, 4), base.reshape(4, 6).T, base[::2], frozen, shifted, np.array(1.5), base[:0])
    return all(map(_array_fits, samples))


def _array_fits(array: np.ndarray[Any, Any]) -> bool:
    start = id(array)
    flags = word_at(start + FLAGS, ctypes.c_int)
    lengths = word_at(start + SHAPE)
    return bool(
        word_at(start + TYPE) == id(np.ndarray)
        and word_at(start + DATA) == array.ctypes.data
        and word_at(start + NDIM, ctypes.c_int) == array.ndim
        and tuple([word_at(lengths + 8 * k, ctypes.c_ssize_t) for k in range(array.ndim)]) == array.shape
        and word_at(start + DTYPE) == id(np.dtype(float))
        and (flags & CONTIGUOUS, flags & 0x2, flags & ALIGNED, flags & WRITEABLE)
        == (array.flags.c_contiguous, 2 * array.flags.f_contiguous, ALIGNED * array.flags.aligned,
            WRITEABLE * array.flags.writeable)
    )  # fmt: skip


def _functions_fit() -> bool:
    table = _table()
    entries = {2: np.ndarray, 3: np.dtype, 31: np.float64}
    if any(word_at(table + 8 * k) != id(cls) for k, cls in entries.items()):
        return False
    version = ctypes.CFUNCTYPE(ctypes.c_uint)(word_at(table))()
    if version >> 24 != 2:
        return False
    new = ctypes.PYFUNCTYPE(
        ctypes.py_object, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_ssize_t),
        ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p,
    )(numpy_function(NEW))  # fmt: skip
    dtype = np.dtype(float)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(dtype))  # the array takes it over
    array = new(id(np.ndarray), id(dtype), 2, (ctypes.c_ssize_t * 2)(3, 5), None, None, 0, None)
    scalar = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)(
        numpy_function(SCALAR)
    )
    number = scalar(ctypes.addressof(ctypes.c_double(2.5)), dtype, None)
    return (type(array), array.shape, array.dtype, array.flags.carray) == (np.ndarray, (3, 5), dtype, True) and (
        type(number),
        float(number),
    ) == (np.float64, 2.5)


@functools.cache
def generic_dict() -> Any:
    """Return the function of Python's that returns the ``__dict__`` of an object, whatever its class says of it."""
    return ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object, ctypes.c_void_p)(
        ("PyObject_GenericGetDict", ctypes.pythonapi)
    )


def addresses(symbols: Any) -> dict[str, int]:
    """Return the addresses of functions of Python's, of NumPy's and of the C library's; of those that are there."""
    numpy = {"PyArray_NewFromDescr": NEW, "PyArray_Scalar": SCALAR}
    pairs = {name: numpy_function(numpy[name]) if name in numpy else address_of(name) for name in symbols}
    return {name: address for name, address in pairs.items() if address}
