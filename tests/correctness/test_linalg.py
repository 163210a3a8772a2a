"""``numpy.linalg`` and ``scipy.linalg``: each function against the truth, and where vectors are not determined."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.linalg
import truth
from agreement import assert_close, assert_first_order
from matrices import assert_derivatives, assert_value, both, case, points, rows_of, rows_reached

import wengert as wg
from wengert.errors import DegenerateError, DomainWarning, MatrixError, UnsupportedError
from wengert.primitives import CALLS
from wengert.primitives.numpy import linalg
from wengert.primitives.scipy import banded, decompositions
from wengert.primitives.scipy import linalg as scipy_linalg

pytestmark = pytest.mark.filterwarnings("ignore::wengert.errors.DecisionWarning")  # counts and positions are tried, too

rng = np.random.default_rng(20)
L, S = np.linalg, scipy.linalg


def random(*shape):
    return rng.uniform(-1.0, 1.0, shape)


def regular(n, *stack):
    """Matrices well inside of the regular ones, their eigenvalues real and far from each other."""
    return 0.3 * random(*stack, n, n) + np.diag(2.0 + 1.5 * np.arange(n))


def symmetric(n, *stack):
    a = 0.5 * random(*stack, n, n)
    return a + np.swapaxes(a, -1, -2) + np.diag(2.0 + 1.5 * np.arange(n))


def positive(x):
    """Make a symmetric positive definite matrix of any square one."""
    return x @ np.swapaxes(x, -1, -2) + np.eye(x.shape[-1])


def oriented(V):
    """Fix the signs of vectors: LAPACK's own may jump between nearby matrices."""
    weights = np.cos(1.0 + np.arange(V.shape[-2]))[:, None]
    return V * np.sign(np.sum(weights * V, axis=-2, keepdims=True))


TALL, WIDE = random(4, 3) + 2 * np.eye(4, 3), random(2, 4) + 2 * np.eye(2, 4)
VECTOR = np.array([0.7, -1.3, 0.4, 2.1])
A3, A2, A3S = regular(3), regular(2), regular(3, 2)
H3, H3S = symmetric(3), symmetric(3, 2)
G3, B2 = random(3, 3), random(3, 2)
FULL = np.array([[2.0, 0.5, -0.7], [0.6, 3.0, 0.8], [-0.5, 0.9, 4.0]])
SPIRAL = np.array([[1.0, 2.0, 0.3], [-3.0, 1.0, 0.2], [0.1, 0.4, 5.0]])
NEAR, UNBALANCED = random(5, 2), np.array([[1.0, 90.0, 0.3], [0.6, 3.0, 0.4], [7.0, 5.0, 2.0]])
PATTERN = np.array([[1, 1, 0], [1, 1, 0], [1, 1, 1]])
SINGULAR = np.outer([1.0, 2.0, 3.0], [1.0, -1.0, 2.0])
NORM_ORDERS = (None, 2, 1, np.inf, -np.inf, 0, 3, 1.5, -1)
MATRIX_ORDERS = (None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf)


def complex_of(x):
    return x[0] + 1j * x[1]


NUMPY_CASES = {
    L.inv: [
        case(L.inv, A3, analytic=True),
        case(L.inv, A3S, analytic=True),
        case(L.inv, random(1, 1) + 2, analytic=True),
    ],
    L.solve: [
        case(L.solve, A3, random(3), analytic=True),
        case(L.solve, A3, B2, analytic=True),
        case(L.solve, A3S, B2, analytic=True),
        case(L.solve, A3S, random(3), analytic=True),
        case(L.solve, A3, random(2, 3, 1), analytic=True),
        case(L.solve, regular(2, 3, 1), random(2, 2, 2), analytic=True),
        case(lambda b: L.solve(A3, b), random(3), analytic=True),
        case(lambda a: L.solve(a, [1.0, 2.0, 3.0]), A3, analytic=True),
    ],
    L.det: [
        case(L.det, A3, analytic=True),
        case(L.det, A3S, analytic=True),
        case(L.det, SINGULAR, single=False),
        case(L.det, np.zeros((3, 3))),
        case(L.det, np.diag([1.0, 2.0, 0.0])),
        case(L.det, random(1, 1)),
        case(L.det, random(4, 4)),
    ],
    L.slogdet: [
        case(lambda a: L.slogdet(a)[1], A3),
        case(lambda a: L.slogdet(a).sign * L.slogdet(-a).logabsdet, A3S),
    ],
    L.cholesky: [
        case(lambda x: L.cholesky(positive(x)), G3),
        case(L.cholesky, H3),
        case(lambda a: L.cholesky(a, upper=True), symmetric(2, 2)),
    ],
    L.qr: [
        case(lambda a: L.qr(a).Q, TALL),
        case(lambda a: L.qr(a)[1], TALL),
        case(lambda a: L.qr(a)[0], WIDE),
        case(lambda a: L.qr(a).R, WIDE),
        case(lambda a: L.qr(a)[1], A3S),
        case(lambda a: L.qr(a, mode="r"), TALL),
        case(lambda a: L.qr(a, "complete")[0], TALL),
        case(lambda a: L.qr(a, mode="complete")[1], TALL),
    ],
    L.eigvalsh: [
        case(L.eigvalsh, H3),
        case(lambda a: L.eigvalsh(a, "U"), H3S),
        case(lambda a: L.eigvalsh(a, UPLO="l"), H3),
    ],
    L.eigh: [
        case(lambda a: L.eigh(a)[0], H3),
        case(lambda a: L.eigh(a).eigenvalues, H3S),
        case(lambda a: oriented(L.eigh(a)[1]), H3),
        case(lambda a: oriented(L.eigh(a, UPLO="U").eigenvectors), symmetric(2, 2)),
        case(lambda a: (lambda w, V: (V * np.exp(-w)) @ V.T)(*L.eigh(positive(a))), G3),
    ],
    L.eigvals: [
        case(lambda a: np.real(L.eigvals(a)), A3),  # which is complex in any case from NumPy 2.5 on
        case(lambda a: np.real(np.sum(L.eigvals(a) ** 3, axis=-1)), A3S),
        case(lambda a: both(L.eigvals(a)), SPIRAL, single=False),
    ],
    L.eig: [
        case(lambda a: np.real(L.eig(a).eigenvalues), A3),
        case(lambda a: oriented(np.real(L.eig(a)[1])), A3),
        case(lambda a: both(L.eig(a)[1]), SPIRAL, single=False),
        case(lambda a: both(L.eig(a)[0]), SPIRAL, single=False),
    ],
    L.svd: [
        case(lambda a: L.svd(a)[1], TALL),
        case(lambda a: L.svd(a, compute_uv=False), WIDE),
        case(lambda a: oriented(L.svd(a, full_matrices=False)[0]), TALL),
        case(lambda a: oriented(L.svd(a, False).Vh.T), TALL),
        case(lambda a: oriented(L.svd(a, False)[0]), WIDE),
        case(lambda a: oriented(L.svd(a, False).Vh.T), WIDE),
        case(lambda a: (lambda U, s, Vh: (U * np.sin(s)[..., None, :]) @ Vh)(*L.svd(a, False)), A3S),
        case(lambda a: oriented(L.svd(a)[0]), TALL),
        case(lambda a: oriented(L.svd(a)[2].T), random(2, 3) + 2 * np.eye(2, 3)),
        case(lambda a: oriented(L.svd(a)[2].T), A3),
        case(lambda a: L.svd(a, hermitian=True)[1], H3 - 4 * np.eye(3)),
        case(lambda a: L.svd(a, compute_uv=False, hermitian=True), H3 - 4 * np.eye(3)),
        case(lambda a: (lambda U, s, Vh: (U * np.exp(s)) @ Vh)(*L.svd(a, hermitian=True)), H3 - 4 * np.eye(3)),
    ],
    L.svdvals: [case(L.svdvals, TALL), case(L.svdvals, A3S)],
    L.pinv: [
        case(L.pinv, TALL),
        case(L.pinv, WIDE),
        case(lambda a: L.pinv(a, rcond=1e-10), A3S),
        case(lambda a: L.pinv(a, rtol=1e-10), TALL, single=False),
        case(lambda a: L.pinv(a, hermitian=True), H3 - 4 * np.eye(3)),
        case(lambda a: L.pinv(a @ a.T, rcond=1e-10), random(3, 2) + 2 * np.eye(3, 2), single=False),
    ],
    L.lstsq: [
        case(lambda a, b: L.lstsq(a, b)[0], TALL, random(4)),
        case(lambda a, b: L.lstsq(a, b, rcond=None)[0], WIDE, random(2, 2)),
        case(lambda a, b: L.lstsq(a, b)[1], TALL, random(4, 2)),
        case(lambda a, b: L.lstsq(a, b)[3], TALL, random(4)),
        case(lambda a: L.lstsq(a, [1.0, 2.0])[1].sum() + L.lstsq(a, [1.0, 2.0])[0], WIDE),
    ],
    L.matrix_power: [
        *(case(lambda a, n=n: L.matrix_power(a, n), A3, analytic=True) for n in (0, 1, 2, 3, 5, -1, -2)),
        case(lambda a: L.matrix_power(a, 6), regular(2, 2), analytic=True),
    ],
    L.multi_dot: [
        case(lambda a, b: L.multi_dot([a, b]), random(2, 3), random(3, 2), analytic=True),
        case(lambda a, b, c: L.multi_dot([a, b, c]), random(4), random(4, 2), random(2), analytic=True),
        case(
            lambda a, b, c, d: L.multi_dot((a, b, c, d)),
            random(2, 4),
            random(4, 1),
            random(1, 3),
            random(3),
            analytic=True,
        ),
    ],
    L.matrix_rank: [case(lambda a: a * L.matrix_rank(a), TALL), case(lambda a: a.sum() * L.matrix_rank(a), A3S)],
    L.cond: [
        *(case(lambda a, p=p: L.cond(a, p), FULL) for p in (None, 2, -2, 1, -1, np.inf, "fro", "nuc")),
        case(L.cond, TALL),
        case(L.cond, A3S),
    ],
    L.norm: [
        *(case(lambda x, p=p: L.norm(x, p), VECTOR) for p in NORM_ORDERS),
        *(
            case(lambda x, p=p: L.norm(x, p, axis=1, keepdims=True), np.stack([VECTOR, VECTOR[::-1]]))
            for p in NORM_ORDERS
        ),
        *(case(lambda x, p=p: L.norm(x, p), TALL + 0.2) for p in MATRIX_ORDERS),
        *(case(lambda x, p=p: L.norm(x, p, axis=(2, 0), keepdims=True), A3S - 1.0) for p in MATRIX_ORDERS),
        case(lambda x: L.norm(x), A3S),
        case(lambda x: L.norm(x, keepdims=True), TALL),
        case(lambda x: L.norm(x), np.float64(-0.7)),
        case(lambda x: L.norm(complex_of(x)), random(2, 3)),
        *(case(lambda x, p=p: L.norm(complex_of(x), p), np.stack([VECTOR, VECTOR + 0.5])) for p in (1, 3, np.inf)),
        *(case(lambda x, p=p: L.norm(complex_of(x), p), random(2, 3, 2)) for p in ("fro", "nuc", 1)),
    ],
    L.vector_norm: [
        *(case(lambda x, p=p: L.vector_norm(x, ord=p), TALL) for p in (2, 1, 3, np.inf)),
        case(lambda x: L.vector_norm(x, axis=(0, 2), keepdims=True), A3S),
    ],
    L.matrix_norm: [
        *(case(lambda x, p=p: L.matrix_norm(x, ord=p, keepdims=True), A3S - 1) for p in ("fro", "nuc", 1, 2))
    ],
    L.trace: [case(L.trace, A3S, analytic=True), case(lambda a: L.trace(a, offset=-1), TALL, analytic=True)],
    L.diagonal: [case(L.diagonal, A3S, analytic=True), case(lambda a: L.diagonal(a, offset=1), TALL, analytic=True)],
    L.outer: [case(L.outer, random(3), random(2), analytic=True)],
    L.cross: [
        case(L.cross, random(2, 3), random(3), analytic=True),
        case(lambda a, b: L.cross(a, b, axis=0), random(3, 2), random(3, 2), analytic=True),
    ],
    L.vecdot: [
        case(L.vecdot, random(2, 3), random(3)),
        case(lambda a, b: L.vecdot(a, b, axis=0), random(3, 2), random(3, 2)),
        case(lambda a, b: both(L.vecdot(complex_of(a), complex_of(b))), random(2, 3), random(2, 3)),
    ],
    L.matmul: [case(L.matmul, random(2, 3), random(3, 2), analytic=True)],
    L.matrix_transpose: [case(L.matrix_transpose, A3S, analytic=True)],
    L.tensordot: [case(lambda a, b: L.tensordot(a, b, axes=1), random(2, 3), random(3, 2), analytic=True)],
    L.tensorsolve: [
        case(L.tensorsolve, random(2, 3, 6) + 2 * np.eye(6).reshape(2, 3, 6), random(2, 3), analytic=True),
        case(
            lambda a, b: L.tensorsolve(a, b, axes=(1,)),
            random(2, 4, 2) + 2 * np.eye(4).reshape(2, 2, 4).swapaxes(1, 2),
            random(2, 2),
        ),
    ],
    L.tensorinv: [
        case(lambda a: L.tensorinv(a, ind=1), random(6, 2, 3) + 2 * np.eye(6).reshape(6, 2, 3), analytic=True)
    ],
}
"""For each function of numpy.linalg the forms in which it is called."""

ANGLES = 0.3 * G3 + np.diag([0.2, 0.5, 0.8])
BAND = 0.5 * random(4, 5) + np.array([0.0, 5.0, 0.0, 0.0])[:, None]
TOWER = 0.3 * random(4, 5) + np.array([0.0, 1.0, 0.0, 0.0])[:, None] * np.array([1.0, 3.0, 2.0, 7.0, 5.0])
"""Tables of diagonals, the second one the main one."""
SCIPY_CASES = {
    **{
        f: [case(lambda x, n=f.__name__: getattr(scipy.linalg, n)(x), ANGLES)]
        for f in (S.expm, S.cosm, S.sinm, S.tanm, S.coshm, S.sinhm, S.tanhm)
    },
    S.logm: [
        case(lambda x: scipy.linalg.logm(x), A3, single=False),
        case(lambda x: scipy.linalg.logm(x), regular(2, 2), single=False),
    ],
    S.sqrtm: [case(lambda x: scipy.linalg.sqrtm(x), A3), case(lambda x: scipy.linalg.sqrtm(x), regular(2, 2))],
    S.fractional_matrix_power: [
        case(lambda x, p: scipy.linalg.fractional_matrix_power(x, p), A3, np.float64(0.7), single=False),
        case(lambda x: scipy.linalg.fractional_matrix_power(x, -0.5), A3, single=False),
    ],
    S.expm_frechet: [
        case(lambda x, e: scipy.linalg.expm_frechet(x, e, compute_expm=False), ANGLES, G3, single=False),
        case(lambda x: scipy.linalg.expm_frechet(x, G3)[0], ANGLES, single=False),
    ],
    S.solve_sylvester: [
        case(lambda a, b, q: scipy.linalg.solve_sylvester(a, b, q), A3, A2, B2),
        case(lambda a, q: scipy.linalg.solve_sylvester(a, A2, q), A3, random(2, 3, 2), single=False),
    ],
    S.solve_continuous_lyapunov: [case(lambda a, q: scipy.linalg.solve_continuous_lyapunov(a, q), A3, G3)],
    S.solve_discrete_lyapunov: [
        case(lambda a, q: scipy.linalg.solve_discrete_lyapunov(a, q), ANGLES, G3, single=False)
    ],
    S.solve_triangular: [
        *(
            case(
                lambda a, b, t=t, lower=lower, unit=unit: scipy.linalg.solve_triangular(
                    a, b, trans=t, lower=lower, unit_diagonal=unit
                ),
                A3,
                B2,
            )
            for t in (0, "T", 2)
            for lower in (True, False)
            for unit in (True, False)
        ),
        case(lambda a, b: scipy.linalg.solve_triangular(a, b, lower=True), A3, random(3)),
        case(lambda a, b: scipy.linalg.solve_triangular(a, b), A3S, B2),
    ],
    S.solve: [
        case(lambda a, b: scipy.linalg.solve(a, b), A3, random(3)),
        case(lambda a, b: scipy.linalg.solve(a, b, transposed=True), A3, B2),
        case(lambda a, b: scipy.linalg.solve(positive(a), b, assume_a="pos"), A3, random(3)),
        case(lambda a, b: scipy.linalg.solve(a, b, assume_a="sym", lower=True), H3, random(3)),
        case(lambda a, b: scipy.linalg.solve(a, b, assume_a="upper triangular"), A3, random(3)),
        case(lambda a, b: scipy.linalg.solve(a, b, assume_a="diagonal"), A3, random(3)),
    ],
    S.cholesky: [
        case(lambda a: scipy.linalg.cholesky(a), H3),
        case(lambda a: scipy.linalg.cholesky(a, lower=True), H3),
    ],
    S.cho_factor: [
        case(lambda a: scipy.linalg.cho_factor(a)[0], H3),
        case(lambda a: scipy.linalg.cho_factor(a, lower=True)[0], H3),
    ],
    S.cho_solve: [
        case(lambda a, b: scipy.linalg.cho_solve(scipy.linalg.cho_factor(a), b), H3, random(3)),
        case(lambda a, b: scipy.linalg.cho_solve(scipy.linalg.cho_factor(a, lower=True), b), H3, B2),
        case(lambda b: scipy.linalg.cho_solve((np.linalg.cholesky(H3), True), b), random(3)),
    ],
    S.lu_factor: [case(lambda a: scipy.linalg.lu_factor(a)[0], A3[::-1])],
    S.lu_solve: [
        *(
            case(lambda a, b, t=t: scipy.linalg.lu_solve(scipy.linalg.lu_factor(a), b, trans=t), A3[[1, 2, 0]], B2)
            for t in (0, 1, 2)
        ),
        case(lambda b: scipy.linalg.lu_solve(scipy.linalg.lu_factor(A3), b), random(3)),
    ],
    S.lu: [
        *(case(lambda a, k=k: scipy.linalg.lu(a)[k] * np.sum(a), A3[[1, 2, 0]]) for k in range(3)),
        case(lambda a: scipy.linalg.lu(a, permute_l=True)[0], A3[[1, 2, 0]]),
        case(lambda a: scipy.linalg.lu(a, p_indices=True)[2], A3[[1, 2, 0]]),
    ],
    S.inv: [case(lambda a: scipy.linalg.inv(a), A3)],
    S.det: [case(lambda a: scipy.linalg.det(a), A3)],
    S.norm: [case(lambda a: scipy.linalg.norm(a, "nuc"), TALL), case(lambda a: scipy.linalg.norm(a), VECTOR)],
    S.pinv: [
        case(lambda a: scipy.linalg.pinv(a), TALL),
        case(lambda a: a.sum() * scipy.linalg.pinv(a, return_rank=True)[1], TALL),
    ],
    S.lstsq: [case(lambda a, b: scipy.linalg.lstsq(a, b)[0], TALL, random(4))],
    S.svdvals: [case(lambda a: scipy.linalg.svdvals(a), TALL)],
    S.svd: [
        case(lambda a: scipy.linalg.svd(a, compute_uv=False), TALL),
        case(lambda a: oriented(scipy.linalg.svd(a, full_matrices=False)[0]), TALL),
    ],
    S.qr: [
        case(lambda a: scipy.linalg.qr(a)[0], TALL),
        case(lambda a: scipy.linalg.qr(a)[1], TALL),
        case(lambda a: scipy.linalg.qr(a, mode="economic")[0], TALL),
        case(lambda a: scipy.linalg.qr(a, mode="r")[0], TALL),
        case(lambda a: scipy.linalg.qr(a, mode="economic", pivoting=True)[0], FULL[:, ::-1]),
        case(lambda a: scipy.linalg.qr(a, mode="r", pivoting=True)[0] * scipy.linalg.qr(a, pivoting=True)[2], FULL),
    ],
    S.qr_multiply: [
        case(lambda a, c: scipy.linalg.qr_multiply(a, c)[0], TALL, random(2, 4)),
        case(lambda a, c: scipy.linalg.qr_multiply(a, c, "left")[0], TALL, random(3, 2)),
        case(lambda a, c: scipy.linalg.qr_multiply(a, c, "left", pivoting=True)[0], FULL[::-1], random(3)),
        case(lambda a: scipy.linalg.qr_multiply(a, B2.T, conjugate=True)[1], FULL),
    ],
    S.rq: [
        case(lambda a: scipy.linalg.rq(a)[0], TALL),
        case(lambda a: scipy.linalg.rq(a)[1], FULL),
        case(lambda a: scipy.linalg.rq(a, mode="economic")[0], WIDE),
        case(lambda a: scipy.linalg.rq(a, mode="economic")[1], WIDE),
        case(lambda a: scipy.linalg.rq(a, mode="r"), WIDE),
    ],
    S.subspace_angles: [
        case(lambda a, b: scipy.linalg.subspace_angles(a, b), random(5, 2), random(5, 2), single=False),
        case(lambda a, b: scipy.linalg.subspace_angles(a, b), random(6, 3), random(6, 2), single=False),
        case(lambda a: scipy.linalg.subspace_angles(NEAR, a), NEAR + 0.4 * random(5, 2), single=False),
    ],
    S.matrix_balance: [
        case(lambda a: scipy.linalg.matrix_balance(a * PATTERN)[0], UNBALANCED),
        case(
            lambda a: scipy.linalg.matrix_balance(a, permute=False)[0] @ scipy.linalg.matrix_balance(a)[1], UNBALANCED
        ),
        case(lambda a: a[0] * scipy.linalg.matrix_balance(a * PATTERN, separate=True)[1][0], UNBALANCED),
        case(lambda a: a[0] * scipy.linalg.matrix_balance(a * PATTERN, separate=True)[1][1], UNBALANCED),
    ],
    S.pinvh: [
        case(lambda a: scipy.linalg.pinvh(a + a.T), FULL),
        case(lambda a: scipy.linalg.pinvh(a, lower=False, return_rank=True)[0], FULL),
    ],
    S.expm_cond: [case(lambda a: scipy.linalg.expm_cond(a), 0.5 * G3, single=False)],
    S.signm: [
        case(lambda a: scipy.linalg.signm(a), A3 - 2.7 * np.eye(3), single=False),
        case(lambda a: scipy.linalg.signm(a), np.array([[0.7, 1.0], [0.5, 0.4]]), single=False),
        case(lambda a: scipy.linalg.signm(a), np.diag([2.0, -1.0, 3.0]) + 0.2 * G3, single=False),
    ],
    S.bandwidth: [case(lambda a: a[0] * scipy.linalg.bandwidth(np.triu(a, -1))[0], WIDE)],
    S.issymmetric: [
        case(lambda a: a[0] * scipy.linalg.issymmetric(a), FULL),
        case(lambda a: a[0] * scipy.linalg.issymmetric(a + a.T, atol=1e-9), FULL),
    ],
    S.ishermitian: [case(lambda a: a[0] * scipy.linalg.ishermitian(a + a.T), FULL)],
    S.fiedler_companion: [
        case(lambda a: scipy.linalg.fiedler_companion(a), np.array([2.0, -1.0, 0.5, 3.0, 0.7, -0.2])),
        case(lambda a: scipy.linalg.fiedler_companion(a), VECTOR[:2]),
    ],
    S.eigh: [
        case(lambda a: scipy.linalg.eigh(a)[0], H3),
        case(lambda a: oriented(scipy.linalg.eigh(a, lower=False)[1]), H3),
        case(lambda a: oriented(scipy.linalg.eigh(a, subset_by_index=[0, 1])[1]), H3),
        case(lambda a, b: scipy.linalg.eigh(a, b)[0], H3, positive(G3)),
        case(lambda a, b: oriented(scipy.linalg.eigh(a, b)[1]), H3, positive(G3), single=False),
        case(lambda a, b: scipy.linalg.eigh(a, b, lower=False, eigvals_only=True), H3, positive(G3)),
    ],
    S.eigvalsh: [
        case(lambda a: scipy.linalg.eigvalsh(a), H3),
        case(lambda a: scipy.linalg.eigvalsh(a, lower=False, subset_by_index=[1, 2]), H3),
    ],
    S.eigvals: [case(lambda a: scipy.linalg.eigvals(a).real, A3)],
    S.eig: [
        case(lambda a: both(scipy.linalg.eig(a)[0]), SPIRAL, single=False),
        case(lambda a: both(scipy.linalg.eig(a)[1]), SPIRAL, single=False),
        case(lambda a: both(scipy.linalg.eig(a, right=False)), SPIRAL, single=False),
    ],
    S.block_diag: [case(lambda a, b: scipy.linalg.block_diag(a, np.eye(1), b), B2, random(2))],
    S.toeplitz: [
        case(lambda c: scipy.linalg.toeplitz(c), random(3)),
        case(lambda c, r: scipy.linalg.toeplitz(c, r), random(3), random(4)),
    ],
    S.circulant: [case(lambda c: scipy.linalg.circulant(c), random(4))],
    S.companion: [case(lambda a: scipy.linalg.companion(a), np.array([2.0, 1.0, 3.0]))],
    S.leslie: [case(lambda f, s: scipy.linalg.leslie(f, s), random(3), random(2))],
    S.solve_toeplitz: [
        case(lambda c, b: scipy.linalg.solve_toeplitz(c, b), np.array([4.0, 1.0, 0.5]), random(3)),
        case(
            lambda c, r: scipy.linalg.solve_toeplitz((c, r), B2), np.array([4.0, 1.0, 0.5]), np.array([4.0, 0.3, 1.0])
        ),
    ],
    S.solve_continuous_are: [
        case(
            lambda a, b, q, r: scipy.linalg.solve_continuous_are(a, b, q @ q.T + np.eye(3), r @ r.T + np.eye(2)),
            A3,
            B2,
            G3,
            A2,
            single=False,
        ),
    ],
    S.solve_discrete_are: [
        case(
            lambda a, b, q, r: scipy.linalg.solve_discrete_are(a, b, q @ q.T + np.eye(3), r @ r.T + np.eye(2)),
            0.3 * A3,
            B2,
            G3,
            A2,
            single=False,
        ),
    ],
    S.solve_banded: [
        case(lambda t, b: scipy.linalg.solve_banded((2, 1), t, b), BAND, random(5)),
        case(lambda t, b: scipy.linalg.solve_banded((0, 3), t[[0, 2, 3, 1]], b), BAND, random(5, 2)),
    ],
    S.solveh_banded: [
        case(lambda t, b: scipy.linalg.solveh_banded(t[1:3], b, lower=True), BAND, random(5)),
        case(lambda t, b: scipy.linalg.solveh_banded(t[:2], b[:, None]), BAND, random(5)),
    ],
    S.cholesky_banded: [
        case(lambda t: scipy.linalg.cholesky_banded(t[1:], lower=True), BAND),
        case(lambda t: scipy.linalg.cholesky_banded(t[:2]), BAND),
    ],
    S.cho_solve_banded: [
        case(lambda t, b: scipy.linalg.cho_solve_banded((t[1:3], True), b), BAND, random(5)),
        case(lambda t, b: scipy.linalg.cho_solve_banded((t[:2], False), b), BAND, random(5, 2)),
    ],
    S.eig_banded: [
        case(lambda t: scipy.linalg.eig_banded(t[1:3], lower=True)[0], TOWER),
        case(lambda t: scipy.linalg.eig_banded(t[1:3], lower=True, select="i", select_range=(1, 2))[1], TOWER),
    ],
    S.eigvals_banded: [case(lambda t: scipy.linalg.eigvals_banded(t[:2]), TOWER)],
    S.eigh_tridiagonal: [
        case(lambda d, e: scipy.linalg.eigh_tridiagonal(d, e)[0], TOWER[1], random(4)),
        case(lambda d, e: scipy.linalg.eigh_tridiagonal(d, e)[1], TOWER[1], random(4)),
    ],
    S.eigvalsh_tridiagonal: [
        case(
            lambda d, e: scipy.linalg.eigvalsh_tridiagonal(d, e, select="i", select_range=(0, 1)), TOWER[1], random(4)
        ),
    ],
    S.hankel: [
        case(lambda c: scipy.linalg.hankel(c), random(3)),
        case(lambda c, r: scipy.linalg.hankel(c, r), random(3), random(4)),
    ],
}
"""Likewise scipy.linalg, called as users do: the function is looked up when it is called."""

CASES = NUMPY_CASES | SCIPY_CASES
POINTS = points(CASES)
ROWS = rows_of(linalg, scipy_linalg, decompositions, banded)


def test_every_function_and_row_is_tested():
    known = {f for f in CALLS if getattr(f, "__module__", "").startswith(("numpy.linalg", "scipy.linalg"))}
    assert known == set(CASES)
    missing = set(ROWS) - rows_reached(CASES)
    assert missing <= {"distinct_values"}


@pytest.mark.parametrize("case", POINTS)
def test_values_are_those_of_the_library(case):
    assert_value(case)


@pytest.mark.parametrize("case", POINTS)
def test_derivatives_are_right(case):
    assert_derivatives(case)


# ---- Complex matrices ----


def shifted(x):
    return complex_of(x) + np.diag([2.0, 4.0, 7.0])


def hermitian(x):
    a = complex_of(x)
    return a @ a.conj().T + np.diag([1.0, 3.0, 6.0])


def functions_of(decomposition):
    return lambda *factors: decomposition(*factors)


C3, C3B, C43, C23, CV = random(2, 3, 3), random(2, 3, 3), random(2, 4, 3), random(2, 2, 3), random(2, 3)
COMPLEX = {
    "inv": (lambda x: both(L.inv(shifted(x))), C3),
    "det": (lambda x: both(L.det(shifted(x))), C3),
    "slogdet": (lambda x: both(L.slogdet(shifted(x))[0]) * L.slogdet(shifted(x))[1], C3),
    "solve": (lambda x, y: both(L.solve(shifted(x), complex_of(y))), C3, CV),
    "solve, real right-hand side": (lambda x, y: both(L.solve(shifted(x), y)), C3, random(3)),
    "solve, real matrix": (lambda x, y: both(L.solve(x, complex_of(y))), A3, CV),
    "cholesky": (lambda x: both(L.cholesky(hermitian(x))), C3),
    "cholesky of a triangle": (lambda x: both(L.cholesky(complex_of(x) + 5 * np.eye(3))), C3),
    "cholesky, upper": (lambda x: both(L.cholesky(complex_of(x) + 5 * np.eye(3), upper=True)), C3),
    "qr": (lambda x: both(L.qr(complex_of(x) + 2 * np.eye(4, 3))[0]), C43),
    "qr, R": (lambda x: both(L.qr(complex_of(x) + 2 * np.eye(4, 3))[1]), C43),
    "qr, wide": (lambda x: both(L.qr(complex_of(x) + 2 * np.eye(2, 3))[1]), C23),
    "eigh, values": (lambda x: L.eigh(shifted(x))[0], C3),
    "eigh, sizes": (lambda x: np.abs(L.eigh(shifted(x))[1]), C3),
    "eigh, function": (lambda x: both((lambda w, V: (V * np.sin(w)) @ V.conj().T)(*L.eigh(shifted(x)))), C3),
    "eigvalsh": (lambda x: L.eigvalsh(shifted(x), "U"), C3),
    "svd, values": (lambda x: L.svd(complex_of(x), compute_uv=False), C43),
    "svd, function": (lambda x: both((lambda U, s, Vh: (U * np.sin(s)) @ Vh)(*L.svd(complex_of(x), False))), C43),
    "svd, wide": (lambda x: both((lambda U, s, Vh: (U * np.sin(s)) @ Vh)(*L.svd(complex_of(x), False))), C23),
    "pinv": (lambda x: both(L.pinv(complex_of(x) + 2 * np.eye(4, 3))), C43),
    "lstsq": (lambda x, y: both(L.lstsq(complex_of(x) + 2 * np.eye(4, 3), complex_of(y))[0]), C43, random(2, 4)),
    "eig": (lambda x: both(L.eig(shifted(0.3 * x))[1]), C3),
    "eigvals": (lambda x: both(L.eigvals(shifted(0.3 * x))), C3),
    "matrix_power": (lambda x: both(L.matrix_power(complex_of(x), 3)), C3),
    "expm": (lambda x: both(scipy.linalg.expm(complex_of(x))), C3),
    "logm": (lambda x: both(scipy.linalg.logm(shifted(x))), C3),
    "sqrtm": (lambda x: both(scipy.linalg.sqrtm(shifted(x))), C3),
    "solve_sylvester": (
        lambda a, b, q: both(scipy.linalg.solve_sylvester(shifted(a), shifted(b), complex_of(q))),
        C3,
        C3B,
        random(2, 3, 3),
    ),
    "solve_continuous_lyapunov": (
        lambda a, q: both(scipy.linalg.solve_continuous_lyapunov(shifted(a), complex_of(q))),
        C3,
        C3B,
    ),
    "solve_discrete_lyapunov": (
        lambda a, q: both(scipy.linalg.solve_discrete_lyapunov(0.1 * shifted(a), complex_of(q))),
        C3,
        C3B,
    ),
    "cho_solve": (
        lambda a, b: both(scipy.linalg.cho_solve(scipy.linalg.cho_factor(hermitian(a)), complex_of(b))),
        C3,
        CV,
    ),
    "solve_triangular": (
        lambda a, b: both(scipy.linalg.solve_triangular(shifted(a), complex_of(b), trans=2)),
        C3,
        CV,
    ),
    "lu_solve": (
        lambda a, b: both(scipy.linalg.lu_solve(scipy.linalg.lu_factor(shifted(a)), complex_of(b), trans=2)),
        C3,
        CV,
    ),
}


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_matrices(name):
    f, *args = COMPLEX[name]
    assert_derivatives(case(f, *args, single=False, second=2e-5))


def test_blocks_of_second_order_agree_in_every_nesting():
    """Blocks within blocks: Jacobians of Jacobians, and functions of complex vectors whose phases cancel."""
    svd = (lambda x: L.svd(x, False)[0] ** 2, TALL[:, :2])
    for f, at in (COMPLEX["eigh, function"], (L.det, SINGULAR), svd, (L.cholesky, H3S[0])):
        nested = {
            (outer, inner): wg.jacobian(lambda x, f=f, inner=inner: wg.jacobian(f, mode=inner)(x), mode=outer)(at)
            for outer in ("forward", "reverse")
            for inner in ("forward", "reverse")
        }
        expected = nested.pop(("forward", "forward"))
        for modes, given in nested.items():
            assert_close(given, expected, 1e-10, str(modes))


def test_the_phase_of_complex_vectors_is_not_determined():
    with pytest.raises(DegenerateError, match="not determined"):
        wg.grad(lambda x: L.eigh(shifted(x))[1][1, 0].real)(C3)


# ---- Accuracy ----


def test_inverse_and_solution_to_the_last_bits():
    for f, args in ((L.inv, (A3,)), (L.solve, (A3, B2)), (L.det, (A3,)), (scipy.linalg.expm, (ANGLES,))):
        called = f if f is not scipy.linalg.expm else lambda x: scipy.linalg.expm(x)
        for mode in ("forward", "reverse"):
            J = wg.jacobian(called, mode=mode)(*args)
            assert_close(J, truth.complex_step(f, list(args), 0), 2e-14, f.__name__)


def test_logarithm_and_root_undo_exponential_and_square():
    for f, tolerance in (
        (lambda x: scipy.linalg.logm(scipy.linalg.expm(x)), 1e-12),
        (lambda x: scipy.linalg.sqrtm(x @ x), 1e-13),
        (lambda x: scipy.linalg.expm(scipy.linalg.logm(x)), 1e-12),
    ):
        J = wg.jacobian(f, mode="reverse")(A3 / 4)
        assert_close(J.reshape(9, 9), np.eye(9), tolerance)


# ---- Where matrices are refused ----


@pytest.mark.parametrize(
    ("f", "bad"),
    [
        (L.inv, np.ones((2, 2))),
        (L.inv, np.ones((2, 3))),
        (L.inv, np.ones(3)),
        (lambda a: L.solve(a, np.ones(2)), np.ones((2, 2))),
        (lambda a: L.solve(a, np.ones(2)), np.ones((2, 3))),
        (L.cholesky, -np.eye(2)),
        (L.cholesky, np.ones((2, 3))),
        (L.det, np.ones((2, 3))),
        (L.eigh, np.ones((2, 3))),
        (L.eigvalsh, np.ones((2, 3))),
        (L.eig, np.ones((2, 3))),
        (L.svd, np.ones(3)),
        (L.qr, np.ones(3)),
        (L.pinv, np.ones(3)),
        (L.cond, np.ones(3)),
        (lambda a: L.matrix_power(a, 2), np.ones((2, 3))),
        (lambda a: L.matrix_power(a, -1), np.ones((2, 2))),
        (lambda a: L.tensorsolve(a, np.ones(2)), np.ones((2, 3))),
        (L.tensorinv, np.ones((2, 2, 3))),
        (lambda a: scipy.linalg.solve_triangular(a, np.ones(2)), np.zeros((2, 2))),
        (lambda a: scipy.linalg.cholesky(a), -np.eye(2)),
    ],
)
def test_refused_as_the_library_refuses(f, bad):
    with pytest.raises(L.LinAlgError):
        f(bad)
    with pytest.raises(MatrixError, match=r"test_linalg\.py") as caught:
        wg.grad(lambda a: np.sum(f(a)[0] if isinstance(f(a), tuple) else f(a)))(bad)
    assert isinstance(caught.value, L.LinAlgError)


@pytest.mark.parametrize(
    "f",
    [
        lambda a: L.norm(a, "nonsense"),
        lambda a: L.norm(a, 3),
        lambda a: L.norm(a[None], 1),
        lambda a: L.norm(a[0], "fro", axis=0),
        lambda a: L.multi_dot([a]),
        lambda a: L.eigvalsh(a, "X"),
        lambda a: L.outer(a, a),
        lambda a: L.cross(a, a),
        lambda a: L.tensorinv(a, ind=0),
        lambda a: L.solve(a, np.ones(3)),
    ],
)
def test_wrong_arguments_are_refused_as_numpy_refuses(f):
    a = np.array([[2.0, 1.0], [0.5, 3.0]])
    with pytest.raises(ValueError):  # noqa: PT011  # NumPy's own words vary
        f(a)
    with pytest.raises(ValueError):  # noqa: PT011
        wg.grad(lambda a: np.sum(f(a)))(a)


@pytest.mark.parametrize(
    "f",
    [
        lambda a: L.qr(a, mode="raw")[0],
        lambda a: scipy.linalg.qr(a, mode="raw")[0],
        lambda a: scipy.linalg.eigh(a, subset_by_value=[0, 9])[0],
        lambda a: scipy.linalg.solve(a, np.ones(3), assume_a="banded"),
        lambda a: scipy.linalg.lu_factor(a[:2])[0],
    ],
)
def test_what_has_no_rule_says_so(f):
    with pytest.raises(UnsupportedError):
        wg.grad(lambda a: np.sum(f(a)))(H3)


# ---- Conventions where the derivative does not exist ----


def test_norms_at_zero():
    for p in (None, 1, 2, 3, 1.5, np.inf):
        for x in (np.zeros(3), np.array([0.0, 2.0, 0.0])):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                gradient = wg.grad(lambda x, p=p: L.norm(x, p))(x)
            np.testing.assert_allclose(gradient, np.sign(x), rtol=1e-15)
    for p in MATRIX_ORDERS:
        np.testing.assert_array_equal(wg.grad(lambda x, p=p: L.norm(x, p))(np.zeros((3, 2))), np.zeros((3, 2)))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DomainWarning)
        second = wg.hessian(L.norm)(np.zeros(2))  # the norm has none there
    assert "derivative of unit" in str(caught[0].message)
    assert np.all(np.isnan(np.diag(second)))
    rows = np.array([[0.0, 0.0], [3.0, 4.0]])
    np.testing.assert_allclose(wg.grad(lambda x: np.sum(L.norm(x, axis=1)))(rows), [[0, 0], [0.6, 0.8]], rtol=1e-15)


def test_repeated_eigenvalues_share_equally():
    J = {mode: wg.jacobian(L.eigvalsh, mode=mode)(np.diag([1.0, 1.0, 4.0])) for mode in ("forward", "reverse")}
    expected = np.zeros((3, 3, 3))
    expected[:2, 0, 0] = expected[:2, 1, 1] = 0.5
    expected[2, 2, 2] = 1.0
    for given in J.values():
        assert_close(given, expected, 1e-15)


@pytest.mark.parametrize("matrix", [np.eye(3), np.diag([2.0, 2.0, 5.0]), np.zeros((3, 3))])
def test_symmetric_functions_of_repeated_eigenvalues(matrix):
    def f(x):
        return np.sum(np.sin(L.eigvalsh((x + x.T) / 2)))

    rotation = L.qr(G3)[0]
    at = rotation @ matrix @ rotation.T
    expected = rotation @ np.diag(np.cos(np.diag(matrix))) @ rotation.T
    assert_close(wg.grad(f)(at), expected, 1e-14)
    tangent = random(3, 3)
    assert_close(wg.jvp(f, (at,), (tangent,))[1], np.sum(expected * tangent), 1e-14)
    assert_close(wg.grad(lambda x: np.sum(np.sin(L.eigh((x + x.T) / 2)[0])))(at), expected, 1e-14)


def test_the_space_of_a_repeated_eigenvalue_has_a_derivative():
    at = np.diag([1.0, 1.0, 4.0])

    def projector(x):
        V = L.eigh((x + x.T) / 2)[1][:, :2]
        return np.sum(np.sin(V @ V.T) * G3)

    expected = truth.differences(lambda x: np.sum(np.sin(_projector(x)) * G3), [at], 0)
    assert_close(wg.grad(projector)(at), expected, 1e-9)


def _projector(x):
    v = L.eigh((x + x.T) / 2)[1][:, 2]
    return np.eye(3) - np.outer(v, v)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: L.eigh(x)[1][0, 1],
        lambda x: np.sum(G3 * L.eigh(x)[1]),
        lambda x: np.sum(L.svd(x)[0] * G3),
        lambda x: np.sum(scipy.linalg.eigh(x)[1] * G3),
        lambda x: np.sum((lambda w, V: (V * np.exp(w)) @ V.T * G3)(*L.eigh(x))),
        lambda x: np.sum(np.real(L.eigvals(x)) ** 2),
        lambda x: np.sum(np.real(L.eig(x)[1]) * G3),
    ],
)
@pytest.mark.parametrize("matrix", [np.eye(3), np.diag([1.0, 1.0, 4.0])])
def test_vectors_of_repeated_eigenvalues_raise(f, matrix):
    with pytest.raises((DegenerateError, MatrixError)) as caught:
        wg.grad(f)(matrix)
    if isinstance(caught.value, DegenerateError):
        assert "test_linalg.py" in str(caught.value)
        assert isinstance(caught.value, ArithmeticError)
        assert "nan" not in str(caught.value).lower()


def test_vectors_of_repeated_eigenvalues_raise_forward():
    tangent = G3 + G3.T
    for f in (lambda x: L.eigh(x)[1], lambda x: L.svd(x)[0], lambda x: scipy.linalg.eigh(x)[1]):
        with pytest.raises(DegenerateError, match="not determined"):
            wg.jvp(f, (np.eye(3),), (tangent,))
        _, unmoved = wg.jvp(f, (np.eye(3),), (np.eye(3),))
        np.testing.assert_array_equal(unmoved, np.zeros((3, 3)))


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.sum(L.eigvalsh(x) ** 3),
        lambda x: np.sum(L.eigh(x)[0] ** 3),
        lambda x: np.sum(L.svd(x, compute_uv=False) ** 3),
    ],
)
def test_second_order_at_repeated_values_raises_and_is_right_nearby(f):
    with pytest.raises(DegenerateError, match="repeated"):
        wg.hessian(f)(np.eye(3))
    wg.grad(f)(np.eye(3))
    near = np.diag([1.0, 1.0 + 1e-3, 1.0 - 1e-3])
    tangent = G3 + G3.T
    cube = 6 * np.trace(near @ tangent @ tangent)  # the cubes of the eigenvalues add up to tr(A^3)
    given = wg.jvp(lambda s: wg.jvp(lambda s: f(near + s * tangent), (s,), (1.0,))[1], (0.0,), (1.0,))[1]
    assert_close(given, cube, 1e-9)


def test_singular_values_at_zero():
    rank_one = np.outer([1.0, 2.0, 2.0], [0.6, 0.8])
    expected = rank_one / 3.0  # the vectors of the one singular value that is not 0
    for mode in ("forward", "reverse"):
        assert_close(wg.jacobian(lambda x: L.norm(x, "nuc"), mode=mode)(rank_one), expected, 1e-14)
        assert_close(wg.jacobian(lambda x: np.sum(L.svdvals(x)), mode=mode)(np.eye(2)), np.eye(2), 1e-14)
    np.testing.assert_array_equal(wg.grad(lambda x: np.sum(L.svdvals(x)))(np.zeros((2, 3))), np.zeros((2, 3)))


def test_columns_that_depend_on_each_other_have_no_q():
    with pytest.raises((DegenerateError, L.LinAlgError)):
        wg.grad(lambda x: np.sum(L.qr(x)[0] * G3[:, :2]))(np.ones((3, 2)))


@pytest.mark.parametrize(
    "completed", [lambda x: L.svd(x)[0], lambda x: L.qr(x, "complete")[0], lambda x: L.svd(x.T)[2].T]
)
def test_the_space_that_completes_a_basis_has_a_derivative(completed):
    def f(x):
        N = completed(x)[:, 2:]
        return np.sum(np.sin(N @ N.T) * weights)

    weights, tall = random(5, 5), random(5, 2)
    assert_close(wg.grad(f)(tall), truth.differences(f, [tall], 0, step=1e-3), 1e-7)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: L.svd(x)[1],
        lambda x: L.svd(x.T).S,
        lambda x: L.svd(x)[2],
        lambda x: (lambda u, s, vh: (u[:, :1] * s[:1]) @ vh[:1])(*L.svd(x)),
        lambda x: L.qr(x, "complete")[1],
        lambda x: L.qr(x, "complete")[0][:, :2],
    ],
)
def test_vectors_that_are_not_determined_and_not_read_do_not_matter(f):
    tall = random(5, 2)
    expected = truth.differences(f, [tall], 0, step=1e-3)
    for mode in ("forward", "reverse", None):
        assert_close(wg.jacobian(f, **({"mode": mode} if mode else {}))(tall), expected, 1e-7, str(mode))
    second = truth.differences(wg.jacobian(f), [tall], 0, step=1e-3)
    for outer in ("forward", "reverse"):
        assert_close(wg.jacobian(wg.jacobian(f, mode="forward"), mode=outer)(tall), second, 1e-6, outer)
    assert wg.check_derivatives(f)(tall)
    assert_close(wg.vmap(wg.jacobian(f, mode="forward"))(tall[None])[0], expected, 1e-7, "vmap")


def test_vectors_that_complete_a_basis_raise_where_they_are_asked_for():
    tall = random(5, 2)
    for f in (lambda x: L.qr(x, "complete")[0][0, 3], lambda x: L.svd(x)[0][0, 3]):
        with pytest.raises(DegenerateError, match="complete"):
            wg.grad(f)(tall)
        with pytest.raises(DegenerateError, match="complete"):
            wg.jvp(f, (tall,), (tall,))
    for f in (lambda x: L.qr(x, "complete")[0], lambda x: L.svd(x)[0][:, 2:]):
        with pytest.raises(DegenerateError, match="complete"):
            wg.jacobian(f, mode="forward")(tall)
    gradient = wg.grad(lambda x: np.sum(L.svd(x)[1]))(tall)  # full_matrices by default, but not used
    assert_close(gradient, wg.grad(lambda x: L.norm(x, "nuc"))(tall), 1e-13)


KINKS = {
    "norm", "cholesky", "eigh", "scipy_eigh", "eigvalsh", "eig", "eigvals", "svd", "svdvals", "det", "completion",
    "pinv", "lstsq", "matrix_rank", "solve_triangular", "solve_banded",
    "magnitude", "level", "shared", "distinct", "distinct_values", "settled", "ratio", "full_rank", "nonzero_values",
    "complete_qr", "full_svd", "unit",
}  # fmt: skip
"""The rows whose conventions the tests above hold them to."""


def test_every_stated_kink_is_tested():
    assert {name for name, row in ROWS.items() if row.kink} == KINKS


def test_the_corners_of_a_table_of_diagonals_are_not_read():
    gradient = wg.grad(lambda t: np.sum(scipy.linalg.solve_banded((1, 1), t, random(5))))(BAND[:3])
    assert gradient[0, 0] == gradient[2, 4] == 0
    assert np.count_nonzero(gradient) == 13


def test_a_factorization_reads_one_triangle():
    a = H3.copy()
    a[np.triu_indices(3, 1)] = 77.0
    for f in (L.cholesky, L.eigvalsh, lambda a: scipy.linalg.solve(a, np.ones(3), assume_a="pos", lower=True)):
        gradient = wg.grad(lambda a, f=f: np.sum(f(a)))(a)
        np.testing.assert_array_equal(gradient[np.triu_indices(3, 1)], 0.0)
        assert_first_order(f, [a])


# ---- What is caught where it is called ----


def test_scipy_is_as_it_was_after_a_trace():
    before = {name: getattr(scipy.linalg, name) for name in ("expm", "solve", "cho_solve", "norm")}
    wg.grad(lambda t: np.sum(scipy.linalg.expm(t * A3)))(0.1)
    with pytest.raises(L.LinAlgError):
        wg.grad(lambda t: np.sum(scipy.linalg.inv(t * np.ones((2, 2)))))(0.1)
    assert all(getattr(scipy.linalg, name) is function for name, function in before.items())


def test_named_results():
    def f(a):
        pair, factors, triple, sign = L.eigh(a), L.qr(a), L.svd(a), L.slogdet(a)
        assert (type(pair).__name__, type(factors).__name__) == ("EighResult", "QRResult")
        assert (type(triple).__name__, type(sign).__name__) == ("SVDResult", "SlogdetResult")
        return np.sum(pair.eigenvalues) + np.sum(factors.R**2) + np.sum(triple.S**2) + sign.logabsdet

    assert_first_order(f, [H3])


# ---- Peers ----

PEERS = {
    "inv": lambda np, x: np.linalg.inv(x),
    "solve": lambda np, x: np.linalg.solve(x, x[:, :1] ** 2),
    "det": lambda np, x: np.linalg.det(x),
    "slogdet": lambda np, x: np.linalg.slogdet(x)[1],
    "cholesky": lambda np, x: np.linalg.cholesky(x @ x.T + np.eye(3)),
    "qr": lambda np, x: np.linalg.qr(x)[1],
    "eigh": lambda np, x: np.linalg.eigh(x + x.T)[1] ** 2,
    "eigvalsh": lambda np, x: np.linalg.eigvalsh(x + x.T),
    "svd": lambda np, x: np.linalg.svd(x, full_matrices=False)[0] ** 2,
    "pinv": lambda np, x: np.linalg.pinv(x[:, :2]),
    "norm": lambda np, x: np.linalg.norm(x, axis=0) + np.linalg.norm(x, "nuc"),
    "matrix_power": lambda np, x: np.linalg.matrix_power(x, -3),
    "irfft": lambda np, x: np.fft.irfft(np.fft.rfft(x, axis=0) ** 2, n=5, axis=0),
    "fftn": lambda np, x: np.abs(np.fft.fftn(x, norm="ortho")),
}


@pytest.mark.parametrize("name", PEERS)
def test_agrees_with_jax(name):
    jax = pytest.importorskip("jax")
    import jax.numpy as jnp

    f = PEERS[name]
    with jax.enable_x64(True) if hasattr(jax, "enable_x64") else jax.experimental.enable_x64():
        expected = np.asarray(jax.jacobian(lambda x: f(jnp, x))(jnp.asarray(A3)))
        curvature = np.asarray(jax.hessian(lambda x: jnp.sum(f(jnp, x) ** 2))(jnp.asarray(A3)))
    for mode in ("forward", "reverse"):
        assert_close(wg.jacobian(lambda x: f(np, x), mode=mode)(A3), expected, 1e-10)
    assert_close(wg.hessian(lambda x: np.sum(f(np, x) ** 2))(A3), curvature, 1e-9)
