"""Differences, integrals, interpolation, convolution and polynomials of sampled functions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple
from scipy import special

from wengert.errors import UnsupportedError
from wengert.primitives.numpy import structural as p
from wengert.primitives.numpy.functions.manipulation import astype
from wengert.primitives.numpy.functions.operands import (
    UNSET,
    along,
    as_operand,
    is_traced,
    ndim_of,
    negative_axis,
    shape_of,
)
from wengert.primitives.numpy.functions.selecting import argsort, searchsorted
from wengert.primitives.table import calls


def _at(axis: int, item: Any) -> tuple[Any, ...]:
    return (slice(None),) * axis + (item,)


# ---- Differences and integrals ----


@calls(np.diff)
def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = UNSET, append: Any = UNSET) -> Any:
    if n == 0:
        return a
    if n < 0:
        raise ValueError(f"order must be non-negative but got {n!r}")
    a = as_operand(a)
    if a.ndim == 0:
        raise ValueError("diff requires input that is at least one dimensional")
    axis = normalize_axis_index(axis, a.ndim)
    ends = []
    for end in (prepend, append):
        if end is not UNSET:
            end = as_operand(end)
            if end.ndim == 0:
                end = np.broadcast_to(end, (*a.shape[:axis], 1, *a.shape[axis + 1 :]))
        ends.append(end)
    if ends[0] is not UNSET or ends[1] is not UNSET:
        a = np.concatenate([x for x in (ends[0], a, ends[1]) if x is not UNSET], axis=axis)
    for _ in range(n):
        ahead, behind = a[_at(axis, slice(1, None))], a[_at(axis, slice(None, -1))]
        a = ahead != behind if a.dtype.kind == "b" else ahead - behind
    return a


@calls(np.ediff1d)
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    ary = np.ravel(ary)
    parts = [None if x is None else np.ravel(x) for x in (to_begin, to_end)]
    for name, part in zip(("to_begin", "to_end"), parts, strict=True):
        if part is not None and not np.can_cast(part.dtype, ary.dtype, casting="same_kind"):
            raise TypeError(f"dtype of `{name}` must be compatible with input `ary` under the `same_kind` rule.")
    pieces = [parts[0], ary[1:] - ary[:-1], parts[1]]
    chosen = [astype(x, ary.dtype) for x in pieces if x is not None]
    return chosen[0] if len(chosen) == 1 else np.concatenate(chosen)


@calls(np.gradient)
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """Differentiate by second-order differences inside and by one-sided ones at the ends, as NumPy does."""
    f = as_operand(f)
    axes = tuple(range(f.ndim)) if axis is None else normalize_axis_tuple(axis, f.ndim)
    steps = _steps(f, varargs, axes)
    if edge_order > 2:
        raise ValueError("'edge_order' greater than 2 not supported")
    if f.dtype.kind in "biu":
        f = astype(f, np.float64)
    results = []
    for k, h in zip(axes, steps, strict=True):
        n = f.shape[k]
        if n < edge_order + 1:
            raise ValueError(
                "Shape of array too small to calculate a numerical gradient, "
                "at least (edge_order + 1) elements are required."
            )
        even = ndim_of(h) == 0
        if not even:
            spread = (1,) * k + (-1,) + (1,) * (f.ndim - k - 1)
            before, after = np.reshape(h[:-1], spread), np.reshape(h[1:], spread)

        def sample(i: int, k: int = k) -> Any:
            return f[_at(k, slice(i, i + 1 or None))]

        low, mid, high = f[_at(k, slice(None, -2))], f[_at(k, slice(1, -1))], f[_at(k, slice(2, None))]
        if even:
            inside = (high - low) / (2.0 * h)
        else:
            inside = (
                -after / (before * (before + after)) * low
                + (after - before) / (before * after) * mid
                + before / (after * (before + after)) * high
            )
        if edge_order == 1:
            first = (sample(1) - sample(0)) / (h if even else h[0])
            last = (sample(-1) - sample(-2)) / (h if even else h[-1])
        elif even:
            first = -1.5 / h * sample(0) + 2.0 / h * sample(1) - 0.5 / h * sample(2)
            last = 0.5 / h * sample(-3) - 2.0 / h * sample(-2) + 1.5 / h * sample(-1)
        else:
            b, c = h[0], h[1]
            first = (
                -(2.0 * b + c) / (b * (b + c)) * sample(0)
                + (b + c) / (b * c) * sample(1)
                - b / (c * (b + c)) * sample(2)
            )
            b, c = h[-2], h[-1]
            last = (
                c / (b * (b + c)) * sample(-3)
                - (c + b) / (b * c) * sample(-2)
                + (2.0 * c + b) / (c * (b + c)) * sample(-1)
            )
        slope = np.concatenate([first, inside, last], axis=k)
        results.append(slope if slope.dtype == f.dtype else astype(slope, f.dtype))
    return results[0] if len(axes) == 1 else tuple(results)


def _steps(f: Any, spacing: Any, axes: tuple[int, ...]) -> list[Any]:
    if not spacing:
        return [1.0] * len(axes)
    if len(spacing) == 1 and ndim_of(spacing[0]) == 0:
        return [spacing[0]] * len(axes)
    if len(spacing) != len(axes):
        raise TypeError("invalid number of arguments")
    steps = []
    for k, h in zip(axes, spacing, strict=True):
        if ndim_of(h) == 0:
            steps.append(h)
            continue
        if ndim_of(h) != 1:
            raise ValueError("distances must be either scalars or 1d")
        h = as_operand(h)
        if h.shape[0] != f.shape[k]:
            raise ValueError("when 1d, distances must match the length of the corresponding dimension")
        h = astype(h, np.float64) if h.dtype.kind in "biu" else h
        step = np.diff(h)
        step = step if is_traced(step) or f.dtype.kind != "f" else step.astype(f.dtype)
        steps.append(step[0] if not is_traced(h) and np.all(step == step[0]) else step)
    return steps


@calls(np.trapezoid)
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    y = as_operand(y)
    axis = normalize_axis_index(axis, y.ndim)
    if x is not None:
        x = as_operand(x)
        if x.ndim == 1:
            dx = np.reshape(np.diff(x), (1,) * axis + (-1,) + (1,) * (y.ndim - axis - 1))
        else:
            dx = np.diff(x, axis=axis)
    return np.sum(dx * (y[_at(axis, slice(1, None))] + y[_at(axis, slice(None, -1))]) / 2.0, axis=axis)


# ---- Interpolation ----


@calls(np.interp)
def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Any:
    """Interpolate linearly; at a sample the derivative is that of the line to its right."""
    x, xp, fp = (astype(v, np.float64) if v.dtype.kind != "c" else v for v in map(as_operand, (x, xp, fp)))
    if period is not None:
        if period == 0:
            raise ValueError("period must be a non-zero value")
        if xp.ndim != 1 or fp.ndim != 1:
            raise ValueError("Data points must be 1-D sequences")
        if xp.shape[0] != fp.shape[0]:
            raise ValueError("fp and xp are not of the same length")
        period, left, right = abs(period), None, None
        x, xp = x % period, xp % period
        order = argsort(xp, stable=True)
        xp, fp = along(xp, 0, order), along(fp, 0, order)
        xp = np.concatenate([xp[-1:] - period, xp, xp[:1] + period])
        fp = np.concatenate([fp[-1:], fp, fp[:1]])
    if xp.ndim != 1 or fp.ndim != 1:
        raise ValueError(
            "object of too small depth for desired array"
            if xp.ndim < 1 or fp.ndim < 1
            else "object too deep for desired array"
        )
    n = xp.shape[0]
    if n == 0:
        raise ValueError("array of sample points is empty")
    if n != fp.shape[0]:
        raise ValueError("fp and xp are not of the same length.")
    left, right = fp[0] if left is None else left, fp[-1] if right is None else right
    if n == 1:
        y = np.broadcast_to(fp[0], x.shape)
    else:
        j = np.clip(searchsorted(xp, x, "right") - 1, 0, n - 2)
        x0, y0 = along(xp, 0, j), along(fp, 0, j)
        y = (along(fp, 0, j + 1) - y0) / (along(xp, 0, j + 1) - x0) * (x - x0) + y0
    y = np.where(x > xp[-1], right, np.where(x < xp[0], left, y))
    return np.where(x == xp[-1], fp[-1], y) if not is_traced(x, xp) else y


# ---- Convolution ----


@calls(np.convolve)
def convolve(a: Any, v: Any, mode: str = "full") -> Any:
    a, v = np.atleast_1d(a), np.atleast_1d(v)
    if a.ndim > 1 or v.ndim > 1:
        raise ValueError("object too deep for desired array")
    if a.shape[0] < v.shape[0]:
        a, v = v, a
    if v.shape[0] == 0:
        raise ValueError("v cannot be empty" if a.shape[0] else "a cannot be empty")
    mode = _mode(mode)
    if mode != "same":
        return p.convolve(a, v, mode=mode)
    first = (v.shape[0] - 1) // 2
    return p.convolve(a, v, mode="full")[first : first + a.shape[0]]


@calls(np.correlate)
def correlate(a: Any, v: Any, mode: str = "valid") -> Any:
    a, v = np.atleast_1d(a), np.atleast_1d(v)
    if a.ndim > 1 or v.ndim > 1:
        raise ValueError("object too deep for desired array")
    if a.shape[0] == 0 or v.shape[0] == 0:
        raise ValueError(
            "first array argument cannot be empty" if a.shape[0] == 0 else "second array argument cannot be empty"
        )
    v = np.conjugate(v) if v.dtype.kind == "c" else v
    mode = _mode(mode)
    if mode != "same":
        return convolve(a, v[::-1], mode)
    n, m = sorted((a.shape[0], v.shape[0]), reverse=True)
    first = (m - 1) // 2 if a.shape[0] < v.shape[0] else m // 2
    return convolve(a, v[::-1], "full")[m - 1 - first : m - 1 - first + n]


def _mode(mode: Any) -> str:
    names = {"valid": "valid", "same": "same", "full": "full", 0: "valid", 1: "same", 2: "full"}
    if mode not in names:
        raise ValueError(f"mode must be one of 'valid', 'same', or 'full' (got '{mode}')")
    return names[mode]


# ---- Periods ----


@calls(np.unwrap)
def unwrap(x: Any, discont: Any = None, axis: int = -1, *, period: Any = 2 * math.pi) -> Any:
    return p.unwrap(x, discont=discont, axis=negative_axis(ndim_of(x), axis), period=period)


@calls(np.i0)
def i0(x: Any) -> Any:
    x = as_operand(x)
    return astype(special.i0(x), x.dtype if x.dtype.kind == "f" else np.float64)


# ---- Polynomials: coefficients from the highest power down ----


@calls(np.polyval)
def polyval(p: Any, x: Any) -> Any:
    p, x = as_operand(p), as_operand(x)
    if isinstance(x, np.poly1d):
        raise UnsupportedError("np.polyval of a polynomial at a polynomial has no rule; give it numbers.")
    y: Any = np.zeros(x.shape, x.dtype)[()]
    for k in range(p.shape[0]):
        y = y * x + p[k]
    return y


@calls(np.polyadd)
def polyadd(a1: Any, a2: Any) -> Any:
    a1, a2 = _same_length(a1, a2)
    return a1 + a2


@calls(np.polysub)
def polysub(a1: Any, a2: Any) -> Any:
    a1, a2 = _same_length(a1, a2)
    return a1 - a2


def _same_length(a1: Any, a2: Any) -> list[Any]:
    both = [np.atleast_1d(a) for a in (a1, a2)]
    n = max(shape_of(a)[0] for a in both)
    return [np.concatenate([np.zeros(n - a.shape[0], a.dtype), a]) if a.shape[0] < n else a for a in both]


@calls(np.polymul)
def polymul(a1: Any, a2: Any) -> Any:
    return convolve(*[_trimmed(a) for a in (a1, a2)])


def _trimmed(a: Any) -> Any:
    """Drop leading zeros, as NumPy's polynomials do."""
    a = np.atleast_1d(a)
    first = 0
    while first < a.shape[0] - 1 and not a[first]:
        first += 1
    return a[first:]


@calls(np.polydiv)
def polydiv(u: Any, v: Any) -> Any:
    u, v = np.atleast_1d(u) + 0.0, np.atleast_1d(v) + 0.0
    m, n = u.shape[0] - 1, v.shape[0] - 1
    scale = 1.0 / v[0]
    quotient, rest = [], u
    for _ in range(m - n + 1):
        d = scale * rest[0]
        quotient.append(d)
        rest = np.concatenate([rest[1 : n + 1] - d * v[1:], rest[n + 1 :]])
    q = np.stack(quotient) if quotient else np.zeros(1, np.result_type(u.dtype, v.dtype))
    if quotient and rest.shape[0] == 0:
        rest = np.zeros(1, q.dtype)
    first = 0
    while np.allclose(rest[first], 0, rtol=1e-14) and first < rest.shape[0] - 1:
        first += 1
    return q, rest[first:]


@calls(np.polyder)
def polyder(p: Any, m: int = 1) -> Any:
    if m < 0:
        raise ValueError("Order of derivative must be positive (see polyint)")
    p = as_operand(p)
    for _ in range(m):
        p = p[:-1] * np.arange(p.shape[0] - 1, 0, -1)
    return p


@calls(np.polyint)
def polyint(p: Any, m: int = 1, k: Any = None) -> Any:
    if m < 0:
        raise ValueError("Order of integral must be positive (see polyder)")
    constants = np.zeros(m) if k is None else np.atleast_1d(k)
    if constants.shape[0] == 1 and m > 1:
        constants = constants * np.ones(m)
    if constants.shape[0] < m:
        raise ValueError("k must be a scalar or a rank-1 array of length 1 or >m.")
    p = as_operand(p)
    for i in range(m):
        p = np.concatenate([p / np.arange(p.shape[0], 0, -1), constants[i : i + 1]])
    return p


@calls(np.poly)
def poly(seq_of_zeros: Any) -> Any:
    zeros = np.atleast_1d(as_operand(seq_of_zeros))
    if zeros.ndim == 2 and zeros.shape[0] == zeros.shape[1] != 0:
        zeros = np.linalg.eigvals(zeros)
    elif zeros.ndim != 1:
        raise ValueError("input must be 1d or non-empty square 2d array.")
    a: Any = np.ones(1, zeros.dtype)
    for k in range(zeros.shape[0]):
        a = convolve(a, np.stack([np.ones((), zeros.dtype), -zeros[k]]), "full")
    return a


@calls(np.roots)
def roots(p: Any) -> Any:
    p = np.atleast_1d(as_operand(p))
    if p.ndim != 1:
        raise ValueError("Input must be a rank-1 array.")
    nonzero = np.flatnonzero(p)
    if not len(nonzero):
        return np.zeros(0)
    zeros = p.shape[0] - 1 - int(nonzero[-1])
    p = p[int(nonzero[0]) : int(nonzero[-1]) + 1]
    n = p.shape[0] - 1
    if n < 1:
        return np.zeros(zeros)
    companion = np.concatenate([(-p[1:] / p[0])[None], np.eye(n - 1, n, dtype=p.dtype)])
    roots_of_p = np.linalg.eigvals(companion)
    return np.concatenate([roots_of_p, np.zeros(zeros, roots_of_p.dtype)]) if zeros else roots_of_p


@calls(np.polyfit)
def polyfit(x: Any, y: Any, deg: int, rcond: Any = None, full: bool = False, w: Any = None, cov: Any = False) -> Any:
    if full or cov:
        raise UnsupportedError("np.polyfit with full=True or cov=True has no rule on traced values; leave it out.")
    x, y = as_operand(x) + 0.0, as_operand(y) + 0.0
    if deg < 0:
        raise ValueError("expected deg >= 0")
    if x.ndim != 1:
        raise TypeError("expected 1D vector for x")
    if x.size == 0:
        raise TypeError("expected non-empty vector for x")
    if y.ndim < 1 or y.ndim > 2:
        raise TypeError("expected 1D or 2D array for y")
    if x.shape[0] != y.shape[0]:
        raise TypeError("expected x and y to have same length")
    left, right = vander(x, deg + 1), y
    if w is not None:
        w = as_operand(w) + 0.0
        if w.ndim != 1:
            raise TypeError("expected a 1-d array for weights")
        if w.shape[0] != y.shape[0]:
            raise TypeError("expected w and y to have the same length")
        left, right = left * w[:, None], right * (w if y.ndim == 1 else w[:, None])
    scale = np.sqrt(np.sum(left * left, axis=0))
    tolerance = x.shape[0] * np.finfo(x.dtype).eps if rcond is None else rcond
    c = np.linalg.lstsq(left / scale, right, tolerance)[0]
    return c / (scale if y.ndim == 1 else scale[:, None])


@calls(np.vander)
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    x = as_operand(x)
    if x.ndim != 1:
        raise ValueError("x must be a one-dimensional array or sequence.")
    count = x.shape[0] if N is None else N
    powers = [np.ones(x.shape, np.promote_types(x.dtype, np.int64))]
    for _ in range(count - 1):
        powers.append(powers[-1] * x)
    powers = powers[:count]
    if not powers:
        return np.zeros((x.shape[0], 0), x.dtype)
    return np.stack(powers if increasing else powers[::-1], axis=1)
