"""What a Program costs, counted line by line and without running it.

A `Cost` counts scalar operations: multiplications, additions and subtractions, changes of sign, divisions, comparisons,
and calls of other functions (by name).  To move elements costs nothing.  Costs add up, and multiply by a number.

>>> import numpy as np, wengert as wg
>>> print(cost(wg.trace(lambda x: x[0] * np.log(x[1]) + x[0])(np.array([2.0, 3.0]))))
1 multiplication, 1 addition, 1 log
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from wengert.program import Primitive, Program

WORDS = {
    "multiplications": "multiplication",
    "additions": "addition",
    "signs": "change of sign",
    "divisions": "division",
    "comparisons": "comparison",
    "calls": "call",
}
"""The kinds of operations, and what one is called, in the order in which they are printed."""


@dataclass(frozen=True)
class Cost:
    """Counts of scalar operations; ``a + b`` is one after the other, ``3 * a`` thrice the same."""

    multiplications: int = 0
    additions: int = 0
    """Subtractions included."""
    divisions: int = 0
    comparisons: int = 0
    functions: Mapping[str, int] = field(default_factory=dict)
    """Calls of elementary functions, by name."""
    signs: int = 0
    """Changes of sign."""
    products: int = 0
    """Local products of a sweep: each edge of the graph of scalars that it multiplies along, by 1 and -1 as well.

    They are no further operations: those by 1 cost nothing, those by -1 are among the signs."""
    unit_free: int = field(default=0, compare=False)
    """Those of the local products of which neither factor is 1 or -1."""

    @property
    def calls(self) -> int:
        """Calls of elementary functions, all together."""
        return sum(self.functions.values())

    @property
    def operations(self) -> int:
        """All operations, each counted once: what orders of accumulation are compared by."""
        return self.multiplications + self.additions + self.signs + self.divisions + self.comparisons + self.calls

    def __add__(self, other: Cost) -> Cost:
        functions = self.functions or other.functions
        if self.functions and other.functions:
            functions = {**self.functions}
            for name, count in other.functions.items():
                functions[name] = functions.get(name, 0) + count
        return Cost(
            self.multiplications + other.multiplications,
            self.additions + other.additions,
            self.divisions + other.divisions,
            self.comparisons + other.comparisons,
            functions,
            self.signs + other.signs,
            self.products + other.products,
            self.unit_free + other.unit_free,
        )

    def __mul__(self, times: int) -> Cost:
        return Cost(
            self.multiplications * times,
            self.additions * times,
            self.divisions * times,
            self.comparisons * times,
            {name: count * times for name, count in self.functions.items() if times},
            self.signs * times,
            self.products * times,
            self.unit_free * times,
        )

    __rmul__ = __mul__

    def __str__(self) -> str:
        parts = [
            f"{count:,} {word if count == 1 else 'changes of sign' if kind == 'signs' else kind}"
            for kind, word in WORDS.items()
            if kind != "calls" and (count := getattr(self, kind))
        ]
        parts += [f"{count:,} {name}" for name, count in sorted(self.functions.items())]
        return ", ".join(parts) or "nothing"


def line_cost(primitive: Primitive, y: Any, inputs: Iterable[Any], params: Mapping[str, Any]) -> Cost:
    """Count one line, of whose result and operands only the shapes (and the values of constants) are read."""
    how = primitive.counts
    if how is None:  # a function of the user's own: so many calls of it
        return Cost(functions={primitive.name: y.size if primitive.elementwise else 1})
    if isinstance(how, str):
        counted = {how: y.size}
    else:
        counts = how(y, *inputs, **params)
        if isinstance(counts, Cost):  # of a line that holds Programs
            return counts
        counted = dict(counts)
    counted.pop("moves", None)
    calls = counted.pop("calls", 0)
    return Cost(**counted, functions={primitive.name: calls} if calls else {})


def cost(program: Program) -> Cost:
    """Count a Program; one that a line holds is counted as often as it runs."""
    costs = [line_cost(line.primitive, line.outputs[0], line.inputs, line.params) for line in program.lines]
    return sum(costs, Cost())
