"""Benchmarks run: small, for their tables alone; what they measure says nothing on a shared machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"

SMALL = {
    "overhead": ["--rounds", "1"],
    "short_functions": ["--rounds", "1", "--only", "Horner"],
    "examples": ["--rounds", "1", "--only", "black_scholes"],
    "jit": ["--rounds", "1"],
    "native": ["--rounds", "1", "--only", "reference: jacobian"],
    "arrays": ["--rounds", "1", "--largest", "1000", "--only", "stencil"],
    "networks": ["--rounds", "1", "--only", "64-64-10"],
    "long_traces": ["--rounds", "1", "--steps", "20"],
    "kernels": ["--rounds", "1", "--only", "correlation"],
    "loops": ["--rounds", "1", "--steps", "10"],
    "nested": ["--rounds", "1", "--steps", "3"],
    "native_loops": ["--rounds", "1", "--steps", "5", "--only", "runge-kutta"],
    "planning": ["--rounds", "1", "--size", "20"],
    "sparse": ["--rounds", "1", "--size", "6"],
    "starting": ["--rounds", "1", "--modules", "100"],
    "checkpoints": ["--steps", "100", "--size", "3"],
    "elimination": ["--rounds", "1", "--milliseconds", "5", "--points", "3", "--only", "RoeFlux_1d"],
    "executors": ["--rounds", "1", "--size", "50", "--points", "100"],
    "side_by_side": ["--before", str(FOLDER.parent), "--only", "rosenbrock", "--by", "time", "--rounds", "1"],
}
ROWS = {
    "overhead": "rosenbrock",
    "short_functions": "Horner",
    "examples": "black_scholes",
    "jit": "reference: jacobian",
    "native": "reference: jacobian",
    "arrays": "stencil float64",
    "networks": "64-64-10",
    "long_traces": "80 statements",
    "kernels": "correlation",
    "loops": "while_loop: grad",
    "nested": "while_loop",
    "native_loops": "runge-kutta",
    "planning": "chain",
    "sparse": "brusselator",
    "starting": "100 modules",
    "checkpoints": "checkpoint=30",
    "elimination": "RoeFlux_1d",
    "executors": "processes",
    "side_by_side": "overhead: rosenbrock",
}


def test_every_benchmark_is_run():
    assert set(SMALL) == {path.stem for path in FOLDER.glob("*.py")} - {"functions", "published", "harness", "report"}


@pytest.mark.parametrize("name", SMALL)
def test_a_benchmark_runs_and_prints_numbers(name):
    done = subprocess.run(
        [sys.executable, FOLDER / f"{name}.py", *SMALL[name]], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    row = next(line for line in done.stdout.splitlines() if ROWS[name] in line)
    assert re.search(r"\d", row.replace(ROWS[name], ""))


def test_the_report_has_a_table_and_a_plot_of_what_the_scripts_leave(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import report

    monkeypatch.setattr(report, "RESULTS", tmp_path)
    script = [sys.executable, FOLDER / "kernels.py", "--rounds", "1", "--only", "correlation", "durbin"]
    environment = {**os.environ, "BENCHMARK_RESULTS": str(tmp_path)}
    subprocess.run(script, env=environment, capture_output=True, timeout=300, check=True)
    records = report.timings()
    assert {record["case"] for record in records} == {"correlation", "durbin"}
    lines = report.table(records).splitlines()
    assert any(line.startswith("| durbin |") for line in lines)
    widths = {line.count("|") for line in lines if line.startswith("|")}
    assert len(widths) == 1
    report.plot(records, tmp_path / "ratios.png")
    assert (tmp_path / "ratios.png").stat().st_size > 1000


def test_a_race_leaves_out_what_fails_and_refuses_what_differs(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(FOLDER))
    import harness

    def failing():
        raise RuntimeError("not built")

    taken = harness.race("sums", {"one": lambda: lambda: sum(range(99)), "none": failing}, 1, 1e-4)
    assert [timing.library for timing in taken] == ["one"]
    assert "none: RuntimeError: not built" in capsys.readouterr().err
    with pytest.raises(AssertionError):
        harness.race("sums", {"one": lambda: lambda: 1.0, "other": lambda: lambda: 1.1}, 1, 1e-4)
