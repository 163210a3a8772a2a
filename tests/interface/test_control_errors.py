"""What bad input to loops gets: the value, the step, the line and what to write instead; and what bodies may not do."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from wengert.errors import ArgumentError, EscapedError, LostGradientError, ResultError

X = np.array([1.0, 2.0, 3.0])


def grows_late(c, x):
    if x > 2.5:
        return np.stack([c, c]), None  # the guilty line
    return c * x, None


def nests_late(c, x):
    if x > 1.5:
        return (c, c), None  # the guilty line
    return c, None


def doubles_late(v):
    if v > 3:
        return np.stack([v, v])  # the guilty line
    return 2.0 * v


def pairs_late(c, x):
    if x > 1.5:
        return c, c * np.ones(2)  # the guilty line
    return c, c


def tree(i, v):
    return {"h": v["h"], "n": v["n"] + 0.5}


CARRIES = [
    (
        lambda c: wg.scan(grows_late, c, X)[0],
        ["scan: at step 2 the carry c goes in as a float64 and comes out as an array (2,) of float64", "guilty"],
    ),
    (lambda c: wg.scan(nests_late, c, X)[0], ["scan: at step 1 the carry has the structure (*, *)", "guilty"]),
    (
        lambda c: wg.while_loop(lambda v: v < 10, doubles_late, c),
        ["while_loop: at step 2 the value v goes in as a float64 and comes out as an array (2,)", "guilty"],
    ),
    (
        lambda c: np.sum(wg.scan(pairs_late, c, X)[1]),
        ["scan: at step 1 what is collected as y was a float64 before, and is an array (2,) of float64", "guilty"],
    ),
    (
        lambda c: c * wg.fori_loop(0, 3, tree, {"h": X, "n": 0})["n"],
        ["fori_loop: at step 0 the carry v_n goes in as an int64 and comes out as a float64", "0.0 instead of 0"],
    ),
    (
        lambda c: wg.scan(lambda s, x: (s * np.multiply(c, np.float64(1)), None), np.float32(1), X)[0],
        ["scan: at step 0 the carry s goes in as a float32 and comes out as a float64", "Start from a float64"],
    ),
    (lambda c: wg.scan(lambda s, x: s, c, X), ["scan: a step returned one number, where a pair", "Return (carry, y)"]),
    (lambda c: wg.scan(lambda s, x: None, c, X), ["scan: a step returned None, where a pair is needed"]),
    (lambda c: wg.scan(lambda s, x: (s, s, s), c, X), ["scan: a step returned a tuple of 3, where a pair"]),
    (lambda c: wg.scan(lambda s, x: np.zeros(2), c, X), ["scan: a step returned one array, where a pair is needed"]),
    (
        lambda c: np.sum(wg.while_loop(lambda v: v > 0, lambda v: v - 1.0, c * X)),
        ["the test returned an array of shape (3,) and dtype bool, where a truth value", "np.any or np.all"],
    ),
    (lambda c: wg.while_loop(lambda v: None, lambda v: v, c), ["the test returned None, where a truth value"]),
]


@pytest.mark.parametrize(("f", "said"), CARRIES)
@pytest.mark.parametrize("how", ["plain", "grad", "trace"])
def test_a_carry_must_keep_its_form(f, said, how):
    call = {"plain": lambda f: f, "grad": wg.grad, "trace": wg.trace}[how](f)
    with pytest.raises(ResultError) as caught:
        call(1.0)
    message = str(caught.value)
    for part in said:
        assert part in message
    assert "wengert/" not in message, "the line is the user's"


ARGUMENTS = [
    (lambda: wg.scan(grows_late, 1.0, {"a": X, "b": X[:2]}), "xs['a'] has 3, xs['b'] has 2"),
    (lambda: wg.scan(grows_late, 1.0, X, 5), "xs has 3, length is 5"),
    (lambda: wg.scan(grows_late, 1.0), "scan is not told how many steps to make"),
    (lambda: wg.scan(grows_late, 1.0, None, -2), "length is -2, and a whole number is needed, 0 or more"),
    (lambda: wg.scan(grows_late, 1.0, None, 2.5), "length is 2.5, and a whole number is needed"),
    (lambda: wg.fori_loop(0, 2.5, tree, 1.0), "fori_loop: upper is 2.5"),
    (lambda: wg.scan(grows_late, 1.0, {"a": X, "b": 2.0}), "goes through leading axes, and xs['b'] is a number"),
    (lambda: wg.map(np.sin, 2.0), "map goes through leading axes, and xs is a number"),
    (lambda: wg.scan(grows_late, {"name": "a"}, X), "init['name'] is a str, not a number or an array"),
    (lambda: wg.scan(grows_late, 1.0, X, checkpoint="some"), '"none", "all", "auto" (with memory='),
    (lambda: wg.scan(grows_late, 1.0, X, checkpoint=0), "checkpoint=0 is unknown"),
    (lambda: wg.scan(grows_late, 1.0, X, checkpoint=True), "checkpoint=True is unknown"),
    (lambda: wg.while_loop(np.sign, np.sign, 1.0, checkpoint=-1), "checkpoint=-1 is unknown"),
    (lambda: wg.map(np.sin, X, checkpoint=2, memory=100), "checkpoint=2 and memory=100 are both given"),
    (lambda: wg.cond(X > 0, np.sin, np.cos, X), "pred is an array of shape (3,) and dtype bool"),
    (lambda: wg.cond("yes", np.sin, np.cos, X), "cond chooses by one truth value"),
]


@pytest.mark.parametrize(("call", "said"), ARGUMENTS)
def test_arguments_are_checked(call, said):
    with pytest.raises(ArgumentError) as caught:
        call()
    assert said in str(caught.value)
    assert "call()" in str(caught.value) or "wg." in str(caught.value), "the line is the user's"


@pytest.mark.parametrize(
    ("branches", "said"),
    [
        ((lambda v: v, lambda v: np.stack([v, v])), "the result y is a float64"),
        ((lambda v: v, lambda v: (v, v)), "the result has the structure (*, *), where * is needed"),
        ((lambda v: v, lambda v: np.float32(1)), "float32"),
    ],
)
def test_branches_must_return_the_same_form(branches, said):
    for f in (lambda v: wg.cond(v > 0, *branches, v), lambda v: wg.cond(v < 0, *branches[::-1], v)):
        with pytest.raises(ResultError) as caught:
            wg.trace(f)(1.0)
        assert "cond, the branch that is not taken" in str(caught.value)
        assert said in str(caught.value)


BUFFERS = [
    lambda v: v * 1.0,
    lambda v: np.zeros(3),
    lambda v: np.ones_like(v),
    lambda v: (v * 1.0)[:2],
]


@pytest.mark.parametrize("make", BUFFERS)
@pytest.mark.parametrize("form", ["scan", "while_loop", "cond", "checkpoint", "map"])
def test_a_body_does_not_change_arrays_from_outside(make, form):
    def f(v):
        buffer = make(v)

        def put(c):
            buffer[0] = c  # the guilty line
            return c * 2.0

        forms = {
            "scan": lambda: wg.scan(lambda c, x: (put(c), None), v[0], X)[0],
            "while_loop": lambda: wg.while_loop(lambda c: c < 10, put, v[0]),
            "cond": lambda: wg.cond(v[0] > 0, put, put, v[0]),
            "checkpoint": lambda: wg.checkpoint(put)(v[0]),
            "map": lambda: np.sum(wg.map(put, v)),
        }
        return forms[form]() + buffer[0]

    with pytest.raises(LostGradientError) as caught:
        wg.trace(f)(X)
    assert "changes an array from outside of it" in str(caught.value)
    assert "guilty" in str(caught.value)
    assert "Carry the array through" in str(caught.value)


def test_an_array_of_the_module_cannot_take_what_is_traced():
    outside = np.zeros(3)

    def body(c, x):
        outside[0] = c
        return c * x, None

    with pytest.raises(LostGradientError, match="make that array inside the function"):
        wg.grad(lambda c: wg.scan(body, c, X)[0])(1.0)


def test_what_a_body_lets_out_is_refused_where_it_is_used_or_returned():
    def leaking(use):
        def f(v):
            seen = []

            def body(c, x):
                seen.append(c)
                return c * x, None

            total = wg.scan(body, v[0], X)[0]
            return use(total, seen[0])

        return f

    for use in (lambda total, c: total + c, lambda _total, c: c):
        for transform in (wg.grad, wg.trace, wg.jacobian):
            with pytest.raises(EscapedError, match="after its trace has ended"):
                transform(leaking(use))(X)


def test_bodies_may_change_what_they_are_given():
    """A body that writes into its carry or slice changes neither `init` nor `xs`, in a trace or not."""

    def step(c, x):
        x *= 2.0
        c[0] += x[1]
        return c, x

    init, xs = np.zeros(2), np.ones((3, 2))

    def f(init, xs):
        c, ys = wg.scan(step, init, xs)
        return c[0] + np.sum(ys)

    assert f(init, xs) == 18.0
    value, (of_init, of_xs) = wg.value_and_grad(f, (0, 1))(init, xs)
    assert value == 18.0
    assert list(of_init) == [1.0, 0.0]
    np.testing.assert_array_equal(of_xs, [[2.0, 4.0]] * 3)
    assert not init.any()
    assert (xs == 1.0).all()

    def halve(c):
        c /= 2.0
        return c

    start = np.full(2, 8.0)
    for g in (
        lambda c: wg.while_loop(lambda c: c[0] > 1.5, halve, c),
        lambda c: wg.fori_loop(0, 3, lambda _, c: halve(c), c),
    ):
        np.testing.assert_array_equal(g(start), [1.0, 1.0])
        np.testing.assert_array_equal(wg.jacobian(g)(start), np.eye(2) / 8)
        np.testing.assert_array_equal(start, [8.0, 8.0])
