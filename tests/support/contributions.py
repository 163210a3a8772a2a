"""Random programs with guards, poles and infinities, and their derivatives by dual numbers that know what is absent.

The interpreter here shares nothing with wengert: each element is a number and, for each independent variable, a slope
or nothing at all.  A slope that is zero and meets an infinite partial is NaN; one that is absent stays absent.
"""

from __future__ import annotations

import math
import random
import warnings
from dataclasses import dataclass

import numpy as np

POINTS = (-1.0, 0.0, 0.0, 0.5, 1.0, 1.0, 2.0)
SIZE = 3


@dataclass(frozen=True)
class Step:
    """One line: what is done, to which earlier vectors, with which constants."""

    name: str
    a: int
    b: int
    c: int
    level: float
    weights: tuple[float, ...]


UNARY = ("sqrt", "log", "abs", "square", "exp", "sin", "reciprocal", "power", "arccos")
POLES = ("sqrt", "arccos", "square", "sin")
BINARY = ("add", "multiply", "maximum", "minimum")
CHOICES = ("where", "masked", "nested", "clip")
FIXED = ("reverse", "take", "assign", "weigh", "cumsum", "spread")
"""Choices that do not depend on values."""


def random_program(seed: int, fixed: bool = True) -> tuple[list[Step], np.ndarray]:
    """Return the steps of a random program, and a point that lies on its kinks and poles."""
    draw = random.Random(seed)
    steps = []
    kinds = (*UNARY, *POLES * 2, *BINARY, *CHOICES * 2, *(FIXED if fixed else ()))
    for k in range(draw.randint(2, 6)):
        a, b, c = (draw.randint(max(0, k - 3), k) for _ in range(3))
        weights = tuple(draw.choice((0.0, 1.0, -2.0)) for _ in range(SIZE))
        steps.append(Step(draw.choice(kinds), a, b, c, draw.choice((-1.0, 0.0, 1.0)), weights))
    return steps, np.array([draw.choice(POINTS) for _ in range(SIZE)])


def evaluate(steps: list[Step], x):
    """Run the program with NumPy: on plain arrays, or on what wengert traces."""
    values = [x]
    for step in steps:
        a, b, c = values[step.a], values[step.b], values[step.c]
        values.append(_NUMPY[step.name](step, a, b, c))
    return values[-1]


def _assigned(a, b):
    y = a + 0.0
    y[1] = b[0]
    return y


_NUMPY = {
    "sqrt": lambda s, a, b, c: np.sqrt(a),
    "log": lambda s, a, b, c: np.log(a),
    "abs": lambda s, a, b, c: np.abs(a),
    "square": lambda s, a, b, c: a * a,
    "exp": lambda s, a, b, c: np.exp(a),
    "sin": lambda s, a, b, c: np.sin(a),
    "reciprocal": lambda s, a, b, c: 1 / a,
    "power": lambda s, a, b, c: a**1.5,
    "arccos": lambda s, a, b, c: np.arccos(a),
    "add": lambda s, a, b, c: a + b,
    "multiply": lambda s, a, b, c: a * b,
    "maximum": lambda s, a, b, c: np.maximum(a, b),
    "minimum": lambda s, a, b, c: np.minimum(a, b),
    "where": lambda s, a, b, c: np.where(a > s.level, b, c),
    "masked": lambda s, a, b, c: (a > s.level) * b,
    "nested": lambda s, a, b, c: np.where(a > s.level, np.where(a > s.level + 1, b, 1.0), c),
    "clip": lambda s, a, b, c: np.minimum(np.maximum(a, s.level), s.level + 1.5),
    "reverse": lambda s, a, b, c: a[::-1],
    "take": lambda s, a, b, c: a[np.array([0, 0, 2])],
    "assign": lambda s, a, b, c: _assigned(a, b),
    "weigh": lambda s, a, b, c: np.array(s.weights) * a,
    "cumsum": lambda s, a, b, c: np.cumsum(a),
    "spread": lambda s, a, b, c: a + np.sum(b),
}


# ---- The truth ----


class Dual:
    """A number and its slopes: by independent variable, absent where there is no path."""

    def __init__(self, value, slopes=None):
        self.value, self.slopes = np.float64(value), slopes or {}

    def scaled(self, partial):
        return {i: np.float64(partial) * slope for i, slope in self.slopes.items()}


def _merged(*parts):
    total = {}
    for part in parts:
        for i, slope in part.items():
            total[i] = total[i] + slope if i in total else slope
    return total


def _unary(function, partial):
    return lambda s, a, b, c: [Dual(function(u.value), u.scaled(partial(u.value))) for u in a]


def _pick(u, v, largest):
    if u.value == v.value:
        return Dual(u.value, _merged(u.scaled(0.5), v.scaled(0.5)))
    if np.isnan(u.value) or np.isnan(v.value):
        return Dual(np.nan)
    return u if (u.value > v.value) == largest else v


def _clipped(u, low, high):
    return _pick(_pick(u, Dual(low), True), Dual(high), False)


def _sums(duals):
    total, sums = Dual(0.0), []
    for u in duals:
        total = Dual(total.value + u.value, _merged(total.slopes, u.slopes))
        sums.append(total)
    return sums


_DUAL = {
    "sqrt": _unary(np.sqrt, lambda v: np.float64(0.5) / np.sqrt(v)),
    "log": _unary(np.log, lambda v: 1 / v),
    "abs": _unary(np.abs, np.sign),
    "square": lambda s, a, b, c: [Dual(u.value * u.value, _merged(u.scaled(u.value), u.scaled(u.value))) for u in a],
    "exp": _unary(np.exp, np.exp),
    "sin": _unary(np.sin, np.cos),
    "reciprocal": _unary(lambda v: 1 / v, lambda v: -(1 / v) / v),
    "power": _unary(lambda v: v**1.5, lambda v: 1.5 * v**0.5),
    "arccos": _unary(np.arccos, lambda v: -1 / np.sqrt((1 - v) * (1 + v))),
    "add": lambda s, a, b, c: [Dual(u.value + v.value, _merged(u.slopes, v.slopes)) for u, v in zip(a, b, strict=True)],
    "multiply": lambda s, a, b, c: [
        Dual(u.value * v.value, _merged(u.scaled(v.value), v.scaled(u.value))) for u, v in zip(a, b, strict=True)
    ],
    "maximum": lambda s, a, b, c: [_pick(u, v, True) for u, v in zip(a, b, strict=True)],
    "minimum": lambda s, a, b, c: [_pick(u, v, False) for u, v in zip(a, b, strict=True)],
    "where": lambda s, a, b, c: [v if u.value > s.level else w for u, v, w in zip(a, b, c, strict=True)],
    "masked": lambda s, a, b, c: [v if u.value > s.level else Dual(0 * v.value) for u, v in zip(a, b, strict=True)],
    "nested": lambda s, a, b, c: [
        (v if u.value > s.level + 1 else Dual(1.0)) if u.value > s.level else w for u, v, w in zip(a, b, c, strict=True)
    ],
    "clip": lambda s, a, b, c: [_clipped(u, s.level, s.level + 1.5) for u in a],
    "reverse": lambda s, a, b, c: a[::-1],
    "take": lambda s, a, b, c: [a[0], a[0], a[2]],
    "assign": lambda s, a, b, c: [a[0], b[0], a[2]],
    "weigh": lambda s, a, b, c: [
        Dual(w * u.value, u.scaled(w) if w else {}) for w, u in zip(s.weights, a, strict=True)
    ],
    "cumsum": lambda s, a, b, c: _sums(a),
    "spread": lambda s, a, b, c: [
        Dual(u.value + t.value, _merged(u.slopes, t.slopes)) for t in _sums(b)[-1:] for u in a
    ],
}


def derivative(steps: list[Step], x: np.ndarray, repeat: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return the value, and the Jacobian, of the program applied `repeat` times."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        duals = [Dual(v, {i: np.float64(1.0)}) for i, v in enumerate(x)]
        for _ in range(repeat):
            values = [duals]
            for step in steps:
                values.append(_DUAL[step.name](step, values[step.a], values[step.b], values[step.c]))
            duals = values[-1]
    jacobian = np.array([[u.slopes.get(i, 0.0) for i in range(SIZE)] for u in duals])
    return np.array([u.value for u in duals]), jacobian


def side_slopes(function, x: np.ndarray, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return quotients of differences to both sides along a direction, where the chain rule has no derivative."""
    h = 1e-9 * direction
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        middle = function(x)
        return (function(x + h) - middle) / 1e-9, (middle - function(x - h)) / 1e-9


def is_limit(function, x: np.ndarray, direction: np.ndarray, column: np.ndarray, bad: np.ndarray) -> bool:
    """Return whether finite derivatives, where the chain rule has none, are those of a side, or the middle of both."""
    after, before = side_slopes(function, x, direction)
    for d, a, b, unknown in zip(column, after, before, bad, strict=True):
        if not unknown or not math.isfinite(d):
            continue
        candidates = [v for v in (a, b, (a + b) / 2) if math.isfinite(v)]
        if not any(abs(d - v) <= 1e-2 * (1 + abs(v)) for v in candidates):
            return False
    return True
