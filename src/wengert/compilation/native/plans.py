"""Plans: what a sequence computes, piece by piece, and how it becomes commands.

A *piece* is some lines that become nests, or one product of matrices.  It reads and writes *values*, which are given by
number: first the operands, which the caller passes.  For one layout of the operands its pieces are lowered
(`wengert.compilation.native.lowerings`); then what is alive at one time gets memory of its own, and each piece is one
command, or a few.

>>> def doubled(op, x):
...     return [op("add", x, x)]
>>> form = Operand((100,), "d")
>>> pieces = [Piece("doubled", (), (k,), (k + 1,), doubled) for k in range(3)]
>>> plan = Plan((form,) * 4, 1, {}, ((3, Result((100,), "d", False)),), tuple(pieces))
>>> once = lower_piece(pieces[0], [(form, row_major_bytes(form))], Families(), True)
>>> lowered = Lowered(plan, [row_major_bytes(form)], [once] * 3)
>>> len(lowered.kernels), lowered.steps, lowered.memory
(1, 300, 1664)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from wengert.compilation.native.expressions import Argument, CopyError, Expressions, Move, Product, Value, View, view_of
from wengert.compilation.native.extents import Families, Member, without_empty
from wengert.compilation.native.kinds import PARTS
from wengert.compilation.native.llvm import symbols_of
from wengert.compilation.native.loops import Buffer, Kernel, Load, Store, row_major, steps_of, walk_statements
from wengert.compilation.native.lowering import NoLoweringError
from wengert.compilation.native.nests import lower_nests
from wengert.compilation.native.operations import SPECIAL
from wengert.compilation.native.products import BlasCall, NotSideBySideError, calls, operations
from wengert.compilation.native.products import code_of as blas_code
from wengert.compilation.native.sequences import MOST_ADDRESSES, NOWHERE, Arena, Command, stream, word


class Operand(NamedTuple):
    """The form of a value: an array, or a number where there are no axes."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def is_number(self) -> bool:
        """True for a scalar of NumPy's, or a float."""
        return not self.shape

    @property
    def type(self) -> Any:
        """The dtype of an array; the type of a scalar."""
        return np.dtype(self.dtype).type if self.is_number else np.dtype(self.dtype)

    @property
    def bytes(self) -> int:
        """The size in memory."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


class Result(NamedTuple):
    """What a kernel returns: an array, or without axes a scalar of NumPy's, or else Python's float."""

    shape: tuple[int, ...]
    dtype: str
    is_float: bool


class Piece(NamedTuple):
    """Lines that become nests, or one product of matrices.

    Attributes
    ----------
    outline
        What pieces have in common that are lowered in the same way, but for whole numbers; None if it is like no other.
    parameters
        These whole numbers.
    reads, writes
        The numbers of values.
    write
        Writes what is computed as expressions of what is read.
    compute
        Computes it of arrays, by NumPy; None where that is the same as what was written.
    """

    outline: Hashable
    parameters: tuple[int, ...]
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    write: Callable[..., Sequence[Value]]
    compute: Callable[..., Sequence[Any]] | None = None


class Plan(NamedTuple):
    """What a sequence computes.

    Attributes
    ----------
    values
        The forms of all values.
    operands
        How many of them, the first, are passed.
    constants
        Those that never change.
    results
        Those that are returned, and how.
    pieces
        The pieces, in order.
    """

    values: tuple[Operand, ...]
    operands: int
    constants: Mapping[int, np.ndarray[Any, Any]]
    results: tuple[tuple[int, Result], ...]
    pieces: tuple[Piece, ...]

    @property
    def by_rows(self) -> tuple[tuple[int, ...], ...]:
        """The strides of the operands, in bytes, where all are row-major."""
        return tuple([row_major_bytes(form) for form in self.values[: self.operands]])

    def dying(self) -> list[frozenset[int]]:
        """Return for each piece which of what it reads it may overwrite: nothing reads it later, and it is no result.

        What is written then must not be a result of the plan, which has memory of its own.
        """
        last = {number: k for k, piece in enumerate(self.pieces) for number in piece.reads}
        kept = {*range(self.operands), *self.constants, *[number for number, _ in self.results]}
        overwritten: list[frozenset[int]] = []
        for k, piece in enumerate(self.pieces):
            forms = [] if kept.intersection(piece.writes) else [self.values[n] for n in piece.writes]
            reads = [(place, n) for place, n in enumerate(piece.reads) if last[n] == k and n not in kept]
            real = [(place, n) for place, n in reads if self.values[n].dtype not in PARTS]
            overwritten.append(frozenset([place for place, n in real if self.values[n] in forms]))
        return overwritten

    @classmethod
    def of(cls, write: Callable[..., Sequence[Value]], operands: Sequence[Operand], results: Sequence[Result]) -> Plan:
        """Return the plan with one piece, of the operands, which computes the results."""
        forms = [Operand(result.shape, result.dtype) for result in results]
        numbers = range(len(operands), len(operands) + len(results))
        piece = Piece(None, (), tuple(range(len(operands))), tuple(numbers), write)
        return cls((*operands, *forms), len(operands), {}, tuple(zip(numbers, results, strict=True)), (piece,))


class PieceCall(NamedTuple):
    """A command of a piece: a kernel of nests or a call of BLAS, and where its arrays are.

    A place is a number among what the piece reads, writes, has as memory for itself, and reads as tables; and bytes.
    """

    source: Member | BlasCall
    places: tuple[tuple[int, int], ...]


class LoweredPiece(NamedTuple):
    """A piece for one layout: its calls, the bytes of memory for itself, its nests, about how long it takes, the
    tables that it reads, and which of what it reads it writes into: by the number of what is written."""

    calls: tuple[PieceCall, ...]
    works: tuple[int, ...]
    kernels: tuple[Kernel, ...]
    steps: int
    tables: tuple[np.ndarray[Any, Any], ...] = ()
    in_place: Mapping[int, int] = MappingProxyType({})


class Lowered:
    """A plan that is lowered for one layout of its operands.

    Attributes
    ----------
    plan, strides
        The plan, and the layout.
    kernels
        The different nests, of those that were predicted one of each kind.
    families
        The families of nests.
    steps
        About how many steps all nests take.
    memory
        The bytes of the arena.
    """

    def __init__(self, plan: Plan, strides: Sequence[Any], pieces: Sequence[LoweredPiece]) -> None:
        self.plan, self.strides = plan, tuple(strides)
        different = list({id(piece): piece for piece in pieces}.values())
        self.kernels = list({id(kernel): kernel for piece in different for kernel in piece.kernels}.values())
        members = [call.source for piece in different for call in piece.calls if isinstance(call.source, Member)]
        self.families = list({id(member.family): member.family for member in members}.values())
        self.steps = sum(piece.steps for piece in pieces)
        self._pieces = pieces
        self._words, self.memory = self._in_memory()

    @property
    def may_raise(self) -> bool:
        """Whether a function of SciPy's is called that may raise."""
        return any(symbol.startswith(SPECIAL) for kernel in self.kernels for symbol in symbols_of(kernel))

    def _in_memory(self) -> tuple[list[tuple[tuple[int, ...], ...]], int]:
        """Return where the arrays of each piece are, what it has for itself included; and the size of the arena."""
        plan = self.plan
        words: dict[int, int] = {k: word(k + 1) for k in range(plan.operands)}
        words.update((k, word(NOWHERE, array.ctypes.data)) for k, array in plan.constants.items())
        words.update((number, word(plan.operands + k + 1)) for k, (number, _) in enumerate(plan.results))
        last = {number: k for k, piece in enumerate(plan.pieces) for number in (*piece.reads, *piece.writes)}
        base, arena = plan.operands + len(plan.results) + 1, Arena()
        starts: dict[int, int] = {}
        placed: list[tuple[tuple[int, ...], ...]] = []
        for k, (piece, lowered) in enumerate(zip(plan.pieces, self._pieces, strict=True)):
            for place, number in enumerate(piece.writes):
                if place in lowered.in_place:
                    taken = piece.reads[lowered.in_place[place]]
                    words[number] = words[taken]
                    if taken in starts:
                        starts[number] = starts.pop(taken)
                elif number not in words:
                    starts[number] = arena.take(plan.values[number].bytes)
                    words[number] = word(base, starts[number])
            works = [arena.take(size) for size in lowered.works]
            here = [*[words[n] for n in (*piece.reads, *piece.writes)], *[word(base, start) for start in works]]
            here += [word(NOWHERE, table.ctypes.data) for table in lowered.tables]
            placed.append(tuple([tuple([here[n] + offset for n, offset in call.places]) for call in lowered.calls]))
            for start, size in zip(works, lowered.works, strict=True):
                arena.free(start, size)
            for number in dict.fromkeys((*piece.reads, *piece.writes)):
                if last[number] == k and number in starts:
                    arena.free(starts[number], plan.values[number].bytes)
        return placed, arena.size

    def commands(self) -> tuple[np.ndarray[Any, np.dtype[np.int64]], list[Any]]:
        """Compile what is not compiled yet; return the commands, and what has to live as long as they do."""
        codes: dict[int, tuple[int, int]] = {}
        kept: list[Any] = [*self.plan.constants.values(), *[piece.tables for piece in self._pieces]]
        commands: list[Command] = []
        for piece, places in zip(self._pieces, self._words, strict=True):
            for call, words in zip(piece.calls, places, strict=True):
                if id(call) not in codes:
                    source = call.source
                    if isinstance(source, Member):
                        code, numbers = source.code()
                    else:
                        code, numbers = blas_code(source.routine, source.kind), source.extents
                    extents = np.array(numbers, np.int64)
                    kept += [code, extents]
                    codes[id(call)] = code.address, extents.ctypes.data
                commands.append(Command(*codes[id(call)], words))
        return stream(commands), kept


def lower_piece(
    piece: Piece,
    layout: Sequence[tuple[Operand, Any]],
    families: Families,
    optimize: bool,
    dying: frozenset[int] = frozenset(),
) -> LoweredPiece:
    """Lower a piece, given the forms and the strides of what it reads, and what of that nothing reads later.

    Raise NoLoweringError if it has no lowering.
    """
    op = Expressions()
    arguments = [op.argument(form.shape, form.dtype, steps, k in dying) for k, (form, steps) in enumerate(layout)]
    values = [op.in_memory(value) for value in piece.write(op, *arguments)]
    if any(isinstance(value, Product) for value in op.values):
        return _lower_product(op, values, families, optimize)
    kernel = lower_nests(op, values, "k")
    if len(kernel.arguments) > MOST_ADDRESSES:
        raise NoLoweringError("too many arrays")
    offsets, memory = planned(kernel)
    tables = [buffer for buffer in kernel.arguments if buffer in op.tables]
    passed = [b for b in kernel.arguments if b.role != "work" and b not in op.tables]
    has_work = len(passed) + len(tables) < len(kernel.arguments)
    passes = [*range(len(layout)), *[len(layout) + k for k in range(len(values)) if k not in kernel.in_place]]
    work = len(layout) + len(values)
    numbers = dict(zip(passed, passes, strict=True))
    numbers.update((buffer, work + has_work + k) for k, buffer in enumerate(tables))
    places = [(numbers.get(buffer, work), offsets.get(buffer, 0)) for buffer in kernel.arguments]
    call = PieceCall(families.enter(kernel, optimize), tuple(places))
    kernel = without_empty(kernel)
    arrays = tuple([op.tables[buffer] for buffer in tables])
    steps = steps_of(kernel.statements)
    return LoweredPiece((call,), (memory,) * has_work, (kernel,), steps, arrays, kernel.in_place)


def _lower_product(op: Expressions, values: Sequence[Value], families: Families, optimize: bool) -> LoweredPiece:
    """Lower a product of matrices: views of what is read, or copies of them where BLAS takes them not."""
    (result,) = values
    while isinstance(result, Move):  # axes of length one are dropped
        (result,) = result.operands
    if not isinstance(result, Product):
        raise NoLoweringError("a product within an expression")
    copied: dict[Value, View] = {}
    memory: list[Buffer] = []
    kernels: list[Kernel] = []
    copies: list[PieceCall] = []
    reads = len(op.arguments)

    def copy(value: Value) -> View:
        if value not in copied:
            kernel = lower_nests(op, [value], "copy")
            buffer = Buffer(f"copy{len(memory)}", value.size, "work", value.dtype)
            copied[value] = View(buffer, 0, row_major(value.shape), value.shape)
            places = [*[(k, 0) for k in range(reads)], (reads + 1 + len(memory), 0)]
            memory.append(buffer)
            offsets, size = planned(kernel)
            works = [other for other in kernel.arguments if other.role == "work"]  # of a copy in several steps
            places += [(reads + 1 + len(memory), offsets.get(other, 0)) for other in works]
            if works:
                memory.append(Buffer(f"copy{len(memory)}", -(-size // 8), "work"))
            copies.append(PieceCall(families.enter(kernel, optimize), tuple(places)))
            kernels.append(without_empty(kernel))
        return copied[value]

    views = [_viewed(value, copy) for value in result.operands]
    while True:
        try:
            products = calls(*views)
            break
        except NotSideBySideError as error:
            views[error.operand] = copy(result.operands[error.operand])
    if products is None:
        raise NoLoweringError("a stack of many products")
    numbers = {buffer: k for k, buffer in enumerate(op.arguments)}
    numbers.update((buffer, reads + 1 + k) for k, buffer in enumerate(memory))
    blas: list[PieceCall] = []
    size = np.dtype(result.dtype).itemsize
    for product in products:
        ends = [(numbers[view.buffer], size * start) for view, start in zip(views, product.offsets[:2], strict=True)]
        places = [*[ends[operand] for operand in product.operands], (reads, size * product.offsets[2])]
        blas.append(PieceCall(product, tuple(places)))
    steps = sum(steps_of(kernel.statements) for kernel in kernels) + operations(products) // 4
    works = tuple([buffer.size * np.dtype(buffer.dtype).itemsize for buffer in memory])
    return LoweredPiece((*copies, *blas), works, tuple(kernels), steps)


def _viewed(value: Any, copy: Callable[[Value], View]) -> View:
    """Return a view of what a piece reads as a view of memory, of a copy where a reshaped array needs one."""
    if isinstance(value, Argument):
        return value.view
    if not isinstance(value, Move):
        raise NoLoweringError("a product of what is computed")
    view = _viewed(value.operands[0], copy)
    try:
        offset, strides, shape = view_of(view.shape, view.strides, value.function)
    except CopyError:
        view = copy(value.operands[0])
        offset, strides, shape = view_of(view.shape, view.strides, value.function)
    return View(view.buffer, view.offset + offset, strides, shape)


def planned(kernel: Kernel) -> tuple[dict[Buffer, int], int]:
    """Return where each buffer of work is in memory, and the size of that: what is not needed at a time shares it.

    >>> from wengert.compilation.native.loops import Element, Nest, Register
    >>> t, u, v = (Buffer(name, 100, "work") for name in "tuv")
    >>> r = Register(1)
    >>> def copy(a, b):
    ...     return Nest((100,), (Load(r, Element(a, 0, (1,))), Store(Element(b, 0, (1,)), r)))
    >>> places, size = planned(Kernel("k", (t, u, v), Buffer("y", 0, "result"), (copy(t, u), copy(u, v))))
    >>> [places[buffer] for buffer in (t, u, v)], size
    ([0, 832, 0], 1664)
    """
    first: dict[Buffer, int] = {}
    last: dict[Buffer, int] = {}
    for k, statement in enumerate(kernel.statements):
        for inner in walk_statements([statement]):
            if isinstance(inner, (Load, Store)) and inner.element.buffer.role == "work":
                first.setdefault(inner.element.buffer, k)
                last[inner.element.buffer] = k
    places: dict[Buffer, int] = {}
    arena = Arena()
    for k in sorted({*first.values(), *last.values()}):
        for buffer in [buffer for buffer in first if first[buffer] == k]:
            places[buffer] = arena.take(buffer.size * np.dtype(buffer.dtype).itemsize)
        for buffer in [buffer for buffer in last if last[buffer] == k]:
            arena.free(places[buffer], buffer.size * np.dtype(buffer.dtype).itemsize)
    return places, arena.size


def steps_along(strides: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """Return strides, zero along axes of length one, where they say nothing."""
    return tuple([s if n > 1 else 0 for s, n in zip(strides, shape, strict=True)])


def row_major_bytes(operand: Operand) -> tuple[int, ...]:
    """Return the strides of an array in row-major order, in bytes."""
    size = np.dtype(operand.dtype).itemsize
    return tuple([size * step for step in row_major(operand.shape)])
