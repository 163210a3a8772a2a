"""Positions: indices with arrays of whole numbers, as tables that machine code reads.

Such an index chooses first by its slices, which is a view, and then along some axes by a table each.  The tables are
checked and made positive once; a kernel is passed their addresses.

>>> index = slice(None), np.array([2, 0, -1]), slice(1, 4)
>>> places = positions_of(index, (5, 3, 6))
>>> places.axes, places.tables[0].tolist(), places.start, places.shape
((1,), [2, 0, 2], 1, (5, 3, 3))
>>> x = np.arange(90).reshape(5, 3, 6)
>>> places.view(x).shape
(5, 3, 3)
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np


class Positions(NamedTuple):
    """What an index chooses from an array.

    Attributes
    ----------
    view
        Returns the part of the array that slices choose.
    axes
        The axes of that along which tables choose.
    tables
        A table for each of them, all of one shape.
    start
        The axis of the result at which those of the tables begin; the others keep their order.
    shape
        The shape of the result.
    """

    view: Callable[[Any], Any]
    axes: tuple[int, ...]
    tables: tuple[np.ndarray[Any, np.dtype[np.int64]], ...]
    start: int
    shape: tuple[int, ...]

    @property
    def table_axes(self) -> int:
        """The number of axes of a table."""
        return self.tables[0].ndim

    def along_tables(self, steps: Sequence[int]) -> tuple[int, ...]:
        """Return strides of the result that are those of a table."""
        rest = len(self.shape) - self.table_axes - self.start
        return (*(0,) * self.start, *steps, *(0,) * rest)

    def along_others(self, strides: Sequence[int]) -> tuple[int, ...]:
        """Return strides of the result along the axes that slices choose, given those of the view."""
        others = [stride for axis, stride in enumerate(strides) if axis not in self.axes]
        return (*others[: self.start], *(0,) * self.table_axes, *others[self.start :])


def positions_of(index: Sequence[Any], shape: tuple[int, ...], batch: int = 0) -> Positions | None:
    """Return what an index chooses from an array whose first axes, so many as `batch`, it does not name.

    None where it has something else than slices, whole numbers and arrays of these or of truth values.
    """
    items = _items(index)
    if items is None or not any(isinstance(item, np.ndarray) for item in items):
        return None
    named = [k for k, item in enumerate(items) if isinstance(item, (int, np.ndarray))]
    is_together = named == list(range(named[0], named[-1] + 1))  # an ellipsis parts them, if it stands for no axis too
    items = _with_all_axes(items, len(shape) - batch)
    chosen = [axis for axis, item in enumerate(items) if not isinstance(item, slice)]
    arrays = np.broadcast_arrays(*[np.asarray(items[axis], np.int64) for axis in chosen])
    lengths = [shape[batch + axis] for axis in chosen]
    if any(array.size and not -n <= array.min() <= array.max() < n for array, n in zip(arrays, lengths, strict=True)):
        return None
    tables = tuple([np.array(array % n, order="C") for array, n in zip(arrays, lengths, strict=True)])
    slices = (slice(None),) * batch + tuple([item if isinstance(item, slice) else slice(None) for item in items])
    sizes = [len(range(*part.indices(n))) for part, n in zip(slices, shape, strict=True)]
    others = [n for axis, n in enumerate(sizes) if axis - batch not in chosen]
    start = batch + (chosen[0] if is_together else 0)
    result = (*others[:start], *tables[0].shape, *others[start:])
    return Positions(
        functools.partial(_sliced, slices), tuple([batch + axis for axis in chosen]), tables, start, tuple(result)
    )


def _items(index: Sequence[Any]) -> list[Any] | None:
    """Return the items of an index; truth values become the places of those that hold."""
    items: list[Any] = []
    for item in index:
        if isinstance(item, np.ndarray) and item.dtype == bool and item.ndim:
            items += item.nonzero()
        elif (
            item is Ellipsis or type(item) in (int, slice) or (isinstance(item, np.ndarray) and item.dtype.kind in "iu")
        ):
            items.append(item)
        else:
            return None
    return items


def _with_all_axes(items: list[Any], ndim: int) -> list[Any]:
    """Return items with one for each axis, in place of an ellipsis."""
    places = [k for k, item in enumerate(items) if item is Ellipsis] or [len(items)]
    rest = items[places[0] + 1 :]
    return [*items[: places[0]], *[slice(None)] * (ndim - places[0] - len(rest)), *rest]


def _sliced(slices: tuple[slice, ...], x: Any) -> Any:
    return x[slices]
