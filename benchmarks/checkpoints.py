"""What checkpoints cost: time and peak memory of the gradient of a long recurrence, for each way of keeping its states.

The memory is the peak that `tracemalloc` sees during one gradient (NumPy reports its arrays to it).  Times are of a run
without it; "function" is the loop in plain Python, without a derivative.

Run:  python benchmarks/checkpoints.py [--steps 100000] [--size 100]
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np

import wengert as wg

WAYS: dict[str, dict[str, Any]] = {
    'checkpoint="none"': {},
    'checkpoint="all"': {"checkpoint": "all"},
    "checkpoint=300": {"checkpoint": 300},
    "checkpoint=30": {"checkpoint": 30},
    "memory=1_000_000": {"memory": 1_000_000},
}


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Run something and return its result and the seconds it took."""
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def main() -> None:
    """Print a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--size", type=int, default=100)
    options = parser.parse_args()
    x = np.linspace(0.5, 1.5, options.size)

    def loss(x: Any, **way: Any) -> Any:
        def step(h: Any, _: Any) -> Any:
            return np.tanh(h * x + 0.1), None

        return np.sum(wg.scan(step, np.zeros(options.size), length=options.steps, **way)[0])

    _, seconds = timed(lambda: loss(x))
    print(f"{'function':<20}{seconds:8.2f} s")
    reference = None
    for name, way in WAYS.items():
        gradient = wg.grad(lambda x, way=way: loss(x, **way))
        found, seconds = timed(lambda gradient=gradient: gradient(x))
        tracemalloc.start()
        gradient(x)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        reference = found if reference is None else reference
        same = "same to the last bit" if np.array_equal(found, reference) else "differs"
        print(f"{name:<20}{seconds:8.2f} s{peak / 1e6:10.2f} MB   {same}")


if __name__ == "__main__":
    main()
