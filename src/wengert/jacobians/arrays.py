"""Kernels of arrays: the operations that local Jacobians and sweeps are computed with.

`push_diagonal` multiplies by a diagonal with the broadcasting of its line; `pull_diagonal` also sums over the broadcast
axes.  `assemble` adds pieces into an array of zeros: the transpose of indexing, for which NumPy has no function.  For
large plain arrays some kernels avoid NumPy's slow loops over short axes.

Every kernel is plain NumPy on any array-like operand, so on traced values it records a Program.

>>> import numpy as np
>>> pull_diagonal(np.array([[1.0, 2.0], [3.0, 4.0]]), np.ones((2, 2)), (2,), 0)
array([4., 6.])
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

Array = Any
Shape = tuple[int, ...]


# ---- The functions that every elementwise line goes through ----


def scale(c: Array, t: Array) -> Array:
    """Multiply by a partial; a partial of 1 or -1 costs no multiplication."""
    if type(c) is int:
        return t if c == 1 else -t if c == -1 else c * t
    return t * c if type(c) is complex else c * t  # complex * float64 would be Python's, without a shape


def push_diagonal(c: Array, t: Array, in_shape: Shape, out_shape: Shape, batch: int) -> Array:
    """Multiply a tangent by a diagonal partial, broadcasting it as the line itself broadcast its operand."""
    if batch and len(in_shape) < len(out_shape):
        t = t.reshape(t.shape[:batch] + (1,) * (len(out_shape) - len(in_shape)) + in_shape)
    pushed = scale(c, t)
    full = t.shape[:batch] + out_shape
    return pushed if pushed.shape == full else np.broadcast_to(pushed, full)


def pull_diagonal(c: Array, g: Array, in_shape: Shape, batch: int) -> Array:
    """Multiply an adjoint by a diagonal partial, summing over the axes along which the operand was broadcast."""
    product = scale(c, g)
    shape = product.shape
    if shape[batch:] == in_shape:
        return product
    if not (in_shape or batch) and type(product) is np.ndarray and product.size <= LARGE:
        return np.add.reduce(product, axis=None)
    extra = len(shape) - batch - len(in_shape)
    axes = tuple(range(batch, batch + extra))
    if 1 in in_shape:
        start = batch + extra
        axes += tuple([start + axis for axis, size in enumerate(in_shape) if size == 1 and shape[start + axis] != 1])
    product = add_up(product, axes, not extra)
    full = shape[:batch] + in_shape
    return product if product.shape == full else product.reshape(full)


# ---- The same for large plain arrays, where NumPy's loops over short axes would take most of the time ----

_PLAIN, _FLOAT64 = frozenset({np.ndarray, np.float64}), np.dtype(np.float64)
LARGE = 2048
"""The number of elements from which it pays to avoid a slow loop."""
SHORT = 128
"""The number of elements from which it pays to sum a short axis by slices."""
_SUMMABLE = frozenset("fdFD")


def add_up(x: Array, axes: Shape, keepdims: bool, exact: bool = False) -> Array:
    """Sum over axes; with `exact`, to the same bits as NumPy.

    NumPy adds fewer than eight numbers one after the other, so a sum of slices has the same bits, and is many times
    faster.  Short rows are summed by a product with ones, which rounds differently.
    """
    if type(x) is not np.ndarray:
        return x.sum(axis=axes, keepdims=keepdims)
    if x.size > SHORT and axes and x.dtype.char in _SUMMABLE:
        last = x.shape[-1]
        few = 8 if x.dtype.char in "fd" else 4  # of complex numbers, both parts count
        if len(axes) == 1 and 1 < last < few and last * last * 16 < x.size and axes[0] in (-1, x.ndim - 1):
            y = np.add(x[..., 0], x[..., 1])
            for k in range(2, last):
                y += x[..., k]
            return y[..., None] if keepdims else y
        width = math.prod(x.shape[len(axes) :])
        in_front = x.size > LARGE and len(axes) < x.ndim and axes == tuple(range(len(axes)))
        if in_front and not exact and width <= 64 and x.flags.c_contiguous:
            rows = x.reshape((-1, width))
            y = np.matmul(np.ones(len(rows), x.dtype), rows)
            if np.isfinite(y).all():  # otherwise NumPy's own loop, which reports overflows; BLAS does not
                return y.reshape(((1,) * len(axes) if keepdims else ()) + x.shape[len(axes) :])
    reduce: Any = np.add.reduce
    return reduce(x, axis=axes, keepdims=keepdims)


def contract(c: np.ndarray[Any, Any], g: np.ndarray[Any, Any]) -> Array:
    """Return the sum of all elementwise products of two plain arrays of one shape, without storing the products.

    >>> contract(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    np.float64(11.0)
    """
    total = np.dot(c.reshape(-1), g.reshape(-1))
    return total if math.isfinite(total) else np.add.reduce(np.multiply(c, g), axis=None)  # which reports an infinity


def multiply_out(c: np.ndarray[Any, Any], g: np.ndarray[Any, Any]) -> Array:
    """Multiply arrays of different shapes; where the last axis is short, along the others."""
    last = g.shape[-1] if g.ndim else 0
    if not 1 < last < 5 or c.size == 1 or c.ndim > g.ndim or c.shape == g.shape:
        return np.multiply(c, g)
    shape = np.broadcast_shapes(c.shape, g.shape)
    if shape[-1] != last:
        return np.multiply(c, g)
    product = np.empty(shape, np.result_type(c, g))
    for k in range(last):
        np.multiply(c[..., k if c.shape[-1] > 1 else 0], g[..., k], out=product[..., k])
    return product


def pull_large(c: np.ndarray[Any, Any], g: np.ndarray[Any, Any], in_shape: Shape, batch: int) -> Array:
    """Compute `pull_diagonal` for large arrays; a sum over all axes does not store the products."""
    if not batch and math.prod(in_shape) == 1 and c.dtype is g.dtype and c.dtype.char in _SUMMABLE:
        total = c.reshape(-1)[0] * add_up(g, tuple(range(g.ndim)), False) if c.size == 1 else None
        if c.shape == g.shape:
            total = np.dot(c.reshape(-1), g.reshape(-1))
        if total is not None and np.isfinite(total):  # 0 * inf has to be met, and reported, one by one
            return total.reshape(in_shape) if in_shape else total
    return pull_diagonal(1, multiply_out(c, g), in_shape, batch)


# ---- Putting pieces into an array of zeros: the transpose of indexing, which NumPy has no function for ----


def assemble(pieces: Sequence[Array], indices: Sequence[Any], shape: Shape, batch: int = 0) -> Array:
    """Add each piece into an array of zeros of `shape`, at its index (repeated positions add up).

    Dispatches by NumPy's own protocol (NEP 18), as a NumPy function would.

    >>> assemble([np.array(5.0), np.array([1.0, 2.0])], [(0,), (slice(0, 2),)], (3,))
    array([6., 2., 0.])
    """
    if not batch and type(pieces[0]) in _PLAIN:
        total = _assemble_plain(pieces, indices, shape)  # as most are
        if total is not None:
            return total
    for piece in pieces:
        kind = type(piece)
        if kind is not np.ndarray and kind is not np.float64 and hasattr(kind, "__array_function__"):
            return piece.__array_function__(assemble, (kind,), (pieces, indices, shape), {"batch": batch})
    basic = [is_basic(index) for index in indices]
    for index, simple in zip(indices, basic, strict=True):
        traced = None if simple else traced_item(index)
        if traced is not None:
            return traced.__array_function__(assemble, (type(traced),), (pieces, indices, shape), {"batch": batch})
    if len(pieces) == 1 and not batch and not basic[0]:
        counted = _count_up(pieces[0], indices[0], shape)
        if counted is not None:
            return counted
    leading: Shape = np.shape(pieces[0])[:batch] if batch else ()
    total = np.zeros(leading + shape, _common_dtype(pieces))
    for piece, index in zip(pieces, indices, strict=True):
        add_part(total, index, piece, shape, batch)
    return total


def erase(array: Array, index: Any, batch: int = 0) -> Array:
    """Return an array, or a block of arrays, with zeros at a basic index: the adjoint of an assignment to part of it.

    Dispatches by NumPy's own protocol (NEP 18), as a NumPy function would.

    >>> erase(np.array([[1.0, 2.0], [3.0, 4.0]]), (1,), batch=1)
    array([[1., 0.],
           [3., 0.]])
    """
    kind = type(array)
    if kind is not np.ndarray and hasattr(kind, "__array_function__"):
        return array.__array_function__(erase, (kind,), (array, index), {"batch": batch})
    erased = np.array(array)
    erased[(slice(None),) * batch + tuple(index)] = 0
    return erased


def count_overlaps(indices: Sequence[Any], shape: Shape) -> int:
    """Count the additions that it takes to assemble an array: how often a position is met that has a value already.

    >>> count_overlaps([(0,), (slice(0, 2),), (2,)], (4,)), count_overlaps([(np.array([1, 1, 1]),)], (4,))
    (1, 2)
    """
    if len(shape) == 1 and all(type(index[0]) is int and index[0] >= 0 for index in indices):  # most frequent by far
        return len(indices) - len({index[0] for index in indices})
    if len(indices) == 1 and is_basic(indices[0]):
        return 0
    met = np.zeros(shape, np.bool_)
    size = 0
    for index in indices:
        size += np.size(met[index])
        met[index] = True
    return size - int(np.count_nonzero(met))


def _assemble_plain(pieces: Sequence[Array], indices: Sequence[Any], shape: Shape) -> np.ndarray[Any, Any] | None:
    """Assemble plain pieces of double precision at basic indices; None if there are others."""
    total = np.zeros(shape)
    for piece, index in zip(pieces, indices, strict=True):
        kind = type(piece)
        if kind is np.float64 and is_basic(index):
            total[index] += piece
        elif kind is np.ndarray and piece.dtype is _FLOAT64 and is_basic(index):
            add_into(total, index, piece)
        else:
            return None
    return total


def add_part(total: np.ndarray[Any, Any], index: Any, piece: Array, shape: Shape, batch: int) -> None:
    """Add to part of an array of `shape` (or of each of a block of them), at any index."""
    if is_basic(index):
        add_into(total, (slice(None),) * batch + index if batch else index, piece)
    else:
        add_at(total, piece, index, shape, batch)


def add_into(array: np.ndarray[Any, Any], index: Any, piece: Array) -> None:
    """Add to part of an array in place; ``array[index] += piece`` would copy the part once more."""
    part = array[index]
    if type(part) is np.ndarray:
        np.add(part, piece, out=part)
    else:
        array[index] = part + piece


def _common_dtype(arrays: Sequence[Array]) -> np.dtype[Any]:
    """Return the common dtype of arrays; a shortcut for np.result_type if all dtypes are the same."""
    first: np.dtype[Any] | None = getattr(arrays[0], "dtype", None)
    for a in arrays[1:]:
        if getattr(a, "dtype", None) is not first:
            return np.result_type(*arrays)
    return np.result_type(*arrays) if first is None else first


def add_at(total: np.ndarray[Any, Any], piece: Array, index: Any, shape: Shape, batch: int) -> None:
    """Add a piece into an array at positions that may repeat."""
    flat = flat_positions(index, shape)
    leading = total.shape[:batch]
    view = total.reshape((*leading, math.prod(shape)))
    at: Any = (*(slice(None),) * batch, flat.ravel())
    np.add.at(view, at, np.reshape(piece, (*leading, flat.size)))  # unbuffered: repeats add up


def _count_up(piece: Array, index: Any, shape: Shape) -> np.ndarray[Any, Any] | None:
    """Assemble one piece by np.bincount, the fastest sum by position; None if it does not apply."""
    if type(piece) is not np.ndarray or piece.dtype.char != "d" or not piece.size:
        return None
    only: Any = index[0] if len(index) == 1 else None
    if type(only) is np.ndarray and only.ndim == 1 and only.dtype == np.intp:
        width = math.prod(shape[1:])
        if piece.size > LARGE and 0 < width <= 16 and only.min() >= 0:
            total = np.empty((shape[0], width))  # column by column: no table of the positions of all elements
            columns = piece.reshape((-1, width))
            for k in range(width):
                total[:, k] = np.bincount(only, columns[:, k], shape[0])
            return total.reshape(shape)
    flat = flat_positions(index, shape)
    return np.bincount(flat.reshape(-1), piece.reshape(-1), math.prod(shape)).reshape(shape)


def is_basic(index: Any) -> bool:
    """Return whether an index tuple holds only integers, slices, newaxis and the ellipsis."""
    for item in index:
        kind = type(item)
        if kind is not int and kind is not slice and item is not None and item is not Ellipsis:
            return False
    return True


def traced_item(index: Any) -> Any:
    """Return the first traced part of an index; None if there is none."""
    for item in index:
        kind = type(item)
        if kind is not int and kind is not slice and kind is not np.ndarray and hasattr(kind, "__array_function__"):
            return item
    return None


def index_values(index: Any) -> Any:
    """Return an index with its traced parts replaced by their values."""
    while traced_item(index) is not None:
        index = tuple(getattr(item, "_value", item) for item in index)
    return index


class Unknown:
    """An integer or a mask in an index, of which no more is known than a sample of its values."""

    __slots__ = ("sample",)

    def __init__(self, sample: Any) -> None:
        self.sample = np.asarray(sample)

    @property
    def shape(self) -> Shape:
        return cast("Shape", self.sample.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.sample.dtype


def unknown_axes(index: Any, shape: Shape) -> list[int]:
    """Return the axes of an array of `shape` along which an index holds something unknown.

    >>> unknown_axes((slice(None), Unknown([2, 1])), (4, 3))
    [1]
    """
    if not any(type(item) is Unknown for item in index):
        return []
    taken = sum([_axes_of(item) for item in index])
    axes: list[int] = []
    axis = 0
    for item in index:
        if type(item) is Unknown:
            axes += range(axis, axis + _axes_of(item))
        axis += len(shape) - taken if item is Ellipsis else _axes_of(item)
    return axes


def _axes_of(item: Any) -> int:
    """Return how many axes of an array an item of its index goes over, the ellipsis apart."""
    if item is None or item is Ellipsis:
        return 0
    if type(item) is Unknown:
        item = item.sample
    return int(np.ndim(item)) if getattr(item, "dtype", None) == np.bool_ or type(item) is bool else 1


def at_first(index: Any) -> Any:
    """Return an index with the first position in the place of what is unknown."""
    items: list[Any] = []
    for item in index:
        if type(item) is not Unknown:
            items.append(item)
        elif item.dtype == np.bool_:
            items += [np.zeros(np.count_nonzero(item.sample), np.intp)] * item.sample.ndim
        else:
            items.append(np.zeros(item.shape, np.intp))
    return tuple(items)


def shape_of_selection(index: Any, shape: Shape) -> Shape:
    """Return the shape of the selection by `index` from an array of `shape`."""
    return tuple(np.empty(shape, np.bool_)[index_values(index)].shape)


def flat_positions(index: Any, shape: Shape) -> np.ndarray[Any, Any]:
    """Return the flat position in an array of `shape` of every element that `index` selects."""
    if len(shape) == 1 and len(index) == 1:
        (only,) = index
        if type(only) is np.ndarray and only.dtype == np.intp and only.size and only.min() >= 0:
            return only
    return np.asarray(np.arange(math.prod(shape)).reshape(shape)[index])


def take(t: Array, index: Any, shape: Shape, batch: int) -> Array:
    """Index the last axes of a block of arrays of `shape`, as `index` would index one of them."""
    traced = traced_item(index)
    if traced is not None:
        return traced.__array_function__(take, (type(traced),), (t, index, shape, batch), {})
    if not batch:
        return t[index]
    if is_basic(index):
        return t[(slice(None),) * batch + index]
    flat = flat_positions(index, shape)
    leading = t.shape[:batch]
    return t.reshape((*leading, math.prod(shape)))[(slice(None),) * batch + (flat.ravel(),)].reshape(
        leading + flat.shape
    )
