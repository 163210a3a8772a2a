"""Unrolling: the short loops inside a body, written line by line for its code.

The Program of a body shows its loops.  Its code and its sweeps are faster where a loop of a few steps is written out:
all its lines then belong to one function.  (A loop that keeps less than all its residuals is left as it is.)

>>> import numpy as np, wengert as wg
>>> program = wg.trace(lambda x: wg.fori_loop(0, 2, lambda i, c: np.sin(c) + i, x))(1.0)
>>> print(unrolled(program).listing(places=False))
x = u_0
u_1 = sin(u_0)
u_2 = u_1 + 0
u_3 = sin(u_2)
u_4 = u_3 + 1   = y
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from wengert.control.holding import Holding
from wengert.errors import BranchError
from wengert.primitives.numpy.structural import alias
from wengert.program import (
    Atom,
    Constant,
    Guard,
    Line,
    Packing,
    Primitive,
    Program,
    Var,
    as_value,
    check_guard,
    interpret,
)

LONG = 300
"""A body of more lines than that is left as it is: its loops are long enough to have code of their own."""


def unrolled(program: Program) -> Program:
    """Return the Program with its short loops unrolled; the Program itself if it has none, or would be too long."""
    if not any(line.primitive.multiple for line in program.lines) or _length(program) > LONG:
        return program
    writer = _Writer()
    try:
        outputs = iter(writer.program(program, program.inputs))
    except BranchError:  # a decision on the number of a step, which another branch would take
        return program
    results = tuple(Packing(r.name, r.shape, r.dtype, tuple(next(outputs) for _ in r.atoms)) for r in program.results)
    return Program(program.name, program.arguments, tuple(writer.lines), results, tuple(writer.guards), program.single)


def _length(program: Program) -> int:
    """Count the lines of a Program with all that it holds written out."""
    total = 0
    for line in program.lines:
        held = line.held
        total += 1 if held is None else sum(n * _length(inner) for inner, n in held.weighed())  # type: ignore[arg-type, misc]
    return total


class _Writer:
    """The lines that are written, in order."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.guards: list[Guard] = []
        self._number = 0

    def program(self, program: Program, operands: Sequence[Atom]) -> list[Atom]:
        """Write the lines of a Program on operands, and return its results."""

        def write(line: Line, inputs: Sequence[Atom]) -> Any:
            held = line.held
            outputs = held.unroll(inputs, self.step, self.line) if isinstance(held, Holding) else None
            if outputs is None:
                outputs = self.line(line.primitive, tuple(inputs), line.outputs, line.params, line.place)
            return outputs if line.primitive.multiple else outputs[0]

        def keep(guard: Guard, atom: Atom) -> None:
            if isinstance(atom, Var):
                self.guards.append(Guard(atom, guard.value, guard.place))
            else:
                check_guard(guard, atom.value)

        atoms = interpret(program, operands, write, keep, Constant)
        return [atoms.get(a, a) if isinstance(a, Var) else a for a in program.outputs]

    def step(self, program: Program, operands: Sequence[Atom]) -> list[Atom]:
        """Write the lines of a step, whose adjoints are added up as where the step is run by itself.

        An operand that is read more than once has another name in it: what the step adds to its adjoint is added up
        before it meets other adjoints, so that the results are the same to the last bit.
        """
        uses = Counter(a for line in program.lines for a in line.inputs) + Counter(program.outputs)
        names = [
            self.line(alias, (a,), [a])[0] if isinstance(a, Var) and uses[var] > 1 else a
            for var, a in zip(program.inputs, operands, strict=True)
        ]
        return self.program(program, names)

    def line(
        self,
        primitive: Primitive,
        inputs: tuple[Atom, ...],
        like: Sequence[Any],
        params: Mapping[str, Any] | None = None,
        place: Any = None,
    ) -> tuple[Atom, ...]:
        """Write a line whose results are `like` others, or compute it if its operands are constants."""
        constants = [a.value for a in inputs if isinstance(a, Constant)]
        if len(constants) == len(inputs) and not primitive.multiple:
            return (Constant(as_value(primitive.compute(*constants, **(params or {})))),)
        outputs = tuple([Var(self._number + k, one.shape, one.dtype) for k, one in enumerate(like, 1)])
        self._number += len(outputs)
        self.lines.append(Line(primitive, inputs, outputs, params or {}, place))
        return outputs
