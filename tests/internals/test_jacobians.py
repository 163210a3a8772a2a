"""Local Jacobians: push, pull, block, product, sum and sparse form of each structure against its own matrix."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import wengert as wg
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
    Zero,
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
    "transposed place": (Place((slice(1, None),), (2, 1), (3, 4)).T, None),
    "transposed broadcast": (Diagonal(C, (3,), (2, 3)).T, lambda t: np.sum(C * t, 0)),
    "transposed product": (LeftProduct(A, (2, 3), (4, 3)).T, lambda t: A.T @ t),
    "transposed product from the right": (RightProduct(B, (2, 3), (2, 5)).T, lambda t: t @ B.T),
    "transposed permutation": (Permute((4, 2, 3), (2, 0, 1)).T, lambda t: np.transpose(t, (1, 2, 0))),
    "zero": (Zero((2, 3), (4,)), lambda t: np.zeros(4)),
    "zero of a scalar": (Zero((), ()), lambda t: 0.0 * t),
    "composed": (Composed(Sum((4, 3), (-1,), False), LeftProduct(A, (2, 3), (4, 3))), lambda t: np.sum(A @ t, -1)),
    "transposed composition": (
        Composed(Sum((4, 3), (-1,), False), LeftProduct(A, (2, 3), (4, 3))).T,
        lambda t: A.T @ np.broadcast_to(t[:, None], (4, 3)),
    ),
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


DIAGONAL, DENSE = Diagonal(C_VECTOR, (3,), (3,)), Dense(normal(3, 3), (3,), (3,))
BROADCAST, LEFT, RIGHT = Diagonal(C, (3,), (2, 3)), LeftProduct(A, (2,), (4,)), RightProduct(B, (3,), (5,))
LONG = Dense(normal(300, 1), (1,), (300,)), Dense(normal(1, 300), (300,), (1,))
ROW, EVERY, FIRST = Select((0,), (2, 3)), Sum((2, 3), (-2, -1), False), Select((0,), (3,))


@pytest.mark.parametrize(
    ("outer", "inner", "expected"),
    [
        (DIAGONAL, DIAGONAL, Diagonal),
        (Diagonal(C, (2, 3), (2, 3)), BROADCAST, Diagonal),
        (BROADCAST, DIAGONAL, Diagonal),
        (DENSE, DENSE, Dense),
        (DENSE, DIAGONAL, Dense),
        (BROADCAST, DENSE, Dense),
        (DENSE, Sum((2, 3), (-2,), False), Dense),
        (FIRST, DENSE, Dense),
        (DENSE, Select((0,), (2, 3)), Dense),
        (DENSE, FIRST.T, Dense),
        (DENSE, Select((slice(0, 3),), (3000,)), Composed),  # of 3,000 columns all but three would be zeros
        (*LONG, Composed),
        (*LONG[::-1], Dense),
        (DENSE, CUMSUM, Composed),  # which need not be linear over the complex numbers
        (Select((0,), (3,)), ROW, Select),
        (Select((LIST,), (3,)), ROW, Select),
        (ROW, Reshape((6,), (2, 3)), Select),
        (ROW, Permute((3, 2), (1, 0)), Select),
        (FIRST, FIRST.T, Reshape),
        (FIRST, Select((1,), (3,)).T, Zero),
        (Select((1,), (3,)), Place((1,), (), (3,)), Reshape),
        (Select((1,), (3,)), Erase((0,), (3,)), Select),
        (FIRST, Erase((0,), (3,)), Zero),
        (FIRST, Diagonal(C_VECTOR, (), (3,)), Diagonal),
        (Reshape((2, 3), (6,)), Reshape((3, 2), (2, 3)), Reshape),
        (Reshape((2, 3), (6,)), Reshape((6,), (2, 3)), Diagonal),
        (Permute((2, 3, 4), (1, 2, 0)), Permute((3, 4, 2), (2, 0, 1)), Diagonal),
        (Permute((2, 3, 4), (1, 2, 0)), Permute((3, 2, 4), (1, 0, 2)), Permute),
        (Sum((3,), (-1,), False), Sum((2, 3), (-2,), False), Sum),
        (EVERY, Diagonal(C, (2, 3), (2, 3)), Dense),
        (LEFT, Diagonal(C_VECTOR[:2], (2,), (2,)), LeftProduct),
        (Diagonal(normal(4), (4,), (4,)), LEFT, LeftProduct),
        (LeftProduct(normal(3, 4), (4,), (3,)), LEFT, LeftProduct),
        (Select((1,), (4,)), LEFT, LeftProduct),
        (RIGHT, DIAGONAL, RightProduct),
        (Diagonal(normal(5), (5,), (5,)), RIGHT, RightProduct),
        (RightProduct(normal(5, 2), (5,), (2,)), RIGHT, RightProduct),
        (Zero((3,), (2,)), DENSE, Zero),
        (CUMSUM, Zero((2,), (3,)), Zero),
        (CUMSUM, Diagonal(1, (3,), (3,)), Map),
        (Diagonal(1, (3,), (3,)), CUMSUM, Map),
    ],
)
def test_products_keep_a_structure_where_there_is_one(outer, inner, expected):
    assert type(compose(outer, inner)) is expected


def test_a_product_of_many_is_formed_wherever_neighbors_have_one():
    product = FIRST @ (DIAGONAL @ (DIAGONAL @ Select((0,), (2, 3))))
    assert [type(J) for J in (product.outer, product.inner)] == [Diagonal, Select]
    assert product.counts() == {"multiplications": 1}
    assert type((DENSE @ CUMSUM) @ (CUMSUM.T @ DENSE)) is Composed
    assert (DENSE @ (DENSE @ CUMSUM)).counts() == (DENSE @ CUMSUM).counts()
    assert type(CUMSUM.T.T) is Map


def _terms(J):
    return [*_terms(J.left), *_terms(J.right)] if isinstance(J, Added) else [J]


def test_sums_keep_a_structure_where_there_is_one():
    assert type(add(DIAGONAL, DIAGONAL)) is Diagonal
    assert type(add(DENSE, DENSE)) is Dense
    assert type(add(DIAGONAL, DENSE)) is type(add(DENSE, DIAGONAL)) is Dense
    assert [type(J) for J in _terms(add(DENSE, CUMSUM.T + DENSE))] == [Dense, Transposed]
    assert type(add(Diagonal(1, (3,), (3,)), Diagonal(-1, (3,), (3,)))) is Zero
    assert add(Zero((3,), (3,)), CUMSUM) is add(CUMSUM, Zero((3,), (3,))) is CUMSUM
    assert type(add(LEFT, LEFT)) is LeftProduct
    assert type(add(RIGHT, RIGHT)) is RightProduct
    twice = DIAGONAL @ Select((0,), (2, 3)) + DIAGONAL @ Select((0,), (2, 3))
    assert type(twice) is Composed
    assert twice.counts() == {"multiplications": 3}
    assert type(add(CUMSUM, CUMSUM)) is Added
    assert type(((CUMSUM + DIAGONAL) + DIAGONAL).right) is Diagonal
    assert DIAGONAL.T is DIAGONAL


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


# ---- The algebra, on random shapes ----

SHAPES = st.lists(st.integers(1, 3), max_size=3).map(tuple)


def numbers(draw, shape):
    """Draw the numbers of an array; small whole ones, so that products of a few are exact."""
    size = math.prod(shape)
    return np.array(draw(st.lists(st.integers(-3, 3), min_size=size, max_size=size)), float).reshape(shape)


@st.composite
def structures(draw, in_shape):
    """Draw a structure on arrays of a shape, and beside it the function whose matrix it is, in plain NumPy."""
    n, ndim = math.prod(in_shape), len(in_shape)
    kinds = ["diagonal", "one", "broadcast", "reshape", "dense", "scalar", "put", "zero"]
    kinds += ["sum", "permute", "place"] if in_shape else []
    kinds += ["select", "select list", "erase"] if in_shape and in_shape[0] else []
    kinds += ["left", "right"] if 0 < ndim < 3 else []
    kind = draw(st.sampled_from(kinds))
    if kind in ("one", "scalar", "diagonal"):
        c = {"one": lambda: draw(st.sampled_from([1, -1])), "scalar": lambda: float(draw(st.integers(-3, 3)))}.get(
            kind, lambda: numbers(draw, in_shape)
        )()
        return Diagonal(c, in_shape, in_shape), lambda t: c * t
    if kind == "broadcast":
        out = (draw(st.integers(1, 2)), *(draw(st.integers(1, 3)) if k == 1 else k for k in in_shape))
        c = draw(st.sampled_from([1, numbers(draw, out)]))
        return Diagonal(c, in_shape, out), lambda t: c * np.broadcast_to(t, out)
    if kind == "reshape":
        out = draw(st.sampled_from([(n,), (1, n), (n, 1), in_shape, in_shape[::-1]]))
        return Reshape(in_shape, out), lambda t: np.reshape(t, out)
    if kind == "dense":
        out = draw(SHAPES)
        M = numbers(draw, (math.prod(out), n))
        return Dense(M, in_shape, out), lambda t: (M @ np.ravel(t)).reshape(out)
    if kind == "zero":
        out = draw(SHAPES)
        return Zero(in_shape, out), lambda t: np.zeros(out)
    if kind == "put":
        at = (Ellipsis, draw(st.integers(0, 2)))
        out = (*in_shape, 3)
        return Select(at, out).T, lambda t: placed(at, t, out)
    if kind == "select":
        at = (draw(st.sampled_from([-1, slice(None, None, -1), slice(1, None), slice(None, 1)])),)
        at = (*at, Ellipsis) if draw(st.booleans()) else at
        return Select(at, in_shape), lambda t: t[at]
    if kind == "select list":
        at = (np.array(draw(st.lists(st.integers(0, in_shape[0] - 1), max_size=4)), int),)
        return Select(at, in_shape), lambda t: t[at]
    if kind == "sum":
        axis = tuple(sorted(draw(st.sets(st.integers(-ndim, -1), min_size=1))))
        keepdims = draw(st.booleans())
        return Sum(in_shape, axis, keepdims), lambda t: np.sum(t, axis, keepdims=keepdims)
    if kind == "permute":
        axes = tuple(draw(st.permutations(range(ndim))))
        return Permute(in_shape, axes), lambda t: np.transpose(t, axes)
    if kind == "erase":
        at = (draw(st.integers(0, in_shape[0] - 1)),)
        return Erase(at, in_shape), lambda t: np.where(placed(at, 1.0, in_shape) == 1.0, 0.0, t)
    if kind == "place":
        out = (in_shape[0] + 1, *in_shape[1:])
        at = (slice(1, None),)
        return Place(at, in_shape, out), lambda t: placed(at, t, out)
    if kind == "left":
        M = numbers(draw, (draw(st.integers(1, 3)), in_shape[0]))
        return LeftProduct(M, in_shape, (len(M), *in_shape[1:])), lambda t: M @ t
    M = numbers(draw, (in_shape[-1], draw(st.integers(1, 3))))
    return RightProduct(M, in_shape, (*in_shape[:-1], M.shape[1])), lambda t: t @ M


def agrees(J, M):
    """Compare a structure with its matrix: written down, pushed, pulled, in blocks, and transposed."""
    np.testing.assert_allclose(J.dense(), M, atol=1e-9)
    t, g = normal(2, *J.in_shape), normal(2, *J.out_shape)
    forward, back = t.reshape(2, M.shape[1]) @ M.T, g.reshape(2, M.shape[0]) @ M
    for push, pull in ((J.push, J.pull), (J.T.pull, J.T.push)):
        pushed, pulled = push(t, 1), pull(g, 1)
        assert pushed.shape == g.shape
        assert pulled.shape == t.shape
        np.testing.assert_allclose(pushed.reshape(forward.shape), forward, atol=1e-9)
        np.testing.assert_allclose(pulled.reshape(back.shape), back, atol=1e-9)
        np.testing.assert_allclose(np.reshape(push(t[0]), forward[0].shape), forward[0], atol=1e-9)
        np.testing.assert_allclose(np.reshape(pull(g[1]), back[1].shape), back[1], atol=1e-9)


@given(st.data())
def test_any_product_is_the_product_of_matrices(data):
    shape = data.draw(SHAPES)
    factors = []
    for _ in range(data.draw(st.integers(2, 4))):
        factors.append(data.draw(structures(factors[-1][0].out_shape if factors else shape)))
    matrices = [matrix_of(function, J.in_shape) for J, function in factors]
    right_to_left, M = factors[0][0], matrices[0]
    for (J, _), matrix in zip(factors[1:], matrices[1:], strict=True):
        right_to_left, M = J @ right_to_left, matrix @ M
    left_to_right = factors[-1][0]
    for J, _ in factors[-2::-1]:
        left_to_right = left_to_right @ J
    assert right_to_left.in_shape == left_to_right.in_shape == shape
    assert right_to_left.out_shape == left_to_right.out_shape == factors[-1][0].out_shape
    agrees(right_to_left, M)
    agrees(left_to_right, M)
    agrees(right_to_left.T, M.T)


@given(st.data())
def test_any_sum_is_the_sum_of_matrices(data):
    J, function = data.draw(structures(data.draw(SHAPES)))
    M = matrix_of(function, J.in_shape)
    total, matrix = J, M
    for kind in data.draw(
        st.lists(st.sampled_from(["itself", "scaled", "dense", "zero", "transposed"]), min_size=1, max_size=3)
    ):
        if kind == "itself":
            K, N = J, M
        elif kind == "scaled":
            c = numbers(data.draw, J.out_shape)
            K, N = Diagonal(c, J.out_shape, J.out_shape) @ J, np.ravel(c)[:, None] * M
        elif kind == "dense":
            N = numbers(data.draw, M.shape)
            K = Dense(N, J.in_shape, J.out_shape)
        elif kind == "zero":
            K, N = Zero(J.in_shape, J.out_shape), 0 * M
        else:
            K, N = Transposed(J.T), M
        total, matrix = (total + K, matrix + N) if data.draw(st.booleans()) else (K + total, N + matrix)
    agrees(total, matrix)
    agrees(total @ Diagonal(2.0, J.in_shape, J.in_shape), 2.0 * matrix)


def test_products_of_traced_numbers_are_recorded():
    def f(x):
        J = Dense(np.reshape(x, (2, 3)), (3,), (2,)) @ Diagonal(x[:3], (3,), (3,)) + Dense(np.ones((2, 3)), (3,), (2,))
        return J @ np.ones(3)

    x = np.arange(1.0, 7.0)
    expected = (x.reshape(2, 3) * x[:3] + 1).sum(1)
    np.testing.assert_allclose(f(x), expected)
    np.testing.assert_allclose(wg.trace(f)(x)(x), expected)
