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

from wengert.program import Program
from wengert.program.structure import exactly, structure
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
    key = key_of(program)
    return Form() if key is None else _known(key)


@functools.lru_cache(MOST)
def _known(_key: Any) -> Form:
    return Form(common=True)


def key_of(program: Program) -> Any:
    """Return the structure of a Program with the numbers among its particulars; None if it has no lasting key."""
    if len(program.lines) > LONGEST:
        return None
    known = structure(program, COPIED)
    if known is None:
        return None
    try:
        return known.key, tuple([_particular(value) for value in known.particulars])
    except TypeError:
        return None


def _particular(value: Any) -> Any:
    """Return what of a particular stands in the code that is written: all of a number, nothing of an array."""
    return None if type(value) is np.ndarray and not value.dtype.hasobject else exactly(value, COPIED)
