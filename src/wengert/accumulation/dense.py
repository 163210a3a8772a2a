"""Dense Jacobians: unit seeds in blocks, and arrays for what the sweeps make of them.

The block of all unit seeds of an array is an identity; a large one goes in parts, so that memory stays bounded.

>>> import numpy as np
>>> [block.shape for block in unit_seeds(np.zeros((2, 3)), 4)]
[(4, 2, 3), (2, 2, 3)]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from wengert.accumulation.sweeps import identity
from wengert.errors import SizeError, caller, explain_at
from wengert.linearization import Linearization
from wengert.memory import in_gib, quarter_of_memory
from wengert.tracing import as_scalar, results_of

Array = Any
BLOCK_BYTES = 1 << 27
"""Seeds travel in blocks whose values together take about this much memory."""


def check_memory(linearization: Linearization, name: str, instead: str) -> None:
    """Raise SizeError if the dense Jacobian would take more than a quarter of the memory.

    Its blocks are joined and laid out, so while it is made there are up to three copies of it.
    """
    inputs, values = linearization.inputs, linearization.values
    size = sum([x.size for x in inputs]) * sum([y.size * y.dtype.itemsize for y in values])
    if size < BLOCK_BYTES or size <= (most := quarter_of_memory()):
        return
    n, m = sum([x.size for x in inputs]), sum([y.size for y in values])
    raise SizeError(
        explain_at(
            caller(),
            f"{name} has {m:,} rows and {n:,} columns, which take {in_gib(size)}; "
            f"a quarter of this machine's memory is {in_gib(most)}:",
            instead,
        )
    )


def seeds_in_a_block(linearization: Linearization) -> int:
    """Return how many seeds travel through a linearization at once."""
    size: int
    try:
        size = sum([row[2][0].size for row in linearization.rows])
    except AttributeError:  # of a row with several results
        size = sum([y.size for row in linearization.rows for _, y in results_of(row)])
    size *= max((y.dtype.itemsize for y in linearization.values), default=1)
    return max(1, BLOCK_BYTES // max(1, size))


def unit_seeds(value: Any, most: int) -> Iterator[Array]:
    """Yield the unit seeds of an array in blocks of at most so many, on a leading axis."""
    size = value.size
    if size <= most:
        yield identity(value.shape, value.dtype)
        return
    for start in range(0, size, most):
        stop = min(size, start + most)
        block = np.zeros((stop - start, size), value.dtype)
        block[np.arange(stop - start), np.arange(start, stop)] = 1
        yield block.reshape((stop - start, *value.shape))


def joined(blocks: Sequence[Array]) -> Array:
    """Join what blocks of seeds have become."""
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def of_its_own(derivative: Array | None, value: Any) -> Array:
    """Return an accumulated derivative as an array of its own, of the shape and dtype of a value; zeros for None."""
    if derivative is None:
        return np.zeros(value.shape, value.dtype)[()]
    if derivative.dtype != value.dtype:
        derivative = derivative.astype(value.dtype)
    if derivative.ndim == 0:
        return as_scalar(derivative)
    if type(derivative) is np.ndarray and not (derivative.flags.owndata and derivative.flags.writeable):
        return derivative.copy()
    return derivative
