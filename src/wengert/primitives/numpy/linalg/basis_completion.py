"""The vectors that complete a basis: ``full_matrices=True`` of `svd`, ``mode="complete"`` of `qr`.

They turn with the basis, but may turn among themselves too: of several only the span has a derivative.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wengert.jacobians import LocalJacobian, Map
from wengert.primitives.numpy.elementwise import is_complex
from wengert.primitives.numpy.linalg.degeneracy import degenerate, identity
from wengert.primitives.numpy.linalg.matrices import Array, adjoint, conj, cubic, product
from wengert.primitives.table import array_function, step_function


def _completion(basis: Any, full: Any) -> Any:
    return full[..., basis.shape[-1] :]


def _completion_partial(y: Any, basis: Any, _full: Any) -> LocalJacobian:
    """The vectors that complete a basis turn with it; their turning among themselves is not determined."""

    def push(t: Array) -> Array:
        if y.shape[-1] > 1 or is_complex(y):
            raise degenerate("the vectors that complete a basis (full_matrices, mode='complete') are not determined")
        return -(basis @ (adjoint(t) @ y))

    def pull(g: Array) -> Array:
        g = conj(g)
        N = adjoint(y) @ g
        return conj(-(y @ (adjoint(undirected(g, N)) @ basis)))

    return Map(basis.shape, y.shape, push, pull, product(2, basis.shape), name="completion")


def _undirected(g: Any, products: Any) -> Any:
    """Return `g` unless it would turn vectors among themselves: their products have an antihermitian part."""
    part = np.abs(products - np.conj(np.swapaxes(products, -1, -2))) / 2
    if np.any(part > math.sqrt(np.finfo(part.dtype).eps) * np.max(np.abs(products), initial=0.0)):
        raise degenerate("the vectors that complete a basis (full_matrices, mode='complete') are not determined")
    return g


undirected = array_function(
    "undirected",
    _undirected,
    lambda _y, _g, _products: identity(_g),
    None,
    formula_rule=False,
    source=lambda args, _params: f"wengert.primitives.numpy.linalg.undirected({', '.join(args)})",
)
completion = array_function(
    "completion",
    _completion,
    _completion_partial,
    None,
    formula_rule=False,
    source=lambda args, _params: f"wengert.primitives.numpy.linalg.completion({', '.join(args)})",
    kink="of several vectors only their span has a derivative: an error where more is asked for",
)
completion_of = step_function(
    "complete_qr",
    lambda x: np.linalg.qr(x, mode="complete")[0],
    source="np.linalg.qr({0}, mode='complete')[0]",
    counts=cubic(4.0),
    kink="its last columns complete a basis; see completion",
)
full_svd = step_function(
    "full_svd",
    lambda x, right: np.swapaxes(np.linalg.svd(x)[2], -1, -2) if right else np.linalg.svd(x)[0],
    source=lambda args, params: (
        f"np.swapaxes(np.linalg.svd({args[0]})[2], -1, -2)" if params["right"] else f"np.linalg.svd({args[0]})[0]"
    ),
    counts=cubic(14.0),
    kink="its last columns complete a basis; see completion",
)
