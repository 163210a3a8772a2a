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
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

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
    walk_statements,
    without_unread,
)
from wengert.compilation.native.lowering import UNROLLED, Cells, Memory, NoLoweringError
from wengert.compilation.native.operations import SPECIAL
from wengert.compilation.native.places import EXACT, MOST_ELEMENTS, TESTED, ChangedTooEarlyError, Parts, Put, StepBlock
from wengert.program import Atom, Constant, Program, Var
from wengert.program.code import Code, For
from wengert.program.lines import Operand, Packing

ALARMS = 0x0D
"""The processor's flags: invalid operation, division by zero, overflow."""

LARGE, FEW = 400, 8
"""In a step that computes more numbers than `LARGE`, arrays of more than a `FEW` elements are computed in nests."""


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
    try:
        return _Steps(code, along, arrays, pieces).lowered(name, test)
    except ChangedTooEarlyError:
        return _Steps(code, along, arrays, pieces, in_place=False).lowered(name, test)


class _Steps:
    """The lowering of a step."""

    def __init__(self, code: Code, along: int, arrays: int, pieces: Sequence[Parts], in_place: bool = True) -> None:
        assert code.repeat is not None
        self.code, self.repeat, self.arrays, self.in_place = code, code.repeat, arrays, in_place
        self.memory = Memory(None, code.program.name, False)
        self.memory.stack = MOST_ELEMENTS
        size = sum(var.size for line in code.program.lines for var in line.outputs)
        self.block = StepBlock(self.memory, UNROLLED if size <= LARGE else FEW)
        self.pieces = iter(pieces)
        self.buffers: list[Buffer] = []
        self.states: dict[int, list[tuple[Register, Element]]] = {}
        """What is carried in registers, by the place of the input or (negative) of the result that is added up."""
        self.held: dict[int, Buffer] = {}
        """What is carried in memory, by the place of the input."""
        kept = [var for var, kind in zip(code.program.inputs, self.repeat.inputs, strict=True) if kind == "kept"]
        self.row = sum(var.size for var in (*kept, *code.kept))
        self.tape = Buffer("tape", self.row, "work" if code.kept else "argument", step=along * self.row)

    def lowered(self, name: str, test: Code | None) -> Steps:
        """Return the kernel."""
        block, code, repeat = self.block, self.code, self.repeat
        row, cells = 0, self.memory.elements(self.tape, (self.row,))
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
        self.block.lines(code, may_change=True)
        for atom in (*code.outputs, *code.kept):
            if atom in block.puts:
                self.block.put_into_zeros(atom)
        for var in code.kept:
            self.block.write(block.values[var], self.tape, row)
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
            return self.memory.elements(buffer, var.shape)
        if var.size > self.block.unrolled:
            self.held[k] = buffer
            if self.in_place:
                self.block.carried.add(buffer)
            return self.memory.elements(buffer, var.shape)
        return self.carried(k, buffer).reshape(var.shape)

    def carried(self, k: int, buffer: Buffer) -> Cells:
        """Return the cells of registers that go from step to step."""
        registers = [self.memory.register() for _ in range(buffer.size)]
        self.states[k] = [(register, Element(buffer, n)) for n, register in enumerate(registers)]
        return np.array([self.memory.cell(register) for register in registers], np.int64)

    def add_pieces(self, n: int, atoms: Iterator[Cells], parts: Parts) -> None:
        """Add pieces into an array in memory."""
        first = next(atoms)
        shape = (*first.shape[: parts.batch], *parts.shape)
        buffer = Buffer(f"out{n}", math.prod(shape), "work")
        self.buffers.append(buffer)
        array = self.memory.elements(buffer, shape)
        for k, index in enumerate(parts.indices):
            value = next(atoms) if k else first
            if index is None:
                self.block.add_into(buffer, value)
                continue
            index = (*[slice(None)] * parts.batch, *index)
            operands = [next(atoms) for item in index if type(item) is Operand]
            self.block.add_puts(array, [Put(index, value, operands)])

    def ask(self, test: Code) -> None:
        """Lower the test before a step."""
        program = self.code.program
        asked = [program.inputs[k] for k in self.repeat.asks or ()]
        self.block.values.update(zip(test.program.inputs, [self.block.values[var] for var in asked], strict=True))
        self.block.lines(test, may_change=False)
        (truth,) = test.outputs
        cell = self.block("truth", self.block.of(truth).reshape(()))
        self.block.stop_unless(self.block.operand(int(cell)), True, TESTED)

    # -- What a step makes --

    def results(self) -> list[State]:
        """Write the results of a step where they go, and return what is carried in registers."""
        block, repeat = self.block, self.repeat
        then: dict[int, Cells] = {}
        """What is carried on, by the place of the input."""
        outputs = iter(enumerate(zip(repeat.outputs, self.code.outputs, strict=True)))
        for n, (kind, atom) in outputs:
            dtype = atom.dtype if isinstance(atom, Var) else np.asarray(atom.value).dtype
            if dtype.char not in ("dl?" if isinstance(kind, int) else "d"):
                raise NoLoweringError(f"a result of {dtype}")
            if not isinstance(atom, Var) and dtype.char == "l" and np.any(np.abs(atom.value) >= EXACT):
                raise NoLoweringError("a large whole number")
            cells = block.of(atom)
            if isinstance(kind, int):
                then[kind] = self.settled(cells, self.held[kind]) if kind in self.held else cells
            elif kind in ("collect", "sum"):
                step = cells.size * self.arrays if kind == "collect" else 0
                buffer = Buffer(f"out{n}", cells.size, "work", step=step)
                self.buffers.append(buffer)
                if kind == "collect":
                    self.block.write(cells, buffer)
                elif cells.size > self.block.unrolled:
                    self.block.add_into(buffer, cells)
                else:
                    then[-1 - n] = block("add", self.carried(-1 - n, buffer).reshape(cells.shape), cells)
            else:
                self.add_pieces(
                    n, itertools.chain([cells], (block.of(atom) for _, (_, atom) in outputs)), next(self.pieces)
                )
        then.update((k, np.full(self.code.program.inputs[k].shape, block.constant(0.0))) for k in repeat.resets)
        block.nest = None
        for k, buffer in self.held.items():  # all else has been read
            if k in then and self.block.filled_by(then[k]) != buffer:
                self.block.write(then[k], buffer)
        return [
            State(register, element, register if cell is None else block.operand(cell))
            for k, registers in self.states.items()
            for (register, element), cell in zip(registers, self.next_of(then.get(k), len(registers)), strict=True)
        ]

    def next_of(self, cells: Cells | None, count: int) -> Sequence[int | None]:
        """Return the cells of what is carried on; None for each that stays."""
        return [None] * count if cells is None else self.block.numbers(cells).ravel().tolist()

    def settled(self, cells: Cells, home: Buffer) -> Cells:
        """Return cells that stay as they are while what is carried in memory changes.

        What has been changed in place, in the memory that it is carried in, is not written again.
        """
        if self.block.filled_by(cells) == home:
            return cells
        things = [self.memory.things[cell] for cell in cells.ravel().tolist()]
        held = set(self.held.values())
        return self.block.copied(cells) if any(isinstance(t, Element) and t.buffer in held for t in things) else cells


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

_OF_VECTORS = frozenset({"add", "subtract", "multiply", "negative", "absolute", "convert", "as_number"})
"""Operations that set the flags of the elements that are computed, whether side by side or one after the other."""


def is_exact_in_vectors(kernel: Kernel) -> bool:
    """Return whether LLVM may put the nests of steps on vectors: no lane that nobody reads may set a flag."""
    computed = [s for nest in walk_statements(kernel.statements) if isinstance(nest, Nest) for s in nest.body]
    return all(s.operation in _OF_VECTORS for s in computed if isinstance(s, Compute))


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
            compiled = compile_texts(texts, "run", symbols, self.kernel.has_nests, is_exact_in_vectors(self.kernel))
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
