"""Derivatives that the user gives: whichever form the rule has, both modes, blocks of seeds and second order agree."""

from __future__ import annotations

import math

import jax
import numpy as np
import pytest
import scipy.optimize
from agreement import assert_close, assert_first_order, assert_second_order

import wengert as wg
from wengert.errors import ArgumentError, LostGradientError, ShapeError, UnsupportedError
from wengert.tracing import Traced


def by_partial(f, *partials):
    custom = wg.custom_derivative(f)
    custom.def_partial(*partials)
    return custom


def by_forward(f, rule):
    custom = wg.custom_derivative(f)
    custom.defjvp(rule)
    return custom


def by_reverse(f, forward, backward):
    custom = wg.custom_derivative(f)
    custom.defvjp(forward, backward)
    return custom


# ---- One function, three rules ----


def plain(a, b):
    """A function of a vector and a scalar that returns a vector of another length."""
    return np.concatenate([np.sin(a) * b, np.exp(b / 5)[None] * np.sum(a**2)])


def opaque(a, b):
    """The same on plain values: it does what cannot be traced."""
    assert type(a) is not Traced
    assert type(b) is not Traced
    out = [math.sin(float(t)) * float(b) for t in a]
    return np.array([*out, math.exp(float(b) / 5) * float(np.dot(a, a))])


def whole_a(y, a, b):
    return np.concatenate([np.diag(np.cos(a) * b), (2 * np.exp(b / 5) * a)[None, :]])


def whole_b(y, a, b):
    return np.concatenate([np.sin(a), (y[-1] / 5)[None]])


def forward_rule(primals, tangents):
    (a, b), (a_dot, b_dot) = primals, tangents
    top = np.cos(a) * b * a_dot + np.sin(a) * b_dot
    e = np.exp(b / 5)
    last = 2 * e * np.sum(a * a_dot) + e / 5 * np.sum(a**2) * b_dot
    return f_forward(a, b), np.concatenate([top, last[None]])


def keep(a, b):
    return f_forward(a, b), (a, b, np.exp(b / 5))


def pull(kept, g):
    a, b, e = kept
    return g[:-1] * np.cos(a) * b + 2 * e * a * g[-1], np.sum(g[:-1] * np.sin(a)) + g[-1] * e / 5 * np.sum(a**2)


f_partial = by_partial(opaque, whole_a, whole_b)
f_forward = by_forward(opaque, forward_rule)
f_reverse = by_reverse(opaque, keep, pull)


POINT = [np.array([0.3, -0.8, 1.2]), 0.7]


@pytest.mark.parametrize("f", [f_partial, f_forward, f_reverse], ids=["partial", "forward", "reverse"])
@pytest.mark.parametrize("which", [(0, 1), (0,), (1,)])
def test_first_order(f, which):
    assert_close(f(*POINT), plain(*POINT), 1e-15)
    for mode in ("forward", "reverse"):
        for given, expected in zip(
            wg.jacobian(f, which, mode=mode)(*POINT), wg.jacobian(plain, which)(*POINT), strict=True
        ):
            assert_close(given, expected, 1e-13)
    assert_first_order(f, POINT, which)


@pytest.mark.parametrize("f", [f_partial, f_forward, f_reverse], ids=["partial", "forward", "reverse"])
def test_second_order(f):
    assert_second_order(f, POINT)

    def scalar(g):
        return lambda a, b: np.sum(np.array([1.0, 2.0, 3.0, 4.0]) * g(a, b) ** 2)

    for given, expected in zip(
        wg.hessian(scalar(f), (0, 1))(*POINT),
        wg.hessian(scalar(plain), (0, 1))(*POINT),
        strict=True,
    ):
        for a, b in zip(given, expected, strict=True):
            assert_close(a, b, 1e-12)
    third = wg.jacobian(wg.hessian(lambda b: scalar(f)(POINT[0], b)))(0.7)
    assert_close(third, wg.jacobian(wg.hessian(lambda b: scalar(plain)(POINT[0], b)))(0.7), 1e-11)


@pytest.mark.parametrize("f", [f_partial, f_forward, f_reverse], ids=["partial", "forward", "reverse"])
def test_it_is_one_line(f):
    program = wg.trace(lambda a, b: 2 * f(a * 1.0, b))(*POINT)
    lines = [str(line) for line in program.lines]
    assert len(lines) == 3
    assert lines[1] == "u_2 = opaque(u_1, u_0)"
    point = [2 * POINT[0], 1.5]
    assert_close(program(*point), 2 * plain(*point), 1e-15)
    assert wg.check_derivatives(lambda a, b: 2 * f(a, b))(*POINT)
    assert wg.plan(f)(*POINT).n == 4


# ---- Elementwise partials ----


def test_diagonal_partials_broadcast():
    f = by_partial(lambda a, b: a * np.sin(b), lambda y, a, b: np.sin(b), lambda y, a, b: a * np.cos(b))
    for shapes in [((), ()), ((3,), ()), ((2, 1), (3,)), ((), (2, 3))]:
        rng = np.random.default_rng(0)
        point = [rng.normal(size=s)[()] for s in shapes]
        assert_first_order(f, point)
        assert_second_order(f, point)


def test_scipy_function_as_it_stands():
    from scipy import special

    digamma = special.digamma
    f = by_partial(lambda x: special.gammaln(x), lambda y, x: g(x))
    g = by_partial(lambda x: digamma(x), lambda y, x: special.polygamma(1, np.asarray(x)))
    assert_first_order(f, [np.array([1.5, 2.5])])
    assert_second_order(f, [np.array([1.5, 2.5])])


def test_both_rules_serve_each_its_mode():
    f = wg.custom_derivative(lambda x: x * 1.0)
    f.defvjp(lambda x: (x, None), lambda kept, g: (2 * g,))
    f.defjvp(lambda primals, tangents: (primals[0], 3 * tangents[0]))
    x = np.array([1.0, 5.0])
    np.testing.assert_array_equal(wg.jacrev(f)(x), 2 * np.eye(2))
    np.testing.assert_array_equal(wg.jacfwd(f)(x), 3 * np.eye(2))


def test_the_same_array_as_two_arguments():
    f = by_partial(lambda a, b: a * b**2, lambda y, a, b: b**2, lambda y, a, b: 2 * a * b)
    assert wg.grad(lambda x: f(x, x))(3.0) == 27.0


def test_zero_partials_and_missing_ones():
    f = by_partial(lambda a, b: a * b, lambda y, a, b: b, None)
    assert wg.grad(f, (0, 1))(2.0, 3.0) == (3.0, 0.0)
    g = by_partial(lambda a, b: a * b, lambda y, a, b: b)
    with pytest.raises(UnsupportedError, match="one for each argument"):
        wg.grad(g, (0, 1))(2.0, 3.0)


# ---- A root, as its users write it: the forward rule by the implicit function theorem ----


def root(a):
    return scipy.optimize.brentq(lambda x: x**3 + x - a, -10, 10, xtol=1e-15)


def test_implicit_function():
    solve = wg.custom_derivative(root)

    @solve.defjvp
    def rule(primals, tangents):
        x = solve(*primals)
        return x, tangents[0] / (3 * x**2 + 1)

    x = root(1.5)
    assert_close(wg.grad(solve)(1.5), 1 / (3 * x**2 + 1), 1e-12)
    second = -6 * x / (3 * x**2 + 1) ** 3
    assert_close(wg.grad(wg.grad(solve))(1.5), second, 1e-11)
    assert_close(wg.hessian(solve)(1.5), second, 1e-11)
    assert_close(
        wg.jacobian(lambda v: np.array([solve(v[0]), solve(v[1]) * v[0]]))(np.array([1.5, 0.5])).shape, (2, 2), 0
    )


# ---- Trees, arguments that do not move, keywords ----


def test_trees_in_and_out():
    @wg.custom_derivative
    def f(p, x):
        return {"a": p["w"] * x, "b": [float(np.sum(x)), p["s"]]}

    @f.defjvp
    def rule(primals, tangents):
        (p, x), (dp, dx) = primals, tangents
        return f(p, x), {"a": dp["w"] * x + p["w"] * dx, "b": [np.sum(dx), dp["s"]]}

    g = wg.custom_derivative(f.f)
    g.defvjp(
        lambda p, x: (g.f(p, x), (p, x)),
        lambda kept, bar: ({"w": bar["a"] * kept[1], "s": bar["b"][1]}, bar["a"] * kept[0]["w"] + bar["b"][0]),
    )

    def h(p, x):
        return {"a": p["w"] * x, "b": [np.sum(x), p["s"]]}

    p, x = {"w": np.array([1.0, 2.0]), "s": 3.0}, np.array([0.5, -0.5])
    for custom in (f, g):
        for mode in ("forward", "reverse"):
            given, expected = (wg.jacobian(k, (0, 1), mode=mode)(p, x) for k in (custom, h))
            assert str(jax.tree.structure(given)) == str(jax.tree.structure(expected))
            for a, b in zip(jax.tree.leaves(given), jax.tree.leaves(expected), strict=True):
                assert_close(a, b, 1e-14)


def test_arguments_that_do_not_move():
    calls = []

    @wg.custom_derivative
    def power(x, n, kind="plain", *, log=None):
        assert isinstance(n, int)
        calls.append(kind)
        return x**n

    power.def_partial(lambda y, x, n, kind, log: n * x ** (n - 1))
    assert wg.grad(power)(2.0, 3) == 12.0
    assert wg.grad(lambda x: power(x, n=3, kind="other"))(2.0) == 12.0
    assert calls[-1] == "other"

    apply = wg.custom_derivative(lambda f, x: f(x), nondiff_argnums=0)
    apply.defjvp(lambda f, primals, tangents: (f(*primals), 10 * tangents[0]))
    assert wg.grad(lambda x: apply(np.sin, x))(1.0) == 10.0
    reverse = wg.custom_derivative(lambda f, x: f(x), nondiff_argnums=(0,))
    reverse.defvjp(lambda f, x: (f(x), None), lambda f, kept, g: (g * 7,))
    assert wg.grad(lambda x: reverse(np.sin, x))(1.0) == 7.0
    assert wg.jvp(lambda x: reverse(np.sin, x), (1.0,), (1.0,))[1] == 7.0


def test_a_method():
    class Spring:
        k = 3.0

        @wg.custom_derivative
        def energy(self, x):
            return self.k * x * x / 2

        energy.def_partial(None, lambda y, self, x: self.k * x)

    assert wg.grad(Spring().energy)(2.0) == 6.0


def test_single_precision_stays():
    f = by_forward(lambda x: np.sin(x), lambda p, t: (np.sin(p[0]), np.cos(p[0]) * t[0]))
    g = by_reverse(lambda x: np.sin(x), lambda x: (np.sin(x), x), lambda x, g: (np.cos(x) * g,))
    x = np.array([1.0, 2.0], np.float32)
    for custom in (f, g):
        for mode in ("forward", "reverse"):
            J = wg.jacobian(custom, mode=mode)(x)
            assert J.dtype == np.float32
            assert_close(J, np.diag(np.cos(x)), 1e-6)


# ---- Nesting, and agreement with JAX ----


def test_nested_custom_functions():
    inner = by_forward(lambda x: np.exp(x), lambda p, t: (np.exp(p[0]), np.exp(p[0]) * t[0]))
    outer = by_reverse(
        lambda x: inner(x) * x, lambda x: (inner(x) * x, x), lambda x, g: (g * (inner(x) + inner(x) * x),)
    )
    x = 0.4
    assert_close(wg.grad(outer)(x), np.exp(x) * (1 + x), 1e-14)
    assert_close(wg.grad(wg.grad(outer))(x), np.exp(x) * (2 + x), 1e-14)
    assert_close(wg.grad(wg.grad(wg.grad(outer)))(x), np.exp(x) * (3 + x), 1e-13)
    assert_close(wg.jacfwd(wg.jacrev(wg.jacfwd(outer)))(x), np.exp(x) * (3 + x), 1e-13)


def test_false_rules_are_used_as_in_jax():
    def value(x):
        return x**2

    ours, theirs = wg.custom_derivative(value), jax.custom_vjp(value)
    for f in (ours, theirs):
        f.defvjp(lambda x, f=f: (f(x), x), lambda x, g: (g * 5 * x,))
    with jax.enable_x64(True):
        assert_close(
            wg.grad(wg.grad(lambda x: ours(x) * x))(3.0), jax.grad(jax.grad(lambda x: theirs(x) * x))(3.0), 1e-14
        )
        ours, theirs = wg.custom_derivative(value), jax.custom_jvp(value)
        for f in (ours, theirs):
            f.defjvp(lambda p, t, f=f: (f(p[0]), 5 * p[0] * t[0]))
        assert_close(
            wg.grad(wg.grad(lambda x: ours(x) * x))(3.0), jax.grad(jax.grad(lambda x: theirs(x) * x))(3.0), 1e-14
        )


# ---- What goes wrong says so ----


def test_wrong_shapes_are_named():
    x = np.array([1.0, 2.0])

    def said(call, error=ShapeError):
        with pytest.raises(error) as caught:
            call()
        return str(caught.value)

    f = by_partial(lambda x: x * 2, lambda y, x: np.ones(3))
    assert "the rule of <lambda> gives a partial of shape (3,), and (2,) or (2, 2) is needed" in said(
        lambda: wg.jacobian(f)(x)
    )
    f = by_forward(lambda x: x * 2, lambda p, t: (p[0], np.sum(t[0])))
    assert "a tangent of shape ()" in said(lambda: wg.jvp(f, (x,), (x,)))
    assert "a tangent of shape ()" in said(lambda: wg.jacrev(f)(x))
    f = by_reverse(lambda x: x * 2, lambda x: (x, None), lambda _, g: (g[0],))
    assert "an adjoint of shape ()" in said(lambda: wg.vjp(f, x)[1](x)).replace("a adjoint", "an adjoint")
    f = by_reverse(lambda x: x * 2, lambda x: (x, None), lambda _, g: (g, g))
    assert "a tuple of 1 adjoints" in said(lambda: wg.vjp(f, x)[1](x), ArgumentError)
    f = by_reverse(lambda x: x * 2, lambda x: x, lambda _, g: (g,))
    assert "must return a pair" in said(lambda: wg.vjp(f, x), ArgumentError)
    f = by_forward(lambda x: x * 2, lambda p, t: t[0])
    assert "must return a pair" in said(lambda: wg.jvp(f, (x,), (x,)), ArgumentError)


def test_no_rule_and_hidden_arguments():
    f = wg.custom_derivative(lambda x: x * 2)
    assert f(2.0) == 4.0
    with pytest.raises(UnsupportedError, match="def_partial"):
        wg.grad(f)(2.0)

    def g(x):
        hidden = by_partial(lambda a: a * x, lambda y, a: x)
        return hidden(3.0 * x)

    with pytest.raises(LostGradientError, match="not among its arguments"):
        wg.grad(g)(2.0)


def test_functions_may_fill_arrays():
    def fill(x):
        out = np.zeros(3)
        for k in range(3):
            out[k] = float(x) ** k
        return out

    f = by_partial(fill, lambda y, x: np.stack([0 * x, 1 + 0 * x, 2 * x]))
    assert_close(wg.jacobian(f)(3.0), [0.0, 1.0, 6.0], 1e-15)
    assert_close(wg.hessian(lambda x: np.sum(f(x)))(3.0), 2.0, 1e-15)


# ---- stop_gradient, elementwise_grad ----


def test_stop_gradient():
    x = np.array([1.0, 2.0])
    np.testing.assert_array_equal(wg.grad(lambda x: np.sum(x * wg.stop_gradient(x**2)))(x), x**2)
    for mode in ("forward", "reverse"):
        np.testing.assert_array_equal(wg.jacobian(lambda x: wg.stop_gradient(x) * 1.0, mode=mode)(x), np.zeros((2, 2)))
    assert wg.grad(wg.grad(lambda x: wg.stop_gradient(x**2) * x))(3.0) == 0.0
    assert wg.grad(lambda p: p["a"] * wg.stop_gradient(p)["b"])({"a": 2.0, "b": 3.0}) == {"a": 3.0, "b": 0.0}
    assert wg.stop_gradient({"a": [1, "text"], "b": None}) == {"a": [1, "text"], "b": None}
    assert wg.stop_gradient(2.0) == 2.0
    program = wg.trace(lambda x: wg.stop_gradient(x) * x)(2.0)
    assert program(5.0) == 25.0
    assert wg.jacobian(program)(5.0) == 5.0


def test_stopping_the_inner_of_two_variables():
    def f(x):
        return wg.grad(lambda y: wg.stop_gradient(x * y) * y)(2.0)

    assert f(3.0) == 6.0
    assert wg.grad(f)(3.0) == 0.0


def test_stopped_values_are_copies():
    def f(x):
        stopped = wg.stop_gradient(x)
        stopped[0] = 100.0
        return np.sum(x * stopped)

    x = np.array([1.0, 2.0])
    np.testing.assert_array_equal(wg.grad(f)(x), [100.0, 2.0])
    np.testing.assert_array_equal(x, [1.0, 2.0])


def test_elementwise_grad():
    x = np.linspace(-1, 1, 5).reshape(5, 1)
    assert_close(wg.elementwise_grad(np.tanh)(x), 1 - np.tanh(x) ** 2, 1e-14)
    assert wg.elementwise_grad(lambda a, b: a * b**2, 1)(2.0, 3.0) == 12.0
    assert_close(wg.elementwise_grad(lambda *, a: a**2, argnames="a")(a=x), 2 * x, 1e-14)
    f = np.tanh
    for _ in range(3):
        f = wg.elementwise_grad(f)
    t = np.tanh(x)
    assert_close(f(x), (1 - t**2) * (6 * t**2 - 2), 1e-12)


def test_a_gradient_inside_leaves_the_makers_to_the_trace_outside():
    @wg.custom_derivative
    def root(a):
        t = 1.0
        for _ in range(20):
            t = t - (t**3 - a) / wg.grad(lambda s: s**3 - a)(t)
        return t

    root.def_partial(lambda y, a: 1 / (3 * y * y))

    def f(x):
        r = root(x[0])
        b = np.zeros(2)
        b[0], b[1] = r, x[1]
        return np.sum(b)

    np.testing.assert_allclose(wg.grad(f)(np.array([8.0, 2.0])), [1 / 12, 1.0], rtol=1e-12)
