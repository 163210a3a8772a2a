"""Watching: NumPy's floating-point alarms are counted while wengert works, and its warnings name the user's line."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.errors import DomainWarning, Location, RawLocation
from wengert.program.compiled import line_at
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
        compiled = line_at(inner)
        if compiled is not None:
            line, values = compiled
            place = line.place
            what = f" in {line.primitive.name}{_of(values)}"
            break
        names = inner.f_locals
        if "primitive" in names and "place" in names and names["place"] is not None:
            place, primitive = names["place"], names["primitive"]
            in_sweep = names.get("values") is None
            what = f" in {'the derivative of ' * in_sweep}{primitive.name}{'' if in_sweep else _of(names['values'])}"
            break
        inner = inner.f_back  # type: ignore[assignment]
    location = Location.of(place)
    message = f"{kind}{what}"
    if location is None:
        warnings.warn(message, DomainWarning, stacklevel=2)
    else:
        message += f", outside its domain; the value is NumPy's own:\n{location.excerpt()}"
        warnings.warn_explicit(message, DomainWarning, location.file, location.line)


def _of(values: Sequence[Any]) -> str:
    """Name the operands of a line, where they are numbers."""
    if any(np.ndim(v) for v in values):
        return ""
    return f" of {', '.join(str(getattr(v, 'value', v)) for v in values)}"


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
