"""Predictions: the whole numbers of a kernel, from those of a few that are like it.

In the trace of an unrolled loop, ``L[i, :i] @ x[:i]`` is lowered for each i to the same statements with other lengths,
strides and offsets.  These depend on those of the lines, its *parameters*, and nearly always linearly: so the numbers
of one kernel are those of another one, and for each step between their parameters, what that step has changed in
kernels that were lowered.  A prediction may be wrong, where a length passes what changes the order of a sum, say: who
asks for it checks it (`wengert.compilation.native.lowerings`).

>>> predictions = Predictions()
>>> predictions.learn((10, 5), "sum", (10, 50))
>>> predictions.predicted((11, 5)) is None
True
>>> predictions.learn((11, 5), "sum", (11, 55))
>>> predictions.predicted((14, 5))
('sum', (14, 70))
>>> predictions.predicted((14, 6)) is None
True
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

RECENT = 4
"""The number of kernels from which a prediction may start: the latest."""
WRONG = 2
"""After so many wrong predictions in a row, the steps of an outline are learned anew."""


class Predictions:
    """The parameters of kernels, their outlines, and their numbers."""

    def __init__(self) -> None:
        self._samples: list[tuple[np.ndarray, Hashable, np.ndarray]] = []
        self._steps: dict[Hashable, _Steps] = {}

    def learn(self, parameters: Sequence[int], outline: Hashable, numbers: Sequence[int]) -> None:
        """Learn from a kernel that was lowered; kernels of one outline have as many numbers."""
        place, values = np.array(parameters, np.float64), np.array(numbers, np.float64)
        steps = self._steps.setdefault(outline, _Steps())
        for other, other_outline, others in reversed(self._samples):
            if other_outline == outline:
                steps.learn(place - other, values - others)
                break
        self._samples.append((place, outline, values))

    def predicted(self, parameters: Sequence[int]) -> tuple[Hashable, tuple[int, ...]] | None:
        """Return the outline and the numbers of a kernel; None if it is too unlike those that were lowered."""
        place = np.array(parameters, np.float64)
        for other, outline, numbers in self._samples[: -RECENT - 1 : -1]:
            change = self._steps[outline].change(place - other)
            if change is not None:
                return outline, tuple([int(n) for n in (numbers + change).tolist()])
        return None


class _Steps:
    """What steps between the parameters of kernels of one outline change in their numbers."""

    def __init__(self) -> None:
        self._steps: list[np.ndarray] = []
        self._changes: list[np.ndarray] = []
        self._inverse: np.ndarray | None = None
        self._wrong = 0

    def learn(self, step: np.ndarray, change: np.ndarray) -> None:
        """Learn a step, unless it is made of those that were learned; of the last two where these were wrong."""
        shares = self._shares(step)
        if shares is not None:
            is_right = np.max(np.abs(shares @ np.array(self._changes) - change), initial=0.0) < CLOSE
            self._wrong = 0 if is_right else self._wrong + 1
            if self._wrong < WRONG:
                return
            self._steps, self._changes, self._wrong = [], [], 0
        if np.any(step):
            self._steps.append(step)
            self._changes.append(change)
            self._inverse = np.linalg.pinv(np.array(self._steps))

    def change(self, step: np.ndarray) -> np.ndarray | None:
        """Return what a step changes; None if it is not made of those that were learned."""
        shares = self._shares(step)
        if shares is None:
            return None
        change = shares @ np.array(self._changes)
        rounded = np.rint(change)
        return rounded if np.max(np.abs(change - rounded), initial=0.0) < CLOSE else None

    def _shares(self, step: np.ndarray) -> np.ndarray | None:
        """Return of how much of each that was learned a step is made."""
        if not self._steps:
            return None
        shares = np.asarray(step @ self._inverse)
        return shares if np.max(np.abs(shares @ np.array(self._steps) - step)) < CLOSE else None


CLOSE = 1e-6
"""Whole numbers that were computed in double precision differ by less from what they are."""
