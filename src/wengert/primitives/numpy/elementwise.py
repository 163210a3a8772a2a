"""Functions of each element by itself: NumPy's real ufuncs, with the diagonal of each local Jacobian.

``elementwise(np.log, lambda _y, x: 1 / x, ...)``: the rule is the local partial, given the result `y` and the operands.
It serves every mode and every order.  `formula` is the function's name in SymPy (or how to write it there); `counts`
counts the operations of one element; the tests draw operands from `domain`; `kink` states the convention where the
derivative does not exist.
"""

# Rules of a kind stand together, in columns.
# fmt: off

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
from scipy import special

from wengert.jacobians import LARGE, RealLinear
from wengert.primitives.table import ALL, calls, define, elementwise
from wengert.program import Recordable

INF = math.inf
LN2 = math.log(2.0)
LN10 = math.log(10.0)
POSITIVE = ((0.0, INF),)
UNIT = ((-1.0, 1.0),)
_FLOAT64 = np.dtype(np.float64)
CHOSEN = (lambda y, a, _b: a == y, lambda y, _a, b: b == y)
ADD, MULTIPLY, DIVIDE, COMPARE = "additions", "multiplications", "divisions", "comparisons"


# ---- How machine code computes what is not one of its operations ----


def _native_power(op: Any, x: Any, p: Any) -> Any:
    exponent = op.value_of(p)
    if exponent == 2 or exponent == 1:
        return op("multiply", x, x if exponent == 2 else 1.0)
    if exponent == 3:
        return op("multiply", op("multiply", x, x), x)
    return op("sqrt", x) if exponent == 0.5 and x.ndim else op("power", x, p)  # as NumPy: of -0.0 it is -0.0


def _native_logaddexp(op: Any, a: Any, b: Any) -> Any:
    """Add log(1 + exp(-|a - b|)) to the larger, which overflows nowhere."""
    rest = op("log1p", op("exp", op("negative", op("absolute", op("subtract", a, b)))))
    return op("add", op("select", op("greater", a, b), a, b), rest)


def _native_extreme(comparison: str, keeps_nan: bool) -> Any:
    """Choose as NumPy does: a NaN is the result of `maximum`, and the other operand that of `fmax`; `maximum` of 0 and -0 is the last."""

    def write(op: Any, a: Any, b: Any) -> Any:
        is_nan = op("not_equal", a, a) if keeps_nan else op("not_equal", b, b)
        return op("select", op("or", op(comparison, a, b), is_nan), a, b)

    return write


def _native_sign(op: Any, x: Any) -> Any:
    other = op("select", op("equal", x, 0.0), 0.0, x)
    return op("select", op("greater", x, 0.0), 1.0, op("select", op("less", x, 0.0), -1.0, other))


def _native_logaddexp2(op: Any, a: Any, b: Any) -> Any:
    """Add log2(1 + 2^-|a - b|) to the larger."""
    rest = op("log1p", op("exp2", op("negative", op("absolute", op("subtract", a, b)))))
    return op("add", op("select", op("greater", a, b), a, b), op("multiply", 1.0 / LN2, rest))


def _native_sinc(op: Any, x: Any) -> Any:
    y = op("multiply", math.pi, op("select", op("equal", x, 0.0), 1e-20, x))
    return op("divide", op("sin", y), y)


def _has_other_sign(op: Any, rest: Any, divisor: Any) -> Any:
    """Return whether the rest of a division of whole numbers, by a constant, has not the sign of the divisor."""
    return op("less" if op.value_of(divisor) > 0 else "greater", rest, 0)


def _native_floor_divide(op: Any, a: Any, b: Any) -> Any:
    """Divide what the remainder leaves, and take the nearest whole number below, as NumPy does."""
    rest = op("fmod", a, b)
    if op.is_whole(a):
        quotient = op("divide", a, b)
        return op("select", _has_other_sign(op, rest, b), op("subtract", quotient, 1), quotient)
    quotient = op("divide", op("subtract", a, rest), b)
    differs = op("and", op("not_equal", rest, 0.0), op("xor", op("less", b, 0.0), op("less", rest, 0.0)))
    quotient = op("select", differs, op("subtract", quotient, 1.0), quotient)
    whole = op("floor", quotient)
    whole = op("select", op("greater", op("subtract", quotient, whole), 0.5), op("add", whole, 1.0), whole)
    ratio = op("divide", a, b)
    whole = op("select", op("equal", quotient, 0.0), op("copysign", 0.0, ratio), whole)
    return op("select", op("equal", b, 0.0), ratio, whole)


def _native_remainder(op: Any, a: Any, b: Any) -> Any:
    """Give the remainder of a division towards zero the sign of the divisor."""
    rest = op("fmod", a, b)
    if op.is_whole(a):
        return op("select", _has_other_sign(op, rest, b), op("add", rest, b), rest)
    differs = op("xor", op("less", b, 0.0), op("less", rest, 0.0))
    return op("select", op("equal", rest, 0.0), op("copysign", 0.0, b), op("select", differs, op("add", rest, b), rest))


# ---- Arithmetic ----

add = elementwise(np.add, lambda _y, _a, _b: 1, lambda _y, _a, _b: 1, operator=operator.add, source="{0} + {1}", counts=ADD, formula=lambda a, b: a + b, native="add")
subtract = elementwise(np.subtract, lambda _y, _a, _b: 1, lambda _y, _a, _b: -1, operator=operator.sub, source="{0} - {1}", counts=ADD, formula=lambda a, b: a - b, native="subtract")
multiply = elementwise(np.multiply, lambda _y, _a, b: b, lambda _y, a, _b: a, operator=operator.mul, source="{0} * {1}", counts=MULTIPLY, formula=lambda a, b: a * b, native="multiply")
divide = elementwise(np.divide, lambda _y, _a, b: 1 / b, lambda y, _a, b: _over(-y, b), operator=operator.truediv, source="{0} / {1}", counts=DIVIDE, formula=lambda a, b: a / b, domain=(ALL, (0.0, INF)), native="divide")
negative = elementwise(np.negative, lambda _y, _x: -1, operator=operator.neg, source="-{0}", counts="signs", formula=lambda x: -x, native="negative")
positive = elementwise(np.positive, lambda _y, _x: 1, source="+{0}", counts="moves", formula=lambda x: x, native=lambda _op, x: x)
square = elementwise(np.square, lambda _y, x: 2 * x, counts=MULTIPLY, formula=lambda x: x**2, native=lambda op, x: op("multiply", x, x))
reciprocal = elementwise(np.reciprocal, lambda y, _x: -y * y, counts=DIVIDE, formula=lambda x: 1 / x, domain=POSITIVE, native=lambda op, x: op("divide", 1.0, x))


def _base_partial(_y: Any, x: Any, p: Any) -> Any:
    """p x^(p-1); zero, not NaN, for p = 0 at x = 0."""
    if type(p) in (int, float):
        # x**2 -> 2 x: no call, and exact
        return p * x if p == 2 else 1 if p == 1 else p * x ** (p - 1) if p != 0 else 0 * x
    return p * x ** np.where(p == 0, 1, p - 1)


def _exponent_partial(y: Any, x: Any, _p: Any) -> Any:
    """x^p log(x); zero where x = 0 and p > 0, its limit: where x^p is zero."""
    if type(x) in (int, float) and x > 0:
        return y * math.log(x)  # a Python number: single precision stays
    return y * np.log(np.where(y == 0, 1, x))


def _power_counts(y: Any, _x: Any, p: Any) -> dict[str, int]:
    """x**2 is one multiplication, as NumPy computes it; any other power is a call."""
    exponent: Any = getattr(p, "value", None)
    return {MULTIPLY if np.ndim(exponent) == 0 and exponent == 2 else "calls": y.size}


power = elementwise(np.power, _base_partial, _exponent_partial, operator=operator.pow, source="{0} ** {1}", formula=lambda a, b: a**b, counts=_power_counts, domain=((0.0, INF), ALL), native=_native_power)
float_power = elementwise(np.float_power, _base_partial, _exponent_partial, formula=lambda a, b: a**b, domain=((0.0, INF), ALL), native=_native_power)


# ---- Exponentials and logarithms ----

exp = elementwise(np.exp, lambda y, _x: y, formula="exp", native="exp")
exp2 = elementwise(np.exp2, lambda y, _x: LN2 * y, formula=lambda x: 2**x, native="exp2")
expm1 = elementwise(np.expm1, lambda _y, x: np.exp(x), formula=lambda x: _sympy().exp(x) - 1, native="expm1")
log = elementwise(np.log, lambda _y, x: 1 / x, formula="log", domain=POSITIVE, native="log")
log2 = elementwise(np.log2, lambda _y, x: 1 / (LN2 * x), formula=lambda x: _sympy().log(x) / _sympy().log(2), domain=POSITIVE, native="log2")
log10 = elementwise(np.log10, lambda _y, x: 1 / (LN10 * x), formula=lambda x: _sympy().log(x) / _sympy().log(10), domain=POSITIVE, native="log10")
log1p = elementwise(np.log1p, lambda _y, x: 1 / (1 + x), formula=lambda x: _sympy().log(1 + x), domain=((-1.0, INF),), native="log1p")
logaddexp = elementwise(np.logaddexp, lambda y, a, _b: np.exp(_less(a, y)), lambda y, _a, b: np.exp(_less(b, y)), formula=lambda a, b: _sympy().log(_sympy().exp(a) + _sympy().exp(b)), native=_native_logaddexp)
logaddexp2 = elementwise(np.logaddexp2, lambda y, a, _b: np.exp2(_less(a, y)), lambda y, _a, b: np.exp2(_less(b, y)), formula=lambda a, b: _sympy().log(2**a + 2**b) / _sympy().log(2), native=_native_logaddexp2)

# ---- Roots ----

sqrt = elementwise(np.sqrt, lambda y, _x: 0.5 / y, squared=(lambda _y, _root, _x: 1,), formula="sqrt", domain=POSITIVE, kink="at 0 the derivative is infinite, with a warning; of what is smooth in x, as its square: exact", native="sqrt")
inverse = define("inverse", lambda y: 1 / np.where(y == 0, np.inf, y), lambda y, n: -y / n, source="1 / np.where({0} == 0, np.inf, {0})", counts=DIVIDE, formula=lambda y: 1 / y, domain=POSITIVE, kink="at 0: 0, of a vector that is 0, too; its derivative does not exist there: infinite or NaN, with a warning", native=lambda op, y: op("divide", 1.0, op("select", op("equal", y, 0.0), INF, y)))
unit = define("unit", lambda a, y: a / np.where(y == 0, 1, y), lambda _y, _a, n: 1 / n, lambda y, _a, n: -y / n, source="{0} / np.where({1} == 0, 1, {1})", counts=DIVIDE, formula=lambda a, y: a / y, domain=(ALL, (0.0, INF)), kink="at (0, 0): 0, the middle of the directions; its derivative does not exist there: infinite or NaN, with a warning", native=lambda op, a, y: op("divide", a, op("select", op("equal", y, 0.0), 1.0, y)))
root = define("root", np.sqrt, lambda y, _x: 0.5 * inverse(y), squared=(lambda _y, _root, _x: 1,), source="np.sqrt({0})", counts="calls", formula="sqrt", domain=POSITIVE, kink="at 0: 0 (the square root in np.std, whose operand is a sum of squares); second: NaN, with a warning; of its square: exact", native="sqrt")
cbrt = elementwise(np.cbrt, lambda y, _x: 1 / (3 * y * y), formula=lambda x: _sympy().cbrt(x), domain=POSITIVE, native="cbrt")

# ---- Trigonometric ----

sin = elementwise(np.sin, lambda _y, x: np.cos(x), formula="sin", native="sin")
cos = elementwise(np.cos, lambda _y, x: _minus(np.sin(x)), formula="cos", native="cos")
tan = elementwise(np.tan, lambda y, _x: 1 + y * y, formula="tan", domain=((-1.5, 1.5),), native="tan")
arcsin = elementwise(np.arcsin, lambda _y, x: 1 / np.sqrt(_one_less_square(x)), formula="asin", domain=UNIT, native="arcsin")
arccos = elementwise(np.arccos, lambda _y, x: -1 / np.sqrt(_one_less_square(x)), formula="acos", domain=UNIT, native="arccos")
arctan = elementwise(np.arctan, lambda _y, x: 1 / (1 + x * x), formula="atan", native="arctan")
arctan2 = elementwise(np.arctan2, lambda _y, a, b: _over_squares(b, a, b), lambda _y, a, b: _over_squares(-a, a, b), formula="atan2", native="arctan2")
hypot = elementwise(np.hypot, lambda y, a, _b: unit(a, y), lambda y, _a, b: unit(b, y), squared=(lambda _y, _root, a, _b: 2 * a, lambda _y, _root, _a, b: 2 * b), formula=lambda a, b: _sympy().sqrt(a**2 + b**2), kink="at (0, 0): 0, the subgradient of least norm; second: NaN, with a warning; of its square: exact", native="hypot")
degrees = elementwise(np.degrees, lambda _y, _x: 180 / math.pi, counts=MULTIPLY, formula=lambda x: x * 180 / _sympy().pi, native=lambda op, x: op("multiply", x, 180.0 / math.pi))
radians = elementwise(np.radians, lambda _y, _x: math.pi / 180, counts=MULTIPLY, formula=lambda x: x * _sympy().pi / 180, native=lambda op, x: op("multiply", x, math.pi / 180.0))
rad2deg = elementwise(np.rad2deg, lambda _y, _x: 180 / math.pi, counts=MULTIPLY, formula=lambda x: x * 180 / _sympy().pi, native=lambda op, x: op("multiply", x, 180.0 / math.pi))
deg2rad = elementwise(np.deg2rad, lambda _y, _x: math.pi / 180, counts=MULTIPLY, formula=lambda x: x * _sympy().pi / 180, native=lambda op, x: op("multiply", x, math.pi / 180.0))

def _sinc_partial(_y: Any, x: Any) -> Any:
    return -math.pi * sinc_wave(math.pi * x, order=1)


def _wave_partial(_y: Any, x: Any, order: int) -> Any:
    """j_n' = (n j_(n-1) - (n+1) j_(n+1)) / (2n+1), which has no singularity at 0 (DLMF 10.51.2)."""
    after = (order + 1) * sinc_wave(x, order=order + 1)
    return (order * sinc_wave(x, order=order - 1) - after) / (2 * order + 1) if order else -sinc_wave(x, order=1)


sinc_wave = define("spherical_jn", lambda x, order: special.spherical_jn(order, x).astype(x.dtype)[()], _wave_partial, counts="calls", source=lambda args, params: f"scipy.special.spherical_jn({params['order']}, {args[0]})")
sinc = define("sinc", np.sinc, _sinc_partial, replaces=np.sinc, counts="calls", formula=lambda x: _sympy().sinc(_sympy().pi * x), native=_native_sinc)

# ---- Hyperbolic ----

sinh = elementwise(np.sinh, lambda _y, x: np.cosh(x), formula="sinh", native="sinh")
cosh = elementwise(np.cosh, lambda _y, x: np.sinh(x), formula="cosh", native="cosh")
tanh = elementwise(np.tanh, lambda y, _x: _from_one(y * y), formula="tanh", native="tanh")
arcsinh = elementwise(np.arcsinh, lambda _y, x: 1 / _root_of_one_and_square(x), formula="asinh", native="arcsinh")
arccosh = elementwise(np.arccosh, lambda _y, x: 1 / _root_of_square_less_one(x), formula="acosh", domain=((1.0, INF),), native="arccosh")
arctanh = elementwise(np.arctanh, lambda _y, x: 1 / ((1 - x) * (1 + x)), formula="atanh", domain=UNIT, native="arctanh")

# ---- Piecewise smooth ----

absolute = elementwise(np.absolute, lambda y, x: _modulus_partial(y, x), squared=(lambda _y, _root, x: 2 * x if x.dtype.kind != "c" else RealLinear(np.conj(x), x, x.shape, _root.shape),), formula="Abs", counts=COMPARE, source="np.abs({0})", kink="at 0: 0, the middle of [-1, 1]; second: 0, of complex numbers infinite or NaN, with a warning; of its square: exact", native="absolute")
fabs = elementwise(np.fabs, lambda _y, x: np.sign(x), squared=(lambda _y, _root, x: 2 * x,), formula="Abs", counts=COMPARE, kink="at 0: 0, the middle of [-1, 1]; of its square: exact", native="absolute")
maximum = elementwise(np.maximum, lambda y, a, b: _share(a, b, y), lambda y, a, b: _share(b, a, y), chosen=CHOSEN, formula="Max", counts=COMPARE, kink="tie: half to each, as NumPy users expect of autograd", native=_native_extreme("greater", True))
minimum = elementwise(np.minimum, lambda y, a, b: _share(a, b, y), lambda y, a, b: _share(b, a, y), chosen=CHOSEN, formula="Min", counts=COMPARE, kink="tie: half to each, as NumPy users expect of autograd", native=_native_extreme("less", True))
fmax = elementwise(np.fmax, lambda y, a, b: _share(a, b, y), lambda y, a, b: _share(b, a, y), chosen=CHOSEN, formula="Max", counts=COMPARE, kink="tie: half to each, as NumPy users expect of autograd", native=_native_extreme("greater_equal", False))
fmin = elementwise(np.fmin, lambda y, a, b: _share(a, b, y), lambda y, a, b: _share(b, a, y), chosen=CHOSEN, formula="Min", counts=COMPARE, kink="tie: half to each, as NumPy users expect of autograd", native=_native_extreme("less_equal", False))
copysign = elementwise(np.copysign, lambda _y, a, b: np.copysign(1.0, a) * np.copysign(1.0, b), None, counts=COMPARE, native="copysign")
remainder = elementwise(np.remainder, lambda _y, _a, _b: 1, lambda _y, a, b: -np.floor_divide(a, b), source="{0} % {1}", counts=DIVIDE, domain=(ALL, (0.0, INF)), kink="at multiples: the derivative from the right", native=_native_remainder)
fmod = elementwise(np.fmod, lambda _y, _a, _b: 1, lambda _y, a, b: -np.trunc(a / b), counts=DIVIDE, domain=(ALL, (0.0, INF)), kink="at multiples: the derivative from the right", native="fmod")

# ---- Complex: not holomorphic, so linear in the real and imaginary parts; an adjoint g stands for dL = Re(g dz) ----

conjugate = elementwise(np.conjugate, lambda _y, _x: 1 if _x.dtype.kind != "c" else RealLinear(0.0, 1.0, _x.shape, _y.shape), counts="moves", formula="conjugate", source="np.conj({0})", native=lambda op, x: op.conjugate(x))
real = define("real", lambda z: np.array(np.real(z))[()], lambda _y, _x: 1 if _x.dtype.kind != "c" else RealLinear(0.5, 0.5, _x.shape, _y.shape), replaces=np.real, counts="moves", formula="re", native=lambda op, z: op.real(z))
imag = define("imag", lambda z: np.array(np.imag(z))[()], lambda _y, _x: 0 if _x.dtype.kind != "c" else RealLinear(-0.5j, 0.5j, _x.shape, _y.shape), replaces=np.imag, counts="moves", formula="im", native=lambda op, z: op.imag(z))

direction = define("direction", lambda z: np.sign(z), lambda y, z: _direction_partial(y, z), formula="sign", counts="calls", source="np.sign({0})", kink="at 0: 0, as of the sign of real numbers", native=_native_sign)


@calls(np.sign)
def sign_of(x: Any) -> Any:
    """Take the sign of real numbers, which is constant between jumps, and z / |z| of complex ones, which is not."""
    return direction(x) if x.dtype.kind == "c" else sign(x)


ldexp = elementwise(np.ldexp, lambda _y, _x, n: np.exp2(n.astype(_y.dtype) if hasattr(n, "astype") else float(n)), None, counts=MULTIPLY)
nextafter = elementwise(np.nextafter, lambda _y, _a, _b: 1, None, counts="moves")

# ---- Piecewise constant: the derivative is zero wherever it exists ----

sign = define("sign", np.sign, None, formula="sign", counts=COMPARE, kink="0 everywhere, at the jump too", native=_native_sign)
floor = elementwise(np.floor, None, formula="floor", counts=COMPARE, kink="0 everywhere, at the jumps too", native="floor")
ceil = elementwise(np.ceil, None, formula="ceiling", counts=COMPARE, kink="0 everywhere, at the jumps too", native="ceil")
trunc = elementwise(np.trunc, None, counts=COMPARE, kink="0 everywhere, at the jumps too", native="trunc")
rint = elementwise(np.rint, None, counts=COMPARE, kink="0 everywhere, at the jumps too", native="rint")
floor_divide = elementwise(np.floor_divide, None, None, source="{0} // {1}", counts=DIVIDE, domain=(ALL, (0.0, INF)), kink="0 everywhere, at the jumps too", native=_native_floor_divide)
spacing = elementwise(np.spacing, None, counts=COMPARE, kink="0 everywhere, at the jumps too")
heaviside = elementwise(np.heaviside, None, lambda _y, x, _h: np.where(x == 0, _y.dtype.type(1), _y.dtype.type(0)), counts=COMPARE, kink="0 in x everywhere, at the jump too", native=lambda op, x, h: op("select", op("equal", x, 0.0), h, op("select", op("less", x, 0.0), 0.0, op("select", op("greater", x, 0.0), 1.0, x))))

# ---- Comparisons and logic: no derivative ----

greater = elementwise(np.greater, None, None, source="{0} > {1}", counts=COMPARE, native="greater")
greater_equal = elementwise(np.greater_equal, None, None, source="{0} >= {1}", counts=COMPARE, native="greater_equal")
less = elementwise(np.less, None, None, source="{0} < {1}", counts=COMPARE, native="less")
less_equal = elementwise(np.less_equal, None, None, source="{0} <= {1}", counts=COMPARE, native="less_equal")
equal = elementwise(np.equal, None, None, source="{0} == {1}", counts=COMPARE, native="equal")
not_equal = elementwise(np.not_equal, None, None, source="{0} != {1}", counts=COMPARE, native="not_equal")
logical_and = elementwise(np.logical_and, None, None, counts=COMPARE, native=lambda op, a, b: op("and", op("truth", a), op("truth", b)))
logical_or = elementwise(np.logical_or, None, None, counts=COMPARE, native=lambda op, a, b: op("or", op("truth", a), op("truth", b)))
logical_xor = elementwise(np.logical_xor, None, None, counts=COMPARE, native=lambda op, a, b: op("xor", op("truth", a), op("truth", b)))
logical_not = elementwise(np.logical_not, None, counts=COMPARE, native=lambda op, x: op("not", op("truth", x)))
bitwise_and = elementwise(np.bitwise_and, None, None, source="{0} & {1}", counts=COMPARE, native="and")
bitwise_or = elementwise(np.bitwise_or, None, None, source="{0} | {1}", counts=COMPARE, native="or")
bitwise_xor = elementwise(np.bitwise_xor, None, None, source="{0} ^ {1}", counts=COMPARE, native="xor")
invert = elementwise(np.invert, None, source="~{0}", counts=COMPARE, native="not")
left_shift = elementwise(np.left_shift, None, None, source="{0} << {1}", counts=COMPARE)
right_shift = elementwise(np.right_shift, None, None, source="{0} >> {1}", counts=COMPARE)
isnan = elementwise(np.isnan, None, counts=COMPARE, native=lambda op, x: op("not_equal", x, x))
isinf = elementwise(np.isinf, None, counts=COMPARE, native=lambda op, x: op("equal", op("absolute", x), INF))
isfinite = elementwise(np.isfinite, None, counts=COMPARE, native=lambda op, x: op("less", op("absolute", x), INF))
signbit = elementwise(np.signbit, None, counts=COMPARE, native=lambda op, x: op("less", op("copysign", 1.0, x), 0.0))

# fmt: on


# Of complex numbers: a constant is subtracted, never added to -z, so that the zero part of a number on a branch cut keeps
# the sign that says on which side it lies.


def is_complex(x: Any) -> bool:
    """Return whether the elements of an array, plain or traced, are complex."""
    return getattr(x, "dtype", _FLOAT64).kind == "c"


def _one_less_square(x: Any) -> Any:
    """Return 1 - x^2."""
    return -((x - 1) * (x - -1)) if is_complex(x) else (1 - x) * (1 + x)


def _root_of_one_and_square(x: Any) -> Any:
    """Return the square root of 1 + x^2, with a positive real part."""
    return np.sqrt((x - complex(0, 1)) * (x - complex(0, -1))) if is_complex(x) else np.hypot(x, 1.0)


def _root_of_square_less_one(x: Any) -> Any:
    """Return sqrt(x^2 - 1); of complex numbers as two roots, since that of the product changes sign in the left half."""
    return np.sqrt(x - 1) * np.sqrt(x - -1) if is_complex(x) else np.sqrt((x - 1) * (x + 1))


def _modulus_partial(y: Any, x: Any) -> Any:
    """Sign of a real number; of a complex one d|z| = Re(conj(z) dz) / |z|, and 0 at 0."""
    if x.dtype.kind != "c":
        return np.sign(x)
    direction = unit(0.5 * x, y)
    return RealLinear(np.conj(direction), direction, x.shape, y.shape)


def _direction_partial(y: Any, z: Any) -> Any:
    """z / |z| turns with z: dy = (dz - y^2 conj(dz)) / (2 |z|), and 0 at 0."""
    half = 0.5 / np.where(z == 0, np.inf, np.abs(z))
    return RealLinear(half, -y * y * half, z.shape, y.shape)


def _over_squares(c: Any, a: Any, b: Any) -> Any:
    """Return c / (a^2 + b^2), of integers too; by the hypotenuse where the squares may leave the range of their type.

    They may in what is recorded, which is for other points, too.
    """
    a, b, c = (1.0 * v if getattr(v, "dtype", _FLOAT64).kind in "iu" else v for v in (a, b, c))
    if isinstance(a, Recordable) or isinstance(b, Recordable):
        y = np.hypot(a, b)
        return c / y / y
    squares = a * a + b * b
    if not np.size(squares):
        return c / squares
    least, greatest = _RANGES.get(getattr(squares, "dtype", _FLOAT64), _RANGES[_FLOAT64])
    lowest, highest = (squares.min(), squares.max()) if getattr(squares, "ndim", 0) else (squares, squares)
    if least <= lowest and highest <= greatest:
        return c / squares
    y = np.hypot(a, b)
    return c / y / y


_RANGES = {np.dtype(t): (np.finfo(t).tiny, np.finfo(t).max) for t in (np.float16, np.float32, np.float64)}
"""The least normal and the greatest number of each type."""


def _share(a: Any, b: Any, y: Any) -> Any:
    """Return 1 where `a` was chosen, 0 where it was not, 1/2 in a tie."""
    one = y.dtype.type(1)
    if type(y) is np.ndarray and y.size > LARGE and not isinstance(a, Recordable) and not isinstance(b, Recordable):
        tie = a == b
        if not np.any(tie):  # as nearly always, and then one comparison says it all
            return np.equal(a, y).astype(y.dtype)
    return np.where(a == b, one / 2, np.where(a == y, one, one - 1))


def _minus(t: Any) -> Any:
    """Negate a fresh array: in place, if it is large."""
    return np.negative(t, out=t) if type(t) is np.ndarray and t.size > LARGE else -t


def _over(t: Any, b: Any) -> Any:
    """Divide a fresh array, of the shape of the result: in place, if it is large."""
    if type(t) is np.ndarray and t.size > LARGE and not isinstance(b, Recordable) and t.dtype.kind in "fc":
        return np.divide(t, b, out=t)
    return t / b


def _from_one(t: Any) -> Any:
    """Return 1 - t of a fresh array t: in place, if it is large."""
    return np.subtract(1, t, out=t) if type(t) is np.ndarray and t.size > LARGE else 1 - t


def _less(a: Any, y: Any) -> Any:
    """Return a - y, and 0 where both are the same infinity (which would give NaN)."""
    return np.where(a == y, 0.0, a - y)


def _sympy() -> Any:
    """Import SymPy on first use: its import takes longer than all others."""
    import sympy

    return sympy
