"""Arrays of positions in machine code, and what runs along an axis: against NumPy, in every form of index."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import wengert as wg
from wengert.compilation import jit as jit_module
from wengert.compilation.native import lowering
from wengert.compilation.native.layout import fits

pytestmark = [
    pytest.mark.skipif(not fits(), reason="there is no native code here"),
    pytest.mark.filterwarnings("ignore::wengert.errors.DecisionWarning"),
]

RNG = np.random.default_rng(2)


@pytest.fixture(autouse=True, scope="module")
def kernels_after_one_call():
    """Make native code in the second call, by kernels among lines."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jit_module, "calls_before", lambda: 1)
        patch.setattr(lowering, "MOST", -1)
        yield


def compare(function, *args, rtol=1e-12, lines=0):
    """Compare what a function gives by kernels with the plain function; so many lines stay NumPy's."""
    jitted = wg.jit(function)
    for _ in range(3):
        result = jitted(*args)
    expected = function(*args)
    assert result.dtype == expected.dtype
    assert result.shape == expected.shape
    np.testing.assert_allclose(result, expected, rtol=rtol, atol=rtol)
    ((signature),) = jitted._signatures()
    (branch,) = signature.tree.branches
    text = branch.text
    assert sum(" = " in line and "kernel" not in line for line in text.splitlines()) <= lines, text


@st.composite
def indices(draw):
    """Return a shape, and an index of slices, numbers, and arrays of positions or truth values."""
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)))
    lengths = tuple(draw(st.lists(st.integers(1, 3), max_size=2)))
    items: list[object] = []
    axis = 0
    while axis < len(shape) and draw(st.integers(0, 9)):
        n = shape[axis]
        kind = draw(st.sampled_from(["slice", "number", "array", "array", "mask", "rest"]))
        if kind == "rest" and Ellipsis not in [item for item in items if item is Ellipsis]:
            items.append(Ellipsis)
            axis += draw(st.integers(0, len(shape) - axis))
            continue
        if kind == "slice":
            items.append(
                slice(*draw(st.sampled_from([(None,), (1, None), (None, None, -1), (0, -1), (None, None, 2)])))
            )
        elif kind == "number":
            items.append(draw(st.integers(-n, n - 1)))
        elif kind == "mask":
            items.append(np.arange(n) % 2 == 0)
        else:
            places = lengths[draw(st.integers(0, len(lengths))) :]
            items.append(np.random.default_rng(draw(st.integers(0, 99))).integers(-n, n, places))
        axis += 1
    return shape, tuple(items)


def is_position(item):
    """Return whether an item of an index is a number or an array of them."""
    return type(item) is int or (isinstance(item, np.ndarray) and item.dtype != bool)


@settings(max_examples=80, deadline=None)
@given(case=indices(), kind=st.sampled_from("dfDl"), is_computed=st.booleans())
def test_any_index(case, kind, is_computed):
    """An index whose arrays and numbers are computed is put together of places that the function is passed."""
    shape, index = case
    x = (16 * RNG.normal(size=shape)).astype(kind)
    try:
        part = x[index]
    except IndexError:
        assume(False)
    assume(part.size and any(isinstance(item, np.ndarray) for item in index))
    value = RNG.integers(1, 9, part.shape).astype(kind)
    places = [np.asarray(item) for item in index if is_computed and is_position(item)]

    def filled(places):
        rest = iter(places)
        return tuple([next(rest) + 0 if places and is_position(item) else item for item in index])

    def read(x, v, *places):
        y = (x + x)[filled(places)] * v
        return np.sum(y * y, axis=0) if y.ndim else y

    def write(x, v, *places):
        y = x * 2
        y[filled(places)] = v * v
        return y * 3

    def add(x, v, *places):
        y = x * 2
        y[filled(places)] += v
        np.add.at(y, filled(places), v)
        return y * x

    for function in (read, write, add):
        jitted = wg.jit(function)
        for _ in range(3):
            result = jitted(x, value, *places)
        expected = function(x, value, *places)
        assert result.dtype == expected.dtype
        assert result.shape == expected.shape
        np.testing.assert_allclose(result, expected, rtol=1e-5 if kind == "f" else 1e-12)
        if kind == "d" and function is not write:
            gradient = wg.grad(lambda x, v, *p, f=function: np.sum(np.sin(f(x, v, *p))), argnums=(0, 1))
            jitted = wg.jit(gradient)
            for _ in range(3):
                results = jitted(x, value, *places)
            for one, other in zip(results, gradient(x, value, *places), strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11)


def test_positions_that_are_passed():
    """They are data: others need no other code, those outside are NumPy's error, negative ones count from the end."""
    table, ids = RNG.normal(size=(50, 6)), RNG.integers(0, 50, (8, 12))

    def loss(table, ids):
        return np.sum(np.tanh(table[ids].mean(axis=1)) ** 2)

    jitted = wg.jit(wg.grad(loss))
    for other in (ids, ids, ids, ids[::-1], ids - 50, ids.astype(np.int32)):
        np.testing.assert_allclose(jitted(table, other), wg.grad(loss)(table, other), rtol=1e-12)
    signature = next(iter(jitted._signatures()))
    assert signature.tree.branches[0].text.count(" = ") == 1
    for outside in (50, -51, 10**12, -(2**63), 2**63 - 1):
        wrong = ids.copy()
        wrong[3, 3] = outside
        with pytest.raises(IndexError, match="out of bounds for axis 0 with size 50"):
            jitted(table, wrong)
    np.testing.assert_allclose(jitted(table, ids), wg.grad(loss)(table, ids), rtol=1e-12)


def test_positions_that_are_computed():
    x = RNG.normal(size=(40, 5))

    def ranked(x):
        order = np.argsort(x[:, 0])
        y = np.zeros(x.shape)
        y[order] = np.sin(x) * np.arange(40.0)[:, None]
        y[order[:7]] = 3.0
        return y * y[order[::-1]]

    def cells(x):
        cell = np.floor(3 * x).astype(int) % 7
        counts = np.zeros((7, 7))
        np.add.at(counts, (cell[:, 0], cell[:, 1] // 2 - 7), x[:, 2] ** 2)
        return counts[cell[:, 3], cell[:, 0] % -3] * x[:, 1]

    for function in (ranked, cells):
        compare(function, x, lines=2)
        compare(wg.grad(lambda x, f=function: np.sum(f(x) ** 2)), x, rtol=1e-11, lines=2)


@pytest.mark.parametrize("kind", ["l", "i"])
def test_division_of_whole_numbers(kind):
    x = np.array([*range(-40, 40), np.iinfo(kind).max, np.iinfo(kind).min]).astype(kind)
    for divisor in (1, 2, 3, 7, -2, -3, 64, np.iinfo(kind).max, np.iinfo(kind).min):
        y = x.dtype.type(divisor)
        for function in (np.floor_divide, np.remainder, np.fmod):
            compare(lambda x, f=function, y=y: f(x, y) ^ (x + 1), x)
    compare(lambda x: (x % x.dtype.type(-1)) ^ (x + 1), x, lines=3)  # the processor would stop at the least number
    by_zero = wg.jit(lambda x: x // np.zeros_like(x))
    with np.errstate(divide="ignore"):
        for _ in range(3):
            np.testing.assert_array_equal(by_zero(x), 0)


ROWS, COLUMNS = RNG.integers(0, 30, 50), RNG.integers(0, 8, 50)


def test_reading_and_writing_stays_in_one_kernel():
    x, w = RNG.normal(size=(30, 8)), RNG.normal(size=(50, 8))

    def rows(x, w):
        return np.tanh(x[ROWS] * w).sum(axis=1)

    def places(x, w):
        return np.exp(x[ROWS, COLUMNS]) * np.take(w, COLUMNS, axis=1)[:, 3]

    def added(x, w):
        y = np.zeros(x.shape)
        np.add.at(y, ROWS, w * w)
        return y + x

    for function in (rows, places, added):
        compare(function, x, w)
        compare(wg.grad(lambda x, w, f=function: np.sum(f(x, w) ** 2)), x, w, rtol=1e-11)


def test_places_that_are_named_twice():
    """The last assignment counts, and every addition; what is read beside a write is the old value."""
    x = RNG.normal(size=40)
    i = RNG.integers(0, 9, 200)

    def last(x):
        y = 2.0 * x
        y[i] = np.sin(x[:5].sum() + np.arange(200.0))
        return y * y

    def all_of_them(x):
        y = 2.0 * x
        np.add.at(y, i, np.cos(x[i] * np.arange(200.0)))
        return y * y

    def old_values(x):
        y = 2.0 * x
        y[i] = y[i] * 0.5 + y[i[::-1]]
        return y * y

    for function in (last, all_of_them, old_values):
        compare(function, x)


def test_two_layouts_share_tables():
    x = RNG.normal(size=(12, 30))
    function = wg.jit(lambda x: np.exp(x[:, COLUMNS]).sum(axis=1) + np.sin(x[:, COLUMNS[::-1]]).sum(axis=1))
    for array in (x, x, x, np.asfortranarray(x), x[::-1], np.repeat(x, 2, 1)[:, ::2]):
        expected = np.exp(array[:, COLUMNS]).sum(axis=1) + np.sin(array[:, COLUMNS[::-1]]).sum(axis=1)
        np.testing.assert_allclose(function(array), expected, rtol=1e-12)


@pytest.mark.parametrize("shape", [(200,), (7, 30), (30, 7), (4, 5, 6), (1, 40), (40, 1)])
@pytest.mark.parametrize("kind", ["d", "f", "l", "?", "D"])
def test_what_runs_along_an_axis_has_numpys_bits(shape, kind):
    x = (4 * RNG.normal(size=shape)).astype(kind)
    for axis in range(len(shape)):
        for name in ("add", "multiply", "maximum", "minimum"):
            if name != "add" and kind in "?D":
                continue
            run = getattr(np, name).accumulate if name != "add" else np.cumsum
            factors = 1 + x // 4 if kind == "l" else (1 + x / 100).astype(kind)
            values = factors if name == "multiply" else x

            def function(x, run=run, axis=axis):
                y = run(x, axis=axis)
                return np.where(np.abs(y) > 0, y, y[::-1])

            # products of a few elements, and extrema of whole numbers, are written in pairs
            rtol = 0 if name != "multiply" else 4e-6 if kind == "f" else 1e-14
            lines = 9 * (name == "multiply" or (name != "add" and kind == "l"))
            compare(function, values, rtol=rtol, lines=lines)
            compare(function, np.asfortranarray(values), rtol=rtol, lines=lines)


def test_special_values_of_what_runs():
    x = np.tile([-0.0, 1.0, np.inf, 2.0, np.nan, -1.0, 0.0], (6, 6))
    for name in ("maximum", "minimum"):
        jitted = wg.jit(lambda x, name=name: getattr(np, name).accumulate(x, axis=1) * 1.0 + 0 * x[:, :1])
        for _ in range(3):
            with np.errstate(all="ignore"):
                np.testing.assert_array_equal(jitted(x), getattr(np, name).accumulate(x, axis=1) + 0 * x[:, :1])
    zeros = np.full((4, 20), -0.0)
    jitted = wg.jit(lambda x: -np.cumsum(x, axis=1))
    for _ in range(3):
        np.testing.assert_array_equal(np.signbit(jitted(zeros)), np.signbit(-np.cumsum(zeros, axis=1)))
