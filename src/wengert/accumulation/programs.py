"""Derivatives as Programs: a sweep over a linearization, written down line by line.

The result of accumulation is again a Program.  The *tangent program* computes tangents beside the values; the *adjoint
program* evaluates the function and sweeps back.  Both return tuples.  They are recorded at a sample point where the
Program holds, and are valid at every such point.

>>> import numpy as np, wengert as wg
>>> program = wg.trace(lambda x: x * np.sin(x))(2.0)
>>> print(adjoint_program(program, [np.float64(2.0)]).listing(places=False))
x = u_{-1}, y_bar = u_0
u_1 = sin(u_{-1})
u_2 = u_1 * u_0
u_3 = u_{-1} * u_0
u_4 = cos(u_{-1})
u_5 = u_4 * u_3
u_6 = u_2 + u_5     = x_bar
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.accumulation.sweeps import forward, reverse
from wengert.linearization import Linearization, by_position
from wengert.passes.simplification import simplify
from wengert.program import Packing, Program, as_value
from wengert.tracing import Group, Trace, record

Slot = tuple[str, int]
"""An argument or result of a tangent program: ``("x", k)``, the k-th of the Program, or ``("dot", k)``, its tangent."""


def tangent_program(
    program: Program,
    sample: Sequence[Any],
    active: Sequence[bool] | None = None,
    takes: Sequence[Slot] | None = None,
    gives: Sequence[Slot] | None = None,
    batch: int | None = None,
) -> Program:
    """Return the Program that evaluates a Program and sweeps forward: the values and their tangents.

    Parameters
    ----------
    sample
        A value of each argument.
    active
        For each argument, whether it has a tangent; None for all.
    takes, gives
        The order of the arguments and results of the tangent program; None for values first, then tangents.
    batch
        The number of tangents that come as one block, on a leading axis; None for one tangent.
    """
    count, results = len(program.arguments), len(program.results)
    active = [True] * count if active is None else active
    if takes is None:
        takes = [*(("x", k) for k in range(count)), *(("dot", k) for k in range(count) if active[k])]
    if gives is None:
        gives = [*(("x", k) for k in range(results)), *(("dot", k) for k in range(results))]
    with record(f"{program.name}_dot") as trace:
        xs: dict[int, list[Any]] = {}
        dots: dict[int, list[Any]] = {}
        for kind, k in takes:
            if kind == "x":
                xs[k] = _enter(trace, program.arguments[k].name, program.arguments[k], sample[k])
            else:
                dots[k] = enter_seed(trace, program.arguments[k], "dot", batch)
        linearization = Linearization.of_variables(program, [x for k in range(count) for x in xs[k]])
        tangents = push(linearization, [dots.get(k) for k in range(count)], program.arguments, batch)
        values = _grouped(linearization.values, program.results)
        pushed = _grouped(tangents, program.results)
        for kind, k in gives:
            if kind == "x":
                _leave(trace, program.results[k].name, program.results[k], values[k], None)
            else:
                _leave(trace, f"{program.results[k].name}_dot", program.results[k], pushed[k], batch)
    return simplify(trace.program())


def adjoint_program(
    program: Program, sample: Sequence[Any], seeded: Sequence[bool] | None = None, wanted: Sequence[bool] | None = None
) -> Program:
    """Return the Program that evaluates a Program and sweeps back, from the adjoints of its results.

    It takes the arguments, and then the adjoints of the `seeded` results (None for all); it returns the adjoints of the
    `wanted` arguments (None for all).  The `sample` has a value of each argument.
    """
    seeded = [True] * len(program.results) if seeded is None else seeded
    wanted = [True] * len(program.arguments) if wanted is None else wanted
    with record(f"{program.name}_bar") as trace:
        xs = [_enter(trace, a.name, a, value) for a, value in zip(program.arguments, sample, strict=True)]
        linearization = Linearization.of_variables(program, [x for parts in xs for x in parts])
        bars = [enter_seed(trace, r, "bar") if on else None for r, on in zip(program.results, seeded, strict=True)]
        adjoints = _grouped(pull(linearization, bars, program.results), program.arguments)
        for argument, parts, on in zip(program.arguments, adjoints, wanted, strict=True):
            if on:
                _leave(trace, f"{argument.name}_bar", argument, parts, None)
    return simplify(trace.program())


def enter_seed(trace: Trace, packing: Packing, suffix: str, batch: int | None = None) -> list[Any]:
    """Add a seed to a recording, in the layout of an argument or result; return its parts, one for each variable."""
    name = f"{packing.name}_{suffix}"
    leading = () if batch is None else (batch,)
    seed = as_value(np.ones(leading + packing.shape, packing.dtype))
    if batch is None or packing.whole:
        return _enter(trace, name, packing, seed)
    block = trace.argument(name, seed)
    return [block[:, *index] for index in np.ndindex(*packing.shape)]


def _enter(trace: Trace, name: str, packing: Packing, value: Any) -> list[Any]:
    """Add an argument to a recording, in the layout of another one; return its parts."""
    if packing.whole:
        return [trace.argument(name, as_value(value))]
    parts = [trace.input(part) for part in packing.unpack(value)]
    trace.arguments.append(Group(name, packing.shape, packing.dtype, parts))
    return parts


def push(
    linearization: Linearization,
    seeds: Sequence[list[Any] | None],
    arguments: Sequence[Packing],
    batch: int | None = None,
) -> list[Any]:
    """Sweep forward from the parts of the arguments' tangents (None for zero); return the tangents of the results."""
    parts = _by_variable(seeds, arguments)
    dots = forward(linearization, by_position(range(len(parts)), parts), int(batch is not None))
    return [dots[position] if position >= 0 else None for position in linearization.outputs]


def pull(
    linearization: Linearization,
    seeds: Sequence[list[Any] | None],
    results: Sequence[Packing],
    batch: int | None = None,
) -> list[Any]:
    """Sweep back from the parts of the results' adjoints (None for zero); return the adjoints of the arguments."""
    parts = _by_variable(seeds, results)
    return reverse(linearization, by_position(linearization.outputs, parts), int(batch is not None))


def _by_variable(seeds: Sequence[list[Any] | None], packings: Sequence[Packing]) -> list[Any]:
    """Return the seeds of all variables in one list."""
    return [
        part
        for packing, seed in zip(packings, seeds, strict=True)
        for part in ([None] * len(packing.atoms) if seed is None else seed)
    ]


def _grouped(values: Sequence[Any], packings: Sequence[Packing]) -> list[list[Any]]:
    """Group the values of variables by the argument or result that they belong to."""
    rest = iter(values)
    return [[next(rest) for _ in packing.atoms] for packing in packings]


def _leave(trace: Trace, name: str, packing: Packing, parts: Sequence[Any], batch: int | None) -> None:
    """Add a result to a recording, in the layout of an argument or result; a part that is None is zero."""
    leading = () if batch is None else (batch,)
    values = [
        as_value(np.zeros(leading + atom.shape, packing.dtype)) if part is None else part
        for atom, part in zip(packing.atoms, parts, strict=True)
    ]
    if packing.whole:
        trace.result(name, values[0])
    elif batch is None:
        trace.results.append(Group(name, packing.shape, packing.dtype, values))
    else:
        trace.result(name, np.stack(values, axis=-1).reshape(leading + packing.shape))
