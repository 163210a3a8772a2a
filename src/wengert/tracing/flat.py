"""Flat: the elements of a traced array one after the other, ``x.flat``.

NumPy's own compares elements as an array does, is an array to functions, and begins anew when it is indexed.

>>> import wengert as wg
>>> def f(x):
...     x.flat[:2] = 1.0
...     return np.sum(x.flat) if np.any(x.flat != 0) else 0.0
>>> wg.grad(f)(np.ones((2, 2)))
array([[0., 0.],
       [1., 1.]])
"""

from __future__ import annotations

import functools
import operator
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from wengert.primitives.numpy import functions
from wengert.tracing.callers import asks_inside
from wengert.tracing.context import at_place
from wengert.tracing.traced import Traced, innermost
from wengert.tracing.unsupported import lost


def _comparing(compare: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def method(self: Any, other: Any) -> Any:
        return at_place(lambda: compare(self.copy(), as_arrays(other)))

    return method


class Flat:
    """The elements of a traced array, as `numpy.flatiter` has them."""

    __hash__ = None  # type: ignore[assignment]  # as arrays: == compares elements

    def __init__(self, base: Traced) -> None:
        self.base: Any = base
        self.index = 0

    @property  # type: ignore[misc]  # __class__ of object can be assigned to
    def __class__(self) -> type:
        return Flat if asks_inside(sys._getframe(1)) else np.flatiter

    @property
    def coords(self) -> tuple[int, ...]:
        rows, *rest = self.base.shape or (1,)
        leading = (rows + 1, *rest)  # behind the last element NumPy's own stands at the next row
        return tuple(int(k) for k in np.unravel_index(self.index, leading))[: self.base.ndim]

    __eq__, __ne__ = _comparing(operator.eq), _comparing(operator.ne)
    __lt__, __le__ = _comparing(operator.lt), _comparing(operator.le)
    __gt__, __ge__ = _comparing(operator.gt), _comparing(operator.ge)

    def __iter__(self) -> Flat:
        return self

    def __next__(self) -> Any:
        if self.index >= self.base.size:
            raise StopIteration
        self.index += 1
        return self._elements()[self.index - 1]

    def __len__(self) -> int:
        return int(self.base.size)

    def __getitem__(self, index: Any) -> Any:
        self.index = 0
        item = self._elements()[index]
        return item.__copy__() if type(item) is Traced else item

    def __setitem__(self, index: Any, value: Any) -> None:
        self.index = 0
        functions.in_place.put(self.base, np.arange(self.base.size)[index], as_arrays(value))

    def _elements(self) -> Any:
        return self.base.ravel()

    def copy(self) -> Any:
        return self.base.flatten()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        if self.base._index >= 0:
            raise lost()
        return np.array(innermost(self.base), dtype).ravel()

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        return at_place(functools.partial(getattr(ufunc, method), *as_arrays(inputs), **as_arrays(kwargs)))

    def __array_function__(self, function: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
        return at_place(functools.partial(function, *as_arrays(args), **as_arrays(kwargs)))


def as_arrays(value: Any) -> Any:
    """Return arrays in the place of the iterators over elements, also of those in lists, tuples and dicts."""
    if type(value) is Flat:
        return value.copy()
    if type(value) is dict:
        return {key: as_arrays(item) for key, item in value.items()}
    return type(value)(map(as_arrays, value)) if type(value) in (list, tuple) else value
