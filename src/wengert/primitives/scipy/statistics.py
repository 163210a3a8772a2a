"""``scipy.stats``, but for the distributions: correlation, and densities estimated with kernels.

Most statistics SciPy writes in terms of NumPy, and they are traced as they are.

>>> import numpy as np, wengert as wg
>>> from scipy import stats
>>> x = np.array([0.0, 1.0, 3.0])
>>> wg.grad(lambda y: stats.pearsonr(x, y).statistic)(np.array([1.0, 2.0, 2.5])).round(4)
array([ 0.0918, -0.2755,  0.1837])
"""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special as sc

from wengert.errors import UnsupportedError
from wengert.primitives.numpy.functions.operands import as_operand, as_reals
from wengert.primitives.table import HOLDERS, LATE, calls

Array = Any


# ---- Correlation ----


def pearsonr(x: Any, y: Any, *, alternative: str = "two-sided", method: Any = None, axis: Any = 0) -> Any:
    """Return the correlation coefficient, and its p-value by the beta distribution."""
    if method is not None:
        raise UnsupportedError("pearsonr with method= draws samples, and has no rule; leave it out.")
    x, y = as_reals(x), as_reals(y)
    if axis is None:
        x, y, axis = np.reshape(x, (-1,)), np.reshape(y, (-1,)), 0
    if x.shape[axis] != y.shape[axis]:
        raise ValueError("`x` and `y` must have the same length along `axis`.")
    n = x.shape[axis]
    x, y = np.moveaxis(x, axis, -1), np.moveaxis(y, axis, -1)
    xm, ym = (v - np.mean(v, axis=-1)[..., None] for v in (x, y))
    r = np.sum(xm * ym, axis=-1) / (np.linalg.norm(xm, axis=-1) * np.linalg.norm(ym, axis=-1))
    r = np.clip(r, -1.0, 1.0)
    half = 0.5 * n - 1
    if n < 3:
        p = 0.0 * r + 1.0
    elif alternative == "two-sided":
        p = 2 * sc.betainc(half, half, 0.5 * (1 - np.abs(r)))
    elif alternative in ("less", "greater"):
        p = sc.betainc(half, half, 0.5 * (1 + r if alternative == "less" else 1 - r))
    else:
        raise ValueError("`alternative` must be 'less', 'greater', or 'two-sided'.")
    result: Any = sys.modules["scipy.stats._stats_py"].PearsonRResult
    fields = {"statistic": r, "pvalue": p, "alternative": alternative, "n": n, "x": x, "y": y, "axis": -1}
    return result(**{key: fields[key] for key in list(inspect.signature(result.__init__).parameters)[1:]})


# ---- Kernel density estimates ----


def _init_kde(self: Any, dataset: Any, bw_method: Any = None, weights: Any = None) -> None:
    data = np.atleast_2d(as_operand(dataset))
    if data.size <= 1:
        raise ValueError("`dataset` input should have multiple elements.")
    self.dataset = as_reals(data)
    self.d, self.n = data.shape
    w = np.full(self.n, 1.0 / self.n) if weights is None else as_operand(weights) / np.sum(weights)
    self._weights, self._neff = w, 1 / np.sum(w * w)
    deviation = self.dataset - np.sum(w * self.dataset, axis=-1)[:, None]
    spread = (w * deviation) @ np.transpose(deviation) / (1 - np.sum(w * w))
    named = bw_method if isinstance(bw_method, str) else "scott" if bw_method is None else None
    if named == "scott":
        factor = self._neff ** (-1.0 / (self.d + 4))
    elif named == "silverman":
        factor = (self._neff * (self.d + 2.0) / 4.0) ** (-1.0 / (self.d + 4))
    elif named is not None:
        raise ValueError("`bw_method` should be 'scott', 'silverman', a scalar or a callable.")
    else:
        factor = bw_method(self) if callable(bw_method) else as_operand(bw_method)
    self.factor, self._data_covariance = factor, spread
    self.covariance_factor = lambda: factor
    self.covariance = spread * factor**2
    self.cho_cov = np.linalg.cholesky(self.covariance)


def _log_terms(self: Any, points: Any) -> Array:
    """Return the logarithm of each kernel at each point, its weight included."""
    at = np.atleast_2d(as_operand(points))
    d, m = at.shape
    if d != self.d:
        if d == 1 and m == self.d:
            at = np.reshape(at, (self.d, 1))
        else:
            raise ValueError(f"points have dimension {d}, dataset has dimension {self.d}")
    factor = np.linalg.cholesky(self.covariance)
    apart = at[:, None, :] - self.dataset[:, :, None]
    white = np.linalg.solve(factor, np.reshape(apart, (self.d, -1)))
    energy = np.reshape(np.sum(white * white, axis=0), apart.shape[1:]) / 2
    norm = 0.5 * self.d * math.log(2 * math.pi) + np.sum(np.log(np.diagonal(factor)))
    return np.log(self.weights)[:, None] - energy - norm


def _density(self: Any, points: Any) -> Array:
    """Add up the kernels at each point."""
    return np.sum(np.exp(_log_terms(self, points)), axis=0)


def _log_density(self: Any, x: Any) -> Array:
    """Return the logarithm of the sum, without underflow."""
    return sc.logsumexp(_log_terms(self, x), axis=0)


def _box(self: Any, low: Any, high: Any) -> Array:
    """Integrate between two points, in one dimension."""
    if self.d != 1:
        raise ValueError("integrate_box_1d() only handles 1D pdfs")
    width = np.sqrt(self.covariance[0, 0])
    data = self.dataset[0]
    return np.sum(self.weights * (sc.ndtr((high - data) / width) - sc.ndtr((low - data) / width)))


METHODS: dict[str, Callable[..., Any]] = {
    "pearsonr": pearsonr,
    "gaussian_kde.__init__": _init_kde,
    "gaussian_kde.evaluate": _density,
    "gaussian_kde.__call__": _density,
    "gaussian_kde.pdf": _density,
    "gaussian_kde.logpdf": _log_density,
    "gaussian_kde.integrate_box_1d": _box,
}
"""What stands for functions and methods of ``scipy.stats``, by their names."""


def enter() -> None:
    """Enter them in the table."""
    stats: Any = sys.modules["scipy.stats"]
    for path, written in METHODS.items():
        owner: Any = stats
        for name in path.split("."):
            owner = getattr(owner, name)
        calls(owner, catch=stats)(written)
    HOLDERS[stats.gaussian_kde] = ("dataset", "_weights", "covariance")


LATE["scipy.stats._stats_py"] = enter
