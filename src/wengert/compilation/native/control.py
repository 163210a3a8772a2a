"""Control: the steps of a loop as one kernel, from the same Code with a `For` that is printed as Python.

    Code of a step, with how it is repeated -> loops -> LLVM text -> a function of addresses and a number of steps

What a step passes on is in registers, or in memory where it is large.  What each step reads or writes anew (slices of
arrays, what is collected, what is kept for sweeps) is in memory that moves on with the steps; what is kept of a step
lies side by side, a *row* of the *tape*.  A loop ends after the steps that were asked for, where its test fails, or
before a step that decides otherwise than the Program: whoever runs it goes on there.

>>> import numpy as np, wengert as wg
>>> from wengert.program.code import For, lower
>>> program = wg.trace(lambda c, x: np.sin(c) * x)(0.5, 2.0)
>>> code = replace(lower(program, program.inputs), repeat=For(("carry", "each"), (0,)))
>>> print(lower_steps(code, "f").kernel)
f(in0: 1, in1: 1 a step, +1, tape: 2 a step, +2) -> y: 1 of int64
  repeat y[0]; r1 = in0[0], then r4:
    r2 = sin r1
    r3 = in1[0]
    r4 = multiply r2, r3
    tape[0] = r1
    tape[1] = r3
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from wengert.compilation.native.engine import address_of, compile_texts
from wengert.compilation.native.llvm import ATTRIBUTES, symbols_of, write_declarations, write_kernel
from wengert.compilation.native.loops import (
    Buffer,
    Compute,
    Element,
    Kernel,
    Load,
    Nest,
    Register,
    Repeat,
    State,
    Statement,
    Stop,
    Store,
    Unless,
    row_major,
    walk_statements,
    without_unread,
)
from wengert.compilation.native.lowering import UNROLLED, Block, Cells, Memory, NoLoweringError
from wengert.compilation.native.operations import SPECIAL
from wengert.program import Atom, Constant, Line, Program, Var
from wengert.program.code import Call, Check, Code, For
from wengert.program.lines import Operand, Packing

DECIDED, TESTED = 1, 2
"""Why a loop ends early: a step decides otherwise than its Program; its test fails."""
ALARMS = 0x0D
"""The processor's flags: invalid operation, division by zero, overflow."""


_EXACT = frozenset({"add", "subtract", "multiply", "negative"})
"""Operations on whole numbers that are computed in double precision, as long as they are below `EXACT`."""
EXACT = float(1 << 53)
MOST_ELEMENTS = 1 << 16
"""The largest number of elements of an array that a step reads or adds to, and of all its temporaries."""
LARGE, FEW = 400, 8
"""In a step that computes more numbers than `LARGE`, arrays of more than a `FEW` elements are computed in nests."""


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


class Steps(NamedTuple):
    """A kernel of steps.

    Its arguments are those of the Code that are not kept, in their order; then the tape, if there is one; then the
    arrays, sums and accumulators that results go to.  `row` is the number of values in a row of the tape.
    """

    kernel: Kernel
    row: int


def lower_steps(
    code: Code, name: str, along: int = 1, arrays: int = 1, test: Code | None = None, pieces: Sequence[Parts] = ()
) -> Steps:
    """Lower the Code of a step with its `For` to a kernel; raise NoLoweringError if something has no lowering.

    The steps go `along` the tape forward or (-1) backward, and so through the `arrays`.  A `test` is that of a
    ``while``: a step is made if it returns true for what the `For` says.  Results that are ``"pieces"`` are added at
    the indices of `pieces`, in their order.
    """
    return _Steps(code, along, arrays, pieces).lowered(name, test)


class _Put(NamedTuple):
    """A value that is put into zeros at an index, with places for computed operands."""

    part: tuple[Any, ...]
    value: Cells
    operands: Sequence[Cells]


class _Steps:
    """The lowering of a step."""

    def __init__(self, code: Code, along: int, arrays: int, pieces: Sequence[Parts]) -> None:
        assert code.repeat is not None
        self.code, self.repeat, self.arrays = code, code.repeat, arrays
        self.memory = Memory(None, code.program.name, False)
        self.memory.stack = MOST_ELEMENTS
        size = sum(var.size for line in code.program.lines for var in line.outputs)
        self.block = Block(self.memory, {}, {}, UNROLLED if size <= LARGE else FEW)
        self.pieces = iter(pieces)
        self.buffers: list[Buffer] = []
        self.states: dict[int, list[tuple[Register, Element]]] = {}
        """What is carried in registers, by the place of the input or (negative) of the result that is added up."""
        self.held: dict[int, Buffer] = {}
        """What is carried in memory, by the place of the input."""
        self.puts: dict[Any, list[_Put]] = {}
        """Arrays of zeros but for parts that are put into them, until something reads them."""
        kept = [var for var, kind in zip(code.program.inputs, self.repeat.inputs, strict=True) if kind == "kept"]
        self.row = sum(var.size for var in (*kept, *code.kept))
        self.tape = Buffer("tape", self.row, "work" if code.kept else "argument", step=along * self.row)

    def lowered(self, name: str, test: Code | None) -> Steps:
        """Return the kernel."""
        block, code, repeat = self.block, self.code, self.repeat
        row, cells = 0, self.elements(self.tape, (self.row,))
        for k, (var, kind) in enumerate(zip(code.program.inputs, repeat.inputs, strict=True)):
            if var.dtype not in (float, bool, np.int64):
                raise NoLoweringError(f"an argument of {var.dtype}")
            if kind == "kept":
                block.values[var] = cells[row : row + var.size].reshape(var.shape)
                row += var.size
            else:
                block.values[var] = self.entered(k, var, kind)
        if self.row:
            self.buffers.append(self.tape)
        if test is not None:
            self.ask(test)
        self.lines(code)
        for atom in (*code.outputs, *code.kept):
            if atom in self.puts:
                self.put_into_zeros(atom)
        for var in code.kept:
            self.write(block.values[var], self.tape, row)
            row += var.size
        states = self.results()
        count = Buffer("y", 1, "result", "l")
        loop = Repeat(Element(count, 0), tuple(states), block.frozen())
        (loop,) = without_unread([loop], self.memory.temporaries)  # type: ignore[assignment]
        read = {s.element.buffer for s in walk_statements(loop.body) if isinstance(s, Load)}
        temporaries = tuple([buffer for buffer in self.memory.temporaries if buffer in read])
        return Steps(Kernel(name, tuple(self.buffers), count, (loop,), temporaries), self.row)

    # -- What a step takes --

    def entered(self, k: int, var: Var, kind: str) -> Cells:
        """Return the cells of an argument: registers of what is carried, elements of its memory for all else."""
        step = var.size * self.arrays if kind == "each" else 0
        buffer = Buffer(f"in{k}", var.size, "work" if kind == "carry" else "argument", step=step)
        self.buffers.append(buffer)
        if kind != "carry":
            return self.elements(buffer, var.shape)
        if var.dtype != float:
            raise NoLoweringError(f"a carry of {var.dtype}")
        if var.size > self.block.unrolled:
            self.held[k] = buffer
            return self.elements(buffer, var.shape)
        return self.carried(k, buffer).reshape(var.shape)

    def elements(self, buffer: Buffer, shape: tuple[int, ...]) -> Cells:
        """Return the cells of memory that the caller passes."""
        if buffer.size > MOST_ELEMENTS:
            raise NoLoweringError("a large array")
        first = len(self.memory.things)
        self.memory.things += [Element(buffer, k) for k in range(buffer.size)]
        return np.arange(first, len(self.memory.things)).reshape(shape)

    def carried(self, k: int, buffer: Buffer) -> Cells:
        """Return the cells of registers that go from step to step."""
        registers = [self.memory.register() for _ in range(buffer.size)]
        self.states[k] = [(register, Element(buffer, n)) for n, register in enumerate(registers)]
        return np.array([self.memory.cell(register) for register in registers], np.int64)

    # -- The lines --

    def lines(self, code: Code) -> None:
        """Lower the lines and decisions of a Program."""
        self.last, self.may_change = _last_reads(code), code is self.code
        for self.now, statement in enumerate(code.statements):
            if isinstance(statement, Call):
                self.line(statement.line)
            elif isinstance(statement, Check):
                operand, value = self.block.decision(statement.guard)
                self.stop_unless(operand, value, DECIDED)

    def line(self, line: Line) -> None:
        """Lower one line."""
        if line.primitive.name != "add":
            for atom in line.inputs:
                if atom in self.puts:
                    self.put_into_zeros(atom)
        if line.primitive.name == "getitem" and len(line.inputs) > 1:
            self.block.values[line.outputs[0]] = self.gathered(line)
        elif line.primitive.name == "scatter":
            self.puts[line.outputs[0]] = [self.put(line)]
        elif line.primitive.name == "add" and not self.puts.keys().isdisjoint(line.inputs):
            self.added_puts(line)
        elif line.primitive.name == "setitem" and (len(line.inputs) > 2 or line.outputs[0].size > self.block.unrolled):
            self.block.values[line.outputs[0]] = self.assigned(line)
        elif not line.primitive.multiple and line.outputs[0].dtype == np.int64:
            self.block.values[line.outputs[0]] = self.whole(line)
        else:
            self.block.line(line)

    # -- Whole numbers, and places that they give --

    def whole(self, line: Line) -> Cells:
        """Compute whole numbers, as numbers of double precision: the loop stops where they are not exact."""
        facet = line.primitive.native
        if facet not in _EXACT:
            raise NoLoweringError(f"{line.primitive.name} of whole numbers")
        block = self.block
        cells = block(facet, *[block.of(atom) for atom in line.inputs])
        for cell in cells.ravel().tolist():
            exact = block("less", block("absolute", np.asarray(cell)), EXACT)
            self.stop_unless(block.operand(int(exact)), True, DECIDED)
        return cells

    def place(self, cells: Cells, length: int) -> Register:
        """Return an index into so many elements as a register; the loop stops where it is out of bounds."""
        block, n = self.block, float(length)
        if cells.size != 1:
            raise NoLoweringError("an index of several places")
        cells = self.numbers(cells.reshape(()))
        cells = block("select", block("less", cells, 0.0), block("add", cells, n), cells)
        inside = block("and", block("greater_equal", cells, 0.0), block("less", cells, n))
        self.stop_unless(block.operand(int(inside)), True, DECIDED)
        self.memory.count += 1
        register = Register(self.memory.count, "l")
        block.statements.append(Compute(register, "convert", (block.operand(int(cells)),)))
        return register

    def part(self, array: Cells, index: tuple[Any, ...], operands: Sequence[Cells]) -> Element:
        """Return the elements of a part of an array, at computed places, as one element of a nest over the part."""
        axes = [axis for axis, item in enumerate(index) if type(item) is Operand]
        if any(type(item) not in (Operand, int, slice) for item in index):
            raise NoLoweringError("a computed index beside others than whole numbers and slices")
        fixed = _at_first_places(index)
        if not array[fixed].size:
            raise NoLoweringError("an empty part of an array")
        element = self.block.in_memory(array)
        computed = [(self.place(operands[index[axis].k], array.shape[axis]), element.strides[axis]) for axis in axes]
        kept = self.block.in_memory(array[fixed][..., None])  # with an axis more, so that one element is an array too
        return Element(kept.buffer, kept.offset, kept.strides[:-1], tuple(computed))

    def gathered(self, line: Line) -> Cells:
        """Read a part of an array at computed places."""
        block, shape = self.block, line.outputs[0].shape
        array, *operands = [block.of(atom) for atom in line.inputs]
        element = self.part(array, line.params["index"], operands)
        register = self.memory.register()
        if not shape:
            block.statements.append(Load(register, element))
            block.nest = None
            return np.asarray(self.memory.cell(register))
        buffer, cells = self.memory.temporary(shape)
        store = Store(Element(buffer, 0, row_major(shape)), register)
        block.statements.append(Nest(shape, (Load(register, element), store), parallel=True))
        block.nest = None
        return cells

    def put(self, line: Line) -> _Put:
        """Return what a line puts into zeros at computed places."""
        value, *operands = [self.block.of(atom) for atom in line.inputs]
        return _Put((*[slice(None)] * line.params["batch"], *line.params["index"]), value, operands)

    def put_into_zeros(self, var: Atom) -> None:
        """Compute an array of zeros that parts are put into."""
        block = self.block
        assert isinstance(var, Var), "no constant"
        buffer, cells = self.memory.temporary(var.shape)
        zeros = Store(Element(buffer, 0, row_major(var.shape)), 0.0)
        block.statements.append(Nest(var.shape, (zeros,), parallel=True))
        block.nest = None
        block.values[var] = cells
        self.add_puts(cells, self.puts.pop(var))

    def added_puts(self, line: Line) -> None:
        """Add arrays of which one or both are zeros that parts are put into: the parts are added."""
        block, (a, b), (out,) = self.block, line.inputs, line.outputs
        if a in self.puts and b in self.puts and a.shape == b.shape:
            self.puts[out] = [*self.puts[a], *self.puts[b]]
            return
        if b not in self.puts:
            a, b = b, a
        if a in self.puts:
            self.put_into_zeros(a)
        array = block.of(a)
        if array.shape != out.shape or b.shape != out.shape:
            self.put_into_zeros(b)
            block.line(line)
            return
        block.values[out] = self.to_be_changed(array)
        self.add_puts(block.values[out], self.puts[b])

    def add_puts(self, array: Cells, puts: Sequence[_Put]) -> None:
        """Add parts into an array in memory."""
        for index, value, operands in puts:
            element = self.part(array, index, operands)
            self.change(element, value, functools.partial(self.added, element=element))

    def change(self, element: Element, value: Cells, body: Callable[[Any], list[Statement]]) -> None:
        """Change part of an array in memory, given by an element, as a body says of each element of a value."""
        block = self.block
        if np.any(self.are_in(element.buffer, value)):
            value = block.copied(value)
        if block.nest is not None and any(read.buffer == element.buffer for read in block.nest.loads):
            block.nest = None  # a later step of the nest would read what an earlier one has written
        if value.shape:
            self.nest(value, lambda one, _: body(one))
        else:
            block.statements.extend(body(block.operand(block.as_kind(int(value), False))))
        block.nest = None

    def assigned(self, line: Line) -> Cells:
        """Write a part of an array at computed places: in its memory, if nothing reads later what was there."""
        block = self.block
        value, array, *operands = [block.of(atom) for atom in line.inputs]
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
            return self.elements(buffer, array.shape)
        buffer, copy = self.memory.temporary(array.shape)
        self.nest(array, lambda one, place: [Store(place._replace(buffer=buffer), one)])
        self.block.nest = None
        return copy

    def changeable(self, array: Cells) -> Buffer | None:
        """Return the memory of an array that may be changed in place: of what is carried, or a temporary."""
        block = self.block
        buffer = self.filled_by(array) if self.may_change and array.size else None
        if buffer is None or not (buffer in self.held.values() or buffer.role == "temporary"):
            return None
        parts = [(var, part) for var, puts in self.puts.items() for put in puts for part in (put.value, *put.operands)]
        for var, cells in (*block.values.items(), *parts):
            if self.last.get(var, -1) > self.now and np.any(self.are_in(buffer, cells)):
                return None
        return buffer

    def filled_by(self, array: Cells) -> Buffer | None:
        """Return the buffer whose elements, all of them in their order, an array is; None if there is none."""
        element = self.block.strided(array)
        if element is None or element.buffer.size != array.size:
            return None
        return element.buffer if element == Element(element.buffer, 0, row_major(array.shape)) else None

    def are_in(self, buffer: Buffer, cells: Cells) -> Any:
        """Return which cells are elements of a buffer."""
        things = self.memory.things
        return [isinstance(t := things[cell], Element) and t.buffer == buffer for cell in cells.ravel().tolist()]

    def add_pieces(self, n: int, atoms: Iterator[Cells], parts: Parts) -> None:
        """Add pieces into an array in memory."""
        first = next(atoms)
        shape = (*first.shape[: parts.batch], *parts.shape)
        buffer = Buffer(f"out{n}", math.prod(shape), "work")
        self.buffers.append(buffer)
        array = self.elements(buffer, shape)
        for k, index in enumerate(parts.indices):
            value = next(atoms) if k else first
            if index is None:
                self.add_into(buffer, value)
                continue
            index = (*[slice(None)] * parts.batch, *index)
            operands = [next(atoms) for item in index if type(item) is Operand]
            element = self.part(array, index, operands)
            self.nest(value, lambda one, place, element=element: self.added(one, element))
            self.block.nest = None

    def added(self, value: Any, element: Element) -> list[Statement]:
        """Return statements that add a value to an element."""
        total, new = self.memory.register(), self.memory.register()
        return [Load(total, element), Compute(new, "add", (total, value)), Store(element, new)]

    def ask(self, test: Code) -> None:
        """Lower the test before a step."""
        program = self.code.program
        asked = [program.inputs[k] for k in self.repeat.asks or ()]
        self.block.values.update(zip(test.program.inputs, [self.block.values[var] for var in asked], strict=True))
        self.lines(test)
        (truth,) = test.outputs
        cell = self.block("truth", self.block.of(truth).reshape(()))
        self.stop_unless(self.block.operand(int(cell)), True, TESTED)

    def stop_unless(self, operand: Any, value: bool, reason: int) -> None:
        """Stop before this step unless an operand is true, or is not."""
        self.block.statements.append(Unless(operand, value, (Stop(reason),)))
        self.block.nest = None

    # -- What a step makes --

    def results(self) -> list[State]:
        """Write the results of a step where they go, and return what is carried in registers."""
        block, repeat = self.block, self.repeat
        then: dict[int, Cells] = {}
        """What is carried on, by the place of the input."""
        outputs = iter(enumerate(zip(repeat.outputs, self.code.outputs, strict=True)))
        for n, (kind, atom) in outputs:
            if (atom.dtype if isinstance(atom, Var) else np.asarray(atom.value).dtype).char != "d":
                raise NoLoweringError("a result that is not of double precision")
            cells = block.of(atom)
            if isinstance(kind, int):
                then[kind] = self.settled(cells, self.held[kind]) if kind in self.held else cells
            elif kind in ("collect", "sum"):
                step = cells.size * self.arrays if kind == "collect" else 0
                buffer = Buffer(f"out{n}", cells.size, "work", step=step)
                self.buffers.append(buffer)
                if kind == "collect":
                    self.write(cells, buffer)
                elif cells.size > self.block.unrolled:
                    self.add_into(buffer, cells)
                else:
                    then[-1 - n] = block("add", self.carried(-1 - n, buffer).reshape(cells.shape), cells)
            else:
                self.add_pieces(
                    n, itertools.chain([cells], (block.of(atom) for _, (_, atom) in outputs)), next(self.pieces)
                )
        then.update((k, np.full(self.code.program.inputs[k].shape, block.constant(0.0))) for k in repeat.resets)
        block.nest = None
        for k, buffer in self.held.items():  # all else has been read
            if k in then and self.filled_by(then[k]) != buffer:
                self.write(then[k], buffer)
        return [
            State(register, element, register if cell is None else block.operand(cell))
            for k, registers in self.states.items()
            for (register, element), cell in zip(registers, self.next_of(then.get(k), len(registers)), strict=True)
        ]

    def next_of(self, cells: Cells | None, count: int) -> Sequence[int | None]:
        """Return the cells of what is carried on; None for each that stays."""
        return [None] * count if cells is None else self.numbers(cells).ravel().tolist()

    def numbers(self, cells: Cells) -> Cells:
        """Return cells as numbers."""
        return np.array([self.block.as_kind(c, False) for c in cells.ravel().tolist()], np.int64).reshape(cells.shape)

    def settled(self, cells: Cells, home: Buffer) -> Cells:
        """Return cells that stay as they are while what is carried in memory changes.

        What has been changed in place, in the memory that it is carried in, is not written again.
        """
        if self.filled_by(cells) == home:
            return cells
        things = [self.memory.things[cell] for cell in cells.ravel().tolist()]
        held = set(self.held.values())
        return self.block.copied(cells) if any(isinstance(t, Element) and t.buffer in held for t in things) else cells

    def write(self, cells: Cells, buffer: Buffer, start: int = 0) -> None:
        """Write values to consecutive elements of a buffer."""
        block = self.block
        if cells.size <= self.block.unrolled:
            for k, cell in enumerate(self.numbers(cells).ravel().tolist()):
                block.statements.append(Store(Element(buffer, start + k), block.operand(cell)))
            return
        self.nest(cells, lambda value, element: [Store(element._replace(buffer=buffer, offset=start), value)])

    def add_into(self, buffer: Buffer, cells: Cells) -> None:
        """Add values to the elements of a buffer."""

        self.nest(cells, lambda value, element: self.added(value, element._replace(buffer=buffer)))

    def nest(self, cells: Cells, body: Any) -> None:
        """Write a nest over the elements of an array; its body takes each value, and an element at the same place.

        If the values are computed in the nest that is open, they go on from there.
        """
        block = self.block
        place = Element(self.tape, 0, tuple([math.prod(cells.shape[k + 1 :]) for k in range(cells.ndim)]))
        source = block.source(cells)
        computed = None
        if block.nest is not None and block.nest.shape == cells.shape and isinstance(source, Element):
            key = block.stored_in(source)
            computed = None if key is None else block.nest.registers.get(key)
        if computed is not None and block.nest is not None:
            block.nest.body.extend(body(computed, place))
            return
        statements: list[Statement] = []
        if isinstance(source, Element):
            register = self.memory.register()
            statements.append(Load(register, source))
            source = register
        statements += body(source, place)
        block.statements.append(Nest(cells.shape, tuple(statements), parallel=True))
        block.nest = None


def _at_first_places(index: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return an index with zero for each place that is computed."""
    return tuple([0 if type(item) is Operand else item for item in index])


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


def with_arrays(program: Program, repeat: For, test: Program | None = None) -> tuple[Program, For, Program | None]:
    """Return the Program of a step that takes the arrays among its constants as arguments, and how it is repeated.

    The arrays of the test become arguments of both, too; the test is the last result.
    """
    new: list[Var] = []

    def entered(atom: Atom) -> Atom:
        if isinstance(atom, Var) or type(atom.value) is not np.ndarray:
            return atom
        new.append(Var(0, atom.value.shape, atom.value.dtype))
        return new[-1]

    def rewritten(program: Program) -> Program:
        lines = [
            replace(line, inputs=tuple(map(entered, line.inputs)))
            if any(isinstance(a, Constant) for a in line.inputs)
            else line
            for line in program.lines
        ]
        outputs = iter([entered(atom) for atom in program.outputs])
        results = tuple([replace(r, atoms=tuple([next(outputs) for _ in r.atoms])) for r in program.results])
        return replace(program, lines=tuple(lines), results=results)

    def taking(program: Program, variables: Sequence[Var]) -> Program:
        added = tuple([Packing("a", var.shape, var.dtype, (var,)) for var in variables])
        return replace(program, arguments=program.arguments + added)

    program, count = rewritten(program), len(program.inputs)
    own = len(new)
    asks = repeat.asks
    if test is not None:
        test = taking(rewritten(test), new[own:])
        asked = (asks or ())[: len(test.inputs) - len(new) + own]
        if any(k >= count for k in asked):
            raise NoLoweringError("a test that takes a constant which the step does not")
        asks = (*asked, *range(count + own, count + len(new)))
    inputs = repeat.inputs[:count] + ("const",) * len(new)
    return taking(program, new), replace(repeat, inputs=inputs, asks=asks), test


# ---- As a function ----


class NativeSteps:
    """Steps as machine code.

    Called with the addresses of its memory and a number of steps, it returns how many were made, why it ended, and
    whether NumPy would have warned.
    """

    __slots__ = ("_kept", "_run", "_table", "kernel", "row")

    def __init__(self, steps: Steps) -> None:
        self.kernel, self.row = steps
        called = symbols_of(self.kernel)
        symbols = {symbol: address_of(symbol) or 0 for symbol in called}
        if not all(symbols.values()):
            raise NoLoweringError("no such function")
        if any(symbol.startswith(SPECIAL) for symbol in called):
            raise NoLoweringError("a function of SciPy's in a loop")
        texts = "\n".join([write_declarations(self.kernel), write_kernel(self.kernel)]).strip(), _RUN
        try:
            compiled = compile_texts(texts, "run", symbols, self.kernel.has_nests, vectorize=False)
        except RuntimeError as error:  # LLVM's
            raise NoLoweringError(str(error)) from error
        self._run = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(compiled.address)
        self._table = ctypes.c_void_p * max(len(self.kernel.arguments), 1)
        self._kept = compiled

    def __call__(self, addresses: Sequence[int], steps: int) -> tuple[int, int, bool]:
        assert len(addresses) == len(self.kernel.arguments), "the memory that the kernel was made for"
        count = ctypes.c_int64(steps)
        table = self._table(*addresses)
        ended = self._run(ctypes.addressof(table), ctypes.addressof(count))
        return count.value, ended & 0xFF, bool(ended >> 8)


_RUN = f"""\
declare i32 @kernel(ptr, ptr)
define i32 @run(ptr %arguments, ptr %steps) {ATTRIBUTES} {{
  %csr = alloca i32
  call void asm sideeffect "stmxcsr $0", "=*m,~{{memory}}"(ptr elementtype(i32) %csr)
  %before = load i32, ptr %csr
  %cleared = and i32 %before, -64
  store i32 %cleared, ptr %csr
  call void asm sideeffect "ldmxcsr $0", "*m,~{{memory}}"(ptr elementtype(i32) %csr)
  %reason = call i32 @kernel(ptr %arguments, ptr %steps)
  call void asm sideeffect "stmxcsr $0", "=*m,~{{memory}}"(ptr elementtype(i32) %csr)
  %after = load i32, ptr %csr
  %alarms = and i32 %after, {ALARMS}
  %shifted = shl i32 %alarms, 8
  %ended = or i32 %reason, %shifted
  ret i32 %ended
}}"""
"""The function that runs a kernel between two readings of the processor's flags."""
