"""Forward accumulation (inside-out): a pass for each independent variable gives a column of the Jacobian."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.accumulation.counting import count_forward
from wengert.accumulation.dense import dimension, of_its_own, unit_derivatives
from wengert.accumulation.orders.order import Order
from wengert.accumulation.preaccumulation import accumulate_preaccumulated
from wengert.executors import Executor
from wengert.linearization import Linearization

Array = Any


def columns(linearization: Linearization) -> int:
    """Return the number of independent variables, two for each complex number."""
    return dimension(linearization.inputs)


def accumulate(linearization: Linearization, executor: Executor | None = None) -> list[list[Array]]:
    """Sweep from the unit tangents of each argument, preaccumulated where that saves operations."""
    return accumulate_preaccumulated(linearization, columns(linearization), lambda graph: _sweep(graph, executor))


def _sweep(linearization: Linearization, executor: Executor | None) -> list[list[Array]]:
    """Push the unit tangents of each argument through the linearized graph."""
    values = linearization.values
    jacobians: list[list[Any]] = [[] for _ in values]
    for x, columns in zip(linearization.inputs, unit_derivatives(linearization, False, executor), strict=True):
        for row, column, y in zip(jacobians, columns, values, strict=True):
            jacobian = np.moveaxis(column, 0, -1).reshape(y.shape + x.shape)
            row.append(of_its_own(jacobian, jacobian))
    return jacobians


FORWARD = Order("forward", columns, count_forward, accumulate)
