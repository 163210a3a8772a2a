"""The methods of NumPy's ufuncs, and the keywords that all of them take.

``np.log(x, where=x > 0)``, ``np.add(a, b, dtype=np.float32)``, ``np.maximum.accumulate(x)``,
``np.logaddexp.reduce(x)``, ``np.multiply.outer(a, b)``, ``np.add.reduceat(x, starts)``: in terms of the ufunc's row.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from wengert.errors import UnsupportedError
from wengert.primitives.numpy import running
from wengert.primitives.numpy import structural as p
from wengert.primitives.numpy.functions import in_place, reductions
from wengert.primitives.numpy.functions.manipulation import astype
from wengert.primitives.numpy.functions.operands import (
    UNSET,
    as_operand,
    masked,
    ndim_of,
    negative_axes,
    only,
    only_axis,
)
from wengert.primitives.table import CALLS, calls

ASSOCIATIVE = frozenset({
    np.multiply, np.maximum, np.minimum, np.fmax, np.fmin, np.logaddexp, np.logaddexp2, np.hypot, np.logical_and,
    np.logical_or, np.logical_xor, np.bitwise_and, np.bitwise_or, np.bitwise_xor,
})  # fmt: skip
"""Ufuncs whose elements may be combined in any order: by halves."""

_LOGICAL = frozenset({np.logical_and, np.logical_or, np.logical_xor})
"""Ufuncs that take operands of any type for truth values: a single one of them too."""

_OWN = {
    np.add: reductions.sum, np.multiply: reductions.prod, np.maximum: reductions.max, np.minimum: reductions.min,
    np.logical_and: reductions.all, np.logical_or: reductions.any,
}  # fmt: skip
"""Ufuncs whose reduction has a name of its own."""

_RUNNING = {np.maximum: running.running_maximum, np.minimum: running.running_minimum}
"""Ufuncs whose partial results have a rule of their own."""

_INSIDE: dict[Any, float] = {np.arccosh: 2.0}
"""The values that replace masked elements, so that nothing is computed outside the function's domain."""


def call(
    ufunc: np.ufunc, *inputs: Any, where: Any = True, dtype: Any = None, casting: Any = "same_kind", order: str = "K",
    subok: bool = True, signature: Any = None, sig: Any = None, **core: Any,
) -> Any:  # fmt: skip
    """Call a ufunc with its keywords; where a mask is False the result is 0 (NumPy leaves anything there)."""
    handler = CALLS.get(ufunc)
    if handler is None:
        raise UnsupportedError(f"np.{ufunc.__name__} has no rule on traced values.")
    if ufunc.signature is not None:  # np.matmul and relatives: not element by element
        return handler(*[x if dtype is None else astype(as_operand(x), dtype, casting=casting) for x in inputs], **core)
    if core:
        raise TypeError(f"{ufunc.__name__}() got an unexpected keyword argument '{next(iter(core))}'")
    asked = signature if signature is not None else sig
    if dtype is not None or asked is not None:
        inputs = tuple(_cast(ufunc, inputs, dtype, asked, casting))
    if where is True:
        return handler(*inputs)
    safe = [np.where(where, x, as_operand(x).dtype.type(_INSIDE.get(ufunc, 0.5))) for x in inputs]
    results = handler(*safe)
    if isinstance(results, tuple):
        return tuple(np.where(where, y, y.dtype.type(0)) for y in results)
    return np.where(where, results, results.dtype.type(0))


def _cast(ufunc: np.ufunc, inputs: Any, dtype: Any, asked: Any, casting: Any) -> list[Any]:
    """Convert operands to the dtypes of NumPy's loop; raise NumPy's TypeError if `casting` forbids it."""
    kinds = [type(x) if type(x) in (int, float, complex) else as_operand(x).dtype for x in inputs]
    if asked is None:
        asked = (None,) * ufunc.nin + (np.dtype(dtype),) * ufunc.nout
    elif isinstance(asked, str):
        left, _, right = asked.partition("->")
        asked = tuple(np.dtype(c) for c in left + right)
    chosen = ufunc.resolve_dtypes((*kinds, *[None] * ufunc.nout), signature=asked, casting=casting)
    return [astype(as_operand(x), kind) for x, kind in zip(inputs, chosen, strict=False)]


def reduce(  # noqa: C901 - NumPy's arguments, one by one
    ufunc: np.ufunc, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: Any = False,
    initial: Any = UNSET, where: Any = True,
) -> Any:  # fmt: skip
    """Combine the elements along an axis."""
    if isinstance(out, tuple):
        out = out[0]
    only(out=out)
    _needs_two(ufunc, "reduce")
    array = as_operand(array)
    if dtype is not None:
        array = astype(array, dtype)
    if ufunc in _LOGICAL:
        array = astype(array, bool)
    if ufunc in _OWN:
        options: dict[str, Any] = {"axis": axis, "keepdims": keepdims}
        if initial is not UNSET and initial is not None:
            options["initial"] = initial
        if masked(where):
            options["where"] = where
        if ufunc not in (np.logical_and, np.logical_or) or "initial" not in options:
            return _OWN[ufunc](array, **options)
    identity = ufunc.identity
    if masked(where):
        start = identity if initial is UNSET or initial is None else initial
        if start is None:
            raise ValueError(
                f"reduction operation '{ufunc.__name__}' does not have an identity, "
                "so to use a where mask one has to specify 'initial'"
            )
        if ufunc not in ASSOCIATIVE:
            raise UnsupportedError(f"np.{ufunc.__name__}.reduce with where= has no rule on traced values.")
        array = np.where(where, array, array.dtype.type(identity if identity is not None else start))
    axes = negative_axes(array.ndim, axis)
    if 0 in [array.shape[k] for k in axes] and identity is None and (initial is UNSET or initial is None):
        raise ValueError(f"zero-size array to reduction operation {ufunc.__name__} which has no identity")
    pair = functools.partial(call, ufunc)
    if ufunc == np.hypot and all(array.shape[k] == 1 for k in axes):
        array = np.abs(array)  # NumPy begins with hypot(0, x)
    if ufunc in ASSOCIATIVE:
        result = reductions.fold(pair, array, axis, bool(keepdims), identity if identity is not None else initial)
        return result if initial is UNSET or initial is None else pair(result, initial)
    if len(axes) > 1:
        raise ValueError(
            f"reduction operation '{ufunc.__name__}' is not reorderable, so at most one axis may be specified"
        )
    if not axes:
        return array
    rows = np.moveaxis(array, axes[0], 0)
    result = initial if initial is not UNSET and initial is not None else rows[0]
    for k in range(0 if initial is not UNSET and initial is not None else 1, rows.shape[0]):
        result = pair(result, rows[k])
    return np.expand_dims(result, axes[0] + array.ndim) if keepdims else result


def accumulate(ufunc: np.ufunc, array: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> Any:
    """Combine the elements along an axis, and return all partial results."""
    if isinstance(out, tuple):
        out = out[0]
    only(out=out)
    _needs_two(ufunc, "accumulate")
    array = as_operand(array)
    if array.ndim == 0:
        raise TypeError("cannot accumulate on a scalar")
    if dtype is not None:
        array = astype(array, dtype)
    if ufunc in _LOGICAL:
        array = astype(array, bool)
    axis = only_axis(array.ndim, axis)
    if ufunc == np.add:
        return p.cumsum(array, axis=axis)
    if ufunc == np.multiply:
        return reductions.accumulated_product(array, axis)
    if ufunc in _RUNNING and array.dtype.kind == "f":
        return _RUNNING[ufunc](array, axis=axis)
    pair = functools.partial(call, ufunc)
    if ufunc in ASSOCIATIVE:
        return reductions.scan(pair, array, axis)
    rows = np.moveaxis(array, axis, 0)
    if rows.shape[0] == 0:
        return array
    results = [rows[0]]
    for k in range(1, rows.shape[0]):
        results.append(pair(results[-1], rows[k]))
    return np.stack(results, axis=axis)


def outer(ufunc: np.ufunc, A: Any, B: Any, **kwargs: Any) -> Any:
    """Combine every element of one array with every element of another."""
    _needs_two(ufunc, "outer", results=True)
    A = as_operand(A)
    return call(ufunc, np.reshape(A, A.shape + (1,) * ndim_of(B)), B, **kwargs)


def reduceat(ufunc: np.ufunc, array: Any, indices: Any, axis: int = 0, dtype: Any = None, out: Any = None) -> Any:
    """Reduce slices that begin at the given positions, each up to the next; a single element where that lies before."""
    if isinstance(out, tuple):
        out = out[0]
    only(out=out)
    _needs_two(ufunc, "reduceat")
    array = as_operand(array)
    if dtype is not None:
        array = astype(array, dtype)
    axis = only_axis(array.ndim, axis)
    n = array.shape[axis]
    starts = np.asarray(indices, np.intp)
    if starts.size and (starts.min() < 0 or starts.max() >= n):
        raise IndexError(
            f"index {starts[(starts < 0) | (starts >= n)][0]} out-of-bounds in {ufunc.__name__}.reduceat [0, {n})"
        )
    if ufunc == np.add:
        return p.add_reduceat(array, indices=tuple(int(k) for k in starts), axis=axis)
    parts = []
    for k, start in enumerate(starts):
        stop = starts[k + 1] if k + 1 < starts.size else n
        index = (slice(None),) * (axis + array.ndim) + (slice(int(start), int(max(stop, start + 1))),)
        parts.append(reduce(ufunc, array[index], axis))
    return np.stack(parts, axis=axis)


def at(ufunc: np.ufunc, a: Any, indices: Any, b: Any = UNSET) -> None:
    """Write in place, unbuffered: where a position repeats, one operand after the other takes effect there."""
    if ufunc in (np.add, np.subtract):
        in_place.add_at(a, indices, b, 1 if ufunc == np.add else -1)
    else:
        in_place.combine_at(functools.partial(call, ufunc), a, indices, b)


METHODS: dict[str, Callable[..., Any]] = {
    "__call__": call,
    "reduce": reduce,
    "accumulate": accumulate,
    "outer": outer,
    "reduceat": reduceat,
    "at": at,
}
"""The implementations of a ufunc and of its methods on traced values."""


def _needs_two(ufunc: np.ufunc, method: str, results: bool = False) -> None:
    if ufunc.nin != 2 or (ufunc.nout != 1 and not results):
        those = "binary functions" if ufunc.nin != 2 else "functions returning a single value"
        raise ValueError(f"{method} only supported for {those}")
    if ufunc.signature is not None:
        raise RuntimeError(f"Reduction not defined on ufunc with signature: {ufunc.__name__}")


# ---- Ufuncs with two results ----


@calls(np.modf)
def modf(x: Any, /) -> Any:
    integral = np.trunc(x)
    return np.where(np.isinf(x), np.copysign(0.0, x), x - np.where(np.isinf(x), 0.0, integral)), integral


@calls(np.frexp)
def frexp(x: Any, /) -> Any:
    exponent = p.exponent(x)
    return np.ldexp(x, -exponent), exponent


@calls(np.divmod)
def divmod(x1: Any, x2: Any, /) -> Any:
    return np.floor_divide(x1, x2), np.remainder(x1, x2)
