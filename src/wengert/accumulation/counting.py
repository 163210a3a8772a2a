"""Counting: exactly what a sweep does, without doing it.

A sweep multiplies along the edges of one row after the other, and all rows of one *kind* (the same primitive, shapes
and parameters) cost the same.  So the sweep over one row of each kind is recorded once, and what it recorded is split
by what it depends on: the *partials*, computed once however many passes there are, and a *pass*, which depends on the
seed.  A whole sweep is the sum over its rows; in reverse the additions come to it where adjoints of one value meet.

A pass has a general seed: no zero of it is skipped.

>>> import numpy as np, wengert as wg
>>> from wengert.linearization import Linearization
>>> x = np.array([0.5, 2.0, 3.0])
>>> f = wg.trace(lambda x: np.array([x[0] * (x[1] - x[2]), x[2] * np.log(1 - x[0])]))(x)
>>> reverse = count_reverse(ActiveRows(Linearization.of_program(f, x)))
>>> print(reverse.partials), print(reverse.one_pass), reverse.one_pass.products, reverse.kept
1 division
5 multiplications, 2 additions, 2 changes of sign
(None, None, 8, 3)
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from itertools import compress
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from wengert.accumulation.elimination import Counts
from wengert.accumulation.sweeps import forward, reverse
from wengert.cost import Cost, line_cost
from wengert.errors import DegenerateError
from wengert.jacobians import count_overlaps
from wengert.linearization import Linearization
from wengert.passes.scalarization import reads_in_scalars
from wengert.primitives.numpy.structural import fill_index, getitem
from wengert.program import Constant, Primitive, Program, Shaped
from wengert.program.dataflow import substitute
from wengert.program.structure import exactly
from wengert.tracing import COPIED, Row, innermost, outputs_of, record, results_of

Mask = tuple[bool, ...]


class Sweep(NamedTuple):
    """What a sweep over a linearization does.

    Attributes
    ----------
    partials, one_pass
        What computes the local partials, once, and what depends on the seed, in each pass.
    kept
        How many values (elements) the function computes and a reverse sweep reads.
    read
        For each independent variable, whether the partials read it.
    made
        For each result: how many more values must be kept if a later step reads it.
    reached
        For each result (forward) or independent variable (reverse), whether a derivative comes to it.
    function
        By elimination, the cost of the function where what it computes twice is computed once; None if all is computed.
    eliminations
        By elimination, the products of each order that was counted, the one that is taken first.
    """

    partials: Cost
    one_pass: Cost
    kept: int
    read: Mask
    made: tuple[int, ...]
    reached: Mask
    function: Cost | None = None
    eliminations: Mapping[str, Counts] = MappingProxyType({})


# ---- The sweep over one row ----


class _RowSweep:
    """The sweep over a row of one kind.

    Attributes
    ----------
    partials, one_pass, kept
        As of a `Sweep`.
    reads
        What the sweep reads: a number below that of the results is a result, and the operands come after.
    reaches
        Forward, for each result whether it has a tangent.  In reverse, for each operand: whether its adjoint gets a
        contribution (one that is an operand twice gets it as the first).
    """

    __slots__ = ("kept", "one_pass", "partials", "reaches", "reads")

    def __init__(self, partials: Cost, one_pass: Cost, kept: int, reads: tuple[int, ...], reaches: Mask) -> None:
        self.partials, self.one_pass, self.kept = partials, one_pass, kept
        self.reads, self.reaches = reads, reaches


class _Kind:
    """What the rows of one kind have in common: whether they compute anything, and the sweeps over them, by masks."""

    __slots__ = ("computes", "forward", "reverse")

    def __init__(self, computes: bool) -> None:
        self.computes = computes
        self.forward: dict[Mask, _RowSweep] = {}
        self.reverse: dict[Mask, _RowSweep] = {}


_KINDS: dict[Hashable, _Kind] = {}
MOST_KINDS = 4096
"""When so many kinds of rows are known, they are forgotten."""


def _kind_of(row: Row, with_complex: bool) -> _Kind:
    """Return the kind of a row: what the sweeps over it do depends on nothing else."""
    primitive, parents, kept, params, _, _ = row
    parts: list[Any] = [primitive]
    single = len(parents) == 1
    try:
        for k, parent in enumerate(parents, 1):
            value = kept[k]
            if parent < 0:
                parts.append(kind_of_constant(value))
            elif single:
                parts.append(value.shape)
            else:
                parts += (parents.index(parent), value.shape)
        if params:
            parts.append(_key_of(params))
        if with_complex:
            parts += [value.dtype for _, value in results_of(row)]
            parts += [np.result_type(value) for value in kept[1:]]
        key = tuple(parts)
        kind = _KINDS.get(key)
    except TypeError:  # a parameter that cannot be compared
        return _Kind(_row_cost(row).operations > 0)
    if kind is None:
        if len(_KINDS) >= MOST_KINDS:
            _KINDS.clear()
        kind = _KINDS[key] = _Kind(_row_cost(row).operations > 0)
    return kind


def kind_of_constant(value: Any) -> Hashable:
    """Return what rules look at where they look at a constant: 0, 1 and 2 (as an exponent), the sign, or the shape."""
    kind: Any = type(value)
    if kind in _REAL:
        return kind, value if value in _SPECIAL else "positive" if value > 0 else "negative"
    return (value.shape, value.dtype.kind) if hasattr(value, "dtype") else kind


_REAL = frozenset({float, int, bool, np.float64, np.float32, np.int64, np.bool_})
_SPECIAL = (0, 1, 2)


def _key_of(params: Mapping[str, Any]) -> Hashable:
    parts: list[Any] = []
    for name, value in params.items():
        if name == "held":
            structure = value.structure(COPIED)
            if structure is None:
                raise TypeError("a loop without a key")
            key, particulars = structure
            parts += [key, *map(kind_of_constant, particulars)]
        elif name != "run":
            parts.append((name, exactly(value, COPIED)))
    return tuple(parts)


def _plain(value: Any) -> Any:
    """Return the value behind all traces; zeros where only a shape was kept."""
    value = innermost(value)
    if isinstance(value, Shaped):
        return np.broadcast_to(np.zeros((), value.dtype), value.shape)
    return value


def _row_cost(row: Row) -> Cost:
    primitive, parents, kept, params, _, _ = row
    operands = [Constant(v) if p < 0 else v for p, v in zip(parents, kept[1:], strict=True)]
    return line_cost(primitive, kept[0], operands, params)


def _is_computed_with(primitive: Primitive, constant: Any) -> bool:
    """Return whether what rules compute from a constant counts: not of a number that the user wrote, nor an index."""
    if not primitive.elementwise or type(constant) in (int, float, complex, bool):
        return False
    return constant.dtype.kind in "fcb"


def _sweep_row(row: Row, seeded: Mask, backward: bool, with_complex: bool) -> _RowSweep:
    """Record the sweep over one row, from tangents of the seeded operands or adjoints of the seeded results."""
    primitive, parents, kept, params, _, _ = row
    distinct = [parent for parent in dict.fromkeys(parents) if parent >= 0]
    operand_of = [parents.index(parent) for parent in distinct]
    with record(primitive.name) as trace:  # of the operands, the results, and the seeds
        tape = trace.tape
        inputs = [trace.input(_plain(kept[k + 1])) for k in operand_of]
        numbers = tuple([distinct.index(parent) if parent >= 0 else -1 for parent in parents])
        results = [trace.input(_plain(y)) for _, y in results_of(row)]
        outputs = range(len(inputs), tape.size)
        others = [k for k, n in enumerate(numbers) if n < 0 and _is_computed_with(primitive, kept[k + 1])]
        constants = {k: trace.input(_plain(kept[k + 1])) for k in others}
        operands = [inputs[n] if n >= 0 else constants.get(k, kept[k + 1]) for k, n in enumerate(numbers)]
        first_seed = tape.size
        y, out = (tuple(results), tuple(outputs)) if primitive.multiple else (results[0], outputs[0])
        alone = [(primitive, numbers, (y, *operands), params, None, out)]
        linearization = Linearization(alone, inputs, outputs, results, outputs.stop, with_complex)
        where = (
            zip(outputs, results, seeded, strict=True)
            if backward
            else ((n, x, seeded[k]) for n, (x, k) in enumerate(zip(inputs, operand_of, strict=True)))
        )
        seeds = {n: trace.input(np.ones(v.shape, v.dtype)[()]) for n, v, on in where if on}
        try:
            ends = reverse(linearization, seeds) if backward else forward(linearization, seeds)[outputs.start :]
        except DegenerateError:  # there is no derivative here, and nothing to count
            ends = [None] * len(inputs if backward else results)
        partials, one_pass, inside, reads = _split(tape.rows, range(first_seed, first_seed + len(seeds)))
    reached = [end is not None for end in ends]
    if not primitive.multiple:
        active = reached if backward else [seeded[k] and primitive.partial(k) is not None for k in operand_of]
        products = _edges(row, sum(active), one_pass)
        one_pass += Cost(products=products, unit_free=min(products, one_pass.multiplications))
    count = len(results)
    places = [*[count + k for k in operand_of], *range(count)]
    slots = [places[n] for n in reads if n < len(places)]
    slots += [count + k for k, n in enumerate(numbers) if n < 0 and _reads(primitive, k)]
    if backward:
        gets = {k for k, on in zip(operand_of, reached, strict=True) if on}
        reached = [k in gets for k in range(len(parents))]
    return _RowSweep(partials, one_pass, inside, tuple(slots), tuple(reached))


def _reads(primitive: Primitive, k: int) -> bool:
    """Return whether the rules of a primitive read the elements of the k-th operand."""
    return bool(primitive.keeps) and primitive.keeps[min(k + 1, len(primitive.keeps) - 1)]


def _split(rows: Sequence[Row], seeds: Iterable[int]) -> tuple[Cost, Cost, int, list[int]]:
    """Split what was recorded by what depends on the seeds: partials, a pass, the values kept, and all that is read."""
    depends = set(seeds)
    partials, one_pass, kept = Cost(), Cost(), 0
    reads: set[int] = set()
    for row in rows:
        reads.update(row[1])
        if depends.isdisjoint(row[1]):
            partials += _row_cost(row)
            continue
        depends.update(outputs_of(row))
        held = row[3].get("held") if row[0].multiple else None
        counts = None if held is None else held.swept([parent in depends for parent in row[1]])
        if counts is None:
            one_pass += _row_cost(row)
        else:
            partials, one_pass, kept = partials + counts[0], one_pass + counts[1], kept + counts[2]
    return partials, one_pass, kept, sorted(reads - {-1})


def _edges(row: Row, active: int, one_pass: Cost) -> int:
    """Count the edges of the graph of scalars into a row; where it has no scalar form, the products of a pass."""
    primitive, _, kept, _, _, _ = row
    if primitive.elementwise:
        return 0 if primitive.counts == "moves" else active * kept[0].size
    if not active or not reads_in_scalars(primitive):
        return one_pass.multiplications
    row_cost = _row_cost(row)
    return active * row_cost.multiplications + 2 * (row_cost.additions + row_cost.comparisons)


# ---- The sweep over all rows ----


class ActiveRows:
    """The active rows of a linearization, and the kind of each: what orders count.

    With `operations_only`, what a sweep keeps and reads is not looked for.
    """

    __slots__ = ("kinds", "linearization", "operations_only", "rows")

    def __init__(self, linearization: Linearization, operations_only: bool = False) -> None:
        self.linearization, self.operations_only = linearization, operations_only
        self.rows = linearization.active().rows
        with_complex = linearization.with_complex
        self.kinds = [None if row[0] is getitem else _kind_of(row, with_complex) for row in self.rows]


def count_forward(active: ActiveRows) -> Sweep:
    """Count a forward sweep over the linearized graph, from tangents of all independent variables."""
    linearization = active.linearization
    moves = bytearray(linearization.size + 1)  # with a place for constants, at -1
    moves[: len(linearization.inputs)] = b"\1" * len(linearization.inputs)
    times: dict[_RowSweep, int] = {}
    for row, kind in zip(active.rows, active.kinds, strict=True):
        parents, out = row[1], row[5]
        if kind is None:  # elements of a tangent
            moves[out] = moves[parents[0]]
            continue
        seeded = tuple([moves[parent] > 0 for parent in parents])
        sweep = kind.forward.get(seeded)
        if sweep is None:
            if True not in seeded:
                continue
            sweep = kind.forward[seeded] = _sweep_row(row, seeded, False, linearization.with_complex)
        times[sweep] = times.get(sweep, 0) + 1
        if type(out) is tuple:
            for position, reached in zip(out, sweep.reaches, strict=True):
                moves[position] = reached
        else:
            moves[out] = sweep.reaches[0]
    partials, one_pass, _ = _total(times)
    ends = tuple([position >= 0 and moves[position] > 0 for position in linearization.outputs])
    return Sweep(partials, one_pass, 0, (), (), ends)


class _Adjoints:
    """The adjoints of a reverse sweep, as far as they meet: where something came to, and the additions that it took.

    Attributes
    ----------
    whole
        Whether something has come to the whole value at each position.
    pieces
        What has come to elements: at which indices, and how many elements.
    """

    __slots__ = ("additions", "pieces", "whole")

    def __init__(self, size: int) -> None:
        self.whole, self.additions = bytearray(size), 0
        self.pieces: dict[int, list[tuple[Any, int]]] = {}

    def take(self, row: Row) -> Mask:
        """Put the adjoints of a row's results together; return which of them there are."""
        out = row[5]
        if type(out) is not tuple:
            if out in self.pieces:
                self.put_together(out, row[2][0])
            return _THERE if self.whole[out] else _NOT_THERE
        for position, y in results_of(row):
            self.put_together(position, y)
        return tuple([self.whole[position] > 0 for position in out])

    def add(self, parents: Sequence[int], values: Sequence[Any], reaches: Mask) -> None:
        """Add contributions to the adjoints of operands."""
        whole = self.whole
        for k, reached in enumerate(reaches):
            if reached:
                parent = parents[k]
                if whole[parent]:
                    self.additions += values[k + 1].size
                else:
                    whole[parent] = 1

    def put_together(self, position: int, value: Any) -> None:
        """Add what has come to elements of a value together, and to the whole."""
        pieces = self.pieces.pop(position, None)
        if pieces is None:
            return
        if self.whole[position]:
            self.additions += sum([size for _, size in pieces])
        else:
            self.additions += count_overlaps([index for index, _ in pieces], value.shape)
        self.whole[position] = 1


_THERE, _NOT_THERE = (True,), (False,)


def count_reverse(active: ActiveRows, given: Sequence[bool] | None = None) -> Sweep:
    """Count a reverse sweep over the linearized graph, from adjoints of all results, or of the `given` ones."""
    linearization = active.linearization
    inputs = linearization.inputs
    adjoints = _Adjoints(linearization.size)
    reads: list[tuple[_RowSweep, Row]] = []
    _start(active, given, adjoints)
    times: dict[_RowSweep, int] = {}
    for row, kind in zip(reversed(active.rows), reversed(active.kinds), strict=True):
        seeded = adjoints.take(row)
        if True not in seeded:
            continue
        if kind is None:
            adjoints.pieces.setdefault(row[1][0], []).append((_index_of(row), row[2][0].size))
            sweep = _OF_INDICES
        else:
            if seeded not in kind.reverse:
                kind.reverse[seeded] = _sweep_row(row, seeded, True, linearization.with_complex)
            sweep = kind.reverse[seeded]
            adjoints.add(row[1], row[2], sweep.reaches)
        times[sweep] = times.get(sweep, 0) + 1
        if not active.operations_only:
            reads.append((sweep, row))
    for position in list(adjoints.pieces):
        adjoints.put_together(position, inputs[position])
    partials, one_pass, inside = _total(times)
    kept, read, made = _kept(active, reads)
    return Sweep(
        partials,
        one_pass + Cost(additions=adjoints.additions),
        kept + inside,
        tuple([k in read for k in range(len(inputs))]),
        tuple([made.get(position, 0) for position in linearization.outputs]),
        tuple([adjoints.whole[k] > 0 for k in range(len(inputs))]),
    )


def _start(active: ActiveRows, given: Sequence[bool] | None, adjoints: _Adjoints) -> None:
    """Start from adjoints of results, which meet where two results are one active value."""
    linearization = active.linearization
    sizes: dict[int, int] = {}
    for k, position in enumerate(linearization.outputs):
        if position >= 0 and (given is None or given[k]):
            if adjoints.whole[position]:
                sizes = sizes or _sizes(active)
                adjoints.additions += sizes.get(position, 0)
            adjoints.whole[position] = 1


def _sizes(active: ActiveRows) -> dict[int, int]:
    sizes = {k: x.size for k, x in enumerate(active.linearization.inputs)}
    sizes.update({position: y.size for row in active.rows for position, y in results_of(row)})
    return sizes


def _kept(active: ActiveRows, reads: Iterable[tuple[_RowSweep, Row]]) -> tuple[int, set[int], dict[int, int]]:
    """Count the values that rows compute and a sweep reads; return the positions read, and what else results hold."""
    if active.operations_only:
        return 0, set(), {}
    linearization = active.linearization
    parents_of = {row[5]: row[1] for row in linearization.rows}  # of an active row those that do not move as well
    read: set[int] = set()
    for sweep, row in reads:
        if sweep is _OF_INDICES:
            read.update(parents_of[row[5]][1:])
        elif sweep.reads:
            places = (*outputs_of(row), *parents_of[row[5]])
            read.update([places[slot] for slot in sweep.reads])
    ends = set(linearization.outputs)
    kinds = {row[5]: kind for row, kind in zip(active.rows, active.kinds, strict=True)}
    kept, made = 0, {}
    for row in linearization.rows:
        if read.isdisjoint(outputs_of(row)) and ends.isdisjoint(outputs_of(row)):
            continue
        kind = kinds[row[5]] if row[5] in kinds else _kind_of(row, linearization.with_complex)
        if kind is not None and kind.computes:
            for position, y in results_of(row):
                if position in read:
                    kept += y.size
                else:
                    made[position] = y.size
    return kept, read, made


_OF_INDICES = _RowSweep(Cost(), Cost(), 0, (), ())
"""The sweep over a row that takes elements: it reads the operands after the first, of which its index is made."""


def _index_of(row: Row) -> tuple[Any, ...]:
    """Return the index that a row takes its operand at."""
    _, parents, kept, params, _, _ = row
    if len(parents) == 1:
        return params["index"]  # type: ignore[no-any-return]
    return fill_index(params["index"], [_plain(v) for v in kept[2:]])


def _total(times: Mapping[_RowSweep, int]) -> tuple[Cost, Cost, int]:
    partials, one_pass, kept = Cost(), Cost(), 0
    for sweep, count in times.items():
        partials, one_pass = partials + count * sweep.partials, one_pass + count * sweep.one_pass
        kept += count * sweep.kept
    return partials, one_pass, kept


# ---- The Programs that a line holds ----


def count_sweep(
    program: Program, args: Sequence[Any], active: Sequence[bool], mode: str, given: Sequence[bool] | None = None
) -> Sweep:
    """Count a sweep over a Program that a line holds, with tangents or adjoints of whole arguments and results.

    Only the active arguments are differentiated, and only the `given` results have adjoints.
    """
    constants = {x: Constant(value) for x, value, on in zip(program.inputs, args, active, strict=True) if not on}
    program = substitute(program, constants, tuple(compress(program.arguments, active)))
    rows = ActiveRows(Linearization.of_program(program, *compress(args, active)))
    if mode == "forward":
        return count_forward(rows)
    able = [r.dtype.kind in "fc" and (given is None or given[k]) for k, r in enumerate(program.results)]
    sweep = count_reverse(rows, able)
    read, reached = (iter(marks) for marks in (sweep.read, sweep.reached))
    return sweep._replace(
        read=tuple([on and next(read) for on in active]), reached=tuple([on and next(reached) for on in active])
    )
