"""Reductions: sums, means, products, extrema, and their cumulative forms."""

from __future__ import annotations

import builtins
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy._core import _methods

from wengert.primitives.numpy import elementwise as e
from wengert.primitives.numpy import running
from wengert.primitives.numpy import structural as p
from wengert.primitives.numpy.functions.manipulation import astype
from wengert.primitives.numpy.functions.operands import (
    UNSET,
    Axis,
    as_operand,
    count,
    flag,
    masked,
    ndim_of,
    negative_axes,
    negative_axis,
    only,
    only_axis,
    shape_of,
    size_of,
)
from wengert.primitives.table import calls
from wengert.program import Recordable

FEW = 8
"""Running products of at most so many numbers are written as products of two."""

# ---- Sums and means ----


@calls(np.sum)
def sum(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = UNSET,
    initial: Any = UNSET,
    where: Any = UNSET,
) -> Any:
    if out is not None:
        only(out=out)
    if where is not UNSET and where is not True:
        a = np.where(where, a, 0.0 if a.dtype.kind in "fc" else 0)
    if dtype is not None:
        a = astype(as_operand(a), dtype)
    params = {"axis": negative_axes(ndim_of(a), axis), "keepdims": keepdims is not UNSET and bool(keepdims)}
    total = a._record(p.sum_, (a,), params) if isinstance(a, Recordable) else p.sum_(a, **params)
    return total if initial is UNSET else total + initial


@calls(np.mean)
def mean(
    a: Any, axis: Axis = None, dtype: Any = None, out: Any = None, keepdims: Any = UNSET, *, where: Any = UNSET
) -> Any:
    if out is not None:
        only(out=out)
    a = a if hasattr(a, "dtype") else np.asarray(a)
    if where is not UNSET and where is not True:
        size = np.sum(np.broadcast_to(where, shape_of(a)), axis=axis, keepdims=flag(keepdims))
        return sum(a, axis, dtype, None, keepdims, where=where) / size.astype(a.dtype)
    return sum(a, axis, dtype, None, keepdims) / (size_of(a) if axis is None else count(a, axis))


@calls(np.average)
def average(a: Any, axis: Axis = None, weights: Any = None, returned: bool = False, *, keepdims: Any = UNSET) -> Any:
    a = as_operand(a)
    if weights is None:
        result, total = mean(a, axis, keepdims=keepdims), np.asarray(a.dtype.type(count(a, axis)))
    else:
        weights = as_operand(weights)
        axes = range(a.ndim) if axis is None else [k + a.ndim for k in _in_order(a.ndim, axis)]
        if weights.shape != a.shape:
            if axis is None:
                raise TypeError("Axis must be specified when shapes of a and weights differ.")
            if weights.shape != tuple(a.shape[k] for k in axes):
                raise ValueError("Shape of weights must be consistent with shape of a along specified axis.")
            order = sorted(builtins.range(len(axes)), key=list(axes).__getitem__)
            spread = tuple(s if k in axes else 1 for k, s in enumerate(a.shape))
            weights = np.reshape(np.transpose(weights, order), spread)
        kind = np.result_type(a, weights) if a.dtype.kind not in "biu" else np.result_type(a, weights, "f8")
        total = np.sum(np.broadcast_to(weights, a.shape), axis=axis, dtype=kind, keepdims=flag(keepdims))
        if np.any(total == 0.0):
            raise ZeroDivisionError("Weights sum to zero, can't be normalized")
        result = np.sum(a * weights, axis=axis, dtype=kind, keepdims=flag(keepdims)) / total
    return (result, np.broadcast_to(total, shape_of(result))) if returned else result


def _in_order(ndim: int, axis: Any) -> list[int]:
    return [negative_axis(ndim, k) for k in (axis if np.iterable(axis) else (axis,))]


@calls(np.var)
def var(
    a: Any, axis: Axis = None, dtype: Any = None, out: Any = None, ddof: float = 0, keepdims: Any = UNSET,
    *, where: Any = UNSET, mean: Any = UNSET, correction: Any = UNSET,
) -> Any:  # fmt: skip
    only(out=out)
    if correction is not UNSET:
        if ddof != 0:
            raise ValueError("ddof and correction can't be provided simultaneously.")
        ddof = correction
    a = as_operand(a)
    if masked(where):
        a = np.where(where, a, a.dtype.type(0))  # the elements left out may be NaN
    center = np.mean(a, axis=axis, keepdims=True, dtype=dtype, where=where) if mean is UNSET else mean
    difference = a - center
    squares = (
        np.square(difference)
        if difference.dtype.kind != "c"
        else np.square(difference.real) + np.square(difference.imag)
    )
    total = np.sum(squares, axis=axis, dtype=dtype, keepdims=flag(keepdims), where=where)
    if not masked(where):
        number: Any = count(a, axis) - ddof
        if number <= 0:
            warnings.warn("Degrees of freedom <= 0 for slice", RuntimeWarning, stacklevel=2)
        return total / builtins.max(number, 0)
    number = np.sum(np.broadcast_to(where, a.shape), axis=axis, keepdims=flag(keepdims)) - ddof
    return total / np.maximum(number, 0).astype(total.dtype)


@calls(np.std)
def std(
    a: Any, axis: Axis = None, dtype: Any = None, out: Any = None, ddof: float = 0, keepdims: Any = UNSET,
    *, where: Any = UNSET, mean: Any = UNSET, correction: Any = UNSET,
) -> Any:  # fmt: skip
    return e.root(var(a, axis, dtype, out, ddof, keepdims, where=where, mean=mean, correction=correction))


# np.mean([a, b]) of a list of traced values is not dispatched: it calls these functions
for _name, _function in (("_mean", mean), ("_var", var), ("_std", std)):
    calls(getattr(_methods, _name), catch=_methods)(_function)


@calls(np.count_nonzero)
def count_nonzero(a: Any, axis: Axis = None, *, keepdims: bool = False) -> Any:
    return np.sum(a != 0, axis=axis, keepdims=keepdims)


# ---- Products ----


def fold(pair: Callable[..., Any], a: Any, axis: Axis, keepdims: bool, identity: Any) -> Any:
    """Combine halves until one is left: right for any associative function, to any order, at zeros too."""
    axes = negative_axes(ndim_of(a), axis)
    kept = tuple(1 if k - ndim_of(a) in axes else s for k, s in enumerate(shape_of(a)))
    result = a
    for k in axes:
        result = np.moveaxis(result, k, 0)
        if result.shape[0] == 0:
            result = np.full((1, *result.shape[1:]), identity, result.dtype)
        while result.shape[0] > 1:
            half = result.shape[0] // 2
            paired = pair(result[:half], result[half : 2 * half])
            result = np.concatenate([paired, result[2 * half :]]) if result.shape[0] % 2 else paired
        result = np.moveaxis(result, 0, k)
    return result if keepdims else np.reshape(result, tuple(s for k, s in enumerate(kept) if k - len(kept) not in axes))


def scan(pair: Callable[..., Any], a: Any, axis: int) -> Any:
    """Accumulate along an axis: neighbors are combined, their results accumulated likewise, and the gaps filled.

    Twice as many operations as a loop, in a number of lines that grows with the logarithm of the length.
    """
    a = np.moveaxis(a, axis, 0)
    n = a.shape[0]
    if n < 2:
        return np.moveaxis(a, 0, axis)
    pairs = scan(pair, pair(a[: n - n % 2 : 2], a[1::2]), 0)
    between = pair(pairs[: (n - 1) // 2], a[2::2])
    even = np.concatenate([a[:1], between])
    interleaved = np.reshape(np.stack([even[: n // 2], pairs], axis=1), (n - n % 2, *a.shape[1:]))
    return np.moveaxis(np.concatenate([interleaved, even[n // 2 :]]) if n % 2 else interleaved, 0, axis)


@calls(np.prod)
def prod(
    a: Any,
    axis: Axis = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = UNSET,
    initial: Any = UNSET,
    where: Any = UNSET,
) -> Any:
    only(out=out)
    if masked(where):
        a = np.where(where, a, 1.0 if a.dtype.kind in "fc" else 1)
    if dtype is None and a.dtype.kind in "biu":
        dtype = np.prod(np.ones(0, a.dtype)).dtype
    if dtype is not None:
        a = astype(a, dtype)
    long = [k for k in negative_axes(ndim_of(a), axis) if shape_of(a)[k] > FEW]
    for k in long:
        a = np.expand_dims(running.prod(a, axis=k), k)
    result = fold(np.multiply, a, axis, flag(keepdims), 1)
    return result if initial is UNSET else result * initial


# ---- Along an axis ----


def _flat(a: Any, axis: int | None) -> tuple[Any, int]:
    a = as_operand(a)
    if axis is None:
        return np.ravel(a), -1
    if a.ndim == 0:
        a = np.reshape(a, (1,))  # NumPy accumulates a number as an array of one
    return a, negative_axis(a.ndim, axis)


@calls(np.cumsum)
def cumsum(a: Any, axis: int | None = None, dtype: Any = None, out: Any = None) -> Any:
    only(out=out)
    a, axis = _flat(a, axis)
    return p.cumsum(a if dtype is None else astype(a, dtype), axis=axis)


@calls(np.cumprod)
def cumprod(a: Any, axis: int | None = None, dtype: Any = None, out: Any = None) -> Any:
    only(out=out)
    a, axis = _flat(a, axis)
    return accumulated_product(a if dtype is None else astype(a, dtype), axis)


def accumulated_product(a: Any, axis: int) -> Any:
    """Return the running products along an axis: of a few elements in products of two, which can be read."""
    return scan(np.multiply, a, axis) if a.shape[axis] <= FEW else running.cumprod(a, axis=axis)


def _array_api(accumulate: Callable[..., Any], identity: int) -> Callable[..., Any]:
    def cumulative(
        x: Any, /, *, axis: int | None = None, dtype: Any = None, out: Any = None, include_initial: bool = False
    ) -> Any:
        x = as_operand(x)
        if axis is None:
            if x.ndim > 1:
                raise ValueError("For arrays which have more than one dimension ``axis`` argument is required.")
            axis = 0
        axis = only_axis(x.ndim, axis)
        result = accumulate(x, axis, dtype, out)
        if not include_initial:
            return result
        first = tuple(1 if k == axis + x.ndim else s for k, s in enumerate(x.shape))
        return np.concatenate([np.full(first, identity, result.dtype), result], axis=axis)

    return cumulative


if hasattr(np, "cumulative_sum"):  # NumPy 2.1
    cumulative_sum = calls(np.cumulative_sum)(_array_api(cumsum, 0))
    cumulative_prod = calls(np.cumulative_prod)(_array_api(cumprod, 1))


# ---- Extrema ----


def _extremum(primitive: Callable[..., Any], pair: np.ufunc, worst: float) -> Callable[..., Any]:
    def extremum(
        a: Any, axis: Axis = None, out: Any = None, keepdims: Any = UNSET, initial: Any = UNSET, where: Any = UNSET
    ) -> Any:
        only(out=out)
        if masked(where):
            if initial is UNSET:
                raise ValueError(
                    f"reduction operation '{pair.__name__}' does not have an identity, "
                    "so to use a where mask one has to specify 'initial'"
                )
            a = np.where(where, a, worst if a.dtype.kind == "f" else initial)
        axes = negative_axes(ndim_of(a), axis)
        if initial is not UNSET and 0 in [shape_of(a)[k] for k in axes]:
            kept = [(1 if k - ndim_of(a) in axes else s) for k, s in enumerate(shape_of(a))]
            shape = kept if flag(keepdims) else [s for k, s in enumerate(kept) if k - len(kept) not in axes]
            return np.full(shape, initial, a.dtype)
        result = primitive(a, axis=axes, keepdims=flag(keepdims))
        return result if initial is UNSET else pair(result, initial)

    return extremum


max = calls(np.max, np.amax)(_extremum(p.max_, np.maximum, -math.inf))
min = calls(np.min, np.amin)(_extremum(p.min_, np.minimum, math.inf))
max.__name__, min.__name__ = "max", "min"


@calls(np.ptp)
def ptp(a: Any, axis: Axis = None, out: Any = None, keepdims: Any = UNSET) -> Any:
    return max(a, axis, out, keepdims) - min(a, axis, out, keepdims)


def _position(primitive: Callable[..., Any]) -> Callable[..., Any]:
    def position(a: Any, axis: int | None = None, out: Any = None, *, keepdims: Any = UNSET) -> Any:
        only(out=out)
        return primitive(a, axis=axis, keepdims=True) if flag(keepdims) else primitive(a, axis=axis)

    return position


argmax, argmin = calls(np.argmax)(_position(p.argmax)), calls(np.argmin)(_position(p.argmin))
argmax.__name__, argmin.__name__ = "argmax", "argmin"


def _truth(primitive: Callable[..., Any], neutral: bool) -> Callable[..., Any]:
    def truth(a: Any, axis: Axis = None, out: Any = None, keepdims: Any = UNSET, *, where: Any = UNSET) -> Any:
        only(out=out)
        if masked(where):
            a = np.where(where, a, neutral)
        return primitive(a, axis=negative_axes(ndim_of(a), axis), keepdims=flag(keepdims))

    return truth


all, any = calls(np.all)(_truth(p.all_, True)), calls(np.any)(_truth(p.any_, False))
all.__name__, any.__name__ = "all", "any"


# ---- Reductions without NaN: the elements left out have derivative zero ----


def _without_nan(a: Any, instead: Any) -> Any:
    a = as_operand(a)
    return a if a.dtype.kind in "biu" else np.where(np.isnan(a), a.dtype.type(instead), a)


def _valid(a: Any, where: Any) -> Any:
    valid = ~np.isnan(a)
    return valid & where if masked(where) else valid


def _filled(reduction: Callable[..., Any], instead: float) -> Callable[..., Any]:
    """Return a reduction of an array in which a number that changes nothing stands in the place of every NaN."""

    def filled(a: Any, *args: Any, **kwargs: Any) -> Any:
        return reduction(_without_nan(a, instead), *args, **kwargs)

    filled.__name__ = f"nan{reduction.__name__}"
    return filled


nansum, nanprod = calls(np.nansum)(_filled(sum, 0)), calls(np.nanprod)(_filled(prod, 1))
nancumsum, nancumprod = calls(np.nancumsum)(_filled(cumsum, 0)), calls(np.nancumprod)(_filled(cumprod, 1))


def _of_valid(reduction: Callable[..., Any]) -> Callable[..., Any]:
    """Return a reduction of the elements that are not NaN."""

    def of_valid(a: Any, *args: Any, where: Any = UNSET, **kwargs: Any) -> Any:
        return reduction(a, *args, where=_valid(a, where), **kwargs)

    of_valid.__name__ = f"nan{reduction.__name__}"
    return of_valid


nanmean, nanvar, nanstd = (
    calls(function)(_of_valid(reduction))
    for function, reduction in ((np.nanmean, mean), (np.nanvar, var), (np.nanstd, std))
)


def _nan_extremum(extremum: Callable[..., Any], worst: float) -> Callable[..., Any]:
    def nan_extremum(
        a: Any, axis: Any = None, out: Any = None, keepdims: Any = UNSET, initial: Any = UNSET, where: Any = UNSET
    ) -> Any:
        result = extremum(_without_nan(a, worst), axis, out, keepdims, initial, where)
        empty = np.all(np.isnan(a), axis=axis, keepdims=flag(keepdims))
        if initial is not UNSET or not np.any(empty):
            return result
        warnings.warn("All-NaN slice encountered", RuntimeWarning, stacklevel=2)
        return np.where(empty, a.dtype.type(np.nan), result)

    return nan_extremum


nanmax = calls(np.nanmax)(_nan_extremum(max, -math.inf))
nanmin = calls(np.nanmin)(_nan_extremum(min, math.inf))
nanmax.__name__, nanmin.__name__ = "nanmax", "nanmin"


def _nan_position(position: Callable[..., Any], worst: float) -> Callable[..., Any]:
    def nan_position(a: Any, axis: int | None = None, out: Any = None, *, keepdims: Any = UNSET) -> Any:
        if np.any(np.all(np.isnan(a), axis=axis)):
            raise ValueError("All-NaN slice encountered")
        return position(_without_nan(a, worst), axis, out, keepdims=keepdims)

    return nan_position


nanargmax = calls(np.nanargmax)(_nan_position(argmax, -math.inf))
nanargmin = calls(np.nanargmin)(_nan_position(argmin, math.inf))
nanargmax.__name__, nanargmin.__name__ = "nanargmax", "nanargmin"
