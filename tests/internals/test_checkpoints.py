"""Checkpoints: the steps that are run are as few as the theorem says, and the memory is what was asked for."""

from __future__ import annotations

import math
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wengert as wg
from wengert.control.checkpoints import AllResiduals, Kept
from wengert.control.revolve import evaluations, reach, repeats
from wengert.errors import ArgumentError


def scan(steps, **options):
    return lambda c: np.sum(wg.scan(lambda c, _: (np.sin(1.1 * c), None), c, None, steps, **options)[0])


def fori_loop(steps, **options):
    return lambda c: np.sum(wg.fori_loop(0, steps, lambda i, c: np.sin(1.1 * c), c, **options))


def while_loop(steps, **options):
    def step(state):
        return state[0] + 1, np.sin(1.1 * state[1])

    return lambda c: np.sum(wg.while_loop(lambda state: state[0] < steps, step, (0, c), **options)[1])


FORMS = {"scan": scan, "fori_loop": fori_loop, "while_loop": while_loop}


@pytest.fixture
def stores(monkeypatch):
    """All stores that loops make."""
    made = []
    make = Kept.store

    def watched(self, *args):
        made.append(make(self, *args))
        return made[-1]

    monkeypatch.setattr(Kept, "store", watched)
    return made


# ---- The theorem: s snapshots and t repeats reverse C(s + t, s) steps, and as few are run as can be ----


@pytest.mark.parametrize("form", ["scan", "fori_loop"])
@pytest.mark.parametrize(("snapshots", "times"), [(1, 6), (2, 4), (3, 3), (4, 3), (6, 2), (8, 1)])
def test_griewank_and_walther_2000(stores, form, snapshots, times):
    steps = reach(snapshots, times)
    assert steps == math.comb(snapshots + times, snapshots)
    assert repeats(steps, snapshots) == times
    assert repeats(steps + 1, snapshots) == times + 1
    gradient = wg.grad(FORMS[form](steps, checkpoint=snapshots))(0.5)
    (store,) = stores
    assert store.runs == evaluations(steps, snapshots) == times * steps - math.comb(snapshots + times, times - 1) + 1
    assert store.most <= snapshots
    assert gradient == wg.grad(FORMS[form](steps))(0.5)


@pytest.mark.parametrize("form", ["scan", "fori_loop"])
def test_executed_steps_are_the_fewest(stores, form):
    for steps in (1, 2, 3, 7, 20, 45):
        for snapshots in (1, 2, 3, 5, 60):
            stores.clear()
            wg.grad(FORMS[form](steps, checkpoint=snapshots))(0.5)
            (store,) = stores
            assert store.runs == evaluations(steps, snapshots), f"{steps} steps, {snapshots} snapshots"
            assert store.most <= snapshots


@settings(max_examples=20)
@given(st.integers(1, 70), st.integers(1, 8))
def test_online_schedules_stay_within_their_bound(steps, snapshots):
    made = []
    make = Kept.store
    try:
        Kept.store = lambda self, *args: made.append(make(self, *args)) or made[-1]
        gradient = wg.grad(while_loop(steps, checkpoint=snapshots))(0.5)
    finally:
        Kept.store = make
    (store,) = made
    t, fewest = repeats(steps, snapshots), evaluations(steps, snapshots)
    bound = fewest if t < 2 else max((1 + 1 / snapshots) * t / (t - 1), 1.5) * fewest
    assert fewest <= store.runs <= bound + 1
    assert store.most <= snapshots
    assert gradient == wg.grad(while_loop(steps))(0.5)


def test_every_state_or_everything(stores):
    wg.grad(scan(30, checkpoint="all"))(0.5)
    assert stores[-1].runs == 30
    wg.grad(scan(30))(0.5)
    assert type(stores[-1]) is AllResiduals


def test_forward_mode_stores_nothing(stores):
    for form in FORMS.values():
        stores.clear()
        program = wg.trace(form(40, checkpoint=3))(0.5)
        wg.jvp(program, (0.5,), (1.0,))
        assert all(store.runs <= 40 for store in stores)


# ---- Memory ----


def peak(call):
    """Return the most bytes that are held at once during a call, beyond those before."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        call()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


CALLS = {
    "grad": lambda f, c: wg.grad(f)(c),
    "jvp": lambda f, c: wg.jvp(f, (c,), (c,)),
    "hvp": lambda f, c: wg.hvp(f)(c, c),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("size", "budget"), [(100, 250_000), (800, 1_000_000), (1, 200_000)])
def test_peak_memory_stays_within_the_budget(form, size, budget):
    c = np.linspace(0.1, 1.0, size)
    for kind, call in CALLS.items():
        steps = 300 if kind == "hvp" else 2000
        if kind == "hvp" and budget < 1_000_000:
            continue
        f = FORMS[form](steps, memory=budget)
        call(f, c)  # imports and caches
        assert peak(lambda: call(f, c)) <= budget, kind  # noqa: B023
    if size > 1:
        assert peak(lambda: wg.grad(FORMS[form](2000))(c)) > 2 * budget


def test_a_budget_too_small_says_the_smallest_that_works():
    c = np.linspace(0.1, 1.0, 50)
    for form in FORMS.values():
        with pytest.raises(ArgumentError) as caught:
            wg.grad(form(5000, memory=1000))(c)
        message = str(caught.value)
        assert "a memory budget of 1,000 bytes is too small" in message
        assert "memory=memory" in message or "options" in message, "the line is the user's"
        least = int(message.rpartition("Give ")[2].partition(" bytes")[0].replace(",", ""))
        with pytest.raises(ArgumentError, match="too small"):
            wg.grad(form(200, memory=least - 1))(c)
        np.testing.assert_array_equal(wg.grad(form(200, memory=least))(c), wg.grad(form(200))(c))


def of_diagonal(steps):
    return lambda a: wg.fori_loop(0, steps, lambda i, t: t + np.tanh(a[i, i]) * a[0, i], 0.0)


@pytest.mark.parametrize("outer", [None, 3])
def test_parts_of_a_constant_are_pulled_back_in_place(outer):
    """A step that reads an element of a matrix does not make a matrix: time and memory are those of one."""
    a = np.linspace(-1.0, 1.0, 200 * 200).reshape(200, 200)

    def repeated(a):
        return wg.scan(lambda t, _: (t + of_diagonal(60)(a), None), 0.0, None, outer)[0] / outer

    f = of_diagonal(200) if outer is None else repeated
    gradient = wg.grad(f)(a)
    steps = np.arange(200 if outer is None else 60)
    expected = np.zeros((200, 200))
    np.add.at(expected, (steps, steps), a[0, steps] / np.cosh(a[steps, steps]) ** 2)
    np.add.at(expected, (0, steps), np.tanh(a[steps, steps]))
    np.testing.assert_allclose(gradient, expected, rtol=1e-12)
    assert peak(lambda: wg.grad(f)(a)) < 8 * a.nbytes


def test_parts_of_a_constant_for_a_block_of_seeds():
    a = np.linspace(-1.0, 1.0, 20 * 20).reshape(20, 20)
    order = np.array([3, 3, 1])

    def f(a):
        return wg.fori_loop(0, 40, lambda i, t: np.sin(t) + a[order, i % 20] * a[i % 20][order], np.ones(3))

    def plain(a):
        t = np.ones(3)
        for i in range(40):
            t = np.sin(t) + a[order, i % 20] * a[i % 20][order]
        return t

    np.testing.assert_allclose(wg.jacrev(f)(a), wg.jacrev(plain)(a), rtol=1e-12)
    np.testing.assert_allclose(wg.jacfwd(f)(a), wg.jacrev(plain)(a), rtol=1e-12)


RESIDENT = """
import sys
import numpy as np
def most():  # getrusage would count the pages of the process that started this one, too
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1]) * 1024
import wengert as wg
form, steps, memory = sys.argv[1], int(sys.argv[2]), eval(sys.argv[3])
c = np.linspace(0.1, 1.0, 100)
def f(steps, memory):
    if form == "scan":
        return lambda c: np.sum(wg.scan(lambda c, _: (np.sin(1.1 * c), None), c, None, steps, memory=memory)[0])
    step = lambda s: (s[0] + 1, np.sin(1.1 * s[1]))
    return lambda c: np.sum(wg.while_loop(lambda s: s[0] < steps, step, (0, c), memory=memory)[1])
wg.grad(f(100, memory))(c)
before = most()
wg.grad(f(steps, memory))(c)
print(most() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
@pytest.mark.parametrize("form", ["scan", "while_loop"])
def test_resident_memory_of_100_000_steps(form):
    """A budget of 8 MB is kept as the operating system counts; the full tape takes twenty times as much."""

    def resident(memory):
        command = [sys.executable, "-c", RESIDENT, form, "100000", repr(memory)]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    budget = 8_000_000
    assert resident(budget) <= budget
    if form == "scan":
        assert resident(None) > 15 * budget
