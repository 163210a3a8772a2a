"""llsq: the squares of what a polynomial leaves of the sign function, and the gradient by its coefficients."""

from __future__ import annotations

import numpy as np

import wengert as wg


def least_squares(x, n):
    t = np.linspace(-1.0, 1.0, n)
    powers = np.vander(t, len(x), increasing=True)
    residual = np.sign(t) - powers @ x
    return 0.5 * residual @ residual


def arguments(data):
    return np.array(data["x"]), data["n"]


FUNCTIONS = {"primal": wg.jit(least_squares), "gradient": wg.jit(wg.grad(least_squares))}
