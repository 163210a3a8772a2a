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

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wengert.accumulation.sweeps import forward, reverse
from wengert.cost import Cost, cost, line_cost
from wengert.linearization import Linearization
from wengert.program import Atom, Constant, Line, Packing, Program
from wengert.tracing import Row, Tape, outputs_of, recording, results_of


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

    @property
    def choice(self) -> Candidate:
        """The candidate that is taken."""
        return self.candidates[0]

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.text import Text

        return Group(Text(self._headline()), _table(self), Text(self.reason))

    def __str__(self) -> str:
        from rich.console import Console

        out = io.StringIO()
        Console(file=out, width=200, color_system=None, force_terminal=False).print(self, end="")
        return "\n".join(line.rstrip() for line in out.getvalue().rstrip().splitlines())

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
    return Plan(program.name, n, m, len(program.lines), function, tuple(candidates), _reason(candidates, n, m))


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
    """Record one pass of a mode and count its lines by what they depend on."""
    with recording() as tape:
        xs = [tape.input(value) for value in args]
        linearization = Linearization.of_program(program, *xs)
        own = len(tape.rows)
        packings = program.arguments if mode == "forward" else program.results
        first_seed = tape.size
        positions = range(len(program.inputs)) if mode == "forward" else linearization.outputs
        seeds: dict[int, Any] = {}
        for position, seed in zip(positions, _seeds(tape, packings), strict=True):
            if position >= 0:
                seeds[position] = seeds[position] + seed if position in seeds else seed
        (forward if mode == "forward" else reverse)(linearization, seeds)
        rows = tape.rows
    depends = set(range(first_seed, first_seed + len(packings)))
    function, partials, one_pass = Cost(), Cost(), Cost()
    read: dict[int, int] = {}
    computed: dict[int, int] = {}
    for row in rows[:own]:
        cost_of_row = _row_cost(row)
        function += cost_of_row
        if cost_of_row.operations:  # what only moves elements keeps nothing that is not there already
            computed.update((position, y.size) for position, y in results_of(row))
    for row in rows[own:]:
        if not depends.isdisjoint(row[1]):
            depends.update(outputs_of(row))
            one_pass += _row_cost(row)
        else:
            partials += _row_cost(row)
        read.update({parent: computed[parent] for parent in row[1] if parent in computed})
    kept = sum(read.values()) if mode == "reverse" else 0
    return Candidate(mode, passes, function, partials, one_pass, kept)


def count_sweep(program: Program, args: Sequence[Any], active: Sequence[bool], mode: str) -> tuple[Cost, Cost, int]:
    """Count a sweep over the body of a loop: its partials, one pass, and the values that a reverse sweep reads.

    Only the active arguments are differentiated.
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
    results = tuple(
        Packing(r.name, r.shape, r.dtype, tuple(map(bound, r.atoms))) for r in program.results if r.dtype.kind in "fc"
    )
    inner = Program(program.name, held, lines, results, (), False)
    values = [v for v, on in zip(args, active, strict=True) if on]
    found = _candidate(inner, values, mode, 1)
    return found.partials, found.one_pass, found.kept


def _seeds(tape: Tape, packings: Sequence[Packing]) -> list[Any]:
    """Make one traced seed for each argument or result, and split it as that is laid out."""
    wholes = [tape.input(np.ones(p.shape, p.dtype)[()]) for p in packings]
    return [part for packing, whole in zip(packings, wholes, strict=True) for part in packing.unpack(whole)]


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
        primitive, parents, kept, _, _, _ = row
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
