"""Arrays that the function makes and hands to compiled code, which wants real ones; objects that stand for arrays."""

import numpy as np
import pytest
from truth import differences

import wengert as wg

X = np.array([0.7, 1.3, 0.4])


class Holder:
    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


def drawn_into(x):
    noise = np.empty(3)
    np.random.default_rng(0).random(out=noise)
    return np.sum(noise * x**2)


def drawn_and_written(x):
    noise = np.empty(3)
    np.random.default_rng(0).standard_normal(out=noise)
    noise[0] = x[1] ** 2
    return np.sum(noise * x)


def correlated(x):
    return np.random.default_rng(0).multivariate_normal(np.zeros(2), np.eye(2)).sum() * x[0] ** 2


def held(x):
    return np.sum(np.array(Holder(np.ones(3))) * x**2) + np.asarray(Holder(x))[0] * x[1]


def sine_of_held(x):
    return np.sum(np.sin(Holder(np.ones(3))) * x**2)


def bytes_of_a_constant(x):
    return len(np.zeros(3).tobytes()) * x[0]


def made_by_a_helper(x):
    noise = empty()
    np.random.default_rng(0).random(out=noise)
    return np.sum(noise * x**2)


def empty():
    return np.empty(3)


FUNCTIONS = [drawn_into, drawn_and_written, correlated, held, sine_of_held, bytes_of_a_constant, made_by_a_helper]


@pytest.mark.parametrize("f", FUNCTIONS)
def test_compiled_code_takes_arrays_that_the_function_has_made(f):
    value, gradient = wg.value_and_grad(f)(X)
    np.testing.assert_allclose(value, f(X))
    np.testing.assert_allclose(gradient, differences(f, [X], 0, step=1e-3), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(wg.hessian(f)(X), wg.hessian(f)(X).T)
    np.testing.assert_allclose(wg.trace(f)(X)(X), f(X))


def test_an_error_that_is_not_about_memory_is_the_first_one():
    runs = []

    def f(x):
        runs.append(len(runs))
        weights = np.ones(3)
        if runs[-1]:
            raise KeyError("the second run")
        return np.sum(x @ np.ones((len(weights) + 1, 2)))

    with pytest.raises(ValueError, match="matmul"):
        wg.grad(f)(X)
