"""``numpy.linalg``: each factorization one row, whose local Jacobian is a formula in its own factors.

The differentials of ``A X = B``, ``A = L L^T``, ``A = U S V^T``... give the tangents of the factors as products with
the factors themselves (Giles 2008, "Collected matrix derivative results"); the pull is the transposed chain.  Both are
plain NumPy, so on traced values they record lines, and second order needs no formula of its own.  A
factorization with several results is one line whose result holds all of them, one below the other, so that one pull
serves them jointly; indexing selects the factors.

If a factor is not unique (the vectors of a repeated eigenvalue), the rules return the part of the derivative that is
defined, and raise `DegenerateError` if the requested derivative depends on the rest.  They judge by the adjoint or
tangent, so to first order at that point: a function that depends on the choice of the vectors, but is stationary in it
at the vectors that LAPACK chose, passes for one that does not depend on it.

In the order of reading and of imports:

- `matrices`, `triangular`, `lapack`: operations that all rules share, and direct calls of LAPACK;
- `degeneracy`: where a derivative is not defined;
- `solving`, `determinants`: inverses and solutions, cofactors;
- `basis_completion`, `factorizations`: vectors that complete a basis, Cholesky and QR;
- `eigenvalues`, `singular_values`, `least_squares`: values with their vectors; pseudoinverses and ranks;
- `norms`, `products`, `array_api`: functions with few rows or none.

A row that is named after a NumPy function ends in an underscore; the function for users, with NumPy's signature,
follows in the same module.

>>> import numpy as np, wengert as wg
>>> wg.grad(np.linalg.det)(np.array([[2.0, 1.0], [0.0, 3.0]]))
array([[ 3.,  0.],
       [-1.,  2.]])
"""

from wengert.primitives.numpy.linalg import (
    array_api,
    basis_completion,
    degeneracy,
    determinants,
    eigenvalues,
    factorizations,
    lapack,
    least_squares,
    matrices,
    norms,
    products,
    singular_values,
    solving,
    triangular,
)

# Rows that NumPy has no function for: the source of a Program calls them by these names.
from wengert.primitives.numpy.linalg.basis_completion import completion, undirected
from wengert.primitives.numpy.linalg.degeneracy import distinct, joined, level, ratio, shared
from wengert.primitives.numpy.linalg.determinants import cofactors, cofactors_slope
from wengert.primitives.numpy.linalg.eigenvalues import distinct_values
from wengert.primitives.numpy.linalg.factorizations import full_rank
from wengert.primitives.numpy.linalg.singular_values import nonzero

__all__ = [
    "array_api",
    "basis_completion",
    "cofactors",
    "cofactors_slope",
    "completion",
    "degeneracy",
    "determinants",
    "distinct",
    "distinct_values",
    "eigenvalues",
    "factorizations",
    "full_rank",
    "joined",
    "lapack",
    "least_squares",
    "level",
    "matrices",
    "nonzero",
    "norms",
    "products",
    "ratio",
    "shared",
    "singular_values",
    "solving",
    "triangular",
    "undirected",
]
