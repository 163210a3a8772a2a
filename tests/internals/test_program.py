"""The Wengert list: what is well formed, what it evaluates to, how it prints, and that its source runs alone."""

from __future__ import annotations

import re

import numpy as np
import pytest

import wengert as wg
from wengert.errors import ArgumentError, BranchError, ProgramError, ShapeError
from wengert.passes.scalarization import can_scalarize, scalarize
from wengert.primitives.numpy.elementwise import add, exp, multiply
from wengert.program import Constant, Guard, Line, Packing, Program, Var, check, evaluate, walk

F64 = np.dtype(np.float64)


def seed(x):
    return np.array([x[0] * (x[1] - x[2]), x[2] * np.log(1 - x[0])])


X = np.array([0.5, 2.0, 3.0])


# ---- Check ----

u0, u1, u2, u3 = (Var(k, (), F64) for k in range(4))
X_ARGUMENT = Packing("x", (), F64, (u0,))


def program(lines, result, arguments=(X_ARGUMENT,), guards=()):
    return Program("f", arguments, tuple(lines), (Packing("y", (), F64, (result,)),), tuple(guards))


GOOD = (Line(exp, (u0,), (u1,)), Line(multiply, (Constant(2.0), u1), (u2,)))


def test_a_good_program_passes():
    check(program(GOOD, u2))
    check(program((), u0))
    check(program((), Constant(np.float64(3.0))))


MALFORMED = {
    "used before it is defined": program([Line(exp, (u0,), (u1,)), Line(add, (u1, u3), (u2,))], u2),
    "does not follow": program([Line(exp, (u0,), (u2,)), Line(exp, (u2,), (u1,))], u1),
    "does not follow u_1": program([Line(exp, (u0,), (u1,)), Line(exp, (u1,), (u1,))], u1),
    "no independent variable": program(GOOD, u2, arguments=(Packing("x", (), F64, (u3,)),)),
    "is no independent": program(GOOD, u2, arguments=(Packing("x", (), F64, (Constant(1.0),)),)),
    "stands twice": program(GOOD, u2, arguments=(X_ARGUMENT, Packing("z", (), F64, (u0,)))),
    "a guard asks for": program(GOOD, u2, guards=(Guard(u3, True),)),
    "which is not defined": program(GOOD, u3),
    "is laid out in 1 variables": Program(
        "f", (Packing("x", (2,), F64, (u0,)),), GOOD, (Packing("y", (), F64, (u2,)),)
    ),
    "of shape \\(2,\\) is laid out": Program("f", (X_ARGUMENT,), GOOD, (Packing("y", (2,), F64, (u2,)),)),
}


@pytest.mark.parametrize("reason", MALFORMED)
def test_malformed_programs_are_refused(reason):
    with pytest.raises(ProgramError, match=reason) as caught:
        check(MALFORMED[reason])
    assert isinstance(caught.value, ValueError)


def test_the_guilty_line_is_marked_among_its_neighbors():
    lines = [Line(exp, (u0,), (u1,)), Line(add, (u1, Var(9, (), F64)), (u2,)), Line(exp, (u2,), (u3,))]
    with pytest.raises(ProgramError) as caught:
        check(program(lines, u3))
    assert str(caught.value).splitlines() == [
        "f is not a Program: u_9 is used before it is defined.",
        "  u_1 = exp(u_0)",
        "> u_2 = u_1 + u_9",
        "  u_3 = exp(u_2)",
    ]


def test_the_users_line_is_shown():
    good = wg.trace(lambda x: np.exp(x) + 1.0)(1.0)
    bad = Program(good.name, good.arguments, good.lines[::-1], good.results)
    with pytest.raises(ProgramError, match=r"test_program.py"):
        check(bad)


def test_two_equal_variables_are_two():
    with pytest.raises(ProgramError, match="used before it is defined"):
        check(program([Line(exp, (Var(0, (), F64),), (u1,))], u1))


def test_every_traced_program_is_well_formed():
    for f, args in SOURCES.values():
        check(wg.trace(f)(*args))


# ---- Evaluate ----


def test_a_program_is_a_function():
    p = wg.trace(seed)(X)
    for x in (X, np.array([-1.0, 0.0, 4.0])):
        np.testing.assert_array_equal(p(x), seed(x))
    assert p(X).dtype == np.float64
    np.testing.assert_array_equal(evaluate(p, [0.5, 2, 3]), seed(X))


def test_other_shapes_and_counts_are_refused():
    p = wg.trace(seed)(X)
    with pytest.raises(ShapeError, match=r"argument x has shape \(4,\), and this Program was traced for \(3,\)"):
        p(np.zeros(4))
    with pytest.raises(ArgumentError, match=r"takes 1 arguments \(x\), not 2"):
        p(X, X)


def test_another_branch_is_refused():
    def f(x):
        if x > 0:
            return x * x
        return -x

    p = wg.trace(f)(2.0)
    assert p(3.0) == 9.0
    with pytest.raises(BranchError, match="if x > 0") as caught:
        p(-1.0)
    assert isinstance(caught.value, RuntimeError)
    assert "test_program.py" in str(caught.value)
    assert "trace it again" in str(caught.value)


def test_integers_taken_from_values_are_guarded():
    p = wg.trace(lambda x: x ** int(np.floor(x)))(2.5)
    assert p(2.25) == 2.25**2
    with pytest.raises(BranchError):
        p(3.5)


def test_loops_that_end_by_value_are_guarded():
    def halve(x):
        while x > 1:
            x = x / 2
        return x

    p = wg.trace(halve)(5.0)
    assert p(6.0) == 0.75
    for elsewhere in (3.0, 10.0):
        with pytest.raises(BranchError):
            p(elsewhere)


def test_a_guard_on_an_argument_itself():
    def f(x):
        return x * 2.0 if x else x

    p = wg.trace(f)(3.0)
    assert p(4.0) == 8.0
    with pytest.raises(BranchError):
        p(0.0)


def test_lines_that_nothing_depends_on_are_left_out():
    def f(x):
        np.exp(x)
        return 2 * x

    assert [str(line) for line in wg.trace(f)(1.0).lines] == ["u_1 = 2 * u_0"]


def test_programs_can_be_differentiated():
    p = wg.trace(seed)(X)
    np.testing.assert_allclose(wg.jacobian(p)(X), wg.jacobian(seed)(X), rtol=1e-15)


def test_walk_goes_through_all_lines():
    p = wg.trace(seed)(X)
    assert list(walk(p)) == list(p.lines)


# ---- Print ----

LISTINGS = {
    "reference": (
        seed,
        (X,),
        """\
x_1 = u_{-2}, x_2 = u_{-1}, x_3 = u_0
u_1 = u_{-1} - u_0
u_2 = 1 - u_{-2}
u_3 = log(u_2)
u_4 = u_{-2} * u_1  = y_1
u_5 = u_0 * u_3     = y_2""",
    ),
    "arrays": (
        lambda A, b: np.sum(np.tanh(A @ b) ** 2),
        (np.ones((40, 20)), np.ones(20)),
        """\
A = u_{-1}  (40 x 20), b = u_0  (20)
u_1 = u_{-1} @ u_0      (40)
u_2 = tanh(u_1)         (40)
u_3 = u_2 ** 2          (40)
u_4 = sum(u_3, axis=-1) = y""",
    ),
    "branch": (
        lambda x: np.exp(-x) if x > 0 else x,
        (1.5,),
        """\
x = u_0
u_1 = u_0 > 0   (here True)
u_2 = -u_0
u_3 = exp(u_2)  = y""",
    ),
}


@pytest.mark.parametrize("name", LISTINGS)
def test_listing(name):
    f, args, expected = LISTINGS[name]
    listing = wg.trace(f)(*args).listing(places=False)
    assert [line.split() for line in listing.splitlines()] == [line.split() for line in expected.splitlines()]
    if name != "arrays":
        assert listing == expected


def test_print_gives_the_place_of_each_line():
    lines = str(wg.trace(seed)(X)).splitlines()
    assert all(re.search(r"  # test_program\.py:\d+$", line) for line in lines[1:])
    assert len({len(line) for line in lines[1:]}) == 1


def test_dependents_come_last():
    def f(x):
        first = x[0] * x[1]
        second = np.exp(x[0])
        return np.array([second, first, second * 2])

    p = wg.trace(f)(np.array([1.0, 2.0]))
    assert [str(a) for a in p.outputs] == ["u_1", "u_2", "u_3"]
    assert str(p.lines[0]).endswith("exp(u_{-1})")


def test_constant_results_are_printed():
    p = wg.trace(lambda x: np.array([2.0, x[0], 3.0]))(np.array([1.0, 2.0]))
    assert p.listing().splitlines()[-1].startswith("y_1 = 2")
    np.testing.assert_array_equal(p(np.array([5.0, 6.0])), [2.0, 5.0, 3.0])


def test_repr_says_from_where_to_where():
    assert repr(wg.trace(seed)(X)) == "<Program seed: R^3 -> R^2, 5 lines>"


# ---- Source ----

LARGE = np.linspace(-1.0, 1.0, 130).reshape(65, 2)
INDEX = np.array([2, 0, 2])
MATRIX = np.arange(6.0).reshape(2, 3) + 0.5
WIDE = np.arange(60.0).reshape(20, 3) / 7
LONG = np.arange(30.0) / 3 - 4.05


def loop(x):
    total = 0.0
    for k in range(4):
        total = total + x[k] * x[k + 1] ** k
    return total


def branches(x):
    return np.sin(x) if x > 0 else x


SOURCES = {
    "reference": (seed, (X,)),
    "loop": (loop, (LONG,)),
    "branch": (branches, (1.0,)),
    "integer": (lambda x: x[: int(x[1] - x[0] + 2)] * 2.0, (np.arange(30.0),)),
    "slices": (lambda x: x[1:] * x[:-1] + x[::-1][1:] - x[-29:], (LONG,)),
    "ellipsis and newaxis": (lambda x: x[..., 1] * x[:, None, 0].sum() + x[3, 2] + x[4][0], (WIDE,)),
    "index arrays": (lambda x: x[INDEX] * x[np.array([[0], [1]]), INDEX].sum(0), (WIDE,)),
    "empty index": (lambda x: np.sum(x[np.array([], dtype=int)]) + x.sum(), (LONG,)),
    "masks": (lambda x: x[:, np.array([True, False, True])], (WIDE,)),
    "computed index": (lambda x: x[np.argmax(x)] + np.sum(x[x > 0]), (LONG,)),
    "join": (lambda x, y: np.concatenate([np.stack([x, y]), MATRIX[:1], x[None] * 2]), (MATRIX[0], MATRIX[1])),
    "join many": (lambda x: np.concatenate([x, 2 * x, LONG]), (LONG,)),
    "where": (lambda x: np.where(x > 0.5, x, -1.0) + np.where(MATRIX > 2, 0.0, x), (MATRIX,)),
    "matmul": (lambda A, x: A @ x + x @ A.T - WIDE @ x, (WIDE, X)),
    "sums": (lambda x: x.sum(0) + x.sum(axis=(0, 1)) + np.max(x, axis=0) - np.min(x, keepdims=True), (WIDE,)),
    "sum keepdims": (lambda x: x / x.sum(axis=1, keepdims=True) + np.cumsum(x, 0), (WIDE + 1,)),
    "reductions by truth": (lambda x: x * np.all(x > -9, axis=0) + x * np.any(x > 3, axis=1, keepdims=True), (WIDE,)),
    "shapes": (lambda x: np.transpose(x).reshape(4, 15) + np.broadcast_to(x[0, 0], (4, 15)), (WIDE,)),
    "transpose three": (lambda x: np.transpose(x.reshape(2, 10, 3), (2, 0, 1)), (WIDE,)),
    "types": (lambda x: np.sum(x.astype(np.float32)) * x, (LONG,)),
    "small constants": (
        lambda x: x * np.array([1, -2, 3]) - np.float32(0.1) + (-3) ** 2 + np.array([True, False, True]),
        (X,),
    ),
    "negative base": (lambda x: (-2.0) ** np.floor(x), (X,)),
    "negative constants": (lambda x: (-2.5) * x - (-1) + x ** (-2) + (-0.1) / x, (X,)),
    "large constants": (lambda x: LARGE @ x, (np.array([0.3, 0.7]),)),
    "non-finite constants": (
        lambda x: (
            np.minimum(x, np.inf) + np.maximum(x, -np.inf) + np.fmin(x, np.nan) + np.fmax(x, np.array([np.nan] * 3))
        ),
        (X,),
    ),
    "tiny and huge": (lambda x: x * 1e-300 * 1e300 + 5e-324 - 1.7976931348623157e308 * 0 + np.pi, (X,)),
    "operators": (
        lambda x: (x // 0.7 + x % 0.7) * (x >= 2) + ~(x > 1) + abs(x) + (+x) * ((x < 1) | (x > 2) & (x != 2)),
        (X,),
    ),
    "elementwise": (
        lambda x: np.hypot(x, 1.0) + np.arctan2(x, 2.0) + np.logaddexp(x, 0) + np.sign(x) * np.heaviside(x, 0.5),
        (X,),
    ),
    "vector products": (
        lambda x: np.cross(x, np.array([1.0, 2.0, 3.0]) * x[::-1]) + np.sum(np.cross(np.ones((2, 3)), x), axis=0),
        (X,),
    ),
    "gradient of vector products": (wg.grad(lambda x: np.sum(np.cross(x, x * x) * np.cross(np.eye(3), x))), (X,)),
    "diagonals": (lambda x: np.diag(x, 1) + np.diagonal(x * x, -1) + np.trace(x), (np.arange(9.0).reshape(3, 3),)),
    "gradient of a diagonal": (
        wg.grad(lambda x: np.sum(np.diagonal(x, 1) ** 2)),
        (np.arange(12.0).reshape(3, 4),),
    ),
    "constant result": (lambda x: np.array([1.0, x[0], -np.inf]), (X,)),
    "gradient": (wg.grad(loop), (LONG,)),
    "gradient of slices": (wg.grad(lambda x: np.sum(x[1:] * x[:-1] ** 2) + x[3] ** 2), (LONG,)),
    "gradient of an index": (wg.grad(lambda x: np.sum(x[INDEX] ** 3) + np.sum(x[:, INDEX[:1]] ** 2)), (WIDE,)),
    "gradient of a computed index": (wg.grad(lambda x: np.sum(x[x > 0] ** 2) + x[np.argmax(x)] ** 3), (LONG,)),
    "gradient of max": (wg.grad(lambda x: np.sum(np.max(x, axis=0) ** 2)), (WIDE,)),
    "jacobian forward": (wg.jacobian(lambda x: x[1:4] * x[INDEX], mode="forward"), (LONG[:12],)),
    "jacobian reverse": (wg.jacobian(lambda x: x[1:4] * x[INDEX] + x[..., 0], mode="reverse"), (LONG[:12],)),
    "jacobian of matrices": (
        wg.jacobian(lambda x: x[0, :, INDEX] ** 2, mode="reverse"),
        (np.arange(12.0).reshape(2, 2, 3),),
    ),
    "hessian": (wg.hessian(lambda x: np.sum(np.tanh(x[1:] * x[:-1]))), (LONG[10:16],)),
}


@pytest.mark.parametrize("name", SOURCES)
def test_source_runs_alone_and_gives_the_same_values(name):
    f, args = SOURCES[name]
    p = wg.trace(f)(*args)
    namespace = {}
    exec(compile(p.source(), "<source>", "exec"), namespace)
    alone = namespace[p.name if p.name.isidentifier() else "f"]
    given, expected = alone(*args), f(*args)
    np.testing.assert_allclose(given, expected, rtol=1e-14, atol=1e-300)
    assert np.shape(given) == np.shape(expected)
    assert np.asarray(given).dtype == np.asarray(expected).dtype
    np.testing.assert_array_equal(p(*args), given)


@pytest.mark.parametrize("name", SOURCES)
def test_scalar_lines_give_the_same_values(name):
    f, args = SOURCES[name]
    p = wg.trace(f)(*args)
    if not can_scalarize(p):
        pytest.skip("a line has no scalar form")
    scalar = scalarize(p, *args)
    check(scalar)
    assert all(var.shape == () for line in scalar.lines for var in line.outputs)
    rtol = 1e-6 if name == "types" else 1e-12  # sums in float32 are rounded in another order
    np.testing.assert_allclose(scalar(*args), f(*args), rtol=rtol, atol=1e-300)


def test_source_holds_for_other_points_too():
    p = wg.trace(wg.grad(loop))(LONG)
    namespace = {}
    exec(p.source(), namespace)
    np.testing.assert_allclose(namespace["loop"](LONG + 1), wg.grad(loop)(LONG + 1), rtol=1e-14)


def test_source_refuses_another_branch():
    namespace = {}
    exec(wg.trace(branches)(1.0).source(), namespace)
    assert namespace["branches"](2.0) == np.sin(2.0)
    with pytest.raises(ValueError, match="another branch"):
        namespace["branches"](-2.0)


def test_source_is_readable():
    source = wg.trace(seed)(X).source()
    lines = [line.split("  #")[0] for line in source.splitlines()]
    assert lines == [
        "import numpy as np",
        "",
        "",
        "def seed(x):",
        "    u_m2 = x[0]",
        "    u_m1 = x[1]",
        "    u_0 = x[2]",
        "    u_1 = u_m1 - u_0",
        "    u_2 = 1 - u_m2",
        "    u_3 = np.log(u_2)",
        "    u_4 = u_m2 * u_1",
        "    u_5 = u_0 * u_3",
        "    return np.array([u_4, u_5])",
    ]


@pytest.mark.parametrize("pick", [lambda x: x[0], lambda x: x[0:1], lambda x: x[0:1] > 1.0])
def test_guards_survive_in_scalar_lines(pick):
    def f(x):
        return x[0] * x[1] if pick(x) else x[1]

    x = np.array([2.0, 3.0])
    p = scalarize(wg.trace(f)(x), x)
    assert not p.arguments[0].whole
    assert p(np.array([4.0, 5.0])) == 20.0
    with pytest.raises(BranchError):
        p(np.array([0.0, 5.0]))


def test_a_value_that_was_asked_twice_is_guarded_twice():
    def f(x):
        n = x.astype(int)
        return x * int(n) if n else -x

    program = wg.trace(f)(np.float64(1.5))
    assert [guard.value for guard in program.guards] == [True, 1]
    assert program(1.7) == 1.7
    namespace: dict[str, object] = {}
    exec(program.source(), namespace)
    assert namespace["f"](1.7) == 1.7
    for elsewhere in (2.5, 0.5):
        with pytest.raises(BranchError):
            program(elsewhere)
        with pytest.raises(ValueError, match="another branch"):
            namespace["f"](elsewhere)


def test_the_truth_of_a_number_is_guarded_as_such():
    program = wg.trace(lambda x: x * 2 if x else x)(0.5)
    namespace: dict[str, object] = {}
    exec(program.source(), namespace)
    assert program(0.25) == namespace["f"](0.25) == 0.5
    with pytest.raises(BranchError):
        program(0.0)
