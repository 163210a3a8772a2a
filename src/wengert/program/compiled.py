"""Compiled: a Program as a Python function that runs fast, each variable a local one, each line a line.

A `Script` is the code alone, and fits all Programs of one structure: each brings its own constants, parameters and
guards, as the globals of its function.

>>> import wengert as wg
>>> straight(wg.trace(lambda x: 2.0 * x + 1.0)(0.0))(3.0)
(7.0,)
>>> doubled, tripled = (wg.trace(lambda x: k * x)(0.0) for k in (2.0, 3.0))
>>> Script(doubled).of(tripled)(1.0)
(3.0,)
>>> print(Script(doubled).text)
def step(x0):
    u0 = c0 * x0
    return (u0,)
"""

from __future__ import annotations

import operator
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from wengert.program.code import Call, Check, Code, Enter, lower
from wengert.program.interpretation import fail_at
from wengert.program.lines import Line, Packing, Var, WengertList
from wengert.program.primitive import Recordable, as_value
from wengert.program.provenance import ORIGIN

_OPERATORS: Mapping[Any, str] = {
    operator.add: "{} + {}",
    operator.sub: "{} - {}",
    operator.mul: "{} * {}",
    operator.truediv: "{} / {}",
    operator.pow: "{} ** {}",
    operator.neg: "-{}",
}
"""What is written as an operator, which is faster than the call of a function."""


def straight(program: WengertList) -> Callable[..., tuple[Any, ...]]:
    """Return a Program as a function of one value an independent variable, to the tuple of the dependent ones."""
    return Script(program).of(program)


def entry(program: WengertList) -> Callable[..., Any]:
    """Return a Program as a function of its arguments, to its result: what `Program.__call__` runs.

    It raises `Traced` where an argument is a traced value: then the lines are to be recorded.
    """
    return Script(program, whole=True).of(program)


class Script:
    """The code of all Programs of one structure.

    Where some variables are to be `kept`, a function of it returns two tuples: the results, and the `mark` that it was
    given followed by their values.  A `whole` function takes and returns arrays as the Program's arguments and results
    are laid out.
    """

    __slots__ = ("_code", "_names", "_own", "lines", "text")

    def __init__(self, program: WengertList, kept: Sequence[Var] | None = None, whole: bool = False) -> None:
        printer = _Printer(lower(program, kept or ()), kept is not None, whole)
        self.text = "\n".join(printer.text)
        """The source of the function."""
        self.lines = tuple(printer.lines)
        """For each line of the source, which line of the Program it computes, and the names of the operands."""
        self._own = printer.own
        """What each Program calls by these names is its own, in the order of `_particulars`."""
        names = printer.names
        exec(compile(self.text, f"<wengert {program.name}>", "exec"), names)
        self._code: types.CodeType = names.pop("step").__code__  # or else it would hold itself
        del names["__builtins__"]
        self._names = names

    def of(self, program: WengertList, mark: Any = None) -> Callable[..., Any]:
        """Return the function of a Program that has the structure of the one that the code was written for."""
        names = self._names.copy()
        names.update(zip(self._own, _particulars(program), strict=True))
        names["mark"] = mark
        names[ORIGIN] = self.lines, program.lines
        return types.FunctionType(self._code, names)


class Traced(Exception):  # noqa: N818 - not an error: the lines are to be recorded
    """A function of plain values was given a traced one."""


def enter(packing: Packing, value: Any) -> Any:
    """Return the value of an argument as an array or NumPy scalar of its shape; raise `Traced` where it is traced."""
    if isinstance(value, Recordable):
        raise Traced
    return packing.checked(value)


class _Printer:
    """Writes code as the source of a function `step`."""

    def __init__(self, code: Code, with_kept: bool, whole: bool) -> None:
        self.text: list[str] = []
        self.lines: list[tuple[int | None, tuple[str, ...]]] = []
        self.own: list[str] = []
        self.names: dict[str, Any] = {"as_value": as_value, "fail_at": fail_at}
        self.code = code
        self.called: dict[Var, str] = {var: f"x{k}" for k, var in enumerate(code.program.inputs)}
        arguments = [f"a{k}" for k in range(len(code.program.arguments))] if whole else self.called.values()
        self._write(f"def step({', '.join(arguments)}):")
        places = {line: k for k, line in enumerate(code.program.lines)}
        for statement in code.statements:
            if isinstance(statement, Call):
                self._call(statement.line, places[statement.line])
            elif isinstance(statement, Enter):
                if whole:
                    self._enter(statement.argument, statement.place)
            elif isinstance(statement, Check):
                self._check(statement)
            else:
                self._write(f"    del {', '.join([self.called[var] for var in statement.variables])}")
        returned = self._leave_whole() if whole else f"({self._listed(code.program.outputs)})"
        self.own += [f"g{k}" for k in range(len(code.program.guards))]
        if with_kept:
            returned += f", (mark, {self._listed(code.kept)})"
        self._write(f"    return {returned}")

    def _write(self, text: str, place: int | None = None, operands: Sequence[str] = ()) -> None:
        self.text.append(text)
        self.lines.append((place, tuple(operands)))

    def _own(self, name: str) -> str:
        self.own.append(name)
        return name

    def _name(self, atom: Any) -> str:
        return self.called[atom] if isinstance(atom, Var) else self._own(f"c{len(self.own)}")

    def _listed(self, atoms: Sequence[Any]) -> str:
        return "".join([f"{self._name(atom)}, " for atom in atoms]).removesuffix(" ")

    def _call(self, line: Line, place: int) -> None:
        primitive = line.primitive
        operands = [self._name(a) for a in line.inputs]
        sign = _OPERATORS.get(primitive.compute)
        if sign is not None and not line.params:
            call = sign.format(*operands)
        else:
            self.names[f"p{place}"] = primitive.compute
            more = [f"**{self._own(f'k{place}')}"] if line.params else []
            call = f"p{place}({', '.join([*operands, *more])})"
        if primitive.multiple:
            self.called.update((var, f"u{place}_{n}") for n, var in enumerate(line.outputs))
            left = f"({self._listed(line.outputs)})"
        else:
            (var,) = line.outputs
            self.called[var] = left = f"u{place}"
            if not (var.shape or (primitive.elementwise and isinstance(primitive.numpy, np.ufunc))):
                call = f"as_value({call})"
        self._write(f"    {left} = {call}", place, operands)

    def _check(self, check: Check) -> None:
        value, name = check.guard.value, self.called[check.guard.var]
        if type(value) is bool:
            self._write(f"    if {'not ' * value}{name}:")
        else:
            self._write(f"    if int({name}) != g{check.place}.value:")
        self._write(f"        fail_at(g{check.place}, {name})")

    # -- Arguments and results as the Program lays them out --

    def _enter(self, argument: Packing, k: int) -> None:
        name = self.called[argument.atoms[0]] if argument.whole else f"a{k}"  # type: ignore[index]
        fits = (
            f"type(a{k}) is ndarray and a{k}.shape == {argument.shape}" if argument.shape else f"type(a{k}) is float64"
        )
        self.names.update({"enter": enter, "ndarray": np.ndarray, "float64": np.float64, f"packing{k}": argument})
        self._write(f"    {name} = a{k} if {fits} else enter(packing{k}, a{k})")
        if not argument.whole:
            flat = name if len(argument.shape) == 1 else f"{name}.ravel()"
            self._write(f"    ({self._listed(argument.atoms)}) = {flat}")

    def _leave_whole(self) -> str:
        program = self.code.program
        self.names["array"] = np.array
        written = []
        for k, result in enumerate(program.results):
            if result.whole:
                written.append(self._name(result.atoms[0]))
                continue
            self.names[f"dtype{k}"] = result.dtype
            flat = f"array(({self._listed(result.atoms)}), dtype{k})"
            written.append(flat if len(result.shape) == 1 else f"{flat}.reshape({result.shape})")
        return written[0] if program.single else f"({''.join([f'{text}, ' for text in written])})"


def _particulars(program: WengertList) -> list[Any]:
    """Return what Programs of one structure may differ in: constants and parameters in their order, and the guards."""
    values: list[Any] = []
    for line in program.lines:
        values += [atom.value for atom in line.inputs if not isinstance(atom, Var)]
        if line.params:
            values.append(line.params)
    values += [atom.value for atom in program.outputs if not isinstance(atom, Var)]
    return [*values, *program.guards]
