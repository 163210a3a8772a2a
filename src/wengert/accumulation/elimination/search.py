"""Orders of elimination by search: the best one of small graphs, and simulated annealing within a time for larger ones.

>>> graph = Graph(1, {(0, 1): False, (1, 2): False, (1, 3): False, (2, 4): False, (3, 4): False}, results=[4])
>>> order = exact(graph)
>>> order, graph.count(order).products
([2, 3, 1], 3)
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
import random
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.accumulation.elimination.graph import Graph, members

Array = Any
MOST_EXACT = 20
"""The number of intermediate variables up to which the best order can be found: there are 2**20 sets of them."""
MOST_ANNEALED = 500
"""The number of intermediate variables up to which orders are annealed: a move takes too long in a larger graph."""


# ---- The best order: dynamic programming over the sets of eliminated vertices ----


def exact(graph: Graph, unit_free: int = 0) -> list[int]:
    """Return an order of the fewest products, those that are not by 1 or -1 counted so many times more.

    How many products a vertex takes depends on the set of the vertices eliminated before, not on their order: its
    predecessors are then those that a path through eliminated vertices joins to it.  So an order is a path through the
    sets, and the least total of a set is that of one with a vertex fewer, and the products of this vertex.  Time and
    memory grow with the number of sets.
    """
    first = [] if unit_free else _between_two(graph := graph.copy())
    interior = [v for v in graph.interior if v not in first]
    into, into_unit_free = _neighbors_after(interior, graph.before, graph.units_before, 0, unit_free > 0)
    out_of, out_of_unit_free = _neighbors_after(interior, graph.after, graph.units_after, graph.copies, unit_free > 0)
    products = into * out_of
    if unit_free:
        products += unit_free * into_unit_free * out_of_unit_free
    return first + [interior[k] for k in _shortest(products)]


def _between_two(graph: Graph) -> list[int]:
    """Eliminate the vertices between one predecessor and one successor: later that takes no fewer products."""
    order: list[int] = []
    while ready := [v for v in graph.interior if graph.before[v].bit_count() * graph.after[v].bit_count() == 1]:
        order.append(ready[0])
        graph.eliminate(ready[0])
    return order


def _shortest(products: Array) -> list[int]:
    """Return the order of the least total, given what each vertex takes after each set of others."""
    size = len(products)
    least = np.full(1 << size, np.iinfo(np.uint32).max, np.uint32)
    least[0] = 0
    last = np.zeros(1 << size, np.uint8)
    by_count = np.argsort(np.bitwise_count(np.arange(1 << size)), kind="stable")
    start = 0
    for count in range(size):
        sets = by_count[start : (start := start + math.comb(size, count))]
        for k in range(size):
            before = sets[sets >> k & 1 == 0]
            total, following = least[before] + products[k, before], before | 1 << k
            better = total < least[following]
            least[following[better]], last[following[better]] = total[better], k
    order: list[int] = []
    eliminated = (1 << size) - 1
    while eliminated:
        order.append(int(last[eliminated]))
        eliminated ^= 1 << order[-1]
    return order[::-1]


def _neighbors_after(
    interior: Sequence[int], neighbors: Sequence[int], units: Sequence[int], copies: int, with_units: bool
) -> tuple[Array, Array]:
    """Return how many neighbors each interior vertex has once each set of others is eliminated.

    The second array leaves those out whose edge has the partial 1 or -1.  The end of a copy edge is no neighbor.
    """
    size, number = len(interior), {v: k for k, v in enumerate(interior)}
    joined = functools.reduce(operator.or_, [neighbors[v] for v in interior], 0)
    outside = [v for v in members(joined) if v not in number]
    counts, unit_free = (np.zeros((size, 1 << size), np.uint32) for _ in range(2))
    for start in range(0, max(len(outside), 1), 64 - size):  # as many at a time as a word has bits for
        places = {**number, **{v: size + k for k, v in enumerate(outside[start : start + 64 - size])}}

        def word(vertices: int, places: dict[int, int] = places) -> int:
            return sum([1 << places[u] for u in members(vertices) if u in places])

        words = np.zeros((size, 1 << size), np.uint64)
        words[:, 0] = [word(neighbors[v]) for v in interior]
        of_units = np.zeros((size, 1 << size if with_units else 1), np.uint64)
        of_units[:, 0] = [word(units[v]) for v in interior]
        for k in range(size):
            _eliminate_in_all(words, of_units if with_units else None, k)
        if start:
            words &= ~np.uint64((1 << size) - 1)  # those inside have been counted
        if with_units:
            unit_free += np.bitwise_count(words & ~of_units)
        words &= ~np.array([word(neighbors[v] & copies) for v in interior], np.uint64)[:, None]
        counts += np.bitwise_count(words)
    return counts, unit_free


def _eliminate_in_all(words: Array, units: Array | None, k: int) -> None:
    """Eliminate the k-th vertex after each set of the first k ones, and keep the graphs with it and without."""
    half, bit = 1 << k, np.uint64(1 << k)
    beyond = words[k, :half]
    for v in range(len(words)):
        before = words[v, :half]
        joined = before & bit != 0
        words[v, half : 2 * half] = np.where(joined, before & ~bit | beyond, before)
        if units is not None:
            units_before = units[v, :half]
            through = np.where(units_before & bit != 0, units[k, :half] & ~before, np.uint64(0))
            units[v, half : 2 * half] = np.where(joined, units_before & ~bit & ~beyond | through, units_before)


# ---- Simulated annealing ----

HOT, COLD = 4.0, 0.2
"""The temperatures at the beginning and at the end, in what `Counts.both` counts."""
NEAR = 12
"""Most moves carry a vertex by at most so many places."""
FAR = 0.2
"""The share of the moves that carry one to any place."""
EVERY = 4
"""A graph is kept after so many vertices, from where a changed order is counted."""


def annealed(graph: Graph, order: Sequence[int], milliseconds: float) -> list[int]:
    """Return the best order that simulated annealing finds in so many milliseconds, or the one that it starts from.

    A move carries one vertex to another place in the order; it is taken if the products, by both conventions
    (`Counts.both`), do not rise by more than the temperature allows.
    """
    draw = random.Random(0)
    annealing = _Annealing(graph, order)
    best, least = list(order), annealing.total
    size, start, temperature = len(order), time.perf_counter(), HOT
    for step in itertools.count():
        if step % 16 == 0:
            share = 1e3 * (time.perf_counter() - start) / milliseconds if size > 1 else 1
            if share >= 1:
                break
            temperature = HOT * (COLD / HOT) ** share
        i = draw.randrange(size)
        j = draw.randrange(size) if draw.random() < FAR else min(max(i + draw.randint(-NEAR, NEAR), 0), size - 1)
        if i != j and annealing.move(i, j, -temperature * math.log(1 - draw.random())) and annealing.total < least:
            best, least = list(annealing.order), annealing.total
    return best


class _Annealing:
    """An order, what each of its vertices takes, and the graph after every few of them.

    A graph depends on the set of the vertices that are eliminated, not on their order.  So a move changes nothing
    behind the places between which it carries a vertex.

    Attributes
    ----------
    order
        The vertices.
    total
        What they take, as `Counts.both` counts.
    """

    __slots__ = ("_graphs", "_taken", "order", "total")

    def __init__(self, graph: Graph, order: Sequence[int]) -> None:
        self.order = list(order)
        self._graphs: list[Graph] = []
        self._taken: list[int] = []
        graph = graph.copy()
        for place, v in enumerate(order):
            if place % EVERY == 0:
                self._graphs.append(graph.copy())
            self._taken.append(graph.eliminate(v).both)
        self.total = sum(self._taken)

    def move(self, i: int, j: int, most: float) -> bool:
        """Carry the vertex at place i to place j if the total rises by at most so much; return whether."""
        first, last = min(i, j), max(i, j) + 1
        kept = first // EVERY
        start = kept * EVERY
        order = self.order[start:last]
        order.insert(j - start, order.pop(i - start))
        graph = self._graphs[kept].copy()
        rise = -sum(self._taken[start:last])
        taken: list[int] = []
        graphs: list[Graph] = []
        for place, v in enumerate(order, start):
            if place > start and place % EVERY == 0:
                graphs.append(graph.copy())
            taken.append(graph.eliminate(v).both)
            rise += taken[-1]
            if rise > most:
                return False
        self.order[start:last] = order
        self._taken[start:last] = taken
        self._graphs[kept + 1 : kept + 1 + len(graphs)] = graphs
        self.total += rise
        return True
