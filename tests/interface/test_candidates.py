"""All candidates of a plan, compressed passes and Hessians among them; what is marked is what runs; predicted times."""

import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from programs import points, random_programs
from scipy import sparse

import wengert as wg
from wengert.accumulation import compressed
from wengert.accumulation.counting import ActiveRows, count_forward, count_reverse
from wengert.accumulation.orders import HESSIAN_ORDERS, ORDERS
from wengert.errors import ArgumentError, CompressionWarning, PatternError, SizeError
from wengert.linearization import Linearization
from wengert.planning import choice, compressions, machine


def chain(x):
    return 2 * x[1:-1] - np.sin(x[1:-1]) - x[:-2] * x[2:]


def arrow(x):
    return np.concatenate([[np.sum(x**2)], x[1:] * x[0]])


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def dense(x):
    return np.cumsum(np.sin(x))


X = np.linspace(0.1, 1.0, 40)
JACOBIAN_MODES = ("forward", "reverse", "column-compressed", "row-compressed", "bi-compressed")
HESSIAN_MODES = ("forward over reverse", "reverse over reverse", "star", "acyclic", "column-compressed")


def passes_of(call):
    """Run a call; return how many forward and reverse passes it has made, each as often as seeds are in a block."""
    made = {"forward": 0, "reverse": 0}
    with pytest.MonkeyPatch.context() as patch:
        for name in made:
            sweep = getattr(compressed, name)

            def counted(linearization, seeds, batch=0, name=name, sweep=sweep):
                made[name] += len(next(iter(seeds.values()))) if batch else 0
                return sweep(linearization, seeds, batch) if batch else sweep(linearization, seeds)

            patch.setattr(compressed, name, counted)
        call()
    return made["forward"], made["reverse"]


# ---- What runs is what is marked ----


@pytest.mark.parametrize("mode", JACOBIAN_MODES)
@pytest.mark.parametrize("f", [chain, arrow, dense], ids=lambda f: f.__name__)
def test_every_mode_computes_the_jacobian_and_is_in_the_plan(f, mode):
    expected = wg.jacobian(f, mode="forward")(X)
    for on, dense_too in (("auto", True), (False, True), (True, False)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CompressionWarning)
            J = wg.jacobian(f, mode=mode, sparse=on)(X)
        assert isinstance(J, np.ndarray if dense_too else sparse.csr_array)
        np.testing.assert_allclose(J if dense_too else J.toarray(), expected, rtol=1e-13, atol=1e-14)
    plan = wg.jacobian(f, mode=mode).plan(X)
    assert plan.chosen == mode
    assert wg.plan(f, mode=mode)(X) == plan
    assert plan[mode] == wg.plan(f)(X)[mode]


@pytest.mark.parametrize("mode", HESSIAN_MODES)
def test_every_mode_computes_the_hessian_and_is_in_the_plan(mode):
    expected = wg.hessian(rosenbrock, sparse=False)(X)
    H = wg.hessian(rosenbrock, mode=mode)(X)
    assert isinstance(H, np.ndarray)
    np.testing.assert_allclose(H, expected, rtol=1e-12, atol=1e-10)
    plan = wg.hessian(rosenbrock, mode=mode).plan(X)
    assert plan.chosen == mode
    assert wg.plan(wg.hessian(rosenbrock, mode=mode))(X) == plan
    assert plan[mode].passes == {"star": 3, "acyclic": 2, "column-compressed": 3}.get(mode, 40)


@pytest.mark.parametrize("f", [chain, arrow], ids=lambda f: f.__name__)
def test_passes_that_are_counted_are_those_that_are_made(f):
    plan = wg.plan(f)(X)
    for mode in JACOBIAN_MODES[2:]:
        taken = plan[mode].compression
        made = passes_of(lambda mode=mode: wg.jacobian(f, mode=mode)(X))
        assert made == (taken.forward_passes, taken.reverse_passes)
        assert plan[mode].passes == sum(made)


def test_passes_that_are_counted_for_a_hessian_are_those_that_are_made():
    plan = wg.hessian(rosenbrock).plan(X)
    for mode in HESSIAN_MODES[2:]:
        assert passes_of(lambda mode=mode: wg.hessian(rosenbrock, mode=mode)(X)) == (plan[mode].passes, 0)


def test_counts_of_compressed_passes_are_those_of_the_passes_that_are_made():
    for f in (chain, arrow):
        active = ActiveRows(Linearization.of_program(wg.trace(f)(X), X))
        along, back = count_forward(active), count_reverse(active)
        plan = wg.plan(f)(X)
        for mode in JACOBIAN_MODES[2:]:
            forward, reverse = passes_of(lambda f=f, mode=mode: wg.jacobian(f, mode=mode)(X))
            made = forward * along.one_pass + reverse * back.one_pass
            row = plan[mode]
            assert row.all_passes == made
            assert row.cost == plan.function + along.partials + made
            assert (row.products, row.products_unit_free) == (made.products, made.unit_free)
            assert (row.multiplications, row.additions) == (row.cost.multiplications, row.cost.additions)
            assert row.transcendentals == row.cost.calls
            assert row.bytes == row.result + 8 * row.kept


@settings(max_examples=60, deadline=None)
@given(random_programs(analytic=False), points())
def test_what_the_plan_marks_runs_whether_compressed_or_not(f, x):
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for name, value in (("FINDING", 0), ("FINDING_LINE", 0), ("FINDING_ENTRY", 0), ("LEAST", 2)):
            patch.setattr(choice, name, value)
        plan = wg.plan(f)(x)
        ran = []
        patch.setattr("wengert.api.choose", lambda *a: ran.append(choice.choose(*a)) or ran[-1])
        J = wg.jacobian(f)(x)
        assert [taken.name for taken in ran] == [plan.chosen]
        assert isinstance(J, (np.ndarray, np.generic))
        np.testing.assert_allclose(J, wg.jacobian(f, sparse=False)(x), rtol=1e-10, atol=1e-10)


# ---- Left to choose ----


def test_small_functions_are_not_searched_for_a_pattern(monkeypatch):
    monkeypatch.setattr(compressions, "pattern_of", lambda *_, **__: pytest.fail("a pattern is sought"))
    for f in (chain, dense, arrow):
        wg.jacobian(f)(X)
    wg.hessian(rosenbrock)(X)


def test_large_functions_are_compressed_and_their_jacobian_is_an_array():
    n = 1500
    x, v = np.cos(np.arange(float(n))), np.sin(np.arange(float(n)))
    plan = wg.jacobian(chain).plan(x)
    assert plan.chosen.endswith("-compressed")
    assert sum(passes_of(lambda: wg.jacobian(chain)(x))) == 3
    J = wg.jacobian(chain)(x)
    assert isinstance(J, np.ndarray)
    assert np.count_nonzero(J) <= 3 * (n - 2)
    np.testing.assert_allclose(J @ v, wg.jvp(chain, (x,), (v,))[1], rtol=1e-12, atol=1e-12)
    assert wg.plan(wg.hessian(rosenbrock))(x).chosen == "star"
    H, product = wg.hessian(rosenbrock)(x), wg.hvp(rosenbrock)(x, v)
    assert isinstance(H, np.ndarray)
    np.testing.assert_allclose(H @ v, product, rtol=1e-10, atol=1e-12 * np.abs(product).max())


def limited(x):
    return np.where(np.abs(x - np.roll(x, 1)) < 1, x * np.roll(x, 1), x**2) + np.roll(x, -1) ** 3


@pytest.mark.parametrize(
    ("f", "most_patterns"), [(limited, 1), (lambda x: np.sort(x) * np.sin(x), 1), (lambda x: x[np.argsort(x)] * x, 1)]
)
@pytest.mark.filterwarnings("ignore::wengert.errors.DecisionWarning")
def test_a_function_that_decides_by_values_has_one_pattern_for_all_inputs(f, most_patterns, monkeypatch):
    calls = []
    find = compressions.pattern_of
    monkeypatch.setattr(compressions, "pattern_of", lambda *a, **more: calls.append(1) or find(*a, **more))
    rng = np.random.default_rng(0)
    jacobian, ran = wg.jacobian(f), []
    monkeypatch.setattr("wengert.api.choose", lambda *a: ran.append(choice.choose(*a)) or ran[-1])
    for _ in range(4):
        x = rng.normal(size=900)
        np.testing.assert_allclose(jacobian(x), wg.jacobian(f, sparse=False)(x), rtol=1e-12, atol=1e-12)
    assert len(calls) <= most_patterns
    assert {taken.name for taken in ran[::2]} == {wg.plan(f)(x).chosen}


def test_a_dense_jacobian_is_swept_and_its_pattern_is_sought_once(monkeypatch):
    calls = []
    find = compressions.pattern_of
    monkeypatch.setattr(compressions, "pattern_of", lambda *a, **more: calls.append(1) or find(*a, **more))
    A = np.random.default_rng(0).normal(size=(400, 500))
    f = lambda x: np.tanh(A @ x)  # noqa: E731
    x = np.linspace(-0.1, 0.1, 500)
    assert wg.plan(f)(x).chosen == "reverse"
    for _ in range(3):
        np.testing.assert_allclose(wg.jacobian(f)(x), (1 - np.tanh(A @ x) ** 2)[:, None] * A)
    assert len(calls) <= 2  # of the trace that a plan keeps, and of that of a sweep
    A[:] = np.eye(400, 500)
    np.testing.assert_allclose(wg.jacobian(f)(x), (1 - np.tanh(A @ x) ** 2)[:, None] * A)
    assert wg.plan(f)(x).chosen.endswith("-compressed")


def test_a_jacobian_that_is_too_large_is_a_sparse_matrix_with_a_warning_at_the_users_line():
    x = np.cos(np.arange(100_000.0))
    with pytest.warns(
        CompressionWarning, match=r"74\.5 GiB(.|\n)*sparse=True for a sparse matrix(.|\n)*sparse=False"
    ) as seen:
        J = wg.jacobian(chain)(x)
    assert seen[0].filename == __file__
    assert (J.nnz, J.shape) == (299_994, (99_998, 100_000))
    assert wg.plan(chain)(x).chosen.endswith("-compressed")
    with pytest.warns(CompressionWarning, match="sparse matrix"):
        assert isinstance(wg.hessian(rosenbrock)(x), sparse.csr_array)
    for call in (wg.jacobian(chain, sparse=False), wg.hessian(rosenbrock, sparse=False)):
        with pytest.raises(SizeError, match="GiB"):
            call(np.cos(np.arange(300_000.0)))
    with pytest.raises(SizeError, match="sparse=True"):
        wg.jacobian(lambda x: np.cumsum(x) * np.sum(x))(np.cos(np.arange(300_000.0)))


def test_the_modes_are_listed_where_one_is_unknown():
    with pytest.raises(
        ArgumentError, match=r"'elimination', .*compressed 'column-compressed', 'row-compressed', 'bi-comp"
    ):
        wg.jacobian(chain, mode="sideways")
    with pytest.raises(ArgumentError, match=r"'forward over reverse', .*, compressed 'star', 'acyclic', 'column-comp"):
        wg.hessian(rosenbrock, mode="forward")
    with pytest.raises(ArgumentError, match=r"wg\.plan\(wg\.hessian\(f, mode=\.\.\.\)\)\(x\)"):
        wg.plan(wg.hessian(rosenbrock), mode="star")


def test_complex_results_are_compressed_by_columns_alone():
    f = lambda x: np.exp(1j * x) * np.roll(x, 1)  # noqa: E731
    expected = wg.jacobian(f, mode="forward")(X)
    for mode, on in (("column-compressed", "auto"), (None, True), ("reverse", True)):
        J = wg.jacobian(f, mode=mode, sparse=on)(X)
        np.testing.assert_allclose(J if on == "auto" else J.toarray(), expected)
    for mode in ("row-compressed", "bi-compressed"):
        for call in (wg.jacobian(f, mode=mode), wg.plan(f, mode=mode)):
            with pytest.raises(ArgumentError, match="a row of a complex result is two of real ones"):
                call(X)
        with pytest.raises(KeyError):
            wg.plan(f)(X)[mode]
    with pytest.raises(ArgumentError, match="an argument is complex"):
        wg.jacobian(f, mode="column-compressed")(X + 0j)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, complex])
def test_a_compressed_jacobian_is_compiled_to_an_array_of_the_same_dtype(dtype):
    f = lambda x: np.roll(x, 1) * x * np.ones(1, dtype)  # noqa: E731
    x = X.astype(np.float32) if dtype == np.float32 else X
    expected = wg.jacobian(f, sparse=False)(x)
    compiled = wg.jit(wg.jacobian(f, mode="column-compressed"))
    for J in (compiled(x), compiled(x), wg.jacobian(f, mode="column-compressed")(x)):
        assert J.dtype == expected.dtype
        np.testing.assert_allclose(J, expected, rtol=1e-6)


# ---- The plan as a mapping and a table ----


def test_a_plan_lists_the_candidates_that_are_worth_it_and_counts_others_on_request():
    plan = wg.plan(arrow)(X)
    assert set(plan) == {"forward", "reverse", "column-compressed", "row-compressed", "bi-compressed"}
    assert plan["bi-compressed"].passes == 3 < plan["column-compressed"].passes == 40
    small = wg.plan(chain)(X[:6])
    assert set(small) == {"forward", "reverse"}
    assert small["column-compressed"].passes == 3
    with pytest.raises(KeyError):
        small["star"]
    hessian = wg.hessian(rosenbrock).plan(X)
    assert [hessian[name].passes for name in HESSIAN_MODES] == [40, 40, 3, 2, 3]
    copy = pickle.loads(pickle.dumps(hessian))
    assert copy == hessian
    assert copy["star"].compression.passes == 3


def test_the_table_has_a_row_for_each_candidate():
    plan = wg.plan(arrow)(X)
    lines = str(plan).splitlines()
    assert lines[2].split() == ["passes", "products", "mult", "add", "calls", "total", "bytes", "time"]
    rows = {name: next(line for line in lines[4:] if line.startswith(name)) for name in plan}
    for name, row in plan.items():
        assert rows[name].split()[1:6] == [
            f"{n:,}" for n in (row.passes, row.products, row.multiplications, row.additions, row.transcendentals)
        ]
        assert rows[name].endswith("<- chosen") == (name == plan.chosen)
    assert plan.reason in lines
    assert plan.listing(seconds=False) == plan.listing(seconds=False)
    assert "time" not in plan.listing(seconds=False)
    assert wg.spy(plan).headline.endswith(f"; {plan['bi-compressed'].compression}")
    assert wg.spy(wg.plan(dense)(X)).headline == "40 x 40, 820 entries, 51.2 %"


def test_a_mode_that_was_asked_for_is_named_in_the_reason():
    assert (
        wg.jacobian(chain, mode="forward")
        .plan(X)
        .reason.startswith(
            "forward: asked for, mode='forward'; row-compressed takes 3 passes; 11 times fewer operations ("
        )
    )
    assert wg.jacobian(chain, sparse=True).plan(X).reason.startswith("row-compressed: 3 passes instead of 38; ")


# ---- Seconds ----


def test_seconds_are_predicted_by_a_model_that_is_calibrated_once(monkeypatch):
    machine.this_machine.cache_clear()
    measured = []
    shortest = machine.shortest
    monkeypatch.setattr(machine, "shortest", lambda *a: measured.append(1) or shortest(*a))
    wg.jacobian(chain)(X)
    plan = wg.plan(chain)(X)
    assert plan.listing(seconds=False)
    assert not measured  # nothing is timed for a choice, nor for counts
    assert plan["row-compressed"].seconds > 0
    count = len(measured)
    assert count
    assert wg.plan(arrow)(X)["forward"].seconds > 0
    assert len(measured) == count


def test_seconds_grow_with_what_there_is_to_do():
    few, many = (wg.plan(chain)(np.cos(np.arange(n)))["forward"].seconds for n in (100.0, 20_000.0))
    assert many > 100 * few
    large = wg.plan(chain)(np.cos(np.arange(20_000.0)))
    assert large["forward"].seconds > 100 * large["column-compressed"].seconds


def test_with_measure_the_best_two_are_timed_and_the_faster_one_is_marked(monkeypatch):
    plan = wg.plan(chain, measure=True)(X)
    assert "measured" in plan.reason
    timed = [name for name, row in plan.items() if not np.isnan(row.measured)]
    assert len(timed) == 2
    assert plan.chosen == min(timed, key=lambda name: plan[name].seconds)
    assert plan[plan.chosen].seconds == plan[plan.chosen].measured

    slow = {order.name: order for order in ORDERS}[wg.plan(dense)(X).chosen]
    accumulate = slow.accumulate

    def hesitant(linearization, executor=None):
        import time

        time.sleep(0.02)
        return accumulate(linearization, executor)

    monkeypatch.setitem(slow.__dict__, "accumulate", hesitant)
    corrected = wg.plan(dense, measure=True)(X)
    assert corrected.chosen != slow.name
    assert corrected.reason.startswith(f"{corrected.chosen}: measured, ")
    assert f" by {slow.name}" in corrected.reason
    assert wg.plan(dense)(X).chosen == slow.name  # without a measurement the counts decide
    hessian = wg.plan(wg.hessian(rosenbrock), measure=True)(X)
    assert "measured" in hessian.reason
    assert wg.plan(chain, mode="forward", measure=True)(X).chosen == "forward"


def test_an_order_of_a_hessian_is_one_of_the_gradient():
    assert [order.name for order in HESSIAN_ORDERS] == list(HESSIAN_MODES[:2])


# ---- Compiled, and checked ----


def test_a_compiled_sparse_jacobian_is_planned_once(monkeypatch):
    calls = {"patterns": 0, "choices": 0}

    def counted(module, name, kind):
        original = getattr(module, name)

        def call(*args, **more):
            calls[kind] += 1
            return original(*args, **more)

        monkeypatch.setattr(module, name, call)

    counted(compressions, "pattern_of", "patterns")
    counted(wg.api, "choose", "choices")
    f = lambda x: chain(x) * 3.25  # noqa: E731
    compiled = wg.jit(wg.jacobian(f, sparse=True))
    points = [np.linspace(0.1, 1.0 + k, 60) for k in range(5)]
    jacobians = [compiled(points[0]).toarray()]
    planned = dict(calls)
    jacobians += [compiled(x).toarray() for x in points[1:]]
    assert calls == planned
    assert calls["patterns"] == 1
    for x, J in zip(points, jacobians, strict=True):
        np.testing.assert_allclose(J, wg.jacobian(f, mode="forward")(x), rtol=1e-13)


def test_the_check_of_derivatives_names_what_a_pattern_lacks():
    pattern = wg.jacobian_sparsity(chain)(X).toarray()
    assert wg.check_derivatives(chain, sparse=pattern)(X)
    pattern[3, 4] = False
    report = wg.check_derivatives(chain, sparse=pattern)(X)
    assert not report
    assert report.findings[0].startswith("The pattern lacks an entry of the Jacobian: dy_4/dx_5 = ")
    assert "(row 3, column 4)" in report.findings[0]
    assert report.conclusion == "The derivatives of chain are right in both modes, and the pattern is WRONG."
    with pytest.raises(PatternError, match=r"\(3, 4\)"):
        wg.jacobian(chain, sparse=pattern)(X)
