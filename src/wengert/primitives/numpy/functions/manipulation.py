"""The same elements in another shape or order: every one of these is linear."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from wengert.errors import LostGradientError, UnsupportedError
from wengert.jacobians import assemble
from wengert.primitives.numpy import structural as p
from wengert.primitives.numpy.functions.operands import (
    Axis,
    along,
    as_operand,
    decided,
    is_traced,
    ndim_of,
    negative_axis,
    on_axis,
    only,
    pick,
    shape_of,
    size_of,
)
from wengert.primitives.table import calls

# ---- Shapes ----


@calls(np.reshape)
def reshape(a: Any, /, shape: Any = None, order: str = "C", *, copy: Any = None) -> Any:
    if order != "C":
        if order == "F":
            wanted = _complete(shape, math.prod(shape_of(a)))
            return np.transpose(reshape(np.transpose(a), wanted[::-1]))
        if order not in ("A", "K"):
            raise ValueError(f"order must be one of 'C', 'F', 'A', or 'K' (got '{order}')")
        if order == "K":
            raise UnsupportedError("order='K' depends on how the array lies in memory; use order='C' or 'F'.")
    return p.reshape(a, shape=_complete(shape, math.prod(shape_of(a))))


def _complete(shape: Any, size: int) -> tuple[int, ...]:
    if type(shape) is int:
        wanted: tuple[int, ...] = (shape,)
    else:
        wanted = tuple([int(s) for s in shape]) if np.iterable(shape) else (int(shape),)
    if -1 in wanted:
        rest = math.prod(s for s in wanted if s != -1)
        if wanted.count(-1) > 1:
            raise ValueError("can only specify one unknown dimension")
        wanted = tuple(size // rest if s == -1 and rest else s for s in wanted)
    if math.prod(wanted) != size or min(wanted, default=0) < 0:
        raise ValueError(f"cannot reshape array of size {size} into shape {tuple(np.atleast_1d(shape).tolist())}")
    return wanted


@calls(np.ravel)
def ravel(a: Any, order: str = "C") -> Any:
    return reshape(as_operand(a), -1, "C" if order in ("A", "K") else order)


@calls(np.resize)
def resize(a: Any, new_shape: Any) -> Any:
    wanted = tuple(new_shape) if np.iterable(new_shape) else (new_shape,)
    if min(wanted, default=0) < 0:
        raise ValueError("all elements of `new_shape` must be non-negative")
    size, flat = math.prod(wanted), np.ravel(a)
    if flat.shape[0] == 0 or size == 0:
        return np.zeros(wanted, flat.dtype)
    return np.reshape(flat[:size] if size <= flat.shape[0] else pick(flat, (np.arange(size) % flat.shape[0],)), wanted)


@calls(np.expand_dims)
def expand_dims(a: Any, axis: Axis) -> Any:
    axes = axis if np.iterable(axis) else (axis,)
    ndim = ndim_of(a) + len(axes)
    places = normalize_axis_tuple(axes, ndim)  # type: ignore[arg-type]
    sizes = iter(shape_of(a))
    return p.reshape(a, shape=tuple(1 if k in places else next(sizes) for k in range(ndim)))


@calls(np.squeeze)
def squeeze(a: Any, axis: Axis = None) -> Any:
    shape = shape_of(a)
    gone = [k for k, s in enumerate(shape) if s == 1] if axis is None else normalize_axis_tuple(axis, len(shape))
    if [k for k in gone if shape[k] != 1]:
        raise ValueError("cannot select an axis to squeeze out which has size not equal to one")
    return p.reshape(a, shape=tuple(s for k, s in enumerate(shape) if k not in gone))


@calls(np.atleast_1d)
def atleast_1d(*arys: Any) -> Any:
    results = tuple(np.reshape(a, (1,)) if ndim_of(a) == 0 else as_operand(a) for a in arys)
    return results[0] if len(results) == 1 else results


@calls(np.atleast_2d)
def atleast_2d(*arys: Any) -> Any:
    results = tuple(np.reshape(a, (1, size_of(a))) if ndim_of(a) < 2 else as_operand(a) for a in arys)
    return results[0] if len(results) == 1 else results


@calls(np.atleast_3d)
def atleast_3d(*arys: Any) -> Any:
    shapes: dict[int, Any] = {0: lambda _s: (1, 1, 1), 1: lambda s: (1, s[0], 1), 2: lambda s: (*s, 1)}
    results = tuple(np.reshape(a, shapes[ndim_of(a)](shape_of(a))) if ndim_of(a) < 3 else as_operand(a) for a in arys)
    return results[0] if len(results) == 1 else results


# ---- Axes ----


@calls(np.transpose)
def transpose(a: Any, axes: Any = None) -> Any:
    ndim = ndim_of(a)
    order = range(ndim)[::-1] if axes is None else [normalize_axis_index(k, ndim) for k in axes]
    if len(set(order)) != ndim:
        raise ValueError("axes don't match array" if len(order) != ndim else "repeated axis in transpose")
    return p.transpose(a, axes=tuple(order))


@calls(np.matrix_transpose)
def matrix_transpose(x: Any, /) -> Any:
    if ndim_of(x) < 2:
        raise ValueError(f"Input array must be at least 2-dimensional, but it is {ndim_of(x)}")
    return np.swapaxes(x, -1, -2)


@calls(np.swapaxes)
def swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    order = list(range(ndim_of(a)))
    axis1, axis2 = normalize_axis_index(axis1, len(order)), normalize_axis_index(axis2, len(order))
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return p.transpose(a, axes=tuple(order))


@calls(np.moveaxis)
def moveaxis(a: Any, source: Any, destination: Any) -> Any:
    ndim = ndim_of(a)
    origin, goal = normalize_axis_tuple(source, ndim, "source"), normalize_axis_tuple(destination, ndim, "destination")
    if len(origin) != len(goal):
        raise ValueError("`source` and `destination` arguments must have the same number of elements")
    if origin == goal:
        return a
    order = [k for k in range(ndim) if k not in origin]
    for to, of in sorted(zip(goal, origin, strict=True)):
        order.insert(to, of)
    return p.transpose(a, axes=tuple(order))


@calls(np.rollaxis)
def rollaxis(a: Any, axis: int, start: int = 0) -> Any:
    ndim = ndim_of(a)
    axis = normalize_axis_index(axis, ndim)
    if not -ndim <= start <= ndim:
        raise np.exceptions.AxisError(f"'start' arg requires {-ndim} <= start < {ndim + 1}, but {start} was passed in")
    start += ndim if start < 0 else 0
    return moveaxis(a, axis, start - (axis < start))


@calls(np.flip)
def flip(m: Any, axis: Axis = None) -> Any:
    axes = normalize_axis_tuple(range(ndim_of(m)) if axis is None else axis, ndim_of(m))
    return m[tuple(slice(None, None, -1) if k in axes else slice(None) for k in range(ndim_of(m)))]


@calls(np.flipud)
def flipud(m: Any) -> Any:
    if ndim_of(m) < 1:
        raise ValueError("Input must be >= 1-d.")
    return m[::-1, ...]


@calls(np.fliplr)
def fliplr(m: Any) -> Any:
    if ndim_of(m) < 2:
        raise ValueError("Input must be >= 2-d.")
    return m[:, ::-1]


@calls(np.rot90)
def rot90(m: Any, k: int = 1, axes: Any = (0, 1)) -> Any:
    if len(axes) != 2:
        raise ValueError("len(axes) must be 2.")
    first, second = axes
    if first == second or abs(first - second) == ndim_of(m):
        raise ValueError("Axes must be different.")
    if not all(-ndim_of(m) <= a < ndim_of(m) for a in axes):
        raise ValueError(f"Axes={tuple(axes)} out of range for array of ndim={ndim_of(m)}.")
    if k % 4 == 0:
        return m[...]
    if k % 4 == 2:
        return flip(flip(m, first), second)
    return swapaxes(flip(m, second), first, second) if k % 4 == 1 else flip(swapaxes(m, first, second), second)


@calls(np.roll)
def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    if axis is None:
        a = as_operand(a)
        return np.reshape(roll(np.ravel(a), shift, 0), a.shape)
    if type(axis) is int and type(shift) is int:
        return p.roll(a, shift=(shift,), axis=(negative_axis(ndim_of(a), axis),))
    axes = normalize_axis_tuple(axis, ndim_of(a), allow_duplicate=True)
    pairs = np.broadcast(shift, axes)
    if pairs.ndim > 1:
        raise ValueError("'shift' and 'axis' should be scalars or 1D sequences")
    total: dict[int, int] = {}
    for by, k in pairs:
        total[int(k) - ndim_of(a)] = total.get(int(k) - ndim_of(a), 0) + int(by)
    return p.roll(a, shift=tuple(total.values()), axis=tuple(total))


# ---- Repeating ----


@calls(np.broadcast_to)
def broadcast_to(array: Any, shape: Any, subok: bool = False) -> Any:
    wanted = tuple(int(s) for s in shape) if np.iterable(shape) else (int(shape),)
    return p.broadcast_to(array, shape=wanted)


@calls(np.broadcast_arrays)
def broadcast_arrays(*args: Any, subok: bool = False) -> Any:
    shape = np.broadcast_shapes(*[shape_of(a) for a in args])
    return tuple(np.broadcast_to(a, shape) for a in args)


@calls(np.lib.stride_tricks.sliding_window_view)
def sliding_window_view(
    x: Any, window_shape: Any, axis: Any = None, *, subok: bool = False, writeable: bool = False
) -> Any:
    """Select the elements of all windows by their positions."""
    flat_index = np.arange(x.size).reshape(x.shape)
    positions = np.lib.stride_tricks.sliding_window_view(flat_index, window_shape, axis=axis)
    return pick(np.ravel(x), (positions,))


@calls(np.lib.stride_tricks.as_strided, catch=np.lib.stride_tricks)
def as_strided(
    x: Any, shape: Any = None, strides: Any = None, subok: bool = False, writeable: bool = True,
    *, check_bounds: Any = None,
) -> Any:  # fmt: skip
    """Select the elements that the strides lead to by their positions."""
    axes = sorted(range(x.ndim), key=lambda k: -x.strides[k])  # as they lie in memory
    in_memory = np.arange(x.size).reshape(x.shape).transpose(axes)
    dense = np.empty(in_memory.shape, x.dtype).strides
    if any(x.shape[k] > 1 and x.strides[k] != step for k, step in zip(axes, dense, strict=True)):
        raise UnsupportedError("as_strided of an array that has gaps in memory has no rule; copy it first.")
    steps = x.strides if strides is None else tuple(strides)
    if any(step % x.itemsize for step in steps):
        raise UnsupportedError("as_strided into the middle of an element has no rule.")
    shape = x.shape if shape is None else tuple(np.atleast_1d(shape))
    reach = [step // x.itemsize * (n - 1) for step, n in zip(steps, shape, strict=True) if 0 not in shape]
    if sum(r for r in reach if r < 0) < 0 or sum(r for r in reach if r > 0) >= max(x.size, 1):
        raise ValueError("the strides lead out of the memory of the array")
    flat_index = np.ravel(in_memory)
    scaled = [step // x.itemsize * flat_index.itemsize for step in steps]
    positions = np.lib.stride_tricks.as_strided(flat_index, shape, scaled, writeable=False)
    return pick(np.ravel(x), (positions.copy(),))


@calls(np.tile)
def tile(A: Any, reps: Any) -> Any:
    times = tuple(int(r) for r in reps) if np.iterable(reps) else (int(reps),)
    shape = shape_of(A)
    ndim = max(len(times), len(shape))
    times, shape = (1,) * (ndim - len(times)) + times, (1,) * (ndim - len(shape)) + shape
    spread = tuple(n for pair in zip(times, shape, strict=True) for n in pair)
    apart = np.reshape(A, tuple(n for s in shape for n in (1, s)))
    return np.reshape(np.broadcast_to(apart, spread), tuple(r * s for r, s in zip(times, shape, strict=True)))


@calls(np.repeat)
def repeat(a: Any, repeats: Any, axis: int | None = None) -> Any:
    a, axis = on_axis(as_operand(a), axis)
    times = np.asarray(decided(repeats)).astype(np.intp)  # NumPy itself cuts off fractions
    if times.size == 1:
        by = int(times.item())
        if by < 0:
            raise ValueError("repeats may not contain negative values.")
        apart = np.expand_dims(a, axis + 1)
        wide = np.broadcast_to(apart, (*a.shape[: axis + 1], by, *a.shape[axis + 1 :]))
        return np.reshape(wide, (*a.shape[:axis], a.shape[axis] * by, *a.shape[axis + 1 :]))
    return along(a, axis, np.repeat(np.arange(a.shape[axis]), times))


@calls(np.meshgrid)
def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> Any:
    if indexing not in ("xy", "ij"):
        raise ValueError("Valid values for `indexing` are 'xy' and 'ij'.")
    ndim = len(xi)
    order = list(range(ndim))
    if indexing == "xy" and ndim > 1:
        order[:2] = 1, 0
    shape = [0] * ndim
    for k, x in zip(order, xi, strict=True):
        shape[k] = size_of(x)
    apart = [np.reshape(x, tuple(-1 if j == k else 1 for j in range(ndim))) for k, x in zip(order, xi, strict=True)]
    grids = apart if sparse else [np.broadcast_to(x, tuple(shape)) for x in apart]
    return tuple(x.copy() if copy and type(x) is np.ndarray else x for x in grids)


@calls(np.ix_)
def ix_(*args: Any) -> Any:
    if any(ndim_of(a) != 1 for a in args):
        raise ValueError("Cross index must be 1 dimensional")
    return tuple(
        np.reshape(
            a if as_operand(a).dtype.kind != "b" else np.nonzero(a)[0],
            tuple(-1 if j == k else 1 for j in range(len(args))),
        )
        for k, a in enumerate(args)
    )


# ---- Diagonals and triangles ----


@calls(np.diagonal)
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    ndim = ndim_of(a)
    if ndim < 2:
        raise ValueError("diag requires an array of at least two dimensions")
    axis1, axis2 = normalize_axis_index(axis1, ndim), normalize_axis_index(axis2, ndim)
    if axis1 == axis2:
        raise ValueError("axis1 and axis2 cannot be the same")
    if (axis1, axis2) != (ndim - 2, ndim - 1):
        a = np.moveaxis(a, (axis1, axis2), (-2, -1))
    return p.diagonal(a, offset=operator.index(offset))


@calls(np.trace)
def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None) -> Any:
    only(out=out)
    return np.sum(diagonal(a, offset, axis1, axis2), axis=-1, dtype=dtype)


@calls(np.diag)
def diag(v: Any, k: int = 0) -> Any:
    if ndim_of(v) == 2:
        return diagonal(v, k)
    if ndim_of(v) != 1:
        raise ValueError("Input must be 1- or 2-d.")
    positions, k = np.arange(shape_of(v)[0]), int(k)
    size = positions.size + abs(k)
    return assemble([v], [(positions - min(k, 0), positions + max(k, 0))], (size, size))


@calls(np.diagflat)
def diagflat(v: Any, k: int = 0) -> Any:
    return diag(np.ravel(v), k)


@calls(np.tril)
def tril(m: Any, k: int = 0) -> Any:
    return _triangle(m, k, lower=True)


@calls(np.triu)
def triu(m: Any, k: int = 0) -> Any:
    return _triangle(m, k - 1, lower=False)


def _triangle(m: Any, k: int, lower: bool) -> Any:
    m = as_operand(m)
    rows, columns = (m.shape * 2)[-2:]  # a vector stands for equal rows, as in NumPy
    mask = np.tri(rows, columns, int(k), dtype=bool)
    zero = m.dtype.type(0)
    return np.where(mask, m, zero) if lower else np.where(mask, zero, m)


# ---- Other precisions ----


def astype(a: Any, dtype: Any, order: str = "K", casting: str = "unsafe", subok: bool = True, copy: bool = True) -> Any:
    """Convert; a conversion to integers or booleans has derivative zero, one to objects keeps traced elements."""
    wanted = np.dtype(dtype)
    if wanted.kind == "O" and is_traced(a):
        elements = np.empty(a.shape, wanted)
        for k in np.ndindex(a.shape):
            elements[k] = a[k]
        return elements if a.ndim else a
    if wanted.kind not in "biufc" and is_traced(a):
        raise LostGradientError(
            f"a conversion to {wanted} would lose the derivative. Leave it out, or convert the result of the "
            "differentiated function."
        )
    if casting != "unsafe" and not np.can_cast(a.dtype, wanted, casting):  # type: ignore[arg-type]
        raise TypeError(f"Cannot cast array data from {a.dtype!r} to {wanted!r} according to the rule {casting!r}")
    return a if a.dtype == wanted else p.astype(a, dtype=wanted)


if hasattr(np, "astype"):  # NumPy 2.1

    @calls(np.astype)
    def array_api_astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
        return astype(x, dtype)


@calls(np.copy)
def copy(a: Any, order: str = "K", subok: bool = False) -> Any:
    return np.positive(a)
