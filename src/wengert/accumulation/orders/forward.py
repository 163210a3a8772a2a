"""Forward accumulation (inside-out): a pass for each independent variable gives a column of the Jacobian."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.accumulation.counting import count_forward
from wengert.accumulation.dense import dimension, of_its_own, seeds_in_a_block, unit_derivatives
from wengert.accumulation.orders.order import Order
from wengert.accumulation.preaccumulation import accumulate_preaccumulated
from wengert.accumulation.sweeps import forward
from wengert.linearization import Linearization

Array = Any


def columns(linearization: Linearization) -> int:
    """Return the number of independent variables, two for each complex number."""
    return dimension(linearization.inputs)


def accumulate(linearization: Linearization) -> list[list[Array]]:
    """Sweep from the unit tangents of each argument, preaccumulated where that saves operations."""
    return accumulate_preaccumulated(linearization, columns(linearization), _sweep)


def _sweep(linearization: Linearization) -> list[list[Array]]:
    """Push the unit tangents of each argument through the linearized graph."""
    outputs, values, most = linearization.outputs, linearization.values, seeds_in_a_block(linearization)
    linearization = linearization.active()
    jacobians: list[list[Any]] = [[] for _ in values]
    for k, x in enumerate(linearization.inputs):

        def push(seeds: Array, k: int = k) -> list[Array | None]:
            tangents = forward(linearization, {k: seeds}, batch=1)
            return [tangents[position] if position >= 0 else None for position in outputs]

        for row, column, y in zip(jacobians, unit_derivatives(x, values, push, 1j, most), values, strict=True):
            jacobian = np.moveaxis(column, 0, -1).reshape(y.shape + x.shape)
            row.append(of_its_own(jacobian, jacobian))
    return jacobians


FORWARD = Order("forward", columns, count_forward, accumulate)
