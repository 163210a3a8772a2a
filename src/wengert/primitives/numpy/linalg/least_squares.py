"""Pseudoinverses and least squares: the rank is taken as constant, at the value that NumPy determines.

>>> import numpy as np, wengert as wg
>>> A = np.array([[1.0, 0.0], [1.0, 2.0], [1.0, 4.0], [1.0, 6.0]])
>>> wg.grad(lambda b: np.linalg.lstsq(A, b)[0][1])(np.array([1.0, 2.0, 4.0, 4.0])).round(6)
array([-0.15, -0.05,  0.05,  0.15])
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.jacobians import LocalJacobian, Map
from wengert.primitives.numpy.functions.manipulation import astype
from wengert.primitives.numpy.functions.operands import as_operand
from wengert.primitives.numpy.linalg.matrices import (
    OF_MATRICES,
    Array,
    adjoint,
    conj,
    cubic,
    matrices,
    product,
    real_kind,
    transposed,
)
from wengert.primitives.numpy.linalg.singular_values import svdvals_
from wengert.primitives.table import array_function, calls, step_function

# ---- The rows ----


def _pinv_partial(y: Any, x: Any, rcond: Any) -> LocalJacobian:
    """Golub & Pereyra (1973): the differential of the pseudoinverse at constant rank."""
    m, n = x.shape[-2:]
    P = y
    left, right = np.eye(m, dtype=real_kind(x)) - x @ P, np.eye(n, dtype=real_kind(x)) - P @ x
    PP, QQ = P @ adjoint(P), adjoint(P) @ P

    def push(t: Array) -> Array:
        return PP @ adjoint(t) @ left + right @ adjoint(t) @ QQ - P @ t @ P

    def pull(g: Array) -> Array:
        G = conj(g)
        return conj(left @ adjoint(G) @ PP + QQ @ adjoint(G) @ right - adjoint(P) @ G @ adjoint(P))

    return Map(x.shape, y.shape, push, pull, product(8, x.shape), name="pinv", mixes=OF_MATRICES)


pinv_ = array_function(
    "pinv",
    lambda x, rcond: np.linalg.pinv(x) if rcond is None else np.linalg.pinv(x, rcond),
    _pinv_partial,
    formula_rule=False,
    source=lambda args, params: f"np.linalg.pinv({args[0]}, {params['rcond']!r})",
    counts=cubic(18.0),
    kink="the rank is held: it is what NumPy finds it to be",
)
matrix_rank_ = step_function(
    "matrix_rank",
    lambda x, tol, hermitian, rtol: np.linalg.matrix_rank(x, tol, hermitian, rtol=rtol),
    source="np.linalg.matrix_rank({0})",
    counts=cubic(4.0),
    kink="0 everywhere: it is an integer",
)


def _lstsq_of(x: Any, b: Any, rcond: Any) -> Any:
    return np.linalg.lstsq(x, b, rcond)[0]


def _lstsq_matrix(y: Any, x: Any, b: Any, rcond: Any) -> LocalJacobian:
    P = pinv_(x, rcond=_cutoff(x, rcond))
    n = x.shape[-1]
    right = np.eye(n, dtype=real_kind(x)) - P @ x
    PP, QQ = P @ adjoint(P), adjoint(P) @ y
    residual = b - x @ y

    def push(t: Array) -> Array:
        return PP @ (adjoint(t) @ residual) + right @ (adjoint(t) @ QQ) - P @ (t @ y)

    def pull(g: Array) -> Array:
        G = conj(g)
        return conj(residual @ (adjoint(G) @ PP) + QQ @ (adjoint(G) @ right) - (adjoint(P) @ G) @ adjoint(y))

    return Map(x.shape, y.shape, push, pull, product(4, x.shape), name="lstsq")


def _lstsq_right(_y: Any, x: Any, _b: Any, rcond: Any) -> LocalJacobian:
    P = pinv_(x, rcond=_cutoff(x, rcond))
    return Map(_b.shape, _y.shape, lambda t: P @ t, lambda g: transposed(P) @ g, product(1, x.shape), name="lstsq")


def _cutoff(x: Array, rcond: float | None) -> float:
    """Return below which singular values lstsq takes for 0, relative to the largest one."""
    if rcond is None:
        return float(np.finfo(x.dtype).eps) * int(max(x.shape[-2:]))
    return float(np.finfo(x.dtype).eps) if rcond == -1 else float(rcond)


lstsq_ = array_function(
    "lstsq",
    _lstsq_of,
    _lstsq_matrix,
    _lstsq_right,
    formula_rule=False,
    source=lambda args, params: f"np.linalg.lstsq({args[0]}, {args[1]}, {params['rcond']!r})[0]",
    counts=cubic(4.0),
    kink="the rank is held: it is what NumPy finds it to be",
)


# ---- The functions that users call ----


@calls(np.linalg.pinv)
def pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = np._NoValue) -> Any:
    if rcond is not None and rtol is not np._NoValue:
        raise ValueError("`rtol` and `rcond` can't be both set.")
    if rtol is not np._NoValue:
        rcond = rtol if rtol is not None else float(np.finfo(a.dtype).eps) * max(a.shape[-2:])
    a = as_operand(a)
    matrices(a)
    if hermitian:  # NumPy reads the lower triangle
        a = np.tril(a) + adjoint(np.tril(a, -1))
    return pinv_(a, rcond=rcond)


@calls(np.linalg.lstsq)
def lstsq(a: Any, b: Any, rcond: Any = None) -> Any:
    a, b = as_operand(a), as_operand(b)
    a = astype(a, np.float64) if a.dtype.kind in "biu" else a
    if a.ndim != 2:
        raise np.linalg.LinAlgError(f"{a.ndim}-dimensional array given. Array must be two-dimensional")
    column = b.ndim == 1
    right = b[:, None] if column else b
    x = lstsq_(a, right, rcond=rcond)
    s = svdvals_(a)
    m, n = a.shape
    rank = matrix_rank_(a, tol=None, hermitian=False, rtol=_cutoff(a, rcond))
    overdetermined = m > n and int(rank) == n
    residuals = np.sum(np.square(np.abs(right - a @ x)), axis=-2) if overdetermined else np.zeros(0, s.dtype)
    return (x[:, 0] if column else x), residuals, rank, s


@calls(np.linalg.matrix_rank)
def matrix_rank(A: Any, tol: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:
    return matrix_rank_(as_operand(A), tol=tol, hermitian=hermitian, rtol=rtol)
