"""Forms: all data that depends only on the structure of a body, computed once for all traces of the body.

A gradient traces the body of a loop anew at every call, since it may draw other random numbers or take another branch.
Usually it does not, and the dependences of its results and its generated code are still valid.  These follow from the
*structure* of the Program: its primitives and their parameters, its operands, shapes, dtypes, decisions, and the
numbers among its constants.  Constant arrays are not part of it: each body passes its own to the code.

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
"""The number of forms in the cache; the least recently used are dropped."""
LONGEST = 400
"""The number of lines up to which Programs are compared: the comparison of longer ones takes too long."""


class Form:
    """The data that all bodies of one structure share.

    Attributes
    ----------
    activity
        The dependences of results on arguments.
    run
        The code of the step; None until it is written.
    outlines
        The step with its sweeps, by active arguments (see `linearized`).
    native
        The machine code of many steps, by how they are repeated (see `wengert.control.native`).
    common
        False for a form that belongs to one body alone.
    met
        True if the form is older than the body that it was last returned for.
    """

    __slots__ = ("activity", "common", "met", "native", "outlines", "run")

    def __init__(self, common: bool = False) -> None:
        self.activity: dict[Any, Any] = {}
        self.run: Any = None
        self.outlines: dict[Any, Any] = {}
        self.native: dict[Any, Any] = {}
        self.common, self.met = common, False


def form_of(program: Program) -> Form:
    """Return the form of a Program, shared with earlier Programs of the same structure."""
    key = key_of(program)
    return Form() if key is None else _shared_form(key)


@functools.lru_cache(MOST)
def _shared_form(_key: Any) -> Form:
    return Form(common=True)


def key_of(program: Program) -> Any:
    """Return the structure of a Program with the numbers among its particulars; None if it has no lasting key."""
    if len(program.lines) > LONGEST:
        return None
    shape = structure(program, COPIED)
    if shape is None:
        return None
    try:
        return shape.key, tuple([_particular(value) for value in shape.particulars])
    except TypeError:
        return None


def _particular(value: Any) -> Any:
    """Return the part of a particular that is written into the code: a number, but nothing of an array."""
    return None if type(value) is np.ndarray and not value.dtype.hasobject else exactly(value, COPIED)
