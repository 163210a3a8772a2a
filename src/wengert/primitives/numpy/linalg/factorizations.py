"""Triangular factors: Cholesky's ``A = L L^H``, and ``A = Q R``.

>>> import numpy as np, wengert as wg
>>> wg.grad(lambda A: np.linalg.cholesky(A)[1, 1])(np.array([[4.0, 2.0], [2.0, 5.0]]))[1]
array([-0.25,  0.25])
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.linalg import blas

from wengert.errors import UnsupportedError
from wengert.jacobians import LocalJacobian, Map
from wengert.primitives.numpy.elementwise import is_complex
from wengert.primitives.numpy.functions.operands import as_operand
from wengert.primitives.numpy.linalg.basis_completion import completion, completion_of
from wengert.primitives.numpy.linalg.degeneracy import degenerate, identity, tolerance
from wengert.primitives.numpy.linalg.lapack import routine
from wengert.primitives.numpy.linalg.matrices import (
    OF_MATRICES,
    Array,
    adjoint,
    conj,
    cubic,
    matrices,
    named,
    product,
    transposed,
)
from wengert.primitives.numpy.linalg.solving import inv_, inverse_of_lower
from wengert.primitives.numpy.linalg.triangular import folded, hermitian, triangle
from wengert.primitives.table import array_function, calls

# ---- Cholesky ----


def _cholesky_partial(y: Any, x: Any, upper: bool) -> LocalJacobian:
    """Smith (1995), "Differentiation of the Cholesky algorithm": dL = L phi(L^-1 dA L^-H), phi halving the diagonal."""
    L = adjoint(y) if upper else y
    phi = triangle(x.shape[-1], x.dtype, half=True)

    def push(t: Array) -> Array:
        M = inverse_of_lower(L)
        dL = L @ (phi * (M @ hermitian(t, not upper) @ adjoint(M)))
        return adjoint(dL) if upper else dL

    def pull(g: Array) -> Array:
        gL = adjoint(g) if upper else g
        trmm = None if is_complex(L) else routine(blas, "trmm", L, gL)
        if trmm is None:
            M = inverse_of_lower(L)
            inner = transposed(M) @ (phi * (transposed(L) @ gL)) @ conj(M)
        else:  # half of the multiplications, and no inverse; BLAS counts by columns, so all is transposed
            trsm = routine(blas, "trsm", L)
            inner = trmm(1.0, L.T, gL.T, side=1, trans_a=1)
            inner *= phi.T
            inner = trsm(1.0, L.T, inner, overwrite_b=1)
            inner = trsm(1.0, L.T, inner, side=1, trans_a=1, overwrite_b=1).T
        return folded(inner, not upper)

    support = triangle(x.shape[-1], x.dtype, lower=not upper) != 0
    return Map(
        x.shape, x.shape, push, pull, lambda: product(4, x.shape), name="cholesky", support=support, mixes=OF_MATRICES
    )


cholesky_ = array_function(
    "cholesky",
    lambda x, upper: np.linalg.cholesky(x, upper=upper),
    _cholesky_partial,
    formula_rule=False,
    source=lambda args, params: f"np.linalg.cholesky({args[0]}, upper={params['upper']})",
    counts=cubic(1 / 6),
    kink="a function of the triangle that NumPy reads: the other one has derivative 0",
)


@calls(np.linalg.cholesky)
def cholesky(a: Any, /, *, upper: bool = False) -> Any:
    return cholesky_(a, upper=bool(upper))


# ---- QR ----


def _qr_packed(x: Any) -> Any:
    return np.concatenate(np.linalg.qr(x, mode="reduced"), axis=-2)


def _full_rank(R: Any) -> Any:
    sizes = np.abs(np.diagonal(R, axis1=-2, axis2=-1))
    if np.any(np.min(sizes, axis=-1, initial=np.inf) <= tolerance(sizes)):
        raise degenerate("the columns of a matrix are linearly dependent, and the Q of its QR is not determined")
    return R


full_rank = array_function(
    "full_rank",
    _full_rank,
    lambda _y, _x: identity(_x),
    formula_rule=False,
    source="wengert.primitives.numpy.linalg.full_rank({0})",
    kink="an error where columns are linearly dependent",
)


def _qr_partial(y: Any, x: Any) -> LocalJacobian:
    """Differentiate ``A = Q R``: ``Q^H dA R^-1 = Q^H dQ + dR R^-1``, an antihermitian and a triangular part."""
    m, n = x.shape[-2:]
    Q, R = y[..., :m, :], full_rank(y[..., m:, :])
    M = inv_(R)
    low = triangle(n, x.dtype, strict=True)

    def push(t: Array) -> Array:
        B = t @ M
        C = adjoint(Q) @ B
        side = C * low
        turn = side - adjoint(side)
        if is_complex(C):
            turn = turn + 1j * np.imag(C) * np.eye(n)  # R has a real diagonal
        return np.concatenate([B - Q @ (C - turn), (C - turn) @ R], axis=-2)

    def pull(g: Array) -> Array:
        g = conj(g)
        gQ, gR = g[..., :m, :], g[..., m:, :]
        K = gR @ adjoint(R) - adjoint(Q) @ gQ  # of C - turn
        turn = -K
        side = turn * low
        gC = K + side - adjoint(turn * low.T)
        if is_complex(gC):
            gC = gC + 1j * np.imag(turn) * np.eye(n)
        return conj((gQ + Q @ gC) @ adjoint(M))

    support = np.concatenate([np.ones((m, n), bool), np.tri(n, dtype=bool).T])
    return Map(x.shape, y.shape, push, pull, product(5, x.shape), name="qr", support=support, mixes=OF_MATRICES)


qr_ = array_function(
    "qr",
    _qr_packed,
    _qr_partial,
    formula_rule=False,
    source="np.concatenate(np.linalg.qr({0}), axis=-2)",
    counts=cubic(2.0),
)


@calls(np.linalg.qr)
def qr(a: Any, mode: str = "reduced") -> Any:
    a = as_operand(a)
    mode = {"full": "reduced", "f": "reduced", "e": "economic"}.get(mode, mode)
    if mode not in ("reduced", "complete", "r"):
        raise UnsupportedError(f"np.linalg.qr with mode={mode!r} has no rule; use 'reduced', 'complete' or 'r'.")
    matrices(a)
    m, n = a.shape[-2:]
    k = min(m, n)
    packed = qr_(a[..., :k] if n > m else a)
    Q, R = packed[..., :m, :], packed[..., m:, :]
    if n > m:
        R = np.concatenate([R, adjoint(Q) @ a[..., k:]], axis=-1)
    if mode == "r":
        return R
    if mode == "complete" and m > n:
        completing = completion_of(a)
        Q = np.concatenate([Q, completion(Q, completing)], axis=-1)
        R = np.concatenate([R, np.zeros((*R.shape[:-2], m - n, n), R.dtype)], axis=-2)
    return named("QRResult", Q, R)
