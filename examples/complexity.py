"""n passes against m: what the Jacobian of f: R^n -> R^m costs in each accumulation mode, counted and measured.

The family is ``f(x) = B tanh(A x)`` with 32 hidden values, so evaluating f takes about 32 (n + m) multiplications.
One sweep lets n grow at fixed m, the other m at fixed n.  Counts are those of `wg.plan`, which runs none of the passes.
Seconds are those of linearizing f and running all passes one by one (`wg.jacobian` takes them in blocks, which is
faster, and blurs the pattern).

Run:  python examples/complexity.py [--plot FILE.png]     (the plot needs the `plot` extra)
"""

import argparse
import statistics
import time

import numpy as np
from rich.console import Console
from rich.table import Table

import wengert as wg

HIDDEN = 32
FIXED = 16
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
MODES = ("forward", "reverse")
COLORS = {"forward": "#c1543a", "reverse": "#2f6f9f"}


def member(n, m, seed=0):
    """Return one function of the family, and a point."""
    rng = np.random.default_rng(seed)
    A, B = rng.normal(size=(HIDDEN, n)) / np.sqrt(n), rng.normal(size=(m, HIDDEN))
    return lambda x: B @ np.tanh(A @ x), rng.normal(size=n)


def seconds(work, budget=0.1, rounds=7):
    """Return the median time of a call, over as many as the budget allows (seven rounds at most, three at least)."""
    work()
    times = []
    while len(times) < 3 or (len(times) < rounds and sum(times) < budget):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def passes(f, x, mode):
    """Compute the Jacobian pass by pass: column by column in forward mode, row by row in reverse."""
    y, push = wg.linearize(f, x)
    if mode == "forward":
        return np.stack([push(seed) for seed in np.eye(x.size)], axis=1)
    return np.stack([push.T(seed) for seed in np.eye(y.size)])


def measure(n, m):
    """Return, for each mode, its passes, the operations of the whole Jacobian, and the seconds it took."""
    f, x = member(n, m)
    plan = wg.plan(f)(x)
    return {
        mode: (plan[mode].passes, plan[mode].operations, seconds(lambda mode=mode: passes(f, x, mode)))
        for mode in MODES
    }


def sweeps(sizes=SIZES, fixed=FIXED):
    """Return the two sweeps: a name, and the measurements by size."""
    return {
        f"n grows, m = {fixed}": {size: measure(size, fixed) for size in sizes},
        f"m grows, n = {fixed}": {size: measure(fixed, size) for size in sizes},
    }


def tabulate(name, sweep):
    """Return a table of one sweep, the mode that takes fewer operations in bold."""
    letter = name[0]
    table = Table(title=name, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column(letter, justify="right")
    for heading in ("passes", "operations", "ms"):
        for mode in MODES:
            table.add_column(f"{heading}\n{mode}", justify="right", no_wrap=True)
    for size, row in sweep.items():
        best = min(MODES, key=lambda mode: row[mode][1])
        cells = [f"{size:,}"]
        for k in range(3):
            for mode in MODES:
                text = f"{1000 * row[mode][k]:.2f}" if k == 2 else f"{row[mode][k]:,}"
                cells.append(f"[bold green]{text}[/]" if mode == best and k < 2 else text)
        table.add_row(*cells)
    return table


def plot(measured, path, fixed=FIXED):
    """Draw operations and seconds of both sweeps, on logarithmic axes, and save the figure."""
    try:
        import matplotlib
    except ImportError:
        raise SystemExit('The plot is drawn by matplotlib: pip install "wengert[plot]"') from None
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import LogLocator

    figure, axes = plt.subplots(2, 2, figsize=(9, 6.4), sharex=True, sharey="row", layout="constrained")
    for column, (name, sweep) in enumerate(measured.items()):
        sizes = list(sweep)
        for row, (k, unit) in enumerate(((1, "operations"), (2, "seconds"))):
            ax = axes[row, column]
            for mode in MODES:
                values = [sweep[size][mode][k] for size in sizes]
                ax.plot(sizes, values, "o-", color=COLORS[mode], markersize=4, linewidth=1.6)
                steep = values[-1] == max(sweep[sizes[-1]][other][k] for other in MODES)
                ax.annotate(
                    f"{mode}: {'n' if mode == 'forward' else 'm'} passes",
                    (sizes[-1], values[-1]),
                    xytext=(-12, 0) if steep else (0, -12 if row else -52),
                    textcoords="offset points",
                    ha="right",
                    va="center" if steep else "top",
                    color=COLORS[mode],
                )
            ax.axvline(fixed, color="0.6", linewidth=0.8, linestyle=":")
            ax.set_xscale("log", base=2)
            ax.set_yscale("log")
            ax.yaxis.set_major_locator(LogLocator(numticks=8))
            ax.spines[["top", "right"]].set_visible(False)
            ax.grid(axis="y", color="0.92")
            if column == 0:
                ax.set_ylabel(f"{unit} of the Jacobian")
        axes[0, column].set_title(name)
        axes[1, column].set_xlabel(name[0])
        axes[0, column].annotate("n = m", (fixed, 0), (4, 6), ("data", "axes fraction"), "offset points", color="0.5")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--plot", metavar="FILE", help="save a plot (png, svg, pdf)")
    arguments = parser.parse_args()
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 120
    measured = sweeps()
    for name, sweep in measured.items():
        console.print(tabulate(name, sweep))
        console.print()
    console.print(
        f"Forward takes n passes, reverse m: they cross where n = m = {FIXED}, up to what one pass costs more."
    )
    if arguments.plot:
        plot(measured, arguments.plot)
        console.print(f"{arguments.plot} saved.")


if __name__ == "__main__":
    main()
