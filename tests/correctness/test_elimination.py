"""Elimination: published counts, all orders against the sweeps and against brute force, and the Program it yields."""

import functools
import itertools
import pickle
import random
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis.strategies import integers
from programs import points, random_programs

import wengert as wg
from wengert import api, planning
from wengert.accumulation.elimination import CONVENTIONS, Graph, best_of, eliminate, portfolio
from wengert.accumulation.elimination.edges import with_edges
from wengert.accumulation.elimination.graph import members
from wengert.accumulation.elimination.heuristics import HEURISTICS
from wengert.accumulation.elimination.portfolio import vertices_of
from wengert.accumulation.elimination.search import _Annealing, annealed, exact
from wengert.accumulation.sweeps import forward, reverse
from wengert.cost import cost
from wengert.linearization import Linearization
from wengert.passes.scalarization import scalarize
from wengert.passes.simplification import simplify
from wengert.program import Var, check
from wengert.tracing import Group, record

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from published import ANGLES, STATE, robot_arm, roe_flux

pytestmark = pytest.mark.filterwarnings("ignore::wengert.errors.DecisionWarning")

PUBLISHED = {
    "RoeFlux_1d": (roe_flux, STATE, {"forward": 620, "reverse": 364, "Markowitz": 407}, 320),
    "RobotArm_6DOF": (robot_arm, ANGLES, {"forward": 397, "reverse": 301, "Markowitz": 288}, 231),
}


# ---- Counts of the literature ----


@pytest.mark.parametrize("name", PUBLISHED)
def test_orders_take_the_products_that_the_literature_counts(name):
    f, x, products, _ = PUBLISHED[name]
    counted = wg.plan(f, effort="portfolio")(x)["elimination"].eliminations
    assert {order: counted[order].products for order in products} == products


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_search_takes_no_more_products_than_the_best_that_is_published(name):
    f, x, _, best = PUBLISHED[name]
    row = wg.plan(f, effort="search", milliseconds=4000)(x)["elimination"]
    assert row.products <= best
    assert row.products_unit_free <= {"RoeFlux_1d": 220, "RobotArm_6DOF": 157}[name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_search_by_one_convention_takes_the_fewest_products_known(name):
    f, x, _, _ = PUBLISHED[name]
    for convention, column, fewest in (
        ("all", "products", {"RoeFlux_1d": 298, "RobotArm_6DOF": 221}),
        ("unit-free", "products_unit_free", {"RoeFlux_1d": 190, "RobotArm_6DOF": 152}),
    ):
        row = wg.plan(f, effort="search", milliseconds=3000, convention=convention)(x)["elimination"]
        counts = [c.weighted(CONVENTIONS[convention]) for c in row.eliminations.values()]
        assert getattr(row, column) == min(counts) <= fewest[name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_portfolio_is_no_worse_than_forward_and_reverse(name):
    f, x, products, _ = PUBLISHED[name]
    row = wg.plan(f, effort="portfolio")(x)["elimination"]
    sides = [row.eliminations[order] for order in ("forward", "reverse")]
    assert row.products <= min(products["forward"], products["reverse"])
    assert row.products_unit_free <= min([side.unit_free for side in sides])


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_jacobian_of_a_published_function_is_that_of_the_sweeps(name):
    f, x, _, _ = PUBLISHED[name]
    J = wg.jacobian(f, mode="elimination")(x)
    for mode in ("forward", "reverse"):
        np.testing.assert_allclose(J, wg.jacobian(f, mode=mode)(x), rtol=1e-12, atol=1e-12)
    jitted = wg.jit(wg.jacobian(f, mode="elimination"))
    for point in (x, x, 1.01 * x):
        np.testing.assert_allclose(jitted(point), wg.jacobian(f, mode="reverse")(point), rtol=1e-12, atol=1e-12)


def test_both_conventions_and_what_they_leave_out():
    # x * x has one edge; x**3 is one vertex; the edges of a difference are 1 and -1; a factor 2 is none of them
    f = lambda x: np.array([np.sin(x[0] * x[0]) - x[1] ** 3 * x[0], -(2.0 * x[1])])  # noqa: E731
    counts = wg.plan(f, effort="portfolio")(np.array([0.5, 2.0]))["elimination"].eliminations["forward"]
    # sin after x*x: 1; the difference: the products of sin and of the product by 1 and -1: 1 + 2; x**3: 1; 2 x: 1
    assert (counts.products, counts.unit_free, counts.additions) == (6, 2, 1)


# ---- Graphs ----


def random_graph(seed, interior, inputs=3, results=2):
    """Return a random graph, in which every vertex has a predecessor and some results are used further."""
    draw = random.Random(seed)
    first = inputs + interior
    edges = {}
    for v in range(inputs, first + results):
        sources = draw.sample(range(min(v, first)), min(v, first, draw.randint(1, 3)))
        edges.update({(u, v): draw.random() < 0.3 for u in sources})
    used = [v for v in range(inputs, first) if draw.random() < 0.2 and any(u == v for u, _ in edges)]
    return Graph(inputs, edges, [*range(first, first + results), *used])


class Plainly:
    """The same elimination with sets of edges, as the definition reads."""

    def __init__(self, graph):
        self.edges = {
            (u, v) for u, after in enumerate(graph.after) for v in range(after.bit_length()) if after >> v & 1
        }
        self.units = {(u, v) for u, v in self.edges if graph.units_after[u] >> v & 1}
        self.copies = set(graph.copy_of.values())

    def eliminate(self, v):
        into = [(u, w) for u, w in self.edges if w == v]
        out_of = [(u, w) for u, w in self.edges if u == v]
        products = unit_free = additions = 0
        fresh, fresh_units = set(), set()
        for one, other in itertools.product(into, out_of):
            new = one[0], other[1]
            if other[1] not in self.copies:
                products += 1
            unit_free += one not in self.units and other not in self.units
            additions += new in self.edges
            fresh.add(new)
            if new not in self.edges and one in self.units and other in self.units:
                fresh_units.add(new)
        self.units = (self.units - fresh) | fresh_units
        self.edges = (self.edges | fresh) - {*into, *out_of}
        self.units &= self.edges
        self.copies -= {w for _, w in out_of}
        return products, unit_free, additions


@pytest.mark.parametrize("seed", range(20))
def test_counts_are_those_of_the_definition(seed):
    graph = random_graph(seed, 6)
    draw = random.Random(seed)
    for _ in range(5):
        order = draw.sample(graph.interior, len(graph.interior))
        plainly = Plainly(graph)
        assert graph.count(order) == tuple(map(sum, zip(*[plainly.eliminate(v) for v in order], strict=True)))
        assert all(u < graph.inputs for u, _ in plainly.edges)  # what is left leads from inputs to results


@pytest.mark.parametrize("seed", range(30))
def test_no_order_is_better_than_brute_force_and_the_exact_one_is_as_good(seed):
    graph = random_graph(seed, 2 + seed % 5, 1 + seed % 3, 1 + seed % 4)
    counts = [graph.count(order) for order in itertools.permutations(graph.interior)]
    least, least_both = (min([c.weighted(weights) for c in counts]) for weights in ((1, 0), (1, 1)))
    for weights in ((1, 0), (0, 1), (1, 1), (1, 2)):
        fewest = min([c.weighted(weights) for c in counts])
        assert graph.count(exact(graph, weights)).weighted(weights) == fewest
    for elimination in portfolio(graph, milliseconds=5).values():
        assert sorted(vertices_of(elimination.order)) == sorted(graph.interior)
        assert elimination.counts.products >= least or elimination.name.startswith("edges")
    assert graph.count(annealed(graph, HEURISTICS["reverse"](graph), 20)).weighted((1, 1)) >= least_both


def least_by_edges(graph):
    """Return the fewest products by which single edges can be eliminated, in any order: by brute force."""
    results = [w for w in range(len(graph.after)) if not graph.after[w] and graph.before[w]]

    def edges_of(graph):
        return frozenset([(u, w) for u, after in enumerate(graph.after) for w in members(after)])

    @functools.cache
    def least(edges):
        inner = [(u, w) for u, w in edges if w >= graph.inputs and any(v == w for v, _ in edges)]
        totals = []
        for source, target in edges:
            for at_front in (True, False):
                if (source, target) in inner if at_front else any(w == source for _, w in edges):
                    left = Graph(graph.inputs, dict.fromkeys(edges, False), results)
                    products = left.eliminate_edge(source, target, at_front).products
                    totals.append(products + least(edges_of(left)))
        return min(totals, default=0)

    return least(edges_of(graph))


LIONS = {  # where eliminations of edges take fewer products than any order of the vertices: found by brute force
    (15, 14): (
        3,
        [(0, 3), (0, 4), (0, 5), (1, 3), (1, 7), (2, 3), (3, 4), (3, 7), (4, 5), (4, 6), (4, 7)],
        [5, 6, 7],
    ),
    (14, 13): (
        3,
        [(0, 3), (0, 9), (2, 3), (2, 7), (3, 4), (3, 7), (3, 9), (4, 5), (4, 6), (4, 8), (4, 9)],
        [5, 6, 7, 8, 9],
    ),
}


@pytest.mark.parametrize("counts", LIONS)
def test_single_edges_are_eliminated_where_that_takes_fewer_products(counts):
    by_vertices, by_edges = counts
    inputs, edges, results = LIONS[counts]
    graph = Graph(inputs, dict.fromkeys(edges, False), results)
    assert min([graph.count(o).products for o in itertools.permutations(graph.interior)]) == by_vertices
    assert least_by_edges(graph) == by_edges
    assert graph.count(with_edges(graph, exact(graph), (1, 0))).products in (by_vertices, by_edges)
    best = best_of(portfolio(graph, convention="all"), "all")
    assert best.counts.products == by_edges
    assert best.name == "edges, all products"


@pytest.mark.parametrize("seed", range(8))
def test_edges_are_counted_as_the_definition_reads(seed):
    graph = random_graph(seed, 4, 2, 2)
    draw, plain = random.Random(seed), Plainly(graph)
    for _ in range(30):
        inner = [(u, w) for u, w in plain.edges if any(w == v for v, _ in plain.edges) and w not in plain.copies]
        inner = [(u, w) for u, w in inner if not any(v == w and t in plain.copies for v, t in plain.edges)]
        if not inner:
            break
        source, target = draw.choice(sorted(inner))
        after = [w for u, w in plain.edges if u == target]
        products = len(after)
        additions = sum([(source, w) in plain.edges for w in after])
        counts = graph.eliminate_edge(source, target, True)
        assert (counts.products, counts.additions) == (products, additions)
        plain.edges = (plain.edges | {(source, w) for w in after}) - {(source, target)}
        if not any(w == target for _, w in plain.edges):
            plain.edges = {(u, w) for u, w in plain.edges if u != target}
        assert {(u, w) for u, after in enumerate(graph.after) for w in members(after)} == plain.edges


@pytest.mark.parametrize("f", [roe_flux, robot_arm])
@pytest.mark.parametrize("seed", range(3))
def test_steps_along_single_edges_yield_the_same_jacobian(f, seed):
    x = STATE if f is roe_flux else ANGLES

    def steps(graph):
        draw, left, order = random.Random(seed), graph.copy(), []
        for v in draw.sample(graph.interior, len(graph.interior)):
            if left.before[v] and left.after[v] and not left.after[v] & left.copies and draw.random() < 0.5:
                at_front = draw.random() < 0.5
                u = draw.choice(list(members(left.before[v] if at_front else left.after[v])))
                order.append((u, v, True) if at_front else (v, u, False))
                left.take(order[-1])
            order.append(v)
            left.take(v)
        return order

    written = eliminate(wg.trace(f, fold=False)(x), [x], heuristic=steps)
    np.testing.assert_allclose(written.blocks(x)[0], wg.jacobian(f, mode="reverse")(x), rtol=1e-10, atol=1e-10)
    assert written.products.multiplications <= written.chosen.counts.unit_free
    assert written.products.additions <= written.chosen.counts.additions


@pytest.mark.parametrize("seed", range(10))
def test_an_annealing_counts_a_move_as_the_graph_does(seed):
    graph = random_graph(seed, 30, 4, 4)
    draw = random.Random(seed)
    for weights in ((1, 0), (0, 1), (1, 1)):
        annealing = _Annealing(graph, HEURISTICS["Markowitz"](graph), weights)
        for _ in range(200):
            annealing.move(draw.randrange(len(graph.interior)), draw.randint(1, 3), draw.random() < 0.5, 9.0)
            assert sorted(annealing.order) == sorted(graph.interior)
            assert annealing.total == graph.count(annealing.order).weighted(weights)


def test_markowitz_loses_on_a_large_random_graph_and_the_portfolio_does_not():
    draw = random.Random(1)
    inputs, last = 5, 405
    edges = {(u, v): False for v in range(inputs, last) for u in draw.sample(range(v), min(v, 10))}
    unused = set(range(inputs, last)).difference([u for u, _ in edges])
    graph = Graph(inputs, {**edges, **{(u, last): False for u in unused}}, [last])
    eliminations = portfolio(graph)
    reverse = eliminations["reverse"].counts.products
    assert reverse == len(edges)  # a pass for the one result
    assert eliminations["Markowitz"].counts.products > 5 * reverse
    assert best_of(eliminations).counts.products <= reverse


@pytest.mark.parametrize("seed", range(10))
def test_the_exact_order_is_best_where_words_are_too_short_for_all_vertices(seed):
    graph = random_graph(seed, 5, inputs=70, results=65)
    least = min([graph.count(order).products for order in itertools.permutations(graph.interior)])
    assert graph.count(exact(graph)).products == least


@settings(max_examples=50)
@given(integers(0, 10**6), integers(2, 70), integers(1, 6), integers(1, 5))
@example(389, 15 + 389 % 60, 2 + 389 % 5, 2 + 389 % 4)  # forward is better by one convention, reverse by the other
@example(367, 15 + 367 % 60, 2 + 367 % 5, 2 + 367 % 4)
@example(4, 2, 1, 3)  # no order is as good as forward by one convention and as reverse by the other
def test_the_best_of_the_portfolio_never_loses_to_forward_and_reverse(seed, interior, inputs, results):
    graph = random_graph(seed, interior, inputs, results)
    eliminations = portfolio(graph)
    sides = [eliminations[name].counts for name in ("forward", "reverse")]
    products, unit_free = min([side.products for side in sides]), min([side.unit_free for side in sides])
    best = best_of(eliminations).counts
    assert best.products <= products
    if any(e.counts.products <= products and e.counts.unit_free <= unit_free for e in eliminations.values()):
        assert best.unit_free <= unit_free
    assert best_of(eliminations, "all").counts.products <= products
    assert best_of(eliminations, "unit-free").counts.unit_free <= unit_free


@pytest.mark.parametrize("seed", [367, 389])
def test_where_forward_is_better_by_one_convention_and_reverse_by_the_other_an_order_by_both_is_sought(seed):
    eliminations = portfolio(random_graph(seed, 15 + seed % 60, 2 + seed % 5, 2 + seed % 4))
    best, sides = best_of(eliminations).counts, [eliminations[name].counts for name in ("forward", "reverse")]
    assert min(sides).unit_free > max(sides).unit_free
    assert best.products <= min(sides).products
    assert best.unit_free <= max(sides).unit_free


def test_the_least_degree_comes_next_and_ties_go_to_the_smallest_or_largest_index():
    graph = random_graph(4, 12)
    for name, choice in (("Markowitz", min), ("Markowitz, largest index", max)):
        left, plain = set(graph.interior), graph.copy()
        for v in HEURISTICS[name](graph):
            least = min([plain.degree(u) for u in left])
            assert v == choice([u for u in left if plain.degree(u) == least])
            left.discard(v)
            plain.eliminate(v)


# ---- Jacobians ----


@pytest.mark.parametrize("name", [*HEURISTICS, "random"])
@pytest.mark.parametrize("f", [roe_flux, robot_arm])
def test_every_order_yields_the_same_jacobian(f, name):
    x = STATE if f is roe_flux else ANGLES
    heuristic = HEURISTICS.get(name, lambda graph: random.Random(1).sample(graph.interior, len(graph.interior)))
    written = eliminate(wg.trace(f, fold=False)(x), [x], heuristic=heuristic)
    check(written.program)
    check(written.blocks)
    expected = wg.jacobian(f, mode="reverse")(x)
    np.testing.assert_allclose(written.blocks(x)[0], expected, rtol=1e-11, atol=1e-11)
    value, J = written.program(x)
    np.testing.assert_allclose(value, f(x), rtol=1e-14)
    np.testing.assert_allclose(J, expected, rtol=1e-11, atol=1e-11)
    assert cost(written.program) == written.function + written.partials + written.products
    # a product is a line at most: what is computed twice is computed once
    assert written.products.multiplications <= written.chosen.counts.unit_free
    assert written.products.additions <= written.chosen.counts.additions


def swept(f, x, mode):
    """Write down the sweeps of all unit seeds over the scalar lines of a function, and return the derivatives."""
    scalar = scalarize(wg.trace(f, fold=False)(x), x)
    with record("swept") as trace:
        parts = [trace.input(part) for part in x]
        trace.arguments.append(Group("x", x.shape, x.dtype, parts))
        linearization = Linearization.of_variables(scalar, parts)
        outputs, one = linearization.outputs, np.float64(1.0)
        if mode == "forward":
            columns = [forward(linearization, {k: one}) for k in range(x.size)]
            entries = [column[position] for position in outputs for column in columns]
        else:
            entries = [entry for position in outputs for entry in reverse(linearization, {position: one})]
        entries = [np.float64(0.0) if entry is None else entry for entry in entries]
        trace.results.append(Group("J", (len(outputs), x.size), x.dtype, entries))
    return simplify(trace.program())


def expressions(program):
    """Return the sign and the expression of each result: products of two, sums of any number without an order.

    Factors 1 and -1 and summands 0 are left out.  Second, the set of all products that are not by such factors.
    """
    products = set()

    def signed(sum_):
        terms = sorted([(s, e) for s, e in sum_ if e != 0.0], key=lambda term: repr(term[1]))
        if len(terms) < 2:
            return terms[0] if terms else (1, 0.0)
        sign = terms[0][0]
        return sign, ("+", tuple([(s * sign, e) for s, e in terms]))

    def summands(sign, e):
        return [(sign * s, t) for s, t in e[1]] if type(e) is tuple and e[0] == "+" else [(sign, e)]

    def apply(line, operands):
        name = line.primitive.name
        if name == "negative":
            ((sign, e),) = operands
            return -sign, e
        if name in ("add", "subtract"):
            (s, a), (t, b) = operands
            return signed([*summands(s, a), *summands(t if name == "add" else -t, b)])
        if name == "multiply":
            (s, a), (t, b) = operands
            if 1.0 in (a, b):
                return s * t, b if a == 1.0 else a
            if 0.0 in (a, b):
                return 1, 0.0
            e = ("*", *sorted((a, b), key=repr))
            products.add(e)
            return s * t, e
        return 1, (name, *operands)

    def constant(value):
        return (-1 if value < 0 else 1), abs(float(value))

    values = {var: (1, str(var)) for var in program.inputs}
    for line in program.lines:
        operands = [values[a] if isinstance(a, Var) else constant(a.value) for a in line.inputs]
        values[line.outputs[0]] = apply(line, operands)
    ends = [values[a] if isinstance(a, Var) else constant(a.value) for r in program.results for a in r.atoms]
    return ends, products


def chain(x):
    return np.array([np.sin(x[0] * x[1]) * np.exp(x[2] - x[0]) / x[1], np.log(x[1]) * x[0] - x[2] * np.cos(x[0])])


def waist(x):
    a = np.sin(x[0]) * np.cos(x[1]) * np.exp(x[2])
    b = np.sqrt(a + x[0])
    return np.array([np.log(b), b * a, np.tanh(b) - a])


@pytest.mark.parametrize("mode", ["forward", "reverse"])
@pytest.mark.parametrize("f", [chain, waist, robot_arm, roe_flux])
def test_forward_and_reverse_as_eliminations_compute_what_the_sweeps_compute(f, mode):
    x = {robot_arm: ANGLES, roe_flux: STATE}.get(f, np.array([0.5, 2.0, 0.3]))
    eliminated = eliminate(wg.trace(f, fold=False)(x), [x], heuristic=HEURISTICS[mode]).blocks
    (entries, products), (same, same_products) = expressions(eliminated), expressions(swept(f, x, mode))
    assert entries == same
    assert products == same_products


@settings(max_examples=40)
@given(random_programs(), points())
def test_all_orders_agree_with_the_sweeps_on_random_programs(f, x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            expected = wg.jacobian(f, mode="forward")(x)
        except wg.errors.WengertError:
            return
        if not np.all(np.isfinite(expected)):
            return
        try:
            J = wg.jacobian(f, mode="elimination")(x)
        except wg.errors.UnsupportedError:
            return
    scale = max(1.0, np.max(np.abs(expected), initial=0.0))
    np.testing.assert_allclose(J, expected, rtol=1e-9, atol=1e-9 * scale)


def same_leaves(one, other):
    """Compare derivatives leaf by leaf: types, shapes, dtypes, and values (infinities and NaN as well)."""
    if isinstance(one, (dict, list, tuple)):
        assert type(one) is type(other)
        assert len(one) == len(other)
        for key in one if isinstance(one, dict) else range(len(one)):
            same_leaves(one[key], other[key])
    else:
        assert (type(one), np.shape(one), one.dtype) == (type(other), np.shape(other), other.dtype)
        np.testing.assert_allclose(one, other, rtol=1e-6 if one.dtype == np.float32 else 1e-12)


X = np.array([0.5, 2.0, 3.0])


def steps(x):
    s = 0.0
    for k in range(300):
        s = np.sin(s + x[k % 3])
    return np.array([s, s * x[0]])


KINDS = {
    "a scalar": (lambda x: 2.0 * x, (3.0,)),
    "single precision": (lambda x: np.sin(x) * x + np.cumsum(x), (X.astype(np.float32),)),
    "a matrix and a vector": (lambda A, x: A @ x, (np.arange(6.0).reshape(2, 3), X)),
    "a tree": (lambda p: {"a": p["w"] * p["b"], "c": [np.sum(p["w"])]}, ({"w": X, "b": 2.0},)),
    "the identity": (lambda x: x, (X,)),
    "constants": (lambda x: np.array([1.0, x[0], 2.0]), (X,)),
    "only constants": (lambda x: np.ones(3), (X,)),
    "a result twice, and used further": (lambda x: np.array([x[0] * x[1], np.exp(x[0] * x[1]), x[0] * x[1]]), (X,)),
    "what cancels": (lambda x: x - x, (X,)),
    "a result that is used": (lambda x: (lambda a: np.array([a, a * x[1], np.sin(a)]))(x[0] * x[2]), (X,)),
    "choices": (lambda x: np.maximum(x[::-1], x) * np.abs(x) * (x > 1) * np.max(x), (X,)),
    "truth values that add up": (lambda x: np.sum(x * (x > 1) + (x > 0) * x), (X,)),
    "a gradient": (wg.grad(lambda x: np.sum(np.sin(x) * x[0])), (X,)),
    "nothing": (lambda x: (x**3)[:0], (X,)),
    "steps": (steps, (X,)),
    "an outer product": (lambda x: np.sum((x[:, None] - x[None, :]) ** 2, axis=1), (X,)),
}


def added_up(x):
    y = 2 * x
    np.add.at(y, [0, 0, 1], x * x)
    return y * x


ON_REQUEST = {
    "roll": lambda x: np.roll(x, 1) * x,
    "roll along two axes": lambda x: np.roll(np.outer(x, x), (1, -1), (0, 1)) @ x,
    "norm": lambda x: x / np.linalg.norm(x),
    "norm of a matrix": lambda x: np.linalg.norm(np.outer(x, x)) * x,
    "norms of rows": lambda x: np.linalg.norm(np.outer(x, x + 1), axis=1) * x,
    "put": lambda x: np.diag(x) @ x,
    "additions at indices": added_up,
    "convolve": lambda x: np.convolve(x, x[:2]) ** 2,
    "convolve, same": lambda x: np.convolve(x, x[:2], "same"),
    "convolve, valid": lambda x: np.convolve(x, x[:2], "valid"),
    "sort": lambda x: np.sort(x) * x,
    "sort of columns": lambda x: np.sort(np.outer(x, 2.2 - x), axis=0) @ x,
    "median": lambda x: np.median(x) * x,
    "largest": lambda x: x[np.argmax(x)] * x + x[np.argmin(x)],
    "largest of rows": lambda x: np.take_along_axis(np.outer(x, x), np.argmax(np.outer(x, -x), 1)[:, None], 1)[:, 0],
    "interpolation": lambda x: np.interp(x, np.arange(5.0), np.arange(5.0) ** 2) * x,
    "pieces": lambda x: np.piecewise(x, [x < 1, x >= 1], [lambda t: t**2, lambda t: t**3]),
    "where it is positive": lambda x: x[np.flatnonzero(x > 1)] ** 2,
}


@pytest.mark.parametrize("kind", ON_REQUEST)
def test_lines_that_read_better_as_arrays_are_eliminated_too(kind):
    f = ON_REQUEST[kind]
    J = wg.jacobian(f, mode="elimination")
    for x in (X, X[::-1].copy(), np.array([1.5, 0.25, 0.75])):  # where positions differ it is written anew
        same_leaves(J(x), wg.jacobian(f, mode="forward")(x))
    jitted = wg.jit(J)
    for x in (X, X + 0.01, X[::-1].copy()):
        np.testing.assert_allclose(jitted(x), J(x), rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_an_elimination_returns_what_a_sweep_does(kind):
    f, args = KINDS[kind]
    which = tuple(range(len(args))) if len(args) > 1 else 0
    for _ in range(2):  # the second time it runs the Program that was written before
        same_leaves(wg.jacobian(f, which, mode="elimination")(*args), wg.jacobian(f, which, mode="reverse")(*args))


NOT_FINITE = {
    "a branch not taken": (lambda x: np.where(x > 1, np.log(x - 1), 0 * x), X),
    "a root of a branch not taken": (lambda x: np.where(x > 1, np.sqrt(x - 1), x), np.array([1.0, 0.0, 2.0])),
    "an infinite derivative": (np.sqrt, np.array([0.0, 1.0])),
    "a square of a root": (lambda x: np.sqrt(x * x + 0 * x[0]) ** 2, np.zeros(2)),
}


@pytest.mark.parametrize("jitted", [False, True])
@pytest.mark.parametrize("kind", NOT_FINITE)
def test_where_values_are_not_finite_the_zeros_of_structure_stay_zero(kind, jitted):
    f, x = NOT_FINITE[kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = wg.jacobian(f, mode="forward")(x)
        J = wg.jacobian(f, mode="elimination")
        J = wg.jit(J) if jitted else J
        for _ in range(2):
            np.testing.assert_array_equal(J(x), expected)


def test_eliminations_nest_and_read_what_is_traced_outside():
    f = lambda x: np.sin(x[0] * x[1]) * x  # noqa: E731
    inner = wg.jacobian(f, mode="elimination")
    expected = wg.jacobian(wg.jacobian(f))(X)
    for mode in ("elimination", "forward", "reverse"):
        np.testing.assert_allclose(wg.jacobian(inner, mode=mode)(X), expected, rtol=1e-12)

    def scaled(mode):
        return lambda a: wg.jacobian(lambda x: a * np.sin(x) * a[0], mode=mode)(X)

    for mode in ("elimination", "reverse"):
        expected = wg.jacobian(scaled("forward"))(X)
        np.testing.assert_allclose(wg.jacobian(scaled("elimination"), mode=mode)(X), expected, rtol=1e-12)
    np.testing.assert_allclose(wg.vmap(inner)(np.stack([X, 2 * X]))[1], inner(2 * X), rtol=1e-12)


def test_another_branch_and_another_constant_are_written_anew():
    def f(x, c):
        return c * x[0] * x[1] if x[2] > 0 else x**c

    J, expected = wg.jacobian(f, mode="elimination"), wg.jacobian(f, mode="reverse")
    for x, c in ((X, 2.0), (-X, 2.0), (X, 3.0), (-X, 3.0), (X, 2.0)):
        np.testing.assert_allclose(J(x, c), expected(x, c), rtol=1e-12)


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x: np.linalg.solve(np.outer(x, x) + np.eye(3), x), "solve cannot be written in scalars"),
        (lambda x: np.real(np.exp(1j * x)), "here is a complex one"),
        (lambda x: np.sum(x[:, None] * np.ones(5000)), "and up to 4,096 can be eliminated"),
    ],
)
def test_what_cannot_be_eliminated_is_refused_and_left_out_of_a_plan(f, message):
    with pytest.raises(wg.errors.UnsupportedError, match=message) as info:
        wg.jacobian(f, mode="elimination")(X)
    assert str(info.value).splitlines()[-1] == 'Write mode="forward" or mode="reverse", or leave the mode out.'
    plan = wg.plan(f, effort="portfolio")(X)
    assert {"forward", "reverse"} <= set(plan)
    assert "elimination" not in set(plan)
    assert any(note.startswith("elimination is left out: ") and message in note for note in plan.notes)
    np.testing.assert_array_equal(wg.jacobian(f, effort="portfolio")(X), wg.jacobian(f)(X))


@settings(max_examples=20)
@given(random_programs(max_size=4), points())
def test_with_effort_a_jacobian_runs_what_the_plan_marks(f, x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        jacobian = wg.jacobian(f, effort="portfolio")
        try:
            plan = jacobian.plan(x)
        except wg.errors.WengertError:
            return
        ran = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(api, "choose", lambda *a: ran.append(planning.choose(*a)) or ran[-1])
            jacobian(x)
    assert [order.name for order in ran] == [plan.chosen]


def test_wrong_efforts_are_refused():
    with pytest.raises(wg.errors.ArgumentError, match="the efforts are 'portfolio', 'search', or None"):
        wg.plan(np.sin, effort="much")
    for effort, milliseconds in ((None, 5), ("portfolio", 5), ("search", 0), ("search", -1.0)):
        with pytest.raises(wg.errors.ArgumentError, match=r"effort=.search., milliseconds=1000"):
            wg.jacobian(np.sin, effort=effort, milliseconds=milliseconds)
    for effort, convention in ((None, "all"), ("portfolio", "both"), ("search", "some")):
        with pytest.raises(wg.errors.ArgumentError, match=f"convention='{convention}' is how the products"):
            wg.plan(np.sin, effort=effort, convention=convention)
    with pytest.raises(wg.errors.ArgumentError, match="Leave out sparse, or the elimination"):
        wg.jacobian(np.sin, mode="elimination", sparse=np.eye(2))
    with pytest.raises(wg.errors.ArgumentError, match="'forward', 'reverse', 'elimination', 'waist'"):
        wg.jacobian(np.sin, mode="eliminate")


def test_a_plan_shows_what_the_elimination_costs_beside_the_passes():
    plan = wg.plan(robot_arm, effort="portfolio")(ANGLES)
    assert plan.chosen == "elimination"
    row = plan["elimination"]
    assert row.operations == (row.function + row.partials + row.one_pass).operations
    assert (row.passes, row.bytes, row.products) == (1, 8 * (row.kept + 6 * 6), 221)
    assert plan["reverse"].products_unit_free < plan["reverse"].products
    text = str(plan)
    assert "elimination 221" in text.splitlines()[1]
    assert "elimination: in the order Markowitz, largest index, against " in plan.reason
    assert plan.notes[-1] == (
        "Elimination: of 10 orders Markowitz, largest index takes 221 products, 157 of them by other factors than 1 "
        "and minus 1; forward 397 (227), reverse 301 (221), Markowitz 288 (179)"
    )


def test_a_plan_counts_an_elimination_that_was_not_compared_when_it_is_asked_for():
    plan = wg.plan(roe_flux)(STATE)
    assert list(plan) == ["reverse", "forward"]
    assert plan["elimination"] == wg.plan(roe_flux, effort="portfolio")(STATE)["elimination"]
    copy = pickle.loads(pickle.dumps(plan))
    assert copy == plan
    assert copy["elimination"].products == 364
    assert "elimination" not in str(copy)
    with pytest.raises(KeyError):
        plan["sideways"]
    with pytest.raises(wg.errors.UnsupportedError):
        wg.plan(np.linalg.inv)(np.eye(2))["elimination"]


def test_an_elimination_of_arrays_that_would_be_slower_is_not_taken():
    W = np.random.default_rng(0).normal(size=(3, 10, 10)) / 3

    def layers(x):
        for A in W:
            x = np.tanh(A @ x)
        return x

    plan = wg.plan(layers, effort="portfolio")(np.ones(10))
    assert list(plan) == ["forward", "reverse", "elimination"]
    assert plan["elimination"].operations < plan["forward"].operations
    assert plan["elimination"].seconds > plan["forward"].seconds  # of calls that trace first, which takes both as long
    assert any("operations, but on scalars one by one" in note for note in plan.notes)


def test_an_elimination_of_stacked_scalars_is_compiled():
    def f(x):
        return np.array([x[0] * (x[1] - x[2]), x[2] * np.log(1 - x[0])])

    compiled = wg.jit(wg.jacobian(f, mode="elimination"))
    for x in (np.array([0.5, 2.0, 3.0]), np.array([0.25, -1.0, 0.5])):
        expected = [[x[1] - x[2], x[0], -x[0]], [-x[2] / (1 - x[0]), 0.0, np.log(1 - x[0])]]
        np.testing.assert_allclose(compiled(x), expected, rtol=1e-14)
