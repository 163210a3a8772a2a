"""What `wg.jit` saves: a derivative traced at every call, against the same traced once and run as straight code.

Both are called on the same small arguments.  "first" is what the first call of the jitted function takes (it traces),
and "second" the second (it compiles), in calls of the eager one.

Run:  python benchmarks/jit.py [--rounds 15]
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


def reference(x: Any) -> Any:
    """The function of the reference text."""
    return np.array([x[0] * (x[1] - x[2]), x[2] * np.log(1 - x[0])])


def of_numpy(name: str) -> Callable[..., Any]:
    return partial(functions.FUNCTIONS[name].function, np)


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


def measure(name: str, rounds: int) -> tuple[str, ...]:
    function, args = CASES[name]
    jitted = wg.jit(function)
    eager, compiled = partial(function, *args), partial(jitted, *args)
    eager()
    first, second = harness.seconds(compiled), harness.seconds(compiled)
    slow, fast = harness.in_turn((eager, compiled), rounds, max(3, int(0.01 / harness.seconds(eager, 3))))
    assert not jitted.declined, f"{name} runs eagerly"
    once = median(slow)
    return (
        name,
        f"{1e6 * once:,.1f}",
        f"{1e6 * median(fast):,.1f}",
        f"{harness.ratio(slow, fast):.1f}",
        f"{first / once:.1f}",
        f"{second / once:.1f}",
    )


def main() -> None:
    rounds = harness.options(__doc__, rounds=15).rounds
    wg.jit(np.sin)(np.ones(2))  # imports what the first call of all imports
    columns = ("derivative", "eager", "jitted", "ratio", "first", "second")
    harness.show("eager against jitted: microseconds a call", columns, (measure(name, rounds) for name in CASES))


if __name__ == "__main__":
    main()
