"""Some entries from forward passes and the others from reverse ones: colors for columns *and* rows.

A dense row gives all columns different colors, a dense column all rows.  Where a matrix has both, its dense rows are
read from reverse passes, and the columns are colored for the other rows alone.  An entry can be read where it stands
alone: in its row among the columns of its color, or in its column among the rows of its color
(Gebremedhin, Manne and Pothen 2005, star bicoloring).

>>> import numpy as np
>>> from scipy.sparse import csr_array
>>> arrowhead = np.eye(6, dtype=bool)
>>> arrowhead[0] = arrowhead[:, 0] = True
>>> columns, rows = bicoloring(csr_array(arrowhead), Effort(1000))
>>> columns.count + rows.count, is_valid(csr_array(arrowhead), columns.colors, rows.colors)
(3, True)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.accumulation.coloring import distance2
from wengert.accumulation.coloring.partition import Coloring, Effort, Pattern, row_numbers

Array = Any
MOST_SPLITS = 6
"""The most sets of dense rows that are tried, and of dense columns."""


def bicoloring(pattern: Pattern, effort: Effort) -> tuple[Coloring, Coloring]:
    """Return colorings of the columns and of the rows from which each entry can be read, of few colors together.

    Both ways are tried: dense rows from reverse passes and all else from forward ones, and dense columns from forward
    passes and all else from reverse ones.
    """
    columns, rows = _with_dense_rows(pattern, effort)
    other_rows, other_columns = _with_dense_rows(pattern.T.tocsr(), effort)
    if other_columns.count + other_rows.count < columns.count + rows.count:
        return other_columns, other_rows
    return columns, rows


def alone_in_row(pattern: Pattern, colors: Array) -> Array:
    """Return which stored entries stand alone in their row among the columns of their color (-1 is none)."""
    return _alone(row_numbers(pattern), colors[pattern.indices], pattern.shape[0])


def alone_in_column(pattern: Pattern, colors: Array) -> Array:
    """Return which stored entries stand alone in their column among the rows of their color (-1 is none)."""
    return _alone(pattern.indices.astype(np.intp), colors[row_numbers(pattern)], pattern.shape[1])


def _alone(lines: Array, colors: Array, size: int) -> Array:
    """Return which entries have a color that no other of their line has, of so many lines; -1 is no color."""
    count = int(colors.max(initial=-1)) + 1
    cells = lines * count + colors
    counts = np.bincount(cells[colors >= 0], minlength=size * count + 1)
    return (colors >= 0) & (counts[np.maximum(cells, 0)] == 1)


def is_valid(pattern: Pattern, columns: Array, rows: Array) -> bool:
    """Return whether each entry can be read."""
    return bool(np.all(alone_in_row(pattern, columns) | alone_in_column(pattern, rows)))


def _with_dense_rows(pattern: Pattern, effort: Effort) -> tuple[Coloring, Coloring]:
    """Return the best colorings of columns and rows where the fullest rows are left to the colors of rows."""
    sizes = np.diff(pattern.indptr)
    first, *others = _splits(sizes)
    best = _color(pattern, sizes > first, effort)
    for most in others:
        if most < _total(best) and effort.allows(6 * pattern.nnz + sum(pattern.shape)):
            best = min(best, _color(pattern, sizes > most, effort), key=_total)
    return best


def _total(colorings: tuple[Coloring, Coloring]) -> int:
    return colorings[0].count + colorings[1].count


def _splits(sizes: Array) -> list[int]:
    """Return the most entries that a row read from forward passes may have: those that promise few colors."""
    values, counts = np.unique(sizes if sizes.size else [0], return_counts=True)
    fuller = counts[::-1].cumsum()[::-1] - counts
    return values[np.argsort(values + fuller, kind="stable")][:MOST_SPLITS].tolist()  # type: ignore[no-any-return]


def _color(pattern: Pattern, is_dense: Array, effort: Effort) -> tuple[Coloring, Coloring]:
    """Color the columns for all rows but the dense ones, and the dense rows for what the columns leave unread."""
    n = pattern.shape[1]
    kept = ~is_dense[row_numbers(pattern)]
    others = _entries(pattern, kept)
    used = np.bincount(others.indices, minlength=n) > 0
    columns = distance2.improved(others, distance2.natural_coloring(others), effort)
    colors = np.where(used, columns.colors, -1)
    rows = _color_rows(pattern, np.flatnonzero(is_dense), ~alone_in_row(pattern, colors))
    return Coloring.of(colors, f"{columns.method}, without dense rows"), Coloring.of(rows, "greedy, dense rows")


def _entries(pattern: Pattern, kept: Array) -> Pattern:
    """Return a pattern of some of the entries."""
    from scipy import sparse

    counts = np.bincount(row_numbers(pattern)[kept], minlength=pattern.shape[0])
    indptr = np.concatenate([[0], np.cumsum(counts)])
    indices = pattern.indices[kept]
    return sparse.csr_array((np.ones(indices.size, bool), indices, indptr), shape=pattern.shape)


def _color_rows(pattern: Pattern, rows: Array, unread: Array) -> Array:
    """Give each row in turn the smallest color in which its unread entries, and those of others, stand alone."""
    colors = np.full(pattern.shape[0], -1, np.intp)
    occupied: list[Array] = []
    needed: list[Array] = []
    for row in rows.tolist():
        entries = slice(pattern.indptr[row], pattern.indptr[row + 1])
        columns, its_unread = pattern.indices[entries], unread[entries]
        if not its_unread.any():
            continue
        for color in range(len(occupied) + 1):
            if color == len(occupied):
                occupied.append(np.zeros(pattern.shape[1], bool))
                needed.append(np.zeros(pattern.shape[1], bool))
            if not (occupied[color][columns[its_unread]].any() or needed[color][columns].any()):
                break
        occupied[color][columns] = True
        needed[color][columns[its_unread]] = True
        colors[row] = color
    return colors
