"""How a reverse sweep adds adjoints up: pieces of arrays as they come, in place where nobody else sees the sum."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import wengert as wg
from wengert.accumulation.adjoints import Adjoints
from wengert.accumulation.sweeps import _multiply_large
from wengert.jacobians import LARGE

RNG = np.random.default_rng(3)


def peak_of(call):
    """Return the result of a call and the peak of memory during it, in bytes."""
    call()  # what is made once is made here
    tracemalloc.start()
    try:
        result = call()
        return result, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# ---- Memory ----


def overlapping(d):
    total = 0.0
    for i in range(d.shape[0]):
        total += np.sum(d[:, i] @ d[:, i:])
    return total


def chosen(d):
    total, rows = 0.0, np.arange(0, d.shape[0], 2)
    for i in range(d.shape[0]):
        total += np.sum(d[rows] * float(i))
    return total


def blocks(d):
    return np.array([overlapping(d), chosen(d)])


def gradient_of_overlapping(d):
    expected = np.zeros_like(d)
    for i in range(len(d)):
        expected[:, i] += d[:, i:].sum(1)
        expected[:, i:] += d[:, i][:, None]
    return expected


def gradient_of_chosen(d):
    n = len(d)
    return np.where(np.arange(n) % 2 == 0, n * (n - 1) / 2, 0.0)[:, None] * np.ones(n)


@pytest.mark.parametrize(
    ("function", "expected"), [(overlapping, gradient_of_overlapping), (chosen, gradient_of_chosen)]
)
def test_adjoints_of_overlapping_parts_are_added_as_they_come(function, expected):
    d = RNG.normal(size=(150, 150))
    gradient, peak = peak_of(lambda: wg.grad(function)(d))
    np.testing.assert_allclose(gradient, expected(d), rtol=1e-10, atol=1e-10)
    assert peak < 12 * d.nbytes  # half of it the record of the lines; all adjoints together would be 75 times as large


def test_blocks_of_adjoints_are_added_as_they_come():
    d = RNG.normal(size=(60, 60))
    jacobian, peak = peak_of(lambda: wg.jacobian(blocks, mode="reverse")(d))
    np.testing.assert_allclose(jacobian[0], gradient_of_overlapping(d))
    np.testing.assert_allclose(jacobian[1], gradient_of_chosen(d))
    assert peak < 60 * d.nbytes  # a block is of two; all adjoints together would be 120 times as large


# ---- Sums ----


def test_pieces_are_put_together_when_they_are_more_than_the_array():
    adjoints = Adjoints(1)
    expected = np.zeros(1000)
    for k in range(5):
        part = RNG.normal(size=700)
        adjoints.add_piece(0, (slice(k, k + 700),), part, (1000,))
        expected[k : k + 700] += part
        assert len(adjoints.pieces.get(0, ())) < 2
    assert 0 in adjoints.owned
    total = adjoints.totals[0]
    assert adjoints.take(0) is total
    np.testing.assert_allclose(total, expected)
    assert adjoints.take(0) is None


def test_pieces_that_fill_the_array_once_are_put_together_once():
    adjoints = Adjoints(1)
    for k in range(2):
        adjoints.add_piece(0, (slice(500 * k, 500 * k + 500),), np.full(500, k + 1.0), (1000,))
    assert len(adjoints.pieces[0]) == 2
    np.testing.assert_array_equal(adjoints.take(0), np.repeat([1.0, 2.0], 500))


def test_what_others_see_is_not_written_to():
    adjoints = Adjoints(2)
    shared, other = np.ones(1000), np.full(1000, 2.0)
    adjoints.add(0, shared)
    adjoints.add(1, shared)
    adjoints.add(0, other)
    adjoints.add(0, other)
    adjoints.add_piece(0, (slice(0, 600),), np.ones(600), (1000,))
    np.testing.assert_array_equal(adjoints.take(0), np.repeat([6.0, 5.0], [600, 400]))
    np.testing.assert_array_equal(adjoints.take(1), np.ones(1000))
    np.testing.assert_array_equal(other, np.full(1000, 2.0))


def test_a_contribution_made_for_the_sum_takes_it():
    adjoints = Adjoints(1)
    first, fresh = np.ones(1000), np.full(1000, 2.0)
    adjoints.add(0, first)
    adjoints.add(0, fresh, fresh=True)
    assert adjoints.totals[0] is fresh
    np.testing.assert_array_equal(first, np.ones(1000))
    np.testing.assert_array_equal(fresh, np.full(1000, 3.0))


def test_pieces_of_another_dtype_are_promoted():
    adjoints = Adjoints(1)
    adjoints.add(0, np.ones(4, np.float32), fresh=True)
    adjoints.add_piece(0, (0,), np.float64(0.1), (4,))
    assert adjoints.take(0)[0] == np.float32(1.0) + np.float64(0.1)


# ---- Products in place ----


def test_a_product_is_written_only_into_what_its_caller_alone_holds():
    kept = np.full(LARGE + 1, 3.0)

    def product(c, later, held=None):
        g = np.full(LARGE + 1, 2.0)
        others = [g] if held else []
        result = _multiply_large(c, g, g.shape, 0, later)
        np.testing.assert_array_equal(result, np.full(LARGE + 1, 6.0))
        return result is g, others

    assert product(kept, ())[0]
    assert not product(kept, (0,))[0]
    assert not product(kept, (), held=True)[0]
    assert product(3.0, (-1,))[0]
    np.testing.assert_array_equal(kept, np.full(LARGE + 1, 3.0))

    def partial():
        c, g = np.full(LARGE + 1, 3.0), np.full(LARGE + 1, 2.0)
        return _multiply_large(c, g, g.shape, 0, ()) is c

    assert partial()


@pytest.mark.parametrize("size", [3, LARGE + 1])
def test_arrays_of_the_user_stay_as_they_are(size):
    x, weights, seed = RNG.normal(size=size), RNG.normal(size=size), RNG.normal(size=size)
    before = x.copy(), weights.copy(), seed.copy()
    _, pull = wg.vjp(lambda x: weights * (x * weights + x[::-1] * x) - x / weights, x)
    first, second = pull(seed), pull(seed)
    np.testing.assert_array_equal(first, second)
    for array, copy in zip((x, weights, seed), before, strict=True):
        np.testing.assert_array_equal(array, copy)
