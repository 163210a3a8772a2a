"""Comparisons: what must be as it was for a trace to hold, as data that machine code can compare.

`wengert.compilation.environment` writes each comparison as a condition of Python's.  Most of them ask whether a name
still stands for the same object; these are written a second time, in terms of the kinds below, which need no Python:
`wengert.compilation.native.dispatch` lays them out for the machine.  A comparison by machine code may fail where the
condition holds (an equal number is another object): then the conditions decide.

>>> rates = {"fast": 2.0}
>>> comparison = Item(rates, "fast", rates["fast"])
>>> comparison.holder is rates, comparison.name
(True, 'fast')
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import CellType, FunctionType
from typing import Any, NamedTuple

import numpy as np


class Item(NamedTuple):
    """An item of a dict is an object."""

    holder: dict[Any, Any]
    name: str
    value: Any


class Absent(NamedTuple):
    """A dict has no items of some names."""

    holder: dict[Any, Any]
    names: Sequence[str]


class Attribute(NamedTuple):
    """An item of an object's ``__dict__`` is an object."""

    owner: Any
    name: str
    value: Any


class NoMoreAttributes(NamedTuple):
    """An object's ``__dict__`` has some names, whatever they stand for, and `size` in all."""

    owner: Any
    names: Sequence[str]
    size: int


class Slot(NamedTuple):
    """An attribute that is no item of a dict is an object."""

    owner: Any
    name: str
    value: Any


class Part(NamedTuple):
    """The code or the defaults of a function are an object; `name` is that of the attribute."""

    function: FunctionType
    name: str
    value: Any


class Contents(NamedTuple):
    """A variable of a closure stands for an object, or for none yet: `values` has one item, or none."""

    cell: CellType
    values: Sequence[Any]


class Items(NamedTuple):
    """The items of a list are these objects."""

    holder: list[Any]
    values: Sequence[Any]


class Entries(NamedTuple):
    """The keys and values of a dict are these objects, in this order."""

    holder: dict[Any, Any]
    entries: Mapping[Any, Any]


class Elements(NamedTuple):
    """A row-major array has this shape and dtype, and these bytes."""

    array: np.ndarray[Any, Any]
    content: bytes


class Frozen(NamedTuple):
    """An array is read-only."""

    array: np.ndarray[Any, Any]


Comparison = Item | Absent | Attribute | NoMoreAttributes | Slot | Part | Contents | Items | Entries | Elements | Frozen
