"""The waist of a graph: the Jacobian through it is that of the passes, and the cut is the narrowest there is."""

from __future__ import annotations

import numpy as np
import pytest
import truth
from agreement import assert_close
from hypothesis import given, settings
from programs import points, random_programs

import wengert as wg
from wengert.accumulation.orders import FORWARD, WAIST
from wengert.accumulation.orders.waist import cut
from wengert.linearization import Linearization
from wengert.tracing import results_of

pytestmark = [
    pytest.mark.filterwarnings("ignore::wengert.errors.DecisionWarning"),
    pytest.mark.filterwarnings("ignore::wengert.errors.DomainWarning"),
]


def linearized(f, x):
    return Linearization.of_program(wg.trace(f)(x), x)


def bow_tie(x):
    r = np.sqrt(np.mean(x * x))
    phase = np.sin(np.sum(x))
    return np.cos(np.arange(20.0) * r) * np.exp(-np.arange(20.0) * phase)


def widths(linearization):
    """Return the numbers that are alive at each place between active rows, by the definition."""
    active = linearization.active()
    made_at = dict.fromkeys(range(len(active.inputs)), -1)
    sizes = {k: x.size for k, x in enumerate(active.inputs)}
    for n, row in enumerate(active.rows):
        for position, y in results_of(row):
            made_at[position], sizes[position] = n, y.size

    def is_alive(position, place):
        later = any(position in row[1] for row in active.rows[place:])
        return made_at[position] < place and (later or position in active.outputs)

    return [sum(sizes[p] for p in made_at if is_alive(p, place)) for place in range(len(active.rows) + 1)]


@settings(max_examples=60, deadline=None)
@given(random_programs(), points())
def test_the_jacobian_through_the_waist_is_that_of_the_passes(f, x):
    linearization = linearized(f, x)
    assert WAIST.passes(linearization) == min(widths(linearization))
    expected, through_waist = FORWARD.accumulate(linearization, None), WAIST.accumulate(linearization, None)
    for row, others in zip(through_waist, expected, strict=True):
        for block, other in zip(row, others, strict=True):
            assert np.shape(block) == np.shape(other)
            if np.all(np.isfinite(other)):
                assert_close(block, other, 1e-10)


def test_two_numbers_at_the_waist():
    x = np.linspace(-1.0, 1.0, 30)
    halves = cut(linearized(bow_tie, x))
    assert sum(v.size for v in halves.before.values) == 2
    expected = truth.complex_step(bow_tie, [x], 0)
    J = wg.jacobian(bow_tie, mode="waist")
    assert_close(J(x), expected, 1e-12)
    jitted = wg.jit(J)
    for shift in (0.0, 0.1, 0.2):
        assert_close(jitted(x + shift), truth.complex_step(bow_tie, [x + shift], 0), 1e-12)
    second = wg.jacobian(wg.jacobian(bow_tie, mode="waist"))(x)
    assert_close(second, truth.differences(lambda x: truth.complex_step(bow_tie, [x], 0), [x], 0), 1e-7)


def test_the_plan_takes_the_waist_where_it_is_narrow_and_counts_what_is_done():
    n = 1000
    plan = wg.plan(lambda x: np.exp(np.arange(float(n)) * np.sum(np.sin(x))), effort="portfolio")(np.full(n, 1e-4))
    assert plan.chosen == "waist"
    row = plan["waist"]
    assert (row.passes, plan["forward"].passes, plan["reverse"].passes) == (1, n, n)
    # the function: n products; partials: n cosines; back n products, on n for y dt and n for the constants, and n * n
    assert row.multiplications == n + n + 2 * n + n * n
    x = np.full(n, 1e-4)
    f = lambda x: np.exp(np.arange(float(n)) * np.sum(np.sin(x)))  # noqa: E731
    assert_close(wg.jacobian(f, effort="portfolio")(x), wg.jacobian(f, mode="forward")(x), 1e-13)


def test_without_a_waist_it_is_at_an_end_and_the_passes_are_taken():
    x = np.array([0.5, 1.5, 2.5])
    linearization = linearized(lambda x: np.concatenate([np.sin(x), x * x]), x)
    assert WAIST.passes(linearization) == 3
    plan = wg.plan(lambda x: np.concatenate([np.sin(x), x * x]), effort="portfolio")(x)
    assert "waist" not in list(plan)
    assert "waist is left out: no cut of the graph is narrower than both of its ends" in str(plan)


def test_several_arguments_and_results_that_pass_by_the_waist():
    def f(a, b):
        s = np.sum(a * a) * b
        return {"one": np.exp(-s * np.arange(5.0)), "two": (s, np.cos(s) * np.ones((2, 2))), "none": 3.0}

    a = np.linspace(0.1, 0.4, 6)
    given_ = wg.jacobian(f, argnums=(0, 1), mode="waist")(a, 2.0)
    expected = wg.jacobian(f, argnums=(0, 1), mode="reverse")(a, 2.0)
    for k in (0, 1):
        assert_close(given_["one"][k], expected["one"][k], 1e-13)
        assert_close(given_["two"][0][k], expected["two"][0][k], 1e-13)
        assert_close(given_["two"][1][k], expected["two"][1][k], 1e-13)
        assert_close(given_["none"][k], expected["none"][k], 0)


def test_zeros_of_structure_win_over_infinities():
    def f(x):
        s = np.sum(x)
        return np.where(np.arange(4) < 2, s * s, np.sqrt(np.abs(s) * 0.0))

    x = np.array([0.5, 1.0, 2.0, 0.25, 0.125])
    assert_close(wg.jacobian(f, mode="waist")(x)[:2], np.full((2, 5), 2 * x.sum()), 1e-14)


def test_complex_numbers_and_constants_are_left_to_the_passes():
    z = np.array([1.0 + 1j, 2.0, 0.5j])
    f = lambda z: np.sum(z * z) * np.ones(4)  # noqa: E731
    np.testing.assert_allclose(wg.jacobian(f, mode="waist")(z), wg.jacobian(f, mode="reverse")(z))
    assert "waist is left out" in str(wg.plan(f, effort="portfolio")(z))
    assert wg.jacobian(lambda x: np.ones(3), mode="waist")(np.ones(2)).tolist() == [[0.0, 0.0]] * 3


def test_float32_stays():
    x = np.linspace(0.0, 1.0, 8, dtype=np.float32)
    J = wg.jacobian(lambda x: np.sum(x * x) * np.arange(9, dtype=np.float32), mode="waist")(x)
    assert J.dtype == np.float32
    assert_close(J, np.outer(np.arange(9), 2 * x), 1e-6)
