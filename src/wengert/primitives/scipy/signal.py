"""``scipy.signal``: convolutions in several axes, and linear filters.

A filter is two lines: `fir`, a weighted sum of delayed signals, and `recurse`, the feedback ``y[n] = u[n] - a[0] y[n-1]
- a[1] y[n-2]...``.  Both are linear in the signal, and their transpose is the same filter run backwards in time; the
derivative along a coefficient is the delayed signal, filtered once more where there is feedback.

>>> import numpy as np, scipy.signal, wengert as wg
>>> step = np.ones(4)
>>> response = lambda a: scipy.signal.lfilter([1.0], [1.0, -a], step)[-1]  # 1 + a + a**2 + a**3
>>> float(wg.grad(response)(0.5)) == 1 + 2 * 0.5 + 3 * 0.5**2
True
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from wengert.errors import UnsupportedError
from wengert.jacobians import Map
from wengert.primitives.numpy import fourier
from wengert.primitives.numpy.elementwise import is_complex
from wengert.primitives.numpy.functions.operands import as_floats, as_operand, pick
from wengert.primitives.numpy.linalg.matrices import conj
from wengert.primitives.table import LATE, array_function, calls
from wengert.program import Primitive

Array = Any


# ---- Filters: the rows; signals lie along the last axis ----


def _filter(b: Array, a: Array, x: Array) -> Array:
    import scipy.signal

    return scipy.signal.lfilter(b, a, x, axis=-1)


def _backwards(filtered: Callable[[Array], Array], g: Array) -> Array:
    return filtered(g[..., ::-1])[..., ::-1]


def _delayed(x: Array, first: int, count: int) -> Array:
    """Stack a signal delayed by `first`, `first` + 1... samples."""
    n = x.shape[-1]
    rows = []
    for k in range(first, first + count):
        nothing = np.zeros((*x.shape[:-1], min(k, n)), x.dtype)
        rows.append(np.concatenate([nothing, x[..., : n - min(k, n)]], axis=-1))
    return np.stack(rows)


def _along_coefficients(delayed: Array, t: Array) -> Array:
    """Add up delayed signals, weighted by (a block of) coefficients."""
    return np.tensordot(t, delayed, axes=([-1], [0]))


def _to_coefficients(delayed: Array, g: Array) -> Array:
    """Multiply an adjoint of the signal (a block of them) by each of the delayed signals."""
    n = delayed.ndim - 1
    return np.tensordot(g, delayed, axes=(list(range(-n, 0)), list(range(1, n + 1))))


def _counts(y: Any, _x: Any, c: Any) -> dict[str, int]:
    return {"multiplications": y.size * c.size, "additions": y.size * c.size}


fir: Primitive = array_function(
    "fir",
    lambda x, b: _filter(b, np.ones(1, b.dtype), x),
    lambda _y, _x, b: Map(
        _x.shape,
        _y.shape,
        lambda t: fir(t, b),
        lambda g: _backwards(lambda u: fir(u, b), g),
        _counts(_y, _x, b),
        name="fir",
    ),
    lambda _y, x, _b: Map(
        _b.shape,
        _y.shape,
        lambda t: _along_coefficients(_delayed(x, 0, _b.size), t),
        lambda g: _to_coefficients(_delayed(x, 0, _b.size), g),
        _counts(_y, x, _b),
        name="fir",
    ),
    bilinear=True,
    source="scipy.signal.lfilter({1}, [1.0], {0})",
    counts=_counts,
)

recurse: Primitive = array_function(
    "recurse",
    lambda u, a: _filter(np.ones(1, a.dtype), np.concatenate([np.ones(1, a.dtype), a]), u),
    lambda _y, _u, a: Map(
        _u.shape,
        _y.shape,
        lambda t: recurse(t, a),
        lambda g: _backwards(lambda u: recurse(u, a), g),
        _counts(_y, _u, a),
        name="recurse",
    ),
    lambda y, _u, a: Map(
        a.shape,
        y.shape,
        lambda t: -recurse(_along_coefficients(_delayed(y, 1, a.size), t), a),
        lambda g: -_to_coefficients(_delayed(y, 1, a.size), _backwards(lambda u: recurse(u, a), g)),
        _counts(y, _u, a),
        name="recurse",
    ),
    source="scipy.signal.lfilter([1.0], np.concatenate([[1.0], {1}]), {0})",
    counts=_counts,
)


# ---- Filters: the functions that users call ----


def _filtered(b: Array, a: Array, x: Array) -> Array:
    """Filter signals along the last axis; the coefficients are such that ``a[0]`` is 1."""
    u = fir(x, b) if b.shape[0] > 1 else x * b[0]
    return recurse(u, a[1:]) if a.shape[0] > 1 else u


def lfilter(b: Any, a: Any, x: Any, axis: int = -1, zi: Any = None) -> Any:
    """Filter signals by coefficients; with ``zi``, also return the final state of the delays."""
    b, a, x = np.atleast_1d(as_operand(b)), np.atleast_1d(as_operand(a)), as_operand(x)
    if b.ndim != 1 or a.ndim != 1:
        raise ValueError("object of too small depth for desired array")
    dtype = np.result_type(b.dtype, a.dtype, x.dtype, *([] if zi is None else [as_operand(zi).dtype]), np.float32)
    b, a, x = (v if v.dtype == dtype else v.astype(dtype) for v in (b, a, x))
    if a[0] != 1.0:
        b, a = b / a[0], a / a[0]
    x = np.moveaxis(x, normalize_axis_index(axis, x.ndim), -1)
    if zi is None:
        return np.moveaxis(_filtered(b, a, x), -1, axis)
    order, n = max(b.shape[0], a.shape[0]) - 1, x.shape[-1]
    zi = np.moveaxis(as_operand(zi).astype(dtype), axis, -1)
    zi = np.broadcast_to(zi, (*x.shape[:-1], order))
    padding = np.zeros((*x.shape[:-1], order), dtype)
    at_rest = np.concatenate([zi, np.zeros(x.shape, dtype)], axis=-1)
    # the feedback's input is the weighted signal and the initial state of the delays
    u = fir(np.concatenate([x, padding], axis=-1), b) + at_rest
    y = recurse(u[..., :n], a[1:]) if a.shape[0] > 1 else u[..., :n]
    left = u[..., n:]
    if a.shape[0] > 1:
        left = left - fir(np.concatenate([y, padding], axis=-1), np.concatenate([np.zeros(1, dtype), a[1:]]))[..., n:]
    return np.moveaxis(y, -1, axis), np.moveaxis(left, -1, axis)


def lfiltic(b: Any, a: Any, y: Any, x: Any = None) -> Any:
    """Return the state of the delays of `lfilter` after outputs `y` and inputs `x`, the latest first."""
    b, a, y = np.atleast_1d(as_operand(b)), np.atleast_1d(as_operand(a)), np.atleast_1d(as_operand(y))
    if a.ndim != 1 or b.ndim != 1:
        raise ValueError(f"Filter coefficients `{'a' if a.ndim != 1 else 'b'}` must be 1-D.")
    x = np.zeros(0, y.dtype) if x is None else np.atleast_1d(as_operand(x))
    dtype = np.result_type(b.dtype, a.dtype, y.dtype, x.dtype)
    dtype = np.dtype(float) if dtype.kind in "biu" else dtype
    b, a, y, x = (v.astype(dtype) for v in (b, a, y, x))
    order = max(b.shape[0], a.shape[0]) - 1
    if not order:
        return np.zeros(0, dtype)
    if a[0] == 0.0:
        raise ValueError("First `a` filter coefficient must be non-zero.")

    def to_come(c: Array, past: Array) -> Array:
        """Return what past values still add after each delay, by the coefficients that they have not met."""
        later = (c[m + 1 :] for m in range(order))
        return np.stack([np.sum(left[: past.shape[0]] * past[: left.shape[0]]) for left in later])

    return (to_come(b, x) - to_come(a, y)) / a[0]


def sosfilt(sos: Any, x: Any, axis: int = -1, zi: Any = None) -> Any:
    """Filter by one section of second order after the other."""
    sos, x = as_operand(sos), as_operand(x)
    if sos.ndim != 2 or sos.shape[1] != 6:
        raise ValueError("sos array must be shape (n_sections, 6)")
    if not np.all(sos[:, 3] == 1):
        raise ValueError("sos[:, 3] should be all ones")
    left = []
    for k in range(sos.shape[0]):
        if zi is None:
            x = lfilter(sos[k, :3], sos[k, 3:], x, axis)
        else:
            x, rest = lfilter(sos[k, :3], sos[k, 3:], x, axis, as_operand(zi)[k])
            left.append(rest)
    return x if zi is None else (x, np.stack(left))


# ---- Convolutions ----


def _cut(full: Array, shape: Sequence[int], axes: Sequence[int]) -> Array:
    """Cut the middle out of some axes."""
    index = [slice(None)] * full.ndim
    for k, n in zip(axes, shape, strict=True):
        first = (full.shape[k] - n) // 2
        index[k] = slice(first, first + n)
    return full[tuple(index)]


def _shaped(full: Array, one: Any, two: Any, mode: str, axes: Sequence[int]) -> Array:
    """Cut a full convolution to the size that a mode stands for."""
    if mode == "full":
        return full
    if mode == "same":
        return _cut(full, [one.shape[k] for k in axes], axes)
    if mode != "valid":
        raise ValueError("acceptable mode flags are 'valid', 'same', or 'full'")
    wider = [one.shape[k] >= two.shape[k] for k in axes]
    if any(wider) and not all(w or one.shape[k] == two.shape[k] for w, k in zip(wider, axes, strict=True)):
        raise ValueError("For 'valid' mode, one must be at least as large as the other in every dimension")
    return _cut(full, [abs(one.shape[k] - two.shape[k]) + 1 for k in axes], axes)


def fftconvolve(in1: Any, in2: Any, mode: str = "full", axes: Any = None) -> Any:
    """Convolve along axes, as a product of spectra."""
    one, two = as_operand(in1), as_operand(in2)
    if one.ndim == two.ndim == 0:
        return one * two
    if one.ndim != two.ndim:
        raise ValueError("in1 and in2 should have the same dimensionality")
    if one.size == 0 or two.size == 0:
        return np.array([])
    kind = np.result_type(one.dtype, two.dtype, np.float32)
    one, two = (v if v.dtype == kind else v.astype(kind) for v in (one, two))
    listed = range(one.ndim) if axes is None else np.atleast_1d(axes).tolist()
    chosen = [
        k for k in normalize_axis_tuple(listed, one.ndim) if axes is not None or max(one.shape[k], two.shape[k]) > 1
    ]
    for k in range(one.ndim):
        if k not in chosen and one.shape[k] != two.shape[k] and 1 not in (one.shape[k], two.shape[k]):
            raise ValueError(f"incompatible shapes for in1 and in2: {one.shape} and {two.shape}")
    if not chosen:
        return one * two
    sizes = [one.shape[k] + two.shape[k] - 1 for k in chosen]
    if is_complex(one) or is_complex(two):
        spectrum = fourier.fftn(one, sizes, chosen) * fourier.fftn(two, sizes, chosen)
        return _shaped(fourier.ifftn(spectrum, sizes, chosen), one, two, mode, chosen)
    spectrum = fourier.rfftn(one, sizes, chosen) * fourier.rfftn(two, sizes, chosen)
    return _shaped(fourier.irfftn(spectrum, sizes, chosen), one, two, mode, chosen)


def convolve(in1: Any, in2: Any, mode: str = "full", method: str = "auto") -> Any:
    """Convolve, short signals element by element."""
    one, two = as_operand(in1), as_operand(in2)
    if one.ndim != 1 or two.ndim != 1 or method == "fft" or min(one.size, two.size) > 500 or 0 in (one.size, two.size):
        return fftconvolve(one, two, mode)
    return _shaped(np.convolve(one, two, "full"), one, two, mode, [0])


def correlate(in1: Any, in2: Any, mode: str = "full", method: str = "auto") -> Any:
    """Convolve with the kernel turned around."""
    two = as_operand(in2)
    return convolve(in1, conj(two[(slice(None, None, -1),) * two.ndim]), mode, method)


_EDGES = {"wrap": "wrap", "circular": "wrap", "symm": "symmetric", "symmetric": "symmetric"}


def convolve2d(in1: Any, in2: Any, mode: str = "full", boundary: str = "fill", fillvalue: Any = 0) -> Any:
    """Convolve planes, whose edges are filled up, wrapped around or reflected."""
    one, two = as_operand(in1), as_operand(in2)
    if one.ndim != 2 or two.ndim != 2:
        raise ValueError("convolve2d inputs must both be 2-D arrays")
    if mode == "valid" or (boundary in ("fill", "pad") and not isinstance(fillvalue, complex) and fillvalue == 0):
        return fftconvolve(one, two, mode)
    widths = [(n - 1, n - 1) for n in two.shape]
    if boundary in ("fill", "pad"):
        padded = np.pad(one, widths, constant_values=fillvalue)
    elif boundary in _EDGES:
        padded = np.pad(one, widths, _EDGES[boundary])  # type: ignore[call-overload]  # NumPy's names of modes
    else:
        raise ValueError("Acceptable boundary flags are 'fill', 'circular' (or 'wrap'), and 'symmetric' (or 'symm').")
    full = fftconvolve(padded, two, "valid")
    return full if mode == "full" else _cut(full, one.shape, (0, 1))


def correlate2d(in1: Any, in2: Any, mode: str = "full", boundary: str = "fill", fillvalue: Any = 0) -> Any:
    """Convolve planes with the kernel turned around."""
    one, two = as_operand(in1), as_operand(in2)
    if mode == "same" and any(n % 2 == 0 for n in two.shape):
        raise UnsupportedError("scipy.signal.correlate2d with mode='same' and a kernel of even size has no rule.")
    return convolve2d(one, conj(two[::-1, ::-1]), mode, boundary, fillvalue)


# ---- Spectra: means over windows of a signal ----


def _windows(x: Array, length: int, overlap: int) -> Array:
    """Cut the last axis into pieces that overlap."""
    step = length - overlap
    starts = np.arange(0, x.shape[-1] - length + 1, step)
    return pick(x, (Ellipsis, starts[:, None] + np.arange(length)))


def _window(window: Any, nperseg: int | None, n: int) -> Array:
    """Return the weights of a window, of a length that is given or SciPy's choice."""
    import scipy.signal

    if not isinstance(window, (str, tuple)) and window is not None:
        return np.asarray(window)
    return scipy.signal.get_window(
        "hann" if window is None else window, min(256 if nperseg is None else int(nperseg), n)
    )


def _both_sides(count: int, size: int) -> Array:
    """Return 2 for the frequencies that stand for their negatives, too."""
    factors = np.full(count, 2.0)
    factors[0] = 1.0
    if size % 2 == 0:
        factors[-1] = 1.0
    return factors


def _averaged(power: Array, average: str) -> Array:
    """Average over windows; the median is divided by its bias (of a chi-squared distribution)."""
    if average == "mean":
        return np.mean(power, axis=-2)
    if average != "median":
        raise ValueError(f"Parameter {average=} must be 'median' or 'mean'!")
    even = 2 * np.arange(1.0, (power.shape[-2] - 1) // 2 + 1)
    bias = 1 + np.sum(1.0 / (even + 1) - 1.0 / even)
    if is_complex(power):
        return (np.median(np.real(power), axis=-2) + 1j * np.median(np.imag(power), axis=-2)) / bias
    return np.median(power, axis=-2) / bias


def csd(
    x: Any, y: Any, fs: float = 1.0, window: Any = None, nperseg: int | None = None, noverlap: int | None = None,
    nfft: int | None = None, detrend: Any = "constant", return_onesided: bool = True, scaling: str = "density",
    axis: int = -1, average: str = "mean",
) -> Any:  # fmt: skip
    """Estimate the cross spectral density by Welch's method: the mean over windows of the products of spectra."""
    import scipy.signal

    same = y is x
    one, two = as_floats(x), as_floats(y)
    if scaling not in ("density", "spectrum"):
        raise ValueError(f"Parameter {scaling=} not in ['density', 'spectrum']!")
    one, two = np.moveaxis(one, axis, -1), np.moveaxis(two, axis, -1)
    if not same and one.shape[-1] != two.shape[-1]:
        longer = max(one.shape[-1], two.shape[-1])
        one, two = (np.pad(v, [(0, 0)] * (v.ndim - 1) + [(0, longer - v.shape[-1])]) for v in (one, two))
    weights = _window(window, nperseg, one.shape[-1])
    length = weights.shape[0]
    overlap = length // 2 if noverlap is None else int(noverlap)
    size = length if nfft is None else int(nfft)
    if size < length:
        raise ValueError("nfft must be greater than or equal to nperseg.")
    real = return_onesided and one.dtype.kind != "c" and two.dtype.kind != "c"

    def spectra(v: Array) -> Array:
        pieces = _windows(v, length, overlap)
        if callable(detrend):
            pieces = detrend(pieces)
        elif detrend:
            pieces = scipy.signal.detrend(pieces, type=detrend, axis=-1)
        return (fourier.rfft if real else fourier.fft)(pieces * weights, size)

    first = spectra(one)
    second = first if same else spectra(two)
    scale = 1.0 / (fs * np.sum(weights**2)) if scaling == "density" else 1.0 / np.sum(weights) ** 2
    power = np.conj(first) * second * scale
    if real:
        power = power * _both_sides(power.shape[-1], size)
    if same:
        power = np.real(power)
    power = _averaged(power, average)
    places = np.fft.rfftfreq(size, 1 / fs) if real else np.fft.fftfreq(size, 1 / fs)
    return places, np.moveaxis(power, -1, axis)


def welch(x: Any, *args: Any, **options: Any) -> Any:
    """Estimate the power spectral density by Welch's method."""
    return csd(x, x, *args, **options)


def periodogram(
    x: Any, fs: float = 1.0, window: Any = "boxcar", nfft: int | None = None, detrend: Any = "constant",
    return_onesided: bool = True, scaling: str = "density", axis: int = -1,
) -> Any:  # fmt: skip
    """Estimate the power spectral density from one window, all of the signal."""
    x = as_operand(x)
    n = x.shape[axis]
    if nfft is not None and nfft < n:
        x = np.moveaxis(np.moveaxis(x, axis, -1)[..., :nfft], -1, axis)
        n, nfft = nfft, None
    window = "boxcar" if window is None else window
    return csd(x, x, fs, window, n, 0, nfft, detrend, return_onesided, scaling, axis)


# ---- Other filters ----


def upfirdn(h: Any, x: Any, up: int = 1, down: int = 1, axis: int = -1, mode: str = "constant", cval: Any = 0) -> Array:
    """Put zeros between samples, filter, and take some of the results."""
    if mode != "constant" or cval != 0:
        raise UnsupportedError("scipy.signal.upfirdn has a rule for mode='constant' with cval=0 only.")
    h, x = as_operand(h), as_operand(x)
    x = np.moveaxis(x, axis, -1)
    n = x.shape[-1]
    spread = np.stack([x, *[np.zeros(x.shape, x.dtype)] * (up - 1)], axis=-1)
    stuffed = np.reshape(spread, (*x.shape[:-1], n * up))[..., : (n - 1) * up + 1]
    padding = np.zeros((*x.shape[:-1], h.shape[0] - 1), x.dtype)
    kind = np.result_type(h.dtype, x.dtype, np.float32)
    y = fir(np.concatenate([stuffed, padding], axis=-1).astype(kind), h.astype(kind))
    return np.moveaxis(y[..., ::down], -1, axis)


def medfilt2d(input: Any, kernel_size: Any = 3) -> Array:  # noqa: A002  # SciPy's name
    """Take medians of a plane."""
    import scipy.signal

    return scipy.signal.medfilt(input, kernel_size)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    f.__name__: f
    for f in (
        *(lfilter, lfiltic, sosfilt, upfirdn, fftconvolve, convolve, correlate, convolve2d, correlate2d),
        *(csd, welch, periodogram, medfilt2d),
    )
}
"""The implementations of the functions of ``scipy.signal``, by name."""
FUNCTIONS["oaconvolve"] = fftconvolve  # the same, in blocks


def _enter() -> None:
    import scipy.signal

    for name, written in FUNCTIONS.items():
        calls(getattr(scipy.signal, name), catch=scipy.signal)(written)


LATE["scipy.signal"] = _enter
