"""Elimination: the intermediate variables are eliminated from the graph of scalars, in the best order of a portfolio.

It makes no pass and takes no seed: what is left of the graph is the Jacobian.  The Program that this yields is written
once for a structure, and runs at every point of it.

>>> import numpy as np, wengert as wg
>>> wg.jacobian(lambda x: np.array([x[0] * x[1], np.sin(x[0])]), mode="elimination")(np.array([0.0, 2.0]))
array([[2., 0.],
       [1., 0.]])
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

from wengert.accumulation.counting import ActiveRows, Sweep
from wengert.accumulation.dense import of_its_own
from wengert.accumulation.elimination import JacobianProgram, eliminate
from wengert.accumulation.orders.forward import FORWARD
from wengert.accumulation.orders.order import Order
from wengert.accumulation.orders.reverse import REVERSE
from wengert.accumulation.sweeps import is_finite
from wengert.errors import BranchError
from wengert.executors import Executor
from wengert.linearization import Linearization
from wengert.program import Program
from wengert.program.structure import exactly, structure
from wengert.tracing import COPIED, current_context, innermost

Array = Any
MOST = 64
"""The number of Programs that are kept, those used last."""
_WRITTEN: OrderedDict[Hashable, JacobianProgram] = OrderedDict()


class Search(NamedTuple):
    """How an order is searched for: so long, or by rule alone; for few products by a convention, or by both."""

    milliseconds: float | None = None
    convention: str | None = None


PORTFOLIO = Search()


def eliminations(_linearization: Linearization) -> int:
    """Return how often the graph is eliminated."""
    return 1


def count(active: ActiveRows, search: Search = PORTFOLIO) -> Sweep:
    """Count the lines of the Program: those of the function, the partials, and the products and sums of these."""
    linearization = active.linearization
    program, args = linearization.as_program()
    written = _written(program, args, len(linearization.inputs), search)
    others = {name: e.counts for name, e in written.eliminations.items() if name != written.chosen.name}
    return Sweep(
        written.partials,
        written.products,
        written.kept,
        (),
        (),
        (),
        written.function,
        {written.chosen.name: written.chosen.counts, **others},
    )


def accumulate(
    linearization: Linearization, executor: Executor | None = None, search: Search = PORTFOLIO
) -> list[list[Array]]:
    """Run the Program; where a derivative is not finite, sweep, since zeros of structure are known to sweeps."""
    program, args = linearization.as_program()
    count = len(linearization.inputs)
    context = current_context()
    before, context.muted = context.muted, True
    try:
        try:
            blocks = _written(program, args, count, search).blocks(*args)
        except BranchError:  # another element is taken than where the Program was written
            blocks = _written(program, args, count, search, anew=True).blocks(*args)
    finally:
        context.muted = before
    if not is_finite(blocks):
        return min((FORWARD, REVERSE), key=lambda order: order.passes(linearization)).accumulate(
            linearization, executor
        )
    rest = iter(blocks)
    jacobians = []
    for y in linearization.values:
        row = [of_its_own(block := next(rest), block) for _ in linearization.inputs]
        jacobians.append(
            [
                block.astype(np.result_type(x.dtype, y.dtype), copy=False)
                for block, x in zip(row, linearization.inputs, strict=True)
            ]
        )
    return jacobians


def _written(program: Program, args: Sequence[Any], active: int, search: Search, anew: bool = False) -> JacobianProgram:
    """Return the Jacobian of a Program as a Program, which is remembered by the structure and the constants."""
    key = _key(program, active, search)
    written = None if key is None or anew else _WRITTEN.pop(key, None)
    if written is None:
        written = eliminate(program, list(map(innermost, args)), active, *search)
    if key is not None:
        _WRITTEN[key] = written
        if len(_WRITTEN) > MOST:
            _WRITTEN.popitem(last=False)
    return written


def _key(program: Program, active: int, search: Search) -> Hashable:
    """Return a key, equal for Programs that compute the same; None if there is none that outlives the Program."""
    shape = structure(program, COPIED)
    try:
        return shape and (shape.key, tuple([exactly(value, COPIED) for value in shape.particulars]), active, search)
    except TypeError:  # a constant that may change
        return None


@functools.cache
def searching(search: Search) -> Order:
    """Return elimination in the best order that a search finds."""
    return Order(
        "elimination",
        eliminations,
        functools.partial(count, search=search),
        functools.partial(accumulate, search=search),
    )


ELIMINATION = searching(PORTFOLIO)
