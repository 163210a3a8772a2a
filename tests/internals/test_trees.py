"""Arguments and results that are trees, chosen by position and by name, and what a function returns beside them."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any

import jax
import numpy as np
import pytest
from agreement import assert_close

import wengert as wg
from wengert import trees
from wengert.errors import ArgumentError, EscapedError, ResultError
from wengert.program import check
from wengert.tracing import Traced

Layer = collections.namedtuple("Layer", "w b")


@dataclasses.dataclass(frozen=True)
class Model:
    layers: Any
    scale: Any
    name: str = dataclasses.field(default="tanh", metadata={"static": True})


@dataclasses.dataclass(slots=True)
class Slotted:
    a: Any
    b: Any


def model():
    rng = np.random.default_rng(0)
    layers = [Layer(rng.normal(size=(3, 2)), rng.normal(size=3)), {"w": rng.normal(size=(2, 3)), "b": (0.5, None)}]
    return Model(layers, 2.0)


def loss(m, x):
    first, second = m.layers
    h = getattr(np, m.name)(first.w @ x + first.b)
    return m.scale * np.sum((second["w"] @ h + second["b"][0]) ** 2)


X = np.array([0.3, -0.7])


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in trees.flatten(tree)[0]])


def of_flat(f, tree):
    """The same function of one vector."""
    leaves, structure = trees.flatten(tree)
    splits = np.cumsum([np.size(leaf) for leaf in leaves])[:-1]

    def function(v):
        parts = [
            v[a:b].reshape(np.shape(leaf)) for a, b, leaf in zip([0, *splits], [*splits, len(v)], leaves, strict=True)
        ]
        return f(trees.unflatten(structure, parts))

    return function


# ---- Derivatives of trees ----


def test_gradient_has_the_structure_of_the_argument():
    m = model()
    gradient = wg.grad(loss)(m, X)
    assert type(gradient) is Model
    assert type(gradient.layers[0]) is Layer
    assert gradient.layers[1]["b"][1] is None
    assert gradient.name == "tanh"
    assert gradient.layers[0].w.shape == (3, 2)
    assert_close(flat(gradient), wg.grad(of_flat(lambda m: loss(m, X), m))(flat(m)), 1e-12)


def test_value_and_grad_of_several_trees():
    m = model()
    value, (of_x, of_m) = wg.value_and_grad(loss, (-1, 0))(m, X)
    assert value == loss(m, X)
    assert_close(of_x, wg.grad(lambda x: loss(m, x))(X), 1e-12)
    assert_close(flat(of_m), flat(wg.grad(loss)(m, X)), 1e-12)


def test_lists_of_floats_are_trees():
    assert wg.grad(lambda xs: xs[0] ** 2 * xs[1])([3.0, 2.0]) == [12.0, 9.0]
    assert wg.grad(lambda xs: sum(xs))((1.0, (2.0, 3.0))[1]) == (1.0, 1.0)


def test_dicts_keep_their_order_and_single_precision_stays():
    params = {"z": np.float32(2.0), "a": np.ones(2, np.float32)}
    gradient = wg.grad(lambda p: p["z"] * np.sum(p["a"] ** 2))(params)
    assert list(gradient) == ["z", "a"]
    assert gradient["z"].dtype == gradient["a"].dtype == np.float32


def test_unused_leaves_have_zero_gradients():
    gradient = wg.grad(lambda p: p["a"] ** 2)({"a": 3.0, "unused": np.ones((2, 2), np.float32)})
    assert gradient["a"] == 6.0
    np.testing.assert_array_equal(gradient["unused"], np.zeros((2, 2), np.float32))


def test_slotted_dataclasses_and_empty_containers():
    gradient = wg.grad(lambda s: s.a * s.b["k"][0])(Slotted(2.0, {"k": [3.0], "none": [], "nil": None}))
    assert gradient == Slotted(3.0, {"k": [2.0], "none": [], "nil": None})


def test_registered_types_of_optree_are_trees():
    import optree

    class Pair:
        def __init__(self, a, b):
            self.a, self.b = a, b

    optree.register_pytree_node(Pair, lambda p: ((p.a, p.b), None), lambda _, c: Pair(*c), namespace="wengert")
    gradient = wg.grad(lambda p: p.a * p.b)(Pair(2.0, 5.0))
    assert (gradient.a, gradient.b) == (5.0, 2.0)


def test_what_is_not_differentiated_passes_untouched():
    marker, table = object(), {"n": 3, "mode": "x", 5: None}

    def f(x, a, b, *, c):
        assert a is marker
        assert b is table
        assert c == ["text", 1]
        return x * table["n"]

    assert wg.grad(f)(2.0, marker, table, c=["text", 1]) == 3.0


# ---- Both modes, linear maps ----


def outputs(m, x):
    return {"loss": loss(m, x), "parts": [m.layers[0].b * x[0], (np.sum(x), m.scale)]}


def test_jacobian_is_a_tree_of_trees():
    m = model()
    results = [wg.jacobian(outputs, (0, 1), mode=mode)(m, X) for mode in ("forward", "reverse", None)]
    for J in results:
        assert set(J) == {"loss", "parts"}
        of_m, of_x = J["parts"][0]
        assert of_m.layers[0].w.shape == (3, 3, 2)
        assert_close(of_x, np.outer(m.layers[0].b, [1.0, 0.0]), 1e-12)
        assert_close(of_m.layers[0].b, X[0] * np.eye(3), 1e-12)
        assert_close(flat(J["loss"][0]), flat(wg.grad(loss)(m, X)), 1e-12)
        assert J["parts"][1][1][0].scale == 1.0
        assert_close(flat(J), flat(results[0]), 1e-12)


def test_jacobian_agrees_with_jax():
    tree = {"a": np.array([1.0, 2.0]), "b": [np.array([[3.0]]), 0.5]}

    def f(t):
        return [t["a"] * t["b"][1], {"s": (t["a"] ** 2).sum() * t["b"][0]}]

    with jax.enable_x64(True):
        expected = jax.jacobian(f)(jax.tree.map(jax.numpy.asarray, tree))
    given = wg.jacobian(f)(tree)
    assert jax.tree.structure(given) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(given), jax.tree.leaves(expected), strict=True):
        assert_close(a, b, 1e-12)


def test_hessian_of_a_tree():
    tree = {"a": np.array([1.0, 2.0]), "b": 3.0}

    def f(t):
        return np.sum(t["a"] ** 3) * t["b"] ** 2

    H = wg.hessian(f)(tree)
    whole = wg.hessian(of_flat(f, tree))(flat(tree))
    rows = [np.column_stack([np.reshape(H[i][j], (np.size(tree[i]), -1)) for j in "ab"]) for i in "ab"]
    assert_close(np.vstack(rows), whole, 1e-12)
    both = wg.hessian(lambda p, q: p * q**2, (0, 1))(2.0, 3.0)
    assert both == ((0.0, 6.0), (6.0, 4.0))
    v = {"a": np.array([0.5, -1.0]), "b": 2.0}
    assert_close(flat(wg.hvp(f)(tree, v)), whole @ flat(v), 1e-12)


def test_linear_maps_of_trees():
    m = model()
    rng = np.random.default_rng(1)
    t = trees.map_leaves(lambda a: rng.normal(size=np.shape(a))[()], m)
    g = trees.map_leaves(lambda a: rng.normal(size=np.shape(a))[()], outputs(m, X))
    y, push = wg.linearize(lambda m: outputs(m, X), m)
    assert_close(flat(y), flat(outputs(m, X)), 1e-15)
    y_dot, bar = push(t), push.T(g)
    assert_close(flat(g) @ flat(y_dot), flat(bar) @ flat(t), 1e-12)
    assert_close(flat(wg.jvp(lambda m: outputs(m, X), (m,), (t,))[1]), flat(y_dot), 1e-15)
    assert_close(flat(wg.vjp(outputs, m, X)[1](g)[0]), flat(bar), 1e-12)
    assert "du_1/du_" in push.graph


def test_one_value_returned_twice():
    y, pull = wg.vjp(lambda x: (x, 2 * x, x), 3.0)
    assert y == (3.0, 6.0, 3.0)
    assert pull((1.0, 10.0, 100.0)) == (121.0,)


def test_trees_nest_with_derivatives():
    def inner(p):
        return p["a"] ** 3 * p["b"]

    def outer(b):
        return wg.grad(inner)({"a": 2.0, "b": b})["a"] * b

    assert wg.grad(outer)(5.0) == 2 * 3 * 4.0 * 5.0
    assert wg.grad(lambda p: wg.grad(inner)(p)["a"])({"a": 2.0, "b": 5.0}) == {"a": 60.0, "b": 12.0}


# ---- argnums, argnames, keyword arguments ----


def test_argnums_and_argnames():
    def f(a, b, *, c=1.0, d=2.0):
        return a * b**2 * c**3 * d

    assert wg.grad(f, -1)(2.0, 3.0) == 24.0
    assert wg.grad(f, (1, 0))(2.0, 3.0) == (24.0, 18.0)
    assert wg.grad(f, [0])(2.0, 3.0) == (18.0,)
    assert wg.grad(f, np.int64(1))(2.0, 3.0) == 24.0
    assert wg.grad(f, argnames="c")(2.0, 3.0, c=2.0) == 2.0 * 9 * 12 * 2
    assert wg.grad(f, argnames=("d", "b"))(2.0, 3.0, d=1.0) == {"d": 18.0, "b": 12.0}
    assert wg.grad(f, 0, argnames=["c"])(2.0, 3.0, c=1.0) == (18.0, {"c": 108.0})
    assert wg.jacobian(f, argnames="c")(2.0, 3.0, c=2.0) == 432.0
    assert wg.hessian(f, argnames="c")(2.0, 3.0, c=2.0) == 2.0 * 9 * 12 * 2
    assert wg.value_and_grad(f, argnames="c")(2.0, 3.0, c={"x": 1.0}["x"]) == (36.0, 108.0)


def test_wrong_arguments_are_named():
    def f(params, x):
        return params["layer"][0] * x

    def message(call, error=ArgumentError):
        with pytest.raises(error) as caught:
            call()
        return str(caught.value)

    assert "params['layer'][0] is of integer dtype (3)" in message(lambda: wg.grad(f)({"layer": [3]}, 1.0))
    said = message(lambda: wg.grad(f)({"layer": [3.0], "name": "text"}, 1.0))
    assert "params['name'] is a str" in said
    assert "argnums" in said
    assert "argnums names argument 2" in message(lambda: wg.grad(f, 2)({"layer": [3.0]}, 1.0))
    assert "argnames names 'y'" in message(lambda: wg.grad(f, argnames="y")({"layer": [3.0]}, x=1.0))
    assert "params, x" in message(lambda: wg.grad(f, argnames="y")({"layer": [3.0]}, x=1.0))
    assert "structure" in message(lambda: wg.jvp(lambda p: p["a"], ({"a": 1.0},), ({"b": 1.0},)))
    assert "structure" in message(lambda: wg.vjp(lambda a: (a, a), 1.0)[1]([1.0, 1.0]))
    assert "tangents are needed" in message(lambda: wg.jvp(f, ({"layer": [3.0]}, 1.0), (1.0,)))
    assert "returned a tuple" in message(lambda: wg.grad(lambda x: (x, x))(1.0), ResultError)


# ---- What is returned beside the result ----


def with_aux(x):
    y = np.sum(x**2)
    return y, {"twice": 2 * y, "x": x, "text": "hello", "list": [x[0], 3, None], "objects": np.array([x[0], x[1]])}


def assert_plain(tree):
    for leaf in trees.flatten(tree)[0]:
        assert type(leaf) is not Traced
        assert not (isinstance(leaf, np.ndarray) and leaf.dtype.hasobject)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: wg.grad(with_aux, has_aux=True)(x)[1],
        lambda x: wg.value_and_grad(with_aux, has_aux=True)(x)[0][1],
        lambda x: wg.jacobian(with_aux, has_aux=True)(x)[1],
        lambda x: wg.jacfwd(with_aux, has_aux=True)(x)[1],
        lambda x: wg.jacrev(with_aux, has_aux=True)(x)[1],
        lambda x: wg.hessian(with_aux, has_aux=True)(x)[1],
        lambda x: wg.jvp(with_aux, (x,), (x,), has_aux=True)[2],
        lambda x: wg.vjp(with_aux, x, has_aux=True)[2],
        lambda x: wg.linearize(with_aux, x, has_aux=True)[2],
    ],
)
def test_what_stands_beside_the_result_is_plain(call):
    aux = call(X)
    assert_plain(aux)
    assert aux["text"] == "hello"
    assert aux["twice"] == 2 * np.sum(X**2)
    np.testing.assert_array_equal(aux["x"], X)
    np.testing.assert_array_equal(aux["objects"], X)


def test_derivatives_with_aux_are_those_without():
    (value, _), gradient = wg.value_and_grad(with_aux, has_aux=True)(X)
    assert value == np.sum(X**2)
    np.testing.assert_array_equal(gradient, 2 * X)
    np.testing.assert_array_equal(wg.jacobian(with_aux, has_aux=True)(X)[0], 2 * X)
    np.testing.assert_array_equal(wg.hessian(with_aux, has_aux=True)(X)[0], 2 * np.eye(2))
    with pytest.raises(ResultError, match="has_aux"):
        wg.grad(lambda x: x, has_aux=True)(1.0)


def test_aux_of_an_inner_trace_belongs_to_the_outer_one():
    def f(x):
        gradient, aux = wg.grad(lambda y: (y**2 * x, x * y), has_aux=True)(3.0)
        return gradient + aux

    assert wg.grad(f)(2.0) == 6.0 + 3.0


def test_a_traced_value_that_is_kept_elsewhere_says_so():
    kept = []

    class Box:
        pass

    def f(x):
        box = Box()
        box.value = x
        return x, box

    kept.append(wg.grad(f, has_aux=True)(1.0)[1])
    with pytest.raises(EscapedError):
        kept[0].value + 1.0


# ---- Programs ----


def test_program_of_trees():
    m = model()
    program = wg.trace(outputs)(m, X)
    check(program)
    names = [a.name for a in program.arguments]
    assert names == ["m_layers_0_w", "m_layers_0_b", "m_layers_1_b_0", "m_layers_1_w", "m_scale", "x"]
    assert not program.single
    other = trees.map_leaves(lambda a: 1.1 * a, m)
    assert_close(flat(program(other, X + 1)), flat(outputs(other, X + 1)), 1e-14)
    leaves = [*trees.flatten(other)[0], X + 1]
    assert_close(flat(program(*leaves)), flat(outputs(other, X + 1)), 1e-14)
    names = {}
    exec(program.source(), names)
    assert_close(flat(names["outputs"](*leaves)), flat(outputs(other, X + 1)), 1e-14)


def test_trees_with_other_leaves_are_traced_for_the_real_ones():
    program = wg.trace(lambda p, k: p["w"] * p["n"] * k)({"w": 2.0, "n": 3, "act": "tanh"}, 2.0)
    assert program.listing(places=False).splitlines()[0] == "p_w = u_{-1}, k = u_0"
    assert program({"w": 5.0, "n": 3, "act": "tanh"}, 2.0) == 30.0


def test_results_are_named():
    text = wg.trace(lambda x: (x + 1, x * 2))(1.0).listing(places=False)
    assert text == "x = u_0\nu_1 = u_0 + 1  = y1\nu_2 = u_0 * 2  = y2"
    text = wg.trace(lambda x: {"a": x + 1, "b": [x * 2]})(1.0).listing(places=False)
    assert text == "x = u_0\nu_1 = u_0 + 1  = y_a\nu_2 = u_0 * 2  = y_b_0"


def test_plan_and_check_of_trees():
    m = model()
    assert wg.plan(loss)(m, X).chosen == "reverse"
    assert wg.plan(outputs)(m, X).m == 6
    assert wg.check_derivatives(loss)(m, X)
    assert wg.check_derivatives(outputs, 0)(m, X)
    assert "dy/dp_w_" in str(wg.check_derivatives(lambda p: p["w"][1] ** 2)({"w": [0.0, 1.0]}))
    assert wg.check_derivatives(lambda x: {"a": x, "b": [np.sum(x)]})(X)
