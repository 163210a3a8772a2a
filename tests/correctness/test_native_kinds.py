"""Kinds of data in machine code: single precision, whole numbers and truth values, against NumPy.

Results have NumPy's dtype and shape.  Whole numbers have its bits; of floating-point numbers, an operation is off by at
most so many units in the last place as `ULPS` says.
"""

from __future__ import annotations

import warnings

import mpmath
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import wengert as wg
from wengert.compilation import jit as jit_module
from wengert.compilation.native import engine, lowering
from wengert.compilation.native.layout import fits
from wengert.primitives.table import PRIMITIVES

pytestmark = [
    pytest.mark.skipif(not fits(), reason="there is no native code here"),
    pytest.mark.filterwarnings("ignore::wengert.errors.DecisionWarning"),
]

ULPS = {"f": 4.0, "d": 4.0}
"""The largest error of an operation, in units in the last place of the exact result, by the kind of the result."""
MORE_ULPS = {("logaddexp", "f"): 16.0, ("logaddexp2", "f"): 16.0}
"""The same for functions that add two terms, which may cancel."""
COUNT = 403


@pytest.fixture(autouse=True, scope="module")
def kernels_after_one_call():
    """Make native code in the second call, by kernels among lines."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jit_module, "calls_before", lambda: 1)
        patch.setattr(lowering, "MOST", -1)
        yield


def text_of(jitted):
    """Return the Python code of the only branch: what kernels compute is no line of it."""
    ((signature),) = jitted._signatures()
    (branch,) = signature.tree.branches
    return branch.text


def computed(function, *args):
    """Return what a function gives by kernels alone."""
    jitted = wg.jit(function)
    for _ in range(3):
        result = jitted(*args)
    lines = [line for line in text_of(jitted).splitlines() if " = " in line]
    assert lines, text_of(jitted)
    assert all("kernel" in line for line in lines), text_of(jitted)
    return result


def same(result, expected, rtol=0.0):
    """Compare dtypes, shapes and values; exactly unless they are floating-point numbers."""
    assert type(result) is type(expected)
    result, expected = np.asarray(result), np.asarray(expected)
    assert result.dtype == expected.dtype
    assert result.shape == expected.shape
    if result.dtype.kind in "fc":
        np.testing.assert_allclose(result, expected, rtol=rtol, atol=rtol)
    else:
        np.testing.assert_array_equal(result, expected)


# ---- Single precision ----

LANES = {"scalars": [], "four": [("d", 4)], "eight": [("d", 4), ("e", 8)]}
OWN = sorted(
    name
    for name, row in PRIMITIVES.items()
    if row.is_ufunc and row.native is not None and getattr(np, name, None) is row.numpy
    and ("f" * row.numpy.nin + "->f") in row.numpy.types
)  # fmt: skip


@pytest.fixture(params=list(LANES), scope="module")
def width(request):
    """Let vectors have some width."""
    machine, lanes = engine._engine(), LANES[request.param]
    if not set(lanes) <= set(machine.lanes):
        pytest.skip("vectors are narrower here")
    before, machine.lanes = machine.lanes, lanes
    yield request.param
    machine.lanes = before


def ordinary(name, seed):
    """Return random arguments of a function in single precision, in its domain."""
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.uniform(-1, 1, 100), rng.uniform(-20, 20, 100),
                        np.ldexp(rng.uniform(-1, 1, COUNT - 200), rng.integers(-20, 8, COUNT - 200))])  # fmt: skip
    if name in ("log", "log2", "log10", "power", "float_power", "sqrt"):
        x = np.abs(x)
    elif name in ("arcsin", "arccos", "arctanh"):
        x = np.where(np.abs(x) >= 1, 0.5 / x, x)
    elif name == "arccosh":
        x = 1 + np.abs(x)
    elif name == "log1p":
        x = np.where(x <= -1, -0.5 / x, x)
    elif name in ("exp2", "sinh", "cosh", "exp", "expm1"):
        x = np.clip(x, -80, 80)
    return x.astype(np.float32)


@pytest.mark.parametrize("name", OWN)
def test_accuracy_in_single_precision(width, name):
    function = getattr(np, name)
    xs = [ordinary(name, k) for k in range(function.nin)]
    if name in ("power", "float_power"):
        xs[1] = np.clip(xs[1], -3, 3)
    if name in ("fmod", "remainder", "floor_divide"):
        xs[1] = np.where(np.abs(xs[1]) < 0.1, np.float32(0.7), xs[1])
    result = computed(lambda *xs: 0.5 * (2.0 * function(*xs)), *xs)
    exact = function(*[x.astype(float) for x in xs])
    assert result.dtype == function(*xs).dtype
    if name in ("floor_divide", "remainder", "fmod", "divmod"):  # not what is nearest to that of double precision
        exact = function(*xs).astype(float)
    unit = np.spacing(np.abs(exact).astype(result.dtype)).astype(float)
    worst = np.max(np.abs(result.astype(float) - exact) / np.maximum(unit, np.finfo(result.dtype).tiny))
    assert worst <= MORE_ULPS.get((name, "f"), ULPS["f"]), worst


SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 3.0, -2.5, 1e-30, 1e-45, -1e-40, 1e30, 80.0, 88.8, -104.0, 200.0, 1e10,
           np.inf, -np.inf, np.nan]  # fmt: skip


@pytest.mark.parametrize("name", OWN)
def test_special_values_in_single_precision(width, name):
    """Values, signs, and NumPy's warnings."""
    function = getattr(np, name)
    base = [ordinary(name, k) for k in range(function.nin)]
    base[1:] = [np.clip(x, -3, 3) for x in base[1:]]
    jitted = wg.jit(lambda *xs: function(*xs) + function(*xs)[::-1])
    jitted(*base), jitted(*base)
    for values in np.array(np.meshgrid(*[SPECIAL] * function.nin)).reshape(function.nin, -1).T.tolist():
        xs = [x.copy() for x in base]
        for x, value in zip(xs, values, strict=True):
            x[7] = value
        with warnings.catch_warnings(record=True) as expected_warnings:
            warnings.simplefilter("always")
            expected = function(*xs) + function(*xs)[::-1]
        with warnings.catch_warnings(record=True) as given_warnings:
            warnings.simplefilter("always")
            result = jitted(*xs)
        expected_texts, texts = ({str(w.message) for w in caught} for caught in (expected_warnings, given_warnings))
        # some processors' NumPy warns of an overflow at infinite exponents, where nothing overflows
        assert texts == expected_texts or (not texts and name == "power" and np.isinf(values[1])), values
        np.testing.assert_allclose(result, expected, rtol=3e-6, atol=1e-6, err_msg=str(values))
        assert np.signbit(result[7]) == np.signbit(expected[7]) or np.isnan(expected[7]), values


@pytest.mark.parametrize("n", [7, 20, 70, 1_000, 100_003])
def test_sums_in_single_precision_are_as_accurate_as_numpys(n):
    rng = np.random.default_rng(n)
    x = rng.uniform(0.5, 1.5, (3, n)).astype(np.float32)
    y = np.asfortranarray(x)
    for array in (x, y):
        for axis in (None, 0, 1):
            result = computed(lambda x, axis=axis: 2.0 * np.sum(0.5 * x, axis=axis), array)
            exact = np.sum(array.astype(float), axis=axis)
            numpys = np.max(np.abs(np.sum(array, axis=axis) - exact) / exact)
            assert np.asarray(result).dtype == np.float32
            assert np.max(np.abs(result - exact) / exact) <= max(numpys, 4 * np.finfo(np.float32).eps)


def layer(w, v, x, y):
    """Return the loss of a network."""
    h = np.maximum(np.tanh(x @ w) @ v, 0.1)
    e = np.exp(h - np.max(h, axis=-1, keepdims=True))
    p = e / np.sum(e, axis=-1, keepdims=True)
    return -np.mean(np.sum(y * np.log(p), axis=-1)) + 1e-3 * np.sum(w**2)


def test_a_network_in_single_precision():
    rng = np.random.default_rng(5)
    w, v, x, y = (rng.uniform(0.1, 0.9, s).astype(np.float32) for s in ((40, 30), (30, 20), (50, 40), (50, 20)))
    result, gradients = computed(wg.value_and_grad(layer, argnums=(0, 1)), w, v, x, y)
    expected, others = wg.value_and_grad(layer, argnums=(0, 1))(w, v, x, y)
    same(result, expected, 1e-5)
    for one, other in zip(gradients, others, strict=True):
        same(one, other, 1e-5)
    exact = wg.grad(layer, argnums=(0, 1))(*[a.astype(float) for a in (w, v, x, y)])
    for one, other in zip(gradients, exact, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


# ---- Mixed kinds ----

KINDS = ("f", "d", "l", "i", "?", "D", "F")
SCALARS = [2, -3, 1, 0.25, -1.5, True, 1.5j, np.float32(0.5), np.float64(0.3), np.int64(7), np.int32(-2),
           np.complex64(1 - 2j)]  # fmt: skip
BINARY = ["add", "subtract", "multiply", "divide", "maximum", "minimum", "less", "greater_equal", "equal", "not_equal"]
UNARY = ["negative", "absolute", "sign", "square", "conjugate", "real", "imag", "isfinite"]
SHAPE = (5, 8)


def array_of(kind, seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(-4, 5, SHAPE)
    if kind in "DF":
        return (values + 0.5j * rng.integers(-4, 5, SHAPE)).astype(kind)
    return (values + rng.integers(0, 4, SHAPE) / 4 if kind in "fd" else values).astype(kind)


@st.composite
def programs_of_kinds(draw):
    """Return the kinds of arguments, and lines of (function, operands): places, or numbers."""
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=2, max_size=4))
    lines = []
    for k in range(draw(st.integers(2, 6))):
        operand = st.one_of(st.integers(0, len(kinds) + k - 1), st.sampled_from(SCALARS).map(lambda v: [v]))
        name = draw(st.sampled_from([*BINARY, *UNARY, "where", "sum", "astype", "max", "bitwise_and", "logical_or",
                                     "invert", "setitem", "concatenate", "cumsum"]))  # fmt: skip
        lines.append((name, [draw(operand), draw(operand), draw(operand)], draw(st.sampled_from(KINDS))))
    return kinds, lines


def run_program(arrays, lines):
    """Run lines on arrays with NumPy's functions; a line that NumPy refuses is left out."""
    values = list(arrays)
    for name, places, kind in lines:
        a, b, c = (p[0] if isinstance(p, list) else values[p] for p in places)
        try:
            if name in BINARY or name in ("bitwise_and", "logical_or"):
                y = getattr(np, name)(a, b)
            elif name in UNARY or name == "invert":
                y = getattr(np, name)(a)
            elif name == "where":
                y = np.where(np.greater(np.real(a), 0), b, c)
            elif name == "sum":
                y = np.sum(a, axis=0, keepdims=True) if np.ndim(a) else a
            elif name == "max":
                y = np.max(a, axis=-1, keepdims=True) if np.ndim(a) else a
            elif name == "astype":
                y = a.astype("D" if a.dtype.kind == "c" else kind) if np.ndim(a) else a
            elif name == "cumsum":
                y = np.cumsum(a, axis=0) if np.ndim(a) else a
            elif name == "setitem":
                y = np.zeros(SHAPE, kind if kind in "fDF" else "D" if np.iscomplexobj(b) else "d")
                y[1:3] = b if not np.ndim(b) else np.broadcast_to(b, SHAPE)[1:3]
            else:
                y = np.concatenate([np.broadcast_to(a, SHAPE), np.broadcast_to(b, SHAPE)], axis=1)[:, :8]
        except TypeError:
            y = values[0]
        values.append(y)
    return tuple([v for v in values[len(arrays) :] if isinstance(v, np.ndarray) or hasattr(v, "shape")])


@settings(max_examples=120, deadline=None)
@given(program=programs_of_kinds(), seed=st.integers(0, 5))
@example(program=(["f", "l"], [("multiply", [0, 1, 0], "f"), ("add", [2, [2], 0], "f")]), seed=0)
@example(program=(["i", "l"], [("multiply", [0, 0, 0], "f"), ("sum", [2, [2], 0], "f")]), seed=0)
def test_mixed_kinds_are_promoted_as_numpy_promotes(program, seed):
    kinds, lines = program
    arrays = [array_of(kind, seed + k) for k, kind in enumerate(kinds)]

    def function(*arrays):
        return run_program(arrays, lines)

    with np.errstate(all="ignore"):
        expected = function(*arrays)
        jitted = wg.jit(function)
        for _ in range(3):
            results = jitted(*arrays)
    assert len(results) == len(expected)
    for result, value in zip(results, expected, strict=True):
        assert result.dtype == value.dtype
        assert result.shape == value.shape
        np.testing.assert_allclose(result, value, rtol=1e-6, atol=1e-6)


# ---- Complex numbers ----

HOLOMORPHIC = ["exp", "log", "sqrt", "sin", "cos", "sinh", "cosh", "reciprocal"]
NORMWISE = {"D": 8.0, "F": 8.0}
"""The largest error of a function of complex numbers, relative to its absolute value, in units of the last place."""


def complex_points(kind, seed):
    rng = np.random.default_rng(seed)
    radius = np.ldexp(rng.uniform(0.5, 1, COUNT), rng.integers(-12, 5, COUNT))
    points = radius * np.exp(2j * np.pi * rng.random(COUNT))
    points[:60] = np.exp(2j * np.pi * rng.random(60)) * (1 + 1e-3 * rng.uniform(-1, 1, 60))
    points[60:80] = points[60:80].real
    points[80:100] = 1j * points[80:100].imag
    return points.astype(kind)


@pytest.mark.parametrize("kind", ["D", "F"])
@pytest.mark.parametrize("name", HOLOMORPHIC)
def test_accuracy_of_functions_of_complex_numbers(width, name, kind):
    z = complex_points(kind, 3)
    result = computed(lambda z: 0.5 * (2.0 * getattr(np, name)(z)), z)
    assert result.dtype == z.dtype
    function = {"reciprocal": lambda z: 1 / z}.get(name) or getattr(mpmath, name)
    worst = 0.0
    with mpmath.workprec(150):
        for value, point in zip(result.tolist(), z.tolist(), strict=True):
            exact = function(mpmath.mpc(point))
            worst = max(worst, float(abs(mpmath.mpc(value) - exact) / abs(exact)))
    assert worst <= NORMWISE[kind] * np.finfo(kind).eps / 2, worst * 2 / np.finfo(kind).eps


@pytest.mark.parametrize("kind", ["D", "F"])
def test_arithmetic_of_complex_numbers(width, kind):
    a, b = complex_points(kind, 1), complex_points(kind, 2)
    x = np.abs(b)
    product, ratio, power, mixed, length, more = computed(
        lambda a, b, x: (a * b, a / b, a**-3, x * a / (2.5 - 1j), np.abs(a), np.real(a) + 2 * np.imag(np.conj(a))),
        a,
        b,
        x,
    )
    with mpmath.workprec(150):
        for row in zip(product, ratio, power, mixed, length, a, b, x, strict=True):
            *values, p, q, r = (mpmath.mpc(complex(v)) for v in row)
            exact = p * q, p / q, p**-3, r * p / mpmath.mpc(2.5, -1), abs(p)
            for value, one in zip(values, exact, strict=True):
                assert abs(value - one) <= NORMWISE[kind] * np.finfo(kind).eps / 2 * abs(one)
    assert {y.dtype for y in (product, ratio, power, mixed)} == {a.dtype}
    assert length.dtype == more.dtype == x.dtype
    np.testing.assert_array_equal(more, np.real(a) + 2 * np.imag(np.conj(a)))


PARTS = [0.0, -0.0, 1.0, -1.0, 0.5, 30.0, -800.0, 1e-300, np.inf, -np.inf, np.nan]


@pytest.mark.parametrize("name", [*HOLOMORPHIC, "square", "absolute", "isnan", "isfinite", "multiply", "divide"])
def test_special_values_of_complex_numbers(name):
    """Infinities, NaN and warnings are NumPy's; signs of what is beside NaN are not defined."""
    nin = getattr(np, name).nin
    base = [complex_points("D", 5 + k) for k in range(nin)]

    def function(*zs):
        y = getattr(np, name)(*zs)
        return (y & True) if name[:2] == "is" else -np.conj(y)

    jitted = wg.jit(function)
    for _ in range(3):
        jitted(*base)
    assert "kernel1" in text_of(jitted)
    values = [complex(x, y) for x in PARTS for y in PARTS]
    others = values[::7] if nin == 2 else [0.0]
    for value in values:
        for other in others:
            zs = [z.copy() for z in base]
            for z, v in zip(zs, (value, other), strict=False):
                z[9] = v
            with warnings.catch_warnings(record=True) as expected_warnings:
                warnings.simplefilter("always")
                expected = function(*zs)
            with warnings.catch_warnings(record=True) as given_warnings:
                warnings.simplefilter("always")
                result = jitted(*zs)
            if not expected_warnings:
                assert not given_warnings, (value, other)
            one, exact = result[9], expected[9]
            if value != value:
                one, exact = (complex(abs(y.real), abs(y.imag)) for y in (one, exact))
            # some processors' NumPy keeps what cancels in a fused multiply-add
            np.testing.assert_allclose(one.real, exact.real, rtol=1e-14, atol=1e-300, err_msg=f"{value} {other}")
            np.testing.assert_allclose(one.imag, exact.imag, rtol=1e-14, atol=1e-300, err_msg=f"{value} {other}")
            np.testing.assert_allclose(result[10:], expected[10:], rtol=1e-13)


def test_derivatives_of_functions_of_complex_numbers():
    z = complex_points("D", 7)[:60]

    def function(z):
        w = z * np.exp(1j * z) / (3 + np.conj(z))
        w = np.where(np.abs(w) > 1, 1 / w, w)
        return np.sum(np.abs(w) ** 2) + np.sum(np.real(w[::2] * np.conj(w[1::2])))

    value, gradient = computed(wg.value_and_grad(function), z)
    expected, other = wg.value_and_grad(function)(z)
    same(value, expected, 1e-12)
    same(gradient, other, 1e-11)


def test_products_of_complex_matrices():
    rng = np.random.default_rng(2)
    a, b = (rng.normal(size=s) + 1j * rng.normal(size=s) for s in ((5, 6), (6, 4)))
    v = b[:, 0]
    for kind in "DF":
        for result, expected in zip(
            computed(lambda a, b, v: (a @ b, a @ v, v @ b), *[x.astype(kind) for x in (a, b, v)]),
            (a @ b, a @ v, v @ b), strict=True,
        ):  # fmt: skip
            assert result.dtype == np.dtype(kind)
            np.testing.assert_allclose(result, expected, rtol=100 * np.finfo(kind).eps)


def test_whole_numbers_wrap_around():
    x = np.array([2**62, -(2**63), 2**63 - 1, 5, -7] * 10).reshape(10, 5)
    i = np.array([2**31 - 1, -(2**31), 3, 4, 5] * 10, np.int32).reshape(10, 5)

    def function(x, i):
        return x * 3 + x, np.sum(x * x, axis=0), np.prod(i, axis=1), -i * i, np.abs(i) - 1, i * x

    expected = function(x, i)
    jitted = wg.jit(function)
    for _ in range(3):
        results = jitted(x, i)
    for result, value in zip(results, expected, strict=True):
        same(result, value)
