"""Short loops: a loop of a few lines inside a body is written out on the body's trace, as Python's own loop would be.

To trace a step by itself, to see that the next one does the same, and to run the loop pays off from some hundred lines.
A loop that the code of the body would have written out (`unrolling`) is traced that way at once where nobody reads the
Program: in the derivative of a function, not in `wengert.trace`, and not where a plan counts what the lines cost.

>>> import numpy as np, wengert as wg
>>> def step(c, x):
...     return wg.fori_loop(0, 3, lambda i, c: np.sin(c) + i, c * x), None
>>> f = lambda w: wg.scan(step, w, np.ones(4))[0]
>>> print(wg.trace(f)(0.5).lines[0].held.programs[0].lines[1])
u_2 = fori_loop(u_1; 3 steps)
>>> round(float(wg.grad(f)(0.5)), 12) == round(float(wg.trace(wg.grad(f))(0.5)(0.5)), 12)
True
"""

from __future__ import annotations

import copy
import types
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from wengert.control.checkpoints import Policy
from wengert.control.state import reached_state, same_state
from wengert.control.unrolling import LONG
from wengert.primitives.numpy.structural import stack
from wengert.tracing import current_context

TRIED = 200
"""After so many lines a loop that lasts while a test holds is given up; others, if they would have more than LONG."""
MOST = 256
"""Of so many loops it is remembered whether they were short."""


def short_loop(policy: Policy, steps: int | None, *functions: Callable[..., Any]) -> ShortLoop | None:
    """Return the writer of a loop whose steps call these functions of the user's; None where it must be a line."""
    tapes = current_context().tapes
    if tapes[-1].captures is None or policy.checkpoint != "none" or (steps is not None and not 0 < steps <= LONG):
        return None
    for tape in tapes:
        if tape.captures is None and (tape.keep_all or tape.planned):
            return None
    key = getattr(functions[0], "__code__", None), steps
    return None if _was_short.get(key) is False else ShortLoop(tapes[-1], functions, key)


_Key = tuple[types.CodeType | None, int | None]
"""The code of a step, and the number of steps; None while a test holds."""
_was_short: OrderedDict[_Key, bool] = OrderedDict()
"""Whether loops were written to their ends, or given up."""


class ShortLoop:
    """A loop that is written out on the trace of a body, as long as it is short and no step decides on a value.

    Otherwise what was written is given up: nothing depends on it, so it is in no Program.  A body that draws random
    numbers, or keeps other state, would go on from there: its loop is written to its end, and so is one of a known
    number of steps that was short before (whose state is not looked at).
    """

    def __init__(self, tape: Any, functions: Sequence[Callable[..., Any]], key: _Key) -> None:
        self._tape, self._functions, self._key = tape, functions, key
        self._rows, self._guards = len(tape.rows), len(tape.guards)
        self._done = 0
        self._is_tried = key[1] is not None and key in _was_short
        self._state = [] if self._is_tried else reached_state(*functions)

    def in_users_code(self, work: Callable[[], Any]) -> Any:
        """Run what the user wrote: its lines carry their own places."""
        context = self._tape.context
        place, context.place = context.place, None
        try:
            return work()
        finally:
            context.place = place

    def own(self, value: Any) -> Any:
        """Return a value as a step is given it: one that the step may write into."""
        return copy.deepcopy(value) if value.shape else value

    def goes_on(self) -> bool:
        """Return, at each step, whether the loop is short and has decided on no value; give it up if not."""
        tape, steps = self._tape, self._key[1]
        if self._is_tried:
            if len(tape.guards) != self._guards:
                self._remember(False)
            return True
        self._done += 1
        lines = len(tape.rows) - self._rows
        is_short = lines <= TRIED if steps is None else lines * steps <= LONG * self._done
        if is_short and len(tape.guards) == self._guards:
            if self._done == steps:
                self._remember(True)
            return True
        if not same_state(self._state, reached_state(*self._functions)):
            return True
        del tape.guards[self._guards :]
        self._remember(False)
        return False

    def _remember(self, was_short: bool) -> None:
        if self._key[0] is not None:
            _was_short[self._key] = was_short
            while len(_was_short) > MOST:
                _was_short.popitem(last=False)


def stacked(rows: Sequence[Sequence[Any]]) -> list[Any]:
    """Stack what steps have collected."""
    return [stack(*column, axis=-1 - column[0].ndim) for column in zip(*rows, strict=True)]
