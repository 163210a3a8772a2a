"""Branches: one of several Programs is run on the operands, or the only one there is (a checkpoint), as frozen data.

The operands are the number of the branch (if there are several), those of the user's functions, and what these close
over.  Every branch takes all of them.  A branch that could not be traced where it was not taken is None.

>>> import numpy as np, wengert as wg
>>> program = wg.trace(lambda x: wg.cond(x > 0, np.sqrt, np.sin, x))(4.0)
>>> program.lines[1].held.titles()
('where false', 'where true')
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wengert.accumulation.counting import count_sweep
from wengert.control.bodies import Body
from wengert.control.holding import Holding, Mask, Values
from wengert.cost import Cost, cost
from wengert.errors import BranchError
from wengert.program import Program, as_value


@dataclass(frozen=True, slots=True, eq=False)
class Branches(Holding):
    """One of several Programs.

    Attributes
    ----------
    bodies, labels
        The Programs and what they are called.
    keep
        False for a checkpoint: a reverse sweep runs the Program once more.
    chosen
        The branch that was taken where the line was traced.
    """

    name: str
    bodies: tuple[Body | None, ...]
    labels: tuple[str, ...]
    keep: bool
    chosen: int
    origin: tuple[Holding, Mask, tuple[int, ...]] | None = None

    @property
    def leading(self) -> int:
        """The number of operands before those of the Programs: 1, if there is a choice."""
        return int(len(self.bodies) > 1)

    @property
    def taken(self) -> Body:
        """The branch that was taken where the line was traced."""
        body = self.bodies[self.chosen]
        assert body is not None
        return body

    @property
    def traced(self) -> tuple[Body, ...]:
        """The branches that could be traced."""
        return tuple(body for body in self.bodies if body is not None)

    @property
    def wiring(self) -> Hashable:
        return tuple(body is None for body in self.bodies), self.keep

    @property
    def programs(self) -> tuple[Program, ...]:
        return tuple(body.program for body in self.traced)

    def titles(self) -> tuple[str, ...]:
        return tuple(label for body, label in zip(self.bodies, self.labels, strict=True) if body is not None)

    def heading(self) -> str:
        return f"{self.labels[self.chosen]} here" if self.leading else "recomputed in reverse"

    @property
    def times(self) -> tuple[int, ...]:
        return tuple(int(k == self.chosen) for k, body in enumerate(self.bodies) if body is not None)

    def source(self, names: Sequence[str], args: Sequence[str], left: Sequence[str]) -> list[str]:
        operands = ", ".join(args[self.leading :])
        return self.write_choice(args, [f"{', '.join(left)} = {name}({operands})" for name in names])

    def write_choice(self, args: Sequence[str], calls: Sequence[str]) -> list[str]:
        """Write the choice between statements, one for each branch that could be traced."""
        if not self.leading:
            return list(calls)
        left = iter(calls)
        missing = 'raise ValueError("this branch could not be traced")'
        false, true = (missing if body is None else next(left) for body in self.bodies)
        return [f"if {args[0]}:", f"    {true}", "else:", f"    {false}"]

    def choose(self, operands: Sequence[Any]) -> tuple[Body, Values]:
        """Return the branch that is taken, and its operands."""
        if not self.leading:
            return self.taken, tuple(operands)
        number = int(operands[0])
        body = self.bodies[number]
        if body is None:
            raise BranchError(
                f"{self.name} takes the branch {self.labels[number]} here, which could not be run where it was "
                "traced.\nTrace the function again at this point."
            )
        return body, tuple(operands[1:])

    # -- What it costs --

    def sweep(self, mode: str, active: Mask | None = None, seeded: Mask | None = None) -> tuple[Cost, Cost, int]:
        body = self.taken
        moving = tuple(v.dtype.kind in "fc" for v in map(as_value, body.sample))
        if active is not None:
            moving = tuple(on and able for on, able in zip(active[self.leading :], moving, strict=True))
        sweep = count_sweep(body.program, body.sample, moving, mode, seeded)
        again = Cost() if self.keep else cost(body.program)
        return sweep.partials + again, sweep.one_pass, sweep.kept if mode == "reverse" else 0

    def note(self) -> str:
        if self.keep:
            return ""
        kept = sum(np.asarray(v).nbytes for v in self.taken.sample)
        return f"{self.name}: only its arguments are kept, {kept:,} bytes; it is run once more, with its residuals"
