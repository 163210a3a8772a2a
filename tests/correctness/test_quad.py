"""``scipy.integrate.quad``, ``dblquad`` and ``nquad`` of functions with traced arguments, bounds and closures."""

import math

import numpy as np
import pytest
from scipy.integrate import dblquad, nquad, quad
from truth import differences

import wengert as wg
from wengert.errors import UnsupportedError
from wengert.primitives.scipy.integrate import GAUSS, NODES, WEIGHTS

INTEGRALS = {
    "argument": (lambda x: quad(lambda t, a: np.exp(-a * t), 0, 1, args=(x[0],))[0], [1.3]),
    "argument without a tuple": (lambda x: quad(lambda t, a: a * t**2, 0, 1, x[0])[0], [1.3]),
    "closure and bound": (lambda x: quad(lambda t: np.exp(-x[0] * t) * np.cos(5 * t), 0, x[1])[0], [1.3, 2.0]),
    "lower bound": (lambda x: quad(lambda t: math.exp(-x[0] * t), x[1], 2.0)[0], [1.3, 0.5]),
    "bounds in reverse": (lambda x: quad(lambda t: np.exp(-x[0] * t), x[1], 0.0)[0], [1.3, 2.0]),
    "all numbers": (lambda x: quad(lambda t: np.exp(-x[0] * t**2), -np.inf, np.inf)[0], [1.3]),
    "to infinity": (lambda x: quad(lambda t: np.exp(-x[0] * t), x[1], np.inf)[0], [1.3, 0.3]),
    "from infinity": (lambda x: quad(lambda t: np.exp(x[0] * t), -np.inf, x[1])[0], [1.3, 0.3]),
    "peak": (lambda x: quad(lambda t: 1 / (x[0] + (t - 0.3) ** 2), 0, 1)[0], [0.1]),
    "no length": (lambda x: quad(np.exp, x[0], x[0])[0] + quad(np.exp, 0, x[0], full_output=1)[0], [1.3]),
    "two variables": (lambda x: dblquad(lambda t, s: x[0] * s * t**2, 0, 1, 0, x[1])[0], [1.3, 0.7]),
    "ranges": (lambda x: nquad(lambda s, t: np.exp(x[0] * s * t), [[0, x[1]], [0, 1]])[0], [0.3, 0.7]),
    "constant": (lambda x: x[0] * quad(np.cos, 0, 1)[0], [1.3]),
}


@pytest.mark.parametrize("name", INTEGRALS)
def test_integrals(name):
    f, point = INTEGRALS[name]
    x = np.array(point)
    value, gradient = wg.value_and_grad(f)(x)
    assert value == f(x)
    np.testing.assert_allclose(gradient, differences(f, [x], 0, step=1e-3), rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(wg.hessian(f)(x), differences(wg.grad(f), [x], 0, step=1e-3), rtol=1e-7, atol=1e-8)
    near = 1.01 * x
    np.testing.assert_allclose(wg.jit(wg.grad(f))(x), gradient, rtol=1e-12)
    np.testing.assert_allclose(wg.vmap(wg.grad(f))(np.stack([x, near])), [gradient, wg.grad(f)(near)], rtol=1e-9)
    np.testing.assert_allclose(wg.trace(f)(x)(near), f(near), rtol=1e-9)


def test_the_sums_are_those_of_gauss_and_kronrod():
    for k in range(0, 32, 2):
        np.testing.assert_allclose(WEIGHTS @ NODES**k, 2 / (k + 1), rtol=1e-13)
    for k in range(0, 20, 2):
        np.testing.assert_allclose(GAUSS @ NODES**k, 2 / (k + 1), rtol=1e-13)


def test_jitted_integrals_are_integrated_anew_where_the_intervals_no_longer_do():
    f = INTEGRALS["peak"][0]
    jitted = wg.jit(wg.grad(f))
    for width in (1.0, 0.01, 1e-4, 1e-6):
        x = np.array([width])
        np.testing.assert_allclose(jitted(x), wg.grad(f)(x), rtol=1e-6)


@pytest.mark.parametrize(
    ("f", "words"),
    [
        (lambda a: quad(lambda t: a / np.sqrt(t), 0, 1)[0], "singular"),
        (lambda a: quad(lambda t: a * t, 0, 1, points=[0.5])[0], "points="),
        (lambda a: quad(lambda t: a * t, 0, 1, weight="cos", wvar=2.0)[0], "weight="),
    ],
)
def test_what_has_no_accurate_sum_says_so(f, words):
    with pytest.raises(UnsupportedError, match=words):
        wg.grad(f)(1.3)
