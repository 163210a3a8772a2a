"""Sparse Jacobians and Hessians in compressed passes, beside asdex (on JAX, compiled) and CasADi (expressions, SX).

"first" finds the pattern, colors it and evaluates once; "again" evaluates at another call, and "jit" once `wg.jit` has
compiled it.  Ratios are to the time of "jit": above one, the peer takes longer.  A peer that is not installed is left
out.

Run:  python benchmarks/sparse.py [--rounds 7] [--size 102] [--only brusselator ...]
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import Any, NamedTuple

import harness  # isort: skip  # before NumPy

os.environ.pop("WENGERT_NATIVE", None)  # as its users have it: after as long as compiling takes
import numpy as np

import wengert as wg

Function = Callable[..., Any]
PEERS = ("asdex", "CasADi")
asdex, casadi, jax = harness.peer("asdex"), harness.peer("casadi"), harness.peer("jax")


class Case(NamedTuple):
    """A function of a namespace and a vector, the number of variables for a size, and whether its Hessian is taken."""

    function: Function
    variables: Callable[[int], int]
    is_hessian: bool


class OfCasadi:
    """What the functions call, on CasADi's expressions."""

    @staticmethod
    def concatenate(parts: Any) -> Any:
        return casadi.vertcat(*parts)

    @staticmethod
    def roll(u: Any, shift: int, axis: int) -> Any:
        size = round(u.numel() ** 0.5)
        return u[np.roll(np.arange(size * size).reshape(size, size), shift, axis).ravel().tolist()]

    @staticmethod
    def grid(u: Any) -> Any:
        return u

    @staticmethod
    def column(u: Any) -> Any:
        return u.reshape((-1, 1))

    sum = staticmethod(lambda u: casadi.sum1(u))
    exp = staticmethod(lambda u: casadi.exp(u))


class OfArrays:
    """What the functions call, on arrays of NumPy or JAX."""

    def __init__(self, namespace: Any) -> None:
        self.concatenate, self.sum, self.exp = namespace.concatenate, namespace.sum, namespace.exp
        self.roll = namespace.roll

    @staticmethod
    def grid(u: Any) -> Any:
        size = round(u.size**0.5)
        return u.reshape(size, size)

    @staticmethod
    def column(u: Any) -> Any:
        return u.reshape(-1)


def brusselator(xp: Any, z: Any) -> Any:
    """Two fields that react and diffuse on a periodic grid."""
    half = z.shape[0] // 2
    u, v = xp.grid(z[:half]), xp.grid(z[half:])
    diffused = [xp.roll(a, 1, 0) + xp.roll(a, -1, 0) + xp.roll(a, 1, 1) + xp.roll(a, -1, 1) - 4 * a for a in (u, v)]
    reacted = u * u * v
    rates = 1 + reacted - 4.4 * u + 100 * diffused[0], 3.4 * u - reacted + 100 * diffused[1]
    return xp.concatenate([xp.column(rate) for rate in rates])


def tridiagonal(xp: Any, x: Any) -> Any:
    """A residual each of whose elements depends on three variables."""
    inner = 2 * x[1:-1] - x[1:-1] ** 3 - x[:-2] * x[2:]
    return xp.concatenate([x[:1] - 1, inner, x[-1:] - 1])


def rosenbrock(xp: Any, x: Any) -> Any:
    return xp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def bratu(xp: Any, u: Any) -> Any:
    """The energy of a Bratu problem on a square, its edges joined."""
    u = xp.grid(u)
    steps = [u - xp.roll(u, 1, axis) for axis in (0, 1)]
    energy = sum(0.5 * step * step for step in steps) - 1e-4 * xp.exp(u)
    return xp.sum(energy)


def arrowhead(xp: Any, x: Any) -> Any:
    return xp.sum(x[0] * x[1:] ** 2 + x[1:] ** 4)


CASES = {
    "brusselator": Case(brusselator, lambda size: 2 * size * size, False),
    "tridiagonal": Case(tridiagonal, lambda size: 10 * size * size, False),
    "rosenbrock": Case(rosenbrock, lambda size: size * size, True),
    "bratu": Case(bratu, lambda size: size * size, True),
    "arrowhead": Case(arrowhead, lambda size: 10 * size, True),
}


def of_asdex(case: Case, x: Any) -> harness.Call:
    """Return the call of asdex's function, pattern and coloring done."""
    jax.config.update("jax_enable_x64", True)
    function = partial(case.function, OfArrays(jax.numpy))
    color, make = (
        (asdex.hessian_coloring, asdex.hessian_from_coloring)
        if case.is_hessian
        else (asdex.jacobian_coloring, asdex.jacobian_from_coloring)
    )
    compiled, point = jax.jit(make(function, color(function, x))), jax.numpy.asarray(x)
    return lambda: jax.block_until_ready(compiled(point))


def of_casadi(case: Case, x: Any) -> harness.Call:
    """Return the call of CasADi's function."""
    symbols = casadi.SX.sym("x", x.size)
    expression = case.function(OfCasadi, symbols)
    derivative = casadi.hessian(expression, symbols)[0] if case.is_hessian else casadi.jacobian(expression, symbols)
    function = casadi.Function("f", [symbols], [derivative])
    values = np.zeros(derivative.nnz())
    buffer, run = function.buffer()
    buffer.set_arg(0, memoryview(x))
    buffer.set_res(0, memoryview(values))

    def evaluate(kept: Any = (function, buffer, x)) -> Any:  # what the buffer points to must live
        run()
        return values

    return evaluate


def measure(name: str, size: int, rounds: int) -> tuple[tuple[str, ...], list[harness.Timing]]:
    """Return the row of a case, and its timings for the report."""
    case = CASES[name]
    x = np.random.default_rng(0).uniform(0.5, 1.5, case.variables(size))
    transformation = wg.hessian if case.is_hessian else wg.jacobian
    derivative = transformation(partial(case.function, OfArrays(np)), sparse=True)
    again, jitted = partial(derivative, x), partial(wg.jit(derivative), x)
    first = harness.seconds(again)
    harness.warm(jitted, 0.5)  # machine code is made after a while
    calls = {"wengert": jitted}
    firsts = {"wengert": first}
    for peer, is_there, make in (("asdex", asdex and jax, of_asdex), ("CasADi", casadi, of_casadi)):
        if is_there:
            start = time.process_time()
            calls[peer] = make(case, x)
            calls[peer]()
            firsts[peer] = time.process_time() - start
    eager, *others = harness.in_turn([again, *calls.values()], rounds, 20)
    times = dict(zip(calls, others, strict=True))
    entries = again().nnz
    timings = [
        harness.Timing(
            f"{name}, {x.size:,} variables", peer, median(column), firsts[peer], harness.ratio(column, others[0])
        )
        for peer, column in times.items()
    ]
    ratios = {timing.library: f"{timing.ratio:.2f}" for timing in timings}
    shown = [f"{1e3 * seconds:,.2f}" for seconds in (first, median(eager), timings[0].seconds)]
    row = name, f"{x.size:,}", f"{entries:,}", *shown, *[ratios.get(peer, "-") for peer in PEERS]
    return row, timings


def rows(names: list[str], size: int, rounds: int, timings: list[harness.Timing]) -> Iterator[tuple[str, ...]]:
    """Yield the rows of all cases, and add to the timings."""
    wg.jit(wg.jacobian(np.sin, sparse=True))(np.ones(3))  # imports what the first call of all imports
    for name in names:
        row, measured = measure(name, size, rounds)
        timings.extend(measured)
        yield row


def main() -> None:
    options = harness.options(__doc__, *CASES, rounds=7, size=102)
    columns = ("derivative", "n", "entries", "first", "again", "jit", *[f"{peer} / jit" for peer in PEERS])
    timings: list[harness.Timing] = []
    table = rows(options.only, options.size, options.rounds, timings)
    harness.show("sparse derivatives: milliseconds, and the time of others to that of jit", columns, table)
    harness.save("Sparse derivatives", timings)


if __name__ == "__main__":
    main()
