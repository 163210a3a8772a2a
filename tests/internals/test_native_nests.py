"""Nests over arrays of any size: every form of them against NumPy, and how accurate sums are."""

from __future__ import annotations

import ctypes
import math
import re

import numpy as np
import pytest

from wengert.compilation.native import joining
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
    np.testing.assert_allclose(total, expected.sum(axis=1), rtol=1e-13, atol=1e-14)


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


def compute_in_place(op, results, arrays, dying):
    """Compute values from copies of arrays, some of which the kernel may write into; check that it leaves the rest."""
    kernel = lower_nests(op, results, "k")
    text = "\n".join([write_declarations(kernel), write_kernel(kernel)])
    symbols = {symbol: address_of(symbol) for symbol in symbols_of(kernel)}
    compiled = compile_texts([text], "kernel", symbols, False)  # without LLVM's passes, which take long
    passed = [np.array(a, order="C") for a in arrays]
    outputs = [np.empty(v.shape) for k, v in enumerate(results) if k not in kernel.in_place]
    work = [np.full(b.size, np.nan) for b in kernel.arguments if b.role == "work"]
    memory = [*passed, *outputs, *work]
    assert len(memory) == len(kernel.arguments)
    pointers = (ctypes.c_void_p * len(memory))(*[a.ctypes.data for a in memory])
    assert ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(compiled.address)(pointers, None) == 0
    written = set(kernel.in_place.values())
    assert written <= dying
    for k, (before, after) in enumerate(zip(arrays, passed, strict=True)):
        assert k in written or np.array_equal(before, after)
    rest = iter(outputs)
    return [passed[kernel.in_place[k]] if k in kernel.in_place else next(rest) for k in range(len(results))]


PARTS = (
    lambda a: a[1:-1, 1:-1],
    lambda a: a[2:, 1:-1],
    lambda a: a[:-2, 1:-1],
    lambda a: a[1:-1, 2:],
    lambda a: a[1:-1, :-2],
    lambda a: a[2:, 2:],
    lambda a: a[-2::-1, 1:-1][:-1],
)
LINES = (lambda a: a[:, 3], lambda a: a[:, 4], lambda a: a[2], lambda a: a[3], lambda a: a[::2, 5], lambda a: a[:, -1])


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("n", [9, 80])
def test_parts_are_written_in_place_where_the_old_ones_are_not_read_later(seed, n):
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=(n, n)) for _ in range(3)]
    dying = {k for k in range(3) if rng.random() < 0.8}
    op = Expressions()
    mine = [op.argument(a.shape, "d", a.strides, dying=k in dying) for k, a in enumerate(arrays)]
    truth = [a.copy() for a in arrays]

    def pick():
        k = int(rng.integers(max(0, len(mine) - 4), len(mine))) if rng.random() < 0.8 else int(rng.integers(len(mine)))
        return mine[k], truth[k]

    for _ in range(int(rng.integers(1, 9))):
        (a, x), (b, y) = pick(), pick()
        kind = rng.integers(5)
        if kind == 0:  # a part of one array is written to another, or to itself
            at, of = rng.choice(len(PARTS), 2)
            v, w = op("multiply", op.move(PARTS[of], b), 0.5), PARTS[of](y) * 0.5
            z = x.copy()
            PARTS[at](z)[...] = w
            new = op.assemble((n, n), a, [Part(v, PARTS[at], False)])
        elif kind == 1:  # a row or column
            at, of = rng.choice(len(LINES), 2)
            v, w = op.move(LINES[of], b), LINES[of](y)
            v, w = op("add", v, v), w + w
            z = x.copy()
            if LINES[at](z).shape != w.shape:
                v, w = 0.25, 0.25
            LINES[at](z)[...] = w
            new = op.assemble((n, n), a, [Part(v, LINES[at], False)])
        elif kind == 2:  # the adjoint of a stencil
            t, u = op("multiply", op.move(PARTS[0], b), 0.2), PARTS[0](y) * 0.2
            chosen = [PARTS[k] for k in rng.choice(6, int(rng.integers(1, 6)), replace=False)]
            z, total = x.copy(), np.zeros((n, n))
            if rng.random() < 0.5:
                z[1:-1, 1:-1] = 0.0
                a = op.assemble((n, n), a, [Part(0.0, PARTS[0], False)])
            for part in chosen:
                part(total)[...] += u
            z = z + total
            new = op("add", a, op.assemble((n, n), 0.0, [Part(t, part, True) for part in chosen]))
        elif kind == 3:
            z, new = x + y, op("add", a, b)
        else:
            z, new = x * 0.5 + np.sum(y, 1)[:, None] * 0.1, None
            total = op.fold("add", b, (1,), True)
            new = op("add", op("multiply", a, 0.5), op("multiply", total, 0.1))
        mine.append(new)
        truth.append(z)
    chosen = [len(mine) - 1, *[k for k in range(3, len(mine) - 1) if rng.random() < 0.3]]
    results = compute_in_place(op, [mine[k] for k in chosen], arrays, dying)
    for k, result in zip(chosen, results, strict=True):
        np.testing.assert_allclose(result, truth[k], rtol=1e-12, atol=1e-12)


def test_a_column_is_written_without_a_copy_of_the_rest():
    x = RNG.normal(size=(300, 40))
    op = Expressions()
    a = op.argument(x.shape, "d", x.strides, dying=True)
    new = op.assemble(x.shape, a, [Part(op("exp", op.move(lambda x: x[:, 2], a)), lambda x: x[:, 3], False)])
    kernel = lower_nests(op, [new], "k")
    assert kernel.in_place == {0: 0}
    assert [str(s) for s in kernel.statements] == ["for i < 300:", "return 0"], kernel
    late = op.assemble(x.shape, a, [Part(op("exp", op.move(lambda x: x[1:, 3], a)), lambda x: x[:-1, 3], False)])
    (result,) = compute_in_place(op, [late], [x], {0})  # the next element is read before it is overwritten: a copy
    assert lower_nests(op, [late], "k").in_place == {0: 0}
    expected = x.copy()
    expected[:-1, 3] = np.exp(x[1:, 3])
    np.testing.assert_allclose(result, expected, rtol=1e-14)
    most = op.assemble(x.shape, a, [Part(op("exp", op.move(lambda x: x[1:], a)), lambda x: x[:-1], False)])
    assert not lower_nests(op, [most], "k").in_place


def test_the_adjoint_of_a_stencil_is_one_nest_and_borders():
    op = Expressions()
    g, t = (op.argument(shape, "d", (8 * shape[1], 8)) for shape in ((90, 90), (88, 88)))
    erased = op.assemble((90, 90), g, [Part(0.0, lambda a: a[1:-1, 1:-1], False)])
    adjoint = op("add", erased, op.assemble((90, 90), 0.0, [Part(t, part, True) for part in PARTS[:5]]))
    kernel = lower_nests(op, [adjoint], "k")
    nests = [s for s in kernel.statements if isinstance(s, Nest)]
    assert sum(s.counts == (86, 86) for s in nests) == 1
    assert all(min(s.counts) <= 2 for s in nests if s.counts != (86, 86) and len(s.counts) > 1)


@pytest.mark.parametrize("shape", [(40, 20), (7, 64), (3, 200), (5, 6, 40), (900, 3)])
@pytest.mark.parametrize("layout", range(5))
def test_rows_are_computed_one_after_the_other(monkeypatch, shape, layout):
    monkeypatch.setattr(joining, "FEWEST_STEPS", 1)
    x = list(layouts(RNG.normal(size=shape)))[layout]
    op = Expressions()
    v = enter(op, x)
    e = op("exp", op("subtract", v, op.fold("maximum", v, (-1,), True)))
    y = op("divide", e, op.fold("add", e, (-1,), True))
    centered = op("subtract", y, op.fold("add", op("multiply", y, y), (-1,), True))
    turned = op("multiply", op.move(lambda a: a[::-1], y), op.fold("add", centered, None, True))
    ones = np.exp(x - x.max(-1, keepdims=True))
    softmax = ones / ones.sum(-1, keepdims=True)
    less = softmax - np.sum(softmax * softmax, -1, keepdims=True)
    for result, expected in zip(
        run(op, [y, centered, turned], x), [softmax, less, softmax[::-1] * less.sum()], strict=True
    ):
        np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-12)


def test_joined_rows_take_the_memory_of_one():
    op = Expressions()
    v = enter(op, RNG.normal(size=(3000, 100)))
    e = op("exp", op("subtract", v, op.fold("maximum", v, (1,), True)))
    kernel = lower_nests(op, [op("divide", e, op.fold("add", e, (1,), True))], "k")
    assert len([s for s in kernel.statements if isinstance(s, Nest)]) == 1
    assert [buffer.role for buffer in kernel.arguments] == ["argument", "result"]
    assert max(buffer.size for buffer in kernel.temporaries) == 100
