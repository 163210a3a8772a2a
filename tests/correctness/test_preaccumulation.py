"""Preaccumulation: elementwise lines eliminated once, against the passes over all lines, by value and by count."""

import contextlib
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from programs import points, random_programs

import wengert as wg
from wengert.accumulation import preaccumulation
from wengert.accumulation.counting import ActiveRows, count_forward, count_reverse
from wengert.accumulation.preaccumulation import count_preaccumulation, is_made, preaccumulate
from wengert.linearization import Linearization
from wengert.planning import candidates, choice

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from published import roe_flux

pytestmark = pytest.mark.filterwarnings("ignore::wengert.errors.DecisionWarning")


def finite_volumes(state):
    """Return what flows into each of some cells on a ring, in three conserved quantities."""
    cells = state.reshape(3, -1)
    flux = roe_flux(np.concatenate([cells, np.roll(cells, -1, axis=1)]))
    return (flux - np.roll(flux, 1, axis=1)).ravel()


def flow(cells):
    noise = np.random.default_rng(0).random((3, cells)) / 10
    return (np.array([[1.0], [0.2], [-1.6]]) + noise).ravel()


def reaction(x):
    """Return rates of an elementwise function of several arrays, with many lines between."""
    a, b, c = x.reshape(3, -1)
    r = np.exp(-a) * b / (1 + c**2)
    s = np.tanh(r * a) + np.sqrt(1 + r * r)
    return np.concatenate([s * r - a, r / s, np.sin(s) * c])


def chain(x):
    """Return differences of an elementwise function of one array, with many lines between."""
    y = np.sin(np.exp(-x) * x) / (1 + x**2)
    return np.diff(np.tanh(y * np.sqrt(1 + y * y)), n=2)


def sums(parameters):
    """Return three sums over a large array, of a function of a few parameters."""
    t = np.linspace(0.0, 1.0, 20_000)
    y = parameters[0] * np.exp(-parameters[1] * t) + parameters[2] * np.sin(parameters[3] * t)
    return np.array([np.mean(y * y), np.mean(np.exp(y)), np.mean(t * y)])


@contextlib.contextmanager
def preaccumulating_everywhere():
    """Preaccumulate small arrays, too, and where little is saved."""
    preaccumulation._ORDERS.clear()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"LEAST": 1, "LEAST_SAVED": 1, "LEAST_SHARE": 0.0, "FRESH": 1}.items():
            patch.setattr(preaccumulation, name, value)
        yield
    preaccumulation._ORDERS.clear()


@pytest.fixture
def everywhere():
    with preaccumulating_everywhere():
        yield


def over_all_lines(derivative, *args):
    """Differentiate without a preaccumulation."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (preaccumulation, candidates, choice):
            patch.setattr(module, "find_order", lambda *_: [])
        return derivative(*args)


@pytest.mark.parametrize(("f", "x"), [(finite_volumes, flow(4000)), (chain, np.linspace(0.1, 2.0, 60_000))])
def test_a_sparse_jacobian_multiplies_as_tangents_and_adjoints_do(f, x):
    J = wg.jacobian(f, sparse=True)(x)
    linearization = Linearization.of_program(wg.trace(f)(x), x)
    rows = preaccumulate(linearization, 10).active().rows
    assert len(rows) < len(linearization.active().rows) / 2
    assert any(map(is_made, rows))
    rng = np.random.default_rng(1)
    for _ in range(3):
        t, g = rng.normal(size=x.size), rng.normal(size=J.shape[0])
        np.testing.assert_allclose(J @ t, wg.jvp(f, (x,), (t,))[1], rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(J.T @ g, wg.vjp(f, x)[1](g)[0], rtol=1e-10, atol=1e-10)


def test_local_jacobians_of_a_published_function_are_its_eliminated_ones():
    x = flow(2000).reshape(3, -1)
    state = np.concatenate([x, np.roll(x, -1, axis=1)])
    linearization = Linearization.of_program(wg.trace(roe_flux)(state), state)
    made = [row for row in preaccumulate(linearization, 30).active().rows if is_made(row)]
    assert [len(row[1]) for row in made] == [6, 6, 6]
    for cell in (0, 7, 1999):
        expected = wg.jacobian(roe_flux, mode="elimination")(state[:, cell])
        np.testing.assert_allclose([[c[cell] for c in row[3]["partials"]] for row in made], expected, rtol=1e-10)


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_a_dense_jacobian_is_that_of_the_passes(mode):
    parameters = np.array([1.0, 0.5, 0.3, 2.0])
    J = wg.jacobian(sums, mode=mode)
    assert preaccumulate(Linearization.of_program(wg.trace(sums)(parameters), parameters), 4).rows
    np.testing.assert_allclose(J(parameters), over_all_lines(J, parameters), rtol=1e-12)
    np.testing.assert_allclose(J(parameters), wg.jacobian(sums, mode="forward")(parameters), rtol=1e-12)


@settings(max_examples=60)
@given(random_programs(max_size=4), points())
def test_random_programs_have_the_same_jacobian(f, x):
    with warnings.catch_warnings(), preaccumulating_everywhere():
        warnings.simplefilter("ignore")
        for mode in ("forward", "reverse"):
            J = wg.jacobian(f, mode=mode)
            try:
                expected = over_all_lines(J, x)
            except wg.errors.WengertError:
                return
            np.testing.assert_allclose(J(x), expected, rtol=1e-9, atol=1e-9 * max(1.0, np.nanmax(np.abs(expected))))


KINDS = {
    "a branch not taken": lambda x: np.where(x > 1, np.log(x - 1), 0 * x) * np.sin(x),
    "an infinite derivative": lambda x: np.sqrt(x * np.exp(x)) * np.cos(x),
    "a square of a root": lambda x: np.sqrt(x * x + 0 * x) ** 2 * np.exp(x),
    "a factor that is zero": lambda x: (x - x) * np.exp(x * x) * np.sin(x),
    "an overflow": lambda x: np.tanh(np.exp(1000 * x) * x) / (1 + np.exp(800 * x)),
    "an argument twice": lambda x: (np.exp(x) * np.exp(x)) / (x + 2) ** 2 * x,
    "results between": lambda x: (lambda a: np.concatenate([a, np.sin(a * x), a * a]))(np.exp(x) * x),
    "a number and an array": lambda x: np.sum(np.tanh(x[0] * x + np.exp(x[1] * x)) * x) * x[:2],
    "several shapes": lambda x: np.sum(np.sin(x[:, None] * np.cos(x)) * x, axis=0) * np.exp(np.cos(x) * x),
    "a loop": lambda x: wg.fori_loop(0, 3, lambda k, s: np.sin(s) * np.exp(s * x), x),
    "choices": lambda x: np.maximum(x * np.exp(x), 1 - x) * np.abs(x - 1) * (x > 0.5),
    "a matrix product": lambda x: np.outer(np.sin(x) * x, x) @ (np.exp(x) * x),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", KINDS)
def test_kinds_have_the_same_derivatives(everywhere, kind, dtype):
    f, x = KINDS[kind], np.array([0.0, 1.0, 2.0, 0.5], dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for mode in ("forward", "reverse"):
            J = wg.jacobian(f, mode=mode)
            expected, actual = over_all_lines(J, x), J(x)
            assert actual.dtype == expected.dtype
            np.testing.assert_allclose(actual, expected, rtol=1e-4 if dtype is np.float32 else 1e-10)


def test_a_hessian_is_that_of_the_passes(everywhere):
    def f(x):
        return np.sum(np.exp(x[1:] * x[:-1]) * np.sin(x[1:]) / (1 + x[:-1] ** 2))

    x = np.linspace(0.1, 2.0, 30)
    for sparse in (False, True):
        H = wg.hessian(f, sparse=sparse)
        actual, expected = H(x), over_all_lines(H, x)
        np.testing.assert_allclose(*(m.toarray() if sparse else m for m in (actual, expected)), rtol=1e-10, atol=1e-12)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_what_is_recorded_holds_at_other_points(everywhere):
    f, x = KINDS["a branch not taken"], np.array([3.0, 2.0])
    program = wg.trace(wg.jacobian(f))(x)
    y = np.array([3.0, 0.5])
    np.testing.assert_allclose(program(y), wg.jacobian(f)(y))
    np.testing.assert_allclose(wg.jit(wg.jacobian(f))(y), wg.jacobian(f)(y))


@pytest.mark.parametrize(("f", "x", "passes"), [(finite_volumes, flow(4000), 10), (reaction, flow(20_000), 30)])
@pytest.mark.parametrize("count", [count_forward, count_reverse])
def test_counts_are_those_of_the_graph_that_passes_go_over(f, x, passes, count):
    linearization = Linearization.of_program(wg.trace(f)(x), x)
    graph, counted = preaccumulate(linearization, passes), count_preaccumulation(linearization, passes)
    assert count(ActiveRows(counted.linearization)).one_pass == count(ActiveRows(graph)).one_pass
    assert counted.kept == sum([np.size(c) for row in graph.rows if is_made(row) for c in row[3]["partials"]])
    before, after = count(ActiveRows(linearization)), count(ActiveRows(graph))
    saved = passes * (before.one_pass.operations - after.one_pass.operations)
    assert saved > 2 * counted.operations.operations


def test_products_of_arrays_are_as_many_as_are_counted(monkeypatch):
    x = flow(4000)
    linearization = Linearization.of_program(wg.trace(finite_volumes)(x), x)
    counted = count_preaccumulation(linearization, 10).operations
    made = {"products": 0, "additions": 0}
    multiply, add = preaccumulation.Factor.__mul__, preaccumulation.Factor.__add__

    def size_if(result, *factors):
        return np.size(result.value) if all(np.ndim(f.value) for f in factors) else 0

    def counting_multiply(a, b):
        result = multiply(a, b)
        numbers = [f for f in (a, b) if not (f.is_unit or f.is_zero)]
        made["products"] += size_if(result, result) if len(numbers) == 2 else 0
        return result

    def counting_add(a, b):
        result = add(a, b)
        made["additions"] += 0 if a.is_zero or b.is_zero else size_if(result, result)
        return result

    monkeypatch.setattr(preaccumulation.Factor, "__mul__", counting_multiply)
    monkeypatch.setattr(preaccumulation.Factor, "__add__", counting_add)
    preaccumulate(linearization, 10)
    assert made == {"products": counted.multiplications, "additions": counted.additions}


def test_a_plan_counts_and_says_what_is_preaccumulated():
    x = flow(4000)
    planner = wg.plan(finite_volumes, sparse=True)
    plan, before = planner(x), over_all_lines(planner, x)
    row, whole = plan[plan.chosen], before[before.chosen]
    assert plan.chosen == before.chosen == "column-compressed"
    assert row.passes == whole.passes
    assert 2 * row.operations < whole.operations
    assert row.function == whole.function
    assert row.products < whole.products
    assert "Preaccumulated: 98 elementwise lines are eliminated once" in str(plan)
    assert "Preaccumulated" not in str(before)


def test_one_pass_and_small_arrays_are_left_as_they_are():
    for f, x, passes in ((finite_volumes, flow(4000), 1), (finite_volumes, flow(30), 10), (reaction, flow(40), 6)):
        linearization = Linearization.of_program(wg.trace(f)(x), x)
        assert preaccumulate(linearization, passes) is linearization
