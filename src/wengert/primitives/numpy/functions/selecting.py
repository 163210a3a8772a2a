"""Elements chosen by position, by condition or by size."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from wengert.errors import UnsupportedError
from wengert.jacobians import assemble
from wengert.primitives.numpy import structural as p
from wengert.primitives.numpy.functions.manipulation import astype
from wengert.primitives.numpy.functions.operands import (
    UNSET,
    along,
    as_operand,
    fixed,
    is_traced,
    ndim_of,
    negative_axis,
    on_axis,
    only,
    pick,
)
from wengert.primitives.table import calls

# ---- By position ----


@calls(np.take)
def take(a: Any, indices: Any, axis: int | None = None, out: Any = None, mode: str = "raise") -> Any:
    only(out=out)
    a, axis = on_axis(as_operand(a), axis)
    indices = as_operand(indices)
    if indices.dtype.kind not in "biu" and indices.size and indices.ndim:
        raise TypeError(f"Cannot cast array data from {indices.dtype!r} to dtype('int64') according to the rule 'safe'")
    indices = astype(indices, np.intp)
    if mode == "clip":
        indices = np.clip(indices, 0, a.shape[axis] - 1)
    elif mode == "wrap":
        indices = indices % a.shape[axis]
    elif mode != "raise":
        raise ValueError(f"clipmode must be one of 'clip', 'raise', or 'wrap' (got '{mode}')")
    return along(a, axis, int(indices) if indices.ndim == 0 and not is_traced(indices) else indices)


@calls(np.take_along_axis)
def take_along_axis(arr: Any, indices: Any, axis: int | None = -1) -> Any:
    arr = as_operand(arr)
    if axis is None:
        if indices.ndim != 1:
            raise ValueError("when axis=None, `indices` must have a single dimension.")
        arr, axis = np.ravel(arr), 0
    axis = normalize_axis_index(axis, arr.ndim)
    if indices.dtype.kind not in "iu":
        raise IndexError("`indices` must be an integer array")
    if arr.ndim != indices.ndim:
        raise ValueError("`indices` and `arr` must have the same number of dimensions")
    others = [
        indices if k == axis else np.arange(n).reshape((1,) * k + (-1,) + (1,) * (arr.ndim - k - 1))
        for k, n in enumerate(arr.shape)
    ]
    return pick(arr, tuple(others))


@calls(np.compress)
def compress(condition: Any, a: Any, axis: int | None = None, out: Any = None) -> Any:
    only(out=out)
    a, axis = on_axis(as_operand(a), axis)
    condition = as_operand(condition)
    if condition.ndim != 1:
        raise ValueError("condition must be a 1-d array")
    return along(a, axis, flatnonzero(condition))


@calls(np.extract)
def extract(condition: Any, arr: Any) -> Any:
    return along(np.ravel(arr), 0, flatnonzero(condition))


@calls(np.choose)
def choose(a: Any, choices: Any, out: Any = None, mode: str = "raise") -> Any:
    only(out=out)
    a, choices = as_operand(a), [as_operand(c) for c in choices]
    n = len(choices)
    if a.dtype.kind not in "biu":
        raise TypeError(f"Cannot cast array data from {a.dtype!r} to dtype('int64') according to the rule 'safe'")
    if mode == "raise" and np.any((a < 0) | (a >= n)):
        raise ValueError("invalid entry in choice array")
    a = np.clip(a, 0, n - 1) if mode == "clip" else a % n if mode == "wrap" else a
    shape = np.broadcast_shapes(a.shape, *[c.shape for c in choices])
    kind = np.result_type(*[c.dtype for c in choices])
    result = astype(np.broadcast_to(choices[-1], shape), kind)
    for k in range(n - 1):
        result = np.where(a == k, choices[k], result)
    return result


@calls(np.select)
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    if len(condlist) != len(choicelist):
        raise ValueError("list of cases must be same length as list of conditions")
    if not len(condlist):
        raise ValueError("select with an empty condition list is not possible")
    conditions = [as_operand(c) for c in condlist]
    for k, condition in enumerate(conditions):
        if condition.dtype.kind != "b":
            raise TypeError(f"invalid entry {k} in condlist: should be boolean ndarray")
    values = [v if type(v) in (int, float, complex) else as_operand(v) for v in (*choicelist, default)]
    kind = np.result_type(*[v if type(v) in (int, float, complex) else v.dtype for v in values])
    values = [astype(as_operand(v), kind) for v in values]
    shape = np.broadcast_shapes(*[c.shape for c in conditions], *[v.shape for v in values[:-1]])
    result = np.broadcast_to(values[-1], shape)
    for condition, value in zip(conditions[::-1], values[-2::-1], strict=True):
        result = np.where(condition, value, result)
    return result


@calls(np.piecewise)
def piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **kw: Any) -> Any:
    """Call each function on the elements where its condition holds, and put the results back where they belong."""
    x = as_operand(x)
    if (
        not isinstance(condlist, (list, tuple))
        and ndim_of(condlist) <= x.ndim
        and (ndim_of(condlist) == x.ndim or x.ndim == 0)
    ) or (
        isinstance(condlist, (list, tuple))
        and (not isinstance(condlist[0], (list, tuple)) and ndim_of(condlist[0]) == 0 and x.ndim)
    ):
        condlist = [condlist]
    conditions = [astype(as_operand(c), bool) for c in condlist]
    if len(funclist) not in (len(conditions), len(conditions) + 1):
        raise ValueError(
            f"with {len(conditions)} condition(s), either {len(conditions)} or {len(conditions) + 1} "
            "functions are expected"
        )
    if len(funclist) == len(conditions) + 1:
        covered = conditions[0]
        for condition in conditions[1:]:
            covered = covered | condition
        conditions.append(~covered)
    result = np.zeros(x.shape, x.dtype)
    for condition, function in zip(conditions, funclist, strict=True):
        if not callable(function):
            result = np.where(condition, astype(as_operand(function), x.dtype), result)
            continue
        positions = nonzero(condition) if x.ndim else ()
        if x.ndim == 0:
            if condition:
                result = astype(as_operand(function(np.reshape(x, (1,)), *args, **kw)), x.dtype)[0]
            continue
        chosen = pick(x, positions)
        if chosen.size:
            values = np.broadcast_to(astype(as_operand(function(chosen, *args, **kw)), x.dtype), chosen.shape)
            result = np.where(condition, assemble([values], [positions], x.shape), result)
    return result


# ---- By condition ----


@calls(np.where)
def where(condition: Any, x: Any = UNSET, y: Any = UNSET, /) -> Any:
    if x is UNSET and y is UNSET:
        return nonzero(condition)
    if x is UNSET or y is UNSET:
        raise ValueError("either both or neither of x and y should be given")
    return p.where(condition, x, y)


@calls(np.clip)
@calls(np._core.umath.clip)  # type: ignore[attr-defined] # the method of a plain array calls it
def clip(
    a: Any,
    a_min: Any = UNSET,
    a_max: Any = UNSET,
    out: Any = None,
    *,
    min: Any = UNSET,
    max: Any = UNSET,
    **kwargs: Any,
) -> Any:
    if out is not None:
        only(out=out)
    if (a_min is not UNSET or a_max is not UNSET) and (min is not UNSET or max is not UNSET):
        raise ValueError("Passing `min` or `max` keyword argument when `a_min` and `a_max` are provided is forbidden.")
    if (a_min is UNSET) != (a_max is UNSET) and min is UNSET and max is UNSET:
        raise TypeError(
            "clip() missing 1 required positional argument: " + ("'a_min'" if a_min is UNSET else "'a_max'")
        )
    low, high = (a_min if min is UNSET else min), (a_max if max is UNSET else max)
    result = a if low is None or low is UNSET else np.maximum(a, low, **kwargs)
    return result if high is None or high is UNSET else np.minimum(result, high, **kwargs)


@calls(np.nan_to_num)
def nan_to_num(x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    x = as_operand(x)
    if x.dtype.kind not in "fc":
        return x
    if x.dtype.kind == "c":
        parts = [nan_to_num(part, copy, nan, posinf, neginf) for part in (np.real(x), np.imag(x))]
        return parts[0] + 1j * parts[1]
    if not copy:
        raise UnsupportedError("np.nan_to_num with copy=False writes in place; use its result instead.")
    limits = np.finfo(x.dtype)
    kind = x.dtype.type
    x = np.where(np.isnan(x), kind(nan), x)
    x = np.where(x == np.inf, kind(limits.max if posinf is None else posinf), x)
    return np.where(x == -np.inf, kind(limits.min if neginf is None else neginf), x)


# ---- Positions: they depend on the values in jumps, so they have no derivative ----


@calls(np.nonzero)
def nonzero(a: Any) -> Any:
    a = as_operand(a)
    if a.ndim == 0:
        raise ValueError("Calling nonzero on 0d arrays is not allowed. Use np.atleast_1d(scalar).nonzero() instead.")
    rows = argwhere(a)
    return tuple(rows[:, k] for k in range(a.ndim))


@calls(np.argwhere)
def argwhere(a: Any) -> Any:
    return fixed(p.argwhere(a))


@calls(np.flatnonzero)
def flatnonzero(a: Any) -> Any:
    return argwhere(np.ravel(a))[:, 0]


@calls(np.searchsorted)
def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Any:
    if side not in ("left", "right"):
        raise ValueError(f"search side must be one of 'left' or 'right' (got '{side}')")
    if ndim_of(a) != 1:
        raise ValueError("object too deep for desired array")
    if sorter is not None:
        a = along(a, 0, as_operand(sorter))
    return p.searchsorted(a, v, side=side)


@calls(np.digitize)
def digitize(x: Any, bins: Any, right: bool = False) -> Any:
    x, bins = as_operand(x), as_operand(bins)
    steps = np.diff(bins)
    if np.all(steps >= 0):
        return searchsorted(bins, x, "left" if right else "right")
    if not np.all(steps <= 0):
        raise ValueError("bins must be monotonically increasing or decreasing")
    return bins.shape[0] - searchsorted(bins[::-1], x, "right" if right else "left")


@calls(np.isin)
def isin(
    element: Any, test_elements: Any, assume_unique: bool = False, invert: bool = False, *, kind: Any = None
) -> Any:
    return p.isin(element, test_elements, invert=invert)


@calls(np.unravel_index)
def unravel_index(indices: Any, shape: Any, order: str = "C") -> Any:
    if order != "C":
        return unravel_index(indices, tuple(shape)[::-1])[::-1]
    coordinates = []
    for n in tuple(shape)[::-1]:
        coordinates.append(indices % n)
        indices = indices // n
    return tuple(coordinates[::-1])


@calls(np.ravel_multi_index)
def ravel_multi_index(multi_index: Any, dims: Any, mode: Any = "raise", order: str = "C") -> Any:
    if mode != "raise" or order != "C":
        raise UnsupportedError("np.ravel_multi_index of traced positions takes mode='raise' and order='C' only.")
    total: Any = 0
    for k, n in zip(multi_index, dims, strict=True):
        total = total * n + k
    return total


# ---- By size ----


@calls(np.argsort)
def argsort(a: Any, axis: int | None = -1, kind: Any = None, order: Any = None, *, stable: bool | None = None) -> Any:
    a = as_operand(a)
    if order is not None:
        raise ValueError("Cannot specify order when the array has no fields.")
    if axis is None:
        a, axis = np.ravel(a), -1
    if a.ndim == 0:
        a = np.reshape(a, (1,))
    return p.argsort(a, axis=negative_axis(a.ndim, axis), stable=stable or kind in ("stable", "mergesort"))


@calls(np.sort)
def sort(a: Any, axis: int | None = -1, kind: Any = None, order: Any = None, *, stable: bool | None = None) -> Any:
    a = as_operand(a)
    if axis is None:
        a, axis = np.ravel(a), -1
    if a.ndim == 0:
        raise np.exceptions.AxisError(axis, 0)
    return _rearranged(a, argsort(a, axis, kind, order, stable=stable), axis)


def _rearranged(a: Any, order: Any, axis: int) -> Any:
    return pick(a, (order,)) if a.ndim == 1 else take_along_axis(a, order, axis)


@calls(np.argpartition)
def argpartition(a: Any, kth: Any, axis: int | None = -1, kind: str = "introselect", order: Any = None) -> Any:
    a = as_operand(a)
    if axis is None:
        a, axis = np.ravel(a), -1
    kth = tuple(operator.index(k) for k in kth) if np.iterable(kth) else operator.index(kth)
    return p.argpartition(a, kth=kth, axis=negative_axis(a.ndim, axis))


@calls(np.partition)
def partition(a: Any, kth: Any, axis: int | None = -1, kind: str = "introselect", order: Any = None) -> Any:
    a = as_operand(a)
    if axis is None:
        a, axis = np.ravel(a), -1
    return _rearranged(a, argpartition(a, kth, axis, kind, order), axis)


@calls(np.lexsort)
def lexsort(keys: Any, axis: int = -1) -> Any:
    keys = list(keys)
    return p.lexsort(*keys, axis=negative_axis(ndim_of(keys[0]), axis))


@calls(np.unique)
def unique(
    ar: Any, return_index: bool = False, return_inverse: bool = False, return_counts: bool = False,
    axis: int | None = None, *, equal_nan: bool = True, sorted: bool = True,
) -> Any:  # fmt: skip
    """Select the first of equal elements: its derivative is that element's."""
    ar = as_operand(ar)
    along_axis = None if axis is None else normalize_axis_index(axis, ar.ndim)
    params = {"axis": along_axis, "equal_nan": equal_nan}
    first = fixed(p.unique_positions(ar, what=1, **params))
    results = [along(np.ravel(ar), 0, first) if along_axis is None else along(ar, along_axis, first)]
    if return_index:
        results.append(first)
    if return_inverse:
        results.append(p.unique_positions(ar, what=2, **params))
    if return_counts:
        results.append(p.unique_positions(ar, what=3, **params))
    return results[0] if len(results) == 1 else tuple(results)


def _unique_parts(function: Callable[..., Any], *parts: str) -> Callable[..., Any]:
    """Return a function of the array API: unique values with some parts of what NumPy returns, as its named tuple."""
    named = type(function(np.zeros(1)))

    def unique_parts(x: Any) -> Any:
        return named(*unique(x, equal_nan=False, **{f"return_{part}": True for part in parts}))

    return unique_parts


calls(np.unique_all)(_unique_parts(np.unique_all, "index", "inverse", "counts"))
calls(np.unique_counts)(_unique_parts(np.unique_counts, "counts"))
calls(np.unique_inverse)(_unique_parts(np.unique_inverse, "inverse"))


@calls(np.unique_values)
def unique_values(x: Any) -> Any:
    return unique(x, equal_nan=False)


@calls(np.union1d)
def union1d(ar1: Any, ar2: Any) -> Any:
    return unique(np.concatenate([ar1, ar2], axis=None))


@calls(np.setdiff1d)
def setdiff1d(ar1: Any, ar2: Any, assume_unique: bool = False) -> Any:
    ar1 = np.ravel(ar1) if assume_unique else unique(ar1)
    return extract(isin(ar1, ar2, invert=True), ar1)


@calls(np.intersect1d)
def intersect1d(ar1: Any, ar2: Any, assume_unique: bool = False, return_indices: bool = False) -> Any:
    if return_indices:
        raise UnsupportedError("np.intersect1d with return_indices=True has no rule on traced values; leave it out.")
    ar1 = unique(ar1)
    return extract(isin(ar1, ar2), ar1)


@calls(np.setxor1d)
def setxor1d(ar1: Any, ar2: Any, assume_unique: bool = False) -> Any:
    return np.sort(np.concatenate([setdiff1d(ar1, ar2), setdiff1d(ar2, ar1)]))


@calls(np.trim_zeros)
def trim_zeros(filt: Any, trim: str = "fb", axis: Any = None) -> Any:
    kept = flatnonzero(filt)
    if ndim_of(filt) != 1:
        raise UnsupportedError("np.trim_zeros of a traced array takes one dimension only.")
    if not len(kept):
        return filt[:0]
    first = int(kept[0]) if "f" in trim.lower() else 0
    return filt[first : int(kept[-1]) + 1 if "b" in trim.lower() else None]


# ---- Function by function ----


@calls(np.apply_along_axis)
def apply_along_axis(func1d: Callable[..., Any], axis: int, arr: Any, *args: Any, **kwargs: Any) -> Any:
    arr = as_operand(arr)
    axis = normalize_axis_index(axis, arr.ndim)
    rows = np.moveaxis(arr, axis, -1)
    if 0 in rows.shape[:-1]:
        raise ValueError("Cannot apply_along_axis when any iteration dimensions are 0")
    results = [as_operand(func1d(rows[index], *args, **kwargs)) for index in np.ndindex(*rows.shape[:-1])]
    inner = results[0].ndim
    stacked = np.reshape(np.stack(results), rows.shape[:-1] + results[0].shape)
    outer = stacked.ndim - inner
    return np.moveaxis(stacked, range(outer, outer + inner), range(axis, axis + inner))


@calls(np.apply_over_axes)
def apply_over_axes(func: Callable[..., Any], a: Any, axes: Any) -> Any:
    result = as_operand(a)
    ndim = result.ndim
    chosen: Any = axes if np.iterable(axes) else (axes,)
    for axis in chosen:
        reduced = func(result, axis + ndim if axis < 0 else axis)
        if reduced.ndim != ndim:
            reduced = np.expand_dims(reduced, axis)
        if reduced.ndim != ndim:
            raise ValueError("function is not returning an array of the correct shape")
        result = reduced
    return result
