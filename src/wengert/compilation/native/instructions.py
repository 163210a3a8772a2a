"""Instructions: long traces of numbers as data, which one small kernel reads, in machine code.

An instruction is its *kind* (a primitive, and the decision that is checked), and which numbers of a memory it reads.
The kernel goes through all of them: ``memory[first + t] = kind(memory[a[t]], memory[b[t]])``.  It is made of the native
facets of the kinds, and the kernels that carry tangents and adjoints of their derivative rules.  So it takes as long to
compile as there are different kinds, however long the trace is.

>>> import numpy as np
>>> from wengert.primitives.numpy import elementwise as e
>>> kinds = Kind(e.sin, 1), Kind(e.multiply, 2)
>>> program = np.array([0, 1], np.uint8), np.array([0, 1], np.int32), np.array([0, 0], np.int32)
>>> memory = np.array([0.5, 0.0, 0.0])
>>> if is_available():
...     assert run_kernel("values", kinds, *program, memory, first=1) == -1
...     assert abs(memory[2] - 0.5 * np.sin(0.5)) < 1e-15
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from wengert.compilation.native.engine import Compiled, address_of, compile_texts, is_available
from wengert.compilation.native.llvm import ATTRIBUTES, symbols_of, write_declarations, write_operation, written
from wengert.compilation.native.loops import Buffer, Compute, Kernel, Operand, Register
from wengert.compilation.native.operations import RealNumbers, constant_of, operation_of
from wengert.program import Line, Primitive, Program, Var, interpret
from wengert.tracing import record

__all__ = ["LEFT", "UNCHECKED", "Kind", "is_available", "is_native", "partial_program", "run_kernel"]

UNCHECKED, LEFT = -1, -2
"""What a kernel returns when it has gone through all instructions, and where a number on the way was not finite."""


class Kind(NamedTuple):
    """What instructions of one kind do.

    Attributes
    ----------
    primitive
        What they compute.
    arity
        The number of operands, 1 or 2, that are read in the memory.
    exponent
        The constant second operand of a power, which decides how it is computed; None for any other.
    decision
        The decision that was taken on the result, which is checked instead of stored: the truth of a comparison;
        None for a number.
    params
        The parameters, as pairs.
    """

    primitive: Primitive
    arity: int
    exponent: float | int | None = None
    decision: bool | None = None
    params: tuple[tuple[str, Any], ...] = ()

    def compute(self, *operands: Any) -> Any:
        """Compute the result of plain numbers."""
        more = () if self.exponent is None else (self.exponent,)
        return self.primitive.compute(*operands[: self.arity], *more, **dict(self.params))

    def partial(self, k: int, y: Any, *operands: Any) -> Any:
        """Return the partial derivative with respect to an operand; None where it is zero."""
        rule = self.primitive.partial(k)
        more = () if self.exponent is None else (self.exponent,)
        return None if rule is None else rule(y, *operands[: self.arity], *more, **dict(self.params))


@functools.lru_cache(maxsize=4096)
def is_native(kind: Kind) -> bool:
    """Return whether machine code computes a kind, and its partial derivatives."""
    operations = _Operations()
    try:
        operands = [_Scalar(operations.register()) for _ in range(kind.arity)]
        y = operations.result_of(kind, operands)
        if kind.decision is None:
            for k in range(kind.arity):
                operations.partial_of(kind, k, y, operands)
        return all(address_of(symbol) is not None for symbol in symbols_of(_as_kernel(operations.statements)))
    except (_NoKernelError, TypeError):
        return False


def run_kernel(
    what: str,
    kinds: tuple[Kind, ...],
    codes: np.ndarray[Any, Any],
    a: np.ndarray[Any, Any],
    b: np.ndarray[Any, Any],
    memory: np.ndarray[Any, Any],
    derivatives: np.ndarray[Any, Any] | None = None,
    first: int = 0,
) -> int:
    """Run the kernel that computes ``values``, or carries ``tangents`` or ``adjoints``, through all instructions.

    Returns the number of the instruction whose decision falls otherwise, or that none does (`UNCHECKED`), or that some
    number on the way was not finite (`LEFT`).
    """
    function = _kernel(what, kinds)[0]
    second = memory if derivatives is None else derivatives
    addresses = [array.ctypes.data for array in (codes, a, b, memory, second)]
    return int(function(*addresses, first, len(codes)))


# ---- What the facets and rules of a kind are in terms of operations ----


class _NoKernelError(Exception):
    """A kind has something that machine code is not generated for."""


class _Scalar:
    """An operand of an operation: what a native facet takes."""

    __slots__ = ("thing",)
    ndim = 0

    def __init__(self, thing: Operand) -> None:
        self.thing = thing


class _Operations(RealNumbers):
    """Writes operations of scalars; called by native facets, as `lowering` calls them for arrays."""

    def __init__(self) -> None:
        self.statements: list[Compute] = []
        self.count = 0

    def register(self, is_bool: bool = False) -> Register:
        """Return a new register."""
        self.count += 1
        return Register(self.count, "?" if is_bool else "d")

    def value_of(self, operand: Any) -> Any:
        """Return the value of a constant; None for any other operand."""
        thing = operand.thing if isinstance(operand, _Scalar) else operand
        return None if isinstance(thing, Register) else thing

    def __call__(self, name: str, *operands: Any) -> _Scalar:
        """Apply an operation."""
        things = [o.thing if isinstance(o, _Scalar) else o for o in operands]
        if name in ("truth", "number"):
            return _Scalar(self.as_kind(things[0], name == "truth"))
        if name == "select":
            condition, one, other = self.as_kind(things[0], True), things[1], things[2]
            if not (_is_bool(one) and _is_bool(other)):
                one, other = self.as_kind(one, False), self.as_kind(other, False)
            return self.append("select", _is_bool(one), (condition, one, other))
        operation = operation_of(name)
        things = [self.as_kind(thing, operation.of_bools) for thing in things]
        if not any(isinstance(thing, Register) for thing in things):
            value = constant_of(name, tuple(things), "?" if operation.of_bools else "d")
            if value is not None:
                return _Scalar(value)
        return self.append(name, operation.is_bool, tuple(things))

    def append(self, name: str, is_bool: bool, operands: tuple[Operand, ...]) -> _Scalar:
        """Add an operation, and return its result."""
        register = self.register(is_bool)
        self.statements.append(Compute(register, name, operands))
        return _Scalar(register)

    def as_kind(self, thing: Operand, as_bool: bool) -> Operand:
        """Return an operand as a boolean, or as a number."""
        if _is_bool(thing) == as_bool:
            return thing if as_bool or isinstance(thing, Register) else float(thing)
        if as_bool:
            return self("not_equal", thing, 0.0).thing
        return self.append("convert", False, (thing,)).thing if isinstance(thing, Register) else float(thing)

    def line(self, primitive: Primitive, operands: Sequence[Any], params: Mapping[str, Any]) -> _Scalar:
        """Write a line of a Program of numbers."""
        facet = primitive.native
        if facet is None or facet == "moves" or primitive.multiple or not primitive.elementwise:
            raise _NoKernelError(primitive.name)
        result = self(facet, *operands) if isinstance(facet, str) else facet(self, *operands, **params)
        if result is None:
            raise _NoKernelError(primitive.name)
        return result if isinstance(result, _Scalar) else _Scalar(result)

    def result_of(self, kind: Kind, operands: Sequence[_Scalar]) -> _Scalar:
        """Write the result of a kind."""
        more = () if kind.exponent is None else (_Scalar(float(kind.exponent)),)
        return self.line(kind.primitive, [*operands, *more], dict(kind.params))

    def partial_of(self, kind: Kind, k: int, y: _Scalar, operands: Sequence[_Scalar]) -> _Scalar | None:
        """Write the partial derivative of a kind with respect to an operand; None where it is zero."""
        program = partial_program(kind, k)
        if not isinstance(program, Program):
            return None if program is None else _Scalar(float(program))
        values = interpret(
            program, [y, *operands], lambda line, taken: self._of_line(line, taken), None, lambda value: _number(value)
        )
        (atom,) = program.outputs
        return values[atom] if isinstance(atom, Var) else _number(atom.value)

    def _of_line(self, line: Line, operands: Sequence[Any]) -> _Scalar:
        return self.line(line.primitive, operands, line.params)


def _number(value: Any) -> _Scalar:
    """Return a constant of a rule as an operand."""
    if np.ndim(value):
        raise _NoKernelError("an array")
    return _Scalar(bool(value) if isinstance(value, (bool, np.bool_)) else float(value))


def _is_bool(thing: Operand) -> bool:
    return thing.is_bool if isinstance(thing, Register) else type(thing) is bool


@functools.lru_cache(maxsize=4096)
def partial_program(kind: Kind, k: int) -> Program | float | None:
    """Return the rule of a kind as a Program of the result and the operands; a number if it is constant."""
    samples = [np.float64(v) for v in (0.5, 0.75, 0.625)[: kind.arity + 1]]
    with record("partial") as trace:
        y, *operands = [trace.argument(f"x{n}", sample) for n, sample in enumerate(samples)]
        try:
            partial = kind.partial(k, y, *operands)
        except Exception as error:
            raise _NoKernelError(kind.primitive.name) from error
        if partial is None:
            return None
        if type(partial) is not type(y):
            return _number(partial).thing  # type: ignore[return-value]
        trace.result("partial", partial)
    if trace.tape.guards:
        raise _NoKernelError(f"the rule of {kind.primitive.name} looks at values")
    return trace.program()


# ---- The kernels ----


def _as_kernel(statements: Sequence[Compute]) -> Kernel:
    return Kernel("f", (), Buffer("y", 0, "result"), tuple(statements))


@functools.lru_cache(maxsize=64)
def _kernel(what: str, kinds: tuple[Kind, ...]) -> tuple[Callable[..., int], Compiled]:
    """Compile a kernel for instructions of some kinds."""
    text, symbols = _written_kernel(what, kinds)
    addresses = {symbol: address_of(symbol) for symbol in symbols}
    compiled = compile_texts([text], "instructions", addresses, optimize=True)  # type: ignore[arg-type]
    pointers = [ctypes.c_void_p] * 5
    return ctypes.CFUNCTYPE(ctypes.c_int64, *pointers, ctypes.c_int64, ctypes.c_int64)(compiled.address), compiled


def _written_kernel(what: str, kinds: Sequence[Kind]) -> tuple[str, Sequence[str]]:
    """Write a kernel as LLVM text; return it with the functions that it calls."""
    operations = _Operations()
    cases: list[str] = []
    for number, kind in enumerate(kinds):
        cases += [f"K{number}:", *_Case(operations, kind, what).lines, ""]
    kernel = _as_kernel(operations.statements)
    switch = " ".join([f"i8 {number}, label %K{number}" for number in range(len(kinds))])
    backwards = what == "adjoints"
    text = f"""{write_declarations(kernel)}
define i64 @instructions({_ARGUMENTS}) {ATTRIBUTES} {{
entry:
  %bad = alloca double
  store double 0.0, ptr %bad
  %last = sub i64 %count, 1
  %any = icmp sgt i64 %count, 0
  br i1 %any, label %head, label %end
head:
  %t = phi i64 [ {"%last" if backwards else "0"}, %entry ], [ %t.next, %next ]
  %codes.at = getelementptr i8, ptr %codes, i64 %t
  %code = load i8, ptr %codes.at
  %as.at = getelementptr i32, ptr %as, i64 %t
  %a32 = load i32, ptr %as.at
  %a = sext i32 %a32 to i64
  %bs.at = getelementptr i32, ptr %bs, i64 %t
  %b32 = load i32, ptr %bs.at
  %b = sext i32 %b32 to i64
  %out = add i64 %first, %t
  %va = getelementptr double, ptr %v, i64 %a
  %vb = getelementptr double, ptr %v, i64 %b
  %vy = getelementptr double, ptr %v, i64 %out
  %ga = getelementptr double, ptr %g, i64 %a
  %gb = getelementptr double, ptr %g, i64 %b
  %gy = getelementptr double, ptr %g, i64 %out
  switch i8 %code, label %leave [ {switch} ]
{chr(10).join(cases)}
next:
  %t.next = {"sub" if backwards else "add"} i64 %t, 1
  %more = icmp {"sge i64 %t.next, 0" if backwards else "slt i64 %t.next, %count"}
  br i1 %more, label %head, label %end
end:
  %total = load double, ptr %bad
  %finite = fcmp oeq double %total, 0.0
  br i1 %finite, label %good, label %leave
good:
  ret i64 {UNCHECKED}
leave:
  ret i64 {LEFT}
}}
"""
    return text, symbols_of(kernel)


_ARGUMENTS = (
    "ptr noalias readonly %codes, ptr noalias readonly %as, ptr noalias readonly %bs, ptr %v, ptr %g, "
    "i64 %first, i64 %count"
)


class _Case:
    """Writes what a kernel does with instructions of one kind."""

    def __init__(self, operations: _Operations, kind: Kind, what: str) -> None:
        self.lines: list[str] = []
        self.operations, self.kind, self.what = operations, kind, what
        self.temporaries = 0
        if kind.decision is not None:
            if what == "values":
                self.check()
            else:
                self.lines.append("  br label %next")
            return
        operands = self.operands()
        if what == "values":
            y = self.block(lambda: operations.result_of(kind, operands))
            self.lines.append(f"  store double {written(y)}, ptr %vy")
        else:
            result = operations.register()
            self.lines.append(f"  %{result} = load double, ptr %vy")
            getattr(self, what)(_Scalar(result), operands)
        self.lines.append("  br label %next")

    def operands(self) -> list[_Scalar]:
        """Load the operands."""
        scalars = []
        for place in ("va", "vb")[: self.kind.arity]:
            register = self.operations.register()
            self.lines.append(f"  %{register} = load double, ptr %{place}")
            scalars.append(_Scalar(register))
        return scalars

    def block(self, write: Callable[[], _Scalar | None]) -> Any:
        """Write operations; the numbers on the way to the last are looked at, whether they are finite."""
        operations = self.operations
        start = len(operations.statements)
        made = write()
        statements = operations.statements[start:]
        for statement in statements:
            self.lines.append(f"  %{statement.register} = {write_operation(statement)}")
        thing = None if made is None else made.thing
        if thing is not None and _is_bool(thing) and self.kind.decision is None:
            before = len(operations.statements)
            thing = operations.as_kind(thing, False)
            for statement in operations.statements[before:]:
                self.lines.append(f"  %{statement.register} = {write_operation(statement)}")
        for statement in statements:
            if statement.register != thing and not statement.register.is_bool:
                self.look_at(written(statement.register))
        return thing

    def temporary(self) -> str:
        """Return a new name."""
        self.temporaries += 1
        return f"%k{self.operations.count}.{self.temporaries}"

    def look_at(self, number: str) -> None:
        """Add a number times zero to what is to stay zero."""
        zero, before, after = self.temporary(), self.temporary(), self.temporary()
        self.lines += [
            f"  {zero} = fmul double {number}, 0.0",
            f"  {before} = load double, ptr %bad",
            f"  {after} = fadd double {before}, {zero}",
            f"  store double {after}, ptr %bad",
        ]

    def check(self) -> None:
        """Return where a decision falls otherwise."""
        operations, kind = self.operations, self.kind
        operands = self.operands()
        start = len(operations.statements)

        def write() -> _Scalar:
            return _Scalar(operations.as_kind(operations.result_of(kind, operands).thing, True))

        truth = self.block(write)
        label = f"W{start}.{len(self.lines)}.{operations.count}"
        targets = ("%next", f"%{label}") if kind.decision else (f"%{label}", "%next")
        self.lines += [
            "  store double 0.0, ptr %vy",
            f"  br i1 {written(truth)}, label {targets[0]}, label {targets[1]}",
            f"{label}:",
            "  ret i64 %t",
        ]

    def adjoints(self, y: _Scalar, operands: Sequence[_Scalar]) -> None:
        """Pull the adjoint of the result back to the operands."""
        self.lines.append(f"  %gy.{y.thing} = load double, ptr %gy")
        for k, place in zip(range(len(operands)), ("ga", "gb"), strict=False):
            c = self.block(lambda k=k: self.operations.partial_of(self.kind, k, y, operands))  # type: ignore[misc]
            if c is None:
                continue
            part = self.product(c, f"%gy.{y.thing}")
            before, after = self.temporary(), self.temporary()
            self.lines += [
                f"  {before} = load double, ptr %{place}",
                f"  {after} = fadd double {before}, {part}",
                f"  store double {after}, ptr %{place}",
            ]

    def tangents(self, y: _Scalar, operands: Sequence[_Scalar]) -> None:
        """Push the tangents of the operands to the result."""
        total = ""
        for k, place in zip(range(len(operands)), ("ga", "gb"), strict=False):
            c = self.block(lambda k=k: self.operations.partial_of(self.kind, k, y, operands))  # type: ignore[misc]
            if c is None:
                continue
            dot = self.temporary()
            self.lines.append(f"  {dot} = load double, ptr %{place}")
            part = self.product(c, dot)
            if total:
                both = self.temporary()
                self.lines.append(f"  {both} = fadd double {total}, {part}")
                part = both
            total = part
        self.lines.append(f"  store double {total or '0.0'}, ptr %gy")

    def product(self, c: Operand, number: str) -> str:
        """Write the product of a partial derivative and a number."""
        if c == 1.0 and not isinstance(c, Register):
            return number
        part = self.temporary()
        self.lines.append(f"  {part} = fmul double {written(c)}, {number}")
        return part
