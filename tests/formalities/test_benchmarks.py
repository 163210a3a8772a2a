"""Benchmarks run: small, for their tables alone; what they measure says nothing on a shared machine."""

from __future__ import annotations

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
    "loops": ["--rounds", "1", "--steps", "10"],
    "nested": ["--rounds", "1", "--steps", "3"],
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
    "loops": "while_loop: grad",
    "nested": "while_loop",
    "planning": "chain",
    "sparse": "brusselator",
    "starting": "100 modules",
    "checkpoints": "checkpoint=30",
    "elimination": "RoeFlux_1d",
    "executors": "processes",
    "side_by_side": "overhead: rosenbrock",
}


def test_every_benchmark_is_run():
    assert set(SMALL) == {path.stem for path in FOLDER.glob("*.py")} - {"functions", "published", "harness"}


@pytest.mark.parametrize("name", SMALL)
def test_a_benchmark_runs_and_prints_numbers(name):
    done = subprocess.run(
        [sys.executable, FOLDER / f"{name}.py", *SMALL[name]], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    row = next(line for line in done.stdout.splitlines() if ROWS[name] in line)
    assert re.search(r"\d", row.replace(ROWS[name], ""))
