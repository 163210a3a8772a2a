"""Large arrays take other ways through NumPy than small ones (slices, BLAS, results in place): to the same results."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from agreement import assert_close

import wengert as wg
from wengert.jacobians import LARGE, add_into, add_up, assemble

rng = np.random.default_rng(5)
N = LARGE + 7


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
@pytest.mark.parametrize("length", range(1, 10))
@pytest.mark.parametrize("keepdims", [True, False])
def test_sums_over_a_short_axis_are_those_of_numpy_to_the_bit(dtype, length, keepdims):
    x = (rng.normal(size=(N, length)) * 10.0 ** rng.integers(-6, 6, (N, length))).astype(dtype)
    for whole in (x, np.asfortranarray(x), x[::2], x.reshape(1, N, length)):
        for axis in ((-1,), (whole.ndim - 1,)):
            given = add_up(whole, axis, keepdims, exact=True)
            np.testing.assert_array_equal(given, np.add.reduce(whole, axis=axis, keepdims=keepdims))
            assert given.dtype == dtype


@pytest.mark.parametrize("shape", [(N, 3), (50, 60, 2), (3, 1000), (N,), (40, 70, 1)])
def test_sums_over_axes_in_front(shape):
    x = rng.normal(size=shape)
    for count in range(1, len(shape) + 1):
        for keepdims in (True, False):
            axes = tuple(range(count))
            given = add_up(x, axes, keepdims)
            assert np.shape(given) == np.shape(np.sum(x, axis=axes, keepdims=keepdims))
            assert_close(given, np.sum(x, axis=axes, keepdims=keepdims), 1e-12)


def test_a_sum_that_is_not_finite_is_numpys():
    x = np.ones((N, 2))
    x[3, 1], x[5, 1] = np.inf, -np.inf
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(add_up(x, (0,), False), [N, np.nan])


SHAPES = [
    ((N,), ()), ((N,), (1,)), ((N, 3), (N, 1)), ((N, 3), (3,)), ((N, 1), (3,)), ((N, 3), (N, 3)), ((3, N), (3, 1)),
    ((60, 1, 2), (50, 2)), ((1, 1), (N, 4)), ((), (N, 5)), ((40, 1, 3), (1, 30, 1)),
]  # fmt: skip


@pytest.mark.parametrize(("left", "right"), SHAPES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.complex128])
def test_the_modes_agree_on_large_operands(left, right, dtype):
    def draw(shape):
        x = rng.uniform(0.5, 1.5, shape)
        return (x + 1j * rng.uniform(0.5, 1.5, shape) if np.dtype(dtype).kind == "c" else x).astype(dtype)[()]

    def f(a, b):
        y = a * b - a / b + 2 * b - a
        return np.sum(y * y * 0.5 + np.cos(y) - np.tanh(1e-2 * y), axis=-1) * 3.0

    a, b = draw(left), draw(right)
    ta, tb = draw(left), draw(right)
    y, y_dot = wg.jvp(f, (a, b), (ta, tb))
    _, pull = wg.vjp(f, a, b)
    g = draw(np.shape(y))
    before = np.copy(g)
    bars = pull(g)
    for bar, x in zip(bars, (a, b), strict=True):
        assert np.shape(bar) == np.shape(x)
        assert np.asarray(bar).dtype == dtype
    inner = sum(np.sum(np.real(bar * t)) for bar, t in zip(bars, (ta, tb), strict=True))
    tolerance = 1e-3 if dtype is np.float32 else 1e-10
    assert_close(inner, np.sum(np.real(g * y_dot)), tolerance)
    np.testing.assert_array_equal(g, before)
    for bar, again in zip(bars, pull(g), strict=True):  # what is kept is as it was
        np.testing.assert_array_equal(bar, again)


def test_adjoints_that_two_lines_share_are_not_written_to():
    x, z = rng.normal(size=N), rng.normal(size=N)

    def f(x, z):
        s = x + z  # both get the adjoint of s itself
        return np.sum(s * s + 3.0 * x - np.exp(z))

    gx, gz = wg.grad(f, (0, 1))(x, z)
    assert_close(gx, 2 * (x + z) + 3, 1e-12)
    assert_close(gz, 2 * (x + z) - np.exp(z), 1e-12)


def test_a_partial_that_belongs_to_somebody_else_is_not_written_to():
    weights = rng.normal(size=N)
    before = weights.copy()
    weigh = wg.define("weigh", lambda x: x * weights, lambda _y, _x: weights)
    try:
        assert_close(wg.grad(lambda x: np.sum(3.0 * weigh(x)))(np.ones(N)), 3 * before, 1e-12)
    finally:
        wg.undefine("weigh")
    np.testing.assert_array_equal(weights, before)


def test_the_branch_that_is_not_taken_contributes_nothing():
    x = np.where(np.arange(N) % 3 == 0, 0.0, 1.5)

    def f(s, x):
        return np.sum(np.where(x > 0, np.log(s * x), 0.0))

    with np.errstate(all="ignore"):
        gradient = wg.grad(f)(2.0, x)
    assert_close(gradient, np.count_nonzero(x) / 2, 1e-12)


def test_ties_of_large_arrays_share():
    x = np.maximum(rng.normal(size=(30, 2, 40, 2)), 0.0)
    x[0, :, 0] = 7.0
    g = rng.normal(size=(30, 40))
    (bar,) = wg.vjp(lambda x: np.max(x, axis=(1, 3)), x)[1](g)
    chosen = x == x.max(axis=(1, 3), keepdims=True)
    expected = chosen / chosen.sum(axis=(1, 3), keepdims=True) * g[:, None, :, None]
    np.testing.assert_allclose(bar, expected, rtol=1e-15)
    for function in (np.maximum, np.minimum):
        a, b = x.ravel(), np.roll(x.ravel(), 1)
        ga, gb = wg.grad(lambda a, b, function=function: np.sum(function(a, b)), (0, 1))(a, b)
        assert_close(ga, np.where(a == b, 0.5, function(a, b) == a), 1e-15)
        assert_close(ga + gb, np.ones(a.shape), 1e-15)


@pytest.mark.parametrize("width", [1, 3, 20])
def test_gathering_at_repeated_rows(width):
    rows = rng.integers(-5, 5, 3000)
    piece = rng.normal(size=(3000, width))
    for index in (rows % 5, rows):
        expected = np.zeros((5, width))
        np.add.at(expected, index, piece)
        assert_close(assemble([piece], [(index,)], (5, width)), expected, 1e-12)
    assert assemble([np.ones(0)], [(np.zeros(0, int),)], (4,)).dtype == np.float64


def test_adding_into_a_part():
    whole = np.arange(6.0).reshape(2, 3)
    add_into(whole, (slice(None), 1), np.array([10.0, 20.0]))
    add_into(whole, (0, 0), np.float64(5.0))
    np.testing.assert_array_equal(whole, [[5.0, 11.0, 2.0], [3.0, 24.0, 5.0]])


# ---- Matrices: LAPACK by hand, beside the general formulas that stacks of matrices go through ----


@pytest.mark.parametrize("n", [1, 5, 70])
@pytest.mark.parametrize("kind", ["general", "lower", "upper", "transposed"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.complex128])
def test_solve_of_one_matrix_is_that_of_a_stack(n, kind, dtype):
    A = (0.3 * rng.normal(size=(n, n)) / n + np.eye(n)).astype(dtype)
    A = {"general": A, "lower": np.tril(A), "upper": np.triu(A), "transposed": np.tril(A).T}[kind]
    for shape in ((n,), (n, 2)):
        b = rng.normal(size=shape).astype(dtype)
        g = rng.normal(size=shape).astype(dtype)
        given = wg.vjp(np.linalg.solve, A, b)[1](g)
        stacked = wg.vjp(np.linalg.solve, A[None], b.reshape(1, n, -1))[1](g.reshape(1, n, -1))
        for bar, expected in zip(given, stacked, strict=True):
            tolerance = 1e-4 if dtype is np.float32 else 1e-11
            np.testing.assert_allclose(bar, np.reshape(expected, bar.shape), rtol=tolerance, atol=tolerance)


def test_solve_for_many_columns():
    A = rng.normal(size=(3, 2, 2)) + 3 * np.eye(2)
    b, g = rng.normal(size=(3, 2, N)), rng.normal(size=(3, 2, N))
    bar_A, bar_b = wg.vjp(np.linalg.solve, A, b)[1](g)
    expected = np.linalg.solve(np.swapaxes(A, -1, -2), g)
    assert_close(bar_b, expected, 1e-13)
    assert_close(bar_A, -expected @ np.swapaxes(np.linalg.solve(A, b), -1, -2), 1e-12)


@pytest.mark.parametrize("n", [1, 5, 70])
@pytest.mark.parametrize("upper", [True, False])
def test_cholesky_of_one_matrix_is_that_of_a_stack(n, upper):
    A = rng.normal(size=(n, n))
    A = A @ A.T / n + np.eye(n)
    g = rng.normal(size=(n, n))
    (given,) = wg.vjp(lambda A: np.linalg.cholesky(A, upper=upper), A)[1](g)
    (stacked,) = wg.vjp(lambda A: np.linalg.cholesky(A, upper=upper), A[None])[1](g[None])
    assert_close(given, stacked[0], 1e-11)


def test_the_first_call_of_jit_holds_no_large_values_that_the_function_is_done_with():
    x = rng.normal(size=100_000)

    def chain(x):
        for _ in range(30):
            x = np.sin(x) + 1.0
        return x

    def first(function):
        jitted = wg.jit(function)
        tracemalloc.start()
        try:
            result = jitted(x)
            return tracemalloc.get_traced_memory()[1] / x.nbytes, result
        finally:
            tracemalloc.stop()

    first(chain)
    held, result = first(chain)
    assert held < 10  # where the tape held them, 60
    assert_close(result, chain(x), 1e-15)
    held, _ = first(wg.grad(lambda x: np.sum(chain(x))))
    assert held < 60  # the residuals of the function; where the tape held all, 150


@pytest.mark.parametrize("width", [1, 3, 16, 17])
@pytest.mark.parametrize("compiled", [False, True])
def test_a_large_matrix_meets_the_tangents_of_thin_ones_in_one_product(width, compiled):
    A = rng.normal(size=(90, 40))

    def left(x):
        return A @ np.sin(x)

    def right(x):
        return np.cos(x).T @ A.T

    x = rng.normal(size=(40, width))
    for f, slope in ((left, np.cos(x)), (right, -np.sin(x))):
        expected = np.einsum("ik,jl,kl->ijkl", A, np.eye(width), slope)
        expected = expected if f is left else np.swapaxes(expected, 0, 1)
        for mode in ("forward", "reverse"):
            jacobian = wg.jacobian(f, mode=mode)
            assert_close((wg.jit(jacobian) if compiled else jacobian)(x), expected, 1e-12)
            stacked = wg.vmap(wg.vmap(jacobian))
            points = np.stack([x, 2 * x])[None]
            assert_close(stacked(points)[0, 0], expected, 1e-12)
