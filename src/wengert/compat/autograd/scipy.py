"""The place of ``autograd.scipy``: SciPy itself, with autograd's `convolve`.

>>> import wengert.compat.autograd.scipy.stats.norm as norm
>>> from wengert.compat.autograd.scipy.special import gammaln
>>> from wengert.compat.autograd import grad
>>> float(grad(lambda x: norm.logpdf(x, 0.0, 2.0) + 0 * gammaln(x))(1.0))
-0.25
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import scipy
import scipy.special
import scipy.stats

from wengert.compat.autograd import signal

_MODULES = ("integrate", "linalg", "special", "stats")
_DISTRIBUTIONS = ("beta", "chi2", "dirichlet", "gamma", "multivariate_normal", "norm", "poisson", "t")

for _name in _MODULES:
    sys.modules[f"{__name__}.{_name}"] = importlib.import_module(f"scipy.{_name}")
sys.modules[f"{__name__}.signal"] = signal
for _name in _DISTRIBUTIONS:  # modules there, objects here
    sys.modules[f"{__name__}.stats.{_name}"] = getattr(scipy.stats, _name)
sys.modules[f"{__name__}.misc"] = scipy.special  # where logsumexp once was
misc = scipy.special
del _name


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(scipy, name)
