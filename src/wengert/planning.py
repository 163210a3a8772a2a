"""Planning: the orders of accumulation side by side, what each costs, which one is taken and why.

The counts are exact.  One pass of each mode is recorded as a Program and split by what its lines depend on: lines of
the function itself, local partials (computed once, whatever the number of passes), and lines that depend on the seed
(computed once a pass).  So the whole Jacobian costs ``function + partials + passes * pass``, and n passes are counted
without being run.

>>> import numpy as np, wengert as wg
>>> f = lambda x: np.array([x[0] * (x[1] - x[2]), x[2] * np.log(1 - x[0])])
>>> plan = wg.plan(f)(np.array([0.5, 2.0, 3.0]))
>>> [(c.mode, c.passes) for c in plan.candidates], plan.choice.mode
([('reverse', 2), ('forward', 3)], 'reverse')
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from wengert.accumulation.sweeps import forward, reverse
from wengert.cost import Cost, cost, line_cost
from wengert.display import as_text
from wengert.linearization import Linearization, by_position
from wengert.program import Atom, Constant, Held, Line, Packing, Program, Var, walk
from wengert.tracing import Row, Trace, outputs_of, record, results_of


@dataclass(frozen=True)
class Candidate:
    """One order of accumulation: how many passes it takes, what they cost, what it has to keep.

    `kept` counts the intermediate values (elements) that the function computes and a later sweep reads: what the order
    itself demands.  Forward accumulation reads each as soon as it is there, and demands none.  (Uncompiled, the trace
    comes first in either mode, and holds them.)
    """

    mode: str
    passes: int
    function: Cost
    partials: Cost
    one_pass: Cost
    kept: int

    @property
    def cost(self) -> Cost:
        """The whole Jacobian: the function, its partials once, and every pass."""
        return self.function + self.partials + self.passes * self.one_pass


@dataclass(frozen=True, repr=False)
class Plan:
    """The candidates for a Jacobian, cheapest first, and the reason for the choice.  Prints as a table."""

    name: str
    n: int
    m: int
    lines: int
    function: Cost
    candidates: tuple[Candidate, ...]
    reason: str
    notes: tuple[str, ...] = ()
    """What each loop and checkpoint keeps for a reverse sweep, in bytes, and what it runs again."""

    @property
    def choice(self) -> Candidate:
        """The candidate that is taken."""
        return self.candidates[0]

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.text import Text

        return Group(Text(self._headline()), _table(self), Text(self.reason), *map(Text, self.notes))

    def __str__(self) -> str:
        return as_text(self)

    def __repr__(self) -> str:
        return str(self)  # at the prompt it is read, not copied

    def _headline(self) -> str:
        lines = f"{self.lines:,} line{'s' * (self.lines != 1)}"
        return f"{self.name}: R^{self.n:,} -> R^{self.m:,}, {lines}; {self.function}"


def _table(plan: Plan) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("order")
    columns = ["passes", "mult", "add", "div", "calls", "kept", "one pass: mult", "add"]
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("")
    for candidate in plan.candidates:
        whole, one = candidate.cost, candidate.one_pass
        chosen = candidate is plan.choice
        figures = (
            candidate.passes,
            whole.multiplications,
            whole.additions,
            whole.divisions,
            whole.calls,
            candidate.kept,
            one.multiplications,
            one.additions,
        )
        table.add_row(
            candidate.mode,
            *[f"{figure:,}" for figure in figures],
            "<- chosen" if chosen else "",
            style="bold" if chosen else "",
        )
    return table


def plan_program(program: Program, args: Sequence[Any]) -> Plan:
    """Count each order of accumulation for the Jacobian of a Program at a point, and choose."""
    n = sum(var.size for var in program.inputs)
    m = sum(math.prod(result.shape) for result in program.results)
    function = cost(program)
    candidates = [_candidate(program, args, "forward", n), _candidate(program, args, "reverse", m)]
    candidates.sort(key=lambda c: (c.cost.weight, c.kept))
    reason = _reason(candidates, n, m)
    notes = tuple(dict.fromkeys(note for line in walk(program) if (note := line.held.note() if line.held else "")))
    return Plan(program.name, n, m, len(program.lines), function, tuple(candidates), reason, notes)


def _reason(candidates: Sequence[Candidate], n: int, m: int) -> str:
    first, second = candidates[0], candidates[1]

    def passes(count: int) -> str:
        return f"{count:,} pass{'es' if count != 1 else ''}"

    a, b = first.cost.weight, second.cost.weight
    if first.passes < second.passes:
        why = f"{passes(first.passes)} instead of {second.passes:,}"
    elif first.passes == second.passes:
        why = f"as many passes as {second.mode} ({first.passes:,})"
    else:
        why = f"{passes(first.passes)} against {second.passes:,}, but each costs less"
    if a == b:
        how = ", the same operations" + (
            f", and {'nothing is' if not first.kept else f'{first.kept:,} values are'} kept"
            if first.kept < second.kept
            else ""
        )
    elif b >= 1.995 * a:
        how = f"; {_times(b / a)} fewer operations (n = {n:,}, m = {m:,})"
    else:
        how = f"; {100 * (1 - a / b):.2g} % fewer operations (n = {n:,}, m = {m:,})"
    return f"{first.mode}: {why}{how}"


def _times(ratio: float) -> str:
    return f"{ratio:,.0f} times" if ratio >= 10 else f"{ratio:.1f} times"


def _candidate(program: Program, args: Sequence[Any], mode: str, passes: int) -> Candidate:
    """Count the Jacobian of a Program in a mode."""
    found = _one_pass(program, args, mode)
    return Candidate(mode, passes, found.function, found.partials, found.one_pass, found.kept)


class Sweep(NamedTuple):
    """One recorded pass, counted by what its lines depend on.

    Attributes
    ----------
    function, partials, one_pass
        Lines of the function itself, of the partials, and those that depend on the seed.
    kept
        The values that the function computes and a reverse sweep reads.
    read
        For each independent variable, whether the partials read it.
    made
        For each result, how many values it adds to `kept` if it is read once more, by what comes after it.
    reached
        For each result (forward) or independent variable (reverse), whether anything came to it.
    """

    function: Cost
    partials: Cost
    one_pass: Cost
    kept: int
    read: tuple[bool, ...]
    made: tuple[int, ...]
    reached: tuple[bool, ...]


def _one_pass(program: Program, args: Sequence[Any], mode: str, given: Sequence[bool] | None = None) -> Sweep:
    """Record one pass of a mode and count its lines by what they depend on; with `given`, from some seeds only."""
    with record("pass") as trace:
        tape = trace.tape
        xs = [trace.input(value) for value in args]
        linearization = Linearization.of_program(program, *xs)
        own = len(tape.rows)
        packings = program.arguments if mode == "forward" else program.results
        first_seed = tape.size
        positions = range(len(program.inputs)) if mode == "forward" else linearization.outputs
        wanted = [True] * len(packings) if given is None else given
        seeds = by_position(positions, _seeds(trace, packings, wanted))
        found = (forward if mode == "forward" else reverse)(linearization, seeds)
        rows = tape.rows
    depends = set(range(first_seed, first_seed + sum(wanted)))
    function, partials, one_pass = Cost(), Cost(), Cost()
    read: dict[int, int] = {}
    computed: dict[int, int] = {}
    inside = 0
    for row in rows[:own]:
        cost_of_row = _row_cost(row)
        function += cost_of_row
        if cost_of_row.operations:  # what only moves elements keeps nothing that is not there already
            computed.update((position, y.size) for position, y in results_of(row))
    for row in rows[own:]:
        if not depends.isdisjoint(row[1]):
            depends.update(outputs_of(row))
            held = row[3].get("held") if row[0].multiple else None
            swept = None if held is None else held.swept([parent in depends for parent in row[1]])
            if swept is None:
                one_pass += _row_cost(row)
            else:
                once, each, kept = swept
                partials, one_pass, inside = partials + once, one_pass + each, inside + kept
        else:
            partials += _row_cost(row)
        read.update({parent: computed.get(parent, 0) for parent in row[1] if parent >= 0})
    outputs = linearization.outputs
    ends = found if mode == "reverse" else [None if position < 0 else found[position] for position in outputs]
    return Sweep(
        function,
        partials,
        one_pass,
        sum(read.values()) + inside if mode == "reverse" else 0,
        tuple(k in read for k in range(len(program.inputs))),
        tuple(0 if position in read else computed.get(position, 0) for position in outputs),
        tuple(end is not None for end in ends),
    )


def count_sweep(
    program: Program, args: Sequence[Any], active: Sequence[bool], mode: str, given: Sequence[bool] | None = None
) -> Sweep:
    """Count a sweep over a Program that a line holds, with tangents or adjoints of whole arguments and results.

    Only the active arguments are differentiated, and only the `given` results have adjoints.
    """
    held = tuple(
        Packing(a.name, a.shape, a.dtype, a.atoms) for a, on in zip(program.arguments, active, strict=True) if on
    )
    fixed = {a.atoms[0]: v for a, v, on in zip(program.arguments, args, active, strict=True) if not on}

    def bound(atom: Atom) -> Atom:
        return Constant(fixed[atom]) if atom in fixed else atom

    lines = tuple(
        Line(line.primitive, tuple(map(bound, line.inputs)), line.outputs, line.params, line.place)
        for line in program.lines
    )
    results = tuple(Packing(r.name, r.shape, r.dtype, tuple(map(bound, r.atoms))) for r in program.results)
    inner = Program(program.name, held, lines, results, (), False)
    values = [v for v, on in zip(args, active, strict=True) if on]
    if mode == "reverse":
        given = [r.dtype.kind in "fc" and (given is None or given[k]) for k, r in enumerate(program.results)]
    found = _one_pass(inner, values, mode, given if mode == "reverse" else None)
    places = [k for k, on in enumerate(active) if on]

    def whole(marks: Sequence[bool]) -> tuple[bool, ...]:
        marked = {place for place, mark in zip(places, marks, strict=True) if mark}
        return tuple(k in marked for k in range(len(active)))

    reached = whole(found.reached) if mode == "reverse" else found.reached
    return found._replace(read=whole(found.read), reached=reached)


def _seeds(trace: Trace, packings: Sequence[Packing], wanted: Sequence[bool]) -> list[Any]:
    """Make one traced seed for each argument or result that is wanted, and split it as that is laid out."""
    parts: list[Any] = []
    for packing, on in zip(packings, wanted, strict=True):
        parts += (
            packing.unpack(trace.input(np.ones(packing.shape, packing.dtype)[()]))
            if on
            else [None] * len(packing.atoms)
        )
    return parts


def _row_cost(row: Row) -> Cost:
    primitive, parents, kept, params, _, _ = row
    operands = [Constant(v) if p < 0 else v for p, v in zip(parents, kept[1:], strict=True)]
    return line_cost(primitive, kept[0], operands, params)


def choose(linearization: Linearization) -> str:
    """Choose the mode for the Jacobian of what was just traced, from n, m and the additions that each sweep makes.

    Both sweeps multiply by the same partials; they differ in the number of passes and in where they add.
    """
    n = sum(x.size for x in linearization.inputs)
    m = sum(y.size for y in linearization.values)
    if n >= 4 * m or m >= 4 * n:  # the counts of one pass differ by less than that
        return "forward" if n < m else "reverse"
    forward_pass = reverse_pass = 0
    used: set[int] = set()
    for row in linearization.rows:
        primitive, parents, kept, params, _, _ = row
        if primitive.multiple:
            there, back = _weigh_held(params["held"])
            forward_pass, reverse_pass = forward_pass + there, reverse_pass + back
            continue
        size = sum(y.size for _, y in results_of(row))
        reached = 0
        for k, parent in enumerate(parents):
            if parent < 0 or primitive.partial(k) is None:
                continue
            reached += 1
            forward_pass += size
            reverse_pass += size
            if parent in used:
                reverse_pass += kept[k + 1].size
            used.add(parent)
            if primitive.elementwise and kept[k + 1].size != size:
                reverse_pass += size  # an adjoint is summed where an operand was broadcast
        forward_pass += size * max(reached - 1, 0)
    return "forward" if n * forward_pass <= m * reverse_pass else "reverse"


def _weigh_held(held: Held) -> tuple[int, int]:
    """Count the additions of one forward and one reverse pass through the Programs that a line holds, by their steps.

    Every operand counts as differentiated: that decides between the modes as well, and nothing is recorded for it.
    """
    forward_pass = reverse_pass = 0
    for program, times in held.weighed():
        used: set[Any] = set()
        for line in program.lines if times else ():
            if line.held is not None:
                there, back = _weigh_held(line.held)
                forward_pass, reverse_pass = forward_pass + times * there, reverse_pass + times * back
                continue
            size = line.outputs[0].size
            operands = [a for k, a in enumerate(line.inputs) if isinstance(a, Var) and line.primitive.partial(k)]
            forward_pass += times * size * max(2 * len(operands) - 1, 0)
            for a in operands:
                reverse_pass += times * (size + (a.size if a in used else 0))
                reverse_pass += times * size * (line.primitive.elementwise and a.size != size)
                used.add(a)
    return forward_pass, reverse_pass
