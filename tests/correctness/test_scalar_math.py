"""Python's own functions of numbers, ``math`` and ``cmath``, under whatever name code has them."""

import cmath
import math
import subprocess
import sys
import threading
from math import dist as distance
from math import exp, fsum, isclose, sqrt

import numpy as np
import pytest
from truth import differences

import wengert as wg

X = np.array([0.7, 1.3, 0.4])
TABLE = {"cos": math.cos}
OF_ONE = (
    "acos asin asinh atan atanh cbrt cos cosh degrees erf erfc exp exp2 expm1 fabs gamma lgamma log log10 log1p log2 "
    "radians sin sinh sqrt tan tanh"
)
MORE = [
    lambda x: math.acosh(x[1]),
    lambda x: math.atan2(x[0], x[1]) + math.pow(x[0], x[1]) + math.pow(x[0], 2) + math.pow(2, x[1]),
    lambda x: math.copysign(x[0], -1.0) + math.fmod(x[1], x[2]) + math.remainder(x[1], x[0]),
    lambda x: math.hypot(*x) + math.hypot(x[0], x[1]) + math.hypot(x[2]),
    lambda x: math.dist(x, [0.0, 0.0, 1.0]) + distance((x[0], x[1]), (0.5, x[2])),
    lambda x: fsum(v * v for v in x) + math.fsum(x) + math.fsum([x[0], 1.0]),
    lambda x: math.prod(x) + math.prod([x[0], 2.0], start=x[1]),
    lambda x: math.frexp(x[1])[0] * math.frexp(x[2])[1] + math.ldexp(x[0], 3) + math.modf(9 * x[0])[0],
    lambda x: math.log(x[0], 2) + math.log(3.0, x[1]),
    lambda x: x[0] if isclose(x[1], 1.3, rel_tol=0.1) and not math.isnan(x[0]) and math.isfinite(x[0]) else 0.0,
    lambda x: x[0] * math.floor(10 * x[1] + 0.5) * math.ceil(x[1]) * math.trunc(x[1] + 1.1),
    lambda x: abs(cmath.exp(1j * x[0] + x[1])) + cmath.sqrt(x[0]).real + cmath.log(1j * x[1], 2).imag,
    lambda x: cmath.polar(x[0] + 1j * x[1])[1] * cmath.phase(x[0] + 2j) + cmath.rect(x[0], x[1]).real,
    lambda x: sqrt(x[0]) * exp(-x[1]),
    lambda x: sum(map(sqrt, x)),
    lambda x: TABLE["cos"](x[0]),
    lambda x: max(math.sin(x[0]), math.sqrt(2.0)) * x[1],
]
"""Functions of several numbers, and functions under names of the module's own."""


@pytest.mark.parametrize("f", [*(lambda x, name=name: getattr(math, name)(x[0]) for name in OF_ONE.split()), *MORE])
def test_derivatives_are_those_of_pythons_own_function(f):
    value, gradient = wg.value_and_grad(f)(X)
    np.testing.assert_allclose(value, f(X), rtol=1e-14)
    np.testing.assert_allclose(gradient, differences(f, [X], 0, step=1e-3), rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(wg.jit(wg.grad(f))(X), gradient, rtol=1e-12)
    np.testing.assert_allclose(wg.trace(f)(X)(X), f(X), rtol=1e-14)


ARGUMENTS = [(0.5,), (1.5,), (0.5, 2.0), ([0.5, 2.0], [1.0, 3.0]), ([0.5, 2.0],), (0.5, 2), (0.5, 2.0, 1.0)]
OF_INTEGERS = "comb", "factorial", "gcd", "isqrt", "lcm", "perm"
NAMES = [
    (module, name)
    for module in (math, cmath)
    for name, value in vars(module).items()
    if callable(value) and name[0] != "_" and name not in OF_INTEGERS
]


@pytest.mark.parametrize(("module", "name"), NAMES)
def test_every_function_of_numbers_is_traced(module, name):
    def call(x):
        result = getattr(module, name)([x, *first[1:]] if type(first) is list else x, *rest)
        return np.real(result[0] if type(result) is tuple else result) + 0.0 * x

    for first, *rest in ARGUMENTS:  # noqa: B007 - `call` reads them
        x = first[0] if type(first) is list else first
        try:
            expected = call(x)
        except (TypeError, ValueError):
            continue
        np.testing.assert_allclose(wg.value_and_grad(call)(x)[0], expected)
        return
    raise AssertionError(f"no arguments for {name}")


def test_numbers_outside_the_domain_raise_what_python_raises():
    with pytest.raises(ValueError, match="domain"):
        wg.grad(lambda x: sqrt(-x))(1.0)
    with pytest.raises(OverflowError):
        wg.grad(lambda x: math.exp(1000 * x))(1.0)


def test_the_functions_are_themselves_when_no_trace_runs():
    before = dict(vars(math)), dict(globals()), dict(TABLE)
    inside = []
    wg.grad(lambda x: inside.append((sqrt is before[1]["sqrt"], math.sin is before[0]["sin"])) or sqrt(x[0]))(X)
    wg.grad(lambda x: inside.append((sqrt is before[1]["sqrt"], math.sin is before[0]["sin"])) or TABLE["cos"](x[0]))(X)
    assert inside[-1] == (False, False)
    assert (vars(math), globals(), TABLE) == before


def test_other_threads_meanwhile_see_numbers():
    results = []

    def f(x):
        thread = threading.Thread(target=lambda: results.append((math.sin(0.5), sqrt(4.0), type(sqrt(4.0)))))
        thread.start()
        thread.join()
        return sqrt(x[0])

    wg.grad(f)(X)
    assert results == [(math.sin(0.5), 2.0, float)] * len(results)
    assert results


def test_modules_that_are_imported_while_a_trace_runs_have_the_functions_themselves(tmp_path):
    (tmp_path / "late.py").write_text("from math import sqrt\nfrom numpy import zeros\ndef f(x):\n    return sqrt(x)\n")
    code = (
        "import math, numpy, wengert as wg\n"
        "def f(x):\n    import late\n    return late.f(x)\n"
        "print(wg.grad(f)(4.0)); import late\n"
        "assert late.sqrt is math.sqrt and late.zeros is numpy.zeros\n"
        "print(wg.grad(f)(4.0))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["0.25", "0.25"]
