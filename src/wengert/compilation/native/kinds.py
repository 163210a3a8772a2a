"""Kinds: the data types that machine code computes with, by NumPy's characters, and how one becomes another.

Truth values, whole numbers and floating-point numbers are values of one register each; complex numbers are pairs.  What
NumPy would convert is converted where a line says so, never by an operation.

>>> kind_of(np.dtype("float32")), kind_of(np.dtype("float16")), kind_of(np.dtype(">f8"))
('f', None, None)
>>> conversion("l", "d"), conversion("d", "f")
('sitofp i64 {0} to double', 'fptrunc double {0} to float')
>>> in_kind(0.1, "f"), in_kind(2.0, "l")
(0.10000000149011612, 2)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

TYPES: Mapping[str, str] = {"d": "double", "f": "float", "l": "i64", "i": "i32", "?": "i1"}
"""LLVM's types of registers, by kinds."""
MEMORY: Mapping[str, str] = {**TYPES, "?": "i8"}
"""LLVM's types of elements of buffers."""
PARTS: Mapping[str, str] = {"D": "d", "F": "f"}
"""The kinds of complex numbers, with that of their parts."""
FLOATING, WHOLE, TRUTH = "fd", "il", "?"
"""The kinds of floating-point numbers, of whole numbers, and that of truth values."""


def kind_of(dtype: np.dtype[Any]) -> str | None:
    """Return the kind of data of a dtype; None if machine code does not compute with it."""
    return dtype.char if (dtype.char in TYPES or dtype.char in PARTS) and dtype.isnative else None


def promoted(one: str, other: str) -> str:
    """Return the kind that NumPy computes with where two meet."""
    return one if one == other else np.promote_types(one, other).char


def in_kind(value: float | bool, kind: str) -> float | bool:
    """Return a number as NumPy converts it to a kind; raise OverflowError where that has no such number.

    >>> in_kind(2**31 + 1, "l"), in_kind(2, "?"), in_kind(1e300, "f")
    (2147483649, True, inf)
    """
    if kind == TRUTH:
        return bool(value)
    if kind in FLOATING:
        with np.errstate(over="ignore"):
            return float(np.float32(value)) if kind == "f" else float(value)
    if not math.isfinite(value) or value != int(value) or not -(1 << _BITS[kind]) <= value < 1 << _BITS[kind]:
        raise OverflowError(f"{value} is no whole number of kind {kind}")
    return int(value)


_BITS: Mapping[str, int] = {"l": 63, "i": 31}


def extremes(kind: str) -> tuple[float, float]:
    """Return the smallest and the largest number of a kind: of floating-point numbers, the infinities."""
    return (-math.inf, math.inf) if kind in FLOATING else (-(1 << _BITS[kind]), (1 << _BITS[kind]) - 1)


def conversion(source: str, target: str) -> str:
    """Return the instruction that converts one kind to another."""
    types = f"{TYPES[source]} {{0}} to {TYPES[target]}"
    if target == TRUTH:
        return f"fcmp une {TYPES[source]} {{0}}, 0.0" if source in FLOATING else f"icmp ne {TYPES[source]} {{0}}, 0"
    if source == TRUTH:
        return f"{'uitofp' if target in FLOATING else 'zext'} {types}"
    if source in FLOATING:
        return f"{('fpext' if target == 'd' else 'fptrunc') if target in FLOATING else 'fptosi'} {types}"
    return f"{'sitofp' if target in FLOATING else 'sext' if target == 'l' else 'trunc'} {types}"
