"""Folding while tracing: the rows of a long trace become instructions as they are recorded.

Every few thousand rows, those on numbers are written down as instructions (`wengert.control.instructions`): for each a
kind and the places of two operands, some twenty bytes, where a row takes some four hundred.  An element of an array
that is read or written is no instruction: which number stands where is known while the rows are folded.  Other rows (of
larger arrays, of loops) stay as they are, with the instructions before and after them.

A fold ends where a row is no instruction.  If there have been few, their rows stay.

>>> import numpy as np, wengert as wg
>>> def f(x):
...     y = np.zeros(1000)
...     for i in range(1, 1000):
...         y[i] = 0.5 * y[i - 1] + x[i % 3]
...     return np.sum(y)
>>> print(folded_program(f, np.ones(3)).listing(places=False).splitlines()[1])
u_1 = instructions(u_0; 1,997 instructions of 2 kinds)  (1000)
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from wengert.compilation.native.instructions import Kind, is_available, is_native
from wengert.control.execution import InstructionsRun
from wengert.control.higher_order import primitive_named
from wengert.control.instructions import Block, Instructions
from wengert.primitives.numpy.elementwise import float_power, power
from wengert.primitives.numpy.structural import getitem, setitem, stack
from wengert.program import Primitive, Program, Shaped, as_value
from wengert.tracing import Row, Tape, Trace, run

ndarray, float64 = np.ndarray, np.float64
Places = np.ndarray[Any, np.dtype[np.int32]]

FEWEST = 200
"""Fewer instructions than this are left as rows."""
KEPT = 64
"""So many rows at the end of a tape are not looked at yet: their decisions may not have been taken."""
SMALL = 16
"""Arrays of up to so many elements are computed element by element."""
LARGEST = 1 << 22
"""Elements of arrays of up to so many elements are operands."""
FREE, A_ROW = 1 << 18, 100
"""So many elements of arrays may become operands, and for each row so many more: a row that reads one number of a large
array may be all that a segment has."""
MOST_KINDS = 200
EXPONENTS = 16
"""So many constant exponents have kinds of their own."""
SHARED = 4096
"""So many constants are looked up, to be entered once."""
NONE = (1 << 31) - 1
"""The place of a position that is no single number."""
NUMBERS = frozenset({float, int, bool, float64, np.int64, np.bool_})


class Unfoldable(Exception):  # noqa: N818 - not an error: the row stays
    """A row is no instruction."""


class Cells:
    """An array as the places of its elements; those before the last writes are found by what these have replaced.

    A place that is not negative is the number of an instruction; ``-1 - k`` is the k-th number at the beginning of the
    memory.
    """

    __slots__ = ("_flat", "_numbers", "_replaced", "_written", "first", "latest", "places")

    def __init__(self, position: int, places: Places) -> None:
        self.first = self.latest = position
        self.places = places
        self._written, self._flat, self._replaced = array("q"), array("q"), array("i")
        self._numbers = places.reshape(-1) if places.flags.c_contiguous else None

    def write(self, position: int, index: Any, place: int) -> None:
        """Write one element; the array stands at another position from then on."""
        flat = 0
        for i, n in zip(index, self.places.shape, strict=True):
            flat = flat * n + i
        assert self._numbers is not None
        self._written.append(position)
        self._flat.append(flat)
        self._replaced.append(int(self._numbers[flat]))
        self._numbers[flat] = place
        self.latest = position

    def at(self, position: int) -> Places | None:
        """Return the places when the array stood at a position; None if it never did."""
        if position == self.latest:
            return self.places
        if position == self.first:
            start = 0
        else:
            start = bisect_left(self._written, position) + 1
            if start > len(self._written) or self._written[start - 1] != position:
                return None
        places = self.places.copy()
        flat = np.frombuffer(self._flat, np.int64)[start:][::-1]
        places.reshape(-1)[flat] = np.frombuffer(self._replaced, np.int32)[start:][::-1]  # the first write wins
        return places


class Segment:
    """Rows that are instructions, one after the other.

    Attributes
    ----------
    rows
        The rows, as long as they are few.
    count
        The number of instructions.
    first, last
        The positions of the first row and of the last.
    """

    def __init__(self, folding: Folding, first: int) -> None:
        self.folding, self.first, self.last = folding, first, first
        self.rows: list[Row] | None = []
        self.count = 0
        self.kinds: dict[Any, int | None] = {}
        self.described: list[Kind] = []
        self.codes, self.a, self.b = array("B"), array("i"), array("i")
        self.places: dict[Any, int] = {}
        self.located: list[Any] = []
        self.numbers = array("H")
        self.slots = array("i")
        """For each position the place of its number."""
        self.arrays: dict[int, Cells] = {}
        """The arrays, by the positions where they stand now."""
        self.versions: list[Cells] = []
        self.checked: dict[int, bool] = {}
        """The decisions, by the positions of the comparisons."""
        self.operands: dict[int, int | Cells] = {}
        """What comes from before."""
        self.blocks: list[tuple[int, Block]] = []
        self.leading = array("d")
        self.constants: dict[Any, int] = {}
        self.values: array[float] | None = None if folding.keep_all else array("d")
        """The results, where they will be swept."""

    # -- Operands --

    def constant(self, value: Any) -> int:
        """Return the place of a constant."""
        if type(value) not in NUMBERS:
            raise Unfoldable
        place = self.constants.get(value)
        if place is not None and value != 0:
            return place
        number = float(value)
        key = number if number != 0 and number == number else number.hex()
        place = self.constants.get(key)
        if place is None:
            self.leading.append(number)
            place = -len(self.leading)
            if len(self.constants) < SHARED:
                self.constants[key] = place
        return place

    def operand(self, position: int, value: Any) -> int:
        """Return the place of a number that is an operand."""
        if position < 0:
            return self.constant(value)
        if position >= self.first:
            k = position - self.first
            place = self.slots[k] if k < len(self.slots) else NONE
            if place != NONE:
                return place
            if position in self.checked or position in self.arrays:
                raise Unfoldable
        entered = self.operands.get(position)
        if entered is None:
            if type(value) is not float64:
                raise Unfoldable
            entered = self.operands[position] = self._enter(position, (), value)
        if type(entered) is not int:
            raise Unfoldable
        return entered

    def cells(self, position: int, value: Any) -> Cells:
        """Return an array that is an operand."""
        found = self.arrays.get(position)
        if found is not None:
            return found
        if value.dtype is not _FLOAT64 or value.size > LARGEST or not value.shape:
            raise Unfoldable
        if position < 0:
            return Cells(-1, self._constants(value))
        for version in self.versions:
            if version.first <= position < version.latest and (places := version.at(position)) is not None:
                return self.stand(Cells(position, places))
        if position >= self.first and position - self.first < len(self.slots) and position not in self.folding.inputs:
            raise Unfoldable
        if not self.folding.affords(value.size):
            raise Unfoldable
        start = self._enter(position, value.shape, None)
        return self.stand(Cells(position, _places(start, value.shape)))

    def stand(self, cells: Cells) -> Cells:
        """Enter an array at its position."""
        self.arrays[cells.latest] = cells
        self.versions.append(cells)
        return cells

    def _constants(self, value: Any) -> Places:
        if type(value) is not ndarray:  # it is not known, and nobody asks for it
            return np.full(value.shape, self.constant(0.0), np.int32)
        if value.size and (value == value.flat[0]).all() and not np.signbit(value).any():
            return np.full(value.shape, self.constant(float(value.flat[0])), np.int32)
        start = -1 - len(self.leading)
        self.leading.extend(value.ravel().tolist())
        return _places(start, value.shape)

    def _enter(self, position: int, shape: tuple[int, ...], value: Any) -> int:
        """Make room for an operand in the beginning of the memory; return the place of its first element."""
        start = len(self.leading)
        block = Block(start, shape)
        self.blocks.append((position, block))
        self.leading.extend(_UNKNOWN * block.size if value is None else [float(value)])
        return -1 - start

    # -- Rows --

    def extend(self, rows: Sequence[Row], start: int, stop: int) -> int:  # noqa: C901 - as `add`, without a call a row
        """Write down rows that compute numbers or take them out of arrays; return the place of the first other one."""
        first, slots, kinds, constants, operands = self.first, self.slots, self.kinds, self.constants, self.operands
        codes, a_places, b_places, numbers = self.codes, self.a, self.b, self.numbers
        places, values, count = self.places, self.values, self.count
        arrays, leading = self.arrays, self.leading
        for k in range(start, stop):
            primitive, parents, kept, params, place, out = rows[k]
            arity = len(parents)
            if type(kept[0]) is not float64 or arity > 2 or out - first != len(slots) or primitive is power:
                break
            if params:
                cells = arrays.get(parents[0]) if primitive is getitem and arity == 1 else None
                if cells is None:
                    break
                a = int(cells.places[params["index"]])
                if a < 0 and values is not None:
                    leading[-1 - a] = kept[0]
                slots.append(a)
                continue
            code = kinds.get(primitive)
            number = places.get((id(place[0]), place[1])) if type(place) is tuple else None
            if code is None or number is None:
                break
            a = b = NONE
            parent = parents[0]
            if parent >= first:
                a = slots[parent - first]
            elif parent >= 0:
                a = operands.get(parent)  # type: ignore[assignment]
            elif type(value := kept[1]) in NUMBERS and value != 0:
                a = constants.get(value)  # type: ignore[assignment]
            if arity == 1:
                b = 0
            else:
                parent = parents[1]
                if parent >= first:
                    b = slots[parent - first]
                elif parent >= 0:
                    b = operands.get(parent)  # type: ignore[assignment]
                elif type(value := kept[2]) in NUMBERS and value != 0:
                    b = constants.get(value)  # type: ignore[assignment]
            if type(a) is not int or type(b) is not int or a == NONE or b == NONE:
                break
            codes.append(code)
            a_places.append(a)
            b_places.append(b)
            numbers.append(number)
            slots.append(count)
            count += 1
            if values is not None:
                values.append(kept[0])
        else:
            k = stop
        if k > start:
            self.count, self.last = count, rows[k - 1][5]
        return k

    def add(self, row: Row) -> None:
        """Write a row down; raise Unfoldable, and change nothing that matters, if it is no instruction."""
        primitive, parents, kept, params, _, out = row
        y = kept[0]
        slots = self.slots
        while len(slots) < out - self.first:
            slots.append(NONE)
        if type(y) is float64:
            slots.append(self._number(row))
        elif primitive is setitem:
            self._write(row)
        elif type(y) is np.bool_:
            self._check(row)
        elif primitive is stack and parents and params["axis"] in (-1, 0) and y.ndim == 1:
            operands = [self.operand(p, v) for p, v in zip(parents, kept[1:], strict=True)]
            self.stand(Cells(out, np.array(operands, np.int32)))
            slots.append(NONE)
        elif y.size <= SMALL and y.dtype is _FLOAT64 and y.shape:
            self._write_out(row)
        else:
            raise Unfoldable
        self.last = out
        if self.rows is not None:
            if self.count < FEWEST:
                self.rows.append(row)
            else:
                self.rows = None
                self.folding.consumed.update(self.checked)

    def _number(self, row: Row) -> int:
        """Return the place of the number that a row computes, or takes out of an array."""
        primitive, parents, kept, params, place, _ = row
        y = kept[0]
        if primitive is getitem and len(parents) == 1:
            made = int(self.cells(parents[0], kept[1]).places[params["index"]])
            if self.values is not None and made < 0:
                self.leading[-1 - made] = y
            return made
        if not primitive.elementwise:
            raise Unfoldable
        made = self._instruct(primitive, parents, kept, params, place)
        if self.values is not None:
            self.values.append(y)
        return made

    def _instruct(self, primitive: Primitive, parents: Any, kept: Any, params: Any, place: Any) -> int:
        """Add an instruction for a row whose operands are numbers; return its number."""
        key: Any
        if len(parents) == 2:
            if (primitive is power or primitive is float_power) and parents[1] < 0:
                key = primitive, type(kept[2]), kept[2]
                a, b = self.operand(parents[0], kept[1]), 0
            else:
                key = primitive
                a, b = self.operand(parents[0], kept[1]), self.operand(parents[1], kept[2])
        elif len(parents) == 1:
            key, b = primitive, 0
            a = self.operand(parents[0], kept[1])
        else:
            raise Unfoldable
        if params:
            raise Unfoldable
        code = self.kinds.get(key, -1)
        if code == -1:
            code = self._new_kind(key, primitive, parents, kept, None)
        if code is None:
            raise Unfoldable
        return self.append(code, a, b, place)

    def append(self, code: int, a: int, b: int, place: Any) -> int:
        """Add an instruction, and return its number."""
        self.codes.append(code)
        self.a.append(a)
        self.b.append(b)
        key = (id(place[0]), place[1]) if type(place) is tuple else place  # a code object takes long to be hashed
        number = self.places.get(key)
        if number is None:
            number = self.places[key] = min(len(self.places), 65535)
            self.located.append(place)
        self.numbers.append(number)
        self.count += 1
        return self.count - 1

    def _new_kind(self, key: Any, primitive: Primitive, parents: Any, kept: Any, decision: bool | None) -> int | None:
        """Enter a kind of instructions, and return its code; None if there is no machine code for it."""
        exponent = None
        if type(key) is tuple and decision is None:
            value = kept[2]
            if type(value) not in NUMBERS or sum(k.exponent is not None for k in self.described) >= EXPONENTS:
                raise Unfoldable
            exponent = value if type(value) in (int, float) else float(value)
        arity = len(parents) - (exponent is not None)
        kind = Kind(primitive, arity, exponent, decision)
        usable = len(self.described) < MOST_KINDS and (is_native(kind) if is_available() else True)
        self.kinds[key] = code = len(self.described) if usable else None
        if usable:
            self.described.append(kind)
        return code

    def _check(self, row: Row) -> None:
        """Add an instruction for a comparison that a decision was taken on."""
        primitive, parents, kept, params, place, out = row
        decision = self.folding.decisions.get(out)
        if decision is None or params or len(parents) > 2 or not primitive.elementwise:
            raise Unfoldable
        a = self.operand(parents[0], kept[1])
        b = self.operand(parents[1], kept[2]) if len(parents) == 2 else 0
        key = primitive, decision
        code = self.kinds.get(key, -1)
        if code == -1:
            code = self._new_kind(key, primitive, parents, kept, decision)
        if code is None:
            raise Unfoldable
        self.append(code, a, b, place)
        if self.values is not None:
            self.values.append(0.0)
        self.slots.append(NONE)
        self.checked[out] = decision
        if self.rows is None:
            self.folding.consumed.add(out)

    def _write(self, row: Row) -> None:
        """Write to an element of an array."""
        _, parents, kept, params, _, out = row
        index = params["index"]
        if len(parents) != 2 or not all(type(i) is int for i in index) or len(index) != len(kept[0].shape):
            raise Unfoldable
        if kept[0].dtype is not _FLOAT64:
            raise Unfoldable
        part = self.operand(parents[0], kept[1]) if not np.shape(kept[1]) else None
        if part is None:
            raise Unfoldable
        base = parents[1]
        cells = self.cells(base, kept[2])
        index = tuple([i if i >= 0 else i + n for i, n in zip(index, kept[0].shape, strict=True)])
        if base < 0 or cells.latest != base or cells.first == base:
            cells = self.stand(Cells(out, np.ascontiguousarray(cells.places).copy()))
            cells.first = -2  # nobody reads it before this write
        else:
            del self.arrays[base]
        cells.write(out, index, part)
        self.arrays[out] = cells
        self.slots.append(NONE)

    def _write_out(self, row: Row) -> None:
        """Write a row on small arrays, element by element; a part of an array is no instruction."""
        primitive, parents, kept, params, place, out = row
        if primitive is getitem and len(parents) == 1:
            taken = self.cells(parents[0], kept[1]).places[params["index"]].copy()
            if self.values is not None:
                for k, value in zip(taken.ravel().tolist(), kept[0].ravel().tolist(), strict=True):
                    if k < 0:
                        self.leading[-1 - k] = value
            self.stand(Cells(out, taken))
            self.slots.append(NONE)
            return
        if params or not primitive.elementwise or len(parents) > 2 or primitive in (power, float_power):
            raise Unfoldable
        places = []
        for p, value in zip(parents, kept[1:], strict=True):
            if np.ndim(value):
                places.append(self.cells(p, value).places)
            else:
                places.append(np.asarray(self.operand(p, value), np.int32))
        key = primitive
        code = self.kinds.get(key, -1)
        if code == -1:
            code = self._new_kind(key, primitive, parents, kept, None)
        if code is None:
            raise Unfoldable
        operands = [np.broadcast_to(p, kept[0].shape).ravel().tolist() for p in places]
        first = self.count
        for several in zip(*operands, strict=True):
            self.append(code, several[0], several[1] if len(several) > 1 else 0, place)
        if self.values is not None:
            self.values.extend(kept[0].ravel().tolist())
        self.stand(Cells(out, np.arange(first, self.count, dtype=np.int32).reshape(kept[0].shape)))
        self.slots.append(NONE)

    # -- The end --

    def places_of(self, position: int) -> Any:
        """Return the places of the value at a position of this segment; None for a decision."""
        if position in self.checked or position in self.folding.inputs:
            return None
        k = position - self.first
        if k < len(self.slots) and self.slots[k] != NONE:
            return np.asarray(self.slots[k])
        for version in self.versions:
            if (places := version.at(position)) is not None:
                return places
        raise KeyError(position)

    def row(self, needed: Sequence[int]) -> Row:
        """Return the row of the instructions, with the values at some positions as its results."""
        leading = np.array(self.leading)
        first = len(leading)

        def final(places: Any) -> Places:
            places = np.asarray(places)
            return np.asarray(np.where(places >= 0, places + first, -1 - places), np.int32)

        held = Instructions(
            tuple(self.described),
            np.frombuffer(self.codes, np.uint8),
            final(np.frombuffer(self.a, np.int32)),
            final(np.frombuffer(self.b, np.int32)),
            leading,
            tuple([block for _, block in self.blocks]),
            tuple([final(self.places_of(position)) for position in needed]),
            tuple(self.located[:65536]),
            np.frombuffer(self.numbers, np.uint16),
        )
        params: dict[str, Any] = {"held": held}
        if self.values is None:
            operands: list[Any] = [Shaped(block.shape, _FLOAT64) for _, block in self.blocks]
        else:
            memory = np.concatenate([leading, np.array(self.values)])
            operands = [memory[b.start : b.start + b.size].reshape(b.shape)[()] for _, b in self.blocks]
            params["run"] = InstructionsRun(held, tuple(operands), memory)
        results = tuple([Shaped(places.shape, _FLOAT64) for places in held.results])
        parents = tuple([position for position, _ in self.blocks])
        return primitive_named("instructions"), parents, (results, *operands), params, self.located[0], tuple(needed)


class Folding:
    """The rows of a tape, as far as they have been folded: rows and segments, in order."""

    def __init__(self) -> None:
        self.keep_all = False
        self.parts: list[Row | Segment] = []
        self.segment: Segment | None = None
        self.decisions: dict[int, bool] = {}
        """The decisions that were taken, by the positions of what they were taken on."""
        self.consumed: set[int] = set()
        """The positions of those that instructions check."""
        self.inputs: set[int] = set()
        """The positions of values of other traces that this one reads."""
        self._budget = FREE
        """The number of elements that segments may still enter."""

    def affords(self, size: int) -> bool:
        """Return whether an array of a size may be entered: many segments may read one number of it each."""
        affords = size <= self._budget
        self._budget -= size * affords
        return affords

    def fold(self, tape: Tape, keep: int = KEPT) -> None:
        """Fold the rows that are on a tape, but the last."""
        self.keep_all = tape.keep_all
        stop = max(len(tape.rows) - keep, 0)
        if not stop:
            return
        self._budget += A_ROW * stop
        self.decisions = {position: value for position, value, _ in tape.guards if type(value) is bool}
        self.inputs = {inner._index for _, inner in (tape.captures or {}).values()}
        rows, k = tape.rows, 0
        while k < stop:
            if self.segment is not None and self.segment.rows is None:
                k = self.segment.extend(rows, k, stop)
            if k < stop:
                self._add(rows[k])
                k += 1
        del tape.rows[:stop]
        if self.consumed:
            tape.guards[:] = [guard for guard in tape.guards if guard[0] not in self.consumed]
            self.consumed.clear()

    def _add(self, row: Row) -> None:
        out = row[5]
        if type(out) is not tuple and self._begins(row):
            segment = self.segment
            if segment is None:
                segment = self.segment = Segment(self, out)
            try:
                segment.add(row)
                return
            except Unfoldable:
                self._close()
            if segment.rows is None or segment.rows:
                segment = self.segment = Segment(self, out)  # it may be the first of another one
                try:
                    segment.add(row)
                    return
                except Unfoldable:
                    self.segment = None
        else:
            self._close()
        self.parts.append(row)

    def _begins(self, row: Row) -> bool:
        """Return whether a row may be an instruction."""
        y = row[2][0]
        return type(y) is float64 or row[0] is setitem or row[0] is stack or type(y) is np.bool_ or y.size <= SMALL

    def _close(self) -> None:
        segment, self.segment = self.segment, None
        if segment is None:
            return
        if segment.rows is None:
            self.parts.append(segment)
        else:
            self.parts += segment.rows

    def finish(self, tape: Tape, results: Iterable[int]) -> None:
        """Fold what is left, and write the tape anew: its rows, and a row for each segment."""
        if tape.keep_all:
            self.fold(tape, 0)
        self._close()
        self.parts += tape.rows
        checked = {p for part in self.parts if isinstance(part, Segment) for p in part.checked}
        needed = set(results) | {position for position, _, _ in tape.guards}
        rows: list[Row] = []
        for part in reversed(self.parts):
            if isinstance(part, Segment):
                inside = sorted(p for p in needed if part.first <= p <= part.last)
                there = [p for p in inside if part.places_of(p) is not None]
                if there:
                    rows.append(part.row(there))
                    needed.update(rows[-1][1])
            else:
                if checked and not checked.isdisjoint(part[1]):  # they are checked, so they are constants
                    part = (part[0], tuple([-1 if p in checked else p for p in part[1]]), *part[2:])
                needed.update(part[1])
                rows.append(part)
        tape.rows[:] = rows[::-1]
        self.parts.clear()  # or else segments and this would hold each other


_FLOAT64 = np.dtype(np.float64)
_UNKNOWN = array("d", [math.nan])


def _places(start: int, shape: tuple[int, ...]) -> Places:
    """Return the places of what stands in the beginning of the memory, from one on."""
    return (start - np.arange(math.prod(shape), dtype=np.int32)).reshape(shape).astype(np.int32)


def folded_program(f: Any, *args: Any) -> Program:
    """Trace a function with folding, and return its Program."""
    point = [as_value(x) for x in args]
    trace: Trace = run(f, point, {}, range(len(point)), True, fold=Folding)
    return trace.program()
