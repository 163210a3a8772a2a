"""The demonstration and the sweep over n and m: they run, and say what the reference text says."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_demo_trains_to_over_95_percent_and_says_why_backpropagation_and_when_not():
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}  # other tests run beside it
    command = [sys.executable, EXAMPLES / "demo.py"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, env=alone)
    assert run.returncode == 0, run.stderr
    assert "\x1b" not in run.stdout
    assert re.search(r"forward +4,810 +[\d,]+ +[\d,]+ ", run.stdout)
    assert re.search(r"reverse +1 +[\d,]+ +[\d,]+ ", run.stdout)
    assert "The derivatives of cost are right in both modes." in run.stdout
    (right,) = re.findall(r"([\d.]+)% of the 450 test images", run.stdout)
    assert float(right) > 95
    assert "That is why backpropagation is for the win." in run.stdout
    assert "row-compressed: 3 passes instead of 99,998;" in run.stdout  # a tridiagonal Jacobian


def test_forward_takes_n_passes_and_reverse_m(tmp_path):
    complexity = runpy.run_path(str(EXAMPLES / "complexity.py"))
    fixed = 4
    measured = complexity["sweeps"](sizes=(1, 4, 16), fixed=fixed)
    n_grows, m_grows = measured.values()
    for size in (1, 4, 16):
        assert (n_grows[size]["forward"][0], n_grows[size]["reverse"][0]) == (size, fixed)
        assert (m_grows[size]["forward"][0], m_grows[size]["reverse"][0]) == (fixed, size)
    assert n_grows[1]["forward"][1] < n_grows[1]["reverse"][1]
    assert n_grows[16]["forward"][1] > n_grows[16]["reverse"][1]
    assert n_grows[4]["forward"][1] == n_grows[4]["reverse"][1]
    pytest.importorskip("matplotlib")
    complexity["plot"](measured, tmp_path / "c.png", fixed)
    assert (tmp_path / "c.png").stat().st_size > 10_000
