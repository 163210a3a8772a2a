"""Eigenvalues and eigenvectors, of symmetric (Hermitian) matrices and of general ones.

A row with vectors is one array: the eigenvalues are its first row, the vectors stand below them.

>>> import numpy as np, wengert as wg
>>> wg.grad(lambda A: np.linalg.eigvalsh(A)[1])(np.array([[2.0, 1.0], [1.0, 2.0]])).round(6)
array([[0.5, 0. ],
       [1. , 0.5]])
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.jacobians import LocalJacobian, Map
from wengert.primitives.numpy.elementwise import is_complex
from wengert.primitives.numpy.linalg.degeneracy import (
    degenerate,
    gaps,
    identity,
    joined,
    level,
    magnitude,
    ratio,
    settle,
    shared,
)
from wengert.primitives.numpy.linalg.matrices import (
    OF_MATRICES,
    Array,
    adjoint,
    conj,
    cubic,
    named,
    product,
    real,
    real_kind,
    transposed,
)
from wengert.primitives.numpy.linalg.solving import inv_
from wengert.primitives.numpy.linalg.triangular import folded, hermitian
from wengert.primitives.table import array_function, calls, step_function

# ---- Symmetric (Hermitian) matrices ----


def _eigh_packed(x: Any, lower: bool) -> Any:
    w, V = np.linalg.eigh(x, UPLO="L" if lower else "U")
    return np.concatenate([w[..., None, :], V], axis=-2)


def eigh_rule(y: Array, x: Array, lower: bool) -> LocalJacobian:
    """Differentiate ``A V = V w``: ``dw = diag(V^H dA V)``, ``dV = V (F * V^H dA V)`` with ``F_ij = 1/(w_j - w_i)``."""
    w = real(y[..., 0, :])
    y = settle(y, w)
    w, V = real(y[..., 0, :]), y[..., 1:, :]
    gap = gaps(w)
    size = magnitude(w[..., None, :])
    n = x.shape[-1]

    def push(t: Array) -> Array:
        P = adjoint(V) @ hermitian(t, lower) @ V
        dw = shared(real(np.diagonal(P, axis1=-2, axis2=-1)), w)
        dV = V @ ratio(P * (1 - np.eye(n, dtype=real_kind(P))), gap, size, level(P))
        return np.concatenate([dw[..., None, :].astype(dV.dtype), dV], axis=-2)

    def pull(g: Array) -> Array:
        g = conj(g)
        gw, N = real(g[..., 0, :]), adjoint(V) @ g[..., 1:, :]
        gw = shared(joined(gw, N, w), w)
        inner = ratio((N - adjoint(N)) / 2, gap, size, level(N)) + gw[..., None, :] * np.eye(n, dtype=gw.dtype)
        return conj(folded(V @ inner @ adjoint(V), lower))

    return Map(x.shape, y.shape, push, pull, product(4, x.shape), name="eigh", mixes=OF_MATRICES)


EQUAL_VALUES = "repeated eigenvalues: equal shares; of their vectors only the span has a derivative, else an error"
eigh_ = array_function(
    "eigh",
    _eigh_packed,
    eigh_rule,
    formula_rule=False,
    source=lambda args, params: (
        "(lambda w, v: np.concatenate([w[..., None, :], v], axis=-2))"
        f"(*np.linalg.eigh({args[0]}, UPLO={'L' if params['lower'] else 'U'!r}))"
    ),
    counts=cubic(9.0),
    kink=EQUAL_VALUES,
)


def eigvalsh_rule(y: Array, x: Array, lower: bool) -> LocalJacobian:
    """Differentiate eigenvalues alone: ``dw = diag(V^H dA V)``."""
    pair = eigh_(x, lower=lower)
    w = real(pair[..., 0, :])
    V = settle(pair, w)[..., 1:, :]

    def push(t: Array) -> Array:
        return shared(real(np.sum(conj(V) * (hermitian(t, lower) @ V), axis=-2)), w)

    def pull(g: Array) -> Array:
        return conj(folded((V * shared(g, w)[..., None, :]) @ adjoint(V), lower))

    return Map(x.shape, y.shape, push, pull, product(2, x.shape), name="eigvalsh", mixes=((-2, -1), (-1,)))


eigvalsh_ = array_function(
    "eigvalsh",
    lambda x, lower: np.linalg.eigvalsh(x, UPLO="L" if lower else "U"),
    eigvalsh_rule,
    formula_rule=False,
    source=lambda args, params: f"np.linalg.eigvalsh({args[0]}, UPLO={'L' if params['lower'] else 'U'!r})",
    counts=cubic(4 / 3),
    kink="repeated eigenvalues: equal shares, as of ties",
)


# ---- General matrices ----


def _eig_packed(x: Any) -> Any:
    w, V = np.linalg.eig(x)
    return np.concatenate([w[..., None, :], V], axis=-2)


def _eig_partial(y: Any, x: Any) -> LocalJacobian:
    """Differentiate ``A V = V w``; each vector keeps length 1 and its largest element real, as LAPACK scales it."""
    w, V = y[..., 0, :], y[..., 1:, :]
    M = inv_(V)
    gap = gaps(w)
    n = x.shape[-1]
    size = magnitude(w[..., None, :])
    off = 1 - np.eye(n, dtype=real_kind(x))
    largest_of = largest(V)

    def push(t: Array) -> Array:
        P = M @ t @ V
        D = V @ ratio(P * off, gap, size, level(P))
        length = real(np.sum(conj(V) * D, axis=-2))
        scale = length
        if is_complex(D):
            scale = length + 1j * (np.imag(np.sum(largest_of * D, axis=-2)) / real(np.sum(largest_of * V, axis=-2)))
        return np.concatenate([np.diagonal(P, axis1=-2, axis2=-1)[..., None, :], D - V * scale[..., None, :]], axis=-2)

    def pull(g: Array) -> Array:
        gw, gV = g[..., 0, :], g[..., 1:, :]
        gs = -np.sum(V * gV, axis=-2)
        gD = gV + conj(V) * real(gs)[..., None, :]
        if is_complex(g):
            turn = -np.imag(gs) / real(np.sum(largest_of * V, axis=-2))  # of the imaginary part of the largest element
            gD = gD - 1j * largest_of * turn[..., None, :]
        N = transposed(V) @ gD
        inner = ratio(N * off, gap, size, level(N)) + gw[..., None, :] * np.eye(n, dtype=real_kind(x))
        return transposed(M) @ inner @ transposed(V)

    return Map(x.shape, y.shape, push, pull, product(4, x.shape), name="eig", mixes=OF_MATRICES)


def _largest(V: Any) -> Any:
    size = np.abs(V)
    return (np.arange(V.shape[-2])[:, None] == np.argmax(size, axis=-2)[..., None, :]).astype(size.dtype)


largest = step_function(
    "largest",
    _largest,
    source="(np.arange({0}.shape[-2])[:, None] == np.argmax(np.abs({0}), axis=-2)[..., None, :]).astype(float)",
)
eig_ = array_function(
    "eig",
    _eig_packed,
    _eig_partial,
    formula_rule=False,
    source="(lambda w, v: np.concatenate([w[..., None, :], v], axis=-2))(*np.linalg.eig({0}))",
    counts=cubic(25.0),
    kink="repeated eigenvalues: an error",
)


def _eigvals_partial(y: Any, x: Any) -> LocalJacobian:
    pair = eig_(x)
    w, V = pair[..., 0, :], pair[..., 1:, :]
    M = inv_(V)

    def push(t: Array) -> Array:
        return distinct_values(np.sum(transposed(M) * (t @ V), axis=-2), w)

    def pull(g: Array) -> Array:
        return transposed(M) @ (distinct_values(g, w)[..., :, None] * transposed(V))

    return Map(x.shape, y.shape, push, pull, product(2, x.shape), name="eigvals", mixes=((-2, -1), (-1,)))


def _distinct_values(x: Any, w: Any) -> Any:
    n = w.shape[-1]
    gap = np.abs(w[..., None, :] - w[..., :, None]) + np.where(np.eye(n, dtype=bool), np.inf, 0.0)
    if n > 1 and np.any(gap <= 8 * n * np.finfo(w.dtype).eps * np.max(np.abs(w), axis=-1)[..., None, None]):
        raise degenerate("an eigenvalue of a general matrix is repeated")
    return x


distinct_values = array_function(
    "distinct_values",
    _distinct_values,
    lambda _y, _x, _w: identity(_x),
    None,
    formula_rule=False,
    source=lambda args, _params: f"wengert.primitives.numpy.linalg.distinct_values({', '.join(args)})",
    kink="an error where values repeat",
)
eigvals_ = array_function(
    "eigvals",
    np.linalg.eigvals,
    _eigvals_partial,
    formula_rule=False,
    source="np.linalg.eigvals({0})",
    counts=cubic(10.0),
    kink="repeated eigenvalues: an error",
)


# ---- What users call ----


@calls(np.linalg.eigh)
def eigh(a: Any, UPLO: str = "L") -> Any:
    packed = eigh_(a, lower=_lower(UPLO))
    return named("EighResult", real(packed[..., 0, :]), packed[..., 1:, :])


@calls(np.linalg.eigvalsh)
def eigvalsh(a: Any, UPLO: str = "L") -> Any:
    return eigvalsh_(a, lower=_lower(UPLO))


def _lower(UPLO: str) -> bool:
    side = UPLO.upper()
    if side not in ("L", "U"):
        raise ValueError("UPLO argument must be 'L' or 'U'")
    return side == "L"


@calls(np.linalg.eig)
def eig(a: Any) -> Any:
    packed = eig_(a)
    return named("EigResult", packed[..., 0, :], packed[..., 1:, :])


@calls(np.linalg.eigvals)
def eigvals(a: Any) -> Any:
    return eigvals_(a)
