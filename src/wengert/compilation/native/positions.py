"""Positions: indices with arrays of whole numbers, as tables that machine code reads.

Such an index chooses first by its slices, which is a view, and then along some axes by a table each.  A table that does
not change is checked and made positive once, and a kernel is passed its address; one that is `Computed` is checked when
the kernel runs.

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


class Computed(NamedTuple):
    """A table that is computed, of a shape."""

    value: Any
    shape: tuple[int, ...]


class Positions(NamedTuple):
    """What an index chooses from an array.

    Attributes
    ----------
    view
        Returns the part of the array that slices choose.
    axes
        The axes of that along which tables choose.
    tables
        A table for each of them.
    table_shape
        The shape that tables are broadcast to.
    start
        The axis of the result at which those of the tables begin; the others keep their order.
    shape
        The shape of the result.
    """

    view: Callable[[Any], Any]
    axes: tuple[int, ...]
    tables: tuple[np.ndarray[Any, np.dtype[np.int64]] | Computed, ...]
    table_shape: tuple[int, ...]
    start: int
    shape: tuple[int, ...]

    @property
    def along_tables(self) -> Callable[[Any], Any]:
        """The function that views a table as an array with the shape of the result."""
        return _along(self.table_shape, len(self.shape) - len(self.table_shape) - self.start, self.shape)

    def along_others(self, strides: Sequence[int]) -> tuple[int, ...]:
        """Return strides of the result along the axes that slices choose, given those of the view."""
        others = [stride for axis, stride in enumerate(strides) if axis not in self.axes]
        return (*others[: self.start], *(0,) * len(self.table_shape), *others[self.start :])


def positions_of(index: Sequence[Any], shape: tuple[int, ...], batch: int = 0) -> Positions | None:
    """Return what an index chooses from an array whose first axes, so many as `batch`, it does not name.

    None where it has something else than slices, whole numbers and arrays of these or of truth values.
    """
    items = _items(index)
    if items is None or not any(isinstance(item, (np.ndarray, Computed)) for item in items):
        return None
    named = [k for k, item in enumerate(items) if isinstance(item, (int, np.ndarray, Computed))]
    is_together = named == list(range(named[0], named[-1] + 1))  # an ellipsis parts them, if it stands for no axis too
    items = _with_all_axes(items, len(shape) - batch)
    chosen = [axis for axis, item in enumerate(items) if not isinstance(item, slice)]
    tables = [
        items[axis] if isinstance(items[axis], Computed) else np.asarray(items[axis], np.int64) for axis in chosen
    ]
    table_shape = np.broadcast_shapes(*[table.shape for table in tables])
    for k, axis in enumerate(chosen):
        n, table = shape[batch + axis], tables[k]
        if isinstance(table, np.ndarray):
            if table.size and not -n <= table.min() <= table.max() < n:
                return None
            tables[k] = np.array(np.broadcast_to(table, table_shape) % n, order="C")
    slices = (slice(None),) * batch + tuple([item if isinstance(item, slice) else slice(None) for item in items])
    sizes = [len(range(*part.indices(n))) for part, n in zip(slices, shape, strict=True)]
    others = [n for axis, n in enumerate(sizes) if axis - batch not in chosen]
    start = batch + (chosen[0] if is_together else 0)
    result = (*others[:start], *table_shape, *others[start:])
    axes = tuple([batch + axis for axis in chosen])
    return Positions(functools.partial(_sliced, slices), axes, tuple(tables), table_shape, start, tuple(result))


def _items(index: Sequence[Any]) -> list[Any] | None:
    """Return the items of an index; truth values become the places of those that hold."""
    items: list[Any] = []
    for item in index:
        if isinstance(item, np.ndarray) and item.dtype == bool and item.ndim:
            items += item.nonzero()
        elif (
            item is Ellipsis
            or type(item) in (int, slice, Computed)
            or (isinstance(item, np.ndarray) and item.dtype.kind in "iu")
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


@functools.lru_cache(maxsize=1 << 10)
def _along(table_shape: tuple[int, ...], rest: int, shape: tuple[int, ...]) -> Callable[[Any], Any]:
    """Return the function that views a table, broadcast to a shape and followed by `rest` axes, as a larger array."""

    def view(table: Any) -> Any:
        return np.broadcast_to(np.broadcast_to(table, table_shape)[(..., *(None,) * rest)], shape)

    return view


def _sliced(slices: tuple[slice, ...], x: Any) -> Any:
    return x[slices]
