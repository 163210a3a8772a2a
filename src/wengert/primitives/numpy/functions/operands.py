"""How NumPy's arguments are brought into the primitives' form: axes count from the end, shapes are complete."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_index, normalize_axis_tuple

from wengert.errors import UnsupportedError
from wengert.primitives.numpy import structural as p
from wengert.program import Recordable

Axis = int | Sequence[int] | None
UNSET: Any = np._NoValue
"""The default by which NumPy's signatures mark a missing argument."""


def negative_axes(ndim: int, axis: Axis) -> tuple[int, ...]:
    """Return axes as a sorted tuple that counts from the end; None means all of them."""
    if axis is None:
        return tuple(range(-ndim, 0))
    if type(axis) is int and -ndim <= axis < ndim:
        return (axis,) if axis < 0 else (axis - ndim,)
    return tuple(sorted(a - ndim for a in normalize_axis_tuple(axis, ndim)))


def negative_axis(ndim: int, axis: Any) -> int:
    """Return one axis, counted from the end."""
    return normalize_axis_index(axis, ndim) - ndim


def only_axis(ndim: int, axis: Any) -> int:
    """Return the axis of a method of a ufunc, counted from the end; NumPy takes a tuple of one, and None for a vector.

    >>> only_axis(3, (0,)), only_axis(1, None)
    (-3, -1)
    """
    if isinstance(axis, tuple) and len(axis) == 1:
        (axis,) = axis
    return negative_axis(ndim, 0 if axis is None and ndim == 1 else axis)


def on_axis(a: Any, axis: Any) -> tuple[Any, int]:
    """Return an array and the axis that is meant: with None all elements in a row, and a scalar is a row of one."""
    if axis is None or not a.ndim:
        a, axis = np.ravel(a), axis or 0
    return a, normalize_axis_index(axis, a.ndim)


def ndim_of(a: Any) -> int:
    """Return the number of dimensions without asking NumPy to dispatch: these are called for every line."""
    ndim: int | None = getattr(a, "ndim", None)
    return np.asarray(a).ndim if ndim is None else ndim


def shape_of(a: Any) -> tuple[int, ...]:
    """Return the shape, likewise."""
    shape: tuple[int, ...] | None = getattr(a, "shape", None)
    return np.asarray(a).shape if shape is None else shape


def size_of(a: Any) -> int:
    """Return the number of elements, likewise."""
    size: int | None = getattr(a, "size", None)
    return np.asarray(a).size if size is None else size


def count(a: Any, axis: Axis) -> int:
    """Return how many elements each result of a reduction has."""
    return math.prod(shape_of(a)[k] for k in negative_axes(ndim_of(a), axis))


def as_operand(a: Any) -> Any:
    """Convert a list or number to an array; return arrays and traced values unchanged."""
    return a if hasattr(a, "shape") else np.asarray(a)


def with_arrays(values: Iterable[Any]) -> list[Any]:
    """Return values with arrays in place of the lists among them; all others are what they were."""
    return [as_operand(value) if isinstance(value, (list, tuple)) else value for value in values]


def as_floats(a: Any) -> Any:
    """Convert as `as_operand` does, and integers to floats; complex numbers stay what they are."""
    a = as_operand(a)
    return a if a.dtype.kind in "fc" else a.astype(np.float64)


def as_reals(a: Any) -> Any:
    """Convert as `as_operand` does, and what is no real float to one."""
    a = as_operand(a)
    return a if a.dtype.kind == "f" else a.astype(np.float64)


def is_traced(*values: Any) -> bool:
    """Return whether any of the values is traced."""
    return any(isinstance(v, Recordable) for v in values)


def flag(keepdims: Any) -> bool:
    """Read a flag that may not have been given."""
    return bool(keepdims) if keepdims is not UNSET else False


def only(**given: Any) -> None:
    """Refuse arguments that have no rule."""
    for name, value in given.items():
        if value is not None and value is not UNSET:
            raise UnsupportedError(
                f"the argument {name}= of this function has no rule on traced values yet; leave it out."
            )


def masked(where: Any) -> bool:
    """Return whether the argument is a mask."""
    return where is not UNSET and where is not True


def decided(positions: Any) -> Any:
    """Return the values of computed positions, counts or a mask, as one decision; plain ones unchanged."""
    return positions.__array__() if is_traced(positions) else positions


def pick(a: Any, index: tuple[Any, ...]) -> Any:
    """Index an array at positions that may themselves be computed."""
    template, operands = p.set_aside(index)
    return p.getitem(a, *operands, index=template)


def along(a: Any, axis: int, index: Any) -> Any:
    """Index one axis and take the others whole."""
    k = normalize_axis_index(axis, ndim_of(a))
    return pick(a, (slice(None),) * k + (index,))


def fixed(result: Any) -> Any:
    """Guard the length of a result that depends on values."""
    if isinstance(result, Recordable):
        int(p.length(result))
    return result
