"""Lowerings: the pieces of a branch's sequences, each lowered once, or predicted from those that are like it.

A long trace has thousands of pieces, of which many are the same, and most of the rest differ in whole numbers: the
slices of an unrolled loop grow with its steps.  Of such pieces a few are lowered, and the numbers of the others are
predicted from theirs (`wengert.compilation.native.predictions`).  No prediction is trusted: it must not reach outside
of any array; and its machine code has to compute of random arrays what NumPy does, as identities of polynomials are
tested.  What fails is lowered, and so is what compares, chooses or counts.

>>> import numpy as np
>>> from wengert.compilation.native.engine import is_available
>>> from wengert.compilation.native.plans import Result
>>> def piece(k):  # x[:k] + x[k - 1]
...     first, last = (lambda x: x[:k]), (lambda x: np.broadcast_to(x[k - 1 : k], (k,)))
...     def write(op, x):
...         return [op("add", op.move(first, x), op.move(last, x))]
...     return Piece("sums", (k,), (0,), (k - 30 + 1,), write, lambda x: [first(x) + last(x)])
>>> forms = [Operand((k,), "d") for k in range(30, 50)]
>>> results = [(k + 1, Result(form.shape, "d", False)) for k, form in enumerate(forms)]
>>> plan = Plan((Operand((50,), "d"), *forms), 1, {}, tuple(results), tuple([piece(k) for k in range(30, 50)]))
>>> if is_available():
...     lowerings = Lowerings()
...     lowerings.enter(plan, plan.by_rows)
...     lowerings.lower()
...     assert (lowerings.lowered_count, lowerings.predicted_count) == (2, 18)
"""

from __future__ import annotations

import ctypes
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from wengert.compilation.native.extents import Families, Member
from wengert.compilation.native.loops import Compute, Load, walk_statements
from wengert.compilation.native.lowering import NoLoweringError
from wengert.compilation.native.nests import ON_STACK
from wengert.compilation.native.plans import (
    Lowered,
    LoweredPiece,
    Operand,
    Piece,
    PieceCall,
    Plan,
    Result,
    lower_piece,
    row_major_bytes,
)
from wengert.compilation.native.predictions import Predictions
from wengert.compilation.native.sequences import code_of, in_lines

FEWEST = 6
"""From so many pieces on that are alike, some are predicted."""
ROUNDING, SMALL = 1e-12, 1e-14
"""What machine code computes differs by less from what NumPy does: relative, and relative to the largest element."""


class NotLoweredPieceError(NoLoweringError):
    """A piece of a plan has no lowering."""

    def __init__(self, reason: str, piece: Piece) -> None:
        super().__init__(reason)
        self.piece = piece


class _Entered:
    """A piece for one layout of what it reads, and how it was lowered.

    Attributes
    ----------
    piece, layout
        The piece, and the forms and strides of what it reads.
    writes
        The forms of what it writes.
    dying
        What of it is not read later.
    lowered
        How it was lowered; None before.
    is_predicted
        Whether that was predicted.
    tested
        The code with which it computed what NumPy does.
    """

    def __init__(
        self, piece: Piece, layout: Sequence[tuple[Operand, Any]], writes: Sequence[Operand], dying: frozenset[int]
    ) -> None:
        self.piece, self.layout, self.writes, self.dying = piece, layout, writes, dying
        self.lowered: LoweredPiece | None = None
        self.is_predicted = False
        self.tested: Any = None

    @property
    def parameters(self) -> tuple[int, ...]:
        """All whole numbers: shapes first, on which more depends than on places."""
        shapes = [n for form, _ in self.layout for n in form.shape] + [n for form in self.writes for n in form.shape]
        strides = [n for _, steps in self.layout for n in steps]
        return *shapes, *self.piece.parameters, *strides


class Lowerings:
    """The pieces of plans for layouts of their operands, lowered.

    `enter` all plans, `lower` them, and then ask for them: pieces of one plan share machine code with those of others.
    """

    def __init__(self, optimize: bool = True) -> None:
        self._optimize = optimize
        self._families = Families()
        self._plans: dict[Any, list[_Entered]] = {}
        self._entered: dict[Any, _Entered] = {}
        self._alike: dict[Hashable, list[_Entered]] = {}

    def enter(self, plan: Plan, strides: Sequence[Any]) -> None:
        """Enter the pieces of a plan, for the strides of its operands in bytes; everything else is row-major."""
        by_rows: dict[Operand, tuple[int, ...]] = {form: row_major_bytes(form) for form in plan.values}
        layouts = [*strides, *[by_rows[form] for form in plan.values[plan.operands :]]]
        entered = self._plans[id(plan), tuple(strides)] = []
        for piece, dying in zip(plan.pieces, plan.dying(), strict=True):
            layout = [(plan.values[n], layouts[n]) for n in piece.reads]
            entry = _Entered(piece, layout, [plan.values[n] for n in piece.writes], dying)
            forms = tuple([(len(form.shape), form.dtype) for form in (*[form for form, _ in layout], *entry.writes)])
            outline: Hashable = id(piece) if piece.outline is None else (piece.outline, forms, dying)
            key = outline, entry.parameters
            if key not in self._entered:
                self._entered[key] = entry
                self._alike.setdefault(outline, []).append(entry)
            entered.append(self._entered[key])

    def lower(self) -> None:
        """Lower all pieces; raise `NotLoweredPieceError` for one that has no lowering."""
        for alike in self._alike.values():
            self._lower_alike([entry for entry in alike if entry.lowered is None])
        predicted = [entry for entry in self._entered.values() if entry.is_predicted]
        arrays = _Arrays()
        while predicted:
            wrong = [entry for entry in predicted if not _is_right(entry, arrays)]
            for entry in wrong:
                self._lower(entry)
            predicted = [entry for entry in predicted if entry.is_predicted] if wrong else []

    def lowered(self, plan: Plan, strides: Sequence[Any]) -> Lowered:
        """Return a plan that was entered, lowered."""
        pieces = [entry.lowered for entry in self._plans[id(plan), tuple(strides)]]
        return Lowered(plan, strides, [piece for piece in pieces if piece is not None])

    @property
    def predicted_count(self) -> int:
        """The number of pieces that were predicted."""
        return sum(entry.is_predicted for entry in self._entered.values())

    @property
    def lowered_count(self) -> int:
        """The number of different pieces that were lowered."""
        return len(self._entered) - self.predicted_count

    def _lower(self, entry: _Entered) -> LoweredPiece:
        try:
            entry.lowered = lower_piece(entry.piece, entry.layout, self._families, self._optimize, entry.dying)
        except NoLoweringError as error:
            raise NotLoweredPieceError(str(error), entry.piece) from error
        entry.is_predicted = False
        return entry.lowered

    def _lower_alike(self, alike: Sequence[_Entered]) -> None:
        if len(alike) < FEWEST:
            for entry in alike:
                self._lower(entry)
            return
        predictions = Predictions()
        examples: dict[Hashable, LoweredPiece] = {}
        for parameters, entry in sorted([(entry.parameters, entry) for entry in alike], key=lambda pair: pair[0]):
            prediction = predictions.predicted(parameters)
            if prediction is not None:
                outline, numbers = prediction
                entry.lowered = _like(examples[outline], numbers, entry)
                entry.is_predicted = entry.lowered is not None
            if entry.lowered is None:
                lowered = self._lower(entry)
                outline, numbers = _numbers_of(lowered)
                if outline is not None:
                    examples.setdefault(outline, lowered)
                    predictions.learn(parameters, outline, numbers)


# ---- What is predicted ----


def _numbers_of(lowered: LoweredPiece) -> tuple[Hashable | None, tuple[int, ...]]:
    """Return what a lowered piece is without its whole numbers, and these; None if they are not to be predicted."""
    if lowered.tables or len(lowered.calls) != 1 or not isinstance(lowered.calls[0].source, Member):
        return None, ()
    member = lowered.calls[0].source
    if member.family.reach is None or not _is_smooth(lowered):
        return None, ()
    outline = id(member.family), *lowered.in_place.items()
    return outline, (*member.numbers, *[buffer.size for buffer in lowered.kernels[0].temporaries])


def _is_smooth(lowered: LoweredPiece) -> bool:
    """Return whether all is smooth that a piece computes: random numbers would not tell one comparison from another."""
    for statement in walk_statements([s for kernel in lowered.kernels for s in kernel.statements]):
        if isinstance(statement, (Load, Compute)) and statement.register.dtype != "d":
            return False
        if isinstance(statement, Compute) and statement.operation not in SMOOTH:
            return False
    return True


SMOOTH = frozenset({
    "add", "subtract", "multiply", "divide", "negative", "absolute", "sqrt", "exp", "expm1", "log", "log1p",
    "sin", "cos", "tan", "sinh", "cosh", "tanh", "arcsin", "arccos", "arctan", "arcsinh", "arccosh", "arctanh",
    "arctan2", "hypot", "power",
})  # fmt: skip
"""Operations of which a random operand in the place of another one gives another result."""


def _like(example: LoweredPiece, numbers: tuple[int, ...], entry: _Entered) -> LoweredPiece | None:
    """Return a piece that is lowered like another one, with other whole numbers; None if these cannot be right."""
    (call,) = example.calls
    assert isinstance(call.source, Member), "only nests are predicted"
    family = call.source.family
    count = len(call.source.numbers)
    numbers, sizes = numbers[:count], numbers[count:]
    accessed = None if family.reach is None else family.reach.of(numbers)
    if accessed is None or max(sizes, default=0) > ON_STACK:
        return None
    bounds = [*[_bounds(form, steps) for form, steps in entry.layout], *[_bounds(form) for form in entry.writes]]
    memory = 0
    places = []
    for buffer, (number, _), (low, high) in zip(family.first.arguments, call.places, accessed, strict=False):
        is_work = buffer.role == "work"
        places.append((number, memory if is_work else 0))
        first, last = (0, high) if is_work else bounds[number]
        if low <= high and not (first <= low and high <= last):
            return None
        memory += in_lines((high + 1) * np.dtype(buffer.dtype).itemsize) if is_work else 0
    on_stack = zip(sizes, accessed[len(places) :], strict=True)
    if not all(low > high or (low >= 0 and high < size) for size, (low, high) in on_stack):
        return None
    family.enter(numbers, sizes)
    call = PieceCall(Member(family, numbers), tuple(places))
    return LoweredPiece((call,), (memory,) * bool(example.works), example.kernels, example.steps, (), example.in_place)


def _bounds(form: Operand, strides: Sequence[int] | None = None) -> tuple[int, int]:
    """Return the first and the last element of an array, counted from where its data begin."""
    strides = row_major_bytes(form) if strides is None else strides
    item = np.dtype(form.dtype).itemsize
    spans = [(n - 1) * step // item for n, step in zip(form.shape, strides, strict=True)]
    return sum(min(span, 0) for span in spans), sum(max(span, 0) for span in spans)


# ---- Whether it is right ----


def _is_right(entry: _Entered, arrays: _Arrays) -> bool:
    """Return whether a piece that was predicted computes of random arrays what NumPy does."""
    lowered, piece = entry.lowered, entry.piece
    assert lowered is not None, "it was predicted"
    code = [call.source.family.shared for call in lowered.calls if isinstance(call.source, Member)]
    if entry.tested == code:
        return True
    if piece.compute is None:
        return False
    operands = [arrays.random(form, strides, k) for k, (form, strides) in enumerate(entry.layout)]
    operands = [array.copy() if k in entry.dying else array for k, array in enumerate(operands)]
    with np.errstate(all="ignore"):
        expected = [np.array(y) for y in piece.compute(*operands)]  # no views: operands are overwritten
    results = _run(entry, lowered, operands)
    right = all(map(_is_close, results, expected))
    entry.tested = code if right else None
    return right


def _run(entry: _Entered, lowered: LoweredPiece, operands: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Run the machine code of a piece by itself."""
    forms = [form for form, _ in entry.layout]
    reads, writes = range(len(forms)), range(len(forms), len(forms) + len(entry.writes))
    returned = tuple([(n, Result(form.shape, form.dtype, False)) for n, form in zip(writes, entry.writes, strict=True)])
    piece = Piece(None, (), tuple(reads), tuple(writes), entry.piece.write)
    plan = Plan((*forms, *entry.writes), len(forms), {}, returned, (piece,))
    alone = Lowered(plan, [strides for _, strides in entry.layout], [lowered])
    commands, kept = alone.commands()
    results = [np.empty(form.shape, form.dtype) for form in entry.writes]
    arena = np.empty(alone.memory + 1, np.uint8)
    bases = np.array([array.ctypes.data for array in (*operands, *results, arena)], np.int64)
    sequence = code_of("wengert_sequence")
    ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(sequence.address)(
        bases.ctypes.data, commands.ctypes.data
    )
    del kept
    return [operands[lowered.in_place[k]] if k in lowered.in_place else array for k, array in enumerate(results)]


class _Arrays:
    """Arrays of random numbers between a tenth and nine tenths, which most functions are defined for."""

    def __init__(self) -> None:
        self._memory: dict[Any, np.ndarray] = {}

    def random(self, form: Operand, strides: tuple[int, ...], number: int) -> np.ndarray:
        """Return the array of a form and with strides in bytes that has a number; none is written to."""
        first, last = _bounds(form, strides)
        size = last - first + 1
        key = number, form.dtype
        if key not in self._memory or self._memory[key].size < size:
            numbers = np.random.default_rng(number).uniform(0.1, 0.9, 2 * size)
            self._memory[key] = numbers < 0.5 if form.dtype == "?" else numbers.astype(form.dtype)
        return np.lib.stride_tricks.as_strided(self._memory[key][-first:], form.shape, strides)


def _is_close(y: np.ndarray, expected: np.ndarray) -> bool:
    """Return whether results are equal up to rounding, and are numbers at all."""
    if y.dtype.char == "?":
        return bool(np.array_equal(y, expected))
    with np.errstate(all="ignore"):  # of infinities
        size = np.max(np.abs(expected), initial=0.0, where=np.isfinite(expected))
        close = np.abs(y - expected) <= ROUNDING * np.abs(expected) + SMALL * size
    return bool(np.all(close | (y == expected)))
