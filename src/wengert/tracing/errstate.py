"""Error state: NumPy's floating-point alarms are counted while wengert works; its warnings name the user's line."""

from __future__ import annotations

import warnings
from collections.abc import Callable
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
        warnings.warn(kind, DomainWarning, stacklevel=2)
        return
    primitive, place, operands = line
    what = f"the derivative of {primitive.name}" if operands is None else primitive.name
    if operands and all(np.ndim(v) == 0 for v in operands):
        what += f" of {', '.join(str(getattr(v, 'value', v)) for v in operands)}"
    location = Location.of(place)
    if location is None:
        warnings.warn(f"{kind} in {what}", DomainWarning, stacklevel=2)
        return
    message = f"{kind} in {what}, outside its domain; the value is NumPy's own:\n{location.excerpt()}"
    warnings.warn_explicit(message, DomainWarning, location.file, location.line)


_USUAL = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}


@np.errstate(call=_warn, divide="call", over="call", invalid="call")
def _watched(work: Callable[..., Any], args: Any) -> Any:
    return work(*args)


def watch(work: Callable[..., Any], *args: Any) -> Any:
    """Call a function so that NumPy's floating-point warnings name the line of the user's code they come from.

    What the user has asked NumPy to ignore or to raise stays as it is; inside a trace this has been done already.
    """
    context = threads.context
    if context.tapes:
        return work(*args)
    context.alarms = 0
    state = np.geterr()
    if state == _USUAL:
        try:
            return _watched(work, args)  # the decorated form costs half of a context manager
        except KeyboardInterrupt:
            np.seterr(**_USUAL)  # Ctrl-C may have come just before NumPy's own `try`
            raise
    context.alarms = 1
    warned: dict[str, Any] = {kind: "call" for kind, how in state.items() if how == "warn"}
    with np.errstate(call=_warn, **warned):
        return work(*args)
