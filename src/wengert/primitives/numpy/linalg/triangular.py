"""Triangles of matrices, and symmetric (Hermitian) ones of which a function reads one triangle only.

The other triangle has derivative 0, so that an adjoint is folded into the one that is read.

>>> import numpy as np
>>> folded(np.array([[1.0, 2.0], [3.0, 4.0]]), lower=True)
array([[1., 0.],
       [5., 4.]])
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from wengert.primitives.numpy.elementwise import is_complex
from wengert.primitives.numpy.linalg.matrices import REAL, Array, adjoint


def triangle(n: int, dtype: Any, *, lower: bool = True, strict: bool = False, half: bool = False) -> Array:
    """Return the mask of a triangle, without the diagonal if it is `strict`, the diagonal halved if `half`."""
    kind: Any = REAL.get(dtype.char, dtype)
    return (_small_triangle if n <= 64 else _triangle)(n, kind, lower, strict, half)


def _triangle(n: int, kind: Any, lower: bool, strict: bool, half: bool) -> Array:
    mask = np.tri(n, k=-1 if strict else 0, dtype=kind)
    if half:
        mask.reshape(-1)[:: n + 1] = 0.5
    return mask if lower else mask.T.copy()


@functools.lru_cache(maxsize=32)
def _small_triangle(n: int, kind: Any, lower: bool, strict: bool, half: bool) -> Array:
    """Return the mask of a triangle, cached: for a small matrix it takes longer to make than to use."""
    mask = _triangle(n, kind, lower, strict, half)
    mask.flags.writeable = False
    return mask


def hermitian(t: Array, lower: bool) -> Array:
    """Complete a triangle to a symmetric (Hermitian) matrix, as functions that read one triangle only see it."""
    side = t * triangle(t.shape[-1], t.dtype, lower=lower, half=True)
    return side + adjoint(side)


def folded(g: Array, lower: bool) -> Array:
    """Pull an adjoint through `hermitian`: both triangles add up in the one that is read."""
    mask = triangle(g.shape[-1], g.dtype, lower=lower, half=True)
    both = g + (g.T if type(g) is np.ndarray and g.ndim == 2 and not is_complex(g) else adjoint(g))
    return np.multiply(both, mask, out=both) if type(both) is np.ndarray else both * mask
