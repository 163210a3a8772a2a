"""The table of primitives: one row each, and the NumPy functions that are written in terms of them.

- `table`: how a row gets in; `PRIMITIVES` and `CALLS`.
- `elementwise`: NumPy's ufuncs, with diagonals for rules.
- `structural`: indexing, joining, sums and products, with structures for rules.
- `functions`: NumPy's other functions, written in terms of primitives.
"""

from wengert.primitives import elementwise, functions, structural
from wengert.primitives.table import CALLS, PRIMITIVES, define, undefine

__all__ = ["CALLS", "PRIMITIVES", "define", "elementwise", "functions", "structural", "undefine"]
