"""Straight code: a Program as a plain Python function whose names are the variables.

A `Script` is the code alone, and fits all Programs of one structure: each brings its own constants, parameters and
guards, as the globals of its function.

>>> import wengert as wg
>>> straight(wg.trace(lambda x: 2.0 * x + 1.0)(0.0))(3.0)
(7.0,)
>>> doubled, tripled = (wg.trace(lambda x: k * x)(0.0) for k in (2.0, 3.0))
>>> Script(doubled).of(tripled)(1.0)
(3.0,)
"""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.program.dataflow import guards_of
from wengert.program.interpretation import fail_at
from wengert.program.lines import Var, WengertList
from wengert.program.primitive import SMALL, as_value


def straight(program: WengertList) -> Callable[..., tuple[Any, ...]]:
    """Write a Program as straight Python code and return the function: of one value an argument, to a tuple."""
    return Script(program).of(program)


class Script:
    """The code of all Programs of one structure.

    Where some variables are to be `kept`, a function of it returns two tuples: the results, and the `mark` that it was
    given followed by their values.
    """

    __slots__ = ("_code", "_names", "_own")

    def __init__(self, program: WengertList, kept: Sequence[Var] | None = None) -> None:
        self._own: list[str] = []
        """What each Program calls by these names is its own, in the order of `_particulars`."""
        self._names: dict[str, Any] = {"as_value": as_value, "fail_at": fail_at}
        source = self._write(program, kept)
        names = self._names.copy()
        exec(compile(source, f"<body {program.name}>", "exec"), names)
        self._code: types.CodeType = names.pop("step").__code__  # or else it would hold itself

    def of(self, program: WengertList, mark: Any = None) -> Callable[..., tuple[Any, ...]]:
        """Return the function of a Program that has the structure of the one that the code was written for."""
        names = self._names.copy()
        names.update(zip(self._own, _particulars(program), strict=True))
        names["mark"] = mark
        return types.FunctionType(self._code, names)

    def _write(self, program: WengertList, kept: Sequence[Var] | None) -> str:
        called: dict[Var, str] = {var: f"x{k}" for k, var in enumerate(program.inputs)}
        guards = guards_of(program)
        number = {guard: n for n, guard in enumerate(program.guards)}
        last: dict[Var, int] = {}
        for k, line in enumerate(program.lines):
            last.update((a, k) for a in line.inputs if isinstance(a, Var))
        returned = {a for a in (*program.outputs, *(kept or ())) if isinstance(a, Var)}
        code = [f"def step({', '.join(called[var] for var in program.inputs)}):"]

        def own(name: str) -> str:
            self._own.append(name)
            return name

        def named(atom: Any) -> str:
            return called[atom] if isinstance(atom, Var) else own(f"c{len(self._own)}")

        def heed(var: Var) -> None:
            for guard in guards.get(var, ()):
                code.append(f"    if {type(guard.value).__name__}({called[var]}) != {guard.value!r}:")
                code.append(f"        fail_at(g{number[guard]}, {called[var]})")

        for var in program.inputs:
            heed(var)
        for k, line in enumerate(program.lines):
            args = [named(a) for a in line.inputs]
            self._names[f"p{k}"] = line.primitive.compute
            if line.params:
                args.append(f"**{own(f'k{k}')}")
            for n, var in enumerate(line.outputs):
                called[var] = f"u{k}_{n}"
            call = f"p{k}({', '.join(args)})"
            if line.primitive.multiple:
                code.append(f"    ({''.join(f'{called[var]}, ' for var in line.outputs)}) = {call}")
            else:
                (var,) = line.outputs
                plain = var.shape or (line.primitive.elementwise and isinstance(line.primitive.numpy, np.ufunc))
                code.append(f"    {called[var]} = {call if plain else f'as_value({call})'}")
            for var in line.outputs:
                heed(var)
            gone = [a for a in dict.fromkeys(line.inputs) if isinstance(a, Var) and last[a] == k and a.size > SMALL]
            dead = [called[a] for a in gone if a not in returned and a in last and a.number > 0]
            if dead:
                code.append(f"    del {', '.join(dead)}")
        ends = f"({''.join(f'{named(a)}, ' for a in program.outputs)})"
        self._own += [f"g{n}" for n in range(len(program.guards))]
        if kept is not None:
            ends += f", (mark, {''.join(f'{called[var]}, ' for var in kept)})"
        code.append(f"    return {ends}")
        return "\n".join(code)


def _particulars(program: WengertList) -> list[Any]:
    """Return what Programs of one structure may differ in: constants and parameters in their order, and the guards."""
    found: list[Any] = []
    for line in program.lines:
        for atom in line.inputs:
            if not isinstance(atom, Var):
                found.append(atom.value)
        if line.params:
            found.append(line.params)
    found += [atom.value for atom in program.outputs if not isinstance(atom, Var)]
    found += program.guards
    return found
