"""NumPy's other functions, written in terms of primitives: they need no rules of their own.

Each has NumPy's signature and is entered under the NumPy function it stands for.  Here arguments are brought into the
primitives' form: axes count from the end, shapes are complete, indices are tuples.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from wengert.errors import UnsupportedError
from wengert.primitives import structural as p
from wengert.primitives.table import calls
from wengert.program import Recordable

Axis = int | Sequence[int] | None
_UNSET: Any = np._NoValue


def negative_axes(ndim: int, axis: Axis) -> tuple[int, ...]:
    """Return axes as a sorted tuple that counts from the end; None means all of them."""
    if axis is None:
        return tuple(range(-ndim, 0))
    if type(axis) is int and -ndim <= axis < ndim:
        return (axis,) if axis < 0 else (axis - ndim,)
    return tuple(sorted(a - ndim for a in normalize_axis_tuple(axis, ndim)))


def _ndim(a: Any) -> int:
    """Return the number of dimensions without asking NumPy to dispatch: these are called for every line."""
    return a.ndim if hasattr(a, "ndim") else np.asarray(a).ndim


def _shape(a: Any) -> tuple[int, ...]:
    return a.shape if hasattr(a, "shape") else np.asarray(a).shape


def _dtype(a: Any) -> np.dtype[Any]:
    return a.dtype if hasattr(a, "dtype") else np.asarray(a).dtype


def _size(a: Any) -> int:
    return a.size if hasattr(a, "size") else np.asarray(a).size


def _only(**given: Any) -> None:
    for name, value in given.items():
        if value is not None and value is not _UNSET:
            raise UnsupportedError(
                f"the argument {name}= of this function has no rule on traced values yet; leave it out."
            )


# ---- Sums and means ----


@calls(np.sum)
def sum(  # noqa: A001
    a: Any, axis: Axis = None, dtype: Any = None, out: Any = None, keepdims: Any = _UNSET, initial: Any = _UNSET, where: Any = _UNSET
) -> Any:
    if out is not None:
        _only(out=out)
    if where is not _UNSET and where is not True:
        a = np.where(where, a, 0.0)
    if dtype is not None:
        a = astype(a, dtype)
    total = p.sum_(a, axis=negative_axes(_ndim(a), axis), keepdims=keepdims is not _UNSET and bool(keepdims))
    return total if initial is _UNSET else total + initial


def _flag(keepdims: Any) -> bool:
    return bool(keepdims) if keepdims is not _UNSET else False


def _count(a: Any, axis: Axis) -> int:
    return math.prod(_shape(a)[k] for k in negative_axes(_ndim(a), axis))


@calls(np.mean)
def mean(a: Any, axis: Axis = None, dtype: Any = None, out: Any = None, keepdims: Any = _UNSET, *, where: Any = _UNSET) -> Any:
    if out is not None:
        _only(out=out)
    if where is not _UNSET and where is not True:
        size = np.sum(np.broadcast_to(where, _shape(a)), axis=axis, keepdims=_flag(keepdims))
        return sum(a, axis, dtype, None, keepdims, where=where) / size.astype(a.dtype)
    return sum(a, axis, dtype, None, keepdims) / (_size(a) if axis is None else _count(a, axis))


@calls(np.average)
def average(a: Any, axis: Axis = None, weights: Any = None, returned: bool = False, *, keepdims: Any = _UNSET) -> Any:
    if weights is None:
        result, total = mean(a, axis, keepdims=keepdims), np.asarray(float(_count(a, axis)))
    else:
        if _shape(weights) != _shape(a) and isinstance(axis, int):
            spread = [1] * _ndim(a)
            spread[axis] = _shape(a)[axis]
            weights = np.reshape(weights, spread)
        kind = np.result_type(np.asarray(a) if isinstance(a, (list, tuple)) else a, weights)
        total = np.sum(np.broadcast_to(weights, _shape(a)), axis=axis, dtype=kind, keepdims=_flag(keepdims))
        result = np.sum(a * weights, axis=axis, keepdims=_flag(keepdims)) / total
    return (result, np.broadcast_to(total, _shape(result))) if returned else result


@calls(np.var)
def var(a: Any, axis: Axis = None, dtype: Any = None, out: Any = None, ddof: float = 0, keepdims: Any = _UNSET, *, where: Any = _UNSET, mean: Any = _UNSET, correction: Any = _UNSET) -> Any:
    _only(out=out, where=where)
    ddof = ddof if correction is _UNSET else correction
    center = np.mean(a, axis=axis, keepdims=True, dtype=dtype) if mean is _UNSET else mean
    return np.sum(np.square(a - center), axis=axis, keepdims=_flag(keepdims)) / (_count(a, axis) - ddof)


@calls(np.std)
def std(a: Any, axis: Axis = None, dtype: Any = None, out: Any = None, ddof: float = 0, keepdims: Any = _UNSET, *, where: Any = _UNSET, mean: Any = _UNSET, correction: Any = _UNSET) -> Any:
    return np.sqrt(var(a, axis, dtype, out, ddof, keepdims, where=where, mean=mean, correction=correction))


@calls(np.prod)
def prod(a: Any, axis: Axis = None, dtype: Any = None, out: Any = None, keepdims: Any = _UNSET, initial: Any = _UNSET, where: Any = _UNSET) -> Any:
    """Multiply halves together until one is left: exact derivatives at zeros too, to any order."""
    _only(out=out, dtype=dtype)
    if where is not _UNSET and where is not True:
        a = np.where(where, a, 1.0)
    axes = negative_axes(_ndim(a), axis)
    kept = tuple(1 if k - _ndim(a) in axes else s for k, s in enumerate(_shape(a)))
    result = a
    for k in axes:
        result = np.moveaxis(result, k, 0)
        if result.shape[0] == 0:
            result = np.ones((1, *result.shape[1:]), result.dtype)
        while result.shape[0] > 1:
            half = result.shape[0] // 2
            product = result[:half] * result[half : 2 * half]
            result = np.concatenate([product, result[2 * half :]]) if result.shape[0] % 2 else product
        result = np.moveaxis(result, 0, k)
    if initial is not _UNSET:
        result = result * initial
    return result if _flag(keepdims) else np.reshape(result, tuple(s for k, s in enumerate(kept) if k - len(kept) not in axes))


@calls(np.cumsum)
def cumsum(a: Any, axis: int | None = None, dtype: Any = None, out: Any = None) -> Any:
    _only(out=out, dtype=dtype)
    if axis is None:
        a, axis = np.ravel(a), 0
    return p.cumsum(a, axis=normalize_axis_index(axis, _ndim(a)) - _ndim(a))


def _extremum(primitive: Callable[..., Any], pair: Callable[..., Any]) -> Callable[..., Any]:
    def extremum(a: Any, axis: Axis = None, out: Any = None, keepdims: Any = _UNSET, initial: Any = _UNSET, where: Any = _UNSET) -> Any:
        _only(out=out)
        if where is not _UNSET and where is not True:
            a = np.where(where, a, initial)
        result = primitive(a, axis=negative_axes(_ndim(a), axis), keepdims=_flag(keepdims))
        return result if initial is _UNSET else pair(result, initial)

    return extremum


max = calls(np.max, np.amax)(_extremum(p.max_, np.maximum))  # noqa: A001
min = calls(np.min, np.amin)(_extremum(p.min_, np.minimum))  # noqa: A001


@calls(np.ptp)
def ptp(a: Any, axis: Axis = None, out: Any = None, keepdims: Any = _UNSET) -> Any:
    return max(a, axis, out, keepdims) - min(a, axis, out, keepdims)


@calls(np.argmax)
def argmax(a: Any, axis: int | None = None, out: Any = None, *, keepdims: Any = _UNSET) -> Any:
    _only(out=out, keepdims=keepdims)
    return p.argmax(a, axis=axis)


@calls(np.argmin)
def argmin(a: Any, axis: int | None = None, out: Any = None, *, keepdims: Any = _UNSET) -> Any:
    _only(out=out, keepdims=keepdims)
    return p.argmin(a, axis=axis)


@calls(np.all)
def all(a: Any, axis: Axis = None, out: Any = None, keepdims: Any = _UNSET, *, where: Any = _UNSET) -> Any:  # noqa: A001
    _only(out=out, where=where)
    return p.all_(a, axis=negative_axes(_ndim(a), axis), keepdims=_flag(keepdims))


@calls(np.any)
def any(a: Any, axis: Axis = None, out: Any = None, keepdims: Any = _UNSET, *, where: Any = _UNSET) -> Any:  # noqa: A001
    _only(out=out, where=where)
    return p.any_(a, axis=negative_axes(_ndim(a), axis), keepdims=_flag(keepdims))


# ---- Shapes ----


@calls(np.reshape)
def reshape(a: Any, /, shape: Any = None, order: str = "C", *, copy: Any = None) -> Any:
    if order != "C":
        if order == "F":
            wanted = _complete(shape, math.prod(_shape(a)))
            return np.transpose(reshape(np.transpose(a), wanted[::-1]))
        raise UnsupportedError(f"reshape with order={order!r} has no rule; use order='C' or 'F'.")
    return p.reshape(a, shape=_complete(shape, math.prod(_shape(a))))


def _complete(shape: Any, size: int) -> tuple[int, ...]:
    wanted = tuple(int(s) for s in shape) if np.iterable(shape) else (int(shape),)
    if -1 in wanted:
        rest = math.prod(s for s in wanted if s != -1)
        wanted = tuple(size // rest if s == -1 and rest else s for s in wanted)
    if math.prod(wanted) != size:
        raise ValueError(f"cannot reshape array of size {size} into shape {tuple(np.atleast_1d(shape))}")
    return wanted


@calls(np.ravel)
def ravel(a: Any, order: str = "C") -> Any:
    return reshape(a, -1, order)


@calls(np.transpose)
def transpose(a: Any, axes: Any = None) -> Any:
    ndim = _ndim(a)
    order = range(ndim)[::-1] if axes is None else [normalize_axis_index(k, ndim) for k in axes]
    return p.transpose(a, axes=tuple(order))


@calls(np.matrix_transpose)
def matrix_transpose(x: Any, /) -> Any:
    return np.swapaxes(x, -1, -2)


@calls(np.swapaxes)
def swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    order = list(range(_ndim(a)))
    order[axis1], order[axis2] = order[axis2], order[axis1]
    return p.transpose(a, axes=tuple(order))


@calls(np.moveaxis)
def moveaxis(a: Any, source: Any, destination: Any) -> Any:
    ndim = _ndim(a)
    origin, goal = normalize_axis_tuple(source, ndim), normalize_axis_tuple(destination, ndim)
    order = [k for k in range(ndim) if k not in origin]
    for to, of in sorted(zip(goal, origin, strict=True)):
        order.insert(to, of)
    return p.transpose(a, axes=tuple(order))


@calls(np.expand_dims)
def expand_dims(a: Any, axis: Axis) -> Any:
    axes = axis if np.iterable(axis) else (axis,)
    ndim = _ndim(a) + len(axes)
    places = normalize_axis_tuple(axes, ndim)  # type: ignore[arg-type]
    sizes = iter(_shape(a))
    return p.reshape(a, shape=tuple(1 if k in places else next(sizes) for k in range(ndim)))


@calls(np.squeeze)
def squeeze(a: Any, axis: Axis = None) -> Any:
    shape = _shape(a)
    gone = [k for k, s in enumerate(shape) if s == 1] if axis is None else normalize_axis_tuple(axis, len(shape))
    if [k for k in gone if shape[k] != 1]:
        raise ValueError("cannot select an axis to squeeze out which has size not equal to one")
    return p.reshape(a, shape=tuple(s for k, s in enumerate(shape) if k not in gone))


@calls(np.atleast_1d)
def atleast_1d(*arys: Any) -> Any:
    results = tuple(np.reshape(a, (1,)) if _ndim(a) == 0 else a for a in arys)
    return results[0] if len(results) == 1 else results


@calls(np.atleast_2d)
def atleast_2d(*arys: Any) -> Any:
    results = tuple(np.reshape(a, (1, -1)) if _ndim(a) < 2 else a for a in arys)
    return results[0] if len(results) == 1 else results


@calls(np.broadcast_to)
def broadcast_to(array: Any, shape: Any, subok: bool = False) -> Any:
    wanted = tuple(shape) if np.iterable(shape) else (shape,)
    return p.broadcast_to(array, shape=wanted)


@calls(np.broadcast_arrays)
def broadcast_arrays(*args: Any, subok: bool = False) -> Any:
    shape = np.broadcast_shapes(*[_shape(a) for a in args])
    return tuple(np.broadcast_to(a, shape) for a in args)


@calls(np.flip)
def flip(m: Any, axis: Axis = None) -> Any:
    axes = normalize_axis_tuple(range(_ndim(m)) if axis is None else axis, _ndim(m))
    return m[tuple(slice(None, None, -1) if k in axes else slice(None) for k in range(_ndim(m)))]


@calls(np.diagonal)
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    moved = np.moveaxis(a, (axis1, axis2), (-2, -1))
    rows, columns = moved.shape[-2:]
    size = builtins.max(0, builtins.min(rows + builtins.min(offset, 0), columns - builtins.max(offset, 0)))
    k = np.arange(size)
    return moved[..., k - builtins.min(offset, 0), k + builtins.max(offset, 0)]


@calls(np.trace)
def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None) -> Any:
    _only(dtype=dtype, out=out)
    return np.sum(diagonal(a, offset, axis1, axis2), axis=-1)


# ---- Joining ----


def _as_operands(arrays: Any) -> list[Any]:
    return [a if hasattr(a, "shape") else np.asarray(a) for a in arrays]


@calls(np.stack)
def stack(arrays: Any, axis: int = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    _only(out=out, dtype=dtype)
    operands = _as_operands(arrays)
    if len({_shape(a) for a in operands}) > 1:
        raise ValueError("all input arrays must have the same shape")
    ndim = _ndim(operands[0]) + 1
    return p.stack(*operands, axis=normalize_axis_index(axis, ndim) - ndim)


@calls(np.concatenate)
def concatenate(arrays: Any, /, axis: int | None = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    _only(out=out, dtype=dtype)
    operands = _as_operands(arrays)
    if axis is None:
        operands, axis = [np.ravel(a) for a in operands], 0
    ndim = _ndim(operands[0])
    return p.concatenate(*operands, axis=normalize_axis_index(axis, ndim) - ndim)


@calls(np.vstack)
def vstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    return concatenate([np.atleast_2d(a) for a in tup], 0, dtype=dtype)


@calls(np.hstack)
def hstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    parts = [np.atleast_1d(a) for a in tup]
    return concatenate(parts, 0 if _ndim(parts[0]) == 1 else 1, dtype=dtype)


@calls(np.column_stack)
def column_stack(tup: Any) -> Any:
    return concatenate([np.reshape(a, (-1, 1)) if _ndim(a) < 2 else a for a in tup], 1)


@calls(np.append)
def append(arr: Any, values: Any, axis: int | None = None) -> Any:
    return concatenate([arr, values], axis)


# ---- Choosing ----


@calls(np.where)
def where(condition: Any, x: Any = None, y: Any = None, /) -> Any:
    if x is None or y is None:
        raise UnsupportedError("np.where with one argument gives positions that depend on the values; use np.where(condition, a, b).")
    return p.where(condition, x, y)


@calls(np.clip)
def clip(a: Any, a_min: Any = None, a_max: Any = None, out: Any = None, *, min: Any = None, max: Any = None, **kwargs: Any) -> Any:  # noqa: A002
    if out is not None:
        _only(out=out)
    low, high = (a_min if min is None else min), (a_max if max is None else max)
    result = a if low is None else np.maximum(a, low)
    return result if high is None else np.minimum(result, high)


# ---- Products ----


@calls(np.matmul)
def matmul(a: Any, b: Any, /, **kwargs: Any) -> Any:
    """Multiply; a vector meets a stack of matrices as a matrix with one row or column."""
    left, right = _ndim(a), _ndim(b)
    if right == 1 and left > 2:
        return p.matmul(a, np.reshape(b, (-1, 1)))[..., 0]
    if left == 1 and right > 2:
        return p.matmul(np.reshape(a, (1, -1)), b)[..., 0, :]
    if left == 0 or right == 0:
        raise ValueError("matmul: Input operand does not have enough dimensions (a scalar cannot be a matrix; use *)")
    return p.matmul(a, b)


@calls(np.dot)
def dot(a: Any, b: Any, out: Any = None) -> Any:
    if out is not None:
        _only(out=out)
    left, right = _ndim(a), _ndim(b)
    if left == 0 or right == 0:
        return np.multiply(a, b)
    if left <= 2 and right <= 2:
        return p.matmul(a, b)
    return np.tensordot(a, b, axes=((-1,), (-2 if _ndim(b) > 1 else -1,)))


@calls(np.inner)
def inner(a: Any, b: Any, /) -> Any:
    if _ndim(a) == 0 or _ndim(b) == 0:
        return np.multiply(a, b)
    return np.tensordot(a, b, axes=((-1,), (-1,)))


@calls(np.vdot)
def vdot(a: Any, b: Any, /) -> Any:
    return p.matmul(np.conj(np.ravel(a)) if _dtype(a).kind == "c" else np.ravel(a), np.ravel(b))


@calls(np.outer)
def outer(a: Any, b: Any, out: Any = None) -> Any:
    if out is not None:
        _only(out=out)
    return np.reshape(a, (-1, 1)) * np.reshape(b, (1, -1))


@calls(np.tensordot)
def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """Bring the summed axes together and multiply as matrices."""
    if np.iterable(axes):
        left, right = (tuple(k) if np.iterable(k) else (k,) for k in axes)
    else:
        left, right = tuple(range(-axes, 0)), tuple(range(axes))
    left, right = normalize_axis_tuple(left, _ndim(a)), normalize_axis_tuple(right, _ndim(b))
    rows = [k for k in range(_ndim(a)) if k not in left]
    columns = [k for k in range(_ndim(b)) if k not in right]
    shape = tuple(_shape(a)[k] for k in rows) + tuple(_shape(b)[k] for k in columns)
    length = math.prod(_shape(a)[k] for k in left)
    A = np.reshape(np.transpose(a, (*rows, *left)), (-1, length))
    B = np.reshape(np.transpose(b, (*right, *columns)), (length, -1))
    return np.reshape(p.matmul(A, B), shape)


# ---- Values that only have a shape ----


def astype(a: Any, dtype: Any) -> Any:
    """Convert; a conversion to integers or booleans has derivative zero."""
    wanted = np.dtype(dtype)
    return a if a.dtype == wanted else p.astype(a, dtype=wanted)


@calls(np.zeros_like)
def zeros_like(a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, **kwargs: Any) -> Any:
    return np.zeros(_shape(a) if shape is None else shape, a.dtype if dtype is None else dtype)


@calls(np.ones_like)
def ones_like(a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, **kwargs: Any) -> Any:
    return np.ones(_shape(a) if shape is None else shape, a.dtype if dtype is None else dtype)


@calls(np.full_like)
def full_like(a: Any, fill_value: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, **kwargs: Any) -> Any:
    wanted, kind = _shape(a) if shape is None else shape, a.dtype if dtype is None else dtype
    if not hasattr(fill_value, "astype"):
        return np.full(wanted, fill_value, kind)
    return np.broadcast_to(fill_value.astype(kind), wanted)


@calls(np.shape)
def shape(a: Any) -> tuple[int, ...]:
    return a.shape if hasattr(a, "shape") else np.asarray(a).shape


@calls(np.ndim)
def ndim(a: Any) -> int:
    return len(shape(a))


@calls(np.size)
def size(a: Any, axis: int | None = None) -> int:
    return math.prod(shape(a)) if axis is None else shape(a)[axis]


@calls(np.copy)
def copy(a: Any, order: str = "K", subok: bool = False) -> Any:
    return np.positive(a)


@calls(np.angle)
def angle(z: Any, deg: bool = False) -> Any:
    result = np.arctan2(np.imag(z), np.real(z))
    return result * (180 / math.pi) if deg else result


@calls(np.result_type)
def result_type(*arrays_and_dtypes: Any) -> Any:
    kinds = [a.dtype if isinstance(a, Recordable) else a for a in arrays_and_dtypes]  # type: ignore[attr-defined]
    return np.result_type(*kinds)


@calls(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:  # noqa: A002
    if ord not in (None, 2, "fro") or (ord == 2 and axis is None and _ndim(x) == 2):
        raise UnsupportedError(f"np.linalg.norm with ord={ord!r} has no rule yet; supported: None, 2 of vectors, 'fro'.")
    return np.sqrt(np.sum(np.square(x), axis=axis, keepdims=keepdims))

