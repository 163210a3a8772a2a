"""Products and sums of structures: a table from pairs of structures to the structure of the result.

``J @ K`` and ``J + K`` look up the structures of both here.  A product stays a list of factors (`Composed`), and a sum
a list of terms (`Added`), if the table has no entry or the entry returns None because nothing would be gained.

Three ideas make up the table:

- *selections first*: a map that selects, moves or adds elements changes places with a diagonal, so that as few numbers
  as possible are multiplied;
- *matrices if they are no larger*: a product with a matrix is computed if it holds no more numbers than its factors.
An
  outer product of two long vectors stays as it is;
- *only maps that are linear over the complex numbers*: a `Map` or a `RealLinear` may not be, and no matrix replaces it.

>>> import numpy as np
>>> from wengert.jacobians import Diagonal, Dense, Reshape, Select, Sum
>>> J = Diagonal(np.array([2.0, 3.0]), (2,), (2,))
>>> J @ J, Select((0,), (2,)) @ Select((slice(1, 3),), (4,)), Reshape((2, 3), (6,)) @ Reshape((6,), (2, 3))
(Diagonal((2,) -> (2,)), Select((4,) -> ()), Diagonal((6,) -> (6,)))
>>> (Dense(np.ones((1, 2)), (2,), (1,)) @ J).matrix
array([[2., 3.]])
>>> Select((0,), (2,)) @ J
Composed((2,) -> ())
>>> J + Dense(np.eye(2), (2,), (2,))
Dense((2,) -> (2,))
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from wengert.jacobians.arrays import LARGE, Array, Shape, flat_positions, is_basic, scale, traced_item
from wengert.jacobians.structures import (
    PRODUCTS,
    SUMS,
    Added,
    Composed,
    Dense,
    Diagonal,
    Erase,
    LeftProduct,
    LocalJacobian,
    Permute,
    Place,
    Reshape,
    RightProduct,
    Rule,
    Select,
    Sum,
    Table,
    Transposed,
    Zero,
    add,
    compose,
)

FEW = 256
"""A matrix of up to this many elements is always computed."""
_WRITABLE = (Diagonal, Select, Place, Erase, Sum, Reshape, Permute, LeftProduct, RightProduct, Dense)
"""The structures that a matrix can replace."""


def _entry(
    table: Table, one: type[LocalJacobian], *others: type[LocalJacobian], mirrored: bool = False
) -> Callable[[Rule], Rule]:
    """Enter a function for pairs of structures into a table; `mirrored` for the pairs in the other order."""

    def enter(rule: Rule) -> Rule:
        for other in others:
            table[(other, one) if mirrored else (one, other)] = rule
        return rule

    return enter


# ---- Products with zeros and with identities ----


@_entry(PRODUCTS, Zero, LocalJacobian)
@_entry(PRODUCTS, Zero, LocalJacobian, mirrored=True)
def _zero(outer: LocalJacobian, inner: LocalJacobian) -> LocalJacobian:
    return Zero(inner.in_shape, outer.out_shape)


@_entry(PRODUCTS, Diagonal, LocalJacobian)
def _identity_times(outer: Diagonal, inner: LocalJacobian) -> LocalJacobian | None:
    return inner if outer.is_identity else None


@_entry(PRODUCTS, Diagonal, LocalJacobian, mirrored=True)
def _times_identity(outer: LocalJacobian, inner: Diagonal) -> LocalJacobian | None:
    return outer if inner.is_identity else None


# ---- Diagonals ----


@_entry(PRODUCTS, Diagonal, Diagonal)
def _diagonal_diagonal(outer: Diagonal, inner: Diagonal) -> LocalJacobian:
    c = scale(outer.c, inner.c) if type(outer.c) is int else scale(inner.c, outer.c)
    return Diagonal(c, inner.in_shape, outer.out_shape)


def _on_all(J: Diagonal) -> Array:
    """Return the diagonal with an element for each element of the result."""
    return np.broadcast_to(J.c, J.out_shape)


def _is_uniform(J: Diagonal) -> bool:
    """Return whether all elements are multiplied by the same number."""
    return J.is_square and np.ndim(J.c) == 0


@_entry(PRODUCTS, Select, Diagonal)
def _select_diagonal(outer: Select, inner: Diagonal) -> LocalJacobian | None:
    """Take elements before they are multiplied."""
    if traced_item(outer.index) is not None:
        return None
    c = inner.c if np.ndim(inner.c) == 0 else _on_all(inner)[outer.index]
    scaled = Diagonal(c, outer.out_shape, outer.out_shape)
    if inner.is_square:
        return Composed(scaled, outer)
    if inner.in_shape == ():
        return Diagonal(c, (), outer.out_shape)
    selected = _select_of_moved(outer, Diagonal(1, inner.in_shape, inner.out_shape))
    return None if selected is None else selected if scaled.is_identity else Composed(scaled, selected)


@_entry(PRODUCTS, Diagonal, Transposed)
def _diagonal_put(outer: Diagonal, inner: Transposed) -> LocalJacobian | None:
    """Multiply elements before they are put in their places."""
    if not isinstance(inner.of, Select) or not outer.is_square or traced_item(inner.of.index) is not None:
        return None
    c = outer.c if np.ndim(outer.c) == 0 else _on_all(outer)[inner.of.index]
    return Composed(inner, Diagonal(c, inner.in_shape, inner.in_shape))


@_entry(PRODUCTS, Reshape, Diagonal)
def _reshape_diagonal(outer: Reshape, inner: Diagonal) -> LocalJacobian | None:
    if not inner.is_square:
        return None
    c = inner.c if _is_uniform(inner) else _on_all(inner).reshape(outer.out_shape)
    return Composed(Diagonal(c, outer.out_shape, outer.out_shape), outer)


@_entry(PRODUCTS, Permute, Diagonal)
def _permute_diagonal(outer: Permute, inner: Diagonal) -> LocalJacobian | None:
    if not inner.is_square:
        return None
    c = inner.c if _is_uniform(inner) else np.transpose(_on_all(inner), outer.axes)
    return Composed(Diagonal(c, outer.out_shape, outer.out_shape), outer)


@_entry(PRODUCTS, Sum, Diagonal)
def _sum_diagonal(outer: Sum, inner: Diagonal) -> LocalJacobian | None:
    """Sum before all is multiplied by one number; a sum of everything is a row of a matrix."""
    if _is_uniform(inner):
        return Composed(Diagonal(inner.c, outer.out_shape, outer.out_shape), outer)
    if inner.is_square and math.prod(outer.out_shape) == 1:
        return Dense(_on_all(inner).reshape((1, math.prod(inner.in_shape))), inner.in_shape, outer.out_shape)
    return None


# ---- Selections and moves of elements ----


@_entry(PRODUCTS, Reshape, Reshape)
def _reshape_reshape(outer: Reshape, inner: Reshape) -> LocalJacobian:
    return _reshaped(inner.in_shape, outer.out_shape)


def _reshaped(in_shape: Shape, out_shape: Shape) -> LocalJacobian:
    return Diagonal(1, in_shape, in_shape) if in_shape == out_shape else Reshape(in_shape, out_shape)


@_entry(PRODUCTS, Permute, Permute)
def _permute_permute(outer: Permute, inner: Permute) -> LocalJacobian:
    axes = tuple(inner.axes[a] for a in outer.axes)
    if axes == tuple(range(len(axes))):
        return Diagonal(1, inner.in_shape, inner.in_shape)
    return Permute(inner.in_shape, axes)


@_entry(PRODUCTS, Sum, Sum)
def _sum_sum(outer: Sum, inner: Sum) -> LocalJacobian | None:
    if outer.keepdims != inner.keepdims and outer.in_shape and inner.in_shape:
        return None
    ndim = len(inner.in_shape)
    left = range(-ndim, 0) if inner.keepdims else [a for a in range(-ndim, 0) if a not in inner.axis]
    axes = {*inner.axis, *(left[a] for a in outer.axis)}
    return Sum(inner.in_shape, tuple(sorted(axes)), inner.keepdims, outer.out_shape)


@_entry(PRODUCTS, Select, Select)
def _select_select(outer: Select, inner: Select) -> LocalJacobian | None:
    index = index_of_index(outer.index, inner.index, inner.in_shape)
    if index is not None:
        return Select(index, inner.in_shape, outer.out_shape)
    return _select_of_moved(outer, inner)


def index_of_index(outer: Any, inner: Any, shape: Shape) -> tuple[int | slice, ...] | None:
    """Compose two indices: return the one that selects ``a[inner][outer]`` from an array `a` of `shape`.

    Return None for indices other than integers and slices.

    >>> index_of_index((0, slice(1, None)), (slice(None, None, -1), slice(2, 6), 3), (5, 8, 4))
    (4, slice(3, 6, 1), 3)
    """
    items = _axis_by_axis(inner, shape)
    if items is None:
        return None
    rest = _axis_by_axis(outer, tuple(len(r) for r in items if isinstance(r, range)))
    if rest is None:
        return None
    index: list[int | slice] = []
    for positions in items:
        taken = positions if isinstance(positions, int) else _take_of_range(positions, rest.pop(0))
        index.append(taken if isinstance(taken, int) else _slice_of(taken))
    return tuple(index)


def _axis_by_axis(index: Any, shape: Shape) -> list[int | range] | None:
    """Return the position or range of positions that an index selects on each axis; None for other indices."""
    if not is_basic(index) or None in index:
        return None
    if Ellipsis in index:
        k = index.index(Ellipsis)
        index = index[:k] + (slice(None),) * (len(shape) - len(index) + 1) + index[k + 1 :]
    index = index + (slice(None),) * (len(shape) - len(index))
    return [range(size)[item] for size, item in zip(shape, index, strict=True)]


def _take_of_range(positions: range, taken: int | range) -> int | range:
    if isinstance(taken, int):
        return positions[taken]
    return range(
        positions.start + taken.start * positions.step,
        positions.start + taken.stop * positions.step,
        positions.step * taken.step,
    )


def _slice_of(positions: range) -> slice:
    """Return the slice that selects a range of positions."""
    if not positions:
        return slice(0, 0)
    last = positions[-1]
    return slice(positions[0], last + 1 if positions.step > 0 else last - 1 if last else None, positions.step)


@_entry(PRODUCTS, Select, Reshape, Permute)
def _select_of_moved(outer: Select, inner: LocalJacobian) -> LocalJacobian | None:
    """Compose a selection with a map that selects or moves elements: select from its operand by positions."""
    if math.prod(inner.in_shape) > LARGE or math.prod(inner.out_shape) > LARGE or not inner.in_shape:
        return None
    origins = _origins(inner)
    if origins is None or traced_item(outer.index) is not None:
        return None
    return _select_positions(origins[outer.index], inner.in_shape)


def _origins(J: LocalJacobian) -> np.ndarray[Any, Any] | None:
    """Return for each element of the result its flat position in the operand."""
    if isinstance(J, Select):
        return None if traced_item(J.index) is not None else flat_positions(J.index, J.in_shape)
    return np.asarray(J.push(np.arange(math.prod(J.in_shape)).reshape(J.in_shape)))


def _select_positions(positions: Any, shape: Shape) -> LocalJacobian:
    """Return the selection of elements of an array of `shape` by flat positions."""
    positions = np.asarray(positions)
    size = math.prod(shape)
    if positions.size == size and np.array_equal(positions.ravel(), np.arange(size)):
        return _reshaped(shape, positions.shape)
    index: Any = np.unravel_index(positions, shape)
    if positions.ndim == 0:
        index = tuple(int(k) for k in index)
    return Select(index, shape, positions.shape)


@_entry(PRODUCTS, Select, Transposed)
def _select_put(outer: Select, inner: Transposed) -> LocalJacobian | None:
    """Select elements of an array of zeros with a part put in: elements of the part, or zeros."""
    return _select_among_put(outer, inner.of.index, inner) if isinstance(inner.of, Select) else None


@_entry(PRODUCTS, Select, Place)
def _select_place(outer: Select, inner: Place) -> LocalJacobian | None:
    plain = is_basic(inner.index) and inner.in_shape == inner.region
    return _select_among_put(outer, inner.index, inner) if plain else None


def _select_among_put(outer: Select, index: Any, inner: LocalJacobian) -> LocalJacobian | None:
    size = math.prod(inner.out_shape)
    if size > LARGE or traced_item(outer.index) is not None or traced_item(index) is not None:
        return None
    places = flat_positions(index, inner.out_shape).ravel()
    taken = flat_positions(outer.index, inner.out_shape)
    origin = np.full(size, -1)
    origin[places] = np.arange(places.size)
    origins = origin[taken]
    if (origins < 0).all():
        return Zero(inner.in_shape, outer.out_shape)
    if (origins < 0).any() or len(np.unique(places)) < places.size:
        return None
    return _select_positions(origins, inner.in_shape) if inner.in_shape else Reshape((), outer.out_shape)


@_entry(PRODUCTS, Select, Erase)
def _select_erase(outer: Select, inner: Erase) -> LocalJacobian | None:
    """Select elements of a partly erased array, if the selection lies inside or outside the erased part."""
    if (
        math.prod(inner.in_shape) > LARGE
        or traced_item(outer.index) is not None
        or traced_item(inner.index) is not None
    ):
        return None
    left = np.ones(inner.in_shape, np.bool_)
    left[inner.index] = False
    taken = left[outer.index]
    return outer if np.all(taken) else None if np.any(taken) else Zero(outer.in_shape, outer.out_shape)


@_entry(PRODUCTS, Transposed, Transposed)
def _transposed_transposed(outer: Transposed, inner: Transposed) -> LocalJacobian | None:
    product = compose(inner.of, outer.of)
    return None if type(product) is Composed else product.T


# ---- Matrices ----


def _may_be_written(outer: LocalJacobian, inner: LocalJacobian) -> bool:
    """Return whether the matrix of a product holds no more numbers than its factors, or few."""
    factors = (J.of if isinstance(J, Transposed) else J for J in (outer, inner))
    size = math.prod(outer.out_shape) * math.prod(inner.in_shape)
    return all(isinstance(J, _WRITABLE) for J in factors) and size <= max(FEW, outer.entries + inner.entries)


@_entry(PRODUCTS, Dense, Dense)
def _dense_dense(outer: Dense, inner: Dense) -> LocalJacobian | None:
    if not _may_be_written(outer, inner):
        return None
    return Dense(np.matmul(outer.matrix, inner.matrix), inner.in_shape, outer.out_shape)


@_entry(PRODUCTS, Dense, *_WRITABLE[:-1], Transposed)
def _dense_times(outer: Dense, inner: LocalJacobian) -> LocalJacobian | None:
    """Multiply a matrix by a structure: pull each row."""
    if not _may_be_written(outer, inner):
        return None
    count = math.prod(outer.out_shape)
    rows = inner.pull(outer.matrix.reshape((count, *inner.out_shape)), 1)
    return Dense(rows.reshape((count, math.prod(inner.in_shape))), inner.in_shape, outer.out_shape)


@_entry(PRODUCTS, Dense, *_WRITABLE[:-1], Transposed, mirrored=True)
def _times_dense(outer: LocalJacobian, inner: Dense) -> LocalJacobian | None:
    """Multiply a structure by a matrix: push each column."""
    return _pushed_columns(outer, inner) if _may_be_written(outer, inner) else None


def _pushed_columns(outer: LocalJacobian, inner: Dense) -> Dense:
    count = math.prod(inner.in_shape)
    columns = outer.push(inner.matrix.T.reshape((count, *outer.in_shape)), 1)
    return Dense(columns.reshape((count, math.prod(outer.out_shape))).T, inner.in_shape, outer.out_shape)


@_entry(PRODUCTS, LeftProduct, LeftProduct)
def _left_left(outer: LeftProduct, inner: LeftProduct) -> LocalJacobian | None:
    A = _product_if_smaller(outer.A, inner.A)
    return None if A is None else LeftProduct(A, inner.in_shape, outer.out_shape)


@_entry(PRODUCTS, RightProduct, RightProduct)
def _right_right(outer: RightProduct, inner: RightProduct) -> LocalJacobian | None:
    B = _product_if_smaller(inner.B, outer.B)
    return None if B is None else RightProduct(B, inner.in_shape, outer.out_shape)


def _product_if_smaller(A: Array, B: Array) -> Array | None:
    """Multiply two matrices (or a vector and a matrix) if the product holds no more numbers than they do, or few."""
    if A.ndim > 2 or B.ndim > 2 or A.ndim + B.ndim < 3:
        return None
    size = (A.shape[0] if A.ndim == 2 else 1) * (B.shape[1] if B.ndim == 2 else 1)
    return np.matmul(A, B) if size <= max(FEW, A.size + B.size) else None


@_entry(PRODUCTS, LeftProduct, Diagonal)
def _left_diagonal(outer: LeftProduct, inner: Diagonal) -> LocalJacobian | None:
    if not inner.is_square or len(inner.in_shape) != 1:
        return None
    return LeftProduct(scale(inner.c, outer.A), inner.in_shape, outer.out_shape)


@_entry(PRODUCTS, Diagonal, LeftProduct)
def _diagonal_left(outer: Diagonal, inner: LeftProduct) -> LocalJacobian | None:
    if not outer.is_square or len(inner.in_shape) != 1:
        return None
    c = outer.c if np.ndim(outer.c) == 0 or inner.A.ndim == 1 else outer.c[..., None]
    return LeftProduct(scale(c, inner.A), inner.in_shape, outer.out_shape)


@_entry(PRODUCTS, RightProduct, Diagonal)
def _right_diagonal(outer: RightProduct, inner: Diagonal) -> LocalJacobian | None:
    if not inner.is_square or len(inner.in_shape) != 1:
        return None
    c = inner.c if np.ndim(inner.c) == 0 or outer.B.ndim == 1 else inner.c[..., None]
    return RightProduct(scale(c, outer.B), inner.in_shape, outer.out_shape)


@_entry(PRODUCTS, Diagonal, RightProduct)
def _diagonal_right(outer: Diagonal, inner: RightProduct) -> LocalJacobian | None:
    if not outer.is_square or len(inner.in_shape) != 1:
        return None
    return RightProduct(scale(outer.c, inner.B), inner.in_shape, outer.out_shape)


@_entry(PRODUCTS, Select, LeftProduct)
def _select_left(outer: Select, inner: LeftProduct) -> LocalJacobian | None:
    """Select rows of the matrix."""
    if len(inner.in_shape) != 1 or inner.A.ndim != 2 or len(outer.index) != 1 or len(outer.out_shape) > 1:
        return None
    (item,) = outer.index
    if item is None or item is Ellipsis or traced_item(outer.index) is not None:
        return None
    return LeftProduct(inner.A[item], inner.in_shape, outer.out_shape)


# ---- Sums ----


@_entry(SUMS, Zero, LocalJacobian)
def _zero_plus(_left: Zero, right: LocalJacobian) -> LocalJacobian:
    return right


@_entry(SUMS, Zero, LocalJacobian, mirrored=True)
def _plus_zero(left: LocalJacobian, _right: Zero) -> LocalJacobian:
    return left


@_entry(SUMS, Diagonal, Diagonal)
def _diagonals_added(left: Diagonal, right: Diagonal) -> LocalJacobian:
    c = left.c + right.c
    return (
        Zero(left.in_shape, left.out_shape) if type(c) is int and not c else Diagonal(c, left.in_shape, left.out_shape)
    )


@_entry(SUMS, Dense, Dense)
def _matrices_added(left: Dense, right: Dense) -> LocalJacobian:
    return Dense(left.matrix + right.matrix, left.in_shape, left.out_shape)


@_entry(SUMS, Dense, *_WRITABLE[:-1], Transposed)
def _dense_plus(left: Dense, right: LocalJacobian) -> LocalJacobian | None:
    if not isinstance(right.of if isinstance(right, Transposed) else right, _WRITABLE):
        return None
    size = math.prod(right.in_shape)
    unit = Dense(np.eye(size, dtype=left.matrix.dtype), right.in_shape, right.in_shape)
    return _matrices_added(left, _pushed_columns(right, unit))


@_entry(SUMS, Dense, *_WRITABLE[:-1], Transposed, mirrored=True)
def _plus_dense(left: LocalJacobian, right: Dense) -> LocalJacobian | None:
    return _dense_plus(right, left)


@_entry(SUMS, LeftProduct, LeftProduct)
def _left_products_added(left: LeftProduct, right: LeftProduct) -> LocalJacobian | None:
    if left.A.shape != right.A.shape:
        return None
    return LeftProduct(left.A + right.A, left.in_shape, left.out_shape)


@_entry(SUMS, RightProduct, RightProduct)
def _right_products_added(left: RightProduct, right: RightProduct) -> LocalJacobian | None:
    if left.B.shape != right.B.shape:
        return None
    return RightProduct(left.B + right.B, left.in_shape, left.out_shape)


@_entry(SUMS, Transposed, Transposed)
def _transposed_added(left: Transposed, right: Transposed) -> LocalJacobian | None:
    total = add(left.of, right.of)
    return None if type(total) is Added else total.T


@_entry(SUMS, Composed, Composed)
def _composed_added(left: Composed, right: Composed) -> LocalJacobian | None:
    """Add the outer factors of the same selection: ``D @ S + E @ S = (D + E) @ S``."""
    if not _same_moves(left.inner, right.inner):
        return None
    outer = add(left.outer, right.outer)
    return None if type(outer) is Added else compose(outer, left.inner)


def _same_moves(one: LocalJacobian, other: LocalJacobian) -> bool:
    """Return whether two edges select, move or add the same elements of their operand."""
    if type(one) is not type(other) or one.in_shape != other.in_shape or one.out_shape != other.out_shape:
        return False
    if isinstance(one, Select) and isinstance(other, Select):
        return is_basic(one.index) and is_basic(other.index) and one.index == other.index
    if isinstance(one, Sum) and isinstance(other, Sum):
        return one.axis == other.axis
    if isinstance(one, Permute) and isinstance(other, Permute):
        return one.axes == other.axes
    return isinstance(one, Reshape)
