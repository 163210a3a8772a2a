"""Elements: single elements of an array that are read and written, ``y[i] = 0.9 * y[i - 1] + x[i]``.

An array remembers where on the tape the elements stand that have been read or written: what is read once more, or has
been written, is that value again, and takes no row.  A write changes the value of the array in its place, where nobody
else holds it, so that each takes the same time however long the array is.

>>> import numpy as np, wengert as wg
>>> def recursion(x):
...     y = np.zeros(3)
...     for i in range(3):
...         y[i] = 0.5 * y[i - 1] + x[i]
...     return y[2]
>>> wg.grad(recursion)(np.ones(3))
array([0.25, 0.5 , 1.  ])

Programs have every read and write as a line, and so have traces whose rows are counted to plan an order.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from wengert.primitives.numpy.structural import getitem, setitem
from wengert.program import SMALL, Shaped
from wengert.tracing.tape import FLOAT64
from wengert.tracing.traced import Elements, Traced
from wengert.tracing.views import relaid

_getframe, _getrefcount = sys._getframe, sys.getrefcount
ndarray, float64 = np.ndarray, np.float64


def read_element(array: Traced, index: tuple[int, ...]) -> Any:
    """Return an element of an array, None if this is left to a row like any other; the user's code is two frames up."""
    value, tape = array._value, array._tape
    if type(value) is not ndarray or value.dtype is not FLOAT64 or not tape.open or not _are_noted(tape):
        return None
    y = value[index]
    if type(y) is not float64:
        return None
    if array._index < 0:
        return y
    elements = array._elements
    if elements is None:
        stand_in = value if value.size <= SMALL else Shaped(value.shape, FLOAT64)
        elements = array._elements = Elements(array._index, stand_in)
    key = _key(index, value.shape)
    position = elements.positions.get(key)
    if position is None:
        if elements.position < 0:
            return y
        place = tape.context.place
        if place is None:
            frame = _getframe(2)
            place = (frame.f_code, frame.f_lasti)
        elements.positions[key] = position = tape.size
        tape.size = position + 1
        params: Mapping[str, Any] = {"index": index}
        tape.rows.append((getitem, (elements.position,), (y, elements.stand_in), params, place, position))
        if position >= tape.full:
            tape.fold()
    return Traced(y, tape, position) if position >= 0 else y


def write_element(array: Traced, index: tuple[int, ...], value: Any) -> bool:
    """Write a number to an element of an array; return False if this is left to `assignment`."""
    tape, kind = array._tape, type(value)
    if kind is Traced:
        part, parent = value._value, value._index
        if type(part) is not float64 or value._tape is not tape:
            return False
    elif kind is float or kind is float64 or kind is int:
        part, parent = float64(value), -1
    else:
        return False
    elements = array._elements
    if elements is None or not elements.written:
        if not _may_be_written(array):
            return False
        elements = array._elements = _begun(array)
    frozen = tape.context.frozen
    if not tape.open or (frozen is not None and tape in frozen) or len(index) != array._value.ndim:
        return False
    if _getrefcount(array._value) > 2:  # of the attribute and of the argument itself
        array._value = relaid(array._value.copy("K"), array._value)
    base: Any = elements.stand_in
    if parent >= 0 and array._index < 0 and tape.keep_all:  # the constant that a line is to read
        base = array._value.copy("K")
    array._value[index] = part
    elements.positions[_key(index, array._value.shape)] = parent
    if parent >= 0 or array._index >= 0:
        place = tape.context.place
        if place is None:
            frame = _getframe(2)
            place = (frame.f_code, frame.f_lasti)
        out = tape.size
        tape.size = out + 1
        shape = elements.stand_in
        tape.rows.append((setitem, (parent, array._index), (shape, part, base), {"index": index}, place, out))
        array._index = out
        if out >= tape.full:
            tape.fold()
    return True


def _are_noted(tape: Any) -> bool:
    """Return whether elements are noted on a tape: it is for one sweep, or folded."""
    return not tape.planned if not tape.keep_all else tape.folds is not None


def _may_be_written(array: Traced) -> bool:
    """Return whether writes to elements may be noted beside an array: it is no view and has none."""
    value, tape = array._value, array._tape
    if type(value) is not ndarray or value.dtype is not FLOAT64 or not _are_noted(tape):
        return False
    return not hasattr(array, "_link") and all(reference() is None for reference in getattr(array, "_views", ()))


def _begun(array: Traced) -> Elements:
    """Return the elements of an array that is written to from now on: no row holds its value."""
    value = array._value
    elements = Elements(array._index, Shaped(value.shape, FLOAT64), written=True)
    if array._elements is not None:
        elements.positions = array._elements.positions
    if not value.flags.owndata or not value.flags.writeable:
        array._value = relaid(value.copy("K"), value)
    return elements


def _key(index: tuple[int, ...], shape: tuple[int, ...]) -> Any:
    """Return the key of an element: its place from the beginning, a number in an array of one axis."""
    if len(index) == 1:
        (k,) = index
        return k if k >= 0 else k + shape[0]
    return index if min(index) >= 0 else tuple([k if k >= 0 else k + n for k, n in zip(index, shape, strict=True)])
