"""Products of many matrices: powers, and chains in their cheapest order.

>>> import numpy as np, wengert as wg
>>> wg.grad(lambda A: np.linalg.matrix_power(A, 3)[0, 0])(np.diag([2.0, 1.0]))
array([[12.,  0.],
       [ 0.,  0.]])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.errors import UnsupportedError
from wengert.primitives.numpy.functions.operands import as_operand
from wengert.primitives.numpy.linalg.matrices import square_of
from wengert.primitives.numpy.linalg.solving import inv_
from wengert.primitives.table import calls


@calls(np.linalg.matrix_power)
def matrix_power(a: Any, n: Any) -> Any:
    a = as_operand(a)
    square_of(a)
    exponent = int(n)
    if exponent == 0:
        return np.broadcast_to(np.eye(a.shape[-1], dtype=a.dtype), a.shape) + 0 * a
    if exponent < 0:
        a, exponent = inv_(a), -exponent
    if exponent == 3:
        return (a @ a) @ a  # as NumPy multiplies
    result, square = None, a
    while exponent:
        exponent, odd = divmod(exponent, 2)
        if odd:
            result = square if result is None else result @ square
        if exponent:
            square = square @ square
    return result


@calls(np.linalg.multi_dot)
def multi_dot(arrays: Sequence[Any], *, out: Any = None) -> Any:
    if out is not None:
        raise UnsupportedError("np.linalg.multi_dot with out= has no rule; leave it out.")
    factors = [as_operand(a) for a in arrays]
    if len(factors) < 2:
        raise ValueError("Expecting at least two arrays.")
    first, last = factors[0].ndim, factors[-1].ndim
    if first == 1:
        factors[0] = factors[0][None, :]
    if last == 1:
        factors[-1] = factors[-1][:, None]
    if any(a.ndim != 2 for a in factors):
        raise np.linalg.LinAlgError("Array must be 2-dimensional (1-dimensional at both ends)")
    sizes = [factors[0].shape[0], *[a.shape[1] for a in factors]]
    product = _multiply(factors, _best_splits(sizes), 0, len(factors) - 1)
    return np.reshape(product, product.shape[first == 1 : 1 if last == 1 else 2])


def _best_splits(sizes: Sequence[int]) -> dict[tuple[int, int], int]:
    """Find the cheapest order of a chain of products (Cormen et al., *Introduction to Algorithms*, matrix chain)."""
    count = len(sizes) - 1
    cost = {(i, i): 0 for i in range(count)}
    split: dict[tuple[int, int], int] = {}
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            options = [(cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j)]
            cost[i, j], split[i, j] = min(options)
    return split


def _multiply(factors: Sequence[Any], split: dict[tuple[int, int], int], i: int, j: int) -> Any:
    if i == j:
        return factors[i]
    k = split[i, j]
    return _multiply(factors, split, i, k) @ _multiply(factors, split, k + 1, j)
