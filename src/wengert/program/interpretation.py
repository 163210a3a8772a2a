"""Interpretation: the one walk over a list of lines.

>>> import wengert as wg
>>> program = wg.trace(lambda x: 2.0 * x + 1.0)(0.0)
>>> [float(value) for value in evaluate_all(program, 3.0).values()]
[3.0, 6.0, 7.0]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wengert.errors import ArgumentError, BranchError, Location
from wengert.program.dataflow import guards_of
from wengert.program.lines import Guard, Line, Var, WengertList, value_of


def evaluate(program: WengertList, *args: Any) -> Any:
    """Evaluate a Program at a point; raise BranchError where its function would take another branch.

    Returns what the function returned: an array, or a tree of arrays.
    """
    environment = evaluate_all(program, *args)
    values = tuple(result.pack([value_of(atom, environment) for atom in result.atoms]) for result in program.results)
    if program.trees is not None:
        return program.trees.join(values)
    return values[0] if program.single else values


def evaluate_all(program: WengertList, *args: Any, before: Callable[[Line], None] | None = None) -> dict[Var, Any]:
    """Evaluate a Program at a point and return the value of every variable.

    Where the function takes trees, the arguments are trees, or else their leaves one by one.  `before` is told of each
    line that comes.
    """
    if program.trees is not None:
        args = tuple(program.trees.split(args))
    if len(args) != len(program.arguments):
        names = ", ".join(a.name for a in program.arguments)
        raise ArgumentError(f"this Program takes {len(program.arguments)} arguments ({names}), not {len(args)}.")
    environment: dict[Var, Any] = {}
    for argument, value in zip(program.arguments, args, strict=True):
        for atom, part in zip(argument.atoms, argument.unpack(value), strict=True):
            environment[atom] = part  # type: ignore[index]
    guards = guards_of(program)
    for var in program.inputs:
        _heed(guards, var, environment)
    for line in program.lines:
        if before is not None:
            before(line)
        result = line.primitive(*[value_of(a, environment) for a in line.inputs], **line.params)
        if line.primitive.multiple:
            environment.update(zip(line.outputs, result, strict=True))
        else:
            environment[line.outputs[0]] = result
        for var in line.outputs:
            _heed(guards, var, environment)
    return environment


def _heed(guards: dict[Var, list[Guard]], var: Var, environment: dict[Var, Any]) -> None:
    for guard in guards.get(var, ()):
        if guard.value != type(guard.value)(environment[var]):
            fail_at(guard, environment[var])


def fail_at(guard: Guard, value: Any) -> None:
    """Raise BranchError for a guarded variable that has another value here."""

    def message() -> str:
        location = Location.of(guard.place)
        return (
            f"here {guard.var} is {value}, and the Program was traced where it was {guard.value}:"
            + ("" if location is None else f"\n{location.excerpt()}")
            + "\nThe function takes another branch at this point: trace it again there."
        )

    raise BranchError(message)
