"""The Program that an elimination yields: straight-line code of a Jacobian, with no pass and no seed in it.

A function is written in scalar lines, its partials are recorded, and the vertices eliminated in the best order of the
portfolio.  A factor 1 or -1 costs nothing, a zero of structure leaves nothing behind, and what is computed twice is
computed once.

>>> import numpy as np, wengert as wg
>>> x = np.array([0.5, 2.0, 3.0])
>>> f = wg.trace(lambda x: np.array([x[0] * (x[1] - x[2]), x[2] * np.log(1 - x[0])]))(x)
>>> jacobian = eliminate(f, [x])
>>> jacobian.chosen.counts.products, jacobian.chosen.counts.unit_free
(4, 1)
>>> print(jacobian.blocks.listing(places=False))
x_1 = u_{-2}, x_2 = u_{-1}, x_3 = u_0
u_1 = u_{-1} - u_0  = dy/dx_{1,1}
u_2 = 1 - u_{-2}
u_3 = log(u_2)      = dy/dx_{2,3}
u_4 = 1 / u_2
u_5 = u_0 * u_4
u_6 = -u_{-2}       = dy/dx_{1,3}
u_7 = -u_5          = dy/dx_{2,1}
dy/dx_{1,2} = u_{-2}, dy/dx_{2,2} = 0
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wengert.accumulation.elimination.factors import ZERO, Factor
from wengert.accumulation.elimination.graph import Edge, Graph, Step
from wengert.accumulation.elimination.portfolio import Elimination, best_of, portfolio
from wengert.cost import Cost, cost
from wengert.errors import RawLocation, UnsupportedError
from wengert.jacobians import Diagonal
from wengert.linearization import Linearization, edges_by_operand
from wengert.passes.scalarization import has_scalar_form, scalar_lines, scalarize
from wengert.passes.simplification import renumber, simplify
from wengert.program import Packing, Program
from wengert.program.dataflow import live_lines
from wengert.tracing import Group, Traced, current_context, record

MOST_LINES = 4096
"""The number of scalar lines of a function up to which it is eliminated."""
MOST_PRODUCTS = 1 << 16
"""The number of products up to which a Program is written of them."""


@dataclass(frozen=True)
class JacobianProgram:
    """A Jacobian by elimination.

    Attributes
    ----------
    program
        Returns the results of the function, and then the blocks of the Jacobian: for each result one for each argument.
    blocks
        Returns the blocks alone.
    chosen, eliminations
        The order that is taken, and all that were counted.
    function, partials, products
        What the lines of `program` cost: the function, the partials, and the products and sums of these.
    kept
        The number of values that the function computes and other lines read.
    """

    program: Program
    blocks: Program
    chosen: Elimination
    eliminations: Mapping[str, Elimination]
    function: Cost
    partials: Cost
    products: Cost
    kept: int


def eliminate(
    program: Program,
    sample: Sequence[Any],
    active: int | None = None,
    milliseconds: float | None = None,
    convention: str | None = None,
    heuristic: Callable[[Graph], Sequence[Step]] | None = None,
) -> JacobianProgram:
    """Eliminate the intermediate variables of a Program, at a sample point where it holds.

    Parameters
    ----------
    sample
        A value of each argument.
    active
        The number of arguments to differentiate with respect to, the first ones; None for all.
    milliseconds
        How long to search for a better order; None for the orders by rule alone.
    convention
        How products are counted, ``"all"`` or ``"unit-free"``; None for both.
    heuristic
        The order to take, a function of the graph; None for the best of the portfolio.

    Raises
    ------
    UnsupportedError
        If a line has no form in real scalars, or there are too many.
    """
    check_lines(program)
    scalar = scalarize(program, *sample)
    with record(f"{program.name}_jacobian") as trace:
        for argument, value in zip(scalar.arguments, sample, strict=True):
            parts = [trace.input(part) for part in argument.unpack(value)]
            trace.arguments.append(Group(argument.name, argument.shape, argument.dtype, parts))
        linearization = Linearization.of_variables(scalar, [part for group in trace.arguments for part in group.parts])
        arguments = scalar.arguments[:active]
        partials = partials_of(linearization, sum([len(argument.atoms) for argument in arguments]))
        graph = graph_of(linearization, partials)
        if heuristic is None:
            eliminations = portfolio(graph, milliseconds, convention)
            chosen = best_of(eliminations, convention)
        else:
            order = heuristic(graph)
            chosen = Elimination("the order given", order, graph.count(order))
            eliminations = {chosen.name: chosen}
        check_products(program, chosen)
        rows = _multiply(graph, partials, chosen.order, {row[5]: row[4] for row in linearization.rows})
        values = _values(scalar.results, linearization)
        blocks = _blocks(scalar.results, arguments, linearization, rows)
        needed = [Group("c", (), c.value.dtype, [c.value]) for c in partials.values() if type(c.value) is Traced]
        trace.results += [*values, *blocks, *needed]
    return _counted(simplify(trace.program()), len(values), len(blocks), chosen, eliminations)


def _counted(
    written: Program, results: int, blocks: int, chosen: Elimination, eliminations: Mapping[str, Elimination]
) -> JacobianProgram:
    """Split a Program that returns results, blocks and partials by what its lines are for, and count the parts."""

    def returning(start: int, stop: int | None = None) -> Program:
        return replace(written, results=written.results[start:stop])

    def costs(keys: Iterable[int]) -> Cost:
        return cost(replace(written, lines=tuple([lines[key] for key in lines if key in keys])))

    lines = {id(line): line for line in written.lines}
    both = set(map(id, live_lines(returning(0, results + blocks))))
    function = set(map(id, live_lines(returning(0, results))))
    partials = both.intersection(map(id, live_lines(returning(results + blocks)))) - function
    read = {atom for key in both - function for atom in lines[key].inputs}
    return JacobianProgram(
        renumber(returning(0, results + blocks)),
        renumber(returning(results, results + blocks)),
        chosen,
        eliminations,
        costs(function),
        costs(partials),
        costs(both - function - partials),
        len(read.intersection([var for key in function for var in lines[key].outputs])),
    )


# ---- What can be eliminated ----


def check_lines(program: Program) -> None:
    """Raise UnsupportedError for a Program that cannot be written in scalars, or in too many."""
    for line in program.lines:
        if not has_scalar_form(line.primitive):
            raise UnsupportedError.at(
                line.place, f"{line.primitive.name} cannot be written in scalars, which an elimination needs:", INSTEAD
            )
        if any(var.dtype.kind == "c" for var in line.outputs):
            raise UnsupportedError.at(
                line.place, "an elimination multiplies real numbers, and here is a complex one:", INSTEAD
            )
    lines = scalar_lines(program)
    if lines > MOST_LINES:
        raise UnsupportedError(
            f"{program.name} has about {lines:,} scalar lines, and up to {MOST_LINES:,} can be eliminated.\n{INSTEAD}"
        )


def check_products(program: Program, chosen: Elimination) -> None:
    """Raise UnsupportedError if a Jacobian takes too many products for each to be a line."""
    if chosen.counts.products > MOST_PRODUCTS:
        raise UnsupportedError(
            f"the Jacobian of {program.name} takes {chosen.counts.products:,} products by elimination, and up to "
            f"{MOST_PRODUCTS:,} can be written as lines.\n{INSTEAD}"
        )


INSTEAD = 'Write mode="forward" or mode="reverse", or leave the mode out.'


# ---- Partials ----


Partials = dict[Edge, Factor]


def partials_of(linearization: Linearization, active: int) -> Partials:
    """Return the partials on the edges that lie on a path from one of the first so many variables to a result."""
    context = current_context()
    place = context.place
    moving = set(range(active))
    into: dict[int, dict[int, Factor]] = {}
    try:
        for row in linearization.rows:
            context.place = row[4]
            for k, target, J in edges_by_operand(row):
                source = row[1][k]
                if source in moving:
                    c = J.c if isinstance(J, Diagonal) else J.push(np.ones((), row[2][k + 1].dtype)[()])
                    factors = into.setdefault(target, {})
                    factors[source] = factors.get(source, ZERO) + Factor.of(c)
            factors = {u: c for u, c in into.pop(row[5], {}).items() if not c.is_zero}
            if factors:
                into[row[5]] = factors
                moving.add(row[5])
    finally:
        context.place = place
    needed = set(linearization.outputs)
    partials: Partials = {}
    for target in reversed(into):
        if target in needed:
            needed.update(into[target])
            partials.update({(source, target): c for source, c in into[target].items()})
    return partials


def graph_of(linearization: Linearization, partials: Partials) -> Graph:
    """Return the graph of the partials of a linearization."""
    count = len(linearization.inputs)
    targets = {target for _, target in partials}
    results = [position for position in dict.fromkeys(linearization.outputs) if position in targets]
    return Graph(count, {edge: c.is_unit for edge, c in partials.items()}, results)


# ---- The lines ----


def _multiply(
    graph: Graph, partials: Partials, order: Sequence[Step], places: Mapping[int, RawLocation | None]
) -> dict[int, dict[int, Factor]]:
    """Eliminate vertices in order; return for each result, by its position, the derivatives by position.

    A product has the place of the line that is eliminated.
    """
    context = current_context()
    place = context.place
    into: dict[int, dict[int, Factor]] = {}
    out_of: dict[int, set[int]] = {}
    unit = Factor(1, None)
    for (source, target), c in [*partials.items(), *[((v, copy), unit) for v, copy in graph.copy_of.items()]]:
        into.setdefault(target, {})[source] = c
        out_of.setdefault(source, set()).add(target)
    try:
        for step in order:
            v = step if isinstance(step, int) else step[1 if step[2] else 0]
            context.place = places[v]
            factors = into[v] if isinstance(step, int) or not step[2] else {step[0]: into[v][step[0]]}
            targets = out_of[v] if isinstance(step, int) or step[2] else {step[1]}
            for target in sorted(targets):
                there = into[target]
                c = there[v]
                for source, factor in factors.items():
                    there[source] = there.get(source, ZERO) + c * factor
                    out_of[source].add(target)
            gone = [(source, v) for source in factors] if isinstance(step, int) or step[2] else []
            gone += [(v, target) for target in targets] if isinstance(step, int) or not step[2] else []
            for source, target in gone:
                del into[target][source]
                out_of[source].discard(target)
            if not into[v] or not out_of[v]:
                for source in into.pop(v):
                    out_of[source].discard(v)
                for target in out_of.pop(v):
                    del into[target][v]
                into[v], out_of[v] = {}, set()
    finally:
        context.place = place
    copies = {copy: v for v, copy in graph.copy_of.items()}
    return {copies.get(v, v): factors for v, factors in into.items() if factors}


def _values(results: Sequence[Packing], linearization: Linearization) -> list[Group]:
    """Return the results of the function, as groups of a recording."""
    values = iter(linearization.values)
    return [Group(r.name, r.shape, r.dtype, [next(values) for _ in r.atoms]) for r in results]


def _blocks(
    results: Sequence[Packing],
    arguments: Sequence[Packing],
    linearization: Linearization,
    rows: Mapping[int, Mapping[int, Factor]],
) -> list[Group]:
    """Return the blocks of the Jacobian, of each result with respect to each argument."""
    positions = iter(linearization.outputs)
    blocks = []
    for result in results:
        theirs = [rows.get(p, {p: Factor(1, None)}) for p in itertools.islice(positions, len(result.atoms))]
        first = 0
        for argument in arguments:
            columns = range(first, first := first + len(argument.atoms))
            dtype = np.result_type(result.dtype, argument.dtype)
            entries = [row.get(column, ZERO).signed for row in theirs for column in columns]
            parts = [entry if type(entry) is Traced else dtype.type(entry) for entry in entries]
            name = f"d{result.name}/d{argument.name}"
            blocks.append(Group(name, result.shape + argument.shape, dtype, parts))
    return blocks
