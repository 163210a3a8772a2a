"""Explaining: the derivation that one does with pen and paper, done for any function.

>>> import numpy as np, wengert as wg
>>> from wengert.explanation import explain
>>> e = explain(lambda x: x[0] * np.log(x[1]), mode="reverse")(np.array([3.0, 0.5]))
>>> print(e.text(values=False).partition("(outside-in)")[2].partition("This pass")[0].strip("- \\n"))
∂y/∂u_2    = 1
  ∂y/∂u_1    = ∂y/∂u_2 ∂u_2/∂u_1 = u_{-1} = x_1
  ∂y/∂u_0    = ∂y/∂u_1 ∂u_1/∂u_0 = u_{-1} (1/u_0) = x_1/x_2
  ∂y/∂u_{-1} = ∂y/∂u_2 ∂u_2/∂u_{-1} = u_1 = log(x_2)

The derivation is data.  ``derivation`` makes the steps (``steps``) of a scalar Program; where that would be too long
to read, ``arrays`` makes formulas of matrices (``matrices``, ``array_steps``), with ``loops`` for lines that hold
Programs.  ``document`` and ``array_document`` say it in sentences and equations, ``notation`` writes formulas, and
``text``, ``latex`` and ``markdown`` set them.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from wengert.api import plan_at
from wengert.arguments import ArgnumsLike
from wengert.control.loop import Loop
from wengert.errors import ArgumentError, UnsupportedError
from wengert.explanation import latex, markdown, svg, text
from wengert.explanation.array_document import compose_arrays
from wengert.explanation.arrays import MOST_LINES, derive_arrays
from wengert.explanation.derivation import derive
from wengert.explanation.document import Block, Equations, compose
from wengert.explanation.notation import LATEX, TEXT, Notation
from wengert.explanation.saving import as_document, save
from wengert.explanation.slide import Slide, slide_of
from wengert.passes.scalarization import can_scalarize, scalar_lines, scalarize
from wengert.program import Constant, Program
from wengert.tracing import parameter_names, watch
from wengert.transformations import Transformed

__all__ = ["Explanation", "explain"]

Function = Callable[..., Any]
MODES = ("forward", "reverse", "both")
LEVELS = ("arrays", "scalars")
MOST_SCALAR_LINES = 1000
"""A function of more scalar lines than this has no explanation by them, not even on request."""
MOST_VARIABLES = 16
"""A function of more independent and dependent variables than this, together, is explained by its array lines."""


class Explanation:
    """The derivation of a function's derivatives at a point.

    Print it for text; a notebook shows it typeset.  ``derivation`` holds the steps themselves with formulas as SymPy
    expressions (see `wengert.explanation.steps`), or as formulas of matrices (`wengert.explanation.array_steps`).

    >>> import numpy as np, wengert as wg
    >>> e = explain(lambda x: np.sin(x) * x)(0.0)
    >>> e
    <Explanation of f: R -> R, 2 lines>
    >>> e.derivation.jacobian[0][0].value
    0.0
    """

    __slots__ = ("_compose", "derivation", "point", "program")

    def __init__(
        self,
        program: Program,
        point: Sequence[Any],
        derivation: Any,
        composer: Callable[[Any, Notation], list[Block]],
    ) -> None:
        self.program, self.point, self.derivation, self._compose = program, point, derivation, composer

    @property
    def slide(self) -> Slide:
        """The derivation as one table (see `wengert.explanation.slide`)."""
        return slide_of(self.derivation)

    def text(self, values: bool = True, *, slide: bool = False) -> str:
        """Write it as text; with `values`, each line with its number and the code that it comes from.

        With `slide` it is one table in any form: `text`, `latex` or `markdown`.
        """
        return text.slide(self.slide) if slide else text.typeset(self._compose(self.derivation, TEXT), values)

    def latex(self, values: bool = False, *, slide: bool = False) -> str:
        """Write it as the body of a LaTeX document (amsmath); with `values`, each line with its number.

        A slide needs the packages graphicx and xcolor, too.
        """
        return latex.slide(self.slide) if slide else latex.typeset(self._compose(self.derivation, LATEX), values)

    def markdown(self, values: bool = False, *, slide: bool = False) -> str:
        """Write it as Markdown with ``$$`` formulas; with `values`, each line with its number."""
        return markdown.slide(self.slide) if slide else markdown.typeset(self._compose(self.derivation, LATEX), values)

    def html(self, head: str = "") -> str:
        """Write it as a page of HTML that plays the derivation, complete in one file; `head` stands above it.

        >>> import numpy as np
        >>> explain(np.sin)(0.5).html()[:15]
        '<!DOCTYPE html>'
        """
        from wengert.explanation.page import write_page

        return write_page(self.derivation, self.program, self.point, head)

    def widget(self) -> Any:
        """Return the page as a widget of notebooks, whose ``inputs`` are those in the page: read, set and observed.

        Raises
        ------
        LoadError
            If the library ``anywidget`` is not installed: it comes with the extra ``notebook``.
        """
        from wengert.explanation.widget import page_widget

        return page_widget(self.html(), [value for part in self.point for value in np.ravel(part).tolist()])

    def svg(self) -> str:
        """Draw the slide as an SVG picture."""
        return svg.draw(self.slide)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a file in the form that its name ends with: .html, .pdf, .tex, .md, .svg or .txt.

        A PDF is made by pdflatex or by a browser of the Chromium kind, whichever is installed.
        """
        name = self.derivation.name
        save(
            path,
            {
                ".html": self.html,
                ".tex": lambda: as_document(f"{self.latex(slide=True)}\\clearpage\n\n{self.latex(values=True)}", name),
                ".md": lambda: f"{self.markdown(slide=True)}\n{self.markdown(values=True)}",
                ".svg": self.svg,
                ".txt": lambda: f"{self.text(slide=True)}\n\n\n{self.text()}\n",
            },
        )

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        head, _, _ = self.text(values=False).partition("\n")
        return f"<Explanation of {head}, {len(self.program.lines)} lines>"

    def _repr_html_(self) -> str:
        style = "width: 100%; height: 46rem; border: 1px solid #8884; border-radius: 8px"
        return f'<iframe title="{escape(repr(self))}" srcdoc="{escape(self.html())}" style="{style}"></iframe>'

    def _repr_markdown_(self) -> str:
        return self.markdown(values=True)

    def _repr_latex_(self) -> str:
        blocks = [b for b in self._compose(self.derivation, LATEX) if isinstance(b, Equations)]
        return "\n\n".join(f"$$\n{latex.equations(b)}\n$$" for b in blocks)


def explain(
    f: Function,
    argnums: ArgnumsLike = None,
    *,
    mode: str = "both",
    step: int | None = None,
    level: str | None = None,
    passes: Sequence[int] | None = None,
) -> Callable[..., Explanation]:
    """Return a function that derives the derivatives of `f` at a point, line by line, as one does by hand.

    Parameters
    ----------
    f
        A function of real numbers or arrays.
    argnums
        The positions of the independent variables; None for every argument that is a real number or array.
    mode
        Which traversal of the chain rule to write: ``"forward"``, ``"reverse"`` or ``"both"``.
    step
        The number of a step, from 0, that is written out with its values, of each loop (`wengert.scan` and so on);
        a negative one counts from the last.  The body of a loop is explained once in any case.
    level
        Which lines to explain: ``"scalars"`` or ``"arrays"``; by default scalars up to 60 lines and 16 variables, and
        arrays above.
    passes
        The numbers of the passes to write, from 1, of each mode; by default all. Arrays have one pass of each.

    Returns
    -------
    callable
        Takes what `f` takes; returns an `Explanation`: the decomposition into elementary functions, each pass with its
        chain rule, formulas and values, the Jacobian, and which mode takes fewer passes.  A function of more than 60
        scalar lines is explained by its array lines.

    Raises
    ------
    ArgumentError
        If the mode or the level is unknown, or an argument is not a float or an array of them; if there is no such
        step or pass, or no scalar form.
    UnsupportedError
        If the function takes or returns complex numbers.

    Examples
    --------
    >>> import numpy as np, wengert as wg
    >>> print(explain(lambda x: np.exp(-x), mode="forward")(0.0).text(values=False))
    f: R -> R
    =========
    <BLANKLINE>
    f takes 1 independent variable to 1 dependent variable in 2 lines.
    <BLANKLINE>
    Decomposition
    -------------
    <BLANKLINE>
      u_0 = x
      u_1 = -u_0
      u_2 = exp(u_1) = y
    <BLANKLINE>
    Forward accumulation mode (inside-out)
    --------------------------------------
    <BLANKLINE>
      du_0/dx = 1
      du_1/dx = du_1/du_0 du_0/dx = -1
      du_2/dx = du_2/du_1 du_1/dx = -u_2 = -exp(-x)
    <BLANKLINE>
    It reaches
    <BLANKLINE>
      dy/dx = du_2/dx = -exp(-x)
    <BLANKLINE>
    Inside-out traversal computes the recursive relation
    <BLANKLINE>
      du_i/dx = du_i/du_{i - 1} du_{i - 1}/dx
    <BLANKLINE>
    Jacobian
    --------
    <BLANKLINE>
      dy/dx = -exp(-x)
    <BLANKLINE>
    Comparison
    ----------
    <BLANKLINE>
    2 edges: forward 1 x 2 = 2 products, reverse 1 x 2 = 2.
    <BLANKLINE>
    Both modes take 1 pass: there are as many dependent as independent variables, 1.
    <BLANKLINE>
    Both take 4 operations: forward accumulation is taken, since it keeps fewer values.
    <BLANKLINE>
    The function and its Jacobian cost 1 multiplication, 2 changes of sign, 1 exp forward, and the same in reverse.
    """
    if mode not in MODES:
        raise ArgumentError(f"mode {mode!r} is unknown; the modes are {', '.join(map(repr, MODES))}.")
    if level not in (None, *LEVELS):
        raise ArgumentError(f"level {level!r} is unknown; the levels are {', '.join(map(repr, LEVELS))}.")

    def explanation(args: Any, kwargs: Any) -> Explanation:
        program, point, plan = plan_at(f, args, kwargs, argnums)
        if any(v.dtype.kind == "c" for v in (*program.arguments, *program.results)):
            raise UnsupportedError(
                f"{program.name} takes or returns complex numbers, and an explanation is of a function of real ones.\n"
                "Pass the real and imaginary parts as two arguments; wg.jacobian takes complex ones as they are."
            )
        if step is not None and not any(isinstance(line.held, Loop) for line in program.lines):
            raise ArgumentError(
                f"step {step} of a loop is to be unfolded, and {program.name} has no loop.\n"
                "A loop is a line of wg.scan, wg.fori_loop, wg.while_loop or wg.map; leave out step= of any other."
            )
        variables = sum(v.size for v in program.inputs) + sum(int(np.prod(r.shape, dtype=int)) for r in program.results)
        computed = [var for line in program.lines for var in line.outputs]
        scalar = can_scalarize(program) and not any(var.dtype.kind == "c" for var in computed)
        lines = scalar_lines(program) if scalar else None
        constants = _names_of_constants(f, args)
        few = lines is not None and lines <= MOST_LINES and variables <= MOST_VARIABLES
        if level == "scalars" and (lines is None or lines > MOST_SCALAR_LINES):
            has = "no scalar form" if lines is None else f"{lines:,} scalar lines"
            raise ArgumentError(
                f"{program.name} is to be explained by scalar lines, and has {has}.\n"
                f"Leave out level=, or explain a smaller case: up to {MOST_SCALAR_LINES:,} lines are written."
            )
        if level == "scalars" or (few and level is None):
            _demand_passes(passes, program, mode)
            elements, names = _named_elements(program, constants)
            program = scalarize(program, *point, elements=elements)
            return Explanation(program, point, derive(program, point, plan, mode, names, passes), compose)
        derivation = derive_arrays(program, point, lines, mode, constants, plan, step)
        return Explanation(program, point, derivation, compose_arrays)

    def explainer(args: Any, kwargs: Any) -> Explanation:
        return watch(explanation, args, kwargs)  # type: ignore[no-any-return]

    return Transformed(explain, f, explainer, argnums=argnums, mode=mode, step=step, level=level, passes=passes)


def _demand_passes(passes: Sequence[int] | None, program: Program, mode: str) -> None:
    """Raise ArgumentError if a mode has no such passes."""
    n = sum(var.size for var in program.inputs)
    m = sum(int(np.prod(result.shape, dtype=int)) for result in program.results)
    most = {"forward": n, "reverse": m, "both": max(n, m)}[mode]
    for number in passes or ():
        if not 1 <= number <= most:
            raise ArgumentError(f"there is no pass {number}: passes= takes numbers from 1 to {most} here.")


def _names_of_constants(f: Function, args: Sequence[Any]) -> dict[str, Any]:
    """Find what the user's code calls the arrays that it takes from outside: other arguments, closures, globals."""
    named: dict[str, Any] = {}
    try:
        variables = inspect.getclosurevars(inspect.unwrap(f))
        outside = {**variables.globals, **variables.nonlocals}
    except TypeError:
        outside = {}
    for name, value in [*outside.items(), *zip(parameter_names(f, len(args)), args, strict=True)]:
        if isinstance(value, np.ndarray):
            named.setdefault(name, value)
    return named


def _named_elements(program: Program, constants: Mapping[str, Any]) -> tuple[dict[int, Any], dict[int, str]]:
    """Return the constant arrays of a Program as arrays of objects, by identity, and a name for each of their elements.

    Those that the user's code has no name for are left out.
    """
    arrays: dict[int, Any] = {}
    names: dict[int, str] = {}
    arguments = {name for packing in program.arguments for name in (packing.name, *packing.names)}
    for atom in (a for line in program.lines for a in line.inputs if isinstance(a, Constant)):
        value = atom.value
        if id(value) in arrays or np.ndim(value) == 0 or value.dtype.kind != "f":
            continue
        called = [name for name, array in constants.items() if array is value] or [
            name for name, array in constants.items() if array.dtype == value.dtype and np.array_equal(array, value)
        ]
        if not called or called[0] in arguments:
            continue
        arrays[id(value)] = elements = np.empty(value.shape, dtype=object)
        for index in np.ndindex(value.shape):
            elements[index] = element = np.float64(value[index])
            indices = ",".join(str(k + 1) for k in index)
            names[id(element)] = f"{called[0]}_{indices}" if len(index) == 1 else f"{called[0]}_{{{indices}}}"
    return arrays, names
