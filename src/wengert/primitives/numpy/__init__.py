"""NumPy: the primitives, and the functions that are written in terms of them.

- `elementwise`: NumPy's ufuncs, with diagonals for rules.
- `structural`: indexing, joining, sums and products, with structures for rules.
- `running`: running products and extrema, and the recurrence behind their derivatives.
- `functions`: NumPy's other functions, written in terms of primitives.
- `linalg`: ``numpy.linalg``, a row a factorization.
- `fourier`: ``numpy.fft``.
"""

from wengert.primitives.numpy import elementwise, fourier, functions, linalg, running, structural

__all__ = ["elementwise", "fourier", "functions", "linalg", "running", "structural"]
