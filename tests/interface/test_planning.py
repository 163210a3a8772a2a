"""Costs and plans: the reference text's counts, counts against numbers that count themselves, the choice."""

import math

import numpy as np
import pytest

import wengert as wg
from wengert.accumulation.sweeps import forward, reverse
from wengert.cost import Cost, cost
from wengert.linearization import Linearization
from wengert.passes.simplification import simplify
from wengert.planning import plan_program
from wengert.program import check


def reference(x):
    return np.array([x[0] * (x[1] - x[2]), x[2] * np.log(1 - x[0])])


POINT = np.array([0.5, 2.0, 3.0])


def test_the_reference_text_needs_three_passes_forward_and_two_in_reverse():
    plan = wg.plan(reference)(POINT)
    assert {c.mode: c.passes for c in plan.candidates} == {"forward": 3, "reverse": 2}
    assert plan.choice.mode == "reverse"
    assert "2 passes instead of 3" in str(plan)


def test_the_function_itself_is_counted_as_written():
    assert wg.plan(reference)(POINT).function == Cost(multiplications=2, additions=2, functions={"log": 1})


def test_reverse_keeps_the_three_intermediate_values_that_partials_read():
    kept = {c.mode: c.kept for c in wg.plan(reference)(POINT).candidates}
    assert kept == {"reverse": 3, "forward": 0}  # u_1, u_2 and u_3; forward reads each as soon as it is there


class Counting:
    """A number that counts what is done to it."""

    counts: dict[str, int]
    shape, ndim, size, dtype = (), 0, 1, np.dtype(float)

    def __init__(self, value, counts):
        self.value, self.counts = float(value), counts

    def _do(self, kind, value):
        self.counts[kind] = self.counts.get(kind, 0) + 1
        return Counting(value, self.counts)

    def __add__(self, other):
        return self._do("additions", self.value + _value(other))

    __radd__ = __add__

    def __sub__(self, other):
        return self._do("additions", self.value - _value(other))

    def __rsub__(self, other):
        return self._do("additions", _value(other) - self.value)

    def __neg__(self):
        return self._do("additions", -self.value)

    def __mul__(self, other):
        return self._do("multiplications", self.value * _value(other))

    __rmul__ = __mul__

    def __truediv__(self, other):
        return self._do("divisions", self.value / _value(other))

    def __rtruediv__(self, other):
        return self._do("divisions", _value(other) / self.value)


def _value(x):
    return x.value if isinstance(x, Counting) else float(x)


def product_chain(x):
    p = x[0]
    for k in range(1, 5):
        p = p * x[k] - x[0] / x[k]
    return np.array([p, p * x[1]])


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_counts_are_those_of_numbers_that_count_themselves(mode):
    x = np.array([1.5, 2.0, 3.0, 4.0, 5.0])
    program = wg.trace(product_chain)(x)
    plan = plan_program(program, [x])
    candidate = next(c for c in plan.candidates if c.mode == mode)
    counts: dict[str, int] = {}
    rows = Linearization.of_program(program, x).rows
    counting = [
        (p, parents, tuple(Counting(v, counts) for v in kept), params, place, out)
        for p, parents, kept, params, place, out in rows
    ]
    linearization = Linearization(counting, [Counting(v, counts) for v in x], [], [], 5 + len(rows))
    outputs = Linearization.of_program(program, x).outputs
    positions = range(5) if mode == "forward" else outputs
    (forward if mode == "forward" else reverse)(linearization, {k: Counting(1.0, counts) for k in positions})
    expected = candidate.partials + candidate.one_pass
    assert counts == {
        name: n for name in ("multiplications", "additions", "divisions") if (n := getattr(expected, name))
    }


def test_a_block_of_passes_costs_the_partials_once_and_each_pass_alike():
    plan = wg.plan(reference)(POINT)
    for candidate in plan.candidates:
        assert candidate.cost == candidate.function + candidate.partials + candidate.passes * candidate.one_pass


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 7), (7, 1), (3, 5), (5, 3)])
def test_passes_grow_with_n_in_forward_and_with_m_in_reverse(n, m):
    A = np.ones((m, n))
    plan = wg.plan(lambda x: np.tanh(A @ x))(np.ones(n))
    by_mode = {c.mode: c for c in plan.candidates}
    assert (by_mode["forward"].passes, by_mode["reverse"].passes) == (n, m)
    for mode, passes in (("forward", n), ("reverse", m)):
        # A @ t is m sums of n products; then one product with 1 - tanh^2 for each of the m
        assert by_mode[mode].one_pass.multiplications == m * n + m
        assert by_mode[mode].cost.multiplications == m * n + m + passes * (m * n + m)
    assert plan.choice.passes == min(n, m)


@pytest.mark.parametrize(("n", "m"), [(2, 9), (9, 2)])
def test_jacobian_takes_the_mode_that_the_plan_chooses(n, m, monkeypatch):
    used = []
    import wengert.api as api

    for mode in ("forward", "reverse"):
        original = getattr(api, mode)
        monkeypatch.setattr(
            api, mode, lambda *a, mode=mode, original=original, **k: used.append(mode) or original(*a, **k)
        )
    A = np.arange(1.0, 1 + m * n).reshape(m, n)
    x = np.ones(n)
    J = wg.jacobian(lambda x: A @ x)(x)
    np.testing.assert_allclose(J, A)
    assert set(used) == {wg.plan(lambda x: A @ x)(x).choice.mode}


def test_large_counts_need_no_run_of_every_pass():
    W = np.ones((300, 200))
    X = np.ones((50, 300))
    plan = wg.plan(lambda W: np.mean((X @ W) ** 2))(W)
    by_mode = {c.mode: c for c in plan.candidates}
    assert by_mode["forward"].passes == 60_000
    product = 50 * 300 * 200
    assert by_mode["forward"].one_pass.multiplications >= product
    assert by_mode["reverse"].one_pass.multiplications >= product
    ratio = by_mode["forward"].cost.weight / by_mode["reverse"].cost.weight
    assert "fewer operations" in plan.reason
    assert ratio > 10_000


def test_cost_counts_by_rows_of_the_table():
    x = np.ones(4)
    counted = cost(wg.trace(lambda x: np.sum(np.exp(x) / 3.0 + np.maximum(x, 0.0)))(x))
    assert counted == Cost(additions=4 + 3, divisions=4, comparisons=4, functions={"exp": 4})
    assert str(2 * counted) == "14 additions, 8 divisions, 8 comparisons, 8 exp"
    assert str(Cost()) == "nothing"


FUNCTIONS = {
    "reference": (reference, POINT),
    "chain": (product_chain, np.array([1.5, 2.0, 3.0, 4.0, 5.0])),
    "vector": (lambda x: np.tanh(x[1:] * x[:-1]) + np.sum(x), np.arange(1.0, 5.0)),
    "matrix": (lambda x: np.outer(x, x) @ x, np.arange(1.0, 4.0)),
}


@pytest.mark.parametrize("mode", ["forward", "reverse"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_simplified_derivative_programs_compute_the_same_with_fewer_lines(name, mode):
    f, x = FUNCTIONS[name]
    program = wg.trace(wg.jacobian(f, mode=mode))(x)
    simple = simplify(program)
    check(simple)
    np.testing.assert_allclose(simple(x), wg.jacobian(f, mode=mode)(x), rtol=1e-14, atol=1e-14)
    assert len(simple.lines) < len(program.lines)
    assert cost(simple).weight <= cost(program).weight


def test_simplify_merges_lines_that_say_the_same_and_keeps_guards():
    def f(x):
        a, b = np.exp(x) * x, x * np.exp(x)
        return a + b if x > 0 else a

    program = simplify(wg.trace(f)(2.0))
    assert [line.primitive.name for line in program.lines] == ["exp", "multiply", "greater", "add"]
    assert len(program.guards) == 1
    assert program(1.0) == pytest.approx(2 * math.e)


def test_zero_and_minus_zero_are_two_constants():
    with np.errstate(divide="ignore"):
        program = simplify(wg.trace(lambda x: np.array([x / 0.0, x / -0.0, x / np.float64(-0.0)]))(2.0))
        np.testing.assert_array_equal(program(2.0), [np.inf, -np.inf, -np.inf])


def test_one_line_is_not_called_lines():
    assert str(wg.plan(lambda x: np.exp(x))(1.0)).partition("\n")[0].endswith("R^1 -> R^1, 1 line; 1 exp")


def test_a_plan_counts_one_sweep_of_each_mode_outside_the_domain_too():
    def f(x):
        return np.log(x[0] - 1.0) * x[1]

    with np.errstate(all="ignore"):
        outside = wg.plan(f)(np.array([1.0, 2.0]))
    inside = wg.plan(f)(np.array([3.0, 2.0]))
    assert outside.candidates == inside.candidates
