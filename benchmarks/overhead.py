"""What differentiating costs beside the function itself: `wg.grad`, nothing compiled, against HIPS autograd's `grad`.

Both run the very same code on the same small arguments.  "worst" is the largest ratio of a round.

Run:  python benchmarks/overhead.py [--rounds 15]
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import harness  # isort: skip  # before NumPy
import functions
import numpy as np

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


def scalar(name: str, np: Any) -> Callable[..., Any]:
    """Return the sum of the elements of a case's result, computed in a namespace."""
    function = CASES[name][0]
    return lambda *args: np.sum(function(np, *args))


def gradient(name: str) -> harness.Call:
    """Return a call of the gradient."""
    _, args, argnums = CASES[name]
    return partial(wg.grad(scalar(name, np), argnums), *args)


CALLS = {name: partial(gradient, name) for name in CASES}


def measure(name: str, rounds: int) -> tuple[str, ...]:
    _, args, argnums = CASES[name]
    calls = [partial(scalar(name, np), *args), gradient(name)]
    if autograd := harness.peer("autograd"):
        import autograd.numpy as anp

        calls.append(partial(autograd.grad(scalar(name, anp), argnums), *args))
        for ours, theirs in zip(calls[1](), calls[2](), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)
    times = harness.in_turn(calls, rounds, max(3, int(0.02 / harness.seconds(calls[-1], 3))))
    cells = [f"{1e6 * median(column):,.1f}" for column in times]
    if len(times) > 2:
        worst = max(a / b for a, b in zip(times[1], times[2], strict=True))
        cells += [f"{harness.ratio(times[1], times[2]):.2f}", f"{worst:.2f}"]
    return name, *cells


def main() -> None:
    rounds = harness.options(__doc__, rounds=15).rounds
    columns = ("function", "NumPy", "wengert", "autograd", "ratio", "worst")
    title = "gradient, nothing compiled: microseconds a call"
    harness.show(title, columns, (measure(name, rounds) for name in CASES))


if __name__ == "__main__":
    main()
