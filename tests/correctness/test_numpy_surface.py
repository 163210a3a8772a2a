"""NumPy's surface: every function, ufunc method, array method and index, NumPy itself beside the trace."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import warnings
from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import test_functions
import truth
from agreement import assert_close, assert_first_order, assert_second_order, assert_single_precision
from hypothesis import given
from hypothesis import strategies as st
from numpy_surface import CASES, INDICES, MASK, METHODS_OF_UFUNCS

import wengert as wg
from wengert.errors import BranchError, LostGradientError, UnsupportedError
from wengert.primitives import CALLS

pytestmark = pytest.mark.filterwarnings("ignore::wengert.errors.DecisionWarning")  # counts and positions are tried, too

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


@pytest.mark.parametrize(("f", "shapes"), NOT_EMPTY)
def test_single_precision_stays(f, shapes):
    if np.asarray(f(*[np.asarray(a, np.float32)[()] for a in point(shapes)])).dtype == np.float32:
        assert_single_precision(f, smooth_point(f, shapes))


@pytest.mark.parametrize(("f", "shapes"), POINTS[::3])
def test_programs_run_as_source(f, shapes):
    args = point(shapes)
    program = wg.trace(f)(*args)
    scope: dict = {}
    exec(program.source(), scope)
    expected = np.asarray(f(*args))
    np.testing.assert_allclose(
        scope[next(n for n in scope if n in (program.name, "f"))](*args), expected, rtol=1e-14, atol=1e-14
    )


# ---- Indexing ----


def assert_indexing(shape, index, x=None):
    """Compare with rows of the identity, to the bit: values, both modes, in blocks and singly, and second order."""
    x = np.random.default_rng(3).normal(size=shape) if x is None else x
    try:
        expected = x[index]
    except (IndexError, ValueError, TypeError) as error:
        with pytest.raises(type(error)):
            wg.linearize(lambda x: x[index], x)
        return
    value, push = wg.linearize(lambda x: x[index], x)
    np.testing.assert_array_equal(value, expected, strict=True)
    unit = np.eye(x.size).reshape(x.size, *shape)
    truth_ = np.stack([np.asarray(e[index]) for e in unit], axis=-1) if x.size else np.zeros((*expected.shape, 0))
    truth_ = truth_.reshape(expected.shape + shape)
    for mode in ("forward", "reverse"):
        np.testing.assert_array_equal(wg.jacobian(lambda x: x[index], mode=mode)(x), truth_)
    t, g = np.random.default_rng(4).normal(size=shape), np.random.default_rng(5).normal(size=expected.shape)
    np.testing.assert_array_equal(push(t), t[index])
    np.testing.assert_allclose(push.T(g), np.tensordot(g, truth_, axes=expected.ndim), rtol=1e-13, atol=1e-13)
    gradient = wg.grad(lambda x: np.sum(g * wg.grad(lambda x: np.sum(x[index] ** 3))(x)[index]))(x)
    weights = np.tensordot(g, truth_, axes=expected.ndim)
    count = np.sum(truth_, axis=tuple(range(expected.ndim)))
    np.testing.assert_allclose(gradient, 6 * x * weights * count, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("index", INDICES, ids=[str(k) for k in range(len(INDICES))])
def test_every_kind_of_index(index):
    assert_indexing((2, 3), index)


@st.composite
def indexed(draw):
    """Draw a shape and an index of an array of it: basic, of integers, of truth values, or a mixture."""
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3))
    kind = draw(st.sampled_from(["basic", "integers", "mask", "mixture", "mixture"]))
    if kind == "basic":
        return shape, draw(hnp.basic_indices(shape, allow_newaxis=True, max_dims=6))
    if kind == "mask":
        axes = draw(st.integers(0, len(shape)))
        return shape, draw(hnp.arrays(bool, shape[:axes]))
    if kind == "integers" and shape and 0 not in shape:
        return shape, draw(hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(max_dims=2, max_side=3)))
    common = draw(hnp.array_shapes(min_dims=0, max_dims=2, min_side=1, max_side=2))
    items = []
    for size in shape:
        what = draw(st.sampled_from(["slice", "integer", "array", "newaxis"]))
        if what == "newaxis":
            items.append(None)
        if what == "integer":
            items.append(draw(st.integers(-size - 1, size)))  # may be out of bounds
        elif what == "array":
            items.append(draw(hnp.arrays(np.intp, common, elements=st.integers(-max(size, 1), max(size - 1, 0)))))
        else:
            items.append(draw(st.slices(size)))
    return shape, tuple(items[: draw(st.integers(0, len(items)))])


@given(indexed())
def test_random_indices(case):
    assert_indexing(*case)


@given(hnp.arrays(float, hnp.array_shapes(max_dims=3, max_side=3), elements=st.floats(-2, 2, width=16)))
def test_masks_that_are_computed(x):
    def f(x):
        return np.sum(x[x > 0] ** 2) + np.sum(x[np.abs(x) < 1])

    np.testing.assert_allclose(wg.grad(f)(x), np.where(x > 0, 2 * x, 0) + (np.abs(x) < 1))
    program = wg.trace(f)(x)
    np.testing.assert_allclose(program(x), f(x))
    other = x - 0.7
    if np.array_equal(other > 0, x > 0) and np.array_equal(np.abs(x) < 1, np.abs(other) < 1):
        np.testing.assert_allclose(program(other), f(other))


def test_a_program_does_not_hold_where_another_number_of_elements_is_chosen():
    for f in (
        lambda x: x[x > 0],
        lambda x: x[np.nonzero(x > 0)],
        lambda x: np.unique(np.round(x)),
        lambda x: np.extract(x > 0, x),
    ):
        program = wg.trace(f)(np.array([1.0, -2.0, 3.0]))
        np.testing.assert_array_equal(
            program(np.array([2.0, -1.0, 5.0])),
            [2.0, 5.0] if len(f(np.ones(3))) != 1 else f(np.array([2.0, -1.0, 5.0])),
        )
        with pytest.raises(BranchError):
            program(np.array([2.0, 2.0, 2.0]))


# ---- What NumPy refuses is refused alike ----

REFUSED = [
    lambda x: np.sum(x, axis=2),
    lambda x: x.mean(axis=(0, 0)),
    lambda x: np.max(x[:, :0]),
    lambda x: np.max(x, where=MASK),
    lambda x: np.average(x, weights=[1.0, 2.0]),
    lambda x: np.average(x, axis=1, weights=[1.0, 2.0]),
    lambda x: np.average(x, weights=np.zeros((2, 3))),
    lambda x: np.cumsum(x, axis=5),
    lambda x: np.quantile(x, 1.5),
    lambda x: np.percentile(x, -3),
    lambda x: np.quantile(x, 0.5, method="none"),
    lambda x: np.reshape(x, (4, 2)),
    lambda x: x.reshape(-1, -1),
    lambda x: np.transpose(x, (0, 0)),
    lambda x: np.transpose(x, (0, 1, 2)),
    lambda x: np.swapaxes(x, 0, 5),
    lambda x: np.moveaxis(x, 0, 5),
    lambda x: np.squeeze(x, axis=0),
    lambda x: np.expand_dims(x, 5),
    lambda x: np.broadcast_to(x, (3, 2)),
    lambda x: np.fliplr(x[0]),
    lambda x: np.rot90(x, axes=(0, 0)),
    lambda x: np.roll(x, (1, 2), axis=(0, 1, 0)),
    lambda x: np.repeat(x, [1, 2]),
    lambda x: np.repeat(x, -1),
    lambda x: np.diag(x[None]),
    lambda x: np.diagonal(x[0]),
    lambda x: np.diagonal(x, 0, 1, 1),
    lambda x: np.stack([x, x[0]]),
    lambda x: np.concatenate([x, x[0]]),
    lambda x: np.concatenate([x[0, 0], x[0, 1]]),
    lambda x: np.hstack([x, x[0]]),
    lambda x: np.split(x, 4),
    lambda x: np.hsplit(x[0, 0], 2),
    lambda x: np.vsplit(x[0], 2),
    lambda x: np.dsplit(x, 2),
    lambda x: np.block([[x], x]),
    lambda x: np.pad(x, -1),
    lambda x: np.pad(x, 1.5),
    lambda x: np.pad(x, 1, mode="none"),
    lambda x: np.pad(x, 1, mode="edge", constant_values=2),
    lambda x: np.take(x, 9),
    lambda x: np.take(x, np.array([1.5, 2.5])),
    lambda x: np.take(x, 1, mode="none"),
    lambda x: np.take_along_axis(x, np.array([0, 1]), axis=1),
    lambda x: np.take_along_axis(x, np.array([[0.5]]), axis=1),
    lambda x: np.choose([0, 5, 1], x[:, :1]),
    lambda x: np.select([x > 0], [x, x]),
    lambda x: np.select([x], [x]),
    lambda x: np.piecewise(x, [x > 0], [1, 2, 3]),
    lambda x: np.where(x > 0, x),
    lambda x: np.clip(x, 0, 1, min=0),
    lambda x: np.sort(x, axis=3),
    lambda x: np.sort(x[0, 0]),
    lambda x: np.partition(x, 7),
    lambda x: np.nonzero(x[0, 0]),
    lambda x: np.searchsorted(x, 0.1),
    lambda x: np.digitize(x, [0.0, 2.0, 1.0]),
    lambda x: np.matmul(x, x),
    lambda x: x @ 2.0,
    lambda x: np.dot(x, x),
    lambda x: np.inner(x, x[:, :2]),
    lambda x: np.tensordot(x, x[:, :2]),
    lambda x: np.tensordot(x, x, 5),
    lambda x: np.tensordot(x, x, ((0,), (1,))),
    lambda x: np.vecdot(x, x[:, :2]),
    lambda x: np.cross(x[:, :1], x),
    lambda x: np.einsum("ij,jk", x, x),
    lambda x: np.einsum("ij->k", x),
    lambda x: np.einsum("ijk", x),
    lambda x: np.einsum("i", x),
    lambda x: np.einsum("ij,ij", x),
    lambda x: np.einsum("ij->ii", x),
    lambda x: np.einsum("i1", x),
    lambda x: np.diff(x[0, 0]),
    lambda x: np.diff(x, n=-1),
    lambda x: np.gradient(x[:1, 0]),
    lambda x: np.gradient(x, 1.0, 2.0, 3.0),
    lambda x: np.gradient(x, edge_order=3),
    lambda x: np.interp(x, [0.0, 1.0], [1.0]),
    lambda x: np.interp(x, [], []),
    lambda x: np.interp(x, [0.0, 1.0], [1.0, 2.0], period=0),
    lambda x: np.convolve(x, x),
    lambda x: np.convolve(x[0], x[0], "none"),
    lambda x: np.convolve(x[0], []),
    lambda x: np.linspace(x, 1.0, -1),
    lambda x: np.bincount([0, 1], weights=x[0]),
    lambda x: np.cov(x[None]),
    lambda x: np.vander(x),
    lambda x: np.unique(x, axis=4),
    lambda x: np.insert(x, 9, 1.0),
    lambda x: np.delete(x, 9),
    lambda x: np.logaddexp.reduce(x, axis=3),
    lambda x: np.subtract.reduce(x, axis=(0, 1)),
    lambda x: np.hypot.accumulate(x[0, 0]),
    lambda x: np.add.reduceat(x, [7]),
    lambda x: np.exp.reduce(x),
    lambda x: np.exp(x, dtype=np.int64),
    lambda x: np.add(x, x, dtype=np.float16, casting="safe"),
    lambda x: x + np.ones(4),
    lambda x: np.maximum(x, np.ones((3, 2))),
    lambda x: x[5],
    lambda x: x[0, 0, 0],
    lambda x: x[[5]],
    lambda x: x[MASK[0]],
    lambda x: x[..., ...],
    lambda x: x[1.0],
    lambda x: x["a"],
    lambda x: x[np.array([0.5])],
    lambda x: len(x[0, 0]),
    lambda x: list(x[0, 0]),
    lambda x: x.astype(np.int32, casting="safe"),
    lambda x: np.fill_diagonal(x[0].copy(), 1.0),
    lambda x: np.round(x, 1, 2, 3),
    lambda x: np.sum(x, axes=1),
]


@pytest.mark.parametrize("f", REFUSED, ids=[str(k) for k in range(len(REFUSED))])
def test_what_numpy_refuses_is_refused_alike(f):
    x = np.arange(6.0).reshape(2, 3) + 0.5
    with pytest.raises(Exception) as numpys:  # noqa: PT011
        f(x)
    if isinstance(numpys.value, (ValueError, TypeError, IndexError, ZeroDivisionError, RuntimeError)):
        with pytest.raises(numpys.type.__mro__[0] if "UFunc" not in numpys.type.__name__ else TypeError):
            wg.linearize(f, x)


# ---- Array methods and attributes ----

METHODS = [
    lambda x: x.take([1, 0], axis=1),
    lambda x: x.repeat(2),
    lambda x: x * x.argsort(axis=1),
    lambda x: x * x.round(0),
    lambda x: x.conj() + x.conjugate(),
    lambda x: x[x.nonzero()],
    lambda x: x.cumprod(axis=1),
    lambda x: x.compress([True, False], axis=0),
    lambda x: (x > 0.3).choose([x, 2 * x]),
    lambda x: x * x[0].searchsorted(0.2),
    lambda x: x.ptp() if hasattr(x, "ptp") and isinstance(x, np.ndarray) else np.ptp(x),
    lambda x: x.mT @ x,
    lambda x: np.array([2.0 * v for v in x.flat]),
    lambda x: x.flat[3] * x.flat[1:3],
    lambda x: sum(v * k[1] for k, v in np.ndenumerate(x)),
    lambda x: x.dot(x.T).trace() * x.diagonal(),
    lambda x: x * x.strides[0] * x.itemsize * x.flags.c_contiguous,
    lambda x: x.ravel().tolist()[2] * x,
    lambda x: (x.copy().sort() or 1.0) * x,
    lambda x: np.stack(list(x)),
    lambda x: x.squeeze().swapaxes(0, 1).transpose(1, 0).flatten(),
    lambda x: abs(-x) + divmod(x, 0.7)[1],
    lambda x: x.std(axis=0) * x.var() * x.mean(1).max() * x.min(),
    lambda x: x * x.any() * x.all() + x.prod(),
    lambda x: x.clip(-0.5, 0.5) * x.sum(),
    lambda x: x.astype(np.float32).astype(np.float64),
    lambda x: np.mean([x[0, 0], x[1, 1] * 2]) * np.sum([x[0], x[1]], axis=0),
    lambda x: np.exp([x[0, 0], x[1, 2]]) * np.max([x[0, 0], x[0, 1]]),
    lambda x: np.std([x[0, 0], x[1, 1], x[0, 2]]) + np.median([x[0, 0], x[0, 1], x[1, 1]]),
    lambda x: np.dot([x[0, 0], x[0, 1]], [1.0, x[0, 2]]) * np.linalg.norm([x[0, 0], x[1, 1]]),
    lambda x: np.r_[x[0], 1.0, x[1, 1]],
    lambda x: np.c_[x[0], x[1]],
    lambda x: np.r_[0:2, x[0]],
    lambda x: np.vectorize(lambda v: v * v if v > 0 else -v)(x),
    lambda x: np.frompyfunc(lambda v: v * v, 1, 1)(x[0]),
    lambda x: np.polynomial.polynomial.polyval(x, [1.0, 2.0, 3.0]),
    lambda x: np.poly1d([1.0, 2.0, 3.0])(x),
    lambda x: np.full((2, 3), x[0, 0]) * np.full(3, x[1]),
    lambda x: np.arange(x[0, 0], 3.0, 0.5 + x[1, 1] ** 2),
    lambda x: x * (np.isscalar(x[0, 0]) + np.iterable(x)),
    lambda x: np.array(x, ndmin=3) * np.asarray(x, dtype=float),
    lambda x: np.lib.stride_tricks.sliding_window_view(x[0], 2),
    lambda x: np.lib.stride_tricks.as_strided(x, (2, 2, 2), (24, 8, 8)),
    lambda x: OTHER_TABLE[np.argsort(x[0])] * x[0],
    lambda x: np.emath.sqrt(np.abs(x)),
    lambda x: x[np.triu_indices_from(x)] * x[:, :2][np.diag_indices_from(x[:, :2])][0],
    lambda x: np.einsum("ij,ij->i", x, x, out=np.zeros(2)),
    lambda x: np.sum(x, axis=0, out=np.zeros(3)),
    lambda x: np.log(np.abs(x), out=np.zeros((2, 3)), where=MASK),
]  # fmt: skip
OTHER_TABLE = np.array([2.0, 3.0, 5.0])


@pytest.mark.parametrize("f", METHODS, ids=[str(k) for k in range(len(METHODS))])
def test_methods_attributes_and_what_goes_around_the_protocols(f):
    x = np.array([[0.37, -1.13, 1.91], [0.83, 0.21, -0.59]])
    y = np.asarray(f(x), dtype=float)
    for value in (wg.linearize(f, x)[0], wg.trace(f)(x)(x)):
        np.testing.assert_allclose(np.asarray(value, dtype=float), y, rtol=1e-6 if value.dtype == np.float32 else 1e-13)
    if not np.allclose(truth.differences(lambda x: np.asarray(f(x), float), [x], 0), 0) and "float32" not in str(
        f.__code__.co_names
    ):
        assert_close(wg.jacobian(f)(x), truth.differences(lambda x: np.asarray(f(x), float), [x], 0), 1e-7)


WRITING = [
    lambda a, x: np.copyto(a, x),
    lambda a, x: np.copyto(a, x[0], where=MASK),
    lambda a, x: np.put(a, [0, -1], x[0]),
    lambda a, x: np.put(a, [7, -9], x[0], mode="clip"),
    lambda a, x: np.putmask(a, MASK, x[0]),
    lambda a, x: np.place(a, MASK, x[1, :2]),
    lambda a, x: np.fill_diagonal(a, x[0, 0]),
    lambda a, x: np.put_along_axis(a, np.array([[1], [2]]), x[:, :1], axis=1),
    lambda a, x: np.add.at(a, ([0, 0, 1], [1, 1, 2]), x[0]),
    lambda a, x: np.add.at(a, [0, 0], x),
    lambda a, x: np.subtract.at(a, (0, [1, 1]), x[0, 0]),
    lambda a, x: np.multiply.at(a, ([0, 1, 0, 0], [1, 1, 1, 2]), [x[0, 0], 2.0, x[1, 1], x[1, 2]]),
    lambda a, x: np.divide.at(a, [0, 0, 1], x[0]),
    lambda a, x: x.clip(-0.5, 0.5, out=a),
    lambda a, x: x.take([[1, 1, 0], [5, 2, 0]], out=a),
    lambda a, x: a.view().__setitem__((0, 1), x[1, 1]),
    lambda a, x: np.maximum.at(a, (slice(None), [0, 0, 2]), 4 * x),
    lambda a, x: np.logaddexp.at(a.T, [0, 0], x[0, :2]),
    lambda a, x: np.multiply.at(a[1], MASK[0], x[0, 0]),
    lambda a, x: np.multiply.at(a[0], abs(x[0]).astype(int), x[1]),
    lambda a, x: np.multiply.at(a, x > 0, x[0, 0]),
    lambda a, x: (a.__imul__(x), np.sin.at(a, [0, 0])),
    lambda a, x: a.sort(axis=1) or a.__imul__(x),
    lambda a, x: a.put([1, 2], x[0, :2]),
    lambda a, x: a.partition(1, axis=1) or a.__iadd__(x),
    lambda a, x: a.fill(x[0, 1]),
    lambda a, x: a.flat.__setitem__(slice(1, 3), x[0, 0]),
    lambda a, x: np.add(x, a, out=a),
    lambda a, x: np.multiply(x, 2.0, out=a, where=MASK),
]


@pytest.mark.parametrize("write", WRITING, ids=[str(k) for k in range(len(WRITING))])
def test_functions_that_write(write):
    x = np.array([[0.37, -1.13, 1.91], [0.83, 0.21, -0.59]])

    def f(x):
        a = np.array([[3.0, 1.0, 2.0], [5.0, 6.0, 4.0]])
        write(a, x)
        return a * x

    np.testing.assert_allclose(wg.linearize(f, x)[0], f(x), rtol=1e-14)
    assert_first_order(f, [x])


@pytest.mark.parametrize(
    ("f", "said"),
    [
        (lambda x: x.tobytes(), "bytes"),
        (lambda x: x.view(np.int64), "bytes"),
        (lambda x: np.random.default_rng(0).normal(x), "standard"),
        (lambda x: np.random.normal(x[0], 1.0), "standard"),
        (lambda x: np.copyto(PLAIN, x), "before the trace"),
        (lambda x: np.multiply.at(PLAIN, [0], x[0]), "in place|before the trace"),
        (lambda x: x.astype(str), "would lose"),
        (lambda x: np.histogram2d(x, x), "no rule"),
    ],
)
def test_what_would_lose_the_derivative_says_so(f, said):
    with pytest.raises((LostGradientError, UnsupportedError), match=said):
        wg.grad(lambda x: np.sum(f(x)))(np.array([0.5, 1.5]))


PLAIN = np.zeros(2)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x.astype(object) @ x,
        lambda x: np.array(x, dtype=object).sum() * x,
        lambda x: np.array([x[0], x[1]], dtype=object) * x[2],
        lambda x: np.array(x[0], dtype=object) * x,
        lambda x: np.asarray([x, x], object)[1],
    ],
)
def test_arrays_of_objects_hold_traced_elements(f):
    x = np.array([0.3, 0.8, 1.4])
    expected = truth.differences(lambda x: np.asarray(f(x), float), [x], 0)
    assert_close(wg.jacobian(lambda x: np.array(f(x), dtype=float))(x), expected, 1e-7)


@pytest.mark.parametrize("copy", [True, False, None, *np._CopyMode])
def test_copies_only_where_they_are_asked_for(copy):
    def f(x):
        y = x * 1.0
        if copy is not False and copy is not np._CopyMode.NEVER:
            y = np.array(y, copy=copy)
        y[0] = 2 * x[1]
        return y * x

    x = np.array([0.3, 0.8])
    assert_close(wg.jacobian(f)(x), truth.differences(f, [x], 0), 1e-9)


@pytest.mark.parametrize("ufunc", [np.logical_and, np.logical_or, np.logical_xor])
def test_logical_accumulation_gives_truth_values(ufunc):
    x = np.array([0.5, 0.0, 2.0])
    for f in (ufunc.accumulate, lambda x: ufunc.reduceat(x, [2, 0]), lambda x: np.array(ufunc.reduce(x[:1]))):
        found = wg.linearize(lambda x, f=f: (f(x), x), x)[0][0]
        assert found.dtype == bool
        np.testing.assert_array_equal(found, f(x))


# ---- Conventions ----


def test_products_are_exact_at_zeros():
    x = np.array([2.0, 0.0, 3.0, 0.0])
    expected = [[1, 0, 0, 0], [0, 2, 0, 0], [0, 6, 0, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(wg.jacobian(np.cumprod)(x), expected)
    np.testing.assert_array_equal(wg.jacobian(lambda x: np.multiply.accumulate(x))(x), expected)
    np.testing.assert_array_equal(wg.jacobian(lambda x: np.multiply.accumulate(x, axis=(0,)))(x), expected)
    np.testing.assert_array_equal(wg.jacobian(lambda x: np.add.reduceat(x, [0], axis=None))(x), np.ones((1, x.size)))
    np.testing.assert_array_equal(wg.hessian(lambda x: np.cumprod(x)[3])(x)[1], [0, 0, 0, 6])


def test_conventions_at_kinks():
    np.testing.assert_array_equal(wg.grad(np.std)(np.ones(3)), np.zeros(3))
    np.testing.assert_array_equal(wg.grad(lambda x: np.sort(x, stable=True)[0])(np.ones(3)), [1, 0, 0])
    np.testing.assert_array_equal(wg.grad(lambda x: np.sum(np.sort(x)))(np.ones(3)), [1, 1, 1])
    np.testing.assert_array_equal(wg.grad(lambda x: np.interp(x, [0.0, 1.0, 2.0], [0.0, 1.0, 3.0]))(1.0), 2.0)
    np.testing.assert_array_equal(wg.grad(np.sinc)(0.0), 0.0)
    np.testing.assert_allclose(wg.grad(wg.grad(np.sinc))(0.0), -(np.pi**2) / 3)
    np.testing.assert_array_equal(wg.grad(lambda x: np.nan_to_num(x))(np.nan), 0.0)
    np.testing.assert_array_equal(wg.grad(lambda x: np.sum(np.round(x)))(np.array([0.5, 1.5])), [0, 0])


def test_nan_that_is_left_out_does_not_come_back():
    x = np.array([1.0, np.nan, 4.0])
    for f in (np.nansum, np.nanmean, np.nanvar, np.nanstd, np.nanmax, np.nanprod, np.nanmedian):
        assert np.all(np.isfinite(wg.grad(f)(x))), f.__name__
        assert wg.grad(f)(x)[1] == 0.0


def test_what_random_generators_draw_inside_a_trace_is_what_numpy_draws():
    x = np.array([1.0, 2.0, 3.0])
    f = lambda x: np.random.default_rng(0).normal(size=3) * x + np.random.default_rng(1).choice(x, 2).sum()  # noqa: E731
    np.testing.assert_array_equal(wg.linearize(f, x)[0], f(x))


# ---- The page ----


def test_the_page_of_what_is_supported_is_up_to_date():
    path = Path(__file__).parents[2] / "docs" / "generate_supported.py"
    spec = importlib.util.spec_from_file_location("generate_supported", path)
    page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(page)
    assert page.PAGE.read_text() == page.write(), "run python docs/generate_supported.py"


def test_every_function_of_numpys_own_namespace_on_the_page_has_cases():
    own = {f for f in CALLS if getattr(f, "__module__", "") == "numpy" and not isinstance(f, np.ufunc)}
    listed = {*CASES, *test_functions.CASES}
    writing = {np.copyto, np.fill_diagonal, np.place, np.put, np.put_along_axis, np.putmask}
    around = {np.isscalar, np.full, np.arange, np.tril_indices_from, np.triu_indices_from, np.diag_indices_from}
    missing = {f.__name__ for f in own - listed - writing - around if f not in (np.amax, np.amin, np.around)}
    assert not missing, f"give these functions cases in numpy_surface.CASES: {sorted(missing)}"


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.delete(x, np.flatnonzero(x < 0)),
        lambda x: np.delete(x, np.argmin(x)),
        lambda x: np.delete(x, x < 0),
        lambda x: np.insert(x, np.argmin(x), 7.0),
        lambda x: np.insert(x, np.flatnonzero(x < 0), x[0]),
        lambda x: np.array_split(x, np.array([1, 1]) + np.argmin(x))[0],
        lambda x: np.repeat(x, (x > 0).astype(int)),
        lambda x: np.tril(np.outer(x, x), np.argmin(x)),
        lambda x: np.diag(x, np.argmin(x)),
    ],
)
def test_positions_and_counts_that_are_computed_are_decisions(f):
    x = np.array([0.5, -1.5, 2.5])
    program = wg.trace(f)(x)
    np.testing.assert_array_equal(program(1.5 * x), f(1.5 * x))
    with pytest.raises(BranchError):
        program(-x)
    assert wg.check_derivatives(f)(x)


def test_truth_values_are_summed_as_numpy_does():
    x = np.array([0.5, 1.5, -0.3])
    for f in (
        lambda x: 1.0 * np.einsum("i->", x > -9) + 0 * x[0],
        lambda x: 1.0 * np.einsum("i,i->", x > 0, x > -9) + 0 * x[0],
        lambda x: 1.0 * (x > -9).dot(x > -9) + 0 * x[0],
    ):
        assert wg.trace(f)(x)(x) == f(x)
        np.testing.assert_array_equal(wg.vmap(f)(np.stack([x, x])), [f(x)] * 2)


def test_hypot_of_one_element_is_its_modulus():
    for x in (np.array([-1.2]), np.array([[-1.2], [3.0]])):
        value, push = wg.linearize(lambda x: np.hypot.reduce(x, axis=-1), x)
        np.testing.assert_array_equal(value, np.hypot.reduce(x, axis=-1))
        np.testing.assert_array_equal(push.T(np.ones(value.shape)), np.sign(x))


def test_how_many_values_fall_into_bins_is_a_decision():
    f = lambda x: x * np.histogram(np.array([x, 1.0]), bins=[0, 1.6, 4])[0][1]  # noqa: E731
    jitted, program = wg.jit(f), wg.trace(f)(np.float64(1.5))
    for x in (1.5, 2.5, -1.0, 9.0):
        assert jitted(np.float64(x)) == f(np.float64(x))
    assert program(np.float64(2.5)) == 2.5
    with pytest.raises(wg.errors.BranchError):
        program(np.float64(-1.0))
