"""Code: a Program lowered to statements, as data; it is printed as fast or as readable Python.

There is one lowering.  It orders the lines, checks each decision right after the line that it depends on, and frees
large values after their last use.  The printers only write (`wengert.program.compiled`, `.source`).

>>> import wengert as wg
>>> program = wg.trace(lambda x: 2.0 * x if x > 1.0 else x)(3.0)
>>> print(*lower(program).statements, sep="\\n")
enter x
u_1 = u_0 > 1
check where u_1 is True
u_2 = 2 * u_0
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wengert.program.dataflow import guards_of, last_reads
from wengert.program.lines import Atom, Guard, Line, Packing, Var, WengertList
from wengert.program.primitive import SMALL


@dataclass(frozen=True, slots=True, eq=False)
class Enter:
    """Unpack an argument, given by its place among the arguments of the Program, into its variables."""

    argument: Packing
    place: int

    def __str__(self) -> str:
        return f"enter {self.argument.name}"


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """Compute a line."""

    line: Line

    def __str__(self) -> str:
        return str(self.line)


@dataclass(frozen=True, slots=True, eq=False)
class Check:
    """Check that a decision is taken again; the guard is given by its place among the guards of the Program."""

    guard: Guard
    place: int

    def __str__(self) -> str:
        return f"check {self.guard}"


@dataclass(frozen=True, slots=True, eq=False)
class Free:
    """Free values that no later statement reads."""

    variables: tuple[Var, ...]

    def __str__(self) -> str:
        return f"free {', '.join(map(str, self.variables))}"


Statement = Enter | Call | Check | Free


@dataclass(frozen=True, slots=True, eq=False)
class Code:
    """A Program as statements, from its arguments to its results.

    Attributes
    ----------
    program
        The Program: its arguments, its results.
    statements
        The statements, in order of execution.
    kept
        The variables whose values are returned beside the results.
    """

    program: WengertList
    statements: tuple[Statement, ...]
    kept: tuple[Var, ...] = ()


def lower(program: WengertList, kept: Sequence[Var] = ()) -> Code:
    """Lower a Program to statements."""
    guards = guards_of(program)
    places = {guard: k for k, guard in enumerate(program.guards)}
    last = last_reads(program)
    stay = {a for a in (*program.inputs, *program.outputs, *kept) if isinstance(a, Var)}
    statements: list[Statement] = []

    def check(variables: Iterable[Atom]) -> None:
        statements.extend([Check(g, places[g]) for var in variables if var in guards for g in guards[var]])

    for k, argument in enumerate(program.arguments):
        statements.append(Enter(argument, k))
        check(argument.atoms)
    for line in program.lines:
        statements.append(Call(line))
        check(line.outputs)
        gone = tuple(var for var in last.get(line, ()) if var.size > SMALL and var not in stay)
        if gone:
            statements.append(Free(gone))
    return Code(program, tuple(statements), tuple(kept))
