"""NumPy's other functions, written in terms of primitives: they need no rules of their own.

Each has NumPy's signature and is entered under the NumPy function it stands for.

- `arguments`: axes, shapes and masks brought into the primitives' form;
- `shaping`, `joining`, `selecting`, `creating`: elements moved, put together, chosen and made;
- `reductions`, `statistics`: many elements to few;
- `products`, `calculus`: vectors and tensors multiplied, sampled functions differentiated and integrated;
- `comparing`: what is piecewise constant;
- `writing`: assignment by function;
- `ufuncs`: methods and keywords of ufuncs.
"""

from wengert.primitives.functions import (
    arguments,
    calculus,
    comparing,
    creating,
    joining,
    products,
    reductions,
    selecting,
    shaping,
    statistics,
    ufuncs,
    writing,
)
from wengert.primitives.functions.joining import stack
from wengert.primitives.functions.products import matmul
from wengert.primitives.functions.reductions import all, any, max, min, prod, sum
from wengert.primitives.functions.shaping import astype, reshape, transpose

__all__ = [
    "all",
    "any",
    "arguments",
    "astype",
    "calculus",
    "comparing",
    "creating",
    "joining",
    "matmul",
    "max",
    "min",
    "prod",
    "products",
    "reductions",
    "reshape",
    "selecting",
    "shaping",
    "stack",
    "statistics",
    "sum",
    "transpose",
    "ufuncs",
    "writing",
]
