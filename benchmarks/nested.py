"""What a loop in a loop costs, beside the same inner steps written out in the outer one.

Each row is the gradient of a `wg.scan` of `--steps` steps whose body makes an inner loop of n steps, and its ratio to
the gradient where the body has these steps one after the other.

Run:  python benchmarks/nested.py [--rounds 7] [--steps 200]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import Any

import harness  # isort: skip  # before NumPy
import numpy as np

import wengert as wg

Step = Callable[[Any, Any, Any], Any]
SIZES = (5, 20, 40, 70, 100, 200)


def bodies(n: int) -> dict[str, tuple[Step, Step]]:
    """Return for each form of inner loop the outer body with it, and the body with its steps written out."""
    us = np.linspace(-1.0, 1.0, n)

    def scan(c: Any, x: Any, w: Any) -> Any:
        return wg.scan(lambda c, u: (np.sin(c * w) + u * x, None), c, us)[0]

    def fori_loop(c: Any, x: Any, w: Any) -> Any:
        return wg.fori_loop(0, n, lambda i, c: np.sin(c * w) + x, c)

    def fori_loop_of_array(c: Any, x: Any, w: Any) -> Any:
        return wg.fori_loop(0, n, lambda i, c: np.sin(c * w) + us[i] * x, c)

    def while_loop(c: Any, x: Any, w: Any) -> Any:
        return wg.while_loop(lambda s: s[0] < n, lambda s: (s[0] + 1, np.sin(s[1] * w) + x), (0, c))[1]

    def with_elements(c: Any, x: Any, w: Any) -> Any:
        for u in us:
            c = np.sin(c * w) + u * x
        return c

    def without(c: Any, x: Any, w: Any) -> Any:
        for _ in range(n):
            c = np.sin(c * w) + x
        return c

    return {
        "scan": (scan, with_elements),
        "fori_loop": (fori_loop, without),
        "fori_loop of us": (fori_loop_of_array, with_elements),
        "while_loop": (while_loop, without),
    }


def gradient(body: Step, steps: int) -> harness.Call:
    """Return the call of the gradient of the outer loop."""
    xs = np.linspace(0.1, 0.9, steps)
    return partial(wg.grad(lambda w: wg.scan(lambda c, x: (body(c, x, w), None), 0.5, xs)[0]), 0.7)


def measure(n: int, steps: int, rounds: int) -> Iterator[tuple[str, ...]]:
    for name, pair in bodies(n).items():
        calls = [gradient(body, steps) for body in pair]
        np.testing.assert_allclose(calls[0](), calls[1](), rtol=1e-9)
        nested, written_out = harness.in_turn(calls, rounds)
        ratio = harness.ratio(nested, written_out)
        yield str(n), name, f"{1e3 * median(nested):.2f}", f"{1e3 * median(written_out):.2f}", f"{ratio:.2f}"


def main() -> None:
    options = harness.options(__doc__, rounds=7, steps=200)
    rows = (row for n in SIZES for row in measure(n, options.steps, options.rounds))
    columns = ("inner steps", "form", "ms", "ms, written out", "ratio")
    harness.show(f"gradients of loops in a loop of {options.steps:,} steps", columns, rows, labels=2)


if __name__ == "__main__":
    main()
