"""The demonstration: it runs, and says what the reference text says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

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
