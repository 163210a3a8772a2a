"""particle: the charge of a field that sends a particle through the origin: a descent along the derivative of a path.

The path is a loop that ends where the particle crosses the axis, and its force is a gradient: derivatives in
derivatives, forward or reverse each (after Pearlmutter & Siskind 2008).
"""

from __future__ import annotations

import numpy as np

import wengert as wg

from .descent import argmin

TIME = 0.1


def potential(x, w):
    """Return the potential of charges at (10, 10 - w) and (10, 0)."""
    return 1 / np.sqrt((x[0] - 10) ** 2 + (x[1] - 10 + w) ** 2) + 1 / np.sqrt((x[0] - 10) ** 2 + x[1] ** 2)


def squared_miss(w, slope):
    """Return the square of where the particle crosses the x axis, with the slope of the potential by some mode."""

    def above(state):
        x, v = state
        return x[1] + TIME * v[1] > 0

    def step(state):
        x, v = state
        return x + TIME * v, v - TIME * slope(x, w)

    x, v = wg.while_loop(above, step, (np.array([0.0, 8.0]), np.array([0.75, 0.0])))
    x = x + TIME * v
    return (x[0] - x[1] / v[1] * v[0]) ** 2


def forward(f):
    """Return the value and the derivative of a function of one number, by forward accumulation."""
    return lambda w: wg.jvp(f, (w,), (1.0,))


SLOPES = {"f": wg.jacobian(potential, mode="forward"), "r": wg.grad(potential)}
OUTER = {"f": forward, "r": wg.value_and_grad}


def solver(outer, inner):
    """Return the search, its derivative by one mode and that of the potential by another."""

    def miss(w):
        return squared_miss(w, SLOPES[inner])

    return wg.jit(lambda w: argmin(wg.jit(OUTER[outer](miss)), w))


def arguments(data):
    return (data["w"],)


FUNCTIONS = {outer + inner: solver(outer, inner) for outer in "fr" for inner in "fr"}
