"""Rules of the user's in the steps of a loop: written down once where that holds, and right where it does not."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import wengert as wg
from wengert.compilation.environment import Environment, is_settled

STATE = {"scale": 2.0}
SCALE = 2.0


def helper(x):
    return SCALE * x


def gradient_by_steps(slope, x, steps):
    """The derivative of repeated ``h(x) = sin(x)`` if its slope is said to be ``slope(x)``, multiplied out."""
    product = 1.0
    for _ in range(steps):
        product *= slope(x)
        x = np.sin(x)
    return product


def looped(h, steps=40):
    return wg.grad(lambda x: wg.fori_loop(0, steps, lambda _, c: h(c), x))


@pytest.fixture
def define():
    names = []

    def enter(rule, **known):
        names.append(f"h_{len(names)}")
        return wg.define(names[-1], np.sin, rule, **known)

    yield enter
    for name in names:
        wg.undefine(name)


RULES = {
    "a formula": lambda _y, x: np.cos(x),
    "with a global": lambda _y, x: SCALE * np.cos(x),
    "with a global of a function that it calls": lambda _y, x: helper(np.cos(x)),
    "with what may change unseen": lambda _y, x: STATE["scale"] * np.cos(x),
    "with a default": lambda _y, x, k=0.5: k * np.cos(x),
    "that decides": lambda _y, x: np.cos(x) if x > 0.4 else 3.0 * np.cos(x),
    "of plain numbers": lambda _y, x: np.cos(float(getattr(x, "_value", x)) if not isinstance(x, float) else x),
    "of floats alone": lambda _y, x: np.cos(float(x)),
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_a_rule_gives_what_it_says_at_every_step(define, rule):
    gradient = looped(define(rule))
    for x in (0.5, 2.0, 0.5):
        np.testing.assert_allclose(
            gradient(x), gradient_by_steps(lambda v: rule(None, v), np.float64(x), 40), rtol=1e-12
        )


@pytest.mark.parametrize("rule", [r for k, r in RULES.items() if "with" in k], ids=[k for k in RULES if "with" in k])
def test_what_a_rule_reads_may_change_from_call_to_call(define, rule, monkeypatch):
    gradient = looped(define(rule))
    for scale in (2.0, 3.0, 2.0):
        monkeypatch.setitem(globals(), "SCALE", scale)
        monkeypatch.setitem(STATE, "scale", scale)
        for _ in range(2):
            expected = gradient_by_steps(lambda v: rule(None, v), np.float64(0.5), 40)
            np.testing.assert_allclose(gradient(0.5), expected, rtol=1e-12)


def test_a_function_that_a_rule_calls_may_be_written_anew(define, monkeypatch):
    gradient = looped(define(lambda _y, x: helper(np.cos(x))))
    gradient(0.5), gradient(0.5)
    monkeypatch.setitem(globals(), "helper", lambda x: 5.0 * x)
    np.testing.assert_allclose(gradient(0.5), gradient_by_steps(lambda v: 5.0 * np.cos(v), 0.5, 40), rtol=1e-12)


@pytest.mark.parametrize("formula_rule", [True, False])
def test_a_rule_that_refuses_a_value_refuses_it_at_its_step(define, formula_rule):
    seen = []

    def rule(_y, x):
        if x < 0.4:
            seen.append(float(getattr(x, "_value", x)))
            raise ArithmeticError("too small")
        return np.cos(x)

    gradient = looped(define(rule, formula_rule=formula_rule))
    assert looped(define(lambda _y, x: np.cos(x)), 3)(0.9) == looped(np.sin, 3)(0.9)
    with pytest.raises(ArithmeticError, match="too small"):
        gradient(0.9)
    assert seen


def test_what_a_rule_reads_is_compared_or_said_to_be_unseen():
    def closed(k):
        return lambda y, x: k * x

    seen = (2.0, np.ones(1000), {"scale": [2.0]}, object(), functools.partial(helper, 1))
    for value in seen:
        environment = Environment([closed(value)])
        assert environment.is_complete, value
        assert environment.unchanged(), value
    for value in (iter([1.0]), np.random.default_rng(0), np.nditer(np.ones(2))):
        assert not Environment([closed(value)]).is_complete, value
    environment = Environment([lambda x: STATE["scale"] * x])
    STATE["scale"] += 1.0
    assert environment.is_complete
    assert not environment.unchanged()
    STATE["scale"] -= 1.0
    assert environment.unchanged()
    assert is_settled(wg.grad)
    assert not is_settled(helper)

    def late():
        return lambda: later  # noqa: F821 - not there yet

    assert Environment([late()]).is_complete
