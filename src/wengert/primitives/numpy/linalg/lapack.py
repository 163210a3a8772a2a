"""Direct calls of LAPACK and BLAS on plain matrices, in the rules alone.

NumPy's checks take longer than small matrices, and a triangle needs no factorization.  What the user's own lines
compute stays NumPy's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from wengert.primitives.numpy.linalg.matrices import Array

_LETTERS = {"f": "s", "d": "d", "F": "c", "D": "z"}


def routine(of: Any, name: str, *arrays: Any) -> Any:
    """Return the routine of LAPACK or BLAS for single matrices of one type; None where they are traced or stacked."""
    first = arrays[0]
    for a in arrays:
        if type(a) is not np.ndarray or a.ndim != 2 or a.dtype is not first.dtype or not a.size:
            return None
    letter = _LETTERS.get(first.dtype.char)
    return None if letter is None else getattr(of, letter + name)


def checked(result: Array, info: int) -> Array:
    """Return the result of LAPACK; raise as NumPy does if the matrix is singular."""
    if info > 0:
        raise np.linalg.LinAlgError("Singular matrix")
    return result
