"""A coloring: a partition of the columns, rows or variables of a sparse matrix into groups that share a pass.

>>> Coloring.of([0, 1, 0], "by hand")
Coloring(2 colors, by hand)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any
Pattern = Any
"""A SciPy CSR array whose stored entries are those that may differ from zero; its values are not read."""


@dataclass(frozen=True, repr=False, eq=False)
class Coloring:
    """Colors from 0 on, one for each vertex, -1 for a vertex that takes part in no pass.

    Attributes
    ----------
    colors
        The color of each vertex.
    count
        How many colors there are.
    method
        How they were chosen, in words.
    """

    colors: Array
    count: int
    method: str

    @classmethod
    def of(cls, colors: Sequence[int] | Array, method: str) -> Coloring:
        """Return the coloring that gives the vertices these colors."""
        colors = np.asarray(colors, np.intp)
        return cls(colors, int(colors.max(initial=-1)) + 1, method)

    def __repr__(self) -> str:
        return f"Coloring({self.count:,} color{'s' * (self.count != 1)}, {self.method})"


def best(colorings: Sequence[Coloring]) -> Coloring:
    """Return the coloring with the fewest colors, of several the first."""
    return min(colorings, key=lambda coloring: coloring.count)


Search = Callable[[int], Coloring | None]
"""Looks for a coloring of at most so many colors."""
LARGE = 300_000
"""Of a pattern with more entries, a lattice coloring is sought before a greedy one, which takes longer."""


def first_of(greedy: Search, lattice: Search, entries: int, bound: int, most: int) -> Coloring:
    """Return the better of a greedy and a lattice coloring, the second one sought if the first is above the bound."""
    searches = (lattice, greedy) if entries > LARGE else (greedy, lattice)
    colorings: list[Coloring] = []
    for search in searches:
        coloring = search(min([coloring.count - 1 for coloring in colorings], default=most))
        if coloring is not None:
            colorings.append(coloring)
            if coloring.count <= bound:
                break
    return best(colorings)


class Effort:
    """What a portfolio may still spend, in visits of an edge.

    It is counted, not timed: the same pattern has the same coloring on every machine.

    >>> effort = Effort(100)
    >>> effort.allows(60), effort.allows(60), effort.allows(40)
    (True, False, True)
    """

    def __init__(self, visits: int) -> None:
        self.left = visits

    def allows(self, visits: int) -> bool:
        """Return whether so many visits are left, and spend them if so."""
        if visits > self.left:
            return False
        self.left -= visits
        return True


VISITS = 10_000_000
"""The effort of one coloring beyond the first: a few seconds of Python at most."""


def row_numbers(pattern: Pattern) -> Array:
    """Return the row of each stored entry."""
    return np.repeat(np.arange(pattern.shape[0]), np.diff(pattern.indptr))


def structure_of(pattern: Pattern) -> Pattern:
    """Return a pattern as a CSR array of booleans with sorted indices, without repeated entries.

    >>> from scipy.sparse import coo_array
    >>> structure_of(coo_array(([0.0, 2.0, 1.0], ([1, 0, 1], [0, 1, 0])))).indices.tolist()
    [1, 0]
    """
    from scipy import sparse

    csr = sparse.csr_array(pattern)
    csr = sparse.csr_array((np.ones(csr.indices.size, bool), csr.indices, csr.indptr), shape=csr.shape)
    csr.sum_duplicates()
    return csr
