"""Second derivatives and what is made of them: Lagrangians, products, diagonals, traces, trees of blocks.

The truth is the Hessian by eighth-order differences of the plain function, or what mathematics says it is.
"""

from __future__ import annotations

import math
import pickle

import mpmath
import numpy as np
import pytest
import scipy.optimize
import truth
from agreement import assert_close
from hypothesis import given, settings
from hypothesis import strategies as st

import wengert as wg
from wengert.accumulation import coloring, compressed
from wengert.accumulation.coloring import structure_of
from wengert.accumulation.compressed import Diagonal, star
from wengert.errors import ArgumentError, CompressionWarning, ResultError, SizeError

RNG = np.random.default_rng(4)


def hessian_by_differences(f, x, *args):
    """Return the dense Hessian by a vector, each entry from second differences along two directions."""
    n = x.size
    H = np.zeros((n, n))
    unit = np.eye(n)

    def along(direction):
        return truth.second_differences(lambda x: f(x, *args), [x], [direction])

    for i in range(n):
        for j in range(i + 1):
            H[i, j] = H[j, i] = (along(unit[i] + unit[j]) - along(unit[i] - unit[j])) / 4
    return H


def jacobian_by_differences(f, x):
    return truth.differences(f, [x], 0).reshape(-1, x.size)


# ---- Lagrangians ----


def constraints(x):
    return np.array([x[0] * x[1] - np.cos(x[2]), x[1] ** 3 * x[0], np.exp(x[2]) - x[3] * x[0]])


def lagrangian(x, w):
    return w @ constraints(x)


X, W = RNG.uniform(0.5, 1.5, 4), RNG.normal(size=3)


@pytest.mark.parametrize("sparse", [False, True, "auto"])
def test_the_hessian_of_a_lagrangian_in_x(sparse):
    H = wg.hessian(lagrangian, sparse=sparse)(X, W)
    assert_close(H.toarray() if sparse is True else H, hessian_by_differences(lagrangian, X, W), 1e-9)


@pytest.mark.parametrize("sparse", [False, True])
def test_the_hessian_of_a_lagrangian_in_x_and_w_is_a_saddle_point_matrix(sparse):
    (H, B), (C, D) = wg.hessian(lagrangian, argnums=(0, 1), sparse=sparse)(X, W)
    if sparse:
        H, B, C, D = (block.toarray() for block in (H, B, C, D))
    J = jacobian_by_differences(constraints, X)
    assert_close(H, hessian_by_differences(lagrangian, X, W), 1e-9)
    assert_close(B, J.T, 1e-9)
    assert_close(C, J, 1e-9)
    assert_close(D, np.zeros((3, 3)), 1e-15)


def test_the_hessian_in_w_alone_is_zero():
    assert_close(wg.hessian(lagrangian, argnums=1)(X, W), np.zeros((3, 3)), 1e-15)
    assert wg.hessian(lagrangian, argnums=-1, sparse=True)(X, W).nnz == 0


def test_products_with_the_hessian_of_a_lagrangian():
    v = RNG.normal(size=4)
    expected = hessian_by_differences(lagrangian, X, W) @ v
    assert_close(wg.hvp(lagrangian)(X, v, W), expected, 1e-9)
    assert_close(wg.hvp(lagrangian)(X, v, w=W), expected, 1e-9)
    assert_close(wg.jit(wg.hvp(lagrangian))(X, v, W), expected, 1e-9)
    columns = wg.vmap(wg.hvp(lagrangian), in_axes=(None, 0, None))(X, np.eye(4), W)
    assert_close(columns, hessian_by_differences(lagrangian, X, W), 1e-9)


@pytest.mark.parametrize("sparse", [False, True])
def test_scipy_minimizes_under_constraints_with_hessians_of_lagrangians(sparse):
    """The Hessian of ``w @ c(x)`` is what `scipy.optimize.NonlinearConstraint` takes as ``hess(x, w)``."""

    def cost(x):
        return np.sum((x - 2.0) ** 2)

    def on_curves(x):
        return np.array([x @ x - 3.0, x[0] * x[1] - x[2]])

    constraint = scipy.optimize.NonlinearConstraint(
        on_curves, 0, 0, jac=wg.jacobian(on_curves), hess=wg.hessian(lambda x, w: w @ on_curves(x), sparse=sparse)
    )
    done = scipy.optimize.minimize(
        cost, np.array([1.5, 0.5, 0.2]), jac=wg.grad(cost), hess=wg.hessian(cost), constraints=constraint,
        method="trust-constr", options={"gtol": 1e-10},
    )  # fmt: skip
    np.testing.assert_allclose(done.x, np.ones(3), rtol=1e-6)


# ---- Gauss-Newton products ----


def residual(x, scale=1.0):
    return scale * np.array([x[0] * x[1], np.sin(x[2]) - x[3], np.exp(x[0] - x[3]), x[2], x[1] ** 2])


def softplus(r):
    return np.sum(np.logaddexp(0.0, r) * np.arange(1.0, 1.0 + r.size)) + r[0] * r[1]


V = RNG.normal(size=4)


@pytest.mark.parametrize("transformed", [lambda F: F, wg.jit], ids=["eager", "jit"])
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_a_gauss_newton_product_is_that_of_the_jacobian(transformed, scale):
    J = scale * jacobian_by_differences(residual, X)
    product = transformed(wg.gauss_newton(residual))
    assert_close(product(X, V, scale), J.T @ (J @ V), 1e-9)
    assert_close(product(X, V, scale=scale), J.T @ (J @ V), 1e-9)
    H = hessian_by_differences(softplus, residual(X, scale))
    product = transformed(wg.gauss_newton(residual, softplus))
    assert_close(product(X, V, scale), J.T @ (H @ (J @ V)), 1e-8)


def test_it_is_the_hessian_where_the_residual_is_linear():
    A, b = RNG.normal(size=(6, 4)), RNG.normal(size=6)

    def linear(x):
        return A @ x - b

    assert_close(wg.gauss_newton(linear)(X, V), A.T @ A @ V, 1e-13)
    assert_close(wg.gauss_newton(linear, softplus)(X, V), wg.hvp(lambda x: softplus(linear(x)))(X, V), 1e-12)


def test_a_softmax_has_its_known_gauss_newton_matrix():
    """For the cross-entropy of logits r the Hessian of the loss is diag(p) - p p^T, whatever the label."""
    label = 2

    def cross_entropy(r):
        return np.log(np.sum(np.exp(r))) - r[label]

    J = jacobian_by_differences(residual, X)
    p = np.array([float(mpmath.exp(r)) for r in residual(X)])
    p /= p.sum()
    expected = J.T @ (np.diag(p) - np.outer(p, p)) @ J @ V
    assert_close(wg.gauss_newton(residual, cross_entropy)(X, V), expected, 1e-9)


def test_gauss_newton_products_of_trees():
    def of_tree(p, k):
        return {"a": k * p["u"][0] * p["v"], "b": (p["u"][1] * np.sum(p["v"] ** 2),)}

    def flat(x):
        return np.concatenate([2.0 * x[0] * x[2:], [x[1] * np.sum(x[2:] ** 2)]])

    p = {"u": (0.5, 2.0), "v": np.array([1.0, -1.0])}
    v = {"u": (1.0, 0.3), "v": np.array([0.2, -0.7])}
    J = jacobian_by_differences(flat, np.array([0.5, 2.0, 1.0, -1.0]))
    expected = J.T @ J @ np.array([1.0, 0.3, 0.2, -0.7])
    product = wg.gauss_newton(of_tree)(p, v, 2.0)
    assert_close([*product["u"], *product["v"]], expected, 1e-9)
    again = wg.gauss_newton(of_tree, lambda r: 0.5 * (np.sum(r["a"] ** 2) + r["b"][0] ** 2))(p, v, 2.0)
    assert_close([*again["u"], *again["v"]], expected, 1e-9)


def test_scipy_takes_gauss_newton_products():
    t = np.linspace(0.0, 1.0, 20)
    data = 2.0 * np.exp(-3.0 * t)

    def misfit(p):
        return p[0] * np.exp(-p[1] * t) - data

    def cost(p):
        return 0.5 * np.sum(misfit(p) ** 2)

    done = scipy.optimize.minimize(
        cost, np.array([1.0, 1.0]), jac=wg.grad(cost), hessp=wg.gauss_newton(misfit), method="trust-ncg"
    )
    np.testing.assert_allclose(done.x, [2.0, 3.0], rtol=1e-5)


def test_what_gauss_newton_is_called_with():
    with pytest.raises(ArgumentError, match="gauss_newton takes a function, and was given the number 2"):
        wg.gauss_newton(residual, 2.0)
    with pytest.raises(ArgumentError, match="tangent 0 has shape"):
        wg.gauss_newton(residual)(X, np.ones(3))
    with pytest.raises(ResultError, match="a gradient is that of a real scalar"):
        wg.gauss_newton(residual, lambda r: 2 * r)(X, V)
    product = pickle.loads(pickle.dumps(wg.gauss_newton(residual, softplus)))
    assert_close(product(X, V), wg.gauss_newton(residual, softplus)(X, V), 0)
    assert repr(wg.gauss_newton(residual)) == "gauss_newton(residual)"


# ---- Diagonals and traces ----


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def bratu(u):
    u = u.reshape(6, 6)
    steps = [u - np.roll(u, 1, axis) for axis in (0, 1)]
    return np.sum(sum(0.5 * step * step for step in steps) - np.exp(u))


def arrowhead(x):
    return np.sum(x[0] ** 2 * x[1:] ** 2 + x[1:] ** 4)


def dense(x):
    return np.log(np.sum(np.exp(x * np.arange(1, x.size + 1))))


def triangles(x):
    return np.sum(x[0::3] * x[1::3] * x[2::3] ** 2)


FUNCTIONS = {rosenbrock: (10, 2), bratu: (36, 2), arrowhead: (9, 2), dense: (5, 5), triangles: (12, 1)}
"""With the number of variables, and of the products that the diagonal takes: of triangles x[2::3] alone is squared."""


@pytest.mark.parametrize("f", FUNCTIONS)
def test_a_diagonal_takes_few_products(f, monkeypatch):
    n, expected = FUNCTIONS[f]
    passes = []

    def counted(linearization, colors, *executor):
        passes.append(colors.count)
        return push_colors(linearization, colors, *executor)

    push_colors = compressed.push_colors
    monkeypatch.setattr(compressed, "push_colors", counted)
    x = RNG.uniform(0.5, 1.5, n)
    H = hessian_by_differences(f, x)
    scale = np.abs(H).max()
    assert_close(wg.hessian_diagonal(f)(x) / scale, np.diag(H) / scale, 1e-8)
    assert_close(wg.laplacian(f)(x) / scale, np.trace(H) / scale, 1e-8)
    assert_close(wg.hessian_diagonal(f, sparse=False)(x) / scale, np.diag(H) / scale, 1e-8)
    assert passes == [expected, expected, n]


@pytest.mark.parametrize("f", FUNCTIONS)
@pytest.mark.parametrize("make", [wg.hessian_diagonal, wg.laplacian])
def test_diagonals_are_compiled_mapped_and_differentiated(f, make):
    n, _ = FUNCTIONS[f]
    points = RNG.uniform(0.5, 1.5, (3, n))
    derivative = make(f)
    expected = np.array([derivative(x) for x in points])
    jitted = wg.jit(derivative)
    for x, value in zip(points, expected, strict=True):
        assert_close(jitted(x), value, 1e-12)
    assert_close(wg.vmap(derivative)(points), expected, 1e-12)
    assert_close(wg.jacobian(derivative)(points[0]), truth.differences(derivative, [points[0]], 0), 1e-7)


def test_diagonals_of_several_arguments_and_trees():
    def f(p, k, w):
        return np.sum(p["a"] ** 3 * w) * k**2 + p["b"][0] * k

    p, w = {"a": np.array([[1.0, 2.0], [3.0, 4.0]]), "b": [5.0]}, np.array([[1.0, -1.0], [2.0, 0.5]])
    of_p, of_k = wg.hessian_diagonal(f, argnums=(0, 1))(p, 2.0, w)
    assert_close(of_p["a"], 4.0 * 6 * p["a"] * w, 1e-13)
    assert_close(of_p["b"][0], 0.0, 1e-15)
    assert_close(of_k, 2 * np.sum(p["a"] ** 3 * w), 1e-13)
    total = np.sum(4.0 * 6 * p["a"] * w) + 2 * np.sum(p["a"] ** 3 * w)
    assert_close(wg.laplacian(f, argnums=(0, 1))(p, 2.0, w), total, 1e-13)
    assert_close(wg.hessian_diagonal(f, argnums=-1)(p, 2.0, w), np.zeros((2, 2)), 1e-15)


def test_auxiliary_output_and_numbers():
    diagonal, aux = wg.hessian_diagonal(lambda x: (x**3, "beside"), has_aux=True)(2.0)
    assert (float(diagonal), aux) == (12.0, "beside")
    assert wg.laplacian(lambda x: (x**3, "beside"), has_aux=True)(2.0)[1] == "beside"
    assert wg.hessian_diagonal(lambda x: np.sum(x**2))(np.ones(3, np.float32)).dtype == np.float32
    assert wg.hessian_diagonal(lambda x: 3.0)(np.ones(3)).tolist() == [0.0] * 3
    assert wg.hessian_diagonal(lambda x: np.sum(x))(np.ones(0)).shape == (0,)


def test_the_diagonal_is_that_of_a_harmonic_function():
    """The Laplacian of a fundamental solution vanishes, and that of a power of the radius is known (mpmath)."""
    x = np.array([0.3, -0.8, 1.1])
    assert abs(wg.laplacian(lambda x: 1 / np.sqrt(x @ x))(x)) < 1e-13
    r = mpmath.sqrt(mpmath.fsum([mpmath.mpf(float(a)) ** 2 for a in x]))
    power = mpmath.mpf("2.5")
    expected = power * (power + 1) * r ** (power - 2)
    assert_close(wg.laplacian(lambda x: (x @ x) ** 1.25)(x), float(expected), 1e-13)


@st.composite
def symmetric_patterns(draw):
    n = draw(st.integers(1, 14))
    bits = draw(st.lists(st.booleans(), min_size=n * n, max_size=n * n))
    lower = np.tril(np.array(bits).reshape(n, n))
    return lower | lower.T


@settings(max_examples=150, deadline=None)
@given(symmetric_patterns())
def test_neighbors_differ_and_the_diagonal_is_read_whatever_the_pattern(pattern):
    compression = Diagonal.of(structure_of(pattern))
    colors = compression.columns.colors
    on_diagonal = np.diag(pattern)
    for i, j in np.argwhere(pattern):
        if i != j and on_diagonal[i] and on_diagonal[j]:
            assert colors[i] != colors[j]
    assert np.array_equal(colors >= 0, on_diagonal)
    weights = np.random.default_rng(0).normal(size=pattern.shape)
    H = pattern * (weights + weights.T)
    assert_close(wg.hessian_diagonal(lambda x: 0.5 * x @ (H @ x))(np.ones(len(H))), np.diag(H), 1e-13)
    if np.all(on_diagonal):
        assert compression.passes <= star(structure_of(pattern)).passes


@pytest.mark.parametrize("shape", [(40, 40), (41, 41), (12, 12, 12), (1000,)], ids=["2-D", "odd", "3-D", "1-D"])
def test_stencils_have_two_colors(shape):
    def energy(u):
        return sum(np.sum(np.diff(u.reshape(shape), axis=axis) ** 4) for axis in range(len(shape)))

    assert Diagonal.of(wg.hessian_sparsity(energy)(np.ones(math.prod(shape)))).passes == 2


def test_neighbors_across_corners_take_four_colors():
    def energy(u):
        u = u.reshape(12, 12)
        return np.sum((u[1:, 1:] + u[:-1, :-1] + u[1:, :-1] + u[:-1, 1:]) ** 4)

    pattern = wg.hessian_sparsity(energy)(np.ones(144))
    assert Diagonal.of(pattern).passes == 4
    assert star(pattern).passes == 9


def test_odd_cycles_take_three_colors():
    ring = structure_of(np.roll(np.eye(7), 1, 0) + np.roll(np.eye(7), -1, 0) + np.eye(7))
    assert coloring.color_symmetric(ring, "proper").count == 3


def test_products_one_by_one_are_warned_of_where_they_are_many():
    x = np.linspace(0.0, 0.1, 300)
    with pytest.warns(CompressionWarning, match="takes 300 products with it, one for each variable"):
        diagonal = wg.hessian_diagonal(dense)(x)
    assert_close(wg.hessian_diagonal(dense, sparse=False)(x), diagonal, 1e-13)  # and says nothing


def test_a_pattern_that_does_not_fit_the_memory_is_left_out(monkeypatch):
    def fail(*_):
        raise SizeError("the pattern is too large")

    monkeypatch.setattr("wengert.planning.choice.find_pattern", lambda *_, **__: fail())
    assert_close(wg.hessian_diagonal(rosenbrock)(X), np.diag(wg.hessian(rosenbrock)(X)), 1e-13)


def test_complex_arguments_are_refused():
    with pytest.raises(ArgumentError, match="one of real arguments"):
        wg.hessian_diagonal(lambda z: np.sum(np.abs(z) ** 2))(np.ones(3) * 1j)


# ---- Trees of blocks ----


def of_trees(p, q):
    return {"u": p["a"] * q, "v": [p["b"][0] * p["b"][1], (np.sum(p["a"]), q[:2] ** 2)]}


P, Q = {"a": np.array([1.0, 2.0, 3.0]), "b": (np.array([1.0, -1.0]), 2.0)}, np.array([0.5, 1.5, 2.5])


def flat_of_trees(x):
    done = of_trees({"a": x[:3], "b": (x[3:5], x[5])}, x[6:])
    return np.concatenate([done["u"], done["v"][0], [done["v"][1][0]], done["v"][1][1]])


@pytest.mark.parametrize("sparse", [False, True, "auto"])
def test_the_jacobian_of_deep_trees_is_a_tree_of_blocks(sparse):
    blocks = wg.jacobian(of_trees, argnums=(0, 1), sparse=sparse)(P, Q)

    def row(block, height):
        of_p, of_q = block
        parts = [of_p["a"], of_p["b"][0], of_p["b"][1], of_q]
        parts = [part.toarray() if sparse is True else part for part in parts]
        return np.hstack([np.reshape(part, (height, -1)) for part in parts])

    J = np.vstack([row(blocks["u"], 3), row(blocks["v"][0], 2), row(blocks["v"][1][0], 1), row(blocks["v"][1][1], 2)])
    assert_close(J, jacobian_by_differences(flat_of_trees, np.concatenate([P["a"], P["b"][0], [P["b"][1]], Q])), 1e-9)


@pytest.mark.parametrize("sparse", [False, True])
def test_the_hessian_of_a_tree_is_a_tree_of_trees(sparse):
    def f(p):
        return np.sum(p["a"] ** 2 * p["c"]["d"]) * p["b"][0] + p["c"]["e"][0] ** 3

    def flat(x):
        return np.sum(x[:2] ** 2 * x[3:5]) * x[2] + x[5] ** 3

    p = {"a": np.array([1.0, 2.0]), "b": [0.5], "c": {"d": np.array([-1.0, 3.0]), "e": (2.0,)}}
    H = wg.hessian(f, sparse=sparse)(p)

    def leaves(tree):
        return [tree["a"], tree["b"][0], tree["c"]["d"], tree["c"]["e"][0]]

    sizes = (2, 1, 2, 1)
    rows = [
        [
            np.reshape(block.toarray() if sparse else block, (height, width))
            for block, width in zip(leaves(row), sizes, strict=True)
        ]
        for row, height in zip(leaves(H), sizes, strict=True)
    ]
    x = np.array([1.0, 2.0, 0.5, -1.0, 3.0, 2.0])
    assert_close(np.block(rows), hessian_by_differences(flat, x), 1e-9)


# ---- Adjoints of pieces, pushed together ----


def test_the_pieces_of_an_adjoint_are_pushed_in_one_line():
    v = np.linspace(-1.0, 1.0, 6)
    program = wg.trace(lambda x: wg.hvp(rosenbrock)(x, v))(np.ones(6))
    assert [line.primitive.name for line in program.lines].count("put") == 1
    x = RNG.uniform(0.5, 1.5, 6)
    expected = hessian_by_differences(rosenbrock, x) @ v
    assert_close(program(x) / 1e3, expected / 1e3, 1e-9)
    jitted = wg.jit(wg.hvp(rosenbrock))
    for _ in range(3):
        assert_close(jitted(x, v) / 1e3, expected / 1e3, 1e-9)
