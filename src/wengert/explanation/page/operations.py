"""The scalar program of a page: values and local partials as operations that a browser can run.

The rules themselves are run once on traced scalars; what they recorded, comparisons and choices included, is written as
rows ``[name, operand...]``.  An operand is the number of a variable, or a constant in a list of its own.  So the page
computes what the library computes, at any point of the branch that was traced.

>>> import numpy as np, wengert as wg
>>> rows, graph = operations(wg.trace(lambda x: np.log(1 - x))(0.5), (0.5,))
>>> rows["lines"], rows["partials"], graph.interior
([['subtract', [1], 0], ['log', 1], ['divide', [1], 1]], {'0,1': [-1], '1,2': 3}, (1,))
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.accumulation.elimination.graph import Graph
from wengert.accumulation.elimination.program import graph_of, partials_of
from wengert.jacobians import Diagonal
from wengert.linearization import Linearization, edges_by_operand
from wengert.program import Atom, Guard, Program, Var
from wengert.program.interpretation import values_of_inputs
from wengert.tracing import Group, innermost, record

Operand = int | list[float | str | bool]
"""The number of a variable, or a constant."""


def operations(program: Program, point: Sequence[Any]) -> tuple[dict[str, Any], Graph]:
    """Return the operations of a scalar Program and its local partials, and the graph that an elimination works on.

    Returns
    -------
    dict
        ``lines``: a row for each operation; the first variables are the inputs, and each row adds one.
        ``values``: where the value of each variable of the Program stands.
        ``partials``: where the local partial of each edge stands, by the numbers of the variables that it leads from
        and to.
        ``guards``: the decisions of the function, each where its value stands, and what it was.
    Graph
        Its vertices are the variables of the Program.
    """
    guards: list[tuple[Any, bool | int]] = []

    def remember(guard: Guard, value: Any) -> None:
        guards.append((value, guard.value))

    inputs = values_of_inputs(program, point)
    with record(program.name) as trace:
        variables = [trace.argument(str(k), value) for k, value in enumerate(inputs)]
        linearization = Linearization.of_variables(program, variables, remember)
        values: list[Any] = [*variables, *[None] * (linearization.size - len(variables))]
        partials: dict[tuple[int, int], Any] = {}
        for row in linearization.rows:
            values[row[5]] = row[2][0]
            for k, target, J in edges_by_operand(row):
                c = J.c if isinstance(J, Diagonal) else J.push(np.float64(1.0))
                edge = row[1][k], target
                partials[edge] = partials[edge] + c if edge in partials else c
        graph = graph_of(linearization, partials_of(linearization, len(variables)))
        for value in (*values, *partials.values(), *[value for value, _ in guards]):
            trace.results.append(Group("", (), np.dtype(float), [value]))
    written = trace.program()
    places: dict[Var, int] = {var: k for k, var in enumerate(written.inputs)}
    lines: list[list[Any]] = []
    for line in written.lines:
        (out,) = line.outputs
        name = line.params["dtype"].kind if line.primitive.name == "astype" else line.primitive.name
        lines.append([name, *[_operand(atom, places) for atom in line.inputs]])
        places[out] = len(places)
    results = iter([_operand(atom, places) for atom in written.outputs])
    rows = {
        "lines": lines,
        "values": [next(results) for _ in values],
        "partials": {f"{source},{target}": next(results) for source, target in partials},
        "guards": [[next(results), as_json(expected)] for _, expected in guards],
    }
    return rows, graph


def _operand(atom: Atom, places: dict[Var, int]) -> Operand:
    return places[atom] if isinstance(atom, Var) else [as_json(atom.value)]


def as_json(value: Any) -> float | str | bool:
    """Return a number as JSON has it: whole ones without a fraction, and what JSON lacks as a word.

    >>> as_json(np.float64(2.0)), as_json(-np.inf)
    (2, '-Infinity')
    """
    value = np.reshape(innermost(value), ())[()]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    number = float(value)
    if math.isnan(number):
        return "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    whole = number.is_integer() and abs(number) < 1e15 and (number != 0 or math.copysign(1, number) > 0)
    return int(number) if whole else number
