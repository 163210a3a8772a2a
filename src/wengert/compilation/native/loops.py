"""Loops: the form of a function in which arithmetic is scalar and memory is explicit, between Code and machine code.

Grammar::

    kernel    ::= buffer* block
    block     ::= statement*                       # in order; ends with `return` where it is one of a whole branch
    statement ::= register = operation operand ... # one scalar
                | register = element               # load
                | element = operand                # store
                | for counts, carry ...: block     # a nest of loops
                | unless operand is value: block   # a decision that may fall otherwise
                | return k                         # the results of branch k are complete
                | leave                            # no result: the caller computes it in Python
                | repeat steps, state ...: block   # the steps of a loop, one after the other
                | stop k                           # end the loop before this step, for a reason
    count     ::= whole number | register          # known when the code is made, or when it runs
    carry     ::= register = operand, then operand # a value that goes from step to step, and what it is afterwards
    state     ::= register = element, then operand # the same, where it is read before and left after the steps
    element   ::= buffer[offset + stride * i + ... + stride * register + ...]

A register is assigned once.  Straight-line code of a small program has no loops, and its memory is that of the
arguments and results alone.  A nest may hold nests; the strides of an element are those of all variables around it.
The names of operations are those of `wengert.compilation.native.operations`.

>>> x, y = Buffer("x", 3, "argument"), Buffer("y", 1, "result")
>>> r = Register(1)
>>> kernel = Kernel("f", (x,), y, (Load(r, Element(x, 2)), Store(Element(y, 0), r), Return(0)))
>>> print(kernel)
f(x: 3) -> y: 1
  r1 = x[2]
  y[0] = r1
  return 0
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np


class Register(NamedTuple):
    """A scalar of a dtype, given by NumPy's character: mostly a number of double precision, or a boolean."""

    number: int
    dtype: str = "d"

    @property
    def is_bool(self) -> bool:
        """True for a boolean."""
        return self.dtype == "?"

    def __str__(self) -> str:
        return f"{_PREFIXES.get(self.dtype, 'r')}{self.number}"


_PREFIXES: Mapping[str, str] = {"?": "b", "l": "n", "i": "m", "f": "s"}


class Extent(int):
    """A whole number that a kernel is passed when it runs: a length, a stride, an offset.

    Its value is the largest in the family (`wengert.compilation.native.extents`), for estimates.
    """

    name: str

    def __new__(cls, value: int, name: str) -> Extent:
        extent = super().__new__(cls, value)
        extent.name = name
        return extent

    def __str__(self) -> str:
        return self.name

    __repr__ = __str__


Operand = Register | float | bool  # a whole number, where the dtype of a register would be one


class Buffer(NamedTuple):
    """Memory of numbers of one dtype.

    Its role is ``"argument"`` (it is read), ``"result"`` (it is written), ``"work"`` (memory that the caller passes for
    what need not be kept), or ``"temporary"`` (on the stack).  With a `step`, it moves on by so many numbers with each
    step of the loop around it, and its size is that of one step.
    """

    name: str
    size: int
    role: str
    dtype: str = "d"
    step: int = 0

    @property
    def doubles(self) -> int:
        """The number of doubles that take as much memory, rounded up."""
        return -(-self.size * np.dtype(self.dtype).itemsize // 8)

    def __str__(self) -> str:
        kind = "" if self.dtype == "d" else f" of {np.dtype(self.dtype)}"
        return f"{self.name}: {self.size}{kind}{f' a step, {self.step:+}' * bool(self.step)}"


class Element(NamedTuple):
    """An element of a buffer.

    The strides are those of the variables of the nests around it, the outermost first.  To a computed place belong
    registers of whole numbers, each with its stride; whoever writes the statement checks that it is inside.
    """

    buffer: Buffer
    offset: int
    strides: tuple[int, ...] = ()
    computed: tuple[tuple[Register, int], ...] = ()

    def __str__(self) -> str:
        terms = [f"{VARIABLES[k]}" if _is_one(s) else f"{s} {VARIABLES[k]}" for k, s in enumerate(self.strides) if s]
        terms += [f"{register}" if s == 1 else f"{s} {register}" for register, s in self.computed]
        if self.offset or isinstance(self.offset, Extent) or not terms:
            terms.append(str(self.offset))
        return f"{self.buffer.name}[{' + '.join(terms)}]"


def _is_one(stride: int) -> bool:
    return stride == 1 and not isinstance(stride, Extent)


@functools.lru_cache(maxsize=1 << 12)
def row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides of an array in row-major order; zero along axes of length one.

    >>> row_major((2, 1, 3))
    (3, 0, 1)
    """
    return tuple([math.prod(shape[k + 1 :]) if n > 1 else 0 for k, n in enumerate(shape)])


@dataclass(frozen=True, slots=True)
class Compute:
    """Compute a register by an operation of scalars."""

    register: Register
    operation: str
    operands: tuple[Operand, ...]

    @property
    def kind(self) -> str:
        """The kind of its operands; of ``select``, that of what is chosen."""
        if self.operation == "select":
            return self.register.dtype
        kinds = [operand.dtype for operand in self.operands if isinstance(operand, Register)]
        if kinds:
            return kinds[0]
        return {bool: "?", int: "l"}.get(type(self.operands[0]), "d") if self.register.is_bool else self.register.dtype

    def __str__(self) -> str:
        return f"{self.register} = {self.operation} {', '.join(map(_written, self.operands))}"


@dataclass(frozen=True, slots=True)
class Load:
    """Read an element."""

    register: Register
    element: Element

    def __str__(self) -> str:
        return f"{self.register} = {self.element}"


@dataclass(frozen=True, slots=True)
class Store:
    """Write an element."""

    element: Element
    value: Operand

    def __str__(self) -> str:
        return f"{self.element} = {_written(self.value)}"


class Carry(NamedTuple):
    """A value that goes from step to step of a nest.

    Attributes
    ----------
    register
        The value in a step.
    first
        The value in the first step.
    then
        The value in the next step, computed in this one.
    after
        The value after the last step; `first` if there is none.
    """

    register: Register
    first: Operand
    then: Operand
    after: Register

    def __str__(self) -> str:
        return f"{self.register} = {_written(self.first)}, then {_written(self.then)}, in the end {self.after}"


@dataclass(frozen=True, slots=True)
class Nest:
    """Run a block for all values of loop variables, the last of which runs fastest.

    Attributes
    ----------
    counts
        The number of values of each variable; one that is computed may be zero.
    body
        The block.
    carries
        What goes from step to step.
    parallel
        True if no step reads what another one writes: they may run in any order, and side by side.
    depth
        The number of variables of the nests around this one.
    """

    counts: tuple[Operand, ...]
    body: tuple[Statement, ...]
    carries: tuple[Carry, ...] = ()
    parallel: bool = False
    depth: int = 0

    def __str__(self) -> str:
        heads = [f"{VARIABLES[self.depth + k]} < {count}" for k, count in enumerate(self.counts)]
        return f"for {'; '.join([', '.join(heads), *map(str, self.carries)])}:"


@dataclass(frozen=True, slots=True)
class Unless:
    """Run a block, which returns or leaves, unless an operand is true, or is not where `value` is False."""

    operand: Operand
    value: bool
    otherwise: tuple[Statement, ...]

    def __str__(self) -> str:
        return f"unless {'' if self.value else 'not '}{_written(self.operand)}:"


@dataclass(frozen=True, slots=True)
class Return:
    """End with the results of a branch, given by its number."""

    branch: int

    def __str__(self) -> str:
        return f"return {self.branch}"


@dataclass(frozen=True, slots=True)
class Leave:
    """End without a result."""

    def __str__(self) -> str:
        return "leave"


class State(NamedTuple):
    """A number that a step of a loop passes on to the next.

    Attributes
    ----------
    register
        Its value in a step.
    element
        Where it is before the first step, and after the last.
    then
        Its value in the next step.
    """

    register: Register
    element: Element
    then: Operand

    def __str__(self) -> str:
        return f"{self.register} = {self.element}, then {_written(self.then)}"


@dataclass(frozen=True, slots=True)
class Repeat:
    """Run a block as often as `steps` says, one step after the other, or until one stops; then end the kernel.

    The kernel returns the reason (0 if all steps were made), and leaves in `steps` how many were.
    """

    steps: Element
    states: tuple[State, ...]
    body: tuple[Statement, ...]

    def __str__(self) -> str:
        return f"repeat {'; '.join([str(self.steps), *map(str, self.states)])}:"


@dataclass(frozen=True, slots=True)
class Stop:
    """End the loop before this step, for a reason; what the step has written into memory does not count."""

    reason: int

    def __str__(self) -> str:
        return f"stop {self.reason}"


Statement = Compute | Load | Store | Nest | Unless | Return | Leave | Repeat | Stop
VARIABLES = "ijklmnopqstuvw"
"""The names of the variables of a nest, the outermost first."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """A function of buffers.

    Attributes
    ----------
    arguments
        The buffers that the caller passes, each by itself: what is read, and what is written beside `results`.
    results
        The buffer of the results of a tree of branches, that of the largest.
    statements
        The block, which begins with the arguments; blocks of other branches are nested in it.
    temporaries
        The buffers that it allocates on the stack.
    in_place
        The numbers of results that are written into an argument, with that of the argument: they have no buffer.
    """

    name: str
    arguments: tuple[Buffer, ...]
    results: Buffer
    statements: tuple[Statement, ...]
    temporaries: tuple[Buffer, ...] = ()
    in_place: Mapping[int, int] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{self.name}({', '.join(map(str, self.arguments))}) -> {self.results}"]
        lines += [f"  {buffer} on the stack" for buffer in self.temporaries]
        return "\n".join([*lines, *_listed(self.statements, "  ")])

    def extents(self) -> list[Extent]:
        """Return the whole numbers that it is passed when it runs, in the order of their names."""
        extents: dict[str, Extent] = {}
        for s in walk_statements(self.statements):
            numbers: Sequence[Operand] = ()
            if isinstance(s, (Load, Store)):
                numbers = s.element.offset, *s.element.strides
            elif isinstance(s, Nest):
                numbers = s.counts
            for number in numbers:
                if isinstance(number, Extent):
                    extents[number.name] = number
        return sorted(extents.values(), key=lambda extent: int(extent.name.removeprefix("extent")))

    @property
    def has_nests(self) -> bool:
        """True unless the code is straight, but for decisions."""
        return any(isinstance(s, Nest) for s in walk_statements(self.statements))

    def work_offsets(self) -> dict[Buffer, int]:
        """Return where each temporary begins in one array of doubles: an exported function is passed that."""
        sizes = [buffer.doubles for buffer in self.temporaries]
        return dict(zip(self.temporaries, itertools.accumulate(sizes, initial=0), strict=False))


def walk_statements(statements: Iterable[Statement]) -> Iterator[Statement]:
    """Yield all statements, those of inner blocks after the one that holds them."""
    for statement in statements:
        yield statement
        yield from walk_statements(inner_block(statement))


def with_buffers(statements: Iterable[Statement], buffers: Mapping[Buffer, Buffer]) -> tuple[Statement, ...]:
    """Return straight statements and nests with buffers replaced by others."""
    replaced: list[Statement] = []
    for s in statements:
        if isinstance(s, (Load, Store)) and s.element.buffer in buffers:
            s = replace(s, element=s.element._replace(buffer=buffers[s.element.buffer]))
        elif isinstance(s, Nest):
            s = replace(s, body=with_buffers(s.body, buffers))
        replaced.append(s)
    return tuple(replaced)


def steps_of(statements: Iterable[Statement]) -> int:
    """Return how many steps the nests among statements take, about."""
    steps = 0
    for statement in statements:
        if isinstance(statement, Nest):
            count = math.prod([n for n in statement.counts if isinstance(n, int)])
            steps += count * max(steps_of(statement.body), 1)
    return steps


def inner_block(statement: Statement) -> tuple[Statement, ...]:
    """Return the block that a statement holds; an empty one for most."""
    if isinstance(statement, (Nest, Repeat)):
        return statement.body
    return statement.otherwise if isinstance(statement, Unless) else ()


def operands_of(statement: Statement) -> Sequence[Operand]:
    """Return the operands that a statement itself reads."""
    if isinstance(statement, Compute):
        return statement.operands
    if isinstance(statement, Load):
        return [register for register, _ in statement.element.computed]
    if isinstance(statement, Store):
        return [statement.value, *[register for register, _ in statement.element.computed]]
    if isinstance(statement, Nest):
        return [*statement.counts, *[c.first for c in statement.carries], *[c.then for c in statement.carries]]
    if isinstance(statement, Repeat):
        return [state.then for state in statement.states]
    return (statement.operand,) if isinstance(statement, Unless) else ()


def without_unread(statements: Sequence[Statement], temporaries: Iterable[Buffer]) -> tuple[Statement, ...]:
    """Drop what computes registers and elements of temporaries that nothing reads."""
    temporaries = set(temporaries)
    loaded = {s.element.buffer for s in walk_statements(statements) if isinstance(s, Load)}
    read: set[Operand] = set()

    def kept(block: Sequence[Statement]) -> tuple[Statement, ...]:
        reversed_: list[Statement] = []
        for statement in reversed(block):
            if isinstance(statement, (Compute, Load)) and statement.register not in read:
                continue
            if isinstance(statement, Store):
                buffer = statement.element.buffer
                if buffer in temporaries and buffer not in loaded:
                    continue
            if isinstance(statement, Unless):
                statement = Unless(statement.operand, statement.value, kept(statement.otherwise))
            elif isinstance(statement, Nest):
                read.update(operands_of(statement))
                statement = replace(statement, body=kept(statement.body))
                if not statement.body and not statement.carries:
                    continue
            elif isinstance(statement, Repeat):
                read.update(operands_of(statement))
                statement = replace(statement, body=kept(statement.body))
            read.update(operands_of(statement))
            reversed_.append(statement)
        return tuple(reversed_[::-1])

    while True:
        shorter = kept(statements)
        still = {s.element.buffer for s in walk_statements(shorter) if isinstance(s, Load)}
        if still == loaded:
            return shorter
        statements, loaded = shorter, still
        read.clear()


def _listed(block: Iterable[Statement], indent: str) -> Iterator[str]:
    for statement in block:
        yield indent + str(statement)
        yield from _listed(inner_block(statement), indent + "  ")


def _written(operand: Operand) -> str:
    return str(operand) if isinstance(operand, Register) else repr(operand)
