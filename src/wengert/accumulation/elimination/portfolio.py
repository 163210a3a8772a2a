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

from wengert.accumulation.elimination.edges import with_edges
from wengert.accumulation.elimination.graph import Counts, Graph, Step, Weights
from wengert.accumulation.elimination.heuristics import HEURISTICS
from wengert.accumulation.elimination.search import MOST_ANNEALED, MOST_EXACT, annealed, exact

FEW = 10
"""The number of intermediate variables up to which the best order is found without being asked for: in milliseconds."""


MOST_EDGES = 6
"""The number of intermediate variables up to which eliminations of single edges are tried without being asked for."""


class Elimination(NamedTuple):
    """An order of elimination: its name, the vertices (and single edges), and what it multiplies and adds."""

    name: str
    order: Sequence[Step]
    counts: Counts


def portfolio(graph: Graph, milliseconds: float | None = None, convention: str | None = None) -> dict[str, Elimination]:
    """Count the orders by rule, and the best one of a small graph; with a time, search for that long as well.

    The search is for the fewest products by the convention, one of `CONVENTIONS`; without one, for half of the time by
    both together, and then by each.
    """
    start = time.perf_counter()
    eliminations: dict[str, Elimination] = {}

    def enter(name: str, order: Sequence[Step]) -> None:
        eliminations[name] = Elimination(name, order, graph.count(order))

    for rule, heuristic in HEURISTICS.items():
        enter(rule, heuristic(graph))
    size = len(graph.interior)
    searches = [convention] if convention else [None, *CONVENTIONS]
    if size <= FEW or (milliseconds is not None and size <= MOST_EXACT and milliseconds >= 2 ** (size - FEW + 3)):
        for name in searches:
            enter(f"exact{_SUFFIXES[name]}", exact(graph, weights_of(name)))
        if size <= (MOST_EDGES if milliseconds is None else FEW):
            for name in searches:
                weights = weights_of(name)
                orders = {vertices_of(e.order) for e in eliminations.values()}
                steps = min(
                    [with_edges(graph, order, weights) for order in orders],
                    key=lambda steps: graph.count(steps).weighted(weights),
                )
                if graph.count(steps).weighted(weights) < _least(eliminations, weights).counts.weighted(weights):
                    enter(f"edges{_SUFFIXES[name]}", steps)
    elif milliseconds is not None and size <= MOST_ANNEALED:
        left = milliseconds - 1e3 * (time.perf_counter() - start)
        for name, share in zip(searches, (1.0,) if convention else (0.5, 0.25, 0.25), strict=True):
            first = _least(eliminations, weights := weights_of(name))
            enter(
                f"annealing{_SUFFIXES[name]}", annealed(graph, vertices_of(first.order), max(share * left, 1), weights)
            )
    elif size <= MOST_ANNEALED and not _no_worse(eliminations):
        enter("annealing", annealed(graph, vertices_of(eliminations["forward"].order), None, (1, 2)))
    return eliminations


def vertices_of(order: Sequence[Step]) -> tuple[int, ...]:
    """Return the vertices of an order, without single edges."""
    return tuple([step for step in order if isinstance(step, int)])


CONVENTIONS: dict[str, Weights] = {"all": (1, 0), "unit-free": (0, 1)}
"""The published conventions of counting products: all of them, or those alone of which no factor is 1 or -1."""
_SUFFIXES = {None: "", "all": ", all products", "unit-free": ", unit-free products"}


def weights_of(convention: str | None) -> Weights:
    """Return what a product counts by a convention; without one, by both together."""
    return (1, 1) if convention is None else CONVENTIONS[convention]


def best_of(eliminations: Mapping[str, Elimination], convention: str | None = None) -> Elimination:
    """Return the order of the fewest products by a convention.

    Without one it is that of the least sum of products, by both conventions, and additions, among the orders that need
    no more products than forward and reverse: than the better of these by each convention, or, if no order does by
    both, by all products alone.
    """
    if convention is not None:
        return _least(eliminations, CONVENTIONS[convention])
    few = _no_worse(eliminations) or _no_worse(eliminations, by_both=False)
    return min(few, key=lambda e: (e.counts.products + e.counts.operations, e.counts.products, e.name != "reverse"))


def _no_worse(eliminations: Mapping[str, Elimination], by_both: bool = True) -> list[Elimination]:
    """Return the orders that need no more products than forward and reverse, by both conventions or the first."""
    sides = eliminations["forward"].counts, eliminations["reverse"].counts
    products, unit_free = min([c.products for c in sides]), min([c.unit_free for c in sides])
    few = [e for e in eliminations.values() if e.counts.products <= products]
    return [e for e in few if e.counts.unit_free <= unit_free] if by_both else few


def _least(eliminations: Mapping[str, Elimination], weights: Weights) -> Elimination:
    return min(eliminations.values(), key=lambda e: (e.counts.weighted(weights), e.counts.operations))
