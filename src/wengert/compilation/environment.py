"""Environment: the values that a function can read beside its arguments, and whether they have changed.

A trace is valid while the values that the function has read are the same: its closure, globals, defaults, the
attributes of objects, and those of the functions that it calls.  The names in the code of these functions bound the
values that can be read.  A value is compared by identity, a number or string by value; a small array by its bytes, a
large one by two fingerprints, a list, dict or set by its items.  The comparisons are one generated function.  `jit`
keeps a trace as long as they hold, and a loop the sweeps of a rule that the user wrote.

Functions of libraries (Python's own, and installed packages) are not followed, but their closures are.

>>> scale = [2.0]
>>> environment = Environment([eval("lambda x: scale[0] * x", {"scale": scale})])
>>> environment.unchanged()
True
>>> scale[0] = 3.0
>>> environment.unchanged(), environment.changes()[0].name
(False, 'scale')
"""

from __future__ import annotations

import array
import builtins
import collections
import datetime
import dis
import enum
import functools
import gc
import itertools
import operator
import os
import pickle
import random
import re
import sys
import time
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from wengert.compilation import comparisons
from wengert.compilation.comparisons import Comparison
from wengert.errors import LIBRARIES, RawLocation
from wengert.program import Primitive
from wengert.program.structure import exactly
from wengert.tracing.fingerprints import fingerprint, is_written_to
from wengert.transformations import Transformed

BYTES = 1 << 15
"""The number of bytes up to which an array is compared by all of them; a larger one is compared by fingerprints."""
MOST = 10_000
"""The number of comparisons at a call up to which an environment is compared."""

_ATOMS = frozenset({
    int, float, complex, bool, str, bytes, type(None), type(...), type(NotImplemented), range, slice, types.CodeType,
    re.Pattern, np.ufunc, types.MethodDescriptorType, types.WrapperDescriptorType, types.GetSetDescriptorType,
    types.MemberDescriptorType, types.ClassMethodDescriptorType, types.MethodWrapperType,
})  # fmt: skip
"""Types of values that cannot change, and so are compared by identity alone."""
_NUMBERS = frozenset({int, float, complex, bool, str, bytes})
"""Types of values that are compared by value: the user may set an equal one again."""
_LIBRARIES = frozenset({"numpy", "scipy", "wengert", "optree"}) | sys.stdlib_module_names
_CLOCKS = ("time", "time_ns", "perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns", "process_time",
           "process_time_ns", "localtime", "gmtime", "ctime")  # fmt: skip
CLOCKS = frozenset({getattr(time, name) for name in _CLOCKS} | {os.urandom, builtins.input, os.getpid})
"""Functions that return another value at each call."""
PRINTS = frozenset({builtins.print, builtins.open})
"""Functions that have an outside effect."""
_SUSPICIOUS = frozenset({*_CLOCKS, "urandom", "input", "getpid", "print", "open", "now", "today", "utcnow", "uuid4",
                         "uuid1", "default_rng", "RandomState", "SeedSequence"})  # fmt: skip
"""Names in the code that suggest one of these: only then `jit` listens to the calls of a trace, which takes time."""


_DRAWING = frozenset({name for kind in (np.random.Generator, np.random.RandomState, random.Random) for name in dir(kind)
                      if not name.startswith("_")} | {"rand", "randn", "next"})  # fmt: skip


class Reading(NamedTuple):
    """A value that is read: its name in the code, and where that stands."""

    name: str
    where: str

    def __str__(self) -> str:
        return f"`{self.name}`{self.where}"


class Environment:
    """The values that some functions can read beside their arguments.

    Attributes
    ----------
    unchanged
        Returns whether all of them are the same.
    comparisons
        What machine code can compare: by their conditions, those of which the comparison implies the condition.
    laid_out
        The comparisons as machine code reads them; None until they are needed.
    codes
        The code of all user functions that may run.
    generators
        The generators of random numbers, and iterators, that they may draw from.
    is_complete
        False if the functions can read a value that cannot be compared: one drawn from a generator, or memory of a
        compiled type.
    """

    __slots__ = (
        "_absent", "_attributes", "_conditions", "_globals_of", "_names", "_read_attributes", "_seen", "_words",
        "codes", "comparisons", "generators", "is_complete", "laid_out", "unchanged",
    )  # fmt: skip

    def __init__(self, roots: Iterable[Any]) -> None:
        roots = list(roots)
        words: frozenset[str] = frozenset()
        attributes: frozenset[str] = frozenset()
        while True:  # a function found late may name an attribute of an object found early
            self._words, self._attributes = words, attributes
            self._read_attributes = False
            self._conditions: dict[str, Reading] = {}
            self.comparisons: dict[str, Comparison] = {}
            self._names: dict[str, Any] = {"all": all, "map": map, "len": len, "is_": operator.is_, "same": _same,
                                           "fingerprint": fingerprint, "is_empty": is_empty}  # fmt: skip
            self._seen: dict[int, Any] = {}
            self._globals_of: dict[int, str] = {}
            self._absent: dict[str, dict[str, None]] = {}
            self.codes: dict[types.CodeType, None] = {}
            self.generators: list[Any] = []
            self.is_complete = True
            self._follow_all(roots)
            for held, absent in self._absent.items():
                if absent:
                    reading = Reading(", ".join(absent), ", which was not there")
                    comparison = comparisons.Absent(self._names[held], tuple(absent))
                    self._require(f"{held}.keys().isdisjoint({self._global(tuple(absent))})", reading, comparison)
            words = frozenset(word for code in self.codes for word in _words_of(code))
            attributes = frozenset(word for code in self.codes for word in _attribute_names_of(code))
            if words <= self._words or not self._read_attributes:
                break
        self._words = words
        self.is_complete = self.is_complete and not self.generators and not self.too_many
        self.unchanged = self.compiled(list(self._conditions))
        self.laid_out: Any = None
        self._seen, self._globals_of, self._absent = {}, {}, {}

    @property
    def too_many(self) -> bool:
        """True if there are too many values to compare at each call."""
        return len(self._conditions) > MOST

    @property
    def suspicious(self) -> bool:
        """True if the code names a clock, or a function with an outside effect."""
        return not self._words.isdisjoint(_SUSPICIOUS)

    @property
    def conditions(self) -> Sequence[str]:
        """All comparisons, as Python writes them."""
        return list(self._conditions)

    def changes(self) -> list[Reading]:
        """Return the values that have changed."""
        return [reading for condition, reading in self._conditions.items() if not self.compiled([condition])()]

    def place_of_change(self, reading: Reading) -> RawLocation | None:
        """Return the place in the code that changes a value, found by its name."""
        return _place_of_change(list(self.codes), reading.name)

    def unseeded(self) -> RawLocation | None:
        """Return the place where Python's generator of random numbers is made without a seed, if there is one."""
        for code in self.codes:
            if "Random" in code.co_names:
                instructions = [i for i in dis.get_instructions(code) if i.opname not in _BETWEEN]
                for made, call in itertools.pairwise(instructions):
                    if made.argval == "Random" and call.opname == "CALL" and call.arg == 0:
                        return code, call.offset
        return None

    def place_of_drawing(self) -> RawLocation | None:
        """Return the first place in the code that seems to draw random numbers, or to go on with an iterator."""
        for code in self.codes:
            if not _DRAWING.isdisjoint(code.co_names):
                for instruction in dis.get_instructions(code):
                    if instruction.argval in _DRAWING:
                        return code, instruction.offset
        return None

    def states(self) -> list[Any]:
        """Return the states of the generators; NumPy's and Python's global ones are included if the code may draw."""
        everyones = [] if self._words.isdisjoint(_DRAWING) else [random._inst, np.random.mtrand._rand]
        return [progress_of(generator) for generator in (*everyones, *self.generators)]

    # -- The comparisons --

    def compiled(self, conditions: Sequence[str]) -> Callable[[], bool]:
        """Write the comparisons as one function."""
        text = "def unchanged():\n    try:\n"
        for start in range(0, len(conditions), 200):  # the compiler goes into chains of `and` by recursion
            text += f"        if not ({' and '.join(conditions[start : start + 200])}):\n            return False\n"
        text += "        return True\n    except (LookupError, AttributeError, ValueError, TypeError):\n"
        text += "        return False\n"  # a name is gone
        exec(compile(text, "<wengert environment>", "exec"), self._names)
        return self._names.pop("unchanged")  # type: ignore[no-any-return]

    def _global(self, value: Any) -> str:
        name = self._globals_of.get(id(value))
        if name is None:
            self._globals_of[id(value)] = name = f"v{len(self._names)}"
            self._names[name] = value
        return name

    def _require(self, condition: str, reading: Reading, comparison: Comparison | None = None) -> None:
        if condition not in self._conditions:
            self._conditions[condition] = reading
            if comparison is not None:
                self.comparisons[condition] = comparison

    def _require_absent(self, keys: str, holder: Any, reading: Reading) -> None:
        """Require that a class or module has no attribute that the code names and that it does not have yet."""
        absent = tuple(sorted(self._attributes - holder.keys()))
        if absent:
            behind = holder if type(holder) is dict else gc.get_referents(holder)[0]
            comparison = comparisons.Absent(behind, absent) if type(behind) is dict else None
            self._require(f"{keys}.isdisjoint({self._global(absent)})", reading, comparison)

    def _compare(
        self, expression: str, value: Any, reading: Reading, comparison: Comparison | None = None
    ) -> tuple[Any, Reading]:
        """Require that an expression has a value, and return the value to be followed."""
        name = self._global(value)
        condition = f"{expression} is {name}"
        if type(value) in _NUMBERS or issubclass(type(value), np.generic):
            condition = f"({condition} or same({expression}, {name}))"
        self._require(condition, reading, comparison)
        return value, reading

    # -- Following --

    def _follow_all(self, roots: Sequence[Any]) -> None:
        stack: list[tuple[Any, Reading]] = [(root, Reading(getattr(root, "__name__", "f"), "")) for root in roots]
        while stack and len(self._conditions) <= MOST:
            value, reading = stack.pop()
            kind = type(value)
            if kind in _ATOMS or id(value) in self._seen or issubclass(kind, (np.generic, enum.Enum)):
                continue
            self._seen[id(value)] = value
            stack.extend(self._follow(kind, value, reading))

    def _follow(self, kind: type, value: Any, reading: Reading) -> Iterable[tuple[Any, Reading]]:
        """Require that a value stays the same, and return the values that it leads to."""
        for types_, follow in _FOLLOWED:
            if issubclass(kind, types_):
                return follow(self, value, reading)
        return _follow_object(self, value, reading)


Followed = Iterator[tuple[Any, Reading]]


def _follow_function(environment: Environment, function: types.FunctionType, reading: Reading) -> Followed:
    library = _is_library(function.__globals__.get("__name__"))
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=False)
    if library:  # its closure may hold user functions
        for name, cell in cells:
            if not is_empty(cell):
                yield cell.cell_contents, Reading(name, "")
        return
    code = function.__code__
    environment.codes.update(dict.fromkeys(with_inner(code)))
    name = environment._global(function)
    environment._require(
        f"{name}.__code__ is {environment._global(code)}",
        Reading(function.__name__, ", whose code was replaced"),
        comparisons.Part(function, "__code__", code),
    )
    environment._require(
        _of_length(f"{name}.__dict__", len(vars(function))),
        Reading(function.__name__, ", in its attributes"),
        comparisons.NoMoreAttributes(function, (), len(vars(function))),
    )
    environment._read_attributes |= bool(vars(function))
    for word in environment._words & vars(function).keys():
        what, value = Reading(f"{function.__name__}.{word}", ""), vars(function)[word]
        yield environment._compare(
            f"{name}.__dict__[{word!r}]", value, what, comparisons.Attribute(function, word, value)
        )
    for attribute in ("__defaults__", "__kwdefaults__"):
        defaults = getattr(function, attribute)
        if defaults is not None:
            what = Reading(function.__name__, ", in its defaults")
            yield environment._compare(
                f"{name}.{attribute}", defaults, what, comparisons.Part(function, attribute, defaults)
            )
    for free, cell in cells:
        held, what = environment._global(cell), Reading(free, f", from the closure of {function.__name__}")
        if is_empty(cell):
            environment._require(f"is_empty({held})", what, comparisons.Contents(cell, ()))
        else:
            value = cell.cell_contents
            yield environment._compare(f"{held}.cell_contents", value, what, comparisons.Contents(cell, (value,)))
    yield from _follow_globals(environment, function)


def _follow_globals(environment: Environment, function: types.FunctionType) -> Followed:
    around = function.__globals__
    words, global_names = _words_of(function.__code__), _global_names_of(function.__code__)
    held = environment._global(around)
    where = f", a global of {around.get('__name__', 'the module')}"
    absent = environment._absent.setdefault(held, {})
    for word in words:
        if word in around:
            comparison = comparisons.Item(around, word, around[word])
            yield environment._compare(f"{held}[{word!r}]", around[word], Reading(word, where), comparison)
        else:
            if word in global_names:
                absent[word] = None
            if word in sys.modules and not _is_library(word):  # imported where it is used
                yield sys.modules[word], Reading(word, "")


def _follow_module(environment: Environment, module: types.ModuleType, reading: Reading) -> Followed:
    if _is_library(module.__name__):
        return
    environment._read_attributes = True
    held, attributes = environment._global(vars(module)), vars(module)
    for word in environment._words & attributes.keys():
        what = Reading(f"{reading.name}.{word}", "")
        comparison = comparisons.Item(attributes, word, attributes[word])
        yield environment._compare(f"{held}[{word!r}]", attributes[word], what, comparison)
    environment._require_absent(f"{held}.keys()", attributes, Reading(f"{reading.name}.…", ""))


def _follow_class(environment: Environment, cls: type, reading: Reading) -> Followed:
    for base in cls.__mro__:
        if _is_library(base.__module__):
            continue
        environment._read_attributes = True
        held, attributes = environment._global(base), vars(base)
        behind = gc.get_referents(attributes)[0]  # the dict that this is a view of
        for name, value in attributes.items():
            special = name.startswith("__") and name.endswith("__")
            if name in environment._words or (special and isinstance(value, types.FunctionType)):
                what = Reading(f"{base.__name__}.{name}", "")
                comparison = comparisons.Item(behind, name, value) if type(behind) is dict else None
                yield environment._compare(f"{held}.__dict__[{name!r}]", value, what, comparison)
        environment._require_absent(f"{held}.__dict__.keys()", attributes, Reading(f"{base.__name__}.…", ""))


def _follow_object(environment: Environment, value: Any, reading: Reading) -> Followed:
    """Follow an object: by the attributes that are named in the code, or all if it belongs to a library."""
    kind = type(value)
    library = _is_library(kind.__module__)
    if not library:
        environment._read_attributes = True
        yield kind, Reading(kind.__name__, "")
    if hasattr(kind, "__next__"):
        environment.generators.append(value)
    environment.is_complete = environment.is_complete and all(
        base is object or base.__flags__ & _PYTHON for base in kind.__mro__
    )
    held = environment._global(value)
    attributes = getattr(value, "__dict__", None)
    by_name = not library and environment._words.isdisjoint(_REFLECTIVE)
    if isinstance(attributes, dict):
        words = environment._words & attributes.keys() if by_name else list(attributes)
        for word in words:
            what = Reading(f"{reading.name}.{word}", reading.where)
            comparison = comparisons.Attribute(value, word, attributes[word])
            yield environment._compare(f"{held}.__dict__[{word!r}]", attributes[word], what, comparison)
        if not library:
            absent = tuple(word for word in environment._words if word not in attributes)
            condition = f"{held}.__dict__.keys().isdisjoint({environment._global(absent)})"
            no_more = comparisons.NoMoreAttributes(
                value, [name for name in attributes if name not in words], len(attributes)
            )
            environment._require(condition, Reading(f"{reading.name}.…", reading.where), no_more)
    for slot in {name for base in kind.__mro__ for name in _slots_of(base)}:
        if (slot in environment._words or not by_name) and hasattr(value, slot):
            what = Reading(f"{reading.name}.{slot}", reading.where)
            of_slot = comparisons.Slot(value, slot, getattr(value, slot))
            yield environment._compare(f"{held}.{slot}", of_slot.value, what, of_slot)


_PYTHON = 1 << 9
"""The flag of classes that are written in Python: all state of their objects is in attributes."""
_REFLECTIVE = frozenset({"getattr", "vars", "__dict__", "__getattr__", "attrgetter"})
"""Code with one of these names may read any attribute."""
_BY_TEXT = _REFLECTIVE | {"globals", "__globals__", "eval", "exec", "modules", "import_module", "__import__"}
"""Code with one of these names may look up a global by a text."""


def _slots_of(cls: type) -> Sequence[str]:
    slots = vars(cls).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else [s for s in slots if s not in ("__dict__", "__weakref__")]


def _follow_array(environment: Environment, values: np.ndarray[Any, Any], reading: Reading) -> Followed:
    held = environment._global(values)
    if values.dtype.hasobject:
        items = values.ravel().tolist()
        environment._require(f"all(map(is_, {held}.ravel().tolist(), {environment._global(items)}))", reading)
        for item in items:
            yield item, reading
        return
    if not (values.flags.writeable or is_written_to(values.base)):
        environment._require(f"not {held}.flags.writeable", reading, comparisons.Frozen(values))
        return
    form = f"{held}.shape == {values.shape} and {held}.dtype is {environment._global(values.dtype)}"
    if values.nbytes <= BYTES:
        content = np.ndarray.tobytes(values)
        is_plain = type(values) is np.ndarray and values.flags.c_contiguous
        read = f"{environment._global(np.ndarray.tobytes)}({held})"  # astropy's quantities refuse the method
        read = f"{held}.tobytes()" if type(values) is np.ndarray else read
        comparison = comparisons.Elements(values, content) if is_plain else None
        environment._require(f"{form} and {read} == {environment._global(content)}", reading, comparison)
    else:
        looks = [f"fingerprint({held}, {turn}) == {fingerprint(values, turn)}" for turn in (0, 1)]
        environment._require(f"{form} and {' and '.join(looks)}", reading)


def _of_length(items: str, length: int) -> str:
    """Write the test of the number of items; that of none is the fastest."""
    return f"len({items}) == {length}" if length else f"not {items}"


def _alike(items: str, others: str) -> str:
    """Write the comparison of items: by identity, and numbers and strings by value where that fails."""
    return f"(all(map(is_, {items}, {others})) or all(map(same, {items}, {others})))"


def _follow_items(environment: Environment, items: Any, reading: Reading) -> Followed:
    held, inside = environment._global(items), tuple(items)
    if not isinstance(items, tuple):
        alike = f" and {_alike(held, environment._global(inside))}" if inside else ""
        comparison = comparisons.Items(items, inside) if type(items) is list else None
        environment._require(_of_length(held, len(inside)) + alike, reading, comparison)
    for k, item in enumerate(inside):
        yield item, Reading(f"{reading.name}[{k}]", reading.where)


def _follow_dict(environment: Environment, items: dict[Any, Any], reading: Reading) -> Followed:
    if "scipy.sparse" in sys.modules and sys.modules["scipy.sparse"].issparse(items):  # a DOK array is an empty dict
        yield from _follow_object(environment, items, reading)
        return
    held, keys, values = (
        environment._global(items),
        environment._global(tuple(items)),
        environment._global(tuple(items.values())),
    )
    alike = f" and all(map(is_, {held}, {keys})) and {_alike(f'{held}.values()', values)}" if items else ""
    comparison = comparisons.Entries(items, dict(items)) if type(items) is dict else None
    environment._require(_of_length(held, len(items)) + alike, reading, comparison)
    for key, item in list(items.items()):  # another thread may change it meanwhile
        yield item, Reading(f"{reading.name}[{key!r}]", reading.where)


def _follow_bytes(environment: Environment, data: Any, reading: Reading) -> Followed:
    environment._require(f"bytes({environment._global(data)}) == {environment._global(bytes(data))}", reading)
    return iter(())


def _follow_set(environment: Environment, items: Any, reading: Reading) -> Followed:
    environment._require(f"{environment._global(items)} == {environment._global(frozenset(items))}", reading)
    for item in items:
        yield item, reading


def _follow_generator(environment: Environment, generator: Any, reading: Reading) -> Followed:
    environment.generators.append(generator)
    return iter(())


def _follow_builtin(environment: Environment, function: Any, reading: Reading) -> Followed:
    yield function.__self__, reading  # rng.normal, history.append; of a plain function, its module


def _follow_parts(*names: str) -> Callable[[Environment, Any, Reading], Followed]:
    def follow(environment: Environment, value: Any, reading: Reading) -> Followed:
        for name in names:
            part = getattr(value, name, None)
            if part is not None:
                called = "self" if name == "__self__" else getattr(part, "__name__", reading.name)
                yield part, Reading(called, reading.where)

    return follow


def _follow_transformed(environment: Environment, transformed: Transformed[..., Any], reading: Reading) -> Followed:
    """Follow the function and the values of the options; the options are bound to it when it is made."""
    yield transformed.function, Reading(getattr(transformed.function, "__name__", reading.name), reading.where)
    for name, value in transformed.options.items():
        yield value, Reading(name, reading.where)


def _follow_primitive(environment: Environment, primitive: Primitive, reading: Reading) -> Followed:
    for function in (primitive.numpy, primitive.jvp, primitive.vjp, primitive.shared_partials, *primitive.partials):
        if isinstance(function, types.FunctionType) and not _is_library(function.__module__):
            yield function, Reading(function.__name__, "")


_FOLLOWED: Sequence[tuple[Any, Callable[[Environment, Any, Reading], Iterable[tuple[Any, Reading]]]]] = (
    (types.FunctionType, _follow_function),
    (types.MethodType, _follow_parts("__func__", "__self__")),
    (types.BuiltinFunctionType, _follow_builtin),
    (types.ModuleType, _follow_module),
    (type, _follow_class),
    (np.ndarray, _follow_array),
    ((list, tuple, collections.deque), _follow_items),
    (dict, _follow_dict),
    ((set, frozenset), _follow_set),
    ((bytearray, memoryview, array.array), _follow_bytes),
    ((np.random.Generator, np.random.RandomState, random.Random, types.GeneratorType), _follow_generator),
    (functools.partial, _follow_parts("func", "args", "keywords")),
    ((staticmethod, classmethod), _follow_parts("__func__")),
    (property, _follow_parts("fget")),
    (functools.cached_property, _follow_parts("func")),
    (functools._lru_cache_wrapper, _follow_parts("__wrapped__")),
    (Transformed, _follow_transformed),
    (Primitive, _follow_primitive),
)
"""How values of a type are followed; the first that fits."""


# ---- Code ----


def with_inner(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield the code of a function and of the functions written inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from with_inner(constant)


def is_settled(function: Callable[..., Any]) -> bool:
    """Return whether a function belongs to wengert, NumPy or SciPy, and so reads nothing that may change."""
    code = getattr(function, "__code__", None)
    return code is not None and code.co_filename.startswith(LIBRARIES)


@functools.lru_cache(4096)
def _words_of(code: types.CodeType) -> frozenset[str]:
    """Return all names of globals and attributes in a function's code, those of functions inside included.

    Texts that could be such names are among them: ``getattr(settings, "rate")``.
    """
    names = {name for inner in with_inner(code) for name in inner.co_names}
    texts = {c for inner in with_inner(code) for c in inner.co_consts if isinstance(c, str) and c.isidentifier()}
    return frozenset(names | texts)


@functools.lru_cache(4096)
def _global_names_of(code: types.CodeType) -> frozenset[str]:
    """Return the names that a function may look up among its globals: all of its names if it looks any up by a text."""
    words = _words_of(code)
    if not words.isdisjoint(_BY_TEXT):
        return words
    looked_up = [i for inner in with_inner(code) for i in dis.get_instructions(inner) if i.opname in _GLOBAL_LOADS]
    return frozenset([instruction.argval for instruction in looked_up])


@functools.lru_cache(4096)
def _attribute_names_of(code: types.CodeType) -> frozenset[str]:
    """Return the names that a function may look up as attributes: all of its names if it looks any up by a text."""
    words = _words_of(code)
    if not words.isdisjoint(_BY_TEXT):
        return words
    looked_up = [i for inner in with_inner(code) for i in dis.get_instructions(inner) if i.opname in _ATTRIBUTE_LOADS]
    return frozenset([instruction.argval for instruction in looked_up])


@functools.lru_cache(4096)
def _is_library(name: str | None) -> bool:
    """Return whether a module belongs to Python or is installed: nobody edits such code while it runs."""
    top = (name or "").partition(".")[0]
    if top in _LIBRARIES:
        return True
    file = getattr(sys.modules.get(name or ""), "__file__", None) or ""
    return f"{os.sep}site-packages{os.sep}" in file or f"{os.sep}dist-packages{os.sep}" in file


_BETWEEN = frozenset({"PRECALL", "CACHE", "PUSH_NULL", "NOP", "EXTENDED_ARG"})
_STORES = frozenset({"STORE_GLOBAL", "DELETE_GLOBAL", "STORE_DEREF", "DELETE_DEREF", "STORE_ATTR", "DELETE_ATTR"})
_LOADS = frozenset(
    {"LOAD_FAST", "LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_ATTR", "LOAD_METHOD", "LOAD_CLASSDEREF"}
)
_GLOBAL_LOADS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_GLOBALS"})
_ATTRIBUTE_LOADS = frozenset({"LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR", "LOAD_SUPER_METHOD"})
_CHANGERS = frozenset({"append", "extend", "insert", "pop", "remove", "clear", "update", "add", "discard", "setdefault",
                       "popleft", "appendleft", "sort", "reverse", "fill", "put"})  # fmt: skip


def _place_of_change(codes: Sequence[types.CodeType], name: str) -> RawLocation | None:
    """Return the likely place of the change of a name (``self.history``, ``cache['a']``).

    An assignment to the name is the surest sign, then a method that changes it or an assignment to a part of it.
    """
    last = re.split(r"[.\[]", re.sub(r"\[.*", "", name))[-1]
    best: tuple[int, RawLocation] | None = None
    for code in codes:
        if code.co_name == "__init__":
            continue
        instructions = list(dis.get_instructions(code))
        for k, instruction in enumerate(instructions):
            if instruction.argval != last:
                continue
            rank = 0
            if instruction.opname in _STORES:
                rank = 3
            elif instruction.opname in _LOADS:
                after = instructions[k + 1 : k + 8]
                changing = any(i.opname == "STORE_SUBSCR" or i.argval in _CHANGERS for i in after)
                rank = 2 if changing else 1
            if rank and (best is None or rank > best[0]):
                best = rank, (code, instruction.offset)
    return None if best is None else best[1]


# ---- Values ----


def _same(value: Any, other: Any) -> bool:
    """Return whether two values are one object, or numbers or strings that cannot be told apart."""
    if value is other:
        return True
    comparable = type(value) in _NUMBERS or isinstance(value, np.generic)
    return comparable and type(value) is type(other) and exactly(value) == exactly(other)


def is_empty(cell: types.CellType) -> bool:
    """Return whether a variable of a closure has no value yet."""
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return True
    return False


def progress_of(value: Any) -> Any:
    """Return a value that differs once random numbers have been drawn, or an iterator has advanced."""
    if isinstance(value, np.random.Generator):
        return pickle.dumps(value.bit_generator.state)
    if isinstance(value, np.random.RandomState):
        return pickle.dumps(value.get_state(legacy=False))
    if isinstance(value, random.Random):
        return value.getstate()
    if isinstance(value, types.GeneratorType):
        frame = value.gi_frame
        return None if frame is None else (frame.f_lasti, {name: id(v) for name, v in frame.f_locals.items()})
    return repr(value), operator.length_hint(value, -1)


def is_clock(call: Any) -> bool:
    """Return whether a builtin function returns another value at each call: a clock, the system's random numbers."""
    if call.__name__ in ("now", "today", "utcnow"):
        return isinstance(call.__self__, type) and issubclass(call.__self__, datetime.date)
    return call in CLOCKS
