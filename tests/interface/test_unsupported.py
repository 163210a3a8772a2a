"""Functions of SciPy without a rule: the error has the name that the user's line calls, and what to write instead."""

from __future__ import annotations

import decimal
import fractions
import functools
import json
import statistics
import struct

import numpy as np
import pytest
import scipy.cluster.vq
import scipy.integrate
import scipy.interpolate
import scipy.linalg
import scipy.ndimage
import scipy.optimize
import scipy.signal
import scipy.sparse.linalg
import scipy.spatial
import scipy.stats

import wengert as wg
from wengert.errors import LostGradientError, UnsupportedError

X = np.linspace(0.2, 0.9, 8) + 0.05 * np.sin(np.arange(8) * 5)
T = np.linspace(0, 1, 8)
A = scipy.sparse.csc_matrix(np.diag(np.arange(1.0, 9.0)) + np.diag(np.ones(7), 1))
FACTORS = scipy.sparse.linalg.splu(A)

SCIPY = tuple(map(int, scipy.__version__.split(".")[:2]))

WITHOUT_RULES = {
    "scipy.optimize.minimize": lambda x: np.sum(scipy.optimize.minimize(lambda z: np.sum((z - 1) ** 2), x).x),
    "scipy.optimize.least_squares": lambda x: np.sum(scipy.optimize.least_squares(lambda z: z - x, np.zeros(8)).x),
    "scipy.optimize.brentq": lambda x: scipy.optimize.brentq(lambda z: z - x[0], -10, 10),
    "scipy.optimize.curve_fit": lambda x: scipy.optimize.curve_fit(lambda t, a: a * t, T, x)[0][0],
    "scipy.optimize.linear_sum_assignment": lambda x: scipy.optimize.linear_sum_assignment(np.outer(x, x))[0][0],
    "scipy.optimize.linprog": lambda x: np.sum(scipy.optimize.linprog(x, bounds=[(0, 1)] * 8).x),
    "scipy.integrate.solve_ivp": lambda x: np.sum(scipy.integrate.solve_ivp(lambda t, y: -y, (0, 1), x).y),
    "scipy.integrate.odeint": lambda x: np.sum(scipy.integrate.odeint(lambda y, t: -y, x, T)),
    "scipy.interpolate.UnivariateSpline": lambda x: scipy.interpolate.UnivariateSpline(T, x)(0.3),
    "scipy.ndimage.grey_erosion": lambda x: np.sum(scipy.ndimage.grey_erosion(x, 3)),
    "scipy.spatial.distance.directed_hausdorff": lambda x: scipy.spatial.distance.directed_hausdorff(
        x[:, None], T[:, None]
    )[0],
    "scipy.interpolate.splrep": lambda x: scipy.interpolate.splrep(T, x)[1][0],
    "scipy.ndimage.fourier_gaussian": lambda x: np.sum(scipy.ndimage.fourier_gaussian(x, 1.0)),
    "scipy.ndimage.generic_filter": lambda x: np.sum(scipy.ndimage.generic_filter(x, np.ptp, 3)),
    "scipy.spatial.KDTree": lambda x: scipy.spatial.KDTree(x[:, None]).query([[0.1]])[0][0],
    "scipy.spatial.ConvexHull": lambda x: scipy.spatial.ConvexHull(np.stack([x, x**2], 1)).volume,
    "scipy.signal.find_peaks": lambda x: np.sum(scipy.signal.find_peaks(x)[0]),
    "scipy.sparse.linalg.eigsh": lambda x: np.sum(scipy.sparse.linalg.eigsh(np.outer(x, x), k=2)[0]),
    "scipy.stats.yeojohnson": lambda x: np.sum(scipy.stats.yeojohnson(x, 0.3)),
    "scipy.linalg.schur": lambda x: np.sum(scipy.linalg.schur(np.outer(x, T))[0]),
    "scipy.linalg.rsf2csf": lambda x: np.sum(scipy.linalg.rsf2csf(np.outer(x, T), np.eye(8))[0]).real,
    "scipy.linalg.hessenberg": lambda x: np.sum(scipy.linalg.hessenberg(np.outer(x, T))),
    "scipy.linalg.ldl": lambda x: np.sum(scipy.linalg.ldl(np.outer(x, x))[1]),
    "scipy.linalg.qz": lambda x: np.sum(scipy.linalg.qz(np.outer(x, T), np.eye(8))[0]),
    "scipy.linalg.funm": lambda x: np.sum(scipy.linalg.funm(np.diag(x), np.sqrt)),
    "scipy.linalg.cossin": lambda x: np.sum(scipy.linalg.cossin(np.diag(x / np.abs(x)), 2, 2)[0]),
    "scipy.cluster.vq.kmeans2": lambda x: np.sum(scipy.cluster.vq.kmeans2(x[:, None], 2, seed=1)[0]),
}


@pytest.mark.parametrize("operator", [wg.grad, wg.trace])
@pytest.mark.parametrize("name", WITHOUT_RULES)
def test_the_function_is_named(name, operator):
    f = WITHOUT_RULES[name]
    with pytest.raises(UnsupportedError) as caught:
        operator(f)(X)
    said = str(caught.value)
    assert said.startswith(f"{name} has no rule on traced values")
    assert __file__ in said  # the user's line, not one of SciPy's
    assert "Traced" not in said.partition("\n")[2]
    assert any(word in said.splitlines()[-1] for word in ("Write", "Take", "traced"))


@pytest.mark.parametrize(
    ("f", "said"),
    [
        (lambda x: np.sum(scipy.sparse.linalg.spilu(A).solve(x)), r"spilu\(A\).solve has no rule"),
        (lambda x: np.sum(FACTORS.solve(x)), r"SuperLU.solve has no rule"),
        (lambda x: np.sum(scipy.spatial.cKDTree(T[:, None]).query(x[:, None])[0]), "query has no rule"),
    ],
)
def test_methods_of_compiled_objects(f, said):
    with pytest.raises(UnsupportedError, match=said):
        wg.grad(f)(X)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: scipy.integrate.simpson(x, x=T),
        lambda x: np.sum(scipy.integrate.cumulative_trapezoid(x, T) ** 2),
        lambda x: scipy.integrate.fixed_quad(lambda s: np.exp(s * x[0]), 0, 1)[0],
        lambda x: scipy.optimize.newton(lambda z: z**3 - x[0], 0.5),
        lambda x: scipy.stats.skew(x) + scipy.stats.kurtosis(x) + scipy.stats.gmean(x),
        pytest.param(
            lambda x: scipy.stats.linregress(T, x)[0],
            marks=pytest.mark.skipif(SCIPY >= (1, 18), reason="it asks for another array namespace there"),
        ),
        lambda x: scipy.spatial.distance.euclidean(x, T),
    ],
)
def test_python_code_of_scipy_is_traced_through(f):
    step = 1e-6
    expected = [(f(X + step * e) - f(X - step * e)) / (2 * step) for e in np.eye(8)]
    np.testing.assert_allclose(wg.grad(f)(X), expected, rtol=1e-5, atol=1e-7)


def test_errors_of_the_users_own_stay_what_they_are():
    def calls_back(x):
        def wrong(z):
            raise KeyError("mine")

        return scipy.optimize.minimize(wrong, np.zeros(2)).fun * x

    with pytest.raises(KeyError, match="mine"):
        wg.grad(calls_back)(1.0)
    with pytest.raises(TypeError, match="unhashable"):
        wg.grad(lambda x: {}[x])(1.0)
    with pytest.raises(TypeError, match="unexpected keyword"):
        wg.grad(lambda x: scipy.integrate.simpson(x, wrong=1))(X)
    with pytest.raises(ValueError, match="length"):
        wg.grad(lambda x: scipy.integrate.simpson(x, x=np.ones(3)))(X)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda x: np.sum(np.ma.array(x, mask=[0, 1])), "np.ma.array(x, mask=[0, 1])"),
        (lambda x: float(decimal.Decimal(x[0])), "decimal.Decimal(x[0])"),
        (lambda x: json.loads(json.dumps(list(x)))[0], "json.dumps(list(x))"),
        (lambda x: {x[0]: 1}[x[0]] * x[0], "{x[0]: 1}"),
    ],
)
def test_what_takes_no_traced_value_is_named_by_its_line(call, says):
    with pytest.raises(LostGradientError, match="does not take a traced value") as caught:
        wg.grad(call)(np.array([0.5, 1.5]))
    assert says in str(caught.value)
    assert "stop_gradient" in str(caught.value)


RNG = np.random.default_rng(0)
BUFFER = np.zeros(3)


def cached(x):
    square = functools.lru_cache(lambda t: t**2)
    return square(x[0])


def written_by_flat(x):
    BUFFER.flat[0] = x[0]
    return BUFFER.sum()


@pytest.mark.parametrize(
    ("f", "line", "instead"),
    [
        (lambda x: RNG.normal(x[0], x[1], size=3).sum(), "RNG.normal(", "loc + scale *"),
        (lambda x: np.random.uniform(x[0], 1.0), "np.random.uniform(", "loc + scale *"),
        (lambda x: RNG.poisson(x[0]) * x[1], "RNG.poisson(", "What RNG.poisson draws does not move"),
        (lambda x: x[RNG.choice(8, p=x / x.sum())], "RNG.choice(", "What RNG.choice draws does not move"),
        (cached, "return square(x[0])", "Leave out the cache"),
        (lambda x: len({x[0], x[1]}) * x[0], "{x[0], x[1]}", "let a key be text"),
        (lambda x: statistics.mean(x), "statistics.mean(x)", "Write np.mean instead of statistics.mean"),
        (lambda x: statistics.stdev(x), "statistics.stdev(x)", "Write np.std with ddof=1"),
        (lambda x: float(fractions.Fraction(x[0])), "fractions.Fraction(x[0])", "Leave it out"),
        (lambda x: sum(v * 1 for v in np.nditer(x)), "np.nditer(x)", "np.ndenumerate(x)"),
        (lambda x: struct.unpack("d", struct.pack("d", x[0]))[0], 'struct.pack("d", x[0])', "Leave it out"),
        (written_by_flat, "BUFFER.flat[0] = x[0]", "Make that array inside the function"),
    ],
)
def test_the_users_line_is_named_with_what_to_write_instead(f, line, instead):
    with pytest.raises(LostGradientError) as caught:
        wg.grad(f)(X)
    message = str(caught.value)
    assert f'File "{__file__}"' in message
    assert line in message
    assert instead in message.splitlines()[-1]
    assert "Traced" not in message


def test_a_fault_in_a_package_is_at_the_users_line_and_at_the_packages():
    names = {}
    exec(compile("def sine(x):\n    return float(x)", "/lib/site-packages/foreign/functions.py", "exec"), names)
    sine = names["sine"]
    with pytest.raises(LostGradientError) as caught:
        wg.grad(lambda x: sine(x[0]))(X)
    _, user, text, _, leads, package, instead = str(caught.value).splitlines()
    assert __file__ in user
    assert "sine(x[0])" in text
    assert leads == "which leads to this line of a package:"
    assert 'functions.py", line 2' in package
    assert "wg.custom_derivative" in instead
    with pytest.raises(LostGradientError, match="site-packages") as caught:
        wg.grad(sine)(0.5)  # no other line but that of the package
    assert "wg.custom_derivative" in str(caught.value)


def test_a_method_of_a_plain_array_takes_traced_bounds():
    x = np.array([0.5, 1.5])
    np.testing.assert_array_equal(wg.grad(lambda x: np.arange(3.0).clip(x[0], x[1]).sum())(x), [1.0, 1.0])


def test_an_equation_that_closes_over_a_traced_value_is_named(capfd):
    with pytest.raises(UnsupportedError, match=r"scipy\.optimize\.fsolve has no rule"):
        wg.jacobian(lambda x: scipy.optimize.fsolve(lambda z: np.array([z[0] ** 2 - x[0]]), [1.0]))(X)
    capfd.readouterr()  # MINPACK prints the traceback


def test_keys_that_are_not_traced_are_errors_of_the_users_own():
    with pytest.raises(TypeError, match="unhashable type: 'list'") as caught:
        wg.grad(lambda x: {[]: 1}[0] * x)(1.0)
    assert type(caught.value) is TypeError


def test_a_wrong_name_is_a_wrong_name():
    with pytest.raises(AttributeError, match="no attribute 'summ'") as caught:
        wg.grad(lambda x: x.summ())(np.ones(2))
    assert type(caught.value) is AttributeError


def test_functions_bound_by_pybind11_say_that_they_take_no_traced_value():
    def bound(x):
        raise TypeError("forward(): incompatible function arguments. The following argument types are supported:")

    with pytest.raises(LostGradientError, match="what is called here does not take a traced value"):
        wg.grad(lambda x: bound(x))(np.ones(2))
