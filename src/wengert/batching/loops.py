"""Loops of a batch: a line that holds Programs (a loop, a branch, a checkpoint) for all members of a batch at once.

The body is recorded anew, each of its lines evaluated for all members as `wengert.batching.vmap` does it with the lines
of any trace, and the loop runs that.  Members that share an operand go on sharing it.  Where members decide differently
inside a body (an ``if`` on a value, another number of steps of ``while_loop``) the line is run member by member, and
members that take a branch that was not traced leave the batch; the members of a `cond` go in two groups.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from wengert.control.backward import ReverseOf
from wengert.control.bodies import Body
from wengert.control.branch import Branches
from wengert.control.higher_order import call
from wengert.control.holding import Holding
from wengert.control.loop import Loop
from wengert.errors import BranchError
from wengert.passes.simplification import simplify
from wengert.primitives.numpy.structural import broadcast_to
from wengert.program import Guard, Line, Program, Recordable, Var, as_value, check_guard, evaluate_line, interpret
from wengert.tracing import innermost, record, watch

Flags = Sequence[bool]
Evaluate = Callable[..., Any]
"""Evaluates a line for so many members; each operand comes with whether it has an axis of members."""


class MembersDiffer(Exception):  # noqa: N818 - not an error: members are to be taken one by one
    """Members take different decisions inside a body."""


def several(
    held: Holding, operands: Sequence[Any], batched: Flags, size: int, results: Sequence[Any], evaluate: Evaluate
) -> tuple[list[Any], np.ndarray[Any, Any]]:
    """Evaluate a line for all members: its results, stacked, and who stays (not those that take another branch).

    `results` are variables of the shapes of one member's results.
    """
    if not size:
        return [np.zeros((0, *r.shape), r.dtype) for r in results], np.ones(0, bool)
    inner = held.inner if isinstance(held, ReverseOf) else held
    if isinstance(inner, Branches) and len(inner.bodies) > 1 and batched[0]:
        return _grouped(held, operands, batched, size, results, evaluate)
    try:
        return _Together(held, batched, size, evaluate).run(operands), np.ones(size, bool)
    except (MembersDiffer, BranchError):
        return _one_by_one(held, operands, batched, size)


def _one_by_one(
    held: Holding, operands: Sequence[Any], batched: Flags, size: int
) -> tuple[list[Any], np.ndarray[Any, Any]]:
    rows = []
    staying = np.zeros(size, bool)
    for k in range(size):
        try:
            rows.append(call(held, [v[k] if on else v for v, on in zip(operands, batched, strict=True)]))
        except BranchError:
            if k == 0:
                raise
            continue
        staying[k] = True
    return [np.stack(column) for column in zip(*rows, strict=True)], staying


def _grouped(
    held: Holding, operands: Sequence[Any], batched: Flags, size: int, results: Sequence[Any], evaluate: Evaluate
) -> tuple[list[Any], np.ndarray[Any, Any]]:
    """Evaluate a branch for the members that take it, and the other one for the others."""
    pred: Any = operands[0]
    taken = innermost(pred)
    if isinstance(pred, Recordable):  # who takes which branch is a decision of the trace around this one
        bool(np.all(pred == taken))
    inner: Any = held.inner if isinstance(held, ReverseOf) else held
    parts, members = [], []
    for branch in dict.fromkeys([int(taken[0]), 0, 1]):
        chosen = np.flatnonzero(np.asarray(taken, bool) == bool(branch))
        if not chosen.size or inner.bodies[branch] is None:
            continue
        selected = [
            np.bool_(branch),
            *[v[chosen] if on else v for v, on in zip(operands[1:], batched[1:], strict=True)],
        ]
        flags = [False, *batched[1:]]
        try:
            part, stays = several(held, selected, flags, len(chosen), results, evaluate)
        except BranchError:
            if chosen[0] == 0:
                raise
            continue
        parts.append(part)
        members.append(chosen[stays])
    order = np.argsort(np.concatenate(members))
    staying = np.zeros(size, bool)
    staying[np.concatenate(members)] = True
    if len(parts) == 1:
        return parts[0], staying
    return [np.concatenate(column)[order] for column in zip(*parts, strict=True)], staying


class _Together:
    """A line whose body is run for all members at once: what it holds, and where the members stand in operands."""

    def __init__(self, held: Holding, batched: Flags, size: int, evaluate: Evaluate) -> None:
        self.size, self.evaluate = size, evaluate
        self.flags: list[bool] = []
        """Which operands of the line that is written have members, and along which of their axes; then the results."""
        self.axes: list[int] = []
        self.out: list[bool] = []
        self.out_axes: list[int] = []
        self.batched = list(batched)
        if isinstance(held, ReverseOf):
            count = len(held.wanted)
            # each member has its own adjoint, of what is shared too
            with_adjoints = [on or wanted for on, wanted in zip(batched[:count], held.wanted, strict=True)]
            inner = self._of(held.inner, with_adjoints)
            seeded = tuple(on and self.out[k] for k, on in enumerate(held.seeded))
            bars = [k for k, on in enumerate(held.seeded) if on]
            self.kept = [*range(count), *(count + n for n, k in enumerate(bars) if seeded[k])]
            self.flags = [*self.flags, *(True for on in seeded if on)]
            self.axes = [*self.axes, *(self.out_axes[k] for k, on in enumerate(seeded) if on)]
            self.held: Holding = ReverseOf(inner, seeded, held.wanted)
            self.out = [True] * sum(held.wanted)
            self.out_axes = [self.axes[k] for k, on in enumerate(held.wanted) if on]
        else:
            self.held = self._of(held, batched)
            self.kept = list(range(len(batched)))

    def run(self, operands: Sequence[Any]) -> list[Any]:
        entered = []
        for k, flag, axis in zip(self.kept, self.flags, self.axes, strict=True):
            value = operands[k]
            if flag:
                value = all_members(value, self.batched[k], self.size)
                if axis:
                    value = np.moveaxis(value, 0, axis)
            entered.append(value)
        results = call(self.held, entered)
        stacked = []
        for value, on, axis in zip(results, self.out, self.out_axes, strict=True):
            if not on:
                value = all_members(value, False, self.size)
            elif axis:
                value = np.moveaxis(value, axis, 0)
            stacked.append(value)
        return stacked

    def _of(self, held: Holding, batched: Flags) -> Loop | Branches:
        """Determine which operands and results have members, and return the holding for all of them."""
        if isinstance(held, Branches):
            moving = list(batched[held.leading :])
            depends = [body.depends(moving) for body in held.traced]
            self.out = [any(column) for column in zip(*depends, strict=True)]
            self.flags, self.axes, self.out_axes = [*batched], [0] * len(batched), [0] * len(self.out)
            bodies = tuple(None if b is None else watch(self._body, b, moving, self.out) for b in held.bodies)
            return replace(held, bodies=bodies)
        assert isinstance(held, Loop)
        carried, sliced = held.carried, held.sliced
        arguments, results = held.reached_through(held.bodies, tuple(batched), Body.depends)
        carry, rest, out = results[:carried], batched[carried:], list(results)
        if held.tests:
            asked = [*carry, *rest[sliced:]]
            takes = held.test_takes or range(len(asked))
            if any(any(t.depends([asked[k] for k in takes][: len(t.sample)])) for t in held.tests):
                raise MembersDiffer
        self.flags, self.out = [*carry, *rest], out
        self.axes = [0] * carried + [1] * sliced + [0] * held.consts
        self.out_axes = [0] * carried + [1] * held.collected
        return replace(held, bodies=tuple(watch(self._body, b, arguments[: len(b.sample)], out) for b in held.bodies))

    def _body(self, body: Body, batched: Flags, out: Flags) -> Body:
        """Write a body for all members."""
        with record(body.program.name) as trace:
            sample, values = [], []
            for packing, value, on in zip(body.program.arguments, body.sample, batched, strict=True):
                value = as_value(np.repeat(np.asarray(value)[None], self.size, axis=0)) if on else value
                sample.append(value)
                values.append(trace.argument(packing.name, value))
            results = self._lines(body.program, values, batched)
            for packing, (value, on), wanted in zip(body.program.results, results, out, strict=True):
                trace.result(packing.name, all_members(value, on, self.size) if wanted else value)
        return Body(simplify(trace.program()), sample)

    def _lines(self, program: Program, values: Sequence[Any], batched: Flags) -> list[tuple[Any, bool]]:
        """Evaluate the lines of a Program for all members; each result with whether it has an axis of members."""

        def apply(line: Line, operands: list[tuple[Any, bool]]) -> Any:
            has_members = any(on for _, on in operands)
            if has_members:
                result = self.evaluate(line, operands, self.size)
            else:
                result = evaluate_line(line, [value for value, _ in operands])
            return [(one, has_members) for one in result] if line.primitive.multiple else (result, has_members)

        def on_guard(guard: Guard, pair: tuple[Any, bool]) -> None:
            value, has_members = pair
            if has_members:
                raise MembersDiffer
            check_guard(guard, value)

        pairs = interpret(
            program, list(zip(values, batched, strict=True)), apply, on_guard, lambda value: (value, False)
        )
        return [pairs[a] if isinstance(a, Var) else (a.value, False) for a in program.outputs]


def all_members(value: Any, batched: bool, size: int) -> Any:
    """Give a value that all members share an axis of members."""
    if batched:
        return value
    shape = (size, *np.shape(value))
    return broadcast_to(value, shape=shape) if isinstance(value, Recordable) else np.broadcast_to(value, shape).copy()
