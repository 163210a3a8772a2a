"""Calls that machine code takes without Python: never a stale value, whatever changes, whatever is passed."""

from __future__ import annotations

import collections
import gc
import sys
import threading
import tracemalloc
import types
import weakref
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_jit import same

import wengert as wg
from wengert.compilation import jit as jit_module
from wengert.compilation.native.layout import fits

pytestmark = [
    pytest.mark.usefixtures("native_after_one_call"),
    pytest.mark.skipif(not fits(), reason="there is no native code here"),
    pytest.mark.filterwarnings("ignore::wengert.errors.DecisionWarning"),
]

X = np.array([0.5, 2.0, 3.0])


def frames(call, *args, **kwargs):
    """Return the names of the Python functions that a call enters, and its result."""
    entered = []
    before = sys.getprofile()
    sys.setprofile(lambda frame, event, _: entered.append(frame.f_code.co_name) if event == "call" else None)
    try:
        result = call(*args, **kwargs)
    finally:
        sys.setprofile(before)
    return entered, result


def warmed(f, *args, **options):
    """Return a jitted function that some arguments reach without Python."""
    jitted = wg.jit(f, **options)
    for _ in range(3):
        jitted(*args)
    assert frames(jitted, *args)[0] == []
    return jitted


# ---- What has to be as it was ----


class Settings:
    def __init__(self):
        self.rate, self.offset = 2.0, np.array([1.0, 2.0, 3.0])


class Slotted:
    __slots__ = ("rate",)

    def __init__(self):
        self.rate = 2.0


class Scaling:
    factor = 2.0

    def scaled(self, x):
        return self.factor * x


@dataclass
class Options:
    rate: float = 2.0


def closure():
    rate = 2.0

    def f(x):
        return rate * x

    def change(value):
        nonlocal rate
        rate = value

    return f, lambda: change(3.0), lambda: change(2.0)


def module_global():
    module = types.ModuleType("rates")
    exec("rate = 2.0\ndef f(x):\n    return rate * x\n", module.__dict__)
    return module.f, lambda: setattr(module, "rate", 3.0), lambda: setattr(module, "rate", 2.0)


def missing_global():
    module = types.ModuleType("lengths")
    exec("def f(x):\n    return len(x) * x\n", module.__dict__)
    return module.f, lambda: setattr(module, "len", lambda x: 7), lambda: delattr(module, "len")


def code():
    def f(x):
        return 2.0 * x

    before = f.__code__
    return f, lambda: setattr(f, "__code__", (lambda x: 3.0 * x).__code__), lambda: setattr(f, "__code__", before)


def defaults():
    def f(x, rate=2.0):
        return rate * x

    return f, lambda: setattr(f, "__defaults__", (3.0,)), lambda: setattr(f, "__defaults__", (2.0,))


def keyword_defaults():
    def f(x, *, rate=2.0):
        return rate * x

    return f, lambda: setattr(f, "__kwdefaults__", {"rate": 3.0}), lambda: setattr(f, "__kwdefaults__", {"rate": 2.0})


def attribute_of_function():
    def f(x):
        return f.rate * x

    f.rate = 2.0
    return f, lambda: setattr(f, "rate", 3.0), lambda: setattr(f, "rate", 2.0)


def of_object(made, name="rate"):
    def make():
        held = made()
        return (
            lambda x: getattr(held, "rate") * x if name is None else held.rate * x,  # noqa: B009
            lambda: setattr(held, "rate", 3.0),
            lambda: setattr(held, "rate", 2.0),
        )

    return make


def replaced_dict():
    held = Settings()

    def put(rate):
        held.__dict__ = {"rate": rate, "offset": held.offset}

    return lambda x: held.rate * x, lambda: put(3.0), lambda: put(2.0)


def added_attribute():
    class Falling:
        def __getattr__(self, name):
            return 2.0

    held = Falling()
    return lambda x: held.rate * x, lambda: setattr(held, "rate", 3.0), lambda: delattr(held, "rate")


def of_class():
    held = type("Scaling", (Scaling,), {"__module__": __name__})()
    cls = type(held)
    return held.scaled, lambda: setattr(cls, "factor", 3.0), lambda: delattr(cls, "factor")


def of_list():
    rates = [2.0, 5.0]
    return lambda x: rates[0] * x, lambda: rates.__setitem__(0, 3.0), lambda: rates.__setitem__(0, 2.0)


def length_of_list():
    rates = [2.0]
    return lambda x: len(rates) * x, lambda: rates.append(1.0), lambda: rates.pop()


def of_dict():
    rates = {"a": 2.0, 3: 4.0}
    return lambda x: rates["a"] * x, lambda: rates.update(a=3.0), lambda: rates.update(a=2.0)


def order_of_dict():
    rates = {"a": 2.0, "b": 4.0}

    def swap():
        rates["a"] = rates.pop("a")
        rates["b"] = rates["b"]

    return lambda x: next(iter(rates.values())) * x, swap, lambda: rates.update(b=rates.pop("b"))


def of_array():
    rates = np.array([2.0, 5.0, 1.0])
    return lambda x: rates * x, lambda: rates.__setitem__(0, 3.0), lambda: rates.__setitem__(0, 2.0)


def of_wide_array():
    rates = np.full((3, 2, 3), 2.0)
    return (
        lambda x: rates[1].T @ x[:2] if rates.shape[0] == 3 else x,
        lambda: rates.__setitem__((1, 1, 1), 3.0),
        lambda: rates.__setitem__((1, 1, 1), 2.0),
    )


def shape_of_array():
    rates = np.array([[2.0, 5.0, 1.0]])
    return lambda x: rates.ndim * x, lambda: setattr(rates, "shape", (3,)), lambda: setattr(rates, "shape", (1, 3))


def of_view():
    rates = np.arange(9.0)[::3]
    return lambda x: rates * x, lambda: rates.__setitem__(0, 3.0), lambda: rates.__setitem__(0, 0.0)


def of_large_array():
    rates = np.ones(10_000)
    return lambda x: rates[5] * x, lambda: rates.__setitem__(5, 3.0), lambda: rates.__setitem__(5, 1.0)


def of_read_only_array():
    rates = np.array([2.0, 5.0, 1.0])
    rates.flags.writeable = False

    def change(value):
        rates.flags.writeable = True
        rates[0] = value
        if value == 2.0:
            rates.flags.writeable = False

    return lambda x: rates * x, lambda: change(3.0), lambda: change(2.0)


def of_set():
    rates = {2.0}
    return lambda x: max(rates) * x, lambda: rates.add(3.0), lambda: rates.discard(3.0)


def of_deque():
    rates = collections.deque([2.0])
    return lambda x: rates[0] * x, lambda: rates.appendleft(3.0), lambda: rates.popleft()


def of_function_called():
    module = types.ModuleType("inner")
    exec("def inner(x):\n    return 2.0 * x\ndef f(x):\n    return inner(x)\n", module.__dict__)
    before = module.inner
    return module.f, lambda: setattr(module, "inner", lambda x: 3.0 * x), lambda: setattr(module, "inner", before)


CHANGES = [
    closure, module_global, missing_global, code, defaults, keyword_defaults, attribute_of_function,
    of_object(Settings), of_object(Settings, None), of_object(Slotted), of_object(Options), replaced_dict,
    added_attribute, of_class, of_list, length_of_list, of_dict, order_of_dict, of_array, of_wide_array,
    shape_of_array, of_view, of_large_array, of_read_only_array, of_set, of_deque, of_function_called,
]  # fmt: skip


@pytest.mark.parametrize("case", CHANGES)
@pytest.mark.parametrize("transform", [lambda f: f, lambda f: wg.jacobian(f)])
def test_no_value_is_stale(case, transform):
    f, change, change_back = case()
    g = transform(f)
    jitted = wg.jit(g)
    for _ in range(3):
        same(jitted(X), g(X))
    assert jitted._record is not None
    for _ in range(3):
        change()
        for _ in range(4):
            same(jitted(X), g(X))
        change_back()
        for _ in range(4):
            same(jitted(X), g(X))


@pytest.mark.parametrize("case", [closure, module_global, of_object(Settings), of_object(Slotted), of_list, of_dict,
                                  of_array, of_class, keyword_defaults])  # fmt: skip
def test_no_python_runs(case):
    f, change, _ = case()
    jitted = warmed(f, X)
    change()
    jitted(X)
    assert frames(jitted, X)[0] != []
    for _ in range(3):
        jitted(X)
    entered, result = frames(jitted, X)
    assert entered == []
    same(result, f(X))


def test_an_equal_number_is_no_change():
    held = Settings()
    jitted = warmed(lambda x: held.rate * x, X)
    held.rate = float("2.0")
    entered, result = frames(jitted, X)
    assert entered[0] == "unchanged"
    assert "__call__" not in entered
    same(result, 2.0 * X)


def test_a_branch_that_is_new_and_one_that_is_known():
    jitted = warmed(lambda x: x[0] * x if x[0] > 0 else -x, X)
    for _ in range(5):
        same(jitted(-X), X)
        same(jitted(X), 0.5 * X)
    assert frames(jitted, -X)[0] == []


# ---- Traces ----


def test_a_function_that_is_traced_records():
    jitted = warmed(lambda x: np.sum(np.sin(x)), X)
    for _ in range(3):
        same(wg.grad(jitted)(X), np.cos(X))
        same(wg.grad(lambda x: jitted(np.ones(3)) * x[0])(X), np.array([jitted(np.ones(3)), 0.0, 0.0]))
        assert frames(jitted, X)[0] == []


def test_a_function_of_plain_arrays_in_a_trace_is_the_function():
    calls = []

    def f(x):
        return 2.0 * x

    jitted = warmed(f, X)
    code_of_f = f.__code__

    def outer(x):
        entered = frames(jitted, X)[0]
        calls.append(code_of_f.co_name in entered)
        return np.sum(x)

    wg.grad(outer)(X)
    assert calls == [True]


def test_one_thread_traces_while_another_calls():
    jitted = warmed(lambda x: np.sum(np.sin(x)), X)
    tracing, called = threading.Event(), threading.Event()
    seen = []

    def outer(x):
        tracing.set()
        assert called.wait(20)
        return jitted(x)

    def call():
        assert tracing.wait(20)
        jitted(X)  # the first call of a thread enters it among those that may trace
        seen.append(frames(jitted, X))
        called.set()

    thread = threading.Thread(target=call)
    thread.start()
    same(wg.grad(outer)(X), np.cos(X))
    thread.join()
    assert seen == [([], np.sum(np.sin(X)))]


# ---- Arguments and results ----


def test_trees_are_taken_apart_and_made_without_python():
    def f(params, x, *, _unused=None):
        w, (b, c) = params["w"], params["rest"]
        y = np.tanh(w @ x + b)
        return {"z": (np.sum(y), y), "a": [c * y, None, params["name"]], "n": 3, "t": ()}

    params = {"w": np.arange(6.0).reshape(2, 3) / 7, "rest": [np.array([0.5, -0.25]), 2.0], "name": "tanh"}
    jitted = warmed(f, params, X)
    entered, result = frames(jitted, params, X)
    assert entered == []
    same(result, f(params, X))
    assert list(result) == list(f(params, X))
    gradient = wg.value_and_grad(lambda params, x: np.sum(np.tanh(params["w"] @ x) * params["b"]))
    params = {"w": np.arange(6.0).reshape(2, 3) / 7, "b": np.array([0.5, -0.25])}
    same(warmed(gradient, params, X)(params, X), gradient(params, X))


def test_a_tree_that_is_another():
    def f(params, x):
        return sum(np.sum(p) for p in params) * x if type(params) is list else sum(params.values()) * x

    arguments = [[1.0, 2.0], [1.0, 2.0, 3.0], {"a": 1.0}, {"b": 1.0}, {"a": 1.0, "b": 2.0}, [X, 2.0], [], {}]
    jitted = wg.jit(f)
    for _ in range(6):
        for params in arguments:
            same(jitted(params, X), f(params, X))


Point = collections.namedtuple("Point", "x y")


def test_trees_of_other_types_are_made_by_python():
    jitted = wg.jit(lambda p: Point(2.0 * p.x, [p.y * p.x]))
    for _ in range(4):
        result = jitted(Point(X, 3.0))
    same(result, Point(2.0 * X, [3.0 * X]))
    assert type(result) is Point
    jitted = wg.jit(lambda x: Point(x * 2.0, Options(3.0)))
    for _ in range(4):
        made = jitted(X)
    assert jitted._record is not None
    assert type(made) is Point
    assert made.y == Options(3.0)


def test_what_is_fixed_is_compared():
    def f(x, how, n, on):
        return x * n if how == "times" and on else x + n

    jitted = warmed(f, X, "times", 1000, True)
    how = "".join(["ti", "mes"])
    assert frames(jitted, X, how, int("1000"), True)[0] == []
    for args in [
        (how, 1000, True), ("plus", 1000, True), ("times", 2, True), ("times", 1000, False), ("times", True, True),
        ("times", 1000, 1), ("times", 1000.0, True), (b"times", 1000, True),
    ]:  # fmt: skip
        for _ in range(4):
            same(jitted(X, *args), f(X, *args))


def test_methods():
    class Model:
        def __init__(self, rate):
            self.rate = rate

        @wg.jit
        def value(self, x):
            return self.rate * x

    one, other = Model(2.0), Model(5.0)
    for _ in range(5):
        same(one.value(X), 2.0 * X)
        same(other.value(X), 5.0 * X)
    one.rate = 3.0
    for _ in range(5):
        same(one.value(X), 3.0 * X)
    assert frames(one.value, X)[0] == []


def test_signatures_that_alternate():
    jitted = wg.jit(lambda x: np.sum(np.sin(x)))
    arrays = [np.arange(1.0, n) for n in range(2, 8)]
    for _ in range(4):
        for x in arrays:
            same(jitted(x), np.sum(np.sin(x)))
    assert [frames(jitted, x)[0] for x in arrays] == [[]] * len(arrays)


class Strange(np.ndarray):
    """A subclass."""


def arrays_of(rng, shape):
    base = rng.uniform(0.1, 2.0, shape)
    memory = np.zeros(base.nbytes + 1, np.uint8)
    shifted = memory[1:].view(float).reshape(shape)
    shifted[...] = base
    frozen = base.copy()
    frozen.flags.writeable = False
    wide = np.zeros((*shape[:-1], 2 * shape[-1])) if shape else np.zeros(())
    strided = wide[..., ::2] if shape else wide
    strided[...] = base
    return [
        base, np.asfortranarray(base), base[::-1] if shape else base, strided, shifted, frozen, base.astype(np.float32),
        base.astype(np.longdouble), base.astype(int), base > 1.0, base.astype(complex), base.astype(">f8"),
        base.astype(np.float16), np.broadcast_to(1.5, shape), base[..., None], base[None], base[:0] if shape else base,
        base.T, base.view(Strange), np.ma.masked_array(base, base > 1.0), base.astype(object), base.tolist(),
        np.array(["a"]), np.zeros((0, 3)), np.zeros((3, 0, 2)),
    ]  # fmt: skip


OTHERS = [
    0.5, -0.0, np.float64(0.5), np.float32(0.5), np.longdouble(0.5), 2, True, np.int64(2), 1j, None, "text", b"bytes",
    (), [], {}, {"a": 1.0}, [0.5], (0.5, 1.0), np.float64, object(), Ellipsis, range(3), {1.0}, 10**30,
]  # fmt: skip


def outcome(call, args):
    try:
        with np.errstate(all="ignore"):
            return call(*args), None
    except Exception as error:
        return None, type(error)


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_whatever_is_passed(data):
    def f(x, a, *rest):
        y = np.exp(-x * x) * a
        return np.sum(y), y[::-1] if np.ndim(y) else y, {"r": rest}

    rng = np.random.default_rng(data.draw(st.integers(0, 100)))
    shape = data.draw(st.sampled_from([(), (3,), (1,), (2, 3), (2, 1, 3)]))
    pool = [*arrays_of(rng, shape), *OTHERS]
    usual = pool[0], 0.5
    jitted = wg.jit(f)
    for _ in range(3):
        jitted(*usual)
    for _ in range(4):
        args = [
            data.draw(st.sampled_from([0, *range(len(pool))])) for _ in range(data.draw(st.sampled_from([2, 2, 1, 3])))
        ]
        args = [pool[k] for k in args]
        if any(isinstance(a, (Strange, np.ma.MaskedArray)) for a in args):  # refused, with a reason
            with pytest.raises((wg.errors.ArgumentError, TypeError)):
                jitted(*args)
            continue
        (expected, error), (result, jitted_error) = outcome(f, args), outcome(jitted, args)
        if error is not None or jitted_error is not None:
            continue  # what a trace refuses, the messages of errors, are told elsewhere; here: nothing crashes
        same_up_to_rounding(result, expected)
        same_up_to_rounding(jitted(*usual), f(*usual))


def same_up_to_rounding(a, b):
    if isinstance(b, (tuple, list)):
        assert type(a) is type(b)
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            same_up_to_rounding(one, other)
    elif isinstance(b, dict):
        assert list(a) == list(b)
        same_up_to_rounding(list(a.values()), list(b.values()))
    elif isinstance(b, (np.ndarray, np.generic, float, complex)):
        assert np.shape(a) == np.shape(b)
        assert np.asarray(a).dtype == np.asarray(b).dtype
        if np.asarray(b).dtype.kind not in "biufc":
            return
        np.testing.assert_allclose(a, b, rtol=1e-3 if np.asarray(b).dtype.itemsize < 8 else 1e-12, equal_nan=True)
    else:
        assert a == b or a is b


def test_sparse_matrices():
    def residual(x):
        return np.concatenate([x[:1] ** 2 - 1, x[1:-1] * x[2:] - np.sin(x[:-2]), x[-1:] * x[0]])

    x = np.linspace(0.5, 1.5, 7)
    for derivative in (
        wg.jacobian(residual, sparse=True),
        wg.hessian(lambda x: np.sum(x[1:] * x[:-1] ** 2), sparse=True),
    ):
        jitted = wg.jit(lambda x, derivative=derivative: (derivative(x), np.sum(x)))
        for _ in range(3):
            jitted(x)
        assert next(iter(jitted._signatures())).native is not None
        for k in range(3):
            matrix, total = jitted(x + k)
            expected = derivative(x + k)
            assert type(matrix) is type(expected)
            assert matrix.shape == expected.shape
            for name in ("data", "indices", "indptr"):
                same(getattr(matrix, name), getattr(expected, name))
                assert getattr(matrix, name).flags.owndata
                getattr(matrix, name)[:] = 0  # changes no later result
            assert total == np.sum(x + k)


# ---- Memory ----


def test_nothing_is_leaked():
    held = Settings()

    def f(params, x):
        y = x * params["a"] * held.rate
        return {"y": (y, np.sum(x)), "l": [x, None], "n": params["n"], "z": held.offset * 1.0}

    params = {"a": 0.5, "n": 3}
    other, infinite = np.ones(3), np.array([np.inf, 1.0, 1.0])  # np.ones itself leaks references to the dtype
    jitted = warmed(f, params, X)
    method = warmed(Scaling().scaled, X)
    objects = (X, params, held, held.rate, held.offset, np.dtype(float), np.ndarray, NotImplemented, None, f, jitted,
               jitted._record, jit_module._IN_PYTHON, dict, tuple, list)  # fmt: skip

    def work(count):
        for _ in range(count):
            jitted(params, X)
            jitted(params, other)
            method(X)
        for _ in range(count // 10):
            jitted(params, infinite)
            jitted({"a": 0.5, "n": 3}, X[:2])

    with np.errstate(all="ignore"):
        work(200)
        gc.collect()
        before = list(map(sys.getrefcount, objects))
        tracemalloc.start()
        try:
            work(1_000)
            start = tracemalloc.get_traced_memory()[0]
            work(20_000)
            gc.collect()
            assert (
                tracemalloc.get_traced_memory()[0] - start < 60_000
            )  # what is compiled meanwhile; a leak would be 100,000
        finally:
            tracemalloc.stop()
        gc.collect()
    after = map(sys.getrefcount, objects)
    assert [(type(o), a, b) for o, a, b in zip(objects, before, after, strict=True) if abs(a - b) > 30] == []


def test_results_are_counted_once():
    result = warmed(lambda x: {"a": (x * 2.0, [x[0]])}, X)(X)
    assert sys.getrefcount(result) == 2
    assert sys.getrefcount(result["a"]) == 3  # of the dict, and of this call
    inner = result["a"]
    assert [sys.getrefcount(inner[1]), sys.getrefcount(inner[0])] == [2, 2]


def test_a_function_is_forgotten():
    def make():
        held = Settings()
        return warmed(lambda x: held.rate * x, X)

    watched = [weakref.ref(make()) for _ in range(5)]
    gc.collect()
    assert [ref() for ref in watched] == [None] * 5


def test_code_may_be_replaced_while_it_runs():
    """A comparison that runs Python changes what is compared, and has new code made, in the middle of a call."""
    rates = collections.deque([2.0])
    jitted = warmed_function = wg.jit(lambda x: rates[0] * x)
    for _ in range(3):
        jitted(X)
    failures = []

    def work():
        for k in range(300):
            try:
                shape = (3 + k % 12,)
                x = np.ones(shape)
                value = warmed_function(x)
                assert value.shape == shape
            except Exception as error:
                failures.append(error)

    def change():
        for k in range(100):
            rates[0] = 2.0 + k % 3

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(3)] + [threading.Thread(target=change)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert [e for e in failures if not isinstance(e, wg.errors.ImpureError)] == []


def test_pickles_and_prints_as_before():
    import pickle

    jitted = warmed(np.sin, X)
    again = pickle.loads(pickle.dumps(jitted))
    same(again(X), np.sin(X))
    assert repr(jitted).startswith("<jit(sin)")
    assert "computes the same" in jitted.__doc__
