"""Eliminations of single edges, where they save products that no order of the vertices saves.

To eliminate a vertex is to eliminate all its edges in, or out; to eliminate some of them earlier may be cheaper
(Naumann, "Optimal accumulation of Jacobian matrices by elimination methods on the dual computational graph", 2004).

>>> edges = [(0, 3), (0, 4), (0, 5), (1, 3), (1, 7), (2, 3), (3, 4), (3, 7), (4, 5), (4, 6), (4, 7)]
>>> graph = Graph(3, dict.fromkeys(edges, False), results=[5, 6, 7])
>>> [graph.count(order).products for order in ([3, 4], [4, 3])]
[15, 15]
>>> order = with_edges(graph, [4, 3], (1, 0))
>>> order, graph.count(order).products
([(0, 3, True), 4, 3], 14)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from wengert.accumulation.elimination.graph import EdgeStep, Graph, Step, Weights, members


def with_edges(graph: Graph, order: Sequence[int], weights: Weights) -> list[Step]:
    """Return an order with eliminations of edges in it, each where it saves the most products, as long as one does."""
    best: list[Step] = list(order)
    least = graph.count(best).weighted(weights)
    while True:
        improved = None
        before = graph.copy()
        for place in range(len(best)):
            for step in _edges(before):
                changed = [*best[:place], step, *best[place:]]
                total = graph.count(changed).weighted(weights)
                if total < least:
                    improved, least = changed, total
            before.take(best[place])
        if improved is None:
            return best
        best = improved


def _edges(graph: Graph) -> Iterator[EdgeStep]:
    """Yield the eliminations of edges that a graph allows, those of copies left out."""
    for v in graph.interior:
        if graph.before[v] and graph.after[v] and not graph.after[v] & graph.copies:
            yield from ((u, v, True) for u in members(graph.before[v]))
            yield from ((v, w, False) for w in members(graph.after[v]))
