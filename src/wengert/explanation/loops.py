"""Loops, branches and checkpoints in an explanation: the line is one line, and its body is explained once.

In the list a loop is one line of the values before it; what its tangents and adjoints are is said by those of a step,
each written as a function of the number of the step::

    u_3      = scan(1, x, 5 steps)         dv_1  = dc ⊙ x + c ⊙ dx        ∂y/∂x = [x_bar(0), ..., x_bar(4)]
    u_3      = c(5)                        dc'   = dv_1                   x_bar = c'_bar c
    c(s + 1) = c'(s)                       dc(s + 1) = dc'(s)             c'_bar(s) = c_bar(s + 1)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.accumulation.sweeps import reverse
from wengert.control.backward import ReverseOf, ReverseSweep
from wengert.control.branch import Branches
from wengert.control.execution import Adjoints, LoopRun, Step
from wengert.control.holding import Holding
from wengert.control.loop import Loop
from wengert.errors import ArgumentError
from wengert.explanation.document import Block, Equations, Heading, Row, Sentence, conjunction, decision, note_of
from wengert.explanation.formulas import Algebra
from wengert.linearization import Linearization, by_position
from wengert.program import Held, Line, Packing, Program, Var, as_value, reached_by, value_of
from wengert.program.structure import all_same

LETTERS = "uvwrqzgk"
"""What the variables of a list are called: u outside, v in the body of a loop, w in one inside that..."""
MOST_SHOWN = 4
"""The values of an array of so many elements are written out."""


class Bodies:
    """What a writer of array lines says of the lines that hold Programs; see `wengert.explanation.arrays`."""

    def __init__(self, writer: Any) -> None:
        self.of = writer
        self._writers: dict[int, list[Any]] = {}

    # ---- The line ----

    def definition(self, line: Line) -> list[Row]:
        """Write the line, and which of its results are those of the function."""
        w = self.of
        held = line.held
        assert held is not None
        names = [w._atom(var) for var in line.outputs]
        args = [w._atom(a) for a in line.inputs]
        call = w.notation.call(line.primitive.name, args, [held.heading()])
        results = [w.notation.name(r) for var in line.outputs for r in w.results.get(var, [])]
        if len(line.outputs) == 1:
            return [Row(names[0], (call, *results), note=note_of(line), shape=w.shape(line.outputs[0].shape))]
        shapes = ", ".join(f"{w._atom(var)} {w.shape(var.shape)}" for var in line.outputs if var.shape)
        rows = [Row(", ".join(names), (call,), note=note_of(line), shape=shapes)]
        rows += [
            Row(w.notation.name(r), (w._atom(var),), shape=w.shape(var.shape))
            for var in line.outputs
            for r in w.results.get(var, [])
        ]
        return rows

    def tangents(self, line: Line) -> list[Row]:
        """Write the tangents of its results by those of its body."""
        w, held = self.of, line.held
        rows = []
        for n, var in enumerate(line.outputs):
            if not w.moves(var):
                continue
            left = w._d(w._atom(var))
            if not isinstance(held, (Loop, Branches)):
                floats = [a for a in dict.fromkeys(line.inputs) if w.moves(a)]
                terms = [f"{w.notation.ratio(w._atom(var), w._atom(a))} {w._d(w._atom(a))}" for a in floats]
                right = " + ".join(terms) or "0"
            else:
                name = w._d(w.notation.name(self._step(line).program.results[n].name))
                right = self._after(held, name, n) + self._where(line)
            rows.append(Row(left, (right,), shape=w.shape(var.shape)))
        return rows

    def pulled(self, line: Line, k: int) -> list[str]:
        """Write what its reverse sweep adds to the adjoint of the k-th operand."""
        w, held = self.of, line.held
        if isinstance(held, Branches):
            if k < held.leading:
                return []
            step = self._step(line)
            return [w._bar(step.names[step.program.inputs[k - held.leading]]) + self._where(line)]
        if not isinstance(held, Loop):
            outs = [var for var in line.outputs if var.dtype.kind == "f"]
            T = w.notation.transposed
            ratio = w.notation.ratio
            return [
                f"{T(w.notation.grouped(ratio(w._atom(o), w._atom(line.inputs[k]))))} {w._adjoint_of(o)}" for o in outs
            ]
        step = self._step(line)
        place = k if k < held.carried else k + (held.counter is not None)
        seeded = tuple(r.dtype.kind in "fc" for r in step.program.results)
        to = ReverseSweep.over(held, seeded, self._moving(line)).passed[place]
        if to is None:
            return []
        name = w._bar(step.names[step.program.inputs[place]])
        if to == "carry":
            return [self._at(name, "0") + self._where(line)]
        if to == "slice":
            return [self._each(name, held) + self._where(line)]
        return [f"{w.notation.sum_over} {self._at(name, 's')}{self._where(line)}"]

    def _where(self, line: Line) -> str:
        """Write which line's body is meant, where there are several."""
        w = self.of
        several = sum(one.held is not None for one in w.program.lines) > 1
        return w.notation.inside(w._atom(line.outputs[0])) if several else ""

    def _at(self, name: str, step: str) -> str:
        return f"{name}({step})"

    def _slice(self, text: str, loop: Loop) -> str:
        """Write what stands in an array for step s."""
        s = f"{loop.steps - 1} - s" if loop.reversed else "s"
        return f"({text})[{s}]" if "/" in text else f"{text}[{s}]"

    def _each(self, name: str, loop: Loop) -> str:
        """Write a stack of what each step has."""
        steps = [self._at(name, str(s)) for s in (0, 1, loop.steps - 1)[: loop.steps]]
        if loop.steps > 2:
            steps[1] = self.of.notation.ellipsis
        return f"[{', '.join(steps[::-1] if loop.reversed else steps)}]"

    def _after(self, held: Holding, name: str, n: int) -> str:
        """Write the n-th result of the line by what a step calls it."""
        if not isinstance(held, Loop):
            return name
        if n < held.carried:
            return self._at(name.removesuffix("'"), str(held.steps))
        return self._each(name, held)

    # ---- Its bodies ----

    def _step(self, line: Line) -> Any:
        """Return the writer of the body that stands for the line: the step, or the branch that is taken."""
        held = line.held
        if isinstance(held, Loop):
            return self.writers(line)[len(held.tests)]
        assert isinstance(held, Branches)
        return self.writers(line)[list(held.times).index(1)]

    def writers(self, line: Line) -> list[Any]:
        """Return a writer for each Program of the line, in which what it closes over has its name outside."""
        if id(line) not in self._writers:
            held = line.held
            assert isinstance(held, Holding)
            called = self._called(line, held)
            self._writers[id(line)] = [
                self._writer(program, values, called, self._still(program, held, line))
                for program, values in zip(held.programs, _samples(held), strict=True)
            ]
        return self._writers[id(line)]

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

    def _writer(
        self, program: Program, values: Sequence[Any], called: dict[str, str], still: frozenset[Var] = frozenset()
    ) -> Any:
        w = self.of
        taken = {called.get(a.name, a.name) for a in program.arguments}
        letter = next(x for x in "zrqyp" if x not in taken)
        results = tuple(
            Packing(
                letter + r.name[1:] if r.name == "y" or r.name.startswith("y_") else r.name, r.shape, r.dtype, r.atoms
            )
            for r in program.results
        )  # y is a result of the whole
        program = dataclasses.replace(program, results=results)
        taken |= {r.name for r in results}
        letter = next(x for x in LETTERS[LETTERS.index(w.algebra.letter) + 1 :] if x not in taken)
        algebra = Algebra(program, values, w.algebra.constants, letter)
        return w.inside(program, algebra, called, still)

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

    # ---- Said once ----

    def blocks(self) -> list[Block]:
        """Explain the bodies of all lines, each once."""
        blocks: list[Block] = []
        said: list[Line] = []
        for line in self.of.program.lines:
            held = line.held
            if held is None:
                continue
            like = next((one for one in said if _says_the_same(one.held, held)), None)
            if like is not None:
                blocks += self._like(line, like)
                continue
            said.append(line)
            if isinstance(held, Loop):
                blocks += self._loop(line, held)
            elif isinstance(held, Branches):
                blocks += self._branches(line, held)
            else:
                blocks += self._others(line)
            if self.of.d.step is not None and isinstance(held, Loop):
                blocks += self._unfolded(line, held, self.of.d.step)
            for writer in self.writers(line):
                blocks += writer.bodies.blocks()
        return blocks

    def _like(self, line: Line, other: Line) -> list[Block]:
        """State that a line does what another one does, with other operands."""
        w = self.of
        pairs = [(a, b) for a, b in zip(other.inputs, line.inputs, strict=True) if a is not b]
        changed = [f"`{w._atom(b)}` for `{w._atom(a)}`" for a, b in pairs]
        how = f", with {conjunction(changed)}" if changed else ""
        return [Sentence(f"{self._name(line)} is computed as {self._name(other)} is{how}.")]

    def _name(self, line: Line) -> str:
        return f"`{', '.join(map(self.of._atom, line.outputs))}`"

    def _loop(self, line: Line, loop: Loop) -> list[Block]:
        w, step = self.of, self._step(line)
        tests = len(loop.tests)
        mode = w.d.mode
        name, at = w.notation.name, self._at
        names = [name(step.names[var]) for var in step.program.inputs]
        carry, first = names[: loop.carried], loop.carried + (loop.counter is not None)
        slices = names[first : first + loop.sliced]
        results = [name(r.name) for r in step.program.results]
        operands = [w._atom(a) for a in line.inputs]
        said = [f"`{at(c, '0')} = {x}`" for c, x in zip(carry, operands, strict=False)]
        text = f"{line.primitive.name} makes {loop.heading()}"
        text += f", from {conjunction(said)}" if said else ""
        reads = [
            f"`{self._at(x, 's')} = {self._slice(o, loop)}`"
            for x, o in zip(slices, operands[loop.carried :], strict=False)
        ]
        if loop.counter is not None:
            start = f"{loop.counter.start} + s" if loop.counter.start else "s"
            reads.insert(0, f"`{names[loop.carried]} = {start}`")
        if reads:
            text += f"; step `s` reads {conjunction(reads)}"
        if results[loop.carried :]:
            text += f" and collects {conjunction([f'`{r}`' for r in results[loop.carried :]])}"
        text += "."
        if carry:
            text += f" The {conjunction([f'`{r}`' for r in results[: loop.carried]])} of a step "
            text += f"{'is' if len(carry) == 1 else 'are'} the {conjunction([f'`{c}`' for c in carry])} of the next."
        ends = [f"`{w._atom(v)} = {self._after(loop, results[n], n)}`" for n, v in enumerate(line.outputs)]
        blocks: list[Block] = [
            Heading(2, f"The steps of {self._name(line)}"),
            Sentence(f"{text} In the end {conjunction(ends)}."),
        ]
        for k, test in enumerate(self.writers(line)[:tests]):
            blocks.append(Sentence("It goes on as long as this is True:" if not k else "or, on another branch,"))
            blocks.append(Equations(tuple(self._defined(test))))
        bodies = self.writers(line)[tests:]
        for k, body in enumerate(bodies):
            if len(bodies) > 1:
                blocks.append(Heading(3, f"Branch {k + 1} of a step"))
            blocks += self._decisions(body)
            blocks.append(Equations(tuple(self._defined(body))))
            if mode != "reverse":
                blocks += self._forward(line, loop, body) if not k else []
                blocks.append(Equations(tuple(self._moved(body))))
            if mode != "forward":
                blocks += self._backward(line, loop, body) if not k else []
                blocks.append(Equations(tuple(body.adjoints())))
        if mode != "forward":
            blocks.append(Sentence(f"For the reverse sweep {loop.note().partition(': ')[2]}."))
        return blocks

    def _decisions(self, body: Any) -> list[Block]:
        guards = body.program.guards
        if not guards:
            return []
        where = [decision(body._atom(g.var), g.var.dtype.kind, g.value) for g in guards]
        return [Sentence(f"This holds where {conjunction(where)}.")]

    def _defined(self, body: Any) -> list[Row]:
        """Write the lines of a body, and its results that are no lines."""
        rows = body.definitions()
        lines = {var for line in body.program.lines for var in line.outputs}
        for result in body.program.results:
            (atom,) = result.atoms
            if atom not in lines:
                rows.append(Row(body.notation.name(result.name), (body._atom(atom),), shape=body.shape(atom.shape)))
        return rows  # type: ignore[no-any-return]

    def _moved(self, body: Any) -> list[Row]:
        """Write the tangents of a body, and of its results."""
        rows = body.tangents()
        for result in body.program.results:
            (atom,) = result.atoms
            if result.dtype.kind == "f":
                right = body._d(body._atom(atom)) if body.moves(atom) else "0"
                left = body._d(body.notation.name(result.name))
                if left != right:
                    rows.append(Row(left, (right,), shape=body.shape(atom.shape)))
        return rows  # type: ignore[no-any-return]

    def _forward(self, line: Line, loop: Loop, body: Any) -> list[Block]:
        w = self.of
        given, slices = [], []
        first = loop.carried + (loop.counter is not None)
        for k, atom in enumerate(line.inputs[: loop.carried + loop.sliced]):
            var = body.program.inputs[k if k < loop.carried else k - loop.carried + first]
            if not body.moves(var):
                continue
            dot, outer = w._d(w.notation.name(body.names[var])), w._d(w._atom(atom)) if w.moves(atom) else "0"
            if k < loop.carried:
                given.append(f"`{self._at(dot, '0')} = {outer}`")
            else:
                slices.append(f"`{self._at(dot, 's')} = {self._slice(outer, loop)}`")
        text = "Forward accumulation takes a tangent along with each value"
        text += f", from {conjunction(given)}" if given else ""
        text += f"; step `s` is given {conjunction(slices)}" if slices else ""
        return [Sentence(f"{text}:")]

    def _backward(self, line: Line, loop: Loop, body: Any) -> list[Block]:
        w = self.of
        last = str(loop.steps - 1)
        text = "Reverse accumulation goes through the steps backwards"
        bars = [(n, v) for n, v in enumerate(line.outputs) if w.moves(v)]
        carried = [
            (body.program.results[n].name, body.names[body.program.inputs[n]], v) for n, v in bars if n < loop.carried
        ]
        if carried:
            bar = {v: "0" if v in w.zero or w._idle(v) else w._adjoint_of(v) for _, _, v in carried}
            begin = [f"`{self._at(w._bar(r), last)} = {bar[v]}`" for r, _, v in carried]
            then = [f"`{self._at(w._bar(r), 's')} = {self._at(w._bar(c), 's + 1')}`" for r, c, _ in carried]
            text += f", from {conjunction(begin)} on, then {conjunction(then)}"
        collected = [(body.program.results[n].name, v) for n, v in bars if n >= loop.carried]
        if collected:
            each = [f"`{self._at(w._bar(r), 's')} = {self._slice(w._adjoint_of(v), loop)}`" for r, v in collected]
            text += f"; step `s` is given {conjunction(each)}"
        return [Sentence(f"{text}:")]

    def _branches(self, line: Line, held: Branches) -> list[Block]:
        w, mode = self.of, self.of.d.mode
        several = len(held.bodies) > 1
        how = f"{line.primitive.name} chooses by `{w._atom(line.inputs[0])}`: {held.heading()}."
        blocks: list[Block] = [
            Heading(2, f"The branches of {self._name(line)}" if several else f"Inside {self._name(line)}"),
            Sentence(how if several else f"For the reverse sweep {held.note().partition(': ')[2]}."),
        ]
        operands = [w._atom(a) for a in line.inputs[held.leading :]]
        for title, body in zip(held.titles(), self.writers(line), strict=True):
            names = [w.notation.name(body.names[var]) for var in body.program.inputs]
            equalities = [f"`{n} = {o}`" for n, o in zip(names, operands, strict=True) if n != o]
            if several:
                blocks.append(Heading(3, title.capitalize()))
            if equalities:
                blocks.append(Sentence(f"With {conjunction(equalities)}"))
            blocks += self._decisions(body)
            blocks.append(Equations(tuple(self._defined(body))))
            if mode != "reverse":
                blocks.append(Equations(tuple(self._moved(body))))
            if mode != "forward":
                bars = zip(body.program.results, line.outputs, strict=True)
                equalities = [f"`{w._bar(r.name)} = {w._adjoint_of(v)}`" for r, v in bars if w.moves(v)]
                if equalities:
                    blocks.append(Sentence(f"Reverse accumulation starts inside from {conjunction(equalities)}:"))
                blocks.append(Equations(tuple(body.adjoints())))
        return blocks

    def _others(self, line: Line) -> list[Block]:
        """Write the Programs of a line that is itself a reverse sweep."""
        assert line.held is not None
        blocks: list[Block] = [Heading(2, f"The Programs of {self._name(line)}")]
        for title, body in zip(line.held.titles(), self.writers(line), strict=True):
            blocks.append(Heading(3, title.capitalize()))
            blocks.append(Equations(tuple(self._defined(body))))
        return blocks

    # ---- A step with its values ----

    def _unfolded(self, line: Line, loop: Loop, k: int) -> list[Block]:
        w = self.of
        operands = tuple(as_value(value_of(a, w.algebra.environment)) for a in line.inputs)
        steps = list(LoopRun(loop, operands).steps())
        s = k if k >= 0 else k + len(steps)
        if not 0 <= s < len(steps):
            raise ArgumentError(
                f"step {k} is to be unfolded, and {line.primitive.name} makes {len(steps)} steps here.\n"
                f"Give a number from 0 to {len(steps) - 1}, or a negative one to count from the last."
            )
        program = steps[s].body.program
        still = self._still(program, loop, line)
        body = self._writer(program, steps[s].values, self._called(line, loop), still)
        env = body.algebra.environment
        given = [Row(body._atom(var), (self._shown(env[var]),)) for var in body.program.inputs]
        results = [
            Row(body.notation.name(r.name), (self._shown(value_of(r.atoms[0], env)),)) for r in body.program.results
        ]
        lines = [
            Row(row.left, (*row.equals, self._shown(env[var])), note=row.note)
            for inner in body.program.lines
            if inner.held is None
            for var, row in [(inner.outputs[0], body._definition(inner))]
        ]
        blocks: list[Block] = [
            Heading(2, f"Step {s} of {self._name(line)}, with its values"),
            Equations(tuple(given)),
            Equations((*lines, *[r for r in results if r.left not in {e for row in lines for e in row.equals}])),
        ]
        partials = self._partials(body)
        if partials:
            blocks += [Sentence("Its local partials are"), Equations(tuple(partials))]
        if w.d.mode != "forward" and w.scalar_result:
            blocks += self._adjoints_at(line, loop, operands, steps[s:], body)
        return blocks

    def _partials(self, body: Any) -> list[Row]:
        """Write the local partials of the scalar lines of a step, with their values."""
        rows = []
        for line in body.program.lines:
            if line.held is not None or line.outputs[0].shape or not line.primitive.elementwise:
                continue
            for var in dict.fromkeys(a for a in line.inputs if body.moves(a)):
                partial = body.algebra.partial(line, var)
                formula, value = body._expression(partial.formula)[0], self._shown(partial.value)
                left = body.notation.ratio(body._atom(line.outputs[0]), body._atom(var))
                rows.append(Row(left, (formula,) if formula == value else (formula, value)))
        return rows

    def _adjoints_at(
        self, line: Line, loop: Loop, operands: Sequence[Any], steps: Sequence[Step], body: Any
    ) -> list[Block]:
        """Write the adjoints that come to the first of some steps and leave it."""
        w = self.of
        bars = adjoints_of(w.program, line, w.algebra.environment)
        coming, leaving = loop_adjoints(loop, operands, steps, bars)
        rows = [
            Row(w._bar(r.name), (self._shown(g),))
            for r, g in zip(body.program.results, coming, strict=True)
            if g is not None
        ]
        ends = [
            Row(w._bar(body.names[var]), (self._shown(g),))
            for var, g in zip(body.program.inputs, leaving, strict=True)
            if g is not None and body.moves(var)
        ]
        blocks: list[Block] = [Sentence("The adjoints that come to it from what follows are"), Equations(tuple(rows))]
        if ends:
            blocks += [Sentence("and those that it passes on"), Equations(tuple(ends))]
        return blocks

    def _shown(self, value: Any) -> str:
        """Write a number, a small array, or the shape of a large one."""
        value = np.asarray(value)
        if value.dtype.kind == "b" and value.ndim == 0:
            return self.of.notation.words(str(bool(value)))  # type: ignore[no-any-return]
        if value.ndim == 0:
            return self.of.notation.number(value)[0]  # type: ignore[no-any-return]
        if value.size <= MOST_SHOWN and value.ndim == 1:
            return f"[{', '.join(self.of.notation.number(x)[0] for x in value)}]"
        return self.of.shape(value.shape)  # type: ignore[no-any-return]


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
