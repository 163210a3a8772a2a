"""Preaccumulation: elementwise lines on large arrays are eliminated once, and every pass multiplies by what is left.

Between arrays of one shape an elementwise line has diagonal local Jacobians, and the product of two of these is
another: as many scalars are eliminated at once as the arrays have elements, in one order.  An elimination is worth it
where it takes fewer operations than it saves in all passes.  So each order of the portfolio is followed as far as the
operations, of the products and of the passes to come, get fewer; the best start of all is taken, or none.

>>> import numpy as np, wengert as wg
>>> x = np.linspace(1.0, 2.0, 50_000)
>>> program = wg.trace(lambda x: np.sin(np.exp(x) * x) / x)(x)
>>> graph = preaccumulate(Linearization.of_program(program, x), 4)
>>> [(primitive.name, parents) for primitive, parents, *_ in graph.active().rows]
[('preaccumulated', (0,))]
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from wengert.accumulation.counting import ActiveRows, Sweep
from wengert.accumulation.elimination.factors import ZERO, Factor
from wengert.accumulation.elimination.graph import Graph, members
from wengert.accumulation.elimination.heuristics import HEURISTICS
from wengert.accumulation.sweeps import is_finite
from wengert.cost import Cost, cost
from wengert.linearization import Linearization
from wengert.program import Primitive
from wengert.tracing import Group, Row, current_context, record

Array = Any
NAME = "preaccumulated"
LEAST = 1024
"""The number of elements of an array from which a multiplication takes longer than to arrange for it."""
LEAST_SAVED = 1 << 18
"""The operations that an elimination must save, at about a nanosecond each, to be worth the time that it takes."""
FRESH = 3
"""How many operations of a pass take as long as one of an elimination, which writes to fresh memory; measured."""
LEAST_SHARE = 0.45
"""The share of the operations along the edges that is to be saved, by this weight: with less no time is; measured."""
MOST_VERTICES = 1000
"""The number of lines up to which orders of their elimination are compared."""
MOST_ORDERS = 64
"""The orders are remembered for so many traces, the latest."""
_ORDERS: OrderedDict[Hashable, list[int]] = OrderedDict()


def accumulate_preaccumulated(
    linearization: Linearization, passes: int, sweep: Callable[[Linearization], list[list[Array]]]
) -> list[list[Array]]:
    """Sweep over what a preaccumulation for so many passes leaves; where that is not finite, over the graph as it is.

    For sweeps over all lines know more of zeros and limits.
    """
    graph = preaccumulate(linearization, passes)
    derivatives = sweep(graph)
    if graph is not linearization and not all(map(is_finite, derivatives)):
        return sweep(linearization)
    return derivatives


def preaccumulate(linearization: Linearization, passes: int) -> Linearization:
    """Return a linearized graph with fewer edges on large arrays, for so many passes; the same where none is saved.

    It is the same, too, where a value or partial is not finite.
    """
    context = current_context()
    order = [] if context.alarms else find_order(linearization, passes)
    if not order:
        return linearization
    muted, context.muted = context.muted, True
    try:
        rows = _rows(linearization, _Elimination(linearization, order, _partial))
    finally:
        context.muted = muted
    if context.alarms or not all(is_finite(row[3]["partials"]) for row in rows if is_made(row)):
        return linearization
    graph = _of_rows(linearization, rows)
    graph.origin = linearization, functools.partial(preaccumulate, passes=passes)
    return graph


class Counted(NamedTuple):
    """The graph that a preaccumulation leaves, with other partials than those of the point, and its operations."""

    linearization: Linearization
    operations: Cost

    @property
    def kept(self) -> int:
        """The elements of the partials that are made."""
        made = [row for row in self.linearization.rows if is_made(row)]
        return sum([row[2][0].size for row in made for c in row[3]["partials"] if np.ndim(c)])


def count_preaccumulation(linearization: Linearization, passes: int) -> Counted | None:
    """Return what `preaccumulate` does with as many passes, without computing on arrays; None if nothing."""
    order = find_order(linearization, passes)
    if not order:
        return None
    placeholders: list[Any] = []
    with record("preaccumulation") as trace:

        def partial(row: Row, k: int) -> Any:
            c = _sampled(row, k)
            if np.ndim(c):
                c = trace.input(_ones(row))
                placeholders.append(c)
            return c

        elimination = _Elimination(linearization, order, partial)
        rows = _rows(linearization, elimination)
        trace.arguments.append(Group("c", (), np.dtype(float), placeholders))
        trace.results += [
            Group("J", (), row[2][0].dtype, [c]) for row in rows if is_made(row) for c in row[3]["partials"]
        ]
        operations = cost(trace.program())
    operations = replace(operations, products=elimination.products, unit_free=operations.multiplications)
    plain = [
        (*row[:3], {"partials": tuple([_ones(row) if np.ndim(c) else c for c in row[3]["partials"]])}, *row[4:])
        if is_made(row)
        else row
        for row in rows
    ]
    return Counted(_of_rows(linearization, plain), operations)


def count_preaccumulated(count: Callable[[ActiveRows], Sweep], active: ActiveRows, passes: int) -> Sweep:
    """Count the sweeps of so many passes, over what a preaccumulation leaves where there is one."""
    sweep = count(active)
    counted = count_preaccumulation(active.linearization, passes)
    if counted is None:
        return sweep
    after = count(ActiveRows(counted.linearization, active.operations_only))
    return sweep._replace(
        partials=sweep.partials + counted.operations, one_pass=after.one_pass, kept=after.kept + counted.kept
    )


def is_made(row: Row) -> bool:
    """Return whether the partials of a row are those of a preaccumulation."""
    return row[0].name == NAME


def _ones(row: Row) -> Array:
    y = row[2][0]
    return np.broadcast_to(np.ones((), y.dtype), y.shape)


def _of_rows(linearization: Linearization, rows: Sequence[Row]) -> Linearization:
    """Return the linearized graph with other rows, all of them active."""
    graph = Linearization(rows, linearization.inputs, linearization.outputs, linearization.values, linearization.size)
    graph.numbers_of_active = range(len(rows))
    return graph


# ---- The order ----


def find_order(linearization: Linearization, passes: int) -> list[int]:
    """Return the positions to eliminate, in order: those by which all passes save more than it takes.

    There are none where passes are recorded, for other points.
    """
    if passes < 2 or current_context().tapes or linearization.with_complex:
        return []
    sizes = [row[2][0].size for row in linearization.rows if type(row[5]) is int]
    large: int = sum([size for size in sizes if size >= LEAST])
    if 4 * passes * large < LEAST_SAVED:  # a row has two edges at most, as a rule, of a product and an addition each
        return []
    rows = linearization.active().rows
    shapes = tuple([row[2][0].shape if type(row[5]) is int else () for row in rows])
    key = passes, tuple([row[0] for row in rows]), tuple([row[1] for row in rows]), shapes, (*linearization.outputs,)
    if key not in _ORDERS:
        _ORDERS[key] = [v for group in _groups(linearization) for v in _best_start(*group, passes)]
        if len(_ORDERS) > MOST_ORDERS:
            _ORDERS.popitem(last=False)
    else:
        _ORDERS.move_to_end(key)
    return _ORDERS[key]


def _can_be_multiplied(row: Row) -> bool:
    """Return whether the local Jacobians of a row are diagonals of real numbers on a large array."""
    primitive, y = row[0], row[2][0]
    return (
        primitive.elementwise
        and primitive.jvp is None
        and primitive.shared_partials is None
        and y.size >= LEAST
        and y.dtype.kind == "f"
    )


def _groups(linearization: Linearization) -> Iterator[tuple[Graph, Mapping[int, int], int]]:
    """Yield the graphs of lines on arrays of one shape that hang together.

    With each come the positions of its vertices, and the number of elements.
    """
    rows = linearization.active().rows
    users: dict[int, list[Row]] = {}
    for row in rows:
        for parent in set(row[1]):
            users.setdefault(parent, []).append(row)
    results = set(linearization.outputs)
    interior: dict[int, Row] = {}
    for row in rows:
        out = row[5]
        if (
            type(out) is int
            and out in users
            and out not in results
            and _can_be_multiplied(row)
            and all(_can_be_multiplied(user) and user[2][0].shape == row[2][0].shape for user in users[out])
        ):
            interior[out] = row
    leader: dict[int, int] = {}

    def leader_of(v: int) -> int:
        while leader.setdefault(v, v) != v:
            leader[v] = v = leader[leader[v]]
        return v

    for v in interior:
        for user in users[v]:
            leader[leader_of(user[5])] = leader_of(v)
    groups: dict[int, list[int]] = {}
    for v in interior:
        groups.setdefault(leader_of(v), []).append(v)
    for group in groups.values():
        if len(group) <= MOST_VERTICES:
            yield *_graph(group, interior, users), interior[group[0]][2][0].size


def _graph(
    group: Sequence[int], interior: Mapping[int, Row], users: Mapping[int, Sequence[Row]]
) -> tuple[Graph, Mapping[int, int]]:
    """Return the graph of some lines with the edges into them and out of them, and the positions of its vertices."""
    ends = {user[5]: user for v in group for user in users[v] if user[5] not in group}
    edges: dict[tuple[int, int], bool] = {}
    inside = set(group)
    sources = sorted({p for row in [*[interior[v] for v in group], *ends.values()] for p in row[1]} - inside - {-1})
    number = {position: k for k, position in enumerate([*sources, *group])}
    targets = {**number, **{w: len(number) + k for k, w in enumerate(ends)}}
    for row in [*[interior[v] for v in group], *ends.values()]:
        into: dict[int, Factor] = {}
        for k, source in enumerate(row[1]):
            if source >= 0 and (c := _sampled(row, k)) is not None:
                into[source] = into.get(source, ZERO) + Factor.of(c)
        edges.update({(number[source], targets[row[5]]): c.is_unit for source, c in into.items() if not c.is_zero})
    results = [targets[w] for w in ends]
    return Graph(len(sources), edges, results), {number[v]: v for v in group}


def _sampled(row: Row, k: int) -> Any:
    """Return the partial of one element, which tells a number from an array."""
    primitive, _, kept, params, _, _ = row
    rule = primitive.partial(k)
    sample = [v.reshape(-1)[:1].reshape((1,) * v.ndim) if type(v) is np.ndarray and v.ndim else v for v in kept]
    return None if rule is None else rule(*sample, **params)


def _best_start(graph: Graph, position: Mapping[int, int], size: int, passes: int) -> list[int]:
    """Follow each order as long as it takes fewer operations in all; return the start of one that is best."""
    all_passes = passes * _edges_out_of(graph, range(len(graph.before)))
    best: Sequence[int] = []
    least = -max(LEAST_SAVED / size, LEAST_SHARE * all_passes)
    for heuristic in HEURISTICS.values():
        order, left, total = heuristic(graph), graph.copy(), 0
        for count, v in enumerate(order, 1):
            around = list(members(left.before[v]))
            before = _edges_out_of(left, [v, *around])
            total += FRESH * left.eliminate(v).operations + passes * (_edges_out_of(left, around) - before)
            if total < least:
                best, least = order[:count], total
    return [position[v] for v in best]


def _edges_out_of(graph: Graph, vertices: Iterable[int]) -> int:
    """Return what a pass does along the edges out of some vertices: an addition each, and a product but for units."""
    return sum([2 * graph.after[v].bit_count() - graph.units_after[v].bit_count() for v in vertices])


# ---- The elimination ----


def _partial(row: Row, k: int) -> Any:
    primitive, _, kept, params, _, _ = row
    rule = primitive.partial(k)
    return None if rule is None else rule(*kept, **params)


class _Elimination:
    """The elimination of some positions, in order.

    Attributes
    ----------
    eliminated
        The positions.
    into
        For each changed line the sources of its edges, and their partials; None for those that no product has changed.
        These are computed only when they are multiplied, so that few are held at a time.
    products
        How many products there are, of numbers.
    """

    def __init__(self, linearization: Linearization, order: Sequence[int], partial: Callable[[Row, int], Any]) -> None:
        rows = linearization.active().rows
        self.eliminated, self.products = set(order), 0
        self._partial = partial
        self._rows = {row[5]: row for row in rows if type(row[5]) is int}
        self.into: dict[int, dict[int, Factor | None]] = {}
        self._out_of: dict[int, list[int]] = {}
        for row in rows:
            if not self.eliminated.isdisjoint(row[1]) or (type(row[5]) is int and row[5] in self.eliminated):
                self.into[row[5]] = dict.fromkeys([parent for parent in row[1] if parent >= 0])
                for parent in self.into[row[5]]:
                    self._out_of.setdefault(parent, []).append(row[5])
        for v in order:
            self._eliminate(v)

    def factor(self, v: int, source: int) -> Factor:
        """Return the partial on an edge."""
        factor = self.into[v][source]
        if factor is not None:
            return factor
        row = self._rows[v]
        partials = [self._partial(row, k) for k, parent in enumerate(row[1]) if parent == source]
        return sum([Factor.of(c) for c in partials if c is not None], ZERO)

    def _eliminate(self, v: int) -> None:
        factors = {source: self.factor(v, source) for source in self.into[v]}
        for target in self._out_of.pop(v):
            c = self.factor(target, v)
            theirs = self.into[target]
            del theirs[v]
            for source, factor in factors.items():
                product = c * factor
                self.products += 0 if product.is_zero else self._rows[target][2][0].size
                if source in theirs:
                    theirs[source] = self.factor(target, source) + product
                elif not product.is_zero:
                    theirs[source] = product
                    self._out_of[source].append(target)
        for source in factors:
            self._out_of[source].remove(v)
        del self.into[v]


def _rows(linearization: Linearization, elimination: _Elimination) -> list[Row]:
    """Return the rows that are left, with the partials of those that are changed."""
    values = dict(enumerate(linearization.inputs))
    rows: list[Row] = []
    for row in linearization.active().rows:
        out = row[5]
        if type(out) is not int:
            values.update(zip(out, row[2][0], strict=True))
            rows.append(row)
            continue
        values[out] = row[2][0]
        if out in elimination.eliminated:
            continue
        if out not in elimination.into:
            rows.append(row)
            continue
        into = {u: c for u in sorted(elimination.into[out]) if not (c := elimination.factor(out, u)).is_zero}
        partials = tuple([f.sign if f.value is None else f.signed for f in into.values()])
        kept = (row[2][0], *[values[u] for u in into])
        rows.append((_with_partials(len(into)), tuple(into), kept, {"partials": partials}, row[4], out))
    return rows


@functools.cache
def _with_partials(count: int) -> Primitive:
    """Return a primitive of so many operands, whose partials are parameters of the line."""
    rules = [lambda *_kept, partials, k=k: partials[k] for k in range(count)]
    return Primitive(NAME, _never, rules, counts=lambda *_, **__: {})


def _never(*_: Any, **__: Any) -> Any:
    raise NotImplementedError
