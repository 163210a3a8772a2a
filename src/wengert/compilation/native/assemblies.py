"""Assemblies: arrays that are put together of parts, with as few passes over memory as can be.

An assignment to part of an array, an adjoint that is zero in part, one that parts are added to: each is a new array
in the list.  Where only the next of them reads one, both are one `Assembly`.  Where all parts of it cover most of it,
as the shifted parts of a stencil's adjoint do, that inner *box* is computed in one pass, and the borders around it part
by part.

>>> from wengert.compilation.native.expressions import Expressions, Part
>>> op = Expressions()
>>> g, t = op.argument((9000,), "d", (8,)), op.argument((8998,), "d", (8,))
>>> erased = op.assemble((9000,), g, [Part(0.0, lambda a: a[1:-1], False)])
>>> shifted = op.assemble((9000,), 0.0, [Part(t, lambda a, k=k: a[k : 8998 + k], True) for k in range(3)])
>>> _, (adjoint,) = merged(op.values, [op("add", erased, shifted)])
>>> for stage in stages(adjoint):
...     print([str(box) for box in stage])
['[2:8998] = 0.0 + x1 + x1 + x1', '[0:2] = x0', '[8998:9000] = x0']
['[1:2] = 0.0', '[8998:8999] = 0.0']
['[0:2] += x1']
['[1:2] += x1', '[8998:8999] += x1']
['[8998:9000] += x1']
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from wengert.compilation.native.expressions import Assembly, Each, Shape, Value, Viewing, view_of
from wengert.compilation.native.loops import row_major
from wengert.compilation.native.positions import Positions

MOST_TERMS = 32
"""The number of parts from which an array is put together part by part."""
SMALLEST = 4096
"""The number of elements of an inner box from which borders by themselves pay."""


class Region(NamedTuple):
    """A box of an array: where it starts and where it stops along each axis."""

    starts: Shape
    stops: Shape

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod([max(stop - start, 0) for start, stop in zip(*self, strict=True)])

    @property
    def shape(self) -> Shape:
        """The number of elements along each axis."""
        return tuple([stop - start for start, stop in zip(*self, strict=True)])

    def __str__(self) -> str:
        return ", ".join([f"{start}:{stop}" for start, stop in zip(*self, strict=True)])

    def view(self, array: Any) -> Any:
        """Return the part of an array."""
        return array[tuple([slice(start, stop) for start, stop in zip(*self, strict=True)])]

    def within(self, other: Region) -> Region:
        """Return the region counted from where another one starts."""
        starts, stops = (tuple([k - s for k, s in zip(ends, other.starts, strict=True)]) for ends in self)
        return Region(starts, stops)

    def outside(self, inner: Region) -> Iterator[Region]:
        """Yield regions that, with one inside of this one, make it up."""
        starts, stops = list(self.starts), list(self.stops)
        for k, (start, stop) in enumerate(zip(*inner, strict=True)):
            for low, high in ((starts[k], start), (stop, stops[k])):
                region = Region((*starts[:k], low, *starts[k + 1 :]), (*stops[:k], high, *stops[k + 1 :]))
                if region.size:
                    yield region
            starts[k], stops[k] = start, stop


class Term(NamedTuple):
    """A value, seen in a box through a view; through none, it is broadcast to the box."""

    value: Any
    view: Viewing | None = None


class Box(NamedTuple):
    """What one pass over part of an assembly writes: a sum of terms, or what is there `plus` it.

    Attributes
    ----------
    shape
        The shape of the part.
    target
        The part as a view of the assembly; None for all of it.
    terms
        What is added up.
    onto
        True if it is added to what is there.
    region
        Where it is, for a box of an array.
    positions, tables
        The positions in the target, and their tables, if it is not written to all of it.
    """

    shape: Shape
    target: Viewing | None
    terms: tuple[Term, ...]
    onto: bool = False
    region: Region | None = None
    positions: Positions | None = None
    tables: tuple[Value, ...] = ()

    @property
    def operands(self) -> list[Any]:
        """The terms, and the tables."""
        return [*[term.value for term in self.terms], *self.tables]

    def __str__(self) -> str:
        place = "..." if self.region is None else str(self.region)
        return f"[{place}] {'+' * self.onto}= {' + '.join([str(term.value) for term in self.terms])}"


# ---- One assembly of several ----


def merged(values: Sequence[Value], results: Sequence[Value]) -> tuple[list[Value], list[Value]]:
    """Return the values that results need, and the results, with assemblies that only the next one reads merged."""
    needed = _reached(results)
    readers: dict[Any, int] = dict.fromkeys(results, 2)
    for value in values:
        if value in needed:
            for operand in value.operands:
                readers[operand] = readers.get(operand, 0) + 1
    stands: dict[Any, Any] = {}
    for value in values:
        if value in needed:
            stand = _merged_one(value.substituted(stands), lambda v: readers.get(v, 1) == 1)
            stands[value], readers[stand] = stand, readers.get(value, 0)
    ends = [stands[value] for value in results]
    live = _reached(ends)
    return [stand for stand in dict.fromkeys(stands.values()) if stand in live], ends


def _reached(results: Sequence[Value]) -> set[Value]:
    """Return the values that results are computed of."""
    reached: set[Value] = set()
    stack: list[Any] = list(results)
    while stack:
        value = stack.pop()
        if isinstance(value, Value) and value not in reached:
            reached.add(value)
            stack += value.operands
    return reached


def _merged_one(value: Value, is_read_once: Callable[[Value], bool]) -> Value:
    """Return a value with an assembly that it alone reads merged into it."""
    if isinstance(value, Each) and value.name == "add":
        for one, other in (value.operands, value.operands[::-1]):
            if (
                isinstance(other, Assembly)
                and is_read_once(other)
                and type(other.first) in (float, int)
                and other.first == 0
                and all(part.adds for part in other.parts)
                and other.shape == value.shape
                and not (isinstance(one, Value) and one.shape != value.shape)
            ):
                return _merged_one(Assembly(value.shape, value.dtype, one, other.parts), is_read_once)
    first = value.first if isinstance(value, Assembly) else None
    if isinstance(first, Assembly) and is_read_once(first) and first.dtype == value.dtype and first is not value:
        parts = [*first.parts, *value.parts]  # type: ignore[attr-defined]
        if len(parts) <= MOST_TERMS:
            return Assembly(value.shape, value.dtype, first.first, parts)
    return value


# ---- Boxes ----


def stages(assembly: Assembly) -> list[list[Box]]:
    """Return what is written, in stages one after the other; the boxes of one stage do not meet."""
    by_regions = _inside_and_borders(assembly)
    if by_regions is not None:
        return by_regions
    result = [] if assembly.first is None else [[Box(assembly.shape, None, (Term(assembly.first),))]]
    boxes = []
    for part in assembly.parts:
        shape = view_of(assembly.shape, row_major(assembly.shape), part.function)[2]
        places = part.positions, part.tables
        if part.positions is not None:
            shape = part.positions.shape
        boxes.append(Box(shape, part.function, (Term(part.value),), part.adds, None, *places))
    return [boxes] if assembly.is_disjoint else [*result, *[[box] for box in boxes]]


def boxes_of(assembly: Assembly, value: Value) -> list[Box]:
    """Return the boxes of an assembly that a value is a term or a table of, once for each such one."""
    boxes = [box for stage in stages(assembly) for box in stage]
    return [box for box in boxes for operand in box.operands if operand is value]


def _inside_and_borders(assembly: Assembly) -> list[list[Box]] | None:
    """Return the stages with the box that all parts cover computed at once; None if that does not pay."""
    parts = assembly.parts
    if assembly.dtype == "?" or any(part.positions for part in parts):
        return None
    if len(parts) > MOST_TERMS or (len(parts) < 2 and assembly.first is None):
        return None
    regions = [region_of(assembly.shape, part.function) for part in parts]
    everything = Region((0,) * assembly.ndim, assembly.shape)
    if None in regions:
        return None
    inside = intersection([everything, *[region for region in regions if region is not None]])
    if inside.size < SMALLEST or 4 * inside.size < 3 * everything.size:
        return None
    terms: list[Term] = []
    first: list[Box] = []
    if assembly.first is not None:
        terms.append(_term(assembly.first, everything, inside))
        first = [_box(r, (_term(assembly.first, everything, r),)) for r in everything.outside(inside)]
    result: list[list[Box]] = [[]]
    onto = assembly.first is None
    for part, region in zip(parts, regions, strict=True):
        assert region is not None
        if not part.adds:
            terms, onto = [], False
        terms.append(_term(part.value, region, inside))
        borders = region.outside(inside)
        result.append([_box(r, (_term(part.value, region, r),), part.adds) for r in borders])
    result[0] = [_box(inside, tuple(terms), onto), *first]
    return [stage for stage in result if stage]


def intersection(regions: Sequence[Region]) -> Region:
    """Return the region that is in all of some."""
    starts, stops = zip(*regions, strict=True)
    return Region(tuple(map(max, zip(*starts, strict=True))), tuple(map(min, zip(*stops, strict=True))))


def _box(region: Region, terms: tuple[Term, ...], onto: bool = False) -> Box:
    return Box(region.shape, region.view, terms, onto, region)


def _term(value: Any, region: Region, box: Region) -> Term:
    """Return a value that is put at a region as it is seen in a box of that."""
    if not isinstance(value, Value):
        return Term(value)
    if value.shape == region.shape and box == region:
        return Term(value)
    return Term(value, functools.partial(_seen, shape=region.shape, view=box.within(region).view))


def _seen(array: Any, shape: Shape, view: Viewing) -> Any:
    return view(np.broadcast_to(array, shape))


def region_of(shape: Shape, function: Viewing) -> Region | None:
    """Return the region that a view of an array is, if it has all axes and no steps."""
    strides = row_major(shape)
    offset, its, counts = view_of(shape, strides, function)
    if len(counts) != len(shape) or any(s != t for s, t, n in zip(its, strides, counts, strict=True) if n > 1):
        return None
    starts = tuple(map(int, np.unravel_index(offset, shape))) if shape else ()
    return Region(starts, tuple([s + n for s, n in zip(starts, counts, strict=True)]))
