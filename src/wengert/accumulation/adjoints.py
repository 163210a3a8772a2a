"""The adjoints of a reverse sweep: the sum of the contributions so far, for the value at each position.

An adjoint is a sum of contributions, one for each line that reads the value.  A contribution to some elements of an
array is a *piece*.  Pieces are collected, and assembled when the sweep reaches the line that made the array, or when
they hold more numbers than the array itself; so they take no more memory than the arrays.  A sum that was made here is
*owned*: no other code refers to it, so later contributions are added in place.

>>> import numpy as np
>>> adjoints = Adjoints(size=1)
>>> adjoints.add_piece(0, (0,), np.float64(3.0), (2,))
>>> adjoints.add(0, np.array([1.0, 1.0]))
>>> adjoints.take(0), adjoints.take(0)
(array([4., 1.]), None)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.accumulation.masks import Mask, assembled, either, is_nowhere
from wengert.jacobians import Array, Shape, add_into, assemble, is_basic
from wengert.program import SMALL

ndarray = np.ndarray


class Adjoints:
    """The adjoints of the values at `size` positions, each None as long as it is zero.

    A `batch` of 1 is for blocks of adjoints, with a leading axis.  The adjoints of a sweep that is being `recorded` are
    traced values: none is written to, and pieces are assembled once, by one line of the Program.

    Attributes
    ----------
    sizes
        The total number of elements in the larger pieces of each array.
    totals
        The sums of the contributions to whole values, by position.
    pieces
        The contributions to elements, by the position of the array: pairs of an index and a piece.
    shapes
        The shapes of the arrays that have pieces.
    owned
        The positions whose totals were made here, so that no other code refers to them.
    """

    __slots__ = ("batch", "owned", "pieces", "recorded", "shapes", "sizes", "totals")

    def __init__(self, size: int, batch: int = 0, recorded: bool = False) -> None:
        self.totals: list[Any] = [None] * size
        self.pieces: dict[int, list[tuple[Any, Array]]] = {}
        self.shapes: dict[int, Shape] = {}
        self.sizes: dict[int, int] = {}
        self.owned: set[int] = set()
        self.recorded, self.batch = recorded, batch

    def take(self, position: int) -> Array | None:
        """Remove and return the adjoint at a position, assembled; None if it is zero."""
        if position in self.pieces:
            self.put_together(position)
        total = self.totals[position]
        self.totals[position] = None
        return total

    def add(self, position: int, part: Array, fresh: bool = False) -> None:
        """Add a contribution to a value; a `fresh` one, which no other code refers to, may be written to."""
        total = self.totals[position]
        if self.recorded or (total is not None and (type(total) is not ndarray or total.size <= SMALL)):
            self.totals[position] = part if total is None else total + part
        elif total is None:
            self.totals[position] = part
            if fresh:
                self.owned.add(position)
        elif type(part) is not ndarray or part.dtype is not total.dtype:
            self.totals[position] = total + part
            self.owned.add(position)
        elif position in self.owned:
            total += part
        else:
            self.totals[position] = np.add(total, part, out=part if fresh else None)
            self.owned.add(position)

    def add_piece(self, position: int, index: Any, part: Array, shape: Shape) -> None:
        """Add a contribution to the elements at an index of an array of `shape`."""
        self.pieces.setdefault(position, []).append((index, part))
        self.shapes[position] = shape
        if part.size > SMALL:  # a smaller one takes no more memory than the record of its line
            self.weigh(position, part)

    def weigh(self, position: int, part: Array) -> None:
        """Count the elements of a piece, and assemble all pieces if they have more elements than the array."""
        size = self.sizes.get(position, 0) + part.size
        if size > math.prod(self.shapes[position]) * math.prod(part.shape[: self.batch]) and not self.recorded:
            self.put_together(position)
        else:
            self.sizes[position] = size

    def put_together(self, position: int) -> None:
        """Add the pieces of an array's adjoint to its total."""
        pieces, total = self.pieces.pop(position), self.totals[position]
        self.sizes.pop(position, None)
        if position in self.owned and _fit(pieces, total):
            free = (slice(None),) * self.batch
            for index, part in pieces:
                add_into(total, free + index, part)
            return
        together = assemble(
            [part for _, part in pieces], [index for index, _ in pieces], self.shapes[position], batch=self.batch
        )
        plain = type(together) is ndarray and not self.recorded
        if plain and type(total) is ndarray and together.dtype is total.dtype:
            together += total
        elif total is not None:
            together = total + together
        self.totals[position] = together
        if plain:
            self.owned.add(position)


class MaskedAdjoints(Adjoints):
    """Adjoints with their masks: where anything contributes to them (`wengert.accumulation.masks`).

    Attributes
    ----------
    masks
        The masks of the totals, by position; none where there are contributions everywhere.
    piece_masks
        Those of the pieces, by the position of the array.
    wild
        The positions whose adjoints may be infinite at other points, which lie behind a function with a pole.
    sparing
        True for a sweep that is recorded for other points: only the masks of choices between values are kept.
    """

    __slots__ = ("masks", "piece_masks", "sparing", "wild")

    def __init__(self, size: int, batch: int = 0, recorded: bool = False, sparing: bool = False) -> None:
        super().__init__(size, batch, recorded)
        self.masks: dict[int, Mask] = {}
        self.piece_masks: dict[int, list[Mask | None]] = {}
        self.wild: set[int] = set()
        self.sparing = sparing

    def take_masked(self, position: int) -> tuple[Array | None, Mask | None]:
        """Remove and return an adjoint and its mask; None for one that is zero everywhere by structure."""
        total = self.take(position)
        mask = self.masks.pop(position, None)
        return (None, None) if not self.sparing and is_nowhere(mask) else (total, mask)

    def add_masked(self, position: int, part: Array, mask: Mask | None) -> None:
        """Add a contribution where its mask is True; it is zero elsewhere."""
        if self.totals[position] is not None:
            mask = either(self.masks.pop(position, None), mask)
        if mask is not None:
            self.masks[position] = mask
        self.add(position, part)

    def add_masked_piece(self, position: int, index: Any, part: Array, shape: Shape, mask: Mask | None) -> None:
        """Add a contribution to the elements at an index, where its mask is True."""
        self.piece_masks.setdefault(position, []).append(mask)
        self.add_piece(position, index, part, shape)

    def put_together(self, position: int) -> None:
        masks, others = self.piece_masks.pop(position), self.masks.pop(position, None)
        if not self.sparing or any(mask is not None for mask in masks):
            pieces = [
                (index, part.shape[self.batch :], mask)
                for (index, part), mask in zip(self.pieces[position], masks, strict=True)
            ]
            total = assembled(pieces, self.shapes[position], others, self.totals[position] is None)
            if total is not None:
                self.masks[position] = total
        super().put_together(position)


def _fit(pieces: Sequence[tuple[Any, Array]], total: Array) -> bool:
    """Return whether each piece can be added to the adjoint of an array in place, by one call."""
    if type(total) is not ndarray:
        return False
    return all(is_basic(index) and part.dtype is total.dtype for index, part in pieces)
