"""Arrays that functions write to: ``out`` by position and by name, in ufuncs, functions and methods, as in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
import truth
from agreement import assert_close

import wengert as wg
from wengert.errors import LostGradientError, ShapeError

X = np.array([[0.52, -1.51, 2.03], [1.04, 0.31, 0.73]])


def given(shape, call):
    """Make a function that gives `call` an array of a shape to write to, and returns what stands there afterwards."""

    def f(x):
        out = np.empty(shape)
        assert call(x, out) is out
        return out * 1.0

    return f


WRITES = {
    "np.add, by position": given((2, 3), lambda x, o: np.add(x, x[0], o)),
    "np.add, by name": given((2, 3), lambda x, o: np.add(x, x[0], out=o)),
    "np.add, broadcast": given((2, 3), lambda x, o: np.add(x[0], x[1], o)),
    "np.sin": given((2, 3), lambda x, o: np.sin(x, o)),
    "np.multiply, where": given((2, 3), lambda x, o: (o.fill(2.0), np.multiply(x, x, out=o, where=X > 0.4))[1]),
    "np.matmul": given((2, 2), lambda x, o: np.matmul(x, x.T, o)),
    "expit": given((2, 3), lambda x, o: scipy.special.expit(x, o)),
    "reduce": given((3,), lambda x, o: np.add.reduce(x, 0, None, o)),
    "accumulate": given((2, 3), lambda x, o: np.multiply.accumulate(x, 1, None, o)),
    "reduceat": given((2, 2), lambda x, o: np.add.reduceat(x, [0, 2], 1, None, o)),
    "outer of a ufunc": given((3, 3), lambda x, o: np.multiply.outer(x[0], x[1], out=o)),
    "np.sum": given((3,), lambda x, o: np.sum(x, 0, None, o)),
    "x.sum": given((3,), lambda x, o: x.sum(0, None, o)),
    "x.sum, by name": given((3,), lambda x, o: x.sum(axis=0, out=o)),
    "np.dot": given((2, 2), lambda x, o: np.dot(x, x.T, o)),
    "x.dot": given((2, 2), lambda x, o: x.dot(x.T, o)),
    "np.clip": given((2, 3), lambda x, o: np.clip(x, -1, 1, o)),
    "x.clip": given((2, 3), lambda x, o: x.clip(-1, 1, o)),
    "np.mean": given((2,), lambda x, o: np.mean(x, 1, None, o)),
    "np.std": given((2,), lambda x, o: np.std(x, 1, None, o)),
    "x.var": given((2,), lambda x, o: x.var(1, None, o, 1)),
    "np.cumsum": given((2, 3), lambda x, o: np.cumsum(x, 1, None, o)),
    "x.prod": given((2,), lambda x, o: x.prod(1, None, o)),
    "np.max": given((2,), lambda x, o: np.max(x, 1, o)),
    "np.ptp": given((2,), lambda x, o: np.ptp(x, 1, o)),
    "np.median": given((2,), lambda x, o: np.median(x, 1, o)),
    "np.nanmean": given((2,), lambda x, o: np.nanmean(x, 1, None, o)),
    "np.quantile": given((2,), lambda x, o: np.quantile(x, 0.3, 1, o)),
    "np.take": given((2, 2), lambda x, o: np.take(x, [0, 1], 1, o)),
    "x.take": given((2, 2), lambda x, o: x.take([0, 1], 1, o)),
    "np.trace": given((), lambda x, o: np.trace(x, 0, 0, 1, None, o)),
    "x.trace": given((), lambda x, o: x.trace(0, 0, 1, None, o)),
    "np.outer": given((3, 3), lambda x, o: np.outer(x[0], x[1], o)),
    "np.concatenate": given((4, 3), lambda x, o: np.concatenate([x, x], 0, o)),
    "np.stack": given((2, 2, 3), lambda x, o: np.stack([x, x], 0, o)),
    "np.choose": given((3,), lambda x, o: np.choose([0, 1, 0], x, o)),
    "np.compress": given((2, 2), lambda x, o: np.compress([1, 0, 1], x, 1, o)),
    "x.compress": given((2, 2), lambda x, o: x.compress([1, 0, 1], 1, o)),
    "np.einsum": given((2,), lambda x, o: np.einsum("ij,ij->i", x, x, out=o)),
    "np.linalg.multi_dot": given((2, 2), lambda x, o: np.linalg.multi_dot([x, x.T, np.eye(2)], out=o)),
}


def into_a_row(x):
    whole = np.zeros((2, 3))
    np.multiply(x[0], x[1], whole[1])
    return whole


def two_results(x):
    part, rest = np.zeros((2, 3)), np.zeros((2, 3))
    np.divmod(x, 0.7, out=(part, rest))
    return part * 2 + rest


def one_of_two_results(x):
    whole = np.zeros((2, 3))
    fraction, _ = np.modf(x, None, whole)
    return fraction * x + whole


def positions(x):
    best = np.zeros(2, np.intp)
    np.argmax(x, 1, best)
    return x[[0, 1], best] * 3


def decisions(x):
    large = np.zeros((2, 3), bool)
    np.greater(x, 0.6, large)
    return x[large]


def onto_itself(x):
    np.multiply(x, x, x)
    return x


def constants_into_the_users_own(x):
    own = np.ones((2, 3))[:]  # plain for NumPy as well as for a trace: what is written depends on no input
    np.add(np.ones((2, 3)), 1.0, out=own)
    return own * x


WRITES |= {
    f.__name__: f
    for f in (
        into_a_row,
        two_results,
        one_of_two_results,
        positions,
        decisions,
        onto_itself,
        constants_into_the_users_own,
    )
}


@pytest.mark.parametrize("f", WRITES.values(), ids=WRITES)
def test_out_is_written_to(f):
    expected = truth.differences(lambda x: f(x.copy()), [X], 0, step=1e-3)
    for mode in ("forward", "reverse"):
        assert_close(wg.jacobian(f, mode=mode)(X), expected, 1e-8, mode)
    np.testing.assert_allclose(wg.trace(f)(X)(X), f(X.copy()), rtol=1e-14)


def single_precision(x):
    out = np.zeros((2, 3), np.float32)
    return np.multiply(x, 2, out)


def test_out_keeps_its_dtype():
    y, push = wg.linearize(single_precision, X)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(push(X), 2 * X.astype(np.float32))


OUTSIDE = np.zeros((2, 3))


@pytest.mark.parametrize(
    ("f", "error", "said"),
    [
        (lambda x: np.add(x, 1, OUTSIDE), LostGradientError, "plain array in place"),
        (lambda x: np.sum(x, 0, None, OUTSIDE[0]), LostGradientError, "plain array in place"),
        (lambda x: x.sum(0, None, OUTSIDE[0]), LostGradientError, "plain array in place"),
        (lambda x: np.sum(x, 0, None, np.zeros(2)), ShapeError, r"has shape \(3,\), and out= has shape \(2,\)"),
        (lambda x: np.add(x[0], x[1], np.zeros(2)), ShapeError, r"has shape \(3,\), and out= has shape \(2,\)"),
        (lambda x: np.multiply(x[0], 1j, np.zeros(3)), TypeError, "same_kind"),
    ],
)
def test_what_does_not_fit_or_would_be_lost(f, error, said):
    with pytest.raises(error, match=said):
        wg.grad(f)(X)
    np.testing.assert_array_equal(OUTSIDE, 0.0)


# ---- Arrays without dimensions ----


def assigned(x):
    a = np.zeros(())
    a[()] = x[0] * x[1]
    return a


def added_to(x):
    a = np.zeros(())
    a[...] += x[0] * x[1]
    return a


def two_names(x):
    a = np.array(0.0)
    b = a
    a += x[0] * x[1]
    return b * 2


def multiplied(x):
    a = np.empty(())
    a[()] = 1.0
    b = a
    a *= x[2]
    a *= x[1]
    return b * a


def made_of_a_traced_scalar(x):
    a = np.array(x[0])
    b = a
    a += x[1]
    return a * b


def copies(x):
    a = np.array(x[0])
    b, c, d = np.array(a), a.copy(), np.asarray(a)
    b += 1
    c *= x[1]
    d += 2
    return a * b * c


def scalars_do_not_change(x):
    s = x[0]
    t = s
    s += x[1]
    return s * t


def an_element_as_an_array(x):
    y = x * 1.0
    v = y[0, ...]
    v[...] = x[2]
    return y.sum() * v


def of_where(x):
    w = np.where(x[0] > 0, x[1], x[2])
    v = w
    w += x[0]
    return v * w


def squeezed(x):
    a = np.squeeze(x[:1] * 1.0)
    b = a
    a *= x[1]
    return a * b


def a_view_of_one_element(x):
    a = np.zeros(1)
    b = a.reshape(())
    b[()] = x[0]
    return a[0] * x[1]


def seen_through_a_view(x):
    a = np.array(1.0)
    b = a.reshape(1)
    b[0] = x[0]
    return a * x[1]


def filled(x):
    a = np.full((), 3.0)
    np.add(a, x[0], out=a)
    b = np.asarray(2.0)
    b.fill(x[1])
    c = np.ones_like(x[0])
    c += x[2]
    np.copyto(c, c * x[0])
    return a * b * c


def reduced_into(x):
    r, s = np.zeros(()), np.zeros(())
    np.sum(x, out=r)
    np.dot(x, x, out=s)
    return r * s


def stays_plain(x):
    a = np.array(1.5)
    return float(a) * x[0] + a.item() * x[1] + int(a) + (x[2] if a else 0)


ZERO_DIMENSIONS = [
    assigned, added_to, two_names, multiplied, made_of_a_traced_scalar, copies, scalars_do_not_change,
    an_element_as_an_array, of_where, squeezed, a_view_of_one_element, seen_through_a_view, filled, reduced_into,
    stays_plain,
]  # fmt: skip


@pytest.mark.parametrize("f", ZERO_DIMENSIONS, ids=lambda f: f.__name__)
def test_arrays_without_dimensions(f):
    x = np.array([0.52, -1.51, 2.03])
    value = f(x.copy())
    seen = []

    def watched(x):
        y = f(x)
        seen.append(y.__class__)
        return y

    expected = truth.differences(f, [x], 0, step=1e-3)
    for mode in ("forward", "reverse"):
        assert_close(wg.jacobian(watched, mode=mode)(x), expected, 1e-8, mode)
    assert {*seen} == {type(value)}
    np.testing.assert_allclose(wg.trace(f)(x)(x), value, rtol=1e-14)
    assert_close(wg.hessian(f)(x), truth.differences(wg.grad(f), [x], 0, step=1e-3), 1e-8)


def test_scalars_cannot_be_assigned_to():
    def f(x):
        total = np.sum(x)
        total[()] = 3.0
        return total

    for call in (f, wg.grad(f)):
        with pytest.raises(TypeError, match=r"'numpy\.float64' object does not support item assignment"):
            call(X)


def test_an_argument_without_dimensions_is_an_array():
    def f(x):
        y = x
        x += 1.0
        return y * x if isinstance(x, np.ndarray) else y

    x = np.array(2.0)
    assert wg.grad(f)(x) == 6.0
    assert wg.hessian(f)(x) == 2.0
    assert wg.check_derivatives(f)(x)
    assert x == 2.0
    assert wg.grad(f)(2.0) == 1.0
