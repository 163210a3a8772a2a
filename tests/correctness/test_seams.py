"""Seams: where plain NumPy meets a traced value, that is the array it stands for, or an error says what to write."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import math
import pickle
import warnings
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from numpy import array as by_name
from numpy import asanyarray as alias
from numpy import zeros
from support.truth import differences

import wengert as wg
from wengert.errors import DecisionWarning, LostGradientError, UnsupportedError
from wengert.tracing import Traced

X = np.array([1.0, 2.0])

# ---- A traced value shows the attributes of an array, nothing more ----


def strip(q):
    return q.value if hasattr(q, "value") else q


def test_code_that_takes_quantities_keeps_the_derivative():
    def f(x):
        return np.sum(strip(x) ** 2)

    assert wg.grad(f)(X).tolist() == [2.0, 4.0]
    assert wg.hessian(f)(X).tolist() == [[2.0, 0.0], [0.0, 2.0]]
    assert wg.jvp(f, (X,), (X,))[1] == 10.0
    assert wg.grad(lambda x: getattr(x[0], "value", x[0]) ** 2)(X).tolist() == [2.0, 0.0]


@pytest.mark.parametrize("scalar", [False, True])
def test_public_attributes_are_those_of_an_array(scalar):
    plain = np.float64(1.0) if scalar else X.copy()
    names = {name for name in [*vars(Traced), *dir(Traced)] if not name.startswith("_")}

    def f(x):
        traced = x[0] if scalar else x
        shown.extend(name for name in sorted(names) if name not in ("mT",) and hasattr(traced, name))
        return np.sum(x)

    shown: list[str] = []
    wg.grad(f)(X)
    wg.trace(f)(X)
    methods_of_arrays = {"dot", "partition", "argpartition"}  # which NumPy gives to its scalars, too, under other names
    assert [name for name in shown if not hasattr(plain, name) and name not in methods_of_arrays] == []


def test_elements_of_object_arrays_have_the_functions_that_numpy_calls():
    def f(x):
        elements = np.empty(2, object)
        elements[0], elements[1] = x[0], x[1]
        return np.exp(elements).sum()

    np.testing.assert_allclose(wg.grad(f)(X), np.exp(X))
    with pytest.raises(AttributeError, match=r"'numpy\.ndarray' object has no attribute 'exp'"):
        wg.grad(lambda x: x.exp())(X)


# ---- Arrays that the function itself has made take traced values ----

DATA = np.arange(6.0) + 1.0
MATRIX = DATA.reshape(2, 3)
WEIGHTS = np.array([0.5, -1.0, 2.0, 1.5, -0.5, 3.0])

MAKERS = {
    "copy": lambda: DATA.copy(),
    "astype": lambda: DATA.astype(np.float64),
    "product": lambda: DATA * 1.0,
    "negative": lambda: -DATA,
    "matmul": lambda: np.eye(6) @ DATA,
    "where": lambda: np.where(DATA > 2, DATA, 0.0),
    "linspace": lambda: np.linspace(0, 1, 6),
    "geomspace": lambda: np.geomspace(1, 2, 6),
    "r_": lambda: np.r_[1.0, 2, 3, 4:7],
    "c_": lambda: np.c_[DATA, DATA][:, 0],
    "tri": lambda: np.tri(6)[2],
    "sort": lambda: np.sort(DATA),
    "cumsum": lambda: DATA.cumsum(),
    "random": lambda: np.random.default_rng(0).normal(size=6),
    "mask": lambda: DATA[DATA > 0],
    "concatenate": lambda: np.concatenate([DATA[:2], DATA[2:]]),
    "tile": lambda: np.tile(DATA[:3], 2),
    "fromiter": lambda: np.fromiter(range(6), float),
    "frombuffer copied": lambda: np.frombuffer(DATA.tobytes()).copy(),
    "diff": lambda: np.diff(DATA, prepend=0.0),
    "outer": lambda: np.multiply.outer(DATA, np.ones(1)).ravel(),
    "complex": lambda: np.exp(1j * DATA),
    "meshgrid": lambda: np.meshgrid(DATA, np.ones(1))[0][0],
    "polyfit": lambda: np.polynomial.polynomial.polyfromroots(DATA[:5]),
}


@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS.keys())
def test_an_array_made_inside_takes_traced_values(maker):
    def f(x):
        y = maker()
        y[1] = x[0] ** 2
        y[2:4] *= x
        y[5] += x[1]
        return np.sum(WEIGHTS * np.abs(y) ** 2)

    expected = differences(f, (X,), 0)
    np.testing.assert_allclose(wg.grad(f)(X), expected, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(wg.grad(wg.trace(f)(X))(X), expected, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose([wg.jvp(f, (X,), (e,))[1] for e in np.eye(2)], expected, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(wg.vmap(wg.grad(f))(np.stack([X, 2 * X]))[0], expected, rtol=1e-8, atol=1e-9)


def in_parts(x):
    y = MATRIX + 0.0
    y[0] = x[0]
    y[1][2] = x[1]
    y.T[1] = x
    y.flat[3] = x[0] * x[1]
    y[:, len(x)] -= x
    return np.sum(WEIGHTS * y.ravel() ** 2)


def under_two_names(x):
    y = DATA + 0.0
    z = y
    y[0] = x[0]
    z[1] = x[1] * y[0]
    return np.sum(WEIGHTS * z**2)


def by_a_helper(x):
    def set_ends(values, first, last):
        values[0], values[-1] = first, last

    y = DATA + 0.0
    set_ends(y, x[0], x[1])
    return np.sum(WEIGHTS * y**2)


def by_a_closure(x):
    def set_first(value):
        y[0] = value

    y = DATA + 0.0
    set_first(x[0])
    return np.sum(WEIGHTS * y**2)


def in_a_loop(x):
    total = 0.0
    for k in range(3):
        y = DATA * k
        y[k] = x[0] * k
        y[k - 1] -= x[1]
        y *= x[0]
        total = total + np.sum(WEIGHTS * y**2)
    return total


def by_functions(x):
    y, z = DATA + 0.0, DATA[:2] + 0.0
    np.put(y, [0, 1], x)
    np.put_along_axis(y, np.array([2, 3]), 2.0 * x, axis=0)
    np.add.at(y, [4, 4, 5], x[0])
    np.copyto(z, x)
    np.putmask(y, y > 6.5, y * 3.0)
    return np.sum(WEIGHTS * y**2) + np.sum(z**3)


def one_dimensional_lists(x):
    y = DATA + 0.0
    y[0:2] = np.array([x[0], 3.0 * x[1]])
    return np.sum(WEIGHTS * y**2)


@pytest.mark.parametrize(
    "f", [in_parts, under_two_names, by_a_helper, by_a_closure, in_a_loop, by_functions, one_dimensional_lists]
)
def test_all_variables_that_hold_an_array_see_what_is_written(f):
    expected = differences(f, (X,), 0)
    np.testing.assert_allclose(wg.grad(f)(X), expected, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(wg.grad(wg.trace(f)(X))(X), expected, rtol=1e-8, atol=1e-9)


SHARED = DATA.copy()


def through_a_view(x):
    y = DATA + 0.0
    part = y[1:]
    y[1] = x[0]
    return np.sum(part**2)


def held_in_a_list(x):
    rows = [DATA + 0.0]
    y = rows[0]
    y[0] = x[0]
    return np.sum(rows[0] ** 2)


def while_it_is_walked_along(x):
    y = MATRIX + 0.0
    for row in y:
        row[0] = x[0]
    return np.sum(y**2)


def of_a_global(x):
    SHARED[0] = x[0]
    return np.sum(SHARED**2)


def of_a_view_of_a_global(x):
    part = SHARED[:3]
    part[0] = x[0]
    return np.sum(SHARED**2)


def of_a_global_in_place(x):
    part = SHARED[:2]
    part *= x
    return np.sum(SHARED**2)


def a_list(x):
    y = DATA + 0.0
    y[:2] = [x[0], 2.0]
    return np.sum(y**2)


def a_list_of_rows(x):
    y = MATRIX[:, :2] + 0.0
    y[:] = [x, X]  # with the same values
    return np.sum(y**2 * np.arange(4.0).reshape(2, 2))


def an_array_of_objects(x):
    elements = np.empty(2, object)
    elements[0], elements[1] = x[0], 1.0
    y = DATA + 0.0
    y[:2] = elements
    return np.sum(y**2)


def filled(x):
    y = DATA + 0.0
    y.fill(x[0])
    return np.sum(y**2)


REFUSED = [
    through_a_view, held_in_a_list, while_it_is_walked_along, of_a_global, of_a_view_of_a_global, of_a_global_in_place,
    a_list, a_list_of_rows, an_array_of_objects, filled,
]  # fmt: skip


@pytest.mark.parametrize("f", REFUSED)
def test_a_write_that_others_may_see_is_refused(f):
    before = SHARED.copy()
    try:
        for derivative in (wg.grad(f), wg.trace(f)):
            with pytest.raises(LostGradientError, match=r"(?s)File .*np\.array"):
                derivative(X)
    finally:
        SHARED[...] = before


# ---- Positions, of which there is no derivative ----


def ranks(x):
    r = np.zeros(4, int).copy()
    r[:] = np.argsort(x)
    return np.sum(r * x)


def ranks_along(x):
    r = np.zeros(4, int)
    np.put_along_axis(r, np.argsort(x), np.arange(4), axis=0)
    return np.sum(r * x)


INTEGERS = np.zeros(4, int)


def ranks_in_a_global(x):
    INTEGERS[:] = np.argsort(x)
    return np.sum(INTEGERS * x)


def ranks_of_scipy(x):
    return np.sum(scipy.stats.rankdata(x) * x)


def counted(x):
    counts = np.zeros(3, int)
    for k in range(3):
        counts[k] = np.sum(x > k)
    return np.sum(counts * x[:3])


@pytest.mark.parametrize("f", [ranks, ranks_along, ranks_in_a_global, ranks_of_scipy, counted])
def test_positions_are_written_into_plain_arrays(f):
    x = np.array([0.5, 1.5, 2.5, 0.2])
    expected = differences(f, (x,), 0, 1e-3)
    np.testing.assert_allclose(wg.grad(f)(x), expected, rtol=1e-8, atol=1e-9)
    program = wg.trace(f)(x)
    assert program(x) == f(x)
    np.testing.assert_allclose(wg.grad(program)(x), expected, rtol=1e-8, atol=1e-9)
    assert "passes" in str(wg.plan(f)(x))
    np.testing.assert_allclose(wg.vmap(f)(np.stack([x, x])), [f(x)] * 2)


@pytest.mark.parametrize("f", [ranks, ranks_along, ranks_of_scipy])
def test_members_of_a_batch_may_be_ranked_otherwise(f):
    x = np.array([[0.5, 1.5, 2.5, 0.2], [3.0, 1.0, 2.0, 0.0]])
    np.testing.assert_allclose(wg.vmap(f)(x), [f(row) for row in x])


# ---- Methods of plain arrays with traced arguments ----

METHODS = {
    "dot of a vector": lambda x: MATRIX[:, :2].dot(x),
    "dot of a matrix": lambda x: MATRIX[:, :2].dot(np.outer(x, x)),
    "dot of numbers": lambda x: MATRIX[:, :2].dot([x[0], 3.0]),
    "dot of a scalar": lambda x: MATRIX.dot(x[0]),
    "dot of complex numbers": lambda x: np.abs((MATRIX[:, :2] + 1j).dot(x)),
    "clip": lambda x: MATRIX.clip(x[0] + 0.5, x[1] + 1.5),
    "clip from below": lambda x: MATRIX.clip(min=x[1] + 0.5),
    "choose": lambda x: np.array([0, 1]).choose([x, x**2]),
    "searchsorted": lambda x: DATA.searchsorted(x + 0.5) * x,
    "take": lambda x: DATA.take(np.argsort(-x)) * x,
    "compress": lambda x: MATRIX[:, :2].compress(x > 1.5, axis=1) * x[0],
    "sum where": lambda x: MATRIX[:, :2].sum(axis=0, where=x > 1.5) * x,
    "matmul": lambda x: MATRIX[:, :2].__matmul__(x),
}


@pytest.mark.parametrize("f", METHODS.values(), ids=METHODS.keys())
def test_methods_of_plain_arrays_take_traced_arguments(f):
    def g(x):
        return np.sum(np.sin(f(x)))

    x = np.array([1.1, 2.3])
    np.testing.assert_allclose(wg.grad(g)(x), differences(g, (x,), 0, 1e-3), rtol=1e-7, atol=1e-9)
    program = wg.trace(f)(x)
    np.testing.assert_allclose(program(x), f(x))
    assert len(program.lines) < 10


def test_methods_of_plain_arrays_stay_what_they_are():
    wg.grad(lambda x: DATA[:2].dot(x))(X)
    assert DATA.dot(DATA) == np.sum(DATA**2)
    assert np.ndarray.dot.__name__ == "dot"
    assert pickle.loads(pickle.dumps(np.ndarray.dot)) is np.ndarray.dot
    assert np.ma.array(DATA, mask=DATA > 3).dot(DATA) == 14.0
    with pytest.raises(LostGradientError, match="File"):
        wg.grad(lambda x: DATA.sum(initial=x[0]))(X)


# ---- An error that the function itself catches is raised all the same ----


def number(value):
    try:
        return float(value)
    except (TypeError, ValueError):
        return 0.0


def penalized(x):
    try:
        return scipy.optimize.brentq(lambda t: t**3 - x[0], 0, 3)
    except Exception:
        return 1e6


def suppressed(x):
    with contextlib.suppress(TypeError):
        return float(x[0]) ** 2
    return x[1]


def in_a_default(x):
    return next((math.exp(value) for value in x[:1] if value > 9), 0.0) + number(x[0]) * x[1]


def by_another_name(x):
    try:
        return complex(x[0]).real
    except NotImplementedError:
        return x[0]
    except TypeError:
        return x[1]


def in_a_helper_of_a_class(x):
    class Model:
        def value(self):
            try:
                return json.dumps(float(x[0]))
            except TypeError:
                return None

    return x[0] if Model().value() is None else x[1]


def without_a_rule(x):
    try:
        return np.sum(np.sort_complex(x).real)
    except NotImplementedError:
        return np.sum(x)


def at_the_end(x):
    try:
        return float(np.sum(x**2))
    finally:
        number(x[0])


def caught_twice(x):
    return number(x[0]) + number(x[1]) + np.sum(x)


def while_writing(x):
    with contextlib.suppress(TypeError):
        SHARED[0] = x[0]
    return np.sum(x * SHARED[:2])


CATCHING = [
    lambda x: number(x[0]) ** 2 + x[1], penalized, suppressed, in_a_default, by_another_name, in_a_helper_of_a_class,
    without_a_rule, at_the_end, caught_twice, while_writing,
]  # fmt: skip


@pytest.mark.parametrize("f", CATCHING)
def test_an_error_that_the_function_catches_is_raised_when_it_returns(f):
    for derivative in (wg.grad(f), wg.jacobian(f), wg.trace(f), wg.hessian(f), lambda x: wg.jvp(f, (x,), (x,))):
        with pytest.raises((LostGradientError, UnsupportedError), match="File"):
            derivative(X)
    assert wg.grad(lambda x: np.sum(x**2))(X).tolist() == [2.0, 4.0]  # nothing is left behind


def test_errors_that_numpy_raises_too_may_be_caught():
    def f(x):
        try:
            return np.sum(np.linalg.inv(np.outer(x, x)))
        except np.linalg.LinAlgError:
            return np.sum(x**2)

    def g(x):
        try:
            return np.sum(x + np.ones(3))
        except ValueError:
            return np.sum(x**3)

    np.testing.assert_allclose(wg.grad(f)(X), 2 * X)
    np.testing.assert_allclose(wg.grad(g)(X), 3 * X**2)


def test_an_error_of_an_inner_derivative_may_be_caught():
    def f(x):
        try:
            inner = wg.grad(lambda t: float(t) * x[0])(1.0)  # this raises without an outer derivative, too
        except LostGradientError:
            inner = x[1]
        return inner * x[0]

    assert f(X) == 2.0
    np.testing.assert_allclose(wg.grad(f)(X), [2.0, 1.0])


# ---- Arrays that mean more than their elements ----

MASKED = np.ma.array([1.0, 2.0, 3.0], mask=[False, True, False])
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    SQUARE = np.matrix([[1.0, 2.0], [3.0, 4.0]])


class Length(np.ndarray):
    """Lengths in kilometres: their products are in metres."""

    def __mul__(self, other):
        return 1000.0 * np.asarray(self) * other

    __rmul__ = __mul__


class Named(np.ndarray):
    """An array that carries a name, and computes as any other."""

    def __array_finalize__(self, other):
        self.name = getattr(other, "name", "")


class Labelled:
    """Elements with labels, as a column of a table has them: it is no ndarray, and takes ufuncs into its own hands."""

    def __init__(self, elements):
        self.elements = elements

    def __array__(self, dtype=None, copy=None):
        return np.array(self.elements, dtype)

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        plain = [x.elements if isinstance(x, Labelled) else x for x in inputs]
        return Labelled(getattr(ufunc, method)(*plain, **kwargs))

    def __mul__(self, other):
        return Labelled(self.elements * other)

    __rmul__ = __mul__

    def sum(self):
        return self.elements[self.elements > 1.5].sum()


KILOMETRES, TABLE = np.array([1.0, 2.0, 3.0]).view(Length), Labelled(np.array([1.0, 2.0, 3.0]))
THREE = np.array([0.5, 1.5, 2.5])

NAMED = {
    "x * masked": (lambda x: np.sum(x * MASKED), "numpy.ma.MaskedArray"),
    "masked * x": (lambda x: np.sum(MASKED * x), "numpy.ma.MaskedArray"),
    "mean of masked": (lambda x: ((x - MASKED) ** 2).mean(), "numpy.ma.MaskedArray"),
    "maximum of masked": (lambda x: np.maximum(x, MASKED).sum(), "numpy.ma.MaskedArray"),
    "inner product": (lambda x: np.inner(x, MASKED), "numpy.ma.MaskedArray"),
    "masked where": (lambda x: np.ma.masked_where(x > 1, x).sum(), "numpy.ma.MaskedArray"),
    "masked index": (lambda x: x[np.ma.array([0, 1], mask=[False, True])].sum(), "numpy.ma.MaskedArray"),
    "a mask of a comparison": (lambda x: np.sum(x * (MASKED > 1.5)), "numpy.ma.MaskedArray"),
    "matrix * x": (lambda x: np.sum(SQUARE * x[:2].reshape(2, 1)), "numpy.matrix"),
    "x * matrix": (lambda x: np.sum(x[:2].reshape(1, 2) * SQUARE), "numpy.matrix"),
    "matrix @ x": (lambda x: np.sum(SQUARE @ x[:2].reshape(2, 1)), "numpy.matrix"),
    "dot of a matrix": (lambda x: np.dot(SQUARE, x[:2].reshape(2, 1)).sum(), "numpy.matrix"),
    "units": (lambda x: np.sum(x * KILOMETRES), "Length"),
}


def test_labels_are_kept():
    for f in (lambda x: (x * TABLE).sum(), lambda x: (TABLE * x).sum(), lambda x: (np.exp(x) + TABLE).sum()):
        np.testing.assert_allclose(wg.grad(f)(THREE), differences(f, (THREE,), 0), rtol=1e-7)


@pytest.mark.parametrize(("f", "name"), NAMED.values(), ids=NAMED.keys())
def test_a_class_of_arrays_that_means_more_is_named(f, name):
    for derivative in (wg.grad(f), wg.trace(f)):
        with pytest.raises(UnsupportedError, match=rf"(?s){name}.*File"):
            derivative(THREE)


@pytest.mark.not_compiled("jit refuses these in words of its own")
@pytest.mark.parametrize("array", [MASKED, SQUARE, KILOMETRES])
def test_an_argument_that_means_more_is_refused(array):
    for transformation in (wg.grad, wg.jacobian, wg.trace, wg.vmap):
        with pytest.raises(UnsupportedError, match=type(array).__name__):
            transformation(lambda x: np.sum(x * x))(array)


def test_arrays_that_compute_as_any_other_are_taken(tmp_path):
    mapped = np.memmap(tmp_path / "data", dtype=float, mode="w+", shape=3)
    mapped[:] = [1.0, 2.0, 3.0]
    named = np.array([1.0, 2.0, 3.0]).view(Named)
    for data in (mapped, named):
        assert wg.grad(lambda x, data=data: np.sum(x * data) + np.dot(data, x))(THREE).tolist() == [2.0, 4.0, 6.0]
        assert wg.grad(lambda q: np.sum(q * q))(data).tolist() == [2.0, 4.0, 6.0]


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_the_number_is_numpys_where_the_class_does_without_wengert():
    for f in (
        lambda x: MASKED.sum() * x[0],
        lambda x: (np.ones(3) * MASKED).sum() * x[0],
        lambda x: (SQUARE * np.ones((2, 1))).sum() * x[0],
        lambda x: (np.ones((1, 2)) * SQUARE).sum() * x[0],
        lambda x: np.multiply(np.ones((2, 2)), SQUARE).sum() * x[0],
        lambda x: (np.ones(3) * TABLE).sum() * x[0],
        lambda x: (TABLE * x).sum(),
        lambda x: np.sum(KILOMETRES * x),
        lambda x: np.sum(x[MASKED.mask]),
        lambda x: np.where(MASKED.mask, 0.0, x * MASKED.data).sum(),
    ):
        np.testing.assert_allclose(wg.grad(f)(THREE), differences(f, (THREE,), 0, 1e-3), rtol=1e-9, atol=1e-9)


def test_elements_are_copied_into_an_array():
    def f(x):
        y = np.zeros(3)
        y[:] = MASKED
        y += KILOMETRES
        return np.sum(y * x)

    np.testing.assert_allclose(wg.grad(f)(THREE), [2.0, 4.0, 6.0])


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_a_product_of_matrices_of_traced_values_is_an_array_again():
    a = np.arange(4.0).reshape(2, 2)
    product = wg.jacobian(lambda a: np.asarray(np.matrix(a) * np.matrix(a)))(a)
    np.testing.assert_array_equal(product, wg.jacobian(lambda a: a @ a)(a))


# ---- Results that depend on an argument through decisions alone ----


def bisected(c):
    low, high = 0.0, 3.0
    for _ in range(50):
        middle = 0.5 * (low + high)
        if middle**3 < c:
            low = middle
        else:
            high = middle
    return low


def counted_in_a_loop(c):
    n, total = 0, 0.0
    while total < c:
        n, total = n + 1, total + 0.1
    return n * 0.1


def halved(c):
    n = 0
    while c > 1.0:
        c = c / 2.0
        n += 1
    return float(n)


DECIDED = {
    "bisection": (bisected, 2.0, "if middle**3 < c:"),
    "counter": (counted_in_a_loop, 2.0, "while total < c:"),
    "halvings": (halved, 9.0, "while c > 1.0:"),
    "argmax": (lambda x: 0.5 * np.argmax(x), X, "np.argmax(x)"),
    "argmax, the first": (lambda x: 0.5 * np.argmax(-x), X, "np.argmax(-x)"),
    "argmax method": (lambda x: 0.5 * x.argmax(), X, "x.argmax()"),
    "argsort": (lambda x: np.sum(np.argsort(x) * 0.5), X, "np.argsort(x)"),
    "searchsorted": (lambda x: DATA[np.searchsorted(DATA, x[0])], X, "np.searchsorted(DATA, x[0])"),
    "share of a mask": (lambda x: np.mean(x > 1.5), X, "x > 1.5"),
    "steps": (lambda x: np.sum(np.where(x > 1.5, 1.0, 2.0)), X, "x > 1.5"),
    "table": (lambda c: DATA[int(c)], 2.5, "int(c)"),
    "first of": (lambda x: next(k for k in range(5) if k > x[0]) * 1.0, X, "k > x[0]"),
    "grid search": (lambda c: min(np.linspace(0, 1, 11).tolist(), key=lambda t: (t - c) ** 2 > 0.1), 0.5, "> 0.1"),
}


TEXT = {
    "f-string": lambda c: float(f"{c:.3f}e0"),
    "percent": lambda c: float("%.3f" % c),  # noqa: UP031
    "joined": lambda c: float("".join([str(c), "0"])),
    "evaluated": lambda c: eval(f"2 * {c!r}"),
    "exact": lambda c: float(Decimal(str(c))),
    "JSON": lambda c: json.loads(f'{{"c": {c}}}')["c"],
    "printed": lambda c: float(shown(c)),
    "array of texts": lambda c: np.array([f"{c}", "1.0"]).astype(float)[0],
}


def shown(value):
    stream = io.StringIO()
    stream.write(str(value))
    return stream.getvalue()


ON_TEXT = {
    **TEXT,
    "a key": lambda c: {f"{c:.1f}": 1.0}.get("1.5", 0.0) * c,
    "a digit": lambda c: c * 2 if f"{c}"[0] == "1" else c,
    "a length": lambda c: c * len(f"{c} m"),
}


@pytest.mark.parametrize("f", ON_TEXT.values(), ids=ON_TEXT.keys())
def test_text_of_a_value_is_a_decision_where_a_function_is_traced_once(f):
    points = np.array([1.5, 2.25, 1.5, 3.125])
    values = [f(x) for x in points]
    jitted = wg.jit(f)
    np.testing.assert_array_equal([jitted(x) for x in points], values)
    np.testing.assert_array_equal(wg.vmap(f)(points), values)
    program = wg.trace(f)(points[0])
    assert program(points[0]) == values[0]
    with pytest.raises(wg.errors.BranchError):
        program(points[1])


def test_text_that_is_shown_is_no_decision(capsys):
    def f(x):
        print(f"x = {x:.2f}", "%.3f" % x)  # noqa: UP031
        if x < 0:
            raise ValueError(f"{x} is negative")
        return 2 * x

    program = wg.trace(f)(np.float64(1.5))
    assert program(2.5) == 5.0
    assert len(program.guards) == 1
    assert capsys.readouterr().out == "x = 1.50 1.500\n"


@pytest.mark.parametrize("f", TEXT.values(), ids=TEXT.keys())
def test_a_number_that_was_text_on_the_way_warns(f):
    with pytest.warns(DecisionWarning, match="through text alone") as caught:
        assert wg.grad(f)(2.5) == 0.0
    assert caught[0].filename == __file__
    with pytest.warns(DecisionWarning, match="through text alone"):
        assert wg.grad(lambda a, c: a * f(c), (0, 1))(2.0, 2.5)[1] == 0.0


@pytest.mark.parametrize(("f", "x", "line"), DECIDED.values(), ids=DECIDED.keys())
def test_a_result_that_depends_through_decisions_alone_warns(f, x, line):
    for derivative in (wg.grad(f), wg.jacobian(f), lambda x: wg.jvp(f, (x,), (np.ones_like(x),))[1]):
        with pytest.warns(DecisionWarning) as caught:
            assert np.all(derivative(x) == 0.0)
        (warning,) = caught
        assert line in str(warning.message)
        assert warning.filename == __file__


def test_derivatives_of_kinks_inside_of_a_function_are_no_decisions():
    x = np.array([1.0, -2.0, 3.0])
    for f in (
        lambda x: np.sum(wg.grad(lambda x: np.linalg.norm(x, np.inf))(x)),
        lambda x: np.sum(wg.jacobian(lambda x: np.maximum(x, 0.0))(x)),
    ):
        np.testing.assert_array_equal(wg.grad(f)(x), np.zeros(3))  # and no warning, which is an error here


def test_the_argument_that_moves_nothing_else_is_seen_beside_others():
    def f(a, c):
        return a * bisected(c)

    with pytest.warns(DecisionWarning, match=r"if middle\*\*3 < c"):
        assert wg.grad(f, (0, 1))(2.0, 3.0)[1] == 0.0
    wg.grad(f, 0)(2.0, 3.0)


def test_it_warns_once():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            wg.grad(bisected)(2.0)
    assert len(caught) == 1


QUIET = {
    "relu": lambda x: np.sum(np.where(x > 1.5, x, 0.0)),
    "a branch": lambda x: x[0] ** 2 if x[1] > 0 else x[1],
    "a check": lambda x: np.sum(x) if np.all(x > 0) else np.nan,
    "Newton's method": lambda x: newton(x[0]),
    "an index": lambda x: x[np.argmax(x)],
    "a constant": lambda x: 3.0,
    "a constant branch": lambda x: 1.0 if x[0] > 0 else 2.0,
    "a penalty": lambda x: 1e6 if np.any(x > 1.0) else np.sum(x),
    "a penalty, by a method": lambda x: 1e6 if (x > 1.0).any() or (x < -1.0).any() else np.sum(x),
    "a penalty outside of bounds": lambda x: np.sum(x) if np.all(np.isfinite(x)) and np.all((x > 0) & (x < 2)) else 1e6,
    "a penalty by closeness": lambda x: np.sum(x) if np.allclose(x, 0) or np.array_equal(x, -x) else 1e6,
    "a value that is printed, too": lambda x: np.sum(x) if f"{x}" and "%.3f" % x[0] else 0.0,  # noqa: UP031
    "clipped by Python": lambda x: min(max(x[0], 0.0), 1.0),
    "saturated, with a check": lambda x: saturated(x[0]),
    "outside of a domain": lambda x: -np.inf if x[0] > 1 else np.sum(x),
    "beyond a cutoff": lambda x: 0.0 if x[0] > 1 else np.sum(x),
    "a hinge": lambda x: max(0.0, 1.0 - x[1]),
    "a step function": lambda x: np.sum(np.floor(x) + np.sign(x)),
    "sorted": lambda x: x[np.argsort(x)][0],
    "maximum": lambda x: np.max(x),
    "a mask": lambda x: np.sum(x[x > 1.5]),
}


def saturated(x):
    assert x > 0
    if x > 1.1:
        return 0.7
    return x


def newton(c):
    y = c
    while abs(y * y - c) > 1e-12:
        y = 0.5 * (y + c / y)
    return y


@pytest.mark.parametrize("f", QUIET.values(), ids=QUIET.keys())
def test_other_results_do_not_warn(f):
    x = np.array([1.2, 2.3])
    wg.grad(f)(x)
    wg.jacobian(f)(x)
    wg.hessian(f)(x)
    wg.jvp(f, (x,), (x,))
    wg.vmap(wg.grad(f))(x[None])


def rounded(x):
    r = np.zeros(4, int).copy()
    r[:] = np.round(x)
    return np.sum(r * x)


def cut_off(x):
    r = np.zeros(4, int)
    r[:2] = 2.0 * x[:2]
    r[3] = x[3] * 9.0
    return np.sum(r * x)


def masked_by_a_plain_mask(x):
    mask = np.zeros(4, bool)
    mask[0] = x[0] > 1.0
    mask[1:] = x[1:] > 1.0
    return np.sum(x[mask] ** 2)


def histogram(x):
    counts = np.zeros(4, np.int8)
    np.add.at(counts, np.digitize(x, [1.0, 2.0]), 1)
    counts[np.argmax(x)] += 1
    return np.sum(counts * x)


def inverse_permutation(x):
    places = np.empty(4, np.intp)
    places[np.argsort(x)] = np.arange(4)
    return np.sum(x[places] * np.arange(4.0))


@pytest.mark.parametrize("f", [rounded, cut_off, masked_by_a_plain_mask, histogram, inverse_permutation])
def test_what_is_cut_off_moves_no_more(f):
    x = np.array([[0.53, 1.53, 2.53, 0.23], [3.1, 1.1, 2.2, 0.2]])
    expected = differences(f, (x[0],), 0, 1e-4)
    np.testing.assert_allclose(wg.grad(f)(x[0]), expected, rtol=1e-7)
    program = wg.trace(f)(x[0])
    assert program(x[0]) == f(x[0])
    np.testing.assert_allclose(wg.grad(program)(x[0]), expected, rtol=1e-7)
    np.testing.assert_allclose(wg.vmap(f)(x), [f(row) for row in x])


# ---- Makers of arrays that were imported by name ----


def written_through_a_name(x):
    y = x * 1.0
    alias(y)[0] = 9.0
    return np.sum(y**2)


def read_through_a_name(x):
    y = zeros(2)
    z = alias(y)
    y[0] = x[1] ** 2
    return np.sum(z * x[0])


def elements_by_name(x):
    return np.sum(np.isfinite(by_name([x[0], x[1]])) * by_name([x[0] * x[1], 3.0]) ** 2)


def through_a_closure():
    from numpy import ascontiguousarray

    def f(x):
        y = x * 1.0
        z = ascontiguousarray(y)
        z[1] = y[0] ** 2
        return np.sum(y)

    return f


@pytest.mark.parametrize("f", [written_through_a_name, read_through_a_name, elements_by_name, through_a_closure()])
def test_names_imported_from_numpy_mean_the_array_itself(f):
    expected = differences(f, (X,), 0)
    value, derivative = wg.value_and_grad(f)(X)
    assert value == f(X)
    np.testing.assert_allclose(derivative, expected, rtol=1e-8)
    np.testing.assert_allclose(wg.grad(wg.trace(f)(X))(X), expected, rtol=1e-8)


def test_numpys_own_asarray_under_a_name_that_cannot_be_bound_is_refused():
    def f(x, convert=np.asarray):
        y = x * 1.0
        convert(y)[0] = 9.0
        return np.sum(y)

    with pytest.raises(LostGradientError, match=r"convert\(y\)\[0\] = 9.0[\s\S]*Write np\.asarray"):
        wg.grad(f)(X)


def required_as_it_is(x):
    y = np.outer(x, x)
    np.require(y, None, ["C", "W"])[0] = x
    z = np.require(y, float, "F")  # a copy
    z[1] = 2.0 * x
    return np.sum(y**2) + np.sum(z**3)


def required_to_own_its_memory(x):
    y = x * 1.0
    np.require(y[1:], requirements=["O"])[0] = 9.0  # a copy
    np.require(y[1:], None, ["C", "A"])[0] = x[0] ** 2
    return np.sum(y**2)


def of_the_same_type(x):
    y = x * 1.0
    np.astype(y, float)[1] = 9.0  # a copy
    np.astype(y, float, copy=False)[0] = 9.0
    return np.sum(y**2)


@pytest.mark.parametrize("f", [required_as_it_is, required_to_own_its_memory, of_the_same_type])
def test_what_numpy_does_not_copy_is_the_array_itself(f):
    if f is of_the_same_type and not hasattr(np, "astype"):
        pytest.skip("np.astype came with NumPy 2.1")
    value, derivative = wg.value_and_grad(f)(X)
    assert value == f(X)
    np.testing.assert_allclose(derivative, differences(f, (X,), 0), rtol=1e-8)


@pytest.mark.parametrize(
    "take", [lambda y: y.item(), lambda y: y.item(0), lambda y: y.reshape(()).tolist(), lambda y: y.tolist()[0]]
)
def test_an_item_is_a_number_and_does_not_follow_its_array(take):
    def f(x):
        y = x[:1] * 1.0
        before = take(y)
        y[0] = 5.0
        after = take(y)
        y[0] = x[1] ** 2
        return before * x[1] + after * x[0] + y[0] * before

    value, derivative = wg.value_and_grad(f)(X)
    assert value == f(X)
    np.testing.assert_allclose(derivative, differences(f, (X,), 0), rtol=1e-8)
    np.testing.assert_allclose(wg.grad(wg.trace(f)(X))(X), differences(f, (X,), 0), rtol=1e-8)


def test_text_of_a_traced_value_is_that_of_the_value():
    def f(x):
        texts.append((str(x), repr(x), str(x[0]), repr(x[0]), f"{x[1]:.2f}"))
        return np.sum(x) * (3.0 if str(x[0]).startswith("-") or "-" in repr(x) else 5.0)

    texts: list[tuple[str, ...]] = []
    for x in (X, -X):
        np.testing.assert_allclose(wg.grad(f)(x), differences(f, (x,), 0), rtol=1e-8)
        texts.clear()
        assert f(x) == wg.value_and_grad(f)(x)[0]
        assert texts[0] == texts[1]


@pytest.mark.parametrize(
    "read",
    [
        lambda v: json.loads(f"{v}"),
        lambda v: json.loads("[" + str(v) + "]")[0],
        lambda v: ast.literal_eval(str(v)),
        lambda v: float(str(v).strip()[:4]),
        lambda v: float("-" + str(v)),
        lambda v: float("{}".format(v)),  # noqa: UP032 - another way to text
        lambda v: float(str(v).split(".")[0]),
        lambda v: float(str(v).rsplit(".", maxsplit=1)[0]),
        lambda v: float(str(v).splitlines(keepends=True)[0]),
        lambda v: np.float64(str(str(v))),
    ],
)
def test_text_of_a_traced_value_is_not_made_a_number_again(read):
    with pytest.raises(LostGradientError, match=r"lambda v: [\s\S]*test_seams|test_seams[\s\S]*lambda v: "):
        wg.grad(lambda x: x[1] + read(x[0]))(X)
    assert read(np.float64(1.5)) in (1.5, -1.5, 1.0)


@pytest.mark.parametrize("a", [1e-200, -3e-161, 1e-300, 2e200, 0.7])
@pytest.mark.parametrize("b", [1e-200, 2e-154, -1e-201, 3e200, 1.3])
def test_an_angle_has_its_derivative_to_the_ends_of_the_range(a, b):
    squares = Fraction(a) ** 2 + Fraction(b) ** 2
    expected = [Fraction(b) / squares, -Fraction(a) / squares]
    if max(map(abs, expected)) > 1e300:
        return  # it is no number of this type
    x = np.array([a, b])
    for f in (lambda x: np.arctan2(x[0], x[1]), lambda x: np.sum(np.arctan2(x[:1], x[1:]))):
        np.testing.assert_allclose(wg.grad(f)(x), [float(v) for v in expected], rtol=1e-12, atol=1e-308)
        np.testing.assert_allclose(
            wg.jacobian(f, mode="forward")(x), [float(v) for v in expected], rtol=1e-12, atol=1e-308
        )


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.sum(np.isfinite(np.r_[x, x]) * np.r_[x, 2.0 * x] ** 2),
        lambda x: np.sum(np.r_[0:3, x, x[0], 2.0] ** 3),
        lambda x: np.sum(np.log(np.c_[x, x**2]) * np.isfinite(np.c_[x, np.ones(2)])),
        lambda x: np.sum(np.r_["0,2,0", x, x] ** 2 * WEIGHTS[:4, None]),
        lambda x: np.sum(np.r_["-1", np.outer(x, x), np.ones((2, 1))] ** 2),
    ],
)
def test_arrays_put_together_in_brackets_are_traced(f):
    np.testing.assert_allclose(wg.grad(f)(X), differences(f, (X,), 0), rtol=1e-7)
    np.testing.assert_allclose(wg.grad(wg.trace(f)(X))(X), differences(f, (X,), 0), rtol=1e-7)
    assert wg.value_and_grad(f)(X)[0] == f(X)
