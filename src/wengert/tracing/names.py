"""Names: the functions that names in modules mean while a trace runs, and those that they mean when none does.

``np.array`` is a wrapper while a trace runs.  Code that calls ``math.sin``, or has NumPy's ``array`` by a name of its
own or in a table, is found when the function asks for a plain number: `rebind` makes that name one of those, and the
trace starts again.  So a trace costs no more where many modules are loaded.  When none runs, every name means the
function itself.

>>> import math, wengert as wg
>>> from math import sin
>>> inside = []
>>> _ = wg.grad(lambda x: inside.append(math.sin) or math.sin(x))(1.0)
>>> inside[-1] is sin, math.sin is sin
(False, True)
"""

from __future__ import annotations

import functools
import sys
import threading
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

from wengert.tracing import codes
from wengert.tracing.context import threads

Scope = dict[Any, Any]
"""The globals of a module, or a table: what its names mean."""
_scopes: list[Scope] = []
_wrappers: list[dict[Any, Any]] = []
"""For each scope, what its names mean while a trace runs."""
_originals: list[dict[Any, Any]] = []
"""For each scope, what they mean when none does."""
wrapper_of: dict[int, tuple[Any, Any]] = {}
"""By the identities of functions: the functions, and the wrappers that stand in for them."""
original_of: dict[int, Any] = {}
"""By the identities of what stands in for a function or a type: the function or type."""
_fixed = 0
"""How many scopes are those of the modules that the functions are from."""
_MOST_ENTRIES = 1000
"""The largest table that is searched for functions."""
_lock = threading.RLock()
_tracing: set[int] = set()
"""The threads that trace.  A set, not a number: what is left behind is put right by the thread's next trace."""
_loaded = 0
"""How many modules were loaded when the first of the running traces began."""


class Rebound(BaseException):
    """Traced code called a function by a name, which now means its wrapper: the trace starts again.

    It is no `Exception`, which the user's function may catch.
    """


def restart() -> NoReturn:
    """Raise `Rebound`; what catches it, as NumPy's compiled code may, does not keep the trace from starting again."""
    threads.context.restarts = True
    raise Rebound


def wrap(scope: Scope, wrappers: dict[str, Any], originals: dict[str, Any]) -> None:
    """Let names in the module that functions are from mean wrappers whenever a trace runs."""
    global _fixed
    _scopes.append(scope)
    _wrappers.append(dict(wrappers))
    _originals.append(dict(originals))
    _fixed = len(_scopes)
    for name, original in originals.items():
        enter(original, wrappers[name])


def enter(original: Any, wrapper: Any) -> None:
    """Enter the wrapper of a function, for the names by which code has it."""
    wrapper_of[id(original)] = original, wrapper
    original_of[id(wrapper)] = original


def rebind(scope: Scope, name: Any, original: Any, wrapper: Any) -> None:
    """Let the name of a function mean a wrapper, now and whenever a trace runs."""
    with _lock:
        place = next((k for k, other in enumerate(_scopes) if other is scope), len(_scopes))
        if place == len(_scopes):
            _scopes.append(scope)
            _wrappers.append({})
            _originals.append({})
        _originals[place][name], _wrappers[place][name] = original, wrapper
        scope[name] = wrapper


_put_back: list[Callable[[], Any]] = []
"""How the globals that hide a name, and the attributes of classes, become again what they were."""
_shadows: list[tuple[Scope, str, Any]] = []
"""Globals of modules that hide one of Python's own names while a trace runs."""


def shadow(scope: Scope, name: str, stand_in: Any) -> None:
    """Let a global of a module hide one of Python's own names, now and whenever a trace runs."""
    with _lock:
        _shadows.append((scope, name, stand_in))
        _hide(scope, name, stand_in)


def _hide(scope: Scope, name: str, stand_in: Any) -> None:
    if name not in scope:
        _put_back.append(functools.partial(scope.pop, name, None))
        scope[name] = stand_in


def redirect(frames: Iterable[types.FrameType], others: Iterable[Any] = ()) -> bool:
    """Let the functions of other packages that run in some frames, and others, ask first whenever a trace runs.

    Return whether there was one that did not so far.
    """
    with _lock:
        return codes.redirect([*codes.running_in(frames), *others])


def redirect_calls(frame: types.FrameType | None) -> None:
    """Let the functions of other packages that have led to a frame ask first; if there are, start the trace again."""
    frames = []
    while frame is not None and frame.f_code is not bound.__code__:
        frames.append(frame)
        frame = frame.f_back
    if redirect(frames):
        restart()


def lend(package: str) -> None:
    """Let all functions of a package ask first until the last of the running traces has ended."""
    with _lock:
        codes.lend(package)


_attributes: list[tuple[type, str, Any]] = []
"""Classes of other packages, with an attribute that is another while a trace runs."""


def set_attribute(owner: type, name: str, value: Any) -> None:
    """Let an attribute of a class be another whenever a trace runs, from the next on."""
    _attributes.append((owner, name, value))


def set_until_end(setter: Callable[[Any], None], value: Any, own: Any) -> None:
    """Set something to another value until the last of the running traces has ended."""
    with _lock:
        _put_back.append(functools.partial(setter, own))
        setter(value)


class _Restoring:
    """What binds every name to the function itself when it is iterated over: by compiled code alone."""

    __iter__ = staticmethod(functools.partial(map, dict.update, _scopes, _originals))


_iterate = deque[None](maxlen=0).extend
_restoring = _Restoring()


preparations: list[Callable[[], None]] = []
"""What is done before names are bound: for modules that have been imported since the last trace."""


def bound(call: Callable[..., Any], *args: Any) -> Any:
    """Call a function while names mean the wrappers: from when the first thread begins until the last has ended."""
    context, thread = threads.context, threading.get_ident()
    if context.bound:
        return call(*args)
    try:
        context.bound = True
        with _lock:
            first = not _tracing
            _tracing.add(thread)
            if first:
                _bind()
        return call(*args)
    finally:  # by calls of compiled code, each of which Ctrl-C finds done
        context.bound = False
        with _lock:
            try:
                _tracing.discard(thread)
            finally:
                if not _tracing:
                    _iterate(_restoring)
                    codes.put_back()
                    while _put_back:
                        _put_back.pop()()
                    if len(sys.modules) != _loaded:
                        _clean(list(sys.modules.values())[_loaded:])


def _bind() -> None:
    """Bind all names to the wrappers, but those that their owners have bound to something else meanwhile."""
    global _loaded
    for prepare in preparations:
        prepare()
    _loaded = len(sys.modules)
    for owner, name, value in _attributes:
        is_its_own = name in vars(owner)
        back = functools.partial(setattr, owner, name, vars(owner)[name]) if is_its_own else None
        _put_back.append(back or functools.partial(delattr, owner, name))
        setattr(owner, name, value)
    for scope, name, stand_in in _shadows:
        _hide(scope, name, stand_in)
    codes.replace()
    for k, wrappers in enumerate(_wrappers):
        if k >= _fixed and not _originals[k].items() <= _scopes[k].items():
            for name in [name for name, original in _originals[k].items() if _scopes[k].get(name) is not original]:
                del wrappers[name], _originals[k][name]
        _scopes[k].update(wrappers)  # in one step: this is done for every outermost trace


def _clean(modules: Iterable[types.ModuleType]) -> None:
    """Bind names in modules that were imported while a trace ran to the functions themselves."""
    for module in modules:
        scope = getattr(module, "__dict__", {})
        for name, value in list(scope.items()):
            if id(value) in original_of:
                scope[name] = original_of[id(value)]


def scopes_of(frame: types.FrameType) -> Iterator[tuple[Scope, Iterable[Any]]]:
    """Yield the dictionaries that code may have a function from, and names in them: globals, cells, modules, tables."""
    code = frame.f_code
    yield frame.f_globals, code.co_names
    yield frame.f_locals, code.co_freevars
    for scope, names in ((frame.f_globals, code.co_names), (frame.f_locals, list(frame.f_locals))):
        for holder in map(scope.get, names):
            if type(holder) is dict and len(holder) <= _MOST_ENTRIES:
                yield holder, list(holder)
            elif type(holder) is types.ModuleType:
                yield vars(holder), code.co_names if "getattr" not in code.co_names else list(vars(holder))
