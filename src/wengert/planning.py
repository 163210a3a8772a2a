"""Planning: the orders of accumulation side by side, what each costs, which one is taken and why.

The counts are exact: a pass of each order is counted as it would be executed (`wengert.accumulation.counting`), so the
whole Jacobian costs ``function + partials + passes x pass``, and n passes are counted without being run.  This module
alone chooses: what a `Plan` marks is what `wengert.jacobian` runs and `wengert.explain` names.

>>> import numpy as np, wengert as wg
>>> f = lambda x: np.array([x[0] * (x[1] - x[2]), x[2] * np.log(1 - x[0])])
>>> plan = wg.plan(f)(np.array([0.5, 2.0, 3.0]))
>>> [(name, row.passes, row.operations) for name, row in plan.items()], plan.chosen
([('reverse', 2, 24), ('forward', 3, 36)], 'reverse')
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from wengert.accumulation.coloring import Pattern
from wengert.accumulation.compressed import (
    Compression,
    Diagonal,
    acyclic,
    by_columns,
    by_rows,
    by_rows_and_columns,
    check_entries,
    joined,
    star,
)
from wengert.accumulation.counting import ActiveRows, count_forward, count_reverse, kind_of_constant
from wengert.accumulation.dense import dense_bytes, dimension, fits_dense
from wengert.accumulation.elimination import CONVENTIONS, Counts
from wengert.accumulation.orders import FORWARD, ON_REQUEST, ORDERS, REVERSE, Order, Search, searching
from wengert.accumulation.preaccumulation import count_preaccumulated, find_order
from wengert.accumulation.sparsity import pattern_of
from wengert.cost import Cost, cost
from wengert.display import as_text, paragraph, table
from wengert.errors import ArgumentError, PatternError, SizeError, UnsupportedError
from wengert.linearization import Linearization
from wengert.memory import in_bytes
from wengert.program import Program, walk
from wengert.program.structure import exactly
from wengert.tracing import COPIED, Row, current_context, results_of

# ---- The plan ----


@dataclass(frozen=True)
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
    eliminations: Mapping[str, Counts] = field(default_factory=dict)
    """By elimination, what each order that was compared multiplies and adds, the one that is taken first."""
    back: tuple[int, Cost] = (0, Cost())
    """Where rows and columns are compressed, how many of the passes are reverse ones, and the cost of one."""
    seconds: float = field(default=math.nan, compare=False)
    """The time that the jitted Jacobian is predicted to take: lines and elements, or scalars one by one."""

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
        """The memory of the values that are kept."""
        return self.kept * self.itemsize

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


COUNTED = (
    "Counted: operations on scalars, total = once + passes x pass; products by 1 free, by minus 1 a sign; general seeds"
)


@dataclass(frozen=True, repr=False)
class Plan(Mapping[str, Candidate]):
    """The candidates for a Jacobian by their names, the cheapest first, and the reason for the choice.

    Prints as a table, in a notebook as one of HTML.  ``plan["elimination"]`` counts the elimination of a small function
    when it is first asked for, where it was not compared.

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
    linearization: Linearization | None = field(default=None, compare=False)
    """What was planned, if it is small enough to count an order that was not compared."""

    def __getitem__(self, name: str) -> Candidate:
        for candidate in self.candidates:
            if candidate.name == name:
                return candidate
        if self.linearization is not None and name in [order.name for order in ON_REQUEST]:
            return _count(order_named(name), ActiveRows(self.linearization), self.function)
        raise KeyError(name)

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
        return _reason(self.candidates)

    @property
    def edges(self) -> str:
        """The products that each order multiplies along the edges of the graph, in a line."""
        return _edges(self.candidates)

    def __rich__(self) -> Any:
        from rich import box
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        rows, marked = _rows(self)
        grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
        for k, column in enumerate(_COLUMNS):
            grid.add_column(column, justify="right" if k else "left", no_wrap=True)
        for k, row in enumerate(rows):
            grid.add_row(*map(Text, row), style="bold" if k == marked else "")
        return Group(Text(self._headline()), Text(self.edges), grid, *map(Text, (self.reason, COUNTED, *self.notes)))

    def __str__(self) -> str:
        return as_text(self)

    def __repr__(self) -> str:
        return str(self)  # at the prompt it is read, not copied

    def _repr_html_(self) -> str:
        rows, _ = _rows(self)
        columns = ["l", *("r" * (len(_COLUMNS) - 2)), "l"]
        below = [paragraph(part) for part in (self.reason, COUNTED, *self.notes)]
        above = [paragraph(self._headline(), bold=True), paragraph(self.edges)]
        return "\n".join([*above, table(rows, _COLUMNS, "".join(columns)), *below])

    def _headline(self) -> str:
        lines = f"{self.lines:,} line{'s' * (self.lines != 1)}"
        return f"{self.name}: R^{self.n:,} -> R^{self.m:,}, {lines}; {self.function}"


_SHORT = {
    "multiplications": "mult",
    "additions": "add",
    "signs": "sign",
    "divisions": "div",
    "comparisons": "comp",
    "calls": "calls",
    "operations": "total",
}


_COLUMNS = ("", "times", *_SHORT.values(), "kept", "")


def _rows(plan: Plan) -> tuple[list[list[str]], int]:
    """Write the cells of the table; return with them the number of the chosen total's row."""
    rows: list[list[str]] = [_row("function", 1, plan.function)]
    marked = 0
    for candidate in plan.values():
        if candidate.function != plan.function:
            rows.append(_row(f"{candidate.name}: function", 1, candidate.function))
        rows.append(_row(f"{candidate.name}: partials", 1, candidate.partials))
        if candidate.eliminations:
            a_pass, label = "products", f"{candidate.name} = function + partials + products"
        else:
            a_pass, label = "a pass", f"{candidate.name} = once + {candidate.passes:,} x pass"
        back, another = candidate.back
        if back:
            rows.append(_row(f"{candidate.name}: a reverse pass", back, another))
            a_pass = "a forward pass"
        rows.append(_row(f"{candidate.name}: {a_pass}", candidate.passes - back, candidate.one_pass))
        chosen = candidate.name == plan.chosen
        marked = len(rows) if chosen else marked
        total = _row(label, None, candidate.cost)
        rows.append([*total[:-2], f"{candidate.kept:,}", "<- chosen" if chosen else ""])
    return rows, marked


def _row(name: str, times: int | None, counts: Cost) -> list[str]:
    figures = [f"{getattr(counts, kind):,}" for kind in _SHORT]
    return [name, "" if times is None else f"{times:,}", *figures, "", ""]


def _edges(candidates: Sequence[Candidate]) -> str:
    """Write how many products each order takes: ``8 edges: forward 3 x 8 = 24 products, reverse 2 x 8 = 16``."""
    names = [order.name for order in (*ORDERS, *ON_REQUEST)]
    candidates = sorted(candidates, key=lambda c: names.index(c.name) if c.name in names else len(names))
    along = {c.one_pass.products for c in candidates if not c.eliminations}
    head = "edges" if len(along) > 1 else f"{max(along):,} edge{'s' * (max(along) != 1)}"  # a pass may leave some out
    parts = [
        f"{c.name} {c.products:,}"
        if c.eliminations or c.back[0]
        else f"{c.name} {c.passes:,} x {c.one_pass.products:,} = {c.products:,}"
        for c in candidates
    ]
    parts[0] += f" product{'s' * (candidates[0].products != 1)}"
    return f"{head}: {', '.join(parts)}"


def _reason(candidates: Sequence[Candidate]) -> str:
    first = candidates[0]
    if len(candidates) == 1:
        return f"{first.name}: the only order"
    second = candidates[1]

    def passes(count: int) -> str:
        return f"{count:,} pass{'es' if count != 1 else ''}"

    a, b = first.operations, second.operations
    if first.eliminations or second.eliminations:
        kinds = [
            f"in the order {next(iter(c.eliminations))}" if c.eliminations else passes(c.passes)
            for c in (first, second)
        ]
        why = f"{kinds[0]}, against {second.name}, {kinds[1]}"
    elif first.passes < second.passes:
        why = f"{passes(first.passes)} instead of {second.passes:,}"
    elif first.passes == second.passes:
        why = f"as many passes as {second.name} ({first.passes:,})"
    else:
        why = f"{passes(first.passes)} against {second.passes:,}, but each costs less"
    if a == b:
        how = ", the same operations"
        if first.kept < second.kept:
            how += f", and {'nothing is' if not first.kept else f'{first.kept:,} values are'} kept"
    elif b >= 1.995 * a:
        how = f"; {_times(b, a)} fewer operations ({a:,} against {b:,})"
    else:
        how = f"; {100 * (1 - a / b):.2g} % fewer operations ({a:,} against {b:,})"
    return f"{first.name}: {why}{how}"


def _times(more: int, fewer: int) -> str:
    ratio = more / fewer if fewer else math.inf
    return f"{ratio:,.0f} times" if ratio >= 10 else f"{ratio:.1f} times"


# ---- Compression ----

SUBSTITUTION = 20
"""What it costs to solve for an entry, in operations."""
MOST_ENTRIES = 1 << 24
"""Compressions are remembered for the latest patterns, of so many entries together."""
_COMPRESSIONS: OrderedDict[Hashable, list[Compression]] = OrderedDict()


def choose_compression(
    linearization: Linearization, pattern: Pattern, symmetric: bool = False, mode: str | None = None
) -> Compression:
    """Return the compression of a Jacobian that takes the fewest operations, which is remembered by the pattern.

    Parameters
    ----------
    pattern
        Where the Jacobian of all results by all arguments may have entries.
    symmetric
        True for a Hessian.
    mode
        ``"forward"`` or ``"reverse"`` for compression by columns or by rows alone; ``"diagonal"`` for the diagonal of a
        Hessian.
    """
    if any(y.dtype.kind == "c" for y in linearization.values):
        mode = "forward"  # an adjoint of a complex number is two of real ones
    key = pattern.shape, pattern.nnz, symmetric, mode
    for compression in _COMPRESSIONS.get(key, ()):
        if _is_same(compression.pattern, pattern):
            _COMPRESSIONS.move_to_end(key)
            return compression
    compression = _compress(linearization, pattern, symmetric, mode)
    _COMPRESSIONS.setdefault(key, []).append(compression)
    while sum([c.pattern.nnz for several in _COMPRESSIONS.values() for c in several]) > MOST_ENTRIES:
        _COMPRESSIONS.popitem(last=False)
    return compression


MOST_PATTERNS = 32
_PATTERNS: OrderedDict[Hashable, Pattern] = OrderedDict()
"""The patterns of the latest traces."""


class Sparsity(NamedTuple):
    """The pattern of a Jacobian, and whether it was found just now, for a trace that has not been seen before."""

    pattern: Pattern
    is_new: bool


def find_pattern(linearization: Linearization, symmetric: bool = False) -> Sparsity:
    """Return where the Jacobian of all results by all arguments may have entries, for all inputs of these shapes.

    It is remembered for traces that do the same, with the same constants.
    """
    key = _key(linearization, symmetric)
    pattern = _PATTERNS.pop(key, None) if key is not None else None
    is_new = pattern is None
    if pattern is None:
        pattern = joined(pattern_of(linearization), linearization, symmetric)
    if key is not None:
        _PATTERNS[key] = pattern
        if len(_PATTERNS) > MOST_PATTERNS:
            _PATTERNS.popitem(last=False)
    return Sparsity(pattern, is_new)


def check_found(jacobian: Any, linearization: Linearization) -> None:
    """Raise PatternError if a pattern that was found lacks an entry, and forget what was found."""
    try:
        check_entries(jacobian, linearization, is_given=False)
    except PatternError:
        _PATTERNS.clear()
        raise


def _key(linearization: Linearization, symmetric: bool) -> Hashable:
    """Return a key of a trace, equal for those that compute the same of their arguments; None if it has none."""
    parts: list[Any] = [symmetric, tuple(linearization.outputs)]
    parts += [(x.shape, x.dtype) for x in linearization.inputs]
    try:
        for primitive, parents, kept, params, _, _ in linearization.rows:
            parts += [primitive, parents]
            parts += [_content(value) for parent, value in zip(parents, kept[1:], strict=True) if parent < 0]
            for name, value in params.items():
                if name == "held":
                    structure = value.structure(COPIED)
                    if structure is None:
                        return None
                    shape, particulars = structure
                    parts += [shape, *map(_content, particulars)]
                elif name != "run":
                    parts.append((name, _content(value)))
    except TypeError:  # a value that may change, or that cannot be compared
        return None
    return tuple(parts)


def _content(value: Any) -> Hashable:
    """Return a key of a constant or parameter; a long array has a digest, so that it need not be kept."""
    if type(value) is np.ndarray and value.size > COPIED and not value.dtype.hasobject:
        return value.shape, value.dtype, blake2b(value.tobytes()).digest()
    if type(value) is tuple:
        return tuple(map(_content, value))
    return exactly(value, COPIED)


LEAST = 16
"""A Jacobian of fewer rows or columns is compressed if that is asked for, and not planned for."""


def choose_sparsely(
    linearization: Linearization, sparse: bool | str = "auto", symmetric: bool = False, mode: str | None = None
) -> tuple[Compression, bool] | None:
    """Return the compression of a Jacobian if it halves the passes at least, or if ``sparse=True`` asks for it.

    The second result is whether its pattern was found just now.
    """
    n, m = dimension(linearization.inputs), dimension(linearization.values)
    if sparse is not True and (min(n, m) < LEAST or any(x.dtype.kind == "c" for x in linearization.inputs)):
        return None
    try:
        pattern, is_new = find_pattern(linearization, symmetric)
        if sparse is not True and not symmetric and 2 * pattern.nnz > n * m:
            return None  # a pass gives no more than max(n, m) entries, and min(n, m) / 2 passes not all of these
        compression = choose_compression(linearization, pattern, symmetric, mode)
    except SizeError:  # there is no structure by which the pattern could be written down
        if sparse is True:
            raise
        return None
    return (compression, is_new) if sparse is True or 2 * compression.passes <= min(m, n) else None


def choose_diagonal(linearization: Linearization, sparse: bool = True) -> Diagonal:
    """Return the products from which the diagonal of a Hessian is read; `linearization` is that of the gradient."""
    if sparse:
        try:
            pattern, _ = find_pattern(linearization, symmetric=True)
            compression = choose_compression(linearization, pattern, True, "diagonal")
        except SizeError:  # the pattern does not fit the memory
            compression = Diagonal.one_by_one(dimension(linearization.inputs))
        return compression  # type: ignore[return-value]
    return Diagonal.one_by_one(dimension(linearization.inputs))


def _is_same(pattern: Pattern, other: Pattern) -> bool:
    if pattern is other:
        return True
    return np.array_equal(pattern.indptr, other.indptr) and np.array_equal(pattern.indices, other.indices)


def _compress(linearization: Linearization, pattern: Pattern, symmetric: bool, mode: str | None) -> Compression:
    """Make the compressions that may be the best, and return the one of the fewest operations."""
    shape, result_shape = (v[0].shape if len(v) == 1 else () for v in (linearization.inputs, linearization.values))
    if mode == "diagonal":
        return Diagonal.of(pattern, shape)
    if mode == "reverse":
        return by_rows(pattern, result_shape)
    if mode == "forward" and not symmetric:
        return by_columns(pattern, shape)
    active = ActiveRows(linearization, operations_only=True)
    along, back = (count(active).one_pass.operations for count in (count_forward, count_reverse))
    if symmetric:
        candidates = [star(pattern, shape)]
        if (candidates[0].passes - 2) * along > SUBSTITUTION * pattern.nnz:
            candidates.append(acyclic(pattern, shape))
    else:
        candidates = [by_columns(pattern, shape), by_rows(pattern, result_shape)]
        fullest = [int(np.diff(p.indptr).max(initial=0)) for p in (pattern, pattern.T.tocsr())]
        if min(fullest) * min(pattern.shape) > 2 * pattern.nnz and min(c.passes for c in candidates) > 3:
            candidates.append(by_rows_and_columns(pattern))

    def operations(compression: Compression) -> int:
        passes = compression.forward_passes * along + compression.reverse_passes * back
        reading: int = pattern.nnz * (SUBSTITUTION if compression.substitutes else 1)
        return passes + reading

    return min(candidates, key=operations)


# ---- The choice ----


def orders_by_effort(
    effort: str | None, milliseconds: float | None = None, convention: str | None = None
) -> tuple[Order, ...]:
    """Return the orders to compare; raise ArgumentError for what is unknown, or a time without a search.

    >>> [order.name for order in orders_by_effort("portfolio")]
    ['forward', 'reverse', 'elimination']
    """
    if effort not in EFFORTS:
        raise ArgumentError(
            f"effort {effort!r} is unknown; the efforts are {', '.join(map(repr, EFFORTS[1:]))}, or None for the least."
        )
    if milliseconds is not None and (effort != "search" or not milliseconds > 0):
        raise ArgumentError(
            f"milliseconds={milliseconds!r} is how long to search for an order of elimination, more than 0:\n"
            'Write effort="search", milliseconds=1000.'
        )
    if convention is not None and (effort is None or convention not in CONVENTIONS):
        raise ArgumentError(
            f"convention={convention!r} is how the products of an elimination are counted: "
            f"{' or '.join(map(repr, CONVENTIONS))}, or None for both:\n"
            'Write effort="portfolio", convention="unit-free"; or effort="search".'
        )
    if effort == "search":
        return (*ORDERS, searching(Search(milliseconds or MILLISECONDS, convention)))
    if effort is None:
        return ORDERS
    return (*ORDERS, searching(Search(None, convention))) if convention else (*ORDERS, *ON_REQUEST)


EFFORTS = (None, "portfolio", "search")
"""What planning compares: passes alone, elimination in orders by rule as well, or in orders that are searched for."""
MILLISECONDS = 1000.0
"""How long an order is searched for if no time is given."""


def count_orders(
    active: ActiveRows, function: Cost, orders: Sequence[Order] = ORDERS, left_out: list[str] | None = None
) -> tuple[Candidate, ...]:
    """Count each order of accumulation for the Jacobian of what was traced, and sort them, the cheapest first.

    Those of an order that cannot be taken are left out; why is added to `left_out`.
    """
    candidates = []
    for order in orders:
        try:
            candidates.append(_count(order, active, function))
        except UnsupportedError as error:
            if left_out is not None:
                left_out.append(f"{order.name} is left out: {str(error).splitlines()[0].rstrip(':')}")
    fastest = min([c.seconds for c in candidates if not c.eliminations])
    return tuple(sorted(candidates, key=lambda c: (_is_slow(c, fastest), c.operations)))


def _is_slow(candidate: Candidate, fastest: float) -> bool:
    """Return whether an elimination, of scalars one by one, takes longer than sweeps over whole arrays."""
    return bool(candidate.eliminations) and candidate.seconds > fastest


def _count(order: Order, active: ActiveRows, function: Cost) -> Candidate:
    """Count one order of accumulation."""
    linearization = active.linearization
    passes = order.passes(linearization)
    sweep = count_preaccumulated(order.count, active, passes)
    candidate = Candidate(
        order.name,
        passes,
        function if sweep.function is None else sweep.function,
        sweep.partials,
        sweep.one_pass,
        sweep.kept,
        max([x.dtype.itemsize for x in linearization.inputs], default=8),
        dict(sweep.eliminations),
    )
    return _with_seconds(candidate, active)


def _with_seconds(candidate: Candidate, active: ActiveRows) -> Candidate:
    """Predict how long the jitted Jacobian takes."""
    linearization = active.linearization
    if candidate.eliminations:
        entries = dimension(linearization.inputs) * dimension(linearization.values)
        seconds = SCALAR * candidate.operations + ENTRY * entries
    else:  # all passes go in one block
        seconds = ROW * (len(active.kinds) - active.kinds.count(None)) + ELEMENT * candidate.operations
    return replace(candidate, seconds=CALL + seconds)


CALL, ROW, ELEMENT, SCALAR, ENTRY = 3e-6, 9e-7, 1e-9, 2.5e-8, 2e-8
"""The seconds that a call of a jitted Jacobian takes, and more for a line that is swept and for an operation on an
element of an array; by elimination, for an operation on a scalar and for an entry of the Jacobian.  They are measured
(`docs/design/0024-elimination-on-request.md`), and only their ratios matter."""


def plan_trace(
    linearization: Linearization, program: Program, orders: Sequence[Order] = ORDERS, sparse: bool | str | None = None
) -> Plan:
    """Plan the Jacobian of what was traced; `program` is that trace as it is printed.

    With None for `sparse`, compression is not thought of.
    """
    function = cost(program)
    n, m = dimension(linearization.inputs), dimension(linearization.values)
    notes = list(dict.fromkeys(note for line in walk(program) if (note := line.held.note() if line.held else "")))
    active = ActiveRows(linearization)
    candidates = count_orders(active, function, orders, notes)
    fastest = min(candidates, key=lambda c: c.seconds)
    notes += [
        f"{c.name} takes {c.operations:,} operations, but on scalars one by one: {1e6 * c.seconds:,.0f} us are "
        f"predicted, and {1e6 * fastest.seconds:,.0f} us by {fastest.name}"
        for c in candidates
        if _is_slow(c, fastest.seconds)
    ]
    notes += [_compare(c.eliminations) for c in candidates if c.eliminations]
    chosen = None if sparse is None else choose_sparsely(linearization, sparse)
    memory = []
    if chosen is not None:
        compression, _ = chosen
        compressed = _count_compression(candidates, compression, active)
        is_first = bool(sparse) or not fits_dense(linearization)
        candidates = (compressed, *candidates) if is_first else (*candidates, compressed)
        memory.append(_compare_memory(linearization, compression, is_first))
    if lines := len(find_order(linearization, candidates[0].passes)):
        notes.append(
            f"Preaccumulated: {lines:,} elementwise lines are eliminated once, and a pass multiplies by the local "
            "Jacobians that are left"
        )
    notes += memory
    size = sum([y.size for row in linearization.rows for _, y in results_of(row)])
    kept = linearization if size <= MOST_KEPT else None
    return Plan(program.name, n, m, len(program.lines), function, candidates, tuple(notes), kept)


MOST_KEPT = 1 << 12
"""The number of elements that the values of a function may have together for a plan to keep them."""


def _count_compression(candidates: Sequence[Candidate], compression: Compression, active: ActiveRows) -> Candidate:
    """Count a compression, whose function costs what that of the dense candidates does."""
    forward, reverse = (
        count_preaccumulated(order.count, active, compression.passes) if passes else None
        for order, passes in ((FORWARD, compression.forward_passes), (REVERSE, compression.reverse_passes))
    )
    first = forward or reverse or count_forward(active)
    candidate = replace(
        next(c for c in candidates if not c.eliminations),
        name=compression.name,
        passes=compression.passes,
        partials=first.partials,
        one_pass=first.one_pass,
        kept=(reverse or first).kept,
        back=(compression.reverse_passes, reverse.one_pass) if forward and reverse else (0, Cost()),
    )
    return _with_seconds(candidate, active)


def _compare_memory(linearization: Linearization, compression: Compression, is_first: bool) -> str:
    """Write what the matrix takes if it is dense, and if it is sparse."""
    m, n = compression.pattern.shape
    entries, itemsize = compression.pattern.nnz, max([y.dtype.itemsize for y in linearization.values], default=8)
    indices = (compression.pattern.indices.itemsize * entries) + compression.pattern.indptr.nbytes
    passes = f"{compression.passes:,} pass{'es' * (compression.passes != 1)}"
    here = "" if is_first else f"; wg.jacobian(f, sparse=True) takes {passes}"
    return (
        f"Jacobian: {m:,} x {n:,} dense, {in_bytes(dense_bytes(linearization))}; {entries:,} entries sparse, "
        f"{in_bytes(entries * itemsize + indices)}{here}"
    )


def _compare(eliminations: Mapping[str, Counts]) -> str:
    """Write what the order of elimination that is taken multiplies, by both conventions, and the best known others."""
    (first, taken), *others = eliminations.items()
    shown = [(name, c) for name, c in others if name in ("forward", "reverse", "Markowitz")]
    rest = ", ".join([f"{name} {counts.products:,} ({counts.unit_free:,})" for name, counts in shown])
    return (
        f"Elimination: of {len(eliminations)} orders {first} takes {taken.products:,} products, {taken.unit_free:,} of "
        f"them by other factors than 1 and minus 1; {rest}"
    )


def order_named(name: str, orders: Sequence[Order] = (*ORDERS, *ON_REQUEST)) -> Order:
    """Return the order of a name; KeyError if there is none."""
    return {order.name: order for order in orders}[name]


def choose(linearization: Linearization, orders: tuple[Order, ...] = ORDERS) -> Order:
    """Return the order that the plan marks, which is remembered by the structure of the trace; or the only one."""
    if len(orders) == 1:
        return orders[0]
    rows = linearization.rows
    inputs = [(x.shape, x.dtype) for x in linearization.inputs]
    key = (orders, bool(current_context().tapes), len(rows), linearization.size, tuple(linearization.outputs), *inputs)
    remembered = _REMEMBERED.get(key)
    misses = 0
    if remembered is not None:
        if remembered.fits(rows):
            remembered.misses = 0
            linearization.numbers_of_active = remembered.active
            return remembered.order
        remembered.misses = misses = remembered.misses + 1
    function = Cost() if orders is ORDERS else cost(linearization.as_program()[0])  # passes share it, others may not
    counted = count_orders(ActiveRows(linearization, operations_only=True), function, orders)
    chosen = order_named(counted[0].name, orders)
    is_seldom = misses & (misses - 1) != 0  # traces that differ each time are remembered ever more rarely
    if not is_seldom and len(rows) <= MOST_ROWS // 4 and not _holds_arrays(rows):
        _REMEMBERED.pop(key, None)
        _REMEMBERED[key] = _Remembered(linearization, chosen, misses)
        while sum([len(trace.parents) for trace in _REMEMBERED.values()]) > MOST_ROWS or len(_REMEMBERED) > MOST_TRACES:
            _REMEMBERED.popitem(last=False)
    return chosen


def _holds_arrays(rows: Sequence[Row]) -> bool:
    """Return whether rows have arrays or Programs among their parameters: they would have to be kept, and compared."""
    for row in rows:
        if row[0].multiple:
            return True
        for value in row[3].values():
            if type(value) is np.ndarray or (type(value) is tuple and np.ndarray in map(type, value)):
                return True
    return False


MOST_ROWS, MOST_TRACES = 1 << 17, 256
"""The choice is remembered for so many traces, the latest, of so many rows together; none has more than a quarter."""
_REMEMBERED: OrderedDict[Hashable, _Remembered] = OrderedDict()
_primitive, _parents, _params = itemgetter(0), itemgetter(1), itemgetter(3)


class _Remembered:
    """The order chosen for a trace, the numbers of its active rows, and the trace as far as the counts depend on it.

    `misses` is how many traces of its size have differed since one was the same.
    """

    __slots__ = ("active", "constants", "misses", "order", "params", "parents", "primitives")

    def __init__(self, linearization: Linearization, order: Order, misses: int) -> None:
        self.order, self.misses, rows = order, misses, linearization.rows
        numbers = {id(row): k for k, row in enumerate(rows)}
        active = [numbers.get(id(row), -1) for row in linearization.active().rows]
        self.active = None if -1 in active else active
        """None if some of them are not rows of the trace as they are."""
        self.primitives, self.parents, self.params = (list(map(part, rows)) for part in (_primitive, _parents, _params))
        self.constants = [
            (k, slot, row[2][slot] if type(row[2][slot]) in (int, float) else None, kind_of_constant(row[2][slot]))
            for k, row in enumerate(rows)
            if -1 in row[1]
            for slot, parent in enumerate(row[1], 1)
            if parent < 0
        ]

    def fits(self, rows: Sequence[Row]) -> bool:
        """Return whether a trace does the same: then all shapes are the same as well, and every count."""
        try:
            if (
                list(map(_parents, rows)) != self.parents
                or list(map(_primitive, rows)) != self.primitives
                or list(map(_params, rows)) != self.params
            ):
                return False
        except ValueError:  # parameters that are arrays
            return False
        for k, slot, literal, kind in self.constants:
            value = rows[k][2][slot]
            if value is not literal and kind_of_constant(value) != kind:
                return False
        return True
