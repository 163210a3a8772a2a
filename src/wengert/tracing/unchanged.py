"""Unchanged: large plain arrays that the rules will read stay as they were while the function ran.

Small arrays are copied onto the tape.  A large one may be the user's data, and is not: the tape takes a *fingerprint*
when a line first reads it, and compares when the function has returned.  If the array has been changed in place
since, the derivative would be that of another function, and an error names the line that has read it.

Looking at every element would cost more than many a function does.  Of the first arrays of a trace, if they have no
more than 8,192 elements, a fingerprint is the exact sum of the bits, so that no change of an element is missed, and 16
elements at regular distances, which see their order.  Of others it is those, and a block.  Block and samples move on
from trace to trace: a change that they do not see at first, a single element of a very large array, is found by a
later call.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from wengert.errors import ChangedError, RawLocation, explain_at

Array = np.ndarray[Any, Any]
EXACT = 8192
"""Arrays of up to so many elements are summed, if there are few."""
FEW = 16
"""So many arrays of a trace are."""
BLOCK = 512
SAMPLES = 16
_turns = itertools.count()


class Unchanged:
    """The fingerprints of the large plain arrays that the lines of one tape have read.

    >>> data = np.ones(5000)
    >>> unchanged = Unchanged()
    >>> unchanged.see(data)
    >>> data[7] = 2.0
    >>> len(unchanged.changed())
    1
    """

    __slots__ = ("seen", "turn")

    def __init__(self) -> None:
        self.seen: dict[int, tuple[weakref.ref[Array], bool, Any]] = {}
        self.turn = -1

    def see(self, array: Array) -> None:
        """Remember what an array looks like, if it has not been seen before; an array that dies is forgotten."""
        key = id(array)
        if key in self.seen:
            return
        if self.turn < 0:
            self.turn = next(_turns)
        seen = self.seen

        def forget(_: Any) -> None:
            seen.pop(key, None)

        exact = array.size <= EXACT and len(seen) < FEW
        seen[key] = (weakref.ref(array, forget), exact, fingerprint(array, self.turn, exact))

    def pass_on(self, to: Unchanged) -> None:
        """Let another tape remember the same arrays: that of a loop, those which its body has read."""
        for reference, _, _ in [*self.seen.values()]:
            array = reference()
            if array is not None:
                to.see(array)

    def changed(self) -> list[Array]:
        """Return the arrays that do not look as they did."""
        alive = [(reference(), exact, before) for reference, exact, before in [*self.seen.values()]]
        return [a for a, exact, before in alive if a is not None and fingerprint(a, self.turn, exact) != before]

    def demand(self, rows: Sequence[Any]) -> None:
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


def _is_part(value: Any, array: Array) -> bool:
    return value is array or (
        type(value) is np.ndarray and value.base is not None and np.may_share_memory(value, array)
    )


def _changed(array: Array, name: str, place: RawLocation | None) -> ChangedError:
    shape = " x ".join(map(str, array.shape))
    return ChangedError(
        explain_at(
            place,
            f"a plain array ({shape}) has been changed in place since {name} has read it, "
            "and the derivative needs what stood there:",
            "Write a = a + b instead of a += b, or copy the array before it is changed: a = a.copy().",
        )
    )


def fingerprint(array: Array, turn: int, exact: bool) -> tuple[Any, bytes, bytes]:
    """Return what changes if the elements of an array do: the sum of all bits, or a block; and samples."""
    n = array.size
    step = n // SAMPLES
    flat: Any = array.ravel("K") if array.flags.forc else array.flat  # a view; elements one by one where it cannot be
    samples = flat[turn % step :: step].tobytes()
    if not exact:
        start = turn * BLOCK % n
        return 0, flat[start : start + BLOCK].tobytes(), samples
    raw = array.ravel("K").view(np.uint8)
    even = raw.size // 8 * 8
    return int(np.add.reduce(raw[:even].view(np.uint64))), raw[even:].tobytes(), samples
