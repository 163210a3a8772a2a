"""Reverse accumulation (outside-in): a pass for each dependent variable gives a row of the Jacobian."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.accumulation.counting import count_reverse
from wengert.accumulation.dense import dimension, dtype_of_jacobian, of_its_own, unit_derivatives
from wengert.accumulation.orders.order import Order
from wengert.accumulation.preaccumulation import accumulate_preaccumulated
from wengert.executors import Executor
from wengert.linearization import Linearization

Array = Any


def rows(linearization: Linearization) -> int:
    """Return the number of dependent variables, two for each complex number."""
    return dimension(linearization.values)


def accumulate(linearization: Linearization, executor: Executor | None = None) -> list[list[Array]]:
    """Sweep from the unit adjoints of each result, preaccumulated where that saves operations."""
    return accumulate_preaccumulated(linearization, rows(linearization), lambda graph: _sweep(graph, executor))


def _sweep(linearization: Linearization, executor: Executor | None) -> list[list[Array]]:
    """Pull the unit adjoints of each result back."""
    inputs = linearization.inputs
    jacobians = []
    swept = unit_derivatives(linearization, True, executor)
    for position, y, rows in zip(linearization.outputs, linearization.values, swept, strict=True):
        if position < 0:
            jacobians.append([np.zeros(y.shape + x.shape, dtype_of_jacobian(x, y))[()] for x in inputs])
            continue
        jacobians.append([
            of_its_own(row := block.reshape(y.shape + x.shape), row) for block, x in zip(rows, inputs, strict=True)
        ])  # fmt: skip
    return jacobians


REVERSE = Order("reverse", rows, count_reverse, accumulate)
