"""Assignment in place, as NumPy does it: views write through, arguments of the caller stay as they are."""

from __future__ import annotations

import numpy as np
import pytest
import truth
from agreement import assert_close, assert_second_order

import wengert as wg

LIST = np.array([2, 0, 2])


def element(x):
    x[0] = x[1] * x[2]
    return x * x


def element_used_before(x):
    y = x * x
    x[1] = 3.0
    return y + x


def augmented_element(x):
    x[0] += x[1]
    x[1] *= x[0]
    x[2] /= 2.0
    x[3] -= x[0]
    x[0] **= 2
    return x


def slices(x):
    x[1:3] = x[:2] * 2.0
    x[::-2] = 1.0
    return x**3


def loop(x):
    for k in range(1, 4):
        x[k] = x[k] + 0.5 * x[k - 1] ** 2
    return x


def mask(x):
    x[x < 0] = 0.1 * x[x < 0]
    return x * x


def mask_with_a_number(x):
    x[x < 0] = 0.0
    return np.sum(x * x)


def list_of_positions(x):
    x[LIST] = x[:3] * np.array([1.0, 2.0, 3.0])
    return x * x


def list_augmented(x):
    x[LIST] += 1.0 * x[1]
    return x * x


def whole(x):
    x[...] = np.sin(x)
    x[:] = x * x
    return x


def view(x):
    y = x[1:]
    y[0] = x[0] * 3.0
    return x * x


def view_of_a_view(x):
    y = x[1:][::-1]
    y[1:] *= x[0]
    return x + 0.0


def base_of_a_view(x):
    y = x[:3]
    x[1] = x[0] * x[3]
    return y * y


def two_views(x):
    y, z = x[:3], x[1:]
    y[2] = x[0] ** 2
    return z * z


def row_of_a_reshape(x):
    y = x[:4].reshape(2, 2)
    y[1] = y[0] * x[0]
    return x * x


def column_of_a_transpose(x):
    y = x[:4].reshape(2, 2).T
    y[0, 1] = y[1, 0] * x[0]
    return x * 2.0


def copy_is_no_view(x):
    y = x.copy()
    y[0] = 5.0 * x[1]
    return x * y


def fancy_indexing_copies(x):
    y = x[LIST]
    y[0] = 7.0 * x[1]
    return np.concatenate([x, y])


def arithmetic_copies(x):
    y = x + 0.0
    y[0] = x[1]
    x[1] = 2.0
    return x * y


def augmented_name(x):
    y = x
    y += 1.0
    y *= x
    return x


def into_zeros_like(x):
    y = np.zeros_like(x)
    y[0] = x[0] ** 2
    y[2:] = x[2:]
    return y * x


def swap(x):
    x[0], x[1] = x[1], x[0] * 1.0
    return x * np.arange(float(len(x)))


def column(x):
    y = np.outer(x[:3], x[:2])
    y[:, 1] = x[:3]
    y[1] += x[0]
    y[0, 0] = 2.0
    return y.ravel()


FUNCTIONS = [f for f in list(globals().values()) if callable(f) and getattr(f, "__module__", "") == __name__]
SMALL = np.array([0.7, -1.3, 1.1, -0.6])
LARGE = np.where(np.arange(90) % 3 == 0, -0.9, 1.2) + np.linspace(0.0, 0.3, 90)
cases = pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f.__name__)


def fresh(f):
    """Give a function an array of its own to write to."""
    return lambda x: f(np.array(x))


@cases
@pytest.mark.parametrize("x", [SMALL, LARGE], ids=["small", "large"])
def test_values_are_those_of_numpy(f, x):
    before = x.copy()
    expected = f(x.copy())
    np.testing.assert_allclose(wg.linearize(f, x)[0], expected, rtol=1e-14)
    np.testing.assert_allclose(wg.trace(f)(x)(x), expected, rtol=1e-14)
    np.testing.assert_array_equal(x, before)


@cases
@pytest.mark.parametrize("x", [SMALL, LARGE], ids=["small", "large"])
def test_derivatives_are_right(f, x):
    before = x.copy()
    measure = truth.differences if "mask" in f.__name__ else truth.complex_step
    expected = measure(fresh(f), [x], 0)
    for mode in ("forward", "reverse"):
        assert_close(wg.jacobian(f, mode=mode)(x), expected, 1e-9 if "mask" in f.__name__ else 1e-13, mode)
    rng = np.random.default_rng(1)
    t, g = rng.normal(size=x.shape), rng.normal(size=expected.shape[:-1])[()]
    _, push = wg.linearize(f, x)
    assert_close(push(t), expected @ t, 1e-9)
    assert_close(push.T(g), g @ expected if g.ndim else g * expected, 1e-9)
    assert_close(push(t), expected @ t, 1e-9, "again")
    np.testing.assert_array_equal(x, before)


@cases
def test_second_derivatives_are_right(f):
    class Fresh:  # differences write to what they are given, so they are given a copy
        def __call__(self, x):
            return f(x.copy())

    assert_second_order(Fresh(), [SMALL])


@cases
def test_programs_and_their_source(f):
    for derivative in (f, wg.jacobian(f, mode="reverse"), wg.jacobian(f, mode="forward")):
        program = wg.trace(derivative)(SMALL)
        expected = derivative(SMALL.copy())
        namespace = {}
        exec(program.source(), namespace)
        x = SMALL.copy()
        np.testing.assert_allclose(program(x), expected, rtol=1e-13)
        np.testing.assert_allclose(namespace[program.name](x), expected, rtol=1e-13)
        np.testing.assert_array_equal(x, SMALL)


def test_an_outer_array_is_written_to_in_an_inner_trace():
    def f(x):
        def inner(y):
            y[0] = y[0] * x[1]
            return np.sum(y * y)

        return np.sum(wg.grad(inner)(x * 1.0))

    # inner gradient: (2 y0 x1^2, 2 y1, ...) at y = x
    expected = np.array([2 * SMALL[1] ** 2, 4 * SMALL[0] * SMALL[1] + 2.0, 2.0, 2.0])
    np.testing.assert_allclose(wg.grad(f)(SMALL), expected, rtol=1e-14)


def test_shapes_that_do_not_fit():
    def f(x):
        x[:2] = np.ones(3)
        return np.sum(x)

    with pytest.raises(ValueError, match="shape"):
        wg.grad(f)(SMALL)
