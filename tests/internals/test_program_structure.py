"""The structure of a Program: what the key holds and what is particular, against programs that are alike or not."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from wengert.program.structure import all_same, exactly, kind_of, same, structure

A, B = np.arange(1500.0), np.arange(1500.0) + 1.0


def of(f, x=2.0, longest=None):
    return structure(wg.trace(f)(x), longest)


@pytest.mark.parametrize(
    ("f", "g", "x"),
    [
        (lambda x: 2.0 * x, lambda x: 3.0 * x, 2.0),
        (lambda x: x * A[:3], lambda x: x * B[:3], 2.0),
        (lambda x: np.exp(x)[1], lambda x: np.exp(x)[2], np.ones(3)),
        (lambda x: np.exp(x)[1:, 1], lambda x: np.exp(x)[1:, 0], np.ones((3, 2))),
    ],
)
def test_programs_that_are_alike_have_one_key(f, g, x):
    one, other = of(f, x), of(g, x)
    assert one.key == other.key
    assert len(one.particulars) == len(other.particulars)


@pytest.mark.parametrize(
    ("f", "g", "x"),
    [
        (lambda x: 2.0 * x, lambda x: 2 * x, 2.0),
        (lambda x: 2.0 * x, lambda x: x * 2.0, 2.0),
        (lambda x: x * A[:3], lambda x: x * A[:2], 2.0),
        (lambda x: x * A[:3], lambda x: x * A[:3].astype(int), 2.0),
        (lambda x: np.sin(x), lambda x: np.cos(x), 2.0),
        (lambda x: np.sum(np.exp(x)[1:]), lambda x: np.sum(np.exp(x)[:-1]), np.ones(3)),
        (lambda x: np.sum(x, axis=0), lambda x: np.sum(x, axis=1), np.ones((2, 2))),
        (lambda x: x if x > 1 else -x, lambda x: x if x > 3 else -x, 2.0),
        (lambda x: x if x > 1 else -x, lambda x: x, 2.0),
    ],
)
def test_programs_that_are_not_alike_have_other_keys(f, g, x):
    assert of(f, x).key != of(g, x).key


def test_particulars_come_in_the_order_of_the_lines():
    found = of(lambda x: 2.0 * np.exp(x)[1] + 3.0 * int(x[2]), np.array([1.0, 2.0, 4.0]))
    assert found.particulars == [1, 2.0, 2, 12.0, 4]


def test_a_lasting_key_has_no_long_arrays_among_its_parameters():
    index = np.arange(1500) % 3
    f = lambda x: np.exp(x)[index]  # noqa: E731
    assert of(f, np.ones(3), longest=1024) is None
    one, other = of(f, np.ones(3)), of(lambda x: np.exp(x)[index.copy()], np.ones(3))
    assert one.key == other.key
    assert one.key != of(lambda x: np.exp(x)[index[::-1]], np.ones(3)).key


def test_exact_values():
    assert exactly(0.0) != exactly(-0.0)
    assert exactly(1.0) != exactly(1)
    assert exactly(np.float32(1)) != exactly(np.float64(1))
    assert exactly(True) != exactly(1)
    assert exactly((1, slice(0, 2))) == exactly((1, slice(0, 2)))
    assert exactly(np.array([1.0, np.nan])) == exactly(np.array([1.0, np.nan]))
    with pytest.raises(TypeError):
        exactly(object(), 16)
    with pytest.raises(TypeError):
        exactly(np.ones(17), 16)


def test_same_values():
    assert same(A, A.copy())
    assert not same(A, B)
    assert not same(np.array([0.0]), np.array([-0.0]))
    assert same(float("nan"), float("nan"))
    assert all_same([1, A, "x"], [1, A.copy(), "x"])
    assert not all_same([1], [1, 2])
    assert kind_of(np.ones(2)) != kind_of(np.ones(2, np.float32))
