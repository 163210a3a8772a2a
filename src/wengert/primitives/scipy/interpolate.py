"""``scipy.interpolate``: splines and grids, by values, by positions and by the points that are interpolated.

A spline made of traced values is an object of SciPy's own class, whose coefficients are traced: ``CubicSpline(x, y)``
has ``.c``, ``.derivative()`` and ``.integrate()``, and one that was made of plain numbers takes a traced position.  The
coefficients solve a banded system, by the row of `wengert.primitives.scipy.sparse`; all else is polynomials.

>>> import numpy as np, wengert as wg
>>> from scipy.interpolate import CubicSpline
>>> knots = np.arange(4.0)
>>> wg.grad(lambda y: CubicSpline(knots, y)(1.5))(knots**2).round(4)
array([-0.0625,  0.5625,  0.5625, -0.0625])
>>> float(wg.grad(CubicSpline(knots, knots**2))(1.5))
3.0
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from wengert.errors import UnsupportedError
from wengert.primitives.numpy.functions.operands import along, as_floats, as_operand, is_traced, pick
from wengert.primitives.scipy.sparse import solve_entries
from wengert.primitives.table import HOLDERS, LATE, calls

Array = Any


# ---- SciPy's objects ----


def _get(spline: Any, name: str) -> Any:
    """Read an attribute that newer versions of SciPy keep under a name of their own."""
    return getattr(spline, f"_{name}") if hasattr(spline, f"_{name}") else getattr(spline, name)


def _fill(spline: Any, **values: Any) -> Any:
    for name, value in values.items():
        hidden = isinstance(getattr(type(spline), name, None), property)
        setattr(spline, f"_{name}" if hidden else name, value)
    with contextlib.suppress(AttributeError):  # older versions have no such slot
        spline._asarray = lambda value, **_options: value
    return spline


def _like(spline: Any, **values: Any) -> Any:
    return _fill(object.__new__(type(spline)), **values)


def _interval(x: Array, at: Array, low: int, high: int) -> Array:
    """Return the number of the interval of ascending points that each position lies in."""
    return np.clip(np.searchsorted(x, at, side="right") - 1, low, high)


def _spread(values: Array, ndim: int) -> Array:
    """Append axes of length 1, to be broadcast against values of more dimensions."""
    return np.reshape(values, values.shape + (1,) * (ndim - values.ndim))


def _increasing(x: Array, y: Array, axis: int) -> None:
    """Raise what SciPy does for points that cannot be interpolated."""
    if x.ndim != 1:
        raise ValueError("`x` must be 1-dimensional.")
    if x.shape[0] < 2:
        raise ValueError("`x` must contain at least 2 elements.")
    if x.shape[0] != y.shape[axis]:
        raise ValueError(f"The length of `y` along `axis`={axis} doesn't match the length of `x`")
    if np.any(x[1:] <= x[:-1]):
        raise ValueError("`x` must be strictly increasing sequence.")


def _turned(values: Array, x_ndim: int, axis: int) -> Array:
    """Move the axes of the positions, which come first, to where the points lay."""
    if axis == 0:
        return values
    order = list(range(values.ndim))
    return np.transpose(values, order[x_ndim : x_ndim + axis] + order[:x_ndim] + order[x_ndim + axis :])


# ---- Piecewise polynomials ----


def _evaluate_polynomials(c: Array, x: Array, at: Array, nu: int, extrapolate: Any) -> Array:
    """Evaluate at a row of positions; ``c[k, i]`` are the coefficients on the i-th interval, the highest first."""
    sign = 1.0 if x[-1] >= x[0] else -1.0
    i = _interval(sign * x, sign * at, 0, x.shape[0] - 2)
    ndim = c.ndim - 1
    step = _spread(at - along(x, 0, i), ndim)
    pieces = pick(c, (slice(None), i))
    degree = c.shape[0] - 1
    total = 0.0 * pieces[0] + 0.0 * step
    for k in range(degree + 1 - nu):
        total = total * step + math.perm(degree - k, nu) * pieces[k]
    if extrapolate:
        return total
    low, high = (x[0], x[-1]) if sign > 0 else (x[-1], x[0])
    return np.where(_spread((at >= low) & (at <= high), ndim), total, np.nan)


def _call_polynomials(self: Any, x: Any, nu: int = 0, extrapolate: Any = None) -> Array:
    """Evaluate a piecewise polynomial, or one of its derivatives."""
    extrapolate = self.extrapolate if extrapolate is None else extrapolate
    c, knots, at = _get(self, "c"), _get(self, "x"), as_floats(x)
    flat = np.reshape(at, (-1,))
    if isinstance(extrapolate, str):
        flat, extrapolate = knots[0] + (flat - knots[0]) % (knots[-1] - knots[0]), False
    values = _evaluate_polynomials(c, knots, flat, nu, extrapolate)
    return _turned(np.reshape(values, at.shape + c.shape[2:]), at.ndim, self.axis)


def _derivative_of_polynomials(self: Any, nu: int = 1) -> Any:
    """Return the derivative as a piecewise polynomial."""
    if nu < 0:
        return _integral_of_polynomials(self, -nu)
    c = _get(self, "c")
    degree = c.shape[0] - 1
    factors = np.array([float(math.perm(degree - k, nu)) for k in range(max(degree + 1 - nu, 0))])
    lower = _spread(factors, c.ndim) * c[: len(factors)] if len(factors) else 0.0 * c[:1]
    return _as_polynomials(lower, _get(self, "x"), self.extrapolate, self.axis)


def _as_polynomials(c: Array, x: Array, extrapolate: Any, axis: int) -> Any:
    from scipy.interpolate import PPoly

    return _fill(object.__new__(PPoly), c=c, x=x, extrapolate=extrapolate, axis=axis)


def _integral_of_polynomials(self: Any, nu: int = 1) -> Any:
    """Return the continuous antiderivative that is 0 at the first point."""
    if nu <= 0:
        return _derivative_of_polynomials(self, -nu)
    c, x = _get(self, "c"), _get(self, "x")
    for _ in range(nu):
        c = c / _spread(np.arange(float(c.shape[0]), 0.0, -1.0), c.ndim)
        step = _spread(np.diff(x), c.ndim - 1)
        rise = 0.0 * c[0]
        for piece in c:
            rise = (rise + piece) * step
        start = np.concatenate([0.0 * rise[:1], np.cumsum(rise, axis=0)[:-1]])
        c = np.concatenate([c, start[None]])
    return _as_polynomials(c, x, False if isinstance(self.extrapolate, str) else self.extrapolate, self.axis)


def _integrate(self: Any, a: Any, b: Any, extrapolate: Any = None) -> Array:
    """Integrate from a to b."""
    extrapolate = self.extrapolate if extrapolate is None else extrapolate
    polynomials = hasattr(self, "_x") or hasattr(self, "x")
    if polynomials:
        knots = _get(self, "x")
        integral = _integral_of_polynomials(self)
    else:
        t, k = _get(self, "t"), self.k
        knots = t[k : t.shape[0] - k]
        integral = _integral_of_spline(self)
        if not extrapolate:
            a, b = np.clip(a, knots[0], knots[-1]), np.clip(b, knots[0], knots[-1])

    def between(low: Any, high: Any, beyond: bool) -> Array:
        ends = integral(np.stack([as_operand(low), as_operand(high)]), extrapolate=beyond)
        return np.take(ends, 1, self.axis) - np.take(ends, 0, self.axis)

    if not isinstance(extrapolate, str):
        return between(a, b, bool(extrapolate) or not polynomials)
    if b < a:
        return -_integrate(self, b, a, extrapolate)
    start, end = knots[0], knots[-1]
    period = end - start
    periods, left = np.floor_divide(b - a, period), (b - a) % period
    total = periods * between(start, end, True) if periods > 0 else 0.0
    a = start + (a - start) % period
    b = a + left
    if b <= end:
        return total + between(a, b, True)
    return total + between(a, end, True) + between(start, b - period, True)


def _init_polynomials(self: Any, c: Any, x: Any, extrapolate: Any = None, axis: int = 0) -> None:
    c, x = as_floats(c), as_floats(x)
    if c.ndim < 2 or not 0 <= axis < c.ndim - 1:
        raise ValueError(f"axis={axis} must be between 0 and {c.ndim - 1}")
    if c.shape[axis + 1] != x.shape[0] - 1:
        raise ValueError("number of coefficients != len(x)-1")
    c = np.moveaxis(np.moveaxis(c, axis + 1, 0), axis + 1, 0) if axis else c
    extrapolate = True if extrapolate is None else extrapolate
    _fill(self, c=c, x=x, extrapolate=extrapolate, axis=axis)


# ---- Cubic polynomials through points with slopes ----


def _points(x: Any, y: Any, axis: int) -> tuple[Array, Array, Array, Array, int]:
    """Return the points, their values along the first axis, the steps and the slopes between them, and the axis."""
    x, y = as_floats(x), as_floats(y)
    axis = normalize_axis_index(axis, y.ndim)
    _increasing(x, y, axis)
    y = np.moveaxis(y, axis, 0)
    step = _spread(x[1:] - x[:-1], y.ndim)
    return x, y, step, (y[1:] - y[:-1]) / step, axis


def _fill_cubic(self: Any, x: Array, y: Array, slopes: Array, extrapolate: Any, axis: int) -> None:
    step = _spread(x[1:] - x[:-1], y.ndim)
    secant = (y[1:] - y[:-1]) / step
    bend = (slopes[:-1] + slopes[1:] - 2 * secant) / step
    c = np.stack([bend / step, (secant - slopes[:-1]) / step - bend, slopes[:-1], y[:-1]])
    _fill(self, c=c, x=x, extrapolate=True if extrapolate is None else extrapolate, axis=axis)


def _init_hermite(self: Any, x: Any, y: Any, dydx: Any, axis: int = 0, extrapolate: Any = None) -> None:
    x, y, _, _, axis = _points(x, y, axis)
    _fill_cubic(self, x, y, np.moveaxis(as_floats(dydx), axis, 0), extrapolate, axis)


def _edge_slope(h0: Array, h1: Array, m0: Array, m1: Array) -> Array:
    """Estimate the slope at an end by three points, so that the shape is kept (Moler, Numerical Computing, 3.6)."""
    d = ((2 * h0 + h1) * m0 - h0 * m1) / (h0 + h1)
    d = np.where((np.sign(m0) != np.sign(m1)) & (np.abs(d) > 3.0 * np.abs(m0)), 3.0 * m0, d)
    return np.where(np.sign(d) != np.sign(m0), 0.0, d)


def pchip_slopes(step: Array, secant: Array) -> Array:
    """Return slopes at the points that keep monotonicity: weighted harmonic means, and 0 where the sign changes."""
    if secant.shape[0] == 1:
        return np.concatenate([secant, secant])
    before, after = secant[:-1], secant[1:]
    flat = (np.sign(before) != np.sign(after)) | (before == 0) | (after == 0)
    first, second = 2 * step[1:] + step[:-1], step[1:] + 2 * step[:-1]
    mean = (first / np.where(flat, 1.0, before) + second / np.where(flat, 1.0, after)) / (first + second)
    inner = np.where(flat, 0.0, 1.0 / np.where(flat, 1.0, mean))
    low = _edge_slope(step[0], step[1], secant[0], secant[1])
    high = _edge_slope(step[-1], step[-2], secant[-1], secant[-2])
    return np.concatenate([low[None], inner, high[None]])


def _init_pchip(self: Any, x: Any, y: Any, axis: int = 0, extrapolate: Any = None) -> None:
    x, y, step, secant, axis = _points(x, y, axis)
    _fill_cubic(self, x, y, pchip_slopes(step, secant), extrapolate, axis)


def _init_akima(self: Any, x: Any, y: Any, axis: int = 0, *, method: str = "akima", extrapolate: Any = None) -> None:
    if method not in ("akima", "makima"):
        raise NotImplementedError(f"`method`={method} is unsupported.")
    x, y, _, secant, axis = _points(x, y, axis)
    extrapolate = False if extrapolate is None else extrapolate
    if y.shape[0] == 2:
        _fill_cubic(self, x, y, np.concatenate([secant, secant]), extrapolate, axis)
        return
    a = 2.0 * secant[:1] - secant[1:2]
    z = 2.0 * secant[-1:] - secant[-2:-1]
    m = np.concatenate([2.0 * a - secant[:1], a, secant, z, 2.0 * z - secant[-1:]])
    turn = np.abs(m[1:] - m[:-1])
    if method == "makima":
        turn = turn + 0.5 * np.abs(m[1:] + m[:-1])
    ahead, behind = turn[2:], turn[:-2]
    total = ahead + behind
    defined = total > 1e-9 * np.max(total)
    share = behind / np.where(defined, total, 1.0)
    slopes = np.where(defined, m[1:-2] + share * (m[2:-1] - m[1:-2]), 0.5 * (m[3:] + m[:-3]))
    _fill_cubic(self, x, y, slopes, extrapolate, axis)


def _ends(bc_type: Any, y: Array, axis: int) -> list[Any]:
    """Return the conditions at both ends: "not-a-knot", "periodic", or an order and a value."""
    if isinstance(bc_type, str):
        if bc_type == "periodic" and not np.allclose(y[0], y[-1], rtol=1e-15, atol=1e-15):
            raise ValueError(
                f"The first and last `y` point along axis {axis} must be identical (within machine precision) when "
                "bc_type='periodic'."
            )
        bc_type = (bc_type, bc_type)
    elif len(bc_type) != 2:
        raise ValueError("`bc_type` must contain 2 elements to specify start and end conditions.")
    ends: list[Any] = []
    for end in bc_type:
        if isinstance(end, str):
            if end not in ("clamped", "natural", "not-a-knot", "periodic"):
                raise ValueError(f"bc_type={end} is not allowed.")
            ends.append({"clamped": (1, 0.0), "natural": (2, 0.0)}.get(end, end))
            continue
        order, value = end
        if order not in (1, 2):
            raise ValueError("The specified derivative order must be 1 or 2.")
        ends.append((order, as_operand(value)))
    return ends


def _spline_slopes(x: Array, y: Array, step: Array, secant: Array, ends: list[Any]) -> Array:
    """Return the slopes of the cubic spline, from the tridiagonal system that makes it twice differentiable."""
    n = x.shape[0]
    dx = x[1:] - x[:-1]
    if n == 2:
        ends = [(1, secant[0]) if isinstance(end, str) else end for end in ends]
    if n == 3 and ends == ["not-a-knot"] * 2:  # a parabola
        middle = (step[0] * secant[1] + step[1] * secant[0]) / (step[0] + step[1])
        return np.stack([2 * secant[0] - middle, middle, 2 * secant[1] - middle])
    if n == 3 and ends[0] == "periodic":
        mean = np.sum(secant / step, axis=0) / np.sum(1.0 / step, axis=0)
        return np.stack([mean] * 3)
    k = np.arange(1, n - 1)
    rows: list[Array] = [k, k, k]
    columns: list[Array]
    inner = 3 * (step[1:] * secant[:-1] + step[:-1] * secant[1:])
    if ends[0] == "periodic":
        wrapped = 3 * (step[:1] * secant[-1:] + step[-1:] * secant[:1])
        entries = np.concatenate([2 * (dx[:-1] + dx[1:]), dx[:-1], dx[1:], 2 * (dx[-1:] + dx[:1]), dx[-1:], dx[:1]])
        rows += [[0], [0], [0]]
        columns = [k, (k + 1) % (n - 1), k - 1, [0], [1], [n - 2]]
        slopes = solve_entries(entries, np.concatenate(rows), np.concatenate(columns), np.concatenate([wrapped, inner]))
        return np.concatenate([slopes, slopes[:1]])
    pieces = [2 * (dx[:-1] + dx[1:]), dx[:-1], dx[1:]]
    columns = [k, k + 1, k - 1]
    right = []
    for end, row, near, far in ((ends[0], 0, 0, 1), (ends[1], n - 1, -1, -2)):
        h, m = step[near], secant[near]
        neighbor = 1 if row == 0 else n - 2
        sign = 1 if row == 0 else -1
        if end == "not-a-knot":
            span = step[near] + step[far]
            pieces += [dx[far : far + 1 or None], (dx[near] + dx[far])[None]]
            right.append(((h + 2 * span) * step[far] * m + h**2 * secant[far]) / span)
        elif end[0] == 1:
            pieces += [np.ones(1), np.zeros(1)]
            right.append(np.broadcast_to(end[1], y.shape[1:]))
        else:
            pieces += [2 * dx[near : near + 1 or None], dx[near : near + 1 or None]]
            right.append(3 * h * m - sign * 0.5 * end[1] * h**2)
        rows += [[row], [row]]
        columns += [[row], [neighbor]]
    b = np.concatenate([right[0][None], inner, right[1][None]])
    return solve_entries(np.concatenate(pieces), np.concatenate(rows), np.concatenate(columns), b)


def _init_cubic(self: Any, x: Any, y: Any, axis: int = 0, bc_type: Any = "not-a-knot", extrapolate: Any = None) -> None:
    x, y, step, secant, axis = _points(x, y, axis)
    ends = _ends(bc_type, y, axis)
    if extrapolate is None:
        extrapolate = "periodic" if ends[0] == "periodic" else True
    _fill_cubic(self, x, y, _spline_slopes(x, y, step, secant, ends), extrapolate, axis)


# ---- B-splines ----


def _basis(t: Array, at: Array, i: Array, k: int) -> list[Array]:
    """Return the k + 1 basis functions that do not vanish on the interval of each position (de Boor's recurrence)."""
    left = [at - along(t, 0, i + 1 - d) for d in range(1, k + 1)]
    right = [along(t, 0, i + d) - at for d in range(1, k + 1)]
    weights = [np.ones(at.shape)]
    for d in range(1, k + 1):
        raised: list[Array] = []
        carried: Array = 0.0
        for r in range(d):
            share = weights[r] / (right[r] + left[d - 1 - r])
            raised.append(carried + right[r] * share)
            carried = left[d - 1 - r] * share
        weights = [*raised, carried]
    return weights


def _derivative_coefficients(t: Array, c: Array, k: int, nu: int) -> tuple[Array, Array, int]:
    """Return knots, coefficients and degree of a derivative."""
    for _ in range(nu):
        if k == 0:
            return t, 0.0 * c, 0
        n = t.shape[0] - k - 1
        width = t[k + 1 : k + n] - t[1:n]
        c = k * (c[1:n] - c[: n - 1]) / _spread(np.where(width == 0, 1.0, width), c.ndim)
        t, k = t[1:-1], k - 1
    return t, c, k


def _evaluate_spline(t: Array, c: Array, k: int, at: Array, nu: int, extrapolate: Any) -> Array:
    n = t.shape[0] - k - 1
    low, high = t[k], t[n]
    t, c, k = _derivative_coefficients(t, c, k, nu)
    i = _interval(t, at, k, t.shape[0] - k - 2)
    total = _combination(_basis(t, at, i, k), c, i, k)
    if extrapolate:
        return np.where(_spread(np.isnan(at), c.ndim), np.nan, total)
    return np.where(_spread((at >= low) & (at <= high), c.ndim), total, np.nan)


def _combination(weights: Sequence[Array], c: Array, i: Array, k: int) -> Array:
    """Add up coefficients, weighted by the basis functions."""
    w = np.stack(list(weights), axis=-1)
    chosen = pick(c, (i[:, None] + np.arange(-k, 1),))
    return np.sum(np.reshape(w, w.shape + (1,) * (c.ndim - 1)) * chosen, axis=1)


def _call_spline(self: Any, x: Any, nu: int = 0, extrapolate: Any = None) -> Array:
    """Evaluate a spline, or one of its derivatives."""
    extrapolate = self.extrapolate if extrapolate is None else extrapolate
    t, c, k, at = _get(self, "t"), _get(self, "c"), self.k, as_floats(x)
    flat = np.reshape(at, (-1,))
    if isinstance(extrapolate, str):
        low, high = t[k], t[t.shape[0] - k - 1]
        flat, extrapolate = low + (flat - low) % (high - low), False
    values = _evaluate_spline(t, c, k, flat, nu, extrapolate)
    return _turned(np.reshape(values, at.shape + c.shape[1:]), at.ndim, self.axis)


def _as_spline(t: Array, c: Array, k: int, extrapolate: Any, axis: int) -> Any:
    from scipy.interpolate import BSpline

    return _fill(object.__new__(BSpline), t=t, c=c, k=k, extrapolate=extrapolate, axis=axis)


def _derivative_of_spline(self: Any, nu: int = 1) -> Any:
    """Return the derivative as a spline; its coefficients are filled up with zeros, as SciPy's are."""
    if nu < 0:
        return _integral_of_spline(self, -nu)
    t, c, k = _derivative_coefficients(_get(self, "t"), _get(self, "c"), self.k, nu)
    missing = t.shape[0] - c.shape[0]
    c = np.concatenate([c, np.zeros((max(missing, 0), *c.shape[1:]))])
    return _as_spline(t, c, k, self.extrapolate, self.axis)


def _integral_of_spline(self: Any, nu: int = 1) -> Any:
    """Return the antiderivative that is 0 at the first knot."""
    if nu <= 0:
        return _derivative_of_spline(self, -nu)
    t, c, k = _get(self, "t"), _get(self, "c"), self.k
    for _ in range(nu):
        n = t.shape[0] - k - 1
        rise = np.cumsum(c[:n] * _spread(t[k + 1 :] - t[:n], c.ndim), axis=0) / (k + 1)
        c = np.concatenate([0.0 * rise[:1], rise, *[rise[-1:]] * (k + 2)])
        t, k = np.concatenate([t[:1], t, t[-1:]]), k + 1
    return _as_spline(t, c, k, False if isinstance(self.extrapolate, str) else self.extrapolate, self.axis)


def _init_spline(self: Any, t: Any, c: Any, k: Any, extrapolate: Any = True, axis: int = 0) -> None:
    t, c = as_floats(t), as_floats(c)
    axis = normalize_axis_index(axis, c.ndim)
    c = np.moveaxis(c, axis, 0)
    if t.shape[0] < 2 * k + 2:
        raise ValueError(f"Need at least {2 * k + 2} knots for degree {k}")
    if np.any(t[1:] < t[:-1]):
        raise ValueError("Knots must be in a non-decreasing order.")
    if c.shape[0] < t.shape[0] - k - 1:
        raise ValueError("Knots, coefficients and degree are inconsistent.")
    _fill(self, t=t, c=c, k=int(k), extrapolate=extrapolate, axis=axis)


def _knots_on_a_circle(x: Array, k: int) -> Array:
    n = x.shape[0]
    if k % 2 == 0:
        x = np.concatenate([x[:1], (x[1:-1] + x[:-2]) / 2, x[-1:]])
    step = x[1:] - x[:-1]
    before, after = [x[0]], [x[-1]]
    for j in range(k):
        before.insert(0, before[0] - step[-(j % (n - 1)) - 1])
        after.append(after[-1] + step[j % (n - 1)])
    return np.concatenate([np.stack(before), x[1:-1], np.stack(after)])


def _knots(x: Array, k: int, periodic: bool, at_ends: bool) -> Array:
    """Return SciPy's choice of knots for interpolation."""
    if periodic:
        return _knots_on_a_circle(x, k)
    if at_ends:
        return np.concatenate([x[:1]] * k + [x] + [x[-1:]] * k)
    inner = x if k % 2 else (x[1:] + x[:-1]) / 2
    half = (k + 1) // 2
    return np.concatenate([x[:1]] * (k + 1) + [inner[half : inner.shape[0] - half]] + [x[-1:]] * (k + 1))


def _at_end(spec: Any) -> list[tuple[int, Any]]:
    if isinstance(spec, str):
        if spec not in ("clamped", "natural"):
            raise ValueError(f"Unknown boundary condition : {spec}")
        return [(1 if spec == "clamped" else 2, 0.0)]
    return [] if spec is None else [(int(order), as_operand(value)) for order, value in spec]


def _derivative_weights(t: Array, k: int, at: Array, nu: int) -> tuple[Array, Array]:
    """Return the weights of the k + 1 coefficients in a derivative at one position, and the interval it is in."""
    i = _interval(t, at, k, t.shape[0] - k - 2)
    unit = np.eye(t.shape[0] - k - 1)
    lower, c, degree = _derivative_coefficients(t, unit, k, nu)
    j = _interval(lower, at, degree, lower.shape[0] - degree - 2)
    row = _combination(_basis(lower, at, j, degree), c, j, degree)[0]
    return row[int(i[0]) - k : int(i[0]) + 1], i


def make_interp_spline(
    x: Any, y: Any, k: int = 3, t: Any = None, bc_type: Any = None, axis: int = 0, check_finite: bool = True
) -> Any:
    """Return the spline through given points: its coefficients solve the collocation equations."""
    periodic = isinstance(bc_type, str) and bc_type == "periodic"
    if bc_type is None or (isinstance(bc_type, str) and bc_type in ("not-a-knot", "periodic")):
        first, last = None, None
    else:
        first, last = (bc_type, bc_type) if isinstance(bc_type, str) else bc_type
    x, y = as_floats(x), as_floats(y)
    axis = normalize_axis_index(axis, y.ndim)
    y = np.moveaxis(y, axis, 0)
    if x.shape[0] != y.shape[0]:
        raise ValueError(f"Shapes of x {x.shape} and y {y.shape} are incompatible")
    if x.ndim != 1 or np.any(x[1:] <= x[:-1]):
        raise ValueError("Expect x to be a 1D strictly increasing sequence.")
    if k == 0:
        return _as_spline(np.concatenate([x, x[-1:]]), y, 0, True, axis)
    if k == 1 and t is None:
        return _as_spline(np.concatenate([x[:1], x, x[-1:]]), y, 1, True, axis)
    t = _knots(x, k, periodic, first is not None or last is not None) if t is None else as_floats(t)
    at_start, at_stop = _at_end(first), _at_end(last)
    n, unknowns = x.shape[0], t.shape[0] - k - 1
    if periodic:
        if not np.allclose(y[0], y[-1], atol=1e-15):
            raise ValueError("First and last points does not match while periodic case expected")
        x, y, n = x[:-1], y[:-1], n - 1
    elif unknowns - n != len(at_start) + len(at_stop):
        raise ValueError(
            "The number of derivatives at boundaries does not "
            f"match: expected {unknowns - n}, got {len(at_start)}+{len(at_stop)}"
        )
    i = _interval(t, x, k, unknowns - 1)
    entries = [np.reshape(np.stack(_basis(t, x, i, k), axis=-1), (-1,))]
    rows = [np.repeat(np.arange(n) + len(at_start), k + 1)]
    columns = [(_positions(i)[:, None] + np.arange(-k, 1)).ravel()]
    right = [y]
    for place, conditions in ((0, at_start), (-1, at_stop)):
        values = []
        for row, (order, value) in enumerate(conditions, 0 if place == 0 else unknowns - len(at_stop)):
            weights, where = _derivative_weights(t, k, x[place:][:1], order)
            entries.append(weights)
            rows.append(np.full(k + 1, row))
            columns.append(int(where[0]) + np.arange(-k, 1))
            values.append(np.broadcast_to(value, y.shape[1:])[None])
        right = [*values, *right] if place == 0 else [*right, *values]
    if periodic:
        columns = [columns[0] % n]
    coefficients = np.concatenate(right)
    shape = coefficients.shape
    c = solve_entries(
        np.concatenate(entries), np.concatenate(rows), np.concatenate(columns), np.reshape(coefficients, (shape[0], -1))
    )
    c = np.reshape(c, (-1, *shape[1:]))
    return _as_spline(t, np.concatenate([c, c[:k]]) if periodic else c, k, "periodic" if periodic else True, axis)


def _positions(i: Array) -> np.ndarray[Any, Any]:
    """Return plain positions of traced ones: what they are is a guard in a Program."""
    return np.asarray([int(v) for v in i]) if is_traced(i) else i


def splev(x: Any, tck: Any, der: int = 0, ext: int = 0) -> Any:
    """Evaluate a spline given as ``(t, c, k)``, or a BSpline."""
    if hasattr(tck, "extrapolate"):
        return _call_spline(tck, x, der, bool(tck.extrapolate))
    t, c, k = tck
    t, at = as_floats(t), as_floats(x)
    if isinstance(c, (list, tuple)) and len(c) and np.ndim(c[0]):
        return [splev(x, (t, one, k), der, ext) for one in c]
    c, flat = as_floats(c), np.reshape(at, (-1,))
    low, high = t[k], t[t.shape[0] - k - 1]
    outside = (flat < low) | (flat > high)
    if ext == 2 and np.any(outside):
        raise ValueError("Some of the positions are out of bounds.")
    if ext == 3:
        flat = np.clip(flat, low, high)
    values = _evaluate_spline(t, c, k, flat, der, True)
    return np.reshape(np.where(outside, 0.0, values) if ext == 1 else values, at.shape)


# ---- interp1d ----

_SPLINES = {"zero": 0, "slinear": 1, "quadratic": 2, "cubic": 3}


def _init_interp1d(
    self: Any, x: Any, y: Any, kind: Any = "linear", axis: int = -1, copy: bool = True,
    bounds_error: bool | None = None, fill_value: Any = np.nan, assume_sorted: bool = False,
) -> None:  # fmt: skip
    x, y = as_operand(x), as_floats(y)
    axis = normalize_axis_index(axis, y.ndim)
    if not isinstance(kind, int) and kind not in (*_SPLINES, "linear", "nearest", "nearest-up", "previous", "next"):
        raise NotImplementedError(f"{kind} is unsupported: Use fitpack routines for other types.")
    if x.ndim != 1:
        raise ValueError("the x array must have exactly one dimension.")
    if x.shape[0] != y.shape[axis]:
        raise ValueError("x and y arrays must be equal in length along interpolation axis.")
    if not assume_sorted:
        order = np.argsort(x, kind="mergesort")
        x, y = along(x, 0, order), along(y, axis, order)
    self.bounds_error, self.copy, self.axis = bounds_error, copy, axis
    self.x, self.y, self._y_axis = x, y, axis
    self._y_extra_shape, self.dtype = y.shape[:axis] + y.shape[axis + 1 :], y.dtype.type
    rows = np.reshape(np.moveaxis(y, axis, 0), (x.shape[0], -1))
    self._y = rows
    self._kind = "spline" if isinstance(kind, int) or kind in _SPLINES else kind
    if self._kind == "spline":
        self._spline = make_interp_spline(x, rows, k=kind if isinstance(kind, int) else _SPLINES[kind])
    elif kind in ("previous", "next") and isinstance(fill_value, str) and fill_value == "extrapolate":
        end = np.take(y, -1 if kind == "previous" else 0, axis)
        if is_traced(end):
            raise UnsupportedError(f"interp1d with kind={kind!r} and fill_value='extrapolate' has no rule by values.")
        fill_value = (np.nan, end) if kind == "previous" else (end, np.nan)
        self.bounds_error = False
    self.fill_value = fill_value  # SciPy's setter


def _call_interp1d(self: Any, x: Any) -> Array:
    """Evaluate at positions, those outside of the points being filled."""
    at = as_floats(x)
    flat = np.reshape(at, (-1,))
    points, y, kind = self.x, self._y, self._kind
    n = points.shape[0]
    if kind == "linear":
        i = np.clip(np.searchsorted(points, flat), 1, n - 1)
        low, y_low = along(points, 0, i - 1), along(y, 0, i - 1)
        slope = (along(y, 0, i) - y_low) / (along(points, 0, i) - low)[:, None]
        values = slope * (flat - low)[:, None] + y_low
    elif kind == "spline":
        values = _call_spline(self._spline, flat)
    else:
        if kind in ("nearest", "nearest-up"):
            half = points / 2.0
            i = np.searchsorted(half[1:] + half[:-1], flat, side="left" if kind == "nearest" else "right")
        elif kind == "previous":
            i = np.searchsorted(points, flat, side="right") - 1
        else:
            i = np.searchsorted(points, flat, side="left")
        values = along(y, 0, np.clip(i, 0, n - 1)) + 0.0 * flat[:, None]
    if not self._extrapolate:
        below, above = flat < points[0], flat > points[-1]
        if self.bounds_error and (np.any(below) or np.any(above)):
            side = "below" if np.any(below) else "above"
            raise ValueError(f"A value in x_new is {side} the interpolation range.")
        values = np.where(below[:, None], self._fill_value_below, values)
        values = np.where(above[:, None], self._fill_value_above, values)
    values = np.reshape(values, at.shape + self._y_extra_shape)
    return _turned(values, at.ndim, self._y_axis) if at.ndim else values


# ---- Grids ----

_DEGREES = {"slinear": 1, "cubic": 3, "quintic": 5}


def _init_grid(
    self: Any, points: Any, values: Any, method: str = "linear", bounds_error: bool = True, fill_value: Any = np.nan,
    *, solver: Any = None, solver_args: Any = None,
) -> None:  # fmt: skip
    if method not in ("linear", "nearest", "pchip", *_DEGREES):
        raise UnsupportedError(f"RegularGridInterpolator with method={method!r} has no rule on traced values.")
    grid, values = [as_floats(p) for p in points], as_floats(values)
    if len(grid) > values.ndim:
        raise ValueError(f"There are {len(grid)} point arrays, but values has {values.ndim} dimensions")
    for k, p in enumerate(grid):
        if p.shape[0] != values.shape[k]:
            raise ValueError(f"There are {p.shape[0]} points and {values.shape[k]} values on dimension {k}")
        if np.all(p[1:] < p[:-1]):
            grid[k], values = p[::-1], np.flip(values, k)
        elif not np.all(p[1:] > p[:-1]):
            raise ValueError(f"The points in dimension {k} must be strictly ascending or descending")
    self.method, self.bounds_error, self.fill_value, self._spline = method, bounds_error, fill_value, None
    _fill(self, grid=tuple(grid), values=values)


def _blend(values: Array, picks: Sequence[tuple[Array, Array]]) -> Array:
    """Take a block of values around each position, weighted in every dimension; picks are (numbers, weights)."""
    total = 0.0
    for corner in itertools.product(*[range(len(weights)) for _, weights in picks]):
        weight: Array = 1.0
        for (_, weights), j in zip(picks, corner, strict=True):
            weight = weight * weights[j]
        chosen = pick(values, tuple(numbers[j] for (numbers, _), j in zip(picks, corner, strict=True)))
        total = total + _spread(as_operand(weight), chosen.ndim) * chosen
    return total


def _pchip_along(grid: Array, values: Array, at: Array, by_column: bool) -> Array:
    """Interpolate along the first axis; with `by_column` each column of the second at a position of its own."""
    step = _spread(grid[1:] - grid[:-1], values.ndim)
    secant = (values[1:] - values[:-1]) / step
    slopes = pchip_slopes(step, secant)
    bend = (slopes[:-1] + slopes[1:] - 2 * secant) / step
    c = np.stack([bend / step, (secant - slopes[:-1]) / step - bend, slopes[:-1], values[:-1]])
    if not by_column:
        return _evaluate_polynomials(c, grid, at, 0, True)
    i = _interval(grid, at, 0, grid.shape[0] - 2)
    pieces = pick(c, (slice(None), i, np.arange(at.shape[0])))
    step = _spread(at - along(grid, 0, i), pieces.ndim - 1)
    return ((pieces[0] * step + pieces[1]) * step + pieces[2]) * step + pieces[3]


def _call_grid(self: Any, xi: Any, method: str | None = None, *, nu: Any = None) -> Array:
    """Interpolate at positions, ``xi[..., k]`` in the k-th dimension."""
    method = self.method if method is None else method
    if method not in ("linear", "nearest", "pchip", *_DEGREES):
        raise UnsupportedError(f"RegularGridInterpolator with method={method!r} has no rule on traced values.")
    grid, values = [as_floats(g) for g in _get(self, "grid")], _get(self, "values")
    ndim = len(grid)
    if isinstance(xi, tuple):
        xi = np.stack(np.broadcast_arrays(*[as_floats(p) for p in xi]), axis=-1)
    at = as_floats(xi)
    if at.ndim == 1:
        at = np.reshape(at, (-1, 1)) if ndim == 1 else at
    if at.shape[-1] != ndim:
        raise ValueError(
            f"The requested sample points xi have dimension {at.shape[-1]} but this RegularGridInterpolator "
            f"has dimension {ndim}"
        )
    rows = np.reshape(at, (-1, ndim))
    columns = [rows[:, k] for k in range(ndim)]
    outside: Array = False
    for k, (g, p) in enumerate(zip(grid, columns, strict=True)):
        beyond = (p < g[0]) | (p > g[-1])
        if self.bounds_error and np.any(beyond):
            raise ValueError(f"One of the requested xi is out of bounds in dimension {k}")
        outside = outside | beyond
    solved = getattr(self, "_spline", None) if method == self.method else None  # SciPy's own, of plain values
    result = _interpolate(grid, values, columns, method, nu, getattr(solved, "c", None))
    if not self.bounds_error and self.fill_value is not None:
        result = np.where(_spread(outside, result.ndim), self.fill_value, result)
    result = np.where(_spread(np.any(np.isnan(rows), axis=-1), result.ndim), np.nan, result)
    return np.reshape(result, (at.shape[:-1] if at.ndim > 1 else (1,)) + values.shape[ndim:])


def _interpolate(
    grid: Sequence[Array], values: Array, columns: Sequence[Array], method: str, nu: Any, solved: Any
) -> Array:
    """Interpolate at a list of positions, by coefficients that have been `solved` for if there are any."""
    if method == "pchip":
        last = len(grid) - 1
        result = np.moveaxis(values, last, 0)
        result = np.moveaxis(_pchip_along(grid[last], result, columns[last], False), 0, last)
        for k in range(last - 1, -1, -1):  # one dimension after the other, from the last
            result = np.moveaxis(result, k, 0)
            result = np.moveaxis(result, k + 1, 1)
            result = _pchip_along(grid[k], result, columns[k], True)
            result = np.moveaxis(result, 0, k) if k else result
        return result
    picks = []
    for k, (g, p) in enumerate(zip(grid, columns, strict=True)):
        if method in ("linear", "nearest"):
            i = _interval(g, p, 0, max(g.shape[0] - 2, 0))
            low = along(g, 0, i)
            share = (p - low) / (along(g, 0, i + 1) - low)
            picks.append(([np.where(share <= 0.5, i, i + 1)], [np.ones(p.shape)])) if method == "nearest" else (
                picks.append(([i, i + 1], [1 - share, share]))
            )
            continue
        degree = _DEGREES[method]
        spline = make_interp_spline(g, values, k=degree, axis=k)
        c = _get(spline, "c") if solved is None else np.moveaxis(solved if k == 0 else values, k, 0)
        t, c, degree = _derivative_coefficients(_get(spline, "t"), c, degree, 0 if nu is None else nu[k])
        values = np.moveaxis(c, 0, k)
        i = _interval(t, p, degree, t.shape[0] - degree - 2)
        picks.append(([i - degree + j for j in range(degree + 1)], _basis(t, p, i, degree)))
    result = _blend(values, picks)
    return result + 0.0 * _spread(sum(columns), result.ndim) if method == "nearest" else result


def interpn(
    points: Any, values: Any, xi: Any, method: str = "linear", bounds_error: bool = True, fill_value: Any = np.nan
) -> Array:
    """Interpolate on a grid."""
    from scipy.interpolate import RegularGridInterpolator

    grid = object.__new__(RegularGridInterpolator)
    _init_grid(grid, points, values, method, bounds_error, fill_value)
    return _call_grid(grid, xi)


METHODS: dict[str, Callable[..., Any]] = {
    "_interpolate._PPolyBase.__init__": _init_polynomials,
    "_interpolate._PPolyBase.__call__": _call_polynomials,
    "PPoly.derivative": _derivative_of_polynomials,
    "PPoly.antiderivative": _integral_of_polynomials,
    "PPoly.integrate": _integrate,
    "CubicHermiteSpline.__init__": _init_hermite,
    "PchipInterpolator.__init__": _init_pchip,
    "Akima1DInterpolator.__init__": _init_akima,
    "CubicSpline.__init__": _init_cubic,
    "BSpline.__init__": _init_spline,
    "BSpline.__call__": _call_spline,
    "BSpline.derivative": _derivative_of_spline,
    "BSpline.antiderivative": _integral_of_spline,
    "BSpline.integrate": _integrate,
    "make_interp_spline": make_interp_spline,
    "splev": splev,
    "interp1d.__init__": _init_interp1d,
    "_polyint._Interpolator1D.__call__": _call_interp1d,
    "RegularGridInterpolator.__init__": _init_grid,
    "RegularGridInterpolator.__call__": _call_grid,
    "interpn": interpn,
}
"""What stands for the functions and methods of ``scipy.interpolate``, by their names."""


def _enter() -> None:
    import scipy.interpolate

    for path, written in METHODS.items():
        owner: Any = scipy.interpolate
        for name in path.split("."):
            owner = getattr(owner, name)
        calls(owner, catch=scipy.interpolate)(written)
    HOLDERS.update(
        {
            scipy.interpolate._interpolate._PPolyBase: ("_c", "_x", "c", "x"),
            scipy.interpolate.BSpline: ("_c", "_t", "c", "t"),
            scipy.interpolate.interp1d: ("_y", "x"),
            scipy.interpolate.RegularGridInterpolator: ("_values", "_grid", "values", "grid"),
        }
    )


LATE["scipy.interpolate"] = _enter
