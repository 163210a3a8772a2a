"""What is said of a function of arrays, in which order: an `ArrayDerivation` as headings, sentences and equations.

As `document` does for lines of scalars: a `Notation` writes the formulas, and nothing is typeset yet.
"""

from __future__ import annotations

from collections.abc import Sequence

from wengert.explanation.array_steps import (
    ArrayDerivation,
    ArrayStep,
    Bodies,
    Body,
    BranchesOfLine,
    Decision,
    Equality,
    LoopOfSteps,
    SameAsLine,
    StepWithValues,
    SweepOfLine,
)
from wengert.explanation.document import (
    Block,
    Equations,
    Heading,
    Row,
    Sentence,
    compare,
    conjunction,
    counted,
    decision,
    note_of,
    opening,
)
from wengert.explanation.matrices import Adjoint, Dots, Matrix, Words
from wengert.explanation.notation import Notation
from wengert.explanation.steps import Definition

MOST_ROWS = 40
"""So many rows of one kind are written out, half of them from the beginning and half from the end."""


def compose_arrays(d: ArrayDerivation, notation: Notation) -> list[Block]:
    """Return the derivation as headings, sentences and equations."""
    return _Composer(notation).derivation(d)


class _Composer:
    """Composes what is said in one notation."""

    def __init__(self, notation: Notation) -> None:
        self.notation = notation

    def derivation(self, d: ArrayDerivation) -> list[Block]:
        """Compose everything."""
        blocks = opening(d.name, d.independents, d.dependents, d.lines, d.why, self._decided(d.decisions))
        blocks += [Heading(2, "Decomposition"), self._cut([self._definition(one) for one in d.definitions])]
        if d.conventions:
            blocks.append(Sentence(f"Conventions where a derivative is not unique: {', '.join(d.conventions)}."))
        if d.mode != "reverse":
            blocks += [Heading(2, "Forward accumulation mode (inside-out)"), Sentence(self._about_forward(d))]
            blocks.append(self._cut([self._step(one) for one in d.tangents]))
        if d.mode != "forward":
            blocks += [Heading(2, "Reverse accumulation mode (outside-in)"), Sentence(self._about_reverse(d))]
            blocks.append(self._cut([self._step(one) for one in d.adjoints]))
        blocks += [Sentence(f"Here {words}") for words in d.means]
        if d.gradient:
            blocks += [Heading(2, "Gradient"), self._equations(d.gradient)]
        blocks += self._inside(d.bodies, d.mode)
        return [*blocks, Heading(2, "Comparison"), *compare(d.plan)]

    def _about_forward(self, d: ArrayDerivation) -> str:
        arguments = ", ".join(f"`d{self._written(argument)}`" for argument in d.arguments)
        more = " and the others" if d.more_arguments else ""
        passes = counted(d.plan["forward"].passes, "pass", "passes")
        return (
            f"From a tangent {arguments}{more}, one pass gives that of every line; the whole Jacobian takes {passes}."
        )

    def _about_reverse(self, d: ArrayDerivation) -> str:
        if d.with_one_number:
            return "One pass gives the derivative with respect to every line, and to every independent variable."
        return (
            f"From an adjoint `{self._written(Adjoint(d.result))}` of the shape of `{d.result}`, "
            "one pass gives that of every line; "
            f"the whole Jacobian takes {counted(d.plan['reverse'].passes, 'pass', 'passes')}."
        )

    # ---- Lines that hold Programs ----

    def _inside(self, bodies: Sequence[Bodies], mode: str) -> list[Block]:
        blocks: list[Block] = []
        for one in bodies:
            if isinstance(one, SameAsLine):
                pairs = [f"`{self._written(a)}` for `{self._written(b)}`" for a, b in one.operands]
                how = f", with {conjunction(pairs)}" if pairs else ""
                same, other = self._written(one.results), self._written(one.other)
                blocks.append(Sentence(f"`{same}` is computed as `{other}` is{how}."))
                continue
            inner: tuple[Body, ...] = one.bodies
            if isinstance(one, LoopOfSteps):
                blocks += self._loop(one, mode)
                inner = (*one.tests, *one.bodies)
            elif isinstance(one, BranchesOfLine):
                blocks += self._branches(one, mode)
            else:
                blocks += self._sweep(one)
            for body in inner:
                blocks += self._inside(body.bodies, mode)
        return blocks

    def _loop(self, loop: LoopOfSteps, mode: str) -> list[Block]:
        text = f"{loop.function} makes {loop.heading}"
        text += f", from {self._equal(loop.starts)}" if loop.starts else ""
        text += f"; step `s` reads {self._equal(loop.reads)}" if loop.reads else ""
        text += f" and collects {self._listed(loop.collected)}" if loop.collected else ""
        text += "."
        if loop.carried:
            text += f" The {self._listed([r for r, _ in loop.carried])} of a step "
            text += f"{'is' if len(loop.carried) == 1 else 'are'} the {self._listed([c for _, c in loop.carried])} "
            text += "of the next."
        blocks: list[Block] = [
            Heading(2, f"The steps of `{self._written(loop.results)}`"),
            Sentence(f"{text} In the end {self._equal(loop.ends)}."),
        ]
        for k, test in enumerate(loop.tests):
            blocks.append(Sentence("It goes on as long as this is True:" if not k else "or, on another branch,"))
            blocks.append(self._definitions(test))
        for k, body in enumerate(loop.bodies):
            if body.title:
                blocks.append(Heading(3, body.title))
            blocks += self._decisions(body)
            blocks.append(self._definitions(body))
            if mode != "reverse":
                blocks += [] if k else [self._forward(loop)]
                blocks.append(self._steps(body.tangents))
            if mode != "forward":
                blocks += [] if k else [self._backward(loop)]
                blocks.append(self._steps(body.adjoints))
        if mode != "forward":
            blocks.append(Sentence(f"For the reverse sweep {loop.note.partition(': ')[2]}."))
        return blocks if loop.with_values is None else blocks + self._with_values(loop, loop.with_values)

    def _forward(self, loop: LoopOfSteps) -> Sentence:
        starts, reads = loop.tangents
        text = "Forward accumulation takes a tangent along with each value"
        text += f", from {self._equal(starts)}" if starts else ""
        text += f"; step `s` is given {self._equal(reads)}" if reads else ""
        return Sentence(f"{text}:")

    def _backward(self, loop: LoopOfSteps) -> Sentence:
        starts, on, reads = loop.adjoints
        text = "Reverse accumulation goes through the steps backwards"
        text += f", from {self._equal(starts)} on, then {self._equal(on)}" if starts else ""
        text += f"; step `s` is given {self._equal(reads)}" if reads else ""
        return Sentence(f"{text}:")

    def _with_values(self, loop: LoopOfSteps, step: StepWithValues) -> list[Block]:
        blocks: list[Block] = [
            Heading(2, f"Step {step.number} of `{self._written(loop.results)}`, with its values"),
            self._equations(step.arguments),
            Equations(tuple(map(self._definition, step.definitions))),
        ]
        if step.partials:
            rows = []
            for partial, formula, value in step.partials:
                equals = dict.fromkeys((self._written(formula), self._written(value)))
                rows.append(Row(self._written(partial), tuple(equals)))
            blocks += [Sentence("Its local partials are"), Equations(tuple(rows))]
        if step.coming:
            blocks.append(Sentence("The adjoints that come to it from what follows are"))
            blocks.append(self._equations(step.coming))
        if step.leaving:
            blocks += [Sentence("and those that it passes on"), self._equations(step.leaving)]
        return blocks

    def _branches(self, branches: BranchesOfLine, mode: str) -> list[Block]:
        several, results = len(branches.bodies) > 1, self._written(branches.results)
        how = f"{branches.function} chooses by `{self._written(branches.chosen_by)}`: {branches.heading}."
        blocks: list[Block] = [
            Heading(2, f"The branches of `{results}`" if several else f"Inside `{results}`"),
            Sentence(how if several else f"For the reverse sweep {branches.note.partition(': ')[2]}."),
        ]
        for body in branches.bodies:
            if body.title:
                blocks.append(Heading(3, body.title))
            if body.equalities:
                blocks.append(Sentence(f"With {self._equal(body.equalities)}"))
            blocks += self._decisions(body)
            blocks.append(self._definitions(body))
            if mode != "reverse":
                blocks.append(self._steps(body.tangents))
            if mode != "forward":
                if body.starts:
                    blocks.append(Sentence(f"Reverse accumulation starts inside from {self._equal(body.starts)}:"))
                blocks.append(self._steps(body.adjoints))
        return blocks

    def _sweep(self, sweep: SweepOfLine) -> list[Block]:
        blocks: list[Block] = [Heading(2, f"The Programs of `{self._written(sweep.results)}`")]
        for body in sweep.bodies:
            blocks += [Heading(3, body.title), self._definitions(body)]
        return blocks

    def _decisions(self, body: Body) -> list[Block]:
        decided = self._decided(body.decisions)
        return [Sentence(f"This holds where {conjunction(decided)}.")] if decided else []

    # ---- Words ----

    def _written(self, formula: Matrix) -> str:
        return formula.write(self.notation)

    def _decided(self, decisions: Sequence[Decision]) -> list[str]:
        return [decision(self._written(condition), kind, value) for condition, kind, value in decisions]

    def _equal(self, equalities: Sequence[Equality]) -> str:
        return conjunction([f"`{self._written(left)} = {self._written(right)}`" for left, right in equalities])

    def _listed(self, formulas: Sequence[Matrix]) -> str:
        return conjunction([f"`{self._written(formula)}`" for formula in formulas])

    # ---- Equations ----

    def _definition(self, d: Definition) -> Row:
        shape = "" if d.shape is None else self._written(d.shape)
        equals = tuple(map(self._written, (d.formula, *d.results)))
        return Row(self._written(d.variable), equals, d.value, note_of(d), shape)

    def _step(self, step: ArrayStep) -> Row:
        equals = [self._written(formula) for formula in (step.formula, step.closed) if formula is not None]
        return Row(self._written(step.derivative), tuple(equals), shape=self._written(step.shape))

    def _definitions(self, body: Body) -> Equations:
        return Equations(tuple(map(self._definition, body.definitions)))

    def _steps(self, steps: Sequence[ArrayStep]) -> Equations:
        return Equations(tuple(map(self._step, steps)))

    def _equations(self, equalities: Sequence[Equality]) -> Equations:
        return Equations(tuple(Row(self._written(left), (self._written(right),)) for left, right in equalities))

    def _cut(self, rows: Sequence[Row]) -> Equations:
        if len(rows) <= MOST_ROWS:
            return Equations(tuple(rows))
        half = MOST_ROWS // 2
        between = Row(self._written(Dots()), (self._written(Words(f"{len(rows) - 2 * half} lines like these")),))
        return Equations((*rows[:half], between, *rows[-half:]))
