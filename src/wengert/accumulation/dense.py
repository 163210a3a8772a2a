"""Dense Jacobians: unit seeds in blocks, and arrays for what the sweeps make of them.

The block of all unit seeds of an array is an identity; a large one goes in parts, so that memory stays bounded.  A
complex number is two real ones: it takes a seed along each axis, and the two derivatives become one complex number.

>>> import numpy as np
>>> [block.shape for block in unit_seeds(np.zeros((2, 3)), 4)]
[(4, 2, 3), (2, 2, 3)]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from wengert.errors import ResultError, SizeError
from wengert.linearization import Linearization
from wengert.memory import in_bytes, quarter_of_memory
from wengert.tracing import as_scalar, results_of

Array = Any
BLOCK_BYTES = 1 << 27
"""Seeds travel in blocks whose values together take about this much memory."""


def check_memory(linearization: Linearization, name: str, instead: str) -> None:
    """Raise SizeError if the dense Jacobian would take more than a quarter of the memory.

    Its blocks are joined and laid out, so while it is made there are up to three copies of it.
    """
    if fits_dense(linearization):
        return
    inputs, values, size = linearization.inputs, linearization.values, dense_bytes(linearization)
    n, m = sum([x.size for x in inputs]), sum([y.size for y in values])
    raise SizeError.at_caller(
        f"{name} has {m:,} rows and {n:,} columns, which take {in_bytes(size)}; "
        f"a quarter of this machine's memory is {in_bytes(quarter_of_memory())}:",
        instead,
    )


def dense_bytes(linearization: Linearization) -> int:
    """Return how much memory the dense Jacobian takes."""
    values, inputs = linearization.values, linearization.inputs
    if len(values) == len(inputs) == 1:
        return int(values[0].nbytes * inputs[0].size)
    row: int = sum([y.nbytes for y in values])
    columns: int = sum([x.size for x in inputs])
    return row * columns


def fits_dense(linearization: Linearization) -> bool:
    """Return whether the dense Jacobian takes no more than a quarter of the memory."""
    size = dense_bytes(linearization)
    return size < BLOCK_BYTES or size <= quarter_of_memory()


COMFORTABLE = 1 << 30
"""A Jacobian of few entries that are not zero is an array by default up to this size."""


def fits_comfortably(linearization: Linearization) -> bool:
    """Return whether the dense Jacobian takes so little memory that it need not be a sparse matrix."""
    return dense_bytes(linearization) <= COMFORTABLE and fits_dense(linearization)


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
    for start in range(0, size or 1, most):
        count = min(most, size - start)
        yield np.eye(count, size, start, value.dtype).reshape((count, *value.shape))


def dimension(values: Sequence[Any]) -> int:
    """Return the number of real numbers in arrays: two for each complex one.

    >>> dimension([np.zeros(3), np.zeros((2, 2), complex)])
    11
    """
    return sum([x.size * (1 + (x.dtype.kind == "c")) for x in values])


def dtype_of_jacobian(x: Any, y: Any) -> np.dtype[Any]:
    """Return the dtype of the derivatives of `y` by `x`: that of `x`, as of a gradient; complex if one of them is."""
    dtype: np.dtype[Any] = np.result_type(x.dtype, y.dtype) if "c" in (x.dtype.kind, y.dtype.kind) else x.dtype
    return dtype


def unit_derivatives(
    seeded: Any, others: Sequence[Any], sweep: Callable[[Array], Sequence[Array | None]], turn: complex, most: int
) -> list[Array]:
    """Sweep from the unit seeds of an array; return the derivatives for each of `others`, seeds along the first axis.

    `turn` makes a seed along the imaginary axis of one along the real axis: 1j for tangents, -1j for adjoints.
    """
    blocks: list[list[Array]] = [[] for _ in others]
    for seeds in unit_seeds(seeded, most):
        swept = [sweep(seeds)] if seeded.dtype.kind != "c" else [sweep(seeds), sweep(turn * seeds)]
        for block, other, *derivatives in zip(blocks, others, *swept, strict=True):
            dtype = dtype_of_jacobian(*(seeded, other) if turn == 1j else (other, seeded))
            along, *along_imaginary = (
                np.zeros(seeds.shape[:1] + other.shape, dtype)
                if d is None
                else d
                if d.dtype == dtype
                else d.astype(dtype)
                for d in derivatives
            )
            for d in along_imaginary:
                along = _holomorphic(along, d / turn) if other.dtype.kind == "c" else along + d / turn
            block.append(along)
    return [block[0] if len(block) == 1 else np.concatenate(block) for block in blocks]


def _holomorphic(along_real: Array, along_imaginary: Array) -> Array:
    """Return the complex derivative if it is the same along both axes; raise ResultError if there is none."""
    size = np.abs(along_real) + np.abs(along_imaginary)
    tolerance = np.sqrt(np.finfo(along_real.dtype).eps)
    if along_real.size and np.max(np.abs(along_real - along_imaginary)) > tolerance * np.max(size):
        raise ResultError.at_caller(
            "a complex function of complex numbers has no complex Jacobian here: it is not holomorphic, "
            "its derivatives along the real and the imaginary axis differ:",
            "Pass real and imaginary parts as two arguments, lambda a, b: f(a + 1j * b) with argnums=(0, 1); "
            "or take products with wg.jvp or wg.vjp.",
        )
    return along_real


def of_its_own(derivative: Array | None, value: Any) -> Array:
    """Return an accumulated derivative as an array of its own, of the shape and dtype of a value; zeros for None."""
    if derivative is None:
        return np.zeros(value.shape, value.dtype)[()]
    if derivative.dtype != value.dtype:
        derivative = derivative.astype(value.dtype)
    if derivative.ndim == 0:
        return derivative if isinstance(derivative, np.generic) else as_scalar(derivative)
    if type(derivative) is np.ndarray and not (derivative.flags.owndata and derivative.flags.writeable):
        return derivative.copy()
    return derivative
