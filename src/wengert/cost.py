"""What a Program costs, counted line by line and without running it.

A `Cost` counts scalar operations: multiplications, additions (with subtractions and changes of sign), divisions,
comparisons, and calls of other functions (by name).  Costs add up, and multiply by a number of passes.

>>> import numpy as np, wengert as wg
>>> print(cost(wg.trace(lambda x: x[0] * np.log(x[1]) + x[0])(np.array([2.0, 3.0]))))
1 multiplication, 1 addition, 1 log
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from wengert.program import Line, Primitive, Program

WEIGHTS = {"multiplications": 1, "additions": 1, "comparisons": 1, "divisions": 4, "calls": 10}
"""What an operation counts for when candidates are compared, in multiplications: roughly as processors are today."""


@dataclass(frozen=True)
class Cost:
    """Counts of scalar operations; ``a + b`` is one after the other, ``3 * a`` thrice the same."""

    multiplications: int = 0
    additions: int = 0
    divisions: int = 0
    comparisons: int = 0
    functions: Mapping[str, int] = field(default_factory=dict)
    """Calls of elementary functions, by name."""

    @property
    def calls(self) -> int:
        """Calls of elementary functions, all together."""
        return sum(self.functions.values())

    @property
    def operations(self) -> int:
        """All operations, each counted once."""
        return self.multiplications + self.additions + self.divisions + self.comparisons + self.calls

    @property
    def weight(self) -> int:
        """All operations, each by its weight: what candidates are compared by; see `WEIGHTS`."""
        return sum(getattr(self, name) * weight for name, weight in WEIGHTS.items())

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.multiplications + other.multiplications,
            self.additions + other.additions,
            self.divisions + other.divisions,
            self.comparisons + other.comparisons,
            dict(Counter(self.functions) + Counter(other.functions)),
        )

    def __mul__(self, times: int) -> Cost:
        return Cost(
            self.multiplications * times,
            self.additions * times,
            self.divisions * times,
            self.comparisons * times,
            {name: count * times for name, count in self.functions.items()},
        )

    __rmul__ = __mul__

    def __str__(self) -> str:
        parts = [
            f"{count:,} {word if count != 1 else word[:-1]}"
            for word in ("multiplications", "additions", "divisions", "comparisons")
            if (count := getattr(self, word))
        ]
        parts += [f"{count:,} {name}" for name, count in sorted(self.functions.items())]
        return ", ".join(parts) or "nothing"


def line_cost(primitive: Primitive, y: Any, inputs: Iterable[Any], params: Mapping[str, Any]) -> Cost:
    """Count one line, of whose result and operands only the shapes (and the values of constants) are read."""
    how = primitive.counts
    if how is None:
        return Cost()
    if isinstance(how, str):
        counted = {how: y.size}
    else:
        found = how(y, *inputs, **params)
        if isinstance(found, Cost):  # of a line that holds Programs
            return found
        counted = dict(found)
    counted.pop("moves", None)
    calls = counted.pop("calls", 0)
    return Cost(**counted, functions={primitive.name: calls} if calls else {})


def cost(program: Program) -> Cost:
    """Count a Program; one that a line holds is counted as often as it runs."""
    total = Cost()
    for line in program.lines:
        total += _of(line)
    return total


def _of(line: Line) -> Cost:
    return line_cost(line.primitive, line.outputs[0], line.inputs, line.params)
