"""The place of ``autograd.numpy``: NumPy itself (see `wengert.numpy`).

>>> import wengert.compat.autograd.numpy.random as npr
>>> npr.RandomState(0).randn(2).shape
(2,)
"""

from __future__ import annotations

import sys
from typing import Any

import wengert.numpy

for _name in ("linalg", "fft", "random"):
    sys.modules[f"{__name__}.{_name}"] = getattr(wengert.numpy, _name)
del _name


def __getattr__(name: str) -> Any:
    return getattr(wengert.numpy, name)


def __dir__() -> list[str]:
    return dir(wengert.numpy)
