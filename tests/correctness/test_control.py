"""Loops, branches and checkpoints: every way to write one gives the same numbers, in every mode and to every order."""

from __future__ import annotations

import copy
import functools
import random
import sys
import warnings

import jax
import jax.numpy as jnp
import loops
import numpy as np
import pytest
from agreement import assert_close
from hypothesis import given, settings
from hypothesis import strategies as st
from loops import INGREDIENTS, JAX, RandomBody, as_fori, as_python, as_scan, as_while, point, points, random_bodies
from truth import differences

import wengert as wg
import wengert.control.bodies
from wengert.control import native

jax.config.update("jax_enable_x64", True)

FORMS = {"scan": as_scan, "fori_loop": as_fori, "while_loop": as_while}
CHECKPOINTS = ("none", "all", 1, 2, 3, "auto", "memory")
ALL = (0, 1, 2)


def options(policy):
    return {"memory": 20_000_000} if policy == "memory" else {"checkpoint": policy}


def weighted(f):
    """Make a scalar of a vector, with weights that are not special."""
    return lambda *args: f(*args) @ np.linspace(0.6, 1.7, 2 * loops.SIZE)


def along(args, seed=5):
    rng = np.random.default_rng(seed)
    return tuple(rng.uniform(-1.0, 1.0, np.shape(a)) for a in args)


def second_order(f, args, directions):
    """Return v^T H and v^T H v, by the nestings of the modes."""

    def slope(*args):
        return sum(np.sum(g * v) for g, v in zip(wg.grad(f, ALL)(*args), directions, strict=True))

    def slope_forward(*args):
        return wg.jvp(f, args, directions)[1]

    gradient = wg.grad(f, ALL)
    _, forward_over_reverse = wg.jvp(gradient, args, directions)
    return {
        "forward over reverse": forward_over_reverse,
        "reverse over forward": wg.grad(slope_forward, ALL)(*args),
        "reverse over reverse": wg.grad(slope, ALL)(*args),
        "forward over forward": wg.jvp(slope_forward, args, directions)[1],
    }


def assert_agree(f, reference, args, what, order=2, tolerance=1e-12):
    """Compare value, Jacobians in both modes, products and second derivatives of two ways to write a function."""
    assert_close(f(*args), reference(*args), 1e-14, f"{what}: value")
    for mode in ("forward", "reverse"):
        both = zip(wg.jacobian(f, ALL, mode=mode)(*args), wg.jacobian(reference, ALL, mode=mode)(*args), strict=True)
        for k, (J, expected) in enumerate(both):
            assert_close(J, expected, tolerance, f"{what}: {mode}, argument {k}")
    v = along(args)
    assert_close(wg.jvp(f, args, v)[1], wg.jvp(reference, args, v)[1], tolerance, f"{what}: jvp")
    for bar, expected in zip(wg.grad(weighted(f), ALL)(*args), wg.grad(weighted(reference), ALL)(*args), strict=True):
        assert_close(bar, expected, tolerance, f"{what}: grad")
    if order < 2:
        return
    known = second_order(weighted(reference), args, v)
    for nesting, found in second_order(weighted(f), args, v).items():
        expected = known["forward over reverse"] if isinstance(found, tuple) else known[nesting]
        pairs = zip(found, expected, strict=True) if isinstance(found, tuple) else [(found, expected)]
        for k, (a, b) in enumerate(pairs):
            assert_close(a, b, tolerance, f"{what}: {nesting}, argument {k}")


# ---- Random bodies: every form, every checkpoint, every order ----


@settings(max_examples=25)
@given(random_bodies(), st.integers(1, 5), st.sampled_from(sorted(FORMS)), st.sampled_from(CHECKPOINTS), st.data())
def test_random_bodies(body, steps, form, policy, data):
    args = data.draw(points(steps))
    assert_agree(FORMS[form](body, **options(policy)), as_python(body), args, f"{form}, {policy}")


@pytest.mark.parametrize("name", sorted(INGREDIENTS))
def test_each_ingredient_in_every_form(name):
    body, args = RandomBody((name,)), point(1, 4)
    for form, make in FORMS.items():
        for policy in ("none", 2):
            assert_agree(make(body, **options(policy)), as_python(body), args, f"{form}, {policy}")


@settings(max_examples=15)
@given(random_bodies(), st.sampled_from(CHECKPOINTS), st.data())
def test_scans_from_the_last_slice(body, policy, data):
    args = data.draw(points(3))
    f = as_scan(body, reverse=True, **options(policy))
    assert_agree(f, as_python(body, reverse=True), args, "reversed")


def test_elements_from_outside_that_a_body_reads_more_than_once():
    def body(c, w):
        return np.sin(c * w[2]) + np.cos(c * w[2]) + w[0] * c + np.tanh(w[0] + c) + w[1] * w[0] + w[1]

    def scanned(c, w):
        return np.stack([wg.scan(lambda c, _: (body(c, w), None), c, None, 3)[0]])

    def python(c, w):
        for _ in range(3):
            c = body(c, w)
        return np.stack([c])

    args = np.float64(0.3), np.array([0.9, 0.8, 1.2])
    assert_close(wg.trace(scanned)(*args)(*args), python(*args), 1e-14, "value of the Program")
    for mode in ("forward", "reverse"):
        for J, expected in zip(*(wg.jacobian(f, (0, 1), mode=mode)(*args) for f in (scanned, python)), strict=True):
            assert_close(J, expected, 1e-13, mode)


@pytest.mark.parametrize("form", sorted(FORMS))
@pytest.mark.parametrize("name", ["product", "matrix", "decision", "scan", "fori_loop", "assignment to the carry"])
def test_values_are_the_same_bit_for_bit(form, name, monkeypatch):
    """Where the same primitives run, traced or not, checkpointed or not, the numbers are those of the plain loop.

    Machine code, which takes over after a while, may differ from NumPy in the last bits.
    """
    monkeypatch.setattr(native, "price", lambda lines: float("inf"))
    body, args = RandomBody((name,)), point(2, 5)
    expected = as_python(body)(*args)
    gradients = None
    for policy in CHECKPOINTS:
        f = FORMS[form](body, **options(policy))
        np.testing.assert_array_equal(f(*args), expected)
        np.testing.assert_array_equal(wg.trace(f, ALL)(*args)(*args), expected)
        np.testing.assert_array_equal(wg.jvp(f, args, along(args))[0], expected)
        value, found = wg.value_and_grad(weighted(f), ALL)(*args)
        assert value == weighted(as_python(body))(*args)
        gradients = gradients or found
        for g, h in zip(found, gradients, strict=True):
            np.testing.assert_array_equal(g, h)


@settings(max_examples=10)
@given(random_bodies(2), st.sampled_from(sorted(FORMS)), st.sampled_from(CHECKPOINTS), st.data())
def test_third_order(body, form, policy, data):
    args = data.draw(points(3))
    v = along(args)

    def third(f):
        return wg.jvp(lambda *a: wg.jvp(wg.grad(weighted(f), ALL), a, v)[1], args, v)[1]

    def third_reverse(f):
        slope = lambda *a: wg.jvp(lambda *b: wg.jvp(weighted(f), b, v)[1], a, v)[1]  # noqa: E731
        return wg.grad(slope, ALL)(*args)

    def backward(f):
        def slope(*a):
            return sum(np.sum(g * t) for g, t in zip(wg.grad(weighted(f), ALL)(*a), v, strict=True))

        def slope2(*a):
            return sum(np.sum(g * t) for g, t in zip(wg.grad(slope, ALL)(*a), v, strict=True))

        return wg.grad(slope2, ALL)(*args)

    f, reference = FORMS[form](body, **options(policy)), as_python(body)
    expected = third(reference)
    for nesting in (third, third_reverse, backward):
        for a, b in zip(nesting(f), expected, strict=True):
            assert_close(a, b, 1e-11, nesting.__name__)


@settings(max_examples=15)
@given(random_bodies(), st.sampled_from(sorted(FORMS)), st.sampled_from(CHECKPOINTS), st.data())
def test_programs_hold_at_other_points(body, form, policy, data):
    """What was traced at one point computes value and derivatives at another, unless it says that it cannot."""
    args, others = data.draw(points(4)), data.draw(points(4))
    f, reference = FORMS[form](body, **options(policy)), as_python(body)
    for function, known in (
        (f, reference),
        (wg.grad(weighted(f), ALL), wg.grad(weighted(reference), ALL)),
        (lambda *a: wg.jvp(f, a, along(a))[1], lambda *a: wg.jvp(reference, a, along(a))[1]),
    ):
        program = wg.trace(function, ALL)(*args)
        found, expected = program(*args), known(*args)
        for a, b in zip(*(x if isinstance(x, tuple) else (x,) for x in (found, expected)), strict=True):
            assert_close(a, b, 1e-12, "where it was traced")
        try:
            found = program(*others)
        except wg.errors.BranchError:
            continue
        expected = known(*others)
        for a, b in zip(*(x if isinstance(x, tuple) else (x,) for x in (found, expected)), strict=True):
            assert_close(a, b, 1e-12, "elsewhere")


# ---- JAX, from the same source ----


@settings(max_examples=4)  # JAX takes seconds for each
@given(random_bodies(2), st.sampled_from(sorted(FORMS)), points(3))
def test_jax_agrees(body, form, args):
    ours, theirs, jax_args = FORMS[form](body), FORMS[form](body, JAX), [*map(jnp.asarray, args)]
    assert_close(ours(*args), theirs(*jax_args), 1e-13)
    v = along(args)
    assert_close(wg.jvp(ours, args, v)[1], jax.jvp(theirs, tuple(jax_args), tuple(map(jnp.asarray, v)))[1], 1e-12)
    if not body.jax_goes_back:
        return
    if form == "while_loop":  # JAX goes back through what is written out
        theirs = as_python(body, JAX)
    last = jnp.linspace(0.6, 1.7, 2 * loops.SIZE)
    gradient = jax.grad(lambda *a: theirs(*a) @ last, ALL)
    for a, b in zip(wg.grad(weighted(ours), ALL)(*args), gradient(*jax_args), strict=True):
        assert_close(a, b, 1e-12, "reverse")
    expected = jax.jvp(gradient, tuple(jax_args), tuple(map(jnp.asarray, v)))[1]
    for a, b in zip(second_order(weighted(ours), args, v)["reverse over reverse"], expected, strict=True):
        assert_close(a, b, 1e-11, "second order")


@pytest.fixture(params=[-1, 32])
def few(request, monkeypatch):
    """Sweeps written down as straight code from the first step on, or line by line."""
    monkeypatch.setattr(wengert.control.bodies, "FEW", request.param)


@settings(max_examples=25)
@given(random_bodies(), st.integers(1, 5), st.sampled_from(sorted(FORMS)), st.sampled_from(CHECKPOINTS), st.data())
def test_random_bodies_by_kernels(body, steps, form, policy, data):
    """Sweeps that are written down as straight code give what sweeps line by line give."""
    args = data.draw(points(steps))
    before = wengert.control.bodies.FEW
    wengert.control.bodies.FEW = -1
    try:
        assert_agree(FORMS[form](body, **options(policy)), as_python(body), args, f"{form}, {policy}")
    finally:
        wengert.control.bodies.FEW = before


# ---- Trees, dtypes, constants ----

X = np.array([0.5, 1.25, 0.75])


def test_trees_as_carry_slices_and_results():
    def step(carry, x):
        a, rest = carry["a"], carry["rest"]
        new = {"a": a * x["u"] + rest[1], "rest": (rest[0] + 1, rest[1] * np.sin(x["v"][0]), None)}
        return new, {"first": a, "second": [rest[1], None]}

    def run(w, a):
        slices = {"u": X, "v": (np.outer(X, w[:2]),), "none": None}
        return wg.scan(step, {"a": a, "rest": (0, w[1:], None)}, slices)

    def f(w):
        carry, ys = run(w, w[0] * np.ones(2))
        return carry["rest"][1] @ w[1:] + np.sum(carry["a"]) * carry["rest"][0] + np.sum(ys["second"][0])

    def plain(w):
        a, n, b, total = w[0] * np.ones(2), 0, w[1:], 0.0
        for x in X:
            total = total + np.sum(b)
            a, n, b = a * x + b, n + 1, b * np.sin(x * w[:2])
        return b @ w[1:] + np.sum(a) * n + total

    w = np.array([0.3, -0.4, 0.8])
    carry, ys = run(w, w[0] * np.ones(2))
    assert carry["rest"][0] == 3
    assert isinstance(carry["rest"][0], np.integer)
    assert carry["rest"][2] is None
    assert ys["first"].shape == (3, 2)
    assert_close(f(w), plain(w), 1e-14)
    assert_close(wg.grad(f)(w), wg.grad(plain)(w), 1e-14)
    assert_close(wg.hessian(f)(w), wg.hessian(plain)(w), 1e-13)
    with pytest.raises(wg.errors.ResultError, match="carry_a goes in as a float64 and comes out as an array"):
        run(w, w[0])


@pytest.mark.parametrize("dtype", [np.float32, np.complex128, np.complex64])
def test_other_dtypes(dtype, few):
    start = np.array([0.5, 0.25]).astype(dtype)
    factor = dtype(1.1 + (0.3j if np.dtype(dtype).kind == "c" else 0.0))
    kept = np.float32 if dtype in (np.float32, np.complex64) else np.float64

    def plain(t):
        c = start * t
        for _ in range(4):
            c = np.sin(c * factor)
        return np.sum(np.abs(c) ** 2)

    def f(t):
        c, ys = wg.scan(lambda c, _: (np.sin(c * factor), c), start * t, None, 4)
        assert c.dtype == ys.dtype == dtype
        return np.sum(np.abs(c) ** 2)

    t = kept(0.7)
    value, slope = wg.value_and_grad(f)(t)
    assert value.dtype == slope.dtype == kept
    tolerance = 1e-5 if kept is np.float32 else 1e-13
    assert_close(slope, wg.grad(plain)(t), tolerance)
    assert_close(wg.jvp(f, (t,), (kept(1),))[1], slope, tolerance)
    assert_close(wg.grad(wg.grad(f))(t), wg.grad(wg.grad(plain))(t), 10 * tolerance)


def test_integers_and_truth_values_are_carried_along(few):
    def f(w):
        def step(state, x):
            count, odd, value = state
            return (count + 2, ~odd, np.where(odd, value * x * w, value + w) * (1.0 + 0.1 * count)), count

        (count, odd, value), counts = wg.scan(step, (1, True, 1.0), X)
        assert counts.dtype == np.int64
        return value * count + odd

    def plain(w):
        count, odd, value = 1, True, 1.0
        for x in X:
            value = (value * x * w if odd else value + w) * (1.0 + 0.1 * count)
            count, odd = count + 2, not odd
        return value * count + odd

    assert_close(f(0.7), plain(0.7), 1e-15)
    for order in (wg.grad, lambda f: wg.grad(wg.grad(f)), lambda f: wg.jacfwd(wg.grad(f))):
        assert_close(order(f)(0.7), order(plain)(0.7), 1e-14)


@pytest.mark.parametrize("checkpoint", ["none", "all", 2, "auto"])
def test_loops_of_no_step_and_of_one(checkpoint):
    forms = {
        "scan": lambda c, n: wg.scan(lambda c, x: (c * x, c + x), c, X[:n], checkpoint=checkpoint)[0],
        "fori_loop": lambda c, n: wg.fori_loop(2, 2 + n, lambda i, c: c * i, c, checkpoint=checkpoint),
        "while_loop": lambda c, n: wg.while_loop(lambda s: s[0] < n, lambda s: (s[0] + 1, 2 * s[1]), (0, c))[1],
        "map": lambda c, n: c + np.sum(wg.map(lambda x: c * x, X[:n], checkpoint=checkpoint)),
    }
    for form, f in forms.items():
        for n, slope in ((0, 1.0), (1, {"scan": 0.5, "map": 1.5}.get(form, 2.0))):
            assert f(0.3, n) == pytest.approx(slope * 0.3)
            assert wg.grad(f)(0.3, n) == pytest.approx(slope), (form, n)
            assert wg.jvp(lambda c: f(c, n), (0.3,), (2.0,))[1] == pytest.approx(2 * slope)  # noqa: B023
            assert wg.hessian(lambda c: f(c, n) * c)(0.3) == pytest.approx(2 * slope)  # noqa: B023
            assert wg.trace(lambda c: f(c, n))(0.3)(0.6) == pytest.approx(slope * 0.6)  # noqa: B023
    collected = wg.scan(lambda c, x: (c, {"a": np.outer(x, x), "b": 1}), 0.0, np.zeros((0, 2)))[1]
    assert collected["a"].shape == (0, 2, 2)
    assert collected["b"].shape == (0,)
    assert collected["b"].dtype == np.int64
    np.testing.assert_array_equal(wg.grad(lambda xs: np.sum(wg.map(np.sin, xs)))(np.zeros((0, 3))), np.zeros((0, 3)))
    assert wg.grad(lambda c: wg.fori_loop(3, 1, lambda i, c: c * i, c))(2.0) == 1.0


def test_arguments_named_and_aux():
    def f(w, xs, *, scale):
        c, ys = wg.scan(lambda c, x: (np.tanh(c @ w + x * scale), c), np.zeros(3), xs)
        return np.sum(c), {"states": ys, "last": c}

    w, xs = loops.MATRIX, np.outer(X, X)
    value = lambda w, xs, scale: f(w, xs, scale=scale)[0]  # noqa: E731
    (total, aux), gradients = wg.value_and_grad(f, argnums=(0, 1), argnames="scale", has_aux=True)(w, xs, scale=0.5)
    assert aux["states"].shape == (3, 3)
    assert total == np.sum(aux["last"])
    of_positions, of_names = gradients
    for g, expected in zip((*of_positions, of_names), wg.grad(value, (0, 1, 2))(w, xs, 0.5), strict=True):
        assert_close(g, expected, 1e-14)
    blocks = wg.jacobian(lambda p: wg.scan(lambda c, x: (np.sin(c * p["a"] + x * p["b"]), c), p["a"], X)[1])(
        {"a": 0.5, "b": 0.25}
    )
    assert blocks["a"].shape == (3,)
    expected = jax.jacobian(
        lambda p: jax.lax.scan(lambda c, x: (jnp.sin(c * p["a"] + x * p["b"]), c), p["a"], jnp.array(X))[1]
    )({"a": 0.5, "b": 0.25})
    for name in ("a", "b"):
        assert_close(blocks[name], expected[name], 1e-14)
    y, pull = wg.vjp(lambda w: wg.scan(lambda c, x: (np.tanh(w @ c + x), c), X, xs), w)
    _, push = wg.linearize(lambda w: wg.scan(lambda c, x: (np.tanh(w @ c + x), c), X, xs), w)
    t, bars = np.ones((3, 3)), (X, np.outer(X, X))
    c_dot, ys_dot = push(t)
    assert np.sum(pull(bars)[0] * t) == pytest.approx(X @ c_dot + np.sum(bars[1] * ys_dot), rel=1e-13)
    assert y[1].shape == (3, 3)


# ---- Plain arrays read at the number of the step ----


def test_plain_arrays_are_read_at_the_number_of_the_step():
    """Every step has the same lines, as if the array were gone through: its number does not become a constant."""
    us = np.random.default_rng(0).normal(size=(50, 3))
    bodies = [
        lambda i, c: np.tanh(loops.MATRIX @ c + us[i]),
        lambda i, c: np.sin(c * us[i, 0] + us[-1 - i]),
        lambda i, c: c + us[i] * us[(i + 1) % 50] if c[0] < 0.5 else np.cos(c) * us[i],
    ]
    for body in bodies:
        f = lambda c: np.sum(wg.fori_loop(0, 50, body, c))  # noqa: B023, E731
        plain = lambda c: np.sum(loops.plain_fori(0, 50, body, c))  # noqa: B023, E731
        assert f(X) == plain(X)
        assert_close(wg.grad(f)(X), wg.grad(plain)(X), 1e-12)
        assert_close(wg.hessian(f)(X), wg.hessian(plain)(X), 1e-12)
        (line, *_) = wg.trace(f)(X).lines
        assert len(line.inputs) == 1, "the arrays are constants of the body"
    g = lambda c: np.sum(wg.while_loop(lambda s: s[0] < 50, lambda s: (s[0] + 1, np.sin(s[1] + us[s[0]])), (0, c))[1])  # noqa: E731
    assert_close(
        wg.grad(g)(X), wg.grad(lambda c: np.sum(loops.plain_fori(0, 50, lambda i, c: np.sin(c + us[i]), c)))(X), 1e-12
    )


def test_bodies_that_draw_random_numbers_draw_each_once():
    def f(c, generator):
        return np.sum(wg.fori_loop(0, 6, lambda i, c: np.sin(c) + generator.normal(size=3) * (1 + i), c))

    expected = f(X, np.random.default_rng(3))
    assert wg.value_and_grad(lambda c: f(c, np.random.default_rng(3)))(X)[0] == expected


# ---- No NaN traps; what goes wrong in a body is found ----


def quietly(call):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", wg.errors.DomainWarning)
        return call()


@pytest.mark.parametrize("policy", ["none", "all", 1])
def test_the_branch_not_taken_contributes_nothing_in_a_body(policy, few):
    def make(scan):
        def step(c, x):
            safe = np.where(c > 0, np.sqrt(np.where(c > 0, c, 0.0)) + np.log(c), c * x)
            return 0.3 * np.where(x > 0, safe, c), safe

        return lambda c, xs: (lambda c, ys: np.sum(c) + np.sum(ys))(*scan(step, c, xs))

    f = make(lambda *args: wg.scan(*args, checkpoint=policy))
    reference = make(loops.plain_scan)
    c, xs = np.array([0.0, -0.5, 0.75]), np.outer([1.0, -1.0, 0.5, 2.0], np.ones(3))
    v = (np.array([0.5, -1.0, 0.25]), np.ones((4, 3)))
    for function, known in (
        (wg.grad(f, (0, 1)), wg.grad(reference, (0, 1))),
        (lambda *a: wg.jvp(f, a, v)[1:], lambda *a: wg.jvp(reference, a, v)[1:]),
        (lambda *a: wg.jvp(wg.grad(f, (0, 1)), a, v)[1], lambda *a: wg.jvp(wg.grad(reference, (0, 1)), a, v)[1]),
    ):
        found, expected = quietly(lambda: function(c, xs)), quietly(lambda: known(c, xs))  # noqa: B023
        for a, b in zip(found, expected, strict=True):
            assert np.all(np.isfinite(a))
            assert_close(a, b, 1e-13)


def test_norm_at_zero_in_a_body(few):
    f = lambda c: np.sum(wg.scan(lambda c, x: (c * np.linalg.norm(c), None), c, X)[0])  # noqa: E731
    assert list(quietly(lambda: wg.grad(f)(np.zeros(2)))) == [0.0, 0.0]
    assert list(quietly(lambda: wg.jvp(f, (np.zeros(2),), (np.ones(2),)))) == [0.0, 0.0]
    with pytest.warns(wg.errors.DomainWarning, match="norm"):  # limits are not sought in loops: NaN, not quietly 0
        assert np.isnan(wg.hvp(f)(np.zeros(2), np.ones(2))).all()


def test_why_nan_names_the_step_and_the_line():
    def f(c):
        def step(c, x):
            return np.sqrt(c - x) + 0.5, c  # here

        return np.sum(wg.scan(step, c, np.array([0.25, 0.5, 2.0, 0.125]))[1])

    origin = wg.why_nan(f)(1.0)
    assert origin.summary.startswith("at step 2 of scan, sqrt is nan where its operand is -")
    assert "here" in origin.location.text
    assert origin.primitive == "sqrt"

    def slope(c):
        return wg.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, np.sqrt(np.abs(s[1] - 1.0))), (0, c))[1]

    origin = wg.why_nan(slope)(2.0)
    assert origin.summary == "at step 2 of while_loop, the derivative of sqrt is inf where its operand is 0.0" or (
        origin.summary.startswith("at step 1 of while_loop, the derivative of sqrt is inf where its operand is 0.0")
    )
    origin = wg.why_nan(lambda c: wg.cond(c < 1, lambda v: np.sqrt(v), lambda v: v, 0.0 * c))(0.5)
    assert origin.summary == "in cond where true, the derivative of sqrt is inf where its operand is 0.0"
    assert not wg.why_nan(f)(9.0)


def test_a_warning_in_a_late_step_names_the_line():
    def f(c):
        return np.sum(wg.scan(lambda c, x: (np.log(c) * 2.0, None), c, None, 40)[0])  # here

    with pytest.warns(wg.errors.DomainWarning) as caught:
        wg.grad(f)(np.array([2.0]))
    assert any("here" in str(w.message) for w in caught)


@pytest.mark.parametrize("form", ["scan", "while_loop", "cond", "checkpoint", "map", "nested"])
def test_a_wrong_rule_in_a_body_is_found(form):
    decay = wg.define(f"decay_in_{form}", lambda x: np.exp(-x), lambda y, _x: -2.001 * y)
    forms = {
        "scan": lambda c: wg.scan(lambda c, x: (c * decay(c * x), None), c, X)[0],
        "while_loop": lambda c: wg.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, decay(s[1])), (0, c))[1],
        "cond": lambda c: wg.cond(c > 0, decay, np.sin, c),
        "checkpoint": lambda c: wg.checkpoint(decay)(c),
        "map": lambda c: np.sum(wg.map(lambda x: decay(c * x), X)),
        "nested": lambda c: wg.scan(lambda c, x: (wg.checkpoint(decay)(c * x), None), c, X)[0],
    }
    try:
        report = wg.check_derivatives(forms[form])(0.5)
        assert not report
        assert f"The rule of decay_in_{form} is wrong" in report.findings[-1]
        assert "by the rule, -0." in report.findings[-1]
    finally:
        wg.undefine(f"decay_in_{form}")


# ---- A run belongs to its row, not to the line ----


def test_sweeps_over_one_program_at_two_points_do_not_meet():
    f = lambda x: wg.scan(lambda c, x: (np.sin(c * x), c * x), 1.0, x)[0]  # noqa: E731
    program = wg.trace(f)(np.array([0.5, 1.0, 1.5]))
    a, b = np.array([0.1, 0.2, 0.3]), np.array([2.0, 1.0, -1.0])
    _, pull_a = wg.vjp(program, a)
    _, pull_b = wg.vjp(program, b)
    for _ in range(2):
        np.testing.assert_allclose(pull_a(1.0)[0], wg.grad(f)(a), rtol=1e-12)
        np.testing.assert_allclose(pull_b(1.0)[0], wg.grad(f)(b), rtol=1e-12)


def test_what_a_line_holds_cannot_be_changed():
    program = wg.trace(lambda x: wg.cond(x > 0, np.sin, np.cos, wg.fori_loop(0, 3, lambda i, c: c * x, 1.0)))(0.5)
    for line in program.lines:
        if line.held is not None:
            for name in ("bodies", "name"):
                with pytest.raises(AttributeError):
                    setattr(line.held, name, None)


def test_an_operand_that_is_changed_after_the_loop_was_run():
    buffer = np.array([1.0, 2.0, 3.0])

    def f(w):
        y = wg.scan(lambda c, x: (c * w * x, None), 1.0, buffer)[0]
        buffer[:] = 7.0
        return y

    value, gradient = wg.value_and_grad(f)(2.0)
    assert (value, gradient) == (6.0 * 8.0, 6.0 * 3 * 4.0)


@pytest.mark.parametrize("reverse", [False, True])
def test_loops_inside_a_body_are_unrolled_in_its_code_alone(reverse):
    us, xs = np.array([0.3, -0.7, 1.1]), np.linspace(0.1, 1.0, 40)

    def rolled(c, w):
        def step(c, x):
            v, ys = wg.scan(lambda v, u: (np.sin(v * w) + u * x, v * u), c, us, reverse=reverse)
            return v, np.sum(ys) + wg.fori_loop(2, 5, lambda i, t: t * np.cos(v) + i, x)

        return wg.scan(step, c, xs)

    def plain(c, w):
        collected = []
        for x in xs:
            v, ys = c, []
            for u in us[::-1] if reverse else us:
                v, y = np.sin(v * w) + u * x, v * u
                ys.append(y)
            t = x
            for i in range(2, 5):
                t = t * np.cos(v) + i
            c = v
            collected.append(sum(ys) + t)
        return c, np.array(collected)

    def of(f):
        return lambda p: f(p[0], p[1])[0] + np.sum(f(p[0], p[1])[1] ** 2)

    point = np.array([0.4, 1.2])
    program = wg.trace(of(rolled))(point)
    assert "fori_loop" in str(program)
    np.testing.assert_allclose(program(point), of(plain)(point), rtol=1e-12)
    for derive in (wg.grad, wg.hessian, lambda f: wg.jacfwd(wg.grad(f))):
        np.testing.assert_allclose(derive(of(rolled))(point), derive(of(plain))(point), rtol=1e-9)


def test_steps_that_differ_after_a_branch_inside():
    scales = np.array([1.0, -2.0, 3.0])

    def f(c):
        def step(state):
            k, c = state
            c = wg.cond(c > 0, lambda c: np.sin(c) * 2.0, lambda c: np.cos(c) - 3.0, c)
            return k + 1, c * scales[int(k)] + float(int(k) ** 2)

        return wg.while_loop(lambda state: state[0] < 3, step, (0, c))[1]

    def plain(c):
        for k in range(3):
            c = (np.sin(c) * 2.0 if c > 0 else np.cos(c) - 3.0) * scales[k] + float(k**2)
        return c

    for c in (0.7, -0.7):
        np.testing.assert_allclose(wg.value_and_grad(f)(c), wg.value_and_grad(plain)(c), rtol=1e-12)


# ---- A body that keeps state ----

WEIGHTS = 1.0, 1.0, 1.0, 2.0, 3.0


class Counter:
    def __init__(self):
        self.count = 0

    def weigh(self):
        self.count += 1
        return WEIGHTS[self.count - 1]


def of_iterator():
    return functools.partial(next, iter(WEIGHTS))


def of_generator():
    weights = (w for w in WEIGHTS)
    return lambda: next(weights)


def of_list():
    left = list(WEIGHTS[::-1])
    return lambda: left.pop()


def of_variable():
    count = 0

    def weigh():
        nonlocal count
        count += 1
        return WEIGHTS[count - 1]

    return weigh


def of_dict():
    counts = {"steps": -1}

    def weigh():
        counts["steps"] += 1
        return WEIGHTS[counts["steps"]]

    return weigh


def of_small_array():
    count = np.zeros(1, int)

    def weigh():
        count[0] += 1
        return WEIGHTS[count[0] - 1]

    return weigh


def of_function():
    def weigh():
        weigh.count += 1
        return WEIGHTS[weigh.count - 1]

    weigh.count = 0
    return weigh


def of_method():
    return Counter().weigh


def of_coins():
    coins = np.random.default_rng(1)
    return lambda: 1.0 if coins.random() > 0.4 else 2.0


def of_numpy_coins():
    np.random.seed(5)
    return lambda: 1.0 if np.random.rand() > 0.4 else 2.0


def of_python_coins():
    random.seed(3)
    return lambda: 1.0 if random.random() > 0.4 else 2.0


LOOPS = {
    "scan": lambda step: wg.scan(lambda c, _: (step(c), None), 0.5, length=5)[0],
    "fori_loop": lambda step: wg.fori_loop(0, 5, lambda _, c: step(c), 0.5),
    "while_loop": lambda step: wg.while_loop(lambda v: v[0] < 5, lambda v: (v[0] + 1, step(v[1])), (0, 0.5))[1],
}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    "make",
    [
        of_iterator, of_generator, of_list, of_variable, of_dict, of_small_array, of_function, of_method, of_coins,
        of_numpy_coins, of_python_coins,
    ],
)  # fmt: skip
def test_a_body_whose_first_two_steps_are_alike_may_keep_state(make, loop):
    def f(x):
        weigh = make()
        return LOOPS[loop](lambda c: c * x + weigh())

    weigh, x = make(), 0.7
    value, slope = 0.5, 0.0
    for _ in range(5):  # by hand: Python's own loop, and the chain rule
        value, slope = value * x + weigh(), slope * x + value
    np.testing.assert_allclose(f(x), value, rtol=1e-14)
    np.testing.assert_allclose(wg.value_and_grad(f)(x), (value, slope), rtol=1e-14)


def test_a_body_that_keeps_no_state_is_traced_twice_however_many_steps_there_are():
    parameters = {"w": np.array([0.3]), "names": ["w"]}

    def f(x):
        return np.sum(wg.fori_loop(0, 50, step, x))

    def step(_, c):
        return c * parameters["w"] + c

    calls = []

    def watch(frame, event, _):
        if event == "call" and frame.f_code is step.__code__:
            calls.append(1)

    sys.setprofile(watch)
    try:
        wg.grad(f)(np.ones(1))
    finally:
        sys.setprofile(None)
    assert len(calls) == 2


# ---- A checkpoint that writes into its argument ----


def writes_an_element(t):
    t[0] = t[1] * 5.0
    return np.sum(t**2)


def writes_through_a_view(t):
    t[1:][0] = t[0] * 3.0
    return np.sum(t**2)


def writes_in_place(t):
    t += 1.0
    t *= t
    return np.sum(t)


def writes_a_constant(t):
    s = np.sum(t**2)
    t[:] = 0.5
    return s


@pytest.mark.parametrize(
    "argument", [lambda y: y, lambda y: y[1:], lambda y: y[::-1]], ids=["array", "view", "reversed"]
)
@pytest.mark.parametrize("writer", [writes_an_element, writes_through_a_view, writes_in_place, writes_a_constant])
def test_what_a_checkpointed_function_writes_into_its_argument_stands_there_afterwards(writer, argument):
    def f(x, write=writer):
        y = x * 2.0
        return write(argument(y)) + np.sum(y**3)

    def checkpointed(x):
        return f(x, wg.checkpoint(writer))

    x = np.array([0.5, 1.5, -0.3])
    slopes = differences(f, [x], 0, step=1e-3)
    np.testing.assert_allclose(wg.value_and_grad(checkpointed)(x)[0], f(x), rtol=1e-12)
    np.testing.assert_allclose(wg.grad(checkpointed)(x), slopes, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(wg.jacobian(checkpointed, mode="forward")(x), slopes, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(wg.trace(checkpointed)(x)(1.1 * x), f(1.1 * x), rtol=1e-12)


def test_an_argument_that_is_written_into_and_read_by_another_name_is_refused():
    def reads_another_argument(x):
        def g(a, b):
            a[0] = 5.0
            return np.sum(b)

        y = x * 2.0
        return wg.checkpoint(g)(y, y[:2])

    def reads_its_closure(x):
        def g(a):
            a[0] = 5.0
            return np.sum(y**2) + np.sum(y[1:])

        y = x * 2.0
        return wg.checkpoint(g)(y)

    for f in reads_another_argument, reads_its_closure:
        with pytest.raises(wg.errors.LostGradientError, match="writes into its argument a, which it reads by another"):
            wg.grad(f)(np.ones(3))


def test_a_branch_that_writes_into_its_operand_is_refused():
    def f(x):
        y = x * 2.0
        return wg.cond(y[1] > 0, writes_an_element, np.sum, y) + np.sum(y)

    with pytest.raises(wg.errors.LostGradientError, match="a branch writes into its operand t, which would be lost"):
        wg.trace(f)(np.ones(3))


# ---- Copies of arrays from outside ----


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize(
    "copied",
    [
        lambda x: x.copy(), lambda x: np.copy(x), lambda x: np.array(x), lambda x: x.astype(float), copy.deepcopy,
        lambda x: x[::-1].copy(), lambda x: x.copy("F"),
    ],
    ids=["copy", "np.copy", "np.array", "astype", "deepcopy", "reversed", "by columns"],
)  # fmt: skip
def test_a_body_may_write_into_its_own_copy_of_an_array_from_outside(copied, loop):
    def f(x):
        def step(c):
            a = copied(x)
            a[0] = c * 0.5
            return np.sum(a * a) * 0.1 + x[0]

        return LOOPS[loop](step)

    x = np.array([0.5, 1.5, -0.3])
    slopes = differences(f, [x], 0, step=1e-3)
    np.testing.assert_allclose(wg.grad(f)(x), slopes, rtol=1e-8)
    np.testing.assert_allclose(wg.trace(f)(x)(1.1 * x), f(1.1 * x), rtol=1e-12)
    assert x[0] == 0.5
