"""The table of primitives: one row each, and the NumPy functions that are written in terms of them.

- `table`: how a row gets in; `PRIMITIVES` and `CALLS`.
- `numpy`: the functions of NumPy, ``numpy.linalg`` and ``numpy.fft``.
- `scipy`: the functions of SciPy.
- `bottleneck`: the compiled functions of Bottleneck.
"""

from wengert.primitives import bottleneck, numpy, scipy
from wengert.primitives.table import CALLS, PRIMITIVES, define, undefine

__all__ = ["CALLS", "PRIMITIVES", "bottleneck", "define", "numpy", "scipy", "undefine"]
