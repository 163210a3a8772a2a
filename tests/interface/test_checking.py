"""The checker is checked: it passes what is right, and catches each kind of planted fault, naming rule and line."""

from __future__ import annotations

import io
import logging
import sys
import threading
import warnings

import numpy as np
import pytest
from scipy import special

import wengert as wg
from wengert.checking import DIRECTIONS, FULL, find_truth
from wengert.errors import ArgumentError, DerivativeError, ResultError
from wengert.jacobians import Map


@pytest.fixture
def plant():
    """Enter a primitive for one test."""
    names = []

    def enter(name, *args, **known):
        primitive = wg.define(name, *args, **known)
        names.append(name)
        return primitive

    yield enter
    for name in names:
        wg.undefine(name)


def reference(x):
    return np.array([x[0] * (x[1] - x[2]), x[2] * np.log(1 - x[0])])


POINT = np.array([0.5, 2.0, 3.0])
A = np.random.default_rng(0).normal(size=(7, 5))

RIGHT = {
    "the reference text's": (reference, (POINT,)),
    "scalar to scalar": (lambda x: np.exp(-x) * x**2, (0.7,)),
    "n > m": (lambda x: np.sum(np.sin(x) ** 2), (np.linspace(-1, 2, 20),)),
    "m > n": (lambda x: np.array([x**k for k in range(1, 9)]), (1.1,)),
    "two arguments": (lambda a, b: A @ a + np.outer(b, a).sum(), (np.arange(5.0), np.arange(1.0, 4.0))),
    "a matrix in and out": (lambda X: X.T @ X, (A,)),
    "constant": (lambda x: np.ones(3), (np.ones(2),)),
    "large values": (lambda x: 1e12 * x * x, (np.array([3e5, -2e7]),)),
    "small values": (lambda x: np.log(x), (np.array([1e-8, 1e-3, 2.0, 1e6]),)),
    "many inputs": (lambda x: np.sum(np.tanh(x) * x), (np.linspace(-2, 2, 501),)),
    "many outputs": (lambda x: np.sin(np.arange(300.0) * x), (0.3,)),
    "many of both": (lambda x: np.cumsum(x**3), (np.linspace(-1, 1, 150),)),
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_passes_by_complex_step(name):
    f, args = RIGHT[name]
    report = wg.check_derivatives(f)(*args)
    assert report, str(report)
    assert report.raise_if_wrong() is report
    assert report.truth == ("differences" if name == "constant" else "complex step")
    assert all(c.checked == c.total for c in report.comparisons)


@pytest.mark.parametrize("name", [name for name in RIGHT if name != "small values"])
def test_what_is_right_passes_in_float32(name):
    f, args = RIGHT[name]
    report = wg.check_derivatives(f)(*[np.float32(a) for a in args])
    assert report, str(report)


NOT_ANALYTIC = {
    "absolute": (lambda x: np.abs(x) * x[0], np.array([1.0, -2.0])),
    "hypot": (lambda x: np.hypot(x[0], x[1]), np.array([3.0, 4.0])),
    "arctan2": (lambda x: np.arctan2(x[0], x[1]), np.array([3.0, -4.0])),
    "a branch": (lambda x: x[0] * x[1] if float_free(x[0]) else -x[1], np.array([3.0, -4.0])),
}


def float_free(x):
    return x > 1


@pytest.mark.parametrize("name", [name for name in NOT_ANALYTIC if name != "a branch"])
def test_what_is_not_analytic_is_checked_by_differences(name):
    f, x = NOT_ANALYTIC[name]
    report = wg.check_derivatives(f)(x)
    assert report, str(report)
    assert report.truth == "differences"
    assert "Differences, not the complex step" in str(report)


def test_a_branch_on_a_value_passes():
    f, x = NOT_ANALYTIC["a branch"]
    assert wg.check_derivatives(f)(x)


def test_what_computes_in_less_precision_inside_passes():
    report = wg.check_derivatives(lambda x: np.sin(x.astype(np.float32)).astype(np.float64))(POINT)
    assert report, str(report)


# ---- Planted faults ----


FAULTS = {
    "a factor 2.001": (lambda _y, x: 2.001 * 3 * x**2),
    "a wrong sign": (lambda _y, x: -3 * x**2),
    "one part in a million": (lambda _y, x: 3 * x**2 * (1 + 1e-6)),
    "a missing term": (lambda _y, x: 3 * x**2 - 1e-3 * x),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("n", [1, 3, 200])
def test_a_wrong_partial_is_caught_in_both_modes_and_named(plant, fault, n):
    cube = plant("cube", lambda x: x**3, FAULTS[fault])
    x = np.linspace(0.3, 0.9, n)

    def f(x):
        a = np.exp(x)
        return np.sum(np.sin(cube(a))) + x[0]

    report = wg.check_derivatives(f)(x)
    assert not report
    assert [c.passed for c in report.comparisons] == [False, False, True, True]
    assert "WRONG" in str(report)
    assert "The rule of cube is wrong" in str(report)
    assert "The rule of exp" not in str(report)
    assert "return np.sum(np.sin(cube(a))) + x[0]" in str(report)
    with pytest.raises(DerivativeError, match="rule of cube"):
        report.raise_if_wrong()


def test_a_wrong_partial_that_is_not_analytic_is_caught_by_differences(plant):
    size = plant("size_of", lambda x: np.abs(x), lambda _y, x: -np.sign(x))
    report = wg.check_derivatives(lambda x: size(x))(np.array([1.0, -3.0]))
    assert not report
    assert report.truth == "differences"


@pytest.mark.parametrize("m", [3, 200])
@pytest.mark.parametrize("factors", [(2.001, 1.0), (1.0, 2.001)], ids=["forward", "reverse"])
def test_a_rule_that_is_wrong_in_one_mode_only_is_caught(plant, factors, m):
    ahead, back = factors
    double = plant(
        "double",
        lambda x: 2 * x,
        lambda _y, _x: Map(_x.shape, _x.shape, lambda t: 2 * ahead * t, lambda g: 2 * back * g),
        elementwise=False,
    )
    report = wg.check_derivatives(lambda x: double(np.sin(x)))(np.linspace(0.1, 1, m))
    forward, reverse, against, adjoint = report.comparisons
    assert forward.passed is (ahead == 1)
    assert reverse.passed is (back == 1)
    assert not against.passed
    assert not adjoint.passed
    assert "The rule of double is wrong" in str(report)
    if back != 1:
        assert "two different maps" in str(report)


def test_a_rule_that_is_wrong_in_one_entry_of_many_is_localized(plant):
    spoiled = np.ones(1000)
    spoiled[617] = 1.01
    spoil = plant("spoil", np.sin, lambda _y, x: spoiled * np.cos(x))
    report = wg.check_derivatives(lambda x: np.sum(spoil(x)))(np.linspace(-1, 1, 1000))
    assert not report
    assert "dy/dx_618: forward gives" in str(report)  # counted from 1
    assert f"{DIRECTIONS} random directions" in str(report)


def test_the_worst_entry_has_its_index_and_both_values(plant):
    wrong = plant("wrong", lambda a, b: a * b, lambda _y, _a, b: b, lambda _y, a, _b: 3 * a)
    report = wg.check_derivatives(lambda x: np.array([x[0], wrong(x[1], x[2]), x[2]]))(POINT)
    (entry,) = report.comparisons[0].wrong
    assert (entry.output, entry.input) == (1, 2)
    assert entry.got == pytest.approx(6.0)
    assert entry.expected == pytest.approx(2.0)
    assert entry.error == pytest.approx(4 / 6)
    assert "dy_2/dx_3: forward gives 6, complex step gives 2" in str(report)
    assert "y_2 is computed last in  u_1 = wrong(u_{-1}, u_0)" in str(report)


def test_a_fault_in_float32_is_caught(plant):
    cube = plant("cube", lambda x: x**3, lambda _y, x: 2.001 * 3 * x**2)
    assert not wg.check_derivatives(lambda x: cube(x))(np.float32(0.7))


# ---- Kinks, edges of the domain, and what cannot be checked ----


def test_at_a_kink_what_lies_between_both_sides_passes(plant):
    assert wg.check_derivatives(np.abs)(np.array([0.0, 1e-7, 2.0, -1e-3]))
    report = wg.check_derivatives(lambda x: np.maximum(x, 0))(np.array([0.0, 1e-7]))
    assert report
    assert "at a kink" in str(report)
    outside = plant("outside", lambda x: np.maximum(x, 0), lambda _y, x: np.where(x >= 0, 1.2, 0.0))
    assert not wg.check_derivatives(lambda x: outside(x))(np.array([0.0]))


def test_a_jump_is_not_taken_for_a_derivative():
    report = wg.check_derivatives(np.floor)(2.0)
    assert not report
    assert not any(c.wrong for c in report.comparisons)
    assert "could not be checked at this point" in str(report)


def test_a_sawtooth_finer_than_any_step_is_not_taken_for_smooth():
    report = wg.check_derivatives(lambda x: np.remainder(x, 1e-9))(0.7)
    assert not any(c.wrong for c in report.comparisons), str(report)


def test_nan_is_wrong_where_there_is_a_derivative(plant):
    spoiled = plant("spoiled", np.sin, lambda _y, x: np.cos(x) * np.nan)
    report = wg.check_derivatives(lambda x: spoiled(x))(1.0)
    assert report.comparisons[0].wrong
    assert not report


def test_a_function_that_is_another_each_time_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ResultError, match="another value each time"):
        wg.check_derivatives(lambda x: x * rng.normal())(1.0)


def test_an_integer_is_refused():
    with pytest.raises(ArgumentError, match="integer"):
        wg.check_derivatives(lambda x: x * x)(3)


def test_argnums_and_keywords():
    def f(x, k, scale=1.0):
        return scale * x**k

    assert wg.check_derivatives(f)(POINT, 2, scale=3.0).n == 3
    assert wg.check_derivatives(f, argnums=(0, 1))(POINT, 2.0).n == 4
    assert wg.check_derivatives(f, argnums=0)(POINT, 2.0).n == 3


def test_nothing_to_check_passes():
    report = wg.check_derivatives(lambda x: x * 2)(np.zeros(0))
    assert report
    assert "nothing to check" in str(report)


def test_the_threshold_is_where_it_says():
    assert "Every entry" in str(wg.check_derivatives(np.sin)(np.ones(FULL)))
    assert "random directions" in str(wg.check_derivatives(np.sin)(np.ones(FULL + 1)))


# ---- Verdicts that are true ----


def test_a_nan_among_the_arguments_is_no_wrong_rule():
    x = np.array([1.0, np.nan])
    report = wg.check_derivatives(lambda x: np.sum(x**2))(x)
    assert not report
    assert report.conclusion == "The derivatives of f could not be checked at this point."
    assert "The argument x_2 is nan" in str(report)
    for f, checked in ((lambda x: x**2, "1 of 4"), (lambda x: np.nansum(x**2), "1 of 2")):
        report = wg.check_derivatives(f)(x)
        assert report, str(report)
        assert report.conclusion == (
            f"The derivatives of f are right in both modes where they could be checked: {checked} entries."
        )


def test_a_nan_in_one_of_many_results_leaves_the_others_checked(plant):
    x = np.linspace(-0.011, 0.9, 100)
    with np.errstate(invalid="ignore"):
        report = wg.check_derivatives(lambda x: np.sqrt(x))(x)
    assert report, str(report)
    assert "The result y_1 is nan, and 1 others are not finite" in str(report)
    spoiled = np.ones(100)
    spoiled[50] = 1.1
    root = plant("planted_root", np.sqrt, lambda y, _x: spoiled * 0.5 / y)
    with np.errstate(invalid="ignore"):
        report = wg.check_derivatives(lambda x: root(x))(x)
    assert [bool(c.wrong) for c in report.comparisons] == [True, True, False, False]


def test_what_stop_gradient_returned_is_held_in_the_truth(plant):
    x = np.array([0.5, 2.0])
    for f in (
        lambda x: np.sum(x * wg.stop_gradient(x)),
        lambda x: np.sum(np.sin(x) * wg.stop_gradient({"a": np.exp(x), "b": "text"})["a"]) + wg.stop_gradient(x[0]),
        lambda x: wg.grad(lambda z: np.sum(z**2 * wg.stop_gradient(z)))(x),
    ):
        report = wg.check_derivatives(f)(x)
        assert report, str(report)
        assert "held fixed" in str(report)
    cube = plant("cube", lambda x: x**3, lambda _y, x: 2.001 * 3 * x**2)
    report = wg.check_derivatives(lambda x: np.sum(cube(x) * wg.stop_gradient(x)))(x)
    assert "The rule of cube is wrong" in str(report)
    assert "stop_gradient is wrong" not in str(report)


def test_an_entry_that_could_not_be_checked_is_not_called_right():
    report = wg.check_derivatives(np.sqrt)(np.array([0.5, 0.0]))
    assert report.conclusion == (
        "The derivatives of sqrt are right in both modes where they could be checked: 3 of 4 entries."
    )
    assert "Every entry" not in str(report)


def test_at_the_edge_of_the_domain_one_side_is_enough(plant):
    for name, factor in (("right", 1.0), ("wrong", 1.001)):
        rule = plant(name, lambda x: np.sqrt(x) ** 2, lambda _y, x, k=factor: k * np.ones(x.shape))
        report = wg.check_derivatives(lambda x, rule=rule: rule(x))(np.array([0.5, 0.0]))
        assert bool(report) is (factor == 1.0), str(report)
        assert report.one_sided == 1
        if factor == 1.0:
            assert report.conclusion == (
                "Right in both modes; at 1 entry f ends or a partial is infinite, "
                "and there the derivative from one side was compared."
            )
        assert all(c.checked == c.total for c in report.comparisons)


@pytest.mark.parametrize(
    "f",
    [
        lambda z: np.sum(np.abs(z) ** 2),
        lambda z: np.real(z * z * np.conj(z)),
        lambda z: np.exp(z) * z[0],
        lambda z: np.sum(z.real * z.imag),
    ],
)
def test_complex_arguments_and_results_are_checked_by_their_parts(f):
    z = np.array([0.5 + 0.3j, 2.0 - 1.1j])
    report = wg.check_derivatives(f)(z)
    assert report, str(report)
    assert report.n == 4
    assert all(c.checked == c.total for c in report.comparisons)
    assert wg.check_derivatives(lambda x: np.fft.fft(x))(np.array([0.5, 2.0, 0.1])).m == 6


def test_a_wrong_rule_in_the_imaginary_direction_is_found(plant):
    square = plant("complex_square", lambda z: z * z, lambda _y, z: 2 * np.conj(z))
    assert not wg.check_derivatives(lambda z: np.real(square(z)))(0.5 + 0.3j)


@pytest.mark.filterwarnings("ignore::wengert.errors.DecisionWarning")
@pytest.mark.parametrize("f", [lambda x: x > 0.3, lambda x: np.floor(x).astype(int), np.argmax])
def test_results_that_are_no_floats_have_derivatives_that_are_zero(f):
    assert wg.check_derivatives(f)(np.array([0.5, 1.2]))


# ---- What a check costs, and what it prints ----


class Counted:
    """A function that counts how often it runs, and how often on traced values."""

    def __init__(self, f):
        self.f, self.calls, self.traced = f, 0, 0

    def __call__(self, x):
        self.calls += 1
        self.traced += type(x) is not np.ndarray
        return self.f(x)


@pytest.mark.parametrize(
    ("f", "n", "most"),
    [
        (lambda x: np.sum(np.sin(x)), 2, 40),
        (lambda x: np.sum(np.sin(x)), 60, 100),
        (lambda x: np.sum(np.abs(x)), 2, 60),
        (lambda x: np.sum(np.abs(x)), 60, 60),
        (lambda x: np.sum(np.sin(x)), 1000, 45),
    ],
)
def test_a_check_of_what_is_right_traces_once_and_runs_the_function_some_tens_of_times(f, n, most):
    counted = Counted(f)
    assert wg.check_derivatives(counted)(np.linspace(0.1, 1, n))
    assert counted.traced == 1
    assert counted.calls <= most


@pytest.mark.parametrize("n", [5, 40, 64, 300])
@pytest.mark.parametrize("f", [np.sin, lambda x: np.abs(np.sin(x))], ids=["complex step", "differences"])
def test_a_fault_in_one_entry_of_a_million_parts_is_found_by_both_truths(plant, f, n):
    spoiled = np.ones(n)
    spoiled[n // 3] = 1 + 1e-6
    spoil = plant("spoil", f, lambda _y, x: spoiled * np.cos(x))
    report = wg.check_derivatives(lambda x: np.sum(spoil(x) * np.arange(1, n + 1)))(np.linspace(0.1, 1, n))
    assert not report
    assert f"dy/dx_{n // 3 + 1}: forward gives" in str(report)
    assert "The rule of spoil is wrong" in str(report)


def test_what_the_function_prints_logs_and_warns_of_is_heard_once(capsys, caplog):
    logger = logging.getLogger("test of checks")

    def f(x):
        print("printed")
        print("printed as well", file=sys.stderr)
        logger.warning("x is %.3f", x[0])
        warnings.warn("warned", stacklevel=1)
        return np.sum(x**2)

    with pytest.warns(UserWarning, match="warned") as caught:
        assert wg.check_derivatives(f)(np.array([0.5, 2.0]))
    out, err = capsys.readouterr()
    assert (out, len(caught), len(caplog.records)) == ("printed\n", 1, 1)
    assert err == "printed as well\n"


def test_other_threads_are_heard_while_a_function_is_checked(capsys, caplog):
    def speak():
        print("another thread")
        logging.getLogger("other").warning("another thread")

    def f(x):
        thread = threading.Thread(target=speak)
        thread.start()
        thread.join()
        return x * 2.0

    counted = Counted(f)
    assert wg.check_derivatives(counted)(np.array([0.5]))
    assert capsys.readouterr().out.count("another thread") == counted.calls
    assert len(caplog.records) == counted.calls


def test_an_error_in_the_function_leaves_the_streams_as_they_were():
    out, handlers = sys.stdout, logging.root.handlers[:]
    calls = []

    def f(x):
        calls.append(x)
        if len(calls) > 1:
            raise KeyError("later")
        return x * 1.0

    with pytest.raises(KeyError):
        wg.check_derivatives(f)(np.array([0.5]))
    assert sys.stdout is out
    assert not any(handler.filters for handler in handlers)


# ---- The truth itself ----


@pytest.mark.parametrize(
    ("f", "df"),
    [
        (np.sin, np.cos),
        (np.exp, np.exp),
        (lambda x: 1 / (1.01 - x), lambda x: 1 / (1.01 - x) ** 2),
        (lambda x: np.sin(50 * x), lambda x: 50 * np.cos(50 * x)),
        (lambda x: np.abs(x - 0.3), lambda x: np.sign(x - 0.3)),
        (lambda x: np.where(np.abs(x - 0.4) < 1e-3, 5 * x, 0.0), lambda x: np.where(np.abs(x - 0.4) < 1e-3, 5.0, 0.0)),
    ],
)
def test_the_error_estimate_of_differences_holds(f, df):
    for x in (0.4, 0.7, 1.0):
        truth = find_truth(lambda z: f(np.abs(z) if z.dtype.kind == "c" else z), np.array([x]), np.eye(1))
        assert abs(truth.value[0, 0] - df(x)) <= truth.tolerance[0, 0]


@pytest.mark.parametrize(
    "f", [lambda x: special.eval_gegenbauer(5, 4.0, x), lambda x: special.eval_jacobi(6, 5.0, 4.0, x)]
)
def test_a_complex_step_that_rounds_more_than_the_rule_finds_no_fault(f):
    for x in np.linspace(-0.95, 0.95, 39):
        report = wg.check_derivatives(f)(x)
        assert not any(c.wrong for c in report.comparisons), str(report)


def test_a_small_fault_is_found_beside_the_rounding_of_the_complex_step(plant):
    wrong = plant("wrong_polynomial", lambda x: special.eval_gegenbauer(5, 4.0, x), lambda y, x: (1 + 1e-9) * slope(x))
    slope = lambda x: 8.0 * special.eval_gegenbauer(4, 5.0, x)  # noqa: E731
    assert not wg.check_derivatives(lambda x: wrong(x))(0.164)


def test_another_number_of_results_for_complex_numbers_is_no_truth():
    report = wg.check_derivatives(lambda x: np.arange(x, x + 2.5))(0.5)
    assert report, str(report)
    assert "another number of results" in str(report)


def test_what_differences_cannot_see_is_not_called_checked(plant):
    tiny = plant("tiny", lambda x: 1e10 + 1e-6 * np.abs(x), lambda _y, x: 2.001e-6 * np.sign(x))
    report = wg.check_derivatives(lambda x: tiny(x))(1.0)
    assert not report
    assert "could not be checked" in str(report)


def test_the_report_prints_in_color_too():
    from rich.console import Console

    console = Console(width=120, force_terminal=True, color_system="standard", record=True, file=io.StringIO())
    console.print(wg.check_derivatives(reference)(POINT))
    text = console.export_text()
    assert "adjoint identity" in text
    assert "ok" in text
