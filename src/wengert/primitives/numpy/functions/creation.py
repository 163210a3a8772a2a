"""New arrays: filled like a given one, or spaced evenly between traced ends."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from wengert.primitives.numpy.functions.manipulation import astype
from wengert.primitives.numpy.functions.operands import as_operand, is_traced, ndim_of, shape_of
from wengert.primitives.table import calls
from wengert.program import Recordable

# ---- Like another ----


@calls(np.zeros_like, np.empty_like)
def zeros_like(
    a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, **kwargs: Any
) -> Any:
    return np.zeros(shape_of(a) if shape is None else shape, a.dtype if dtype is None else dtype)


@calls(np.ones_like)
def ones_like(a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, **kwargs: Any) -> Any:
    return np.ones(shape_of(a) if shape is None else shape, a.dtype if dtype is None else dtype)


@calls(np.full_like)
def full_like(
    a: Any, fill_value: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, **kwargs: Any
) -> Any:
    wanted, kind = shape_of(a) if shape is None else shape, as_operand(a).dtype if dtype is None else dtype
    if not hasattr(fill_value, "astype"):
        return np.full(wanted, fill_value, kind)
    return np.positive(np.broadcast_to(astype(fill_value, kind), wanted))


# ---- Between two ends ----


@calls(np.linspace)
def linspace(
    start: Any, stop: Any, num: Any = 50, endpoint: bool = True, retstep: bool = False, dtype: Any = None,
    axis: int = 0, *, device: Any = None,
) -> Any:  # fmt: skip
    """Space evenly: a weighted mean of the ends, linear in both."""
    num = int(num)
    if num < 0:
        raise ValueError(f"Number of samples, {num}, must be non-negative.")
    ends = [x if type(x) in (int, float, complex) else as_operand(x) for x in (start, stop)]
    start, stop = ends  # Python numbers stay unconverted, so that single precision stays
    kind = np.result_type(*[x if type(x) in (int, float, complex) else x.dtype for x in ends])
    kind = kind if kind.kind in "fc" else np.dtype(np.float64)
    width = stop - start
    parts = num - 1 if endpoint else num
    spread = (-1,) + (1,) * ndim_of(width)
    counts = np.reshape(np.arange(num, dtype=kind if kind.kind == "f" else float), spread)
    step = width / parts if parts > 0 else np.nan * width
    result = counts * (step if parts > 0 else 0.0 * width) + start
    if endpoint and num > 1:  # the last is the stop itself, to the bit
        last = np.broadcast_to(astype(as_operand(stop), result.dtype), (1, *result.shape[1:]))
        result = np.concatenate([result[:-1], last])
    result = np.moveaxis(result, 0, axis) if axis else result
    result = astype(result, kind if dtype is None else dtype)
    return (result, step) if retstep else result


@calls(np.logspace)
def logspace(
    start: Any, stop: Any, num: Any = 50, endpoint: bool = True, base: Any = 10.0, dtype: Any = None, axis: int = 0
) -> Any:
    if np.ndim(base):
        shape = np.broadcast_shapes(shape_of(start), shape_of(stop), shape_of(base))
        start, stop = np.broadcast_to(start, shape), np.broadcast_to(stop, shape)
        base = np.expand_dims(np.broadcast_to(base, shape), axis)
    y = linspace(start, stop, num, endpoint, axis=axis)
    result = np.power(base, y)
    return result if dtype is None else astype(result, dtype)


@calls(np.geomspace)
def geomspace(start: Any, stop: Any, num: Any = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0) -> Any:
    start, stop = (astype(x, np.result_type(x.dtype, np.float64)) for x in map(as_operand, (start, stop)))
    if np.any(start == 0) or np.any(stop == 0):
        raise ValueError("Geometric sequence cannot include zero")
    sign = np.sign(start)
    exponents = linspace(np.log10(start / sign), np.log10(stop / sign), num, endpoint)
    inside = 10.0**exponents
    ends = [np.expand_dims(start / sign, 0) + 0.0 * inside[:1], inside[1:-1] if endpoint else inside[1:]]
    if endpoint and num > 1:
        ends.append(np.expand_dims(stop / sign, 0) + 0.0 * inside[:1])
    result = sign * np.concatenate([part for part in ends if part.shape[0]]) if num > 0 else inside
    result = np.moveaxis(result, 0, axis) if axis else result
    return result if dtype is None else astype(result, dtype)


@calls(np.full)
def full(
    shape: Any, fill_value: Any, dtype: Any = None, order: str = "C", *, device: Any = None, like: Any = None
) -> Any:
    fill_value = as_operand(fill_value)
    wanted = tuple(shape) if np.iterable(shape) else (shape,)
    return np.positive(np.broadcast_to(fill_value if dtype is None else astype(fill_value, dtype), wanted))


@calls(np.arange)
def arange(*args: Any, dtype: Any = None, **kwargs: Any) -> Any:
    """Space by steps: how many there are depends on the values in jumps, where they lie is linear in start and step."""
    args = (*args, *[kwargs[name] for name in ("start", "stop", "step") if name in kwargs])
    start, stop, step = (0, *args, 1) if len(args) == 1 else (*args, 1) if len(args) == 2 else args
    step = 1 if step is None else step
    number = max(0, int(np.ceil((stop - start) / step)))
    result = start + step * np.arange(number)
    return result if dtype is None else astype(as_operand(result), dtype)


# ---- What only has to do with shapes and dtypes ----


@calls(np.isscalar)
def isscalar(element: Any) -> bool:
    return isinstance(element, Recordable) and not element.shape  # type: ignore[attr-defined]


@calls(np.tril_indices_from)
def tril_indices_from(arr: Any, k: int = 0) -> Any:
    if arr.ndim != 2:
        raise ValueError("input array must be 2-d")
    return np.tril_indices(arr.shape[-2], k=k, m=arr.shape[-1])


@calls(np.triu_indices_from)
def triu_indices_from(arr: Any, k: int = 0) -> Any:
    if arr.ndim != 2:
        raise ValueError("input array must be 2-d")
    return np.triu_indices(arr.shape[-2], k=k, m=arr.shape[-1])


@calls(np.diag_indices_from)
def diag_indices_from(arr: Any) -> Any:
    return np.diag_indices_from(np.broadcast_to(0, arr.shape))


@calls(np.shape)
def shape(a: Any) -> tuple[int, ...]:
    return a.shape if hasattr(a, "shape") else np.asarray(a).shape


@calls(np.ndim)
def ndim(a: Any) -> int:
    return len(shape(a))


@calls(np.size)
def size(a: Any, axis: Any = None) -> int:
    if axis is None:
        return math.prod(shape(a))
    return math.prod(shape(a)[k] for k in (axis if np.iterable(axis) else (axis,)))


def _of_dtypes(function: Callable[..., Any]) -> Callable[..., Any]:
    def answered(*args: Any, **kwargs: Any) -> Any:
        return function(*[a.dtype if is_traced(a) else a for a in args], **kwargs)

    answered.__name__ = function.__name__
    return answered


result_type = calls(np.result_type)(_of_dtypes(np.result_type))
can_cast = calls(np.can_cast)(_of_dtypes(np.can_cast))
common_type = calls(np.common_type)(lambda *arrays: np.common_type(*[np.empty(0, as_operand(a).dtype) for a in arrays]))
common_type.__name__ = "common_type"


def _shown(function: Callable[..., Any]) -> Callable[..., Any]:
    def show(a: Any, *args: Any, **kwargs: Any) -> str:
        kind = type(repr(a))  # the text of a traced value is of a kind of its own
        while isinstance(a, Recordable):
            a = a._value  # type: ignore[attr-defined]
        return kind(function(a, *args, **kwargs))

    show.__name__ = function.__name__
    return show


for _function in (np.array2string, np.array_repr, np.array_str):
    calls(_function)(_shown(_function))


@calls(np.iscomplexobj)
def iscomplexobj(x: Any) -> bool:
    return as_operand(x).dtype.kind == "c"  # type: ignore[no-any-return]


@calls(np.isrealobj)
def isrealobj(x: Any) -> bool:
    return not iscomplexobj(x)


@calls(np.shares_memory, np.may_share_memory)
def shares_memory(a: Any, b: Any, max_work: Any = None) -> bool:
    return a is b
