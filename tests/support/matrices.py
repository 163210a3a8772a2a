"""How the functions of linear algebra and the Fourier transforms are tested: a table of calls, each at a good point.

A case is a function of float arrays, a point away from coincidences, and what the walk should know of it: `analytic`
if NumPy's function takes complex arrays as analysis does (then the truth is the complex step), `second` if second
differences are of use there.
"""

from __future__ import annotations

import inspect
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from agreement import assert_first_order, assert_second_order, assert_single_precision

import wengert as wg
from wengert.program import Primitive, walk


@dataclass(frozen=True)
class Case:
    f: Any
    args: tuple[Any, ...]
    analytic: bool = False
    single: bool = True
    rtol: float = 1e-7
    second: float = 3e-6


def case(f, *args, **known):
    return Case(f, args, **known)


def points(cases):
    """Name the cases of a table, one parameter each."""
    return [
        pytest.param(case, id=f"{function.__module__.split('.')[0]}.{function.__name__}-{k}")
        for function, many in cases.items()
        for k, case in enumerate(many)
    ]


def assert_value(case):
    """The trace, and the source of its Program run alone, give NumPy's values, shapes and dtypes."""
    for dtype in (np.float64, np.float32) if case.single else (np.float64,):
        args = [np.asarray(a, dtype)[()] for a in case.args]
        expected = np.asarray(case.f(*args))
        program = wg.trace(case.f)(*args)
        names: dict[str, Any] = {}
        exec(program.source(), names)
        function = names[program.name if program.name.isidentifier() else "f"]
        for value in (wg.linearize(case.f, *args)[0], program(*args), function(*args)):
            assert np.shape(value) == expected.shape
            assert np.asarray(value).dtype == expected.dtype
            tolerance = 300 * np.finfo(dtype).eps
            np.testing.assert_allclose(
                value, expected, rtol=tolerance, atol=tolerance * np.max(np.abs(expected), initial=1)
            )


def assert_derivatives(case):
    """Both modes against the truth, second order in three nestings, single precision."""
    assert_first_order(case.f, list(case.args), analytic=case.analytic, rtol=None if case.analytic else case.rtol)
    assert_second_order(lambda *xs: 1.0 * case.f(*xs), list(case.args), rtol=case.second)
    if case.single:
        assert_single_precision(case.f, list(case.args))


def rows_of(*modules):
    """Name the primitives that modules define, those in a package too."""
    parts = [
        part
        for module in modules
        for part in (module, *vars(module).values())
        if inspect.ismodule(part) and f"{part.__name__}.".startswith(f"{module.__name__}.")
    ]
    return {p.name: p for part in parts for p in vars(part).values() if isinstance(p, Primitive)}


def rows_reached(cases):
    """Name the primitives that stand in the Programs of the cases or of their derivatives of first and second order."""
    reached = set()
    for many in cases.values():
        for case in many:
            args = [np.asarray(a, float)[()] for a in case.args]

            def scalar(*xs, case=case):
                return np.sum(np.sin(case.f(*xs)))

            def slope(*xs, scalar=scalar):
                return sum(np.sum(g * g) for g in wg.grad(scalar, tuple(range(len(xs))))(*xs))

            def forward(*xs, scalar=scalar):
                return wg.jvp(scalar, xs, [np.ones_like(x) for x in xs])[1]

            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                programs = [wg.trace(function)(*args) for function in (scalar, slope, wg.grad(slope), forward)]
            reached |= {line.primitive.name for program in programs for line in walk(program)}
    return reached


def both(z):
    """Lay out a complex array as real numbers."""
    return np.concatenate([np.ravel(np.real(z)), np.ravel(np.imag(z))])
