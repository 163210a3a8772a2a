"""The orders in which a greedy coloring takes the vertices of a graph; the coloring is as good as its order.

A graph is a symmetric pattern in CSR form, without a diagonal.  Gebremedhin, Manne and Pothen (2005) compare orders.

>>> import numpy as np
>>> star = np.array([0, 3, 4, 5, 6]), np.array([1, 2, 3, 0, 0, 0])  # the middle, and three vertices beside it
>>> [int(v) for v in largest_first(*star)], [int(v) for v in smallest_last(*star)]
([0, 1, 2, 3], [3, 0, 2, 1])
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = Any
VertexOrder = Callable[[Array, Array], Array]


def natural(indptr: Array, indices: Array) -> Array:
    """Return the vertices as they are numbered."""
    return np.arange(indptr.size - 1)


def largest_first(indptr: Array, indices: Array) -> Array:
    """Return the vertices by their degrees, the largest first."""
    return np.argsort(-np.diff(indptr), kind="stable")


def smallest_last(indptr: Array, indices: Array) -> Array:
    """Return the vertices so that each has the smallest degree among itself and those before it."""
    neighbors, degrees, buckets = _buckets(indptr, indices, np.diff(indptr).tolist())
    taken = bytearray(len(degrees))
    order: list[int] = []
    smallest = 0
    while len(order) < len(degrees):
        while not buckets[smallest]:
            smallest += 1
        v = buckets[smallest].pop()
        if taken[v] or degrees[v] != smallest:
            continue
        taken[v] = 1
        order.append(v)
        for w in neighbors(v):
            if not taken[w]:
                degrees[w] -= 1
                buckets[degrees[w]].append(w)
        smallest = max(smallest - 1, 0)
    return np.array(order[::-1], np.intp)


def incidence_degree(indptr: Array, indices: Array) -> Array:
    """Return the vertices so that each has the most neighbors among those before it."""
    neighbors, degrees, buckets = _buckets(indptr, indices, [0] * (indptr.size - 1))
    taken = bytearray(len(degrees))
    order: list[int] = []
    largest = 0
    while len(order) < len(degrees):
        while not buckets[largest]:
            largest -= 1
        v = buckets[largest].pop()
        if taken[v] or degrees[v] != largest:
            continue
        taken[v] = 1
        order.append(v)
        for w in neighbors(v):
            if not taken[w]:
                degrees[w] += 1
                buckets[degrees[w]].append(w)
                largest = max(largest, degrees[w])
    return np.array(order, np.intp)


def random(indptr: Array, indices: Array) -> Array:
    """Return the vertices in a random order, the same at each call."""
    return np.random.default_rng(0).permutation(indptr.size - 1)


def _buckets(
    indptr: Array, indices: Array, degrees: list[int]
) -> tuple[Callable[[int], list[int]], list[int], list[list[int]]]:
    """Return the neighbors of a vertex, the degrees, and the vertices by degree, the last one on top."""
    starts, ends = indptr.tolist(), indices.tolist()
    buckets: list[list[int]] = [[] for _ in range(int(np.diff(indptr).max(initial=0)) + 1)]
    for v in reversed(range(len(degrees))):
        buckets[degrees[v]].append(v)
    return lambda v: ends[starts[v] : starts[v + 1]], degrees, buckets


ORDERS: dict[str, VertexOrder] = {
    "natural": natural,
    "largest first": largest_first,
    "smallest last": smallest_last,
    "incidence degree": incidence_degree,
    "random": random,
}
