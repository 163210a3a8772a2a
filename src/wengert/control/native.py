"""Native: the steps of a loop, and sweeps over them, go on as machine code once Python has taken long enough.

The machine code is that of the same Code (`wengert.compilation.native.control`).  It belongs to the structure of a
body, so a loop that is traced anew finds it.  It runs as many steps as it is asked for, and ends before a step that
decides otherwise than the Program of the body; there Python goes on, which finds another body or names the user's line.
Where NumPy would have warned, Python repeats the steps: values, warnings and errors have one implementation.

Steps and lines are counted beforehand, or the time in Python is measured: compiling begins when it is sure to have
taken less than the steps have.

>>> price(10) > price(1)
True
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from wengert.compilation.linearized import Kernel
from wengert.compilation.native.engine import calls_before, is_available
from wengert.control.bodies import Body
from wengert.control.holding import Mask, Values
from wengert.control.loop import Loop
from wengert.control.sweeping import End, SweepCode
from wengert.control.tapes import FirstStep, Record, Tape, slots_of
from wengert.program import Program, Var
from wengert.program.code import For, lower

now: Callable[[], float] = time.thread_time
FIRST, EACH, OF_A_LINE = 0.2, 0.01, 0.001
"""Seconds: for the import of the compiler, for a loop, and for each of its lines."""
CALLS = 1_000
"""Where the environment says after how many calls machine code is made, so many stand for the time it takes."""
STEP_IN_PYTHON, LINE_IN_PYTHON, ELEMENT_IN_PYTHON = 1e-6, 0.5e-6, 0.25e-9
"""Seconds that Python takes at least for a step, for each of its lines, and for each number that these compute."""
CHUNK = 1 << 16
"""The largest number of steps of one call: between two calls Python may be interrupted."""
FEW_AT_FIRST = 64
"""The number of steps of the first call for a loop that ends when a test fails."""
ALARMS = 3
"""After so many calls in which NumPy would have warned, Python does without the machine code."""
MOST = 16
"""The number of ways of repeating one body that are remembered."""
SHORT, LONGEST_PAUSE = 8, 1023
"""Where fewer steps are made before one decides otherwise, Python makes some stretches alone, up to so many."""
EXACT = 1 << 53
"""Whole numbers up to this one are exact as numbers of double precision."""


def price(lines: int) -> float:
    """Return how long compiling the step of a loop takes, in seconds; infinity where there is no machine code."""
    calls = calls_before()
    if calls == 0:
        return float("inf")
    seconds = FIRST * ("llvmlite.binding" not in sys.modules) + EACH + OF_A_LINE * lines
    return seconds if calls is None else seconds * calls / CALLS


class Effort:
    """The time that Python has spent on steps of one structure, and the machine code that takes over from it.

    Attributes
    ----------
    code
        The machine code; None until it is made, and where there is none.
    """

    __slots__ = ("_each", "_is_open", "_lines", "_spent", "alarms", "code")

    def __init__(self, *programs: Program) -> None:
        lines = [line for program in programs for line in program.lines]
        size = sum(var.size for line in lines for var in line.outputs)
        self._each = STEP_IN_PYTHON + LINE_IN_PYTHON * len(lines) + ELEMENT_IN_PYTHON * size
        self._lines, self._spent = len(lines), 0.0
        self.code: Any = None
        self._is_open, self.alarms = True, 0

    def estimate(self, steps: int) -> float:
        """Return how long Python takes at least for so many steps."""
        return steps * self._each

    def spend(self, seconds: float) -> None:
        """Note that Python has spent some time."""
        self._spent += seconds

    def before(self, steps: int, make: Callable[[], Any]) -> Any:
        """Return the machine code, made now if that pays where so many steps are to be made; None if it does not."""
        if self._is_open and self._spent + self.estimate(steps) >= price(self._lines):
            self._is_open = False
            self.code = _made(make)
        return self.code

    def alarm(self) -> None:
        """Note that NumPy would have warned in the machine code."""
        self.alarms += 1
        if self.alarms >= ALARMS:
            self.code = None


def _made(make: Callable[[], Any]) -> Any:
    from wengert.compilation.native.lowering import NoLoweringError

    if not is_available():
        return None
    try:
        return make()
    except NoLoweringError:
        return None


def numbers(value: Any) -> np.ndarray[Any, Any] | None:
    """Return an array or number as numbers of double precision that lie side by side; None if that would change them.

    >>> numbers(np.arange(3)), numbers(np.int64(2**60)), numbers(1j)
    (array([0., 1., 2.]), None, None)
    """
    if type(value) not in _PLAIN:
        return None
    array = np.asarray(value)
    if array.dtype is _DOUBLE and array.flags.c_contiguous:
        return array
    kind = array.dtype.char
    if kind not in "d?l" or (kind == "l" and array.size and np.abs(array).max() > EXACT):
        return None
    return np.asarray(array, float, order="C")


_DOUBLE = np.dtype(float)
_PLAIN = frozenset({np.ndarray, float, int, np.float64, np.int64, np.bool_})


def _address(array: np.ndarray[Any, Any], place: int = 0) -> int:
    """Return where the data of an array begin, or those of a place along its first axis."""
    address: int = array.__array_interface__["data"][0]
    return address + place * array.strides[0] if place else address


def _prepared(values: Sequence[Any]) -> list[np.ndarray[Any, Any]] | None:
    """Return values as numbers in memory; None if one cannot be."""
    prepared = list(map(numbers, values))
    return None if any(value is None for value in prepared) else prepared  # type: ignore[return-value]


# ---- Forward ----


class Made(NamedTuple):
    """What machine code has made of steps: how many, what is carried on, and what is kept of each.

    `is_over` says that it ended early, `alarmed` that NumPy would have warned, so that nothing of it counts.
    """

    steps: int
    carry: tuple[Any, ...]
    rows: np.ndarray[Any, np.dtype[np.float64]]
    is_over: bool
    alarmed: bool


class NativeForward:
    """The steps of a loop as machine code."""

    __slots__ = ("_dtypes", "_run", "slots", "with_whole_numbers")

    def __init__(self, loop: Loop, program: Program, test: Program | None, kept: Sequence[Var], collects: bool) -> None:
        from wengert.compilation.native.control import NativeSteps, lower_steps, with_arrays

        repeat = loop.repeat
        outputs = loop.carried + loop.collected * collects
        repeat = For(repeat.inputs, repeat.outputs[:outputs], (), repeat.asks)
        program, repeat, test = with_arrays(program, repeat, test)
        code = lower(program, kept)
        code = replace(code, repeat=repeat, outputs=code.outputs[:outputs])
        asked = None if test is None else lower(test)
        self._run = NativeSteps(lower_steps(code, loop.name, 1, -1 if loop.reversed else 1, asked))
        self.slots = slots_of(kept)
        self._dtypes = [var.dtype for var in program.inputs[: loop.carried]]
        self.with_whole_numbers = any(dtype.kind == "i" for dtype in self._dtypes)
        """Whether some are carried: the first step has to be passed those that are exact in double precision."""

    def __call__(self, memory: Any, place: int, steps: int, carry: Sequence[Any], ys: Sequence[Any]) -> Made:
        """Make steps from one at a place in the arrays on; what they collect goes into `ys`."""
        slices, constants = memory
        state = [np.array(c, float, order="C") for c in carry]
        rows = np.empty((steps, self._run.row))
        addresses = [
            *map(_address, state), *[_address(x, place) for x in slices], *map(_address, constants),
            *([_address(rows)] if self._run.row else []), *[_address(y, place) for y in ys],
        ]  # fmt: skip
        made, reason, alarmed = self._run(addresses, steps)
        carried = [c.astype(dtype, copy=False)[()] for c, dtype in zip(state, self._dtypes, strict=True)]
        return Made(made, tuple(carried), rows[:made], bool(reason), alarmed)


# ---- Sweeps ----


class NativeSweep:
    """A sweep over the steps on a tape, as machine code."""

    __slots__ = ("_run", "_tangents")

    def __init__(self, loop: Loop, code: SweepCode, tangents: bool) -> None:
        from wengert.compilation.native.control import NativeSteps, lower_steps

        along = 1 if tangents else -1
        lowered = replace(lower(code.sweep.program), repeat=code.repeat)
        arrays, pieces = -along if loop.reversed else along, list(code.sweep.parts.values())
        self._run = NativeSteps(lower_steps(lowered, f"sweep over {loop.name}", along, arrays, None, pieces))
        self._tangents = tangents

    def __call__(
        self, tape: Tape, consts: Sequence[Any], seeds: Sequence[Any], results: Sequence[Any], place: int
    ) -> bool:
        """Sweep over a tape; return False if that does not count: NumPy would have warned.

        `consts` are the constants of the loop and the arrays of the body.  Seeds and results that have an element for
        each step begin at a `place`, that of the step which is swept first.  What is carried is changed in place among
        the `seeds`; to the sums among the `results` is added.
        """
        rows = tape.rows
        here: list[Any] = [_address(rows, 0 if self._tangents else len(rows) - 1)] if self._run.row else []
        ends = [_address(x, place if moves else 0) for x, moves in (*seeds, *results)]
        addresses = [*map(_address, consts), *ends[: len(seeds)], *here, *ends[len(seeds) :]]
        made, _, alarmed = self._run(addresses, len(rows))
        return made == len(rows) and not alarmed


class TapeSweep:
    """A sweep over the tapes of a run: what has come in from the steps before, and what goes out.

    Of each end of the line, `carry` has what goes from step to step, `slices` what each step reads, `stacks` what it
    makes, `sums` what is added up; None is zero.
    """

    __slots__ = ("batch", "consts", "loop", "tangents")

    def __init__(self, loop: Loop, tangents: bool, consts: Values, batch: int) -> None:
        self.loop, self.tangents, self.consts, self.batch = loop, tangents, consts, batch

    def code(self, tape: Tape, seeded: Mask, block: int | None) -> tuple[Effort, SweepCode] | None:
        """Return the sweep over one of the steps, and what has been spent on it; None if there is no code for it."""
        loop, kernel, kept = self.loop, tape.kernel, FirstStep(tape)
        sweep = kernel.sweep(self.tangents, seeded, kept, self.consts, block)
        if sweep is None:
            return None
        wiring = loop.carried, loop.sliced, loop.collected, loop.consts, loop.counter is None, loop.reversed
        if wiring not in sweep.native:
            code = SweepCode.of(loop, kernel, self.tangents, seeded, block, kept, self.consts)
            assert code is not None, "there is a sweep"
            sweep.native[wiring] = Effort(sweep.program), replace(code, arrays=())
        return sweep.native[wiring]  # type: ignore[no-any-return]

    def __call__(
        self, tape: Tape, place: int, seeded: Mask, block: int | None, ends: dict[tuple[str, int], Any], steps: int
    ) -> bool:
        """Sweep over a tape whose step that comes first is at a place in the arrays of all `steps`.

        The `ends` are tangents or adjoints by kind and place: ``"seed"`` of what it goes from, ``"sum"`` and
        ``"stack"`` of what it goes to.  They are changed only if that is done; return whether it is.
        """
        found = self.code(tape, seeded, block)
        if found is None:
            return False
        effort, code = found
        native = effort.before(len(tape), lambda: NativeSweep(self.loop, code, self.tangents))
        if native is None:
            effort.spend(effort.estimate(len(tape)))
            return False
        consts = _prepared([*self.consts, *(() if code.sweep.alone else tape.kernel.arrays)])
        if consts is None:
            return False
        changed: dict[tuple[str, int], Any] = {}
        seeds = [self._seed(end, ends.get(("seed", end.place)), changed) for end in code.seeds]
        if any(value is None for value, _ in seeds):
            return False
        results = [self._result(end, ends, changed, steps) for end in code.swept if end.kind != "carry"]
        if not native(tape, consts, seeds, results, place):
            effort.alarm()
            return False
        left = {end.place for end in code.swept if end.kind == "carry"}
        for (what, k), value in changed.items():
            if what == "seed":
                ends[what, k] = value[()] if k in left else None
            elif what == "stack" and self.batch:
                self._unstack(ends, k, value, place, len(tape), steps)
            else:
                ends[what, k] = value[()]
        return True

    def _seed(self, end: End, g: Any, changed: dict[tuple[str, int], Any]) -> tuple[Any, bool]:
        """Return a seed in memory, and whether it has an element for each step; what is carried is `changed`."""
        if end.kind == "slice" and g is not None:
            return numbers(np.moveaxis(g, 1, 0) if self.batch else g), True
        if end.kind == "slice":
            return None, True
        value = np.zeros(end.shape) if g is None else np.array(g, float, order="C")
        if end.kind == "carry":
            changed["seed", end.place] = value
        return value, False

    def _result(
        self, end: End, ends: Mapping[tuple[str, int], Any], changed: dict[tuple[str, int], Any], steps: int
    ) -> tuple[Any, bool]:
        """Return memory for a result, and whether it has an element for each step."""
        if end.kind == "slice":
            value = None if self.batch else ends.get(("stack", end.place))
            value = np.zeros((steps, *end.shape)) if value is None else value
            changed["stack", end.place] = value
            return value, True
        total = ends.get(("sum", end.place))
        value = np.full(end.shape, -0.0) if total is None else np.array(total, float, order="C")
        changed["sum", end.place] = value
        return value, False

    def _unstack(self, ends: dict[tuple[str, int], Any], k: int, value: Any, place: int, made: int, steps: int) -> None:
        """Put what was made of a block, with the steps in front, where the block is in front."""
        stack = ends.get(("stack", k))
        if stack is None:
            stack = ends["stack", k] = np.zeros((value.shape[1], steps, *value.shape[2:]))
        up = self.tangents != self.loop.reversed
        here = slice(place, place + made) if up else slice(place - made + 1, place + 1)
        stack[:, here] = np.moveaxis(value[here], 0, 1)


class NativeReverse:
    """The reverse of a loop as two calls of machine code: its steps, which write a tape, and the sweep over that.

    It is for a loop of one body whose steps and sweep were machine code before; nothing is decided anew.
    """

    __slots__ = ("_arrays", "_code", "_forward", "_kernel", "_loop", "_numbers", "_sweep", "_wanted")

    def __init__(
        self, loop: Loop, kernel: Kernel, forward: NativeForward, sweep: NativeSweep, code: SweepCode, wanted: Mask
    ) -> None:
        self._loop, self._kernel, self._forward, self._sweep, self._code = loop, kernel, forward, sweep, code
        self._wanted = wanted
        counter = loop.counter
        self._numbers = [] if counter is None else _prepared([np.arange(counter.start, counter.stop)])
        arrays, read = _prepared(loop.bodies[0].arrays), [] if code.sweep.alone else _prepared(kernel.arrays)
        self._arrays = None if self._numbers is None or arrays is None or read is None else (arrays, read)

    def __call__(self, operands: Sequence[Any], bars: Sequence[Any]) -> list[Any] | None:
        """Return the adjoints of the operands that are wanted; None if Python has to do it."""
        loop, values = self._loop, _prepared(operands)
        steps = loop.steps
        if values is None or self._arrays is None or self._numbers is None or steps > CHUNK:
            return None
        arrays, read = self._arrays
        consts, carry, xs = loop.split(values)
        memory = [*self._numbers, *xs], [*consts, *arrays]
        made = self._forward(memory, loop.index(0, steps), steps, carry, ())
        if made.alarmed or made.steps < steps:
            return None
        adjoints: list[Any] = [None] * len(values)
        seeds, results, carried = [], [], {}
        for end in self._code.seeds:
            g = bars[end.place]
            if end.kind == "slice":
                seeds.append((numbers(g), True))
                if seeds[-1][0] is None:
                    return None
            else:
                carried[end.place] = np.zeros(end.shape) if g is None else np.array(g, float, order="C")
                seeds.append((carried[end.place], False))
        for end in self._code.swept:
            if end.kind == "carry":
                adjoints[end.place] = carried[end.place]
                continue
            moves = end.kind == "slice"
            adjoints[end.place] = np.zeros((steps, *end.shape)) if moves else np.full(end.shape, -0.0)
            results.append((adjoints[end.place], moves))
        tape = Tape(self._kernel, self._forward.slots, made.rows)
        if not self._sweep(tape, [*consts, *read], seeds, results, loop.index(steps - 1, steps)):
            return None
        return [g[()] if on and g is not None else None for g, on in zip(adjoints, self._wanted, strict=True)]


# ---- Runs ----


class ForwardRun:
    """The steps of one body in one run of a loop, as far as machine code makes them.

    Attributes
    ----------
    effort
        What Python has spent on such steps.
    """

    __slots__ = (
        "_arrays",
        "_collects",
        "_consts",
        "_declined",
        "_kernel",
        "_loop",
        "_memory",
        "_pause",
        "_program",
        "_test",
        "_waits",
        "_xs",
        "effort",
    )

    def __init__(
        self, loop: Loop, body: Body, kernel: Kernel | None, test: Body | None, xs: Values, consts: Values,
        collects: bool,
    ) -> None:  # fmt: skip
        self._loop, self._kernel, self._xs, self._consts, self._collects = loop, kernel, xs, consts, collects
        self._program = body.unrolled if kernel is None else kernel.program
        self._test = None if test is None else test.unrolled
        self._arrays = body.arrays if test is None else body.arrays + test.arrays
        self._memory: Any = None
        self._declined = loop.policy.budget is not None
        """True if Python is to run alone: NumPy would have warned, or a budget of memory has no room for compiling."""
        self._pause = self._waits = 0
        wiring = loop.carried, loop.sliced, loop.collected, loop.consts, loop.counter is None, loop.reversed
        outline, tested = None if kernel is None else kernel.outline, None if test is None else test.form
        key = *wiring, collects, outline, tested, loop.test_takes
        efforts = body.form.native
        if key not in efforts:
            if len(efforts) >= MOST:
                efforts.clear()
            efforts[key] = Effort(self._program, *(() if self._test is None else (self._test,)))
        self.effort: Effort = efforts[key]

    def __call__(
        self, s: int, stop: int | None, count: int, carry: Values, tapes: Record | None, ys: Sequence[Any]
    ) -> tuple[int, Values]:
        """Make steps from the s-th of `count` on, up to `stop` or until one decides otherwise or the test fails.

        What is kept of them goes on `tapes`, what they collect into `ys`.  Returns the number of the step that is next,
        and its carry.
        """
        native = None if self._declined else self.effort.before(0 if stop is None else stop - s, self._make)
        if native is None:
            return s, carry
        if self._waits:
            self._waits -= 1
            return s, carry
        loop, steps = self._loop, FEW_AT_FIRST if stop is None else CHUNK
        if self._memory is None:
            self._memory = self._read()
            self._declined = self._memory is None or _prepared(carry) is None
        if native.with_whole_numbers and _prepared(carry) is None:
            return s, carry
        start = s
        while not self._declined and (stop is None or s < stop):
            many = steps if stop is None else min(steps, stop - s)
            made = native(self._memory, loop.index(s, count), many, carry, ys)
            if made.alarmed:
                self.effort.alarm()
                self._declined = True
                break
            s, carry = s + made.steps, made.carry
            if tapes is not None:
                tapes.extend(Tape(self._kernel, native.slots, made.rows))
            if made.is_over:
                self._pause = 0 if s - start >= SHORT else min(2 * self._pause + 1, LONGEST_PAUSE)
                self._waits = self._pause
                break
            steps = min(4 * steps, CHUNK)
        return s, carry

    def _read(self) -> Any:
        """Return what every call reads: the slices of each step, and constants; None if machine code takes them not."""
        counter = self._loop.counter
        counted = [] if counter is None else [np.arange(counter.start, counter.stop)]
        slices, constants = _prepared([*counted, *self._xs]), _prepared([*self._consts, *self._arrays])
        return None if slices is None or constants is None else (slices, constants)

    def _make(self) -> NativeForward:
        kept = [] if self._kernel is None else self._kernel.outline.kept_of(self._kernel.program)
        return NativeForward(self._loop, self._program, self._test, kept, self._collects)
