"""Structure: a Program is a hashable shape and a list of particulars.

The *key* holds the primitives and operands of the lines, shapes, dtypes and decisions.  Programs of one key differ only
in their *particulars*, listed in the order of the lines: constants, integers in an index, integers that a decision
depends on.  Code that was written for one Program fits all Programs of its key.

>>> import numpy as np, wengert as wg
>>> one, other = (wg.trace(lambda x: k * np.exp(x)[k])(np.ones(3)) for k in (1, 2))
>>> structure(one).key == structure(other).key
True
>>> structure(one).particulars, structure(other).particulars
([1, 1], [2, 2])
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from types import EllipsisType, NoneType
from typing import Any, NamedTuple

import numpy as np

from wengert.program.lines import Operand, Var, WengertList


class Structure(NamedTuple):
    """The key, common to all Programs of a structure, and the particulars of one of them.

    The key is a pair: the shapes and dtypes of the independent variables, and everything else.
    """

    key: tuple[tuple[Any, ...], Hashable]
    particulars: list[Any]


def structure(program: WengertList, longest: int | None = None) -> Structure | None:
    """Return the structure of a Program; None if it cannot be compared.

    With `longest`, the key may outlive the Program: a parameter has no key if it holds an array of more elements, which
    may change meanwhile, or anything but numbers, strings and their tuples.
    """
    places: dict[Any, int] = {var: ~k for k, var in enumerate(program.inputs)}
    number = 0  # of the results of lines, which counts apart from the inputs: a step may have one more of these
    parts: list[Any] = []
    particulars: list[Any] = []
    try:
        for line in program.lines:
            primitive = line.primitive
            operands = tuple(
                [places[a] if isinstance(a, Var) else _constant(a.value, particulars) for a in line.inputs]
            )
            params: Any = ()
            if primitive.multiple and line.held is not None:
                inner = line.held.structure(longest)
                if inner is None:
                    return None
                params, more = inner
                particulars += more
            elif line.params:
                params = _params(line.params, longest, particulars)
            if primitive.multiple:
                parts.append((primitive, operands, params, *[(var.shape, var.dtype) for var in line.outputs]))
                places.update(zip(line.outputs, range(number, number + len(line.outputs)), strict=True))
                number += len(line.outputs)
            else:
                (var,) = line.outputs
                parts.append((primitive, operands, params, var.shape, var.dtype))
                places[var] = number
                number += 1
        for guard in program.guards:
            if type(guard.value) is bool:
                parts.append((places[guard.var], guard.value))
            else:
                parts.append((places[guard.var], type(guard.value)))
                particulars.append(guard.value)
        for atom in program.outputs:
            parts.append(places[atom] if isinstance(atom, Var) else _constant(atom.value, particulars))
        key = tuple([(var.shape, var.dtype) for var in program.inputs]), tuple(parts)
        if longest is None:
            hash(key)
    except TypeError:
        return None
    return Structure(key, particulars)


def _constant(value: Any, particulars: list[Any]) -> Any:
    """Return the kind of a constant; its value is a particular."""
    particulars.append(value)
    kind = type(value)
    return (kind, value.shape, value.dtype) if kind is np.ndarray else kind


def _params(params: Mapping[str, Any], longest: int | None, particulars: list[Any]) -> Any:
    """Return the key of parameters; integers in an index are particulars."""
    parts = []
    for name, value in params.items():
        if name == "index" and type(value) is tuple:
            particulars += [item for item in value if type(item) is int]
            parts.append((name, *[int if type(item) is int else exactly(item, longest) for item in value]))
        else:
            parts.append((name, exactly(value, longest)))
    return tuple(parts)


# ---- Constants and parameters ----


def kind_of(value: Any) -> Any:
    """Return the kind of a constant, equal for constants that may replace each other: type, shape, dtype.

    >>> kind_of(2.0) == kind_of(3.0), kind_of(2.0) == kind_of(2), kind_of(np.ones(2)) == kind_of(np.ones(3))
    (True, False, False)
    """
    return _constant(value, [])


def exactly(value: Any, longest: int | None = None) -> Hashable:  # noqa: C901 - a kind of value after the other
    """Return a key of a value, equal for values that cannot be told apart, down to the sign of zero.

    With `longest`, raise TypeError for an array of more elements, and for anything but numbers, indices and other plain
    values.  Without it, such a value is its own key.

    >>> exactly(0.0) == exactly(0.0), exactly(0.0) == exactly(-0.0), exactly(np.nan) == exactly(np.nan)
    (True, False, True)
    """
    kind = type(value)
    if kind is int or kind in _SIMPLE:
        return kind, value
    if kind is tuple or kind is list:
        return kind, *[exactly(item, longest) for item in value]
    if kind is slice:
        parts = value.start, value.stop, value.step
        return kind, *[part if part is None or type(part) is int else exactly(part, longest) for part in parts]
    if kind is float:
        return kind, value.hex()
    if kind is complex:
        return kind, value.real.hex(), value.imag.hex()
    if kind is np.ndarray and not value.dtype.hasobject:
        if value.size <= (SHORT if longest is None else longest):
            return kind, value.shape, value.dtype, value.tobytes()
        if longest is None:
            return _LongArray(value)
    if isinstance(value, np.generic) and not value.dtype.hasobject:
        return kind, value.dtype, value.tobytes()
    if kind is Operand:
        return kind, value.k
    if isinstance(value, np.dtype):
        return np.dtype, value
    if longest is None:
        return kind, value
    raise TypeError(f"{kind.__name__} has no lasting key")


_SIMPLE = frozenset({bool, str, NoneType, EllipsisType, type})
SHORT = 16
"""Arrays of up to this many elements are compared by their bytes; longer ones only if all else is equal."""
SAMPLED = 1_024
"""About so many elements of a long array are hashed: masks of neighboring places differ in two."""


class _LongArray:
    """An array in a key, equal to any other array of the same elements."""

    __slots__ = ("_hash", "array")

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array = array
        self._hash: int | None = None

    def __hash__(self) -> int:
        if self._hash is None:
            array = self.array
            sample = array if array.size <= SAMPLED else array.flat[:: array.size // SAMPLED]
            self._hash = hash((array.shape, array.dtype, sample.tobytes()))
        return self._hash

    def __eq__(self, other: object) -> bool:
        if type(other) is not _LongArray:
            return False
        a, b = self.array, other.array
        return a is b or (a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes())


def same(one: Any, other: Any) -> bool:
    """Return whether two constants or parameters are equal, down to the sign of zero; NaN equals NaN."""
    if one is other:
        return True
    if type(one) is int:
        return type(other) is int and one == other
    try:
        return exactly(one) == exactly(other)
    except TypeError:
        return False


def all_same(ones: Sequence[Any], others: Sequence[Any]) -> bool:
    """Return whether two lists of particulars are equal."""
    return len(ones) == len(others) and all(map(same, ones, others))
