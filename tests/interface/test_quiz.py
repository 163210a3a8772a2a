"""Exercises: equivalent forms count, wrong ones do not, and bad formulas are pointed at."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from wengert.errors import ArgumentError, FormulaError
from wengert.formula import function

REFERENCE = function("x1*(x2 - x3), x3*log(1 - x1)")
POINT = (0.5, 2.0, 3.0)


@pytest.mark.parametrize("hide", ["partials", "tangents", "adjoints"])
def test_each_solution_is_right_and_so_is_its_number(hide: str) -> None:
    exercise = wg.quiz(REFERENCE, hide=hide)(*POINT)
    assert len(exercise) == {"partials": 8, "tangents": 15, "adjoints": 12}[hide]
    for question in exercise:
        assert question.check(question.solution), question.name
        assert question.check(question.value), question.name
        assert not question.check(question.value + 0.1), question.name
        assert not question.check(f"{question.solution} + 0.1"), question.name


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("-x3/(1 - x1)", True),
        ("x_3/(x_1 - 1)", True),
        ("-u_0/u_2", True),
        ("-u_0 (1/u_2)", True),
        ("-6", True),
        ("-6.001", True),
        ("(x3 - x3 x1)/(-(1 - x1)^2)", True),
        ("x3/(1 - x1)", False),
        ("-3 x2", False),  # right at the point alone
        ("-x3/(1 - x1) + 1e-3", False),
        ("-6.1", False),
    ],
)
def test_equivalent_forms_count(answer: str, right: bool) -> None:
    question = next(q for q in wg.quiz(REFERENCE)(*POINT) if q.also == "∂y_2/∂x_1")
    verdict = question.check(answer)
    assert bool(verdict) is right
    assert verdict.words.startswith("Yes" if right else "No")


def test_small_formulas_are_compared_by_sympy() -> None:
    question = wg.quiz(REFERENCE)(*POINT)["∂y_2/∂x_1"]
    assert question.check("x3/(x1 - 1)").how == "symbolically"
    assert question.hint == "∂y_2/∂u_{-2} = ∂y_2/∂u_2 ∂u_2/∂u_{-2} + ∂y_2/∂u_4 ∂u_4/∂u_{-2}"


def test_a_logistic_function_may_be_written_in_any_way() -> None:
    question = wg.quiz(lambda w, x, b: 1 / (1 + np.exp(-(w * x + b))))(0.1, 2.0, 0.3)["∂y/∂w"]
    assert question.check("x σ(w x + b) (1 - σ(w x + b))")
    assert question.check("x exp(-w x - b)/(1 + exp(-w x - b))^2")
    assert question.check("x/(2 + exp(w x + b) + exp(-w x - b))")
    assert not question.check("w σ(w x + b) (1 - σ(w x + b))")


def test_what_is_no_formula_is_pointed_at() -> None:
    question = wg.quiz(REFERENCE)(*POINT)[0]
    with pytest.raises(FormulaError, match="closing parenthesis"):
        question.check("(x1")
    with pytest.raises(FormulaError, match="no known name"):
        question.check("z")
    with pytest.raises(FormulaError, match="One formula is asked for"):
        question.check("x1, x2")
    with pytest.raises(ArgumentError, match="not asked for"):
        wg.quiz(REFERENCE)(*POINT)["∂y/∂z"]
    with pytest.raises(ArgumentError, match="'partials', 'tangents', 'adjoints'"):
        wg.quiz(REFERENCE, hide="values")


def test_the_terminal_gives_a_hint_then_the_solution() -> None:
    answers = iter(["", "(", "cos(x)", "u_0", "", ""])
    said: list[str] = []
    right = wg.quiz(lambda x: np.sin(x) * x, hide="partials")(0.5).ask(lambda _prompt: next(answers), said.append)
    assert right == 1
    assert said[1:] == [
        "Hint: ∂u_1/∂u_0 = the derivative of sin(u_0) by u_0",
        said[2],  # the bad formula
        "Yes: ∂u_1/∂u_0 = cos(u_0).",
        "Yes: ∂u_2/∂u_1 = u_0.",
        "Hint: ∂u_2/∂u_0 = the derivative of u_0 u_1 by u_0",
        "∂u_2/∂u_0 = u_1",
        "1 of 3 were right at once.",
    ]
    assert "at character 2 of the formula" in said[2]
