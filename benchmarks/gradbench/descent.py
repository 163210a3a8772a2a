"""The gradient descent that particle and saddle prescribe, as a loop that can be differentiated.

The step starts at 1e-5, is doubled after ten steps that went down and halved after one that did not; the search ends
where the gradient or the step is at most 1e-5 long.

>>> import numpy as np
>>> x = argmin(lambda x: (np.sum((x - 2.0) ** 2), 2 * (x - 2.0)), np.array([1.0]))
>>> bool(abs(x[0] - 2) < 1e-4)
True
"""

from __future__ import annotations

import numpy as np

import wengert as wg

SHORT = 1e-5


def length(v):
    return np.sqrt(np.sum(v * v))


def argmin(value_and_gradient, start):
    """Return where the descent from `start` ends."""

    def searching(state):
        _, _, gradient, size, _ = state
        slope = length(gradient)
        return (slope > SHORT) & (size * slope > SHORT)

    def step(state):
        x, value, gradient, size, successes = state
        further = x - size * gradient
        its_value, its_gradient = value_and_gradient(further)
        lower = its_value < value
        successes = np.where(lower, successes + 1.0, 0.0)
        size = np.where(lower, np.where(successes == 10.0, 2 * size, size), size / 2)
        return (
            np.where(lower, further, x),
            np.where(lower, its_value, value),
            np.where(lower, its_gradient, gradient),
            size,
            np.where(successes == 10.0, 0.0, successes),
        )

    return wg.while_loop(searching, step, (start, *value_and_gradient(start), 1e-5, 0.0))[0]
