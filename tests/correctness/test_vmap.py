"""`vmap` against a plain Python loop: every primitive, branches, axes, trees, and every nesting with derivatives."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import test_primitives
from agreement import assert_close

import wengert as wg
from wengert.batching.vmap import RULES
from wengert.errors import ArgumentError, ResultError, ShapeError
from wengert.primitives import PRIMITIVES

pytestmark = pytest.mark.filterwarnings("ignore::wengert.errors.DecisionWarning")  # counts and positions are tried, too

SIZE = 3


def looped(f, in_axes, *args):
    """The definition."""
    sizes = {np.shape(a)[axis] for a, axis in zip(args, in_axes, strict=True) if axis is not None}
    (size,) = sizes
    members = [
        [a if axis is None else np.take(a, k, axis)[()] for a, axis in zip(args, in_axes, strict=True)]
        for k in range(size)
    ]
    return np.stack([np.asarray(f(*m)) for m in members])


def assert_as_looped(f, in_axes, *args, rtol=1e-13):
    expected = looped(f, in_axes, *args)
    given = wg.vmap(f, in_axes)(*args)
    assert isinstance(given, np.ndarray)
    assert given.dtype == expected.dtype
    np.testing.assert_allclose(given, expected, rtol=rtol, atol=rtol)


# ---- Every primitive ----

ELEMENTWISE = [
    pytest.param(p, shapes, id=f"{p.name}-{'-'.join(map(str, shapes)).replace(' ', '')}")
    for p in test_primitives.ELEMENTWISE
    if getattr(np, p.name, None) is p.numpy  # one rule serves all
    for shapes in (
        [((),), ((2, 3),)] if p.numpy.nin == 1 else [((), ()), ((3,), ()), ((2, 1), (3,)), ((3,), (2, 3)), ((), (2,))]
    )
]


@pytest.mark.parametrize(("primitive", "shapes"), ELEMENTWISE)
def test_elementwise(primitive, shapes):
    f, args = test_primitives.elementwise_case(primitive, shapes)
    rng = np.random.default_rng(0)
    batched = [np.stack([a * rng.uniform(0.9, 1.0) for _ in range(SIZE)]) for a in args]
    for in_axes in itertools.product((0, None), repeat=len(args)):
        if any(axis == 0 for axis in in_axes):
            point = [b if axis == 0 else a for a, b, axis in zip(args, batched, in_axes, strict=True)]
            assert_as_looped(f, in_axes, *point)


STRUCTURAL = [
    pytest.param(f, shapes, id=f"{name}-{k}")
    for name, cases in test_primitives.CASES.items()
    for k, (f, shapes) in enumerate(cases)
]


@pytest.mark.parametrize(("f", "shapes"), STRUCTURAL)
def test_structural(f, shapes):
    rng = np.random.default_rng(1)
    single = [np.asarray(rng.uniform(0.3, 1.5, shape))[()] for shape in shapes]
    batched = [np.stack([s * (1 + k / 7) + rng.normal(0, 0.05, np.shape(s)) for k in range(SIZE)]) for s in single]
    for in_axes in itertools.product((0, None), repeat=len(shapes)):
        if all(axis is None for axis in in_axes):
            continue
        point = [b if axis == 0 else a for a, b, axis in zip(single, batched, in_axes, strict=True)]
        try:
            looped(f, in_axes, *point)
        except ValueError:
            with pytest.raises(ShapeError, match="different shapes"):
                wg.vmap(f, in_axes)(*point)
            continue
        assert_as_looped(f, in_axes, *point)

        def total(*xs, in_axes=in_axes):
            whole = np.ravel(wg.vmap(f, in_axes)(*xs))
            return np.sum(np.cos(np.arange(whole.shape[0], dtype=float)) * whole)

        def total_looped(*xs, in_axes=in_axes):
            results = [
                f(*[x if axis is None else x[k] for x, axis in zip(xs, in_axes, strict=True)]) for k in range(SIZE)
            ]
            whole = np.ravel(np.stack([r * 1.0 for r in results]))
            return np.sum(np.cos(np.arange(whole.shape[0], dtype=float)) * whole)

        which = tuple(range(len(shapes)))
        for given, expected in zip(wg.grad(total, which)(*point), wg.grad(total_looped, which)(*point), strict=True):
            assert_close(given, expected, 1e-12)
        given, expected = (wg.jvp(g, point, [np.ones_like(p) for p in point])[1] for g in (total, total_looped))
        assert_close(given, expected, 1e-12)


def test_every_rule_has_a_case():
    assert {p.name for p in RULES} <= set(test_primitives.CASES)
    assert all(PRIMITIVES[p.name] is p for p in RULES)


MATRICES = {
    "inv": np.linalg.inv,
    "det": np.linalg.det,
    "slogdet": lambda a: np.linalg.slogdet(a)[1],
    "cholesky": lambda a: np.linalg.cholesky(a @ a.T + np.eye(3)),
    "qr": lambda a: np.linalg.qr(a)[1],
    "eigh": lambda a: np.linalg.eigh(a + a.T)[0],
    "svd": lambda a: np.linalg.svd(a, compute_uv=False),
    "solve": lambda a: np.linalg.solve(a, np.array([1.0, 2.0, 3.0])),
    "solve matrix": lambda a: np.linalg.solve(a, a.T + 1.0),
    "solve for many": lambda a: np.linalg.solve(np.eye(3) * 2, a),
    "fft": lambda a: np.abs(np.fft.fft(a, axis=0)),
    "roll": lambda a: np.roll(a, 1, axis=0) * a,
    "norm": np.linalg.norm,
    "einsum": lambda a: np.einsum("ij,jk->ki", a, a),
    "mean": lambda a: np.mean(a, axis=0) / np.std(a),
    "sort": lambda a: np.sort(a, axis=0),
    "outer": lambda a: np.outer(a[0], a[:, 1]),
    "diff": lambda a: np.diff(a, axis=0),
    "assignment": lambda a: filled(a),
}


def filled(a):
    out = np.zeros((3, 3))
    for k in range(3):
        out[k] = a[:, k] * k
        out[k, 1:] += a[k, 0]
    return out


@pytest.mark.parametrize("name", MATRICES)
def test_functions_of_matrices(name):
    f = MATRICES[name]
    batch = np.random.default_rng(2).normal(size=(4, 3, 3)) + 2 * np.eye(3)
    assert_as_looped(f, (0,), batch, rtol=1e-10)
    given = wg.jacobian(lambda b: wg.vmap(f)(b))(batch)
    for k in range(4):
        J = wg.jacobian(f)(batch[k])
        expected = np.zeros((*J.shape[:-2], 4, 3, 3))
        expected[..., k, :, :] = J
        assert_close(given[k], expected, 1e-9)


# ---- Branches ----


def branching(x):
    if x > 1:
        return np.log(x)
    if x < -1:
        return np.sqrt(-x)
    return x**2


def collatz(x):
    steps = 0.0
    while x > 1:
        x = x / 2
        steps += 1
    return x + steps


def indexing(x):
    table = np.array([0.0, 10.0, 20.0, 30.0])
    return table[int(x)] * x


@pytest.mark.parametrize("f", [branching, collatz, indexing], ids=lambda f: f.__name__)
def test_branches(f):
    x = np.array([0.5, 3.0, -2.0 if f is branching else 2.0, 0.1, 1.5, 3.9, 0.7])
    with np.errstate(all="raise"):  # no member computes in the branch of another
        assert_as_looped(f, (0,), x)
        assert_close(wg.vmap(wg.grad(f))(x), [wg.grad(f)(float(t)) for t in x], 1e-14)
        assert_close(wg.grad(lambda x: np.sum(wg.vmap(f)(x)))(x), [wg.grad(f)(float(t)) for t in x], 1e-14)
        assert_close(np.diag(wg.jacfwd(wg.vmap(f))(x)), [wg.grad(f)(float(t)) for t in x], 1e-14)


def test_members_are_run_once_a_branch():
    runs = []

    def f(x):
        runs.append(1)
        return x * 2 if x > 0 else x

    wg.vmap(f)(np.array([1.0, -1.0, 2.0, -2.0, 3.0]))
    assert len(runs) == 2


def test_two_decisions_on_one_value():
    def f(x):
        n = x.astype(int)
        if n:
            return x * int(n)
        return -x

    x = np.array([1.5, 2.5, 0.5, 2.7])
    assert_close(wg.vmap(f)(x), [1.5, 5.0, -0.5, 5.4], 1e-15)


def test_integers_are_mapped_too():
    table = np.array([1.0, 2.0, 4.0])
    assert_close(wg.vmap(lambda k: table[k] * k)(np.array([2, 0, 2])), [8.0, 0.0, 8.0], 0)
    assert_close(wg.vmap(lambda t, k: t[k], (None, 0))(table, np.array([2, 0])), [4.0, 1.0], 0)
    given = wg.grad(lambda t: np.sum(wg.vmap(lambda k: t[k] ** 2)(np.array([2, 0, 2]))))(table)
    assert_close(given, [2.0, 0.0, 16.0], 0)


# ---- Axes and trees ----


def test_axes():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(2, 3, 4)), rng.normal(size=(4, 3))
    expected = np.stack([x[:, :, k] @ y[k] for k in range(4)])
    f = wg.vmap(lambda x, y: x @ y, in_axes=(2, 0))
    assert_close(f(x, y), expected, 1e-14)
    assert_close(wg.vmap(lambda x, y: x @ y, in_axes=(-1, 0), out_axes=1)(x, y), expected.T, 1e-14)
    assert_close(wg.vmap(lambda x, y: x @ y, in_axes=[2, 0], out_axes=-1)(x, y), expected.T, 1e-14)
    assert_close(wg.vmap(lambda x, *, y: x @ y, in_axes=2)(x, y=y), expected, 1e-14)
    both = wg.vmap(lambda x: (x, np.sum(x)), out_axes=(1, 0))(y)
    assert_close(both[0], y.T, 0)
    assert_close(both[1], y.sum(1), 1e-14)
    shared = wg.vmap(lambda x: (x, 3.0), out_axes=(0, None))(y)
    assert shared[1] == 3.0
    assert_close(wg.vmap(lambda x: 3.0)(y), np.full(4, 3.0), 0)


def test_trees():
    p = {"w": np.arange(6.0).reshape(3, 2), "b": [np.arange(3.0), "text"], "none": None}

    def f(p, x):
        return {"y": p["w"] @ x + p["b"][0], "z": [p["w"]]}

    given = wg.vmap(f, in_axes=({"w": 0, "b": [0, None], "none": None}, None))(p, np.array([1.0, 2.0]))
    assert_close(given["y"], p["w"] @ [1.0, 2.0] + p["b"][0], 1e-15)
    assert_close(given["z"][0], p["w"], 0)
    given = wg.vmap(f, in_axes=({"w": None, "b": [0, None], "none": None}, None))(
        {**p, "w": p["w"][0]}, np.array([1.0, 2.0])
    )
    assert_close(given["y"], p["w"][0] @ [1.0, 2.0] + p["b"][0], 1e-15)


def test_empty_batches():
    assert wg.vmap(lambda x: np.sum(np.log(x)))(np.zeros((0, 3))).shape == (0,)
    assert wg.vmap(lambda x: np.linalg.inv(x * np.eye(2)))(np.zeros(0)).shape == (0, 2, 2)


def test_single_precision_stays():
    x = np.ones((3, 2), np.float32)
    assert wg.vmap(lambda x: np.sin(x) * 2.0)(x).dtype == np.float32
    assert wg.vmap(wg.grad(lambda x: np.sum(np.sin(x))))(x).dtype == np.float32


# ---- Nesting ----


def net(w, x):
    return np.sum(np.tanh(w @ x) ** 2)


def test_nesting():
    rng = np.random.default_rng(4)
    w, xs = rng.normal(size=(3, 2)), rng.normal(size=(5, 2))
    each = np.stack([wg.grad(net)(w, x) for x in xs])
    assert_close(wg.vmap(wg.grad(net), (None, 0))(w, xs), each, 1e-13)
    assert_close(wg.grad(lambda w: np.sum(wg.vmap(net, (None, 0))(w, xs)))(w), each.sum(0), 1e-13)
    assert_close(wg.jacobian(wg.vmap(net, (None, 0)))(w, xs), each, 1e-13)
    H = np.stack([wg.hessian(net, 1)(w, x) for x in xs])
    assert_close(wg.vmap(wg.hessian(net, 1), (None, 0))(w, xs), H, 1e-12)
    assert_close(
        wg.hessian(lambda w: np.sum(wg.vmap(net, (None, 0))(w, xs)))(w), sum(wg.hessian(net)(w, x) for x in xs), 1e-12
    )
    twice = wg.vmap(wg.vmap(lambda x, y: np.sin(x) * y, (0, None)), (None, 0))
    a, b = rng.normal(size=4), rng.normal(size=3)
    assert_close(twice(a, b), np.sin(a) * b[:, None], 1e-14)
    outer = wg.jacfwd(lambda a: twice(a, b))(a)
    assert_close(outer, np.einsum("ij,jk->ijk", np.cos(a) * b[:, None], np.eye(4)), 1e-14)
    v = rng.normal(size=(5, 2))
    given = wg.vmap(lambda x, v: wg.jvp(lambda x: net(w, x), (x,), (v,))[1])(xs, v)
    assert_close(given, [wg.grad(net, 1)(w, x) @ t for x, t in zip(xs, v, strict=True)], 1e-13)
    _, push = wg.linearize(wg.vmap(net, (None, 0)), w, xs)
    assert_close(push(np.zeros_like(w), v), given, 1e-13)


def test_nested_branches():
    def f(x, y):
        return x * y if x > y else x - y

    x, y = np.array([0.5, 2.0, 1.0]), np.array([1.0, 0.7, 3.0, 0.1])
    expected = np.array([[f(a, b) for b in y] for a in x])
    given = wg.vmap(wg.vmap(f, (None, 0)), (0, None))
    assert_close(given(x, y), expected, 0)
    slopes = np.array([[wg.grad(f)(float(a), float(b)) for b in y] for a in x])
    assert_close(wg.vmap(wg.vmap(wg.grad(f), (None, 0)), (0, None))(x, y), slopes, 0)
    assert_close(wg.grad(lambda x: np.sum(given(x, y)))(x), slopes.sum(1), 1e-14)


def test_custom_functions_are_mapped():
    f = wg.custom_derivative(lambda x: x**2 if x.ndim == 0 else 1 / 0)
    f.def_partial(lambda y, x: 7 * x)
    x = np.array([1.0, 2.0])
    assert_close(wg.vmap(f)(x), x**2, 0)
    assert_close(wg.vmap(wg.grad(f))(x), 7 * x, 0)
    assert_close(wg.grad(lambda x: np.sum(wg.vmap(f)(x)))(x), 7 * x, 0)
    assert_close(wg.vmap(lambda x: wg.stop_gradient(x) * x)(x), x**2, 0)


def test_programs_of_batches_are_short():
    program = wg.trace(lambda x: wg.vmap(lambda x: np.sin(x[0]) * x[1])(x))(np.ones((50, 2)))
    assert len(program.lines) == 4


# ---- What goes wrong says so ----


def test_errors():
    def f(x, y):
        return x * y

    def said(call, error=ArgumentError):
        with pytest.raises(error) as caught:
            call()
        return str(caught.value)

    text = said(lambda: wg.vmap(f)(np.ones(3), np.ones(4)))
    assert "x has 3 members along axis 0, and y has 4 along axis 0" in text
    text = said(lambda: wg.vmap(lambda p: p["b"])({"a": np.ones(3), "b": [np.ones((4, 2))]}))
    assert "p['a'] has 3" in text
    assert "p['b'][0] has 4" in text
    assert "in_axes has 1 entries" in said(lambda: wg.vmap(f, (0,))(np.ones(3), np.ones(3)))
    assert "y has shape (), and no axis 0" in said(lambda: wg.vmap(f)(np.ones(3), 2.0))
    assert "y has shape (3,), and no axis 1" in said(lambda: wg.vmap(f, (0, 1))(np.ones(3), np.ones(3)))
    assert "y is a str" in said(lambda: wg.vmap(f)(np.ones(3), "text"))
    assert "no argument has an axis" in said(lambda: wg.vmap(f, None)(1.0, 2.0))
    assert "in_axes of x does not fit" in said(lambda: wg.vmap(f, ({"a": 0}, None))(np.ones(3), 2.0))
    assert "holds 'row'" in said(lambda: wg.vmap(f, (["row"], None))([np.ones(3)], 2.0))
    assert "out_axes is None" in said(lambda: wg.vmap(f, out_axes=None)(np.ones(3), np.ones(3)))
    ragged = wg.vmap(lambda x: np.ones(2) * x if x > 0 else x)
    assert "different shapes: (), (2,)" in said(lambda: ragged(np.array([1.0, -1.0])), ShapeError)
    mixed = wg.vmap(lambda x: (x, x) if x > 0 else x)
    assert "different structures" in said(lambda: mixed(np.array([1.0, -1.0])), ResultError)


@pytest.mark.parametrize("f", [lambda x: x, lambda x: x[::-1], lambda x: x.reshape(2, 1), lambda x: (x, x + 1.0)[0]])
def test_what_comes_back_is_not_the_argument(f):
    x = np.arange(6.0).reshape(3, 2)
    wg.vmap(f)(x)[...] = 7.0
    np.testing.assert_array_equal(x, np.arange(6.0).reshape(3, 2))
