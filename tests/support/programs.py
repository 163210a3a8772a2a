"""Random programs, as data: a hypothesis strategy that grows with the table of primitives."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from wengert.primitives import PRIMITIVES

NOT_ANALYTIC = {"sign", "maximum", "minimum", "fmax", "fmin", "conjugate"}


def _takes_floats(primitive):
    """Tell a ufunc of NumPy's that takes floats; SciPy's, slow and known to two orders, have tests of their own."""
    ufunc = primitive.numpy
    own = isinstance(ufunc, np.ufunc) and getattr(np, primitive.name, None) is ufunc
    return own and primitive.elementwise and "d" * ufunc.nin + "->d" in ufunc.types


def _is_analytic(primitive):
    ufunc = primitive.numpy
    return "D" * ufunc.nin + "->D" in ufunc.types and primitive.name not in NOT_ANALYTIC


ROWS = sorted((p for p in PRIMITIVES.values() if _takes_floats(p)), key=lambda p: p.name)
ANALYTIC = [p for p in ROWS if _is_analytic(p)]


def into(interval, x):
    """Map any numbers into the inside of an interval, smoothly: no program leaves the domain of its functions."""
    low, high = interval
    bounded = x / np.sqrt(1.0 + x * x)
    if math.isfinite(low) and math.isfinite(high):
        return 0.5 * (low + high) + 0.35 * (high - low) * bounded
    return low + 1.3 + 0.8 * bounded if math.isfinite(low) else 1.5 * bounded


def fitted(w, length):
    """Repeat or cut `w` to a length."""
    return w if len(w) == length else w[np.arange(length) % len(w)]


MASK = np.array([True, False, True, True, False, False, True, False])
MATRIX = np.array([[0.5, -0.3, 0.2, 0.7], [0.1, 0.9, -0.6, -0.2], [-0.8, 0.4, 0.3, 0.5]])

STRUCTURAL = {
    "reverse": lambda v, w: v[::-1],
    "roll": lambda v, w: np.concatenate([v[1:], v[:1]]),
    "repeat": lambda v, w: v[np.array([0, -1, 0])],
    "element": lambda v, w: v[0] * w,
    "array": lambda v, w: np.array([v[-1], 2.0, w[0] * v[0]]),
    "nested array": lambda v, w: np.array([[v[0], w[0]], [1.0, v[-1]]])[:, 1],
    "interleave": lambda v, w: np.stack([v, fitted(w, len(v))], axis=1).ravel(),
    "join": lambda v, w: np.concatenate([v, w])[:5],
    "sum": lambda v, w: np.sum(v, keepdims=True) + 0.0 * w[:1],
    "total": lambda v, w: w * np.sum(v),
    "mean of columns": lambda v, w: np.mean(v[:, None] * w, axis=0),
    "outer": lambda v, w: (np.outer(v, w) / 2).reshape(-1)[:5],
    "matrix vector": lambda v, w: MATRIX @ fitted(v, 4),
    "vector matrix": lambda v, w: fitted(v, 3) @ MATRIX,
    "product": lambda v, w: np.array([v @ fitted(w, len(v))]),
    "matrices": lambda v, w: ((v[:, None] * MATRIX[0]) @ MATRIX.T)[0],
    "stack of matrices": lambda v, w: np.sum((v[:, None, None] * MATRIX) @ fitted(w, 4)[:, None], axis=(1, 2)),
    "where": lambda v, w: np.where(np.resize(MASK, len(v)), v, 0.5 * fitted(w, len(v))),
    "cumsum": lambda v, w: np.cumsum(v),
    "transpose": lambda v, w: (v[:, None] + w).T[:, 0],
    "broadcast": lambda v, w: np.broadcast_to(v, (2, len(v)))[1] - w[0],
    "powers": lambda v, w: v**2 - 0.5 * v**3,
}


@dataclass(frozen=True)
class Step:
    """One line: a function's name and the values (counted from the last) that it takes."""

    name: str
    first: int
    second: int


@dataclass(frozen=True)
class RandomProgram:
    """A function of one vector, as a list of steps; prints as what it is, so that failures can be read."""

    steps: tuple[Step, ...]

    def __call__(self, x):
        values = [x]
        for step in self.steps:
            v, w = values[-1 - step.first % len(values)], values[-1 - step.second % len(values)]
            if step.name in STRUCTURAL:
                values.append(STRUCTURAL[step.name](v, w))
                continue
            primitive = PRIMITIVES[step.name]
            operands = (v, fitted(w, len(v)), v)[: primitive.numpy.nin]
            domain = primitive.domain or ((-math.inf, math.inf),) * len(operands)
            values.append(primitive.numpy(*[into(d, o) for d, o in zip(domain, operands, strict=True)]))
        return values[-1] if len(values) < 3 else np.concatenate([values[-1], 0.5 * values[-2]])

    @property
    def analytic(self):
        """True if the program can be run on complex numbers for the complex step."""
        return all(step.name in STRUCTURAL or _is_analytic(PRIMITIVES[step.name]) for step in self.steps)


def random_programs(analytic=True, max_size=7):
    """Draw programs of rows of the table and of functions that move, join, add up and multiply elements."""
    names = [p.name for p in (ANALYTIC if analytic else ROWS)]
    name = st.one_of(st.sampled_from(names), st.sampled_from(sorted(STRUCTURAL)))
    step = st.builds(Step, name, st.integers(0, 2), st.integers(0, 3))
    return st.lists(step, min_size=1, max_size=max_size).map(tuple).map(RandomProgram)


def points(max_size=4):
    """Draw vectors of one to four numbers, none of them special."""
    number = st.integers(-160, 160).map(lambda k: k / 64 + 0.007)
    return st.lists(number, min_size=1, max_size=max_size).map(np.array)
