"""The elements one after the other, ``x.flat``, and what else arrays have that few programs use."""

import numpy as np
import pytest

import wengert as wg
from wengert.errors import LostGradientError

X = np.array([[0.7, 1.3], [0.4, 2.1]])


def assigned(x):
    a = np.zeros((2, 2))
    a.flat = x[0]
    a.flat[1] = x[1, 0]
    a.flat[2:] = [x[0, 0], x[1, 1]]
    return np.sum(a**2 * [[1.0, 2.0], [3.0, 4.0]])


def begins_anew(x):
    elements = x.flat
    first = next(elements)
    return first * elements[1] + elements.index + next(elements) ** 2


def reshaped(x):
    a = 2 * x
    row, b = a[0], a
    a.shape = (4,)
    a[1] = 3 * x[1, 1]
    row[0] = x[1, 0] ** 2
    assert b.shape == (4,)
    return np.sum(a * np.arange(1.0, 5.0)) + b[0] + row.sum()


def reshaped_view(x):
    a = 2 * x
    part = a[:1]
    part.shape = (2,)
    part[0] = x[1, 1]
    return np.sum(a**2) + part[1]


def reshaped_constant(x):
    a = np.zeros(4)
    a.shape = 2, 2
    a[0] = x[1]
    return np.sum(a**2)


def missing(x):
    a = np.zeros((2, 2))
    a[:, 0] = x[0]
    a[1] = None
    a[0, 1] = x[0, 1]
    return np.nansum(a)


def joined(x):
    of_lists = np.concatenate([[x[0, 0]], [x[0, 1], 1.0]])  # from here on, the name means a function that joins lists
    return np.sum(of_lists**2) + np.sum(np.concatenate([x.flat, x[0]]))


FUNCTIONS = [
    assigned,
    begins_anew,
    reshaped,
    reshaped_view,
    reshaped_constant,
    missing,
    joined,
    lambda x: np.sum(np.where(x.flat > 1.0, x.ravel(), 0.0)) if any(x.flat != 0) else 0.0,
    lambda x: 0.0 * x[0, 0] if np.any((0 * x).flat != 0) else np.sum(x),
    lambda x: np.sum(x[(x.flat < 2.0).reshape(2, 2)]) + np.sum(x.flat) + sum(x.flat) + max(x.flat),
    lambda x: np.sin(x.flat).sum() + np.dot(x.flat, np.arange(4.0)) + np.concatenate([x.flat, x[0]]).sum(),
    lambda x: np.sum(np.array(x.flat) ** 2) + np.asarray(x.flat)[1] + x.flat.copy()[2] * len(x.flat),
    lambda x: np.sum(x.ravel() * x.flat) + np.mean(x.flat),
    lambda x: np.fromiter(x.flat, float).sum() + np.fromiter((v * v for v in x.flat), float, 3).sum(),
    lambda x: x[0, 0] if 1.3 in x and 7.0 not in x and isinstance(x.flat, np.flatiter) else 0.0,
    lambda x: np.vectorize(lambda v: v * v if v > 1 else np.sin(v), otypes=[float])(x).sum(),
    lambda x: np.vectorize(lambda a, b: (a * b, a - b))(x, x[0])[1].sum(),
    lambda x: np.sum(np.vectorize(lambda a, b: a @ b, signature="(n),(n)->()")(x, x[0]) ** 2),
    lambda x: np.sum(np.vectorize(lambda a: a / np.sum(a), signature="(n)->(n)")(x) * [[1.0, 2.0], [3.0, 4.0]]),
    lambda x: np.prod([np.sum(part) for part in np.vectorize(lambda a: (a @ a, 2 * a), signature="(n)->(),(n)")(x)]),
    lambda x: np.vectorize(lambda a, k: a**k, signature="(n),()->(n)", otypes=[float])(x[1], [1.0, 3.0])[1, 0],
    lambda x: np.sum(np.array([x.flat, (2 * x).flat]) ** 3) + np.sum(np.array((x.flat, [1.0, x[0, 0], 0.0, 2.0])) ** 2),
    lambda x: np.sum(np.frompyfunc(lambda a, b: a * b, 2, 1).outer(x[0], x[1])) ** 2,
    lambda x: np.frompyfunc(lambda a, b: a * b, 2, 1).reduce(x[0]) + np.frompyfunc(max, 2, 1).reduce(x.ravel()),
]


@pytest.mark.parametrize("f", FUNCTIONS)
def test_elements_in_turn(f):
    value, gradient = wg.value_and_grad(f)(X)
    np.testing.assert_allclose(value, f(X))
    units = np.eye(4).reshape(4, 2, 2)
    expected = [(f(X + 1e-6 * unit) - f(X - 1e-6 * unit)) / 2e-6 for unit in units]
    np.testing.assert_allclose(gradient.ravel(), expected, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(wg.jit(wg.grad(f))(X), gradient, rtol=1e-12)
    np.testing.assert_allclose(wg.trace(f)(X)(X), value)


BY_MEMORY = {
    "__array_finalize__", "__array_interface__", "__array_struct__", "__array_wrap__", "__class_getitem__",
    "__dlpack__", "__dlpack_device__", "__setstate__",
}  # fmt: skip
"""What NumPy's compiled code builds on."""
OF_INTEGERS = {f"__{how}{side}shift__" for how in ("", "i", "r") for side in "lr"}


@pytest.mark.parametrize("part", [lambda x: x, lambda x: x.flat])
def test_whatever_numpys_own_has_is_there(part):
    """An attribute that is asked for raises at the worst, and is not absent: absent ones lead to other branches."""
    names = set(dir(type(part(X)))) - BY_MEMORY - OF_INTEGERS - {"__delitem__", "mT"}
    absent = []

    def f(x):
        absent.extend(name for name in names if not hasattr(part(x), name))
        return np.sum(x)

    wg.grad(f)(X)
    assert absent == []


@pytest.mark.parametrize("use", [lambda x: x.data[0], lambda x: x.ctypes.data, lambda x: np.asarray(x.data)])
def test_memory_is_refused(use):
    assert np.all(wg.grad(lambda x: np.sum(x) if hasattr(x, "data") and hasattr(x, "ctypes") else 0.0)(X) == 1.0)
    with pytest.raises(LostGradientError, match="memory"):
        wg.grad(lambda x: np.sum(x) if use(x) is not None else 0.0)(X)


def test_a_shape_that_needs_a_copy():
    def f(x):
        a = (2 * x).T
        a.shape = (4,)
        return np.sum(a)

    with pytest.raises(AttributeError):
        f(X)
    with pytest.raises(AttributeError):
        wg.grad(f)(X)


def test_the_shape_of_an_array_without_elements():
    def f(x):
        a = np.zeros(0)
        a.shape = (-1, 3)
        return np.sum(np.vstack([a, [x[:3]]]) ** 2)

    np.testing.assert_allclose(wg.grad(f)(np.arange(4.0)), [0.0, 2.0, 4.0, 0.0])
