"""Derivatives by other means: the complex step and central differences of high order, neither of which uses wengert."""

from __future__ import annotations

import warnings

import numpy as np

# weights of the eighth-order central differences, at 1, 2, 3, 4 steps (Fornberg 1988, table 1)
FIRST = (4 / 5, -1 / 5, 4 / 105, -1 / 280)
SECOND = (8 / 5, -1 / 5, 8 / 315, -1 / 560)
SECOND_CENTER = -205 / 72


def complex_step(f, args, k):
    """Jacobian of `f` with respect to argument `k`, to the last bits, where `f` takes complex arrays."""
    return _columns(lambda x: np.imag(f(*_replaced(args, k, x))) / 1e-30, args[k], lambda x, unit: x + 1e-30j * unit)


def differences(f, args, k, step=1e-2):
    """Jacobian of `f` with respect to argument `k`, by eighth-order central differences (errors near 1e-12)."""

    def along(point_and_unit):
        x, unit = point_and_unit
        total = 0.0
        for n, weight in enumerate(FIRST, 1):
            ahead, behind = (np.asarray(f(*_replaced(args, k, x + s * n * step * unit)), dtype=float) for s in (1, -1))
            total = total + weight * (ahead - behind)
        return total / step

    return _columns(along, args[k], lambda x, unit: (x, unit))


def second_differences(f, args, directions, step=1e-2):
    """Second derivative of `f` along `directions` (one array for each argument), by eighth-order differences."""

    def at(s):
        moved = [a if d is None else a + s * d for a, d in zip(args, directions, strict=True)]
        return np.asarray(f(*moved), dtype=float)

    total = SECOND_CENTER * at(0.0)
    for n, weight in enumerate(SECOND, 1):
        total = total + weight * (at(n * step) + at(-n * step))
    return total / step**2


def steady(f, args, which):
    """Tell whether differences of two steps agree at a point: it lies away from every kink and singularity."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for k in which:
            near, nearer, far = (differences(f, args, k, step) for step in (1e-2, 0.7e-2, 2.5e-2))
            if not (np.allclose(near, nearer, rtol=1e-8, atol=1e-9) and np.allclose(near, far, rtol=1e-3, atol=1e-4)):
                return False
        directions = [np.ones_like(a) if k in which else None for k, a in enumerate(args)]
        near, nearer = (second_differences(f, args, directions, step) for step in (1e-2, 0.7e-2))
        return np.allclose(near, nearer, rtol=1e-6, atol=1e-7)


def _replaced(args, k, x):
    return [*args[:k], x, *args[k + 1 :]]


def _columns(derivative, x, point):
    """Stack directional derivatives along the unit directions of `x` on the last axes."""
    x = np.asarray(x, dtype=float)
    columns = []
    for index in np.ndindex(*x.shape):
        unit = np.zeros(x.shape)
        unit[index] = 1.0
        columns.append(derivative(point(x, unit)))
    if not columns:  # no direction to go in
        return np.zeros(np.shape(derivative(point(x, x))) + x.shape)
    stacked = np.stack(columns, axis=-1)
    return stacked.reshape(stacked.shape[:-1] + x.shape)
