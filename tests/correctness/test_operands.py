"""Operands that have an operation themselves: NumPy leaves it to them, and so does a traced value, on either side."""

from fractions import Fraction

import numpy as np
import pytest
from numpy.polynomial import Polynomial
from truth import differences

import wengert as wg
from wengert.errors import UnsupportedError

X = np.array([0.7, 1.3, 0.4])
DATA = np.array([1.0, 2.0, 3.0])


class Unit:
    """As those of units libraries: it takes no part in ufuncs."""

    __array_ufunc__ = None

    def __rmul__(self, other):
        return Length(other)

    __mul__ = __rmul__


class Length:
    """A number with a unit that takes part in ufuncs."""

    def __init__(self, value):
        self.value = value

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        assert method == "__call__"
        return Length(ufunc(*[getattr(value, "value", value) for value in inputs], **kwargs))

    def __array_function__(self, function, types, args, kwargs):
        return Length(function(*[getattr(value, "value", value) for value in args], **kwargs))

    def __mul__(self, other):
        return np.multiply(self, other)


class Prior:
    __array_priority__ = 10.0

    def __rmul__(self, other):
        return 2.0 * other

    def __rsub__(self, other):
        return other - 5.0


class Number:
    """An object that knows nothing of arrays."""

    def __rmul__(self, other):
        return 2.0 * other

    def __rpow__(self, other):
        return other**3.0


class Stripped(np.ndarray):
    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        return getattr(ufunc, method)(*[i.view(np.ndarray) if isinstance(i, Stripped) else i for i in inputs], **kwargs)


class Strict(np.ndarray):
    """As those of astropy: a subclass that ndarray itself is to compute with."""

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        return super().__array_ufunc__(ufunc, method, *inputs, **kwargs)


CALLS = [
    lambda x: np.sum((x * Unit()).value) + np.sum((Unit() * x).value),
    lambda x: np.sum((x * Length(DATA)).value) + np.sum((Length(DATA) * x).value) + (x[0] * Length(2.0)).value,
    lambda x: np.sum(np.multiply(x, Length(DATA)).value) + np.sum(np.add(Length(DATA), x).value),
    lambda x: np.dot(x, Length(DATA)).value + np.sum((x + Length(x)).value),
    lambda x: np.sum(x * Prior()) + np.sum(x - Prior()),
    lambda x: x[0] * Number() + x[1] ** Number(),
    lambda x: np.sum(x * Fraction(1, 2)) + Fraction(1, 3) * x[0] + x[1] / Fraction(2, 3),
    lambda x: (x[0] * Polynomial([1.0, 2.0]) + x[2])(x[1]) + (Polynomial([1.0, 2.0]) * x[0])(x[1]),
    lambda x: (
        np.sum(x * DATA.view(Stripped)) + np.sum(DATA.view(Stripped) * x) + np.sum(np.add(x, DATA.view(Stripped)))
    ),
]


@pytest.mark.parametrize("f", CALLS)
def test_operands_keep_their_meaning(f):
    value, gradient = wg.value_and_grad(f)(X)
    np.testing.assert_allclose(value, f(X), rtol=1e-14)
    np.testing.assert_allclose(gradient, differences(f, [X], 0, step=1e-3), rtol=1e-7)
    np.testing.assert_allclose(wg.jit(wg.grad(f))(X), gradient, rtol=1e-12)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.sum(x * DATA.view(Strict)),
        lambda x: np.sum(DATA.view(Strict) * x),
        lambda x: np.sum(np.add(DATA.view(Strict), x)),
        lambda x: np.sum(np.add(x, DATA.view(Strict))),
    ],
)
def test_a_subclass_that_takes_no_traced_value_is_named(f):
    with pytest.raises(UnsupportedError, match=r"a .*Strict meets a traced value"):
        wg.grad(f)(X)

    def catches(x):
        try:
            return f(x)
        except (TypeError, NotImplementedError):
            return np.sum(x)

    with pytest.raises(UnsupportedError, match=r"a .*Strict meets a traced value"):
        wg.grad(catches)(X)
