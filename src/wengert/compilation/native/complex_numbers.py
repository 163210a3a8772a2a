"""Complex numbers: their arithmetic and functions in terms of those of the real and imaginary parts.

Machine code computes with real numbers alone; an array of complex ones is a pair of arrays in it, and lies in memory as
NumPy has it.  Products and quotients are NumPy's formulas (Smith's for quotients), so infinities and NaN come out as
there.  Where an operation on the way raises an alarm of the processor's, the caller computes in Python, so what follows
need not care for overflow; it does care for what stays quiet: zero parts beside NaN.

>>> from wengert.compilation.native.expressions import Expressions
>>> op = Expressions()
>>> z = op.argument((5,), "D", (16,))
>>> str(op("multiply", z, z).real), op("absolute", z).dtype
('subtract(multiply(move(x0), move(x0)), multiply(move(x0), move(x0)))', 'd')
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

MOST_POWER = 100
"""Whole exponents below it are products, as in NumPy."""


def _multiply(op: Any, a: Any, b: Any) -> Any:
    real = op("subtract", op("multiply", a.real, b.real), op("multiply", a.imag, b.imag))
    return op.complex_of(real, op("add", op("multiply", a.real, b.imag), op("multiply", a.imag, b.real)))


def _divide(op: Any, a: Any, b: Any) -> Any:
    """Divide by the larger part of the divisor first."""
    by_real = op("greater_equal", op("absolute", b.real), op("absolute", b.imag))
    large, small = op("select", by_real, b.real, b.imag), op("select", by_real, b.imag, b.real)
    ratio = op("divide", small, large)
    scale = op("divide", 1.0, op("add", large, op("multiply", small, ratio)))
    one, other = op("select", by_real, a.real, a.imag), op("select", by_real, a.imag, a.real)
    real = op("add", one, op("multiply", other, ratio))
    imag = op("subtract", op("select", by_real, a.imag, op("multiply", a.imag, ratio)),
              op("select", by_real, op("multiply", a.real, ratio), a.real))  # fmt: skip
    return op.complex_of(op("multiply", real, scale), op("multiply", imag, scale))


def _each(name: str) -> Callable[..., Any]:
    """Return the operation on each part."""

    def apply(op: Any, *operands: Any) -> Any:
        return op.complex_of(op(name, *[a.real for a in operands]), op(name, *[a.imag for a in operands]))

    return apply


def _equal(op: Any, a: Any, b: Any) -> Any:
    return op("and", op("equal", a.real, b.real), op("equal", a.imag, b.imag))


def _not_equal(op: Any, a: Any, b: Any) -> Any:
    return op("or", op("not_equal", a.real, b.real), op("not_equal", a.imag, b.imag))


def _absolute(op: Any, z: Any) -> Any:
    return op("hypot", z.real, z.imag)


def _product(op: Any, a: Any, b: Any, *zeros: Any) -> Any:
    """Multiply a size by the sine or cosine of a phase.

    Beside a phase that is NaN, an infinite size stays what it is if no `zeros` are passed, and otherwise the product is
    zero if one of these holds.
    """
    product = op("multiply", a, b)
    if not zeros:
        is_infinite = op("equal", op("absolute", a), math.inf)
        return op("select", op("and", is_infinite, op("not_equal", b, b)), a, product)
    is_zero = zeros[0]
    for other in zeros[1:]:
        is_zero = op("or", is_zero, other)
    return op("select", op("and", is_zero, op("not_equal", product, product)), 0.0, product)


def _is_zero(op: Any, x: Any) -> Any:
    return op("equal", x, 0.0)


def _exp(op: Any, z: Any) -> Any:
    radius, is_least = op("exp", z.real), op("equal", z.real, -math.inf)
    real = _product(op, radius, op("cos", z.imag), is_least)
    real = op("select", op("equal", z.real, math.inf), _product(op, radius, op("cos", z.imag)), real)
    return op.complex_of(real, _product(op, radius, op("sin", z.imag), is_least, _is_zero(op, z.imag)))


def _log(op: Any, z: Any) -> Any:
    """Take the logarithm of the absolute value near one from what it differs by."""
    absolute = op("hypot", z.real, z.imag)
    x, y = op("absolute", z.real), op("absolute", z.imag)
    is_real = op("greater", x, y)
    large, small = op("select", is_real, x, y), op("select", is_real, y, x)
    is_near = op("and", op("greater", absolute, 0.5), op("less", absolute, 2.0))
    large, small = op("select", is_near, large, 1.0), op("select", is_near, small, 0.0)
    excess = op("add", op("multiply", op("subtract", large, 1.0), op("add", large, 1.0)), op("multiply", small, small))
    near = op("multiply", 0.5, op("log1p", excess))
    return op.complex_of(op("select", is_near, near, op("log", absolute)), op("arctan2", z.imag, z.real))


def _sqrt(op: Any, z: Any) -> Any:
    """Take the root of the part that nothing cancels in, and divide by it."""
    absolute = op("hypot", z.real, z.imag)
    root = op("sqrt", op("multiply", 0.5, op("add", absolute, op("absolute", z.real))))
    is_zero = op("equal", root, 0.0)
    other = op("divide", op("absolute", z.imag), op("multiply", 2.0, op("select", is_zero, 1.0, root)))
    is_right = op("greater_equal", z.real, 0.0)
    is_infinite = op("equal", op("absolute", z.imag), math.inf)
    real = op("select", is_infinite, math.inf, op("select", is_right, root, other))
    imag = op("select", is_infinite, math.inf, op("select", is_right, other, root))
    return op.complex_of(real, op("copysign", imag, z.imag))


def _sin(op: Any, z: Any) -> Any:
    w = _sinh(op, op.complex_of(op("negative", z.imag), z.real))  # of i z
    return op.complex_of(w.imag, op("negative", w.real))


def _cos(op: Any, z: Any) -> Any:
    return _cosh(op, op.complex_of(op("negative", z.imag), z.real))


def _sinh(op: Any, z: Any) -> Any:
    size, is_zero = op("sinh", z.real), _is_zero(op, z.real)
    real = op("select", is_zero, _product(op, size, op("cos", z.imag), is_zero), _product(op, size, op("cos", z.imag)))
    return op.complex_of(real, _product(op, op("cosh", z.real), op("sin", z.imag), _is_zero(op, z.imag)))


def _cosh(op: Any, z: Any) -> Any:
    zeros = _is_zero(op, z.real), _is_zero(op, z.imag)
    real = _product(op, op("cosh", z.real), op("cos", z.imag))
    return op.complex_of(real, _product(op, op("sinh", z.real), op("sin", z.imag), *zeros))


def _power(op: Any, z: Any, p: Any) -> Any:
    """Raise to a whole power by products, in NumPy's order; None for any other."""
    exponent = op.value_of(p)
    if exponent is None or exponent.imag or exponent.real != (n := int(exponent.real)) or not 0 < abs(n) < MOST_POWER:
        return None
    result, factor, rest = None, z, abs(n)
    while True:
        if rest & 1:
            result = factor if result is None else op("multiply", result, factor)
        rest >>= 1
        if not rest:
            return result if n > 0 else op("divide", op.complex_of(1.0, 0.0), result)
        factor = op("multiply", factor, factor)


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    **{name: _each(name) for name in ("add", "subtract", "negative")},
    "multiply": _multiply,
    "divide": _divide,
    "equal": _equal,
    "not_equal": _not_equal,
    "absolute": _absolute,
    "exp": _exp,
    "log": _log,
    "sqrt": _sqrt,
    "sin": _sin,
    "cos": _cos,
    "sinh": _sinh,
    "cosh": _cosh,
    "power": _power,
}
"""The operations that complex numbers have, beside ``"select"``."""
