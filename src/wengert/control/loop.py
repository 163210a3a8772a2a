"""Loops: one step's Program, run many times; what is kept of the steps for the sweep back, and what is run again.

A step takes the carry, its number (if the loop counts), its slices of the arrays that are gone through, and what the
user's function closes over; it returns the next carry and what is collected::

    step(carry..., number?, slices..., constants...) -> (carry..., collected...)

For the reverse sweep the steps are needed backwards, each with its insides; `wengert.control.checkpoints` keeps
them, or what they are made from.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from wengert.accumulation.sweeps import forward, reverse
from wengert.compilation.linearized import FEW
from wengert.control.backward import write_backward, write_loop
from wengert.control.bodies import Body, Slot
from wengert.control.checkpoints import Inside, Insides, Snapshots, States, Values
from wengert.control.higher_order import ARRAY, PLACE, Dual, Holding, Mask, Reversed, bytes_of
from wengert.control.revolve import evaluations, snapshots_within
from wengert.cost import Cost, cost
from wengert.errors import ArgumentError, BranchError, caller, explain_at
from wengert.linearization import Linearization, by_position
from wengert.planning import Sweep, count_sweep
from wengert.program import Program, as_value
from wengert.tracing import COPIED, current_context

Array = Any
Checkpoint = str | int
"""``"none"``, ``"all"``, ``"auto"`` or a number of snapshots."""
CODE, CODE_OF_A_LINE = 40_000, 20_000
"""Bytes that tracing a body and writing its sweeps takes, at its peak: for any, and for each line."""


# ---- A step's sweeps ----


class Swept:
    """How the steps are swept: by their kernels where they have one (and it is `fast`), or else line by line."""

    __slots__ = ("_known", "by_kernels", "fast")

    def __init__(self, fast: bool) -> None:
        self.fast = fast
        self.by_kernels = False
        self._known: tuple[Any, ...] = (None, (), None)

    def _by_kernel(
        self, ahead: bool, kept: Sequence[Any], here: Sequence[Any], consts: Values, batch: int
    ) -> list[Any] | None:
        given = tuple([g is not None for g in here])
        kernel, mask, sweep = self._known
        if kernel is not kept[0] or mask != given:
            seeds = [g for g in here if g is not None]
            block = seeds[0].shape[0] if batch and seeds else None
            sweep = kept[0].sweep(ahead, given, kept, consts, block) if kept[0].takes(ahead, here) else None
            self._known = kept[0], given, sweep
        if sweep is None:
            return None
        self.by_kernels = True
        return sweep(kept, consts, [g for g in here if g is not None])  # type: ignore[no-any-return]

    def onward(self, inside: Inside, here: Sequence[Any], consts: Values, own: int, batch: int) -> list[Any]:
        """Return the tangents of a step's results, from those of its arguments."""
        if type(inside) is tuple:
            consts = consts[: inside[0].inputs - own]
            here = here[: inside[0].inputs]
            if self.fast:
                found = self._by_kernel(True, inside, here, consts, batch)
                if found is not None:
                    return found
            inside = inside[0].linearization(inside, consts)
        seeds = {k: t for k, t in enumerate(here) if t is not None}
        dots = forward(inside, seeds, batch)  # type: ignore[arg-type]
        return [None if position < 0 else dots[position] for position in inside.outputs]  # type: ignore[union-attr]

    def back(self, inside: Inside, here: Sequence[Any], consts: Values, own: int, batch: int) -> list[Any]:
        """Return the adjoints of a step's arguments, from those of its results."""
        if type(inside) is tuple:
            consts = consts[: inside[0].inputs - own]
            if self.fast:
                found = self._by_kernel(False, inside, here, consts, batch)
                if found is not None:
                    return found
            inside = inside[0].linearization(inside, consts)
        seeds = by_position(inside.outputs, here)  # type: ignore[union-attr]
        return reverse(inside, seeds, batch)  # type: ignore[arg-type]


# ---- The loop ----


class Loop(Holding):
    """A loop of a number of steps, or while a test holds; see the top of this module."""

    __slots__ = (
        "_ahead", "_last", "_masks", "bodies", "brought", "budget", "carried", "checkpoint", "collected", "consts",
        "counter", "executed", "folded", "length", "own", "ready", "retrace", "reversed", "sliced", "store",
        "test_takes", "tests", "which",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        bodies: list[Body],
        carried: int,
        sliced: int,
        collected: int,
        *,
        consts: int = 0,
        length: int | None = None,
        counter: range | None = None,
        reversed: bool = False,  # noqa: A002 - as in JAX
        tests: list[Body] | None = None,
        test_takes: Sequence[int] | None = None,
        which: Sequence[int] | None = None,
        checkpoint: Checkpoint = "none",
        budget: int | None = None,
    ) -> None:
        self.name, self.bodies, self.tests, self.origin = name, bodies, tests, None
        self.carried, self.sliced, self.collected, self.consts = carried, sliced, collected, consts
        self.length, self.counter, self.reversed = length, counter, reversed
        self.test_takes = test_takes
        self.which = which
        """The body of each step, where it is known; else the one whose decisions are taken."""
        self.checkpoint, self.budget = checkpoint, budget
        self.executed = length or 0
        self.folded = 0
        """How many lines each step was folded from, in a trace that had them one after the other."""
        self.own = carried + sliced + (counter is not None)
        """How many arguments a step has beside the constants."""
        self.ready: tuple[Values, Any] | None = None
        """Results that are known already, for the next evaluation."""
        self.retrace: Callable[[bool, Values, int], Body] | None = None
        """While the user's function is at hand: traces it for a branch that no body takes."""
        self.brought: list[Any] = []
        """Meanwhile, the values of the constants: another branch may bring more."""
        self.store: Any = None
        self._last = 0
        self._ahead: tuple[Body, Mask, int, Callable[..., Any]] | None = None  # of the body that was run last
        self._masks: dict[tuple[int, Mask], Mask] = {}

    # -- What it is --

    @property
    def programs(self) -> tuple[Program, ...]:
        return tuple(body.program for body in (*(self.tests or ()), *self.bodies))

    def titles(self) -> tuple[str, ...]:
        tests, bodies = len(self.tests or ()), len(self.bodies)
        return (
            *("test" if tests == 1 else f"test, branch {k + 1}" for k in range(tests)),
            *("step" if bodies == 1 else f"step, branch {k + 1}" for k in range(bodies)),
        )

    def heading(self) -> str:
        steps = f"{self.executed:,} step{'s' * (self.executed != 1)}"
        return f"{steps} here" if self.tests is not None else steps

    @property
    def times(self) -> tuple[int, ...]:
        tests, bodies = len(self.tests or ()), range(len(self.bodies))
        # where each step takes the branch that holds for it, the first stands for all
        taken = (
            [self.executed * (k == 0) for k in bodies] if self.which is None else map(list(self.which).count, bodies)
        )
        return (*((self.executed + 1) * (k == 0) for k in range(tests)), *taken)

    def split(self, operands: Sequence[Any]) -> tuple[Values, Values, Values]:
        """Split the operands into constants, the carry, and arrays that are gone through."""
        a, b = self.carried, self.carried + self.sliced
        return tuple(operands[b:]), tuple(operands[:a]), tuple(operands[a:b])

    # -- Running --

    def index(self, s: int, count: int) -> int:
        """Return the place in the arrays of what is the s-th step."""
        return count - 1 - s if self.reversed else s

    def values(self, consts: Sequence[Any], carry: Sequence[Any], xs: Sequence[Any], at: int) -> Values:
        """Return the values of a step's arguments."""
        if self.tests is not None and any(at >= len(x) for x in xs):
            raise BranchError(
                f"{self.name} makes more steps here than where it was traced, and its steps are not alike.\n"
                "Trace the function again at this point."
            )
        number = () if self.counter is None else (np.int64(self.counter[at]),)
        return (*carry, *number, *[x[at] for x in xs], *consts)

    def run(self, s: int, values: Values) -> Values:
        """Run a step."""

        def work(body: Body, given: Values) -> Values:
            results = _silently(body.run, given)
            if results is not None:
                return results
            return tuple(body.linearize(given, (False,) * len(given)).values)

        return self._try(self.bodies, s, values, work)  # type: ignore[no-any-return]

    def linearize(self, s: int, values: Values, active: Mask) -> tuple[Sequence[Any], Inside]:
        """Run a step and keep its insides, where operands are active: its results, and what the sweeps read."""

        def work(body: Body, given: Values) -> tuple[Sequence[Any], Inside]:
            last = self._ahead
            if last is None or last[0] is not body or last[1] is not active or last[2] != len(given):
                arguments = self._padded(self.arguments(active), given)
                few = s < FEW and (self.length or 0) <= FEW
                known = body.kernel(arguments, len(given) - self.own, few)
                last = None if known is None else (body, active, len(given), known[1])
                self._ahead = last
            made = None if last is None else _silently(last[3], given)
            if made is not None:
                return made
            arguments = self._padded(self.arguments(active), given)
            linearization = body.linearize(given, arguments)
            return linearization.values, linearization

        return self._try(self.bodies, s, values, work)  # type: ignore[no-any-return]

    def _try(self, bodies: list[Body], s: int, values: Values, work: Callable[[Body, Values], Any]) -> Any:
        """Do something with the body whose branch these values take, which is mostly the one that was taken last."""
        if self.which is not None and bodies is self.bodies:
            return work(bodies[self.which[s]], values)
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
        known = len(self.brought)
        bodies.append(self.retrace(bodies is self.tests, values, s))
        self._last = len(bodies) - 1
        return work(bodies[-1], (*values, *self.brought[known:]))

    def _padded(self, active: Mask, values: Values) -> Mask:
        """Return a mask for so many values: constants that a branch has just brought are differentiated."""
        return active[: len(values)] + tuple(v.dtype.kind in "fc" for v in values[len(active) :])

    def _goes_on(self, s: int, consts: Values, carry: Values) -> bool:
        """Tell whether there is an s-th step, from this carry."""
        if self.length is not None:
            return s < self.length
        assert self.tests is not None
        given = (*carry, *consts)
        if self.test_takes is not None:
            given = tuple(given[k] for k in self.test_takes)
        return bool(self._try(self.tests, s, given, lambda body, taken: body.run(*taken))[0])

    def first_sweep(self, operands: Sequence[Any], store: Any, collect: bool = True) -> Values:
        """Run all steps; the store keeps what it keeps."""
        consts, carry, xs = self.split(operands)
        ys: list[Any] = []
        s = 0
        while self._goes_on(s, consts, carry):
            at = self.index(s, self.length or 0)
            values = self.values(consts, carry, xs, at)
            results = self.run(s, values) if store is None else store.step(self, s, values)
            if len(self.brought) > len(consts):
                consts = tuple(self.brought)
            carry = tuple(results[: self.carried])
            if self.collected and collect:
                if not ys:
                    ys = [np.empty((self.length, *y.shape), y.dtype) for y in results[self.carried :]]
                for whole, y in zip(ys, results[self.carried :], strict=True):
                    whole[at] = y
            s += 1
        self.executed = s
        if self.collected and collect and not ys:
            ys = [np.empty((0, *r.shape), r.dtype) for r in self.bodies[0].program.results[self.carried :]]
        return (*carry, *ys)

    def evaluate(self, operands: Sequence[Any]) -> Values:
        if self.ready is not None:
            (results, store), self.ready = self.ready, None
            if store is not None:
                store.operands = tuple(operands)
                self.store = store
            return results
        before = current_context().alarms
        results = self.first_sweep(operands, None)
        if current_context().alarms > before and self.bodies[0].careful is not self.bodies[0]:
            results = self._carefully().first_sweep(operands, None)
        return results

    def keeping(self, operands: Sequence[Any], active: Mask) -> tuple[Values, Holding]:
        twin = self.with_bodies(self.bodies)
        twin.store = twin.make_store(operands, active)
        twin.store.operands = tuple(operands)
        return twin.first_sweep(operands, twin.store), twin

    def _carefully(self) -> Loop:
        """Return the same loop with bodies in which zero times infinity is zero."""
        return self.with_bodies([body.careful for body in self.bodies])

    def runs(self, operands: Sequence[Any]) -> Iterator[tuple[str, Program, Sequence[Any]]]:
        consts, carry, xs = self.split(operands)
        s = 0
        while self._goes_on(s, consts, carry):
            at = self.index(s, self.length or 0)
            values = self.values(consts, carry, xs, at)
            body, given, results = self._try(
                self.bodies, s, values, lambda body, given: (body, given, body.run(*given))
            )
            yield f"at step {s:,} of {self.name}", body.program, given
            carry = tuple(results[: self.carried])
            s += 1

    def alone(self) -> Loop:
        return self.with_bodies(self.bodies)

    def with_bodies(self, bodies: list[Body]) -> Loop:
        """Return the same loop with other bodies, and nothing kept of any run."""
        twin = Loop(
            self.name, bodies, self.carried, self.sliced, self.collected, consts=self.consts, length=self.length,
            counter=self.counter, reversed=self.reversed, tests=self.tests, test_takes=self.test_takes,
            which=self.which, checkpoint=self.checkpoint, budget=self.budget,
        )  # fmt: skip
        twin.executed, twin.folded = self.executed, self.folded
        return twin

    # -- What is differentiated --

    def arguments(self, active: Mask) -> Mask:
        """Say which arguments of a step move when some operands do."""
        key = len(self.bodies), active
        known = self._masks.get(key)
        if known is None:
            more = tuple(
                np.asarray(v).dtype.kind in "fc" for v in self.brought[len(active) - self.carried - self.sliced :]
            )
            known = self._masks[key] = self.reached(active + more if self.brought else active)[0]
        return known

    def reached(self, active: Mask) -> tuple[Mask, Mask]:
        """Say which arguments of a step move when some operands do, and which of its results."""
        carry = list(active[: self.carried])
        number = () if self.counter is None else (False,)
        while True:
            arguments = (*carry, *number, *active[self.carried :])
            results = [False] * (self.carried + self.collected)
            for body in self.bodies:
                reached = body.reaches(arguments[: len(body.sample)])
                results = [a or b for a, b in zip(results, reached, strict=True)]
            more = [a or b for a, b in zip(carry, results, strict=False)]
            if more == carry:
                return arguments, (*carry, *results[self.carried :])
            carry = more

    def make_store(self, operands: Sequence[Any], active: Mask) -> Any:
        """Make the store that the loop's checkpoints ask for."""
        kind, snapshots = self.decide(operands, self.arguments(active))
        if kind == "insides":
            return Insides(active)
        if kind == "states":
            return States(active)
        return Snapshots(active, snapshots, self.length)

    def decide(self, operands: Sequence[Any], arguments: Mask) -> tuple[str, int]:
        """Say what is kept, ``insides``, ``states`` or ``snapshots``, and how many of these."""
        if self.checkpoint == "none":
            return "insides", 0
        if self.checkpoint == "all":
            return "states", self.length or 0
        if self.checkpoint != "auto":
            return "snapshots", int(self.checkpoint)
        budget = _quarter_of_memory() if self.budget is None else self.budget
        state, inside, fixed = self.sizes(operands, arguments)
        if self.length is not None and self.length * inside + fixed <= budget:
            return "insides", 0
        try:
            fit = snapshots_within(budget - fixed, state, inside, self.length)
        except ArgumentError:
            raise ArgumentError(
                explain_at(
                    current_context().place or caller(),
                    f"a memory budget of {budget:,} bytes is too small for {self.name}: a state takes {state:,} bytes, "
                    f"the insides of a step {inside:,}, and adjoints, results and the code of the sweeps {fixed:,}:",
                    f"Give {2 * state + max(state, inside) + fixed:,} bytes or more.",
                )
            ) from None
        return ("states", fit) if self.length is not None and fit >= self.length else ("snapshots", fit)

    def sizes(self, operands: Sequence[Any], arguments: Mask) -> tuple[int, int, int]:
        """Return how many bytes a state takes that is kept, the insides of a step, and all that is there but once.

        The last are adjoints, what is collected, what a step and its sweep compute on the way, and their code.
        """
        body = self.bodies[0]
        arguments = arguments[: len(body.sample)]
        state = PLACE + sum(v.nbytes + ARRAY for v in body.sample[: self.carried])
        long = self.length is None or self.length > FEW
        kernel = body.kernel(arguments, len(body.sample) - self.own) if long else None
        if kernel is not None:
            inside = PLACE + sum(_bytes_of(var) + ARRAY for var in kernel[0].outline.kept)
        else:
            linearization = body.linearize(body.sample, arguments)
            inside = bytes_of(linearization, body.sample)
        lines = [line for program in self.programs for line in program.lines]
        on_the_way = sum(_bytes_of(var) + ARRAY for line in lines for var in line.outputs)
        results = body.program.results
        collected = sum((self.length or 0) * _bytes_of(r) for r in results[self.carried :])
        bars = sum(v.nbytes for v in map(as_value, operands)) + 2 * state
        return state, inside, bars + 2 * collected + 2 * on_the_way + CODE + CODE_OF_A_LINE * len(lines)

    def _at_hand(self, operands: Sequence[Any], active: Mask) -> Any:
        """Return the store of the steps from these operands, if there is one."""
        store = self.store
        known = store is not None and not store.spent and _same(store.operands, operands)
        if known and all(has or not on for on, has in zip(active, store.active, strict=False)):
            return store
        return None

    def _onward(self, operands: Sequence[Any], active: Mask) -> Iterator[tuple[int, Inside]]:
        """Go through the steps from the first to the last: from the store that has all, or running them again."""
        if self.checkpoint == "none" or isinstance(self._at_hand(operands, active), Insides):
            yield from self._stored(operands, active).forward()
            return
        consts, carry, xs = self.split(operands)
        s = 0
        while self._goes_on(s, consts, carry):
            at = self.index(s, self.length or 0)
            results, inside = self.linearize(s, self.values(consts, carry, xs, at), active)
            carry = tuple(results[: self.carried])
            yield s, inside
            s += 1
        self.executed = s

    def _stored(self, operands: Sequence[Any], active: Mask) -> Any:
        """Return a store of the steps from these operands: the one at hand if it is theirs."""
        store = self._at_hand(operands, active)
        if store is not None:
            return store
        self.store = None  # what is kept for others is not kept beside it
        store = self.make_store(operands, active)
        store.operands = tuple(operands)
        self.first_sweep(operands, store, collect=False)
        self.store = store
        return store

    def push(self, tangents: Sequence[Any], operands: Sequence[Any], batch: int) -> list[Any]:
        active = tuple(t is not None for t in tangents)
        return self._sweep(lambda loop, swept: loop._push(tangents, operands, batch, active, swept))

    def pull(self, bars: Sequence[Any], operands: Sequence[Any], batch: int, wanted: Mask) -> list[Any]:
        return self._sweep(lambda loop, swept: loop._pull(bars, operands, batch, wanted, swept))

    def _sweep(self, sweep: Callable[[Loop, Swept], list[Any]]) -> list[Any]:
        """Sweep by kernels; where that meets an infinity or NaN, line by line; and at last with careful bodies."""
        context = current_context()
        before = context.alarms
        if not before:
            swept = Swept(True)
            muted, context.muted = context.muted, True
            try:
                result = sweep(self, swept)
            finally:
                context.muted = muted
            if not context.alarms or not swept.by_kernels:
                return self._as_is(result, before, sweep)
        return self._as_is(sweep(self, Swept(False)), before, sweep)

    def _as_is(self, result: list[Any], before: int, sweep: Callable[[Loop, Swept], list[Any]]) -> list[Any]:
        if current_context().alarms > before and self.bodies[0].careful is not self.bodies[0]:
            return sweep(self._carefully(), Swept(False))
        return result

    def _push(
        self, tangents: Sequence[Any], operands: Sequence[Any], batch: int, active: Mask, swept: Swept
    ) -> list[Any]:
        consts = self.split(operands)[0]
        const_dots, carry_dots, xs_dots = self.split(tangents)
        first = 0 if self.counter is None else 1
        dots: list[Any] = list(carry_dots)
        ys: list[Any] = [None] * self.collected
        sliced = [(k, t) for k, t in enumerate(xs_dots, self.carried + first) if t is not None]
        here: list[Any] = [*dots, *[None] * (first + self.sliced), *const_dots]
        for s, inside in self._onward(operands, active):
            at = self.index(s, self.executed)
            here[: self.carried] = dots
            for k, t in sliced:
                here[k] = t[:, at] if batch else t[at]
            out = swept.onward(inside, here, consts, self.own, batch)
            inside = None  # type: ignore[assignment]  # not to be held while the next step is run
            dots = out[: self.carried]
            for k, t in enumerate(out[self.carried :]):
                if t is not None:
                    if ys[k] is None:
                        shape = (*t.shape[:batch], self.executed, *t.shape[batch:])
                        ys[k] = np.zeros(shape, t.dtype)
                    ys[k][_at(at, batch)] = t
        return dots + ys

    def _pull(self, bars: Sequence[Any], operands: Sequence[Any], batch: int, wanted: Mask, swept: Swept) -> list[Any]:
        store = self._stored(operands, wanted)
        consts, _, xs = self.split(operands)
        dots = self.carried
        first = self.own - self.sliced
        carry: list[Any] = list(bars[:dots])
        collected = [(k, g) for k, g in enumerate(bars[dots:], dots) if g is not None]
        xs_bars: list[Any] = [None] * self.sliced
        const_bars: list[Any] = [None] * self.consts
        own = [False] * self.consts
        here: list[Any] = [*carry, *[None] * self.collected]
        slices = [(k, first + k) for k in range(self.sliced) if wanted[dots + k]]
        constants = [(k, self.own + k) for k in range(self.consts) if wanted[dots + self.sliced + k]]
        for s, inside in store.backward(self):
            at = self.index(s, self.executed)
            here[:dots] = carry
            for k, g in collected:
                here[k] = g[:, at] if batch else g[at]
            found = swept.back(inside, here, consts, self.own, batch)
            carry = found[:dots]
            for k, n in slices:
                g = found[n]
                if g is not None:
                    if xs_bars[k] is None:
                        xs_bars[k] = np.zeros((*g.shape[:batch], *xs[k].shape), xs[k].dtype)
                    xs_bars[k][_at(at, batch)] = g
            for k, n in constants:
                g = found[n] if n < len(found) else None
                if g is not None:
                    known = const_bars[k]
                    if known is None:
                        const_bars[k] = g
                    elif own[k] and type(known) is np.ndarray and known.dtype is g.dtype:
                        known += g
                    else:
                        const_bars[k], own[k] = known + g, True
            found = inside = None  # type: ignore[assignment]  # not to be held while the next step is run again
        return [g if on else None for g, on in zip([*carry, *xs_bars, *const_bars], wanted, strict=True)]

    # -- Its dual --

    def dual(self, active: Mask, batch: int | None) -> Dual:
        arguments, results = self.reached(active)
        carried, sliced, consts, collected = self.carried, self.sliced, self.consts, self.collected
        number = int(self.counter is not None)
        shift = carried + number

        def both(start: int, count: int, on: Sequence[bool]) -> list[Slot]:
            return [
                *(("x", start + k) for k in range(count)),
                *(("dot", start + k) for k in range(count) if on[start + k]),
            ]

        of_carry, of_xs = both(0, carried, arguments), both(shift, sliced, arguments)
        of_consts = both(shift + sliced, consts, arguments)
        takes = [*of_carry, *([("x", carried)] if number else []), *of_xs, *of_consts]
        gives_carry, gives_ys = both(0, carried, results), both(carried, collected, results)
        gives = [*gives_carry, *gives_ys]
        held = Loop(
            self.name, [body.dual(arguments, results, takes, gives, batch) for body in self.bodies],
            len(of_carry), len(of_xs), len(gives_ys),
            consts=len(of_consts), length=self.length, counter=self.counter, reversed=self.reversed,
            tests=self.tests, which=self.which, checkpoint=self.checkpoint, budget=self.budget,
        )  # fmt: skip
        held.executed = self.executed
        if self.tests is not None:
            given = [*of_carry, *of_consts]
            inner = self.test_takes or range(carried + consts)
            names = [("x", k) if k < carried else ("x", shift + sliced + k - carried) for k in inner]
            held.test_takes = [given.index(name) for name in names]
        order = [*of_carry, *of_xs, *of_consts]

        def at(k: int) -> int:  # the operand that an argument of a step comes from
            return k if k < carried else k - number

        def join(operands: Sequence[Any], tangents: Sequence[Any]) -> list[Any]:
            joined = []
            for what, k in order:
                x, t = operands[at(k)], tangents[at(k)]
                if what == "x":
                    joined.append(x)
                elif t is None:
                    shape = () if batch is None else (batch,)
                    joined.append(as_value(np.zeros(shape + x.shape, x.dtype)))
                else:
                    moves = batch is not None and shift <= k < shift + sliced
                    joined.append(np.moveaxis(t, 0, 1) if moves else t)
            return joined

        def tangents_of(outputs: Sequence[Any]) -> list[Any]:
            found: list[Any] = [None] * (carried + collected)
            for (what, k), y in zip(gives, outputs, strict=True):
                if what == "dot":
                    found[k] = y if batch is None or k < carried else np.moveaxis(y, 1, 0)
            return found

        return Dual(
            held,
            join,
            tangents_of,
            tuple(order.index(("x", k if k < carried else k + number)) for k in range(carried + sliced + consts)),
            tuple(gives.index(("x", k)) for k in range(carried + collected)),
            tuple(gives.index(("dot", k)) if on else None for k, on in enumerate(results)),
            len(gives),
        )

    # -- As Python, and in reverse --

    def source(self, names: Sequence[str], args: Sequence[str], left: Sequence[str]) -> list[str]:
        return write_loop(self, names, args, left)

    def with_adjoints(self, given: Mask, wanted: Mask) -> tuple[Mask, Mask]:
        """Say which results of a step have adjoints in the reverse sweep, and which arguments get some."""
        active, _ = self.reached(wanted)
        has = list(given)

        def gets(k: int) -> bool:
            alone = tuple(n == k for n in range(len(active)))
            reached = [body.reaches(alone[: len(body.sample)]) for body in self.bodies if k < len(body.sample)]
            return any(on and has[n] for found in reached for n, on in enumerate(found))

        while True:
            found = tuple(on and gets(k) for k, on in enumerate(active))
            more = [a or b for a, b in zip(has, found[: self.carried], strict=False)]
            if more == has[: self.carried]:
                return tuple(has), found
            has[: self.carried] = more

    def in_reverse(self, given: Mask, wanted: Mask) -> Reversed:
        has, gets = self.with_adjoints(given, wanted)
        programs = tuple(body.in_reverse(has, gets) for body in self.bodies)
        tests = len(self.tests or ())
        titles = (*self.titles(), *(f"{title}, in reverse" for title in self.titles()[tests:]))

        def source(
            names: Sequence[str], args: Sequence[str], bars: Sequence[str | None], left: Sequence[str]
        ) -> list[str]:
            return write_backward(self, names, args, bars, left, (has, gets, wanted))

        times = (*self.times, *((self.executed if k == 0 else 0) for k in range(len(self.bodies))))
        return Reversed((*self.programs, *programs), titles, times, source)

    # -- What it costs --

    def like_operands(self) -> Values:
        """Return operands of the shapes that this loop has."""
        sample = self.bodies[0].sample
        first = self.carried + (self.counter is not None)
        xs = [np.broadcast_to(x, (self.executed, *np.shape(x))) for x in sample[first : first + self.sliced]]
        return (*sample[: self.carried], *xs, *sample[first + self.sliced :])

    def sweep(self, mode: str, active: Mask | None = None, given: Mask | None = None) -> tuple[Cost, Cost, int]:
        operands, program = self.like_operands(), self.bodies[0].program
        able = tuple(as_value(x).dtype.kind in "fc" for x in operands)
        moving = able if active is None else tuple(a and b for a, b in zip(active, able, strict=False))
        arguments, _ = self.reached(moving)
        kind, snapshots = self.decide(operands, arguments)
        if mode == "forward":
            partials, one_pass, _ = self._tally(mode, moving[: self.carried], arguments)
            again = 0 if kind == "insides" else self.executed
            return partials + again * cost(program), one_pass, 0
        bars = (True,) * len(program.results) if given is None else given
        partials, one_pass, kept = self._tally(mode, bars, arguments)
        if kind == "insides":
            return partials, one_pass, kept
        state = sum(np.size(v) for v in operands[: self.carried])
        _, _, inside = self._tally(mode, bars, arguments, 1)
        again = self.again(kind, snapshots) + self.executed
        states = min(self.executed, snapshots or self.executed)
        return partials + again * cost(program), one_pass, inside + states * state

    def _tally(self, mode: str, start: Mask, arguments: Mask, steps: int | None = None) -> tuple[Cost, Cost, int]:
        """Add up the sweeps over the steps, of which the first ones may have fewer tangents or adjoints than the rest.

        From one step to the next goes what has reached the carry; `start` says what the first one is given.
        """
        carried, first = self.carried, self.own
        known: dict[Any, Sweep] = {}
        here, s, before = start, 0, None
        steps = self.executed if steps is None else steps
        taken = [0] * steps if self.which is None else list(self.which)[:steps]
        if mode == "reverse":
            taken.reverse()
        partials, one_pass, kept = Cost(), Cost(), 0
        summed = [0] * len(arguments)
        while s < steps:
            body = self.bodies[taken[s]]
            found = known.get((taken[s], here))
            if found is None:
                active = arguments if mode == "reverse" else (*here[:carried], *arguments[carried:])
                found = count_sweep(body.program, body.sample, active[: len(body.sample)], mode, here)
                known[taken[s], here] = found
            after = (*found.reached[:carried], *here[carried:])
            times = steps - s if self.which is None and after == here and before is found else 1
            partials, one_pass = partials + times * found.partials, one_pass + times * found.one_pass
            if mode == "reverse":
                carry_read = zip((before or found).read, found.made, strict=False)
                kept += times * found.kept
                kept += (times if s else 0) * sum(made for read, made in list(carry_read)[:carried] if read)
                summed = [n + times * got for n, got in zip(summed, found.reached, strict=False)]
            here, before, s = after, found, s + times
        for n, value in zip(summed[first:], self.bodies[0].sample[first:], strict=True):
            one_pass += Cost(additions=max(n - 1, 0) * int(np.size(value)))  # of what the body closes over
        return partials, one_pass, kept

    def again(self, kind: str, snapshots: int) -> int:
        """Count the steps that a reverse sweep runs again without their insides."""
        if kind != "snapshots" or not self.executed:
            return 0
        return evaluations(self.executed, snapshots) - self.executed

    def kept_bytes(self) -> int:
        store = self.store
        if isinstance(store, Insides):
            first = store.steps[0] if store.steps else ()
            kept = () if isinstance(first, Linearization) else first[1:]
            one = bytes_of(first, ()) if isinstance(first, Linearization) else sum(v.nbytes + ARRAY for v in kept)
            return one * len(store.steps)
        states = store.count if isinstance(store, States) else store.most if isinstance(store, Snapshots) else 0
        state = sum(v.nbytes + ARRAY for v in self.bodies[0].sample[: self.carried])
        return states * (PLACE + int(state))

    def note(self) -> str:
        operands = self.like_operands()
        arguments, _ = self.reached(tuple(as_value(x).dtype.kind in "fc" for x in operands))
        kind, snapshots = self.decide(operands, arguments)
        state, inside, _ = self.sizes(operands, arguments)
        steps = self.executed
        head = f"{self.name}, {self.heading()}"
        if kind == "insides":
            return f"{head}: the insides of all steps are kept, up to {steps * inside:,} bytes; nothing is run again"
        if kind == "states":
            kept = steps * state + inside
            return f"{head}: every state is kept, up to {kept:,} bytes; each step is run once more, with its insides"
        again = self.again(kind, snapshots)
        count = min(steps, snapshots)
        kept = count * state + inside
        return (
            f"{head}: {count:,} snapshot{'s' * (count != 1)} of {state:,} bytes, up to {kept:,} bytes with the insides "
            f"of one step; {again:,} step{'s are' if again != 1 else ' is'} run again, and each once more with its "
            "insides"
        )


def _silently(run: Callable[..., tuple[Any, ...]], given: Sequence[Any]) -> tuple[Any, ...] | None:
    """Run straight code; None if NumPy had something to say of it, which line by line names the user's line."""
    context = current_context()
    before, muted = context.alarms, context.muted
    context.muted = True
    try:
        results = run(*given)
    finally:
        context.muted = muted
    return results if context.alarms == before else None


def _at(at: int, batch: int) -> Any:
    return (slice(None), at) if batch else at


def _bytes_of(what: Any) -> int:
    return int(math.prod(what.shape) * what.dtype.itemsize)


def _quarter_of_memory() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
    except (AttributeError, ValueError, OSError):
        return 1 << 30


def _same(known: Sequence[Any], operands: Sequence[Any]) -> bool:
    """Tell whether operands are those that a store was made from; small ones may have been copied meanwhile."""
    return len(known) == len(operands) and all(
        a is b or (np.size(a) <= COPIED and np.size(b) == np.size(a) and np.array_equal(a, b))
        for a, b in zip(known, operands, strict=True)
    )
