"""A model of the machine: the seconds that a Jacobian takes, predicted from what is counted of it.

A handful of numbers describe a machine: what NumPy takes for a call on a few elements, for an operation on an element
of an array, for one inside of a matrix product, for an elementary function, and for a byte that is moved.  They are
measured once in a process, when a prediction is first asked for (`this_machine`, about a tenth of a second).  What is
*chosen* without a measurement rests on counts and on the numbers of `STANDARD`, so that it is the same everywhere.

>>> work = Work(traced=5, swept=5, blocks=1, products=0.0, spills=False)
>>> in_seconds(STANDARD.seconds(Cost(multiplications=12), work, entries=6, moved=48))
'84 us'
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from wengert.cost import Cost


class Work(NamedTuple):
    """What a Jacobian takes beside operations.

    Attributes
    ----------
    traced, swept
        The lines that are traced, and those that a sweep goes over.
    blocks
        In how many blocks the seeds travel: how often the sweep goes over them.
    products
        The share of the operations that are done in products of matrices.
    spills
        Whether a block of tangents or adjoints is too large for the cache.
    scalars
        Whether the code computes scalars one by one, not whole arrays: that of an elimination.
    """

    traced: int
    swept: int
    blocks: int
    products: float
    spills: bool
    scalars: bool = False


CALL, TRACED, SWEPT = 200.0, 4.0, 12.0
"""What a call of a Jacobian takes beside its lines, and what a line takes to be traced and to be swept, in calls of
NumPy."""
SCALAR, ENTRY, KEY = 1 / 12, 1 / 15, 8.0
"""What an operation on a scalar takes in the code of an elimination, an entry, and a line to recognize its code."""
COMPILED_CALL, COMPILED = 10.0, 3.0
"""The same for a call and for a line that is swept, where the Jacobian is compiled by `wengert.jit`."""
MOVES = 3.0
"""What an operation takes with all that is moved for it, in operations."""
COPIES = 4.0
"""How often the matrix is moved before it is returned."""


@dataclass(frozen=True)
class Machine:
    """How long a machine takes, in seconds.

    Attributes
    ----------
    dispatch
        A call of NumPy on a few elements.
    operation, spilled
        A multiplication or addition of an element of arrays that lie in the cache, and of larger ones.
    product
        A multiplication or addition in a product of matrices.
    function
        An elementary function of an element.
    byte
        A byte that is copied to new memory.
    """

    dispatch: float
    operation: float
    spilled: float
    product: float
    function: float
    byte: float

    def seconds(self, cost: Cost, work: Work, entries: int = 0, moved: int = 0, compiled: bool = False) -> float:
        """Return how long a Jacobian takes of so many entries and bytes, uncompiled or once it is compiled."""
        calls = COMPILED_CALL if compiled else CALL + TRACED * work.traced
        if work.scalars:
            calls += SCALAR * cost.operations + ENTRY * entries + (0.0 if compiled else KEY * work.traced)
            return self.dispatch * calls
        calls += (COMPILED if compiled else SWEPT) * work.swept * work.blocks
        each = MOVES * (self.spilled if work.spills else self.operation)
        each = work.products * self.product + (1 - work.products) * each
        elements = each * (cost.operations - cost.calls) + self.function * cost.calls
        return self.dispatch * calls + elements + COPIES * self.byte * moved

    def tracing(self, function: Cost, work: Work) -> float:
        """Return how long a function takes to be traced: what comes before the passes."""
        elements = MOVES * self.operation * (function.operations - function.calls) + self.function * function.calls
        return self.dispatch * (CALL + TRACED * work.traced) + elements


STANDARD = Machine(dispatch=3e-7, operation=5e-10, spilled=2e-9, product=1e-10, function=1e-8, byte=2e-10)
"""A machine as there are many; only the ratios of its numbers matter."""


@functools.cache
def this_machine() -> Machine:
    """Measure the machine that this process runs on; the numbers are kept for the process."""
    few, many, large = np.ones(8), np.linspace(0.1, 1.0, 1 << 13), np.ones(1 << 20)
    matrix = np.full((256, 256), 0.5)
    dispatch = shortest(lambda: np.multiply(few, few), 400)
    return Machine(
        dispatch=dispatch,
        operation=_beyond(dispatch, shortest(lambda: many * many, 40), many.size),
        spilled=_beyond(dispatch, shortest(lambda: large * large, 1), large.size),
        product=_beyond(dispatch, shortest(lambda: matrix @ matrix, 2), 2 * 256**3),
        function=_beyond(dispatch, shortest(lambda: np.sin(many), 8), many.size),
        byte=_beyond(dispatch, shortest(large.copy, 1), large.nbytes),
    )


def _beyond(dispatch: float, seconds: float, count: int) -> float:
    """Return what one of so many takes, the call left out."""
    return max(seconds - dispatch, 1e-3 * seconds) / count


def shortest(call: Callable[[], Any], repeats: int, rounds: int = 5) -> float:
    """Return the seconds of a call, the shortest of some rounds of repeated calls."""
    times = []
    for _ in range(rounds):
        start = perf_counter()
        for _ in range(repeats):
            call()
        times.append((perf_counter() - start) / repeats)
    return min(times)


def in_seconds(seconds: float) -> str:
    """Write a time in the unit that suits it, to two digits.

    >>> [in_seconds(t) for t in (3.14e-6, 0.0456, 2.5, 165.0, 12345.0)]
    ['3.1 us', '46 ms', '2.5 s', '165 s', '3.4 h']
    """
    for unit, size in (("h", 3600.0), ("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= (2 * size if unit == "h" else 0.9995 * size) or unit == "us":
            return f"{seconds / size:,.1f} {unit}" if seconds / size < 9.95 else f"{seconds / size:,.0f} {unit}"
    raise AssertionError
