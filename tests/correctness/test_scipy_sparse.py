"""Products of sparse matrices and traced arrays, in every format, against those of the dense matrix."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
import truth
from agreement import assert_caught, assert_close

import wengert as wg
from wengert.errors import MatrixError, ShapeError, UnsupportedError

DENSE = np.diag(np.arange(1.0, 6.0))[:, :4] + np.diag(np.ones(4), 1)[:5, :4] * 2
rng = np.random.default_rng(2)
X, MANY, Y, ROWS = (rng.normal(size=s) for s in ((4,), (4, 3), (5,), (3, 5)))
KINDS = ("csr", "csc", "coo", "dia", "bsr", "lil", "dok")
FORMATS = [getattr(scipy.sparse, f"{kind}_{what}") for kind in KINDS for what in ("matrix", "array")]
PRODUCTS = {
    "vector": (lambda A, x: A @ x, X),
    "matrix": (lambda A, x: A @ x, MANY),
    "from the left": (lambda A, x: x @ A, Y),
    "matrix from the left": (lambda A, x: x @ A, ROWS),
    "transposed": (lambda A, x: A.T @ x, Y),
    "dot": (lambda A, x: A.dot(x), X),
    "column": (lambda A, x: A @ x[:, None], X),
    "twice": (lambda A, x: A @ (A.T @ x), Y),
}


@pytest.mark.parametrize("make", FORMATS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("name", PRODUCTS)
def test_products(make, name):
    product, x = PRODUCTS[name]
    A = make(DENSE)
    expected = wg.jacobian(lambda x: product(DENSE, x))(x)
    for mode in ("forward", "reverse"):
        assert_close(wg.jacobian(lambda x: product(A, x), mode=mode)(x), expected, 1e-14, mode)
    np.testing.assert_allclose(wg.linearize(lambda x: product(A, x), x)[0], product(A, x))


def test_products_of_old_matrices_are_written_with_a_star():
    A = scipy.sparse.csr_matrix(DENSE)
    np.testing.assert_array_equal(wg.jacobian(lambda x: A * x)(X), DENSE)


def test_higher_derivatives_batches_and_source():
    A = scipy.sparse.csr_array(DENSE)

    def f(x):
        return np.sum(np.sin(A @ x) ** 2 * (A @ x))

    assert_close(wg.hessian(f)(X), truth.differences(wg.grad(f), [X], 0, step=1e-3), 1e-8)
    assert wg.check_derivatives(f)(X)
    np.testing.assert_allclose(wg.vmap(f)(MANY.T), [f(x) for x in MANY.T])
    namespace = {}
    exec(wg.trace(f)(X).source(), namespace)
    assert np.isclose(namespace["f"](X), f(X))


def test_a_matrix_that_is_scaled_by_a_traced_number():
    A = scipy.sparse.csr_array(DENSE)
    expected = wg.jacobian(lambda x: (DENSE * x[0]) @ (x * x))(X)
    for mode in ("forward", "reverse"):
        assert_close(wg.jacobian(lambda x: (A * x[0]) @ (x * x), mode=mode)(X), expected, 1e-13, mode)


# ---- Matrices of traced entries ----

ENTRIES, ROW, COLUMN = rng.normal(size=7), [0, 0, 1, 2, 2, 0, 3], [0, 2, 1, 0, 3, 2, 3]  # one place twice
SQUARE = rng.normal(size=(4, 4)) + 5 * np.eye(4)
PLAIN = scipy.sparse.csr_array(np.where(np.abs(SQUARE) > 0.5, SQUARE, 0.0))
RIGHT, RIGHTS = rng.normal(size=4), rng.normal(size=(4, 2))
sp, sl = scipy.sparse, scipy.sparse.linalg


def built(x, kind="csr_array"):
    return getattr(sp, kind)((x, (ROW, COLUMN)), shape=(4, 4))


def strong(x):
    """A matrix that can be inverted."""
    return built(x) + 6 * sp.eye_array(4)


MADE = {}
for kind in ("csr_array", "csc_array", "coo_array", "csr_matrix", "csc_matrix", "coo_matrix"):
    MADE[f"{kind}, coordinates"] = (lambda x, kind=kind: built(x, kind).toarray(), [ENTRIES])
    MADE[f"{kind}, products"] = (
        lambda x, kind=kind: (built(x, kind) @ RIGHTS) * (built(x, kind).T @ RIGHTS),
        [ENTRIES],
    )
    MADE[f"{kind} of a dense one"] = (lambda x, kind=kind: getattr(sp, kind)(np.outer(x, x)) @ x, [RIGHT])
MADE |= {
    "compressed": (lambda x: sp.csr_array((x, [0, 2, 1, 3], [0, 1, 3, 3, 4]), shape=(4, 4)).toarray(), [RIGHT]),
    "compressed columns": (lambda x: sp.csc_array((x, [0, 2, 1, 3], [0, 1, 3, 3, 4])) @ RIGHTS, [RIGHT]),
    "dia_array": (lambda x: sp.dia_array((x.reshape(2, 2), [0, 1]), shape=(2, 2)).toarray(), [RIGHT]),
    "converted": (lambda x: built(x).tocsc().tocoo().tocsr().toarray(), [ENTRIES]),
    "the same": (lambda x: sp.csc_array(built(x)).toarray() + sp.csr_array(built(x, "coo_array")).toarray(), [ENTRIES]),
    "diags": (lambda x: sp.diags([x[:3], x[3:], 2 * x[:3]], [-1, 0, 1]).toarray(), [ENTRIES]),
    "diags of one": (lambda x: sp.diags(x).tocsr() @ x, [RIGHT]),
    "diags_array": (
        lambda x: sp.diags_array([x[0], -2 * x[1], x[2]], offsets=[-1, 0, 1], shape=(4, 4)) @ RIGHT,
        [RIGHT],
    ),
    "diags, a format": (lambda x: sp.diags([x, 1.0], [0, 1], shape=(4, 4), format="csc").toarray(), [RIGHT]),
    "elements": (lambda x: built(x)[0, 2] * built(x)[0:2].toarray(), [ENTRIES]),
    "diagonal": (lambda x: built(x).diagonal() + built(x, "csc_array").diagonal(), [ENTRIES]),
    "trace": (lambda x: built(x).trace(), [ENTRIES]),
    "sums": (lambda x: built(x).sum() + built(x).sum(axis=0) * built(x).sum(axis=1), [ENTRIES]),
    "sum of two": (lambda x: (built(x) + PLAIN - built(x).T).toarray(), [ENTRIES]),
    "sum with a dense one": (lambda x: built(x) + SQUARE, [ENTRIES]),
    "product of two": (lambda x: (built(x) @ built(x) @ PLAIN).toarray(), [ENTRIES]),
    "plain product": (lambda x: (PLAIN @ built(x)).toarray(), [ENTRIES]),
    "multiply": (lambda x: PLAIN.multiply(x).toarray() + built(ENTRIES).multiply(x[:, None]).toarray(), [RIGHT]),
    "multiply by a sparse one": (lambda x: built(x).multiply(PLAIN).toarray() + PLAIN.multiply(built(x)), [ENTRIES]),
    "numbers": (
        lambda x: (x[0] * PLAIN * x[1] / x[2]).toarray() + (-built(x) * 2).toarray(),
        [RIGHT[[0, 1, 2, 3, 0, 1, 2]]],
    ),
    "vstack": (lambda x: sp.vstack([built(x), PLAIN]).toarray(), [ENTRIES]),
    "hstack": (lambda x: sp.hstack([built(x), SQUARE[:, :1]], format="csr") @ np.ones(5), [ENTRIES]),
    "block_diag": (lambda x: sp.block_diag([built(x), x[:4].reshape(2, 2)]).toarray(), [ENTRIES]),
    "bmat": (lambda x: sp.bmat([[built(x), None], [None, built(2 * x)]]).toarray(), [ENTRIES]),
    "kron": (lambda x: sp.kron(built(x), PLAIN[:2, :2]).toarray(), [ENTRIES]),
    "triangles": (lambda x: sp.tril(built(x)).toarray() + sp.triu(built(x), 1).toarray(), [ENTRIES]),
    "copied": (lambda x: built(x).copy().toarray() + abs(built(x)).toarray() + built(x).power(2).toarray(), [ENTRIES]),
    "spsolve": (lambda x, b: sl.spsolve(strong(x).tocsc(), b), [ENTRIES, RIGHT]),
    "spsolve of several": (lambda x, b: sl.spsolve(strong(x), b), [ENTRIES, RIGHTS]),
    "spsolve, plain": (lambda b: sl.spsolve(PLAIN.tocsc(), b), [RIGHT]),
    "splu": (lambda x, b: sl.splu(strong(x).tocsc()).solve(b) + sl.splu(PLAIN.tocsc()).solve(b, "T"), [ENTRIES, RIGHT]),
    "factorized": (lambda b: sl.factorized(PLAIN.tocsc())(b), [RIGHT]),
    "spsolve_triangular": (lambda x, b: sl.spsolve_triangular(sp.tril(strong(x), format="csr"), b), [ENTRIES, RIGHT]),
}


@pytest.mark.filterwarnings("ignore::scipy.sparse.SparseEfficiencyWarning")
@pytest.mark.parametrize("case", MADE)
def test_matrices_of_traced_entries(case):
    assert_caught(*MADE[case])


SYMMETRIC = sp.csr_array(PLAIN @ PLAIN.T + 20 * sp.eye_array(4))
SOLVED = {
    "cg": (lambda x, b: sl.cg(built(x) + built(x).T + SYMMETRIC, b, rtol=1e-13)[0], [ENTRIES, RIGHT]),
    "cg, dense": (lambda b: sl.cg(SYMMETRIC.toarray(), b, rtol=1e-13)[0], [RIGHT]),
    "cg, a guess": (lambda b: sl.cg(SYMMETRIC, b, x0=np.ones(4), rtol=1e-13, maxiter=50)[0], [RIGHT]),
    "minres": (lambda b: sl.minres(SYMMETRIC, b, rtol=1e-13)[0], [RIGHT]),
    "gmres": (lambda x, b: sl.gmres(strong(x), b, rtol=1e-13)[0], [ENTRIES, RIGHT]),
    "bicgstab": (lambda b: sl.bicgstab(SYMMETRIC, b, rtol=1e-13)[0], [RIGHT]),
}


@pytest.mark.parametrize("case", SOLVED)
def test_iterations(case):
    assert_caught(*SOLVED[case], rtol=1e-6, value_rtol=1e-9)


def test_an_iteration_that_is_stopped_early_has_the_derivative_of_the_solution():
    def f(b):
        x, info = sl.cg(SYMMETRIC, b, rtol=1e-2)
        assert info == 0
        return x

    np.testing.assert_allclose(wg.jacobian(f)(RIGHT), np.linalg.inv(SYMMETRIC.toarray()), rtol=1e-9)


def test_kinds_batches_programs_and_source():
    def f(x):
        A = strong(x)
        assert isinstance(A, sp.csr_array)
        assert isinstance(A.tocsc(), sp.csc_array)
        assert A.nnz == 7
        return np.sum(sl.spsolve(A.tocsc(), x[:4]) ** 2)

    many = np.stack([ENTRIES, 0.5 * ENTRIES])
    np.testing.assert_allclose(wg.vmap(f)(many), [f(x) for x in many])
    np.testing.assert_allclose(wg.vmap(wg.grad(f))(many), [wg.grad(f)(x) for x in many])
    program = wg.trace(f)(ENTRIES)
    np.testing.assert_allclose(program(0.3 * ENTRIES), f(0.3 * ENTRIES))
    assert wg.check_derivatives(f)(ENTRIES)
    namespace = {}
    exec(program.source(), namespace)
    assert np.isclose(namespace["f"](ENTRIES), f(ENTRIES))


FACTORS = sl.splu(PLAIN.tocsc())


@pytest.mark.parametrize(
    ("f", "words"),
    [
        (lambda x: FACTORS.solve(x), r"SuperLU\.solve[\s\S]*splu inside"),
        (lambda x: sl.spsolve(PLAIN, sp.csc_array(x[:, None])), "toarray"),
        (lambda x: sl.cg(sl.aslinearoperator(PLAIN), x)[0], "LinearOperator"),
        (lambda x: sl.splu(PLAIN.tocsc()).L @ x, "factorization"),
        (lambda x: sp.lil_array(np.diag(x)) @ x, r"scipy\.sparse"),
    ],
)
def test_what_has_no_rule_says_so(f, words):
    with pytest.raises(UnsupportedError, match=words):
        wg.grad(lambda x: np.sum(f(x)))(X)


def test_a_singular_matrix_says_so():
    with pytest.raises(MatrixError, match=r"[Ss]ingular"):
        wg.grad(lambda b: np.sum(sl.spsolve(sp.csc_array(np.diag([1.0, 2.0, 3.0, 0.0])), b)))(RIGHT)


def test_shapes_that_do_not_go_together():
    with pytest.raises(ShapeError, match="mismatch"):
        wg.grad(lambda x: np.sum(scipy.sparse.csr_array(DENSE) @ x[:3]))(X)


def test_a_matrix_whose_indices_are_not_in_order():
    unordered = scipy.sparse.csr_array(([1.0, 4.0, 1.0, 5.0, 2.0], [1, 0, 2, 1, 2], [0, 2, 4, 5]), shape=(3, 3))
    assert not unordered.has_sorted_indices
    b = np.arange(3.0)
    solved = np.sum(np.linalg.solve(unordered.toarray(), b))
    np.testing.assert_allclose(wg.grad(lambda t: np.sum(sl.spsolve(unordered * t, b)))(2.0), -solved / 4, rtol=1e-14)
