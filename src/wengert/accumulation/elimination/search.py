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

from wengert.accumulation.elimination.graph import Graph, Weights, members

Array = Any
MOST_EXACT = 20
"""The number of intermediate variables up to which the best order can be found: there are 2**20 sets of them."""
MOST_ANNEALED = 500
"""The number of intermediate variables up to which orders are annealed: a move takes too long in a larger graph."""


# ---- The best order: dynamic programming over the sets of eliminated vertices ----


def exact(graph: Graph, weights: Weights = (1, 0)) -> list[int]:
    """Return an order of the fewest products, weighted by the conventions.

    How many products a vertex takes depends on the set of the vertices eliminated before, not on their order: its
    predecessors are then those that a path through eliminated vertices joins to it.  So an order is a path through the
    sets, and the least total of a set is that of one with a vertex fewer, and the products of this vertex.  Time and
    memory grow with the number of sets.
    """
    all_products, unit_free = weights
    first = [] if unit_free else _between_two(graph := graph.copy())
    interior = [v for v in graph.interior if v not in first]
    into, into_unit_free = _neighbors_after(interior, graph.before, graph.units_before, 0, unit_free > 0)
    out_of, out_of_unit_free = _neighbors_after(interior, graph.after, graph.units_after, graph.copies, unit_free > 0)
    products = all_products * into * out_of
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

HOT, COLD = 0.6, 0.03
"""The temperatures at the beginning and at the end, in what a vertex takes on average."""
FARTHER = 0.5
"""The chance that a move carries a vertex past one more of its neighbors."""
MOVES = 4000
"""The number of moves if no time is given: a tenth of a second."""
MOST_REMEMBERED = 1 << 18
"""The number of neighborhoods that are remembered."""


def annealed(
    graph: Graph,
    order: Sequence[int],
    milliseconds: float | None,
    weights: Weights = (1, 1),
    moves: int = MOVES,
) -> list[int]:
    """Return the best order that simulated annealing finds in so many milliseconds, or the one that it starts from.

    Without a time it makes a number of moves, and finds the same each time.

    A move carries one vertex past a few of its neighbors, earlier or later: to carry it past other vertices changes
    nothing.  It is taken if the products, weighted by the conventions, do not rise by more than the temperature allows.
    """
    draw = random.Random(0).random
    annealing = _Annealing(graph, order, weights)
    best, least = list(order), annealing.total
    size, start = len(order), time.perf_counter()
    hot = temperature = HOT * max(1.0, annealing.total / max(size, 1))
    for step in itertools.count():
        if step % 16 == 0:
            share = 1e3 * (time.perf_counter() - start) / milliseconds if milliseconds else step / moves
            if share >= 1 or size < 2:
                break
            temperature = hot * (COLD / HOT) ** share
        past = 1
        while draw() < FARTHER:
            past += 1
        most = -temperature * math.log(1 - draw())
        if annealing.move(int(draw() * size), past, draw() < 0.5, most) and annealing.total < least:
            best, least = list(annealing.order), annealing.total
    return best


class _Neighborhoods:
    """The neighbors of each vertex on one side, after each set of eliminated vertices that has been asked for.

    They are the ends of the paths through eliminated vertices, so no graph is changed to find them.  A partial is 1 or
    -1 if those of a path are, and no other path leads to the same end.

    Parameters
    ----------
    neighbors, units
        For each vertex its neighbors on this side, and those of them whose edge has the partial 1 or -1.
    copies
        The ends of copy edges.
    backward
        True for predecessors.
    """

    __slots__ = ("_backward", "_copies", "_neighbors", "_reached", "_remembered", "_units")

    def __init__(self, neighbors: Sequence[int], units: Sequence[int], copies: int, backward: bool) -> None:
        self._neighbors, self._units, self._copies, self._backward = neighbors, units, copies, backward
        self._reached = [0] * len(neighbors)
        for v in range(len(neighbors)) if backward else reversed(range(len(neighbors))):
            for u in members(neighbors[v]):
                self._reached[v] |= 1 << u | self._reached[u]
        self._remembered: dict[tuple[int, int], tuple[int, int, int]] = {}

    def after(self, eliminated: int, v: int) -> tuple[int, int, int]:
        """Return how many neighbors a vertex has, how many without 1 and -1, and which vertices lie on the paths."""
        key = v, eliminated & self._reached[v]
        remembered = self._remembered.get(key)
        if remembered is None:
            if len(self._remembered) >= MOST_REMEMBERED:
                self._remembered.clear()
            remembered = self._remembered[key] = self._walk(eliminated, v)
        return remembered

    def _walk(self, eliminated: int, v: int) -> tuple[int, int, int]:
        neighbors, units, backward = self._neighbors, self._units, self._backward
        reached, once = neighbors[v], units[v]
        through = reached & eliminated
        while through:  # the nearest of them: all paths to it are known
            u = (through if backward else through & -through).bit_length() - 1
            bit, beyond = 1 << u, neighbors[u]
            fresh = beyond & ~reached
            once = once & ~beyond | (units[u] & fresh if once & bit else 0)
            reached |= beyond
            through = through ^ bit | fresh & eliminated
        ends = reached & ~eliminated
        counted = ends & ~(self._copies & neighbors[v])
        return counted.bit_count(), (ends & ~once).bit_count(), reached


class _Annealing:
    """An order, and what each of its vertices takes.

    What a vertex takes depends on the set of those eliminated before it, and of these on the ones alone that paths lead
    through.  So a move changes what the vertex takes that it carries, and its neighbors between the two places.

    Attributes
    ----------
    order
        The vertices.
    total
        What they take.
    """

    __slots__ = ("_before", "_into", "_nearby", "_out_of", "_taken", "_weights", "order", "total")

    def __init__(self, graph: Graph, order: Sequence[int], weights: Weights) -> None:
        self._into = _Neighborhoods(graph.before, graph.units_before, 0, backward=True)
        self._out_of = _Neighborhoods(graph.after, graph.units_after, graph.copies, backward=False)
        self._weights = weights
        self.order = list(order)
        self._before = list(itertools.accumulate([1 << v for v in order], operator.or_, initial=0))
        self._taken: list[int] = []
        self._nearby: list[int] = []
        for v, eliminated in zip(order, self._before, strict=False):
            taken, nearby = self._take(v, eliminated)
            self._taken.append(taken)
            self._nearby.append(nearby)
        self.total = sum(self._taken)

    def _take(self, v: int, eliminated: int) -> tuple[int, int]:
        """Return what a vertex takes after a set of others, and which vertices that depends on."""
        rows, rows_unit_free, above = self._into.after(eliminated, v)
        columns, columns_unit_free, below = self._out_of.after(eliminated, v)
        products, unit_free = self._weights
        return products * rows * columns + unit_free * rows_unit_free * columns_unit_free, above | below

    def move(self, i: int, past: int, later: bool, most: float) -> bool:
        """Carry the vertex at place i past so many neighbors if the total rises by at most so much; return whether."""
        order, taken, nearby = self.order, self._taken, self._nearby
        v = order[i]
        bit, rise, j = 1 << v, 0, i
        changes: list[tuple[int, int, int]] = []
        for place in range(i + 1, len(order)) if later else range(i - 1, -1, -1):
            if nearby[place] & bit:
                if len(changes) == past:
                    break
                eliminated = self._before[place]
                costs = self._take(order[place], eliminated ^ bit if later else eliminated | bit)
                changes.append((place, *costs))
                rise += costs[0] - taken[place]
            j = place
        if not changes:
            return False
        its, its_nearby = self._take(v, self._before[j + 1] ^ bit if later else self._before[j])
        rise += its - taken[i]
        if rise > most:
            return False
        for place, cost, near in changes:
            taken[place], nearby[place] = cost, near
        for values, value in ((order, v), (taken, its), (nearby, its_nearby)):
            del values[i]
            values.insert(j, value)
        for place in range(min(i, j), max(i, j)):
            self._before[place + 1] = self._before[place] | 1 << order[place]
        self.total += rise
        return True
