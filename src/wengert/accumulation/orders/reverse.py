"""Reverse accumulation (outside-in): a pass for each dependent variable gives a row of the Jacobian."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.accumulation.counting import count_reverse
from wengert.accumulation.dense import joined, of_its_own, seeds_in_a_block, unit_seeds
from wengert.accumulation.orders.order import Order
from wengert.accumulation.sweeps import reverse
from wengert.linearization import Linearization

Array = Any


def rows(linearization: Linearization) -> int:
    """Return the number of dependent variables."""
    return sum([y.size for y in linearization.values])


def accumulate(linearization: Linearization) -> list[list[Array]]:
    """Pull the unit adjoints of each result back."""
    inputs, most = linearization.inputs, seeds_in_a_block(linearization)
    jacobians = []
    for position, y in zip(linearization.outputs, linearization.values, strict=True):
        if position < 0:
            jacobians.append([np.zeros(y.shape + x.shape, np.result_type(y.dtype, x.dtype))[()] for x in inputs])
            continue
        blocks: list[list[Any]] = [[] for _ in inputs]
        for seeds in unit_seeds(y, most):
            adjoints = reverse(linearization, {position: seeds}, batch=1)
            for parts, adjoint, x in zip(blocks, adjoints, inputs, strict=True):
                parts.append(np.zeros(seeds.shape[:1] + x.shape, x.dtype) if adjoint is None else adjoint)
        row = []
        for parts, x in zip(blocks, inputs, strict=True):
            jacobian = joined(parts).reshape(y.shape + x.shape)
            row.append(of_its_own(jacobian, jacobian))
        jacobians.append(row)
    return jacobians


REVERSE = Order("reverse", rows, count_reverse, accumulate)
