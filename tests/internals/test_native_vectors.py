"""Functions of vectors in machine code: accuracy, special values, and what NumPy would warn of, at each width."""

from __future__ import annotations

import warnings

import mpmath
import numpy as np
import pytest

import wengert as wg
from wengert.compilation.native import engine
from wengert.compilation.native.entry import fits, native_code

pytestmark = pytest.mark.skipif(not fits(), reason="there is no native code here")

COUNT = 203
"""The number of elements: a nest, with a remainder at every width of vectors."""
EXACT = {
    "exp": mpmath.exp, "exp2": lambda x: mpmath.mpf(2) ** x, "expm1": mpmath.expm1, "log": mpmath.log,
    "log2": lambda x: mpmath.log(x) / mpmath.log(2), "log10": mpmath.log10, "log1p": mpmath.log1p,
    "cbrt": lambda x: mpmath.sign(x) * mpmath.cbrt(abs(x)), "sin": mpmath.sin, "cos": mpmath.cos, "tan": mpmath.tan,
    "sinh": mpmath.sinh, "cosh": mpmath.cosh, "tanh": mpmath.tanh, "arcsin": mpmath.asin, "arccos": mpmath.acos,
    "arctan": mpmath.atan, "arcsinh": mpmath.asinh, "arccosh": mpmath.acosh, "arctanh": mpmath.atanh,
    "arctan2": mpmath.atan2, "hypot": mpmath.hypot, "power": mpmath.power,
}  # fmt: skip
SPECIAL = [
    0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, np.inf, -np.inf, np.nan, 1e-300, -1e-300, 5e-324, -5e-324, 1e300,
    -1e300, 1.7976931348623157e308, 700.0, -700.0, 709.7, 709.8, 710.5, -745.0, -746.0, 1e3, -1e3, 1e16, -1e22, 1e-17,
    1024.0, -1075.0, 20.0, -40.0,
]  # fmt: skip
LANES = {"scalars": [], "four": [("d", 4)], "eight": [("d", 4), ("e", 8)]}


@pytest.fixture(params=list(LANES), scope="module")
def native_of(request):
    """Return what makes native code of a function of NumPy's on arrays, for some width of vectors."""
    machine, lanes = engine._engine(), LANES[request.param]
    if not set(lanes) <= set(machine.lanes):
        pytest.skip("vectors are narrower here")
    before, made = machine.lanes, {}
    machine.lanes = lanes

    def native(name):
        if name not in made:
            points = [np.full(COUNT, 1.5 if name == "arccosh" else 0.5)] * getattr(np, name).nin
            jitted = wg.jit(lambda *xs: 1.0 * getattr(np, name)(*xs))
            jitted(*points)
            ((signature),) = jitted._signatures()
            structure, leaves = signature.arrays
            made[name] = native_code(signature.tree, leaves, "f", signature.statics, structure)
            if lanes and engine._of_libmvec(f"_ZGVdN4{'v' * len(points)}_{SYMBOLS.get(name, name)}") is not None:
                assert "_ZGV" in made[name].assembly()
        return made[name]

    yield native
    machine.lanes = before


SYMBOLS = {
    "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh",
    "arctan2": "atan2", "power": "pow",
}  # fmt: skip


def ordinary(name, seed):
    """Return random arguments of a function, in its domain."""
    rng = np.random.default_rng(seed)
    x = np.concatenate([
        rng.uniform(-1, 1, 60), rng.uniform(-20, 20, 60), 1 + np.ldexp(rng.uniform(-1, 1, 40), -rng.integers(1, 9, 40)),
        np.ldexp(rng.uniform(-1, 1, COUNT - 160), rng.integers(-30, 8, COUNT - 160)),
    ])  # fmt: skip
    if name in ("log", "log2", "log10", "power"):
        x = np.abs(x)
    elif name in ("arcsin", "arccos", "arctanh"):
        x = np.where(np.abs(x) >= 1, 0.5 / x, x)
    elif name == "arccosh":
        x = 1 + np.abs(x)
    elif name == "log1p":
        x = np.where(x <= -1, -0.5 / x, x)
    return x


@pytest.mark.parametrize("name", EXACT)
def test_accuracy(native_of, name):
    worst = 0.0
    for seed in range(2):
        xs = [ordinary(name, 10 * seed + k) for k in range(getattr(np, name).nin)]
        result = native_of(name)(*xs)
        assert result is not NotImplemented
        with mpmath.workprec(120):
            for y, *values in zip(result.tolist(), *[x.tolist() for x in xs], strict=True):
                exact = EXACT[name](*map(mpmath.mpf, values))
                worst = max(worst, abs(float((mpmath.mpf(y) - exact) / np.spacing(abs(float(exact))))))
    assert worst <= 4.0, worst


@pytest.mark.parametrize("name", EXACT)
def test_special_values(native_of, name):
    """Values and signs of NumPy's; where NumPy warns, or a result is not finite, the call goes to Python."""
    function, call, taken = getattr(np, name), native_of(name), 0
    quiet = [ordinary(name, k) for k in range(function.nin)]
    for values in np.array(np.meshgrid(*[SPECIAL] * function.nin)).reshape(function.nin, -1).T.tolist():
        for place in (5, COUNT - 1):
            xs = [x.copy() for x in quiet]
            for x, value in zip(xs, values, strict=True):
                x[place] = value
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                expected = function(*xs)
            result = call(*xs)
            if result is NotImplemented:
                continue
            assert not caught, (values, caught[0].message)
            taken += 1
            np.testing.assert_allclose(result, expected, rtol=2e-15, atol=5e-324, err_msg=str(values))
            assert np.signbit(result[place]) == np.signbit(expected[place]), values
    assert taken >= len(SPECIAL) / 2


@pytest.mark.parametrize("name", ["exp", "expm1"])
def test_a_mask_of_minus_infinity_stays_in_machine_code(native_of, name):
    x = np.linspace(-2.0, 2.0, COUNT)
    x[::7] = -np.inf
    np.testing.assert_allclose(native_of(name)(x), getattr(np, name)(x), rtol=1e-15)
