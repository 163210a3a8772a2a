"""A traced value answers user code as the value it stands for: `isinstance`, `match`, dispatch, copies, text."""

from __future__ import annotations

import copy
import functools
import json
import logging
import math
import numbers
import pickle
from collections.abc import Collection, Container, Hashable, Iterable, Mapping, Sequence, Sized
from fractions import Fraction

import numpy as np
import optree
import pytest

import wengert as wg
from wengert.errors import LostGradientError
from wengert.tracing import Traced

X = np.array([0.5, -1.5, 2.0])
KINDS = (np.ndarray, np.generic, np.float64, np.float32, np.complex128, np.bool_, np.int64, float, int, complex, bool)
KINDS += (numbers.Real, numbers.Integral, numbers.Number, list, tuple)
VALUES = {
    "array": lambda x: x,
    "element": lambda x: x[0],
    "sum": lambda x: np.sum(x),
    "comparison": lambda x: x > 0,
    "decision": lambda x: x[0] > 0,
    "position": lambda x: np.argmax(x),
    "complex": lambda x: x[0] * 1j,
    "spectrum": lambda x: np.fft.fft(x),
    "single": lambda x: x.astype(np.float32),
    "single element": lambda x: x.astype(np.float32)[1],
    "zeros": lambda x: np.zeros(3),
}


@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize("make", VALUES.values(), ids=VALUES)
def test_isinstance_answers_as_under_numpy(make, levels):
    seen = []

    def f(x):
        value = make(x)
        seen.append([isinstance(value, kind) for kind in KINDS])
        seen.append([value.__class__, hasattr(value, "__len__"), hasattr(value, "__iter__"), np.iterable(value)])
        return np.sum(x)

    f(X)
    expected, seen[:] = list(seen), []
    derivative = wg.grad(f)
    (wg.jacobian(derivative) if levels == 2 else derivative)(X)
    assert seen == expected


def test_scalars_have_no_length_and_no_elements():
    def first(x):
        (first,) = x
        return first

    def loops(x):
        return sum(v for v in x)

    for use in (len, list, iter, sum, first, loops):
        said = []
        for call in (use, wg.grad(use)):
            with pytest.raises(TypeError) as caught:
                call(np.float64(1.5))
            said.append(str(caught.value).partition(":")[0])
        assert said[0] == said[1] or use is first  # whose message Python words


def branches_on_kind(x):
    if isinstance(x, np.ndarray):
        return np.sum(x**2)
    return x


def test_the_branch_for_arrays_is_taken():
    np.testing.assert_array_equal(wg.grad(branches_on_kind)(X), 2 * X)
    np.testing.assert_array_equal(wg.jacobian(wg.grad(branches_on_kind))(X), 2 * np.eye(3))
    np.testing.assert_array_equal(wg.vmap(branches_on_kind)(np.stack([X, X])), [np.sum(X**2)] * 2)


@functools.singledispatch
def area(shape):
    raise TypeError(shape)


@area.register
def _(shape: float):
    return shape**2


@area.register
def _(shape: np.ndarray):
    return np.prod(shape)


def test_single_dispatch_and_match():
    assert wg.grad(area)(3.0) == 6.0
    np.testing.assert_array_equal(wg.grad(area)(np.array([2.0, 5.0])), [5.0, 2.0])

    def matched(x):
        match x:
            case float(value):
                return value**3
            case np.ndarray(ndim=1):
                return np.sum(x) * matched(x[0])
        raise TypeError(x)

    assert wg.grad(matched)(2.0) == 12.0
    np.testing.assert_allclose(wg.grad(matched)(np.array([2.0, 1.0])), [3 * 4 * 3 + 8, 8])


def test_libraries_go_on_seeing_a_traced_value():
    """NumPy, SciPy and optree take the memory of an array: to them a traced value is none."""

    def f(x):
        assert type(x) is Traced
        asked_by_numpy = eval("isinstance(x, ndarray)", {"__name__": "numpy.lib", "ndarray": np.ndarray, "x": x})
        assert not asked_by_numpy
        assert optree.tree_leaves({"a": [x]})[0] is x
        assert np.isscalar(x[0])
        assert not np.isscalar(x)
        return np.sum(x)

    wg.grad(f)(X)


def becomes_float(x):
    return float(x) * 2 if isinstance(x, (int, float)) else x


def takes_a_sine(x):
    return math.sin(x) if isinstance(x, (int, float)) else np.sin(x)


def becomes_a_fraction(x):
    return Fraction(x) * 2


def is_pickled(x):
    return pickle.loads(pickle.dumps(x))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickling_says_what_to_do(protocol):
    with pytest.raises(LostGradientError, match="cannot be pickled") as caught:
        wg.grad(lambda x: pickle.dumps({"x": x}, protocol))(1.5)
    assert "stop_gradient" in str(caught.value)


@pytest.mark.parametrize("f", [becomes_float, becomes_a_fraction, is_pickled])
def test_what_passes_for_a_float_is_not_turned_into_one(f):
    with pytest.raises(LostGradientError):
        wg.grad(f)(1.5)


def test_what_passes_for_a_float_is_taken_by_functions_of_floats():
    assert wg.grad(takes_a_sine)(1.5) == np.cos(1.5)


def test_json_has_no_traced_values():
    for options in ({}, {"indent": 2}):
        with pytest.raises(TypeError, match="not JSON serializable"):
            wg.grad(lambda x, options=options: json.dumps({"loss": x}, **options))(1.5)


def test_copies_are_values_of_their_own():
    def f(x):
        a, b = copy.copy(x), copy.deepcopy({"deep": x * 1.0})["deep"]
        a[0] = 0.0
        b *= 2.0
        return np.sum(a) + np.sum(x * b)

    np.testing.assert_allclose(wg.grad(f)(X), [0, 1, 1] + 4 * X)


@pytest.mark.parametrize(
    "number", [lambda x: float(f"{x:.17g}"), lambda x: int(f"{x:.0f}"), lambda x: float(format(x))]
)
def test_text_is_not_made_a_number_again(number):
    with pytest.raises(LostGradientError, match="text of a traced value"):
        wg.grad(lambda x: x * number(x))(1.5)
    assert wg.grad(lambda x: x * number(wg.stop_gradient(x)))(1.5) == number(1.5)


def test_text_outlives_its_trace_as_text():
    kept = []

    def f(x):
        kept.append(f"{x}")
        return x * 2.0

    wg.grad(f)(1.5)
    (text,) = kept
    assert (float(text), text, pickle.loads(pickle.dumps(text))) == (1.5, "1.5", "1.5")
    assert type(pickle.loads(pickle.dumps(text))) is str
    assert json.dumps({text: text}) == '{"1.5": "1.5"}'


def test_text_is_that_of_the_value(caplog):
    texts = []

    def f(x):
        texts.extend([f"{x:.3f}", "%.3f" % x, "%5.1e %s" % (x, "of"), "{:.2f}".format(x)])  # noqa: UP031, UP032  # as people write
        logging.getLogger("training").warning("loss %.4f", x)
        return x**2

    expected = (f(1.5), texts[:])[1]
    texts.clear()
    assert wg.grad(f)(1.5) == 3.0
    assert texts == expected
    assert [record.getMessage() for record in caplog.records] == ["loss 1.5000"] * 2


def test_methods_of_floats():
    assert wg.grad(lambda x: x * 3.0 if x.is_integer() else x)(2.0) == 3.0
    for name in ("hex", "as_integer_ratio"):
        with pytest.raises(LostGradientError, match=name):
            wg.grad(lambda x, name=name: getattr(x, name)())(2.0)


ROWS = np.arange(20.0).reshape(10, 2)


def shuffled(x, seed=1):
    y = x[:, 0] * 1.0
    np.random.default_rng(seed).shuffle(y)
    return y


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "f",
    [
        shuffled,
        lambda x: np.random.default_rng(1).permutation(x),
        lambda x: np.random.default_rng(1).permutation(x[:, 0]),
        lambda x: np.random.RandomState(1).permutation(x),
        lambda x: np.random.default_rng(1).choice(x, 5, replace=False),
    ],
)
def test_random_order(f):
    value, push = wg.linearize(f, ROWS)
    np.testing.assert_array_equal(value, f(ROWS))
    np.testing.assert_array_equal(push(ROWS**2), f(ROWS**2))


def shuffles_rows(x):
    y = x * 1.0
    np.random.default_rng(1).shuffle(y)
    return np.sum(y[0])


def test_rows_cannot_be_shuffled_in_place():
    """NumPy would exchange them through views, as with all but its own arrays, and some would be there twice."""
    with pytest.raises(LostGradientError, match=r"rng\.permutation") as caught:
        wg.grad(shuffles_rows)(ROWS)
    assert "default_rng(1).shuffle(y)" in str(caught.value)


@pytest.mark.parametrize("protocol", [Collection, Container, Hashable, Iterable, Mapping, Sequence, Sized])
@pytest.mark.parametrize("value", [np.zeros(2), np.float64(1.0), np.array(1.0)], ids=["array", "scalar", "0-d array"])
def test_protocols_of_python_go_by_the_value(protocol, value):
    def f(x):
        traced = x if value.shape else x[0] if isinstance(value, np.generic) else np.asarray(x[0])
        assert isinstance(traced, protocol) == isinstance(value, protocol)
        return x[0]

    wg.grad(f)(X)


@pytest.mark.parametrize(
    "make",
    [
        lambda n: np.indices((n, 2)),
        lambda n: np.tri(n),
        lambda n: np.tril_indices(n)[0],
        lambda n: np.triu_indices(n, 1)[1],
        lambda n: np.hanning(n),
        lambda n: np.kaiser(n, 3.0),
        lambda n: np.mgrid[0:n],
        lambda n: np.r_[0:n],
        lambda n: np.arange(n),
        lambda n: np.linspace(0.0, 1.0, n),
        lambda n: np.eye(n),
    ],
)
def test_a_traced_integer_counts(make):
    def f(x):
        counted = np.bincount(np.floor(x).astype(int)).max()
        return np.sum(x) * np.sum(make(counted))

    x = np.array([0.3, 0.5, 0.7, 1.2])
    expected = np.full(4, np.sum(make(3)))
    np.testing.assert_allclose(wg.grad(f)(x), expected, rtol=1e-14)
    np.testing.assert_allclose(wg.jit(wg.grad(f))(x), expected, rtol=1e-14)
    assert wg.trace(f)(x)(x + 0.01) == pytest.approx(f(x + 0.01), rel=1e-14)


class Named(np.ndarray):
    """As a signal of python-control: an array with a name."""

    def __new__(cls, values, name):
        made = np.asarray(values).view(cls)
        made.name = name
        return made

    def __array_finalize__(self, other):
        self.name = getattr(other, "name", "")


def test_a_subclass_that_carries_a_name_holds_traced_elements():
    def f(x):
        named = Named(2 * x, "position")
        assert named.name == (named[1:] ** 2).name == "position"
        return named[0] * x[1] + np.sum(np.sin(named)) + np.sum(np.asarray(x).view(np.ndarray) ** 2)

    np.testing.assert_allclose(
        wg.grad(f)(X), 2 * np.cos(2 * X) + 2 * X + np.array([2 * X[1], 2 * X[0], 0.0]), rtol=1e-14
    )
