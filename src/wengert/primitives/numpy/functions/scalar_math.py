"""Python's modules ``math`` and ``cmath`` on traced scalars, by NumPy's functions: a number in, a number out.

What has a method of its own (``math.floor``), takes any numbers (``math.prod``) or whole ones (``math.gcd``) needs
nothing here.  While a trace runs, wrappers that call these functions are bound to the names of Python's (see
`tracing.patching`).

>>> import wengert as wg
>>> wg.grad(lambda x: math.sin(x[0]) * math.hypot(x[0], x[1], 2.0))(np.array([0.0, 1.5]))
array([2.5, 0. ])
"""

from __future__ import annotations

import cmath
import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from wengert.primitives.numpy.functions.operands import is_traced
from wengert.primitives.table import calls

COLLECTING = frozenset({math.dist, math.fsum})
"""Functions that take many numbers as one argument, which may be an iterator."""
UFUNCS: dict[Callable[..., Any], np.ufunc] = {math.log: np.log}
"""The ufunc of a function of one number of Python's; SciPy's come when they are first used."""
_RENAMED = {
    "acos": "arccos", "acosh": "arccosh", "asin": "arcsin", "asinh": "arcsinh", "atan": "arctan", "atan2": "arctan2",
    "atanh": "arctanh", "fabs": "abs", "phase": "angle", "pow": "power",
}  # fmt: skip
"""What NumPy calls functions that are otherwise called as Python calls them."""


def _number(x: Any, dtype: Any) -> Any:
    """Return a traced number as Python's function takes it: a scalar in double precision."""
    if not is_traced(x):
        return x
    x = x if x.ndim == 0 else x.reshape(())
    return x if x.dtype == dtype else x.astype(dtype)


def _enter(function: Callable[..., Any], written: Callable[..., Any], dtype: Any) -> None:
    """Enter a function of numbers, which Python converts to one type first."""

    @functools.wraps(written)
    def call(*args: Any, **kwargs: Any) -> Any:
        return written(*[_number(x, dtype) for x in args], **{key: _number(x, dtype) for key, x in kwargs.items()})

    calls(function)(call)


def _enter_all(module: Any, dtype: Any, names: str, **written: Callable[..., Any]) -> None:
    """Enter functions of a module: those that NumPy has under the same or another name, and those written here."""
    for name in names.split():
        function, of_numpy = getattr(module, name), getattr(np, _RENAMED.get(name, name))
        _enter(function, of_numpy, dtype)
        if isinstance(of_numpy, np.ufunc) and of_numpy.nin == 1 and dtype is np.float64:
            UFUNCS[function] = of_numpy
    for name, function in written.items():
        if hasattr(module, name):  # some are new in later versions of Python
            _enter(getattr(module, name), function, dtype)


def _true(test: Callable[..., Any]) -> Callable[..., bool]:
    return functools.wraps(test)(lambda x: bool(test(x)))


def _log(x: Any, *base: Any) -> Any:
    return np.log(x) / np.log(base[0]) if base else np.log(x)


def _isclose(a: Any, b: Any, *, rel_tol: Any = 1e-9, abs_tol: Any = 0.0) -> bool:
    difference = np.abs(a - b)
    return bool(
        (a == b) | np.isfinite(difference) & (difference <= np.maximum(rel_tol * np.maximum(abs(a), abs(b)), abs_tol))
    )


def _frexp(x: Any) -> tuple[Any, int]:
    mantissa, exponent = np.frexp(x)
    return mantissa, int(exponent)


def _remainder(x: Any, y: Any) -> Any:
    return x - y * np.rint(x / y)


def _hypot(*coordinates: Any) -> Any:
    return np.hypot(*coordinates) if len(coordinates) == 2 else np.linalg.norm(np.array(coordinates))


def _of_scipy(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(x: Any) -> Any:
        import scipy.special

        UFUNCS[function] = ufunc = getattr(scipy.special, name)
        return ufunc(x)

    call.__name__ = name
    return call


_enter_all(
    math,
    np.float64,
    "acos acosh asin asinh atan atan2 atanh cbrt copysign cos cosh degrees exp exp2 expm1 fabs fmod log10 log1p log2 "
    "modf nextafter pow radians sin sinh sqrt tan tanh",
    erf=_of_scipy("erf", math.erf),
    erfc=_of_scipy("erfc", math.erfc),
    fma=lambda x, y, z: x * y + z,
    frexp=_frexp,
    gamma=_of_scipy("gamma", math.gamma),
    hypot=_hypot,
    isclose=_isclose,
    isfinite=_true(np.isfinite),
    isinf=_true(np.isinf),
    isnan=_true(np.isnan),
    ldexp=lambda x, exponent: x * 2.0 ** int(exponent),
    lgamma=_of_scipy("gammaln", math.lgamma),
    log=_log,
    remainder=_remainder,
    ulp=lambda x: np.spacing(np.abs(x)),
)
_enter_all(
    cmath,
    np.complex128,
    "acos acosh asin asinh atan atanh cos cosh exp log10 phase sin sinh sqrt tan tanh",
    isclose=_isclose,
    isfinite=_true(np.isfinite),
    isinf=_true(np.isinf),
    isnan=_true(np.isnan),
    log=_log,
    polar=lambda z: (np.abs(z), np.angle(z)),
)


@calls(math.fsum)
def fsum(values: Any) -> Any:
    return np.sum(np.array(values, np.float64))


@calls(math.dist)
def dist(p: Any, q: Any) -> Any:
    return np.linalg.norm(np.array(p, np.float64) - np.array(q, np.float64))


@calls(cmath.rect)
def rect(r: Any, phi: Any) -> Any:
    return _number(r, np.float64) * np.exp(1j * _number(phi, np.float64))
