"""The table of primitives: one row each, and the NumPy functions that are written in terms of them.

- `table`: how a row gets in; `PRIMITIVES` and `CALLS`.
- `numpy`: the functions of NumPy, ``numpy.linalg`` and ``numpy.fft``.
- `scipy`: the functions of SciPy.
"""

from wengert.primitives import numpy, scipy
from wengert.primitives.table import CALLS, PRIMITIVES, define, undefine

__all__ = ["CALLS", "PRIMITIVES", "define", "numpy", "scipy", "undefine"]
