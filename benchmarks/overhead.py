"""What differentiating costs beside the function itself: `wg.grad`, nothing compiled, against HIPS autograd's `grad`.

Both run the very same code on the same small arguments.  "worst" is the largest ratio of a round.  Two more tables are
of calls that should cost nothing: `Program()` beside the code that it runs, for the Programs of these functions and of
their gradients, and a row that a user has entered by `wg.define` beside the built-in one.

Run:  python benchmarks/overhead.py [--rounds 15]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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


# ---- Programs, and rows of the user's ----


def measure_program(name: str, rounds: int) -> Iterator[tuple[str, ...]]:
    from wengert.program.compiled import entry  # other checkouts, whose gradients are compared, may have none

    _, args, argnums = CASES[name]
    function = scalar(name, np)
    for title, transformed in ((name, function), (f"{name}: gradient", wg.grad(function, argnums))):
        program = wg.trace(transformed, argnums)(*args)
        values = [args[k] for k in argnums]
        calls = [partial(program, *values), partial(entry(program), *values)]
        for _ in range(20):  # it is compiled when it has been called often enough
            calls[0]()
        yield title, *compared(calls, rounds)


def compared(calls: list[harness.Call], rounds: int) -> list[str]:
    """Return the cells of two calls: microseconds of either, and their ratio."""
    for call in (*calls, *calls):
        call()
    one, other = harness.in_turn(calls, rounds, max(3, int(0.01 / harness.seconds(calls[-1], 3))))
    return [f"{1e6 * median(one):,.1f}", f"{1e6 * median(other):,.1f}", f"{harness.ratio(one, other):.2f}"]


tanh = wg.define("tanh, by a user", np.tanh, lambda y, _x: 1.0 - y * y)
sin = wg.define("sin, by a user", np.sin, lambda _y, x: np.cos(x))


def chain(tanh: Any, sin: Any, x: Any) -> Any:
    for _ in range(100):
        x = tanh(x) + sin(x)
    return np.sum(x)


def recurrence(tanh: Any, sin: Any, x: Any) -> Any:
    return np.sum(wg.scan(lambda c, u: (tanh(c) + sin(c) * u, None), x, np.linspace(0.5, 1.5, 1000))[0])


ROWS = {
    "100 steps of a number": (chain, 0.5),
    "100 steps of 100 numbers": (chain, np.linspace(0.1, 0.9, 100)),
    "scan of 1,000 steps": (recurrence, 0.5),
}


def measure_row(name: str, rounds: int) -> tuple[str, ...]:
    function, x = ROWS[name]
    pairs = (tanh, sin), (np.tanh, np.sin)
    calls = [partial(wg.grad(partial(function, *pair)), x) for pair in pairs]
    np.testing.assert_allclose(calls[0](), calls[1](), rtol=1e-10)
    return name, *compared(calls, rounds)


def main() -> None:
    rounds = harness.options(__doc__, rounds=15).rounds
    columns = ("function", "NumPy", "wengert", "autograd", "ratio", "worst")
    title = "gradient, nothing compiled: microseconds a call"
    harness.show(title, columns, (measure(name, rounds) for name in CASES))
    columns = ("Program", "Program()", "its code", "ratio")
    rows = (row for name in CASES for row in measure_program(name, rounds))
    harness.show("calls of Programs: microseconds", columns, rows)
    columns = ("function", "wg.define", "built-in", "ratio")
    title = "gradients with rows that a user has entered: microseconds"
    harness.show(title, columns, (measure_row(name, rounds) for name in ROWS))


if __name__ == "__main__":
    main()
