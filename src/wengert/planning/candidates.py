"""A candidate: one way to accumulate a Jacobian, and all that is counted of it.

>>> import numpy as np, wengert as wg
>>> x = np.array([0.5, 2.0, 3.0])
>>> plan = wg.plan(lambda x: np.array([x[0] * (x[1] - x[2]), x[2] * np.log(1 - x[0])]))(x)
>>> print(plan["reverse"])
reverse   times  mult  add  sign  div  comp  calls  total
─────────────────────────────────────────────────────────
function      1     2    2     0    0     0      1      5
partials      1     0    0     0    1     0      0      1
a pass        2     5    2     2    0     0      0      9
in all             12    6     4    1     0      1     24
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from wengert.accumulation.compressed import Compression, seeds_at_once
from wengert.accumulation.counting import ActiveRows
from wengert.accumulation.dense import dense_bytes, dimension, seeds_in_a_block
from wengert.accumulation.elimination import Counts
from wengert.accumulation.orders import FORWARD, REVERSE, Order
from wengert.accumulation.preaccumulation import count_preaccumulated, find_order
from wengert.cost import Cost, line_cost
from wengert.display import as_text
from wengert.linearization import Linearization
from wengert.planning.compressions import READING, reading
from wengert.planning.machine import Work, this_machine
from wengert.program import Constant

COUNTED = {
    "multiplications": "mult",
    "additions": "add",
    "signs": "sign",
    "divisions": "div",
    "comparisons": "comp",
    "calls": "calls",
    "operations": "total",
}
"""What is counted of a cost, and the heads of the columns that show it."""


@dataclass(frozen=True, eq=True)
class Candidate:
    """One order of accumulation for a Jacobian: how many passes it takes, what they cost, what it has to keep.

    `kept` counts the intermediate values (elements) that the function computes and a later sweep reads: what the order
    itself demands.  Forward accumulation reads each as soon as it is there, and demands none.  (Uncompiled, the trace
    comes first in either mode, and holds them.)  Whatever is counted of a `Cost` can be asked for: ``multiplications``,
    ``additions``, ``signs``, ``divisions``, ``comparisons``, ``operations``; all are of the whole Jacobian.
    """

    name: str
    passes: int
    function: Cost
    partials: Cost
    one_pass: Cost
    kept: int
    itemsize: int = 8
    """The bytes of one value."""
    entries: int = 0
    """The number of entries that are computed."""
    result: int = 0
    """The bytes of the Jacobian, an array or a sparse matrix, as it is returned."""
    eliminations: Mapping[str, Counts] = field(default_factory=dict)
    """By elimination, what each order that was compared multiplies and adds, the one that is taken first."""
    back: tuple[int, Cost] = (0, Cost())
    """Where rows and columns are compressed, how many of the passes are reverse ones, and the cost of one."""
    compression: Compression | None = field(default=None, compare=False, repr=False)
    """Which columns and rows share a pass, by their colors."""
    work: Work | None = field(default=None, compare=False, repr=False)
    """What it takes beside operations, by which its time is predicted."""
    measured: float = field(default=math.nan, compare=False)
    """The seconds that it took, where the best candidates were timed."""

    @property
    def cost(self) -> Cost:
        """The whole Jacobian: the function and its partials once, and every pass."""
        return self.function + self.partials + self.all_passes

    @property
    def all_passes(self) -> Cost:
        """What all passes cost."""
        count, another = self.back
        return (self.passes - count) * self.one_pass + count * another

    @property
    def total(self) -> int:
        """All operations, and one for each entry, more if it is solved for: what compressed passes are compared by."""
        if self.compression is None:
            return self.operations + READING * self.entries
        return self.operations + reading(self.compression)

    @property
    def products(self) -> int:
        """Local products, by 1 and -1 as well: of all passes along the edges, and those of an elimination."""
        if self.eliminations:
            return next(iter(self.eliminations.values())).products
        return self.partials.products + self.all_passes.products

    @property
    def products_unit_free(self) -> int:
        """Local products, those by 1 and -1 left out."""
        if self.eliminations:
            return next(iter(self.eliminations.values())).unit_free
        return self.partials.unit_free + self.all_passes.unit_free

    @property
    def bytes(self) -> int:
        """The memory of the Jacobian, and of the values that are kept for it."""
        return self.result + self.kept * self.itemsize

    @property
    def seconds(self) -> float:
        """The time of a call of the Jacobian, uncompiled: measured, or predicted for this machine."""
        if not math.isnan(self.measured) or self.work is None:
            return self.measured
        return this_machine().seconds(self.cost, self.work, self.entries, self.result)

    @property
    def blocks(self) -> int:
        """In how many blocks the seeds travel, so that memory stays bounded."""
        return 1 if self.work is None else self.work.blocks

    @property
    def transcendentals(self) -> int:
        """Calls of elementary functions."""
        return self.cost.calls

    @property
    def multiplications(self) -> int:
        """Multiplications of scalars."""
        return self.cost.multiplications

    @property
    def additions(self) -> int:
        """Additions and subtractions of scalars."""
        return self.cost.additions

    @property
    def signs(self) -> int:
        """Changes of sign."""
        return self.cost.signs

    @property
    def divisions(self) -> int:
        """Divisions of scalars."""
        return self.cost.divisions

    @property
    def comparisons(self) -> int:
        """Comparisons of scalars, and choices between two."""
        return self.cost.comparisons

    @property
    def operations(self) -> int:
        """All operations, each counted once: the candidate with the fewest is chosen."""
        return self.cost.operations

    def __rich__(self) -> Any:
        from rich import box
        from rich.table import Table

        count, another = self.back
        rows = [("function", 1, self.function), ("partials", 1, self.partials)]
        if self.eliminations:
            rows.append(("products", 1, self.one_pass))
        elif count:
            rows += [("a forward pass", self.passes - count, self.one_pass), ("a reverse pass", count, another)]
        else:
            rows.append(("a pass", self.passes, self.one_pass))
        grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
        for head in (self.name, "times", *COUNTED.values()):
            grid.add_column(head, justify="left" if head == self.name else "right", no_wrap=True)
        for name, times, counts in rows:
            grid.add_row(name, f"{times:,}", *figures(counts))
        grid.add_row("in all", "", *figures(self.cost), style="bold")
        return grid

    def __str__(self) -> str:
        return as_text(self)


def figures(counts: Cost) -> list[str]:
    """Write what is counted of a cost, a number each."""
    return [f"{getattr(counts, kind):,}" for kind in COUNTED]


def counted_passes(count: int) -> str:
    """Write a number of passes."""
    return f"{count:,} pass{'es' * (count != 1)}"


# ---- Counting ----


def count_order(order: Order, active: ActiveRows, function: Cost) -> Candidate:
    """Count one order of accumulation of a dense Jacobian."""
    linearization = active.linearization
    passes = order.passes(linearization)
    sweep = count_preaccumulated(order.count, active, passes)
    return Candidate(
        order.name,
        passes,
        function if sweep.function is None else sweep.function,
        sweep.partials,
        sweep.one_pass,
        sweep.kept,
        max([x.dtype.itemsize for x in linearization.inputs], default=8),
        dimension(linearization.inputs) * dimension(linearization.values),
        dense_bytes(linearization),
        dict(sweep.eliminations),
        work=_work(active, passes, seeds_in_a_block(linearization), bool(sweep.eliminations)),
    )


def count_compression(
    compression: Compression, forward: Candidate, reverse: Candidate, active: ActiveRows, is_array: bool = False
) -> Candidate:
    """Count a compression, a pass of which costs what a pass of the dense candidates does."""
    forward = _with_passes(forward, FORWARD, active, compression.passes)
    reverse = _with_passes(reverse, REVERSE, active, compression.passes)
    first, linearization = forward if compression.forward_passes else reverse, active.linearization
    return replace(
        first,
        name=compression.name,
        passes=compression.passes,
        kept=reverse.kept if compression.reverse_passes else 0,
        entries=int(compression.pattern.nnz),
        result=first.result if is_array else sparse_bytes(compression, linearization),
        back=(compression.reverse_passes, reverse.one_pass) if first is forward else (0, Cost()),
        compression=compression,
        work=_work(active, compression.passes, seeds_at_once(linearization)),
    )


def _with_passes(candidate: Candidate, order: Order, active: ActiveRows, passes: int) -> Candidate:
    """Return a dense candidate with the cost that a pass has if there are so many: others may be preaccumulated."""
    linearization = active.linearization
    if find_order(linearization, passes) == find_order(linearization, candidate.passes):
        return candidate
    sweep = count_preaccumulated(order.count, active, passes)
    return replace(candidate, partials=sweep.partials, one_pass=sweep.one_pass, kept=sweep.kept)


def sparse_bytes(compression: Compression, linearization: Linearization) -> int:
    """Return how much memory a Jacobian takes as a sparse matrix."""
    pattern, itemsize = compression.pattern, max([y.dtype.itemsize for y in linearization.values], default=8)
    return int(pattern.nnz * (itemsize + pattern.indices.itemsize) + pattern.indptr.nbytes)


def _work(active: ActiveRows, passes: int, at_once: int, scalars: bool = False) -> Work:
    """Return what passes take beside operations, of which so many go at once."""
    linearization = active.linearization
    lines, blocks = len(active.kinds) - active.kinds.count(None), 1 if scalars else max(1, -(-passes // at_once))
    largest = max((y.nbytes for y in [*linearization.inputs, *linearization.values]), default=1)
    products = 0.0 if active.operations_only else _share_of_products(active)
    return Work(len(linearization.rows), lines, blocks, products, min(passes, at_once) * largest > CACHE, scalars)


CACHE = 1 << 20
"""Blocks of more bytes are taken for such as do not stay in the cache."""
MANY = 8
"""A line that takes more operations for an element than this is a product of matrices, or as fast as one."""


def _share_of_products(active: ActiveRows) -> float:
    """Return which share of the operations of the lines is done in products of matrices."""
    total = inside = 0
    for primitive, parents, kept, params, _, _ in active.rows:
        if not primitive.multiple and not primitive.elementwise:
            operands = [Constant(v) if p < 0 else v for p, v in zip(parents, kept[1:], strict=True)]
            count = line_cost(primitive, kept[0], operands, params).operations
            inside += count if count > MANY * kept[0].size else 0
        else:
            count = 0 if primitive.multiple else kept[0].size
        total += count
    return inside / total if total else 0.0
