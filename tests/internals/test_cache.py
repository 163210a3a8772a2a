"""What is remembered of the structure of a body never shows: a gradient is that of its call.

Loops of few steps are written as code only when their structure is met again, so everything here is called repeatedly.
"""

from __future__ import annotations

import gc
import threading
import weakref

import numpy as np
import pytest

import wengert as wg
from wengert.compilation import cache
from wengert.compilation.cache import form_of, key_of

XS = np.linspace(0.5, 1.5, 4)


@pytest.fixture(autouse=True)
def _nothing_known():
    cache._shared_form.cache_clear()


def looped(body):
    """Return two functions of a start: a scan of a body over `XS`, and the plain loop."""

    def rolled(c):
        return np.sum(wg.scan(lambda c, x: (body(c, x), None), c, XS)[0])

    def plain(c):
        for x in XS:
            c = body(c, x)
        return np.sum(c)

    return rolled, plain


def agree(body, start, again=3, derive=wg.grad):
    """Compare a derivative through a scan with that through a plain loop, as often as it takes to remember it."""
    rolled, plain = looped(body)
    for _ in range(again):
        np.testing.assert_allclose(derive(rolled)(start), derive(plain)(start), rtol=1e-12)


def met():
    return cache._shared_form.cache_info().hits


# ---- The same structure, and something else in it ----


@pytest.mark.parametrize(
    "constants",
    [
        (np.array([1.0, 2.0, 3.0]), np.array([-1.0, 0.5, 7.0])),  # handed to the code
        (2.0, 3.0),  # written into it
        (2, 2.0, True),
        (np.float32(2.0), np.float64(2.0)),
        (np.float64(0.0), np.float64(-0.0), 0.0, -0.0),
        (np.array(2.0), np.array(3.0)),
        (np.ones(3), np.ones((1, 3)), np.ones(3, np.float32), np.ones(3, int)),
        (np.full(3, 2.0), np.full(3, 3.0), np.array([0.0, 1.0, 2.0])),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "use",
    [
        lambda c, k: np.sin(c * k),
        lambda c, k: np.abs(c) ** k + c,
        lambda c, k: np.where(c > k, c * k, np.sin(c) - k),
        lambda c, k: np.arctan2(c, k) + np.hypot(c, k),
        lambda c, k: np.maximum(c, k) * np.cos(c) + k,
    ],
    ids=["product", "power", "where", "quotient", "maximum"],
)
def test_constants(constants, use):
    start = np.array([0.3, 0.7, 1.1])
    for _ in range(3):
        for k in constants:
            agree(lambda c, x, k=k: (use(c, k) * x).reshape(3), start, again=1)
    assert met()


def test_the_sign_of_zero():
    for _ in range(3):
        for zero in (0.0, -0.0, np.float64(0.0), np.float64(-0.0), np.array(0.0), np.array(-0.0)):
            agree(lambda c, x, zero=zero: np.copysign(c, zero) * x + np.arctan2(zero, -1.0) * c, 2.0, again=1)


def test_indices():
    start = np.array([0.3, 0.7, 1.1])
    orders = [np.array([0, 1, 2]), np.array([2, 0, 1]), np.array([0, 0, 2])]
    indices = [*orders, np.array([True, True, True]), slice(None), slice(None, None, -1), (2, None)]
    for _ in range(3):
        for index in indices:
            agree(lambda c, x, index=index: np.sin(c[index] * x) + c, start, again=1)
            agree(lambda c, x, index=index: np.concatenate([np.tanh(c[index]).ravel(), c])[:3] * x, start, again=1)
    for k in range(3):
        agree(lambda c, x, k=k: c * x + np.sin(c[k]), start, again=2)


def test_an_index_that_is_changed_afterwards():
    start, order = np.array([0.3, 0.7, 1.1]), np.array([2, 0, 1])
    for _ in range(3):
        for turn in range(3):
            order[:] = np.roll([2, 0, 1], turn)
            agree(lambda c, x: np.sin(c[order] * x), start, again=1)


def test_parameters():
    start = np.arange(6.0).reshape(2, 3) / 7
    for _ in range(3):
        for axis in (0, 1, None):
            agree(lambda c, x, axis=axis: c * x + np.sin(np.sum(c, axis=axis, keepdims=True)), start, again=1)
            agree(lambda c, x, axis=axis: c - x * np.max(c, axis=axis, keepdims=True), start, again=1)


def test_dtypes():
    def f(c):
        return np.sum(np.abs(wg.scan(lambda c, _: (np.sin(c) + 2 * c, c * 3.0), c, length=4)[0]) ** 2)

    wanted = None
    for _ in range(3):
        for dtype in (np.float64, np.float32):
            gradient = wg.grad(f)(np.array([0.25, 0.5], dtype))
            assert gradient.dtype == dtype
            wanted = gradient if wanted is None else wanted
            np.testing.assert_allclose(gradient, wanted, rtol=1e-5 if dtype is np.float32 else 0)
        gradient = wg.grad(lambda r: f(r + 0j))(np.array([0.25, 0.5]))
        np.testing.assert_allclose(gradient, wanted, rtol=1e-12)


def test_shapes():
    for _ in range(3):
        for shape in ((), (1,), (3,), (2, 3)):
            agree(lambda c, x: np.sin(c) * x + np.sum(c), np.full(shape, 0.4))


def test_which_operand_is_what():
    for _ in range(3):
        agree(lambda c, x: c / x, 0.5, again=1)
        agree(lambda c, x: x / c, 0.5, again=1)
        agree(lambda c, x: c - x * c, 0.5, again=1)
        agree(lambda c, x: c * x - c, 0.5, again=1)


def test_what_is_closed_over():
    start = np.array([0.3, 0.7])

    def f(c, w, v, turned):
        a, b = (v, w) if turned else (w, v)
        return np.sum(wg.scan(lambda c, x: (np.sin(c * a) - x * b * b, None), c, XS)[0])

    def plain(c, w, v, turned):
        a, b = (v, w) if turned else (w, v)
        for x in XS:
            c = np.sin(c * a) - x * b * b
        return np.sum(c)

    for k in range(6):
        args = start, start + k, start * (k + 1), k % 2 == 1
        for argnums in ((0, 1, 2), (1,), (2, 0)):
            for mine, its in zip(wg.grad(f, argnums)(*args), wg.grad(plain, argnums)(*args), strict=True):
                np.testing.assert_allclose(mine, its, rtol=1e-12)


# ---- Another body than last time ----


def test_a_branch_that_changes_between_calls():
    for k in range(9):
        agree(lambda c, x, k=k: np.sin(c) * x if k % 3 == 0 else np.cos(c) * x if k % 3 == 1 else c * x, 0.7, again=1)


def test_a_branch_on_a_value():
    for _ in range(3):
        for start in (0.2, 0.9, 1.7, -0.4):
            agree(lambda c, x: np.sin(c) * x if c > 0.5 else np.exp(c) * x, start, again=1)


def test_a_decision_on_a_whole_number():
    for _ in range(3):
        for size in (1, 2, 3):
            agree(lambda c, x, size=size: c * x + np.sum(c[: int(np.round(c[0] * 0.0 + size))]), np.full(3, 0.4))


def test_hidden_state_and_random_numbers():
    def f(c, rng):
        return wg.scan(lambda c, x: (np.sin(c) * x + rng.normal() * c, None), c, XS)[0]

    def plain(c, rng):
        for x in XS:
            c = np.sin(c) * x + rng.normal() * c
        return c

    for seed in (0, 0, 1, 1, 2, 0):
        mine, its = (wg.grad(g)(0.7, np.random.default_rng(seed)) for g in (f, plain))
        np.testing.assert_allclose(mine, its, rtol=1e-12)


def test_a_rule_that_looks_at_a_constant():
    start = np.array([0.3, 0.7, 1.1])
    for _ in range(3):
        for powers in (np.array([2.0, 1.0, 0.0]), np.array([0.0, 0.0, 3.0]), np.array([1.0, 1.0, 1.0])):
            agree(lambda c, x, powers=powers: np.sin(c * x) ** powers, start, again=1)


def test_an_infinity_is_met_carefully_with_ones_own_constants():
    start = np.array([0.0, 4.0])
    for k in (1.0, 2.0, 3.0, 4.0):
        scale = np.array([k, k + 1])
        for _ in range(2):
            with np.errstate(all="ignore"):
                agree(lambda c, x, scale=scale: np.where(c > 0, np.sqrt(np.abs(c)), scale * c) * scale, start, again=1)


# ---- Longer loops, and while loops ----


def test_long_loops_are_written_at_first_sight_and_remembered():
    xs = np.linspace(0.5, 1.0, 60)
    for k in (1.0, 2.0, 3.0):
        weights = np.array([k, -k, 0.5])

        def f(c, weights=weights):
            return np.sum(wg.scan(lambda c, x: (np.sin(c * weights) + x, c * x), c, xs)[0])

        def plain(c, weights=weights):
            for x in xs:
                c = np.sin(c * weights) + x
            return np.sum(c)

        np.testing.assert_allclose(wg.grad(f)(np.full(3, 0.1)), wg.grad(plain)(np.full(3, 0.1)), rtol=1e-9)
    assert met() == 2


@pytest.mark.parametrize("policy", ["all", 2])
def test_steps_that_are_run_again(policy):
    for k in (1.0, 2.0, 3.0):
        weights = np.array([k, -k, 0.5])

        def f(c, weights=weights):
            return np.sum(wg.scan(lambda c, x: (np.sin(c * weights) + x, None), c, XS, checkpoint=policy)[0])

        agree(lambda c, x, weights=weights: np.sin(c * weights) + x, np.full(3, 0.1))
        np.testing.assert_allclose(
            wg.grad(f)(np.full(3, 0.1)),
            wg.grad(looped(lambda c, x, weights=weights: np.sin(c * weights) + x)[1])(np.full(3, 0.1)),
        )


def test_while_loops():
    for _ in range(3):
        for factor in (np.array([2.0]), np.array([3.0])):

            def f(c, factor=factor):
                return np.sum(wg.while_loop(lambda v: v[0] < 50.0, lambda v: v * factor + np.sin(v), c))

            def plain(c, factor=factor):
                while c[0] < 50.0:
                    c = c * factor + np.sin(c)
                return np.sum(c)

            np.testing.assert_allclose(wg.grad(f)(np.array([0.5])), wg.grad(plain)(np.array([0.5])), rtol=1e-12)


# ---- Higher orders ----


def test_second_derivatives():
    start = np.array([0.3, 0.7, 1.1])
    for k in (1.0, 2.0, 1.0, -1.0):
        weights = np.array([k, 0.5, -k])
        agree(lambda c, x, weights=weights: np.sin(c * weights) * x, start, 2, wg.hessian)
        agree(lambda c, x, weights=weights: np.sin(c * weights) * x, start, 2, lambda f: wg.jacobian(wg.grad(f)))
        agree(lambda c, x, k=k: np.sin(c * k) * x, 0.4, 2, lambda f: wg.grad(wg.grad(f)))
        agree(lambda c, x, k=k: np.exp(-c * k) * x, 0.4, 2, lambda f: wg.grad(wg.grad(wg.grad(f))))


def test_tangents_and_blocks():
    start = np.array([0.3, 0.7, 1.1])
    for k in (1.0, 2.0, 1.0, -1.0):
        weights = np.array([k, 0.5, -k])

        def f(c, weights=weights):
            return wg.scan(lambda c, x: (np.sin(c * weights) * x, None), c, XS)[0]

        def plain(c, weights=weights):
            for x in XS:
                c = np.sin(c * weights) * x
            return c

        for mode in ("forward", "reverse"):
            for _ in range(2):
                mine, its = (wg.jacobian(g, mode=mode)(start) for g in (f, plain))
                np.testing.assert_allclose(mine, its, rtol=1e-12)


# ---- Threads, and memory ----


def test_threads_do_not_get_each_others_constants():
    start, failures = np.array([0.3, 0.7, 1.1]), []
    barrier = threading.Barrier(4)

    def work(k):
        try:
            weights, order = np.array([k, 0.5, -k]), np.roll(np.arange(3), int(k))
            rolled, plain = looped(lambda c, x: np.sin(c[order] * weights) * x)
            wanted = wg.grad(plain)(start)
            barrier.wait()
            for _ in range(30):
                np.testing.assert_allclose(wg.grad(rolled)(start), wanted, rtol=1e-12)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(float(k),)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_arrays_of_a_call_are_not_held():
    alive = []

    def once():
        big, start = np.random.default_rng(0).normal(size=3000), np.full(3000, 0.1)
        alive.extend([weakref.ref(big), weakref.ref(start)])
        agree(lambda c, x: np.sin(c * big) * x, start)

    once()
    gc.collect()
    assert met()
    assert all(reference() is None for reference in alive)


def test_nothing_holds_itself():
    weights = np.array([0.3, 0.7, 1.1])
    gradient = wg.grad(looped(lambda c, x: np.sin(c[np.array([2, 0, 1])] * weights) * x)[0])
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):  # met for the first time, written, looked up
            gradient(weights)
            assert gc.collect() == 0
    finally:
        gc.enable()


def test_only_so_many_are_remembered():
    for k in range(cache.MOST + 10):
        agree(lambda c, x, k=k: c * x + float(k), 0.5, again=1)
    assert cache._shared_form.cache_info().currsize <= cache.MOST


# ---- Structures ----


def test_what_is_of_one_structure():
    def program(f, x=2.0):
        return wg.trace(f)(x)

    ones = np.ones(3)
    same = [
        (lambda x: np.sin(x * ones), lambda x: np.sin(x * (ones + 1))),
        (lambda x: x**2, lambda x: x**2),
        (lambda x: x * np.float32(2), lambda x: x * np.float64(2)),  # rows have operands as NumPy promotes them
    ]
    other = [
        (lambda x: x * 1.0, lambda x: x * 2.0),
        (lambda x: x * 0.0, lambda x: x * -0.0),
        (lambda x: x * 1.0, lambda x: x * 1),
        (lambda x: x * ones, lambda x: x * ones[:2]),
        (lambda x: x * ones, lambda x: x * ones.astype(int)),
        (lambda x: x - x * x, lambda x: x * x - x),
        (lambda x: np.sin(x), lambda x: np.cos(x)),
        (lambda x: np.array([x, x * 2])[np.array([0, 1])], lambda x: np.array([x, x * 2])[np.array([1, 0])]),
        (lambda x: x if x > 1 else -x, lambda x: x if x > 0 else -x),
        (lambda x: (x, x * 2)[0] * 1.5 + 0 * x, lambda x: x * 1.5),
    ]
    for f, g in same:
        assert form_of(program(f)) is form_of(program(g))
    for f, g in other:
        assert key_of(program(f)) != key_of(program(g))
    assert key_of(program(np.sin, np.float32(2))) != key_of(program(np.sin))
    assert key_of(program(np.sin, np.ones(2))) != key_of(program(np.sin, np.ones(3)))


def test_loops_and_branches_of_one_structure():
    def program(f, x=2.0):
        return wg.trace(f)(x)

    def scan(**options):
        return lambda x: np.sum(wg.scan(lambda c, y: (c * y, c), x, XS, **options)[1])

    def cond(one, other):
        return lambda x: wg.cond(x > 0, one, other, x)

    ones = np.ones(3)
    same = [
        (scan(), lambda x: np.sum(wg.scan(lambda c, y: (c * y, c), x, XS + 1)[1])),
        (cond(np.sin, np.cos), cond(np.sin, np.cos)),
        (wg.checkpoint(lambda x: np.sum(x * ones)), wg.checkpoint(lambda x: np.sum(x * (ones + 1)))),
    ]
    other = [
        (scan(), scan(reverse=True)),
        (scan(), scan(checkpoint=2)),
        (scan(), lambda x: np.sum(wg.scan(lambda c, y: (c * y, c), x, XS[:3])[1])),
        (scan(), lambda x: np.sum(wg.scan(lambda c, y: (c * y, y * c), x, XS)[1])),
        (scan(), wg.grad(scan())),
        (wg.grad(scan()), wg.grad(scan(reverse=True))),
        (cond(np.sin, np.cos), cond(np.cos, np.sin)),
        (
            lambda x: wg.while_loop(lambda c: c < 9, lambda c: c * x, x),
            lambda x: wg.while_loop(lambda c: c < 8, lambda c: c * x, x),
        ),
    ]
    for f, g in same:
        assert key_of(program(f)) == key_of(program(g)) is not None
    for f, g in other:
        assert key_of(program(f)) != key_of(program(g))


def test_steps_that_differ_by_the_sign_of_a_zero_differ():
    zeros = np.array([0.0, -0.0, 0.0, -0.0])

    def rolled(x):
        state = iter(zeros)
        return np.sum(wg.scan(lambda c, _: (c, np.copysign(c, next(state))), x, np.arange(4.0))[1])

    def unrolled(x):
        total = 0.0
        for zero in zeros:
            total = total + np.copysign(x, zero)
        return total

    assert wg.value_and_grad(rolled)(2.0) == wg.value_and_grad(unrolled)(2.0) == (0.0, 0.0)
    assert wg.trace(unrolled)(2.0)(2.0) == 0.0
