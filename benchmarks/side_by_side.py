"""What a change costs: the calls of the other benchmarks under another checkout and under this one, side by side.

Where Valgrind is installed instructions are counted: that takes minutes, but shows a per cent on a busy machine.
Elsewhere the processor's time is taken, in rounds.  Each checkout has a process of its own, and both run the files of
this folder; the ratio of a case is now / before, and NaN where one of them cannot run it.

Run:  git worktree add ../before main
      python benchmarks/side_by_side.py --before ../before [--only overhead loops] [--by time] [--rounds 9]
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import harness  # isort: skip  # before NumPy

FOLDER = Path(__file__).parent
GROUPS = ("start", "parts", "overhead", "short_functions", "examples", "loops", "jit")
"""The groups of cases: starting, parts of the library, and the other benchmarks."""
START = {"start: import wengert": "wengert"}
"""What starting Python takes: modules, imported once."""
MARK = "getppid"  # Valgrind starts a new count where this function of the C library is called
SECONDS = {"instructions": 0.5, "time": 0.05}
"""How long the calls of a case are repeated, at least."""

# ---- A process for each checkout: it reads `[case, repeats]`, and answers with seconds ----


def parts() -> dict[str, Any]:
    """Return calls of single parts of the library, which the other benchmarks do not isolate."""
    import numpy as np

    import wengert as wg

    def statements(x: Any) -> Any:
        y = x[0]
        for k in range(1000):
            y = np.sin(y) + x[k % 3] if k % 2 else y * x[k % 3]
        return y

    def chain(x: Any) -> Any:
        for _ in range(20):
            x = x @ x / 64.0
        return np.sum(x)

    def recurrence(x: Any) -> Any:
        return wg.scan(lambda c, u: (np.tanh(c * x + u), c[0]), x, np.linspace(0.0, 1.0, 20))[1]

    def rows(x: Any, k: int) -> Any:
        return np.array([x[(i + k) % 5] * x[(3 * i + k) % 5] for i in range(180)])

    x3, x5, square = np.array([0.5, 2.0, 3.0]), np.linspace(0.1, 0.9, 5), np.eye(64) + 0.01
    jacobian = wg.jacobian(lambda x: rows(x, 0))
    numbers = iter(range(10**9))
    return {
        "grad of exp, a number": partial(wg.grad(np.exp), 0.5),
        "grad of 20 products 64 x 64": partial(wg.grad(chain), square),
        "trace of 1,500 lines": partial(wg.trace(statements), x3),
        "linearize 1,500 lines": partial(wg.linearize, statements, x3),
        "grad of 1,500 lines": partial(wg.grad(statements), x3),
        "vjp of x * x": lambda: wg.vjp(lambda x: x * x, x5)[1](x5),
        "jvp of x * x": partial(wg.jvp, lambda x: x * x, (x5,), (x5,)),
        "jacobian of a scan": partial(wg.jacobian(recurrence), x3),
        "jacobian of 180 rows": partial(jacobian, x5),
        "jacobian of 180 rows, others each time": lambda: wg.jacobian(partial(rows, k=next(numbers)))(x5),
        "plan of 180 rows": partial(wg.plan(lambda x: rows(x, 0)), x5),
        "hessian of a product": partial(wg.hessian(lambda x: np.prod(x) * x[0]), x5),
        "vmap of grad": partial(wg.vmap(wg.grad(lambda x: np.sum(np.sin(x) * x))), np.ones((20, 3))),
    }


def call_of(case: str) -> Any:
    """Return the call of a case."""
    if case in START:
        return partial(importlib.import_module, START[case])
    group, _, name = case.partition(": ")
    if group == "jit":
        import wengert as wg

        jit = importlib.import_module("jit")
        function, args = jit.CASES[name]
        return partial(wg.jit(function), *args)
    return parts()[name] if group == "parts" else importlib.import_module(group).CALLS[name]()


def work() -> None:
    """Run the cases that are asked for; answer with the seconds of a call, NaN where this checkout cannot run it."""
    warnings.simplefilter("ignore")
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what cases print goes elsewhere
    importlib.import_module("numpy")
    call: Any = None
    current = None
    for line in sys.stdin:
        case, repeats = json.loads(line)
        if case != current:
            call, current = None, case
            with contextlib.suppress(Exception):
                call = call_of(case)
                for _ in range(3 * (case not in START)):
                    call()
        gc.collect()
        gc.freeze()  # so that what a collection takes does not hang on what was imported and run before
        getattr(os, MARK)()
        taken = harness.seconds(call, repeats) if call else math.nan
        getattr(os, MARK)()
        print(json.dumps(taken), file=answers)


class Checkout:
    """The process that runs cases under a checkout."""

    def __init__(self, path: Path, by: str) -> None:
        self.counts = Path(tempfile.mkdtemp()) if by == "instructions" else None
        command = [sys.executable, str(Path(__file__)), "--work"]
        if self.counts:
            tool = ("--tool=callgrind", f"--dump-before={MARK}", f"--callgrind-out-file={self.counts}/out")
            command = ["valgrind", "--quiet", *tool, *command]
        environment = {**os.environ, "PYTHONPATH": str(path.resolve() / "src"), "PYTHONHASHSEED": "0"}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        subprocess.run([sys.executable, "-c", "import wengert"], env=environment, check=True)  # compiles the modules
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment, text=True)

    def ask(self, case: str, repeats: int) -> None:
        print(json.dumps([case, repeats]), file=self.process.stdin, flush=True)

    def answer(self) -> tuple[float, float]:
        """Return the seconds of a call, and the instructions of all (0 where they are not counted)."""
        seconds = float(json.loads(self.process.stdout.readline()))
        if not self.counts:
            return seconds, 0.0
        files = sorted(self.counts.glob("out.*"), key=lambda path: int(path.suffix[1:]))
        total = next(line for line in files[-1].read_text().splitlines() if line.startswith("totals:"))
        for path in files:
            path.unlink()
        return seconds, float(total.split()[1])

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        if self.counts:
            shutil.rmtree(self.counts)


# ---- Both, side by side ----


def compare(pair: list[Checkout], case: str, by: str, rounds: int) -> tuple[float, float, float]:
    """Return what a call takes before and now, and the ratio."""

    def both(repeats: int) -> list[tuple[float, float]]:
        for checkout in pair:
            checkout.ask(case, repeats)
        return [checkout.answer() for checkout in pair]

    if case in START:
        (before, now) = (answer[by == "instructions"] for answer in both(1))
        return before, now, now / before
    slowest = max(seconds for seconds, _ in both(2))
    if math.isnan(slowest):
        return math.nan, math.nan, math.nan
    repeats = max(2, math.ceil(SECONDS[by] / slowest))
    if by == "instructions":
        before, now = (count / repeats for _, count in both(repeats))
        return before, now, now / before
    times: list[list[float]] = [[], []]
    for _ in range(rounds):
        for checkout, column in zip(pair, times, strict=True):
            checkout.ask(case, repeats)
            column.append(checkout.answer()[0])
    return median(times[0]), median(times[1]), harness.ratio(times[1], times[0])


def cases_of(group: str) -> list[str]:
    if group == "start":
        return list(START)
    if group == "parts":
        return [f"parts: {name}" for name in parts()]
    module = importlib.import_module(group)
    return [f"{group}: {name}" for name in (module.CASES if group == "jit" else module.CALLS)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--before", type=Path, required=True, help="the other checkout")
    parser.add_argument("--only", nargs="*", default=list(GROUPS), help="groups, or cases by a part of their name")
    parser.add_argument("--by", choices=SECONDS, default="instructions" if shutil.which("valgrind") else "time")
    parser.add_argument("--rounds", type=int, default=9, help="of times")
    parser.add_argument("--bound", type=float, help="fail where a ratio is above it")
    options = parser.parse_args()
    cases = [case for group in GROUPS for case in cases_of(group) if any(part in case for part in options.only)]
    pair = [Checkout(path, options.by) for path in (options.before, FOLDER.parent)]
    unit, digits = ("thousands of instructions", 1e3) if options.by == "instructions" else ("microseconds", 1e-6)
    print(f"{unit + ' a call':<50}{'before':>14}{'now':>14}{'ratio':>8}")
    above = 0
    for case in cases:  # each is printed when it is there: all take minutes
        before, now, ratio = compare(pair, case, options.by, options.rounds)
        above += options.bound is not None and ratio > options.bound
        print(f"{case:<50}{before / digits:14,.1f}{now / digits:14,.1f}{ratio:8.3f}", flush=True)
    for checkout in pair:
        checkout.close()
    if above:
        sys.exit(f"above {options.bound}: {above} of {len(cases)}")


if __name__ == "__main__":
    work() if "--work" in sys.argv else main()
