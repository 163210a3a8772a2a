"""An order of accumulation, as a value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wengert.accumulation.counting import ActiveRows, Sweep
from wengert.executors import Executor
from wengert.linearization import Linearization

Array = Any


@dataclass(frozen=True, eq=False)
class Order:
    """One way to compute a dense Jacobian.

    Attributes
    ----------
    name
        What users call it: ``mode=`` of `wengert.jacobian`.
    passes
        How many passes it makes over a linearization.
    count
        Counts one pass over the active rows, and what all passes share.
    accumulate
        Computes the Jacobian of each result with respect to each independent variable, its passes in blocks that an
        executor runs, if there is one.
    """

    name: str
    passes: Callable[[Linearization], int]
    count: Callable[[ActiveRows], Sweep]
    accumulate: Callable[[Linearization, Executor | None], list[list[Array]]]
