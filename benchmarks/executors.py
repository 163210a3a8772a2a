"""Blocks on executors: a large dense Jacobian, and a million points, by threads, processes, loky and dask.

Times are of the clock, since the work is that of several processes; ratios are to one thread, in the same round.  That
the results are the same is checked to the last bit.  What a task costs is that of tasks without work.

Run:  python benchmarks/executors.py [--size 1000] [--lines 60] [--points 1000000] [--workers 2] [--rounds 3]
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import Any

import harness  # isort: skip  # before NumPy
import numpy as np

import wengert as wg
from wengert import executors


def chain(x: Any, lines: int) -> Any:
    for _ in range(lines // 3):
        x = np.sin(x) + 0.1 * np.roll(x, 1)
    return x


def orbit(x: Any) -> Any:
    r = np.sqrt(x[:3] @ x[:3])
    return np.concatenate([x[3:] * np.exp(-0.1 * r), -x[:3] / r**3 * (1 + np.sin(r))])


def dask(stack: ExitStack, workers: int) -> Any:
    distributed = harness.peer("distributed")
    if distributed is None:
        return None
    cluster = distributed.LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0")
    return stack.enter_context(distributed.Client(stack.enter_context(cluster))).get_executor()


def loky(stack: ExitStack, workers: int) -> Any:
    module = harness.peer("loky")
    return None if module is None else _entered(stack, module.ProcessPoolExecutor(workers))


def _entered(stack: ExitStack, executor: AbstractContextManager[Any]) -> Any:
    return stack.enter_context(executor)


MAKERS: dict[str, Callable[[ExitStack, int], Any]] = {
    "threads": lambda stack, workers: _entered(stack, ThreadPoolExecutor(workers)),
    "processes": lambda stack, workers: _entered(stack, ProcessPoolExecutor(workers)),
    "loky": loky,
    "dask": dask,
}


def wall(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def measure(options: Any) -> Iterator[tuple[str, ...]]:
    rng = np.random.default_rng(0)
    x, points = rng.normal(size=options.size), rng.normal(size=(options.points, 6))
    calls: dict[str, Callable[[Any], Any]] = {
        f"dense, {options.size:,}": lambda e: wg.jacobian(chain, executor=e, mode="reverse")(x, options.lines),
        f"f, {options.points:,} points": lambda e: wg.vmap(orbit, executor=e)(points),
        f"Jacobians, {options.points:,} points": lambda e: wg.vmap(wg.jacobian(orbit), executor=e)(points),
    }
    for name, maker in MAKERS.items():
        with ExitStack() as stack, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            executor = maker(stack, options.workers)
            if executor is None:
                continue
            pool = executors.pool_of(executor)
            for case, call in calls.items():
                ratios, same, seconds = [], True, 0.0
                for _ in range(options.rounds):
                    seconds, expected = wall(partial(call, None))
                    taken, result = wall(partial(call, executor))
                    ratios.append(taken / seconds)
                    same = same and np.array_equal(result, expected)
                row = [f"{seconds:.2f}", f"{statistics.median(ratios):.2f}", "to the last bit" if same else "no"]
                yield name, case, *row, f"{1e3 * pool.overhead:.2f}"


def main() -> None:
    options = harness.options(__doc__, size=1000, lines=60, points=1_000_000, workers=2, rounds=3)
    columns = ("executor", "what", "one thread, s", f"ratio, {options.workers} workers", "same", "ms a task")
    harness.show("blocks on executors, ratio to one thread", columns, measure(options))


if __name__ == "__main__":
    main()
