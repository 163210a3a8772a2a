"""What compares compiled derivatives with plain ones finds faults that are planted, and refuses nothing silently."""

from __future__ import annotations

import compiled
import numpy as np
import pytest

import wengert as wg
from wengert import api
from wengert.compilation.native.layout import fits
from wengert.errors import DecisionWarning
from wengert.primitives import PRIMITIVES
from wengert.tracing import current_context, warn_of_decisions

X = np.array([0.5, 1.5, 2.0])


def repeated(work):
    with compiled.noted() as calls:
        work()
    return compiled.repeat(calls)


def slopes():
    wg.grad(lambda x: np.sum(np.sin(x) * x))(X)


@pytest.mark.skipif(not fits(), reason="there is no native code here")
@pytest.mark.parametrize("facet", ["sin", lambda op, x: op("multiply", op("cos", x), 1.0 + 1e-13)])
def test_a_wrong_facet_is_found(monkeypatch, facet):
    assert repeated(slopes) == {"machine code": 1}
    monkeypatch.setattr(PRIMITIVES["cos"], "native", facet)
    with pytest.raises(compiled.DisagreementError, match="times what rounding explains"):
        repeated(slopes)


def root(c):
    low, high = 0.0, 3.0
    while high - low > 1e-3:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if middle**3 < c else (low, middle)
    return low


def test_a_warning_about_the_structure_is_given_while_a_branch_is_traced(monkeypatch):
    slope = wg.grad(root)

    def slopes():
        with pytest.warns(DecisionWarning):
            assert [slope(c) for c in np.array([2.0, 1.0, 2.0])] == [0.0, 0.0, 0.0]

    assert repeated(slopes).total() == 3
    monkeypatch.setattr(api, "warn_of_decisions", lambda trace: current_context().tapes or warn_of_decisions(trace))
    with pytest.raises(compiled.DisagreementError, match="other warnings"):
        repeated(slopes)


def test_a_sum_that_cancels_may_differ_by_more_than_its_last_bits():
    f = wg.grad(lambda x: np.sum(x * 1e8) - np.sum(x) * 1e8 + x[0])
    assert repeated(lambda: f(X)).total() == 1


def test_each_call_is_noted_once_and_what_is_refused_is_counted():
    drawn = []

    def impure(x):
        drawn.append(1)
        return x * 2.0

    counts = repeated(lambda: (wg.grad(impure)(1.0), wg.jvp(np.sin, (1.0,), (2.0,)), wg.vjp(np.sin, 1.0)))
    assert sum(count for how, count in counts.items() if how.startswith("refused")) == 1
    assert counts.total() == 3


@pytest.mark.parametrize("n", [100, 10_000])
def test_a_sum_may_be_off_by_as_many_roundings_as_it_has_terms(n):
    """One after the other: the error of this order is that of machine code, or more."""
    x = np.random.default_rng(n).uniform(0.5, 1.5, n) / 3.0
    in_order = sum(x.tolist())
    f = wg.value_and_grad(lambda x: np.sum(x * 1.0))
    (value, _), arguments = f(x), compiled.Arguments((x,), {})
    bound, _ = compiled.rounding_of(f, arguments, f(x))
    assert abs(in_order - value) < bound < 1e-12 * value
    assert in_order != value


def test_the_greatest_of_values_is_still_one_of_them_after_random_rounding():
    """Else the share of a tie is 0/0 there, and nothing is known of how much rounding explains."""
    f = wg.grad(lambda x: np.sum(np.max(np.sin(x), axis=0) ** 2))
    x = np.random.default_rng(0).normal(size=(4, 3))
    (bound,) = compiled.rounding_of(f, compiled.Arguments((x,), {}), f(x))
    assert np.all(bound[f(x) != 0] > 5 * np.finfo(float).eps * np.abs(f(x)[f(x) != 0]))
