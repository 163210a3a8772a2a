"""lse: the logarithm of a sum of exponentials, shifted by the largest, and its gradient."""

from __future__ import annotations

import numpy as np

import wengert as wg


def logsumexp(x):
    largest = np.max(x)
    return np.log(np.sum(np.exp(x - largest))) + largest


def arguments(data):
    return (np.array(data["x"]),)


FUNCTIONS = {"primal": logsumexp, "gradient": wg.jit(wg.grad(logsumexp))}
