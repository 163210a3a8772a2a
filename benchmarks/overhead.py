"""What differentiating costs beside the function itself: `wg.grad`, nothing compiled, against HIPS autograd's `grad`.

Both run the very same code on the same small arguments, in turn, in one process, on one thread.  A row gives medians
over rounds, and the median of the rounds' ratios, which holds when the machine's speed drifts.

Run:  python benchmarks/overhead.py [--rounds 15]     (needs the `bench` extra)
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

import autograd
import autograd.numpy as anp
import functions
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import wengert as wg


def statements(np: Any, x: Any) -> Any:
    """A loop of 1,600 scalar statements: the function of a naive probe that the design started from."""
    total = 0.0
    for k in range(200):
        a = x[k % 10] * 1.01
        b = np.sin(a) + total * 0.1
        total = total * 0.5 + b * a - 0.3 * b
    return total


CASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...], tuple[int, ...]]] = {
    entry.name: (entry.function, entry.arguments(), entry.argnums) for entry in functions.FUNCTIONS.values()
}
CASES["1,600 statements"] = (statements, (np.linspace(0.1, 1.0, 10),), (0,))


def seconds(call: Callable[[], Any], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


def measure(name: str, rounds: int) -> tuple[str, ...]:
    function, args, argnums = CASES[name]

    def scalar(namespace: Any) -> Callable[..., Any]:
        return lambda *a: namespace.sum(function(namespace, *a))

    plain, ours = scalar(np), wg.grad(scalar(np), argnums)
    theirs = autograd.grad(scalar(anp), argnums)
    for mine, other in zip(ours(*args), theirs(*args), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-10, atol=1e-12)
    repeats = max(3, int(0.02 / seconds(lambda: theirs(*args), 3)))
    times: list[tuple[float, float, float]] = []
    for _ in range(rounds):
        times.append(tuple(seconds(lambda call=call: call(*args), repeats) for call in (plain, ours, theirs)))
    f, g, h = (statistics.median(column) for column in zip(*times, strict=True))
    ratio = statistics.median(b / c for _, b, c in times)
    worst = max(b / c for _, b, c in times)
    return name, *(f"{value * 1e6:,.1f}" for value in (f, g, h)), f"{ratio:.2f}", f"{worst:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    table = Table(title="gradient, nothing compiled: microseconds a call", title_justify="left")
    for column in ("function", "NumPy", "wengert", "autograd", "ratio", "worst"):
        table.add_column(column, justify="left" if column == "function" else "right")
    for name in track(CASES, description="measuring", transient=True):
        table.add_row(*measure(name, rounds))
    Console().print(table)


if __name__ == "__main__":
    main()
