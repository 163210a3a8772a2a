"""Forward accumulation (inside-out): a pass for each independent variable gives a column of the Jacobian."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.accumulation.counting import count_forward
from wengert.accumulation.dense import joined, of_its_own, seeds_in_a_block, unit_seeds
from wengert.accumulation.orders.order import Order
from wengert.accumulation.sweeps import forward
from wengert.linearization import Linearization, active_rows

Array = Any


def columns(linearization: Linearization) -> int:
    """Return the number of independent variables."""
    return sum([x.size for x in linearization.inputs])


def accumulate(linearization: Linearization) -> list[list[Array]]:
    """Push the unit tangents of each argument through the linearized graph."""
    outputs, values, most = linearization.outputs, linearization.values, seeds_in_a_block(linearization)
    linearization = Linearization(
        active_rows(linearization),
        linearization.inputs,
        outputs,
        values,
        linearization.size,
        linearization.with_complex,
    )
    jacobians: list[list[Any]] = [[] for _ in values]
    for k, x in enumerate(linearization.inputs):
        blocks: list[list[Any]] = [[] for _ in values]
        for seeds in unit_seeds(x, most):
            tangents = forward(linearization, {k: seeds}, batch=1)
            for column, position, y in zip(blocks, outputs, values, strict=True):
                tangent = tangents[position] if position >= 0 else None
                if tangent is None:
                    tangent = np.zeros(seeds.shape[:1] + y.shape, np.result_type(y.dtype, x.dtype))
                column.append(tangent)
        for row, column, y in zip(jacobians, blocks, values, strict=True):
            jacobian = np.moveaxis(joined(column), 0, -1).reshape(y.shape + x.shape)
            row.append(of_its_own(jacobian, jacobian))
    return jacobians


FORWARD = Order("forward", columns, count_forward, accumulate)
