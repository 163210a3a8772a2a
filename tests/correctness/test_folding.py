"""Folding while tracing: long loops on numbers as instructions, against the same functions unfolded."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wengert as wg
from wengert.compilation.native import instructions as native
from wengert.control import instructions
from wengert.control.folding import folded_program
from wengert.control.instructions import Instructions
from wengert.errors import BranchError

pytestmark = pytest.mark.filterwarnings("ignore::wengert.errors.DecisionWarning")


def recurrence(x):
    y = x[0]
    for i in range(900):
        y = np.sin(y) * 0.9 + x[i % 3] / (2.0 + y * y)
    return y


def substitution(A):
    n = 36
    x = np.zeros(n)
    for i in range(n):
        s = 1.0 + 0.1 * i
        for j in range(i):
            s -= A[i % 6, j % 6] * x[j] * 0.1
        x[i] = s / (3.0 + A[i % 6, i % 6] ** 2)
    return x.sum()


def elimination(A):
    A = A.copy() + 9.0 * np.eye(A.shape[0])
    n = A.shape[0]
    for i in range(n):
        for j in range(i):
            for k in range(j):
                A[i, j] -= A[i, k] * A[k, j]
            A[i, j] /= A[j, j]
        for j in range(i, n):
            for k in range(i):
                A[i, j] -= A[i, k] * A[k, j]
    return np.sum(A * A)


def stencil(A):
    A = A.copy()
    for _ in range(12):
        before = A.copy()
        for i in range(1, A.shape[0] - 1):
            for j in range(1, A.shape[1] - 1):
                A[i, j] = (before[i - 1, j] + before[i + 1, j] + A[i, j - 1] + np.tanh(before[i, j])) / 4.0
    return np.sum(A**2)


def paths(D):
    D = np.abs(D) + 0.1
    n = D.shape[0]
    for k in range(n):
        for i in range(n):
            for j in range(n):
                if D[i, k] + D[k, j] < D[i, j]:
                    D[i, j] = D[i, k] + D[k, j]
    return D.sum()


def vectors(p):
    total = 0.0
    v = np.array([0.1, 0.2, 0.3])
    for k in range(120):
        v = v + 0.01 * p[:3] * v[k % 3]
        total = total + v[0] * v[1] - np.exp(-v[2])
    return total


def interrupted(x):
    s = x[0]
    for k in range(4):
        for _ in range(300):
            s = np.cos(s) + 0.1 * x[k % 2]
        x = x * s  # an array, and no instruction
    return s + np.sum(x)


CASES = [
    (recurrence, np.array([0.3, 0.5, 0.7])),
    (substitution, np.linspace(0.1, 1.0, 36).reshape(6, 6)),
    (elimination, np.sin(np.arange(100.0)).reshape(10, 10)),
    (stencil, np.cos(np.arange(81.0)).reshape(9, 9)),
    (paths, np.sin(np.arange(64.0)).reshape(8, 8)),
    (vectors, np.array([0.3, 0.5, 0.7, 0.1])),
    (interrupted, np.array([0.3, 0.5])),
]


@pytest.fixture(params=["native", "Python"])
def runs(request, monkeypatch):
    """Run instructions by machine code, where there is any, and by the loop in Python."""
    if request.param == "Python":
        monkeypatch.setattr(instructions, "is_available", lambda: False)
    elif not native.is_available():
        pytest.skip("no machine code here")
    return request.param


@pytest.mark.parametrize(("f", "x"), CASES, ids=lambda value: getattr(value, "__name__", ""))
def test_folded_loops_have_the_values_and_gradients_of_unfolded_ones(f, x, runs):
    program = folded_program(f, x)
    assert sum(isinstance(line.held, Instructions) for line in program.lines) >= 1
    assert len(program.lines) < 20
    np.testing.assert_allclose(program(x), f(x), rtol=1e-13)
    np.testing.assert_allclose(wg.grad(program)(x), wg.grad(f)(x), rtol=1e-11, atol=1e-13)
    t = np.cos(np.arange(float(x.size))).reshape(x.shape)
    np.testing.assert_allclose(wg.jvp(program, (x,), (t,))[1], wg.jvp(f, (x,), (t,))[1], rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(("f", "x"), CASES, ids=lambda value: getattr(value, "__name__", ""))
def test_jit_of_a_long_loop_gives_its_gradient_at_other_points_too(f, x):
    gradient = wg.jit(wg.grad(f))
    for scale in (1.0, 1.001, 0.7):
        point = scale * x
        np.testing.assert_allclose(gradient(point), wg.grad(f)(point), rtol=1e-11, atol=1e-13)
    if f is not paths:
        assert "1 branch>" in repr(gradient)


def test_jit_folds_the_function_itself_its_value_and_gradient_and_its_jacobian():
    x = np.array([0.3, 0.5, 0.7])
    np.testing.assert_allclose(wg.jit(recurrence)(x), recurrence(x), rtol=1e-13)
    value, gradient = wg.jit(wg.value_and_grad(recurrence))(x)
    np.testing.assert_allclose(value, recurrence(x), rtol=1e-13)
    np.testing.assert_allclose(gradient, wg.grad(recurrence)(x), rtol=1e-11)

    def two(x):
        return np.array([recurrence(x), recurrence(2.0 * x)])

    np.testing.assert_allclose(wg.jit(wg.jacobian(two))(x), wg.jacobian(two)(x), rtol=1e-11)
    np.testing.assert_allclose(wg.jit(wg.hessian(recurrence))(x), wg.hessian(recurrence)(x), rtol=1e-9)


def test_a_decision_that_falls_otherwise_raises_and_jit_traces_the_other_branch():
    def f(x):
        for _ in range(800):
            x = x * 0.999 if x > 0.5 else x * 1.001 + 0.001
        return x

    program = folded_program(f, 0.9)
    assert float(program(np.float64(0.9))) == f(0.9)
    with pytest.raises(BranchError, match="takes another branch"):
        program(np.float64(-3.0))
    jitted = wg.jit(f)
    assert [float(jitted(np.float64(x))) for x in (0.9, 0.2, 0.9, -3.0)] == [f(x) for x in (0.9, 0.2, 0.9, -3.0)]


def test_a_function_closes_over_values_that_move():
    def outer(x):
        def inner(y):
            s = y
            for _ in range(900):
                s = s * x[0] + np.sin(x[1])
            return s

        return wg.grad(inner)(x[1]) * x[0] + inner(x[1])

    x = np.array([0.9, 0.4])
    np.testing.assert_allclose(wg.jit(outer)(x), outer(x), rtol=1e-12)


def test_what_numpy_warns_of_runs_in_the_plain_function():
    def f(x):
        s = x
        for _ in range(900):
            s = np.sqrt(s) * 1.001
        return s

    gradient = wg.jit(wg.grad(f))
    assert gradient(np.float64(2.0)) == pytest.approx(wg.grad(f)(2.0), rel=1e-12)
    with pytest.warns(wg.errors.DomainWarning):
        assert np.isnan(gradient(np.float64(-1.0)))


def test_a_number_of_python():
    def f(x):
        s = x
        for _ in range(900):
            s = np.sin(s) * 0.9 + x
        return s

    assert wg.jit(wg.grad(f))(0.3) == pytest.approx(wg.grad(f)(0.3), rel=1e-12)


def test_a_constant_that_is_infinite_is_no_alarm():
    def f(x):
        least = np.inf
        for k in range(900):
            value = (x - 0.001 * k) ** 2
            if value < least:
                least = value
        return least

    jitted = wg.jit(wg.grad(f))
    for x in (0.3, 0.3001):
        assert jitted(np.float64(x)) == pytest.approx(float(wg.grad(f)(x)))
    assert jitted.declined == 0


def test_rows_take_some_ten_bytes_each_when_they_are_folded():
    def f(x):
        y = x
        for _ in range(20_000):
            y = np.sin(y) * 0.5 + x
        return y

    folded_program(f, 0.5)  # what is made once is no part of it
    tracemalloc.start()
    try:
        program = folded_program(f, 0.5)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(program.lines) == 1
    assert held < 60_000 * 12 + 600_000  # Python holds some thousands of tuples for the next ones
    assert peak < 60_000 * 150  # rows take 400, and there are 16,000 of them


# ---- Random programs ----

INDICES = st.integers(0, 5)
STATEMENTS = st.one_of(
    st.tuples(st.just("write"), INDICES, INDICES, st.floats(-0.9, 0.9)),
    st.tuples(st.just("number"), INDICES, INDICES, st.floats(-0.9, 0.9)),
    st.tuples(st.just("copy"), INDICES, INDICES, st.floats(-0.9, 0.9)),
    st.tuples(st.just("branch"), INDICES, INDICES, st.floats(-0.9, 0.9)),
    st.tuples(st.just("matrix"), INDICES, INDICES, st.floats(-0.9, 0.9)),
    st.tuples(st.just("vector"), INDICES, INDICES, st.floats(-0.9, 0.9)),
    st.tuples(st.just("slice"), INDICES, INDICES, st.floats(-0.9, 0.9)),
    st.tuples(st.just("constant"), INDICES, INDICES, st.floats(-0.9, 0.9)),
)


def program_of(statements, steps):
    """Return a function that runs statements on a vector, a matrix and a number, again and again."""

    def f(x):
        y, A, z, s = x * 1.0, np.zeros((3, 2)), x, x[0]
        for step in range(steps):
            for what, i, j, c in statements:
                k = (i + step) % 6
                if what == "write":
                    y[k] = c * y[j] + 0.3 * np.tanh(z[(j + step) % 6])
                elif what == "number":
                    s = np.sin(s) * c + y[k] * x[j]
                elif what == "copy":
                    z = y.copy()
                    z[j] = s * c
                elif what == "branch":
                    s = s * c if y[k] > z[j] else np.cos(s) - c
                elif what == "matrix":
                    A[k % 3, j % 2] = A[j % 3, k % 2] * c + np.tanh(s)
                elif what == "vector":
                    v = np.array([s, y[k], c]) * z[j]
                    s = v[0] * 0.5 + v[1] - v[2]
                elif what == "slice":
                    y[1:4] = y[0:3] * c + z[2:5]
                else:
                    y[j] = c
                s = s / (1.0 + s * s)
                y[k] = y[k] / (1.0 + y[k] * y[k])
        return s + np.sum(y * z) + np.sum(A)

    return f


@settings(max_examples=15, deadline=None)
@given(st.lists(STATEMENTS, min_size=2, max_size=7), st.integers(40, 60), st.integers(0, 1000))
def test_random_programs(statements, steps, seed):
    f = program_of(statements, steps)
    rng = np.random.default_rng(seed)
    gradient = wg.jit(wg.grad(f))
    for _ in range(3):
        x = rng.normal(size=6)
        np.testing.assert_allclose(gradient(x), wg.grad(f)(x), rtol=1e-9, atol=1e-12)
    x = rng.normal(size=6)
    assert folded_program(f, x)(x) == pytest.approx(f(x), rel=1e-12, abs=1e-14)
