"""NumPy's surface: every function, ufunc method, array method and index, NumPy itself beside the trace."""

from __future__ import annotations

import contextlib
import functools
import warnings

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import truth
from agreement import assert_close, assert_first_order, assert_second_order, assert_single_precision
from hypothesis import given
from hypothesis import strategies as st
from numpy_surface import CASES, INDICES, MASK, METHODS_OF_UFUNCS, on

import wengert as wg

LISTED = [
    *[(function.__name__, f, many) for function, cases in CASES.items() for f, many in cases],
    *[("ufunc", f, many) for f, many in METHODS_OF_UFUNCS],
]
POINTS = [
    pytest.param(f, shapes, id=f"{name}-{k}-{'-'.join(map(str, shapes)).replace(' ', '')}")
    for k, (name, f, many) in enumerate(LISTED)
    for shapes in many
]
NOT_EMPTY = [p for p in POINTS if 0 not in sum(p.values[1], ())]


def point(shapes, seed=5):
    """Draw arguments whose elements are all different and lie away from simple fractions."""
    rng = np.random.default_rng(seed)
    sizes = [int(np.prod(shape)) for shape in shapes]
    values = 0.117 + 0.017 * (seed - 5) + 0.37 * (rng.permutation(sum(sizes)) - sum(sizes) // 2)
    parts = np.split(values, np.cumsum(sizes)[:-1])
    return [part.reshape(shape)[()] for part, shape in zip(parts, shapes, strict=True)]


@functools.cache
def smooth_point(f, shapes):
    """Draw a point away from jumps and kinks, where differences can be trusted."""
    for seed in range(5, 100):
        args = point(shapes, seed)
        with contextlib.suppress(ValueError, IndexError):  # shapes that change on the way
            if np.asarray(f(*args)).dtype == np.float32 or truth.steady(bent(f), args, range(len(args))):
                return args
    raise AssertionError("no point away from the kinks")


def bent(f):
    return lambda *xs: 1.0 * f(*[x + 0.1 * x * x for x in xs])


@pytest.fixture(autouse=True)
def _numpys_own_warnings():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'where' used without 'out'")
        yield


@pytest.mark.parametrize(("f", "shapes"), POINTS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_values_shapes_and_dtypes_are_those_of_numpy(f, shapes, dtype):
    args = [np.asarray(a, dtype)[()] for a in point(shapes)]
    expected = np.asarray(f(*args))
    eps = 8 * np.finfo(np.float32 if np.float32 in (dtype, expected.dtype) else dtype).eps
    for value in (wg.linearize(f, *args)[0], wg.trace(f)(*args)(*args)):
        assert np.shape(value) == expected.shape
        assert np.asarray(value).dtype == expected.dtype
        np.testing.assert_allclose(value, expected, rtol=eps, atol=eps)


@pytest.mark.parametrize(("f", "shapes"), POINTS)
def test_derivatives_are_right(f, shapes):
    args = smooth_point(f, shapes)
    if np.asarray(f(*args)).dtype == np.float64:
        assert_first_order(bent(f), args)


@pytest.mark.parametrize(("f", "shapes"), NOT_EMPTY)
def test_second_derivatives_are_right(f, shapes):
    args = smooth_point(f, shapes)
    if np.asarray(f(*args)).dtype == np.float64:
        assert_second_order(bent(f), args)
