"""Compressed accumulation: a sparse Jacobian from a few passes, one for each color.

Columns of one color are pushed through the graph together, by a seed that is their sum; rows are pulled back together.
A `Compression` says which share a pass, and where each entry is read in what the passes yield.  In a symmetric matrix
an entry is read in either of its two places, or solved for (see `coloring`).

>>> import numpy as np, wengert as wg
>>> from wengert.accumulation.coloring import structure_of
>>> from wengert.linearization import Linearization
>>> x = np.array([0.0, 1.0, 3.0, 6.0])
>>> linearization = Linearization.of_program(wg.trace(lambda x: (x[1:] - x[:-1]) ** 2)(x), x)
>>> compression = by_columns(structure_of(np.array([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]])))
>>> print(compression, compression.evaluate(linearization).toarray(), sep=chr(10))
column-compressed: 2 forward passes
[[-2.  2.  0.  0.]
 [ 0. -4.  4.  0.]
 [ 0.  0. -6.  6.]]
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wengert.accumulation.coloring import (
    Coloring,
    Pattern,
    color_columns,
    color_rows,
    color_rows_and_columns,
    color_symmetric,
)
from wengert.accumulation.coloring.bicoloring import alone_in_row
from wengert.accumulation.coloring.partition import row_numbers
from wengert.accumulation.coloring.symmetric import neighbors_of, two_colored_subgraphs
from wengert.accumulation.dense import seeds_in_a_block
from wengert.accumulation.sweeps import forward, reverse
from wengert.linearization import Linearization, by_position

Array = Any
Passes = Callable[[Linearization, Coloring], Iterator[tuple[int, Array]]]
"""Yields the products of all colors: the number of a color, and a block of them from there on, one a row."""


class Compression:
    """Which columns and rows share a pass, and where the entries of the matrix are read.

    Attributes
    ----------
    name
        What the planner calls it: ``"column-compressed"``.
    pattern
        The pattern that it is for.
    columns, rows
        The colors of forward and of reverse passes; None where there are no such passes.
    """

    def __init__(
        self,
        name: str,
        pattern: Pattern,
        columns: Coloring | None,
        rows: Coloring | None,
        readings: Sequence[Reading],
        substitution: Substitution | None = None,
    ) -> None:
        self.name, self.pattern, self.columns, self.rows = name, pattern, columns, rows
        self._readings, self._substitution = readings, substitution

    @property
    def forward_passes(self) -> int:
        """The number of forward passes."""
        return self.columns.count if self.columns else 0

    @property
    def reverse_passes(self) -> int:
        """The number of reverse passes."""
        return self.rows.count if self.rows else 0

    @property
    def passes(self) -> int:
        """The number of passes."""
        return self.forward_passes + self.reverse_passes

    def __str__(self) -> str:
        kinds = [(self.forward_passes, "forward"), (self.reverse_passes, "reverse")]
        passes = [f"{count:,} {kind} pass{'es' * (count != 1)}" for count, kind in kinds if count]
        return f"{self.name}: {' and '.join(passes) or 'no pass'}"

    def evaluate(self, linearization: Linearization) -> Any:
        """Return the Jacobian of all dependent variables by all independent ones as a SciPy CSR array."""
        from scipy import sparse

        data = self._entries(linearization)
        pattern = self.pattern
        return sparse.csr_array((data, pattern.indices.copy(), pattern.indptr.copy()), shape=pattern.shape)

    def _entries(self, linearization: Linearization) -> Array:
        dtype = np.result_type(*[value.dtype for value in linearization.values])
        parts = []
        for reading, coloring, blocks in zip(
            self._readings, [c for c in (self.columns, self.rows) if c], self._sweeps(), strict=True
        ):
            values = np.empty(reading.places.size, dtype)
            for start, block in blocks(linearization, coloring):
                reading.read(start, block, values)
            parts.append((reading, values))
        if self._substitution is not None:
            ((_, values),) = parts
            if np.all(np.isfinite(values)):
                return self._substitution.solve(values)
            return self.direct()._entries(linearization)  # an infinity would spread over its whole tree
        if len(parts) == 1:
            return parts[0][1]
        data = np.empty(self.pattern.nnz, dtype)
        for reading, values in parts:
            data[reading.entries] = values
        return data

    def _sweeps(self) -> Sequence[Passes]:
        return [push_colors] * (self.columns is not None) + [pull_colors] * (self.rows is not None)

    @functools.cache  # noqa: B019 - a compression lives as long as its pattern is remembered
    def direct(self) -> Compression:
        """Return the compression of the same symmetric matrix by which all entries are read, and none is solved for."""
        return star(self.pattern)


class Reading:
    """Where some entries of a matrix are read: the pass, and the element of what it yields.

    Attributes
    ----------
    entries
        The numbers of the entries.
    places
        For each the number of its place in the matrix of all products, one pass a row.
    """

    def __init__(self, entries: Array, passes: Array, elements: Array, size: int) -> None:
        self.entries = entries
        self.places = passes.astype(np.intp) * size + elements
        self._size = size
        self._by_place: Array | None = None

    def read(self, start: int, block: Array, values: Array) -> None:
        """Put what a block of products, from one pass on, has of the entries in their place among the values."""
        first, last = start * self._size, (start + len(block)) * self._size
        if first == 0 and self.places.max(initial=0) < last:
            np.take(block.reshape(-1), self.places, out=values, mode="clip")
            return
        if self._by_place is None:
            self._by_place = np.argsort(self.places, kind="stable")
        begin, end = np.searchsorted(self.places, (first, last), sorter=self._by_place)
        numbers = self._by_place[begin:end]
        values[numbers] = block.reshape(-1)[self.places[numbers] - first]


# ---- The passes ----


def push_colors(linearization: Linearization, coloring: Coloring) -> Iterator[tuple[int, Array]]:
    """Push the columns of each color through the graph; yield blocks of products with the Jacobian, one a row."""
    most, outputs = seeds_in_a_block(linearization), linearization.outputs
    graph = linearization.active()
    for start, seeds in _blocks(coloring, linearization.inputs, most):
        tangents = forward(graph, dict(enumerate(seeds)), batch=1)
        dots = [tangents[position] if position >= 0 else None for position in outputs]
        yield start, _side_by_side(dots, linearization.values, len(seeds[0]))


def pull_colors(linearization: Linearization, coloring: Coloring) -> Iterator[tuple[int, Array]]:
    """Pull the rows of each color back; yield blocks of products with the transposed Jacobian, one a row."""
    most = seeds_in_a_block(linearization)
    for start, seeds in _blocks(coloring, linearization.values, most):
        bars = reverse(linearization, by_position(linearization.outputs, seeds), batch=1)
        yield start, _side_by_side(bars, linearization.inputs, len(seeds[0]))


def _blocks(coloring: Coloring, values: Sequence[Any], most: int) -> Iterator[tuple[int, list[Array]]]:
    """Yield the seeds of all colors, in blocks of at most so many: for each array ones where a color is."""
    for start in range(0, coloring.count, most):
        count, offset = min(most, coloring.count - start), 0
        seeds = []
        for value in values:
            colors = coloring.colors[offset : offset + value.size] - start
            offset += value.size
            block = np.zeros((count, value.size), value.dtype)
            elements = np.flatnonzero((colors >= 0) & (colors < count))
            block[colors[elements], elements] = 1
            seeds.append(block.reshape((count, *value.shape)))
        yield start, seeds


def _side_by_side(derivatives: Sequence[Array | None], values: Sequence[Any], count: int) -> Array:
    """Join a block of derivatives for each of some arrays (None for zeros) to one whose rows are the passes."""
    dtype = np.result_type(*[value.dtype for value in values])
    rows = [
        np.zeros((count, value.size), dtype) if derivative is None else derivative.reshape(count, value.size)
        for derivative, value in zip(derivatives, values, strict=True)
    ]
    return rows[0] if len(rows) == 1 else np.concatenate(rows, axis=1)


# ---- Compressions ----


def by_columns(pattern: Pattern, shape: Sequence[int] = ()) -> Compression:
    """Compress by columns; `shape` is that of the independent variables, where they are one array."""
    coloring = color_columns(pattern, shape)
    reading = Reading(np.arange(pattern.nnz), coloring.colors[pattern.indices], row_numbers(pattern), pattern.shape[0])
    return Compression("column-compressed", pattern, coloring, None, [reading])


def by_rows(pattern: Pattern, shape: Sequence[int] = ()) -> Compression:
    """Compress by rows; `shape` is that of the dependent variables, where they are one array."""
    coloring = color_rows(pattern, shape)
    reading = Reading(np.arange(pattern.nnz), coloring.colors[row_numbers(pattern)], pattern.indices, pattern.shape[1])
    return Compression("row-compressed", pattern, None, coloring, [reading])


def by_rows_and_columns(pattern: Pattern) -> Compression:
    """Compress by columns what dense rows leave, or by rows what dense columns leave."""
    columns, rows = color_rows_and_columns(pattern)
    numbers = row_numbers(pattern)
    from_columns = alone_in_row(pattern, columns.colors)
    m, n = pattern.shape
    readings = []
    if columns.count:
        entries = np.flatnonzero(from_columns)
        readings.append(Reading(entries, columns.colors[pattern.indices[entries]], numbers[entries], m))
    if rows.count:
        entries = np.flatnonzero(~from_columns)
        readings.append(Reading(entries, rows.colors[numbers[entries]], pattern.indices[entries], n))
    return Compression(
        "bicompressed", pattern, columns if columns.count else None, rows if rows.count else None, readings
    )


def star(pattern: Pattern, shape: Sequence[int] = ()) -> Compression:
    """Compress a symmetric pattern by a star coloring."""
    coloring = color_symmetric(pattern, "star", shape)
    colors, rows = coloring.colors, row_numbers(pattern)
    is_alone = alone_in_row(pattern, colors)
    passes = np.where(is_alone, colors[pattern.indices], colors[rows])
    elements = np.where(is_alone, rows, pattern.indices)
    reading = Reading(np.arange(pattern.nnz), passes, elements, pattern.shape[0])
    return Compression("star-compressed", pattern, coloring, None, [reading])


def acyclic(pattern: Pattern, shape: Sequence[int] = ()) -> Compression:
    """Compress a symmetric pattern by an acyclic coloring."""
    coloring = color_symmetric(pattern, "acyclic", shape)
    substitution = Substitution.of(pattern, coloring)
    reading = Reading(np.arange(substitution.passes.size), substitution.passes, substitution.elements, pattern.shape[0])
    return Compression("acyclic-compressed", pattern, coloring, None, [reading], substitution)


@dataclass(frozen=True, eq=False)
class Substitution:
    """How the entries of a symmetric matrix are solved for: from the leaves of trees to their roots.

    The entries between two colors are the edges of trees.  A product with the columns of a color has, at a vertex, the
    sum of its edges to them; so the edge that leads up is this sum without the edges that lead down, and the edges of
    all trees solve a triangular system.

    Attributes
    ----------
    passes, elements
        What is read of the products: the sums at the vertices of the trees, parents first, and the diagonal.
    system
        The triangular system.
    sources
        For each entry of the matrix its number among the solutions, after which the diagonal comes.
    """

    passes: Array
    elements: Array
    system: Any
    sources: Array

    @classmethod
    def of(cls, pattern: Pattern, coloring: Coloring) -> Substitution:
        """Return the substitution for an acyclic coloring."""
        from scipy import sparse

        graph, colors = neighbors_of(pattern), coloring.colors
        count, rows = max(coloring.count, 1), row_numbers(pattern)
        here, there = two_colored_subgraphs(graph, colors)
        nodes, numbers = np.unique(here, return_inverse=True)
        ends = np.searchsorted(nodes, there)
        order, parents = _rooted(numbers, ends, nodes.size)
        ranks = np.empty(nodes.size, np.intp)
        ranks[order] = np.arange(nodes.size)
        below = np.flatnonzero(parents < nodes.size)
        size = nodes.size
        system = sparse.csr_array(
            (np.ones(below.size), (ranks[parents[below]], ranks[below])), shape=(size, size)
        ) + sparse.eye_array(size)
        is_diagonal = rows == pattern.indices
        sources = np.empty(pattern.nnz, np.intp)
        sources[~is_diagonal] = ranks[np.where(parents[ends] == numbers, ends, numbers)]
        diagonal = rows[is_diagonal]
        sources[is_diagonal] = size + np.arange(diagonal.size)
        passes = np.concatenate([nodes[order] % count, colors[diagonal]])
        elements = np.concatenate([nodes[order] // count, diagonal])
        return cls(passes, elements, sparse.csc_array(system), sources)

    def solve(self, values: Array) -> Array:
        """Return the entries of the matrix, of what was read."""
        from scipy.sparse.linalg import spsolve_triangular

        size = self.system.shape[0]
        if size:
            values[:size] = spsolve_triangular(self.system, values[:size], lower=False, unit_diagonal=True)
        return values[self.sources]


def _rooted(numbers: Array, ends: Array, size: int) -> tuple[Array, Array]:
    """Return the nodes of a forest, each after its parent, and the parent of each: `size` for a root."""
    from scipy import sparse
    from scipy.sparse.csgraph import breadth_first_order, connected_components

    forest = sparse.coo_array((np.ones(ends.size, np.int8), (numbers, ends)), shape=(size + 1, size + 1))
    _, trees = connected_components(forest, directed=False)
    roots = np.unique(trees[:size], return_index=True)[1]
    rows, columns = np.concatenate([numbers, np.full(roots.size, size)]), np.concatenate([ends, roots])
    joined = sparse.csr_array((np.ones(rows.size, np.int8), (rows, columns)), shape=(size + 1, size + 1))
    order, parents = breadth_first_order(joined, size, directed=False)
    return order[1:], parents[:size]
