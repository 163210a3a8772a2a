"""Random programs of nested decisions, loops, whole numbers and exceptions: each call is what Python computes."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wengert as wg
from wengert.compilation import jit as jit_module

pytestmark = [
    pytest.mark.filterwarnings("ignore::wengert.errors.DecisionWarning"),
    pytest.mark.filterwarnings("ignore::wengert.errors.JitWarning"),
]


@pytest.fixture(autouse=True, scope="module")
def after_two_calls():
    """Make native code in the third call."""
    before = jit_module.calls_before
    jit_module.calls_before = lambda: 2
    yield
    jit_module.calls_before = before


class StopError(Exception):
    """Raised by a program itself."""


class Nested:
    """A program: statements as tuples, run on three numbers."""

    def __init__(self, block):
        self.block = block

    def __repr__(self):
        return f"Nested({self.block!r})"

    def __call__(self, x):
        numbers = [x[0], x[1], x[2]]
        run(self.block, numbers)
        return np.array(numbers)


OPERATIONS = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: 0.5 * a * b,
    "sine": lambda a, b: np.sin(a) * b,
    "maximum": lambda a, b: np.maximum(a, b),
    "divide": lambda a, b: a / (1.0 + b * b),
}


def holds(condition, numbers):
    kind, k, other = condition
    if kind == "less":
        return numbers[k] < other
    if kind == "equal":
        return numbers[k] == numbers[(k + 1) % 3]
    if kind == "between":
        return -other < numbers[k] <= numbers[(k + 1) % 3]
    if kind == "either":
        return numbers[k] > other or (not numbers[(k + 1) % 3] > 0.0 and numbers[(k + 2) % 3] != 0.0)
    return bool(np.any(np.array(numbers) > other))


def run(block, numbers):
    for kind, *parts in block:
        if kind == "set":
            k, name, a, b = parts
            numbers[k] = OPERATIONS[name](numbers[a], numbers[b])
        elif kind == "if":
            condition, first, second = parts
            run(first if holds(condition, numbers) else second, numbers)
        elif kind == "while":
            condition, body = parts
            count = 0
            while holds(condition, numbers) and count < 3:
                run(body, numbers)
                numbers[0] = 0.5 * numbers[0] - 0.25
                count += 1
        elif kind == "for":
            k, body = parts
            for step in range(int(abs(numbers[k])) % 3):
                run(body, numbers)
                if numbers[k] > 2.0 + step:
                    break
        elif kind == "switch":
            k, blocks = parts
            run(blocks[math.floor(numbers[k]) % len(blocks)], numbers)
        elif kind == "key":
            (k,) = parts
            numbers[k] = {-1: 1.5, 0: numbers[k], 1: -numbers[k]}[int(np.sign(numbers[k]) * (numbers[k] < 2.0))]
        elif kind == "try":
            body, handler = parts
            kept = list(numbers)
            try:
                run(body, numbers)
            except (StopError, KeyError, OverflowError):
                numbers[:] = kept
                run(handler, numbers)
        elif kind == "raise":
            (condition,) = parts
            if holds(condition, numbers):
                raise StopError


PLACES = st.integers(0, 2)
CONDITIONS = st.tuples(
    st.sampled_from(["less", "equal", "between", "either", "any"]), PLACES, st.sampled_from([-0.5, 0.0, 0.5, 1.0])
)
LEAVES = st.one_of(
    st.tuples(st.just("set"), PLACES, st.sampled_from(sorted(OPERATIONS)), PLACES, PLACES),
    st.tuples(st.just("key"), PLACES),
    st.tuples(st.just("raise"), CONDITIONS),
)


def of_blocks(statements):
    block = st.lists(statements, min_size=1, max_size=3).map(tuple)
    return st.one_of(
        st.tuples(st.just("if"), CONDITIONS, block, block),
        st.tuples(st.just("while"), CONDITIONS, block),
        st.tuples(st.just("for"), PLACES, block),
        st.tuples(st.just("switch"), PLACES, st.tuples(block, block)),
        st.tuples(st.just("try"), block, block),
    )


STATEMENTS = st.recursive(LEAVES, of_blocks, max_leaves=8)
PROGRAMS = st.lists(STATEMENTS, min_size=1, max_size=4).map(tuple).map(Nested)
NUMBERS = st.sampled_from([-2.5, -1.0, -0.5, -0.0, 0.0, 0.25, 0.5, 1.0, 1.75, 2.0, 3.5])
POINTS = st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS).map(np.array), min_size=2, max_size=6)


def agree(jitted, f, x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            expected = f(x)
        except Exception as error:
            with pytest.raises(type(error)):
                jitted(x)
            return
        np.testing.assert_allclose(jitted(x), expected, rtol=1e-12, atol=1e-14)


@settings(deadline=None, max_examples=60)
@given(PROGRAMS, POINTS)
def test_values(f, points):
    jitted = wg.jit(f, max_branches=16)
    for x in [*points, *points, *points[::-1], *points]:
        agree(jitted, f, x)


@settings(deadline=None, max_examples=40)
@given(PROGRAMS, POINTS)
def test_gradients(f, points):
    gradient = wg.grad(lambda x: np.sum(f(x) * np.array([1.0, 2.0, 3.0])))
    jitted = wg.jit(gradient, max_branches=16)
    for x in [*points, *points, *points[::-1], *points]:
        agree(jitted, gradient, x)
