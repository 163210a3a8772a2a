"""``numpy.fft``: linear maps, so the push of a transform is the transform, and its pull the transposed one.

The matrix of `fft` is symmetric: it is its own transpose, and so is that of `ifft`.  The transforms of real signals are
linear over the real numbers only: `rfft` pulls back by `fft` of the adjoint (of which a real signal takes the real
part), `irfft` by `rfft`, each frequency weighted by the number of times that it stands in the whole spectrum.
Transforms in several axes are one line an axis.

>>> import numpy as np, wengert as wg
>>> x = np.array([1.0, 2.0, 0.0, -1.0])
>>> energy = lambda x: np.sum(np.abs(np.fft.fft(x)) ** 2)  # Parseval: n times that of the signal
>>> wg.grad(energy)(x) / (2 * 4)
array([ 1.,  2.,  0., -1.])
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from wengert.errors import UnsupportedError
from wengert.jacobians import LocalJacobian, Map
from wengert.primitives.numpy.elementwise import is_complex
from wengert.primitives.numpy.functions.operands import as_operand
from wengert.primitives.numpy.linalg.matrices import conj
from wengert.primitives.table import array_function, calls
from wengert.program import Primitive

Array = Any
SWAPPED = {None: "forward", "backward": "forward", "ortho": "ortho", "forward": "backward"}
"""The normalization of the opposite direction."""


def _resized(a: Array, length: int, axis: int) -> Array:
    """Crop an axis (counted from the end), or fill it up with zeros."""
    have = a.shape[axis]
    if have == length:
        return a
    if have > length:
        return a[(Ellipsis, slice(0, length)) + (slice(None),) * (-axis - 1)]
    shape = list(a.shape)
    shape[axis] = length - have
    return np.concatenate([a, np.zeros(shape, a.dtype)], axis=axis)


def _counts(y: Any, x: Any, n: int, axis: int, norm: Any) -> dict[str, int]:
    """Count a transform of length n as 5 n log2(n) operations, which is usual."""
    many = max(x.size // max(x.shape[axis], 1), 1)
    size = many * n * math.ceil(math.log2(max(n, 2)))
    return {"multiplications": 2 * size, "additions": 3 * size}


def _source(name: str) -> Callable[..., str]:
    return lambda args, params: f"np.fft.{name}({args[0]}, {params['n']}, {params['axis']}, {params['norm']!r})"


def _row(name: str, partial: Callable[..., LocalJacobian]) -> Primitive:
    transform = getattr(np.fft, name)
    return array_function(
        name, lambda x, n, axis, norm: transform(x, n, axis, norm), partial, source=_source(name), counts=_counts
    )


def _symmetric(itself: Callable[[], Any]) -> Callable[..., LocalJacobian]:
    def partial(_y: Any, _x: Any, n: int, axis: int, norm: Any) -> LocalJacobian:
        transform, length = itself(), _x.shape[axis]
        return Map(
            _x.shape,
            _y.shape,
            lambda t: transform(t, n=n, axis=axis, norm=norm),
            lambda g: _resized(transform(g, n=n, axis=axis, norm=norm), length, axis),
            _counts(_y, _x, n, axis, norm),
            name="fft",
            mixes=((axis,), (axis,)),
        )

    return partial


fft_: Primitive = _row("fft", _symmetric(lambda: fft_))
ifft_: Primitive = _row("ifft", _symmetric(lambda: ifft_))


def _rfft_partial(_y: Any, _x: Any, n: int, axis: int, norm: Any) -> LocalJacobian:
    length = _x.shape[axis]

    def pull(g: Array) -> Array:
        return _resized(np.real(fft_(g, n=n, axis=axis, norm=norm)), length, axis)

    return Map(
        _x.shape,
        _y.shape,
        lambda t: rfft_(t, n=n, axis=axis, norm=norm),
        pull,
        _counts(_y, _x, n, axis, norm),
        name="rfft",
        mixes=((axis,), (axis,)),
    )


def _irfft_partial(_y: Any, _x: Any, n: int, axis: int, norm: Any) -> LocalJacobian:
    length = _x.shape[axis]
    weights = np.full(n // 2 + 1, 2.0, _y.dtype)
    weights[0] = 1.0
    if n % 2 == 0:
        weights[-1] = 1.0  # the highest frequency stands once in a spectrum of even length
    weights = np.reshape(weights, (-1,) + (1,) * (-axis - 1))

    def pull(g: Array) -> Array:
        spectrum = weights * np.conj(rfft_(g, n=n, axis=axis, norm=SWAPPED[norm]))
        return _resized(spectrum if is_complex(_x) else np.real(spectrum), length, axis)

    return Map(
        _x.shape,
        _y.shape,
        lambda t: irfft_(t, n=n, axis=axis, norm=norm),
        pull,
        _counts(_y, _x, n, axis, norm),
        name="irfft",
        mixes=((axis,), (axis,)),
    )


rfft_ = _row("rfft", _rfft_partial)
irfft_ = _row("irfft", _irfft_partial)


# ---- The functions that users call: one axis ----


def _one(row: Any, a: Any, n: Any, axis: int, norm: Any, out: Any, length: Callable[[int], int] = lambda m: m) -> Any:
    if out is not None:
        raise UnsupportedError("the transforms of np.fft with out= have no rule; leave it out.")
    a = as_operand(a)
    axis_from_start = normalize_axis_index(axis, a.ndim)
    size = length(a.shape[axis_from_start]) if n is None else int(n)
    if norm not in SWAPPED:
        raise ValueError(f'Invalid norm value {norm}; should be "backward", "ortho" or "forward".')
    if size < 1:
        raise ValueError(f"Invalid number of FFT data points ({size}) specified.")
    if a.shape[axis_from_start] == 0:
        a = _resized(a, size, axis_from_start - a.ndim)
    return row(a, n=size, axis=axis_from_start - a.ndim, norm=norm)


def _real(a: Any) -> Any:
    """Raise as NumPy does where a real signal is needed."""
    a = as_operand(a)
    if is_complex(a):
        raise TypeError("ufunc 'rfft_n_even' did not contain a loop with signature matching types of a complex signal")
    return a


@calls(np.fft.fft)
def fft(a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: Any = None) -> Any:
    return _one(fft_, a, n, axis, norm, out)


@calls(np.fft.ifft)
def ifft(a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: Any = None) -> Any:
    return _one(ifft_, a, n, axis, norm, out)


@calls(np.fft.rfft)
def rfft(a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: Any = None) -> Any:
    return _one(rfft_, _real(a), n, axis, norm, out)


@calls(np.fft.irfft)
def irfft(a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: Any = None) -> Any:
    return _one(irfft_, a, n, axis, norm, out, lambda m: 2 * (m - 1))


@calls(np.fft.hfft)
def hfft(a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: Any = None) -> Any:
    return _one(irfft_, conj(as_operand(a)), n, axis, SWAPPED.get(norm, norm), out, lambda m: 2 * (m - 1))


@calls(np.fft.ihfft)
def ihfft(a: Any, n: Any = None, axis: int = -1, norm: Any = None, out: Any = None) -> Any:
    return np.conj(_one(rfft_, _real(a), n, axis, SWAPPED.get(norm, norm), out))


# ---- Several axes ----


def _sizes(a: Any, s: Any, axes: Any, *, real_result: bool = False) -> tuple[list[int], list[int]]:
    """Return the lengths and axes of a transform, as NumPy completes them."""
    if s is None:
        chosen = list(range(a.ndim)) if axes is None else list(axes)
        lengths = [a.shape[normalize_axis_index(k, a.ndim)] for k in chosen]
        if real_result and lengths:
            lengths[-1] = 2 * (lengths[-1] - 1)
    else:
        sizes = list(s)
        chosen = list(range(-len(sizes), 0)) if axes is None else list(axes)
        if len(sizes) != len(chosen):
            raise ValueError("Shape and axes have different lengths.")
        lengths = [
            a.shape[normalize_axis_index(k, a.ndim)] if n == -1 else n for n, k in zip(sizes, chosen, strict=True)
        ]
    return lengths, chosen


def _several(one: Callable[..., Any], a: Any, s: Any, axes: Any, norm: Any, out: Any) -> Any:
    a = as_operand(a)
    lengths, chosen = _sizes(a, s, axes)
    for n, axis in reversed(list(zip(lengths, chosen, strict=True))):
        a = one(a, n, axis, norm, out)
    return a


@calls(np.fft.fftn)
def fftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None, out: Any = None) -> Any:
    return _several(fft, a, s, axes, norm, out)


@calls(np.fft.ifftn)
def ifftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None, out: Any = None) -> Any:
    return _several(ifft, a, s, axes, norm, out)


@calls(np.fft.fft2)
def fft2(a: Any, s: Any = None, axes: Sequence[int] = (-2, -1), norm: Any = None, out: Any = None) -> Any:
    return _several(fft, a, s, axes, norm, out)


@calls(np.fft.ifft2)
def ifft2(a: Any, s: Any = None, axes: Sequence[int] = (-2, -1), norm: Any = None, out: Any = None) -> Any:
    return _several(ifft, a, s, axes, norm, out)


@calls(np.fft.rfftn)
def rfftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None, out: Any = None) -> Any:
    a = as_operand(a)
    lengths, chosen = _sizes(a, s, axes)
    a = rfft(a, lengths[-1], chosen[-1], norm, out)
    for n, axis in reversed(list(zip(lengths[:-1], chosen[:-1], strict=True))):
        a = fft(a, n, axis, norm, out)
    return a


@calls(np.fft.irfftn)
def irfftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None, out: Any = None) -> Any:
    a = as_operand(a)
    lengths, chosen = _sizes(a, s, axes, real_result=True)
    for n, axis in zip(lengths[:-1], chosen[:-1], strict=True):
        a = ifft(a, n, axis, norm, out)
    return irfft(a, lengths[-1], chosen[-1], norm, out)


@calls(np.fft.rfft2)
def rfft2(a: Any, s: Any = None, axes: Sequence[int] = (-2, -1), norm: Any = None, out: Any = None) -> Any:
    return rfftn(a, s, axes, norm, out)


@calls(np.fft.irfft2)
def irfft2(a: Any, s: Any = None, axes: Sequence[int] = (-2, -1), norm: Any = None, out: Any = None) -> Any:
    return irfftn(a, s, axes, norm, out)


# ---- Shifts ----


def _shifted(x: Any, axes: Any, back: bool) -> Any:
    x = as_operand(x)
    chosen = tuple(range(x.ndim)) if axes is None else normalize_axis_tuple(axes, x.ndim)
    shifts = [-(x.shape[k] // 2) if back else x.shape[k] // 2 for k in chosen]
    return np.roll(x, shifts, chosen)


@calls(np.fft.fftshift)
def fftshift(x: Any, axes: Any = None) -> Any:
    return _shifted(x, axes, back=False)


@calls(np.fft.ifftshift)
def ifftshift(x: Any, axes: Any = None) -> Any:
    return _shifted(x, axes, back=True)
