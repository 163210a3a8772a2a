"""The Program: a Wengert list with its operations.

>>> import wengert as wg
>>> program = wg.trace(lambda x: 2.0 * x + 1.0)(0.0)
>>> float(program(3.0)), program
(7.0, <Program f: R^1 -> R^1, 2 lines>)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from wengert.display import paragraph
from wengert.program.compiled import Traced, entry
from wengert.program.dataflow import walk
from wengert.program.interpretation import evaluate
from wengert.program.lines import Constant, WengertList
from wengert.program.listing import write_html, write_listing
from wengert.program.pickling import Portable, made_from, make_again
from wengert.program.primitive import Recordable
from wengert.program.source import write_source

WALKS = 10
"""This many calls interpret a Program; the next one compiles it, which takes about as long as they did together."""


@dataclass(frozen=True, slots=True, eq=False)
class Program(Portable, WengertList):
    """A function written down: arguments, lines, guards, results.  Call it to evaluate it.

    >>> import numpy as np, wengert as wg
    >>> program = wg.trace(lambda x: np.exp(2 * x))(0.5)
    >>> float(program(0.0)), len(program.lines)
    (1.0, 2)
    """

    _calls: int = field(default=0, init=False)
    _run: Callable[..., Any] | None = field(default=None, init=False)

    def __call__(self, *args: Any) -> Any:
        run = self._run
        if run is None:
            if self._calls < WALKS:
                object.__setattr__(self, "_calls", self._calls + 1)
                return evaluate(self, *args)
            run = self._compile()
        leaves = args if self.trees is None else self.trees.split(args)
        if len(leaves) != len(self.arguments):
            return evaluate(self, *args)  # raises an error that names the expected arguments
        try:
            returned = run(*leaves)
        except Traced:
            return evaluate(self, *args)
        if self.trees is None:
            return returned
        return self.trees.join((returned,) if self.single else returned)

    def _compile(self) -> Callable[..., Any]:
        """Compile the Program to a fast function, unless it reads values of an enclosing trace."""
        atoms = (*self.outputs, *[a for line in self.lines for a in line.inputs])
        reads_traced = any(isinstance(a, Constant) and isinstance(a.value, Recordable) for a in atoms)
        run = _walked if reads_traced else entry(self)
        object.__setattr__(self, "_run", run)
        return run

    __getstate__, __setstate__ = made_from, make_again

    def source(self) -> str:
        """Return the Program as NumPy code that runs by itself and computes the same values."""
        return write_source(self)

    def listing(self, places: bool = True) -> str:
        """Write the Program in the reference text's numbering; with `places`, each line with its place in the code."""
        return write_listing(self, places)

    def __str__(self) -> str:
        return self.listing()

    def _repr_html_(self) -> str:
        return paragraph(repr(self).strip("<>")) + write_html(self)

    def __repr__(self) -> str:
        n, m = sum(v.size for v in self.inputs), sum(math.prod(r.shape) for r in self.results)
        inside = len({id(line) for line in walk(self)}) - len(self.lines)
        more = f", {inside} in bodies" if inside else ""
        return f"<Program {self.name}: R^{n} -> R^{m}, {len(self.lines)} lines{more}>"


def _walked(*_args: Any) -> Any:
    raise Traced
