"""Explanations: the reference text's own derivations, symbol for symbol; and formulas against numbers, for many functions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert.explanation import explain

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
