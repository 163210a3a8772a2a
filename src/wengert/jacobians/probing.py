"""Probing: the entries of a linear map that is given by its action alone, found by pushing through it.

A map that moves elements is told by what it does to ones.  A small map is pushed for all unit tangents at once; a large
one for groups of columns with random numbers on them, so that no entries cancel.

>>> import numpy as np
>>> from wengert.jacobians.structures import Map
>>> J = Map((3,), (3,), lambda t: np.cumsum(t, -1), lambda g: g)
>>> is_selection(J), probed(J).toarray().astype(int).tolist()
(False, [[1, 0, 0], [1, 1, 0], [1, 1, 1]])
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from wengert.jacobians.arrays import Array, Shape
from wengert.jacobians.index_domains import matrix_of_nonzeros, matrix_of_pairs

if TYPE_CHECKING:
    from scipy import sparse


class LinearMap(Protocol):
    """What is asked of a local Jacobian: its shapes and its push."""

    in_shape: Shape
    out_shape: Shape

    def push(self, t: Any, batch: int = 0) -> Any:
        """Carry a tangent, or a block of them, forward."""


def is_selection(J: LinearMap) -> bool:
    """Return whether a map that moves and adds elements adds none, so that each of its results is one or zero."""
    ones = np.asarray(J.push(np.ones(J.in_shape)))
    return bool(np.all((ones == 0) | (ones == 1)))


def move_exactly(J: LinearMap, block: Array) -> Array:
    """Push a block of whole numbers through a map that may round to another precision."""
    moved = np.asarray(J.push(block.astype(np.float64), 1))
    if moved.dtype == np.float64:
        return moved
    total = np.zeros((block.shape[0], *J.out_shape), np.int64)
    digits: Array = block
    scale = 1
    while digits.any():
        total = total + scale * J.push((digits % 2048).astype(np.float64), 1).astype(np.int64)
        digits, scale = digits // 2048, 2048 * scale
    return total


FEW = 1 << 22
"""A map is written down as a matrix of up to so many numbers to find its entries."""
GROUPS = 64
"""Of a larger one, parts of up to so many groups of columns are told apart at once."""


def probed(J: LinearMap) -> sparse.csr_array | None:
    """Return where a map of fixed numbers has entries, by pushing through it; None where that would take too long.

    A large one is pushed for groups of columns, with random numbers on them, so that no entries cancel: first for all
    columns together, and then for the halves of each group, those halves at once that have no row in common.
    """
    n, m = math.prod(J.in_shape), math.prod(J.out_shape)
    if not n or not m:
        return matrix_of_pairs(np.zeros(0, np.intp), np.zeros(0, np.intp), (m, n))
    if n * m <= FEW:
        return matrix_of_nonzeros(np.asarray(J.push(np.eye(n).reshape((n, *J.in_shape)), 1)).reshape((n, m)).T)
    weights = np.random.default_rng(n).uniform(1.0, 2.0, n)

    def reached(chosen: Array) -> Array:
        return np.asarray(J.push(np.where(chosen, weights, 0.0).reshape(J.in_shape))).reshape(-1) != 0

    length = 1 << (n - 1).bit_length()
    rows: Array = np.flatnonzero(reached(np.ones(n, np.bool_)))
    groups: Array = np.zeros(len(rows), np.intp)
    while length > 1:
        length //= 2
        rows, groups = np.repeat(rows, 2), (2 * groups[:, None] + [0, 1]).reshape(-1)
        inside = groups * length < n
        rows, groups = rows[inside], groups[inside]
        colors = _colors_of_groups(rows, groups, n + m)
        if not colors:
            return None
        group_of = np.arange(n) // length % colors
        color = groups % colors
        met = np.zeros(len(rows), np.bool_)
        for c in range(colors):
            met |= (color == c) & reached(group_of == c)[rows]
        rows, groups = rows[met], groups[met]
    return matrix_of_pairs(rows, groups, (m, n))


def _colors_of_groups(rows: Array, groups: Array, size: int) -> int:
    """Return a number c such that groups of one row are different modulo c; 0 if there is no small one.

    The pairs are in the order of the rows, and within a row in that of the groups.
    """
    if len(rows) > 8 * size:
        return 0
    if not len(rows):
        return 1
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    ends = np.append(starts[1:], len(rows)) - 1
    widest = int((groups[ends] - groups[starts]).max()) + 1
    if widest <= GROUPS:
        return widest
    for c in range(2, GROUPS):
        if len(np.unique(rows * c + groups % c)) == len(rows):
            return c
    return 0
