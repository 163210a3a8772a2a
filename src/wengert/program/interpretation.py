"""Interpretation: the one walk over a list of lines.

Every computation that goes through a Program line by line is a handler of a line: evaluation, linearization, batching,
scalar forms, formulas.  A handler computes the value that stands for a result from those that stand for the operands.

>>> import wengert as wg
>>> program = wg.trace(lambda x: 2.0 * x + 1.0)(0.0)
>>> [float(value) for value in evaluate_all(program, 3.0).values()]
[3.0, 6.0, 7.0]
>>> def depth(line, depths):
...     return 1 + max(depths)
>>> list(interpret(program, [0], depth, constant=lambda value: 0).values())
[0, 1, 2]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from wengert.errors import ArgumentError, BranchError, explain_at
from wengert.program.dataflow import guards_of
from wengert.program.lines import Atom, Guard, Line, Var, WengertList
from wengert.program.provenance import computes_lines


def check_guard(guard: Guard, value: Any) -> None:
    """Raise BranchError if the guarded decision would differ for a value."""
    if guard.value != type(guard.value)(value):
        fail_at(guard, value)


@computes_lines(lambda variables: (variables["line"].primitive, variables["line"].place, variables["operands"]))
def interpret(
    program: WengertList,
    values: Sequence[Any],
    apply: Callable[[Line, list[Any]], Any],
    on_guard: Callable[[Guard, Any], None] | None = check_guard,
    constant: Callable[[Any], Any] | None = None,
) -> dict[Var, Any]:
    """Apply a handler to each line in order, and return the value that stands for each variable.

    Parameters
    ----------
    values
        The values that stand for the independent variables, one by one.
    apply
        The handler: takes a line and the values of its operands, and returns the value of its result; for a line of
        several results (`Primitive.multiple`), one for each.
    on_guard
        Takes each guard and the value of its variable, as soon as that is computed; None to ignore guards.
    constant
        Takes the value of a constant and returns the value that stands for it; None for the value itself.
    """
    environment: dict[Var, Any] = dict(zip(program.inputs, values, strict=True))
    guards = guards_of(program) if on_guard is not None else {}

    def heed(var: Var) -> None:
        for guard in guards.get(var, ()):
            on_guard(guard, environment[var])  # type: ignore[misc]

    if guards:
        for var in program.inputs:
            heed(var)
    for line in program.lines:
        if constant is None:
            operands = [environment[a] if type(a) is Var else a.value for a in line.inputs]  # type: ignore[union-attr]
        else:
            operands = [environment[a] if isinstance(a, Var) else constant(a.value) for a in line.inputs]
        result = apply(line, operands)
        if line.primitive.multiple:
            environment.update(zip(line.outputs, result, strict=True))
        else:
            environment[line.outputs[0]] = result
        if guards:
            for var in line.outputs:
                heed(var)
    return environment


def evaluate_line(line: Line, operands: Sequence[Any]) -> Any:
    """Evaluate a line on the values of its operands; on traced ones that records a line."""
    return line.primitive(*operands, **line.params)


def values_of_inputs(program: WengertList, args: Sequence[Any]) -> list[Any]:
    """Return the values of the independent variables; the arguments are trees, or their leaves one by one."""
    if program.trees is not None:
        args = tuple(program.trees.split(args))
    if len(args) != len(program.arguments):
        names = ", ".join(a.name for a in program.arguments)
        raise ArgumentError(f"this Program takes {len(program.arguments)} arguments ({names}), not {len(args)}.")
    return [part for argument, value in zip(program.arguments, args, strict=True) for part in argument.unpack(value)]


def evaluate_all(program: WengertList, *args: Any) -> dict[Var, Any]:
    """Evaluate a Program at a point and return the value of every variable.

    If the function takes trees, pass trees, or their leaves one by one.
    """
    return interpret(program, values_of_inputs(program, args), evaluate_line)


def evaluate(program: WengertList, *args: Any) -> Any:
    """Evaluate a Program at a point; raise BranchError where its function would take another branch.

    The result has the form of the function's own: an array, or a tree of arrays.
    """
    environment = evaluate_all(program, *args)
    values = tuple(result.pack([value_of(atom, environment) for atom in result.atoms]) for result in program.results)
    if program.trees is not None:
        return program.trees.join(values)
    return values[0] if program.single else values


def value_of(atom: Atom, environment: Mapping[Var, Any]) -> Any:
    """Return the value of a variable or constant."""
    return environment[atom] if isinstance(atom, Var) else atom.value


def fail_at(guard: Guard, value: Any) -> NoReturn:
    """Raise BranchError for a guarded variable whose value decides differently."""

    def message() -> str:
        happened = f"here {guard.var} is {value}, and the Program was traced where it was {guard.value}:"
        return explain_at(
            guard.place, happened, "The function takes another branch at this point: trace it again there."
        )

    raise BranchError(message)
