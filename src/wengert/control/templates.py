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

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.control.holding import Holding
from wengert.passes.simplification import numbered
from wengert.primitives.numpy import elementwise as e
from wengert.primitives.numpy.structural import getitem, setitem
from wengert.program import Constant, Guard, Line, Operand, Packing, Program, Var
from wengert.tracing import Trace

INDEXED = (getitem, setitem)


class Template:
    """The lines of one step as a pattern.

    A *place* is where steps may differ: a constant operand, a whole number in an index, the whole number that a
    decision was taken on, a constant result.
    """

    def __init__(self, program: Program) -> None:
        self.program = program

    def read(self, program: Program) -> list[Any] | None:
        """Return the values of another step at all places; None if it is not alike."""
        mine = self.program
        if len(mine.lines) != len(program.lines) or len(mine.guards) != len(program.guards):
            return None
        if len(mine.inputs) > len(program.inputs):
            return None
        numbers: dict[Any, Any] = dict(zip(mine.inputs, program.inputs, strict=False))
        found: list[Any] = []

        def same(p: Any, q: Any) -> bool:
            if isinstance(p, Var):
                return numbers.get(p) is q
            if not isinstance(q, Constant) or not alike(p.value, q.value):
                return False
            found.append(q.value)
            return True

        for p, q in zip(mine.lines, program.lines, strict=True):
            if p.primitive is not q.primitive or len(p.inputs) != len(q.inputs) or len(p.outputs) != len(q.outputs):
                return None
            if not all(same(a, b) for a, b in zip(p.inputs, q.inputs, strict=True)):
                return None
            for a, b in zip(p.outputs, q.outputs, strict=True):
                if a.shape != b.shape or a.dtype != b.dtype:
                    return None
                numbers[a] = b
            if p.params.keys() != q.params.keys():
                return None
            for name, value in p.params.items():
                if name == "index" and p.primitive in INDEXED:
                    numbers_in = _numbers_of(value, q.params[name])
                    if numbers_in is None:
                        return None
                    found += numbers_in
                elif not same_value(value, q.params[name]):
                    return None
        for g, h in zip(mine.guards, program.guards, strict=True):
            if numbers.get(g.var) is not h.var or type(g.value) is not type(h.value):
                return None
            if type(g.value) is bool:
                if g.value != h.value:
                    return None
            else:
                found.append(h.value)
        if len(mine.outputs) != len(program.outputs):
            return None
        return found if all(same(a, b) for a, b in zip(mine.outputs, program.outputs, strict=True)) else None

    def fold(self, rows: Sequence[Sequence[Any]], at: int | None = None) -> tuple[Program, list[Any]]:
        """Return the Program with an argument for each place at which the rows differ, and the stacked values there.

        The arguments come before the own one at position `at`, or last.
        """
        program = self.program
        first = rows[0]
        varying = [k for k in range(len(first)) if not all(same_value(first[k], row[k]) for row in rows)]
        place = iter(range(len(first)))
        variables: dict[int, Var] = {}
        arrays: list[Any] = []
        own = len(program.arguments)
        position = own if at is None else at

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


def alike(a: Any, b: Any) -> bool:
    """Tell whether two constants are of one kind: type, shape, dtype."""
    return type(a) is type(b) and np.shape(a) == np.shape(b) and getattr(a, "dtype", None) == getattr(b, "dtype", None)


def _numbers_of(index: tuple[Any, ...], other: tuple[Any, ...]) -> list[int] | None:
    """Return the whole numbers of another index that is alike; None if it is not."""
    if len(index) != len(other):
        return None
    found: list[int] = []
    for a, b in zip(index, other, strict=True):
        if type(a) is int and type(b) is int:
            found.append(b)
        elif not same_value(a, b):
            return None
    return found


def dtype_of(value: Any, line: Line | None) -> Any:
    """Return the dtype in which a number of Python's takes part in a line: it gives way to that of the others."""
    if type(value) not in (int, float, complex) or line is None or not line.primitive.elementwise:
        return None
    known: list[Any] = []
    for a in line.inputs:
        if isinstance(a, Var):
            known.append(a.dtype)
        elif type(a.value) not in (int, float, complex):
            known.append(np.asarray(a.value).dtype)
    return np.result_type(*known, value) if known else None


def same_rows(one: Trace, other: Trace) -> bool:
    """Tell whether two traces are the same row by row, constants, decisions and results with them."""
    a, b = one.tape, other.tape
    if len(a.rows) != len(b.rows) or len(a.guards) != len(b.guards):
        return False
    for (primitive, parents, kept, params, _, out), row in zip(a.rows, b.rows, strict=True):
        if primitive is not row[0] or parents != row[1] or out != row[5]:
            return False
        if type(out) is tuple:
            if any(y.shape != z.shape or y.dtype != z.dtype for y, z in zip(kept[0], row[2][0], strict=True)):
                return False
        elif kept[0].shape != row[2][0].shape or kept[0].dtype != row[2][0].dtype:
            return False
        if -1 in parents:
            for parent, value, its in zip(parents, kept[1:], row[2][1:], strict=True):
                if parent < 0 and not (alike(value, its) and same_value(value, its)):
                    return False
        its_params = row[3]
        if params is not its_params:
            if len(params) != len(its_params):
                return False
            for name, value in params.items():
                if name not in its_params or not same_value(value, its_params[name]):
                    return False
    for (position, decision, _), (at, decided, _) in zip(a.guards, b.guards, strict=True):
        if position != at or type(decision) is not type(decided) or decision != decided:
            return False
    parts, others = ([part for group in trace.results for part in group.parts] for trace in (one, other))
    if len(parts) != len(others):
        return False
    for part, its in zip(parts, others, strict=True):
        position = one.position(part)
        if position != other.position(its):
            return False
        if position < 0:
            value, constant = one.value(part), other.value(its)
            if not (alike(value, constant) and same_value(value, constant)):
                return False
    return True


def same_value(a: Any, b: Any) -> bool:
    """Tell whether two constants or parameters are the same; NaN is the same as NaN."""
    if a is b:
        return True
    kind = type(a)
    if kind is int or kind is slice:
        return type(b) is kind and bool(a == b)
    if isinstance(a, (tuple, list)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same_value, a, b))
    if isinstance(a, (np.ndarray, np.generic, float)) or isinstance(b, (np.ndarray, np.generic, float)):
        if np.shape(a) != np.shape(b) or getattr(a, "dtype", None) != getattr(b, "dtype", None):
            return False
        same = np.array_equal(a, b) or np.all((a == b) | ((a != a) & (b != b)))
        return bool(same) and not _zeros_differ(a, b)
    if isinstance(a, Holding):
        return isinstance(b, Holding) and a.heading() == b.heading() and _same_programs(a.programs, b.programs)
    return type(a) is type(b) and bool(a == b)


def _zeros_differ(a: Any, b: Any) -> bool:
    """Tell whether a zero stands where the other of two equal values has minus zero."""
    if not isinstance(a, float) and getattr(a, "dtype", np.dtype(bool)).kind not in "fc":
        return False
    if np.iscomplexobj(a):
        return _zeros_differ(a.real, b.real) or _zeros_differ(a.imag, b.imag)
    return bool(np.any(np.signbit(a) != np.signbit(b), where=np.equal(a, 0)))


def _same_programs(ps: Sequence[Program], qs: Sequence[Program]) -> bool:
    if len(ps) != len(qs):
        return False
    for p, q in zip(ps, qs, strict=True):
        template = Template(p)
        mine, others = template.read(p), template.read(q)
        if mine is None or others is None or not all(map(same_value, mine, others)):
            return False
    return True
