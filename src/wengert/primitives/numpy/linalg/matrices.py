"""Operations on matrices that all rules share: transposes, conjugates, checks, counts, repetition along stacks.

A matrix is the last two axes of an array; the axes before them are a *stack*, and in a rule those of a block of
tangents or adjoints before these.  Each function takes plain arrays and traced values.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from wengert.jacobians import Counts, Shape
from wengert.primitives.numpy.elementwise import is_complex

Array = Any
REAL: dict[str, np.dtype[Any]] = {"F": np.dtype(np.float32), "D": np.dtype(np.float64)}
"""The real dtype of the same precision, by the letter of a complex one."""


OF_MATRICES = ((-2, -1), (-2, -1))
"""The axes of operand and result along which a function of matrices mixes elements; those before are of a stack."""


# ---- Transposes, and parts of complex numbers ----


def transposed(a: Array) -> Array:
    """Return the stack of transposed matrices."""
    return a.T if type(a) is np.ndarray and a.ndim == 2 else np.swapaxes(a, -1, -2)


def conj(a: Array) -> Array:
    """Return the complex conjugate; of a real array the array itself."""
    return np.conj(a) if is_complex(a) else a


def adjoint(a: Array) -> Array:
    """Return the stack of conjugate transposed matrices."""
    return conj(transposed(a))


def real(a: Array) -> Array:
    """Return the real part; of a real array the array itself."""
    return np.real(a) if is_complex(a) else a


def real_kind(a: Array) -> Any:
    """Return the real dtype of the same precision."""
    return REAL.get(a.dtype.char, a.dtype)


def spread(a: Array, like: Array) -> Array:
    """Repeat matrices along the leading axes that a block of tangents or adjoints has beyond them."""
    shape = like.shape[:-2] + a.shape[-2:]
    return a if a.shape == shape else np.broadcast_to(a, shape)


# ---- What NumPy asks of arguments, and returns ----


def square_of(*arrays: Array) -> None:
    """Raise as NumPy does where an argument is no stack of square matrices."""
    for a in arrays:
        shape = a.shape
        if len(shape) < 2:
            raise np.linalg.LinAlgError(f"{a.ndim}-dimensional array given. Array must be at least two-dimensional")
        if shape[-1] != shape[-2]:
            raise np.linalg.LinAlgError("Last 2 dimensions of the array must be square")


def matrices(*arrays: Array) -> None:
    """Raise as NumPy does where an argument is no stack of matrices."""
    for a in arrays:
        if a.ndim < 2:
            raise np.linalg.LinAlgError(f"{a.ndim}-dimensional array given. Array must be at least two-dimensional")


def named(name: str, *values: Any) -> Any:
    """Return the named tuple that NumPy returns."""
    kind = getattr(np.linalg._linalg, name, None)
    return values if kind is None else kind(*values)


# ---- Counts ----


def product(count: int, shape: Shape) -> Counts:
    """Count `count` products of matrices of a shape (the larger side is summed over)."""
    m, n = shape[-2:]
    size = count * math.prod(shape) * max(m, n)
    return {"multiplications": size, "additions": size}


def cubic(factor: float) -> Callable[..., Counts]:
    """Return the usual count of a factorization: `factor` times the number of elements times the smaller side."""

    def counts(_y: Any, x: Any, *_rest: Any, **_params: Any) -> Counts:
        shape = x.shape
        size = math.ceil(factor * math.prod(shape) * min(shape[-2:]))
        return {"multiplications": size, "additions": size}

    return counts
