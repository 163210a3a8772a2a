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
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from scipy import special


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
    # ---- Whole numbers, as places ----
    "as_whole": Operation("fptosi double {0} to i64", 1, source="(int64_t){0}"),
    "as_number": Operation("uitofp i1 {0} to double", 1, of_bools=True, evaluate=float, source="(double){0}"),
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
"""The operations by name.  ``select`` is beside them: it takes a boolean and two operands of one type."""


PURE = "nounwind willreturn memory(none)"
"""LLVM's attributes of the functions that operations call: a value that is not read is not computed."""
SPECIAL = "scipy.special."
"""How the names of operations that are functions of SciPy's begin."""


@functools.cache
def operation_of(name: str) -> Operation:
    """Return the operation of a name."""
    if not name.startswith(SPECIAL):
        return OPERATIONS[name]
    arity = int(getattr(special, name.removeprefix(SPECIAL)).nin)
    operands = "".join([f"double {{{k}}}, " for k in range(arity)])
    return Operation(f"call double @{name}({operands}i32 0)", arity)


def constant_of(name: str, values: tuple[Any, ...]) -> Any:
    """Return the value of an operation on constants; None where it is computed when the code runs.

    >>> constant_of("divide", (1.0, 4.0)), constant_of("divide", (1.0, 0.0))
    (0.25, None)
    """
    evaluate = operation_of(name).evaluate
    if evaluate is None:
        return None
    try:
        value = evaluate(*values)
    except ArithmeticError:
        return None
    return value if type(value) is bool or math.isfinite(value) else None
