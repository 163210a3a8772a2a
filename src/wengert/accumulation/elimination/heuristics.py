"""Orders of elimination by rule: forward, reverse, and those that take the vertex which costs least next.

>>> graph = Graph(1, {(0, 1): False, (1, 2): False, (1, 3): False, (2, 4): False, (3, 4): False}, results=[4])
>>> {name: graph.count(HEURISTICS[name](graph)).products for name in ("forward", "reverse", "Markowitz")}
{'forward': 4, 'reverse': 3, 'Markowitz': 3}
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from typing import Any

from wengert.accumulation.elimination.graph import Graph, members

Key = Callable[[Graph, int], Any]


def forward(graph: Graph) -> list[int]:
    """Eliminate in the order of the list."""
    return list(graph.interior)


def reverse(graph: Graph) -> list[int]:
    """Eliminate against the order of the list."""
    return list(reversed(graph.interior))


def cheapest_first(graph: Graph, key: Key, largest: bool = False, left: Iterable[int] | None = None) -> list[int]:
    """Eliminate the vertex of the least key next; of equals the one of the smallest number, or the largest.

    The elimination of a vertex changes the keys of its neighbors alone.  With `left`, only these are to be eliminated.
    """
    graph = graph.copy()
    turn = -1 if largest else 1
    keys = {v: key(graph, v) for v in (graph.interior if left is None else left)}
    heap = [(k, turn * v) for v, k in keys.items()]
    heapq.heapify(heap)
    order: list[int] = []
    while heap:
        k, turned = heapq.heappop(heap)
        v = turn * turned
        if v not in keys or k != keys[v]:  # eliminated, or its key has changed
            continue
        del keys[v]
        order.append(v)
        neighbors = graph.before[v] | graph.after[v]
        graph.eliminate(v)
        for u in members(neighbors):
            if u in keys and (changed := key(graph, u)) != keys[u]:
                keys[u] = changed
                heapq.heappush(heap, (changed, turn * u))
    return order


def markowitz(graph: Graph, largest: bool = False) -> list[int]:
    """Eliminate the vertex of least Markowitz degree next."""
    return cheapest_first(graph, Graph.degree, largest)


def unit_free_markowitz(graph: Graph, largest: bool = False) -> list[int]:
    """Eliminate the vertex next that takes the fewest products, without those by 1 and -1."""
    return cheapest_first(graph, lambda graph, v: (graph.unit_free_degree(v), graph.degree(v)), largest)


def relative_markowitz(graph: Graph, largest: bool = False) -> list[int]:
    """Eliminate the vertex next whose degree is least against its degree if it is eliminated last.

    That is the number of independent variables that it depends on times the number of results that depend on it.
    """
    last = degrees_if_last(graph)
    return cheapest_first(graph, lambda graph, v: graph.degree(v) - last[v], largest)


def degrees_if_last(graph: Graph) -> dict[int, int]:
    """Return the degree that each vertex has once all others are eliminated."""
    every = range(len(graph.before))
    is_interior = set(graph.interior)
    from_inputs, to_results = [0] * len(every), [0] * len(every)
    for v in every:
        for u in members(graph.before[v]):
            from_inputs[v] |= from_inputs[u] if u in is_interior else 1 << u
    for v in reversed(every):
        for w in members(graph.after[v]):
            to_results[v] |= to_results[w] if w in is_interior else 1 << w
    return {v: from_inputs[v].bit_count() * to_results[v].bit_count() for v in graph.interior}


def used_once_first(graph: Graph, largest: bool = False) -> list[int]:
    """Eliminate in reverse the vertices that are used once, and the others by their Markowitz degree."""
    graph = graph.copy()
    first = []
    for v in reversed(graph.interior):
        if graph.after[v].bit_count() == 1:
            first.append(v)
            graph.eliminate(v)
    return first + cheapest_first(graph, Graph.degree, largest, sorted(set(graph.interior).difference(first)))


HEURISTICS: dict[str, Callable[[Graph], list[int]]] = {
    "forward": forward,
    "reverse": reverse,
    "Markowitz": markowitz,
    "Markowitz, largest index": lambda graph: markowitz(graph, largest=True),
    "relative Markowitz": relative_markowitz,
    "relative Markowitz, largest index": lambda graph: relative_markowitz(graph, largest=True),
    "unit-free Markowitz": unit_free_markowitz,
    "unit-free Markowitz, largest index": lambda graph: unit_free_markowitz(graph, largest=True),
    "used once, then Markowitz": used_once_first,
    "used once, then Markowitz, largest index": lambda graph: used_once_first(graph, largest=True),
}
"""The orders by rule, by their names; where costs are equal, the vertex of the smallest number comes first."""
