"""Tapes: what a loop keeps of its steps for sweeps, each step by itself or many of them in one array.

Python code keeps the residuals of a step as a tuple.  Machine code keeps those of many steps on a *tape*, with a row of
numbers for each.  A `Record` has both, in the order of the steps.

>>> record = Record([("first",), ("second",)])
>>> record.append(("third",))
>>> len(record), record[0], list(record.backward())
(3, ('first',), [(0, [('first',), ('second',), ('third',)])])
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np


class Slot(NamedTuple):
    """The place of a value in the rows of a tape."""

    start: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def slots_of(variables: Sequence[Any]) -> tuple[Slot, ...]:
    """Return the places of variables that stand in a row one after the other."""
    slots, start = [], 0
    for var in variables:
        slots.append(Slot(start, var.shape, var.dtype))
        start += math.prod(var.shape)
    return tuple(slots)


class Tape:
    """The residuals of many steps: the kernel of the step, and a row of numbers for each."""

    __slots__ = ("kernel", "rows", "slots")

    def __init__(self, kernel: Any, slots: tuple[Slot, ...], rows: np.ndarray[Any, np.dtype[np.float64]]) -> None:
        self.kernel, self.slots, self.rows = kernel, slots, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, k: int) -> tuple[Any, ...]:
        """Return the residuals of one step, as Python code keeps them."""
        row = self.rows[k]
        values: list[Any] = [self.kernel]
        for start, shape, dtype in self.slots:
            if shape:
                part = row[start : start + math.prod(shape)].reshape(shape)
                values.append(part.astype(dtype, copy=False))
            else:
                values.append(dtype.type(row[start]))
        return tuple(values)


class FirstStep(Sequence[Any]):
    """The residuals of the first step on a tape, which are read from it when they are asked for."""

    __slots__ = ("_tape",)

    def __init__(self, tape: Tape) -> None:
        self._tape = tape

    def __len__(self) -> int:
        return 1 + len(self._tape.slots)

    def __getitem__(self, k: Any) -> Any:
        return self._tape[0][k]


class Record:
    """The residuals of steps, in their order."""

    __slots__ = ("_count", "_parts")

    def __init__(self, steps: Iterable[Any] = ()) -> None:
        steps = list(steps)
        self._parts: list[list[Any] | Tape] = [steps] if steps else []
        self._count = len(steps)

    def append(self, residuals: Any) -> None:
        """Add the residuals of the next step."""
        last = self._parts[-1] if self._parts else None
        if type(last) is not list:
            last = []
            self._parts.append(last)
        last.append(residuals)
        self._count += 1

    def extend(self, tape: Tape) -> None:
        """Add the next steps."""
        if len(tape):
            self._parts.append(tape)
            self._count += len(tape)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Any]:
        for part in self._parts:
            yield from map(part.__getitem__, range(len(part)))

    def __getitem__(self, k: int) -> Any:
        for part in self._parts:
            if k < len(part):
                return part[k]
            k -= len(part)
        raise IndexError(k)

    def parts(self) -> Iterator[tuple[int, list[Any] | Tape]]:
        """Go through stretches of steps from the first to the last: the number of the first step, and the residuals."""
        start = 0
        for part in self._parts:
            yield start, part
            start += len(part)

    def backward(self, spend: bool = False) -> Iterator[tuple[int, list[Any] | Tape]]:
        """Go through the stretches from the last to the first; on request each is given up when the next is asked for.

        Then whoever takes a list may take the residuals from its end.
        """
        stop = self._count
        for part in self._parts[::-1]:
            stop -= len(part)
            if spend:
                self._parts.pop()
                self._count = stop
            yield stop, part
