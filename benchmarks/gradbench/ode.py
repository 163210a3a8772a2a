"""ode: y_i' = x_i y_(i-1), y_0' = x_0 from zero to 2 by Runge and Kutta; the gradient of the last component."""

from __future__ import annotations

import numpy as np

import wengert as wg


def rate(x, y):
    return x * np.concatenate([[1.0], y[:-1]])


def final(x, steps):
    h = 2.0 / steps
    y = np.zeros_like(x)
    for _ in range(steps):
        k1 = rate(x, y)
        k2 = rate(x, y + h / 2 * k1)
        k3 = rate(x, y + h / 2 * k2)
        k4 = rate(x, y + h * k3)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return y


def last(x, steps):
    return final(x, steps)[-1]


def arguments(data):
    return np.array(data["x"]), data["s"]


FUNCTIONS = {"primal": wg.jit(final), "gradient": wg.jit(wg.grad(last))}
