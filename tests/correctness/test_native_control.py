"""Loops as machine code against the same loops in Python, and against truths of their own."""

from functools import partial

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import wengert as wg
from wengert.compilation.native.engine import is_available
from wengert.control import native

pytestmark = [
    pytest.mark.skipif(not is_available(), reason="no machine code here"),
    pytest.mark.filterwarnings("ignore::wengert.errors.DecisionWarning"),
]


@pytest.fixture
def at_once(monkeypatch):
    """Take machine code from the first step on; return the calls of it, each with the steps made and why it ended."""
    monkeypatch.setattr(native, "price", lambda lines: 0.0)
    from wengert.compilation.native.control import NativeSteps

    calls, run = [], NativeSteps.__call__

    def recorded(self, addresses, steps):
        calls.append(run(self, addresses, steps))
        return calls[-1]

    monkeypatch.setattr(NativeSteps, "__call__", recorded)
    return calls


def in_python(work, monkeypatch_context):
    """Return what `work` computes without machine code."""
    with monkeypatch_context() as patch:
        patch.setattr(native, "price", lambda lines: float("inf"))
        patch.setattr(native.Effort, "before", lambda self, steps, make: None)
        return work()


def both(f, x, calls, monkeypatch, transform=wg.value_and_grad, native_calls=2):
    """Check that a derivative by machine code equals that in Python; return it."""
    gradient = transform(f)
    expected = in_python(lambda: gradient(x), monkeypatch.context)
    gradient(x)  # a structure that is met again has code for few steps as well
    calls.clear()
    value = gradient(x)
    assert len(calls) >= native_calls, "machine code was not run"
    for one, other in zip(np.atleast_1d(*value), np.atleast_1d(*expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-13)
    return value


def complex_step(f, x):
    """Return the gradient of `f` by the complex step."""
    steps = 1e-30j * np.eye(x.size).reshape(x.size, *x.shape)
    return np.array([np.imag(f(x + h)) for h in steps]).reshape(x.shape) / 1e-30


# ---- Loops as people write them ----


def recurrence(x, np=np):
    """A recurrence of numbers in plain Python, for complex numbers too."""
    c = 0.5
    for _ in range(100):
        c = np.sin(c) * x[0] + x[1] * c
    return c


def test_fori_loop(at_once, monkeypatch):
    x = np.array([0.7, 0.4])

    def f(x):
        return wg.fori_loop(0, 100, lambda i, c: np.sin(c) * x[0] + x[1] * c, 0.5)

    _, gradient = both(f, x, at_once, monkeypatch)
    np.testing.assert_allclose(gradient, complex_step(recurrence, x), rtol=1e-12)


@pytest.mark.parametrize("reverse", [False, True])
def test_scan_that_collects(reverse, at_once, monkeypatch):
    def f(x):
        def step(state, r):
            a, b = state
            a, b = np.tanh(a * r + b), b * np.cos(a)
            return (a, b), (a * r, b)

        (a, b), (p, q) = wg.scan(step, (x[0], x[1]), x, reverse=reverse)
        return a * b + np.sum(p**2) + np.sum(np.sin(q))

    def plain(x):
        a, b = x[0], x[1]
        total = 0.0
        for r in x[::-1] if reverse else x:
            a, b = np.tanh(a * r + b), b * np.cos(a)
            total = total + (a * r) ** 2 + np.sin(b)
        return a * b + total

    x = np.linspace(-0.9, 0.8, 60)
    value, gradient = both(f, x, at_once, monkeypatch)
    np.testing.assert_allclose(value, plain(x), rtol=1e-13)
    np.testing.assert_allclose(gradient, complex_step(plain, x), rtol=1e-11)


def test_number_of_the_step(at_once, monkeypatch):
    def f(x):
        return wg.fori_loop(3, 80, lambda i, c: np.cos(c + 0.1 * i) * x, x)

    def plain(x):
        c = x[0]
        for i in range(3, 80):
            c = np.cos(c + 0.1 * i) * x[0]
        return c

    _, gradient = both(f, 0.9, at_once, monkeypatch)
    np.testing.assert_allclose(gradient, complex_step(plain, np.array([0.9]))[0], rtol=1e-12)


def test_while_loop(at_once, monkeypatch):
    def f(a):
        return wg.while_loop(lambda x: np.abs(x - 3.0 * a) > 1e-9, lambda x: x - 0.2 * (x - 3.0 * a), 10.0 + 0.0 * a)

    value, gradient = both(f, 1.5, at_once, monkeypatch)
    np.testing.assert_allclose((value, gradient), (4.5, 3.0), rtol=1e-8)
    assert any(reason == 2 for _, reason, _ in at_once), "the test ended the loop"


def test_vectors_in_memory(at_once, monkeypatch):
    """A carry that is too large for registers goes on in memory, and may be moved about."""

    def f(x):
        a, b = wg.fori_loop(0, 40, lambda i, s: (s[1], np.sin(s[0]) + 0.5 * s[1][::-1]), (x, x[::-1] * 2.0))
        return np.sum(a * b)

    def plain(x):
        a, b = x, x[::-1] * 2.0
        for _ in range(40):
            a, b = b, np.sin(a) + 0.5 * b[::-1]
        return np.sum(a * b)

    x = np.linspace(-1.0, 1.0, 200)
    value, gradient = both(f, x, at_once, monkeypatch)
    np.testing.assert_allclose(value, plain(x), rtol=1e-12)
    np.testing.assert_allclose(gradient, complex_step(plain, x), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("checkpoint", ["none", "all", 5, "auto"])
def test_checkpoints(checkpoint, at_once, monkeypatch):
    def f(x):
        return wg.scan(lambda c, r: (np.tanh(c * x + r), None), x, np.linspace(0.0, 1.0, 70), checkpoint=checkpoint)[0]

    def plain(x):
        c = x[0]
        for r in np.linspace(0.0, 1.0, 70):
            c = np.tanh(c * x[0] + r)
        return c

    _, gradient = both(f, 0.8, at_once, monkeypatch, native_calls=0)
    np.testing.assert_allclose(gradient, complex_step(plain, np.array([0.8]))[0], rtol=1e-12)


def test_blocks_of_seeds(at_once, monkeypatch):
    def f(x):
        c, ys = wg.scan(lambda c, r: (np.sin(c) * x + r, c[0] * r), x, np.linspace(0.0, 1.0, 50))
        return np.concatenate([c, ys[::20]])

    jacobian = both(f, np.array([0.3, 0.5, 0.9]), at_once, monkeypatch, lambda f: wg.jacobian(f, mode="reverse"))
    np.testing.assert_allclose(jacobian, wg.jacobian(f, mode="forward")(np.array([0.3, 0.5, 0.9])), rtol=1e-11)


def test_second_derivatives(at_once, monkeypatch):
    def f(x):
        return wg.fori_loop(0, 50, lambda i, c: np.sin(c * x[0]) + x[1] ** 2, x[1])

    x = np.array([0.7, 0.4])
    hessian = both(f, x, at_once, monkeypatch, wg.hessian)
    columns = [(wg.grad(f)(x + h) - wg.grad(f)(x - h)) / 2e-6 for h in 1e-6 * np.eye(2)]
    np.testing.assert_allclose(hessian, np.transpose(columns), rtol=1e-6)


# ---- Decisions ----


def test_a_step_that_decides_otherwise(at_once, monkeypatch):
    """Machine code stops before it; Python traces the other branch there."""

    def f(x):
        def step(c, r):
            c = c * x + r
            return (c - 1.0 if c > 1.0 else c), None

        return wg.scan(step, 0.1, np.linspace(0.0, 0.4, 120))[0]

    def plain(x):
        c = 0.1
        for r in np.linspace(0.0, 0.4, 120):
            c = c * x + r
            c = c - 1.0 if np.real(c) > 1.0 else c
        return c

    value, gradient = both(f, 0.9, at_once, monkeypatch)
    np.testing.assert_allclose(value, plain(0.9), rtol=1e-13)
    np.testing.assert_allclose(gradient, np.imag(plain(0.9 + 1e-30j)) / 1e-30, rtol=1e-12)
    assert any(reason == 1 for _, reason, _ in at_once)


def test_program_of_a_loop_where_a_step_decides_otherwise(at_once):
    def f(x):
        return wg.scan(lambda c, r: (c * x if c < 2.0 else c + x, None), 1.0, np.zeros(60))[0]

    program = wg.trace(f)(1.001)  # it stays below 2
    with pytest.raises(wg.errors.BranchError):
        program(1.1)
    assert at_once


# ---- Alarms ----


def test_warnings_are_numpys(at_once, monkeypatch):
    """Where NumPy would warn, Python repeats the steps, and names the line."""

    def f(x):
        return wg.fori_loop(0, 60, lambda i, c: np.log(c) + x, x)

    with pytest.warns(RuntimeWarning, match="invalid value"):
        wg.grad(f)(0.1)


def test_infinity_times_zero(at_once, monkeypatch):
    """A sweep that meets an infinity goes line by line, as in Python."""

    def f(x):
        return np.sum(wg.scan(lambda c, r: (c + r, np.where(r > 0, np.sqrt(r), 0.0)), 0.0, x)[1])

    x = np.array([0.0, 1.0, 4.0] * 20)
    with np.errstate(all="ignore"):
        gradient = wg.grad(f)(x)
        gradient = wg.grad(f)(x)
        expected = in_python(lambda: wg.grad(f)(x), monkeypatch.context)
    np.testing.assert_array_equal(gradient, expected)
    np.testing.assert_allclose(gradient, np.tile([0.0, 0.5, 0.25], 20))


def test_nan_goes_through(at_once):
    def f(x):
        return wg.fori_loop(0, 60, lambda i, c: c * x + 1.0, x)

    for _ in range(3):
        assert np.isnan(wg.grad(f)(np.nan))


# ---- Ends ----


def test_no_steps(at_once):
    def f(x):
        c, ys = wg.scan(lambda c, r: (c * x, c * r), x, np.zeros(0))
        return c + np.sum(ys)

    assert [wg.grad(f)(3.0) for _ in range(3)] == [1.0] * 3


def test_errors_are_those_of_python(at_once):
    with pytest.raises(wg.errors.ResultError, match="at step 0 the carry c goes in as an int64"):
        wg.grad(lambda x: wg.scan(lambda c, r: (c * r * x, None), 1, np.ones(100))[0])(2.0)


def test_off(monkeypatch):
    monkeypatch.setattr(native, "calls_before", lambda: 0)
    assert native.price(3) == float("inf")


def test_a_budget_has_no_room_for_compiling(monkeypatch):
    monkeypatch.setattr(native, "price", lambda lines: 0.0)
    monkeypatch.setattr(native, "_made", lambda make: pytest.fail("a compiler was loaded"))
    wg.grad(lambda x: wg.scan(lambda c, _: (np.tanh(c * x), None), 0.5, None, length=100, memory=100_000)[0])(0.5)


def test_types_that_are_no_plain_numbers_stay_in_python():
    class Mine(np.ndarray):
        pass

    assert native.numbers(np.ones(2).view(Mine)) is None
    assert native.numbers(np.ones(2, np.float32)) is None
    assert native.numbers(np.int64(2**60)) is None
    assert native.numbers(np.ones((3, 4)).T[::2]).flags.c_contiguous


def test_interleaved_threads(at_once):
    from concurrent.futures import ThreadPoolExecutor

    def f(x):
        return wg.fori_loop(0, 400, lambda i, c: np.sin(c * x), x)

    points = np.linspace(0.5, 1.5, 24)
    expected = [float(wg.grad(f)(x)) for x in points]
    with ThreadPoolExecutor(4) as pool:
        assert [float(g) for g in pool.map(wg.grad(f), points)] == expected


# ---- Random bodies ----

OPERATIONS = {
    "sin": lambda a, b, c: np.sin(a),
    "tanh": lambda a, b, c: np.tanh(a - b),
    "product": lambda a, b, c: 0.3 * a * b,
    "sum": lambda a, b, c: 0.4 * (a + b + c),
    "exp": lambda a, b, c: np.exp(-a * a) * c,
    "quotient": lambda a, b, c: a / (1.5 + b * b),
    "where": lambda a, b, c: np.where(a > b, a, 0.5 * c),
    "maximum": lambda a, b, c: np.maximum(a, b) - 0.1,
    "swap": lambda a, b, c: b,
    "index": lambda a, b, c: a + np.sum(b) * 0.05,
}


@settings(max_examples=40, deadline=None)
@given(
    lines=st.lists(st.tuples(st.sampled_from(sorted(OPERATIONS)), *[st.integers(0, 5)] * 3), min_size=2, max_size=7),
    shape=st.sampled_from([(), (1,), (3,), (2, 3)]),
    steps=st.integers(33, 50),
    reverse=st.booleans(),
)
def test_random_bodies(lines, shape, steps, reverse):
    def step(x, carry, r):
        values = [carry[0], carry[1], r, x, 0.7, x * 0.5]
        for k, (name, *places) in enumerate(lines):
            values[k % 6] = OPERATIONS[name](*[values[p] for p in places]) + np.zeros(shape)
        return (values[0], values[1]), values[2]

    xs = np.linspace(-1.0, 1.0, steps * int(np.prod(shape, dtype=int))).reshape(steps, *shape)

    def f(x):
        (a, b), ys = wg.scan(lambda carry, r: step(x, carry, r), (x, x + 0.1), xs, reverse=reverse)
        return np.sum(a * b) + np.sum(ys * np.cos(ys))

    def plain(x):
        carry, ys = (x, x + 0.1), []
        for r in xs[::-1] if reverse else xs:
            carry, y = step(x, carry, r)
            ys.append(y)
        ys = np.stack(ys)
        return np.sum(carry[0] * carry[1]) + np.sum(ys * np.cos(ys))

    x = np.linspace(0.2, 0.9, int(np.prod(shape, dtype=int))).reshape(shape) if shape else 0.4
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "price", lambda lines: 0.0)
        value, gradient = wg.value_and_grad(f)(x)
    np.testing.assert_allclose(value, plain(x), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(gradient, wg.grad(plain)(x), rtol=1e-9, atol=1e-11)


# ---- Matrices ----


def test_recurrent_network(at_once, monkeypatch):
    """Products of matrices in nests, and the adjoint of a matrix, which is added up in memory."""
    rng = np.random.default_rng(0)
    w, u, xs = rng.normal(size=(14, 14)) * 0.3, rng.normal(size=(14, 5)), rng.normal(size=(60, 5))

    def f(w):
        return np.sum(wg.scan(lambda h, x: (np.tanh(w @ h + u @ x), None), np.zeros(14), xs)[0] ** 2)

    def plain(w):
        h = np.zeros(14)
        for x in xs:
            h = np.tanh(w @ h + u @ x)
        return np.sum(h**2)

    value, gradient = both(f, w, at_once, monkeypatch)
    np.testing.assert_allclose(value, plain(w), rtol=1e-12)
    np.testing.assert_allclose(gradient, complex_step(plain, w), rtol=1e-9, atol=1e-12)
    assert not any(alarmed for *_, alarmed in at_once)


def test_kalman_filter(at_once, monkeypatch):
    """Matrices of 4 x 4 in registers or nests, transposed and inverted by hand."""
    transition = np.eye(4) + 0.1 * np.eye(4, k=2)
    observed, zs = np.eye(4)[:2], np.random.default_rng(1).normal(size=(50, 2))

    def steps(q, scan):
        def step(state, z):
            x, p, loss = state
            x, p = transition @ x, transition @ p @ transition.T + q * np.eye(4)
            y, s = z - observed @ x, observed @ p @ observed.T + 0.5 * np.eye(2)
            determinant = s[0, 0] * s[1, 1] - s[0, 1] * s[1, 0]
            inverse = np.array([[s[1, 1], -s[0, 1]], [-s[1, 0], s[0, 0]]]) / determinant
            gain = p @ observed.T @ inverse
            return (x + gain @ y, p - gain @ observed @ p, loss + np.log(determinant) + y @ inverse @ y), None

        return scan(step, (np.zeros(4), np.eye(4), 0.0), zs)[0][2]

    def plain_scan(step, state, xs):
        for x in xs:
            state, _ = step(state, x)
        return state, None

    _, gradient = both(lambda q: steps(q, wg.scan), 0.05, at_once, monkeypatch)
    np.testing.assert_allclose(gradient, np.imag(steps(0.05 + 1e-30j, plain_scan)) / 1e-30, rtol=1e-10)


def test_stacks_of_matrices(at_once, monkeypatch):
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(3, 5, 5)) * 0.3, rng.normal(size=(3, 5, 2))

    def f(b):
        return np.sum(wg.fori_loop(0, 40, lambda i, b: np.tanh(a @ b) + b, b) ** 2)

    def plain(b):
        for _ in range(40):
            b = np.tanh(a @ b) + b
        return np.sum(b**2)

    _, gradient = both(f, b, at_once, monkeypatch)
    np.testing.assert_allclose(gradient, complex_step(plain, b), rtol=1e-9)


# ---- Places that are computed ----


def test_elements_at_the_number_of_the_step(at_once, monkeypatch):
    def f(x):
        return wg.fori_loop(1, 59, lambda i, c: np.sin(c) + x[i - 1] * x[i + 1] + 0.1 * i, 0.5)

    def plain(x):
        c = 0.5
        for i in range(1, 59):
            c = np.sin(c) + x[i - 1] * x[i + 1] + 0.1 * i
        return c

    x = np.linspace(-1.0, 1.0, 60)
    _, gradient = both(f, x, at_once, monkeypatch)
    np.testing.assert_allclose(gradient, complex_step(plain, x), rtol=1e-11, atol=1e-14)


def test_rows_at_computed_places_of_a_large_array(at_once, monkeypatch):
    """The adjoint of an array of which a step reads a row is added up in place; places from the end count, too."""
    places = np.random.default_rng(0).integers(-100, 100, 70)

    def f(x):
        return np.sum(wg.scan(lambda c, k: (np.tanh(c + x[k]), x[k, 1]), np.zeros(4), places)[0])

    def plain(x):
        c = np.zeros(4)
        for k in places:
            c = np.tanh(c + x[k])
        return np.sum(c)

    x = np.linspace(-1.0, 1.0, 400).reshape(100, 4)
    _, gradient = both(f, x, at_once, monkeypatch)
    np.testing.assert_allclose(gradient, complex_step(plain, x), rtol=1e-10, atol=1e-14)


def test_places_out_of_bounds_are_an_error(at_once):
    with pytest.raises(IndexError, match="out of bounds"):
        wg.grad(lambda x: wg.fori_loop(0, 50, lambda i, c: np.sin(c) + x[i], 0.0))(np.ones(40))
    assert any(made == 40 or reason == 1 for made, reason, _ in at_once)


def test_whole_numbers_stay_exact(at_once):
    """Products that are not exact in double precision are Python's."""

    def f(x):
        def step(c, k):
            return c + x * ((k * 1103515245 * 1103515245) % 7), None

        return wg.scan(step, 0.0, np.arange(60))[0]

    expected = sum((k * 1103515245 * 1103515245) % 7 for k in range(60))
    with np.errstate(all="ignore"):
        for _ in range(3):
            program = wg.trace(f)(1.0)
            assert program(1.0) == float(np.sum((np.arange(60) * 1103515245 * 1103515245) % 7)), expected


# ---- Forward mode ----


@pytest.mark.parametrize("reverse", [False, True])
def test_tangents(reverse, at_once, monkeypatch):
    def f(x):
        xs = np.outer(np.linspace(0.0, 1.0, 50), x)
        c, ys = wg.scan(lambda c, r: (np.sin(c) * x + r, c[0] * r), x, xs, reverse=reverse)
        return np.concatenate([c, ys[::20, 1]])

    x, direction = np.array([0.3, 0.5, 0.9]), np.array([1.0, -2.0, 0.5])
    jacobian = both(f, x, at_once, monkeypatch, lambda f: wg.jacobian(f, mode="forward"))
    np.testing.assert_allclose(jacobian, wg.jacobian(f, mode="reverse")(x), rtol=1e-11)
    _, tangent = both(f, x, at_once, monkeypatch, lambda f: lambda x: wg.jvp(f, (x,), (direction,)))
    np.testing.assert_allclose(tangent, jacobian @ direction, rtol=1e-11)


def test_a_factorization_by_loops_whose_first_slices_are_empty(at_once):
    """A[i, :0] at computed rows: such a step has no machine code, and runs in Python."""

    def log_determinant(A):
        A = A.copy()
        for i in range(len(A)):
            for j in range(i):
                A[i, j] = (A[i, j] - A[i, :j] @ A[:j, j]) / A[j, j]
            for j in range(i, len(A)):
                A[i, j] -= A[i, :i] @ A[:i, j]
        return np.sum(np.log(np.diag(A)))

    rows = np.random.default_rng(0).normal(size=(24, 24))
    A = rows @ rows.T / 24 + np.eye(24)
    gradient = wg.jit(wg.grad(log_determinant))
    for _ in range(3):
        np.testing.assert_allclose(gradient(A), np.linalg.inv(A).T, rtol=1e-9, atol=1e-12)


# ---- Writes at computed places ----

WRITES = {
    "column": lambda A, r, i: A.__setitem__((slice(None), i), np.cos(A[:, i - 1]) * r),
    "row": lambda A, r, i: A.__setitem__(i, 0.9 * A[i - 1] + r[0]),
    "element": lambda A, r, i: A.__setitem__((i, 2), np.sin(A[i - 1, 1]) * r[1]),
    "added column": lambda A, r, i: A.__setitem__((slice(None), i), 0.9 * A[:, i] + np.sin(A[:, i - 1]) * r),
    "shifted": lambda A, r, i: A.__setitem__((slice(1, None), i), A[:-1, i] * r[1:]),
    "shifted by places": lambda A, r, i: A.__setitem__((slice(1, None), 3), A[:-1, 3]),
    "inner part": lambda A, r, i: A.__setitem__(np.s_[1:-1, 1:-1], A[:-2, 1:-1] * r[1:-1, None]),
    "turned": lambda A, r, i: A.__setitem__(np.s_[::-1, 0], A[:, 0]),
    "constant": lambda A, r, i: A.__setitem__((slice(None), i), 0.25),
    "last row": lambda A, r, i: A.__setitem__(-1, np.tanh(A[i] * A[0])),
}


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.sampled_from(sorted(WRITES)), st.integers(0, 3)), min_size=1, max_size=4), st.integers(0, 9)
)
def test_random_writes_into_what_is_carried(steps, seed):
    """Against the loop in plain Python, and a gradient by differences of it."""
    rng = np.random.default_rng(seed)
    n = 20  # 400 numbers: in memory
    places = rng.integers(1, n, 60)

    def step(i, A, old, r):
        before = A.copy()
        A = A.copy()
        for name, reading in steps:
            WRITES[name](A, r, i)
            r = r if reading == 0 else 0.5 * r + 0.1 * (A if reading == 1 else before if reading == 2 else old)[:, i]
        return A, before if seed % 2 else old + 0.0, r

    def f(x, loop=wg.scan):
        A = x[:, None] * np.linspace(0.1, 0.9, n) + 0.2
        A, old, r = loop(lambda c, i: (step(i, *c), None), (A, A * 0.3, 0.4 * x + 0.1), places)[0]
        return np.sum(A * np.linspace(1.0, 2.0, n)) + np.sum(old * A) + np.sum(r)

    def plain(body, carry, places):
        for i in places:
            carry = body(carry, i)[0]
        return carry, None

    x = rng.uniform(0.2, 0.8, n)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "price", lambda lines: 0.0)
        wg.value_and_grad(f)(x)
        value, gradient = wg.value_and_grad(f)(x)
    np.testing.assert_allclose(value, f(x, plain), rtol=1e-12)
    direction = rng.normal(size=n)
    h = 1e-6
    slope = (f(x + h * direction, plain) - f(x - h * direction, plain)) / (2 * h)
    np.testing.assert_allclose(gradient @ direction, slope, rtol=1e-6, atol=1e-7)


def test_a_step_that_writes_columns_is_machine_code(at_once, monkeypatch):
    x = np.linspace(0.1, 0.9, 30)

    def f(x):
        def column(j, A):
            A = A.copy()
            A[:, j] = 0.9 * A[:, j - 1] + np.sin(A[:, j]) * x
            return A

        return np.sum(wg.fori_loop(1, 30, column, x[:, None] * np.ones(30)) ** 2)

    both(f, x, at_once, monkeypatch)


# ---- Writes at slices ----


@pytest.mark.parametrize("n", [40, 400])
def test_a_step_that_decides_otherwise_after_a_write_in_place(n, at_once):
    """Python makes that step, from what was carried to it and not from what machine code has written before it left."""
    x = np.linspace(0.1, 1.0, n) / n

    def f(x, loop=wg.fori_loop):
        def step(i, A):
            A = A.copy()
            A[1:-1] = 1.5 * A[1:-1]
            if np.sum(A) > 50.0:
                A = A * 0.01
            return A

        return np.sum(loop(0, 40, step, x) ** 2)

    def plain(start, stop, step, A):
        for i in range(start, stop):
            A = step(i, A)
        return A

    for _ in range(2):
        np.testing.assert_allclose(f(x), f(x, plain), rtol=1e-12)
        value, gradient = wg.value_and_grad(f)(x)
        np.testing.assert_allclose(value, f(x, plain), rtol=1e-12)
        np.testing.assert_allclose(gradient @ x, 2 * value, rtol=1e-9)  # homogeneous of degree two on a branch
    assert at_once


SLICES = {
    "sine": lambda x, y, i, p, q, m: x.__setitem__(slice(p, p + m), 0.5 * np.sin(y[q : q + m])),
    "added": lambda x, y, i, p, q, m: x.__setitem__(slice(p, p + m), 0.9 * x[p : p + m] + 0.1 * y[q : q + m]),
    "stencil": lambda x, y, i, p, q, m: x.__setitem__(slice(1, -1), (x[:-2] + x[1:-1] + x[2:]) / 3),
    "element": lambda x, y, i, p, q, m: x.__setitem__(p, 0.5 * x[q] + 0.1),
    "turned": lambda x, y, i, p, q, m: x.__setitem__(slice(p, None), 0.9 * x[p:][::-1]),
    "element of the step": lambda x, y, i, p, q, m: x.__setitem__(i + p, 0.3 * y[q + i]),
    "both": lambda x, y, i, p, q, m: (y.__setitem__(p, x[q]), x.__setitem__(slice(q, q + m), y[p : p + m] * 0.8)),
}


@settings(max_examples=12)
@given(
    st.lists(st.tuples(st.sampled_from(sorted(SLICES)), *[st.integers(0, 2)] * 4), min_size=1, max_size=6),
    st.sampled_from([(60,), (1500,), (50, 12), (60, 40)]),
    st.sampled_from([None, 0, 1]),
    st.integers(0, 9),
)
@example([("both", 0, 0, 0, 0), ("element", 0, 0, 0, 0), ("element of the step", 0, 0, 0, 0)], (60,), None, 0)
def test_random_writes_at_slices(lines, shape, decides, seed):
    """Against the loop in plain Python, and a gradient by differences of it."""
    rng = np.random.default_rng(seed)
    bound = rng.normal()

    def step(i, state):
        arrays = [a.copy() for a in state]
        for name, a, b, p, q in lines:
            SLICES[name](arrays[a], arrays[b], i, p, q, shape[0] - 3)
        if decides is not None and np.sum(arrays[decides][0]) > bound:
            arrays[decides] = 0.7 * arrays[decides] + 0.1 * arrays[2]
        return tuple(arrays)

    others = 0.5 * rng.normal(size=(2, *shape))

    def f(x, loop=wg.fori_loop):
        x, y, z = loop(0, 40, step, (x, *others))
        return np.sum(x * np.cos(y)) + np.sum(z**2)

    def plain(start, stop, step, state):
        for i in range(start, stop):
            state = step(i, state)
        return state

    x = 0.5 * rng.normal(size=shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "price", lambda lines: 0.0)
        wg.value_and_grad(f)(x)
        value, gradient = wg.value_and_grad(f)(x)
        np.testing.assert_allclose(f(x), value, rtol=1e-12)
    np.testing.assert_allclose(value, f(x, plain), rtol=1e-11)
    direction = rng.normal(size=shape) / np.sqrt(x.size)
    h = 1e-6
    slope = (f(x + h * direction, plain) - f(x - h * direction, plain)) / (2 * h)
    np.testing.assert_allclose(np.sum(gradient * direction), slope, rtol=1e-5, atol=1e-6)


def test_a_stencil_in_place_is_machine_code(at_once, monkeypatch):
    x = np.random.default_rng(0).normal(size=(2, 3200))

    def f(x):
        def step(_, state):
            a, b = (array.copy() for array in state)
            b[1:-1] = (a[:-2] + a[1:-1] + a[2:]) / 3
            a[1:-1] = (b[:-2] + b[1:-1] + b[2:]) / 3
            return a, b

        return np.sum(wg.fori_loop(0, 50, step, (x[0], x[1]))[0] ** 2)

    both(f, x, at_once, monkeypatch)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_reverse_that_is_two_calls(reverse, at_once, monkeypatch):
    """Under jit, from the second call on; against Python, with other numbers, and where Python has to make a step."""
    xs = np.random.default_rng(0).normal(size=(50, 3))

    def f(w, b, xs):
        def step(state, x):
            h, count = state
            if np.sum(h) > 40.0:
                h = 0.5 * h
            h = np.tanh(w @ h) * x + b
            return (h, count + h[0]), h * count

        (h, count), ys = wg.scan(step, (b * 0.5, 1.0), xs, reverse=reverse)
        return np.sum(h * count) + np.sum(ys**2)

    gradient = wg.jit(wg.grad(f, argnums=(0, 1, 2)))
    for scale in (0.5, 0.4, 0.3, 2.0, 60.0, 0.2):
        w, b = scale * np.linspace(-1.0, 1.0, 9).reshape(3, 3), scale * np.array([0.1, 0.2, 0.3])
        at_once.clear()
        results = gradient(w, b, scale * xs)
        expected = in_python(partial(wg.grad(f, argnums=(0, 1, 2)), w, b, scale * xs), monkeypatch.context)
        for one, other in zip(results, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)
        assert [made for made, *_ in at_once][-1] > 0


# ---- Whole numbers and booleans that are carried ----


def plain_for(start, stop, step, state):
    """Return what a loop in plain Python makes, with the numbers of the steps as NumPy has them."""
    for i in map(np.int64, range(start, stop)):
        state = step(i, state)
    return state


def counted(x, loop):
    def step(i, state):
        n, m, y = state
        n = 3 * n + 1
        if n > 2**58:  # 2**53 is passed by steps in Python
            n = 0 * n + m
        return n, -m, 0.5 * y + x * m + (n < 100)

    return loop(0, 80, step, (np.int64(1), np.int64(1), x))


def flagged(x, loop):
    def step(i, state):
        a, b, y = state
        return a ^ b, y > 0.2 * x, 0.9 * y + np.where(a, 1.0, 0.5) * x * b

    return loop(0, 50, step, (np.bool_(False), np.bool_(True), x))


@pytest.mark.parametrize("function", [counted, flagged])
@pytest.mark.parametrize("x", [0.3, -0.2])
def test_whole_numbers_and_booleans_are_carried(function, x, at_once):
    def y(x, loop=wg.fori_loop):
        return function(x, loop)[-1]

    for _ in range(3):
        for one, other in zip(function(x, wg.fori_loop), function(np.float64(x), plain_for), strict=True):
            assert type(one) is type(other)
            np.testing.assert_allclose(one, other, rtol=1e-13)
    wg.value_and_grad(y)(x)
    value, slope = wg.value_and_grad(y)(x)
    np.testing.assert_allclose(value, y(x, plain_for), rtol=1e-13)
    np.testing.assert_allclose(slope, (y(x + 1e-6, plain_for) - y(x - 1e-6, plain_for)) / 2e-6, rtol=1e-7)
    assert at_once


def test_a_while_loop_that_counts(at_once, monkeypatch):
    def f(x):
        count, y = wg.while_loop(lambda s: s[0] < 300, lambda s: (s[0] + 1, 0.99 * s[1] + x * s[0]), (0, x))
        return y * count

    both(f, 0.3, at_once, monkeypatch)
