"""``scipy.ndimage``: filters of images, and images resampled by splines.

Filters are correlations of an image that is extended beyond its edges, one row (`stencil`); a resampled image is a sum
of spline coefficients, weighted by polynomials of the coordinates, which may be traced like the image.  The
coefficients are a recursive filter of the image (`spline_filter`), whose adjoint is the filter itself.

>>> import numpy as np, scipy.ndimage, wengert as wg
>>> image = np.arange(9.0).reshape(3, 3)
>>> wg.grad(lambda s: scipy.ndimage.gaussian_filter(image, s, radius=1)[0, 0])(0.8).round(4)
np.float64(0.9747)
>>> wg.grad(lambda p: scipy.ndimage.map_coordinates(image, p, order=1)[0])(np.array([[1.2], [0.7]]))
array([[3.],
       [1.]])
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from wengert.errors import UnsupportedError
from wengert.jacobians import LocalJacobian, Map, matrix_of_pairs
from wengert.primitives.numpy.functions.operands import as_floats, as_operand, as_reals, is_traced, pick
from wengert.primitives.table import LATE, array_function, calls
from wengert.program import Primitive, Recordable

Array = Any


# ---- The rows ----


def _stencil(x: Array, w: Array) -> Array:
    """Correlate over the last axes, where the kernel lies within the image."""
    kind = np.result_type(x.dtype, w.dtype, np.float32)
    x, w = x.astype(kind, copy=False), w.astype(kind, copy=False)
    lead = x.ndim - w.ndim
    shape = (*x.shape[:lead], *[n - k + 1 for n, k in zip(x.shape[lead:], w.shape, strict=True)])
    if 0 in shape or math.prod(shape[lead:]) < w.size:  # each result is a product of a window and the kernel
        y = np.empty(shape, kind)
        for index in np.ndindex(*shape[lead:]):
            around: list[Any] = [..., *[slice(i, i + k) for i, k in zip(index, w.shape, strict=True)]]
            window = x[tuple(around)]
            y[(..., *index)] = np.tensordot(window, w, w.ndim)
        return y
    import scipy.ndimage

    long = [axis for axis, k in enumerate(w.shape) if k > 1]
    if len(long) == 1:
        correlated = scipy.ndimage.correlate1d(x, w.ravel(), lead + long[0], mode="constant")
    else:
        correlated = scipy.ndimage.correlate(x, w.reshape((1,) * lead + w.shape), mode="constant")
    cut: list[Any] = [..., *[slice(k // 2, k // 2 + n) for n, k in zip(shape[lead:], w.shape, strict=True)]]
    return np.ascontiguousarray(correlated[tuple(cut)])


def _one_by_one(work: Callable[[Array], Array], block: Array, ndim: int) -> Array:
    """Apply to each of a block of arrays, if it is one, and stack the results."""
    return work(block) if block.ndim == ndim else np.stack([_one_by_one(work, part, ndim) for part in block])


def _stencil_in_image(y: Any, x: Any, w: Array) -> LocalJacobian:
    widths = [(k - 1, k - 1) for k in w.shape]

    def pull(g: Array) -> Array:
        padded = np.pad(g, [(0, 0)] * (g.ndim - w.ndim) + widths)
        return stencil(padded, w[(slice(None, None, -1),) * w.ndim])

    def entries() -> Any:
        positions, sources = np.arange(math.prod(x.shape)).reshape(x.shape), []
        for offset in np.argwhere(w):
            window: list[Any] = [slice(k, k + n) for k, n in zip(offset, y.shape[len(y.shape) - w.ndim :], strict=True)]
            sources.append(positions[(..., *window)].reshape(-1))
        rows = np.tile(np.arange(math.prod(y.shape)), len(sources))
        columns = np.concatenate([np.zeros(0, np.intp), *sources])
        return matrix_of_pairs(rows, columns, (math.prod(y.shape), math.prod(x.shape)))

    return Map(x.shape, y.shape, lambda t: stencil(t, w), pull, _counts(y, x, w), name="stencil", entries=entries)


def _stencil_in_kernel(y: Any, x: Array, w: Any) -> LocalJacobian:
    lead = x.ndim - w.ndim

    def pull(g: Array) -> Array:
        if not lead:
            return _one_by_one(lambda g: stencil(x, g), g, y.ndim)

        def of_all(g: Array) -> Array:
            parts = [stencil(x[index], g[index]) for index in np.ndindex(*x.shape[:lead])]
            return np.sum(np.stack(parts), axis=0)

        return _one_by_one(of_all, g, y.ndim)

    return Map(
        w.shape,
        y.shape,
        lambda t: _one_by_one(lambda t: stencil(x, t), t, w.ndim),
        pull,
        _counts(y, x, w),
        name="stencil",
    )


def _counts(y: Any, _x: Any, w: Any) -> dict[str, int]:
    return {"multiplications": y.size * w.size, "additions": y.size * max(w.size - 1, 0)}


stencil: Primitive = array_function(
    "stencil",
    _stencil,
    lambda _y, _x, w: _stencil_in_image(_y, _x, w),
    lambda _y, x, _w: _stencil_in_kernel(_y, x, _w),
    bilinear=True,
    source="wengert.primitives.scipy.ndimage.stencil({0}, {1})",
    counts=_counts,
)


def _spline_filter(x: Array, order: int, axis: int, mode: str) -> Array:
    import scipy.ndimage

    kind = np.complex128 if x.dtype.kind == "c" else np.float64
    filtered: Any = scipy.ndimage.spline_filter1d
    return filtered(x, order, axis, kind, mode)


SHORT = 64
"""In lines of fewer samples SciPy's filter is not quite symmetric: it starts from a sum that is cut off."""


def _spline_filter_partial(_y: Any, _x: Any, order: int, axis: int, mode: str) -> LocalJacobian:
    """The inverse of a matrix that is symmetric, but for its ends where the image is mirrored at its last samples."""
    n = _x.shape[axis]
    ends = np.ones(n)
    if _MIRRORED.get(mode, mode) == "mirror":
        ends[[0, -1]] = 0.5
    ends = ends.reshape((-1,) + (1,) * (-axis - 1))

    def filtered(t: Array) -> Array:
        return spline_filter1d_(t, order=order, axis=axis, mode=mode)

    def pull(g: Array) -> Array:
        if n >= SHORT:
            return ends * filtered(g / ends)
        matrix = _spline_filter(np.eye(n), order, 0, mode)
        return np.moveaxis(np.tensordot(g, matrix, ((axis,), (0,))), -1, axis)

    return Map(
        _x.shape,
        _y.shape,
        filtered,
        pull,
        {"multiplications": (order // 2) * 3 * _x.size, "additions": (order // 2) * 2 * _x.size},
        name="spline_filter",
    )


_MIRRORED = {"constant": "mirror", "wrap": "mirror", "grid-constant": "mirror"}
spline_filter1d_: Primitive = array_function(
    "spline_filter",
    _spline_filter,
    _spline_filter_partial,
    source=lambda args, params: (
        f"scipy.ndimage.spline_filter1d({args[0]}, {params['order']}, {params['axis']}, mode={params['mode']!r})"
    ),
    counts=lambda _y, x, order, **_params: {"multiplications": (order // 2) * 3 * x.size},
)


# ---- Arguments ----


def _image(value: Any, output: Any = None) -> Array:
    """Take an image; one of integers gives integers, which have no derivative."""
    x = as_operand(value)
    if x.dtype.kind in "biu" and output is None:
        raise UnsupportedError(
            "an image of integers is filtered to integers, which loses the derivative; write image.astype(float)."
        )
    return as_floats(x)


def _finished(result: Array, output: Any) -> Array:
    """Return a result in the dtype that was asked for, or write it into an array."""
    if output is None:
        return result
    if isinstance(output, Recordable):
        output[...] = result  # type: ignore[index]
        return output
    if isinstance(output, np.ndarray):
        raise UnsupportedError("output= is an array from outside; leave it out, and use what is returned.")
    return result.astype(np.dtype(output))


def _each(value: Any, axes: Sequence[int], name: str) -> list[Any]:
    """Return one value for each axis."""
    listed = (
        list(value) if isinstance(value, (list, tuple)) or (np.ndim(value) and not isinstance(value, str)) else None
    )
    if listed is None:
        return [value] * len(axes)
    if len(listed) != len(axes):
        raise ValueError(f"{name} must have a length equal to the number of axes")
    return listed


def _axes(x: Array, axes: Any) -> tuple[int, ...]:
    return tuple(range(x.ndim)) if axes is None else normalize_axis_tuple(axes, x.ndim)


_PADDING = {
    "reflect": "symmetric", "grid-mirror": "symmetric", "mirror": "reflect", "nearest": "edge",
    "wrap": "wrap", "grid-wrap": "wrap", "constant": "constant", "grid-constant": "constant",
}  # fmt: skip
"""What NumPy calls the ways to extend an image."""


def _extended(x: Array, axis: int, before: int, after: int, mode: str, cval: Any) -> Array:
    if mode not in _PADDING:
        raise RuntimeError(f"boundary mode {mode!r} not supported")
    widths = [(before, after) if k == axis else (0, 0) for k in range(x.ndim)]
    if _PADDING[mode] == "constant":
        return np.pad(x, widths, constant_values=cval)
    return np.pad(x, widths, _PADDING[mode])  # type: ignore[call-overload]  # NumPy's names of modes


# ---- Linear filters ----


def _filtered(x: Array, w: Array, axis: int, mode: str, cval: Any, origin: int) -> Array:
    """Correlate along one axis."""
    axis = normalize_axis_index(axis, x.ndim)
    length = w.shape[0]
    if w.ndim != 1 or length < 1:
        raise RuntimeError("no filter weights given")
    before = length // 2 + origin
    if not 0 <= before < length:
        raise ValueError("Invalid origin; origin must satisfy -(len(weights) // 2) <= origin <= (len(weights)-1) // 2")
    kind = x.dtype
    if not is_traced(w) and kind.kind != "c":
        w = w.astype(kind)
    extended = _extended(x, axis, before, length - 1 - before, mode, cval)
    y = stencil(extended, np.reshape(w, (1,) * axis + (length,) + (1,) * (x.ndim - axis - 1)))
    return y if y.dtype == kind or y.dtype.kind == "c" else y.astype(kind)


def correlate1d(
    input: Any,
    weights: Any,
    axis: int = -1,
    output: Any = None,
    mode: str = "reflect",
    cval: Any = 0.0,
    origin: int = 0,
) -> Array:
    """Correlate along one axis."""
    return _finished(_filtered(_image(input, output), as_operand(weights), axis, mode, cval, origin), output)


def convolve1d(
    input: Any,
    weights: Any,
    axis: int = -1,
    output: Any = None,
    mode: str = "reflect",
    cval: Any = 0.0,
    origin: int = 0,
) -> Array:
    """Convolve along one axis."""
    w = as_operand(weights)[::-1]
    origin = -origin - (1 if w.shape[0] % 2 == 0 else 0)
    return correlate1d(input, w, axis, output, mode, cval, origin)


def correlate(
    input: Any, weights: Any, output: Any = None, mode: Any = "reflect", cval: Any = 0.0, origin: Any = 0, *,
    axes: Any = None,
) -> Array:  # fmt: skip
    """Correlate in all axes."""
    x, w = _image(input, output), as_operand(weights)
    chosen = _axes(x, axes)
    if w.ndim != len(chosen):
        raise RuntimeError("filter weights array has incorrect shape.")
    shifts = dict(zip(chosen, _each(origin, chosen, "origin"), strict=True))
    modes = dict(zip(chosen, _each(mode, chosen, "mode"), strict=True))
    extended, spread = x, [1] * x.ndim
    for axis, k in zip(sorted(chosen), w.shape, strict=True):  # the kernel's axes are in their order
        before = k // 2 + shifts[axis]
        if not 0 <= before < max(k, 1):
            raise ValueError("invalid origin")
        extended = _extended(extended, axis, before, k - 1 - before, modes[axis], cval)
        spread[axis] = k
    y = stencil(extended, np.reshape(w, spread))
    return _finished(y if y.dtype == x.dtype or y.dtype.kind == "c" else y.astype(x.dtype), output)


def convolve(
    input: Any, weights: Any, output: Any = None, mode: Any = "reflect", cval: Any = 0.0, origin: Any = 0, *,
    axes: Any = None,
) -> Array:  # fmt: skip
    """Convolve in all axes: correlate with the kernel turned around."""
    w = as_operand(weights)
    shifts = _each(origin, range(w.ndim), "origin")
    shifts = [-shift - (1 if k % 2 == 0 else 0) for shift, k in zip(shifts, w.shape, strict=True)]
    return correlate(input, w[(slice(None, None, -1),) * w.ndim], output, mode, cval, shifts, axes=axes)


def _gaussian(sigma: Any, order: int, radius: int) -> Array:
    """Sample a Gaussian, or a derivative of it: a polynomial times the Gaussian."""
    x = np.arange(-radius, radius + 1.0)
    phi = np.exp(-0.5 / (sigma * sigma) * x**2)
    phi = phi / np.sum(phi)
    factors = [1.0 + 0.0 * sigma]  # f, where the derivative is f phi: f' - x f / sigma^2 next
    for _ in range(order):
        slope = [k * f for k, f in enumerate(factors)][1:]
        raised = [0.0, *[-f / (sigma * sigma) for f in factors]]
        factors = [r + (slope[k] if k < len(slope) else 0.0) for k, r in enumerate(raised)]
    total = factors[-1] * np.ones(len(x))
    for f in factors[-2::-1]:
        total = total * x + f
    return total * phi


def gaussian_filter1d(
    input: Any, sigma: Any, axis: int = -1, order: int = 0, output: Any = None, mode: str = "reflect", cval: Any = 0.0,
    truncate: float = 4.0, *, radius: Any = None,
) -> Array:  # fmt: skip
    """Smooth along one axis; how far the kernel reaches is a decision by the value of sigma."""
    reach = int(truncate * sigma + 0.5) if radius is None else int(radius)
    if order < 0:
        raise ValueError("order must be non-negative")
    return correlate1d(input, _gaussian(sigma, order, reach)[::-1], axis, output, mode, cval)


def gaussian_filter(
    input: Any, sigma: Any, order: Any = 0, output: Any = None, mode: Any = "reflect", cval: Any = 0.0,
    truncate: float = 4.0, *, radius: Any = None, axes: Any = None,
) -> Array:  # fmt: skip
    """Smooth along one axis after the other."""
    x = _image(input, output)
    chosen = _axes(x, axes)
    settings = [
        _each(v, chosen, n) for v, n in ((sigma, "sigma"), (order, "order"), (mode, "mode"), (radius, "radius"))
    ]
    for axis, s, k, how, reach in zip(chosen, *settings, strict=True):
        if s > 1e-15:
            x = gaussian_filter1d(x, s, axis, k, None, how, cval, truncate, radius=reach)
    return _finished(x, output)


def uniform_filter1d(
    input: Any, size: int, axis: int = -1, output: Any = None, mode: str = "reflect", cval: Any = 0.0, origin: int = 0
) -> Array:
    """Take means along one axis."""
    return correlate1d(input, np.full(int(size), 1.0 / int(size)), axis, output, mode, cval, origin)


def uniform_filter(
    input: Any, size: Any = 3, output: Any = None, mode: Any = "reflect", cval: Any = 0.0, origin: Any = 0, *,
    axes: Any = None,
) -> Array:  # fmt: skip
    """Take means along one axis after the other."""
    x = _image(input, output)
    chosen = _axes(x, axes)
    settings = [_each(v, chosen, n) for v, n in ((size, "size"), (mode, "mode"), (origin, "origin"))]
    for axis, length, how, shift in zip(chosen, *settings, strict=True):
        if length > 1:
            x = uniform_filter1d(x, length, axis, None, how, cval, shift)
    return _finished(x, output)


def _derivative_filter(name: str, smooth: Sequence[float]) -> Callable[..., Array]:
    def derivative(input: Any, axis: int = -1, output: Any = None, mode: Any = "reflect", cval: Any = 0.0) -> Array:
        """Take differences along one axis, and smooth along the others."""
        x = _image(input, output)
        axis = normalize_axis_index(axis, x.ndim)
        modes = _each(mode, range(x.ndim), "mode")
        y = correlate1d(x, np.array([-1.0, 0.0, 1.0]), axis, None, modes[axis], cval)
        for k in range(x.ndim):
            if k != axis:
                y = correlate1d(y, np.array(smooth), k, None, modes[k], cval)
        return _finished(y, output)

    derivative.__name__ = name
    return derivative


prewitt = _derivative_filter("prewitt", [1.0, 1.0, 1.0])
sobel = _derivative_filter("sobel", [1.0, 2.0, 1.0])


def laplace(input: Any, output: Any = None, mode: Any = "reflect", cval: Any = 0.0, *, axes: Any = None) -> Array:
    """Add up the second differences in all axes."""
    x = _image(input, output)
    chosen = _axes(x, axes)
    modes = _each(mode, chosen, "mode")
    second = np.array([1.0, -2.0, 1.0])
    parts = [correlate1d(x, second, k, None, how, cval) for k, how in zip(chosen, modes, strict=True)]
    return _finished(sum(parts[1:], parts[0]), output)


def _gaussian_derivatives(x: Array, sigma: Any, order: int, mode: Any, cval: Any, axes: Any, rest: Any) -> list[Array]:
    chosen = _axes(x, axes)
    return [
        gaussian_filter(x, sigma, [order if k == axis else 0 for k in chosen], None, mode, cval, axes=axes, **rest)
        for axis in chosen
    ]


def gaussian_laplace(
    input: Any, sigma: Any, output: Any = None, mode: Any = "reflect", cval: Any = 0.0, *, axes: Any = None, **rest: Any
) -> Array:
    """Add up the second derivatives of a smoothed image."""
    parts = _gaussian_derivatives(_image(input, output), sigma, 2, mode, cval, axes, rest)
    return _finished(sum(parts[1:], parts[0]), output)


def gaussian_gradient_magnitude(
    input: Any, sigma: Any, output: Any = None, mode: Any = "reflect", cval: Any = 0.0, *, axes: Any = None, **rest: Any
) -> Array:
    """Return the length of the gradient of a smoothed image."""
    parts = _gaussian_derivatives(_image(input, output), sigma, 1, mode, cval, axes, rest)
    return _finished(np.linalg.norm(np.stack(parts), axis=0), output)


# ---- Filters by rank: each result moves with the element that it is ----


def _windows(x: Array, size: Any, footprint: Any, mode: Any, cval: Any, origin: Any, axes: Any) -> Array:
    """Return the elements around each one that a footprint covers, along a last axis."""
    chosen = _axes(x, axes)
    if footprint is None:
        if size is None:
            raise RuntimeError("no footprint or filter size provided")
        shape = tuple(int(n) for n in _each(size, chosen, "size"))
        mask = np.ones(shape, bool)
    else:
        mask = np.asarray(footprint, bool)
        shape = mask.shape
    modes, shifts = _each(mode, chosen, "mode"), _each(origin, chosen, "origin")
    extended = x
    for axis, k, how, shift in zip(chosen, shape, modes, shifts, strict=True):
        before = k // 2 + shift
        extended = _extended(extended, axis, before, k - 1 - before, how, cval)
    parts = []
    for place in np.argwhere(mask):
        cut = [slice(None)] * x.ndim
        for axis, start in zip(chosen, place, strict=True):
            cut[axis] = slice(int(start), int(start) + x.shape[axis])
        parts.append(extended[tuple(cut)])
    return np.stack(parts, axis=-1)


def _of_rank(
    x: Any,
    rank: Callable[[int], int],
    size: Any,
    footprint: Any,
    output: Any,
    mode: Any,
    cval: Any,
    origin: Any,
    axes: Any,
) -> Array:
    """Return of each window the element of a rank, which depends on how many there are."""
    windows = _windows(_image(x, output), size, footprint, mode, cval, origin, axes)
    k = rank(windows.shape[-1])
    return _finished(np.partition(windows, k, axis=-1)[..., k], output)


def _filter_of_rank(name: str, rank: Callable[[int], int]) -> Callable[..., Array]:
    def of_rank(
        input: Any, size: Any = None, footprint: Any = None, output: Any = None, mode: Any = "reflect", cval: Any = 0.0,
        origin: Any = 0, *, axes: Any = None,
    ) -> Array:  # fmt: skip
        """Take the least, middle or greatest element around each one."""
        return _of_rank(input, rank, size, footprint, output, mode, cval, origin, axes)

    of_rank.__name__ = name
    return of_rank


minimum_filter = _filter_of_rank("minimum_filter", lambda n: 0)
median_filter = _filter_of_rank("median_filter", lambda n: n // 2)
maximum_filter = _filter_of_rank("maximum_filter", lambda n: n - 1)


def rank_filter(
    input: Any, rank: int, size: Any = None, footprint: Any = None, output: Any = None, mode: Any = "reflect",
    cval: Any = 0.0, origin: Any = 0, *, axes: Any = None,
) -> Array:  # fmt: skip
    """Take the element of a rank around each one."""
    return _of_rank(input, lambda n: n + rank if rank < 0 else rank, size, footprint, output, mode, cval, origin, axes)


def percentile_filter(
    input: Any, percentile: float, size: Any = None, footprint: Any = None, output: Any = None, mode: Any = "reflect",
    cval: Any = 0.0, origin: Any = 0, *, axes: Any = None,
) -> Array:  # fmt: skip
    """Take the element at a percentile around each one."""
    part = percentile + 100.0 if percentile < 0 else percentile

    def rank(n: int) -> int:
        return n - 1 if percentile == 100.0 else int(float(n) * part / 100.0)

    return _of_rank(input, rank, size, footprint, output, mode, cval, origin, axes)


# ---- Splines ----


def spline_filter1d(
    input: Any, order: int = 3, axis: int = -1, output: Any = np.float64, mode: str = "mirror"
) -> Array:
    """Return the spline coefficients along one axis."""
    x = as_operand(input)
    x = x.astype(np.float64) if x.dtype.kind != "c" and x.dtype != np.float64 else x
    if not 0 <= order <= 5:
        raise RuntimeError("spline order not supported")
    if order > 1:
        x = spline_filter1d_(x, order=order, axis=normalize_axis_index(axis, x.ndim) - x.ndim, mode=mode)
    return x if output is np.float64 else _finished(x, output)


def spline_filter(input: Any, order: int = 3, output: Any = np.float64, mode: str = "mirror") -> Array:
    """Return the spline coefficients of an image."""
    x = as_operand(input)
    for axis in range(x.ndim):
        x = spline_filter1d(x, order, axis, mode=mode)
    return x if output is np.float64 else _finished(x, output)


def _coefficients(
    x: Array, axes: Sequence[int], order: int, mode: str, cval: Any, prefilter: bool
) -> tuple[Array, int]:
    """Return the spline coefficients, and how many of them stand before the image."""
    if not 0 <= order <= 5:
        raise RuntimeError("spline order not supported")
    if mode not in _PADDING:
        raise RuntimeError(f"boundary mode {mode!r} not supported")
    if not prefilter or order < 2:
        return x, 0
    ahead = 12 if mode in ("nearest", "grid-constant") else 0
    for axis in axes:
        x = _extended(x, axis, ahead, ahead, mode, cval) if ahead else x
    for axis in axes:
        x = spline_filter1d(x, order, axis, mode=mode)
    return x, ahead


def _weights(u: Array, order: int) -> list[Array]:
    """Return the B-spline weights of order + 1 coefficients, u being the fraction of a step."""
    weights: list[Array] = [1.0 + 0.0 * u]
    for d in range(1, order + 1):
        raised: list[Array] = []
        carried: Array = 0.0
        for r in range(d):
            share = weights[r] / d
            raised.append(carried + (r + 1 - u) * share)
            carried = (u + (d - 1 - r)) * share
        weights = [*raised, carried]
    return weights


class _Samples:
    """Along one axis: the numbers of the coefficients around each coordinate, their weights, and what lies outside."""

    def __init__(self, at: Array, n: int, order: int, mode: str, ahead: int) -> None:
        self.outside: Array = False
        if mode == "constant":
            self.outside = (at < 0) | (at > n - 1)
            at = np.where(self.outside, 0.0, at)
        elif mode == "nearest":
            at = np.clip(at, -float(ahead), n - 1.0 + ahead)  # the padding is interpolated as it is
        elif mode == "wrap":
            period = max(n - 1, 1)
            at = np.where((at < 0) | (at > n - 1), at - period * np.floor(at / period), at)
        base = np.floor(at) if order % 2 else np.floor(at + 0.5)
        fraction = at - base if order % 2 else at + 0.5 - base
        first = base.astype(np.intp) - order // 2 + ahead
        self.weights = _weights(fraction, order)
        self.empty: list[Array] = []
        self.numbers: list[Array] = []
        for j in range(order + 1):
            number, empty = _within(first + j, n + 2 * ahead, mode)
            self.numbers.append(number)
            self.empty.append(empty)


def _within(k: Array, n: int, mode: str) -> tuple[Array, Array]:
    """Map numbers of coefficients into the array, as the mode extends it; or say that they are outside."""
    if mode == "grid-constant":
        return np.clip(k, 0, n - 1), (k < 0) | (k >= n)
    if mode == "grid-wrap":
        return k % n, False
    if mode in ("reflect", "grid-mirror"):
        k = k % (2 * n)
        return np.where(k >= n, 2 * n - 1 - k, k), False
    if mode == "nearest":
        return np.clip(k, 0, n - 1), False
    if n == 1:
        return k * 0, False
    k = k % (2 * n - 2)
    return np.where(k >= n, 2 * n - 2 - k, k), False


def _resampled(x: Array, coordinates: Sequence[Array], order: int, mode: str, cval: Any, prefilter: bool) -> Array:
    """Interpolate the first axes of an image at coordinates; the rest of its axes come along."""
    sizes = x.shape[: len(coordinates)]
    kind = x.dtype
    c, ahead = _coefficients(x, range(len(coordinates)), order, mode, cval, prefilter)
    axes = [_Samples(at, n, order, mode, ahead) for at, n in zip(coordinates, sizes, strict=True)]
    total: Array = 0.0
    spread = (1,) * (x.ndim - len(coordinates))
    for corner in itertools.product(range(order + 1), repeat=len(axes)):
        chosen = pick(c, tuple(a.numbers[j] for a, j in zip(axes, corner, strict=True)))
        empty: Array = False
        weight: Array = 1.0
        for a, j in zip(axes, corner, strict=True):
            weight = weight * a.weights[j]
            empty = empty | a.empty[j]
        if empty is not False:
            chosen = np.where(np.reshape(empty, empty.shape + spread), cval, chosen)
        total = total + np.reshape(weight, weight.shape + spread) * chosen
    outside: Array = False
    for a in axes:
        outside = outside | a.outside
    if outside is not False:
        total = np.where(np.reshape(outside, outside.shape + spread), cval, total)
    return total if total.dtype == kind or kind.kind == "c" else total.astype(kind)


def map_coordinates(
    input: Any, coordinates: Any, output: Any = None, order: int = 3, mode: str = "constant", cval: Any = 0.0,
    prefilter: bool = True,
) -> Array:  # fmt: skip
    """Interpolate an image at coordinates."""
    x, at = _image(input, output), as_reals(coordinates)
    if at.shape[0] != x.ndim:
        raise RuntimeError("invalid shape for coordinate array")
    return _finished(_resampled(x, [at[k] for k in range(x.ndim)], order, mode, cval, prefilter), output)


def _along_axes(x: Array, coordinates: Sequence[Array], order: int, mode: str, cval: Any, prefilter: bool) -> Array:
    """Resample one axis after the other, each at coordinates of its own."""
    kind = x.dtype
    sizes = x.shape
    c, ahead = _coefficients(x, range(x.ndim), order, mode, cval, prefilter)
    outside: Array = False
    for axis, (at, n) in enumerate(zip(coordinates, sizes, strict=True)):
        samples = _Samples(at, n, order, mode, ahead)
        c = np.moveaxis(c, axis, 0)
        spread = (-1,) + (1,) * (c.ndim - 1)
        total: Array = 0.0
        for number, weight, empty in zip(samples.numbers, samples.weights, samples.empty, strict=True):
            chosen = pick(c, (number,))
            if empty is not False:
                chosen = np.where(np.reshape(empty, spread), cval, chosen)
            total = total + np.reshape(weight, spread) * chosen
        c = np.moveaxis(total, 0, axis)
        if samples.outside is not False:
            place = (1,) * axis + (-1,) + (1,) * (c.ndim - axis - 1)
            outside = outside | np.reshape(samples.outside, place)
    if outside is not False:
        c = np.where(outside, cval, c)
    return c if c.dtype == kind or kind.kind == "c" else c.astype(kind)


def shift(
    input: Any, shift: Any, output: Any = None, order: int = 3, mode: str = "constant", cval: Any = 0.0,
    prefilter: bool = True,
) -> Array:  # fmt: skip
    """Shift an image; by a traced distance, too."""
    x = _image(input, output)
    distances = _each(shift, range(x.ndim), "shift")
    coordinates = [np.arange(float(n)) - d for n, d in zip(x.shape, distances, strict=True)]
    return _finished(_along_axes(x, coordinates, order, mode, cval, prefilter), output)


def zoom(
    input: Any, zoom: Any, output: Any = None, order: int = 3, mode: str = "constant", cval: Any = 0.0,
    prefilter: bool = True, *, grid_mode: bool = False,
) -> Array:  # fmt: skip
    """Resample an image to another size, which is a whole number: the derivative by the factor itself is 0."""
    x = _image(input, output)
    shape = [round(n * f) for n, f in zip(x.shape, _each(zoom, range(x.ndim), "zoom"), strict=True)]
    coordinates = []
    for n, m in zip(x.shape, shape, strict=True):
        if grid_mode:
            coordinates.append((np.arange(m) + 0.5) * (n / m) - 0.5)
        else:
            coordinates.append(np.arange(float(m)) * ((n - 1) / (m - 1) if m > 1 else 1.0))
    return _finished(_along_axes(x, coordinates, order, mode, cval, prefilter), output)


def _affine(matrix: Array, offset: Array, shape: tuple[int, ...]) -> list[Array]:
    """Return the coordinates ``matrix @ index + offset`` of the indices of an image, axis by axis."""
    n = matrix.shape[0]
    places = np.tensordot(matrix, np.indices(shape, dtype=float), 1) + np.reshape(offset, (n,) + (1,) * n)
    return [places[k] for k in range(n)]


def affine_transform(
    input: Any, matrix: Any, offset: Any = 0.0, output_shape: Any = None, output: Any = None, order: int = 3,
    mode: str = "constant", cval: Any = 0.0, prefilter: bool = True,
) -> Array:  # fmt: skip
    """Resample at ``matrix @ index + offset``."""
    x, matrix = _image(input, output), as_operand(matrix)
    n = x.ndim
    if matrix.ndim == 2 and matrix.shape[1] == n + 1:
        matrix, offset = matrix[:n, :n], matrix[:n, n]
    elif matrix.ndim == 1:
        matrix = np.diag(matrix)
    if matrix.shape != (n, n):
        raise RuntimeError("affine matrix has wrong number of rows or columns")
    shape = x.shape if output_shape is None else tuple(output_shape)
    places = _affine(matrix, np.zeros(n) + offset, shape)
    return _finished(_resampled(x, places, order, mode, cval, prefilter), output)


def rotate(
    input: Any, angle: Any, axes: Any = (1, 0), reshape: bool = True, output: Any = None, order: int = 3,
    mode: str = "constant", cval: Any = 0.0, prefilter: bool = True,
) -> Array:  # fmt: skip
    """Turn an image in a plane; with `reshape` its new size is a decision by the value of the angle."""
    x = _image(input, output)
    chosen = sorted(normalize_axis_tuple(axes, x.ndim))
    radians = angle * (math.pi / 180)
    c, s = np.cos(radians), np.sin(radians)
    matrix = np.reshape(np.stack([c, s, -s, c]), (2, 2))
    plane = np.array([x.shape[k] for k in chosen])
    size = plane
    if reshape:
        corners = matrix @ np.array([[0, 0, plane[0], plane[0]], [0, plane[1], 0, plane[1]]])
        size = np.array([int(np.max(row) - np.min(row) + 0.5) for row in corners])
    center = matrix @ ((size - 1) / 2)
    offset = (plane - 1) / 2 - center
    places = _affine(matrix, offset, tuple(int(n) for n in size))
    y = _resampled(np.moveaxis(x, chosen, (0, 1)), places, order, mode, cval, prefilter)
    return _finished(np.moveaxis(y, (0, 1), chosen), output)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    written.__name__: written
    for written in (
        *(correlate1d, convolve1d, correlate, convolve, gaussian_filter1d, gaussian_filter, uniform_filter1d),
        *(uniform_filter, prewitt, sobel, laplace, gaussian_laplace, gaussian_gradient_magnitude),
        *(minimum_filter, maximum_filter, median_filter, rank_filter, percentile_filter),
        *(spline_filter1d, spline_filter, map_coordinates, shift, zoom, affine_transform, rotate),
    )
}
"""What stands for the functions of ``scipy.ndimage``, by their names."""


def _enter() -> None:
    import scipy.ndimage

    for name, written in FUNCTIONS.items():
        calls(getattr(scipy.ndimage, name), catch=scipy.ndimage)(written)


LATE["scipy.ndimage"] = _enter
