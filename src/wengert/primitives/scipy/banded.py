"""Banded matrices of ``scipy.linalg``: a system is solved, and differentiated, in time linear in its size.

The matrix stands in a table of its diagonals: ``table[u + i - j, j] = A[i, j]`` for u diagonals above the main one.
The adjoint of a solution solves the transposed system, whose table holds the same diagonals in the other order.

>>> import numpy as np, scipy.linalg, wengert as wg
>>> table, b = np.array([[0.0, 1.0, 1.0], [4.0, 4.0, 4.0], [1.0, 1.0, 0.0]]), np.ones(3)
>>> slope = wg.grad(lambda s: scipy.linalg.solve_banded((1, 1), s * table, b).sum())(1.0)
>>> bool(np.isclose(slope, -scipy.linalg.solve_banded((1, 1), table, b).sum()))
True
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg as sp

from wengert.errors import UnsupportedError
from wengert.jacobians import LocalJacobian, Map
from wengert.primitives.numpy.functions.operands import as_operand
from wengert.primitives.numpy.linalg import factorizations
from wengert.primitives.numpy.linalg.matrices import conj
from wengert.primitives.scipy.linalg import eigh, solve, toeplitz
from wengert.primitives.table import array_function, calls, step_function

Array = Any


def _moved(a: Array, k: int) -> Array:
    """Return ``a[..., j - k, :]`` in the place j of the last axis but one, zero where there is none."""
    if k == 0:
        return a
    nothing = np.zeros((*a.shape[:-2], min(abs(k), a.shape[-2]), a.shape[-1]), a.dtype)
    parts = [nothing, a[..., :-k, :]] if k > 0 else [a[..., -k:, :], nothing]
    return np.concatenate(parts, axis=-2)


def _diagonal(table: Array, k: int, upper: int) -> Array:
    """Return the diagonal ``A[j - k, j]`` as a column."""
    return table[..., upper - k, :, None]


def _transposed(table: Array, lower: int, upper: int) -> Array:
    """Return the table of the transposed matrix."""
    rows = [_moved(_diagonal(table, -k, upper), k)[..., 0] for k in range(lower, -upper - 1, -1)]
    return np.stack(rows, axis=-2)


def _times(table: Array, x: Array, lower: int, upper: int) -> Array:
    """Multiply the banded matrix by x."""
    total = 0.0
    for k in range(-lower, upper + 1):
        total = total + _moved(_diagonal(table, k, upper) * x, -k)
    return total


def _solve(table: Any, b: Any, lower: int, upper: int) -> Any:
    columns = np.moveaxis(b, -2, 0)
    x = sp.solve_banded((lower, upper), table, columns.reshape(len(columns), -1), check_finite=False)
    return np.moveaxis(x.reshape(columns.shape), 0, -2)


def _counts(y: Any, table: Any, *_rest: Any, **_params: Any) -> dict[str, int]:
    return dict.fromkeys(("multiplications", "additions"), 2 * table.size * y.shape[-1])


def _solve_matrix(y: Any, table: Any, _b: Any, lower: int, upper: int) -> LocalJacobian:
    turned = _transposed(table, lower, upper)

    def pull(g: Array) -> Array:
        adjoint = banded(turned, g, lower=upper, upper=lower)
        rows = [-np.sum(_moved(adjoint, k) * y, axis=-1) for k in range(upper, -lower - 1, -1)]
        return np.stack(rows, axis=-2)

    return Map(
        table.shape,
        y.shape,
        lambda t: -banded(table, _times(t, y, lower, upper), lower=lower, upper=upper),
        pull,
        {"multiplications": 4 * table.size * y.shape[-1], "additions": 4 * table.size * y.shape[-1]},
        name="solve",
    )


def _solve_right(y: Any, table: Any, _b: Any, lower: int, upper: int) -> LocalJacobian:
    turned = _transposed(table, lower, upper)
    return Map(
        y.shape,
        y.shape,
        lambda t: banded(table, t, lower=lower, upper=upper),
        lambda g: banded(turned, g, lower=upper, upper=lower),
        _counts(y, table),
        name="solve",
    )


banded = array_function(
    "solve_banded",
    _solve,
    _solve_matrix,
    _solve_right,
    formula_rule=False,
    source=lambda args, params: (
        f"scipy.linalg.solve_banded(({params['lower']}, {params['upper']}), {args[0]}, {args[1]})"
    ),
    counts=_counts,
    kink="a function of the diagonals: the corners of the table that lie outside of the matrix have derivative 0",
)


def _one_table(name: str, table: Any) -> Any:
    table = as_operand(table)
    if table.ndim != 2:
        raise UnsupportedError(f"scipy.linalg.{name} of a stack of tables has no rule; call it for each one.")
    return table


@calls(sp.solve_banded, catch=sp)
def solve_banded(l_and_u: Any, ab: Any, b: Any) -> Any:
    lower, upper = map(int, l_and_u)
    table, b = _one_table("solve_banded", ab), as_operand(b)
    if table.shape[0] != lower + upper + 1:
        raise ValueError(f"invalid values for the number of lower and upper diagonals: l+u+1 ({lower + upper + 1}) "
                         f"does not equal ab.shape[0] ({table.shape[0]})")  # fmt: skip
    x = banded(table, b[:, None] if b.ndim == 1 else b, lower=lower, upper=upper)
    return x[:, 0] if b.ndim == 1 else x


def _both_triangles(table: Any, lower: bool) -> Any:
    """Return the table of a Hermitian matrix with the diagonals of both triangles, of that of one."""
    bands = table.shape[0] - 1
    diagonals = table if lower else table[::-1]
    side = [diagonals[k] for k in range(1, bands + 1)]
    other = [_moved(conj(row)[:, None], k if lower else -k)[:, 0] for k, row in enumerate(side, 1)]
    above, below = (other, side) if lower else (side, other)
    return np.stack([*above[::-1], diagonals[0], *below])


@calls(sp.solveh_banded, catch=sp)
def solveh_banded(ab: Any, b: Any, lower: bool = False) -> Any:
    table = _one_table("solveh_banded", ab)
    bands = table.shape[0] - 1
    return solve_banded((bands, bands), _both_triangles(table, lower), b)


def _dense(name: str, table: Any, lower: bool) -> Any:
    """Return the Hermitian matrix of the table of one triangle."""
    table = _one_table(name, table)
    n, bands = table.shape[1], table.shape[0] - 1
    full = _both_triangles(table, lower)
    i, j = np.arange(n)[:, None], np.arange(n)[None, :]
    inside = abs(i - j) <= bands
    return np.where(inside, full[np.where(inside, bands + i - j, 0), j], 0.0)


def _table_of(A: Any, table: Any, lower: bool) -> Any:
    """Return the table of one triangle of a matrix; the corners outside of it are those of `table`."""
    n, bands = A.shape[-1], table.shape[0] - 1
    k, j = np.arange(bands + 1)[:, None], np.arange(n)[None, :]
    i = j + k if lower else j + k - bands
    inside = (i >= 0) & (i < n)
    return np.where(inside, A[np.where(inside, i, 0), j], table)


@calls(sp.cholesky_banded, catch=sp)
def cholesky_banded(ab: Any, lower: bool = False) -> Any:
    factor = factorizations.cholesky_(_dense("cholesky_banded", ab, lower), upper=not lower)
    return _table_of(factor, as_operand(ab), lower)


@calls(sp.cho_solve_banded, catch=sp)
def cho_solve_banded(cb_and_lower: Any, b: Any) -> Any:
    cb, lower = cb_and_lower
    table, b = _one_table("cho_solve_banded", cb), as_operand(b)
    bands = table.shape[0] - 1
    turned = conj(_transposed(table, *((bands, 0) if lower else (0, bands))))
    below, above = (table, turned) if lower else (turned, table)
    half = solve_banded((bands, 0), below, b)
    return solve_banded((0, bands), above, half)


# ---- Eigenvalues: of the dense matrix, with vectors of the signs that SciPy gives them ----


def signs_of(V: Any, *tables: Any, function: str, **options: Any) -> Any:
    """Return the signs of the vectors that a function of SciPy's returns, relative to those of V."""
    return np.sign(np.sum(V * getattr(sp, function)(*tables, **options)[1], axis=0))


signs = step_function(
    "signs_of_banded_vectors",
    signs_of,
    source=lambda args, params: (
        f"wengert.primitives.scipy.banded.signs_of({', '.join(args)}, "
        f"{', '.join(f'{name}={value!r}' for name, value in params.items())})"
    ),
)


def _eigh(
    A: Any, tables: Any, eigvals_only: bool, select: Any, select_range: Any, function: str, **options: Any
) -> Any:
    if select in ("v", "value", 1):
        raise UnsupportedError(f"scipy.linalg.{function} of select={select!r} has no rule; take some by their index.")
    subset = select_range if select in ("i", "index", 2) else None
    if eigvals_only:
        return eigh(A, eigvals_only=True, subset_by_index=subset)
    if subset is not None:
        options = {**options, "select": "i", "select_range": tuple(map(int, subset))}
    w, V = eigh(A, subset_by_index=subset)
    return w, V * signs(V, *tables, function=function, **options)


@calls(sp.eig_banded, catch=sp)
def eig_banded(
    a_band: Any, lower: bool = False, eigvals_only: bool = False, select: Any = "a", select_range: Any = None
) -> Any:
    A = _dense("eig_banded", a_band, lower)
    return _eigh(A, (as_operand(a_band),), eigvals_only, select, select_range, "eig_banded", lower=lower)


@calls(sp.eigvals_banded, catch=sp)
def eigvals_banded(a_band: Any, lower: bool = False, select: Any = "a", select_range: Any = None) -> Any:
    return eig_banded(a_band, lower, True, select=select, select_range=select_range)


@calls(sp.eigh_tridiagonal, catch=sp)
def eigh_tridiagonal(
    d: Any, e: Any, eigvals_only: bool = False, select: Any = "a", select_range: Any = None, tol: float = 0.0,
    lapack_driver: str = "auto",
) -> Any:  # fmt: skip
    d, e = as_operand(d), as_operand(e)
    A = np.diag(d) + np.diag(e, 1) + np.diag(e, -1)
    return _eigh(A, (d, e), eigvals_only, select, select_range, "eigh_tridiagonal", lapack_driver=lapack_driver)


@calls(sp.eigvalsh_tridiagonal, catch=sp)
def eigvalsh_tridiagonal(d: Any, e: Any, select: Any = "a", select_range: Any = None, tol: float = 0.0) -> Any:
    return eigh_tridiagonal(d, e, True, select, select_range)


# ---- Toeplitz systems ----


@calls(sp.solve_toeplitz, catch=sp)
def solve_toeplitz(c_or_cr: Any, b: Any) -> Any:
    c, r = c_or_cr if isinstance(c_or_cr, tuple) else (c_or_cr, None)
    T = toeplitz(c, r)
    return solve(T.astype(np.result_type(T.dtype, np.float64)), b)  # SciPy's recursion is in double precision
