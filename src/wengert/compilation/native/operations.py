"""Operations: the arithmetic of scalars that machine code has, each with how LLVM writes it.

An operation of the machine is an instruction or an intrinsic; one of `libm` is a call, and so is a function of
``scipy.special``, which that offers to compiled code with the values of its ufuncs.  The native facet of a row names an
operation, or writes the function in terms of several.

>>> OPERATIONS["add"].text, OPERATIONS["less"].is_bool, OPERATIONS["exp"].text
('fadd double {0}, {1}', True, 'call double @exp(double {0})')
>>> OPERATIONS["multiply"].evaluate(3.0, 0.5), OPERATIONS["multiply"].source
(1.5, '{0} * {1}')
>>> operation_of("scipy.special.erf").text
'call double @scipy.special.erf(double {0}, i32 0)'

The table writes them for numbers of double precision.  Those of single precision have the functions of the C library
for these; whole numbers have operations that wrap around; ``"select"`` and ``"convert"`` have all kinds.

>>> instruction("exp", "f"), instruction("multiply", "l"), instruction("exp", "l")
('call float @expf(float {0})', 'mul i64 {0}, {1}', None)
"""

from __future__ import annotations

import functools
import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from scipy import special

from wengert.compilation.native.kinds import FLOATING, TRUTH, TYPES, WHOLE, conversion, in_kind


class Operation(NamedTuple):
    """One operation.

    Attributes
    ----------
    text
        Its instruction.
    arity
        The number of operands.
    is_bool
        True if the result is a boolean.
    of_bools
        True if the operands are.
    evaluate
        Computes it on constants, where that is exact and raises nothing but errors; None for most.
    commutes
        True if the operands may change places.
    source
        The same in C, on operands that are names or constants; None for what the C library does not have.
    """

    text: str
    arity: int
    is_bool: bool = False
    of_bools: bool = False
    evaluate: Callable[..., Any] | None = None
    commutes: bool = False
    source: str | None = None


def _called(symbol: str, arity: int = 1) -> Operation:
    operands = ", ".join([f"double {{{k}}}" for k in range(arity)])
    return Operation(f"call double @{symbol}({operands})", arity, source=_call_in_c(symbol, arity))


def _call_in_c(symbol: str, arity: int) -> str:
    return f"{symbol}({', '.join([f'{{{k}}}' for k in range(arity)])})"


def _compared(predicate: str, sign: str, commutes: bool = False) -> Operation:
    text = f"fcmp {predicate} double {{0}}, {{1}}"
    return Operation(text, 2, is_bool=True, commutes=commutes, source=f"{{0}} {sign} {{1}}")


def _intrinsic(name: str, arity: int = 1) -> Operation:
    operands = ", ".join([f"double {{{k}}}" for k in range(arity)])
    return Operation(f"call double @llvm.{name}.f64({operands})", arity, source=_call_in_c(name, arity))


OPERATIONS: Mapping[str, Operation] = {
    # ---- Arithmetic ----
    "add": Operation("fadd double {0}, {1}", 2, evaluate=operator.add, commutes=True, source="{0} + {1}"),
    "subtract": Operation("fsub double {0}, {1}", 2, evaluate=operator.sub, source="{0} - {1}"),
    "multiply": Operation("fmul double {0}, {1}", 2, evaluate=operator.mul, commutes=True, source="{0} * {1}"),
    "divide": Operation("fdiv double {0}, {1}", 2, evaluate=operator.truediv, source="{0} / {1}"),
    "negative": Operation("fneg double {0}", 1, evaluate=operator.neg, source="-{0}"),
    "absolute": _intrinsic("fabs"),
    "sqrt": _intrinsic("sqrt"),
    "copysign": _intrinsic("copysign", 2),
    "floor": _intrinsic("floor"),
    "ceil": _intrinsic("ceil"),
    "trunc": _intrinsic("trunc"),
    "rint": _intrinsic("rint"),
    # ---- Comparisons; those with NaN are false, but for the last ----
    "greater": _compared("ogt", ">"),
    "greater_equal": _compared("oge", ">="),
    "less": _compared("olt", "<"),
    "less_equal": _compared("ole", "<="),
    "equal": _compared("oeq", "==", commutes=True),
    "not_equal": _compared("une", "!=", commutes=True),
    # ---- Booleans ----
    **{
        name: Operation(
            f"{name} i1 {{0}}, {{1}}", 2, is_bool=True, of_bools=True, evaluate=evaluate, commutes=True,
            source=f"{{0}} {sign} {{1}}",
        )
        for name, sign, evaluate in (("and", "&", operator.and_), ("or", "|", operator.or_), ("xor", "^", operator.xor))
    },
    "not": Operation("xor i1 {0}, true", 1, is_bool=True, of_bools=True, evaluate=operator.not_, source="!{0}"),
    # ---- libm ----
    **{
        name: _called(name)
        for name in ("exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "cbrt", "sin", "cos", "tan", "sinh",
                     "cosh", "tanh")
    },
    "arcsin": _called("asin"),
    "arccos": _called("acos"),
    "arctan": _called("atan"),
    "arcsinh": _called("asinh"),
    "arccosh": _called("acosh"),
    "arctanh": _called("atanh"),
    "arctan2": _called("atan2", 2),
    "hypot": _called("hypot", 2),
    "power": _called("pow", 2),
    "fmod": _called("fmod", 2),
}  # fmt: skip
"""The operations by name.  Beside them are ``select``, of a truth value and two operands, and ``convert``."""

OF_WHOLE_NUMBERS: Mapping[str, str] = {
    "add": "add {t} {0}, {1}",
    "subtract": "sub {t} {0}, {1}",
    "multiply": "mul {t} {0}, {1}",
    "negative": "sub {t} 0, {0}",
    "absolute": "call {t} @llvm.abs.{t}({t} {0}, i1 false)",
    "divide": "sdiv {t} {0}, {1}",
    "fmod": "srem {t} {0}, {1}",
    **{
        name: f"icmp {predicate} {{t}} {{0}}, {{1}}"
        for name, predicate in (
            ("greater", "sgt"), ("greater_equal", "sge"), ("less", "slt"), ("less_equal", "sle"), ("equal", "eq"),
            ("not_equal", "ne"),
        )
    },
    "and": "and {t} {0}, {1}",
    "or": "or {t} {0}, {1}",
    "xor": "xor {t} {0}, {1}",
    "not": "xor {t} {0}, -1",
}  # fmt: skip
"""How operations are written that whole numbers have; ``t`` is their type.  Quotients are rounded towards zero."""


PURE = "nounwind willreturn memory(none)"
"""LLVM's attributes of the functions that operations call: a value that is not read is not computed."""
SPECIAL = "scipy.special."
"""How the names of operations that are functions of SciPy's begin."""


class RealNumbers:
    """What native facets ask of whoever writes operations on real numbers alone."""

    def conjugate(self, x: Any) -> Any:
        """Return the conjugate."""
        return x

    def is_whole(self, x: Any) -> bool:
        """Return whether a value is of whole numbers."""
        return False

    def real(self, x: Any) -> Any:
        """Return the real part."""
        return x

    def imag(self, x: Any) -> Any:
        """Return the imaginary part."""
        return 0.0


@functools.cache
def instruction(name: str, kind: str, result: str | None = None) -> str | None:
    """Return how LLVM writes an operation of operands of a kind; None where there is no such operation.

    The kind of the `result` makes a difference to ``select`` and ``convert``.

    >>> instruction("less", "f"), instruction("sqrt", "f")
    ('fcmp olt float {0}, {1}', 'call float @llvm.sqrt.f32(float {0})')
    """
    if name == "select":
        t = TYPES[result or kind]
        return f"select i1 {{0}}, {t} {{1}}, {t} {{2}}"
    if name == "convert":
        return conversion(kind, result or kind)
    if kind in WHOLE:
        text = OF_WHOLE_NUMBERS.get(name)
        return None if text is None else text.replace("{t}", TYPES[kind])
    operation = OPERATIONS.get(name) or (operation_of(name) if name.startswith(SPECIAL) else None)
    if operation is None or operation.of_bools != (kind == TRUTH):
        return None
    if kind != "f":
        return operation.text
    if name.startswith(SPECIAL):  # those of single precision are computed in double precision, too
        return None
    single = operation.text.replace("double", "float").replace(".f64", ".f32")
    return single if "llvm." in single else re.sub(r"@(\w+)", r"@\1f", single)


def is_call(text: str) -> bool:
    """Return whether an instruction calls a function, which takes longer than arithmetic."""
    return text.startswith("call") and "llvm." not in text


@functools.cache
def operation_of(name: str) -> Operation:
    """Return the operation of a name."""
    if not name.startswith(SPECIAL):
        return OPERATIONS[name]
    arity = int(getattr(special, name.removeprefix(SPECIAL)).nin)
    operands = "".join([f"double {{{k}}}, " for k in range(arity)])
    return Operation(f"call double @{name}({operands}i32 0)", arity)


def constant_of(name: str, values: tuple[Any, ...], kind: str) -> Any:
    """Return the value of an operation on constants of a kind; None where it is computed when the code runs.

    >>> constant_of("divide", (1.0, 4.0), "d"), constant_of("divide", (1.0, 0.0), "d")
    (0.25, None)
    """
    evaluate = operation_of(name).evaluate
    if evaluate is None or (name == "not" and kind != TRUTH):
        return None
    try:
        value = evaluate(*values)
        if kind in (*WHOLE, *FLOATING):
            value = in_kind(value, kind)
    except ArithmeticError:
        return None
    return value if type(value) in (bool, int) or math.isfinite(value) else None
