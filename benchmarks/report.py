"""Run the benchmarks that compare with other libraries, and write one table and one plot of all.

The results stand in `benchmarks/results/`: `table.md`, `ratios.png`, and the timings of each script as JSON lines.

Run:  python benchmarks/report.py [--only kernels gradbench] [--long]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results"

SHORT: dict[str, list[str]] = {
    "native": ["--rounds", "5"],
    "arrays": ["--rounds", "2"],
    "networks": ["--rounds", "3"],
    "long_traces": ["--rounds", "3"],
    "sparse": ["--rounds", "3"],
    "kernels": ["--rounds", "3"],
    "gradbench": ["--seconds", "0.5"],
}
LONG: dict[str, list[str]] = {
    "native": ["--rounds", "15"],
    "arrays": ["--rounds", "9"],
    "networks": ["--rounds", "9"],
    "long_traces": ["--rounds", "7", "--jax", "1"],
    "sparse": ["--rounds", "9"],
    "kernels": ["--rounds", "9"],
    "gradbench": ["--seconds", "1", "--size", "default"],
}
"""The options of each script."""


def run(name: str, arguments: Sequence[str]) -> None:
    """Run a script, which leaves its timings in the folder of results."""
    script = ["-m", "benchmarks.gradbench.driver"] if name == "gradbench" else [str(FOLDER / f"{name}.py")]
    environment = {**os.environ, "BENCHMARK_RESULTS": str(RESULTS)}
    subprocess.run([sys.executable, *script, *arguments], cwd=FOLDER.parent, env=environment, check=True)


def timings() -> list[dict[str, Any]]:
    """Return what stands in the folder of results, script by script."""
    lines = [line for path in sorted(RESULTS.glob("*.jsonl")) for line in path.read_text().splitlines()]
    return [json.loads(line) for line in lines]


def of_cases(records: Sequence[dict[str, Any]]) -> list[tuple[str, str, dict[str, dict[str, Any]]]]:
    """Return the benchmark, the case, and the timings by the library of each."""
    grouped = groupby(records, key=lambda record: (record["benchmark"], record["case"]))
    return [(*key, {record["library"]: record for record in group}) for key, group in grouped]


def table(records: Sequence[dict[str, Any]]) -> str:
    """Return a table in Markdown for each benchmark: ratios above 1 are where wengert is faster."""
    lines = [f"Python {platform.python_version()}, {platform.machine()}, {time.strftime('%Y-%m-%d')}; one thread.", ""]
    for benchmark, cases in groupby(of_cases(records), key=lambda entry: entry[0]):
        entries = list(cases)
        peers = list(dict.fromkeys(name for _, _, taken in entries for name in taken if name != "wengert"))
        lines += [f"## {benchmark}", "", f"| case | wengert | first call | {' | '.join(peers)} |"]
        lines.append("|---" + "|---:" * (2 + len(peers)) + "|")
        for _, case, taken in entries:
            own = taken["wengert"]
            ratios = [f"{taken[peer]['ratio']:.2f}" if peer in taken else "" for peer in peers]
            lines.append(f"| {case} | {own['seconds']:.3g} s | {own['first']:.3g} s | {' | '.join(ratios)} |")
        lines.append("")
    return "\n".join(lines)


def plot(records: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw the time of each other library over that of wengert, a row a case, on a logarithmic scale."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    entries = of_cases(records)
    peers = list(dict.fromkeys(name for _, _, taken in entries for name in taken if name != "wengert"))
    figure, axes = pyplot.subplots(figsize=(9, 2 + 0.17 * len(entries)), layout="constrained")
    for peer in peers:
        rows = [(taken[peer]["ratio"], k) for k, (_, _, taken) in enumerate(entries) if peer in taken]
        axes.plot(*zip(*rows, strict=True), "o", markersize=4, label=peer)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.grid(axis="x", color="0.85", linewidth=0.6)
    starts = [k for k, entry in enumerate(entries) if not k or entry[0] != entries[k - 1][0]]
    for start in starts:
        axes.axhline(start - 0.5, color="0.6", linewidth=0.6)
        axes.text(
            0.99, start - 0.4, entries[start][0], transform=axes.get_yaxis_transform(), fontsize=6, ha="right", va="top"
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_yticks(range(len(entries)), [case for _, case, _ in entries], fontsize=6)
    axes.set_ylim(len(entries) - 0.5, -0.5)
    axes.set_xlabel("time of a call over that of wengert (right of 1: wengert is faster)")
    figure.legend(loc="outside upper center", ncols=len(peers), fontsize=7)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="*", default=list(SHORT), choices=list(SHORT))
    parser.add_argument("--long", action="store_true", help="more rounds, larger sizes: about an hour")
    options = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    for name in options.only:
        run(name, (LONG if options.long else SHORT)[name])
    records = timings()
    (RESULTS / "table.md").write_text(table(records))
    plot(records, RESULTS / "ratios.png")
    print(f"written: {RESULTS / 'table.md'} and ratios.png, {len(records)} timings")


if __name__ == "__main__":
    main()
