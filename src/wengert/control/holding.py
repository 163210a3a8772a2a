"""Holdings: what the line of a loop, a branch or a checkpoint holds beside its operands, as frozen data.

A holding says which Programs the line runs, and how their arguments and results are wired to the operands and results
of the line.  It has no state: what one run computes and keeps is in `wengert.control.execution`.

>>> import numpy as np, wengert as wg
>>> program = wg.trace(lambda x: wg.fori_loop(0, 5, lambda i, c: np.sin(c), x))(1.0)
>>> program.lines[0].held.heading()
'5 steps'
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from wengert.cost import Cost, cost
from wengert.linearization import Linearization
from wengert.program import Atom, Held, Program
from wengert.program.structure import structure

Mask = tuple[bool, ...]
Values = tuple[Any, ...]
WriteProgram = Callable[[Program, Sequence[Atom]], list[Atom]]
WriteLine = Callable[..., tuple[Atom, ...]]


class Holding(Held):
    """What a line holds."""

    __slots__ = ()
    name: str
    origin: tuple[Holding, Mask, tuple[int, ...]] | None
    """If this is the tangent of a line: that line, which of its operands carry tangents, and where their values stand.

    (Among the operands of this one.)
    """

    @property
    def programs(self) -> tuple[Program, ...]:
        raise NotImplementedError

    def weighed(self) -> list[tuple[Program, int]]:
        return list(zip(self.programs, self.times, strict=True))

    def cost(self) -> Cost:
        """Count the operations of all the Programs together."""
        total = Cost()
        for program, times in zip(self.programs, self.times, strict=True):
            total += times * cost(program)
        return total

    def swept(self, moving: Sequence[bool]) -> tuple[Cost, Cost, int] | None:
        if self.origin is None:
            return None
        held, active, values = self.origin
        return None if any(moving[k] for k in values) else held.sweep("forward", active)

    def sweep(self, mode: str, active: Mask | None = None, seeded: Mask | None = None) -> tuple[Cost, Cost, int]:
        """Count a sweep over this line: what is done once, what in each pass, and how many values are kept for it.

        Only the operands that are `active` are differentiated, and only the results that are `seeded` have adjoints.
        """
        raise NotImplementedError

    @property
    def wiring(self) -> Hashable:
        """All that two of one kind have in common beside their Programs, if the same code fits both."""
        raise NotImplementedError

    def structure(self, longest: int | None = None) -> tuple[Hashable, list[Any]] | None:
        keys: list[Any] = [type(self), self.wiring]
        particulars: list[Any] = []
        for program in self.programs:
            inner = structure(program, longest)
            if inner is None:
                return None
            keys.append(inner.key)
            particulars += inner.particulars
        return tuple(keys), particulars

    def unroll(self, operands: Sequence[Atom], program: WriteProgram, line: WriteLine) -> tuple[Atom, ...] | None:
        """Write the line as the lines of its Programs, and return its results; None where that is not known before.

        `program` writes the lines of a Program on operands, and `line` a single line.
        """
        return None


# ---- What is kept of a run, in bytes ----

ARRAY = 144
"""Bytes that an array takes beside its elements: the object, its shape and strides, and what the allocator adds."""
PLACE = 320
"""Bytes that a place in a store takes: tuple, number, dict and what the schedule remembers."""


def bytes_of(linearization: Linearization, held_anyway: Sequence[Any]) -> int:
    """Count the bytes that a linearization keeps, beside the values that are `held_anyway`."""
    held_elsewhere = {id(v) for v in held_anyway}
    kept: dict[int, int] = {}
    total = PLACE * (len(linearization.rows) + 1)
    for _, _, values, params, _, _ in linearization.rows:
        for value in values:
            for v in value if type(value) is tuple else (value,):
                if hasattr(v, "nbytes") and id(v) not in held_elsewhere:
                    kept[id(v)] = v.nbytes + ARRAY
        if "run" in params:  # a loop in the body keeps its own steps
            total += params["run"].kept_bytes()
    return total + sum(kept.values())
