"""Formulas that people type: what the grammar reads equals NumPy, what it refuses it points at, and it never hangs."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wengert as wg
from wengert.errors import FormulaError
from wengert.formula import evaluate, function, parse

AT = {"x_1": 0.7, "x_2": 1.3, "y": -0.4}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2 + 3*4", 14.0),
        ("2^3^2", 512.0),
        ("-2^2", -4.0),
        ("2^-1", 0.5),
        ("x1 - y - 1", 0.1),
        ("x_1/x_2/2", 0.7 / 1.3 / 2),
        ("2x1", 1.4),
        ("x1 (1 - x1)", 0.7 * 0.3),
        ("-x_2 (1/(1 - x_{1}))", -1.3 / 0.3),
        ("1/2 x1", 0.35),
        ("|y| + |x1 - |y||", 0.4 + 0.3),
        ("ln(x1)^2", math.log(0.7) ** 2),
        ("sin(x1) cos(x2)", math.sin(0.7) * math.cos(1.3)),
        ("σ(y)", 1 / (1 + math.exp(0.4))),
        ("max(x1, x2)", 1.3),
        ("e^y", math.exp(-0.4)),
        ("2π", 2 * math.pi),
        ("1.5e-3 + .5", 0.5015),
        ("x1 − y·2", 1.5),
        ("x1**2", 0.49),
    ],
)
def test_what_is_read(text: str, value: float) -> None:
    (node,) = parse(text)
    assert evaluate(node, {**AT, "e": math.e, "π": math.pi}) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "position", "words"),
    [
        ("x1*(x2-x3, x3", 9, "A closing parenthesis is missing"),
        ("x1 + ", 4, "The formula ends"),
        ("", 0, "The formula ends"),
        ("x1 + )", 5, "')' stands"),
        ("x1 $ 2", 3, "'$' has no meaning"),
        ("sni(x)", 0, "Did you mean sin?"),
        ("sin x", 3, "sin has no argument"),
        ("hypot(x)", 5, "hypot takes 2 arguments, not 1"),
        ("2 3", 2, "A sign is missing"),
        ("x)", 1, "')' is not expected"),
        ("x^(9^9^9)", 5, "The exponent is too large"),
        ("1/(2-2) x", 0, "is no finite number"),
        ("log(0)*x", 0, "is no finite number"),
        ("1e999*x", 0, "is infinite"),
        ("__import__('os')", 0, "'_' has no meaning"),
        ("x.real", 1, "'.' has no meaning"),
        ("(" * 100 + "x" + ")" * 100, 60, "nests deeper"),
        ("-" * 100 + "x", 60, "nests deeper"),
        ("x+" * 2000 + "x", 2000, "4,001 characters"),
    ],
)
def test_what_is_refused_is_pointed_at(text: str, position: int, words: str) -> None:
    with pytest.raises(FormulaError) as error:
        parse(text)
    assert error.value.position == position
    assert words in str(error.value)
    pointed = str(error.value).splitlines()
    assert pointed[2].endswith("^")


def test_names_that_are_listed_are_the_only_ones() -> None:
    (node,) = parse("u_{-2} x1 + ∂y/∂u_3", ["u_{-2}", "x_1", "∂y/∂u_3"])
    assert evaluate(node, {"u_{-2}": 2.0, "x_1": 3.0, "∂y/∂u_3": 0.5}) == 6.5
    with pytest.raises(FormulaError, match=r"There are x_1, u_\{-2\}"):
        parse("rate", ["u_{-2}", "x_1"])
    assert evaluate(parse("e x", ["e", "x"])[0], {"e": 2.0, "x": 3.0}) == 6.0


def test_a_function_is_explained_in_the_pieces_of_its_text() -> None:
    f = function("x1*(x2 - x3), x3*log(1 - x1)")
    program = wg.trace(f)(0.5, 2.0, 3.0)
    segments = [line.location.segment for line in program.lines if line.location is not None]
    assert sorted(segments) == ["1 - x1", "log(1 - x1)", "x1*(x2 - x3)", "x2 - x3", "x3*log(1 - x1)"]
    assert f.__code__.co_varnames == ("x_1", "x_2", "x_3")
    with pytest.raises(FormulaError, match="no variable"):
        function("2 + 3")


def test_code_is_made_of_the_tree_alone() -> None:
    f = function("x*sin(x)")
    assert f.__globals__["__builtins__"] == {}
    assert set(f.__code__.co_names) == {"sin"}


# ---- Random formulas ----


def read_or_refused(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except FormulaError as error:
        return error


_atoms = st.one_of(
    st.sampled_from(["x", "y", "x_1"]), st.integers(1, 9).map(str), st.floats(0.1, 9.0).map(lambda v: f"{v:.3g}")
)


def _grown(inner: Any) -> Any:
    return st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(st.sampled_from(["sin", "exp", "arctan", "tanh"]), inner).map(lambda t: f"{t[0]}({t[1]})"),
        inner.map(lambda e: f"-{e}"),
        inner.map(lambda e: f"({e})^2"),
    )


expressions = st.recursive(_atoms, _grown, max_leaves=8)


@settings(deadline=None, max_examples=100)
@given(expressions)
def test_random_formulas_equal_pythons_own_reading(text: str) -> None:
    values = {"x": 0.3, "y": -0.6, "x_1": 1.1}
    scope = {name: getattr(np, name) for name in ("sin", "exp", "arctan", "tanh")} | values
    with np.errstate(all="ignore"):
        expected = eval(text.replace("^", "**"), {"__builtins__": {}}, scope)
    read = read_or_refused(lambda: parse(text))
    if isinstance(read, FormulaError):
        assert "no finite number" in str(read)
        return
    (node,) = read
    np.testing.assert_allclose(float(evaluate(node, values)), float(expected), rtol=1e-12, equal_nan=True)


@settings(deadline=None, max_examples=300)
@given(st.text(alphabet="xyσπ12.e(),|+-*/^_{} sinlogexpt'\"[]=:;∂\n\t\\", max_size=60))
def test_any_text_is_read_or_refused_at_a_character_of_it(text: str) -> None:
    f = read_or_refused(lambda: function(text))
    if isinstance(f, FormulaError):
        assert 0 <= f.position <= len(text)
        assert str(f).count("\n") == 3
        return
    assert f.__globals__["__builtins__"] == {}
    with np.errstate(all="ignore"), contextlib.suppress(ZeroDivisionError, OverflowError):  # Python's own numbers
        f(*[0.5] * f.__code__.co_argcount)
