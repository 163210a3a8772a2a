"""Write docs/works_with.md: published packages whose functions were differentiated, and those that are refused.

Run ``python docs/generate_works_with.py`` with the extra `packages` installed; a test compares.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import wengert as wg

ROOT = Path(__file__).parent.parent
PAGE = Path(__file__).with_name("works_with.md")
sys.path.insert(0, str(ROOT / "tests" / "packages"))  # whose cases and comparisons these are

import fluids  # noqa: E402
from test_packages import CASES, comparisons  # noqa: E402

COLUMNS = "gradient", "Hessian", "jit", "vmap", "Program"
HEAD = """\
# Works with

*Written by `docs/generate_works_with.py`, from the functions that the suite differentiates; a test compares.*

These functions of published packages were differentiated as they are, nothing rewritten. A cell says whether the
derivative agrees with differences of the function (gradient), with differences of the gradient (Hessian), or with the
gradient itself (`wg.jit`, `wg.vmap`); the Program with the function at another point.
"""

WHY = """
## What is refused, and why

A refusal is an error that names your line and the package's. In a package that cannot be changed, give the call a rule
by [`wg.custom_derivative`](../README.md), or hand it plain numbers.

"""


REFUSED: dict[str, tuple[Callable[[Any], Any], list[float]]] = {
    "fluids: VFD_efficiency": (lambda x: fluids.VFD_efficiency(x[0], load=x[1]), [3700.0, 0.7]),
}


def row(name: str) -> str:
    """Return the row of a function."""
    cells = dict.fromkeys(COLUMNS, "right")
    for column, actual, desired, rtol, atol in comparisons(name):
        if not np.allclose(actual, desired, rtol=rtol, atol=atol):
            cells[column] = "WRONG"
    package, function = name.split(": ")
    return f"| {package} {version(package.replace('_', '-'))} | {function} | {' | '.join(cells.values())} |"


def refusal(name: str) -> str:
    """Return the line of a function that is refused."""
    f, point = REFUSED[name]
    try:
        wg.grad(f)(np.array(point))
    except wg.errors.WengertError as error:
        return f"- `{name}`: {type(error).__name__}, {str(error).splitlines()[0].rstrip(':')}."
    raise SystemExit(f"{name} is differentiated now: enter it in tests/packages")


def page() -> str:
    """Return the page."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rows = [row(name) for name in CASES]
        refused = [refusal(name) for name in REFUSED]
    head = f"| package | function | {' | '.join(COLUMNS)} |"
    table = ["", head, "|" + "---|" * (2 + len(COLUMNS)), *rows, ""]
    return HEAD + "\n".join(table) + WHY + "\n".join(refused) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
