"""``scipy.fft``: the transforms of ``numpy.fft`` under SciPy's names, and those of cosine and sine.

The transforms of cosine and sine are real linear maps, one row each, without normalization; n, norm and orthogonalize
are multiplications before and after.  Types 1 and 4 are symmetric but for the first and last element of type 1, and
types 2 and 3 are each other's transposes but for one element.

>>> import numpy as np, scipy.fft, wengert as wg
>>> x = np.array([1.0, 2.0, 0.0, -1.0])
>>> energy = lambda x: np.sum(scipy.fft.dct(x, norm="ortho") ** 2)  # orthonormal: that of the signal
>>> wg.grad(energy)(x) / 2
array([ 1.,  2.,  0., -1.])

What users call hands over to functions of a back end, and it is those that are caught: ``scipy.fft.fft`` itself is no
function of Python's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from wengert.jacobians import LocalJacobian, Map
from wengert.primitives.numpy import fourier
from wengert.primitives.numpy.elementwise import is_complex
from wengert.primitives.numpy.fourier import SWAPPED, _counts, _resized, _sizes
from wengert.primitives.numpy.functions.operands import as_operand
from wengert.primitives.numpy.linalg.matrices import conj
from wengert.primitives.table import LATE, array_function, calls
from wengert.program import Primitive

Array = Any


# ---- Cosine and sine: the rows ----


def _edge(length: int, axis: int, dtype: Any, first: float, last: float) -> Array:
    """Return a factor of 1 along an axis (counted from the end), but for the first and last element."""
    factor = np.ones(length, dtype)
    factor[0] *= first
    factor[-1] *= last
    return np.reshape(factor, (-1,) + (1,) * (-axis - 1))


def _transposed(name: str, g: Array, type: int, axis: int) -> Array:
    """Multiply an adjoint by the transpose of a transform."""
    row, n = ROWS[name], g.shape[axis]
    dtype = np.finfo(g.dtype).dtype
    if type == 1 and name == "dct":
        ends = _edge(n, axis, dtype, 2.0, 2.0)
        return row(g * ends, type=1, axis=axis) / ends
    if type in (1, 4):
        return row(g, type=type, axis=axis)
    one = (2.0, 1.0) if name == "dct" else (1.0, 2.0)  # the element that stands once in a transform of type 3
    edge = _edge(n, axis, dtype, *one)
    return row(g * edge, type=3, axis=axis) if type == 2 else row(g, type=2, axis=axis) / edge


def _row(name: str) -> Primitive:
    def compute(x: Array, type: int, axis: int) -> Array:
        import scipy.fft

        return getattr(scipy.fft, name)(x, type, axis=axis)

    def partial(_y: Any, _x: Any, type: int, axis: int) -> LocalJacobian:
        return Map(
            _x.shape,
            _y.shape,
            lambda t: ROWS[name](t, type=type, axis=axis),
            lambda g: _transposed(name, g, type, axis),
            _counts(_y, _x, _x.shape[axis], axis, None),
            name=name,
            mixes=((axis,), (axis,)),
        )

    return array_function(
        name,
        compute,
        partial,
        source=lambda args, params: f"scipy.fft.{name}({args[0]}, {params['type']}, axis={params['axis']})",
        counts=lambda y, x, type, axis: _counts(y, x, x.shape[axis], axis, None),
    )


ROWS = {name: _row(name) for name in ("dct", "dst")}


# ---- Cosine and sine: the functions that users call ----


def _periods(name: str, type: int, n: int) -> int:
    return 2 * (n - 1 if (name, type) == ("dct", 1) else n + 1 if (name, type) == ("dst", 1) else n)


def _one(
    name: str, x: Any, type: int, n: Any, axis: int, norm: Any, orthogonalize: Any, inverse: bool
) -> Any:  # fmt: skip
    x = as_operand(x)
    if norm not in SWAPPED:
        raise ValueError(f'Invalid norm value {norm!r}; should be "backward", "ortho" or "forward".')
    if type not in (1, 2, 3, 4):
        raise ValueError("invalid type: it must be 1, 2, 3 or 4")
    if is_complex(x):
        parts = [_one(name, part, type, n, axis, norm, None, inverse) for part in (np.real(x), np.imag(x))]
        return parts[0] + 1j * parts[1]
    if x.dtype.kind in "biu":
        x = x.astype(float)
    k = normalize_axis_index(axis, x.ndim) - x.ndim
    length = x.shape[k] if n is None else int(n)
    if length < 1 + ((name, type) == ("dct", 1)):
        raise ValueError(f"invalid number of data points ({length}) specified")
    x = _resized(x, length, k)
    orthogonal = norm == "ortho" if orthogonalize is None else orthogonalize
    if inverse:
        type = {2: 3, 3: 2}.get(type, type)
        norm = SWAPPED[norm]
    before, after = _orthogonal(name, type) if orthogonal else ((1.0, 1.0), (1.0, 1.0))
    if before != (1.0, 1.0):
        x = x * _edge(length, k, x.dtype, *before)
    y = ROWS[name](x, type=type, axis=k)
    if after != (1.0, 1.0):
        y = y * _edge(length, k, x.dtype, *after)
    periods = _periods(name, type, length)
    if norm == "ortho":
        return y * np.asarray(1 / math.sqrt(periods), x.dtype)[()]
    return y * np.asarray(1 / periods, x.dtype)[()] if norm == "forward" else y


def _orthogonal(name: str, type: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the factors of the first and last element, before and after, that make a transform orthogonal."""
    root, none = math.sqrt(2.0), (1.0, 1.0)
    one = (1.0, root) if name == "dst" else (root, 1.0)
    if type == 1 and name == "dct":
        return (root, root), (1 / root, 1 / root)
    if type == 2:
        return none, (1 / one[0], 1 / one[1])
    return (one, none) if type == 3 else (none, none)


def _real_transforms(name: str) -> dict[str, Callable[..., Any]]:
    """Return a transform, its inverse, and both in several axes, by SciPy's names and with SciPy's arguments."""

    def one_axis(inverse: bool) -> Callable[..., Any]:
        def transform(
            x: Any, type: int = 2, n: Any = None, axis: int = -1, norm: Any = None, orthogonalize: Any = None
        ) -> Any:
            return _one(name, x, type, n, axis, norm, orthogonalize, inverse)

        return transform

    def several_axes(inverse: bool) -> Callable[..., Any]:
        def transform(
            x: Any, type: int = 2, s: Any = None, axes: Any = None, norm: Any = None, *, orthogonalize: Any = None
        ) -> Any:
            x = as_operand(x)
            for n, axis in zip(*_sizes(x, _listed(s), _listed(axes)), strict=True):
                x = _one(name, x, type, n, axis, norm, orthogonalize, inverse)
            return x

        return transform

    made = {name: one_axis(False), f"i{name}": one_axis(True), f"{name}n": several_axes(False)}
    return made | {f"i{name}n": several_axes(True)}


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, (int, np.integer)) else value


# ---- Fourier ----


def _one_axis(function: Callable[..., Any]) -> Callable[..., Any]:
    def transform(x: Any, n: Any = None, axis: int = -1, norm: Any = None) -> Any:
        return function(x, n, axis, norm)

    return transform


def _several_axes(function: Callable[..., Any], default: Any) -> Callable[..., Any]:
    def transform(x: Any, s: Any = None, axes: Any = default, norm: Any = None) -> Any:
        return function(x, _listed(s), _listed(axes), norm)

    return transform


def _hfftn(x: Any, s: Any, axes: Any, norm: Any) -> Any:
    return fourier.irfftn(conj(as_operand(x)), s, axes, SWAPPED.get(norm, norm))


def _ihfftn(x: Any, s: Any, axes: Any, norm: Any) -> Any:
    return np.conj(fourier.rfftn(x, s, axes, SWAPPED.get(norm, norm)))


PLANE: Sequence[int] = (-2, -1)
FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: _one_axis(getattr(fourier, name)) for name in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")},
    **{f"{name}n": _several_axes(getattr(fourier, f"{name}n"), None) for name in ("fft", "ifft", "rfft", "irfft")},
    **{f"{name}2": _several_axes(getattr(fourier, f"{name}n"), PLANE) for name in ("fft", "ifft", "rfft", "irfft")},
    "hfftn": _several_axes(_hfftn, None),
    "ihfftn": _several_axes(_ihfftn, None),
    "hfft2": _several_axes(_hfftn, PLANE),
    "ihfft2": _several_axes(_ihfftn, PLANE),
    **_real_transforms("dct"),
    **_real_transforms("dst"),
}
"""The implementations of the functions of ``scipy.fft``, by name."""


# ---- scipy.fftpack: the same with older conventions, and filters of periodic sequences ----


def _packed(x: Any, n: Any = None, axis: int = -1) -> Any:
    """Transform, and lay real and imaginary parts out in turn: y_0, Re y_1, Im y_1..."""
    x = as_operand(x)
    n = x.shape[axis] if n is None else int(n)
    y = fourier.rfft(np.moveaxis(x, axis, -1), n)
    pairs = np.reshape(np.stack([np.real(y), np.imag(y)], axis=-1), (*y.shape[:-1], 2 * y.shape[-1]))
    return np.moveaxis(np.concatenate([pairs[..., :1], pairs[..., 2 : n + 1]], axis=-1), -1, axis)


def _from_packed(x: Any, n: Any = None, axis: int = -1) -> Any:
    x = as_operand(x)
    n = x.shape[axis] if n is None else int(n)
    x = _resized(np.moveaxis(x, axis, -1), n, -1)
    nothing = np.zeros((*x.shape[:-1], 1), x.dtype)
    pairs = np.concatenate([x[..., :1], nothing, x[..., 1:], *([] if n % 2 else [nothing])], axis=-1)
    return np.moveaxis(fourier.irfft(pairs[..., ::2] + 1j * pairs[..., 1::2], n), -1, axis)


def _of_older(name: str) -> Callable[..., Any]:
    """Return a transform with the arguments of ``scipy.fftpack``, whose cosines and sines go back unnormalized."""
    function = FUNCTIONS[name]
    cosines = "ct" in name or "st" in name
    default = PLANE if name.endswith("2") else None

    def normalized(norm: Any) -> Any:
        return "forward" if name.startswith("i") and norm is None else norm

    def fourier_in_one(x: Any, n: Any = None, axis: int = -1) -> Any:
        return function(x, n, axis)

    def fourier_in_several(x: Any, shape: Any = None, axes: Any = default) -> Any:
        return function(x, shape, axes)

    def one(x: Any, type: int = 2, n: Any = None, axis: int = -1, norm: Any = None) -> Any:
        return function(x, type, n, axis, normalized(norm))

    def several(x: Any, type: int = 2, shape: Any = None, axes: Any = None, norm: Any = None) -> Any:
        return function(x, type, shape, axes, normalized(norm))

    if name.endswith(("n", "2")):
        return several if cosines else fourier_in_several
    return one if cosines else fourier_in_one


def _periodic(name: str) -> Callable[..., Any]:
    """Return a filter of periodic sequences: the convolution with its response to an impulse."""

    def transform(x: Any, *options: Any, **named: Any) -> Any:
        import scipy.fftpack

        x = as_operand(x)
        x = x.astype(np.complex128 if is_complex(x) else np.float64)
        n = x.shape[0]
        response = np.fft.rfft(getattr(scipy.fftpack, name)(np.eye(1, n)[0], *options, **named))

        def filtered(part: Any) -> Any:
            return fourier.irfft(response * fourier.rfft(part), n)

        return filtered(np.real(x)) + 1j * filtered(np.imag(x)) if is_complex(x) else filtered(x)

    return transform


PERIODIC = (
    *("diff", "shift", "hilbert", "ihilbert", "tilbert", "itilbert"),
    *("cc_diff", "cs_diff", "sc_diff", "ss_diff"),
)
OLDER: dict[str, Callable[..., Any]] = {
    **{name: _of_older(name) for name in ("fft", "ifft", "fft2", "ifft2", "fftn", "ifftn")},
    **{name: _of_older(name) for kind in ("dct", "dst") for name in (kind, f"i{kind}", f"{kind}n", f"i{kind}n")},
    "rfft": _packed,
    "irfft": _from_packed,
    **{name: _periodic(name) for name in PERIODIC},
}
"""The implementations of the functions of ``scipy.fftpack``, by name."""


def _enter_older() -> None:
    import scipy.fftpack

    for name, written in OLDER.items():
        written.__name__ = name
        calls(getattr(scipy.fftpack, name), catch=scipy.fftpack)(written)


def _enter() -> None:
    import scipy.fft
    from scipy.fft import _basic_backend, _realtransforms_backend

    for name, written in FUNCTIONS.items():
        written.__name__ = name
        for backend in (_basic_backend, _realtransforms_backend):
            if hasattr(backend, name):
                calls(getattr(backend, name), catch=scipy.fft)(written)


LATE["scipy.fft"] = _enter
LATE["scipy.fftpack"] = _enter_older
