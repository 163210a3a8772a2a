"""No NaN traps: the branch not taken contributes nothing, edges follow their convention, `why_nan` finds the rest."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import wengert as wg
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
    (lambda x: wg.grad(lambda x: np.log(1 + np.exp(x)))(x), 800.0),
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
