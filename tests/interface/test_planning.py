"""Costs and plans: the reference text's counts, counts against numbers that count themselves, the one choice."""

import math
import warnings
from collections import Counter
from typing import ClassVar
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from programs import points, random_programs

import wengert as wg
from wengert import api
from wengert.accumulation import counting as counting_module
from wengert.accumulation.adjoints import Adjoints
from wengert.accumulation.counting import Sweep
from wengert.accumulation.elimination import eliminate
from wengert.accumulation.orders import ORDERS
from wengert.accumulation.sweeps import sweep_once
from wengert.cost import WORDS, Cost, cost
from wengert.explanation import explain
from wengert.explanation.document import compare
from wengert.linearization import Linearization, active_rows
from wengert.passes.simplification import simplify
from wengert.planning import choice
from wengert.planning import plan as plan_module
from wengert.program import check, evaluate_line, interpret


def reference(x):
    return np.array([x[0] * (x[1] - x[2]), x[2] * np.log(1 - x[0])])


POINT = np.array([0.5, 2.0, 3.0])


# ---- The reference example, as a teacher counts it ----


def test_the_reference_text_needs_three_passes_forward_and_two_in_reverse():
    plan = wg.plan(reference)(POINT)
    assert {name: row.passes for name, row in plan.items()} == {"forward": 3, "reverse": 2}
    assert plan.chosen == "reverse"
    assert plan.reason == "reverse: 2 passes instead of 3; 33 % fewer operations (24 against 36)"


def test_a_pass_multiplies_once_along_each_edge_of_the_reference_graph():
    plan = wg.plan(reference)(POINT)
    assert str(plan).splitlines()[1] == "8 edges: forward 3 x 8 = 24 products, reverse 2 x 8 = 16"
    assert (plan["forward"].products, plan["reverse"].products) == (24, 16)


def test_the_components_of_the_reference_example_are_those_of_the_pen_and_paper_example():
    plan = wg.plan(reference)(POINT)
    assert plan.function == Cost(multiplications=2, additions=2, functions={"log": 1})
    for row in plan.values():
        assert row.partials == Cost(divisions=1)  # 1/u_2: every other partial is a value that is there, 1 or -1
    # along the eight edges: five products, two changes of sign, one factor 1; and where two edges meet, a sum
    assert plan["forward"].one_pass == Cost(multiplications=5, signs=2, additions=3, products=8)
    assert plan["reverse"].one_pass == Cost(multiplications=5, signs=2, additions=2, products=8)


def test_the_totals_of_the_table_are_the_sums_of_its_rows():
    for f, x in FUNCTIONS.values():
        for row in wg.plan(f)(x).values():
            for kind in [*WORDS, "operations"]:
                once = getattr(row.function, kind) + getattr(row.partials, kind)
                assert getattr(row.cost, kind) == once + row.passes * getattr(row.one_pass, kind)
            assert row.operations == sum(getattr(row.cost, kind) for kind in WORDS)


def test_reverse_keeps_the_three_intermediate_values_that_partials_read():
    kept = {name: row.kept for name, row in wg.plan(reference)(POINT).items()}
    assert kept == {"reverse": 3, "forward": 0}  # u_1, u_2 and u_3; forward reads each as soon as it is there


def several(x, y):
    return np.array([x[0] * y[0] * y[1], x[1] * y[1] * y[2], x[0] * x[1] * y[2], y[0] * y[1] * y[2]])


def test_vectors_taken_apart_are_counted_like_one_vector():
    # eight products of two, sixteen edges: 8 + 5 x 16 forward, 8 + 4 x 16 in reverse
    of_two = wg.plan(several)(np.ones(2), np.ones(3))
    of_one = wg.plan(lambda z: several(z[:2], z[2:]))(np.ones(5))
    for plan in (of_two, of_one):
        assert (plan["forward"].multiplications, plan["reverse"].multiplications) == (88, 72)
        assert plan.chosen == "reverse"
    assert of_two.candidates == of_one.candidates


# ---- Against numbers that count their own operations ----


def elementwise(operator):
    """Leave an array to NumPy, which asks each of its elements."""
    return lambda self, other: NotImplemented if isinstance(other, np.ndarray) else operator(self, other)


class Counting:
    """A number that counts what is done to it; what is added to a zero of structure is no sum."""

    counts: ClassVar[Counter] = Counter()
    shape, ndim, size, dtype = (), 0, 1, np.dtype(object)

    def __init__(self, value):
        self.value = float(value)

    def _do(self, kind, value):
        Counting.counts[kind] += 1
        return Counting(value)

    @elementwise
    def __add__(self, other):
        return self if _is_zero(other) else self._do("additions", self.value + _value(other))

    __radd__ = __add__

    @elementwise
    def __sub__(self, other):
        return self._do("additions", self.value - _value(other))

    @elementwise
    def __rsub__(self, other):
        return self._do("additions", _value(other) - self.value)

    def __neg__(self):
        return self._do("signs", -self.value)

    @elementwise
    def __mul__(self, other):
        return self._do("multiplications", self.value * _value(other))

    __rmul__ = __mul__

    @elementwise
    def __truediv__(self, other):
        return self._do("divisions", self.value / _value(other))

    @elementwise
    def __rtruediv__(self, other):
        return self._do("divisions", _value(other) / self.value)

    def __pow__(self, exponent):
        return self._do("multiplications" if exponent == 2 else "calls", self.value**exponent)

    def __float__(self):
        return self.value

    def __getitem__(self, index):  # as of an array without dimensions
        box = np.empty((), object)
        box[()] = self
        return box[index]


def _called(name):
    return lambda self: self._do("calls", getattr(np, name)(self.value))


for _name in ("exp", "log", "sin", "cos", "tanh", "sqrt"):
    setattr(Counting, _name, _called(_name))


def _value(x):
    return x.value if isinstance(x, Counting) else float(x)


def _is_zero(x):
    return not isinstance(x, Counting) and x == 0


def counting(value):
    """Return the same numbers, as such that count; whole numbers and decisions stay as they are."""
    if not hasattr(value, "dtype") or value.dtype.kind != "f":
        return value
    return np.frompyfunc(Counting, 1, 1)(value)


def counted_by_themselves(linearization, mode):
    """Sweep once with numbers that count, from seeds for all arguments or results; return what they counted."""
    rows = [
        (p, parents, tuple(counting(v) if k == 0 or parents[k - 1] >= 0 else v for k, v in enumerate(kept)), *rest)
        for p, parents, kept, *rest in active_rows(linearization)
    ]
    values = linearization.inputs if mode == "forward" else linearization.values
    positions = range(len(linearization.inputs)) if mode == "forward" else linearization.outputs
    seeds = {k: counting(np.ones_like(v)) for k, v in zip(positions, values, strict=True) if k >= 0}
    of_counting = Linearization(rows, linearization.inputs, linearization.outputs, [], linearization.size)
    put_together = Adjoints.put_together

    def put_together_and_count(adjoints, position):
        put_together(adjoints, position)
        total = adjoints.totals[position]
        if isinstance(total, np.ndarray):  # from here on a zero of structure is a number like any other
            adjoints.totals[position] = np.frompyfunc(lambda v: v if isinstance(v, Counting) else Counting(v), 1, 1)(
                total
            )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Adjoints, "put_together", put_together_and_count)
        Counting.counts = Counter()
        sweep_once(of_counting, seeds, 0, mode == "reverse")  # its results are not looked at
    return Counting.counts


def product_chain(x):
    p = x[0]
    for k in range(1, 5):
        p = p * x[k] - x[0] / x[k]
    return np.array([p, p * x[1]])


def layers(W, v, b):
    h = np.tanh(W @ v + b)
    return np.sum(h * h) * v[0] - h[1] / b


def meeting(x, y, z):
    u = x[1:] * y - np.exp(-z[:2])
    return np.concatenate([u * x[0], -u[::-1] + y[0], np.array([z[2] ** 2, x[0] / z[0], y[1] * z[1] * x[2]])])


OF_SEVERAL = {
    "chain": (product_chain, (np.array([1.5, 2.0, 3.0, 4.0, 5.0]),)),
    "several": (several, (np.array([1.5, 2.5]), np.array([0.5, 3.0, 2.0]))),
    "layers": (layers, (np.arange(1.0, 7.0).reshape(2, 3) / 9, np.array([0.3, -0.2, 0.5]), np.array([0.1, 0.7]))),
    "meeting": (meeting, (np.array([1.5, 2.5, 0.5]), np.array([0.5, 3.0]), np.array([0.4, 0.2, 2.0]))),
    "cumulated": (lambda x, y: np.cumsum(x * y) * y[0], (np.arange(1.0, 5.0), np.arange(2.0, 6.0))),
}


def traced(f, args):
    """Return the linearization that `wg.jacobian` sweeps."""
    traces = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "choose", lambda linearization, orders: traces.append(linearization) or ORDERS[0])
        wg.jacobian(f, tuple(range(len(args))))(*args)
    return traces[0]


def check_counts(f, args, mode):
    row = wg.plan(f)(*args)[mode]
    expected = row.partials + row.one_pass
    counted = counted_by_themselves(traced(f, args), mode)
    assert counted == {kind: count for kind in WORDS if (count := getattr(expected, kind))}


@pytest.mark.parametrize("mode", ["forward", "reverse"])
@pytest.mark.parametrize("name", OF_SEVERAL)
def test_counts_are_those_of_numbers_that_count_themselves(name, mode):
    check_counts(*OF_SEVERAL[name], mode)


@pytest.mark.parametrize("name", OF_SEVERAL)
def test_the_counts_of_an_elimination_are_those_of_numbers_that_count_themselves(name):
    f, args = OF_SEVERAL[name]
    row = wg.plan(f, effort="portfolio")(*args)["elimination"]
    program, values = traced(f, args).as_program()
    written = eliminate(program, values)
    Counting.counts = Counter()
    interpret(written.program, [counting(part) for v in values for part in np.ravel(v)], evaluate_line)
    assert Counting.counts == {kind: count for kind in WORDS if (count := getattr(row.cost, kind))}


MIXED = np.arange(1.0, 10.0).reshape(3, 3) / 7
STEPS = {
    "add": lambda v, w: v + w,
    "subtract": lambda v, w: v - w,
    "multiply": lambda v, w: v * w,
    "divide": lambda v, w: v / (w * w + 1.5),
    "negate": lambda v, w: -v,
    "square": lambda v, w: (v / 8) ** 2,
    "exp": lambda v, w: np.exp(v / 64),
    "tanh": lambda v, w: np.tanh(v),
    "scale": lambda v, w: 0.5 * v + 3,
    "element": lambda v, w: v[1] * w,
    "elements": lambda v, w: np.array([v[0] * w[2], v[2], v[0]]),
    "parts": lambda v, w: np.concatenate([v[1:] * w[:-1], w[:1]]),
    "chosen": lambda v, w: v[np.array([2, 0, 2])] * w,
    "turned": lambda v, w: v[::-1] + w,
    "sum": lambda v, w: np.sum(v) + w,
    "matrix": lambda v, w: MIXED @ v,
    "outer": lambda v, w: (v[:, None] * w)[1],
    "inner": lambda v, w: (v @ w) * v,
}


@settings(max_examples=150)
@given(
    st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=7)
)
def test_random_functions_of_two_vectors_are_counted_as_by_numbers_that_count_themselves(steps):
    def f(x, y):
        values = [x, y]
        for name, v, w in steps:
            values.append(STEPS[name](values[-1 - v % len(values)], values[-1 - w % len(values)]))
        return values[-1], values[-2][:2]

    args = np.array([0.5, 1.5, 1.0]), np.array([2.0, 1.25, 0.75])
    with np.errstate(over="ignore", invalid="ignore"):
        assume(all(np.all(np.isfinite(y)) for y in f(*args)))  # sweeps over infinities take care, which costs more
    for mode in ("forward", "reverse"):
        check_counts(f, args, mode)


# ---- One choice: what the plan marks, the Jacobian runs and the explanation names ----


def what_runs(jacobian, *args):
    """Compute a Jacobian; return the name of the order that ran."""
    ran = []
    with pytest.MonkeyPatch.context() as patch:
        for order in ORDERS:
            accumulate = order.accumulate

            def noted(linearization, executor, order=order, accumulate=accumulate):
                ran.append(order.name)
                return accumulate(linearization, executor)

            patch.setitem(order.__dict__, "accumulate", noted)
        jacobian(*args)
    (name,) = ran
    return name


def agree(f, args, argnums=None):
    """Plan, run and explain; return the plan."""
    argnums = tuple(range(len(args))) if argnums is None else argnums
    plan = wg.plan(f, argnums)(*args)
    jacobian = wg.jacobian(f, argnums)
    assert jacobian.plan(*args) == plan
    assert what_runs(jacobian, *args) == plan.chosen
    assert what_runs(jacobian, *args) == plan.chosen  # remembered
    return plan


THREE = {
    "concatenated and cut": (lambda x: np.concatenate([np.exp(x), x**2])[:7], np.linspace(0.1, 0.7, 7)),
    "cumulated": (lambda x: np.cumsum(x)[1:], np.linspace(0.1, 0.7, 7)),
    "outer": (lambda x: np.outer(x, x)[:2, :2].ravel(), np.array([0.5, 2.0, 3.0])),
}


@pytest.mark.parametrize("name", THREE)
def test_plan_jacobian_and_explanation_agree_on_array_functions(name):
    f, x = THREE[name]
    plan = agree(f, (x,))
    assert plan == wg.plan(f)(x) == wg.jacobian(f).plan(x)
    assert explain(f)(x).derivation.plan == plan
    assert named_in(str(explain(f)(x)).partition("Comparison\n")[2]) == plan.chosen


def named_in(comparison):
    words = comparison.lower()
    (name,) = {order.name for order in ORDERS if f"{order.name} accumulation wins" in words} or {
        order.name for order in ORDERS if f"{order.name} accumulation is taken" in words
    }
    return name


def of_arguments(f, x, split):
    """Return a function of one or of two vectors that a random program makes, its arguments, and their positions."""
    if 0 < split < len(x):
        return lambda a, b: f(np.concatenate([a, b])), (x[:split], x[split:]), (0, 1)
    if split:
        return lambda a, b: (f(a) * np.sum(b), b[0] * a), (x, x[::-1] + 0.1), (1,) if split == 3 else (0, 1)
    return f, (x,), None


@pytest.mark.long
@settings(max_examples=1000)
@given(random_programs(analytic=False), points(), st.integers(0, 3))
def test_plan_jacobian_and_explanation_agree_on_random_functions(f, x, split):
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        f, args, argnums = of_arguments(f, x, split)
        plan = agree(f, args, argnums)
        explanation = explain(f, argnums, mode="reverse")(*args)
    assert explanation.derivation.plan == plan
    assert named_in(" ".join(block.words for block in compare(explanation.derivation.plan))) == plan.chosen


@settings(max_examples=50)
@given(random_programs(max_size=3), points(max_size=3), st.integers(0, 3))
def test_the_order_is_named_in_print(f, x, split):
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        f, args, argnums = of_arguments(f, x, split)
        text = str(explain(f, argnums)(*args))
        assert named_in(text.partition("Comparison\n")[2]) == wg.plan(f, argnums)(*args).chosen


def cross_entropy(w):
    z = w * np.array([0.5, -1.0, 2.0])
    p = np.exp(z) / np.sum(np.exp(z))
    return -np.log(p[1])


def test_plan_and_explanation_count_the_same_program():
    w = np.array([0.1, 0.2, 0.3])
    plan = wg.plan(cross_entropy)(w)
    explanation = str(explain(cross_entropy)(w))
    assert f"{plan['forward'].cost} forward; {plan['reverse'].cost} in reverse." in " ".join(explanation.split())
    assert f"{plan.edges}." in explanation


def test_the_choice_is_remembered_only_for_what_is_the_same():
    def f(power):
        return lambda x: np.concatenate([x**power, x[:1] * x[1:2]])

    x = np.array([1.5, 2.0])
    for power in (2, 3, 2, 0, 1):
        assert what_runs(wg.jacobian(f(power)), x) == wg.plan(f(power))(x).chosen
    for k in (0, 1, 0):
        g = lambda x, k=k: np.array([x[0] * x[k], x[1]])  # noqa: E731
        assert what_runs(wg.jacobian(g), x) == wg.plan(g)(x).chosen


def test_counting_takes_linear_time(monkeypatch):
    swept = []
    original = choice.count_orders
    monkeypatch.setattr(choice, "count_orders", lambda *a: swept.append(a) or original(*a))

    def f(x):
        total = x[0]
        for k in range(2000):
            total = np.sin(total) * x[k % 3] + total / 2
        return np.array([total, x[1]])

    recorded = []
    sweep_row = counting_module._sweep_row
    monkeypatch.setattr(counting_module, "_sweep_row", lambda *a: recorded.append(a) or sweep_row(*a))
    plan = wg.plan(f)(POINT)
    assert plan["reverse"].products > 6000
    assert len(recorded) < 20  # a sweep is recorded for each kind of row, not for each row
    assert len(swept) == 1


def test_rows_are_of_one_kind_only_if_they_cost_the_same():
    x = np.array([1.5, 2.0])
    for exponent in (2, 3, 3.0, np.float64(3.0), np.array(3), np.array(3.0), np.array([2, 3]), np.array([2.0, 3.0]), 2):
        f = lambda x, y, p=exponent: x**p * y  # noqa: E731
        counted, again = [wg.plan(f)(x, x) for _ in range(2)]
        assert counted == again
        counting_module._KINDS.clear()
        assert wg.plan(f)(x, x) == counted


# ---- An order is a value ----


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: order.name)
@pytest.mark.parametrize("name", OF_SEVERAL)
def test_every_order_computes_the_same(name, order):
    f, args = OF_SEVERAL[name]
    argnums = tuple(range(len(args)))
    truth = wg.jacobian(f, argnums, mode="forward")(*args)
    for computed, expected in zip(wg.jacobian(f, argnums, mode=order.name)(*args), truth, strict=True):
        np.testing.assert_allclose(computed, expected, rtol=1e-13, atol=1e-13)
    row = wg.plan(f)(*args)[order.name]
    assert row.passes > 0
    assert row.operations >= cost(wg.trace(f)(*args)).operations


def test_an_order_more_is_an_entry(monkeypatch):
    """Backpropagation that does nothing in its passes, and is chosen for it."""
    free = type(ORDERS[0])(
        "free",
        lambda _linearization: 1,
        lambda _active: Sweep(Cost(), Cost(), 0, (), (), ()),
        ORDERS[1].accumulate,
    )
    monkeypatch.setattr(plan_module, "ORDERS", (*ORDERS, free))
    plan = wg.plan(reference)(POINT)
    assert list(plan) == ["free", "reverse", "forward"]
    np.testing.assert_allclose(wg.jacobian(reference)(POINT), wg.jacobian(reference, mode="reverse")(POINT))


# ---- Passes ----


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 7), (7, 1), (3, 5), (5, 3)])
def test_passes_grow_with_n_in_forward_and_with_m_in_reverse(n, m):
    A = np.ones((m, n))
    plan = wg.plan(lambda x: np.tanh(A @ x))(np.ones(n))
    assert (plan["forward"].passes, plan["reverse"].passes) == (n, m)
    for mode, passes in (("forward", n), ("reverse", m)):
        # A @ t is m sums of n products; then one product with 1 - tanh^2 for each of the m
        assert plan[mode].one_pass.multiplications == m * n + m
        assert plan[mode].multiplications == m * n + m + passes * (m * n + m)
        # in scalars: an edge a factor of A, two a sum, one a tanh
        assert plan[mode].one_pass.products == m * n + 2 * m * (n - 1) + m
    assert plan[plan.chosen].passes == min(n, m)


def test_large_counts_need_no_run_of_every_pass():
    W = np.ones((300, 200))
    X = np.ones((50, 300))
    plan = wg.plan(lambda W: np.mean((X @ W) ** 2))(W)
    assert plan["forward"].passes == 60_000
    product = 50 * 300 * 200
    assert plan["forward"].one_pass.multiplications >= product
    assert plan["reverse"].one_pass.multiplications >= product
    assert "times fewer operations" in plan.reason
    assert plan["forward"].operations > 10_000 * plan["reverse"].operations


def test_cost_counts_by_rows_of_the_table():
    x = np.ones(4)
    counted = cost(wg.trace(lambda x: np.sum(np.exp(x) / 3.0 + np.maximum(-x, 0.0)))(x))
    assert counted == Cost(additions=4 + 3, divisions=4, comparisons=4, functions={"exp": 4}, signs=4)
    assert str(2 * counted) == "14 additions, 8 changes of sign, 8 divisions, 8 comparisons, 8 exp"
    assert str(Cost(signs=1)) == "1 change of sign"
    assert str(Cost()) == "nothing"


def test_adjoints_of_elements_are_added_where_they_overlap_only():
    apart = wg.plan(lambda x: x[:2] * x[2:])(np.ones(4))
    overlapping = wg.plan(lambda x: x[:3] * x[1:])(np.ones(4))
    assert apart["reverse"].one_pass.additions == 0
    assert overlapping["reverse"].one_pass.additions == 2


# ---- How it is printed ----


def test_a_plan_is_a_mapping_from_orders_to_their_counts():
    plan = wg.plan(reference)(POINT)
    assert list(plan) == ["reverse", "forward"]
    assert len(plan) == 2
    row = plan["reverse"]
    assert (row.passes, row.multiplications, row.additions, row.signs, row.divisions) == (2, 12, 6, 4, 1)
    assert (row.comparisons, row.transcendentals, row.operations, row.products) == (0, 1, 24, 16)
    with pytest.raises(KeyError):
        plan["sideways"]


def test_a_plan_prints_in_a_notebook_as_anywhere(monkeypatch):
    import rich.console

    expected = str(wg.plan(reference)(POINT))
    displayed = []
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr(rich.console.Console, "is_jupyter", True, raising=False)
    monkeypatch.setattr("rich.jupyter.display", lambda *a: displayed.append(a))
    assert str(wg.plan(reference)(POINT)) == expected
    assert expected.splitlines()[0] == "reference: R^3 -> R^2, 5 lines; 2 multiplications, 2 additions, 1 log"
    assert not displayed


def test_a_notebook_is_given_a_table_of_html():
    def f(x):
        return np.array([x[0] * x[1], x[1]])

    f.__name__ = "<lambda> & co"
    html = wg.plan(f)(np.array([1.0, 2.0]))._repr_html_()
    assert "<lambda>" not in html
    whole = ElementTree.fromstring(f"<div>{html}</div>")
    assert "".join(whole[0].itertext()) == "<lambda> & co: R2 → R2, 1 line; 1 multiplication"
    (table,) = whole.findall("table")
    rows = [["".join(cell.itertext()) for cell in row] for row in table.iter("tr")]
    assert rows[0] == ["", "passes", "products", "mult", "add", "calls", "total", "bytes", "time", ""]
    assert [row[0] for row in rows[1:]] == ["forward", "reverse"]
    assert sum("<- chosen" in row for row in rows) == 1
    assert all(len(row) == len(rows[0]) for row in rows)


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
    assert cost(simple).operations <= cost(program).operations


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


def test_a_sum_of_nothing_costs_nothing():
    plan = wg.plan(lambda x: np.sum(x**2))(np.zeros(0))
    assert plan.function == Cost()
    assert plan.edges == "0 edges: forward 0 x 0 = 0 products, reverse 1 x 0 = 0"


def test_a_remembered_choice_takes_the_active_rows_of_the_new_trace():
    def f(x):
        np.exp(x[1])  # nothing depends on it
        return np.array([x[0] * x[1], np.sin(x[0]), x[0] ** 2, x[1] + 1.0])

    J = wg.jacobian(f)
    for x in (np.array([0.5, 2.0]), np.array([0.3, -1.0]), np.array([1.5, 4.0])):
        assert J.plan(x).chosen == "forward"
        expected = [[x[1], x[0]], [np.cos(x[0]), 0.0], [2.0 * x[0], 0.0], [0.0, 1.0]]
        np.testing.assert_allclose(J(x), expected, rtol=1e-15)
