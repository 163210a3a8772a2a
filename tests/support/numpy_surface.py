"""How NumPy's functions are called: for each the forms that `test_numpy_surface` runs, beside NumPy itself."""

from __future__ import annotations

import warnings

import numpy as np

MATRIX, VECTOR, LONG, CUBE, SCALAR, SQUARE = (2, 3), (3,), (5,), (2, 1, 3), (), (3, 3)
MASK = np.array([[True, False, True], [False, True, True]])
HOLES = np.array([[True, False, False], [False, False, True]])
OTHER = np.array([[0.3, -1.2, 0.8], [1.1, 0.4, -0.6]])
WEIGHTS = np.array([0.5, 2.0, 1.0])
ROWS, COLUMNS = np.array([1, 0, 1, 1]), np.array([2, 0, -1, 2])
QUANTILES = np.array([0.12, 0.5, 0.81])
METHODS = ("linear", "weibull", "hazen", "interpolated_inverted_cdf", "median_unbiased", "normal_unbiased", "lower",
           "higher", "nearest", "midpoint", "inverted_cdf", "averaged_inverted_cdf", "closest_observation")  # fmt: skip


def on(*shapes):
    """Read a list of shapes as a list of cases: one shape for a function of one argument, a tuple of them for more."""
    return [shape if shape and isinstance(shape[0], tuple) else (shape,) for shape in shapes]


def holed(x):
    """Put NaN into some places."""
    return np.where(HOLES, np.nan, x)


def quietly(function, *args):
    """Call a function that a later NumPy says is to go."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return function(*args)


def pair(*shapes):
    return [tuple(shapes)]


CASES = {
    # ---- Reductions ----
    np.sum: [
        (lambda x: np.add.reduce(x, axis=(0, 1), initial=2.0), on(MATRIX)),
        (lambda x: np.add.reduce(x, axis=1, where=MASK), on(MATRIX)),
        (lambda x: np.add.reduce(x, None), on(MATRIX)),
        (lambda x: np.sum(x, axis=1, dtype=np.float32), on(MATRIX)),
    ],
    np.mean: [
        (lambda x: np.mean(x, where=MASK), on(MATRIX)),
        (lambda x: x.mean(axis=(0, 1), keepdims=True), on(MATRIX)),
    ],
    np.average: [(lambda x: np.average(x, axis=(1, 0), weights=OTHER.T**2), on(MATRIX))],
    np.var: [
        (lambda x: np.var(x, axis=1, where=MASK), on(MATRIX)),
        (lambda x: np.var(x, axis=(0, 1), where=MASK, ddof=1, keepdims=True), on(MATRIX)),
        (lambda x: np.var(x, correction=1), on(MATRIX)),
        (lambda x: np.var(x, axis=0, mean=np.mean(x, axis=0, keepdims=True)), on(MATRIX)),
    ],
    np.std: [(lambda x: np.std(x, axis=1, where=MASK), on(MATRIX)), (lambda x: np.std(x, axis=(0, 1)), on(MATRIX))],
    np.count_nonzero: [(lambda x: x * np.count_nonzero(x > 0, axis=0), on(MATRIX))],
    np.prod: [
        (lambda x: np.prod(x, axis=(0, 1), where=MASK, initial=2.0), on(MATRIX)),
        (lambda x: np.prod(x, axis=0, dtype=np.float64), on(MATRIX)),
    ],
    np.cumsum: [
        (lambda x: np.cumsum(x, axis=0, dtype=np.float64), on(MATRIX)),
        (lambda x: np.add.accumulate(x), on(MATRIX)),
    ],
    np.cumprod: [
        (lambda x: np.cumprod(x), on(VECTOR, LONG, MATRIX, SCALAR)),
        (lambda x: np.cumprod(x, axis=1), on(MATRIX, (2, 4))),
        (lambda x: x.cumprod(0), on(MATRIX, (7,))),
        (lambda x: np.multiply.accumulate(x, axis=-1), on(MATRIX)),
        (lambda x: np.cumprod(x, dtype=np.float64), on((1,))),
    ],
    np.cumulative_sum: [
        (lambda x: np.cumulative_sum(x), on(VECTOR)),
        (lambda x: np.cumulative_sum(x, axis=0, include_initial=True), on(MATRIX)),
    ],
    np.cumulative_prod: [(lambda x: np.cumulative_prod(x, axis=1, include_initial=True), on(MATRIX))],
    np.max: [
        (lambda x: np.maximum.reduce(x, axis=(0, 1), initial=0.1), on(MATRIX)),
        (lambda x: np.max(x, initial=0.1), on((0,))),
        (lambda x: np.maximum.reduce(x, axis=1, where=MASK, initial=-9.0), on(MATRIX)),
    ],
    np.min: [(lambda x: np.min(x, axis=0, where=MASK, initial=9.0), on(MATRIX))],
    np.argmax: [(lambda x: x * np.argmax(x, axis=1, keepdims=True), on(MATRIX))],
    np.argmin: [(lambda x: x * np.argmin(x, keepdims=True), on(MATRIX))],
    np.all: [(lambda x: x * np.all(x > 0, axis=1, keepdims=True, where=MASK), on(MATRIX))],
    np.any: [(lambda x: x * np.any(x > 0, where=MASK), on(MATRIX))],
    np.nansum: [
        (lambda x: np.nansum(holed(x)), on(MATRIX)),
        (lambda x: np.nansum(holed(x), axis=1, initial=1.0, where=MASK), on(MATRIX)),
    ],
    np.nanprod: [(lambda x: np.nanprod(holed(x), axis=0), on(MATRIX))],
    np.nanmean: [
        (lambda x: np.nanmean(holed(x), axis=0), on(MATRIX)),
        (lambda x: np.nanmean(holed(x), where=MASK), on(MATRIX)),
    ],
    np.nanvar: [(lambda x: np.nanvar(holed(x), axis=1, ddof=1), on(MATRIX))],
    np.nanstd: [(lambda x: np.nanstd(holed(x), axis=1), on(MATRIX))],
    np.nancumsum: [(lambda x: np.nancumsum(holed(x), axis=1), on(MATRIX))],
    np.nancumprod: [(lambda x: np.nancumprod(holed(x)), on(MATRIX))],
    np.nanmax: [(lambda x: np.nanmax(holed(x), axis=1), on(MATRIX)), (lambda x: np.nanmax(holed(x)), on(MATRIX))],
    np.nanmin: [(lambda x: np.nanmin(holed(x), axis=0, keepdims=True), on(MATRIX))],
    np.nanargmax: [(lambda x: x * np.nanargmax(holed(x), axis=0), on(MATRIX))],
    np.nanargmin: [(lambda x: x * np.nanargmin(holed(x)), on(MATRIX))],
    # ---- Order statistics ----
    np.median: [
        (lambda x: np.median(x), on(MATRIX, VECTOR, LONG, SCALAR, CUBE)),
        (lambda x: np.median(x, axis=1), on(MATRIX)),
        (lambda x: np.median(x, axis=(0, 2), keepdims=True), on(CUBE)),
    ],
    np.quantile: [
        *[(lambda x, m=m: np.quantile(x, QUANTILES, method=m), on(LONG)) for m in METHODS],
        *[(lambda x, m=m: np.quantile(x, 0.4, axis=0, method=m), on((4, 2))) for m in METHODS],
        (lambda x: np.quantile(x, 0.3), on(LONG)),
        (lambda x: np.quantile(x, [0.0, 1.0], axis=1, keepdims=True), on(MATRIX)),
        (lambda x: np.quantile(x, QUANTILES.reshape(1, 3), axis=(0, 1)), on(MATRIX)),
        (lambda x, q: np.quantile(x, 0.4 + 0.1 * q), [(LONG, SCALAR), (LONG, (2,))]),
    ],
    np.percentile: [
        (lambda x: np.percentile(x, 30), on(LONG)),
        (lambda x: np.percentile(x, [10, 77.0], axis=1), on(MATRIX)),
    ],
    np.nanmedian: [(lambda x: np.nanmedian(holed(x), axis=1), on(MATRIX)), (lambda x: np.nanmedian(x), on(MATRIX))],
    np.nanquantile: [
        (lambda x: np.nanquantile(holed(x), QUANTILES, axis=1), on(MATRIX)),
        (lambda x: np.nanquantile(holed(x), 0.7, axis=0, keepdims=True), on(MATRIX)),
    ],
    np.nanpercentile: [(lambda x: np.nanpercentile(holed(x), 60), on(MATRIX))],
    np.cov: [
        (lambda x: np.cov(x), on(MATRIX, VECTOR, (3, 4))),
        (lambda x, y: np.cov(x, y, ddof=0), [(VECTOR, VECTOR), (MATRIX, VECTOR)]),
        (lambda x: np.cov(x, rowvar=False, bias=True), on((4, 2))),
        (lambda x: np.cov(x, fweights=[1, 2, 1]), on(MATRIX)),
        (lambda x: np.cov(x, aweights=WEIGHTS), on(MATRIX)),
        (lambda x: np.cov(x, fweights=[1, 2, 1], aweights=WEIGHTS), on(MATRIX)),
        (lambda x, w: np.cov(x, aweights=2.0 + w * w), [(MATRIX, VECTOR)]),
    ],
    np.corrcoef: [(lambda x: np.corrcoef(x), on((2, 4), (3, 5))), (lambda x, y: np.corrcoef(x, y), [(LONG, LONG)])],
    np.bincount: [
        (lambda w: np.bincount([0, 2, 2], weights=w), on(VECTOR)),
        (lambda w: np.bincount([0, 2, 0, 1, 1], w, minlength=6), on(LONG)),
    ],
    np.histogram: [
        (lambda w: np.histogram([0.1, 0.5, 0.9], bins=[0.0, 0.3, 1.0], weights=w)[0], on(VECTOR)),
        (
            lambda w: np.histogram([0.1, 0.5, 0.9], bins=2, range=(0, 1), weights=2.0 + w * w, density=True)[0],
            on(VECTOR),
        ),
        (lambda x: x * np.histogram(x, bins=3)[0], on(VECTOR)),
        (lambda x: np.histogram(x, bins=3)[1], on(LONG)),
        (lambda x: x * np.histogram(x, bins=5, density=True, range=(-4, 4))[0], on(LONG)),
    ],
    np.histogram_bin_edges: [(lambda x: np.histogram_bin_edges(x, 4), on(LONG))],
    # ---- Shapes ----
    np.resize: [(lambda x: np.resize(x, (3, 4)), on(MATRIX)), (lambda x: np.resize(x, 2), on(MATRIX))],
    np.atleast_3d: [(lambda x: np.atleast_3d(x), on(SCALAR, VECTOR, MATRIX, CUBE))],
    np.rollaxis: [(lambda x: np.rollaxis(x, 2), on(CUBE)), (lambda x: np.rollaxis(x, 0, 3), on(CUBE))],
    np.flipud: [(lambda x: np.flipud(x), on(VECTOR, MATRIX))],
    np.fliplr: [(lambda x: np.fliplr(x), on(MATRIX))],
    np.rot90: [(lambda x, k=k: np.rot90(x, k), on(MATRIX)) for k in (0, 1, 2, 3, -1)]
    + [(lambda x: np.rot90(x, 1, (2, 0)), on(CUBE))],
    np.roll: [
        (lambda x: np.roll(x, 1), on(VECTOR, MATRIX)),
        (lambda x: np.roll(x, -2, axis=1), on(MATRIX)),
        (lambda x: np.roll(x, (1, 2), axis=(0, 1)), on(MATRIX)),
        (lambda x: np.roll(x, (1, 1), axis=(1, 1)), on(MATRIX)),
        (lambda x: np.roll(x, 1, axis=(0, 1)), on(MATRIX)),
    ],
    np.tile: [
        (lambda x: np.tile(x, 2), on(SCALAR, VECTOR, MATRIX)),
        (lambda x: np.tile(x, (2, 1, 2)), on(MATRIX)),
        (lambda x: np.tile(x, (2,)), on(CUBE)),
    ],
    np.repeat: [
        (lambda x: np.repeat(x, 2), on(VECTOR, MATRIX, SCALAR)),
        (lambda x: np.repeat(x, [1, 0, 2], axis=1), on(MATRIX)),
        (lambda x: x.repeat(2, axis=0), on(MATRIX)),
        (lambda x: np.repeat(x, [2], axis=-1), on(MATRIX)),
    ],
    np.meshgrid: [
        (lambda x, y: np.meshgrid(x, y)[0] * np.meshgrid(x, y)[1], [(VECTOR, (2,))]),
        (lambda x, y: np.meshgrid(x, y, [1.0, 2.0], indexing="ij")[1], [(VECTOR, (2,))]),
        (lambda x, y: np.meshgrid(x, y, sparse=True)[0], [(VECTOR, (2,))]),
    ],
    np.ix_: [
        (lambda x: x[np.ix_([1, 0], [2, 2])], on(MATRIX)),
        (lambda x: x * np.ix_(x[:, 0] > -9, x[0] > -9)[1], on(MATRIX)),
    ],
    np.diag: [
        (lambda x: np.diag(x), on(VECTOR, MATRIX)),
        (lambda x: np.diag(x, 1), on(VECTOR, MATRIX)),
        (lambda x: np.diag(x, -2), on(VECTOR)),
    ],
    np.diagflat: [(lambda x: np.diagflat(x, 1), on(MATRIX, SCALAR))],
    np.tril: [(lambda x: np.tril(x), on(MATRIX, SQUARE, CUBE, VECTOR)), (lambda x: np.tril(x, -1), on(SQUARE))],
    np.triu: [(lambda x: np.triu(x), on(MATRIX, SQUARE)), (lambda x: np.triu(x, 1), on(SQUARE))],
    np.trace: [(lambda x: np.trace(x, dtype=np.float64), on(SQUARE))],
    np.astype: [(lambda x: np.astype(x, np.float64), on(VECTOR))],
    # ---- Joining ----
    np.stack: [(lambda x: np.stack([x, x], dtype=np.float64), on(VECTOR))],
    np.concatenate: [(lambda x: np.concatenate([x, x], dtype=np.float32, casting="same_kind"), on(VECTOR))],
    np.dstack: [(lambda x, y: np.dstack([x, y]), [(VECTOR, VECTOR), (MATRIX, MATRIX)])],
    np.block: [
        (lambda x, y: np.block([[x, y], [y, x]]), [(MATRIX, MATRIX)]),
        (lambda x, y: np.block([x, y, 1.0]), [(VECTOR, LONG)]),
        (lambda x, y: np.block([[x, np.zeros((2, 1))], [y, 1.0]]), [(MATRIX, (1, 3))]),
        (lambda x: np.block(x), on(MATRIX)),
    ],
    np.insert: [
        (lambda x: np.insert(x, 1, 5.0), on(VECTOR, MATRIX)),
        (lambda x, v: np.insert(x, [0, 2], v), [(VECTOR, (2,)), (VECTOR, SCALAR)]),
        (lambda x, v: np.insert(x, 1, v, axis=1), [(MATRIX, (2,)), (MATRIX, SCALAR)]),
        (lambda x, v: np.insert(x, [1], v, axis=1), [(MATRIX, (2, 1))]),
        (lambda x, v: np.insert(x, slice(0, 2), v, axis=0), [(MATRIX, (2, 3))]),
        (lambda x, v: np.insert(x, 1, v), [(VECTOR, (2,))]),
    ],
    np.delete: [
        (lambda x: np.delete(x, 1), on(VECTOR, MATRIX)),
        (lambda x: np.delete(x, [0, -1], axis=1), on(MATRIX)),
        (lambda x: np.delete(x, np.s_[::2], axis=1), on(MATRIX)),
        (lambda x: np.delete(x, [True, False, True]), on(VECTOR)),
    ],
    np.array_split: [
        (lambda x: np.array_split(x, 2)[1], on(VECTOR, LONG)),
        (lambda x: np.array_split(x, [1, 2], 1)[1], on(MATRIX)),
    ],
    np.split: [(lambda x: np.split(x, 3)[2], on(VECTOR)), (lambda x: np.split(x, [2, 9], axis=1)[0], on(MATRIX))],
    np.hsplit: [(lambda x: np.hsplit(x, 3)[1], on(MATRIX, VECTOR))],
    np.vsplit: [(lambda x: np.vsplit(x, 2)[1], on(MATRIX))],
    np.dsplit: [(lambda x: np.dsplit(x, 3)[0], on(CUBE))],
    np.unstack: [(lambda x: np.unstack(x, axis=1)[2], on(MATRIX))],
    np.pad: [
        (lambda x: np.pad(x, 1), on(VECTOR, MATRIX)),
        (lambda x: np.pad(x, (1, 2), constant_values=(1.0, 2.0)), on(VECTOR)),
        (lambda x, c: np.pad(x, 1, constant_values=c), [(MATRIX, SCALAR)]),
        *[
            (lambda x, m=m: np.pad(x, ((1, 2), (2, 0)), m), on(MATRIX))
            for m in ("edge", "wrap", "symmetric", "linear_ramp")
        ],
        *[
            (lambda x, m=m: np.pad(x, ((0, 1), (2, 2)), m), on(MATRIX))
            for m in ("reflect", "mean", "maximum", "minimum", "median")
        ],
        (lambda x: np.pad(x, 3, "reflect", reflect_type="odd"), on((2,), LONG)),
        (lambda x: np.pad(x, 4, "symmetric", reflect_type="odd"), on((2,), LONG)),
        (lambda x: np.pad(x, 7, "reflect"), on(VECTOR)),
        (lambda x: np.pad(x, 2, "mean", stat_length=2), on(LONG)),
        (lambda x: np.pad(x, 3, "linear_ramp", end_values=(1.0, -1.0)), on(LONG)),
        (lambda x: np.pad(x, {1: (1, 2)}), on(MATRIX)),
    ],
    # ---- Selecting ----
    np.take: [
        (lambda x: np.take(x, [1, 0, 1]), on(VECTOR, MATRIX)),
        (lambda x: np.take(x, [[1, 0], [2, -1]], axis=1), on(MATRIX)),
        (lambda x: x.take(1, axis=0), on(MATRIX)),
        (lambda x: np.take(x, [7, -9, 1], mode="clip"), on(VECTOR)),
        (lambda x: np.take(x, [7, -9, 1], mode="wrap", axis=-1), on(MATRIX)),
        (lambda x: np.take(x, np.argmax(x)), on(MATRIX)),
    ],
    np.take_along_axis: [
        (lambda x: np.take_along_axis(x, np.argsort(x, axis=1), axis=1), on(MATRIX)),
        (lambda x: np.take_along_axis(x, np.array([[0, 2, 2, -1]]), axis=1), on(MATRIX)),
        (lambda x: np.take_along_axis(x, np.array([4, 0]), axis=None), on(MATRIX)),
    ],
    np.compress: [
        (lambda x: np.compress([True, False, True], x, axis=1), on(MATRIX)),
        (lambda x: np.compress(x[0] > 0, x[1]), on(MATRIX)),
        (lambda x: x.compress([False, True]), on(VECTOR)),
    ],
    np.extract: [(lambda x: np.extract(x > 0, x), on(MATRIX, LONG))],
    np.choose: [
        (lambda x, y: np.choose([0, 1, 1], [x, y]), [(VECTOR, VECTOR), (VECTOR, SCALAR)]),
        (lambda x, y: np.choose([0, 3, -1], (x, y), mode="wrap"), [(VECTOR, VECTOR)]),
        (lambda x, y: np.choose([0, 3, -1], (x, y), mode="clip"), [(MATRIX, VECTOR)]),
    ],
    np.select: [
        (lambda x: np.select([x > 0.5, x < -0.3], [x * x, 2 * x], 1.0), on(MATRIX, LONG)),
        (lambda x, y: np.select([MASK], [x], y), [(MATRIX, SCALAR), (VECTOR, MATRIX)]),
        (lambda x: np.select([x > 0], [x]), on(SCALAR)),
    ],
    np.piecewise: [
        (lambda x: np.piecewise(x, [x < 0, x >= 0], [lambda v: -v, lambda v: v * v]), on(MATRIX, LONG)),
        (lambda x: np.piecewise(x, [x < -0.2, x > 0.4], [1.5, lambda v: np.exp(v), np.sin]), on(LONG)),
        (lambda x: np.piecewise(x, x < 0, [lambda v, c: c * v, 0.5], 3.0), on(LONG)),
    ],
    np.where: [
        (lambda x: x[np.where(x > 0)], on(LONG, MATRIX)),
        (lambda x: np.where(x > 0, x, np.float64(1.0)), on(MATRIX)),
    ],
    np.clip: [
        (lambda x: np.clip(x, OTHER, None), on(MATRIX)),
        (lambda x: np.clip(x, max=0.5), on(MATRIX)),
        (lambda x: np.clip(x), on(MATRIX)),
    ],
    np.nan_to_num: [
        (lambda x: np.nan_to_num(holed(x)), on(MATRIX)),
        (lambda x: np.nan_to_num(np.where(MASK, x, np.inf), posinf=3.0), on(MATRIX)),
        (lambda x: np.nan_to_num(np.where(MASK, x, -np.inf), nan=1.0, neginf=-3.0), on(MATRIX)),
    ],
    np.nonzero: [(lambda x: x[np.nonzero(x > 0)], on(MATRIX)), (lambda x: x[(x < 0).nonzero()], on(LONG))],
    np.argwhere: [(lambda x: x[np.argwhere(x > 0)[:, 0]], on(LONG))],
    np.flatnonzero: [(lambda x: x.ravel()[np.flatnonzero(x > 0)], on(MATRIX))],
    np.searchsorted: [
        (lambda x: x * np.searchsorted([-0.5, 0.0, 0.5], x), on(MATRIX)),
        (lambda x: x * np.sort(x).searchsorted(0.0, side="right"), on(LONG)),
        (lambda x: x * np.searchsorted(x, 0.3, sorter=np.argsort(x)), on(LONG)),
    ],
    np.digitize: [
        (lambda x: x * np.digitize(x, [-0.5, 0.0, 0.5]), on(MATRIX)),
        (lambda x: x * np.digitize(x, [0.5, 0.0, -0.5], right=True), on(MATRIX)),
    ],
    np.isin: [(lambda x: x * np.isin(x, [0.1, 0.3], invert=True), on(MATRIX))],
    np.unravel_index: [
        (lambda x: x[np.unravel_index(np.argmax(x), x.shape)], on(MATRIX)),
        (lambda x: x * np.unravel_index(np.argmax(x), x.shape, order="F")[1], on(MATRIX)),
    ],
    np.ravel_multi_index: [(lambda x: x.ravel()[np.ravel_multi_index(np.nonzero(x > 0), x.shape)], on(MATRIX))],
    np.argsort: [
        (lambda x: x[np.argsort(x)], on(LONG)),
        (lambda x: x * x.argsort(axis=0, kind="stable"), on(MATRIX)),
        (lambda x: np.argsort(x, axis=None) * x.ravel(), on(MATRIX)),
    ],
    np.sort: [
        (lambda x: np.sort(x), on(VECTOR, LONG, MATRIX, (0,))),
        (lambda x: np.sort(x, axis=0, kind="stable"), on(MATRIX, CUBE)),
        (lambda x: np.sort(x, axis=None), on(MATRIX)),
        (lambda x: np.array(sorted(x)), on(VECTOR)),
    ],
    np.argpartition: [(lambda x: x[np.argpartition(x, 2)[2]], on(LONG))],
    np.partition: [
        (lambda x: np.partition(x, 2)[2], on(LONG)),
        (lambda x: np.partition(x, [0, 2], axis=0)[0], on((4, 2))),
        (lambda x: np.sort(np.partition(x, 1, axis=None)), on(MATRIX)),
    ],
    np.lexsort: [(lambda x, y: x[np.lexsort((x, y))], [(LONG, LONG)]), (lambda x: x[0][np.lexsort(x)], on(MATRIX))],
    np.unique: [
        (lambda x: np.unique(x), on(LONG, MATRIX)),
        (lambda x: np.unique(np.concatenate([x, x])), on(VECTOR)),
        (lambda x: np.unique(x, axis=0), on(MATRIX)),
        (lambda x: np.unique(x, return_index=True)[1] * x, on(LONG)),
        (lambda x: np.unique(x, return_inverse=True)[1] * x, on(LONG)),
        (lambda x: np.unique(x, return_counts=True)[1] * x, on(LONG)),
    ],
    np.unique_all: [(lambda x: np.unique_all(x).values, on(LONG))],
    np.unique_counts: [(lambda x: np.unique_counts(x).values, on(LONG))],
    np.unique_inverse: [(lambda x: np.unique_inverse(x).inverse_indices * x, on(LONG))],
    np.unique_values: [(lambda x: np.sort(np.unique_values(x)), on(LONG))],
    np.union1d: [(lambda x, y: np.union1d(x, y), [(VECTOR, (2,))])],
    np.setdiff1d: [(lambda x, y: np.setdiff1d(x, y), [(VECTOR, (2,))])],
    np.intersect1d: [(lambda x: np.intersect1d(x, np.concatenate([x[:2], x[:1] + 0.01])), on(LONG))],
    np.setxor1d: [(lambda x, y: np.setxor1d(x, y), [(VECTOR, (2,))])],
    np.trim_zeros: [(lambda x: np.trim_zeros(np.concatenate([[0.0], x, [0.0, 0.0]])), on(VECTOR))],
    np.apply_along_axis: [
        (lambda x: np.apply_along_axis(np.sum, 1, x), on(MATRIX)),
        (lambda x: np.apply_along_axis(lambda v: v * v[0], 0, x), on(MATRIX, CUBE)),
        (lambda x: np.apply_along_axis(np.diag, -1, x), on(MATRIX)),
    ],
    np.apply_over_axes: [(lambda x: np.apply_over_axes(np.sum, x, [0, 2]), on(CUBE))],
    # ---- Products ----
    np.vecdot: [
        (lambda x, y: np.vecdot(x, y), [(VECTOR, VECTOR), (MATRIX, VECTOR)]),
        (lambda x, y: np.vecdot(x, y, axis=0), [(MATRIX, MATRIX)]),
    ],
    np.matvec: [(lambda x, y: np.matvec(x, y), [(MATRIX, VECTOR), ((2, 2, 3), VECTOR), (MATRIX, (4, 3))])],
    np.vecmat: [(lambda x, y: np.vecmat(x, y), [(VECTOR, (3, 2)), ((4, 3), (3, 2))])],
    np.dot: [(lambda x, y: np.dot(x, y), [((2, 2), (2, 2, 2)), ((1, 2, 3), (2, 3, 2))])],
    np.cross: [
        (lambda x, y: np.cross(x, y), [(VECTOR, VECTOR), (MATRIX, VECTOR), (MATRIX, MATRIX)]),
        (lambda x, y: np.cross(x, y, axis=0), [((3, 2), (3, 2))]),
        (lambda x, y: np.cross(x, y, axisa=0, axisc=0), [((3, 2), (2, 3))]),
    ],
    np.kron: [
        (
            lambda x, y: np.kron(x, y),
            [(VECTOR, (2,)), (MATRIX, (3, 2)), (MATRIX, VECTOR), (VECTOR, (2, 1, 2)), (SCALAR, MATRIX)],
        )
    ],
    np.einsum: [
        (lambda x, y: np.einsum("ij,jk->ik", x, y), [(MATRIX, (3, 4))]),
        (lambda x, y: np.einsum("ij,jk", x, y), [(MATRIX, (3, 4))]),
        (lambda x, y: np.einsum("bij,bjk->bik", x, y), [((2, 2, 3), (2, 3, 2))]),
        (lambda x, y: np.einsum("bi,bi->b", x, y), [(MATRIX, MATRIX)]),
        (lambda x, y: np.einsum("i,j->ji", x, y), [(VECTOR, (2,))]),
        (lambda x, y: np.einsum("i,i", x, y), [(VECTOR, VECTOR)]),
        (lambda x, y: np.einsum("...ij,...j->...i", x, y), [(CUBE, VECTOR), ((4, 2, 3), (4, 3))]),
        (lambda x, y: np.einsum("i...,i...", x, y), [(MATRIX, MATRIX)]),
        (lambda x: np.einsum("ii", x), on(SQUARE)),
        (lambda x: np.einsum("ii->i", x), on(SQUARE)),
        (lambda x: np.einsum("iij->j", x), on((2, 2, 3))),
        (lambda x: np.einsum("iii->i", x), on((2, 2, 2))),
        (lambda x: np.einsum("ij->ji", x), on(MATRIX)),
        (lambda x: np.einsum("ji", x), on(MATRIX)),
        (lambda x: np.einsum("ij->", x), on(MATRIX)),
        (lambda x: np.einsum("i...->...", x), on(CUBE)),
        (lambda x, y: np.einsum(x, [0, 1], y, [1, 2], [0, 2]), [(MATRIX, (3, 2))]),
        (lambda x, y: np.einsum(x, [Ellipsis, 1], y, [1]), [(MATRIX, VECTOR)]),
        (lambda x, y, z: np.einsum("ij,jk,kl->il", x, y, z), [(MATRIX, (3, 2), (2, 2))]),
        (lambda x, y, z: np.einsum("i,ij,j", x, y, z, optimize=True), [((2,), MATRIX, VECTOR)]),
        (lambda x, y, z: np.einsum("ij,ik,il->jkl", x, y, z, optimize="optimal"), [((2, 3), (2, 1), (2, 2))]),
        (lambda x, y: np.einsum("ij,ij->j", x, y), [((1, 3), (2, 3))]),
        (lambda x, y: np.einsum("ij,k->j", x, y), [(MATRIX, (4,))]),
        (lambda x: np.einsum("ij,ij->i", x, x), on(MATRIX)),
        (lambda x: np.einsum("ij,kj->ik", x, OTHER), on(MATRIX)),
        (lambda x: np.einsum("i,i->", x, x, dtype=np.float64), on(VECTOR)),
    ],
    np.einsum_path: [(lambda x: x * len(np.einsum_path("i,i,i->", x, x, x)[0]), on(VECTOR))],
    # ---- Sampled functions ----
    np.diff: [
        (lambda x: np.diff(x), on(VECTOR, MATRIX)),
        (lambda x: np.diff(x, 2, axis=0), on((4, 2))),
        (lambda x, a: np.diff(x, prepend=a, append=[9.0]), [(VECTOR, SCALAR), (VECTOR, (2,))]),
        (lambda x: np.diff(x, n=0), on(VECTOR)),
    ],
    np.ediff1d: [
        (lambda x: np.ediff1d(x), on(MATRIX)),
        (lambda x, y: np.ediff1d(x, y, [1.0, 2.0]), [(VECTOR, SCALAR)]),
    ],
    np.gradient: [
        (lambda x: np.gradient(x), on(VECTOR, LONG)),
        (lambda x: np.gradient(x, 0.5, edge_order=2), on(LONG)),
        (lambda x: np.gradient(x, axis=1), on(MATRIX)),
        (lambda x: np.gradient(x)[0] * np.gradient(x)[1], on(MATRIX)),
        (lambda x: np.gradient(x, 0.5, 2.0)[1], on(MATRIX)),
        (lambda x: np.gradient(x, [0.0, 1.0, 3.0, 3.5, 5.0]), on(LONG)),
        (lambda x: np.gradient(x, [0.0, 1.0, 3.0, 3.5, 5.0], edge_order=2), on(LONG)),
        (lambda x, h: np.gradient(x, 2.0 + h), [(LONG, SCALAR)]),
        (lambda x, t: np.gradient(x, np.cumsum(2.0 + t * t), edge_order=2), [(LONG, LONG)]),
    ],
    np.trapezoid: [
        (lambda y: np.trapezoid(y), on(VECTOR, MATRIX)),
        (lambda y, x: np.trapezoid(y, x), [(VECTOR, VECTOR), (MATRIX, VECTOR), (MATRIX, MATRIX)]),
        (lambda y: np.trapezoid(y, dx=0.3, axis=0), on(MATRIX)),
    ],
    np.interp: [
        (lambda x: np.interp(x, [-1.0, 0.02, 0.4, 2.0], [1.0, 3.0, 2.0, 5.0]), on(MATRIX, SCALAR)),
        (lambda x, y: np.interp(x, [-0.5, 0.02, 0.4], y), [(LONG, VECTOR)]),
        (lambda x, y: np.interp(0.55, np.cumsum(0.3 + x * x), y), [(VECTOR, VECTOR)]),
        (lambda x, left: np.interp(x, [-0.2, 0.3], [1.0, 2.0], left=left, right=7.0), [(LONG, SCALAR)]),
        (lambda x, y: np.interp(x, [0.9, 0.2, 2.5], y, period=1.0), [(LONG, VECTOR)]),
    ],
    np.convolve: [
        *[
            (
                lambda x, y, m=m: np.convolve(x, y, m),
                [(LONG, VECTOR), (VECTOR, LONG), (LONG, (2,)), ((4,), (4,)), ((1,), VECTOR)],
            )
            for m in ("full", "same", "valid")
        ],
        (lambda x: np.convolve(x, [1.0, 2.0]), on(VECTOR)),
        (lambda x: np.convolve(x, x), on(VECTOR)),
    ],
    np.correlate: [
        *[
            (
                lambda x, y, m=m: np.correlate(x, y, m),
                [(LONG, VECTOR), (VECTOR, LONG), (LONG, (2,)), ((2,), LONG), ((4,), (4,)), ((4,), (2,)), ((2,), (4,))],
            )
            for m in ("full", "same", "valid")
        ],
        (lambda x, y: np.correlate(x, y), [(LONG, VECTOR)]),
    ],
    np.unwrap: [
        (lambda x: np.unwrap(7.3 * x), on(LONG)),
        (lambda x: np.unwrap(2.2 * x, axis=0, period=1.7), on(MATRIX)),
    ],
    np.sinc: [(lambda x: np.sinc(x), on(MATRIX, SCALAR)), (lambda x: np.sinc(x - x[0]), on(VECTOR))],
    np.i0: [(lambda x: np.i0(x), on(MATRIX, VECTOR))],
    np.polyval: [
        (lambda p, x: np.polyval(p, x), [(VECTOR, SCALAR), (VECTOR, MATRIX)]),
        (lambda x: np.polyval([2.0, 0.0, 1.0], x), on(MATRIX)),
    ],
    np.polyadd: [(lambda p, q: np.polyadd(p, q), [(VECTOR, LONG), (VECTOR, (1,))])],
    np.polysub: [(lambda p, q: np.polysub(p, q), [(VECTOR, LONG)])],
    np.polymul: [(lambda p, q: np.polymul(p, q), [(VECTOR, LONG)])],
    np.polydiv: [(lambda p, q: np.concatenate(np.polydiv(p, q)), [(LONG, VECTOR)])],
    np.polyder: [(lambda p: np.polyder(p), on(LONG)), (lambda p: np.polyder(p, 2), on(LONG))],
    np.polyint: [(lambda p: np.polyint(p), on(VECTOR)), (lambda p: np.polyint(p, 2, k=[1.0, 2.0]), on(VECTOR))],
    np.roots: [
        (lambda p: np.sort(np.real(np.roots(np.concatenate([[1.0, -6.0], [11.0, -6.0] + 0.1 * p])))), on((2,))),
        (lambda p: np.sort(np.real(np.roots(np.concatenate([[0.0], 2.0 + p, [0.0]])))), on((2,))),
    ],
    np.polyfit: [
        (lambda y: np.polyfit([0.1, 0.5, 0.9, 1.4, 2.0], y, 2), on(LONG, (5, 2))),
        (lambda x, y: np.polyfit(x, y, 1, w=[1.0, 2.0, 1.0, 0.5, 3.0]), [(LONG, LONG)]),
    ],
    np.poly: [(lambda r: np.poly(r), on(VECTOR))],
    np.vander: [(lambda x: np.vander(x), on(VECTOR)), (lambda x: np.vander(x, 4, increasing=True), on(VECTOR))],
    # ---- Making ----
    np.empty_like: [(lambda x: x + 0.0 * np.nan_to_num(np.empty_like(x), posinf=0.0, neginf=0.0), on(MATRIX))],
    np.full_like: [(lambda x: x + np.full_like(x, x[1], dtype=np.float64, shape=(3,)), on(VECTOR))],
    np.linspace: [
        (lambda a, b: np.linspace(a, b, 5), [(SCALAR, SCALAR), (VECTOR, SCALAR), (VECTOR, VECTOR)]),
        (lambda a: np.linspace(0.0, a, 4, endpoint=False), on(SCALAR)),
        (lambda a: np.linspace(a, 1.0, 3, axis=-1), on(VECTOR)),
        (lambda a, b: np.linspace(a, b, 5, retstep=True)[1], [(SCALAR, SCALAR)]),
        (lambda a: np.linspace(a, 1.0, 1), on(SCALAR)),
    ],
    np.logspace: [
        (lambda a, b: np.logspace(a, b, 4), [(SCALAR, SCALAR)]),
        (lambda a, b: np.logspace(a, 1.0, 4, base=2.0 + b), [(SCALAR, SCALAR)]),
    ],
    np.geomspace: [
        (lambda a, b: np.geomspace(2.0 + a, 9.0 + b, 4), [(SCALAR, SCALAR)]),
        (lambda a: np.geomspace(2.0 + a, 1.0, 3, endpoint=False), on(SCALAR)),
    ],
    np.size: [(lambda x: x * np.size(x, (0, 1)), on(MATRIX))],
    np.can_cast: [(lambda x: x * np.can_cast(x.dtype, np.float64), on(VECTOR))],
    np.common_type: [(lambda x: x.astype(np.common_type(x, OTHER)), on(VECTOR))],
    np.array2string: [(lambda x: x * len(np.array2string(x, precision=2)[:1]), on(VECTOR))],
    np.array_repr: [(lambda x: x * len(np.array_repr(x[:1], precision=1)[:6]), on(VECTOR))],
    np.array_str: [(lambda x: x * len(np.array_str(x[:1], precision=1)[:1]), on(VECTOR))],
    np.iscomplexobj: [(lambda x: x * np.iscomplexobj(x), on(VECTOR))],
    np.isrealobj: [(lambda x: x * np.isrealobj(x), on(VECTOR))],
    np.shares_memory: [(lambda x: x * np.shares_memory(x, x), on(VECTOR))],
    np.may_share_memory: [(lambda x: x * np.may_share_memory(x, x), on(VECTOR))],
    # ---- Comparing and rounding ----
    np.isclose: [
        (lambda x: x * np.isclose(x, OTHER, atol=0.5), on(MATRIX)),
        (lambda x: x * np.isclose(holed(x), holed(x), equal_nan=True), on(MATRIX)),
    ],
    np.allclose: [
        (lambda x: x * np.allclose(x, x + 1e-12), on(MATRIX)),
        (lambda x: x if np.allclose(x, 9.0) else 2 * x, on(MATRIX)),
    ],
    np.array_equal: [
        (lambda x: x * np.array_equal(x, x), on(MATRIX)),
        (lambda x: x * np.array_equal(x, [1.0]), on(MATRIX)),
    ],
    np.array_equiv: [(lambda x: x * np.array_equiv(x, 2 * x), on(MATRIX))],
    np.isposinf: [(lambda x: x * ~np.isposinf(x), on(MATRIX))],
    np.isneginf: [(lambda x: x * ~np.isneginf(x), on(MATRIX))],
    np.isreal: [(lambda x: x * np.isreal(x), on(MATRIX))],
    np.iscomplex: [(lambda x: x * ~np.iscomplex(x), on(MATRIX))],
    np.round: [
        (lambda x: x * np.round(0.3 * x, 0), on(MATRIX)),
        (lambda x: x * x.round(), on((2,))),
        (lambda x: round(x, 0) * x, on(SCALAR)),
    ],
    np.fix: [(lambda x: x * quietly(np.fix, x), on(MATRIX))],
    np.angle: [(lambda x: x * np.angle(x), on(MATRIX)), (lambda x: x * np.angle(x, deg=True), on(MATRIX))],
    np.real_if_close: [(lambda x: np.real_if_close(x), on(MATRIX))],
    # ---- Ufuncs with two results, with keywords, and their methods ----
    np.modf: [(lambda x: np.modf(2 * x + 0.03)[0], on(MATRIX, SCALAR)), (lambda x: np.modf(2 * x)[1] * x, on(MATRIX))],
    np.frexp: [(lambda x: np.frexp(x + 0.003)[0], on(MATRIX)), (lambda x: np.frexp(x + 0.003)[1] * x, on(MATRIX))],
    np.divmod: [
        (lambda x: np.divmod(x, 0.4)[1] * np.divmod(x, 0.4)[0], on(MATRIX)),
        (lambda x: divmod(x, 0.4)[0] * x, on(MATRIX)),
    ],
}
"""For each function the forms in which it is called, each on arrays of several shapes."""

METHODS_OF_UFUNCS = [
    (lambda x: np.where(MASK, np.log(np.abs(x), where=MASK), 0.0), on(MATRIX)),
    (lambda x, y: np.where(MASK, np.divide(x, y, where=MASK), 1.0), [(MATRIX, MATRIX), (MATRIX, VECTOR)]),
    (lambda x: np.where(MASK, np.arccosh(2.0 + x * x, where=MASK), 0.0), on(MATRIX)),
    (lambda x: np.add(x, OTHER, dtype=np.float64), on(MATRIX)),
    (lambda x: np.multiply(x, 2, dtype=np.float32, casting="same_kind"), on(MATRIX)),
    (lambda x: np.exp(x, signature="d->d"), on(MATRIX)),
    (lambda x: np.exp(x, order="C", subok=False), on(MATRIX)),
    (lambda x, y: np.matmul(x, y, dtype=np.float64), [(MATRIX, (3, 2))]),
    (lambda x, y: np.add.outer(x, y), [(VECTOR, (2,)), (MATRIX, VECTOR), (SCALAR, VECTOR)]),
    (lambda x, y: np.multiply.outer(x, y), [(MATRIX, VECTOR), (VECTOR, SCALAR)]),
    (lambda x: np.subtract.outer(x, [1.0, 2.0]), on(VECTOR)),
    (lambda x: np.power.outer([1.5, 2.0], x), on(VECTOR)),
    *[(lambda x, u=u: u.accumulate(x), on(VECTOR, LONG, MATRIX)) for u in (np.maximum, np.minimum, np.fmax, np.logaddexp, np.subtract, np.hypot)],  # noqa: E501
    *[(lambda x, u=u: u.accumulate(x, axis=1), on(MATRIX)) for u in (np.add, np.multiply, np.maximum, np.divide)],
    *[(lambda x, u=u: u.reduce(x), on(VECTOR, LONG, MATRIX)) for u in (np.logaddexp, np.logaddexp2, np.hypot, np.fmax, np.fmin, np.subtract, np.divide)],  # noqa: E501
    *[(lambda x, u=u: u.reduce(x, axis=1, keepdims=True), on(MATRIX)) for u in (np.logaddexp, np.subtract, np.multiply)],  # noqa: E501
    (lambda x: np.logaddexp.reduce(x, axis=None), on(MATRIX)),
    (lambda x: np.logaddexp.reduce(x, axis=(0, 1), initial=0.5), on(MATRIX)),
    (lambda x: np.logaddexp.reduce(x, axis=1, where=MASK), on(MATRIX)),
    (lambda x: np.hypot.reduce(x), on((0, 2))),
    (lambda x: np.subtract.reduce(x, initial=1.0), on(VECTOR)),
    (lambda x: np.power.accumulate(np.abs(x)), on(VECTOR)),
    (lambda x: np.multiply.reduce(x, axis=(0, 1)), on(MATRIX)),
    (lambda x: x * np.logical_or.reduce(x > 0, axis=0), on(MATRIX)),
    (lambda x: x * np.logical_xor.reduce(x > 0), on(LONG)),
    (lambda x: x * np.bitwise_and.reduce(x > 0), on(LONG)),
    (lambda x: np.add.reduceat(x, [0, 2, 1]), on(VECTOR, LONG)),
    (lambda x: np.add.reduceat(x, [0, 2], axis=1), on(MATRIX)),
    (lambda x: np.multiply.reduceat(x, [0, 3, 1]), on(LONG)),
    (lambda x: np.maximum.reduceat(x, [0, 1], axis=1), on(MATRIX)),
]  # fmt: skip

INDICES = [
    np.s_[1], np.s_[-1], np.s_[1:], np.s_[::-1], np.s_[2:0:-1], np.s_[::2], np.s_[5:], np.s_[...], np.s_[None], np.s_[()],  # noqa: E501
    np.s_[:, 1], np.s_[..., -1], np.s_[1, ..., None], np.s_[None, 1, None, ::-1], np.s_[ROWS], np.s_[:, COLUMNS],
    np.s_[ROWS, COLUMNS], np.s_[[1, 0, 0]], np.s_[[[1, 0], [0, 0]]], np.s_[ROWS[:, None], COLUMNS], np.s_[1, COLUMNS],
    np.s_[ROWS, None, COLUMNS], np.s_[ROWS, ::-1], np.s_[ROWS, 1:], np.s_[MASK], np.s_[MASK[:, 0]], np.s_[:, MASK[0]],
    np.s_[MASK[:, 0], 1], np.s_[ROWS, MASK[0]][:1], np.s_[np.int64(1)], np.s_[np.int64(1), np.int32(-1)], np.s_[[]],
    np.s_[:, []], np.s_[True], np.s_[False], np.s_[[True, False]], np.s_[np.array(1)], np.s_[np.uint8(1)], np.s_[0:0],
    np.s_[..., None, ROWS, None], np.s_[1, None, COLUMNS[:2]],
]  # fmt: skip
"""Indices of a matrix."""
