"""``scipy.integrate``: Simpson's rule for points that are not evenly spaced.

What else there is for samples (``trapezoid``, ``cumulative_trapezoid``, ``romb``) SciPy writes in terms of NumPy.

>>> import numpy as np, wengert as wg
>>> from scipy.integrate import simpson
>>> x = np.array([0.0, 1.0, 3.0])
>>> wg.grad(lambda y: simpson(y, x=x))(x**2)
array([0.  , 2.25, 0.75])
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from wengert.primitives.numpy.functions.operands import as_operand
from wengert.primitives.table import LATE, calls

Array = Any


def _over(numerator: Array, denominator: Array) -> Array:
    nothing = denominator == 0
    return np.where(nothing, 0.0, numerator / np.where(nothing, 1.0, denominator))


def _parabolas(y: Array, h: Array, stop: int) -> Array:
    """Integrate the parabolas through three points each, from the first to the last that begins before `stop`."""
    h0, h1 = h[..., 0:stop:2], h[..., 1 : stop + 1 : 2]
    total = h0 + h1
    ratio = _over(h0, h1)
    low, mid, high = y[..., 0:stop:2], y[..., 1 : stop + 1 : 2], y[..., 2 : stop + 2 : 2]
    parts = low * (2.0 - _over(1.0, ratio)) + mid * (total * _over(total, h0 * h1)) + high * (2.0 - ratio)
    return np.sum(total / 6.0 * parts, axis=-1)


def simpson(y: Any, x: Any = None, *, dx: Any = 1.0, axis: int = -1) -> Array:
    """Integrate samples by parabolas; for an even number, with Cartwright's correction for the last interval."""
    y = as_operand(y)
    axis = normalize_axis_index(axis, y.ndim)
    n = y.shape[axis]
    y = np.moveaxis(y, axis, -1)
    if x is None:
        h = dx * np.ones(n - 1)
    else:
        x = as_operand(x)
        if x.ndim != 1 and x.ndim != y.ndim:
            raise ValueError("If given, shape of x must be 1-D or the same as y.")
        x = x if x.ndim == 1 else np.moveaxis(x, axis, -1)
        if x.shape[-1] != n:
            raise ValueError("If given, length of x along axis must be the same as y.")
        h = x[..., 1:] - x[..., :-1]
    if n % 2:
        return _parabolas(y, h, n - 2)
    if n == 2:
        return 0.5 * h[..., 0] * (y[..., 0] + y[..., 1])
    a, b = h[..., -2], h[..., -1]
    result = _parabolas(y, h, n - 3)
    result = result + _over(2 * b**2 + 3 * a * b, 6 * (b + a)) * y[..., -1]
    result = result + _over(b**2 + 3 * a * b, 6 * a) * y[..., -2]
    return result - _over(b**3, 6 * a * (a + b)) * y[..., -3]


def _enter() -> None:
    import scipy.integrate

    calls(scipy.integrate.simpson, catch=scipy.integrate)(simpson)


LATE["scipy.integrate"] = _enter
