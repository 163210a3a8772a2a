"""One case of each function and row that is supported, gathered from the tables of the tests of correctness."""

from __future__ import annotations

import numpy as np
import pytest
import test_distributions
import test_fourier
import test_functions
import test_linalg
import test_numpy_surface
import test_primitives
import test_scipy_fft
import test_scipy_interpolate
import test_scipy_ndimage
import test_scipy_samples
import test_scipy_signal
import test_scipy_sparse
import test_scipy_spatial
import test_special
from scipy import stats


def _functions():
    for f, shapes, name in [
        *[(*cases[0], name) for name, cases in test_functions.CASES.items()],
        *[(*cases[0], name) for name, cases in test_numpy_surface.CASES.items()],
    ]:
        yield f"numpy {name.__name__}", f, test_functions.point(shapes[0])


def _rows():
    for primitive in test_primitives.ELEMENTWISE:
        shapes = test_primitives.shapes_of(primitive)[1]
        yield f"row {primitive.name}", *test_primitives.elementwise_case(primitive, shapes)
    for name, cases in test_primitives.CASES.items():
        f, shapes = cases[0]
        yield f"row {name}", f, test_functions.point(shapes)


def _matrices():
    for module in (test_linalg, test_fourier):
        for name, cases in module.CASES.items():
            yield f"{module.__name__[5:]} {getattr(name, '__name__', name)}", cases[0].f, cases[0].args


def _scipy():
    for module in (test_scipy_fft, test_scipy_interpolate, test_scipy_ndimage, test_scipy_samples, test_scipy_signal,
                   test_scipy_sparse, test_scipy_spatial):  # fmt: skip
        seen = set()
        for table in ("CASES", "MADE", "SOLVED", "TURNS"):
            for name, (f, given) in getattr(module, table, {}).items():
                first = name.replace(",", " ").split()[0]
                if first not in seen:
                    seen.add(first)
                    yield f"{module.__name__[11:]} {name}", f, given if isinstance(given, (list, tuple)) else [given]
    for name, cases in test_special.CASES.items():
        yield f"special {name}", cases[0][0], cases[0][1]
    for name in test_distributions.DISTRIBUTIONS:
        method = test_distributions.methods(name)[1]
        f = getattr(getattr(stats, name), method)
        shapes = test_distributions.SHAPES.get(name, ())
        yield (
            f"stats {name}.{method}",
            lambda x, f=f, shapes=shapes: f(x, *shapes),
            [test_distributions.EVERYWHERE[4:7]],
        )


EACH = [
    pytest.param(f, [np.asarray(a, float)[()] for a in args], id=name.replace(" ", "-"))
    for part in (_functions, _rows, _matrices, _scipy)
    for name, f, args in part()
]
