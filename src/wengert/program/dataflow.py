"""Dataflow: the dependences between the values of a list of lines.

>>> import numpy as np, wengert as wg
>>> program = wg.trace(lambda x, n: x * np.floor(n))(0.5, 2.0)
>>> sorted(map(str, reached_by(program, (True, False)))), sorted(map(str, reached_by(program, (False, True))))
(['u_2', 'u_{-1}'], ['u_0'])
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from wengert.errors import ProgramError
from wengert.program.lines import Atom, Guard, Line, Packing, Var, WengertList

AnyList = TypeVar("AnyList", bound=WengertList)


def walk(program: WengertList) -> Iterator[Line]:
    """Yield the lines of a Program, each followed by the lines of the Programs that it holds."""
    for line in program.lines:
        yield line
        for inner in line.programs:
            yield from walk(inner)


def guards_of(program: WengertList) -> dict[Var, list[Guard]]:
    """Return the guards of each variable: one variable may decide both ``if n`` and ``int(n)``."""
    guards: dict[Var, list[Guard]] = {}
    for guard in program.guards:
        guards.setdefault(guard.var, []).append(guard)
    return guards


def depending_on(program: WengertList, variables: Iterable[Var]) -> set[Var]:
    """Return the given variables and all variables computed from them."""
    reached = set(variables)
    for line in program.lines:
        if not reached.isdisjoint(line.inputs):
            reached.update(line.outputs)
    return reached


def live_lines(program: WengertList) -> list[Line]:
    """Return the lines that a result or a guard depends on."""
    needed: set[Atom] = {*program.outputs, *[guard.var for guard in program.guards]}
    live: list[Line] = []
    for line in reversed(program.lines):
        if not needed.isdisjoint(line.outputs):
            needed.update(line.inputs)
            live.append(line)
    return live[::-1]


def reached_by(program: WengertList, active: Sequence[bool]) -> set[Var]:
    """Return the variables that a path of derivatives joins to an active independent variable."""
    reached = {var for var, on in zip(program.inputs, active, strict=True) if on}
    for line in program.lines:
        if (line.primitive.keeps or line.primitive.multiple) and not reached.isdisjoint(line.inputs):
            reached.update(var for var in line.outputs if var.dtype.kind in "fc")
    return reached


def substitute(program: AnyList, atoms: Mapping[Var, Atom], arguments: Sequence[Packing] | None = None) -> AnyList:
    """Return a Program with variables replaced by other atoms, and optionally with other arguments.

    Results of lines can be replaced by variables only; a guard of a variable that becomes a constant is dropped.
    """

    def follow(atom: Atom) -> Any:
        return atoms.get(atom, atom) if isinstance(atom, Var) else atom

    def follow_all(packing: Packing) -> Packing:
        return Packing(packing.name, packing.shape, packing.dtype, tuple(map(follow, packing.atoms)))

    lines = [
        Line(line.primitive, tuple(map(follow, line.inputs)), tuple(map(follow, line.outputs)), line.params, line.place)
        for line in program.lines
    ]
    guards = [Guard(follow(guard.var), guard.value, guard.place) for guard in program.guards]
    return replace(
        program,
        arguments=tuple(map(follow_all, program.arguments) if arguments is None else arguments),
        lines=tuple(lines),
        results=tuple(map(follow_all, program.results)),
        guards=tuple([guard for guard in guards if isinstance(guard.var, Var)]),
    )


def check(program: WengertList) -> None:  # noqa: C901 - an invariant after the other
    """Check that a Program is well formed; raise ProgramError naming the first line that is not.

    Every variable is defined once and before it is used, numbers rise, packings fit their shapes.
    """
    defined: set[Var] = set()

    def fail(reason: str, line: Line | None = None) -> None:
        message = [f"{program.name} is not a Program: {reason}."]
        if line is not None:
            here = program.lines.index(line)
            message += [
                ("> " if k == here else "  ") + str(program.lines[k])
                for k in range(max(0, here - 2), min(len(program.lines), here + 3))
            ]
            if line.location is not None:
                message.append(line.location.excerpt())
        raise ProgramError("\n".join(message))

    for packing in program.arguments:
        for atom in packing.atoms:
            if not isinstance(atom, Var) or atom.number > 0:
                fail(f"argument {packing.name} is laid out in {atom}, which is no independent variable")
            elif atom in defined:
                fail(f"{atom} stands twice among the arguments")
            else:
                defined.add(atom)
    last = 0
    for line in program.lines:
        for atom in line.inputs:
            if isinstance(atom, Var) and atom not in defined:
                fail(f"{atom} is used before it is defined", line)
        for var in line.outputs:
            if var.number <= last:
                fail(f"{var} does not follow u_{last}", line)
            last = var.number
            defined.add(var)
        for inner in line.programs:
            check(inner)
    for guard in program.guards:
        if guard.var not in defined:
            fail(f"a guard asks for {guard.var}, which is not defined")
    for packing in (*program.arguments, *program.results):
        for atom in packing.atoms:
            if isinstance(atom, Var) and atom not in defined:
                fail(f"result {packing.name} is {atom}, which is not defined")
        if not packing.whole and (
            len(packing.atoms) != math.prod(packing.shape) or any(atom.shape != () for atom in packing.atoms)
        ):
            fail(f"{packing.name} of shape {packing.shape} is laid out in {len(packing.atoms)} variables")
