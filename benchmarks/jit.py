"""What `wg.jit` saves: a derivative traced at every call, against the same traced once and run as straight code.

Both are called on the same small arguments, in turn, in one process, on one thread.  A row gives medians over rounds,
and the median of the rounds' ratios; then what the first call of the jitted function takes (it traces), and the second
(it compiles), in calls of the eager one.

Run:  python benchmarks/jit.py [--rounds 15]
"""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import functions
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import wengert as wg


def reference(x: Any) -> Any:
    """The function of the reference text."""
    return np.array([x[0] * (x[1] - x[2]), x[2] * np.log(1 - x[0])])


def of_numpy(name: str) -> Callable[..., Any]:
    function = functions.FUNCTIONS[name].function
    return lambda *args: function(np, *args)


POINT = (np.array([0.5, 2.0, 3.0]),)
VALLEY = functions.FUNCTIONS["rosenbrock"].arguments()
CASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "reference: jacobian": (wg.jacobian(reference), POINT),
    "rosenbrock: grad": (wg.grad(of_numpy("rosenbrock")), VALLEY),
    "rosenbrock: hessian": (wg.hessian(of_numpy("rosenbrock")), VALLEY),
    "robot_arm: jacobian": (wg.jacobian(of_numpy("robot_arm")), functions.FUNCTIONS["robot_arm"].arguments()),
    "black_scholes: grad": (
        wg.grad(of_numpy("black_scholes"), functions.FUNCTIONS["black_scholes"].argnums),
        tuple(map(np.asarray, functions.FUNCTIONS["black_scholes"].arguments())),
    ),
    "network: grad": (wg.grad(of_numpy("network"), (0, 1, 2, 3)), functions.FUNCTIONS["network"].arguments()),
}


def seconds(call: Callable[[], Any], repeats: int = 1) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def measure(name: str, rounds: int) -> tuple[str, ...]:
    function, args = CASES[name]

    def eager() -> Any:
        return function(*args)

    eager()
    jitted = wg.jit(function)

    def compiled() -> Any:
        return jitted(*args)

    first, second = seconds(compiled), seconds(compiled)
    repeats = max(3, int(0.01 / seconds(eager, 3)))
    times = [(seconds(eager, repeats), seconds(compiled, repeats)) for _ in range(rounds)]
    assert not jitted.declined, f"{name} runs eagerly"
    slow, fast = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(a / b for a, b in times)
    return (
        name,
        f"{slow * 1e6:,.1f}",
        f"{fast * 1e6:,.1f}",
        f"{ratio:.1f}",
        f"{first / slow:.1f}",
        f"{second / slow:.1f}",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    wg.jit(np.sin)(np.ones(2))  # imports what the first call of all imports
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    table = Table(title="eager against jitted: microseconds a call", title_justify="left")
    for column in ("derivative", "eager", "jitted", "ratio", "first", "second"):
        table.add_column(column, justify="left" if column == "derivative" else "right")
    for name in track(CASES, description="measuring", transient=True):
        table.add_row(*measure(name, rounds))
    Console().print(table)


if __name__ == "__main__":
    main()
