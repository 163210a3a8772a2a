"""Compiled: a Program as a fast Python function, with a local variable for each variable and a line for each line.

A `Script` is the code alone, and fits all Programs of one structure.  The constants, parameters and guards of a Program
are the globals of its function.

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
"""Primitives that are written as operators: an operator is faster than a call."""


def straight(program: WengertList) -> Callable[..., tuple[Any, ...]]:
    """Return a Program as a function from the independent variables, one by one, to the tuple of the dependent ones."""
    return Script(program).of(program)


def entry(program: WengertList) -> Callable[..., Any]:
    """Return a Program as a function from its arguments to its result, for `Program.__call__`.

    The function raises `Traced` if an argument is a traced value: its lines must be recorded then.
    """
    return Script(program, packed=True).of(program)


class Script:
    """The code of all Programs of one structure.

    With `kept` variables, the function returns two tuples: the results, and its argument `mark` followed by the values
    of these variables.  With `packed`, the function takes and returns the arguments and results of the Program instead
    of single variables.
    """

    __slots__ = ("_code", "_globals", "_names", "lines", "text")

    def __init__(self, program: WengertList, kept: Sequence[Var] | None = None, packed: bool = False) -> None:
        printer = _Printer(lower(program, kept or ()), kept is not None, packed)
        self.text = "\n".join(printer.text)
        """The source of the function."""
        self.lines = tuple(printer.lines)
        """For each line of the source, which line of the Program it computes, and the names of the operands."""
        self._globals = printer.globals
        """The global names whose values differ between Programs, in the order of `_particulars`."""
        names = printer.names
        exec(compile(self.text, f"<wengert {program.name}>", "exec"), names)
        self._code: types.CodeType = names.pop("step").__code__  # or else it would hold itself
        del names["__builtins__"]
        self._names = names

    def of(self, program: WengertList, mark: Any = None) -> Callable[..., Any]:
        """Return the compiled function of a Program of the structure that the code was written for."""
        names = self._names.copy()
        names.update(zip(self._globals, _particulars(program), strict=True))
        names["mark"] = mark
        names[ORIGIN] = self.lines, program.lines
        return types.FunctionType(self._code, names)


class Traced(Exception):  # noqa: N818 - not an error: the lines are to be recorded
    """A compiled function, which takes plain values, was called on a traced one."""


def enter(packing: Packing, value: Any) -> Any:
    """Return the value of an argument as an array or NumPy scalar of its shape; raise `Traced` where it is traced."""
    if isinstance(value, Recordable):
        raise Traced
    return packing.checked(value)


class _Printer:
    """Writes code as the source of a function `step`."""

    def __init__(self, code: Code, with_kept: bool, packed: bool) -> None:
        self.text: list[str] = []
        self.lines: list[tuple[int | None, tuple[str, ...]]] = []
        self.globals: list[str] = []
        self.names: dict[str, Any] = {"as_value": as_value, "fail_at": fail_at}
        self.code = code
        self.called: dict[Var, str] = {var: f"x{k}" for k, var in enumerate(code.program.inputs)}
        arguments = [f"a{k}" for k in range(len(code.program.arguments))] if packed else self.called.values()
        self._write(f"def step({', '.join(arguments)}):")
        places = {line: k for k, line in enumerate(code.program.lines)}
        for statement in code.statements:
            if isinstance(statement, Call):
                self._call(statement.line, places[statement.line])
            elif isinstance(statement, Enter):
                if packed:
                    self._enter(statement.argument, statement.place)
            elif isinstance(statement, Check):
                self._check(statement)
            else:
                self._write(f"    del {', '.join([self.called[var] for var in statement.variables])}")
        returned = self._leave_packed() if packed else f"({self._listed(code.program.outputs)})"
        self.globals += [f"g{k}" for k in range(len(code.program.guards))]
        if with_kept:
            returned += f", (mark, {self._listed(code.kept)})"
        self._write(f"    return {returned}")

    def _write(self, text: str, place: int | None = None, operands: Sequence[str] = ()) -> None:
        self.text.append(text)
        self.lines.append((place, tuple(operands)))

    def _global(self, name: str) -> str:
        self.globals.append(name)
        return name

    def _name(self, atom: Any) -> str:
        return self.called[atom] if isinstance(atom, Var) else self._global(f"c{len(self.globals)}")

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
            more = [f"**{self._global(f'k{place}')}"] if line.params else []
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

    def _leave_packed(self) -> str:
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
    """Return the particulars of a Program: its constants and parameters in the order of the lines, and its guards."""
    values: list[Any] = []
    for line in program.lines:
        values += [atom.value for atom in line.inputs if not isinstance(atom, Var)]
        if line.params:
            values.append(line.params)
    values += [atom.value for atom in program.outputs if not isinstance(atom, Var)]
    return [*values, *program.guards]
