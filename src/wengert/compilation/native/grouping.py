"""Grouping: the lines of a branch that become kernels of machine code, among those that stay NumPy's.

Lines with a native lowering and lines without one take turns: each line is given the earliest turn in which its
operands are there, and the lowered lines of one turn are one *sequence*, which is called once
(`wengert.compilation.native.plans`).  So no two of them wait for each other, and what only a sequence reads is no
array of NumPy's.

    turn   0: lines of NumPy's, of the arguments          u1 = sort(x0)
           1: the first sequence                          u3, = kernel1(u1, x1)
           2: lines of NumPy's, of what is there by now   u4 = sort(u3)
           ...

Within a sequence, products of matrices and nests take turns in the same way, and many nests are split into pieces: a
long trace of an unrolled loop has pieces that are alike, and are lowered and compiled once.  A view costs nothing: a
piece looks at the array by strides, and NumPy's lines make it for themselves.  A line moves to a later turn if only
that reads it, so that it needs no memory.

>>> import numpy as np, wengert as wg
>>> from wengert import trees
>>> from wengert.compilation.branches import Tree
>>> from wengert.compilation.native.layout import fits
>>> from wengert.program.code import Leaf, ResultForm
>>> def layer(w, b, x):
...     return np.tanh(np.sort(np.tanh(w @ x + b)) @ x + b)
>>> program = wg.trace(layer)(np.ones((30, 30)), np.ones(30), np.ones((30, 30)))
>>> tree = Tree()
>>> branch = tree.add(program, ResultForm(trees.flatten(0.0)[1], (Leaf(0, "array"),)), None)
>>> if fits():
...     assert use_kernels(branch) == 0.0
...     assert branch.text.splitlines()[1:] == [
...         "    (u3, ) = kernel1(x0, x2, x1)",
...         "    u4 = argsort(u3, axis=(-1), stable=False)",
...         "    (u8, ) = kernel2(u3, u4, x2, x1)",
...         "    del u3, u4",
...         "    return u8",
...     ], branch.text
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from wengert.compilation.branches import Branch, Tree
from wengert.compilation.native.engine import address_of
from wengert.compilation.native.expressions import (
    Argument,
    Complex,
    Each,
    Expressions,
    Move,
    Product,
    Value,
    constant_of_atom,
    stored_kind,
)
from wengert.compilation.native.kernels import ArrayKernel
from wengert.compilation.native.kinds import kind_of
from wengert.compilation.native.lowering import NoLoweringError
from wengert.compilation.native.lowerings import Lowerings, NotLoweredPieceError
from wengert.compilation.native.operations import instruction
from wengert.compilation.native.plans import Operand, Piece, Plan, Result, row_major_bytes
from wengert.errors import RawLocation
from wengert.primitives.numpy.elementwise import add
from wengert.primitives.numpy.structural import setitem
from wengert.program import Atom, Constant, Line, Primitive, Var, evaluate_line
from wengert.program.code import (
    Add,
    Call,
    Check,
    CheckFinite,
    Code,
    Enter,
    Exit,
    Free,
    Restart,
    Statement,
    Take,
    Zeros,
    with_frees,
)
from wengert.program.structure import exactly

FEWEST, SMALLEST = 2, 16
"""A kernel has so many lines over arrays, one of which has so many elements."""
LONGEST, LONGEST_LOOP, SHORT = 400, 60, 6
"""The largest number of lines of a kernel, and of an unrolled loop in one; longer ones are split, loops into steps."""
MOST_DECISIONS = 8
"""Before so many decisions, that have not fallen otherwise, there are kernels."""
MOST_PARTS = 16
"""So many parts are added to an array in one nest; the next to what is there by then."""
SECONDS_A_KERNEL, SECONDS_A_LINE, SECONDS_TO_LOWER = 8e-3, 1e-3, 6e-5
"""About how long compiling a kernel takes and each line of it, and lowering a line to loops where most are alike."""


def use_kernels(branch: Branch, seconds: float = math.inf) -> float:
    """Let kernels compute what they can of a branch.

    If compiling would take longer than so many seconds, about, change nothing, and return how long; or else return 0.
    """
    if branch.kernels:
        return 0.0
    grouping = _Grouping(branch.code, [exit_.statement for exit_ in branch.exits if exit_.continuation is not None])
    grouped = grouping.code(seconds)
    if grouped is not None:
        branch.run_by(*grouped)
    return grouping.estimate if grouping.estimate > seconds else 0.0


def use_kernels_in(tree: Tree, seconds: float = math.inf) -> float:
    """Let kernels compute what they can of all branches, as `use_kernels` does."""
    return max([use_kernels(branch, seconds) for branch in tree.branches], default=0.0)


@dataclass(eq=False)
class _Unit:
    """Statements that stay together: mostly one line.

    Attributes
    ----------
    statements
        The statements.
    line
        The line that they compute; None for checks.
    place
        The place of the line in the Program.
    inputs, outputs
        The atoms that it reads, and the variables that it computes.
    kind
        ``"nest"``, ``"product"`` of matrices, ``"view"``, or ``"line"`` for what stays NumPy's.
    key
        What it has in common with units that are lowered in the same way, but for constants, lengths and places.
    outline
        What it has in common with units that are lowered in the same way, but for lengths and places.
    numbers
        The whole numbers of the line: lengths and places.
    number
        Its place among the units.
    turn
        When it is computed: odd in a sequence.
    is_end
        Whether a piece ends with it.
    """

    statements: tuple[Statement, ...]
    line: Line | None
    place: int
    inputs: tuple[Atom, ...]
    outputs: tuple[Var, ...]
    kind: str
    key: int = 0
    outline: int = 0
    numbers: tuple[int, ...] = ()
    number: int = 0
    turn: int = 0
    is_end: bool = False

    @property
    def is_native(self) -> bool:
        """True if machine code computes it."""
        return self.kind in _NATIVE

    @property
    def is_check(self) -> bool:
        """True if it checks that numbers are finite."""
        return isinstance(self.statements[0], CheckFinite)


_NATIVE = ("nest", "product")


class _Grouping:
    """The grouping of the statements of a branch.

    What comes before a decision that has fallen otherwise stays as it is: the branch that continues there needs it.
    Before a few others there are kernels, too; if such a decision falls otherwise, the branch begins anew without them.
    """

    def __init__(self, branch: Code, left: Sequence[Exit]) -> None:
        self.branch = branch
        self.estimate = 0.0
        """The seconds that compiling the kernels takes, about."""
        statements = branch.statements
        decisions = [k for k, s in enumerate(statements) if isinstance(s, Check)]
        fixed = [k for k, s in enumerate(statements) if isinstance(s, (Check, Enter, Take)) and type(s) is not Exit]
        fixed += [k for k in decisions if statements[k] in left]
        if len([k for k in decisions if k > max(fixed, default=-1)]) > MOST_DECISIONS:
            fixed += decisions
        start = max(fixed, default=-1) + 1
        self.before = statements[:start]
        self.units = _views_first(list(_units(statements[start:])))
        for number, unit in enumerate(self.units):
            unit.number = number
        self.made_by = {var: unit for unit in self.units for var in unit.outputs}
        self.last = set(branch.outputs)
        self.readers: dict[Atom, list[_Unit]] = {}
        for unit in self.units:
            for atom in dict.fromkeys(unit.inputs):
                self.readers.setdefault(atom, []).append(unit)
        for unit in self.units:
            if unit.line is not None and unit.line.primitive is setitem:
                self._copy_views(unit, unit.inputs[1])

    def code(self, seconds: float) -> tuple[Code, list[ArrayKernel]] | None:
        """Return the code with kernels, and the kernels; None if there are none, or making them takes too long."""
        while any(unit.is_native for unit in self.units):
            for unit, turn in self._turns(self.units, lambda unit: unit.is_native).items():
                unit.turn = turn
            turned_down = self._turned_down()
            if not turned_down:
                pieces = {turn: self._pieces(group) for turn, group in self._groups().items()}
                every = list(itertools.chain.from_iterable(pieces.values()))
                different = {tuple([unit.key for unit in piece]) for piece in every if piece[0].kind == "nest"}
                self.estimate = SECONDS_A_KERNEL * len(different) + SECONDS_A_LINE * sum(map(len, different))
                self.estimate += SECONDS_TO_LOWER * sum(map(len, every))
                if self.estimate > seconds:
                    return None
                try:
                    return self._written(pieces)
                except _NotLoweredError as error:
                    turned_down = list(error.units)
            for unit in turned_down:
                unit.kind = "line"
        return None

    # -- Copies --

    def _copy_views(self, unit: _Unit, array: Atom) -> None:
        """Copy views of an array that are read after a unit assigned to a part of it, if they are small.

        Otherwise the array would have to be kept for them, and the unit could not write in its memory.
        """
        if not isinstance(array, Var) or array in self.last:
            return
        readers = [reader for reader in self.readers[array] if reader is not unit]
        if any(reader.kind != "view" and reader.number > unit.number for reader in readers):
            return
        late = [r for r in readers if r.kind == "view" and self._last_reading(r) > unit.number]
        if 2 * sum(r.outputs[0].size for r in late) < array.size:
            for reader in late:
                reader.kind = "nest"

    def _last_reading(self, unit: _Unit) -> int:
        """Return the number of the last unit that reads a view, or a view of it."""
        if self.last.intersection(unit.outputs):
            return len(self.units)
        readers = self.readers.get(unit.outputs[0], ())
        return max([self._last_reading(r) if r.kind == "view" else r.number for r in readers], default=0)

    # -- Turns --

    def _turns(self, units: Sequence[_Unit], is_odd: Callable[[_Unit], bool]) -> dict[_Unit, int]:
        """Return the turns of units that take turns with others, which are odd: the earliest, or those that read them.

        What other units make is there from the beginning.
        """
        turns: dict[_Unit, int] = {}
        for unit in units:
            if unit.kind != "view":
                odd = is_odd(unit)
                turns[unit] = max([self._turn(atom, odd, turns) for atom in unit.inputs], default=int(odd))

        def read_in(var: Var) -> Iterable[int]:
            for reader in self.readers.get(var, ()):
                if reader.kind == "view":
                    if self.last.intersection(reader.outputs):
                        yield 0
                    yield from read_in(reader.outputs[0])
                else:
                    yield turns.get(reader, 0) if is_odd(reader) else 0

        for unit in units[::-1]:
            if unit in turns and is_odd(unit) and not self.last.intersection(unit.outputs) and self._may_wait(unit):
                turns[unit] = max(turns[unit], min([k for var in unit.outputs for k in read_in(var)], default=0))
        return turns

    def _turn(self, atom: Atom, odd: bool, turns: Mapping[_Unit, int]) -> int:
        """Return the first turn, odd or even, in which a value is there."""
        unit = self._maker(atom)
        turn = None if unit is None else turns.get(unit)
        return int(odd) if turn is None else turn + (turn % 2 != odd)

    def _maker(self, atom: Atom) -> _Unit | None:
        """Return the unit that computes a value, or what it is a view of; None if it is there from the beginning."""
        unit = self.made_by.get(atom) if isinstance(atom, Var) else None
        while unit is not None and unit.kind == "view":
            unit = self.made_by.get(unit.inputs[0]) if isinstance(unit.inputs[0], Var) else None
        return unit

    def _may_wait(self, unit: _Unit) -> bool:
        """Return whether a unit may move to a later turn: its result takes no less memory than what it reads."""
        size = max([var.size for var in unit.outputs])
        return all(size >= atom.size and _is_in_memory(atom) for atom in unit.inputs if isinstance(atom, Var))

    def _groups(self) -> dict[int, list[_Unit]]:
        groups: dict[int, list[_Unit]] = {}
        for unit in self.units:
            if unit.is_native:
                groups.setdefault(unit.turn, []).append(unit)
        return groups

    def _pieces(self, group: Sequence[_Unit]) -> list[list[_Unit]]:
        """Return the pieces of a sequence in order: nests and products take turns."""
        turns = self._turns(group, lambda unit: unit.kind == "nest")
        units_of: dict[int, list[_Unit]] = {}
        for unit in group:
            units_of.setdefault(turns[unit], []).append(unit)
        pieces: list[list[_Unit]] = []
        for turn, units in sorted(units_of.items()):
            pieces += _parts(units) if turn % 2 else [[unit] for unit in units]
        return pieces

    def _turned_down(self) -> list[_Unit]:
        """Return the units of groups that are not worth a sequence, and those whose results it cannot return."""
        units: list[_Unit] = []
        for group in self._groups().values():
            arrays = [unit for unit in group if max(a.size for a in (*unit.inputs, *unit.outputs)) > 1]
            sizes = [a.size for unit in arrays for a in (*unit.inputs, *unit.outputs)]
            if len(arrays) < FEWEST or max(sizes) < SMALLEST:
                units += group
                continue
            needed = set(self._needed(group))
            units += [unit for unit in group if any(var in needed and not _is_in_memory(var) for var in unit.outputs)]
            units += [unit for unit in group if any(not self._is_at_hand(atom, unit) for atom in unit.inputs)]
        return units

    def _is_at_hand(self, atom: Atom, unit: _Unit) -> bool:
        """Return whether a sequence may read an atom: from memory, or because it computes it."""
        if not isinstance(atom, Var) or _is_in_memory(atom):
            return True
        maker = self._maker(atom)
        return maker is not None and maker.is_native and maker.turn == unit.turn

    def _needed(self, group: Sequence[_Unit]) -> list[Var]:
        """Return the results of a group that something else reads."""
        inside = set(group)
        return [var for unit in group for var in unit.outputs if self._is_read(var, inside)]

    def _is_read(self, var: Var, inside: set[_Unit] | None = None) -> bool:
        """Return whether a variable is a result, or read: by NumPy's lines, or by sequences but for units `inside`."""
        if var in self.last:
            return True
        for unit in self.readers.get(var, ()):
            if unit.kind == "view":
                if self._is_read(unit.outputs[0], inside):
                    return True
            elif not unit.is_check and (unit.kind == "line" or (inside is not None and unit not in inside)):
                return True
        return False

    # -- The code --

    def _written(self, pieces: Mapping[int, Sequence[Sequence[_Unit]]]) -> tuple[Code, list[ArrayKernel]]:
        """Return the code: the turns one after the other, a view before the first line of NumPy's that reads it.

        The sequences are in `pieces`, by their turns.
        """
        turns: dict[int, list[_Unit]] = {}
        ended = {unit: unit.turn for unit in self.units}
        for unit in self.units:
            if unit.kind == "view" and not self._is_read(unit.outputs[0]):
                continue
            turn = self._turn(unit.outputs[0], False, ended) if unit.kind == "view" else unit.turn
            turns.setdefault(turn, []).append(unit)
        statements: list[Statement] = list(self.before)
        kernels: list[ArrayKernel] = []
        sequences = {turn: self._sequence(units, pieces[turn]) for turn, units in sorted(turns.items()) if turn % 2}
        lowerings = Lowerings()
        for sequence in sequences.values():
            lowerings.enter(sequence.plan, sequence.plan.by_rows)
        try:
            lowerings.lower()
        except NotLoweredPieceError as error:
            units = [unit for sequence in sequences.values() for unit in sequence.units_of(error.piece)]
            raise _NotLoweredError(units) from error
        for turn, units in sorted(turns.items()):
            if turn % 2 == 0:
                statements += [s for unit in units for s in self._statements(unit)]
                continue
            sequence = sequences[turn]
            try:
                kernels.append(ArrayKernel(f"kernel{len(kernels) + 1}", sequence.plan, lowerings=lowerings))
            except NoLoweringError as error:
                raise _NotLoweredError(units) from error
            statements.append(Call(sequence.line(kernels[-1]), units[0].place))
        taken = [var for s in self.before if isinstance(s, Take) for var in s.variables]
        stay = {*self.branch.program.inputs, *self.branch.outputs, *taken}
        return replace(self.branch, statements=with_frees(statements, stay)), kernels

    def _statements(self, unit: _Unit) -> Sequence[Statement]:
        """Return the statements of a unit; machine code checks by itself that numbers are finite."""
        if not unit.is_check:
            return unit.statements
        variables = tuple([var for var in unit.inputs if isinstance(var, Var) and not self._is_native(var)])
        return [CheckFinite(variables)] if variables else []

    def _is_native(self, var: Var) -> bool:
        """Return whether machine code computes a variable."""
        maker = self._maker(var)
        return maker is not None and maker.is_native

    def _sequence(self, group: Sequence[_Unit], split: Sequence[Sequence[_Unit]]) -> _Sequence:
        """Return the sequence of a split group."""
        pieces = list(map(self._piece, split))
        made = {var for unit in group for var in unit.outputs}
        read = dict.fromkeys([atom for piece in pieces for atom in piece.reads])
        operands = tuple([atom for atom in read if isinstance(atom, Var) and atom not in made])
        results = tuple(self._needed(group))
        atoms = dict.fromkeys([*operands, *read, *[var for piece in pieces for var in piece.writes]])
        numbers: dict[Atom, int] = {atom: k for k, atom in enumerate(atoms)}
        try:
            forms = tuple(map(_operand, atoms))
        except NoLoweringError as error:
            raise _NotLoweredError(group) from error
        constants = {
            numbers[atom]: np.ascontiguousarray(atom.value, _operand(atom).dtype)
            for atom in atoms
            if not isinstance(atom, Var)
        }
        returned = [
            Result(var.shape, var.dtype.char, var in self.branch.numbers and var.dtype.char == "d") for var in results
        ]
        plan = Plan(
            forms,
            len(operands),
            constants,
            tuple([(numbers[var], form) for var, form in zip(results, returned, strict=True)]),
            tuple([piece.numbered(numbers) for piece in pieces]),
        )
        places = [unit.line.place for unit in group if unit.line is not None]
        return _Sequence(plan, pieces, operands, results, places[0])

    def _piece(self, units: Sequence[_Unit]) -> _Piece:
        """Return a piece of a sequence, with the views that it reads."""
        with_views = self._with_views(units)
        inside = {var for unit in with_views for var in unit.outputs}
        read = dict.fromkeys(
            atom
            for unit in with_views
            for atom in unit.inputs
            if atom not in inside and (isinstance(atom, Var) or not _is_scalar(atom))
        )
        return _Piece(list(units), with_views, tuple(read), tuple(self._needed(units)))

    def _with_views(self, group: Sequence[_Unit]) -> list[_Unit]:
        """Return the units of a group and the views that they read, in the order of the branch."""
        units = set(group)
        stack = list(group)
        while stack:
            for atom in stack.pop().inputs:
                unit = self.made_by.get(atom) if isinstance(atom, Var) else None
                if unit is not None and unit.kind == "view" and unit not in units:
                    units.add(unit)
                    stack.append(unit)
        return sorted(units, key=lambda unit: unit.number)


class _Sequence(NamedTuple):
    """What is called once: its plan, the pieces of it, what it reads and returns, and the place of its first line."""

    plan: Plan
    pieces: list[_Piece]
    operands: tuple[Var, ...]
    results: tuple[Var, ...]
    place: RawLocation | None

    def line(self, kernel: ArrayKernel) -> Line:
        """Return the line that calls a kernel which runs the plan."""
        primitive = Primitive(kernel.name, kernel.__call__, elementwise=False, multiple=True, fresh=True)
        return Line(primitive, self.operands, self.results, {}, self.place)

    def units_of(self, piece: Piece) -> list[_Unit]:
        """Return the units of a piece of the plan; none for one of another plan."""
        return [
            unit
            for units, own in zip(self.pieces, self.plan.pieces, strict=True)
            if own is piece
            for unit in units.units
        ]


class _Piece(NamedTuple):
    """Units of a sequence that become nests, or a product: with the views they read, what they read and write."""

    units: list[_Unit]
    with_views: list[_Unit]
    reads: tuple[Atom, ...]
    writes: tuple[Var, ...]

    def numbered(self, numbers: Mapping[Atom, int]) -> Piece:
        """Return the piece of a plan."""
        here: dict[Atom, int] = {atom: k for k, atom in enumerate(self.reads)}
        outline: list[int] = [len(here)]
        parameters: list[int] = []
        for unit in self.with_views:
            outline.append(unit.outline)
            parameters += unit.numbers
            outline += [here.get(atom, -1) for atom in unit.inputs]
            for var in unit.outputs:
                here[var] = len(here)
        outline += -2, *[here[var] for var in self.writes]
        lines = [unit.line for unit in self.with_views if unit.line is not None]

        def write(op: Expressions, *arguments: Value) -> list[Value]:
            values: dict[Atom, Any] = dict(zip(self.reads, arguments, strict=True))
            for line in lines:
                values[line.outputs[0]] = op.line(line, values)
            return [values[var] for var in self.writes]

        def compute(*arrays: Any) -> list[Any]:
            values: dict[Atom, Any] = dict(zip(self.reads, arrays, strict=True))
            for line in lines:
                operands = [a.value if isinstance(a, Constant) else values[a] for a in line.inputs]
                values[line.outputs[0]] = evaluate_line(line, operands)
            return [values[var] for var in self.writes]

        reads = tuple([numbers[atom] for atom in self.reads])
        writes = tuple([numbers[var] for var in self.writes])
        return Piece(tuple(outline), tuple(parameters), reads, writes, write, compute)


class _NotLoweredError(Exception):
    """A group has no kernel."""

    def __init__(self, units: Sequence[_Unit]) -> None:
        self.units = units


def _parts(units: Sequence[_Unit]) -> list[list[_Unit]]:
    """Split a group into parts that follow each other; steps of an unrolled loop are alike.

    They are short where what a step passes on has to be stored anyway.  Elsewhere only a long loop is split: one nest
    that goes through memory once is faster than several.

    >>> [len(part) for part in _parts([_Unit((), None, 0, (), (), "nest", key=k % 7) for k in range(90)])]
    [7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 6]
    """
    ends = [k + 1 for k, unit in enumerate(units) if unit.is_end and k + 1 < len(units)]
    return [p for start, stop in itertools.pairwise([0, *ends, len(units)]) for p in _steps(units[start:stop])]


def _steps(units: Sequence[_Unit]) -> list[list[_Unit]]:
    """Split units where their steps are alike."""
    keys = [unit.key for unit in units]
    parts: list[list[_Unit]] = []
    start = free = 0
    while start < len(units):
        period, length = _repetition(keys, start) if start - free < LONGEST else (0, 0)
        size = period * min(-(-SHORT // max(period, 1)), length // max(period, 1))
        if size and not _is_stored_between(units[start : start + size], units[start + size : start + 3 * size]):
            size = period * max(LONGEST_LOOP // 2 // period, 1) if length > LONGEST_LOOP else 0
        if not size:
            start += 1
            if start - free == LONGEST or start == len(units):
                parts.append(list(units[free:start]))
                free = start
            continue
        turned = _least_stored(units[start : start + 3 * period], period)
        start, length = start + turned, length - turned
        if free < start:
            parts.append(list(units[free:start]))
        for _ in range(length // size):
            parts.append(list(units[start : start + size]))
            start += size
        free = start
    if free < len(units):
        parts.append(list(units[free:]))
    return parts


def _least_stored(units: Sequence[_Unit], period: int) -> int:
    """Return where in a period to split, given three of them: where what later units read takes the least memory."""

    def stored(split: int) -> int:
        read = {atom for unit in units[split:] for atom in unit.inputs}
        return sum([var.size for unit in units[:split] for var in unit.outputs if var in read])

    return min(range(period), key=lambda turned: stored(period + turned))


def _is_stored_between(units: Sequence[_Unit], others: Sequence[_Unit]) -> bool:
    """Return whether all that others read of some units is stored in any case: numbers, sums, what is put together.

    Elementwise lines that are alike by chance, one for each coordinate, share a nest with what follows.
    """
    stored = [unit for unit in units if unit.line is None or not unit.line.primitive.elementwise]
    read = {atom for unit in others for atom in unit.inputs}
    elsewhere = [var for unit in units if unit not in stored for var in unit.outputs if var in read]
    return bool(stored) and all(var.size == 1 for var in elsewhere)


def _repetition(keys: Sequence[Any], start: int) -> tuple[int, int]:
    """Return the period with which most keys repeat from a place on, three times at least, and how many do."""
    best = 0, 0
    for period in range(1, LONGEST_LOOP + 1):
        end = start
        while end + period < len(keys) and keys[end] == keys[end + period]:
            end += 1
        length = (end - start) // period * period + period
        if length >= 3 * period and length > best[1]:
            best = period, length
            if end + period == len(keys):  # to the end: a longer period has no more
                break
    return best


def _views_first(units: Sequence[_Unit]) -> list[_Unit]:
    """Return units with each view after what it is a view of."""
    views: dict[Atom, list[_Unit]] = {}
    for unit in units:
        if unit.kind == "view":
            views.setdefault(unit.inputs[0], []).append(unit)
    ordered: list[_Unit] = []

    def append(unit: _Unit) -> None:
        ordered.append(unit)
        for var in unit.outputs:
            for view in views.get(var, ()):
                append(view)

    made = {var for unit in units for var in unit.outputs}
    for unit in units:
        if unit.kind != "view" or unit.inputs[0] not in made:
            append(unit)
    return ordered


def _units(statements: Sequence[Statement]) -> Iterable[_Unit]:
    """Yield the statements in units, without what frees."""
    rest = [s for s in statements if not isinstance(s, Free)]
    kinds: dict[Any, str] = {}
    keys: dict[Any, int] = {}
    outlines: dict[Any, int] = {}

    def described(line: Line) -> tuple[str, int, int, tuple[int, ...]]:
        key, constants, numbers = _outline_of(line)
        outline = outlines.setdefault((key, constants), len(outlines))
        sizes = outline, *[a.size.bit_length() for a in (*line.inputs, *line.outputs) if isinstance(a, Var)]
        if sizes not in kinds:
            kinds[sizes] = _kind_of(line)
        return kinds[sizes], keys.setdefault(key, len(keys)), outline, numbers

    numbers = [var.number for s in rest if isinstance(s, (Call, Zeros)) for var in s.line.outputs]
    fresh = itertools.count(1 + max(numbers, default=0))
    k = 0
    while k < len(rest):
        statement = rest[k]
        k += 1
        if isinstance(statement, Zeros):
            adds = list(itertools.takewhile(lambda s: isinstance(s, Add), rest[k:]))
            k += len(adds)
            line = statement.line
            if len(line.inputs) <= MOST_PARTS:
                yield _Unit((statement, *adds), line, 0, line.inputs, line.outputs, *described(line))
                continue
            for part in _few_parts(line, fresh):
                unit = _Unit((Call(part, 0),), part, 0, part.inputs, part.outputs, *described(part))
                unit.is_end = part.primitive is add
                yield unit
        elif isinstance(statement, Call):
            line = statement.line
            yield _Unit((statement,), line, statement.place, line.inputs, line.outputs, *described(line))
        elif isinstance(statement, Exit):
            restart = Restart(statement.guard, statement.place)
            yield _Unit((restart,), None, 0, (statement.guard.var,), (), "line")
        else:
            yield _Unit((statement,), None, 0, statement.variables, (), "line")  # type: ignore[union-attr]


def _few_parts(line: Line, fresh: Iterator[int]) -> list[Line]:
    """Return the lines that add up many parts, a few at a time, with the numbers of new variables."""
    (out,) = line.outputs
    lines: list[Line] = []
    total: Var | None = None
    indices = line.params["indices"]
    for start in range(0, len(indices), MOST_PARTS):
        some = slice(start, start + MOST_PARTS)
        part = Var(next(fresh), out.shape, out.dtype)
        lines.append(
            Line(line.primitive, line.inputs[some], (part,), {**line.params, "indices": indices[some]}, line.place)
        )
        if total is None:
            total = part
            continue
        both = out if some.stop >= len(indices) else Var(next(fresh), out.shape, out.dtype)
        lines.append(Line(add, (total, part), (both,), {}, line.place))
        total = both
    return lines


def _outline_of(line: Line) -> tuple[Any, tuple[Any, ...], tuple[int, ...]]:
    """Return what lines have in common that differ in constants and whole numbers; the constants; and the numbers.

    The numbers are those of shapes, slices and places.
    """
    constants: list[Any] = []
    numbers: list[int] = []

    def outline(value: Any) -> Any:
        kind = type(value)
        if kind is int or isinstance(value, np.integer):
            numbers.append(int(value))
        elif kind is tuple or kind is list:
            return kind, *[outline(item) for item in value]
        elif kind is slice:
            return kind, outline(value.start), outline(value.stop), outline(value.step)
        elif value is not None:
            constants.append(exactly(value))
        return kind

    operands: list[Any] = []
    for atom in line.inputs:
        if isinstance(atom, Var):
            operands.append((len(atom.shape), atom.dtype))
            numbers += atom.shape
        else:
            operands.append(np.ndim(atom.value))
            numbers += np.shape(atom.value)
            constants.append(exactly(atom.value))
    params = [(name, outline(value)) for name, value in line.params.items()]
    for var in line.outputs:
        numbers += var.shape
    key = line.primitive, tuple(operands), tuple(params), tuple([(len(v.shape), v.dtype) for v in line.outputs])
    try:
        hash(key), hash(tuple(constants))
    except TypeError:
        return line, (), tuple(numbers)
    return key, tuple(constants), tuple(numbers)


def _kind_of(line: Line) -> str:
    """Return whether a line can be one of nests, is a product or a view, or stays NumPy's."""
    if line.primitive.native is None or line.primitive.multiple:
        return "line"
    op = Expressions()
    try:
        arrays = {atom: _operand(atom) for atom in line.inputs if isinstance(atom, Var) or not _is_scalar(atom)}
        values = {atom: op.argument(form.shape, form.dtype, row_major_bytes(form)) for atom, form in arrays.items()}
        result = op.line(line, values)
    except NoLoweringError:
        return "line"
    for value in op.values:
        if isinstance(value, Each) and not _is_there(value):
            return "line"
    if any(isinstance(value, Product) for value in op.values):
        return "product"
    is_view = isinstance(result, (Move, Argument, Complex)) and all(isinstance(v, (Argument, Move)) for v in op.values)
    return "view" if is_view and len(line.inputs) == 1 else "nest"


def _is_in_memory(var: Var) -> bool:
    """Return whether a kernel may read or write a variable in memory."""
    return kind_of(var.dtype) is not None


def _is_there(value: Each) -> bool:
    """Return whether an operation can be called."""
    kinds = [operand.dtype for operand in value.operands if isinstance(operand, Value)]
    return _has_symbol(value.name, kinds[0] if kinds else value.dtype, value.dtype)


@functools.cache
def _has_symbol(name: str, kind: str, result: str) -> bool:
    """Return whether what an operation calls is there."""
    symbol = (instruction(name, kind, result) or "").partition("@")[2].partition("(")[0]
    return not symbol or symbol.startswith("llvm.") or address_of(symbol) is not None


def _is_scalar(atom: Constant) -> bool:
    """Return whether a constant is a number, or has one value."""
    try:
        constant_of_atom(atom)
    except NoLoweringError:
        return False
    return True


def _operand(atom: Atom) -> Operand:
    """Return what a kernel is called with for a variable or a constant array."""
    if isinstance(atom, Var):
        if not _is_in_memory(atom):
            raise NoLoweringError(f"an operand of {atom.dtype}")
        return Operand(atom.shape, atom.dtype.char)
    array = np.asarray(atom.value)
    kind = stored_kind(array.dtype)
    if kind is None:
        raise NoLoweringError(f"a constant of {array.dtype}")
    return Operand(array.shape, kind)
