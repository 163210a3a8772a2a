"""Places: the parts of arrays that a step of a loop reads and writes in memory, where it computes them.

An index that is computed is a register; a step stops where it is out of bounds.  A part that is assigned or added goes
into the memory of the array if nothing reads the old one later, and into that of a copy otherwise.  Whole numbers are
computed in double precision; a step stops where they are not exact.

>>> memory = Memory(None, "step", False)
>>> block = StepBlock(memory)
>>> x, i = (memory.elements(Buffer(name, size, "argument"), (size,)) for name, size in (("x", 3), ("i", 1)))
>>> element = block.part(x, (Operand(0),), [i])
>>> print(element, *block.statements[-2:], sep="; ")
x[n8]; unless b7:; n8 = convert r4
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from wengert.compilation.native.assemblies import Region, intersection, region_of
from wengert.compilation.native.expressions import view_of
from wengert.compilation.native.loops import (
    Buffer,
    Compute,
    Element,
    Load,
    Nest,
    Register,
    Statement,
    Stop,
    Store,
    Unless,
    row_major,
)
from wengert.compilation.native.lowering import UNROLLED, Block, Cells, Memory, NoLoweringError
from wengert.program import Atom, Line, Var
from wengert.program.code import Call, Check, Code
from wengert.program.lines import Operand

DECIDED, TESTED = 1, 2
"""Why a loop ends early: a step decides otherwise than its Program; its test fails."""
_EXACT = frozenset({"add", "subtract", "multiply", "negative"})
"""Operations on whole numbers that are computed in double precision, as long as they are below `EXACT`."""
EXACT = float(1 << 53)
SMALLEST = 1 << 10
"""The number of elements of an inner region from which borders by themselves pay."""
MOST_ELEMENTS = 1 << 16
"""The largest number of elements of an array that a step reads or adds to, and of all its temporaries."""


class Parts(Protocol):
    """Where the pieces of a result are added: the index of each, with places for computed operands.

    A block of so many (`batch`) axes is in front of each piece and of the array of this `shape`.
    """

    @property
    def indices(self) -> Sequence[tuple[Any, ...] | None]:
        """The indices; None for the whole array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""

    @property
    def batch(self) -> int:
        """The number of axes in front."""


class Put(NamedTuple):
    """A value that is put into zeros at an index, with places for computed operands."""

    part: tuple[Any, ...]
    value: Cells
    operands: Sequence[Cells]


class ChangedTooEarlyError(Exception):
    """What is carried was changed in place, and then a step may stop: it has to be changed in a copy."""


class StepBlock(Block):
    """The lowering of the lines of a step.

    Attributes
    ----------
    carried
        The memory of what is carried: it may be changed in place.
    puts
        Arrays of zeros but for parts that are put into them, until something reads them.
    waiting
        Assignments to parts of arrays of which the old elements are still to be read: each is done when something reads
        the new array.
    """

    def __init__(self, memory: Memory, unrolled: int = UNROLLED) -> None:
        super().__init__(memory, {}, {}, unrolled)
        self.carried: set[Buffer] = set()
        self.puts: dict[Any, list[Put]] = {}
        self.waiting: dict[Any, Line] = {}
        self.is_changed = False
        """Whether what is carried has been changed in place."""

    # -- The lines --

    def lines(self, code: Code, may_change: bool) -> None:
        """Lower the lines and decisions of a Program, which may change what is carried in memory."""
        self.last, self.may_change = _last_reads(code), may_change
        for k, statement in enumerate(code.statements):
            if isinstance(statement, Call):
                self.assign_awaited(statement.line.inputs, k)
                self.line(statement.line)
            elif isinstance(statement, Check):
                self.assign_awaited([statement.guard.var], k)
                operand, value = self.decision(statement.guard)
                self.stop_unless(operand, value, DECIDED)
        self.assign_awaited(list(self.waiting), len(code.statements))

    def assign_awaited(self, atoms: Sequence[Atom], k: int) -> None:
        """Do the assignments that a statement, given by its number, waits for."""
        for atom in atoms:
            if isinstance(atom, Var) and atom in self.waiting:
                line = self.waiting.pop(atom)
                self.assign_awaited(line.inputs, k)
                self.now = k - 0.5  # what the statement itself reads is still to be read
                self.values[atom] = self.assigned(line)
        self.now = k

    def line(self, line: Line) -> None:
        """Lower one line."""
        if line.primitive.name != "add":
            for atom in line.inputs:
                if atom in self.puts:
                    self.put_into_zeros(atom)
        if line.primitive.name == "getitem" and len(line.inputs) > 1:
            self.values[line.outputs[0]] = self.gathered(line)
        elif line.primitive.name == "scatter":
            self.puts[line.outputs[0]] = [self.put(line)]
        elif line.primitive.name == "put" and line.outputs[0].size > self.unrolled and _are_slices(line):
            self.puts[line.outputs[0]] = self.put_all(line)
        elif line.primitive.name == "add" and not self.puts.keys().isdisjoint(line.inputs):
            self.added_puts(line)
        elif line.primitive.name == "setitem" and (len(line.inputs) > 2 or line.outputs[0].size > self.unrolled):
            array = self.of(line.inputs[1])
            if self.own_memory(array) is not None and self.changeable(array) is None:
                self.waiting[line.outputs[0]] = line
            else:
                self.values[line.outputs[0]] = self.assigned(line)
        elif not line.primitive.multiple and line.outputs[0].dtype == np.int64:
            self.values[line.outputs[0]] = self.whole(line)
        else:
            super().line(line)

    def stop_unless(self, operand: Any, value: bool, reason: int, raises: bool = False) -> None:
        """Stop before this step unless an operand is true, or is not.

        `raises` says that Python raises an error at such a step.  At any other it goes on from what was carried to the
        step, which must not have been changed.
        """
        if self.is_changed and not raises:
            raise ChangedTooEarlyError
        self.statements.append(Unless(operand, value, (Stop(reason),)))
        self.nest = None

    # -- Whole numbers, and places that they give --

    def whole(self, line: Line) -> Cells:
        """Compute whole numbers, as numbers of double precision: the loop stops where they are not exact."""
        facet = line.primitive.native
        if facet not in _EXACT:
            raise NoLoweringError(f"{line.primitive.name} of whole numbers")
        cells = self(facet, *[self.of(atom) for atom in line.inputs])
        for cell in cells.ravel().tolist():
            exact = self("less", self("absolute", np.asarray(cell)), EXACT)
            self.stop_unless(self.operand(int(exact)), True, DECIDED)
        return cells

    def place(self, cells: Cells, length: int) -> Register:
        """Return an index into so many elements as a register; the loop stops where it is out of bounds."""
        n = float(length)
        if cells.size != 1:
            raise NoLoweringError("an index of several places")
        cells = self.numbers(cells.reshape(()))
        cells = self("select", self("less", cells, 0.0), self("add", cells, n), cells)
        inside = self("and", self("greater_equal", cells, 0.0), self("less", cells, n))
        self.stop_unless(self.operand(int(inside)), True, DECIDED, raises=True)
        self.tree.count += 1
        register = Register(self.tree.count, "l")
        self.statements.append(Compute(register, "convert", (self.operand(int(cells)),)))
        return register

    def part(self, array: Cells, index: tuple[Any, ...], operands: Sequence[Cells]) -> Element:
        """Return the elements of a part of an array, at computed places, as one element of a nest over the part."""
        axes = [axis for axis, item in enumerate(index) if type(item) is Operand]
        if any(type(item) not in (Operand, int, slice) for item in index):
            raise NoLoweringError("a computed index beside others than whole numbers and slices")
        fixed = _at_first_places(index)
        if not array[fixed].size:
            raise NoLoweringError("an empty part of an array")
        element = self.in_memory(array)
        computed = [(self.place(operands[index[axis].k], array.shape[axis]), element.strides[axis]) for axis in axes]
        offset, strides, _ = view_of(array.shape, element.strides, lambda a: a[(*fixed, ...)])
        return Element(element.buffer, element.offset + offset, strides, tuple(computed))

    def gathered(self, line: Line) -> Cells:
        """Read a part of an array at computed places."""
        shape = line.outputs[0].shape
        array, *operands = [self.of(atom) for atom in line.inputs]
        element = self.part(array, line.params["index"], operands)
        register = self.tree.register()
        if not shape:
            self.statements.append(Load(register, element))
            self.nest = None
            return np.asarray(self.tree.cell(register))
        buffer, cells = self.tree.temporary(shape)
        store = Store(Element(buffer, 0, row_major(shape)), register)
        self.statements.append(Nest(shape, (Load(register, element), store), parallel=True))
        self.nest = None
        return cells

    def put(self, line: Line) -> Put:
        """Return what a line puts into zeros at computed places."""
        value, *operands = [self.of(atom) for atom in line.inputs]
        return Put((*[slice(None)] * line.params["batch"], *line.params["index"]), value, operands)

    def put_all(self, line: Line) -> list[Put]:
        """Return the parts that a line puts into zeros."""
        free = [slice(None)] * line.params.get("batch", 0)
        indices = [(*free, *index) for index in line.params["indices"]]
        return [Put(index, self.of(piece), ()) for index, piece in zip(indices, line.inputs, strict=True)]

    def put_into_zeros(self, var: Atom) -> None:
        """Compute an array of zeros that parts are put into."""
        assert isinstance(var, Var), "no constant"
        buffer, cells = self.tree.temporary(var.shape)
        zeros = Store(Element(buffer, 0, row_major(var.shape)), 0.0)
        self.statements.append(Nest(var.shape, (zeros,), parallel=True))
        self.nest = None
        self.values[var] = cells
        self.add_puts(cells, self.puts.pop(var))

    def added_puts(self, line: Line) -> None:
        """Add arrays of which one or both are zeros that parts are put into: the parts are added."""
        (a, b), (out,) = line.inputs, line.outputs
        if a in self.puts and b in self.puts and a.shape == b.shape:
            self.puts[out] = [*self.puts[a], *self.puts[b]]
            return
        if b not in self.puts:
            a, b = b, a
        if a in self.puts:
            self.put_into_zeros(a)
        array = self.of(a)
        if array.shape != out.shape or b.shape != out.shape:
            self.put_into_zeros(b)
            super().line(line)
            return
        self.values[out] = self.to_be_changed(array)
        self.add_puts(self.values[out], self.puts[b])

    def add_puts(self, array: Cells, puts: Sequence[Put]) -> None:
        """Add parts into an array in memory: at once where all of them meet, if that is most of it."""
        memory = self.in_memory(array).buffer
        puts = [put._replace(value=self.apart(put.value, memory)) for put in puts]  # before anything is changed
        regions = [self.region(array.shape, put) for put in puts]
        placed = [
            (region, np.broadcast_to(put.value, region.shape))
            for region, put in zip(regions, puts, strict=True)
            if region is not None
        ]
        inside = intersection([region for region, _ in placed]) if len(puts) == len(placed) > 1 else None
        if inside is None or inside.size < SMALLEST or 4 * inside.size < 3 * array.size:
            elements = [self.part(array, put.part, put.operands) for put in puts]
            for put, element in zip(puts, elements, strict=True):
                self.change(element, put.value, functools.partial(self.added, element=element))
            return
        self.add_in(array, inside, placed)
        for region, value in placed:
            for border in region.outside(inside):
                self.add_in(array, border, [(region, value)])

    def region(self, shape: tuple[int, ...], put: Put) -> Region | None:
        """Return the region of an array that a part is; None if there is none, or it is computed."""
        if any(type(item) is Operand for item in put.part):
            return None
        return region_of(shape, lambda array: array[(*put.part, ...)])

    def add_in(self, array: Cells, region: Region, values: Sequence[tuple[Region, Cells]]) -> None:
        """Add values, each with the region where it is put, as far as they are in a region of an array in memory."""
        element = self.in_memory(region.view(array))
        total = self.tree.register()
        body: list[Statement] = [Load(total, element)]
        for place, value in values:
            source = self.source(region.within(place).view(value))
            if isinstance(source, Element):
                register = self.tree.register()
                body.append(Load(register, source))
                source = register
            total, before = self.tree.register(), total
            body.append(Compute(total, "add", (before, source)))
        body.append(Store(element, total))
        self.statements.append(Nest(region.shape, tuple(body), parallel=True))
        self.nest = None

    def change(self, element: Element, value: Cells, body: Callable[[Any], list[Statement]]) -> None:
        """Change part of an array in memory, given by an element, as a body says of each element of a value."""
        value = self.apart(value, element.buffer)
        if self.nest is not None and any(read.buffer == element.buffer for read in self.nest.loads):
            self.nest = None  # a later step of the nest would read what an earlier one has written
        if value.shape:
            self.over(value, lambda one, _: body(one))
        else:
            self.statements.extend(body(self.operand(self.as_kind(int(value), False))))
        self.nest = None

    def assigned(self, line: Line) -> Cells:
        """Write a part of an array at computed places: in its memory, if nothing reads later what was there."""
        value, array, *operands = [self.of(atom) for atom in line.inputs]
        array, index = self.to_be_changed(array), line.params["index"]
        element = self.part(array, index, operands)
        self.change(
            element, np.broadcast_to(value, array[_at_first_places(index)].shape), lambda one: [Store(element, one)]
        )
        return array

    def to_be_changed(self, array: Cells) -> Cells:
        """Return new cells of an array: in its memory, if nothing reads it after this line; or else of a copy.

        What was loaded of the old cells stays as it was.
        """
        buffer = self.changeable(array)
        if buffer is not None:
            self.is_changed |= buffer in self.carried
            return self.tree.elements(buffer, array.shape)
        return self.copied(array)

    def own_memory(self, array: Cells) -> Buffer | None:
        """Return the memory of an array that may be changed in place once nothing reads it: a temporary, or carried."""
        buffer = self.filled_by(array) if self.may_change and array.size else None
        return buffer if buffer is not None and (buffer in self.carried or buffer.role == "temporary") else None

    def changeable(self, array: Cells) -> Buffer | None:
        """Return the memory of an array that may be changed in place now; None if something reads it later."""
        buffer = self.own_memory(array)
        if buffer is None:
            return None
        for line in self.waiting.values():
            if any(np.any(self.are_in(buffer, self.values[atom])) for atom in line.inputs if atom in self.values):
                return None
        parts = [(var, part) for var, puts in self.puts.items() for put in puts for part in (put.value, *put.operands)]
        for var, cells in (*self.values.items(), *parts):
            if self.last.get(var, -1) > self.now and np.any(self.are_in(buffer, cells)):
                return None
        return buffer

    def filled_by(self, array: Cells) -> Buffer | None:
        """Return the buffer whose elements, all of them in their order, an array is; None if there is none."""
        element = self.strided(array)
        if element is None or element.buffer.size != array.size:
            return None
        return element.buffer if element == Element(element.buffer, 0, row_major(array.shape)) else None

    def apart(self, cells: Cells, buffer: Buffer) -> Cells:
        """Return cells that stay as they are when a buffer is changed: copies of those in it."""
        return self.copied(cells) if np.any(self.are_in(buffer, cells)) else cells

    def copied(self, cells: Cells) -> Cells:
        """Copy cells into a new buffer: in a nest, where they are elements by strides."""
        if cells.size <= self.unrolled or self.strided(cells) is None:
            return super().copied(cells)
        buffer, copy = self.tree.temporary(cells.shape)
        self.over(cells, lambda one, strides: [Store(Element(buffer, 0, strides), one)])
        self.nest = None
        return copy

    def are_in(self, buffer: Buffer, cells: Cells) -> Any:
        """Return which cells are elements of a buffer."""
        things = self.tree.things
        return [isinstance(t := things[cell], Element) and t.buffer == buffer for cell in cells.ravel().tolist()]

    # -- Memory --

    def numbers(self, cells: Cells) -> Cells:
        """Return cells as numbers."""
        return np.array([self.as_kind(c, False) for c in cells.ravel().tolist()], np.int64).reshape(cells.shape)

    def write(self, cells: Cells, buffer: Buffer, start: int = 0) -> None:
        """Write values to consecutive elements of a buffer."""
        if cells.size <= self.unrolled:
            for k, cell in enumerate(self.numbers(cells).ravel().tolist()):
                self.statements.append(Store(Element(buffer, start + k), self.operand(cell)))
            return
        self.over(cells, lambda value, strides: [Store(Element(buffer, start, strides), value)])

    def add_into(self, buffer: Buffer, cells: Cells) -> None:
        """Add values to the elements of a buffer."""
        self.over(cells, lambda value, strides: self.added(value, Element(buffer, 0, strides)))

    def added(self, value: Any, element: Element) -> list[Statement]:
        """Return statements that add a value to an element."""
        total, new = self.tree.register(), self.tree.register()
        return [Load(total, element), Compute(new, "add", (total, value)), Store(element, new)]

    def over(self, cells: Cells, body: Callable[[Any, tuple[int, ...]], Sequence[Statement]]) -> None:
        """Write a nest over the elements of an array; its body takes each value, and the strides of such an array.

        If the values are computed in the nest that is open, they go on from there.
        """
        strides = row_major(cells.shape)
        source = self.source(cells)
        computed = None
        if self.nest is not None and self.nest.shape == cells.shape and isinstance(source, Element):
            key = self.stored_in(source)
            computed = None if key is None else self.nest.registers.get(key)
        if computed is not None and self.nest is not None:
            self.nest.body.extend(body(computed, strides))
            return
        statements: list[Statement] = []
        if isinstance(source, Element):
            register = self.tree.register()
            statements.append(Load(register, source))
            source = register
        statements += body(source, strides)
        self.statements.append(Nest(cells.shape, tuple(statements), parallel=True))
        self.nest = None


def _at_first_places(index: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return an index with zero for each place that is computed."""
    return tuple([0 if type(item) is Operand else item for item in index])


def _are_slices(line: Line) -> bool:
    """Return whether a line puts all parts at whole numbers and slices."""
    return all(type(item) in (int, slice) for index in line.params["indices"] for item in index)


def _last_reads(code: Code) -> dict[Var, float]:
    """Return the number of the last statement that reads each variable; infinity for what leaves the step."""
    last: dict[Var, float] = {}
    for k, statement in enumerate(code.statements):
        if isinstance(statement, Call):
            last.update((atom, k) for atom in statement.line.inputs if isinstance(atom, Var))
        elif isinstance(statement, Check):
            last[statement.guard.var] = k
    last.update((atom, math.inf) for atom in (*code.outputs, *code.kept) if isinstance(atom, Var))
    return last
