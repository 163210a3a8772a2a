"""Signatures: the arguments and the result of a call, split into traced leaves and fixed ones.

Arrays and numbers are traced.  Every other leaf belongs to the signature: by its value, or an object by its identity
(its attributes are compared: `wengert.compilation.environment`).

>>> arguments = Arguments(({"w": np.ones(2)}, 3.0, "tanh"), {"n": 2}, lambda params, x, kind, n: x)
>>> arguments.names(), arguments.statics
(['params_w', 'x'], {2: (<class 'str'>, 'tanh'), 3: (<class 'int'>, 2)})
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from wengert import trees
from wengert.compilation.environment import Environment
from wengert.errors import ArgumentError, ResultError
from wengert.program import Recordable
from wengert.program.code import Fixed, Leaf, Matrix, ResultForm
from wengert.tracing import Traced, holds_traced, innermost, join, parameter_names

Function = Callable[..., Any]
ndarray, float64 = np.ndarray, np.float64


# ---- Arguments ----


class Arguments:
    """The arguments of a call: which leaves are traced, and everything else, which belongs to the signature."""

    def __init__(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], function: Function, fixes_floats: bool = False
    ) -> None:
        self.fixes_floats = fixes_floats
        flat, self.structure = trees.flatten((tuple(args), dict(kwargs)))
        self.function, self._count = function, len(args)
        self.values: list[Any] = []
        """The traced leaves, as they were passed."""
        self.statics: dict[int, Any] = {}
        """The keys of the leaves that are not traced, by their numbers."""
        self.objects: list[Any] = []
        self.holds_traced = False
        self.flat, self._places = flat, []
        described: list[Any] = []
        for k, leaf in enumerate(flat):
            kind = type(leaf)
            if kind is ndarray and leaf.dtype.kind in "biufc":
                described.append((leaf.shape, leaf.strides, leaf.dtype))
            elif (isinstance(leaf, np.generic) and leaf.dtype.kind in "biufc") or (
                (kind is float or kind is complex) and not fixes_floats
            ):
                described.append(kind)
            else:
                if isinstance(leaf, Recordable) or (kind is ndarray and leaf.dtype.hasobject and holds_traced(leaf)):
                    self.holds_traced = True
                elif isinstance(leaf, ndarray) and kind is not ndarray:
                    raise ArgumentError.at_caller(
                        f"an argument of a jitted function is a {kind.__name__}:", "Pass a plain array: np.asarray(x)."
                    )
                self.statics[k] = self._static(leaf)
                described.append(None)
                continue
            self._places.append(k)
            self.values.append(leaf)
        self.arrays = self.structure, tuple(described)
        """The part of the key that describes arrays: calls that differ only in other leaves have it in common."""
        self.key = self.arrays, tuple(self.statics.items())
        self.are_leaves = (
            not kwargs
            and all(type(a) in _FAST for a in args)
            and all(kind in _BY_EQUALITY for kind, _ in self.statics.values())
        )
        """True if all arguments are leaves, by position: arrays, floats, and values that are compared in no time."""
        self._inputs: list[Any] = []
        self._passed: Any = ()

    def test(self) -> tuple[str, dict[str, Any]]:
        """Write a test of whether the tuple `args` of a call, of leaves alone, has this key; and its names.

        >>> Arguments((np.ones(2), 0.5), {}, pow).test()[0]
        'len(args) == 2 and type(args[0]) is t0 and args[0].dtype is d0 and args[0].shape == (2,) and \
args[0].strides == (8,) and type(args[1]) is t1'
        """
        if not self.are_leaves:
            return "False", {}
        names: dict[str, Any] = {}
        tests = [f"len(args) == {len(self.flat)}"]
        for k, value in enumerate(self.flat):
            kind = names[f"t{k}"] = type(value)
            tests.append(f"type(args[{k}]) is t{k}")
            if k in self.statics:
                names[f"s{k}"] = value
                tests.append(f"args[{k}] == s{k}")
            elif kind is ndarray:
                names[f"d{k}"] = value.dtype
                tests.append(f"args[{k}].dtype is d{k}")
                tests.append(f"args[{k}].shape == {value.shape}")
                tests.append(f"args[{k}].strides == {value.strides}")
        return " and ".join(tests), names

    def traced_among(self) -> Callable[[tuple[Any, ...]], tuple[Any, ...]] | None:
        """Return what takes the traced leaves out of a tuple of leaves; None if they are all of it.

        >>> Arguments((0.5, 2, 1.5), {}, pow).traced_among()((0.25, 2, 0.75))
        (0.25, 0.75)
        """
        if not self.statics:
            return None
        places = tuple(self._places)
        return lambda args: tuple([args[k] for k in places])

    @functools.cached_property
    def leaf_names(self) -> list[str]:
        """The name of each leaf, as it is reached: ``params['w'][0]``."""
        positional = parameter_names(self.function, self._count)
        args, kwargs = trees.unflatten(self.structure, self.flat)
        named = [*zip(positional, args, strict=True), *sorted(kwargs.items())]
        return [name for parameter, value in named for name in _paths(value, parameter)]

    def _static(self, leaf: Any) -> Any:
        """Return the key of a leaf that is not traced: its type and its value, or its identity."""
        kind = type(leaf)
        if kind in _BY_VALUE:
            return kind, leaf
        if kind is float or kind is complex:
            return kind, repr(leaf)
        self.objects.append(leaf)
        by_value = vars(object)["__hash__"] is not kind.__hash__ and isinstance(leaf, Hashable) and not callable(leaf)
        return kind, leaf if by_value else Same(leaf)

    # -- Of a trace (see `wengert.tracing.run`) --

    @property
    def leaves(self) -> list[Any]:
        """The traced leaves, Python's own numbers as NumPy's."""
        return [
            np.float64(v) if type(v) is float else np.complex128(v) if type(v) is complex else v for v in self.values
        ]

    def names(self, _function: Function | None = None) -> list[str]:
        """Name each traced leaf by an identifier."""
        names: list[str] = []
        for k in self._places:
            name = re.sub(r"\W+", "_", self.leaf_names[k]).strip("_")
            while name in names:
                name += "_"
            names.append(name)
        return names

    def rebuild(self, inputs: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments with traced values in the place of arrays and numbers."""
        self._inputs = list(inputs)
        flat = list(self.flat)
        for k, traced in zip(self._places, inputs, strict=True):
            flat[k] = traced
        self._passed = args, kwargs = trees.unflatten(self.structure, flat)
        return list(args), kwargs

    def changed(self) -> str | None:
        """Name an argument that the function has changed in place; None if it has changed none."""
        for position, traced in enumerate(self._inputs):
            if traced._index != position:
                return self.leaf_names[self._places[position]]
        flat, structure = trees.flatten(self._passed)
        if structure != self.structure:
            args, kwargs = trees.unflatten(self.structure, self.flat)
            named = [*zip(parameter_names(self.function, self._count), args, self._passed[0], strict=True)]
            named += [(name, value, self._passed[1][name]) for name, value in kwargs.items()]
            return next(name for name, one, other in named if trees.flatten(one)[1] != trees.flatten(other)[1])
        before = list(self.flat)
        for k, traced in zip(self._places, self._inputs, strict=True):
            before[k] = traced
        return next((self.leaf_names[k] for k, leaf in enumerate(flat) if leaf is not before[k]), None)


def _paths(value: Any, name: str) -> list[str]:
    return [name] if type(value) in _PLAIN else trees.paths(value, name)


_BY_EQUALITY = frozenset({int, bool, str})
_FAST = frozenset({ndarray, float64, float, *_BY_EQUALITY})
_PLAIN = frozenset({ndarray, float64, float, int, bool, str})
_BY_VALUE = frozenset({int, bool, str, bytes, type(None), type(...), range})


class Same:
    """An object as part of a key: only itself is equal to it."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return type(other) is Same and other.value is self.value


# ---- Results ----


class Result:
    """The result of a function, taken apart: its traced leaves become results of the Program.

    Attributes
    ----------
    form
        The tree structure of the result, and its leaves.
    """

    def __init__(self, arguments: Arguments, environment: Environment) -> None:
        self._arguments, self._environment = arguments, environment
        self.structure: Any = ()  # that of several results, whatever their number
        self.form = ResultForm(None, ())

    def __call__(self, returned: Any) -> list[tuple[str, Any]]:
        """Return the traced leaves of a result, which have no names."""
        traced: list[tuple[str, Any]] = []
        flat, structure = trees.flatten(returned)
        self.form = ResultForm(structure, tuple([self._leaf(value, traced) for value in flat]))
        return traced

    def _leaf(self, value: Any, traced: list[tuple[str, Any]]) -> Leaf | Fixed | Matrix:
        kind = type(value)
        if kind.__module__.startswith("scipy.sparse") and getattr(value, "format", "") == "csr":
            data: Any = self._leaf(value.data, traced)
            empty = np.zeros(value.indices.size)
            return Matrix(data, kind((empty, value.indices.copy(), value.indptr.copy()), shape=value.shape))
        if kind is Traced or (kind is ndarray and value.dtype.hasobject and holds_traced(value)):
            value = join(value)
            if value._index >= 0:
                traced.append(("", value))
                is_scalar = type(innermost(value)) is not ndarray
                return Leaf(len(traced) - 1, "array" if value.shape else "scalar" if is_scalar else "0-d array")
            value = innermost(value)
            kind = type(value)
        if kind in (int, float, complex, bool) or isinstance(value, np.generic):
            return Fixed(value)
        if kind is ndarray and not value.dtype.hasobject:
            return Fixed(value.copy("K"))
        if kind is str and self._is_literal(value):
            return Fixed(value)
        what = "a text that was made while it was traced" if isinstance(value, str) else f"a {kind.__name__}"
        instead = "Return arrays, numbers, and trees of them; make the rest outside."
        raise ResultError.at_caller(f"a jitted function returned {what}:", instead)

    def _is_literal(self, text: str) -> bool:
        """Return whether a text stands in the code or was passed, and so cannot have been made of a value."""
        return any(text is c for code in self._environment.codes for c in code.co_consts) or any(
            text is leaf for leaf in self._arguments.flat
        )

    def build(self, values: Sequence[Any]) -> Any:
        """Build the result as the function returned it of the results of the Program; copy each array."""
        return trees.unflatten(self.form.structure, [_value(leaf, values) for leaf in self.form.leaves])

    def take_types(self, result: Any) -> None:
        """Set the types of numbers in the result to those that the plain function returned."""
        leaves: list[Leaf | Fixed | Matrix] = []
        for leaf, value in zip(self.form.leaves, trees.flatten(result)[0], strict=True):
            if type(value) in (float, complex, bool, int):
                leaf = Leaf(leaf.place, type(value).__name__) if isinstance(leaf, Leaf) else Fixed(value)
            leaves.append(leaf)
        self.form = ResultForm(self.form.structure, tuple(leaves))


def _value(leaf: Leaf | Fixed | Matrix, values: Sequence[Any]) -> Any:
    """Return a leaf of the result, of the results of the Program; an array is a copy."""
    if isinstance(leaf, Matrix):
        return leaf.build(_value(leaf.data, values))
    value = values[leaf.place] if isinstance(leaf, Leaf) else leaf.value
    return value.copy("K") if type(value) is ndarray else value
