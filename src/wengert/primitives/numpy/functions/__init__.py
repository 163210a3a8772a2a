"""NumPy's other functions, written in terms of primitives: they need no rules of their own.

Each has NumPy's signature and is entered under the NumPy function it stands for.

- `operands`: axes, shapes and masks brought into the primitives' form;
- `manipulation`, `joining`, `selecting`, `creation`: elements moved, put together, chosen and made;
- `reductions`, `statistics`: many elements to few;
- `products`, `calculus`: vectors and tensors multiplied, sampled functions differentiated and integrated;
- `logic`: piecewise constant functions;
- `in_place`: assignment by function;
- `ufuncs`: methods and keywords of ufuncs;
- `scalar_math`: Python's own functions of numbers, ``math.sin``.
"""

from wengert.primitives.numpy.functions import (
    calculus,
    creation,
    in_place,
    joining,
    logic,
    manipulation,
    operands,
    products,
    reductions,
    scalar_math,
    selecting,
    statistics,
    ufuncs,
)
from wengert.primitives.numpy.functions.joining import stack
from wengert.primitives.numpy.functions.manipulation import astype, reshape, transpose
from wengert.primitives.numpy.functions.products import matmul
from wengert.primitives.numpy.functions.reductions import all, any, max, min, prod, sum

__all__ = [
    "all",
    "any",
    "astype",
    "calculus",
    "creation",
    "in_place",
    "joining",
    "logic",
    "manipulation",
    "matmul",
    "max",
    "min",
    "operands",
    "prod",
    "products",
    "reductions",
    "reshape",
    "scalar_math",
    "selecting",
    "stack",
    "statistics",
    "sum",
    "transpose",
    "ufuncs",
]
