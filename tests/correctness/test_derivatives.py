"""What users call: derivatives of every kind, nested, in every form of argument; and what they leave behind."""

from __future__ import annotations

import contextlib
import math
import threading

import mpmath
import numpy as np
import pytest
import truth
from agreement import assert_close

import wengert as wg
from wengert import tracing

X = np.array([0.5, 2.0, 3.0])


def reference(x):
    return np.array([x[0] * (x[1] - x[2]), x[2] * np.log(1 - x[0])])


def wide(x):
    return np.sum(np.sin(x) * x**2) * np.exp(-x[0])


def tall(x):
    return np.concatenate([np.sin(x), x[::-1] * x, np.array([x[0], 1.0, x[1] * x[0]])])


# ---- First derivatives ----


def test_the_reference_example():
    expected = [[-1.0, 0.5, -0.5], [-3.0 / 0.5, 0.0, math.log(0.5)]]
    for mode in (None, "forward", "reverse"):
        np.testing.assert_allclose(wg.jacobian(reference, mode=mode)(X), expected, rtol=1e-15)


@pytest.mark.parametrize("mode", [None, "forward", "reverse"])
@pytest.mark.parametrize("f", [reference, wide, tall, lambda x: x, lambda x: x[1], lambda x: np.outer(x, x[:2])])
def test_jacobian(f, mode):
    x = np.array([0.3, -1.2, 0.8])
    J = wg.jacobian(f, mode=mode)(x)
    expected = truth.complex_step(f, [x], 0)
    assert J.shape == np.shape(f(x)) + (3,)
    assert_close(J, expected, 1e-13)


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_jacobian_of_scalars(mode):
    assert wg.jacobian(np.sin, mode=mode)(0.3) == np.cos(0.3)
    assert np.shape(wg.jacobian(np.sin, mode=mode)(0.3)) == ()
    np.testing.assert_allclose(wg.jacobian(lambda t: np.array([t, t**2]), mode=mode)(3.0), [1.0, 6.0])
    assert wg.jacobian(lambda x: x[None], mode=mode)(X).shape == (1, 3, 3)


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_jacobian_in_small_blocks(mode, monkeypatch):
    whole = wg.jacobian(tall, mode=mode)(X)
    monkeypatch.setattr("wengert.accumulation.dense.BLOCK_BYTES", 1)
    np.testing.assert_array_equal(wg.jacobian(tall, mode=mode)(X), whole)


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_jacobian_of_matrices(mode):
    A = np.arange(6.0).reshape(2, 3)
    J = wg.jacobian(lambda A: A.T @ A, mode=mode)(A)
    assert J.shape == (3, 3, 2, 3)
    assert_close(J, truth.complex_step(lambda A: A.T @ A, [A], 0), 1e-13)


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_empty_arguments_and_results(mode):
    empty = np.zeros(0)
    assert wg.jacobian(lambda x: x * 2, mode=mode)(empty).shape == (0, 0)
    assert wg.jacobian(lambda x: np.sum(x), mode=mode)(empty).shape == (0,)
    assert wg.jacobian(lambda x: x[:0], mode=mode)(X).shape == (0, 3)
    assert wg.grad(lambda x: np.sum(x * x))(empty).shape == (0,)


def test_grad_and_value():
    x = np.array([0.3, -1.2, 0.8])
    value, gradient = wg.value_and_grad(wide)(x)
    assert value == wide(x)
    assert_close(gradient, truth.complex_step(wide, [x], 0), 1e-14)
    np.testing.assert_array_equal(wg.grad(wide)(x), gradient)


def f_abc(a, b, c=2.0, *, scale=1.0):
    return scale * np.sum(a * b**2) + c * np.sum(a)


def test_argnums():
    a, b = np.array([1.0, 2.0]), np.array([3.0, -1.0])
    np.testing.assert_allclose(wg.grad(f_abc)(a, b), b**2 + 2)
    np.testing.assert_allclose(wg.grad(f_abc, 1)(a, b), 2 * a * b)
    np.testing.assert_allclose(wg.grad(f_abc, -1)(a, b), 2 * a * b)
    np.testing.assert_allclose(wg.grad(f_abc, 2)(a, b, 1.0), 3.0)
    first, second = wg.grad(f_abc, (1, 0))(a, b, 4.0)
    np.testing.assert_allclose(first, 2 * a * b)
    np.testing.assert_allclose(second, b**2 + 4)
    assert isinstance(wg.grad(f_abc, (0,))(a, b), tuple)
    value, (g,) = wg.value_and_grad(f_abc, [0])(a, b)
    assert value == f_abc(a, b)
    np.testing.assert_allclose(g, b**2 + 2)
    J, K = wg.jacobian(lambda a, b: a * b, (0, 1))(a, b)
    np.testing.assert_allclose(J, np.diag(b))
    np.testing.assert_allclose(K, np.diag(a))


def test_keywords_are_passed_on_and_not_differentiated():
    a, b = np.array([1.0, 2.0]), np.array([3.0, -1.0])
    np.testing.assert_allclose(wg.grad(f_abc)(a, b, scale=3.0), 3 * b**2 + 2)
    np.testing.assert_allclose(wg.grad(f_abc)(a, b, c=0.0), b**2)


def test_arguments_that_are_not_differentiated_may_be_anything():
    def f(x, power, names, flag=True):
        return np.sum(x**power) * len(names) if flag else None

    np.testing.assert_allclose(wg.grad(f)(X, 2, ["a", "b"]), 4 * X)


def test_jvp_and_vjp():
    x, x_dot, y_bar = X, np.array([1.0, -2.0, 0.5]), np.array([0.3, 0.7])
    J = truth.complex_step(reference, [x], 0)
    y, y_dot = wg.jvp(reference, (x,), (x_dot,))
    np.testing.assert_array_equal(y, reference(x))
    assert_close(y_dot, J @ x_dot, 1e-14)
    y, pull = wg.vjp(reference, x)
    np.testing.assert_array_equal(y, reference(x))
    (x_bar,) = pull(y_bar)
    assert_close(x_bar, y_bar @ J, 1e-14)
    np.testing.assert_array_equal(pull(y_bar)[0], x_bar)  # it can be called again
    assert_close(pull([1, 0])[0], J[0], 1e-14)


def test_several_arguments_in_products():
    _, y_dot = wg.jvp(lambda a, b: a * b, (2.0, X), (1.0, np.ones(3)))
    np.testing.assert_allclose(y_dot, X + 2.0)
    _, pull = wg.vjp(lambda a, b: a * b, 2.0, X)
    a_bar, b_bar = pull(np.ones(3))
    assert a_bar == np.sum(X)
    np.testing.assert_allclose(b_bar, np.full(3, 2.0))


def test_linearize():
    _, push = wg.linearize(reference, X)
    J = truth.complex_step(reference, [X], 0)
    for unit, column in zip(np.eye(3), J.T, strict=True):
        assert_close(push(unit), column, 1e-14)
    assert_close(push.T(np.array([1.0, 0.0])), J[0], 1e-14)
    assert repr(push) == "<LinearMap R^3 -> R^2>"
    assert push.graph.splitlines()[0] == "du_1/du_{-1} = 1.0"
    x = X.copy()
    _, push = wg.linearize(lambda x: x**2, x)
    x[:] = 0.0  # the point is that at which it was linearized
    np.testing.assert_allclose(push(np.ones(3)), 2 * X)


# ---- Second derivatives and beyond ----


def test_hessian():
    x = np.array([0.3, -1.2, 0.8])
    H = wg.hessian(wide)(x)
    expected = truth.differences(lambda x: truth.complex_step(wide, [x], 0), [x], 0)
    assert_close(H, expected, 1e-9)
    np.testing.assert_allclose(H, H.T, rtol=1e-13)
    v = np.array([1.0, -2.0, 0.5])
    np.testing.assert_allclose(wg.hvp(wide)(x, v), H @ v, rtol=1e-13)
    np.testing.assert_allclose(wg.jacobian(wg.grad(wide), mode="reverse")(x), H, rtol=1e-13)
    np.testing.assert_allclose(wg.jacobian(wg.jacobian(wide, mode="forward"), mode="forward")(x), H, rtol=1e-13)
    np.testing.assert_allclose(wg.jacobian(wg.jacobian(wide, mode="forward"), mode="reverse")(x), H, rtol=1e-13)


def test_hessian_blocks():
    a, b = np.array([1.0, 2.0]), np.array([3.0, -1.0])
    (aa, ab), (ba, bb) = wg.hessian(f_abc, (0, 1))(a, b)
    np.testing.assert_allclose(aa, np.zeros((2, 2)))
    np.testing.assert_allclose(ab, np.diag(2 * b))
    np.testing.assert_allclose(ba, np.diag(2 * b))
    np.testing.assert_allclose(bb, np.diag(2 * a))


def test_hessian_of_a_matrix_argument():
    A = np.arange(6.0).reshape(2, 3)
    H = wg.hessian(lambda A: np.sum(A @ A.T))(A)
    assert H.shape == (2, 3, 2, 3)
    expected = np.einsum("ik,jl->ijkl", np.ones((2, 2)), np.eye(3)) * 2
    np.testing.assert_allclose(H, expected)


def forward(f):
    return lambda x: wg.jvp(f, (x,), (np.ones_like(x),))[1]


@pytest.mark.parametrize("modes", ["rrrr", "ffff", "rfrf", "frrf", "ffrr", "rrff"])
def test_four_times_nested(modes):
    f = derivative = lambda x: np.exp(np.sin(x)) / (1.0 + x * x)
    for order, mode in enumerate(modes, 1):
        derivative = wg.grad(derivative) if mode == "r" else forward(derivative)
        with mpmath.workdps(40):
            expected = mpmath.diff(lambda t: mpmath.exp(mpmath.sin(t)) / (1 + t * t), mpmath.mpf("0.7"), order)
        assert derivative(0.7) == pytest.approx(float(expected), rel=1e-12)
    assert f(0.7) > 0


def test_derivatives_of_a_power_to_order_five():
    f = lambda x: x**4  # noqa: E731
    for expected in (4 * 27.0, 12 * 9.0, 24 * 3.0, 24.0, 0.0):
        f = wg.grad(f)
        assert f(3.0) == expected


# ---- Traps: perturbations that must not be confused ----


def d(f, x):
    return wg.grad(f)(x)


def d_forward(f, x):
    return wg.jvp(f, (x,), (1.0,))[1]


both = pytest.mark.parametrize(("outer", "inner"), [(d, d), (d, d_forward), (d_forward, d), (d_forward, d_forward)])


@both
def test_siskind_and_pearlmutter_2005(outer, inner):
    """d/dx (x d/dy (x + y)) at x = 1 is 1, not 2: "Perturbation confusion and referential transparency"."""
    assert outer(lambda x: x * inner(lambda y: x + y, 1.0), 1.0) == 1.0
    assert outer(lambda x: x * inner(lambda y: x * y, 2.0), 3.0) == 6.0


@both
def test_inner_derivative_of_a_function_of_the_outer_variable_only(outer, inner):
    assert outer(lambda x: inner(lambda y: x * x, 1.0) + x, 3.0) == 1.0
    assert outer(lambda x: inner(lambda y: y * y, x), 3.0) == 2.0
    assert outer(lambda x: inner(lambda y: y * x * x, x) * x, 2.0) == 12.0


@both
def test_inner_point_depends_on_the_outer_variable(outer, inner):
    assert outer(lambda x: inner(lambda y: np.sin(x * y), x), 0.5) == pytest.approx(
        math.cos(0.25) - 0.5 * math.sin(0.25), rel=1e-14
    )


@both
def test_the_amazing_bug(outer, inner):
    """A curried function that escapes the inner derivative (Manzyuk et al. 2019): D D-shift twice is h(x + u + v)."""

    def shift(offset):
        return lambda f: lambda x: f(x + offset)

    def derivative_of_shift(g):
        return lambda x: inner(lambda u: shift(u)(g)(x), 0.0)

    assert derivative_of_shift(derivative_of_shift(lambda x: x**3))(2.0) == 12.0
    assert outer(derivative_of_shift(lambda x: x**3), 2.0) == 12.0


@both
def test_three_levels_share_a_closure(outer, inner):
    def f(x):
        return inner(lambda y: outer(lambda z: x * y * z * z, x * y), y_of(x)), x

    def y_of(x):
        return 2.0 * x

    # d/dz -> 2 x y (x y) = 2 x^2 y^2 with z = x y held; d/dy at 2x -> 4 x^2 y = 8 x^3; d/dx -> 24 x^2
    assert outer(lambda x: f(x)[0], 1.5) == pytest.approx(24 * 1.5**2, rel=1e-14)


def test_gradient_of_a_function_that_takes_a_gradient_step():
    def loss(w):
        return np.sum((w - 1.0) ** 4)

    def after_a_step(rate, w):
        return loss(w - rate * wg.grad(loss)(w))

    w = np.array([0.0, 3.0])
    expected = truth.differences(lambda rate: np.sum((w - rate * 4 * (w - 1) ** 3 - 1) ** 4), [0.01], 0, 1e-3)
    assert wg.grad(after_a_step)(0.01, w) == pytest.approx(float(expected), rel=1e-9)


def test_jacobian_within_a_gradient():
    def f(x):
        return np.sum(wg.jacobian(reference)(x) ** 2)

    expected = truth.complex_step(lambda x: np.sum(truth_jacobian(x) ** 2), [X], 0)
    assert_close(wg.grad(f)(X), expected, 1e-13)


def truth_jacobian(x):
    zero = 0 * x[0]
    return np.array([x[1] - x[2], x[0], -x[0], -x[2] / (1 - x[0]), zero, np.log(1 - x[0])])


def test_outer_arrays_in_inner_traces():
    def f(x):
        def inner(y):
            return np.sum(np.array([y[0] * x[0], x[1], y[1]]) * x) + np.sum(x[1:] @ np.stack([y, x[:2]]))

        return np.sum(wg.grad(inner)(x[:2] * 2.0))

    # d/dy0: x0 x0 + x1, d/dy1: x2 + x1
    np.testing.assert_allclose(wg.grad(f)(X), [2 * X[0], 2.0, 1.0])


# ---- What comes back ----


@pytest.mark.parametrize(
    "f", [np.sum, lambda x: x @ x, lambda x: x[0] + x[1] * 2, lambda x: np.sum(np.broadcast_to(x, (2, 3)))]
)
def test_gradients_are_arrays_of_their_own(f):
    x = X.copy()
    first, second = wg.grad(f)(x), wg.grad(f)(x)
    assert type(first) is np.ndarray
    assert first.flags.writeable
    assert first.flags.owndata
    first += 1.0
    assert not np.shares_memory(first, second)
    assert not np.shares_memory(first, x)
    np.testing.assert_array_equal(x, X)


def test_gradients_do_not_share_memory_with_each_other():
    a, b = wg.grad(lambda a, b: np.sum(a + b), (0, 1))(X, X)
    assert not np.shares_memory(a, b)
    a[0] = 9.0
    assert b[0] == 1.0
    _, pull = wg.vjp(lambda a, b: a + b, X, X)
    y_bar = np.ones(3)
    a, b = pull(y_bar)
    a[0] = 9.0
    assert b[0] == y_bar[0] == 1.0


def test_products_do_not_alias_their_arguments():
    x_dot = np.ones(3)
    y, y_dot = wg.jvp(lambda x: x, (X,), (x_dot,))
    y_dot[0] = y[0] = 9.0
    assert x_dot[0] == 1.0
    assert X[0] == 0.5
    J = wg.jacobian(lambda x: x)(X)
    J[0, 0] = 9.0
    np.testing.assert_array_equal(wg.jacobian(lambda x: x)(X), np.eye(3))
    value, _ = wg.value_and_grad(lambda x: x[0])(X)
    assert np.ndim(value) == 0


def test_single_precision_stays():
    x = X.astype(np.float32)
    assert wg.grad(wide)(x).dtype == np.float32
    assert wg.jacobian(reference, mode="forward")(x).dtype == np.float32
    assert wg.jacobian(reference, mode="reverse")(x).dtype == np.float32
    assert wg.hessian(wide)(x).dtype == np.float32
    assert wg.hvp(wide)(x, x).dtype == np.float32
    assert wg.jvp(wide, (x,), (X,))[1].dtype == np.float32
    assert wg.vjp(reference, x)[1](np.ones(2))[0].dtype == np.float32
    a, b = wg.grad(lambda a, b: np.sum(a * b), (0, 1))(x, X)
    assert (a.dtype, b.dtype) == (np.float32, np.float64)


@pytest.mark.parametrize("mode", ["forward", "reverse", None])
def test_a_jacobian_is_of_the_precision_of_the_argument_in_every_mode(mode):
    narrow = X.astype(np.float32)
    for f in (lambda x: x * np.ones(3), lambda x: np.sum(np.exp(x) * np.linspace(0, 1, 3)), lambda x: np.ones(2)):
        derivative = wg.jacobian(f) if mode is None else wg.jacobian(f, mode=mode)
        for entry in (derivative, wg.jit(derivative), wg.trace(derivative)(narrow)):
            assert entry(narrow).dtype == np.float32
        assert wg.vmap(derivative)(np.stack([narrow, narrow])).dtype == np.float32
        np.testing.assert_allclose(derivative(narrow), derivative(X), rtol=1e-6)
    assert wg.jacobian(lambda x: x.astype(np.float32), mode=mode or "forward")(X).dtype == np.float64
    assert wg.jacobian(lambda x: x * 1j, mode=mode or "forward")(narrow).dtype == np.complex64


def test_constants_have_derivative_zero():
    np.testing.assert_array_equal(wg.grad(lambda x: 3.0)(X), np.zeros(3))
    np.testing.assert_array_equal(wg.grad(lambda x: np.floor(x[0]))(X), np.zeros(3))
    np.testing.assert_array_equal(wg.jacobian(lambda x: np.ones((2, 1)))(X), np.zeros((2, 1, 3)))
    np.testing.assert_array_equal(wg.hessian(lambda x: np.sum(x))(X), np.zeros((3, 3)))
    np.testing.assert_array_equal(wg.jvp(lambda x: np.ones(2), (X,), (X,))[1], np.zeros(2))
    np.testing.assert_array_equal(wg.vjp(lambda x: np.ones(2), X)[1](np.ones(2))[0], np.zeros(3))
    unused = wg.grad(lambda a, b: a, 1)(1.0, X)
    np.testing.assert_array_equal(unused, np.zeros(3))


def test_identity_and_views_as_results():
    np.testing.assert_array_equal(wg.jacobian(lambda x: x)(X), np.eye(3))
    np.testing.assert_array_equal(wg.jacobian(lambda x: x.T[::-1])(X), np.eye(3)[::-1])
    assert wg.grad(lambda x: x)(2.0) == 1.0
    np.testing.assert_array_equal(wg.jacobian(lambda x: [x[0], x[1]][0])(X), [1.0, 0.0, 0.0])


def test_object_arrays_filled_element_by_element():
    def f(x):
        out = np.empty(3, dtype=object)
        for k in range(3):
            out[k] = x[k] ** k
        return np.sum(np.stack(list(out)) * 2.0) + out[2]

    np.testing.assert_allclose(wg.grad(f)(X), [0.0, 2.0, 6.0 * X[2]])


def test_values_used_many_times():
    def f(x):
        y = x[0]
        for _ in range(10):
            y = y + y * x[1]
        return y

    expected = truth.complex_step(f, [X], 0)
    assert_close(wg.grad(f)(X), expected, 1e-13)
    assert wg.grad(lambda x: x * x * x + x * x)(2.0) == 16.0


def test_decorated_and_bound_functions():
    class Model:
        def __init__(self):
            self.w = 3.0

        def loss(self, x):
            return self.w * np.sum(x**2)

        def __call__(self, x):
            return self.loss(x)

    model = Model()
    np.testing.assert_allclose(wg.grad(model.loss)(X), 6 * X)
    np.testing.assert_allclose(wg.jacobian(np.tanh)(0.0), 1.0)
    assert wg.grad(reference_sum).__name__ == "reference_sum"
    assert "documented" in wg.grad(reference_sum).__doc__
    assert str(wg.trace(model.loss)(X)).startswith("x = u_0")


def reference_sum(x):
    """A documented sum."""
    return np.sum(reference(x))


def test_callable_objects():
    class Model:
        def __call__(self, x):
            return np.sum(x**2)

    np.testing.assert_allclose(wg.grad(Model())(X), 2 * X)


# ---- What is left behind ----

CAUGHT = ("array", "asarray", "asanyarray", "ascontiguousarray")
ORIGINALS = {name: getattr(np, name) for name in CAUGHT}


def assert_clean():
    assert {name: getattr(np, name) for name in CAUGHT} == ORIGINALS
    context = tracing.current_context()
    assert context.tapes == []
    assert context.place is None
    assert np.geterr() == {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, ZeroDivisionError])
@pytest.mark.parametrize("operator", [wg.grad, wg.jacobian, wg.hessian, wg.trace])
def test_an_exception_leaves_nothing_behind(operator, kind):
    def f(x):
        np.array([x[0], x[1]])
        raise kind("mine")

    with pytest.raises(kind, match="mine"):
        operator(f)(X)
    assert_clean()
    np.testing.assert_allclose(wg.grad(lambda x: np.sum(np.array([x[0], 2 * x[1]])))(X), [1.0, 2.0, 0.0])
    assert_clean()


def test_an_exception_in_an_inner_trace_may_be_handled():
    def f(x):
        with contextlib.suppress(TypeError):
            wg.grad(lambda y: {}[y])(x[0])
        return np.sum(np.array([x[0], x[1]]) ** 2)

    np.testing.assert_allclose(wg.grad(f)(X), [1.0, 4.0, 0.0])
    assert_clean()


def test_a_shape_error_leaves_nothing_behind():
    with pytest.raises(ValueError, match="shapes"):
        wg.grad(lambda x: np.sum(x + np.ones(2)))(X)
    assert_clean()


def test_threads_differentiate_at_once():
    barrier = threading.Barrier(4)
    failures = []

    def work(seed):
        try:
            rng = np.random.default_rng(seed)
            barrier.wait(10)
            for _ in range(40):
                x = rng.normal(size=3)
                J = wg.jacobian(lambda x: np.array([x[0] * x[1], [np.sin(x[2])][0], np.sum(np.asarray(x) ** 2)]))(x)
                expected = [[x[1], x[0], 0.0], [0.0, 0.0, np.cos(x[2])], 2 * x]
                np.testing.assert_allclose(J, expected, rtol=1e-14)
                assert type(np.array([1.0, 2.0])) is np.ndarray
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures, failures
    assert_clean()


def test_another_thread_sees_plain_numpy_while_one_traces():
    seen = []

    def f(x):
        thread = threading.Thread(target=lambda: seen.append(np.array([1.0, 2.0]).sum()))
        thread.start()
        thread.join()
        return np.sum(np.array([x[0], x[1]]))

    np.testing.assert_allclose(wg.grad(f)(X), [1.0, 1.0, 0.0])
    assert seen == [3.0]


def test_np_array_of_plain_things_works_while_tracing():
    def f(x):
        assert np.array([[1, 2], [3, 4]]).dtype.kind == "i"
        assert np.array("text").dtype.kind == "U"
        assert np.array([{}, None], dtype=object).shape == (2,)
        assert np.asarray([1.0, 2.0], np.float32).dtype == np.float32
        assert np.array(object=[1.0]).shape == (1,)
        assert np.array([1.0, 2.0], ndmin=2).shape == (1, 2)
        assert isinstance(np.array(x), type(x))
        return np.sum(np.array([x[0], x[1]], dtype=np.float64)) + np.sum(np.array((x, 2 * x)))

    np.testing.assert_allclose(wg.grad(f)(X), [4.0, 4.0, 3.0])
