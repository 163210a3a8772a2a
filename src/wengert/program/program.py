"""The Program: a Wengert list with all that can be done to it.

>>> import wengert as wg
>>> program = wg.trace(lambda x: 2.0 * x + 1.0)(0.0)
>>> float(program(3.0)), program
(7.0, <Program f: R^1 -> R^1, 2 lines>)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from wengert.program.dataflow import walk
from wengert.program.interpretation import evaluate
from wengert.program.lines import WengertList
from wengert.program.listing import write_listing
from wengert.program.source import write_source


@dataclass(frozen=True, slots=True, eq=False)
class Program(WengertList):
    """A function written down: arguments, lines, guards, results.  Call it to evaluate it.

    >>> import numpy as np, wengert as wg
    >>> program = wg.trace(lambda x: np.exp(2 * x))(0.5)
    >>> float(program(0.0)), len(program.lines)
    (1.0, 2)
    """

    def __call__(self, *args: Any) -> Any:
        return evaluate(self, *args)

    def source(self) -> str:
        """Write the Program as NumPy code that runs alone and gives the same values."""
        return write_source(self)

    def listing(self, places: bool = True) -> str:
        """Write the Program in the reference text's numbering; with `places`, each line with its place in the code."""
        return write_listing(self, places)

    def __str__(self) -> str:
        return self.listing()

    def __repr__(self) -> str:
        n, m = sum(v.size for v in self.inputs), sum(math.prod(r.shape) for r in self.results)
        inside = len({id(line) for line in walk(self)}) - len(self.lines)
        more = f", {inside} in bodies" if inside else ""
        return f"<Program {self.name}: R^{n} -> R^{m}, {len(self.lines)} lines{more}>"
