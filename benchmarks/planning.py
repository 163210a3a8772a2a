"""What planning costs, and what it saves: of Jacobians and Hessians, small and large, dense and sparse.

"call" is a call of ``wg.jacobian(f)`` that does what one before did; "choosing" is what its choice takes of that, in
percent, and "anew" what it takes of the first call, whose structure is new: counts, pattern and colors.  "plan" is
``wg.plan(f)(x)`` with all candidates, and "other" what a call takes by another order of the dense matrix, to the time
of one that is planned.  "predicted" is the predicted time to the measured one.

Run:  python benchmarks/planning.py [--rounds 5] [--size 1000] [--only NAME...]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import Any

import harness  # isort: skip  # before NumPy
import numpy as np

import wengert as wg
from wengert import api
from wengert.planning import choice, compressions


def reference(x: Any) -> Any:
    """The function of the reference text."""
    return np.array([x[0] * (x[1] - x[2]), x[2] * np.log(1 - x[0])])


def statements(x: Any) -> Any:
    """A loop of 200 scalar statements."""
    total = x[0]
    for k in range(100):
        total = np.sin(total) * x[k % 10] + total / 2
    return np.array([total, x[1]])


def layers(x: Any) -> Any:
    """Two dense layers."""
    weights = np.random.default_rng(0).normal(size=(2, x.size, x.size)) / np.sqrt(x.size)
    return np.tanh(weights[1] @ np.tanh(weights[0] @ x))


def chain(x: Any) -> Any:
    """The residual of a chain, each element of which reads its neighbors."""
    return 2 * x[1:-1] - np.sin(x[1:-1]) - x[:-2] * x[2:]


def rosenbrock(x: Any) -> Any:
    """Rosenbrock's function, whose Hessian is tridiagonal."""
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


CASES: dict[str, tuple[Any, Callable[..., Any], int]] = {
    "reference": (wg.jacobian, reference, 3),
    "200 statements": (wg.jacobian, statements, 10),
    "layers": (wg.jacobian, layers, 0),
    "chain": (wg.jacobian, chain, 0),
    "rosenbrock's Hessian": (wg.hessian, rosenbrock, 0),
}
"""The derivative, the function, and its number of variables; 0 for the size that is asked for."""


def forget() -> None:
    """Forget what was planned."""
    choice._REMEMBERED.clear()
    compressions._PATTERNS.clear()
    compressions._COMPRESSIONS.clear()


def share(call: harness.Call, before: Callable[[], None], rounds: int) -> tuple[float, float]:
    """Return the seconds of a call, and those of the choice in it."""
    taken: list[float] = []
    choose = api.choose

    def timed(*args: Any) -> Any:
        chosen: list[Any] = []
        taken.append(harness.seconds(lambda: chosen.append(choose(*args))))
        return chosen[0]

    api.choose = timed
    try:
        times = []
        for _ in range(rounds):
            before()
            times.append(harness.seconds(call))
    finally:
        api.choose = choose
    return median(times), median(taken)


def measure(name: str, size: int, rounds: int) -> tuple[str, ...]:
    transformation, f, n = CASES[name]
    x = np.random.default_rng(0).uniform(0.1, 0.9, n or size)
    derivative = transformation(f)
    call = partial(derivative, x)
    call()
    whole, chosen = share(call, lambda: None, rounds)
    first, anew = share(call, forget, rounds)
    planning = harness.seconds(partial(derivative.plan, x))
    plan = derivative.plan(x)
    others = [c.name for c in plan.values() if c.compression is None and c.name != plan.chosen]
    other = partial(transformation(f, mode=others[0], sparse=False), x)
    calls = harness.in_turn([call, other], rounds)
    return (
        name,
        f"{x.size:,}",
        plan.chosen,
        f"{1e6 * whole:,.0f}",
        f"{100 * chosen / whole:.1f}",
        f"{100 * anew / first:.0f}",
        f"{1e3 * planning:,.2f}",
        f"{harness.ratio(calls[1], calls[0]):,.2f}",
        f"{plan[plan.chosen].seconds / median(calls[0]):.2f}",
    )


def rows(names: list[str], size: int, rounds: int) -> Iterator[tuple[str, ...]]:
    wg.jacobian(chain, sparse=True)(np.ones(8))  # imports what the first call of all imports
    for name in names:
        yield measure(name, size, rounds)


def main() -> None:
    options = harness.options(__doc__, *CASES, rounds=5, size=1000)
    columns = ("derivative", "n", "chosen", "call, us", "choosing, %", "anew, %", "plan, ms", "other", "predicted")
    harness.show("planning", columns, rows(options.only, options.size, options.rounds))


if __name__ == "__main__":
    main()
