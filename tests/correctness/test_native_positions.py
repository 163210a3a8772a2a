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


@settings(max_examples=80, deadline=None)
@given(case=indices(), kind=st.sampled_from("dfDl"))
def test_any_index(case, kind):
    shape, index = case
    x = (16 * RNG.normal(size=shape)).astype(kind)
    try:
        part = x[index]
    except IndexError:
        assume(False)
    assume(part.size and any(isinstance(item, np.ndarray) for item in index))
    value = RNG.integers(1, 9, part.shape).astype(kind)

    def read(x, v):
        y = (x + x)[index] * v
        return np.sum(y * y, axis=0) if y.ndim else y

    def write(x, v):
        y = x * 2
        y[index] = v * v
        return y * 3

    def add(x, v):
        y = x * 2
        y[index] += v
        np.add.at(y, index, v)
        return y * x

    for function in (read, write, add):
        jitted = wg.jit(function)
        for _ in range(3):
            result = jitted(x, value)
        expected = function(x, value)
        assert result.dtype == expected.dtype
        assert result.shape == expected.shape
        np.testing.assert_allclose(result, expected, rtol=1e-5 if kind == "f" else 1e-12)
        if kind == "d" and function is not write:
            gradient = wg.grad(lambda x, v, f=function: np.sum(np.sin(f(x, v))), argnums=(0, 1))
            jitted = wg.jit(gradient)
            for _ in range(3):
                results = jitted(x, value)
            for one, other in zip(results, gradient(x, value), strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11)


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
