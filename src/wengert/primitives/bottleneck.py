"""``bottleneck``: its compiled functions as NumPy's, and the statistics of moving windows.

pandas and xarray call them where it is installed.  They ask for arrays of plain elements, and would compute with
objects, one by one.  Those whose results are positions or ranks, which do not move, are left to that.

>>> import wengert as wg
>>> wg.grad(lambda x: move_mean(x, 2, min_count=1)[1])(np.array([1.0, 4.0, 2.0]))
array([0.5, 0.5, 0. ])
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from wengert.primitives.numpy.functions.operands import as_operand
from wengert.primitives.table import CALLS, LATE, NAMED

_AS_NUMPYS = ("nansum", "nanmean", "nanmin", "nanmax", "median", "nanmedian")


def nanstd(a: Any, axis: int | None = None, ddof: int = 0) -> Any:
    """Return the standard deviation of the elements that are not missing."""
    return np.nanstd(a, axis=axis, ddof=ddof)


def nanvar(a: Any, axis: int | None = None, ddof: int = 0) -> Any:
    """Return the variance of the elements that are not missing."""
    return np.nanvar(a, axis=axis, ddof=ddof)


def ss(a: Any, axis: int | None = None) -> Any:
    """Return the sum of squares."""
    return np.sum(np.square(a), axis=axis)


def _moving(statistic: Callable[..., Any], filling: float) -> Callable[..., Any]:
    """Make a statistic of windows that end at each element, of those of their elements that are not missing.

    `statistic` takes the windows, with `filling` where an element is missing, where elements are there, and how many.
    """

    def move(a: Any, window: int, min_count: int | None = None, axis: int = -1, ddof: int = 0) -> Any:
        """Return the statistic of the windows along an axis, NaN where fewer than `min_count` elements are there."""
        a = np.moveaxis(as_operand(a), axis, -1)
        head = np.full((*a.shape[:-1], window - 1), np.nan)
        windows = np.lib.stride_tricks.sliding_window_view(np.concatenate([head, a], axis=-1), window, axis=-1)
        there = ~np.isnan(windows)
        counts = np.sum(there, axis=-1)
        result = statistic(np.where(there, windows, filling), there, counts, ddof)
        enough = counts >= (window if min_count is None else min_count)
        return np.moveaxis(np.where(enough, result, np.nan), -1, axis)

    return move


def _mean(windows: Any, _there: Any, counts: Any, _ddof: int) -> Any:
    return np.sum(windows, axis=-1) / np.maximum(counts, 1)


def _variance(windows: Any, there: Any, counts: Any, ddof: int) -> Any:
    deviations = np.where(there, windows - _mean(windows, there, counts, ddof)[..., None], 0.0)
    return np.sum(deviations**2, axis=-1) / np.where(counts > ddof, counts - ddof, np.nan)


move_sum = _moving(lambda windows, *_: np.sum(windows, axis=-1), 0.0)
move_mean = _moving(_mean, 0.0)
move_var = _moving(_variance, 0.0)
move_std = _moving(lambda *args: np.sqrt(_variance(*args)), 0.0)
move_max = _moving(lambda windows, *_: np.max(windows, axis=-1), -np.inf)
move_min = _moving(lambda windows, *_: np.min(windows, axis=-1), np.inf)


def _enter() -> None:
    """Enter the functions of the user's ``bottleneck`` in the table."""
    bottleneck: Any = sys.modules["bottleneck"]
    for name in _AS_NUMPYS:
        CALLS[getattr(bottleneck, name)] = CALLS[getattr(np, name)]
    own = nanstd, nanvar, ss
    moving = ("move_sum", "move_mean", "move_var", "move_std", "move_max", "move_min")
    CALLS.update({getattr(bottleneck, written.__name__): written for written in own})
    CALLS.update({getattr(bottleneck, name): globals()[name] for name in moving})
    NAMED.update(getattr(bottleneck, name) for name in (*_AS_NUMPYS, *moving, *(written.__name__ for written in own)))


LATE["bottleneck"] = _enter
