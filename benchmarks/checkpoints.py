"""What checkpoints cost: time and peak memory of the gradient of a long recurrence, for each way of keeping its states.

Memory is the peak of one gradient, and times are of a run without its measurement; "function" is the loop in plain
Python, without a derivative.

Run:  python benchmarks/checkpoints.py [--steps 100000] [--size 100]
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import harness  # isort: skip  # before NumPy
import numpy as np

import wengert as wg

WAYS: dict[str, dict[str, Any]] = {
    'checkpoint="none"': {},
    'checkpoint="all"': {"checkpoint": "all"},
    "checkpoint=300": {"checkpoint": 300},
    "checkpoint=30": {"checkpoint": 30},
    "memory=1_000_000": {"memory": 1_000_000},
}


def measure(steps: int, size: int) -> Iterator[tuple[str, ...]]:
    x = np.linspace(0.5, 1.5, size)

    def loss(x: Any, way: dict[str, Any]) -> Any:
        def step(h: Any, _: Any) -> Any:
            return np.tanh(h * x + 0.1), None

        return np.sum(wg.scan(step, np.zeros(size), length=steps, **way)[0])

    yield "function", f"{harness.seconds(partial(loss, x, {})):.2f}", "", ""
    gradients: list[Any] = []
    for name, way in WAYS.items():
        gradient = partial(wg.grad(loss), x, way)
        seconds = harness.seconds(lambda gradient=gradient: gradients.append(gradient()))
        same = "to the last bit" if np.array_equal(gradients[-1], gradients[0]) else "no"
        yield name, f"{seconds:.2f}", f"{harness.peak(gradient) / 1e6:.2f}", same


def main() -> None:
    options = harness.options(__doc__, steps=100_000, size=100)
    title = f"the gradient of {options.steps:,} steps on {options.size:,} numbers"
    harness.show(title, ("kept", "s", "peak, MB", "same"), measure(options.steps, options.size))


if __name__ == "__main__":
    main()
