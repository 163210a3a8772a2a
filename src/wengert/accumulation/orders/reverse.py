"""Reverse accumulation (outside-in): a pass for each dependent variable gives a row of the Jacobian."""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.accumulation.counting import count_reverse
from wengert.accumulation.dense import (
    dimension,
    dtype_of_jacobian,
    of_its_own,
    seeds_in_a_block,
    unit_derivatives,
)
from wengert.accumulation.orders.order import Order
from wengert.accumulation.preaccumulation import accumulate_preaccumulated
from wengert.accumulation.sweeps import reverse
from wengert.linearization import Linearization

Array = Any


def rows(linearization: Linearization) -> int:
    """Return the number of dependent variables, two for each complex number."""
    return dimension(linearization.values)


def accumulate(linearization: Linearization) -> list[list[Array]]:
    """Sweep from the unit adjoints of each result, preaccumulated where that saves operations."""
    return accumulate_preaccumulated(linearization, rows(linearization), _sweep)


def _sweep(linearization: Linearization) -> list[list[Array]]:
    """Pull the unit adjoints of each result back."""
    inputs, most = linearization.inputs, seeds_in_a_block(linearization)
    jacobians = []
    for position, y in zip(linearization.outputs, linearization.values, strict=True):
        if position < 0:
            jacobians.append([np.zeros(y.shape + x.shape, dtype_of_jacobian(x, y))[()] for x in inputs])
            continue

        def pull(seeds: Array, position: int = position) -> list[Array | None]:
            return reverse(linearization, {position: seeds}, batch=1)

        jacobians.append([
            of_its_own(row := rows.reshape(y.shape + x.shape), row)
            for rows, x in zip(unit_derivatives(y, inputs, pull, -1j, most), inputs, strict=True)
        ])  # fmt: skip
    return jacobians


REVERSE = Order("reverse", rows, count_reverse, accumulate)
