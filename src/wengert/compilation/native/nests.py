"""Nests: a graph of array expressions as a kernel of fused nests of loops.

Which values are stored is decided first: results, folds, what is put together, and what would be computed again in
other nests at more than its storing costs.  Values of one shape that wait for nothing that is stored later are computed
in one nest, from element to element in registers.  A view is an offset and strides.

>>> from wengert.compilation.native.expressions import Expressions
>>> op = Expressions()
>>> x = op.argument((50, 40), "d", (320, 8))
>>> y = op("exp", op("negative", op("multiply", x, x)))
>>> kernel = lower_nests(op, [y], "k")
>>> print(kernel)
k(x0: 2000, y0: 2000) -> y: 0
  for i < 2000:
    r1 = x0[i]
    r2 = multiply r1, r1
    r3 = negative r2
    r4 = exp r3
    y0[i] = r4
  return 0

*Sums* are as accurate as NumPy's.  Along the innermost axis there are 32 partial sums; at most 24 rows of them are
added up before they go to totals with the rounding error kept (Knuth's two-sum).  So the error is at most 35 roundings
of the sum of absolute values, for any number of elements.  It depends on nothing but shapes.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from wengert.compilation.native.assemblies import Box, Term, boxes_of, merged, stages
from wengert.compilation.native.expressions import (
    Argument,
    Assembly,
    CopyError,
    Each,
    Expressions,
    Fold,
    Gather,
    Move,
    Running,
    Value,
    View,
    Viewing,
    broadcast_to,
    view_of,
)
from wengert.compilation.native.joining import joined
from wengert.compilation.native.kinds import FLOATING, TRUTH, extremes, in_kind
from wengert.compilation.native.loops import (
    Buffer,
    Carry,
    Compute,
    Element,
    Kernel,
    Load,
    Nest,
    Operand,
    Register,
    Return,
    Statement,
    Store,
    inner_block,
    row_major,
    with_buffers,
)
from wengert.compilation.native.lowering import NoLoweringError
from wengert.compilation.native.operations import is_call, operation_of
from wengert.compilation.native.positions import Positions
from wengert.primitives.table import PRIMITIVES

LANES, FEW = 32, 8
"""The number of partial results along the innermost axis, and of those that they become before the last few steps."""
ROWS, MOST_ROWS = 16, 24
"""The number of rows of partial results that are added up before the total, and the largest number of them."""
SHORTEST = 64
"""The number of elements along the innermost axis from which it is folded in lanes."""
DEAR = 8
"""The cost of an element, in additions, above which a value is stored rather than computed again."""
MOST_AXES = 8
"""The largest number of axes that a nest runs along, after those that lie one in the other have become one."""
ON_STACK = 512
"""The number of elements of a temporary up to which it is on the stack."""

Steps = tuple[tuple[Value, Viewing], ...]
"""How the place in a nest becomes a place in a value: views, one of the other, of the value first."""


class _NotViewedError(Exception):
    """A value has to be stored, since a view of what it is computed of is none."""

    def __init__(self, value: Value) -> None:
        self.value = value


class _OverwrittenError(Exception):
    """An assembly cannot take the memory of the value that it begins with: that is read after it is overwritten."""

    def __init__(self, value: Value) -> None:
        self.value = value


def lower_nests(op: Expressions, results: Sequence[Value], name: str) -> Kernel:
    """Return the kernel that computes values; its arguments are those of the graph, then the results, then memory.

    It may have nests that never take a step (`wengert.compilation.native.extents.without_empty`).
    """
    values, ends = merged(op.values, [*map(_in_memory, results), *op.guards])
    results, guards = ends[: len(results)], ends[len(results) :]
    stored: set[Value] = set()
    apart: set[Value] = set()
    while True:
        try:
            return joined(_Lowering(op, values, results, guards, stored, apart).kernel(name))
        except _OverwrittenError as error:
            copied = _small_views(values, error.value.operands[0]) - stored
            stored |= copied
            if not copied:
                apart.add(error.value)
        except _NotViewedError as error:
            if error.value in stored or isinstance(error.value, Argument):
                raise NoLoweringError("a copy") from None
            stored.add(error.value)


def _small_views(values: Sequence[Value], array: Value) -> set[Value]:
    """Return the views of an array that are copied rather than the array itself, where it is overwritten."""
    views = [v for v in values if isinstance(v, Move) and v.operands[0] is array]
    return set(views) if 2 * sum(v.size for v in views) < array.size else set()


def _in_memory(value: Value) -> Value:
    """Return the value whose elements are those of another, in the same order: the operand of a change of shape."""
    while isinstance(value, Move) and not isinstance(value.operands[0], Argument):
        operand = value.operands[0]
        place = view_of(operand.shape, row_major(operand.shape), value.function)
        if place != (0, row_major(value.shape), value.shape) or operand.size != value.size:
            break
        value = operand
    return value


class _Item(NamedTuple):
    """What a nest computes: a value that is stored, a fold, or a box of what is put together."""

    value: Value
    box: Box | None = None


class _Lowering:
    """One attempt to lower a graph, with some more values to be stored, and some assemblies in memory of their own."""

    def __init__(
        self,
        op: Expressions,
        values: list[Value],
        results: Sequence[Value],
        guards: Sequence[Value],
        stored: set[Value],
        apart: set[Value],
    ) -> None:
        self.op, self.results, self.guards = op, results, guards
        self.needed = values
        self.stored = {v for v in self.needed if isinstance(v, (Fold, Assembly, Running))} | stored
        self.stored.update(map(_source_of, [v for v in self.needed if isinstance(v, Gather)]))
        self.stored = {v for v in self.stored if not isinstance(v, Argument)}
        self.stored.update(v for v in (*results, *guards) if not isinstance(v, Argument))
        self.costs: dict[Value, float] = {}
        self._store_dear_ones()
        self.taken: dict[Value, Value] = {}
        """For an assembly, the value that it begins with, if it takes its memory."""
        for value in self.needed:
            first = self._taken_by(value)
            if first is not None and value not in apart and first not in self.taken.values():
                self.taken[value] = first
        self.near: dict[Value, int] = {}
        self.far: dict[Value, int] = {}
        self.items: dict[tuple[int, tuple[int, ...]], list[_Item]] = {}
        self._schedule()
        self.count = 0
        self.temporaries: list[Buffer] = []
        self.buffers: dict[Value, View] = {}
        self.copies: list[tuple[Value, Buffer]] = []

    # -- What is stored --

    def cost(self, value: Any) -> float:
        """Return what an element costs, computed from what is stored."""
        if not isinstance(value, Value) or isinstance(value, Argument) or value in self.stored:
            return 0.25
        if value not in self.costs:
            own = _cost_of(value.name) if isinstance(value, Each) else 2.0 * isinstance(value, Gather)
            self.costs[value] = own + sum(map(self.cost, value.operands))
        return self.costs[value]

    def _store_dear_ones(self) -> None:
        """Store what is dear and read at several places: by a move, by a larger array, or in nests of other shapes."""
        readers: dict[Value, list[Value]] = {}
        for value in self.needed:
            operands = [a for a in value.operands if isinstance(a, Value)]
            for operand in operands if isinstance(value, Assembly) else dict.fromkeys(operands):
                readers.setdefault(operand, []).append(value)
        for value in self.needed:
            if not isinstance(value, Each) or value in self.stored or value.size == 1:
                continue
            if any(_takes_in_order(r, value) for r in readers.get(value, ())) and self.cost(value) > DEAR:
                self.stored.add(value)
                continue
            others = [r for r in readers.get(value, ()) if isinstance(r, (Move, Assembly)) or r.shape != value.shape]
            others = [r for r in others if not isinstance(r, Fold) and not self._is_joined(value, r)]
            if not others or self.cost(value) <= DEAR / 4:
                continue
            larger = any(_spreads(r, value, readers) for r in others)
            if (larger or len(readers[value]) > 1) and self.cost(value) > (DEAR / 4 if larger else DEAR):
                self.stored.add(value)

    def _taken_by(self, value: Value) -> Value | None:
        """Return the value whose memory an assembly may take, as far as can be told before all is scheduled."""
        first = value.first if isinstance(value, Assembly) else None
        if not isinstance(first, Value) or first.shape != value.shape or first.dtype != value.dtype:
            return None
        if isinstance(first, Argument):
            is_dying = first.dying and first.view.strides == row_major(first.shape) and value in self.results
            return first if is_dying else None
        return first if first in self.stored and first not in self.results else None

    # -- When it is computed --

    def _schedule(self) -> None:
        """Give each stored value the number of its nest: after those of all that it reads, but for elements at hand."""
        while True:
            self.near.clear()
            self.far.clear()
            self.items.clear()
            for value in self.needed:
                self._place(value)
            computed: dict[Value, set[Any]] = {}
            for key, items in self.items.items():
                for item in items:
                    self._note_computed(item, key, computed)
            again = [v for v, keys in computed.items() if len(keys) > 1 and self.cost(v) > DEAR and v.size > 1]
            if not again:
                return
            self.stored.add(again[0])
            self.costs.clear()

    def _place(self, value: Value) -> None:
        shape = value.shape
        far = max([self.far[a] for a in value.operands if isinstance(a, Value)], default=0)
        near = max([self._level(a, shape) for a in value.operands], default=0)
        if isinstance(value, (Fold, Running)):
            (operand,) = value.operands
            self._enter(self.near[operand], operand.shape, _Item(value))
            self.near[value] = self.far[value] = self.near[operand] + 1
            return
        if isinstance(value, Assembly):
            level = 0
            if value in self.taken:
                level = max(self.far[self.taken[value]], self._after_readers(self.taken[value]))
            for boxes in self._stages(value):
                levels = []
                for box in boxes:
                    ready = [self._ready(term, box.shape) for term in (*box.terms, *map(Term, box.tables))]
                    levels.append(max([level, *ready]))
                for box, first in zip(boxes, levels, strict=True):
                    self._enter(first, box.shape, _Item(value, box))
                level = max(levels) + 1
            self.near[value] = self.far[value] = level
            return
        if isinstance(value, (Move, Gather)):
            near = far
        self.near[value], self.far[value] = near, far
        if value in self.stored:
            self._enter(near, shape, _Item(value))
            self.far[value] = near + 1
            if isinstance(value, Move):
                self.near[value] = near + 1

    def _stages(self, value: Assembly) -> Sequence[Sequence[Box]]:
        """Return the boxes of an assembly but for what is in its memory already."""
        boxes = stages(value)
        if value not in self.taken:
            return boxes
        first = value.first
        kept = [[box for box in stage if box.onto or [term.value for term in box.terms] != [first]] for stage in boxes]
        return [stage for stage in kept if stage]

    def _ready(self, term: Term, shape: tuple[int, ...]) -> int:
        """Return the first level at which a nest over a shape can read a term."""
        if term.view is None:
            return self._level(term.value, shape)
        return self.far[term.value] if isinstance(term.value, Value) else 0

    def _level(self, value: Any, shape: tuple[int, ...]) -> int:
        """Return the first level at which a nest over a shape has the elements of a value at hand."""
        if not isinstance(value, Value):
            return 0
        return (self.near if value.shape == shape else self.far)[value]

    def _after_readers(self, value: Value) -> int:
        """Return the level after all nests so far that read a value from memory."""
        levels = [level for (level, _), items in self.items.items() if any(value in self._read_by(i) for i in items)]
        return max(levels, default=-1) + 1

    def _read_by(self, item: _Item) -> set[Value]:
        """Return the arguments and stored values that an item reads."""
        read: set[Value] = set()
        stack: list[Any] = list(item.value.operands if item.box is None else item.box.operands)
        seen: set[Value] = set()
        while stack:
            value = stack.pop()
            if not isinstance(value, Value) or value in seen:
                continue
            seen.add(value)
            if isinstance(value, Argument) or value in self.stored:
                read.add(value)
            else:
                stack += value.operands
        return read

    def _is_joined(self, value: Value, reader: Value) -> bool:
        """Return whether a reader is put together of a value and others, each stored where it is computed."""
        if not isinstance(reader, Assembly) or not reader.is_disjoint:
            return False
        return all(box.shape == value.shape for box in boxes_of(reader, value))

    def _enter(self, level: int, shape: tuple[int, ...], item: _Item) -> None:
        self.items.setdefault((level, shape), []).append(item)

    def _note_computed(self, item: _Item, key: Any, computed: dict[Value, set[Any]]) -> None:
        """Note in which nests values are computed."""
        value = item.value
        start: list[Any] = [value]
        if isinstance(value, Assembly):
            start = list(item.box.operands) if item.box is not None else []
        elif isinstance(value, (Fold, Running)):
            start = list(value.operands)
        elif value in self.stored:
            start = list(value.operands)
            computed.setdefault(value, set()).add(key)
        seen: set[Value] = set()
        while start:
            operand = start.pop()
            if not isinstance(operand, Value) or operand in seen or operand in self.stored:
                continue
            seen.add(operand)
            if isinstance(operand, Each):
                computed.setdefault(operand, set()).add(key)
            start += operand.operands

    # -- The kernel --

    def kernel(self, name: str) -> Kernel:
        """Return the kernel."""
        outputs = []
        for value in self.taken.values():
            if isinstance(value, Argument):
                self.buffers[value] = value.view
        for k, value in enumerate(self.results):
            buffer = Buffer(f"y{k}", value.size, "result", value.dtype)
            outputs.append(buffer)
            if value in self.buffers or isinstance(value, Argument):
                self.copies.append((value, buffer))
            else:
                self.buffers[value] = View(buffer, 0, row_major(value.shape), value.shape)
        statements: list[Statement] = []
        work: list[Buffer] = []
        for value in self.needed:
            if value in self.stored and value not in self.buffers:
                role = "temporary" if value.size <= ON_STACK and value not in self.guards else "work"
                buffer = Buffer(f"t{len(self.temporaries) + len(work)}", value.size, role, value.dtype)
                (self.temporaries if role == "temporary" else work).append(buffer)
                self.buffers[value] = View(buffer, 0, row_major(value.shape), value.shape)
        for (_, shape), items in sorted(self.items.items(), key=lambda pair: pair[0][0]):
            for group in _by_folded_axes(items):
                statements += _Nest(self, shape).statements(group)
        for value, buffer in self.copies:
            nest = _Nest(self, value.shape)
            nest.store_value(value, View(buffer, 0, row_major(value.shape), value.shape))
            statements += nest.built(())
        statements.append(Return(0))
        memory = self._shared_memory(statements)
        in_place = (
            {
                k: self.op.arguments.index(self.buffers[first].buffer)
                for k, value in enumerate(self.results)
                if isinstance(first := self._chain(value)[-1], Argument) and self.buffers[value].buffer is outputs[k]
            }
            if self.taken
            else {}
        )
        return Kernel(
            name,
            (
                *[memory.get(b, b) for b in self.op.arguments],
                *[b for k, b in enumerate(outputs) if k not in in_place],
                *[b for b in work if b not in memory],
            ),
            Buffer("y", 0, "result"),
            with_buffers(statements, memory),
            tuple([b for b in self.temporaries if b not in memory]),
            in_place,
        )

    def _chain(self, value: Value) -> list[Value]:
        """Return a value, the one whose memory it takes, the one whose memory that takes, and so on."""
        chain = [value]
        while chain[-1] in self.taken:
            chain.append(self.taken[chain[-1]])
        return chain

    def _shared_memory(self, statements: Sequence[Statement]) -> dict[Buffer, Buffer]:
        """Return for buffers the one whose memory they share; raise `_OverwrittenError` if one is read too late."""
        accesses = list(_accesses(statements))
        memory: dict[Buffer, Buffer] = {}
        for value in self.taken:
            chain = self._chain(value)
            buffers = [self.buffers[v].buffer for v in chain]
            if _is_read_too_late(accesses, set(buffers[1:]), buffers[0]):
                raise _OverwrittenError(value)
            root = buffers[-1]
            results = [b for b in buffers if b.role == "result"]
            shared = root._replace(role="result") if isinstance(chain[-1], Argument) else (*results, root)[0]
            memory.update({b: shared for b in buffers if b != shared})
        return memory

    def register(self, dtype: str = "d") -> Register:
        """Return a new register."""
        self.count += 1
        return Register(self.count, dtype)

    def lanes(self, name: str, size: int, dtype: str) -> Buffer:
        """Return memory for partial results."""
        buffer = Buffer(f"{name}{len(self.temporaries)}", size, "temporary", dtype)
        self.temporaries.append(buffer)
        return buffer


class _Access(NamedTuple):
    """A load or a store: of which nest, and which elements of a buffer."""

    nest: int
    is_store: bool
    element: Element
    counts: tuple[Any, ...]

    @property
    def is_of_one_step(self) -> bool:
        """Whether no two steps of the nest access one element."""
        strides = itertools.zip_longest(self.element.strides, self.counts, fillvalue=0)
        return not self.element.computed and all(stride or count == 1 for stride, count in strides)

    def meets(self, other: _Access) -> bool:
        """Return whether two accesses to arrays that lie in one memory may have an element in common."""
        if any(a.element.computed or any(isinstance(n, Register) for n in a.counts) for a in (self, other)):
            return True
        size = max(self.element.buffer.size, other.element.buffer.size)
        memory = np.empty(size, np.int8)
        one, two = (
            np.lib.stride_tricks.as_strided(memory[a.element.offset :], a.counts[: len(s)], s)
            for a, s in ((self, self.element.strides), (other, other.element.strides))
        )
        try:
            return bool(np.shares_memory(one, two, max_work=100_000))  # type: ignore[arg-type]  # of NumPy's stubs
        except np.exceptions.TooHardError:
            return True


def _accesses(
    statements: Iterable[Statement], counts: tuple[Any, ...] = (), nest: int | None = None
) -> Iterable[_Access]:
    """Yield the loads and stores in the order in which they stand; those of one straight body have the same `nest`."""
    for statement in statements:
        if isinstance(statement, (Load, Store)):
            body = id(statement) if nest is None else nest
            yield _Access(body, isinstance(statement, Store), statement.element, counts)
        elif isinstance(statement, Nest):
            yield from _accesses(statement.body, (*counts, *statement.counts), id(statement))


def _is_read_too_late(accesses: Sequence[_Access], old: set[Buffer], new: Buffer) -> bool:
    """Return whether an element of old values may be read when a new one has been written in its place.

    In one step of a nest a value may be read where it is written next.
    """
    stores = [(k, a) for k, a in enumerate(accesses) if a.is_store and a.element.buffer == new]
    for k, load in enumerate(accesses):
        if load.is_store or load.element.buffer not in old:
            continue
        for j, store in stores:
            if j < k or store.nest == load.nest:
                same = load.element[1:] == store.element[1:] and store.is_of_one_step
                if not (same and j > k and store.nest == load.nest) and load.meets(store):
                    return True
    return False


def _spreads(reader: Value, value: Value, readers: Mapping[Value, Sequence[Value]]) -> bool:
    """Return whether a reader of a value, or of a view of it, has more elements that are computed of it."""
    if not isinstance(reader, Assembly):
        others = readers.get(reader, ()) if isinstance(reader, Move) else ()
        return reader.size > value.size or any(_spreads(other, value, readers) for other in others)
    return any(math.prod(box.shape) > value.size for box in boxes_of(reader, value))


def _takes_in_order(reader: Value, value: Value) -> bool:
    """Return whether a reader takes the elements of a value one by one: no vectors compute them there."""
    if isinstance(reader, Running):
        return True
    return isinstance(reader, Assembly) and any(p.positions and p.value is value for p in reader.parts)


def _source_of(value: Value) -> Value:
    """Return the value that a gather reads from memory, through views."""
    source = value.operands[0]
    while isinstance(source, Move):
        (source,) = source.operands
    return source  # type: ignore[no-any-return]


def _by_folded_axes(items: Sequence[_Item]) -> Iterable[list[_Item]]:
    """Split the items of a nest by the axes that are folded; stores go with the first.

    What is written at positions, and what runs along an axis, has a nest of its own.
    """
    alone = [i for i in items if isinstance(i.value, Running) or (i.box is not None and i.box.positions is not None)]
    items = [item for item in items if item not in alone]
    if not items:
        return [[item] for item in alone]
    groups: dict[Any, list[_Item]] = {}
    stores = [item for item in items if not isinstance(item.value, Fold)]
    for item in items:
        if isinstance(item.value, Fold):
            groups.setdefault(item.value.axes, []).append(item)
    parts = list(groups.values()) or [[]]
    return [stores + parts[0], *parts[1:], *[[item] for item in alone]]


class _Folding(NamedTuple):
    """A fold in a nest: the operand in a register, and where the result goes."""

    name: str
    operand: Operand
    result: Element
    axes: frozenset[int]
    dtype: str


class _Nest:
    """The nest over one shape that computes some values."""

    def __init__(self, lowering: _Lowering, shape: tuple[int, ...]) -> None:
        self.lowering, self.shape = lowering, shape
        self.body: list[Statement] = []
        self.writes_at_positions = False
        self.folds: list[_Folding] = []
        self.operands: dict[Any, Operand] = {}
        self.loads: dict[Element, Register] = {}

    def statements(self, items: Sequence[_Item]) -> list[Statement]:
        """Return the statements for some items."""
        buffers = self.lowering.buffers
        for item in items:
            value = item.value
            view = buffers[value]
            if isinstance(value, Running):
                return self.running(value, Element(view.buffer, view.offset, view.strides))
            if isinstance(value, Fold):
                operand = self.operand(value.operands[0], ())
                strides = tuple([0 if k in value.axes else s for k, s in enumerate(view.strides)])
                result = Element(view.buffer, view.offset, strides)
                self.folds.append(_Folding(value.name, operand, result, value.axes, value.dtype))
            elif item.box is not None:
                target = item.box.target
                place = view if target is None else self.viewed(view, ((value, target),))
                element = Element(place.buffer, place.offset, place.strides)
                if item.box.positions is not None:
                    self.writes_at_positions = True
                    element = self.at_positions(place, item.box.positions, item.box.tables, ())
                self.store(item.box.terms, element, item.box.onto)
            else:
                self.store_value(value, view)
        axes = self.folds[0].axes if self.folds else frozenset()
        return self.built(axes)

    def store(self, terms: Sequence[Term], element: Element, adds: bool) -> None:
        """Write a sum of values to memory, or add it to what is there."""
        operands: list[Operand] = []
        if adds:
            before = self.lowering.register(element.buffer.dtype)
            self.body.append(Load(before, element))
            operands.append(before)
        operands += [self.seen(term) for term in terms]
        operand = functools.reduce(functools.partial(self.compute, "add", element.buffer.dtype), operands)
        self.body.append(Store(element, operand))

    def store_value(self, value: Value, view: View) -> None:
        """Write a value to memory."""
        operand = self.computed(value, ()) if self._is_here(value, view) else self.seen(Term(value))
        self.body.append(Store(Element(view.buffer, view.offset, view.strides), operand))
        if value.shape == self.shape:
            self.operands[id(value), 0, row_major(self.shape)] = operand

    def seen(self, term: Term) -> Operand:
        """Return an element of a term."""
        value = term.value
        if not isinstance(value, Value):
            return value  # type: ignore[no-any-return]
        if term.view is not None:
            return self.operand(value, ((value, term.view),))
        if value.shape != self.shape:
            return self.operand(value, ((value, broadcast_to(self.shape)),))
        return self.operand(value, ())

    def _is_here(self, value: Value, view: View) -> bool:
        """Return whether a value is the one that is stored in this place."""
        return self.lowering.buffers.get(value) == view and not isinstance(value, Assembly)

    # -- Values in registers --

    def operand(self, value: Any, steps: Steps) -> Operand:
        """Return an element of a value, seen in the nest through views."""
        if not isinstance(value, Value):
            return value  # type: ignore[no-any-return]
        offset, strides = self.place(value, steps)
        key = id(value), offset, strides
        if key not in self.operands:
            view = value.view if isinstance(value, Argument) else self.lowering.buffers.get(value)
            if view is not None:
                self.operands[key] = self.load_of(self.viewed(view, steps))
            else:
                self.operands[key] = self.computed(value, steps)
        return self.operands[key]

    def computed(self, value: Value, steps: Steps) -> Operand:
        """Compute an element of a value from its operands."""
        if isinstance(value, Move):
            operand = value.operands[0]
            return self.operand(operand, ((operand, value.function), *steps))
        if isinstance(value, Gather):
            source = self.in_memory(value.operands[0])
            return self.load(self.at_positions(source, value.positions, value.tables, steps))
        if not isinstance(value, Each):
            raise NoLoweringError(f"{value} in a nest")
        operands = []
        for operand in value.operands:
            inner = steps
            if isinstance(operand, Value) and operand.shape != value.shape:
                inner = ((operand, broadcast_to(value.shape)), *steps)
            operands.append(self.operand(operand, inner))
        return self.compute(value.name, value.dtype, *operands)

    def compute(self, name: str, dtype: str, *operands: Operand) -> Operand:
        """Apply an operation of scalars whose result has a kind."""
        register = self.lowering.register(dtype)
        self.body.append(Compute(register, name, operands))
        return register

    def place(self, value: Value, steps: Steps) -> tuple[int, tuple[int, ...]]:
        """Return which elements of a value in row-major order the nest runs along."""
        view = self.viewed(View(_NOWHERE, 0, row_major(value.shape), value.shape), steps)
        return view.offset, view.strides

    def viewed(self, view: View, steps: Steps) -> View:
        """Return a view of a view; raise `_NotViewedError` if a copy would be needed."""
        for value, function in steps:
            try:
                offset, strides, shape = view_of(view.shape, view.strides, function)
            except CopyError:
                raise _NotViewedError(value) from None
            view = View(view.buffer, view.offset + offset, strides, shape)
        return view

    def in_memory(self, value: Value) -> View:
        """Return where a value is in memory; raise `_NotViewedError` if it is not."""
        view = value.view if isinstance(value, Argument) else self.lowering.buffers.get(value)
        if view is not None:
            return view
        if not isinstance(value, Move):
            raise _NotViewedError(value)
        operand = value.operands[0]
        return self.viewed(self.in_memory(operand), ((operand, value.function),))

    def at_positions(self, view: View, positions: Positions, tables: Sequence[Value], steps: Steps) -> Element:
        """Return the element of a view of memory at positions, seen in the nest through views."""
        along = self.viewed(
            View(view.buffer, view.offset, positions.along_others(view.strides), positions.shape), steps
        )
        computed: list[tuple[Register, int]] = []
        for axis, table in zip(positions.axes, tables, strict=True):
            if view.strides[axis]:
                place = self.operand(table, ((table, positions.along_tables), *steps))
                assert isinstance(place, Register)
                computed.append((place, view.strides[axis]))
        return Element(along.buffer, along.offset, along.strides, tuple(computed))

    def load_of(self, view: View) -> Register:
        """Read an element of a view."""
        return self.load(Element(view.buffer, view.offset, view.strides))

    def load(self, element: Element) -> Register:
        """Read an element."""
        if element not in self.loads:
            register = self.loads[element] = self.lowering.register(element.buffer.dtype)
            self.body.append(Load(register, element))
        return self.loads[element]

    # -- Loops --

    def built(self, axes: Iterable[int]) -> list[Statement]:
        """Return the loops."""
        body, folds = self.body, self.folds
        elements = [s.element for s in body if isinstance(s, (Load, Store))] + [fold.result for fold in folds]
        kept = [k for k, n in enumerate(self.shape) if n > 1]
        groups: list[list[int]] = []
        folded = frozenset(axes)
        for k in kept:
            if groups and (groups[-1][-1] in folded) == (k in folded):
                j, n = groups[-1][-1], self.shape[k]
                if all(e.strides[j] == e.strides[k] * n for e in elements):
                    groups[-1].append(k)
                    continue
            groups.append([k])
        counts = tuple([math.prod([self.shape[k] for k in group]) for group in groups])
        last = [group[-1] for group in groups]
        if len(counts) > MOST_AXES:
            raise NoLoweringError(f"more than {MOST_AXES} axes")

        def along(element: Element) -> Element:
            return element._replace(strides=tuple([element.strides[k] for k in last]))

        body = [_with_elements(statement, along) for statement in body]
        self.folds = [fold._replace(result=along(fold.result)) for fold in folds]
        is_folded = tuple([k in folded for k in last])
        if not self.folds:
            return _looped(counts, body, 0, not self.writes_at_positions)
        trailing = len(counts)
        while trailing and is_folded[trailing - 1]:
            trailing -= 1
        if trailing == len(counts) or True in is_folded[:trailing]:
            return self.folded_in_memory(counts, is_folded, body)
        return self.folded_in_lanes(counts, trailing, body)

    def running(self, value: Running, result: Element) -> list[Statement]:
        """Return the loops that combine elements along an axis, where each step reads what the one before it wrote.

        A result goes from step to step in a register if the axis is the innermost, or else from row to row in memory.
        """
        operand = self.operand(value.operands[0], ())
        fold = _Folding(value.name, operand, result, frozenset({value.axis}), value.dtype)
        n = self.shape[value.axis]
        before = [k for k in range(value.axis) if self.shape[k] > 1]
        behind = [k for k in range(value.axis + 1, len(self.shape)) if self.shape[k] > 1]
        if len(before) + len(behind) >= MOST_AXES:
            raise NoLoweringError(f"more than {MOST_AXES} axes")

        def along(statements: Iterable[Statement], axes: Sequence[int], step: int = 0) -> list[Statement]:
            def change(element: Element) -> Element:
                offset = element.offset + step * element.strides[value.axis]
                return element._replace(offset=offset, strides=tuple([element.strides[k] for k in axes]))

            return [_with_elements(statement, change) for statement in statements]

        counts = tuple([self.shape[k] for k in before])
        if not behind:
            register, after = self.lowering.register(fold.dtype), self.lowering.register(fold.dtype)
            combining, then = self.combined(fold, register, operand)
            body = along([*self.body, *combining, Store(result, then)], [*before, value.axis])
            first = -0.0 if fold.name == "add" and fold.dtype in FLOATING else self.identity(fold)
            loop = Nest((n,), tuple(body), (Carry(register, first, then, after),), depth=len(before))
            return _looped(counts, [loop], 0, False)
        inner = tuple([self.shape[k] for k in behind])
        begun = along([*self.body, Store(result, operand)], [*before, *behind])
        statements = _looped((*counts, *inner), begun, 0, False)
        if n == 1:
            return statements
        previous = self.lowering.register(fold.dtype)
        combining, then = self.combined(fold, previous, operand)
        load = Load(previous, result._replace(offset=result.offset - result.strides[value.axis]))
        body = _renamed([*self.body, load, *combining, Store(result, then)], self.lowering.register)
        body = along(body, [*before, value.axis, *behind], 1)
        rows = _looped(inner, body, len(before) + 1, False)
        return [*statements, *_looped((*counts, n - 1), rows, 0, False)]

    def identity(self, fold: _Folding) -> Operand:
        """Return what changes nothing in a fold."""
        if fold.name in ("maximum", "minimum"):
            return extremes(fold.dtype)[fold.name == "minimum"]
        return in_kind(_IDENTITIES[fold.name], fold.dtype)

    def combined(self, fold: _Folding, one: Operand, other: Operand) -> tuple[list[Statement], Operand]:
        """Return the statements that combine two elements."""
        before, self.body = self.body, []
        rule: Any = _COMBINING.get(fold.name) or PRIMITIVES[fold.name].native

        def apply(name: str, *operands: Operand) -> Operand:
            is_bool = name != "select" and operation_of(name).is_bool
            return self.compute(name, TRUTH if is_bool else fold.dtype, *operands)

        result = rule(apply, one, other) if callable(rule) else apply(rule, one, other)
        statements, self.body = self.body, before
        return statements, result

    def folded_in_memory(
        self, counts: tuple[int, ...], is_folded: tuple[bool, ...], body: Sequence[Statement]
    ) -> list[Statement]:
        """Return loops that fold into the results element by element; along what is not folded they are parallel."""
        statements: list[Statement] = []
        body = list(body)
        for fold in self.folds:
            fill = [Store(_only(fold.result, is_folded), self.identity(fold))]
            statements += _looped(tuple([n for n, f in zip(counts, is_folded, strict=True) if not f]), fill, 0, True)
            before = self.lowering.register(fold.dtype)
            combining, result = self.combined(fold, before, fold.operand)
            body += [Load(before, fold.result), *combining, Store(fold.result, result)]
        if counts and not is_folded[-1]:
            inner = _looped(counts[-1:], body, len(counts) - 1, True)
            return statements + _looped(counts[:-1], inner, 0, False)
        return statements + _looped(counts, body, 0, False)

    def folded_in_lanes(self, counts: tuple[int, ...], trailing: int, body: Sequence[Statement]) -> list[Statement]:
        """Return loops over what is not folded, in which the rest is folded in partial results side by side."""
        kept, outer, n = counts[:trailing], counts[trailing:-1], counts[-1]
        width = LANES if n >= SHORTEST else 1
        depth = trailing
        if width == 1 and not outer:
            return _looped(kept, self.one_after_the_other(n, depth, body), 0, False)
        is_split = bool(outer) or n > width * MOST_ROWS
        states = [
            _State(self, fold, width, is_split and fold.name == "add" and fold.dtype in FLOATING, depth)
            for fold in self.folds
        ]
        statements = _side_by_side([state.begun() for state in states])
        inner_depth = depth + len(outer)
        statements += _looped(outer, self.rows(states, n, width, inner_depth, body, is_split), depth, False)
        statements += _side_by_side([state.narrowed() for state in states])
        statements += [s for state in states for s in state.ended()]
        return _looped(kept, statements, 0, False)

    def rows(
        self, states: Sequence[_State], n: int, width: int, depth: int, body: Sequence[Statement], is_split: bool
    ) -> list[Statement]:
        """Return the loops along the innermost axis, some of which may take no step: other lengths have the same."""
        statements: list[Statement] = []
        if width == 1:
            return self.one_by_one(states, n, depth, body)
        rows, rest = divmod(n, width)
        length = _block_of(rows)
        blocks, rows = divmod(rows, length) if is_split else (0, rows)
        if blocks:
            block = _side_by_side([state.block_begun(depth + 1) for state in states])
            block += self.lane_loops(states, body, depth, (blocks, length, width), 0, depth + 1)
            block += _side_by_side([state.block_ended(depth + 1) for state in states])
            statements += _looped((blocks,), block, depth, False)
        if rows or rest:
            statements += _side_by_side([state.block_begun(depth) for state in states])
            start = blocks * length * width
            statements += self.lane_loops(states, body, depth, (rows, width), start, depth)
            statements += self.lane_loops(states, body, depth, (rest,), start + rows * width, depth)
            statements += _side_by_side([state.block_ended(depth) for state in states])
        return statements

    def lane_loops(
        self,
        states: Sequence[_State],
        body: Sequence[Statement],
        depth: int,
        counts: tuple[int, ...],
        start: int,
        at: int,
    ) -> list[Statement]:
        """Return loops over rows of lanes, the innermost parallel; the loops before `at` are around them."""
        steps = tuple([math.prod(counts[k + 1 :]) for k in range(len(counts))])

        def split(element: Element) -> Element:
            stride = element.strides[depth] if depth < len(element.strides) else 0
            strides = (*element.strides[:depth], *[stride * step for step in steps])
            return element._replace(offset=element.offset + stride * start, strides=strides)

        lanes = (0,) * (depth + len(counts) - 1) + (1,)
        statements = [_with_elements(statement, split) for statement in body]
        for state in states:
            statements += state.accumulated(state.fold.operand, lanes)
        statements = _renamed(statements, self.lowering.register)
        around = at - depth
        inner = _looped(counts[-1:], statements, depth + len(counts) - 1, True)
        return _looped(counts[around:-1], inner, at, False)

    def one_by_one(self, states: Sequence[_State], n: int, depth: int, body: Sequence[Statement]) -> list[Statement]:
        """Return a loop along a short innermost axis, whose results go to the totals."""
        loop, ends = self.carrying(n, depth, body)
        added = [s for state, end in zip(states, ends, strict=True) for s in state.added(end, (0,) * depth)]
        return [loop, *added]

    def one_after_the_other(self, n: int, depth: int, body: Sequence[Statement]) -> list[Statement]:
        """Return a loop along a short axis, the only one that is folded, whose results are stored."""
        loop, ends = self.carrying(n, depth, body)
        places = [fold.result._replace(strides=fold.result.strides[:depth]) for fold in self.folds]
        return [loop, *map(Store, places, ends)]

    def carrying(self, n: int, depth: int, body: Sequence[Statement]) -> tuple[Nest, list[Operand]]:
        """Return a loop that carries the results of all folds from step to step, and these in the end."""
        carries, inner = [], list(body)
        for fold in self.folds:
            register, end = self.lowering.register(fold.dtype), self.lowering.register(fold.dtype)
            combining, then = self.combined(fold, register, fold.operand)
            inner += combining
            carries.append(Carry(register, self.identity(fold), then, end))
        return Nest((n,), tuple(inner), tuple(carries), depth=depth), [carry.after for carry in carries]


class _State:
    """The partial results of a fold: in lanes, and, where it is `split`, totals with their rounding errors.

    A sum that is not split, or any other fold, has its partial results in `sums` alone.
    """

    def __init__(self, nest: _Nest, fold: _Folding, width: int, is_split: bool, depth: int) -> None:
        self.nest, self.fold, self.width, self.is_split, self.depth = nest, fold, width, is_split, depth
        lowering = nest.lowering
        self.sums = lowering.lanes("total", width, fold.dtype)
        if is_split:
            self.block = lowering.lanes("part", width, fold.dtype) if width > 1 else None
            self.errors = lowering.lanes("error", width, fold.dtype)

    def filled(self, buffer: Buffer, depth: int) -> list[Statement]:
        """Return the filling of partial results with what changes nothing."""
        store = Store(Element(buffer, 0, (0,) * depth + (1,)), self.nest.identity(self.fold))
        return _looped((self.width,), [store], depth, True) if self.width > 1 else [_shortened(store, depth)]

    def begun(self) -> list[Statement]:
        """Return what comes before all loops along folded axes."""
        statements = self.filled(self.sums, self.depth)
        return statements + self.filled(self.errors, self.depth) if self.is_split else statements

    def block_begun(self, depth: int) -> list[Statement]:
        """Return what comes before a block of rows."""
        return self.filled(self.block, depth) if self.is_split and self.block is not None else []

    def accumulated(self, operand: Operand, strides: tuple[int, ...]) -> list[Statement]:
        """Return how an element goes into its lane."""
        buffer = self.block if self.is_split and self.block is not None else self.sums
        before = self.nest.lowering.register(self.fold.dtype)
        combining, result = self.nest.combined(self.fold, before, operand)
        element = Element(buffer, 0, strides)
        return [Load(before, element), *combining, Store(element, result)]

    def block_ended(self, depth: int) -> list[Statement]:
        """Return how the sums of a block are added to the totals."""
        if not self.is_split or self.block is None:
            return []
        value = self.nest.lowering.register(self.fold.dtype)
        strides = (0,) * depth + (1,)
        body = [Load(value, Element(self.block, 0, strides)), *self.added(value, strides)]
        return _looped((self.width,), body, depth, True)

    def added(self, value: Operand, strides: tuple[int, ...]) -> list[Statement]:
        """Return how a partial result goes into the total; of a sum, with the error of rounding kept."""
        new, dtype = self.nest.lowering.register, self.fold.dtype
        total = new(dtype)
        load, place = Load(total, Element(self.sums, 0, strides)), Element(self.sums, 0, strides)
        if not self.is_split:
            combining, result = self.nest.combined(self.fold, total, value)
            return [load, *combining, Store(place, result)]
        sum_, virtual, rest, lost, rounded, error, before, after = [new(dtype) for _ in range(8)]
        errors = Element(self.errors, 0, strides)
        return [
            load,
            Compute(sum_, "add", (total, value)),
            Compute(virtual, "subtract", (sum_, total)),
            Compute(rest, "subtract", (sum_, virtual)),
            Compute(lost, "subtract", (total, rest)),
            Compute(rounded, "subtract", (value, virtual)),
            Compute(error, "add", (lost, rounded)),
            Store(place, sum_),
            Load(before, errors),
            Compute(after, "add", (before, error)),
            Store(errors, after),
        ]

    def narrowed(self) -> list[Statement]:
        """Return how the lanes become a few, with the errors added."""
        if self.width == 1:
            return []
        count, strides = self.width // FEW, (0,) * self.depth + (1,)
        body: list[Statement] = []
        parts = [self.total(body, FEW * k, strides) for k in range(count)]
        result = self.folded(body, parts)
        return _looped((FEW,), [*body, Store(Element(self.sums, 0, strides), result)], self.depth, True)

    def ended(self) -> list[Statement]:
        """Return how the partial results become one, which is stored as the result."""
        statements: list[Statement] = []
        zeros = (0,) * self.depth
        if self.width == 1:
            result = self.total(statements, 0, zeros)
        else:
            parts: list[Operand] = []
            for k in range(FEW):
                parts.append(self.nest.lowering.register(self.fold.dtype))
                statements.append(Load(parts[-1], Element(self.sums, k, zeros)))  # type: ignore[arg-type]
            result = self.folded(statements, parts)
        place = self.fold.result._replace(strides=self.fold.result.strides[: self.depth])
        return [*statements, Store(place, result)]

    def total(self, body: list[Statement], offset: int, strides: tuple[int, ...]) -> Operand:
        """Write the reading of a total, with its error if it has one."""
        new, dtype = self.nest.lowering.register, self.fold.dtype
        total = new(dtype)
        body.append(Load(total, Element(self.sums, offset, strides)))
        if not self.is_split:
            return total
        error, result = new(dtype), new(dtype)
        body.append(Load(error, Element(self.errors, offset, strides)))
        body.append(Compute(result, "add", (total, error)))
        return result

    def folded(self, body: list[Statement], parts: Sequence[Operand]) -> Operand:
        """Write the fold of some registers, in pairs."""
        while len(parts) > 1:
            pairs = []
            for one, other in zip(parts[::2], parts[1::2], strict=True):
                combining, result = self.nest.combined(self.fold, one, other)
                body += combining
                pairs.append(result)
            parts = pairs
        return parts[0]


_NOWHERE = Buffer("", 0, "")
_IDENTITIES: Mapping[str, float] = {
    "add": 0.0,
    "multiply": 1.0,
    "and": True,
    "or": False,
}
"""Folds, and what changes nothing in each; in others it is the smallest or largest number of a kind."""
_COMBINING: Mapping[str, str] = {name: name for name in ("add", "multiply", "and", "or")}


@functools.cache
def _cost_of(name: str) -> float:
    """Return what an operation costs, in additions."""
    if name in ("divide", "sqrt"):
        return 4.0
    return 20.0 if name not in ("select", "convert") and is_call(operation_of(name).text) else 1.0


def _looped(counts: tuple[int, ...], body: Sequence[Statement], depth: int, parallel: bool) -> list[Statement]:
    """Return loops around statements."""
    return [Nest(counts, tuple(body), parallel=parallel, depth=depth)] if counts else list(body)


def _side_by_side(lists: Sequence[Sequence[Statement]]) -> list[Statement]:
    """Return lists of statements one after the other, those of parallel nests over one range in one nest."""
    result: list[Statement] = []
    for statement in itertools.chain.from_iterable(lists):
        last = result[-1] if result else None
        if isinstance(statement, Nest) and isinstance(last, Nest) and last.counts == statement.counts and last.parallel:
            result[-1] = replace(last, body=(*last.body, *statement.body))
        else:
            result.append(statement)
    return result


def _block_of(rows: int) -> int:
    """Return how many rows are a block: so many that nothing is left over, if that can be.

    >>> _block_of(3125), _block_of(31), _block_of(64)
    (5, 16, 16)
    """
    divisors = [k for k in range(MOST_ROWS, 4, -1) if rows % k == 0]
    return divisors[0] if divisors else ROWS


def _only(element: Element, is_folded: Sequence[bool]) -> Element:
    """Return an element with the strides along axes that are not folded."""
    return element._replace(strides=tuple([s for s, f in zip(element.strides, is_folded, strict=True) if not f]))


def _shortened(statement: Statement, depth: int) -> Statement:
    """Return a statement in fewer loops."""
    return _with_elements(statement, lambda element: element._replace(strides=element.strides[:depth]))


def _with_elements(statement: Statement, change: Callable[[Element], Element]) -> Statement:
    """Return a statement with its element changed."""
    if isinstance(statement, Load):
        return Load(statement.register, change(statement.element))
    return Store(change(statement.element), statement.value) if isinstance(statement, Store) else statement


def _renamed(statements: Sequence[Statement], new: Callable[[str], Register]) -> list[Statement]:
    """Return statements that define other registers."""
    names: dict[Operand, Register] = {}

    def renamed(operand: Operand) -> Operand:
        return names.get(operand, operand) if isinstance(operand, Register) else operand

    def moved(element: Element) -> Element:
        places = tuple([(names.get(register, register), step) for register, step in element.computed])
        return element._replace(computed=places)

    result: list[Statement] = []
    for s in statements:
        assert not inner_block(s), "the body of a nest is straight"
        if isinstance(s, Compute):
            operands = tuple(map(renamed, s.operands))
            names[s.register] = new(s.register.dtype)
            result.append(Compute(names[s.register], s.operation, operands))
        elif isinstance(s, Load):
            element = moved(s.element)
            names[s.register] = new(s.register.dtype)
            result.append(Load(names[s.register], element))
        elif isinstance(s, Store):
            result.append(Store(moved(s.element), renamed(s.value)))
    return result
