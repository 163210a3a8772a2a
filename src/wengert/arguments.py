"""Arguments and results as the user has them, and the independent and dependent variables that a trace makes of them.

`Argnums` names the arguments that are differentiated (`argnums`, `argnames`).  `Independents` flattens those arguments
to arrays, the leaves of their trees, and puts traced values in their places.  `Result` does the same for the result,
and sets the auxiliary output aside (`has_aux`).  A call with plain arrays needs none of this.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from wengert import trees
from wengert.errors import ArgumentError, ResultError, is_called_by_scipy
from wengert.program import Trees
from wengert.tracing import (
    Traced,
    current_context,
    holds_traced,
    join,
    laid_like,
    means_more,
    parameter_names,
    refuse_kind,
)
from wengert.transformations import demand_positions

ArgnumsLike = int | Sequence[int] | None
Argnames = str | Sequence[str] | None

PLAIN = frozenset({float, np.float64, np.ndarray, Traced, np.float32})
"""The types of differentiable arguments that are not trees."""


# ---- One value ----


def independent(value: Any, name: int | str, copy: bool = False) -> Any:
    """Return the argument as a float or complex array or scalar; raise ArgumentError if it cannot be differentiated."""
    kind = type(value)
    if kind is float:
        return np.float64(value)
    if kind is np.float64:
        return value
    dtype = value.dtype if kind is Traced or isinstance(value, (np.ndarray, np.generic)) else None
    if kind is complex:
        return np.complex128(value)
    if dtype is not None and dtype.kind in "fc":
        return _settled(value, copy) if isinstance(value, np.ndarray) else value
    if dtype is not None and dtype.kind == "O" and holds_traced(value):
        return join(value)
    what = f"argument {name}" if isinstance(name, int) else name
    if isinstance(value, (int, np.integer)) or (dtype is not None and dtype.kind in "biu"):
        if kind is np.ndarray and is_called_by_scipy():  # fsolve asks first at the starting point as it was given
            return value.astype(np.float64)
        which = f"is of integer dtype ({value!r})" if np.ndim(value) == 0 else f"is an array of {dtype}"
        instead = f"Pass {float(value)!r}" if np.ndim(value) == 0 else "Pass x.astype(float)"
        raise ArgumentError.at_caller(f"{what} {which}, and derivatives need real numbers:", f"{instead}.")
    instead = "Pass a float or a NumPy array"
    if isinstance(name, str):
        instead += "; what is not differentiated belongs into another argument (see argnums)"
    which = "None" if value is None else f"a {kind.__name__}"
    if dtype is not None:
        which = f"of dtype {dtype}"
    raise ArgumentError.at_caller(f"{what} is {which}, not a number or an array of numbers:", f"{instead}.")


def _settled(array: Any, copy: bool) -> Any:
    """Return an array as a plain one, a copy that lies as it does if the function may write to it."""
    if type(array) is not np.ndarray:
        if means_more(type(array)):
            raise refuse_kind(type(array))
        array = np.asarray(array)
    if copy and not array.flags.c_contiguous:
        return laid_like(array, array)
    return array.copy() if copy or array.ndim == 0 else array


def is_real(value: Any) -> bool:
    """Return whether a value can be differentiated with respect to: a real or complex number, or an array of them."""
    return isinstance(value, (float, complex)) or getattr(getattr(value, "dtype", None), "kind", " ") in "fc"


def apart(value: Any) -> tuple[list[Any], Any]:
    """Flatten a value: return its leaves and its tree structure, None for an array."""
    if type(value) in PLAIN:
        return [value], None
    leaves, structure = trees.flatten(value)
    return leaves, None if structure.is_leaf() else structure


def together(structure: Any, leaves: Sequence[Any]) -> Any:
    """Rebuild a value from its structure and leaves; the inverse of `apart`."""
    return leaves[0] if structure is None else trees.unflatten(structure, leaves)


def apart_as(structure: Any, value: Any, what: str) -> list[Any]:
    """Flatten a value, which must have the given structure."""
    return [value] if structure is None else trees.flatten_as(structure, value, what)


def _portable(structure: Any) -> tuple[Any] | None:
    """Return a picklable form of a structure (None for an array)."""
    return None if structure is None else (trees.skeleton(structure),)


def _read_back(tree: tuple[Any] | None) -> Any:
    """Rebuild a structure from its picklable form; the inverse of `_portable`."""
    return None if tree is None else trees.flatten(*tree)[1]


# ---- Which arguments ----


def positions(argnums: ArgnumsLike, args: Sequence[Any]) -> tuple[int, ...]:
    """Return the positions of the independent arguments; with None, all that are (or hold) real numbers or arrays."""
    if argnums is None:
        real = tuple(k for k, a in enumerate(args) if is_real(a) or (type(a) not in PLAIN and _holds_real(a)))
        if real:
            return real
        argnums = 0
    chosen = (int(argnums),) if isinstance(argnums, (int, np.integer)) else tuple(argnums)
    for k in chosen:
        if not -len(args) <= k < len(args):
            raise ArgumentError.at_caller(
                f"argnums names argument {k}, and the function is called with {len(args)} positional arguments:",
                "Pass the arguments to differentiate by position, and count them from 0; or name them in argnames.",
            )
    return tuple(k % len(args) for k in chosen)


def _holds_real(value: Any) -> bool:
    if isinstance(value, (str, bytes, int, np.ndarray, np.generic)) or value is None:
        return False
    return any(is_real(leaf) for leaf in trees.flatten(value)[0])


class Argnums:
    """The arguments that are differentiated, by position and by name; packs their derivatives in the matching form.

    >>> Argnums(0, None).pack([1.0]), Argnums((0, 1), None).pack([1.0, 2.0]), Argnums(None, ["a"]).pack([1.0])
    (1.0, (1.0, 2.0), {'a': 1.0})
    """

    __slots__ = ("argnames", "argnums", "from_the_first", "real_only", "single")

    def __init__(self, argnums: ArgnumsLike, argnames: Argnames, real_only: bool = False) -> None:
        self.real_only = real_only  # leave the leaves of a tree that are not real as they are
        if argnums is None and argnames is None:
            argnums = 0
        if argnums is not None and not isinstance(argnums, int):
            demand_positions(argnums)
            argnums = int(argnums) if isinstance(argnums, np.integer) else tuple(argnums)
        self.argnums = argnums
        self.argnames = argnames if argnames is None or isinstance(argnames, str) else tuple(argnames)
        self.single = isinstance(argnums, int) and argnames is None
        counted = argnums if isinstance(argnums, tuple) else ()
        self.from_the_first = counted if argnames is None and all(type(k) is int and k >= 0 for k in counted) else ()
        """The positions, if all are counted from the first argument, and so are the same in every call."""

    def keys(self, f: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[int | str]:
        """Return the keys of the chosen arguments in a call: positions, and names of keyword arguments."""
        keys: list[int | str] = [] if self.argnums is None else [*positions(self.argnums, args)]
        if self.argnames is not None:
            for name in (self.argnames,) if isinstance(self.argnames, str) else self.argnames:
                keys.append(_key_of(name, f, args, kwargs))
        return keys

    def pack(self, results: Sequence[Any]) -> Any:
        """Return one result for each chosen argument: itself, a tuple of them by position, a dict by name, or both."""
        count = 0 if self.argnums is None else 1 if isinstance(self.argnums, int) else len(self.argnums)
        by_position: Any = results[0] if isinstance(self.argnums, int) else tuple(results[:count])
        if self.argnames is None:
            return by_position
        rest = results[count:]
        by_name: Any = rest[0] if isinstance(self.argnames, str) else dict(zip(self.argnames, rest, strict=True))
        return by_name if self.argnums is None else (by_position, by_name)


def _key_of(name: str, f: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> int | str:
    if name in kwargs:
        return name
    try:
        names = list(inspect.signature(f).parameters)
    except (TypeError, ValueError):
        names = []
    if name in names[: len(args)]:
        return names.index(name)
    passed = ", ".join([*names[: len(args)], *kwargs])
    raise ArgumentError.at_caller(
        f"argnames names {name!r}, and the function is called without it:", f"It is called with {passed}; pass {name}=."
    )


class Independents:
    """The arguments of one call, and which of their leaves are the independent variables.

    >>> independents = Independents(({"w": 1.0}, "tanh"), {}, [0])
    >>> independents.leaves, independents.rebuild([5.0]), independents.collect([7.0])
    ([np.float64(1.0)], ([{'w': 5.0}, 'tanh'], {}), [{'w': 7.0}])
    """

    __slots__ = ("_args", "_kwargs", "_parts", "leaves")

    def __init__(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        keys: Sequence[int | str],
        copy: bool = False,
        real_only: bool = False,
        names: Sequence[str] = (),
    ) -> None:
        self._args, self._kwargs = args, kwargs
        self.leaves: list[Any] = []
        self._parts: list[tuple[int | str, Any, list[Any], list[int]]] = []
        for key in keys:
            value = args[key] if isinstance(key, int) else kwargs[key]
            leaves, structure = apart(value)
            chosen = [k for k, leaf in enumerate(leaves) if not real_only or structure is None or is_real(leaf)]
            self._parts.append((key, structure, leaves, chosen))
            for k in chosen:
                leaf = leaves[k]
                if type(leaf) in PLAIN:
                    self.leaves.append(independent(leaf, 0, copy))
                else:
                    called = key if not isinstance(key, int) or not names else names[key]
                    what = key if structure is None else trees.paths(value, str(called))[k]
                    self.leaves.append(independent(leaf, what, copy))
        if not self.leaves and keys and not real_only:
            key = keys[0]
            independent(args[key] if isinstance(key, int) else kwargs[key], key)

    def __getstate__(
        self,
    ) -> tuple[int, list[Any]]:  # the structures that `split` and `collect` read; the caller keeps the values
        return len(self.leaves), [(key, _portable(structure), chosen) for key, structure, _, chosen in self._parts]

    def __setstate__(self, state: tuple[int, list[Any]]) -> None:
        count, parts = state
        self._args, self._kwargs, self.leaves = (), {}, [None] * count
        self._parts = [(key, _read_back(tree), [], chosen) for key, tree, chosen in parts]

    @property
    def plain(self) -> bool:
        """True if every chosen argument is an array or number."""
        return all(structure is None for _, structure, _, _ in self._parts)

    def rebuild(self, leaves: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments with the independent leaves replaced by `leaves`."""
        args, kwargs = list(self._args), dict(self._kwargs)
        remaining = iter(leaves)
        for key, structure, originals, chosen in self._parts:
            replaced = list(originals)
            for k in chosen:
                replaced[k] = next(remaining)
            value = together(structure, replaced)
            if isinstance(key, int):
                args[key] = value
            else:
                kwargs[key] = value
        return args, kwargs

    def collect(self, leaves: Sequence[Any]) -> list[Any]:
        """Collect one value for each independent leaf in one tree for each chosen argument."""
        collected, start = [], 0
        for _, structure, _, chosen in self._parts:
            collected.append(together(structure, leaves[start : start + len(chosen)]))
            start += len(chosen)
        return collected

    def split(self, values: Sequence[Any], what: str) -> list[Any]:
        """Flatten values that have the structures of the chosen arguments; the inverse of `collect`."""
        if len(values) != len(self._parts):
            raise ArgumentError(
                f"{len(self._parts)} values are needed for {what}, one for each argument, not {len(values)}."
            )
        independent_leaves = []
        for n, (value, (_, structure, _, chosen)) in enumerate(zip(values, self._parts, strict=True)):
            leaves = apart_as(structure, value, f"{what} {n}")
            independent_leaves += [leaves[k] for k in chosen]
        return independent_leaves

    def names(self, function: Callable[..., Any]) -> list[str]:
        """Name each independent leaf by an identifier."""
        parameters = parameter_names(function, len(self._args))
        names: list[str] = []
        for key, structure, _, chosen in self._parts:
            name = parameters[key] if isinstance(key, int) else key
            labels = [name] if structure is None else trees.identifiers(structure, name)
            for k in chosen:
                label = labels[k]
                while label in names:
                    label += "_"
                names.append(label)
        return names


class Result:
    """The result of a function: its tree structure, and the auxiliary output beside it."""

    __slots__ = ("aux", "has_aux", "scalar", "structure")

    def __init__(self, has_aux: bool = False, scalar: bool = False) -> None:
        self.has_aux, self.scalar = has_aux, scalar
        self.structure: Any = None
        self.aux: Any = None

    def __getstate__(self) -> tuple[bool, bool, Any]:  # the caller has the auxiliary output
        return self.has_aux, self.scalar, _portable(self.structure)

    def __setstate__(self, state: tuple[bool, bool, Any]) -> None:
        self.has_aux, self.scalar, tree = state
        self.structure, self.aux = _read_back(tree), None

    def __call__(self, returned: Any) -> list[tuple[str, Any]]:
        """Flatten a result into named leaves while its trace is still open."""
        if self.has_aux:
            if not isinstance(returned, tuple) or len(returned) != 2:
                raise ResultError.at_caller(
                    "with has_aux=True a function returns a pair, (result, what else it has to say):",
                    "Return a pair, or leave out has_aux.",
                )
            returned, aux = returned
            self.aux = strip(aux)
        if self.scalar or type(returned) in PLAIN:
            return [("", returned)]
        leaves, structure = trees.flatten(returned)
        if structure.is_leaf() or not leaves:
            return [("", returned)]
        self.structure = structure
        if structure.type in (tuple, list) and len(leaves) == structure.num_children:
            return [("", leaf) for leaf in leaves]
        return [
            (name.removeprefix("y"), leaf) for name, leaf in zip(trees.identifiers(structure, "y"), leaves, strict=True)
        ]

    def pack(self, leaves: Sequence[Any]) -> Any:
        """Pack one value for each leaf as the function returned them."""
        return together(self.structure, leaves)

    def split(self, value: Any, what: str) -> list[Any]:
        """Flatten a value that has the structure of the result."""
        return apart_as(self.structure, value, what)


def strip(tree: Any) -> Any:
    """Return a tree with its traced values of the innermost open trace replaced by their plain values."""
    tape = current_context().tapes[-1]

    def plain(leaf: Any) -> Any:
        if type(leaf) is not Traced and holds_traced(leaf):
            leaf = join(leaf)
        return leaf._value if type(leaf) is Traced and leaf._tape is tape else leaf

    return plain(tree) if type(tree) in PLAIN else trees.map_leaves(plain, tree)


class ProgramTrees(Trees):
    """The tree structures of the arguments and results of a Program."""

    __slots__ = ("_independents", "_result")

    def __init__(self, independents: Independents, result: Result) -> None:
        self._independents, self._result = independents, result

    def split(self, args: Sequence[Any]) -> Sequence[Any]:
        if len(args) == len(self._independents.leaves) and PLAIN.issuperset(map(type, args)):
            return args  # flattened by the caller
        return self._independents.split(args, "argument")

    def join(self, results: Sequence[Any]) -> Any:
        return self._result.pack(results)


def of_arrays(
    f: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], argnums: ArgnumsLike
) -> tuple[Callable[..., Any], list[Any], list[str]]:
    """Return `f` as a function from arrays to one array, the arrays of this call, and their names.

    >>> f, args, names = of_arrays(lambda p: {"u": p["a"] + 1, "v": p["b"]}, ({"a": 1.0, "b": np.ones(2)},), {}, None)
    >>> f(*args), names
    (array([2., 1., 1.]), ['p_a', 'p_b'])
    """
    independents = Independents(
        args, kwargs, positions(argnums, args), real_only=argnums is None, names=parameter_names(f, len(args))
    )

    @functools.wraps(f)
    def function(*leaves: Any) -> Any:
        replaced, named = independents.rebuild(leaves)
        result = f(*replaced, **named)
        parts, structure = apart(result) if type(result) in PLAIN else trees.flatten(result)
        if structure is None or structure.is_leaf() or not parts:
            return result
        return np.concatenate([np.ravel(part) for part in parts])

    return function, independents.leaves, independents.names(f)
