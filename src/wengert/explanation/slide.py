"""One slide: the derivation as one table, the decomposition in the middle, passes beside it.

Forward columns are read from the top down, reverse ones from the bottom up.  A row is a variable; a cell is its
tangent or its adjoint in one pass, as formula and as number.  The slide is data; every face of an explanation sets it.

>>> import numpy as np, wengert as wg
>>> slide = wg.explain(lambda x: x[0] * np.log(x[1]))(np.array([3.0, 0.5])).slide
>>> [(column.kind, column.seed.text) for column in slide.columns]
[('forward', 'x_1'), ('forward', 'x_2'), ('decomposition', ''), ('reverse', 'y')]
>>> [[cell.formula.text for cell in row.cells] for row in slide.rows][2]
['0', '1/x_2', 'log(u_0)', 'x_1']
>>> slide.counts
'3 edges: forward 2 x 3 = 6 products, reverse 1 x 3 = 3'
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wengert.errors import Location
from wengert.explanation.array_steps import ArrayDerivation, ArrayStep
from wengert.explanation.document import Row, counted, decomposition, space, step, value_of
from wengert.explanation.matrices import Adjoint, Matrix, Name, Ratio, Tangent
from wengert.explanation.notation import LATEX, TEXT
from wengert.explanation.steps import Definition, Derivation, Pass

MUCH = 10
"""n is called much greater than m from this ratio on."""


WIDEST_CELL = 32
"""A longer formula in the independent variables gives way in a cell to the shortest there is."""


@dataclass(frozen=True)
class Written:
    """A formula in both notations; both empty where there is none."""

    text: str = ""
    latex: str = ""


@dataclass(frozen=True)
class Cell:
    """One variable in one column.

    Attributes
    ----------
    name
        What the cell holds: the variable itself, or a derivative of it or by it.
    rule
        The chain rule, zero terms included; empty for a seed and in the decomposition.
    formula
        The formula in the independent variables or, where that is long, the shortest; a number where there is none.
    value
        The number at the point; None for an array.
    shown
        The number as it is written, with ``=`` or ``≈``, or the shape of an array; empty if the formula says it.
    is_zero
        True if it is zero whatever the point: the formula is 0.
    is_seed
        True for the derivative with which the pass starts.
    """

    name: Written
    rule: Written
    formula: Written
    value: bool | float | None
    shown: Written
    is_zero: bool = False
    is_seed: bool = False


@dataclass(frozen=True)
class Column:
    """A pass or the decomposition: its heading, what it is seeded with, and whether it is read down or up.

    `derivative` is what the cells are, of any ``u``: ``∂u/∂x_1`` or ``∂y_1/∂u``.
    """

    kind: str
    heading: str
    seed: Written
    reads: str
    derivative: Written = Written()


@dataclass(frozen=True)
class SlideRow:
    """A variable, with a cell for each column; None where a variable has no derivative. `location` is its code."""

    variable: Written
    cells: tuple[Cell | None, ...]
    location: Location | None = None
    is_independent: bool = False


@dataclass(frozen=True)
class Slide:
    """The derivation as one table.

    Attributes
    ----------
    title, name
        ``f: R^3 -> R^2``, and ``f``.
    columns, rows
        The table; the cells of a row stand in the order of the columns.
    independents, dependents, edges
        n, m, and the edges of the graph; `products` has n and m times as many: what each mode multiplies.
    counts
        ``8 edges: forward 3 x 8 = 24 products, reverse 2 x 8 = 16``.
    sentence
        Which mode takes fewer passes, in the words of the reference text, for this n and m.
    """

    title: str
    name: str
    columns: tuple[Column, ...]
    rows: tuple[SlideRow, ...]
    independents: int
    dependents: int
    edges: int
    products: tuple[int, int]
    counts: str
    sentence: str

    def narrowed(self, most: int) -> Slide:
        """Return the slide with the first `most` passes of each mode alone."""
        taken: dict[str, int] = {}
        kept = []
        for k, column in enumerate(self.columns):
            taken[column.kind] = taken.get(column.kind, 0) + 1
            if taken[column.kind] <= most:
                kept.append(k)
        return dataclasses.replace(
            self,
            columns=tuple(self.columns[k] for k in kept),
            rows=tuple(dataclasses.replace(row, cells=tuple(row.cells[k] for k in kept)) for row in self.rows),
        )

    def left_out(self, whole: Slide) -> str:
        """Return which passes of a whole slide this one lacks, in a sentence; nothing if it lacks none."""
        missing = []
        for kind in ("forward", "reverse"):
            here, there = (sum(column.kind == kind for column in one.columns) for one in (self, whole))
            if here < there:
                missing.append(
                    f"{kind} pass{'es' * (there - here > 1)} {here + 1}{f' to {there}' * (there - here > 1)}"
                )
        return f"Left out for want of room: {', '.join(missing)}." if missing else ""


def slide_of(derivation: Derivation | ArrayDerivation) -> Slide:
    """Lay a derivation out as a table."""
    if isinstance(derivation, ArrayDerivation):
        columns, rows = _columns_of_arrays(derivation)
        n, m = derivation.independents, derivation.dependents
    else:
        columns, rows = _columns(derivation)
        n, m = len(derivation.independents), len(derivation.dependents)
    plan = derivation.plan
    return Slide(
        title=f"{derivation.name}: {space(n)} -> {space(m)}",
        name=derivation.name,
        columns=columns,
        rows=rows,
        independents=n,
        dependents=m,
        edges=plan["forward"].one_pass.products,
        products=(plan["forward"].products, plan["reverse"].products),
        counts=plan.edges,
        sentence=closing(n, m),
    )


def closing(n: int, m: int) -> str:
    """Return the conclusion of the reference text for n independent and m dependent variables."""
    passes = f"forward accumulation takes n = {counted(n, 'pass', 'passes')}, reverse accumulation m = {m:,}"
    if n == m:
        return f"Here n = m: {passes}, and neither has fewer."
    much = max(n, m) >= MUCH * min(n, m)
    if n > m:
        end = "this is why backpropagation is for the win" if much else "reverse accumulation has fewer"
        return f"Here n {'≫' if much else '>'} m: {passes}; {end}."
    return f"Here n {'≪' if much else '<'} m: {passes}; forward accumulation has fewer."


# ---- Lines of scalars ----


def _columns(d: Derivation) -> tuple[tuple[Column, ...], tuple[SlideRow, ...]]:
    definitions = d.decomposition.definitions
    places = {definition.variable: k for k, definition in enumerate(definitions)}
    columns, cells = [], []
    for p in d.forward:
        columns.append(_column(p, d))
        cells.append(_pass(p, d, [places[s.derivative.of] for s in p.steps], len(definitions)))
    columns.append(Column("decomposition", "Decomposition", Written(), "down"))
    rows = tuple(zip(*(decomposition(d.decomposition, notation).rows for notation in (TEXT, LATEX)), strict=True))
    cells.append([_cell(text, latex) for text, latex in rows[: len(definitions)]])
    for p in d.reverse:
        columns.append(_column(p, d))
        cells.append(_pass(p, d, [places[s.derivative.by] for s in p.steps], len(definitions)))
    return tuple(columns), tuple(
        SlideRow(_written(definition.variable), row, definition.location, k < len(d.independents))
        for k, (definition, row) in enumerate(zip(definitions, zip(*cells, strict=True), strict=True))
    )


def _column(p: Pass, d: Derivation) -> Column:
    heading, reads = ("Forward", "down") if p.mode == "forward" else ("Reverse", "up")
    seed, total = _written(p.seed), "d" if d.chain else "∂"
    any_u = "v" if str(d.decomposition.definitions[0].variable).startswith("v") else "u"
    texts = [
        notation.ratio(any_u, one, total) if p.mode == "forward" else notation.ratio(one, any_u, total)
        for notation, one in ((TEXT, seed.text), (LATEX, seed.latex))
    ]
    return Column(p.mode, f"{heading} pass {p.number}", seed, reads, Written(*texts))


def _pass(p: Pass, d: Derivation, places: Sequence[int], length: int) -> list[Cell | None]:
    cells: list[Cell | None] = [None] * length
    for place, s in zip(places, p.steps, strict=True):
        text, latex = (step(s, d, notation) for notation in (TEXT, LATEX))
        cells[place] = _cell(text, latex, bool(s.terms), is_zero=s.in_u == (), is_seed=s.seed == 1)
    return cells


def _cell(text: Row, latex: Row, ruled: bool = False, is_zero: bool = False, is_seed: bool = False) -> Cell:
    formulas = text.equals[ruled:]
    if not formulas:  # too long to be written, or a seed
        formula = Written(TEXT.number(text.value)[0], LATEX.number(text.value)[0])
    elif not ruled:
        formula = Written(" = ".join(text.equals), " = ".join(latex.equals))
    else:
        last = len(formulas) - 1
        chosen = last if len(formulas[last]) <= WIDEST_CELL else min(range(last + 1), key=lambda k: len(formulas[k]))
        formula = Written(formulas[chosen], latex.equals[ruled:][chosen])
    return Cell(
        name=Written(text.left, latex.left),
        rule=Written(text.equals[0], latex.equals[0]) if ruled else Written(),
        formula=formula,
        value=text.value,
        shown=Written(value_of(text, TEXT), value_of(latex, LATEX)) if formulas else Written(),
        is_zero=is_zero,
        is_seed=is_seed,
    )


def _written(expression: Any) -> Written:
    return Written(TEXT.expression(expression), LATEX.expression(expression))


# ---- Lines of arrays ----


def _columns_of_arrays(d: ArrayDerivation) -> tuple[tuple[Column, ...], tuple[SlideRow, ...]]:
    """Lay the lines of arrays out: one column of tangents, one of adjoints, shapes in the place of values."""
    columns = [Column("decomposition", "Decomposition", Written(), "down")]
    cells: list[list[Cell | None]] = [[_definition(one) for one in d.definitions]]
    variables = [one.variable.write(TEXT) for one in d.definitions]
    if d.tangents:
        seeds = tuple(Tangent(argument).write(TEXT) for argument in d.arguments)
        latex = tuple(Tangent(argument).write(LATEX) for argument in d.arguments)
        columns.insert(
            0,
            Column("forward", "Forward pass", Written(", ".join(seeds), ", ".join(latex)), "down", Written("du", "du")),
        )
        steps = {_variable(one.derivative): _array_step(one) for one in d.tangents}
        cells.insert(0, [steps.get(variable) for variable in variables])
    if d.adjoints:
        seed = _matrix(Adjoint(d.result)) if not d.with_one_number else Written(d.result, LATEX.name(d.result))
        adjoint = Ratio(Name(d.result), Name("u")) if d.with_one_number else Adjoint("u")
        columns.append(Column("reverse", "Reverse pass", seed, "up", _matrix(adjoint)))
        steps = {_variable(one.derivative): _array_step(one) for one in d.adjoints}
        cells.append([steps.get(variable) for variable in variables])
    constants = {one.variable for one in d.definitions if one.location is None} - {*d.arguments}
    return tuple(columns), tuple(
        SlideRow(_matrix(one.variable), row, one.location, one.location is None and one.variable not in constants)
        for one, row in zip(d.definitions, zip(*cells, strict=True), strict=True)
    )


def _variable(derivative: Matrix) -> str:
    """Return the variable whose tangent or adjoint a derivative is."""
    if isinstance(derivative, (Ratio, Tangent)):
        return (derivative.by if isinstance(derivative, Ratio) else derivative.of).write(TEXT)
    return derivative.name if isinstance(derivative, Adjoint) else ""


def _definition(one: Definition) -> Cell:
    formula = Written(*(" = ".join(part.write(n) for part in (one.formula, *one.results)) for n in (TEXT, LATEX)))
    return Cell(_matrix(one.variable), Written(), formula, None, _matrix(one.shape))


def _array_step(one: ArrayStep) -> Cell:
    formula = _matrix(one.formula)
    return Cell(
        name=_matrix(one.derivative),
        rule=Written(),
        formula=formula,
        value=None,
        shown=_matrix(one.shape),
        is_zero=formula.text == "0",
        is_seed=formula.text == "1",
    )


def _matrix(formula: Matrix | None) -> Written:
    return Written() if formula is None else Written(formula.write(TEXT), formula.write(LATEX))
