"""The table of primitives: one row each, and the NumPy functions that are written in terms of them.

- `table`: how a row gets in; `PRIMITIVES` and `CALLS`.
- `elementwise`: NumPy's ufuncs, with diagonals for rules.
- `structural`: indexing, joining, sums and products, with structures for rules.
- `functions`: NumPy's other functions, written in terms of primitives.
- `special`: the functions of ``scipy.special``; `parameters`: their derivatives that need quadrature.
- `distributions`: the densities and distribution functions of ``scipy.stats``.
- `linalg`: ``numpy.linalg``, a row a factorization; `scipy_linalg`: ``scipy.linalg``.
- `fourier`: ``numpy.fft``; `scipy_fft`: ``scipy.fft``, cosines and sines included.
- `scipy_signal`: convolutions and filters of ``scipy.signal``; `scipy_sparse`: products of sparse matrices.
"""

from wengert.primitives import (
    distributions,
    elementwise,
    fourier,
    functions,
    linalg,
    scipy_fft,
    scipy_linalg,
    scipy_signal,
    scipy_sparse,
    special,
    structural,
)
from wengert.primitives.table import CALLS, PRIMITIVES, define, undefine

__all__ = [
    "CALLS",
    "PRIMITIVES",
    "define",
    "distributions",
    "elementwise",
    "fourier",
    "functions",
    "linalg",
    "scipy_fft",
    "scipy_linalg",
    "scipy_signal",
    "scipy_sparse",
    "special",
    "structural",
    "undefine",
]
