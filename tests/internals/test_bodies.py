"""Lines that hold Programs, as they are read: printed, written as source, counted, planned and explained."""

from __future__ import annotations

import dataclasses

import numpy as np
import optree
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import wengert as wg
from wengert.cli import main
from wengert.control.execution import run_of
from wengert.control.revolve import evaluations
from wengert.cost import Cost
from wengert.errors import ArgumentError
from wengert.linearization import Linearization, OfOutput, edges
from wengert.planning import Request, choose
from wengert.program import check, evaluate_all, value_of

rng = np.random.default_rng(4)


# ---- Functions with every such line ----


def pendulum(x):
    def step(state, push):
        angle, speed = state
        energy = speed * speed
        return (angle + 0.1 * speed, speed - 0.1 * np.sin(angle) + push), energy

    (angle, _), energies = wg.scan(step, (0.5, x[0]), x)
    return angle + np.sum(energies)


def recurrent(W, h, xs):
    def step(h, x):
        h = np.tanh(W @ h + x)
        return h, h @ h

    h, ys = wg.scan(step, h, xs, checkpoint=2)
    return np.sum(h) + np.sum(ys)


def root(a):
    return wg.while_loop(lambda x: np.abs(x * x - a) > 1e-12, lambda x: (x + a / x) / 2, a)


def counting(x):
    return wg.fori_loop(2, 6, lambda i, v: v * x + x**i, 1.0)


def branching(x):
    def step(c, x):
        if c > 1:
            return c * 0.5 * x, None
        return c + x, None

    return wg.scan(step, 0.3 * x[0], x)[0]


def choosing(x):
    return wg.cond(x > 0, np.log, lambda x: x * x, x)


def layers(x):
    layer = wg.checkpoint(lambda x: np.tanh(x) * np.sin(x))
    return np.sum(layer(layer(x)))


def nested(x):
    def outer(c, x):
        return wg.fori_loop(0, 3, lambda _i, v: np.sin(v) * x, c), c

    c, ys = wg.scan(outer, 1.0, x, reverse=True)
    return c + ys @ ys


def mapped(X):
    return np.sum(wg.map(lambda row: row @ row, X))


def differing(x):
    scales = np.arange(5.0)
    return wg.fori_loop(0, 5, lambda i, v: v * scales[int(i)] + x, x)


def awkward(x):
    # names that the source has for itself
    def step(s, states):
        return s * states + x[0], s

    s, ys = wg.scan(step, x[1], x)
    return s + np.sum(ys)


CASES = {
    pendulum: (np.array([0.3, -0.2, 0.1]),),
    recurrent: (rng.normal(size=(3, 3)), np.ones(3), rng.normal(size=(4, 3))),
    root: (2.0,),
    counting: (1.5,),
    branching: (np.array([1.0, 1.5, 2.0, 0.3]),),
    choosing: (2.0,),
    layers: (np.full(3, 0.5),),
    nested: (np.array([0.5, 1.0, 1.2]),),
    mapped: (np.arange(6.0).reshape(3, 2),),
    differing: (0.7,),
    awkward: (np.array([0.5, 1.0, 1.2]),),
}
every_case = pytest.mark.parametrize(("f", "args"), CASES.items(), ids=lambda v: getattr(v, "__name__", ""))


def derivatives(f, args):
    positions = tuple(range(len(args)))
    gradient = wg.grad(f, positions)
    return {
        "itself": f,
        "grad": gradient,
        "jvp": lambda *a: wg.jvp(f, a, a)[1],
        "hessian": wg.jacobian(gradient, positions),
        "grad of grad": wg.grad(lambda *a: sum(np.sum(np.sin(g)) for g in gradient(*a)), positions),
    }


# ---- Print ----

SCAN = """\
x = u_0  (3)
u_1 = u_0[0]
u_2, u_3, u_4 = scan(0.5, u_1, u_0; 3 steps)  u_4 (3)
  step: state_0 = u_{-2}, state_1 = u_{-1}, push = u_0
  u_1 = 0.1 * u_{-1}
  u_2 = sin(u_{-2})
  u_3 = 0.1 * u_2
  u_4 = u_{-1} - u_3
  u_5 = u_{-2} + u_1                          = state_0'
  u_6 = u_4 + u_0                             = state_1'
  u_7 = u_{-1} * u_{-1}                       = y
u_5 = sum(u_4, axis=-1)
u_6 = u_2 + u_5                               = y"""


def test_a_loop_is_printed_with_its_step_below_it():
    program = wg.trace(pendulum)(*CASES[pendulum])
    check(program)
    assert program.listing(places=False) == SCAN
    assert repr(program) == "<Program pendulum: R^3 -> R^1, 4 lines, 7 in bodies>"


REVERSED = """\
a = u_0
u_1, u_2 = pull_while_loop(u_0, u_0, 1; 5 steps here, in reverse)
  test: x = u_{-1}, outer_1 = u_0
  u_1 = u_{-1} * u_{-1}
  u_2 = u_1 - u_0
  u_3 = abs(u_2)
  u_4 = u_3 > 1e-12                                                = goes_on
  step: x = u_{-1}, outer_1 = u_0
  u_1 = u_0 / u_{-1}
  u_2 = u_{-1} + u_1
  u_3 = u_2 / 2                                                    = x'
  step, in reverse: x = u_{-2}, outer_1 = u_{-1}, x'_bar = u_0
  u_1 = u_{-1} / u_{-2}
  u_2 = 0.5 * u_0
  u_3 = 1 / u_{-2}
  u_4 = -u_1
  u_5 = u_4 / u_{-2}
  u_6 = u_5 * u_2
  u_7 = u_2 + u_6                                                  = x_bar
  u_8 = u_3 * u_2                                                  = outer_1_bar
u_3 = u_1 + u_2                                                    = y"""


def test_the_gradient_of_a_while_loop_is_printed_with_the_reversed_step():
    assert wg.trace(wg.grad(root))(2.0).listing(places=False) == REVERSED


NESTED = """\
x = u_0  (3)
u_1, u_2 = scan(1, u_0; 3 steps)                          u_2 (3)
  step: c = u_{-1}, x = u_0
  u_1 = fori_loop(u_{-1}, u_0; 3 steps)                   = c'
    step: v = u_{-2}, _i = u_{-1}, outer_1 = u_0
    u_1 = sin(u_{-2})
    u_2 = u_1 * u_0                                       = v'
  y = u_{-1}
u_3 = u_2 @ u_2
u_4 = u_1 + u_3                                           = y"""


def test_a_loop_in_a_loop_is_indented_once_more():
    listing = wg.trace(nested)(*CASES[nested]).listing(places=False)
    assert [" ".join(row.split()) for row in listing.splitlines()] == [
        " ".join(row.split()) for row in NESTED.splitlines()
    ]
    assert "\n    step: v = " in listing
    assert "\n    u_2 = u_1 * u_0 " in listing


def test_branches_and_checkpoints_say_which_is_taken_and_that_it_is_run_again():
    listing = wg.trace(choosing)(2.0).listing(places=False)
    assert "u_2 = cond(u_1, u_0; where true here)" in listing
    assert "  where false: x = u_0\n  u_1 = u_0 * u_0" in listing or "  where false: x = u_0\n" in listing
    listing = wg.trace(layers)(*CASES[layers]).listing(places=False)
    assert "checkpoint(u_0; recomputed in reverse)" in listing
    assert "  inside: x = u_0  (3)\n" in listing


def test_what_a_body_computes_of_its_constants_alone_stands_before_the_loop():
    table = np.arange(20.0)

    def f(x):
        return wg.fori_loop(0, 5, lambda _i, v: v * x[0] + x[1] / x[0] + np.sum(x[0] * table), x[2])

    x = np.array([0.5, 2.0, 3.0])
    program = wg.trace(f)(x)
    (line,) = (line for line in program.lines if line.held is not None)
    (step,) = line.programs
    assert [inner.primitive.name for inner in step.lines] == ["multiply", "add", "add"]

    def plain(x):
        v = x[2]
        for _ in range(5):
            v = v * x[0] + x[1] / x[0] + np.sum(x[0] * table)
        return v

    np.testing.assert_allclose(wg.grad(f)(x), wg.grad(plain)(x), rtol=1e-12)
    np.testing.assert_allclose(wg.hessian(f)(x), wg.hessian(plain)(x), rtol=1e-12)


def test_a_step_that_two_lines_share_is_printed_once():
    listing = str(wg.trace(lambda x: wg.grad(lambda x: pendulum(x) ** 2)(x))(*CASES[pendulum]))
    assert listing.count("step: state_0") == 1
    assert "  step: as of u_2, u_3, u_4" in listing
    assert "  step, in reverse: state_0" in listing


def test_lines_of_a_reversed_step_have_the_places_of_the_lines_they_come_from():
    (line,) = (line for line in wg.trace(wg.grad(pendulum))(*CASES[pendulum]).lines if line.held is not None)
    code = pendulum.__code__
    for program in line.programs:
        for inner in program.lines:
            assert inner.location is not None
            assert code.co_firstlineno < inner.location.line < code.co_firstlineno + 5


# ---- Source ----


def run_source(program):
    namespace: dict[str, object] = {}
    exec(compile(program.source(), "<source>", "exec"), namespace)
    return namespace[program.name if program.name.isidentifier() else "f"]


def same(a, b):
    a, b = optree.tree_leaves(a), optree.tree_leaves(b)
    return len(a) == len(b) and all(np.array_equal(x, y, equal_nan=True) for x, y in zip(a, b, strict=True))


@every_case
def test_source_gives_the_same_values_bit_for_bit_and_so_does_that_of_derivatives(f, args):
    for name, g in derivatives(f, args).items():
        program = wg.trace(g)(*args)
        check(program)
        got, wanted = run_source(program)(*args), program(*args)
        assert same(list(got) if isinstance(got, tuple) else got, wanted), name
        np.testing.assert_allclose(
            np.concatenate([np.ravel(x) for x in optree.tree_leaves(wanted)]),
            np.concatenate([np.ravel(x) for x in optree.tree_leaves(g(*args))]),
            rtol=1e-12,
            err_msg=name,
        )


SOURCE = """\
import numpy as np


def pendulum(x):
    u_0 = np.asarray(x)[()]
    u_1 = u_0[0]

    def step(state_0, state_1, push):
        u_m2, u_m1, u_0 = state_0, state_1, push
        u_1 = 0.1 * u_m1
        u_2 = np.sin(u_m2)
        u_3 = 0.1 * u_2
        u_4 = u_m1 - u_3
        u_5 = u_m2 + u_1
        u_6 = u_4 + u_0
        u_7 = u_m1 * u_m1
        return u_5, u_6, u_7

    u_2, u_3 = np.float64(0.5), u_1
    u_4 = np.empty((3,), np.float64)
    for s in range(3):
        u_2, u_3, u_4[s] = step(u_2, u_3, u_0[s])
    u_5 = np.sum(u_4, axis=-1)
    u_6 = u_2 + u_5
    return u_6
"""


def test_a_loop_is_written_as_a_loop():
    source = wg.trace(pendulum)(*CASES[pendulum]).source()
    assert "\n".join(line.partition("  # ")[0] for line in source.splitlines()) + "\n" == SOURCE


BACKWARD = """\
    states = []
    x = u_0
    while test(x, u_0):
        states.append((x,))
        x = step(x, u_0)
    x_bar = np.float64(1.0)
    u_2 = np.zeros((), np.float64)[()]
    for s in reversed(range(len(states))):
        x_bar, outer_1_bar = step_in_reverse(*states.pop(), u_0, x_bar)
        u_2 = u_2 + outer_1_bar
    u_1 = x_bar
"""


def test_a_reverse_sweep_is_written_as_two_loops():
    source = wg.trace(wg.grad(root))(2.0).source()
    assert BACKWARD in "\n".join(line.partition("  # ")[0] for line in source.splitlines()) + "\n"


def test_a_branch_is_written_as_an_if_and_holds_on_both_sides():
    f = run_source(wg.trace(choosing)(2.0))
    assert f(2.0) == np.log(2.0)
    assert f(-3.0) == 9.0


def test_a_while_loop_in_source_makes_as_many_steps_as_it_needs():
    f, gradient = run_source(wg.trace(root)(2.0)), run_source(wg.trace(wg.grad(root))(2.0))
    assert f(1e6) == root(1e6)
    assert gradient(1e6) == pytest.approx(wg.grad(root)(1e6), rel=1e-13)


OPERATIONS = {
    "add": lambda a, b: a + b,
    "multiply": lambda a, b: a * b,
    "sine": lambda a, b: np.sin(a) + b,
    "quotient": lambda a, b: a / (1.5 + b * b),
    "tanh": lambda a, b: np.tanh(a * b),
    "maximum": lambda a, b: np.maximum(a, b),
}


@st.composite
def loops(draw):
    """A random body of two carried values, a slice and a constant, in a loop of some kind."""
    names = draw(st.lists(st.sampled_from(sorted(OPERATIONS)), min_size=1, max_size=5))
    places = draw(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=5, max_size=5))
    carried = draw(st.tuples(st.integers(0, 9), st.integers(0, 9)))
    kind = draw(st.sampled_from(["scan", "scan backwards", "fori_loop", "while_loop"]))
    steps = draw(st.integers(0 if kind.startswith("scan") else 1, 5))
    checkpoint = draw(st.sampled_from(["none", "all", 1, 2]))
    shape = draw(st.sampled_from([(), (2,)]))

    def step(a, b, x, w):
        values = [a, b, x, w]
        for name, (i, j) in zip(names, places, strict=False):
            values.append(OPERATIONS[name](values[i % len(values)], values[j % len(values)]))
        k, m = carried
        zero = 0.0 * a  # of the shape of the carry
        return values[-1 - k % len(values)] + zero, values[-1 - m % len(values)] + zero, values[-1]

    def f(a, w):
        xs = np.linspace(0.1, 0.9, 5)[:steps] * w
        if kind.startswith("scan"):

            def walk(c, x):
                a, b, y = step(*c, x, w)
                return (a, b), y + 0.0 * a

            (p, q), ys = wg.scan(walk, (a, 0.5 * a), xs, reverse=kind == "scan backwards", checkpoint=checkpoint)
            return np.sum(p * q) + np.sum(ys)
        if kind == "fori_loop":
            p, q = wg.fori_loop(
                1, 1 + steps, lambda i, c: step(*c, 0.1 * i, w)[:2], (a, 0.5 * a), checkpoint=checkpoint
            )
        else:
            p, q, _ = wg.while_loop(
                lambda c: c[2] < steps, lambda c: (*step(*c[:2], w, 0.3)[:2], c[2] + 1.0), (a, 0.5 * a, 0.0),
                checkpoint=checkpoint,
            )  # fmt: skip
        return np.sum(p) + np.sum(q * w)

    return f, (np.full(shape, 0.7)[()], 0.4)


@settings(max_examples=40, deadline=None)
@given(loops())
def test_source_of_random_loops_gives_the_same_values_bit_for_bit(case):
    f, args = case
    gradient = wg.grad(f, (0, 1))
    for g in (f, gradient, lambda *a: wg.jvp(f, a, a)[1], wg.grad(lambda *a: sum(map(np.sum, gradient(*a))))):
        program = wg.trace(g)(*args)
        check(program)
        got = run_source(program)(*args)
        assert same(list(got) if isinstance(got, tuple) else got, program(*args))


# ---- Costs ----


class Counted(np.float64):
    """A number that counts what is done to it."""

    counts: dict[str, int] = {}  # noqa: RUF012 - shared by all numbers

    def __neg__(self):
        return self._count("signs", -np.float64(self))

    @classmethod
    def _count(cls, kind, value):
        cls.counts[kind] = cls.counts.get(kind, 0) + 1
        return cls(value)


def _counting(name, kind):
    original = getattr(np.float64, name)
    return lambda self, other: Counted._count(kind, original(np.float64(self), np.float64(other)))


for operation, kind in (
    ("add", "additions"),
    ("sub", "additions"),
    ("mul", "multiplications"),
    ("truediv", "divisions"),
):
    for prefix in ("", "r"):
        setattr(Counted, f"__{prefix}{operation}__", _counting(f"__{prefix}{operation}__", kind))


def counted(work):
    Counted.counts = {}
    work()
    return Cost(**Counted.counts)


def scanned(checkpoint):
    def f(x, w):
        return wg.scan(lambda c, _: (c * w / (c + x), None), x, None, 11, checkpoint=checkpoint)[0]

    return f


def swapping(x, w):
    return wg.fori_loop(0, 5, lambda _i, c: (c[1] * w, c[0] + x), (x, w))[0]


def long_division(x, w):
    return wg.while_loop(lambda v: v > 0.1, lambda v: v * w - v / 4 + w / x / 1000, x)


def either(x, w):
    return wg.cond(x > w, lambda x: x * w - w / x, lambda x: x, x)


def inner(x, w):
    def step(_i, v):
        return wg.fori_loop(0, 3, lambda _j, u: u * w + v / x, v)

    return wg.fori_loop(0, 4, step, x)


def kept_out(x, w):
    return wg.checkpoint(lambda x: x * w + x / w - w * w)(x)


COUNTED = {
    "scan": scanned("none"),
    "scan, all states": scanned("all"),
    "scan, 1 snapshot": scanned(1),
    "scan, 3 snapshots": scanned(3),
    "fori_loop": swapping,
    "while_loop": long_division,
    "cond": either,
    "nested": inner,
    "checkpoint": kept_out,
}


@pytest.mark.parametrize("mode", ["forward", "reverse"])
@pytest.mark.parametrize("f", COUNTED.values(), ids=COUNTED)
def test_counts_of_loops_are_those_of_numbers_that_count_themselves(f, mode):
    program = wg.trace(f)(1.5, 0.7)
    (line,) = (line for line in program.lines if line.held is not None)
    values = [value_of(a, evaluate_all(program, 1.5, 0.7)) for a in line.inputs]
    operands = [Counted(v) if v.dtype.kind == "f" else v for v in values]
    held = line.held
    moving = tuple(isinstance(x, Counted) for x in operands)
    comparisons = Cost(comparisons=held.cost().comparisons)
    assert counted(lambda: run_of(held, operands).evaluate()) + comparisons == held.cost()
    run = run_of(held, operands)
    results = run.evaluate(moving)
    once, each_pass, _ = held.sweep(mode)
    expected = dataclasses.replace(once + each_pass, products=0)  # which are among the other operations
    ones = [Counted(1.0) if on else None for on in moving]
    if mode == "forward":
        assert counted(lambda: run.jvp(ones, 0)) == expected
    else:
        assert counted(lambda: run.vjp([Counted(1.0)] * len(results), 0, moving)) == expected


def unrolled(f, init, xs, length=None):
    carry, ys = init, []
    for s in range(len(xs) if length is None else length):
        carry, y = f(carry, None if xs is None else xs[s])
        ys.append(y)
    return carry, None if ys[0] is None else np.stack(ys)


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_a_plan_of_a_loop_is_that_of_its_lines_written_out(mode):
    W = rng.normal(size=(3, 3))

    def vectors(scan):
        return lambda h: scan(lambda h, _: (np.tanh(W @ h) * h, None), h, None, 6)[0]

    def scalars(scan):
        return lambda x, w: scan(lambda c, _: (np.exp(-c * w) / w - c, None), x, None, 6)[0] * x

    for f, args in ((vectors, (np.ones(3),)), (scalars, (1.2, 0.7))):
        loop, lines = (wg.plan(f(scan))(*args)[mode] for scan in (wg.scan, unrolled))
        assert loop == lines  # passes, function, partials, one pass, and the values kept


def test_what_is_computed_once_is_not_counted_in_each_pass():
    f = lambda x: wg.scan(lambda c, _: (np.sin(c), None), x, None, 10)[0]  # noqa: E731
    for candidate in wg.plan(f)(np.ones(3)).values():
        assert candidate.partials.functions == {"cos": 30}
        assert candidate.one_pass == Cost(multiplications=30, products=30)


def test_recomputation_is_counted_and_stated_with_the_bytes_that_are_kept():
    def f(checkpoint):
        return lambda x: wg.scan(lambda c, _: (np.sin(c), None), x, None, 100, checkpoint=checkpoint)[0]

    calls = {}
    for checkpoint in ("none", "all", 4):
        plan = wg.plan(f(checkpoint))(1.0)
        calls[checkpoint] = plan["reverse"].cost.functions["sin"]
        (note,) = plan.notes
        assert str(plan).splitlines()[-1] == note
    assert calls == {"none": 100, "all": 200, 4: evaluations(100, 4) + 100}
    # A number takes 8 bytes and 144 for its array; a place in the store 320. A snapshot is one number, 472 bytes;
    # a step keeps two in one place: 4 * 472 + 2 * 152 + 320 = 2,512.
    assert note == (
        "scan, 100 steps: 4 snapshots of 472 bytes, up to 2,512 bytes with the residuals of one step; "
        "275 steps are run again, and each once more with its residuals"
    )
    assert evaluations(100, 4) - 100 == 275
    (note,) = wg.plan(layers)(*CASES[layers]).notes
    assert note == "checkpoint: only its arguments are kept, 24 bytes; it is run once more, with its residuals"


def test_the_residuals_of_an_inner_loop_are_part_of_those_of_a_step():
    def f(steps):
        def step(c, _):
            return wg.fori_loop(0, steps, lambda _i, v: np.sin(v), c), None

        return lambda x: wg.scan(step, x, None, 10)[0]

    few, many = (
        int(wg.plan(f(n))(1.0).notes[0].split("up to ")[1].split(" bytes")[0].replace(",", "")) for n in (1, 50)
    )
    assert many > 5 * few


def test_the_choice_of_a_mode_counts_a_loop_by_its_steps():
    # three in, two out: the sums of the one cheap pass would not decide as those of the loop do
    def f(x):
        long = wg.fori_loop(0, 1000, lambda _i, v: v * x[0] + v * x[1], x[2])
        return np.array([long, x[0]])

    plan = wg.plan(f)(np.array([0.1, 0.2, 0.3]))
    assert plan["reverse"].operations < plan["forward"].operations
    program = wg.trace(f)(np.array([0.1, 0.2, 0.3]))
    linearization = Linearization.of_program(program, np.array([0.1, 0.2, 0.3]))
    assert choose(linearization, Request()).name == plan.chosen == "reverse"


@every_case
def test_every_plan_has_counts_of_derivatives_too(f, args):
    for name, g in derivatives(f, args).items():
        if name in ("itself", "grad"):
            plan = wg.plan(g)(*args)
            assert all(row.operations >= plan.function.operations for row in plan.values()), name


# ---- Edges ----


@every_case
def test_edges_into_a_line_with_several_results_are_matrices(f, args):
    linearization = Linearization.of_program(wg.trace(f)(*args), *args)
    found = 0
    for row in linearization.rows:
        if not row[0].multiple:
            continue
        for _, _, J in edges(row):
            assert isinstance(J, OfOutput)
            dense = J.dense()
            assert dense.shape == (int(np.prod(J.out_shape)), int(np.prod(J.in_shape)))
            np.testing.assert_array_equal(J.sparse().toarray(), dense)
            rows = np.asarray(J.pull(np.eye(len(dense)).reshape((len(dense), *J.out_shape)), 1)).reshape(dense.shape)
            np.testing.assert_allclose(rows, dense, rtol=1e-12, atol=1e-13)
            found += 1
    assert found


# ---- Explanations ----

STEP = """\
The steps of u_2, u_3, u_4
--------------------------

scan makes 3 steps, from state_0(0) = 1/2 and state_1(0) = u_1; step s reads push(s) = x[s] and collects z. The state_0' and state_1' of a step are the state_0 and state_1 of the next. In the end u_2 = state_0(3), u_3 = state_1(3) and u_4 = [z(0), ..., z(2)].

  v_1 = 0.1 state_1
  v_2 = sin(state_0)
  v_3 = 0.1 v_2
  v_4 = state_1 - v_3
  v_5 = state_0 + v_1 = state_0'
  v_6 = v_4 + push = state_1'
  v_7 = state_1^2 = z

Reverse accumulation goes through the steps backwards, from state_0'_bar(2) = ∂y/∂u_2 and state_1'_bar(2) = 0 on, then state_0'_bar(s) = state_0_bar(s + 1) and state_1'_bar(s) = state_1_bar(s + 1); step s is given z_bar(s) = (∂y/∂u_4)[s]:

  v_7_bar     = z_bar
  v_6_bar     = state_1'_bar
  v_5_bar     = state_0'_bar
  v_4_bar     = v_6_bar
  v_3_bar     = -v_4_bar
  v_2_bar     = 0.1 v_3_bar
  v_1_bar     = v_5_bar
  push_bar    = v_6_bar
  state_1_bar = 0.1 v_1_bar + v_4_bar + 2 state_1 v_7_bar
  state_0_bar = cos(state_0) v_2_bar + v_5_bar
"""  # noqa: E501 - as it is printed


def test_an_explanation_says_the_step_of_a_loop_once():
    text = wg.explain(pendulum, mode="reverse")(*CASES[pendulum]).text(values=False)
    assert " ".join(STEP.split()) in " ".join(text.split())  # paragraphs are broken into lines
    assert "\n  ∂y/∂u_1 = state_1_bar(0)\n" in text
    assert "\n  ∂y/∂x   = put(∂y/∂u_1, at [0]) + [push_bar(0), ..., push_bar(2)]  (3)\n" in text
    text = wg.explain(pendulum, mode="forward")(*CASES[pendulum]).text(values=False)
    assert "\n  du_2 = dstate_0(3)\n" in text
    assert "from dstate_0(0) = 0 and dstate_1(0) = du_1; step s is given dpush(s) = dx[s]: dv" in " ".join(text.split())


def numbers_of(text):
    """Read the rows ``name = number`` of a text."""
    rows = [row.split(" = ") for row in text.splitlines() if row.startswith("  ")]
    return {
        row[0].strip(): float(row[-1].partition("#")[0])
        for row in rows
        if row[-1].partition("#")[0].strip("- ").replace(".", "").isdigit()
    }


@pytest.mark.parametrize("step", [0, 1, 2, -1])
def test_a_chosen_step_is_unfolded_with_the_values_there(step):
    (x,) = CASES[pendulum]
    text = wg.explain(pendulum, mode="reverse", step=step)(x).text()
    part = text.partition(f"Step {step % 3} of u_2, u_3, u_4, with its values")[2].partition("Comparison")[0]
    found = numbers_of(part)
    state = np.array([0.5, x[0]])
    for s in range(step % 3):
        state = np.array([state[0] + 0.1 * state[1], state[1] - 0.1 * np.sin(state[0]) + x[s]])
    assert found["state_0"] == pytest.approx(state[0], rel=1e-5)
    assert found["state_1"] == pytest.approx(state[1], rel=1e-5)
    assert found["∂v_2/∂state_0"] == pytest.approx(np.cos(state[0]), rel=1e-5)

    def rest(state, s):  # what follows from this step on
        total = 0.0
        for k in range(s, 3):
            total = total + state[1] * state[1]
            state = np.array([state[0] + 0.1 * state[1], state[1] - 0.1 * np.sin(state[0]) + x[k]])
        return total + state[0]

    bars = wg.grad(lambda state: rest(state, step % 3))(state)
    assert found["state_0_bar"] == pytest.approx(bars[0], rel=1e-4)
    assert found["state_1_bar"] == pytest.approx(bars[1], rel=1e-4)


@every_case
def test_explanations_of_every_line_are_written_in_every_form(f, args):
    explanation = wg.explain(f)(*args)
    for form in (explanation.text(), explanation.latex(), explanation.markdown(values=True)):
        assert "Program" not in form.replace("The Programs of", "")
        assert form.count("$$") % 2 == 0
    held = [line for line in explanation.program.lines if line.held is not None]
    assert held
    assert repr(wg.explain(wg.grad(f))(*args)).startswith("<Explanation of")


def test_a_step_that_is_not_there_is_refused():
    with pytest.raises(ArgumentError, match=r"step 3 is to be unfolded, and scan makes 3 steps here(.|\n)*from 0 to 2"):
        wg.explain(pendulum, step=3)(*CASES[pendulum]).text()
    with pytest.raises(ArgumentError, match="has no loop"):
        wg.explain(lambda x: x * x, step=0)(1.0)


def test_what_two_lines_hold_alike_is_explained_once():
    text = wg.explain(layers)(*CASES[layers]).text(values=False)
    assert text.count("v_1 = tanh(x)") == 1
    assert "u_2 is computed as u_1 is, with u_1 for x." in text
    assert "∂y/∂u_1 = x_bar in u_2" in text


# ---- Command line ----

FILE = """
import numpy as np
import wengert as wg

def f(x):
    c, ys = wg.scan(lambda c, x: (np.sin(c * x), c), 0.5, x)
    return c + np.sum(ys)

example = (np.array([1.0, 2.0, 3.0]),)
"""


def test_the_command_line_shows_loops(tmp_path):
    path = tmp_path / "model.py"
    path.write_text(FILE)

    def run(*words):
        result = CliRunner().invoke(main, [*words])
        assert result.exit_code == 0, result.output
        return result.output

    assert "  step: c = u_{-1}, x = u_0" in run("trace", f"{path}:f")
    assert "for s in range(3):" in run("trace", f"{path}:f", "--source")
    assert "the residuals of all steps are kept" in run("plan", f"{path}:f")
    assert "Step 1 of u_1, u_2, with its values" in run("explain", f"{path}:f", "--step", "1")
    assert "with its values" not in run("explain", f"{path}:f", "--mode", "reverse")
    assert CliRunner().invoke(main, ["explain", f"{path}:f", "--step", "7"]).exit_code == 4
    assert run("check", f"{path}:f")
