"""Codes: functions of other packages that ask first, while a trace runs, whether their arguments are traced.

``from scipy.special import logsumexp`` binds the function itself, so nothing that is done to SciPy's module would reach
it: its own code is replaced for as long as a trace runs.  That is done for those functions that a traced value has come
into: they are found by the frames between the trace and what a traced value was asked for, or between it and an error.
So a function that no trace has needed costs nothing.

>>> import wengert as wg
>>> from scipy.special import logsumexp
>>> own, inside = logsumexp.__code__, []
>>> _ = wg.grad(lambda x: inside.append(logsumexp.__code__) or logsumexp([x, 1.0]))(1.0)
>>> inside[-1] is own, logsumexp.__code__ is own
(False, True)
"""

from __future__ import annotations

import functools
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import CodeType, FrameType, FunctionType
from typing import Any

_functions: list[FunctionType] = []
"""Functions that ask first whenever a trace runs."""
_asking_codes: list[CodeType] = []
_own_codes: list[CodeType] = []
"""For each of them, the code that it has while a trace runs, and the code that it has when none does."""
_waiting: dict[FunctionType, Callable[[], CodeType]] = {}
"""Functions that do not, with what makes the code that asks first."""
_functions_of: dict[int, list[FunctionType]] = {}
"""All these functions by the identities of their own codes, which the functions of one decorator share."""
_of_package: dict[str, list[FunctionType]] = {}
"""Functions that objects of a package may come into which hold traced values, and that ask nothing of those."""
_lent: dict[FunctionType, Callable[[], CodeType]] = {}
"""Functions that ask first until the running traces have ended."""
_lent_codes: list[CodeType] = []
"""For each of them, its own code."""
_packages: set[str] = set()
"""Packages whose functions do so."""

_CODE = itertools.repeat("__code__")
_iterate = deque[None](maxlen=0).extend


def enter(function: FunctionType, make: Callable[[FunctionType], CodeType], package: str = "") -> None:
    """Enter a function, with what makes the code that asks first, and the package whose objects it may be called on."""
    _waiting[function] = functools.cache(functools.partial(make, function))
    _functions_of.setdefault(id(function.__code__), []).append(function)
    if package:
        _of_package.setdefault(package, []).append(function)


def running_in(frames: Iterable[FrameType]) -> Iterator[FunctionType]:
    """Yield the functions that run in some frames and do not ask first so far."""
    for frame in frames:
        for function in _functions_of.get(id(frame.f_code), ()):
            cells = zip(frame.f_code.co_freevars, function.__closure__ or (), strict=True)
            if function in _waiting and all(frame.f_locals[name] is cell.cell_contents for name, cell in cells):
                yield function


def redirect(functions: Iterable[Any]) -> bool:
    """Let functions ask first, now and whenever a trace runs; return whether there was one that did not so far."""
    waiting = [function for function in functions if function in _waiting]
    for function in waiting:
        asking = _waiting.pop(function)()
        _own_codes.append(function.__code__)
        _asking_codes.append(asking)
        _functions.append(function)
        function.__code__ = asking
    return bool(waiting)


def lend(package: str) -> None:
    """Let all functions of a package ask first until the running traces have ended: its objects hold traced values."""
    if package not in _packages:
        _packages.add(package)
        for function in [function for function in _of_package[package] if function in _waiting]:
            _lent[function] = _waiting.pop(function)
            _lent_codes.append(function.__code__)
            function.__code__ = _lent[function]()


def replace() -> None:
    """Replace the codes of the functions that ask first whenever a trace runs."""
    if _functions:
        _iterate(map(setattr, _functions, _CODE, _asking_codes))


def put_back() -> None:
    """Give all functions their own codes back: by calls of compiled code, each of which Ctrl-C finds done."""
    if _functions:
        _iterate(map(setattr, _functions, _CODE, _own_codes))
    if _packages:
        _iterate(map(setattr, _lent, _CODE, _lent_codes))
        _waiting.update(_lent)
        _lent.clear()
        _lent_codes.clear()
        _packages.clear()
