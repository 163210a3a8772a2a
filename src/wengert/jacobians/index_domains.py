"""Index domains (Griewank and Walther): for each element of a value, the independent variables that it may depend on.

Those of a result are the rows of the pattern of the Jacobian.  They are carried through a list of lines as a tangent
is: each structure *moves*, joins or adds up sets of variables (`LocalJacobian.carry`).  They have one of two forms, and
no Python object for an entry:

- an *index map*, a block of k integer arrays of the shape of the array: 1 + the number of a variable, and 0 for none.
  A map that moves elements moves an index map by its own push, and a sum of two arrays stacks their maps;
- *rows*, a SciPy CSR array of booleans with a row for each element, where many variables meet in an element.

>>> import numpy as np
>>> x = IndexDomains.identity((4,), 0, 4)
>>> slope = x.moved(lambda block: block[:, 1:], (3,)) | x.moved(lambda block: block[:, :-1], (3,))
>>> slope.columns.tolist()
[[2, 3, 4], [1, 2, 3]]
>>> slope.csr().toarray().astype(int)
array([[1, 1, 0, 0],
       [0, 1, 1, 0],
       [0, 0, 1, 1]])
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np

from wengert.memory import in_bytes, quarter_of_memory

if TYPE_CHECKING:  # SciPy's sparse arrays take longer to import than all of this package
    from scipy import sparse

Shape = tuple[int, ...]
Block = Any
BYTES = 9
"""What an entry takes, with a larger index type than most need."""
MOST = 32
"""The most arrays in an index map; where more variables meet in an element, there are rows."""

SAMPLE = 64
"""Of how many elements, about, the entries are counted to estimate those of all."""


class IndexDomains:
    """For each element of an array of `shape`, which of `width` variables it may depend on.

    Attributes
    ----------
    columns
        The index map, of shape ``(k, *shape)``; None if there are rows.
    rows
        The rows as a SciPy array; None if there is an index map.
    """

    __slots__ = ("columns", "rows", "shape", "width")

    def __init__(self, shape: Shape, width: int, columns: Any = None, rows: sparse.csr_array | None = None) -> None:
        self.shape, self.width, self.columns, self.rows = shape, width, columns, rows

    @classmethod
    def identity(cls, shape: Shape, start: int, width: int) -> IndexDomains:
        """Return the domains of the independent variables themselves, numbered from `start`."""
        size = math.prod(shape)
        return cls(shape, width, np.arange(start + 1, start + 1 + size, dtype=_integers(width)).reshape((1, *shape)))

    @property
    def size(self) -> int:
        """The number of elements of the array."""
        return math.prod(self.shape)

    @property
    def is_empty(self) -> bool:
        """True if no element depends on anything."""
        return not self.columns.any() if self.rows is None else not self.rows.nnz

    def estimated_entries(self) -> int:
        """Return about how many entries the rows have together, from some elements where counting takes long."""
        if self.rows is not None:
            return int(self.rows.nnz)
        flat = self.columns.reshape((len(self.columns), self.size))
        step = max(1, self.size // SAMPLE)
        sampled = flat[:, ::step]
        return step * sum([np.unique(column[column > 0]).size for column in sampled.T])

    def _unordered(self) -> sparse.csr_array:
        """Return the domains as a SciPy array of booleans, its columns in any order."""
        return self.csr() if self.rows is None else self.rows

    def csr(self) -> sparse.csr_array:
        """Return the domains as a SciPy array of booleans, a row for each element, columns in order."""
        if self.rows is not None:
            self.rows.sort_indices()
            return self.rows
        return _rows_of(self.columns.reshape((len(self.columns), self.size)), self.width)

    # -- What lines do --

    def moved(self, move: Callable[[Block], Block], shape: Shape) -> IndexDomains:
        """Return the domains of an array whose elements are elements of this one, or zeros.

        `move` does to each of a block of arrays what the line does: it is the push of its local Jacobian.
        """
        if self.rows is None:
            return IndexDomains(shape, self.width, _as_integers(move(self.columns), self.columns.dtype))
        numbers = np.arange(1, self.size + 1).reshape((1, *self.shape))
        return self._picked(_as_integers(move(numbers), numbers.dtype).reshape(-1), shape)

    def _picked(self, numbers: Any, shape: Shape) -> IndexDomains:
        """Return the domains with rows of this one, by 1 + their numbers; 0 for an empty row."""
        assert self.rows is not None
        _check_size(int(np.diff(self.rows.indptr)[numbers[numbers > 0] - 1].sum(dtype=np.int64)))
        chosen = numbers > 0
        taken = numbers[chosen] - 1
        picked = self.rows if np.array_equal(taken, np.arange(self.size)) else self.rows[taken]
        if chosen.all():
            return IndexDomains(shape, self.width, rows=picked)
        pointers = np.zeros(len(numbers) + 1, np.int64)
        pointers[1:][chosen] = np.diff(picked.indptr)
        return _of_rows(_matrix(np.cumsum(pointers), picked.indices, (len(numbers), self.width)), shape)

    def item(self, place: int) -> IndexDomains:
        """Return the domains of one item along the first axis."""
        shape = self.shape[1:]
        if self.rows is None:
            return IndexDomains(shape, self.width, self.columns[:, place])
        size = math.prod(shape)
        return IndexDomains(shape, self.width, rows=self.rows[place * size : (place + 1) * size])

    def kept(self, mask: Any) -> IndexDomains:
        """Return the domains with the elements outside of a mask emptied."""
        if np.all(mask):
            return self
        return self.moved(lambda block: np.where(mask, block, block.dtype.type(0)), self.shape)

    def reshaped(self, shape: Shape) -> IndexDomains:
        """Return the domains of the elements in another shape."""
        if self.rows is not None:
            return IndexDomains(shape, self.width, rows=self.rows)
        return IndexDomains(shape, self.width, self.columns.reshape((self.columns.shape[0], *shape)))

    def spread(self, shape: Shape) -> IndexDomains:
        """Return the domains of the array broadcast to a shape."""
        if shape == self.shape:
            return self
        padded = (1,) * (len(shape) - len(self.shape)) + self.shape

        def broadcast(block: Block) -> Block:
            return np.broadcast_to(block.reshape((block.shape[0], *padded)), (block.shape[0], *shape))

        return self.moved(broadcast, shape)

    def summed(self, axes: Sequence[int], shape: Shape) -> IndexDomains:
        """Return the domains of the sum over axes (counted from the end), in the `shape` that it has."""
        if not self.size:
            return nothing(shape, self.width)
        if not axes:
            return self.reshaped(shape)
        front = tuple(range(1, 1 + len(axes)))
        if self.rows is None:
            block = np.moveaxis(self.columns, tuple(axes), front)
            count = len(self.columns) * (self.size // math.prod(shape))
            return joined_rows(block.reshape((count, *shape)), shape, self.width)
        numbers = np.moveaxis(np.arange(self.size).reshape((1, *self.shape)), tuple(axes), front)
        members = numbers.reshape((-1, math.prod(shape)))
        length, count = members.shape
        sums = _matrix(np.arange(0, count * length + 1, length), _in_order(members), (count, self.size))
        return _of_rows(sums @ self.rows, shape)

    def through(self, matrix: sparse.csr_array, shape: Shape) -> IndexDomains:
        """Return the domains of a product with a sparse matrix from the left; its zeros are those of structure."""
        counts = np.diff(matrix.indptr)
        most = int(counts.max(initial=0))
        if self.rows is None and most * self.columns.shape[0] <= MOST:
            members = np.zeros((most, matrix.shape[0]), np.intp)
            numbers = np.repeat(np.arange(matrix.shape[0]), counts)
            members[np.arange(matrix.nnz) - matrix.indptr[numbers], numbers] = matrix.indices + 1
            flat = self.columns.reshape((len(self.columns), self.size))
            with_none = np.concatenate([np.zeros((flat.shape[0], 1), flat.dtype), flat], axis=1)
            return IndexDomains(shape, self.width, with_none[:, members].reshape((most * len(flat), *shape)))
        return _of_rows(matrix @ self._unordered(), shape)

    def mixed(self, shape: Shape, axes: tuple[Sequence[int], Sequence[int]] | None = None) -> IndexDomains:
        """Return the domains of an array each of whose elements may depend on all elements of this one.

        With `axes` of this array and of the result, counted from the end, this holds along these alone; the others are
        those of a stack, which is gone through item by item.

        >>> x = IndexDomains.identity((2, 2), 0, 4)
        >>> x.mixed((2, 1)).csr().nnz, x.mixed((2, 1), ((-1,), (-1,))).csr().toarray().astype(int).tolist()
        (8, [[1, 1, 0, 0], [0, 0, 1, 1]])
        """
        of_operand, of_result = axes or (range(-len(self.shape), 0), range(-len(shape), 0))
        stack = [size for k, size in enumerate(self.shape) if k - len(self.shape) not in of_operand]
        total = self.summed(tuple(of_operand), tuple(stack))
        rest: list[int] = []
        for axis in range(-1, -len(shape) - 1, -1):
            rest.append(1 if axis in of_result else stack.pop() if stack else 1)
        return total.reshaped(tuple(rest[::-1])).spread(shape)

    def __or__(self, other: IndexDomains) -> IndexDomains:
        if self is other or other.columns is self.columns is not None:
            return self
        if self.rows is None and other.rows is None:
            mine, others = self.columns, other.columns
            if mine.size == mine.shape[0]:
                return self._joined_with(others)
            new = _new_in(others, mine)
            if not new:
                return self
            block = np.concatenate([mine, others if len(new) == len(others) else others[new]])
            return joined_rows(block, self.shape, self.width)
        return _of_rows(self.csr() + other.csr(), self.shape)

    def _joined_with(self, others: Block) -> IndexDomains:
        """Return the domain of one element together with another one."""
        few, many = sorted((self.columns.reshape(-1), others.reshape(-1)), key=len)
        if len(few) <= MOST // 4:
            new = [number for number in few.tolist() if not (many == number).any()]
            together = np.concatenate([many, np.array(new, many.dtype)]) if new else many
        else:
            together = np.union1d(few, many)
        return IndexDomains(self.shape, self.width, together.reshape((-1, *self.shape)))


def nothing(shape: Shape, width: int) -> IndexDomains:
    """Return the domains of an array that depends on nothing."""
    return IndexDomains(shape, width, np.zeros((0, *shape), _integers(width)))


def joined(
    patterns: Sequence[IndexDomains | None], join: Callable[[list[Block | None]], Block], shape: Shape, width: int
) -> IndexDomains:
    """Return the domains of an array whose elements are elements of several others, or zeros.

    `join` does to blocks of arrays (None for zeros) what the line does.
    """
    blocks = [p.columns for p in patterns if p is not None and p.rows is None]
    some = [p for p in patterns if p is not None]
    most = max([block.shape[0] for block in blocks], default=0)
    numbers = sum([block.size for block in blocks])
    if len(blocks) == len(some) and (most <= 4 or most * math.prod(shape) <= 2 * numbers):
        padded = [None if p is None else _padded(p.columns, most) for p in patterns]
        return IndexDomains(shape, width, _as_integers(join(padded), _integers(width)))
    from scipy import sparse

    start, numbered = 1, []
    for p in patterns:
        numbered.append(None if p is None else np.arange(start, start + p.size).reshape((1, *p.shape)))
        start += 0 if p is None else p.size
    rows = sparse.csr_array(sparse.vstack([p._unordered() for p in some], format="csr"))
    together = IndexDomains((start - 1,), width, rows=rows)
    return together._picked(_as_integers(join(numbered), np.dtype(np.int64)).reshape(-1), shape)


def _padded(block: Block, most: int) -> Block:
    """Return an index map with arrays of zeros added, so that there are `most`."""
    if block.shape[0] == most:
        return block
    return np.concatenate([block, np.zeros((most - block.shape[0], *block.shape[1:]), block.dtype)])


def _new_in(others: Block, mine: Block) -> list[int]:
    """Return the numbers of the arrays of an index map that another has not."""
    if len(others) > 4 * MOST or len(mine) > 4 * MOST:
        return list(range(len(others)))
    size = math.prod(others.shape[1:])
    if not size:
        return []
    flat, flat_of_mine = others.reshape((len(others), size)), mine.reshape((len(mine), size))
    ends = [0, flat.shape[1] // 2, -1]
    alike = (flat[:, None, ends] == flat_of_mine[None, :, ends]).all(axis=2)
    return [
        k for k in range(len(flat)) if not any(np.array_equal(flat[k], flat_of_mine[n]) for n in alike[k].nonzero()[0])
    ]


def joined_rows(block: Block, shape: Shape, width: int) -> IndexDomains:
    """Return the domains of an index map, as rows if many variables meet in an element."""
    if block.shape[0] <= MOST:
        return IndexDomains(shape, width, block)
    return _of_rows(_rows_of(block.reshape((len(block), math.prod(shape))), width), shape)


def _of_rows(rows: sparse.csr_array, shape: Shape) -> IndexDomains:
    """Return the domains with these rows; as an index map, if all are short and about as long."""
    counts = np.diff(rows.indptr)
    most = int(counts.max(initial=0))
    if most > MOST // 2 or most * len(counts) > 2 * rows.nnz:
        return IndexDomains(shape, rows.shape[1], rows=rows)
    numbers = np.repeat(np.arange(len(counts)), counts)
    columns = np.zeros((most, len(counts)), _integers(rows.shape[1]))
    columns[np.arange(rows.nnz) - rows.indptr[numbers], numbers] = rows.indices + 1
    return IndexDomains(shape, rows.shape[1], columns.reshape((most, *shape)))


# ---- Rows, as SciPy's arrays ----


class TooLargeError(MemoryError):
    """A pattern would take more than a quarter of the memory."""


class TooDenseError(ValueError):
    """A pattern has more entries than were asked for."""


_most_entries: ContextVar[float] = ContextVar("most_entries", default=math.inf)


@contextlib.contextmanager
def at_most(entries: float) -> Iterator[None]:
    """Raise TooDenseError inside as soon as some value has domains of about more entries than this.

    >>> with at_most(10):
    ...     IndexDomains.identity((64,), 0, 64).mixed((64,))
    Traceback (most recent call last):
        ...
    wengert.jacobians.index_domains.TooDenseError
    """
    token = _most_entries.set(entries)
    try:
        yield
    finally:
        _most_entries.reset(token)


def _check_size(entries: int) -> None:
    """Raise an error for more entries than were asked for, or than a quarter of the memory would hold."""
    if entries > _most_entries.get():
        raise TooDenseError
    if entries > 1 << 24 and (entries * BYTES > quarter_of_memory() or entries >= 1 << 31):
        raise TooLargeError(f"{entries:,} entries, {in_bytes(entries * BYTES)}")


def _integers(width: int) -> np.dtype[Any]:
    return np.dtype(np.int32 if width < 2**31 - 1 else np.int64)


def _as_integers(block: Block, dtype: np.dtype[Any]) -> Block:
    return block if block.dtype == dtype else block.astype(dtype)


def _matrix(pointers: Any, indices: Any, shape: tuple[int, int]) -> sparse.csr_array:
    """Return a matrix of booleans by its rows."""
    from scipy import sparse

    dtype = _integers(max(len(indices), *shape))
    data = np.ones(len(indices), np.bool_)
    parts: Any = data, indices.astype(dtype, copy=False), pointers.astype(dtype, copy=False)
    return sparse.csr_array(parts, shape)


def matrix_of_pairs(rows: Any, columns: Any, shape: tuple[int, int]) -> sparse.csr_array:
    """Return the matrix of booleans with entries at pairs of a row and a column, which may repeat."""
    from scipy import sparse

    matrix = sparse.coo_array((np.ones(len(rows), np.bool_), (rows, columns)), shape).tocsr()
    return sparse.csr_array(matrix)


def matrix_of_nonzeros(matrix: Any) -> sparse.csr_array:
    """Return the matrix of booleans with entries where a dense one is not zero."""
    rows, columns = np.nonzero(matrix)
    return matrix_of_pairs(rows, columns, matrix.shape)


def _rows_of(block: Block, width: int) -> sparse.csr_array:
    """Return the rows of an index map of flat arrays."""
    count, size = block.shape
    if not block.size:
        return _matrix(np.zeros(size + 1, np.intp), np.zeros(0, np.intp), (size, width))
    if width + 1 <= 8 * count:  # a table of all pairs is no larger than the index map
        met = np.zeros((size, width + 1), np.bool_)
        if count <= size:
            for k in range(count):
                met[np.arange(size), block[k]] = True
        else:
            for k in range(size):
                met[k, block[:, k]] = True
        met = met[:, 1:]
        pointers = np.concatenate([[0], np.cumsum(np.count_nonzero(met, axis=1))])
        return _matrix(pointers, np.nonzero(met)[1], (size, width))
    ordered = _sorted(block)
    new = np.empty(ordered.shape, np.bool_)
    np.greater(ordered[:1], 0, out=new[:1])
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    if new.all():
        return _matrix(np.arange(0, count * size + 1, count), _in_order(ordered) - 1, (size, width))
    pointers = np.zeros(size + 1, np.int64)
    np.cumsum(np.count_nonzero(new, axis=0), out=pointers[1:])
    indices = _in_order(ordered)[_in_order(new)]
    indices -= 1
    return _matrix(pointers, indices, (size, width))


def _in_order(block: Block) -> Block:
    """Return the entries of an index map row by row of the pattern."""
    return np.ascontiguousarray(block.T).reshape(-1)


def _sorted(block: Block) -> Block:
    """Sort along the first axis; where it is short, by a network of exchanges (Batcher's), array by array."""
    count = block.shape[0]
    if count > 16:
        return np.sort(block, axis=0)
    arrays = list(block)
    for low, high in _exchanges(count):
        arrays[low], arrays[high] = np.minimum(arrays[low], arrays[high]), np.maximum(arrays[low], arrays[high])
    return np.stack(arrays) if arrays else block


@functools.cache
def _exchanges(count: int) -> list[tuple[int, int]]:
    """Return the pairs that Batcher's odd-even merge sort compares, for so many values.

    >>> _exchanges(3)
    [(0, 1), (0, 2), (1, 2)]
    """
    pairs = []
    p = 1
    while p < count:
        k = p
        while k:
            for start in range(k % p, count - k, 2 * k):
                for low in range(start, min(start + k, count - k)):
                    if low // (2 * p) == (low + k) // (2 * p):
                        pairs.append((low, low + k))
            k //= 2
        p *= 2
    return pairs
