"""Running products and extrema: right at zeros and ties, along every axis, to second order, at any length."""

from __future__ import annotations

import numpy as np
import pytest
import truth

import wengert as wg

RNG = np.random.default_rng(5)
FUNCTIONS = {
    "cumprod": lambda x, axis: np.cumprod(x, axis=axis),
    "multiply.accumulate": lambda x, axis: np.multiply.accumulate(x, axis),
    "prod": lambda x, axis: np.prod(x, axis=axis),
    "maximum.accumulate": lambda x, axis: np.maximum.accumulate(x, axis),
    "minimum.accumulate": lambda x, axis: np.minimum.accumulate(x, axis=axis),
}
SHAPES = [((12,), 0), ((3,), 0), ((3, 11), 1), ((11, 3), 0), ((2, 10, 3), 1), ((2, 0), 1)]


def point(name, shape):
    """Return an array with zeros where products are, without ties where extrema are."""
    if "imum" in name:
        return 0.3 * RNG.permutation(np.arange(1.0, np.prod(shape) + 1.0)).reshape(shape)
    x = RNG.normal(size=shape)
    if x.size > 9:
        x.flat[[4, 7, 9]] = 0.0
    return x


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_running_functions_to_second_order(name, shape, axis):
    def f(x):
        return FUNCTIONS[name](x, axis)

    x = point(name, shape)
    weights = RNG.normal(size=np.shape(f(x)))

    def total(x):
        return np.sum(weights * f(x) ** 2)

    jacobian = wg.jacobian(f, mode="reverse")(x)
    np.testing.assert_allclose(jacobian, truth.differences(f, [x], 0), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(wg.jacobian(f, mode="forward")(x), jacobian, rtol=1e-12, atol=1e-14)
    hessian = wg.hessian(total)(x)
    np.testing.assert_allclose(hessian, truth.differences(wg.grad(total), [x], 0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(wg.jit(wg.grad(total))(x), wg.grad(total)(x), rtol=1e-12, atol=1e-14)
    if x.size:
        np.testing.assert_allclose(wg.jacobian(f, mode="elimination")(x), jacobian, rtol=1e-12, atol=1e-14)
        both = np.stack([x, x + 0.1])
        expected = [wg.grad(total)(member) for member in both]
        np.testing.assert_allclose(wg.vmap(wg.grad(total))(both), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_programs_hold_for_other_arguments(name):
    def total(x):
        return np.sum(FUNCTIONS[name](x, -1) ** 2)

    x, other = point(name, (2, 12)), point(name, (2, 12))
    program = wg.trace(wg.grad(total))(x)
    np.testing.assert_allclose(program(other), wg.grad(total)(other), rtol=1e-12, atol=1e-14)
    scope = {}
    exec(program.source(), scope)
    np.testing.assert_allclose(scope[program.name](other), wg.grad(total)(other), rtol=1e-12, atol=1e-14)


def test_ties_share_equally():
    x = np.array([1.0, 1.0, 0.0, 1.0, 2.0, 2.0])
    expected = [
        [1, 0, 0, 0, 0, 0],
        [1 / 2, 1 / 2, 0, 0, 0, 0],
        [1 / 2, 1 / 2, 0, 0, 0, 0],
        [1 / 3, 1 / 3, 0, 1 / 3, 0, 0],
        [0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 1 / 2, 1 / 2],
    ]
    for mode in ("forward", "reverse"):
        np.testing.assert_allclose(wg.jacobian(np.maximum.accumulate, mode=mode)(x), expected)
        np.testing.assert_allclose(wg.jacobian(np.minimum.accumulate, mode=mode)(-x), expected)
    for k in range(1, 7):  # the last of them is the maximum of all
        np.testing.assert_allclose(wg.grad(lambda x: np.maximum.accumulate(x)[-1])(x[:k]), wg.grad(np.max)(x[:k]))


def test_complex_products():
    z = RNG.normal(size=10) + 1j * RNG.normal(size=10)
    w = RNG.normal(size=10)
    for f in (np.cumprod, lambda z: np.prod(z) * w):
        jacobian = wg.jacobian(lambda t, f=f: np.real(f(z + t * w)))(0.0)
        step = 1e-6
        np.testing.assert_allclose(jacobian, (f(z + step * w) - f(z - step * w)).real / (2 * step), rtol=1e-6)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_is_infinite_stays_in_its_own_row():
    x = np.vstack([np.full(12, 1e200), np.linspace(0.5, 1.5, 12)])
    gradient = wg.grad(lambda x: np.sum(np.cumprod(x, axis=1)[1]))(x)
    np.testing.assert_array_equal(gradient[0], 0.0)
    np.testing.assert_allclose(gradient[1], wg.grad(lambda x: np.sum(np.cumprod(x)))(x[1]))
    tangent = wg.jvp(lambda x: np.cumprod(x, axis=1), (x,), (np.ones(x.shape),))[1]
    np.testing.assert_allclose(tangent[1], wg.jvp(np.cumprod, (x[1],), (np.ones(12),))[1])


def test_a_nan_that_comes_later_reaches_no_gradient():
    x = np.arange(12.0)
    x[6] = np.nan
    for f in (np.maximum.accumulate, np.cumprod):
        gradient = wg.grad(lambda x, f=f: np.sum(f(x + 1.0)[:6]))(x)
        np.testing.assert_array_equal(gradient[6:], 0.0)
        np.testing.assert_allclose(gradient[:6], wg.grad(lambda x, f=f: np.sum(f(x + 1.0)))(x[:6]))


def test_the_rows_do_not_grow_with_the_length():
    for f in (np.cumprod, np.prod, np.maximum.accumulate):
        lines = {len(wg.trace(f)(RNG.normal(size=n)).lines) for n in (20, 2000)}
        assert len(lines) == 1
