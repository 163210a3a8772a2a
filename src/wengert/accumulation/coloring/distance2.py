"""Columns that share a pass: no row has entries in two columns of one color.

This is a *partial distance-2 coloring* of the bipartite graph of rows and columns (Curtis, Powell and Reid 1974;
Gebremedhin, Manne and Pothen 2005): in the sum of the columns of a color each entry stands alone in its row, so it is
read there.  No coloring has fewer colors than the fullest row has entries.

>>> from scipy.sparse import diags_array
>>> tridiagonal = diags_array([1.0, 1.0, 1.0], offsets=[-1, 0, 1], shape=(7, 7)).tocsr()
>>> greedy(tridiagonal, range(7)), is_valid(tridiagonal, greedy(tridiagonal, range(7)))
([0, 1, 2, 0, 1, 2, 0], True)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from wengert.accumulation.coloring.partition import Coloring, Effort, Pattern, best, row_numbers
from wengert.accumulation.coloring.vertex_orders import ORDERS

Array = Any


def lower_bound(pattern: Pattern) -> int:
    """Return the most entries of a row, which need as many colors."""
    return int(np.diff(pattern.indptr).max(initial=0))


def is_valid(pattern: Pattern, colors: Array) -> bool:
    """Return whether no row has two columns of one color."""
    return bool(np.count_nonzero(_colors_of_rows(pattern, np.asarray(colors))) == pattern.nnz)


def rows_in_conflict(pattern: Pattern, colors: Array) -> Array:
    """Return the rows that have two columns of one color."""
    return np.flatnonzero(_colors_of_rows(pattern, colors).sum(axis=1) < np.diff(pattern.indptr))


def _colors_of_rows(pattern: Pattern, colors: Array) -> Array:
    """Return which rows have a column of which color."""
    count = int(colors.max(initial=0)) + 1
    has_color = np.zeros(pattern.shape[0] * count, bool)
    has_color[row_numbers(pattern) * count + colors[pattern.indices]] = True
    return has_color.reshape(-1, count)


def greedy(pattern: Pattern, order: Iterable[int]) -> list[int]:
    """Give each column in turn the smallest color that none of its rows has: bits of a number for each row."""
    rows_of = pattern.tocsc()
    starts, rows = rows_of.indptr.tolist(), rows_of.indices.tolist()
    colors = [0] * pattern.shape[1]
    taken = [0] * pattern.shape[0]
    for column in order:
        its_rows = rows[starts[column] : starts[column + 1]]
        forbidden = 0
        for row in its_rows:
            forbidden |= taken[row]
        bit = ~forbidden & (forbidden + 1)
        for row in its_rows:
            taken[row] |= bit
        colors[column] = bit.bit_length() - 1
    return colors


def recolored(pattern: Pattern, coloring: Coloring, effort: Effort) -> Coloring:
    """Color again, one color class after the other, as long as it helps (iterated greedy).

    The columns of a class can keep one color, so that no round needs more colors; taken in another order of the
    classes, some find room in others.
    """
    rng = np.random.default_rng(0)
    bound, failures = lower_bound(pattern), 0
    while coloring.count > bound and failures < 4 and effort.allows(2 * pattern.nnz + pattern.shape[1]):
        ranks = np.arange(coloring.count)[::-1] if failures % 2 == 0 else rng.permutation(coloring.count)
        order = np.argsort(ranks[coloring.colors], kind="stable")
        method = coloring.method.removesuffix(", iterated") + ", iterated"
        again = Coloring.of(greedy(pattern, order.tolist()), method)
        failures = 0 if again.count < coloring.count else failures + 1
        coloring = again if again.count <= coloring.count else coloring
    return coloring


MOST_BITS = 1 << 31
"""The colors of all rows, as the bits of numbers, may take so many."""


def natural_coloring(pattern: Pattern) -> Coloring:
    """Return the greedy coloring in the order of the columns; a color for each if a large row leaves little else."""
    if lower_bound(pattern) * sum(pattern.shape) > MOST_BITS:
        return Coloring.of(np.arange(pattern.shape[1]), "a color for each column")
    return Coloring.of(greedy(pattern, range(pattern.shape[1])), "greedy, natural order")


def improved(pattern: Pattern, coloring: Coloring, effort: Effort) -> Coloring:
    """Return a coloring, or a better greedy one over the orders of the columns that the effort allows."""
    bound, edges = lower_bound(pattern), 2 * pattern.nnz + pattern.shape[1]
    if bound * sum(pattern.shape) > MOST_BITS:
        return coloring
    pairs = int(np.square(np.diff(pattern.indptr).astype(float)).sum())
    conflicts = conflict_graph(pattern) if coloring.count > bound and effort.allows(pairs) else None
    for name, vertex_order in ORDERS.items():
        if conflicts is None or name == "natural" or coloring.count == bound:
            continue
        if effort.allows(edges + 3 * conflicts.nnz):
            order = vertex_order(conflicts.indptr, conflicts.indices)
            coloring = best([coloring, Coloring.of(greedy(pattern, order.tolist()), f"greedy, {name} order")])
    return recolored(pattern, coloring, effort)


def conflict_graph(pattern: Pattern) -> Pattern:
    """Return the graph of columns that some row has both of."""
    structure = pattern.astype(np.int32)
    conflicts = (structure.T @ structure).tocsr()
    conflicts.setdiag(0)
    conflicts.eliminate_zeros()
    return conflicts
