"""Dense Jacobians: unit seeds in blocks, and arrays for what the sweeps make of them.

The block of all unit seeds of an array is an identity; a large one goes in parts, so that memory stays bounded, and so
that an executor has something to hand out (`wengert.executors`).  A complex number is two real ones: it takes a seed
along each axis, and the two derivatives become one complex number.

>>> import numpy as np
>>> UnitSeeds(False, 0, 4, 2).of(np.zeros((2, 3))).shape
(2, 2, 3)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wengert.accumulation.sweeps import forward, reverse
from wengert.errors import ResultError, SizeError
from wengert.executors import Executor, Shared, run_blocks
from wengert.linearization import Linearization
from wengert.memory import in_bytes, quarter_of_memory
from wengert.program import Program, WengertList
from wengert.tracing import Row, as_scalar, postponing_warnings, results_of, watch

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


ELEMENTS = 1 << 15
"""In a block a line has at least so many elements on average: then what a line costs by itself hardly counts."""


def seeds_in_a_block(linearization: Linearization) -> int:
    """Return how many seeds travel through a linearization at once.

    They depend on the linearization alone, so that whoever runs the blocks gets the same results.
    """
    rows = linearization.rows
    size: int
    try:
        size = sum([row[2][0].size for row in rows])
        most = together(size, len(rows))
    except AttributeError:  # of a row with several results
        sizes = [y.size for row in rows for _, y in results_of(row)]
        size = sum(sizes)
        held = [program for row in rows for program in _programs_of(row)]
        most = max(together(size, len(sizes)), *map(members_in_a_block, held), 1)
    size *= max((y.dtype.itemsize for y in linearization.values), default=1)
    return max(1, min(most, BLOCK_BYTES // max(1, size)))


def members_in_a_block(program: WengertList) -> int:
    """Return for how many members of a batch the lines of a Program are evaluated at once: see `seeds_in_a_block`."""
    sizes = [var.size for line in program.lines for var in line.outputs]
    inner = [members_in_a_block(one) for line in program.lines for one in line.programs]
    return max(together(sum(sizes), len(sizes)), *inner, 1)


def together(size: int, lines: int) -> int:
    """Return how many seeds make the lines, which have so many elements together for one, as long as they should be.

    >>> together(1000, 10), together(10, 10)
    (328, 32768)
    """
    return -(-ELEMENTS * lines // max(1, size))


def _programs_of(row: Row) -> Sequence[WengertList]:
    held = row[3].get("held")
    return () if held is None else held.programs


@dataclass(frozen=True, slots=True)
class UnitSeeds:
    """Some unit seeds of an array, each along the first axis.

    Attributes
    ----------
    back
        True for adjoints of a result, False for tangents of an argument.
    k
        The number of the result or argument.
    start, size
        The number of the first element that has a seed, and how many have one.
    turn
        What they are multiplied by: for complex numbers also 1j (tangents) or -1j (adjoints).
    """

    back: bool
    k: int
    start: int
    size: int
    turn: complex = 1.0

    def of(self, value: Any) -> Array:
        """Return the seeds of an array."""
        seeds = np.eye(self.size, value.size, self.start, value.dtype).reshape((self.size, *value.shape))
        return seeds if self.turn == 1.0 else self.turn * seeds


def sweep_unit_seeds(linearization: Linearization, block: UnitSeeds) -> list[Array | None]:
    """Sweep from unit seeds; return what comes out for each result (of adjoints, for each argument)."""
    if block.back:
        seeds = {linearization.outputs[block.k]: block.of(linearization.values[block.k])}
        return reverse(linearization, seeds, batch=1)
    graph = linearization.active()
    tangents = forward(graph, {block.k: block.of(linearization.inputs[block.k])}, batch=1)
    return [tangents[position] if position >= 0 else None for position in linearization.outputs]


def shared_by_blocks(linearization: Linearization, *more: Any) -> Shared:
    """Return a linearization, and what else the blocks read, in the form in which it travels: as a Program."""
    origin, rewrite = linearization.origin or (linearization, None)
    return Shared(
        (linearization, *more) if more else linearization,
        _linearized,
        lambda: [*origin.as_program(), rewrite, *more],
        lambda: any("run" in row[3] for row in linearization.rows),
    )


def _linearized(
    program: Program, inputs: Sequence[Any], rewrite: Callable[[Linearization], Linearization] | None, *more: Any
) -> Any:
    """Linearize a Program as it was where it comes from, and if that was rewritten, rewrite it."""

    def linearize() -> Linearization:
        linearization = Linearization.of_variables(program, inputs)
        return linearization if rewrite is None else rewrite(linearization)

    with postponing_warnings():  # they were heard when the function ran
        linearization = watch(linearize)
    return (linearization, *more) if more else linearization


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


def unit_derivatives(linearization: Linearization, back: bool, executor: Executor | None) -> list[list[Array]]:
    """Sweep from all unit seeds; return for each array that has seeds a list of derivatives, one for each other array.

    These are the derivatives of the results, the seeds of an argument along the first axis; or (`back`) those by the
    arguments, the seeds of a result along the first axis.
    """
    seeded, others = linearization.inputs, linearization.values
    if back:
        seeded, others = others, seeded
    most, blocks = seeds_in_a_block(linearization), []
    for k, value in enumerate(seeded):
        if back and linearization.outputs[k] < 0:
            continue
        for start in range(0, value.size or 1, most):
            block = UnitSeeds(back, k, start, min(most, value.size - start))
            blocks.append(block)
            if value.dtype.kind == "c":
                blocks.append(replace(block, turn=-1j if back else 1j))
    swept = run_blocks(executor, sweep_unit_seeds, shared_by_blocks(linearization), blocks)
    parts: list[list[list[Array]]] = [[[] for _ in others] for _ in seeded]
    for block, derivatives in zip(blocks, swept, strict=True):
        value = seeded[block.k]
        for part, other, d in zip(parts[block.k], others, derivatives, strict=True):
            dtype = dtype_of_jacobian(*(other, value) if back else (value, other))
            if d is None:
                d = np.zeros((block.size, *other.shape), dtype)
            elif d.dtype != dtype:
                d = d.astype(dtype)
            if block.turn == 1.0:
                part.append(d)
            else:
                part[-1] = (
                    _holomorphic(part[-1], d / block.turn) if other.dtype.kind == "c" else part[-1] + d / block.turn
                )
    return [[part[0] if len(part) == 1 else np.concatenate(part) for part in row if part] for row in parts]


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
