"""``scipy.linalg``: relatives of the factorizations that have rows, balancing, angles, and what is asked of a matrix.

They are written in terms of QR, singular values and functions of a matrix; what only decides (a permutation, a scaling
by powers of two) is a step, whose derivative is zero.

>>> import numpy as np, scipy.linalg, wengert as wg
>>> A = np.array([[3.0, 1.0], [4.0, 2.0]])
>>> corner = lambda A: scipy.linalg.rq(A)[0][1, 1]  # minus the length of the last row
>>> np.round(wg.grad(corner)(A), 3)
array([[ 0.   ,  0.   ],
       [-0.894, -0.447]])
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg as sp

from wengert.errors import UnsupportedError
from wengert.primitives.numpy.functions.operands import as_operand
from wengert.primitives.numpy.linalg import factorizations, least_squares, norms, singular_values
from wengert.primitives.numpy.linalg.matrices import adjoint, conj, square_of, transposed
from wengert.primitives.numpy.linalg.triangular import hermitian
from wengert.primitives.scipy.linalg import expm_, in_block, unsupported
from wengert.primitives.table import calls, step_function


def _one_matrix(name: str, a: Any) -> Any:
    a = as_operand(a)
    if a.ndim != 2:
        raise UnsupportedError(f"scipy.linalg.{name} of shape {a.shape} has no rule; it has for one matrix.")
    return a


# ---- QR and its relatives ----

pivoted_columns = step_function(
    "pivoted_columns",
    lambda x: sp.qr(x, mode="r", pivoting=True)[1],
    source="scipy.linalg.qr({0}, mode='r', pivoting=True)[1]",
)


def _orthonormal(a: Any, mode: str) -> tuple[Any, Any]:
    Q, R = factorizations.qr(a, "complete" if mode == "full" else "reduced")
    return Q, R


@calls(sp.qr, catch=sp)
def qr(a: Any, mode: str = "full", pivoting: bool = False) -> Any:
    if mode == "raw":
        raise UnsupportedError("scipy.linalg.qr with mode='raw' has no rule; use 'full', 'r' or 'economic'.")
    if mode not in ("full", "r", "economic"):
        raise ValueError("Mode argument should be one of ['full', 'r', 'economic', 'raw']")
    a = as_operand(a)
    order: tuple[Any, ...] = ()
    if pivoting:
        order = (pivoted_columns(_one_matrix("qr", a)),)
        a = a[:, order[0]]
    if mode == "r":
        R = factorizations.qr(a, "r")
        missing = a.shape[-2] - R.shape[-2]
        if missing:
            R = np.concatenate([R, np.zeros((*R.shape[:-2], missing, R.shape[-1]), R.dtype)], axis=-2)
        return (R, *order)
    return (*_orthonormal(a, mode), *order)


@calls(sp.qr_multiply, catch=sp)
def qr_multiply(a: Any, c: Any, mode: str = "right", pivoting: bool = False, conjugate: bool = False) -> Any:
    if mode not in ("left", "right"):
        raise ValueError(f"Mode argument can only be 'left' or 'right' but not '{mode}'")
    a, c = _one_matrix("qr_multiply", a), as_operand(c)
    Q, *rest = qr(a, "economic", pivoting)
    Q = conj(Q) if conjugate else Q
    return (Q @ c if mode == "left" else c @ Q, *rest)


@calls(sp.rq, catch=sp)
def rq(a: Any, mode: str = "full") -> Any:
    """Factor from the last row upward: QR of the matrix turned by half a circle, conjugate and transposed."""
    if mode not in ("full", "r", "economic"):
        raise ValueError("Mode argument should be one of ['full', 'r', 'economic']")
    a = _one_matrix("rq", a)
    Q, R = _orthonormal(adjoint(np.flip(a)), "economic" if mode == "economic" else "full")
    R = np.flip(adjoint(R))
    return R if mode == "r" else (R, np.flip(adjoint(Q)))


@calls(sp.subspace_angles, catch=sp)
def subspace_angles(A: Any, B: Any) -> Any:
    """Take large angles from their cosines and small ones from their sines, by orthonormal bases of full rank."""
    A, B = _one_matrix("subspace_angles", A), _one_matrix("subspace_angles", B)
    first, second = _orthonormal(A, "economic")[0], _orthonormal(B, "economic")[0]
    if first.shape[1] < second.shape[1]:
        first, second = second, first
    cross = adjoint(first) @ second
    cosines = np.flip(singular_values.svdvals_(cross))
    sines = np.minimum(singular_values.svdvals_(second - first @ cross), 1.0)
    small = cosines**2 >= 0.5
    return np.where(small, np.arcsin(np.where(small, sines, 0.0)), np.arccos(np.where(small, 0.0, cosines)))


# ---- Balancing, pseudoinverses, conditions ----

balancing = step_function(
    "balancing",
    lambda x, permute, scale: sp.matrix_balance(x, permute=permute, scale=scale)[1],
    source=lambda args, params: (
        f"scipy.linalg.matrix_balance({args[0]}, permute={params['permute']}, scale={params['scale']})[1]"
    ),
)


@calls(sp.matrix_balance, catch=sp)
def matrix_balance(A: Any, permute: bool = True, scale: bool = True, separate: bool = False) -> Any:
    """Balance by a scaling and a permutation, which are constant between jumps."""
    A = _one_matrix("matrix_balance", A)
    square_of(A)
    T = balancing(A, permute=bool(permute), scale=bool(scale))
    squares = np.sum(T * T, axis=0)
    B = ((transposed(T) @ A @ T) / squares[:, None]).astype(A.dtype)
    if not separate:
        return B, T
    return B, (np.sqrt(squares), np.argmax(np.abs(T), axis=0))


@calls(sp.pinvh, catch=sp)
def pinvh(a: Any, atol: Any = None, rtol: Any = None, lower: bool = True, return_rank: bool = False) -> Any:
    unsupported("pinvh", atol=atol)
    a = hermitian(_one_matrix("pinvh", a), lower)
    cutoff = float(np.finfo(a.dtype).eps) * max(a.shape) if rtol is None else rtol
    B = least_squares.pinv_(a, rcond=cutoff)
    return (B, least_squares.matrix_rank_(a, tol=None, hermitian=True, rtol=cutoff)) if return_rank else B


@calls(sp.expm_cond, catch=sp)
def expm_cond(A: Any) -> Any:
    """Take the largest of the derivatives along matrices of length 1, times ||A|| / ||exp(A)||."""
    A = _one_matrix("expm_cond", A)
    square_of(A)
    n = A.shape[0]
    exponential = expm_(A)
    basis = np.reshape(np.eye(n * n, dtype=A.dtype), (n * n, n, n))
    slopes = np.reshape(in_block(expm_, A, basis, exponential), (n * n, n * n))
    return norms.norm(slopes, 2) * norms.norm(A, "fro") / norms.norm(exponential, "fro")


# ---- What is asked of a matrix: the answers are plain ----


def _equals_its(turned: Any, name: str) -> None:
    function = getattr(sp, name)

    @calls(function, catch=sp)
    def written(a: Any, atol: Any = None, rtol: Any = None) -> bool:
        a = _one_matrix(name, a)
        if a.shape[0] != a.shape[1]:
            return False
        if atol is None and rtol is None:
            return bool(np.all(a == turned(a)))
        return bool(np.allclose(a, turned(a), atol=atol or 0.0, rtol=rtol or 0.0))

    written.__name__ = name


_equals_its(transposed, "issymmetric")
_equals_its(adjoint, "ishermitian")


@calls(sp.bandwidth, catch=sp)
def bandwidth(a: Any) -> tuple[int, int]:
    a = _one_matrix("bandwidth", a)
    offsets = np.arange(a.shape[0])[:, None] - np.arange(a.shape[1])[None, :]
    filled = a != 0
    below, above = (int(np.max(np.where(filled, side, 0), initial=0)) for side in (offsets, -offsets))
    return below, above
