"""Inverses and solutions of ``A X = B``, for users and within the rules of other rows.

The rules solve with many right-hand sides at once, and look whether a large matrix is a triangle (`solution`).

>>> import numpy as np, wengert as wg
>>> A = np.array([[2.0, 1.0], [0.0, 4.0]])
>>> wg.grad(lambda b: np.linalg.solve(A, b)[0])(np.array([1.0, 2.0]))
array([ 0.5  , -0.125])
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index
from scipy.linalg import lapack

from wengert.jacobians import LARGE, Counts, LocalJacobian, Map
from wengert.primitives.numpy.functions.operands import as_operand
from wengert.primitives.numpy.linalg.lapack import checked, routine
from wengert.primitives.numpy.linalg.matrices import OF_MATRICES, Array, cubic, product, square_of, transposed
from wengert.primitives.table import array_function, calls

# ---- Solutions within rules ----


def solution(A: Array, b: Array) -> Array:
    """Solve ``A X = B`` as the primitive does; a large triangle by substitution.

    For many columns of a small matrix by its inverse, as accurate in practice (Druinsky & Toledo 2012, "How accurate is
    inv(A)*b?"), since LAPACK wants them copied into its own order.
    """
    if b.size > LARGE and b.ndim > 1 and b.shape[-1] > 16 * A.shape[-1] and type(A) is np.ndarray is type(b):
        return np.matmul(np.linalg.inv(A), b)
    gesv = routine(lapack, "gesv", A, b if b.ndim > 1 else b[:, None])
    if gesv is None:
        return solve(A, b)
    if A.shape[0] < 64 or (A[0, -1] != 0 and A[-1, 0] != 0):  # not worth a look at the other elements
        _, _, x, info = gesv(A, b)
    elif not np.any(np.triu(A, 1)):
        x, info = _by_substitution(A, b, True)
    elif not np.any(np.tril(A, -1)):
        x, info = _by_substitution(A, b, False)
    else:
        _, _, x, info = gesv(A, b)
    return checked(x, info)


def _by_substitution(A: Array, b: Array, lower: bool) -> tuple[Array, int]:
    trtrs = routine(lapack, "trtrs", A)
    if A.flags.f_contiguous:
        solved: tuple[Array, int] = trtrs(A, b, lower=lower)
    else:  # LAPACK counts by columns
        solved = trtrs(A.T, b, lower=not lower, trans=1)
    return solved


def solve_block(A: Array, t: Array, solver: Callable[..., Array] | None = None) -> Array:
    """Solve ``A X = T`` for a block of right-hand sides at once: its leading axes become columns of one solve."""
    solver = solver or solution
    extra = t.ndim - A.ndim
    if extra <= 0:
        return solver(A, t)
    n, columns = t.shape[-2:]
    stack = t.shape[extra:-2]
    moved = np.moveaxis(t, tuple(range(extra)), tuple(range(-extra - 1, -1)))
    flat = solver(A, np.reshape(moved, (*stack, n, math.prod(t.shape[:extra]) * columns)))
    return np.moveaxis(
        np.reshape(flat, (*stack, n, *t.shape[:extra], columns)), tuple(range(-extra - 1, -1)), tuple(range(extra))
    )


def inverse_of_lower(L: Array) -> Array:
    """Invert a lower triangle."""
    trtri = routine(lapack, "trtri", L)
    return inv_(L) if trtri is None else checked(*trtri(L.T, lower=False)).T


# ---- The rows ----

inv_ = array_function(
    "inv",
    np.linalg.inv,
    lambda y, _x: Map(
        _x.shape,
        _x.shape,
        lambda t: -(y @ t @ y),
        lambda g: -(transposed(y) @ g @ transposed(y)),
        product(2, _x.shape),
        name="inv",
        mixes=OF_MATRICES,
    ),
    source="np.linalg.inv({0})",
    counts=cubic(1.0),
)


def _solve_partials(y: Any, A: Any, _b: Any) -> tuple[LocalJacobian, LocalJacobian]:
    """Differentiate ``A X = B``: ``dX = A^-1 (dB - dA X)``.  Both pulls need ``A^-T g``, which is solved for once."""
    vector = len(_b.shape) == 1
    last: list[Any] = [None, None]

    def solved(matrix: Array, t: Array) -> Array:
        if not vector:
            return solve_block(matrix, t)
        if len(t.shape) == 1:
            return solution(matrix, t)
        columns = np.reshape(t, (math.prod(t.shape[:-1]), t.shape[-1]))
        return np.reshape(transposed(solution(matrix, transposed(columns))), t.shape)

    def back(g: Array) -> Array:
        if last[0] is not g:
            last[:] = g, solved(transposed(A), g)
        return last[1]

    def pull(g: Array) -> Array:
        return back(g)[..., None] * -y if vector else -(back(g) @ transposed(y))

    def counts() -> Counts:
        return product(1, A.shape)

    of_matrix, of_right = (((-2, -1), (-1,)), ((-1,), (-1,))) if vector else (OF_MATRICES, ((-2,), (-2,)))
    return (
        Map(A.shape, y.shape, lambda t: -solved(A, t @ y), pull, counts, name="solve", mixes=of_matrix),
        Map(y.shape, y.shape, lambda t: solved(A, t), back, counts, name="solve", mixes=of_right),
    )


solve = array_function(
    "solve",
    np.linalg.solve,
    lambda y, A, _b: _solve_partials(y, A, _b)[0],
    lambda _y, A, _b: _solve_partials(_y, A, _b)[1],
    shared_partials=_solve_partials,
    source="np.linalg.solve({0}, {1})",
    counts=cubic(1 / 3),
)


# ---- The functions that users call ----


@calls(np.linalg.inv)
def inv(a: Any) -> Any:
    return inv_(a)


@calls(np.linalg.solve)
def solve_for(a: Any, b: Any) -> Any:
    a, b = as_operand(a), as_operand(b)
    square_of(a)
    column = b.ndim == 1
    if column and a.ndim == 2:
        return solve(a, b)
    right = b[:, None] if column else b
    if a.ndim != right.ndim or a.shape[:-2] != right.shape[:-2]:
        stack = np.broadcast_shapes(a.shape[:-2], right.shape[:-2])
        a, right = np.broadcast_to(a, stack + a.shape[-2:]), np.broadcast_to(right, stack + right.shape[-2:])
    x = solve(a, right)
    return x[..., 0] if column else x


@calls(np.linalg.tensorsolve)
def tensorsolve(a: Any, b: Any, axes: Any = None) -> Any:
    a, b = as_operand(a), as_operand(b)
    if axes is not None:
        back = [k for k in range(a.ndim) if k not in [normalize_axis_index(j, a.ndim) for j in axes]]
        a = np.transpose(a, (*back, *[normalize_axis_index(j, a.ndim) for j in axes]))
    shape = a.shape[-(a.ndim - b.ndim) :]
    size = math.prod(shape)
    if a.size != size**2:
        raise np.linalg.LinAlgError(
            "Input arrays must satisfy the requirement prod(a.shape[b.ndim:]) == prod(a.shape[:b.ndim])"
        )
    x = solve(np.reshape(a, (size, size)), np.reshape(b, (size, 1)))
    return np.reshape(x, shape)


@calls(np.linalg.tensorinv)
def tensorinv(a: Any, ind: int = 2) -> Any:
    a = as_operand(a)
    if ind <= 0:
        raise ValueError("Invalid ind argument.")
    shape = a.shape[ind:] + a.shape[:ind]
    flat = np.reshape(a, (math.prod(a.shape[ind:]), -1))
    square_of(flat)
    return np.reshape(inv_(flat), shape)
