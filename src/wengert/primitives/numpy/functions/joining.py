"""Arrays put together and taken apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from wengert.errors import UnsupportedError
from wengert.primitives.numpy import structural as p
from wengert.primitives.numpy.functions.manipulation import astype, atleast_3d
from wengert.primitives.numpy.functions.operands import along, as_operand, decided, ndim_of, only, shape_of
from wengert.primitives.table import calls

# ---- Together ----


def _operands(arrays: Any, dtype: Any = None, casting: str = "same_kind") -> list[Any]:
    operands = [a if hasattr(a, "shape") else np.asarray(a) for a in arrays]
    return operands if dtype is None else [astype(a, dtype, casting=casting) for a in operands]


@calls(np.stack)
def stack(arrays: Any, axis: int = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    only(out=out)
    operands = _operands(arrays, dtype, casting)
    if not operands:
        raise ValueError("need at least one array to stack")
    if len({shape_of(a) for a in operands}) > 1:
        raise ValueError("all input arrays must have the same shape")
    ndim = ndim_of(operands[0]) + 1
    return p.stack(*operands, axis=normalize_axis_index(axis, ndim) - ndim)


@calls(np.concatenate)
def concatenate(
    arrays: Any, /, axis: int | None = 0, out: Any = None, *, dtype: Any = None, casting: str = "same_kind"
) -> Any:
    only(out=out)
    operands = _operands(arrays, dtype, casting)
    if axis is None:
        operands, axis = [np.ravel(a) for a in operands], 0
    ndim = ndim_of(operands[0])
    if ndim == 0:
        raise ValueError("zero-dimensional arrays cannot be concatenated")
    return p.concatenate(*operands, axis=normalize_axis_index(axis, ndim) - ndim)


@calls(np.vstack)
def vstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    return concatenate([np.atleast_2d(a) for a in tup], 0, dtype=dtype, casting=casting)


@calls(np.hstack)
def hstack(tup: Any, *, dtype: Any = None, casting: str = "same_kind") -> Any:
    parts = [np.atleast_1d(a) for a in tup]
    return concatenate(parts, 0 if parts and ndim_of(parts[0]) == 1 else 1, dtype=dtype, casting=casting)


@calls(np.dstack)
def dstack(tup: Any) -> Any:
    return concatenate([atleast_3d(a) for a in tup], 2)


@calls(np.column_stack)
def column_stack(tup: Any) -> Any:
    return concatenate([np.reshape(a, (-1, 1)) if ndim_of(a) < 2 else a for a in tup], 1)


@calls(np.append)
def append(arr: Any, values: Any, axis: int | None = None) -> Any:
    return concatenate([arr, values], axis)


@calls(np.block)
def block(arrays: Any) -> Any:
    """Join nested lists: the innermost along the last axis, each level around it along the axis before."""

    def depth(a: Any) -> int:
        if isinstance(a, tuple):
            raise TypeError("arrays is a tuple. Only lists can be used to arrange blocks.")
        if not isinstance(a, list):
            return 0
        depths = {depth(item) for item in a}
        if len(depths) > 1 or not a:
            raise ValueError("List depths are mismatched, or a list is empty.")
        return 1 + depths.pop()

    def leaves(a: Any) -> list[Any]:
        return [leaf for item in a for leaf in leaves(item)] if isinstance(a, list) else [a]

    levels = depth(arrays)
    ndim = max(levels, *[ndim_of(a) for a in leaves(arrays)])

    def joined(a: Any, level: int) -> Any:
        if isinstance(a, list):
            return concatenate([joined(item, level + 1) for item in a], level - levels)
        shape = shape_of(a)
        return np.reshape(a, (1,) * (ndim - len(shape)) + shape) if len(shape) < ndim else as_operand(a)

    result = joined(arrays, 0)
    return np.positive(result) if levels == 0 else result


@calls(np.insert)
def insert(arr: Any, obj: Any, values: Any, axis: int | None = None) -> Any:
    arr, values, obj = as_operand(arr), as_operand(values), decided(obj)
    if axis is None:
        arr, axis = np.ravel(arr), 0
    axis = normalize_axis_index(axis, arr.ndim)
    n = arr.shape[axis]
    values = values if values.dtype == arr.dtype else astype(values, arr.dtype)
    single = not isinstance(obj, slice) and np.ndim(obj) == 0
    if single and values.ndim:
        values = np.moveaxis(values, 0, axis) if values.ndim == arr.ndim else values
    rest = arr.shape[:axis] + arr.shape[axis + 1 :]
    if single and (values.ndim < arr.ndim or arr.ndim == 1):
        many = values.shape[0] if values.ndim == arr.ndim == 1 else 1
    elif single:
        many = values.shape[axis]
    else:
        many = len(np.insert(np.arange(n), obj, -1)) - n
    shape = (*arr.shape[:axis], many, *arr.shape[axis + 1 :])
    if single and values.ndim < arr.ndim and arr.ndim > 1:
        values = np.expand_dims(np.broadcast_to(values, rest), axis)
    order = np.insert(np.arange(n), obj, np.arange(n, n + many))
    return along(np.concatenate([arr, np.broadcast_to(values, shape)], axis=axis), axis, order)


@calls(np.delete)
def delete(arr: Any, obj: Any, axis: int | None = None) -> Any:
    arr = as_operand(arr)
    if axis is None:
        arr, axis = np.ravel(arr), 0
    axis = normalize_axis_index(axis, arr.ndim)
    return along(arr, axis, np.delete(np.arange(arr.shape[axis]), decided(obj)))


# ---- Apart ----


@calls(np.array_split)
def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    axis = normalize_axis_index(axis, ndim_of(ary))
    pieces = np.array_split(np.arange(shape_of(ary)[axis]), decided(indices_or_sections))
    bounds = [slice(int(k[0]), int(k[-1]) + 1) if k.size else slice(0, 0) for k in pieces]
    return [ary[(slice(None),) * axis + (bound,)] for bound in bounds]


@calls(np.split)
def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    if np.ndim(indices_or_sections) == 0 and shape_of(ary)[axis] % indices_or_sections:
        raise ValueError("array split does not result in an equal division")
    return array_split(ary, indices_or_sections, axis)


def _split_along(name: str, axis: int, least: int) -> Callable[..., Any]:
    def split_along(ary: Any, indices_or_sections: Any) -> Any:
        if ndim_of(ary) < least:
            raise ValueError(f"{name} only works on arrays of {least} or more dimensions")
        return split(ary, indices_or_sections, min(axis, ndim_of(ary) - 1))

    return split_along


calls(np.hsplit)(_split_along("hsplit", 1, 1))
calls(np.vsplit)(_split_along("vsplit", 0, 2))
calls(np.dsplit)(_split_along("dsplit", 2, 3))


if hasattr(np, "unstack"):  # NumPy 2.1

    @calls(np.unstack)
    def unstack(x: Any, /, *, axis: int = 0) -> Any:
        if x.ndim == 0:
            raise ValueError("Input array must be at least 1-d.")
        return tuple(np.moveaxis(x, axis, 0))


# ---- Around the edges ----


@calls(np.pad)
def pad(array: Any, pad_width: Any, mode: Any = "constant", **kwargs: Any) -> Any:
    """Pad one axis after the other, as NumPy does: copies of elements by index, statistics and ramps as blocks."""
    array = as_operand(array)
    widths = _pairs(_widths(pad_width, array.ndim), array.ndim)
    if array.ndim and np.asarray(widths).dtype.kind not in "biu":
        raise TypeError("`pad_width` must be of integral type.")
    if np.any(np.asarray(widths) < 0):
        raise ValueError("index can't contain negative values")
    if callable(mode):
        raise UnsupportedError("np.pad with a function for mode writes in place; use one of the named modes.")
    allowed = {
        **dict.fromkeys(("empty", "edge", "wrap"), ()),
        "constant": ("constant_values",), "linear_ramp": ("end_values",),
        **dict.fromkeys(("maximum", "mean", "median", "minimum"), ("stat_length",)),
        **dict.fromkeys(("reflect", "symmetric"), ("reflect_type",)),
    }  # fmt: skip
    if mode not in allowed:
        raise ValueError(f"mode '{mode}' is not supported")
    if set(kwargs) - set(allowed[mode]):
        raise ValueError(f"unsupported keyword arguments for mode '{mode}': {set(kwargs) - set(allowed[mode])}")
    result = array
    for axis, (before, after) in enumerate(widths):
        if before or after:
            result = _pad_axis(result, axis, int(before), int(after), mode, kwargs, array.ndim)
    return result if result is not array else np.positive(array)


def _widths(pad_width: Any, ndim: int) -> Any:
    if not isinstance(pad_width, dict):
        return pad_width
    widths: list[Any] = [(0, 0)] * ndim
    for axis, width in pad_width.items():
        widths[axis] = width if np.iterable(width) else (width, width)
    return widths


def _pairs(values: Any, ndim: int) -> list[tuple[Any, Any]]:
    """Return one pair for each axis; a number, one or two numbers, or pairs are broadcast, as NumPy does."""
    if values is None:
        return [(None, None)] * ndim
    pairs = np.broadcast_to(values, (ndim, 2))
    return [(pairs[k, 0], pairs[k, 1]) for k in range(ndim)]


def _pad_axis(a: Any, axis: int, before: int, after: int, mode: str, options: Any, ndim: int) -> Any:
    n = a.shape[axis]
    axes_before = (slice(None),) * axis
    if mode in ("edge", "wrap", "reflect", "symmetric"):
        if n == 0:
            raise ValueError(f"can't extend empty axis {axis} using modes other than 'constant' or 'empty'")
        order = np.pad(np.arange(n), (before, after), mode)  # type: ignore[call-overload]
        result = along(a, axis, order)
        if options.get("reflect_type", "even") == "even" or mode in ("edge", "wrap"):
            return result
        return _odd(a, axis, before, after, mode)
    if mode == "constant":
        ends = _pairs(options.get("constant_values", 0), ndim)[axis]
        blocks = [_filled(a, axis, width, end) for width, end in zip((before, after), ends, strict=True)]
    elif mode == "empty":
        blocks = [_filled(a, axis, width, 0) for width in (before, after)]
    elif n == 0:
        raise ValueError(f"can't extend empty axis {axis} using modes other than 'constant' or 'empty'")
    elif mode == "linear_ramp":
        limits = [astype(as_operand(end), a.dtype) for end in _pairs(options.get("end_values", 0), ndim)[axis]]
        first, last = a[(*axes_before, slice(0, 1))], a[(*axes_before, slice(n - 1, n))]
        spread = (1,) * axis + (-1,) + (1,) * (a.ndim - axis - 1)
        up = np.reshape(np.arange(before) / max(before, 1), spread).astype(a.dtype)
        down = np.reshape(np.arange(after - 1, -1, -1) / max(after, 1), spread).astype(a.dtype)
        blocks = [limits[0] + (first - limits[0]) * up, limits[1] + (last - limits[1]) * down]
    else:
        statistics: dict[str, Any] = {"maximum": np.max, "minimum": np.min, "mean": np.mean, "median": np.median}
        lengths = [n if k is None else min(int(k), n) for k in _pairs(options.get("stat_length"), ndim)[axis]]
        if 0 in lengths and mode in ("maximum", "minimum"):
            raise ValueError("stat_length of 0 yields no value for padding")
        parts = a[(*axes_before, slice(0, lengths[0]))], a[(*axes_before, slice(n - lengths[1], n))]
        blocks = [
            np.repeat(statistics[mode](part, axis=axis, keepdims=True), width, axis=axis)
            for part, width in zip(parts, (before, after), strict=True)
        ]
    return np.concatenate([blocks[0], a, blocks[1]], axis=axis)


def _filled(a: Any, axis: int, width: int, value: Any) -> Any:
    shape = (*a.shape[:axis], width, *a.shape[axis + 1 :])
    value = as_operand(value)
    return np.broadcast_to(value if value.dtype == a.dtype else astype(value, a.dtype), shape)


def _odd(a: Any, axis: int, before: int, after: int, mode: str) -> Any:
    """Reflect the padded array through its edge values, repeatedly until it is long enough."""
    axes_before = (slice(None),) * axis
    skip = 1 if mode == "reflect" else 0
    while before or after:
        n = a.shape[axis]
        most = n - skip
        if most == 0:
            first = a[(*axes_before, slice(0, 1))]
            return np.concatenate([np.repeat(first, before, axis), a, np.repeat(first, after, axis)], axis=axis)
        left, right = min(before, most), min(after, most)
        head = along(a, axis, np.arange(left - 1 + skip, skip - 1, -1) if left else np.arange(0))
        tail = along(a, axis, np.arange(n - 1 - skip, n - 1 - skip - right, -1))
        first, last = a[(*axes_before, slice(0, 1))], a[(*axes_before, slice(n - 1, n))]
        a = np.concatenate([2 * first - head, a, 2 * last - tail], axis=axis)
        before, after = before - left, after - right
    return a
