"""Folding: many steps with the same lines as one step, and what differs between them as slices that it is given.

Two steps are alike if they have the same lines on values of the same shapes, up to constants and to whole numbers in an
index: ``x[3]`` and ``x[4]``, ``0.1 * u`` and ``0.2 * u``.  What differs is stacked, and goes in by arguments more.

>>> import wengert as wg
>>> programs = [wg.trace(lambda x: x * scale)(1.0) for scale in (2.0, 3.0)]
>>> template = Template(programs[0])
>>> folded, arrays = template.fold([template.read(program) for program in programs])
>>> print(folded.listing(places=False), arrays)
x = u_{-1}, c_1 = u_0
u_1 = u_{-1} * u_0  = y [array([2., 3.])]
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.passes.simplification import numbered
from wengert.primitives.numpy import elementwise as e
from wengert.primitives.numpy.structural import getitem, setitem
from wengert.program import Constant, Guard, Line, Operand, Packing, Program, Var
from wengert.program.structure import same, structure
from wengert.tracing import Row, Trace

INDEXED = (getitem, setitem)


class Template:
    """The lines of one step as a pattern.

    A *place* is where steps may differ: a constant operand, a whole number in an index, the whole number that a
    decision was taken on, a constant result.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self._structure = structure(program)
        self._fixed, self._headings = _fixed_places(program), _headings(program)

    def read(self, program: Program) -> list[Any] | None:
        """Return the values of another step at all places; None if it is not alike."""
        mine, other = self._structure, structure(program)
        if mine is None or other is None:
            return None
        inputs, lines = mine.key
        more_inputs, other_lines = other.key
        if other_lines != lines or more_inputs[: len(inputs)] != inputs:
            return None
        if self._headings != _headings(program):
            return None
        if not all(same(mine.particulars[k], other.particulars[k]) for k in self._fixed):
            return None
        return other.particulars

    def fold(self, rows: Sequence[Sequence[Any]], position: int | None = None) -> tuple[Program, list[Any]]:
        """Return the Program with an argument for each place at which the rows differ, and the stacked values there.

        The arguments come before the own one at position `at`, or last.
        """
        program = self.program
        first = rows[0]
        varying = [k for k in range(len(first)) if not all(same(first[k], row[k]) for row in rows)]
        place = iter(range(len(first)))
        variables: dict[int, Var] = {}
        arrays: list[Any] = []
        if position is None:
            position = len(program.arguments)

        def new(k: int, dtype: Any = None) -> Var:
            values = np.stack([np.asarray(row[k], dtype) for row in rows])
            arrays.append(values)
            variables[k] = var = Var(0, values.shape[1:], values.dtype)
            return var

        def atom(a: Any, line: Line | None) -> Any:
            if isinstance(a, Var):
                return a
            k = next(place)
            return new(k, dtype_of(a.value, line)) if k in varying else a

        lines = []
        for line in program.lines:
            inputs = [atom(a, line) for a in line.inputs]
            params = dict(line.params)
            if line.primitive in INDEXED and "index" in params:
                index = list(params["index"])
                for n, item in enumerate(index):
                    if type(item) is int:
                        k = next(place)
                        if k in varying:
                            fixed = 1 if line.primitive is getitem else 2
                            index[n] = Operand(len(inputs) - fixed)
                            inputs.append(new(k, np.int64))
                params["index"] = tuple(index)
            else:
                list(itertools.islice(place, _places_inside(line)))  # they are the same in all steps
            lines.append(Line(line.primitive, tuple(inputs), line.outputs, params, line.place))
        guards = []
        tests: list[Line] = []
        for g in program.guards:
            k = -1 if type(g.value) is bool else next(place)
            if k not in varying:
                guards.append(g)
                continue
            agrees = Var(0, (), np.dtype(bool))
            tests.append(Line(e.equal, (g.var, new(k, np.int64)), (agrees,), {}, g.place))
            guards.append(Guard(agrees, True, g.place))
        results = tuple(
            Packing(r.name, r.shape, r.dtype, tuple(atom(a, None) for a in r.atoms)) for r in program.results
        )
        more = [Packing(f"c_{n}", v.shape, v.dtype, (v,)) for n, v in enumerate(variables.values(), 1)]
        arguments = [*program.arguments[:position], *more, *program.arguments[position:]]
        return numbered(
            Program(program.name, tuple(arguments), tuple(lines + tests), results, tuple(guards), False)
        ), arrays


def _headings(program: Program) -> list[str]:
    """Return how the loops and branches of a step ran: of other branches, other steps are shown."""
    return [line.held.heading() for line in program.lines if line.held is not None]


def _fixed_places(program: Program) -> list[int]:
    """Return the places at which steps must agree: in loops inside, and in an index of other lines than `INDEXED`."""
    fixed: list[int] = []
    place = 0
    for line in program.lines:
        place += sum(isinstance(a, Constant) for a in line.inputs)
        count = _places_inside(line)
        if line.primitive not in INDEXED:
            fixed += range(place, place + count)
        place += count
    return fixed


def _places_inside(line: Line) -> int:
    """Count the places in what a line holds, or in its index."""
    inner = None if line.held is None else line.held.structure()
    return sum(type(item) is int for item in line.params.get("index", ())) if inner is None else len(inner[1])


def dtype_of(value: Any, line: Line | None) -> Any:
    """Return the dtype in which a number of Python's takes part in a line: it gives way to that of the others."""
    if type(value) not in (int, float, complex) or line is None or not line.primitive.elementwise:
        return None
    dtypes: list[Any] = []
    for a in line.inputs:
        if isinstance(a, Var):
            dtypes.append(a.dtype)
        elif type(a.value) not in (int, float, complex):
            dtypes.append(np.asarray(a.value).dtype)
    return np.result_type(*dtypes, value) if dtypes else None


def same_rows(one: Trace, other: Trace) -> bool:
    """Return whether two traces are the same row by row, constants, decisions and results with them."""
    a, b = one.tape, other.tape
    if len(a.rows) != len(b.rows) or len(a.guards) != len(b.guards):
        return False
    if not all(map(_same_row, a.rows, b.rows)):
        return False
    for (position, decision, _), (its_position, its_decision, _) in zip(a.guards, b.guards, strict=True):
        if position != its_position or type(decision) is not type(its_decision) or decision != its_decision:
            return False
    parts, others = ([part for group in trace.results for part in group.parts] for trace in (one, other))
    if len(parts) != len(others):
        return False
    for part, its in zip(parts, others, strict=True):
        position = one.position(part)
        if position != other.position(its):
            return False
        if position < 0 and not same(one.value(part), other.value(its)):
            return False
    return True


def _same_row(row: Row, other: Row) -> bool:
    primitive, parents, kept, params, _, out = row
    its_primitive, its_parents, its_kept, its_params, _, its_out = other
    if primitive is not its_primitive or parents != its_parents or out != its_out:
        return False
    if type(out) is tuple:
        if any(y.shape != z.shape or y.dtype != z.dtype for y, z in zip(kept[0], its_kept[0], strict=True)):
            return False
    elif kept[0].shape != its_kept[0].shape or kept[0].dtype != its_kept[0].dtype:
        return False
    if -1 in parents:
        for parent, value, its in zip(parents, kept[1:], its_kept[1:], strict=True):
            if parent < 0 and not same(value, its):
                return False
    return params is its_params or (
        params.keys() == its_params.keys() and all(same(value, its_params[name]) for name, value in params.items())
    )
