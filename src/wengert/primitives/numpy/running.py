"""Running products and extrema: what each element makes of all before it, in a time that grows with their number.

The derivative of a running product is a recurrence, ``y_dot[k] = x[k] * y_dot[k-1] + y[k-1] * x_dot[k]``, whose
transpose runs back.  LAPACK solves it as a triangular system with two diagonals: without a division, so that it is
right where an element is zero, and without a loop in Python.

>>> import wengert as wg
>>> wg.grad(lambda x: np.cumprod(x)[-1])(np.array([2.0, 0.0, 3.0] + [1.0] * 7))[:3]
array([0., 6., 0.])
>>> wg.jacobian(np.maximum.accumulate)(np.array([1.0, 3.0, 2.0]))
array([[1., 0., 0.],
       [0., 1., 0.],
       [0., 1., 0.]])
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.linalg import lapack

from wengert.jacobians import LocalJacobian, Map, Shape
from wengert.primitives.numpy.structural import native_running
from wengert.primitives.table import array_function
from wengert.program import Primitive

_SOLVERS = {"f": lapack.stbtrs, "d": lapack.dtbtrs, "F": lapack.ctbtrs, "D": lapack.ztbtrs}


def _behind(axis: int) -> tuple[slice, ...]:
    return (slice(None),) * (-axis - 1)


def _shifted(x: Any, axis: int, first: float) -> Any:
    """Return an array shifted by one along an axis, with a number at the beginning."""
    if x.shape[axis] == 0:
        return x
    shape = list(x.shape)
    shape[axis] = 1
    return np.concatenate([np.full(shape, first, x.dtype), x[(..., slice(None, -1), *_behind(axis))]], axis)


def _shifted_back(x: Any, axis: int) -> Any:
    """Return an array shifted by one towards the beginning of an axis, with zero at the end."""
    if x.shape[axis] == 0:
        return x
    shape = list(x.shape)
    shape[axis] = 1
    return np.concatenate([x[(..., slice(1, None), *_behind(axis))], np.zeros(shape, x.dtype)], axis)


# ---- The recurrence ----


def _sums(shape: Shape, axis: int, back: bool = False) -> LocalJacobian:
    """Return the running sum, which has its zeros where the Jacobian of anything that runs along an axis has."""
    sums = Map(
        shape,
        shape,
        lambda t: np.cumsum(t, axis),
        lambda g: np.flip(np.cumsum(np.flip(g, axis), axis), axis),
        name="cumsum",
        moves=True,
    )
    return sums.T if back else sums


def _recur(a: Any, b: Any, axis: int, back: bool) -> Any:
    """Compute ``y[k] = a[k] * y[k-1] + b[k]``, or with `back` its transpose ``y[k] = a[k+1] * y[k+1] + b[k]``."""
    a, b = np.moveaxis(np.broadcast_to(a, b.shape), axis, -1), np.moveaxis(np.asarray(b), axis, -1)
    solve = _SOLVERS.get(b.dtype.char)
    if b.size == 0 or solve is None:
        return np.moveaxis(_recur_in_turn(a, b, back), -1, axis)
    band = np.zeros((b.size, 2), b.dtype)  # one system for all: its band has a gap where the next recurrence begins
    below = band[:, 1].reshape(b.shape)
    below[..., :-1] = a[..., 1:]
    np.negative(below, out=below)
    y, _ = solve(band.T, b.reshape(-1, 1), uplo="L", trans="T" if back else "N", diag="U")
    y = y.reshape(b.shape)
    if not np.isfinite(y).all():  # in one system, what is infinite would reach the next recurrence as 0 * inf
        y = _recur_in_turn(a, b, back)
    return np.moveaxis(y, -1, axis)


def _recur_in_turn(a: Any, b: Any, back: bool) -> Any:
    """Compute the recurrence along the last axis in turn.

    A coefficient False cuts off what comes before, and where nothing has come yet nothing is multiplied: not by NaN.
    """
    y = b.copy()
    n = b.shape[-1]
    began = np.logical_or.accumulate(b[..., ::-1] != 0, -1)[..., ::-1] if back else np.logical_or.accumulate(b != 0, -1)
    for k in range(n - 2, -1, -1) if back else range(1, n):
        coefficient, previous = (a[..., k + 1], y[..., k + 1]) if back else (a[..., k], y[..., k - 1])
        comes = coefficient if a.dtype.kind == "b" else began[..., k + 1 if back else k - 1]
        y[..., k] += np.where(comes, coefficient * previous, 0)
    return y


def _push_coefficient(y: Any, a: Any, t: Any, axis: int, back: bool) -> Any:
    return recurrence(a, _shifted_back(t * y, axis) if back else t * _shifted(y, axis, 0.0), axis=axis, back=back)


def _pull_coefficient(y: Any, a: Any, g: Any, axis: int, back: bool) -> Any:
    bar = recurrence(a, g, axis=axis, back=not back)
    return _shifted(bar, axis, 0.0) * y if back else bar * _shifted(y, axis, 0.0)


recurrence: Primitive = array_function(
    "recurrence",
    _recur,
    lambda y, a, _b, axis, back: (
        None
        if a.dtype.kind == "b"
        else Map(
            a.shape,
            y.shape,
            lambda t: _push_coefficient(y, a, t, axis, back),
            lambda g: _pull_coefficient(y, a, g, axis, back),
            name="recurrence",
            structure=_sums(a.shape, axis, back),
        )
    ),
    lambda _y, a, _b, axis, back: Map(
        _b.shape,
        _y.shape,
        lambda t: recurrence(a, t, axis=axis, back=back),
        lambda g: recurrence(a, g, axis=axis, back=not back),
        name="recurrence",
        structure=_sums(_b.shape, axis, back),
    ),
    fresh=True,
    source=lambda args, params: f"wengert.primitives.numpy.running.recurrence({', '.join(args)}, **{params!r})",
    counts=lambda y, *_operands, **_params: {"multiplications": math.prod(y.shape), "additions": math.prod(y.shape)},
)
"""``y[k] = a[k] * y[k-1] + b[k]`` along an axis (negative), or `back`; the coefficients have the shape of `b`."""


def _like(x: Any, t: Any) -> Any:
    """Return an array for each of a block of tangents or adjoints."""
    return x if x.shape == t.shape else np.broadcast_to(x, t.shape)


# ---- Running products ----


def _cumprod_partial(y: Any, x: Any, axis: int) -> LocalJacobian:
    before = _shifted(y, axis, 1.0)
    return Map(
        x.shape,
        x.shape,
        lambda t: recurrence(_like(x, t), before * t, axis=axis, back=False),
        lambda g: before * recurrence(_like(x, g), g, axis=axis, back=True),
        name="cumprod",
        structure=_sums(x.shape, axis),
    )


cumprod = array_function(
    "cumprod",
    lambda x, axis: np.cumprod(x, axis),
    _cumprod_partial,
    fresh=True,
    source=lambda args, params: f"np.cumprod({args[0]}, {params['axis']})",
    counts=lambda _y, x, axis: {"multiplications": math.prod(x.shape) - math.prod(x.shape) // max(1, x.shape[axis])},
    native=native_running("multiply"),
)


def _prod_partial(_y: Any, x: Any, axis: int) -> LocalJacobian:
    """Multiply by the product of the others: of those before, and of those behind."""
    behind = np.flip(_shifted(cumprod(np.flip(x, axis), axis=axis), axis, 1.0), axis)
    others = _shifted(cumprod(x, axis=axis), axis, 1.0) * behind
    return Map(
        x.shape,
        _y.shape,
        lambda t: np.sum(others * t, axis=axis),
        lambda g: others * np.expand_dims(g, axis),
        name="prod",
    )


prod = array_function(
    "prod",
    lambda x, axis: np.multiply.reduce(x, axis=axis),
    _prod_partial,
    fresh=True,
    source=lambda args, params: f"np.prod({args[0]}, {params['axis']})",
    counts=lambda y, x, axis: {"multiplications": math.prod(x.shape) - math.prod(y.shape)},
    native=lambda op, x, axis: op.fold("multiply", x, (axis,), False),
)


# ---- Running extrema ----


def _extreme_partial(y: Any, x: Any, axis: int) -> LocalJacobian:
    """Share each extreme equally among the elements so far that equal it."""
    chosen = x == y
    goes_on = _shifted(y, axis, math.nan) == y
    count = np.maximum(recurrence(goes_on, chosen.astype(y.dtype), axis=axis, back=False), 1.0)  # none equals NaN
    return Map(
        x.shape,
        x.shape,
        lambda t: recurrence(_like(goes_on, t), np.where(chosen, t, 0.0), axis=axis, back=False) / count,
        lambda g: np.where(chosen, recurrence(_like(goes_on, g), g / count, axis=axis, back=True), 0.0),
        name="shares",
        structure=_sums(x.shape, axis),
    )


def _running(name: str, ufunc: np.ufunc) -> Primitive:
    return array_function(
        name,
        lambda x, axis: ufunc.accumulate(x, axis),
        _extreme_partial,
        fresh=True,
        source=lambda args, params: f"np.{ufunc.__name__}.accumulate({args[0]}, {params['axis']})",
        counts=lambda _y, x, axis: {"comparisons": math.prod(x.shape) - math.prod(x.shape) // max(1, x.shape[axis])},
        kink="tie: equal shares to each, as of the maximum of an array",
        native=native_running(ufunc.__name__),
    )


running_maximum, running_minimum = _running("cummax", np.maximum), _running("cummin", np.minimum)
