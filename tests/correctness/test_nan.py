"""No NaN traps: the branch not taken contributes nothing, edges follow their convention, `why_nan` finds the rest."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.linalg
from scipy.special import entr
from truth import differences

import wengert as wg
from wengert import trees
from wengert.accumulation import extended, limits
from wengert.accumulation.extended import HAS_WIDER_RANGE
from wengert.errors import DomainWarning

EDGE = np.array([-1.0, 0.0, 2.0])


def quietly(call):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DomainWarning)
        return call()


BRANCHES = [
    (lambda x: np.where(x > 0, np.log(x), 0.0), [0.0, 0.0, 0.5], [0.0, 0.0, -0.25]),
    (lambda x: np.where(x > 0, np.sqrt(x), 0.0), [0.0, 0.0, 0.5 / np.sqrt(2)], [0.0, 0.0, -0.25 * 2**-1.5]),
    (lambda x: np.where(x != 0, np.sin(x) / x, 1.0), None, None),
    (lambda x: np.where(x > 0, 1 / x, x), [1.0, 1.0, -0.25], [0.0, 0.0, 0.25]),
    (lambda x: np.where(x > 0, x * np.log(x), 0.0), [0.0, 0.0, np.log(2.0) + 1], [0.0, 0.0, 0.5]),
    (lambda x: np.where(x < 1, 0.0, np.exp(1000.0 * (1 - x)) * np.arcsin(x / 4)), None, None),
]


@pytest.mark.parametrize(("f", "first", "second"), BRANCHES)
@pytest.mark.parametrize("ignored", [False, True])
def test_the_branch_not_taken_contributes_nothing(f, first, second, ignored):
    with np.errstate(all="ignore") if ignored else np.errstate():
        forward = quietly(lambda: np.diag(wg.jacobian(f, mode="forward")(EDGE)))
        reverse = quietly(lambda: np.diag(wg.jacobian(f, mode="reverse")(EDGE)))
        gradient = quietly(lambda: wg.grad(lambda x: np.sum(f(x)))(EDGE))
        hessian = quietly(lambda: np.diag(wg.hessian(lambda x: np.sum(f(x)))(EDGE)))
    assert np.all(np.isfinite(forward))
    np.testing.assert_array_equal(forward, reverse)
    np.testing.assert_allclose(gradient, reverse, rtol=1e-14)
    assert np.all(np.isfinite(hessian))
    if first is not None:
        np.testing.assert_allclose(gradient, first)
        np.testing.assert_allclose(hessian, second)


def test_a_nan_that_matters_stays():
    gradient = quietly(lambda: wg.grad(lambda x: np.sum(np.sqrt(x)))(EDGE))
    assert np.isnan(gradient[0])
    assert gradient[1] == np.inf
    assert gradient[2] == pytest.approx(0.5 / np.sqrt(2))


def test_the_warning_names_the_line_of_an_infinite_derivative():
    def f(x):
        y = x * 2.0
        return np.sum(np.sqrt(y))

    with pytest.warns(DomainWarning, match="in the derivative of sqrt") as caught:
        wg.grad(f)(np.array([0.0, 1.0]))
    assert caught[0].filename == __file__
    assert "np.sqrt(y)" in str(caught[0].message)


def test_a_branch_not_taken_does_not_warn_of_its_derivative():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        wg.grad(lambda x: np.sum(np.where(x > 0, np.sqrt(x), 0.0)))(np.array([0.0, 1.0]))
    assert not caught


CONVENTIONS = [
    ("norm at 0", lambda x: np.linalg.norm(x), np.zeros(3), np.zeros(3)),
    ("sqrt of a square at 0", lambda x: np.sqrt(x * x), 0.0, 0.0),
    ("abs at 0", np.abs, 0.0, 0.0),
    ("hypot at 0", lambda x: np.hypot(x, x), 0.0, 0.0),
    ("max of a tie", np.max, np.array([1.0, 3.0, 3.0]), np.array([0.0, 0.5, 0.5])),
    ("maximum of a tie", lambda x: np.maximum(x[0], x[1]), np.array([2.0, 2.0]), np.array([0.5, 0.5])),
    ("x**0 at 0", lambda x: x**0, 0.0, 0.0),
    ("x**1 at 0", lambda x: x**1, 0.0, 1.0),
    ("x**2 at 0", lambda x: x**2.0, 0.0, 0.0),
    ("x**p at 0, in p", lambda p: 0.0**p, 2.0, 0.0),
    ("product with a zero", np.prod, np.array([0.0, 2.0, 3.0]), np.array([6.0, 0.0, 0.0])),
    ("product with two zeros", np.prod, np.array([0.0, 2.0, 0.0]), np.array([0.0, 0.0, 0.0])),
]


@pytest.mark.parametrize(("f", "x", "expected"), [c[1:] for c in CONVENTIONS], ids=[c[0] for c in CONVENTIONS])
def test_conventions_at_edges(f, x, expected):
    np.testing.assert_array_equal(quietly(lambda: wg.grad(f)(x)), expected)
    forward = quietly(lambda: wg.jacobian(f, mode="forward")(x))
    np.testing.assert_array_equal(forward, expected)


# ---- Zeros of structure, and zeros that are numbers ----


def assigned(x):
    y = np.sqrt(x)
    y[:2] = [1.0, 2.0]
    return y


GUARDS = [
    lambda x: np.sqrt(np.maximum(x, 0.0) + (x <= 0)) * (x > 0),
    lambda x: (x > 0) * np.sqrt(np.abs(x)),
    lambda x: np.where(x > 0, np.where(x > 1, np.log(x), x * np.log(x)), 0.0),
    lambda x: np.select([x > 1, x > 0], [np.sqrt(x), x * np.log(x)], 0.0),
    lambda x: np.where(x > 0, np.cumsum(np.where(x > 0, np.sqrt(x), 0.0)), 0.0),
    lambda x: np.where(x > 0, np.linalg.norm(np.log(np.where(x > 0, x, 1.0))) + np.log(x), 0.0),
    lambda x: np.where(x > 0, np.diag([1.0, 2.0, 3.0]) @ np.sqrt(np.abs(x)), 0.0),
    lambda x: np.where(x > 0, np.maximum(np.log(np.abs(x)) / 2.0, -9.0) ** 2, 0.0),
]
FIXED = [
    lambda x: np.array([0.0, 0.0, 1.0]) * np.sqrt(np.abs(x)),
    lambda x: np.concatenate([x[:2], np.sqrt(x)[2:]]),
    assigned,
]
"""Guards that do not depend on values: in a Program, they hold if the point of recording has raised an alarm."""


def test_a_program_has_no_masks_where_nothing_is_infinite():
    X, t = np.linspace(-1.0, 1.0, 12).reshape(4, 3), np.ones(4)

    def loss(w):
        return np.sum((np.maximum(X @ w[:6].reshape(3, 2), 0.0) @ w[6:] - t) ** 2 / 4.0)

    w = np.linspace(-1.0, 1.0, 8)
    gradient = wg.trace(wg.grad(loss))(w)
    choices = [line for line in gradient.lines if line.primitive.name == "where"]
    assert len(choices) == 2  # of the partial of the maximum alone: 1, 0, or 1/2 at the kink
    np.testing.assert_allclose(gradient(w), wg.grad(loss)(w), rtol=1e-14)


@pytest.mark.parametrize("f", [*GUARDS, *FIXED])
def test_guards_hold_in_every_entry(f):
    total = lambda x: np.sum(f(x))  # noqa: E731
    gradient = quietly(lambda: wg.grad(total)(EDGE))
    assert np.all(np.isfinite(gradient))
    h = 1e-5 * np.array([0.0, 0.0, 1.0])
    with np.errstate(all="ignore"):
        difference = (np.sum(f(EDGE + h)) - np.sum(f(EDGE - h))) / 2e-5
    np.testing.assert_allclose(gradient[2], difference, rtol=1e-6)
    for call in (
        lambda: np.sum(wg.jacobian(f, mode="forward")(EDGE), axis=0),
        lambda: np.sum(wg.jacobian(f, mode="reverse")(EDGE), axis=0),
        lambda: wg.vmap(wg.grad(total))(EDGE[None])[0],
        lambda: wg.jit(wg.grad(total))(EDGE),
        lambda: wg.trace(wg.grad(total))(EDGE)(EDGE),
    )[: 2 if f in FIXED else None]:
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(call(), gradient, rtol=1e-13)
    assert np.all(np.isfinite(quietly(lambda: wg.hessian(total)(EDGE))))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_the_mask_of_a_zero_number_is_broadcast(mode):
    derivative = wg.jacobian(lambda s: np.arange(1.0, 4.0) * np.sqrt(0.0 * s), mode=mode)
    np.testing.assert_array_equal(wg.trace(derivative)(0.5)(0.7), np.zeros(3))


def test_zeros_of_a_constant_matrix_are_of_structure():
    gradient = wg.grad(lambda x: np.sum(np.sqrt(np.abs(x)) @ np.diag([0.0, 0.0, 1.0])))(EDGE)
    np.testing.assert_allclose(gradient, [0.0, 0.0, 0.5 / np.sqrt(2)])


SYMMETRIC = lambda x: np.outer(x, x) + 2 * np.eye(3)  # noqa: E731
TRIANGULAR = [
    lambda x: np.cbrt(np.linalg.cholesky(SYMMETRIC(x))),
    lambda x: np.sqrt(np.abs(np.linalg.cholesky(SYMMETRIC(x), upper=True))),
    lambda x: np.cbrt(scipy.linalg.cholesky(SYMMETRIC(x))),
    lambda x: np.cbrt(np.linalg.qr(SYMMETRIC(x))[1]),
    lambda x: np.cbrt(scipy.linalg.lu(SYMMETRIC(x))[2]),
    lambda x: np.cbrt(np.triu(SYMMETRIC(x))),
    lambda x: np.cbrt(np.kron(np.eye(2), np.outer(x, [1.0, 0.0]))),
    lambda x: np.cbrt(np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]) @ x),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("f", TRIANGULAR)
def test_zeros_of_a_factor_are_of_structure(f):
    total = lambda x: np.sum(f(x))  # noqa: E731
    x = np.array([0.5, 1.5, -0.3])
    truth = differences(total, [x], 0, step=1e-3)
    for derivative in (wg.grad(total), wg.jacobian(total, mode="forward"), wg.jit(wg.grad(total))):
        np.testing.assert_allclose(derivative(x), truth, rtol=1e-6)
    np.testing.assert_allclose(wg.vmap(wg.grad(total))(np.stack([1.1 * x, x]))[1], truth, rtol=1e-6)
    np.testing.assert_allclose(np.sum(wg.jacobian(f, mode="reverse")(x), axis=(0, 1)[: f(x).ndim]), truth, rtol=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_a_function_that_takes_no_long_double_is_left_as_it_is():
    f = lambda x: np.sum(np.cbrt(scipy.linalg.expm(np.triu(np.outer(x, x)))))  # noqa: E731
    assert np.isnan(wg.grad(f)(np.array([0.5, 1.5, -0.3]))).all()


UNIT_VECTOR = np.array([1.0, 0.0, 0.0])
LIMITS = [
    (lambda x: np.arccos(x) ** 2, 1.0, -2.0),
    (lambda x: np.arccosh(x) ** 2, 1.0, 2.0),
    (lambda x: np.cos(np.sqrt(x)), 0.0, -0.5),
    (lambda x: np.log(np.cosh(np.sqrt(x))), 0.0, 0.5),
    (lambda x: np.sqrt(x) ** 2, 0.0, 1.0),
    (lambda x: (x**0.25) ** 4, 0.0, 1.0),
    (lambda x: np.cbrt(x) ** 3, 0.0, 1.0),
    (lambda x: x * np.sqrt(x), 0.0, 0.0),
    (lambda x: np.sum(np.arccos(x) ** 2), UNIT_VECTOR, [-2.0, -np.pi, -np.pi]),
    (lambda v: np.arccos(np.dot(UNIT_VECTOR, v) / np.linalg.norm(v)) ** 2, UNIT_VECTOR, [0.0, 0.0, 0.0]),
    (lambda v: np.arccos(np.dot(UNIT_VECTOR, v)) ** 2, UNIT_VECTOR, [-2.0, 0.0, 0.0]),
]


@pytest.mark.parametrize(("f", "x", "expected"), LIMITS)
def test_zero_times_infinity_has_its_limit(f, x, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("error", DomainWarning)
        np.testing.assert_allclose(wg.grad(f)(x), expected, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(wg.jacobian(f, mode="forward")(x), expected, rtol=1e-12, atol=1e-12)


C = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
BLOCKS = [
    (lambda x: np.arccos(x) ** 2 * C, -2 * C[:, :, None] * np.eye(3)),
    (lambda x: (C @ np.arccos(x) ** 2) * 0.5, -C),
    (lambda x: np.where(x > 0.5, np.arccos(x) ** 2, x) + C, np.broadcast_to(-2 * np.eye(3), (2, 3, 3))),
    (lambda x: np.maximum(np.arccos(x) ** 2, -1.0)[::-1], -2 * np.eye(3)[::-1]),
    (lambda x: np.cumsum(np.cos(np.sqrt(1 - x)) * x), np.tril(np.full((3, 3), 1.5))),
]


@pytest.mark.parametrize(("f", "expected"), BLOCKS)
def test_limits_of_all_coordinates_are_expanded_at_once(f, expected):
    for mode in ("forward", "reverse"):
        np.testing.assert_allclose(wg.jacobian(f, mode=mode)(np.ones(3)), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_a_coordinate_without_a_limit_does_not_take_those_of_others(mode):
    f = lambda x: np.concatenate([entr(x[:1]), np.cos(np.sqrt(x[1:]))])  # noqa: E731
    found = quietly(lambda: wg.jacobian(f, mode=mode)(np.zeros(4)))
    np.testing.assert_allclose(found[1:, 1:], -np.eye(3) / 2, rtol=1e-12)
    assert not np.isfinite(found[0, 0])
    assert np.all(found[0, 1:] == 0)


def test_more_coordinates_take_no_more_calls(monkeypatch):
    calls = []
    times = limits.Expansion.times
    monkeypatch.setattr(limits.Expansion, "times", lambda a, b: calls.append(1) or times(a, b))

    def count(n):
        calls.clear()
        np.testing.assert_allclose(wg.grad(lambda x: np.sum(np.arccos(x) ** 2))(np.ones(n)), -2, rtol=1e-12)
        return len(calls)

    assert 0 < count(100) == count(2)


# ---- Overflow and underflow ----


def sigmoid(x):
    return 0.5 * (1 + np.tanh(x / 2))


def shares(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def slope_of_sigmoid(x):
    return np.where(np.abs(x) < 700, 0.25 / np.cosh(np.clip(x, -700, 700) / 2) ** 2, 0.0)


FAR = np.array([-800.0, -750.0, -2.0, 0.5, 760.0, 800.0])
HUGE = np.array([1e200, 1.0, 3e180, 2.0])
MIXTURE = np.array([-800.0, -801.0, -799.5])
LABELS = np.arange(600) % 2
EXTENDED = [
    (lambda x: np.log(1 + np.exp(x)), FAR, sigmoid),
    (lambda x: 1 / (1 + np.exp(-x)), FAR, slope_of_sigmoid),
    (lambda x: np.exp(x) / (1 + np.exp(x)), FAR, slope_of_sigmoid),
    (lambda x: (np.exp(x) - np.exp(-x)) / (np.exp(x) + np.exp(-x)), FAR, lambda x: 1 - np.tanh(x) ** 2),
    (lambda x: np.log(np.exp(x)), FAR, lambda x: np.ones(6)),
    (lambda x: np.log(np.cosh(x)), FAR, np.tanh),
    (lambda x: np.sqrt(x * x), np.array([1e-200, -1e-250]), np.sign),
    (lambda x: np.cbrt(x**3), np.array([1e-150, -1e-200]), np.ones_like),
    (lambda x: x**2 / (1 + x**2), np.array([1e200]), lambda x: np.zeros(1)),
    (lambda x: np.sqrt(x * x), HUGE, np.sign),
    (lambda x: np.sqrt(1 + x**2), HUGE, lambda x: x / np.hypot(1, x)),
    (lambda x: (x**4) ** 0.25, HUGE / 1e60, np.sign),
    (lambda x: np.cbrt(x * x * x), HUGE, np.ones_like),
    (lambda x: 1e200 * np.log(x * x * x), HUGE, lambda x: 3 / (x / 1e200)),
    (lambda x: 1e200 * np.log1p(x * x), HUGE, lambda x: 2 * (x / np.hypot(1, x)) / (np.hypot(1, x) / 1e200)),
    (lambda x: np.arctan(x * x), HUGE, lambda x: np.where(np.abs(x) > 1e9, 0, 2 * x / (1 + np.minimum(x, 1e9) ** 4))),
    (lambda x: np.sqrt(x @ x), HUGE, lambda x: x / 1e200 / np.linalg.norm(x / 1e200)),
    (lambda x: np.sqrt(np.sum(x**2)), HUGE, lambda x: x / 1e200 / np.linalg.norm(x / 1e200)),
    (lambda x: np.linalg.norm(x), HUGE, lambda x: x / 1e200 / np.linalg.norm(x / 1e200)),
    (lambda x: np.std(x), np.array([1e200, -1e200]), lambda x: np.sign(x) / 2),
    (lambda x: np.sqrt(np.prod(x)), np.array([1e200, 4e200]), lambda x: np.array([1.0, 0.25])),
    (lambda x: np.log(np.sum(np.exp(x))), FAR, shares),
    (lambda x: np.log(np.sum(np.exp(x))), MIXTURE, shares),
    (lambda x: np.log(np.mean(np.exp(np.eye(3) @ x))), MIXTURE, shares),
    (lambda x: (np.exp(x) / np.sum(np.exp(x)))[-1], FAR, lambda x: shares(x)[-1] * (np.eye(6)[-1] - shares(x))),
    (lambda x: -np.sum(LABELS - np.log(1 + np.exp(x))), np.linspace(-900.0, 900.0, 600), sigmoid),
]


@pytest.mark.skipif(not HAS_WIDER_RANGE, reason="long double has the range of a double here")
@pytest.mark.parametrize(("f", "x", "truth"), EXTENDED)
def test_overflow_and_underflow_on_the_way_do_not_reach_a_derivative(f, x, truth):
    total = lambda x: np.sum(f(x))  # noqa: E731
    with np.errstate(all="ignore"):
        for derivative in (wg.grad(total), *[wg.jacobian(total, mode=mode) for mode in ("forward", "reverse")]):
            found = derivative(x)
            assert found.dtype == np.float64
            np.testing.assert_allclose(found, truth(x), rtol=1e-12, atol=1e-15)
        block = wg.jacobian(f, mode="reverse")(x)
        np.testing.assert_allclose(block if block.ndim == 1 else block.sum(axis=0), truth(x), rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(wg.vjp(total, x)[1](1.0)[0], truth(x), rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(wg.jit(wg.grad(total))(x), truth(x), rtol=1e-12, atol=1e-15)
        batch = np.stack([0 * x + 0.5, x, 0 * x + 2.0])
        np.testing.assert_allclose(wg.vmap(wg.grad(total))(batch)[1], truth(x), rtol=1e-12, atol=1e-15)
    assert_allclose_where_heard(wg.vmap(wg.grad(total)), np.stack([0 * x + 0.5, x]), truth(x))


def assert_allclose_where_heard(derivative, batch, truth):
    """Compare the last of a batch where NumPy reports what is out of range."""
    np.testing.assert_allclose(quietly(lambda: derivative(batch))[-1], truth, rtol=1e-12, atol=1e-15)


@pytest.mark.skipif(not HAS_WIDER_RANGE, reason="long double has the range of a double here")
def test_the_derivative_of_an_overflow_is_warned_of_where_it_is_not_computed():
    """A large array of which the value is finite is not swept again; NumPy has reported its overflow."""
    x = np.full(1 << 15, 1e200)
    with pytest.warns(DomainWarning, match="overflow in multiply"):
        wg.grad(lambda x: np.sum(1 / (1 + x * x)))(x)


@pytest.mark.skipif(not HAS_WIDER_RANGE, reason="long double has the range of a double here")
def test_single_precision_stays_single_in_extended_range():
    x = np.array([200.0, 0.0, -200.0], np.float32)
    found = quietly(lambda: wg.grad(lambda x: np.sum(np.log(1 + np.exp(x))))(x))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.array([1.0, 0.5, 0.0], np.float32))


def test_without_a_wider_range_an_overflow_is_nan_and_warned_of(monkeypatch):
    monkeypatch.setattr(extended, "HAS_WIDER_RANGE", False)
    with pytest.warns(DomainWarning):
        assert np.isnan(wg.grad(lambda x: np.log(1 + np.exp(x)))(800.0))


@pytest.mark.parametrize(
    ("f", "x"),
    [
        (np.exp, 800.0),  # its derivative overflows
        (lambda x: np.log(np.exp(-np.exp(x))), 10.0),  # an underflow in long double, too
        (lambda x: np.exp(x) - np.exp(x + 1), 800.0),
        (lambda x: np.where(np.isinf(np.exp(x)), np.exp(x), x), 800.0),  # the decision stays that of double precision
    ],
)
def test_what_is_too_large_for_a_double_stays_infinite(f, x):
    assert not np.isfinite(quietly(lambda: wg.grad(f)(x)))


def test_a_constant_that_is_not_kept_is_not_replaced_by_another():
    x, c = np.full(600, 1e-200), np.linspace(1.0, 2.0, 600)
    found = quietly(lambda: wg.grad(lambda x: np.sum(c / np.sqrt(x * x) * 1e-100))(x))
    assert np.all(~np.isfinite(found) | np.isclose(found, -c * 1e300, rtol=1e-9))


# ---- Missing data ----

MISSING = np.array([np.nan, 1.0, 2.0])
PRESENT = np.array([0.0, 1.0, 1.0])


def overwritten(x):
    with np.errstate(all="ignore"):
        r = np.zeros(3) / (np.zeros(3) * x)
        y = 2 * x + (r - x) ** 2
        y[np.ones(3, bool)] = x**3
    return y


def replaced(x):
    y = (MISSING - x) ** 2
    y[np.isnan(MISSING)] = 0.0
    return y


def strided(x):
    y = MISSING * x
    return np.nanmean(np.lib.stride_tricks.as_strided(y, (2, 2), y.strides * 2), axis=1) ** 2


def carried_forward(x):
    latest = np.maximum.accumulate(np.where(np.isnan(MISSING), 0, np.arange(3)))
    return (MISSING * x)[latest][1:] ** 2


def skipped(x):
    total = np.zeros(1)
    for value, known in zip(x, MISSING, strict=True):
        if not np.isnan(known):
            total += np.exp(known * value)
    return total


def windows(x):
    return np.lib.stride_tricks.sliding_window_view(np.exp(MISSING * x), 2)


QUIET = [
    strided,
    carried_forward,
    skipped,
    lambda x: np.nanmean(windows(x), axis=-1) ** 2,
    lambda x: np.nanstd(windows(x)[1:], axis=-1) ** 2,
    lambda x: np.nanmax(windows(x), axis=-1) + np.nanmedian(windows(x), axis=-1),
    lambda x: np.nanstd(np.exp(MISSING * x), ddof=1, keepdims=True),
    lambda x: np.nanquantile(np.exp(MISSING * x), [0.3, 0.8]) + np.nanpercentile(np.sin(MISSING * x), 40),
    lambda x: np.nanprod(MISSING * x, keepdims=True) + np.nancumsum(MISSING * x**2),
    lambda x: np.nancumprod(np.exp(MISSING * x)) * x,
    lambda x: np.exp(MISSING * x)[[np.nanargmax(MISSING), np.nanargmin(MISSING)]],
    lambda x: np.mean(np.exp(MISSING * x), where=~np.isnan(MISSING), keepdims=True),
    lambda x: np.std(np.exp(MISSING * x), where=~np.isnan(MISSING), keepdims=True),
    lambda x: np.max(np.exp(MISSING * x), where=~np.isnan(MISSING), initial=0.0, keepdims=True),
    lambda x: np.sort(np.exp(MISSING * x))[:2] ** 2,
    lambda x: np.interp([0.5, 1.5], np.arange(3.0)[1:], np.exp(MISSING * x)[~np.isnan(MISSING)]),
    lambda x: np.nansum(np.diff(np.exp(MISSING * x)) ** 2, keepdims=True),
    lambda x: np.multiply(MISSING, x, out=np.zeros(3), where=~np.isnan(MISSING)) ** 2,
    lambda x: np.where(np.isnan(MISSING), 0.0, (MISSING - x) ** 2),
    lambda x: (x * MISSING)[~np.isnan(MISSING)],
    lambda x: np.compress(~np.isnan(MISSING), np.exp(MISSING * x)),
    lambda x: np.nansum((MISSING - x) ** 2, keepdims=True),
    lambda x: np.nanmean(np.exp(MISSING * x), keepdims=True),
    lambda x: np.nan_to_num(MISSING * x**2),
    lambda x: np.fmax(MISSING * x**2, -1.0)[1:],
    lambda x: np.select([np.isnan(MISSING)], [0.0], np.exp(MISSING * x)),
    lambda x: np.where(np.isnan(MISSING), 0.0, np.broadcast_to(np.exp(MISSING * x), (2, 3))),
    lambda x: np.where(np.isnan(MISSING), 0.0, np.sin(MISSING * x) * x),
    overwritten,
    replaced,
]


@pytest.mark.parametrize("f", QUIET)
def test_missing_data_that_are_not_chosen_reach_no_derivative(f):
    """They raise no alarm of NumPy: NaN is quiet."""
    total = lambda x: np.sum(f(x))  # noqa: E731
    x, h = np.array([0.3, 0.5, -0.7]), 1e-4 * np.eye(3)
    with np.errstate(all="ignore"):
        truth = np.array([8 * (total(x + e) - total(x - e)) - (total(x + 2 * e) - total(x - 2 * e)) for e in h]) / 12e-4
        second = np.array([wg.grad(total)(x + e) - wg.grad(total)(x - e) for e in h]) / 2e-4
    entries = (
        wg.grad(total),
        lambda x: wg.jacobian(f, mode="forward")(x).reshape(-1, 3).sum(axis=0),
        lambda x: wg.jacobian(f, mode="reverse")(x).reshape(-1, 3).sum(axis=0),
        lambda x: np.array([wg.jvp(total, (x,), (e,))[1] for e in np.eye(3)]),
        lambda x: wg.vjp(total, x)[1](1.0)[0],
        lambda x: wg.vmap(wg.grad(total))(np.stack([x, x + 1]))[0],
        wg.jit(wg.grad(total)),
        wg.trace(wg.grad(total))(x + 1),
    )
    for entry in entries:
        np.testing.assert_allclose(entry(x), truth, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(wg.hessian(total)(x), second, rtol=1e-5, atol=1e-6)


def test_a_compiled_gradient_meets_missing_data_later():
    f = lambda x, d: np.sum(np.exp(x * d)[1:])  # noqa: E731
    gradient = wg.jit(wg.grad(f))
    x = np.array([0.3, 0.5, -0.7])
    for d in (np.ones(3), MISSING, np.ones(3)):
        np.testing.assert_allclose(gradient(x, d), [0.0, *(d * np.exp(x * d))[1:]], rtol=1e-12)


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize(
    "derivative",
    [
        lambda f: wg.value_and_grad(f),
        lambda f: lambda x, d: wg.grad(f)(x, d),
        lambda f: lambda x, d: {"steps": [x - 0.1 * wg.grad(f)(x, d)], "loss": f(x, d)},
        lambda f: lambda x, d: wg.jvp(lambda x: f(x, d), (x,), (np.arange(3.0),)),
    ],
)
def test_compiled_trees_and_functions_of_derivatives_meet_missing_data_later(derivative, native):
    f = derivative(lambda x, d: np.sum(np.exp(x * d)[1:]))
    jitted = wg.jit(f, native=native)
    x = np.array([0.3, 0.5, -0.7])
    for d in (np.ones(3), MISSING, np.ones(3), MISSING):
        leaves, expected = trees.flatten(jitted(x, d))[0], trees.flatten(f(x, d))[0]
        assert all(np.all(np.isfinite(leaf)) for leaf in expected)
        for leaf, truth in zip(leaves, expected, strict=True):
            np.testing.assert_allclose(leaf, truth, rtol=1e-12)


CHOSEN = np.array([0, 2, 3])
LEFT_OUT = [
    lambda x: np.sum((x**2)[CHOSEN]),
    lambda x: np.sum(np.sqrt(x)[CHOSEN]),
    lambda x: np.sum((x * np.exp(x))[np.array([True, False, True, True])]),
    lambda x: np.sum(np.where([True, False, True, True], np.sin(x), 0.0)),
    lambda x: np.sum(np.array([1.0, 0.0, 1.0, 1.0]) * x**2),
    lambda x: np.sum(np.sin(x), where=[True, False, True, True]),
    lambda x: np.array([1.0, 0.0, 2.0, 1.0]) @ x**2,
    lambda x: np.sum(np.array([[1.0, 0.0, 1.0, 2.0], [2.0, 0.0, 1.0, 0.0]]) @ x**2),
    lambda x: np.sum(np.linalg.solve(np.eye(3) * 2, (x * x)[CHOSEN])),
    lambda x: np.sort((x * x)[2:])[0] + np.log(x)[0],
    lambda x: np.sum(np.outer(x * x, np.exp(x))[np.tril_indices(4, -3)]),
    lambda x: np.sum(wg.scan(lambda c, t: (c + t * c, c * c), 1.0, x * x)[1][:2]),
    lambda x: wg.fori_loop(0, 3, lambda i, c: c * c, x)[2],
    lambda x: wg.checkpoint(lambda z: np.sum((z * z)[CHOSEN]))(np.sin(x)),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("f", LEFT_OUT)
@pytest.mark.parametrize("missing", [np.nan, np.inf, 0.0])
def test_a_gradient_traced_at_finite_members_meets_missing_data_in_others(f, missing):
    present = np.array([0.5, 0.7, 1.2, 2.0])
    x, other, both = present.copy(), present + 0.25, present.copy()
    x[1] = other[1] = both[1] = missing
    both[0] = np.nan
    batch = np.stack([present, x, both, other, 1.5 * present])
    truth = np.array([wg.grad(f)(z) for z in batch])
    expected = truth.copy()
    expected[[1, 3]] = [wg.grad(f)(np.where(np.isfinite(z) & (z != 0), z, 0.7)) for z in (x, other)]
    expected[[1, 3], 1] = 0.0
    np.testing.assert_allclose(truth, expected, rtol=1e-12)
    jitted = wg.jit(wg.grad(f))
    jitted(present)
    np.testing.assert_allclose(wg.vmap(wg.grad(f))(batch), truth, rtol=1e-12)
    np.testing.assert_allclose(wg.vmap(wg.jacobian(f, mode="forward"))(batch), truth, rtol=1e-12)
    value, gradient = wg.vmap(wg.value_and_grad(f))(batch)
    np.testing.assert_allclose(value, [f(z) for z in batch], rtol=1e-12)
    np.testing.assert_allclose(gradient, truth, rtol=1e-12)
    seed = np.array([1.0, 0.0, -1.0, 2.0])
    along = wg.vmap(lambda z: wg.jvp(f, (z,), (np.array([1.0, 0.0, -1.0, 2.0]),))[1])(batch)
    np.testing.assert_allclose(along[[0, 1, 3, 4]], truth[[0, 1, 3, 4]] @ seed, rtol=1e-12)
    for z, row in zip(batch, truth, strict=True):
        np.testing.assert_allclose(jitted(z), row, rtol=1e-12)


def test_a_batch_of_derivatives_has_limits_and_extended_range():
    x = np.array([0.5, 1.0, 0.25, 1.0])
    np.testing.assert_allclose(
        quietly(lambda: wg.vmap(wg.grad(lambda x: np.arccos(x) ** 2))(x)),
        [wg.grad(lambda x: np.arccos(x) ** 2)(z) for z in x],
        rtol=1e-12,
    )


def test_members_without_a_derivative_are_tried_alone_a_few_times():
    calls = []

    def f(x):
        calls.append(x)
        return x * np.log(x)

    x = np.concatenate([[1.0], np.zeros(1000)])
    with np.errstate(all="ignore"):
        assert np.isnan(wg.vmap(wg.grad(f))(x)).sum() == 1000
    assert len(calls) < 12


def test_a_batch_of_values_that_are_nan_runs_the_function_once():
    calls = []

    def f(x):
        calls.append(x)
        return np.sqrt(x)

    with np.errstate(all="ignore"):
        assert np.isnan(wg.vmap(f)(np.array([1.0, -1.0, 4.0]))).tolist() == [False, True, False]
    assert len(calls) == 1


@pytest.mark.parametrize("x", [np.full(3, 1e200), np.full((2, 2), -1e200), np.float64(1e200)])
def test_to_look_for_nan_raises_no_alarm(x):
    with np.errstate(all="raise"):
        np.testing.assert_array_equal(wg.grad(lambda x: np.sum(x * 1e107))(x), np.full(np.shape(x), 1e107))
        np.testing.assert_array_equal(wg.grad(lambda z: np.sum(z * x))(np.zeros(np.shape(x))), x)


@pytest.mark.parametrize("n", [3, 1000, 5000])
def test_missing_data_in_small_and_large_arrays(n):
    data = np.where(np.arange(n) % 2, np.nan, 1.0)
    found = wg.grad(lambda x: np.sum((data * x**2)[~np.isnan(data)]))(np.full(n, 3.0))
    np.testing.assert_array_equal(found, np.where(np.isnan(data), 0.0, 6.0))


def test_a_missing_value_that_is_used_makes_its_derivative_nan():
    found = wg.grad(lambda x: np.sum(MISSING * x**2))(np.ones(3))
    np.testing.assert_array_equal(found, [np.nan, 2.0, 4.0])


@pytest.mark.parametrize(
    ("f", "x", "expected"),
    [
        (
            lambda t: np.sqrt(np.sum((np.sqrt(np.diag([1.0, 3.0]) ** t) - np.diag([1.0, 3.0])) ** 2)),
            4.0,
            9 * np.log(3) / 2,
        ),
        (lambda t: np.sum(np.sqrt(np.array([0.0, 4.0]) ** t)), 1.0, np.log(4.0)),
        (lambda x: np.sum(np.sqrt(np.array([0.0, 4.0]) / x)), 1.0, -1.0),
        (lambda x: np.sum(np.arccos(x ** np.array([0.0, 1.0]))), 0.5, -1 / np.sqrt(0.75)),
        (lambda x: np.sum(np.arccos(np.array([1.0, 0.5]) ** x)), 1.0, np.log(2) * 0.5 / np.sqrt(0.75)),
    ],
)
def test_a_power_or_quotient_that_is_constant_is_a_zero_of_structure(f, x, expected):
    np.testing.assert_allclose(wg.jacobian(f, mode="forward")(x), expected, rtol=1e-12)
    np.testing.assert_allclose(wg.jacobian(f, mode="reverse")(x), expected, rtol=1e-12)


SECOND = [
    (lambda x: (np.linalg.norm(x) / 2) ** 2, np.eye(2) / 2),
    (lambda x: (np.sqrt(np.sum(x**2)) / 2) ** 2, np.eye(2) / 2),
    (lambda x: np.exp(-((np.linalg.norm(x) / 3) ** 2) / 2), -np.eye(2) / 9),
    (lambda x: (1 + np.linalg.norm(x)) * np.exp(-np.linalg.norm(x)), -np.eye(2)),
    (lambda x: (2 * np.std(x)) ** 2, [[2.0, -2.0], [-2.0, 2.0]]),
    (lambda x: np.hypot(x[0], x[1]) ** 3, np.zeros((2, 2))),
    (lambda x: np.sum(np.sqrt(x**4)), 2 * np.eye(2)),
]


@pytest.mark.parametrize(("f", "expected"), SECOND)
def test_second_derivatives_at_kinks_of_what_is_smooth(f, expected):
    np.testing.assert_allclose(quietly(lambda: wg.hessian(f)(np.zeros(2))), expected, rtol=1e-9, atol=1e-12)


UNKNOWN = [
    (lambda x: wg.grad(lambda x: x**x)(x), 0.0),
    (lambda x: wg.grad(lambda x: x * np.log(x))(x), 0.0),
    (lambda x: wg.grad(lambda x: np.sqrt(np.abs(x)))(x), 0.0),
    (lambda x: np.diag(wg.hessian(np.linalg.norm)(x)), np.zeros(2)),
    (lambda x: np.diag(wg.hessian(lambda x: np.sqrt(np.sum(x**2)))(x)), np.zeros(2)),
    (lambda x: np.diag(wg.hessian(np.std)(x)), np.ones(3)),
    (lambda x: np.diag(wg.hessian(lambda x: np.hypot(x[0], x[1]))(x)), np.zeros(2)),
    (lambda x: wg.grad(lambda x: wg.fori_loop(0, 1, lambda i, c: np.sqrt(c), x) ** 2 + 0.0 * x)(x), 0.0),
]


@pytest.mark.parametrize(("derivative", "x"), UNKNOWN)
def test_what_has_no_limit_is_not_quietly_zero(derivative, x):
    with pytest.warns(DomainWarning):
        assert not np.any(np.isfinite(derivative(x)))


@pytest.mark.parametrize("f", [lambda x: np.arccos(x) ** 2, lambda x: np.cos(np.sqrt(1 - x))])
def test_the_diagnosis_finds_a_product_of_zero_and_infinity(f):
    assert wg.why_nan(f)(1.0).where == "derivative"


# ---- why_nan ----


def logarithm(x):
    y = x - 1.0
    z = np.exp(y)
    return np.sum(np.log(y) * z)


def test_the_first_line_of_the_function_is_named():
    origin = wg.why_nan(logarithm)(np.array([3.0, 1.0, 0.5]))
    assert origin
    assert (origin.where, origin.primitive, origin.operands, origin.value) == ("function", "log", (0.0,), -np.inf)
    assert origin.location.segment == "np.log(y)"
    assert origin.location.file == __file__
    assert "log is -inf where its operand is 0.0" in str(origin)
    assert "np.log(y) * z" in str(origin)


@pytest.mark.parametrize(
    ("f", "x", "where", "primitive", "operands"),
    [
        (lambda x: np.sum(np.sqrt(x)), [4.0, 0.0], "derivative", "sqrt", (0.0,)),
        (lambda x: x[0] / (x[0] - x[1]), [1.0, 1.0], "function", "divide", (1.0, 0.0)),
        (lambda x: np.sum(x**0.5 * 2), [1.0, 0.0], "derivative", "power", (0.0, 0.5)),
        (lambda x: np.arctan2(x[0], x[1]), [0.0, 0.0], "derivative", "arctan2", (0.0, 0.0)),
        (lambda x: np.exp(x) @ np.exp(x), [0.0, 900.0], "function", "exp", (900.0,)),
        (lambda x: np.sum(x), [1.0, np.nan], "arguments", "", ()),
        (lambda x: np.sum(x * np.array([1.0, np.inf])), [1.0, 2.0], "function", "multiply", ()),
    ],
)
def test_where_it_came_from(f, x, where, primitive, operands):
    origin = wg.why_nan(f)(np.array(x))
    assert (origin.where, origin.primitive, origin.operands) == (where, primitive, operands)
    assert str(origin)


HUGE = np.full((2, 2), 1e200)


@pytest.mark.parametrize(
    ("f", "operand"), [(lambda x: np.sum(1e200 * (HUGE @ x)), 2), (lambda x: np.sum(1e200 * (x @ HUGE)), 1)]
)
def test_the_operand_is_counted_with_constants(f, operand):
    assert f"the derivative of matmul with respect to operand {operand} is inf" in wg.why_nan(f)(np.zeros(2)).summary


@pytest.mark.parametrize("f", [lambda x: np.sum(x * x), lambda x: np.sum(np.where(x > 0, np.sqrt(x + 1.5), 0.0))])
def test_nothing_is_found_where_all_is_finite(f):
    origin = wg.why_nan(f)(EDGE)
    assert not origin
    assert "finite" in str(origin)


def test_where_all_is_finite_the_function_runs_once():
    calls = []

    def f(x):
        calls.append(x)
        return np.sum(np.where(x > 1, np.log(x), 0.0))

    assert not wg.why_nan(f)(np.array([0.5, 2.0]))
    assert len(calls) == 1
    assert wg.why_nan(f)(np.array([0.0, 2.0])).primitive == "log"
