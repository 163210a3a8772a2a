"""Provenance: the line that is being computed, and so the user's code that a warning or an error is about.

What NumPy reports while a line is computed knows nothing of lines.  A function that computes lines one after the other
says how its variables name the present one, and generated code knows it by the number of its own line; the frames
between that function and the report lead back to it.  This costs nothing until something is reported.

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
"""By the code of functions that compute lines, how to read the present line from their variables."""
ORIGIN = "__lines__"
"""The global of generated code that says which line of which Program each of its own lines computes: for each of them
the place of that line (None for other code) and the names of its operands, and the lines of the Program."""


class PresentLine(NamedTuple):
    """A line that is being computed: its primitive, place and operands (None where its derivative is computed)."""

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
    """Read the present line of generated code from the number of its own."""
    of_number, lines = frame.f_globals[ORIGIN]
    index, names = of_number[frame.f_lineno - 1]
    if index is None or lines[index].place is None:
        return None
    variables = frame.f_locals
    operands = [variables[name] if name in variables else frame.f_globals[name] for name in names]
    return PresentLine(lines[index].primitive, lines[index].place, operands)
