"""Stores: what is kept of a loop's steps for the sweep back, and what is run again.

Backwards, a step is needed with its insides.  A store has them: all insides (``"none"`` is checkpointed), all states
(``"all"``), or a few snapshots between which steps are run again (`wengert.control.revolve`).  The loop tells it of
every step of the first sweep, and asks it for the steps from the last to the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from wengert.control.higher_order import Mask
from wengert.control.revolve import Advance, Online, Restore, Reverse, Store, first_sweep, reversal
from wengert.linearization import Linearization

if TYPE_CHECKING:
    from wengert.control.loop import Loop

Values = tuple[Any, ...]
Inside = Linearization | tuple[Any, ...]
"""What a sweep reads of a step: a linearization, or what a `Kernel` keeps."""


class Insides:
    """Keeps every step's linearization: nothing is run again."""

    def __init__(self, active: Mask) -> None:
        self.active, self.operands = active, ()  # type: tuple[Mask, Values]
        self.steps: list[Inside] = []
        self.spent = False

    def step(self, loop: Loop, s: int, values: Values) -> Sequence[Any]:
        """Run a step of the first sweep; return its results."""
        results, inside = loop.linearize(s, values, self.active)
        self.steps.append(inside)
        return results

    def backward(self, loop: Loop) -> Iterator[tuple[int, Inside]]:
        """Go through the steps from the last to the first; within a budget, each is given up at once."""
        if loop.checkpoint != "auto":
            for s in range(len(self.steps) - 1, -1, -1):
                yield s, self.steps[s]
            return
        self.spent = True
        for s in range(len(self.steps) - 1, -1, -1):
            yield s, self.steps.pop()

    def forward(self) -> Iterator[tuple[int, Inside]]:
        """Go through the steps from the first to the last."""
        yield from enumerate(self.steps)


class _Again:
    """What stores of states have in common: steps are run again from a state."""

    def __init__(self, active: Mask) -> None:
        self.active, self.operands = active, ()  # type: tuple[Mask, Values]
        self.count = 0
        self.spent = False
        self.runs = 0
        """How many steps have been run without their insides; the theorem on schedules is about these."""

    def values(self, loop: Loop, s: int, carry: Values) -> Values:
        consts, _, xs = loop.split(self.operands)
        return loop.values(consts, carry, xs, loop.index(s, self.count))

    def linearize(self, loop: Loop, s: int, carry: Values) -> tuple[Sequence[Any], Inside]:
        return loop.linearize(s, self.values(loop, s, carry), self.active)

    def run(self, loop: Loop, s: int, values: Values) -> Sequence[Any]:
        self.runs += 1
        self.count = max(self.count, s + 1)
        return loop.run(s, values)


class States(_Again):
    """Keeps the state before every step: each step is run once more."""

    def __init__(self, active: Mask) -> None:
        super().__init__(active)
        self.states: list[Values] = []

    def step(self, loop: Loop, s: int, values: Values) -> Sequence[Any]:
        """Run a step of the first sweep; return its results."""
        self.states.append(values[: loop.carried])
        return self.run(loop, s, values)

    def backward(self, loop: Loop) -> Iterator[tuple[int, Inside]]:
        """Go through the steps from the last to the first; within a budget, each state is given up at once."""
        self.spent = loop.checkpoint == "auto"
        for s in range(self.count - 1, -1, -1):
            yield s, self.linearize(loop, s, self.states.pop() if self.spent else self.states[s])[1]


class Snapshots(_Again):
    """Keeps few states, by an optimal schedule where the number of steps is known, by an online one where it is not."""

    def __init__(self, active: Mask, snapshots: int, steps: int | None) -> None:
        super().__init__(active)
        self.snapshots, self.steps = snapshots, steps
        self.online = Online(snapshots) if steps is None else None
        self.first = iter(() if steps is None else first_sweep(steps, snapshots))
        self.next = next(self.first, -1)
        self.kept: dict[int, Values] = {}
        self.current: Values = ()
        self.most = 0

    def step(self, loop: Loop, s: int, values: Values) -> Sequence[Any]:
        """Run a step of the first sweep; return its results."""
        self.current = values[: loop.carried]
        if self.online is not None:
            for action in self.online.step(s):
                self._keep(action)
        elif s == self.next:
            self._keep(Store(s))
            self.next = next(self.first, -1)
        return self.run(loop, s, values)

    def _keep(self, action: Any) -> None:
        if type(action) is Store:
            self.kept[action.state] = self.current
            self.most = max(self.most, len(self.kept))
        else:
            del self.kept[action.state]

    def backward(self, loop: Loop) -> Iterator[tuple[int, Inside]]:
        """Go through the steps from the last to the first; the snapshots are used up by this."""
        self.spent = True
        if not self.count:
            return
        plan = reversal(self.count, self.snapshots) if self.online is None else self.online.reversal(self.count)
        for action in plan:
            match action:
                case Advance(start, stop):
                    for s in range(start, stop):
                        self.current = tuple(self.run(loop, s, self.values(loop, s, self.current))[: loop.carried])
                case Reverse(step):
                    yield step, self.linearize(loop, step, self.current)[1]
                case Restore(state):
                    self.current = self.kept[state]
                case _:
                    self._keep(action)
