"""``scipy.sparse``: products of sparse matrices, matrices of traced entries, and systems that they make.

A matrix of traced entries is an object of SciPy's own class, with the structure of a plain one; what moves its entries
is done to their numbers first, which say where each has gone.  A line reads the matrix as the three arrays of its
compressed rows.  The local partial of a product is the matrix itself; an adjoint is multiplied by the transpose, which
is never written out densely.

>>> import numpy as np, scipy.sparse, wengert as wg
>>> difference = scipy.sparse.diags_array([-np.ones(3), np.ones(2)], offsets=[0, 1])
>>> wg.grad(lambda x: np.sum((difference @ x) ** 2))(np.array([1.0, 3.0, 4.0]))
array([-4.,  2., 10.])
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import numpy as np

from wengert.errors import UnsupportedError
from wengert.jacobians import LocalJacobian, Map, matrix_of_pairs
from wengert.primitives.numpy.functions.operands import as_operand, pick
from wengert.primitives.table import ALWAYS, HOLDERS, LATE, array_function, calls
from wengert.program import Primitive, Recordable

Array = Any


def _matrix(data: Array, indices: Array, indptr: Array, columns: int) -> Any:
    import scipy.sparse

    return scipy.sparse.csr_array((data, indices, indptr), shape=(len(indptr) - 1, columns))


def _rows_of(indptr: Array) -> Array:
    """Return the row of each entry of compressed rows."""
    return np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))


def _pointers_of(rows: Any, n: int) -> Array:
    """Return where each of n rows begins among entries that stand row by row."""
    return np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))])


def _multiply(data: Array, indices: Array, indptr: Array, x: Array, columns: int, axis: int) -> Array:
    """Multiply along one axis of an array (counted from the end)."""
    front = np.moveaxis(x, axis, 0)
    product = _matrix(data, indices, indptr, columns) @ front.reshape(columns, -1)
    return np.moveaxis(product.reshape(-1, *front.shape[1:]), 0, axis)


def _transposed(data: Array, indices: Array, indptr: Array, g: Array, columns: int, axis: int) -> Array:
    turned = _matrix(data, indices, indptr, columns).T.tocsr()
    return sparse_product(turned.data, turned.indices, turned.indptr, g, columns=turned.shape[1], axis=axis)


def _by_entries(data: Any, indices: Array, indptr: Array, x: Array, y: Any, axis: int) -> LocalJacobian:
    """Return the local partial with respect to the entries of the matrix, which may be traced: ``t * A``."""
    met = np.take(x, indices, axis)
    rows = _rows_of(indptr)
    others = tuple(k for k in range(-x.ndim, 0) if k != axis)

    def push(t: Array) -> Array:
        t = np.reshape(t, t.shape[:-1] + (1,) * (x.ndim + axis) + t.shape[-1:] + (1,) * (-axis - 1))
        ones = np.ones(len(indices), x.dtype)
        return sparse_product(ones, np.arange(len(indices)), indptr, t * met, columns=len(indices), axis=axis)

    def pull(g: Array) -> Array:
        return np.sum(np.take(g, rows, axis) * met, axis=others)

    def entries() -> Any:
        targets = _lines(y.shape, axis)[rows]
        data_of = np.broadcast_to(np.arange(len(rows))[:, None], targets.shape)
        return matrix_of_pairs(targets.reshape(-1), data_of.reshape(-1), (math.prod(y.shape), len(rows)))

    counts = {"multiplications": met.size, "additions": met.size}
    return Map(data.shape, y.shape, push, pull, counts, name="A", entries=entries)


def _lines(shape: tuple[int, ...], axis: int) -> Array:
    """Return the positions of the elements of an array, a row for each place along an axis."""
    return np.moveaxis(np.arange(math.prod(shape)).reshape(shape), axis, 0).reshape((shape[axis], -1))


def _entries(indices: Array, indptr: Array, x: Any, y: Any, axis: int) -> Any:
    """Return the entries of a product with a sparse matrix along an axis: those that are stored."""
    rows, columns = _lines(y.shape, axis)[_rows_of(indptr)], _lines(x.shape, axis)[indices]
    return matrix_of_pairs(rows.reshape(-1), columns.reshape(-1), (math.prod(y.shape), math.prod(x.shape)))


def _counts(y: Any, data: Any, _indices: Any, _indptr: Any, x: Any, columns: int, axis: int) -> dict[str, int]:
    many = data.size * (x.size // max(columns, 1))
    return {"multiplications": many, "additions": max(many - y.size, 0)}


def _source(args: Any, params: Any) -> str:
    data, indices, indptr, x = args
    axis = params["axis"]
    matrix = f"scipy.sparse.csr_array(({data}, {indices}, {indptr}), shape=(len({indptr}) - 1, {params['columns']}))"
    return f"np.moveaxis(np.tensordot({matrix}.toarray(), {x}, (1, {axis})), 0, {axis})"


sparse_product: Primitive = array_function(
    "sparse_product",
    _multiply,
    lambda _y, _data, indices, indptr, x, columns, axis: _by_entries(_data, indices, indptr, x, _y, axis),
    None,
    None,
    lambda _y, data, indices, indptr, _x, columns, axis: Map(
        _x.shape,
        _y.shape,
        lambda t: sparse_product(data, indices, indptr, t, columns=columns, axis=axis),
        lambda g: _transposed(data, indices, indptr, g, columns, axis),
        _counts(_y, data, indices, indptr, _x, columns, axis),
        name="A",
        entries=lambda: _entries(indices, indptr, _x, _y, axis),
    ),
    bilinear=True,
    source=_source,
    counts=_counts,
)


# ---- Solving: the row ----


@functools.lru_cache(maxsize=8)
def _factorized(data: bytes, kind: str, indices: bytes, indptr: bytes) -> Any:
    import scipy.sparse.linalg

    pointers = np.frombuffer(indptr, np.intc)
    n = len(pointers) - 1
    matrix = scipy.sparse.csc_array(
        (np.frombuffer(data, kind), np.frombuffer(indices, np.intc), pointers), shape=(n, n), copy=True
    )  # a copy, in which SciPy sorts the indices
    try:
        return scipy.sparse.linalg.splu(matrix)  # of the transpose: the columns here are the rows there
    except RuntimeError as error:  # "Factor is exactly singular"
        raise np.linalg.LinAlgError("Singular matrix") from error


def _solve(data: Array, indices: Array, indptr: Array, b: Array, axis: int, transposed: bool, method: Any) -> Array:
    """Solve along one axis of an array (counted from the end), by a factorization or by what `method` does."""
    n = len(indptr) - 1
    kind = np.result_type(data.dtype, b.dtype, np.float64)
    front = np.moveaxis(b, axis, 0)
    right = np.ascontiguousarray(front.reshape(n, -1), kind)
    if method is not None:
        matrix = _matrix(data, indices, indptr, n)
        solved = method(matrix.T.tocsr() if transposed else matrix, right)
    else:
        factors = _factorized(
            np.ascontiguousarray(data, kind).tobytes(),
            kind.str,
            np.ascontiguousarray(indices, np.intc).tobytes(),
            np.ascontiguousarray(indptr, np.intc).tobytes(),
        )
        solved = factors.solve(right, "N" if transposed else "T")
    return np.moveaxis(solved.reshape(front.shape), 0, axis)


def _solution_by_entries(
    y: Array, data: Any, indices: Array, indptr: Array, _b: Any, axis: int, transposed: bool, method: Any
) -> LocalJacobian:
    """``dx = -A^-1 dA x``: the product by the entries, then the solution."""
    if transposed:
        rows = _rows_of(indptr)
        order = np.lexsort((rows, indices))
        back = np.argsort(order)
        pointers = _pointers_of(indices, len(indptr) - 1)
        product = _by_entries(data, rows[order], pointers, y, y, axis)
    else:
        order = back = np.arange(len(indices))
        product = _by_entries(data, indices, indptr, y, y, axis)
    options = {"axis": axis, "method": _exact(method)}
    return Map(
        data.shape,
        y.shape,
        lambda t: -sparse_solve(data, indices, indptr, product.push(t[..., order]), transposed=transposed, **options),
        lambda g: (
            -product.pull(sparse_solve(data, indices, indptr, g, transposed=not transposed, **options))[..., back]
        ),
        _counts(y, data, indices, indptr, y, len(indptr) - 1, axis),
        name="A^-1",
    )


def _exact(method: Any) -> Any:
    return None if method is None else method.exact()


sparse_solve: Primitive = array_function(
    "sparse_solve",
    _solve,
    _solution_by_entries,
    None,
    None,
    lambda _y, data, indices, indptr, _b, axis, transposed, method: Map(
        _b.shape,
        _y.shape,
        lambda t: sparse_solve(data, indices, indptr, t, axis=axis, transposed=transposed, method=_exact(method)),
        lambda g: sparse_solve(data, indices, indptr, g, axis=axis, transposed=not transposed, method=_exact(method)),
        _counts(_y, data, indices, indptr, _b, len(indptr) - 1, axis),
        name="A^-1",
    ),
    source=lambda args, params: (
        f"wengert.primitives.scipy.sparse.sparse_solve({', '.join(args)}, axis={params['axis']},"
        f" transposed={params['transposed']}, method={params['method']!r})"
    ),
    counts=lambda y, data, _indices, indptr, b, axis, transposed, method: _counts(
        y, data, _indices, indptr, b, b.shape[axis], axis
    ),
)


def solve_entries(entries: Array, rows: Any, columns: Any, b: Array) -> Array:
    """Solve a system whose matrix has (traced) entries at plain positions, each one once; along the first axis.

    >>> solve_entries(np.array([2.0, 1.0, 4.0]), [0, 0, 1], [0, 1, 1], np.array([4.0, 8.0]))
    array([1., 2.])
    """
    order = np.lexsort((columns, rows))
    entries, indices = entries[order], np.asarray(columns)[order]
    return sparse_solve(
        entries, indices, _pointers_of(rows, b.shape[0]), b, axis=-b.ndim, transposed=False, method=None
    )


# ---- Matrices of traced entries: SciPy's own objects, whose entries are found by where the numbers 1, 2, 3... go ----


def _with_entries(matrix: Any, data: Array) -> Any:
    """Return a matrix of the same structure with other entries, which may be traced."""
    made = object.__new__(type(matrix))
    made.__dict__.update(matrix.__dict__)
    made.data = data
    return made


def _numbered(matrix: Any, start: int) -> Any:
    """Return a plain matrix of the same structure, whose entries say where they stand: from `start` on."""
    numbers = np.arange(start, start + matrix.data.size, dtype=np.float64)
    return _with_entries(matrix, numbers.reshape(matrix.data.shape))


def _entries_of(matrices: Iterable[Any]) -> Array:
    """Return the entries of matrices in a row, a zero in front."""
    parts = [np.reshape(m.data, (-1,)) for m in matrices]
    return np.concatenate([np.zeros(1, np.result_type(*[part.dtype for part in parts])), *parts])


def _taken(places: Any, entries: Array) -> Any:
    """Put entries where their numbers have come to stand."""
    if _is_sparse(places):
        return _with_entries(places, pick(entries, (places.data.astype(np.intp),)))
    return pick(entries, (np.asarray(places).astype(np.intp),))


def _moved(move: Callable[..., Any], *matrices: Any) -> Any:
    """Apply to matrices what only moves their entries, or leaves some out."""
    chosen = [m if m.format in ("csr", "csc", "dia") else _summed(m) for m in matrices]
    start, numbered = 1, []
    for m in chosen:
        numbered.append(_numbered(m, start))
        start += m.data.size
    return _taken(move(*numbered), _entries_of(chosen))


def _is_sparse(value: Any) -> bool:
    return type(value).__module__.startswith("scipy.sparse") and hasattr(value, "format")


def _coordinates(matrix: Any) -> tuple[Array, Array, Array]:
    """Return the entries of a matrix with their rows and columns; zeros that are written down count."""
    if matrix.format == "coo":
        rows, columns = matrix.coords if hasattr(matrix, "coords") else (matrix.row, matrix.col)
        return matrix.data, rows, columns
    if matrix.format in ("csr", "csc"):
        major = _rows_of(matrix.indptr)
        minor = np.asarray(matrix.indices)
        return (matrix.data, major, minor) if matrix.format == "csr" else (matrix.data, minor, major)
    if matrix.format == "dia":
        numbered = _numbered(matrix, 1).tocoo()
        entries = pick(_entries_of([matrix]), (numbered.data.astype(np.intp),))
        return entries, numbered.row, numbered.col
    coordinates = matrix.tocoo()
    return coordinates.data, coordinates.row, coordinates.col


def _compressed(like: Any, data: Array, rows: Any, columns: Any, shape: Any) -> Any:
    """Make a matrix of compressed rows or columns of entries at coordinates, those at one place added up."""
    rows, columns = np.asarray(rows, np.intp), np.asarray(columns, np.intp)
    order = np.lexsort((columns, rows))
    rows, columns, data = rows[order], columns[order], pick(data, (order,))
    first = np.ones(len(rows), bool)
    first[1:] = (rows[1:] != rows[:-1]) | (columns[1:] != columns[:-1])
    if not first.all():
        data = np.add.reduceat(data, np.flatnonzero(first))
        rows, columns = rows[first], columns[first]
    places = like((np.arange(1.0, len(rows) + 1), (rows, columns)), shape=shape)
    return _with_entries(places, pick(data, (places.data.astype(np.intp) - 1,)))


def _is_array(matrix: Any) -> bool:
    """Return whether a sparse matrix is one of SciPy's sparse arrays, which have other classes than its matrices."""
    import scipy.sparse

    return isinstance(matrix, scipy.sparse.sparray)


def _csr(like: Any) -> Any:
    """Return the class of compressed rows: of arrays, or of matrices if `like` is one of those."""
    import scipy.sparse

    return scipy.sparse.csr_array if _is_array(like) else scipy.sparse.csr_matrix


def _summed(matrix: Any) -> Any:
    data, rows, columns = _coordinates(matrix)
    return _compressed(_csr(matrix), data, rows, columns, matrix.shape)


def _init(self: Any, arg1: Any, shape: Any = None, dtype: Any = None, copy: bool = False, **options: Any) -> None:
    """Make a matrix of traced entries; in a dense one all entries count, zeros too."""
    kind = type(self)
    if _is_sparse(arg1):
        made = arg1 if arg1.format == self.format else _moved(kind, arg1)
    elif isinstance(arg1, tuple) and len(arg1) == 2 and isinstance(arg1[1], tuple):
        data, places = as_operand(arg1[0]), [np.asarray(k) for k in arg1[1]]
        if shape is None:
            shape = tuple(int(k.max()) + 1 for k in places)
        if self.format == "coo" or len(places) != 2:
            made = _with_entries(kind((np.ones(data.shape[0]), tuple(places)), shape=shape), data)
        else:
            made = _compressed(kind, data, places[0], places[1], shape)
    elif isinstance(arg1, tuple) and len(arg1) in (2, 3):
        data = as_operand(arg1[0])
        data = np.atleast_2d(data) if self.format == "dia" else data
        plain = kind((np.ones(data.shape), *arg1[1:]), shape=shape)
        made = _with_entries(plain, data)
    else:
        dense = as_operand(arg1)
        dense = np.reshape(dense, (1, -1)) if dense.ndim < 2 and not hasattr(self, "coords") else dense
        rows, columns = (k.ravel() for k in np.indices(dense.shape))
        matrix = _compressed(_csr(self), np.reshape(dense, (-1,)), rows, columns, dense.shape)
        made = matrix if self.format == "csr" else _moved(kind, matrix)
    self.__dict__.update(made.__dict__)
    self.data = made.data if dtype is None else made.data.astype(dtype)


def _moving(name: str) -> Callable[..., Any]:
    def written(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _moved(lambda matrix: getattr(matrix, name)(*args, **kwargs), self)

    written.__name__ = name
    return written


def _added(self: Any, other: Any, sign: int = 1) -> Any:
    if not _is_sparse(other):
        if np.ndim(other) == 0:
            if not isinstance(other, Recordable) and other == 0:
                return self
            raise NotImplementedError("adding a nonzero scalar to a sparse array is not supported")
        return _dense(self) + sign * as_operand(other)
    one, two = _coordinates(self), _coordinates(other)
    data, rows, columns = (np.concatenate(pair) for pair in zip(one, (sign * two[0], *two[1:]), strict=True))
    return _compressed(_csr(self), data, rows, columns, self.shape)


def _dense(matrix: Any, order: Any = None, out: Any = None) -> Array:
    """Write down a matrix with all its zeros."""
    if out is not None:
        raise UnsupportedError("toarray(out=...) has no rule; leave out= away.")
    data, rows, columns = _coordinates(matrix)
    n, m = matrix.shape if len(matrix.shape) == 2 else (1, *matrix.shape)
    places = np.asarray(rows) * m + columns
    if data.dtype.kind == "c":  # bincount takes real weights
        parts = [np.bincount(places, weights=part, minlength=n * m) for part in (np.real(data), np.imag(data))]
        dense = parts[0] + 1j * parts[1]
    else:
        dense = np.bincount(places, weights=data, minlength=n * m)
    return np.reshape(dense, matrix.shape).astype(data.dtype)


def _multiplied(self: Any, other: Any) -> Any:
    """Multiply entry by entry: by a number, by an array that broadcasts, or by a sparse matrix."""
    data, rows, columns = _coordinates(self)
    if _is_sparse(other):
        if isinstance(getattr(other, "data", None), Recordable):
            factors = _moved(lambda matrix: np.asarray(matrix[rows, columns]).ravel(), other.tocsr())
        else:
            factors = np.asarray(other.tocsr()[rows, columns]).ravel()
    else:
        factors = as_operand(other)
        if factors.ndim:
            factors = pick(np.broadcast_to(factors, self.shape), (rows, columns))
    return _compressed(_csr(self), data * factors, rows, columns, self.shape)


def _sum(self: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    data, rows, columns = _coordinates(self)
    if axis is None or (isinstance(axis, tuple) and len(axis) == 2):
        return np.sum(data)
    axis = axis[0] if isinstance(axis, tuple) else axis
    along, n = (columns, self.shape[1]) if axis in (0, -2) else (rows, self.shape[0])
    total = np.bincount(along, weights=data, minlength=n)
    if _is_array(self):
        return total
    return total[None] if axis in (0, -2) else total[:, None]


def _of_blocks(build: Callable[..., Any]) -> Callable[..., Any]:
    """Build of blocks what only puts them side by side."""

    def written(blocks: Any, *args: Any, **kwargs: Any) -> Any:
        held: list[Any] = []
        start = [1]

        def number(block: Any) -> Any:
            if block is None:
                return None
            if isinstance(block, (list, tuple)) and not np.isscalar(block):
                if any(_is_sparse(b) or b is None or isinstance(b, (list, tuple)) or np.ndim(b) for b in block):
                    return [number(b) for b in block]
                block = as_operand(block)
            if isinstance(block, np.ndarray) and block.dtype.hasobject:
                return [[number(b) for b in row] for row in block]
            if not _is_sparse(block):
                block = _compressed_of(np.atleast_2d(as_operand(block)))
            block = block if block.format in ("csr", "csc") else _summed(block)
            numbered = _numbered(block, start[0])
            start[0] += block.data.size
            held.append(block)
            return numbered

        return _taken(build(number(blocks), *args, **kwargs), _entries_of(held))

    return written


def _of_diagonals(build: Callable[..., Any]) -> Callable[..., Any]:
    """Build of diagonals: each entry of the matrix is one of theirs."""
    unset = inspect.signature(build).parameters["dtype"].default  # which SciPy's functions pass on to each other

    def written(diagonals: Any, *args: Any, **kwargs: Any) -> Any:
        table = as_operand(diagonals) if hasattr(diagonals, "shape") else None
        if table is not None and table.ndim == 1:
            parts: list[Any] = [table]
        else:
            parts = [as_operand(d) for d in (diagonals if table is None else table)]
        start, numbered = 1, []
        for part in parts:
            numbered.append(np.arange(start, start + part.size, dtype=np.float64).reshape(part.shape))
            start += part.size
        dtype = kwargs.pop("dtype", unset)
        made = build(numbered[0] if table is not None and table.ndim == 1 else numbered, *args, **kwargs)
        entries = np.concatenate([np.zeros(1), *[np.reshape(part, (-1,)) for part in parts]])
        result = _taken(made, entries)
        return result if dtype is None or dtype is unset else result.astype(dtype, copy=False)

    return written


def _kron(A: Any, B: Any, format: str | None = None) -> Any:  # noqa: A002  # SciPy's name
    """Multiply each entry of a matrix by another matrix."""
    one, two = (_coordinates(m if _is_sparse(m) else _compressed_of(m)) for m in (A, B))
    shape = (A.shape[0] * B.shape[0], A.shape[1] * B.shape[1])
    rows = (np.asarray(one[1])[:, None] * B.shape[0] + np.asarray(two[1])[None]).ravel()
    columns = (np.asarray(one[2])[:, None] * B.shape[1] + np.asarray(two[2])[None]).ravel()
    product = _compressed(_csr(A), np.reshape(one[0][:, None] * two[0][None], (-1,)), rows, columns, shape)
    return product if format in (None, "csr") else product.asformat(format)


def _compressed_of(dense: Any) -> Any:
    """Make a matrix of compressed rows of a dense one."""
    import scipy.sparse

    made = object.__new__(scipy.sparse.csr_array)
    _init(made, dense)
    return made


# ---- Products ----


def _product_of_sparse(A: Any, B: Any) -> Any:
    """Multiply two sparse matrices, each entry of the first by the row of the second that it meets."""
    if A.shape[1] != B.shape[0]:
        raise ValueError(f"matmul: dimension mismatch with signature (n,k={A.shape[1]}),(k={B.shape[0]},m)->(n,m)")
    data, rows, columns = _coordinates(A)
    right = B if B.format == "csr" else _summed(B)
    counts = np.diff(right.indptr)[columns]
    mine = np.repeat(np.arange(len(rows)), counts)
    starts = np.repeat(np.cumsum(counts) - counts, counts)
    theirs = right.indptr[np.asarray(columns)[mine]] + np.arange(len(mine)) - starts
    products = pick(data, (mine,)) * pick(right.data, (theirs,))
    return _compressed(_csr(A), products, np.asarray(rows)[mine], right.indices[theirs], (A.shape[0], B.shape[1]))


def _product(matrix: Any, other: Any) -> Any:
    """Multiply a sparse matrix by a vector, a dense or a sparse matrix, as ``A @ x`` does."""
    if _is_sparse(other):
        return _product_of_sparse(matrix, other)
    x = as_operand(other)
    if not x.ndim:
        return _multiplied(matrix, x)
    wide = matrix.shape if len(matrix.shape) == 2 else (1, *matrix.shape)
    if x.ndim not in (1, 2) or x.shape[0] != wide[1]:
        raise ValueError(f"matmul: dimension mismatch with signature (n,k={wide[1]}),(k={x.shape[:1]},1?)->(n,1?)")
    rows = matrix.tocsr() if len(matrix.shape) == 2 else matrix.reshape(1, -1).tocsr()
    axis = -1 if x.ndim == 1 else -2
    y = sparse_product(rows.data, rows.indices, rows.indptr, x, columns=wide[1], axis=axis)
    return y if len(matrix.shape) == 2 else y[0]


def _product_from_left(matrix: Any, other: Any) -> Any:
    """Multiply a vector or a dense matrix by a sparse matrix, as ``x @ A`` does."""
    x = as_operand(other)
    return np.transpose(_product(matrix.T, np.transpose(x))) if x.ndim else _multiplied(matrix, x)


# ---- Solving ----


def _system(A: Any) -> tuple[Array, Array, Array]:
    """Return a matrix, sparse or dense, as three arrays of compressed rows."""
    matrix = A if _is_sparse(A) else _compressed_of(A)
    if len(matrix.shape) != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"matrix must be square (has shape {matrix.shape})")
    rows = matrix.tocsr()
    return rows.data, np.asarray(rows.indices), np.asarray(rows.indptr)


def _solved(A: Any, b: Any, transposed: bool = False, method: Any = None) -> Array:
    right = as_operand(b)
    if right.shape[0] != A.shape[0]:
        raise ValueError(f"matrix - rhs dimension mismatch ({A.shape} - {right.shape[0]})")
    return sparse_solve(*_system(A), right, axis=-right.ndim, transposed=transposed, method=method)


def spsolve(A: Any, b: Any, permc_spec: Any = None, use_umfpack: bool = True) -> Array:
    """Solve a sparse system."""
    if _is_sparse(b):
        raise UnsupportedError("spsolve of a sparse right side has no rule; write b.toarray().")
    x = _solved(A, b)
    return x[:, 0] if x.ndim == 2 and x.shape[1] == 1 else x


class Factors:
    """What `splu` returns while a function is traced: it solves, for traced right sides and entries.

    >>> import scipy.sparse
    >>> A = scipy.sparse.csc_array(np.array([[2.0, 1.0], [0.0, 4.0]]))
    >>> Factors(A).solve(np.array([4.0, 8.0]))
    array([1., 2.])
    """

    def __init__(self, matrix: Any) -> None:
        self._matrix = matrix
        self.shape, self.nnz = matrix.shape, matrix.nnz

    def solve(self, rhs: Any, trans: str = "N") -> Array:
        """Solve with the matrix, or with its transpose (``trans="T"``)."""
        if trans not in ("N", "T"):
            raise UnsupportedError(f"solve with trans={trans!r} has no rule on traced values; use 'N' or 'T'.")
        return _solved(self._matrix, rhs, trans == "T")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise UnsupportedError(f"{name} of a factorization has no rule on traced values; it solves.")


def splu(A: Any, *_args: Any, **_options: Any) -> Factors:
    """Return what solves with a matrix."""
    return Factors(A if _is_sparse(A) else _compressed_of(A))


def factorized(A: Any) -> Callable[[Any], Array]:
    """Return a function that solves with a matrix."""
    return splu(A).solve


@dataclass
class Krylov:
    """An iteration of SciPy's, as the way to solve; derivatives are solved for as exactly as it can.

    >>> import scipy.sparse
    >>> A = scipy.sparse.csr_array(np.diag([2.0, 4.0]))
    >>> Krylov("cg", {})(A, np.array([[2.0], [4.0]]))
    array([[1.],
           [1.]])
    """

    name: str
    options: dict[str, Any]
    info: int = 0

    def __call__(self, matrix: Any, right: Array) -> Array:
        import scipy.sparse.linalg

        solve = getattr(scipy.sparse.linalg, self.name)
        columns = []
        for column in right.T:
            x, info = solve(matrix, column, **self.options)
            self.info = self.info or info
            columns.append(x)
        return np.stack(columns, axis=-1)

    def exact(self) -> Krylov:
        """Return the same iteration to the last digits, from no guess."""
        kept = {key: value for key, value in self.options.items() if key in ("maxiter", "M", "restart")}
        return Krylov(self.name, {**kept, "rtol": 1e-14, **({"atol": 0.0} if self.name != "minres" else {})})


def _iteration(name: str) -> Callable[..., Any]:
    def written(A: Any, b: Any, x0: Any = None, **options: Any) -> Any:
        if not (_is_sparse(A) or hasattr(A, "__array__") or isinstance(A, Recordable)):
            raise UnsupportedError(f"{name} of a LinearOperator has no rule on traced values; give it the matrix.")
        if options.pop("callback", None) is not None:
            raise UnsupportedError(f"{name} with callback= has no rule on traced values; leave it out.")
        right = as_operand(b)
        if x0 is not None and not isinstance(x0, Recordable):
            options["x0"] = x0
        method = Krylov(name, options)
        x = _solved(A, np.reshape(right, (-1,)), method=method)
        return x, method.info

    written.__name__ = name
    return written


ITERATIONS = ("cg", "gmres", "bicgstab", "minres", "bicg", "cgs", "lgmres")


def spsolve_triangular(
    A: Any, b: Any, lower: bool = True, *_args: Any, unit_diagonal: bool = False, **_options: Any
) -> Array:
    """Solve a triangular system."""
    data, rows, columns = _coordinates(A)
    keep = (rows > columns if lower else rows < columns) | ((rows == columns) & (not unit_diagonal))
    data, rows, columns = pick(data, (np.flatnonzero(keep),)), rows[keep], columns[keep]
    n = A.shape[0]
    if unit_diagonal:
        data = np.concatenate([data, np.ones(n)])
        rows, columns = np.concatenate([rows, np.arange(n)]), np.concatenate([columns, np.arange(n)])
    return _solved(_compressed(_csr(A), data, rows, columns, A.shape), b)


def _enter() -> None:
    import scipy.sparse

    def catch(owner: Any, name: str, written: Callable[..., Any]) -> None:
        function = getattr(owner, name, None)
        if isinstance(function, FunctionType):
            calls(function, catch=scipy.sparse)(written)

    kinds = ("csr", "csc", "coo", "dia", "bsr", "lil", "dok")
    for kind in kinds:
        for owner in (getattr(scipy.sparse, f"{kind}_{what}") for what in ("matrix", "array")):
            catch(owner, "_matmul_dispatch", _product)
            catch(owner, "_rmatmul_dispatch", _product_from_left)
    for kind in ("csr", "csc", "coo", "dia"):
        owner = getattr(scipy.sparse, f"{kind}_array")
        catch(owner, "__init__", _init)
        for name in ("tocsr", "tocsc", "tocoo", "todia", "transpose", "diagonal", "__getitem__", "reshape"):
            catch(owner, name, _moving(name))
        for name, written in (("toarray", _dense), ("__add__", _added), ("multiply", _multiplied), ("sum", _sum)):
            catch(owner, name, written)
        catch(owner, "__radd__", _added)
        catch(owner, "__sub__", lambda self, other: _added(self, other, -1))
        catch(owner, "__rsub__", lambda self, other: -_added(self, other, -1))
    for name in ("vstack", "hstack", "block_diag", "bmat", "block_array"):
        if (build := getattr(scipy.sparse, name, None)) is not None:
            calls(build, catch=scipy.sparse)(_of_blocks(build))
    for name in ("diags", "diags_array"):
        build = getattr(scipy.sparse, name)
        calls(build, catch=scipy.sparse)(_of_diagonals(build))
    for name in ("tril", "triu"):
        build = getattr(scipy.sparse, name)
        calls(build, catch=scipy.sparse)(
            lambda A, *args, build=build, **options: _moved(lambda m: build(m, *args, **options), A)
        )
    calls(scipy.sparse.kron, catch=scipy.sparse)(_kron)
    HOLDERS[scipy.sparse._data._data_matrix] = ("data",)


def _enter_solvers() -> None:
    import scipy.sparse.linalg

    for written in (spsolve, factorized, spsolve_triangular):
        calls(getattr(scipy.sparse.linalg, written.__name__), catch=scipy.sparse.linalg)(written)
    calls(scipy.sparse.linalg.splu, catch=scipy.sparse.linalg)(splu)
    for name in ITERATIONS:
        calls(getattr(scipy.sparse.linalg, name), catch=scipy.sparse.linalg)(_iteration(name))
    ALWAYS.update((scipy.sparse.linalg.splu, scipy.sparse.linalg.factorized))


LATE["scipy.sparse"] = _enter
LATE["scipy.sparse.linalg"] = _enter_solvers
