"""Native code: every row that has a native facet against NumPy, and the loops and the entry by themselves."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from wengert.compilation.native.entry import Native, fits
from wengert.compilation.native.lowering import NoLoweringError, lower_tree
from wengert.primitives.table import PRIMITIVES

pytestmark = pytest.mark.skipif(not fits(), reason="there is no native code here")

SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, 3.0, -2.5, 1e-300, 1e300, 700.0, np.inf, -np.inf, np.nan]


def tree_of(f, *args):
    """Return the branches of a jitted function."""
    jitted = wg.jit(f)
    jitted(*args)
    ((signature),) = jitted._signatures()
    return signature.tree


def native_of(f, *args):
    """Return the native code of a function that has been traced at some arguments."""
    parameters = [a.shape if type(a) is np.ndarray else type(a) for a in args]
    return Native(lower_tree(tree_of(f, *args), "f"), parameters)


# ---- Rows ----

WITHOUT = {
    "floor_divide", "ldexp", "left_shift", "logaddexp2", "nextafter", "right_shift", "spacing",
}  # fmt: skip
"""NumPy's own functions of elements that no machine code is generated for."""


def test_rows_without_a_native_facet():
    numpys = {name for name, p in PRIMITIVES.items() if p.is_ufunc and getattr(np, name, None) is p.numpy}
    assert {name for name in numpys if PRIMITIVES[name].native is None} == WITHOUT
    moving = {"reshape", "transpose", "broadcast_to", "stack", "concatenate", "getitem", "roll", "diagonal"}
    assert all(PRIMITIVES[name].native for name in moving)


def operands_of(primitive):
    """Return arrays of special values, every one with every other."""
    grid = np.meshgrid(*[SPECIAL] * primitive.numpy.nin, indexing="ij")
    return [values.ravel() for values in grid]


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, p in PRIMITIVES.items()
        if p.is_ufunc and p.native is not None and "dd"[: p.numpy.nin] in str(p.numpy.types)
    ],
)
def test_functions_of_elements(name):
    primitive = PRIMITIVES[name]
    start = [0.5, 0.75][: primitive.numpy.nin]
    if name == "arccosh":
        start = [1.5]
    try:
        native = native_of(lambda *xs: 1.0 * primitive(*xs), *start).call
    except NoLoweringError:
        assert name.startswith("bitwise") or name == "invert"
        return
    taken = 0
    for values in zip(*operands_of(primitive), strict=True):
        with np.errstate(all="raise", under="ignore"):
            try:
                expected = 1.0 * primitive.compute(*map(np.float64, values))
            except FloatingPointError:
                expected = NotImplemented
        result = native(*map(float, values))
        if result is NotImplemented:
            assert expected is NotImplemented or not np.all(np.isfinite([expected, *values])), (values, expected)
            continue
        assert expected is not NotImplemented, (values, result)
        taken += 1
        np.testing.assert_allclose(result, expected, rtol=1e-15, atol=0, err_msg=str(values))
        assert np.signbit(result) == np.signbit(expected) or np.isnan(expected), values
    assert taken > 3
