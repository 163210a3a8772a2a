"""Colorings of sparse matrices: which columns, rows or variables share a pass.

Each is the best of a portfolio whose effort is bounded: greedy colorings in several orders of the vertices, iterated
greedy, and lattice colorings for stencils.  See Gebremedhin, Manne and Pothen, *What color is your Jacobian?*, SIAM
Review 47 (2005), and Curtis, Powell and Reid (1974).

>>> from scipy.sparse import diags_array
>>> tridiagonal = structure_of(diags_array([1.0, 1.0, 1.0], offsets=[-1, 0, 1], shape=(1000, 1000)))
>>> color_columns(tridiagonal), color_symmetric(tridiagonal, "star"), color_symmetric(tridiagonal, "acyclic")
(Coloring(3 colors, greedy, natural order), Coloring(3 colors, greedy, natural order), \
Coloring(2 colors, greedy, natural order))
"""

from __future__ import annotations

from collections.abc import Sequence

from wengert.accumulation.coloring import bicoloring, distance2, lattices, symmetric
from wengert.accumulation.coloring.partition import VISITS, Coloring, Effort, Pattern, first_of, structure_of

__all__ = [
    "Coloring",
    "Pattern",
    "color_columns",
    "color_rows",
    "color_rows_and_columns",
    "color_symmetric",
    "structure_of",
]


def color_columns(pattern: Pattern, shape: Sequence[int] = ()) -> Coloring:
    """Return colors of the columns so that no row has two columns of one color.

    `shape` is that of the array whose elements the columns are, where it is known.
    """
    bound = distance2.lower_bound(pattern)
    coloring = first_of(
        lambda most: distance2.natural_coloring(pattern),
        lambda most: lattices.lattice_coloring(pattern, most, shape),
        pattern.nnz,
        bound,
        2 * bound + 4,
    )
    return distance2.improved(pattern, coloring, Effort(VISITS))


def color_rows(pattern: Pattern, shape: Sequence[int] = ()) -> Coloring:
    """Return colors of the rows so that no column has two rows of one color."""
    return color_columns(pattern.T.tocsr(), shape)


def color_rows_and_columns(pattern: Pattern) -> tuple[Coloring, Coloring]:
    """Return colors of columns and of rows, for forward and reverse passes, from which each entry can be read."""
    return bicoloring.bicoloring(pattern, Effort(VISITS))


def color_symmetric(pattern: Pattern, kind: str, shape: Sequence[int] = ()) -> Coloring:
    """Return the star, acyclic or proper coloring (`kind`) of a symmetric pattern: which columns share a product."""
    return symmetric.color_symmetric(pattern, kind, Effort(VISITS), shape)
