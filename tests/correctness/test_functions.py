"""Every NumPy function that can be traced, NumPy itself beside the trace: values, shapes, dtypes and derivatives."""

from __future__ import annotations

import numpy as np
import numpy_surface
import pytest
from agreement import assert_first_order, assert_second_order, assert_single_precision

import wengert as wg
from wengert.primitives import CALLS

pytestmark = pytest.mark.filterwarnings("ignore::wengert.errors.DecisionWarning")  # counts and positions are tried, too

WEIGHTS = np.array([0.5, 2.0, 1.0])
MASK = np.array([[True, False, True], [False, True, True]])
OTHER = np.array([[0.3, -1.2, 0.8], [1.1, 0.4, -0.6]])
MATRIX, VECTOR, LONG, CUBE, SCALAR, PAIR = (2, 3), (3,), (5,), (2, 1, 3), (), ((2, 3), (2, 3))


def on(*shapes):
    """Read a list of shapes as a list of cases: one shape for a function of one argument, a tuple of them for more."""
    return [shape if shape and isinstance(shape[0], tuple) else (shape,) for shape in shapes]


def reductions(function, *, minimum_size=0):
    cases = [
        (lambda x: function(x), on(MATRIX, VECTOR, SCALAR, CUBE)),
        (lambda x: function(x, axis=0), on(MATRIX, VECTOR)),
        (lambda x: function(x, axis=-1), on(MATRIX, CUBE)),
        (lambda x: function(x, 1), on(MATRIX)),
        (lambda x: function(x, axis=(0, -1)), on(MATRIX, CUBE)),
        (lambda x: function(x, axis=1, keepdims=True), on(MATRIX)),
        (lambda x: function(x, keepdims=True), on(MATRIX)),
    ]
    if not minimum_size:
        cases.append((lambda x: function(x, axis=0), on((0, 2), (2, 0))))
    return cases


def written(write):
    """Let a function write to an array made of its argument, and return that."""

    def f(x):
        y = 1.0 * x
        write(y, x)
        return y * x

    return f


def strided(x):
    return np.lib.stride_tricks.as_strided(x, (2, 2), (x.itemsize, x.itemsize))


CASES = {
    np.sum: [
        *reductions(np.sum),
        (lambda x: np.sum(x, axis=()), on(MATRIX)),
        (lambda x: np.sum(x, where=MASK), on(MATRIX)),
        (lambda x: np.sum(x, axis=1, initial=2.0), on(MATRIX)),
        (lambda x: np.sum(x, dtype=np.float64), on(MATRIX)),
        (lambda x: x.sum(1) + x.sum(axis=1), on(MATRIX)),
        (lambda x: np.add.reduce(x), on(MATRIX, VECTOR)),
        (lambda x: np.add.reduce(x, axis=1, keepdims=True), on(MATRIX)),
        (lambda x: sum(x), on(VECTOR, MATRIX)),
    ],
    np.mean: [
        *reductions(np.mean, minimum_size=1),
        (lambda x: np.mean(x, axis=1, where=MASK), on(MATRIX)),
        (lambda x: x.mean(0), on(MATRIX)),
    ],
    np.average: [
        (lambda x: np.average(x), on(MATRIX, VECTOR)),
        (lambda x: np.average(x, axis=0), on(MATRIX)),
        (lambda x: np.average(x, weights=WEIGHTS), on(VECTOR)),
        (lambda x: np.average(x, axis=1, weights=WEIGHTS), on(MATRIX)),
        (lambda x: np.average(x, axis=-1, weights=WEIGHTS), on(CUBE)),
        (lambda x, w: np.average(x, axis=1, weights=2.0 + w * w), on((MATRIX, VECTOR))),
        (lambda x: np.average(x, axis=0, returned=True)[0], on(MATRIX)),
        (lambda w: np.average(OTHER, weights=2.0 + w * w, axis=1, returned=True)[1], on(VECTOR)),
    ],
    np.var: [
        *reductions(np.var, minimum_size=1),
        (lambda x: np.var(x, axis=1, ddof=1), on(MATRIX)),
        (lambda x: x.var(axis=0), on(MATRIX)),
    ],
    np.std: [
        (lambda x: np.std(x), on(MATRIX, VECTOR)),
        (lambda x: np.std(x, axis=1, ddof=1, keepdims=True), on(MATRIX)),
        (lambda x: x.std(axis=0), on(MATRIX)),
    ],
    np.prod: [
        *reductions(np.prod),
        (lambda x: np.prod(x, where=MASK), on(MATRIX)),
        (lambda x: np.prod(x, initial=3.0), on(MATRIX)),
        (lambda x: np.prod(x), on(LONG)),
        (lambda x: np.multiply.reduce(x), on(MATRIX)),
    ],
    np.cumsum: [
        (lambda x: np.cumsum(x), on(VECTOR, MATRIX, SCALAR)),
        (lambda x: np.cumsum(x, axis=0), on(MATRIX)),
        (lambda x: np.cumsum(x, axis=-1), on(CUBE)),
        (lambda x: x.cumsum(1), on(MATRIX)),
    ],
    np.max: [
        *reductions(np.max, minimum_size=1),
        (lambda x: np.max(x, axis=1, initial=0.2), on(MATRIX)),
        (lambda x: np.max(x, axis=1, where=MASK, initial=-9.0), on(MATRIX)),
        (lambda x: np.maximum.reduce(x), on(MATRIX)),
        (lambda x: x.max(axis=1), on(MATRIX)),
    ],
    np.min: [
        *reductions(np.min, minimum_size=1),
        (lambda x: np.min(x, axis=1, initial=0.2), on(MATRIX)),
        (lambda x: np.minimum.reduce(x, axis=1), on(MATRIX)),
        (lambda x: x.min(), on(MATRIX)),
    ],
    np.ptp: [(lambda x: np.ptp(x), on(MATRIX)), (lambda x: np.ptp(x, axis=1, keepdims=True), on(MATRIX))],
    np.argmax: [
        (lambda x: x[np.argmax(x)], on(VECTOR)),
        (lambda x: x * np.argmax(x, axis=0), on(MATRIX)),
        (lambda x: x * x.argmax(), on(MATRIX)),
        (lambda x: np.argmax(x, axis=1), on(MATRIX)),
    ],
    np.argmin: [(lambda x: x[x.argmin()], on(VECTOR)), (lambda x: x * np.argmin(x, axis=0), on(MATRIX))],
    np.all: [
        (lambda x: x * np.all(x > -9), on(MATRIX)),
        (lambda x: x * np.all(x > 0, axis=0), on(MATRIX)),
        (lambda x: x * (x > 0).all(axis=1, keepdims=True), on(MATRIX)),
    ],
    np.any: [(lambda x: x * np.any(x > 0), on(MATRIX)), (lambda x: x * np.any(x > 1.1, axis=0), on(MATRIX))],
    np.reshape: [
        (lambda x: np.reshape(x, (3, 2)), on(MATRIX)),
        (lambda x: np.reshape(x, -1), on(MATRIX, SCALAR)),
        (lambda x: np.reshape(x, (3, -1)), on(MATRIX)),
        (lambda x: np.reshape(x, (3, 2), order="F"), on(MATRIX)),
        (lambda x: x.reshape(3, 2) * x.reshape((3, 2)), on(MATRIX)),
        (lambda x: x.reshape(-1, 1), on(VECTOR)),
        (lambda x: np.reshape(x, (0, 3)), on((2, 0))),
    ],
    np.ravel: [
        (lambda x: np.ravel(x), on(MATRIX, SCALAR)),
        (lambda x: x.ravel() * x.flatten(), on(MATRIX)),
        (lambda x: np.ravel(x, order="F"), on(MATRIX, CUBE)),
    ],
    np.transpose: [
        (lambda x: np.transpose(x), on(MATRIX, VECTOR, CUBE)),
        (lambda x: np.transpose(x, (1, 2, 0)), on(CUBE)),
        (lambda x: np.transpose(x, (-1, 0, 1)), on(CUBE)),
        (lambda x: x.T + x.transpose() + x.transpose(1, 0) + x.transpose((1, 0)), on(MATRIX)),
    ],
    np.matrix_transpose: [(lambda x: np.matrix_transpose(x), on(MATRIX, CUBE))],
    np.swapaxes: [(lambda x: np.swapaxes(x, 0, -1), on(MATRIX, CUBE)), (lambda x: x.swapaxes(0, 2), on(CUBE))],
    np.moveaxis: [
        (lambda x: np.moveaxis(x, 0, -1), on(MATRIX, CUBE)),
        (lambda x: np.moveaxis(x, (0, 2), (1, 0)), on(CUBE)),
    ],
    np.expand_dims: [
        (lambda x: np.expand_dims(x, 0), on(MATRIX, SCALAR)),
        (lambda x: np.expand_dims(x, (0, -1)), on(VECTOR)),
    ],
    np.squeeze: [
        (lambda x: np.squeeze(x), on(CUBE, (1, 1), MATRIX)),
        (lambda x: np.squeeze(x, axis=1), on(CUBE)),
        (lambda x: x.squeeze((0, 1)), on((1, 1, 2))),
    ],
    np.atleast_1d: [
        (lambda x: np.atleast_1d(x), on(SCALAR, VECTOR)),
        (lambda x, y: np.atleast_1d(x, y)[1], on((SCALAR, SCALAR))),
    ],
    np.atleast_2d: [(lambda x: np.atleast_2d(x), on(SCALAR, VECTOR, MATRIX))],
    np.broadcast_to: [
        (lambda x: np.broadcast_to(x, (4, 3)), on(VECTOR)),
        (lambda x: np.broadcast_to(x, (2, 4, 3)), on(CUBE)),
        (lambda x: np.broadcast_to(x, 3), on(SCALAR)),
    ],
    np.broadcast_arrays: [(lambda x, y: np.broadcast_arrays(x, y)[1], on((MATRIX, VECTOR), (MATRIX, SCALAR)))],
    np.flip: [
        (lambda x: np.flip(x), on(MATRIX, VECTOR)),
        (lambda x: np.flip(x, 0), on(MATRIX)),
        (lambda x: np.flip(x, (0, -1)), on(CUBE)),
    ],
    np.diagonal: [
        (lambda x: np.diagonal(x), on(MATRIX, (3, 2))),
        (lambda x: np.diagonal(x, 1), on(MATRIX)),
        (lambda x: x.diagonal(-1), on(MATRIX)),
        (lambda x: np.diagonal(x, 0, 0, 2), on(CUBE)),
        (lambda x: np.diagonal(x, 5), on(MATRIX)),
    ],
    np.trace: [
        (lambda x: np.trace(x), on(MATRIX, CUBE)),
        (lambda x: np.trace(x, offset=1), on(MATRIX)),
        (lambda x: x.trace(), on(MATRIX)),
    ],
    np.stack: [
        (lambda x, y: np.stack([x, y]), on(PAIR, (SCALAR, SCALAR))),
        (lambda x, y: np.stack((x, OTHER, y), axis=-1), on(PAIR)),
        (lambda x, y: np.stack([x, y], 1), on(PAIR)),
        (lambda x: np.array([x[0], 2.0, x[1] * x[2]]), on(VECTOR)),
        (lambda x: np.array([[x[0], x[1]], [1.0, x[2]], [0, 3]]), on(VECTOR)),
        (lambda x: np.array([x, [1.0, 2.0, 3.0]]), on(VECTOR)),
        (lambda x: np.asarray([x[0], x[0]]), on(VECTOR)),
        (lambda x: np.array([2.0 * part for part in x]), on(VECTOR, MATRIX)),
    ],
    np.concatenate: [
        (lambda x, y: np.concatenate([x, y]), on(PAIR, (VECTOR, LONG))),
        (lambda x, y: np.concatenate((x, OTHER, y), axis=1), on(PAIR)),
        (lambda x, y: np.concatenate([x, y], axis=None), on((MATRIX, VECTOR))),
        (lambda x: np.concatenate([x, x, [1.0, 2.0]]), on(VECTOR)),
    ],
    np.vstack: [(lambda x, y: np.vstack([x, y]), on((VECTOR, VECTOR), (MATRIX, VECTOR)))],
    np.hstack: [(lambda x, y: np.hstack([x, y]), on((VECTOR, LONG), PAIR, (SCALAR, VECTOR)))],
    np.column_stack: [(lambda x, y: np.column_stack([x, y]), on((VECTOR, VECTOR), (MATRIX, (2,))))],
    np.append: [
        (lambda x, y: np.append(x, y), on((VECTOR, LONG), (MATRIX, VECTOR), (VECTOR, SCALAR))),
        (lambda x, y: np.append(x, y, axis=0), on(PAIR)),
    ],
    np.where: [
        (lambda x, y: np.where(x > y, x, y), on(PAIR, (MATRIX, VECTOR), (SCALAR, SCALAR))),
        (lambda x: np.where(MASK, x, 0.0), on(MATRIX, VECTOR, SCALAR)),
        (lambda x: np.where(x > 0, x, -x), on(VECTOR)),
        (lambda x: np.where([True, False, True], x, [1.0, 2.0, 3.0]), on(VECTOR)),
    ],
    np.clip: [
        (lambda x: np.clip(x, -0.6, 0.6), on(MATRIX, SCALAR)),
        (lambda x: np.clip(x, None, 0.6), on(MATRIX)),
        (lambda x: np.clip(x, -0.6, None), on(MATRIX)),
        (lambda x: x.clip(min=-0.6), on(MATRIX)),
        (lambda x, low: np.clip(x, low, 9.0), on((MATRIX, SCALAR))),
    ],
    np.matmul: [
        (lambda x, y: np.matmul(x, y), on((MATRIX, (3, 4)), (VECTOR, VECTOR), (MATRIX, VECTOR), (VECTOR, (3, 2)))),
        (lambda x, y: x @ y, on(((2, 2, 3), VECTOR), (VECTOR, (2, 3, 2)), ((4, 2, 3), (3, 1)), ((2, 3), (4, 3, 2)))),
        (lambda x: OTHER @ x, on(VECTOR, (3, 2))),
        (lambda x: [[1.0, 2.0, 3.0]] @ x, on(VECTOR)),
    ],
    np.dot: [
        (lambda x, y: np.dot(x, y), on((VECTOR, VECTOR), (MATRIX, VECTOR), (MATRIX, (3, 4)), (SCALAR, MATRIX))),
        (lambda x, y: x.dot(y), on((CUBE, VECTOR), (CUBE, (3, 2)), (MATRIX, (2, 3, 1)))),
    ],
    np.inner: [(lambda x, y: np.inner(x, y), on((VECTOR, VECTOR), PAIR, (SCALAR, VECTOR), (CUBE, MATRIX)))],
    np.vdot: [(lambda x, y: np.vdot(x, y), on((VECTOR, VECTOR), PAIR))],
    np.outer: [(lambda x, y: np.outer(x, y), on((VECTOR, (2,)), (MATRIX, VECTOR), (SCALAR, VECTOR)))],
    np.tensordot: [
        (lambda x, y: np.tensordot(x, y), on(PAIR)),
        (lambda x, y: np.tensordot(x, y, 1), on((MATRIX, (3, 4)))),
        (lambda x, y: np.tensordot(x, y, 0), on((VECTOR, (2,)))),
        (lambda x, y: np.tensordot(x, y, ((0, 1), (0, 1))), on(((2, 3, 1), (2, 3, 2)))),
        (lambda x, y: np.tensordot(x, y, axes=([-1], [0])), on((MATRIX, (3, 2)))),
        (lambda x, y: np.tensordot(x, y, axes=([0, 1], [1, 0])), on(((2, 3), (3, 2, 4)))),
    ],
    np.zeros_like: [(lambda x: x + np.zeros_like(x), on(MATRIX, SCALAR)), (lambda x: np.zeros_like(x), on(VECTOR))],
    np.ones_like: [
        (lambda x: x * np.ones_like(x), on(MATRIX)),
        (lambda x: x * np.ones_like(x, shape=(3,)), on(MATRIX)),
    ],
    np.full_like: [
        (lambda x: x * np.full_like(x, 2.5), on(MATRIX)),
        (lambda x: np.full_like(x, x[0]), on(VECTOR)),
    ],
    np.shape: [(lambda x: x * np.shape(x)[0], on(VECTOR))],
    np.ndim: [(lambda x: x * np.ndim(x), on(MATRIX))],
    np.size: [(lambda x: x * np.size(x), on(MATRIX)), (lambda x: x * np.size(x, 1), on(MATRIX))],
    np.copy: [(lambda x: np.copy(x), on(MATRIX)), (lambda x: x.copy(), on(SCALAR))],
    np.real: [
        (lambda x: np.real(x), on(VECTOR)),
        (lambda x: x.real, on(VECTOR)),
        (lambda x: np.real(x * np.exp(2j * x)), on(VECTOR)),
    ],
    np.imag: [(lambda x: x + np.imag(x), on(VECTOR)), (lambda x: np.imag(np.exp(1j * x)), on(VECTOR, SCALAR))],
    np.angle: [(lambda x: x * np.angle(x), on(VECTOR)), (lambda x: np.angle(x + 2j * x * x), on(VECTOR))],
    np.result_type: [(lambda x: x.astype(np.result_type(x, np.float64)), on(VECTOR))],
    np.arange: [(lambda a: np.arange(a, 2.0, 0.7), on(SCALAR)), (lambda x: x * np.arange(3.0), on(VECTOR))],
    np.full: [(lambda x: np.full((2, 3), x), on(VECTOR, SCALAR))],
    np.copyto: [
        (written(lambda y, x: np.copyto(y, 2 * x)), on(VECTOR)),
        (written(lambda y, x: np.copyto(y, x[::-1], where=x > 0)), on(VECTOR)),
    ],
    np.put: [(written(lambda y, x: np.put(y, [0, -1], x[1] * 3)), on(VECTOR))],
    np.place: [(written(lambda y, x: np.place(y, x > 0, 2 * x[:1])), on(VECTOR))],
    np.putmask: [(written(lambda y, x: np.putmask(y, x > 0, 3 * x)), on(VECTOR))],
    np.put_along_axis: [
        (written(lambda y, x: np.put_along_axis(y, np.array([[2], [0]]), 2 * x[:, :1], axis=1)), on(MATRIX))
    ],
    np.fill_diagonal: [(written(lambda y, x: np.fill_diagonal(y, x[0, 0])), on(MATRIX))],
    np.diag_indices_from: [(lambda x: x[np.diag_indices_from(x)], on((3, 3)))],
    np.tril_indices_from: [(lambda x: x[np.tril_indices_from(x, -1)], on((3, 3)))],
    np.triu_indices_from: [(lambda x: x[np.triu_indices_from(x)], on(MATRIX))],
    np.isscalar: [(lambda x: x * np.isscalar(x), on(VECTOR))],
    np.lib.stride_tricks.sliding_window_view: [
        (lambda x: np.lib.stride_tricks.sliding_window_view(x, 2), on(VECTOR)),
        (lambda x: np.lib.stride_tricks.sliding_window_view(x, (2, 2)), on(MATRIX)),
    ],
    np.lib.stride_tricks.as_strided: [(strided, on(VECTOR))],
    np.emath.sqrt: [(lambda x: np.emath.sqrt(1 + x * x), on(VECTOR))],
    np.emath.log: [(lambda x: np.emath.log(1 + x * x), on(VECTOR))],
    np.emath.log2: [(lambda x: np.emath.log2(1 + x * x), on(VECTOR))],
    np.emath.log10: [(lambda x: np.emath.log10(1 + x * x), on(VECTOR))],
    np.emath.power: [(lambda x: np.emath.power(1 + x * x, x + 2), on(VECTOR))],
    np.emath.arccos: [(lambda x: np.emath.arccos(0.5 * x), on(VECTOR))],
    np.emath.arcsin: [(lambda x: np.emath.arcsin(0.5 * x), on(VECTOR))],
    np.emath.arctanh: [(lambda x: np.emath.arctanh(0.5 * x), on(VECTOR))],
    np.around: [(lambda x: x * np.around(2 * x), on(VECTOR))],
    np.linalg.vecdot: [(lambda x, y: np.linalg.vecdot(x, y), on(PAIR))],
    np.linalg.outer: [(lambda x, y: np.linalg.outer(x, y), on((VECTOR, (2,))))],
    np.linalg.matmul: [(lambda x, y: np.linalg.matmul(x, y), on((MATRIX, (3, 4))))],
    np.linalg.tensordot: [(lambda x, y: np.linalg.tensordot(x, y, axes=1), on((MATRIX, (3, 4))))],
    np.linalg.cross: [(lambda x, y: np.linalg.cross(x, y), on((VECTOR, VECTOR)))],
    np.linalg.diagonal: [(lambda x: np.linalg.diagonal(x, offset=1), on(CUBE, MATRIX))],
    np.linalg.trace: [(lambda x: np.linalg.trace(x), on(CUBE, MATRIX))],
    np.linalg.matrix_transpose: [(lambda x: np.linalg.matrix_transpose(x), on(MATRIX))],
    np.linalg.vector_norm: [
        (lambda x: np.linalg.vector_norm(x), on(VECTOR, MATRIX)),
        (lambda x: np.linalg.vector_norm(x, axis=1, ord=1), on(MATRIX)),
        (lambda x: np.linalg.vector_norm(x, ord=3, keepdims=True), on(VECTOR)),
    ],
    np.linalg.matrix_norm: [
        (lambda x: np.linalg.matrix_norm(x), on(MATRIX)),
        (lambda x: np.linalg.matrix_norm(x, ord=1), on(MATRIX)),
    ],
    np.linalg.multi_dot: [(lambda x, y, z: np.linalg.multi_dot([x, y, z]), on((VECTOR, (3, 2), (2, 4))))],
    np.linalg.matrix_power: [
        (lambda x: np.linalg.matrix_power(x, 3), on((2, 2))),
        (lambda x: np.linalg.matrix_power(x, 0), on((2, 2))),
    ],
    np.linalg.norm: [
        (lambda x: np.linalg.norm(x), on(VECTOR, MATRIX)),
        (lambda x: np.linalg.norm(x, 2), on(VECTOR)),
        (lambda x: np.linalg.norm(x, "fro"), on(MATRIX)),
        (lambda x: np.linalg.norm(x, axis=1), on(MATRIX)),
        (lambda x: np.linalg.norm(x, axis=0, keepdims=True), on(MATRIX)),
    ],
}
"""For each function the forms in which it is called, each on arrays of several shapes."""

WALKED_ELSEWHERE = ("wengert", "numpy.linalg", "numpy.fft", "numpy._core", "scipy", "math", "cmath", "bottleneck")
"""test_linalg.py, test_fourier.py, test_special.py, test_scalar_math.py and test_bottleneck.py hold their own tables
complete; the core's names are private."""

POINTS = [
    pytest.param(f, shapes, id=f"{function.__name__}-{k}-{'-'.join(map(str, shapes)).replace(' ', '')}")
    for function, cases in CASES.items()
    for k, (f, many) in enumerate(cases)
    for shapes in many
]


def point(shapes):
    """Draw arguments whose elements are all different, so that there are no ties."""
    rng = np.random.default_rng(5)
    sizes = [int(np.prod(shape)) for shape in shapes]
    values = 0.1 + 0.21 * (rng.permutation(sum(sizes)) - sum(sizes) // 2)
    parts = np.split(values, np.cumsum(sizes)[:-1])
    return [part.reshape(shape)[()] for part, shape in zip(parts, shapes, strict=True)]


def test_every_function_is_tested():
    """A function has cases in a table, here or in one of those that tests of a kind have; the walk sees to ufuncs."""
    aliases = {np.amax: np.max, np.amin: np.min}
    tables = CASES.keys() | numpy_surface.CASES.keys()
    missing = []
    for function in CALLS:
        if isinstance(function, np.ufunc) or function.__module__.startswith(WALKED_ELSEWHERE):
            continue
        if aliases.get(function, function) not in tables:
            missing.append(f"{function.__module__}.{function.__name__}")
    assert not missing, f"give these functions cases in CASES: {sorted(missing)}"


@pytest.mark.parametrize(("f", "shapes"), POINTS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_values_shapes_and_dtypes_are_those_of_numpy(f, shapes, dtype):
    args = [np.asarray(a, dtype)[()] for a in point(shapes)]
    expected = np.asarray(f(*args))
    for value in (wg.linearize(f, *args)[0], wg.trace(f)(*args)(*args)):
        assert np.shape(value) == expected.shape
        assert np.asarray(value).dtype == expected.dtype
        np.testing.assert_allclose(value, expected, rtol=4 * np.finfo(dtype).eps, atol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize(("f", "shapes"), POINTS)
def test_derivatives_are_right(f, shapes):
    assert_first_order(f, point(shapes))


@pytest.mark.parametrize(("f", "shapes"), [p for p in POINTS if 0 not in sum(p.values[1], ())])
def test_second_derivatives_are_right(f, shapes):
    args = point(shapes)
    assert_second_order(lambda *xs: 1.0 * f(*[x + 0.1 * x * x for x in xs]), args)


@pytest.mark.parametrize(("f", "shapes"), [p for p in POINTS if 0 not in sum(p.values[1], ())])
def test_single_precision_stays(f, shapes):
    if np.asarray(f(*[np.asarray(a, np.float32)[()] for a in point(shapes)])).dtype.kind == "f":
        assert_single_precision(f, point(shapes))


def test_product_is_exact_at_zeros():
    x = np.array([2.0, 0.0, 3.0])
    np.testing.assert_array_equal(wg.grad(np.prod)(x), [0.0, 6.0, 0.0])
    np.testing.assert_array_equal(wg.grad(np.prod)(np.zeros(3)), [0.0, 0.0, 0.0])
    expected = [[0.0, 3.0, 0.0], [3.0, 0.0, 2.0], [0.0, 2.0, 0.0]]
    np.testing.assert_array_equal(wg.hessian(np.prod)(x), expected)


def test_methods_and_attributes_that_need_no_line():
    x = np.array([[1.0, 2.0, 3.0]])

    def f(x):
        assert (x.shape, x.ndim, x.size, x.nbytes, x.itemsize, len(x)) == ((1, 3), 2, 3, 24, 8, 1)
        assert x.dtype == np.float64
        assert f"{x[0, 1]:.1f}" == "2.0"
        assert int(np.floor(x[0, 1])) == 2
        assert [int(np.rint(v)) for v in x[0].tolist()] == [1, 2, 3]
        first, *rest = x[0]
        return first * rest[1] + x[0, 0].item() + x.item(1) + x.item((0, 2))

    np.testing.assert_array_equal(wg.grad(f)(x), [[4.0, 1.0, 2.0]])


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x + [1.0, 2.0, 3.0],
        lambda x: [1.0, 2.0, 3.0] * x,
        lambda x: np.float32(2) * x,
        lambda x: np.array([1, 2, 3]) - x,
        lambda x: 2 / x + x // 0.45 + x % 0.45 + abs(x) + (+x) + (-x),
        lambda x: 2.0**x + x**2 + np.int64(3) ** x,
        lambda x: divmod(x, 0.45)[1],
        lambda x: np.where((x > 0) & ~(x > 1) | (x < -1) ^ (x == 3), x, x * x),
        lambda x: x * (x >= 0) - x * (x <= 0) + x * (x != 1),
        lambda x: x * True + np.bool_(True) * x,
        lambda x: np.float64(2.0) * x[0] + np.sum(x),
        lambda x: x[np.int64(1)] * x[-1] * x[1:][0],
    ],
)
def test_operators_with_other_operands(f):
    x = np.array([0.37, -1.13, 1.91])
    y = np.asarray(f(x))
    assert np.asarray(wg.linearize(f, x)[0]).dtype == y.dtype
    assert_first_order(f, [x])
