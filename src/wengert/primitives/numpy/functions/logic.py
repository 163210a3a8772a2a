"""Arrays compared, rounded and told apart: piecewise constant, so they have derivative zero wherever they have one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wengert.primitives.numpy import structural as p
from wengert.primitives.numpy.functions.operands import as_operand, only
from wengert.primitives.table import calls

# ---- Comparing whole arrays: the answer is a plain truth value, and a guard of a Program ----


@calls(np.isclose)
def isclose(a: Any, b: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False) -> Any:
    a, b = as_operand(a), as_operand(b)
    close = (np.abs(a - b) <= atol + rtol * np.abs(b)) & np.isfinite(b) | (a == b)
    return close | np.isnan(a) & np.isnan(b) if equal_nan else close


@calls(np.allclose)
def allclose(a: Any, b: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False) -> bool:
    return bool(np.all(isclose(a, b, rtol, atol, equal_nan)))


@calls(np.array_equal)
def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> bool:
    a1, a2 = as_operand(a1), as_operand(a2)
    if a1.shape != a2.shape:
        return False
    equal = a1 == a2
    return bool(np.all(equal | np.isnan(a1) & np.isnan(a2) if equal_nan else equal))


@calls(np.array_equiv)
def array_equiv(a1: Any, a2: Any) -> bool:
    a1, a2 = as_operand(a1), as_operand(a2)
    try:
        np.broadcast_shapes(a1.shape, a2.shape)
    except ValueError:
        return False
    return bool(np.all(a1 == a2))


@calls(np.isposinf)
def isposinf(x: Any, out: Any = None) -> Any:
    only(out=out)
    return x == np.inf


@calls(np.isneginf)
def isneginf(x: Any, out: Any = None) -> Any:
    only(out=out)
    return x == -np.inf


@calls(np.isreal)
def isreal(x: Any) -> Any:
    return np.imag(x) == 0 if x.dtype.kind == "c" else np.ones(x.shape, bool)[()]


@calls(np.iscomplex)
def iscomplex(x: Any) -> Any:
    return np.imag(x) != 0 if x.dtype.kind == "c" else np.zeros(x.shape, bool)[()]


# ---- Rounding ----


@calls(np.round, np.around)
def round(a: Any, decimals: int = 0, out: Any = None) -> Any:
    only(out=out)
    return p.round_(a, decimals=decimals)


@calls(np.fix)
def fix(x: Any, out: Any = None) -> Any:
    only(out=out)
    return np.trunc(x)


# ---- Parts of complex numbers ----


@calls(np.angle)
def angle(z: Any, deg: bool = False) -> Any:
    result = np.arctan2(np.imag(z), np.real(z))
    return result * (180 / math.pi) if deg else result


@calls(np.real_if_close)
def real_if_close(a: Any, tol: float = 100) -> Any:
    if a.dtype.kind != "c":
        return a
    limit = tol * np.finfo(a.dtype).eps if tol > 1 else tol
    return np.real(a) if np.all(np.abs(np.imag(a)) < limit) else a


# ---- Elementary functions that leave the real line where they must ----


def _emath(ufunc: Any, outside: Any) -> Any:
    def continued(x: Any) -> Any:
        x = as_operand(x)
        return ufunc(x + 0j if x.dtype.kind != "c" and np.any(outside(x)) else x)

    continued.__name__ = ufunc.__name__
    return continued


for _name in ("sqrt", "log", "log2", "log10"):
    calls(getattr(np.emath, _name))(_emath(getattr(np, _name), lambda x: x < 0))
for _name in ("arccos", "arcsin", "arctanh"):
    calls(getattr(np.emath, _name))(_emath(getattr(np, _name), lambda x: np.abs(x) > 1))


@calls(np.emath.power)
def emath_power(x: Any, p: Any) -> Any:
    x = as_operand(x)
    return np.power(x + 0j if x.dtype.kind != "c" and np.any(x < 0) else x, p)
