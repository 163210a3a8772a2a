"""Pickling: Programs, derivatives and reports go to other processes and come back the same."""

from __future__ import annotations

import copy
import functools
import importlib
import linecache
import multiprocessing
import pickle
import re
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from corpus import CORPUS

import wengert as wg
from wengert import trees
from wengert.errors import PickleError
from wengert.program import pickling

NAMES = [name for name in CORPUS if name != "defined_row"]  # whose row is taken out of the table at once
PROTOCOLS = (2, pickle.HIGHEST_PROTOCOL)


@pytest.fixture(scope="module")
def other_process():
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield lambda function, *args: pool.submit(function, *args).result(timeout=100)


def again(value, protocol=pickle.HIGHEST_PROTOCOL):
    return pickle.loads(pickle.dumps(value, protocol))


def assert_same(a, b):
    (ours, structure), (theirs, other) = trees.flatten(a), trees.flatten(b)
    assert structure == other
    for x, y in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(x, y)
        assert np.asarray(x).dtype == np.asarray(y).dtype


# ---- Functions of this module, which other processes find by name ----


@dataclass
class Model:
    w: np.ndarray
    bias: float


def energy(x, k=1.0):
    return k * np.sum(np.sin(x) * x)


def network(model, x):
    return {"y": np.tanh(model.w @ x + model.bias), "norm": np.sum(model.w**2)}


def branching(x):
    if x[0] > 0:
        return np.log(x[0]) * x[1]
    return x[1] ** 2


def looping(x):
    _, ys = wg.scan(lambda c, x: (np.sin(c) * x, c**2), x[0], x)
    y = wg.while_loop(lambda c: c < 20.0, lambda c: c * 1.5 + x[0], x[1] ** 2)
    z = wg.fori_loop(0, 7, lambda i, c: c * x[i % 3] + i, x[2], checkpoint=2)
    return np.sum(ys) + y + z


def rerolled(x):
    y = x[0]
    for _ in range(200):
        y = np.sin(y) * x[1] + x[2]
    return y


def conditional(x):
    inner = wg.checkpoint(lambda x: np.exp(np.sin(x)))
    return wg.cond(x[0] > 0, lambda x: np.sum(inner(x) * x), lambda x: np.sum(x**3), x)


@wg.custom_derivative
def clipped(x):
    return np.minimum(x, 10.0)


clipped.defvjp(lambda x: (np.minimum(x, 10.0), x < 10.0), lambda kept, y_bar: (np.where(kept, y_bar, 0.5),))


def softplus(x):
    return np.log1p(np.exp(x))


def slope_of_softplus(y, x):
    return 1 / (1 + np.exp(-x))


def with_custom_rules(x):
    return np.sum(clipped(x) * wg.stop_gradient(x) ** 2)


@wg.grad
def decorated(x):
    return np.sum(x**3)


X = np.array([0.5, 1.25, 0.75])
FUNCTIONS = {
    "plain": (energy, (X,)),
    "trees": (network, (Model(np.arange(6.0).reshape(2, 3), 0.5), X)),
    "branch": (branching, (X,)),
    "loops": (looping, (X,)),
    "rerolled": (rerolled, (X,)),
    "conditional": (conditional, (X,)),
    "custom rules": (with_custom_rules, (X,)),
}


def tilted(value):
    """Return a direction, or an adjoint, of the structure of a value."""
    leaves, structure = trees.flatten(value)
    filled = [(0.5 - 0.25 * (np.arange(np.size(v)) % 3)).reshape(np.shape(v))[()] for v in leaves]
    return trees.unflatten(structure, filled)


# ---- Programs ----


@pytest.mark.parametrize("name", NAMES)
def test_programs_of_the_corpus_come_back(name):
    case = CORPUS[name]
    program = wg.trace(case.f, case.argnums)(*case.args)
    args = [case.args[k] for k in case.argnums]
    for twin in [*(again(program, protocol) for protocol in PROTOCOLS), copy.deepcopy(program)]:
        assert twin is not program
        assert twin.listing() == program.listing()
        assert twin.source() == program.source()
        assert_same(twin(*args), program(*args))


def listings_and_values(programs):
    return [(program.listing(), program.source(), program(*args)) for program, args in programs]


def test_programs_of_the_corpus_run_in_another_process(other_process):
    cases = [(CORPUS[name], kind) for name in NAMES for kind in ("function", *CORPUS[name].kinds)]
    programs = [
        (wg.trace(case.function_of(kind), case.argnums)(*case.args), [case.args[k] for k in case.argnums])
        for case, kind in cases
    ]
    for here, there in zip(listings_and_values(programs), other_process(listings_and_values, programs), strict=True):
        assert here[:2] == there[:2]
        assert_same(here[2], there[2])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_program_that_came_back_is_differentiated(name, other_process):
    f, args = FUNCTIONS[name]
    program = wg.trace(f)(*args)
    twin = again(program)
    jacobian = wg.jacobian(program, argnums=tuple(range(len(args))))(*args)
    assert_same(wg.jacobian(twin, argnums=tuple(range(len(args))))(*args), jacobian)
    assert_same(other_process(wg.jacobian(program, argnums=tuple(range(len(args)))), *args), jacobian)


def test_derivative_programs_of_derivative_programs_come_back():
    program = wg.trace(wg.grad(wg.grad(rerolled_of_a_number)))(0.5)
    twin = again(program)
    assert twin.listing() == program.listing()
    assert twin(0.75) == program(0.75)
    assert wg.grad(twin)(0.75) == wg.grad(program)(0.75)


def rerolled_of_a_number(x):
    return rerolled(np.stack([x, x**2, 1.0]))


def test_guards_come_back():
    twin = again(wg.trace(branching)(X))
    with pytest.raises(wg.errors.BranchError) as error:
        twin(-X)
    assert "if x[0] > 0:" in str(error.value)


def test_what_was_worked_out_is_not_pickled():
    program = wg.trace(looping)(X)
    fresh = len(pickle.dumps(program))
    for _ in range(15):
        program(X)
    wg.hessian(program)(X)
    _, pull = wg.vjp(program, X)
    pull(1.0)
    assert len(pickle.dumps(program)) < 1.1 * fresh


def test_places_survive_their_source(tmp_path, monkeypatch):
    (tmp_path / "vanishing.py").write_text("import numpy as np\ndef f(x):\n    return np.log(x) * 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    program = wg.trace(importlib.import_module("vanishing").f)(0.5)
    expected = program.listing()
    data = pickle.dumps(program)
    (tmp_path / "vanishing.py").unlink()
    linecache.clearcache()
    twin = pickle.loads(data)
    assert "vanishing.py:3" in expected
    assert twin.listing() == expected
    assert "return np.log(x) * 2" in twin.lines[0].location.excerpt()
    assert twin.lines[0].location.segment == "np.log(x)"
    assert again(twin).lines[0].location == twin.lines[0].location


# ---- Functions that transformations return ----

TRANSFORMED = {
    "grad": (wg.grad(energy), (X,)),
    "options": (wg.grad(energy, (0, 1)), (X, 2.0)),
    "value_and_grad": (wg.value_and_grad(energy), (X,)),
    "elementwise_grad": (wg.elementwise_grad(np.tanh), (X,)),
    "jacobian": (wg.jacobian(np.sin, mode="forward"), (X,)),
    "nested": (wg.jacobian(wg.grad(energy)), (X,)),
    "hessian": (wg.hessian(energy), (X,)),
    "hvp": (wg.hvp(energy), (X, X)),
    "vmap": (wg.vmap(wg.grad(energy), in_axes=(0, None)), (np.stack([X, 2 * X]), 2.0)),
    "checkpoint": (wg.grad(wg.checkpoint(energy)), (X,)),
    "partial": (wg.grad(functools.partial(energy, k=3.0)), (X,)),
    "decorated": (decorated, (X,)),
    "derivative of a decorated one": (wg.jacobian(decorated), (X,)),
    "custom rule": (wg.grad(with_custom_rules), (X,)),
    "tree": (wg.jacobian(network), FUNCTIONS["trees"][1]),
    "program": (wg.grad(wg.trace(energy)(X)), (X,)),
}


@pytest.mark.parametrize("name", TRANSFORMED)
def test_transformed_functions_come_back(name, other_process):
    f, args = TRANSFORMED[name]
    expected = f(*args)
    for twin in [*(again(f, protocol) for protocol in PROTOCOLS), copy.deepcopy(f)]:
        assert repr(twin) == repr(f)
        assert_same(twin(*args), expected)
    assert_same(other_process(f, *args), expected)
    assert_same(list(other_process(map_of, f, [args, args])), [expected, expected])


def map_of(f, points):
    return [f(*args) for args in points]


def test_decorated_functions_and_methods_go_by_name():
    assert again(decorated) is decorated
    assert again(clipped) is clipped
    assert again(wg.jacobian(decorated)).function is decorated
    assert again(Spring(2.0).force)(3.0) == 12.0


class Spring:
    def __init__(self, k):
        self.k = k

    @functools.partial(wg.grad, argnums=1)
    def force(self, x):
        return self.k * x**2


def test_custom_derivatives_go_with_their_rules(other_process):
    for give in ("partial", "forward"):
        custom = wg.custom_derivative(softplus)
        if give == "partial":
            custom.def_partial(slope_of_softplus)
        else:
            custom.defjvp(tangent_of_softplus)
        program = wg.trace(lambda x, f=custom: f(x) * 2)(0.5)
        for value in (custom, program):
            expected = wg.grad(value)(0.5)
            assert wg.grad(again(value))(0.5) == expected
            assert other_process(wg.grad(value), 0.5) == expected


def tangent_of_softplus(primals, tangents):
    return softplus(*primals), slope_of_softplus(None, *primals) * tangents[0]


# ---- Linear maps ----


@pytest.mark.parametrize("name", FUNCTIONS)
def test_linear_maps_come_back(name, other_process):
    f, args = FUNCTIONS[name]
    y, push = wg.linearize(f, *args)
    _, pull = wg.vjp(f, *args)
    dots, bar = tuple(map(tilted, args)), tilted(y)
    for protocol in PROTOCOLS:
        twin = again(push, protocol)
        assert_same(twin(*dots), push(*dots))
        assert_same(twin.T(bar), push.T(bar))
        assert_same(again(pull, protocol)(bar), pull(bar))
        assert_same(again(push.T, protocol)(bar), push.T(bar))
        assert twin.graph == push.graph
        assert repr(twin) == repr(push)
    assert_same(copy.deepcopy(push)(*dots), push(*dots))
    assert_same(other_process(push, *dots), push(*dots))
    assert_same(other_process(pull, bar), pull(bar))


def test_linear_maps_of_lambdas_come_back():
    _, push, _ = wg.linearize(lambda a, b: (a * np.sin(b), "aux"), 2.0, X, has_aux=True)
    twin = again(push)
    assert_same(twin(1.0, X), push(1.0, X))
    assert twin.graph == push.graph == again(twin).graph


def work_in_another_process(x):
    scale = 3.0
    y, push = wg.linearize(lambda x: np.sum(np.sin(x) * scale), x)
    return y, push


def test_linear_maps_come_back_from_another_process(other_process):
    _, push = other_process(work_in_another_process, X)
    assert_same(push.T(1.0), 3 * np.cos(X))


def test_changes_in_place_are_seen_before_a_linear_map_is_pickled():
    data = np.ones(5000)
    _, pull = wg.vjp(lambda x: np.sum(x * data), np.ones(5000))
    twin = again(pull)
    data[0] = 7.0
    np.testing.assert_array_equal(twin(1.0)[0], np.ones(5000))  # it has a copy
    with pytest.raises(wg.errors.ChangedError):
        pickle.dumps(pull)


# ---- Explanations and reports ----


@pytest.mark.parametrize("name", ["plain", "branch", "loops", "rerolled", "conditional"])
def test_explanations_and_reports_come_back(name):
    f, args = FUNCTIONS[name]
    explanation = wg.explain(f)(*args)
    for twin in [again(explanation), copy.deepcopy(explanation)]:
        for write in ("text", "latex", "markdown"):
            assert getattr(twin, write)() == getattr(explanation, write)()
        assert repr(twin) == repr(explanation)
    report, plan = wg.check_derivatives(f)(*args), wg.plan(f)(*args)
    assert str(again(report)) == str(report)
    assert str(again(plan)) == str(plan)


def test_what_why_nan_returns_comes_back():
    origin = wg.why_nan(energy_of_a_root)(np.array([1.0, -1.0]))
    assert str(again(origin)) == str(origin)
    assert "np.sqrt(x)" in str(origin)


def energy_of_a_root(x):
    return np.sum(np.sqrt(x))


# ---- What cannot be pickled, or read back ----


@pytest.fixture
def plain_pickle(monkeypatch):
    """Let nothing be loaded that pickles functions by value, as scikit-learn loads it."""
    for name in [name for name in sys.modules if name.rpartition(".")[2] in ("cloudpickle", "dill")]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.usefixtures("plain_pickle")
def test_functions_without_a_name_are_refused():
    def local(x):
        return x**2

    for f, name in ((lambda x: x**2, "<lambda>"), (local, "local")):
        with pytest.raises(PickleError, match=re.escape(f"vmap(grad({name})) cannot be pickled")) as error:
            pickle.dumps(wg.vmap(wg.grad(f)))
        assert f"test_pickling.py:{f.__code__.co_firstlineno}" in str(error.value)
        assert "at the top level of a module" in str(error.value)
    custom = wg.custom_derivative(local)
    with pytest.raises(PickleError, match=r"<custom_derivative local> cannot be pickled"):
        pickle.dumps(wg.grad(custom))


def test_functions_without_a_name_are_pickled_by_cloudpickle(other_process):
    cloudpickle = pytest.importorskip("cloudpickle")
    scale = 3.0
    f = wg.vmap(wg.grad(lambda x: scale * x**2))
    data = cloudpickle.dumps(f)
    assert_same(pickle.loads(data)(X), 6 * X)
    assert_same(other_process(unpickle_and_call, data, X), 6 * X)


def unpickle_and_call(data, *args):
    return pickle.loads(data)(*args)


def test_primitives_of_one_s_own_go_by_name():
    row = wg.define("pickled_cube", lambda x: x**3, lambda _y, x: 3 * x**2)
    try:
        program = wg.trace(lambda x: row(x) + 1)(2.0)
        data = pickle.dumps(program)
        assert pickle.loads(data).lines[0].primitive is row
        assert pickle.loads(data)(2.0) == 9.0
    finally:
        wg.undefine("pickled_cube")
    with pytest.raises(PickleError, match=r"primitive pickled_cube, which is not defined here") as error:
        pickle.loads(data)
    assert "wg.define('pickled_cube', ...)" in str(error.value)
    with pytest.raises(PickleError, match=r"primitive pickled_cube cannot be pickled"):
        pickle.dumps(program)


@pytest.mark.parametrize("value", [wg.trace(energy)(X), wg.linearize(energy, X)[1]], ids=["Program", "LinearMap"])
def test_other_formats_are_refused(value, monkeypatch):
    data = pickle.dumps(value)
    monkeypatch.setattr(pickling, "FORMAT", 7)
    with pytest.raises(
        PickleError, match=rf"this {type(value).__name__} was pickled by wengert .* in format 1, and"
    ) as e:
        pickle.loads(data)
    assert "reads format 7" in str(e.value)


def test_a_format_is_refused_before_anything_else_is_looked_up(monkeypatch):
    """A later version may have other classes inside."""
    program = wg.trace(energy)(X)
    monkeypatch.setitem(sys.modules, "later", SimpleNamespace(Inside=Inside))
    monkeypatch.setattr(Inside, "__module__", "later")
    monkeypatch.setattr(type(program), "__getstate__", lambda self: (Inside(),))
    data = pickle.dumps(program)
    monkeypatch.undo()
    monkeypatch.setattr(pickling, "FORMAT", 7)
    with pytest.raises(PickleError, match="format 7"):
        pickle.loads(data)


class Inside:
    pass
