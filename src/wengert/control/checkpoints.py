"""Checkpoints: what a loop keeps of its steps for the reverse sweep, and which steps it runs again.

The reverse sweep needs the steps from the last to the first, each with its *residuals*: the values that the local
partials read.  A store has them: those of all steps (``"none"`` is checkpointed), all states (``"all"``), or a few
snapshots, from which steps are run again (`wengert.control.revolve`).  The run of a loop hands each step of the first
sweep to its store, and asks the store for the steps from the last to the first.

>>> Policy(checkpoint=3).decide("scan", 100, lambda: Sizes(80, 400, 1000))
Kept(kind='snapshots', snapshots=3)
>>> Policy("auto", 10_000).decide("scan", 100, lambda: Sizes(80, 400, 1000))
Kept(kind='states', snapshots=100)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from wengert.control.holding import Mask, Values
from wengert.control.revolve import (
    Advance,
    Online,
    Restore,
    Reverse,
    Store,
    evaluations,
    first_sweep,
    reversal,
    snapshots_within,
)
from wengert.control.tapes import Record, Tape
from wengert.errors import ArgumentError, caller
from wengert.linearization import Linearization
from wengert.memory import quarter_of_memory
from wengert.tracing import current_context

Checkpoint = str | int
"""``"none"``, ``"all"``, ``"auto"`` or a number of snapshots."""
Residuals = Linearization | tuple[Any, ...]
"""What the sweeps read of a step: a linearization, or what a `Kernel` keeps."""
SweepTape = Callable[[int, Tape], bool]
"""Sweeps over all steps on a tape, of which the number of the first one is given; returns whether it has."""


# ---- What is asked for, and what that comes to ----


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes: of a state that is kept, of the residuals of a step, and of all that is there but once."""

    state: int
    residuals: int
    rest: int


@dataclass(frozen=True, slots=True)
class Kept:
    """What a loop keeps, ``"residuals"``, ``"states"`` or ``"snapshots"``, and how many snapshots."""

    kind: str
    snapshots: int = 0

    def reruns(self, steps: int) -> int:
        """Count the steps that a reverse sweep runs again without their residuals."""
        return evaluations(steps, self.snapshots) - steps if self.kind == "snapshots" and steps else 0

    def store(self, active: Mask, length: int | None) -> AllResiduals | _Rerunning:
        """Return a store for a run in which these operands are active."""
        if self.kind == "residuals":
            return AllResiduals(active)
        return AllStates(active) if self.kind == "states" else Snapshots(active, self.snapshots, length)

    def note(self, steps: int, sizes: Sizes) -> str:
        """Write what is kept, in bytes, and what is run again."""
        if self.kind == "residuals":
            total = steps * sizes.residuals
            return f"the residuals of all steps are kept, up to {total:,} bytes; nothing is run again"
        count = min(steps, self.snapshots)
        total = (steps if self.kind == "states" else count) * sizes.state + sizes.residuals
        if self.kind == "states":
            return f"every state is kept, up to {total:,} bytes; each step is run once more, with its residuals"
        again = self.reruns(steps)
        return (
            f"{count:,} snapshot{'s' * (count != 1)} of {sizes.state:,} bytes, up to {total:,} bytes with the "
            f"residuals of one step; {again:,} step{'s are' if again != 1 else ' is'} run again, and each once more "
            "with its residuals"
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """What the user asks to be checkpointed, and the budget in bytes for ``"auto"``."""

    checkpoint: Checkpoint = "none"
    budget: int | None = None

    def decide(self, name: str, length: int | None, sizes: Callable[[], Sizes]) -> Kept:
        """Decide what is kept of a loop of so many steps (None where that is not known before)."""
        if self.checkpoint == "none":
            return Kept("residuals")
        if self.checkpoint == "all":
            return Kept("states", length or 0)
        if self.checkpoint != "auto":
            return Kept("snapshots", int(self.checkpoint))
        budget, size = quarter_of_memory() if self.budget is None else self.budget, sizes()
        if length is not None and length * size.residuals + size.rest <= budget:
            return Kept("residuals")
        try:
            fit = snapshots_within(budget - size.rest, size.state, size.residuals, length)
        except ArgumentError:
            raise ArgumentError.at(
                current_context().place or caller(),
                f"a memory budget of {budget:,} bytes is too small for {name}: a state takes {size.state:,} bytes, "
                f"the residuals of a step {size.residuals:,}, and adjoints, results and the code of the sweeps "
                f"{size.rest:,}:",
                f"Give {2 * size.state + max(size.state, size.residuals) + size.rest:,} bytes or more.",
            ) from None
        return Kept("states" if length is not None and fit >= length else "snapshots", fit)


KEEP_ALL = Policy()
"""Keep the residuals of all steps."""


# ---- Stores ----


class Steps(Protocol):
    """The steps of a run, as a store runs them."""

    carried: int
    once: bool
    """True if what is kept is given up as the reverse sweep passes: the run has a budget."""

    def values(self, s: int, carry: Values) -> Values:
        """Return the values of the arguments of the s-th step."""

    def run(self, s: int, values: Values) -> Sequence[Any]:
        """Run a step."""

    def advance(self, start: int, stop: int, carry: Values) -> Values:
        """Run steps, and return the carry before the step `stop`."""

    def linearize(self, s: int, values: Values, active: Mask) -> tuple[Sequence[Any], Residuals]:
        """Run a step and keep its residuals."""


class AllResiduals:
    """Keeps the residuals of every step: nothing is run again."""

    def __init__(self, active: Mask) -> None:
        self.active = active
        self.steps = Record()
        self.spent = False

    def step(self, steps: Steps, s: int, values: Values) -> Sequence[Any]:
        """Run a step of the first sweep; return its results."""
        results, residuals = steps.linearize(s, values, self.active)
        self.steps.append(residuals)
        return results

    def backward(self, steps: Steps, sweep_tape: SweepTape | None = None) -> Iterator[tuple[int, Residuals]]:
        """Go through the steps from the last to the first; within a budget, each is given up at once.

        Of those on a tape, `sweep_tape` may do all together; then they are left out.
        """
        self.spent = steps.once
        for start, part in self.steps.backward(self.spent):
            if isinstance(part, Tape) and sweep_tape is not None and sweep_tape(start, part):
                continue
            for k in range(len(part) - 1, -1, -1):
                yield start + k, part.pop() if self.spent and isinstance(part, list) else part[k]


class _Rerunning:
    """What the stores of states have in common: steps are run again from a state."""

    def __init__(self, active: Mask) -> None:
        self.active = active
        self.count = 0
        self.spent = False
        self.runs = 0
        """How many steps have been run without their residuals; the theorem on schedules is about these."""
        self.most = 0
        """The largest number of states that were kept at once."""

    def run(self, steps: Steps, s: int, values: Values) -> Sequence[Any]:
        self.runs += 1
        self.count = max(self.count, s + 1)
        return steps.run(s, values)


class AllStates(_Rerunning):
    """Keeps the state before every step: each step is run once more."""

    def __init__(self, active: Mask) -> None:
        super().__init__(active)
        self.states: list[Values] = []

    def step(self, steps: Steps, s: int, values: Values) -> Sequence[Any]:
        """Run a step of the first sweep; return its results."""
        self.states.append(values[: steps.carried])
        self.most = len(self.states)
        return self.run(steps, s, values)

    def backward(self, steps: Steps, _sweep_tape: SweepTape | None = None) -> Iterator[tuple[int, Residuals]]:
        """Go through the steps from the last to the first; within a budget, each state is given up at once."""
        self.spent = steps.once
        for s in range(self.count - 1, -1, -1):
            state = self.states.pop() if self.spent else self.states[s]
            yield s, steps.linearize(s, steps.values(s, state), self.active)[1]


class Snapshots(_Rerunning):
    """Keeps few states, by an optimal schedule where the number of steps is known, by an online one where it is not."""

    def __init__(self, active: Mask, snapshots: int, steps: int | None) -> None:
        super().__init__(active)
        self.snapshots, self.steps = snapshots, steps
        self.online = Online(snapshots) if steps is None else None
        self.first = iter(() if steps is None else first_sweep(steps, snapshots))
        self.next = next(self.first, -1)
        self.kept: dict[int, Values] = {}
        self.current: Values = ()

    def step(self, steps: Steps, s: int, values: Values) -> Sequence[Any]:
        """Run a step of the first sweep; return its results."""
        self.current = values[: steps.carried]
        if self.online is not None:
            for action in self.online.step(s):
                self._keep(action)
        elif s == self.next:
            self._keep(Store(s))
            self.next = next(self.first, -1)
        return self.run(steps, s, values)

    def _keep(self, action: Any) -> None:
        if type(action) is Store:
            self.kept[action.state] = self.current
            self.most = max(self.most, len(self.kept))
        else:
            del self.kept[action.state]

    def backward(self, steps: Steps, _sweep_tape: SweepTape | None = None) -> Iterator[tuple[int, Residuals]]:
        """Go through the steps from the last to the first; the snapshots are used up by this."""
        self.spent = True
        if not self.count:
            return
        schedule = reversal(self.count, self.snapshots) if self.online is None else self.online.reversal(self.count)
        for action in schedule:
            match action:
                case Advance(start, stop):
                    self.runs += stop - start
                    self.current = steps.advance(start, stop, self.current)
                case Reverse(step):
                    yield step, steps.linearize(step, steps.values(step, self.current), self.active)[1]
                case Restore(state):
                    self.current = self.kept[state]
                case _:
                    self._keep(action)
