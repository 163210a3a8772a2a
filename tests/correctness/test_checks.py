"""Checks and diagnoses of every function that is supported: nothing right is called wrong, and nothing finite a NaN."""

from __future__ import annotations

import re

import numpy as np
import pytest
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

import wengert as wg

OF_SCIPY = (
    *(module.CASES for module in (test_scipy_fft, test_scipy_interpolate, test_scipy_ndimage, test_scipy_samples)),
    *(test_scipy_signal.CASES, test_scipy_spatial.CASES, test_scipy_sparse.MADE),
)
ROUGH = {"numpy.det-2"}
"""The determinant of a singular matrix: differences drown in the roundings of LAPACK."""


def everything():
    """Yield the name of every case in the tables of functions, and what makes a function and arguments of it."""
    for p in test_functions.POINTS:
        yield p.id, lambda f, shapes: (f, test_functions.point(shapes)), p.values
    for p in test_numpy_surface.POINTS:
        yield p.id, lambda f, shapes: (f, test_numpy_surface.smooth_point(f, shapes)), p.values
    for p in test_primitives.POINTS:
        yield p.id, test_primitives.elementwise_case, p.values
    for p in (*test_linalg.POINTS, *test_fourier.POINTS):
        yield p.id, lambda case: (case.f, case.args), p.values
    for p in test_special.LIST:
        yield p.id, lambda f, args: (f, args), p.values
    for table in OF_SCIPY:
        for name, (f, args) in table.items():
            yield name, lambda f, args: (f, args if type(args) is list else [args]), (f, args)


def one_of_each():
    """Return the first case of every function, that is of every name before its number."""
    firsts = {}
    for name, make, values in everything():
        firsts.setdefault(re.split(r"[-, ]", name)[0], (name, make, values))
    return [pytest.param(name, make, values, id=name) for name, make, values in firsts.values()]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "make", "values"), one_of_each())
def test_every_function_passes_its_check_and_is_finite(name, make, values):
    f, args = make(*values)
    with np.errstate(all="ignore"):
        report = wg.check_derivatives(f)(*args)
    assert not any(c.wrong for c in report.comparisons), str(report)
    assert report or name in ROUGH, str(report)
    assert str(report).endswith(report.conclusion)
    origin = wg.why_nan(f)(*args)
    assert not origin or "constant operand" in origin.summary, str(origin)  # some put NaN into their arguments
