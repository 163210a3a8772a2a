"""Notebooks: what values show there is a table of the same content, and text is the same as in a terminal."""

from __future__ import annotations

import builtins
import importlib
import json
import pickle
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest

import wengert as wg
from wengert import display

X = np.array([0.5, 2.0, 3.0])


def f(x):
    return np.array([x[0] * (x[1] - x[2]), x[2] * np.log(1 - x[0])])


def looped(x):
    return wg.fori_loop(0, 5, lambda i, c: np.sin(c) * x[0], x[1])


class ZMQInteractiveShell:
    """By this name rich knows a notebook."""


@pytest.fixture
def shown(monkeypatch):
    """Be in a notebook; return what is displayed there beside the value of a cell."""
    displayed = []
    monkeypatch.setattr(builtins, "get_ipython", ZMQInteractiveShell, raising=False)
    module = SimpleNamespace(display=lambda *values, **_: displayed.append(values))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(display=module))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return displayed


def parsed(fragment):
    """Parse HTML, which must be well formed, and drop its style."""
    return ElementTree.fromstring(f"<body>{fragment}</body>")


def rows_of(fragment):
    return [["".join(cell.itertext()) for cell in row] for row in parsed(fragment).iter("tr")]


def words_of(fragment):
    return " ".join("".join(parsed(fragment).itertext()).split())


def html_of(value):
    return value._repr_html_() if hasattr(value, "_repr_html_") else "none"


VALUES = {
    "plan": lambda: wg.plan(f)(X),
    "plan of a loop": lambda: wg.plan(looped)(X),
    "report": lambda: wg.check_derivatives(f)(X),
    "why_nan": lambda: wg.why_nan(f)(np.array([1.0, 2.0, 3.0])),
    "program": lambda: wg.trace(looped)(X),
    "graph": lambda: wg.linearize(f, X)[1].graph,
    "explanation": lambda: wg.explain(f)(X),
    "grad": lambda: wg.grad(f),
}


@pytest.mark.parametrize("name", VALUES)
def test_text_is_the_same_in_a_notebook_and_nothing_is_shown_beside_it(name, shown, monkeypatch, capsys):
    value = VALUES[name]()
    texts = [str(value), repr(value), html_of(value)]
    assert all(texts)
    monkeypatch.delattr(builtins, "get_ipython")
    assert texts == [str(value), repr(value), html_of(value)]
    assert shown == []
    assert capsys.readouterr() == ("", "")


def test_the_fixture_is_a_notebook_for_rich(shown):
    from rich.console import Console

    assert Console().is_jupyter
    Console().print("x")
    assert len(shown) == 1


@pytest.mark.usefixtures("shown")
def test_the_command_line_prints_once(capsys):
    from wengert.cli import show

    show(wg.plan(f)(X))
    assert capsys.readouterr().out.rstrip() == str(wg.plan(f)(X))


# ---- Tables ----


def test_a_program_is_a_table_of_its_listing():
    program = wg.trace(looped)(X)
    rows = rows_of(program._repr_html_())
    listed = program.listing().splitlines()
    assert len(rows) == len(listed)
    for row, line in zip(rows, listed, strict=True):
        text, _, place = line.partition("  # ")
        written = "".join(row[:2] if len(row) > 1 else row)
        assert "".join(written.split()) == "".join(re.sub(r"_\{?(-?\d+)\}?", r"\1", text).split())
        assert place == (row[2] if len(row) > 1 else "")
    assert "Program looped: R3 → R1, 3 lines, 2 in bodies" in words_of(program._repr_html_())


def test_a_report_is_a_table():
    report = wg.check_derivatives(f)(X)
    rows = rows_of(report._repr_html_())
    assert rows[0][:4] == ["check", "entries", "worst", "got"]
    assert [row[0] for row in rows[1:]] == [row[0] for row in report.rows]
    assert [row[-1] for row in rows[1:]] == ["ok"] * len(report.rows)
    assert words_of(report._repr_html_()).endswith("The derivatives of f are right in both modes.")


def test_a_report_of_wrong_derivatives_has_its_findings():
    cube = wg.define("notebook_cube", lambda x: x**3, lambda _y, x: 2 * x**2)
    try:
        report = wg.check_derivatives(lambda x: cube(x) * (1 < 2))(0.5)
    finally:
        wg.undefine("notebook_cube")
    words = words_of(report._repr_html_())
    for finding in report.findings:
        assert " ".join(finding.split()) in words
    assert "(1 < 2)" in words
    assert "WRONG" in words


def test_the_excerpt_of_why_nan_keeps_its_columns():
    origin = wg.why_nan(f)(np.array([1.0, 2.0, 3.0]))
    (excerpt,) = parsed(origin._repr_html_()).iter("pre")
    assert excerpt.text == origin.location.excerpt()
    assert "u3 = log(u2)" in words_of(origin._repr_html_())


def test_a_graph_is_text_and_a_table():
    graph = wg.linearize(f, X)[1].graph
    assert isinstance(graph, str)
    assert [" ".join(row) for row in rows_of(graph._repr_html_())] == [
        re.sub(r"_\{?(-?\d+)\}?", r"\1", line) for line in graph.splitlines()
    ]
    twin = pickle.loads(pickle.dumps(graph))
    assert (twin, twin.edges) == (graph, graph.edges)


def test_long_tables_are_cut():
    def many(x):
        for k in range(display.MOST_ROWS):
            x = np.sin(x) if k % 3 else np.cos(x) * k
        return x

    program = wg.trace(many, fold=False)(0.5)
    rows = rows_of(program._repr_html_())
    assert len(rows) == display.MOST_ROWS + 1
    hidden = len(program.listing().splitlines()) - display.MOST_ROWS
    assert rows[-1] == [f"... {hidden:,} more rows: print it for all"]


def test_formulas_escape_what_html_would_take_for_its_own():
    assert display.formula("a < b & u_{-1} > c_12") == "a &lt; b &amp; u<sub>-1</sub> &gt; c<sub>12</sub>"
    assert display.formula("stop_gradient(x_2d) R^1,000 -> R") == "stop_gradient(x_2d) R<sup>1,000</sup> → R"
    assert display.code("<b>u_1</b>").endswith("&lt;b&gt;u_1&lt;/b&gt;</pre>")


# ---- The widget ----

HOST = """<!DOCTYPE html><div id="cell"></div><script type="module">
{code}
const listeners = [];
globalThis.model = {{
  values: {values},
  saved: 0,
  get(name) {{ return this.values[name]; }},
  set(name, value) {{ this.values[name] = value; listeners.forEach((listener) => listener()); }},
  save_changes() {{ this.saved += 1; }},
  on(_, listener) {{ listeners.push(listener); }},
  off() {{}},
}};
widget.render({{ model, el: document.getElementById("cell") }});
</script>"""
"""What a notebook does with a widget: it calls `render` with the model and an element."""


@pytest.mark.xdist_group("browser")
def test_the_widget_reads_and_sets_the_inputs_of_its_page(browser, tmp_path):
    pytest.importorskip("anywidget", reason="the extra notebook is not installed")
    widget = wg.explain(f)(X).widget()
    assert widget.inputs == [0.5, 2.0, 3.0]
    text = Path(wg.__file__).with_name("explanation").joinpath("widget.js").read_text(encoding="utf-8")
    values = json.dumps({"page": widget.page, "inputs": widget.inputs}).replace("</", "<\\/")
    host = tmp_path / "host.html"
    host.write_text(HOST.format(code=text.replace("export default", "const widget ="), values=values), encoding="utf-8")
    tab = browser.new_page()
    tab.goto(host.as_uri())
    frame = tab.frame_locator("iframe")
    frame.locator("#input-1").fill("2.5")
    tab.wait_for_function("model.saved > 0")
    assert tab.evaluate("model.values.inputs") == [0.5, 2.5, 3.0]
    tab.evaluate("model.set('inputs', [0.25, 2.5, 3.0])")
    tab.wait_for_function("document.querySelector('iframe').contentDocument.querySelector('#input-0').value === '0.25'")
    assert f"{-3.0 * np.log(0.75):.6g}" in frame.locator("#slide-table").inner_text()  # -y_2
    tab.close()


def test_a_widget_without_its_library_says_what_to_install(monkeypatch):
    widget = importlib.import_module("wengert.explanation.widget")
    widget._class.cache_clear()
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(wg.errors.LoadError, match=r"pip install 'wengert\[notebook\]'"):
        wg.explain(f)(X).widget()
