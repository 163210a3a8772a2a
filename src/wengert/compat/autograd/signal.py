"""The place of ``autograd.scipy.signal``: `convolve` with autograd's axes; all else is SciPy's.

>>> import numpy as np
>>> from wengert.compat.autograd import grad
>>> from wengert.compat.autograd.scipy.signal import convolve
>>> images, filters = np.ones((5, 1, 4, 4)), np.ones((1, 2, 3, 3))
>>> layer = lambda filters: convolve(images, filters, axes=([2, 3], [2, 3]), dot_axes=([1], [0]), mode="valid")
>>> layer(filters).shape, float(grad(lambda filters: np.sum(layer(filters)))(filters)[0, 0, 0, 0])
((5, 2, 2, 2), 20.0)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.signal

Axes = Sequence[Sequence[int]]


def convolve(A: Any, B: Any, axes: Axes | None = None, dot_axes: Axes = ((), ()), mode: str = "full") -> Any:
    """Convolve along pairs of axes, contract others, and take the rest in every combination.

    The axes of the result are the rest of A's, the rest of B's, and those that are convolved.
    """
    if mode not in ("full", "same", "valid"):
        raise ValueError(f"mode={mode!r} is unknown; take 'full', 'same' or 'valid'.")
    along_A, along_B = ([*range(A.ndim)], [*range(A.ndim)]) if axes is None else (list(axes[0]), list(axes[1]))
    sizes = [(A.shape[j], B.shape[k]) for j, k in zip(along_A, along_B, strict=True)]
    rest_A = [k for k in range(A.ndim) if k not in along_A and k not in dot_axes[0]]
    rest_B = [k for k in range(B.ndim) if k not in along_B and k not in dot_axes[1]]
    if mode == "valid" and any(n < m for n, m in sizes):
        if any(n > m for n, m in sizes):
            raise ValueError("one array must be larger than the other along all convolved dimensions")
        turned = convolve(B, A, (along_B, along_A), (dot_axes[1], dot_axes[0]), mode)
        first, second = len(rest_B), len(rest_B) + len(rest_A)
        return np.transpose(turned, [*range(first, second), *range(first), *range(second, turned.ndim)])
    if mode != "valid":
        widths = [(0, 0)] * A.ndim
        for k, (_, m) in zip(along_A, sizes, strict=True):
            widths[k] = (m - 1, m - 1) if mode == "full" else (m - 1 - (m - 1) // 2, (m - 1) // 2)
        A = np.pad(A, widths)
    windows = np.lib.stride_tricks.sliding_window_view(A, tuple(m for _, m in sizes), tuple(along_A))
    kernel = np.flip(B, tuple(along_B))
    letters_A = [*range(A.ndim), *range(A.ndim, A.ndim + len(along_A))]
    letters_B = [*range(len(letters_A), len(letters_A) + B.ndim)]
    for k, j in enumerate(along_B):
        letters_B[j] = A.ndim + k
    for j, k in zip(*dot_axes, strict=True):
        letters_B[k] = letters_A[j]
    out = [*[letters_A[k] for k in rest_A], *[letters_B[k] for k in rest_B], *[letters_A[k] for k in along_A]]
    return np.einsum(windows, letters_A, kernel, letters_B, out)


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(scipy.signal, name)
