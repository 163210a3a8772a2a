"""The strategies must agree with each other and with the truth, on random programs drawn from the table."""

from __future__ import annotations

import numpy as np
import pytest
import truth
from agreement import assert_close
from hypothesis import assume, given
from programs import ANALYTIC, ROWS, STRUCTURAL, RandomProgram, Step, points, random_programs

import wengert as wg
from wengert.passes.scalarization import can_scalarize, scalarize
from wengert.passes.simplification import simplify
from wengert.program import check

pytestmark = pytest.mark.filterwarnings("ignore::wengert.errors.DomainWarning")
"""Some random programs meet arctan2 at (0, 0): they warn, and are skipped, as their derivatives are not moderate."""


def test_the_strategy_grows_with_the_table():
    assert len(ANALYTIC) > 25
    assert len(ROWS) > 50
    primitives = set()
    x = np.array([0.3, -0.7, 1.2])
    for name in [*STRUCTURAL, *(p.name for p in ROWS)]:
        program = wg.trace(RandomProgram((Step("roll", 0, 0), Step(name, 0, 1))))(x)
        primitives |= {line.primitive.name for line in program.lines}
    assert {p.name for p in ROWS} <= primitives
    structural = {
        "sum",
        "matmul",
        "getitem",
        "stack",
        "concatenate",
        "reshape",
        "transpose",
        "broadcast_to",
        "cumsum",
        "where",
    }
    assert structural <= primitives


def moderate(J):
    """Skip programs whose derivatives overflow the comparison."""
    assume(np.all(np.isfinite(J)) and np.max(np.abs(J), initial=0.0) < 1e8)


@given(random_programs(), points())
def test_forward_is_reverse_is_complex_step(f, x):
    expected = truth.complex_step(f, [x], 0)
    moderate(expected)
    for mode in ("forward", "reverse", None):
        assert_close(wg.jacobian(f, mode=mode)(x), expected, 1e-11, str(mode))


@given(random_programs(analytic=False), points())
def test_forward_is_reverse_is_differences(f, x):
    assume(truth.steady(f, [x], [0]))
    expected = truth.differences(f, [x], 0)
    moderate(expected)
    for mode in ("forward", "reverse"):
        assert_close(wg.jacobian(f, mode=mode)(x), expected, 1e-6, mode)


@given(random_programs(analytic=False), points())
def test_adjoint_identity(f, x):
    rng = np.random.default_rng(x.size)
    y, push = wg.linearize(f, x)
    np.testing.assert_allclose(y, f(x), rtol=1e-13, atol=1e-13)
    t, g = rng.normal(size=x.shape), rng.normal(size=y.shape)
    y_dot, x_bar = push(t), push.T(g)
    scale = np.linalg.norm(y_dot) * np.linalg.norm(g) + np.linalg.norm(x_bar) * np.linalg.norm(t)
    moderate(scale)
    assert abs(g @ y_dot - x_bar @ t) <= 1e-10 * max(1.0, scale)


@given(random_programs(analytic=False), points())
def test_blocks_are_singles(f, x):
    y, push = wg.linearize(f, x)
    forward, reverse = (wg.jacobian(f, mode=mode)(x) for mode in ("forward", "reverse"))
    moderate(forward)
    for unit, column in zip(np.eye(x.size), forward.T, strict=True):
        assert_close(push(unit), column, 1e-13)
    for unit, row in zip(np.eye(y.size), reverse, strict=True):
        assert_close(push.T(unit), row, 1e-13)


@given(random_programs(max_size=5), points(max_size=3))
def test_second_derivatives_in_every_nesting(f, x):
    rng = np.random.default_rng(x.size)
    v, weights = rng.normal(size=x.shape), rng.normal(size=np.shape(f(x)))

    def scalar(x):
        return weights @ f(x)

    expected = truth.differences(lambda s: truth.complex_step(scalar, [x + s * v], 0), [0.0], 0, 1e-3)
    nearer = truth.differences(lambda s: truth.complex_step(scalar, [x + s * v], 0), [0.0], 0, 0.5e-3)
    moderate(expected)
    assume(np.allclose(expected, nearer, rtol=1e-6, atol=1e-7))
    H = wg.hessian(scalar)(x)
    assert_close(H @ v, expected, 1e-5, "hessian")
    scale = 1e-9
    assert_close(wg.hvp(scalar)(x, v), H @ v, scale, "product")
    assert_close(wg.jacobian(wg.grad(scalar), mode="reverse")(x), H, scale, "reverse over reverse")
    assert_close(wg.jacobian(wg.jacobian(scalar, mode="forward"), mode="reverse")(x), H, scale, "reverse over forward")
    assert_close(wg.jacobian(wg.jacobian(scalar, mode="forward"), mode="forward")(x), H, scale, "forward over forward")


@given(random_programs(analytic=False), points())
def test_programs_their_source_and_their_scalar_lines_agree(f, x):
    program = wg.trace(f)(x)
    check(program)
    expected = f(x)
    np.testing.assert_allclose(program(x), expected, rtol=1e-13, atol=1e-13)
    namespace = {}
    exec(program.source(), namespace)
    function = namespace[program.name]
    np.testing.assert_allclose(function(x), expected, rtol=1e-13, atol=1e-13)
    elsewhere = x + 0.01
    np.testing.assert_allclose(program(elsewhere), f(elsewhere), rtol=1e-13, atol=1e-13)
    if can_scalarize(program):
        scalar = scalarize(program, x)
        check(scalar)
        assert all(var.shape == () for line in scalar.lines for var in line.outputs)
        np.testing.assert_allclose(scalar(x), expected, rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(scalar(elsewhere), f(elsewhere), rtol=1e-11, atol=1e-12)


@given(random_programs(max_size=5), points(max_size=3))
def test_derivatives_of_programs_are_derivatives_of_functions(f, x):
    J = wg.jacobian(f)(x)
    moderate(J)
    program = wg.trace(f)(x)
    assert_close(wg.jacobian(program)(x), J, 1e-12)
    for mode in ("forward", "reverse"):
        derivative = wg.trace(wg.jacobian(f, mode=mode))(x)
        check(derivative)
        assert_close(derivative(x), J, 1e-12, mode)
        namespace = {}
        exec(derivative.source(), namespace)
        assert_close(namespace[derivative.name](x), J, 1e-12, mode)
        elsewhere = x + 0.01
        assert_close(derivative(elsewhere), wg.jacobian(f, mode=mode)(elsewhere), 1e-11, mode)
        simpler = simplify(derivative)
        check(simpler)
        assert len(simpler.lines) <= len(derivative.lines)
        assert_close(simpler(elsewhere), derivative(elsewhere), 1e-11, mode)


@given(random_programs(analytic=False), points())
def test_single_precision_keeps_its_dtype(f, x):
    single = x.astype(np.float32)
    expected = f(single).dtype
    J = wg.jacobian(f)(x)
    moderate(J)
    value, push = wg.linearize(f, single)
    assert value.dtype == expected
    assert push(single).dtype == expected
    assert push.T(np.zeros(value.shape)).dtype == np.float32
