"""The waist: a reverse pass over what comes before the narrowest cut of the graph, and a forward pass over the rest.

A function with a *waist* goes from many arguments through few numbers to many results: a bow tie.  The Jacobian is the
product of that of the results by these numbers and that of these numbers by the arguments, the first in a forward
pass for each number, the second in a reverse pass for each.  No vertex is eliminated by itself; whole sides of the
graph are, the one forward and the other in reverse.  Bücker and Rasch (*Modeling the performance of interface
contraction*, ACM TOMS 29, 2003) call it so, where the cut is the interface of a subroutine.

>>> import numpy as np, wengert as wg
>>> f = lambda x: np.exp(-np.arange(4.0) / np.sum(x * x))
>>> x = np.array([1.0, 2.0, 3.0])
>>> plan = wg.plan(f, effort="portfolio")(x)
>>> plan["waist"].passes, plan["forward"].passes, plan["reverse"].passes
(1, 3, 4)
>>> bool(np.allclose(wg.jacobian(f, mode="waist")(x), wg.jacobian(f, mode="forward")(x)))
True
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np

from wengert.accumulation.counting import ActiveRows, Sweep, count_forward, count_reverse
from wengert.accumulation.dense import dimension, of_its_own
from wengert.accumulation.orders.forward import FORWARD
from wengert.accumulation.orders.order import Order
from wengert.accumulation.orders.reverse import REVERSE
from wengert.accumulation.sweeps import is_finite
from wengert.cost import Cost
from wengert.errors import UnsupportedError
from wengert.executors import Executor
from wengert.linearization import Linearization
from wengert.tracing import Row, results_of

Array = Any


class Halves(NamedTuple):
    """A linearized graph, cut in two: what leads to the waist, and what leads on from there."""

    before: Linearization
    after: Linearization


def width(linearization: Linearization) -> int:
    """Return how many numbers there are at the waist: where they are as many as arguments, it is at the arguments."""
    return dimension(cut(linearization).before.values)


def cut(linearization: Linearization) -> Halves:
    """Cut the active rows where the values that are still to be read, and the results so far, have fewest elements."""
    active = linearization.active()
    rows, outputs, inputs = active.rows, active.outputs, active.inputs
    values: dict[int, Any] = dict(enumerate(inputs))
    last_read = dict.fromkeys(outputs, len(rows))
    for k, row in enumerate(rows):
        last_read.update((parent, max(k, last_read.get(parent, -1))) for parent in row[1])
    live = {k: x for k, x in values.items() if last_read.get(k, -1) >= 0}
    narrowest, place, waist = dimension([*live.values()]), 0, dict(live)
    size = narrowest
    for k, row in enumerate(rows):
        made = {position: y for position, y in results_of(row) if last_read.get(position, -1) > k}
        gone = [parent for parent in {*row[1]} if parent in live and last_read[parent] == k]
        size += dimension([*made.values()]) - dimension([live.pop(parent) for parent in gone])
        live.update(made)
        if size < narrowest:
            narrowest, place, waist = size, k + 1, dict(live)
    positions = [*waist]
    before = Linearization(
        rows[:place], inputs, positions, [waist[p] for p in positions], active.size, active.with_complex
    )
    return Halves(before, _after(active, place, positions, before.values))


def _after(active: Linearization, place: int, positions: list[int], values: Any) -> Linearization:
    """Return the graph from the waist on, whose independent variables are the values there."""
    numbers = {position: k for k, position in enumerate(positions)}
    rows: list[Row] = []
    for primitive, parents, kept, params, where, out in active.rows[place:]:
        several = out if type(out) is tuple else (out,)
        for position in several:
            numbers[position] = len(numbers)
        renamed = tuple([numbers[position] for position in several])
        ends: Any = renamed if type(out) is tuple else renamed[0]
        rows.append((primitive, tuple([numbers.get(p, -1) for p in parents]), kept, params, where, ends))
    outputs = [numbers.get(position, -1) for position in active.outputs]
    return Linearization(rows, values, outputs, active.values, len(numbers), active.with_complex)


def count(active: ActiveRows) -> Sweep:
    """Count a pass: back from one number of the waist, on from it, and the product of what comes of both."""
    linearization = active.linearization
    if linearization.with_complex:
        raise UnsupportedError("the waist of a function of complex numbers is not looked for.")
    before, after = (ActiveRows(half, active.operations_only) for half in cut(linearization))
    back, on = count_reverse(before), count_forward(after)
    entries = dimension(linearization.inputs) * dimension(linearization.values)
    many = dimension(before.linearization.values) > 1
    product = Cost(multiplications=entries, additions=entries if many else 0, products=entries, unit_free=entries)
    return back._replace(
        partials=back.partials + on.partials, one_pass=back.one_pass + on.one_pass + product, reached=on.reached
    )


def accumulate(linearization: Linearization, executor: Executor | None = None) -> list[list[Array]]:
    """Multiply the Jacobian of the results by that of the waist; where one is not finite, sweep over the whole graph.

    A zero of structure wins over an infinity in sweeps, and not in a product of matrices.
    """
    before, after = cut(linearization)
    if before.values and not linearization.with_complex:
        of_results, of_waist = FORWARD.accumulate(after, executor), REVERSE.accumulate(before, executor)
        if all(map(is_finite, (*of_results, *of_waist))):
            return [
                _product(row, of_waist, before, y, linearization.inputs)
                for row, y in zip(of_results, linearization.values, strict=True)
            ]
    return min((FORWARD, REVERSE), key=lambda order: order.passes(linearization)).accumulate(linearization, executor)


def _product(row: list[Array], of_waist: list[list[Array]], before: Linearization, y: Any, inputs: Any) -> list[Array]:
    """Return the blocks of one result: for each argument the sum over the values at the waist."""
    blocks = []
    for k, x in enumerate(inputs):
        terms = [
            np.tensordot(J, of_value[k], np.ndim(value)) if np.ndim(value) else np.multiply.outer(J, of_value[k])
            for J, of_value, value in zip(row, of_waist, before.values, strict=True)
        ]
        block = functools.reduce(np.add, terms)
        block = block.astype(np.result_type(x.dtype, y.dtype), copy=False)
        blocks.append(of_its_own(block, block))
    return blocks


WAIST = Order("waist", width, count, accumulate)
