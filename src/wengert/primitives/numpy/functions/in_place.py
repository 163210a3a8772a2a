"""Functions that write into an array argument: each an assignment to the traced array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from wengert.jacobians import assemble
from wengert.primitives.numpy.functions.manipulation import astype, resize
from wengert.primitives.numpy.functions.operands import UNSET, as_operand, is_traced, pick
from wengert.primitives.numpy.functions.selecting import flatnonzero
from wengert.primitives.table import calls


@calls(np.copyto)
def copyto(dst: Any, src: Any, casting: str = "same_kind", where: Any = True) -> None:
    src = as_operand(src)
    if not np.can_cast(src.dtype, dst.dtype, casting):  # type: ignore[arg-type]
        raise TypeError(f"Cannot cast array data from {src.dtype!r} to {dst.dtype!r} according to the rule {casting!r}")
    dst[...] = src if where is True else np.where(where, src, dst)


@calls(np.put)
def put(a: Any, ind: Any, v: Any, mode: str = "raise") -> None:
    size = a.size
    ind = np.ravel(ind)
    if mode != "raise":
        ind = np.clip(ind, 0, size - 1) if mode == "clip" else ind % size
    flat = np.reshape(a, (-1,))
    flat[ind] = resize(v, ind.shape)
    a[...] = np.reshape(flat, a.shape)


@calls(np.putmask)
def putmask(a: Any, /, mask: Any, values: Any) -> None:
    a[...] = np.where(mask, resize(values, a.shape), a)


@calls(np.place)
def place(arr: Any, mask: Any, vals: Any) -> None:
    chosen = flatnonzero(mask)
    if len(chosen):
        if not as_operand(vals).size:
            raise ValueError("Cannot insert from an empty array!")
        put(arr, chosen, vals)


@calls(np.fill_diagonal)
def fill_diagonal(a: Any, val: Any, wrap: bool = False) -> None:
    if a.ndim < 2:
        raise ValueError("array must be at least 2-d")
    if a.ndim > 2 and len(set(a.shape)) > 1:
        raise ValueError("All dimensions of input must be of equal length")
    positions = np.arange(a.size).reshape(a.shape)
    np.fill_diagonal(positions, -1, wrap)
    put(a, np.flatnonzero(positions == -1), val)


@calls(np.put_along_axis)
def put_along_axis(arr: Any, indices: Any, values: Any, axis: int | None) -> None:
    if axis is None:
        put(arr, indices, values)
        return
    axis = axis % arr.ndim
    index = tuple(
        indices if k == axis else np.arange(n).reshape((1,) * k + (-1,) + (1,) * (arr.ndim - k - 1))
        for k, n in enumerate(arr.shape)
    )
    arr[index] = values


def add_at(a: Any, indices: Any, b: Any, sign: int) -> None:
    """Implement ``np.add.at``: values at the same position are added."""
    index = indices if isinstance(indices, tuple) else (indices,)
    index = tuple(np.asarray(k) if isinstance(k, list) else k for k in index)
    shape = np.empty(a.shape, bool)[index].shape if not is_traced(*index) else pick(a, index).shape
    values = np.broadcast_to(astype(as_operand(b), a.dtype), shape)
    if not is_traced(values, *index):
        values = np.array(values)
    change = assemble([values], [index], a.shape)
    a[...] = a + change if sign > 0 else a - change


def _decided(index: Any) -> Any:
    """Return the values of computed positions or of a mask, each of them a decision."""
    index = as_operand(index)
    kind = bool if index.dtype == bool else int
    return np.reshape([kind(k) for k in np.ravel(index)], index.shape)


def combine_at(operation: Callable[..., Any], a: Any, indices: Any, b: Any = UNSET) -> None:
    """Implement ``np.multiply.at`` and similar methods in rounds that write to each position at most once."""
    index = indices if isinstance(indices, tuple) else (indices,)
    index = tuple(_decided(k) if is_traced(k) else k for k in index)
    places = np.arange(a.size).reshape(a.shape)[tuple(np.asarray(k) if isinstance(k, list) else k for k in index)]
    operands = [] if b is UNSET else [np.reshape(np.broadcast_to(as_operand(b), places.shape), (-1,))]
    places = places.ravel()
    order = np.argsort(places, kind="stable")
    grouped = places[order]
    turns = np.empty(places.size, np.intp)
    turns[order] = np.arange(places.size) - np.searchsorted(grouped, grouped)
    for turn in range(int(turns.max(initial=-1)) + 1):
        chosen = np.flatnonzero(turns == turn)
        flat = np.reshape(a, (-1,))
        changed = operation(flat[places[chosen]], *[x[chosen] for x in operands])
        put(a, places[chosen], astype(as_operand(changed), a.dtype))
