"""The registry walk: every primitive, every argument, every shape and dtype, both modes, first and second order."""

from __future__ import annotations

import inspect
import math
import warnings

import mpmath
import numpy as np
import pytest
import truth
from agreement import assert_close, assert_first_order, assert_second_order, assert_single_precision
from matrices import rows_of

import wengert as wg
from wengert.linearization import Linearization, edges
from wengert.primitives import PRIMITIVES
from wengert.primitives.numpy import elementwise as e
from wengert.primitives.numpy import fourier, linalg, running
from wengert.primitives.numpy import structural as s
from wengert.primitives.scipy import banded, decompositions
from wengert.primitives.scipy import linalg as scipy_linalg
from wengert.program import Operand, Shaped

pytestmark = pytest.mark.filterwarnings(
    "ignore::wengert.errors.DecisionWarning"
)  # steps and comparisons are tried, too

UNARY = [((),), ((3,),), ((2, 3),), ((1,),), ((0,),)]
BINARY = [
    ((), ()),
    ((3,), ()),
    ((), (3,)),
    ((3,), (3,)),
    ((2, 1), (3,)),
    ((3,), (2, 3)),
    ((1,), (2,)),
    ((1, 1), ()),
    ((0,), ()),
    ((2, 0), (1,)),
]
TERNARY = [((), (), ()), ((2, 1), (3,), ())]
ANALYTIC_NOT = {"sign", "maximum", "minimum", "fmax", "fmin", "conjugate", "expi"}
"""Functions that NumPy extends to complex numbers in another way than analysis does."""


# ---- Elementwise rows: drawn from their stated domains ----


def is_elementwise(primitive):
    return primitive.elementwise and isinstance(primitive.numpy, np.ufunc)


def differentiable(primitive):
    """The positions of the arguments that a ufunc has a derivative in; others are refused and stay constant."""
    rules = primitive.partials + (None,) * (primitive.numpy.nin - len(primitive.partials))
    return [k for k, rule in enumerate(rules) if not hasattr(rule, "refuses")]


def takes_floats(primitive):
    return any(all(t[k] == "d" for k in differentiable(primitive)) for t in primitive.numpy.types)


def shapes_of(primitive):
    shapes = (UNARY, BINARY, TERNARY)[len(differentiable(primitive)) - 1]
    if primitive.name not in SPECIAL:
        return shapes
    return [UNARY[0], UNARY[1]] if shapes is UNARY else [BINARY[0], BINARY[4]] if shapes is BINARY else shapes


def is_analytic(primitive):
    ufunc = primitive.numpy
    complex_loop = "D" * ufunc.nin + "->" + "D" * ufunc.nout
    return complex_loop in ufunc.types and primitive.name not in ANALYTIC_NOT


def draw(rng, interval, shape):
    low, high = interval
    if math.isfinite(low) and math.isfinite(high):
        return rng.uniform(low + 0.2 * (high - low), high - 0.2 * (high - low), shape)
    if math.isfinite(high):
        return high - rng.uniform(0.4, 2.5, shape)
    if math.isfinite(low):
        return low + rng.uniform(0.4, 2.5, shape)
    return rng.choice([-1.0, 1.0], shape) * rng.uniform(0.25, 1.9, shape)


def elementwise_case(primitive, shapes):
    """Return a function of float arrays and a point that lies away from its kinks."""
    count = primitive.numpy.nin
    free = differentiable(primitive)
    domain = primitive.domain or ((-math.inf, math.inf),) * count
    domain = [domain[k] for k in free]

    def f(*xs):
        operands = list(range(count + 2, 2, -1))  # the order of a polynomial, say
        for k, x in zip(free, xs, strict=True):
            operands[k] = x if takes_floats(primitive) else x > 0
        return primitive(*operands)

    for seed in range(200):
        rng = np.random.default_rng(seed)
        args = [draw(rng, interval, shape)[()] for interval, shape in zip(domain, shapes, strict=True)]
        args = [np.float64(a) if np.ndim(a) == 0 else a for a in args]
        if truth.steady(lambda *a: np.asarray(f(*a), dtype=float), args, range(len(free))):
            return f, args
    raise AssertionError(f"no point away from the kinks of {primitive.name}")


SPECIAL = {p.name for p in PRIMITIVES.values() if "scipy.special" in str(p.source)} | {"logsumexp"}
"""Rows of SciPy's, which test_special.py knows more about."""
OF_MATRICES = {name for module in (linalg, scipy_linalg, decompositions, banded, fourier) for name in rows_of(module)}
"""Rows of linear algebra and Fourier transforms: test_linalg.py and test_fourier.py walk those in the same way."""
OF_SIGNALS = {"dct", "dst", "fir", "recurse", "sparse_product", "sparse_solve", "stencil", "spline_filter"}
"""Rows of `scipy_fft`, `scipy_signal` and `scipy_sparse`, which have test files of their own."""
ELEMENTWISE = [p for p in PRIMITIVES.values() if is_elementwise(p) and differentiable(p)]
POINTS = [
    pytest.param(p, shapes, id=f"{p.name}-{'-'.join(map(str, shapes)).replace(' ', '')}")
    for p in ELEMENTWISE
    for shapes in shapes_of(p)
]


@pytest.mark.parametrize(("primitive", "shapes"), POINTS)
def test_elementwise_first_order(primitive, shapes):
    f, args = elementwise_case(primitive, shapes)
    assert_first_order(f, args, analytic=is_analytic(primitive))


@pytest.mark.parametrize(
    ("primitive", "shapes"), [p for p in POINTS if len(p.values[1]) == 1 or p.values[1] in BINARY[::2]]
)
def test_elementwise_second_order(primitive, shapes):
    f, args = elementwise_case(primitive, shapes)
    assert_second_order(lambda *xs: 1.0 * f(*xs), args)


@pytest.mark.parametrize("primitive", ELEMENTWISE, ids=lambda p: p.name)
def test_elementwise_single_precision(primitive):
    count = len(differentiable(primitive))
    for shapes in TERNARY if count == 3 else (((3,),), ((),)) if count == 1 else (((2, 1), (3,)), ((), (3,)), ((), ())):
        f, args = elementwise_case(primitive, shapes)
        assert_single_precision(f, args)


@pytest.mark.parametrize("primitive", ELEMENTWISE, ids=lambda p: p.name)
def test_elementwise_value_is_that_of_numpy(primitive):
    f, args = elementwise_case(primitive, (UNARY[1], BINARY[4], TERNARY[1])[len(differentiable(primitive)) - 1])
    expected = f(*args)
    value = wg.trace(f)(*args)(*args)
    assert value.dtype == expected.dtype
    np.testing.assert_array_equal(value, expected)


# ---- Operands of other dtypes, which NumPy promotes: rules see them as promoted ----

NARROW = {
    "?": [True] * 3, "i1": [120, 3, 100], "u1": [200, 3, 250], "i2": [30000, 3, 200], "u2": [60000, 3, 200],
    "i4": [2**31 - 1, 3, 200], "u4": [2**32 - 1, 3, 200], "i8": [4 * 10**9, 3, 200], "f2": [2.0, 0.1, 300.0],
    "f4": [2.0, 0.1, 300.0], ">f8": [2.0, 0.1, 300.0], ">i2": [30000, 3, 200], ">f4": [2.0, 0.1, 300.0],
}  # fmt: skip
TWO = [p for p in ELEMENTWISE if len(differentiable(p)) > 1 and takes_floats(p) and p.name not in SPECIAL]
TWO += [PRIMITIVES[name] for name in ("huber", "pseudo_huber", "xlogy", "xlog1py", "rel_entr", "beta", "binom")]


@pytest.mark.parametrize("kind", NARROW)
@pytest.mark.parametrize("primitive", TWO, ids=lambda p: p.name)
def test_other_operand_of_another_dtype(primitive, kind):
    other = np.array(NARROW[kind], kind)
    count = primitive.numpy.nin
    for single in (False, True):
        x = np.array([0.3, 0.45, 0.7], np.float32 if single else np.float64)
        for k in differentiable(primitive):

            def f(x, dtype, k=k):
                operands = [other.astype(dtype) if dtype else other] * count
                return primitive.numpy(*operands[:k], x.astype(dtype or x.dtype), *operands[k + 1 :])

            with np.errstate(all="ignore"):
                y = f(x, None)
                if not np.all(np.isfinite(y)):
                    continue  # outside of the domain
                expected = wg.jacobian(lambda x, y=y: f(x, y.dtype), mode="reverse")(x)
                given = {mode: wg.jacobian(lambda x: f(x, None), mode=mode)(x) for mode in ("forward", "reverse")}
                given["Program"] = wg.jacobian(wg.trace(lambda x: f(x, None))(x))(x)
            for what, J in given.items():
                np.testing.assert_allclose(J, expected, 1e-6 if single else 1e-14, 1e-30, err_msg=f"{what} {single}")


def test_traced_operands_of_two_precisions():
    x, c = np.float32([0.1, 0.2, 3.0]), np.array([1e-9, 2.0, 5.0])

    def f(x, c):
        return np.arctan2(x, c) * np.hypot(c, x) ** x

    wide = x.astype(np.float64)
    for mode in ("forward", "reverse"):
        for k, J in enumerate(wg.jacobian(f, (0, 1), mode=mode)(x, c)):
            expected = wg.jacobian(f, (0, 1), mode=mode)(wide, c)[k]
            single = (x, c)[k].dtype == np.float32
            assert J.dtype == (x, c)[k].dtype
            np.testing.assert_allclose(J, expected, rtol=1e-6 if single else 1e-14)


@pytest.mark.parametrize("made", [lambda: np.full(3, 7, np.float16), lambda: np.float16([7, 7, 7]), lambda: SEVENS])
def test_half_precision_made_inside_does_not_spoil_partials(made):
    x = np.array([0.1, 2.0, 3.0])
    for f in (lambda x: x / made(), lambda x: wg.fori_loop(0, 1, lambda i, t: t / made(), x)):
        np.testing.assert_allclose(wg.grad(lambda x, f=f: np.sum(f(x)))(x), np.full(3, 1 / 7), rtol=1e-15)


SEVENS = np.full(3, 7, np.float16)
IMAGE = np.array([120, 3, 100], np.uint8)


@pytest.mark.parametrize(
    "f",
    [
        lambda x, c: np.einsum("i,i,j->j", c, c, x),
        lambda x, c: np.interp(x * 100, np.sort(c), c),
        lambda x, c: np.trapezoid(x, np.sort(c)),
        lambda x, c: np.gradient(x, c),
        lambda x, c: np.outer(c, x) @ c,
        lambda x, c: np.cross(c, np.cross(c, x)),
        lambda x, c: np.linalg.lstsq(np.stack([c, c**0]).T, x, rcond=None)[0],
        lambda x, c: np.average(x, weights=c),
        lambda x, c: np.polyval(c, x),
        lambda x, c: np.sum((x - c) ** 2),
    ],
)
def test_functions_of_bytes(f):
    x = np.array([0.3, 0.45, 0.7])
    for mode in ("forward", "reverse"):
        given = wg.jacobian(lambda x: f(x, IMAGE), mode=mode)(x)
        assert_close(given, wg.jacobian(lambda x: f(x, IMAGE.astype(float)), mode=mode)(x), 1e-13, mode)


# ---- Accuracy at hard points: a relative error of a few units in the last place ----

MPMATH = {
    "exp": (mpmath.exp, (-30.0, 1e-9, 20.0)),
    "exp2": (lambda x: mpmath.mpf(2) ** x, (-30.0, 1e-9, 20.0)),
    "expm1": (mpmath.expm1, (-30.0, -1e-9, 1e-9, 20.0)),
    "log": (mpmath.log, (1e-12, 1.0, 1e12)),
    "log2": (lambda x: mpmath.log(x, 2), (1e-12, 1.0, 1e12)),
    "log10": (lambda x: mpmath.log(x, 10), (1e-12, 1.0, 1e12)),
    "log1p": (lambda x: mpmath.log(1 + x), (-0.999, 1e-12, 1e12)),
    "sqrt": (mpmath.sqrt, (1e-12, 1e12)),
    "cbrt": (mpmath.cbrt, (1e-12, 1e12)),
    "square": (lambda x: x * x, (1e-9, -1e9)),
    "reciprocal": (lambda x: 1 / x, (1e-9, 1e9)),
    "sin": (mpmath.sin, (1e-9, 1.5, 100.0)),
    "cos": (mpmath.cos, (1e-9, 1.5, 100.0)),
    "tan": (mpmath.tan, (1e-9, 1.4)),
    "arcsin": (mpmath.asin, (1e-9, 0.999999, -0.999999)),
    "arccos": (mpmath.acos, (1e-9, 0.999999, -0.999999)),
    "arctan": (mpmath.atan, (1e-9, 1e6)),
    "sinh": (mpmath.sinh, (1e-9, 20.0)),
    "cosh": (mpmath.cosh, (1e-9, 20.0)),
    "arcsinh": (mpmath.asinh, (1e-9, 1e9, -1e9)),
    "arccosh": (mpmath.acosh, (1.000001, 1e9)),
    "arctanh": (mpmath.atanh, (1e-9, 0.999999, -0.999999)),
}


@pytest.mark.parametrize(("name", "x"), [(name, x) for name, (_, points) in MPMATH.items() for x in points])
def test_accuracy_at_hard_points(name, x):
    with mpmath.workdps(60):
        function = MPMATH[name][0]
        step = mpmath.mpf(x) * mpmath.mpf(10) ** -20
        first = (function(x + step) - function(x - step)) / (2 * step)
        first = float(first)
    given = float(wg.grad(PRIMITIVES[name].numpy)(x))
    # the operand itself is known to half a unit only: 1 - x near 1 is exact, cos near its zero is not
    assert abs(given - first) <= 4e-15 * abs(first) + 1e-300


# ---- Structural rows: a table of argument forms ----


def case(f, *shapes):
    return f, shapes


LARGE, ROWS = np.array([2, 0, 2, 1]), np.array([[0, 1], [1, 1]])
MASK = np.array([True, False, True])

CASES = {
    "reshape": [
        case(lambda x: s.reshape(x, shape=(3, 2)), (2, 3)),
        case(lambda x: s.reshape(x, shape=(1, 1)), ()),
        case(lambda x: s.reshape(x, shape=()), (1,)),
        case(lambda x: s.reshape(x, shape=(3, 0)), (0, 2)),
    ],
    "transpose": [
        case(lambda x: s.transpose(x, axes=(1, 0)), (2, 3)),
        case(lambda x: s.transpose(x, axes=(2, 0, 1)), (2, 1, 3)),
        case(lambda x: s.transpose(x, axes=()), ()),
        case(lambda x: s.transpose(x, axes=(1, 0)), (0, 2)),
    ],
    "diagonal": [
        case(lambda x: s.diagonal(x, offset=0), (3, 3)),
        case(lambda x: s.diagonal(x, offset=1), (3, 4)),
        case(lambda x: s.diagonal(x, offset=-2), (2, 4, 3)),
        case(lambda x: s.diagonal(x, offset=-1), (2, 3)),
        case(lambda x: s.diagonal(x, offset=5), (2, 3)),
        case(lambda x: s.diagonal(x, offset=0), (0, 2)),
    ],
    "broadcast_to": [
        case(lambda x: s.broadcast_to(x, shape=(2, 3)), (3,)),
        case(lambda x: s.broadcast_to(x, shape=(2, 3)), (2, 1)),
        case(lambda x: s.broadcast_to(x, shape=(3,)), ()),
        case(lambda x: s.broadcast_to(x, shape=(0, 2)), (1, 2)),
        case(lambda x: s.broadcast_to(x, shape=(2,)), (2,)),
    ],
    "squared_norm": [
        case(lambda x: np.linalg.norm(x) ** 2, (3,)),
        case(lambda x: np.linalg.norm(x, axis=0) ** 2, (2, 3)),
        case(lambda x: np.linalg.norm(x, axis=(0, 2), keepdims=True) ** 2, (2, 3, 1)),
    ],
    "astype": [
        case(lambda x: s.astype(x, dtype=np.dtype(np.float64)), (3,)),
        case(lambda x: s.astype(x, dtype=np.dtype(np.int64)) * x, (3,)),
        case(lambda x: s.astype(x, dtype=np.dtype(np.float64)), ()),
    ],
    "stack": [
        case(lambda a, b, c: s.stack(a, b, c, axis=-1), (), (), ()),
        case(lambda a, b: s.stack(a, b, axis=-2), (3,), (3,)),
        case(lambda a, b: s.stack(a, np.ones((2, 3)), b, axis=-2), (2, 3), (2, 3)),
        case(lambda a: s.stack(a, axis=-1), (1,)),
        case(lambda a, b: s.stack(a, b, axis=-2), (0,), (0,)),
    ],
    "concatenate": [
        case(lambda a, b: s.concatenate(a, b, axis=-1), (2,), (3,)),
        case(lambda a, b: s.concatenate(a, np.ones((2, 2)), b, axis=-1), (2, 1), (2, 3)),
        case(lambda a, b: s.concatenate(a, b, axis=-2), (1, 3), (2, 3)),
        case(lambda a, b: s.concatenate(a, b, axis=-1), (0,), (2,)),
    ],
    "getitem": [
        case(lambda x: x[1], (3,)),
        case(lambda x: x[-1], (2, 3)),
        case(lambda x: x[1, 2], (2, 3)),
        case(lambda x: x[1:], (3,)),
        case(lambda x: x[::-2], (5,)),
        case(lambda x: x[..., 0], (2, 3)),
        case(lambda x: x[:, None, 1:], (2, 3)),
        case(lambda x: x[()], ()),
        case(lambda x: x[...], (2,)),
        case(lambda x: x[LARGE], (3,)),
        case(lambda x: x[LARGE], (3, 2)),
        case(lambda x: x[:, LARGE], (2, 3)),
        case(lambda x: x[ROWS, LARGE[:2]], (2, 3)),
        case(lambda x: x[0, :, LARGE], (2, 1, 3)),
        case(lambda x: x[[1, 1]], (2, 3)),
        case(lambda x: x[MASK], (3,)),
        case(lambda x: x[:, MASK], (2, 3)),
        case(lambda x: x[x > 0], (5,)),
        case(lambda x: x[np.argmax(x)], (4,)),
        case(lambda x: x[np.array([], dtype=int)], (3,)),
        case(lambda x: x[1:1], (3,)),
        case(lambda x: x[None], (0,)),
    ],
    "setitem": [
        case(lambda v, x: s.setitem(v, x, index=(1,)), (), (3,)),
        case(lambda v, x: s.setitem(v, x, index=(slice(1, None),)), (2,), (3,)),
        case(lambda v, x: s.setitem(v, x, index=(slice(None), 1)), (), (2, 3)),
        case(lambda v, x: s.setitem(v, x, index=(Ellipsis, slice(None, 2))), (2,), (4, 3)),
        case(lambda v, x: s.setitem(v, x, index=(Ellipsis,)), (3,), (2, 3)),
        case(lambda v, x: s.setitem(v, x, index=(LARGE,)), (4,), (3,)),
        case(lambda v, x: s.setitem(v, x, index=(MASK,)), (), (3,)),
        case(lambda v, x: s.setitem(v, x, np.argmax(x), index=(Operand(0),)), (), (3,)),
        case(lambda v: s.setitem(v, np.ones(3), index=(0,)), ()),
        case(lambda x: s.setitem(2.0, x, index=(0,)), (3,)),
        case(lambda v, x: s.setitem(v, x, index=(slice(0, 0),)), (0,), (0,)),
    ],
    "put": [
        case(lambda a, b: s.put(a, b, indices=((0,), (slice(0, 2),)), shape=(3,)), (), (2,)),
        case(lambda a: s.put(a, indices=((LARGE,),), shape=(3,)), (4,)),
        case(lambda a: s.put(a, indices=((slice(None), LARGE),), shape=(2, 3)), (2, 4)),
        case(lambda a: s.put(a, indices=((0,),), shape=(2, 3)), (3,)),
        case(lambda a, b: s.put(a, b, indices=((0,), (LARGE,)), shape=(3,), batch=1), (2,), (2, 4)),
        case(lambda a: s.put(a, indices=((0, slice(None), LARGE),), shape=(2, 1, 3), batch=1), (2, 4, 1)),
        case(lambda a: s.put(a, indices=((np.array([], dtype=int),),), shape=(3,)), (0,)),
    ],
    "scatter": [
        case(lambda a: s.scatter(a, np.argmax(a), index=(Operand(0),), shape=(3,)), ()),
        case(lambda a: s.scatter(a, LARGE, index=(Operand(0),), shape=(3,)), (4,)),
        case(lambda a: s.scatter(a, LARGE, index=(slice(None), Operand(0)), shape=(1, 3), batch=1), (2, 1, 4)),
    ],
    "where": [
        case(lambda a, b: s.where(MASK, a, b), (3,), (3,)),
        case(lambda a, b: s.where(MASK, a, b), (), (2, 1)),
        case(lambda a, b: s.where(a > b, a, b), (2, 1), (3,)),
        case(lambda a, b: s.where(a > b, a, 2.0), (), ()),
        case(lambda a: s.where(a > 0, a, 0.0), (0,)),
    ],
    "sum": [
        case(lambda x: s.sum_(x, axis=(-1,), keepdims=False), (3,)),
        case(lambda x: s.sum_(x, axis=(-2,), keepdims=False), (2, 3)),
        case(lambda x: s.sum_(x, axis=(-1,), keepdims=True), (2, 3)),
        case(lambda x: s.sum_(x, axis=(-3, -1), keepdims=False), (2, 3, 1)),
        case(lambda x: s.sum_(x, axis=(), keepdims=False), ()),
        case(lambda x: s.sum_(x, axis=(-1,), keepdims=False), (0,)),
        case(lambda x: s.sum_(x, axis=(-1,), keepdims=False), (0, 2)),
        case(lambda x: s.sum_(x, axis=(-2,), keepdims=True), (0, 2)),
    ],
    "cumsum": [
        case(lambda x: s.cumsum(x, axis=-1), (3,)),
        case(lambda x: s.cumsum(x, axis=-2), (2, 3)),
        case(lambda x: s.cumsum(x, axis=-1), (0,)),
    ],
    "recurrence": [
        case(lambda a, b: running.recurrence(a, b, axis=-1, back=False), (4,), (4,)),
        case(lambda a, b: running.recurrence(a, b, axis=-1, back=True), (4,), (4,)),
        case(lambda a, b: running.recurrence(a, b, axis=-2, back=False), (3, 2), (3, 2)),
        case(lambda a, b: running.recurrence(a, b, axis=-2, back=True), (3, 2), (3, 2)),
        case(lambda a, b: running.recurrence(a, b, axis=-1, back=True), (0,), (0,)),
    ],
    "cumprod": [
        case(lambda x: running.cumprod(x, axis=-1), (4,)),
        case(lambda x: running.cumprod(x, axis=-2), (3, 2)),
        case(lambda x: running.cumprod(x, axis=-1), (0,)),
    ],
    "prod": [
        case(lambda x: running.prod(x, axis=-1), (4,)),
        case(lambda x: running.prod(x, axis=-2), (3, 2)),
        case(lambda x: running.prod(x, axis=-1), (0,)),
    ],
    "cummax": [
        case(lambda x: running.running_maximum(x, axis=-1), (4,)),
        case(lambda x: running.running_maximum(x, axis=-2), (3, 2)),
    ],
    "cummin": [
        case(lambda x: running.running_minimum(x, axis=-1), (4,)),
        case(lambda x: running.running_minimum(x, axis=-2), (3, 2)),
    ],
    "max": [
        case(lambda x: s.max_(x, axis=(-1,), keepdims=False), (4,)),
        case(lambda x: s.max_(x, axis=(-2,), keepdims=False), (2, 3)),
        case(lambda x: s.max_(x, axis=(-2, -1), keepdims=True), (2, 3)),
        case(lambda x: s.max_(x, axis=(), keepdims=False), ()),
        case(lambda x: s.max_(x, axis=(-1,), keepdims=False), (0, 2)),
    ],
    "min": [
        case(lambda x: s.min_(x, axis=(-1,), keepdims=False), (4,)),
        case(lambda x: s.min_(x, axis=(-2,), keepdims=False), (2, 3)),
        case(lambda x: s.min_(x, axis=(-2, -1), keepdims=True), (2, 3)),
        case(lambda x: s.min_(x, axis=(-1,), keepdims=False), (1,)),
    ],
    "argmax": [
        case(lambda x: s.argmax(x, axis=None) * x, (3,)),
        case(lambda x: s.argmax(x, axis=0) * x, (2, 3)),
    ],
    "argmin": [
        case(lambda x: s.argmin(x, axis=None) * x, (3,)),
        case(lambda x: s.argmin(x, axis=-1), (2, 3)),
    ],
    "argsort": [
        case(lambda x: x[s.argsort(x, axis=-1, stable=True)], (4,)),
        case(lambda x: x[s.argsort(x, axis=-1, stable=False)], (4,)),
    ],
    "argpartition": [case(lambda x: x[s.argpartition(x, kth=2, axis=-1)][2], (5,))],
    "lexsort": [case(lambda x, y: x[s.lexsort(x, y, axis=-1)], (4,), (4,))],
    "searchsorted": [case(lambda x: x * s.searchsorted(np.array([-1.0, 0.0, 1.0]), x, side="left"), (3,))],
    "argwhere": [case(lambda x: x[s.argwhere(x > 0)[:, 0]], (5,))],
    "length": [case(lambda x: x * s.length(x), (3,))],
    "isin": [case(lambda x: x * s.isin(x, x[:1], invert=True), (3,))],
    "unique_positions": [case(lambda x: x[s.unique_positions(x, what=1, axis=None, equal_nan=True)], (4,))],
    "round": [case(lambda x: x * s.round_(x + 0.013, decimals=0), (3,)), case(lambda x: s.round_(x, decimals=0), ())],
    "exponent": [case(lambda x: x * s.exponent(x), (3,))],
    "spherical_jn": [case(lambda x: e.sinc_wave(x, order=0), (3,)), case(lambda x: e.sinc_wave(x, order=2), ())],
    "sinc": [case(lambda x: np.sinc(x), (2, 3)), case(lambda x: np.sinc(x * 0.0 + x), ())],
    "roll": [
        case(lambda x: s.roll(x, shift=(1,), axis=(-1,)), (4,)),
        case(lambda x: s.roll(x, shift=(-1, 2), axis=(-2, -1)), (2, 3)),
        case(lambda x: s.roll(x, shift=(1,), axis=(-1,)), (0,)),
    ],
    "unwrap": [case(lambda x: s.unwrap(1.7 * x, discont=None, axis=-1, period=2.0), (5,))],
    "add.reduceat": [
        case(lambda x: s.add_reduceat(x, indices=(0, 2, 1), axis=-1), (4,)),
        case(lambda x: s.add_reduceat(x, indices=(1, 1, 0), axis=-2), (3, 2)),
        case(lambda x: s.add_reduceat(x, indices=(), axis=-1), (3,)),
    ],
    "convolve": [
        case(lambda a, v: s.convolve(a, v, mode="full"), (4,), (2,)),
        case(lambda a, v: s.convolve(a, v, mode="valid"), (4,), (2,)),
        case(lambda a, v: s.convolve(a, v, mode="valid"), (3,), (3,)),
        case(lambda a, v: s.convolve(a, v, mode="full"), (1,), (1,)),
    ],
    "all": [case(lambda x: s.all_(x > 0, axis=(-1,), keepdims=True) * x, (2, 3))],
    "any": [case(lambda x: s.any_(x > 0, axis=(-1,), keepdims=True) * x, (2, 3))],
    "matmul": [
        case(s.matmul, (3,), (3,)),
        case(s.matmul, (2, 3), (3,)),
        case(s.matmul, (3,), (3, 2)),
        case(s.matmul, (2, 3), (3, 4)),
        case(s.matmul, (2, 1, 3), (3, 2)),
        case(s.matmul, (1, 3), (2, 3, 2)),
        case(s.matmul, (4, 1, 2, 3), (2, 3, 1)),
        case(lambda a: s.matmul(a, a.T), (2, 3)),
        case(lambda a: s.matmul(a, a), (3,)),
        case(s.matmul, (2, 0), (0, 3)),
        case(s.matmul, (0, 2), (2,)),
        case(s.matmul, (1, 1), (1,)),
    ],
    "cross": [
        case(lambda a, b: s.cross(a, b), (3,), (3,)),
        case(lambda a, b: s.cross(a, b), (2, 3), (3,)),
        case(lambda a, b: s.cross(a, b), (3,), (2, 3)),
        case(lambda a, b: s.cross(a, b), (4, 1, 3), (2, 3)),
        case(lambda a, b: s.cross(a, b), (0, 3), (3,)),
        case(lambda a: s.cross(a, a + 1.0), (2, 3)),
    ],
}
STRUCTURAL = [
    pytest.param(f, shapes, id=f"{name}-{k}-{'-'.join(map(str, shapes)).replace(' ', '')}")
    for name, cases in CASES.items()
    for k, (f, shapes) in enumerate(cases)
]


def test_every_primitive_is_tested():
    missing = [
        p.name
        for p in PRIMITIVES.values()
        if not p.elementwise and p.name not in CASES and p.name not in SPECIAL | OF_MATRICES | OF_SIGNALS
    ]
    assert not missing, f"give these primitives cases in CASES: {missing}"


def structural_case(f, shapes):
    """Bend the operands first (keeping their order), so that linear ones too have second derivatives."""

    def bent(*xs):
        return f(*[x + 0.1 * x * x for x in xs])

    rng = np.random.default_rng(3)
    args = [
        rng.choice([-1.0, 1.0], shape) * (0.6 + 0.13 * k + 0.4 * rng.permutation(math.prod(shape)).reshape(shape))
        for k, shape in enumerate(shapes)
    ]
    return bent, [np.float64(a) if np.ndim(a) == 0 else a for a in args]


@pytest.mark.parametrize(("f", "shapes"), STRUCTURAL)
def test_structural_first_order(f, shapes):
    assert_first_order(*structural_case(f, shapes))


@pytest.mark.parametrize(("f", "shapes"), STRUCTURAL)
def test_structural_second_order(f, shapes):
    g, args = structural_case(f, shapes)
    assert_second_order(lambda *xs: 1.0 * g(*xs), args)


@pytest.mark.parametrize(("f", "shapes"), [p for p in STRUCTURAL if "astype" not in p.id])
def test_structural_single_precision(f, shapes):
    assert_single_precision(*structural_case(f, shapes))


def test_conversion_to_another_precision():
    x = np.array([0.5, 2.0, -1.0])

    def f(x):
        return np.sum(np.sin(x.astype(np.float32)) * x)

    gradient = wg.grad(f)(x)
    assert gradient.dtype == np.float64
    assert_close(gradient, np.sin(x) + x * np.cos(x), 1e-6)


# ---- What the rules read ----


@pytest.mark.parametrize(
    ("f", "shapes"), [*STRUCTURAL, *[p for p in POINTS if p.values[1] in (((3,),), ((2, 1), (3,)))]]
)
def test_rules_read_only_what_their_parameters_say(f, shapes):
    if hasattr(f, "numpy"):
        f, args = elementwise_case(f, shapes)
    else:
        f, args = structural_case(f, shapes)
    linearization = Linearization.of_program(wg.trace(f)(*args), *args)
    for row in linearization.rows:
        primitive, parents, kept, params, place, out = row
        reads = primitive.keeps or (False,)
        stripped = tuple(
            value if reads[min(k, len(reads) - 1)] or not hasattr(value, "shape") else Shaped(value.shape, value.dtype)
            for k, value in enumerate(kept)
        )
        pairs = zip(edges(row), edges((primitive, parents, stripped, params, place, out)), strict=True)
        for (*position, J), (*position_stripped, J_stripped) in pairs:
            assert position == position_stripped
            np.testing.assert_array_equal(J.dense(), J_stripped.dense())


def test_a_rule_that_reads_what_it_says_it_does_not_is_seen():
    cube = wg.define("liar", lambda x: x**3, lambda _y, _x: 3 * _x * _x)
    try:
        with pytest.raises(TypeError):
            wg.grad(lambda x: np.sum(cube(x)))(np.ones(1000))
    finally:
        wg.undefine("liar")


def test_the_result_comes_first_in_every_rule():
    for primitive in PRIMITIVES.values():
        for rule in primitive.partials:
            if rule is not None:
                names = list(inspect.signature(rule).parameters)[primitive.variadic :]
                assert names[0] in ("y", "_y"), primitive.name


# ---- Conventions where the derivative does not exist ----


def slope(f, *args):
    return tuple(float(g) for g in wg.grad(f, tuple(range(len(args))))(*args))


KINKS = [
    ("absolute", np.abs, (0.0,), (0.0,)),
    ("fabs", np.fabs, (0.0,), (0.0,)),
    ("maximum", np.maximum, (1.0, 1.0), (0.5, 0.5)),
    ("minimum", np.minimum, (1.0, 1.0), (0.5, 0.5)),
    ("fmax", np.fmax, (1.0, 1.0), (0.5, 0.5)),
    ("fmin", np.fmin, (1.0, 1.0), (0.5, 0.5)),
    ("hypot", np.hypot, (0.0, 0.0), (0.0, 0.0)),
    ("remainder", np.remainder, (4.0, 2.0), (1.0, -2.0)),
    ("fmod", np.fmod, (4.0, 2.0), (1.0, -2.0)),
    ("sign", np.sign, (0.0,), (0.0,)),
    ("direction", lambda x: np.real(np.sign(x + 0j)), (0.0,), (0.0,)),
    ("floor", np.floor, (2.0,), (0.0,)),
    ("ceil", np.ceil, (2.0,), (0.0,)),
    ("trunc", np.trunc, (2.0,), (0.0,)),
    ("rint", np.rint, (2.5,), (0.0,)),
    ("floor_divide", np.floor_divide, (4.0, 2.0), (0.0, 0.0)),
    ("heaviside", np.heaviside, (0.0, 0.5), (0.0, 1.0)),
    ("heaviside", np.heaviside, (1.0, 0.5), (0.0, 0.0)),
]


@pytest.mark.parametrize(("name", "f", "point", "expected"), KINKS)
def test_convention_at_a_kink(name, f, point, expected):
    assert PRIMITIVES[name].kink
    assert slope(f, *point) == expected


def test_every_stated_kink_is_tested():
    stated = {p.name for p in PRIMITIVES.values() if p.kink and p.name not in SPECIAL | OF_MATRICES}
    assert stated <= {name for name, *_ in KINKS} | {
        "sqrt",
        "max",
        "min",
        "cummax",
        "cummin",
        "root",
        "inverse",
        "round",
        "spacing",
        "unwrap",
    }


def test_ties_of_reductions_are_shared():
    x = np.array([3.0, 1.0, 3.0, 3.0])
    np.testing.assert_allclose(wg.grad(np.max)(x), np.array([1.0, 0.0, 1.0, 1.0]) / 3)
    np.testing.assert_allclose(wg.grad(np.min)(-x), np.array([1.0, 0.0, 1.0, 1.0]) / 3)


def test_sqrt_at_zero_is_infinite_and_says_so():
    with pytest.warns(wg.DomainWarning if hasattr(wg, "DomainWarning") else RuntimeWarning, match="sqrt"):
        assert wg.grad(np.sqrt)(0.0) == np.inf


SMOOTH = {
    "norm": (lambda x: np.linalg.norm(x) ** 2, 2 * np.eye(2)),
    "norm, times itself": (lambda x: (lambda n: n * n)(np.linalg.norm(x)), 2 * np.eye(2)),
    "norms of rows": (lambda x: np.sum(np.linalg.norm(np.stack([x, 2 * x]), axis=1) ** 2), 10 * np.eye(2)),
    "norm of a matrix": (lambda x: np.square(np.linalg.norm(np.outer(x, x[:1] + 1))), 2 * np.eye(2)),
    "hypot": (lambda x: np.power(np.hypot(x[0], x[1]), 2), 2 * np.eye(2)),
    "modulus": (lambda x: np.abs(x[0] + 1j * x[1]) ** 2.0, 2 * np.eye(2)),
    "absolute values": (lambda x: np.sum(np.abs(x) ** 2), 2 * np.eye(2)),
    "fabs": (lambda x: np.sum(np.fabs(x) ** 2), 2 * np.eye(2)),
    "std": (lambda x: np.std(x) ** 2, np.array([[0.5, -0.5], [-0.5, 0.5]])),
    "root of squares": (lambda x: np.sqrt(np.sum(x**2)) ** 2, 2 * np.eye(2)),
    "root of a fourth power": (lambda x: np.sum(np.sqrt(x**4)), 2 * np.eye(2)),
    "root of a sixth power": (lambda x: np.sum(np.sqrt(x**6)), np.zeros((2, 2))),
    "kernel": (lambda x: np.exp(-0.5 * np.linalg.norm(x) ** 2), -np.eye(2)),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_squares_of_roots_are_smooth_at_zero(name):
    f, expected = SMOOTH[name]
    zero, elsewhere = np.zeros(2), np.array([0.3, -0.7])
    with np.errstate(all="ignore"):  # the derivative of np.sqrt alone is infinite, and nobody reads it
        for second in (wg.hessian(f), wg.jacobian(wg.grad(f), mode="forward"), wg.hessian(wg.trace(f)(elsewhere))):
            np.testing.assert_allclose(second(zero), expected, atol=1e-15)
        second = wg.vmap(wg.hessian(f))(np.stack([elsewhere, zero, zero]))
        np.testing.assert_allclose(second, [wg.hessian(f)(elsewhere), expected, expected], atol=1e-15)
    assert wg.trace(f)(elsewhere)(elsewhere) == f(elsewhere)
    assert_first_order(f, [elsewhere])
    assert_second_order(f, [elsewhere])


def test_a_vector_without_length_has_no_direction():
    assert float(e.unit(0.0, 0.0)) == float(e.inverse(0.0)) == 0.0


@pytest.mark.parametrize("f", [np.linalg.norm, lambda x: np.hypot(*x), lambda x: np.abs(x[0] + 1j * x[1])])
def test_the_second_derivative_of_a_root_at_zero_is_not_quietly_zero(f):
    with pytest.warns(wg.errors.DomainWarning):
        assert not np.all(np.isfinite(wg.hessian(f)(np.zeros(2))))


def test_powers_at_the_edge_of_their_domain():
    assert slope(lambda x: x**2, 0.0) == (0.0,)
    assert slope(lambda x: x**2.0, -3.0) == (-6.0,)
    assert slope(lambda x: x**3, -2.0) == (12.0,)
    assert slope(lambda x: x**0, 0.0) == (0.0,)
    assert slope(lambda x: x**1, 0.0) == (1.0,)
    assert slope(np.power, 0.0, 2.0) == (0.0, 0.0)
    assert slope(np.power, 2.0, 0.0) == pytest.approx((0.0, math.log(2.0)))
    np.testing.assert_array_equal(wg.grad(lambda x: np.sum(x ** np.array([0, 1, 2, 3])))(np.zeros(4)), [0, 1, 0, 0])
    assert slope(wg.grad(lambda x: x**2), 0.0) == (2.0,)
    assert slope(wg.grad(lambda x: x**1), 0.0) == (0.0,)
    assert slope(wg.grad(wg.grad(lambda x: x**3)), 0.0) == (6.0,)


def test_where_lets_no_nan_of_the_other_branch_through():
    x = np.array([-1.0, 4.0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gradient = wg.grad(lambda x: np.sum(np.where(x > 0, np.sqrt(np.where(x > 0, x, 1.0)), 0.0)))(x)
    np.testing.assert_array_equal(gradient, [0.0, 0.25])


def test_logaddexp_of_equal_infinities():
    with np.errstate(invalid="ignore"):
        assert slope(np.logaddexp, -np.inf, 0.0) == (0.0, 1.0)
        assert slope(np.logaddexp, 0.0, -np.inf) == (1.0, 0.0)


def test_extreme_values_do_not_overflow():
    assert slope(np.tanh, 400.0) == (0.0,)
    assert slope(np.hypot, 3e200, 4e200) == pytest.approx((0.6, 0.8))
    assert slope(np.logaddexp, 1000.0, 0.0) == (1.0, 0.0)
    assert slope(np.arctan, 1e10)[0] == pytest.approx(1e-20)
