"""What is said, in which order: a derivation as headings, sentences and equations, before anything is typeset.

The same for every format; a `Notation` writes the formulas, and ``text``, ``latex`` and ``markdown`` only set the
blocks that are made here.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wengert.explanation.formulas import abbreviated
from wengert.explanation.notation import TEXT, WIDEST, Notation, short
from wengert.explanation.steps import Decomposition, Definition, Derivation, Entry, Note, Pass, Step
from wengert.planning import Plan
from wengert.program import Line

WIDEST_ENTRY = 110
"""A formula of the Jacobian that takes more characters than this in text is left out, and its value stands alone."""

MOST_STEPS = 150
"""So many steps of one mode are written out; further passes are summed up by what they give."""

SWEEPS = ("forward", "reverse")
"""The orders of accumulation that an explanation walks through; others are compressed passes."""


@dataclass(frozen=True)
class Heading:
    """A title; level 1 for the whole, 2 for a part, 3 for a pass."""

    level: int
    words: str


@dataclass(frozen=True)
class Sentence:
    """A paragraph; what stands between backquotes is a formula, already written in the notation."""

    words: str


@dataclass(frozen=True)
class Row:
    """One line of equations: the left side, what it equals, its value, a note, and the shape if it is an array."""

    left: str
    equals: tuple[str, ...]
    value: Any = None
    note: str = ""
    shape: str = ""


@dataclass(frozen=True)
class Equations:
    """Lines of equations, aligned."""

    rows: tuple[Row, ...]


Block = Heading | Sentence | Equations


def compose(d: Derivation, notation: Notation) -> list[Block]:
    """Return a derivation as headings, sentences and equations."""
    n, m, lines = len(d.independents), len(d.dependents), len(d.decomposition.definitions) - len(d.independents)
    decisions = [decision(notation.expression(condition), kind, value) for condition, kind, value in d.conditions]
    blocks = opening(d.name, n, m, lines, "", decisions)
    blocks += [Heading(2, "Decomposition"), decomposition(d.decomposition, notation)]
    blocks += remarks(d.notes, notation)
    for passes, title in (
        (d.forward, "Forward accumulation mode (inside-out)"),
        (d.reverse, "Reverse accumulation mode (outside-in)"),
    ):
        if passes:
            blocks.append(Heading(2, title))
            blocks += _passes(d, passes, notation)
    if d.chain:
        blocks += recurrences(d, notation)
    blocks += [Heading(2, "Jacobian"), Equations(tuple(entry(e, d, notation) for row in d.jacobian for e in row))]
    blocks += [Heading(2, "Comparison"), *compare(d.plan)]
    return blocks


def opening(name: str, n: int, m: int, lines: int, why: str, decisions: Sequence[str]) -> list[Block]:
    """State what a function takes to what, in how many lines, `why` so few or many, and on which branch it holds."""
    takes = f"{name} takes {counted(n, 'independent variable')} to {counted(m, 'dependent variable')}"
    blocks: list[Block] = [
        Heading(1, f"{name}: {space(n)} -> {space(m)}"),
        Sentence(f"{takes} in {counted(lines, 'line')}{why}."),
    ]
    if decisions:
        blocks.append(Sentence(f"This holds on the branch where {conjunction(decisions)}."))
    return blocks


def decision(written: str, kind: str, value: bool | int) -> str:
    """Write a decision that the user's code took on a value: ``if u > 0``, ``if u``, ``int(u)``."""
    if kind == "b":
        return f"`{written}` is {bool(value)}"
    if isinstance(value, bool):
        return f"`{written}` is {'not 0' if value else '0'}"
    return f"`{written}` is {value}" if kind in "iu" else f"the whole part of `{written}` is {value}"


def remarks(notes: Sequence[Note], notation: Notation) -> list[Sentence]:
    """State on which side of the choices the formulas hold, and which conventions were taken at kinks."""
    choices = [note for note in notes if not note.convention]
    conditions = dict.fromkeys(notation.expression(c) for note in choices if (c := note.condition) is not None)
    said = []
    if choices:
        names = conjunction([f"`{notation.expression(note.variable)}` ({note.primitive})" for note in choices])
        where = f", where {conjunction([f'`{condition}`' for condition in conditions])}" if conditions else ""
        said.append(Sentence(f"The partials of {names} are those of the choice made at this point{where}."))
    for note in notes:
        if note.convention:
            name = f"`{notation.expression(note.variable)}` ({note.primitive})"
            said.append(Sentence(f"{name} has no derivative at this point. The convention: {note.convention}."))
    return said


def space(n: int) -> str:
    """Write the space of n real numbers."""
    return "R" if n == 1 else f"R^{n}"


def decomposition(d: Decomposition, notation: Notation) -> Equations:
    """Write the definitions of the intermediate variables."""
    rows = [_definition(definition, notation) for definition in d.definitions]
    rows += [Row(notation.expression(y), (notation.expression(value),)) for y, value in d.constants]
    return Equations(tuple(rows))


def _definition(d: Definition, notation: Notation) -> Row:
    if d.operator:
        formula = notation.operation(d.operator, *map(notation.expression, d.operands))
    else:
        formula = notation.expression(d.formula)
    equals = (formula, *([notation.name(d.name)] if d.name else []), *[notation.expression(y) for y in d.results])
    return Row(notation.expression(d.variable), equals, d.value, note_of(d))


def note_of(of: Definition | Line | None) -> str:
    """Quote the user's code that a line comes from."""
    location = None if of is None else of.location
    return "" if location is None else f"{location.segment or location.text}  ({location})".strip()


def steps(p: Pass, d: Derivation, notation: Notation) -> Equations:
    """Write the steps of a pass."""
    return Equations(tuple(step(s, d, notation) for s in p.steps))


def step(s: Step, d: Derivation, notation: Notation) -> Row:
    """Write one step: chain rule, formula in the u's, formula in the x's; the same is never said twice."""
    equals: list[str] = []
    if s.terms:
        rule = " + ".join(
            f"{notation.derivative(t.left, d.names)} {notation.derivative(t.right, d.names)}" for t in s.terms
        )
        equals.append(rule if s.seed is None else f"{s.seed} + {rule}")
    if s.in_u is not None and not s.repeated:
        equals.append(notation.formula(s.in_u, d.names))
    if s.in_x is not None:
        written = notation.formula(abbreviated(s.in_x, d.called), d.names)
        if written not in equals[-1:]:
            equals.append(written)
    return Row(notation.derivative(s.derivative, d.names), tuple(equals), s.value)


def entry(e: Entry, d: Derivation, notation: Notation) -> Row:
    """Write an entry of the Jacobian."""
    formula = None if e.formula is None else abbreviated(e.formula, d.called)
    wide = formula is None or len(TEXT.formula(formula, d.names)) > WIDEST_ENTRY
    equals = () if wide or formula is None else (notation.formula(formula, d.names),)
    return Row(notation.derivative(e.derivative, d.names), equals, e.value)


def _readable(entries: Sequence[Entry], d: Derivation) -> Sequence[Entry]:
    """Leave formulas out that are too long for a sentence together; they stand in the Jacobian."""
    wide = sum(len(TEXT.formula(abbreviated(e.formula, d.called), d.names)) for e in entries if e.formula is not None)
    return entries if wide <= WIDEST else [dataclasses.replace(e, formula=None) for e in entries]


def _passes(d: Derivation, passes: Sequence[Pass], notation: Notation) -> list[Block]:
    blocks: list[Block] = []
    written = 0
    for k, p in enumerate(passes):
        if k and written + len(p.steps) > MOST_STEPS:
            rest = f"Pass {k + 1} goes" if k + 1 == len(passes) else f"Passes {k + 1} to {len(passes)} go"
            blocks.append(Sentence(f"{rest} the same way."))
            break
        written += len(p.steps)
        seed = notation.expression(p.seed)
        if len(passes) > 1:
            what = "with respect to" if p.mode == "forward" else "of"
            blocks.append(Heading(3, f"Pass {p.number}: the derivatives {what} `{seed}`"))
        blocks.append(steps(p, d, notation))
        entries = [sentence_of(entry(e, d, notation), notation) for e in _readable(p.entries, d)]
        if d.chain or not 0 < len(entries) <= 6:
            continue
        blocks.append(Sentence(f"This pass gives {conjunction([f'`{g}`' for g in entries])}."))
    return blocks


def sentence_of(row: Row, notation: Notation) -> str:
    """Write a row as part of a sentence."""
    return " = ".join((row.left, *row.equals)) if row.equals else f"{row.left} {value_of(row, notation)}"


def value_of(row: Row, notation: Notation) -> str:
    """Write the value of a row, unless its last formula says it already; rounded, it is about equal."""
    if row.value is None:
        return ""
    if isinstance(row.value, bool):
        return f"= {row.value}"
    text, _ = notation.number(row.value)
    if row.equals and row.equals[-1] == text:
        return ""
    return f"{'=' if float(short(row.value)) == float(row.value) else notation.about} {text}"


def recurrences(d: Derivation, notation: Notation) -> list[Block]:
    """State, for a chain, what both modes reach and the recurrence that each computes."""
    (x,), (y,) = (tuple(map(notation.expression, names)) for names in (d.independents, d.dependents))
    letter, last = notation.expression(d.decomposition.definitions[-1].variable).split("_", 1)
    ratio = functools.partial(notation.ratio, d="d")
    ((derivative,),) = d.jacobian
    reached = [ratio(y, x)]
    reached += [ratio(f"{letter}_{last}", x)] if d.forward else []
    reached += [ratio(y, f"{letter}_0")] if d.reverse else []
    reached += [] if derivative.formula is None else [notation.formula(derivative.formula, d.names)]
    blocks: list[Block] = [
        Sentence("Both modes reach" if d.forward and d.reverse else "It reaches"),
        Equations((Row(reached[0], tuple(reached[1:]), derivative.value),)),
    ]
    i, before, after = f"{letter}_i", f"{letter}_{{i - 1}}", f"{letter}_{{i + 1}}"
    if d.forward:
        blocks.append(Sentence("Inside-out traversal computes the recursive relation"))
        blocks.append(Equations((Row(ratio(i, x), (f"{ratio(i, before)} {ratio(before, x)}",)),)))
    if d.reverse:
        blocks.append(Sentence("Outside-in traversal computes the recursive relation"))
        blocks.append(Equations((Row(ratio(y, i), (f"{ratio(y, after)} {ratio(after, i)}",)),)))
    return blocks


def compare(plan: Plan) -> list[Sentence]:
    """State how many products and passes each order takes, which one is chosen and why: three paragraphs."""
    forward, reverse = str(plan["forward"].cost), str(plan["reverse"].cost)
    costs = f"The function and its Jacobian cost {forward} forward"
    costs += ", and the same in reverse." if forward == reverse else f"; {reverse} in reverse."
    return [Sentence(f"{plan.edges}."), *map(Sentence, (*_winner(plan), *_compressed(plan))), Sentence(costs)]


def _compressed(plan: Plan) -> list[str]:
    """State how many passes give all entries that are not zero, where these are few."""
    return [
        f"Most entries are zero: {counted(c.passes, f'{c.name} pass', f'{c.name} passes')} give all others, "
        "`wg.jacobian(f, sparse=True)`."
        for c in plan.values()
        if c.name not in SWEEPS
    ]


def _winner(plan: Plan) -> list[str]:
    n, m = plan["forward"].passes, plan["reverse"].passes
    chosen, second = (c for c in plan.values() if c.name in SWEEPS)
    if n == m:
        passes = f"Both modes take {counted(n, 'pass', 'passes')}"
        reason = f"there are as many dependent as independent variables, {n:,}"
    else:
        forward, reverse = counted(n, "pass", "passes"), counted(m, "pass", "passes")
        passes = f"Forward accumulation takes {forward}, reverse accumulation {reverse}"
        few, many = ("dependent", "independent") if m < n else ("independent", "dependent")
        low, high = min(n, m), max(n, m)
        are, variables = ("is", "variable") if low == 1 else ("are", "variables")
        reason = f"there {are} {low:,} {few} {variables} against {high:,} {many} ones"
    if chosen.passes == min(n, m) < second.passes:
        return [f"{passes}: {chosen.name} accumulation wins, since {reason}."]
    if chosen.operations == second.operations:
        both, kept = counted(chosen.operations, "operation"), chosen.kept < second.kept
        why = ", since it keeps fewer values" if kept else ""
        return [f"{passes}: {reason}.", f"Both take {both}: {chosen.name} accumulation is taken{why}."]
    why = f"{counted(chosen.operations, 'operation')} against {second.operations:,}"
    return [f"{passes}: {reason}.", f"{chosen.name.capitalize()} accumulation wins, with {why}."]


def counted(n: int, one: str, many: str = "") -> str:
    """Write a number of things."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def conjunction(words: Sequence[str]) -> str:
    """Join words as English does: a, b and c."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
