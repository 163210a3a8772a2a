"""In place: lines that change part of an array write it in the memory of the old array, where nobody reads that later.

In a Program an assignment makes a new array, and so does an addition to part of one.  In Code, a `Reuse` says that the
new array takes the memory of the old one, and `Add` statements write the parts.  The old array must be memory that the
code itself made; nothing that reads it, or a view of it, may come later.

A write waits until its result is read: views of the old array are mostly read before that.

>>> import numpy as np, wengert as wg
>>> from wengert.program.code import lower
>>> def f(x):
...     y = 2.0 * x
...     y[1:] = y[:-1] * x[1:]
...     return np.sum(y)
>>> print(*in_place(lower(wg.trace(f)(np.ones(3)))).statements, sep="\\n")
enter x
u_1 = 2 * u_0
u_2 = u_1[:-1]
u_3 = u_0[1:]
u_4 = u_2 * u_3
u_5 = u_1, changed in place
u_5[(slice(1, None, None),)] = u_4
u_6 = sum(u_5, axis=-1)
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from wengert.program.code import (
    Add,
    Call,
    Check,
    CheckFinite,
    Code,
    Copy,
    Free,
    Reuse,
    Statement,
    Take,
    Zeros,
    with_frees,
)
from wengert.program.lines import Atom, Line, Var

MOST_PIECES = 6
"""The number of pieces up to which it is checked that they do not meet."""


def in_place(code: Code) -> Code:
    """Return the code with what may be changed in place changed so."""
    statements = [s for s in code.statements if not isinstance(s, Free)]
    if not any(isinstance(s, Call) and s.line.primitive.assigns for s in statements):
        return code
    taken = [var for s in statements if isinstance(s, Take) for var in s.variables]
    stay: set[Atom] = {*code.inputs, *code.outputs, *code.kept, *taken}
    written = _Writing(statements, stay, code.numbers).statements
    return replace(code, statements=with_frees(written, stay))


@dataclass(eq=False)
class _Chain:
    """Writes that wait: each makes a new array of the one before, the first of the `base`.

    Attributes
    ----------
    base
        The array that the first of them changes.
    result
        The result of the last.
    plain
        The statements that make a new array, for each of them.
    parts
        What is written, for each of them.
    """

    base: Var
    result: Var
    plain: list[list[Statement]]
    parts: list[list[Add]]
    line: Line


class _Writing:
    """The statements, written one after the other, with writes that wait."""

    def __init__(self, statements: Sequence[Statement], stay: set[Atom], numbers: frozenset[Var]) -> None:
        self.statements: list[Statement] = []
        self.numbers = numbers
        self.zeros: dict[Atom, Line] = {}
        """The lines that add pieces up in zeros, by their results."""
        self.memory: dict[Atom, frozenset[Var]] = {}
        """For each variable, those whose memory it may be in."""
        self.owned: set[Var] = set()
        """The variables in memory that the code has made, and that only lines of the table have read."""
        self.views: dict[Var, list[Var]] = {}
        """For each variable in whose memory others are, these."""
        self.last: dict[Atom, int] = {}
        """For each variable, where it is read last."""
        self.readers: dict[Atom, list[Statement | None]] = {}
        self.chains: dict[Atom, _Chain] = {}
        self.pieces: dict[Atom, list[Statement]] = {}
        """Arrays of zeros with pieces that do not meet, which only an addition reads; it comes before them."""
        self._prepare(statements, stay)
        decisions = [k for k, s in enumerate(statements) if isinstance(s, Check)]
        start = decisions[-1] + 1 if decisions else 0  # other branches go on with what is there at a decision
        self.statements += statements[:start]
        self.defined = {v for s in self.statements if isinstance(s, Call) for v in s.line.outputs}
        """The variables that have been computed."""
        for place in range(start, len(statements)):
            statement = statements[place]
            held = self.pieces.get(statement.array if isinstance(statement, Add) else None)  # type: ignore[arg-type]
            if held is not None:
                held.append(statement)
            elif isinstance(statement, Zeros) and self._is_piecewise(statements, place):
                self.pieces[statement.line.outputs[0]] = [statement]
            elif not self._waits(statement, place):
                self._emit(statement, place)
        for atom in list(self.chains):
            self._write(atom, len(statements))

    def _emit(self, statement: Statement, place: int) -> None:
        """Write a statement, after the writes that wait for what it reads."""
        for atom in _read_by(statement):
            self._write(atom, place)
            for piece in self.pieces.pop(atom, ()):
                self._emit(piece, place)
        self.statements.append(statement)
        if isinstance(statement, Call):
            self.defined.update(statement.line.outputs)

    def _prepare(self, statements: Sequence[Statement], stay: set[Atom]) -> None:
        for place, statement in enumerate(statements):
            for atom in _read_by(statement):
                if not (isinstance(statement, Add) and atom is statement.array):
                    self.readers.setdefault(atom, []).append(statement)
                self.last[atom] = place
            if isinstance(statement, (Call, Zeros)):
                self._define(statement.line)
            if isinstance(statement, Zeros):
                self.zeros[statement.line.outputs[0]] = statement.line
        for place, statement in enumerate(statements):
            if isinstance(statement, Call) and statement.line.primitive.compute is operator.add:
                pieces = [a for a in statement.line.inputs if a in self.zeros]
                for atom in itertools.chain.from_iterable(self.zeros[a].inputs for a in pieces):
                    self.last[atom] = max(self.last[atom], place)
        for atom in stay:
            self.readers.setdefault(atom, []).append(None)
            self.last[atom] = len(statements)

    def _is_piecewise(self, statements: Sequence[Statement], place: int) -> bool:
        """Return whether only an addition reads an array of pieces, which do not meet."""
        (var,) = statements[place].line.outputs  # type: ignore[union-attr]
        readers = self.readers.get(var, [])
        if len(readers) != 1 or not isinstance(readers[0], Call) or _change_of(readers[0], {var: []}) is None:
            return False
        adds = list(itertools.takewhile(lambda s: isinstance(s, Add), statements[place + 1 :]))
        return len(adds) <= MOST_PIECES and _are_apart([s.index for s in adds if isinstance(s, Add)], var)

    def _define(self, line: Line) -> None:
        """Note in whose memory the results of a line are."""
        primitive = line.primitive
        read = frozenset().union(*[self.memory.get(atom, frozenset()) for atom in line.inputs])
        if primitive.native is None or primitive.multiple:
            self.owned -= read  # it may keep what it reads
        for var in line.outputs:
            if primitive.fresh and primitive.native is not None and not primitive.multiple:
                self.memory[var] = frozenset([var])
                if var.shape:
                    self.owned.add(var)
            elif primitive.fresh:
                self.memory[var] = frozenset()
            else:
                self.memory[var] = read
                for root in read:
                    self.views.setdefault(root, []).append(var)

    # -- Writes --

    def _waits(self, statement: Statement, place: int) -> bool:
        """Let a statement that changes part of an array wait; return whether it does."""
        change = _change_of(statement, self.zeros)
        if change is None or not self.readers.get(change.result):
            return False
        base, values = change.base, [part.value for part in change.parts[0]]
        for atom in values:
            self._write(atom, place)
        if values[0] in self.pieces:
            pieces = self.pieces.pop(values[0])
            for piece in pieces[1:]:
                self._write(piece.value, place)  # type: ignore[union-attr]
            change.plain[0] = [*pieces, statement]
            change.parts[0] = [
                replace(piece, array=change.result, first=False) for piece in pieces if isinstance(piece, Add)
            ]
            values = [part.value for part in change.parts[0]]
        if len(values) > 1 or base in self.chains:
            is_apart = not any(self._is_in(value, self._base_of(base)) for value in values)
        else:
            is_apart = True
        chain = self.chains.get(base)
        if chain is not None and is_apart and len(self.readers[base]) == 1:
            del self.chains[base]
            chain.plain += change.plain
            chain.parts += change.parts
            chain.result = change.result
            self.chains[change.result] = chain
            return True
        if chain is not None:
            self._write(base, place)
            is_apart = not any(self._is_in(value, base) for value in values)
        if not {base, change.result} <= self.owned or (len(values) > 1 and not is_apart):
            for plain in change.plain[0]:
                self._emit(plain, place)
            return True
        self.chains[change.result] = change
        return True

    def _base_of(self, var: Var) -> Var:
        chain = self.chains.get(var)
        return var if chain is None else chain.base

    def _is_in(self, atom: Atom, array: Var) -> bool:
        """Return whether a value may be in the memory of an array."""
        return bool(self.memory.get(atom, frozenset()) & self.memory.get(array, frozenset()))

    def _write(self, atom: Atom, place: int) -> None:
        """Write what waits for a variable, or for one that it is in the memory of, before a statement reads it."""
        for root in (atom, *self.memory.get(atom, ())):
            chain = self.chains.pop(root, None)
            if chain is not None:
                self._write_chain(chain, place)

    def _write_chain(self, chain: _Chain, place: int) -> None:
        """Write what a chain holds: in place, if nothing that is still to come reads the old array."""
        for result, other in list(self.chains.items()):
            reads = [other.base, *[part.value for parts in other.parts for part in parts]]
            if result in self.chains and any(self._is_in(atom, chain.base) for atom in reads):
                self._write(result, place)
        views = [
            v
            for v in self.views.get(chain.base, ())
            if self.last.get(v, -1) >= place and v not in self.numbers and chain.base in self.memory[v]
        ]
        views = [v for v in views if v in self.defined]
        is_read = self.last[chain.base] >= place or chain.base not in self.owned
        array, parts = chain.base, chain.parts
        if is_read or 2 * sum(v.size for v in views) > chain.base.size:
            self.statements += chain.plain[0]
            array, parts = _result_of(chain.plain[0][-1]), parts[1:]
            if not parts:
                return
        elif views:
            self.statements.append(Copy(tuple(views)))
            self.memory.update((v, frozenset([v])) for v in views)
        self.statements.append(Reuse(replace(chain.line, outputs=(chain.result,)), array))
        self.statements += [replace(part, array=chain.result) for part in itertools.chain.from_iterable(parts)]


def _result_of(statement: Statement) -> Var:
    assert isinstance(statement, Call)
    return statement.line.outputs[0]


def _change_of(statement: Statement, zeros: Mapping[Atom, object]) -> _Chain | None:
    """Return a statement that makes a new array by changing part of an old one, as a chain of itself."""
    if not isinstance(statement, Call):
        return None
    line = statement.line
    if len(line.inputs) != 2 or len(line.outputs) != 1 or not line.outputs[0].shape:
        return None
    (out,) = line.outputs
    one, other = line.inputs
    if line.primitive.assigns:
        if isinstance(other, Var) and one != other:
            return _Chain(other, out, [[statement]], [[Add(out, line.params["index"], one, first=True)]], line)
        return None
    if line.primitive.compute is not operator.add or out.dtype != float:
        return None
    for base, value in ((one, other), (other, one)):
        if not (isinstance(base, Var) and isinstance(value, Var)) or value not in zeros or base == value:
            continue
        if base.shape == value.shape == out.shape and base.dtype == value.dtype == float and base not in zeros:
            return _Chain(base, out, [[statement]], [[Add(out, (Ellipsis,), value)]], line)
    return None


def _are_apart(indices: Sequence[tuple[Any, ...]], var: Var) -> bool:
    """Return whether parts of an array do not meet."""
    array = np.empty(var.shape, np.int8)
    parts = [array[(*index, Ellipsis) if Ellipsis not in index else index] for index in indices]
    return not any(np.shares_memory(a, b) for a, b in itertools.combinations(parts, 2))


def _read_by(statement: Statement) -> Iterable[Atom]:
    """Return what a statement reads."""
    if isinstance(statement, Call):
        return statement.line.inputs
    if isinstance(statement, Add):
        return (statement.value, statement.array)
    if isinstance(statement, Check):
        return (statement.guard.var,)
    return statement.variables if isinstance(statement, CheckFinite) else ()
