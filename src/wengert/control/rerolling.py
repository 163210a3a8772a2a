"""Rerolling: a long trace whose lines repeat is folded into a loop, as if the user had written `scan`.

A Python loop leaves the lines of its body once a step.  They are found by their rhythm: line i is like line i + p (same
primitive, shapes, place in the user's code) over a long stretch.  What an operand of the repeated lines is, step by
step, says what it becomes:

- the result of a line of the same step: itself;
- the result of a line of the step before (or d steps before): *carried*;
- the same variable or constant at every step: a constant of the loop, or of its body;
- ``x[0], x[1], ...``, or other variables or constants at every step: *slices*.

Results that later lines read are carried to the end, or collected.  The numbers are those of the unrolled lines, bit
for bit; only lines are saved.  What repeats inside of one step is folded in turn.

>>> import numpy as np, wengert as wg
>>> def f(a):
...     x = 0.5
...     for _ in range(1000):
...         x = a * x * (1 - x)
...     return x
>>> len(wg.trace(f, fold=False)(3.5).lines), len(wg.trace(f)(3.5).lines)
(2999, 3)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

import numpy as np

from wengert.control.bodies import Body
from wengert.control.higher_order import line_of
from wengert.control.loop import Loop
from wengert.control.templates import INDEXED, alike, dtype_of, numbered, same_value
from wengert.passes.simplification import renumber
from wengert.primitives.numpy.structural import concatenate, getitem, stack
from wengert.program import (
    Atom,
    Constant,
    Guard,
    Line,
    Operand,
    Packing,
    Program,
    Var,
    as_value,
    evaluate_all,
    guards_of,
    value_of,
)

REPEATS = 8
"""Fewer repeats than this are left as they are."""
SAVED = 100
"""So many lines have to be saved."""
PERIODS = 32
"""How many periods are tried."""
ALIKE = 12
"""How many lines of one step may look alike, at least for some."""
TRIES = 64
"""How many stretches are looked at closely."""

Place = tuple[int, int]
"""A result within a step: the number of the line, and that of its output."""


def reroll(program: Program, point: Sequence[Any]) -> Program:
    """Return the Program with its long repeats folded into loops; itself if there are none.

    `point` are the values of its independent variables, for which it was traced.

    >>> import wengert as wg
    >>> def f(x):
    ...     for _ in range(200):
    ...         x = x * x
    ...     return x
    >>> print(reroll(wg.trace(f, fold=False)(1.0), [1.0]).lines[0].held.heading())
    200 steps
    """
    if len(program.lines) < SAVED:
        return program
    folded = program
    known: dict[Var, Any] | None = None
    while len(folded.lines) >= SAVED:
        tokens = _tokens(folded)
        for run in islice((run for found in _runs(tokens) for run in _phases(folded, *found)), TRIES):
            steps = _Steps(folded, run)
            shorter = steps.part_that_agrees()
            if shorter != run:
                if shorter is None:
                    continue
                steps = _Steps(folded, shorter)
            if not steps.fit():
                continue
            if known is None:
                known = evaluate_all(program, *point)
            folded, more = steps.fold(known)
            known.update(more)
            break
        else:
            break
    return folded if folded is program else renumber(folded)


# ---- Finding what repeats ----


@dataclass(frozen=True)
class Run:
    """Lines from `start` on that repeat with a period, so many times."""

    start: int
    period: int
    repeats: int


def _tokens(program: Program) -> np.ndarray[Any, Any]:
    """Give lines that could be the same one at different steps the same number."""
    guards = guards_of(program)
    numbers: dict[Any, int] = {}

    def token(line: Line) -> Any:
        params: list[Any] = []
        for name, value in sorted(line.params.items()):
            if name == "index" and line.primitive in INDEXED:
                value = tuple(int if type(v) is int else v for v in value)
            params.append((name, _hashable(value)))
        results = tuple(
            (v.shape, v.dtype, tuple((type(g.value), g.value) for g in guards.get(v, ()))) for v in line.outputs
        )
        return line.primitive, len(line.inputs), results, tuple(params), spot(line)

    positions: dict[int, list[Any]] = {}

    def spot(line: Line) -> Any:
        """Say where in the user's code a line comes from; Python moves the offset of a call that it has optimized."""
        if line.place is None:
            return None
        code, offset = line.place
        if id(code) not in positions:
            positions[id(code)] = list(code.co_positions())
        return id(code), positions[id(code)][offset // 2]

    found = np.empty(len(program.lines), np.int64)
    for k, line in enumerate(program.lines):
        key = token(line)
        found[k] = numbers.setdefault(key, len(numbers))
    return found


def _hashable(value: Any) -> Any:
    """Return something that equal parameters have in common."""
    if isinstance(value, (tuple, list)):
        return tuple(map(_hashable, value))
    if isinstance(value, np.ndarray):
        return (value.shape, value.dtype.str, value.tobytes()) if value.size <= 64 else id(value)
    if isinstance(value, slice):
        return ("slice", value.start, value.stop, value.step)
    if isinstance(value, (str, int, float, complex, np.dtype, type(None))):
        return value
    return type(value)  # looked at closely later


def _runs(tokens: np.ndarray[Any, Any]) -> list[tuple[Run, int]]:
    """Return the stretches that repeat and how many lines they have, those that save most lines first.

    Of several that save as many, that of the shortest period comes first.
    """
    order = np.argsort(tokens, kind="stable")
    grouped = tokens[order]
    gaps = [
        (order[k:] - order[:-k])[grouped[k:] == grouped[:-k]]  # a line that stands k times in a step is met k times
        for k in range(1, min(ALIKE + 1, len(tokens)))
    ]
    lengths, counts = np.unique(np.concatenate(gaps), return_counts=True)
    common = lengths[np.argsort(-counts, kind="stable")]
    found = []
    for period in common[common * REPEATS <= len(tokens)][:PERIODS].tolist():
        same = np.concatenate([[False], tokens[:-period] == tokens[period:], [False]])
        edges = np.flatnonzero(np.diff(same.astype(np.int8)))
        for start, stop in edges.reshape(-1, 2).tolist():
            repeats = (stop - start) // period + 1
            if repeats >= REPEATS and (repeats - 1) * period >= SAVED:
                found.append((Run(start, period, repeats), stop - start + period))
    return sorted(found, key=lambda pair: (-pair[0].period * (pair[0].repeats - 1), pair[0].period))


def _phases(program: Program, run: Run, length: int) -> list[Run]:
    """Return the runs of one stretch by where a step may begin: where the least has to be carried, first.

    One repeat may be lost by that, to the lines before and after the loop.
    """
    p = run.period
    middle = run.start + (run.repeats // 2 - 1) * p
    made: dict[Var, int] = {}
    crossing = np.zeros(2 * p, np.int64)  # elements that are read behind a line and made before it
    read: dict[Var, int] = {}
    for k in range(middle - p, middle + 2 * p):
        line = program.lines[k]
        read.update((a, k) for a in line.inputs if isinstance(a, Var) and a in made)
        made.update((var, k) for var in line.outputs)
    for var, k in read.items():
        crossing[max(made[var] + 1 - middle, 0) : max(k - middle + 1, 0)] += var.size
    runs = []
    for phase in range(p):
        repeats = (length - phase) // p
        if repeats >= REPEATS:
            runs.append((int(crossing[phase]), phase, Run(run.start + phase, p, repeats)))
    return [found for _, _, found in sorted(runs, key=lambda one: one[:2])][:8]


# ---- What becomes of the operands ----


@dataclass(frozen=True)
class Carried:
    """A result that a later step reads: of which line, how many steps later, what stands for it at the first ones."""

    place: Place
    lag: int
    first: tuple[Any, ...]


@dataclass(frozen=True)
class Sliced:
    """What is another at every step: elements of an array along its first axis, or values that are to be stacked."""

    source: Any = None
    start: int = 0
    step: int = 1
    rest: Any = ()
    values: tuple[Any, ...] = ()
    dtype: Any = None


class _Steps:
    """The lines of a run, step by step, and what their operands become."""

    def __init__(self, program: Program, run: Run) -> None:
        self.program, self.run = program, run
        a, p = run.start, run.period
        self.steps = [program.lines[a + r * p : a + (r + 1) * p] for r in range(run.repeats)]
        self.where: dict[Var, tuple[int, Place]] = {
            var: (r, (k, o))
            for r, step in enumerate(self.steps)
            for k, line in enumerate(step)
            for o, var in enumerate(line.outputs)
        }
        self.made: dict[Var, Line] = {
            var: line for line in program.lines[:a] for var in line.outputs if line.primitive is getitem
        }
        self.operands: list[list[Any]] = []
        """For each line of a step and each operand: a place, a Carried, a Sliced or an atom that stays."""
        self.indices: list[dict[int, Sliced]] = []
        """For each line of a step, the whole numbers in its index that are other ones at every step."""
        self.dropped: dict[int, Sliced] = {}
        """Lines that take slices, and what they become."""

    def part_that_agrees(self) -> Run | None:
        """Return the run without the steps at its ends that read other things than that in the middle does.

        None if too little is left.  (A line may look alike and still read the result of another one.)
        """
        period, count = self.run.period, self.run.repeats
        low, high, middle = 0, count, count // 2

        def what(r: int, atom: Atom) -> Any:
            here = self.where.get(atom) if isinstance(atom, Var) else None
            return type(atom) if here is None else (r - here[0], here[1])

        for k in range(period):
            for n, atom in enumerate(self.steps[middle][k].inputs):
                wanted = what(middle, atom)
                lag = wanted[0] if type(wanted) is tuple else 0
                for r in range(middle - 1, low + lag - 1, -1):
                    if what(r, self.steps[r][k].inputs[n]) != wanted:
                        low = r + 1 - lag if type(what(r, self.steps[r][k].inputs[n])) is not tuple else r + 1
                        break
                for r in range(middle + 1, high):
                    if what(r, self.steps[r][k].inputs[n]) != wanted:
                        high = r
                        break
        low = max(low, 0)
        if high - low < REPEATS or (high - low - 1) * period < SAVED:
            return None
        return Run(self.run.start + low * period, period, high - low)

    def fit(self) -> bool:
        """Find out what the operands become; False if the steps do not fit together as a loop."""
        for k in range(self.run.period):
            lines = [step[k] for step in self.steps]
            operands = []
            for n in range(len(lines[0].inputs)):
                found = self._operand(k, [line.inputs[n] for line in lines], lines[0])
                if found is None:
                    return False
                operands.append(found)
            self.operands.append(operands)
            indices: dict[int, Sliced] = {}
            if lines[0].primitive in INDEXED:
                for n, item in enumerate(lines[0].params["index"]):
                    values = [line.params["index"][n] for line in lines]
                    if all(same_value(item, v) for v in values):
                        continue
                    if type(item) is not int:
                        return False
                    indices[n] = Sliced(values=tuple(values), dtype=np.dtype(np.int64))
            self.indices.append(indices)
            for name, value in lines[0].params.items():
                if name == "index" and indices:
                    continue
                if not all(same_value(value, line.params[name]) for line in lines):
                    return False
            self._take_slices(k, lines)
        return True

    def _operand(self, k: int, atoms: list[Atom], line: Line) -> Any:
        last = atoms[-1]
        if isinstance(last, Constant):
            if not all(isinstance(a, Constant) and alike(a.value, last.value) for a in atoms):
                return None
            values = [a.value for a in atoms if isinstance(a, Constant)]
            if all(same_value(values[0], v) for v in values):
                return atoms[0]
            return Sliced(values=tuple(values), dtype=dtype_of(last.value, line))
        inside = self.where.get(last)
        if inside is None:  # from before the loop
            if any(isinstance(a, Constant) or a in self.where for a in atoms):
                return None
            if all(a is last for a in atoms):
                return last
            return self._elements(atoms)
        r, place = inside
        lag = len(atoms) - 1 - r
        if lag == 0:
            same = all(self.where.get(a) == (r, place) for r, a in enumerate(atoms))  # type: ignore[arg-type]
            return place if same and place[0] < k else None
        if lag >= len(atoms) // 2:
            return None
        for r, a in enumerate(atoms):
            here = self.where.get(a) if isinstance(a, Var) else None
            if here != (None if r < lag else (r - lag, place)):
                return None
        first = atoms[:lag]
        shape, dtype = last.shape, last.dtype
        for a in first:
            if isinstance(a, Var):
                if a.shape != shape or a.dtype != dtype:
                    return None
            elif np.shape(a.value) != shape or not _becomes(a.value, dtype):
                return None
        return Carried(place, lag, tuple(a if isinstance(a, Var) else _Same(a.value) for a in first))

    def _elements(self, atoms: Sequence[Any]) -> Sliced:
        """Return other variables at every step as elements of the array that they are elements of, or as they are."""
        lines = [self.made.get(a) for a in atoms]
        first = lines[0]
        if first is not None and all(line is not None and line.inputs == first.inputs for line in lines):
            indices = [line.params["index"] for line in lines if line is not None]
            if isinstance(first.inputs[0], Var) and all(len(i) == 1 and type(i[0]) is int for i in indices):
                numbers = _progression([i[0] for i in indices], first.inputs[0].shape[0])
                if numbers is not None:
                    return Sliced(first.inputs[0], *numbers)
        return Sliced(values=tuple(atoms))

    def _take_slices(self, k: int, lines: Sequence[Line]) -> None:
        """Let a line that takes the next element of one array at every step become a slice."""
        line, indices = lines[0], self.indices[k]
        if line.primitive is not getitem or set(indices) != {0} or len(line.inputs) != 1:
            return
        source = self.operands[k][0]
        if not isinstance(source, Var):
            return
        numbers = _progression([int(v) for v in indices[0].values], source.shape[0])
        if numbers is not None:
            self.dropped[k] = Sliced(source, *numbers, line.params["index"][1:])

    # -- Writing the loop --

    def fold(self, known: dict[Var, Any]) -> tuple[Program, dict[Var, Any]]:
        """Return the Program with the loop in the place of the lines, and the values of the variables that are new."""
        program, run = self.program, self.run
        a, z = run.start, run.start + run.period * run.repeats
        carries: dict[tuple[Place, tuple[Any, ...]], Var] = {}
        """By result and what stands for it at the first steps, the latest last: the arguments of a step."""
        starts: list[Atom] = []
        slices: dict[int, Var] = {}
        sliced: list[tuple[Sliced, Var]] = []
        consts: dict[Var, Var] = {}
        made: dict[Place, Atom] = {}

        def carry(c: Carried) -> Var:
            for left in range(1, c.lag + 1):
                key = (c.place, c.first[c.lag - left :])
                if key not in carries:
                    like = self.steps[0][c.place[0]].outputs[c.place[1]]
                    carries[key] = Var(0, like.shape, like.dtype)
                    start = c.first[c.lag - left]
                    starts.append(start if isinstance(start, Var) else Constant(_cast(start.value, like)))
            return carries[c.place, c.first]

        def slice_(s: Sliced, shape: tuple[int, ...], dtype: Any) -> Var:
            if id(s) not in slices:
                for other, var in sliced:
                    same = other.source is s.source and (other.start, other.step) == (s.start, s.step)
                    if s.source is not None and same and same_value(other.rest, s.rest):
                        slices[id(s)] = var
                        return var
                slices[id(s)] = var = Var(0, shape, dtype)
                sliced.append((s, var))
            return slices[id(s)]

        def atom(found: Any, given: Any) -> Any:
            if isinstance(found, tuple):
                return made[found]
            if isinstance(found, Carried):
                return carry(found)
            if isinstance(found, Sliced):
                shape = given.shape
                dtype = found.dtype or (given.dtype if isinstance(given, Var) else np.asarray(given.value).dtype)
                return slice_(found, shape, dtype)
            if isinstance(found, Var):
                return consts.setdefault(found, Var(0, found.shape, found.dtype))
            return found

        lines: list[Line] = []
        for k, line in enumerate(self.steps[0]):
            if k in self.dropped:
                made[k, 0] = slice_(self.dropped[k], line.outputs[0].shape, line.outputs[0].dtype)
                continue
            inputs = [atom(found, given) for found, given in zip(self.operands[k], line.inputs, strict=True)]
            params = dict(line.params)
            if self.indices[k]:
                index = list(params["index"])
                fixed = 1 if line.primitive is getitem else 2
                for n, s in self.indices[k].items():
                    index[n] = Operand(len(inputs) - fixed)
                    inputs.append(slice_(s, (), np.dtype(np.int64)))
                params["index"] = tuple(index)
            outputs = tuple(Var(0, v.shape, v.dtype) for v in line.outputs)
            made.update(((k, o), v) for o, v in enumerate(outputs))
            lines.append(Line(line.primitive, tuple(inputs), outputs, params, line.place))
        last = run.repeats - 1
        reads = _Reads(self)
        reads.look(program.lines[z:], program.results)
        for place in reads.unless({(place, last + 1 - len(first)) for place, first in carries}):
            like = self.steps[0][place[0]].outputs[place[1]]
            carry(Carried(place, 1, (_Same(as_value(np.zeros(like.shape, like.dtype))),)))
        guards = tuple(
            Guard(made[self.where[g.var][1]], g.value, g.place)  # type: ignore[arg-type]
            for g in program.guards
            if self.where.get(g.var, (1, None))[0] == 0
        )
        after = [made[place] if len(first) == 1 else carries[place, first[1:]] for place, first in carries]
        collected = list(reads.collected)
        arguments = [
            *(_packing(f"carry_{n}", v) for n, v in enumerate(carries.values(), 1)),
            *(_packing(f"slice_{n}", v) for n, (_, v) in enumerate(sliced, 1)),
            *(_packing(f"outer_{n}", v) for n, v in enumerate(consts.values(), 1)),
        ]
        results = [
            *(_packing(f"carry_{n}'", v) for n, v in enumerate(after, 1)),
            *(_packing(f"y_{n}", made[place]) for n, place in enumerate(collected, 1)),
        ]
        body = numbered(Program("step", tuple(arguments), tuple(lines), tuple(results), guards, False))

        before, arrays = self._arrays([s for s, _ in sliced])
        new: dict[Var, Any] = {}

        def value(x: Atom) -> Any:
            return value_of(x, new if isinstance(x, Var) and x in new else known)

        def compute(lines: Sequence[Line]) -> None:
            for line in lines:
                if not line.primitive.multiple and line.outputs[0] not in known:
                    new[line.outputs[0]] = line.primitive(*map(value, line.inputs), **line.params)

        compute(before)
        operands = [*starts, *arrays, *consts]
        values = [as_value(value(x)) for x in operands]
        begin = [*values[: len(carries)], *[as_value(v[0]) for v in values[len(carries) : len(carries) + len(sliced)]]]
        sample = [*begin, *values[len(carries) + len(sliced) :]]
        body = reroll(body, sample)
        loop = Loop(
            "scan", [Body(body, sample)], len(carries), len(sliced), len(collected), consts=len(consts),
            length=run.repeats,
        )  # fmt: skip
        loop.folded = run.period
        out = [
            *(Var(0, v.shape, v.dtype) for v in carries.values()),
            *(Var(0, (run.repeats, *made[p].shape), made[p].dtype) for p in collected),  # type: ignore[union-attr]
        ]
        whole = line_of(loop, operands, out, self.steps[0][0].place)
        finals = {(place, last + 1 - len(first)): v for (place, first), v in zip(carries, out, strict=False)}
        ys = dict(zip(collected, out[len(carries) :], strict=True))
        for (place, first), var in zip(carries, out, strict=False):
            new[var] = known[self.steps[-len(first)][place[0]].outputs[place[1]]]
        for one, var in ys.items():
            new[var] = np.stack([known[step[one[0]].outputs[one[1]]] for step in self.steps])
        later, rest, packings = reads.rewrite(program.lines[z:], program.results, finals, ys)
        compute([*later, *rest])
        kept = tuple(g for g in program.guards if g.var not in self.where)
        folded = Program(
            program.name, program.arguments, (*program.lines[:a], *before, whole, *later, *rest), packings, kept,
            program.single, program.trees,
        )  # fmt: skip
        return folded, new

    def _arrays(self, sliced: Sequence[Sliced]) -> tuple[list[Line], list[Atom]]:
        """Write the arrays that are gone through, with the lines that make them."""
        lines: list[Line] = []
        arrays: list[Atom] = []
        count, place = self.run.repeats, self.steps[0][0].place
        for s in sliced:
            if s.source is not None:
                stop = s.start + s.step * count
                whole = s.start == 0 and s.step == 1 and count == s.source.shape[0] and not s.rest
                if whole:
                    arrays.append(s.source)
                    continue
                index = (slice(s.start, stop if stop >= 0 else None, s.step), *s.rest)
                shape = np.empty(s.source.shape, np.bool_)[index].shape
                lines.append(Line(getitem, (s.source,), (Var(0, shape, s.source.dtype),), {"index": index}, place))
                arrays.append(lines[-1].outputs[0])
            elif isinstance(s.values[0], Var):
                arrays.append(self._stacked(s.values, lines))
            else:
                arrays.append(Constant(np.stack([np.asarray(v, s.dtype) for v in s.values])))
        return lines, arrays

    def _stacked(self, values: Sequence[Var], lines: list[Line]) -> Var:
        """Write the array of some variables: elements that follow each other are a part of the array they are of."""
        place = self.steps[0][0].place
        first = values[0]
        parts: list[Var] = []

        def write(primitive: Any, inputs: Sequence[Atom], count: int, **params: Any) -> None:
            parts.append(Var(0, (count, *first.shape), first.dtype))
            lines.append(Line(primitive, tuple(inputs), (parts[-1],), params, place))

        k = 0
        while k < len(values):
            source, at = self._element(values[k])
            stop = k + 1
            while source is not None and stop < len(values) and self._element(values[stop]) == (source, at + stop - k):
                stop += 1
            if stop - k >= REPEATS:
                write(getitem, [source], stop - k, index=(slice(at, at + stop - k),))
            else:
                stop = next((n for n in range(k + 1, len(values)) if self._follows(values, n)), len(values))
                write(stack, values[k:stop], stop - k, axis=-len(first.shape) - 1)
            k = stop
        if len(parts) > 1:
            write(concatenate, list(parts), len(values), axis=-len(first.shape) - 1)
        return parts[-1]

    def _element(self, var: Var) -> tuple[Any, int]:
        """Return the array that a variable is an element of along the first axis, and where; None if it is none."""
        line = self.made.get(var)
        if line is None or len(line.inputs) != 1 or len(line.params["index"]) != 1:
            return None, 0
        (at,), source = line.params["index"], line.inputs[0]
        return (source, at) if type(at) is int and at >= 0 and isinstance(source, Var) else (None, 0)

    def _follows(self, values: Sequence[Var], n: int) -> bool:
        """Tell whether from here on elements of one array follow each other."""
        source, at = self._element(values[n])
        ahead = values[n : n + REPEATS]
        return (
            source is not None
            and len(ahead) == REPEATS
            and all(self._element(v) == (source, at + k) for k, v in enumerate(ahead))
        )


class _Reads:
    """What later lines and results read of the steps: the last ones alone, or many."""

    def __init__(self, steps: _Steps) -> None:
        self.steps = steps
        self.read: dict[Place, set[int]] = {}
        self.collected: list[Place] = []
        self.renamed: dict[Var, Var] = {}
        """Arrays that are stacked of what all steps made: what is collected is the same."""

    def look(self, lines: Sequence[Line], results: Sequence[Packing]) -> None:
        """Find out what is read."""
        for atoms in (*(line.inputs for line in lines), *(r.atoms for r in results)):
            for a in atoms:
                here = self.steps.where.get(a) if isinstance(a, Var) else None
                if here is not None:
                    self.read.setdefault(here[1], set()).add(here[0])

    def unless(self, carried: set[tuple[Place, int]]) -> list[Place]:
        """Say of which results the last one has to be carried along, and collect others that are not carried."""
        last = len(self.steps.steps) - 1
        more = []
        for place, rs in self.read.items():
            left = {r for r in rs if (place, r) not in carried}
            if left == {last}:
                more.append(place)
            elif left:
                self.collected.append(place)
        return more

    def rewrite(
        self,
        lines: Sequence[Line],
        results: Sequence[Packing],
        finals: dict[tuple[Place, int], Var],
        ys: dict[Place, Var],
    ) -> tuple[list[Line], list[Line], tuple[Packing, ...]]:
        """Let later lines and results read what the loop returns; return lines that take it apart, and the rest."""
        steps = self.steps
        place_of_loop = steps.steps[0][0].place
        taken: dict[tuple[Place, int], Var] = {}
        apart: list[Line] = []

        def follow(atom: Atom) -> Atom:
            here = steps.where.get(atom) if isinstance(atom, Var) else None
            if here is None:
                return self.renamed.get(atom, atom) if isinstance(atom, Var) else atom
            r, place = here
            if (place, r) in finals:
                return finals[place, r]
            if (place, r) not in taken:
                var = Var(0, atom.shape, steps.steps[0][place[0]].outputs[place[1]].dtype)
                taken[place, r] = var
                apart.append(Line(getitem, (ys[place],), (var,), {"index": (r,)}, place_of_loop))
            return taken[place, r]

        rest: list[Line] = []
        for line in lines:
            joined = self._joined(line, ys, follow)
            if line.outputs[0] in self.renamed:
                continue
            rest += joined or [
                Line(line.primitive, tuple(map(follow, line.inputs)), line.outputs, line.params, line.place)
            ]
        packings = tuple(Packing(r.name, r.shape, r.dtype, tuple(map(follow, r.atoms))) for r in results)
        return apart, rest, packings

    def _joined(self, line: Line, ys: dict[Place, Var], follow: Any) -> list[Line]:
        """Write a stack of what all steps made as the array in which it is collected; nothing for any other line."""
        count = len(self.steps.steps)
        if (
            line.primitive is not stack
            or len(line.inputs) < count
            or -line.params["axis"] != len(line.outputs[0].shape)
        ):
            return []
        wheres = [self.steps.where.get(a) if isinstance(a, Var) else None for a in line.inputs]
        start = next((n for n, here in enumerate(wheres) if here is not None and here[0] == 0), None)
        if start is None or start + count > len(wheres):
            return []
        first = wheres[start]
        assert first is not None
        if wheres[start : start + count] != [(r, first[1]) for r in range(count)]:
            return []
        whole = ys.get(first[1])
        if whole is None:
            return []
        (out,) = line.outputs
        before, after = line.inputs[:start], line.inputs[start + count :]
        parts: list[Atom] = []
        lines: list[Line] = []
        for some in (before, None, after):
            if some is None:
                parts.append(whole)
            elif some:
                var = Var(0, (len(some), *out.shape[1:]), out.dtype)
                lines.append(Line(stack, tuple(map(follow, some)), (var,), line.params, line.place))
                parts.append(var)
        if not lines:
            self.renamed[out] = whole
            return []
        axis = -len(out.shape)
        return [*lines, Line(concatenate, tuple(parts), (out,), {"axis": axis}, line.place)]


class _Same:
    """A constant that a carry starts from, equal to others of the same value."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and alike(self.value, other.value) and same_value(self.value, other.value)

    def __hash__(self) -> int:
        return hash(np.shape(self.value))


def _becomes(value: Any, dtype: np.dtype[Any]) -> bool:
    """Tell whether a constant can stand in a carry of a dtype without being another number."""
    if type(value) in (int, float, complex, bool):
        return dtype.kind in "fc" if type(value) is not bool else dtype.kind == "b"
    return bool(np.asarray(value).dtype == dtype)


def _cast(value: Any, like: Var) -> Any:
    return as_value(np.asarray(value, like.dtype))


def _packing(name: str, atom: Any) -> Packing:
    dtype = atom.dtype if isinstance(atom, Var) else np.asarray(atom.value).dtype
    return Packing(name, atom.shape, dtype, (atom,))


def _progression(numbers: Sequence[int], size: int) -> tuple[int, int] | None:
    """Return the first of numbers with equal differences, and the difference; None for others."""
    first = [n % size for n in numbers]
    step = first[1] - first[0]
    return (first[0], step) if step and all(b - a == step for a, b in pairwise(first)) else None


def folded_of(program: Program) -> list[str]:
    """Say what was folded in a Program: the repeats, their lines and where they stand."""
    found = []
    for line in program.lines:
        held = line.held
        if isinstance(held, Loop):
            if held.folded:
                place = "" if line.location is None else f" at {line.location}"
                lines = f"{held.folded:,} line{'s' * (held.folded != 1)}"
                found.append(f"folded: {held.length:,} repeats of {lines}{place} into a scan")
            for inner in held.programs:
                found += [f"{note}, in each step" for note in folded_of(inner)]
    return found
