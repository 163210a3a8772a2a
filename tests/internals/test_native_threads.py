"""Threads in machine code: the same bits whatever their number, and what NumPy would warn of in any of them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest
from scipy import special

import wengert as wg
from wengert.compilation import jit as jit_module
from wengert.compilation.native import llvm
from wengert.compilation.native.entry import fits
from wengert.compilation.native.loops import Buffer, Compute, Element, Kernel, Load, Nest, Register, Return, Store
from wengert.errors import ArgumentError

pytestmark = pytest.mark.skipif(not fits(), reason="there is no native code here")


@pytest.fixture(autouse=True)
def soon_and_short(monkeypatch):
    """Make native code in the second call, and divide short loops, too."""
    monkeypatch.setattr(jit_module, "calls_before", lambda: 1)
    monkeypatch.setattr(llvm, "LONG", 2_000)
    before = wg.set_threads(1)
    yield
    wg.set_threads(before)


def divided(f, *args, capsys):
    """Return a jitted function that machine code runs, some of it divided."""
    jitted = wg.jit(f)
    for _ in range(3):
        jitted(*args)
    capsys.readouterr()
    jitted.show("llvm")
    assert "call void @wengert_parallel" in capsys.readouterr().out
    return jitted


FUNCTIONS = {
    "elements": lambda x: np.tanh(x) * np.exp(-x * x) + np.sin(x),
    "gradient": wg.grad(lambda x: np.sum(np.log1p(np.exp(x)))),
    "outer": lambda x: np.outer(x[:300], x[:200]) + x[:200],
    "choices": lambda x: np.where(x > 0.1, x, -x) * np.sqrt(np.abs(x)),
    "stencil": lambda x: 0.5 * x[2:] - x[1:-1] + 0.25 * x[:-2],
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_same_bits(name, capsys):
    x = np.random.default_rng(0).normal(size=10_007)
    jitted = divided(FUNCTIONS[name], x, capsys=capsys)
    expected = jitted(x)
    np.testing.assert_allclose(expected, FUNCTIONS[name](x), rtol=1e-13, atol=1e-15)
    for count in (2, 3, 5, 64):
        wg.set_threads(count)
        np.testing.assert_array_equal(jitted(x), expected)


@pytest.mark.parametrize("place", [0, 5_000, 10_006])
def test_warnings_in_each_thread(place, capsys):
    x = np.linspace(1.0, 2.0, 10_007)
    jitted = divided(lambda x: 2.0 * np.log(x) + x, x, capsys=capsys)
    wg.set_threads(4)
    assert not jitted.declined
    x[place] = 0.0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert jitted(x)[place] == -np.inf
    assert [str(w.message) for w in caught] == ["divide by zero encountered in log"]


def test_several_callers(capsys):
    x = np.random.default_rng(1).normal(size=10_007)
    jitted = divided(FUNCTIONS["elements"], x, capsys=capsys)
    expected, wrong = jitted(x), []
    wg.set_threads(3)

    def work():
        for _ in range(20):
            if not np.array_equal(jitted(x), expected):
                wrong.append(threading.get_ident())

    callers = [threading.Thread(target=work) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")  # JAX's, where another test has loaded it
def test_a_process_may_fork(capsys):
    x = np.random.default_rng(2).normal(size=10_007)
    jitted = divided(FUNCTIONS["elements"], x, capsys=capsys)
    wg.set_threads(3)
    expected = jitted(x)
    child = os.fork()
    if not child:
        os._exit(0 if np.array_equal(jitted(x), expected) else 1)
    assert os.waitpid(child, 0)[1] == 0


def nest_of(name, count=100_000, parallel=True):
    """Return a kernel that applies an operation to each element."""
    x, y, a, b = Buffer("x", count, "argument"), Buffer("y", count, "result"), Register(1), Register(2)
    body = Load(a, Element(x, 0, (1,))), Compute(b, name, (a,)), Store(Element(y, 0, (1,)), b)
    return Kernel("f", (x,), y, (Nest((count,), body, parallel=parallel), Return(0)))


def test_what_is_divided(monkeypatch):
    assert llvm.is_threaded(nest_of("exp"))
    assert not llvm.is_threaded(nest_of("exp", parallel=False))
    assert not llvm.is_threaded(nest_of("scipy.special.gammaln")), "it may need the interpreter's lock"
    monkeypatch.undo()
    assert llvm.is_threaded(nest_of("exp", 200_000))
    assert not llvm.is_threaded(nest_of("negative", 200_000)), "that takes less than starting threads"


def test_special_functions_are_not_divided():
    jitted, x = wg.jit(special.gammaln), np.linspace(1.0, 2.0, 10_007)
    wg.set_threads(4)
    for _ in range(3):
        np.testing.assert_allclose(jitted(x), special.gammaln(x), rtol=1e-15)


# ---- The number ----


def test_set_threads():
    assert wg.set_threads(5) == 1
    assert wg.set_threads(1) == 5


@pytest.mark.parametrize("n", [0, -1, 65, 1.5, "2", True, None])
def test_what_is_no_number_of_threads(n):
    with pytest.raises(ArgumentError, match="from 1 to 64"):
        wg.set_threads(n)


@pytest.mark.parametrize(("text", "count"), [("3", 3), ("0", 1), ("many", 1), ("", 1), ("999", 64)])
def test_the_environment_sets_it(text, count):
    code = "from wengert.compilation.native.threads import threads; print(threads())"
    environment = {**os.environ, "WENGERT_THREADS": text}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert int(done.stdout) == count
