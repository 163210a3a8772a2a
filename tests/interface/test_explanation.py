"""Explanations: the reference text's derivations, symbol for symbol; formulas against numbers, for many functions."""

# The golden blocks are as wide as they are.
# ruff: noqa: E501

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.special import softmax as softmax_of

import wengert as wg
from wengert import errors as wg_errors
from wengert.explanation import array_document, explain
from wengert.explanation.array_document import compose_arrays
from wengert.explanation.document import Equations
from wengert.explanation.formulas import as_expression, evaluate
from wengert.explanation.notation import TEXT

# ---- The reference text, as it stands: f(g(h(x))) and f: R^3 -> R^2 ----

CHAIN = r"""
\begin{aligned}
u_0 & = x, \\
u_1 & = h(u_0), \\
u_2 & = g(u_1), \\
u_3 & = f(u_2) = y.
\end{aligned}

\begin{aligned}
\dv{u_0}{x} & = 1, \\
\dv{u_1}{x} & = \dv{u_1}{u_0} \dv{u_0}{x} = \dv{h(u_0)}{u_0}, \\
\dv{u_2}{x} & = \dv{u_2}{u_1} \dv{u_1}{x} = \dv{g(u_1)}{u_1} \dv{h(u_0)}{u_0}, \\
\dv{u_3}{x} & = \dv{u_3}{u_2} \dv{u_2}{x} = \dv{f(u_2)}{u_2} \dv{g(u_1)}{u_1} \dv{h(u_0)}{u_0}.
\end{aligned}

\begin{aligned}
\dv{y}{u_3} & = 1, \\
\dv{y}{u_2} & = \dv{y}{u_3} \dv{u_3}{u_2} = \dv{f(u_2)}{u_2}, \\
\dv{y}{u_1} & = \dv{y}{u_2} \dv{u_2}{u_1} = \dv{f(u_2)}{u_2} \dv{g(u_1)}{u_1}, \\
\dv{y}{u_0} & = \dv{y}{u_1} \dv{u_1}{u_0} = \dv{f(u_2)}{u_2} \dv{g(u_1)}{u_1} \dv{h(u_0)}{u_0}.
\end{aligned}
"""

REACHED = r"""
\dv{y}{x} = \dv{u_3}{x} = \dv{y}{u_0} = \dv{f(u_2)}{u_2} \dv{g(u_1)}{u_1} \dv{h(u_0)}{u_0}

\dv{u_i}{x} = \dv{u_i}{u_{i - 1}} \dv{u_{i - 1}}{x}.

\dv{y}{u_i} = \dv{y}{u_{i + 1}} \dv{u_{i + 1}}{u_i}.
"""

R3_TO_R2 = r"""
\begin{aligned}
u_{-2} & = x_1, \\
u_{-1} & = x_2, \\
u_0 & = x_3, \\
u_1 & = u_{-1} - u_0, \\
u_2 & = 1 - u_{-2}, \\
u_3 & = \log(u_2), \\
u_4 & = u_{-2} u_1 = y_1, \\
u_5 & = u_0 u_3 = y_2.
\end{aligned}

\begin{aligned}
\pdv{u_{-2}}{x_1} & = 1, \\
\pdv{u_{-1}}{x_1} & = 0, \\
\pdv{u_0}{x_1} & = 0, \\
\pdv{u_1}{x_1} & = \pdv{u_1}{u_{-1}} \pdv{u_{-1}}{x_1} + \pdv{u_1}{u_0} \pdv{u_0}{x_1} = 0, \\
\pdv{u_2}{x_1} & = \pdv{u_2}{u_{-2}} \pdv{u_{-2}}{x_1} = -1, \\
\pdv{u_3}{x_1} & = \pdv{u_3}{u_2} \pdv{u_2}{x_1} = -\frac{1}{u_2} = -\frac{1}{1 - x_1}, \\
\pdv{u_4}{x_1} & = \pdv{u_4}{u_{-2}} \pdv{u_{-2}}{x_1} + \pdv{u_4}{u_1} \pdv{u_1}{x_1} = u_1 = x_2 - x_3, \\
\pdv{u_5}{x_1} & = \pdv{u_5}{u_0} \pdv{u_0}{x_1} + \pdv{u_5}{u_3} \pdv{u_3}{x_1} = -u_0 \frac{1}{u_2} = -\frac{x_3}{1 - x_1}.
\end{aligned}

\begin{aligned}
\pdv{u_{-2}}{x_2} & = 0, \\
\pdv{u_{-1}}{x_2} & = 1, \\
\pdv{u_0}{x_2} & = 0, \\
\pdv{u_1}{x_2} & = \pdv{u_1}{u_{-1}} \pdv{u_{-1}}{x_2} + \pdv{u_1}{u_0} \pdv{u_0}{x_2} = 1, \\
\pdv{u_2}{x_2} & = \pdv{u_2}{u_{-2}} \pdv{u_{-2}}{x_2} = 0, \\
\pdv{u_3}{x_2} & = \pdv{u_3}{u_2} \pdv{u_2}{x_2} = 0, \\
\pdv{u_4}{x_2} & = \pdv{u_4}{u_{-2}} \pdv{u_{-2}}{x_2} + \pdv{u_4}{u_1} \pdv{u_1}{x_2} = u_{-2} = x_1, \\
\pdv{u_5}{x_2} & = \pdv{u_5}{u_0} \pdv{u_0}{x_2} + \pdv{u_5}{u_3} \pdv{u_3}{x_2} = 0.
\end{aligned}

\begin{aligned}
\pdv{u_{-2}}{x_3} & = 0, \\
\pdv{u_{-1}}{x_3} & = 0, \\
\pdv{u_0}{x_3} & = 1, \\
\pdv{u_1}{x_3} & = \pdv{u_1}{u_{-1}} \pdv{u_{-1}}{x_3} + \pdv{u_1}{u_0} \pdv{u_0}{x_3} = -1, \\
\pdv{u_2}{x_3} & = \pdv{u_2}{u_{-2}} \pdv{u_{-2}}{x_3} = 0, \\
\pdv{u_3}{x_3} & = \pdv{u_3}{u_2} \pdv{u_2}{x_3} = 0, \\
\pdv{u_4}{x_3} & = \pdv{u_4}{u_{-2}} \pdv{u_{-2}}{x_3} + \pdv{u_4}{u_1} \pdv{u_1}{x_3} = -u_{-2} = -x_1, \\
\pdv{u_5}{x_3} & = \pdv{u_5}{u_0} \pdv{u_0}{x_3} + \pdv{u_5}{u_3} \pdv{u_3}{x_3} = u_3 = \log(1 - x_1).
\end{aligned}

\begin{aligned}
\pdv{y_1}{u_5} & = 0, \\
\pdv{y_1}{u_4} & = 1, \\
\pdv{y_1}{u_3} & = \pdv{y_1}{u_5} \pdv{u_5}{u_3} = 0, \\
\pdv{y_1}{u_2} & = \pdv{y_1}{u_3} \pdv{u_3}{u_2} = 0, \\
\pdv{y_1}{u_1} & = \pdv{y_1}{u_4} \pdv{u_4}{u_1} = u_{-2} = x_1, \\
\pdv{y_1}{u_0} & = \pdv{y_1}{u_1} \pdv{u_1}{u_0} + \pdv{y_1}{u_5} \pdv{u_5}{u_0} = -x_1, \\
\pdv{y_1}{u_{-1}} & = \pdv{y_1}{u_1} \pdv{u_1}{u_{-1}} = x_1, \\
\pdv{y_1}{u_{-2}} & = \pdv{y_1}{u_2} \pdv{u_2}{u_{-2}} + \pdv{y_1}{u_4} \pdv{u_4}{u_{-2}} = u_1 = x_2 - x_3.
\end{aligned}

\begin{aligned}
\pdv{y_2}{u_5} & = 1, \\
\pdv{y_2}{u_4} & = 0, \\
\pdv{y_2}{u_3} & = \pdv{y_2}{u_5} \pdv{u_5}{u_3} = u_0 = x_3, \\
\pdv{y_2}{u_2} & = \pdv{y_2}{u_3} \pdv{u_3}{u_2} = u_0 \frac{1}{u_2} = x_3 \frac{1}{1 - x_1}, \\
\pdv{y_2}{u_1} & = \pdv{y_2}{u_4} \pdv{u_4}{u_1} = 0, \\
\pdv{y_2}{u_0} & = \pdv{y_2}{u_1} \pdv{u_1}{u_0} + \pdv{y_2}{u_5} \pdv{u_5}{u_0} = u_3 = \log(1 - x_1), \\
\pdv{y_2}{u_{-1}} & = \pdv{y_2}{u_1} \pdv{u_1}{u_{-1}} = 0, \\
\pdv{y_2}{u_{-2}} & = \pdv{y_2}{u_2} \pdv{u_2}{u_{-2}} + \pdv{y_2}{u_4} \pdv{u_4}{u_{-2}} = -u_0 \frac{1}{u_2} = -\frac{x_3}{1 - x_1}.
\end{aligned}
"""


def without_macros(latex: str) -> str:
    r"""Write \pdv{a}{b} and \dv{a}{b} as the fractions that they stand for; braces nest."""
    for macro, d in ((r"\pdv", r"\partial"), (r"\dv", "d")):
        group = r"\{((?:[^{}]|\{[^{}]*\})*)\}"
        latex = re.sub(re.escape(macro) + group + group, lambda m, d=d: rf"\frac{{{d} {m[1]}}}{{{d} {m[2]}}}", latex)  # type: ignore[misc]
    return latex


def blocks_of(latex: str) -> list[str]:
    latex = latex.replace("align*", "aligned")  # which breaks over pages
    return re.findall(r"\\begin\{aligned\}.*?\\end\{aligned\}", latex, re.DOTALL)


def reference(x: Any) -> Any:
    return np.array([x[0] * (x[1] - x[2]), x[2] * np.log(1 - x[0])])


POINT = np.array([0.5, 2.0, 3.0])


@pytest.fixture
def opaque() -> Iterator[Callable[[Any], Any]]:
    h = wg.define("h", np.sin, lambda _y, x: np.cos(x))
    g = wg.define("g", np.exp, lambda y, _x: y)
    f = wg.define("f", np.tanh, lambda y, _x: 1 - y * y)
    yield lambda x: f(g(h(x)))
    for name in "fgh":
        wg.undefine(name)


def test_every_line_of_the_reference_text() -> None:
    golden = blocks_of(without_macros(R3_TO_R2))
    found = blocks_of(explain(reference)(POINT).latex())
    assert len(golden) == 6
    for k in range(6):
        assert found[k].splitlines() == golden[k].splitlines()


def test_the_chain_of_the_reference_text(opaque: Callable[[Any], Any]) -> None:
    golden = blocks_of(without_macros(CHAIN))
    e = explain(opaque)(0.3)
    found = blocks_of(e.latex())
    for k in range(3):
        assert found[k].splitlines() == golden[k].splitlines()
    reached = [line.rstrip(".") for line in without_macros(REACHED).splitlines() if line]
    assert [block.splitlines()[1].replace(" & ", " ").rstrip(".") for block in found[3:6]] == reached
    assert "Both modes take 1 pass" in e.text()


GOLDEN_TEXT = """\
reference: R^3 -> R^2
=====================

reference takes 3 independent variables to 2 dependent variables in 5 lines.

Decomposition
-------------

  u_{-2} = x_1
  u_{-1} = x_2
  u_0    = x_3
  u_1    = u_{-1} - u_0
  u_2    = 1 - u_{-2}
  u_3    = log(u_2)
  u_4    = u_{-2} u_1 = y_1
  u_5    = u_0 u_3 = y_2

Reverse accumulation mode (outside-in)
--------------------------------------

Pass 1: the derivatives of y_1:

  ∂y_1/∂u_5    = 0
  ∂y_1/∂u_4    = 1
  ∂y_1/∂u_3    = ∂y_1/∂u_5 ∂u_5/∂u_3 = 0
  ∂y_1/∂u_2    = ∂y_1/∂u_3 ∂u_3/∂u_2 = 0
  ∂y_1/∂u_1    = ∂y_1/∂u_4 ∂u_4/∂u_1 = u_{-2} = x_1
  ∂y_1/∂u_0    = ∂y_1/∂u_1 ∂u_1/∂u_0 + ∂y_1/∂u_5 ∂u_5/∂u_0 = -x_1
  ∂y_1/∂u_{-1} = ∂y_1/∂u_1 ∂u_1/∂u_{-1} = x_1
  ∂y_1/∂u_{-2} = ∂y_1/∂u_2 ∂u_2/∂u_{-2} + ∂y_1/∂u_4 ∂u_4/∂u_{-2} = u_1 = x_2 - x_3

This pass gives ∂y_1/∂x_1 = x_2 - x_3, ∂y_1/∂x_2 = x_1 and ∂y_1/∂x_3 = -x_1.

Pass 2: the derivatives of y_2:

  ∂y_2/∂u_5    = 1
  ∂y_2/∂u_4    = 0
  ∂y_2/∂u_3    = ∂y_2/∂u_5 ∂u_5/∂u_3 = u_0 = x_3
  ∂y_2/∂u_2    = ∂y_2/∂u_3 ∂u_3/∂u_2 = u_0 (1/u_2) = x_3 (1/(1 - x_1))
  ∂y_2/∂u_1    = ∂y_2/∂u_4 ∂u_4/∂u_1 = 0
  ∂y_2/∂u_0    = ∂y_2/∂u_1 ∂u_1/∂u_0 + ∂y_2/∂u_5 ∂u_5/∂u_0 = u_3 = log(1 - x_1)
  ∂y_2/∂u_{-1} = ∂y_2/∂u_1 ∂u_1/∂u_{-1} = 0
  ∂y_2/∂u_{-2} = ∂y_2/∂u_2 ∂u_2/∂u_{-2} + ∂y_2/∂u_4 ∂u_4/∂u_{-2} = -u_0 (1/u_2) = -x_3/(1 - x_1)

This pass gives ∂y_2/∂x_1 = -x_3/(1 - x_1), ∂y_2/∂x_2 = 0 and ∂y_2/∂x_3 = log(1 - x_1).

Jacobian
--------

  ∂y_1/∂x_1 = x_2 - x_3
  ∂y_1/∂x_2 = x_1
  ∂y_1/∂x_3 = -x_1
  ∂y_2/∂x_1 = -x_3/(1 - x_1)
  ∂y_2/∂x_2 = 0
  ∂y_2/∂x_3 = log(1 - x_1)
"""


def test_the_reference_text_as_plain_text() -> None:
    text = explain(reference, mode="reverse")(POINT).text(values=False)
    assert text.startswith(GOLDEN_TEXT)
    forward = explain(reference, mode="forward")(POINT).text()
    assert (
        "  ∂u_5/∂x_1    = ∂u_5/∂u_0 ∂u_0/∂x_1 + ∂u_5/∂u_3 ∂u_3/∂x_1 = -u_0 (1/u_2) = -x_3/(1 - x_1)  = -6\n" in forward
    )
    assert "  u_3    = log(u_2)          ≈ -0.693147  # np.log(1 - x[0])  (test_explanation.py:" in forward


GOLDEN_MARKDOWN = r"""## square: $\mathbf{R} \to \mathbf{R}$

square takes 1 independent variable to 1 dependent variable in 2 lines.

### Decomposition

$$
\begin{aligned}
u_0 & = x = 2, \\
u_1 & = u_0^2 = 4, \\
u_2 & = e^{u_1} = y \approx 54.5982.
\end{aligned}
$$

### Reverse accumulation mode (outside-in)

$$
\begin{aligned}
\frac{d y}{d u_2} & = 1, \\
\frac{d y}{d u_1} & = \frac{d y}{d u_2} \frac{d u_2}{d u_1} = u_2 = e^{x^2} \approx 54.5982, \\
\frac{d y}{d u_0} & = \frac{d y}{d u_1} \frac{d u_1}{d u_0} = 2 u_2 u_0 = 2 x e^{x^2} \approx 218.393.
\end{aligned}
$$

It reaches

$$
\begin{aligned}
\frac{d y}{d x} & = \frac{d y}{d u_0} = 2 x e^{x^2} \approx 218.393.
\end{aligned}
$$

Outside-in traversal computes the recursive relation

$$
\begin{aligned}
\frac{d y}{d u_i} & = \frac{d y}{d u_{i + 1}} \frac{d u_{i + 1}}{d u_i}.
\end{aligned}
$$

### Jacobian

$$
\begin{aligned}
\frac{d y}{d x} & = 2 x e^{x^2} \approx 218.393.
\end{aligned}
$$

### Comparison

2 edges: forward 1 x 2 = 2 products, reverse 1 x 2 = 2.

Both modes take 1 pass: there are as many dependent as independent variables, 1.

Both take 6 operations: forward accumulation is taken, since it keeps fewer values.

The function and its Jacobian cost 4 multiplications, 1 addition, 1 exp forward, and the same in reverse.
"""


def square(x: Any) -> Any:
    return np.exp(x * x)


def test_markdown_in_full() -> None:
    assert explain(square, mode="reverse")(2.0).markdown(values=True) == GOLDEN_MARKDOWN
    assert explain(square, mode="reverse")(2.0)._repr_markdown_() == GOLDEN_MARKDOWN


# ---- Formulas against numbers ----


def rosenbrock(x: Any) -> Any:
    return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2


def long_rosenbrock(x: Any) -> Any:
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def polar(x: Any) -> Any:
    return np.array([np.hypot(x[0], x[1]), np.arctan2(x[1], x[0])])


def cartesian(r: Any, theta: Any) -> Any:
    return np.array([r * np.cos(theta), r * np.sin(theta)])


def black_scholes(S: Any, K: Any, r: Any, sigma: Any, T: Any) -> Any:
    def normal(z: Any) -> Any:
        return 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))

    d1 = (np.log(S / K) + (r + 0.5 * sigma**2) * T) / (sigma * np.sqrt(T))
    return S * normal(d1) - K * np.exp(-r * T) * normal(d1 - sigma * np.sqrt(T))


def branch(x: Any) -> Any:
    if x[0] > x[1]:
        return x[0] * np.sin(x[1])
    return x[1] ** 3


def product(A: Any, b: Any) -> Any:
    return A @ b


def two_scalars(a: Any, b: Any) -> Any:
    return np.exp(a) / b + a**b


def cube(x: Any) -> Any:
    return x * x * x


def chosen(x: Any) -> Any:
    return np.where(x > 0, x**2, -x) + np.maximum(x, 1.0) + abs(x)


def results_among_the_lines(x: Any) -> Any:
    y = np.exp(x[0])
    return np.array([y, y * x[1], x[1], 3.0])


def babylonian(x: Any) -> Any:
    y = 1.0
    for _ in range(4):
        y = y - (y * y - x) / (2 * y)
    return y


def softmax(x: Any) -> Any:
    z = np.exp(x - np.max(x))
    return z / np.sum(z)


def steps(a: Any, b: Any) -> Any:
    return np.fmod(a, b) * np.copysign(a, b) + a % b + np.floor(a) * np.sign(b) * b


def named_u(u: Any) -> Any:
    return u[0] * np.sqrt(u[1])


def hidden_state(x: Any) -> Any:
    return np.tanh(x[0]) * np.cosh(x[1]) / np.cbrt(x[0] + x[1]) + np.logaddexp(x[0], x[1])


CASES: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
    (reference, (POINT,)),
    (rosenbrock, (np.array([-1.2, 1.0]),)),
    (long_rosenbrock, (np.array([0.2, 0.7, 1.1, 1.4]),)),
    (polar, (np.array([3.0, 4.0]),)),
    (cartesian, (2.0, 0.5)),
    (black_scholes, (100.0, 95.0, 0.05, 0.2, 1.5)),
    (branch, (np.array([2.0, 1.0]),)),
    (branch, (np.array([1.0, 2.0]),)),
    (product, (np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([5.0, 6.0]))),
    (two_scalars, (1.5, 2.0)),
    (cube, (3.0,)),
    (chosen, (0.5,)),
    (chosen, (-0.5,)),
    (results_among_the_lines, (np.array([1.0, 2.0]),)),
    (babylonian, (2.0,)),
    (softmax, (np.array([1.0, 2.0, 0.5]),)),
    (steps, (5.5, 2.0)),
    (named_u, (np.array([2.0, 3.0]),)),
    (hidden_state, (np.array([0.3, 0.4]),)),
]


def flat_jacobian(f: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    blocks = wg.jacobian(f, tuple(range(len(args))))(*args)
    m = np.size(f(*args))
    return np.concatenate([np.reshape(block, (m, -1)) for block in blocks], axis=1)


@pytest.mark.parametrize(("f", "args"), CASES, ids=lambda v: getattr(v, "__name__", ""))
def test_every_formula_equals_its_number(f: Callable[..., Any], args: tuple[Any, ...]) -> None:
    d = explain(f)(*args).derivation
    for p in (*d.forward, *d.reverse):
        for step in p.steps:
            for formula in (step.in_u, step.in_x):
                if formula is not None:
                    found = evaluate(as_expression(formula), d.values, d.functions)
                    assert found == pytest.approx(step.value, rel=1e-9, abs=1e-12)
    values = np.array([[entry.value for entry in row] for row in d.jacobian])
    np.testing.assert_allclose(values, flat_jacobian(f, args), rtol=1e-9, atol=1e-12)
    for k, p in enumerate(d.forward):
        np.testing.assert_allclose([entry.value for entry in p.entries], values[:, k], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("f", "args"), CASES, ids=lambda v: getattr(v, "__name__", ""))
def test_the_jacobian_is_a_formula_that_holds_elsewhere_too(f: Callable[..., Any], args: tuple[Any, ...]) -> None:
    # a few steps away on the same branch: the formula must be the derivative as a function, not a number in disguise
    d = explain(f)(*args).derivation
    moved = tuple(np.asarray(a) * 1.01 if np.ndim(a) else a * 1.01 for a in args)
    values = {**d.values, **dict(zip(d.independents, np.concatenate([np.ravel(a) for a in moved]), strict=True))}
    truth = flat_jacobian(f, moved)
    written = 0
    for i, row in enumerate(d.jacobian):
        for j, entry in enumerate(row):
            if entry.formula is not None and as_expression(entry.formula).free_symbols <= set(d.independents):
                found = evaluate(as_expression(entry.formula), values, d.functions)
                assert found == pytest.approx(truth[i, j], rel=1e-9, abs=1e-12)
                written += 1
    assert written or f in (babylonian, black_scholes)


@pytest.mark.parametrize(("f", "args"), CASES, ids=lambda v: getattr(v, "__name__", ""))
def test_latex_can_be_parsed(f: Callable[..., Any], args: tuple[Any, ...]) -> None:
    mathtext = pytest.importorskip("matplotlib.mathtext")
    parser = mathtext.MathTextParser("path")
    cells = set()
    for block in blocks_of(explain(f)(*args).latex(values=True)):
        for line in block.splitlines()[1:-1]:
            assert line.count("{") == line.count("}")
            if r"\begin{cases}" not in line:  # mathtext knows no arrays
                cells |= {part.strip() for cell in line.rstrip(",.\\").split("&") for part in cell.split(" = ")}
    assert cells
    parser.parse("".join(f"${cell.removeprefix('= ')}$ " for cell in sorted(cells) if cell))


# ---- What is said ----


def test_a_branch_is_named_and_so_is_a_choice() -> None:
    assert "This holds on the branch where u_{-1} > u_0 is True." in str(explain(branch)(np.array([2.0, 1.0])))
    text = str(explain(lambda x: x[int(x[0])] * 2 if x[1] else x)(np.array([1.2, 3.0])))
    assert "where the whole part of u_{-1} is 1 and u_0 is not 0." in text
    text = str(explain(chosen)(0.5))
    assert "u_4 = where(u_1, u_2, u_3)" in text
    assert (
        "The partials of u_4 (where) and u_5 (maximum) are those of the choice made at this point, where u_0 > 0 and u_0 < 1."
        in text
    )


def test_a_result_that_is_used_again_is_seed_and_sum() -> None:
    text = str(explain(results_among_the_lines)(np.array([1.0, 2.0])))
    assert "∂y_1/∂u_1    = 1 + ∂y_1/∂u_2 ∂u_2/∂u_1 = 1" in text
    assert "u_0    = x_2 = y_3" in text
    assert "y_4    = 3" in text


def test_a_repeated_operand_is_one_term() -> None:
    text = explain(square)(2.0).text(values=False)
    assert "du_1/dx = du_1/du_0 du_0/dx = 2 u_0 = 2 x" in text


def test_numbers_print_short() -> None:
    text = explain(lambda x: 0.5 * x**2 + 2.0 * x + x / 3)(1.0).text(values=False)
    assert "u_2 = u_1/2" in text
    assert "u_3 = 2 u_0" in text
    assert "∂y/∂x = x + 7/3" in text


def test_an_infinite_partial_meets_a_zero() -> None:
    d = explain(lambda x: np.array([np.sqrt(x[0]), x[1]]))(np.array([0.0, 1.0])).derivation
    assert [[entry.value for entry in row] for row in d.jacobian] == [[np.inf, 0.0], [0.0, 1.0]]


def test_greek_and_long_names() -> None:
    def f(theta: float, rate: float, w12: float) -> Any:
        return np.sin(theta) * rate + w12

    latex = explain(f)(1.0, 2.0, 3.0).latex()
    assert r"\cos(\theta)" in latex
    assert r"\mathrm{rate}" in latex
    assert r"w_{12}" in latex
    assert r"\frac{\partial y}{\partial \theta}" in latex


def test_an_opaque_function_of_two_variables(opaque: Callable[[Any], Any]) -> None:
    k = wg.define("kernel", np.hypot, lambda y, a, _b: a / y, lambda y, _a, b: b / y)
    try:
        text = str(explain(lambda a, b: a * k(a, b))(3.0, 4.0))
    finally:
        wg.undefine("kernel")
    assert "u_1    = kernel(u_{-1}, u_0)" in text
    assert "∂kernel(u_{-1}, u_0)/∂u_0" in text


def test_many_passes_are_summed_up() -> None:
    text = str(explain(lambda x: np.array([np.sum(x**2), np.sum(np.sin(x))]))(np.arange(1.0, 13.0)))
    assert "go the same way." in text
    assert "∂y_2/∂x_12 = cos(x_12)" in text


def test_modes() -> None:
    assert "Forward" not in str(explain(reference, mode="reverse")(POINT)).partition("Comparison")[0]
    assert "Reverse" not in str(explain(reference, mode="forward")(POINT)).partition("Comparison")[0]
    with pytest.raises(wg_errors.ArgumentError, match="'forward', 'reverse', 'both'"):
        explain(reference, mode="sideways")
    assert repr(explain(reference)(POINT)) == "<Explanation of reference: R^3 -> R^2, 5 lines>"


def test_a_notebook_is_given_latex() -> None:
    latex = explain(reference)(POINT)._repr_latex_()
    assert latex.startswith("$$\n\\begin{aligned}\nu_{-2} & = x_1")


def test_sympy_is_imported_when_a_formula_is_asked_for() -> None:
    code = "import sys, wengert, wengert.explanation; print('sympy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# ---- Arrays ----


RNG = np.random.default_rng(0)
X = RNG.normal(size=(16, 5))
Y = RNG.normal(size=(16, 2))
WEIGHTS = (RNG.normal(size=(5, 4)), RNG.normal(size=4), RNG.normal(size=(4, 2)), RNG.normal(size=2))


def loss(W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
    H = np.tanh(X @ W1 + b1)
    return np.mean((H @ W2 + b2 - Y) ** 2)


def test_a_two_layer_network_array_by_array() -> None:
    text = re.sub(" +", " ", str(explain(loss)(*WEIGHTS)))
    assert "in 9 lines, which stand for" in text
    for line in (
        "W1 = given (5 x 4)",
        "X = constant (16 x 5)",
        "u_1 = X W1 (16 x 4) # X @ W1",
        "u_3 = tanh(u_2) = H (16 x 4) # np.tanh(X @ W1 + b1)",
        "du_4 = du_3 W2 + u_3 dW2 (16 x 2)",
        "du_3 = du_2 ⊙ (1 - u_3 ⊙ u_3) (16 x 4)",
        "∂y/∂u_6 = 2 ∂y/∂u_7 ⊙ u_6 = u_6/16 (16 x 2)",
        "∂y/∂u_3 = ∂y/∂u_4 W2^T = u_6 W2^T/16 (16 x 4)",
        "∂y/∂u_2 = ∂y/∂u_3 ⊙ (1 - u_3 ⊙ u_3)",
        "∂y/∂b2 = sum(∂y/∂u_5, axis=0) = sum(u_6, axis=0)/16 (2)",
        "∂y/∂W1 = X^T ∂y/∂u_1",
    ):
        assert line in text
    latex = explain(loss)(*WEIGHTS).latex()
    assert r"\frac{\partial y}{\partial W_1} & = X^\top \frac{\partial y}{\partial u_1}" in latex


def relu_loss(W: Any, b: Any) -> Any:
    Z = np.maximum(X @ W + b, 0.0)
    Z = Z - np.max(Z, axis=1, keepdims=True)
    return np.sum(Z[:, 0] * 2 - np.log(np.sum(np.exp(Z), axis=1))) / 3


def vectors(a: Any, B: Any) -> Any:
    inner = B @ a
    outer = np.reshape(a, (-1, 1)) * inner[:3]
    return a @ B.T @ inner + np.sum(outer.T[1:] ** 2) + np.sum(np.concatenate([a, inner]) ** 3) + inner @ inner


MIXED = [(np.sin, np.cos, np.tanh)[k] for k in RNG.integers(0, 3, 100)]
"""Functions in no rhythm: a loop over equal ones would be folded."""


def scalar_lines(x: Any) -> Any:
    y = x
    for function in MIXED:
        y = function(y) * x
    return y


def as_numpy(formula: str) -> str:
    """Write a formula of an array explanation as Python: the test of its mathematics is to run it."""
    code = re.sub(r"∂y/∂(\w+)", r"bar_\1", formula)
    code = re.sub(r"‖(\w+)‖", r"norm(\1)", code)
    code = re.sub(r"(\w+)\^\{-1\}", r"inv(\1)", code)
    code = re.sub(r"(\w+)\^\{-T\}", r"inv(\1).T", code)
    code = re.sub(r"([\w\])]+)\^T", r"\1.T", code)
    code = re.sub(r"\[(\w+) ([>=]+) (\w+)\]", lambda m: f"({m[1]}{'==' if m[2] == '=' else m[2]}{m[3]})", code)
    code = code.replace(", keepdims=True", ",keepdims=True").replace(", axis=", ",axis=").replace(", at [", ",np.s_[")
    code = re.sub(r"(?<=[\w\])]),? (?=[\w(])", lambda m: m[0] if "," in m[0] else " % ", code)  # juxtaposed: a product
    return code.replace("⊙", "*").replace(" % ", " @ ").replace("^", "**")


class Value(np.ndarray):
    """An array whose ``@`` also takes scalars, as juxtaposition in a formula does."""

    def __matmul__(self, other: Any) -> Any:
        if np.ndim(self) == 0 or np.ndim(other) == 0:
            return np.multiply(self, other).view(Value)
        if np.ndim(self) == np.ndim(other) == 1 and self.shape != np.shape(other):
            return np.outer(self, other).view(Value)
        return np.matmul(self, other).view(Value)

    def __rmatmul__(self, other: Any) -> Any:
        return np.asarray(other).view(Value) @ self


def value(x: Any) -> Value:
    return np.asarray(x, dtype=float).view(Value)


@pytest.mark.parametrize(
    ("f", "args"),
    [
        (loss, WEIGHTS),
        (relu_loss, (RNG.normal(size=(5, 4)), 5 + RNG.normal(size=4))),  # no two maxima in a row
        (scalar_lines, (0.9,)),
    ],
    ids=lambda v: getattr(v, "__name__", ""),
)
def test_formulas_of_arrays_can_be_run(f: Callable[..., Any], args: tuple[Any, ...], monkeypatch: Any) -> None:
    monkeypatch.setattr(array_document, "MOST_ROWS", 1000)
    e = explain(f)(*args)
    blocks = [b for b in compose_arrays(e.derivation, TEXT) if isinstance(b, Equations)]
    definitions, forward, reverse, _gradient = blocks
    shapes: dict[str, tuple[int, ...]] = {}
    names: dict[str, Any] = {"np": np, "X": value(X), "Y": value(Y)}
    tangents = [RNG.normal(size=np.shape(a)) for a in args]
    for name, a, t in zip([a.name for a in e.program.arguments], args, tangents, strict=True):
        names[name], names[f"d{name}"] = value(a), value(t)

    def broadcast(g: Any) -> Any:
        # beside the array that it meets in the formula: a column for each row that was summed
        return g[:, None] if np.ndim(g) == 1 and "keepdims" not in str(g) else g

    def put(g: Any, index: Any) -> Any:
        whole = np.zeros(shapes["u_5"] if f is relu_loss else np.shape(g))
        whole[index] += g
        return value(whole)

    functions = {
        "tanh": np.tanh, "sin": np.sin, "cos": np.cos, "exp": np.exp, "log": np.log,
        "sum": lambda x, **k: value(np.sum(np.asarray(x), **k)),
        "max": lambda *x, **k: np.maximum(*x).view(Value) if len(x) == 2 else value(np.max(np.asarray(x[0]), **k)),
        "broadcast": broadcast, "put": put,
    }  # fmt: skip

    def run(formula: str) -> Any:
        return eval(as_numpy(formula), {**functions, **names})

    for row in definitions.rows:
        if row.equals[0] not in ("given", "constant"):
            names[row.left] = value(run(row.equals[0]))
        if row.left in names:
            shapes[row.left] = np.shape(names[row.left])
    assert names[definitions.rows[-1].left] == pytest.approx(float(f(*args)))
    for row in forward.rows:
        if "∂" in row.equals[0]:  # a maximum over an axis: its partial has a name only
            inner = names["u_3"] == np.max(np.asarray(names["u_3"]), axis=1, keepdims=True)
            names[row.left] = value(np.sum(np.asarray(inner * names["du_3"]), axis=1, keepdims=True))
        else:
            names[row.left] = value(run(row.equals[0]))
    _, y_dot = wg.jvp(f, args, tangents if np.ndim(args[0]) else [float(t) for t in tangents])
    assert float(names[forward.rows[-1].left]) == pytest.approx(float(y_dot), rel=1e-9)
    for row in reverse.rows:
        bar = row.left.replace("∂y/∂", "bar_")
        of_each = [np.broadcast_to(np.asarray(run(one)), shapes[row.left.removeprefix("∂y/∂")]) for one in row.equals]
        names[bar] = value(of_each[0])
        np.testing.assert_allclose(of_each[0], of_each[-1], rtol=1e-9, atol=1e-12)  # the same without adjoints
    for k, argument in enumerate(e.program.arguments):
        np.testing.assert_allclose(names[f"bar_{argument.name}"], wg.grad(f, k)(*args), rtol=1e-9, atol=1e-12)


M, S, C, D = np.random.default_rng(8).normal(size=(4, 3, 3)) + 3 * np.eye(3)
COLUMN = np.array([[0.5], [-1.0], [2.0]])
RHS = np.array([0.5, -1.0, 2.0])


def fold(P: Any) -> Any:
    return value(np.tril(P + P.T) - np.diag(np.diag(P)))


@pytest.mark.parametrize(
    ("f", "x", "formula"),
    [
        (lambda A: np.sum(np.linalg.inv(A) * M), C, "-A^{-T} ∂y/∂u_1 A^{-T}"),
        (lambda A: np.sum(np.linalg.solve(A, COLUMN) ** 2), C, "-A^{-T} ∂y/∂u_1 u_1^T"),
        (lambda b: np.sum(np.linalg.solve(S, b) * RHS), RHS, "S^{-T} RHS"),
        (lambda A: np.linalg.det(A), C, "u_1 A^{-T}"),
        (lambda A: np.linalg.slogdet(A)[1], C, "(∂y/∂u_1)[1] A^{-T}"),
        (lambda x: np.linalg.norm(x), RHS, "x/u_1"),
        (lambda A: np.linalg.norm(A), C, "A/u_1"),
        (lambda A: np.trace(M @ A @ D), C, "M^T D^T"),
        (lambda A: np.sum(np.linalg.cholesky(A @ A.T) * D), C, None),
        (lambda x: logsumexp(x), RHS, "exp(x - u_1)"),
        (lambda x: np.prod(x), np.linspace(1, 2, 29), "u_1/x"),
        (lambda A: np.sum(np.einsum("ij,jk->ik", A, D) * M), C, "M D^T"),
        (lambda a: np.sum(np.outer(a, RHS) * D), RHS, None),
        (lambda x: np.sum(softmax_of(x) * RHS), RHS, None),
    ],
)
def test_formulas_of_matrices_are_those_of_textbooks(f: Any, x: Any, formula: str | None) -> None:
    e = explain(f, level="arrays")(x)
    definitions, forward, reverse, *_ = (b for b in compose_arrays(e.derivation, TEXT) if isinstance(b, Equations))
    (argument,) = e.program.arguments
    dx = np.random.default_rng(9).normal(size=np.shape(x))
    names: dict[str, Any] = {argument.name: value(x), f"d{argument.name}": value(dx), "I": np.eye(3), "np": np}
    names |= {
        name: value(array)
        for name, array in {"M": M, "S": S, "D": D, "RHS": RHS, "COLUMN": COLUMN, "c_1": RHS[None]}.items()
    }

    def Phi(P: Any) -> Any:
        return value(np.tril(P) - np.diag(np.diag(P)) / 2)

    shapes = {str(var): var.shape for line in e.program.lines for var in line.outputs} | {argument.name: np.shape(x)}
    bar_shape: tuple[int, ...] = ()

    def put(g: Any, index: Any) -> Any:
        array = np.zeros(bar_shape)
        array[index] += g
        return value(array)

    functions = {
        "inv": lambda A: value(np.linalg.inv(A)), "det": np.linalg.det, "norm": np.linalg.norm, "exp": np.exp,
        "sin": np.sin, "cos": np.cos, "logsumexp": lambda x, **_: value(logsumexp(x, keepdims=bool(_))),
        "cholesky": lambda A: value(np.linalg.cholesky(A)), "Φ": Phi, "tr": lambda P: value(np.trace(P)),
        "slogdet": lambda A: value(np.array(np.linalg.slogdet(A))), "prod": lambda x, **_: value(np.prod(x)),
        "stack": lambda *parts: value(np.array([float(p) for p in parts])), "fold": fold,
        "diag": lambda P: value(np.diag(P)), "sum": lambda x, **k: value(np.sum(np.asarray(x), **k)),
        "reshape": lambda x: value(np.reshape(x, bar_shape)), "broadcast": lambda g: g, "put": put,
    }  # fmt: skip

    def run(text: str) -> Any:
        return eval(as_numpy(text.replace("...", "Ellipsis")), {**functions, **names})

    for row in definitions.rows:
        if row.equals[0] not in ("given", "constant"):
            bar_shape = shapes[row.left]
            names[row.left] = value(run(row.equals[0]))
    for row in forward.rows:
        bar_shape = shapes[row.left[1:]]
        names[row.left] = value(run(row.equals[0]))
    _, y_dot = wg.jvp(f, (x,), (dx,))
    assert float(names[forward.rows[-1].left]) == pytest.approx(float(y_dot), rel=1e-9)
    for row in reverse.rows:
        bar_shape = shapes[row.left.removeprefix("∂y/∂")]
        each = [np.broadcast_to(np.asarray(run(one)), bar_shape) for one in row.equals]
        names[row.left.replace("∂y/∂", "bar_")] = value(each[0])
        np.testing.assert_allclose(each[0], each[-1], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(names[f"bar_{argument.name}"], wg.grad(f)(x), rtol=1e-9, atol=1e-12)
    assert formula is None or formula in {one for row in reverse.rows for one in row.equals}
    ((_, gradient),) = e.derivation.gradient
    np.testing.assert_array_equal(gradient.value, wg.grad(f)(x))


def test_a_constant_is_not_called_by_the_name_of_a_variable_of_equal_value() -> None:
    A = np.ones((6, 6))
    text = str(explain(lambda X, w: np.sum(np.tanh((X @ A + A) @ w)), mode="reverse")(np.ones((6, 6)), np.ones(6)))
    assert text.count("= constant") == 1
    assert "∂y/∂X   = ∂y/∂u_1 A^T" in text


def test_structures_are_named() -> None:
    text = str(explain(vectors)(np.arange(1.0, 5.0), RNG.normal(size=(4, 4))))
    for piece in ("reshape(", "[1:]", "put(", "^T", "concatenate(a, "):
        assert piece in text


def in_place(x: Any) -> Any:
    z = np.zeros(3)
    z[0] = x[0]
    z[1:] = x[1] * 2
    z[0] *= x[1]
    return np.sum(z**2)


def test_assignment_in_place() -> None:
    d = explain(in_place)(np.array([3.0, 2.0])).derivation
    assert [entry.value for entry in d.jacobian[0]] == pytest.approx(list(wg.grad(in_place)(np.array([3.0, 2.0]))))

    def shifted(x: Any) -> Any:
        z = np.zeros_like(x)
        z[1:] = x[:-1] ** 2
        return np.sum(z * x)

    text = str(explain(shifted)(np.arange(20.0)))
    for piece in (
        "u_3 = assign(c_1, u_2, at [1:])",
        "c_1 = constant",
        "du_3 = assign(0, du_2, at [1:])",
        "∂y/∂u_2 = (∂y/∂u_3)[1:]",
    ):
        assert piece in text


def test_complex_numbers_are_refused() -> None:
    with pytest.raises(wg_errors.UnsupportedError, match="real and imaginary parts as two arguments"):
        explain(lambda z: np.abs(z * z + 1))(1 + 2j)


def test_a_choice_between_arrays() -> None:
    text = str(explain(lambda x: np.sum(np.where(x > 0, np.exp(x), -x)))(np.arange(30.0) - 10))
    assert "∂y/∂u_2 = ∂y/∂u_4 ⊙ [u_1]" in text
    assert "∂y/∂u_3 = ∂y/∂u_4 ⊙ [not u_1]" in text


def test_long_scalar_programs_are_cut_in_the_middle() -> None:
    text = str(explain(scalar_lines)(0.5))
    assert "in 200 lines: too many to write every formula out" in text
    assert "lines like these" in text
    assert len(text.splitlines()) < 180
