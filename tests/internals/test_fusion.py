"""What `fuse` makes of a Program has fewer lines and the same bits, down to the sign of zero."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from wengert.passes.fusion import composed, fuse

VALUES = np.array([0.0, -0.0, 1.0, -1.5, 3.0, 5e-324, -7e-310, 1e-300, 1e300, -1.7e308, np.inf, -np.inf, np.nan])
CONSTANTS = (2.0, -2, 4, 1, 0, -0.0, 0.5, -3.0, 0.1, 1e300, 8.0 * np.ones(len(VALUES)), np.linspace(-2, 2, len(VALUES)))


def expression(rng, values, numbers):
    """Return a function of some random operations, with many changes of sign and constant factors."""
    constants = [c for c in CONSTANTS if not (numbers and np.ndim(c))]
    steps = [(rng.integers(6), rng.integers(100), rng.integers(100), rng.integers(len(constants))) for _ in range(12)]

    def function(*xs):
        made = list(xs)
        for kind, j, k, c in steps:
            a, b, constant = made[-1 - j % 3 % len(made)], made[k % len(made)], constants[c]
            made.append((-a, constant * a, a + b, a - b, a * b, a * constant)[kind])
        return made[-1] if numbers else np.stack(made[2:])

    return function


def bits(value):
    """Return an array of the bits of numbers, all NaN alike."""
    value = np.asarray(value, float)
    return np.where(np.isnan(value), np.nan, value).view(np.int64)


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("numbers", [False, True])
def test_signs_and_doublings_are_exact(seed, numbers):
    rng = np.random.default_rng(seed)
    function = expression(rng, VALUES, numbers)
    points = [(x, y) for x in VALUES for y in VALUES] if numbers else [(VALUES, rng.permutation(VALUES))]
    with np.errstate(all="ignore"):
        program = wg.trace(function, fold=False)(*points[0])
        fused = fuse(program)
        assert len(fused.lines) <= len(program.lines)
        for x, y in points:
            assert np.array_equal(bits(program(x, y)), bits(fused(x, y))), (x, y)


@pytest.mark.parametrize(
    ("function", "before", "after"),
    [
        (lambda x: np.sin(x) + -(3.0 * x), 4, 3),
        (lambda x: x - -np.sin(x), 3, 2),
        (lambda x: 2.0 * x * 100.0, 2, 1),
        (lambda x: -(2.0 * x * 100.0), 3, 1),
        (lambda x: (3.0 * x) * -np.sin(x), 4, 3),
        (lambda x: -np.cos(x) * -np.sin(x), 5, 3),
        (lambda x: np.sin(x)[1:][0], 3, 2),
        (lambda x: np.array([[x[0], x[1]], [x[1], 1.0], [0.5, x[0]]]) @ np.ones(2), 9, 7),
        (lambda x: (y := 3.0 * x) * -y, 3, 3),
    ],
)
def test_what_is_fused(function, before, after):
    x = np.array([0.5, 0.25])
    program = wg.trace(function, fold=False)(x)
    fused = fuse(program)
    assert (len(program.lines), len(fused.lines)) == (before, after)
    assert np.array_equal(program(x), fused(x))


def test_halving_is_no_doubling():
    tiny = 1.5 * 2.0**-1050
    for inner, outer in ((0.5, 3.0), (2.0, 0.25), (3.0, 2.0)):
        program = wg.trace(lambda x, a=inner, b=outer: a * x * b, fold=False)(np.ones(2))
        assert len(fuse(program).lines) == 2
        assert np.array_equal(fuse(program)(np.full(2, tiny)), program(np.full(2, tiny)))


def test_indices_are_composed():
    rng = np.random.default_rng(0)
    array = rng.normal(size=(4, 3, 5))
    count = 0
    items = [0, 1, -1, slice(None), slice(1, 3), slice(None, None, -1), Ellipsis]

    def index(ndim):
        parts = [items[k] for k in rng.integers(len(items) - 1, size=rng.integers(ndim + 1))]
        place = rng.integers(len(parts) + 1)
        return (*parts[:place], Ellipsis, *parts[place:]) if rng.integers(2) else tuple(parts)

    for _ in range(2000):
        first = index(3)
        second = index(array[first].ndim)
        try:
            expected = array[first][second]
        except IndexError:
            continue
        both = composed(first, array.shape, second)
        if both is not None:
            count += 1
            assert np.array_equal(array[both], expected), (first, second, both)
    assert count > 500
