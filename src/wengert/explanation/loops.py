"""Loops, branches and checkpoints in an explanation: the line is one line, and its body is explained once.

In the list a loop is one line of the values before it; what its tangents and adjoints are is said by those of a step,
each written as a function of the number of the step::

    u_3      = scan(1, x, 5 steps)         dv_1  = dc ⊙ x + c ⊙ dx        ∂y/∂x = [x_bar(0), ..., x_bar(4)]
    u_3      = c(5)                        dc'   = dv_1                   x_bar = c'_bar c
    c(s + 1) = c'(s)                       dc(s + 1) = dc'(s)             c'_bar(s) = c_bar(s + 1)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.accumulation.sweeps import reverse
from wengert.control.backward import ReverseOf, ReverseSweep
from wengert.control.branch import Branches
from wengert.control.execution import Adjoints, LoopRun, Step
from wengert.control.holding import Holding
from wengert.control.loop import Loop
from wengert.errors import ArgumentError
from wengert.explanation.array_steps import (
    ArrayStep,
    Bodies,
    Body,
    BranchesOfLine,
    Equality,
    LoopOfSteps,
    SameAsLine,
    StepWithValues,
    SweepOfLine,
)
from wengert.explanation.formulas import Algebra
from wengert.explanation.matrices import (
    ZERO,
    Added,
    Adjoint,
    AtStep,
    Beside,
    Call,
    Digits,
    Inside,
    Matrix,
    Name,
    Names,
    Number,
    OverSteps,
    Ratio,
    Shape,
    Shapes,
    Slice,
    Stacked,
    Tangent,
    Transposed,
    Words,
)
from wengert.explanation.steps import Definition
from wengert.linearization import Linearization, by_position
from wengert.program import Held, Line, Packing, Program, Var, as_value, reached_by, value_of
from wengert.program.structure import all_same

LETTERS = "uvwrqzgk"
"""What the variables of a list are called: u outside, v in the body of a loop, w in one inside that..."""
MOST_SHOWN = 4
"""The values of an array of so many elements are written out."""


class LinesWithPrograms:
    """What is explained of the lines that hold Programs; `of` are the lines of arrays among which they stand."""

    def __init__(self, of: Any) -> None:
        self.of = of
        self._lines_of_bodies: dict[int, list[Any]] = {}

    # ---- The line ----

    def definition(self, line: Line) -> list[Definition]:
        """Return the definition of the line, and which of its results are those of the function."""
        of, held = self.of, line.held
        assert held is not None
        call = Call(line.primitive.name, tuple(map(of.atom, line.inputs)), (held.heading(),))
        results = {var: tuple(map(Name, of.results.get(var, ()))) for var in line.outputs}
        if len(line.outputs) == 1:
            (var,) = line.outputs
            return [Definition(of.atom(var), call, results[var], None, line.location, shape=Shape(var.shape))]
        shapes = Shapes(tuple((of.atom(var), Shape(var.shape)) for var in line.outputs if var.shape))
        rows = [Definition(self._results(line), call, (), None, line.location, shape=shapes)]
        for var, names in results.items():
            rows += [Definition(name, of.atom(var), (), None, shape=Shape(var.shape)) for name in names]
        return rows

    def tangents(self, line: Line) -> list[ArrayStep]:
        """Return the tangents of its results by those of its body."""
        of, held = self.of, line.held
        rows = []
        for n, var in enumerate(line.outputs):
            if not of.moves(var):
                continue
            right: Matrix
            if not isinstance(held, (Loop, Branches)):
                floats = [a for a in dict.fromkeys(line.inputs) if of.moves(a)]
                right = Added(tuple(Beside(Ratio(of.atom(var), of.atom(a)), Tangent(of.atom(a))) for a in floats))
            else:
                result = self._step(line).program.results[n].name
                right = self._inside(_after(held, result, n, lambda name: Tangent(Name(name))), line)
            rows.append(ArrayStep(Tangent(of.atom(var)), right, Shape(var.shape)))
        return rows

    def pulled(self, line: Line, k: int) -> list[Matrix]:
        """Return what its reverse sweep adds to the adjoint of the k-th operand."""
        of, held = self.of, line.held
        if isinstance(held, Branches):
            if k < held.leading:
                return []
            step = self._step(line)
            return [self._inside(Adjoint(step.names[step.program.inputs[k - held.leading]]), line)]
        if not isinstance(held, Loop):
            outs = [var for var in line.outputs if var.dtype.kind == "f"]
            x = of.atom(line.inputs[k])
            return [Beside(Transposed(Ratio(of.atom(out), x)), of.adjoint_of(out)) for out in outs]
        step = self._step(line)
        place = k if k < held.carried else k + (held.counter is not None)
        seeded = tuple(r.dtype.kind in "fc" for r in step.program.results)
        to = ReverseSweep.over(held, seeded, self._moving(line)).passed[place]
        if to is None:
            return []
        bar = Adjoint(step.names[step.program.inputs[place]])
        if to == "carry":
            return [self._inside(AtStep(bar, "0"), line)]
        if to == "slice":
            return [self._inside(_each(bar, held), line)]
        return [OverSteps(self._inside(AtStep(bar, "s"), line))]

    def _inside(self, formula: Matrix, line: Line) -> Matrix:
        """Return a formula of a line's body, with the line where several have bodies."""
        several = sum(one.held is not None for one in self.of.program.lines) > 1
        return Inside(formula, self.of.atom(line.outputs[0])) if several else formula

    # ---- Its bodies ----

    def _step(self, line: Line) -> Any:
        """Return the lines of the body that stands for the line: the step, or the branch that is taken."""
        held = line.held
        if isinstance(held, Loop):
            return self.lines_of_bodies(line)[len(held.tests)]
        assert isinstance(held, Branches)
        return self.lines_of_bodies(line)[list(held.times).index(1)]

    def lines_of_bodies(self, line: Line) -> list[Any]:
        """Return the lines of each Program of the line, in which what it closes over has its name outside."""
        if id(line) not in self._lines_of_bodies:
            held = line.held
            assert isinstance(held, Holding)
            called = self._called(line, held)
            self._lines_of_bodies[id(line)] = [
                self._lines(program, values, called, self._still(program, held, line))
                for program, values in zip(held.programs, _samples(held), strict=True)
            ]
        return self._lines_of_bodies[id(line)]

    def _moving(self, line: Line) -> tuple[bool, ...]:
        return tuple(map(self.of.moves, line.inputs))

    def _still(self, program: Program, held: Holding, line: Line) -> frozenset[Var]:
        """Return the variables of a body that no tangent reaches."""
        if isinstance(held, Loop):
            active = held.reached(self._moving(line))[0]
        elif isinstance(held, Branches):
            active = self._moving(line)[held.leading :]
        else:
            return frozenset()
        if len(active) < len(program.inputs) or (
            isinstance(held, Loop) and "goes_on" in [r.name for r in program.results]
        ):
            return frozenset()
        reached = reached_by(program, active[: len(program.inputs)])
        return frozenset({*program.inputs, *[v for one in program.lines for v in one.outputs]} - reached)

    def _lines(
        self, program: Program, values: Sequence[Any], called: dict[str, str], still: frozenset[Var] = frozenset()
    ) -> Any:
        of = self.of
        names = {called.get(a.name, a.name) for a in program.arguments}
        letter = next(x for x in "zrqyp" if x not in names)
        results = tuple(
            Packing(
                letter + r.name[1:] if r.name == "y" or r.name.startswith("y_") else r.name, r.shape, r.dtype, r.atoms
            )
            for r in program.results
        )  # y is a result of the function
        program = dataclasses.replace(program, results=results)
        names |= {r.name for r in results}
        letter = next(x for x in LETTERS[LETTERS.index(of.algebra.letter) + 1 :] if x not in names)
        return of.inside(program, Algebra(program, values, of.algebra.constants, letter), called, still)

    def _called(self, line: Line, held: Holding) -> dict[str, str]:
        """Return what the values that a body closes over are called where the line stands."""
        inner = held.inner if isinstance(held, ReverseOf) else held
        if isinstance(inner, Loop):
            program, first = inner.bodies[0].program, inner.carried + inner.sliced
            arguments = program.arguments[first + (inner.counter is not None) :]
        else:
            assert isinstance(inner, Branches)
            program, first = inner.taken.program, inner.leading
            arguments = program.arguments
        arguments_of_body = {a.name for a in program.arguments}
        return {
            a.name: self.of.names[atom]
            for a, atom in zip(arguments, line.inputs[first:], strict=False)
            if a.name.startswith("outer_") and isinstance(atom, Var) and self.of.names[atom] not in arguments_of_body
        }

    # ---- Explained once ----

    def explained(self) -> tuple[Bodies, ...]:
        """Explain what the lines hold, each Program once."""
        bodies: list[Bodies] = []
        explained: list[Line] = []
        for line in self.of.program.lines:
            held = line.held
            if held is None:
                continue
            like = next((one for one in explained if _says_the_same(one.held, held)), None)
            if like is not None:
                pairs = [
                    (self.of.atom(b), self.of.atom(a))
                    for a, b in zip(like.inputs, line.inputs, strict=True)
                    if a is not b
                ]
                bodies.append(SameAsLine(self._results(line), self._results(like), tuple(pairs)))
                continue
            explained.append(line)
            if isinstance(held, Loop):
                bodies.append(self._loop(line, held))
            elif isinstance(held, Branches):
                bodies.append(self._branches(line, held))
            else:
                titles = zip(held.titles(), self.lines_of_bodies(line), strict=True)
                programs = tuple(_body(lines, title.capitalize(), passes=False) for title, lines in titles)
                bodies.append(SweepOfLine(self._results(line), programs))
        return tuple(bodies)

    def _results(self, line: Line) -> Matrix:
        return Names(tuple(map(self.of.atom, line.outputs)))

    def _loop(self, line: Line, loop: Loop) -> LoopOfSteps:
        of, step = self.of, self._step(line)
        tests = len(loop.tests)
        names: list[Matrix] = [Name(step.names[var]) for var in step.program.inputs]
        first = loop.carried + (loop.counter is not None)
        operands = [of.atom(a) for a in line.inputs]
        results = [r.name for r in step.program.results]
        reads: list[Equality] = [
            (AtStep(x, "s"), _slice(operand, loop))
            for x, operand in zip(names[first : first + loop.sliced], operands[loop.carried :], strict=False)
        ]
        if loop.counter is not None:
            start = f"{loop.counter.start} + s" if loop.counter.start else "s"
            reads.insert(0, (names[loop.carried], Digits(start)))
        lines = self.lines_of_bodies(line)
        titles = [f"Branch {k + 1} of a step" if len(lines) > tests + 1 else "" for k in range(len(lines) - tests)]
        return LoopOfSteps(
            results=self._results(line),
            function=line.primitive.name,
            heading=loop.heading(),
            note=loop.note(),
            starts=tuple((AtStep(c, "0"), x) for c, x in zip(names[: loop.carried], operands, strict=False)),
            reads=tuple(reads),
            collected=tuple(map(Name, results[loop.carried :])),
            carried=tuple((Name(r), c) for r, c in zip(results, names[: loop.carried], strict=False)),
            ends=tuple((of.atom(v), _after(loop, results[n], n, Name)) for n, v in enumerate(line.outputs)),
            tests=tuple(_body(test, "", passes=False) for test in lines[:tests]),
            bodies=tuple(_body(body, title) for body, title in zip(lines[tests:], titles, strict=True)),
            tangents=self._tangents_of(line, loop, step) if of.mode != "reverse" else ((), ()),
            adjoints=self._adjoints_of(line, loop, step) if of.mode != "forward" else ((), (), ()),
            with_values=None if of.step is None else self._with_values(line, loop, of.step),
        )

    def _tangents_of(self, line: Line, loop: Loop, body: Any) -> tuple[tuple[Equality, ...], tuple[Equality, ...]]:
        """Return where the tangents start, and what step s reads."""
        of = self.of
        starts: list[Equality] = []
        reads: list[Equality] = []
        first = loop.carried + (loop.counter is not None)
        for k, atom in enumerate(line.inputs[: loop.carried + loop.sliced]):
            var = body.program.inputs[k if k < loop.carried else k - loop.carried + first]
            if not body.moves(var):
                continue
            dot = Tangent(Name(body.names[var]))
            outer = Tangent(of.atom(atom)) if of.moves(atom) else ZERO
            if k < loop.carried:
                starts.append((AtStep(dot, "0"), outer))
            else:
                reads.append((AtStep(dot, "s"), _slice(outer, loop)))
        return tuple(starts), tuple(reads)

    def _adjoints_of(
        self, line: Line, loop: Loop, body: Any
    ) -> tuple[tuple[Equality, ...], tuple[Equality, ...], tuple[Equality, ...]]:
        """Return where the adjoints start, how they go on, and what step s reads."""
        of = self.of
        starts: list[Equality] = []
        on: list[Equality] = []
        reads: list[Equality] = []
        for n, v in enumerate(line.outputs):
            if not of.moves(v):
                continue
            bar = Adjoint(body.program.results[n].name)
            if n < loop.carried:
                outer = ZERO if v in of.zero or of.is_idle(v) else of.adjoint_of(v)
                starts.append((AtStep(bar, str(loop.steps - 1)), outer))
                on.append((AtStep(bar, "s"), AtStep(Adjoint(body.names[body.program.inputs[n]]), "s + 1")))
            else:
                reads.append((AtStep(bar, "s"), _slice(of.adjoint_of(v), loop)))
        return tuple(starts), tuple(on), tuple(reads)

    def _branches(self, line: Line, held: Branches) -> BranchesOfLine:
        of = self.of
        operands = [of.atom(a) for a in line.inputs[held.leading :]]
        several = len(held.bodies) > 1
        bodies = []
        for title, body in zip(held.titles(), self.lines_of_bodies(line), strict=True):
            names = [Name(body.names[var]) for var in body.program.inputs]
            equalities = tuple((n, o) for n, o in zip(names, operands, strict=True) if n != o)
            bars = zip(body.program.results, line.outputs, strict=True)
            starts = tuple((Adjoint(r.name), of.adjoint_of(v)) for r, v in bars if of.moves(v))
            bodies.append(_body(body, title.capitalize() if several else "", equalities, starts))
        return BranchesOfLine(
            self._results(line),
            line.primitive.name,
            held.heading(),
            held.note(),
            of.atom(line.inputs[0]),
            tuple(bodies),
        )

    # ---- A step with its values ----

    def _with_values(self, line: Line, loop: Loop, k: int) -> StepWithValues:
        of = self.of
        operands = tuple(as_value(value_of(a, of.algebra.environment)) for a in line.inputs)
        steps = list(LoopRun(loop, operands).steps())
        s = k if k >= 0 else k + len(steps)
        if not 0 <= s < len(steps):
            raise ArgumentError(
                f"step {k} is to be unfolded, and {line.primitive.name} makes {len(steps)} steps here.\n"
                f"Give a number from 0 to {len(steps) - 1}, or a negative one to count from the last."
            )
        program = steps[s].body.program
        body = self._lines(program, steps[s].values, self._called(line, loop), self._still(program, loop, line))
        values = body.algebra.environment
        definitions = [
            dataclasses.replace(d, results=(*d.results, _shown(values[inner.outputs[0]])), shape=None)
            for inner in body.program.lines
            if inner.held is None
            for d in [body.definition(inner)]
        ]
        named = {name for d in definitions for name in d.results}
        definitions += [
            Definition(Name(r.name), _shown(value_of(r.atoms[0], values)), (), None)
            for r in body.program.results
            if Name(r.name) not in named
        ]
        adjoints = of.mode != "forward" and of.scalar_result
        coming, leaving = self._adjoints_at(line, loop, operands, steps[s:], body) if adjoints else ((), ())
        return StepWithValues(
            number=s,
            arguments=tuple((body.atom(var), _shown(values[var])) for var in body.program.inputs),
            definitions=tuple(definitions),
            partials=_partials(body),
            coming=coming,
            leaving=leaving,
        )

    def _adjoints_at(
        self, line: Line, loop: Loop, operands: Sequence[Any], steps: Sequence[Step], body: Any
    ) -> tuple[tuple[Equality, ...], tuple[Equality, ...]]:
        """Return the adjoints that come to the first of some steps, and those that leave it."""
        of = self.of
        bars = adjoints_of(of.program, line, of.algebra.environment)
        coming, leaving = loop_adjoints(loop, operands, steps, bars)
        results = zip(body.program.results, coming, strict=True)
        arguments = zip(body.program.inputs, leaving, strict=True)
        return (
            tuple((Adjoint(r.name), _shown(g)) for r, g in results if g is not None),
            tuple((Adjoint(body.names[v]), _shown(g)) for v, g in arguments if g is not None and body.moves(v)),
        )


def _slice(of: Matrix, loop: Loop) -> Matrix:
    """Return what stands in an array for step s."""
    return Slice(of, f"{loop.steps - 1} - s" if loop.reversed else "s")


def _each(of: Matrix, loop: Loop) -> Matrix:
    """Return a stack of what each step has."""
    steps: list[Matrix | None] = [AtStep(of, str(s)) for s in (0, 1, loop.steps - 1)[: loop.steps]]
    if loop.steps > 2:
        steps[1] = None
    return Stacked(tuple(steps[::-1] if loop.reversed else steps))


def _after(held: Holding, name: str, n: int, formula: Callable[[str], Matrix]) -> Matrix:
    """Return the n-th result of the line by what a step calls it."""
    if not isinstance(held, Loop):
        return formula(name)
    if n < held.carried:
        return AtStep(formula(name.removesuffix("'")), str(held.steps))
    return _each(formula(name), held)


def _body(
    lines: Any, title: str, equalities: Sequence[Equality] = (), starts: Sequence[Equality] = (), passes: bool = True
) -> Body:
    """Explain a Program that a line holds; without `passes` what it computes, and no derivatives."""
    definitions, tangents, adjoints = lines.definitions(), [], []
    computed = {var for line in lines.program.lines for var in line.outputs}
    for result in lines.program.results:  # those that are no lines
        (atom,) = result.atoms
        if atom not in computed:
            definitions.append(Definition(Name(result.name), lines.atom(atom), (), None, shape=Shape(atom.shape)))
    if passes and lines.mode != "reverse":
        tangents = lines.tangents() + _tangents_of_results(lines)
    if passes and lines.mode != "forward":
        adjoints = lines.adjoints()
    return Body(
        title,
        lines.decisions(),
        tuple(definitions),
        tuple(tangents),
        tuple(adjoints),
        tuple(equalities),
        tuple(starts),
        lines.inner.explained(),
    )


def _tangents_of_results(lines: Any) -> list[ArrayStep]:
    """Return the tangents of results that have a name of their own."""
    rows = []
    for result in lines.program.results:
        (atom,) = result.atoms
        if result.dtype.kind == "f":
            left, right = Tangent(Name(result.name)), Tangent(lines.atom(atom)) if lines.moves(atom) else ZERO
            if left != right:
                rows.append(ArrayStep(left, right, Shape(atom.shape)))
    return rows


def _partials(body: Any) -> tuple[tuple[Matrix, Matrix, Matrix], ...]:
    """Return the local partials of the scalar lines of a step, with their values."""
    partials = []
    for line in body.program.lines:
        if line.held is not None or line.outputs[0].shape or not line.primitive.elementwise:
            continue
        for var in dict.fromkeys(a for a in line.inputs if body.moves(a)):
            formula, value = body.partial_of(line, var)
            partials.append((Ratio(body.atom(line.outputs[0]), body.atom(var)), formula, _shown(value)))
    return tuple(partials)


def _shown(value: Any) -> Matrix:
    """Return a number, a small array, or the shape of a large one."""
    value = np.asarray(value)
    if value.dtype.kind == "b" and value.ndim == 0:
        return Words(str(bool(value)))
    if value.ndim == 0 or (value.size <= MOST_SHOWN and value.ndim == 1):
        return Number(value)
    return Shape(value.shape)


def _samples(held: Holding) -> list[tuple[Any, ...]]:
    """Return values at which each Program of a line holds."""
    if isinstance(held, Loop):
        return [body.sample for body in (*held.tests, *held.bodies)]
    if isinstance(held, Branches):
        return [body.sample for body in held.bodies if body is not None]
    assert isinstance(held, ReverseOf)
    inner = _samples(held.inner)
    bodies = inner[-len(held.inner.bodies) :] if isinstance(held.inner, Loop) else inner
    longest = max(map(len, bodies))
    widest = next(body for body in bodies if len(body) == longest)
    backward = [(*body, *widest[len(body) :]) for body in bodies]
    samples = []
    for program, sample in zip(
        held.programs, [*(inner if isinstance(held.inner, Loop) else []), *backward], strict=True
    ):
        rest = program.arguments[len(sample) :]
        samples.append((*sample, *[as_value(np.ones(a.shape, a.dtype)) for a in rest]))
    return samples


def _says_the_same(one: Held | None, other: Held) -> bool:
    """Return whether two lines hold the same: nothing is explained twice."""
    if one is None or one.heading() != other.heading():
        return False
    mine, others = one.structure(), other.structure()
    return mine is not None and others is not None and mine[0] == others[0] and all_same(mine[1], others[1])


def adjoints_of(program: Program, line: Line, environment: Any) -> list[Any]:
    """Return the adjoints of a line's results in a reverse sweep from a scalar result: a sweep over what follows."""
    at = program.lines.index(line)
    before = [*program.inputs, *[var for one in program.lines[: at + 1] for var in one.outputs]]
    arguments = tuple(Packing(f"x{k}", v.shape, v.dtype, (v,)) for k, v in enumerate(before))
    rest = dataclasses.replace(program, arguments=arguments, lines=program.lines[at + 1 :], guards=(), trees=None)
    linearization = Linearization.of_program(rest, *[environment[var] for var in before])
    (position,) = linearization.outputs
    bars = reverse(linearization, {position: np.float64(1.0)} if position >= 0 else {})
    return bars[len(bars) - len(line.outputs) :]


def loop_adjoints(
    loop: Loop, operands: Sequence[Any], steps: Sequence[Step], bars: Sequence[Any]
) -> tuple[list[Any], list[Any]]:
    """Return the adjoints of the results of the first of the last steps, and those of its arguments."""
    wanted = tuple(x.dtype.kind in "fc" for x in operands)
    sweep = ReverseSweep.over(loop, tuple(g is not None for g in bars), wanted)
    adjoints = Adjoints(loop, sweep, bars, operands)
    for step in reversed(steps):
        received = adjoints.received(step.place)
        linearization = step.body.linearize(step.values, sweep.active[: len(step.values)])
        passed = reverse(linearization, by_position(linearization.outputs, received))
        adjoints.passed(step.place, passed)
    return received, passed
