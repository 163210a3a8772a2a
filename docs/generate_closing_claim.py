"""Write docs/closing_claim.md and its plot: n passes against m, counted by `wg.plan`, and measured.

Run ``python docs/generate_closing_claim.py`` (some minutes; the plot needs the `plot` extra).  A test writes the page
again without measuring, and compares all but what was measured.
"""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

import harness  # noqa: E402 - before NumPy, whose threads it limits
import numpy as np  # noqa: E402
from examples import load  # noqa: E402

import wengert as wg  # noqa: E402

PAGE = Path(__file__).with_name("closing_claim.md")
PLOT = PAGE.with_suffix(".png")
MODES = ("forward", "reverse")
COLORS = {"forward": "#c1543a", "reverse": "#2f6f9f"}
Call = Callable[[], Any]
UNITS = (86400.0, "days"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (0.0, "us")


class Clock:
    """Measures calls, or with `stopped` writes a mark where a measured number would be."""

    def __init__(self, stopped: bool = False, rounds: int = 5) -> None:
        self.stopped, self.rounds = stopped, rounds

    def seconds(self, call: Call) -> float:
        """Return the median time of a call; NaN if the clock is stopped."""
        if self.stopped:
            return math.nan
        call()
        (times,) = harness.in_turn([call], self.rounds)
        return median(times)

    def ratio(self, call: Call, other: Call) -> str:
        """Write how many times as long a call takes as another."""
        if self.stopped:
            return italic("?")
        call(), other()
        return italic(f"{harness.ratio(*harness.in_turn([call, other], self.rounds)):.1f}")


def italic(text: str) -> str:
    """Mark what was measured."""
    return f"*{text}*"


def written(seconds: float) -> str:
    """Write a measured time in its unit.

    >>> written(0.00123), written(86400.0 * 3)
    ('*1.2 ms*', '*3.0 days*')
    """
    if math.isnan(seconds):
        return italic("?")
    size, unit = next(unit for unit in UNITS if seconds >= unit[0])
    number = seconds / (size or 1e-6)
    return italic(f"{number:.0f} {unit}" if number >= 10 else f"{number:.1f} {unit}")


def tabulated(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table whose columns are numbers but for the first."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(["| " + " | ".join(line) + " |" for line in lines])


# ---- n against m ----


def chain(n, m):
    """Return the heights of m points on a chain of max(n, m) links that n angles bend."""
    links = max(n, m)

    def heights(angles):
        directions = np.cumsum(np.repeat(angles, links // n))
        return np.cumsum(np.sin(directions))[links // m - 1 :: links // m]

    return heights, np.cos(np.arange(n)) / 100


def seconds_of_passes(f: Callable[..., Any], x: Any, clock: Clock) -> dict[str, float]:
    """Return how long the Jacobian takes pass by pass: linearizing once, and the time of a pass for each."""
    y, push = wg.linearize(f, x)
    once = clock.seconds(lambda: wg.linearize(f, x))
    return {
        "forward": once + x.size * clock.seconds(lambda: push(x)),
        "reverse": once + y.size * clock.seconds(lambda: push.T(y)),
    }


def sweep(sizes: Sequence[int], m: int, clock: Clock) -> dict[int, tuple[Any, dict[str, float]]]:
    """Return the plans and the times of the chain for so many angles and m points."""
    measured = {}
    for n in sizes:
        f, x = chain(n, m)
        measured[n] = wg.plan(f)(x), seconds_of_passes(f, x, clock)
    return measured


def crossing(sizes: Sequence[int], forward: Sequence[float], reverse: Sequence[float]) -> float:
    """Return where two curves cross, on logarithmic axes; NaN if they do not.

    >>> crossing([1, 100], [1.0, 100.0], [10.0, 10.0])
    10.0
    """
    ahead = [math.log(a / b) for a, b in zip(forward, reverse, strict=True)]
    for k in range(1, len(sizes)):
        if ahead[k - 1] < 0 <= ahead[k]:
            share = ahead[k - 1] / (ahead[k - 1] - ahead[k])
            return round(math.exp((1 - share) * math.log(sizes[k - 1]) + share * math.log(sizes[k])), 9)
    return math.nan


def grid() -> str:
    """Write by how much the operations of both modes differ, where the Jacobian has at most a million entries."""
    powers = [10**k for k in range(7)]
    rows = []
    for n in powers:
        cells = []
        for m in powers:
            if n * m > powers[-1]:
                cells.append("")
                continue
            f, x = chain(n, m)
            plan = wg.plan(f)(x)
            forward, reverse = (plan[mode].operations for mode in MODES)
            more = max(forward, reverse) / min(forward, reverse)
            cells.append(f"{plan.chosen} {more:,.0f}x" if more >= 1.5 else f"equal ({plan.chosen})")
        rows.append([f"{n:,}", *cells])
    return tabulated(["n \\ m", *[f"{m:,}" for m in powers]], rows)


def compare(measured: dict[int, Any], clock: Clock, m: int) -> str:
    """Write the table of a sweep over n."""
    rows = []
    for n, (plan, seconds) in measured.items():
        f, x = chain(n, m)
        cells = [f"{plan[mode].operations:,}" for mode in MODES] + [written(seconds[mode]) for mode in MODES]
        rows.append([f"{n:,}", *cells, plan.chosen, written(clock.seconds(lambda f=f, x=x: wg.jacobian(f)(x)))])
    head = ["n", *[f"{mode}: operations" for mode in MODES], *[f"{mode}: time" for mode in MODES]]
    return tabulated([*head, "the plan takes", "`wg.jacobian`"], rows)


# ---- A million parameters ----

LAYERS = (784, 1024, 256, 10)


def cost(parameters, images, labels):
    """Return the cross-entropy of a network's outputs."""
    *hidden, last = parameters
    a = images
    for weights, biases in hidden:
        a = np.tanh(a @ weights + biases)
    logits = a @ last[0] + last[1]
    return np.mean(np.log(np.sum(np.exp(logits), axis=1)) - logits[np.arange(len(labels)), labels])


def network() -> tuple[Any, Any, Any]:
    """Return parameters of a network, images and labels."""
    rng = np.random.default_rng(0)
    parameters = [(rng.normal(size=(a, b)) / np.sqrt(a), np.zeros(b)) for a, b in pairwise(LAYERS)]
    return parameters, rng.normal(size=(16, LAYERS[0])), np.arange(16) % LAYERS[-1]


def million(clock: Clock) -> str:
    """Write what the gradient of a network's cost takes."""
    parameters, images, labels = network()
    plan = wg.plan(cost, 0)(parameters, images, labels)

    def pushed() -> Any:
        return wg.jvp(lambda p: cost(p, images, labels), (parameters,), (parameters,))

    one, gradient = clock.seconds(pushed), wg.grad(cost)
    times = {
        "forward": plan["forward"].passes * one,
        "reverse": clock.seconds(lambda: gradient(parameters, images, labels)),
    }
    rows = [
        [mode, f"{plan[mode].passes:,}", f"{plan[mode].operations:,}", written(times[mode])]
        for mode in sorted(MODES, key=lambda mode: plan[mode].passes)
    ]
    return f"{tabulated(['mode', 'passes', 'operations', 'time'], rows)}\n\n`{plan.reason}`"


# ---- A bow tie ----


def gas(n, m):
    """Return the populations of m levels in a gas of n particles, as a function of their velocities."""
    levels = np.linspace(0.0, 2.0, m)

    def populations(velocities):
        temperature = np.mean(np.sqrt(1.0 + velocities * velocities) - 1.0)
        return np.exp(-levels / temperature) * np.sqrt(levels + temperature)

    return populations, np.random.default_rng(0).normal(size=n)


BOW_TIES = {8: (*MODES, "elimination", "waist"), 16: (*MODES, "elimination", "waist"), 1000: (*MODES, "waist")}
"""The orders that are compared, by the numbers of arguments and of results."""


def bow_tie(clock: Clock) -> str:
    """Write what the Jacobian of a function with a waist takes."""
    rows = []
    for size, names in BOW_TIES.items():
        f, x = gas(size, size)
        plan = wg.plan(f, effort="portfolio")(x)
        for name in names:
            jacobian = wg.jit(wg.jacobian(f, mode=name))
            jacobian(x)
            calls = max(1, 800 // size)
            seconds = clock.seconds(lambda jacobian=jacobian, x=x, n=calls: [jacobian(x) for _ in range(n)]) / calls
            cells = [f"{plan[name].products:,}", f"{plan[name].operations:,}", written(seconds)]
            rows.append([f"{size:,}: {name}", *cells])
    return tabulated(["n = m", "products", "operations", "time, by `wg.jit`"], rows)


# ---- Cheap gradients ----

PROGRAMS: dict[str, dict[str, int]] = {
    "fluid": {"size": 32, "steps": 5},
    "lstm": {"hidden": 64, "length": 20, "count": 32},
    "char_rnn": {"hidden": 64, "length": 20, "count": 32},
    "gaussian_process": {"count": 200},
    "newton": {"count": 20000},
    "convnet": {"count": 32, "size": 34, "filters": 8},
    "mixture": {"count": 20000},
    "bundle_adjustment": {"cameras": 20, "points": 1500},
    "black_scholes": {"count": 20000},
    "logistic_regression": {"count": 20000, "features": 20},
}
ELEMENTWISE = ("kalman", "lotka_volterra", "springs")


def cheap(clock: Clock) -> str:
    """Write the ratio of what a value and its gradient take to what the value does, for the examples."""
    rows = []
    for name, sizes in PROGRAMS.items():
        f, args, argnums = load(name).problem(**sizes)
        plan = wg.plan(f, argnums)(*args)
        ratio = plan["reverse"].operations / plan.function.operations
        both = wg.value_and_grad(f, argnums)
        eager = clock.ratio(lambda both=both, args=args: both(*args), lambda f=f, args=args: f(*args))
        rows.append([f"`{name}`", f"{plan.n:,}", f"{plan.function.operations:,}", f"{ratio:.1f}", eager])
    return tabulated(["example", "n", "operations of f", "operations: ratio", "time: ratio"], rows)


def looped(clock: Clock) -> str:
    """Write the ratio of times where a function computes element by element."""
    parts = []
    for name in ELEMENTWISE:
        f, args, argnums = load(name).problem()
        both = wg.value_and_grad(f, argnums)
        parts.append(
            f"`{name}` {clock.ratio(lambda both=both, args=args: both(*args), lambda f=f, args=args: f(*args))}"
        )
    return ", ".join(parts)


# ---- The page ----

POINTS = 100
SIZES_BY_POINTS = {1: [10**k for k in range(7)], POINTS: [1, 3, 10, 30, 100, 300, 1000, 3000, 10000]}


def write(clock: Clock) -> tuple[str, dict[int, Any]]:
    """Return the page, and what the plot draws: the sweeps over n by m."""
    sweeps = {
        m: sweep([n for n in sizes if max(n, m) % min(n, m) == 0], m, clock) for m, sizes in SIZES_BY_POINTS.items()
    }
    ends = sweeps[POINTS]
    counted = crossing(list(ends), *[[plan[mode].operations for plan, _ in ends.values()] for mode in MODES])
    timed = math.nan
    if not clock.stopped:
        timed = crossing(list(ends), *[[seconds[mode] for _, seconds in ends.values()] for mode in MODES])
    tables = {
        "grid": grid(),
        "chain": inspect.getsource(chain),
        "cost": compare(sweeps[1], clock, 1),
        "points": compare(ends, clock, POINTS),
        "counted": f"{counted:,.0f}",
        "timed": italic("?" if math.isnan(timed) else f"{timed:,.0f}"),
        "layers": "-".join(map(str, LAYERS)),
        "million": million(clock),
        "gas": inspect.getsource(gas),
        "bow_tie": bow_tie(clock),
        "cheap": cheap(clock),
        "looped": looped(clock),
    }
    return TEXT.format(**tables), sweeps


TEXT = """\
# n passes against m: the closing claim, measured

*Written by `docs/generate_closing_claim.py`; a test counts again and compares. Numbers in italics are times, measured
on one core of one machine; all others are exact counts.*

The derivation by pen and paper ends with a claim: for `f: R^n -> R^m` forward accumulation takes n passes and reverse
accumulation m, so that reverse is the mode for models with millions of parameters and one cost. Here it is for one
family of functions: the heights of m points on a chain that n angles bend.

```python
import numpy as np

{chain}```

A pass costs about as much in either mode, so that only their number tells them apart. The cells say which mode
`wg.plan` takes, and how many times the operations of the other are:

{grid}

## One cost

With m = 1 the gradient takes one reverse pass, however many parameters there are. Times of the two modes are those of
linearizing once and of a pass, multiplied by the number of passes; the last column is a whole call of `wg.jacobian`,
which plans, and takes passes in blocks.

{cost}

## Where the curves cross

With m = 100 both modes cost the same where n = {counted} by the counts, and where n = {timed} by the times.

{points}

![Operations and seconds of both modes as n grows, for m = 1 and for m = 100](closing_claim.png)

## A million parameters

The cost of a network of layers {layers}, on 16 images:

{million}

## A bow tie: neither

Many arguments, one waist, many results: both modes go through everything n or m times, though all that the results
have of the arguments is one number.

```python
{gas}```

`mode="waist"` takes a reverse pass over what comes before the waist and a forward pass over the rest, for each number
there, and multiplies the two Jacobians; `mode="elimination"` eliminates one scalar after the other, and writes
straight-line code, which pays in time where there are few. With `effort="portfolio"` the plan compares both with the
passes ([how it is counted](complexity.md)); of the largest it takes the waist.

{bow_tie}

## The gradient is cheap

By the cheap gradient principle a function and its gradient together take no more than three to four times what the
function takes, memory traffic included (Griewank and Walther, *Evaluating Derivatives*). Ten [examples](../examples):
the ratio of `wg.value_and_grad` to the function, by counts and by the time of an eager call, which traces each time:

{cheap}

The two adjoints of a product of matrices are products of the same size, so that a network comes to three. What is
above four (`gaussian_process`) factorizes a matrix: the factor takes n^3/3 multiplications, and its adjoint products
and solutions of n^3 each.

Where a function computes number by number in a Python loop, an eager gradient takes longer than that, since recording
a line costs more than the line: {looped} times. [`wg.jit`](jit.md) records once.
"""


def plot(sweeps: dict[int, Any], path: Path) -> None:
    """Draw operations and seconds of the sweeps on logarithmic axes, and save the figure."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(2, len(sweeps), figsize=(9, 6.4), sharex="col", sharey="row", layout="constrained")
    for column, (m, measured) in enumerate(sweeps.items()):
        sizes = list(measured)
        curves = {
            "operations": {mode: [plan[mode].operations for plan, _ in measured.values()] for mode in MODES},
            "seconds": {mode: [seconds[mode] for _, seconds in measured.values()] for mode in MODES},
        }
        for ax, (unit, by_mode) in zip(axes[:, column], curves.items(), strict=True):
            for mode, values in by_mode.items():
                passes = "n passes" if mode == "forward" else f"{m:,} pass{'es' * (m > 1)}"
                ax.plot(sizes, values, "o-", color=COLORS[mode], markersize=4, linewidth=1.6, label=f"{mode}: {passes}")
            where = crossing(sizes, by_mode["forward"], by_mode["reverse"])
            if m > 1 and not math.isnan(where):
                ax.axvline(where, color="0.6", linewidth=0.8, linestyle=":")
                ax.annotate(
                    f"n = {where:,.0f}", (where, 0), (4, 6), ("data", "axes fraction"), "offset points", color="0.4"
                )
            ax.set_xscale("log")
            ax.set_yscale("log")
            ax.spines[["top", "right"]].set_visible(False)
            ax.grid(axis="y", color="0.92")
            ax.legend(frameon=False, loc="upper left")
            if column == 0:
                ax.set_ylabel(f"{unit} of the Jacobian")
        axes[0, column].set_title(f"m = {m:,}: {'one cost' if m == 1 else 'several results'}")
        axes[1, column].set_xlabel("n")
    figure.savefig(path, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    page, sweeps = write(Clock())
    PAGE.write_text(page)
    plot(sweeps, PLOT)
