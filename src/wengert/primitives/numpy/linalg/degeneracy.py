"""Undefined derivatives: equal values share the defined part, and guards raise for the rest.

Rules divide by differences of eigenvalues or singular values.  If a difference is zero up to rounding, `ratio`
requires that the numerator is, too; `shared` gives the members of a group of equal values equal shares, `joined`
refuses a function of both the values and the vectors of a group, and `settled` marks factors in a rule, which raise if
it is differentiated in turn.  All of them are rows of the table, so that they become lines of Programs and check the
values of each run.

>>> import numpy as np, wengert as wg
>>> np.diag(wg.grad(lambda A: np.linalg.eigvalsh(A)[0])(np.eye(2)))
array([0.5, 0.5])
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wengert.errors import DegenerateError
from wengert.jacobians import Map
from wengert.primitives.numpy.linalg.matrices import Array
from wengert.primitives.table import array_function, define, step_function
from wengert.program import Primitive, Recordable, current_line


def degenerate(what: str) -> DegenerateError:
    """Return an error that names the coincidence, its place, and the remedy."""
    line = current_line()
    return DegenerateError.at(
        None if line is None else line.place,
        f"{what}, so this derivative does not exist or cannot be told:",
        "Use functions of the eigenvalues (or singular values) alone, np.linalg.eigvalsh or svd(compute_uv=False);"
        " of vectors, only the space that those of equal values span; or move the matrix off the coincidence.",
    )


def tolerance(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return below which differences of the values on the last axis are rounding errors of a factorization."""
    eps = np.finfo(values.dtype).eps
    largest = np.max(np.abs(values), axis=-1, initial=0.0)
    return np.asarray(8 * max(values.shape[-1], 1) * eps * largest)


def _groups(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Number the groups of equal values along the last axis, along which they are sorted."""
    steps = np.abs(np.diff(values, axis=-1)) > tolerance(values)[..., None]
    return np.concatenate([np.zeros((*values.shape[:-1], 1), int), np.cumsum(steps, axis=-1)], -1)


def identity(x: Any) -> Map:
    """Return the local Jacobian of a row that looks at `x` and passes it on."""
    return Map(x.shape, x.shape, lambda t: t, lambda g: g)


# ---- The computations of the rows ----


def _shared(x: Any, values: Any) -> Any:
    groups = _groups(values)
    if values.shape[-1] == 0 or np.all(groups[..., -1] == values.shape[-1] - 1):
        return x
    same = (groups[..., :, None] == groups[..., None, :]).astype(x.dtype)
    return np.matmul(x[..., None, :], same / np.sum(same, -1, keepdims=True))[..., 0, :]


def _distinct(x: Any, values: Any, positive: bool) -> Any:
    repeated = values.shape[-1] > 1 and np.any(np.diff(_groups(values), axis=-1) == 0)
    if repeated or (positive and np.any(values <= tolerance(values)[..., None])):
        raise degenerate("a derivative of second order is taken at a repeated eigenvalue or singular value")
    return x


def _ratio(numerator: Any, gap: Any, size: Any, scale: Any) -> Any:
    """Divide where the gap is none of rounding; elsewhere the numerator must vanish, and the ratio is 0."""
    numerator = np.asarray(numerator)
    eps = np.finfo(numerator.dtype).eps
    n = numerator.shape[-1] if numerator.ndim else 1
    closed = np.abs(gap) <= 8 * n * eps * size
    if np.any(closed & (np.abs(numerator) > math.sqrt(eps) * scale)):
        raise degenerate("the vectors of a repeated eigenvalue (or singular value) are not determined")
    return np.where(closed, 0.0, numerator / np.where(closed, 1.0, gap)).astype(numerator.dtype)


def _joined(g: Any, products: Any, values: Any) -> Any:
    """Return `g` unless it and the vectors' adjoints both hang on one group of equal values."""
    groups = _groups(values)
    if values.shape[-1] == 0 or np.all(groups[..., -1] == values.shape[-1] - 1):
        return g
    small = math.sqrt(np.finfo(values.dtype).eps)
    same = groups[..., :, None] == groups[..., None, :]
    part = np.where(same, (products + np.conj(np.swapaxes(products, -1, -2))) / 2, 0.0)
    level = np.diagonal(part, axis1=-2, axis2=-1).real
    flat = (level - _shared(level, values))[..., :, None] * np.eye(level.shape[-1])
    uneven = np.abs(part - part * np.eye(level.shape[-1])) + np.abs(flat)
    vectors = np.any(uneven > small * np.max(np.abs(products), axis=(-2, -1), keepdims=True, initial=0.0), axis=-1)
    repeated = np.sum(same, axis=-1) > 1
    used = np.abs(g) > small * np.max(np.abs(g), initial=0.0)
    leading = tuple(range(g.ndim - values.ndim))  # a block of adjoints is of one function
    if np.any(np.any(vectors, axis=leading) & np.any(used, axis=leading) & repeated):
        raise degenerate("a repeated eigenvalue (or singular value) and its vectors are used together")
    return g


def _inverse_gap(gap: Any, size: Any) -> Any:
    n = np.shape(gap)[-1] if np.ndim(gap) else 1
    closed = np.abs(gap) <= 8 * n * np.finfo(gap.dtype).eps * size
    one = gap.dtype.type(1)
    return np.where(closed, one - one, one / np.where(closed, one, gap))


def _level(x: Any) -> Any:
    """The largest element of each matrix; in a block of them, that of one which is only rounding counts for nothing."""
    sizes = np.max(np.abs(x), axis=(-2, -1), keepdims=True, initial=0.0)
    rounding = 1e3 * np.sqrt(np.finfo(sizes.dtype).eps) * np.max(sizes, initial=0.0)
    return np.maximum(sizes, rounding).astype(sizes.dtype)


# ---- The rows ----

magnitude = step_function(
    "magnitude",
    lambda x: np.max(np.abs(x), axis=(-2, -1), keepdims=True, initial=0.0),
    source="np.max(np.abs({0}), axis=(-2, -1), keepdims=True, initial=0.0)",
    kink="0 everywhere: it is only asked for to compare with",
)
level = step_function(
    "level",
    _level,
    source="wengert.primitives.numpy.linalg.level({0})",
    kink="0 everywhere: it is only asked for to compare with",
)
shared: Primitive = array_function(
    "shared",
    _shared,
    lambda _y, _x, values: Map(_x.shape, _x.shape, lambda t: shared(t, values), lambda g: shared(g, values)),
    None,
    formula_rule=False,
    source=lambda args, _params: f"wengert.primitives.numpy.linalg.shared({', '.join(args)})",
    counts=lambda y, *_rest: {"additions": y.size},
    kink="equal shares to the members of a group of equal values",
)
joined = array_function(
    "joined",
    _joined,
    lambda _y, _g, _products, _values: identity(_g),
    None,
    None,
    formula_rule=False,
    source=lambda args, _params: f"wengert.primitives.numpy.linalg.joined({', '.join(args)})",
)


def _distinct_partial(_y: Any, _x: Any, values: Any, positive: bool) -> Map:
    def passed(t: Any) -> Any:
        return distinct(t, values, positive=positive)

    return Map(_x.shape, _x.shape, passed, passed)


distinct: Primitive = array_function(
    "distinct",
    _distinct,
    _distinct_partial,
    None,
    formula_rule=False,
    source=lambda args, params: (
        f"wengert.primitives.numpy.linalg.distinct({', '.join(args)}, positive={params['positive']})"
    ),
    kink="an error where values repeat",
)
settled = array_function(
    "settled",
    lambda x, _values, positive: x,
    _distinct_partial,
    None,
    formula_rule=False,
    source="{0}",
    kink="an error where values repeat",
)
ratio = define(
    "ratio",
    _ratio,
    lambda _y, _n, gap, size, _scale: _inverse_gap(gap, size),
    lambda y, _n, gap, size, _scale: -y * _inverse_gap(gap, size),
    None,
    None,
    elementwise=True,
    source=lambda args, _params: f"wengert.primitives.numpy.linalg.ratio({', '.join(args)})",
    counts="divisions",
    kink="where the divisor vanishes: 0 if the dividend does, else an error",
    formula_rule=False,
)


# ---- How rules ask for them ----


def settle(y: Array, values: Array, positive: bool = False) -> Array:
    """Mark factors that stand in a rule: should the rule be differentiated, its values must be distinct."""
    return settled(y, values, positive=positive) if isinstance(y, Recordable) else y


def gaps(w: Array, sign: int = -1) -> Array:
    """Return the table of ``w_j - w_i`` (or ``w_j + w_i``)."""
    return w[..., None, :] + sign * w[..., :, None]
