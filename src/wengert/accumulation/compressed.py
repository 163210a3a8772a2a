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
import warnings
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
    structure_of,
)
from wengert.accumulation.coloring.bicoloring import alone_in_row
from wengert.accumulation.coloring.partition import row_numbers
from wengert.accumulation.coloring.symmetric import neighbors_of, two_colored_subgraphs
from wengert.accumulation.dense import BLOCK_BYTES, dense_bytes, dtype_of_jacobian, seeds_in_a_block, shared_by_blocks
from wengert.accumulation.preaccumulation import accumulate_preaccumulated
from wengert.accumulation.sweeps import forward, reverse
from wengert.drawing import WIDTH, Drawing
from wengert.errors import CompressionWarning, Location, PatternError, ShapeError, caller, explain_at
from wengert.executors import Executor, run_blocks
from wengert.jacobians import assemble
from wengert.linearization import Linearization, by_position, last_uses
from wengert.memory import in_bytes
from wengert.tracing import innermost
from wengert.trees import flatten

Array = Any
Passes = Iterator[tuple[int, Array]]
"""The products of all colors: the number of a color, and a block of them from there on, one a row."""


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

    @property
    def substitutes(self) -> bool:
        """Whether entries are solved for, not read."""
        return self._substitution is not None

    def __str__(self) -> str:
        kinds = [(self.forward_passes, "forward"), (self.reverse_passes, "reverse")]
        passes = [f"{count:,} {kind} pass{'es' * (count != 1)}" for count, kind in kinds if count]
        return f"{self.name}: {' and '.join(passes) or 'no pass'}"

    @property
    def passes_of_entries(self) -> Array:
        """The number of the pass that each entry is read in (solved for: of its column); reverse ones come last."""
        if self.columns is not None and self._substitution is not None:
            return self.columns.colors[self.pattern.indices]
        passes, first = np.full(self.pattern.nnz, -1), 0
        for reading, coloring in zip(self._readings, filter(None, (self.columns, self.rows)), strict=True):
            passes[reading.entries] = first + reading.passes
            first += coloring.count
        return passes

    def drawing(self, width: int = WIDTH) -> Drawing:
        """Return a drawing of the pattern in which the entries that are read in one pass have one color.

        >>> arrow = structure_of(np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1]]))
        >>> star(arrow).drawing().colors.tolist()
        [0, 0, 0, 0, 0, 1, 0, 1, 0, 1]
        """
        pattern = self.pattern
        return Drawing(pattern.shape, row_numbers(pattern), pattern.indices, self.passes_of_entries, str(self), width)

    def evaluate(self, linearization: Linearization, executor: Executor | None = None) -> Any:
        """Return the Jacobian of all dependent variables by all independent ones as a SciPy CSR array."""
        from scipy import sparse

        pattern = self.pattern
        ((entries,),) = accumulate_preaccumulated(
            linearization, self.passes, lambda graph: [[self._entries(graph, executor)]]
        )
        return sparse.csr_array((entries, pattern.indices.copy(), pattern.indptr.copy()), shape=pattern.shape)

    def _entries(self, linearization: Linearization, executor: Executor | None) -> Array:
        runs = self._run(linearization, executor)
        parts = [reading.read(passes) for reading, passes in zip(self._readings, runs, strict=True)]
        if self._substitution is not None:
            (sums,) = parts
            if type(sums) is np.ndarray and np.all(np.isfinite(sums)):
                return self._substitution.solve(sums)
            return self.direct._entries(linearization, executor)  # an infinity would spread over its whole tree
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return np.zeros(0)
        return np.concatenate(parts)[np.argsort(np.concatenate([reading.entries for reading in self._readings]))]

    def _run(self, linearization: Linearization, executor: Executor | None) -> list[Passes]:
        passes = []
        if self.columns is not None:
            passes.append(push_colors(linearization, self.columns, executor))
        if self.rows is not None:
            passes.append(pull_colors(linearization, self.rows, executor))
        return passes

    @functools.cached_property
    def direct(self) -> Compression:
        """The compression of the same symmetric matrix by which all entries are read, and none is solved for."""
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
        self.entries, self._size = entries, size
        self.places = passes.astype(np.intp) * size + elements
        self._last = int(self.places.max(initial=0))
        self._by_place: Array | None = None

    @property
    def passes(self) -> Array:
        """The number of the pass for each entry."""
        return self.places // self._size

    def read(self, passes: Passes) -> Array:
        """Return what all passes have in the places of the entries."""
        values: Array | None = None
        for first, block in passes:
            start, flat = first * self._size, block.reshape(-1)
            if start == 0 and (type(block) is not np.ndarray or self._last * block.itemsize < BLOCK_BYTES):
                blocks = [flat, *[more.reshape(-1) for _, more in passes]]
                return (flat if len(blocks) == 1 else np.concatenate(blocks))[self.places]
            values = np.empty(self.places.size, block.dtype) if values is None else values
            if self._by_place is None:
                self._by_place = np.argsort(self.places, kind="stable")
            begin, end = np.searchsorted(self.places, (start, start + flat.size), sorter=self._by_place)
            numbers = self._by_place[begin:end]
            values[numbers] = flat[self.places[numbers] - start]
        return np.zeros(self.places.size) if values is None else values


# ---- The passes ----


def push_colors(linearization: Linearization, coloring: Coloring, executor: Executor | None = None) -> Passes:
    """Push the columns of each color through the graph; yield blocks of products with the Jacobian, one a row."""
    return _sweep_colors(push_block, linearization, coloring, executor)


def pull_colors(linearization: Linearization, coloring: Coloring, executor: Executor | None = None) -> Passes:
    """Pull the rows of each color back; yield blocks of products with the transposed Jacobian, one a row."""
    return _sweep_colors(pull_block, linearization, coloring, executor)


def _sweep_colors(
    sweep: Callable[[Any, range], Array], linearization: Linearization, coloring: Coloring, executor: Executor | None
) -> Passes:
    most, count = seeds_at_once(linearization), coloring.count
    blocks = [range(start, min(start + most, count)) for start in range(0, count, most)]
    swept = run_blocks(executor, sweep, shared_by_blocks(linearization, coloring.colors), blocks)
    for block, products in zip(blocks, swept, strict=True):
        yield block.start, products


def push_block(shared: tuple[Linearization, Array], block: range) -> Array:
    """Push the columns of some colors through the graph."""
    linearization, colors = shared
    graph, outputs = linearization.active(), linearization.outputs
    if graph.last_uses is None:
        graph.last_uses = last_uses(graph.rows, outputs)
    seeds = _seeds(colors, linearization.inputs, block)
    tangents = forward(graph, dict(enumerate(seeds)), batch=1)
    dots = [tangents[position] if position >= 0 else None for position in outputs]
    return _side_by_side(dots, linearization.values, len(block))


def pull_block(shared: tuple[Linearization, Array], block: range) -> Array:
    """Pull the rows of some colors back."""
    linearization, colors = shared
    seeds = _seeds(colors, linearization.values, block)
    bars = reverse(linearization, by_position(linearization.outputs, seeds), batch=1)
    return _side_by_side(bars, linearization.inputs, len(block))


CACHED_BYTES = 1 << 22
"""Of a tangent or adjoint of all seeds in a block, so much at most where it is more than one seed: it stays cached."""


def seeds_at_once(linearization: Linearization) -> int:
    """Return how many seeds travel through a linearization at once."""
    largest = max((y.nbytes for y in [*linearization.inputs, *linearization.values]), default=1)
    return min(seeds_in_a_block(linearization), max(1, CACHED_BYTES // max(1, largest)))


def _seeds(colors: Array, values: Sequence[Any], block: range) -> list[Array]:
    """Return the seeds of some colors: for each array ones where a color is."""
    seeds, offset = [], 0
    for value in values:
        ones = colors[offset : offset + value.size] == np.arange(block.start, block.stop)[:, None]
        offset += value.size
        seeds.append(ones.astype(value.dtype).reshape((len(block), *value.shape)))
    return seeds


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
        "bi-compressed", pattern, columns if columns.count else None, rows if rows.count else None, readings
    )


def star(pattern: Pattern, shape: Sequence[int] = ()) -> Compression:
    """Compress a symmetric pattern by a star coloring."""
    coloring = color_symmetric(pattern, "star", shape)
    colors, rows = coloring.colors, row_numbers(pattern)
    is_alone = alone_in_row(pattern, colors)
    passes = np.where(is_alone, colors[pattern.indices], colors[rows])
    elements = np.where(is_alone, rows, pattern.indices)
    reading = Reading(np.arange(pattern.nnz), passes, elements, pattern.shape[0])
    return Compression("star", pattern, coloring, None, [reading])


def acyclic(pattern: Pattern, shape: Sequence[int] = ()) -> Compression:
    """Compress a symmetric pattern by an acyclic coloring."""
    coloring = color_symmetric(pattern, "acyclic", shape)
    substitution = Substitution.of(pattern, coloring)
    reading = Reading(np.arange(substitution.passes.size), substitution.passes, substitution.elements, pattern.shape[0])
    return Compression("acyclic", pattern, coloring, None, [reading], substitution)


class Diagonal(Compression):
    """The compression of a symmetric matrix of which the diagonal alone is read.

    Variables whose entry off the diagonal is zero share a product, which takes fewer colors than to read all entries.
    `pattern` is None where each variable has a product of its own.

    >>> from scipy.sparse import diags_array
    >>> tridiagonal = structure_of(diags_array([1.0, 1.0, 1.0], offsets=[-1, 0, 1], shape=(9, 9)))
    >>> Diagonal.of(tridiagonal).passes, star(tridiagonal).passes
    (2, 3)
    """

    def __init__(self, pattern: Pattern | None, coloring: Coloring, variables: Array) -> None:
        size = coloring.colors.size
        reading = Reading(variables, coloring.colors[variables], variables, size)
        super().__init__("diagonal", pattern, coloring, None, [reading])
        self._places = np.full(size, variables.size)
        self._places[variables] = np.arange(variables.size)

    @classmethod
    def of(cls, pattern: Pattern, shape: Sequence[int] = ()) -> Diagonal:
        """Return the compression for a symmetric pattern; `shape` as for `star`."""
        n = pattern.shape[0]
        variables = np.flatnonzero(pattern.diagonal())
        if variables.size == n:
            return cls(pattern, color_symmetric(pattern, "proper", shape), variables)
        coloring = color_symmetric(structure_of(pattern[variables][:, variables]), "proper")
        colors = np.full(n, -1)
        colors[variables] = coloring.colors
        return cls(pattern, Coloring.of(colors, coloring.method), variables)

    @classmethod
    def one_by_one(cls, n: int) -> Diagonal:
        """Return the compression that takes a product for each of n variables."""
        return cls(None, Coloring.of(np.arange(n), "a color for each variable"), np.arange(n))

    @property
    def passes_of_entries(self) -> Array:
        """The number of the pass that each entry of the diagonal is read in, -1 for all others."""
        assert self.columns is not None
        rows = row_numbers(self.pattern)
        return np.where(rows == self.pattern.indices, self.columns.colors[rows], -1)

    def evaluate(self, linearization: Linearization, executor: Executor | None = None) -> Array:
        """Return the diagonal as an array of one axis."""
        entries = self._entries(linearization, executor)
        return np.concatenate([entries, np.zeros(1, entries.dtype)])[self._places]


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


# ---- A pattern that was given ----


def joined(pattern: Any, linearization: Linearization, symmetric: bool = False) -> Pattern:
    """Return a pattern as one matrix, of all dependent variables by all independent ones.

    It is a SciPy sparse array or an array of two axes, or, where there are several arguments or results, a tree or
    nested sequence of them as the Jacobian is one of its blocks.  A symmetric one may have one triangle alone.
    """
    from scipy import sparse

    m, n = (_sizes(values) for values in (linearization.values, linearization.inputs))
    parts = [pattern] if hasattr(pattern, "shape") else flatten(pattern)[0]
    shapes = [tuple(getattr(part, "shape", ())) for part in parts]
    if shapes == [(a, b) for a in m for b in n]:
        rows = [parts[k : k + len(n)] for k in range(0, len(parts), len(n))]
        whole = parts[0] if len(parts) == 1 else sparse.block_array(rows, format="csr")
    elif shapes == [(sum(m), sum(n))]:
        whole = parts[0]
    else:
        blocks = f", in {len(m)} x {len(n)} blocks" if len(m) * len(n) > 1 else ""
        raise ShapeError.at_caller(
            f"the pattern has shape {', '.join(map(str, shapes)) or '()'}, and the Jacobian "
            f"{sum(m):,} rows and {sum(n):,} columns{blocks}:",
            "A row of the pattern is an element of the raveled result, a column one of the raveled argument.",
        )
    structure = structure_of(whole)
    return structure_of(structure + structure.T) if symmetric else structure


def split(jacobian: Any, linearization: Linearization) -> list[list[Any]]:
    """Return the blocks of a Jacobian: for each dependent variable a list, one for each independent one."""
    m, n = (_sizes(values) for values in (linearization.values, linearization.inputs))
    if len(m) == len(n) == 1:
        return [[jacobian]]
    tops, lefts = np.cumsum([0, *m]).tolist(), np.cumsum([0, *n]).tolist()
    return [
        [jacobian[top : top + height, left : left + width] for left, width in zip(lefts, n, strict=False)]
        for top, height in zip(tops, m, strict=False)
    ]


def _sizes(values: Sequence[Any]) -> list[int]:
    return [value.size for value in values]


def as_dense(jacobian: Any, linearization: Linearization) -> list[list[Any]]:
    """Return the blocks of a Jacobian as arrays, of the shape of the dependent variable and that of the independent."""
    return [
        [
            block.toarray().reshape(y.shape + x.shape).astype(dtype_of_jacobian(x, y), copy=False)
            for block, x in zip(row, linearization.inputs, strict=True)
        ]
        for row, y in zip(split(jacobian, linearization), linearization.values, strict=True)
    ]


def warn_if_dense(compression: Compression) -> None:
    """Warn if a compression takes as many passes as the dense matrix has rows or columns."""
    m, n = compression.pattern.shape
    if compression.passes < min(m, n) or min(m, n) < 2:
        return
    share = f"{100 * compression.pattern.nnz / (m * n):.3g} % of {m:,} x {n:,}"
    _warn(
        f"compression gains nothing: {compression.passes:,} passes for a Jacobian of {m:,} rows and {n:,} columns, "
        f"whose pattern has {compression.pattern.nnz:,} entries ({share}):",
        "Leave out sparse=True; or give a pattern, if it has fewer entries than wengert can know.",
    )


def warn_of_sparse_result(linearization: Linearization) -> None:
    """Warn that a Jacobian is a sparse matrix because the dense one does not fit the memory."""
    size = in_bytes(dense_bytes(linearization))
    _warn(
        f"the Jacobian is a sparse matrix, since as an array it would take {size}:",
        "Write sparse=True for a sparse matrix whatever the size, sparse=False for an array.",
    )


MANY = 256
"""So many products with a Hessian are worth a word."""


def warn_of_products(compression: Diagonal) -> None:
    """Warn if a diagonal takes as many products as there are variables, and these are many."""
    n = compression.passes
    if n < MANY or n < compression.columns.colors.size:  # type: ignore[union-attr]
        return
    _warn(
        f"the diagonal of the Hessian takes {n:,} products with it, one for each variable: every two may interact:",
        "For an estimate take the mean of v * wg.hvp(f)(x, v) over some v = rng.choice([-1.0, 1.0], x.shape), whose "
        "expectation it is. Write sparse=False for all products without a word.",
    )


def _warn(happened: str, instead: str) -> None:
    message = explain_at(place := caller(), happened, instead)
    location = Location.of(place)
    if location is None:
        warnings.warn(message, CompressionWarning, stacklevel=2)
    else:
        warnings.warn_explicit(message, CompressionWarning, location.file, location.line)


def check_entries(jacobian: Any, linearization: Linearization, is_given: bool = True) -> None:
    """Raise PatternError if a Jacobian that was compressed by a pattern has an entry outside of it."""
    missing = missing_entries(jacobian, linearization)
    if missing:
        row, _, _ = missing[0]
        entries = ", ".join(f"({row}, {column}) = {value:.6g}" for _, column, value in missing[:4])
        more = f" and {len(missing) - 4:,} more in this row" if len(missing) > 4 else ""
        which, instead = (
            ("given", "Add it to the pattern, or let wengert find one that holds for all inputs: sparse=True.")
            if is_given
            else ("that was found", "That is a fault of wengert's, please report it; a pattern of your own is taken.")
        )
        raise PatternError.at_caller(
            f"the pattern {which} lacks an entry of the Jacobian: {entries}{more} (row, column):", instead
        )


def missing_entries(jacobian: Any, linearization: Linearization) -> list[tuple[int, int, float]]:
    """Return entries that the pattern of an evaluated Jacobian lacks, with their values: those of one row.

    A product with a random direction differs where an entry is missing; the row is then pulled back.
    """
    from scipy import sparse

    rng = np.random.default_rng(0)
    direction = [rng.normal(size=x.shape).astype(x.dtype) for x in linearization.inputs]
    dots = forward(linearization.active(), dict(enumerate(direction)))
    ends = [None if position < 0 else dots[position] for position in linearization.outputs]
    product = np.concatenate([
        np.zeros(y.size) if dot is None else np.ravel(dot)
        for dot, y in zip(ends, linearization.values, strict=True)
    ])  # fmt: skip
    flat = np.concatenate([part.ravel() for part in direction])
    rows = row_numbers(jacobian)

    def sums(terms: Any) -> Any:
        return assemble([terms], [(rows,)], (jacobian.shape[0],))

    with np.errstate(all="ignore"):
        terms = jacobian.data * flat[jacobian.indices]
        tolerance = np.finfo(product.dtype).eps ** 0.75
        differs = abs(sums(terms) - product) > tolerance * (sums(abs(terms)) + abs(product))
    if not np.any(differs):  # a decision of the trace that runs, if there is one
        return []
    suspects = np.flatnonzero(innermost(differs))
    jacobian = sparse.csr_array((innermost(jacobian.data), jacobian.indices, jacobian.indptr), shape=jacobian.shape)
    for row in suspects[:8].tolist():
        entries = _row_of(linearization, row)
        listed = jacobian.indices[jacobian.indptr[row] : jacobian.indptr[row + 1]]
        lacking = np.setdiff1d(np.flatnonzero(entries), listed)
        large = lacking[np.abs(entries[lacking]) > tolerance * np.abs(entries).max()]
        if large.size:
            return [(row, int(column), float(entries[column].real)) for column in large]
    return []


def _row_of(linearization: Linearization, row: int) -> Array:
    """Return one row of the Jacobian, by a reverse pass."""
    color = Coloring.of(np.where(np.arange(sum(y.size for y in linearization.values)) == row, 0, -1), "one row")
    ((_, block),) = pull_colors(linearization, color)
    return innermost(block)[0]
