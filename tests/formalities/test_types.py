"""What an editor and a type checker know of derivatives: what they take, and what they return."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TYPED = """
import numpy as np
import wengert as wg
from numpy.typing import NDArray

Vector = NDArray[np.float64]

def f(x: Vector, k: int = 2) -> float:
    return float(np.sum(x) ** k)

gradient: Vector = wg.grad(f)(np.ones(2), k=3)
value, gradient = wg.value_and_grad(f)(np.ones(2))
value.is_integer()
wg.jacobian(f, mode="reverse").plan(np.ones(2))["reverse"].products
wg.trace(f)(np.ones(2)).listing()
wg.grad(lambda x: x * x)(2.0)
"""
WRONG = {
    'wg.jacobian(f, mode="forwards")': "arg-type",
    'wg.hessian(f, mode="star-shaped")': "arg-type",
    "wg.grad(f)(3)": "arg-type",
    "wg.jacobian(f)(np.ones(2), 1, 2)": "call-arg",
    "wg.explained(f)": "attr-defined",
}


def test_types_of_derivatives(tmp_path):
    file = tmp_path / "typed.py"
    file.write_text(TYPED + "\n".join(WRONG) + "\n")
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", str(ROOT / "pyproject.toml"), str(file)]
    environment = {**os.environ, "MYPYPATH": str(ROOT / "src")}
    printed = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True).stdout
    errors = dict(re.findall(r"typed\.py:(\d+): error: .*\[([a-z-]+)\]", printed))
    first = TYPED.count("\n") + 1
    assert errors == {str(first + k): code for k, code in enumerate(WRONG.values())}, printed
