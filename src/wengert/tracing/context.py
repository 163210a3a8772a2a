"""Context: what a thread is tracing, and which place in the user's code rows carry that wengert writes itself.

>>> current_context().tapes
[]
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import Any

from wengert.errors import Location, RawLocation, caller


class Context:
    """The open tapes of a thread, the outermost first, and what holds for all of them."""

    __slots__ = (
        "alarms",
        "bound",
        "changed",
        "constants",
        "folds",
        "frozen",
        "leaves_plain",
        "makes_many",
        "muted",
        "needs_methods",
        "place",
        "postponed",
        "restarts",
        "tapes",
    )

    def __init__(self) -> None:
        self.tapes: list[Any] = []  # always the same list: machine code looks at it, too
        self.frozen: dict[Any, int] | None = None
        """In the body of a loop, the open tapes and their sizes at its start: older arrays must not change in it."""
        self.place: RawLocation | None = None
        """The place that rows carry; None where it is that of the caller."""
        self.alarms = 0
        """How often NumPy has reported a value outside a function's domain; 1 to be safe, where it must not report."""
        self.muted = False
        """True while a sweep runs for the first time: if it raises an alarm it runs again, carefully."""
        self.postponed: list[tuple[str, Location | None]] | None = None
        """Where warnings are collected that another thread or process gives: messages, and their places."""
        self.constants = False
        """True from when a maker of arrays has made a constant of the trace that runs."""
        self.changed: Any = None
        """The error about plain arrays that an earlier run has read and changed, and these: it copies others now."""
        self.leaves_plain = False
        """True where makers leave arrays plain, for the function hands them to compiled code."""
        self.restarts = False
        """True from when names have been bound to wrappers: the trace that runs starts again when its function ends."""
        self.needs_methods = False
        """True from when a method of a plain array has got a traced value: the next run patches the methods."""
        self.bound = False
        """True from the beginning of the outermost trace to its end, also where its tapes are set aside."""
        self.makes_many = False
        """True if the last trace was long, so that many objects are made while a call runs."""
        self.folds = False
        """True where functions that are differentiated on the trace that runs are folded while they are traced."""

    def clear(self) -> None:
        """Close every tape: what began outermost was interrupted."""
        self.tapes.clear()
        self.frozen = self.place = self.changed = None
        self.muted = self.leaves_plain = self.folds = False


OPEN_TAPES = "wengert.open_tapes"
"""The key of a thread's open tapes among what Python holds for the thread, where machine code looks them up."""


class _Threads(threading.local):
    def __init__(self) -> None:
        self.context = Context()
        if hasattr(ctypes, "pythonapi"):
            address = ctypes.cast(ctypes.pythonapi.PyThreadState_GetDict, _AddressOfDict)()
            ctypes.cast(address, ctypes.py_object).value[OPEN_TAPES] = self.context.tapes


_AddressOfDict = ctypes.PYFUNCTYPE(ctypes.c_void_p)


threads = _Threads()


def current_context() -> Context:
    """Return the context of this thread."""
    return threads.context


def at_place(write: Callable[[], Any]) -> Any:
    """Run something that records rows of its own; their place is that of the user's line that led here."""
    context = threads.context
    if context.place is not None:
        return write()
    context.place = caller()
    try:
        return write()
    finally:
        context.place = None
