"""The portfolio: several orders of elimination side by side, by what they multiply and add, and the best of them.

No rule is best for all graphs; on large random ones Markowitz's loses tenfold to reverse.  So all are counted, which
takes no numbers, and forward and reverse are among them: the best is never worse than the better of these.

>>> graph = Graph(1, {(0, 1): False, (1, 2): False, (1, 3): False, (2, 4): False, (3, 4): False}, results=[4])
>>> eliminations = portfolio(graph)
>>> [(name, eliminations[name].counts.products) for name in ("forward", "reverse", "Markowitz", "exact")]
[('forward', 4), ('reverse', 3), ('Markowitz', 3), ('exact', 3)]
>>> best_of(eliminations).name
'reverse'
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from wengert.accumulation.elimination.graph import Counts, Graph
from wengert.accumulation.elimination.heuristics import HEURISTICS
from wengert.accumulation.elimination.search import MOST_ANNEALED, MOST_EXACT, annealed, exact

FEW = 10
"""The number of intermediate variables up to which the best order is found without being asked for: in milliseconds."""


class Elimination(NamedTuple):
    """An order of elimination: its name, the vertices, and what it multiplies and adds."""

    name: str
    order: Sequence[int]
    counts: Counts


def portfolio(graph: Graph, milliseconds: float | None = None) -> dict[str, Elimination]:
    """Count the orders by rule, and the best one of a small graph; with a time, search for that long as well."""
    start = time.perf_counter()
    eliminations: dict[str, Elimination] = {}

    def enter(name: str, order: Sequence[int]) -> None:
        eliminations[name] = Elimination(name, order, graph.count(order))

    for name, heuristic in HEURISTICS.items():
        enter(name, heuristic(graph))
    size = len(graph.interior)
    if size <= FEW or (milliseconds is not None and size <= MOST_EXACT and milliseconds >= 2 ** (size - FEW + 2)):
        enter("exact", exact(graph))
        enter("exact, both conventions", exact(graph, unit_free=2))
    elif milliseconds is not None and size <= MOST_ANNEALED:
        first = min(eliminations.values(), key=lambda elimination: elimination.counts.both)
        left = milliseconds - 1e3 * (time.perf_counter() - start)
        enter("annealing", annealed(graph, first.order, max(left, 1)))
    return eliminations


def best_of(eliminations: Mapping[str, Elimination]) -> Elimination:
    """Return the order of the fewest operations among those that need no more products than forward and reverse.

    It is compared with the better of these by the products of each convention; if one order is the better by the one
    and the other by the other, then by all products alone.
    """
    sides = eliminations["forward"].counts, eliminations["reverse"].counts
    products, unit_free = min([c.products for c in sides]), min([c.unit_free for c in sides])
    few = [e for e in eliminations.values() if e.counts.products <= products]
    fewer = [e for e in few if e.counts.unit_free <= unit_free]
    return min(fewer or few, key=lambda e: (e.counts.operations, e.counts.products, e.name != "reverse"))
