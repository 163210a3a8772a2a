"""``scipy.sparse``: the product of a plain sparse matrix and a traced array, ``A @ x``.

A line reads the matrix as the three arrays of its compressed rows.  Its local partial is the matrix itself; an adjoint
is multiplied by the transpose, which is never written out densely.

>>> import numpy as np, scipy.sparse, wengert as wg
>>> difference = scipy.sparse.diags_array([-np.ones(3), np.ones(2)], offsets=[0, 1])
>>> wg.grad(lambda x: np.sum((difference @ x) ** 2))(np.array([1.0, 3.0, 4.0]))
array([-4.,  2., 10.])
"""

from __future__ import annotations

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
