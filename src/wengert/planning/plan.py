"""The plan: the candidates for a Jacobian or Hessian side by side, as a mapping and as a table.

>>> import numpy as np, wengert as wg
>>> def f(x):
...     return np.array([x[0] * (x[1] - x[2]), x[2] * np.log(1 - x[0])])
>>> print(wg.plan(f)(np.array([0.5, 2.0, 3.0])).listing(seconds=False))
f: R^3 -> R^2, 5 lines; 2 multiplications, 2 additions, 1 log
8 edges: forward 3 x 8 = 24 products, reverse 2 x 8 = 16
         passes  products  mult  add  calls  total     bytes
───────────────────────────────────────────────────────────────────────
reverse       2        16    12    6      1     24  72 bytes  <- chosen
forward       3        24    17   11      1     36  48 bytes
reverse: 2 passes instead of 3; 33 % fewer operations (24 against 36)
Counted: operations on scalars, of function, partials and all passes; products by 1 free, by minus 1 a sign
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wengert.accumulation.counting import ActiveRows
from wengert.accumulation.dense import fits_comfortably
from wengert.accumulation.orders import HESSIAN_ORDERS, ON_REQUEST, ORDERS, Order
from wengert.cost import Cost
from wengert.display import as_text, paragraph, table
from wengert.drawing import WIDTH, Drawing, spy
from wengert.errors import ArgumentError
from wengert.linearization import Linearization
from wengert.memory import in_bytes
from wengert.planning.candidates import Candidate, count_compression, count_order, counted_passes
from wengert.planning.compressions import (
    HESSIAN_COMPRESSIONS,
    JACOBIAN_COMPRESSIONS,
    compressions_of,
    find_pattern,
)
from wengert.planning.machine import in_seconds

COUNTED = "Counted: operations on scalars, of function, partials and all passes; products by 1 free, by minus 1 a sign"


@dataclass(frozen=True, repr=False)
class Plan(Mapping[str, Candidate]):
    """The candidates for a Jacobian or Hessian by their names, the one that is taken first, and why it is.

    Prints as a table, in a notebook as one of HTML.  Of a small function, a candidate that was not compared is counted
    when it is asked for: ``plan["elimination"]``, ``plan["column-compressed"]``.

    >>> import numpy as np, wengert as wg
    >>> plan = wg.plan(lambda x: np.sum(x * np.sin(x)))(np.ones(3))
    >>> plan.chosen, plan["forward"].passes, plan["reverse"].passes
    ('reverse', 3, 1)
    >>> print(plan.reason)
    reverse: 1 pass instead of 3; 2.3 times fewer operations (23 against 53)
    """

    name: str
    n: int
    m: int
    lines: int
    function: Cost
    candidates: tuple[Candidate, ...]
    notes: tuple[str, ...] = ()
    """What each loop and checkpoint keeps for a reverse sweep, in bytes, and what it runs again."""
    symmetric: bool = False
    """True for the plan of a Hessian: its function is the gradient."""
    asked: str = ""
    """What the caller asked for, where that decided: ``mode="forward"``."""
    linearization: Linearization | None = field(default=None, compare=False)
    """What was planned, if it is small enough to count an order that was not compared."""

    def __getitem__(self, name: str) -> Candidate:
        for candidate in self.candidates:
            if candidate.name == name:
                return candidate
        if self.linearization is None:
            raise KeyError(name)
        active = ActiveRows(self.linearization)
        orders = {order.name: order for order in (*dense_orders(self.symmetric), *ON_REQUEST)}
        if name in orders:
            return count_order(orders[name], active, self.function)
        if name not in compressed_modes(self.symmetric):
            raise KeyError(name)
        if name != "column-compressed" and any(y.dtype.kind == "c" for y in self.linearization.values):
            raise KeyError(name)  # a row of a complex result is two of real ones
        found = find_pattern(self.linearization, self.symmetric)
        assert found is not None
        compression = compressions_of(self.linearization, found.pattern, self.symmetric)[name]
        forward, reverse = (self[order.name] for order in dense_orders(self.symmetric))
        return count_compression(compression, forward, reverse, active, fits_comfortably(self.linearization))

    def __iter__(self) -> Iterator[str]:
        return iter([candidate.name for candidate in self.candidates])

    def __len__(self) -> int:
        return len(self.candidates)

    @property
    def chosen(self) -> str:
        """The name of the order that is taken."""
        return self.candidates[0].name

    @property
    def reason(self) -> str:
        """Why it is taken, in a line."""
        return _reason(self)

    @property
    def edges(self) -> str:
        """The products that each order multiplies along the edges of the graph, in a line."""
        return _edges(self.candidates)

    def drawing(self, width: int = WIDTH) -> Drawing:
        """Return a drawing of the pattern, in the colors of the passes that are taken or compared.

        It is what ``wg.spy(plan)`` shows.

        >>> import numpy as np, wengert as wg
        >>> print(wg.spy(wg.plan(np.diff)(np.ones(18))))
        17 x 18, 34 entries, 11.1 %; row-compressed: 2 reverse passes
        ⠙⢦⡀
        ⠀⠀⠙⢦⡀
        ⠀⠀⠀⠀⠙⢦⡀
        ⠀⠀⠀⠀⠀⠀⠙⢦⡀
        ⠀⠀⠀⠀⠀⠀⠀⠀⠉
        """
        compressed = [c.compression for c in self.candidates if c.compression is not None]
        if not compressed:
            found = None if self.linearization is None else find_pattern(self.linearization, self.symmetric)
            if found is None:
                raise ArgumentError(
                    "this plan has compared no compressed passes, and has no pattern to draw:\n"
                    "Plan with sparse=True, or draw wg.jacobian_sparsity(f)(x)."
                )
            return spy(found.pattern, width=width)
        return compressed[0].drawing(width)

    def listing(self, seconds: bool = True) -> str:
        """Write the table; without the predicted times it is the same on every machine."""
        return as_text(self._renderable(seconds))

    def __rich__(self) -> Any:
        from rich.console import Group

        taken = self.candidates[0].compression
        return self._renderable() if taken is None else Group(self._renderable(), taken.drawing(WIDTH // 2))

    def _renderable(self, seconds: bool = True) -> Any:
        from rich import box
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
        for k, column in enumerate(_columns(seconds)):
            grid.add_column(column, justify="right" if k else "left", no_wrap=True)
        for row in self._rows(seconds):
            grid.add_row(*map(Text, row), style="bold" if row[-1] else "")
        return Group(Text(self._headline()), Text(self.edges), grid, *map(Text, (self.reason, COUNTED, *self.notes)))

    def __str__(self) -> str:
        return self.listing()

    def __repr__(self) -> str:
        return str(self)  # at the prompt it is read, not copied

    def _repr_html_(self) -> str:
        columns = _columns()
        below = [paragraph(part) for part in (self.reason, COUNTED, *self.notes)]
        above = [paragraph(self._headline(), bold=True), paragraph(self.edges)]
        taken = self.candidates[0].compression
        if taken is not None:
            below.append(taken.drawing()._repr_html_())
        return "\n".join([*above, table(self._rows(), columns, "l" + "r" * (len(columns) - 2) + "l"), *below])

    def _headline(self) -> str:
        lines = f"{self.lines:,} line{'s' * (self.lines != 1)}"
        of = f"gradient of {self.name}" if self.symmetric else self.name
        return f"{of}: R^{self.n:,} -> R^{self.m:,}, {lines}; {self.function}"

    def _rows(self, seconds: bool = True) -> list[list[str]]:
        """Write the cells of the table."""
        rows = []
        for candidate in self.candidates:
            counts = [candidate.passes, candidate.products, *[getattr(candidate, kind) for kind in _COUNTED.values()]]
            row = [candidate.name, *[f"{count:,}" for count in counts], in_bytes(candidate.bytes)]
            row += [in_seconds(candidate.seconds)] if seconds else []
            rows.append([*row, "<- chosen" if candidate.name == self.chosen else ""])
        return rows


_COUNTED = {
    "mult": "multiplications",
    "add": "additions",
    "calls": "transcendentals",
    "total": "operations",
}


def _columns(seconds: bool = True) -> list[str]:
    return ["", "passes", "products", *_COUNTED, "bytes", *(["time"] if seconds else []), ""]


def dense_orders(symmetric: bool) -> tuple[Order, ...]:
    """Return the orders of a dense Jacobian or Hessian, forward first."""
    return HESSIAN_ORDERS if symmetric else ORDERS


def compressed_modes(symmetric: bool) -> tuple[str, ...]:
    """Return the names of the compressions of a Jacobian or Hessian."""
    return HESSIAN_COMPRESSIONS if symmetric else JACOBIAN_COMPRESSIONS


def _edges(candidates: Sequence[Candidate]) -> str:
    """Write how many products each order takes: ``8 edges: forward 3 x 8 = 24 products, reverse 2 x 8 = 16``."""
    names = [order.name for order in (*ORDERS, *HESSIAN_ORDERS, *ON_REQUEST)]
    candidates = [c for c in candidates if c.compression is None]
    candidates = sorted(candidates, key=lambda c: names.index(c.name) if c.name in names else len(names))
    along = {c.one_pass.products for c in candidates if not c.eliminations}
    head = "edges" if len(along) > 1 else f"{max(along):,} edge{'s' * (max(along) != 1)}"  # a pass may leave some out
    parts = [
        f"{c.name} {c.products:,}"
        if c.eliminations
        else f"{c.name} {c.passes:,} x {c.one_pass.products:,} = {c.products:,}"
        for c in candidates
    ]
    parts[0] += f" product{'s' * (candidates[0].products != 1)}"
    return f"{head}: {', '.join(parts)}"


def _reason(plan: Plan) -> str:
    first, *others = plan.candidates
    if not others:
        return f"{first.name}: the only order"
    if not math.isnan(first.measured):
        return _measured(first, others)
    best = min(others, key=lambda c: c.total)
    if plan.asked and best.total < first.total:
        fewer = _fewer(best.operations, first.operations)
        return f"{first.name}: asked for, {plan.asked}; {best.name} takes {counted_passes(best.passes)}{fewer}"
    dense = [c for c in others if c.compression is None]
    second = dense[0] if dense else best
    a, b = first.operations, second.operations
    if first.eliminations or second.eliminations:
        kinds = [
            f"in the order {next(iter(c.eliminations))}" if c.eliminations else counted_passes(c.passes)
            for c in (first, second)
        ]
        why = f"{kinds[0]}, against {second.name}, {kinds[1]}"
    elif first.passes < second.passes:
        why = f"{counted_passes(first.passes)} instead of {second.passes:,}"
    elif first.passes == second.passes:
        why = f"as many passes as {second.name} ({first.passes:,})"
    else:
        why = f"{counted_passes(first.passes)} against {second.passes:,}, but each costs less"
    how = _fewer(a, b)
    if a == b:
        how = ", the same operations"
        if first.kept < second.kept:
            how += f", and {'nothing is' if not first.kept else f'{first.kept:,} values are'} kept"
    return f"{first.name}: {why}{how}"


def _measured(first: Candidate, others: Sequence[Candidate]) -> str:
    timed = [c for c in others if not math.isnan(c.measured)]
    took = f"{first.name}: measured, {in_seconds(first.seconds)}"
    if not timed:
        return f"{took}; no other comes near by its counts"
    second = timed[0]
    but = ", though that takes fewer operations" * (second.operations < first.operations)
    return f"{took} against {in_seconds(second.seconds)} by {second.name}{but}"


def _fewer(few: int, many: int) -> str:
    """Write how many operations fewer a candidate takes; nothing if it takes none fewer."""
    if few >= many:
        return ""
    if many >= 1.995 * few:
        return f"; {_times(many, few)} fewer operations ({few:,} against {many:,})"
    return f"; {100 * (1 - few / many):.2g} % fewer operations ({few:,} against {many:,})"


def _times(more: int, fewer: int) -> str:
    ratio = more / fewer if fewer else math.inf
    return f"{ratio:,.0f} times" if ratio >= 10 else f"{ratio:.1f} times"
