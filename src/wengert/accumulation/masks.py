"""Masks: the elements of a tangent or adjoint to which anything contributes at all.

A zero is one of two.  It may be the value of what contributes, as the derivative of ``x**2`` at 0.  Or nothing does:
the element was not chosen, by ``where``, ``maximum``, an index or an assignment, or it is multiplied by a constant zero
or by a mask.  Only the second is a zero *of structure*, and zero times infinity is zero for it alone
(`docs/design/0004-careful-sweeps.md`).

A mask is True where something contributes, and None stands for everywhere.  It has the shape of its value, with or
without the leading axis of a block.

>>> import numpy as np
>>> from wengert.jacobians import Select
>>> mask = pulled(Select((0,), (3,)), None)
>>> mask().tolist()
[True, False, False]
>>> only(mask, np.array([2.0, np.nan, np.nan])).tolist()
[2.0, 0.0, 0.0]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.jacobians import (
    Array,
    LeftProduct,
    LocalJacobian,
    RightProduct,
    Shape,
    assemble,
    pull_diagonal,
    push_diagonal,
)
from wengert.primitives.numpy.elementwise import divide, float_power, multiply, power
from wengert.primitives.numpy.structural import concatenate, put, setitem, stack, where
from wengert.program import Primitive, Recordable
from wengert.tracing import Row, all_constant, is_kept, plain

_PLAIN = frozenset({np.ndarray, np.bool_})
_NUMBERS = frozenset({int, float, np.float64})
LINEAR = frozenset({stack, concatenate, setitem, put})
"""Primitives whose joint push moves elements, and puts zeros where nothing comes."""
_ZEROS = frozenset({(multiply, 0), (multiply, 1), (divide, 1), (power, 0), (float_power, 0)})
"""The operands of which a function does not depend where the other one is a constant zero."""
_DEPENDS: dict[tuple[Primitive, int], Callable[[Array, Array], Array]] = {
    **dict.fromkeys(_ZEROS, lambda _x, c: c != 0),
    **dict.fromkeys([(power, 1), (float_power, 1)], lambda x, c: (c != 1) & ((c != 0) | (x <= 0))),
}
"""Where an elementwise function depends on its k-th operand `x` at all, if the other is a constant `c`."""


class Mask:
    """A mask that is computed when it is first asked for, as few are."""

    __slots__ = ("_compute", "_mask", "condition", "holds")

    def __init__(self, compute: Callable[[], Array | None], condition: Any = None, holds: bool = True) -> None:
        self._compute: Callable[[], Array | None] | None = compute
        self._mask: Array | None = None
        self.condition, self.holds = condition, holds
        """A condition of the function's, if the mask is True where that holds, or where it does not."""

    def __call__(self) -> Array | None:
        """Return the mask; None if it is True everywhere."""
        if self._compute is not None:
            mask: Any = self._compute()
            self._mask = None if type(mask) in _PLAIN and mask.all() else mask
            self._compute = None
        return self._mask


def both(a: Mask | None, b: Mask | None) -> Mask | None:
    """Return the mask of what two masks have in common."""
    if a is None or b is None:
        return b if a is None else a
    if a is b or (_of_one_condition(a, b) and a.holds == b.holds):
        return a

    def compute() -> Array | None:
        one, other = a(), b()
        return other if one is None else one if other is None else np.logical_and(one, other)

    return Mask(compute)


def either(a: Mask | None, b: Mask | None) -> Mask | None:
    """Return the mask of a sum."""
    if a is None or b is None:
        return None
    if a is b:
        return a
    if _of_one_condition(a, b):
        return a if a.holds == b.holds else None

    def compute() -> Array | None:
        one, other = a(), b()
        return None if one is None or other is None else np.logical_or(one, other)

    return Mask(compute)


def _of_one_condition(a: Mask, b: Mask) -> bool:
    """Return whether two masks are those of one condition, or of it and its opposite."""
    return a.condition is not None and a.condition is b.condition


def only(mask: Mask | None, part: Array) -> Array:
    """Return a contribution where there is one, and zero elsewhere, whatever was computed there."""
    m = None if mask is None else mask()
    if m is None:
        return part
    masked = np.where(m, part, 0.0)
    return masked[()] if type(masked) is np.ndarray else masked


def is_nowhere(mask: Mask | None) -> bool:
    """Return whether a mask is known to be False everywhere."""
    m = None if mask is None else mask()
    return type(m) in _PLAIN and not m.any()  # type: ignore[union-attr]


def of_seed(seed: Array) -> Mask | None:
    """Return the mask of a constant seed: a zero in it asks for no contribution."""
    if not all_constant(seed) or np.all(seed := plain(seed)):
        return None
    return Mask(lambda: np.asarray(seed != 0))


def as_numbers(mask: Mask | None, shape: Shape) -> Array:
    """Return a mask as an array of ones and zeros, of `shape` or a block of these."""
    m = None if mask is None else mask()
    if m is None:
        return np.ones(shape)
    ones = np.where(m, 1.0, 0.0)
    return ones if len(ones.shape) > len(shape) or ones.shape == shape else np.broadcast_to(ones, shape)


# ---- Masks of lines ----


def chosen(row: Row, k: int, sparing: bool = False) -> Mask | None:
    """Return at which elements of its result an elementwise line uses its k-th operand.

    If `sparing`, only where that depends on traced values, so that it may be otherwise at another point.
    """
    primitive, parents, kept, params, _, _ = row
    if primitive is multiply:
        factor = kept[2 - k]
        is_mask = factor.dtype.kind == "b" if hasattr(factor, "dtype") else type(factor) is bool
        if is_mask and (isinstance(factor, Recordable) or not sparing):
            return Mask(lambda: _of_shape(factor, kept[0].shape))
    depends = _DEPENDS.get((primitive, k))
    if depends is not None and not sparing and parents[1 - k] < 0 and is_kept(row, 2 - k):
        x, c = kept[k + 1], kept[2 - k]
        return None if isinstance(c, Recordable) else Mask(lambda: _of_shape(depends(x, c), kept[0].shape))
    if not primitive.chosen or (sparing and not any(isinstance(v, Recordable) for v in kept[1:])):
        return None
    rule = primitive.chosen[k]
    if rule is None:
        return None
    condition = kept[1] if primitive is where and np.shape(kept[1]) == np.shape(kept[0]) else None
    return Mask(lambda: _of_shape(rule(*kept, **params), kept[0].shape), condition, k == 1)


def may_depend(row: Row, k: int) -> Array | None:
    """Return where an elementwise line depends on its k-th operand for some values of it; None for everywhere.

    >>> import numpy as np
    >>> may_depend((power, (0, -1), (None, None, np.array([0.0, 2.0])), {}, None, 1), 0).tolist()
    [False, True]
    """
    primitive, parents, kept, _, _, _ = row
    if (primitive, k) not in _ZEROS or parents[1 - k] >= 0 or not is_kept(row, 2 - k):
        return None
    return np.asarray(kept[2 - k]) != 0


def has_pole(row: Row) -> bool:
    """Return whether the partials of a line of limited domain may be infinite or NaN, as the adjoints behind it may.

    Those of a power with a whole number from 1 on are not, nor those of a quotient with another constant than 0.
    """
    primitive, parents, kept, _, _, _ = row
    if not primitive.elementwise:
        return False
    if len(parents) == 2 and parents[1] < 0 and type(kept[2]) in _NUMBERS:
        constant = kept[2]
        if primitive is power:
            return not (constant >= 1 and float(constant).is_integer())
        if primitive is divide:
            return not constant
    return True


def keeps_zeros(c: LocalJacobian) -> bool:
    """Return whether a product with a zero is zero: elements are moved, or multiplied by finite constants."""
    if c.moves or not isinstance(c, (LeftProduct, RightProduct)):
        return c.moves
    matrix = _matrix_of(c)
    return not isinstance(matrix, Recordable) and bool(np.all(np.isfinite(matrix)))


def _of_shape(mask: Array, shape: Shape) -> Array:
    return mask if np.shape(mask) == shape and type(mask) is not bool else np.broadcast_to(mask, shape)


def broadcast(mask: Mask | None, in_shape: Shape, out_shape: Shape) -> Mask | None:
    """Return the mask of a tangent that an elementwise line broadcasts."""
    if mask is None or in_shape == out_shape:
        return mask

    def compute() -> Array | None:
        m = mask()
        return None if m is None else push_diagonal(1, m, in_shape, out_shape, m.ndim - len(in_shape))

    return Mask(compute)


def summed(mask: Mask | None, in_shape: Shape, out_shape: Shape) -> Mask | None:
    """Return the mask of an adjoint that is summed to the shape of an operand which was broadcast."""
    if mask is None or in_shape == out_shape:
        return mask

    def compute() -> Array | None:
        if mask() is None:
            return None
        numbers = as_numbers(mask, out_shape)
        return pull_diagonal(1, numbers, in_shape, numbers.ndim - len(out_shape)) != 0

    return Mask(compute)


def pulled(c: LocalJacobian, mask: Mask | None, constant: bool = False) -> Mask | None:
    """Return the mask of an adjoint that was pulled through a local Jacobian.

    The zeros of a product with a matrix are of structure if the matrix is `constant`.
    """
    return _carried(c, mask, constant, c.out_shape, c.in_shape, lambda J, ones, block: J.pull(ones, block))


def pushed(c: LocalJacobian, mask: Mask | None, constant: bool = False) -> Mask | None:
    """Return the mask of a tangent that was pushed through a local Jacobian."""
    mask = _carried(c, mask, constant, c.in_shape, c.out_shape, lambda J, ones, block: J.push(ones, block))
    return both(mask, supported(c))


def supported(c: LocalJacobian) -> Mask | None:
    """Return the mask of the elements of a line's result that depend on its operand at all."""
    support = c.support
    return None if support is None else Mask(lambda: np.broadcast_to(support, c.out_shape))


def _carried(
    c: LocalJacobian,
    mask: Mask | None,
    constant: bool,
    start: Shape,
    end: Shape,
    carry: Callable[[LocalJacobian, Array, int], Array],
) -> Mask | None:
    product = isinstance(c, (LeftProduct, RightProduct))
    has_zeros = constant if product else c.moves or c.structure is not None
    if mask is None and not has_zeros:
        return None

    def compute() -> Array | None:
        if mask is not None and mask() is None and not has_zeros:
            return None
        ones = as_numbers(mask, start)
        block = ones.ndim - len(start)
        if product:
            return carry(_pattern(c, constant), ones, block) != 0
        if c.moves or c.structure is not None:
            return carry(c.structure or c, ones, block) != 0
        return _anywhere(ones, start, end)

    return Mask(compute)


def _pattern(c: Any, constant: bool) -> LocalJacobian:
    """Return a product with the pattern of a constant matrix, or with ones for one that is computed."""
    matrix = _matrix_of(c)
    pattern = (matrix != 0) * 1.0 if constant and not isinstance(matrix, Recordable) else np.ones(matrix.shape)
    structure: LocalJacobian = type(c)(pattern, c.in_shape, c.out_shape)
    return structure


def _matrix_of(c: Any) -> Any:
    return c.A if isinstance(c, LeftProduct) else c.B


def _anywhere(ones: Array, start: Shape, end: Shape) -> Array:
    """Return the mask behind a line that mixes all elements: True everywhere if anything comes at all."""
    lead = ones.shape[: ones.ndim - len(start)]
    anything = np.max(ones, axis=tuple(range(-len(start), 0))) != 0 if start else ones != 0
    return np.broadcast_to(np.reshape(anything, lead + (1,) * len(end)), lead + end)


def mixed(masks: Sequence[Mask | None], starts: Sequence[Shape], end: Shape) -> Mask | None:
    """Return the mask behind a line of which no more is known than from where something comes to it."""
    total: Mask | None = None
    for n, (mask, start) in enumerate(zip(masks, starts, strict=True)):
        if mask is None:
            return None
        part = Mask(lambda mask=mask, start=start: _anywhere(as_numbers(mask, start), start, end))  # type: ignore[misc]
        total = either(total, part) if n else part
    return total


def joined(row: Row, tangents: Sequence[Any], masks: Sequence[Mask | None]) -> Mask | None:
    """Return the mask of what a line of `LINEAR` makes of the tangents of its operands (None where zero)."""
    primitive, _, kept, params, _, _ = row
    covers = primitive is stack or primitive is concatenate
    if covers and all(t is not None for t in tangents) and all(mask is None for mask in masks):
        return None

    def compute() -> Array:
        shapes = [np.shape(v) for v in kept[1:]]
        ones = [
            None if t is None else as_numbers(mask, shape)
            for t, mask, shape in zip(tangents, masks, shapes, strict=True)
        ]
        block = _in_blocks(ones, shapes)
        return primitive.jvp(ones, kept[1:], block, **params) != 0  # type: ignore[misc]

    return Mask(compute)


def assembled(
    pieces: Sequence[tuple[Any, Shape, Mask | None]], shape: Shape, others: Mask | None, alone: bool
) -> Mask | None:
    """Return the mask of pieces (index, shape, mask) in an array of `shape`, `alone` or added to what has a mask."""

    def compute() -> Array:
        ones = [as_numbers(mask, size) for _, size, mask in pieces]
        block = _in_blocks(ones, [size for _, size, _ in pieces])
        return assemble(ones, [index for index, _, _ in pieces], shape, batch=block) != 0

    mask = Mask(compute)
    return mask if alone else either(others, mask)


def _in_blocks(ones: list[Array | None], shapes: Sequence[Shape]) -> int:
    """Give all of some masks the axis of the block that some have, in place; return the number of such axes."""
    lead: Shape = ()
    for n, shape in zip(ones, shapes, strict=True):
        if n is not None and len(n.shape) > len(shape):
            lead = n.shape[: len(n.shape) - len(shape)]
    if lead:
        for k, (n, shape) in enumerate(zip(ones, shapes, strict=True)):
            if n is not None and len(n.shape) == len(shape):
                ones[k] = np.broadcast_to(n, lead + shape)
    return len(lead)
