"""Norms of vectors and matrices, and the condition number, which is a product of two.

One row, the root of the sum of squares, is enough: the others are sums, extrema and singular values.

>>> import numpy as np, wengert as wg
>>> wg.grad(np.linalg.norm)(np.array([3.0, 4.0]))
array([0.6, 0.8])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from wengert.jacobians import LocalJacobian, Map, Shape
from wengert.primitives.numpy.elementwise import unit
from wengert.primitives.numpy.functions.operands import as_operand
from wengert.primitives.numpy.linalg.matrices import Array, conj, matrices, real, real_kind, square_of
from wengert.primitives.numpy.linalg.singular_values import svdvals_
from wengert.primitives.numpy.linalg.solving import inv_
from wengert.primitives.table import array_function, calls

# ---- The row ----


def _norm_partial(y: Any, x: Any, axis: Shape) -> LocalJacobian:
    sizes = tuple(1 if k - x.ndim in axis else s for k, s in enumerate(x.shape))
    back = conj(unit(x, np.reshape(y, sizes)))

    def pull(g: Array) -> Array:
        return np.reshape(g, g.shape[: g.ndim - y.ndim] + sizes) * back

    return Map(
        x.shape, y.shape, lambda t: real(np.sum(back * t, axis=axis)), pull, {"multiplications": x.size}, name="norm",
        mixes=(axis, ()),
    )  # fmt: skip


def _squared_norm_partial(_y: Any, _root: Any, x: Any, axis: Shape) -> LocalJacobian:
    sizes = tuple(1 if k - x.ndim in axis else s for k, s in enumerate(x.shape))
    back = 2 * conj(x)

    def pull(g: Array) -> Array:
        return np.reshape(g, g.shape[: g.ndim - _y.ndim] + sizes) * back

    return Map(
        x.shape, _y.shape, lambda t: real(np.sum(back * t, axis=axis)), pull, {"multiplications": x.size}, name="norm",
        mixes=(axis, ()),
    )  # fmt: skip


norm_ = array_function(
    "norm",
    lambda x, axis: np.linalg.norm(x, axis=axis[0]) if len(axis) == 1 else _root_of_squares(x, axis),
    _norm_partial,
    source=lambda args, params: (
        f"np.linalg.norm({args[0]}, axis={params['axis'][0]})"
        if len(params["axis"]) == 1
        else f"np.sqrt(np.sum(np.abs({args[0]}) ** 2, axis={params['axis']}))"
    ),
    counts=lambda _y, x, **_params: {"multiplications": x.size, "additions": x.size, "calls": 1},
    squared=(_squared_norm_partial,),
    native=lambda op, x, axis: op("sqrt", op.fold("add", op("multiply", x, x), axis, False)),
    kink="at 0: 0, the subgradient of least norm; second: NaN, with a warning; of its square: exact",
)


def _root_of_squares(x: Any, axis: Shape) -> Any:
    if len(axis) == x.ndim:
        return np.linalg.norm(np.ravel(x))
    return np.sqrt(np.add.reduce(np.square(x.real) + np.square(x.imag) if np.iscomplexobj(x) else x * x, axis=axis))


# ---- What is written in terms of it ----


def _length(x: Any, axes: Sequence[int]) -> Any:
    return norm_(x, axis=tuple(sorted(k if k < 0 else k - x.ndim for k in axes)))


def _p_norm(x: Any, p: Any, axis: int) -> Any:
    """Return the p-norm of vectors along one axis."""
    if p is None or p == 2:
        return _length(x, (axis,))
    if isinstance(p, str):
        raise ValueError(f"Invalid norm order '{p}' for vectors")
    if p == np.inf:
        return np.max(np.abs(x), axis=axis)
    if p == -np.inf:
        return np.min(np.abs(x), axis=axis)
    if p == 0:
        return np.sum((x != 0).astype(real_kind(x)), axis=axis)
    size = np.abs(x)
    if p == 1:
        return np.sum(size, axis=axis)
    total = np.sum(size**p, axis=axis)
    kind = total.dtype.type
    nothing = total == 0
    root = np.where(nothing, kind(1), total) ** kind(1 / p)
    return np.where(nothing, kind(0) if p > 0 else total ** kind(1 / p), root)


def _matrix_norm(x: Any, p: Any, rows: int, columns: int) -> Any:
    """Return the norm of matrices in two axes."""
    if p in (None, "fro", "f"):
        return _length(x, (rows, columns))
    if p in (2, -2, "nuc"):
        s = svdvals_(np.moveaxis(x, (rows, columns), (-2, -1)))
        if p == "nuc":
            return np.sum(s, axis=-1)
        return np.max(s, axis=-1) if p == 2 else np.min(s, axis=-1)
    if p in (1, -1):
        sums = np.sum(np.abs(x), axis=rows)
        rest = columns - 1 if columns > rows else columns
    elif p in (np.inf, -np.inf):
        sums = np.sum(np.abs(x), axis=columns)
        rest = rows - 1 if rows > columns else rows
    else:
        raise ValueError("Invalid norm order for matrices.")
    return np.max(sums, axis=rest) if p > 0 else np.min(sums, axis=rest)


# ---- What users call ----


@calls(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:  # noqa: A002
    x = as_operand(x)
    if axis is None and (ord is None or (ord in ("f", "fro") and x.ndim == 2) or (ord == 2 and x.ndim == 1)):
        y = _length(x, range(x.ndim))
        return np.reshape(y, (1,) * x.ndim) if keepdims else y
    axes = tuple(range(x.ndim)) if axis is None else normalize_axis_tuple(axis, x.ndim)
    if len(axes) == 1:
        y = _p_norm(x, ord, axes[0])
    elif len(axes) == 2:
        y = _matrix_norm(x, ord, *axes)
    else:
        raise ValueError("Improper number of dimensions to norm.")
    return np.reshape(y, tuple(1 if k in axes else s for k, s in enumerate(x.shape))) if keepdims else y


@calls(np.linalg.vector_norm)
def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:  # noqa: A002
    x = as_operand(x)
    axes = tuple(range(x.ndim)) if axis is None else normalize_axis_tuple(axis, x.ndim)
    rest = tuple(k for k in range(x.ndim) if k not in axes)
    moved = np.transpose(x, (*rest, *axes))
    flat = np.reshape(moved, (*moved.shape[: len(rest)], -1))
    y = _p_norm(flat, ord, flat.ndim - 1)
    return np.reshape(y, tuple(1 if k in axes else s for k, s in enumerate(x.shape))) if keepdims else y


@calls(np.linalg.matrix_norm)
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:  # noqa: A002
    return norm(x, ord, axis=(-2, -1), keepdims=keepdims)


@calls(np.linalg.cond)
def cond(x: Any, p: Any = None) -> Any:
    x = as_operand(x)
    matrices(x)
    if p is None or p in (2, -2):
        s = svdvals_(x)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    square_of(x)
    return norm(x, p, axis=(-2, -1)) * norm(inv_(x), p, axis=(-2, -1))
