"""Explanations as files: LaTeX compiles, pictures are well formed, PDFs are made, a wrong name is refused."""

from __future__ import annotations

import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import wengert as wg
from wengert.errors import ArgumentError
from wengert.explanation import saving
from wengert.explanation.formulas import as_expression, evaluate
from wengert.formula import function

A, b = np.array([[1.5, 0.3], [0.2, 2.5]]), np.array([1.0, 2.0])


def reference(x: Any) -> Any:
    return np.array([x[0] * (x[1] - x[2]), x[2] * np.log(1 - x[0])])


def least_squares(x: Any) -> Any:
    residual = A @ x - b
    return np.sum(residual**2) / 2


def choices(x: Any) -> Any:
    return np.abs(x) * np.where(x > 0, x, -2 * x) + np.maximum(x, 0.1) + 1e-16 * np.floor(x)


def matrices(S: Any) -> Any:
    return np.linalg.det(S) + np.sum(np.linalg.inv(S) @ b) + np.linalg.norm(S)


def looped(x: Any) -> Any:
    return wg.fori_loop(0, 5, lambda i, c: np.sin(c) * x, x)


CASES = [(reference, np.array([0.5, 2.0, 3.0])), (least_squares, b), (choices, 0.5), (matrices, A), (looped, 0.5)]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed here")
def test_latex_compiles(tmp_path: Path) -> None:
    explanations = [wg.explain(f)(x) for f, x in CASES]
    body = "\n\n".join(text for e in explanations for text in (e.latex(slide=True), e.latex(values=True)))
    (tmp_path / "all.tex").write_text(saving.as_document(body, "all"), encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    assert "allowdisplaybreaks" in body
    assert "10^{-16}" in body


@pytest.mark.parametrize(("f", "x"), CASES, ids=lambda v: getattr(v, "__name__", ""))
def test_latex_is_balanced(f: Any, x: Any) -> None:
    latex = wg.explain(f)(x).latex(values=True)
    assert latex.count("{") == latex.count("}")
    for word in ("align*", "pmatrix", "cases"):
        assert latex.count(rf"\begin{{{word}}}") == latex.count(rf"\end{{{word}}}")
    assert not any(c in latex for c in "∂⊙≈σΦ‖")


@pytest.mark.parametrize("ending", ["html", "tex", "md", "svg", "txt"])
def test_a_file_in_the_form_of_its_name(ending: str, tmp_path: Path) -> None:
    file = tmp_path / f"out.{ending}"
    wg.explain(reference)(np.array([0.5, 2.0, 3.0])).save(file)
    text = file.read_text(encoding="utf-8")
    begins = {
        "html": "<!DOCTYPE",
        "tex": r"\documentclass",
        "md": "## reference",
        "svg": "<svg",
        "txt": "reference: R^3",
    }
    assert text.startswith(begins[ending])
    assert "reference" in text
    if ending == "svg":
        assert ET.fromstring(text).tag.endswith("svg")


def test_a_name_that_says_no_form_and_a_machine_that_makes_no_pdf(tmp_path: Path, monkeypatch: Any) -> None:
    e = wg.explain(reference)(np.array([0.5, 2.0, 3.0]))
    with pytest.raises(ArgumentError, match=r"out.docx.*\n.*\.html, \.tex"):
        e.save(tmp_path / "out.docx")
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(ArgumentError, match="neither is installed here"):
        e.save(tmp_path / "out.pdf")


def test_the_slide_says_what_the_reference_text_concludes() -> None:
    slide = wg.explain(reference)(np.array([0.5, 2.0, 3.0])).slide
    assert slide.counts == "8 edges: forward 3 x 8 = 24 products, reverse 2 x 8 = 16"
    assert (slide.edges, slide.products) == (8, (24, 16))
    assert [column.reads for column in slide.columns] == ["down"] * 4 + ["up"] * 2
    zeros = [[cell is not None and cell.is_zero for cell in row.cells] for row in slide.rows]
    assert sum(map(sum, zeros)) == 18  # as in the reference text
    many = wg.explain(least_squares, level="arrays")(b).slide
    assert many.sentence.startswith("Here n > m")
    assert "≫" in wg.explain(lambda x: np.sum(x * x))(np.ones(40)).slide.sentence


# ---- Random formulas ----

_atoms = st.one_of(st.sampled_from(["x1", "x2", "x3"]), st.sampled_from(["2", "0.5", "3"]))


def _grown(inner: Any) -> Any:
    return st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(inner, inner).map(lambda t: f"{t[0]}/(2 + {t[1]}^2)"),
        st.tuples(st.sampled_from(["sin", "exp", "tanh", "σ", "arctan"]), inner).map(lambda t: f"{t[0]}({t[1]}/4)"),
        inner.map(lambda e: f"1/(1 + exp(-{e}/3))"),
    )


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(st.recursive(_atoms, _grown, max_leaves=6))
def test_random_formulas_are_explained_by_what_the_jacobian_is(text: str) -> None:
    f = function(f"x1 + x2 + x3 + {text}")
    at = (0.7, -0.4, 1.3)
    e = wg.explain(f, level="scalars")(*at)
    truth = [float(g) for g in wg.jacobian(f, (0, 1, 2))(*at)]
    nearby = (0.72, -0.41, 1.28)
    there = [float(g) for g in wg.jacobian(f, (0, 1, 2))(*nearby)]
    values = {**e.derivation.values, **dict(zip(e.derivation.independents, nearby, strict=True))}
    for k, entry in enumerate(e.derivation.jacobian[0]):
        assert entry.value == pytest.approx(truth[k], rel=1e-9, abs=1e-12)
        if entry.formula is not None:
            expression = as_expression(entry.formula)
            if expression.free_symbols <= set(e.derivation.independents):
                assert evaluate(expression, values, e.derivation.functions) == pytest.approx(
                    there[k], rel=1e-8, abs=1e-10
                )
