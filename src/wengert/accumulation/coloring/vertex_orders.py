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
    return _counting_down(indptr, indices, np.diff(indptr).tolist())[::-1]


def incidence_degree(indptr: Array, indices: Array) -> Array:
    """Return the vertices so that each has the most neighbors among those before it."""
    largest = int(np.diff(indptr).max(initial=0))
    return _counting_down(indptr, indices, [largest] * (indptr.size - 1))


def random(indptr: Array, indices: Array) -> Array:
    """Return the vertices in a random order, the same at each call."""
    return np.random.default_rng(0).permutation(indptr.size - 1)


def _counting_down(indptr: Array, indices: Array, counts: list[int]) -> Array:
    """Take a vertex of the smallest count, count its neighbors down, and so on; return the vertices as they are taken.

    A count is at least the degree.  Of equal ones the vertex is taken that was counted down last.
    """
    starts, ends = indptr.tolist(), indices.tolist()
    buckets: list[list[int]] = [[] for _ in range(max(counts, default=0) + 1)]
    for v in reversed(range(len(counts))):
        buckets[counts[v]].append(v)
    taken = bytearray(len(counts))
    order: list[int] = []
    smallest = 0
    while len(order) < len(counts):
        while not buckets[smallest]:
            smallest += 1
        v = buckets[smallest].pop()
        if taken[v] or counts[v] != smallest:
            continue
        taken[v] = 1
        order.append(v)
        for w in ends[starts[v] : starts[v + 1]]:
            if not taken[w]:
                counts[w] -= 1
                buckets[counts[w]].append(w)
        smallest = max(smallest - 1, 0)
    return np.array(order, np.intp)


ORDERS: dict[str, VertexOrder] = {
    "natural": natural,
    "largest first": largest_first,
    "smallest last": smallest_last,
    "incidence degree": incidence_degree,
    "random": random,
}
