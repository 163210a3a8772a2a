"""Fingerprints: large plain arrays that the rules will read must stay as they were while the function ran.

Small arrays are copied onto the tape.  A large one may be the user's data, and is not: the tape takes a *fingerprint*
when a line first reads it, and compares when the function has returned.  If the array has been changed in place
since, the derivative would be that of another function, and an error names the line that has read it.

A fingerprint has the sums of all bits, so that no change of an element is missed.  The sums are taken by columns, as
if the array were a matrix of 127 columns (509, if it is large), so that elements cannot be exchanged unseen either;
those that lie whole such rows apart are told by the next trace, which takes another number of columns.  An array that
is changed and put back while the function runs is not told: each look costs as much as a read.  What is read-only down
to its memory needs no fingerprint.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from wengert.errors import ChangedError, RawLocation

Array = np.ndarray[Any, Any]
COLUMNS = (127, 131), (509, 521)
"""In so many columns arrays are summed, in one trace and the next: small ones, and large ones."""
LARGE = 16384
"""From so many words of eight bytes on, they are summed in more columns."""
_turns = itertools.count()


class Unchanged:
    """The fingerprints of the large plain arrays that the lines of one tape have read.

    >>> data = np.ones(5000)
    >>> unchanged = Unchanged()
    >>> unchanged.remember(data)
    >>> data[7] = 2.0
    >>> len(unchanged.changed())
    1
    """

    __slots__ = ("remembered", "turn")

    def __init__(self) -> None:
        self.remembered: dict[int, tuple[weakref.ref[Array], int]] = {}
        self.turn = -1

    def remember(self, array: Array) -> None:
        """Take the fingerprint of an array that is read for the first time; one that dies is forgotten."""
        key = id(array)
        if key in self.remembered or not (array.flags.writeable or is_written_to(array.base)):
            return
        if self.turn < 0:
            self.turn = next(_turns)
        remembered = self.remembered

        def forget(_: Any) -> None:
            remembered.pop(key, None)

        remembered[key] = (weakref.ref(array, forget), fingerprint(array, self.turn))

    def pass_on(self, to: Unchanged) -> None:
        """Remember the arrays on another tape, too: on that of a loop, those that its body has read."""
        for reference, _ in [*self.remembered.values()]:
            array = reference()
            if array is not None:
                to.remember(array)

    def changed(self) -> list[Array]:
        """Return the arrays that do not look as they did."""
        alive = [(reference(), before) for reference, before in [*self.remembered.values()]]
        return [array for array, before in alive if array is not None and fingerprint(array, self.turn) != before]

    def check(self, rows: Sequence[Any]) -> None:
        """Raise ChangedError if an array that is kept for a rule in one of the rows has been changed."""
        changed = self.changed()
        for array in changed:
            for primitive, parents, kept, params, place, *_ in rows:
                operands = [value for parent, value in zip(parents, kept[1:], strict=False) if parent < 0]
                operands += [*params.get("index", ()), *_constants_of(params.get("held"))]
                if any(_is_part(value, array) for value in operands):
                    raise _changed(array, primitive.name, place)


def _constants_of(held: Any) -> Iterator[Any]:
    """Go through the constants of the Programs that a line holds."""
    for program in getattr(held, "programs", ()):
        for line in program.lines:
            yield from (atom.value for atom in line.inputs if hasattr(atom, "value"))
            yield from line.params.get("index", ())
            yield from _constants_of(line.params.get("held"))


def is_written_to(base: Any) -> bool:
    """Return whether the memory that a read-only array is a view of can be written to, as far as is known."""
    while type(base) is np.ndarray:
        if base.flags.writeable:
            return True
        base = base.base
    return base is not None and type(base) is not bytes


def _is_part(value: Any, array: Array) -> bool:
    return value is array or (
        type(value) is np.ndarray and value.base is not None and np.may_share_memory(value, array)
    )


def _changed(array: Array, name: str, place: RawLocation | None) -> ChangedError:
    shape = " x ".join(map(str, array.shape))
    return ChangedError.at(
        place,
        f"a plain array ({shape}) has been changed in place since {name} has read it, "
        "and the derivative needs what stood there:",
        "Write a = a + b instead of a += b, or copy the array before it is changed: a = a.copy().",
    )


def fingerprint(array: Array, turn: int) -> int:
    """Return what changes if the elements of an array do: a hash of the sums of all bits by columns.

    >>> data = np.arange(5000.0)
    >>> before = fingerprint(data, 0)
    >>> data[7], data[70] = data[70], data[7]
    >>> fingerprint(data, 0) == before
    False
    """
    words = array.ravel("K")  # a view, where the elements lie together
    rest = b""
    if words.dtype.itemsize % 8:
        raw = words.view(np.uint8)
        n = raw.size // 8 * 8
        words, rest = raw[:n], raw[n:].tobytes()
    words = words.view(np.uint64)
    columns = COLUMNS[words.size >= LARGE][turn % 2]
    in_columns = words.size // columns * columns
    sums = np.add.reduce(words[:in_columns].reshape(-1, columns), 0)
    return hash(sums.tobytes() + words[in_columns:].tobytes() + rest)
