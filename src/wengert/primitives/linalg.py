"""``numpy.linalg``: each factorization one row, whose local Jacobian is a formula in its own factors.

The differentials of ``A X = B``, ``A = L L^T``, ``A = U S V^T``... give the tangents of the factors by products with
factors that are known already (Giles 2008, "Collected matrix derivative results"); the pull is the transposed chain.
Both are plain NumPy on whatever they are given, so on traced values they are lines again, and second order needs no
formula of its own.  A factorization with several results is one line whose result holds all of them, one below the
other, so that one pull serves them jointly; the pieces are taken out by indexing.

Where a factor is not determined (vectors of a repeated eigenvalue) the part of the derivative that is defined is
returned, and `DegenerateError` raised if what is asked for hangs on the rest.  That is told from the adjoint or tangent
that arrives, so to first order at that point: a function that depends on the choice of the vectors, and happens to be
stationary in it at the vectors that LAPACK chose, cannot be told from one that does not.

>>> import numpy as np, wengert as wg
>>> wg.grad(np.linalg.det)(np.array([[2.0, 1.0], [0.0, 3.0]]))
array([[ 3.,  0.],
       [-1.,  2.]])
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple
from scipy.linalg import blas, lapack

from wengert.errors import DegenerateError, UnsupportedError, differentiated, explain_at
from wengert.jacobians import LARGE, Counts, LocalJacobian, Map, Shape
from wengert.primitives.table import calls, define
from wengert.program import Primitive, Recordable

Array = Any
_REAL: dict[str, np.dtype[Any]] = {"F": np.dtype(np.float32), "D": np.dtype(np.float64)}


# ---- Small things that all rules use ----


def array(value: Any) -> Any:
    """Return traced values and arrays as they are, anything else as an array."""
    return value if hasattr(value, "shape") else np.asarray(value)


def transposed(a: Array) -> Array:
    """Return the stack of transposed matrices."""
    return a.T if type(a) is np.ndarray and a.ndim == 2 else np.swapaxes(a, -1, -2)


def is_complex(a: Array) -> bool:
    """Tell whether the elements are complex."""
    return bool(a.dtype.kind == "c")


def conj(a: Array) -> Array:
    """Return the complex conjugate; of a real array the array itself."""
    return np.conj(a) if is_complex(a) else a


def adjoint(a: Array) -> Array:
    """Return the stack of conjugate transposed matrices."""
    return conj(transposed(a))


def real(a: Array) -> Array:
    """Return the real part; of a real array the array itself."""
    return np.real(a) if is_complex(a) else a


def square_of(*arrays: Array) -> None:
    """Raise as NumPy does where an argument is no stack of square matrices."""
    for a in arrays:
        shape = a.shape
        if len(shape) < 2:
            raise np.linalg.LinAlgError(f"{a.ndim}-dimensional array given. Array must be at least two-dimensional")
        if shape[-1] != shape[-2]:
            raise np.linalg.LinAlgError("Last 2 dimensions of the array must be square")


def matrices(*arrays: Array) -> None:
    """Raise as NumPy does where an argument is no stack of matrices."""
    for a in arrays:
        if a.ndim < 2:
            raise np.linalg.LinAlgError(f"{a.ndim}-dimensional array given. Array must be at least two-dimensional")


def triangle(n: int, dtype: Any, *, lower: bool = True, strict: bool = False, half: bool = False) -> Array:
    """Return the mask of a triangle, without the diagonal if it is `strict`, the diagonal halved if `half`."""
    kind: Any = _REAL.get(dtype.char, dtype)
    return (_small_triangle if n <= 64 else _triangle)(n, kind, lower, strict, half)


def _triangle(n: int, kind: Any, lower: bool, strict: bool, half: bool) -> Array:
    mask = np.tri(n, k=-1 if strict else 0, dtype=kind)
    if half:
        mask.reshape(-1)[:: n + 1] = 0.5
    return mask if lower else mask.T.copy()


@functools.lru_cache(maxsize=32)
def _small_triangle(n: int, kind: Any, lower: bool, strict: bool, half: bool) -> Array:
    """Make the mask once: for a small matrix that takes longer than what it is made for."""
    mask = _triangle(n, kind, lower, strict, half)
    mask.flags.writeable = False
    return mask


def hermitian(t: Array, lower: bool) -> Array:
    """Complete a triangle to a symmetric (Hermitian) matrix, as functions that read one triangle only see it."""
    side = t * triangle(t.shape[-1], t.dtype, lower=lower, half=True)
    return side + adjoint(side)


def folded(g: Array, lower: bool) -> Array:
    """Pull an adjoint through `hermitian`: both triangles add up in the one that is read."""
    mask = triangle(g.shape[-1], g.dtype, lower=lower, half=True)
    both = g + (g.T if type(g) is np.ndarray and g.ndim == 2 and not is_complex(g) else adjoint(g))
    return np.multiply(both, mask, out=both) if type(both) is np.ndarray else both * mask


def real_kind(a: Array) -> Any:
    """Return the real dtype of the same precision."""
    return _REAL.get(a.dtype.char, a.dtype)


def product(count: int, shape: Shape) -> Counts:
    """Count `count` products of matrices of a shape (the larger side is summed over)."""
    m, n = shape[-2:]
    size = count * math.prod(shape) * max(m, n)
    return {"multiplications": size, "additions": size}


def _cubic(factor: float) -> Callable[..., Counts]:
    """Return the usual count of a factorization: `factor` times the number of elements times the smaller side."""

    def counts(_y: Any, x: Any, *_rest: Any, **_params: Any) -> Counts:
        shape = x.shape
        size = math.ceil(factor * math.prod(shape) * min(shape[-2:]))
        return {"multiplications": size, "additions": size}

    return counts


def spread(a: Array, like: Array) -> Array:
    """Repeat matrices along the leading axes that a block of tangents or adjoints has beyond them."""
    shape = like.shape[:-2] + a.shape[-2:]
    return a if a.shape == shape else np.broadcast_to(a, shape)


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


# ---- Plain matrices, in the rules alone: LAPACK called by hand, since NumPy's checks take longer than small matrices,
# ---- and a triangle needs no factorization.  What the user's own lines compute stays NumPy's.

_LETTERS = {"f": "s", "d": "d", "F": "c", "D": "z"}


def _routine(of: Any, name: str, *arrays: Any) -> Any:
    """Return the routine of LAPACK or BLAS for single matrices of one type; None where they are traced or stacked."""
    first = arrays[0]
    for a in arrays:
        if type(a) is not np.ndarray or a.ndim != 2 or a.dtype is not first.dtype or not a.size:
            return None
    letter = _LETTERS.get(first.dtype.char)
    return None if letter is None else getattr(of, letter + name)


def _checked(result: Array, info: int) -> Array:
    if info > 0:
        raise np.linalg.LinAlgError("Singular matrix")
    return result


def solution(A: Array, b: Array) -> Array:
    """Solve ``A X = B`` as the primitive does; a large triangle by substitution.

    For many columns of a small matrix by its inverse, as accurate in practice (Druinsky & Toledo 2012, "How accurate is
    inv(A)*b?"), since LAPACK wants them copied into its own order.
    """
    if b.size > LARGE and b.ndim > 1 and b.shape[-1] > 16 * A.shape[-1] and type(A) is np.ndarray is type(b):
        return np.matmul(np.linalg.inv(A), b)
    gesv = _routine(lapack, "gesv", A, b if b.ndim > 1 else b[:, None])
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
    return _checked(x, info)


def _by_substitution(A: Array, b: Array, lower: bool) -> tuple[Array, int]:
    trtrs = _routine(lapack, "trtrs", A)
    if A.flags.f_contiguous:
        found: tuple[Array, int] = trtrs(A, b, lower=lower)
    else:  # LAPACK counts by columns
        found = trtrs(A.T, b, lower=not lower, trans=1)
    return found


def inverse_of_lower(L: Array) -> Array:
    """Invert a lower triangle."""
    trtri = _routine(lapack, "trtri", L)
    return inv_(L) if trtri is None else _checked(*trtri(L.T, lower=False)).T


# ---- Where a derivative is not defined ----


def _degenerate(what: str) -> DegenerateError:
    return DegenerateError(
        explain_at(
            differentiated(),
            f"{what}, so this derivative does not exist or cannot be told:",
            "Use functions of the eigenvalues (or singular values) alone, np.linalg.eigvalsh or svd(compute_uv=False);"
            " of vectors, only the space that those of equal values span; or move the matrix off the coincidence.",
        )
    )


def _tolerance(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return below which differences of the values on the last axis are rounding errors of a factorization."""
    eps = np.finfo(values.dtype).eps
    largest = np.max(np.abs(values), axis=-1, initial=0.0)
    return np.asarray(8 * max(values.shape[-1], 1) * eps * largest)


def _groups(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Number the groups of equal values along the last axis, along which they are sorted."""
    steps = np.abs(np.diff(values, axis=-1)) > _tolerance(values)[..., None]
    return np.concatenate([np.zeros((*values.shape[:-1], 1), int), np.cumsum(steps, axis=-1)], -1)


def _shared(x: Any, values: Any) -> Any:
    groups = _groups(values)
    if values.shape[-1] == 0 or np.all(groups[..., -1] == values.shape[-1] - 1):
        return x
    same = (groups[..., :, None] == groups[..., None, :]).astype(x.dtype)
    return np.matmul(x[..., None, :], same / np.sum(same, -1, keepdims=True))[..., 0, :]


def _distinct(x: Any, values: Any, positive: bool) -> Any:
    repeated = values.shape[-1] > 1 and np.any(np.diff(_groups(values), axis=-1) == 0)
    if repeated or (positive and np.any(values <= _tolerance(values)[..., None])):
        raise _degenerate("a derivative of second order is taken at a repeated eigenvalue or singular value")
    return x


def _ratio(numerator: Any, gap: Any, size: Any, scale: Any) -> Any:
    """Divide where the gap is none of rounding; elsewhere the numerator must vanish, and the ratio is 0."""
    numerator = np.asarray(numerator)
    eps = np.finfo(numerator.dtype).eps
    n = numerator.shape[-1] if numerator.ndim else 1
    closed = np.abs(gap) <= 8 * n * eps * size
    if np.any(closed & (np.abs(numerator) > math.sqrt(eps) * scale)):
        raise _degenerate("the vectors of a repeated eigenvalue (or singular value) are not determined")
    return np.where(closed, 0.0, numerator / np.where(closed, 1.0, gap)).astype(numerator.dtype)


def _joined(g: Any, products: Any, values: Any) -> Any:
    """Return `g` unless it and the vectors' adjoints both hang on one group of equal values."""
    groups = _groups(values)
    if values.shape[-1] == 0 or np.all(groups[..., -1] == values.shape[-1] - 1):
        return g
    small = math.sqrt(np.finfo(values.dtype).eps)
    same = groups[..., :, None] == groups[..., None, :]
    part = np.where(same, (products + np.conj(np.swapaxes(products, -1, -2))) / 2, 0.0)
    level = np.diagonal(part, axis1=-2, axis2=-1).real
    flat = (level - _shared(level, values))[..., :, None] * np.eye(level.shape[-1])
    uneven = np.abs(part - part * np.eye(level.shape[-1])) + np.abs(flat)
    vectors = np.any(uneven > small * np.max(np.abs(products), axis=(-2, -1), keepdims=True, initial=0.0), axis=-1)
    repeated = np.sum(same, axis=-1) > 1
    used = np.abs(g) > small * np.max(np.abs(g), initial=0.0)
    leading = tuple(range(g.ndim - values.ndim))  # a block of adjoints is of one function
    if np.any(np.any(vectors, axis=leading) & np.any(used, axis=leading) & repeated):
        raise _degenerate("a repeated eigenvalue (or singular value) and its vectors are used together")
    return g


def _inverse_gap(gap: Any, size: Any) -> Any:
    n = np.shape(gap)[-1] if np.ndim(gap) else 1
    closed = np.abs(gap) <= 8 * n * np.finfo(gap.dtype).eps * size
    one = gap.dtype.type(1)
    return np.where(closed, one - one, one / np.where(closed, one, gap))


def _identity(x: Any) -> Map:
    return Map(x.shape, x.shape, lambda t: t, lambda g: g)


magnitude = define(
    "magnitude",
    lambda x: np.max(np.abs(x), axis=(-2, -1), keepdims=True, initial=0.0),
    None,
    elementwise=False,
    source="np.max(np.abs({0}), axis=(-2, -1), keepdims=True, initial=0.0)",
    counts=lambda _y, x: {"comparisons": x.size},
    kink="0 everywhere: it is only asked for to compare with",
)


def _level(x: Any) -> Any:
    """The largest element of each matrix; in a block of them, that of one which is only rounding counts for nothing."""
    sizes = np.max(np.abs(x), axis=(-2, -1), keepdims=True, initial=0.0)
    rounding = 1e3 * np.sqrt(np.finfo(sizes.dtype).eps) * np.max(sizes, initial=0.0)
    return np.maximum(sizes, rounding).astype(sizes.dtype)


level = define(
    "level",
    _level,
    None,
    elementwise=False,
    source="wengert.primitives.linalg.level({0})",
    counts=lambda _y, x: {"comparisons": x.size},
    kink="0 everywhere: it is only asked for to compare with",
)
shared: Primitive = define(
    "shared",
    _shared,
    lambda _y, _x, values: Map(_x.shape, _x.shape, lambda t: shared(t, values), lambda g: shared(g, values)),
    None,
    elementwise=False,
    source=lambda args, _params: f"wengert.primitives.linalg.shared({', '.join(args)})",
    counts=lambda y, *_rest: {"additions": y.size},
    kink="equal shares to the members of a group of equal values",
)
joined = define(
    "joined",
    _joined,
    lambda _y, _g, _products, _values: _identity(_g),
    None,
    None,
    elementwise=False,
    source=lambda args, _params: f"wengert.primitives.linalg.joined({', '.join(args)})",
    counts=lambda *_rest: {},
)
distinct: Primitive = define(
    "distinct",
    _distinct,
    lambda _y, _x, values, positive: Map(
        _x.shape,
        _x.shape,
        lambda t: distinct(t, values, positive=positive),
        lambda g: distinct(g, values, positive=positive),
    ),
    None,
    elementwise=False,
    source=lambda args, params: f"wengert.primitives.linalg.distinct({', '.join(args)}, positive={params['positive']})",
    counts=lambda *_rest, **_params: {},
    kink="an error where values repeat",
)
settled = define(
    "settled",
    lambda x, _values, positive: x,
    lambda _y, _x, values, positive: Map(
        _x.shape,
        _x.shape,
        lambda t: distinct(t, values, positive=positive),
        lambda g: distinct(g, values, positive=positive),
    ),
    None,
    elementwise=False,
    source="{0}",
    counts=lambda *_rest, **_params: {},
    kink="an error where values repeat",
)
ratio = define(
    "ratio",
    _ratio,
    lambda _y, _n, gap, size, _scale: _inverse_gap(gap, size),
    lambda y, _n, gap, size, _scale: -y * _inverse_gap(gap, size),
    None,
    None,
    elementwise=True,
    source=lambda args, _params: f"wengert.primitives.linalg.ratio({', '.join(args)})",
    counts="divisions",
    kink="where the divisor vanishes: 0 if the dividend does, else an error",
)


def _settle(y: Array, values: Array, positive: bool = False) -> Array:
    """Mark factors that stand in a rule: should the rule be differentiated, its values must be distinct."""
    return settled(y, values, positive=positive) if isinstance(y, Recordable) else y


def _gaps(w: Array, sign: int = -1) -> Array:
    """Return the table of ``w_j - w_i`` (or ``w_j + w_i``)."""
    return w[..., None, :] + sign * w[..., :, None]


# ---- Inverses, solutions, determinants ----

inv_ = define(
    "inv",
    np.linalg.inv,
    lambda y, _x: Map(
        _x.shape,
        _x.shape,
        lambda t: -(y @ t @ y),
        lambda g: -(transposed(y) @ g @ transposed(y)),
        product(2, _x.shape),
        name="inv",
    ),
    elementwise=False,
    source="np.linalg.inv({0})",
    counts=_cubic(1.0),
)


def _solve_partials(y: Any, A: Any, _b: Any) -> tuple[LocalJacobian, LocalJacobian]:
    """Differentiate ``A X = B``: ``dX = A^-1 (dB - dA X)``.  Both pulls need ``A^-T g``, which is solved for once."""
    vector = len(_b.shape) == 1
    known: list[Any] = [None, None]

    def solved(matrix: Array, t: Array) -> Array:
        if not vector:
            return solve_block(matrix, t)
        if len(t.shape) == 1:
            return solution(matrix, t)
        columns = np.reshape(t, (math.prod(t.shape[:-1]), t.shape[-1]))
        return np.reshape(transposed(solution(matrix, transposed(columns))), t.shape)

    def back(g: Array) -> Array:
        if known[0] is not g:
            known[:] = g, solved(transposed(A), g)
        return known[1]

    def pull(g: Array) -> Array:
        return back(g)[..., None] * -y if vector else -(back(g) @ transposed(y))

    def counts() -> Counts:
        return product(1, A.shape)

    return (
        Map(A.shape, y.shape, lambda t: -solved(A, t @ y), pull, counts, name="solve"),
        Map(y.shape, y.shape, lambda t: solved(A, t), back, counts, name="solve"),
    )


solve = define(
    "solve",
    np.linalg.solve,
    lambda y, A, _b: _solve_partials(y, A, _b)[0],
    lambda _y, A, _b: _solve_partials(_y, A, _b)[1],
    together=_solve_partials,
    elementwise=False,
    source="np.linalg.solve({0}, {1})",
    counts=_cubic(1 / 3),
)


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

    return Map(x.shape, x.shape, cofactors_slope_slope, cofactors_slope_slope, product(6, x.shape), name="cofactors")


cofactors = define(
    "cofactors",
    _cofactors,
    lambda _y, x: Map(
        x.shape,
        x.shape,
        lambda t: cofactors_slope(spread(x, t), t),
        lambda g: cofactors_slope(spread(x, g), g),  # a second derivative: symmetric
        product(4, x.shape),
        name="cofactors",
    ),
    elementwise=False,
    source="wengert.primitives.linalg.cofactors({0})",
    counts=_cubic(8.0),
)
cofactors_slope: Primitive = define(
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
    ),
    elementwise=False,
    source="wengert.primitives.linalg.cofactors_slope({0}, {1})",
    counts=_cubic(12.0),
)


def _det_partial(_y: Any, x: Any) -> LocalJacobian:
    C = cofactors(x)
    return Map(
        x.shape,
        _y.shape,
        lambda t: np.sum(C * t, axis=(-2, -1)),
        lambda g: g[..., None, None] * C,
        product(0, x.shape) | {"multiplications": x.size},
        name="det",
    )


det_ = define(
    "det",
    np.linalg.det,
    _det_partial,
    elementwise=False,
    source="np.linalg.det({0})",
    counts=_cubic(1 / 3),
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


slogdet_ = define(
    "slogdet",
    lambda x: np.stack([*np.linalg.slogdet(x)], axis=-1),
    _slogdet_partial,
    elementwise=False,
    source="np.stack([*np.linalg.slogdet({0})], axis=-1)",
    counts=_cubic(1 / 3),
)


# ---- Triangular factors ----


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
        trmm = None if is_complex(L) else _routine(blas, "trmm", L, gL)
        if trmm is None:
            M = inverse_of_lower(L)
            inner = transposed(M) @ (phi * (transposed(L) @ gL)) @ conj(M)
        else:  # half of the multiplications, and no inverse; BLAS counts by columns, so all is transposed
            trsm = _routine(blas, "trsm", L)
            inner = trmm(1.0, L.T, gL.T, side=1, trans_a=1)
            inner *= phi.T
            inner = trsm(1.0, L.T, inner, overwrite_b=1)
            inner = trsm(1.0, L.T, inner, side=1, trans_a=1, overwrite_b=1).T
        return folded(inner, not upper)

    return Map(x.shape, x.shape, push, pull, lambda: product(4, x.shape), name="cholesky")


cholesky_ = define(
    "cholesky",
    lambda x, upper: np.linalg.cholesky(x, upper=upper),
    _cholesky_partial,
    elementwise=False,
    source=lambda args, params: f"np.linalg.cholesky({args[0]}, upper={params['upper']})",
    counts=_cubic(1 / 6),
    kink="a function of the triangle that NumPy reads: the other one has derivative 0",
)


def _qr_packed(x: Any) -> Any:
    return np.concatenate(np.linalg.qr(x, mode="reduced"), axis=-2)


def _full_rank(R: Any) -> Any:
    sizes = np.abs(np.diagonal(R, axis1=-2, axis2=-1))
    if np.any(np.min(sizes, axis=-1, initial=np.inf) <= _tolerance(sizes)):
        raise _degenerate("the columns of a matrix are linearly dependent, and the Q of its QR is not determined")
    return R


full_rank = define(
    "full_rank",
    _full_rank,
    lambda _y, _x: _identity(_x),
    elementwise=False,
    source="wengert.primitives.linalg.full_rank({0})",
    counts=lambda *_rest: {},
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

    return Map(x.shape, y.shape, push, pull, product(5, x.shape), name="qr")


qr_ = define(
    "qr",
    _qr_packed,
    _qr_partial,
    elementwise=False,
    source="np.concatenate(np.linalg.qr({0}), axis=-2)",
    counts=_cubic(2.0),
)


def _completion(basis: Any, full: Any) -> Any:
    return full[..., basis.shape[-1] :]


def _completion_partial(y: Any, basis: Any, _full: Any) -> LocalJacobian:
    """The vectors that complete a basis turn with it; their turning among themselves is not determined."""

    def push(t: Array) -> Array:
        if y.shape[-1] > 1 or is_complex(y):
            raise _degenerate("the vectors that complete a basis (full_matrices, mode='complete') are not determined")
        return -(basis @ (adjoint(t) @ y))

    def pull(g: Array) -> Array:
        g = conj(g)
        N = adjoint(y) @ g
        return conj(-(y @ (adjoint(undirected(g, N)) @ basis)))

    return Map(basis.shape, y.shape, push, pull, product(2, basis.shape), name="completion")


def _undirected(g: Any, products: Any) -> Any:
    """Return `g` unless it would turn vectors among themselves: their products have an antihermitian part."""
    part = np.abs(products - np.conj(np.swapaxes(products, -1, -2))) / 2
    if np.any(part > math.sqrt(np.finfo(part.dtype).eps) * np.max(np.abs(products), initial=0.0)):
        raise _degenerate("the vectors that complete a basis (full_matrices, mode='complete') are not determined")
    return g


undirected = define(
    "undirected",
    _undirected,
    lambda _y, _g, _products: _identity(_g),
    None,
    elementwise=False,
    source=lambda args, _params: f"wengert.primitives.linalg.undirected({', '.join(args)})",
    counts=lambda *_rest: {},
)
completion = define(
    "completion",
    _completion,
    _completion_partial,
    None,
    elementwise=False,
    source=lambda args, _params: f"wengert.primitives.linalg.completion({', '.join(args)})",
    counts=lambda *_rest: {},
    kink="of several vectors only their span has a derivative: an error where more is asked for",
)


# ---- Eigenvalues and eigenvectors of symmetric (Hermitian) matrices ----


def _eigh_packed(x: Any, lower: bool) -> Any:
    w, V = np.linalg.eigh(x, UPLO="L" if lower else "U")
    return np.concatenate([w[..., None, :], V], axis=-2)


def eigh_rule(y: Array, x: Array, lower: bool) -> LocalJacobian:
    """Differentiate ``A V = V w``: ``dw = diag(V^H dA V)``, ``dV = V (F * V^H dA V)`` with ``F_ij = 1/(w_j - w_i)``."""
    w = real(y[..., 0, :])
    y = _settle(y, w)
    w, V = real(y[..., 0, :]), y[..., 1:, :]
    gap = _gaps(w)
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

    return Map(x.shape, y.shape, push, pull, product(4, x.shape), name="eigh")


_EQUAL_VALUES = "repeated eigenvalues: equal shares; of their vectors only the span has a derivative, else an error"
eigh_ = define(
    "eigh",
    _eigh_packed,
    eigh_rule,
    elementwise=False,
    source=lambda args, params: (
        "(lambda w, v: np.concatenate([w[..., None, :], v], axis=-2))"
        f"(*np.linalg.eigh({args[0]}, UPLO={'L' if params['lower'] else 'U'!r}))"
    ),
    counts=_cubic(9.0),
    kink=_EQUAL_VALUES,
)


def eigvalsh_rule(y: Array, x: Array, lower: bool) -> LocalJacobian:
    """Differentiate eigenvalues alone: ``dw = diag(V^H dA V)``."""
    pair = eigh_(x, lower=lower)
    w = real(pair[..., 0, :])
    V = _settle(pair, w)[..., 1:, :]

    def push(t: Array) -> Array:
        return shared(real(np.sum(conj(V) * (hermitian(t, lower) @ V), axis=-2)), w)

    def pull(g: Array) -> Array:
        return conj(folded((V * shared(g, w)[..., None, :]) @ adjoint(V), lower))

    return Map(x.shape, y.shape, push, pull, product(2, x.shape), name="eigvalsh")


eigvalsh_ = define(
    "eigvalsh",
    lambda x, lower: np.linalg.eigvalsh(x, UPLO="L" if lower else "U"),
    eigvalsh_rule,
    elementwise=False,
    source=lambda args, params: f"np.linalg.eigvalsh({args[0]}, UPLO={'L' if params['lower'] else 'U'!r})",
    counts=_cubic(4 / 3),
    kink="repeated eigenvalues: equal shares, as of ties",
)


# ---- Eigenvalues and eigenvectors of general matrices ----


def _eig_packed(x: Any) -> Any:
    w, V = np.linalg.eig(x)
    return np.concatenate([w[..., None, :], V], axis=-2)


def _eig_partial(y: Any, x: Any) -> LocalJacobian:
    """Differentiate ``A V = V w``; each vector keeps length 1 and its largest element real, as LAPACK scales it."""
    w, V = y[..., 0, :], y[..., 1:, :]
    M = inv_(V)
    gap = _gaps(w)
    n = x.shape[-1]
    size = magnitude(w[..., None, :])
    off = 1 - np.eye(n, dtype=real_kind(x))
    at = largest(V)

    def push(t: Array) -> Array:
        P = M @ t @ V
        D = V @ ratio(P * off, gap, size, level(P))
        length = real(np.sum(conj(V) * D, axis=-2))
        scale = length
        if is_complex(D):
            scale = length + 1j * (np.imag(np.sum(at * D, axis=-2)) / real(np.sum(at * V, axis=-2)))
        return np.concatenate([np.diagonal(P, axis1=-2, axis2=-1)[..., None, :], D - V * scale[..., None, :]], axis=-2)

    def pull(g: Array) -> Array:
        gw, gV = g[..., 0, :], g[..., 1:, :]
        gs = -np.sum(V * gV, axis=-2)
        gD = gV + conj(V) * real(gs)[..., None, :]
        if is_complex(g):
            turn = -np.imag(gs) / real(np.sum(at * V, axis=-2))  # of the imaginary part of the largest element
            gD = gD - 1j * at * turn[..., None, :]
        N = transposed(V) @ gD
        inner = ratio(N * off, gap, size, level(N)) + gw[..., None, :] * np.eye(n, dtype=real_kind(x))
        return transposed(M) @ inner @ transposed(V)

    return Map(x.shape, y.shape, push, pull, product(4, x.shape), name="eig")


def _largest(V: Any) -> Any:
    size = np.abs(V)
    return (np.arange(V.shape[-2])[:, None] == np.argmax(size, axis=-2)[..., None, :]).astype(size.dtype)


largest = define(
    "largest",
    _largest,
    None,
    elementwise=False,
    source="(np.arange({0}.shape[-2])[:, None] == np.argmax(np.abs({0}), axis=-2)[..., None, :]).astype(float)",
    counts=lambda _y, x: {"comparisons": x.size},
)
eig_ = define(
    "eig",
    _eig_packed,
    _eig_partial,
    elementwise=False,
    source="(lambda w, v: np.concatenate([w[..., None, :], v], axis=-2))(*np.linalg.eig({0}))",
    counts=_cubic(25.0),
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

    return Map(x.shape, y.shape, push, pull, product(2, x.shape), name="eigvals")


def _distinct_values(x: Any, w: Any) -> Any:
    n = w.shape[-1]
    gap = np.abs(w[..., None, :] - w[..., :, None]) + np.where(np.eye(n, dtype=bool), np.inf, 0.0)
    if n > 1 and np.any(gap <= 8 * n * np.finfo(w.dtype).eps * np.max(np.abs(w), axis=-1)[..., None, None]):
        raise _degenerate("an eigenvalue of a general matrix is repeated")
    return x


distinct_values = define(
    "distinct_values",
    _distinct_values,
    lambda _y, _x, _w: _identity(_x),
    None,
    elementwise=False,
    source=lambda args, _params: f"wengert.primitives.linalg.distinct_values({', '.join(args)})",
    counts=lambda *_rest: {},
    kink="an error where values repeat",
)
eigvals_ = define(
    "eigvals",
    np.linalg.eigvals,
    _eigvals_partial,
    elementwise=False,
    source="np.linalg.eigvals({0})",
    counts=_cubic(10.0),
    kink="repeated eigenvalues: an error",
)


# ---- Singular values and vectors ----


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
    y = _settle(y, real(y[..., m, :]), positive=True)
    U, s, V = y[..., :m, :], real(y[..., m, :]), conj(y[..., m + 1 :, :])
    gap, total = _gaps(s), _gaps(s, 1)
    size = magnitude(s[..., None, :])
    one = np.eye(k, dtype=real_kind(x))
    off = 1 - one

    def rest(X: Array, basis: Array) -> Array:
        """Return what lies outside of a basis, divided by the singular values."""
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

    return Map(x.shape, y.shape, push, pull, product(6, x.shape), name="svd")


svd_ = define(
    "svd",
    _svd_packed,
    _svd_partial,
    elementwise=False,
    source=(
        "(lambda u, s, vh: np.concatenate([u, s[..., None, :], np.swapaxes(vh, -1, -2)], axis=-2))"
        "(*np.linalg.svd({0}, full_matrices=False))"
    ),
    counts=_cubic(14.0),
    kink="repeated singular values: equal shares; of their vectors only the span has a derivative, else an error",
)


def _svdvals_partial(y: Any, x: Any) -> LocalJacobian:
    m = x.shape[-2]
    packed = svd_(x)
    s = real(packed[..., m, :])
    settled_ = _settle(packed, s, positive=True)
    U, V = settled_[..., :m, :], conj(settled_[..., m + 1 :, :])
    positive = nonzero(s)

    def push(t: Array) -> Array:
        return shared(real(np.sum(conj(U) * (t @ V), axis=-2)) * positive, s)

    def pull(g: Array) -> Array:
        return conj((U * (shared(g, s) * positive)[..., None, :]) @ adjoint(V))

    return Map(x.shape, y.shape, push, pull, product(2, x.shape), name="svdvals")


nonzero = define(
    "nonzero_values",
    lambda s: (s > _tolerance(s)[..., None]).astype(s.dtype),
    None,
    elementwise=False,
    source="wengert.primitives.linalg.nonzero({0})",
    counts=lambda _y, x: {"comparisons": x.size},
    kink="0 everywhere",
)
svdvals_ = define(
    "svdvals",
    lambda x: np.linalg.svd(x, compute_uv=False),
    _svdvals_partial,
    elementwise=False,
    source="np.linalg.svd({0}, compute_uv=False)",
    counts=_cubic(4.0),
    kink="repeated singular values: equal shares, as of ties; at 0: 0, as of the absolute value",
)


# ---- Least squares ----


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

    return Map(x.shape, y.shape, push, pull, product(8, x.shape), name="pinv")


pinv_ = define(
    "pinv",
    lambda x, rcond: np.linalg.pinv(x) if rcond is None else np.linalg.pinv(x, rcond),
    _pinv_partial,
    elementwise=False,
    source=lambda args, params: f"np.linalg.pinv({args[0]}, {params['rcond']!r})",
    counts=_cubic(18.0),
    kink="the rank is held: it is what NumPy finds it to be",
)
matrix_rank_ = define(
    "matrix_rank",
    lambda x, tol, hermitian, rtol: np.linalg.matrix_rank(x, tol, hermitian, rtol=rtol),
    None,
    elementwise=False,
    source="np.linalg.matrix_rank({0})",
    counts=_cubic(4.0),
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


lstsq_ = define(
    "lstsq",
    _lstsq_of,
    _lstsq_matrix,
    _lstsq_right,
    elementwise=False,
    source=lambda args, params: f"np.linalg.lstsq({args[0]}, {args[1]}, {params['rcond']!r})[0]",
    counts=_cubic(4.0),
    kink="the rank is held: it is what NumPy finds it to be",
)


# ---- The functions that users call ----


@calls(np.linalg.inv)
def inv(a: Any) -> Any:
    return inv_(a)


@calls(np.linalg.solve)
def solve_for(a: Any, b: Any) -> Any:
    a, b = array(a), array(b)
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


@calls(np.linalg.det)
def det(a: Any) -> Any:
    return det_(a)


@calls(np.linalg.slogdet)
def slogdet(a: Any) -> Any:
    packed = slogdet_(a)
    return _named("SlogdetResult", packed[..., 0], real(packed[..., 1]))


def _named(name: str, *values: Any) -> Any:
    """Return the named tuple that NumPy returns."""
    kind = getattr(np.linalg._linalg, name, None)
    return values if kind is None else kind(*values)


@calls(np.linalg.cholesky)
def cholesky(a: Any, /, *, upper: bool = False) -> Any:
    return cholesky_(a, upper=bool(upper))


@calls(np.linalg.qr)
def qr(a: Any, mode: str = "reduced") -> Any:
    a = array(a)
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
        whole = completion_of(a)
        Q = np.concatenate([Q, completion(Q, whole)], axis=-1)
        R = np.concatenate([R, np.zeros((*R.shape[:-2], m - n, n), R.dtype)], axis=-2)
    return _named("QRResult", Q, R)


completion_of = define(
    "complete_qr",
    lambda x: np.linalg.qr(x, mode="complete")[0],
    None,
    elementwise=False,
    source="np.linalg.qr({0}, mode='complete')[0]",
    counts=_cubic(4.0),
    kink="its last columns complete a basis; see completion",
)


@calls(np.linalg.eigh)
def eigh(a: Any, UPLO: str = "L") -> Any:
    packed = eigh_(a, lower=_lower(UPLO))
    return _named("EighResult", real(packed[..., 0, :]), packed[..., 1:, :])


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
    return _named("EigResult", packed[..., 0, :], packed[..., 1:, :])


@calls(np.linalg.eigvals)
def eigvals(a: Any) -> Any:
    return eigvals_(a)


@calls(np.linalg.svd)
def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    a = array(a)
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
    return _named("SVDResult", U, s, transposed(V))


def _svd_of_hermitian(a: Any, compute_uv: bool) -> Any:
    """As NumPy: eigenvalues by size, their signs to the left vectors."""
    w = eigvalsh_(a, lower=True) if not compute_uv else None
    if w is not None:
        return np.abs(np.take_along_axis(w, order_by_size(w), axis=-1))
    packed = eigh_(a, lower=True)
    w, V = real(packed[..., 0, :]), packed[..., 1:, :]
    order = order_by_size(w)
    w, V = np.take_along_axis(w, order, axis=-1), np.take_along_axis(V, order[..., None, :], axis=-1)
    return _named("SVDResult", V, np.abs(w), adjoint(V * np.sign(w)[..., None, :]))


order_by_size = define(
    "order_by_size",
    lambda w: np.argsort(np.abs(w), axis=-1)[..., ::-1],
    None,
    elementwise=False,
    source="np.argsort(np.abs({0}), axis=-1)[..., ::-1]",
    counts=lambda _y, x: {"comparisons": x.size},
)
full_svd = define(
    "full_svd",
    lambda x, right: np.swapaxes(np.linalg.svd(x)[2], -1, -2) if right else np.linalg.svd(x)[0],
    None,
    elementwise=False,
    source=lambda args, params: (
        f"np.swapaxes(np.linalg.svd({args[0]})[2], -1, -2)" if params["right"] else f"np.linalg.svd({args[0]})[0]"
    ),
    counts=_cubic(14.0),
    kink="its last columns complete a basis; see completion",
)


@calls(np.linalg.svdvals)
def svdvals(x: Any, /) -> Any:
    return svdvals_(x)


@calls(np.linalg.pinv)
def pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = np._NoValue) -> Any:
    if rcond is not None and rtol is not np._NoValue:
        raise ValueError("`rtol` and `rcond` can't be both set.")
    if rtol is not np._NoValue:
        rcond = rtol if rtol is not None else float(np.finfo(a.dtype).eps) * max(a.shape[-2:])
    a = array(a)
    matrices(a)
    if hermitian:  # NumPy reads the lower triangle
        a = np.tril(a) + adjoint(np.tril(a, -1))
    return pinv_(a, rcond=rcond)


@calls(np.linalg.lstsq)
def lstsq(a: Any, b: Any, rcond: Any = None) -> Any:
    a, b = array(a), array(b)
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
    return matrix_rank_(array(A), tol=tol, hermitian=hermitian, rtol=rtol)


@calls(np.linalg.cond)
def cond(x: Any, p: Any = None) -> Any:
    x = array(x)
    matrices(x)
    if p is None or p in (2, -2):
        s = svdvals_(x)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    square_of(x)
    return norm(x, p, axis=(-2, -1)) * norm(inv_(x), p, axis=(-2, -1))


@calls(np.linalg.matrix_power)
def matrix_power(a: Any, n: Any) -> Any:
    a = array(a)
    square_of(a)
    exponent = int(n)
    if exponent == 0:
        return np.broadcast_to(np.eye(a.shape[-1], dtype=a.dtype), a.shape) + 0 * a
    if exponent < 0:
        a, exponent = inv_(a), -exponent
    if exponent == 3:
        return (a @ a) @ a  # as NumPy multiplies
    result, square = None, a
    while exponent:
        exponent, odd = divmod(exponent, 2)
        if odd:
            result = square if result is None else result @ square
        if exponent:
            square = square @ square
    return result


@calls(np.linalg.multi_dot)
def multi_dot(arrays: Sequence[Any], *, out: Any = None) -> Any:
    if out is not None:
        raise UnsupportedError("np.linalg.multi_dot with out= has no rule; leave it out.")
    factors = [array(a) for a in arrays]
    if len(factors) < 2:
        raise ValueError("Expecting at least two arrays.")
    first, last = factors[0].ndim, factors[-1].ndim
    if first == 1:
        factors[0] = factors[0][None, :]
    if last == 1:
        factors[-1] = factors[-1][:, None]
    if any(a.ndim != 2 for a in factors):
        raise np.linalg.LinAlgError("Array must be 2-dimensional (1-dimensional at both ends)")
    sizes = [factors[0].shape[0], *[a.shape[1] for a in factors]]
    whole = _multiply(factors, _best_splits(sizes), 0, len(factors) - 1)
    return np.reshape(whole, whole.shape[first == 1 : 1 if last == 1 else 2])


def _best_splits(sizes: Sequence[int]) -> dict[tuple[int, int], int]:
    """Find the cheapest order of a chain of products (Cormen et al., *Introduction to Algorithms*, matrix chain)."""
    count = len(sizes) - 1
    cost = {(i, i): 0 for i in range(count)}
    split: dict[tuple[int, int], int] = {}
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            options = [(cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j)]
            cost[i, j], split[i, j] = min(options)
    return split


def _multiply(factors: Sequence[Any], split: dict[tuple[int, int], int], i: int, j: int) -> Any:
    if i == j:
        return factors[i]
    k = split[i, j]
    return _multiply(factors, split, i, k) @ _multiply(factors, split, k + 1, j)


# ---- Norms ----


def _norm_partial(y: Any, x: Any, axis: Shape) -> LocalJacobian:
    sizes = tuple(1 if k - x.ndim in axis else s for k, s in enumerate(x.shape))
    length = np.reshape(y, sizes)
    nothing = length == 0
    one = y.dtype.type(1)
    unit = np.where(nothing, one - one, x / np.where(nothing, one, length))
    back = conj(unit)

    def pull(g: Array) -> Array:
        return np.reshape(g, g.shape[: g.ndim - y.ndim] + sizes) * back

    return Map(
        x.shape, y.shape, lambda t: real(np.sum(back * t, axis=axis)), pull, {"multiplications": x.size}, name="norm"
    )


norm_ = define(
    "norm",
    lambda x, axis: np.linalg.norm(x, axis=axis[0]) if len(axis) == 1 else _root_of_squares(x, axis),
    _norm_partial,
    elementwise=False,
    source=lambda args, params: (
        f"np.linalg.norm({args[0]}, axis={params['axis'][0]})"
        if len(params["axis"]) == 1
        else f"np.sqrt(np.sum(np.abs({args[0]}) ** 2, axis={params['axis']}))"
    ),
    counts=lambda _y, x, **_params: {"multiplications": x.size, "additions": x.size, "calls": 1},
    kink="at 0: 0, the subgradient of least norm",
)


def _root_of_squares(x: Any, axis: Shape) -> Any:
    if len(axis) == x.ndim:
        return np.linalg.norm(np.ravel(x))
    return np.sqrt(np.add.reduce(np.square(x.real) + np.square(x.imag) if np.iscomplexobj(x) else x * x, axis=axis))


def _length(x: Any, axes: Sequence[int]) -> Any:
    return norm_(x, axis=tuple(sorted(k if k < 0 else k - x.ndim for k in axes)))


def _p_norm(x: Any, p: Any, axis: int) -> Any:
    """Return the p-norm of vectors along one axis."""
    if p is None or p == 2:
        return _length(x, (axis,))
    if isinstance(p, str):
        raise ValueError(f"Invalid norm order '{p}' for vectors")
    if p == np.inf:
        return np.max(np.abs(x), axis=axis)
    if p == -np.inf:
        return np.min(np.abs(x), axis=axis)
    if p == 0:
        return np.sum((x != 0).astype(real_kind(x)), axis=axis)
    size = np.abs(x)
    if p == 1:
        return np.sum(size, axis=axis)
    total = np.sum(size**p, axis=axis)
    kind = total.dtype.type
    nothing = total == 0
    root = np.where(nothing, kind(1), total) ** kind(1 / p)
    return np.where(nothing, kind(0) if p > 0 else total ** kind(1 / p), root)


def _matrix_norm(x: Any, p: Any, rows: int, columns: int) -> Any:
    """Return the norm of matrices in two axes."""
    if p in (None, "fro", "f"):
        return _length(x, (rows, columns))
    if p in (2, -2, "nuc"):
        s = svdvals_(np.moveaxis(x, (rows, columns), (-2, -1)))
        if p == "nuc":
            return np.sum(s, axis=-1)
        return np.max(s, axis=-1) if p == 2 else np.min(s, axis=-1)
    if p in (1, -1):
        sums = np.sum(np.abs(x), axis=rows)
        at = columns - 1 if columns > rows else columns
    elif p in (np.inf, -np.inf):
        sums = np.sum(np.abs(x), axis=columns)
        at = rows - 1 if rows > columns else rows
    else:
        raise ValueError("Invalid norm order for matrices.")
    return np.max(sums, axis=at) if p > 0 else np.min(sums, axis=at)


@calls(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:  # noqa: A002
    x = array(x)
    if axis is None and (ord is None or (ord in ("f", "fro") and x.ndim == 2) or (ord == 2 and x.ndim == 1)):
        y = _length(x, range(x.ndim))
        return np.reshape(y, (1,) * x.ndim) if keepdims else y
    axes = tuple(range(x.ndim)) if axis is None else normalize_axis_tuple(axis, x.ndim)
    if len(axes) == 1:
        y = _p_norm(x, ord, axes[0])
    elif len(axes) == 2:
        y = _matrix_norm(x, ord, *axes)
    else:
        raise ValueError("Improper number of dimensions to norm.")
    return np.reshape(y, tuple(1 if k in axes else s for k, s in enumerate(x.shape))) if keepdims else y


@calls(np.linalg.vector_norm)
def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:  # noqa: A002
    x = array(x)
    axes = tuple(range(x.ndim)) if axis is None else normalize_axis_tuple(axis, x.ndim)
    rest = tuple(k for k in range(x.ndim) if k not in axes)
    moved = np.transpose(x, (*rest, *axes))
    flat = np.reshape(moved, (*moved.shape[: len(rest)], -1))
    y = _p_norm(flat, ord, flat.ndim - 1)
    return np.reshape(y, tuple(1 if k in axes else s for k, s in enumerate(x.shape))) if keepdims else y


@calls(np.linalg.matrix_norm)
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:  # noqa: A002
    return norm(x, ord, axis=(-2, -1), keepdims=keepdims)


# ---- The array API's names for functions that NumPy has elsewhere ----


@calls(np.linalg.trace)
def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    return np.trace(x, offset, axis1=-2, axis2=-1, dtype=dtype)


@calls(np.linalg.diagonal)
def diagonal(x: Any, /, *, offset: int = 0) -> Any:
    return np.diagonal(x, offset, axis1=-2, axis2=-1)


@calls(np.linalg.outer)
def outer(x1: Any, x2: Any, /) -> Any:
    x1, x2 = array(x1), array(x2)
    if x1.ndim != 1 or x2.ndim != 1:
        raise ValueError(f"Input arrays must be one-dimensional, but they are x1.ndim={x1.ndim} and x2.ndim={x2.ndim}.")
    return np.outer(x1, x2)


@calls(np.linalg.cross)
def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    x1, x2 = array(x1), array(x2)
    if x1.shape[axis] != 3 or x2.shape[axis] != 3:
        raise ValueError(
            "Both input arrays must be (arrays of) 3-dimensional vectors, "
            f"but they are {x1.shape[axis]} and {x2.shape[axis]} dimensional instead."
        )
    return np.cross(x1, x2, axis=axis)


@calls(np.linalg.vecdot)
def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    x1, x2 = array(x1), array(x2)
    return np.sum(conj(x1) * x2, axis=axis)


@calls(np.linalg.matmul)
def matmul(x1: Any, x2: Any, /) -> Any:
    return np.matmul(x1, x2)


@calls(np.linalg.matrix_transpose)
def matrix_transpose(x: Any, /) -> Any:
    x = array(x)
    if x.ndim < 2:
        raise ValueError(f"Input array must be at least 2-dimensional, but it is {x.ndim}")
    return transposed(x)


@calls(np.linalg.tensordot)
def tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Any:
    return np.tensordot(x1, x2, axes=axes)


@calls(np.linalg.tensorsolve)
def tensorsolve(a: Any, b: Any, axes: Any = None) -> Any:
    a, b = array(a), array(b)
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
    a = array(a)
    if ind <= 0:
        raise ValueError("Invalid ind argument.")
    shape = a.shape[ind:] + a.shape[:ind]
    flat = np.reshape(a, (math.prod(a.shape[ind:]), -1))
    square_of(flat)
    return np.reshape(inv_(flat), shape)
