"""Local Jacobians: the linear maps on the edges of the linearized graph, and their products and sums.

- `arrays`: kernels of large arrays, and the transpose of indexing;
- `index_domains`: on which independent variables the elements of an array may depend;
- `probing`: the entries of a map that is given by its action alone;
- `structures`: a class a structure (a diagonal, a selection, a sum, a product with a matrix), which is pushed through,
  pulled through, counted and written down;
- `products`: ``J @ K`` and ``J + K`` as a table, by the structures of both.

>>> import numpy as np
>>> J = Diagonal(np.array([2.0, 3.0]), (2,), (2,))
>>> J @ np.array([1.0, 1.0])
array([2., 3.])
>>> (J @ Select((0,), (2, 2))).dense()
array([[2., 0., 0., 0.],
       [0., 3., 0., 0.]])
"""

from wengert.jacobians import products
from wengert.jacobians.arrays import (
    LARGE,
    SHORT,
    Array,
    Shape,
    Unknown,
    add_at,
    add_into,
    add_up,
    assemble,
    contract,
    count_overlaps,
    erase,
    flat_positions,
    is_basic,
    multiply_out,
    pull_diagonal,
    pull_large,
    push_diagonal,
    scale,
    take,
)
from wengert.jacobians.index_domains import (
    IndexDomains,
    TooDenseError,
    TooLargeError,
    at_most,
    joined,
    matrix_of_pairs,
    nothing,
)
from wengert.jacobians.structures import (
    Added,
    Composed,
    Counts,
    Dense,
    Diagonal,
    Erase,
    LeftProduct,
    LocalJacobian,
    Map,
    Permute,
    Place,
    RealLinear,
    Reshape,
    RightProduct,
    Select,
    Sum,
    Transposed,
    Zero,
    add,
    compose,
    product_counts,
    sum_counts,
)

__all__ = [
    "LARGE",
    "SHORT",
    "Added",
    "Array",
    "Composed",
    "Counts",
    "Dense",
    "Diagonal",
    "Erase",
    "IndexDomains",
    "LeftProduct",
    "LocalJacobian",
    "Map",
    "Permute",
    "Place",
    "RealLinear",
    "Reshape",
    "RightProduct",
    "Select",
    "Shape",
    "Sum",
    "TooDenseError",
    "TooLargeError",
    "Transposed",
    "Unknown",
    "Zero",
    "add",
    "add_at",
    "add_into",
    "add_up",
    "assemble",
    "at_most",
    "compose",
    "contract",
    "count_overlaps",
    "erase",
    "flat_positions",
    "is_basic",
    "joined",
    "matrix_of_pairs",
    "multiply_out",
    "nothing",
    "product_counts",
    "products",
    "pull_diagonal",
    "pull_large",
    "push_diagonal",
    "scale",
    "sum_counts",
    "take",
]
