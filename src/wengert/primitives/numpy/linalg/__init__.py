"""``numpy.linalg``: each factorization one row, whose local Jacobian is a formula in its own factors.

The differentials of ``A X = B``, ``A = L L^T``, ``A = U S V^T``... give the tangents of the factors by products with
factors that are known already (Giles 2008, "Collected matrix derivative results"); the pull is the transposed chain.
Both are plain NumPy on whatever they are given, so on traced values they are lines again, and second order needs no
formula of its own.  A factorization with several results is one line whose result holds all of them, one below the
other, so that one pull serves them jointly; the pieces are taken out by indexing.

Where a factor is not determined (vectors of a repeated eigenvalue) the part of the derivative that is defined is
returned, and `DegenerateError` raised if what is asked for hangs on the rest.  That is told from the adjoint or tangent
that arrives, so to first order at that point: a function that depends on the choice of the vectors, and happens to be
stationary in it at the vectors that LAPACK chose, cannot be told from one that does not.

To be read in this order, which is that of imports too:

- `matrices`, `triangular`, `lapack`: what rules say about matrices, and LAPACK called by hand;
- `degeneracy`: where a derivative is not defined;
- `solving`, `determinants`: inverses and solutions, cofactors;
- `basis_completion`, `factorizations`: vectors that complete a basis, Cholesky and QR;
- `eigenvalues`, `singular_values`, `least_squares`: values with their vectors; pseudoinverses and ranks;
- `norms`, `products`, `array_api`: what needs few rows or none.

A row whose name is that of NumPy's function ends in an underscore; what users call stands below it in the same module,
under NumPy's signature.

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
