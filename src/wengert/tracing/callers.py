"""Callers: what the code that asks something of a traced value wants of it, as its frame says.

User code takes a traced value for the array or scalar that it stands for; NumPy and SciPy, which build on the memory of
arrays, must not.

>>> import sys
>>> class Number:
...     def __float__(self):
...         return 1.0 if formats(sys._getframe(1)) else 2.0
>>> "%.1f" % Number(), float(Number())
('1.0', 2.0)
"""

from __future__ import annotations

import dis
import types

import numpy as np

from wengert.errors import Location

_INSIDE = frozenset({"numpy", "scipy", "wengert", "optree", "json"})
"""Packages that take a traced value for what it is: they would read the memory of an array, or skip its protocols."""
_PASS_ON = frozenset({"abc", "typing"})
"""Modules of Python in which the question is asked on behalf of their callers."""


def asks_inside(frame: types.FrameType | None) -> bool:
    """Return whether code of a package that takes traced values for what they are asks for the class of one."""
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name not in _PASS_ON:
            return name.partition(".")[0] in _INSIDE and frame.f_code is not np.isscalar.__code__
        frame = frame.f_back
    return False


def decides_inside(frame: types.FrameType | None) -> bool:
    """Return whether a function of NumPy's or SciPy's asks for a truth value: it checks what it was given, say."""
    while frame is not None and frame.f_globals.get("__name__") == "wengert.tracing.traced":
        frame = frame.f_back
    name = "" if frame is None else frame.f_globals.get("__name__", "")
    return name.partition(".")[0] in ("numpy", "scipy") or name.startswith("wengert.primitives.")


_SHUFFLES = frozenset({"shuffle", "permutation"})


def shuffles(frame: types.FrameType) -> bool:
    """Return whether a line calls ``rng.shuffle``, which is compiled, and asks whether it has a sequence."""
    if not _SHUFFLES.intersection(frame.f_code.co_names):
        return False
    location = Location.of((frame.f_code, frame.f_lasti))
    return location is not None and any(f"{name}(" in location.segment for name in _SHUFFLES)


def names_attribute(frame: types.FrameType, attribute: str) -> bool:
    """Return whether code asks for an attribute by name, rather than use what it stands for (a loop does)."""
    code = frame.f_code
    if dis.opname[code.co_code[frame.f_lasti]] in ("GET_ITER", "UNPACK_SEQUENCE", "UNPACK_EX"):
        return False  # Python would go on with x[0], x[1]... and find no element
    return attribute in code.co_consts or attribute in code.co_names


def asks_for_attribute(frame: types.FrameType) -> bool:
    """Return whether code asks for an attribute, ``x.exp`` or ``hasattr(x, "exp")``; a loop of NumPy's does not."""
    code, offset = frame.f_code, frame.f_lasti
    if dis.opname[code.co_code[offset]] in ("LOAD_ATTR", "LOAD_METHOD"):
        return True
    location = Location.of((code, offset))
    text = "" if location is None else location.segment
    return text.startswith(_ASKING) if text else any(f"{name}(" in _ASKING for name in code.co_names)


_ASKING = ("hasattr(", "getattr(")


_STORE = dis.opmap["STORE_SUBSCR"]
_FORMAT = next((i.opcode, i.arg) for i in dis.get_instructions(lambda a, b: a % b) if i.opname == "BINARY_OP")


def assigns(frame: types.FrameType) -> bool:
    """Return whether a line is assigning to a part of something, ``a[i] = t``."""
    return frame.f_code.co_code[frame.f_lasti] == _STORE


def takes_objects(frame: types.FrameType) -> bool:
    """Return whether what asks for a plain array can do with one of objects: ``a[i] = t`` cannot, nor SciPy."""
    return not assigns(frame) and not frame.f_globals.get("__name__", "").startswith("scipy")


def formats(frame: types.FrameType) -> bool:
    """Return whether what asks for a float is ``"%.3f" % t``: as in an f-string, it is for people to read."""
    code, k = frame.f_code.co_code, frame.f_lasti
    return (code[k], code[k + 1]) == _FORMAT
