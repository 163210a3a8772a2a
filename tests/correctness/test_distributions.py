"""scipy.stats: values as SciPy's, slopes as differences', in every argument; frozen, under any name, and lazily."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest
import truth
from agreement import assert_close, assert_first_order, assert_second_order
from scipy import stats
from scipy.stats import norm

import wengert as wg
from wengert.primitives.scipy.distributions import DISTRIBUTIONS

SHAPES = {
    "t": (3.5,), "gamma": (2.3,), "chi2": (3.2,), "invgamma": (2.2,), "beta": (2.1, 1.3), "f": (3.1, 4.4),
    "lognorm": (0.7,), "weibull_min": (1.6,), "pareto": (2.5,), "poisson": (2.7,), "binom": (7, 0.3),
    "bernoulli": (0.3,), "geom": (0.3,), "nbinom": (4.5, 0.4),
    "skewnorm": (1.7,), "vonmises": (1.3,), "genextreme": (-0.3,), "genpareto": (0.4,), "truncnorm": (-1.6, 4.2),
    "chi": (2.4,), "invgauss": (1.4,), "nakagami": (1.3,), "gengamma": (1.6, 1.2), "loggamma": (1.5,),
    "exponnorm": (1.2,), "gennorm": (1.7,), "johnsonsu": (0.4, 1.3), "powerlaw": (1.6,), "lomax": (1.9,),
    "fisk": (2.2,), "betaprime": (2.1, 3.3), "betabinom": (7, 1.5, 2.2), "zipf": (2.7,),
}  # fmt: skip
EVERYWHERE = np.array([-2.0, -0.3, 0.0, 0.2, 0.7, 1.0, 1.5, 3.0, 8.0])
QUANTILES = np.linspace(0.1, 0.9, 5)


def methods(name):
    d = DISTRIBUTIONS[name]
    integrals = ("cdf", "logcdf", "sf", "logsf") if d.cdf is not None else ()
    return [*(("pmf", "logpmf") if d.discrete else ("pdf", "logpdf")), *integrals] + [
        m for m in ("ppf", "isf") if m in d.more
    ]


ALL = [pytest.param(name, method, id=f"{name}.{method}") for name in DISTRIBUTIONS for method in methods(name)]


@pytest.mark.parametrize(("name", "method"), ALL)
def test_value_is_that_of_scipy(name, method):
    points = QUANTILES if method in ("ppf", "isf") else EVERYWHERE
    moved = {"loc": 1} if DISTRIBUTIONS[name].discrete else {"loc": 0.3, "scale": 1.7}
    for kwds in ({}, moved):

        def f(x, kwds=kwds):
            return getattr(getattr(stats, name), method)(x, *SHAPES.get(name, ()), **kwds)

        with np.errstate(all="ignore"):
            rtol = 1e-10 if name == "skewnorm" else 1e-12  # SciPy's is a difference, and so is ours
            np.testing.assert_allclose(wg.trace(f)(points)(points), f(points), rtol=rtol, atol=1e-300)


@pytest.mark.parametrize(("name", "method"), ALL)
def test_slopes_in_every_argument(name, method):
    d = DISTRIBUTIONS[name]
    shapes = SHAPES.get(name, ())

    def f(*args):
        x, rest = (
            (args[0], args[1:]) if not d.discrete else (np.array([0.0, 2.0, 5.0]) + (name in ("geom", "zipf")), args)
        )
        if name == "bernoulli":
            x = np.array([0.0, 1.0])
        if name == "binom":
            return getattr(stats.binom, method)(x, 7, *rest)
        if name == "betabinom":
            return getattr(stats.betabinom, method)(x, 7, *rest)
        return getattr(getattr(stats, name), method)(x, *rest)

    if d.discrete:
        if method in ("logcdf", "logsf"):  # log(0) at the end of the support is constant, and differences of it are NaN
            return
        args = [np.float64(shape) for shape in shapes if not isinstance(shape, int)]
    else:
        points = (0.3, 0.8) if method in ("ppf", "isf") or name in ("beta", "uniform", "powerlaw") else (1.4, 2.9)
        loc, scale = (0.1, 1.3) if name in ("beta", "uniform", "powerlaw") else (0.2, 0.9)
        args = [np.array(points), *[np.float64(v) for v in (*shapes, loc, scale)]]
    assert_first_order(f, args)
    assert_second_order(lambda *a: 1.0 * f(*a), args, rtol=5e-6)


def test_outside_of_the_support_nothing_changes():
    with np.errstate(divide="ignore"):
        for f, x, expected in [
            (stats.gamma(2.5).logpdf, -1.0, 0.0),
            (stats.beta(2.0, 3.0).cdf, 1.5, 0.0),
            (stats.uniform.cdf, 2.0, 0.0),
            (stats.expon.pdf, -1.0, 0.0),
            (stats.lognorm(0.7).pdf, 0.0, 0.0),
        ]:
            assert wg.grad(f)(x) == expected
        assert float(wg.grad(lambda mu: stats.poisson.logpmf(2.5, mu))(1.2)) == 0.0


@pytest.mark.parametrize("name", ["genextreme", "genpareto"])
def test_shapes_of_zero_and_of_both_signs(name):
    for c in (-0.4, 0.0, 0.3):
        for method in ("logpdf", "cdf", "sf"):
            f = getattr(getattr(stats, name), method)
            args = [np.array([0.2, 1.1]), np.float64(c)]
            expected = [truth.differences(f, args, k, step=3e-3) for k in range(2)]
            if c:  # at 0 SciPy's own values jump by the rounding of its limit
                for J, J_true in zip(wg.jacobian(f, (0, 1))(*args), expected, strict=True):
                    assert_close(J, J_true, 1e-7)
            assert_close(wg.jacobian(f, 1)(*args), expected[1], 1e-6)


def test_tails_do_not_underflow():
    assert wg.grad(norm.logcdf)(-1e6) == pytest.approx(1e6)
    assert wg.grad(norm.logsf)(40.0) == pytest.approx(-40.025, rel=1e-4)
    assert wg.grad(stats.logistic.logcdf)(-900.0) == 1.0
    assert wg.grad(stats.cauchy.sf)(1e9) == pytest.approx(-1e-18 / math.pi)
    assert wg.grad(stats.laplace.cdf)(800.0) == 0.0


def test_likelihood_in_all_parameters():
    data = np.array([0.3, 1.2, -0.4, 2.2])

    def loss(p):
        return -np.sum(stats.t.logpdf(data, df=np.exp(p[0]), loc=p[1], scale=np.exp(p[2])))

    p = np.array([1.1, 0.4, -0.2])
    assert_first_order(loss, [p])
    assert_second_order(loss, [p])


def test_frozen_with_traced_parameters():
    slope = wg.grad(lambda m: stats.norm(loc=m, scale=2.0).logpdf(1.0))(0.3)
    assert slope == pytest.approx(0.7 / 4)
    assert wg.grad(lambda a: stats.gamma(a, scale=2.0).cdf(0.5))(1.2) < 0


def test_multivariate_normal():
    mean, cov = np.array([0.2, -0.3]), np.array([[2.0, 0.3], [0.3, 1.0]])
    x = np.array([[0.5, 0.1], [1.0, -2.0], [0.0, 0.0]])
    assert_first_order(lambda x, m: stats.multivariate_normal.logpdf(x, m, cov), [x, mean])
    assert_second_order(lambda x, m: stats.multivariate_normal.pdf(x, m, cov), [x, mean])

    def of_factor(L):
        return stats.multivariate_normal.logpdf(x, mean, L @ L.T)

    assert_first_order(of_factor, [np.linalg.cholesky(cov)])
    traced = wg.trace(lambda m: stats.multivariate_normal.logpdf(x, m, cov))(mean)(mean)
    np.testing.assert_allclose(traced, stats.multivariate_normal.logpdf(x, mean, cov), rtol=1e-13)
    gradient = wg.grad(lambda c: stats.multivariate_normal.logpdf(x[0], mean, c))(cov)
    np.testing.assert_array_equal(gradient, gradient.T)


POINTS = np.random.default_rng(5).normal(size=(3, 2))
COVARIANCE = np.array([[2.0, 0.3], [0.3, 1.0]])
NORMALS = [
    (POINTS[0], None, COVARIANCE), (POINTS[0, :1], None, COVARIANCE), (POINTS[0, 0], None, COVARIANCE),
    (POINTS[:1], POINTS[1], COVARIANCE), (POINTS[None], POINTS[1], COVARIANCE), (POINTS[:, 0], 0.1, 2.0),
    (POINTS[:, 0], None, 2.0), (POINTS[:, 0], [0.1], [2.0]), (POINTS[:, :1], 0.1, 2.0), (POINTS[0, 0], 0.1, 2.0),
    (POINTS[0], POINTS[1], 3.0), (POINTS, POINTS[1], [3.0, 2.0]),
]  # fmt: skip


@pytest.mark.parametrize(("x", "mean", "cov"), NORMALS)
def test_the_shapes_that_a_multivariate_normal_takes(x, mean, cov):
    def f(x):
        return stats.multivariate_normal.logpdf(x, mean, cov)

    value = wg.trace(f)(x)(x)
    assert np.shape(value) == np.shape(f(x))
    np.testing.assert_allclose(value, f(x), rtol=1e-13)
    assert_first_order(lambda x: np.sum(f(x)), [x])


def test_singular_multivariate_normal():
    L, mean = np.array([[1.0, 0.3], [0.5, 2.0], [-0.7, 0.4]]), np.array([0.2, -0.3, 1.0])
    z = np.array([[0.5, 0.1], [1.0, -2.0], [0.0, 0.3]])

    def inside(z, L, mean):
        return stats.multivariate_normal.logpdf(mean + z @ L.T, mean, L @ L.T, allow_singular=True)

    def by_area(z, L, mean):
        area = np.linalg.slogdet(L.T @ L)[1]
        return -0.5 * np.sum(z * z, axis=-1) - 0.5 * area - np.log(2 * np.pi) + 0 * np.sum(mean)

    args = (z, L, mean)
    np.testing.assert_allclose(wg.trace(inside, (0, 1, 2))(*args)(*args), inside(*args), rtol=1e-12)
    for mode in ("forward", "reverse"):
        for J, expected in zip(
            wg.jacobian(inside, (0, 1, 2), mode=mode)(*args), wg.jacobian(by_area, (0, 1, 2))(*args), strict=True
        ):
            np.testing.assert_allclose(J, expected, rtol=1e-9, atol=1e-9)
    given = wg.hessian(lambda L: np.sum(inside(z, L, mean)))(L)
    np.testing.assert_allclose(given, wg.hessian(lambda L: np.sum(by_area(z, L, mean)))(L), rtol=1e-7, atol=1e-7)
    full = L @ L.T + np.eye(3)
    assert_first_order(lambda x: stats.multivariate_normal.logpdf(x, mean, full, allow_singular=True), [mean + 0.3])
    beside = wg.value_and_grad(lambda x: stats.multivariate_normal.pdf(x, mean, L @ L.T, allow_singular=True))(mean + 1)
    assert beside[0] == 0
    np.testing.assert_array_equal(beside[1], 0)


def test_what_is_not_in_the_table_says_what_is():
    with pytest.raises(
        NotImplementedError, match=r"scipy\.stats\.crystalball\.pdf has no rule.*\n.*\n.*\n.*\n?.*norm, t"
    ):
        wg.grad(lambda x: stats.crystalball.pdf(x, 2.0, 3.0))(0.3)
    with pytest.raises(NotImplementedError, match=r"scipy\.stats\.pareto\.ppf"):
        wg.grad(lambda x: stats.pareto.ppf(x, 2.0))(0.3)

    class Own(stats.rv_continuous):
        def _pdf(self, x):
            return np.exp(-x)

    with pytest.raises(NotImplementedError, match="has no rule"):
        wg.grad(Own(a=0.0, name="norm").pdf)(0.3)
    with pytest.raises(TypeError, match="takes the arguments df, loc, scale"):
        wg.grad(lambda x: stats.t.pdf(x, 3.0, 0.0, 1.0, 5.0))(0.3)
    with pytest.raises(TypeError, match="needs the argument df"):
        wg.grad(lambda x: stats.t.pdf(x))(0.3)


def test_plain_calls_are_scipys_own_while_another_thread_traces():
    started, done, seen = threading.Event(), threading.Event(), []

    def plain():
        started.wait(10)
        seen.append(norm.logpdf(np.array([0.0, 1.0]), 0.5))
        done.set()

    def f(x):
        started.set()
        done.wait(10)
        assert isinstance(norm.pdf(0.3), np.float64)
        return norm.logpdf(x)

    thread = threading.Thread(target=plain)
    thread.start()
    assert wg.grad(f)(2.0) == -2.0
    thread.join()
    np.testing.assert_allclose(seen[0], norm.logpdf(np.array([0.0, 1.0]), 0.5))
    assert pickle.loads(pickle.dumps(stats.gamma(2.0))).cdf(1.0) == stats.gamma.cdf(1.0, 2.0)


def test_scipy_stats_is_imported_by_users_only():
    code = (
        "import sys, wengert as wg\nassert 'scipy.stats' not in sys.modules\n"
        "assert wg.grad(lambda x: x * x)(3.0) == 6.0\nassert 'scipy.stats' not in sys.modules\n"
        "from scipy.stats import norm\nassert wg.grad(norm.logpdf)(2.0) == -2.0\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    "f",
    [
        lambda m: stats.poisson.logpmf([1, 2, 0], m[0]),
        lambda m: stats.binom.logpmf([1, 2], [5, 6], m[0] / 3),
        lambda m: stats.gamma.logpdf([1.0, 2], m[0], scale=[1.0, 2.0]),
        lambda m: stats.beta.cdf((0.1, 0.2), m[0], m[1], loc=[0.0, 0.1]),
        lambda m: stats.expon.ppf([0.1, 0.5], scale=m),
    ],
)
def test_lists_are_taken_for_arrays(f):
    assert_first_order(f, [np.array([0.8, 1.2])])
