"""The special functions of ``scipy.special``, differentiated in every real argument.

They are ufuncs nearly all, so rows look like NumPy's: ``special(sc.gammaln, lambda _y, x: sc.psi(x))``, a rule in
terms of functions that have rows of their own, so that every order follows.  Where the derivative in a parameter has
no closed form (the order of a Bessel function, the shape of an incomplete gamma function), the rule calls a row
computed by quadrature in `wengert.primitives.scipy.parameters`; but for Bessel's those are known up to the second
derivative, and raise beyond.  Parameters without a formula (those of hypergeometric functions) raise.

>>> import numpy as np, wengert as wg
>>> from scipy import special
>>> print(wg.trace(lambda x: 2 * special.gammaln(x))(2.5).listing(places=False))
x = u_0
u_1 = gammaln(u_0)
u_2 = 2 * u_1       = y
>>> [round(float(g), 6) for g in wg.grad(special.gammainc, (0, 1))(2.0, 1.5)]
[-0.313489, 0.334695]
"""

# Rules of a kind stand together, in columns.
# fmt: off

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple
from scipy import special as sc

from wengert.errors import UnsupportedError
from wengert.jacobians import Composed, Diagonal, RealLinear, Sum
from wengert.primitives.numpy import elementwise as e
from wengert.primitives.numpy.functions.operands import as_operand, with_arrays
from wengert.primitives.scipy import parameters as by_quadrature
from wengert.primitives.table import ALL, CALLS, array_function, calls, define, elementwise
from wengert.program import Partial, Primitive, Recordable

INF = math.inf
PI = math.pi
ROOT_PI = math.sqrt(math.pi)
ROOT_2 = math.sqrt(2.0)
ROOT_2PI = math.sqrt(2 * math.pi)
DEGREE = math.pi / 180
POSITIVE = (0.0, INF)
UNIT = (0.0, 1.0)


# ---- How a row gets in ----


def special(ufunc: np.ufunc, *partials: Partial | None, **facets: Any) -> Primitive:
    """Enter a ufunc of ``scipy.special``, which is written with its module in the source of a Program."""
    return elementwise(ufunc, *partials, **{"source": _source(ufunc), "native": _native(ufunc), **facets})


def unpromoted(ufunc: np.ufunc, *partials: Partial | None, **facets: Any) -> Primitive:
    """Enter a ufunc whose operands keep their dtypes: it truncates counts, or is complex at real numbers, too."""
    name = ufunc.__name__
    return define(name, lambda *args: ufunc(*args), *partials, replaces=ufunc, counts="calls", source=_source(ufunc), **facets)


def _native(ufunc: np.ufunc) -> str | None:
    """Return the operation of machine code: what ``scipy.special`` has for compiled code, of doubles alone."""
    of_doubles = "d" * ufunc.nin + "->d" in ufunc.types and not any(kind in "lpq" for kind in "".join(ufunc.types))
    return f"scipy.special.{ufunc.__name__}" if of_doubles else None


def _source(ufunc: np.ufunc) -> str:
    operands = ", ".join(f"{{{k}}}" for k in range(ufunc.nin))
    return f"scipy.special.{ufunc.__name__}({operands})"


def quadrature(compute: Callable[..., Any], *partials: Partial | None, **facets: Any) -> Primitive:
    """Enter a function of `wengert.primitives.scipy.parameters`, which SciPy does not have."""
    name = compute.__name__

    def source(args: Any, params: Any) -> str:
        extras = [f"{key}={value!r}" for key, value in params.items()]
        return f"wengert.primitives.scipy.parameters.{name}({', '.join([*args, *extras])})"

    return define(name, compute, *partials, **{"counts": "calls", "source": source, **facets})


def refuse(function: str, argument: str) -> Partial:
    """Return a rule that says that a function has no derivative with respect to an argument."""

    def rule(_y: Any, *_args: Any, **_params: Any) -> Any:
        raise UnsupportedError.at(
            by_quadrature.differentiated_line(),
            f"scipy.special.{function} has no rule for its derivative with respect to {argument}:",
            f"Keep {argument} constant (a plain number or array), or add a rule of your own: wg.define(...).",
        )

    rule.refuses = argument  # type: ignore[attr-defined]
    return rule


def _next(n: int, name: str) -> int:
    """Return n + 1, up to 2: the quadratures are known up to the second derivative."""
    if n >= 2:
        raise UnsupportedError.at(
            by_quadrature.differentiated_line(),
            f"{name} has no rule for third derivatives that involve its parameters:",
            "Two derivatives can be had; keep the parameter constant for more.",
        )
    return n + 1


def _sympy() -> Any:
    import sympy

    return sympy


# ---- Gamma and its relatives ----


def _rgamma_partial(y: Any, x: Any) -> Any:
    """-psi(x) / Gamma(x); by reflection to the left of 1/2, where the poles of both meet."""
    left = x < 0.5
    mirrored, right = 1 - np.where(left, x, 0.0), np.where(left, 1.0, x)
    angle = PI * (1 - mirrored)
    return np.where(left, sc.gamma(mirrored) * (np.cos(angle) - np.sin(angle) * sc.psi(mirrored) / PI), -y * sc.psi(right))


def _binomial(y: Any, n: Any, k: Any, rising: bool) -> Any:
    """The derivative of binom(n, k) in n or in k; where it is zero (an integer k outside 0..n), by 1 / Gamma alone."""
    zero = y == 0
    n_safe, k_safe = np.where(zero, 1.0, n), np.where(zero, 0.5, k)
    usual = y * (sc.psi(n_safe + 1) - sc.psi(n_safe - k_safe + 1) if rising else sc.psi(n_safe - k_safe + 1) - sc.psi(k_safe + 1))
    low, high = np.where(zero, k, 0.5) + 1, np.where(zero, n - k, 0.5) + 1
    first, second = sc.rgamma(low), sc.rgamma(high)
    slope = first * _rgamma_partial(second, high)
    if rising:
        slope = slope + sc.psi(np.where(zero, n, 1.0) + 1) * first * second  # zero, but its derivative is not
    else:
        slope = _rgamma_partial(first, low) * second - slope
    return np.where(zero, sc.gamma(np.where(zero, n, 1.0) + 1) * slope, usual)


def _trigamma(x: Any) -> Any:
    """The derivative of psi; SciPy's polygamma takes real numbers only."""
    return complex_polygamma(x, n=1) if e.is_complex(x) else polygamma(1, x)


def _poch_partial(y: Any, z: Any, m: Any) -> Any:
    """(z)_m (psi(z + m) - psi(z)); where 1 / Gamma(z) is zero, by its own derivative."""
    zero = y == 0
    safe = np.where(zero, 1.0, z)
    pole = np.where(zero, z, 1.0)
    reciprocal = sc.rgamma(pole)  # zero, but its derivative is not
    slope = _rgamma_partial(reciprocal, pole) + sc.psi(np.where(zero, pole + m, 1.0)) * reciprocal
    return np.where(zero, sc.gamma(pole + m) * slope, y * (sc.psi(safe + m) - sc.psi(safe)))


def _as_operand(compute: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a SciPy function that returns float64, or complex for real operands, to keep the dtype of its operands."""

    def keeping(*args: Any, **params: Any) -> Any:
        inexact = [a for a in args if np.result_type(a).kind in "fc"]
        kind = np.result_type(*inexact) if inexact else np.dtype(np.float64)
        result = compute(*args, **params)
        return np.asarray(result if kind.kind == "c" else np.real(result)).astype(kind)[()]

    return keeping


gamma = special(sc.gamma, lambda y, x: y * sc.psi(x), formula="gamma", domain=(POSITIVE,))
gammaln = special(sc.gammaln, lambda _y, x: sc.psi(x), formula="loggamma", domain=(POSITIVE,))
loggamma = special(sc.loggamma, lambda _y, x: sc.psi(x), formula="loggamma", domain=(POSITIVE,))
rgamma = special(sc.rgamma, _rgamma_partial, formula=lambda x: 1 / _sympy().gamma(x))
gammasgn = special(sc.gammasgn, None)
psi = special(sc.psi, lambda _y, x: _trigamma(x), formula="digamma", domain=(POSITIVE,))
polygamma: Primitive = define("polygamma", _as_operand(sc.polygamma), refuse("polygamma", "n"), lambda _y, n, x: polygamma(n + 1, x), replaces=sc.polygamma, counts="calls", source="scipy.special.polygamma({0}, {1})", formula="polygamma", domain=(ALL, POSITIVE))
complex_polygamma: Primitive = quadrature(by_quadrature.complex_polygamma, lambda _y, x, *, n: complex_polygamma(x, n=n + 1), domain=(POSITIVE,))
zeta_order: Primitive = quadrature(by_quadrature.zeta_order, lambda _y, s, q, *, n: zeta_order(s, q, n=_next(n, "scipy.special.zeta")), lambda _y, s, q, *, n: -s * zeta_order(s + 1, q, n=n) - n * (zeta_order(s + 1, q, n=n - 1) if n > 1 else zeta(s + 1, q)))
zeta: Primitive = define("zeta", _as_operand(sc.zeta), lambda _y, s, q: zeta_order(s, q, n=1), lambda _y, s, q: -s * zeta(s + 1, q), counts="calls", source="scipy.special.zeta({0}, {1})", formula="zeta", domain=((1.0, INF), POSITIVE))
riemann_zeta = define("riemann_zeta", _as_operand(sc.zeta), lambda _y, s: zeta_order(s, 1.0, n=1), counts="calls", source="scipy.special.zeta({0})", formula="zeta", domain=((1.0, INF),))
zetac = special(sc.zetac, lambda _y, s: zeta_order(s, 1.0, n=1), formula=lambda s: _sympy().zeta(s) - 1, domain=((1.0, INF),))
beta = special(sc.beta, lambda y, a, b: y * (sc.psi(a) - sc.psi(a + b)), lambda y, a, b: y * (sc.psi(b) - sc.psi(a + b)), formula="beta", domain=(POSITIVE, POSITIVE))
betaln = special(sc.betaln, lambda _y, a, b: sc.psi(a) - sc.psi(a + b), lambda _y, a, b: sc.psi(b) - sc.psi(a + b), formula=lambda a, b: _sympy().log(_sympy().beta(a, b)), domain=(POSITIVE, POSITIVE))
poch = special(sc.poch, _poch_partial, lambda y, z, m: y * sc.psi(z + m), formula="rf", domain=(POSITIVE, POSITIVE))
binom = special(sc.binom, lambda y, n, k: _binomial(y, n, k, True), lambda y, n, k: _binomial(y, n, k, False), formula="binomial", domain=((3.0, INF), (0.0, 3.0)))


# ---- Incomplete gamma and beta functions ----


def _gamma_score(a: Any, x: Any) -> Any:
    return np.log(x) - sc.psi(a)


def _beta_scores(a: Any, b: Any, x: Any) -> tuple[Any, Any]:
    total = sc.psi(a + b)
    return np.log(x) - sc.psi(a) + total, np.log1p(-x) - sc.psi(b) + total


def _gamma_order_in_x(_y: Any, a: Any, x: Any, *, n: int) -> Any:
    _next(n, "scipy.special.gammainc")
    return gamma_density(a, x) * _gamma_score(a, x)


def _beta_order_in_x(_y: Any, a: Any, b: Any, x: Any, *, n: int, m: int) -> Any:
    _next(n + m, "scipy.special.betainc")
    return beta_density(a, b, x) * _beta_scores(a, b, x)[m]


def _beta_order(a: Any, b: Any, x: Any, n: int, m: int) -> Any:
    if n + m > 2:
        _next(2, "scipy.special.betainc")
    return betainc_order(a, b, x, n=n, m=m)


def _implicit(slope: Any, density: Any) -> Any:
    """The derivative of a quantile in a parameter, -slope / density; 0 at the ends, which stay where they are."""
    end = slope == 0
    return np.where(end, 0.0, -slope / np.where(end, 1.0, density))


gamma_density = quadrature(by_quadrature.gamma_density, lambda y, a, x: y * _gamma_score(a, x), lambda y, a, x: y * ((a - 1) / x - 1), domain=(POSITIVE, POSITIVE))
gammainc_order: Primitive = quadrature(by_quadrature.gammainc_order, lambda _y, a, x, *, n: gammainc_order(a, x, n=_next(n, "scipy.special.gammainc")), _gamma_order_in_x)
gammainc = special(sc.gammainc, lambda _y, a, x: gammainc_order(a, x, n=1), lambda _y, a, x: gamma_density(a, x), formula=lambda a, x: _sympy().lowergamma(a, x) / _sympy().gamma(a), domain=(POSITIVE, POSITIVE))
gammaincc = special(sc.gammaincc, lambda _y, a, x: -gammainc_order(a, x, n=1), lambda _y, a, x: -gamma_density(a, x), formula=lambda a, x: _sympy().uppergamma(a, x) / _sympy().gamma(a), domain=(POSITIVE, POSITIVE))
gammaincinv = special(sc.gammaincinv, lambda y, a, _p: _implicit(gammainc_order(a, y, n=1), gamma_density(a, y)), lambda y, a, _p: 1 / gamma_density(a, y), domain=(POSITIVE, UNIT))
gammainccinv = special(sc.gammainccinv, lambda y, a, _p: _implicit(gammainc_order(a, y, n=1), gamma_density(a, y)), lambda y, a, _p: -1 / gamma_density(a, y), domain=(POSITIVE, UNIT))

beta_density = quadrature(by_quadrature.beta_density, lambda y, a, b, x: y * _beta_scores(a, b, x)[0], lambda y, a, b, x: y * _beta_scores(a, b, x)[1], lambda y, a, b, x: y * ((a - 1) / x - (b - 1) / (1 - x)), domain=(POSITIVE, POSITIVE, UNIT))
betainc_order = quadrature(by_quadrature.betainc_order, lambda _y, a, b, x, *, n, m: _beta_order(a, b, x, n + 1, m), lambda _y, a, b, x, *, n, m: _beta_order(a, b, x, n, m + 1), _beta_order_in_x)
betainc = special(sc.betainc, lambda _y, a, b, x: betainc_order(a, b, x, n=1, m=0), lambda _y, a, b, x: betainc_order(a, b, x, n=0, m=1), lambda _y, a, b, x: beta_density(a, b, x), formula=lambda a, b, x: _sympy().betainc_regularized(a, b, 0, x), domain=(POSITIVE, POSITIVE, UNIT))
betaincc = special(sc.betaincc, lambda _y, a, b, x: -betainc_order(a, b, x, n=1, m=0), lambda _y, a, b, x: -betainc_order(a, b, x, n=0, m=1), lambda _y, a, b, x: -beta_density(a, b, x), formula=lambda a, b, x: _sympy().betainc_regularized(a, b, x, 1), domain=(POSITIVE, POSITIVE, UNIT))
betaincinv = special(sc.betaincinv, lambda y, a, b, _p: _implicit(betainc_order(a, b, y, n=1, m=0), beta_density(a, b, y)), lambda y, a, b, _p: _implicit(betainc_order(a, b, y, n=0, m=1), beta_density(a, b, y)), lambda y, a, b, _p: 1 / beta_density(a, b, y), domain=(POSITIVE, POSITIVE, UNIT))
betainccinv = special(sc.betainccinv, lambda y, a, b, _p: _implicit(betainc_order(a, b, y, n=1, m=0), beta_density(a, b, y)), lambda y, a, b, _p: _implicit(betainc_order(a, b, y, n=0, m=1), beta_density(a, b, y)), lambda y, a, b, _p: -1 / beta_density(a, b, y), domain=(POSITIVE, POSITIVE, UNIT))


# ---- Error function and the normal distribution ----


def _far(z: Any) -> Any:
    """Sum of (2k - 1)!! z^k: the remainder of erfcx and dawsn for large arguments, after leading terms cancel (DLMF 7.12(i))."""
    total: Any = 0.0
    for k in range(12, 0, -1):
        total = z * (2 * k - 1) * (1 + total)
    return total


def _beyond(x: Any, size: float, cone: float) -> Any:
    """Return whether x is of a size, and its real part greater than `cone` times the modulus of its imaginary part."""
    return (np.abs(x) >= size) & (np.real(x) > cone * np.abs(np.imag(x))) if e.is_complex(x) else x >= size


def _erfcx_partial(y: Any, x: Any) -> Any:
    """2 x y - 2 / sqrt(pi), which cancels from x = 10 on."""
    far = _beyond(x, 10.0, -0.5)  # the series holds in |arg x| < 3 pi / 4
    z = -0.5 / np.where(far, x, 10.0) ** 2
    return np.where(far, 2 / ROOT_PI * _far(z), 2 * x * y - 2 / ROOT_PI)


def _dawsn_partial(y: Any, x: Any) -> Any:
    """1 - 2 x y, which cancels from |x| = 10 on."""
    far = _beyond(x, 10.0, 1.2) | _beyond(-x, 10.0, 1.2)  # the series holds in |arg x| < pi / 4
    return np.where(far, -_far(0.5 / np.where(far, x, 10.0) ** 2), 1 - 2 * x * y)


def _hazard_partial(y: Any, x: Any) -> Any:
    """-y (x + y), which cancels to the left of -14."""
    far = _beyond(-x, 14.0, -0.5)
    return -y * np.where(far, -y * _far(-1 / np.where(far, x, 14.0) ** 2), x + y)


def _hazard(x: Any) -> Any:
    return math.sqrt(2 / PI) / sc.erfcx(-x / ROOT_2)


erf = special(sc.erf, lambda _y, x: (2 / ROOT_PI) * np.exp(-x * x), formula="erf")
erfc = special(sc.erfc, lambda _y, x: (-2 / ROOT_PI) * np.exp(-x * x), formula="erfc")
erfcx = special(sc.erfcx, _erfcx_partial, formula=lambda x: _sympy().exp(x**2) * _sympy().erfc(x))
erfi = special(sc.erfi, lambda _y, x: (2 / ROOT_PI) * np.exp(x * x), formula="erfi")
erfinv = special(sc.erfinv, lambda y, _x: (ROOT_PI / 2) * np.exp(y * y), formula="erfinv", domain=((-1.0, 1.0),), kink="at -1 and 1 the derivative is infinite")
erfcinv = special(sc.erfcinv, lambda y, _x: (-ROOT_PI / 2) * np.exp(y * y), formula=lambda x: _sympy().erfinv(1 - x), domain=((0.0, 2.0),), kink="at 0 and 2 the derivative is infinite")
dawsn = special(sc.dawsn, _dawsn_partial, formula=lambda x: _sympy().exp(-x**2) * _sympy().erfi(x) * _sympy().sqrt(_sympy().pi) / 2)
ndtr = special(sc.ndtr, lambda _y, x: np.exp(-0.5 * x * x) / ROOT_2PI, formula=lambda x: _sympy().erfc(-x / _sympy().sqrt(2)) / 2)
normal_hazard = define("normal_hazard", _as_operand(_hazard), _hazard_partial, counts="calls", source="np.sqrt(2 / np.pi) / scipy.special.erfcx(-{0} / np.sqrt(2))", domain=(ALL,))  # density over distribution function: neither underflows
log_ndtr = special(sc.log_ndtr, lambda _y, x: normal_hazard(x), formula=lambda x: _sympy().log(_sympy().erfc(-x / _sympy().sqrt(2)) / 2))
ndtri = special(sc.ndtri, lambda y, _p: ROOT_2PI * np.exp(0.5 * y * y), formula=lambda p: _sympy().sqrt(2) * _sympy().erfinv(2 * p - 1), domain=(UNIT,), kink="at 0 and 1 the derivative is infinite")
ndtri_exp = special(sc.ndtri_exp, lambda y, _x: 1 / normal_hazard(y), domain=((-INF, 0.0),))
owens_t = special(sc.owens_t, lambda _y, h, a: -np.exp(-0.5 * h * h) * sc.erf(a * h / ROOT_2) / (2 * ROOT_2PI), lambda _y, h, a: np.exp(-0.5 * h * h * (1 + a * a)) / (2 * PI * (1 + a * a)))


# ---- Logistic functions and entropies ----


def _both_zero(x: Any, y: Any, zero: float) -> Any:
    """y, with 1 (or 1 less `zero`) put where the term x log(y) is switched off."""
    return np.where((x == 0) & (y == zero), zero + 1, y)


def _ratio(x: Any, y: Any) -> Any:
    """x / y, and 1 where both are 0."""
    both = (x == 0) & (y == 0)
    return np.where(both, 1.0, x) / np.where(both, 1.0, y)


def _exprel_slope(x: Any) -> Any:
    """The derivative of (exp(x) - 1) / x."""
    return 0.5 * sc.hyp1f1(2.0, 3.0, x)


def _power_slope(power: Any, log: Any, exponent: Any) -> Any:
    """The derivative of (x^p - 1) / p in the exponent p; its limit log(x)^2 / 2 at p = 0, and 1 / p^2 at x = 0."""
    near = np.abs(exponent * log) < 1
    small, p = np.where(near, log, 0.0), np.where(near, 1.0, exponent)
    large = np.where(near | (power == 0), 0.0, log)
    return np.where(near, small * small * _exprel_slope(exponent * small), (power * (p * large - 1) + 1) / (p * p))


expit = special(sc.expit, lambda y, x: y * sc.expit(-x), formula=lambda x: 1 / (1 + _sympy().exp(-x)))
logit = special(sc.logit, lambda _y, x: 1 / (x * (1 - x)), formula=lambda x: _sympy().log(x / (1 - x)), domain=(UNIT,))
log_expit = special(sc.log_expit, lambda _y, x: sc.expit(-x), formula=lambda x: -_sympy().log(1 + _sympy().exp(-x)))
exprel = special(sc.exprel, lambda _y, x: _exprel_slope(x), formula=lambda x: (_sympy().exp(x) - 1) / x)
xlogy = special(sc.xlogy, lambda _y, x, y: np.log(_both_zero(x, y, 0.0)), lambda _y, x, y: x / _both_zero(x, y, 0.0), formula=lambda x, y: x * _sympy().log(y), domain=(ALL, POSITIVE), kink="at (0, 0): 0 in both, a term that is switched off adds nothing")
xlog1py = special(sc.xlog1py, lambda _y, x, y: np.log1p(_both_zero(x, y, -1.0)), lambda _y, x, y: x / (1 + _both_zero(x, y, -1.0)), formula=lambda x, y: x * _sympy().log(1 + y), domain=(ALL, (-1.0, INF)), kink="at (0, -1): 0 in both, a term that is switched off adds nothing")
entr = special(sc.entr, lambda _y, x: -np.log(x) - 1, formula=lambda x: -x * _sympy().log(x), domain=(POSITIVE,), kink="at 0 the derivative is infinite, as NumPy's own logarithm gives it, with a warning")
rel_entr = special(sc.rel_entr, lambda _y, x, y: np.log(_ratio(x, y)) + 1, lambda _y, x, y: -_ratio(x, y), formula=lambda x, y: x * _sympy().log(x / y), domain=(POSITIVE, POSITIVE), kink="at (0, 0): 1 and -1, those of the line x = y")
kl_div = special(sc.kl_div, lambda _y, x, y: np.log(_ratio(x, y)), lambda _y, x, y: 1 - _ratio(x, y), formula=lambda x, y: x * _sympy().log(x / y) - x + y, domain=(POSITIVE, POSITIVE), kink="at (0, 0): 0 in both, those of the line x = y")
boxcox = special(sc.boxcox, lambda _y, x, p: x ** (p - 1), lambda _y, x, p: _power_slope(x**p, np.log(x), p), formula=lambda x, p: (x**p - 1) / p, domain=(POSITIVE, ALL))
boxcox1p = special(sc.boxcox1p, lambda _y, x, p: (1 + x) ** (p - 1), lambda _y, x, p: _power_slope(np.exp(p * np.log1p(x)), np.log1p(x), p), formula=lambda x, p: ((1 + x)**p - 1) / p, domain=(POSITIVE, ALL))
inv_boxcox = special(sc.inv_boxcox, lambda y, _t, p: y ** (1 - p), lambda y, _t, p: -_power_slope(y**p, np.log(y), p) * y ** (1 - p), formula=lambda t, p: (1 + p * t)**(1 / p), domain=((0.0, 1.0), POSITIVE))
inv_boxcox1p = special(sc.inv_boxcox1p, lambda y, _t, p: (1 + y) ** (1 - p), lambda y, _t, p: -_power_slope((1 + y) ** p, np.log1p(y), p) * (1 + y) ** (1 - p), formula=lambda t, p: (1 + p * t)**(1 / p) - 1, domain=((0.0, 1.0), POSITIVE))
huber = special(sc.huber, lambda _y, d, r: np.maximum(np.abs(r) - d, 0.0), lambda _y, d, r: np.clip(r, -d, d), domain=(POSITIVE, ALL))


def _pseudo_huber_in_delta(_y: Any, d: Any, r: Any) -> Any:
    """r^4 / (h (d + h)^2) with h = hypot(d, r): nothing cancels, and it is |r| at d = 0."""
    h = np.hypot(d, r)
    safe = np.where(h == 0, 1.0, h)
    return r * (r / safe) * (r / (d + safe)) ** 2


pseudo_huber = special(sc.pseudo_huber, _pseudo_huber_in_delta, lambda _y, d, r: d * e.unit(r, np.hypot(d, r)), formula=lambda d, r: d**2 * (_sympy().sqrt(1 + (r / d)**2) - 1), domain=(POSITIVE, ALL))


# ---- Elementary functions with care ----

cosm1 = special(sc.cosm1, lambda _y, x: -np.sin(x), formula=lambda x: _sympy().cos(x) - 1)
powm1 = special(sc.powm1, lambda y, x, p: e._base_partial(y, x, p), lambda y, x, _p: (1 + y) * np.log(np.where(x == 0, 1.0, x)), formula=lambda x, p: x**p - 1, domain=(POSITIVE, ALL))
exp10 = special(sc.exp10, lambda y, _x: e.LN10 * y, formula=lambda x: 10**x)
sindg = special(sc.sindg, lambda _y, x: DEGREE * sc.cosdg(x), formula=lambda x: _sympy().sin(x * _sympy().pi / 180))
cosdg = special(sc.cosdg, lambda _y, x: -DEGREE * sc.sindg(x), formula=lambda x: _sympy().cos(x * _sympy().pi / 180))
tandg = special(sc.tandg, lambda y, _x: DEGREE * (1 + y * y), formula=lambda x: _sympy().tan(x * _sympy().pi / 180))
cotdg = special(sc.cotdg, lambda y, _x: -DEGREE * (1 + y * y), formula=lambda x: _sympy().cot(x * _sympy().pi / 180), domain=((20.0, 70.0),))
radian = special(sc.radian, lambda _y, _d, _m, _s: DEGREE, lambda _y, _d, _m, _s: DEGREE / 60, lambda _y, _d, _m, _s: DEGREE / 3600, formula=lambda d, m, s: (d + m / 60 + s / 3600) * _sympy().pi / 180)
round_half_even = define("special_round", sc.round, None, replaces=sc.round, counts="calls", source="scipy.special.round({0})")
for _same, _row in ((sc.cbrt, e.cbrt), (sc.exp2, e.exp2), (sc.expm1, e.expm1), (sc.log1p, e.log1p)):
    CALLS[_same] = _row


# ---- Bessel functions ----


def _difference(f: Callable[..., Any], v: Any, x: Any, **n: int) -> Any:
    """(f_{v-1} - f_{v+1}) / 2, the derivative of J and Y in x (DLMF 10.6.1)."""
    return 0.5 * (f(v - 1, x, **n) - f(v + 1, x, **n))


def _mean(f: Callable[..., Any], v: Any, x: Any, **n: int) -> Any:
    """(f_{v-1} + f_{v+1}) / 2, the derivative of I in x, and less that of K (DLMF 10.29.1)."""
    return 0.5 * (f(v - 1, x, **n) + f(v + 1, x, **n))


def _damped(slope: Any, y: Any, x: Any, w: Any, rate: Any) -> Any:
    """The derivative of f(x) exp(-|Re w(x)|), where `slope` is f' exp(-|Re w|) and `rate` is w': not holomorphic."""
    sign = np.sign(np.real(w))
    if not e.is_complex(x):
        return slope - sign * rate * y
    half = 0.5 * sign * y
    return RealLinear(slope - half * rate, -half * np.conj(rate), x.shape, y.shape)


def _damped_aside(slope: Any, y: Any, x: Any) -> Any:
    """The derivative of f(x) exp(-|Im x|): of real numbers that of f."""
    return _damped(slope, y, x, -1j * x, -1j) if e.is_complex(x) else slope


def _bessel_order(compute: Callable[..., Any], in_x: Callable[..., Any]) -> Primitive:
    """Enter the derivatives in the order, of every order n."""
    row = quadrature(compute, lambda _y, v, x, *, n: row(v, x, n=n + 1), in_x)
    return row


jv_order: Primitive = _bessel_order(by_quadrature.jv_order, lambda _y, v, x, *, n: _difference(jv_order, v, x, n=n))
yv_order: Primitive = _bessel_order(by_quadrature.yv_order, lambda _y, v, x, *, n: _difference(yv_order, v, x, n=n))
ive_order: Primitive = _bessel_order(by_quadrature.ive_order, lambda y, v, x, *, n: _mean(ive_order, v, x, n=n) - y)
kve_order: Primitive = _bessel_order(by_quadrature.kve_order, lambda y, v, x, *, n: -_mean(kve_order, v, x, n=n) + y)

jv = special(sc.jv, lambda _y, v, x: jv_order(v, x, n=1), lambda _y, v, x: _difference(sc.jv, v, x), formula="besselj", domain=(POSITIVE, POSITIVE))
yv = special(sc.yv, lambda _y, v, x: yv_order(v, x, n=1), lambda _y, v, x: _difference(sc.yv, v, x), formula="bessely", domain=(POSITIVE, POSITIVE))
iv = special(sc.iv, lambda _y, v, x: np.exp(np.abs(x)) * ive_order(v, x, n=1), lambda _y, v, x: _mean(sc.iv, v, x), formula="besseli", domain=(POSITIVE, POSITIVE))
kv = special(sc.kv, lambda _y, v, x: np.exp(-x) * kve_order(v, x, n=1), lambda _y, v, x: -_mean(sc.kv, v, x), formula="besselk", domain=(POSITIVE, POSITIVE))
ive = special(sc.ive, lambda _y, v, x: ive_order(v, x, n=1), lambda y, v, x: _damped(_mean(sc.ive, v, x), y, x, x, 1.0), formula=lambda v, x: _sympy().besseli(v, x) * _sympy().exp(-_sympy().Abs(x)), domain=(POSITIVE, POSITIVE))
kve = special(sc.kve, lambda _y, v, x: kve_order(v, x, n=1), lambda y, v, x: -_mean(sc.kve, v, x) + y, formula=lambda v, x: _sympy().besselk(v, x) * _sympy().exp(x), domain=(POSITIVE, POSITIVE))
yn = special(sc.yn, refuse("yn", "n"), lambda _y, n, x: _difference(sc.yv, n, x), formula="bessely", domain=(ALL, POSITIVE))
kn = special(sc.kn, refuse("kn", "n"), lambda _y, n, x: -_mean(sc.kv, n, x), formula="besselk", domain=(ALL, POSITIVE))
jve = special(sc.jve, lambda _y, v, x: jv_order(v, x, n=1), lambda y, v, x: _damped_aside(_difference(sc.jve, v, x), y, x), domain=(POSITIVE, POSITIVE))
yve = special(sc.yve, lambda _y, v, x: yv_order(v, x, n=1), lambda y, v, x: _damped_aside(_difference(sc.yve, v, x), y, x), domain=(POSITIVE, POSITIVE))
hankel1 = unpromoted(sc.hankel1, lambda _y, v, x: jv_order(v, x, n=1) + 1j * yv_order(v, x, n=1), lambda _y, v, x: _difference(sc.hankel1, v, x), domain=(POSITIVE, POSITIVE))
hankel2 = unpromoted(sc.hankel2, lambda _y, v, x: jv_order(v, x, n=1) - 1j * yv_order(v, x, n=1), lambda _y, v, x: _difference(sc.hankel2, v, x), domain=(POSITIVE, POSITIVE))
hankel1e = unpromoted(sc.hankel1e, lambda _y, v, x: np.exp(-1j * x) * (jv_order(v, x, n=1) + 1j * yv_order(v, x, n=1)), lambda y, v, x: _difference(sc.hankel1e, v, x) - 1j * y, domain=(POSITIVE, POSITIVE))
hankel2e = unpromoted(sc.hankel2e, lambda _y, v, x: np.exp(1j * x) * (jv_order(v, x, n=1) - 1j * yv_order(v, x, n=1)), lambda y, v, x: _difference(sc.hankel2e, v, x) + 1j * y, domain=(POSITIVE, POSITIVE))


def _i1e_partial(y: Any, x: Any) -> Any:
    """Where SciPy's ive has ended in NaN, and the difference in roundings, by the asymptotic series (DLMF 10.40.1)."""
    far = np.abs(x) > 1e7
    near, large = np.where(far, 1.0, x), np.where(far, x, 1.0)
    series = y * (0.375 / np.abs(large) - 0.5) / large
    return np.where(far, series, 0.5 * (sc.i0e(near) + sc.ive(2, near)) - np.sign(near) * y)


j0 = special(sc.j0, lambda _y, x: -sc.j1(x), formula=lambda x: _sympy().besselj(0, x))
j1 = special(sc.j1, lambda _y, x: 0.5 * (sc.j0(x) - sc.jv(2, x)), formula=lambda x: _sympy().besselj(1, x))
y0 = special(sc.y0, lambda _y, x: -sc.y1(x), formula=lambda x: _sympy().bessely(0, x), domain=(POSITIVE,))
y1 = special(sc.y1, lambda _y, x: 0.5 * (sc.y0(x) - sc.yv(2, x)), formula=lambda x: _sympy().bessely(1, x), domain=(POSITIVE,))
i0 = special(sc.i0, lambda _y, x: sc.i1(x), formula=lambda x: _sympy().besseli(0, x))
i1 = special(sc.i1, lambda _y, x: 0.5 * (sc.i0(x) + sc.iv(2, x)), formula=lambda x: _sympy().besseli(1, x))
k0 = special(sc.k0, lambda _y, x: -sc.k1(x), formula=lambda x: _sympy().besselk(0, x), domain=(POSITIVE,))
k1 = special(sc.k1, lambda _y, x: -0.5 * (sc.k0(x) + sc.kv(2, x)), formula=lambda x: _sympy().besselk(1, x), domain=(POSITIVE,))
i0e = special(sc.i0e, lambda y, x: sc.i1e(x) - np.sign(x) * y, kink="at 0: 0, the middle of the two sides")
i1e = special(sc.i1e, _i1e_partial)
k0e = special(sc.k0e, lambda y, x: y - sc.k1e(x), domain=(POSITIVE,))
k1e = special(sc.k1e, lambda y, x: y - 0.5 * (sc.k0e(x) + sc.kve(2, x)), domain=(POSITIVE,))


def _struve_source(v: Any, x: Any) -> Any:
    """(x/2)^v / (sqrt(pi) Gamma(v + 3/2)), the term that Struve's recurrences have more than Bessel's (DLMF 11.4(v))."""
    return (0.5 * x) ** v * sc.rgamma(0 * x + (v + 1.5)) / ROOT_PI  # in the precision of x


struve = special(sc.struve, refuse("struve", "v"), lambda _y, v, x: _difference(sc.struve, v, x) + 0.5 * _struve_source(v, x), domain=(ALL, POSITIVE))
modstruve = special(sc.modstruve, refuse("modstruve", "v"), lambda _y, v, x: _mean(sc.modstruve, v, x) + 0.5 * _struve_source(v, x), domain=(ALL, POSITIVE))

ber = special(sc.ber, lambda _y, x: sc.berp(x), domain=(POSITIVE,))
bei = special(sc.bei, lambda _y, x: sc.beip(x), domain=(POSITIVE,))
ker = special(sc.ker, lambda _y, x: sc.kerp(x), domain=(POSITIVE,))
kei = special(sc.kei, lambda _y, x: sc.keip(x), domain=(POSITIVE,))
berp = special(sc.berp, lambda y, x: -sc.bei(x) - y / x, domain=(POSITIVE,))
beip = special(sc.beip, lambda y, x: sc.ber(x) - y / x, domain=(POSITIVE,))
kerp = special(sc.kerp, lambda y, x: -sc.kei(x) - y / x, domain=(POSITIVE,))
keip = special(sc.keip, lambda y, x: sc.ker(x) - y / x, domain=(POSITIVE,))


# ---- Exponential integral and other integrals of elementary functions ----


def _spence_partial(x: Any) -> Any:
    """log(x) / (1 - x), which is -1 at 1."""
    if not e.is_complex(x):
        return -1 / sc.exprel(np.log(x))
    near = np.abs(x - 1) < 0.5
    far = np.where(near, -1.0, x)
    return np.where(near, -sc.hyp2f1(1.0, 1.0, 2.0, 1 - np.where(near, x, 1.0)), np.log(far) / (1 - far))


def _sinh_ratio(x: Any) -> Any:
    """sinh(x) / x."""
    return np.sinc(1j * x / PI) if e.is_complex(x) else 0.5 * (sc.exprel(x) + sc.exprel(-x))


exp1 = special(sc.exp1, lambda _y, x: -np.exp(-x) / x, formula=lambda x: _sympy().expint(1, x), domain=(POSITIVE,))
expi = special(sc.expi, lambda _y, x: np.exp(x) / x, formula="Ei", domain=(POSITIVE,))
expn = special(sc.expn, refuse("expn", "n"), lambda _y, n, x: np.where(n == 0, -np.exp(-x) * (1 + 1 / x) / x, -sc.expn(np.maximum(n, 1) - 1, x)), formula="expint", domain=(ALL, POSITIVE))
spence = special(sc.spence, lambda _y, x: _spence_partial(x), formula=lambda x: _sympy().polylog(2, 1 - x), domain=(POSITIVE,))
wrightomega = special(sc.wrightomega, lambda y, _x: y / (1 + y), formula=lambda x: _sympy().LambertW(_sympy().exp(x)))


# ---- Elliptic integrals ----


def _elliptic_in_phi(_y: Any, phi: Any, m: Any, *, k: int, j: int) -> Any:
    square = np.sin(phi) ** 2
    return square**k * (1 - m * square) ** (-0.5 * j)


def _carlson_refused(k: str) -> Partial:
    return refuse("elliprd", f"{k} (the second derivative of elliprf)")


hypergeometric: Primitive = define("hypergeometric", by_quadrature.in_double(lambda x, a, b, c: sc.hyp2f1(a, b, c, x)), lambda _y, x, *, a, b, c: a * b / c * hypergeometric(x, a=a + 1, b=b + 1, c=c + 1), counts="calls", source=lambda args, params: "scipy.special.hyp2f1({a}, {b}, {c}, ".format(**params) + f"{args[0]})")  # with constant parameters, which SciPy would take to float64
elliptic_integral: Primitive = quadrature(by_quadrature.elliptic_integral, _elliptic_in_phi, lambda _y, phi, m, *, k, j: 0.5 * j * elliptic_integral(phi, m, k=k + 1, j=j + 2))
ellipkinc = special(sc.ellipkinc, lambda _y, phi, m: 1 / np.sqrt(1 - m * np.sin(phi) ** 2), lambda _y, phi, m: 0.5 * elliptic_integral(phi, m, k=1, j=3), formula="elliptic_f", domain=(ALL, UNIT))
ellipeinc = special(sc.ellipeinc, lambda _y, phi, m: np.sqrt(1 - m * np.sin(phi) ** 2), lambda _y, phi, m: -0.5 * elliptic_integral(phi, m, k=1, j=1), formula="elliptic_e", domain=(ALL, UNIT))
ellipk = special(sc.ellipk, lambda _y, m: (PI / 8) * hypergeometric(m, a=1.5, b=1.5, c=2.0), formula="elliptic_k", domain=(UNIT,))
ellipe = special(sc.ellipe, lambda _y, m: (-PI / 8) * hypergeometric(m, a=0.5, b=1.5, c=2.0), formula="elliptic_e", domain=(UNIT,))
elliprf = special(sc.elliprf, lambda _y, x, y, z: sc.elliprd(y, z, x) / -6, lambda _y, x, y, z: sc.elliprd(x, z, y) / -6, lambda _y, x, y, z: sc.elliprd(x, y, z) / -6, domain=(POSITIVE,) * 3)
elliprd = special(sc.elliprd, _carlson_refused("x"), _carlson_refused("y"), _carlson_refused("z"), domain=(POSITIVE,) * 3)
amplitude = define("amplitude", lambda u, m: sc.ellipj(u, m)[3], lambda y, _u, m: np.sqrt(1 - m * np.sin(y) ** 2), lambda y, _u, m: -np.sqrt(1 - m * np.sin(y) ** 2) * 0.5 * elliptic_integral(y, m, k=1, j=3), counts="calls", source="scipy.special.ellipj({0}, {1})[3]", domain=(ALL, UNIT))


def _ellipkm1_partial(y: Any, p: Any) -> Any:
    """-(E - p K) / (2 p (1-p)), and by the hypergeometric function near p = 1, where that cancels."""
    near = p > 0.5
    low = np.where(near, 0.25, p)
    return np.where(near, (-PI / 8) * hypergeometric(1 - np.where(near, p, 1.0), a=1.5, b=1.5, c=2.0), -(sc.ellipe(1 - low) - low * y) / (2 * low * (1 - low)))


ellipkm1 = special(sc.ellipkm1, _ellipkm1_partial, formula=lambda p: _sympy().elliptic_k(1 - p), domain=(UNIT,))


# ---- Hypergeometric functions and orthogonal polynomials: in x ----


def _lowered(n: Any, by: int = 1) -> Any:
    """n - by, and 0 where that has no polynomial (its factor in the rule is 0 there)."""
    return np.maximum(n - by, 0)


hyp0f1 = special(sc.hyp0f1, refuse("hyp0f1", "v"), lambda _y, v, x: sc.hyp0f1(v + 1, x) / v, formula=lambda v, x: _sympy().hyper([], [v], x), domain=(ALL, ALL))
hyp1f1 = special(sc.hyp1f1, refuse("hyp1f1", "a"), refuse("hyp1f1", "b"), lambda _y, a, b, x: a / b * sc.hyp1f1(a + 1, b + 1, x), formula=lambda a, b, x: _sympy().hyper([a], [b], x), domain=(ALL, ALL, ALL))
hyp2f1 = special(sc.hyp2f1, refuse("hyp2f1", "a"), refuse("hyp2f1", "b"), refuse("hyp2f1", "c"), lambda _y, a, b, c, x: a * b / c * sc.hyp2f1(a + 1, b + 1, c + 1, x), formula=lambda a, b, c, x: _sympy().hyper([a, b], [c], x), domain=(ALL, ALL, ALL, (-1.0, 1.0)))
hyperu = special(sc.hyperu, refuse("hyperu", "a"), refuse("hyperu", "b"), lambda _y, a, b, x: -a * sc.hyperu(a + 1, b + 1, x), domain=(ALL, ALL, POSITIVE))
eval_jacobi = special(sc.eval_jacobi, refuse("eval_jacobi", "n"), refuse("eval_jacobi", "alpha"), refuse("eval_jacobi", "beta"), lambda _y, n, a, b, x: np.where(n == 0, 0.0, 0.5 * (n + a + b + 1)) * sc.eval_jacobi(_lowered(n), a + 1, b + 1, x), formula="jacobi", domain=(ALL, ALL, ALL, (-1.0, 1.0)))
eval_legendre = special(sc.eval_legendre, refuse("eval_legendre", "n"), lambda _y, n, x: np.where(n == 0, 0.0, 0.5 * (n + 1)) * sc.eval_jacobi(_lowered(n), 1.0, 1.0, x), formula="legendre", domain=(ALL, (-1.0, 1.0)))
eval_gegenbauer = special(sc.eval_gegenbauer, refuse("eval_gegenbauer", "n"), refuse("eval_gegenbauer", "alpha"), lambda _y, n, a, x: np.where(n == 0, 0.0, 2.0 * a) * sc.eval_gegenbauer(_lowered(n), a + 1, x), formula="gegenbauer", domain=(ALL, ALL, (-1.0, 1.0)))
eval_chebyt = special(sc.eval_chebyt, refuse("eval_chebyt", "n"), lambda _y, n, x: n * sc.eval_chebyu(_lowered(n), x), formula="chebyshevt", domain=(ALL, (-1.0, 1.0)))
eval_chebyu = special(sc.eval_chebyu, refuse("eval_chebyu", "n"), lambda _y, n, x: np.where(n == 0, 0.0, 2.0) * sc.eval_gegenbauer(_lowered(n), 2.0, x), formula="chebyshevu", domain=(ALL, (-1.0, 1.0)))
eval_genlaguerre = special(sc.eval_genlaguerre, refuse("eval_genlaguerre", "n"), refuse("eval_genlaguerre", "alpha"), lambda _y, n, a, x: np.where(n == 0, 0.0, -1.0) * sc.eval_genlaguerre(_lowered(n), a + 1, x), formula="assoc_laguerre", domain=(ALL, ALL, POSITIVE))
eval_laguerre = special(sc.eval_laguerre, refuse("eval_laguerre", "n"), lambda _y, n, x: np.where(n == 0, 0.0, -1.0) * sc.eval_genlaguerre(_lowered(n), 1.0, x), formula="laguerre", domain=(ALL, POSITIVE))
eval_hermite = special(sc.eval_hermite, refuse("eval_hermite", "n"), lambda _y, n, x: 2 * n * sc.eval_hermite(_lowered(n), x), formula="hermite", domain=(ALL, ALL))
eval_hermitenorm = special(sc.eval_hermitenorm, refuse("eval_hermitenorm", "n"), lambda _y, n, x: n * sc.eval_hermitenorm(_lowered(n), x), domain=(ALL, ALL))


# ---- Distribution functions that are no mere spelling of the above ----


def _t_density(df: Any, t: Any) -> Any:
    return np.exp(-0.5 * (df + 1) * np.log1p(t * t / df) - sc.betaln(0.5 * df, 0.5 + 0 * df)) / np.sqrt(df)


def _t_order_in_t(_y: Any, df: Any, t: Any, *, n: int) -> Any:
    _next(n, "scipy.special.stdtr")
    q = t * t / df
    step = sc.psi(0.5 * (df + 1)) - sc.psi(0.5 * df) - 1 / df
    return _t_density(df, t) * 0.5 * (step - np.log1p(q) + (1 + 1 / df) * q / (1 + q))


def _tukey_slope(y: Any, p: Any) -> Any:
    """The density of Tukey's lambda distribution at its y-quantile."""
    return 1 / (y ** (p - 1) + (1 - y) ** (p - 1))


def _poisson(k: Any, m: Any) -> Any:
    """The probability of k events, floor of the count; 0 for none of them."""
    return gamma_density(np.floor(np.maximum(k, 0)) + 1.0 + 0 * m, m)  # 0 * m: in the precision of m


def _beta_where(possible: Any, a: Any, b: Any, p: Any) -> Any:
    """The density of the beta distribution where counts are possible, and 0 elsewhere."""
    a, b = (np.where(possible, shape, 1.0) + 0 * p for shape in (a, b))
    return np.where(possible, beta_density(a, b, p), 0 * p)


def _last_success(k: Any, n: Any, p: Any) -> Any:
    """The derivative in p of the probability of more than k successes in n trials."""
    k, n = np.floor(k), np.trunc(n)
    return _beta_where((k >= 0) & (n > k), k + 1.0, n - k, p)


def _failures(k: Any, n: Any, p: Any) -> Any:
    """The derivative in p of the probability of at most k failures before n successes."""
    k, n = np.floor(k), np.trunc(n)
    return _beta_where((k >= 0) & (n > 0), n, k + 1.0, p)


gdtr = special(sc.gdtr, lambda _y, a, b, x: x * gamma_density(b, a * x), lambda _y, a, b, x: gammainc_order(b, a * x, n=1), lambda _y, a, b, x: a * gamma_density(b, a * x), domain=(POSITIVE,) * 3)
gdtrc = special(sc.gdtrc, lambda _y, a, b, x: -x * gamma_density(b, a * x), lambda _y, a, b, x: -gammainc_order(b, a * x, n=1), lambda _y, a, b, x: -a * gamma_density(b, a * x), domain=(POSITIVE,) * 3)
pdtr = unpromoted(sc.pdtr, None, lambda _y, k, m: -_poisson(k, m))
pdtrc = unpromoted(sc.pdtrc, None, lambda _y, k, m: _poisson(k, m))
bdtr = unpromoted(sc.bdtr, None, refuse("bdtr", "n"), lambda _y, k, n, p: -_last_success(k, n, p))
bdtrc = unpromoted(sc.bdtrc, None, refuse("bdtrc", "n"), lambda _y, k, n, p: _last_success(k, n, p))
nbdtr = unpromoted(sc.nbdtr, refuse("nbdtr", "k"), refuse("nbdtr", "n"), lambda _y, k, n, p: _failures(k, n, p))
nbdtrc = unpromoted(sc.nbdtrc, refuse("nbdtrc", "k"), refuse("nbdtrc", "n"), lambda _y, k, n, p: -_failures(k, n, p))
pdtri = unpromoted(sc.pdtri, refuse("pdtri", "k"), lambda y, k, _p: -1 / _poisson(k, y))
bdtri = unpromoted(sc.bdtri, None, refuse("bdtri", "n"), lambda y, k, n, _p: -1 / _last_success(k, n, y))
nbdtri = unpromoted(sc.nbdtri, refuse("nbdtri", "k"), refuse("nbdtri", "n"), lambda y, k, n, _p: 1 / _failures(k, n, y))
stdtr_order: Primitive = quadrature(by_quadrature.stdtr_order, lambda _y, df, t, *, n: stdtr_order(df, t, n=_next(n, "scipy.special.stdtr")), _t_order_in_t)
stdtr = special(sc.stdtr, lambda _y, df, t: stdtr_order(df, t, n=1), lambda _y, df, t: _t_density(df, t), domain=(POSITIVE, ALL))
stdtrit = special(sc.stdtrit, lambda y, df, _p: -stdtr_order(df, y, n=1) / _t_density(df, y), lambda y, df, _p: 1 / _t_density(df, y), domain=(POSITIVE, UNIT))
tklmbda = special(sc.tklmbda, lambda y, _x, p: _tukey_slope(y, p), lambda y, _x, p: (_power_slope((1 - y) ** p, np.log1p(-y), p) - _power_slope(y**p, np.log(y), p)) * _tukey_slope(y, p), domain=((-1.0, 1.0), (-2.0, 0.0)))



# ---- Functions that SciPy returns in pairs or fours, and those that are no ufuncs ----


def _one_of(function: Callable[..., Any], k: int) -> Callable[..., Any]:
    return lambda x: function(x)[k]


def _part(name: str, function: np.ufunc, k: int, rule: Partial, **facets: Any) -> Primitive:
    """Enter one of the results of a ufunc."""
    return define(name, _one_of(function, k), rule, **{"counts": "calls", "source": f"scipy.special.{function.__name__}({{0}})[{k}]", "domain": (ALL,), **facets})


def _airy_damped(slope: Any, y: Any, x: Any) -> Any:
    """The derivative of f(x) exp(-|Re(2/3 x^(3/2))|)."""
    rate = np.sqrt(x if e.is_complex(x) else np.maximum(x, 0.0))
    return _damped(slope, y, x, x * rate, rate)


airy_ai = _part("airyai", sc.airy, 0, lambda _y, x: airy_aip(x), formula="airyai")
airy_aip: Primitive = _part("airyaiprime", sc.airy, 1, lambda _y, x: x * airy_ai(x), formula="airyaiprime")
airy_bi = _part("airybi", sc.airy, 2, lambda _y, x: airy_bip(x), formula="airybi")
airy_bip: Primitive = _part("airybiprime", sc.airy, 3, lambda _y, x: x * airy_bi(x), formula="airybiprime")
scaled_ai = _part("scaled_airyai", sc.airye, 0, lambda y, x: scaled_aip(x) + np.sqrt(x) * y, domain=(POSITIVE,))
scaled_aip: Primitive = _part("scaled_airyaiprime", sc.airye, 1, lambda y, x: x * scaled_ai(x) + np.sqrt(x) * y, domain=(POSITIVE,))
scaled_bi = _part("scaled_airybi", sc.airye, 2, lambda y, x: _airy_damped(scaled_bip(x), y, x))
scaled_bip: Primitive = _part("scaled_airybiprime", sc.airye, 3, lambda y, x: _airy_damped(x * scaled_bi(x), y, x))
sine_integral = _part("Si", sc.sici, 0, lambda _y, x: np.sinc(x / PI), formula="Si")
cosine_integral = _part("Ci", sc.sici, 1, lambda _y, x: np.cos(x) / x, formula="Ci", domain=(POSITIVE,))
sinh_integral = _part("Shi", sc.shichi, 0, lambda _y, x: _sinh_ratio(x), formula="Shi")
cosh_integral = _part("Chi", sc.shichi, 1, lambda _y, x: np.cosh(x) / x, formula="Chi", domain=(POSITIVE,))
fresnel_sine = _part("fresnels", sc.fresnel, 0, lambda _y, x: np.sin((0.5 * PI) * x * x), formula="fresnels")
fresnel_cosine = _part("fresnelc", sc.fresnel, 1, lambda _y, x: np.cos((0.5 * PI) * x * x), formula="fresnelc")
integral_j0 = _part("integral_j0", sc.itj0y0, 0, lambda _y, x: sc.j0(x))
integral_y0 = _part("integral_y0", sc.itj0y0, 1, lambda _y, x: sc.y0(x), domain=(POSITIVE,))
integral_i0 = _part("integral_i0", sc.iti0k0, 0, lambda _y, x: sc.i0(x))
integral_k0 = _part("integral_k0", sc.iti0k0, 1, lambda _y, x: sc.k0(x), domain=(POSITIVE,))
second_j0 = _part("second_j0", sc.it2j0y0, 0, lambda _y, x: (1 - sc.j0(x)) / x, domain=(POSITIVE,))
second_y0 = _part("second_y0", sc.it2j0y0, 1, lambda _y, x: -sc.y0(x) / x, domain=(POSITIVE,))
second_i0 = _part("second_i0", sc.it2i0k0, 0, lambda _y, x: (sc.i0(x) - 1) / x, domain=(POSITIVE,))
second_k0 = _part("second_k0", sc.it2i0k0, 1, lambda _y, x: -sc.k0(x) / x, domain=(POSITIVE,))
itstruve0 = special(sc.itstruve0, lambda _y, x: sc.struve(x.dtype.type(0), x), domain=(POSITIVE,))
it2struve0 = special(sc.it2struve0, lambda _y, x: -sc.struve(x.dtype.type(0), x) / x, domain=(POSITIVE,))
itmodstruve0 = special(sc.itmodstruve0, lambda _y, x: sc.modstruve(x.dtype.type(0), x), domain=(POSITIVE,))
faddeeva_real = define("faddeeva_real", _as_operand(lambda x, y: np.real(sc.wofz(x + 1j * y))), lambda y, x, h: 2 * (h * faddeeva_imag(x, h) - x * y), lambda y, x, h: 2 * (x * faddeeva_imag(x, h) + h * y) - 2 / ROOT_PI, counts="calls", source="scipy.special.wofz({0} + 1j * {1}).real", domain=(ALL, POSITIVE))
faddeeva_imag: Primitive = define("faddeeva_imag", _as_operand(lambda x, y: np.imag(sc.wofz(x + 1j * y))), lambda y, x, h: 2 / ROOT_PI - 2 * (x * y + h * faddeeva_real(x, h)), lambda y, x, h: 2 * (h * y - x * faddeeva_real(x, h)), counts="calls", source="scipy.special.wofz({0} + 1j * {1}).imag", domain=(ALL, POSITIVE))


def _real_branch(k: int) -> Callable[..., Any]:
    """Return a branch of Lambert's W at real numbers, NaN where it is not real."""

    def branch(x: Any) -> Any:
        w = sc.lambertw(x, k)
        return np.where(np.imag(w) == 0, np.real(w), np.nan)

    return _as_operand(branch)


lambert = define("lambertw", _real_branch(0), lambda y, _x: np.exp(-y) / (1 + y), counts="calls", source="scipy.special.lambertw({0}).real", formula="LambertW", domain=((0.0, INF),))
lambert_minus = define("lambertw_minus", _real_branch(-1), lambda y, _x: np.exp(-y) / (1 + y), counts="calls", source="scipy.special.lambertw({0}, -1).real", formula=lambda x: _sympy().LambertW(x, -1), domain=((-1 / math.e, 0.0),))
lambert_branch = define("lambertw_branch", lambda x, k: sc.lambertw(x, k), lambda y, _x, k: np.exp(-y) / (1 + y), counts="calls", source=lambda args, params: f"scipy.special.lambertw({args[0]}, {params['k']})")


def _logsumexp_partial(y: Any, a: Any, *, axis: Any, keepdims: bool) -> Composed:
    """The softmax; zero where all elements are -inf, and 1 for an element that is all there is."""
    y_kept = y if keepdims else np.reshape(y, tuple(1 if k - len(a.shape) in axis else size for k, size in enumerate(a.shape)))
    if isinstance(y, Recordable) or not np.all(np.isfinite(y)):
        y_kept = np.where(y_kept == -INF, 0.0, y_kept)
        weights = np.exp(np.where(a == y_kept, 0.0, a - np.where(y_kept == INF, 0.0, y_kept)))
    else:
        weights = np.exp(a - y_kept)
    return Composed(Sum(a.shape, axis, keepdims, y.shape), Diagonal(weights, a.shape, a.shape))


def _logsumexp(a: Any, *, axis: Any, keepdims: bool) -> Any:
    a = np.asarray(a)
    a = a if a.dtype.isnative else a.astype(a.dtype.newbyteorder("="))
    if a.size == 0:
        with np.errstate(divide="ignore"):
            return np.log(np.sum(np.exp(a), axis=axis, keepdims=keepdims))
    top = np.maximum.reduce(a, axis=axis, keepdims=True)
    if a.dtype.kind != "f" or not np.all(np.isfinite(top)):
        return sc.logsumexp(a, axis=axis, keepdims=keepdims).astype(a.dtype)[()]
    # the value of SciPy, to the last bit, in a fifth of the time: SciPy looks up the library of every array
    at_top = a == top
    rest = np.exp(a - top)
    rest[at_top] = 0.0
    count = np.add.reduce(at_top, axis=axis, keepdims=True, dtype=a.dtype)
    y = np.log1p(np.add.reduce(rest, axis=axis, keepdims=True) / count) + np.log(count) + top
    return y if keepdims else y.reshape([size for k, size in enumerate(a.shape) if k - a.ndim not in axis])[()]


def _native_logsumexp(op: Any, a: Any, axis: Any, keepdims: bool) -> Any:
    """Do as above; where that is not finite, the processor says so."""
    top = op.fold("maximum", a, axis, True)
    at_top = op("equal", a, top)
    rest = op("select", at_top, 0.0, op("exp", op("subtract", a, top)))
    count, total = op.fold("add", op("number", at_top), axis, True), op.fold("add", rest, axis, True)
    y = op("add", op("add", op("log1p", op("divide", total, count)), op("log", count)), top)
    shape = tuple([size for k, size in enumerate(a.shape) if k - a.ndim not in axis])
    return y if keepdims else op.move(lambda v: v.reshape(shape), y)


_reduced = array_function(
    "logsumexp", _logsumexp, _logsumexp_partial, native=_native_logsumexp, counts=lambda y, a, axis, keepdims: {"calls": a.size + y.size, "additions": a.size - y.size},
    source=lambda args, params: f"scipy.special.logsumexp({args[0]}, axis={params['axis']!r}, keepdims={params['keepdims']!r})",
)
# fmt: on


# ---- Functions that are written in terms of the above ----


def _axes(a: Any, axis: Any) -> tuple[int, ...]:
    """Return axes as a sorted tuple that counts from the end; None means all of them."""
    ndim = a.ndim if hasattr(a, "ndim") else np.ndim(a)
    if type(axis) is int and -ndim <= axis < ndim:
        return (axis if axis < 0 else axis - ndim,)
    every = range(ndim) if axis is None else normalize_axis_tuple(axis, ndim)
    return tuple(sorted(k - ndim for k in every))


def _whole(function: str, **flags: Any) -> None:
    for name, value in flags.items():
        if value:
            raise UnsupportedError(f"{name}= of scipy.special.{function} has no rule on traced values; leave it out.")


@calls(sc.logsumexp, catch=sc)
def logsumexp(a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False) -> Any:
    _whole("logsumexp", return_sign=return_sign)
    if b is None:
        a = as_operand(a)
        if a.shape == ():
            return np.positive(a)  # SciPy makes an array of it for axis=()
        return _reduced(a, axis=_axes(a, axis), keepdims=bool(keepdims))
    axes = _axes(np.empty(np.broadcast_shapes(np.shape(a), np.shape(b))), axis)
    # an element of weight zero adds nothing, however large, and does not overflow; but its weight has a derivative
    top = _reduced(np.where(b == 0, -INF, a), axis=axes, keepdims=True)
    shift = a - np.where(np.abs(top) == INF, 0.0, top)
    shift = np.where(b == 0, np.minimum(shift, 700.0), shift)
    total = np.log(np.sum(b * np.exp(shift), axis=axes, keepdims=True)) + np.where(np.abs(top) == INF, 0.0, top)
    return total if keepdims else np.squeeze(total, axis=axes)


@calls(sc.softmax, catch=sc)
def softmax(x: Any, axis: Any = None) -> Any:
    return np.exp(log_softmax(x, axis))


@calls(sc.log_softmax, catch=sc)
def log_softmax(x: Any, axis: Any = None) -> Any:
    return x - _reduced(x, axis=_axes(x, axis), keepdims=True)


def _of_lists(function: Callable[..., Any], *, catch: Any = sc) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter what is written in terms of rows, and takes lists of traced values for arrays."""

    def enter(written: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(written)
        def of_arrays(*args: Any, **kwargs: Any) -> Any:
            return written(*with_arrays(args), **dict(zip(kwargs, with_arrays(kwargs.values()), strict=True)))

        return calls(function, catch=catch)(of_arrays)

    return enter


@_of_lists(sc.zeta)
def _zeta(x: Any, q: Any = None, out: Any = None) -> Any:
    _whole("zeta", out=out)
    return riemann_zeta(x) if q is None else zeta(x, q)


@_of_lists(sc.polygamma)
def _polygamma(n: Any, x: Any) -> Any:
    return polygamma(n, x)


@_of_lists(sc.multigammaln)
def multigammaln(a: Any, d: Any) -> Any:
    constant = 0.25 * d * (d - 1) * math.log(PI)
    return sum((sc.gammaln(a - 0.5 * k) for k in range(int(d))), constant)


def _possible(N: Any, k: Any) -> Any:
    """Return whether k of N things can be chosen."""
    return (k <= N) & (N >= 0) & (k >= 0)


@_of_lists(sc.comb)
def comb(N: Any, k: Any, *, exact: bool = False, repetition: bool = False) -> Any:
    _whole("comb", exact=exact)
    if repetition:
        return sc.binom(N + k - 1, k)
    possible = _possible(N, k)
    return np.where(possible, sc.binom(np.where(possible, N, 1.0), np.where(possible, k, 0.5)), 0.0)


@_of_lists(sc.perm)
def perm(N: Any, k: Any, exact: bool = False) -> Any:
    _whole("perm", exact=exact)
    possible = _possible(N, k)
    return np.where(possible, sc.poch(np.where(possible, N - k + 1, 1.0), np.where(possible, k, 0.0)), 0.0)


@_of_lists(sc.diric)
def diric(x: Any, n: Any) -> Any:
    """Dirichlet's kernel as the sum of its cosines, which has no singular point."""
    if n <= 0 or n != int(n):
        return np.full(np.shape(x), np.nan)
    terms = np.arange((int(n) - 1) / 2, 0, -1)
    waves = 2 * np.sum(np.cos(x[..., None] * terms.astype(x.dtype)), axis=-1)
    return (waves + int(n) % 2) / int(n)


@_of_lists(sc.factorial)
def factorial(n: Any, exact: bool = False, extend: str = "zero") -> Any:
    _whole("factorial", exact=exact)
    return np.where(n < 0, 0.0, sc.gamma(np.where(n < 0, 0.0, n) + 1))


@_of_lists(sc.lambertw)
def lambertw(z: Any, k: Any = 0, tol: float = 1e-8) -> Any:
    """At real z the real branches: k = 0 for z > -1/e, k = -1 for -1/e < z < 0; real values, where SciPy's are complex."""
    if k not in (0, -1) or e.is_complex(z):
        return lambert_branch(z + 0j, k=int(k))
    return lambert(z) if k == 0 else lambert_minus(z)


def softplus(x: Any, **kwargs: Any) -> Any:
    _whole("softplus", **kwargs)
    return np.logaddexp(0.0, x)


if hasattr(sc, "softplus"):  # SciPy 1.15 has it first
    calls(sc.softplus, catch=sc)(softplus)


def _by_formula(function: Callable[..., Any], formula: Callable[..., Any]) -> None:
    """Enter a function that a formula gives, under its name."""
    formula.__name__ = function.__name__
    _of_lists(function, catch=None if isinstance(function, np.ufunc) else sc)(formula)


def _together(function: np.ufunc, *parts: Callable[..., Any]) -> None:
    """Enter a function of several results, by the rows of each."""
    _by_formula(function, lambda x: tuple(part(x) for part in parts))


_together(sc.airy, airy_ai, airy_aip, airy_bi, airy_bip)
_together(sc.airye, scaled_ai, scaled_aip, scaled_bi, scaled_bip)
_together(sc.sici, sine_integral, cosine_integral)
_together(sc.shichi, sinh_integral, cosh_integral)
_together(sc.itj0y0, integral_j0, integral_y0)
_together(sc.iti0k0, integral_i0, integral_k0)
_together(sc.it2j0y0, second_j0, second_y0)
_together(sc.it2i0k0, second_i0, second_k0)
_together(sc.fresnel, fresnel_sine, fresnel_cosine)


@calls(sc.wofz)
def wofz(z: Any) -> Any:
    """Faddeeva's function, as SciPy computes it: the scaled error function on the axis turned."""
    return sc.erfcx(-1j * z)


@calls(sc.kelvin)
def kelvin(x: Any) -> tuple[Any, ...]:
    pairs = ((sc.ber, sc.bei), (sc.ker, sc.kei), (sc.berp, sc.beip), (sc.kerp, sc.keip))
    return tuple(real(x) + 1j * imaginary(x) for real, imaginary in pairs)


@calls(sc.voigt_profile)
def voigt_profile(x: Any, sigma: Any, gamma: Any) -> Any:
    """The real part of Faddeeva's function, and Lorentz's curve for sigma = 0; in the far wings |z| its derivatives lose |z|^2 units."""
    narrow = sigma == 0
    unit = ROOT_2 * np.where(narrow, 1.0, sigma)
    wide = faddeeva_real(x / unit, gamma / unit) / (ROOT_PI * unit)
    return np.where(narrow, gamma / (PI * (np.where(narrow, x, 1.0) ** 2 + gamma**2)), wide)


@calls(sc.ellipj)
def ellipj(u: Any, m: Any) -> tuple[Any, ...]:
    phi = amplitude(u, m)
    sine = np.sin(phi)
    return sine, np.cos(phi), np.sqrt(1 - m * sine * sine), phi


@calls(sc.agm)
def agm(a: Any, b: Any) -> Any:
    """Gauss's own formula for the arithmetic-geometric mean of numbers of one sign (DLMF 19.8.5)."""
    swapped = np.abs(a) < np.abs(b)
    high, low = np.where(swapped, b, a), np.where(swapped, a, b)
    ratio = low / high
    return PI * high / (2 * sc.ellipkm1(np.where(ratio < 0, np.nan, ratio) ** 2))


_by_formula(sc.eval_sh_legendre, lambda n, x: sc.eval_legendre(n, 2 * x - 1))
_by_formula(sc.eval_sh_chebyt, lambda n, x: sc.eval_chebyt(n, 2 * x - 1))
_by_formula(sc.eval_sh_chebyu, lambda n, x: sc.eval_chebyu(n, 2 * x - 1))
_by_formula(sc.eval_chebyc, lambda n, x: 2 * sc.eval_chebyt(n, x / 2))
_by_formula(sc.eval_chebys, lambda n, x: sc.eval_chebyu(n, x / 2))
_by_formula(
    sc.eval_sh_jacobi, lambda n, p, q, x: sc.eval_jacobi(n, p - q, q - 1, 2 * x - 1) / sc.binom(2 * n + p - 1, n)
)
_by_formula(sc.chdtr, lambda v, x: sc.gammainc(0.5 * v, 0.5 * x))
_by_formula(sc.chdtrc, lambda v, x: sc.gammaincc(0.5 * v, 0.5 * x))
_by_formula(sc.chdtri, lambda v, p: 2 * sc.gammainccinv(0.5 * v, p))
_by_formula(sc.gdtria, lambda p, b, x: sc.gammaincinv(b, p) / x)
_by_formula(sc.nrdtrimn, lambda p, std, x: x - std * sc.ndtri(p))
_by_formula(sc.nrdtrisd, lambda mean, p, x: (x - mean) / sc.ndtri(p))
_by_formula(sc.gdtrix, lambda a, b, p: sc.gammaincinv(b, p) / a)
_by_formula(sc.fdtr, lambda dfn, dfd, x: sc.betainc(0.5 * dfn, 0.5 * dfd, dfn * x / (dfd + dfn * x)))
_by_formula(sc.fdtrc, lambda dfn, dfd, x: sc.betainc(0.5 * dfd, 0.5 * dfn, dfd / (dfd + dfn * x)))


@calls(sc.fdtri)
def fdtri(dfn: Any, dfd: Any, p: Any) -> Any:
    y = sc.betaincinv(0.5 * dfn, 0.5 * dfd, p)
    return dfd * y / (dfn * (1 - y))


def _derivatives(function: np.ufunc, minus: float, plus: float) -> Callable[..., Any]:
    """Return the n-th derivative in z of a Bessel function, by its recurrence n times over (DLMF 10.6.7)."""

    def derivative(v: Any, z: Any, n: int = 1) -> Any:
        weights = [math.comb(n, k) * minus ** (n - k) * plus**k / 2**n for k in range(n + 1)]
        return sum(weight * function(v - n + 2 * k, z) for k, weight in enumerate(weights))

    return derivative


def _spherical(kind: str, after: int, sign: int) -> Callable[..., Any]:
    """Enter spherical Bessel functions of one kind, at 0 and to the left of it, too (DLMF 10.51.2 and 10.51.5).

    ``(2 n + 1) f_n' = sign (n f_{n-1} + after (n + 1) f_{n+1})``.
    """
    name = f"spherical_{kind}n"
    function = getattr(sc, name)

    def slope(x: Any, order: int) -> Any:
        following = sign * after * (order + 1) * row(x, order=order + 1)
        return (sign * order * row(x, order=order - 1) + following) / (2 * order + 1) if order else following

    row: Primitive = (
        e.sinc_wave
        if kind == "j"
        else define(
            name,
            lambda x, order: function(order, x).astype(x.dtype)[()],
            lambda _y, x, order: slope(x, order),
            counts="calls",
            source=lambda args, params: f"scipy.special.{name}({params['order']}, {args[0]})",
            domain=(POSITIVE,),
        )
    )

    def spherical(n: Any, z: Any, derivative: bool = False) -> Any:
        one = slope if derivative else lambda x, order: row(x, order=order)
        if np.ndim(n) == 0:
            return one(z, int(n))
        values = np.zeros(np.broadcast_shapes(np.shape(n), np.shape(z)))
        for order in np.unique(n).tolist():
            values = np.where(n == order, one(z, int(order)), values)
        return values

    return spherical


_by_formula(sc.h1vp, _derivatives(sc.hankel1, 1, -1))
_by_formula(sc.h2vp, _derivatives(sc.hankel2, 1, -1))
for _kind, _bessel, _minus, _plus in (
    ("j", sc.jv, 1, -1),
    ("y", sc.yv, 1, -1),
    ("i", sc.iv, 1, 1),
    ("k", sc.kv, -1, -1),
):
    _by_formula(getattr(sc, f"{_kind}vp"), _derivatives(_bessel, _minus, _plus))
    _by_formula(getattr(sc, f"spherical_{_kind}n"), _spherical(_kind, _minus * _plus, _minus))
