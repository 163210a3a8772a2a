"""``scipy.linalg``: functions of matrices, triangular solves, factorizations under SciPy's names.

SciPy's functions know nothing of NumPy's protocols; they are caught where users call them, as attributes of
``scipy.linalg``.  The derivative of a function of a matrix along E needs no formula of its own: it is the upper right
block of the same function of ``[[A, E], [0, A]]`` (Higham, *Functions of Matrices*, section 3.2), which is again a
function of a matrix, so that derivatives of every order follow.

>>> import numpy as np, scipy.linalg, wengert as wg
>>> generator = np.array([[0.0, 1.0], [-1.0, 0.0]])
>>> gradient = wg.grad(lambda t: scipy.linalg.expm(t * generator)[0, 1])(0.5)
>>> bool(np.isclose(gradient, np.cos(0.5)))
True
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg as sp

from wengert.errors import UnsupportedError
from wengert.jacobians import LocalJacobian, Map
from wengert.primitives.numpy.elementwise import is_complex
from wengert.primitives.numpy.functions.operands import as_operand
from wengert.primitives.numpy.linalg import (
    determinants,
    eigenvalues,
    factorizations,
    least_squares,
    matrices,
    norms,
    singular_values,
    solving,
)
from wengert.primitives.numpy.linalg.matrices import (
    OF_MATRICES,
    adjoint,
    conj,
    product,
    real,
    real_kind,
    spread,
    square_of,
    transposed,
)
from wengert.primitives.numpy.linalg.triangular import hermitian, triangle
from wengert.primitives.table import array_function, calls, step_function
from wengert.program import Primitive

Array = Any


def each(function: Callable[..., Any], *stacks: Any) -> Any:
    """Call a function of matrices for each member of stacks, which broadcast as matrices in products do."""
    if all(a.ndim == 2 for a in stacks):
        return function(*stacks)
    leading = np.broadcast_shapes(*[a.shape[:-2] for a in stacks])
    spread_out = [np.broadcast_to(a, leading + a.shape[-2:]) for a in stacks]
    results = [function(*[a[index] for a in spread_out]) for index in np.ndindex(*leading)]
    return np.reshape(np.stack(results), leading + results[0].shape) if results else spread_out[-1]


def unsupported(name: str, **given: Any) -> None:
    """Refuse arguments that have no rule, but for None and False."""
    for argument, value in given.items():
        if value is not None and value is not False:
            raise UnsupportedError(f"scipy.linalg.{name} with {argument}={value!r} has no rule; leave it out.")


# ---- Functions of a matrix ----


def in_block(function: Callable[..., Array], A: Array, E: Array, y: Array) -> Array:
    """Return the derivative along E of a function of a matrix at A, where it is y."""
    n = A.shape[-1]
    A = spread(A, E)
    nothing = np.zeros(A.shape, A.dtype)
    blocks = np.concatenate([np.concatenate([A, E], axis=-1), np.concatenate([nothing, A], axis=-1)], axis=-2)
    slope = function(blocks)[..., :n, n:]
    return slope if is_complex(y) or is_complex(E) else real(slope)  # SciPy may leave an imaginary part of rounding


def _row(name: str, partial: Callable[..., LocalJacobian], products: int) -> Primitive:
    """Enter a function of one matrix, which SciPy computes by so many products of matrices."""
    original = getattr(sp, name)
    return array_function(
        name,
        lambda x: each(original, x),
        partial,
        formula_rule=False,
        source=f"scipy.linalg.{name}({{0}})",
        counts=lambda _y, x: product(products, x.shape),
    )


def _square(name: str, A: Any, disp: Any) -> Any:
    """Return the matrix that a function is called with; `disp` has a rule where it is what SciPy takes by default."""
    unsupported(name, disp=None if disp is True else disp)
    A = as_operand(A)
    square_of(A)
    return A


def _function_of_matrix(name: str) -> Any:
    def partial(_y: Any, x: Any) -> LocalJacobian:
        return Map(
            x.shape,
            x.shape,
            lambda t: in_block(primitive, x, t, _y),
            lambda g: in_block(primitive, transposed(x), g, _y),
            product(60, x.shape),
            name=name,
            mixes=OF_MATRICES,
        )

    primitive = _row(name, partial, 12)

    def written(A: Any, disp: Any = None) -> Any:
        return primitive(_square(name, A, disp))

    written.__name__ = name
    calls(getattr(sp, name), catch=sp)(written)
    return primitive


expm_ = _function_of_matrix("expm")
logm_ = _function_of_matrix("logm")
cosm_ = _function_of_matrix("cosm")
sinm_ = _function_of_matrix("sinm")
tanm_ = _function_of_matrix("tanm")
coshm_ = _function_of_matrix("coshm")
sinhm_ = _function_of_matrix("sinhm")
tanhm_ = _function_of_matrix("tanhm")


def _sqrtm_partial(y: Any, x: Any) -> LocalJacobian:
    """Differentiate ``Y Y = A``: ``Y dY + dY Y = dA``, a Sylvester equation."""
    return Map(
        x.shape,
        y.shape,
        lambda t: sylvester(spread(y, t), spread(y, t), t),
        lambda g: sylvester(spread(transposed(y), g), spread(transposed(y), g), g),
        product(60, x.shape),
        name="sqrtm",
    )


sqrtm_ = _row("sqrtm", _sqrtm_partial, 30)


@calls(sp.sqrtm, catch=sp)
def sqrtm(A: Any, disp: Any = None, blocksize: Any = None) -> Any:
    return sqrtm_(_square("sqrtm", A, disp))


def _signm_partial(y: Any, x: Any) -> LocalJacobian:
    """Differentiate the sign S of A: ``N dS + dS N = dA - S dA S`` with ``N = A S`` (Higham, theorem 5.3).

    A block of A and its change has every eigenvalue twice, where SciPy's method may give zero.
    """
    N = x @ y

    def push(t: Array) -> Array:
        return sylvester(spread(N, t), spread(N, t), t - y @ t @ y)

    def pull(g: Array) -> Array:
        w = sylvester(spread(transposed(N), g), spread(transposed(N), g), g)
        return w - transposed(y) @ w @ transposed(y)

    return Map(x.shape, y.shape, push, pull, product(60, x.shape), name="signm")


signm_ = _row("signm", _signm_partial, 30)


@calls(sp.signm, catch=sp)
def signm(A: Any, disp: Any = None) -> Any:
    return signm_(_square("signm", A, disp))


power_: Primitive = array_function(
    "fractional_matrix_power",
    lambda x, p: each(lambda a: sp.fractional_matrix_power(a, p), x),
    lambda _y, x, p: Map(
        x.shape,
        x.shape,
        lambda t: in_block(lambda block: power_(block, p), x, t, _y),
        lambda g: in_block(lambda block: power_(block, p), transposed(x), g, _y),
        product(60, x.shape),
        name="power",
    ),
    lambda y, x, _p: Map(
        (),
        y.shape,
        lambda t: t[..., None, None] * (logm_(x) @ y),
        lambda g: np.sum(g * (logm_(x) @ y), axis=(-2, -1)),
        product(1, x.shape),
        name="power",
    ),
    formula_rule=False,
    source="scipy.linalg.fractional_matrix_power({0}, {1})",
    counts=lambda _y, x, _p: product(30, x.shape),
)


@calls(sp.fractional_matrix_power, catch=sp)
def fractional_matrix_power(A: Any, t: Any) -> Any:
    A = as_operand(A)
    square_of(A)
    if A.ndim > 2:
        raise UnsupportedError("scipy.linalg.fractional_matrix_power of a stack has no rule; call it for each matrix.")
    return power_(A, t if hasattr(t, "shape") else float(t))


@calls(sp.expm_frechet, catch=sp)
def expm_frechet(A: Any, E: Any, method: Any = None, compute_expm: bool = True) -> Any:
    A, E = as_operand(A), as_operand(E)
    slope = in_block(expm_, A, E, A)
    return (expm_(A), slope) if compute_expm else slope


# ---- Equations of Sylvester and Lyapunov ----


def _sylvester_left(y: Any, A: Any, B: Any, _Q: Any) -> LocalJacobian:
    return Map(
        A.shape,
        y.shape,
        lambda t: -_sylvester_block(A, B, t @ y),
        lambda g: -(_sylvester_block(transposed(A), transposed(B), g) @ transposed(y)),
        product(60, y.shape),
        name="sylvester",
    )


def _sylvester_right(y: Any, A: Any, B: Any, _Q: Any) -> LocalJacobian:
    return Map(
        B.shape,
        y.shape,
        lambda t: -_sylvester_block(A, B, y @ t),
        lambda g: -(transposed(y) @ _sylvester_block(transposed(A), transposed(B), g)),
        product(60, y.shape),
        name="sylvester",
    )


def _sylvester_block(A: Array, B: Array, t: Array) -> Array:
    return sylvester(spread(A, t), spread(B, t), t)


sylvester = array_function(
    "solve_sylvester",
    lambda A, B, Q: each(sp.solve_sylvester, A, B, Q),
    _sylvester_left,
    _sylvester_right,
    lambda y, A, B, _Q: Map(
        y.shape,
        y.shape,
        lambda t: _sylvester_block(A, B, t),
        lambda g: _sylvester_block(transposed(A), transposed(B), g),
        product(60, y.shape),
        name="sylvester",
    ),
    formula_rule=False,
    source="scipy.linalg.solve_sylvester({0}, {1}, {2})",
    counts=lambda y, *_rest: product(60, y.shape),
)


def _of_one_stack(*arrays: Any) -> tuple[Any, ...]:
    """Broadcast stacks of matrices to the same leading axes."""
    leading = np.broadcast_shapes(*[a.shape[:-2] for a in arrays])
    return tuple(a if a.shape[:-2] == leading else np.broadcast_to(a, leading + a.shape[-2:]) for a in arrays)


@calls(sp.solve_sylvester, catch=sp)
def solve_sylvester(a: Any, b: Any, q: Any) -> Any:
    return sylvester(*_of_one_stack(as_operand(a), as_operand(b), as_operand(q)))


@calls(sp.solve_continuous_lyapunov, catch=sp)
def solve_continuous_lyapunov(a: Any, q: Any) -> Any:
    a = as_operand(a)
    return sylvester(*_of_one_stack(a, adjoint(a), as_operand(q)))


@calls(sp.solve_discrete_lyapunov, catch=sp)
def solve_discrete_lyapunov(a: Any, q: Any, method: Any = None) -> Any:
    a, q = as_operand(a), as_operand(q)
    square_of(a)
    n = a.shape[-1]
    table = np.reshape(a[:, None, :, None] * conj(a)[None, :, None, :], (n * n, n * n))
    return np.reshape(solving.solve(np.eye(n * n) - table, np.reshape(q, (*q.shape[:-2], n * n, 1))), q.shape)


# ---- Riccati equations ----


def _riccati(discrete: bool) -> Primitive:
    """Define the solution X of an algebraic Riccati equation, whose differential solves a Lyapunov equation.

    With the gain K and ``C = A - B K``: ``C' dX + dX C + S = 0``, or ``C' dX C - dX + S = 0`` in discrete time.
    """
    name = f"solve_{'discrete' if discrete else 'continuous'}_are"

    def closed_loop(x: Array, a: Array, b: Array, r: Array) -> tuple[Array, Array, Array]:
        """Return C, the gain, and what the differentials of A and B are multiplied by."""
        if discrete:
            gain = solving.solve(r + b.T @ x @ b, b.T @ x @ a)
            closed = a - b @ gain
            return closed, gain, x @ closed
        gain = solving.solve(r, b.T @ x)
        return a - b @ gain, gain, x

    def local(
        k: int, source: Callable[..., Array], adjoint_source: Callable[..., Array]
    ) -> Callable[..., LocalJacobian]:
        def partial(y: Any, *operands: Any) -> LocalJacobian:
            a, b, _q, r = operands
            closed, gain, weight = closed_loop(y, a, b, r)

            def equation(c: Array, s: Array) -> Array:
                if discrete:
                    return solve_discrete_lyapunov(c, s)
                return -_sylvester_block(c, transposed(c), s)

            def push(t: Array) -> Array:
                s = source(t, gain, weight)
                return equation(transposed(closed), (s + transposed(s)) / 2)

            def pull(g: Array) -> Array:
                adjoint = equation(closed, g)
                return adjoint_source((adjoint + transposed(adjoint)) / 2, gain, weight)

            return Map(operands[k].shape, y.shape, push, pull, product(60, y.shape), name="riccati")

        return partial

    original = getattr(sp, name)
    return array_function(
        name,
        lambda a, b, q, r: original(a, b, q, r),
        local(0, lambda t, _K, W: 2 * (transposed(W) @ t), lambda g, _K, W: 2 * (W @ g)),
        local(1, lambda t, K, W: -2 * (transposed(W) @ t @ K), lambda g, K, W: -2 * (W @ g @ transposed(K))),
        local(2, lambda t, _K, _W: t, lambda g, _K, _W: g),
        local(3, lambda t, K, _W: transposed(K) @ t @ K, lambda g, K, _W: K @ g @ transposed(K)),
        formula_rule=False,
        source=f"scipy.linalg.{name}({{0}}, {{1}}, {{2}}, {{3}})",
        counts=lambda y, *_rest: product(100, y.shape),
    )


continuous_are, discrete_are = _riccati(discrete=False), _riccati(discrete=True)


def _are(primitive: Primitive, a: Any, b: Any, q: Any, r: Any, **options: Any) -> Any:
    unsupported(primitive.name, **options)
    operands = [np.atleast_2d(as_operand(value)) for value in (a, b, q, r)]
    if any(value.ndim > 2 or is_complex(value) for value in operands):
        raise UnsupportedError(f"scipy.linalg.{primitive.name} has a rule for one equation of real matrices only.")
    return primitive(*operands)


@calls(sp.solve_continuous_are, catch=sp)
def solve_continuous_are(a: Any, b: Any, q: Any, r: Any, e: Any = None, s: Any = None, balanced: bool = True) -> Any:
    return _are(continuous_are, a, b, q, r, e=e, s=s)


@calls(sp.solve_discrete_are, catch=sp)
def solve_discrete_are(a: Any, b: Any, q: Any, r: Any, e: Any = None, s: Any = None, balanced: bool = True) -> Any:
    return _are(discrete_are, a, b, q, r, e=e, s=s)


# ---- Triangular systems, and the systems solved by them ----


def _triangular(A: Any, b: Any, lower: bool, unit: bool) -> Any:
    def one(A: Any, b: Any) -> Any:
        return sp.solve_triangular(A, b, lower=lower, unit_diagonal=unit, check_finite=False)

    return each(one, A, b)


def _triangular_block(A: Array, t: Array, lower: bool, unit: bool) -> Array:
    return solving.solve_block(A, t, lambda A, t: triangular(A, t, lower=lower, unit=unit))


def _triangular_matrix(y: Any, A: Any, _b: Any, lower: bool, unit: bool) -> LocalJacobian:
    mask = triangle(A.shape[-1], y.dtype, lower=lower, strict=unit)
    return Map(
        A.shape,
        y.shape,
        lambda t: -_triangular_block(A, (mask * t) @ y, lower, unit),
        lambda g: -(mask * (_triangular_block(transposed(A), g, not lower, unit) @ transposed(y))),
        product(2, A.shape),
        name="solve",
    )


triangular = array_function(
    "solve_triangular",
    _triangular,
    _triangular_matrix,
    lambda y, A, _b, lower, unit: Map(
        y.shape,
        y.shape,
        lambda t: _triangular_block(A, t, lower, unit),
        lambda g: _triangular_block(transposed(A), g, not lower, unit),
        product(1, A.shape),
        name="solve",
        mixes=((-2,), (-2,)),
    ),
    formula_rule=False,
    source=lambda args, params: (
        f"scipy.linalg.solve_triangular({args[0]}, {args[1]}, lower={params['lower']}, unit_diagonal={params['unit']})"
    ),
    counts=lambda y, A, _b, **_params: {"multiplications": y.size * A.shape[-1], "additions": y.size * A.shape[-1]},
    kink="a function of the triangle that is read: the other one has derivative 0",
)


def _as_columns(A: Any, b: Any) -> tuple[Any, Any, bool]:
    """Bring matrix and right-hand side to one stack; tell whether the right-hand side is a vector."""
    A, b = as_operand(A), as_operand(b)
    square_of(A)
    column = b.ndim == 1
    A, b = _of_one_stack(A, b[:, None] if column else b)
    if A.shape[-1] != b.shape[-2]:
        raise ValueError(f"shapes of a {A.shape} and b {b.shape} are incompatible")
    return A, b, column


@calls(sp.solve_triangular, catch=sp)
def solve_triangular(a: Any, b: Any, trans: Any = 0, lower: bool = False, unit_diagonal: bool = False) -> Any:
    A, right, column = _as_columns(a, b)
    how = {"N": 0, "T": 1, "C": 2}.get(trans, trans)
    if how:
        A, lower = (adjoint(A) if how == 2 else transposed(A)), not lower
    x = triangular(A, right, lower=bool(lower), unit=bool(unit_diagonal))
    return x[..., 0] if column else x


@calls(sp.solve, catch=sp)
def solve(a: Any, b: Any, lower: bool = False, assume_a: Any = None, transposed: bool = False) -> Any:
    A, right, column = _as_columns(a, b)
    n = A.shape[-1]
    if assume_a in ("lower triangular", "upper triangular"):
        return solve_triangular(a, b, trans=int(transposed), lower=assume_a == "lower triangular")
    if assume_a in ("sym", "symmetric", "her", "hermitian", "pos", "positive definite"):
        if assume_a in ("sym", "symmetric"):
            side = A * triangle(n, A.dtype, lower=lower, strict=True)
            A = side + matrices.transposed(side) + A * np.eye(n, dtype=real_kind(A))
        else:
            A = hermitian(A, lower)  # one triangle is read
    elif assume_a == "diagonal":
        A = A * np.eye(n, dtype=real_kind(A))
    elif assume_a in ("tridiagonal", "banded"):
        unsupported("solve", assume_a=assume_a)
    if transposed:
        A = matrices.transposed(A)
    x = solving.solve(A, right)
    return x[..., 0] if column else x


@calls(sp.cholesky, catch=sp)
def cholesky(a: Any, lower: bool = False) -> Any:
    return factorizations.cholesky_(as_operand(a), upper=not lower)


@calls(sp.cho_factor, catch=sp)
def cho_factor(a: Any, lower: bool = False) -> Any:
    a = as_operand(a)
    factor = factorizations.cholesky_(a, upper=not lower)
    if _leaves_the_other_triangle():
        factor = factor + a * (1 - triangle(a.shape[-1], a.dtype, lower=lower))
    return factor, lower


@functools.cache
def _leaves_the_other_triangle() -> bool:
    """Return whether SciPy's ``cho_factor`` leaves the other triangle; since version 1.18 it writes zeros there."""
    return bool(sp.cho_factor(np.array([[1.0, 0.5], [0.5, 1.0]]), lower=False)[0][1, 0])


@calls(sp.cho_solve, catch=sp)
def cho_solve(c_and_lower: Any, b: Any) -> Any:
    c, lower = c_and_lower
    C, right, column = _as_columns(c, b)
    lower = bool(lower)
    first, second = (C, adjoint(C)) if lower else (adjoint(C), C)
    x = triangular(second, triangular(first, right, lower=True, unit=False), lower=False, unit=False)
    return x[..., 0] if column else x


def _lu_partial(y: Any, x: Any) -> LocalJacobian:
    """Differentiate ``A = L U``: ``L^-1 dA U^-1 = L^-1 dL + dU U^-1``, a strictly lower and an upper part."""
    n = x.shape[-1]
    low = triangle(n, x.dtype, strict=True)
    up = low.T + np.eye(n, dtype=low.dtype)
    L, U = y * low + np.eye(n, dtype=low.dtype), y * up

    def push(t: Array) -> Array:
        inner = _triangular_block(L, t, True, True)
        inner = transposed(_triangular_block(transposed(U), transposed(inner), True, False))
        return L @ (inner * low) + (inner * up) @ U

    def pull(g: Array) -> Array:
        inner = (transposed(L) @ (g * low)) * low + ((g * up) @ transposed(U)) * up
        inner = _triangular_block(transposed(L), inner, False, True)
        return transposed(_triangular_block(U, transposed(inner), False, False))

    return Map(x.shape, y.shape, push, pull, product(4, x.shape), name="lu")


lu_ = array_function(
    "lu",
    lambda x: sp.lu_factor(x)[0],
    _lu_partial,
    formula_rule=False,
    source="scipy.linalg.lu_factor({0})[0]",
    counts=lambda _y, x: {"multiplications": x.size * x.shape[-1] // 3, "additions": x.size * x.shape[-1] // 3},
)
pivots = step_function("pivots", lambda x: sp.lu_factor(x)[1], source="scipy.linalg.lu_factor({0})[1]")


def _order_of(piv: Any) -> Any:
    order = np.arange(len(piv))
    for k, other in enumerate(piv):
        order[[k, other]] = order[[other, k]]
    return order


order_of = step_function(
    "order_of_pivots",
    _order_of,
    source="wengert.primitives.scipy.linalg.order_of({0})",
    counts=lambda _y, x: {"moves": x.size},
)


@calls(sp.lu_factor, catch=sp)
def lu_factor(a: Any) -> Any:
    a = as_operand(a)
    if a.ndim != 2 or a.shape[0] != a.shape[1]:
        raise UnsupportedError(f"scipy.linalg.lu_factor of shape {a.shape} has no rule; it has for one square matrix.")
    piv = pivots(a)
    return lu_(a[order_of(piv)]), piv


@calls(sp.lu_solve, catch=sp)
def lu_solve(lu_and_piv: Any, b: Any, trans: Any = 0) -> Any:
    lu, piv = lu_and_piv
    LU, right, column = _as_columns(lu, b)
    order = order_of(as_operand(piv))
    if trans == 0:
        y = triangular(LU, right[order], lower=True, unit=True)
        x = triangular(LU, y, lower=False, unit=False)
    else:
        T = adjoint(LU) if trans == 2 else transposed(LU)
        y = triangular(T, right, lower=True, unit=False)  # U^T is its lower triangle
        x = triangular(T, y, lower=False, unit=True)[np.argsort(order)]
    return x[..., 0] if column else x


@calls(sp.lu, catch=sp)
def lu(a: Any, permute_l: bool = False, p_indices: bool = False) -> Any:
    packed, piv = lu_factor(a)
    n = packed.shape[-1]
    low = triangle(n, packed.dtype, strict=True)
    L, U = packed * low + np.eye(n, dtype=low.dtype), packed * (1 - low)
    back = np.argsort(order_of(piv))
    if permute_l:
        return L[back], U
    return (back if p_indices else np.eye(n, dtype=low.dtype)[back]), L, U


# ---- What NumPy has too ----


@calls(sp.inv, catch=sp)
def inv(a: Any, **_options: Any) -> Any:
    return solving.inv_(as_operand(a))


@calls(sp.det, catch=sp)
def det(a: Any) -> Any:
    a = as_operand(a)
    kind = np.complex128 if is_complex(a) else np.float64  # SciPy's is always of double precision
    return determinants.det_(a.astype(kind))


@calls(sp.norm, catch=sp)
def norm(a: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:  # noqa: A002
    a = as_operand(a)
    y = norms.norm(a, ord, axis, keepdims)
    if a.ndim == 1 and ord in (None, 2) and axis is None and not keepdims:
        return y.astype(np.float64)  # SciPy returns Python's float here
    return y


@calls(sp.pinv, catch=sp)
def pinv(a: Any, *, atol: Any = None, rtol: Any = None, return_rank: bool = False) -> Any:
    a = as_operand(a)
    unsupported("pinv", atol=atol)
    cutoff = float(np.finfo(a.dtype).eps) * max(a.shape[-2:]) if rtol is None else rtol
    B = least_squares.pinv_(a, rcond=cutoff)
    return (B, least_squares.matrix_rank_(a, tol=None, hermitian=False, rtol=cutoff)) if return_rank else B


@calls(sp.lstsq, catch=sp)
def lstsq(a: Any, b: Any, cond: Any = None) -> Any:
    a = as_operand(a)
    return least_squares.lstsq(a, b, float(np.finfo(a.dtype).eps) if cond is None else cond)


@calls(sp.svdvals, catch=sp)
def svdvals(a: Any) -> Any:
    return singular_values.svdvals_(as_operand(a))


@calls(sp.svd, catch=sp)
def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    factors = singular_values.svd(a, full_matrices, compute_uv)
    return tuple(factors) if compute_uv else factors


def _eigh_packed(x: Any, lower: bool) -> Any:
    w, V = sp.eigh(x, lower=lower)
    return np.concatenate([w[..., None, :], V], axis=-2)


eigh_ = array_function(
    "scipy_eigh",
    _eigh_packed,
    eigenvalues.eigh_rule,
    formula_rule=False,
    source=lambda args, params: (
        "(lambda w, v: np.concatenate([w[..., None, :], v], axis=-2))"
        f"(*scipy.linalg.eigh({args[0]}, lower={params['lower']}))"
    ),
    counts=lambda _y, x, **_params: product(9, x.shape),
    kink=eigenvalues.EQUAL_VALUES,
)


def _signs(V: Any, a: Any, b: Any, lower: bool) -> Any:
    """Return the signs that SciPy gives to the vectors of a generalized problem, relative to `V`."""
    return np.sign(np.sum(V * (b @ sp.eigh(a, b, lower=lower)[1]), axis=0))


signs = step_function(
    "signs_of_vectors",
    _signs,
    source=lambda args, params: f"wengert.primitives.scipy.linalg.signs({', '.join(args)}, lower={params['lower']})",
    counts=lambda _y, x, *_rest, **_params: product(9, x.shape),
)


@calls(sp.eigh, catch=sp)
def eigh(
    a: Any, b: Any = None, *, lower: bool = True, eigvals_only: bool = False, type: int = 1,  # noqa: A002
    subset_by_index: Any = None, subset_by_value: Any = None, driver: Any = None,
) -> Any:  # fmt: skip
    unsupported("eigh", subset_by_value=subset_by_value, driver=driver, type=None if type == 1 else type)
    a = as_operand(a)
    square_of(a)
    chosen = slice(None) if subset_by_index is None else slice(int(subset_by_index[0]), int(subset_by_index[1]) + 1)
    if b is None:
        if eigvals_only:
            return eigenvalues.eigvalsh_(a, lower=lower)[..., chosen]
        packed = eigh_(a, lower=lower)
        return real(packed[..., 0, :])[..., chosen], packed[..., 1:, :][..., chosen]
    if a.dtype.kind == "c" or a.ndim > 2:
        raise UnsupportedError("scipy.linalg.eigh(a, b) has a rule for one pair of real matrices only.")
    b = as_operand(b)
    L = factorizations.cholesky_(b, upper=not lower)
    L = L if lower else transposed(L)
    half = triangular(L, hermitian(a, lower), lower=True, unit=False)
    C = triangular(L, transposed(half), lower=True, unit=False)
    if eigvals_only:
        return eigenvalues.eigvalsh_(C, lower=lower)[chosen]
    packed = eigh_(C, lower=lower)
    V = triangular(transposed(L), packed[1:], lower=False, unit=False)
    V = V * signs(V, hermitian(a, lower), hermitian(b, lower), lower=lower)
    return packed[0][chosen], V[:, chosen]


@calls(sp.eigvalsh, catch=sp)
def eigvalsh(a: Any, b: Any = None, *, lower: bool = True, subset_by_index: Any = None, **options: Any) -> Any:
    return eigh(a, b, lower=lower, eigvals_only=True, subset_by_index=subset_by_index, **options)


@calls(sp.eigvals, catch=sp)
def eigvals(a: Any, b: Any = None, homogeneous_eigvals: bool = False) -> Any:
    unsupported("eigvals", b=b, homogeneous_eigvals=homogeneous_eigvals)
    return eigenvalues.eigvals_(as_operand(a)) + 0j  # SciPy's are always complex


@calls(sp.eig, catch=sp)
def eig(a: Any, b: Any = None, left: bool = False, right: bool = True, homogeneous_eigvals: bool = False) -> Any:
    unsupported("eig", b=b, left=left, homogeneous_eigvals=homogeneous_eigvals)
    if not right:
        return eigvals(a)
    w, V = eigenvalues.eig(as_operand(a))
    return w + 0j, V


# ---- Matrices that are put together ----


@calls(sp.block_diag, catch=sp)
def block_diag(*arrays: Any) -> Any:
    blocks = [np.atleast_2d(as_operand(a)) for a in arrays]
    if any(a.ndim > 2 for a in blocks):
        raise UnsupportedError("scipy.linalg.block_diag of stacks has no rule; call it for each member.")
    width = sum(a.shape[1] for a in blocks)
    kind = np.result_type(*[a.dtype for a in blocks])
    rows, start = [], 0
    for a in blocks:
        m, n = a.shape
        sides = [np.zeros((m, start), kind), a, np.zeros((m, width - start - n), kind)]
        rows.append(np.concatenate(sides, axis=1))
        start += n
    return np.concatenate(rows, axis=0)


@calls(sp.toeplitz, catch=sp)
def toeplitz(c: Any, r: Any = None) -> Any:
    c = np.ravel(as_operand(c))
    r = conj(c) if r is None else np.ravel(as_operand(r))
    offsets = np.arange(c.shape[0])[:, None] - np.arange(r.shape[0])[None, :]
    both = np.concatenate([c, r[1:]])
    return both[np.where(offsets >= 0, offsets, c.shape[0] - 1 - offsets)]


@calls(sp.circulant, catch=sp)
def circulant(c: Any) -> Any:
    c = as_operand(c)
    if c.ndim != 1:
        raise UnsupportedError("scipy.linalg.circulant of a stack has no rule; call it for each member.")
    n = math.prod(c.shape)
    return c[(np.arange(n)[:, None] - np.arange(n)[None, :]) % n]


@calls(sp.hankel, catch=sp)
def hankel(c: Any, r: Any = None) -> Any:
    c = np.ravel(as_operand(c))
    r = np.zeros(c.shape, c.dtype) if r is None else np.ravel(as_operand(r))
    both = np.concatenate([c, r[1:]])
    return both[np.arange(c.shape[0])[:, None] + np.arange(r.shape[0])[None, :]]


@calls(sp.companion, catch=sp)
def companion(a: Any) -> Any:
    a = as_operand(a)
    if a.ndim != 1 or a.shape[0] < 2:
        raise UnsupportedError(f"scipy.linalg.companion of shape {a.shape} has no rule; it has for one vector.")
    return np.concatenate([(-a[1:] / a[0])[None, :], np.eye(a.shape[0] - 2, a.shape[0] - 1, dtype=a.dtype)], axis=0)


@calls(sp.fiedler_companion, catch=sp)
def fiedler_companion(a: Any) -> Any:
    a = as_operand(a)
    if a.ndim != 1 or a.shape[0] < 2:
        raise UnsupportedError(f"scipy.linalg.fiedler_companion of shape {a.shape} has no rule; it has for one vector.")
    entries = sp.fiedler_companion(np.arange(1, a.shape[0] + 1, dtype=a.dtype))  # -k for coefficient k - 1, else 0 or 1
    return np.where(entries.real < 0, -(a / a[0])[np.maximum(-entries.real - 1, 0).astype(int)], entries)


@calls(sp.leslie, catch=sp)
def leslie(f: Any, s: Any) -> Any:
    f, s = as_operand(f), as_operand(s)
    if f.ndim != 1 or s.shape != (f.shape[0] - 1,):
        raise UnsupportedError(f"scipy.linalg.leslie of shapes {f.shape} and {s.shape} has no rule: n and n - 1.")
    return np.concatenate(
        [f[None, :], np.concatenate([np.diag(s), np.zeros((s.shape[0], 1), s.dtype)], axis=1)], axis=0
    )
