"""All that a page shows, gathered from a derivation as one document of JSON.

Formulas are MathML, each once, in a list that the rest refers to by number.  The browser adds what changes: values at
other inputs, the steps that have been taken, the eliminations that a reader tries.

>>> import numpy as np, wengert as wg
>>> e = wg.explain(lambda x: np.array([x[0] * np.log(x[1])]))(np.array([3.0, 0.5]))
>>> page = contents(e.derivation, e.program, (np.array([3.0, 0.5]),))
>>> [vertex["text"] for vertex in page["scalars"]["vertices"]], page["scalars"]["edges"][0]["ends"]
(['u_{-1}', 'u_0', 'u_1', 'u_2'], (1, 2))
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from wengert.accumulation.coloring import Coloring
from wengert.accumulation.compressed import Compression
from wengert.accumulation.elimination.graph import Graph, members
from wengert.accumulation.elimination.portfolio import best_of, portfolio
from wengert.control.loop import Loop
from wengert.control.revolve import Advance, Restore, Reverse, Store, first_sweep, reversal
from wengert.drawing import css
from wengert.errors import DegenerateError, Location, SizeError, UnsupportedError
from wengert.explanation.array_document import compose_arrays
from wengert.explanation.array_steps import ArrayDerivation, ArrayStep
from wengert.explanation.derivation import derive
from wengert.explanation.document import Block, Heading, Sentence, compose, value_of
from wengert.explanation.notation import LATEX, TEXT
from wengert.explanation.page.excerpts import excerpts, function_of
from wengert.explanation.page.mathml import convert, words
from wengert.explanation.page.operations import as_json, operations
from wengert.explanation.slide import Cell, slide_of
from wengert.explanation.steps import Derivation, Expr, Formula, Pass
from wengert.jacobians import TooDenseError
from wengert.linearization import Linearization
from wengert.memory import in_bytes
from wengert.passes.scalarization import can_scalarize, scalar_lines, scalarize
from wengert.planning import Plan
from wengert.planning.candidates import COUNTED
from wengert.planning.compressions import JACOBIAN_COMPRESSIONS, compressions_of, find_pattern
from wengert.planning.machine import in_seconds
from wengert.program import Program
from wengert.tracing import IGNORING, under

MOST_SCALARS = 300
"""A function of so many scalar lines is shown scalar by scalar, beside the arrays that it may be explained by."""
MOST_VARIABLES = 40
"""A function of more independent and dependent variables, together, is shown by its array lines alone."""
MOST_DERIVED = 600
"""A function that is explained by its arrays has formulas of scalar passes up to so many steps; else numbers alone."""
MOST_STEPS = 3000
"""So many steps of passes have their formulas; those of further passes have their chain rule and their numbers."""
MOST_ORDERED = 120
"""The number of intermediate variables up to which all orders of elimination are compared in a page."""
MOST_DRAWN = 128
"""A pattern of more rows or columns is drawn as an image of blocks."""
MOST_COLORS = 64
"""The colors that are told apart in a drawing; further passes take them again."""
MOST_ENTRIES = 1 << 20
"""A pattern of more entries is not sought."""
MOST_ACTIONS = 600
"""The actions of a schedule of checkpoints that are drawn at most."""


def contents(derivation: Derivation | ArrayDerivation, program: Program, point: Sequence[Any]) -> dict[str, Any]:
    """Return what the page of a derivation shows; `program` is what was derived, at the `point`."""
    # what lies outside a domain is shown as inf or nan; tracing has warned of it
    return under(IGNORING, lambda: _contents(derivation, program, point))  # type: ignore[no-any-return]


def _contents(derivation: Derivation | ArrayDerivation, program: Program, point: Sequence[Any]) -> dict[str, Any]:
    formulas = Formulas()
    is_scalar = isinstance(derivation, Derivation)
    scalars = derivation if isinstance(derivation, Derivation) else None
    scalar_program = program
    if scalars is None and _is_readable(program):
        scalar_program = scalarize(program, *point)
        steps = (len(scalar_program.lines) + derivation.plan.n) * (derivation.plan.n + derivation.plan.m)
        scalars = derive(scalar_program, point, derivation.plan, "both" if steps <= MOST_DERIVED else "none")
    blocks = compose(derivation, LATEX) if isinstance(derivation, Derivation) else compose_arrays(derivation, LATEX)
    locations: list[Location | None] = [definition.location for definition in _definitions(derivation)]
    plan = derivation.plan
    return {
        "name": derivation.name,
        "n": plan.n,
        "m": plan.m,
        "opening": _paragraphs(blocks[: _first_heading(blocks)]),
        "comparison": _paragraphs(_last_part(blocks)),
        "slide": _slide(derivation, formulas),
        "excerpts": excerpts(locations),
        "scalars": None if scalars is None else _scalars(scalars, scalar_program, point, formulas),
        "arrays": None if is_scalar else _arrays(derivation, formulas),  # type: ignore[arg-type]
        "blocks": [] if is_scalar else _blocks(blocks, formulas),
        "plan": _plan(plan),
        "sparsity": _sparsity(program, point),
        "loops": [loop for line in program.lines if isinstance(line.held, Loop) for loop in [_loop(line.held)]],
        "formulas": formulas.written,
    }


class Formulas:
    """The formulas of a page, each once."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, latex: str) -> int | None:
        """Return the number of a formula that is written in LaTeX; None for an empty one."""
        if not latex:
            return None
        if latex not in self._numbers:
            self._numbers[latex] = len(self.written)
            self.written.append(convert(latex))
        return self._numbers[latex]

    def expression(self, expression: Expr) -> int | None:
        """Return the number of an expression of SymPy's."""
        return self.number(LATEX.expression(expression))


def _is_readable(program: Program) -> bool:
    if not can_scalarize(program) or any(var.dtype.kind == "c" for line in program.lines for var in line.outputs):
        return False
    variables = sum(var.size for var in program.inputs) + sum(int(np.prod(r.shape, dtype=int)) for r in program.results)
    return variables <= MOST_VARIABLES and scalar_lines(program) <= MOST_SCALARS


def _definitions(derivation: Derivation | ArrayDerivation) -> Sequence[Any]:
    return derivation.decomposition.definitions if isinstance(derivation, Derivation) else derivation.definitions


# ---- Words ----


def _first_heading(blocks: Sequence[Block]) -> int:
    return next(k for k, block in enumerate(blocks) if isinstance(block, Heading) and block.level > 1)


def _last_part(blocks: Sequence[Block]) -> Sequence[Block]:
    return blocks[max(k for k, block in enumerate(blocks) if isinstance(block, Heading)) + 1 :]


def _paragraphs(blocks: Iterable[Block]) -> list[str]:
    return [words(block.words) for block in blocks if isinstance(block, Sentence)]


def _blocks(blocks: Sequence[Block], formulas: Formulas) -> list[dict[str, Any]]:
    """Write headings, sentences and equations; the title and the last part, which are shown elsewhere, are left out."""
    written: list[dict[str, Any]] = []
    for block in blocks[_first_heading(blocks) : len(blocks) - len(_last_part(blocks)) - 1]:
        if isinstance(block, Heading):
            written.append({"heading": words(block.words), "level": block.level})
        elif isinstance(block, Sentence):
            written.append({"words": words(block.words)})
        else:
            written.append({"rows": [_row(row, formulas) for row in block.rows]})
    return written


def _row(row: Any, formulas: Formulas) -> dict[str, Any]:
    value = value_of(row, LATEX)
    return {
        "left": formulas.number(row.left),
        "equals": [formulas.number(part) for part in row.equals],
        "value": formulas.number(value),
        "shape": formulas.number(row.shape),
        "note": row.note,
    }


# ---- The slide ----


def _slide(derivation: Derivation | ArrayDerivation, formulas: Formulas) -> dict[str, Any]:
    slide, is_scalar = slide_of(derivation), isinstance(derivation, Derivation)

    def cell(cell: Cell | None) -> Any:
        return cell and {
            "formula": formulas.number(cell.formula.latex),
            "shown": None if is_scalar else formulas.number(cell.shown.latex),  # of scalars the browser computes it
            "zero": cell.is_zero,
        }

    return {
        "columns": [
            {
                "kind": c.kind,
                "heading": c.heading,
                "seed": formulas.number(c.seed.latex),
                "reads": c.reads,
                "pass": number,
            }
            for c, number in zip(slide.columns, _numbers(derivation), strict=True)
        ],
        "rows": [
            {
                "variable": formulas.number(row.variable.latex),
                "cells": list(map(cell, row.cells)),
                "independent": row.is_independent,
            }
            for row in slide.rows
        ],
        "counts": slide.counts,
        "sentence": slide.sentence,
    }


def _numbers(derivation: Derivation | ArrayDerivation) -> list[int]:
    """Return the number, from 0, of the pass in each column of the slide; the decomposition has none, 0."""
    if isinstance(derivation, Derivation):
        return [p.number - 1 for p in derivation.forward] + [0] + [p.number - 1 for p in derivation.reverse]
    return [0] * len(slide_of(derivation).columns)


# ---- Lines of scalars ----


def _scalars(d: Derivation, program: Program, point: Sequence[Any], formulas: Formulas) -> dict[str, Any]:
    places = {definition.variable: k for k, definition in enumerate(d.decomposition.definitions)}
    rows, graph = operations(program, point)
    ends = [(places[edge.derivative.by], places[edge.derivative.of]) for edge in d.edges]
    numbers = {pair: k for k, pair in enumerate(ends)}
    results = {y: k for k, definition in enumerate(d.decomposition.definitions) for y in definition.results}
    constants = dict(d.decomposition.constants)
    steps = [MOST_STEPS]
    return {
        "chain": d.chain,
        "vertices": [
            {
                "name": formulas.expression(definition.variable),
                "text": TEXT.expression(definition.variable),
                "formula": formulas.number(_formula(definition)),
                "results": [formulas.expression(y) for y in definition.results],
                "value": as_json(definition.value),
                "real": definition.variable.is_real is True,
                **_place(definition.location),
            }
            for definition in d.decomposition.definitions
        ],
        "edges": [
            {
                "ends": pair,
                "formula": formulas.expression(edge.formula),
                "text": TEXT.expression(edge.formula),
                "value": as_json(edge.value),
            }
            for edge, pair in zip(d.edges, ends, strict=True)
        ],
        "inputs": [
            {"name": formulas.expression(x), "text": TEXT.expression(x), "value": as_json(d.values[x])}
            for x in d.independents
        ],
        "outputs": [
            {
                "name": formulas.expression(y),
                "text": TEXT.expression(y),
                "vertex": results.get(y),
                "constant": as_json(constants[y]) if y in constants else None,
            }
            for y in d.dependents
        ],
        "jacobian": [[_of_entry(e.formula, d, formulas) for e in row] for row in d.jacobian],
        "forward": {
            p.number - 1: _pass(p, d, places, lambda step: step.derivative.of, steps, formulas) for p in d.forward
        },
        "reverse": {
            p.number - 1: _pass(p, d, places, lambda step: step.derivative.by, steps, formulas) for p in d.reverse
        },
        "conditions": [words(block) for block in _conditions(d)],
        "operations": {
            **{name: rows[name] for name in ("lines", "values", "guards")},
            "partials": [rows["partials"].get(f"{a},{b}", [0]) for a, b in numbers],
        },
        "elimination": _elimination(graph, len(places)),
    }


def _formula(definition: Any) -> str:
    if definition.operator:
        return LATEX.operation(definition.operator, *map(LATEX.expression, definition.operands))
    return LATEX.expression(definition.formula)


def _place(location: Location | None) -> dict[str, Any]:
    if location is None:
        return {"file": "", "line": None, "columns": None, "code": ""}
    return {
        "file": os.path.basename(location.file),
        "line": location.line,
        "columns": location.columns,
        "code": location.segment,
    }


def _of_entry(formula: Formula | None, d: Derivation, formulas: Formulas) -> int | None:
    return None if formula is None else formulas.number(LATEX.formula(formula, d.names))


def _pass(
    p: Pass, d: Derivation, places: Any, variable: Callable[[Any], Expr], left: list[int], formulas: Formulas
) -> dict[int, list[int | None]]:
    """Return for each variable its formulas in the intermediate and in the independent variables, while they last."""
    left[0] -= len(p.steps)
    if left[0] < 0:
        return {}
    return {
        places[variable(step)]: [
            None if step.in_u is None or step.repeated else formulas.number(LATEX.formula(step.in_u, d.names)),
            None if step.in_x is None else formulas.number(LATEX.formula(step.in_x, d.names)),
        ]
        for step in p.steps
    }


def _conditions(d: Derivation) -> list[str]:
    opening = compose(d, LATEX)[2:3] if d.conditions else []
    return [block.words for block in opening if isinstance(block, Sentence)]


# ---- Elimination ----


def _elimination(graph: Graph, variables: int) -> dict[str, Any] | None:
    """Return the graph and the orders that a reader's own elimination is compared with."""
    if not graph.interior or len(graph.interior) > MOST_ORDERED:
        return None
    eliminations = portfolio(graph)
    chosen = best_of(eliminations)
    return {
        "edges": [
            [source, target, bool(graph.units_after[source] >> target & 1)]
            for source in range(len(graph.after))
            for target in members(graph.after[source])
        ],
        "copies": {str(copy): vertex for vertex, copy in graph.copy_of.items()},
        "size": max(variables, len(graph.after)),
        "interior": list(graph.interior),
        "orders": [
            {"name": e.name, "order": e.order, "counts": list(e.counts), "chosen": e.name == chosen.name}
            for e in eliminations.values()
        ],
    }


# ---- Lines of arrays ----


def _arrays(d: ArrayDerivation, formulas: Formulas) -> dict[str, Any]:
    names = [definition.variable.write(TEXT) for definition in d.definitions]
    places = {name: k for k, name in enumerate(names)}
    groups = _groups([definition.location for definition in d.definitions])

    def steps(steps: Sequence[ArrayStep]) -> list[dict[str, int | None]]:
        lines = [_line_of(_variable(step.derivative), names) for step in steps]
        return [
            {
                "vertex": places[line],
                "name": formulas.number(step.derivative.write(LATEX)),
                "rule": formulas.number(step.formula.write(LATEX)),
                "shape": formulas.number(step.shape.write(LATEX)),
            }
            for line, step in zip(lines, steps, strict=True)
            if line in places
        ]

    return {
        "vertices": [
            {
                "name": formulas.number(definition.variable.write(LATEX)),
                "text": name,
                "formula": formulas.number(definition.formula.write(LATEX)),
                "shape": formulas.number("" if definition.shape is None else definition.shape.write(LATEX)),
                "results": [formulas.number(result.write(LATEX)) for result in definition.results],
                "group": group,
                **_place(definition.location),
            }
            for name, definition, group in zip(names, d.definitions, groups, strict=True)
        ],
        "forward": steps(d.tangents),
        "reverse": steps(d.adjoints),
        "edges": [
            {
                "ends": [places[edge.by.write(TEXT)], places[of]],
                "formula": formulas.number("" if edge.formula is None else edge.formula.write(LATEX)),
                "structure": edge.structure,
            }
            for edge in d.edges
            for of in [_line_of(edge.of.write(TEXT), names)]
            if of in places and edge.by.write(TEXT) in places
        ],
    }


def _variable(derivative: Any) -> str:
    """Return the variable whose tangent or adjoint a derivative is."""
    variable = getattr(derivative, "by", None) or getattr(derivative, "of", None)
    return str(derivative.name if variable is None else variable.write(TEXT))


def _line_of(name: str, names: Sequence[str]) -> str:
    """Return the left side of the definition of a variable: that of its line, which may have several results."""
    return next((left for left in names if name in left.split(", ")), name)


def _groups(locations: Sequence[Location | None]) -> list[str]:
    """Return for each line what it is folded with: a function of the source, and how often that has been gone through.

    A turn begins where the lines of a function go back, in a loop, or come again after those of another function.
    """
    groups, turns, lines = [], dict[str, int](), dict[str, int]()
    before = ""
    for location in locations:
        if location is None:
            groups.append("")
            continue
        name = function_of(location) or location.text
        line, last = location.line, lines.get(name, 0)
        turns[name] = turns.get(name, 0) + (name not in lines or line < last or (line == last and before != name))
        lines[name], before = line, name
        groups.append(f"{name}, turn {turns[name]}")
    return groups


# ---- The plan ----


def _plan(plan: Plan) -> dict[str, Any]:
    return {
        "columns": ["order", "passes", "products", *COUNTED.values(), "memory", "predicted time"],
        "rows": [
            {
                "name": candidate.name,
                "chosen": candidate.name == plan.chosen,
                "cells": [
                    f"{candidate.passes:,}",
                    f"{candidate.products:,}",
                    *[f"{getattr(candidate.cost, kind):,}" for kind in COUNTED],
                    in_bytes(candidate.bytes),
                    in_seconds(candidate.seconds),
                ],
            }
            for candidate in plan.values()
        ],
        "edges": plan.edges,
        "reason": plan.reason,
        "notes": list(plan.notes),
    }


# ---- Sparsity ----


def _sparsity(program: Program, point: Sequence[Any]) -> dict[str, Any] | None:
    """Return the pattern of the Jacobian and its compressions; None where it is full, or cannot be found."""
    linearization = Linearization.of_program(program, *point)
    try:
        sparsity = find_pattern(linearization, most=MOST_ENTRIES)
    except (DegenerateError, SizeError, UnsupportedError, TooDenseError):
        return None
    if sparsity is None or sparsity.pattern.nnz in (0, int(np.prod(sparsity.pattern.shape))):
        return None
    pattern = sparsity.pattern
    compressions = [compressions_of(linearization, pattern)[name] for name in JACOBIAN_COMPRESSIONS]
    drawn = max(pattern.shape) <= MOST_DRAWN
    most = max(compression.passes for compression in compressions)
    return {
        "shape": list(pattern.shape),
        "entries": int(pattern.nnz),
        "rows": np.repeat(np.arange(pattern.shape[0]), np.diff(pattern.indptr)).tolist() if drawn else None,
        "columns": pattern.indices.tolist() if drawn else None,
        "compressions": [_compression(compression, drawn) for compression in compressions],
        "colors": [css(k) for k in range(min(MOST_COLORS, most))],
    }


def _compression(compression: Compression, drawn: bool) -> dict[str, Any]:
    """Return the colors of a compression, and the pass in which each entry is read; of a large one a drawing."""

    def colors(coloring: Coloring | None) -> list[int] | None:
        return None if coloring is None or not drawn else coloring.colors.tolist()

    return {
        "name": compression.name,
        "words": str(compression),
        "columns": colors(compression.columns),
        "rows": colors(compression.rows),
        "passes": compression.passes_of_entries.tolist() if drawn else None,
        "forward": compression.forward_passes,
        "reverse": compression.reverse_passes,
        "image": None if drawn else compression.drawing()._repr_html_(),
    }


# ---- Loops in time ----


def _loop(loop: Loop) -> dict[str, Any]:
    """Return the steps of a loop, what is kept of them, and what a reverse sweep runs again, in the order of time."""
    kept, steps = loop.kept, loop.steps
    return {
        "name": loop.name,
        "steps": steps,
        "kind": kept.kind,
        "snapshots": min(kept.snapshots, steps),
        "reruns": kept.reruns(steps),
        "note": loop.note(),
        "first": list(first_sweep(steps, kept.snapshots)) if kept.kind == "snapshots" and steps else [],
        "actions": list(_actions(steps, kept.snapshots)) if kept.kind == "snapshots" and steps else [],
    }


def _actions(steps: int, snapshots: int) -> Iterable[list[Any]]:
    for number, action in enumerate(reversal(steps, snapshots)):
        if number == MOST_ACTIONS:
            return
        if isinstance(action, Advance):
            yield ["advance", action.start, action.stop]
        elif isinstance(action, (Store, Restore)):
            yield [type(action).__name__.lower(), action.state]
        elif isinstance(action, Reverse):
            yield ["reverse", action.step]
        else:
            yield ["discard", action.state]
