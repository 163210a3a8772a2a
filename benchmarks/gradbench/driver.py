"""A driver of GradBench's protocol: sends the tool its inputs, checks every answer, and prints what each takes.

"primal" and "derivative" are means over all runs, the first included, as GradBench scores them; "first" is the first
call of the derivative, which traces and compiles.  "C++" is what a derivative written by hand in C++ took
on another machine (one core of an AMD EPYC, November 2026): only ratios of ratios hold.

Run:  python -m benchmarks.gradbench.driver [--eval lse det] [--size measured] [--seconds 1]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from . import truth, workloads

ROOT = Path(__file__).parents[2]
SIZES = {"small": workloads.SMALL, "measured": workloads.MEASURED, "default": workloads.DEFAULT}
BY_HAND = {
    "ba": (1.45e-3, 8.52e-3, 13.6e-3, 162e-3, 60.6e-3, 793e-3),
    "det": (1.78e-6, 6.43e-6, 644e-6, 5.09e-3, 67.7e-3, 539e-3),
    "gmm": (149e-6, 336e-6, 2.43e-3, 4.77e-3, 16.3e-3, 51.1e-3, 64.4e-3, 409e-3),
    "ht": (4.79e-3, 20.9e-3, 4.02e-3, 22.5e-3, 4.54e-3, 36.3e-3),
    "kmeans": (52.4e-6, 62.2e-6, 5.06e-3, 3.17e-3, 88.3e-3, 97.5e-3),
    "llsq": (2.77e-6, 5.75e-6, 63.1e-6, 152e-6, 2.08e-3, 4.98e-3),
    "lse": (28.9e-6, 28.9e-6, 957e-6, 915e-6, 14.6e-3, 15.3e-3),
    "lstm": (2.39e-3, 15.7e-3, 20.1e-3, 161e-3, 67.9e-3, 942e-3),
    "ode": (26.9e-6, 2.65e-6, 494e-6, 18.8e-6, 33.9e-3, 180e-6),
    "particle": (None, 12e-3),
    "saddle": (None, 45e-3),
}
"""Seconds of the function and of its derivative for each size of `workloads.MEASURED`; the last two by differences."""


class Tool:
    """The tool as a process: one message out, one answer in.

    >>> with Tool() as tool:
    ...     print(tool.ask(kind="start"))
    {'id': 0, 'tool': 'wengert'}
    """

    def __init__(self) -> None:
        command = [sys.executable, "-m", "benchmarks.gradbench"]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.asked = 0

    def ask(self, **message: Any) -> dict[str, Any]:
        self.process.stdin.write(json.dumps({"id": self.asked, **message}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert answer["id"] == self.asked
        self.asked += 1
        return answer

    def __enter__(self) -> Tool:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def difference(answer: Any, expected: Any) -> str:
    """Return where an answer is not as expected, to 1e-4 relative above 1 and absolute below; '' where it is."""
    if isinstance(expected, dict):
        if not isinstance(answer, dict) or set(answer) != set(expected):
            return f"keys {list(answer)} for {list(expected)}"
        return next(filter(None, (difference(answer[name], expected[name]) for name in expected)), "")
    if isinstance(expected, (list, tuple, np.ndarray)):
        if not isinstance(answer, list) or len(answer) != len(expected):
            return f"{type(answer).__name__} for {len(expected)} values"
        if len(expected) and np.ndim(expected[0]) == 0 and np.ndim(answer) == 1:
            values = np.array(answer, dtype=float)
            wrong = ~(np.abs(values - expected) <= 1e-4 * np.maximum(1, np.abs(expected)))
            return f"{values[wrong][0]} for {np.array(expected)[wrong][0]}" if wrong.any() else ""
        return next(filter(None, map(difference, answer, expected)), "")
    wrong = not isinstance(answer, (int, float)) or not abs(answer - expected) <= 1e-4 * max(1, abs(expected))
    return f"{answer} for {expected}" if wrong else ""


def runs(tool: Tool, name: str, size: workloads.Size, seconds: float) -> Iterator[tuple[str, list[float], str]]:
    """Ask for each function of an eval; yield its name, the seconds of each run, and what is wrong with the answer."""
    data = workloads.make(name, size)
    if name != "hello":
        data |= {"min_runs": 1, "min_seconds": seconds}
    for function, expected in truth.answers(name, data).items():
        answer = tool.ask(
            kind="evaluate", module=name, function=function, input=data, description=workloads.label(size)
        )
        wrong = difference(answer["output"], expected) if answer["success"] else answer["error"]
        yield function, [1e-9 * timing["nanoseconds"] for timing in answer.get("timings", [])], wrong


def time_of(seconds: float) -> str:
    unit, factor = ("s", 1.0) if seconds >= 1 else ("ms", 1e3) if seconds >= 1e-3 else ("us", 1e6)
    return f"{seconds * factor:.3g} {unit}"


def rows(name: str, sizes: Sequence[workloads.Size], seconds: float) -> Iterator[tuple[str, ...]]:
    """Yield the lines of the table of an eval, those of wrong answers with what is wrong."""
    with Tool() as tool:
        tool.ask(kind="start", eval=name)
        assert tool.ask(kind="define", module=name)["success"]
        for size in sizes:
            done = list(runs(tool, name, size, seconds))
            for position, (function, times, wrong) in enumerate(done):
                if wrong or not times:
                    yield name, workloads.label(size), function, "", "", "", "", "", f"WRONG: {wrong}"
                    continue
                if position == 0 and len(done) == 2:
                    continue
                first = done[0][1] if len(done) == 2 else None
                mean = fmean(times)
                measured = workloads.MEASURED[name]
                by_hand = BY_HAND[name] if size in measured and name in BY_HAND else None
                hand = by_hand[2 * measured.index(size) + 1] if by_hand else None
                yield (
                    name,
                    workloads.label(size),
                    function,
                    time_of(fmean(first)) if first else "",
                    time_of(mean),
                    f"{mean / fmean(first):.2f}" if first else "",
                    time_of(times[0]),
                    f"{time_of(hand)} ({mean / hand:.2f})" if hand else "",
                    "right",
                )


COLUMNS = ("eval", "size", "function", "primal", "derivative", "ratio", "first", "C++ (ratio)", "answer")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--eval", nargs="*", default=list(workloads.DEFAULT), choices=list(workloads.DEFAULT))
    parser.add_argument("--size", default="measured", choices=list(SIZES))
    parser.add_argument("--seconds", type=float, default=1.0, help="for each function")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    table = Table(title="GradBench: means of all calls", title_justify="left")
    for k, column in enumerate(COLUMNS):
        table.add_column(column, justify="left" if k < 3 else "right")
    failed = False
    for name in options.eval:
        for row in rows(name, SIZES[options.size][name], options.seconds):
            table.add_row(*row)
            failed |= row[-1] != "right"
    console = Console()
    console.width = max(console.width, 140)
    console.print(table)
    sys.exit(failed)


if __name__ == "__main__":
    main()
