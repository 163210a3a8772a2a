"""Determinants, which are polynomials: their derivatives exist at singular matrices too, by cofactors.

>>> import numpy as np, wengert as wg
>>> wg.grad(np.linalg.det)(np.array([[1.0, 2.0], [2.0, 4.0]])).round(6)
array([[ 4., -2.],
       [-2.,  1.]])
"""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np

from wengert.jacobians import LocalJacobian, Map
from wengert.primitives.numpy.elementwise import is_complex
from wengert.primitives.numpy.linalg.matrices import OF_MATRICES, Array, cubic, named, product, real, spread, transposed
from wengert.primitives.numpy.linalg.solving import inv_
from wengert.primitives.table import array_function, calls
from wengert.program import Primitive

# ---- Cofactors ----


def _cofactors(x: Any) -> Any:
    """The matrix of cofactors ``det(A) A^-T``, a polynomial in A: by singular values where A is nearly singular."""
    if x.size == 0:
        return x
    with contextlib.suppress(np.linalg.LinAlgError):
        Y = np.linalg.inv(x)
        condition = np.max(np.abs(x), axis=(-2, -1)) * np.max(np.abs(Y), axis=(-2, -1))
        if np.all(condition < 1e-2 / math.sqrt(np.finfo(x.dtype).eps)):
            return np.linalg.det(x)[..., None, None] * np.swapaxes(Y, -1, -2)
    U, s, Vh = np.linalg.svd(x)
    n = s.shape[-1]
    others = np.stack([np.prod(np.delete(s, k, axis=-1), axis=-1) for k in range(n)], axis=-1)
    sign = np.linalg.det(U) * np.linalg.det(Vh)
    return sign[..., None, None] * np.matmul(np.conj(U), others[..., :, None] * np.conj(Vh))


def _cofactors_slope(x: Any, t: Any) -> Any:
    """The derivative of `_cofactors` along `t`: products of all singular values but two."""
    U, s, Vh = np.linalg.svd(x)
    n = s.shape[-1]
    table = np.zeros((*s.shape, n), s.dtype)
    for i in range(n):
        for j in range(n):
            if i != j:
                table[..., i, j] = np.prod(np.delete(s, [i, j], axis=-1), axis=-1)
    inner = np.matmul(np.conj(np.swapaxes(U, -1, -2)), np.matmul(t, np.conj(np.swapaxes(Vh, -1, -2))))
    diagonal = np.diagonal(inner, axis1=-2, axis2=-1)
    trace = np.matmul(table, diagonal[..., None])
    middle = trace * np.eye(n) - table * np.swapaxes(inner, -1, -2)
    sign = np.linalg.det(U) * np.linalg.det(Vh)
    return (sign[..., None, None] * np.matmul(np.conj(U), np.matmul(middle, np.conj(Vh)))).astype(t.dtype)


def _slope_of_cofactors_slope(_y: Any, x: Any, t: Any) -> LocalJacobian:
    """Third order of the determinant: by the inverse, where there is one."""
    Y = inv_(x)
    d = det_(x)[..., None, None]

    def cofactors_slope_slope(s: Array) -> Array:
        a, b = Y @ s, Y @ t
        ta, tb = np.trace(a, axis1=-2, axis2=-1), np.trace(b, axis1=-2, axis2=-1)
        tab = np.trace(a @ b, axis1=-2, axis2=-1)
        inner = (ta * tb - tab)[..., None, None] * Y - ta[..., None, None] * (b @ Y) - tb[..., None, None] * (a @ Y)
        return d * transposed(inner + a @ b @ Y + b @ a @ Y)

    return Map(x.shape, x.shape, cofactors_slope_slope, cofactors_slope_slope, product(6, x.shape), name="cofactors",
               mixes=OF_MATRICES)  # fmt: skip


cofactors = array_function(
    "cofactors",
    _cofactors,
    lambda _y, x: Map(
        x.shape,
        x.shape,
        lambda t: cofactors_slope(spread(x, t), t),
        lambda g: cofactors_slope(spread(x, g), g),  # a second derivative: symmetric
        product(4, x.shape),
        name="cofactors",
        mixes=OF_MATRICES,
    ),
    formula_rule=False,
    source="wengert.primitives.numpy.linalg.cofactors({0})",
    counts=cubic(8.0),
)
cofactors_slope: Primitive = array_function(
    "cofactors_slope",
    _cofactors_slope,
    lambda _y, x, t: _slope_of_cofactors_slope(_y, x, t),
    lambda _y, x, _t: Map(
        _t.shape,
        _t.shape,
        lambda t: cofactors_slope(spread(x, t), t),
        lambda g: cofactors_slope(spread(x, g), g),
        product(4, x.shape),
        name="cofactors",
        mixes=OF_MATRICES,
    ),
    formula_rule=False,
    source="wengert.primitives.numpy.linalg.cofactors_slope({0}, {1})",
    counts=cubic(12.0),
)


# ---- The rows ----


def _det_partial(_y: Any, x: Any) -> LocalJacobian:
    C = cofactors(x)
    return Map(
        x.shape,
        _y.shape,
        lambda t: np.sum(C * t, axis=(-2, -1)),
        lambda g: g[..., None, None] * C,
        product(0, x.shape) | {"multiplications": x.size},
        name="det",
        mixes=((-2, -1), ()),
    )


det_ = array_function(
    "det",
    np.linalg.det,
    _det_partial,
    formula_rule=False,
    source="np.linalg.det({0})",
    counts=cubic(1 / 3),
    kink="a polynomial: by cofactors at singular matrices too",
)


def _slogdet_partial(y: Any, x: Any) -> LocalJacobian:
    W = transposed(inv_(x))

    def push(t: Array) -> Array:
        slope = np.sum(W * t, axis=(-2, -1))
        turn = y[..., 0] * (1j * np.imag(slope)) if is_complex(x) else np.zeros(slope.shape, slope.dtype)
        return np.stack([turn, real(slope).astype(y.dtype)], axis=-1)

    def pull(g: Array) -> Array:
        if not is_complex(x):
            return g[..., 1][..., None, None] * W
        turn = np.imag(g[..., 0] * y[..., 0])
        return (np.real(g[..., 1]) + 1j * turn)[..., None, None] * W

    return Map(x.shape, y.shape, push, pull, product(1, x.shape), name="slogdet")


slogdet_ = array_function(
    "slogdet",
    lambda x: np.stack([*np.linalg.slogdet(x)], axis=-1),
    _slogdet_partial,
    formula_rule=False,
    source="np.stack([*np.linalg.slogdet({0})], axis=-1)",
    counts=cubic(1 / 3),
)


# ---- The functions that users call ----


@calls(np.linalg.det)
def det(a: Any) -> Any:
    return det_(a)


@calls(np.linalg.slogdet)
def slogdet(a: Any) -> Any:
    packed = slogdet_(a)
    return named("SlogdetResult", packed[..., 0], real(packed[..., 1]))
