"""Branches: one of several Programs is run on the operands, or the only one there is (a checkpoint).

The operands are the number of the branch (if there are several), those of the user's functions, and what these close
over.  Every branch takes all of them.  A branch that could not be traced where it was not taken is None.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from wengert.accumulation.sweeps import forward, reverse
from wengert.control.bodies import Body, Slot
from wengert.control.higher_order import Dual, Holding, Mask, Reversed, bytes_of
from wengert.cost import Cost, cost
from wengert.errors import BranchError
from wengert.linearization import Linearization, by_position
from wengert.planning import count_sweep
from wengert.program import Program, as_value
from wengert.tracing import current_context

Values = tuple[Any, ...]


class Branches(Holding):
    """One of several Programs; `keep` says whether the insides of the one that was run are kept for a reverse sweep."""

    __slots__ = ("_store", "bodies", "chosen", "keep", "labels", "ready")

    def __init__(
        self, name: str, bodies: Sequence[Body | None], labels: Sequence[str], keep: bool, chosen: int
    ) -> None:
        self.name, self.bodies, self.labels, self.keep, self.chosen = name, tuple(bodies), tuple(labels), keep, chosen
        self.origin = None
        self.ready: Any = None
        self._store: Any = None

    @property
    def known(self) -> Body:
        """The branch that was taken where the line was traced."""
        body = self.bodies[self.chosen]
        assert body is not None
        return body

    @property
    def programs(self) -> tuple[Program, ...]:
        return tuple(body.program for body in self.bodies if body is not None)

    def titles(self) -> tuple[str, ...]:
        return tuple(label for body, label in zip(self.bodies, self.labels, strict=True) if body is not None)

    def heading(self) -> str:
        return f"{self.labels[self.chosen]} here" if len(self.bodies) > 1 else "recomputed in reverse"

    @property
    def times(self) -> tuple[int, ...]:
        return tuple(int(k == self.chosen) for k, body in enumerate(self.bodies) if body is not None)

    def source(self, names: Sequence[str], args: Sequence[str], left: Sequence[str]) -> list[str]:
        given = ", ".join(args[self.leading :])
        return self._written(args, [f"{', '.join(left)} = {name}({given})" for name in names])

    def _written(self, args: Sequence[str], calls: Sequence[str]) -> list[str]:
        """Write the choice between calls, one for each branch that is known."""
        if len(self.bodies) == 1:
            return list(calls)
        left = iter(calls)
        missing = 'raise ValueError("this branch could not be traced")'
        false, true = (missing if body is None else next(left) for body in self.bodies)
        return [f"if {args[0]}:", f"    {true}", "else:", f"    {false}"]

    # -- Running --

    def _choose(self, operands: Sequence[Any]) -> tuple[Body, Values]:
        """Return the branch that is taken, and its operands."""
        if len(self.bodies) == 1:
            return self.known, tuple(operands)
        at = int(operands[0])
        body = self.bodies[at]
        if body is None:
            raise BranchError(
                f"{self.name} takes the branch {self.labels[at]} here, which could not be run where it was traced.\n"
                "Trace the function again at this point."
            )
        return body, tuple(operands[1:])

    def evaluate(self, operands: Sequence[Any]) -> Values:
        if self.ready is not None:
            linearization, self.ready = self.ready, None
            if self.keep:
                self._store = (tuple(operands), linearization)
            return tuple(linearization.values)
        body, values = self._choose(operands)
        before = current_context().alarms
        results = body(*values)
        if current_context().alarms > before and body.careful is not body:
            results = body.careful(*values)
        return results

    def keeping(self, operands: Sequence[Any], active: Mask) -> tuple[Values, Holding]:
        if not self.keep:
            return self.evaluate(operands), self
        twin = Branches(self.name, self.bodies, self.labels, True, self.chosen)
        linearization = self._linearized(operands, active)
        twin._store = (tuple(operands), linearization)
        return tuple(linearization.values), twin

    def runs(self, operands: Sequence[Any]) -> Iterator[tuple[str, Program, Sequence[Any]]]:
        body, values = self._choose(operands)
        where = f" {self.labels[self.bodies.index(body)]}" if len(self.bodies) > 1 else ""
        yield f"in {self.name}{where}", body.program, values

    def alone(self) -> Branches:
        return Branches(self.name, self.bodies, self.labels, self.keep, self.chosen)

    def _linearized(self, operands: Sequence[Any], active: Mask) -> Linearization:
        if self._store is not None:
            known, linearization = self._store
            if len(known) == len(operands) and all(a is b for a, b in zip(known, operands, strict=True)):
                return linearization  # type: ignore[no-any-return]
        body, values = self._choose(operands)
        if current_context().alarms:
            body = body.careful
        return body.linearize(values, active[len(operands) - len(values) :])

    def push(self, tangents: Sequence[Any], operands: Sequence[Any], batch: int) -> list[Any]:
        linearization = self._linearized(operands, tuple(t is not None for t in tangents))
        dots = tangents[self.leading :]
        found = forward(linearization, {k: t for k, t in enumerate(dots) if t is not None}, batch)
        return [None if position < 0 else found[position] for position in linearization.outputs]

    def pull(self, bars: Sequence[Any], operands: Sequence[Any], batch: int, wanted: Mask) -> list[Any]:
        linearization = self._linearized(operands, wanted)
        seeds = by_position(linearization.outputs, bars)
        found = [None] * self.leading + list(reverse(linearization, seeds, batch))
        return [g if on else None for g, on in zip(found, wanted, strict=True)]

    @property
    def leading(self) -> int:
        """The number of operands before those of the Programs: 1, if there is a choice."""
        return int(len(self.bodies) > 1)

    # -- Its dual --

    def dual(self, active: Mask, batch: int | None) -> Dual:
        leading = self.leading
        moving = active[leading:]
        count, results = len(moving), len(self.known.program.results)
        reached = [body.reaches(moving) for body in self.bodies if body is not None]
        out = tuple(any(column) for column in zip(*reached, strict=True))
        takes: list[Slot] = [*(("x", k) for k in range(count)), *(("dot", k) for k in range(count) if moving[k])]
        gives: list[Slot] = [*(("x", k) for k in range(results)), *(("dot", k) for k in range(results) if out[k])]
        bodies = [None if b is None else b.dual(moving, out, takes, gives, batch) for b in self.bodies]
        held = Branches(self.name, bodies, self.labels, self.keep, self.chosen)

        def join(operands: Sequence[Any], tangents: Sequence[Any]) -> list[Any]:
            return [*operands, *(t for t in tangents if t is not None)]

        def tangents_of(outputs: Sequence[Any]) -> list[Any]:
            dots = iter(outputs[results:])
            return [next(dots) if on else None for on in out]

        return Dual(
            held,
            join,
            tangents_of,
            tuple(range(leading + count)),
            tuple(range(results)),
            tuple(gives.index(("dot", k)) if on else None for k, on in enumerate(out)),
            len(gives),
        )

    def in_reverse(self, given: Mask, wanted: Mask) -> Reversed:
        known = [body for body in self.bodies if body is not None]
        programs = tuple(body.in_reverse(given, wanted[self.leading :]) for body in known)

        def source(
            names: Sequence[str], args: Sequence[str], bars: Sequence[str | None], left: Sequence[str]
        ) -> list[str]:
            taken = ", ".join([*args[self.leading :], *(bar for bar in bars if bar is not None)])
            return self._written(args, [f"{', '.join(left)} = {name}({taken})" for name in names])

        return Reversed(programs, tuple(f"{title}, in reverse" for title in self.titles()), self.times, source)

    # -- What it costs --

    def sweep(self, mode: str, active: Mask | None = None, given: Mask | None = None) -> tuple[Cost, Cost, int]:
        body = self.known
        moving = tuple(v.dtype.kind in "fc" for v in map(as_value, body.sample))
        if active is not None:
            moving = tuple(on and able for on, able in zip(active[self.leading :], moving, strict=True))
        found = count_sweep(body.program, body.sample, moving, mode, given)
        again = Cost() if self.keep else cost(body.program)
        return found.partials + again, found.one_pass, found.kept if mode == "reverse" else 0

    def kept_bytes(self) -> int:
        return 0 if self._store is None else bytes_of(self._store[1], self._store[0])

    def note(self) -> str:
        if self.keep:
            return ""
        kept = sum(np.asarray(v).nbytes for v in self.known.sample)
        return f"{self.name}: only its arguments are kept, {kept:,} bytes; it is run once more, with its insides"
