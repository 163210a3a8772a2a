"""Joining: nests that run along the same rows become one nest, which computes a row before it begins the next.

A softmax is several passes over an array: the largest of each row, the exponentials and their sum, the quotients.  In
one nest over the rows they are passes over a row, which is in the cache; and what is read in the same row alone needs
the memory of one row.  Nests are joined where no row reads or writes what another one writes; the operations and their
order in a row stay the same.

>>> from wengert.compilation.native.expressions import Expressions
>>> from wengert.compilation.native.nests import lower_nests
>>> op = Expressions()
>>> x = op.argument((9000, 20), "d", (160, 8))
>>> y = op("exp", x)
>>> print(lower_nests(op, [op("divide", y, op.fold("add", y, (1,), True))], "k"))
k(x0: 180000, y0: 180000) -> y: 0
  t0: 20 on the stack
  t1: 1 on the stack
  for i < 9000:
    for j < 20; r3 = 0.0, then r5, in the end r4:
      r1 = x0[20 i + j]
      r2 = exp r1
      t0[j] = r2
      r5 = add r3, r2
    t1[0] = r4
    for j < 20:
      r6 = t0[j]
      r7 = t1[0]
      r8 = divide r6, r7
      y0[20 i + j] = r8
  return 0
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from wengert.compilation.native.loops import (
    Buffer,
    Compute,
    Element,
    Kernel,
    Load,
    Nest,
    Statement,
    Store,
    steps_of,
    walk_statements,
)

FEWEST_STEPS = 1 << 17
"""The number of steps from which nests are joined: what fewer read is in the cache anyway."""
SHORTEST_ROW = 16
"""The length of a row from which a nest over all elements is divided into rows."""
LONGEST_ROW = 4096
"""The number of elements of a row up to which its memory is on the stack."""


class _Access(NamedTuple):
    """A load or a store, with the range of places in a row that it goes through."""

    is_store: bool
    element: Element
    stride: int
    low: int
    high: int


class _Rows(NamedTuple):
    """A nest as a block for each row, and what that loads and stores."""

    body: tuple[Statement, ...]
    accesses: tuple[_Access, ...]


def joined(kernel: Kernel) -> Kernel:
    """Return a kernel in which nests along the same rows are one."""
    statements: list[Statement] = []
    rows: list[tuple[int, list[_Rows]]] = []
    rest = list(kernel.statements)
    while rest:
        run, count = _run(rest)
        if len(run) > 1:
            body = tuple([s for part in run for s in part.body])
            rows.append((count, run))
            statements.append(Nest((count,), body))
        else:
            statements.append(rest[0])
        del rest[: max(len(run), 1)]
    if not rows:
        return kernel
    return _with_short_memory(replace(kernel, statements=tuple(statements)), rows)


def _run(statements: Sequence[Statement]) -> tuple[list[_Rows], int]:
    """Return the rows of the first statements that can be joined, and how many rows there are."""
    for first in statements:
        if not isinstance(first, Nest):
            return [], 0
        count = first.counts[0]
        if any(isinstance(s, Nest) for s in first.body):
            break
    else:
        return [], 0
    if type(count) is not int or count < 2:
        return [], 0
    run: list[_Rows] = []
    steps = 0
    for statement in statements:
        rows = _in_rows(statement, count) if isinstance(statement, Nest) else None
        if rows is None or not _may_follow(rows, run):
            break
        run.append(rows)
        steps += steps_of([statement])
    return (run, count) if steps >= FEWEST_STEPS else ([], 0)


def _in_rows(nest: Nest, count: int) -> _Rows | None:
    """Return a nest as a block for each of so many rows; None if it has other ones."""
    inner_nests = [s for s in walk_statements([nest]) if isinstance(s, Nest)]
    if nest.carries or not all(type(n) is int for s in inner_nests for n in s.counts):
        return None
    if not all(isinstance(s, (Load, Store, Compute, Nest)) for s in walk_statements(nest.body)):
        return None
    outer = int(nest.counts[0])  # type: ignore[arg-type]
    body: tuple[Statement, ...] = nest.body
    if outer == count:
        inner = nest.counts[1:]
        if inner:
            body = (Nest(inner, body, parallel=nest.parallel, depth=1),)
    elif outer % count == 0 and outer // count >= SHORTEST_ROW:
        length = outer // count
        body = tuple(_changed([replace(nest, counts=(length, *nest.counts[1:]))], lambda e: _split(e, length), 1))
    else:
        return None
    accesses = tuple(_accesses(body, (count,)))
    if any(access.element.computed for access in accesses):
        return None
    return _Rows(body, accesses)


def _split(element: Element, length: int) -> Element:
    """Return an element whose outermost variable is divided in two, the inner of so many steps."""
    strides = element.strides
    return element._replace(strides=(strides[0] * length, *strides)) if strides else element


def _changed(statements: Iterable[Statement], change: Callable[[Element], Element], depth: int) -> Iterator[Statement]:
    """Yield statements with their elements changed, in so many loops more."""
    for s in statements:
        if isinstance(s, (Load, Store)):
            yield replace(s, element=change(s.element))
        elif isinstance(s, Nest):
            yield replace(s, body=tuple(_changed(s.body, change, depth)), depth=s.depth + depth)
        else:
            yield s


def _accesses(block: Sequence[Statement], counts: tuple[int, ...]) -> Iterator[_Access]:
    """Yield the loads and stores of a block for each row, but for those in loops that take no step."""
    for s in block:
        if isinstance(s, (Load, Store)):
            low = high = s.element.offset
            for n, stride in zip(counts[1:], s.element.strides[1:], strict=False):
                low, high = low + min((n - 1) * stride, 0), high + max((n - 1) * stride, 0)
            yield _Access(isinstance(s, Store), s.element, (*s.element.strides, 0)[0], low, high)
        elif isinstance(s, Nest) and 0 not in s.counts:
            yield from _accesses(s.body, (*counts, *s.counts))  # type: ignore[arg-type]


def _may_follow(rows: _Rows, run: Sequence[_Rows]) -> bool:
    """Return whether rows can be joined to others: what one writes and another reads or writes is in the same row."""
    if not run:
        return True
    before = [access for part in run for access in part.accesses]
    written = {a.element.buffer for a in (*before, *rows.accesses) if a.is_store}
    here, there = ({a.element.buffer for a in accesses} for accesses in (rows.accesses, before))
    if not here & there:
        return False
    shared = written & here & there
    return all(_is_in_one_row([a for a in (*before, *rows.accesses) if a.element.buffer == b]) for b in shared)


def _is_in_one_row(accesses: Sequence[_Access]) -> bool:
    """Return whether accesses to a buffer meet in the same row alone."""
    stride = accesses[0].stride
    low, high = min(a.low for a in accesses), max(a.high for a in accesses)
    return all(a.stride == stride for a in accesses) and high - low < abs(stride)


def _with_short_memory(kernel: Kernel, rows: Sequence[tuple[int, Sequence[_Rows]]]) -> Kernel:
    """Return a kernel in which what is used in the same row alone has the memory of one row."""
    uses = Counter([access.element.buffer for access in _accesses(kernel.statements, ())])
    short: dict[Buffer, tuple[Buffer, int]] = {}
    for _, run in rows:
        inside: dict[Buffer, list[_Access]] = {}
        for access in (access for part in run for access in part.accesses):
            inside.setdefault(access.element.buffer, []).append(access)
        for buffer, accesses in inside.items():
            if buffer.role not in ("work", "temporary") or len(accesses) != uses[buffer]:
                continue
            low, high = min(a.low for a in accesses), max(a.high for a in accesses)
            if _is_in_one_row(accesses) and high - low < LONGEST_ROW:
                short[buffer] = buffer._replace(size=high - low + 1, role="temporary"), low

    def shortened(element: Element) -> Element:
        if element.buffer not in short:
            return element
        buffer, low = short[element.buffer]
        return element._replace(buffer=buffer, offset=element.offset - low, strides=(0, *element.strides[1:]))

    moved = [short[b][0] for b in kernel.arguments if b in short]
    return replace(
        kernel,
        arguments=tuple([b for b in kernel.arguments if b not in short]),
        temporaries=(*[short[b][0] if b in short else b for b in kernel.temporaries], *moved),
        statements=tuple(_changed(kernel.statements, shortened, 0)),
    )
