"""Execution: runs of loops, branches and checkpoints on plain values, and the sweeps over them.

A *run* is of one holding on one set of operands.  It computes the results, keeps what its store keeps of the steps, and
carries tangents and adjoints through them, as often as is asked.  The holding stays as it is.

>>> import numpy as np, wengert as wg
>>> program = wg.trace(lambda x: wg.fori_loop(0, 3, lambda i, c: c * x, 1.0))(2.0)
>>> run = run_of(program.lines[0].held, (1.0, np.float64(2.0)))
>>> run.evaluate((False, True)), run.vjp([np.float64(1.0)], 0, (False, True))
((np.float64(8.0),), [None, np.float64(12.0)])
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from wengert.accumulation.masks import Mask as Where
from wengert.accumulation.masks import as_numbers
from wengert.accumulation.sweeps import is_finite, sweep_carefully, sweep_once
from wengert.compilation.linearized import Kernel, Pieces
from wengert.compilation.native.instructions import LEFT
from wengert.control.backward import ReverseOf, ReverseSweep
from wengert.control.bodies import Body, is_few
from wengert.control.branch import Branches
from wengert.control.checkpoints import AllResiduals, Residuals, SweepTape
from wengert.control.holding import ARRAY, PLACE, Holding, Mask, Values, bytes_of
from wengert.control.instructions import Instructions
from wengert.control.loop import Loop
from wengert.control.native import ForwardRun, NativeReverse, TapeSweep, now
from wengert.control.tapes import Tape
from wengert.errors import BranchError
from wengert.linearization import Linearization, by_position
from wengert.program import Program, as_value, fail_at
from wengert.tracing import current_context

LOOKS = 256
"""After so many steps in Python, the time is looked at."""


class Run:
    """One run of a holding on plain operands."""

    __slots__ = ("operands",)
    operands: Values

    def evaluate(self, active: Mask | None = None) -> Values:
        """Compute the results; with `active`, keep what sweeps over these operands will read."""
        raise NotImplementedError

    def jvp(self, tangents: Sequence[Any], batch: int) -> list[Any]:
        """Carry tangents of the operands (None where zero) forward: one for each result."""
        raise NotImplementedError

    def vjp(self, bars: Sequence[Any], batch: int, wanted: Mask) -> list[Any]:
        """Carry adjoints of the results (None where zero) back: one for each operand that is wanted, else None."""
        raise NotImplementedError

    def sweep_steps(self, seeds: Sequence[Any], batch: int, wanted: Mask | None, sweeps: StepSweeps) -> list[Any]:
        """Carry tangents forward, or adjoints back to the operands that are `wanted`, by these sweeps of the steps."""
        raise NotImplementedError

    def carefully(
        self, seeds: Sequence[Any], masks: Sequence[Where | None], batch: int, wanted: Mask | None = None
    ) -> tuple[list[Any], list[Where | None]]:
        """Carry tangents (or adjoints, to the operands that are `wanted`) with their masks."""
        blocks = [None if t is None else with_mask(t, mask, batch) for t, mask in zip(seeds, masks, strict=True)]
        swept = [(None, None) if t is None else without_mask(t) for t in self.sweep_steps(blocks, 1, wanted, _CAREFUL)]
        return [t if t is None or batch else t[0] for t, _ in swept], [
            mask if mask is None or batch else Where(lambda mask=mask: None if mask() is None else mask()[0])  # type: ignore[misc]
            for _, mask in swept
        ]

    def programs(self) -> Iterator[tuple[str, Program, Values]]:
        """Go through the Programs that are run: what each is, in words, and the values of its arguments."""
        raise NotImplementedError

    def kept_bytes(self) -> int:
        """Count the bytes that are kept for the sweeps."""
        return 0


def run_of(held: Holding, operands: Sequence[Any]) -> Run:
    """Return a run of a holding, which has not begun."""
    return _RUNS[type(held)](held, tuple(operands))


# ---- The sweeps of a step ----


class StepSweeps:
    """The sweeps of the steps: by their kernels where they have one and it is `fast`, or else line by line."""

    __slots__ = ("_last", "_steady", "by_kernels", "fast")

    def __init__(self, fast: bool) -> None:
        self.fast = fast
        self.by_kernels = False
        self._last: tuple[Any, ...] = (None, (), None)
        self._steady = False
        """True if two steps had the same seeds and sweep: from then on all have, as each step's make the next one's."""

    def _by_kernel(
        self, tangents: bool, kept: Sequence[Any], seeds: Sequence[Any], consts: Values, batch: int
    ) -> list[Any] | None:
        kernel, mask, sweep = self._last
        nonzero = [g for g in seeds if g is not None]
        if kernel is not kept[0] or not self._steady:
            seeded = tuple([g is not None for g in seeds])
            self._steady = kernel is kept[0] and mask == seeded and sweep is not None
            if not self._steady:
                block = nonzero[0].shape[0] if batch and nonzero else None
                takes = kept[0].takes(tangents, seeds)
                sweep = kept[0].sweep(tangents, seeded, kept, consts, block) if takes else None
                self._last = kept[0], seeded, sweep
        if sweep is None:
            return None
        self.by_kernels = True
        return sweep(kept, consts, nonzero)  # type: ignore[no-any-return]

    def jvp(self, residuals: Residuals, dots: Sequence[Any], consts: Values, first_const: int, batch: int) -> list[Any]:
        """Return the tangents of a step's results, from those of its arguments."""
        if type(residuals) is tuple:
            consts, dots = consts[: residuals[0].inputs - first_const], dots[: residuals[0].inputs]
            if self.fast and (tangents := self._by_kernel(True, residuals, dots, consts, batch)) is not None:
                return tangents
            residuals = residuals[0].linearization(residuals, consts)
        return self.push(residuals, dots, batch)  # type: ignore[arg-type]

    def vjp(self, residuals: Residuals, bars: Sequence[Any], consts: Values, first_const: int, batch: int) -> list[Any]:
        """Return the adjoints of a step's arguments, from those of its results."""
        if type(residuals) is tuple:
            if len(consts) > residuals[0].inputs - first_const:
                consts = consts[: residuals[0].inputs - first_const]
            if self.fast and (adjoints := self._by_kernel(False, residuals, bars, consts, batch)) is not None:
                return adjoints
            residuals = residuals[0].linearization(residuals, consts)
        return self.pull(residuals, bars, batch)  # type: ignore[arg-type]

    def push(self, linearization: Linearization, dots: Sequence[Any], batch: int) -> list[Any]:
        """Push tangents through a step line by line."""
        swept = sweep_once(linearization, by_position(range(len(dots)), dots), batch, back=False)
        return [None if position < 0 else swept[position] for position in linearization.outputs]

    def pull(self, linearization: Linearization, bars: Sequence[Any], batch: int) -> list[Any]:
        """Pull adjoints through a step line by line."""
        return sweep_once(linearization, by_position(linearization.outputs, bars), batch, back=True)


class _CarefulSweeps(StepSweeps):
    """The sweeps of the steps with masks: each block has one more for each seed, of where anything contributes."""

    __slots__ = ()

    def push(self, linearization: Linearization, dots: Sequence[Any], batch: int) -> list[Any]:
        swept = self._sweep(linearization, by_position(range(len(dots)), dots), back=False)
        return [None if position < 0 else swept[position] for position in linearization.outputs]

    def pull(self, linearization: Linearization, bars: Sequence[Any], batch: int) -> list[Any]:
        return self._sweep(linearization, by_position(linearization.outputs, bars), back=True)

    def _sweep(self, linearization: Linearization, blocks: dict[int, Any], back: bool) -> list[Any]:
        pairs = {position: without_mask(block) for position, block in blocks.items()}
        seeds = {position: seed for position, (seed, _) in pairs.items()}
        masks = {position: mask for position, (_, mask) in pairs.items() if mask is not None}
        swept = sweep_carefully(linearization, seeds, masks, 1, back)
        return [None if t is None else with_mask(t, mask, 1) for t, mask in zip(*swept, strict=True)]


_CAREFUL = _CarefulSweeps(False)


def with_mask(t: Any, mask: Where | None, batch: int) -> Any:
    """Return a tangent or adjoint as a block, with its mask as as many more, of ones and zeros."""
    values = t if batch else t[None]
    ones = as_numbers(mask, t.shape[batch:])
    return np.concatenate([values, np.broadcast_to(ones, values.shape)]).astype(t.dtype, copy=False)


def without_mask(block: Any) -> tuple[Any, Where | None]:
    """Split such a block into the values and their mask."""
    half = len(block) // 2
    there = block[half:] != 0
    return block[:half], None if there.all() else Where(lambda: there)


class Adjoints:
    """The adjoints of the operands of a loop, while the reverse sweep goes back step by step."""

    __slots__ = ("_batch", "_carry", "_collected", "_consts", "_like", "_owned", "_slices", "_steps", "_sums", "_xs")

    def __init__(
        self, loop: Loop, sweep: ReverseSweep, bars: Sequence[Any], operands: Sequence[Any], batch: int = 0
    ) -> None:
        carried, first = loop.carried, loop.first_const - loop.sliced
        self._batch = batch
        self._carry: list[Any] = list(bars[:carried])
        self._collected = list(bars[carried:])
        self._slices = [k for k, to in enumerate(sweep.passed) if to == "slice"]
        self._sums = [k for k, to in enumerate(sweep.passed) if to == "sum"]
        self._xs: list[Any] = [None] * loop.sliced
        self._consts: list[Any] = [None] * loop.consts
        self._owned = [False] * loop.consts
        """The sums that were made here, so that more can be added in place."""
        self._like = [(x.shape, x.dtype) for x in operands[carried : carried + loop.sliced]]
        self._steps = first, loop.first_const

    def received(self, place: int) -> list[Any]:
        """Return the adjoints of the results of the step at a place in the arrays."""
        if not self._collected:
            return self._carry
        at: Any = (slice(None), place) if self._batch else place
        return [*self._carry, *[None if g is None else g[at] for g in self._collected]]

    def passed(self, place: int, adjoints: list[Any]) -> None:
        """Pass on the adjoints of the arguments of that step."""
        first, first_const = self._steps
        self._carry = adjoints[: len(self._carry)]
        for k in self._slices:
            g = adjoints[k]
            if g is not None:
                stack = self._xs[k - first]
                if stack is None:
                    shape, dtype = self._like[k - first]
                    stack = self._xs[k - first] = np.zeros((*g.shape[: self._batch], *shape), dtype)
                stack[(slice(None), place) if self._batch else place] = g
        for k in self._sums:
            g = adjoints[k] if k < len(adjoints) else None
            if g is None:
                continue
            n = k - first_const
            total = self._consts[n]
            if type(g) is Pieces:
                self._consts[n] = g.add_into(total if self._owned[n] or total is None else total.copy())
                self._owned[n] = True
            elif total is None:
                self._consts[n] = g
            elif self._owned[n] and type(total) is np.ndarray and total.dtype is g.dtype:
                total += g
            else:
                self._consts[n], self._owned[n] = total + g, True

    def sweep_tape(self, sweep: TapeSweep, tape: Tape, place: int, seeded: Mask, steps: int) -> bool:
        """Pass on the adjoints of all steps on a tape, the last of which is at a place; return whether it was done."""
        carried, sliced = len(self._carry), len(self._xs)
        ends = {("seed", k): g for k, g in enumerate([*self._carry, *self._collected])}
        ends.update((("stack", carried + k), g) for k, g in enumerate(self._xs))
        ends.update((("sum", carried + sliced + k), g) for k, g in enumerate(self._consts))
        values = [g for g in (*self._carry, *self._collected) if g is not None]
        if not sweep(tape, place, seeded, values[0].shape[0] if self._batch else None, ends, steps):
            return False
        self._carry = [ends["seed", k] for k in range(carried)]
        self._xs = [ends["stack", carried + k] for k in range(sliced)]
        sums = [ends["sum", carried + sliced + k] for k in range(len(self._consts))]
        self._owned = [
            owned or total is not old for owned, total, old in zip(self._owned, sums, self._consts, strict=True)
        ]
        self._consts = sums
        return True

    def of_operands(self) -> list[Any]:
        """Return the adjoints of all operands; None where they are zero."""
        return [*self._carry, *self._xs, *self._consts]


# ---- The run of a loop ----


class Step(NamedTuple):
    """A step that was run: its place in the arrays, the body that it took, its values and results."""

    place: int
    body: Body
    values: Values
    results: Sequence[Any]


class LoopRun(Run):
    """A run of a loop.

    While the user's function is at hand, `retrace` traces it where no body takes the decisions of a step, and may add
    to `constants` what it closes over there.
    """

    __slots__ = (
        "_code", "_last", "_native", "bodies", "carried", "constants", "count", "loop", "most", "once", "retrace",
        "store", "tests", "xs",
    )  # fmt: skip

    def __init__(
        self,
        loop: Loop,
        operands: Values,
        retrace: Callable[[bool, Values, int], Body] | None = None,
        constants: Sequence[Any] | None = None,
    ) -> None:
        self.loop, self.operands, self.carried = loop, operands, loop.carried
        self.bodies, self.tests = list(loop.bodies), list(loop.tests)
        self.retrace = retrace
        consts, _, self.xs = loop.split(operands)
        self.constants: Sequence[Any] = consts if constants is None else constants
        self.count = loop.length or 0
        """The number of steps that were made."""
        traced = loop.which or (self.xs[0] if self.xs else ())
        self.most = len(traced) if loop.length is None and len(traced) else None
        """The most steps of a loop with a test; those that there were, if each was traced by itself."""
        self.once = loop.policy.checkpoint == "auto"
        self.store: Any = None
        self._last = 0
        """The body that was run last."""
        self._code: tuple[Any, ...] = (None, (), 0, False, (None, None))
        """The code that was asked for last, after what it was asked for."""
        self._native: tuple[Any, ...] = (None, None, None, None)
        """The machine code of a body, with what is kept or not: the effort, and what it reads."""

    def settle(self, loop: Loop, operands: Values, active: Mask) -> None:
        """Replace the loop by the finished one, which has all bodies and constants that the first sweep brought."""
        self.loop, self.operands, self.constants = loop, operands, operands[self.carried + loop.sliced :]
        self.bodies, self.tests, self.retrace = list(loop.bodies), list(loop.tests), None
        if self.store is not None:
            self.store.active = active

    # -- The steps --

    def values(self, s: int, carry: Values) -> Values:
        loop = self.loop
        return loop.values(self.constants, carry, self.xs, loop.index(s, self.count))

    def run(self, s: int, values: Values) -> Values:
        return self._try(self.bodies, s, values, lambda body, taken: body.run(*taken))  # type: ignore[no-any-return]

    def linearize(self, s: int, values: Values, active: Mask) -> tuple[Sequence[Any], Residuals]:
        def work(body: Body, values: Values) -> tuple[Sequence[Any], Residuals]:
            code = self._forward_pass(body, s, len(values), active)
            if code is not None:
                return code(*values)  # type: ignore[no-any-return]
            linearization = body.linearize(values, self._moving(active, len(values)))
            return linearization.values, linearization

        return self._try(self.bodies, s, values, work)  # type: ignore[no-any-return]

    def _forward_pass(self, body: Body, s: int, count: int, active: Mask) -> Callable[..., Any] | None:
        """Return the code that runs a step of `count` arguments and keeps its residuals; None for line by line."""
        last = self._code
        early = self.loop.length is None and is_few(s)
        if last[0] is not body or last[1] is not active or last[2] != count or last[3] is not early:
            few = early or is_few(self.loop.length)
            kernel = body.kernel(self._moving(active, count), count - self.loop.first_const, few)
            self._code = last = body, active, count, early, kernel or (None, None)
        return last[4][1]  # type: ignore[no-any-return]

    def _try(self, bodies: list[Body], s: int, values: Values, work: Callable[[Body, Values], Any]) -> Any:
        """Apply `work` to the body whose branch these values take: mostly the body that was taken last."""
        if self.loop.which is not None and bodies is self.bodies:
            return work(bodies[self.loop.which[s]], values)
        if len(bodies) == 1 and self.retrace is None:
            return work(bodies[0], values[: len(bodies[0].sample)])
        last = self._last if self._last < len(bodies) else 0
        for k in (last, *[k for k in range(len(bodies)) if k != last]) if len(bodies) > 1 else (0,):
            try:
                result = work(bodies[k], values[: len(bodies[k].sample)])
            except BranchError:
                continue
            self._last = k
            return result
        if self.retrace is None:
            return work(bodies[0], values[: len(bodies[0].sample)])  # raises, and says where
        before = len(self.constants)
        bodies.append(self.retrace(bodies is self.tests, values, s))
        self._last = len(bodies) - 1
        return work(bodies[-1], (*values, *self.constants[before:]))

    def _moving(self, active: Mask, count: int) -> Mask:
        """Return which of the `count` arguments of a step move when these operands do.

        Constants that a branch has brought since are differentiated if they can be.
        """
        brought = self.constants[len(active) - len(self.xs) - self.carried :]
        active += tuple([as_value(v).dtype.kind in "fc" for v in brought])
        if len(self.bodies) == len(self.loop.bodies):
            return self.loop.reached(active)[0][:count]
        return self.loop.reached_through(self.bodies, active)[0][:count]

    def _goes_on(self, s: int, carry: Values) -> bool:
        """Return whether there is an s-th step, from this carry."""
        loop = self.loop
        if loop.length is not None:
            return s < loop.length
        values = (*carry, *self.constants)
        if loop.test_takes is not None:
            values = tuple(values[k] for k in loop.test_takes)
        holds = bool(self._try(self.tests, s, values, lambda body, taken: body.run(*taken))[0])
        if holds and s == self.most:
            raise BranchError(
                f"{loop.name} goes on here after {s:,} steps; where it was traced it made no more, "
                "and each did something else.\nTrace the function again at this point."
            )
        return holds

    def steps(self) -> Iterator[Step]:
        """Run the loop step by step, with nothing kept."""
        carry, s = self.operands[: self.carried], 0
        while self._goes_on(s, carry):
            step = self._try(
                self.bodies, s, self.values(s, carry), lambda body, values: Step(0, body, values, body.run(*values))
            )
            yield step._replace(place=self.loop.index(s, self.count))
            carry = tuple(step.results[: self.carried])
            s += 1

    def programs(self) -> Iterator[tuple[str, Program, Values]]:
        for s, step in enumerate(self.steps()):
            yield f"at step {s:,} of {self.loop.name}", step.body.program, step.values

    # -- The first sweep --

    def evaluate(self, active: Mask | None = None) -> Values:
        if active is not None:
            self.store = self._new_store(active)
            return self.first_sweep(self.store)
        return self.first_sweep(None)

    def _new_store(self, active: Mask) -> Any:
        kept = self.loop.decide(self.operands, self._moving(active, self.loop.first_const + len(self.constants)))
        return kept.store(active, self.loop.length)

    def first_sweep(self, store: Any, collect: bool = True) -> Values:
        """Run all steps; the store keeps what it keeps."""
        loop, carried = self.loop, self.carried
        carry, s = self.operands[:carried], 0
        ys = loop.empty() if loop.collected and collect else []
        while self._goes_on(s, carry):
            if loop.which is None and self.most is None and (store is None or type(store) is AllResiduals):
                start = s
                s, carry = self._straight_on(s, loop.length, carry, store, ys)
                if s > start:
                    continue
            values = self.values(s, carry)
            results = self.run(s, values) if store is None else store.step(self, s, values)
            carry = tuple(results[:carried])
            for y, value in zip(ys, results[carried:], strict=False):
                y[loop.index(s, self.count)] = value
            s += 1
        self.count = s
        return (*carry, *ys)

    def advance(self, start: int, stop: int, carry: Values) -> Values:
        s = start
        while s < stop:
            before = s
            if self.loop.which is None:
                s, carry = self._straight_on(s, stop, carry, None, ())
            if s == before:
                carry = tuple(self.run(s, self.values(s, carry))[: self.carried])
                s += 1
        return carry

    def _straight_on(
        self, s: int, stop: int | None, carry: Values, store: AllResiduals | None, ys: Sequence[Any]
    ) -> tuple[int, Values]:
        """Run steps by the code of the last body, as long as its decisions hold.

        It stops before the step `stop`, or where the test fails.  Returns the number of the step that is next, and its
        carry.  What is collected goes into `ys`.
        """
        loop, carried, body = self.loop, self.carried, self.bodies[self._last]
        consts = tuple(self.constants[: len(body.sample) - loop.first_const])
        code = body.run if store is None else self._forward_pass(body, s, len(body.sample), store.active)
        if code is None:
            return s, carry
        native = self._by_machine(body, None if store is None else self._code[4][0], consts, bool(ys))
        tapes = None if store is None else store.steps
        start = s
        s, carry = native(s, stop, self.count, carry, tapes, ys)
        if stop is None and s > start:  # the test may have failed
            return s, carry
        began, until = now(), s + LOOKS
        xs, counter, last = self.xs, loop.counter, self.count - 1 if loop.reversed else None
        test, takes = self.tests[0].run if stop is None else None, loop.test_takes
        try:
            while s != stop:
                place = s if last is None else last - s
                number = () if counter is None else (np.int64(counter[place]),)
                results: Any = code(*carry, *number, *[x[place] for x in xs], *consts)
                if store is not None:
                    results, residuals = results
                    store.steps.append(residuals)
                carry = results[:carried]
                for y, value in zip(ys, results[carried:], strict=False):
                    y[place] = value
                s += 1
                if test is not None:
                    state = (*carry, *self.constants)
                    asked = state[: len(self.tests[0].sample)] if takes is None else [state[k] for k in takes]
                    if not test(*asked)[0]:
                        break
                if s == until:
                    native.effort.spend(now() - began)
                    s, carry = native(s, stop, self.count, carry, tapes, ys)
                    if stop is None and s > until:
                        return s, carry
                    began, until = now(), s + LOOKS
        except BranchError:
            pass
        native.effort.spend(now() - began)
        return s, carry

    def _by_machine(self, body: Body, kernel: Kernel | None, consts: Values, collects: bool) -> ForwardRun:
        """Return what makes steps of a body by machine code."""
        last = self._native
        if last[0] is not body or last[1] is not kernel or last[2] != (len(consts), collects):
            test = self.tests[0] if self.loop.length is None else None
            made = ForwardRun(self.loop, body, kernel, test, self.xs, consts, collects)
            self._native = last = body, kernel, (len(consts), collects), made
        return last[3]  # type: ignore[no-any-return]

    # -- Sweeps --

    def kept_bytes(self) -> int:
        store = self.store
        if isinstance(store, AllResiduals):
            first = store.steps[0] if store.steps else ()
            if isinstance(first, Linearization):
                return bytes_of(first, ()) * len(store.steps)
            return len(store.steps) * int(sum(v.nbytes + ARRAY for v in first[1:]))
        state = sum(v.nbytes + ARRAY for v in self.bodies[0].sample[: self.carried])
        return 0 if store is None else store.most * (PLACE + int(state))

    def jvp(self, tangents: Sequence[Any], batch: int) -> list[Any]:
        return self._swept(tangents, batch, None)

    def vjp(self, bars: Sequence[Any], batch: int, wanted: Mask) -> list[Any]:
        return self._swept(bars, batch, wanted)

    def _swept(self, seeds: Sequence[Any], batch: int, wanted: Mask | None) -> list[Any]:
        """Sweep by kernels; where that meets an infinity or NaN, line by line, which names the user's line."""
        context = current_context()
        if not context.alarms:
            sweeps = StepSweeps(True)
            muted, context.muted = context.muted, True
            try:
                swept = self.sweep_steps(seeds, batch, wanted, sweeps)
            finally:
                context.muted = muted
            if not (context.alarms and sweeps.by_kernels):
                return swept
        return self.sweep_steps(seeds, batch, wanted, StepSweeps(False))

    def sweep_steps(self, seeds: Sequence[Any], batch: int, wanted: Mask | None, sweeps: StepSweeps) -> list[Any]:
        return self._jvp(seeds, batch, sweeps) if wanted is None else self._vjp(seeds, batch, wanted, sweeps)

    def _stored(self, active: Mask) -> Any:
        """Return the store, if it has what is asked for; or else a new one, from a first sweep."""
        store = self.store
        if store is None or store.spent or not all(has or not on for on, has in zip(active, store.active, strict=True)):
            self.store = None  # it is not kept beside the new one
            store = self._new_store(active)
            self.first_sweep(store, collect=False)
            self.store = store
        return store

    def _forward(self, active: Mask, sweep_tape: SweepTape | None = None) -> Iterator[tuple[int, Residuals]]:
        """Go through the steps from the first to the last: from a store that has all, or running them again.

        Of those on a tape, `sweep_tape` may do all together; then they are left out.
        """
        store = self.store
        if self.loop.policy.checkpoint == "none" or (type(store) is AllResiduals and store is self._stored(active)):
            for start, part in self._stored(active).steps.parts():
                if not (isinstance(part, Tape) and sweep_tape is not None and sweep_tape(start, part)):
                    yield from zip(itertools.count(start), map(part.__getitem__, range(len(part))), strict=False)
            return
        carry, s = self.operands[: self.carried], 0
        while self._goes_on(s, carry):
            results, residuals = self.linearize(s, self.values(s, carry), active)
            carry = tuple(results[: self.carried])
            yield s, residuals
            s += 1
        self.count = s

    def _jvp(self, tangents: Sequence[Any], batch: int, sweeps: StepSweeps) -> list[Any]:
        loop, carried = self.loop, self.carried
        active = tuple(t is not None for t in tangents)
        consts = tuple(self.constants)
        const_dots, carry_dots, xs_dots = loop.split(tangents)
        first = loop.first_const - loop.sliced
        dots: list[Any] = list(carry_dots)
        ys: list[Any] = [None] * loop.collected
        sliced = [(k, t) for k, t in enumerate(xs_dots, first) if t is not None]
        here: list[Any] = [*dots, *[None] * (loop.first_const - carried), *const_dots]

        def sweep_tape(start: int, tape: Tape) -> bool:
            ends = {("seed", k): t for k, t in enumerate([*dots, *xs_dots, *const_dots])}
            ends.update((("stack", carried + k), t) for k, t in enumerate(ys))
            seeded = self._moving(active, tape.kernel.inputs)
            block = next(t for t in tangents if t is not None).shape[0] if batch else None
            by_machine = TapeSweep(loop, True, consts[: tape.kernel.inputs - loop.first_const], batch)
            done = by_machine(tape, loop.index(start, self.count), seeded, block, ends, self.count)
            if done:
                dots[:] = [ends["seed", k] for k in range(carried)]
                ys[:] = [ends["stack", carried + k] for k in range(loop.collected)]
            return done

        for s, residuals in self._forward(active, sweep_tape if sweeps.fast else None):
            place = loop.index(s, self.count)
            at: Any = (slice(None), place) if batch else place
            here[:carried] = dots
            for k, t in sliced:
                here[k] = t[at]
            out = sweeps.jvp(residuals, here, consts, loop.first_const, batch)
            residuals = None  # type: ignore[assignment]  # not to be held while the next step is run
            dots[:] = out[:carried]
            for k, t in enumerate(out[carried:]):
                if t is not None:
                    if ys[k] is None:
                        ys[k] = np.zeros((*t.shape[:batch], self.count, *t.shape[batch:]), t.dtype)
                    ys[k][at] = t
        return dots + ys

    def _vjp(self, bars: Sequence[Any], batch: int, wanted: Mask, sweeps: StepSweeps) -> list[Any]:
        loop, consts = self.loop, tuple(self.constants)
        store = self._stored(wanted)
        sweep = ReverseSweep.over(loop, tuple(g is not None for g in bars), wanted)
        adjoints = Adjoints(loop, sweep, bars, self.operands, batch)
        first_const, last = loop.first_const, self.count - 1 if loop.reversed else None
        seeded = tuple(map(bool, sweep.received))

        def sweep_tape(start: int, tape: Tape) -> bool:
            s = start + len(tape) - 1
            place = s if last is None else last - s
            by_machine = TapeSweep(loop, False, consts[: tape.kernel.inputs - first_const], batch)
            return adjoints.sweep_tape(by_machine, tape, place, seeded, self.count)

        for s, residuals in store.backward(self, sweep_tape if sweeps.fast else None):
            place = s if last is None else last - s
            swept: Any = sweeps.vjp(residuals, adjoints.received(place), consts, first_const, batch)
            residuals = None  # not to be held while the next step is run again
            adjoints.passed(place, swept)
            swept = None
        return [g if on else None for g, on in zip(adjoints.of_operands(), wanted, strict=True)]

    def native_reverse(self, seeded: Mask, wanted: Mask) -> NativeReverse | None:
        """Return the reverse of this loop as machine code, if all its steps and the sweep were machine code now."""
        loop, store, native = self.loop, self.store, self._native[3]
        if len(self.bodies) > 1 or loop.length is None or native is None or not isinstance(store, AllResiduals):
            return None
        parts = [part for _, part in store.steps.parts()]
        tape = parts[0] if len(parts) == 1 else None
        if not isinstance(tape, Tape) or len(tape) != loop.length or store.spent:
            return None
        received = tuple(map(bool, ReverseSweep.over(loop, seeded, wanted).received))
        by_machine = TapeSweep(loop, False, tuple(self.constants), 0).code(tape, received, None)
        if native.effort.code is None or by_machine is None or by_machine[0].code is None:
            return None
        return NativeReverse(loop, tape.kernel, native.effort.code, by_machine[0].code, by_machine[1], wanted)


# ---- The run of a branch, and of a reverse sweep ----


class BranchRun(Run):
    """A run of one of several Programs."""

    __slots__ = ("held", "linearization")

    def __init__(self, held: Branches, operands: Values) -> None:
        self.held, self.operands = held, operands
        self.linearization: Linearization | None = None

    def evaluate(self, active: Mask | None = None) -> Values:
        if active is not None and self.held.keep:
            self.linearization = self._linearize(active)
            return tuple(self.linearization.values)
        body, values = self.held.choose(self.operands)
        return body(*values)

    def programs(self) -> Iterator[tuple[str, Program, Values]]:
        held = self.held
        body, values = held.choose(self.operands)
        which = f" {held.labels[held.bodies.index(body)]}" if held.leading else ""
        yield f"in {held.name}{which}", body.program, values

    def _linearize(self, active: Mask) -> Linearization:
        if self.linearization is not None:
            return self.linearization
        body, values = self.held.choose(self.operands)
        return body.linearize(values, active[self.held.leading :])

    def jvp(self, tangents: Sequence[Any], batch: int) -> list[Any]:
        return self.sweep_steps(tangents, batch, None, StepSweeps(False))

    def vjp(self, bars: Sequence[Any], batch: int, wanted: Mask) -> list[Any]:
        return self.sweep_steps(bars, batch, wanted, StepSweeps(False))

    def sweep_steps(self, seeds: Sequence[Any], batch: int, wanted: Mask | None, sweeps: StepSweeps) -> list[Any]:
        if wanted is None:
            linearization = self._linearize(tuple(t is not None for t in seeds))
            return sweeps.push(linearization, seeds[self.held.leading :], batch)
        adjoints = [*[None] * self.held.leading, *sweeps.pull(self._linearize(wanted), seeds, batch)]
        return [g if on else None for g, on in zip(adjoints, wanted, strict=True)]

    def kept_bytes(self) -> int:
        return 0 if self.linearization is None else bytes_of(self.linearization, self.operands)


class ReverseRun(Run):
    """A run of a reverse sweep that is a line: of the line it is over, and then back.

    That line may have been run on the same operands before.
    """

    __slots__ = ("held", "inner")

    def __init__(self, held: ReverseOf, operands: Values, inner: Run | None = None) -> None:
        self.held, self.operands = held, operands
        self.inner = run_of(held.inner, held.split(operands)[0]) if inner is None else inner

    def evaluate(self, active: Mask | None = None) -> Values:
        xs, bars = self.held.split(self.operands)
        adjoints = self._by_machine(xs, bars)
        if adjoints is None:
            adjoints = self.inner.vjp(bars, 0, self.held.wanted)
            if isinstance(self.inner, LoopRun):
                self.held.memo["machine"] = self.inner.native_reverse(self.held.seeded, self.held.wanted)
        if current_context().alarms and not is_finite(adjoints):
            adjoints, _ = self.inner.carefully(bars, [None] * len(bars), 0, self.held.wanted)
        return tuple(
            as_value(np.zeros(np.shape(x), x.dtype)) if g is None else g
            for x, g, on in zip(map(as_value, xs), adjoints, self.held.wanted, strict=True)
            if on
        )

    def _by_machine(self, xs: Sequence[Any], bars: Sequence[Any]) -> list[Any] | None:
        """Return the adjoints by machine code that was made before; None if there is none, or Python has to do it."""
        machine = self.held.memo.get("machine")
        if machine is None or current_context().alarms:
            return None
        adjoints: list[Any] | None = machine(xs, bars)
        return adjoints

    def programs(self) -> Iterator[tuple[str, Program, Values]]:
        return self.inner.programs()


class InstructionsRun(Run):
    """A run of instructions; `memory` has their results if they were recorded."""

    __slots__ = ("_memory", "held")

    def __init__(self, held: Instructions, operands: Values, memory: np.ndarray[Any, Any] | None = None) -> None:
        self.held, self.operands, self._memory = held, operands, memory

    def evaluate(self, active: Mask | None = None) -> Values:
        memory = self.memory()
        return tuple([memory[places] for places in self.held.results])

    def memory(self) -> np.ndarray[Any, Any]:
        """Return the results of all instructions, behind the constants and operands."""
        if self._memory is None:
            held = self.held
            memory = held.memory(self.operands)
            end = held.run(memory)
            if end >= 0:
                fail_at(held.guard(end), not held.guard(end).value)
            _report_infinities(end, memory[len(held.leading) :])
            self._memory = memory
        return self._memory

    def programs(self) -> Iterator[tuple[str, Program, Values]]:
        yield "in instructions", self.held.unfolded(), self._values()

    def _values(self) -> Values:
        """Return the operands, as far as instructions read them."""
        memory = self.memory()
        return tuple([memory[b.start : b.start + b.size].reshape(b.shape)[()] for b in self.held.blocks])

    def jvp(self, tangents: Sequence[Any], batch: int) -> list[Any]:
        return one_by_one(self._push, tangents) if batch else self._push(*tangents)

    def _push(self, *tangents: Any) -> list[Any]:
        memory, held = self.memory(), self.held
        dots = np.zeros_like(memory)
        for block, t in zip(held.blocks, tangents, strict=True):
            if t is not None:
                dots[block.start : block.start + block.size] = np.ravel(t)
        _report_infinities(held.push(memory, dots), dots)
        return [dots[places] for places in held.results]

    def vjp(self, bars: Sequence[Any], batch: int, wanted: Mask) -> list[Any]:
        pulled = one_by_one(self._pull, bars) if batch else self._pull(*bars)
        return [g if on else None for g, on in zip(pulled, wanted, strict=True)]

    def _pull(self, *bars: Any) -> list[Any]:
        memory, held = self.memory(), self.held
        totals = np.zeros_like(memory)
        for places, g in zip(held.results, bars, strict=True):
            if g is not None:
                np.add.at(totals, places, g)
        end = held.pull(memory, totals)
        pulled = [totals[b.start : b.start + b.size].reshape(b.shape)[()] for b in held.blocks]
        _report_infinities(end, totals[len(held.leading) :], *pulled)
        return pulled

    def sweep_steps(self, seeds: Sequence[Any], batch: int, wanted: Mask | None, sweeps: StepSweeps) -> list[Any]:
        linearization = Linearization.of_variables(self.held.unfolded(), self._values())
        if wanted is None:
            return sweeps.push(linearization, seeds, batch)
        return [g if on else None for g, on in zip(sweeps.pull(linearization, seeds, batch), wanted, strict=True)]

    def kept_bytes(self) -> int:
        return 0 if self._memory is None else int(self._memory.nbytes)


def _report_infinities(end: int, *numbers: Any) -> None:
    """Report numbers that are not finite as NumPy does: raise FloatingPointError, or count an alarm."""
    if end == LEFT or not all(np.isfinite(some).all() for some in numbers):
        if np.geterr()["invalid"] == "raise":
            raise FloatingPointError("a number is not finite")
        current_context().alarms += 1


def one_by_one(work: Callable[..., Sequence[Any]], blocks: Sequence[Any]) -> list[Any]:
    """Apply `work` to each seed of a block, and stack the results."""
    size = next(g for g in blocks if g is not None).shape[0]
    rows = [work(*(None if g is None else g[k] for g in blocks)) for k in range(size)]
    return [None if column[0] is None else np.stack(column) for column in zip(*rows, strict=True)]


_RUNS: dict[type, Callable[..., Run]] = {
    Loop: LoopRun,
    Branches: BranchRun,
    Instructions: InstructionsRun,
    ReverseOf: ReverseRun,
}
