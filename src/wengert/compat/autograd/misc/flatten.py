"""The place of ``autograd.misc.flatten``: a tree of arrays as one vector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from wengert import trees

__all__ = ["flatten", "flatten_func"]


def flatten(value: Any) -> tuple[Any, Callable[[Any], Any]]:
    """Return a tree of arrays as one vector, and a function that makes such a tree of a vector.

    >>> vector, unflatten = flatten({"a": np.ones(2), "b": [3.0]})
    >>> vector, unflatten(2 * vector)
    (array([1., 1., 3.]), {'a': array([2., 2.]), 'b': [np.float64(6.0)]})
    """
    leaves, structure = trees.flatten(value)
    shapes = [np.shape(leaf) for leaf in leaves]
    ends = np.cumsum([int(np.prod(shape, dtype=int)) for shape in shapes]).tolist()

    def unflatten(vector: Any) -> Any:
        parts = [np.reshape(vector[a:b], s)[()] for a, b, s in zip([0, *ends[:-1]], ends, shapes, strict=True)]
        return trees.unflatten(structure, parts)

    return (np.concatenate([np.ravel(leaf) for leaf in leaves]) if leaves else np.zeros(0)), unflatten


def flatten_func(func: Callable[..., Any], example: Any) -> tuple[Callable[..., Any], Callable[[Any], Any], Any]:
    """Return a function of a tree as a function of vectors, with what makes a tree, and the example as a vector.

    >>> f, unflatten, x = flatten_func(lambda p: {"c": p["a"] * 2}, {"a": np.ones(2)})
    >>> f(x)
    array([2., 2.])
    """
    vector, unflatten = flatten(example)

    def function(x: Any, *args: Any, **kwargs: Any) -> Any:
        return flatten(func(unflatten(x), *args, **kwargs))[0]

    return function, unflatten, vector
