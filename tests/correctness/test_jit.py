"""`wg.jit` against the plain function, call by call: values, types, warnings, errors, and whatever may have changed."""

from __future__ import annotations

import contextlib
import functools
import gc
import itertools
import pickle
import random
import sys
import threading
import time
import types
import warnings
from dataclasses import dataclass
from typing import NamedTuple

import loops
import numpy as np
import programs
import pytest
from corpus import CORPUS
from hypothesis import given, settings
from hypothesis import strategies as st

import wengert as wg
from wengert.errors import ArgumentError, ImpureError, JitWarning, LostGradientError, ResultError


def same(a, b):
    """Demand that two results cannot be told apart: structure, types, dtypes, shapes, values to rounding."""
    assert type(a) is type(b), (a, b)
    if isinstance(a, dict):
        assert list(a) == list(b)
        a, b = list(a.values()), list(b.values())
    if isinstance(a, (list, tuple)):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    elif isinstance(a, (np.ndarray, np.generic, float, complex)):
        assert np.shape(a) == np.shape(b)
        assert getattr(a, "dtype", None) == getattr(b, "dtype", None)
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-300)
    else:
        assert a == b


def check(f, *calls, declined=0, **kwargs):
    """Compare a jitted function with the plain one at several points, twice each."""
    jitted = wg.jit(f)
    for args in calls:
        for _ in range(2):
            same(jitted(*args, **kwargs), f(*args, **kwargs))
    if declined is not None:
        assert jitted.declined == declined
    return jitted


def reference(x):
    return np.array([x[0] * (x[1] - x[2]), x[2] * np.log(1 - x[0])])


def rosenbrock(x):
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


X = np.array([0.5, 2.0, 3.0])
Y = np.array([0.25, -1.0, 0.5])


# ---- All that can be jitted ----


@pytest.mark.parametrize(
    "transform",
    [
        lambda f: f,
        wg.jacobian,
        wg.jacfwd,
        wg.jacrev,
        lambda f: wg.grad(lambda x: np.sum(f(x))),
        lambda f: wg.value_and_grad(lambda x: np.sum(f(x))),
        lambda f: wg.hessian(lambda x: np.sum(f(x))),
        lambda f: lambda x: wg.hvp(lambda x: np.sum(f(x)))(x, x),
        lambda f: lambda x: wg.jvp(f, (x,), (x,)),
        lambda f: lambda x: wg.vjp(f, x)[1](np.ones(2)),
        lambda f: lambda x: wg.linearize(f, x)[1](x),
        lambda f: wg.jacobian(wg.jacobian(f)),
        lambda f: wg.grad(lambda x: np.sum(wg.jacobian(f)(x) ** 2)),
        wg.elementwise_grad,
    ],
)  # fmt: skip
def test_derivatives_of_the_reference_function(transform):
    f = transform(reference)
    jitted = check(f, (X,), (Y,), (np.array([3.0, -2.0, 0.25])[::-1],))
    assert "2 traces" in repr(jitted)  # the last argument lies otherwise in memory


def test_vmap():
    xs = np.stack([X, Y])
    check(wg.vmap(reference), (xs,))
    check(wg.vmap(wg.jacobian(reference)), (xs,))
    check(wg.vmap(wg.jit(reference)), (xs,))
    same(wg.vmap(wg.jit(wg.jacobian(reference)))(xs), np.stack([wg.jacobian(reference)(x) for x in xs]))


def test_inside_other_transformations():
    f = wg.jit(rosenbrock)
    f(X)
    same(wg.grad(f)(X), wg.grad(rosenbrock)(X))
    same(wg.hessian(f)(X), wg.hessian(rosenbrock)(X))
    same(wg.grad(lambda x: wg.jit(rosenbrock)(x) * x[0])(X), wg.grad(lambda x: rosenbrock(x) * x[0])(X))
    same(wg.jit(wg.grad(f))(X), wg.grad(rosenbrock)(X))
    assert "trace" in str(wg.plan(f)(X)) or wg.plan(f)(X)
    assert len(wg.trace(f)(X).lines) == len(wg.trace(rosenbrock)(X).lines)


class Params(NamedTuple):
    w: np.ndarray
    b: float


@dataclass
class Layer:
    w: np.ndarray
    scale: np.ndarray


def test_trees():
    def loss(params, x):
        return np.sum(np.tanh(x @ params["w"][0] + params["b"]) ** 2)

    params = {"w": [np.arange(6.0).reshape(3, 2) / 7], "b": np.array([0.1, -0.2])}
    check(loss, (params, X), (params, Y))
    check(wg.grad(loss), (params, X), (params, Y))
    check(wg.value_and_grad(loss, (0, 1)), (params, X))
    check(lambda p, x: {"z": p.w @ x, "a": (p.b * x, [x])}, (Params(np.ones((2, 3)), np.float64(2.0)), X))
    f = wg.grad(lambda layer, x: np.sum(layer.scale * (layer.w @ x)))
    jitted = wg.jit(f)
    layer = Layer(np.ones((2, 3)), np.array([1.0, 2.0]))
    for _ in range(3):
        a, b = jitted(layer, X), f(layer, X)
        same(a.w, b.w)
        same(a.scale, b.scale)


def test_keyword_arguments_and_what_is_no_array():
    def f(x, *, n=2, kind="sin", scale=1.0):
        y = getattr(np, kind)(x)
        for _ in range(n):
            y = y * x
        return scale * np.sum(y)

    jitted = wg.jit(wg.grad(f))
    for n, kind, scale in itertools.product((0, 1, 3), ("sin", "exp"), (1.0, 2.0)):
        for _ in range(2):
            same(jitted(X, n=n, kind=kind, scale=scale), wg.grad(f)(X, n=n, kind=kind, scale=scale))
    assert "6 traces" in repr(jitted)


def test_numbers_are_told_apart_by_type():
    f = lambda x, n: x * n  # noqa: E731
    check(f, (X, True), (X, 1), (X, 1.0), (X, np.int64(1)), (X, np.float32(1)), (X, 1 + 0j))


def test_layouts_in_memory_are_told_apart():
    a = np.arange(12.0).reshape(3, 4)
    f = lambda x: x.ravel("K") * np.arange(12.0) + x.flags.c_contiguous  # noqa: E731
    check(f, (a,), (np.asfortranarray(a),), (np.arange(48.0).reshape(6, 8)[::2, ::2],))


def test_has_aux():
    def f(x):
        y = np.exp(x)
        return np.sum(y), {"y": y, "n": 3, "name": "exp", "none": None}

    check(wg.grad(f, has_aux=True), (X,), (Y,))
    check(wg.value_and_grad(f, has_aux=True), (X,))


def test_integers_and_booleans():
    check(lambda x, at: x[at], (X, np.array([0, 2])), (X, np.array([1, 1])))
    check(lambda x, mask: np.where(mask, x, -x), (X, np.array([True, False, True])))
    check(lambda n: n * n + 1, (np.arange(4),), (np.int64(3),))
    check(lambda n: n // 2, (np.arange(4),), (7,))
    check(lambda x, n: sum(x[k] for k in range(n)), (X, 2), (X, 3), (X, np.int64(1)))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.complex64, np.complex128, np.longdouble])
def test_dtypes(dtype):
    check(lambda x: 2 * x * x + x[0], (X.astype(dtype),))
    check(lambda x: x * x, (dtype(3),))


def test_python_numbers_stay_what_they_are():
    check(lambda a, b: a * b + 1, (2.0, 3.0), (2.0, -1.5))
    check(lambda a: (a > 1, a, -a, np.sin(a), a * a, 2), (2.0,), (0.5,))
    check(lambda a: a**2 + a**-1, (2.0,), (-3.0,))
    check(lambda a: a * (1 + 2j), (2.0,), (3.0,))
    check(lambda z: z * z.conjugate(), (1 + 2j,))
    check(wg.grad(lambda a: a**3), (2.0,), (-3.0,))


def test_python_floats_do_not_make_single_precision_double():
    f = lambda x, a: a * x  # noqa: E731
    x = X.astype(np.float32)
    jitted = check(f, (x, 2.0), (x, 3.0))
    assert jitted(x, 2.0).dtype == np.float32
    same(jitted(X, 2.0), f(X, 2.0))


def test_arrays_without_dimensions():
    check(lambda x: x, (np.array(2.0),))
    check(lambda x: x * 2, (np.array(2.0),))
    check(lambda x: np.asarray(x).reshape(1) * 2, (np.array(2.0),))
    check(lambda x: (x[..., 0], x[..., 1] * 2, np.reshape(x[:1], ()), x[0][..., None]), (X,))
    check(wg.jacobian(lambda x: x[..., 0] * x[0]), (X,))
    check(wg.hessian(lambda a: a**3), (2.0,))
    check(wg.grad(lambda x: x * x), (np.array(2.0),))


def test_constants_alone():
    check(lambda x: (np.zeros(3), 1.0, None, [np.arange(2)]), (X,))


@pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name, case in CORPUS.items() for kind in ("function", *case.kinds)]
)
def test_the_corpus(name, kind):
    case = CORPUS[name]
    f = case.function_of(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected, jitted = f(*case.args), wg.jit(f)
        for _ in range(3):
            same(jitted(*case.args), expected)
    assert jitted.declined == 0


# ---- Decisions ----


def test_every_kind_of_decision():
    def f(x):
        if (x[0] > 0 and x[1] < 3) or x[2] == 3.0:
            x = x * 2
        n = int(x[1])
        while x[0] < 10 and n < 20:
            x = x + x[np.argmax(x)] * 0.5
            n += 1
        y = [x[0], x[1]][bool(x[2] > 1)]
        return y * n + max(x[0], x[1]) + (x[2] if not x[1] else 0.0) + np.sum(x[x > 1])

    rng = np.random.default_rng(0)
    points = [(rng.normal(size=3) * 3 + 1,) for _ in range(20)]
    jitted = wg.jit(f, max_branches=100)
    for _ in range(2):
        for (x,) in points:
            same(jitted(x), f(x))
    assert jitted.declined == 0
    check_again = wg.jit(wg.grad(f), max_branches=100)
    for (x,) in points:
        same(check_again(x), wg.grad(f)(x))


def test_a_decision_whose_value_another_branch_reads():
    def f(x):
        big = x[0] > 1.0
        if big:
            return x[1] * 2.0
        if x[1] > 5.0:
            return big
        return np.where(big, 1.0, x[2]) + np.sum(~big * x) + 0.0 * (not big)

    check(f, (np.array([2.0, 1.0, 3.0]),), (X,), (np.array([0.5, 6.0, 3.0]),), (np.array([2.0, 1.0, 3.0]),))


def test_decisions_inside_of_a_loop_of_a_number():
    def f(a, n):
        return wg.fori_loop(0, 3, lambda i, t: t * 0.5 if t > 1.0 else t + a, a * n)

    points = [(np.float64(a), np.float64(n)) for a in (0.3, 5.0, 40.0) for n in (1.0, 2.0)]
    jitted = wg.jit(f)
    for _ in range(2):
        for point in points:
            same(jitted(*point), f(*point))


@dataclass(frozen=True)
class Branching:
    """A random function with decisions; prints as what it is."""

    steps: tuple[tuple[str, programs.RandomProgram, programs.RandomProgram, float], ...]

    def __call__(self, x):
        for kind, one, other, bound in self.steps:
            if kind == "if":
                x = one(x) if np.sum(x) > bound else other(x)
            elif kind == "element":
                x = one(x) if x[0] > bound or x[-1] < bound else x
            elif kind == "while":
                n = 0
                while np.max(x) > bound and n < 4:
                    x, n = 0.5 * x - 0.1, n + 1
            elif kind == "int":
                for _ in range(int(np.clip(x[0], -3, 3)) % 3):
                    x = x[::-1] * 0.5
            elif kind == "argmax":
                x = x * x[np.argmax(x)]
            elif kind == "scan":
                x, _ = wg.scan(lambda c, z, b=bound: (c * np.tanh(z) if z > b else c + z, z), x, x[:2])
        return x


STEPS = st.tuples(
    st.sampled_from(["if", "element", "while", "int", "argmax", "scan"]),
    programs.random_programs(max_size=2),
    programs.random_programs(max_size=2),
    st.sampled_from([-1.0, 0.0, 0.3, 1.0]),
)


def agree(jitted, f, x):
    """Compare a call, values and whether it fails; what NumPy warns of is of no interest here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            expected = f(x)
        except Exception as error:
            with pytest.raises(type(error)):
                jitted(x)
            return
        np.testing.assert_allclose(jitted(x), expected, rtol=1e-9, atol=1e-12)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(STEPS, min_size=1, max_size=3).map(tuple).map(Branching),
    st.lists(programs.points(2), min_size=2, max_size=6),
)
def test_random_branching_functions(f, points):
    jitted = wg.jit(f, max_branches=20)
    for x in [*points, *points]:
        agree(jitted, f, x)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(STEPS, min_size=1, max_size=2).map(tuple).map(Branching),
    st.lists(programs.points(2), min_size=2, max_size=4),
)
def test_gradients_of_random_branching_functions(f, points):
    gradient = wg.grad(lambda x: np.sum(f(x)))
    jitted = wg.jit(gradient, max_branches=20)
    for x in [*points, *points]:
        agree(jitted, gradient, x)


@settings(deadline=None, max_examples=30)
@given(loops.random_bodies(2), loops.points(3), loops.points(3))
def test_random_loops(body, one, other):
    form = loops.as_scan(body)
    gradient = wg.grad(lambda *args: np.sum(form(*args)), (0, 1, 2))
    jitted = wg.jit(gradient)
    for args in (one, other, one, other):
        for a, b in zip(jitted(*args), gradient(*args), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.float32(0.3) * x,
        lambda x: np.float64(1.0) * (np.float32(0.3) * x) + 1.0,
        lambda x: (x + np.float32(0.3)) / 3.0,
        lambda x: np.sum(np.full(3, 0.3, np.float32) * x),
    ],
)
def test_python_numbers_among_single_precision_stay_weak(f):
    jitted = wg.jit(f)
    for x in (0.5, 0.3, 0.7):  # 0.5 is the same in both precisions
        expected, got = f(x), jitted(x)
        assert (type(got), got) == (type(expected), expected)


def test_a_clock_read_while_memory_is_collected_is_not_read_by_the_function():
    def measure(phase, info):
        time.perf_counter()

    def f(x):
        if x is None:
            print(x)
        gc.collect()
        return x * x

    gc.callbacks.append(measure)
    try:
        assert wg.jit(f)(3.0) == 9.0
    finally:
        gc.callbacks.remove(measure)


def test_the_number_of_branches_is_bounded_and_a_warning_names_the_line():
    def f(x):
        n = 0
        while x > 1:  # the decision
            x, n = x * 0.9, n + 1
        return x * n

    jitted = wg.jit(f, max_branches=4)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for x in np.linspace(1.0, 9.0, 30):
            same(jitted(x), f(x))
    (warning,) = [w for w in caught if w.category is JitWarning]
    assert "while x > 1:" in str(warning.message)
    assert "max_branches" in str(warning.message)
    assert warning.filename == __file__
    assert "4 branches" in repr(jitted)


def test_the_number_of_values_of_what_is_no_array_is_bounded():
    f = lambda x, count: x * count  # noqa: E731
    jitted = wg.jit(f, max_branches=3)
    for count in range(6):
        with pytest.warns(JitWarning, match="values of count") if count == 3 else contextlib.nullcontext():
            same(jitted(X, count), f(X, count))


# ---- Nothing stale ----

SCALE = 2.0
DATA = np.array([1.0, 2.0, 3.0])
LARGE = np.ones(50_000)
SETTINGS = {"power": 2, "inner": [np.array([1.0])]}
NAMED = types.SimpleNamespace(rate=0.5)
BYTES = bytearray(b"\x01\x02\x03")
POLYNOMIAL = np.poly1d([1.0, 2.0])
FROZEN = np.array([2.0])
FROZEN.flags.writeable = False
RESTORE: list = []
CONFIG = types.SimpleNamespace(rate=0.5, nested=types.SimpleNamespace(table=np.array([1.0, 2.0, 3.0])))


def reads_globals(x):
    return SCALE * np.sum(DATA * x) + np.mean(LARGE) * x[0] ** SETTINGS["power"] + SETTINGS["inner"][0][0]


def reads_through_functions(x):
    return x[1] * helper(x) + CONFIG.rate * np.sum(CONFIG.nested.table * x)


def reads_in_other_ways(x):
    rate = getattr(NAMED, "rate") * globals()["SCALE"]  # noqa: B009 - that is what is tested
    return rate * wrapped(x) * np.frombuffer(BYTES, np.uint8)[0] * POLYNOMIAL(2.0) * FROZEN[0] * marked.weight


def marked(x):
    return x


marked.weight = 3.0


def doubling(f):
    @functools.wraps(f)
    def double(*args):
        return 2.0 * f(*args)

    return double


@doubling
def wrapped(x):
    return partial_sum(x) if sys.version_info.major == 3 else 0.0


partial_sum = functools.partial(lambda data, x: np.sum(data * x), DATA)


def helper(x, factor=np.array([4.0])):  # noqa: B008 - a default that changes is what is tested
    return reads_globals(x) * factor[0]


def changed(name, value):
    return lambda monkeypatch: monkeypatch.setitem(globals(), name, value)


CHANGES = {
    "global number": changed("SCALE", 3.0),
    "global array, rebound": changed("DATA", np.array([3.0, 2.0, 1.0])),
    "global array, in place": lambda m: DATA.__setitem__(0, 7.0),
    "large array, in place": lambda m: LARGE.__setitem__(31_000, 500.0),
    "large array, another": changed("LARGE", np.full(50_000, 2.0)),
    "dict": lambda m: m.setitem(SETTINGS, "power", 3),
    "array in a list in a dict": lambda m: SETTINGS["inner"][0].__setitem__(0, 5.0),
    "list in a dict": lambda m: SETTINGS["inner"].__setitem__(0, np.array([6.0])),
    "global function": changed("helper", lambda x: x[0]),
    "default, in place": lambda m: helper.__defaults__[0].__setitem__(0, 9.0),
    "defaults": lambda m: m.setattr(helper, "__defaults__", (np.array([2.0]),)),
    "attribute": lambda m: m.setattr(CONFIG, "rate", 0.25),
    "attribute of an attribute, in place": lambda m: CONFIG.nested.table.__setitem__(1, 0.5),
    "attribute of an attribute": lambda m: m.setattr(CONFIG.nested, "table", np.ones(3)),
    "the module's np.mean": lambda m: m.setitem(globals(), "np", types.SimpleNamespace(**{**vars(np), "mean": np.sum})),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_changes_outside_is_seen(name, monkeypatch):
    for array in (DATA, LARGE, SETTINGS["inner"][0], helper.__defaults__[0], CONFIG.nested.table):
        RESTORE.append(functools.partial(array.__setitem__, ..., array.copy()))
    RESTORE.append(functools.partial(SETTINGS["inner"].__setitem__, 0, SETTINGS["inner"][0]))
    f = reads_through_functions
    jitted, gradient = wg.jit(f), wg.jit(wg.grad(f))
    try:
        for _ in range(3):
            same(jitted(X), f(X))
            same(gradient(X), wg.grad(f)(X))
        before = f(X)
        CHANGES[name](monkeypatch)
        assert f(X) != before
        for _ in range(3):
            same(jitted(X), f(X))
            same(gradient(X), wg.grad(f)(X))
    finally:
        monkeypatch.undo()
        while RESTORE:
            RESTORE.pop()()
    for _ in range(2):
        same(jitted(X), f(X))


def melt(monkeypatch):
    FROZEN.flags.writeable = True
    FROZEN[0] = 5.0


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.setattr(NAMED, "rate", 0.25),
        lambda m: m.setitem(globals(), "SCALE", 7.0),
        lambda m: BYTES.__setitem__(0, 9),
        lambda m: POLYNOMIAL.coeffs.__setitem__(0, 4.0),
        lambda m: m.setattr(marked, "weight", 1.0),
        lambda m: DATA.__setitem__(2, -1.0),
        lambda m: m.setitem(wrapped.__closure__[0].cell_contents.__globals__, "partial_sum", np.sum),
        melt,
    ],
)
def test_what_is_read_in_other_ways_is_seen(change, monkeypatch):
    data = DATA.copy()
    jitted = wg.jit(wg.grad(reads_in_other_ways))
    plain = wg.grad(reads_in_other_ways)
    try:
        for _ in range(2):
            same(jitted(X), plain(X))
        before = plain(X)
        change(monkeypatch)
        assert np.any(plain(X) != before)
        for _ in range(2):
            same(jitted(X), plain(X))
    finally:
        DATA[...] = data


def test_a_closure_that_changes():
    a, b = 2.0, np.array([1.0, 2.0, 3.0])

    def f(x):
        return inner(x) * a

    def inner(x):
        return np.sum(b * x)

    jitted = wg.jit(wg.grad(f))
    same(jitted(X), wg.grad(f)(X))
    for _ in range(2):
        a += 1.0
        same(jitted(X), wg.grad(f)(X))
        b[1] -= 5.0
        same(jitted(X), wg.grad(f)(X))
        b = b * 2
        same(jitted(X), wg.grad(f)(X))


class Model:
    power = 2

    def __init__(self):
        self.w, self.calls = np.array([1.0, 2.0, 3.0]), 0

    def loss(self, x):
        return np.sum(self.w * x**self.power) * self.gain

    @property
    def gain(self):
        return SCALE

    @wg.jit
    def decorated(self, x):
        return self.loss(x)

    def __call__(self, x):
        return self.loss(x)


@pytest.mark.parametrize(
    ("make", "plain"),
    [
        (lambda model: wg.jit(wg.grad(model.loss)), lambda model: wg.grad(model.loss)),
        (wg.jit, lambda model: model.loss),
        (lambda model: model.decorated, lambda model: model.loss),
        (lambda model: wg.jit(lambda x: model.loss(x)), lambda model: model.loss),
        (lambda model: functools.partial(wg.jit(lambda m, x: m.loss(x)), model), lambda model: model.loss),
    ],
)
def test_attributes_of_objects(make, plain, monkeypatch):
    model = Model()
    jitted = make(model)
    for change in (
        lambda: None,
        lambda: setattr(model, "calls", 5),
        lambda: model.w.__setitem__(0, 9.0),
        lambda: setattr(model, "w", np.array([3.0, 2.0, 1.0])),
        lambda: setattr(model, "power", 3),
        lambda: monkeypatch.setattr(Model, "gain", 7.0),
        lambda: monkeypatch.setitem(globals(), "SCALE", 8.0),
    ):
        change()
        for _ in range(2):
            same(jitted(X), plain(model)(X))


def test_a_flag_that_goes_back_and_forth_keeps_its_traces(monkeypatch):
    jitted = wg.jit(reads_globals)
    for scale in (2.0, 3.0) * 3:
        monkeypatch.setitem(globals(), "SCALE", scale)
        same(jitted(X), reads_globals(X))
    assert "2 traces" in repr(jitted)


def test_what_changes_at_every_call_ends_in_the_plain_function(monkeypatch):
    jitted = wg.jit(reads_globals, max_branches=5)
    for scale in range(30):
        monkeypatch.setitem(globals(), "SCALE", float(scale))
        with pytest.warns(JitWarning, match="`SCALE`.*has changed") if scale == 6 else contextlib.nullcontext():
            same(jitted(X), reads_globals(X))


def test_unrelated_changes_cost_nothing(monkeypatch):
    jitted = wg.jit(reads_globals)
    jitted(X)
    monkeypatch.setitem(globals(), "SCALE", float("2"))  # the same number, another object
    monkeypatch.setattr(CONFIG, "rate", 3.0)
    jitted(X)
    assert "1 trace," in repr(jitted)


# ---- More than computing ----

RNG = np.random.default_rng(0)
HISTORY: list = []
COUNTS = {"calls": 0}
TICKS = itertools.count()


def draws_of_a_generator(x):
    return x + RNG.normal(size=3)


def draws_of_numpy(x):
    return x * np.random.rand()


def draws_of_python(x):
    return x * random.random()


def makes_a_generator(x):
    return x + np.random.default_rng().normal(size=3)


def reads_a_clock(x):
    return x * time.perf_counter()


def appends(x):
    HISTORY.append(1.0)
    return x


def counts(x):
    COUNTS["calls"] += 1
    return x


def rebinds(x):
    global SCALE
    SCALE = SCALE + 1.0
    return x


def ticks(x):
    return x * next(TICKS)


def changes_its_argument(x):
    x[0] = 5.0
    return np.sum(x)


IMPURE = {
    draws_of_a_generator: "RNG.normal(size=3)",
    draws_of_numpy: "np.random.rand()",
    draws_of_python: "random.random()",
    makes_a_generator: "np.random.default_rng()",
    reads_a_clock: "time.perf_counter()",
    appends: "HISTORY.append(1.0)",
    counts: 'COUNTS["calls"] += 1',
    rebinds: "SCALE = SCALE + 1.0",
    ticks: "next(TICKS)",
    changes_its_argument: "x[0] = 5.0",
}


@pytest.mark.parametrize("f", IMPURE, ids=lambda f: f.__name__)
def test_who_does_more_than_compute_is_told_so(f, monkeypatch):
    monkeypatch.setitem(globals(), "SCALE", 2.0)
    with pytest.raises(ImpureError) as error:
        wg.jit(f)(X.copy())
    assert IMPURE[f] in str(error.value)


def test_a_nonlocal_name_and_an_attribute_that_are_written():
    calls = 0

    def f(x):
        nonlocal calls
        calls += 1
        return x

    with pytest.raises(ImpureError, match=r"(?s)`calls`.*calls \+= 1"):
        wg.jit(f)(X)

    class Counter:
        def __init__(self):
            self.count = 0

        def step(self, x):
            self.count += 1
            self.last = x[0]
            return x

    with pytest.raises(ImpureError, match=r"(?s)count.*self\.count \+= 1|last"):
        wg.jit(Counter().step)(X)


def test_who_prints_is_warned(capsys):
    def f(x):
        print("here")  # the line
        return x * 2

    jitted = wg.jit(f)
    with pytest.warns(JitWarning, match=r'(?s)print\("here"\)'):
        jitted(X)
    jitted(X)
    assert capsys.readouterr().out == "here\n"


def test_a_seeded_generator_inside_is_no_harm():
    check(lambda x: x + np.random.default_rng(3).normal(size=3), (X,), (Y,))


def test_a_generator_that_is_not_made_is_no_harm():
    def f(x, noise):
        return x + (np.random.default_rng().normal(size=3) if noise else 0.0)

    jitted = wg.jit(f)
    same(jitted(X, False), X)
    with pytest.raises(ImpureError, match="default_rng"):
        jitted(X, True)


def test_a_clock_that_the_collector_reads_is_no_harm():
    def f(x, noise):
        x = np.exp(x)
        return x + (np.random.default_rng().normal(size=3) if noise else 0.0)

    read = []

    def callback(phase, info):
        read.append(time.perf_counter())

    threshold = gc.get_threshold()
    gc.callbacks.append(callback)
    gc.set_threshold(1)
    try:
        same(wg.jit(f)(X, False), np.exp(X))
    finally:
        gc.set_threshold(*threshold)
        gc.callbacks.remove(callback)
    assert read


def test_a_list_that_is_passed_and_changed():
    def f(x, results):
        results.append(x)
        return x

    with pytest.raises(ImpureError, match=r"results.append"):
        wg.jit(f)(X, [])


def test_text_that_is_made_of_values_is_refused():
    with pytest.raises(ResultError, match="text"):
        wg.jit(lambda x: {"text": f"x = {x[0]}", "x": x})(X)


def test_a_function_is_no_result():
    with pytest.raises(ResultError, match="function"):
        wg.jit(lambda x: lambda: x)(X)


# ---- Memory ----


def test_results_are_memory_of_their_own():
    constant = np.array([1.0, 2.0, 3.0])

    def f(x):
        y = x * 2
        return x, x[1:], y, y, y[::-1], constant, constant[:2], (x * 2), np.zeros(2), x.reshape(3, 1), x.T

    jitted = wg.jit(f)
    for _ in range(3):
        x = X.copy()
        expected = f(X.copy())
        results = jitted(x)
        same(results, expected)
        for k, result in enumerate(results):
            assert not np.shares_memory(result, x)
            assert not np.shares_memory(result, constant)
            result[...] = 100.0 + k
        assert [r.flat[0] for r in results] == [100.0 + k for k in range(len(results))]
        np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(constant, [1.0, 2.0, 3.0])


def test_large_values_are_let_go():
    import tracemalloc

    def f(x):
        for _ in range(50):
            x = np.sin(x)
        return np.sum(x)

    jitted, x = wg.jit(f), np.ones(100_000)
    for _ in range(10):  # compiling takes memory, too
        jitted(x)
    tracemalloc.start()
    jitted(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * x.nbytes


# ---- Warnings, errors, edges of floating point ----


@pytest.mark.parametrize("f", [
    lambda x: np.log(x[0]) + x[1],
    lambda x: 1.0 / (x[0] * x[1]),
    lambda x: (x[0] * 1e155) * (x[1] * 1e155),
    lambda x: 1.0 / ((x[0] * 1e155) * (x[1] * 1e155)),
    lambda x: np.exp(-((x[0] * 1e155) * (x[1] * 1e155))),
    lambda x: np.where(x > 0, np.log(x), 0.0),
    lambda x: 0.0 * x[0] + 0.0 * x,
    lambda x: x[0] + 0.0,
    lambda x: 1.0 / (x[0] + 0.0) + 0.0,
    lambda x: x[0] ** 0.5,
    lambda x: x[0] ** -2,
    lambda x: -x[0] * 0.0,
    lambda x: x[0] ** 3 - np.inf,
    lambda x: np.sqrt(x),
    lambda x: x[0] - x[1] if x[0] != x[1] else x[2],
])  # fmt: skip
def test_edges_of_floating_point(f):
    special = [0.0, -0.0, 1.0, -1.0, 25.0, np.inf, -np.inf, np.nan, 5e-324, 1e308]
    jitted, gradient = wg.jit(f), wg.grad(lambda x: np.sum(f(x)))
    jitted_gradient = wg.jit(gradient)
    jitted(np.array([1e-3, 2e-3, 3e-3]))
    for a, b in itertools.product(special, special):
        x = np.array([a, b, 1.0])
        for compiled, plain in ((jitted, f), (jitted_gradient, gradient)):
            with warnings.catch_warnings(record=True) as expected:
                warnings.simplefilter("always")
                value = plain(x)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                got = compiled(x)
            np.testing.assert_array_equal(got, value)
            assert type(got) is type(value)
            if compiled is jitted:
                np.testing.assert_array_equal(np.signbit(got), np.signbit(value))
                assert bool(caught) == bool(expected)
            else:  # a derivative does not compute what only the value depends on, nor warn of it
                assert bool(caught) <= bool(expected)


def test_zero_division_of_python_numbers_is_python_own():
    f = lambda a: 1.0 / a  # noqa: E731
    jitted = wg.jit(f)
    same(jitted(2.0), 0.5)
    with pytest.raises(ZeroDivisionError):
        jitted(0.0)
    with pytest.raises(OverflowError):
        wg.jit(lambda a: a**2)(1e300)


def test_what_the_user_asked_numpy_to_do_is_done():
    jitted = wg.jit(lambda x: np.log(x))
    jitted(X)
    with np.errstate(all="raise"), pytest.raises(FloatingPointError):
        jitted(np.zeros(3))
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.all(np.isinf(jitted(np.zeros(3))))
    same(jitted(X), np.log(X))


def test_warnings_and_errors_name_the_users_line():
    def f(x):
        y = np.log(x)  # outside its domain
        return np.sum(y)

    jitted = wg.jit(wg.grad(f))
    jitted(X)
    with pytest.warns(RuntimeWarning) as caught:
        jitted(np.zeros(3))
    assert caught[0].filename == __file__
    assert "y = np.log(x)" in str(caught[0].message)

    def g(x):
        return np.linalg.inv(x)  # singular

    jitted = wg.jit(wg.jacobian(g))
    jitted(np.eye(2))
    with pytest.raises(np.linalg.LinAlgError, match=r"np\.linalg\.inv\(x\)"):
        jitted(np.ones((2, 2)))
    with pytest.raises(LostGradientError, match=r"Leave out float"):
        wg.jit(lambda x: float(x[0]))(X)


def test_an_exception_of_the_users():
    def f(x):
        if x[0] < 0:
            raise KeyError("negative")
        return x

    jitted = wg.jit(f)
    same(jitted(X), X)
    for _ in range(2):
        with pytest.raises(KeyError, match="negative"):
            jitted(-X)
    same(jitted(X), X)


# ---- Threads ----


def test_threads():
    def f(x):
        return np.sum(x * SCALE) if x[0] > 0 else np.sum(np.sin(x)) if x[1] > 0 else x[2] * np.max(x)

    jitted = wg.jit(wg.grad(f))
    rng = np.random.default_rng(1)
    points = rng.normal(size=(60, 3))
    expected = [wg.grad(f)(x) for x in points]
    wrong = []

    def work():
        for x, y in zip(points, expected, strict=True):
            got = jitted(x)
            if not np.allclose(got, y):
                wrong.append((x, got))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert "3 branches" in repr(jitted)


# ---- What it looks like ----


@wg.jit
def module_function(x):
    """Twice a number."""
    return 2.0 * x


@wg.jit(max_branches=3)
def with_options(x):
    return x


def test_names_documentation_options():
    assert module_function.__name__ == "module_function"
    assert "Twice a number." in module_function.__doc__
    assert with_options.max_branches == 3
    assert (
        repr(wg.jit(with_options.function, max_branches=3))
        == "<jit(with_options, max_branches=3): 0 traces, 0 branches>"
    )
    same(pickle.loads(pickle.dumps(module_function))(X), 2.0 * X)
    same(pickle.loads(pickle.dumps(wg.jit(wg.grad(rosenbrock))))(X), wg.grad(rosenbrock)(X))
    with pytest.raises(ArgumentError, match="function"):
        wg.jit(3)


def test_attributes_of_the_function_hide_no_method():
    def f(x):
        return 2.0 * x

    f._signature = f.show = 3.0
    same(wg.jit(f)(X), 2.0 * X)
    square = wg.custom_derivative(lambda x: x * x)
    square.def_partial(lambda y, x: 2 * x)
    same(wg.jit(square)(X), X * X)
    same(wg.jit(wg.jacobian(square))(X), np.diag(2 * X))


def test_show(capsys):
    jitted = wg.jit(wg.grad(lambda x: x[0] * x[1] if x[0] > 0 else np.sum(x)))
    jitted(X)
    jitted(-X)
    jitted.show("program")
    printed = capsys.readouterr().out
    assert "here False" in printed
    assert "branch 2" in printed
    jitted.show("code")
    printed = capsys.readouterr().out
    assert printed.count("def branch") == 2
    with pytest.raises(ArgumentError):
        jitted.show("source")


class Refusing(np.ndarray):
    """As quantities of astropy: an array whose bytes nobody is to ask it for."""

    def tobytes(self, order="C"):
        raise NotImplementedError


def test_constants_of_a_subclass_are_compared_by_their_elements():
    constant = np.array([2.0, 3.0]).view(Refusing)
    jitted = wg.jit(wg.grad(lambda x: np.sum(x * np.asarray(constant))))
    x = np.ones(2)
    np.testing.assert_array_equal(jitted(x), [2.0, 3.0])
    constant[0] = 5.0
    np.testing.assert_array_equal(jitted(x), [5.0, 3.0])


def test_complex_numbers_keep_their_types():
    def both(primals, tangents):
        return wg.jvp(np.log, primals, tangents), primals[0]

    args = (2.5 + 0.5j,), (1.0,)
    jitted, expected = wg.jit(both), both(*args)
    for _ in range(3):
        (value, tangent), argument = jitted(*args)
        assert [type(value), type(tangent), type(argument)] == [np.complex128, np.complex128, complex]
        assert ((value, tangent), argument) == expected


def test_factors_without_elements():
    f = lambda x: 2.0 * x[:0] * np.ones(0)  # noqa: E731
    jitted = wg.jit(f)
    for _ in range(3):
        same(jitted(np.ones(3)), f(np.ones(3)))


def test_blocks_of_adjoints_at_positions_that_are_apart():
    """NumPy moves what such an index chooses to the front, before the axis of the block."""
    x, rows = np.arange(8.0).reshape(2, 2, 2), np.array([1, 0])
    for function in (
        wg.jacobian(lambda x: x[rows, :, 1] ** 2, mode="reverse"),
        wg.hessian(lambda x: np.sum(x[rows, :, 1] ** 3)),
    ):
        jitted = wg.jit(function)
        for scale in (1.0, 2.0, 3.0):
            same(jitted(scale * x), function(scale * x))


def test_a_sparse_array_of_keys_is_read_and_watched():
    sparse = pytest.importorskip("scipy.sparse")
    A = sparse.dok_array((3, 3))
    A[0, 0], A[1, 2] = 2.0, 3.0

    def f(x):
        return np.sum((A @ x) ** 2)

    x = np.arange(1.0, 4.0)
    gradient = wg.jit(wg.grad(f))
    np.testing.assert_array_equal(gradient(x), wg.grad(f)(x))
    A[0, 0] = 5.0
    np.testing.assert_array_equal(gradient(x), wg.grad(f)(x))


def test_plain_values_among_the_arguments_are_compared_at_each_call():
    def f(x, n, kind, flag):
        y = x[:n] * 2.0 if kind == "double" else x[:n] ** 2
        return -y if flag else y

    jitted, x = wg.jit(f), np.arange(1.0, 5.0)
    calls = [(2, "double", True), (2, "double", False), (2, "square", True), (3, "double", True), (1, "square", False)]
    for _ in range(3):
        for rest in calls:
            for _ in range(3):  # the second and third are like the latest
                same(jitted(x, *rest), f(x, *rest))
    same(jitted(x, 2, "double", 1), f(x, 2, "double", 1))  # 1 is equal to True, and another value
    same(jitted(x, 2, "double", 0), f(x, 2, "double", 0))


def test_an_order_that_cannot_be_taken_is_no_refusal_of_the_function():
    f = lambda x: np.array([np.sum(x) * x[0], np.linalg.solve(np.eye(2) + x[0], x[:2])[0]])  # noqa: E731 - no scalars
    jacobian = wg.jacobian(f, effort="portfolio")
    same(wg.jit(jacobian)(X), jacobian(X))
