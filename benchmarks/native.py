"""What native code saves: derivatives of small functions by `wg.jit`, as Python code and as machine code.

Peers, where they are installed: JAX's `jit`, CasADi by its function and by its `buffer`, and Numba on derivatives that
are written by hand.  "compiling" is what making the machine code takes, in milliseconds.  Times are microseconds a call
of the processor; ratios are those to native code, within a round.

Run:  python benchmarks/native.py [--rounds 9] [--only "reference: jacobian" ...]
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import Any

import harness  # isort: skip  # before NumPy

os.environ["WENGERT_NATIVE"] = "1"
import functions
import numpy as np
from jit import POINT, VALLEY, reference

import wengert as wg

jax, casadi, numba = harness.peer("jax"), harness.peer("casadi"), harness.peer("numba")
if jax:
    jax.config.update("jax_enable_x64", True)

ANGLES, LENGTHS = functions.FUNCTIONS["robot_arm"].arguments()
OPTION = tuple(map(np.asarray, functions.FUNCTIONS["black_scholes"].arguments()))
GREEKS = functions.FUNCTIONS["black_scholes"].argnums


def reference_of(xp: Any, x: Any) -> Any:
    """The function of the reference text, in the names of any namespace."""
    return xp.stack([x[0] * (x[1] - x[2]), x[2] * xp.log(1 - x[0])])


CASES: dict[str, tuple[Any, Callable[..., Any], tuple[Any, ...], Any]] = {
    "reference: jacobian": (wg.jacobian(reference), reference_of, POINT, 0),
    "rosenbrock: grad": (wg.grad(partial(functions.rosenbrock, np)), functions.rosenbrock, VALLEY, 0),
    "robot_arm: jacobian": (
        wg.jacobian(partial(functions.robot_arm, np)), functions.robot_arm, (ANGLES, LENGTHS), 0,
    ),
    "black_scholes: greeks": (
        wg.grad(partial(functions.black_scholes, np), GREEKS), functions.black_scholes, OPTION, GREEKS,
    ),
}  # fmt: skip
"""The derivative by wengert, the function of a namespace, the arguments, and which of them are differentiated."""


# ---- Peers ----


def of_jax(name: str) -> Callable[[], Any]:
    _, function, args, argnums = CASES[name]
    derivative = jax.jacobian if "jacobian" in name else jax.grad
    compiled = jax.jit(derivative(partial(function, jax.numpy), argnums))
    values = tuple(map(jax.numpy.asarray, args))
    return lambda: jax.block_until_ready(compiled(*values))


def of_casadi(name: str) -> list[Callable[[], Any]]:
    """Return calls of CasADi's function, and of the same by a buffer."""
    args = CASES[name][2]
    x = casadi.SX.sym("x", args[0].size)
    if name == "reference: jacobian":
        y = casadi.jacobian(casadi.vertcat(x[0] * (x[1] - x[2]), x[2] * casadi.log(1 - x[0])), x)
    elif name == "rosenbrock: grad":
        y = casadi.gradient(casadi.sum1(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2), x)
    else:
        return []
    compiled = casadi.Function("f", [x], [casadi.densify(y)])
    buffer, evaluate = compiled.buffer()
    result = np.zeros(y.numel())
    buffer.set_arg(0, memoryview(args[0]))
    buffer.set_res(0, memoryview(result))
    in_place = partial(evaluate)
    in_place.kept = buffer, result  # CasADi has their addresses alone
    return [lambda: compiled(args[0]), in_place]


def by_hand(name: str) -> Callable[[], Any] | None:
    """Return a call of a derivative that is written by hand, compiled by Numba."""
    args = CASES[name][2]
    if name == "reference: jacobian":

        def derivative(x: Any) -> Any:
            J = np.empty((2, 3))
            rest = 1.0 - x[0]
            J[0, 0], J[0, 1], J[0, 2] = x[1] - x[2], x[0], -x[0]
            J[1, 0], J[1, 1], J[1, 2] = -x[2] / rest, 0.0, np.log(rest)
            return J

    elif name == "rosenbrock: grad":

        def derivative(x: Any) -> Any:
            g = np.zeros(x.size)
            for k in range(x.size - 1):
                slope = 200.0 * (x[k + 1] - x[k] * x[k])
                g[k] += -2.0 * (1.0 - x[k]) - 2.0 * x[k] * slope
                g[k + 1] += slope
            return g

    else:
        return None
    return partial(numba.njit(derivative), *args)


def peers(name: str) -> dict[str, Callable[[], Any]]:
    calls: dict[str, Callable[[], Any]] = {}
    if jax:
        calls["JAX"] = of_jax(name)
    if casadi:
        calls.update(zip(("CasADi", "CasADi's buffer"), of_casadi(name), strict=False))
    if numba and (call := by_hand(name)):
        calls["Numba, by hand"] = call
    return calls


COLUMNS = ("JAX", "CasADi", "CasADi's buffer", "Numba, by hand")


def measure(name: str, rounds: int, timings: list[harness.Timing]) -> Sequence[str]:
    function, _, args, _ = CASES[name]
    in_python, native = wg.jit(function, native=False), wg.jit(function)
    calls = {"Python": partial(in_python, *args), "native": partial(native, *args), **peers(name)}
    expected = function(*args)
    for call in list(calls.values())[:2]:
        call()
    compiling = harness.seconds(calls["native"])
    for _ in range(3):
        for call in list(calls.values())[:2]:
            result = call()
            assert all(np.allclose(a, b, rtol=1e-9) for a, b in zip(result, expected, strict=True)), name
    assert not in_python.declined
    assert not native.declined
    for call in calls.values():
        call()
    times = harness.in_turn(list(calls.values()), rounds, 2_000)
    row = dict(zip(calls, times, strict=True))
    fast = row["native"]
    timings.append(harness.Timing(name, "wengert", median(fast), compiling, 1.0))
    for library in sorted(row.keys() - {"native"}):
        called = "wengert in Python" if library == "Python" else library
        timings.append(harness.Timing(name, called, median(row[library]), 0.0, harness.ratio(row[library], fast)))
    shown = [f"{1e3 * compiling:.0f}", *[f"{1e6 * median(row[k]):.2f}" for k in ("Python", "native")]]
    shown.append(f"{harness.ratio(row['Python'], fast):.1f}")
    for column in COLUMNS:
        shown.append(
            f"{1e6 * median(row[column]):.2f} ({harness.ratio(row[column], fast):.1f})" if column in row else ""
        )
    return name, *shown


def main() -> None:
    options = harness.options(__doc__, *CASES, rounds=9)
    warm = wg.jit(np.sin)
    for _ in range(4):  # imports what the first native code imports
        warm(np.ones(2))
    columns = ("derivative", "compiling", "Python", "native", "ratio", *COLUMNS)
    timings: list[harness.Timing] = []
    rows = (measure(name, options.rounds, timings) for name in options.only)
    harness.show("wg.jit in Python and native, and peers: microseconds a call (ratio to native)", columns, rows)
    harness.save("Small functions", timings)


if __name__ == "__main__":
    main()
