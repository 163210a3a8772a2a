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
sys.path.insert(0, str(ROOT / "tests" / "packages"))  # whose cases these are

import fluids  # noqa: E402
from filterpy.kalman import MerweScaledSigmaPoints, UnscentedKalmanFilter  # noqa: E402
from test_packages import CASES  # noqa: E402

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


def unscented(x: Any) -> Any:
    """Predict by an unscented Kalman filter, which writes into an array that it made when it was made."""
    points = MerweScaledSigmaPoints(2, 0.1, 2.0, 1.0)
    kalman = UnscentedKalmanFilter(2, 1, 1.0, lambda z: z[:1], lambda z, dt: z * x[0], points)
    kalman.predict()
    return kalman.x[0]


REFUSED: dict[str, tuple[Callable[[Any], Any], list[float]]] = {
    "filterpy: UnscentedKalmanFilter": (unscented, [0.5]),
    "fluids: Colebrook": (lambda x: fluids.friction.Colebrook(x[0] * 1e5, x[1] * 1e-4), [1.2, 3.0]),
}


def agree(one: Any, other: Any, rtol: float) -> str:
    """Return what a cell says."""
    return "right" if np.allclose(one, other, rtol=rtol, atol=1e-6) else "WRONG"


def row(name: str) -> str:
    """Return the row of a function."""
    f, point = CASES[name]
    x = np.array(point)
    steps = 1e-5 * np.maximum(1.0, np.abs(x)) * np.eye(len(x))

    def differences(g: Callable[[Any], Any]) -> Any:
        return np.stack([(g(x + step) - g(x - step)) / (2 * np.sum(step)) for step in steps])

    gradient = wg.grad(f)(x)
    cells = [
        agree(gradient, differences(f), 1e-6),
        agree(wg.hessian(f)(x), differences(wg.grad(f)), 1e-5),
        agree(wg.jit(wg.grad(f))(x), gradient, 1e-10),
        agree(wg.vmap(wg.grad(f))(x[None])[0], gradient, 1e-10),
        agree(wg.trace(f)(x)(1.001 * x), f(1.001 * x), 1e-12),
    ]
    package, function = name.split(": ")
    return f"| {package} {version(package.replace('_', '-'))} | {function} | {' | '.join(cells)} |"


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
    table = ["", "| package | function | gradient | Hessian | jit | vmap | Program |", "|" + "---|" * 7, *rows, ""]
    return HEAD + "\n".join(table) + WHY + "\n".join(refused) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
