"""Sequences: kernels of arrays one after the other, as one kernel that goes through a list of commands.

A *command* is the address of a function, that of the whole numbers that the function takes (its *extents*), and where
its arrays are: each in a *base*, so many bytes from its beginning.  Bases are what the caller passes: arguments,
results, and an *arena* for what lies between.  So a list is made once, and runs on other memory at each call; and a
loop over a sequence moves its bases on (`wengert_repeat` in `sequences.ll`).

    kernel    i32 f(addresses, extents)        a result that is not zero ends the sequence
    sequence  i32 f(bases, commands)           a kernel, too: sequences nest
    loop      i32 f(bases, form)               and so do loops over sequences

>>> hex(word(2, 16)), word(NOWHERE, 4096)
('0x2000000000010', 4096)
>>> stream([Command(4096, 0, (word(1), word(2, 8)))]).tolist() == [4096, 0, 2, 1 << 48, (2 << 48) + 8, 0]
True

The arena is planned by liveness: what is not needed at one time shares memory.

>>> arena = Arena()
>>> a, b = arena.take(100), arena.take(1000)
>>> arena.free(a, 100)
>>> arena.take(80) == a, arena.size
(True, 1152)
"""

from __future__ import annotations

import bisect
import functools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wengert.compilation.native.engine import Compiled as Code
from wengert.compilation.native.engine import compile_texts

NOWHERE = 0
"""The base of absolute addresses."""
OFFSETS = 48
"""The number of bits of the offset in a base; those above are the number of the base."""
LINE = 64
"""Memory in an arena is a number of lines of the cache."""
MOST_ADDRESSES = 2048
"""The number of addresses of a command that `sequences.ll` has room for."""


def word(base: int, offset: int = 0) -> int:
    """Return where something is: a base, counted from one, or `NOWHERE`; and bytes from its beginning."""
    return base << OFFSETS | offset


class Command(NamedTuple):
    """A call of a function of machine code.

    Attributes
    ----------
    address, extents
        Of the function, and of its extents; zero if it takes none.
    words
        Where its arrays are.
    """

    address: int
    extents: int
    words: tuple[int, ...]


def stream(commands: Iterable[Command]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return commands as the words that machine code goes through."""
    words: list[int] = []
    for address, extents, places in commands:
        words += (address, extents, len(places))
        words += places
    words.append(0)
    return np.array(words, np.uint64).view(np.int64)


def repetition(commands: int, count: int, moves: Sequence[int]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the form of a loop over a sequence, given by the address of its commands.

    `count` is the base where the number of steps is; `moves` are the bytes by which the bases move on.
    """
    return np.array([commands, len(moves), count, *moves], np.int64)


@functools.cache
def code_of(name: str) -> Code:
    """Return ``"wengert_sequence"`` or ``"wengert_repeat"``."""
    return compile_texts([Path(__file__).with_name("sequences.ll").read_text(encoding="utf-8")], name)


class Arena:
    """Memory that values take and free in the order in which commands run.

    Attributes
    ----------
    size
        The bytes that it needs.
    """

    def __init__(self) -> None:
        self.size = 0
        self._free: list[tuple[int, int]] = []
        """Beginnings and ends of what is free, in order, with something taken between any two."""

    def take(self, size: int) -> int:
        """Return where so many bytes are free: in the smallest such place."""
        size = in_lines(size)
        places = [(end - start, k) for k, (start, end) in enumerate(self._free) if end - start >= size]
        if places:
            _, k = min(places)
            start, end = self._free[k]
            self._free[k : k + 1] = [(start + size, end)] if start + size < end else []
            return start
        start = self.size
        if self._free and self._free[-1][1] == self.size:
            start, _ = self._free.pop()
        self.size = start + size
        return start

    def free(self, start: int, size: int) -> None:
        """Free what has been taken."""
        end = start + in_lines(size)
        k = bisect.bisect(self._free, (start, end))
        if k < len(self._free) and self._free[k][0] == end:
            end = self._free.pop(k)[1]
        if k and self._free[k - 1][1] == start:
            k -= 1
            start = self._free.pop(k)[0]
        self._free.insert(k, (start, end))


def in_lines(size: int) -> int:
    """Return the bytes that so many take in an arena."""
    return -(-size // LINE) * LINE
