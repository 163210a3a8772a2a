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

All stretches that do not overlap are folded in one pass over the Program, and the passes go on while there are any: as
many as loops lie inside each other, so the time is linear in the number of lines.

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

import functools
import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from wengert.control.bodies import Body
from wengert.control.higher_order import line_of
from wengert.control.loop import Loop
from wengert.control.templates import INDEXED, dtype_of
from wengert.passes.simplification import numbered, renumber
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
    evaluate_line,
    guards_of,
    value_of,
)
from wengert.program.interpretation import values_of_inputs
from wengert.program.structure import kind_of, same

REPEATS = 8
"""Fewer repeats than this are left as they are."""
SAVED = 100
"""So many lines have to be saved."""
PERIODS = 32
"""How many periods are tried."""
PHASES = 8
"""In how many ways a stretch is cut into steps."""
ALIKE = 12
"""How many lines of one step may look alike, at least for some."""
TRIES = 64
"""So many stretches in a row may turn out to be no loops before the search ends."""

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
    rerolled = program
    values = _Values(program, point)
    while len(rerolled.lines) >= SAVED and (loops := _find_loops(rerolled)):
        with np.errstate(all="ignore"):  # the trace has warned
            rerolled = _Rewriting(rerolled, loops, values).program()
    return rerolled if rerolled is program else renumber(rerolled)


class _Values:
    """The values of variables at the point of the trace, each computed when it is first asked for: few are."""

    def __init__(self, program: Program, point: Sequence[Any]) -> None:
        self._program, self._point = program, point
        self._known: dict[Var, Any] = {}
        self._made: dict[Var, Line | Callable[[], Any]] = {}

    def define(self, var: Var, made: Line | Callable[[], Any]) -> None:
        """Say how a variable is computed that the Program does not have."""
        self._made[var] = made

    def __getitem__(self, var: Var) -> Any:
        known = self._known
        if not known:
            known.update(zip(self._program.inputs, values_of_inputs(self._program, self._point), strict=True))
            lines: dict[Var, Any] = {v: line for line in self._program.lines for v in line.outputs}
            self._made = {**lines, **self._made}
        asked = [var]
        while asked:
            made = None if asked[-1] in known else self._made[asked[-1]]
            if isinstance(made, Line):
                missing = [a for a in made.inputs if isinstance(a, Var) and a not in known]
                if missing:
                    asked += missing
                    continue
                results = evaluate_line(made, [value_of(a, known) for a in made.inputs])
                known.update(zip(made.outputs, results if made.primitive.multiple else (results,), strict=True))
            elif made is not None:
                known[asked[-1]] = made()
            asked.pop()
        return known[var]


# ---- Finding what repeats ----


@dataclass(frozen=True)
class Run:
    """Lines from `start` on that repeat with a period, so many times."""

    start: int
    period: int
    repeats: int

    @property
    def stop(self) -> int:
        """The position of the line after the last one."""
        return self.start + self.period * self.repeats

    @property
    def saved(self) -> int:
        """The number of lines that a loop saves."""
        return self.period * (self.repeats - 1)

    @property
    def is_long(self) -> bool:
        """True if the run is worth a loop."""
        return self.repeats >= REPEATS and self.saved >= SAVED


def _find_loops(program: Program) -> list[Steps]:
    """Find the runs of a Program that are loops and do not overlap, those that save most lines first."""
    elements = {line.outputs[0]: line for line in program.lines if line.primitive is getitem}
    folded = np.zeros(len(program.lines), np.bool_)
    stretches: list[tuple[int, int, int, int]] = []
    loops: list[Steps] = []
    failures = 0

    def push(start: int, stop: int, period: int) -> None:
        run = Run(start, period, (stop - start) // period)
        if run.is_long:  # of several that save as many lines, that of the shortest period comes first
            heapq.heappush(stretches, (-run.saved, period, start, stop))

    for start, stop, period in _stretches(_tokens(program)):
        push(start, stop, period)
    while stretches and failures < TRIES:
        _, period, start, stop = heapq.heappop(stretches)
        if folded[start:stop].any():
            continue  # what is left of it will be found in the next pass
        if all(line.primitive in _MOVES for line in program.lines[start : start + period]):
            continue  # it would be there again, once it was folded
        for run in _phases(program, Run(start, period, (stop - start) // period), stop):
            steps = _steps_that_agree(program, run, elements)
            if steps is not None:
                loops.append(steps)
                folded[steps.run.start : steps.run.stop] = True
                push(start, steps.run.start, period)
                push(steps.run.stop, stop, period)
                failures = 0
                break
            failures += 1
    return sorted(loops, key=lambda steps: steps.run.start)


def _tokens(program: Program) -> np.ndarray[Any, Any]:
    """Give lines that could be the same one at different steps the same number."""
    token = _Tokens(program).token
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(token(line), len(numbers)) for line in program.lines], np.int64)


class _Tokens:
    """What lines have in common that could be the same one at different steps."""

    def __init__(self, program: Program) -> None:
        self.guards = guards_of(program)
        self.places: dict[Any, Any] = {}

    def token(self, line: Line) -> Any:
        """Return what such lines have in common."""
        place, params = line.place, line.params
        where = place
        if type(place) is tuple:
            spot = id(place[0]), place[1]
            where = self.places.get(spot)
            if where is None:
                where = self.places[spot] = self._position(place)
        if len(line.outputs) == 1 and line.outputs[0] not in self.guards and len(params) < 2:  # as nearly all
            (v,) = line.outputs
            if not params:
                return line.primitive, len(line.inputs), v.shape, v.dtype, where
            index = params.get("index")
            if type(index) is tuple and len(index) == 1 and type(index[0]) is int and line.primitive in INDEXED:
                return line.primitive, len(line.inputs), v.shape, v.dtype, where, int
        return self._token(line, where)

    def _token(self, line: Line, where: Any) -> Any:
        params: list[Any] = []
        for name, value in sorted(line.params.items()):
            if name == "index" and line.primitive in INDEXED:
                value = tuple(int if type(v) is int else v for v in value)
            params.append((name, _hashable(value)))
        results = tuple(
            (v.shape, v.dtype, tuple((type(g.value), g.value) for g in self.guards.get(v, ()))) for v in line.outputs
        )
        return line.primitive, len(line.inputs), results, tuple(params), where

    def _position(self, place: tuple[Any, int]) -> Any:
        """Return where in the user's code a line stands; Python moves the offset of a call that it has optimized."""
        code, offset = place
        if id(code) not in self.places:
            self.places[id(code)] = list(code.co_positions())
        return id(code), self.places[id(code)][offset // 2]


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


def _stretches(tokens: np.ndarray[Any, Any]) -> Iterator[tuple[int, int, int]]:
    """Yield start, stop and period of the stretches that repeat, for the most frequent periods."""
    order = np.argsort(tokens, kind="stable")
    grouped = tokens[order]
    gaps = [
        (order[k:] - order[:-k])[grouped[k:] == grouped[:-k]]  # a line that stands k times in a step is met k times
        for k in range(1, min(ALIKE + 1, len(tokens)))
    ]
    lengths, counts = np.unique(np.concatenate(gaps), return_counts=True)
    common = lengths[np.argsort(-counts, kind="stable")]
    for period in common[common * REPEATS <= len(tokens)][:PERIODS].tolist():
        same = np.concatenate([[False], tokens[:-period] == tokens[period:], [False]])
        edges = np.flatnonzero(np.diff(same.astype(np.int8)))
        for start, stop in edges.reshape(-1, 2).tolist():
            yield start, stop + period, period


def _phases(program: Program, run: Run, stop: int) -> list[Run]:
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
    phases = sorted(range(p), key=lambda phase: (crossing[phase], phase))
    runs = [Run(run.start + phase, p, (stop - run.start - phase) // p) for phase in phases]
    return [run for run in runs if run.repeats >= REPEATS][:PHASES]


def _steps_that_agree(program: Program, run: Run, elements: Mapping[Var, Line]) -> Steps | None:
    """Return the steps of a run as those of a loop, less those at its ends that differ, or None."""
    steps = Steps(program, run, elements)
    agreeing = steps.part_that_agrees()
    if agreeing is None:
        return None
    if agreeing != run:
        steps = Steps(program, agreeing, elements)
    return steps if steps.fit() else None


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

    @property
    def key(self) -> Any:
        """What slices that are the same have in common; None for constants."""
        if self.source is not None:
            return self.source, self.start, self.step, _hashable(self.rest)
        return self.values if isinstance(self.values[0], Var) else None


class Steps:
    """The lines of a run, step by step, and what their operands become."""

    def __init__(self, program: Program, run: Run, elements: Mapping[Var, Line]) -> None:
        self.run = run
        a, p = run.start, run.period
        self.steps = [program.lines[a + r * p : a + (r + 1) * p] for r in range(run.repeats)]
        self.where: dict[Var, tuple[int, Place]] = {
            var: (r, (k, o))
            for r, step in enumerate(self.steps)
            for k, line in enumerate(step)
            for o, var in enumerate(line.outputs)
        }
        self.elements = elements
        """The lines of the Program that take elements of arrays, by their results."""
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
        low, high = 0, self.run.repeats
        for k in range(self.run.period):
            for n in range(len(self.steps[0][k].inputs)):
                low, high = self._agreeing(k, n, low, high)
        low = max(low, 0)
        run = Run(self.run.start + low * self.run.period, self.run.period, high - low)
        return run if run.is_long else None

    def _agreeing(self, k: int, n: int, low: int, high: int) -> tuple[int, int]:
        """Return which steps from `low` to `high` read the same as that in the middle, by one operand of a line."""
        middle = self.run.repeats // 2
        model = self._origin(middle, k, n)
        lag = model[0] if type(model) is tuple else 0
        for r in range(middle - 1, low + lag - 1, -1):
            origin = self._origin(r, k, n)
            if origin != model:  # a step may read what was made before the loop, if it is one of the first
                low = r + 1 if type(origin) is tuple else r + 1 - lag
                break
        for r in range(middle + 1, high):
            if self._origin(r, k, n) != model:
                return low, r
        return low, high

    def _origin(self, r: int, k: int, n: int) -> Any:
        """Return how many steps before step r an operand was made, and where; its kind, if it is not from the run."""
        atom = self.steps[r][k].inputs[n]
        here = self.where.get(atom) if isinstance(atom, Var) else None
        return type(atom) if here is None else (r - here[0], here[1])

    def fit(self) -> bool:
        """Find out what the operands become; False if the steps do not fit together as a loop."""
        for k in range(self.run.period):
            lines = [step[k] for step in self.steps]
            operands = [
                self._operand(k, atoms, lines[0]) for atoms in zip(*(line.inputs for line in lines), strict=True)
            ]
            if any(operand is None for operand in operands):
                return False
            indices = self._indices(lines)
            if indices is None:
                return False
            self.operands.append(operands)
            self.indices.append(indices)
            self._take_slices(k, lines[0])
        return True

    def _indices(self, lines: Sequence[Line]) -> dict[int, Sliced] | None:
        """Return the numbers in the index of a line that are others at every step; None if other parameters differ."""
        indices: dict[int, Sliced] = {}
        for name, value in lines[0].params.items():
            if name != "index" or lines[0].primitive not in INDEXED:
                if not all(same(value, line.params[name]) for line in lines):
                    return None
                continue
            for n, item in enumerate(value):
                items = tuple(line.params[name][n] for line in lines)
                if not all(same(item, other) for other in items):
                    if type(item) is not int:
                        return None
                    indices[n] = Sliced(values=items, dtype=np.dtype(np.int64))
        return indices

    def _operand(self, k: int, atoms: Sequence[Any], line: Line) -> Any:
        """Return what an operand of the k-th line becomes that is one of these at every step; None if nothing fits."""
        last = atoms[-1]
        if isinstance(last, Constant):
            return _constant(atoms, line)
        here = self.where.get(last)
        if here is None:  # from before the loop
            return self._from_before(atoms)
        r, place = here
        lag = len(atoms) - 1 - r
        if lag == 0:
            same = all(self.where.get(a) == (r, place) for r, a in enumerate(atoms))
            return place if same and place[0] < k else None
        return self._carried(atoms, place, lag)

    def _from_before(self, atoms: Sequence[Any]) -> Any:
        last = atoms[-1]
        if any(isinstance(a, Constant) or a in self.where for a in atoms):
            return None
        if all(a is last for a in atoms):
            return last
        if any(a.shape != last.shape or a.dtype != last.dtype for a in atoms):
            return None
        return self._elements(atoms)

    def _carried(self, atoms: Sequence[Any], place: Place, lag: int) -> Carried | None:
        if lag >= len(atoms) // 2:
            return None
        for r, a in enumerate(atoms):
            here = self.where.get(a) if isinstance(a, Var) else None
            if here != (None if r < lag else (r - lag, place)):
                return None
        last, first = atoms[-1], atoms[:lag]
        for a in first:
            if isinstance(a, Var):
                if a.shape != last.shape or a.dtype != last.dtype:
                    return None
            elif np.shape(a.value) != last.shape or not _becomes(a.value, last.dtype):
                return None
        return Carried(place, lag, tuple(a if isinstance(a, Var) else _Same(a.value) for a in first))

    def _elements(self, atoms: Sequence[Any]) -> Sliced:
        """Return other variables at every step as elements of the array that they are elements of, or as they are."""
        elements = [_element(self.elements.get(a)) for a in atoms]
        first = elements[0]
        if first is not None and all(element is not None and element[0] is first[0] for element in elements):
            numbers = _progression([element[1] for element in elements if element is not None], first[0].shape[0])
            if numbers is not None:
                return Sliced(first[0], *numbers)
        return Sliced(values=tuple(atoms))

    def _take_slices(self, k: int, line: Line) -> None:
        """Turn a line that takes the next element of one array at every step into a slice."""
        indices = self.indices[k]
        if line.primitive is not getitem or set(indices) != {0} or len(line.inputs) != 1:
            return
        source = self.operands[k][0]
        if not isinstance(source, Var):
            return
        numbers = _progression(indices[0].values, source.shape[0])
        if numbers is not None:
            self.dropped[k] = Sliced(source, *numbers, line.params["index"][1:])


_MOVES = frozenset({getitem, stack, concatenate})
"""Primitives that compute nothing: loops are taken apart and put together with them."""


def _constant(atoms: Sequence[Any], line: Line) -> Any:
    """Return what an operand becomes that is a constant at every step."""
    last = atoms[-1]
    if not all(isinstance(a, Constant) and kind_of(a.value) == kind_of(last.value) for a in atoms):
        return None
    if all(same(atoms[0].value, a.value) for a in atoms):
        return atoms[0]
    return Sliced(values=tuple(a.value for a in atoms), dtype=dtype_of(last.value, line))


def _element(line: Line | None) -> tuple[Var, int] | None:
    """Return the array of which a line takes an element along the first axis, and which; None if it does not."""
    if line is None or len(line.inputs) != 1 or len(line.params["index"]) != 1:
        return None
    (source,), (k,) = line.inputs, line.params["index"]
    return (source, k) if isinstance(source, Var) and type(k) is int else None


def _progression(numbers: Sequence[int], size: int) -> tuple[int, int] | None:
    """Return the first of numbers with equal differences, and the difference; None for others."""
    first = [n % size for n in numbers]
    step = first[1] - first[0]
    return (first[0], step) if step and all(b - a == step for a, b in pairwise(first)) else None


class _Same:
    """A constant that a carry starts from, equal to others of the same value."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and same(self.value, other.value)

    def __hash__(self) -> int:
        return hash(np.shape(self.value))


def _becomes(value: Any, dtype: np.dtype[Any]) -> bool:
    """Return whether a constant can stand in a carry of a dtype without being another number."""
    if type(value) in (int, float, complex, bool):
        return dtype.kind in "fc" if type(value) is not bool else dtype.kind == "b"
    return bool(np.asarray(value).dtype == dtype)


# ---- Writing one loop ----


class _Scan:
    """A loop as it is written: first its step and what it reads, then what it returns of what later lines read."""

    def __init__(self, steps: Steps, values: _Values) -> None:
        self.steps, self.values = steps, values
        self.carries: dict[tuple[Place, tuple[Any, ...]], Var] = {}
        """By result and what stands for it at the first steps, the latest last: the arguments of a step."""
        self.starts: list[Atom] = []
        self.slices: dict[Any, Var] = {}
        self.arrays: list[Atom] = []
        """What is gone through."""
        self.outer: dict[Var, Var] = {}
        """The constants of the loop, and what stands for each in a step."""
        self.sample: list[Any] = []
        """The values of the slices at the first step."""
        self.before: list[Line] = []
        """The lines that make the arrays."""
        self.after: list[Line] = []
        """The lines that take elements out of what is collected."""
        self.made: dict[Place, Atom] = {}
        self.read: dict[Place, set[int]] = {}
        """The results that later lines read, and of which steps."""
        self.finals: dict[tuple[Place, int], Var] = {}
        self.collected: dict[Place, Var] = {}
        self.lines = [line for k in range(steps.run.period) if (line := self._line(k)) is not None]

    @property
    def reads(self) -> Iterator[Atom]:
        """The variables of the Program that the loop and the lines before it read."""
        for line in self.before:
            yield from line.inputs
        yield from (*self.starts, *self.arrays, *self.outer)

    def _line(self, k: int) -> Line | None:
        """Write a line of the step; None if it is an argument of it."""
        steps, line = self.steps, self.steps.steps[0][k]
        if k in steps.dropped:
            self.made[k, 0] = self._slice(steps.dropped[k], self.values[line.outputs[0]])
            return None
        inputs = [self._atom(role, a) for role, a in zip(steps.operands[k], line.inputs, strict=True)]
        params = dict(line.params)
        if steps.indices[k]:
            index = list(params["index"])
            fixed = 1 if line.primitive is getitem else 2
            for n, numbers in steps.indices[k].items():
                index[n] = Operand(len(inputs) - fixed)
                inputs.append(self._slice(numbers, numbers.values[0]))
            params["index"] = tuple(index)
        outputs = tuple(Var(0, v.shape, v.dtype) for v in line.outputs)
        self.made.update(((k, o), v) for o, v in enumerate(outputs))
        return Line(line.primitive, tuple(inputs), outputs, params, line.place)

    def _atom(self, role: Any, atom: Atom) -> Atom:
        """Return what an operand is in the step."""
        if isinstance(role, tuple):
            return self.made[role]
        if isinstance(role, Carried):
            return self._carry(role)
        if isinstance(role, Sliced):
            return self._slice(role, self._value_of(atom))
        return self.outer.setdefault(role, Var(0, role.shape, role.dtype)) if isinstance(role, Var) else role

    def _value_of(self, atom: Atom) -> Any:
        return self.values[atom] if isinstance(atom, Var) else atom.value

    def _carry(self, carried: Carried) -> Var:
        like = self.steps.steps[0][carried.place[0]].outputs[carried.place[1]]
        for left in range(1, carried.lag + 1):
            first = carried.first[carried.lag - left :]
            if (carried.place, first) not in self.carries:
                self.carries[carried.place, first] = Var(0, like.shape, like.dtype)
                start = first[0]
                self.starts.append(start if isinstance(start, Var) else Constant(_cast(start.value, like.dtype)))
        return self.carries[carried.place, carried.first]

    def _slice(self, sliced: Sliced, sample: Any) -> Var:
        key = sliced.key or id(sliced)
        if key not in self.slices:
            value = _cast(sample, sliced.dtype)
            self.sample.append(value)
            self.slices[key] = Var(0, value.shape, value.dtype)
            self.arrays.append(self._array(sliced))
        return self.slices[key]

    def _array(self, sliced: Sliced) -> Atom:
        """Return the array that is gone through, and write the line that makes it."""
        count, place, source = self.steps.run.repeats, self.steps.steps[0][0].place, sliced.source
        if source is not None:
            if sliced.start == 0 and sliced.step == 1 and count == source.shape[0] and not sliced.rest:
                return source  # type: ignore[no-any-return]
            line = _part(source, sliced.start, sliced.step, count, place, sliced.rest)
        elif isinstance(sliced.values[0], Var):
            like = sliced.values[0]
            var = Var(0, (count, *like.shape), like.dtype)
            line = Line(stack, sliced.values, (var,), {"axis": -len(var.shape)}, place)
        else:
            return Constant(np.stack([np.asarray(v, sliced.dtype) for v in sliced.values]))
        self.before.append(line)
        return line.outputs[0]

    def finish(self, guards: Mapping[Var, Sequence[Guard]]) -> Line:
        """Write the loop, once it is known what later lines read."""
        steps, last = self.steps, self.steps.run.repeats - 1
        carried = {(place, last + 1 - len(first)) for place, first in self.carries}
        collected = []
        for place, rs in self.read.items():
            rest = {r for r in rs if (place, r) not in carried}
            if rest == {last}:
                like = steps.steps[0][place[0]].outputs[place[1]]
                self._carry(Carried(place, 1, (_Same(as_value(np.zeros(like.shape, like.dtype))),)))
            elif rest:
                collected.append(place)
        sample = [as_value(self._value_of(a)) for a in self.starts] + self.sample
        sample += [self.values[a] for a in self.outer]
        body = reroll(self._body(collected, guards), sample)
        loop = Loop(
            "scan", (Body(body, sample),), len(self.carries), len(self.slices), len(collected), len(self.outer),
            steps.run.repeats, folded=steps.run.period,
        )  # fmt: skip
        ends = [Var(0, v.shape, v.dtype) for v in self.carries.values()]
        self.finals = {(place, last + 1 - len(first)): v for (place, first), v in zip(self.carries, ends, strict=True)}
        for place in collected:
            like = steps.steps[0][place[0]].outputs[place[1]]
            self.collected[place] = Var(0, (steps.run.repeats, *like.shape), like.dtype)
        operands = [*self.starts, *self.arrays, *self.outer]
        return line_of(loop, operands, [*ends, *self.collected.values()], steps.steps[0][0].place)

    def _body(self, collected: Sequence[Place], guards: Mapping[Var, Sequence[Guard]]) -> Program:
        """Write the step as a Program."""
        kept = tuple(
            Guard(self.made[k, o], guard.value, guard.place)  # type: ignore[arg-type]
            for k, line in enumerate(self.steps.steps[0])
            for o, var in enumerate(line.outputs)
            for guard in guards.get(var, ())
        )
        after = [self.made[p] if len(first) == 1 else self.carries[p, first[1:]] for p, first in self.carries]
        arguments = [
            *(_packing(f"carry_{n}", v) for n, v in enumerate(self.carries.values(), 1)),
            *(_packing(f"slice_{n}", v) for n, v in enumerate(self.slices.values(), 1)),
            *(_packing(f"outer_{n}", v) for n, v in enumerate(self.outer.values(), 1)),
        ]
        results = [
            *(_packing(f"carry_{n}'", v) for n, v in enumerate(after, 1)),
            *(_packing(f"y_{n}", self.made[place]) for n, place in enumerate(collected, 1)),
        ]
        return numbered(Program("step", tuple(arguments), tuple(self.lines), tuple(results), kept, False))

    def result(self, r: int, place: Place) -> Var:
        """Return what stands for a result of step r after the loop."""
        if (place, r) not in self.finals:
            array = self.collected[place]
            var = self.finals[place, r] = Var(0, array.shape[1:], array.dtype)
            self.after.append(Line(getitem, (array,), (var,), {"index": (r,)}, self.steps.steps[0][0].place))
        return self.finals[place, r]

    def value(self, r: int, place: Place) -> Any:
        """Return the value of a result of step r."""
        return self.values[self.steps.steps[r][place[0]].outputs[place[1]]]

    def all_values(self, place: Place) -> Any:
        """Return the values of a result of all steps, stacked."""
        return np.stack([self.value(r, place) for r in range(self.steps.run.repeats)])


def _cast(value: Any, dtype: Any) -> Any:
    return as_value(np.asarray(value, dtype))


def _packing(name: str, atom: Any) -> Packing:
    dtype = atom.dtype if isinstance(atom, Var) else np.asarray(atom.value).dtype
    return Packing(name, atom.shape, dtype, (atom,))


def _part(source: Var, start: int, step: int, count: int, place: Any, rest: Any = ()) -> Line:
    """Write the line that takes so many elements of an array along its first axis."""
    stop = start + step * count
    index = (slice(start, stop if stop >= 0 else None, step), *rest)
    shape = np.empty(source.shape, np.bool_)[index].shape
    return Line(getitem, (source,), (Var(0, shape, source.dtype),), {"index": index}, place)


# ---- Writing the Program ----


class _Rewriting:
    """A Program with loops in the places of some of its lines; the values of the variables that are new are added."""

    def __init__(self, program: Program, loops: Sequence[Steps], values: _Values) -> None:
        self.original, self.values = program, values
        self.scans = [_Scan(steps, values) for steps in loops]
        self.where = {var: (scan, *here) for scan in self.scans for var, here in scan.steps.where.items()}
        self.elements = loops[0].elements
        self.renamed: dict[Var, Var] = {}
        """Arrays that are stacked of what all steps made: what is collected is the same."""

    def program(self) -> Program:
        """Write the Program."""
        original, guards = self.original, guards_of(self.original)
        self._look()
        chunks: list[list[Line]] = []
        position = 0
        for scan in self.scans:
            run = scan.steps.run
            chunks.append([line for old in original.lines[position : run.start] for line in self._written(old)])
            chunks.append([line for old in scan.before for line in self._written(old, True)])
            loop = scan.finish(guards)
            self._remember(scan, loop)
            chunks += [[self._followed(loop)], scan.after]  # the lines after it are written while later ones are
            position = run.stop
        chunks.append([line for old in original.lines[position:] for line in self._written(old)])
        results = tuple(Packing(r.name, r.shape, r.dtype, tuple(map(self._follow, r.atoms))) for r in original.results)
        for scan in self.scans:
            scan.after.sort(key=lambda line: line.params["index"])
        kept = tuple(guard for guard in original.guards if guard.var not in self.where)
        lines = tuple(line for chunk in chunks for line in chunk)
        return Program(original.name, original.arguments, lines, results, kept, original.single, original.trees)

    def _look(self) -> None:
        """Find out what is read of the steps by other lines, by other loops and as results."""
        position = 0
        atoms: list[Atom] = [a for result in self.original.results for a in result.atoms]
        for scan in self.scans:
            atoms += [a for line in self.original.lines[position : scan.steps.run.start] for a in line.inputs]
            atoms += scan.reads
            position = scan.steps.run.stop
        atoms += [a for line in self.original.lines[position:] for a in line.inputs]
        for atom in atoms:
            here = self.where.get(atom) if isinstance(atom, Var) else None
            if here is not None:
                scan, r, place = here
                scan.read.setdefault(place, set()).add(r)

    def _remember(self, scan: _Scan, loop: Line) -> None:
        """Remember the values of what a loop returns."""
        for (place, r), var in scan.finals.items():
            self.values.define(var, functools.partial(scan.value, r, place))
        for place, var in scan.collected.items():
            self.values.define(var, functools.partial(scan.all_values, place))

    def _follow(self, atom: Atom) -> Atom:
        """Return what stands for an atom."""
        if not isinstance(atom, Var):
            return atom
        here = self.where.get(atom)
        if here is None:
            return self.renamed.get(atom, atom)
        scan, r, place = here
        var = scan.result(r, place)
        self.values.define(var, functools.partial(scan.value, r, place))
        return var

    def _followed(self, line: Line) -> Line:
        return Line(line.primitive, tuple(map(self._follow, line.inputs)), line.outputs, line.params, line.place)

    def _written(self, line: Line, new: bool = False) -> list[Line]:
        """Write a line that is in no loop: it reads what the loops return."""
        if line.primitive is stack and -line.params["axis"] == len(line.outputs[0].shape):
            elements = [self._element(a, line.outputs[0].dtype) for a in line.inputs]
            if new or any(here is not None and isinstance(here[0], tuple) for here in elements):
                return self._stacked(line, elements)
        written = self._followed(line)
        if new:
            self._compute(written)
        return [written]

    def _compute(self, line: Line) -> None:
        self.values.define(line.outputs[0], line)

    def _element(self, atom: Atom, dtype: np.dtype[Any]) -> tuple[Any, int] | None:
        """Return the array that an atom is an element of, or the loop and the place in it, and which element it is."""
        if not isinstance(atom, Var) or atom.dtype != dtype:
            return None
        here = self.where.get(atom)
        if here is None:
            element = _element(self.elements.get(atom))
            return element if element is not None and element[1] >= 0 else None
        scan, r, place = here
        return ((scan, place), r) if place in scan.collected else None

    def _stacked(self, line: Line, elements: Sequence[tuple[Any, int] | None]) -> list[Line]:
        """Write a stack of atoms; those that are elements of one array in turn are a part of that array."""
        (out,) = line.outputs
        lines: list[Line] = []
        parts: list[Atom] = []
        for start, stop, step in _pieces(elements):
            element = elements[start]
            if element is None or not step:
                var = Var(0, (stop - start, *out.shape[1:]), out.dtype)
                atoms = tuple(map(self._follow, line.inputs[start:stop]))
                lines.append(Line(stack, atoms, (var,), line.params, line.place))
            else:
                source, first = element
                array: Any = source[0].collected[source[1]] if isinstance(source, tuple) else self._follow(source)
                if first == 0 and step == 1 and stop - start == array.shape[0]:
                    parts.append(array)
                    continue
                lines.append(_part(array, first, step, stop - start, line.place))
            parts.append(lines[-1].outputs[0])
        if len(parts) > 1:
            lines.append(Line(concatenate, tuple(parts), (out,), {"axis": -len(out.shape)}, line.place))
        elif not lines:
            self.renamed[out] = parts[0]  # type: ignore[assignment]
        else:
            last = lines[-1]
            lines[-1] = Line(last.primitive, last.inputs, (out,), last.params, last.place)
        for written in lines:
            self._compute(written)
        return lines


def _pieces(elements: Sequence[tuple[Any, int] | None]) -> Iterator[tuple[int, int, int]]:
    """Cut a list of elements into those of one array with equal steps, and what is between them, with step 0.

    >>> a, b = object(), object()
    >>> list(_pieces([None, *((a, k) for k in range(9, -1, -1)), (b, 3)]))
    [(0, 1, 0), (1, 11, -1), (11, 12, 0)]
    """
    start = k = 0
    while k < len(elements):
        stop, step = _progress(elements, k)
        if stop - k < REPEATS:
            k += 1
            continue
        if start < k:
            yield start, k, 0
        yield k, stop, step
        start = k = stop
    if start < len(elements):
        yield start, len(elements), 0


def _progress(elements: Sequence[tuple[Any, int] | None], k: int) -> tuple[int, int]:
    """Return where the elements from k on stop to be those of one array with equal steps, and the step."""
    first = elements[k]
    second = elements[k + 1] if k + 1 < len(elements) else None
    if first is None or second is None or first[0] != second[0] or first[1] == second[1]:
        return k + 1, 0
    step = second[1] - first[1]
    stop = k + 2
    while stop < len(elements) and elements[stop] == (first[0], first[1] + step * (stop - k)):
        stop += 1
    return stop, step


def folded_of(program: Program) -> list[str]:
    """Return notes on what was folded in a Program: the repeats, their lines and where they stand."""
    notes = []
    for line in program.lines:
        held = line.held
        if isinstance(held, Loop):
            if held.folded:
                place = "" if line.location is None else f" at {line.location}"
                lines = f"{held.folded:,} line{'s' * (held.folded != 1)}"
                notes.append(f"folded: {held.length:,} repeats of {lines}{place} into a scan")
            for inner in held.programs:
                notes += [f"{note}, in each step" for note in folded_of(inner)]
    return notes
