"""Assignment: arrays that are filled, overwritten and seen through views give the derivatives of plain NumPy's values.

The truth is differences of the very function run by NumPy itself, so a gradient that got lost on the way shows.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import truth
from agreement import assert_close
from hypothesis import given
from hypothesis import strategies as st

import wengert as wg
from wengert.errors import LostGradientError, ShapeError
from wengert.passes.simplification import simplify

X = np.array([0.7, -0.4, 1.3])


# ---- Things that people write ----


def fills_zeros(x):
    out = np.zeros(4)
    for k in range(3):
        out[k] = np.sin(x[k]) * x[k - 1]
    return out


def fills_empty_rows(x):
    out = np.empty((2, 3))
    out[0] = x * 2
    out[1, :] = x[::-1] ** 2
    return out.sum(axis=0) * out[0]


def adds_up(x):
    total = np.zeros(3)
    for k in range(3):
        total += x * k
        total[k] *= x[0]
    return total


def overwrites(x):
    y = x * x
    y[1] = 5.0  # the derivative of what stood there is gone
    y[0] += y[1] * x[2]
    return y


def through_a_view(x):
    y = np.exp(x)
    view = y[1:]
    view *= x[0]
    view[0] = x[1] ** 3
    return y


def a_view_sees_its_base(x):
    y = x * 2.0
    view = y[:2]
    y[0] = x[2] * x[1]
    y *= 3.0
    return view * x[:2]


def views_of_views(x):
    y = np.outer(x, x)
    part = y[1:, :]
    corner = part[:, 0]
    flat = y.reshape(9)
    flat[4] = x[0]
    corner += x[1:]
    y.T[2, 0] = x[1] * 7
    return np.concatenate([y.ravel(), corner, part[0]])


def two_names(x):
    a = b = x + 1.0
    b[0] = 0.0
    a[1] *= x[2]
    return a + 2 * b


def a_copy_is_its_own(x):
    a = x * x
    b, c, d = a.copy(), np.array(a), copy.copy(a)
    a[0] = 0.0
    b[1] = x[2]
    c *= 2
    d[...] = x
    return np.concatenate([a, b, c, d])


def changes_its_argument(x):
    x *= 2.0
    x[0] = x[1]
    return x * x


def calls_what_changes_its_argument(x):
    y = x + 0.0
    changes_its_argument(y)
    return y


def masks(x):
    y = x * x
    y[y < 0.3] = 0.0
    y[x > 0] *= x[x > 0]
    return y


def real_and_imaginary_parts(x):
    z = x * (1 + 1j)
    part = z.real
    z[0] = 3j
    z.imag *= 2
    part += x
    np.real(z)[1] = x[0]
    return np.concatenate([z.real, z.imag, part])


def sets_parts(x):
    z, w = np.zeros(3, complex), x * 1.0
    z.real = x
    z.imag = x**2
    z[::2].real = x[:2]
    w.real[0] = 5 * x[1]
    np.real(w)[1] = x[0]
    return np.concatenate([z.real, z.imag, w])


def integer_positions(x):
    y = np.ones(5)
    y[[4, 0, 2]] = x
    y[np.array([1, 1])] = x[:2]  # of repeated positions the last stays
    return y * y


def broadcasts(x):
    y = np.zeros((3, 3))
    y[:] = x
    y[:, 1] = x[0]
    y[1:, 1:] += x[1:, None]
    return y.sum(axis=1)


def swaps(x):
    y = x.copy()
    y[0], y[1] = y[1], y[0]
    y[[1, 2]] = y[[2, 1]]
    return y * np.arange(1.0, 4.0)


def writes_out(x):
    out = np.zeros(3)
    np.multiply(x, x[::-1], out=out)
    np.add(out, 1.0, out=out)
    return out * x


def eye_and_full(x):
    a = np.eye(3)
    a[0] *= x
    a += np.full((3, 3), 0.5)
    a[np.arange(3), np.arange(3)] = x
    b = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    b[:, 0] = x[:2]
    rows = [[x[0], 1.0], [2.0, x[1]]]
    c = np.array(rows)
    c[1, 0] -= x[2]
    like = np.zeros_like(x)
    like[1] = x[1] ** 2
    return np.concatenate([(a @ a).ravel(), b.ravel(), (c @ c).ravel(), like])


def rows_of_a_loop(x):
    y = np.zeros((3, 3))
    for k, row in enumerate(y):
        row[:] = x * k
        row[k] = x[0]
    return y.ravel()


def runge_kutta(x):
    states = np.zeros((6, 3))
    states[0] = x

    def slope(y):
        d = np.empty(3)
        d[0], d[1], d[2] = y[1], -np.sin(y[0]), y[0] * y[1]
        return d

    for k in range(5):
        y = states[k]
        k1 = slope(y)
        k2 = slope(y + 0.05 * k1)
        states[k + 1] = y + 0.1 * k2
    return states[-1]


def a_float_of_a_constant(x):
    weights = np.array([1.0, 2.0])
    return x * float(weights[1]) * weights.sum() * int(np.ones(2)[0])


WRITTEN = [
    value for name, value in list(globals().items()) if callable(value) and getattr(value, "__module__", "") == __name__
]


@pytest.mark.parametrize("f", WRITTEN, ids=lambda f: f.__name__)
@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_first_derivatives(f, mode):
    before = X.copy()
    expected = truth.differences(lambda x: f(x.copy()), [X], 0)
    assert_close(wg.jacobian(f, mode=mode)(X), expected, 1e-9)
    np.testing.assert_array_equal(X, before)


@pytest.mark.parametrize("f", WRITTEN, ids=lambda f: f.__name__)
def test_values_programs_and_second_derivatives(f):
    weights = np.linspace(0.5, 1.5, f(X.copy()).size)

    def scalar(x):
        return np.sum(weights * np.ravel(f(x)) ** 2)

    program = wg.trace(f)(X)
    np.testing.assert_array_equal(program(X), f(X.copy()))
    np.testing.assert_array_equal(simplify(program)(X), f(X.copy()))
    namespace: dict[str, object] = {}
    exec(program.source(), namespace)
    np.testing.assert_array_equal(namespace[f.__name__](X), f(X.copy()))
    expected = truth.differences(wg.grad(scalar), [X], 0)
    for mode in ("forward", "reverse"):
        assert_close(wg.jacobian(wg.grad(scalar), mode=mode)(X), expected, 1e-7)


def test_a_program_is_evaluated_elsewhere():
    program = wg.trace(through_a_view)(X)
    np.testing.assert_allclose(program(2 * X), through_a_view(2 * X))


def test_an_inner_derivative_fills_an_outer_array():
    def outer(x):
        slopes = np.zeros(3)
        for k in range(3):
            slopes[k] = wg.grad(lambda t: np.sin(t) * x[0])(x[k])
        return slopes

    expected = truth.differences(lambda x: np.cos(x) * x[0], [X], 0)
    for mode in ("forward", "reverse"):
        assert_close(wg.jacobian(outer, mode=mode)(X), expected, 1e-9)


def test_large_buffers_are_filled_in_place():
    def f(x):
        y = np.zeros(4000)
        for k in range(200):
            y[k * 20 : (k + 1) * 20] = x * k
        view = y[:20]
        y[0] = x[1]
        return np.sum(y * y) + np.sum(view)

    x = np.linspace(0.0, 1.0, 20)
    weights = np.sum(np.arange(200.0) ** 2)
    expected = 2 * weights * x
    expected[0] -= 0.0
    expected[1] += 2 * x[1] + 1
    np.testing.assert_allclose(wg.grad(f)(x), expected)


# ---- What cannot be followed, is refused ----

OUTSIDE = np.zeros(3)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: OUTSIDE.__setitem__(0, x[0]),
        lambda x: OUTSIDE.__iadd__(x),
        lambda x: np.multiply(x, 2.0, out=OUTSIDE),
        lambda x: OUTSIDE.__setitem__(slice(None), x),
        lambda x: memoryview(np.zeros(3)).__setitem__(0, x[0]),
    ],
)
def test_writing_where_nobody_sees_it_raises(f):
    def g(x):
        f(x)
        return np.sum(x)

    with pytest.raises((LostGradientError, TypeError)):
        wg.grad(g)(X)
    assert not OUTSIDE.any()


def test_what_other_code_writes_into_an_array_that_it_is_handed_is_there():
    def f(x):
        buffer = np.zeros(3)
        buffer.__array__()[0] = 1.0  # what C code does with an array that it is given
        return np.sum(buffer * x)

    assert wg.grad(f)(X).tolist() == [1.0, 0.0, 0.0]


def test_shapes_that_do_not_fit_are_refused_as_in_numpy():
    def f(x):
        y = np.zeros(4)
        y[:2] = x
        return np.sum(y)

    with pytest.raises(ShapeError, match="y\\[:2\\] = x"):
        wg.grad(f)(X)

    def g(x):
        y = x[:1] * 1.0
        y += x
        return np.sum(y)

    with pytest.raises(ValueError, match="broadcast"):
        wg.grad(g)(X)


# ---- Fuzzing: random assignments among arrays that share memory ----

INDICES = [
    0,
    -1,
    slice(0, 2),
    slice(None, None, 2),
    slice(1, None),
    [0, 2],
    [1, 1],
    np.array([True, False, True, True]),
]


def instructions():
    place = st.integers(0, 30)
    index = st.sampled_from(range(len(INDICES)))
    return st.lists(
        st.one_of(
            st.tuples(
                st.sampled_from(["zeros", "ones", "copy", "array", "alias", "slice", "fold", "sin", "row"]),
                place,
                place,
            ),
            st.tuples(st.sampled_from(["set", "add", "scale"]), place, place, index),
            st.tuples(st.sampled_from(["set number", "iadd", "imul", "out", "fill"]), place, place),
        ),
        min_size=3,
        max_size=14,
    )


def run(steps, x):
    """Carry the instructions out on a pool of arrays of four elements that may share memory."""
    pool = [x * 1.0]
    for step in steps:
        what, target, source = step[0], pool[step[1] % len(pool)], pool[step[2] % len(pool)]
        if what == "zeros":
            pool.append(np.zeros(4))
        elif what == "ones":
            pool.append(np.ones(4))
        elif what == "copy":
            pool.append(source.copy())
        elif what == "array":
            pool.append(np.array(source))
        elif what == "alias":
            pool.append(source)
        elif what == "slice":
            pool.append(source[::-1])
        elif what == "fold":
            pool.append(source.reshape(2, 2).T.reshape(4))
        elif what == "sin":
            pool.append(np.sin(source) + target)
        elif what == "row":
            pool.append(np.stack([source, target])[1])
        elif what == "set number":
            target[1] = 0.25
        elif what == "iadd":
            target += 0.5 * source
        elif what == "imul":
            target *= np.cos(source)
        elif what == "out":
            np.add(target, source, out=target)
        elif what == "fill":
            target.fill(source[0] * 1.0)
        else:
            index = INDICES[step[3]]
            part = np.tanh(source[index])
            if what == "set":
                target[index] = part
            elif what == "add":
                target[index] += part
            else:
                target[index] *= part
    return sum((k + 1.0) * array for k, array in enumerate(pool))


@given(instructions())
def test_random_assignments_lose_nothing(steps):
    x = np.array([0.3, -0.8, 1.1, 0.6])
    expected = truth.differences(lambda x: run(steps, x), [x], 0, step=1e-3)
    program = wg.trace(lambda x: run(steps, x))(x)
    np.testing.assert_array_equal(program(x), run(steps, x))
    for mode in ("forward", "reverse"):
        # what is lost is lost whole; the differences of steep functions are good to some digits only
        assert_close(wg.jacobian(lambda x: run(steps, x), mode=mode)(x), expected, 1e-4, mode)


def test_plain_arrays_may_change_between_two_uses():
    buffer, positions, scale = np.zeros(3), np.array([0]), np.ones((3, 3))

    def f(x):
        total = 0.0
        for k in range(3):
            buffer[:] = k + 1.0
            positions[0] = k
            scale[k] = 2.0
            total = total + np.sum(x * buffer) + np.sum(x[positions] ** 2) * k + np.sum(scale @ x)
        return total

    def fresh(x):
        scale[:] = 1.0
        return f(x)

    expected = truth.differences(fresh, [X], 0)
    for mode in ("forward", "reverse"):
        assert_close(wg.jacobian(fresh, mode=mode)(X), expected, 1e-9)
    program, value = wg.trace(fresh)(X), fresh(X)
    buffer[:] = scale[:] = -7.0
    assert program(X) == value


def test_a_plain_array_of_integers_takes_a_computed_mask_as_one_decision():
    def f(x):
        count = np.zeros(x.shape, int)
        count[x > 0] = 3
        return np.sum(x * count)

    x = np.random.default_rng(6).normal(size=(30, 30))
    program = wg.trace(f)(x)
    assert len(program.lines) == 5
    assert len(program.guards) == 1
    assert program(2 * x) == f(2 * x)
    with pytest.raises(wg.errors.BranchError, match=r"count\[x > 0\] = 3"):
        program(-x)
    np.testing.assert_array_equal(wg.grad(f)(x), 3.0 * (x > 0))
    np.testing.assert_allclose(wg.vmap(f)(np.stack([x, -x])), [f(x), f(-x)])
    assert len(wg.trace(wg.grad(f))(x).lines) == 3
