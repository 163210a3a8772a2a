"""``scipy.spatial.distance``: the metrics that have derivatives, between vectors and between all rows of matrices.

A metric is a formula along the last axis, which serves two vectors, the rows of two matrices (`cdist`) and the pairs of
rows of one (`pdist`).  Metrics that count entries change in jumps: they say so.

>>> import numpy as np, wengert as wg
>>> from scipy.spatial.distance import cdist
>>> a, b = np.array([[0.0, 0.0]]), np.array([[3.0, 4.0], [0.0, 2.0]])
>>> wg.grad(lambda a: np.sum(cdist(a, b)))(a)
array([[-0.6, -1.8]])
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special as sc

from wengert.errors import UnsupportedError
from wengert.primitives.numpy import elementwise as e
from wengert.primitives.numpy.functions.operands import as_operand, pick, with_arrays
from wengert.primitives.table import LATE, calls

Array = Any
Metric = Callable[..., Array]


# ---- The metrics, along the last axis ----


def _weighted(terms: Array, w: Any) -> Array:
    return np.sum(terms if w is None else w * terms, axis=-1)


def _euclidean(u: Array, v: Array, w: Any = None) -> Array:
    return np.linalg.norm(u - v if w is None else np.sqrt(w) * (u - v), axis=-1)


def _sqeuclidean(u: Array, v: Array, w: Any = None) -> Array:
    return _weighted((u - v) ** 2, w)


def _cityblock(u: Array, v: Array, w: Any = None) -> Array:
    return _weighted(np.abs(u - v), w)


def _chebyshev(u: Array, v: Array, w: Any = None) -> Array:
    apart = np.abs(u - v)
    return np.max(apart if w is None else np.where(as_operand(w) > 0, apart, 0.0), axis=-1)


def _minkowski(u: Array, v: Array, p: Any = 2, w: Any = None) -> Array:
    if p <= 0:
        raise ValueError("p must be greater than 0")
    apart = u - v
    if w is not None:
        apart = apart * (w ** (1 / p) if p not in (1, np.inf) else w if p == 1 else w != 0)
    return np.linalg.norm(apart, ord=p, axis=-1)


def _cosine(u: Array, v: Array, w: Any = None) -> Array:
    return 1.0 - _weighted(u * v, w) / np.sqrt(_weighted(u * u, w) * _weighted(v * v, w))


def _correlation(u: Array, v: Array, w: Any = None, centered: bool = True) -> Array:
    if centered:
        total = u.shape[-1] if w is None else np.sum(w)
        u = u - (_weighted(u, w) / total)[..., None]
        v = v - (_weighted(v, w) / total)[..., None]
    return _cosine(u, v, w)


def _canberra(u: Array, v: Array, w: Any = None) -> Array:
    size = np.abs(u) + np.abs(v)
    return _weighted(np.abs(u - v) / np.where(size == 0, 1.0, size), w)


def _braycurtis(u: Array, v: Array, w: Any = None) -> Array:
    return _weighted(np.abs(u - v), w) / _weighted(np.abs(u + v), w)


def _seuclidean(u: Array, v: Array, V: Any) -> Array:
    return np.linalg.norm((u - v) / np.sqrt(V), axis=-1)


def _mahalanobis(u: Array, v: Array, VI: Any) -> Array:
    apart = u - v
    return e.root(np.sum((apart @ VI) * apart, axis=-1))


def _jensenshannon(u: Array, v: Array, base: Any = None) -> Array:
    u, v = u / np.sum(u, axis=-1)[..., None], v / np.sum(v, axis=-1)[..., None]
    middle = (u + v) / 2.0
    total = np.sum(sc.rel_entr(u, middle), axis=-1) + np.sum(sc.rel_entr(v, middle), axis=-1)
    return e.root((total if base is None else total / np.log(base)) / 2.0)


METRICS: dict[str, Metric] = {
    "braycurtis": _braycurtis,
    "canberra": _canberra,
    "chebyshev": _chebyshev,
    "cityblock": _cityblock,
    "correlation": _correlation,
    "cosine": _cosine,
    "euclidean": _euclidean,
    "jensenshannon": _jensenshannon,
    "mahalanobis": _mahalanobis,
    "minkowski": _minkowski,
    "seuclidean": _seuclidean,
    "sqeuclidean": _sqeuclidean,
}
"""The metrics that have derivatives."""
_COUNTING = "dice hamming jaccard kulczynski1 rogerstanimoto russellrao sokalmichener sokalsneath yule"
_ALIASES = {
    **dict.fromkeys(("chebychev", "cheby", "cheb", "ch"), "chebyshev"),
    **dict.fromkeys(("cblock", "cb", "c"), "cityblock"),
    **dict.fromkeys(("euclid", "eu", "e"), "euclidean"),
    **dict.fromkeys(("mahal", "mah"), "mahalanobis"),
    **dict.fromkeys(("mi", "m", "pnorm"), "minkowski"),
    **dict.fromkeys(("se", "s"), "seuclidean"),
    **dict.fromkeys(("sqe", "sqeuclid"), "sqeuclidean"),
    "co": "correlation",
    "cos": "cosine",
    "js": "jensenshannon",
}


def _metric(name: str) -> Metric:
    canonical = name.lower().removeprefix("test_")
    canonical = _ALIASES.get(canonical, canonical)
    if canonical in METRICS:
        return METRICS[canonical]
    if canonical in _COUNTING.split() or canonical in ("matching", "hamm", "h"):
        raise UnsupportedError(
            f"the distance {name!r} counts entries, so its derivative is zero: write stop_gradient(x) if that is meant."
        )
    raise ValueError(f"Unknown Distance Metric: {name}")


def _rows(x: Any) -> Array:
    x = as_operand(x)
    if x.ndim != 2:
        raise ValueError("A 2-dimensional array must be passed.")
    return x if x.dtype == np.float64 else x.astype(np.float64)


def _completed(metric: Metric, rows: Callable[[], Array], arguments: dict[str, Any]) -> dict[str, Any]:
    """Complete a metric's arguments by what SciPy takes from the rows themselves."""
    arguments = {
        key: value if key == "p" else as_operand(value) for key, value in arguments.items() if value is not None
    }
    if metric is _seuclidean and "V" not in arguments:
        arguments["V"] = np.var(rows(), axis=0, ddof=1)
    if metric is _mahalanobis and "VI" not in arguments:
        arguments["VI"] = np.linalg.inv(np.cov(rows().T)).T
    return arguments


def _between(u: Array, v: Array, metric: Any, rows: Callable[[], Array], out: Any, arguments: dict[str, Any]) -> Array:
    if out is not None:
        raise UnsupportedError("out= has no rule here; leave it out, and use what is returned.")
    if not callable(metric):
        formula = _metric(metric)
        return formula(u, v, **_completed(formula, rows, arguments))
    shape = np.broadcast_shapes(u.shape, v.shape)
    u, v = np.broadcast_to(u, shape), np.broadcast_to(v, shape)
    values = [metric(u[index], v[index], **arguments) for index in np.ndindex(*shape[:-1])]
    return np.reshape(np.stack([as_operand(value) for value in values]), shape[:-1]) if values else np.zeros(shape[:-1])


# ---- What users call ----


def cdist(XA: Any, XB: Any, metric: Any = "euclidean", *, out: Any = None, **kwargs: Any) -> Array:
    """Return the distances between all rows of two matrices."""
    a, b = _rows(XA), _rows(XB)
    if a.shape[1] != b.shape[1]:
        raise ValueError("XA and XB must have the same number of columns (i.e. feature dimension.)")
    return _between(a[:, None], b[None], metric, lambda: np.concatenate([a, b]), out, kwargs)


def pdist(X: Any, metric: Any = "euclidean", *, out: Any = None, **kwargs: Any) -> Array:
    """Return the distances between all pairs of rows, as a vector."""
    x = _rows(X)
    i, j = np.triu_indices(x.shape[0], 1)
    return _between(pick(x, (i,)), pick(x, (j,)), metric, lambda: x, out, kwargs)


def squareform(X: Any, force: str = "no", checks: bool = True) -> Array:
    """Write a vector of distances as a symmetric matrix, or the other way round."""
    x = as_operand(X)
    if x.ndim == 1 and force.lower() != "tovector":
        n = int(np.ceil(np.sqrt(x.shape[0] * 2)))
        if n * (n - 1) != x.shape[0] * 2:
            raise ValueError("Incompatible vector size. It must be a binomial coefficient n choose 2, n >= 2.")
        places = np.zeros((n, n), np.intp)
        i, j = np.triu_indices(n, 1)
        places[i, j] = places[j, i] = np.arange(1, x.shape[0] + 1)
        return pick(np.concatenate([np.zeros(1, x.dtype), x]), (places,))
    if x.ndim != 2 or x.shape[0] != x.shape[1]:
        raise ValueError("The matrix argument must be square.")
    if checks and not (np.allclose(x, np.transpose(x)) and np.all(np.diagonal(x) == 0)):
        raise ValueError("Distance matrix 'X' must be symmetric, with a diagonal of zeros.")
    return pick(x, np.triu_indices(x.shape[0], 1))


def distance_matrix(x: Any, y: Any, p: Any = 2, threshold: int = 1000000) -> Array:
    """Return the distances of all pairs of rows by the p-norm."""
    return cdist(x, y, "minkowski", p=p)


def _of_vectors(metric: Metric) -> Metric:
    def written(u: Any, v: Any, *args: Any, **kwargs: Any) -> Array:
        u, v = as_operand(u), as_operand(v)
        if u.ndim != 1 or v.ndim != 1:
            raise ValueError("Input vector should be 1-D.")
        return metric(u, v, *with_arrays(args), **dict(zip(kwargs, with_arrays(kwargs.values()), strict=True)))

    written.__name__ = metric.__name__.removeprefix("_")
    return written


def jensenshannon(p: Any, q: Any, base: Any = None, *, axis: int = 0, keepdims: bool = False) -> Array:
    """Return the root of the Jensen-Shannon divergence of distributions along one axis."""
    p, q = np.broadcast_arrays(as_operand(p), as_operand(q))
    result = _jensenshannon(np.moveaxis(p, axis, -1), np.moveaxis(q, axis, -1), base)
    return np.expand_dims(result, axis) if keepdims else result


FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: _of_vectors(metric) for name, metric in METRICS.items() if name != "jensenshannon"},
    "cdist": cdist,
    "jensenshannon": jensenshannon,
    "pdist": pdist,
    "squareform": squareform,
}
"""What stands for the functions of ``scipy.spatial.distance``, by their names."""


def _enter() -> None:
    import scipy.spatial.distance

    for name, written in FUNCTIONS.items():
        calls(getattr(scipy.spatial.distance, name), catch=scipy.spatial.distance)(written)
    calls(scipy.spatial.distance_matrix, catch=scipy.spatial)(distance_matrix)


LATE["scipy.spatial.distance"] = _enter
