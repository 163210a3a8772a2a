"""Ctrl-C at any moment leaves a clean state; threads do not disturb each other; nothing large is held by a cycle."""

from __future__ import annotations

import gc
import signal
import threading
import time
import weakref

import numpy as np
import pytest

import wengert as wg
from wengert.tracing import current_context
from wengert.tracing.patching import patched

C = np.linspace(0.1, 1.0, 5)


def scanned(c, steps=400):
    return np.sum(wg.scan(lambda c, _: (np.sin(1.1 * c) + np.zeros(5), c[0]), c, None, steps)[0])


def repeated(c, steps=400):
    return np.sum(wg.while_loop(lambda s: s[0] < steps, lambda s: (s[0] + 1, np.sin(1.1 * s[1])), (0, c))[1])


def nested(c):
    inner = lambda c: wg.fori_loop(0, 3, lambda i, v: np.sin(v) * (1.0 + 0.1 * i), c)  # noqa: E731
    return np.sum(wg.scan(lambda c, _: (wg.checkpoint(inner)(c), None), c, None, 40, checkpoint=3)[0])


CALLS = {
    "grad of scan": lambda: wg.grad(scanned)(C),
    "grad of while_loop": lambda: wg.grad(repeated)(C),
    "grad of nested loops": lambda: wg.grad(nested)(C),
    "hvp of while_loop": lambda: wg.hvp(repeated)(C, C),
    "trace of the gradient": lambda: wg.trace(wg.grad(scanned))(C)(C),
}


def assert_clean():
    context = current_context()
    assert context.tapes == []
    assert context.frozen is None
    assert context.place is None
    assert context.muted is False
    assert np.geterr() == {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}


def stop(*_):
    raise KeyboardInterrupt


@pytest.fixture
def alarm():
    before = signal.signal(signal.SIGALRM, stop)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
    gc.enable()


@pytest.mark.parametrize("name", CALLS)
def test_interrupted_at_any_moment(name, alarm):
    """In tracing a body, the first sweep, writing kernels, the reverse sweep: the same call works again."""
    call = CALLS[name]
    gc.collect()
    gc.disable()  # JAX, where it is there, is called by the collector, and would swallow the interruption
    expected = call()
    start = time.perf_counter()
    call()
    duration = time.perf_counter() - start
    interrupted = 0
    for share in np.random.default_rng(1).uniform(0.0, 1.0, 40):
        try:
            signal.setitimer(signal.ITIMER_REAL, max(share * duration, 1e-5))
            call()
            signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            interrupted += 1
        assert_clean()
    assert interrupted > 5
    np.testing.assert_array_equal(call(), expected)
    assert_clean()
    assert all(getattr(np, name) is not wrapper for name, wrapper in patched.items())


@pytest.mark.parametrize("traced", [False, True])
def test_a_loop_that_never_ends_can_be_interrupted(alarm, traced):
    def forever(c):
        return wg.while_loop(lambda v: v > -1.0, np.sin, c)

    signal.setitimer(signal.ITIMER_REAL, 0.15)
    with pytest.raises(KeyboardInterrupt):
        (wg.grad(forever) if traced else forever)(0.5)
    assert_clean()


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
    assert_clean()
    assert all(getattr(np, name) is not wrapper for name, wrapper in patched.items())


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
