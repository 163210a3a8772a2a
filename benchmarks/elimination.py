"""What an elimination saves: products by both conventions, and the time of jitted Jacobians against the sweeps.

The first table counts: all products of local partials, and in brackets those by other factors than 1 and -1.
"planned" is what the portfolio takes, the Program written and counted, in milliseconds.  The second table times
`wg.jit(wg.jacobian(f, mode=...))` at one point and at many (by `wg.vmap`), in microseconds of the processor a point;
the ratios are those of the better sweep to the elimination.

Run:  python benchmarks/elimination.py [--rounds 9] [--milliseconds 2000] [--points 10000]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import Any

import harness  # isort: skip  # before NumPy
import functions
import numpy as np
import published

import wengert as wg

LENGTHS = functions.FUNCTIONS["robot_arm"].arguments()[1]


def reference(x: Any) -> Any:
    """The function of the reference text."""
    return np.array([x[0] * (x[1] - x[2]), x[2] * np.log(1 - x[0])])


def bow_tie(x: Any) -> Any:
    """Eight inputs, a waist of one, eight outputs."""
    waist = np.sin(np.sum(x * x))
    return np.cos(waist * np.arange(1.0, 9.0))


def arm(angles: Any) -> Any:
    return functions.robot_arm(np, angles, LENGTHS)


CASES: dict[str, tuple[Callable[..., Any], Any]] = {
    "reference": (reference, np.array([0.5, 2.0, 3.0])),
    "bow_tie": (bow_tie, np.linspace(0.1, 0.8, 8)),
    "RoeFlux_1d": (published.roe_flux, published.STATE),
    "RobotArm_6DOF": (published.robot_arm, published.ANGLES),
    "robot_arm, matrices": (arm, functions.FUNCTIONS["robot_arm"].arguments()[0]),
}
SHOWN = ("forward", "reverse", "Markowitz")


def counts(name: str, milliseconds: int) -> tuple[str, ...]:
    function, x = CASES[name]
    plans: list[wg.Plan] = []
    planned = harness.seconds(lambda: plans.append(wg.plan(function, effort="portfolio")(x)))
    rule = plans[0]["elimination"].eliminations
    search = wg.plan(function, effort="search", milliseconds=milliseconds)(x)["elimination"].eliminations
    shown = [*[rule[order] for order in SHOWN], next(iter(rule.values())), next(iter(search.values()))]
    return name, *[f"{c.products:,} ({c.unit_free:,})" for c in shown], next(iter(search)), f"{1e3 * planned:.0f}"


def times(name: str, rounds: int, points: int) -> tuple[str, ...]:
    function, x = CASES[name]
    modes = ("elimination", "forward", "reverse")
    jitted = [wg.jit(wg.jacobian(function, mode=mode)) for mode in modes]
    many = [wg.jit(wg.vmap(wg.jacobian(function, mode=mode))) for mode in modes]
    xs = x * np.linspace(0.99, 1.01, points)[:, None]
    cells = []
    for calls, repeats, each in (
        ([partial(call, x) for call in jitted], 50, 1),
        ([partial(call, xs) for call in many], 1, points),
    ):
        for call in calls:
            call(), call()
        measured = harness.in_turn(calls, rounds, repeats)
        cells += [f"{1e6 * median(seconds) / each:.3g}" for seconds in measured]
        cells.append(f"{min([harness.ratio(seconds, measured[0]) for seconds in measured[1:]]):.1f}")
    return name, *cells


def main() -> None:
    chosen = harness.options(__doc__, *CASES, rounds=9, milliseconds=2000, points=10_000)
    wg.jit(np.sin)(np.ones(2))  # imports what the first call of all imports
    columns: Sequence[str] = ("function", *SHOWN, "portfolio", "search", "found by", "planned")
    harness.show("products", columns, (counts(name, chosen.milliseconds) for name in chosen.only))
    once, often = (("elimination", "forward", "reverse", "ratio") for _ in range(2))
    columns = ("function", *once, *[f"{column}, many" for column in often])
    harness.show("microseconds a point", columns, (times(name, chosen.rounds, chosen.points) for name in chosen.only))


if __name__ == "__main__":
    main()
