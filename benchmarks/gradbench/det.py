"""det: the determinant by expansion by minors, all minors of a size at once, and its gradient."""

from __future__ import annotations

import numpy as np

import wengert as wg


def minors(A, columns):
    """Return the determinants of the last rows of A by the columns that each row of `columns` names.

    Each is expanded by its first row: the element in each column, with its sign, times the minor without that column.
    """
    size = columns.shape[-1]
    row = A[len(A) - size]
    if size == 1:
        return row[columns[..., 0]]
    others = np.array([[j for j in range(size) if j != k] for k in range(size)])
    signs = (-1.0) ** np.arange(size)
    return np.sum(signs * row[columns] * minors(A, columns[..., others]), axis=-1)


def determinant(A):
    return minors(A, np.arange(len(A)))


def arguments(data):
    return (np.array(data["A"]).reshape(data["ell"], data["ell"]),)


def answer(result):
    return np.ravel(result) if np.ndim(result) else result


FUNCTIONS = {"primal": wg.jit(determinant), "gradient": wg.jit(wg.grad(determinant))}
