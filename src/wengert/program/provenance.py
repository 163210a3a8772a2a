"""Provenance: the line that is being computed, and through it the user's code behind a warning or an error.

A warning or error of NumPy does not name the line that was being computed.  A function that computes lines declares
which of its local variables hold the current line; generated code finds it by its own line number.  The stack of frames
leads from the report back to that function.  This costs nothing until something is reported.

>>> @computes_lines(lambda variables: (variables["primitive"], variables["place"], variables["values"]))
... def compute(primitive, values, place):
...     return primitive(*values)
>>> compute(lambda a, b: current_line().operands, [2.0, 3.0], (compute.__code__, 0))
[2.0, 3.0]
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from types import CodeType, FrameType
from typing import Any, NamedTuple, TypeVar

from wengert.errors import RawLocation
from wengert.program.primitive import Primitive

Function = TypeVar("Function", bound=Callable[..., Any])
Read = Callable[[Mapping[str, Any]], tuple[Primitive, RawLocation | None, Sequence[Any] | None]]

_readers: dict[CodeType, Callable[[FrameType], PresentLine | None]] = {}
"""For the code object of each function that computes lines: how to read the current line from its variables."""
ORIGIN = "__lines__"
"""The global of generated code that maps its lines to those of the Program: for each line of code the place of the line
it computes (None for other code) and the names of its operands; and the lines of the Program."""


class PresentLine(NamedTuple):
    """The line that is being computed: its primitive, place and operands (None while its derivative is computed)."""

    primitive: Primitive
    place: RawLocation
    operands: Sequence[Any] | None


def computes_lines(read: Read) -> Callable[[Function], Function]:
    """Declare that a function computes lines, and how to read primitive, place and operands from its variables."""

    def present(frame: FrameType) -> PresentLine | None:
        try:
            primitive, place, operands = read(frame.f_locals)
        except KeyError:
            return None  # it has not come to its first line yet
        return None if place is None else PresentLine(primitive, place, operands)

    def declare(function: Function) -> Function:
        _readers[function.__code__] = present
        return function

    return declare


def current_line() -> PresentLine | None:
    """Return the innermost line that is being computed and comes from the user's code; None if there is none."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        read = _read_generated if ORIGIN in frame.f_globals else _readers.get(frame.f_code)
        present = None if read is None else read(frame)
        if present is not None:
            return present
        frame = frame.f_back
    return None


def _read_generated(frame: FrameType) -> PresentLine | None:
    """Find the current line of generated code by its line number."""
    of_number, lines = frame.f_globals[ORIGIN]
    index, names = of_number[frame.f_lineno - 1]
    if index is None or lines[index].place is None:
        return None
    variables = frame.f_locals
    operands = [variables[name] if name in variables else frame.f_globals[name] for name in names]
    return PresentLine(lines[index].primitive, lines[index].place, operands)
