"""What the benchmarks share: one thread, calls that take turns, the peak of memory, options and tables.

Import it before NumPy, which reads the number of threads once.  Times are the processor's, so that what else the
machine does counts little, and ratios are medians over rounds of ratios within a round, so that a drift of its speed
does.

>>> slow, fast = in_turn([lambda: sum(range(20_000)), lambda: sum(range(1_000))], rounds=3)
>>> ratio(slow, fast) > 1
True
"""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
os.environ.setdefault("WENGERT_NATIVE", "off")  # it would take over while calls are measured; `native` turns it on
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import argparse
import gc
import importlib
import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

Call = Callable[[], Any]


def peer(module: str) -> Any:
    """Return a module of another library, None where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        return None


def seconds(call: Call, repeats: int = 1) -> float:
    """Return the processor's time that a call takes."""
    start = time.process_time()
    for _ in range(repeats):
        call()
    return (time.process_time() - start) / repeats


def in_turn(calls: Sequence[Call], rounds: int, repeats: int = 1) -> list[tuple[float, ...]]:
    """Time calls in turn; return for each the seconds of every round."""
    times = [[seconds(call, repeats) for call in calls] for _ in range(rounds)]
    return list(zip(*times, strict=True))


def ratio(times: Sequence[float], others: Sequence[float]) -> float:
    """Return the median over the rounds of the ratio within a round."""
    return statistics.median(a / b for a, b in zip(times, others, strict=True))


def peak(call: Call) -> int:
    """Return the most memory, in bytes, that a call holds at once: what `tracemalloc` sees, NumPy's arrays included."""
    call()
    gc.collect()
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def options(doc: str, *names: str, **defaults: int) -> argparse.Namespace:
    """Read the options of a benchmark from the command line: whole numbers, and which of the named cases to run."""
    parser = argparse.ArgumentParser(description=doc.partition("\n")[0])
    for option, default in defaults.items():
        parser.add_argument(f"--{option}", type=int, default=default, help=f"default {default:,}")
    if names:
        parser.add_argument("--only", nargs="*", choices=names, default=list(names))
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    return parser.parse_args()


def show(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], labels: int = 1) -> None:
    """Print a table, of which the first columns are labels."""
    table = Table(title=title, title_justify="left")
    for k, column in enumerate(columns):
        table.add_column(column, justify="left" if k < labels else "right")
    for row in track(rows, description="measuring", transient=True):
        table.add_row(*row)
    console = Console()
    console.width = max(console.width, 140)
    console.print(table)
