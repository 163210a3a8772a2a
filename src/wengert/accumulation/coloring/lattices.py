"""Lattice colorings: stencils on a grid, colored by where a point stands.

Where the pattern is the same at each point of a grid, points that differ by an element of a *sublattice* of the grid
can share a color: a stripe, a checkerboard, every third of every second row.  All sublattices of an index k (that is,
with k colors) are written as Hermite normal forms, so that the smallest k for a stencil is searched to the end.  The
grid is read from the pattern itself, and what comes out is checked on all of it: a pattern that is no stencil, or
whose edges differ, has no lattice coloring and costs little.

>>> [bases.tolist() for bases in sublattices(2, 2)]
[[[[1, 0], [0, 2]], [[1, 1], [0, 2]]], [[[2, 0], [0, 1]]]]
>>> from scipy.sparse import diags_array
>>> five_points = diags_array([1.0] * 5, offsets=[-32, -1, 0, 1, 32], shape=(1024, 1024)).tocsr()
>>> lattice_coloring(five_points, 5)
Coloring(5 colors, lattice of a grid with strides 1)
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from wengert.accumulation.coloring.distance2 import is_valid, lower_bound, rows_in_conflict
from wengert.accumulation.coloring.partition import Coloring, Effort, Pattern

Array = Any
Strides = tuple[int, ...]
MOST_ENTRIES, MOST_STEPS = 48, 400
"""A stencil has so many points at most, and so many steps between them."""
TRIED, TRIED_PER_ENTRY = 1 << 18, 64
"""So many steps are tried on sublattices, and so many more for each entry of the pattern."""
MOST_REFUSED = 32
"""So many colorings are checked on the whole pattern."""
MOST_AXES = 4
SAMPLE = 8192
"""So many pairs are read at first; those of rows that then show a conflict are added."""


def lattice_coloring(pattern: Pattern, most: int, shape: Sequence[int] = ()) -> Coloring | None:
    """Return the coloring of the columns by a sublattice with the fewest colors; None if it takes more than `most`.

    `shape` is that of the array whose elements the columns are, where it is known.
    """
    bound = lower_bound(pattern)
    if not 0 < bound <= min(most, MOST_ENTRIES):
        return None
    conflicts = Conflicts(pattern, _columns_of_a_row)

    def accepts(colors: Array) -> bool:
        if is_valid(pattern, colors):
            return True
        conflicts.add(rows_in_conflict(pattern, colors))
        return False

    return search(conflicts, accepts, bound, most, shape)


def lattice_coloring_of_graph(
    graph: Pattern, accepts: Callable[[Array], bool], bound: int, most: int, shape: Sequence[int] = ()
) -> Coloring | None:
    """Return the coloring by a sublattice with the fewest colors that separates neighbors and is accepted."""
    if lower_bound(graph) > MOST_ENTRIES:
        return None
    return search(Conflicts(graph, _neighbors_of_a_row), accepts, bound, most, shape)


def search(
    conflicts: Conflicts, accepts: Callable[[Array], bool], bound: int, most: int, shape: Sequence[int]
) -> Coloring | None:
    """Search the sublattices of all plausible grids for the fewest colors, `bound` to `most`, that are accepted.

    On the grid that the pattern was made on it takes the fewest steps: such grids come first.
    """
    chosen: Coloring | None = None
    effort = Effort(TRIED + TRIED_PER_ENTRY * conflicts.entries)
    grids = dict.fromkeys(_grids(conflicts.size, conflicts.differences(), shape))
    for strides in sorted(grids, key=lambda strides: len(conflicts.steps(strides))):
        coloring = _on_grid(conflicts, accepts, strides, bound, most, effort)
        if coloring is not None:
            chosen, most = coloring, coloring.count - 1
            if most < bound:
                break
    return chosen


def sublattices(k: int, axes: int) -> Iterator[Array]:
    """Yield the sublattices of index k of the grid of so many axes, those of one diagonal together.

    A sublattice is given by the rows of an upper triangular basis.
    """
    for diagonal in _factorizations(k, axes):
        above = [(i, j) for i in range(axes) for j in range(i + 1, axes)]
        sizes = [diagonal[j] for _, j in above]
        entries = np.indices(sizes).reshape(len(above), math.prod(sizes))
        bases = np.zeros((math.prod(sizes), axes, axes), np.intp)
        bases[:, range(axes), range(axes)] = diagonal
        for cell, column in zip(above, entries, strict=True):
            bases[:, *cell] = column
        yield bases


def remainders(points: Array, basis: Array) -> list[Array]:
    """Reduce points (one a row) by a sublattice, or each by several; return what is left along each axis.

    Points of equal remainders have equal colors.
    """
    left = [points[:, axis] for axis in range(points.shape[1])]
    for axis in range(len(left)):
        steps, left[axis] = np.divmod(left[axis], basis[..., axis, axis, None])
        for other in range(axis + 1, len(left)):
            left[other] = left[other] - steps * basis[..., axis, other, None]
    return left


def avoid(bases: Array, steps: Array) -> Array:
    """Return which sublattices have none of some steps as an element.

    >>> avoid(next(sublattices(2, 1)), np.array([[1]])), avoid(next(sublattices(2, 1)), np.array([[1], [2]]))
    (array([ True]), array([False]))
    """
    is_element = np.ones((len(bases), len(steps)), bool)
    for left in remainders(steps, bases):
        is_element &= left == 0
    return ~is_element.any(axis=1)


def coordinates(columns: Array, strides: Strides) -> Array:
    """Return where columns stand on a grid, one a row."""
    points = np.empty((columns.size, len(strides)), np.intp)
    for axis, stride in enumerate(strides):
        points[:, axis], columns = np.divmod(columns, stride)
    return points


class Conflicts:
    """Pairs of vertices that must not share a color: those of some rows, and of others as they are seen to matter.

    `pairs` returns the pairs that a row makes, of its number and its columns.
    """

    def __init__(self, pattern: Pattern, pairs: Callable[[int, Array], tuple[Array, Array]]) -> None:
        self._pattern, self._make, self.size = pattern, pairs, pattern.shape[1]
        self.entries = pattern.nnz
        self._first = self._second = np.empty(0, np.intp)
        self.add(np.arange(pattern.shape[0]))

    def add(self, rows: Array) -> None:
        """Add pairs of the first of some rows, of the last and of others in between."""
        third = max(8, SAMPLE // (3 * max(1, lower_bound(self._pattern) ** 2)))
        if rows.size > 3 * third:
            rows = np.concatenate([rows[:third], rows[third : -third : rows.size // third], rows[-third:]])
        pattern = self._pattern
        first, second = [self._first], [self._second]
        for row in rows.tolist():
            a, b = self._make(row, pattern.indices[pattern.indptr[row] : pattern.indptr[row + 1]])
            first.append(a)
            second.append(b)
        self._first, self._second = np.concatenate(first), np.concatenate(second)

    def differences(self) -> list[int]:
        """Return how far apart the vertices of a pair are."""
        return np.unique(np.abs(self._first - self._second)).tolist()  # type: ignore[no-any-return]

    def steps(self, strides: Strides) -> Array:
        """Return the steps on the grid from one vertex of a pair to the other."""
        steps = coordinates(self._first, strides) - coordinates(self._second, strides)
        numbers = np.zeros(len(steps), np.intp)
        for along in steps.T:
            low = along.min(initial=0)
            numbers = numbers * (along.max(initial=0) - low + 1) + along - low
        return steps[np.unique(numbers, return_index=True)[1]]


def _columns_of_a_row(row: int, columns: Array) -> tuple[Array, Array]:
    first, second = _pairs(columns.size)
    return columns[first], columns[second]


def _neighbors_of_a_row(row: int, columns: Array) -> tuple[Array, Array]:
    return np.full(columns.size, row), columns


@functools.cache
def _pairs(size: int) -> tuple[Array, Array]:
    """Return the pairs of so many numbers, the larger first."""
    return np.tril_indices(size, -1)


def _on_grid(
    conflicts: Conflicts, accepts: Callable[[Array], bool], strides: Strides, bound: int, most: int, effort: Effort
) -> Coloring | None:
    """Search the sublattices of one grid for the fewest colors, adding conflicts until there is none."""
    points, refused = None, 0
    steps = conflicts.steps(strides)
    for k in range(bound, most + 1):
        for bases in sublattices(k, len(strides)):
            if len(steps) > MOST_STEPS or not effort.allows(len(bases) * len(steps)):
                return None
            while len(bases := bases[avoid(bases, steps)]):
                if points is None:
                    points = coordinates(np.arange(conflicts.size), strides)
                colors = _numbered(remainders(points, bases[0]), bases[0])
                if accepts(colors):
                    return Coloring.of(colors, f"lattice of a grid with strides {', '.join(map(str, strides))}")
                bases, steps, refused = bases[1:], conflicts.steps(strides), refused + 1
                if refused > MOST_REFUSED:
                    return None
    return None


def _numbered(left: Sequence[Array], basis: Array) -> Array:
    """Number remainders from 0 on."""
    colors = left[0]
    for axis in range(1, len(left)):
        colors = colors * basis[axis, axis] + left[axis]
    return colors


def _grids(n: int, differences: Sequence[int], shape: Sequence[int]) -> Iterator[Strides]:
    """Yield the strides of the grids that the columns may stand on: the last is 1, and each divides the one before.

    A stride is a difference of columns of a row that divides their number, or the middle of a run of such differences.
    """
    if shape:
        strides = [int(np.prod(shape[axis + 1 :])) for axis in range(len(shape))]
        yield tuple(s for k, s in enumerate(strides) if s > 1 and strides[k] != strides[k - 1]) + (1,)
    runs = _runs(differences)
    plausible = {d for run in runs for d in run if d > 2 and n % d == 0}
    plausible |= {run[len(run) // 2] for run in runs if run[0] > 2}
    plausible |= {2} if n % 2 == 0 and 2 in differences else set()
    strides = sorted(plausible)[:12]
    yield (1,)
    for length in range(1, MOST_AXES):
        for chain in itertools.combinations(reversed(strides), length):
            if all(a % b == 0 for a, b in itertools.pairwise(chain)):
                yield (*chain, 1)


def _runs(numbers: Sequence[int]) -> list[list[int]]:
    """Split sorted numbers where one is missing."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return runs


def _factorizations(k: int, factors: int) -> Iterator[tuple[int, ...]]:
    """Yield the ways to write k as a product of so many factors, in order."""
    if factors == 1:
        yield (k,)
        return
    for first in range(1, k + 1):
        if k % first == 0:
            for rest in _factorizations(k // first, factors - 1):
                yield (first, *rest)
