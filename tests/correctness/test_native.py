"""Native code against the Python printer and the plain function, call by call, whatever is passed, in many threads."""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
import subprocess
import sys
import threading
import tracemalloc
import warnings

import numpy as np
import programs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special
from test_jit import STEPS, Branching, agree, same

import wengert as wg
from wengert.compilation import jit as jit_module
from wengert.compilation.native import engine, lowering
from wengert.compilation.native.layout import fits
from wengert.errors import DomainWarning

pytestmark = [
    pytest.mark.usefixtures("native_after_one_call"),
    pytest.mark.skipif(not fits(), reason="there is no native code here"),
    pytest.mark.filterwarnings("ignore::wengert.errors.DecisionWarning"),
]

X = np.array([0.5, 2.0, 3.0])


def native_of(jitted):
    """Return the native functions of all signatures."""
    return [s.native for s in jitted._signatures() if s.native is not None]


def warmed(f, *args):
    """Return a jitted function that runs native code at some arguments."""
    jitted = wg.jit(f)
    for _ in range(3):
        jitted(*args)
    (native,) = native_of(jitted)
    assert native(*args) is not NotImplemented
    return jitted


def reference(x):
    return np.array([x[0] * (x[1] - x[2]), x[2] * np.log(1 - x[0])])


def rosenbrock(x):
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


# ---- The same values ----


@pytest.mark.parametrize(
    "f",
    [
        reference,
        wg.jacobian(reference),
        wg.hessian(rosenbrock),
        wg.value_and_grad(rosenbrock),
        lambda x: {"a": x[0] * x, "b": [np.sum(x), None, (x[::-1], "text", 3)]},
        lambda x: (np.float64(2.0) * x[0], x.T, np.array([[1.0, 2.0]]), x[:0]),
        lambda x: np.where(x > 1.0, np.exp(x), -x).reshape(3, 1) @ x[None],
        lambda x: np.linspace(0.0, 1.0, 50) * np.sum(x) + np.cos(np.arange(50.0)),
        lambda x: np.sum(np.outer(x, x) ** 3) / np.prod(x),
        lambda x: np.max(x) + np.min(x) + np.cumsum(x) + np.cross(x, x[::-1]),
        lambda x: 3.0 * np.eye(3),
        lambda x: x / np.sum(x > -9.0) + x * np.count_nonzero(x > 1.0),
        wg.jacobian(lambda x: np.exp(x - np.max(x)) / np.sum(np.exp(x - np.max(x)))),
    ],
)
def test_values_types_and_shapes(f):
    jitted = warmed(f, X)
    for x in (X, X / 2, np.array([-0.25, 5.0, 1e-9]), np.array([0.9, -0.25, 0.1])):
        assert native_of(jitted)[0](x) is not NotImplemented
        same(jitted(x), f(x))
    assert not jitted.declined


def test_numbers_of_python_stay_numbers_of_python():
    def f(a, b):
        return a * b, np.sin(a), a, 2.0 * a

    result = warmed(f, 0.5, np.float64(2.0))(0.25, np.float64(3.0))
    same(result, f(0.25, np.float64(3.0)))
    assert list(map(type, result)) == [np.float64, np.float64, float, float]


def test_trees_of_arguments():
    def loss(params, x):
        return np.sum(np.tanh(params["w"] @ x + params["b"]) ** 2)

    gradient = wg.grad(loss)
    params = {"w": np.arange(6.0).reshape(2, 3) / 7, "b": np.array([0.5, -0.25])}
    jitted = wg.jit(gradient)
    for _ in range(4):
        same(jitted(params, X), gradient(params, X))
    (native,) = native_of(jitted)
    same(jitted(params, X), gradient(params, X))
    assert native.lowered.forms[0][0].structure.type is dict


@settings(deadline=None, max_examples=60)
@given(programs.random_programs(analytic=False, max_size=5), st.lists(programs.points(3), min_size=1, max_size=3))
def test_random_programs(f, points):
    gradient = wg.value_and_grad(lambda x: np.sum(f(x)))
    jitted, in_python = wg.jit(gradient), wg.jit(gradient, native=False)
    for x in [*points, *points, *points]:
        with np.errstate(all="ignore"):
            expected = gradient(x)
            for a, b, c in zip(jitted(x), in_python(x), expected, strict=True):
                np.testing.assert_allclose(a, c, rtol=1e-9, atol=1e-12)
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    assert not native_of(in_python)


@settings(deadline=None, max_examples=60)
@given(programs.random_programs(analytic=False, max_size=5), programs.points(6), st.sampled_from([0, 1, 3]))
def test_random_programs_in_loops(f, x, unrolled):
    gradient = wg.value_and_grad(lambda x: np.sum(f(x)))
    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
        patch.setattr(lowering, "UNROLLED", unrolled)
        jitted = wg.jit(gradient)
        for scale in (1.0, 1.0, 1.0, 0.5):
            for a, b in zip(jitted(scale * x), gradient(scale * x), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(STEPS, min_size=1, max_size=3).map(tuple).map(Branching),
    st.lists(programs.points(2), min_size=2, max_size=6),
)
def test_random_branching_functions(f, points):
    jitted = wg.jit(f, max_branches=20)
    for x in [*points, *points, *points]:
        agree(jitted, f, x)


# ---- Decisions ----


def test_every_branch_is_in_the_code():
    def f(x):
        if x[0] > 0:
            return x * 2.0 if x[1] > x[2] else np.sin(x)
        return np.zeros(3) if int(x[1]) == 2 else x[::-1]

    points = [np.array(p) for p in ([1.0, 2, 1], [1.0, 1, 2], [-1.0, 2.5, 0], [-1.0, 3.5, 0], [-1.0, -2.5, 0])]
    jitted = wg.jit(f)
    for _ in range(20):
        for x in points:
            same(jitted(x), f(x))
    (native,) = native_of(jitted)
    assert all(native(x) is not NotImplemented for x in points)


def test_a_branch_that_is_new_is_traced():
    jitted = warmed(lambda x: x[0] * x if x[0] > 0 else -x, X)
    same(jitted(-X), X)
    same(jitted(X), 0.5 * X)
    same(jitted(np.array([np.nan, 1.0, 1.0])), np.array([np.nan, -1.0, -1.0]))


def test_a_loop_until_convergence():
    def root(a):
        x = a
        while abs(x * x - a) > 1e-12 * a:
            x = 0.5 * (x + a / x)
        return x

    jitted = wg.jit(root)
    values = np.random.default_rng(0).uniform(0.1, 50.0, 300)
    for a in values:
        assert jitted(float(a)) == root(float(a))
    (native,) = native_of(jitted)
    assert sum(native(float(a)) is not NotImplemented for a in values) > 250


def test_what_the_function_reads_is_compared():
    scale = [2.0]
    jitted = warmed(lambda x: scale[0] * x, X)
    scale[0] = 3.0
    same(jitted(X), 3.0 * X)


# ---- Warnings and errors ----


@pytest.mark.parametrize(
    ("f", "x"),
    [
        (lambda x: 1.0 / (1.0 / x), 0.0),
        (lambda x: np.log(x), -1.0),
        (lambda x: 1.0 / np.exp(x), 1000.0),
        (lambda x: np.where(x > 0, 1.0, np.log(x)), 0.0),
        (lambda x: x * x * 0.0 + 1.0, 1e200),
        (lambda x: x**-2, 0.0),
    ],
)
def test_warnings_are_not_lost(f, x):
    jitted = warmed(f, np.float64(0.5))
    with warnings.catch_warnings(record=True) as expected:
        warnings.simplefilter("always")
        value = f(np.float64(x))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        same(jitted(np.float64(x)), value)
    assert [str(w.message) for w in caught] == [str(w.message) for w in expected] != []
    with np.errstate(all="raise"), pytest.raises(FloatingPointError):
        jitted(np.float64(x))


def test_special_functions():
    def price(spot, strike):
        d = np.log(spot / strike) + 0.1
        return spot * special.ndtr(d) - strike * special.ndtr(d - 0.2) + special.gammaln(spot)

    gradient = wg.grad(price, (0, 1))
    jitted = warmed(gradient, 2.0, 3.0)
    same(jitted(2.5, 3.0), gradient(2.5, 3.0))
    function, in_python = warmed(special.gammaln, np.float64(1.5)), wg.jit(special.gammaln, native=False)
    for how in ("ignore", "raise"):
        with special.errstate(all=how):
            same(function(np.float64(-1.0)), in_python(np.float64(-1.0)))
            same(function(np.float64(2.5)), in_python(np.float64(2.5)))


def test_warnings_of_derivatives_name_the_line():
    jitted = warmed(wg.grad(np.sqrt), np.float64(4.0))
    with pytest.warns(DomainWarning):
        assert jitted(np.float64(0.0)) == np.inf
    assert np.isnan(jitted(np.float64(np.nan)))


# ---- Whatever is passed ----


def misaligned(x):
    memory = np.zeros(x.nbytes + 1, np.uint8)
    array = memory[1:].view(float).reshape(x.shape)
    array[...] = x
    assert not array.flags.aligned
    return array


def frozen(x):
    x = x.copy()
    x.flags.writeable = False
    return x


class Quantity(np.ndarray):
    """A subclass."""


M = np.arange(12.0).reshape(3, 4) / 5.0


@pytest.mark.parametrize(
    "x",
    [
        M.astype(np.float32),
        M.astype(int),
        M.astype(complex),
        M > 0.3,
        np.asfortranarray(M),
        M[::-1],
        M[:, ::-1],
        np.repeat(M, 2, axis=1)[:, ::2],
        np.broadcast_to(M[0], (3, 4)),
        np.broadcast_to(1.5, (3, 4)),
        M.astype(">f8"),
        misaligned(M),
        frozen(M),
        M[:2],
        M[:, :2],
        M[0],
        M[:0],
        M.reshape(2, 6),
        M[None],
        np.float64(0.5),
        0.5,
        2,
        True,
        np.array(0.5),
        np.longdouble(0.5),
        np.float32(0.5),
    ],
)
def test_other_arguments(x):
    def f(x):
        return np.sin(x) * 2.0 + x

    jitted = warmed(f, M)
    for _ in range(4):
        same(jitted(x), f(x))
        same(jitted(M), f(M))


def test_what_cannot_be_computed_fails_as_before():
    jitted = warmed(lambda x: np.sin(x) * 2.0, M)
    for bad in ("text", None, M.view(Quantity), M.astype(object), M.astype("M8[s]"), [1.0, "a"]):
        with pytest.raises(Exception):  # noqa: B017, PT011 - whatever the plain path says
            jitted(bad)
    for args in ((), (M, M)):
        with pytest.raises(TypeError):
            jitted(*args)
    same(jitted(x=M), np.sin(M) * 2.0)
    masked = np.ma.masked_array(M, M > 1.0)
    with pytest.raises(wg.errors.ArgumentError):
        jitted(masked)


def test_differentiated_and_mapped_it_is_the_function():
    jitted = warmed(lambda x: np.sum(np.sin(x)), X)
    same(wg.grad(jitted)(X), np.cos(X))
    same(wg.vmap(jitted)(np.stack([X, 2 * X])), np.sum(np.sin([X, 2 * X]), axis=1))


def test_results_are_memory_of_their_own():
    jitted = warmed(lambda x: (x, x[::-1], np.ones(3)), X)
    for result in jitted(X):
        assert result.flags.carray
        assert result.flags.owndata
        result[:] = 7.0
    same(jitted(X), (X, X[::-1], np.ones(3)))


@pytest.mark.parametrize("shape", [(), (0,), (1,), (1, 1), (2, 0, 3), (129,), (12, 12), (5, 3, 11), (4097,)])
def test_shapes(shape):
    def f(x):
        y = np.sin(x) * 2.0
        return y + 1.0, np.sum(y), y.T, np.sum(x * x, axis=0) if x.ndim else x

    jitted, x = wg.jit(f), np.linspace(-1.0, 1.0, int(np.prod(shape))).reshape(shape)
    for _ in range(4):
        for a, b in zip(jitted(x), f(x), strict=True):
            assert (type(a), np.shape(a)) == (type(b), np.shape(b))
            np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-12)
    assert bool(native_of(jitted)) == (x.size <= 1_000), "what is large stays Python code"


def test_many_arguments():
    def f(*xs):
        return sum(x[k % 3] * (k + 1) for k, x in enumerate(xs))

    arguments = tuple(np.arange(3.0) + k for k in range(40))
    jitted = warmed(f, *arguments)
    same(jitted(*arguments[::-1]), f(*arguments[::-1]))


def test_nothing_is_read_beside_an_array():
    page = mmap.PAGESIZE
    memory = mmap.mmap(-1, 3 * page)
    start = np.frombuffer(memory, np.uint8).ctypes.data
    protect = ctypes.CDLL(None).mprotect
    protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for k in (0, 2):
        assert protect(start + k * page, page, 0) == 0
    inside = np.frombuffer(memory, float, page // 8, page)
    inside[:] = np.linspace(0.1, 0.9, inside.size)

    def f(x):
        y = np.exp(x) * x[::-1]
        return y[1:] - x[:-1], np.sum(x[::3]), np.outer(x[:3], x[-3:])

    for n in (3, 8, 31, 200):
        jitted = warmed(f, np.ones(n))
        for x in (inside[:n], inside[-n:]):
            same(jitted(x), f(x))
            assert native_of(jitted)[0](x) is not NotImplemented


# ---- Memory and threads ----


def test_nothing_is_leaked():
    jitted = warmed(lambda x, a: {"y": (x * a, np.sum(x)), "n": a, "s": "text", "z": np.ones(2)}, X, 0.5)
    plain = warmed(wg.jacobian(reference), X)
    objects = (X, np.dtype(float), np.float64, np.ndarray, NotImplemented)
    jitted(X, 0.5)

    def work(count):
        for _ in range(count):
            jitted(X, 0.5)
            plain(X)

    work(5)
    gc.collect()
    before = list(map(sys.getrefcount, objects))
    tracemalloc.start()
    try:
        work(1_000)
        start = tracemalloc.get_traced_memory()[0]
        work(100_000)
        assert tracemalloc.get_traced_memory()[0] - start < 10_000
    finally:
        tracemalloc.stop()
    assert max(abs(a - b) for a, b in zip(before, map(sys.getrefcount, objects), strict=True)) < 20


def test_results_of_one_call_are_counted_once():
    result = warmed(wg.jacobian(reference), X)(X)
    assert sys.getrefcount(result) == 2
    both = warmed(lambda x: (x * 2.0, x[0]), X)(X)
    assert [sys.getrefcount(both), *map(sys.getrefcount, both)] == [2, 2, 2]


def test_code_is_unloaded_with_its_function():
    for _ in range(5):
        jitted = warmed(lambda x: x * 2.0, X)
        call = native_of(jitted)[0]
        del jitted
        gc.collect()
        same(call(X), 2.0 * X)  # the builtin function keeps its code


def test_many_threads():
    def f(x):
        return np.sum(np.exp(x) * x[::-1]) if x[0] > 0 else np.sum(x)

    gradient = wg.value_and_grad(f)
    points = np.random.default_rng(0).normal(size=(50, 6))
    expected = [gradient(x) for x in points]
    jitted = wg.jit(gradient)
    failures = []

    def work(seed):
        for k in np.random.default_rng(seed).integers(0, len(points), 400):
            try:
                same(jitted(points[k]), expected[k])
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert native_of(jitted)


# ---- When ----


def run(code, **environment):
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, check=True
    )
    return result.stdout.split()


CODE = (
    "import sys, numpy as np, wengert as wg; print('llvmlite' in sys.modules); f = wg.jit(wg.grad(np.sum));"
    "[f(np.ones(2)) for _ in range(12)];"
    "print([s.native is not None for s in f._signatures()], 'llvmlite' in sys.modules)"
)


def test_it_is_off_where_the_environment_says_so():
    assert run(CODE, WENGERT_NATIVE="off") == ["False", "[False]", "False"]
    assert run(CODE, WENGERT_NATIVE="0") == ["False", "[False]", "False"]


def test_it_takes_over_after_some_calls():
    assert run(CODE, WENGERT_NATIVE="10") == ["False", "[True]", "True"]
    assert run(CODE, WENGERT_NATIVE="20") == ["False", "[False]", "False"]


def test_it_takes_over_early_where_calls_are_long(monkeypatch):
    monkeypatch.setattr(jit_module, "calls_before", lambda: None)
    for name in ("SECONDS_TO_START", "SECONDS_A_LINE"):
        monkeypatch.setattr(jit_module, name, 0.0)
    for name in ("SECONDS_TO_COMPILE", "LONGEST_TO_COMPILE"):
        monkeypatch.setattr(jit_module, name, 1.0)
    clock = [0.0]

    class Clock:
        @staticmethod
        def perf_counter():
            clock[0] += duration
            return clock[0]

    monkeypatch.setattr(jit_module, "time", Clock)
    for duration, expected in ((2.0, 3), (0.3, 6), (0.01, 105), (0.001, 1_005)):
        jitted, calls = wg.jit(lambda x: 2.0 * x), 0
        while not native_of(jitted):
            jitted(X)
            calls += 1
        assert calls <= expected, duration
        assert (calls - 1) * duration >= 0.8  # tracing, the first call, included: no earlier than that pays


@pytest.mark.parametrize(
    ("f", "reason"),
    [
        (lambda x: np.linalg.inv(x[:1, None]), "inv"),
        (lambda x: np.sort(x), "argsort"),
        (lambda x: x[np.argmax(x)], "argmax"),
        (lambda x: x > 0, "a result of bool"),
        (lambda x: wg.fori_loop(0, 40, lambda _i, c: c * 0.5, x), "loop"),
    ],
)
def test_what_has_no_native_code_runs_in_python(f, reason, capsys):
    jitted = wg.jit(f)
    for _ in range(4):
        same(jitted(X), f(X))
    assert not native_of(jitted)
    jitted.show("llvm")
    assert reason in capsys.readouterr().out


def test_show(capsys):
    jitted = wg.jit(wg.grad(lambda x: np.log(x[0]) if x[1] > 0 else x[0]))
    jitted(X)
    jitted(-X)
    jitted.show("loops")
    printed = capsys.readouterr().out
    assert "unless b" in printed
    assert printed.count("return") == 2
    jitted.show("llvm")
    assert "define i32 @kernel" in capsys.readouterr().out
    jitted.show("assembly")
    assert "ret" in capsys.readouterr().out


def test_the_engine_compiles_text():
    code = engine.compile_texts(["define i32 @one() {\n  ret i32 1\n}"], "one")
    assert code.address
