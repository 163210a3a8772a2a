"""A driver of GradBench's protocol: sends the tool its inputs, checks every answer, and prints what each takes.

"primal" and "derivative" are means over all runs, the first included, as GradBench scores them, but in seconds of the
processor; "first" is the first call of the derivative, which traces and compiles.  "C++" is what a derivative written
by hand in C++ took on another machine (one core of an AMD EPYC, November 2026): its ratio says little below two.

Run:  python -m benchmarks.gradbench.driver [--eval lse det] [--size measured] [--seconds 1]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

ENVIRONMENT = dict(os.environ)  # the tool's is the user's: what the harness sets is for this process

from .. import harness  # isort: skip  # before NumPy
import numpy as np

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
        command = [sys.executable, "-m", "benchmarks.gradbench", "--processor"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, **pipes)
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


@dataclass(frozen=True)
class Row:
    """What a derivative took: seconds of each run, of each run of the function, and what is wrong with an answer."""

    name: str
    size: workloads.Size
    function: str
    primal: Sequence[float]
    times: Sequence[float]
    wrong: str

    @property
    def by_hand(self) -> float | None:
        """Return the seconds of C++ at this size, where they are known."""
        measured = workloads.MEASURED[self.name]
        known = self.size in measured and self.name in BY_HAND
        return BY_HAND[self.name][2 * measured.index(self.size) + 1] if known else None

    def shown(self) -> tuple[str, ...]:
        label = self.name, workloads.label(self.size), self.function
        if self.wrong:
            return *label, "", "", "", "", "", f"WRONG: {self.wrong}"
        mean, hand = fmean(self.times), self.by_hand
        primal, ratio = "", ""
        if self.primal:
            primal, ratio = harness.time_of(fmean(self.primal)), f"{mean / fmean(self.primal):.2f}"
        compared = f"{harness.time_of(hand)} ({mean / hand:.2f})" if hand else ""
        return *label, primal, harness.time_of(mean), ratio, harness.time_of(self.times[0]), compared, "right"

    def timings(self) -> list[harness.Timing]:
        """Return the row as the report takes it."""
        if self.wrong:
            return []
        mean, hand = fmean(self.times), self.by_hand
        case = " ".join(filter(None, (self.name, self.function, workloads.label(self.size))))
        own = harness.Timing(case, "wengert", mean, self.times[0], 1.0)
        return [own, harness.Timing(case, "C++ by hand, elsewhere", hand, hand, hand / mean)] if hand else [own]


def rows(name: str, sizes: Sequence[workloads.Size], seconds: float) -> Iterator[Row]:
    """Yield what the derivatives of an eval took, and each function whose answer is wrong."""
    with Tool() as tool:
        tool.ask(kind="start", eval=name)
        assert tool.ask(kind="define", module=name)["success"]
        for size in sizes:
            done = list(runs(tool, name, size, seconds))
            with_primal = len(done) == 2  # others ask for one result in four ways
            for function, times, wrong in done:
                if wrong or not with_primal or function != done[0][0]:
                    yield Row(name, size, function, done[0][1] if with_primal else [], times, wrong)


COLUMNS = ("eval", "size", "function", "primal", "derivative", "ratio", "first", "C++ (ratio)", "answer")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--eval", nargs="*", default=list(workloads.DEFAULT), choices=list(workloads.DEFAULT))
    parser.add_argument("--size", default="measured", choices=list(SIZES))
    parser.add_argument("--seconds", type=float, default=1.0, help="for each function")
    options = parser.parse_args()
    harness.pin()
    asked = (row for name in options.eval for row in rows(name, SIZES[options.size][name], options.seconds))
    measured: list[Row] = []

    def shown() -> Iterator[tuple[str, ...]]:
        for row in asked:
            measured.append(row)
            yield row.shown()

    title = "GradBench: means of all calls"
    harness.show(title, COLUMNS, shown(), labels=3)
    harness.save(title, [timing for row in measured for timing in row.timings()])
    sys.exit(any(row.wrong for row in measured))


if __name__ == "__main__":
    main()
