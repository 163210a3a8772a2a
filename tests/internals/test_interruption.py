"""Ctrl-C at any moment leaves a clean state; threads do not disturb each other; nothing large is held by a cycle."""

from __future__ import annotations

import gc
import signal
import threading
import weakref

import numpy as np
import pytest
from interruptions import CALLS, C, faults, interrupt

import wengert as wg
from wengert.tracing import current_context
from wengert.tracing.errstate import YOUNG


@pytest.fixture
def alarm():
    def stop(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, stop)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.not_compiled("calls are interrupted that it would repeat")
@pytest.mark.parametrize("name", CALLS)
def test_interrupted_at_any_moment(name):
    """What was set is put back, at once and later, and the same call works again; `interruptions` takes all moments."""
    done, count, left = interrupt(name, 12)
    assert done > 8
    assert count > 400
    assert not left


def test_an_interruption_is_seen():
    """Without its handler a state stays changed: the moments are those at which it matters."""

    def careless():
        context = current_context()
        context.muted = True
        np.sin(C)
        context.muted = False

    CALLS["careless"] = careless
    try:
        _, _, left = interrupt("careless", 100)
    finally:
        del CALLS["careless"]
    assert {what for what, _ in left} == {"at once: muted"}


@pytest.mark.parametrize("traced", [False, True])
def test_a_loop_that_never_ends_can_be_interrupted(alarm, traced):
    def forever(c):
        return wg.while_loop(lambda v: v > -1.0, np.sin, c)

    gc.disable()  # JAX, where it is there, is called by the collector, and would swallow the interruption
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.15)
        with pytest.raises(KeyboardInterrupt):
            (wg.grad(forever) if traced else forever)(0.5)
    finally:
        gc.enable()
    assert not faults()


def test_threads_differentiate_the_same_loop():
    expected = {name: call() for name, call in CALLS.items()}
    wrong = []

    def work():
        try:
            for _ in range(3):
                for name, call in CALLS.items():
                    if not np.array_equal(call(), expected[name]):
                        wrong.append(name)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert not faults()


@pytest.mark.parametrize("checkpoint", ["none", "all", 3, "auto"])
@pytest.mark.parametrize("kind", ["grad", "jvp", "hvp", "program"])
@pytest.mark.parametrize("form", ["scan", "while_loop", "cond", "checkpoint"])
def test_no_cycle_holds_what_was_computed(form, kind, checkpoint):
    """Without the collector, everything is gone when the call returns."""
    if form in ("cond", "checkpoint") and checkpoint != "none":
        pytest.skip("they have no such choice")
    seen = []

    def f(c):
        weight = np.random.default_rng(0).uniform(size=5000)  # what the body closes over
        seen.append(weakref.ref(weight))
        weight = weight * c[0]  # and what is traced there
        forms = {
            "scan": lambda: wg.scan(lambda c, _: (np.sin(weight * c), None), c, None, 50, checkpoint=checkpoint)[0],
            "while_loop": lambda: wg.while_loop(
                lambda s: s[0] < 50, lambda s: (s[0] + 1, np.sin(weight * s[1])), (0, c), checkpoint=checkpoint
            )[1],
            "cond": lambda: wg.cond(c[0] > 0, lambda c: np.sin(weight * c), lambda c: np.cos(weight * c), c),
            "checkpoint": lambda: wg.checkpoint(lambda c: np.sin(weight * c))(c),
        }
        return np.sum(forms[form]())

    c = np.linspace(0.1, 1.0, 5000)
    calls = {
        "grad": lambda: wg.grad(f)(c),
        "jvp": lambda: wg.jvp(f, (c,), (c,)),
        "hvp": lambda: wg.hvp(f)(c, c),
        "program": lambda: wg.trace(wg.grad(f))(c)(c),
    }
    calls[kind]()  # imports and caches
    gc.collect()
    gc.disable()
    try:
        seen.clear()
        calls[kind]()
        assert seen
        assert all(reference() is None for reference in seen)
    finally:
        gc.enable()


def test_the_collector_of_garbage_looks_less_often_while_a_long_trace_is_made():
    inside = []

    def f(x):
        inside.append(gc.get_threshold())
        for _ in range(600):
            x = x * 1.01
        return x

    before = gc.get_threshold()
    wg.grad(f)(1.0)
    wg.grad(f)(1.0)
    assert inside[-1] == (YOUNG, *before[1:])
    assert gc.get_threshold() == before
    with pytest.raises(ZeroDivisionError):
        wg.grad(lambda x: x * (1 // 0))(1.0)
    assert gc.get_threshold() == before
    try:
        for own in ((50_000, 5, 5), (0, 5, 5)):
            gc.set_threshold(*own)
            wg.grad(f)(1.0)
            assert inside[-1] == gc.get_threshold() == own
        gc.set_threshold(YOUNG, *before[1:])  # as after a call that was interrupted before it had put back all
        wg.grad(f)(1.0)
        assert gc.get_threshold() == before
        wg.grad(lambda x: (gc.set_threshold(900), x)[1])(1.0)
        assert gc.get_threshold()[0] == 900  # what the function has set itself stays
        wg.grad(lambda x: inside.append(gc.get_threshold()) or x)(1.0)
        assert inside[-1][0] == 900  # the trace before was short
    finally:
        gc.set_threshold(*before)
