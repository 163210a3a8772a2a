"""Forms: what follows from the structure of a body alone is worked out once, however often the body is traced.

A gradient traces the body of a loop anew at every call, since it may draw other random numbers or take another branch.
Mostly it does not, and what is known of the last one holds: which results depend on which arguments, and the code that
was written for it.  All of that follows from the *structure* of the Program: its primitives and their parameters, what
each operand is, shapes, dtypes, decisions, and the numbers among its constants.  Arrays among these are left out, and
are handed to the code by each body.

>>> import numpy as np, wengert as wg
>>> def program(a):
...     return wg.trace(lambda x: x * a)(2.0)
>>> form_of(program(np.ones(2))) is form_of(program(np.zeros(2)))
True
>>> form_of(program(1.0)) is form_of(program(2.0))
False
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from wengert.passes.simplification import exactly
from wengert.program import Constant, Program
from wengert.tracing import COPIED

MOST = 64
"""So many forms are remembered, of those that were asked for last."""
LONGEST = 400
"""Longer Programs are not compared: what they take to run and to write is not the same for a short time."""


class Form:
    """What is known of all bodies of one structure.

    Attributes
    ----------
    activity
        Which results depend on which arguments.
    run
        The code of the step; None until it is written.
    outlines
        The step with its sweeps, for active arguments (see `kernels`).
    common
        False for a form that belongs to one body alone.
    met
        True if it was met before the body that asked last.
    """

    __slots__ = ("activity", "common", "met", "outlines", "run")

    def __init__(self, common: bool = False) -> None:
        self.activity: dict[Any, Any] = {}
        self.run: Any = None
        self.outlines: dict[Any, Any] = {}
        self.common, self.met = common, False


def form_of(program: Program) -> Form:
    """Return the form of a Program: that of those before it which had the same structure."""
    structure = structure_of(program)
    return Form() if structure is None else _known(structure)


@functools.lru_cache(MOST)
def _known(_structure: Any) -> Form:
    return Form(common=True)


def structure_of(program: Program) -> Any:
    """Return what Programs have in common for which the same code can be written, or None if that cannot be said."""
    if len(program.lines) > LONGEST:
        return None
    places: dict[Any, int] = {}
    parts: list[Any] = []
    for var in program.inputs:
        places[var] = len(places)
        parts.append((var.shape, var.dtype))
    try:
        for line in program.lines:
            if line.primitive.multiple:
                return None
            (var,) = line.outputs
            operands = tuple([_constant(a.value) if type(a) is Constant else places[a] for a in line.inputs])
            params = line.params
            exact = tuple([(name, exactly(value, COPIED)) for name, value in params.items()]) if params else ()
            parts.append((line.primitive, operands, exact, var.shape, var.dtype))
            places[var] = len(places)
        for atom in program.outputs:
            parts.append(_constant(atom.value) if type(atom) is Constant else places[atom])
    except TypeError:
        return None
    parts += [(places[guard.var], type(guard.value), guard.value) for guard in program.guards]
    return tuple(parts)


def _constant(value: Any) -> Any:
    if type(value) is np.ndarray and not value.dtype.hasobject:
        return np.ndarray, value.shape, value.dtype
    return exactly(value, COPIED)
