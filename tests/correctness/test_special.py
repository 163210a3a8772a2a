"""scipy.special: against mpmath at hard points and in corners of parameters, at edges, beside JAX and SymPy."""

from __future__ import annotations

import math
import subprocess
import sys

import mpmath as mp
import numpy as np
import pytest
import sympy
from agreement import assert_close, assert_first_order, assert_second_order, assert_single_precision
from scipy import special as sc

import wengert as wg
from wengert.primitives import CALLS, PRIMITIVES
from wengert.primitives.scipy import parameters
from wengert.primitives.scipy import special as rows
from wengert.program import Primitive


def relative_error(given, expected):
    return abs(given - expected) / abs(expected) if expected else abs(given)


def derivative(f, k, order=1):
    """The derivative of an mpmath function in its k-th argument, by differences in many more digits."""

    def at(*point):
        point = [mp.mpf(float(x)) for x in point]
        with mp.workdps(70):
            step = mp.mpf(10) ** -12 * max(1, abs(point[k])) if point[k] == 0 else mp.mpf(10) ** -12 * abs(point[k])

            def value(shift):
                return f(*[x + shift * step if i == k else x for i, x in enumerate(point)])

            if order == 1:
                return float((value(1) - value(-1)) / (2 * step))
            return float((value(1) - 2 * value(0) + value(-1)) / step**2)

    return at


# ---- Derivatives in parameters, by quadrature, at corners ----


def gammainc_side(a, x):
    """P(a, x), or that less 1 where P is near 1: differences of it keep their digits."""
    if x > 3 * a:
        return -mp.gammainc(a, x, mp.inf, regularized=True)
    return mp.gammainc(a, 0, x, regularized=True)


def betainc_side(a, b, x):
    if x > 0.5:
        return -mp.betainc(b, a, 0, 1 - x, regularized=True)
    return mp.betainc(a, b, 0, x, regularized=True)


def stdtr_side(v, t):
    if abs(t) < 1:
        return mp.sign(t) * mp.betainc(0.5, v / 2, 0, t * t / (v + t * t), regularized=True) / 2
    return -mp.sign(t) * mp.betainc(v / 2, 0.5, 0, v / (v + t * t), regularized=True) / 2


def elliptic_side(k, j):
    def value(phi, m):
        def f(t):
            return mp.sin(t) ** (2 * k) * (1 - m * mp.sin(t) ** 2) ** (-mp.mpf(j) / 2)

        middle = [p for p in (mp.pi / 2, mp.pi, 3 * mp.pi / 2) if p < phi]
        return mp.quad(f, [0, *[q for p in middle for q in (p - 0.01, p, p + 0.01)], phi])

    return value


def scaled(f, sign):
    return lambda v, x: f(v, x) * mp.exp(sign * x)


ORDERS = [(v, x) for v in (0.0, 0.3, 2.5, 10.0, 45.5, -0.7, -3.0) for x in (1e-4, 1.0, 10.1, 150.0)]
SHAPES = (0.01, 0.7, 3.0, 50.0)
INTEGRALS = {
    "gammainc_a": (lambda a, x: parameters.gammainc_order(a, x, n=1), derivative(gammainc_side, 0),
                   [(a, x) for a in (0.01, 0.7, 3.3, 20.0, 300.0) for x in (1e-6, 0.5, 4.0, 20.0, 50.0, 350.0)]),
    "gammainc_aa": (lambda a, x: parameters.gammainc_order(a, x, n=2), derivative(gammainc_side, 0, 2),
                    [(a, x) for a in (0.1, 3.3, 20.0) for x in (0.01, 1.0, 25.0)]),
    "betainc_a": (lambda a, b, x: parameters.betainc_order(a, b, x, n=1, m=0), derivative(betainc_side, 0),
                  [(a, b, x) for a in SHAPES for b in SHAPES for x in (1e-5, 0.3, 0.5, 0.99)]),
    "betainc_b": (lambda a, b, x: parameters.betainc_order(a, b, x, n=0, m=1), derivative(betainc_side, 1),
                  [(a, b, x) for a in SHAPES for b in SHAPES for x in (1e-5, 0.3, 0.5, 0.99)]),
    "betainc_aa": (lambda a, b, x: parameters.betainc_order(a, b, x, n=2, m=0), derivative(betainc_side, 0, 2),
                   [(a, b, x) for a in (0.1, 3.0) for b in (0.7, 50.0) for x in (0.01, 0.8)]),
    "stdtr_df": (lambda v, t: parameters.stdtr_order(v, t, n=1), derivative(stdtr_side, 0),
                 [(v, t) for v in (0.05, 1.0, 3.0, 24.9, 26.0, 1e4) for t in (1e-4, 0.9, -1.7, 5.0, 30.0)]),
    "stdtr_df_df": (lambda v, t: parameters.stdtr_order(v, t, n=2), derivative(stdtr_side, 0, 2),
                    [(v, t) for v in (0.5, 3.0, 26.0, 200.0) for t in (0.1, -5.0)]),
    "zeta_s": (lambda s, q: parameters.zeta_order(s, q, n=1), derivative(mp.zeta, 0),
               [(s, q) for s in (1.01, 2.0, 3.7, 15.0) for q in (1e-3, 0.3, 1.0, 400.0)]),
    "riemann": (lambda s: parameters.zeta_order(s, 1.0, n=1), lambda s: float(mp.zeta(s, 1, 1)),
                [(0.5,), (0.0,), (-3.5,), (-8.2,), (30.0,)]),
    "jv_v": (lambda v, x: parameters.jv_order(v, x, n=1), derivative(mp.besselj, 0), ORDERS),
    "jv_vv": (lambda v, x: parameters.jv_order(v, x, n=2), derivative(mp.besselj, 0, 2), ORDERS[::3]),
    "yv_v": (lambda v, x: parameters.yv_order(v, x, n=1), derivative(mp.bessely, 0), ORDERS),
    "yv_vv": (lambda v, x: parameters.yv_order(v, x, n=2), derivative(mp.bessely, 0, 2), ORDERS[::3]),
    "ive_v": (lambda v, x: parameters.ive_order(v, x, n=1), derivative(scaled(mp.besseli, -1), 0), ORDERS[4:]),
    "ive_vv": (lambda v, x: parameters.ive_order(v, x, n=2), derivative(scaled(mp.besseli, -1), 0, 2), ORDERS[1::3]),
    "kve_v": (lambda v, x: parameters.kve_order(v, x, n=1), derivative(scaled(mp.besselk, 1), 0), ORDERS[4:]),
    "kve_vv": (lambda v, x: parameters.kve_order(v, x, n=2), derivative(scaled(mp.besselk, 1), 0, 2), ORDERS[::3]),
    "elliptic_11": (lambda phi, m: parameters.elliptic_integral(phi, m, k=1, j=1), elliptic_side(1, 1),
                    [(phi, m) for phi in (0.01, 1.2, 1.57, 2.0, 5.0) for m in (-50.0, 1e-9, 0.9)]),
    "elliptic_25": (lambda phi, m: parameters.elliptic_integral(phi, m, k=2, j=5), elliptic_side(2, 5),
                    [(phi, m) for phi in (0.01, 1.2, 1.57, 2.0, 5.0) for m in (-50.0, 1e-9, 0.9)]),
}  # fmt: skip


@pytest.mark.parametrize("name", INTEGRALS)
def test_derivative_in_a_parameter(name):
    given, true, points = INTEGRALS[name]
    expected = {p: float(true(*p)) for p in points}
    worst = max((relative_error(float(given(*p)), y), p) for p, y in expected.items() if abs(y) > 1e-280)
    assert worst[0] < 1e-10, worst


def test_quadratures_broadcast_and_keep_the_precision():
    a, x = np.array([[0.5], [2.0]]), np.array([0.1, 1.0, 3.0])
    whole = parameters.gammainc_order(a, x, n=1)
    assert whole.shape == (2, 3)
    assert whole[1, 2] == pytest.approx(float(parameters.gammainc_order(2.0, 3.0, n=1)), rel=1e-14)
    assert parameters.jv_order(np.float32(1.5), np.float32(2.0), n=1).dtype == np.float32
    assert parameters.betainc_order(a.astype(np.float32), 2.0, x.astype(np.float32), n=1, m=0).dtype == np.float32
    assert parameters.yv_order(np.zeros(0), 1.0, n=1).shape == (0,)


# ---- Accuracy of first derivatives at hard points ----

NORMAL = mp.ncdf
HARD = {
    "gamma": (mp.gamma, (1e-9, 3.3, 150.0, -2.5)),
    "gammaln": (mp.loggamma, (1e-9, 1.0, 3e5)),
    "rgamma": (mp.rgamma, (1e-9, 5.0, 0.0, -3.0, -2.5)),
    "psi": (mp.psi0 if hasattr(mp, "psi0") else lambda x: mp.psi(0, x), (1e-6, 2.0, 1e6, -1.4)),
    "erf": (mp.erf, (1e-9, 3.0, -5.0)),
    "erfc": (mp.erfc, (1e-9, 20.0)),
    "erfcx": (lambda x: mp.exp(x * x) * mp.erfc(x), (-3.0, 1e-9, 9.9, 10.1, 1e4)),
    "erfi": (mp.erfi, (1e-9, 5.0)),
    "erfinv": (mp.erfinv, (1e-9, 0.999999)),
    "dawsn": (lambda x: mp.sqrt(mp.pi) / 2 * mp.exp(-x * x) * mp.erfi(x), (1e-9, -9.9, 10.1, 1e4)),
    "ndtr": (NORMAL, (-30.0, 1e-9, 8.0)),
    "log_ndtr": (lambda x: mp.log(mp.erfc(-x / mp.sqrt(2)) / 2), (-1e4, -20.0, -13.9, 0.0, 10.0, 37.0)),
    "ndtri": (lambda p: -mp.sqrt(2) * mp.erfinv(1 - 2 * p), (1e-9, 0.3)),
    "expit": (lambda x: 1 / (1 + mp.exp(-x)), (-40.0, 0.0, 40.0, 300.0)),
    "log_expit": (lambda x: -mp.log(1 + mp.exp(-x)), (-40.0, 0.0, 40.0, 300.0)),
    "logit": (lambda x: mp.log(x / (1 - x)), (1e-9, 0.3)),
    "exprel": (lambda x: mp.expm1(x) / x, (-50.0, 1e-9, 30.0)),
    "cosm1": (lambda x: mp.cos(x) - 1, (1e-9, 1.0)),
    "j0": (mp.j0, (1e-9, 1.0, 30.0)),
    "j1": (mp.j1, (1e-9, 1.0, 30.0)),
    "y0": (lambda x: mp.bessely(0, x), (1e-9, 1.0, 30.0)),
    "y1": (lambda x: mp.bessely(1, x), (1e-4, 1.0, 30.0)),
    "i0": (lambda x: mp.besseli(0, x), (1e-9, 1.0, 300.0)),
    "i1": (lambda x: mp.besseli(1, x), (1e-9, 1.0, 300.0)),
    "k0": (lambda x: mp.besselk(0, x), (1e-9, 1.0, 300.0)),
    "k1": (lambda x: mp.besselk(1, x), (1e-4, 1.0, 300.0)),
    "ellipk": (mp.ellipk, (-1e4, -0.3, 1e-9, 0.5, 0.999999)),
    "ellipe": (mp.ellipe, (-1e4, -0.3, 1e-9, 0.5, 0.999999)),
    "ellipkm1": (lambda p: mp.ellipk(1 - p), (1e-30, 1e-9, 0.3, 0.500001, 0.999999, 1.0, 3.0)),
    "exp1": (mp.e1, (1e-9, 1.0, 300.0)),
    "expi": (mp.ei, (1e-9, 1.0, 300.0)),
    "spence": (lambda x: mp.polylog(2, 1 - x), (1e-9, 0.9999999, 1.5, 300.0)),
    "lambertw": (mp.lambertw, (-0.36, 1e-9, 1.0, 1e9)),
    "lambertw_minus": (lambda x: mp.lambertw(x, -1), (-0.36, -1e-9)),
    "airyai": (mp.airyai, (-8.0, 0.0, 20.0)),
    "airybi": (mp.airybi, (-8.0, 0.0, 20.0)),
    "Si": (mp.si, (1e-9, 30.0)),
    "Ci": (mp.ci, (1e-9, 30.0)),
    "Shi": (mp.shi, (1e-9, 30.0)),
    "Chi": (mp.chi, (1e-9, 30.0)),
    "fresnels": (mp.fresnels, (1e-3, 5.1)),
    "fresnelc": (mp.fresnelc, (1e-9, 5.1)),
    "riemann_zeta": (mp.zeta, (1.001, 2.0, 20.0, -3.3)),
}


@pytest.mark.parametrize(("name", "x"), [(name, x) for name, (_, points) in HARD.items() for x in points])
def test_accuracy_at_hard_points(name, x):
    true = derivative(HARD[name][0], 0)(x)
    given = float(wg.grad(PRIMITIVES[name])(x))
    assert relative_error(given, true) < 4e-13, (given, true)


# ---- What is no ufunc, and what is written in terms of others ----


def case(f, *args):
    return f, [np.asarray(a, dtype=float)[()] for a in args]


V, M = (1.3, 0.4, 2.2), ((0.3, 1.2, 0.8), (2.0, 0.1, 1.4))
UNIT = (0.3, 0.8, 0.55)
HANKEL = ("hankel1", "hankel2", "hankel1e", "hankel2e")


def both(z):
    """Return a real function of the real and the imaginary part."""
    return np.real(z) - 2 * np.imag(z)


CASES = {
    "logsumexp": [case(lambda x: sc.logsumexp(x), V), case(lambda x: sc.logsumexp(x, axis=1, keepdims=True), M),
                  case(lambda x: sc.logsumexp(x, axis=(0, 1)), M), case(lambda x: sc.logsumexp(x), 1.5),
                  case(lambda x: sc.logsumexp(x, b=np.array([0.5, 0.0, 2.0])), V),
                  case(lambda x, b: sc.logsumexp(x, axis=0, b=b), M, V)],
    "softmax": [case(lambda x: sc.softmax(x), M), case(lambda x: sc.softmax(x, axis=0), M)],
    "log_softmax": [case(lambda x: sc.log_softmax(x, axis=-1), M)],
    **({"softplus": [case(lambda x: sc.softplus(x), M)]} if hasattr(sc, "softplus") else {}),  # not in SciPy 1.13
    "zeta": [case(lambda x: sc.zeta(x), 2.2), case(lambda x, q: sc.zeta(x, q), (2.2, 3.0), 0.7)],
    "riemann_zeta": [case(lambda x: sc.zeta(x), V[:1] + (3.0,))],
    "polygamma": [case(lambda x: sc.polygamma(2, x), V), case(lambda x: sc.polygamma(0, x), V)],
    "multigammaln": [case(lambda a: sc.multigammaln(a, 3), (2.5, 4.0))],
    "comb": [case(lambda n, k: sc.comb(n, k), (5.5, 7.0), 2.2),
             case(lambda n: sc.comb(n, 3, repetition=True), 4.4), case(lambda n: sc.comb(n, 1.5), V)],
    "factorial": [case(lambda n: sc.factorial(n), V)],
    "lambertw": [case(lambda x: np.real(sc.lambertw(x)), V)],
    "lambertw_minus": [case(lambda x: sc.lambertw(x, -1).real, (-0.2, -0.13))],
    "airy": [case(lambda x, k=k: sc.airy(x)[k], V) for k in range(4)],
    "sici": [case(lambda x, k=k: sc.sici(x)[k], V) for k in range(2)],
    "shichi": [case(lambda x, k=k: sc.shichi(x)[k], V) for k in range(2)],
    "fresnel": [case(lambda x, k=k: sc.fresnel(x)[k], V) for k in range(2)],
    "itj0y0": [case(lambda x, k=k: sc.itj0y0(x)[k], V) for k in range(2)],
    "iti0k0": [case(lambda x, k=k: sc.iti0k0(x)[k], V) for k in range(2)],
    "ellipj": [case(lambda u, m, k=k: sc.ellipj(u, m)[k], V, UNIT) for k in range(4)],
    "agm": [case(sc.agm, V, 0.9), case(sc.agm, (-1.3, -0.4), -0.9)],
    "voigt_profile": [case(sc.voigt_profile, V, 0.7, (0.4, 0.5, 1.1)),
                      case(lambda x, g: sc.voigt_profile(x, 0.0, g), V, 0.7)],
    "chdtr": [case(sc.chdtr, 2.5, V)],
    "chdtrc": [case(sc.chdtrc, 2.5, V)],
    "chdtri": [case(sc.chdtri, 2.5, UNIT)],
    "gdtr": [case(sc.gdtr, 1.2, 2.5, V)],
    "gdtrc": [case(sc.gdtrc, 1.2, 2.5, V)],
    "gdtrix": [case(sc.gdtrix, 1.2, 2.5, UNIT)],
    "pdtr": [case(lambda m: sc.pdtr(3.0, m), V)],
    "pdtrc": [case(lambda m: sc.pdtrc(3.0, m), V)],
    "bdtr": [case(lambda p: sc.bdtr(3.0, 7, p), UNIT)],
    "bdtrc": [case(lambda p: sc.bdtrc(3.0, 7, p), UNIT)],
    "nbdtr": [case(lambda p: sc.nbdtr(3, 7, p), UNIT)],
    "nbdtrc": [case(lambda p: sc.nbdtrc(3, 7, p), UNIT)],
    "fdtr": [case(sc.fdtr, 2.5, 3.3, V)],
    "fdtrc": [case(sc.fdtrc, 2.5, 3.3, V)],
    "fdtri": [case(sc.fdtri, 2.5, 3.3, UNIT)],
    "jve": [case(sc.jve, 1.5, V)],
    "yve": [case(sc.yve, 1.5, V)],
    **{name: [case(lambda v, x, name=name: both(getattr(sc, name)(v, x)), 1.5, V)] for name in HANKEL},
    "airye": [case(lambda x, k=k: sc.airye(x)[k], V) for k in range(4)]
             + [case(lambda x, k=k: sc.airye(x)[k], (-1.3, -0.4)) for k in (2, 3)],
    "kelvin": [case(lambda x, k=k: both(sc.kelvin(x)[k]), V) for k in range(4)],
    "wofz": [case(lambda x: both(sc.wofz(x)), V), case(lambda x: both(sc.wofz(x)), (12.0, -15.0, -0.3))],
    "lambertw_branch": [case(lambda x: both(sc.lambertw(x + 0j)), (-3.0, 0.7)),
                        case(lambda x: both(sc.lambertw(x, 2)), V)],
    "eval_sh_legendre": [case(lambda x: sc.eval_sh_legendre(3, x), UNIT)],
    "eval_sh_chebyt": [case(lambda x: sc.eval_sh_chebyt(3, x), UNIT)],
    "eval_sh_chebyu": [case(lambda x: sc.eval_sh_chebyu(3, x), UNIT)],
    "eval_sh_jacobi": [case(lambda x: sc.eval_sh_jacobi(3, 2.5, 1.2, x), UNIT)],
    "eval_chebyc": [case(lambda x: sc.eval_chebyc(3, x), UNIT)],
    "eval_chebys": [case(lambda x: sc.eval_chebys(3, x), UNIT)],
    **{name: [case(lambda v, x, name=name: both(getattr(sc, name)(v, x, 2)), 1.5, V)] for name in ("h1vp", "h2vp")},
    **{name: [case(lambda x, name=name, k=k: getattr(sc, name)(x)[k], (1.3, 0.4, 0.9)) for k in range(count)]
       for name, count in (("it2j0y0", 2), ("it2i0k0", 2))},
    "pdtri": [case(lambda p: sc.pdtri(3.0, p), UNIT)],
    "bdtri": [case(lambda p: sc.bdtri(3.0, 7, p), UNIT)],
    "nbdtri": [case(lambda p: sc.nbdtri(3, 7, p), UNIT)],
    "gdtria": [case(sc.gdtria, UNIT, 2.5, 0.7)],
    "nrdtrimn": [case(sc.nrdtrimn, UNIT, 2.5, 0.7)],
    "nrdtrisd": [case(sc.nrdtrisd, 0.3, (0.2, 0.8, 0.9), 0.7)],
    "perm": [case(sc.perm, (5.5, 7.0), 2.2), case(lambda n: sc.perm(n, 2), V)],
    "diric": [case(lambda x, n=n: sc.diric(x, n), (0.7, 6.3, -2.1)) for n in (1, 4, 5)]
             + [case(lambda x: sc.diric(x, 5), (0.0, 1.0))],
    "jvp": [case(lambda v, x: sc.jvp(v, x, 2), 1.5, V), case(lambda x: sc.jvp(1, x), V)],
    "yvp": [case(lambda v, x: sc.yvp(v, x, 1), 1.5, V)],
    "ivp": [case(lambda v, x: sc.ivp(v, x, 2), 1.5, V)],
    "kvp": [case(lambda v, x: sc.kvp(v, x, 1), 1.5, V)],
    **{f"spherical_{kind}n": [case(lambda x, f=f"spherical_{kind}n": getattr(sc, f)(2, x), V),
                             case(lambda x, f=f"spherical_{kind}n": getattr(sc, f)(0, x), V),
                             case(lambda x, f=f"spherical_{kind}n": getattr(sc, f)([0, 1, 2], x), V),
                             case(lambda x, f=f"spherical_{kind}n": getattr(sc, f)(1, x, derivative=True), V),
                             case(lambda x, f=f"spherical_{kind}n": getattr(sc, f)(2, x), (-1.3, -0.4))]
       for kind in "jyik"},
    "cbrt": [case(sc.cbrt, V)],
    "exp2": [case(sc.exp2, V)],
    "expm1": [case(sc.expm1, V)],
    "log1p": [case(sc.log1p, V)],
    "special_round": [case(lambda x: x * sc.round(x), V)],
    "normal_hazard": [case(rows.normal_hazard, V), case(rows.normal_hazard, (-20.0, -13.7))],
    "gamma_density": [case(rows.gamma_density, 2.2, V)],
    "beta_density": [case(rows.beta_density, 2.2, 1.4, UNIT)],
    "hypergeometric": [case(lambda x: rows.hypergeometric(x, a=0.5, b=1.5, c=2.0), UNIT)],
    "elliptic_integral": [case(lambda p, m: rows.elliptic_integral(p, m, k=1, j=3), V, 0.4)],
    "amplitude": [case(rows.amplitude, V, UNIT)],
    "faddeeva_real": [case(rows.faddeeva_real, V, 0.8)],
    "faddeeva_imag": [case(rows.faddeeva_imag, V, 0.8)],
}  # fmt: skip
LIST = [pytest.param(*c, id=f"{name}-{k}") for name, cases in CASES.items() for k, c in enumerate(cases)]
THROUGH_OTHERS = {"airyai", "airyaiprime", "airybi", "airybiprime", "Si", "Ci", "Shi", "Chi", "fresnels", "fresnelc",
                  "integral_j0", "integral_y0", "integral_i0", "integral_k0",
                  "gammainc_order", "betainc_order", "stdtr_order", "zeta_order", "jv_order", "yv_order", "ive_order",
                  "kve_order", "scaled_airyai", "scaled_airyaiprime", "scaled_airybi", "scaled_airybiprime",
                  "complex_polygamma", "second_j0", "second_y0", "second_i0", "second_k0"}  # fmt: skip
"""Rows that come up in cases of another name, or as the derivatives of ufuncs that the registry walk tests."""


def test_every_function_is_tested():
    mine = {p.name for p in vars(rows).values() if isinstance(p, Primitive) and not isinstance(p.numpy, np.ufunc)}
    names = {name for name in dir(sc) if callable(getattr(sc, name)) and not isinstance(getattr(sc, name), type)}
    written = {name for name in names if not isinstance(CALLS.get(getattr(sc, name), rows.psi), Primitive)}
    missing = (mine | written) - set(CASES) - THROUGH_OTHERS - {"sinc"}
    assert not missing, f"give these functions cases in CASES: {missing}"


@pytest.mark.parametrize(("f", "args"), LIST)
def test_value_and_first_order(f, args):
    expected = f(*args)
    np.testing.assert_allclose(wg.trace(f, tuple(range(len(args))))(*args)(*args), np.real(expected), rtol=2e-13)
    assert_first_order(lambda *xs: np.real(f(*xs)), args)


@pytest.mark.parametrize(("f", "args"), LIST)
def test_second_order(f, args):
    assert_second_order(lambda *xs: 1.0 * np.real(f(*xs)), args, rtol=5e-6)


@pytest.mark.parametrize(("f", "args"), [p for p in LIST if "bdtr" not in p.id])
def test_single_precision(f, args):
    assert_single_precision(f, args)


# ---- Parameters and variable together: mixed second derivatives from one rule ----


@pytest.mark.parametrize(
    ("f", "args"),
    [
        case(sc.betainc, 2.2, (0.7, 3.0, 1.1), 0.4),
        case(sc.gammaincinv, (2.2, 0.7), 0.4),
        case(sc.betaincinv, 2.2, (0.7, 3.0), 0.4),
        case(sc.stdtrit, (2.2, 30.0), 0.7),
        case(sc.jv, (-1.3, 0.0), 2.2),
        case(sc.kv, (-1.3, 2.0), 2.2),
        case(sc.iv, (0.3, 2.0), 5.2),
        case(sc.ellipkinc, (4.0, -1.2), 0.4),
        case(sc.boxcox, (1.7, 0.3), 0.2),
        case(sc.inv_boxcox, (0.7, 0.3), 0.4),
        case(sc.binom, (7.0, 3.3), 1.2),
        case(sc.owens_t, (0.3, -1.2), 0.7),
    ],
)
def test_all_second_derivatives(f, args):
    assert_second_order(lambda *xs: 1.0 * f(*xs), args)


@pytest.mark.parametrize(
    ("f", "true"), [(sc.jv, mp.besselj), (sc.yv, mp.bessely), (sc.iv, mp.besseli), (sc.kv, mp.besselk)]
)
def test_fourth_derivative_of_bessel_functions_in_their_order(f, true):
    fourth = wg.grad(wg.grad(wg.grad(wg.grad(f))))(1.7, 2.2)
    with mp.workdps(40):
        assert relative_error(float(fourth), float(mp.diff(lambda v: true(v, mp.mpf(2.2)), mp.mpf(1.7), 4))) < 1e-11


# ---- Edges: no NaN, no overflow, the stated conventions ----


@pytest.mark.parametrize(
    "f",
    [
        lambda x: sc.polygamma(1, x),
        lambda x: sc.comb(x, 1.5),
        sc.factorial,
        sc.zeta,
        lambda x: sc.lambertw(x).real,
        lambda x: sc.jvp(1, x, 2),
        lambda x: sc.spherical_jn(2, x),
        lambda x: sc.wofz(x).imag,
        lambda x: sc.chdtr(x, [2.0, 1.0]),
        lambda x: sc.ellipj(x, 0.3)[1],
    ],
)
def test_lists_of_traced_values_are_arrays(f):
    x = np.array([1.4, 2.2])
    for mode in ("forward", "reverse"):
        given = wg.jacobian(lambda x: f([x[0], x[1]]), mode=mode)(x)
        np.testing.assert_allclose(given, wg.jacobian(f, mode=mode)(x), rtol=1e-14)


@pytest.mark.parametrize(
    ("f", "x"),
    [
        (lambda x: sc.bdtr(3, 3, x), UNIT),
        (lambda x: sc.bdtrc(3, 3, x), UNIT),
        (lambda x: sc.bdtr(-1, 3, x), UNIT),
        (lambda x: sc.bdtr(0, 3, x), UNIT),
        (lambda x: sc.pdtr(0.7, x), V),
        (lambda x: sc.pdtr(-1, x), V),
        (lambda x: sc.nbdtr(0, 1, x), UNIT),
        (lambda x: sc.nbdtrc(-1, 1, x), UNIT),
        (lambda x: sc.spherical_jn(1, x), (0.0, -0.5)),
        (lambda x: sc.spherical_in(0, x), (0.0, 2.0)),
        (lambda x: sc.agm(x, 0.3), (-1.0, 0.5)),
        (lambda x: sc.gdtr(-1.0, 0.3, x), V),
    ],
)
def test_values_at_edges_are_those_of_scipy(f, x):
    x = np.array(x)
    np.testing.assert_allclose(wg.trace(f)(x)(x), f(x), rtol=1e-13)
    known = np.isfinite(f(x + 1e-6)) & np.isfinite(f(x - 1e-6))
    slope = wg.jvp(f, (x,), (np.ones_like(x),))[1]
    np.testing.assert_allclose(slope[known], ((f(x + 1e-6) - f(x - 1e-6)) / 2e-6)[known], rtol=1e-7, atol=1e-9)


def test_lambert_is_nan_where_its_real_branch_ends():
    assert np.isnan(wg.trace(sc.lambertw)(-0.2)(-0.5))
    np.testing.assert_allclose(wg.trace(lambda x: sc.lambertw(x + 0j))(-0.5)(-0.5), sc.lambertw(-0.5))


def slopes(f, *args):
    with np.errstate(divide="ignore"):
        return tuple(float(g) for g in wg.grad(f, tuple(range(len(args))))(*args))


EDGES = [
    ("xlogy", (0.0, 0.0), (0.0, 0.0)),
    ("xlogy", (0.0, 2.0), (math.log(2.0), 0.0)),
    ("xlogy", (2.0, 4.0), (math.log(4.0), 0.5)),
    ("xlog1py", (0.0, -1.0), (0.0, 0.0)),
    ("entr", (0.0,), (math.inf,)),
    ("kl_div", (0.0, 2.0), (-math.inf, 1.0)),
    ("kl_div", (0.0, 0.0), (0.0, 0.0)),
    ("rel_entr", (0.0, 0.0), (1.0, -1.0)),
    ("powm1", (0.0, 2.0), (0.0, 0.0)),
    ("powm1", (0.0, 0.0), (0.0, 0.0)),
    ("boxcox1p", (-1.0, 1.0), (1.0, 1.0)),
    ("gammaincinv", (2.0, 0.0), (0.0, math.inf)),
    ("betaincinv", (0.5, 2.0, 1.0), (0.0, 0.0, math.inf)),
    ("pseudo_huber", (0.0, -2.0), (2.0, 0.0)),
    ("pseudo_huber", (0.0, 0.0), (0.0, 0.0)),
    ("expit", (800.0,), (0.0,)),
    ("expit", (-800.0,), (0.0,)),
    ("log_expit", (-800.0,), (1.0,)),
    ("log_expit", (800.0,), (0.0,)),
    ("log_ndtr", (-1e8,), (1e8,)),
    ("log_ndtr", (50.0,), (0.0,)),
    ("erfinv", (1.0,), (math.inf,)),
    ("erfinv", (-1.0,), (math.inf,)),
    ("erfcinv", (0.0,), (-math.inf,)),
    ("erfcinv", (2.0,), (-math.inf,)),
    ("ndtri", (0.0,), (math.inf,)),
    ("i0e", (0.0,), (0.0,)),
    ("exprel", (0.0,), (0.5,)),
    ("boxcox", (2.0, 0.0), (0.5, 0.5 * math.log(2.0) ** 2)),
    ("boxcox", (0.0, 2.0), (0.0, 0.25)),
    ("huber", (1.0, 3.0), (2.0, 1.0)),
    ("pseudo_huber", (1.0, 0.0), (0.0, 0.0)),
    ("rgamma", (-2.0,), (2.0,)),
    ("binom", (2.0, 5.0), (2.0 / 60, -2.0 / 60)),
    ("poch", (0.0, 3.0), (2.0, 0.0)),
    ("spence", (1.0,), (-1.0,)),
    ("ellipk", (0.0,), (math.pi / 8,)),
    ("ellipkinc", (0.0, 0.5), (1.0, 0.0)),
    ("gammainc", (2.0, 0.0), (0.0, 0.0)),
    ("gammainc", (1.0, 0.0), (0.0, 1.0)),
    ("betainc", (2.0, 3.0, 0.0), (0.0, 0.0, 0.0)),
    ("betainc", (2.0, 3.0, 1.0), (0.0, 0.0, 0.0)),
    ("jv", (2.0, 0.0), (0.0, 0.0)),
    ("expn", (3, 1.0), None),
    ("normal_hazard", (-1e6,), (-1.0,)),
]


@pytest.mark.parametrize(("name", "point", "expected"), EDGES)
def test_edge(name, point, expected):
    if expected is None:
        given = float(wg.grad(lambda x: PRIMITIVES[name](point[0], x))(point[1]))
        assert given == pytest.approx(-sc.expn(2, 1.0))
    else:
        assert slopes(PRIMITIVES[name], *point) == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_every_stated_kink_is_tested():
    stated = {p.name for p in vars(rows).values() if isinstance(p, Primitive) and p.kink}
    assert stated <= {name for name, *_ in EDGES}


def test_expn_of_order_zero():
    assert float(wg.grad(lambda x: sc.expn(0, x))(2.0)) == pytest.approx(-math.exp(-2.0) * 0.75)


def test_logsumexp_with_infinities():
    inf = math.inf
    np.testing.assert_array_equal(wg.grad(lambda x: sc.logsumexp(x))(np.array([-inf, 0.0, -inf])), [0, 1, 0])
    np.testing.assert_array_equal(wg.grad(lambda x: sc.logsumexp(x))(np.full(3, -inf)), [0, 0, 0])
    np.testing.assert_allclose(wg.grad(lambda x: sc.logsumexp(x))(np.array([1000.0, 1000.0])), [0.5, 0.5])
    np.testing.assert_array_equal(wg.hessian(lambda x: sc.logsumexp(x))(np.array([-inf, 0.0])), np.zeros((2, 2)))
    masked = np.array([5.0, 1000.0])
    np.testing.assert_allclose(wg.grad(lambda x: sc.logsumexp(x, b=np.array([1.0, 0.0])))(masked), [1.0, 0.0])
    np.testing.assert_allclose(wg.jacobian(lambda x: sc.softmax(x))(np.array([1e4, 0.0])), np.zeros((2, 2)))


# ---- What has no rule says so ----


@pytest.mark.parametrize(
    ("f", "says"),
    [
        (lambda x: sc.hyp2f1(x, 1.0, 2.0, 0.3), "scipy.special.hyp2f1 has no rule .* with respect to a"),
        (lambda x: sc.struve(x, 1.0), "scipy.special.struve .* with respect to v"),
        (lambda x: sc.expn(x, 1.0), "scipy.special.expn .* with respect to n"),
        (lambda x: sc.logsumexp(x, return_sign=True), "return_sign= of scipy.special.logsumexp"),
        (wg.grad(wg.grad(wg.grad(lambda v: sc.stdtr(v, 2.0)))), "scipy.special.stdtr has no rule for third"),
        (wg.grad(wg.grad(wg.grad(lambda a: sc.gammainc(a, 2.0)))), "scipy.special.gammainc has no rule for third"),
        (wg.grad(wg.grad(wg.grad(lambda b: sc.betainc(1.5, b, 0.3)))), "scipy.special.betainc has no rule for third"),
        (lambda x: sc.mathieu_a(1, x), r"scipy\.special\.mathieu_a has no rule"),
    ],
)
def test_refuses(f, says):
    with pytest.raises(wg.UnsupportedError if hasattr(wg, "UnsupportedError") else NotImplementedError, match=says):
        wg.grad(f)(2.0)


# ---- Beside other systems ----

PEERS = [
    ("gammaln", (2.3,)), ("digamma", (2.3,)), ("erf", (0.7,)), ("erfinv", (0.7,)), ("expit", (0.7,)),
    ("logit", (0.7,)), ("log_ndtr", (-7.0,)), ("ndtri", (0.7,)), ("entr", (0.7,)), ("xlogy", (0.7, 1.2)),
    ("xlog1py", (0.7, 1.2)), ("betaln", (0.7, 1.2)), ("i0e", (0.7,)), ("i1", (0.7,)), ("exp1", (0.7,)),
    ("gammainc", (2.3, 0.7)), ("betainc", (2.3, 0.7, 0.4)), ("rel_entr", (0.7, 1.2)), ("zeta", (2.3, 1.2)),
]  # fmt: skip
GIVEN = {"betainc": (2,), "zeta": (1,)}
"""Arguments in which JAX has a derivative too, where that is not all of them."""


@pytest.mark.parametrize(("name", "args"), PEERS)
def test_agrees_with_jax(name, args):
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True) if hasattr(jax, "enable_x64") else jax.experimental.enable_x64():
        which = GIVEN.get(name, tuple(range(len(args))))
        theirs = jax.grad(getattr(jax.scipy.special, name), which)(*args)
        ours = wg.grad(getattr(sc, name), which)(*args)
        np.testing.assert_allclose(ours, np.array(theirs), rtol=2e-7 if name in ("gammainc", "betainc") else 1e-11)


WITH_FORMULA = [p for p in PRIMITIVES.values() if "scipy.special" in str(p.source) and p.formula is not None]


@pytest.mark.parametrize("primitive", WITH_FORMULA, ids=lambda p: p.name)
def test_formula_is_that_of_the_function(primitive):
    count = getattr(primitive.numpy, "nin", len(primitive.partials))
    domain = primitive.domain or ((-math.inf, math.inf),) * count
    refused = [hasattr(rule, "refuses") for rule in primitive.partials]
    args = []
    for k, (low, high) in enumerate(domain):
        x = 0.7 if math.isinf(low) else low + 1.3 if math.isinf(high) else low + 0.4 * (high - low)
        args.append(3 - k if k < len(refused) and refused[k] else x)
    formula = getattr(sympy, primitive.formula) if isinstance(primitive.formula, str) else primitive.formula
    exact = [sympy.Float(a, 30) if isinstance(a, float) else sympy.Integer(a) for a in args]
    written = complex(sympy.N(formula(*exact)))
    assert written == pytest.approx(complex(primitive(*args)), rel=1e-10)


# ---- Programs ----


def test_program_prints_as_people_write_and_its_source_runs_alone(tmp_path):
    def f(x):
        return sc.jv(x, 2.0) + sc.logsumexp(np.array([x, 1.0])) + sc.gammainc(x, 1.5) + sc.polygamma(1, x)

    program = wg.trace(f)(1.3)
    assert "= jv(u_0, 2)" in str(program)
    assert "= polygamma(1, u_0)" in str(program)
    slope = wg.trace(wg.grad(f))(1.3)
    assert "= jv_order(u_0, 2, n=1)" in str(slope)
    for written, expected in ((program, f(1.3)), (slope, wg.grad(f)(1.3))):
        path = tmp_path / "alone.py"
        path.write_text(written.source() + f"\n\nprint(repr(float({written.name}(1.3))))\n")
        done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=True)
        assert float(done.stdout) == pytest.approx(float(expected), rel=1e-14)


def test_broadcasting_of_three_operands():
    a, b, x = np.array([[0.7], [2.0]]), np.array([1.2, 0.4, 3.0]), np.float64(0.3)
    ga, gb, gx = wg.grad(lambda a, b, x: np.sum(sc.betainc(a, b, x)), (0, 1, 2))(a, b, x)
    assert (ga.shape, gb.shape, gx.shape) == ((2, 1), (3,), ())
    assert_close(gx, np.sum(parameters.beta_density(a, b, x)), 1e-13)


ELEMENTWISE = [
    p
    for p in PRIMITIVES.values()
    if p.elementwise and "scipy.special" in str(p.source) and not all(hasattr(rule, "refuses") for rule in p.partials)
]


@pytest.mark.parametrize("primitive", ELEMENTWISE, ids=lambda p: p.name)
def test_source_gives_the_same_values_and_slopes(primitive):
    domain = primitive.domain or ((-math.inf, math.inf),) * len(primitive.partials)
    free = [k for k, rule in enumerate(primitive.partials) if not hasattr(rule, "refuses")]
    operands = [3] * len(primitive.partials)  # the order of a polynomial, say
    for k in free:
        low, high = domain[k]
        middle = low + 0.4 * (high - low) if math.isfinite(high - low) else 0.7
        operands[k] = np.float64(low + 1.3 if math.isfinite(low) and math.isinf(high) else middle)
        if math.isinf(low) and math.isfinite(high):
            operands[k] = np.float64(high - 1.3)

    def f(*xs):
        chosen = list(operands)
        for k, x in zip(free, xs, strict=True):
            chosen[k] = x
        y = primitive(*chosen)
        return both(y) if y.dtype.kind == "c" else y

    point = [operands[k] for k in free]
    for program in (
        wg.trace(f, tuple(range(len(free))))(*point),
        wg.trace(wg.grad(f), tuple(range(len(free))))(*point),
    ):
        names = {}
        exec(program.source(), names)
        assert float(names[program.name](*point)) == pytest.approx(float(program(*point)), rel=1e-14)


# ---- Where a rule meets its own zero, or the end of the range ----


def test_second_derivatives_of_binomials_and_rising_powers_where_they_are_zero():
    for n, expected in ((0.0, -1.0), (1.0, 0.0), (2.0, 1.0)):  # n (n - 1) (n - 2) / 6
        assert wg.grad(wg.grad(lambda t: sc.binom(t, 3.0)))(n) == pytest.approx(expected, abs=1e-13)
    for z in (0.0, -1.0, -2.0):  # z (z + 1) (z + 2)
        assert wg.grad(wg.grad(lambda t: sc.poch(t, 3.0)))(z) == pytest.approx(6 * z + 6, abs=1e-12)


def test_slopes_at_the_ends_of_the_range():
    assert wg.grad(sc.i1e)(1e10) == pytest.approx(-1.99471140e-16, rel=1e-8)
    assert wg.grad(sc.i1e)(-1e10) == pytest.approx(-1.99471140e-16, rel=1e-8)
    assert wg.grad(lambda t: sc.agm(t, 1.5))(1e-8) == pytest.approx(576731.4563, rel=1e-8)
    both = wg.jacobian(sc.agm, argnums=(0, 1))(1.5, 1.5)
    assert both == pytest.approx((0.5, 0.5))


def test_other_byte_orders():
    x = np.array([0.5, 1.5, -0.3])
    np.testing.assert_allclose(wg.grad(sc.logsumexp)(x.astype(">f8")), wg.grad(sc.logsumexp)(x), rtol=1e-15)
