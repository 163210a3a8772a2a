"""Products: matrices multiplied by the BLAS that SciPy has, as commands of a sequence, without copies.

BLAS takes matrices by columns.  A matrix by rows is one by columns, transposed: so the transpose of the product is
computed, of the transposes, and each operand says by a letter how it lies in memory.  An operand whose elements are
side by side in neither direction has to be copied first.

>>> a, b = View(_NOWHERE, 0, (3, 1), (2, 3)), View(_NOWHERE, 0, (1, 3), (3, 4))  # by rows, by columns
>>> (call,) = calls(a, b)
>>> call.routine, call.extents[:5], call.extents[6:8], call.extents[9]
('wengert_gemm', (84, 78, 4, 2, 3), (3, 3), 4)
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import math
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wengert.compilation.native.engine import Compiled as Code
from wengert.compilation.native.engine import compile_texts
from wengert.compilation.native.expressions import View
from wengert.compilation.native.loops import Buffer, row_major

MOST_CALLS = 256
"""The largest number of calls for one stack of products."""
_ONE: Mapping[str, int] = {kind: struct.unpack("<q", struct.pack(f"<{kind}", 1.0).ljust(8, b"\0"))[0] for kind in "df"}
_PLAIN, _TRANSPOSED = map(ord, "NT")
_NOWHERE = Buffer("", 0, "")


class BlasCall(NamedTuple):
    """A call of BLAS.

    Attributes
    ----------
    routine, kind
        The function in `products.ll`, and the kind of numbers that it multiplies.
    extents
        What it takes beside addresses.
    operands
        Which operands of the product it takes, in its order: 0 for the left one, 1 for the right one.
    offsets
        Where left operand, right operand and result begin, in elements.
    """

    routine: str
    kind: str
    extents: tuple[int, ...]
    operands: tuple[int, int]
    offsets: tuple[int, int, int]


class NotSideBySideError(Exception):
    """An operand has to be copied: 0 for the left one, 1 for the right one."""

    def __init__(self, operand: int) -> None:
        self.operand = operand


def calls(left: View, right: View) -> list[BlasCall] | None:
    """Return the calls for a product of matrices, or of stacks of them, whose result is by rows.

    None if there would be too many.  Raise `NotSideBySideError` for an operand that BLAS does not take.
    """
    (m, k), n = left.shape[-2:], right.shape[-1]
    stack = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    steps = [_steps(view, len(stack)) for view in (left, right)]
    if stack and not any(steps[1]):  # the same right operand for all: the rows of the left ones are one matrix, perhaps
        along = [
            (size, step) for size, step in zip((*stack, m), (*steps[0], left.strides[-2]), strict=True) if size > 1
        ]
        if all(step == inner * size for (_, step), (size, inner) in itertools.pairwise(along)):
            m, stack, steps = m * math.prod(stack), (), [(), ()]
            rows = along[-1][1] if along else 0
            left = View(left.buffer, left.offset, (rows, left.strides[-1]), (m, k))
    if math.prod(stack[:-1]) > MOST_CALLS:
        return None
    y_steps = row_major((*stack, m, n))[: len(stack)]
    inner = [s[-1] if s else 0 for s in (*steps, y_steps)]
    make, kind = _of_vector if 1 in (m, n) else _of_matrices, left.buffer.dtype
    routine, extents, operands = make(left, right, (m, n, k))
    size = np.dtype(kind).itemsize
    batch = (stack[-1] if stack else 1, *[size * inner[operand] for operand in operands], size * inner[2])
    products = []
    for place in itertools.product(*map(range, stack[:-1])):
        offsets = [sum(i * s for i, s in zip(place, along, strict=False)) for along in (*steps, y_steps)]
        starts = left.offset + offsets[0], right.offset + offsets[1], offsets[2]
        products.append(BlasCall(routine, kind, (*extents, *batch), operands, starts))
    return products


def _of_matrices(left: View, right: View, sizes: tuple[int, int, int]) -> tuple[str, tuple[int, ...], tuple[int, int]]:
    m, n, k = sizes
    (left_letter, left_lead), (right_letter, right_lead) = _lying(left, 0), _lying(right, 1)
    extents = right_letter, left_letter, n, m, k, _ONE[left.buffer.dtype], right_lead, left_lead, 0, n
    return "wengert_gemm", extents, (1, 0)


def _of_vector(left: View, right: View, sizes: tuple[int, int, int]) -> tuple[str, tuple[int, ...], tuple[int, int]]:
    """Return the call for a product with one column, or one row."""
    m, n, k = sizes
    matrix, vector, operands = (left, right, (0, 1)) if n == 1 else (right, left, (1, 0))
    along = vector.strides[-2] if n == 1 else vector.strides[-1]
    step = along if k > 1 else 1
    if step < 1:
        raise NotSideBySideError(operands[1])
    letter, lead = _lying(matrix, operands[0])
    rows, columns = (m, k) if n == 1 else (k, n)
    is_by_rows = letter == _PLAIN
    is_transposed = is_by_rows == (n == 1)  # what BLAS sees by columns is the matrix, or its transpose
    shape = (columns, rows) if is_by_rows else (rows, columns)
    extents = _TRANSPOSED if is_transposed else _PLAIN, *shape, _ONE[left.buffer.dtype], lead, step, 0, 1
    return "wengert_gemv", extents, operands


def _steps(view: View, ndim: int) -> tuple[int, ...]:
    """Return the strides along the axes of a stack, zero where the view has none or one of length one."""
    shape, strides = view.shape[:-2], view.strides[:-2]
    return (0,) * (ndim - len(shape)) + tuple([s if n > 1 else 0 for n, s in zip(shape, strides, strict=True)])


def _lying(view: View, operand: int) -> tuple[int, int]:
    """Return how a matrix lies: the letter by which its transpose is taken, and the leading dimension."""
    (rows, columns), (down, across) = view.shape[-2:], view.strides[-2:]
    if (across == 1 or columns == 1) and (down >= columns or rows == 1):
        return _PLAIN, max(down, columns) if rows > 1 else columns
    if (down == 1 or rows == 1) and (across >= rows or columns == 1):
        return _TRANSPOSED, max(across, rows) if columns > 1 else rows
    raise NotSideBySideError(operand)


@functools.cache
def code_of(routine: str, kind: str) -> Code:
    """Return a function of `products.ll`, for numbers of a kind."""
    text = Path(__file__).with_name("products.ll").read_text(encoding="utf-8")
    names = {f"@d{name}(": f"@{_LETTERS[kind]}{name}(" for name in ("gemm", "gemv")}
    for name, its in names.items():
        text = text.replace(name, its)
    return compile_texts([text], routine, {name[1:-1]: _address(name[1:-1]) for name in names.values()})


_LETTERS: Mapping[str, str] = {"d": "d", "f": "s"}
"""The letters with which the names of BLAS begin, by kinds."""


def _address(name: str) -> int:
    """Return the address of a routine of SciPy's BLAS, which it has in a capsule."""
    from scipy.linalg import cython_blas

    pointer, text = ctypes.pythonapi.PyCapsule_GetPointer, ctypes.pythonapi.PyCapsule_GetName
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    text.restype, text.argtypes = ctypes.c_char_p, [ctypes.py_object]
    capsules: Any = cython_blas.__pyx_capi__
    capsule = capsules[name]
    return int(pointer(capsule, text(capsule)))


def operations(products: Sequence[BlasCall]) -> int:
    """Return how many multiplications calls make, about."""
    total = 0
    for product in products:
        sizes = product.extents[2:5] if product.routine == "wengert_gemm" else product.extents[1:3]
        total += math.prod(sizes) * product.extents[-4]
    return total
