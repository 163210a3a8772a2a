"""Derivatives of loops and branches, as data: their tangents, and their reverse sweeps.

The *tangent* of a line is a line of the same kind, which carries tangents beside the values (`tangent_of`).  Its
*reverse* is a line that runs the Programs of the line and then goes back (`ReverseOf`).  How the adjoints of a loop go
from step to step is said once, by a `ReverseSweep`: the run of a loop, the source of its reverse sweep, its explanation
and the search for a NaN all read it.

>>> import numpy as np, wengert as wg
>>> program = wg.trace(lambda x, w: wg.scan(lambda c, x: (c * x * w, c), 1.0, x))(np.arange(3.0), 2.0)
>>> sweep = ReverseSweep.over(program.lines[0].held, (True, True), (False, True, True))
>>> sweep.received, sweep.passed
(('carry', 'slice'), ('carry', 'slice', 'sum'))
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from wengert.accumulation.programs import Slot
from wengert.control.branch import Branches
from wengert.control.holding import Holding, Mask
from wengert.control.loop import Loop, hoisted
from wengert.cost import Cost
from wengert.program import Program, as_identifier, as_value, made_from, make_again, write_tuple

# ---- Tangents ----


@dataclass(frozen=True, slots=True, eq=False)
class Tangent:
    """A line that carries tangents beside the values, and where operands and results stand in it.

    Attributes
    ----------
    held
        What it holds.
    takes, gives
        Its operands and results: ``("x", k)`` is the k-th of the line, ``("dot", k)`` the tangent of that.
    batch
        The number of tangents in a block; None for one alone.
    moved
        The operands and results of the line that are gone through by the steps: with a block of tangents, whose axis
        leads, the steps lie along the second one.
    """

    held: Holding
    takes: tuple[Slot, ...]
    gives: tuple[Slot, ...]
    batch: int | None
    moved: tuple[range, range] = (range(0), range(0))

    @property
    def operands(self) -> tuple[int, ...]:
        """The place of each operand of the line among the operands."""
        return tuple(self.takes.index(("x", k)) for k in range(sum(what == "x" for what, _ in self.takes)))

    def value(self, k: int) -> int:
        """Return the place of the k-th result of the line."""
        return self.gives.index(("x", k))

    def tangent(self, k: int) -> int | None:
        """Return the place of the tangent of the k-th result; None if it has none."""
        return self.gives.index(("dot", k)) if ("dot", k) in self.gives else None

    def join(self, operands: Sequence[Any], tangents: Sequence[Any]) -> list[Any]:
        """Return the operands: those of the line and their tangents (None where zero), in order."""
        joined = []
        for what, k in self.takes:
            value = operands[k]
            if what == "dot":
                shape = () if self.batch is None else (self.batch,)
                t = as_value(np.zeros(shape + value.shape, value.dtype)) if tangents[k] is None else tangents[k]
                value = np.moveaxis(t, 0, 1) if self.batch is not None and k in self.moved[0] else t
            joined.append(value)
        return joined

    def tangents(self, results: Sequence[Any]) -> list[Any]:
        """Return the tangents of the results of the line; None for one that has none."""
        dots: list[Any] = [None] * sum(what == "x" for what, _ in self.gives)
        for (what, k), y in zip(self.gives, results, strict=True):
            if what == "dot":
                dots[k] = np.moveaxis(y, 1, 0) if self.batch is not None and k in self.moved[1] else y
        return dots


def tangent_of(held: Holding, active: Mask, batch: int | None) -> Tangent:
    """Return the line that carries tangents of the active operands beside the values; with `batch`, blocks of them."""
    if isinstance(held, Loop):
        return _tangent_of_loop(held, active, batch)
    assert isinstance(held, Branches)
    moving = active[held.leading :]
    reached = [body.reaches(moving) for body in held.traced]
    out = tuple(any(column) for column in zip(*reached, strict=True))
    takes, gives = beside(0, len(moving), moving), beside(0, len(out), out)
    bodies = tuple(None if b is None else b.tangent(moving, out, takes, gives, batch) for b in held.bodies)
    choice: list[Slot] = [("x", 0)] * held.leading
    operands = (*choice, *((what, k + held.leading) for what, k in takes))
    return Tangent(replace(held, bodies=bodies, origin=None), operands, tuple(gives), batch)


def beside(start: int, count: int, on: Sequence[bool]) -> list[Slot]:
    """Return the slots of so many values from `start`, and after them those of their tangents."""
    places = range(start, start + count)
    return [*(("x", k) for k in places), *(("dot", k) for k in places if on[k])]


def _tangent_of_loop(loop: Loop, active: Mask, batch: int | None) -> Tangent:
    arguments, results = loop.reached(active)
    carried, sliced, consts, collected = loop.carried, loop.sliced, loop.consts, loop.collected
    number: list[Slot] = [] if loop.counter is None else [("x", carried)]
    first = carried + len(number)
    of_carry, of_xs = beside(0, carried, arguments), beside(first, sliced, arguments)
    of_consts = beside(first + sliced, consts, arguments)
    gives_carry, gives_ys = beside(0, carried, results), beside(carried, collected, results)
    takes, gives = [*of_carry, *number, *of_xs, *of_consts], [*gives_carry, *gives_ys]

    def operand(k: int) -> int:  # that an argument of a step comes from
        return k if k < carried else k - len(number)

    slots = tuple((what, operand(k)) for what, k in (*of_carry, *of_xs, *of_consts))
    test_takes = None
    if loop.tests:
        asked = [*of_carry, *of_consts]
        inner = range(carried + consts) if loop.test_takes is None else loop.test_takes
        test_takes = tuple(asked.index(("x", k if k < carried else k - carried + first + sliced)) for k in inner)
    held = replace(
        loop, bodies=tuple(body.tangent(arguments, results, takes, gives, batch) for body in loop.bodies),
        carried=len(of_carry), sliced=len(of_xs), consts=len(of_consts), collected=len(gives_ys),
        test_takes=test_takes, folded=0, origin=None,
    )  # fmt: skip
    moved = range(carried, carried + sliced), range(carried, carried + collected)
    return Tangent(held, slots, tuple(gives), batch, moved)


# ---- Reverse sweeps ----


@dataclass(frozen=True, slots=True, eq=False)
class ReverseSweep:
    """How adjoints go from step to step, from the last to the first.

    Attributes
    ----------
    received
        For each result of a step, where its adjoint comes from: ``"carry"``, from the step after it (for the last, from
        what follows the loop); ``"slice"``, from its place in the adjoint of what is collected; None where it is zero.
    passed
        For each argument of a step, where its adjoint goes: ``"carry"``, to the step before (from the first, to the
        operand of the line); ``"slice"``, to its place in the adjoint of the array; ``"sum"``, into that of a constant;
        None where it has none, or nobody wants it.
    active
        The arguments of a step that move.
    """

    received: tuple[str | None, ...]
    passed: tuple[str | None, ...]
    active: Mask

    @classmethod
    def over(cls, loop: Loop, seeded: Mask, wanted: Mask) -> ReverseSweep:
        """Return the sweep from adjoints of the results that are `seeded` to those of operands that are `wanted`."""
        memo, key = loop.memo, (seeded, wanted)
        if key not in memo:
            memo[key] = cls._over(loop, seeded, wanted)
        return memo[key]  # type: ignore[no-any-return]

    @classmethod
    def _over(cls, loop: Loop, seeded: Mask, wanted: Mask) -> ReverseSweep:
        active, _ = loop.reached(wanted)
        carried = loop.carried
        has = list(seeded)
        while True:  # what a step passes on may be received by the step before it
            leading = [body.leads(tuple(has)) for body in loop.bodies]
            gets = [on and any(k < len(of) and of[k] for of in leading) for k, on in enumerate(active)]
            more = [a or b for a, b in zip(has, gets[:carried], strict=False)]
            if more == has[:carried]:
                break
            has[:carried] = more
        number = ["number"] * (loop.counter is not None)
        sources = ["carry"] * carried + ["slice"] * loop.collected
        targets = ["carry"] * carried + number + ["slice"] * loop.sliced + ["sum"] * loop.consts
        return cls(
            tuple(source if on else None for source, on in zip(sources, has, strict=True)),
            tuple(target if on else None for target, on in zip(targets, gets, strict=True)),
            active,
        )

    def programs(self, loop: Loop) -> tuple[Program, ...]:
        """Return each body with its reverse sweep."""
        seeded, wanted = tuple(map(bool, self.received)), tuple(map(bool, self.passed))
        return tuple(body.reverse(seeded, wanted) for body in loop.bodies)

    def source(
        self, loop: Loop, names: Sequence[str], args: Sequence[str], bars: Sequence[str | None], left: Sequence[str],
        wanted: Mask,
    ) -> list[str]:  # fmt: skip
        """Write the sweep as Python statements: the steps, whose states are kept, and the reversed steps backwards.

        The Programs are functions of the given names; `left` has a name for each operand whose adjoint is wanted.
        """
        tests, steps = len(loop.tests), len(loop.bodies)
        consts, carry, xs = loop.split(args)
        code, slices = hoisted(xs, "xs")
        more, ys_bars = hoisted([g or "" for g in bars[loop.carried :]], "ys_bar")
        arguments = loop.bodies[0].program.arguments
        names_of = [as_identifier(a.name) or f"x_{k}" for k, a in enumerate(arguments)]
        bar_of = [f"{name}_bar" for name in names_of]
        taken = {"s", "np", "states", "which", *names}
        state = [f"{x}_now" if x in taken or x.startswith("u_") else x for x in names_of[: loop.carried]]
        # forward: the states before each step
        code += more
        if state:
            code += ["states = []", f"{', '.join(state)} = {', '.join(carry)}"]
            targets = ", ".join([*state, *(["*_"] if loop.collected else [])])
            step = loop.write_call(names[tests : tests + steps], state, slices, consts)
            block = [f"states.append(({write_tuple(state)}))", f"{targets} = {step}"]
            code += loop.write_steps(names[:tests], [*state, *consts], bool(slices), block)
        # and backward
        first = loop.first_const - loop.sliced
        places = [*range(loop.carried), *range(first, len(arguments))]
        target = dict(zip((k for k, on in zip(places, wanted, strict=True) if on), left, strict=True))
        carried = [k for k in range(loop.carried) if self.received[k]]
        code += [f"{bar_of[k]} = {bars[k] or _zeros(arguments[k])}" for k in carried]
        for k, name in target.items():
            if first <= k < loop.first_const:
                code.append(f"{name} = np.zeros_like({slices[k - first]})")
            elif k not in carried:
                code.append(f"{name} = {_zeros(arguments[k])}")
        received = [bar_of[k] for k in carried]
        received += [f"{y}[s]" for y, on in zip(ys_bars, self.received[loop.carried :], strict=True) if on]
        call = loop.write_call(names[tests + steps :], ["*states.pop()"] if state else [], slices, [*consts, *received])
        passed = [f"{target[k]}[s]" if to == "slice" else bar_of[k] for k, to in enumerate(self.passed) if to]
        block = [f"{', '.join(passed)} = {call}"] if passed else []
        block += [f"{target[k]} = {target[k]} + {bar_of[k]}" for k, to in enumerate(self.passed) if to == "sum"]
        block += [f"{bar_of[k]} = {_zeros(arguments[k])}" for k in carried if not self.passed[k]]
        steps_made = "range(len(states))" if loop.tests else f"range({loop.length})"
        if block:
            code.append(f"for s in {steps_made if loop.reversed else f'reversed({steps_made})'}:")
        code += [f"    {text}" for text in block]
        return code + [f"{name} = {bar_of[k]}" for k, name in target.items() if k in carried]


def _zeros(argument: Any) -> str:
    return f"np.zeros({argument.shape}, np.{argument.dtype.name})[()]"


@dataclass(frozen=True, slots=True, eq=False)
class ReverseOf(Holding):
    """The reverse sweep over a line, as a line: from its operands and adjoints of its results, to those of operands.

    `seeded` says of which results there are adjoints, `wanted` of which operands they are computed.
    """

    inner: Holding
    seeded: Mask
    wanted: Mask
    origin: None = None
    _memo: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    __getstate__, __setstate__ = made_from, make_again

    @property
    def memo(self) -> dict[str, Any]:
        """``"machine"``: all of it as machine code, once a run has shown that there is (`wengert.control.native`)."""
        return self._memo

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"pull_{self.inner.name}"

    def structure(self, longest: int | None = None) -> tuple[Hashable, list[Any]] | None:
        inner = self.inner.structure(longest)
        return inner and ((ReverseOf, self.seeded, self.wanted, inner[0]), inner[1])

    @property
    def sweep_over_loop(self) -> ReverseSweep:
        """How the adjoints go from step to step, if the line is a loop."""
        assert isinstance(self.inner, Loop)
        return ReverseSweep.over(self.inner, self.seeded, self.wanted)

    @property
    def programs(self) -> tuple[Program, ...]:
        inner = self.inner
        if isinstance(inner, Loop):
            return (*inner.programs, *self.sweep_over_loop.programs(inner))
        if not isinstance(inner, Branches):
            return inner.programs
        return tuple(body.reverse(self.seeded, self.wanted[inner.leading :]) for body in inner.traced)

    @property
    def times(self) -> tuple[int, ...]:
        if not isinstance(self.inner, Loop):
            return self.inner.times
        return (*self.inner.times, *(self.inner.steps * (k == 0) for k in range(len(self.inner.bodies))))

    def titles(self) -> tuple[str, ...]:
        titles = self.inner.titles()
        if not isinstance(self.inner, Loop):
            return tuple(f"{title}, in reverse" for title in titles)
        return (*titles, *(f"{title}, in reverse" for title in titles[len(self.inner.tests) :]))

    def weighed(self) -> list[tuple[Program, int]]:
        return [(program, 3 * times) for program, times in self.inner.weighed()]  # there, and twice as much back

    def heading(self) -> str:
        return f"{self.inner.heading()}, in reverse"

    def source(self, names: Sequence[str], args: Sequence[str], left: Sequence[str]) -> list[str]:
        xs, bars = self.split(args)
        if isinstance(self.inner, Loop):
            return self.sweep_over_loop.source(self.inner, names, xs, bars, left, self.wanted)
        if not isinstance(self.inner, Branches):
            return self.inner.source(names, xs, left)
        operands = ", ".join([*xs[self.inner.leading :], *(bar for bar in bars if bar is not None)])
        return self.inner.write_choice(xs, [f"{', '.join(left)} = {name}({operands})" for name in names])

    def cost(self) -> Cost:
        once, each_pass, _ = self.inner.sweep("reverse", self.wanted, self.seeded)
        return self.inner.cost() + once + each_pass

    def swept(self, moving: Sequence[bool]) -> tuple[Cost, Cost, int] | None:
        xs, _ = self.split(moving)
        return None if any(xs) else self.inner.sweep("reverse", self.wanted, self.seeded)

    def split(self, operands: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """Split the operands into those of the line and the adjoints of its results (None where zero)."""
        count = len(self.wanted)
        bars = iter(operands[count:])
        return list(operands[:count]), [next(bars) if on else None for on in self.seeded]
