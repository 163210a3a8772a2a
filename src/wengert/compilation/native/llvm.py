"""LLVM: a kernel as the text of an LLVM function.

The function takes the addresses of the arguments' data and of the memory for the results.  It returns the number of the
branch that has ended, or -1 where it was left.  Registers are LLVM's own values; nothing else is optimized away, and no
operation is reordered: the code gives the bits of the operations as they are written.

>>> from wengert.compilation.native.loops import Buffer, Compute, Element, Load, Register, Return, Store
>>> x, y, r, s = Buffer("x", 1, "argument"), Buffer("y", 1, "result"), Register(1), Register(2)
>>> body = Load(r, Element(x, 0)), Compute(s, "multiply", (r, 2.0)), Store(Element(y, 0), s), Return(0)
>>> print(write_kernel(Kernel("f", (x,), y, body)))
define i32 @kernel(ptr noalias readonly %arguments, ptr noalias %y) nounwind "probe-stack"="inline-asm" {
  %x.at = getelementptr ptr, ptr %arguments, i64 0
  %x = load ptr, ptr %x.at
  %e1 = getelementptr double, ptr %x, i64 0
  %r1 = load double, ptr %e1
  %r2 = fmul double %r1, 0x4000000000000000
  %e2 = getelementptr double, ptr %y, i64 0
  store double %r2, ptr %e2
  ret i32 0
}
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from wengert.compilation.native.loops import (
    Compute,
    Element,
    Kernel,
    Leave,
    Load,
    Nest,
    Operand,
    Register,
    Return,
    Statement,
    Store,
    Unless,
    walk_statements,
)
from wengert.compilation.native.operations import SPECIAL, operation_of

ATTRIBUTES = 'nounwind "probe-stack"="inline-asm"'
"""Attributes of functions: they raise nothing, and touch each page of their stack, so an overflow is seen."""
PURE = "nounwind willreturn memory(none)"
"""Attributes of what they call: a value that is not read is not computed."""


def write_kernel(kernel: Kernel) -> str:
    """Return a kernel as an LLVM function; what it calls is declared by `write_declarations`."""
    writer = _Writer()
    writer.lines.append(f"define i32 @kernel(ptr noalias readonly %arguments, ptr noalias %y) {ATTRIBUTES} {{")
    for k, buffer in enumerate(kernel.arguments):
        writer.write(f"%{buffer.name}.at = getelementptr ptr, ptr %arguments, i64 {k}")
        writer.write(f"%{buffer.name} = load ptr, ptr %{buffer.name}.at")
    for buffer in kernel.temporaries:
        writer.write(f"%{buffer.name} = alloca [{buffer.size} x double], align 64")
    writer.block(kernel.statements, ())
    return "\n".join([*writer.lines, "}"])


def write_declarations(kernel: Kernel) -> str:
    """Return the declarations of the functions that a kernel calls."""
    return "\n".join([
        f"declare double @{name}({', '.join(['double'] * arity)}{', i32' * name.startswith(SPECIAL)}) {PURE}"
        for name, arity in _called(kernel).items()
    ])  # fmt: skip


def symbols_of(kernel: Kernel) -> list[str]:
    """Return the functions of libm and SciPy that a kernel calls."""
    return [name for name in _called(kernel) if not name.startswith("llvm.")]


def _called(kernel: Kernel) -> dict[str, int]:
    """Return the functions that a kernel calls, intrinsics of LLVM's included, with the number of their operands."""
    names = dict.fromkeys(s.operation for s in walk_statements(kernel.statements) if isinstance(s, Compute))
    operations = [operation_of(name) for name in names if name != "select"]
    return {op.text.partition("@")[2].partition("(")[0]: op.arity for op in operations if "@" in op.text}


class _Writer:
    """Writes statements; each block of the loops is some basic blocks of LLVM's."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.elements = self.labels = 0

    def write(self, text: str) -> None:
        """Write one instruction."""
        self.lines.append(f"  {text}")

    def label(self) -> str:
        """Return a new label."""
        self.labels += 1
        return f"L{self.labels}"

    def block(self, statements: Sequence[Statement], variables: tuple[str, ...]) -> None:
        """Write a block inside loops over variables."""
        for statement in statements:
            if isinstance(statement, Compute):
                self.compute(statement)
            elif isinstance(statement, Load):
                address = self.address(statement.element, variables)
                self.write(f"%{statement.register} = load double, ptr {address}")
            elif isinstance(statement, Store):
                address = self.address(statement.element, variables)
                self.write(f"store double {written(statement.value)}, ptr {address}")
            elif isinstance(statement, Nest):
                self.nest(statement.counts, statement.body, variables)
            elif isinstance(statement, Unless):
                self.unless(statement, variables)
            elif isinstance(statement, Return):
                self.write(f"ret i32 {statement.branch}")
            elif isinstance(statement, Leave):
                self.write("ret i32 -1")

    def compute(self, statement: Compute) -> None:
        """Write one operation."""
        operands = list(map(written, statement.operands))
        if statement.operation == "select":
            kind = "i1" if statement.register.is_bool else "double"
            text = f"select i1 {operands[0]}, {kind} {operands[1]}, {kind} {operands[2]}"
        else:
            text = operation_of(statement.operation).text.format(*operands)
        self.write(f"%{statement.register} = {text}")

    def address(self, element: Element, variables: tuple[str, ...]) -> str:
        """Write the address of an element."""
        offset = str(element.offset)
        self.elements += 1
        name = f"%e{self.elements}"
        for k, stride in enumerate(element.strides):
            if stride:
                self.write(f"{name}.s{k} = mul nsw i64 {variables[k]}, {stride}")
                self.write(f"{name}.o{k} = add nsw i64 {name}.s{k}, {offset}")
                offset = f"{name}.o{k}"
        self.write(f"{name} = getelementptr double, ptr %{element.buffer.name}, i64 {offset}")
        return name

    def nest(self, counts: Sequence[int], body: Sequence[Statement], variables: tuple[str, ...]) -> None:
        """Write a nest of loops."""
        if not counts:
            self.block(body, variables)
            return
        before, head, after = self.label(), self.label(), self.label()
        variable = f"%i.{head}"
        self.write(f"br label %{before}")
        self.lines.append(f"{before}:")
        self.write(f"br label %{head}")
        self.lines.append(f"{head}:")
        self.write(f"{variable} = phi i64 [ 0, %{before} ], [ {variable}.next, %{head}.end ]")
        self.nest(counts[1:], body, (*variables, variable))
        self.write(f"br label %{head}.end")
        self.lines.append(f"{head}.end:")
        self.write(f"{variable}.next = add nuw nsw i64 {variable}, 1")
        self.write(f"{variable}.more = icmp ult i64 {variable}.next, {counts[0]}")
        self.write(f"br i1 {variable}.more, label %{head}, label %{after}")
        self.lines.append(f"{after}:")

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
    if isinstance(operand, Register):
        return f"%{operand}"
    if type(operand) is bool:
        return "true" if operand else "false"
    return f"0x{struct.unpack('<Q', struct.pack('<d', operand))[0]:016X}"
