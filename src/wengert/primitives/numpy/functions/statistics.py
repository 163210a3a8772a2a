"""Order statistics, covariances and histograms."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from wengert.errors import UnsupportedError
from wengert.jacobians import assemble
from wengert.primitives.numpy import structural as p
from wengert.primitives.numpy.functions.manipulation import astype
from wengert.primitives.numpy.functions.operands import Axis, along, as_operand, is_traced, ndim_of, negative_axes, only
from wengert.primitives.numpy.functions.reductions import average
from wengert.primitives.numpy.functions.selecting import argsort, searchsorted, take_along_axis
from wengert.primitives.table import calls

# ---- Order statistics: a value chosen by rank has the derivative of the chosen element ----


def _rows(a: Any, axis: Axis) -> tuple[Any, tuple[int, ...]]:
    """Bring the axes to reduce together at the end; also return the shape of the result with them kept, each one."""
    axes = negative_axes(a.ndim, axis)
    kept = tuple(1 if k - a.ndim in axes else s for k, s in enumerate(a.shape))
    others = [k for k in range(a.ndim) if k - a.ndim not in axes]
    moved = np.transpose(a, (*others, *[k + a.ndim for k in axes])) if len(axes) not in (0,) else a
    return np.reshape(moved, (*[a.shape[k] for k in others], math.prod(a.shape[k] for k in axes))), kept


def _finished(result: Any, kept: tuple[int, ...], keepdims: bool, leading: int = 0) -> Any:
    return np.reshape(result, result.shape[:leading] + kept) if keepdims else result


def _ranked(rows: Any, ranks: list[int]) -> list[Any]:
    """Return the elements of these ranks in each row; NaN where a row has any."""
    n = rows.shape[-1]
    wanted = sorted({k % n for k in ranks} | {n - 1})  # NaN comes last
    order = p.argpartition(rows, kth=tuple(wanted), axis=-1)
    chosen = [take_along_axis(rows, order[..., k : k + 1], -1)[..., 0] for k in ranks]
    last = take_along_axis(rows, order[..., n - 1 :], -1)[..., 0]
    broken = np.isnan(last)
    return [np.where(broken, last, c) for c in chosen] if np.any(broken) else chosen


@calls(np.median)
def median(a: Any, axis: Axis = None, out: Any = None, overwrite_input: bool = False, keepdims: bool = False) -> Any:
    only(out=out)
    a = as_operand(a)
    rows, kept = _rows(a, axis)
    n = rows.shape[-1]
    if n == 0:
        return np.mean(a, axis=axis, keepdims=keepdims)
    if n % 2:
        (result,) = _ranked(rows, [n // 2])
    else:
        low, high = _ranked(rows, [n // 2 - 1, n // 2])
        result = (low + high) / 2
    return _finished(result, kept, keepdims)


_LINES = {
    "linear": (1.0, 1.0), "weibull": (0.0, 0.0), "hazen": (0.5, 0.5), "interpolated_inverted_cdf": (0.0, 1.0),
    "median_unbiased": (1 / 3, 1 / 3), "normal_unbiased": (3 / 8, 3 / 8),
}  # fmt: skip
"""The two parameters of each continuous method, as in Hyndman & Fan (1996), whose names NumPy uses."""

_STEPS = {
    "lower": lambda q, n: (np.floor((n - 1) * q), 0.0),
    "higher": lambda q, n: (np.ceil((n - 1) * q), 0.0),
    "nearest": lambda q, n: (np.rint((n - 1) * q), 0.0),
    "midpoint": lambda q, n: (np.floor((n - 1) * q), 0.5 * (np.floor((n - 1) * q) != np.ceil((n - 1) * q))),
    "inverted_cdf": lambda q, n: (np.ceil(n * q) - 1, 0.0),
    "averaged_inverted_cdf": lambda q, n: (np.ceil(n * q) - 1, 0.5 * (np.ceil(n * q) == n * q)),
    "closest_observation": lambda q, n: (_closest(n * q), 0.0),
}  # fmt: skip


def _closest(position: Any) -> Any:
    """Return NumPy's choice of the closest observation: one half goes to the even one (counted from one)."""
    below = np.floor(position - 0.5)
    tie = (position - 0.5 == below) & (below % 2 == 0)
    return np.where(tie, below, below + 1) - 1


def _rank_and_weight(q: Any, n: Any, method: str) -> tuple[Any, Any]:
    """Return the rank below a quantile (counted from 0) and the weight of the element above."""
    if method in _STEPS:
        rank, weight = _STEPS[method](q, n)  # type: ignore[no-untyped-call]
        weight = np.broadcast_to(weight, np.shape(rank)) + 0.0
    else:
        alpha, beta = _LINES[method]
        position = (n - 1) * q if method == "linear" else n * q + (alpha + q * (1 - alpha - beta)) - 1
        rank = np.floor(position)
        weight = position - rank
    weight = np.where((rank < 0) | (rank >= n - 1), 0.0, weight)
    return np.clip(rank, 0, n - 1), weight


def _quantile(a: Any, q: Any, axis: Axis, method: str, keepdims: bool, skip_nan: bool) -> Any:
    rows, kept = _rows(a, axis)
    shape, n = q.shape, rows.shape[-1]
    flat = np.reshape(q, (-1,))
    if method not in _LINES and method not in _STEPS:
        raise ValueError(f"{method!r} is not a valid method. Use one of: {sorted([*_LINES, *_STEPS])}")
    broken = np.isnan(rows)
    if skip_nan and not np.any(broken):
        skip_nan = False
    if not is_traced(flat) and not skip_nan:
        rank, weight = _rank_and_weight(flat, n, method)
        low = [int(k) for k in rank]
        high = [min(k + 1, n - 1) for k in low]
        chosen = _ranked(rows, [*low, *high])
        below, above = np.stack(chosen[: len(low)]), np.stack(chosen[len(low) :])
        weight = weight.astype(q.dtype).reshape((-1,) + (1,) * (rows.ndim - 1))
    else:
        order = argsort(rows, -1)
        ordered = take_along_axis(rows, order, -1)
        number = np.sum(~broken, axis=-1, keepdims=True) if skip_nan else n
        rank, weight = _rank_and_weight(
            np.reshape(flat, (1,) * (rows.ndim - 1) + (-1,)), np.maximum(number, 1) if skip_nan else number, method
        )
        rank = np.broadcast_to(astype(rank, np.intp), (*rows.shape[:-1], flat.shape[0]))
        below = np.moveaxis(take_along_axis(ordered, rank, -1), -1, 0)
        above = np.moveaxis(take_along_axis(ordered, np.minimum(rank + 1, n - 1), -1), -1, 0)
        weight = astype(np.moveaxis(np.broadcast_to(weight, rank.shape), -1, 0), q.dtype)
        above = np.where(weight == 0, below, above)  # the element after the last may be NaN
        if not skip_nan and np.any(broken):
            below = np.where(np.any(broken, axis=-1), np.nan, below)
        elif skip_nan and np.any(number == 0):
            warnings.warn("All-NaN slice encountered", RuntimeWarning, stacklevel=2)
    result = (
        below + (above - below) * weight
        if method not in _STEPS or method in ("midpoint", "averaged_inverted_cdf")
        else below
    )
    result = np.reshape(result, shape + result.shape[1:])
    return _finished(result, kept, keepdims, len(shape))


def _quantiles(name: str, percent: bool, skip_nan: bool) -> Callable[..., Any]:
    def quantile(
        a: Any, q: Any, axis: Axis = None, out: Any = None, overwrite_input: bool = False, method: str = "linear",
        keepdims: bool = False, *, weights: Any = None, interpolation: Any = None,
    ) -> Any:  # fmt: skip
        only(out=out, interpolation=interpolation)
        if weights is not None:
            raise UnsupportedError(f"np.{name} with weights= has no rule on traced values; leave them out.")
        a = as_operand(a)
        kind = a.dtype if a.dtype.kind == "f" and type(q) in (int, float) else None
        if percent:
            q = (
                q / (a.dtype.type(100) if a.dtype.kind == "f" else 100)
                if is_traced(q)
                else np.true_divide(q, a.dtype.type(100) if a.dtype.kind == "f" else 100)
            )
        q = np.asarray(q, kind) if not is_traced(q) else q
        if not np.all((q >= 0) & (q <= 1)):
            raise ValueError(
                f"{'Percentiles' if percent else 'Quantiles'} must be in the range [0, {100 if percent else 1}]"
            )
        return _quantile(a, q, axis, method, keepdims, skip_nan)

    quantile.__name__ = name
    return quantile


quantile = calls(np.quantile)(_quantiles("quantile", percent=False, skip_nan=False))
percentile = calls(np.percentile)(_quantiles("percentile", percent=True, skip_nan=False))
nanquantile = calls(np.nanquantile)(_quantiles("nanquantile", percent=False, skip_nan=True))
nanpercentile = calls(np.nanpercentile)(_quantiles("nanpercentile", percent=True, skip_nan=True))


@calls(np.nanmedian)
def nanmedian(a: Any, axis: Axis = None, out: Any = None, overwrite_input: bool = False, keepdims: bool = False) -> Any:
    return nanquantile(a, 0.5, axis, out, overwrite_input, keepdims=keepdims)


# ---- Covariances ----


@calls(np.cov)
def cov(  # noqa: C901 - NumPy's arguments, one by one
    m: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: Any = None, fweights: Any = None,
    aweights: Any = None, *, dtype: Any = None,
) -> Any:  # fmt: skip
    if ddof is not None and ddof != int(ddof):
        raise ValueError("ddof must be integer")
    m = as_operand(m)
    if m.ndim > 2:
        raise ValueError("m has more than 2 dimensions")
    if y is not None and ndim_of(y) > 2:
        raise ValueError("y has more than 2 dimensions")
    kind = dtype or np.result_type(m.dtype, np.float64 if y is None else as_operand(y).dtype, np.float64)
    X = np.atleast_2d(astype(m, kind))
    X = X if rowvar or m.ndim == 1 else X.T
    if y is not None:
        more = np.atleast_2d(astype(as_operand(y), kind))
        X = np.concatenate([X, more if rowvar or more.shape[0] == 1 else more.T], axis=0)
    if ddof is None:
        ddof = 1 if bias == 0 else 0
    w = None
    if fweights is not None:
        w = np.asarray(fweights, dtype=float)
        if not np.all(w == np.around(w)):
            raise TypeError("fweights must be integer")
        if w.shape != X.shape[1:]:
            raise RuntimeError("incompatible numbers of samples and fweights")
    if aweights is not None:
        aweights = as_operand(aweights)
        if aweights.shape != X.shape[1:]:
            raise RuntimeError("incompatible numbers of samples and aweights")
        if np.any(aweights < 0):
            raise ValueError("aweights cannot be negative")
        w = astype(aweights, float) if w is None else w * aweights
    center, total = average(X, axis=1, weights=w, returned=True)
    total = total[0]
    if w is None:
        factor: Any = X.shape[1] - ddof
    elif ddof == 0:
        factor = total
    elif aweights is None:
        factor = total - ddof
    else:
        factor = total - ddof * np.sum(w * aweights) / total
    if factor <= 0:
        warnings.warn("Degrees of freedom <= 0 for slice", RuntimeWarning, stacklevel=2)
        factor = 0.0
    X = X - center[:, None]
    other = (X if w is None else X * w).T
    return np.squeeze(np.matmul(X, np.conjugate(other) if other.dtype.kind == "c" else other) / factor)


@calls(np.corrcoef)
def corrcoef(x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None) -> Any:
    c = cov(x, y, rowvar, dtype=dtype)
    if c.ndim == 0:
        return c / c
    scale = np.sqrt(np.real(np.diagonal(c)) if c.dtype.kind == "c" else np.diagonal(c))
    c = c / scale[:, None] / scale[None, :]
    return c if c.dtype.kind == "c" else np.clip(c, -1, 1)


# ---- Counting ----


@calls(np.bincount)
def bincount(x: Any, /, weights: Any = None, minlength: int = 0) -> Any:
    x = as_operand(x)
    if x.dtype.kind not in "biu":
        raise TypeError(f"Cannot cast array data from {x.dtype!r} to dtype('int64') according to the rule 'safe'")
    if x.ndim != 1:
        raise ValueError("object too deep for desired array")
    if x.size and np.any(x < 0):
        raise ValueError("'list' argument must have no negative elements")
    size = max(minlength, int(np.max(x)) + 1 if x.size else 0)
    if weights is None:
        weights = np.ones(x.shape, np.intp)
    elif as_operand(weights).shape != x.shape:
        raise ValueError("The weights and list don't have the same length.")
    else:
        weights = astype(as_operand(weights), np.float64)
    return assemble([weights], [(x,)], (size,))


@calls(np.histogram_bin_edges)
def histogram_bin_edges(a: Any, bins: Any = 10, range: Any = None, weights: Any = None) -> Any:
    a = np.ravel(a)
    if isinstance(bins, str):
        raise UnsupportedError(
            "np.histogram with a rule for the number of bins has no rule on traced values; give a number."
        )
    if ndim_of(bins) == 1:
        bins = as_operand(bins)
        if np.any(bins[:-1] > bins[1:]):
            raise ValueError("`bins` must increase monotonically, when an array")
        return bins
    if ndim_of(bins) > 1:
        raise ValueError("`bins` must be 1d, when an array")
    if bins < 1:
        raise ValueError("`bins` must be positive, when an integer")
    if range is not None:
        first, last = range
        if first > last:
            raise ValueError("max must be larger than min in range parameter.")
    else:
        first, last = (np.min(a), np.max(a)) if a.size else (0.0, 1.0)
    if first == last:
        first, last = first - 0.5, last + 0.5
    return np.linspace(first, last, bins + 1)


@calls(np.histogram)
def histogram(a: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None) -> Any:
    """Add up the weights in each bin: linear in them; the numbers of elements have derivative zero."""
    a = as_operand(a)
    if weights is not None and as_operand(weights).shape != a.shape:
        raise ValueError("weights should have the same shape as a.")
    edges = histogram_bin_edges(a, bins, range)
    a, number = np.ravel(a), edges.shape[0] - 1
    bin_of = searchsorted(edges, a, "right") - 1
    bin_of = np.where(a == edges[-1], number - 1, bin_of)
    inside = (a >= edges[0]) & (a <= edges[-1])
    chosen = np.flatnonzero(inside)
    bins_inside = along(bin_of, 0, chosen)
    if weights is None:
        heights = assemble([np.ones(bins_inside.shape, np.intp)], [(bins_inside,)], (number,))
    else:
        heights = assemble([along(np.ravel(weights), 0, chosen)], [(bins_inside,)], (number,))
    if density:
        heights = heights / np.diff(edges) / np.sum(heights)
    return heights, edges
