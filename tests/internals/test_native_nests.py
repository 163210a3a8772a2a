"""Nests over arrays of any size: every form of them against NumPy, and how accurate sums are."""

from __future__ import annotations

import ctypes
import math
import re

import numpy as np
import pytest

from wengert.compilation.native.engine import _engine, address_of, compile_texts
from wengert.compilation.native.expressions import Expressions, Part
from wengert.compilation.native.layout import fits
from wengert.compilation.native.llvm import symbols_of, write_declarations, write_kernel
from wengert.compilation.native.loops import Nest, walk_statements
from wengert.compilation.native.lowering import NoLoweringError
from wengert.compilation.native.nests import lower_nests

pytestmark = pytest.mark.skipif(not fits(), reason="there is no native code here")

RNG = np.random.default_rng(3)
DTYPES = {"d": float, "?": bool}


def enter(op, array):
    """Return an array in memory as a value."""
    return op.argument(array.shape, array.dtype.char, array.strides)


def run(op, results, *arrays):
    """Compute values from arrays."""
    kernel = lower_nests(op, results, "k")
    text = "\n".join([write_declarations(kernel), write_kernel(kernel)])
    symbols = {symbol: address_of(symbol) for symbol in symbols_of(kernel)}
    compiled = compile_texts([text], "kernel", symbols, kernel.has_nests)
    outputs = [np.empty(value.shape, DTYPES[value.dtype]) for value in results]
    work = [
        np.full(b.size, np.nan if b.dtype == "d" else 1, DTYPES[b.dtype]) for b in kernel.arguments if b.role == "work"
    ]
    memory = [*arrays, *outputs, *work]
    pointers = (ctypes.c_void_p * len(memory))(*[a.ctypes.data for a in memory])
    assert ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(compiled.address)(pointers, None) == 0
    return outputs


def layouts(x):
    """Return arrays of one shape with other strides."""
    yield x
    yield np.asfortranarray(x)
    yield x[::-1]
    yield np.broadcast_to(x[:1], x.shape)
    yield np.repeat(x, 2, -1)[..., ::2]


@pytest.mark.parametrize("n", [1, 2, 31, 63, 64, 100, 512, 513, 1000, 20_001])
def test_one_axis(n):
    x = RNG.normal(size=n)
    op = Expressions()
    v = enter(op, x)
    e = op("exp", op("negative", op("multiply", v, v)))
    largest = op.fold("maximum", v, (-1,), True)
    results = [
        e,
        op.fold("add", e, (0,), False),
        op.fold("minimum", e, None, False),
        op("multiply", e, op("subtract", v, largest)),
        op.fold("add", op("equal", v, largest), (0,), False),
        op.fold("and", op("less_equal", v, largest), (0,), False),
        op.fold("or", op("greater", v, largest), (0,), False),
        op.move(lambda a: a[::-1], e),
        op.fold("multiply", op("copysign", 1.0, v), (0,), True),
    ]
    y = np.exp(-x * x)
    expected = [y, y.sum(), y.min(), y * (x - x.max()), 1.0, True, False, y[::-1], np.prod(np.sign(x), keepdims=True)]
    for result, value in zip(run(op, results, x), expected, strict=True):
        np.testing.assert_allclose(result, value, rtol=1e-14, atol=1e-300)


@pytest.mark.parametrize("shape", [(3, 4), (20, 50), (70, 80), (6, 3, 90), (5, 700), (1, 1), (200, 1)])
@pytest.mark.parametrize("layout", range(5))
def test_folds_along_axes_of_any_layout(shape, layout):
    x = list(layouts(RNG.normal(size=shape)))[layout]
    ndim = len(shape)
    for axes in ((0,), (-1,), tuple(range(ndim)), (0, ndim - 1)):
        op = Expressions()
        v = enter(op, x)
        largest = op.fold("maximum", v, axes, True)
        e = op("exp", op("subtract", v, largest))
        turned = op.move(lambda a: a.T, e)
        results = [
            largest,
            e,
            op.fold("add", e, axes, False),
            op.fold("add", turned, (0,), True),
            op.move(lambda a: a.T, v),
        ]
        m = x.max(axis=axes, keepdims=True)
        y = np.exp(x - m)
        expected = [m, y, y.sum(axis=axes), y.T.sum(axis=0, keepdims=True), x.T]
        for result, value in zip(run(op, results, x), expected, strict=True):
            np.testing.assert_allclose(result, value, rtol=1e-14)


def test_arrays_that_are_put_together():
    x = RNG.normal(size=(30, 40))
    op = Expressions()
    v = enter(op, x)
    square = op("multiply", v, v)
    inner = op.move(lambda a: a[1:-1, 1:-1], square)
    parts = [
        Part(inner, lambda a: a[1:-1, 1:-1], False),
        Part(inner, lambda a: a[2:, 1:-1], True),
        Part(op("exp", inner), lambda a: a[:-2, 2:], True),
        Part(1.0, lambda a: a[::2, 0], True),
    ]
    stacked = op.assemble((2, 30, 40), None, [Part(v, lambda a: a[0], False), Part(square, lambda a: a[1], False)])
    assigned = op.assemble((30, 40), v, [Part(0.5, lambda a: a[3, ...], False)])
    first, second, third = run(op, [op.assemble((30, 40), 0.0, parts), stacked, assigned], x)
    y, s = np.zeros((30, 40)), (x * x)[1:-1, 1:-1]
    y[1:-1, 1:-1] = s
    y[2:, 1:-1] += s
    y[:-2, 2:] += np.exp(s)
    y[::2, 0] += 1.0
    np.testing.assert_allclose(first, y, rtol=1e-14)
    np.testing.assert_array_equal(second, np.stack([x, x * x]))
    x = x.copy()
    x[3] = 0.5
    np.testing.assert_array_equal(third, x)


def test_booleans_selections_and_special_values():
    x = np.array([0.0, -0.0, 1.0, -2.0, np.inf, -np.inf, np.nan, 5e-324] * 20)
    mask = RNG.normal(size=160) > 0
    op = Expressions()
    v, m = enter(op, x), enter(op, mask)
    positive = op("greater", v, 0.0)
    both = op("and", positive, m)
    results = [both, op("select", both, v, op("negative", v)), op("select", m, positive, False), op("add", v, m)]
    got = run(op, results, x, mask)
    p = x > 0
    expected = [p & mask, np.where(p & mask, x, -x), np.where(mask, p, False), x + mask]
    for result, value in zip(got, expected, strict=True):
        np.testing.assert_array_equal(result, value)
        assert result.dtype == value.dtype
    np.testing.assert_array_equal(np.signbit(got[1]), np.signbit(expected[1]))


def test_nan_in_folds_is_nan():
    for n in (5, 100, 3000):
        x = RNG.normal(size=n)
        x[n // 2] = np.nan
        op = Expressions()
        v = enter(op, x)
        results = [op.fold(name, v, (0,), False) for name in ("add", "maximum", "minimum", "multiply")]
        assert np.isnan(run(op, results, x)).all()


@pytest.mark.parametrize("shape", [(1000,), (2_000_000,), (1000, 333), (30_000, 7)])
def test_sums_are_accurate_for_any_number_of_elements(shape):
    """The error is at most 35 roundings of the sum of absolute values; a million additions in turn lose 1,000."""
    x = (RNG.uniform(0.5, 1.5, shape) * np.pi) ** 3
    op = Expressions()
    ((result),) = run(op, [op.fold("add", enter(op, x), tuple(range(x.ndim)), False)], x)
    exact = math.fsum(x.ravel())
    assert abs(result - exact) <= 35 * np.finfo(float).eps / 2 * exact


def test_what_is_dear_is_stored_and_what_is_cheap_is_computed_again():
    def nests(function):
        op = Expressions()
        v = op.argument((1000,), "d", (8,))
        y = op(function, v)
        total = op.fold("add", y, (0,), True)
        kernel = lower_nests(op, [op("divide", y, total)], "k")
        loops = [s for s in walk_statements(kernel.statements) if isinstance(s, Nest)]
        return len(loops), [b.size for b in kernel.arguments if b.role == "work"]

    assert nests("exp")[1] == [1000]
    assert nests("negative")[1] == []


def joined(op, *columns):
    """Return the array of some columns."""
    parts = [Part(column, lambda y, k=k: y[:, k], False) for k, column in enumerate(columns)]
    return op.assemble((*columns[0].shape, len(columns)), None, parts)


def test_what_is_joined_is_computed_in_one_nest():
    x = RNG.normal(size=(3, 500))
    op = Expressions()
    a, b, c = (enter(op, row) for row in x)
    e = op("exp", op("multiply", a, b))
    d = op("divide", e, op("add", op("multiply", c, c), 1.0))
    whole = joined(op, d, op("multiply", d, e), op("sin", d), a)
    kernel = lower_nests(op, [whole, op.fold("add", whole, (1,), False)], "k")
    nests = [s for s in walk_statements(kernel.statements) if isinstance(s, Nest)]
    assert [nest.counts for nest in nests] == [(500,), (500,), (4,)], "one for the columns, and those of their sum"
    A, B, C = x
    E = np.exp(A * B)
    D = E / (C * C + 1)
    expected = np.stack([D, D * E, np.sin(D), A], axis=1)
    y, total = run(op, [whole, op.fold("add", whole, (1,), False)], *x)
    np.testing.assert_allclose(y, expected, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(total, expected.sum(axis=1), rtol=1e-13)


def test_parts_of_other_shapes_and_parts_that_overlap_keep_their_order():
    x = RNG.normal(size=(40, 30))
    op = Expressions()
    v = enter(op, x)
    e = op("exp", v)
    shifted = [Part(e, lambda y: y[:, :30], False), Part(op.move(lambda a: a[:, :1], e), lambda y: y[:, 30:], False)]
    one = op.assemble((40, 31), None, shifted)
    again = [Part(op.move(lambda a: a[:, 1:31], one), lambda y: y, False), Part(v, lambda y: y[:, ::-1], True)]
    other = op.assemble((40, 30), None, again)
    overlapping = [Part(v, lambda y: y, False), Part(op.move(lambda a: a[:, :20], e), lambda y: y[:, 5:25], False)]
    last = op.assemble((40, 30), None, overlapping)
    E = np.exp(x)
    first = np.concatenate([E, E[:, :1]], axis=1)
    laid_over = x.copy()
    laid_over[:, 5:25] = E[:, :20]
    for result, expected in zip(
        run(op, [one, other, last], x), [first, first[:, 1:] + x[:, ::-1], laid_over], strict=True
    ):
        np.testing.assert_allclose(result, expected, rtol=1e-13, atol=1e-14)


def test_columns_far_from_each_other_are_computed_on_vectors():
    x = RNG.normal(size=(20, 500))
    op = Expressions()
    rows = [enter(op, row) for row in x]
    product = rows[0]
    for row in rows[1:]:
        product = op("multiply", product, op("add", op("multiply", row, row), 1.0))
    whole = joined(op, *[op("divide", product, op("add", op("multiply", row, row), 1.0)) for row in rows])
    kernel = lower_nests(op, [whole], "k")
    text = _engine().optimized("\n".join([write_declarations(kernel), write_kernel(kernel)]))
    assert re.search(r"fdiv <[248] x double>", text)
    factors = 1 + x * x
    factors[0] = 1
    np.testing.assert_allclose(run(op, [whole], *x)[0].T, x[0] * np.prod(factors, axis=0) / (1 + x * x), rtol=1e-13)


def test_a_copy_has_no_lowering():
    op = Expressions()
    v = op.argument((4, 5), "d", (40, 8))
    with pytest.raises(NoLoweringError, match="copy"):
        op.move(lambda a: a[[0, 1]], v)
    turned = op.move(lambda a: a.T, op("exp", v))
    x = RNG.normal(size=(4, 5))
    with pytest.raises(NoLoweringError):
        op.move(lambda a: a.reshape(20)[[3]], turned)
    assert run(op, [turned], x)[0].shape == (5, 4)
