"""Functions that Numba has compiled run as Python where an argument is traced; a class stands in for Numba's."""

import sys
import types

import numpy as np
import pytest

import wengert as wg

X = np.array([0.7, 1.3, 0.4])


class Dispatcher:
    """As Numba's: compiled code that takes nothing but floats and arrays."""

    def __init__(self, py_func):
        self.py_func = py_func

    def __call__(self, *args):
        for value in args:
            if type(value) not in (float, np.float64, np.ndarray):
                raise TypeError("can't unbox array from PyObject into native value")
        return self.py_func(*args)


@Dispatcher
def total(a):
    s = 0.0
    for k in range(a.shape[0]):
        s += square(a[k])
    return s


@Dispatcher
def square(v):
    return v * v


@Dispatcher
def fill(a):
    for k in range(a.shape[0]):
        a[k] = k


def filled(x):
    a = np.zeros(3)
    fill(a)
    return np.sum(a * x**2)


@pytest.fixture(autouse=True)
def numba(monkeypatch):
    module = types.ModuleType("numba.core.dispatcher")
    module.Dispatcher = Dispatcher
    monkeypatch.setitem(sys.modules, "numba.core.dispatcher", module)


FUNCTIONS = [
    lambda x: total(x) * x[0],
    lambda x: square(x[0]) * total(np.ones(3)),
    lambda x: total(X) * x[1] ** 2,
    filled,
]


@pytest.mark.parametrize("f", FUNCTIONS)
def test_derivatives_of_jitted_functions(f):
    before = dict(vars(Dispatcher))
    value, gradient = wg.value_and_grad(f)(X)
    np.testing.assert_allclose(value, f(X))
    expected = [(f(X + 1e-6 * unit) - f(X - 1e-6 * unit)) / 2e-6 for unit in np.eye(3)]
    np.testing.assert_allclose(gradient, expected, rtol=1e-7)
    np.testing.assert_allclose(wg.jit(wg.grad(f))(X), gradient, rtol=1e-12)
    assert vars(Dispatcher) == before


def test_its_class_is_as_it_was_where_the_function_fails():
    before = dict(vars(Dispatcher))

    def f(x):
        raise KeyError(total(x))

    for _ in range(2):
        with pytest.raises(KeyError):
            wg.grad(f)(X)
    assert vars(Dispatcher) == before
