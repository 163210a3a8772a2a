"""The page in a browser: what it shows is what the derivation says, and what it computes is what NumPy computes."""

from __future__ import annotations

import itertools
import random
import re
import time

import browser as browsers
import numpy as np
import pytest
import scipy.special

import wengert as wg
from wengert.accumulation.coloring import structure_of
from wengert.accumulation.elimination.graph import Graph
from wengert.api import plan_at
from wengert.explanation.derivation import derive
from wengert.explanation.notation import LATEX, TEXT
from wengert.explanation.page import contents, write_page
from wengert.explanation.page.mathml import convert
from wengert.explanation.page.operations import operations
from wengert.passes.scalarization import scalarize

pytestmark = [
    pytest.mark.filterwarnings("ignore::wengert.errors.DecisionWarning"),
    pytest.mark.xdist_group("browser"),
]


def reference(x):
    return np.array([x[0] * (x[1] - x[2]), x[2] * np.log(1 - x[0])])


def arm(q):
    a = q[0]
    b = a + q[1]
    c = b + q[2]
    return np.array([np.cos(a) + 0.8 * np.cos(b) + np.cos(c) / 2, np.sin(a) + 0.8 * np.sin(b) + np.sin(c) / 2])


def shared(x):
    """Return a result that another one reads, and one that takes the branch of the larger."""
    u = np.exp(x[0] * x[1])
    v = np.sin(u) * x[2] if x[0] > 0 else u
    return np.array([u, v * u + np.maximum(x[1], x[2]) ** 2])


def bow_tie(x):
    u = np.sin(x[0]) * x[1] + np.exp(x[2]) * x[3]
    u = np.tanh(u) * u
    return np.array([u * u, np.exp(u), np.cos(u), 3 * u])


X = np.array([0.5, 2.0, 3.0])
POINTS = {reference: X, arm: np.array([0.3, 0.4, 0.5]), shared: np.array([0.5, 1.5, 1.0]), bow_tie: np.ones(4) / 2}


@pytest.fixture
def opened(browser, tmp_path):
    """Open the page of an explanation; at the end it has asked for nothing else, and logged no error."""
    watched = []

    def open_page(explanation, **options):
        file = tmp_path / f"{len(watched)}.html"
        file.write_text(explanation if isinstance(explanation, str) else explanation.html(), encoding="utf-8")
        watched.append((browsers.Watched(browser, **options), file))
        watched[-1][0].page.goto(file.as_uri())
        return watched[-1][0].page

    yield open_page
    for one, file in watched:
        assert one.errors == []
        assert set(one.requests) == {file.as_uri()}
        one.page.close()


def plain(markup):
    """Return the characters of a formula."""
    return re.sub(r"\s", "", re.sub(r"<[^>]*>", "", markup)).replace("&lt;", "<").replace("&gt;", ">")


def written(latex):
    return plain(convert(latex)) if latex else ""


def shown(locator):
    """Return the characters of elements; those of a formula alone, where it has any."""
    return [re.sub(r"\s", "", text) for text in locator.all_text_contents()]


# ---- The reference text's example ----


def test_slide_shows_the_cells_of_the_derivation(opened):
    e = wg.explain(reference)(X)
    page = opened(e)
    columns = [c.kind for c in e.slide.columns]
    for v, row in enumerate(e.slide.rows):
        cells = page.locator(f"#slide-table tbody tr:nth-child({v + 1}) td")
        assert cells.count() == len(columns)
        for c, (kind, cell) in enumerate(zip(columns, row.cells, strict=True)):
            name = f"{written(row.variable.latex)}=" if kind == "decomposition" else ""
            there = cells.nth(c)
            assert shown(there.locator("span").first) == [name + written(cell.formula.latex)]
            assert float(there.get_attribute("data-value")) == pytest.approx(cell.value)
            assert ("zero" in there.get_attribute("class")) == cell.is_zero
            value = there.locator(".value").text_content().replace("−", "-")
            assert value == "" or float(value) == pytest.approx(cell.value, rel=1e-5)
    assert "3 × 8 = 24" in page.text_content("#slide-counts")
    assert page.text_content("#slide-sentence") == e.slide.sentence


def test_passes_that_are_asked_for_have_the_values_of_their_own_seed(opened):
    e = wg.explain(reference, passes=[2])(X)
    page = opened(e)
    assert page.locator("#slide-table thead th").count() == 3
    for v, row in enumerate(e.slide.rows):
        cells = page.locator(f"#slide-table tbody tr:nth-child({v + 1}) td")
        numbers = [float(cells.nth(c).get_attribute("data-value")) for c in range(3)]
        assert numbers == pytest.approx([cell.value for cell in row.cells])
    page.select_option("#seed", label="2: by x_2")
    page.click("#step")
    assert shown(page.locator(".pass tr.current td"))[0] == "∂u−2∂x2"


@pytest.mark.parametrize("f", [reference, shared])
@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_steps_show_the_tables_of_the_derivation(opened, f, mode):
    e = wg.explain(f)(POINTS[f])
    d = e.derivation
    page = opened(e)
    page.check(f"[name=mode][value={mode}]", force=True)
    products = 0
    see = """k => { const row = document.querySelectorAll(".pass tbody tr")[k]; return {
        total: document.querySelector("[data-total]").textContent, classes: row.className,
        cells: [...row.cells].map(cell => cell.textContent.replace(/\\s/g, "")),
        value: Number(row.cells[3].dataset.value),
        waiting: document.querySelectorAll(".pass tr.waiting").length,
        now: document.querySelector("#now .rule").textContent.replace(/\\s/g, "") }; }"""
    for p in getattr(d, mode):
        for k, step in enumerate(p.steps):
            page.click("#step")
            products += len(step.terms)
            seen = page.evaluate(see, k)
            assert seen["total"] == str(products)
            assert seen["classes"] in ("current", "zero current")
            assert seen["waiting"] == len(p.steps) - k - 1
            rule = "+".join(written(LATEX.derivative(t.left) + LATEX.derivative(t.right)) for t in step.terms)
            rule = f"1+{rule}" if rule and step.seed else rule
            name = written(LATEX.derivative(step.derivative))
            assert seen["value"] == pytest.approx(step.value, rel=1e-12)
            said = [] if step.in_u is None or step.repeated else [written(LATEX.formula(step.in_u, d.names))]
            said += [] if step.in_x is None else [written(LATEX.formula(step.in_x, d.names))]
            assert seen["cells"][:3] == [
                name,
                f"={rule}" if rule else "",
                "".join(f"={part}" for part in dict.fromkeys(said)),
            ]
            assert seen["now"].startswith(f"{name}={rule}" if rule else f"{name}=")
        filled = page.locator(".matrix td[data-value]")
        truth = wg.jacobian(f)(POINTS[f])
        part = truth[:, : p.number].ravel() if mode == "forward" else truth[: p.number].ravel()
        entries = [float(filled.nth(k).get_attribute("data-value")) for k in range(part.size)]
        assert page.locator(".panel .matrix td[data-value]").count() == part.size
        assert entries == pytest.approx(part.tolist())
    assert page.locator("#scrub").input_value() == page.locator("#scrub").get_attribute("max")


def test_modes_run_side_by_side_to_the_same_jacobian(opened):
    page = opened(wg.explain(reference)(X))
    page.check("[name=mode][value=side]", force=True)
    for _ in range(16):
        page.click("#step")
    totals = {mode: page.text_content(f"[data-total={mode}]") for mode in ("forward", "reverse", "elimination")}
    assert totals == {"forward": "16", "reverse": "16", "elimination": "4"}
    page.click("#last")
    assert page.text_content("[data-total=forward]") == "24"
    for panel in ("forward", "reverse", "elimination"):
        cells = page.locator(f".panel.{panel} .matrix td[data-value]")
        entries = [float(cells.nth(k).get_attribute("data-value")) for k in range(cells.count())]
        assert entries == pytest.approx(wg.jacobian(reference)(X).ravel().tolist())


def test_player_plays_and_is_steered_by_keys(opened):
    page = opened(wg.explain(reference)(X))
    page.select_option("#speed", "16")
    page.click("#play")
    assert page.get_attribute("#play", "aria-label") == "Pause"
    page.wait_for_selector("#play[aria-label='Play']")
    assert page.evaluate("state.position") == 24
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("state.position") == 23
    page.locator("#back").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("state.position") == 22
    page.select_option("#seed", label="2: by x_2")
    assert page.evaluate("state.position") == 8
    page.locator("#scrub").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("state.position") == 9


def test_source_marks_the_code_of_the_step(opened):
    e = wg.explain(reference)(X)
    page = opened(e)
    for step in e.derivation.forward[0].steps:
        page.click("#step")
        definition = next(d for d in e.derivation.decomposition.definitions if d.variable == step.derivative.of)
        marked = page.locator("#source mark").all_text_contents()
        assert marked == ([] if definition.location is None else [definition.location.segment])


# ---- Entries and eliminations ----


@pytest.mark.parametrize("f", [arm, bow_tie])
def test_an_entry_is_the_sum_of_its_paths(opened, f):
    page = opened(wg.explain(f)(POINTS[f]))
    truth = wg.jacobian(f)(POINTS[f])
    for i, j in itertools.islice(np.ndindex(truth.shape), 1, None, 2):
        page.click(f"[data-entry='{i},{j}']")
        last = [text.split("=")[-1] for text in shown(page.locator("#paths li div"))]
        products = [float(text.replace("−", "-").replace("·10", "e")) for text in last]
        assert sum(products) == pytest.approx(truth[i, j], rel=1e-4, abs=1e-5)
        if not products:
            assert "No path" in page.text_content("#paths")


@pytest.mark.parametrize("f", [arm, shared])
def test_an_elimination_that_is_clicked_costs_what_the_library_counts(opened, f):
    program, point, _ = plan_at(f, (POINTS[f],), {}, None)
    _, graph = operations(scalarize(program, *point), point)
    page = opened(wg.explain(f)(POINTS[f]))
    order = random.Random(3).sample(graph.interior, len(graph.interior))
    counted = graph.copy()
    for v in order:
        vertex = page.locator(f"#elimination-graph [data-vertex='{v}']")
        assert vertex.locator("small").text_content().split()[0] == str(counted.degree(v))
        vertex.click()
        counted.eliminate(v)
    counts = graph.count(order)
    assert page.text_content("[data-total=own]") == str(counts.products)
    assert page.evaluate("run.counts") == {
        "products": counts.products,
        "unitFree": counts.unit_free,
        "additions": counts.additions,
    }
    cells = page.locator("#elimination-jacobian td[data-value]")
    entries = [float(cells.nth(k).get_attribute("data-value")) for k in range(cells.count())]
    assert entries == pytest.approx(wg.jacobian(f)(POINTS[f]).ravel().tolist())
    page.click("#undo")
    assert page.text_content("[data-total=own]") == str(graph.count(order[:-1]).products)


@pytest.mark.parametrize("f", [arm, bow_tie])
def test_every_order_costs_in_the_page_what_the_library_counts(opened, f):
    e = wg.explain(f)(POINTS[f])
    elimination = contents(e.derivation, e.program, e.point)["scalars"]["elimination"]
    page = opened(e)
    count = (
        "order => { const run = newElimination(); order.forEach(v => run.eliminate(v)); "
        "return [run.counts.products, run.counts.unitFree, run.counts.additions]; }"
    )
    for one in elimination["orders"]:
        if all(isinstance(v, int) for v in one["order"]):
            assert page.evaluate(count, one["order"]) == one["counts"]


def test_eliminations_of_random_graphs_cost_what_the_library_counts(opened):
    page = opened(wg.explain(reference)(X))
    draw = random.Random(0)
    for _ in range(40):
        inputs, size = draw.randint(1, 4), draw.randint(6, 14)
        edges = {
            (a, b): draw.random() < 0.4
            for b in range(inputs, size)
            for a in draw.sample(range(b), min(b, draw.randint(1, 3)))
        }
        results = sorted({size - 1, *draw.sample(range(inputs, size), 2)})
        graph = Graph(inputs, edges, results)
        data = {
            "size": len(graph.after),
            "edges": [
                [a, b, bool(graph.units_after[a] >> b & 1)]
                for a, b in itertools.product(range(len(graph.after)), repeat=2)
                if graph.after[a] >> b & 1
            ],
            "copies": {str(copy): v for v, copy in graph.copy_of.items()},
            "interior": list(graph.interior),
        }
        order = draw.sample(graph.interior, len(graph.interior))
        run = "([data, order]) => { const run = new Elimination(data); order.forEach(v => run.eliminate(v)); "
        counted = page.evaluate(run + "return Object.values(run.counts); }", [data, order])
        assert counted == list(graph.count(order))


# ---- Live inputs ----


@pytest.mark.parametrize("f", [reference, arm, shared, bow_tie])
def test_values_at_other_inputs_are_those_of_numpy(opened, f):
    page = opened(wg.explain(f)(POINTS[f]))
    other = POINTS[f] * np.array([0.9, 1.3, 0.7, 1.1])[: len(POINTS[f])] - 0.01
    for j, x in enumerate(other):
        page.fill(f"#input-{j}", repr(float(x)))
    results = page.evaluate("SCALARS.outputs.map(({ vertex }) => state.values[vertex])")
    assert results == pytest.approx(f(other).tolist(), rel=1e-13)
    truth = wg.jacobian(f)(other)
    cells = page.locator("#jacobian-table td[data-value]")
    entries = [float(cells.nth(k).get_attribute("data-value")) for k in range(cells.count())]
    assert entries == pytest.approx(truth.ravel().tolist(), rel=1e-12)
    h = 1e-6
    differences = [(f(other + h * unit) - f(other - h * unit)) / (2 * h) for unit in np.eye(len(other))]
    assert np.transpose(differences) == pytest.approx(truth, rel=1e-6, abs=1e-8)


def test_outside_of_the_domain_the_line_is_marked(opened):
    page = opened(wg.explain(reference)(X))
    page.fill("#input-0", "2")
    assert page.locator("#graph .faulty").get_attribute("data-vertex") == "5"  # log(1 - x_1)
    assert page.locator("#source mark.faulty").text_content() == "np.log(1 - x[0])"
    assert "leaves its domain" in page.text_content("#inputs-note")
    page.fill("#input-0", "0.25")
    assert page.locator("#graph .faulty, #source mark.faulty").count() == 0


def test_another_branch_is_told(opened):
    page = opened(wg.explain(shared)(POINTS[shared]))
    assert "branch" in page.text_content("#inputs-note")
    page.fill("#input-0", "-0.5")
    assert "decides otherwise" in page.text_content("#inputs-note")


OF_NUMPY = {
    "inverse": lambda y: np.divide(1, y, out=np.zeros_like(y), where=y != 0),
    "unit": lambda a, y: a / np.where(y == 0, 1, y),
    "root": np.sqrt,
    "direction": np.sign,
    "where": lambda condition, a, b: np.where(condition != 0, a, b),
    "f": lambda x: x,
    "i": np.trunc,
    "u": np.trunc,
    "b": lambda x: x != 0,
}


def test_primitives_of_the_page_are_those_of_numpy(opened):
    page = opened(wg.explain(reference)(X))
    arity = page.evaluate("Object.fromEntries(Object.entries(PRIMITIVES).map(([name, f]) => [name, f.length]))")
    arity |= {"hypot": 2, "maximum": 2, "minimum": 2}
    numbers = np.array([-7.5, -2.5, -2.0, -0.7, -0.25, 0.0, 0.3, 0.5, 0.9, 1.0, 1.5, 2.0, 2.5, 3.75, 11.0])
    draw = np.random.default_rng(0)
    for name, count in arity.items():
        operands = np.stack([draw.permutation(np.tile(numbers, 4)) for _ in range(count)])
        f = OF_NUMPY.get(name) or getattr(np, name, None) or getattr(scipy.special, name)
        with np.errstate(all="ignore"):
            truth = np.asarray(f(*operands), dtype=float)
        run = f"rows => rows.map(row => String(PRIMITIVES['{name}'](...row)))"
        computed = page.evaluate(run, operands.T.tolist())
        values = np.array([float(text.replace("Infinity", "inf")) for text in computed])
        finite = np.isfinite(truth)
        assert values[finite] == pytest.approx(truth[finite], rel=2e-13, abs=1e-15), name
        np.testing.assert_array_equal(np.isnan(values), np.isnan(truth), name)


# ---- Exercises ----


def test_an_exercise_takes_equivalent_forms_and_tells_what_is_wrong(opened):
    page = opened(wg.explain(reference)(X))
    page.select_option("#exercise-kind", "adjoints")
    page.select_option("#exercise-seed", label="y_2")
    last = page.locator("#exercise-list li").last  # dy_2/du_{-2} = -x_3/(1 - x_1)
    field, verdict = last.locator("input"), last.locator(".verdict")
    for answer, start in {
        "-x_3/(1 - x_1)": "Right.",
        "x3 / (x1 - 1)": "Right.",
        "-u_0 (1/u_2)": "Right.",
        "-6": "Right: at this point",
        "-6.0001 ": "Right: at this point",
        "x_3/(1 - x_1)": "Not yet: this gives 6",
        "-3 x_3 + x_3": "Not yet: equal at this point",
        "-x_3/(1 - x_9)": "At character 11",
        "-x_3/(1 - x_1": "At character 14",
    }.items():
        field.fill(answer)
        field.press("Enter")
        assert verdict.text_content().startswith(start), answer
    assert not page.locator("#slide-table .adjoint-answer").first.is_visible()
    assert page.locator("#slide-table .tangent-answer").first.is_visible()
    last.get_by_role("button", name="Hint").click()
    assert "u" in last.locator(".hint").text_content()


def test_partials_can_be_asked_for(opened):
    e = wg.explain(arm)(POINTS[arm])
    page = opened(e)
    page.select_option("#exercise-kind", "partials")
    items = page.locator("#exercise-list li")
    assert items.count() == len(e.derivation.edges)
    for k, edge in enumerate(e.derivation.edges):
        items.nth(k).locator("input").fill(TEXT.expression(edge.formula))
        items.nth(k).get_by_role("button", name="Check").click()
    assert page.text_content("#exercise-score") == f"{len(e.derivation.edges)} of {len(e.derivation.edges)} right"


# ---- Arrays, loops, sparsity ----


def network(n):
    draw = np.random.default_rng(0)
    features, hidden = n // 400, 400
    A, T = draw.standard_normal((64, features)), draw.standard_normal((64, 1))

    def loss(W1, b1, W2, b2):
        return np.mean((np.tanh(A @ W1 + b1) @ W2 + b2 - T) ** 2)

    weights = draw.standard_normal((features, hidden)), np.zeros(hidden), draw.standard_normal((hidden, 1)), np.zeros(1)
    return loss, weights


def test_the_page_of_a_network_is_small_and_opens_at_once(opened):
    loss, weights = network(100_000)
    explanation = wg.explain(loss)(*weights)
    start = time.perf_counter()
    html = explanation.html()
    assert time.perf_counter() - start < 5
    assert len(html) < 2_000_000
    page = opened(html)
    assert page.evaluate("performance.now()") < 6000
    d = explanation.derivation
    page.check("[name=mode][value=reverse]", force=True)
    for k, step in enumerate(d.adjoints):
        page.click("#step")
        row = page.locator(".pass tbody tr").nth(k)
        assert shown(row.locator("td")) == [
            written(step.derivative.write(LATEX)) + "=",
            written(step.formula.write(LATEX)),
            written(step.shape.write(LATEX)),
        ]
    assert page.locator("#graph .partial").count() == len(d.edges)
    assert len(page.locator("#derivation-body table").all()) >= 3


def test_many_lines_of_arrays_are_folded_and_unfold(opened):
    def layer(x, k):
        y = np.tanh(x) * k
        y = y + x**2
        return np.exp(-y) - x

    def deep(x):
        for k, size in enumerate((30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19)):
            x = layer(x[:size], k + 1.5)
        return x

    explanation = wg.explain(deep)(np.linspace(0.1, 0.9, 30))
    assert len(explanation.derivation.definitions) > 60
    page = opened(explanation)
    folded = page.locator("#graph .vertex.fold")
    before, all_before = folded.count(), page.locator("#graph .vertex").count()
    assert before > 3
    assert all_before < 50
    folded.first.click()
    assert page.locator("#graph .vertex.fold").count() == before - 1
    assert page.locator("#graph .vertex").count() > all_before
    assert len(page.locator(".pass tr").all()) == len(explanation.derivation.tangents)


def test_three_hundred_scalar_lines_are_all_shown(opened):
    def chain(x):
        y = x
        for k in range(24):
            y = np.sin(y) * (k + 1.5) + x[0]
        return np.sum(y)

    x = np.linspace(0.1, 0.4, 4)
    program, point, plan = plan_at(chain, (x,), {}, None)
    program = scalarize(program, *point)
    assert 280 < len(program.lines) <= 300
    page = opened(write_page(derive(program, point, plan), program, point))
    assert page.locator("#graph .vertex").count() == len(program.lines) + 4
    page.check("[name=mode][value=reverse]", force=True)
    page.click("#last")
    cells = page.locator(".panel .matrix td[data-value]")
    entries = [float(cells.nth(k).get_attribute("data-value")) for k in range(4)]
    assert entries == pytest.approx(wg.grad(chain)(x).tolist())


def test_a_loop_is_drawn_in_time_with_what_runs_again(opened):
    def walk(x):
        return wg.scan(lambda c, t: (np.tanh(c * t + x[0]), None), 1.0, np.arange(1.0, 31.0) * x[1], checkpoint=4)[0]

    explanation = wg.explain(walk)(np.array([0.3, 0.2]))
    page = opened(explanation)
    loop = explanation.program.lines[-1].held or next(line.held for line in explanation.program.lines if line.held)
    assert page.locator(".timeline line.reverse").count() == 30
    again = page.evaluate("DATA.loops[0].actions.filter(([name]) => name === 'advance').map(([, a, b]) => b - a)")
    assert sum(again) == loop.kept.reruns(30)
    assert loop.note() in page.text_content("#loops-body")


@pytest.mark.parametrize("compression", [0, 1])
def test_each_entry_of_a_pattern_is_read_where_the_library_reads_it(opened, compression):
    def differences(x):
        return np.diff(x) ** 2

    x = np.linspace(0, 1, 9) ** 2
    page = opened(wg.explain(differences)(x))
    page.select_option("#compression", str(compression))
    truth = wg.jacobian(differences)(x)
    pattern = structure_of(truth != 0)
    assert page.locator(".spy .entry").count() == pattern.nnz
    page.locator(".spy .entry").nth(5).click()
    row, column = np.argwhere(truth)[5]
    words = page.text_content("#sparsity-body [role=status]")
    assert f"row {row + 1}, column {column + 1} " in words
    table = page.locator("#sparsity-body .matrix tbody tr")
    colors = np.arange(9) % 2 if compression == 0 else np.arange(8) % 2
    seeds = np.stack([colors == 0, colors == 1], axis=1).astype(float)
    passes = truth @ seeds if compression == 0 else truth.T @ seeds
    numbers = [
        [float(text.replace("−", "-")) for text in shown(table.nth(k).locator("td"))] for k in range(table.count())
    ]
    assert np.array(numbers) == pytest.approx(passes, rel=1e-4, abs=1e-5)


# ---- For everyone ----


@pytest.mark.parametrize(("scheme", "mode"), [("light", "reverse"), ("dark", "side")])
def test_no_barrier_is_found(opened, scheme, mode):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = opened(wg.explain(shared)(POINTS[shared]), color_scheme=scheme)
    page.check(f"[name=mode][value={mode}]", force=True)
    for _ in range(5):
        page.click("#step")
    page.select_option("#exercise-kind", "partials")
    results = axe.run(page)
    assert results.violations_count == 0, results.generate_report()


def test_no_barrier_is_found_among_arrays(opened):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    loss, weights = network(2_000)
    results = axe.run(opened(wg.explain(loss)(*weights)))
    assert results.violations_count == 0, results.generate_report()


def test_a_phone_is_wide_enough(opened):
    page = opened(wg.explain(arm)(POINTS[arm]), viewport={"width": 375, "height": 700})
    for mode in ("forward", "side"):
        page.check(f"[name=mode][value={mode}]", force=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= 375


def test_the_theme_is_changed_by_its_button(opened):
    page = opened(wg.explain(reference)(X), color_scheme="dark")
    ground = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(ground)
    page.click("#theme")
    assert page.evaluate(ground) != dark
    page.click("#theme")
    assert page.evaluate(ground) == dark


def test_the_page_prints(opened):
    page = opened(wg.explain(reference)(X), color_scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.locator("#play").is_visible()
    assert page.locator("#slide-table").is_visible()


def test_text_of_the_user_is_text(opened):
    def f(x):
        return x[0] * x[1] if "<script>alert(1)</script>" else x[0]

    f.__name__ = "<img src=x onerror=alert(1)>"
    page = opened(wg.explain(f)(np.ones(2)))
    assert page.locator("img").count() == 0
    assert "<img" in page.text_content("#title")
    assert "<script>alert(1)</script>" in page.text_content("#source")


def test_a_function_that_the_browser_cannot_run_shows_its_values(opened):
    from scipy.special import jv

    page = opened(wg.explain(lambda x: x[0] * jv(2, x[1]))(np.array([2.0, 1.0])))
    assert "does not know" in page.text_content("#inputs-note")
    assert not page.locator("#input-0").is_enabled()
    assert not page.locator("#exercise").is_visible()
    page.click("#last")
    truth = wg.grad(lambda x: x[0] * jv(2, x[1]))(np.array([2.0, 1.0]))
    cells = page.locator(".panel .matrix td[data-value]")
    assert [float(cells.nth(k).get_attribute("data-value")) for k in range(2)] == pytest.approx(truth.tolist())
