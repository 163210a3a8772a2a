"""A drop-in ``numpy`` namespace, for code that wants one: ``import wengert.numpy as np``.

wengert traces NumPy's own functions, so ``import numpy as np`` does as well.  This module forwards every name to NumPy
(``linalg``, ``fft`` and ``random`` too, and can be imported from); what takes the place of another package's wrapped
namespace needs no other line changed.  One thing is more: functions that make arrays and were imported by name,
``from wengert.numpy import zeros``, are seen by a trace whenever they are called.

>>> import wengert as wg
>>> import wengert.numpy as np
>>> from wengert.numpy.linalg import norm
>>> wg.grad(lambda x: norm(np.concatenate([x, np.zeros(1)])))(np.array([3.0, 4.0]))
array([0.6, 0.8])
"""

from __future__ import annotations

import sys
from typing import Any

import numpy

from wengert.tracing import patched

for _name in ("linalg", "fft", "random"):
    sys.modules[f"{__name__}.{_name}"] = getattr(numpy, _name)  # import wengert.numpy.linalg
del _name


def __getattr__(name: str) -> Any:
    if name.startswith("__") and name != "__all__" and name not in numpy.__all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return patched.get(name) or getattr(numpy, name)


def __dir__() -> list[str]:
    return dir(numpy)
