"""`vmap` of functions with loops: all members in lockstep, or by themselves where they decide differently."""

from __future__ import annotations

import os

import jax
import jax.numpy as jnp
import loops
import numpy as np
import pytest
from agreement import assert_close
from hypothesis import given, settings
from hypothesis import strategies as st
from loops import INGREDIENTS, JAX, OURS, RandomBody, as_fori, as_scan, as_while, point, random_bodies

import wengert as wg

jax.config.update("jax_enable_x64", True)

FORMS = {"scan": as_scan, "fori_loop": as_fori, "while_loop": as_while}
LAST = np.linspace(0.6, 1.7, 2 * loops.SIZE)


def scalar(f):
    return lambda *args: f(*args) @ LAST


def members(seed=0, size=4, steps=3):
    c, xs, w = zip(*(point(seed + k, steps) for k in range(size)), strict=True)
    return np.stack(c), np.stack(xs), np.stack(w)


def assert_members_agree(f, args, in_axes, tolerance=1e-12):
    """Compare values, gradients of the batch, gradients of members and their Hessians with those one by one."""
    size = next(len(a) for a, axis in zip(args, in_axes, strict=True) if axis == 0)

    def member(k):
        return tuple(a if axis is None else a[k] for a, axis in zip(args, in_axes, strict=True))

    g = scalar(f)
    functions = {
        "value": f,
        "gradient": wg.grad(g, (0, 1, 2)),
        "reversed hessian": lambda *a: wg.grad(lambda *b: np.sum(wg.grad(g)(*b) * LAST[:3]))(*a),
        "hvp": lambda c, xs, w: wg.jvp(lambda c: wg.grad(g)(c, xs, w), (c,), (LAST[:3],))[1],
    }
    for what, function in functions.items():
        found = wg.vmap(function, in_axes)(*args)
        single = [function(*member(k)) for k in range(size)]
        pairs = zip(found, zip(*single, strict=True), strict=True) if isinstance(found, tuple) else [(found, single)]
        for a, b in pairs:
            assert_close(a, np.stack(b), tolerance, what)
    total = wg.grad(lambda *a: np.sum(wg.vmap(g, in_axes)(*a)), (0, 1, 2))(*args)
    singles = [wg.grad(g, (0, 1, 2))(*member(k)) for k in range(size)]
    for k, axis in enumerate(in_axes):
        expected = np.stack([s[k] for s in singles])
        assert_close(total[k], expected if axis == 0 else expected.sum(axis=0), tolerance, f"sum, argument {k}")


@pytest.mark.parametrize("name", sorted(INGREDIENTS))
def test_each_ingredient(name):
    body, args = RandomBody((name,)), members()
    for make in FORMS.values():
        assert_members_agree(make(body), args, (0, 0, 0))
    c, xs, w = args
    assert_members_agree(as_scan(body), (c, xs[0], w[0]), (0, None, None))
    assert_members_agree(as_scan(body, checkpoint=2), (c[0], xs[0], w), (None, None, 0))


@settings(max_examples=15)
@given(random_bodies(), st.sampled_from(sorted(FORMS)), st.integers(0, 1000), st.sampled_from(["none", "all", 2]))
def test_random_bodies(body, form, seed, policy):
    assert_members_agree(FORMS[form](body, checkpoint=policy), members(seed, 3), (0, 0, 0))


@settings(max_examples=3)  # JAX takes seconds for each
@given(random_bodies(2), st.sampled_from(["scan", "fori_loop"]), st.integers(0, 1000))
def test_jax_agrees(body, form, seed):
    c, xs, w = members(seed, 3)
    ours, theirs = FORMS[form](body), FORMS[form](body, JAX)
    axes = (0, None, 0)
    args = tuple(map(jnp.asarray, (c, xs[0], w)))
    assert_close(wg.vmap(ours, axes)(c, xs[0], w), jax.vmap(theirs, axes)(*args), 1e-12)
    if not body.jax_goes_back:
        return
    for transform, order in (("grad", 1), ("hessian", 2)):
        found = wg.vmap(getattr(wg, transform)(scalar(ours)), axes)(c, xs[0], w)
        expected = jax.vmap(getattr(jax, transform)(lambda *a: theirs(*a) @ jnp.array(LAST)), axes)(*args)
        assert_close(found, expected, 1e-11, f"{transform}, order {order}")


# ---- Members that decide differently ----


def test_members_take_different_numbers_of_steps():
    def f(x):
        return wg.while_loop(
            lambda s: np.abs(s[0] ** 2 - s[1]) > 1e-10, lambda s: ((s[0] + s[1] / s[0]) / 2, s[1]), (x, x)
        )[0]

    x = np.array([1e-4, 0.5, 2.0, 1e4])
    assert_close(wg.vmap(f)(x), np.sqrt(x), 1e-6)
    assert_close(wg.vmap(wg.grad(f))(x), [wg.grad(f)(v) for v in x], 1e-14)
    assert_close(wg.grad(lambda x: np.sum(wg.vmap(f)(x)))(x), [wg.grad(f)(v) for v in x], 1e-14)
    assert_close(wg.vmap(wg.hessian(f))(x), [wg.hessian(f)(v) for v in x], 1e-14)


def test_no_step_for_some_members():
    f = lambda x: wg.while_loop(lambda v: v > 1.0, lambda v: 0.5 * v, x) * x  # noqa: E731
    x = np.array([0.5, 3.0, 0.25, 9.0])
    expected = [f(v) for v in x]
    np.testing.assert_array_equal(wg.vmap(f)(x), expected)
    np.testing.assert_array_equal(wg.vmap(f)(x[::-1]), expected[::-1])
    np.testing.assert_array_equal(wg.vmap(wg.grad(f))(x), [wg.grad(f)(v) for v in x])


def test_an_if_in_the_body():
    def f(x):
        def step(c, _):
            if c > 0.7:
                return c * 0.9, c
            return c + np.sin(c) ** 2, 2 * c

        c, ys = wg.scan(step, x, None, 12)
        return c + np.sum(ys)

    x = np.linspace(0.1, 1.5, 9)
    np.testing.assert_allclose(wg.vmap(f)(x), [f(v) for v in x], rtol=1e-14)
    np.testing.assert_allclose(wg.vmap(wg.grad(f))(x), [wg.grad(f)(v) for v in x], rtol=1e-13)
    np.testing.assert_allclose(wg.vmap(wg.hessian(f))(x), [wg.hessian(f)(v) for v in x], rtol=1e-12)


def test_cond_by_member():
    calls = []

    def f(x):
        return wg.cond(x > 0, lambda v: (np.log(v), v), lambda v: (v * v, 2 * v), x)

    x = np.array([-2.0, 0.5, 3.0, -1.0])
    a, b = wg.vmap(f)(x)
    np.testing.assert_array_equal(a, [4.0, np.log(0.5), np.log(3.0), 1.0])
    np.testing.assert_array_equal(b, [-4.0, 0.5, 3.0, -2.0])
    g = lambda x: f(x)[0]  # noqa: E731
    np.testing.assert_array_equal(wg.vmap(wg.grad(g))(x), [-4.0, 2.0, 1 / 3.0, -2.0])
    np.testing.assert_allclose(wg.grad(lambda x: np.sum(wg.vmap(g)(x)))(x), [-4.0, 2.0, 1 / 3.0, -2.0])
    np.testing.assert_allclose(wg.vmap(wg.hessian(g))(x), [2.0, -4.0, -1 / 9.0, 2.0])
    program = wg.trace(wg.vmap(g))(x)
    np.testing.assert_array_equal(program(x * 2), [g(2 * v) for v in x])
    assert not calls


def test_a_branch_that_could_not_be_traced_is_traced_for_its_members():
    def f(x, n):
        return wg.cond(n[0] > 2, lambda v: v[3] * v[0], lambda v: v[:2] @ v[:2], x[: 2 + 2 * (1 if n[0] > 2 else 0)])

    x, n = np.arange(1.0, 13.0).reshape(3, 4), np.array([[1.0], [3.0], [1.0]])
    np.testing.assert_array_equal(wg.vmap(f)(x, n), [f(a, b) for a, b in zip(x, n, strict=True)])


# ---- What it costs ----


def test_a_batch_is_one_line_and_its_body_is_run_once_a_step(capfd):
    """The body's lines are written once for all members: their number does not depend on the size of the batch."""

    def f(c):
        def step(c, _):
            os.write(1, b"1")  # which is no state that a body could read, as a list would be
            return np.sin(c * c), None

        return wg.scan(step, c, None, 50)[0]

    for size in (2, 200):
        c = np.linspace(0.1, 1.0, size)
        capfd.readouterr()
        program = wg.trace(wg.vmap(f))(c)
        assert len(program.lines) == 1
        assert capfd.readouterr().out == "11"
        (held,) = (line.held for line in program.lines)
        assert held.bodies[0].program.arguments[0].shape == (size,)
        np.testing.assert_array_equal(program(c), [f(v) for v in c])


def test_empty_batches():
    f = as_scan(RandomBody(("product",)))
    found = wg.vmap(f)(np.zeros((0, 3)), np.zeros((0, 4, 3)), np.zeros((0, 3)))
    assert found.shape == (0, 6)


def test_vmap_in_a_body_and_in_a_batch():
    inner = lambda c: wg.scan(lambda a, _: (np.sin(a) * 1.1, None), c, None, 3)[0]  # noqa: E731

    def f(c):
        return wg.scan(lambda c, _: (wg.vmap(inner)(c) * np.sum(c), None), c, None, 2)[0]

    c = np.array([[0.3, 0.5], [0.2, 0.9], [0.7, 0.1]])
    expected = np.stack([f(v) for v in c])
    assert_close(wg.vmap(f)(c), expected, 1e-14)
    assert_close(wg.vmap(wg.vmap(inner))(c), [[inner(v) for v in row] for row in c], 1e-14)
    assert_close(wg.vmap(wg.jacobian(f))(c), [wg.jacobian(f)(v) for v in c], 1e-13)
    assert OURS.scan is wg.scan
