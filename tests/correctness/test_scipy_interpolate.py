"""``scipy.interpolate``: every class by values, by points and by positions, against differences of SciPy's own."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.interpolate as si
import truth
from agreement import assert_caught, assert_close
from scipy.sparse.linalg import spsolve

import wengert as wg
from wengert.errors import UnsupportedError
from wengert.primitives.scipy import interpolate

pytestmark = pytest.mark.filterwarnings("ignore::wengert.errors.DecisionWarning")  # the nearest values are decisions

rng = np.random.default_rng(0)
X = np.array([0.0, 0.7, 1.5, 2.6, 3.1, 4.4, 5.0])
Y, TWO = rng.normal(size=7), rng.normal(size=(7, 2))
AT, TABLE = np.array([0.1, 0.9, 2.0, 4.9, 3.4]), np.array([[0.1, 0.9], [2.0, 4.9]])
KNOTS = np.array([0, 0, 0, 0, 1.2, 2.5, 3.3, 5, 5, 5, 5.0])
FITTED = si.splrep(X, Y)
CLOSED = np.concatenate([Y[:-1], Y[:1]])
GRID = (np.linspace(0, 1, 7), np.array([0, 0.3, 0.5, 0.8, 1.1, 1.3, 1.7]))
VALUES, PLACES = rng.normal(size=(7, 7)), np.array([[0.13, 0.22], [0.61, 1.04], [0.95, 1.6]])


def closed(z):
    return np.concatenate([z, z[:1]])


CASES = {}
for bc in ("not-a-knot", "natural", "clamped", ((1, 0.3), (2, -0.4))):
    CASES |= {
        f"CubicSpline {bc}, values": (lambda y, bc=bc: si.CubicSpline(X, y, bc_type=bc)(AT), [Y]),
        f"CubicSpline {bc}, points": (lambda x, bc=bc: si.CubicSpline(x, Y, bc_type=bc)(AT), [X]),
        f"CubicSpline {bc}, positions": (si.CubicSpline(X, TWO, bc_type=((1, [0.3, 0.1]), "natural")), [TABLE]),
    }
for n in (2, 3, 4):
    CASES |= {
        f"CubicSpline of {n}": (lambda y, n=n: si.CubicSpline(X[:n], y)(AT[:2]), [Y[:n]]),
        f"PchipInterpolator of {n}": (lambda y, n=n: si.PchipInterpolator(X[:n], y)(AT[:2]), [Y[:n]]),
        f"Akima1DInterpolator of {n}": (lambda y, n=n: si.Akima1DInterpolator(X[:n], y)(0.3), [Y[:n]]),
    }
for method in ("akima", "makima"):
    CASES |= {
        f"Akima1DInterpolator {method}": (
            lambda y, a, method=method: si.Akima1DInterpolator(X, y, method=method)(a),
            [Y, AT],
        ),
        f"Akima1DInterpolator {method}, points": (
            lambda x, method=method: si.Akima1DInterpolator(x, TWO, method=method)(AT),
            [X],
        ),
    }
for k in (0, 1, 2, 3, 5):
    CASES[f"make_interp_spline {k}"] = (lambda y, a, k=k: si.make_interp_spline(X, y, k=k)(a) + 0 * a, [Y, AT])
    if k:
        CASES[f"make_interp_spline {k}, points"] = (lambda x, k=k: si.make_interp_spline(x, TWO, k=k)(AT), [X])
for kind in ("linear", "zero", "slinear", "quadratic", "cubic", "nearest", "previous", "next", "nearest-up"):
    CASES |= {
        f"interp1d {kind}": (lambda y, a, kind=kind: si.interp1d(X, y, kind=kind)(a), [Y, AT]),
        f"interp1d {kind}, positions": (si.interp1d(X, TWO, kind=kind, axis=0), [TABLE]),
        f"interp1d {kind}, filled": (
            lambda y, a, kind=kind: si.interp1d(X, y, kind=kind, axis=0, bounds_error=False, fill_value=7.0)(a + 0.93),
            [TWO, AT],
        ),
    }
for method in ("linear", "nearest", "slinear", "cubic", "quintic", "pchip"):
    exact = {"solver": spsolve} if method in ("slinear", "cubic", "quintic") else {}
    CASES |= {
        f"RegularGridInterpolator {method}": (
            lambda v, p, method=method, exact=exact: si.RegularGridInterpolator(GRID, v, method=method, **exact)(p),
            [VALUES, PLACES],
        ),
        f"RegularGridInterpolator {method}, positions": (
            si.RegularGridInterpolator(GRID, VALUES, method=method, **exact),
            [PLACES],
        ),
        f"RegularGridInterpolator {method}, pairs": (
            lambda v, method=method, exact=exact: si.RegularGridInterpolator(GRID, v, method=method, **exact)(PLACES),
            [np.stack([VALUES, VALUES.T], axis=-1)],
        ),
    }
CASES |= {
    "CubicSpline periodic": (lambda z: si.CubicSpline(X, closed(z), bc_type="periodic")(AT + 4.0), [Y[:-1]]),
    "CubicSpline periodic, points": (lambda x: si.CubicSpline(x, CLOSED, bc_type="periodic")(AT + 0.05), [X]),
    "CubicSpline periodic of 3": (lambda z: si.CubicSpline(X[:3], closed(z), bc_type="periodic")(AT[:2]), [Y[:2]]),
    "CubicSpline, rows": (lambda y: si.CubicSpline(X, y.T, axis=1)(TABLE), [TWO]),
    "CubicSpline, derivatives": (lambda y, a: si.CubicSpline(X, y)(a, 1) + si.CubicSpline(X, y)(a, nu=2), [Y, AT]),
    "CubicSpline.derivative": (lambda y, a: si.CubicSpline(X, y).derivative()(a), [Y, AT]),
    "CubicSpline.antiderivative": (lambda y, a: si.CubicSpline(X, y).antiderivative(2)(a), [Y, AT]),
    "CubicSpline.integrate": (lambda y, a: si.CubicSpline(X, y).integrate(a[0], a[1]), [Y, AT]),
    "CubicSpline.integrate, bounds": (lambda a: si.CubicSpline(X, TWO).integrate(a[0], a[1]), [AT]),
    "CubicSpline.integrate, periods": (
        lambda z, a: si.CubicSpline(X, closed(z), bc_type="periodic").integrate(a[0], a[1] + 9.3),
        [Y[:-1], AT],
    ),
    "CubicSpline.c": (lambda y: si.CubicSpline(X, y).c, [Y]),
    "CubicSpline, beyond": (lambda y, a: si.CubicSpline(X, y, extrapolate=True)(a + 3.0), [Y, AT]),
    "CubicSpline, a number": (lambda y, a: si.CubicSpline(X, y)(a[0]), [Y, AT]),
    "CubicHermiteSpline": (lambda y, d, a: si.CubicHermiteSpline(X, y, d)(a), [Y, np.cos(Y), AT]),
    "PchipInterpolator": (lambda y, a: si.PchipInterpolator(X, y)(a), [Y, AT]),
    "PchipInterpolator, points": (lambda x: si.PchipInterpolator(x, TWO)(AT), [X]),
    "PPoly": (lambda c, a: si.PPoly(c, X)(a), [rng.normal(size=(3, 6)), AT]),
    "PPoly, downwards": (lambda c, a: si.PPoly(c, X[::-1])(a), [rng.normal(size=(3, 6)), AT]),
    "make_interp_spline natural": (lambda y: si.make_interp_spline(X, y, bc_type="natural")(AT), [Y]),
    "make_interp_spline natural, points": (lambda x: si.make_interp_spline(x, Y, bc_type="natural")(AT), [X]),
    "make_interp_spline with slopes": (
        lambda y: si.make_interp_spline(X, y, bc_type=([(1, 0.3)], [(2, 0.1)]))(AT),
        [Y],
    ),
    "make_interp_spline periodic": (lambda z: si.make_interp_spline(X, closed(z), bc_type="periodic")(AT), [Y[:-1]]),
    "make_interp_spline periodic, points": (lambda x: si.make_interp_spline(x, CLOSED, bc_type="periodic")(AT), [X]),
    "make_interp_spline periodic, even": (
        lambda z: si.make_interp_spline(X, closed(z), k=2, bc_type="periodic")(AT),
        [Y[:-1]],
    ),
    "BSpline": (lambda c, a: si.BSpline(KNOTS, c, 3)(a), [Y, AT]),
    "BSpline, knots": (lambda s: si.BSpline(np.concatenate([KNOTS[:4], s, KNOTS[-4:]]), Y, 3)(AT), [KNOTS[4:7]]),
    "BSpline, rows": (lambda c: si.BSpline(KNOTS, c.T, 3, axis=1)(TABLE), [TWO]),
    "BSpline, inside alone": (lambda c: si.BSpline(KNOTS, c, 3, extrapolate=False)(AT), [Y]),
    "BSpline, second derivative": (lambda c, a: si.BSpline(KNOTS, c, 3)(a, 2), [Y, AT]),
    "BSpline.derivative": (lambda c, a: si.BSpline(KNOTS, c, 3).derivative()(a), [Y, AT]),
    "BSpline.antiderivative": (lambda c, a: si.BSpline(KNOTS, c, 3).antiderivative()(a), [Y, AT]),
    "BSpline.integrate": (lambda c, a: si.BSpline(KNOTS, c, 3).integrate(a[0], a[3]), [Y, AT]),
    "splev": (lambda c, a: si.splev(a, (KNOTS, c, 3)) + si.splev(a, (KNOTS, c, 3), der=1), [Y, AT]),
    "splev, positions": (lambda a: si.splev(a, FITTED), [AT]),
    "interp1d, beyond": (lambda y, a: si.interp1d(X, y, fill_value="extrapolate")(a + 2.03), [Y, AT]),
    "interp1d, points": (lambda x: si.interp1d(x, Y)(AT), [X]),
    "RegularGridInterpolator, beyond": (
        lambda v, p: si.RegularGridInterpolator(GRID, v, bounds_error=False, fill_value=None)(p + 0.21),
        [VALUES, PLACES],
    ),
    "RegularGridInterpolator, filled": (
        lambda v, p: si.RegularGridInterpolator(GRID, v, bounds_error=False, fill_value=0.0)(p + 0.21),
        [VALUES, PLACES],
    ),
    "RegularGridInterpolator, downwards": (
        lambda v: si.RegularGridInterpolator((GRID[0][::-1], GRID[1]), v)(PLACES),
        [VALUES],
    ),
    "RegularGridInterpolator, three dimensions": (
        lambda v: si.RegularGridInterpolator((X[:4], X[:4], X[:4]), v, method="pchip")(
            [[0.3, 0.4, 0.5], [1, 2.2, 1.3]]
        ),
        [rng.normal(size=(4, 4, 4))],
    ),
    "interpn": (lambda v, p: si.interpn(GRID, v, p), [VALUES, PLACES]),
    "interpn, columns": (lambda v, p: si.interpn(GRID, v, (p[:, 0], p[:, 1]), method="pchip"), [VALUES, PLACES]),
}


@pytest.mark.parametrize("case", CASES)
def test_values_and_derivatives(case):
    assert_caught(*CASES[case])


def test_every_function_has_a_case():
    classes = {name.split(".")[0] for name in interpolate.METHODS if not name.startswith("_")}
    assert {case.replace(",", "").replace(".", " ").split()[0] for case in CASES} >= classes


def test_splines_of_traced_values_are_scipys_own():
    def f(y):
        spline = si.CubicSpline(X, y)
        assert isinstance(spline, si.CubicSpline)
        assert isinstance(spline, si.PPoly)
        np.testing.assert_array_equal(spline.x, X)
        assert spline.c.shape == (4, 6)
        return np.sum(spline(AT) ** 2) + np.sum(spline.derivative()(AT) ** 2)

    assert_close(wg.grad(f)(Y), truth.differences(f, [Y], 0, step=1e-3), 1e-9)
    assert isinstance(si.CubicSpline(X, Y).c, np.ndarray)


def test_batches_programs_and_source():
    def f(y):
        return np.sum(si.CubicSpline(X, y)(y[:3] ** 2) ** 2)

    many = np.stack([Y, 0.5 * Y])
    np.testing.assert_allclose(wg.vmap(f)(many), [f(y) for y in many])
    np.testing.assert_allclose(wg.vmap(wg.grad(f))(many), [wg.grad(f)(y) for y in many])
    program = wg.trace(f)(Y)
    np.testing.assert_allclose(program(0.9 * Y), f(0.9 * Y))  # other intervals, perhaps
    np.testing.assert_allclose(wg.grad(program)(0.9 * Y), wg.grad(f)(0.9 * Y))
    assert wg.check_derivatives(f)(Y)
    namespace = {}
    exec(program.source(), namespace)
    assert np.isclose(namespace["f"](Y), f(Y))


def test_at_a_knot_the_slope_is_that_of_the_interval_to_the_right():
    line = si.interp1d(X, Y)
    np.testing.assert_allclose(wg.grad(lambda a: si.PPoly([np.diff(Y) / np.diff(X), Y[:-1]], X)(a))(X[2]),
                               (Y[3] - Y[2]) / (X[3] - X[2]))  # fmt: skip
    np.testing.assert_allclose(wg.grad(lambda a: line(a))(X[2]), (Y[2] - Y[1]) / (X[2] - X[1]))  # but interp1d: left


@pytest.mark.parametrize(
    ("f", "error", "words"),
    [
        (lambda y: si.CubicSpline(X[::-1], y), ValueError, "strictly increasing"),
        (lambda y: si.CubicSpline(X[:3], y), ValueError, "doesn't match"),
        (lambda y: si.CubicSpline(X, y, bc_type="periodic"), ValueError, "must be identical"),
        (lambda y: si.interp1d(X, y)(np.array([7.0])), ValueError, "above"),
        (lambda y: si.RegularGridInterpolator((X,), y)([[7.0]]), ValueError, "out of bounds"),
        (lambda y: si.CubicSpline(X, y).roots(), UnsupportedError, "roots|PPoly"),
        (lambda y: si.UnivariateSpline(X, y), UnsupportedError, "UnivariateSpline"),
    ],
)
def test_what_cannot_be_interpolated_raises(f, error, words):
    with pytest.raises(error, match=words):
        wg.grad(lambda y: np.sum(f(y)))(Y)
