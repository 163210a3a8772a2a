"""Rerolling: what is folded computes what the unrolled lines compute, to the last bit, and has their derivatives."""

from __future__ import annotations

import gc
import tracemalloc
import warnings

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

import wengert as wg
from wengert.control import rerolling
from wengert.control.rerolling import REPEATS, SAVED, folded_of, reroll
from wengert.program import check

N = 4
RNG = np.random.default_rng(0)
W = RNG.normal(size=(N, N)) * 0.5
X = RNG.normal(size=N)
US = RNG.normal(size=(60, N))


def held(program):
    return [line.held for line in program.lines if line.held is not None]


def steps_of(program):
    return [(loop.length, len(loop.programs[0].lines)) for loop in held(program)]


# ---- Loops as people write them ----


def recurrence(W, x, us):
    h = x
    for t in range(len(us)):
        h = np.tanh(W @ h + us[t])
    return np.sum(h * h)


def collecting(W, x, us):
    h, hs = x, []
    for t in range(len(us)):
        h = np.tanh(W @ h + us[t])
        hs.append(h)
    return np.sum(np.sin(np.array(hs)))


def two_loops(W, x, us):
    h, hs, total = x, [x], 0.0
    for t in range(len(us)):
        h = np.tanh(W @ h + us[t])
        hs.append(h)
        total = total + h[0]
    for t in range(len(us)):  # reads what the first one made, one step behind
        total = total * 0.9 + np.sum(hs[t]) * 0.01 * t
    return total + np.sum(np.stack(hs) ** 2)


def filling(W, x, us):
    buffer = np.zeros((len(us) + 1, N))
    buffer[0] = x
    for t in range(len(us)):
        buffer[t + 1] = np.tanh(W @ buffer[t] + us[t])
    return np.sum(buffer**2)


def fibonacci(W, x, us):
    a, b = x[0], x[1]
    for _ in range(100):
        a, b = b, np.sin(a + b * 0.5)
    return a * b


def nested(W, x, us):
    h = x
    for i in range(20):
        for t in range(12):
            h = np.tanh(W @ h + us[t] * 0.1 + us[t + 1])
        h = h + us[i]
    return np.sum(h)


def while_true(W, x, us):
    a, steps = x[0], 0
    while steps < 200 and np.abs(a) > 1e-300:
        a = np.sin(a) * 0.99
        steps += 1
    return a


def backward(W, x, us):
    e = np.zeros(N)
    for t in range(len(us) - 1, -1, -1):
        e = np.tanh(W.T @ e + us[t]) * x
    return np.sum(e)


def in_columns(W, x, us):
    total = 0.0
    for k in range(1, len(us) - 1, 2):
        total = total + np.sum(us[k] * us[k - 1]) * np.cos(us[k + 1, 2])
    return total * x[0]


def triangular(W, x, us):
    total = x[0]
    for i in range(len(us)):
        for _ in range(i % 3 + 60):
            total = np.sin(total) + 0.1
        total = total * us[i, 0]
    return total


LOOPS = [recurrence, collecting, two_loops, filling, fibonacci, nested, while_true, backward, in_columns, triangular]


@pytest.mark.parametrize("f", LOOPS, ids=lambda f: f.__name__)
def test_what_is_folded_is_the_same_to_the_last_bit(f):
    args = (W, X, US)
    plain, folded = wg.trace(f, fold=False)(*args), wg.trace(f)(*args)
    check(folded)
    assert len(folded.lines) < len(plain.lines) / 4
    for scale in (1.0, 0.9):
        there = tuple(scale * a for a in args)
        assert folded(*there) == plain(*there) == f(*there)


@pytest.mark.parametrize("f", LOOPS, ids=lambda f: f.__name__)
def test_derivatives_of_what_is_folded(f):
    args = (W, X, US)
    folded = wg.trace(f)(*args)
    there = tuple(0.9 * a for a in args)
    expected = wg.grad(f, argnums=(0, 1, 2))(*there)
    for mode in ("forward", "reverse"):
        for g, e in zip(wg.jacobian(folded, argnums=(0, 1, 2), mode=mode)(*there), expected, strict=True):
            np.testing.assert_allclose(g, e, rtol=1e-12, atol=1e-12)
    direction = tuple(RNG.normal(size=a.shape) for a in args)
    t = wg.jvp(folded, there, direction)[1]
    np.testing.assert_allclose(t, sum(np.sum(e * d) for e, d in zip(expected, direction, strict=True)), rtol=1e-11)
    H, second = wg.hessian(folded, argnums=1)(*there), wg.hessian(f, argnums=1)(*there)
    np.testing.assert_allclose(H, second, rtol=1e-11, atol=1e-12)


# ---- What becomes of the lines ----


def test_a_recurrence_becomes_one_line():
    program = wg.trace(recurrence)(W, X, US)
    assert steps_of(program) == [(60, 3)]  # the line that takes us[t] is the slice
    assert [argument.name for argument in held(program)[0].programs[0].arguments] == ["carry_1", "slice_1", "outer_1"]


def test_a_buffer_that_is_filled_is_carried():
    assert steps_of(wg.trace(filling)(W, X, US)) == [(60, 5)]


def test_a_loop_with_a_short_loop_in_it_is_folded_as_a_whole():
    ((length, _),) = steps_of(wg.trace(nested)(W, X, US))
    assert length == 20


def test_a_long_loop_in_a_loop_is_folded_in_the_body():
    def f(x):
        for i in range(30):
            for _ in range(60):
                x = np.sin(x) * 0.9
            x = x + 0.01 * i
        return x

    program = wg.trace(f)(0.3)
    assert steps_of(program) == [(30, 2)]
    assert steps_of(held(program)[0].programs[0]) == [(60, 2)]
    assert program(0.4) == f(0.4)
    np.testing.assert_allclose(wg.grad(program)(0.4), wg.grad(f)(0.4), rtol=1e-12)


def test_constants_that_change_are_slices_and_keep_their_precision():
    def f(x):
        for t in range(200):
            x = x * 0.99 + 0.001 * t
        return x

    for dtype in (np.float32, np.float64):
        program = wg.trace(f)(dtype(0.3))
        assert steps_of(program) == [(200, 2)]
        y = program(dtype(0.4))
        assert y == f(dtype(0.4))
        assert y.dtype == dtype


def test_the_plan_says_what_was_folded():
    (note,) = folded_of(wg.trace(recurrence)(W, X, US))
    assert note.startswith("folded: 60 repeats of 4 lines at test_rerolling.py:")
    assert note.endswith("into a scan")
    assert note in str(wg.plan(recurrence)(W, X, US))


# ---- What is left as it is ----


def test_short_repeats_are_left():
    def f(x):
        for _ in range(REPEATS - 1):
            x = np.sin(x) * 2.0
        return x

    assert not held(wg.trace(f)(0.5))
    assert len(wg.trace(f)(0.5).lines) == 2 * (REPEATS - 1)


def test_few_lines_are_left():
    def f(x):
        for _ in range(SAVED // 2 - 1):
            x = np.sin(x) * 2.0
        return x

    assert not held(wg.trace(f)(0.5))


def test_fold_false_leaves_all():
    assert len(wg.trace(recurrence, fold=False)(W, X, US).lines) == 60 * 4 + 2


def test_steps_that_do_not_fit_together_are_left_and_right():
    def f(x):
        values = [x]
        for k in range(200):
            values.append(np.sin(values[k // 2]) * values[-1])
        return values[-1]

    program = wg.trace(f)(0.5)
    assert program(0.7) == f(0.7)
    np.testing.assert_allclose(wg.grad(program)(0.7), wg.grad(f)(0.7), rtol=1e-12)


def test_steps_at_the_end_that_read_other_things_are_left():
    f = make(45, [(4, 0, 0, 0, "state")] * 2, "some")  # lines that look alike; in the end they read others
    plain, folded = wg.trace(f, fold=False)(0.1, 0.2, np.zeros(60)), wg.trace(f)(0.1, 0.2, np.zeros(60))
    assert [loop.length for loop in held(folded)] == [36]
    assert len(folded.lines) < len(plain.lines) / 3
    assert folded(0.3, 0.2, np.zeros(60)) == plain(0.3, 0.2, np.zeros(60))


def test_another_branch_is_refused_as_in_the_unrolled_lines():
    def f(x):
        for _ in range(100):
            x = np.sin(x) if x > 0 else -x
        return x

    program = wg.trace(f)(0.5)
    assert held(program)
    with pytest.raises(wg.errors.BranchError, match="another branch"):
        program(-0.5)


# ---- Random loops ----

UNARY = [np.sin, np.cos, np.tanh, lambda u: 0.5 * u, lambda u: u * u * 0.3, lambda u: -u, lambda u: np.exp(-u * u)]
BINARY = [np.add, np.subtract, np.multiply, lambda u, v: np.where(u > v, u, 0.5 * v), np.maximum]


@st.composite
def random_loops(draw):
    """Draw a function with a loop of random lines that read results of this step, of steps before, and slices."""
    steps = draw(st.integers(30, 60))
    lines = draw(
        st.lists(
            st.tuples(
                st.sampled_from(range(len(UNARY))),
                st.sampled_from(range(len(BINARY))),
                st.integers(0, 5),
                st.integers(0, 5),
                st.sampled_from(["state", "slice", "number", "weight", "lag"]),
            ),
            min_size=2,
            max_size=6,
        )
    )
    keeps = draw(st.sampled_from(["last", "all", "some", "both"]))
    return steps, lines, keeps


def make(steps, lines, keeps):
    def f(x, w, us):
        state = [x, x * 0.5]
        history = [x, x]
        kept = []
        for t in range(steps):
            values = list(state)
            for unary, binary, i, j, kind in lines:
                u = values[i % len(values)]
                v = {
                    "state": lambda: values[j % len(values)],  # noqa: B023
                    "slice": lambda: us[t],  # noqa: B023
                    "number": lambda: 0.01 * t,  # noqa: B023
                    "weight": lambda: w,
                    "lag": lambda: history[-2],
                }[kind]()
                values.append(np.tanh(BINARY[binary](UNARY[unary](u), v)))
            state = [values[-1], values[-2]]
            history.append(values[-1])
            kept.append(values[len(values) // 2])
        total = np.sum(state[0]) + 0.5 * np.sum(state[1])
        if keeps in ("all", "both"):
            total = total + np.sum(np.array(kept) ** 2)
        if keeps in ("some", "both"):
            total = total + np.sum(kept[3] * kept[-2] + kept[7])
        return total

    return f


@settings(max_examples=60, deadline=None)
@given(random_loops(), st.sampled_from([(), (3,)]), st.integers(0, 2**31))
def test_random_loops(loop, shape, seed):
    f = make(*loop)
    rng = np.random.default_rng(seed)
    args = rng.normal(size=shape), rng.normal(size=shape), rng.normal(size=(60, *shape))
    plain, folded = wg.trace(f, fold=False)(*args), wg.trace(f)(*args)
    check(folded)
    event("folded" if held(folded) else "left as it is")  # lines that nothing depends on may break the rhythm
    there = tuple(a * 0.9 for a in args)
    try:
        expected = plain(*there)
    except wg.errors.BranchError:
        return
    assert folded(*there) == expected
    for mode in ("forward", "reverse"):
        a = wg.jacobian(folded, argnums=(0, 1), mode=mode)(*there)
        b = wg.jacobian(plain, argnums=(0, 1), mode="reverse")(*there)
        for g, e in zip(a, b, strict=True):
            np.testing.assert_allclose(g, e, rtol=1e-9, atol=1e-12)


# ---- Memory ----


def memory_of(make_program):
    make_program()  # what is made once
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    program = make_program()
    peak = tracemalloc.get_traced_memory()[1]
    gc.collect()  # Python's own stock of freed objects
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert program.lines
    return after - before, peak - before


def test_an_unrolled_network_takes_no_more_memory_than_its_rolled_form():
    n, steps = 16, 1000
    rng = np.random.default_rng(1)
    weights, us = rng.normal(size=(n, n)) * 0.2, rng.normal(size=(steps, n))

    def unrolled(W):
        h = np.zeros(n)
        for t in range(steps):
            h = np.tanh(W @ h + us[t])
        return np.sum(h)

    def rolled(W):
        return np.sum(wg.scan(lambda h, u: (np.tanh(W @ h + u), None), np.zeros(n), us)[0])

    own, peak = memory_of(lambda: wg.trace(unrolled)(weights))
    of_rolled, _ = memory_of(lambda: wg.trace(rolled)(weights))
    unfolded, trace = memory_of(lambda: wg.trace(unrolled, fold=False)(weights))
    assert own < of_rolled + 2 * us.nbytes  # the slices are in both
    assert own < unfolded / 5
    assert peak < of_rolled + 2 * trace


def test_reroll_takes_programs_of_any_kind():
    program = wg.trace(recurrence, fold=False)(W, X, US)
    assert reroll(program, [W, X, US])(W, X, US) == program(W, X, US)


# ---- How long it takes ----


def logistic(steps):
    def f(a):
        x = 0.5
        for _ in range(steps):
            x = a * x * (1 - x)
        return x

    return f


def test_the_gradient_of_a_loop_is_two_loops_however_many_steps_it_has():
    counts = set()
    for steps in (100, 400):
        gradient = wg.grad(logistic(steps))
        program = wg.trace(gradient)(3.5)
        check(program)
        assert [loop.length for loop in held(program)] == [steps - 2] * 2
        assert program(3.4) == gradient(3.4)
        counts.add(len(program.lines))
    (count,) = counts
    assert count < 40


@pytest.mark.parametrize("inner", [12, 60])
def test_the_gradient_of_a_loop_in_a_loop_by_two_arguments(inner):
    """Of 12 outer steps; the derivatives of both arguments are sums over all steps of both loops."""
    us, vs = np.linspace(0.9, 1.1, 12), np.linspace(-1.0, 1.0, inner)

    def f(c, w):
        for u in us:
            for v in vs:
                c = np.sin(c * w) + v * u
            c = c * u
        return c

    program = wg.trace(wg.grad(f, (0, 1)))(0.3, 1.1)
    check(program)
    assert held(program)
    assert len(program.lines) < 12 * inner * 3 / 2
    for point in ((0.3, 1.1), (0.4, 0.9)):
        h = 1e-6
        c, w = point
        slopes = [(f(c + h, w) - f(c - h, w)) / (2 * h), (f(c, w + h) - f(c, w - h)) / (2 * h)]
        np.testing.assert_allclose(program(*point), wg.grad(f, (0, 1))(*point), rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(program(*point), slopes, rtol=1e-5, atol=1e-8)


def test_results_that_are_read_backwards_are_a_part_of_what_is_collected():
    program = wg.trace(wg.grad(logistic(100)))(3.5)
    forward, _ = [line for line in program.lines if line.held is not None]
    indices = [line.params["index"][0] for line in program.lines if forward.outputs[1:].count(line.inputs[0])]
    assert indices == [slice(97, None, -1), slice(97, None, -1), slice(96, None, -1)]


def test_loops_beside_each_other_are_folded_in_one_pass(monkeypatch):
    passes = []
    find = rerolling._find_loops
    monkeypatch.setattr(rerolling, "_find_loops", lambda program: passes.append(len(program.lines)) or find(program))
    source = "def f(x):\n" + "".join(
        f"    for _ in range(60):\n        x = np.sin(x) * {k}.5 + 0.1\n    x = np.exp(-x * x) + x\n" for k in range(20)
    )
    source += "    return x\n"
    namespace = {"np": np}
    exec(source, namespace)
    f = namespace["f"]
    program = wg.trace(f)(0.7)
    assert steps_of(program) == [(60, 3)] * 20
    assert program(0.8) == f(0.8)
    assert len(passes) < 4


def test_lines_that_only_take_elements_are_no_loop():
    order = np.random.default_rng(5).permutation(300).tolist()
    program = wg.trace(lambda x: np.array([x[k] for k in order]))(np.zeros(300))
    assert not held(program)
    x = np.arange(300.0)
    np.testing.assert_array_equal(program(x), x[order])


def test_folding_warns_no_second_time():
    def f(x):
        for _ in range(100):
            x = x * x + 1.0
        return x

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        program = wg.trace(f)(2.0)
    assert held(program)
    assert len(caught) == 1
