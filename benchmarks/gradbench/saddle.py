"""saddle: the least of a largest value, a descent inside of a descent, with derivatives of both.

f(x, y) = |x|^2 - |y|^2; the outer derivative goes through the inner search (after Pearlmutter & Siskind 2008).
"""

from __future__ import annotations

import numpy as np

import wengert as wg

from .descent import argmin


def f(x, y):
    return np.sum(x * x) - np.sum(y * y)


def forward(function):
    """Return the value and the gradient of a function of two numbers by forward accumulation."""
    gradient = wg.jacobian(function, mode="forward")
    return lambda x: (function(x), gradient(x))


MODES = {"f": forward, "r": wg.value_and_grad}


def solver(outer, inner):
    """Return the search, the outer derivative by one mode and the inner one by another."""

    def argmax(x, start):
        return argmin(MODES[inner](lambda y: -f(x, y)), start)

    def saddle_point(start):
        x = argmin(MODES[outer](lambda x: f(x, argmax(x, start))), start)
        return np.concatenate([x, argmax(x, start)])

    return wg.jit(saddle_point)


def arguments(data):
    return (np.array(data["start"]),)


FUNCTIONS = {outer + inner: solver(outer, inner) for outer in "fr" for inner in "fr"}
