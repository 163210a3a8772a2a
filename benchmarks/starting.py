"""What it costs to start a trace: the gradient of x * x, with few and with many modules loaded that bind functions.

Names of functions are bound to wrappers while a trace runs (see `wengert.tracing.names`): those of NumPy's makers, and
those that traced code has used.  "used" is how many modules a traced function has called a function of by its name.

Run:  python benchmarks/starting.py [--rounds 15] [--modules 2000]
"""

from __future__ import annotations

import sys
from statistics import median
from types import ModuleType

import harness  # isort: skip  # before NumPy

import wengert as wg

SOURCE = "from math import exp, log, sqrt\nfrom numpy import array, asarray, zeros\ndef f(x):\n    return sqrt(x)\n"


def load(count: int) -> list[ModuleType]:
    """Make modules as packages have them, which bind functions by name."""
    modules = [ModuleType(f"loaded_{k}") for k in range(count)]
    for module in modules:
        exec(SOURCE, vars(module))
        sys.modules[module.__name__] = module
    return modules


def start() -> float:
    """Return the gradient of a function that does next to nothing."""
    return float(wg.grad(lambda x: x * x)(3.0))


def main() -> None:
    options = harness.options(__doc__, rounds=15, modules=2000)
    rows = []
    modules: list[ModuleType] = []
    for count, used in ((0, 0), (options.modules, 0), (options.modules, 10), (options.modules, 100)):
        modules += load(count - len(modules))
        for module in modules[:used]:
            wg.grad(module.f)(2.0)
        (times,) = harness.in_turn([start], options.rounds, 500)
        rows.append((f"{count:,} modules", f"{used}", f"{1e6 * median(times):,.1f}"))
    harness.show("starting a trace", ("loaded", "used", "microseconds"), rows)


if __name__ == "__main__":
    main()
