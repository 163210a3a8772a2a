"""Loops: one step's Program, run many times, and how its arguments are wired, as frozen data.

A step takes the carry, its number (if the loop counts), its slices of the arrays that are gone through, and what the
user's function closes over (the *constants*); it returns the next carry and what is collected::

    step(carry..., number?, slices..., constants...) -> (carry..., collected...)

How a loop runs is in `wengert.control.execution`, what it keeps for the reverse sweep in `wengert.control.checkpoints`.

>>> import numpy as np, wengert as wg
>>> program = wg.trace(lambda x: wg.scan(lambda c, x: (c * x, c), 1.0, x))(np.arange(3.0))
>>> loop = program.lines[0].held
>>> loop.carried, loop.sliced, loop.collected, loop.steps
(1, 1, 1, 3)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wengert.accumulation.counting import Sweep, count_sweep
from wengert.control.bodies import Body, is_few
from wengert.control.checkpoints import KEEP_ALL, Kept, Policy, Sizes
from wengert.control.holding import ARRAY, PLACE, Holding, Mask, Values, WriteLine, WriteProgram, bytes_of
from wengert.cost import Cost, cost
from wengert.errors import BranchError
from wengert.primitives.numpy.structural import alias, getitem, stack
from wengert.program import Atom, Constant, Program, Shaped, Var, as_value, made_from, make_again
from wengert.program.code import For

CODE, CODE_OF_A_LINE = 40_000, 20_000
"""Bytes that tracing a body and writing its sweeps takes, at its peak: for any, and for each line."""


@dataclass(frozen=True, slots=True, eq=False)
class Loop(Holding):
    """A loop of a number of steps, or while a test holds.

    Attributes
    ----------
    bodies
        The step: one Program for each branch that steps take.
    carried, sliced, collected, consts
        The numbers of values in the carry, of arrays that are gone through, of values collected, and of constants.
    length
        The number of steps; None while a test holds.
    counter
        The numbers of the steps, if a step takes its own.
    reversed
        True to go from the last slice to the first.
    tests, test_takes
        The test, by branches, and which of (carry, constants) it takes; None for all.
    which
        The body of each step, where it is known; else a step takes the one whose decisions hold.
    policy
        What is kept for a reverse sweep.
    executed
        The number of steps of a loop with a test where it was traced.
    folded
        The number of lines that each step was folded from, in a trace that had them one after the other.
    """

    name: str
    bodies: tuple[Body, ...]
    carried: int
    sliced: int
    collected: int
    consts: int = 0
    length: int | None = None
    counter: range | None = None
    reversed: bool = False
    tests: tuple[Body, ...] = ()
    test_takes: tuple[int, ...] | None = None
    which: tuple[int, ...] | None = None
    policy: Policy = KEEP_ALL
    executed: int = 0
    folded: int = 0
    origin: tuple[Holding, Mask, tuple[int, ...]] | None = None
    _memo: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    __getstate__, __setstate__ = made_from, make_again

    @property
    def steps(self) -> int:
        """The number of steps where the loop was traced."""
        return self.executed if self.length is None else self.length

    @property
    def memo(self) -> dict[Any, Any]:
        """What follows from the wiring and was worked out once; loops of one body share it by structure."""
        if len(self.bodies) > 1:
            return self._memo
        (body,) = self.bodies
        wiring = self.carried, self.sliced, self.collected, self.consts, self.counter is None
        return body.form.activity.setdefault(  # type: ignore[no-any-return]
            (*wiring, body.unrolled is body.program), {}
        )

    @property
    def first_const(self) -> int:
        """The position of the first constant among the arguments of a step."""
        return self.carried + self.sliced + (self.counter is not None)

    @property
    def wiring(self) -> Hashable:
        shape = self.carried, self.sliced, self.collected, self.consts, self.length, self.counter, self.reversed
        return *shape, len(self.tests), self.test_takes, self.which, self.policy

    @property
    def programs(self) -> tuple[Program, ...]:
        return tuple(body.program for body in (*self.tests, *self.bodies))

    def titles(self) -> tuple[str, ...]:
        tests, bodies = len(self.tests), len(self.bodies)
        return (
            *("test" if tests == 1 else f"test, branch {k + 1}" for k in range(tests)),
            *("step" if bodies == 1 else f"step, branch {k + 1}" for k in range(bodies)),
        )

    def heading(self) -> str:
        steps = f"{self.steps:,} step{'s' * (self.steps != 1)}"
        return f"{steps} here" if self.tests else steps

    @property
    def times(self) -> tuple[int, ...]:
        bodies = range(len(self.bodies))
        # where each step takes the branch that holds for it, the first stands for all
        taken = [self.steps * (k == 0) for k in bodies] if self.which is None else map(self.which.count, bodies)
        return (*((self.steps + 1) * (k == 0) for k in range(len(self.tests))), *taken)

    # -- As compiled code --

    @property
    def is_simple(self) -> bool:
        """True if all steps are one Program, whose residuals are all kept."""
        bodies, tests = self.bodies, self.tests
        one = len(bodies) == 1 and len(bodies[0].sample) == self.first_const + self.consts
        return one and self.policy.checkpoint == "none" and (not tests or (len(tests) == 1 and not self.sliced))

    @property
    def kinds_of_arguments(self) -> list[str]:
        """What each argument of a step is: ``"carry"``, ``"number"``, ``"slice"`` or ``"const"``."""
        number = ["number"] * (self.counter is not None)
        return ["carry"] * self.carried + number + ["slice"] * self.sliced + ["const"] * self.consts

    @property
    def kinds_of_results(self) -> list[str]:
        """What each result of a step is: ``"carry"``, or ``"slice"`` of what is collected."""
        return ["carry"] * self.carried + ["slice"] * self.collected

    @property
    def repeat(self) -> For:
        """The way in which the step is repeated."""
        asks = None
        if self.tests:
            asked = [*range(self.carried), *range(self.first_const, self.first_const + self.consts)]
            asks = tuple(asked if self.test_takes is None else [asked[k] for k in self.test_takes])
        inputs = tuple([kind if kind in ("carry", "const") else "each" for kind in self.kinds_of_arguments])
        test = ["test"] * len(self.tests)
        return For(inputs, (*range(self.carried), *["collect"] * self.collected, *test), (), asks)

    def started(self, keep: Callable[..., None] | None, operands: Sequence[Any]) -> list[Any]:
        """Return the arguments of the code that repeats the step, but for the arrays that results go to."""
        consts, carry, xs = self.split(operands)
        places: Any = range(self.steps)
        number = [] if self.counter is None else [np.arange(self.counter.start, self.counter.stop)]
        slices = [*number, *xs]
        if self.reversed:
            places, slices = places[::-1], [x[::-1] for x in slices]
        return [places, keep, self.tests[0].run if self.tests else None, *carry, *slices, *consts]

    def empty(self) -> list[Any]:
        """Return arrays for what is collected."""
        return [np.empty((self.length, *y.shape), y.dtype) for y in self.bodies[0].program.results[self.carried :]]

    def empty_results(self) -> list[Any]:
        """Return arrays like the results."""
        return [*[np.empty(y.shape, y.dtype) for y in self.bodies[0].program.results[: self.carried]], *self.empty()]

    # -- The wiring --

    def split(self, operands: Sequence[Any]) -> tuple[Values, Values, Values]:
        """Split the operands into constants, the carry, and arrays that are gone through."""
        a, b = self.carried, self.carried + self.sliced
        return tuple(operands[b:]), tuple(operands[:a]), tuple(operands[a:b])

    def index(self, s: int, count: int) -> int:
        """Return the place in the arrays of what is the s-th of `count` steps."""
        return count - 1 - s if self.reversed else s

    def values(self, consts: Sequence[Any], carry: Sequence[Any], xs: Sequence[Any], place: int) -> Values:
        """Return the values of the arguments of the step at a place in the arrays."""
        if self.tests and any(place >= len(x) for x in xs):
            raise BranchError(
                f"{self.name} makes more steps here than where it was traced, and its steps are not alike.\n"
                "Trace the function again at this point."
            )
        number = () if self.counter is None else (np.int64(self.counter[place]),)
        return (*carry, *number, *[x[place] for x in xs], *consts)

    def reached(self, active: Mask) -> tuple[Mask, Mask]:
        """Return which arguments of a step move when some operands do, and which of its results."""
        memo = self.memo
        if active not in memo:
            memo[active] = self.reached_through(self.bodies, active)
        return memo[active]  # type: ignore[no-any-return]

    def reached_through(
        self, bodies: Sequence[Body], active: Mask, reaches: Callable[[Body, Mask], Mask] = Body.reaches
    ) -> tuple[Mask, Mask]:
        """Return the same for a loop with other bodies, or by another rule for which results a body `reaches`."""
        carry = list(active[: self.carried])
        number = () if self.counter is None else (False,)
        while True:
            arguments = (*carry, *number, *active[self.carried :])
            results = [False] * (self.carried + self.collected)
            for body in bodies:
                reached = reaches(body, arguments[: len(body.sample)])
                results = [a or b for a, b in zip(results, reached, strict=True)]
            more = [a or b for a, b in zip(carry, results, strict=False)]
            if more == carry:
                return arguments, (*carry, *results[self.carried :])
            carry = more

    def unroll(self, operands: Sequence[Atom], program: WriteProgram, line: WriteLine) -> tuple[Atom, ...] | None:
        one_branch = self.which is not None or len(self.bodies) == 1
        if not self.length or self.tests or not one_branch or self.policy.checkpoint != "none":
            return None
        first = self.carried + (self.counter is not None)
        consts, carry, xs = self.split(operands)
        consts, xs = [
            tuple([line(alias, (x,), [x])[0] if isinstance(x, Var) else x for x in of]) for of in (consts, xs)
        ]
        rows: list[list[Atom]] = [[] for _ in range(self.length)]
        for s in range(self.length):
            place = self.index(s, self.length)
            body = self.bodies[0 if self.which is None else self.which[s]]
            number = () if self.counter is None else (Constant(np.int64(self.counter[place])),)
            slices = [
                line(getitem, (x,), [like], {"index": (place,)})[0]
                for x, like in zip(xs, body.program.inputs[first:], strict=False)
            ]
            results = program(body.program, (*carry, *number, *slices, *consts))
            carry, rows[place] = tuple(results[: self.carried]), results[self.carried :]
        likes = [Shaped((self.length, *y.shape), y.dtype) for y in self.bodies[0].program.results[self.carried :]]
        columns = zip(zip(*rows, strict=True), likes, strict=True)
        stacked = [line(stack, column, [like], {"axis": -like.ndim})[0] for column, like in columns]
        return (*carry, *stacked)

    # -- As Python --

    def source(self, names: Sequence[str], args: Sequence[str], left: Sequence[str]) -> list[str]:
        tests = len(self.tests)
        consts, carry, xs = self.split(args)
        code, slices = hoisted(xs, "xs")
        state, ys = left[: self.carried], left[self.carried :]
        if state:
            code.append(f"{', '.join(state)} = {', '.join(carry)}")
        for y, result in zip(ys, self.bodies[0].program.results[self.carried :], strict=True):
            code.append(f"{y} = np.empty({(self.length, *result.shape)}, np.{result.dtype.name})")
        targets = ", ".join([*state, *(f"{y}[s]" for y in ys)])
        step = self.write_call(names[tests:], state, slices, consts)
        return [*code, *self.write_steps(names[:tests], [*state, *consts], bool(slices), [f"{targets} = {step}"])]

    def write_call(self, steps: Sequence[str], state: Sequence[str], xs: Sequence[str], more: Sequence[str]) -> str:
        """Write a call of the step whose branch is taken."""
        start = self.counter.start if self.counter is not None else 0
        number = [] if self.counter is None else [f"np.int64(s + {start})" if start else "np.int64(s)"]
        operands = ", ".join([*state, *number, *(f"{x}[s]" for x in xs), *more])
        if len(steps) == 1:
            return f"{steps[0]}({operands})"
        if self.which is not None:
            return f"({', '.join(steps)})[which[s]]({operands})"
        return f"first_that_holds(({', '.join(steps)}), {operands})"

    def write_steps(
        self, tests: Sequence[str], values: Sequence[str], numbered: bool, block: Sequence[str]
    ) -> list[str]:
        """Write the loop around the statements of a step; the test asks for `values`, (carry, constants)."""
        block = [f"    {text}" for text in block]
        taken = self.which or ()
        which = [f"which = {taken[::-1] if self.reversed else taken}"] if taken else []
        if not self.tests:
            steps = f"range({self.length})"
            return [*which, f"for s in {f'reversed({steps})' if self.reversed else steps}:", *block]
        asked = ", ".join(values if self.test_takes is None else [values[k] for k in self.test_takes])
        test = f"{tests[0]}({asked})" if len(tests) == 1 else f"first_that_holds(({', '.join(tests)}), {asked})"
        if numbered:
            return [*which, "s = 0", f"while {test}:", *block, "    s += 1"]
        return [*which, f"while {test}:", *block]

    # -- What it keeps --

    def decide(self, operands: Sequence[Any], arguments: Mask) -> Kept:
        """Decide what is kept for a reverse sweep, where these arguments of a step move."""
        return self.policy.decide(self.name, self.length, lambda: self.sizes(operands, arguments))

    def sizes(self, operands: Sequence[Any], arguments: Mask) -> Sizes:
        """Return how many bytes a state takes, the residuals of a step, and all that is there but once.

        The last are adjoints, what is collected, what a step and its sweep compute on the way, and their code.
        """
        body = self.bodies[0]
        arguments = arguments[: len(body.sample)]
        state = PLACE + sum(v.nbytes + ARRAY for v in body.sample[: self.carried])
        kernel = None if is_few(self.length) else body.kernel(arguments, len(body.sample) - self.first_const)
        if kernel is not None:
            residuals = PLACE + sum(_bytes_of(var) + ARRAY for var in kernel[0].outline.kept)
        else:
            residuals = bytes_of(body.linearize(body.sample, arguments), body.sample)
        lines = [line for program in self.programs for line in program.lines]
        on_the_way = sum(_bytes_of(var) + ARRAY for line in lines for var in line.outputs)
        collected = sum((self.length or 0) * _bytes_of(r) for r in body.program.results[self.carried :])
        bars = sum(v.nbytes for v in map(as_value, operands)) + 2 * state
        code = CODE + CODE_OF_A_LINE * len(lines)
        return Sizes(state, residuals, bars + 2 * collected + 2 * on_the_way + code)

    def _kept(self, active: Mask | None = None) -> tuple[Values, Mask, Mask, Kept]:
        """Return operands of the shapes of this loop, which of them and of a step's arguments move, what is kept."""
        sample = self.bodies[0].sample
        first = self.carried + (self.counter is not None)
        xs = [np.broadcast_to(x, (self.steps, *np.shape(x))) for x in sample[first : first + self.sliced]]
        operands = (*sample[: self.carried], *xs, *sample[first + self.sliced :])
        moving = tuple(as_value(x).dtype.kind in "fc" for x in operands)
        if active is not None:
            moving = tuple(a and b for a, b in zip(active, moving, strict=False))
        arguments, _ = self.reached(moving)
        return operands, moving, arguments, self.decide(operands, arguments)

    @property
    def kept(self) -> Kept:
        """What is kept of its steps for a reverse sweep, at the values where it was traced."""
        return self._kept()[-1]

    def note(self) -> str:
        operands, _, arguments, kept = self._kept()
        return f"{self.name}, {self.heading()}: {kept.note(self.steps, self.sizes(operands, arguments))}"

    # -- What it costs --

    def sweep(self, mode: str, active: Mask | None = None, seeded: Mask | None = None) -> tuple[Cost, Cost, int]:
        program = self.bodies[0].program
        _, moving, arguments, kept = self._kept(active)
        again = 0 if kept.kind == "residuals" else self.steps
        if mode == "forward":
            partials, one_pass, _ = self._tally(mode, moving[: self.carried], arguments)
            return partials + again * cost(program), one_pass, 0
        bars = (True,) * len(program.results) if seeded is None else seeded
        partials, one_pass, values = self._tally(mode, bars, arguments)
        if again:
            _, _, of_one_step = self._tally(mode, bars, arguments, 1)
            state = sum(np.size(v) for v in self.bodies[0].sample[: self.carried])
            partials += (kept.reruns(self.steps) + again) * cost(program)
            values = of_one_step + min(self.steps, kept.snapshots or self.steps) * state
        return partials, one_pass, values

    def _tally(self, mode: str, start: Mask, arguments: Mask, steps: int | None = None) -> tuple[Cost, Cost, int]:
        """Add up the sweeps over the steps, of which the first ones may have fewer tangents or adjoints than the rest.

        From one step to the next goes what has reached the carry; `start` says what the first one is given.
        """
        carried, first = self.carried, self.first_const
        counted: dict[Any, Sweep] = {}
        here, s, before = start, 0, None
        steps = self.steps if steps is None else steps
        taken = [0] * steps if self.which is None else list(self.which)[:steps]
        if mode == "reverse":
            taken.reverse()
        partials, one_pass, kept = Cost(), Cost(), 0
        summed = [0] * len(arguments)
        while s < steps:
            body = self.bodies[taken[s]]
            sweep = counted.get((taken[s], here))
            if sweep is None:
                active = arguments if mode == "reverse" else (*here[:carried], *arguments[carried:])
                sweep = count_sweep(body.program, body.sample, active[: len(body.sample)], mode, here)
                counted[taken[s], here] = sweep
            after = (*sweep.reached[:carried], *here[carried:])
            times = steps - s if self.which is None and after == here and before is sweep else 1
            partials, one_pass = partials + times * sweep.partials, one_pass + times * sweep.one_pass
            if mode == "reverse":
                carry_read = zip((before or sweep).read, sweep.made, strict=False)
                kept += times * sweep.kept
                kept += (times if s else 0) * sum(made for read, made in list(carry_read)[:carried] if read)
                summed = [n + times * got for n, got in zip(summed, sweep.reached, strict=False)]
            here, before, s = after, sweep, s + times
        for n, value in zip(summed[first:], self.bodies[0].sample[first:], strict=True):
            one_pass += Cost(additions=max(n - 1, 0) * int(np.size(value)))  # of what the body closes over
        return partials, one_pass, kept


def hoisted(args: Sequence[str], name: str) -> tuple[list[str], list[str]]:
    """Give constants that are read at every step a name; return the statements for it, and the arguments."""
    code, names = [], []
    for k, text in enumerate(args, 1):
        if text and not text.isidentifier():
            code.append(f"{name}_{k} = {text}")
            text = f"{name}_{k}"
        names.append(text)
    return code, names


def _bytes_of(what: Any) -> int:
    return int(math.prod(what.shape) * what.dtype.itemsize)
