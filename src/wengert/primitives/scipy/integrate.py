"""``scipy.integrate``: Simpson's rule for points that are not evenly spaced, and ``quad`` of a function.

What else there is for samples (``trapezoid``, ``cumulative_trapezoid``, ``romb``) SciPy writes in terms of NumPy.  The
value of ``quad`` is SciPy's own; its derivative is that of the Gauss-Kronrod sum on the intervals that SciPy has come
to.  A Program keeps those, with a guard that the sum is as accurate as it was.

>>> import numpy as np, wengert as wg
>>> from scipy.integrate import simpson
>>> x = np.array([0.0, 1.0, 3.0])
>>> wg.grad(lambda y: simpson(y, x=x))(x**2)
array([0.  , 2.25, 0.75])
>>> from scipy.integrate import quad
>>> round(float(wg.grad(lambda a: quad(lambda t: a * t**2, 0.0, a)[0])(3.0)), 9)  # of a**4 / 3
36.0
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index

from wengert.errors import UnsupportedError
from wengert.primitives.numpy.functions.operands import as_operand, is_traced
from wengert.primitives.table import ALWAYS, LATE, calls
from wengert.program import Recordable

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


# ---- Integrals of functions ----


def _half(values: str) -> Array:
    return np.array([float(value) for value in values.split()])


_NODES = _half(
    "0.995657163025808080735527280689003 0.973906528517171720077964012084452 0.930157491355708226001207180059508 "
    "0.865063366688984510732096688423493 0.780817726586416897063717578345042 0.679409568299024406234327365114874 "
    "0.562757134668604683339000099272694 0.433395394129247190799265943165784 0.294392862701460198131126603103866 "
    "0.148874338981631210884826001129720 0.0"
)
_WEIGHTS = _half(
    "0.011694638867371874278064396062192 0.032558162307964727478818972459390 0.054755896574351996031381300244580 "
    "0.075039674810919952767043140916190 0.093125454583697605535065465083366 0.109387158802297641899210590325805 "
    "0.123491976262065851077958109585166 0.134709217311473325928054001771707 0.142775938577060080797094273138717 "
    "0.147739104901338491374841515972068 0.149445554002916905664936468389821"
)
NODES = np.concatenate([-_NODES[:10], _NODES[::-1]])
"""The nodes of Gauss and Kronrod with 21 points on [-1, 1]; every second is one of Gauss's ten."""
WEIGHTS = np.concatenate([_WEIGHTS[:10], _WEIGHTS[::-1]])
"""The weights of Kronrod's sum."""
GAUSS = np.zeros(21)
"""The weights of Gauss's sum."""
GAUSS[1::2] = np.polynomial.legendre.leggauss(10)[1]
_TRUSTED = 1e-7
"""The relative difference between SciPy's integral and the sum, up to which the sum is differentiated."""


def _plain(value: Any) -> Any:
    while isinstance(value, Recordable):
        value = value._value  # type: ignore[attr-defined]
    return value


def _on_finite(a: Array, b: Array) -> tuple[float, float, Callable[[Array], tuple[Array, Array]]]:
    """Return an interval from which the one of integration is mapped, and the map: the point and its derivative."""
    low, high = np.isneginf(_plain(a)), np.isposinf(_plain(b))
    if low and high:
        return -1.0, 1.0, lambda s: (s / (1.0 - s * s), (1.0 + s * s) / (1.0 - s * s) ** 2)
    if high:
        return 0.0, 1.0, lambda s: (a + s / (1.0 - s), 1.0 / (1.0 - s) ** 2)
    if low:
        return -1.0, 0.0, lambda s: (b + s / (1.0 + s), 1.0 / (1.0 + s) ** 2)
    return 0.0, 1.0, lambda s: (a + (b - a) * s, b - a)


def quad(
    func: Callable[..., Any], a: Any, b: Any, args: Any = (), full_output: int = 0, *rest: Any, **options: Any
) -> Any:
    """Integrate a function of one variable, which may depend on traced values by its arguments or from around it."""
    import scipy.integrate

    args = args if isinstance(args, tuple) else (args,)
    depends = is_traced(a, b)

    def evaluate(t: float) -> Any:
        nonlocal depends
        y = func(t, *args)
        depends = depends or isinstance(y, Recordable)
        return _plain(y)

    is_python = callable(func) and not type(func).__module__.startswith(("scipy", "numba", "ctypes"))
    bounds = _plain(a), _plain(b)
    integrate: Any = scipy.integrate.quad
    plain_args = () if is_python else args
    result = integrate(evaluate if is_python else func, *bounds, plain_args, full_output, *rest, **options)
    if not depends or (bounds[0] == bounds[1] and not is_traced(a, b)):
        return result
    extra = {name for name, value in options.items() if name not in ("epsabs", "epsrel", "limit") and value is not None}
    if extra or len(rest) > 3:
        raise UnsupportedError("scipy.integrate.quad has a rule without points=, weight= and complex_func= only.")
    if bounds[0] > bounds[1]:
        return (-_summed(func, b, a, args, -result[0], rest, options), *result[1:])
    return (_summed(func, a, b, args, result[0], rest, options), *result[1:])


def _summed(
    func: Callable[..., Any], a: Any, b: Any, args: Any, value: float, rest: Sequence[Any], options: Any
) -> Array:
    """Return an integral whose derivative is that of the sum over the intervals that SciPy has come to."""
    import scipy.integrate

    low, high, mapped = _on_finite(a, b)

    def integrand(s: Any) -> Any:
        t, factor = mapped(s)
        return func(t, *args) * factor

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", scipy.integrate.IntegrationWarning)  # given for the integral itself
        integrate: Any = scipy.integrate.quad
        told = integrate(lambda s: _plain(integrand(s)), low, high, (), 1, *rest, **options)[2]
    kronrod: Any = 0.0
    gauss: Any = 0.0
    for start, stop in zip(told["alist"][: told["last"]], told["blist"][: told["last"]], strict=True):
        half = 0.5 * (stop - start)
        values = np.stack([integrand(0.5 * (start + stop) + half * s) for s in NODES])
        kronrod = kronrod + half * np.dot(WEIGHTS, values)
        gauss = gauss + half * np.dot(GAUSS, values)
    accuracy = max(_TRUSTED * abs(value), 1e-12)
    if not abs(_plain(kronrod) - value) <= accuracy:
        raise UnsupportedError(
            "the integrand of this scipy.integrate.quad is singular, and its derivative has no accurate sum; "
            "substitute the variable so that it is smooth, t = s**2 for a root at 0."
        )
    if is_traced(kronrod):
        bool(np.abs(kronrod - gauss) <= max(2.0 * abs(_plain(kronrod) - _plain(gauss)), accuracy))  # a guard
    return value + (kronrod - _plain(kronrod))


def _enter() -> None:
    import scipy.integrate

    calls(scipy.integrate.quad, catch=scipy.integrate)(quad)
    ALWAYS.add(scipy.integrate.quad)
    calls(scipy.integrate.simpson, catch=scipy.integrate)(simpson)


LATE["scipy.integrate"] = _enter
