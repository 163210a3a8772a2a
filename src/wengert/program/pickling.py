"""Pickling: a value is pickled as its constructor arguments, behind a format number that is checked first.

Primitives are pickled by name, and places in the user's code as Locations.  Derived data, such as compiled code, is
left out and computed again when needed.

>>> import pickle, numpy as np, wengert as wg
>>> program = pickle.loads(pickle.dumps(wg.trace(lambda x: np.exp(2 * x))(0.5)))
>>> print(program.listing(places=False))
x = u_0
u_1 = 2 * u_0
u_2 = exp(u_1)  = y
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import MISSING, fields
from typing import Any

from wengert.errors import PickleError

FORMAT = 1
"""The number of the format; increase it when the pickled state of any class changes."""


class Portable:
    """The base of values that are pickled as the state from ``__getstate__``, behind the format and version."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        from wengert import __version__

        cls = type(self)
        return _blank, (FORMAT, __version__, cls.__module__, cls.__qualname__), self.__getstate__()


def _blank(form: int, version: str, module: str, name: str) -> Any:
    """Return an object whose state pickle sets next; raise PickleError if the format differs."""
    if form != FORMAT:
        from wengert import __version__

        raise PickleError(
            f"this {name} was pickled by wengert {version} in format {form}, and wengert {__version__} reads "
            f"format {FORMAT}.\nRun the same version of wengert in both processes, or make it anew and pickle that."
        )
    cls = getattr(importlib.import_module(module), name)
    return cls.__new__(cls)


# ---- Dataclasses with cached values ----


def made_from(value: Any) -> tuple[Any, ...]:
    """Return the state of a frozen dataclass: the values of its constructor's fields."""
    return tuple([getattr(value, one.name) for one in fields(value) if one.init])


def make_again(value: Any, state: Sequence[Any]) -> None:
    """Set the state of a frozen dataclass; its cached values start empty."""
    remaining = iter(state)
    for one in fields(value):
        fresh = one.default if one.default_factory is MISSING else one.default_factory()
        object.__setattr__(value, one.name, next(remaining) if one.init else fresh)
