"""Layout: how plain arrays lie in memory, and others that lie so.

Whether ``ravel()`` and ``reshape()`` make a view hangs on how the elements lie in memory, so a copy has to lie as the
array does that it stands for.

>>> a = np.arange(100.0).reshape(10, 10)[::-1, 3:5]
>>> laid_like(a, a).strides, np.array_equal(laid_like(a, a), a)
((-24, 8), True)
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

ndarray = np.ndarray
_arange, _empty, _empty_like = np.arange, np.empty, np.empty_like
"""NumPy's own, whatever stands in their places while a trace runs."""


def laid_like(value: Any, model: Any) -> Any:
    """Return a copy of an array whose elements lie in memory as those of another of its shape do.

    Gaps between them stay gaps, but small ones, so that what can be seen through a view of the one can be seen through
    a view of the other.
    """
    copy = _empty_like(model, value.dtype)
    if model.size and copy.strides != model.strides:
        copy = _with_gaps(model.shape, model.strides, model.dtype.itemsize, value.dtype)
    copy[...] = value
    return copy


def _with_gaps(shape: tuple[int, ...], model: tuple[int, ...], itemsize: int, dtype: np.dtype[Any]) -> Any:
    """Return an array that lies as one of the strides `model`: axes that join go on joining, others have a gap."""
    step, joined = dtype.itemsize, itemsize
    strides, offset = [0] * len(shape), 0
    moving = [k for k, n in enumerate(shape) if n > 1 and model[k]]
    for k in sorted(moving, key=lambda k: (abs(model[k]), -k)):
        if abs(model[k]) != joined:
            step += dtype.itemsize
        strides[k] = step if model[k] > 0 else -step
        offset += step * (shape[k] - 1) * (model[k] < 0)
        step, joined = step * shape[k], abs(model[k]) * shape[k]
    return np.ndarray(shape, dtype, _empty(step, np.uint8).data, offset, strides)


def numbered(lies: Any) -> Any:
    """Return the places of the elements of an array, counted row by row, each where the element lies."""
    return laid_like(_arange(lies.size).reshape(lies.shape), lies)


def lie_alike(a: Any, b: Any) -> bool:
    """Return whether two arrays of one shape have the same strides, where there is a step to take."""
    return a.strides == b.strides or all(s == t or n < 2 for s, t, n in zip(a.strides, b.strides, a.shape, strict=True))


class Layout(NamedTuple):
    """How an array lies in memory: its axes from the slowest to the fastest, and its strides if it has gaps."""

    order: tuple[int, ...]
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    itemsize: int

    @classmethod
    def of(cls, array: Any) -> Layout:
        """Return the layout of an array."""
        order = tuple(sorted(range(array.ndim), key=lambda k: -abs(array.strides[k])))
        gaps = array.size and _empty_like(array).strides != array.strides
        return cls(order, array.shape, array.strides if gaps else (), array.itemsize)

    def model(self, array: Any) -> Any:
        """Return an array of the shape and dtype of another that lies so; None if the other does itself."""
        if self.strides and self.shape == array.shape:
            return _with_gaps(self.shape, self.strides, self.itemsize, array.dtype)
        step = array.itemsize
        for k in reversed(self.order):
            n = array.shape[k]
            if n > 1 and array.strides[k] != step:
                break
            step *= n
        else:
            return None
        inverse = sorted(range(len(self.order)), key=self.order.__getitem__)
        return _empty([array.shape[k] for k in self.order], array.dtype).transpose(inverse)
