"""Elements that are read and written one by one: what is remembered of them is what the array holds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wengert as wg
from wengert.linearization import Linearization
from wengert.tracing import run

X = np.array([0.7, -0.4, 1.3, 0.2])


def differences(f, x, step=1e-6):
    """Return the gradient by central differences, of a function that leaves its argument as it is."""
    gradient = np.zeros(x.shape)
    for k in np.ndindex(*x.shape):
        e = np.zeros(x.shape)
        e[k] = step
        gradient[k] = (f(x + e) - f(x - e)) / (2 * step)
    return gradient


def agrees(f, x=X):
    """Check gradients, forward derivatives, and those of the Program, which has every write as a line."""
    expected = differences(f, x.copy())
    np.testing.assert_allclose(wg.grad(f)(x), expected, rtol=1e-6, atol=1e-7)
    t = np.linspace(0.5, 1.5, x.size).reshape(x.shape)
    np.testing.assert_allclose(wg.jvp(f, (x,), (t,))[1], np.sum(expected * t), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(wg.grad(wg.trace(f)(x))(x), expected, rtol=1e-6, atol=1e-7)


# ---- Random programs ----

N = 4
INDEX = st.integers(-N, N - 1)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 2), INDEX, st.integers(0, 2), INDEX),
        st.tuples(st.just("add"), st.integers(0, 2), INDEX, st.integers(0, 2), INDEX),
        st.tuples(st.just("constant"), st.integers(0, 2), INDEX, st.just(0), st.just(0)),
        st.tuples(st.just("through a view"), st.integers(0, 2), INDEX, st.integers(0, 2), INDEX),
        st.tuples(st.just("slice"), st.integers(0, 2), INDEX, st.integers(0, 2), st.just(0)),
        st.tuples(st.just("scale"), st.integers(0, 2), st.just(0), st.just(0), st.just(0)),
        st.tuples(st.just("copy"), st.integers(0, 2), st.just(0), st.integers(0, 2), st.just(0)),
        st.tuples(st.just("keep a view"), st.integers(0, 2), st.just(0), st.just(0), st.just(0)),
        st.tuples(st.just("write the view"), st.integers(0, 2), st.integers(0, 1), st.integers(0, 2), INDEX),
        st.tuples(st.just("sum"), st.integers(0, 2), st.just(0), st.integers(0, 2), INDEX),
    ),
    max_size=14,
)


def interpreter(steps, square=False):
    """Return a function of an array that carries out random reads and writes of its copy and of two more arrays."""

    def f(x):
        arrays = [x * 1.0, np.zeros(N), np.full(N, 0.5)]
        if square:
            arrays = [a.reshape(2, 2).copy() for a in arrays]
        view = arrays[0][:2] if not square else arrays[0][0]

        def at(k):
            return divmod(k % N, 2) if square else k

        for kind, a, i, b, j in steps:
            if kind == "write":
                arrays[a][at(i)] = arrays[b][at(j)] * 0.9 + 0.1
            elif kind == "add":
                arrays[a][at(i)] += arrays[b][at(j)] * arrays[b][at(j)]
            elif kind == "constant":
                arrays[a][at(i)] = 2
            elif kind == "through a view":
                arrays[a].T[at(i)] = arrays[b][at(j)]
            elif kind == "slice":
                arrays[a][1:] = arrays[b][:-1] + arrays[b][at(i)]
            elif kind == "scale":
                arrays[a] *= 1.1
            elif kind == "copy":
                arrays[a] = arrays[b].copy()
            elif kind == "keep a view":
                view = arrays[a][:2] if not square else arrays[a][1]
            elif kind == "write the view":
                view[i] = arrays[b][at(j)] + view[1 - i]
            else:
                arrays[b][at(j)] = np.sum(arrays[a] ** 2) * 0.1
        return np.sum(arrays[0] * 1.5 + arrays[1] * np.arange(N).reshape(arrays[1].shape) - arrays[2] ** 2)

    return f


@settings(max_examples=150, deadline=None)
@given(STEPS, st.booleans())
def test_random_reads_and_writes(steps, square):
    f = interpreter(steps, square)
    value = f(X)
    assert np.isfinite(value)
    if abs(value) < 1e3:
        agrees(f)


# ---- What is remembered ----


def rows(f, x=X):
    """Return the names of the primitives of the rows that a gradient sweeps over."""
    return [row[0].name for row in run(f, [x], {}, (0,), False).tape.rows]


def test_an_element_is_read_once():
    assert rows(lambda x: x[1] * x[1] + x[-3]).count("getitem") == 1


def test_a_written_element_is_the_value_that_was_written():
    def f(x):
        y = np.zeros(2)
        y[0] = x[0] * 2.0
        y[1] = y[0] * 3.0
        return y[1]

    assert rows(f) == ["getitem", "multiply", "setitem", "multiply", "setitem"]
    assert wg.grad(f)(X)[0] == 6.0


def test_elements_that_nothing_was_written_to_are_constants():
    def f(x):
        y = np.ones(3)
        y[0] = x[0]
        kinds.append(type(y[1]))
        y[0] = 4.0
        kinds.append(type(y[0]))
        return y[0] + y[1] + x[1]

    kinds = []
    np.testing.assert_array_equal(wg.grad(f)(X), [0.0, 1.0, 0.0, 0.0])
    assert kinds == [np.float64, np.float64]


@pytest.mark.parametrize("n", [8, 600])
def test_each_write_changes_the_array_in_its_place(n):
    places = set()

    def f(x):
        y = np.zeros(n)
        y[0] = x[0]
        for i in range(1, n):
            y[i] = 0.5 * y[i - 1] + x[i % 4]
            places.add(id(getattr(y, "_value", None)))
        return np.sum(y)

    wg.grad(f)(X)
    assert len(places) == 1
    agrees(f)


def test_rows_keep_the_values_that_they_have_read():
    def f(x):
        y = x.copy()
        total = 0.0
        for i in range(3):
            total = total + np.sum(y**2)  # reads all of the array between the writes
            y[i] = y[i + 1] * y[i]
        return total + np.sum(y)

    agrees(f)


def test_an_alias_sees_the_writes_and_a_copy_does_not():
    def f(x):
        y = x.copy()
        alias, copy = y, y.copy()
        y[0] = y[1] * y[2]
        alias[1] = 3.0 * alias[0]
        return y[1] + alias[0] + copy[0] * copy[1]

    agrees(f)


def test_the_argument_itself_can_be_written_to():
    def f(x):
        x = x + 0.0
        x[0] = x[1] * x[0]
        x[0] = x[0] * x[0]
        return x[0] + x[1]

    def g(x):
        x[0] = x[1] * x[0]
        x[0] = x[0] * x[0]
        return x[0] + x[1]

    agrees(f)
    x = X.copy()
    np.testing.assert_array_equal(wg.grad(g)(x), wg.grad(f)(X))
    np.testing.assert_array_equal(x, X)


def test_arrays_of_other_dtypes_round_what_is_written():
    def f(x):
        y = np.zeros(2, np.float32)
        y[0] = x[0] * 3.0
        return y[0] * 2.0

    gradient = wg.grad(f)(X)
    assert gradient[0] == np.float32(6.0)

    def g(x):
        y = np.zeros(2, complex)
        y[0] = x[0] * 3.0
        y[1] = y[0] * 1j * x[1]
        return abs(y[1])

    np.testing.assert_allclose(wg.grad(g)(X), differences(g, X), rtol=1e-6, atol=1e-7)


def test_second_derivatives_go_through_writes():
    def f(x):
        y = np.zeros(3)
        y[0] = x[0] ** 2
        for i in range(1, 3):
            y[i] = y[i - 1] * x[i] + x[0] * y[i - 1]
        return y[2]

    hessian = wg.hessian(f)(X)
    expected = [differences(lambda x, k=k: wg.grad(f)(x)[k], X) for k in range(4)]
    np.testing.assert_allclose(hessian, expected, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(wg.jacobian(wg.grad(f), mode="forward")(X), hessian, rtol=1e-12)


def test_an_index_out_of_bounds_is_numpys_error():
    def read(x):
        return x[0] + x[4]

    def write(x):
        y = np.zeros(2)
        y[0] = x[0]
        y[-3] = x[1]
        return y[0]

    for f in (read, write):
        with pytest.raises(IndexError, match="out of bounds"):
            wg.grad(f)(X)


def test_a_sweep_over_writes_takes_time_that_grows_with_their_number():
    """The adjoint of the array is changed in its place by each write: one copy for all of them."""

    def f(x):
        y = np.zeros(1000)
        y[0] = x[0]
        for i in range(1, 1000):
            y[i] = 0.5 * y[i - 1] + x[i % 4]
        return np.sum(y)

    linearization = Linearization.of_trace(run(f, [X], {}, (0,), False))
    assert sum(row[0].name == "getitem" for row in linearization.rows) == 4
    assert all(np.shape(row[2][0]) == (1000,) for row in linearization.rows if row[0].name == "setitem")
    held = {id(value) for row in linearization.rows for value in row[2] if type(value) is np.ndarray}
    assert len(held) < 4
