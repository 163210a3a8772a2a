"""Straight code: a Program as a plain Python function whose names are the variables.

>>> import wengert as wg
>>> straight(wg.trace(lambda x: 2.0 * x + 1.0)(0.0))(3.0)
(7.0,)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.program import Program, Var, as_value, fail_at, guards_of
from wengert.tracing import SMALL


def straight(program: Program, kept: Sequence[Var] | None = None, mark: Any = None) -> Callable[..., tuple[Any, ...]]:
    """Write a Program as straight Python code and return the function: of one value an argument, to a tuple.

    Where some variables are to be `kept`, it returns two tuples: the results, and `mark` followed by their values.
    """
    names: dict[str, Any] = {"as_value": as_value, "fail_at": fail_at}
    called: dict[Var, str] = {var: f"x{k}" for k, var in enumerate(program.inputs)}
    guards = guards_of(program)
    last: dict[Var, int] = {}
    for k, line in enumerate(program.lines):
        last.update((a, k) for a in line.inputs if isinstance(a, Var))
    returned = {a for a in (*program.outputs, *(kept or ())) if isinstance(a, Var)}
    code = [f"def step({', '.join(called[var] for var in program.inputs)}):"]

    def named(atom: Any) -> str:
        if isinstance(atom, Var):
            return called[atom]
        name = f"c{len(names)}"
        names[name] = atom.value
        return name

    def heed(var: Var) -> None:
        for guard in guards.get(var, ()):
            name = f"g{len(names)}"
            names[name] = guard
            code.append(f"    if {type(guard.value).__name__}({called[var]}) != {guard.value!r}:")
            code.append(f"        fail_at({name}, {called[var]})")

    for var in program.inputs:
        heed(var)
    for k, line in enumerate(program.lines):
        args = [named(a) for a in line.inputs]
        names[f"p{k}"] = line.primitive.compute
        if line.params:
            names[f"k{k}"] = line.params
            args.append(f"**k{k}")
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
    if kept is not None:
        names["mark"] = mark
        ends += f", (mark, {''.join(f'{called[var]}, ' for var in kept)})"
    code.append(f"    return {ends}")
    exec(compile("\n".join(code), f"<body {program.name}>", "exec"), names)
    return names.pop("step")  # type: ignore[no-any-return]  # or else it would hold itself
