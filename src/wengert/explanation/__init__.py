"""Explaining: the derivation that one does with pen and paper, done for any function.

>>> import numpy as np, wengert as wg
>>> from wengert.explanation import explain
>>> e = explain(lambda x: x[0] * np.log(x[1]), mode="reverse")(np.array([3.0, 1.0]))
>>> print(e.text(values=False).partition("Reverse")[2].partition("Jacobian")[0].strip())
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from wengert.api import Argnums, Function, _positions, trace
from wengert.errors import ArgumentError
from wengert.explanation import latex, markdown, text
from wengert.explanation.document import compose
from wengert.explanation.notation import LATEX, TEXT
from wengert.explanation.steps import Derivation
from wengert.program import Program

__all__ = ["Explanation", "explain"]

MODES = ("forward", "reverse", "both")


class Explanation:
    """The derivation of a function's derivatives at a point; prints as text, LaTeX and Markdown."""

    def __init__(self, derivation: Derivation) -> None:
        self.derivation = derivation

    def text(self, values: bool = True) -> str:
        return text.typeset(compose(self.derivation, TEXT), values)

    def latex(self, values: bool = False) -> str:
        return latex.typeset(compose(self.derivation, LATEX), values)

    def markdown(self, values: bool = False) -> str:
        return markdown.typeset(compose(self.derivation, LATEX), values)

    def __str__(self) -> str:
        return self.text()


def explain(f: Function, argnums: Argnums = None, *, mode: str = "both") -> Callable[..., Explanation]:
    """Explain."""

    @functools.wraps(f)
    def explainer(*args: Any, **kwargs: Any) -> Explanation:
        from wengert.explanation.derivation import derive

        program = trace(f, argnums)(*args, **kwargs)
        return Explanation(derive(program, [args[k] for k in _positions(argnums, args)], mode))

    return explainer
