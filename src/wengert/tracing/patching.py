"""Patching: calls that NumPy's protocols do not bring here, on the threads that trace and while they do.

``np.array([...])`` of traced values becomes a traced array, and arrays from ``np.zeros`` and its like become traced
constants that can be assigned to.  Functions of SciPy ask first whether an argument is traced.
"""

from __future__ import annotations

import ast
import cmath
import ctypes
import functools
import gc
import itertools
import math
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import numpy as np

from wengert.errors import LIBRARIES, Location, LostGradientError, caller
from wengert.primitives.numpy import functions
from wengert.primitives.table import ALWAYS, CALLS, CAUGHT, HOLDERS, LATE, NAMED
from wengert.program import Primitive
from wengert.tracing import codes, names
from wengert.tracing.adoption import replace_variables
from wengert.tracing.context import threads
from wengert.tracing.conversions import rebind_conversions
from wengert.tracing.flat import Flat, as_arrays
from wengert.tracing.lists import NUMPY, array_of, join_lists
from wengert.tracing.results import finish
from wengert.tracing.tape import NO_PARAMS, PLAIN
from wengert.tracing.traced import (
    Traced,
    all_constant,
    as_array,
    constant,
    first_traced,
    holds_traced,
    join,
    plain,
    through,
    write_row,
)
from wengert.tracing.unsupported import called, compiled_call, unsupported_call, written_into_plain
from wengert.tracing.views import laid_out, model_of

_getframe = sys._getframe
ndarray = np.ndarray


_ALIASING = "asarray", "asanyarray", "ascontiguousarray", "asfortranarray"
"""Makers of arrays that return the array itself which they are given, or a view of its memory."""
_ORDERS = {"ascontiguousarray": "C", "asfortranarray": "F"}


def _patch_maker(original: Callable[..., Any], name: str = "") -> Callable[..., Any]:
    """Wrap a maker of arrays, ``np.array`` or ``np.zeros``, for the threads that trace; code calls it by its `name`.

    A list of traced values becomes a traced array; and a new array of real numbers becomes a traced constant, so that
    what the function assigns to it later is written down.
    """
    patch = _patch_conversion if original.__name__ in ("array", *_ALIASING) else _patch_creation
    return patch(original, name or original.__name__)


def _patch_creation(original: Callable[..., Any], name: str) -> Callable[..., Any]:
    fills = original.__name__ in ("full", "arange")

    @functools.wraps(original)
    def create(*args: Any, **kwargs: Any) -> Any:
        context = threads.context
        if not context.tapes:
            return original(*args, **kwargs)
        if fills and (traced := first_traced([*args, *kwargs.values()])) is not None:
            return through(traced, CALLS[original], args, kwargs)
        made = original(*args, **kwargs)
        return made if args and made is args[0] else _as_constant(made, name, _getframe(1))

    return create


def _patch_conversion(original: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(original)
    def convert(*args: Any, **kwargs: Any) -> Any:
        if not threads.context.tapes or not args:
            return original(*args, **kwargs)
        value = args[0]
        if type(value) is Flat or (type(value) in (list, tuple) and Flat in map(type, value)):
            args = (as_arrays(value), *args[1:])
        if (traced := first_traced(args[0])) is not None:
            if (kwargs or len(args) > 1) and object in (*args[1:2], kwargs.get("dtype")):
                return original(*args, **kwargs)
            frame = _getframe(1)
            if frame.f_code.co_filename.startswith(LIBRARIES):
                names.redirect_calls(frame)
                if type(value) is not Traced and frame.f_code.co_filename.startswith(NUMPY):
                    join_lists(frame)
            if not _calls_by_name(frame.f_code, frame.f_lasti, name):
                _check_caller(frame)
            return _convert(original.__name__, traced, args, kwargs)
        try:
            made = original(*args, **kwargs)
        except ValueError:
            if (held := array_of(value)) is None:
                raise
            return _convert(original.__name__, held, (held, *args[1:]), kwargs)
        return made if made is value else _as_constant(made, name, _getframe(1))

    return convert


def _as_constant(made: Any, name: str, frame: types.FrameType) -> Any:
    """Return a new array of real numbers as a traced constant, where the user's code has called its maker by `name`."""
    context = threads.context
    if context.leaves_plain or type(made) is not ndarray or made.dtype.kind not in "fc" or not made.flags.owndata:
        return made
    if _is_internal(frame.f_globals) and not frame.f_code.co_qualname.startswith(_MAKING_RESULTS):
        return made
    if not _calls_by_name(frame.f_code, frame.f_lasti, name):
        return made
    context.constants = True
    return constant(context.tapes[-1], made)


_MAKING_RESULTS = "_create_arrays"
"""The function of NumPy's that makes arrays into which results of the user's function are written: of np.vectorize."""


def _check_caller(frame: types.FrameType) -> None:
    """Check that what converts a traced value is no compiled code, which would take the memory of what it gets."""
    compiled = compiled_call(frame)
    if compiled is not None:
        raise unsupported_call(compiled, caller())


def _convert(name: str, traced: Traced, args: Any, kwargs: Any) -> Any:
    """Make a traced array of what has a traced value in it, as ``np.array`` or one of its like would."""
    value: Any = args[0]
    if type(value) is list and len(args) == 1 and not kwargs:
        return through(traced, join, args, NO_PARAMS, 3)
    copies = name == "array" and kwargs.get("copy", True) in (True, np._CopyMode.ALWAYS)
    order = _ORDERS.get(name, kwargs.get("order"))
    if type(value) is Traced and (copies or order in ("C", "F")):
        lies = model_of(value).flags
        if not value._value.shape:
            value = value.__copy__() if copies else value
        elif copies or not (lies.c_contiguous if order == "C" else lies.f_contiguous):
            value = laid_out(value, order or "K")
    dtype = args[1] if len(args) > 1 else kwargs.get("dtype")
    least = kwargs.get("ndmin", 1 if name in _ORDERS else 0)

    def convert(value: Any) -> Any:
        array = as_array(join(value))
        if array.ndim < least:
            array = functions.reshape(array, (1,) * (least - array.ndim) + array.shape)
        return array if dtype is None else functions.astype(array, dtype)

    return through(traced, convert, (value,), NO_PARAMS, 3)


@functools.lru_cache(maxsize=4096)
def _calls_by_name(code: types.CodeType, offset: int, name: str) -> bool:
    """Return whether the call at this place in the user's code is of ``np.zeros`` itself.

    Otherwise it is a call of compiled code, like a random generator's, which makes an array for itself: compiled code
    has no frame of its own, and would take the memory of a traced constant for that of an array.
    """
    if name not in code.co_names and name not in code.co_freevars:
        return False
    location = Location.of((code, offset))
    if location is None or location.columns is None:
        return True
    node = location.expression
    if node is None:
        return True
    function = node.func if isinstance(node, ast.Call) else node
    return getattr(function, "attr", getattr(function, "id", name)) == name


_INTERNAL = frozenset({"numpy", "scipy", "wengert"})
"""Packages whose own arrays are left as they are: what they do with them is behind a rule."""


_CAUGHT = (
    "array", *_ALIASING, "copy", "zeros", "empty", "ones", "full", "eye", "identity", "zeros_like", "empty_like",
    "ones_like", "full_like", "arange", "linspace",
)  # fmt: skip
_originals: dict[str, Callable[..., Any]] = {name: getattr(np, name) for name in _CAUGHT}
patched = {name: _patch_maker(original) for name, original in _originals.items()}
_makers = {id(original): name for name, original in _originals.items()}
"""The names of the makers, by their identities."""


# ---- Functions of numbers: math.sin ----


def _patch_function(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a compiled function, of Python's ``math`` or ``cmath`` say: it is recorded where an argument is traced.

    The function itself is called first, on the plain values: it raises what users expect outside of its domain.
    """
    collects = original in functions.scalar_math.COLLECTING
    ufuncs = functions.scalar_math.UFUNCS

    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        if threads.context.tapes:
            if original in ufuncs and len(args) == 1 and type(args[0]) is Traced and not kwargs:
                (x,), primitive = args, CALLS.get(ufuncs[original])
                if type(x._value) is np.float64 and x._index >= 0 and type(primitive) is Primitive:
                    original(x._value)
                    return write_row(x._tape, primitive, (x._value,), (x._index,), NO_PARAMS, 2)
            if collects:
                args = tuple([list(a) if isinstance(a, Iterator) else a for a in args])
            traced = first_traced((*args, *kwargs.values()))
            if traced is not None:
                value = original(*plain(args), **plain(kwargs))
                return value if all_constant((args, kwargs)) else through(traced, CALLS[original], args, kwargs)
        return original(*args, **kwargs)

    return call


# ---- While a trace runs ----


_fromiter = np.fromiter


def _from_iterator(iterable: Any, dtype: Any, count: int = -1, **kwargs: Any) -> Any:
    """Make an array of what an iterator yields, as ``np.fromiter`` does."""
    items = list(itertools.islice(iterable, count if count >= 0 else None)) if threads.context.tapes else iterable
    if items is iterable or not holds_traced(items):
        return _fromiter(items, dtype, count, **kwargs)
    if len(items) < count:
        raise ValueError(f"iterator too short: Expected {count} but iterator had only {len(items)} items.")
    return _convert("array", cast(Traced, first_traced(items)), (items,), {"dtype": dtype})


names.wrap(vars(np), patched, _originals)
names.enter(np.fromiter, functools.wraps(np.fromiter)(_from_iterator))
for _function in (*vars(math).values(), *vars(cmath).values()):
    if callable(_function) and _function in CALLS:
        names.enter(_function, _patch_function(_function))


def _patch_new() -> None:
    """Patch the functions of modules that have been imported since the last trace."""
    if not LATE.keys().isdisjoint(sys.modules.keys()):
        _enter_late()
    if len(CAUGHT) != len(_entered):
        _enter_caught()


names.preparations.append(_patch_new)


def _is_internal(scope: Mapping[str, Any]) -> bool:
    """Return whether names are globals of a module whose own arrays are left as they are."""
    return str(scope.get("__name__", "")).partition(".")[0] in _INTERNAL


# ---- Functions that code has imported by name ----


_MAKING = "AxisConcatenator.", "require", "vectorize."
"""Code of NumPy's, ``np.r_`` and its like, that makes arrays of what the user's code hands it.

So do functions that count: ``np.indices((n, 2))`` calls ``arange(n)``.
"""


def rebind_imports(frame: types.FrameType) -> None:
    """Bind names to wrappers that ``from numpy import asarray`` bound before the trace, and start the trace again.

    A function of NumPy's or of ``math`` has just asked for a plain array or number for that code.  NumPy's would make
    an array of the elements, and what is written into that is not written into the traced array.
    """
    names.redirect_calls(frame)
    code = frame.f_code
    is_numpys = code.co_filename.startswith(LIBRARIES)
    if is_numpys and not (code.co_qualname.startswith(_MAKING) or called(frame) is _originals["arange"]):
        return
    is_rebound = not _METHODS.isdisjoint(code.co_names) and _has_own_methods()
    if is_rebound:
        threads.context.needs_methods = True
    if is_numpys and vars(_NUMERIC).get("arange") is _originals["arange"] is called(frame):
        names.rebind(vars(_NUMERIC), "arange", *names.wrapper_of[id(_originals["arange"])])  # np.r_[0:n]
        is_rebound = True
    for scope, candidates in [(frame.f_globals, code.co_names)] if is_numpys else names.scopes_of(frame):
        for name in candidates:
            original, wrapper = names.wrapper_of.get(id(scope.get(name)), (None, None))
            if original is None:
                continue
            maker = _makers.get(id(original), name)
            if maker != name:
                wrapper = _patch_maker(original, name)
            if scope is frame.f_locals:
                replace_variables([(frame, [name])], wrapper)
            else:
                names.rebind(scope, name, original, wrapper)
            is_rebound = True
    if is_rebound or rebind_conversions(frame):
        names.restart()
    maker = _makers.get(id(called(frame)), "")
    if maker in _ALIASING:
        raise LostGradientError.at_caller(
            f"NumPy's own {maker} is called, which is not np.{maker} while a function is traced, and would copy:",
            f"Write np.{maker}(...).",
        )


def rebind_makers(frame: types.FrameType) -> None:
    """Bind makers of arrays in the modules that the objects of a frame are from, and start the trace again.

    A plain array is to be written to in that frame, which an object may have made by a name of its module:
    ``from numpy import zeros``, and in a constructor ``self.x = zeros(3)``.
    """
    objects = list(frame.f_locals.values())
    objects += [
        part for value in objects for part in getattr(value, "__dict__", {}).values() if type(value) is not type
    ]
    kinds = {kind for value in objects for kind in type(value).__mro__}
    modules = [sys.modules.get(name) for name in {kind.__module__ for kind in kinds}]
    is_rebound = False
    for scope in (frame.f_globals, *(vars(module) for module in modules if module is not None)):
        if _is_internal(scope):
            continue
        for name, value in list(scope.items()):
            if id(value) in _makers:
                names.rebind(scope, name, *_maker_of(name, value))
                is_rebound = True
    if is_rebound:
        names.restart()


def _maker_of(name: str, original: Any) -> tuple[Any, Any]:
    """Return a maker of arrays and the wrapper for code that calls it by a name."""
    own = _makers[id(original)] == name
    return original, names.wrapper_of[id(original)][1] if own else _patch_maker(original, name)


_NUMERIC: Any = np._core.numeric
"""The module by which NumPy's own code calls some makers of arrays."""
_METHODS = frozenset({"choose", "dot", "searchsorted"})
"""Methods of arrays that would take a traced argument apart, and compute with each of its elements by itself."""
_own_methods = {name: vars(ndarray)[name] for name in _METHODS}
_calling_methods: dict[int, Any] = {}
"""Functions (their codes or classes, by identities) in whose traces one of the methods has got a traced value."""


def remember_methods(function: Callable[..., Any]) -> None:
    """Remember that a function calls a method of a plain array with a traced value."""
    code = _code_of(function)
    _calling_methods[id(code)] = code


def _code_of(function: Any) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    return getattr(function, "__code__", type(function))


def patch_methods(function: Callable[..., Any]) -> None:
    """If a function is remembered, make the methods of plain arrays ask first until the last trace has ended.

    Python looks up all attributes of arrays anew when the class has changed, so other functions' traces do not do this.
    """
    if _calling_methods and _has_own_methods() and id(_code_of(function)) in _calling_methods:
        names.set_until_end(_set_methods, _asking_methods, _own_methods)


def _has_own_methods() -> bool:
    return vars(ndarray)["dot"] is _own_methods["dot"]


def _set_methods(methods: Mapping[str, Any]) -> None:
    """Set methods of the class of arrays: it is compiled, and Python sets its attributes in its dictionary alone."""
    gc.get_referents(vars(ndarray))[0].update(methods)
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(ndarray))


def _patch_method(original: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if threads.context.tapes and (traced := first_traced((*args, *kwargs.values()))) is not None:
            if kwargs.get("out") is None:
                args = (self, *[join(a) if holds_traced(a) else a for a in args])
                return finish(function, args, kwargs, through(traced, CALLS[function], args, kwargs))
            raise written_into_plain()
        return original(self, *args, **kwargs)

    method.__module__ = "numpy"
    return method


_asking_methods = {name: _patch_method(own, getattr(np, name)) for name, own in _own_methods.items()}


def _patch_call(original: types.FunctionType, run: types.FunctionType, package: str) -> Callable[..., Any]:
    """Wrap a function of another library: on a thread that traces, a call with a traced argument is recorded.

    What is not recorded goes to `run`.  Objects of a `package` may hold traced values from then on.
    """
    depth = 3
    module = original.__module__ or ""
    plainly = not module.startswith("scipy.linalg")  # LAPACK's matrices lie by columns
    makes_objects = module.startswith(("scipy.sparse", "scipy.interpolate", "scipy.spatial"))

    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        if threads.context.tapes:
            inner = 0
            for value in (*args, *kwargs.values()):
                traced = first_traced(value)
                holder = None if traced is not None or type(value) in PLAIN else _held(value)
                witness = traced if holder is None else holder
                if witness is not None:
                    if makes_objects and all_constant((args, kwargs)) and _held(args) is None:
                        return run(*plain(args), **plain(kwargs))  # arrays made inside that depend on no input
                    frame = _getframe(depth - 1)
                    while frame.f_back is not None and frame.f_code.co_filename.startswith(LIBRARIES):
                        frame, inner = frame.f_back, inner + 1  # SciPy's own functions may lie between
                    if package:
                        names.lend(package)
                    made = through(witness, CALLS[original], args, kwargs, depth + inner)
                    is_laid = traced is None or original in ALWAYS
                    return made if is_laid else finish(original, args, kwargs, made, plainly)
            if original in ALWAYS and not _getframe(depth - 1).f_globals.get("__name__", "").startswith("wengert."):
                return CALLS[original](*args, **kwargs)
        return run(*args, **kwargs)

    return call


def _held(value: Any) -> Traced | None:
    """Return a traced value that an object of another library holds, as a spline that was made of traced values."""
    if isinstance(value, (list, tuple)):
        return next((some for item in value if type(item) not in PLAIN and (some := _held(item)) is not None), None)
    for kind, attributes in HOLDERS.items():
        if isinstance(value, kind):
            for name in attributes:
                if (some := first_traced(getattr(value, name, None))) is not None:
                    return some
    return None


_entered: set[types.FunctionType] = set()


def _enter_caught() -> None:
    """Enter the functions of other packages that are to ask first, once traced values have come into them."""
    packages = {_package_of(kind.__module__) for kind in HOLDERS}
    for function in [function for function in CAUGHT if function not in _entered]:
        package = next((package for package in packages if CAUGHT[function].startswith(package)), "")
        codes.enter(function, functools.partial(_redirected, package=package), package)
        _entered.add(function)


def _package_of(module: str) -> str:
    """Return the package that users import something from, ``scipy.sparse``, by the module that it is in."""
    return ".".join(itertools.takewhile(lambda part: not part.startswith("_"), module.split(".")))


def _redirected(function: types.FunctionType, package: str) -> types.CodeType:
    """Return code for a function of another library that asks first whether its arguments are traced.

    What its code was is kept in another function.
    """
    original = types.FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    original.__kwdefaults__ = function.__kwdefaults__
    code = _asking_code(function.__code__.co_freevars)
    call = _patch_call(function, original, package)
    return code.replace(co_consts=tuple(call if value == _ASKED else value for value in code.co_consts))


_ASKED = "the function that asks"  # a constant that is replaced


def _asking_code(names: tuple[str, ...]) -> types.CodeType:
    """Return the code of a function that asks first, with the free variables of the one whose place it takes.

    The closure stays, and Python wants them to be as many.  They must be free variables by the compiler's own doing:
    code that only names them leaves their places in its frames empty, and who looks at such a frame crashes.
    """
    held = f"        if 0: ({', '.join(names)},)\n" if names else ""
    source = (
        f"def enclosing({', '.join(names)}):\n"
        "    def _ask_first(*_args_, **_kwargs_):\n"
        f"{held}"
        f"        _asking_ = {_ASKED!r}\n"
        "        return _asking_(*_args_, **_kwargs_)\n"
        "    return _ask_first\n"
    )
    namespace: dict[str, Any] = {}
    exec(compile(source, __file__, "exec"), namespace)
    code: types.CodeType = namespace["enclosing"](*names).__code__
    assert code.co_freevars == names
    return code


def _enter_late() -> None:
    """Enter the functions of modules that have been imported meanwhile."""
    for name in [name for name in LATE if name in sys.modules]:
        if not getattr(sys.modules[name].__spec__, "_initializing", False):
            LATE.pop(name)()
    for function in NAMED:
        if id(function) not in names.wrapper_of:
            names.enter(function, _patch_function(function))
