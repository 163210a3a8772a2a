"""Extents: one kernel for nests that differ in nothing but whole numbers.

A nest is lowered for exact shapes.  In a loop of Python that was unrolled, ``L[i, :i] @ x[:i]`` has other lengths,
offsets and strides at each step, and otherwise the same statements.  So the whole numbers are taken out of kernels when
they are finished: what is left is the *outline*, and kernels of one outline are a *family*.  Numbers that are the same
in the whole family stay in the code, where LLVM can use them; numbers that always agree with each other are one extent;
and the extents are passed when the kernel runs.

What vectors depend on is part of the outline: whether the innermost stride is 0, 1 or -1.  So are all numbers of nests
that threads divide among them.

>>> from wengert.compilation.native.loops import Buffer, Element, Kernel, Load, Nest, Register, Return, Store
>>> x, y, r = Buffer("x", 9, "argument"), Buffer("y0", 9, "result"), Register(1)
>>> def part(n):  # y = x[n : 2 * n]
...     body = Load(r, Element(x, n, (1,))), Store(Element(y, 0, (1,)), r)
...     return Kernel("k", (x, y), Buffer("y", 0, "result"), (Nest((n,), body, parallel=True), Return(0)))
>>> families = Families()
>>> three, four = families.enter(part(3)), families.enter(part(4))
>>> print(four.family.shared.kernel)
k(x: 9, y0: 9) -> y: 0
  for i < extent0:
    r1 = x[i + extent0]
    y0[i] = r1
  return 0
>>> four.family.shared.places, three.numbers, four.numbers
((0,), (3, 3, 0), (4, 4, 0))
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from wengert.compilation.native.engine import Compiled as Code
from wengert.compilation.native.engine import address_of, compile_texts
from wengert.compilation.native.layout import addresses
from wengert.compilation.native.llvm import is_divided, symbols_of, write_declarations, write_kernel
from wengert.compilation.native.loops import (
    Buffer,
    Extent,
    Kernel,
    Load,
    Nest,
    Statement,
    Store,
    inner_block,
    steps_of,
    with_buffers,
)
from wengert.compilation.native.lowering import NoLoweringError

FEW_STEPS = 1_000
"""The number of steps of nests below which a kernel is compiled quickly."""


class Families:
    """The kernels of one branch, by their outlines.

    What is compiled depends on the branch alone, so its results do not depend on what was compiled before it.
    """

    def __init__(self) -> None:
        self._families: dict[Any, Family] = {}

    def enter(self, kernel: Kernel, optimize: bool = True) -> Member:
        """Return a kernel as a member of its family; raise NoLoweringError if it calls what is not there.

        Enter all kernels before the code of one is asked for: a later one may need other code.
        """
        outline, numbers = outline_of(kernel)
        family = self._families.get((optimize, *outline))
        if family is None:
            missing = [symbol for symbol in symbols_of(kernel) if address_of(symbol) is None]
            if missing:
                raise NoLoweringError(f"no function {missing[0]}")
            family = self._families[optimize, *outline] = Family(kernel, optimize)
        family.enter(numbers, [buffer.size for buffer in kernel.temporaries])
        return Member(family, numbers)


class Family:
    """Kernels of one outline, the `first` of which it is made with."""

    def __init__(self, first: Kernel, optimize: bool) -> None:
        self.first, self._optimize = first, optimize
        self._members: dict[tuple[int, ...], None] = {}
        self._sizes: tuple[int, ...] = tuple([buffer.size for buffer in first.temporaries])
        self._shared: _Shared | None = None

    def enter(self, numbers: tuple[int, ...], sizes: Iterable[int]) -> None:
        """Enter a kernel by its numbers and the sizes of its temporaries."""
        sizes = tuple(map(max, self._sizes, sizes))
        if numbers not in self._members or sizes != self._sizes:
            self._members[numbers], self._sizes, self._shared = None, sizes, None

    @property
    def shared(self) -> _Shared:
        """What all that have been entered by now share."""
        if self._shared is None:
            self._shared = self._made()
        return self._shared

    @functools.cached_property
    def reach(self) -> Reach | None:
        """Which elements kernels access; None if that is known only when they run."""
        try:
            return Reach(self.first)
        except _ComputedError:
            return None

    def _made(self) -> _Shared:
        names: dict[tuple[int, ...], str] = {}
        places: list[int] = []
        marked: list[int] = []
        for place, column in enumerate(zip(*self._members, strict=True)):
            if len(set(column)) == 1:
                marked.append(column[0])
                continue
            if column not in names:
                names[column] = f"extent{len(names)}"
                places.append(place)
            marked.append(Extent(max(column), names[column]))
        kernel = replace(self.first, statements=_marked(self.first.statements, iter(marked)))
        kernel = _with_sizes(without_empty(kernel), dict(zip(self.first.temporaries, self._sizes, strict=True)))
        return _Shared(kernel, tuple(places), self._optimize)


class _Shared:
    """What kernels of a family share.

    Attributes
    ----------
    kernel
        The loops, with extents.
    places
        The places of the extents among the numbers of a kernel.
    """

    def __init__(self, kernel: Kernel, places: tuple[int, ...], optimize: bool) -> None:
        self.kernel, self.places, self._optimize = kernel, places, optimize

    @functools.cached_property
    def text(self) -> str:
        """The LLVM text."""
        return "\n".join([write_declarations(self.kernel), write_kernel(self.kernel)]).strip()

    @functools.cached_property
    def code(self) -> Code:
        """The machine code."""
        called = addresses(symbols_of(self.kernel))
        optimize = self._optimize and (self.kernel.has_nests or bool(self.places))
        try:
            return compile_texts(
                [self.text], "kernel", called, optimize, quickly=steps_of(self.kernel.statements) < FEW_STEPS
            )
        except RuntimeError as error:  # LLVM's
            raise NoLoweringError(str(error)) from error


class Member(NamedTuple):
    """A kernel as one of a family.

    Attributes
    ----------
    family
        The family.
    numbers
        The whole numbers of the kernel.
    """

    family: Family
    numbers: tuple[int, ...]

    def code(self) -> tuple[Code, tuple[int, ...]]:
        """Return the machine code of the family, and the extents with which it is this kernel."""
        shared = self.family.shared
        return shared.code, tuple([self.numbers[place] for place in shared.places])


class _ComputedError(Exception):
    """A place or a number of steps is computed when the kernel runs."""


class Reach:
    """Which elements of its buffers a kernel accesses, given its whole numbers.

    >>> from wengert.compilation.native.loops import Buffer, Element, Kernel, Load, Nest, Register, Return
    >>> x, r = Buffer("x", 9, "argument"), Register(1)
    >>> nest = Nest((4,), (Load(r, Element(x, 5, (-2,))),))
    >>> reach = Reach(Kernel("k", (x,), Buffer("y", 0, "result"), (nest, Return(0))))
    >>> reach.of((4, 5, -2)), reach.of((3, 5, -2)), reach.of((-1, 5, -2))
    ([(-1, 5)], [(1, 5)], None)
    """

    def __init__(self, kernel: Kernel) -> None:
        self._buffers = {buffer.name: k for k, buffer in enumerate((*kernel.arguments, *kernel.temporaries))}
        self._fixed: list[int] = [1, 0]
        self._accesses: list[tuple[int, int, list[int], list[int]]] = []
        self._counts: list[int] = []
        self.length = self._note(kernel.statements, 0, [], False)
        """The number of whole numbers."""
        depth = max([len(counts) for *_, counts in self._accesses], default=0)

        def table(rows: Iterable[list[int]], filling: int) -> np.ndarray:
            return np.array([[*row, *[filling] * (depth - len(row))] for row in rows], int).reshape(
                len(self._accesses), depth
            )

        self._number = np.array([k for k, *_ in self._accesses], int)
        self._offset = np.array([offset for _, offset, *_ in self._accesses], int)
        self._strides = table(
            [strides for _, _, strides, _ in self._accesses], -2
        )  # zero where there are no more loops
        self._steps = table([counts for *_, counts in self._accesses], -1)  # one

    def of(self, numbers: Sequence[int]) -> list[tuple[int, int]] | None:
        """Return the first and the last element of each argument and temporary that is accessed.

        The last comes before the first where none is.  Return None if there is a negative number of steps.
        """
        every = np.array([*numbers, *self._fixed[::-1]])
        if np.any(every[self._counts] < 0):
            return None
        counts = every[self._steps]
        spans = every[self._strides] * (counts - 1)
        offset, is_run = every[self._offset], np.all(counts > 0, axis=1)
        low, high = np.full(len(self._buffers), NONE), np.full(len(self._buffers), -1)
        np.minimum.at(low, self._number[is_run], (offset + np.minimum(spans, 0).sum(axis=1))[is_run])
        np.maximum.at(high, self._number[is_run], (offset + np.maximum(spans, 0).sum(axis=1))[is_run])
        return list(zip(low.tolist(), high.tolist(), strict=True))

    def _note(self, block: Sequence[Statement], place: int, around: list[int], is_divided_: bool) -> int:
        """Note the accesses of a block, whose first number has a place; return the place after the last one."""

        def number(value: int, is_kept: bool) -> int:
            nonlocal place
            if is_kept or is_divided_:
                if value not in self._fixed:
                    self._fixed.append(value)
                return -1 - self._fixed.index(value)
            place += 1
            return place - 1

        for s in block:
            if isinstance(s, (Load, Store)):
                if s.element.computed:
                    raise _ComputedError
                offset = number(s.element.offset, False)
                strides = [number(t, _is_kept(t, is_last)) for is_last, t in _with_last(s.element.strides)]
                self._accesses.append((self._buffers[s.element.buffer.name], offset, strides, around))
            elif isinstance(s, Nest):
                inner = is_divided_ or is_divided(s)
                if any(type(count) is not int for count in s.counts):
                    raise _ComputedError
                counts = [number(count, inner) for count in s.counts]  # type: ignore[arg-type]
                self._counts += counts
                place = self._note(s.body, place, [*around, *counts], inner)
            elif inner_block(s):
                raise _ComputedError
        return place


NONE = 1 << 62
"""The first element that is accessed where none is."""


def outline_of(kernel: Kernel) -> tuple[tuple[Any, ...], tuple[int, ...]]:
    """Return what a kernel is without its whole numbers, and these."""
    outline: list[Any] = [(b.name, b.role, b.dtype, b.step) for b in (*kernel.arguments, *kernel.temporaries)]
    numbers: list[int] = []
    _note_block(kernel.statements, outline, numbers)
    return tuple(outline), tuple(numbers)


def _note_block(block: Sequence[Statement], outline: list[Any], numbers: list[int]) -> None:
    """Note what statements are, and their whole numbers, in the order in which `_marked` takes them."""
    for s in block:
        if isinstance(s, (Load, Store)):
            outline.append(repr(s.value) if isinstance(s, Store) else s.register)
            element = s.element
            outline.append((element.buffer.name, element.computed))
            numbers.append(element.offset)
            for is_last, stride in _with_last(element.strides):
                if _is_kept(stride, is_last):
                    outline.append(stride)
                else:
                    outline.append(None)
                    numbers.append(stride)
        elif isinstance(s, Nest) and not is_divided(s):
            others = [count for count in s.counts if type(count) is not int]
            outline.append(("for", len(s.counts), s.depth, s.parallel, repr(s.carries), repr(others)))
            for count in s.counts:
                if type(count) is int:
                    numbers.append(count)
            _note_block(s.body, outline, numbers)
            outline.append("end")
        else:
            outline.append(repr(s))


def _marked(block: Sequence[Statement], rest: Iterator[int]) -> tuple[Statement, ...]:
    """Return statements with other whole numbers, one after the other."""
    statements: list[Statement] = []
    for s in block:
        if isinstance(s, (Load, Store)):
            offset, strides = next(rest), s.element.strides
            strides = tuple([t if _is_kept(t, is_last) else next(rest) for is_last, t in _with_last(strides)])
            s = replace(s, element=s.element._replace(offset=offset, strides=strides))
        elif isinstance(s, Nest) and not is_divided(s):
            counts = tuple([next(rest) if type(count) is int else count for count in s.counts])
            s = replace(s, counts=counts, body=_marked(s.body, rest))
        statements.append(s)
    return tuple(statements)


def _with_last(strides: Sequence[int]) -> Iterator[tuple[bool, int]]:
    """Yield strides, each with whether it is the innermost."""
    last = len(strides) - 1
    for k, stride in enumerate(strides):
        yield k == last, stride


def _is_kept(stride: int, is_last: bool) -> bool:
    """Return whether a stride belongs to the outline."""
    return not stride or (is_last and stride in (1, -1))


def without_empty(kernel: Kernel) -> Kernel:
    """Return a kernel without the nests that never take a step."""
    return replace(kernel, statements=_not_empty(kernel.statements))


def _not_empty(block: Sequence[Statement]) -> tuple[Statement, ...]:
    kept: list[Statement] = []
    for statement in block:
        if isinstance(statement, Nest):
            if any(type(count) is int and not count for count in statement.counts):
                continue
            statement = replace(statement, body=_not_empty(statement.body))
        kept.append(statement)
    return tuple(kept)


def _with_sizes(kernel: Kernel, sizes: dict[Buffer, int]) -> Kernel:
    """Return a kernel whose temporaries have other sizes."""
    buffers = {buffer: buffer._replace(size=size) for buffer, size in sizes.items() if buffer.size != size}
    if not buffers:
        return kernel
    temporaries = tuple([buffers.get(buffer, buffer) for buffer in kernel.temporaries])
    return replace(kernel, statements=with_buffers(kernel.statements, buffers), temporaries=temporaries)
