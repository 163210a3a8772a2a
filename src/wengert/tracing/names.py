"""Names: the functions that names in modules mean while a trace runs, and those that they mean when none does.

``np.array`` and ``math.sin`` are wrappers while a trace runs.  Code that has such a function by ``from math import
sin``, or in a table, is found when the function asks for a plain number: `rebind` makes that name one of those, and the
trace starts again.  When no trace runs, every name means the function itself.

>>> import math, wengert as wg
>>> from math import sin
>>> inside = []
>>> _ = wg.grad(lambda x: inside.append(math.sin) or x)(1.0)
>>> inside[0] is sin, math.sin is sin
(False, True)
"""

from __future__ import annotations

import functools
import sys
import threading
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Scope = dict[Any, Any]
"""The globals of a module, or a table: what its names mean."""
_scopes: list[Scope] = []
_wrappers: list[dict[Any, Any]] = []
"""For each scope, what its names mean while a trace runs."""
_originals: list[dict[Any, Any]] = []
"""For each scope, what they mean when none does."""
wrapper_of: dict[int, tuple[Any, Any]] = {}
"""By the identities of functions: the functions, and the wrappers that stand in for them."""
_fixed = 0
"""How many scopes are those of the modules that the functions are from."""
_lock = threading.Lock()
_tracing: set[int] = set()
"""The threads that trace.  A set, not a number: what is left behind is put right by the thread's next trace."""
_loaded = 0
"""How many modules were loaded when the first of the running traces began."""


class Rebound(BaseException):
    """Traced code called a function by a name, which now means its wrapper: the trace starts again.

    It is no `Exception`, which the user's function may catch.
    """


def wrap(scope: Scope, wrappers: dict[str, Any], originals: dict[str, Any]) -> None:
    """Let names in the module that functions are from mean wrappers whenever a trace runs."""
    global _fixed
    _scopes.append(scope)
    _wrappers.append(wrappers)
    _originals.append(originals)
    _fixed = len(_scopes)
    wrapper_of.update((id(original), (original, wrappers[name])) for name, original in originals.items())


def rebind(scope: Scope, name: Any, wrapper: Any) -> None:
    """Let a name mean a wrapper, now and whenever a trace runs."""
    with _lock:
        original = scope[name]
        place = next((k for k, other in enumerate(_scopes) if other is scope), len(_scopes))
        if place == len(_scopes):
            _scopes.append(scope)
            _wrappers.append({})
            _originals.append({})
        _originals[place][name] = original
        _wrappers[place][name] = wrapper
        scope[name] = wrapper


class _Restoring:
    """What binds every name to the function itself when it is iterated over: by compiled code alone."""

    __iter__ = staticmethod(functools.partial(map, dict.update, _scopes, _originals))


_iterate = deque[None](maxlen=0).extend
_restoring = _Restoring()


def bound(start: Callable[[], None], call: Callable[..., Any], *args: Any) -> Any:
    """Call a function while names mean the wrappers, from when the first thread begins until the last has ended.

    The first begins by `start`.
    """
    thread = threading.get_ident()
    try:
        with _lock:
            first = not _tracing
            _tracing.add(thread)
            if first:
                start()
                _bind()
        return call(*args)
    finally:  # by calls of compiled code, each of which Ctrl-C finds done
        with _lock:
            try:
                _tracing.discard(thread)
            finally:
                if not _tracing:
                    _iterate(_restoring)
                    if len(sys.modules) != _loaded:
                        _clean(list(sys.modules.values())[_loaded:])


def _bind() -> None:
    """Bind all names to the wrappers, but those that their owners have bound to something else meanwhile."""
    global _loaded
    _loaded = len(sys.modules)
    for k in range(_fixed, len(_scopes)):
        scope, wrappers, originals = _scopes[k], _wrappers[k], _originals[k]
        if not originals.items() <= scope.items():
            for name in [name for name, original in originals.items() if scope.get(name) is not original]:
                del wrappers[name], originals[name]
    _iterate(map(dict.update, _scopes, _wrappers))


def _clean(modules: Iterable[types.ModuleType]) -> None:
    """Bind names in modules that were imported while a trace ran to the functions themselves."""
    originals = {id(wrapper): original for original, wrapper in wrapper_of.values()}
    for module in modules:
        scope = getattr(module, "__dict__", {})
        for name, value in list(scope.items()):
            if id(value) in originals:
                scope[name] = originals[id(value)]


def scopes_of(frame: types.FrameType) -> Iterator[tuple[Scope, Iterable[Any]]]:
    """Yield the dictionaries that code may have a function from, and names in them: globals, cells, and tables."""
    code = frame.f_code
    yield frame.f_globals, code.co_names
    yield frame.f_locals, code.co_freevars
    for scope, names in ((frame.f_globals, code.co_names), (frame.f_locals, list(frame.f_locals))):
        for table in map(scope.get, names):
            if type(table) is dict:
                yield table, list(table)
