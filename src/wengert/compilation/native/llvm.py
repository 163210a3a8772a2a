"""LLVM: a kernel as the text of an LLVM function.

The function takes the addresses of the arguments' data and of the memory for the results; a kernel of arrays, whose
results are among the arguments, takes the address of its extents instead.  It returns the number of the branch that has
ended, or -1 where it was left.  Registers are LLVM's own values; nothing else is optimized away, and no
operation is reordered: the code gives the bits of the operations as they are written.

>>> from wengert.compilation.native.loops import Buffer, Compute, Element, Load, Register, Return, Store
>>> x, y, r, s = Buffer("x", 1, "argument"), Buffer("y", 1, "result"), Register(1), Register(2)
>>> body = Load(r, Element(x, 0)), Compute(s, "multiply", (r, 2.0)), Store(Element(y, 0), s), Return(0)
>>> print(write_kernel(Kernel("f", (x,), y, body)))
define i32 @kernel(ptr noalias readonly %arguments, ptr noalias %y) nounwind "probe-stack"="inline-asm" {
  %x.at = getelementptr ptr, ptr %arguments, i64 0
  %x = load ptr, ptr %x.at
  %e1 = getelementptr inbounds double, ptr %x, i64 0
  %r1 = load double, ptr %e1
  %r2 = fmul double %r1, 0x4000000000000000
  %e2 = getelementptr inbounds double, ptr %y, i64 0
  store double %r2, ptr %e2
  ret i32 0
}
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator, Sequence

from wengert.compilation.native.kinds import MEMORY, TYPES
from wengert.compilation.native.loops import (
    Buffer,
    Compute,
    Element,
    Extent,
    Kernel,
    Leave,
    Load,
    Nest,
    Operand,
    Register,
    Repeat,
    Return,
    Statement,
    Stop,
    Store,
    Unless,
    operands_of,
    steps_of,
    walk_statements,
)
from wengert.compilation.native.operations import PURE, SPECIAL, instruction, is_call

ATTRIBUTES = 'nounwind "probe-stack"="inline-asm"'
"""Attributes of functions: they raise nothing, and touch each page of their stack, so an overflow is seen."""

THREADS, PARALLEL = "wengert_threads", "wengert_parallel"
"""The number of threads, and the function that divides a nest among them."""
LONG = 200_000
"""The time in nanoseconds from which a nest is divided: a thread takes some 20,000 to start."""
GRAIN = 1_024
"""The number of elements that parts of a loop are multiples of, so that all parts but the last fill their vectors."""


def write_kernel(kernel: Kernel) -> str:
    """Return a kernel as an LLVM function; what it calls is declared by `write_declarations`."""
    writer = _Writer(divides=is_threaded(kernel))
    pointers = [f"{buffer.name}{'.start' * bool(buffer.step)}" for buffer in kernel.arguments]
    extents = [extent.name for extent in kernel.extents()]
    if kernel.has_nests or extents:
        # the caller passes memory that is written apart from all other: a function's parameters say so
        kinds = ["readonly " * (buffer.role == "argument") for buffer in kernel.arguments]
        parameters = [f"ptr noalias {kind}%{name}" for kind, name in zip(kinds, pointers, strict=True)]
        parameters += ["ptr noalias %y", *[f"i64 %{name}" for name in extents]]
        head = f"define internal i32 @body({', '.join(parameters)}) noinline {ATTRIBUTES} {{"
        writer.lines.append(head)
        writer.start = len(writer.lines)
        writer.temporaries(kernel)
        writer.block(kernel.statements, ())
        writer.lines.append("}")
    writer.lines.append(f"define i32 @kernel(ptr noalias readonly %arguments, ptr noalias %y) {ATTRIBUTES} {{")
    for k, name in enumerate(pointers):
        writer.write(f"%{name}.at = getelementptr ptr, ptr %arguments, i64 {k}")
        writer.write(f"%{name} = load ptr, ptr %{name}.at")
    for k, name in enumerate(extents):
        writer.write(f"%{name}.at = getelementptr i64, ptr %y, i64 {k}")
        writer.write(f"%{name} = load i64, ptr %{name}.at")
    if kernel.has_nests or extents:
        passed = [*[f"ptr %{name}" for name in [*pointers, "y"]], *[f"i64 %{name}" for name in extents]]
        writer.write(f"%branch = call i32 @body({', '.join(passed)})")
        writer.write("ret i32 %branch")
    else:
        writer.temporaries(kernel)
        writer.block(kernel.statements, ())
    runtime = [f"@{THREADS} = external global i64", f"declare void @{PARALLEL}(ptr, ptr, i64, i64, i64)"]
    return "\n".join([*runtime * bool(writer.parts), *writer.parts, *writer.lines, "}"])


def is_threaded(kernel: Kernel) -> bool:
    """Return whether a kernel has a nest that threads may divide among them."""
    outermost = [s for s in kernel.statements if isinstance(s, (Nest, Repeat))]
    return not any(isinstance(s, Repeat) for s in outermost) and any(map(is_divided, _outermost(kernel.statements)))


def _outermost(statements: Sequence[Statement]) -> Iterator[Nest]:
    """Yield the nests that are in no loop."""
    for statement in statements:
        if isinstance(statement, Nest):
            yield statement
        elif isinstance(statement, Unless):
            yield from _outermost(statement.otherwise)


def is_divided(nest: Nest) -> bool:
    """Return whether a nest in no loop is long, and its steps are independent.

    SciPy's functions may need the interpreter's lock, which the thread that waits may have.
    """
    if not nest.parallel or nest.carries or not all(type(n) is int for n in nest.counts):
        return False
    if steps_of([nest]) < GRAIN:
        return False
    names = [s.operation for s in walk_statements(nest.body) if isinstance(s, Compute)]
    return not any(name.startswith(SPECIAL) for name in names) and _duration(nest) >= LONG


def _duration(nest: Nest) -> float:
    """Return roughly how many nanoseconds a nest takes: one for a function, a quarter for anything else."""
    step = 0.0
    for s in nest.body:
        if isinstance(s, Nest):
            step += _duration(s)
        else:
            step += 1.0 if isinstance(s, Compute) and is_call(_instruction(s)) else 0.25
    return step * math.prod([n for n in nest.counts if isinstance(n, int)])


def write_exported(kernel: Kernel, name: str) -> str:
    """Return a kernel as an LLVM function for programs in C: it takes the address of each buffer and a work array."""
    writer = _Writer()
    pointers = [f"ptr noalias readonly %{buffer.name}" for buffer in kernel.arguments]
    pointers += [f"ptr noalias %{kernel.results.name}", "ptr noalias %work"]
    writer.lines.append(f"define i32 @{name}({', '.join(pointers)}) {ATTRIBUTES} {{")
    for buffer, offset in kernel.work_offsets().items():
        writer.write(f"%{buffer.name} = getelementptr double, ptr %work, i64 {offset}")
    writer.block(kernel.statements, ())
    return "\n".join([write_declarations(kernel), *writer.lines, "}"]).lstrip() + "\n"


def write_declarations(kernel: Kernel) -> str:
    """Return the declarations of the functions that a kernel calls."""
    return "\n".join([f"declare {signature} {PURE}" for signature in _called(kernel).values()])


def symbols_of(kernel: Kernel) -> list[str]:
    """Return the functions of libm and SciPy that a kernel calls."""
    runtime = [THREADS, PARALLEL] if is_threaded(kernel) else []
    return [*[name for name in _called(kernel) if not name.startswith("llvm.")], *runtime]


def _called(kernel: Kernel) -> dict[str, str]:
    """Return the functions that a kernel calls, intrinsics of LLVM's included, with their signatures."""
    computed = [s for s in walk_statements(kernel.statements) if isinstance(s, Compute)]
    texts = dict.fromkeys(_instruction(s) for s in computed)
    calls = [re.sub(r" [^ ]+(?=[,)])", "", text.removeprefix("call ")) for text in texts if "@" in text]
    return {signature.partition("@")[2].partition("(")[0]: signature for signature in calls}


def _instruction(statement: Compute) -> str:
    """Return an instruction, with places for its operands."""
    text = instruction(statement.operation, statement.kind, statement.register.dtype)
    assert text is not None, f"no {statement.operation} of kind {statement.kind}"
    return text


def write_operation(statement: Compute) -> str:
    """Return the instruction of an operation."""
    return _instruction(statement).format(*map(written, statement.operands))


def _moving(body: Sequence[Statement]) -> list[Buffer]:
    """Return the buffers that move on with each step of a loop."""
    elements = [s.element for s in walk_statements(body) if isinstance(s, (Load, Store))]
    return list(dict.fromkeys(element.buffer for element in elements if element.buffer.step))


class _Writer:
    """Writes statements; each block of the loops is some basic blocks of LLVM's."""

    def __init__(self, divides: bool = False) -> None:
        self.lines: list[str] = []
        self.elements = self.labels = self.start = 0
        self.divides, self.parts = divides, list[str]()
        """Whether long nests are functions of a range of steps, and these."""

    def write(self, text: str) -> None:
        """Write one instruction."""
        self.lines.append(f"  {text}")

    def temporaries(self, kernel: Kernel) -> None:
        """Write the memory on the stack."""
        for buffer in kernel.temporaries:
            self.write(f"%{buffer.name} = alloca [{buffer.size} x {MEMORY[buffer.dtype]}], align 64")

    def label(self) -> str:
        """Return a new label."""
        self.labels += 1
        return f"L{self.labels}"

    def block(self, statements: Sequence[Statement], variables: tuple[str, ...]) -> None:
        """Write a block inside loops over variables."""
        for statement in statements:
            if isinstance(statement, Compute):
                self.write(f"%{statement.register} = {write_operation(statement)}")
            elif isinstance(statement, Load):
                self.load(statement, variables)
            elif isinstance(statement, Store):
                self.store(statement, variables)
            elif isinstance(statement, Nest):
                self.whole_nest(statement, variables)
            elif isinstance(statement, Unless):
                self.unless(statement, variables)
            elif isinstance(statement, Return):
                self.write(f"ret i32 {statement.branch}")
            elif isinstance(statement, Leave):
                self.write("ret i32 -1")
            elif isinstance(statement, Repeat):
                self.repeat(statement)
            elif isinstance(statement, Stop):
                self.write(f"store i32 {statement.reason}, ptr %reason")
                self.write("br label %stop")

    def load(self, statement: Load, variables: tuple[str, ...]) -> None:
        """Write the reading of an element; a boolean is a byte in memory."""
        register, dtype = statement.register, statement.element.buffer.dtype
        address = self.address(statement.element, variables)
        name = f"%{register}{'.byte' * (dtype == '?')}"
        self.write(f"{name} = load {MEMORY[dtype]}, ptr {address}")
        if dtype == "?":
            self.write(f"%{register} = icmp ne i8 {name}, 0")

    def store(self, statement: Store, variables: tuple[str, ...]) -> None:
        """Write the writing of an element."""
        dtype, value = statement.element.buffer.dtype, written(statement.value)
        address = self.address(statement.element, variables)
        if dtype == "?":
            self.write(f"{address}.byte = zext i1 {value} to i8")
            value = f"{address}.byte"
        self.write(f"store {MEMORY[dtype]} {value}, ptr {address}")

    def address(self, element: Element, variables: tuple[str, ...]) -> str:
        """Write the address of an element, one axis after the other.

        The element at the beginning of each axis exists, so no address on the way is outside the array.  LLVM needs
        to know that to put a loop on vectors whose elements are far from each other.
        """
        self.elements += 1
        name = f"%e{self.elements}"
        steps = [(f"{name}.s{k}", variables[k], written(s)) for k, s in enumerate(element.strides) if s]
        steps += [(f"{name}.t{k}", f"%{register}", written(s)) for k, (register, s) in enumerate(element.computed)]
        bounds = "" if element.computed else "inbounds "
        pointer, offset = f"%{element.buffer.name}", written(element.offset)
        for k, (step, variable, stride) in enumerate(steps):
            self.write(
                f"{name}.a{k} = getelementptr {bounds}{MEMORY[element.buffer.dtype]}, ptr {pointer}, i64 {offset}"
            )
            self.write(f"{step} = mul nsw i64 {variable}, {stride}")
            pointer, offset = f"{name}.a{k}", step
        self.write(f"{name} = getelementptr {bounds}{MEMORY[element.buffer.dtype]}, ptr {pointer}, i64 {offset}")
        return name

    def whole_nest(self, nest: Nest, variables: tuple[str, ...]) -> None:
        """Write a nest of loops, and name what it carries to its end; a nest that takes no step is left out."""
        if any(type(count) is int and not count for count in nest.counts) and not nest.carries:
            return
        if self.divides and not variables and is_divided(nest):
            self.divided(nest)
            return
        values = self.nest(nest, nest.counts, [written(carry.first) for carry in nest.carries], variables)
        end = self.label()
        if values:
            self.write(f"br label %{end}.before")  # a block of its own, for what goes on to have one predecessor
            self.lines.append(f"{end}.before:")
            self.write(f"br label %{end}")
            self.lines.append(f"{end}:")
        for carry, value in zip(nest.carries, values, strict=True):
            self.write(f"%{carry.after} = phi {TYPES[carry.register.dtype]} [ {value}, %{end}.before ]")

    def divided(self, nest: Nest) -> None:
        """Write a nest as a function of a range of its outermost steps, which threads may divide among them."""
        inner = list(walk_statements([nest]))
        buffers = list(dict.fromkeys(s.element.buffer for s in inner if isinstance(s, (Load, Store))))
        defined = {s.register for s in inner if isinstance(s, (Compute, Load))}
        defined |= {r for s in inner if isinstance(s, Nest) for c in s.carries for r in (c.register, c.after)}
        read = dict.fromkeys(o for s in inner for o in operands_of(s) if isinstance(o, Register))
        registers = [register for register in read if register not in defined]
        kinds = ["readonly " * (buffer.role == "argument") for buffer in buffers]
        passed = [(f"ptr noalias {kind}", b.name, "ptr") for kind, b in zip(kinds, buffers, strict=True)]
        passed += [(f"{TYPES[r.dtype]} ", str(r), TYPES[r.dtype]) for r in registers]
        part, context = f"part{len(self.parts)}", f"%context{len(self.parts)}"
        writer = _Writer()
        parameters = ", ".join([*[f"{kind}%{name}" for kind, name, _ in passed], "i64 %begin, i64 %end"])
        writer.lines.append(f"define internal void @{part}.steps({parameters}) noinline {ATTRIBUTES} {{")
        writer.nest(nest, nest.counts, (), (), ("%begin", "%end"))
        writer.lines += ["  ret void", "}"]
        writer.lines.append(f"define internal void @{part}(ptr %context, i64 %begin, i64 %end) {ATTRIBUTES} {{")
        self.lines.insert(self.start, f"  {context} = alloca [{max(len(passed), 1)} x i64], align 8")
        for k, (_, name, kind) in enumerate(passed):
            self.write(f"{context}.{k} = getelementptr i64, ptr {context}, i64 {k}")
            self.write(f"store {kind} %{name}, ptr {context}.{k}")
            writer.write(f"%{name}.at = getelementptr i64, ptr %context, i64 {k}")
            writer.write(f"%{name} = load {kind}, ptr %{name}.at")
        arguments = ", ".join([*[f"{kind} %{name}" for _, name, kind in passed], "i64 %begin, i64 %end"])
        writer.write(f"call void @{part}.steps({arguments})")
        writer.lines += ["  ret void", "}"]
        self.parts.append("\n".join(writer.lines))
        grain = 1 if len(nest.counts) > 1 or any(isinstance(s, Nest) for s in nest.body) else GRAIN
        self.write(f"{context}.n = load i64, ptr @{THREADS}")
        self.write(
            f"call void @{PARALLEL}(ptr @{part}, ptr {context}, i64 {nest.counts[0]}, i64 {grain}, i64 {context}.n)"
        )

    def nest(
        self,
        nest: Nest,
        counts: Sequence[Operand],
        firsts: Sequence[str],
        variables: tuple[str, ...],
        range_: tuple[str, str] | None = None,
    ) -> list[str]:
        """Write the loops of the last variables of a nest; return what is carried to their end.

        The first of them goes through a range, where one is given, which is not empty.
        """
        if not counts:
            self.block(nest.body, variables)
            return [written(carry.then) for carry in nest.carries]
        before, head, after = self.label(), self.label(), self.label()
        variable, is_inner = f"%i.{head}", len(counts) == 1
        self.write(f"br label %{before}")
        self.lines.append(f"{before}:")
        self.write(f"br label %{head}")
        self.lines.append(f"{head}:")
        begin, end = range_ or ("0", written(counts[0]))
        may_be_empty = isinstance(counts[0], (Register, Extent))
        self.write(f"{variable} = phi i64 [ {begin}, %{before} ], [ {variable}.next, %{head}.end ]")
        names = [f"%{carry.register}{'' if is_inner else f'.{head}'}" for carry in nest.carries]
        place = len(self.lines)
        if may_be_empty:
            self.write(f"{variable}.more = icmp slt i64 {variable}, {end}")
            self.write(f"br i1 {variable}.more, label %{head}.step, label %{after}")
            self.lines.append(f"{head}.step:")
        values = self.nest(nest, counts[1:], names, (*variables, variable))
        self.lines[place:place] = [
            f"  {name} = phi {TYPES[carry.register.dtype]} [ {first}, %{before} ], [ {value}, %{head}.end ]"
            for carry, name, first, value in zip(nest.carries, names, firsts, values, strict=True)
        ]
        self.write(f"br label %{head}.end")
        self.lines.append(f"{head}.end:")
        self.write(f"{variable}.next = add nuw nsw i64 {variable}, 1")
        if may_be_empty:
            self.write(f"br label %{head}")
            values = names
        else:
            self.write(f"{variable}.more = icmp ult i64 {variable}.next, {end}")
            self.write(f"br i1 {variable}.more, label %{head}, label %{after}")
        self.lines.append(f"{after}:")
        return values

    def repeat(self, repeat: Repeat) -> None:
        """Write the loop that a kernel is: its steps, and where it ends."""
        steps = f"%{repeat.steps.buffer.name}"
        self.write("%reason = alloca i32")
        self.write("store i32 0, ptr %reason")
        self.write(f"%count = load i64, ptr {steps}")
        for state in repeat.states:
            self.write(f"%{state.register}.first = load double, ptr {self.address(state.element, ())}")
        self.lines += ["  br label %start", "start:", "  br label %step", "step:"]
        self.write("%step.now = phi i64 [ 0, %start ], [ %step.next, %end ]")
        for state in repeat.states:
            values = f"[ %{state.register}.first, %start ], [ {written(state.then)}, %end ]"
            self.write(f"%{state.register} = phi double {values}")
        self.write("%more = icmp slt i64 %step.now, %count")
        self.lines += ["  br i1 %more, label %begin, label %stop", "begin:"]
        for buffer in _moving(repeat.body):
            self.write(f"%{buffer.name}.moved = mul nsw i64 %step.now, {buffer.step}")
            self.write(f"%{buffer.name} = getelementptr double, ptr %{buffer.name}.start, i64 %{buffer.name}.moved")
        self.block(repeat.body, ())
        self.lines += ["  br label %end", "end:"]
        self.write("%step.next = add nsw i64 %step.now, 1")
        self.lines += ["  br label %step", "stop:"]
        for state in repeat.states:
            self.write(f"store double %{state.register}, ptr {self.address(state.element, ())}")
        self.write(f"store i64 %step.now, ptr {steps}")
        self.write("%why = load i32, ptr %reason")
        self.write("ret i32 %why")

    def unless(self, statement: Unless, variables: tuple[str, ...]) -> None:
        """Write a decision."""
        holds, otherwise = self.label(), self.label()
        first, second = (holds, otherwise) if statement.value else (otherwise, holds)
        self.write(f"br i1 {written(statement.operand)}, label %{first}, label %{second}")
        self.lines.append(f"{otherwise}:")
        self.block(statement.otherwise, variables)
        self.lines.append(f"{holds}:")


def written(operand: Operand) -> str:
    """Return an operand as LLVM writes it: a double by its bits."""
    if isinstance(operand, (Register, Extent)):
        return f"%{operand}"
    if type(operand) is bool:
        return "true" if operand else "false"
    if type(operand) is int:
        return str(operand)
    return f"0x{struct.unpack('<Q', struct.pack('<d', operand))[0]:016X}"
