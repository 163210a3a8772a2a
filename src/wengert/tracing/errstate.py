"""Error state: NumPy's floating-point alarms are counted while wengert works; its warnings name the user's line.

>>> under(IGNORING, lambda: (float(np.log(np.zeros(1))[0]), np.geterr()["divide"])), np.geterr()["divide"]
((-inf, 'ignore'), 'warn')
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import gc
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from wengert.errors import DomainWarning, Location
from wengert.program import current_line
from wengert.tracing.context import threads


def _warn(kind: str, flag: int) -> None:
    """Warn of a value outside a function's domain, where NumPy would."""
    context = threads.context
    context.alarms += 1
    if context.muted:
        return
    line = current_line()
    if line is None:
        warn_of_domain(kind, None)
        return
    primitive, place, operands = line
    what = f"the derivative of {primitive.name}" if operands is None else primitive.name
    if operands and all(np.ndim(v) == 0 for v in operands):
        what += f" of {', '.join(str(getattr(v, '_value', v)) for v in operands)}"
    location = Location.of(place)
    if location is None:
        warn_of_domain(f"{kind} in {what}", None)
        return
    message = f"{kind} in {what}, outside its domain; the value is NumPy's own:\n{location.excerpt()}"
    warn_of_domain(message, location)


def warn_of_domain(message: str, location: Location | None) -> None:
    """Warn at a place in the user's code, or put the warning off (`postponing_warnings`)."""
    postponed = threads.context.postponed
    if postponed is not None:
        postponed.append((message, location))
    elif location is None:
        warnings.warn(message, DomainWarning, stacklevel=3)
    else:
        warnings.warn_explicit(message, DomainWarning, location.file, location.line)


@contextlib.contextmanager
def postponing_warnings() -> Iterator[list[tuple[str, Location | None]]]:
    """Collect the warnings of this thread, for `warn_of_domain` where they are to be heard."""
    context = threads.context
    before, context.postponed = context.postponed, []
    try:
        yield context.postponed
    finally:
        context.postponed = before


YOUNG = 10_007
"""How many new objects Python makes before it looks for cyclic garbage (usually 700), while a call runs on a thread
whose last trace was long.  It is no round number, so that nobody else sets the same.

The rows of a long trace are new objects, none of them garbage, and to look through all objects of a process because
there are many new ones took as long as to record them: docs/design/0033."""
_lifted: dict[str, tuple[int, int, int]] = {}
"""The thresholds of the collector that were set before, once they have been lifted."""

# ---- Setting the error state, and putting it back ----

IGNORING = (("all", "ignore"),)
RAISING = (("divide", "raise"), ("over", "raise"), ("invalid", "raise"))
USUAL = (("divide", "warn"), ("over", "warn"), ("under", "ignore"), ("invalid", "warn"))
error_state: contextvars.ContextVar[Any] = np._core.umath._extobj_contextvar
"""Where NumPy keeps it.  ``np.errstate`` takes ten times as long, and it is Python: Ctrl-C can come between any two of
its lines, and before the first of its ``__exit__``.  What a ``finally`` sets by one call of compiled code is set."""


@functools.lru_cache(maxsize=64)
def changed(state: Any, changes: tuple[tuple[str, str], ...]) -> Any:
    """Return the error state that ``np.errstate(**dict(changes))`` would make of one."""

    def change() -> Any:
        error_state.set(state)
        np.seterr(**dict(changes))  # type: ignore[arg-type]
        return error_state.get()

    return contextvars.Context().run(change)


@functools.lru_cache(maxsize=64)
def raising(state: Any) -> Any:
    """Return the error state in which NumPy raises where it would warn in this one."""
    return changed(state, RAISING)


@functools.lru_cache(maxsize=64)
def _watched(state: Any) -> tuple[Any, int]:
    """Return the error state in which `_warn` hears what NumPy would warn of in this one, and the alarms to begin with.

    What the user has asked NumPy to ignore or to raise stays as it is, and might have been an alarm.
    """

    def change() -> tuple[Any, int]:
        error_state.set(state)
        before = np.geterr()
        np.seterr(**{kind: "call" for kind, how in before.items() if how == "warn"})  # type: ignore[arg-type]
        np.seterrcall(_warn)
        return error_state.get(), int(before != dict(USUAL))

    return contextvars.Context().run(change)


def under(changes: tuple[tuple[str, str], ...], work: Callable[..., Any], *args: Any) -> Any:
    """Call a function in a changed error state: `IGNORING`, `RAISING`, or NumPy's `USUAL` one."""
    before = error_state.get()
    try:
        error_state.set(changed(before, changes))
        return work(*args)
    finally:
        error_state.set(before)


def watch(work: Callable[..., Any], *args: Any) -> Any:
    """Call a function so that NumPy's floating-point warnings name the line of the user's code they come from.

    Inside a trace this has been done already.  Else this is where a call begins, and where the thread's context is put
    back, whatever has happened in it.
    """
    context = threads.context
    if context.tapes:
        return work(*args)
    before, thresholds = error_state.get(), _thresholds_to_lift() if context.makes_many else None
    frozen, muted, place, alarms = context.frozen, context.muted, context.place, context.alarms
    try:
        if thresholds is not None:
            gc.set_threshold(YOUNG, *thresholds[1:])
        state, context.alarms = _watched(before)
        error_state.set(state)
        return work(*args)
    finally:  # at first without a call, so that Ctrl-C does not come between
        del context.tapes[:]
        context.frozen, context.muted, context.place, context.alarms = frozen, muted, place, alarms
        error_state.set(before)
        if thresholds is not None and gc.get_threshold()[0] == YOUNG:
            gc.set_threshold(*thresholds)


def _thresholds_to_lift() -> tuple[int, int, int] | None:
    """Return the thresholds of the collector of garbage if they are to be lifted while a call runs."""
    thresholds = gc.get_threshold()
    if thresholds[0] == YOUNG:  # another thread's call is running, or one was interrupted before it put them back
        return _lifted.get("from")
    if not 0 < thresholds[0] < YOUNG:
        return None
    _lifted["from"] = thresholds
    return thresholds
