"""Derivatives of special functions with respect to their parameters, where no formula is known: by quadrature.

Each function here is an integral of ``exp(phi(s; p))`` over an interval, and its derivative in the parameter `p` is the
same integral with the *score*, ``d phi / d p``, as a weight.  Three choices keep relative (not only absolute) accuracy:

- the variable `s` is one in which the integrand is log-concave with exponential tails, so that Gauss-Legendre panels
  between the points where it has fallen by a factor of 1e-20 see all of it (`reach`, `integrate`);
- a distribution's total is 1 whatever `p`, so the weighted integral up to x is minus that from x on: the side is taken
  on which the score keeps its sign, and nothing cancels;
- the contours of Bessel's functions go through the saddle point (Schlaefli's integrals, DLMF 10.9(ii) and 10.32(ii)).

Everything runs in float64 on arrays of any shape; float32 operands give float32.

>>> round(float(gammainc_order(2.0, 1.5, n=1)), 12)
-0.313488637825
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special as sc

from wengert.errors import RawLocation, UnsupportedError, caller
from wengert.program import current_line

Array = Any

DROP = 46.0
"""How far the exponent falls until the integrand is left out: exp(-46) is 1e-20."""


# ---- The quadrature ----


@functools.cache
def _gauss() -> tuple[Array, Array]:
    nodes, weights = np.polynomial.legendre.leggauss(32)
    return nodes[:, None], weights


def integrate(f: Callable[[Array], Array], edges: list[Array]) -> Array:
    """Integrate over each of the panels between `edges` (arrays, one element a point) with 32 Gauss-Legendre nodes."""
    nodes, weights = _gauss()
    total = np.zeros_like(edges[0])
    for low, high in itertools.pairwise(edges):
        half = (high - low) / 2
        total = total + half * (weights @ np.asarray(f(low + half + half * nodes)))
    return total


def panels(low: Array, high: Array, count: int) -> list[Array]:
    """Return the edges of `count` equal panels."""
    return [low + (high - low) * (k / count) for k in range(count)] + [high]


def reach(phi: Callable[[Array], Array], start: Array, direction: int) -> Array:
    """Go from `start` until a concave exponent has fallen by `DROP` (or up to twice as far)."""
    step = np.full_like(start, 1e-3)
    top = phi(start)
    for _ in range(40):
        short = top - phi(start + direction * step) < DROP
        if not short.any():
            break
        step[short] *= 2
    return start + direction * step


def differentiated_line() -> RawLocation | None:
    """Return the place of the line whose derivative is being taken: a sweep goes through the list, far from it."""
    line = current_line()
    return caller() if line is None else line.place


def in_double(compute: Callable[..., Array]) -> Callable[..., Any]:
    """Wrap a function of flat float64 arrays of one length to take operands that broadcast, and keep their dtype."""

    @functools.wraps(compute)
    def broadcast(*args: Any, **params: Any) -> Any:
        dtype = np.result_type(*args)
        if dtype.kind == "c":
            name = compute.__name__.removesuffix("_order")
            raise UnsupportedError.at(
                differentiated_line(),
                f"the derivative of scipy.special.{name} in a parameter has no rule at complex arguments:",
                "Keep the parameter constant (a plain number or array), or take the argument real.",
            )
        arrays = np.broadcast_arrays(*[np.asarray(a, dtype=np.float64) for a in args])
        with np.errstate(all="ignore"):
            result = compute(*[a.ravel() for a in arrays], **params)
        result = result.reshape(arrays[0].shape).astype(dtype if dtype.kind == "f" else np.float64)
        return result if result.ndim else result[()]

    return broadcast


# ---- Incomplete gamma and beta functions, Student's t ----


def _log1pmx(z: Array) -> Array:
    """log(1 + z) - z, without the cancellation at small z (the series of 2 artanh(r), r = z / (2 + z))."""
    r = z / (2 + z)
    square = r * r
    series = np.zeros_like(r)
    for k in range(20, 0, -1):
        series = square * (2 / (2 * k + 1) + series)
    return np.where(np.abs(z) < 0.5, r * (series - z), np.log1p(z) - z)


def _log_gamma_density(a: Array, t: Array) -> Array:
    """log(t^a exp(-t) / Gamma(a)), with Stirling's series (DLMF 5.11.1) where a is large."""
    z = 1 / (a * a)
    correction = (1 / 12 - z * (1 / 360 - z * (1 / 1260 - z * (1 / 1680 - z * (1 / 1188 - z * 691 / 360360))))) / a
    near = np.abs(t - a) < 0.5 * a
    relative = np.where(near, _log1pmx(np.where(near, (t - a) / a, 0.0)), np.log(t / a) - (t - a) / a)
    large = a * relative + 0.5 * np.log(a / (2 * math.pi)) - correction
    return np.where(a > 12, large, a * np.log(t) - t - sc.gammaln(a))


@in_double
def gamma_density(a: Array, x: Array) -> Array:
    """x^(a-1) exp(-x) / Gamma(a), the derivative of the incomplete gamma function in x."""
    edge = np.where(a > 1, 0.0, np.where(a == 1, 1.0, np.inf))
    return np.where(x == 0, edge, np.where(np.isinf(x), 0.0, np.exp(_log_gamma_density(a, x)) / x))


@in_double
def gammainc_order(a: Array, x: Array, *, n: int) -> Array:
    """The n-th derivative (n = 1, 2) of the lower incomplete gamma function P(a, x) in a, for a > 0.

    With t = m exp(d): ``P(a, x) = integral of t^a exp(-t) / Gamma(a) dd``, the score being ``log(t) - psi(a)``.
    """
    psi = sc.psi(a)
    upper = np.log(x) > psi
    m = np.where(upper, np.maximum(x, a), x)  # where the integrand is greatest, on the side that is taken
    offset, end = np.log(m) - psi, np.log(x / m)

    def phi(d: Array) -> Array:
        return a * d - m * np.expm1(d)

    curvature = sc.polygamma(1, a) if n == 2 else 0.0

    def weighted(d: Array) -> Array:
        score = offset + d
        return np.exp(phi(d)) * (score if n == 1 else score * score - curvature)

    cut = reach(phi, np.zeros_like(a), -1)
    low = np.where(upper, np.maximum(end, cut), cut)
    high = np.where(upper, reach(phi, np.zeros_like(a), 1), 0.0)
    bend = np.clip(-4 - np.log(m), low, high)  # below, exp(-t) is 1 and the integrand an exponential
    total = integrate(weighted, [*panels(low, bend, 3), *panels(bend, high, 8)[1:]])
    result = np.where(upper, -1.0, 1.0) * np.exp(_log_gamma_density(a, m)) * total
    result = np.where((x == 0) | np.isinf(x), 0.0, result)
    return np.where((a > 0) & (x >= 0), result, np.nan)


@in_double
def beta_density(a: Array, b: Array, x: Array) -> Array:
    """x^(a-1) (1-x)^(b-1) / B(a, b), the derivative of the incomplete beta function in x."""
    log_density = sc.xlogy(a - 1, x) + sc.xlog1py(b - 1, -x) - sc.betaln(a, b)
    return np.where((x < 0) | (x > 1), 0.0, np.exp(log_density))


@in_double
def betainc_order(a: Array, b: Array, x: Array, *, n: int, m: int) -> Array:
    """The derivative of the incomplete beta function I_x(a, b), n times in a and m in b (n + m = 1, 2).

    With t = expit(s): ``I_x(a, b) = integral of t^a (1-t)^b / B(a, b) ds``, the scores being
    ``log(t) - psi(a) + psi(a + b)`` and ``log(1-t) - psi(b) + psi(a + b)``.
    """
    end, mode = sc.logit(x), np.log(a / b)
    shift_a, shift_b = sc.psi(a + b) - sc.psi(a), sc.psi(a + b) - sc.psi(b)
    curvature: Array = 0.0
    if n + m == 2:
        curvature = sc.polygamma(1, a + b)
        if n != m:
            curvature = curvature - sc.polygamma(1, a if n else b)

    def phi(s: Array) -> Array:
        return -a * np.logaddexp(0, -s) - b * np.logaddexp(0, s)

    if n + m == 2:
        upper = end > mode
    elif n:
        upper = sc.log_expit(end) + shift_a > 0
    else:
        upper = sc.log_expit(-end) + shift_b < 0
    top = np.where(upper, np.maximum(end, mode), np.minimum(end, mode))
    height = phi(top)

    def weighted(s: Array) -> Array:
        score = (shift_a + sc.log_expit(s)) ** n * (shift_b + sc.log_expit(-s)) ** m
        return np.exp(phi(s) - height) * (score + curvature)

    low, high = reach(phi, np.minimum(top, mode), -1), reach(phi, np.maximum(top, mode), 1)
    low, high = np.where(upper, np.maximum(low, end), low), np.where(upper, high, np.minimum(high, end))
    bend = np.log1p(a + b) + 4  # beyond +-bend exp(phi) is an exponential, and 36 later the score a straight line
    marks = [low, *[np.clip(mark, low, high) for mark in (-bend - 36, -bend, bend, bend + 36)], high]
    counts = (3, 4, 10, 4, 3)
    pieces = [panels(u, v, k)[1:] for u, v, k in zip(marks[:-1], marks[1:], counts, strict=True)]
    total = integrate(weighted, [low, *[edge for piece in pieces for edge in piece]])
    result = np.where(upper, -1.0, 1.0) * np.exp(height - sc.betaln(a, b)) * total
    result = np.where((x == 0) | (x == 1), 0.0, result)
    return np.where((a > 0) & (b > 0) & (x >= 0) & (x <= 1), result, np.nan)


def _half_step(v: Array, n: int) -> Array:
    """psi((v+1)/2) - psi(v/2) - 1/v, or its derivative in v, without the cancellation at large v (DLMF 5.11.2)."""
    terms = (1 / 2, -1 / 4, 1 / 2, -17 / 8, 31 / 2, -691 / 4, 5461 / 2, -929569 / 16)
    z = 1 / np.maximum(v, 20.0) ** 2
    series = np.zeros_like(v)
    for k in range(len(terms), 0, -1):
        series = z * (series + terms[k - 1] * (1 if n == 1 else -2 * k))
    if n == 1:
        return np.where(v > 25, series, sc.psi((v + 1) / 2) - sc.psi(v / 2) - 1 / v)
    direct = (sc.polygamma(1, (v + 1) / 2) - sc.polygamma(1, v / 2)) / 2 + 1 / (v * v)
    return np.where(v > 25, series / v, direct)


@in_double
def stdtr_order(df: Array, t: Array, *, n: int) -> Array:
    """The n-th derivative (n = 1, 2) of Student's distribution function in the degrees of freedom.

    With u = sqrt(df) sinh(s) the density is ``cosh(s)^-df / B(df/2, 1/2) ds``; the score is that of u, not of s.
    """
    step = _half_step(df, 1)
    slope = _half_step(df, 2) if n == 2 else 0.0

    def score(s: Array) -> Array:
        q = np.sinh(s) ** 2
        ratio = np.tanh(s) ** 2
        # log1p(q) - ratio is q - ratio + log1pmx(q)
        first = 0.5 * (step - np.where(q < 0.5, _log1pmx(q) + q * ratio, np.log1p(q) - ratio) + ratio / df)
        if n == 1:
            return first
        rest = ratio * (1 - 1 / df) - (1 + 1 / df) * ratio / (1 + q)
        return first * first + 0.5 * (slope + rest / df)

    def phi(s: Array) -> Array:
        return -df * (np.logaddexp(s, -s) - math.log(2.0))

    end = np.arcsinh(np.abs(t) / np.sqrt(df))
    first_order = 0.5 * (step - np.log1p(np.sinh(end) ** 2) + (1 + 1 / df) * np.tanh(end) ** 2)
    upper = first_order < 0
    start = np.where(upper, end, 0.0)
    height = phi(start)
    high = reach(phi, start, 1)
    high = np.where(upper, high, np.minimum(high, end))
    bend, straight = np.clip(6.0, start, high), np.clip(22.0, start, high)  # beyond, cosh is an exponential
    edges = [*panels(start, bend, 8), *panels(bend, straight, 2)[1:], *panels(straight, high, 3)[1:]]
    total = integrate(lambda s: np.exp(phi(s) - height) * score(s), edges)
    result = np.where(upper, -1.0, 1.0) * np.sign(t) * np.exp(height - sc.betaln(df / 2, 0.5)) * total
    result = np.where(np.isinf(t) | np.isinf(df), 0.0, result)
    return np.where(df > 0, result, np.nan)


# ---- Truncated Taylor series in the parameter: [f, f', f''/2] ----


def _times(f: list[Array], g: list[Array]) -> list[Array]:
    return [sum(f[i] * g[k - i] for i in range(k + 1)) for k in range(len(f))]


def _exponential(value: Array, rate: Array, n: int) -> list[Array]:
    """The series of value * exp(rate * p) around p = 0."""
    return [value * rate**k / math.factorial(k) for k in range(n + 1)]


# ---- Hurwitz's zeta function ----


@in_double
def zeta_order(s: Array, q: Array, *, n: int) -> Array:
    """The n-th derivative of the zeta function in s: Hurwitz's for s > 1 and q > 0, Riemann's (q = 1) for any s."""
    reflected = s < 0
    direct = _euler_maclaurin(np.where(reflected, 1 - s, s), q, n)
    if not reflected.any():
        return direct[n] * math.factorial(n)
    # zeta(s) = 2 (2 pi)^(s-1) sin(pi s / 2) Gamma(1-s) zeta(1-s), DLMF 25.4.2
    mirrored = [term * (-1.0) ** k for k, term in enumerate(direct)]
    angle, psi = math.pi * s / 2, sc.psi(1 - s)
    gamma = [1 + 0 * s, -psi, (psi * psi + sc.polygamma(1, 1 - s)) / 2][: n + 1]
    sine = [np.sin(angle), np.cos(angle) * math.pi / 2, -np.sin(angle) * math.pi**2 / 8][: n + 1]
    scaling = _exponential(2 * (2 * math.pi) ** (s - 1) * sc.gamma(1 - s), math.log(2 * math.pi), n)
    product = _times(_times(scaling, sine), _times(gamma, mirrored))
    chosen = np.where(reflected, product[n], direct[n]) * math.factorial(n)
    return np.where(reflected & (q != 1), np.nan, chosen)


def complex_polygamma(z: Array, *, n: int) -> Array:
    """The n-th derivative of psi at complex numbers, n > 0: Hurwitz's zeta function of n + 1 (DLMF 25.11.12).

    In the left half plane by the reflection of psi, whose derivatives are polynomials in the cotangent (DLMF 5.15.6).
    """
    z = np.asarray(z)
    single, z = z.dtype == np.complex64, z.astype(np.complex128)
    left = z.real < 0
    x = np.where(left, 1 - z, z)
    y = (-1) ** (n + 1) * math.factorial(n) * _hurwitz(x, n + 1)
    if left.any():
        upper = np.where(z.imag < 0, z.conj(), z)
        turned = np.exp(2j * math.pi * np.where(left, upper, 1j))
        cotangent = -1j * (1 + turned) / (1 - turned)
        polynomial = np.polynomial.Polynomial([0.0, 1.0])
        for _ in range(n - 1):
            polynomial = -math.pi * np.polynomial.Polynomial([1.0, 0.0, 1.0]) * polynomial.deriv()
        reflected = (2 * math.pi / (1 - turned)) ** 2 * turned * polynomial.deriv()(cotangent)
        reflected = np.where(z.imag < 0, reflected.conj(), reflected)
        y = np.where(left, (-1) ** n * y - reflected, y)
    return (y.astype(np.complex64) if single else y)[()]


def _hurwitz(q: Array, s: int) -> Array:
    """Hurwitz's zeta function of an integer s > 1, Re q >= 0, by the formula of Euler and Maclaurin from q + 20 on."""
    total = sum(((q + k) ** -s for k in range(20)), np.zeros_like(q))
    q = q + 20
    total += q ** (1 - s) / (s - 1) + 0.5 * q**-s
    factor = s * q ** (-1 - s)
    for k, bernoulli in enumerate(sc.bernoulli(24)[2::2], start=1):
        total += bernoulli / math.factorial(2 * k) * factor
        factor = factor * (s + 2 * k - 1) * (s + 2 * k) / (q * q)
    return total


def _euler_maclaurin(s: Array, q: Array, n: int) -> list[Array]:
    """The Taylor series of Hurwitz's zeta function in s (DLMF 25.11(iii)), for s >= 0."""
    head, terms = 24, 14
    total = [np.zeros_like(s) for _ in range(n + 1)]

    def collect(series: list[Array]) -> None:
        for k, term in enumerate(series):
            total[k] = total[k] + term

    for k in range(head):
        collect(_exponential((q + k) ** -s, -np.log(q + k), n))
    end = q + head
    power = _exponential(end**-s, -np.log(end), n)
    collect(_times([end * p for p in power], [(-1.0) ** k / (s - 1) ** (k + 1) for k in range(n + 1)]))
    collect([p / 2 for p in power])
    rising = [s / end, 1 / end, *[np.zeros_like(s)] * n][: n + 1]
    for j, bernoulli in enumerate(sc.bernoulli(2 * terms)[2::2], 1):
        collect(_times([p * (bernoulli / math.factorial(2 * j)) for p in power], rising))
        for shift in (2 * j - 1, 2 * j):
            rising = _times(rising, [(s + shift) / end, 1 / end, *[np.zeros_like(s)] * n][: n + 1])
    return [np.where(q > 0, term, np.nan) for term in total]


# ---- Bessel functions, in their order ----


def _decaying(p: Array, x: Array, low: Array, hyperbolic: Any, factor: Callable[[Array], Array], up: Array) -> Array:
    """Integrate factor(t) exp(p t - x hyperbolic(t) + up) from `low` on; `hyperbolic` is np.sinh or np.cosh."""

    def phi(t: Array) -> Array:
        return p * t - x * hyperbolic(t)

    ratio = np.maximum(p / x, 0)
    mode = np.arcsinh(ratio) if hyperbolic is np.cosh else np.arccosh(np.maximum(ratio, 1))
    top = np.maximum(low, mode)
    low = np.maximum(low, reach(phi, top, -1))
    high = reach(phi, top, 1)
    bend = np.clip(np.log((np.abs(p) + 2) / x) - 6, low, high)
    return integrate(lambda t: factor(t) * np.exp(phi(t) + up), [*panels(low, bend, 3), *panels(bend, high, 8)[1:]])


def _around(v: Array, x: Array, kind: str, n: int) -> Array:
    """The first of Schlaefli's integrals, along u0 + i theta with u0 the saddle point, for J and exp(-x) I."""
    if kind == "J":
        u0 = np.where(v > x, np.arccosh(np.maximum(v / x, 1)), 0.0)
        decay, sine, lift = np.sqrt(np.maximum(v * v - x * x, 0)) * (v > x), np.maximum(x, v), 0.0
        turns = np.abs(sine) + np.abs(v)
    else:
        u0 = np.arcsinh(np.maximum(v, 0) / x)
        decay, sine, lift = np.hypot(x, np.maximum(v, 0)), np.maximum(v, 0.0), x
        turns = np.abs(v)
    end = np.where(decay > DROP / 2, np.arccos(1 - np.minimum(DROP / decay, 2)), math.pi)

    def f(theta: Array) -> Array:
        w = u0 + 1j * theta
        inner = decay * np.cos(theta) - v * u0 - lift + 1j * (sine * np.sin(theta) - v * theta)
        return np.real((-w) ** n * np.exp(inner))

    count = 3 + int(np.max(turns * end, initial=0.0) / 12)
    return integrate(f, panels(np.zeros_like(x), end, count)) / math.pi


def _saddle(v: Array, x: Array, kind: str) -> Array:
    return np.where(v > x, np.arccosh(np.maximum(v / x, 1)), 0.0) if kind == "J" else np.arcsinh(np.maximum(v, 0) / x)


def _first_kind(v: Array, x: Array, kind: str, n: int) -> Array:
    hyperbolic, up = (np.sinh, 0 * x) if kind == "J" else (np.cosh, -x)
    phase = np.exp(-1j * math.pi * v)
    tail = _decaying(-v, x, _saddle(v, x, kind), hyperbolic, lambda t: np.imag((-t - 1j * math.pi) ** n * phase), up)
    return _around(v, x, kind, n) + tail / math.pi


def _second_kind(v: Array, x: Array, n: int) -> Array:
    count = 3 + int(np.max(x + np.abs(v), initial=0.0) * math.pi / 12)

    def f(theta: Array) -> Array:
        return np.imag((-1j * theta) ** n * np.exp(1j * (x * np.sin(theta) - v * theta)))

    zero, phase = np.zeros_like(x), np.exp(1j * math.pi * v)
    rising = _decaying(v, x, zero, np.sinh, lambda t: t**n, zero)
    falling = _decaying(-v, x, zero, np.sinh, lambda t: np.real((-t + 1j * math.pi) ** n * phase), zero)
    return (integrate(f, panels(zero, zero + math.pi, count)) - rising - falling) / math.pi


def _hankel(v: Array, x: Array, n: int) -> Array:
    """J + i Y by Hankel's expansion (DLMF 10.17.5), for x far above the square of the order."""
    total = [np.ones_like(x) + 0j, *[np.zeros_like(x) + 0j] * n]
    term = list(total)
    for k in range(1, 20):
        factor = [4 * v * v - (2 * k - 1) ** 2, 8 * v, 4 + 0 * v, *[0 * v] * n][: n + 1]
        term = _times(term, [1j * c / (8 * k * x) for c in factor])
        total = [a + b for a, b in zip(total, term, strict=True)]
    start = np.sqrt(2 / (math.pi * x)) * np.exp(1j * (x - v * (math.pi / 2) - math.pi / 4))
    return _times(total, _exponential(start, -0.5j * math.pi, n))[n] * math.factorial(n)


def _split(v: Array, x: Array, near: Callable[[Array, Array], Array], far: Callable[[Array, Array], Array]) -> Array:
    result = np.full_like(x, np.nan)
    is_far = x > np.maximum(100.0, v * v)
    is_near = (x > 0) & ~is_far & np.isfinite(x) & np.isfinite(v)
    result[is_near] = near(v[is_near], x[is_near])
    is_far &= np.isfinite(x)
    result[is_far] = far(v[is_far], x[is_far])
    return result


@in_double
def jv_order(v: Array, x: Array, *, n: int) -> Array:
    """The n-th derivative of the Bessel function J_v(x) in its order, for x > 0 (and 0 at x = 0 for v > 0)."""
    result = _split(v, x, lambda v, x: _first_kind(v, x, "J", n), lambda v, x: np.real(_hankel(v, x, n)))
    return np.where((x == 0) & (v > 0), 0.0, result)


@in_double
def yv_order(v: Array, x: Array, *, n: int) -> Array:
    """The n-th derivative of the Bessel function Y_v(x) in its order, for x > 0."""
    return _split(v, x, lambda v, x: _second_kind(v, x, n), lambda v, x: np.imag(_hankel(v, x, n)))


@in_double
def ive_order(v: Array, x: Array, *, n: int) -> Array:
    """The n-th derivative of exp(-x) I_v(x) in its order, for x > 0 (and 0 at x = 0 for v > 0)."""
    result = np.full_like(x, np.nan)
    inside = (x > 0) & np.isfinite(x) & np.isfinite(v)
    result[inside] = _first_kind(v[inside], x[inside], "I", n)
    return np.where((x == 0) & (v > 0), 0.0, result)


@in_double
def kve_order(v: Array, x: Array, *, n: int) -> Array:
    """The n-th derivative of exp(x) K_v(x) in its order, for x > 0 (DLMF 10.32.9)."""
    result = np.full_like(x, np.nan)
    inside = (x > 0) & np.isfinite(x) & np.isfinite(v)
    order, x = np.abs(v[inside]), x[inside]

    def factor(t: Array) -> Array:  # with the exp(order t) taken out: cosh for even n, sinh for odd n
        return t**n * (-np.expm1(-2 * order * t) if n % 2 else 1 + np.exp(-2 * order * t)) / 2

    sign = np.sign(v[inside]) if n % 2 else 1.0
    result[inside] = sign * _decaying(order, x, np.zeros_like(x), np.cosh, factor, x)
    return result


# ---- Elliptic integrals ----


@in_double
def elliptic_integral(phi: Array, m: Array, *, k: int, j: int) -> Array:
    """The integral of sin(t)^(2k) (1 - m sin(t)^2)^(-j/2) from 0 to phi; m < 1, or m sin(t)^2 < 1 up to phi.

    Closed under both derivatives.  The two that first derivatives need are Carlson's R_D (DLMF 19.25(i)); the others
    are integrated in u = arcsinh(tan(t)), which spreads the peak that grows at pi/2 where m is near 1.
    """
    turns = np.rint(phi / math.pi)
    rest = phi - turns * math.pi
    of_turns = np.where(turns == 0, 0.0, 2 * turns * _complete(turns, m, k, j))
    return np.sign(rest) * _up_to(np.abs(rest), m, k, j) + of_turns


def _complete(turns: Array, m: Array, k: int, j: int) -> Array:
    inside = turns != 0
    result = np.zeros_like(m)
    result[inside] = _up_to(np.full(inside.sum(), math.pi / 2), m[inside], k, j)
    return result


def _up_to(phi: Array, m: Array, k: int, j: int) -> Array:
    sine, cosine = np.sin(phi), np.cos(phi)
    square = 1 - m * sine * sine
    if (k, j) == (1, 1):
        return sine**3 * sc.elliprd(cosine**2, square, 1.0) / 3
    if (k, j) == (1, 3):
        return sine**3 * sc.elliprd(cosine**2, 1.0, square) / 3
    end = np.minimum(np.arcsinh(np.tan(phi)), 66.0)
    grain = 1 / np.sqrt(1 + np.abs(m))  # where m < 0 is large, the integrand changes within this of 0
    graded = [np.minimum(grain ** (1 - i / 4), end) for i in range(4)]
    edges = [0 * end, *graded, *panels(np.minimum(1.0, end), end, 16)]

    def f(u: Array) -> Array:
        sech2, tanh2 = np.cosh(u) ** -2, np.tanh(u) ** 2
        return tanh2**k * np.sqrt(sech2) * (sech2 + (1 - m) * tanh2) ** (-j / 2)

    return np.where(square >= 0, integrate(f, edges), np.nan)
