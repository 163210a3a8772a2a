"""Watching: NumPy's floating-point alarms are counted while wengert works, and its warnings name the user's line."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from wengert.errors import DomainWarning, Location, RawLocation
from wengert.tracing.tape import threads

_getframe = sys._getframe


def _warn(kind: str, flag: int) -> None:
    """Called by NumPy where it would warn of a value outside a function's domain."""
    context = threads.context
    context.alarms += 1
    if context.muted:
        return
    frame = _getframe(1)
    inner = frame
    place: RawLocation | None = None
    what = ""
    while inner is not None:
        names = inner.f_locals
        if "primitive" in names and "place" in names and names["place"] is not None:
            place, primitive = names["place"], names["primitive"]
            values = names.get("values")
            of = ""
            if values is not None and all(np.ndim(v) == 0 for v in values):
                of = f" of {', '.join(str(getattr(v, 'value', v)) for v in values)}"
            what = f" in {primitive.name}{of}" if values is not None else f" in the derivative of {primitive.name}"
            break
        inner = inner.f_back  # type: ignore[assignment]
    location = Location.of(place)
    message = f"{kind}{what}"
    if location is None:
        warnings.warn(message, DomainWarning, stacklevel=2)
    else:
        message += f", outside its domain; the value is NumPy's own:\n{location.excerpt()}"
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
