"""Extended range: derivatives of values that overflow or underflow, computed once more in long double.

``log(1 + exp(x))`` at 800 passes through an infinity, and its derivative is 1: of a sum, a ratio or a logarithm of
exponentials only the result need be a number of double precision.  That of ``sqrt(x * x)`` at 1e200 is 1, too, and
comes out as zero, since the root of an infinity has the derivative zero.  `np.longdouble` on most processors of Intel
and AMD has exponents sixteen times as large, so the rows are evaluated and swept in it, and what is finite then is
taken.  Where it has the range of a double (on Windows, and on most ARM), nothing is replaced.

>>> import wengert as wg
>>> with np.errstate(over="ignore"):
...     derivative = wg.grad(lambda x: np.log(1 + np.exp(x)))(800.0)
>>> float(derivative) if HAS_WIDER_RANGE else 1.0
1.0
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from wengert.jacobians import Array
from wengert.linearization import Linearization
from wengert.primitives.numpy.structural import matmul
from wengert.tracing import Row, is_kept

HAS_WIDER_RANGE = np.finfo(np.longdouble).maxexp > np.finfo(np.float64).maxexp
MOST = 1 << 24
"""So many elements of all lines together, in all seeds of a block, are computed at most."""
MOST_OF_FINITE = 1 << 14
"""So many, if all derivatives are finite, and so are the values of the function."""
_WIDE: dict[str, Any] = {"f": np.longdouble, "c": np.clongdouble}


def sweep_in_extended_range(
    sweep: Callable[..., list[Any]],
    linearization: Linearization,
    seeds: Mapping[int, Array],
    batch: int,
    swept: list[Any],
) -> list[Any]:
    """Replace what is wrong in a sweep's results by what a sweep in long double finds.

    Nothing is replaced if a rule cannot be asked in long double, or if other values of the function come out.
    """
    rows = linearization.rows
    block = max((np.shape(seed)[0] for seed in seeds.values()), default=1) if batch else 1
    finite = all(np.all(np.isfinite(v)) for v in (*linearization.values, *swept) if v is not None)
    if (
        not HAS_WIDER_RANGE
        or any(row[0].multiple for row in rows)
        or not all(np.all(np.isfinite(x)) for x in linearization.inputs)
        or block * sum(map(_work_of, rows)) > (MOST_OF_FINITE if finite else MOST)
    ):
        return swept
    with np.errstate(all="ignore"):
        try:
            wide = _evaluate(linearization)
            if not all(map(_agree, wide.values, linearization.values)):
                return swept
            results = sweep(wide, {position: _wide(seed) for position, seed in seeds.items()}, batch, True)
        except Exception:  # compiled code has errors of its own for a dtype that it does not take
            return swept
        return [_replaced(before, after) for before, after in zip(swept, results, strict=True)]


def _evaluate(linearization: Linearization) -> Linearization:
    """Evaluate the rows in long double; a row that cannot be keeps its values, and so does one without a derivative."""
    values: dict[int, Any] = {k: _wide(x) for k, x in enumerate(linearization.inputs)}
    rows: list[Row] = []
    for row in linearization.rows:
        primitive, parents, kept, params, place, out = row
        operands = [values.get(parent, v) for parent, v in zip(parents, kept[1:], strict=True)]
        ready = [parent in values or is_kept(row, k) for k, parent in enumerate(parents, 1)]
        try:
            values[out] = primitive.numpy(*operands, **params) if primitive.keeps and all(ready) else None
        except TypeError:  # it has no loop for long doubles
            values[out] = None
        if values[out] is not None:
            row = (primitive, parents, (values[out], *operands), params, place, out)
        elif is_kept(row, 0):
            values[out] = kept[0]
        else:
            del values[out]
        rows.append(row)
    ends = zip(linearization.outputs, linearization.values, strict=True)
    return Linearization(
        rows,
        [values[k] for k in range(len(linearization.inputs))],
        linearization.outputs,
        [values.get(position, y) for position, y in ends],
        linearization.size,
        linearization.with_complex,
    )


def _wide(value: Any) -> Any:
    dtype = _WIDE.get(value.dtype.kind)
    return value if dtype is None else value.astype(dtype)


def _work_of(row: Row) -> float:
    """Return how many elements a row computes; for a product of matrices, in how many steps."""
    sizes = [float(np.size(v) if np.isscalar(v) else np.prod(v.shape)) for v in row[2]]
    return float(np.sqrt(np.prod(sizes))) if row[0] is matmul else max(sizes)


def _agree(wide: Any, value: Any) -> bool:
    """Return whether a value in long double is the one that there was, where that is finite."""
    tolerance = float(np.sqrt(np.finfo(value.dtype).eps)) if value.dtype.kind in _WIDE else 0.0
    return bool(np.all(np.isclose(wide, value, rtol=tolerance, atol=tolerance) | ~np.isfinite(value)))


def _replaced(before: Any, after: Any) -> Any:
    if before is None or after is None:
        return before
    new = after.astype(before.dtype)
    tolerance = float(np.sqrt(np.finfo(new.dtype).eps))
    return np.where(~np.isfinite(new) | np.isclose(before, new, rtol=tolerance, atol=0.0), before, new)[()]


def passes_infinities(linearization: Linearization) -> bool:
    """Return whether a row has an infinite value, as far as rows keep their values."""
    return any(not row[0].multiple and is_kept(row, 0) and _is_infinite(row[2][0]) for row in linearization.rows)


def _is_infinite(value: Any) -> bool:
    if type(value) is np.float64:
        return math.isinf(value)
    return value.dtype.kind in "fc" and bool(np.isinf(value).any())
