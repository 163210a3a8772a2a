"""The place of ``autograd.numpy``: NumPy itself (see `wengert.numpy`).

>>> import wengert.compat.autograd.numpy.random as npr
>>> npr.RandomState(0).randn(2).shape
(2,)
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

import wengert.numpy

for _name in ("linalg", "fft", "random"):
    sys.modules[f"{__name__}.{_name}"] = getattr(wengert.numpy, _name)
del _name


def make_diagonal(D: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """Return matrices whose diagonals are the last axis of `D`; only for ``offset=0, axis1=-1, axis2=-2``, as there.

    >>> make_diagonal(np.array([1.0, 2.0]), 0, -1, -2)
    array([[1., 0.],
           [0., 2.]])
    """
    if (offset, axis1, axis2) != (0, -1, -2):
        raise NotImplementedError("make_diagonal takes offset=0, axis1=-1, axis2=-2 only, as autograd's does.")
    return D[..., None] * np.eye(np.shape(D)[-1])


def __getattr__(name: str) -> Any:
    return getattr(wengert.numpy, name)


def __dir__() -> list[str]:
    return dir(wengert.numpy)
