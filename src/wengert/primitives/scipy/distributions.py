"""The distributions of ``scipy.stats``, written in terms of primitives.

SciPy's own methods sort arguments by masks and cannot be traced through.  Where ``scipy.stats.norm.logpdf(x, loc)``
meets a traced value, the formula of the standard distribution is taken from this table instead; loc, scale and support
are the same for all of them.  ``scipy.stats`` takes long to import: nothing here does so, and its methods are caught
only once the user has imported it.

>>> import numpy as np, wengert as wg
>>> from scipy import stats
>>> [float(g) for g in wg.grad(stats.norm.logpdf, (0, 1, 2))(3.0, 1.0, 2.0)]
[-0.5, 0.5, 0.0]
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import special as sc

from wengert.errors import UnsupportedError
from wengert.primitives.numpy.functions.operands import as_operand, with_arrays
from wengert.primitives.table import LATE, calls
from wengert.program import Recordable

INF = math.inf
PI = math.pi
LOG_2 = math.log(2.0)
LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)
ROOT_2 = math.sqrt(2.0)

Formula = Callable[..., Any]


@dataclass(frozen=True)
class Distribution:
    """A standard distribution: its formulas, of z and the shapes, where ``low <= z <= high``."""

    shapes: tuple[str, ...]
    density: Formula  # the logarithm of the density, or of the probability of an integer
    cdf: Formula | None
    sf: Formula | None
    low: Any = -INF  # or a function of the shapes
    high: Any = INF  # or a function of the shapes
    discrete: bool = False
    inside: Any = 0.5  # a point, or a function of the shapes, where every formula is finite, put in place of z outside of the support
    open: bool = False  # True if the lower end has density 0
    more: dict[str, Formula] = field(default_factory=dict)  # logcdf, logsf, ppf, isf


# ---- The formulas ----
# fmt: off


def _halves(z: Any) -> tuple[Any, Any]:
    """The two tails of the Laplace distribution."""
    tail = 0.5 * np.exp(-np.abs(z))
    return np.where(z > 0, 1 - tail, tail), np.where(z > 0, tail, 1 - tail)


def _f_density(z: Any, n: Any, m: Any) -> Any:
    return 0.5 * n * np.log(n) + 0.5 * m * np.log(m) + sc.xlogy(0.5 * n - 1, z) - 0.5 * (n + m) * np.log(m + n * z) - sc.betaln(0.5 * n, 0.5 * m)


def _tail(z: Any, c: Any) -> Any:
    """log(1 + c z) / c, which is z where c is 0."""
    return z / sc.exprel(np.log1p(c * z))


def _log_mass(a: Any, b: Any) -> Any:
    """The logarithm of what a standard normal distribution has between a and b, on the side where it is small."""
    right = a > 0
    low, high = sc.log_ndtr(np.where(right, -b, a)), sc.log_ndtr(np.where(right, -a, b))
    return high + np.log1p(-np.exp(low - high))


def _wald(z: Any, mu: Any, sign: float) -> Any:
    root = 1 / np.sqrt(z)
    return sc.ndtr(sign * root * (z / mu - 1)) + sign * np.exp(2 / mu + sc.log_ndtr(-root * (z / mu + 1)))


def _half(z: Any, beta: Any) -> Any:
    return 0.5 * sc.gammaincc(1 / beta, np.abs(z) ** beta)


DISTRIBUTIONS: dict[str, Distribution] = {
    "norm": Distribution((), lambda z: -0.5 * z * z - LOG_ROOT_2PI, lambda z: sc.ndtr(z), lambda z: sc.ndtr(-z), more={"logcdf": lambda z: sc.log_ndtr(z), "logsf": lambda z: sc.log_ndtr(-z), "ppf": lambda q: sc.ndtri(q), "isf": lambda q: -sc.ndtri(q)}),
    "t": Distribution(("df",), lambda z, df: -0.5 * np.log(df) - sc.betaln(0.5 * df, 0.5) - 0.5 * (df + 1) * np.log1p(z * z / df), lambda z, df: sc.stdtr(df, z), lambda z, df: sc.stdtr(df, -z), more={"ppf": lambda q, df: sc.stdtrit(df, q)}),
    "gamma": Distribution(("a",), lambda z, a: sc.xlogy(a - 1, z) - z - sc.gammaln(a), lambda z, a: sc.gammainc(a, z), lambda z, a: sc.gammaincc(a, z), 0.0, more={"ppf": lambda q, a: sc.gammaincinv(a, q), "isf": lambda q, a: sc.gammainccinv(a, q)}),
    "chi2": Distribution(("df",), lambda z, df: sc.xlogy(0.5 * df - 1, 0.5 * z) - 0.5 * z - sc.gammaln(0.5 * df) - LOG_2, lambda z, df: sc.chdtr(df, z), lambda z, df: sc.chdtrc(df, z), 0.0, more={"isf": lambda q, df: sc.chdtri(df, q), "ppf": lambda q, df: 2 * sc.gammaincinv(0.5 * df, q)}),
    "invgamma": Distribution(("a",), lambda z, a: -(a + 1) * np.log(z) - sc.gammaln(a) - 1 / z, lambda z, a: sc.gammaincc(a, 1 / z), lambda z, a: sc.gammainc(a, 1 / z), 0.0, open=True),
    "beta": Distribution(("a", "b"), lambda z, a, b: sc.xlogy(a - 1, z) + sc.xlog1py(b - 1, -z) - sc.betaln(a, b), lambda z, a, b: sc.betainc(a, b, z), lambda z, a, b: sc.betaincc(a, b, z), 0.0, 1.0, more={"ppf": lambda q, a, b: sc.betaincinv(a, b, q), "isf": lambda q, a, b: sc.betainccinv(a, b, q)}),
    "f": Distribution(("dfn", "dfd"), _f_density, lambda z, n, m: sc.fdtr(n, m, z), lambda z, n, m: sc.fdtrc(n, m, z), 0.0, more={"ppf": lambda q, n, m: sc.fdtri(n, m, q)}),
    "expon": Distribution((), lambda z: -z, lambda z: -np.expm1(-z), lambda z: np.exp(-z), 0.0, more={"logsf": lambda z: -z, "ppf": lambda q: -np.log1p(-q), "isf": lambda q: -np.log(q)}),
    "lognorm": Distribution(("s",), lambda z, s: -0.5 * (np.log(z) / s) ** 2 - np.log(s * z) - LOG_ROOT_2PI, lambda z, s: sc.ndtr(np.log(z) / s), lambda z, s: sc.ndtr(-np.log(z) / s), 0.0, open=True, more={"logcdf": lambda z, s: sc.log_ndtr(np.log(z) / s), "logsf": lambda z, s: sc.log_ndtr(-np.log(z) / s), "ppf": lambda q, s: np.exp(s * sc.ndtri(q))}),
    "uniform": Distribution((), lambda z: 0.0 * z, lambda z: 1.0 * z, lambda z: 1.0 - z, 0.0, 1.0, more={"ppf": lambda q: 1.0 * q, "isf": lambda q: 1.0 - q}),
    "laplace": Distribution((), lambda z: -np.abs(z) - LOG_2, lambda z: _halves(z)[0], lambda z: _halves(z)[1], more={"ppf": lambda q: np.where(q > 0.5, -np.log(2 * (1 - np.maximum(q, 0.5))), np.log(2 * np.minimum(q, 0.5)))}),
    "cauchy": Distribution((), lambda z: -math.log(PI) - np.log1p(z * z), lambda z: np.arctan2(1.0, -z) / PI, lambda z: np.arctan2(1.0, z) / PI, more={"ppf": lambda q: np.tan(PI * (q - 0.5))}),
    "logistic": Distribution((), lambda z: sc.log_expit(z) + sc.log_expit(-z), lambda z: sc.expit(z), lambda z: sc.expit(-z), more={"logcdf": lambda z: sc.log_expit(z), "logsf": lambda z: sc.log_expit(-z), "ppf": lambda q: sc.logit(q), "isf": lambda q: -sc.logit(q)}),
    "halfnorm": Distribution((), lambda z: 0.5 * math.log(2 / PI) - 0.5 * z * z, lambda z: sc.erf(z / ROOT_2), lambda z: sc.erfc(z / ROOT_2), 0.0),
    "gumbel_r": Distribution((), lambda z: -z - np.exp(-z), lambda z: np.exp(-np.exp(-z)), lambda z: -np.expm1(-np.exp(-z)), more={"logcdf": lambda z: -np.exp(-z)}),
    "weibull_min": Distribution(("c",), lambda z, c: np.log(c) + sc.xlogy(c - 1, z) - z**c, lambda z, c: -np.expm1(-(z**c)), lambda z, c: np.exp(-(z**c)), 0.0, more={"logsf": lambda z, c: -(z**c)}),
    "pareto": Distribution(("b",), lambda z, b: np.log(b) - (b + 1) * np.log(z), lambda z, b: -np.expm1(-b * np.log(z)), lambda z, b: z ** (-b), 1.0, inside=2.0, more={"logsf": lambda z, b: -b * np.log(z)}),
    "skewnorm": Distribution(("a",), lambda z, a: LOG_2 - 0.5 * z * z - LOG_ROOT_2PI + sc.log_ndtr(a * z), lambda z, a: sc.ndtr(z) - 2 * sc.owens_t(z, a), lambda z, a: sc.ndtr(-z) + 2 * sc.owens_t(z, a)),
    "vonmises": Distribution(("kappa",), lambda z, k: k * (np.cos(z) - 1) - math.log(2 * PI) - np.log(sc.i0e(k)), None, None),
    "genextreme": Distribution(("c",), lambda z, c: -np.exp(-_tail(z, -c)) - _tail(z, -c) - np.log1p(-c * z), lambda z, c: np.exp(-np.exp(-_tail(z, -c))), lambda z, c: -np.expm1(-np.exp(-_tail(z, -c))), lambda c: np.where(c < 0, 1 / np.where(c < 0, c, -1.0), -INF), lambda c: np.where(c > 0, 1 / np.where(c > 0, c, 1.0), INF), inside=0.0, more={"logcdf": lambda z, c: -np.exp(-_tail(z, -c))}),
    "genpareto": Distribution(("c",), lambda z, c: -_tail(z, c) - np.log1p(c * z), lambda z, c: -np.expm1(-_tail(z, c)), lambda z, c: np.exp(-_tail(z, c)), 0.0, lambda c: np.where(c < 0, -1 / np.where(c < 0, c, 1.0), INF), inside=0.0, more={"logsf": lambda z, c: -_tail(z, c)}),
    "gumbel_l": Distribution((), lambda z: z - np.exp(z), lambda z: -np.expm1(-np.exp(z)), lambda z: np.exp(-np.exp(z)), more={"logsf": lambda z: -np.exp(z)}),
    "truncnorm": Distribution(("a", "b"), lambda z, a, b: -0.5 * z * z - LOG_ROOT_2PI - _log_mass(a, b), lambda z, a, b: np.exp(_log_mass(a, z) - _log_mass(a, b)), lambda z, a, b: np.exp(_log_mass(z, b) - _log_mass(a, b)), lambda a, _b: a, lambda _a, b: b, inside=lambda a, b: 0.5 * (a + b)),
    "rayleigh": Distribution((), lambda z: np.log(z) - 0.5 * z * z, lambda z: -np.expm1(-0.5 * z * z), lambda z: np.exp(-0.5 * z * z), 0.0, open=True, more={"logsf": lambda z: -0.5 * z * z}),
    "maxwell": Distribution((), lambda z: 0.5 * math.log(2 / PI) + 2 * np.log(z) - 0.5 * z * z, lambda z: sc.gammainc(1.5, 0.5 * z * z), lambda z: sc.gammaincc(1.5, 0.5 * z * z), 0.0, open=True),
    "chi": Distribution(("df",), lambda z, df: (1 - 0.5 * df) * LOG_2 + sc.xlogy(df - 1, z) - 0.5 * z * z - sc.gammaln(0.5 * df), lambda z, df: sc.gammainc(0.5 * df, 0.5 * z * z), lambda z, df: sc.gammaincc(0.5 * df, 0.5 * z * z), 0.0),
    "invgauss": Distribution(("mu",), lambda z, mu: -LOG_ROOT_2PI - 1.5 * np.log(z) - 0.5 * ((z - mu) / mu) ** 2 / z, lambda z, mu: _wald(z, mu, 1.0), lambda z, mu: _wald(z, mu, -1.0), 0.0, open=True),
    "nakagami": Distribution(("nu",), lambda z, nu: LOG_2 + sc.xlogy(nu, nu) - sc.gammaln(nu) + sc.xlogy(2 * nu - 1, z) - nu * z * z, lambda z, nu: sc.gammainc(nu, nu * z * z), lambda z, nu: sc.gammaincc(nu, nu * z * z), 0.0),
    "gengamma": Distribution(("a", "c"), lambda z, a, c: np.log(np.abs(c)) - sc.gammaln(a) + sc.xlogy(c * a - 1, z) - z**c, lambda z, a, c: np.where(c > 0, sc.gammainc(a, z**c), sc.gammaincc(a, z**c)), lambda z, a, c: np.where(c > 0, sc.gammaincc(a, z**c), sc.gammainc(a, z**c)), 0.0, open=True),
    "loggamma": Distribution(("c",), lambda z, c: c * z - np.exp(z) - sc.gammaln(c), lambda z, c: sc.gammainc(c, np.exp(z)), lambda z, c: sc.gammaincc(c, np.exp(z))),
    "exponnorm": Distribution(("K",), lambda z, K: -np.log(K) + 0.5 / K**2 - z / K + sc.log_ndtr(z - 1 / K), lambda z, K: sc.ndtr(z) - np.exp(0.5 / K**2 - z / K + sc.log_ndtr(z - 1 / K)), lambda z, K: sc.ndtr(-z) + np.exp(0.5 / K**2 - z / K + sc.log_ndtr(z - 1 / K))),
    "gennorm": Distribution(("beta",), lambda z, b: np.log(0.5 * b) - sc.gammaln(1 / b) - np.abs(z) ** b, lambda z, b: np.where(z > 0, 1 - _half(z, b), _half(z, b)), lambda z, b: np.where(z > 0, _half(z, b), 1 - _half(z, b))),
    "johnsonsu": Distribution(("a", "b"), lambda z, a, b: np.log(b) - 0.5 * np.log1p(z * z) - LOG_ROOT_2PI - 0.5 * (a + b * np.arcsinh(z)) ** 2, lambda z, a, b: sc.ndtr(a + b * np.arcsinh(z)), lambda z, a, b: sc.ndtr(-a - b * np.arcsinh(z)), more={"ppf": lambda q, a, b: np.sinh((sc.ndtri(q) - a) / b)}),
    "halfcauchy": Distribution((), lambda z: math.log(2 / PI) - np.log1p(z * z), lambda z: np.arctan(z) * (2 / PI), lambda z: np.arctan2(1.0, z) * (2 / PI), 0.0, more={"ppf": lambda q: np.tan(0.5 * PI * q)}),
    "levy": Distribution((), lambda z: -1.5 * np.log(z) - LOG_ROOT_2PI - 0.5 / z, lambda z: sc.erfc(np.sqrt(0.5 / z)), lambda z: sc.erf(np.sqrt(0.5 / z)), 0.0, open=True),
    "hypsecant": Distribution((), lambda z: LOG_2 - math.log(PI) - np.abs(z) - np.log1p(np.exp(-2 * np.abs(z))), lambda z: np.arctan(np.exp(z)) * (2 / PI), lambda z: np.arctan(np.exp(-z)) * (2 / PI)),
    "powerlaw": Distribution(("a",), lambda z, a: np.log(a) + sc.xlogy(a - 1, z), lambda z, a: z**a, lambda z, a: -np.expm1(a * np.log(np.where(z > 0, z, 1.0))) + (z <= 0), 0.0, 1.0, more={"ppf": lambda q, a: q ** (1 / a)}),
    "lomax": Distribution(("c",), lambda z, c: np.log(c) - (c + 1) * np.log1p(z), lambda z, c: -np.expm1(-c * np.log1p(z)), lambda z, c: np.exp(-c * np.log1p(z)), 0.0, more={"logsf": lambda z, c: -c * np.log1p(z)}),
    "fisk": Distribution(("c",), lambda z, c: np.log(c) + (c - 1) * np.log(z) - 2 * np.logaddexp(0.0, c * np.log(z)), lambda z, c: sc.expit(c * np.log(z)), lambda z, c: sc.expit(-c * np.log(z)), 0.0, open=True, more={"ppf": lambda q, c: np.exp(sc.logit(q) / c)}),
    "betaprime": Distribution(("a", "b"), lambda z, a, b: sc.xlogy(a - 1, z) - (a + b) * np.log1p(z) - sc.betaln(a, b), lambda z, a, b: sc.betainc(a, b, z / (1 + z)), lambda z, a, b: sc.betainc(b, a, 1 / (1 + z)), 0.0),
    "betabinom": Distribution(("n", "a", "b"), lambda k, n, a, b: -np.log(n + 1) - sc.betaln(n - k + 1, k + 1) + sc.betaln(k + a, n - k + b) - sc.betaln(a, b), None, None, 0.0, lambda n, _a, _b: n, discrete=True, inside=0.0),
    "zipf": Distribution(("a",), lambda k, a: -a * np.log(k) - np.log(sc.zeta(a)), None, None, 1.0, discrete=True, inside=1.0),
    "poisson": Distribution(("mu",), lambda k, mu: sc.xlogy(k, mu) - sc.gammaln(k + 1) - mu, lambda k, mu: sc.pdtr(k, mu), lambda k, mu: sc.pdtrc(k, mu), 0.0, discrete=True, inside=0.0),
    "binom": Distribution(("n", "p"), lambda k, n, p: sc.gammaln(n + 1) - sc.gammaln(k + 1) - sc.gammaln(n - k + 1) + sc.xlogy(k, p) + sc.xlog1py(n - k, -p), lambda k, n, p: np.where(k >= n, 1.0, sc.betaincc(np.minimum(np.floor(k) + 1, n), np.maximum(n - np.floor(k), 1), p)), lambda k, n, p: np.where(k >= n, 0.0, sc.betainc(np.minimum(np.floor(k) + 1, n), np.maximum(n - np.floor(k), 1), p)), 0.0, lambda n, p: n, discrete=True, inside=0.0),
    "bernoulli": Distribution(("p",), lambda k, p: sc.xlogy(k, p) + sc.xlog1py(1 - k, -p), lambda k, p: np.where(k >= 1, 1.0, 1 - p), lambda k, p: np.where(k >= 1, 0.0, p), 0.0, 1.0, discrete=True, inside=0.0),
    "geom": Distribution(("p",), lambda k, p: sc.xlog1py(k - 1, -p) + np.log(p), lambda k, p: -np.expm1(k * np.log1p(-p)), lambda k, p: np.exp(k * np.log1p(-p)), 1.0, discrete=True, inside=1.0),
    "nbinom": Distribution(("n", "p"), lambda k, n, p: sc.gammaln(n + k) - sc.gammaln(k + 1) - sc.gammaln(n) + n * np.log(p) + sc.xlog1py(k, -p), lambda k, n, p: sc.betainc(n, np.floor(k) + 1, p), lambda k, n, p: sc.betaincc(n, np.floor(k) + 1, p), 0.0, discrete=True, inside=0.0),
}
# fmt: on


# ---- The steps that all methods share ----


def _is(value: Any, plain: float) -> bool:
    return isinstance(value, (int, float)) and value == plain


def _arguments(d: Distribution, name: str, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[list[Any], Any, Any]:
    """Sort arguments as SciPy does: the shapes in their order, then loc and scale."""
    order = [*d.shapes, "loc", *([] if d.discrete else ["scale"])]
    if len(given) > len(order) or any(key not in order[len(given) :] for key in named):
        raise TypeError(f"{name} takes the arguments {', '.join(order)} after its first.")
    values: dict[str, Any] = {"loc": 0.0, "scale": 1.0, **dict(zip(order, given, strict=False)), **named}
    missing = [shape for shape in d.shapes if shape not in values]
    if missing:
        raise TypeError(f"{name} needs the argument {missing[0]}.")
    return [values[shape] for shape in d.shapes], values["loc"], values["scale"]


def _evaluate(d: Distribution, what: str, x: Any, shapes: list[Any], loc: Any, scale: Any) -> Any:
    """Evaluate one of density, cdf, sf, logcdf, logsf at x: the formula inside of the support, its limit outside."""
    z = x if _is(loc, 0) else x - loc
    z = z if _is(scale, 1) else z / scale
    low, high = (bound(*shapes) if callable(bound) else bound for bound in (d.low, d.high))
    inside = d.inside(*shapes) if callable(d.inside) else d.inside
    below = (z <= low) if d.open else (z < low)
    above = z > high
    allowed: Any = True
    if d.discrete:
        floor = np.floor(z)
        allowed, z = floor == z, floor
    bounded = callable(d.low) or callable(d.high) or low > -INF or high < INF
    safe = np.where(below | above, inside, z) if bounded else z
    if what == "density":
        value = d.density(safe, *shapes)
        value = value if _is(scale, 1) else value - np.log(scale)
        value = np.where(below | above, -INF, value) if bounded else value
        return np.where(allowed, value, -INF) if d.discrete else value
    under, over = {"cdf": (0.0, 1.0), "sf": (1.0, 0.0), "logcdf": (-INF, 0.0), "logsf": (0.0, -INF)}[what]
    if what in d.more:
        value = d.more[what](safe, *shapes)
    elif what.startswith("log"):
        first, rest = (d.cdf, d.sf) if what == "logcdf" else (d.sf, d.cdf)
        assert first is not None
        assert rest is not None
        value = first(safe, *shapes)
        value = np.where(value > 0.5, np.log1p(-np.minimum(rest(safe, *shapes), 0.5)), np.log(value))
    else:
        formula = d.cdf if what == "cdf" else d.sf
        assert formula is not None
        value = formula(safe, *shapes)
    return np.where(below, under, np.where(above, over, value)) if bounded else value


def _has(d: Distribution, method: str) -> bool:
    """Return whether there is a formula for a method."""
    return method in d.more or (
        method not in ("ppf", "isf") and ("pdf" in method or "pmf" in method or d.cdf is not None)
    )


def _method(method: str) -> Callable[..., Any]:
    def written(self: Any, x: Any, *args: Any, **kwds: Any) -> Any:
        name = self.name
        d = DISTRIBUTIONS.get(name) if type(self).__module__.startswith("scipy.stats.") else None
        if d is None or not _has(d, method):
            near = ", ".join(n for n, other in DISTRIBUTIONS.items() if _has(other, method))
            raise UnsupportedError.at_caller(
                f"scipy.stats.{name}.{method} has no rule on traced values:",
                f"These have: {near}. Or write the formula in NumPy and scipy.special, whose functions are traced.",
            )
        shapes, loc, scale = _arguments(d, f"scipy.stats.{name}.{method}", args, kwds)
        loc, scale, *shapes = (v if isinstance(v, (int, float)) else as_operand(v) for v in (loc, scale, *shapes))
        x = as_operand(x)
        x = x if isinstance(x, Recordable) else x.astype(np.promote_types(x.dtype, np.float64))[()]
        if method in ("ppf", "isf"):
            return loc + scale * d.more[method](x, *shapes)
        what = "density" if method in ("pdf", "logpdf", "pmf", "logpmf") else method
        value = _evaluate(d, what, x, shapes, loc, scale)
        return np.exp(value) if method in ("pdf", "pmf") else value

    written.__name__ = method
    return written


def _multivariate_normal(self: Any, x: Any, mean: Any = None, cov: Any = 1, allow_singular: bool = False) -> Any:
    """By the factor of Cholesky of the covariance's symmetric part; by the pseudoinverse where that may be singular."""
    x, mean, cov = with_arrays((x, mean, cov))
    ndim = np.ndim(cov)
    size = np.size(mean) if mean is not None else np.shape(cov)[0] if ndim > 1 else 1  # as SciPy tells it
    if size == 1:
        cov, ndim = np.reshape(cov, (1, 1)), 2
    matrix = 0.5 * (cov + np.transpose(cov)) if ndim == 2 else np.diag(cov) if ndim == 1 else cov * np.eye(size)
    x = np.atleast_1d(x)
    deviation = np.reshape(x, (-1, 1)) if size == 1 and x.ndim == 1 else x
    deviation = deviation - (np.zeros(size) if mean is None else mean)
    shape = tuple(n for n in np.shape(deviation)[:-1] if n != 1)  # SciPy leaves out axes of one
    deviation = np.reshape(deviation, (-1, size))
    if allow_singular:
        return np.reshape(_on_a_subspace(deviation, matrix), shape)
    factor = np.linalg.cholesky(matrix)
    white = np.linalg.solve(factor, deviation.T)
    log_density = -0.5 * np.sum(white * white, axis=0) - size * LOG_ROOT_2PI - np.sum(np.log(np.diagonal(factor)))
    return np.reshape(log_density, shape)


def _on_a_subspace(deviation: Any, matrix: Any) -> Any:
    """Return the log density on the range of a covariance, of which a change keeps the rank; minus infinity beside it.

    The determinant of the range is that of the matrix plus the projection ``P`` on its null space.
    """
    cutoff = 1e6 * np.finfo(np.float64).eps  # SciPy's
    inverse = np.linalg.pinv(matrix, rcond=cutoff, hermitian=True)
    size = np.shape(matrix)[0]
    rank = np.linalg.matrix_rank(matrix, rtol=cutoff, hermitian=True)
    beside = np.eye(size) - matrix @ inverse
    log_determinant = np.linalg.slogdet(matrix + beside)[1]
    distance = np.sum(deviation * (deviation @ inverse), axis=-1)
    log_density = -0.5 * (distance + log_determinant) - rank * LOG_ROOT_2PI
    if rank == size:
        return log_density
    away = np.sum((deviation @ beside) ** 2, axis=-1)
    return np.where(away < (1e3 * cutoff * np.linalg.norm(matrix, 2)) ** 2, log_density, -np.inf)


def _enter() -> None:
    """Enter the methods of the user's ``scipy.stats`` in the table."""
    stats: Any = sys.modules["scipy.stats"]
    both = ("cdf", "logcdf", "sf", "logsf", "ppf", "isf")
    for owner, own in ((stats.rv_continuous, ("pdf", "logpdf")), (stats.rv_discrete, ("pmf", "logpmf"))):
        for name in (*own, *both):
            calls(getattr(owner, name), catch=stats)(_method(name))
    joint = type(stats.multivariate_normal)
    calls(joint.logpdf, catch=stats)(_multivariate_normal)
    calls(joint.pdf, catch=stats)(lambda *args, **kwds: np.exp(_multivariate_normal(*args, **kwds)))


LATE["scipy.stats"] = _enter
