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
import json
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
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
    pin()
    return parser.parse_args()


def pin() -> None:
    """Stay on one processor, and the processes that are started from here as well."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


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


# ---- One case by several libraries ----


@dataclass(frozen=True)
class Timing:
    """What a library takes for a case: seconds of a call and of the first one, and the ratio to the library before."""

    case: str
    library: str
    seconds: float
    first: float
    ratio: float


def race(
    case: str, makers: Mapping[str, Callable[[], Call]], rounds: int, lasting: float = 0.02, single: float = 1e-3
) -> list[Timing]:
    """Time what each of the makers makes, side by side, after comparing the results with those of the first.

    A round of each library lasts so many seconds at least.  Ratios are to the first library, within a round; one whose
    calls fail is left out, with a word on standard error.  Results in single precision agree to `single`.
    """
    calls: dict[str, Call] = {}
    firsts: dict[str, float] = {}
    expected: list[Any] = []
    for library, make in makers.items():
        start = time.process_time()
        try:
            call = make()
            result = [np.asarray(leaf) for leaf in _leaves(call())]
        except Exception as error:
            print(f"{case}: {library}: {type(error).__name__}: {str(error).splitlines()[0]}", file=sys.stderr)
            continue
        firsts[library] = time.process_time() - start
        calls[library] = call
        expected = expected or result
        for a, b in zip(result, expected, strict=True):
            tolerance = single if b.dtype == np.float32 else 1e-6
            assert np.allclose(a, b, rtol=tolerance, atol=tolerance * np.max(np.abs(b), initial=0)), (case, library)
    repeats = 1
    for call in calls.values():
        warm(call, 1.0 if call is next(iter(calls.values())) else 0.2)
        repeats = max(repeats, int(lasting / max(seconds(call), 1e-7)))
    times = dict(zip(calls, in_turn(list(calls.values()), rounds, min(repeats, 10_000)), strict=True))
    fastest = next(iter(times.values()))
    return [
        Timing(case, library, statistics.median(column), firsts[library], ratio(column, fastest))
        for library, column in times.items()
    ]


def warm(call: Call, lasting: float) -> None:
    """Call for a while, so that what compiles after some calls has done so: the first library does."""
    end = time.process_time() + lasting
    call()
    while time.process_time() < end:
        call()


def _leaves(result: Any) -> Iterator[Any]:
    if isinstance(result, (tuple, list)):
        for part in result:
            yield from _leaves(part)
    else:
        yield result


def show_races(title: str, peers: Sequence[str], races: Iterable[Sequence[Timing]]) -> None:
    """Print a row for each case: the seconds of wengert, of the peers with the ratio to it, and all first calls."""
    columns = ("case", "wengert", *peers, "first call", *[f"by {peer}" for peer in peers])
    timings: list[Timing] = []

    def rows() -> Iterator[Sequence[str]]:
        for race in races:
            timings.extend(race)
            taken = {timing.library: timing for timing in race}
            own = taken.get("wengert")
            if own is None:
                continue
            shown = [taken.get(peer) for peer in peers]
            times = [f"{time_of(peer.seconds)} ({peer.ratio:.2f})" if peer else "" for peer in shown]
            firsts = [time_of(peer.first) if peer else "" for peer in shown]
            yield own.case, time_of(own.seconds), *times, time_of(own.first), *firsts

    show(f"{title}: seconds of the processor (ratio to wengert)", columns, rows())
    save(title, timings)


def save(title: str, timings: Iterable[Timing]) -> None:
    """Write the timings for the report, where the environment names a folder in ``BENCHMARK_RESULTS``."""
    if folder := os.environ.get("BENCHMARK_RESULTS"):
        lines = [json.dumps({"benchmark": title, **asdict(timing)}) for timing in timings]
        path = Path(sys.argv[0])
        name = path.parent.name if path.stem == "driver" else path.stem
        (Path(folder) / f"{name}.jsonl").write_text("\n".join(lines) + "\n")


def time_of(seconds: float) -> str:
    """Return a time with its unit.

    >>> time_of(0.00025)
    '250 us'
    """
    unit, factor = ("s", 1.0) if seconds >= 1 else ("ms", 1e3) if seconds >= 1e-3 else ("us", 1e6)
    return f"{seconds * factor:.3g} {unit}"
