"""Loops, branches and checkpoints: every way to write one gives the same numbers, in every mode and to every order."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import loops
import numpy as np
import pytest
from agreement import assert_close
from hypothesis import given, settings
from hypothesis import strategies as st
from loops import INGREDIENTS, JAX, RandomBody, as_fori, as_python, as_scan, as_while, point, points, random_bodies

import wengert as wg

jax.config.update("jax_enable_x64", True)

FORMS = {"scan": as_scan, "fori_loop": as_fori, "while_loop": as_while}
CHECKPOINTS = ("none", "all", 1, 2, 3, "auto", "memory")
ALL = (0, 1, 2)


def options(policy):
    return {"memory": 100_000} if policy == "memory" else {"checkpoint": policy}


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


@pytest.mark.parametrize("form", sorted(FORMS))
@pytest.mark.parametrize("name", ["product", "matrix", "decision", "scan", "fori_loop", "assignment to the carry"])
def test_values_are_the_same_bit_for_bit(form, name):
    """Where the same primitives run, traced or not, checkpointed or not, the numbers are those of the plain loop."""
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
