"""Compressed Jacobians and Hessians: equal to the dense ones, in few passes, whatever the pattern and the block."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import points, random_programs
from scipy import sparse

import wengert as wg
from wengert.accumulation import compressed, dense
from wengert.accumulation.coloring import structure_of
from wengert.accumulation.compressed import acyclic, by_columns, by_rows, by_rows_and_columns, star
from wengert.errors import ArgumentError, CompressionWarning, PatternError, ShapeError
from wengert.linearization import Linearization
from wengert.planning import choice, compressions
from wengert.tracing import watch


def linearized(f, *xs):
    return Linearization.of_program(wg.trace(f)(*xs), *xs)


def taken(f, x, sparse=True):
    """Return the compression that planning takes."""
    return choice.choose(linearized(f, x), choice.Request.of(sparse=sparse)).compression


def banded(n, *offsets):
    return structure_of(sparse.diags_array([1.0] * len(offsets), offsets=list(offsets), shape=(n, n)))


def tridiagonal(x):
    """Return a residual each of whose elements depends on three of the argument."""
    left, right = np.concatenate([[0.0], x[:-1]]), np.concatenate([x[1:], [0.0]])
    return 2 * x - x**3 + np.sin(left) * x - right**2


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def with_structure(dense, weights):
    """Return a function whose Jacobian has entries where `dense` has, each in its own nonlinear way."""
    rows, columns = np.nonzero(dense)
    sums = np.equal(np.arange(dense.shape[0])[:, None], rows).astype(float)
    return lambda x: sums @ (np.sin(weights * x[columns]) * (2 + np.cos(x[columns])))


def coupled(dense, weights):
    """Return a scalar function whose Hessian has entries where the symmetric `dense` has, and on its diagonal."""
    rows, columns = np.nonzero(np.triu(dense))

    def f(x):
        return np.sum(weights * np.sin(x[rows] * x[columns] + x[rows])) + np.sum(x**4)

    return f


@st.composite
def matrices(draw, most=10):
    m, n = draw(st.integers(1, most)), draw(st.integers(1, most))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    dense = rng.random((m, n)) < draw(st.floats(0.05, 0.6))
    if draw(st.booleans()):
        dense[draw(st.integers(0, m - 1))] = dense[:, draw(st.integers(0, n - 1))] = True
    return dense, rng.uniform(0.5, 1.5, np.count_nonzero(dense)), rng.normal(size=n)


@st.composite
def symmetric_matrices(draw, most=10):
    n = draw(st.integers(1, most))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    dense = rng.random((n, n)) < draw(st.floats(0.0, 0.5))
    dense = dense | dense.T | np.eye(n, dtype=bool)
    return dense, rng.uniform(0.5, 1.5, np.count_nonzero(np.triu(dense))), rng.normal(size=n)


# ---- Recovered matrices are the dense ones ----


@pytest.mark.parametrize("compress", [by_columns, by_rows, by_rows_and_columns])
@settings(max_examples=30, deadline=None)
@given(matrix=matrices())
def test_a_compressed_jacobian_is_the_dense_one(compress, matrix):
    dense, weights, x = matrix
    f = with_structure(dense, weights)
    compression = compress(structure_of(dense))
    J = compression.evaluate(linearized(f, x))
    np.testing.assert_allclose(J.toarray(), wg.jacobian(f)(x), rtol=1e-13, atol=1e-15)
    assert J.nnz == np.count_nonzero(dense)


@pytest.mark.parametrize("compress", [star, acyclic])
@settings(max_examples=30, deadline=None)
@given(matrix=symmetric_matrices())
def test_a_compressed_hessian_is_the_dense_one(compress, matrix):
    dense, weights, x = matrix
    f = coupled(dense, weights)
    H = compress(structure_of(dense)).evaluate(linearized(wg.grad(f), x))
    expected = wg.hessian(f)(x)
    np.testing.assert_allclose(H.toarray(), expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())


@pytest.mark.parametrize("most", [1, 2, 5])
@pytest.mark.parametrize("compress", [by_columns, by_rows, by_rows_and_columns])
def test_blocks_of_seeds_and_products_that_are_not_kept_change_nothing(monkeypatch, most, compress):
    dense = banded(30, -2, 0, 1, 7).toarray()
    dense[4] = dense[:, 9] = True
    rng = np.random.default_rng(0)
    f, x = with_structure(dense, rng.uniform(0.5, 1.5, np.count_nonzero(dense))), rng.normal(size=30)
    expected = compress(structure_of(dense)).evaluate(linearized(f, x)).toarray()
    monkeypatch.setattr(compressed, "seeds_at_once", lambda linearization: most)
    monkeypatch.setattr(compressed, "BLOCK_BYTES", 0)
    np.testing.assert_array_equal(compress(structure_of(dense)).evaluate(linearized(f, x)).toarray(), expected)


def test_few_passes_are_made(monkeypatch):
    seeds = []
    sweep = compressed.forward

    def counted(linearization, tangents, batch=0):
        seeds.append(len(tangents[0]))
        return sweep(linearization, tangents, batch)

    monkeypatch.setattr(compressed, "forward", counted)
    x = np.linspace(0.0, 1.0, 1000)
    linearization = linearized(tridiagonal, x)
    J = by_columns(banded(1000, -1, 0, 1)).evaluate(linearization)
    assert sum(seeds) == 3
    v = np.cos(np.arange(1000.0))
    np.testing.assert_allclose(J @ v, wg.jvp(tridiagonal, (x,), (v,))[1], rtol=1e-13)


def test_a_triangular_system_solves_for_long_paths():
    x = np.cos(np.arange(5000.0))
    compression = acyclic(banded(5000, -1, 0, 1))
    assert compression.passes == 2
    H = compression.evaluate(linearized(wg.grad(rosenbrock), x))
    expected = star(banded(5000, -1, 0, 1)).evaluate(linearized(wg.grad(rosenbrock), x))
    assert abs(H - expected).max() < 1e-9 * abs(expected).max()


def test_an_infinite_entry_stays_where_it_is():
    f = lambda x: np.sum(x[1:] * x[:-1]) + np.sum(x**1.5)  # noqa: E731
    x = np.array([1.0, 2.0, 0.0, 4.0, 5.0, 6.0])
    pattern = banded(6, -1, 0, 1)
    with pytest.warns(wg.errors.DomainWarning):
        expected = wg.hessian(f)(x)
    for compress in (star, acyclic):
        with pytest.warns(wg.errors.DomainWarning):
            H = watch(lambda x, compress=compress: compress(pattern).evaluate(linearized(wg.grad(f), x)), x)
        np.testing.assert_array_equal(H.toarray(), expected)
    assert np.isfinite(expected).sum() == 35


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_result_has_the_dtype_of_the_function(dtype):
    x = np.linspace(0.0, 1.0, 6, dtype=dtype)
    for mode in ("forward", "reverse"):
        J = wg.jacobian(lambda x: x[1:] * x[:-1], sparse=np.eye(5, 6) + np.eye(5, 6, 1), mode=mode)(x)
        assert J.dtype == dtype
        assert isinstance(J, sparse.csr_array)


def test_the_compression_of_the_fewest_operations_is_taken():
    x = np.linspace(0.1, 1.0, 40)
    tall = sparse.kron(np.ones((4, 1)), sparse.eye_array(40))  # four results each, of one variable
    wide = lambda x: x.reshape(4, 10).sum(axis=0)  # noqa: E731
    assert taken(lambda x: np.concatenate([x] * 4), x, tall).name == "column-compressed"
    assert taken(wide, x, np.tile(np.eye(10), 4)).name == "row-compressed"
    arrowhead = np.eye(40)
    arrowhead[0] = arrowhead[:, 0] = 1
    f = lambda x: np.concatenate([[np.sum(x**2)], x[1:] * x[0]])  # noqa: E731
    compression = taken(f, x, arrowhead)
    assert (compression.name, compression.passes) == ("bi-compressed", 3)
    np.testing.assert_allclose(compression.evaluate(linearized(f, x)).toarray(), wg.jacobian(f)(x))


def test_a_coloring_is_made_once_for_a_pattern(monkeypatch):
    calls = []
    color = compressed.color_columns
    monkeypatch.setattr(compressed, "color_columns", lambda *args: calls.append(1) or color(*args))
    J = wg.jacobian(tridiagonal, sparse=banded(23, -1, 0, 1), mode="forward")
    for k in range(3):
        J(np.linspace(0.0, k, 23))
    assert len(calls) == 1


# ---- Patterns that are given ----


@pytest.mark.parametrize("mode", [None, "forward", "reverse"])
def test_a_pattern_of_any_format_is_taken(mode):
    x = np.linspace(-1.0, 1.0, 12)
    pattern = banded(12, -1, 0, 1)
    for given_pattern in (
        pattern,
        pattern.toarray(),
        pattern.tocoo(),
        pattern.astype(float),
        sparse.csc_matrix(pattern),
    ):
        J = wg.jacobian(tridiagonal, sparse=given_pattern, mode=mode)(x)
        np.testing.assert_allclose(J.toarray(), wg.jacobian(tridiagonal)(x), rtol=1e-14)


@pytest.mark.parametrize("pattern", [np.tril, np.triu, np.asarray])
def test_a_triangle_of_a_hessian_is_enough(pattern):
    x = np.linspace(-1.0, 1.0, 12)
    H = wg.hessian(rosenbrock, sparse=pattern(banded(12, -1, 0, 1).toarray()))(x)
    np.testing.assert_allclose(H.toarray(), wg.hessian(rosenbrock)(x), rtol=1e-13, atol=1e-13)


@settings(max_examples=40, deadline=None)
@given(matrices(), st.data())
def test_a_missing_entry_is_named(matrix, data):
    dense, weights, x = matrix
    f = with_structure(dense, weights)
    J = wg.jacobian(f)(x)
    rows, columns = np.nonzero(np.abs(J) > 1e-6)
    if not rows.size:
        return
    k = data.draw(st.integers(0, rows.size - 1))
    pattern = dense.copy()
    pattern[rows[k], columns[k]] = False
    with pytest.raises(PatternError, match=rf"\({rows[k]}, {columns[k]}\) = "):
        wg.jacobian(f, sparse=pattern)(x)


def test_an_entry_that_appears_at_another_point_is_found_there():
    f = lambda x: np.array([x[0] ** 2, x[1] * (x[0] - 1)])  # noqa: E731
    J = wg.jacobian(f, sparse=np.array([[1, 0], [0, 1]]))
    np.testing.assert_allclose(J(np.array([3.0, 0.0])).toarray(), [[6.0, 0.0], [0.0, 2.0]])
    with pytest.raises(PatternError, match=r"\(1, 0\) = 5 \(row, column\)"):
        J(np.array([3.0, 5.0]))


def test_an_entry_that_appears_at_another_point_is_found_by_compiled_code():
    """Compiled code had no such check: the matrix that it returned lacked the entry, or had it in another place."""
    f = lambda x: np.array([x[0] ** 2, x[1] * (x[0] - 1)])  # noqa: E731
    J = wg.jit(wg.jacobian(f, sparse=np.eye(2)))
    for x in (3.0, 4.0, 5.0):
        np.testing.assert_allclose(J(np.array([x, 0.0])).toarray(), [[2 * x, 0.0], [0.0, x - 1]])
    with pytest.raises(PatternError, match=r"\(1, 0\) = 5 \(row, column\)"):
        J(np.array([3.0, 5.0]))
    H = wg.jit(wg.hessian(lambda x: np.sum(x**3) + x[2] * x[0] * x[1], sparse=np.eye(3)))
    np.testing.assert_allclose(H(np.zeros(3)).toarray(), np.zeros((3, 3)))
    with pytest.raises(PatternError):
        H(np.array([0.0, 0.0, 1.0]))


def test_compiled_sparse_jacobians_of_numbers():
    J = wg.jit(wg.jacobian(lambda x: x * x, sparse=np.ones((1, 1))))
    assert [J(x).toarray().tolist() for x in (3.0, 4.0, 5.0)] == [[[6.0]], [[8.0]], [[10.0]]]


def test_a_missing_entry_of_a_hessian_is_named():
    with pytest.raises(PatternError, match=r"\(0, 1\) = "):
        wg.hessian(rosenbrock, sparse=np.eye(5))(np.arange(1.0, 6.0))


@pytest.mark.parametrize("pattern", [np.ones((3, 9)), np.ones(9), np.ones((9, 9, 1)), 1.0])
def test_a_pattern_of_another_shape_is_refused(pattern):
    with pytest.raises(ShapeError, match="9 rows and 9 columns"):
        wg.jacobian(tridiagonal, sparse=pattern)(np.ones(9))


def test_complex_arguments_are_refused_and_complex_results_are_not():
    x = np.array([0.5, 1.0])
    J = wg.jacobian(lambda x: np.exp(1j * x), sparse=np.eye(2))(x)
    np.testing.assert_allclose(J.toarray(), np.diag(1j * np.exp(1j * x)))
    with pytest.raises(ArgumentError, match="complex"):
        wg.jacobian(lambda z: z * z, sparse=np.eye(2))(x + 1j)


# ---- Several arguments and results, scalars, auxiliary output ----


def test_trees_have_a_matrix_for_each_pair():
    f = lambda p: {"u": p["a"] * p["b"][0], "v": p["b"] ** 2}  # noqa: E731
    p = {"a": np.array([1.0, 2.0, 3.0]), "b": np.array([0.5, 4.0])}
    u = np.array([[1, 0, 0, 1, 0], [0, 1, 0, 1, 0], [0, 0, 1, 1, 0]])
    v = np.array([[0, 0, 0, 1, 0], [0, 0, 0, 0, 1]])
    dense = wg.jacobian(f)(p)
    joint = np.concatenate([u, v])
    blocks = {"u": {"a": u[:, :3], "b": u[:, 3:]}, "v": {"a": v[:, :3], "b": v[:, 3:]}}
    for pattern in (joint, blocks):
        J = wg.jacobian(f, sparse=pattern)(p)
        for result in "uv":
            for argument in "ab":
                np.testing.assert_allclose(J[result][argument].toarray(), dense[result][argument])


def test_arguments_by_position_and_matrices_as_arguments():
    f = lambda x, k, y: k * x.T @ y  # noqa: E731
    x, y = np.arange(6.0).reshape(3, 2), np.array([1.0, -1.0, 2.0])
    pattern = np.concatenate([np.tile(np.eye(2), 3), np.ones((2, 3))], axis=1)
    by_x, by_y = wg.jacobian(f, argnums=(0, 2), sparse=pattern)(x, 3.0, y)
    dense_x, dense_y = wg.jacobian(f, argnums=(0, 2))(x, 3.0, y)
    np.testing.assert_allclose(by_x.toarray(), dense_x.reshape(2, 6))
    np.testing.assert_allclose(by_y.toarray(), dense_y)


def test_numbers_make_matrices_of_one_row_or_column():
    assert wg.jacobian(lambda x: x * x, sparse=np.ones((1, 1)))(3.0).toarray().tolist() == [[6.0]]
    assert wg.jacobian(np.sum, sparse=np.ones((1, 4)))(np.ones(4)).toarray().tolist() == [[1.0] * 4]
    assert wg.jacobian(lambda x: x * np.arange(3.0), sparse=np.ones((3, 1)))(2.0).toarray().ravel().tolist() == [
        0,
        1,
        2,
    ]


def test_auxiliary_output_stands_beside():
    J, aux = wg.jacobian(lambda x: (x**2, "aux"), sparse=np.eye(3), has_aux=True)(np.ones(3))
    assert aux == "aux"
    assert J.toarray().tolist() == (2 * np.eye(3)).tolist()
    H, aux = wg.hessian(lambda x: (np.sum(x**2), "aux"), sparse=np.eye(3), has_aux=True)(np.ones(3))
    assert aux == "aux"
    assert H.toarray().tolist() == (2 * np.eye(3)).tolist()


def test_a_result_that_depends_on_nothing_is_zero():
    for mode in ("forward", "reverse"):
        J = wg.jacobian(lambda x: (x * 2, np.ones(2)), sparse=np.eye(5, 3), mode=mode)(np.ones(3))
        assert [block.toarray().tolist() for block in J] == [(2 * np.eye(3)).tolist(), np.zeros((2, 3)).tolist()]


def test_the_result_may_be_changed():
    J = wg.jacobian(tridiagonal, sparse=banded(8, -1, 0, 1))
    first = J(np.ones(8))
    expected = first.toarray()
    first.indices[:] = 0
    first.data[:] = 0
    np.testing.assert_array_equal(J(np.ones(8)).toarray(), expected)


def test_sparse_jacobians_are_differentiated():
    x, v = np.linspace(-1.0, 1.0, 7), np.arange(7.0)
    pattern = banded(7, -1, 0, 1)
    sparsely = wg.grad(lambda x: np.sum((wg.jacobian(tridiagonal, sparse=pattern)(x) @ v) ** 2))(x)
    densely = wg.grad(lambda x: np.sum((wg.jacobian(tridiagonal)(x) @ v) ** 2))(x)
    np.testing.assert_allclose(sparsely, densely, rtol=1e-12)


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_a_sparse_jacobian_is_compiled(mode):
    pattern = banded(9, -1, 0, 1)
    plain, compiled = (wrap(wg.jacobian(tridiagonal, sparse=pattern, mode=mode)) for wrap in (lambda f: f, wg.jit))
    for k in range(3):
        x = np.linspace(-1.0, k, 9)
        J = compiled(x)
        assert isinstance(J, sparse.csr_array)
        np.testing.assert_allclose(J.toarray(), plain(x).toarray(), rtol=1e-14)
        J.data[:] = J.indices[:] = 0  # it is the caller's
    with_other = wg.jit(lambda x: {"J": wg.jacobian(tridiagonal, sparse=pattern, mode=mode)(x), "f": tridiagonal(x)})
    for k in range(2):
        x = np.linspace(-1.0, k, 9)
        both = with_other(x)
        np.testing.assert_allclose(both["J"].toarray(), plain(x).toarray(), rtol=1e-14)
        np.testing.assert_allclose(both["f"], tridiagonal(x))


# ---- Patterns that wengert finds ----


def bratu(u):
    """Return an energy on a square grid whose Hessian has five diagonals."""
    side = int(np.sqrt(u.size))
    u = u.reshape(side, side)
    return np.sum((u[1:] - u[:-1]) ** 2) + np.sum((u[:, 1:] - u[:, :-1]) ** 2) - np.sum(np.exp(u))


def exchange(z):
    """Return the rates of two fields that react and diffuse on a periodic grid."""
    u, v = z.reshape(2, 12, 12)
    diffused = [np.roll(a, 1, 0) + np.roll(a, -1, 0) + np.roll(a, 1, 1) + np.roll(a, -1, 1) - 4 * a for a in (u, v)]
    return np.concatenate([(u * u * v - u + diffused[0]).ravel(), (u - u * u * v + diffused[1]).ravel()])


def looped(x):
    """Return a chain's state after some steps of a loop."""
    return wg.fori_loop(0, 3, lambda i, x: x + 0.1 * np.sin(np.concatenate([x[1:], x[:1]])), x)


FUNCTIONS = {
    "tridiagonal": (tridiagonal, 20, 3),
    "exchange": (exchange, 288, 6),
    "looped": (looped, 12, 4),
    "elementwise": (lambda x: np.exp(x) * x, 9, 1),
    "sums of rows": (lambda x: np.sum(x.reshape(4, 5) ** 2, axis=1), 20, 1),
    "branches": (lambda x: np.where(x > 0, x * x[::-1], x), 11, 2),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_pattern_is_found_and_few_passes_are_made(name):
    f, n, passes = FUNCTIONS[name]
    x = np.random.default_rng(0).normal(size=n)
    J = wg.jacobian(f, sparse=True)(x)
    np.testing.assert_allclose(J.toarray(), wg.jacobian(f)(x), rtol=1e-13, atol=1e-15)
    assert taken(f, x).passes == passes


@pytest.mark.parametrize("f", [rosenbrock, bratu, lambda x: np.sum(x[0] * x[1:] ** 2) + np.sum(x**4)])
def test_the_pattern_of_a_hessian_is_found(f):
    x = np.random.default_rng(0).normal(size=49)
    H, expected = wg.hessian(f, sparse=True)(x), wg.hessian(f)(x)
    np.testing.assert_allclose(H.toarray(), expected, rtol=1e-12, atol=1e-12 * np.abs(expected).max())
    assert H.nnz < 49 * 49 / 4


@pytest.mark.filterwarnings("ignore::wengert.errors.CompressionWarning")
@pytest.mark.filterwarnings("ignore::wengert.errors.DomainWarning")
@pytest.mark.filterwarnings("ignore::wengert.errors.DecisionWarning")
@settings(max_examples=60, deadline=None)
@given(random_programs(), points())
def test_sparse_jacobians_of_random_programs_are_the_dense_ones(f, x):
    J, expected = wg.jacobian(f, sparse=True)(x), wg.jacobian(f)(x)
    np.testing.assert_allclose(J.toarray(), expected.reshape(J.shape), rtol=1e-10, atol=1e-12 * np.abs(expected).max())


def test_a_pattern_is_found_once_for_a_structure_and_again_for_other_constants(monkeypatch):
    calls = []
    find = compressions.pattern_of
    monkeypatch.setattr(compressions, "pattern_of", lambda *args, **more: calls.append(1) or find(*args, **more))
    f = wg.jacobian(lambda x, A: A @ np.sin(x), sparse=True)
    rng = np.random.default_rng(3)
    for size in (7, 60):  # constants that are kept, and those of which a digest is
        del calls[:]
        A = np.eye(size)
        x = rng.normal(size=size)
        for k in range(3):
            assert f(x + k, A).nnz == size
        assert len(calls) == 1
        A[2, 5] = 3.0  # in place
        np.testing.assert_allclose(f(x, A).toarray(), wg.jacobian(lambda x: A @ np.sin(x))(x))  # noqa: B023
        assert len(calls) == 2


def test_indices_that_differ_have_patterns_of_their_own():
    f = wg.jacobian(lambda x, k: np.sin(x[k]), sparse=True)
    x = np.linspace(0.0, 1.0, 30)
    for k in (np.arange(20), np.arange(10, 30), 29 - np.arange(20)):
        np.testing.assert_allclose(f(x, k).toarray(), np.diag(np.cos(x))[k])


def test_a_function_that_decides_by_values_has_the_pattern_of_its_branch():
    f = wg.jacobian(lambda x: x * x if x[0] > 0 else x * x[::-1], sparse=True)
    np.testing.assert_allclose(f(np.array([1.0, 2.0, 3.0])).toarray(), np.diag([2.0, 4.0, 6.0]))
    np.testing.assert_allclose(f(np.array([-1.0, 2.0, 3.0])).toarray(), [[3, 0, -1], [0, 4, 0], [3, 0, -1]])


@pytest.fixture
def free_patterns(monkeypatch):
    """Let the pattern cost nothing, so that small Jacobians are compressed as large ones are."""
    for name in ("FINDING", "FINDING_LINE", "FINDING_ENTRY"):
        monkeypatch.setattr(choice, name, 0)


@pytest.mark.usefixtures("free_patterns")
def test_a_fault_in_a_pattern_that_was_found_is_no_wrong_number(monkeypatch):
    find = compressions.pattern_of

    def faulty(linearization, most=None):
        ((pattern,),) = find(linearization)
        pattern = pattern.tolil()
        pattern[3, 4] = False
        return [[pattern.tocsr()]]

    monkeypatch.setattr(compressions, "pattern_of", faulty)
    for sparse_or_auto in (True, "auto"):
        with pytest.raises(PatternError, match=r"pattern that was found lacks .*\(3, 4\)"):
            wg.jacobian(lambda x: tridiagonal(x) * 2, sparse=sparse_or_auto)(np.linspace(-1.0, 1.0, 17))


def test_a_dense_jacobian_is_warned_of():
    with pytest.warns(CompressionWarning, match="gains nothing: 9 passes for a Jacobian of 9 rows and 9 columns"):
        J = wg.jacobian(lambda x: np.cumsum(np.sin(x)), sparse=True)(np.ones(9))
    np.testing.assert_allclose(J.toarray(), wg.jacobian(lambda x: np.cumsum(np.sin(x)))(np.ones(9)))


def test_a_sparse_jacobian_of_a_million_variables_takes_no_more_than_its_entries():
    x = np.cos(np.arange(200_000.0))
    J = wg.jacobian(tridiagonal, sparse=True)(x)
    assert J.nnz == 3 * x.size - 2
    v = np.sin(np.arange(200_000.0))
    np.testing.assert_allclose(J @ v, wg.jvp(tridiagonal, (x,), (v,))[1], rtol=1e-12, atol=1e-12)


def test_trees_and_several_arguments_have_patterns_of_their_own():
    f = lambda p, k, y: {"u": p["a"] * y[0], "v": np.outer(y, p["a"][:2] ** k)}  # noqa: E731
    p, y = {"a": np.array([1.0, 2.0, 3.0])}, np.array([0.5, 4.0])
    sparsely, densely = (wg.jacobian(f, argnums=(0, 2), sparse=on)(p, 2, y) for on in (True, False))
    for key, size in (("u", 3), ("v", 4)):
        for k, take in ((0, lambda J: J["a"]), (1, lambda J: J)):
            block = take(sparsely[key][k])
            np.testing.assert_allclose(block.toarray(), np.reshape(take(densely[key][k]), (size, -1)))
    patterns = wg.jacobian_sparsity(f, argnums=(0, 2))(p, 2, y)
    given_back = wg.jacobian(f, argnums=(0, 2), sparse=patterns)(p, 2, y)
    np.testing.assert_array_equal(given_back["v"][0]["a"].toarray(), sparsely["v"][0]["a"].toarray())


def test_a_jacobian_that_does_not_change_is_compiled():
    compiled = wg.jit(wg.jacobian(np.diff, sparse=True))
    for k in range(3):
        J = compiled(np.linspace(0.0, k, 6))
        np.testing.assert_allclose(J.toarray(), wg.jacobian(np.diff)(np.ones(6)))
        J.data[:] = 7.0  # it is the caller's
    assert not compiled.declined


def test_a_pattern_that_was_found_is_compiled_once():
    compiled = wg.jit(wg.jacobian(exchange, sparse=True))
    for k in range(3):
        z = np.random.default_rng(k).normal(size=288)
        np.testing.assert_allclose(compiled(z).toarray(), wg.jacobian(exchange)(z), rtol=1e-13)
    assert not compiled.declined


# ---- Left to choose ----


@pytest.mark.usefixtures("free_patterns")
def test_auto_compresses_where_that_halves_the_passes_and_returns_an_array(monkeypatch):
    compressions = []
    evaluate = compressed.Compression.evaluate
    monkeypatch.setattr(
        compressed.Compression, "evaluate", lambda *args: compressions.append(args[0].passes) or evaluate(*args)
    )
    x = np.linspace(-1.0, 1.0, 20).reshape(4, 5)
    banded_matrix = lambda x: tridiagonal(x.ravel()).reshape(5, 4)  # noqa: E731
    for f, passes in ((banded_matrix, [3]), (lambda x: np.cumsum(np.sin(x)), []), (lambda x: np.sum(x**2, 0), [])):
        del compressions[:]
        J = wg.jacobian(f, sparse="auto")(x)
        assert isinstance(J, np.ndarray)
        np.testing.assert_allclose(J, wg.jacobian(f, sparse=False)(x), rtol=1e-13)
        assert compressions == passes
    H = wg.hessian(rosenbrock, sparse="auto")(x.ravel())
    np.testing.assert_allclose(H, wg.hessian(rosenbrock, sparse=False)(x.ravel()), rtol=1e-13, atol=1e-13)


def test_auto_leaves_complex_arguments_and_trees_as_they_are():
    z = np.linspace(0.0, 1.0, 20) + 1j
    np.testing.assert_allclose(wg.jacobian(lambda z: z * z, sparse="auto")(z), np.diag(2 * z))
    p = {"a": np.linspace(0.0, 1.0, 20), "b": 2.0}
    sparsely, densely = (wg.jacobian(lambda p: p["a"] ** 2 * p["b"], sparse=on)(p) for on in ("auto", False))
    for key in "ab":
        np.testing.assert_allclose(sparsely[key], densely[key])


@pytest.fixture
def small_machine(monkeypatch):
    monkeypatch.setattr(dense, "quarter_of_memory", lambda: 1 << 33)


def test_auto_says_that_an_array_would_be_too_large(small_machine):
    x = np.cos(np.arange(200_000.0))
    with pytest.warns(CompressionWarning, match=r"as an array it would take 298\.0 GiB"):
        J = wg.jacobian(tridiagonal, sparse="auto")(x)
    assert J.nnz == 3 * x.size - 2


@pytest.mark.parametrize("sparse", ["yes", None])
def test_other_choices_are_refused(sparse):
    for transformation in (wg.jacobian, wg.hessian):
        with pytest.raises(ArgumentError, match="is unknown"):
            transformation(np.sin, sparse=sparse)
    with pytest.raises(ArgumentError, match="makes no passes to compress"):
        wg.jacobian(np.sin, sparse=True, mode="elimination")


def test_the_plan_has_compressed_passes_where_they_halve_the_passes():
    x = np.linspace(-1.0, 1.0, 30)
    plan = wg.plan(tridiagonal)(x)
    assert list(plan)[:2] == ["forward", "reverse"] or list(plan)[:2] == ["reverse", "forward"]
    name = list(plan)[2]
    assert plan[name].passes == 3
    assert plan[name].operations < plan[plan.chosen].operations / 5
    assert "wg.jacobian(f, sparse=True) takes 3 passes" in plan.notes[-1]
    assert name in str(plan)
    with pytest.MonkeyPatch.context() as patch:
        for limit in ("FINDING", "FINDING_LINE", "FINDING_ENTRY"):
            patch.setattr(choice, limit, 0)
        assert wg.plan(tridiagonal)(x).chosen == name
    assert wg.plan(tridiagonal, sparse=True)(x).chosen == wg.jacobian(tridiagonal, sparse=True).plan(x).chosen == name
    assert list(wg.plan(tridiagonal)(x[:8])) == list(plan)[:2]
    assert list(wg.plan(lambda x: np.cumsum(np.sin(x)))(x)) == ["forward", "reverse"]


def test_the_plan_of_a_jacobian_that_is_too_large_marks_the_compressed_passes(small_machine):
    plan = wg.plan(tridiagonal)(np.cos(np.arange(100_000.0)))
    assert plan.chosen.endswith("-compressed")
    assert plan.reason.startswith(f"{plan.chosen}: 3 passes instead of 100,000; ")
    assert plan.notes[-1] == "Jacobian: 100,000 x 100,000 dense, 74.5 GiB; 299,998 entries sparse, 3.8 MiB"


def test_the_plan_counts_forward_and_reverse_passes_of_a_compression_by_both():
    f = lambda x: np.concatenate([[np.sum(x**2)], x[1:] * x[0]])  # noqa: E731
    candidate = wg.plan(f)(np.ones(40))["bi-compressed"]
    forward, reverse = (wg.plan(f)(np.ones(40))[name].one_pass for name in ("forward", "reverse"))
    assert candidate.passes == 3
    assert candidate.products == candidate.all_passes.products
    assert candidate.all_passes in (2 * forward + reverse, forward + 2 * reverse)
