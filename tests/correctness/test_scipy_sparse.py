"""Products of sparse matrices and traced arrays, in every format, against those of the dense matrix."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import truth
from agreement import assert_close

import wengert as wg
from wengert.errors import ShapeError, UnsupportedError

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


@pytest.mark.parametrize(
    "f",
    [
        lambda x: scipy.sparse.csr_array(np.diag(x)) @ x,
        lambda x: scipy.sparse.csr_array(DENSE).multiply(x),
        lambda x: (scipy.sparse.csc_array(DENSE) * x[0]).toarray(),
        lambda x: x[0] * scipy.sparse.csr_array(DENSE),
    ],
)
def test_what_has_no_rule_says_so(f):
    with pytest.raises(UnsupportedError, match=r"A @ x"):
        wg.grad(lambda x: np.sum(f(x)))(X)


def test_shapes_that_do_not_go_together():
    with pytest.raises(ShapeError, match="mismatch"):
        wg.grad(lambda x: np.sum(scipy.sparse.csr_array(DENSE) @ x[:3]))(X)
