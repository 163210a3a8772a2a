"""The same programs under HIPS autograd and under its names here: the import lines alone differ."""

from __future__ import annotations

import importlib
import subprocess
import sys
import warnings

import numpy
import pytest
from agreement import assert_close

import wengert as wg
import wengert.compat.autograd as compat
from wengert import trees
from wengert.errors import UnsupportedError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import autograd
    import autograd.numpy
    import autograd.scipy.signal


def run_in(package, program):
    """Run a program whose imports say autograd, with these from a package; return what it calls `results`."""
    text = program.replace("autograd", "wengert.compat.autograd") if package == "wengert" else program
    names = {}
    exec(compile(text, f"<{package}>", "exec"), names)
    return names["results"]


PROGRAMS = {}

PROGRAMS["tanh and its derivatives"] = """
import autograd.numpy as np
from autograd import grad, elementwise_grad as egrad

def tanh(x):
    y = np.exp(-2.0 * x)
    return (1.0 - y) / (1.0 + y)

slope = grad(tanh)
x = np.linspace(-7, 7, 20)
orders = [tanh]
for _ in range(4):
    orders.append(egrad(orders[-1]))
results = [slope(1.0), grad(grad(tanh))(0.3), [f(x) for f in orders]]
"""

PROGRAMS["fixed points"] = """
import autograd.numpy as np
from autograd import grad
from autograd.misc.fixed_points import fixed_point

def step(a):
    return lambda x: 0.5 * (x + a / x)

def distance(x, y):
    return np.sum(np.abs(x - y))

def root(a, guess=10.0):
    return fixed_point(step, a, guess, distance, 1e-14)

a = np.array([2.0, 3.0])
results = [root(2.0), grad(root)(2.0), grad(grad(root))(2.0), grad(lambda a: np.sum(root(a, 10 * np.ones(2)) ** 3))(a)]
"""

PROGRAMS["products with tensors of fewer axes"] = """
import autograd.numpy as np
from autograd import tensor_jacobian_product, vector_jacobian_product

A = np.arange(6.0).reshape(2, 3)
f = lambda A: np.sin(A) * A[0, 1]
results = [tensor_jacobian_product(f)(A, np.array([1.0, -2.0])), vector_jacobian_product(f)(A, A + 1.0)]
"""

PROGRAMS["values of one element"] = """
import autograd.numpy as np
from autograd import value_and_grad

x = np.array([1.0, 2.0])
results = [value_and_grad(lambda x: np.sum(x**2, keepdims=True))(x), value_and_grad(lambda x: x[0] * x[1])(x)]
"""

PROGRAMS["names and diagonals"] = """
import autograd.numpy as np
from autograd.core import make_jvp, make_vjp, primitive
from autograd.differential_operators import grad, jacobian
from autograd.util import subval, subvals
from autograd.wrap_util import unary_to_nary

@unary_to_nary
def squared_length(fun, x):
    return np.sum(jacobian(fun)(x) ** 2)

D = np.arange(6.0).reshape(2, 3)
results = [
    squared_length(lambda a, b: a * b**2, 1)(2.0, np.ones(3)),
    np.make_diagonal(D, offset=0, axis1=-1, axis2=-2),
    grad(lambda D: np.sum(np.make_diagonal(D, 0, -1, -2) @ np.ones(3) * D))(D),
    subvals((1, 2, 3), [(0, 5.0)]), subval([1, 2], 1, 7.0),
]
"""

PROGRAMS["logistic regression"] = """
import autograd.numpy as np
from autograd import grad, value_and_grad

def sigmoid(x):
    return 0.5 * (np.tanh(x / 2.) + 1)

inputs = np.array([[0.52, 1.12, 0.77], [0.88, -1.08, 0.15], [0.52, 0.06, -1.30], [0.74, -2.49, 1.39]])
targets = np.array([True, True, False, True])

def loss(weights):
    preds = sigmoid(np.dot(inputs, weights))
    probs = preds * targets + (1 - preds) * (1 - targets)
    return -np.sum(np.log(probs))

w = np.array([0.0, 0.0, 0.0])
gradient = grad(loss)
values = []
for i in range(20):
    values.append(loss(w))
    w -= gradient(w) * 0.01
results = [w, values, value_and_grad(loss)(w)]
"""

PROGRAMS["a primitive of one's own"] = """
import autograd.numpy as np
from autograd.extend import primitive, defvjp
from autograd import grad, jacobian

@primitive
def logsumexp(x):
    largest = np.max(x)
    return largest + np.log(np.sum(np.exp(x - largest)))

def logsumexp_vjp(ans, x):
    x_shape = x.shape
    return lambda g: np.full(x_shape, g) * np.exp(x - np.full(x_shape, ans))

defvjp(logsumexp, logsumexp_vjp)

def example(y):
    z = y ** 2
    lse = logsumexp(z)
    return np.sum(lse)

x = np.array([1.5, 6.7, 1e-10])
results = [grad(example)(x), jacobian(grad(example))(x), logsumexp(x)]
"""

PROGRAMS["primitives with several arguments"] = """
import autograd.numpy as np
from autograd.extend import primitive, defvjp, defjvp, defvjp_argnum, defjvp_argnum
from autograd import grad, make_jvp, make_vjp, jacobian

@primitive
def fused(a, b, c=2.0, kind="plain"):
    assert kind in ("plain", "other")
    return a * b + c * b ** 2

defvjp(fused,
       lambda ans, a, b, c=2.0, kind="plain": lambda g: g * b,
       lambda ans, a, b, c=2.0, kind="plain": lambda g: g * (a + 2 * c * b),
       None)
defjvp(fused,
       lambda g, ans, a, b, c=2.0, kind="plain": g * b,
       lambda g, ans, a, b, c=2.0, kind="plain": g * (a + 2 * c * b),
       None)

@primitive
def product(*xs):
    return np.prod(np.array(xs))

defvjp_argnum(product, lambda argnum, ans, args, kwargs: lambda g: g * ans / args[argnum])
defjvp_argnum(product, lambda argnum, g, ans, args, kwargs: g * ans / args[argnum])

@primitive
def twice(x):
    return 2 * x

defvjp(twice, lambda ans, x: lambda g: 2 * g)
defjvp(twice, "same")

results = [
    grad(fused, 0)(2.0, 3.0), grad(fused, 1)(2.0, 3.0, kind="other"), grad(fused, 1)(2.0, 3.0, 5.0),
    grad(lambda a, b: fused(a * b, a, 1.0), (0, 1))(2.0, 3.0),
    grad(grad(lambda b: fused(b, b)))(3.0),
    make_jvp(lambda a: fused(a, 3.0))(2.0)(1.0), make_jvp(lambda a: fused(2.0, a))(2.0)(1.0),
    grad(product, 1)(2.0, 3.0, 4.0), grad(grad(product, 1), 2)(2.0, 3.0, 4.0),
    make_jvp(lambda x: product(x, 3.0, x))(2.0)(1.0),
    grad(twice)(3.0), make_jvp(twice)(3.0)(5.0),
    jacobian(lambda x: np.array([fused(x[0], x[1]), twice(x[0])]))(np.array([1.0, 2.0])),
]
"""

PROGRAMS["every operator"] = """
import autograd.numpy as np
import autograd.numpy.random as npr
from autograd import (grad, jacobian, hessian, elementwise_grad, make_vjp, make_jvp, value_and_grad, make_hvp,
    hessian_vector_product, hessian_tensor_product, grad_named, grad_and_aux, deriv,
    tensor_jacobian_product, vector_jacobian_product, make_ggnvp, checkpoint, holomorphic_grad)

rs = npr.RandomState(0)
A = rs.randn(4, 3)
x, v, g = rs.randn(3), rs.randn(3), rs.randn(4)

def scalar(x, a=1.0):
    return a * np.sum(np.sin(x) ** 2 * np.array([1.0, 2.0, 3.0]))

def vector(x):
    return np.tanh(np.dot(A, x)) * x[0]

vjp, value = make_vjp(vector)(x)
jvp = make_jvp(vector)(x)
hvp, slope = make_hvp(scalar)(x)
results = [
    grad(scalar)(x), grad(scalar, 1)(x, 2.0), grad(scalar, [0, 1])(x, 2.0), jacobian(vector)(x), hessian(scalar)(x),
    hessian(vector)(x), elementwise_grad(np.exp)(x), vjp(g), value, jvp(v), value_and_grad(scalar)(x),
    hvp(v), slope, hessian_vector_product(scalar)(x, v), hessian_tensor_product(scalar)(x, 3.0, v),
    grad_named(scalar, "a")(x, 2.0), deriv(lambda t: np.sin(t) * t)(0.3),
    tensor_jacobian_product(vector)(x, g), vector_jacobian_product(vector)(x, g),
    make_ggnvp(vector)(x)(v), grad(checkpoint(scalar))(x), grad(lambda x: (x[:1] ** 2).reshape((1, 1)))(x),
    grad_and_aux(lambda x: (np.sum(x ** 3), x))(x)[0],
    holomorphic_grad(lambda z: z ** 3)(1.0 + 2.0j),
]
"""

PROGRAMS["containers"] = """
import autograd.numpy as np
from autograd import grad, value_and_grad
from autograd.misc import flatten
from autograd.misc.flatten import flatten_func
from autograd.builtins import isinstance, tuple, dict, list

params = [(np.array([[0.1, -0.2], [0.3, 0.4]]), np.array([0.5, -0.5])), (np.array([[1.0], [2.0]]), np.array([0.1]))]
inputs = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])

def net(params, inputs):
    for W, b in params:
        outputs = np.dot(inputs, W) + b
        inputs = np.tanh(outputs)
    return outputs

def loss(params, penalty):
    vector, _ = flatten(params)
    return np.sum(net(params, inputs) ** 2) + penalty["l2"] * np.dot(vector, vector)

flat, unflatten, x0 = flatten_func(lambda p: grad(loss)(p, {"l2": 0.5}), params)
results = [grad(loss)(params, {"l2": 0.5}), grad(loss, 1)(params, {"l2": 0.5}), flat(x0),
    grad(lambda d: d["a"] * sum(d["b"]))({"a": 2.0, "b": (3.0, 4.0)}),
    grad(lambda x: dict(a=x, b=tuple([x * 2, 1.0]))["b"][0] if isinstance(x, float) else x)(2.0)]
"""

PROGRAMS["a Gaussian process"] = """
import autograd.numpy as np
import autograd.numpy.random as npr
import autograd.scipy.stats.multivariate_normal as mvn
import autograd.scipy.stats.norm as norm
from autograd.numpy.linalg import solve
from autograd.scipy.special import gammaln
from autograd import value_and_grad, grad

def rbf(params, x, xp):
    scale = np.exp(params[0])
    lengths = np.exp(params[1:])
    diffs = np.expand_dims(x / lengths, 1) - np.expand_dims(xp / lengths, 0)
    return scale * np.exp(-0.5 * np.sum(diffs ** 2, axis=2))

rs = npr.RandomState(0)
X = rs.randn(6, 2)
y = np.sin(X[:, 0])

def log_likelihood(params):
    cov = rbf(params[2:], X, X) + np.exp(params[1]) * np.eye(6)
    return mvn.logpdf(y, params[0] * np.ones(6), cov) + np.sum(norm.logpdf(params, 0.0, 2.0))

p = np.array([0.1, -1.0, 0.2, 0.3, -0.4])
results = [log_likelihood(p), grad(log_likelihood)(p), grad(gammaln)(2.5),
    grad(lambda a: np.sum(solve(rbf(p[2:], X, X) + a * np.eye(6), y)))(0.5)]
"""

PROGRAMS["optimizers"] = """
import autograd.numpy as np
from autograd import grad
from autograd.misc.optimizers import adam, sgd, rmsprop

def rosenbrock(p, i):
    return 100 * (p["x"][1] - p["x"][0] ** 2) ** 2 + (1 - p["x"][0]) ** 2 + 0 * p["c"]

start = {"x": np.array([-1.0, 1.5]), "c": np.zeros(())}
steps = []
results = [f(grad(rosenbrock), start, num_iters=30, step_size=1e-3, callback=lambda x, i, g: steps.append(g["x"]))
           for f in (adam, sgd, rmsprop)] + [steps]
"""

PROGRAMS["control flow and recursion"] = """
import autograd.numpy as np
from autograd import grad, jacobian

def taylor(x):
    ans = current = x
    i = 0
    while np.abs(current) > 0.001:
        current = -current * x ** 2 / ((2 * i + 3) * (2 * i + 2))
        ans = ans + current
        i += 1
    return ans

def power(x, n):
    if n == 0:
        return 1.0
    half = power(x, n // 2)
    return half * half * (x if n % 2 else 1.0)

def rows(x):
    parts = []
    for k in range(3):
        parts.append(np.roll(x, k) * x[k])
    return np.concatenate(parts)

x = np.array([1.0, 2.0, 3.0])
results = [grad(taylor)(np.pi / 3), grad(grad(taylor))(0.5), grad(power)(1.7, 11), jacobian(rows)(x)]
"""


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_same_numbers(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = run_in("autograd", PROGRAMS[name])
    given = run_in("wengert", PROGRAMS[name])
    ours, structure = trees.flatten(given)
    theirs, structure_of_theirs = trees.flatten(expected)
    assert structure == structure_of_theirs
    for k, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        assert numpy.iscomplexobj(a) == numpy.iscomplexobj(b)
        assert_close(numpy.abs(a), numpy.abs(b), 1e-10, f"leaf {k}")
        assert_close(numpy.real(a), numpy.real(b), 1e-10, f"leaf {k}")
        assert_close(numpy.imag(a), numpy.imag(b), 1e-10, f"leaf {k}")


# ---- What one mode lacks follows from the other ----


def test_the_other_mode_follows():
    f = compat.primitive(lambda x: x**3)
    compat.extend.defvjp(f, lambda ans, x: lambda g: 3 * g * x**2)
    assert compat.make_jvp(f)(2.0)(1.0) == (8.0, 12.0)
    f = compat.primitive(lambda x: x**3)
    compat.extend.defjvp(f, lambda g, ans, x: 3 * g * x**2)
    assert compat.grad(f)(2.0) == 12.0
    assert compat.grad(compat.grad(f))(2.0) == 12.0
    f = compat.primitive(lambda a, b: a * b)
    compat.extend.def_linear(f)
    assert compat.make_jvp(f, 1)(2.0, 3.0)(1.0) == (6.0, 2.0)
    with pytest.raises(UnsupportedError, match="Give a reverse rule as well"):
        compat.grad(f, 1)(2.0, 3.0)
    compat.extend.defvjp(f, lambda ans, a, b: lambda g: g * b, lambda ans, a, b: lambda g: g * a)
    assert compat.grad(f, 1)(2.0, 3.0) == 2.0


def test_all_arguments_by_name():
    gradients = compat.multigrad_dict(lambda a, b=2.0, *, c: a * b * c)(3.0, c=5.0)
    assert gradients == {"a": 10.0, "b": 15.0, "c": 6.0}


def test_undefined_rules_raise():
    f = compat.primitive(lambda a, b: a * b)
    compat.extend.defvjp(f, lambda ans, a, b: lambda g: g * b)
    assert compat.grad(f)(2.0, 3.0) == 3.0
    with pytest.raises(UnsupportedError, match="VJP of <lambda> with respect to argnum 1 is not defined"):
        compat.grad(f, 1)(2.0, 3.0)
    compat.extend.defjvp(f, lambda g, ans, a, b: g * b, lambda g, ans, a, b: g * a)
    with pytest.raises(UnsupportedError, match="VJP"):
        compat.grad(f, 1)(2.0, 3.0)
    f = compat.primitive(lambda a, b: a * b)
    compat.extend.defvjp(f, lambda ans, a, b: lambda g: g * a, argnums=[1])
    assert compat.grad(f, 1)(2.0, 3.0) == 2.0
    with pytest.raises(NotImplementedError):
        compat.grad(f, 0)(2.0, 3.0)


def test_older_ways_to_give_rules():
    times = compat.primitive(lambda a, b, c: a * b)
    times.defgrad(lambda ans, a, b, c: lambda g: g * b)
    times.defgrad(lambda ans, a, b, c: lambda g: g * a, argnum=1)
    times.defvjp_is_zero([2])
    assert [compat.grad(times, k)(2.0, 3.0, 5.0) for k in range(3)] == [3.0, 2.0, 0.0]


def test_checks_raise_where_a_rule_is_wrong():
    from wengert.compat.autograd.test_util import check_equivalent, check_grads, combo_check, scalar_close

    def doubled(factor, wrong_mode="rev", inner=None):
        foo = compat.primitive(lambda x: x * 2.0)
        foo.__name__ = "foo"
        bar = compat.primitive(lambda x: 1.0 * x)
        compat.extend.defvjp(bar, lambda ans, x: lambda g: g * (inner or 1.0))
        compat.extend.defjvp(bar, lambda g, ans, x: g * (inner or 1.0))
        reverse = factor if wrong_mode == "rev" else 2.0
        compat.extend.defvjp(foo, lambda ans, x: lambda g: reverse * bar(g))
        compat.extend.defjvp(foo, lambda g, ans, x: (2.0 if wrong_mode == "rev" else factor) * g)
        return foo

    for modes in (["fwd"], ["rev"], ["fwd", "rev"]):
        check_grads(doubled(2.0), modes=modes)(1.0)
    with pytest.raises(AssertionError, match=r"\(VJP\) check of .* failed"):
        check_grads(doubled(2.001), modes=["rev"], order=1)(1.0)
    check_grads(doubled(2.001), modes=["fwd"], order=1)(1.0)
    with pytest.raises(AssertionError, match="two different values"):
        check_grads(doubled(2.001, "fwd"), modes=["fwd"], order=1)(1.0)
    check_grads(doubled(2.0, inner=1.0), modes=["rev"])(1.0)
    wrong_inside = doubled(2.0, inner=1.001)
    with pytest.raises(AssertionError, match=r"\(VJP\) check of "):
        check_grads(wrong_inside, modes=["rev"])(1.0)
    with pytest.raises(AssertionError):
        combo_check(lambda a, n: doubled(2.001)(a) * n, 0, order=1)([1.0, 2.0], n=[1, 2])
    combo_check(lambda a, b, n: a * b**n, (0, 1), modes=["rev"])([1.0, numpy.ones(2) * 1j], [2.0], n=[1, 2])
    assert scalar_close(1e9, 1e9 + 1)
    assert not scalar_close(1.0, 1.00001)
    for one, other in (([1.0], (1.0,)), (1.0, 1j), (numpy.ones(2), numpy.ones(3)), (numpy.ones(2), numpy.zeros(2))):
        with pytest.raises(AssertionError):
            check_equivalent(one, other)


def test_checks_take_trees_complex_numbers_and_both_modes():
    from wengert.compat.autograd.core import make_jvp, make_vjp
    from wengert.compat.autograd.test_util import check_grads

    z = numpy.array([0.3 + 1j, -0.2j])
    check_grads(lambda z: numpy.abs(z) ** 2 * z)(z)
    check_grads(lambda z: {"a": numpy.conj(z), "b": [z.real]})(z)
    check_grads(lambda p, z: p["a"] * numpy.exp(z) + p["b"][0], (0, 1))({"a": 2.0, "b": (1.0,)}, z)
    assert make_vjp(lambda p: p[0] * p[1], (2.0, 3.0))[0](1.0) == (3.0, 2.0)
    assert make_jvp(lambda x: x**3, 2.0)(1.0) == (8.0, 12.0)


def test_empty_containers_are_their_own_gradients():
    for empty in ([], (), {}, {"a": []}):
        assert compat.grad(lambda x: 2.0)(empty) == empty
        assert compat.value_and_grad(lambda x: 2.0)(empty) == (2.0, empty)


def test_check_grads_and_getval():
    from wengert.compat.autograd.test_util import check_grads
    from wengert.compat.autograd.tracer import getval, isbox

    check_grads(lambda x: numpy.sum(numpy.sin(x)), modes=["rev"])(numpy.array([0.3, 0.5]))
    wrong = compat.primitive(lambda x: x**2)
    compat.extend.defvjp(wrong, lambda ans, x: lambda g: 2.001 * g * x)
    with pytest.raises(AssertionError):
        check_grads(wrong)(1.0)
    seen = []

    def f(x):
        seen.extend([isbox(x), getval(x)])
        return x**2

    compat.grad(f)(3.0)
    assert seen == [True, 3.0]


# ---- The numpy namespace ----


def test_numpy_forwards_every_name():
    import wengert.numpy as wnp

    for name in numpy.__all__:
        ours, theirs = getattr(wnp, name), getattr(numpy, name)
        assert ours is theirs or getattr(ours, "__wrapped__", None) is theirs, name
    assert set(dir(wnp)) >= set(numpy.__all__)
    assert wnp.linalg is numpy.linalg
    with pytest.raises(AttributeError):
        _ = wnp.no_such_name


def test_numpy_is_imported_in_every_way():
    program = """
from wengert.numpy import *
from wengert.numpy import zeros, sin as sine
from wengert.numpy.linalg import norm
import wengert.numpy.fft as fft
import wengert.numpy.random as npr
import wengert.numpy as np
import wengert as wg

def f(x):
    out = zeros(3)
    out[1] = sine(x[0]) * x[1]
    return norm(out + array([x[0], 0.0, x[1]])) + np.sum(fft.fft(x).real) + npr.default_rng(0).normal()

def plain(x):
    return (x[0] ** 2 + (np.sin(x[0]) * x[1]) ** 2 + x[1] ** 2) ** 0.5 + 2 * x[0]

x = np.array([0.5, 2.0])
assert np.allclose(wg.grad(f)(x), wg.grad(plain)(x), rtol=1e-14), (wg.grad(f)(x), wg.grad(plain)(x))
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


def test_numpy_is_numpy():
    import wengert.numpy as wnp

    assert wg.grad(lambda x: wnp.sum(wnp.exp(x)))(wnp.zeros(2)).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize(
    ("first", "second", "axes", "dot_axes"),
    [
        ((5,), (3,), None, ((), ())),
        ((3,), (5,), None, ((), ())),
        ((4, 5), (2, 3), None, ((), ())),
        ((5, 2), (3, 4), ([0], [0]), ((), ())),
        ((2, 3, 5, 5), (3, 4, 2, 3), ([2, 3], [2, 3]), ([1], [0])),
        ((2, 3, 5, 5), (3, 4, 6, 7), ([2, 3], [2, 3]), ([1], [0])),
    ],
)
def test_convolve_is_autograds(mode, first, second, axes, dot_axes):
    theirs, ours = (importlib.import_module(f"{name}.scipy.signal").convolve for name in ("autograd", compat.__name__))
    rng = numpy.random.default_rng(3)
    A, B = rng.normal(size=first), rng.normal(size=second)
    given = {"axes": axes, "dot_axes": dot_axes, "mode": mode}
    expected = theirs(A, B, **given)
    numpy.testing.assert_allclose(ours(A, B, **given), expected, atol=1e-12)
    weights = rng.normal(size=expected.shape)
    for argnum in (0, 1):
        numpy.testing.assert_allclose(
            compat.grad(lambda A, B: numpy.sum(weights * ours(A, B, **given)), argnum)(A, B),
            autograd.grad(lambda A, B: autograd.numpy.sum(weights * theirs(A, B, **given)), argnum)(A, B),
            atol=1e-12,
        )
