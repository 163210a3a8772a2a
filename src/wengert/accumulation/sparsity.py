"""Sparsity: where a Jacobian may have entries, from one walk along the list.

Index domains (`jacobians.index_domains`) start at the independent variables and go through the lines as tangents do:
each local Jacobian says on which variables its result depends (`LocalJacobian.carry`), so there is no second set of
rules.  The pattern is a superset of the nonzeros, and holds in one of two senses:

- *for all inputs*: a local Jacobian that is made of constants has the zeros that they have; one that is made of values
  that change with the inputs is taken for any that its structure allows.  A position that was computed (of a maximum, a
  sorted element, an interval) may be any other;
- *for this input* (`local`): the zeros of all local Jacobians are taken as they are here.

>>> import numpy as np, wengert as wg
>>> program = wg.trace(lambda x: np.where(x > 0, x, 0.0) * x[::-1])(np.array([1.0, -1.0, 2.0]))
>>> linearization = Linearization.of_program(program, np.array([1.0, -1.0, 2.0]))
>>> [[pattern_of(linearization, local)[0][0].nnz] for local in (False, True)]
[[5], [4]]
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from wengert.accumulation.masks import LINEAR, may_depend
from wengert.errors import DegenerateError, SizeError
from wengert.jacobians import (
    Composed,
    IndexDomains,
    LocalJacobian,
    Map,
    TooDenseError,
    TooLargeError,
    Unknown,
    at_most,
    count_overlaps,
    is_basic,
    joined,
    nothing,
)
from wengert.linearization import Linearization, last_uses, needed_rows
from wengert.primitives.numpy.structural import put
from wengert.program import Recordable
from wengert.tracing import Row, innermost, outputs_of

if TYPE_CHECKING:
    from scipy import sparse


class Reach(NamedTuple):
    """On which variables a value depends by derivatives, and whether it changes with the inputs at all."""

    pattern: IndexDomains | None
    """None if it depends on nothing."""
    varies: bool


CONSTANT = Reach(None, False)
"""The reach of a constant."""


def pattern_of(
    linearization: Linearization, local: bool = False, most: int | None = None
) -> list[list[sparse.csr_array]]:
    """Return where the Jacobian may have entries: for each result and argument a SciPy array of booleans.

    Parameters
    ----------
    linearization
        Of all rows of a trace; rows that only compute positions or decisions are needed to know that they change.
    local
        True for a pattern that holds for this input alone.  Where a local partial is infinite, that for all inputs is
        returned.
    most
        TooDenseError is raised for about more entries than this, there or on the way; None for any number.
    """
    sizes = [math.prod(np.shape(x)) for x in linearization.inputs]
    starts = np.concatenate([[0], np.cumsum(sizes)]).tolist()
    width = starts[-1]
    inputs = zip(linearization.inputs, starts, strict=False)
    start = [Reach(IndexDomains.identity(np.shape(x), k, width), True) for x, k in inputs]
    with at_most(math.inf if most is None else max(most, FEW)):
        try:
            reached = propagate(linearization, start, width, local)
        except InfinitePartialError:  # times a zero, its limit may be any number
            reached = propagate(linearization, start, width)
    if most is not None and sum([p.estimated_entries() for p, _ in reached if p is not None]) > most:
        raise TooDenseError
    blocks = []
    for (pattern, _), y in zip(reached, linearization.values, strict=True):
        rows = (nothing(np.shape(y), width) if pattern is None else pattern).csr()
        many = len(sizes) > 1
        blocks.append([rows[:, k : k + size] if many else rows for k, size in zip(starts, sizes, strict=False)])
    return blocks


FEW = 1 << 16
"""So many entries may be met on the way to a pattern that has fewer."""


class InfinitePartialError(ArithmeticError):
    """A local partial is not finite here, so that zeros in front of it are none of the Jacobian."""


def symmetrized(blocks: Sequence[Sequence[sparse.csr_array]]) -> list[list[sparse.csr_array]]:
    """Return the blocks of a symmetric pattern: each with the entries that the transposed block has."""

    def together(block: sparse.csr_array, other: sparse.csr_array) -> sparse.csr_array:
        from scipy import sparse

        transposed = sparse.csr_array(other.T)
        if np.array_equal(block.indptr, transposed.indptr) and np.array_equal(block.indices, transposed.indices):
            return block
        return sparse.csr_array(block + transposed)

    return [[together(block, blocks[k][n]) for k, block in enumerate(row)] for n, row in enumerate(blocks)]


def propagate(linearization: Linearization, start: Sequence[Reach], width: int, local: bool = False) -> list[Reach]:
    """Return what the results reach, from what the inputs reach of `width` variables."""
    outputs = linearization.outputs
    rows = needed_rows(linearization.rows, outputs)
    reached: list[Reach | None] = [None] * linearization.size
    reached[: len(start)] = start
    with np.errstate(all="ignore"):
        for row, read_last in zip(rows, last_uses(rows, outputs), strict=True):
            operands = [CONSTANT if p < 0 else reached[p] or CONSTANT for p in row[1]]
            try:
                results = _carry(row, operands, width, local)
            except TooLargeError as error:
                raise SizeError.at(
                    row[4],
                    f"the pattern of {row[0].name} here would have {error}, more than a quarter of this machine's:",
                    "If the rule behind it is your own, give it a local partial; or ask for the pattern of this input, "
                    "with local=True.",
                ) from None
            for position, result in zip(outputs_of(row), results, strict=True):
                reached[position] = result
            for position in read_last:
                reached[position] = None
    return [CONSTANT if p < 0 else reached[p] or CONSTANT for p in outputs]


def _carry(row: Row, operands: Sequence[Reach], width: int, local: bool) -> Sequence[Reach]:
    """Return what the results of one line reach."""
    if any(isinstance(value, Recordable) for value in row[2][1:]):
        row, operands = _settled(row, operands)
    primitive, _, kept, _, _, _ = row
    varies = any(operand.varies for operand in operands)
    if all(operand.pattern is None for operand in operands):
        return [Reach(None, varies)] * len(outputs_of(row))
    if primitive.multiple:
        carry = getattr(primitive, "carry", None)
        if carry is None:
            return [anything(operands, np.shape(y)) for y in kept[0]]
        return carry(row, operands, width, local)  # type: ignore[no-any-return]
    if primitive in LINEAR or primitive is put:
        pattern = _joined(row, operands, width)
        if pattern is not None:
            return [Reach(pattern, varies)]
    parts = [
        _along_edge(row, k, operand.pattern, operands, local)
        for k, operand in enumerate(operands)
        if operand.pattern is not None
    ]
    return [Reach(union(parts), varies)]


def _settled(row: Row, operands: Sequence[Reach]) -> tuple[Row, list[Reach]]:
    """Return a row of an inner trace with plain values; a constant that is traced by an outer one may change."""
    primitive, parents, kept, *rest = row
    reached = [
        Reach(None, True) if parent < 0 and isinstance(value, Recordable) else operand
        for parent, value, operand in zip(parents, kept[1:], operands, strict=True)
    ]
    y: Any = tuple(map(innermost, kept[0])) if primitive.multiple else innermost(kept[0])
    return (primitive, parents, (y, *map(innermost, kept[1:])), *rest), reached


def anything(operands: Sequence[Reach], shape: tuple[int, ...]) -> Reach:
    """Return the reach of a result of `shape` of which no more is known than its operands."""
    return Reach(union([o.pattern.mixed(shape) for o in operands if o.pattern is not None]), True)


def union(patterns: Sequence[IndexDomains | None]) -> IndexDomains | None:
    """Return what any of some patterns reach; None if all are None."""
    total: IndexDomains | None = None
    for pattern in patterns:
        total = pattern if total is None else total if pattern is None else total | pattern
    return total


def _along_edge(row: Row, k: int, pattern: IndexDomains, operands: Sequence[Reach], local: bool) -> IndexDomains | None:
    """Return what the result of a line reaches by its k-th operand."""
    primitive, _, kept, params, _, _ = row
    rule = primitive.partial(k)
    if rule is None:
        return None
    fixed = local or not _reads_what_varies(row, k, operands)
    shape = np.shape(kept[0])
    if primitive.elementwise and not fixed:
        mask = may_depend(row, k)
        spread = pattern.spread(shape)
        return spread if mask is None else spread.kept(mask)
    values = kept if fixed else _any_values(row, k, operands)
    fixed = fixed or primitive.bilinear
    try:
        c = rule(*values, **params)
        if local and not _is_finite(c):
            raise InfinitePartialError
        if isinstance(c, LocalJacobian):
            return _through(c, pattern, fixed, kept[k + 1].dtype.kind == "c")
    except (DegenerateError, np.linalg.LinAlgError):
        return pattern.mixed(shape)
    if c is None or np.ndim(c) == 0:
        return None if c is None or c == 0 else pattern.spread(shape)
    return pattern.spread(shape).kept(np.not_equal(c, 0))


def _is_finite(c: Any) -> bool:
    """Return whether the numbers that a local partial holds are finite."""
    if isinstance(c, Composed):
        return _is_finite(c.outer) and _is_finite(c.inner)
    if isinstance(c, LocalJacobian):
        c = next((getattr(c, name) for name in ("c", "A", "B", "matrix") if hasattr(c, name)), 0)
    return c is None or bool(np.all(np.isfinite(c)))


def _through(c: LocalJacobian, pattern: IndexDomains, fixed: bool, of_complex: bool) -> IndexDomains:
    """Carry a pattern through a local Jacobian; one of complex numbers need not be linear over these."""
    carried = c.carry(pattern, fixed)
    if fixed and of_complex and type(c) is Map and not c.moves:
        turned = Map(c.in_shape, c.out_shape, lambda t: c.push(1j * t, t.ndim - len(c.in_shape)), c.pull)
        carried = carried | turned.carry(pattern)
    return carried


def _any_values(row: Row, k: int, operands: Sequence[Reach]) -> list[Any]:
    """Return for a rule, in the place of operands that change with the inputs, what stands for any of their values."""
    primitive, _, kept, params, _, _ = row
    values = list(kept)
    for j, operand in enumerate(operands, 1):
        if operand.varies and j != k + 1:
            if "index" in params and kept[j].dtype.kind in "iub":
                values[j] = Unknown(kept[j])
            elif primitive.bilinear:
                values[j] = np.ones(kept[j].shape, kept[j].dtype)
    return values


def _reads_what_varies(row: Row, k: int, operands: Sequence[Reach]) -> bool:
    """Return whether the rule for the k-th operand reads the result, or an operand that changes with the inputs."""
    primitive = row[0]
    reads = primitive.keeps if primitive.variadic else primitive.reads[k]
    if True not in reads:
        return False
    last = len(reads) - 1
    return reads[0] or any(reads[min(j, last)] and operand.varies for j, operand in enumerate(operands, 1))


def _joined(row: Row, operands: Sequence[Reach], width: int) -> IndexDomains | None:
    """Return what the result of a line that joins its operands reaches; None where they are added or lie anywhere."""
    primitive, _, kept, params, _, _ = row
    patterns = [operand.pattern for operand in operands]
    if primitive is put:
        indices, shape = params["indices"], params["shape"]
        if params.get("batch") or not all(map(is_basic, indices)) or count_overlaps(indices, shape):
            return None
        return joined(
            patterns,
            lambda blocks: put.numpy(
                *[b for b in blocks if b is not None],
                indices=[i for i, b in zip(indices, blocks, strict=True) if b is not None],
                shape=shape,
                batch=1,
            ),
            np.shape(kept[0]),
            width,
        )
    if any(operand.varies for operand in operands[2:]) and "index" in params:
        return None
    return joined(patterns, lambda blocks: primitive.jvp(blocks, kept[1:], 1, **params), np.shape(kept[0]), width)  # type: ignore[misc]
