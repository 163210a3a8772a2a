"""``scipy.sparse``: the product of a plain sparse matrix and a traced array, ``A @ x``.

A line reads the matrix as the three arrays of its compressed rows.  Its local partial is the matrix itself; an adjoint
is multiplied by the transpose, which is never written out densely.

>>> import numpy as np, scipy.sparse, wengert as wg
>>> difference = scipy.sparse.diags_array([-np.ones(3), np.ones(2)], offsets=[0, 1])
>>> wg.grad(lambda x: np.sum((difference @ x) ** 2))(np.array([1.0, 3.0, 4.0]))
array([-4.,  2., 10.])
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from wengert.jacobians import LocalJacobian, Map
from wengert.primitives.numpy.functions.operands import as_operand
from wengert.primitives.table import LATE, calls, define
from wengert.program import Primitive

Array = Any


def _matrix(data: Array, indices: Array, indptr: Array, columns: int) -> Any:
    import scipy.sparse

    return scipy.sparse.csr_array((data, indices, indptr), shape=(len(indptr) - 1, columns))


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
    rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    others = tuple(k for k in range(-x.ndim, 0) if k != axis)

    def push(t: Array) -> Array:
        t = np.reshape(t, t.shape[:-1] + (1,) * (x.ndim + axis) + t.shape[-1:] + (1,) * (-axis - 1))
        ones = np.ones(len(indices), x.dtype)
        return sparse_product(ones, np.arange(len(indices)), indptr, t * met, columns=len(indices), axis=axis)

    def pull(g: Array) -> Array:
        return np.sum(np.take(g, rows, axis) * met, axis=others)

    return Map(data.shape, y.shape, push, pull, {"multiplications": met.size, "additions": met.size}, name="A")


def _counts(y: Any, data: Any, _indices: Any, _indptr: Any, x: Any, columns: int, axis: int) -> dict[str, int]:
    many = data.size * (x.size // max(columns, 1))
    return {"multiplications": many, "additions": max(many - y.size, 0)}


def _source(args: Any, params: Any) -> str:
    data, indices, indptr, x = args
    axis = params["axis"]
    matrix = f"scipy.sparse.csr_array(({data}, {indices}, {indptr}), shape=(len({indptr}) - 1, {params['columns']}))"
    return f"np.moveaxis(np.tensordot({matrix}.toarray(), {x}, (1, {axis})), 0, {axis})"


sparse_product: Primitive = define(
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
    ),
    elementwise=False,
    source=_source,
    counts=_counts,
)


# ---- Solving: the row ----


@functools.lru_cache(maxsize=8)
def _factorized(data: bytes, kind: str, indices: bytes, indptr: bytes, positions: str) -> Any:
    import scipy.sparse.linalg

    pointers = np.frombuffer(indptr, positions)
    n = len(pointers) - 1
    matrix = scipy.sparse.csc_array(
        (np.frombuffer(data, kind), np.frombuffer(indices, positions), pointers), shape=(n, n)
    )
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
            np.dtype(np.intc).str,
        )
        solved = factors.solve(right, "N" if transposed else "T")
    return np.moveaxis(solved.reshape(front.shape), 0, axis)


def _solution_by_entries(
    y: Array, data: Any, indices: Array, indptr: Array, b: Any, axis: int, transposed: bool, method: Any
) -> LocalJacobian:
    """``dx = -A^-1 dA x``: the product by the entries, then the solution."""
    if transposed:
        rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
        order = np.lexsort((rows, indices))
        back = np.argsort(order)
        pointers = np.concatenate([[0], np.cumsum(np.bincount(indices, minlength=len(indptr) - 1))])
        product = _by_entries(data, rows[order], pointers, y, y, axis)
    else:
        order = back = np.arange(len(indices))
        product = _by_entries(data, indices, indptr, y, y, axis)
    known = {"axis": axis, "method": method}
    return Map(
        data.shape,
        y.shape,
        lambda t: -sparse_solve(data, indices, indptr, product.push(t[..., order]), transposed=transposed, **known),
        lambda g: -product.pull(sparse_solve(data, indices, indptr, g, transposed=not transposed, **known))[..., back],
        _counts(y, data, indices, indptr, y, len(indptr) - 1, axis),
        name="A^-1",
    )


sparse_solve: Primitive = define(
    "sparse_solve",
    _solve,
    lambda y, data, indices, indptr, _b, axis, transposed, method: _solution_by_entries(
        y, data, indices, indptr, _b, axis, transposed, method
    ),
    None,
    None,
    lambda _y, data, indices, indptr, _b, axis, transposed, method: Map(
        _b.shape,
        _y.shape,
        lambda t: sparse_solve(data, indices, indptr, t, axis=axis, transposed=transposed, method=method),
        lambda g: sparse_solve(data, indices, indptr, g, axis=axis, transposed=not transposed, method=method),
        _counts(_y, data, indices, indptr, _b, len(indptr) - 1, axis),
        name="A^-1",
    ),
    elementwise=False,
    source=lambda args, params: (
        f"wengert.primitives.scipy.sparse.sparse_solve({', '.join(args)}, axis={params['axis']},"
        f" transposed={params['transposed']}, method={params['method']!r})"
    ),
    counts=lambda y, data, _indices, indptr, b, axis, transposed, method: _counts(
        y, data, _indices, indptr, b, len(indptr) - 1, axis
    ),
)


def solve_entries(entries: Array, rows: Any, columns: Any, b: Array) -> Array:
    """Solve a system whose matrix has (traced) entries at plain positions, each one once; along the first axis.

    >>> solve_entries(np.array([2.0, 1.0, 4.0]), [0, 0, 1], [0, 1, 1], np.array([4.0, 8.0]))
    array([1., 2.])
    """
    order = np.lexsort((columns, rows))
    n = b.shape[0]
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))])
    entries, indices = entries[order], np.asarray(columns)[order]
    return sparse_solve(entries, indices, indptr, b, axis=-b.ndim, transposed=False, method=None)


# ---- What users call ----


def _product(matrix: Any, other: Any) -> Any:
    """Multiply a sparse matrix by a vector or a dense matrix, as ``A @ x`` does."""
    x = as_operand(other)
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
    return np.transpose(_product(matrix.T, np.transpose(x)))


def _enter() -> None:
    import scipy.sparse

    kinds = ("csr", "csc", "coo", "dia", "bsr", "lil", "dok")
    for kind in kinds:
        for owner in (getattr(scipy.sparse, f"{kind}_{what}") for what in ("matrix", "array")):
            calls(owner._matmul_dispatch, catch=scipy.sparse)(_product)
            calls(owner._rmatmul_dispatch, catch=scipy.sparse)(_product_from_left)


LATE["scipy.sparse"] = _enter
