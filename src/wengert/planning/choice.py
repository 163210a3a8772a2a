"""The choice: the only place where one of the candidates is taken.

What is chosen is chosen by counts, exact ones, with fixed weights for what is no operation: the same on every machine
and at every call.  Passes over the dense matrix are compared by their operations.  Compressed ones are taken where they
halve the passes at least, and save more operations than it takes to find the pattern and to color it.  Only where the
caller asks for a measurement (`measure`) the two best are timed.

>>> import numpy as np, wengert as wg
>>> f = lambda x: np.array([x[0] * (x[1] - x[2]), x[2] * np.log(1 - x[0])])
>>> plan = wg.plan(f)(np.array([0.5, 2.0, 3.0]))
>>> [(name, row.passes, row.operations) for name, row in plan.items()], plan.chosen
([('reverse', 2, 24), ('forward', 3, 36)], 'reverse')
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from wengert.accumulation.compressed import Compression, Diagonal, joined
from wengert.accumulation.counting import ActiveRows, kind_of_constant
from wengert.accumulation.dense import dense_bytes, dimension, fits_comfortably, fits_dense
from wengert.accumulation.elimination import CONVENTIONS, Counts
from wengert.accumulation.orders import ON_REQUEST, ORDERS, Order, Search, searching
from wengert.accumulation.preaccumulation import find_order
from wengert.cost import Cost, cost
from wengert.errors import ArgumentError, SizeError, UnsupportedError, refusals
from wengert.linearization import Linearization
from wengert.memory import in_bytes
from wengert.planning.candidates import Candidate, count_compression, count_order, counted_passes, sparse_bytes
from wengert.planning.compressions import (
    Compressions,
    compressions_of,
    count_operations,
    find_pattern,
)
from wengert.planning.machine import STANDARD, in_seconds, shortest, this_machine
from wengert.planning.plan import Plan, compressed_modes, dense_orders
from wengert.program import Program, walk
from wengert.tracing import Row, current_context, results_of

# ---- What is asked for ----


@dataclass(eq=False)
class Request:
    """What a caller asks of a Jacobian or Hessian.

    Attributes
    ----------
    orders
        The orders of the dense matrix that are compared; one alone if it was asked for.
    compression
        The name of the compression that was asked for; None for the one that takes the fewest operations.
    sparse
        True, False, ``"auto"``, or a pattern.
    symmetric
        True for a Hessian.
    mode
        What the caller wrote, None if the plan is to choose.
    records_decisions
        True once a trace that decides by values was worth a search for its pattern: what it decides by is then
        recorded, so that the pattern holds for all inputs.  False once that pattern was of no use; None before.
    """

    orders: tuple[Order, ...] = ORDERS
    compression: str | None = None
    sparse: Any = "auto"
    symmetric: bool = False
    mode: str | None = None
    records_decisions: bool | None = None

    @classmethod
    def of(
        cls,
        mode: str | None = None,
        sparse: Any = "auto",
        symmetric: bool = False,
        effort: str | None = None,
        milliseconds: float | None = None,
        convention: str | None = None,
    ) -> Request:
        """Return a request; raise ArgumentError for a mode, effort or sparsity that is none.

        >>> [order.name for order in Request.of(effort="portfolio").orders]
        ['forward', 'reverse', 'elimination', 'waist']
        >>> Request.of("star", symmetric=True).compression
        'star'
        """
        _demand_sparsity(sparse)
        orders = _orders_by_effort(effort, milliseconds, convention, symmetric)
        compression = None
        if mode is not None:
            named = {order.name: order for order in (*ON_REQUEST, *orders)}
            if mode in compressed_modes(symmetric):
                compression = mode
            elif mode not in named:
                modes = [order.name for order in (*dense_orders(symmetric), *ON_REQUEST)]
                raise ArgumentError(
                    f"mode {mode!r} is unknown; the modes are {', '.join(map(repr, modes))}, "
                    f"compressed {', '.join(map(repr, compressed_modes(symmetric)))}, or None to let the plan choose."
                )
            else:
                orders = (named[mode],)
        request = cls(orders, compression, sparse, symmetric, mode)
        if request.must_compress and _eliminates(orders):
            raise ArgumentError(
                "an elimination makes no passes to compress, and its Jacobian is dense:\n"
                "Leave out sparse, or the elimination (mode, effort)."
            )
        if request.must_compress and compression is None and len(orders) == 1:
            names = {False: ("column-compressed", "row-compressed"), True: ("column-compressed", "column-compressed")}
            compression = names[symmetric][dense_orders(symmetric).index(orders[0])]
            return replace(request, orders=dense_orders(symmetric), compression=compression)
        return request

    @functools.cached_property
    def is_given(self) -> bool:
        """Whether the caller gave a pattern."""
        return not isinstance(self.sparse, (bool, str))

    @functools.cached_property
    def is_auto(self) -> bool:
        """Whether compression is left to the plan, and to the size of the matrix what is returned."""
        return isinstance(self.sparse, str)

    @functools.cached_property
    def must_compress(self) -> bool:
        """Whether the caller asked for compressed passes."""
        return self.compression is not None or self.sparse is True or self.is_given

    @functools.cached_property
    def needs_constants(self) -> bool:
        """Whether all constants of the trace are read: by a pattern that is found, or by lines that run again."""
        return (self.must_compress and not self.is_given) or _eliminates(self.orders)

    @functools.cached_property
    def is_planned(self) -> bool:
        """Whether an order is chosen by what the rows cost: loops are counted as lines."""
        return len(self.orders) > 1 and not (self.symmetric or self.must_compress)

    @functools.cached_property
    def is_dense(self) -> bool:
        """Whether passes are to go over the dense matrix, whatever it takes."""
        return self.sparse is False or self.mode is not None

    @functools.cached_property
    def asked(self) -> str:
        """What the caller wrote that decides, in words; nothing if the plan decides."""
        if self.mode is not None:
            return f"mode={self.mode!r}"
        return "" if not self.must_compress else "a pattern was given" if self.is_given else "sparse=True"


def _eliminates(orders: Sequence[Order]) -> bool:
    """Return whether an elimination is among the orders that are compared."""
    return any(order.name == known.name for order in orders for known in ON_REQUEST)


def _demand_sparsity(sparse: Any) -> None:
    """Raise ArgumentError for a choice of sparsity that is none."""
    if sparse is None or (isinstance(sparse, str) and sparse != "auto"):
        raise ArgumentError.at_caller(
            f"sparse={sparse!r} is unknown:", 'It is True, False, "auto", or a pattern: see wg.jacobian_sparsity.'
        )


def _orders_by_effort(
    effort: str | None, milliseconds: float | None, convention: str | None, symmetric: bool
) -> tuple[Order, ...]:
    """Return the orders to compare; raise ArgumentError for what is unknown, or a time without a search."""
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
    orders = dense_orders(symmetric)
    if effort == "search":
        return (*orders, searching(Search(milliseconds or MILLISECONDS, convention)))
    if effort is None:
        return orders
    return (*orders, searching(Search(None, convention))) if convention else (*orders, *ON_REQUEST)


EFFORTS = (None, "portfolio", "search")
"""What planning compares: passes alone, elimination in orders by rule as well, or in orders that are searched for."""
MILLISECONDS = 1000.0
"""How long an order is searched for if no time is given."""


# ---- What is taken ----


class Compressed(NamedTuple):
    """Compressed passes that were chosen, and whether their pattern was found just now."""

    compression: Compression
    is_new: bool

    @property
    def name(self) -> str:
        """The name of the candidate."""
        return self.compression.name


def is_searched(linearization: Linearization, request: Request) -> bool:
    """Return whether a pattern is sought to choose, of a trace that decided by values which it did not record."""
    if request.is_dense or request.must_compress or len(request.orders) == 1 or request.records_decisions is False:
        return False
    best = _best_order(linearization, request.orders)
    return not best.is_dense and (best.total > FINDING or not fits_comfortably(linearization))


def choose(linearization: Linearization, request: Request) -> Order | Compressed:
    """Return what the plan marks: an order of the dense matrix, or compressed passes."""
    if request.must_compress:
        pattern, is_new = _demand_pattern(linearization, request)
        of_pattern = compressions_of(linearization, pattern, request.symmetric)
        if request.compression is not None:
            return Compressed(_named(request, of_pattern, linearization), is_new)
        return Compressed(_least(of_pattern, linearization, _best_order(linearization, request.orders)), is_new)
    orders = request.orders
    if len(orders) == 1:
        return orders[0]
    best = _best_order(linearization, orders)
    is_comfortable = request.is_dense or fits_comfortably(linearization)
    is_small = best.total <= FINDING or best.is_dense or request.records_decisions is False
    if is_comfortable and (request.is_dense or is_small):
        return best.order
    compressions, is_new = _search(linearization, request, best, is_comfortable)
    if compressions is not None:
        compression = _least(compressions, linearization, best)
        if _is_taken(compression, linearization, best, is_comfortable):
            return Compressed(compression, is_new)
    best.is_dense = True
    if request.records_decisions:
        request.records_decisions = False
    return best.order


def _named(request: Request, compressions: Compressions, linearization: Linearization) -> Compression:
    """Return the compression that was asked for; raise ArgumentError if it pulls rows of a complex result back."""
    assert request.compression is not None
    if request.compression in ("row-compressed", "bi-compressed") and _has_complex(linearization):
        if request.mode != request.compression:  # mode="reverse" with a pattern
            return compressions["column-compressed"]
        raise ArgumentError.at_caller(
            f"mode={request.mode!r} pulls rows back, and a row of a complex result is two of real ones:",
            'Write mode="column-compressed", or take the real and the imaginary part as two results.',
        )
    return compressions[request.compression]


def choose_diagonal(linearization: Linearization, sparse: bool = True) -> Diagonal:
    """Return the products from which the diagonal of a Hessian is read; `linearization` is that of the gradient."""
    found = None
    if sparse:
        try:
            found = find_pattern(linearization, symmetric=True)
        except SizeError:  # the pattern does not fit the memory
            found = None
    if found is None:
        return Diagonal.one_by_one(dimension(linearization.inputs))
    compression = compressions_of(linearization, found.pattern, True)["diagonal"]
    assert isinstance(compression, Diagonal)
    return compression


LEAST = 16
"""A Jacobian of fewer rows or columns is compressed if that is asked for, and not planned for."""
FINDING, FINDING_LINE, FINDING_ENTRY = 5_000_000, 50_000, 500
"""What it takes to find a pattern and to color it, in operations: at least, for a line, and for an entry."""


@dataclass(slots=True)
class Best:
    """The best order of a dense matrix.

    Attributes
    ----------
    order, total
        The order, and what it takes in all, the function left out.
    along, back
        The operations of a forward pass, and of a reverse one.
    is_dense
        True once compression was looked for and found not worth it: it is not looked for at each call.
    """

    order: Order
    total: int
    along: int
    back: int
    is_dense: bool = False

    @classmethod
    def of(cls, order: Order, candidate: Candidate, function: Cost, forward: Candidate, reverse: Candidate) -> Best:
        """Return an order with what was counted; the function, which all share, is left out of the total."""
        total = candidate.total - function.operations
        return cls(order, total, forward.one_pass.operations, reverse.one_pass.operations)


def _demand_pattern(linearization: Linearization, request: Request) -> tuple[Any, bool]:
    """Return the pattern of passes that are to be compressed, and whether it was not used before."""
    if request.is_given:
        return joined(request.sparse, linearization, request.symmetric), True
    found = find_pattern(linearization, request.symmetric)
    assert found is not None
    return found


def _search(
    linearization: Linearization, request: Request, best: Best, is_comfortable: bool
) -> tuple[Compressions | None, bool]:
    """Return the compressions that may be better than the best order of the dense matrix; None if there is none."""
    n, m = dimension(linearization.inputs), dimension(linearization.values)
    if min(n, m) < LEAST or any(x.dtype.kind == "c" for x in linearization.inputs):
        return None, False
    try:
        found = find_pattern(linearization, request.symmetric, most=n * m // 2)
    except SizeError:  # there is no structure by which the pattern could be written down
        found = None
    if found is None or 2 * found.pattern.nnz > n * m:
        return None, False  # a pass gives no more than max(n, m) entries, and min(n, m) / 2 passes not all of these
    compressions = compressions_of(linearization, found.pattern, request.symmetric)
    is_hopeless = 2 * compressions.fewest_passes > min(n, m) and not compressions.may_need_both
    if is_hopeless and not request.symmetric:
        return None, False
    return compressions, found.is_new


def _least(compressions: Compressions, linearization: Linearization, best: Best) -> Compression:
    """Return the compression that takes the fewest operations."""
    if _has_complex(linearization):
        return compressions["column-compressed"]  # an adjoint of a complex number is two of real ones
    worth = compressions.worth(best.along, best.back)
    return min(worth, key=lambda c: count_operations(c, best.along, best.back))


def _is_taken(compression: Compression, linearization: Linearization, best: Best, is_comfortable: bool) -> bool:
    """Return whether a compression halves the passes, and saves more than it takes to find it."""
    if 2 * compression.passes > min(compression.pattern.shape):
        return False
    finding = FINDING + FINDING_LINE * len(linearization.rows) + FINDING_ENTRY * int(compression.pattern.nnz)
    return not is_comfortable or count_operations(compression, best.along, best.back) + finding < best.total


def count_orders(
    active: ActiveRows, function: Cost, orders: Sequence[Order] = ORDERS, left_out: list[str] | None = None
) -> tuple[Candidate, ...]:
    """Count each order of accumulation for the Jacobian of what was traced, and sort them, the cheapest first.

    Those of an order that cannot be taken are left out; why is added to `left_out`.
    """
    candidates, refused = [], refusals.first
    for order in orders:
        try:
            candidates.append(count_order(order, active, function))
        except UnsupportedError as error:
            refusals.first = refused  # the function that a trace runs has caught nothing
            if left_out is not None:
                left_out.append(f"{order.name} is left out: {str(error).splitlines()[0].rstrip(':')}")
    if not any(c.eliminations for c in candidates):
        return tuple(sorted(candidates, key=lambda c: c.operations))
    fastest = min([_once_compiled(c) for c in candidates if not c.eliminations])
    return tuple(sorted(candidates, key=lambda c: (_is_slow(c, fastest), c.operations)))


def _once_compiled(candidate: Candidate) -> float:
    """Return the seconds of a compiled Jacobian on a standard machine."""
    assert candidate.work is not None
    work = candidate.work._replace(products=0.0, spills=False, blocks=1)
    return STANDARD.seconds(candidate.cost, work, candidate.entries, compiled=True)


def _is_slow(candidate: Candidate, fastest: float) -> bool:
    """Return whether an elimination, of scalars one by one, takes longer than sweeps over whole arrays."""
    return bool(candidate.eliminations) and _once_compiled(candidate) > fastest


# ---- Plans ----


def plan_trace(linearization: Linearization, program: Program, request: Request, measure: bool = False) -> Plan:
    """Plan the Jacobian or Hessian of what was traced; `program` is that trace as it is printed."""
    function = cost(program)
    n, m = dimension(linearization.inputs), dimension(linearization.values)
    notes = list(dict.fromkeys(note for line in walk(program) if (note := line.held.note() if line.held else "")))
    active = ActiveRows(linearization)
    sweeps = [order.name for order in dense_orders(request.symmetric)[:2]]
    compared = {order.name: order for order in (*dense_orders(request.symmetric), *request.orders)}
    dense = count_orders(active, function, [*compared.values()], notes)
    notes += _notes_of_eliminations(dense)
    first = dense[0] if len(request.orders) > 1 else next(c for c in dense if c.name == request.orders[0].name)
    forward, reverse = (next(c for c in dense if c.name == name) for name in sweeps)
    best = Best.of(compared[first.name], first, function, forward, reverse)
    compressed, taken = _count_compressions(linearization, request, best, forward, reverse, active)
    chosen = next((c for c in compressed if c.name == taken), first)
    if lines := len(find_order(linearization, chosen.passes)):
        notes.append(
            f"Preaccumulated: {lines:,} elementwise lines are eliminated once, and a pass multiplies by the local "
            "Jacobians that are left"
        )
    if compressed:
        shown = chosen if taken else min(compressed, key=lambda c: c.total)
        notes.append(_compare_memory(linearization, shown, bool(taken), request.symmetric))
    candidates = [chosen, *[c for c in (*dense, *compressed) if c is not chosen]]
    if measure:
        candidates = _timed(linearization, request, candidates)
    size = sum([y.size for row in linearization.rows for _, y in results_of(row)])
    return Plan(
        program.name,
        n,
        m,
        len(program.lines),
        function,
        tuple(candidates),
        tuple(notes),
        request.symmetric,
        request.asked if candidates[0] is chosen else "",
        linearization if size <= MOST_KEPT else None,
    )


MOST_KEPT = 1 << 12
"""The number of elements that the values of a function may have together for a plan to keep them."""


def _count_compressions(
    linearization: Linearization,
    request: Request,
    best: Best,
    forward: Candidate,
    reverse: Candidate,
    active: ActiveRows,
) -> tuple[list[Candidate], str]:
    """Count the compressed passes that are worth it or asked for; return with them the name of those that are taken."""
    is_free = not request.is_auto or request.mode is not None  # of the memory that the dense matrix takes
    is_comfortable = is_free or fits_comfortably(linearization)
    if request.must_compress:
        pattern, _ = _demand_pattern(linearization, request)
        compressions: Compressions | None = compressions_of(linearization, pattern, request.symmetric)
    else:
        compressions, _ = _search(linearization, request, best, is_comfortable)
    if compressions is None:
        return [], ""
    least = _least(compressions, linearization, best)
    if not request.must_compress and 2 * least.passes > min(least.pattern.shape):
        return [], ""
    shown = [least] if _has_complex(linearization) else compressions.worth(best.along, best.back)
    if request.must_compress:
        named = least if request.compression is None else _named(request, compressions, linearization)
        taken = named.name
        shown = [*shown, *([] if taken in [c.name for c in shown] else [named])]
    else:
        is_taken = not is_free and _is_taken(least, linearization, best, is_comfortable)
        taken = least.name if is_taken else ""
    is_array = not (request.sparse is True or request.is_given) and fits_comfortably(linearization)
    counted = [count_compression(c, forward, reverse, active, is_array or request.sparse is False) for c in shown]
    return sorted(counted, key=lambda c: c.total), taken


def _has_complex(linearization: Linearization) -> bool:
    return any(y.dtype.kind == "c" for y in linearization.values)


def _compare_memory(linearization: Linearization, shown: Candidate, is_taken: bool, symmetric: bool) -> str:
    """Write what the matrix takes if it is dense, and if it is sparse."""
    assert shown.compression is not None
    m, n = shown.compression.pattern.shape
    what, call = ("Hessian", "hessian") if symmetric else ("Jacobian", "jacobian")
    here = "" if is_taken else f"; wg.{call}(f, sparse=True) takes {counted_passes(shown.passes)}"
    return (
        f"{what}: {m:,} x {n:,} dense, {in_bytes(dense_bytes(linearization))}; {shown.entries:,} entries sparse, "
        f"{in_bytes(sparse_bytes(shown.compression, linearization))}{here}"
    )


def _notes_of_eliminations(candidates: Sequence[Candidate]) -> list[str]:
    """Write what is to be known of the eliminations that were compared."""
    notes, fastest = [], min([_once_compiled(c) for c in candidates])
    for c in candidates:
        if _is_slow(c, fastest):
            (quicker,) = [d.name for d in candidates if _once_compiled(d) == fastest][:1]
            notes.append(
                f"{c.name} takes {c.operations:,} operations, but on scalars one by one: compiled, "
                f"{in_seconds(_once_compiled(c))} are predicted, and {in_seconds(fastest)} by {quicker}"
            )
    return notes + [_compare(c.eliminations) for c in candidates if c.eliminations]


def _compare(eliminations: Mapping[str, Counts]) -> str:
    """Write what the order of elimination that is taken multiplies, by both conventions, and the best known others."""
    (first, taken), *others = eliminations.items()
    shown = [(name, c) for name, c in others if name in ("forward", "reverse", "Markowitz")]
    rest = ", ".join([f"{name} {counts.products:,} ({counts.unit_free:,})" for name, counts in shown])
    return (
        f"Elimination: of {len(eliminations)} orders {first} takes {taken.products:,} products, {taken.unit_free:,} of "
        f"them by other factors than 1 and minus 1; {rest}"
    )


def order_named(name: str, request: Request) -> Order:
    """Return the order of a name among those of a request."""
    return {order.name: order for order in (*dense_orders(request.symmetric), *request.orders)}[name]


# ---- Measuring ----

MOST_SECONDS = 10.0
"""A candidate that is predicted to take longer than this is not timed."""


def _timed(linearization: Linearization, request: Request, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Time the candidate that is taken by counts and the next best; return all, the faster one first."""
    chosen, *others = candidates
    if request.mode is not None:
        others = []
    elif request.must_compress:
        others = [c for c in others if c.compression is not None]
    elif request.sparse is False:
        others = [c for c in others if c.compression is None]
    others = [c for c in others if c.seconds < MOST_SECONDS and (c.compression or fits_dense(linearization))]
    timed = [_time(c, linearization, request) for c in (chosen, *sorted(others, key=lambda c: c.seconds)[:1])]
    names = [c.name for c in timed]
    return [*sorted(timed, key=lambda c: c.seconds), *[c for c in candidates if c.name not in names]]


def _time(candidate: Candidate, linearization: Linearization, request: Request) -> Candidate:
    """Return a candidate with the seconds that its passes take, and those that tracing is predicted to take."""
    assert candidate.work is not None
    compression = candidate.compression
    if compression is None:
        order = order_named(candidate.name, request)
        passes = functools.partial(order.accumulate, linearization, None)
    else:
        passes = functools.partial(compression.evaluate, linearization)
    passes()
    first = shortest(passes, 1, 1)
    seconds = first if first > 1.0 else min(first, shortest(passes, 1, 5))
    return replace(candidate, measured=seconds + this_machine().tracing(candidate.function, candidate.work))


# ---- What is remembered ----


def _best_order(linearization: Linearization, orders: tuple[Order, ...]) -> Best:
    """Return the best order of a dense matrix, which is remembered by the structure of the trace."""
    rows = linearization.rows
    inputs = [(x.shape, x.dtype) for x in linearization.inputs]
    key = (orders, bool(current_context().tapes), len(rows), linearization.size, tuple(linearization.outputs), *inputs)
    remembered = _REMEMBERED.get(key)
    misses = 0
    if remembered is not None:
        if remembered.fits(rows):
            remembered.misses = 0
            linearization.numbers_of_active = remembered.active
            return remembered.best
        remembered.misses = misses = remembered.misses + 1
    # passes share the function, an elimination computes some of it once only
    function = cost(linearization.as_program()[0]) if _eliminates(orders) else Cost()
    counted = count_orders(ActiveRows(linearization, operations_only=True), function, orders)
    forward, reverse = (next(c for c in counted if c.name == order.name) for order in orders[:2])
    chosen = next(order for order in orders if order.name == counted[0].name)
    best = Best.of(chosen, counted[0], function, forward, reverse)
    is_seldom = misses & (misses - 1) != 0  # traces that differ each time are remembered ever more rarely
    if not is_seldom and len(rows) <= MOST_ROWS // 4 and not _holds_arrays(rows):
        _REMEMBERED.pop(key, None)
        _REMEMBERED[key] = _Remembered(linearization, best, misses)
        while sum([len(trace.parents) for trace in _REMEMBERED.values()]) > MOST_ROWS or len(_REMEMBERED) > MOST_TRACES:
            _REMEMBERED.popitem(last=False)
    return best


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
    """The best order for a trace, the numbers of its active rows, and the trace as far as the counts depend on it.

    `misses` is how many traces of its size have differed since one was the same.
    """

    __slots__ = ("active", "best", "constants", "misses", "params", "parents", "primitives")

    def __init__(self, linearization: Linearization, best: Best, misses: int) -> None:
        self.best, self.misses, rows = best, misses, linearization.rows
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
