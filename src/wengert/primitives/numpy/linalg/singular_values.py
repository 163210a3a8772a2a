"""Singular values and vectors, ``A = U S V^H``.

The row is one array: the left vectors, below them a row of singular values, below it the (conjugate) right vectors.

>>> import numpy as np, wengert as wg
>>> wg.grad(lambda A: np.linalg.svdvals(A)[0])(np.array([[2.0, 1.0], [1.0, 2.0]])).round(6)
array([[0.5, 0.5],
       [0.5, 0.5]])
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.jacobians import LocalJacobian, Map
from wengert.primitives.numpy.elementwise import is_complex
from wengert.primitives.numpy.functions.operands import as_operand
from wengert.primitives.numpy.linalg.basis_completion import completion, full_svd
from wengert.primitives.numpy.linalg.degeneracy import gaps, joined, level, magnitude, ratio, settle, shared, tolerance
from wengert.primitives.numpy.linalg.eigenvalues import eigh_, eigvalsh_
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
from wengert.primitives.table import array_function, calls, step_function

# ---- The rows ----


def _svd_packed(x: Any) -> Any:
    U, s, Vh = np.linalg.svd(x, full_matrices=False)
    return np.concatenate([U, s[..., None, :], np.swapaxes(Vh, -1, -2)], axis=-2)


def _svd_partial(y: Any, x: Any) -> LocalJacobian:
    """Differentiate ``A = U S V^H``, with ``P = U^H dA V``.

    Its Hermitian part is divided by differences of singular values, its antihermitian part by sums:
    ``dU = U (E + D) + (1 - U U^H) dA V / S`` and ``dV = V (E - D) + (1 - V V^H) dA^H U / S``.
    """
    m, n = x.shape[-2:]
    k = min(m, n)
    y = settle(y, real(y[..., m, :]), positive=True)
    U, s, V = y[..., :m, :], real(y[..., m, :]), conj(y[..., m + 1 :, :])
    gap, total = gaps(s), gaps(s, 1)
    size = magnitude(s[..., None, :])
    one = np.eye(k, dtype=real_kind(x))
    off = 1 - one

    def rest(X: Array, basis: Array) -> Array:
        """Return the part of the columns outside of a basis, divided by the singular values."""
        part = X - basis @ (adjoint(basis) @ X)
        return ratio(part, s[..., None, :], size, level(X))

    def push(t: Array) -> Array:
        P = adjoint(U) @ t @ V
        scale = level(P)
        E = ratio((P + adjoint(P)) / 2 * off, gap, size, scale)
        D = ratio((P - adjoint(P)) / 2 * (off if not is_complex(P) else 1), total, size, scale)
        dU, dV = U @ (E + D), V @ (E - D)
        if m > k:
            dU = dU + rest(t @ V, U)
        if n > k:
            dV = dV + rest(adjoint(t) @ U, V)
        ds = shared(real(np.diagonal(P, axis1=-2, axis2=-1)), s)
        return np.concatenate([dU, ds[..., None, :].astype(dU.dtype), conj(dV)], axis=-2)

    def pull(g: Array) -> Array:
        g = conj(g)
        gU, gs, gV = g[..., :m, :], real(g[..., m, :]), conj(g[..., m + 1 :, :])
        NU, NV = adjoint(U) @ gU, adjoint(V) @ gV
        E, D = NU + NV, NU - NV
        scale = level(np.concatenate([NU, NV], axis=-1))
        gs = shared(joined(gs, E, s), s)
        inner = ratio((E - adjoint(E)) / 2, gap, size, scale) + ratio((D - adjoint(D)) / 2, total, size, scale)
        inner = inner + gs[..., None, :] * one
        total_ = U @ inner @ adjoint(V)
        if m > k:
            total_ = total_ + rest(gU, U) @ adjoint(V)
        if n > k:
            total_ = total_ + U @ adjoint(rest(gV, V))
        return conj(total_)

    return Map(x.shape, y.shape, push, pull, product(6, x.shape), name="svd", mixes=OF_MATRICES)


svd_ = array_function(
    "svd",
    _svd_packed,
    _svd_partial,
    formula_rule=False,
    source=(
        "(lambda u, s, vh: np.concatenate([u, s[..., None, :], np.swapaxes(vh, -1, -2)], axis=-2))"
        "(*np.linalg.svd({0}, full_matrices=False))"
    ),
    counts=cubic(14.0),
    kink="repeated singular values: equal shares; of their vectors only the span has a derivative, else an error",
)


def _svdvals_partial(y: Any, x: Any) -> LocalJacobian:
    m = x.shape[-2]
    packed = svd_(x)
    s = real(packed[..., m, :])
    settled_ = settle(packed, s, positive=True)
    U, V = settled_[..., :m, :], conj(settled_[..., m + 1 :, :])
    positive = nonzero(s)

    def push(t: Array) -> Array:
        return shared(real(np.sum(conj(U) * (t @ V), axis=-2)) * positive, s)

    def pull(g: Array) -> Array:
        return conj((U * (shared(g, s) * positive)[..., None, :]) @ adjoint(V))

    return Map(x.shape, y.shape, push, pull, product(2, x.shape), name="svdvals", mixes=((-2, -1), (-1,)))


nonzero = step_function(
    "nonzero_values",
    lambda s: (s > tolerance(s)[..., None]).astype(s.dtype),
    source="wengert.primitives.numpy.linalg.nonzero({0})",
    kink="0 everywhere",
)
svdvals_ = array_function(
    "svdvals",
    lambda x: np.linalg.svd(x, compute_uv=False),
    _svdvals_partial,
    formula_rule=False,
    source="np.linalg.svd({0}, compute_uv=False)",
    counts=cubic(4.0),
    kink="repeated singular values: equal shares, as of ties; at 0: 0, as of the absolute value",
)
order_by_size = step_function(
    "order_by_size",
    lambda w: np.argsort(np.abs(w), axis=-1)[..., ::-1],
    source="np.argsort(np.abs({0}), axis=-1)[..., ::-1]",
)


# ---- The functions that users call ----


@calls(np.linalg.svd)
def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    a = as_operand(a)
    if hermitian:
        return _svd_of_hermitian(a, compute_uv)
    if not compute_uv:
        return svdvals_(a)
    packed = svd_(a)
    m, n = a.shape[-2:]
    U, s, V = packed[..., :m, :], real(packed[..., m, :]), packed[..., m + 1 :, :]
    if full_matrices and m != n:
        if m > n:
            U = np.concatenate([U, completion(U, full_svd(a, right=False))], axis=-1)
        else:
            V = np.concatenate([V, conj(completion(conj(V), conj(full_svd(a, right=True))))], axis=-1)
    return named("SVDResult", U, s, transposed(V))


def _svd_of_hermitian(a: Any, compute_uv: bool) -> Any:
    """As NumPy: eigenvalues by size, their signs to the left vectors."""
    w = eigvalsh_(a, lower=True) if not compute_uv else None
    if w is not None:
        return np.abs(np.take_along_axis(w, order_by_size(w), axis=-1))
    packed = eigh_(a, lower=True)
    w, V = real(packed[..., 0, :]), packed[..., 1:, :]
    order = order_by_size(w)
    w, V = np.take_along_axis(w, order, axis=-1), np.take_along_axis(V, order[..., None, :], axis=-1)
    return named("SVDResult", V, np.abs(w), adjoint(V * np.sign(w)[..., None, :]))


@calls(np.linalg.svdvals)
def svdvals(x: Any, /) -> Any:
    return svdvals_(x)
