"""Local Jacobians: push, pull, block, product, sum and sparse form of each structure against its own matrix."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wengert.jacobians import (
    Added,
    Composed,
    Dense,
    Diagonal,
    Erase,
    LeftProduct,
    LocalJacobian,
    Map,
    Permute,
    Place,
    Reshape,
    RightProduct,
    Select,
    Sum,
    Transposed,
    add,
    assemble,
    compose,
    flat_positions,
    is_basic,
    product_counts,
    sum_counts,
    take,
)

RNG = np.random.default_rng(1)


def normal(*shape):
    return RNG.normal(size=shape)


def matrix_of(function, in_shape):
    """Write the matrix of a linear function down, column by column, without the class under test."""
    columns = []
    for index in np.ndindex(*in_shape):
        unit = np.zeros(in_shape)
        unit[index] = 1.0
        columns.append(np.ravel(function(unit)))
    size = np.size(function(np.zeros(in_shape)))
    return np.stack(columns, axis=1) if columns else np.zeros((size, 0))


C, C_VECTOR, A, B, STACK = normal(2, 3), normal(3), normal(4, 2), normal(3, 5), normal(4, 2, 3)
LIST, ROWS = np.array([2, 0, 2]), np.array([[0], [1]])
MASK = np.array([True, False, True])
CUMSUM = Map((3,), (3,), lambda t: np.cumsum(t, -1), lambda g: np.flip(np.cumsum(np.flip(g, -1), -1), -1))


def placed(index, t, shape):
    """Assign as NumPy does: of repeated positions the last one stays."""
    whole = np.zeros(shape)
    whole[index] = t
    return whole


STRUCTURES = {
    "diagonal": (Diagonal(C, (2, 3), (2, 3)), lambda t: C * t),
    "diagonal scalar": (Diagonal(2.5, (), ()), lambda t: 2.5 * t),
    "diagonal one": (Diagonal(1, (3,), (3,)), lambda t: t),
    "diagonal minus one": (Diagonal(-1, (3,), (3,)), lambda t: -t),
    "diagonal two": (Diagonal(2, (3,), (3,)), lambda t: 2 * t),
    "diagonal broadcasts in front": (Diagonal(C, (3,), (2, 3)), lambda t: C * t),
    "diagonal broadcasts a column": (Diagonal(C, (2, 1), (2, 3)), lambda t: C * t),
    "diagonal broadcasts a scalar": (Diagonal(C, (), (2, 3)), lambda t: C * t),
    "diagonal broadcasts a one": (Diagonal(C, (1, 1), (2, 3)), lambda t: C * t),
    "diagonal small partial": (Diagonal(C_VECTOR, (2, 3), (2, 3)), lambda t: C_VECTOR * t),
    "broadcast": (Diagonal(1, (2, 1), (4, 2, 3)), lambda t: np.broadcast_to(t, (4, 2, 3))),
    "diagonal empty": (Diagonal(np.zeros((0, 2)), (1, 2), (0, 2)), lambda t: np.zeros((0, 2)) * t),
    "select one": (Select((1,), (3,)), lambda t: t[1]),
    "select row": (Select((-1,), (2, 3)), lambda t: t[-1]),
    "select slice": (Select((slice(None, None, -2),), (5,)), lambda t: t[::-2]),
    "select column": (Select((Ellipsis, 1), (2, 3)), lambda t: t[..., 1]),
    "select newaxis": (Select((slice(None), None, 0), (2, 3)), lambda t: t[:, None, 0]),
    "select list": (Select((LIST,), (3,)), lambda t: t[LIST]),
    "select list of columns": (Select((slice(None), LIST), (2, 3)), lambda t: t[:, LIST]),
    "select grid": (Select((ROWS, LIST), (2, 3)), lambda t: t[ROWS, LIST]),
    "select apart": (Select((0, slice(None), LIST), (2, 4, 3)), lambda t: t[0, :, LIST]),
    "select mask": (Select((slice(None), MASK), (2, 3)), lambda t: t[:, MASK]),
    "select all": (Select((), ()), lambda t: t[()]),
    "select none": (Select((np.array([], dtype=int),), (3,)), lambda t: t[:0]),
    "sum": (Sum((2, 3), (-2, -1), False), lambda t: np.sum(t)),
    "sum axis": (Sum((2, 3), (-2,), False), lambda t: np.sum(t, 0)),
    "sum kept": (Sum((4, 2, 3), (-3, -1), True), lambda t: np.sum(t, (0, 2), keepdims=True)),
    "sum of nothing": (Sum((0, 3), (-2,), False), lambda t: np.sum(t, 0)),
    "sum of a scalar": (Sum((), (), False), lambda t: t),
    "reshape": (Reshape((2, 3), (3, 2)), lambda t: np.reshape(t, (3, 2))),
    "permute": (Permute((4, 2, 3), (2, 0, 1)), lambda t: np.transpose(t, (2, 0, 1))),
    "left matrix vector": (LeftProduct(A, (2,), (4,)), lambda t: A @ t),
    "left matrix matrix": (LeftProduct(A, (2, 3), (4, 3)), lambda t: A @ t),
    "left vector vector": (LeftProduct(C_VECTOR, (3,), ()), lambda t: C_VECTOR @ t),
    "left vector matrix": (LeftProduct(C_VECTOR, (3, 5), (5,)), lambda t: C_VECTOR @ t),
    "left stack": (LeftProduct(STACK, (3, 5), (4, 2, 5)), lambda t: STACK @ t),
    "left stack of stacks": (LeftProduct(STACK, (4, 3, 5), (4, 2, 5)), lambda t: STACK @ t),
    "left matrix of a stack": (LeftProduct(A, (7, 2, 3), (7, 4, 3)), lambda t: A @ t),
    "right matrix vector": (RightProduct(B, (3,), (5,)), lambda t: t @ B),
    "right matrix matrix": (RightProduct(B, (2, 3), (2, 5)), lambda t: t @ B),
    "right vector vector": (RightProduct(C_VECTOR, (3,), ()), lambda t: t @ C_VECTOR),
    "right vector matrix": (RightProduct(C_VECTOR, (2, 3), (2,)), lambda t: t @ C_VECTOR),
    "right stack": (RightProduct(STACK, (5, 2), (4, 5, 3)), lambda t: t @ STACK),
    "right matrix of a stack": (RightProduct(B, (4, 2, 3), (4, 2, 5)), lambda t: t @ B),
    "place one": (Place((1,), (), (3,)), lambda t: placed((1,), t, (3,))),
    "place row": (Place((0,), (3,), (2, 3)), lambda t: placed((0,), t, (2, 3))),
    "place broadcast": (Place((Ellipsis,), (3,), (2, 3)), lambda t: placed((Ellipsis,), t, (2, 3))),
    "place slice": (Place((slice(1, None),), (2, 1), (3, 4)), lambda t: placed((slice(1, None),), t, (3, 4))),
    "place list": (Place((LIST,), (3,), (4,)), lambda t: placed((LIST,), t, (4,))),
    "place mask": (Place((MASK,), (), (3,)), lambda t: placed((MASK,), t, (3,))),
    "erase one": (Erase((1,), (3,)), lambda t: t * np.array([1.0, 0.0, 1.0])),
    "erase column": (Erase((slice(None), 0), (2, 3)), lambda t: t * np.array([0.0, 1.0, 1.0])),
    "erase list": (Erase((LIST,), (3,)), lambda t: t * np.array([0.0, 1.0, 0.0])),
    "dense": (Dense(normal(6, 4), (4,), (2, 3)), None),
    "map": (CUMSUM, lambda t: np.cumsum(t, -1)),
    "transposed": (Transposed(Select((LIST,), (3,))), None),
    "transposed product": (LeftProduct(A, (2, 3), (4, 3)).T, None),
    "composed": (Composed(Sum((4, 3), (-1,), False), LeftProduct(A, (2, 3), (4, 3))), lambda t: np.sum(A @ t, -1)),
    "added": (Added(CUMSUM, Diagonal(C_VECTOR, (3,), (3,))), lambda t: np.cumsum(t) + C_VECTOR * t),
}


def truth_of(name):
    J, function = STRUCTURES[name]
    if function is not None:
        return matrix_of(function, J.in_shape)
    if isinstance(J, Dense):
        return J.matrix
    inner = next(f for j, f in STRUCTURES.values() if type(j) is type(J.of) and j.in_shape == J.of.in_shape and f)
    inner = (lambda t: t[LIST]) if isinstance(J.of, Select) else inner
    return matrix_of(inner, J.of.in_shape).T


names = pytest.mark.parametrize("name", STRUCTURES)


@names
def test_dense_is_the_matrix(name):
    J, _ = STRUCTURES[name]
    M = J.dense()
    assert M.shape == (math.prod(J.out_shape), math.prod(J.in_shape))
    np.testing.assert_allclose(M, truth_of(name), rtol=1e-14)


@names
def test_push_multiplies_by_the_matrix(name):
    J, _ = STRUCTURES[name]
    t = normal(*J.in_shape)
    pushed = J.push(t)
    assert np.shape(pushed) == J.out_shape
    np.testing.assert_allclose(np.ravel(pushed), truth_of(name) @ np.ravel(t), rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(J @ t, pushed)


@names
def test_pull_multiplies_by_the_transpose(name):
    J, _ = STRUCTURES[name]
    g = normal(*J.out_shape)
    pulled = J.pull(g)
    assert np.shape(pulled) == J.in_shape
    np.testing.assert_allclose(np.ravel(pulled), truth_of(name).T @ np.ravel(g), rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(J.T @ g, pulled)
    np.testing.assert_array_equal(J.T.T @ normal(*J.in_shape) * 0, J.push(normal(*J.in_shape)) * 0)


@names
@pytest.mark.parametrize("count", [1, 3])
def test_a_block_is_its_singles_stacked(name, count):
    J, _ = STRUCTURES[name]
    tangents, adjoints = normal(count, *J.in_shape), normal(count, *J.out_shape)
    pushed, pulled = J.push(tangents, 1), J.pull(adjoints, 1)
    assert pushed.shape == (count, *J.out_shape)
    assert pulled.shape == (count, *J.in_shape)
    for k in range(count):
        np.testing.assert_allclose(pushed[k], J.push(tangents[k]), rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(pulled[k], J.pull(adjoints[k]), rtol=1e-12, atol=1e-14)


@names
def test_sparse_is_dense(name):
    J, _ = STRUCTURES[name]
    np.testing.assert_allclose(J.sparse().toarray(), truth_of(name), rtol=1e-14)


@names
def test_inputs_stay_as_they_are(name):
    J, _ = STRUCTURES[name]
    t, g = normal(*J.in_shape), normal(*J.out_shape)
    before = t.copy(), g.copy()
    J.push(t)
    J.pull(g)
    np.testing.assert_array_equal(t, before[0])
    np.testing.assert_array_equal(g, before[1])


@names
def test_single_precision_stays(name):
    J, _ = STRUCTURES[name]
    if isinstance(J, (Reshape, Select, Permute, Sum)):
        assert J.push(normal(*J.in_shape).astype(np.float32) if J.in_shape else np.float32(1)).dtype == np.float32
        assert J.pull(normal(*J.out_shape).astype(np.float32) if J.out_shape else np.float32(1)).dtype == np.float32


PAIRS = [
    (outer, inner)
    for outer, (J, _) in STRUCTURES.items()
    for inner, (K, _) in STRUCTURES.items()
    if J.in_shape == K.out_shape and math.prod(J.in_shape) * math.prod(K.in_shape) > 0
]


@pytest.mark.parametrize(("outer", "inner"), PAIRS)
def test_products_are_matrix_products(outer, inner):
    J, K = STRUCTURES[outer][0], STRUCTURES[inner][0]
    product = J @ K
    assert isinstance(product, LocalJacobian)
    assert (product.in_shape, product.out_shape) == (K.in_shape, J.out_shape)
    expected = truth_of(outer) @ truth_of(inner)
    np.testing.assert_allclose(product.dense(), expected, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(product.sparse().toarray(), expected, rtol=1e-12, atol=1e-13)
    g = normal(*J.out_shape)
    np.testing.assert_allclose(np.ravel(product.pull(g)), expected.T @ np.ravel(g), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (one, other)
        for one, (J, _) in STRUCTURES.items()
        for other, (K, _) in STRUCTURES.items()
        if (J.in_shape, J.out_shape) == (K.in_shape, K.out_shape) and math.prod(J.in_shape) > 0
    ],
)
def test_sums_are_matrix_sums(left, right):
    J, K = STRUCTURES[left][0], STRUCTURES[right][0]
    total = J + K
    expected = truth_of(left) + truth_of(right)
    np.testing.assert_allclose(total.dense(), expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(total.sparse().toarray(), expected, rtol=1e-12, atol=1e-14)
    g = normal(*J.out_shape)
    np.testing.assert_allclose(np.ravel(total.pull(g)), expected.T @ np.ravel(g), rtol=1e-11, atol=1e-13)


def test_structure_survives_where_it_can():
    diagonal, dense = Diagonal(C_VECTOR, (3,), (3,)), Dense(normal(3, 3), (3,), (3,))
    assert type(compose(diagonal, diagonal)) is Diagonal
    assert type(add(diagonal, diagonal)) is Diagonal
    assert type(compose(dense, dense)) is Dense
    assert type(add(dense, dense)) is Dense
    assert diagonal.T.T is diagonal
    broadcast = Diagonal(C, (3,), (2, 3))
    assert type(compose(Diagonal(C, (2, 3), (2, 3)), broadcast)) is Diagonal


def test_counts():
    assert Diagonal(C, (2, 3), (2, 3)).counts() == {"multiplications": 6}
    assert Diagonal(C, (3,), (2, 3)).counts() == {"multiplications": 6}
    assert Diagonal(1, (3,), (3,)).counts() == Diagonal(-1, (3,), (3,)).counts() == {}
    assert Select((0,), (3,)).counts() == Reshape((2, 3), (6,)).counts() == Permute((2, 3), (1, 0)).counts() == {}
    assert Sum((2, 3), (-1,), False).counts() == {"additions": 4}
    assert LeftProduct(A, (2,), (4,)).counts() == {"multiplications": 8, "additions": 4}
    assert LeftProduct(A, (2, 3), (4, 3)).counts() == {"multiplications": 24, "additions": 12}
    assert RightProduct(B, (2, 3), (2, 5)).counts() == {"multiplications": 30, "additions": 20}
    assert RightProduct(C_VECTOR, (2, 3), (2,)).counts() == {"multiplications": 6, "additions": 4}
    assert Dense(normal(4, 2), (2,), (4,)).counts() == {"multiplications": 8, "additions": 4}
    both = Composed(Diagonal(normal(4), (4,), (4,)), LeftProduct(A, (2,), (4,)))
    assert both.counts() == {"multiplications": 12, "additions": 4}
    assert Added(both, both).counts() == {"multiplications": 24, "additions": 12}
    assert Transposed(both).counts() == both.counts()
    assert product_counts((2, 0), 0) == {"multiplications": 0, "additions": 0}
    assert sum_counts({"a": 1, "b": 2}, {"b": 3, "c": 4}) == {"a": 1, "b": 5, "c": 4}


def test_formulas_are_written_for_every_structure():
    for J, _ in STRUCTURES.values():
        assert "g" in J.formula("g")
        assert repr(J).startswith(type(J).__name__)


# ---- Putting pieces together ----


def test_assemble_adds_repeated_positions_up():
    np.testing.assert_array_equal(assemble([np.ones(4)], [(np.array([1, 1, 1, 0]),)], (3,)), [1.0, 3.0, 0.0])
    np.testing.assert_array_equal(assemble([np.float64(2), np.ones(2)], [(0,), (slice(0, 2),)], (3,)), [3.0, 1.0, 0.0])


def test_assemble_keeps_the_dtype():
    assert assemble([np.float32(2)], [(0,)], (3,)).dtype == np.float32


@pytest.mark.parametrize("count", [0, 1, 2])
def test_assemble_in_blocks(count):
    pieces = normal(count, 3)
    whole = assemble([pieces], [(LIST,)], (4,), batch=1)
    assert whole.shape == (count, 4)
    for k in range(count):
        np.testing.assert_allclose(whole[k], assemble([pieces[k]], [(LIST,)], (4,)))


def test_basic_indices():
    assert is_basic((0, slice(1), None, Ellipsis))
    assert not is_basic((LIST,))
    assert not is_basic((True,))


@st.composite
def indexed(draw):
    """Draw a shape and an index tuple into it, of integers, slices, arrays, newaxis and the ellipsis."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    cut = draw(st.integers(0, len(shape)))
    items, advanced = [], draw(st.booleans())
    length = draw(st.integers(0, 4))
    for size in shape[:cut]:
        kinds = [st.integers(-size, size - 1), st.slices(size)]
        if advanced:
            kinds.append(
                st.lists(st.integers(-size, size - 1), min_size=length, max_size=length).map(lambda v: np.array(v, int))
            )
        items.append(draw(st.one_of(kinds)))
    if draw(st.booleans()):
        items.insert(draw(st.integers(0, len(items))), None)
    if draw(st.booleans()):
        items.append(Ellipsis)
    return shape, tuple(items)


@given(indexed(), st.integers(0, 3))
def test_any_index_is_a_selection(case, count):
    shape, index = case
    x = np.arange(float(math.prod(shape))).reshape(shape)
    J = Select(index, shape)
    np.testing.assert_array_equal(J.push(x), x[index])
    np.testing.assert_array_equal(flat_positions(index, shape), x[index])
    block = normal(count, *shape)
    taken = take(block, index, shape, 1)
    assert taken.shape == (count, *x[index].shape)
    for k in range(count):
        np.testing.assert_array_equal(taken[k], block[k][index])
    g = normal(count, *x[index].shape)
    pulled = J.pull(g, 1)
    assert pulled.shape == (count, *shape)
    for k in range(count):
        expected = np.zeros(shape)
        np.add.at(expected, index, g[k])
        np.testing.assert_allclose(pulled[k], expected, atol=1e-14)


@st.composite
def broadcasts(draw):
    """Draw a shape, and one that broadcasts to it."""
    out = tuple(draw(st.lists(st.integers(0, 3), max_size=3)))
    kept = out[draw(st.integers(0, len(out))) :]
    return tuple(1 if draw(st.booleans()) else size for size in kept), out


@given(broadcasts(), st.integers(0, 2))
def test_any_broadcast_is_a_diagonal(shapes, count):
    in_shape, out_shape = shapes
    c = normal(*out_shape)
    J = Diagonal(c, in_shape, out_shape)
    t, g = normal(count, *in_shape), normal(count, *out_shape)
    pushed, pulled = J.push(t, 1), J.pull(g, 1)
    assert pushed.shape == g.shape
    assert pulled.shape == t.shape
    for k in range(count):
        np.testing.assert_array_equal(pushed[k], c * np.broadcast_to(t[k], out_shape))
        np.testing.assert_allclose(np.sum(pulled[k] * t[k]), np.sum(g[k] * pushed[k]), atol=1e-12)
