"""Fuzzing where a derivative could get lost: plain and traced operands in every order, nested transformations."""

from __future__ import annotations

import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import truth
from agreement import assert_close
from hypothesis import given, settings
from hypothesis import strategies as st
from nestings import Reference, Wengert, disagreements, nesting, numbers, points

import wengert as wg

jax.config.update("jax_enable_x64", True)

X = np.array([0.6, 1.3, 0.9])

# ---- Mixed operands ----

PLAIN = {
    "float": 1.5,
    "int": 2,
    "bool": True,
    "list": [0.5, 1.5, 2.5],
    "tuple": (1, 2, 3),
    "array": np.array([0.7, 1.1, 0.4]),
    "matrix": np.array([[0.5, 1.0, 1.5], [0.25, 0.75, 2.0], [1.0, 2.0, 3.0]]),
    "integers": np.array([1, 2, 3]),
    "single precision": np.array([0.5, 0.25, 2.0], np.float32),
    "float64": np.float64(0.3),
    "int64": np.int64(3),
    "float32": np.float32(0.5),
    "0-d": np.array(1.25),
    "empty axes": np.array([[0.5]]),
    "Fortran order": np.asfortranarray([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]),
}
OPERATORS = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": lambda a, b: a / (1.0 + abs_(b)),
    "**": lambda a, b: abs_(a) ** np.add(1.5, np.tanh(b)),
    "@": lambda a, b: np.multiply(np.sum(np.atleast_1d(a) * 1.0), b),
    "np.add": np.add,
    "np.multiply": np.multiply,
    "np.subtract": np.subtract,
    "np.hypot": lambda a, b: np.hypot(a, b),
    "np.arctan2": lambda a, b: np.arctan2(a, np.add(2.0, abs_(b))),
    "np.logaddexp": np.logaddexp,
    "np.stack": lambda a, b: np.stack(np.broadcast_arrays(a, b)).sum(axis=0),
    "np.where": lambda a, b: np.where(np.asarray(PLAIN["array"]) > 0.6, a, b),
    "np.array": lambda a, b: np.array([np.sum(a), np.sum(b)]).sum() * np.multiply(a, 1.0),
    "+=": lambda a, b: operator.iadd(np.multiply(np.add(a, b), 1.0), b),
    "assignment": lambda a, b: assigned(a, b),
}


def abs_(a):
    return np.sqrt(np.square(a) + 0.1)


def assigned(a, b):
    whole = np.zeros(np.broadcast_shapes(np.shape(a), np.shape(b), (3, 3)))
    whole[...] = a
    whole[1:] *= b if np.ndim(b) < 2 or np.shape(b)[0] == 1 else np.asarray(b)[1:]
    return whole


def steps():
    return st.lists(
        st.tuples(st.sampled_from(sorted(OPERATORS)), st.sampled_from([*sorted(PLAIN), "x", "x", "x"]), st.booleans()),
        min_size=1,
        max_size=5,
    )


def evaluate(program, x):
    value = x
    for name, other, turned in program:
        operand = x[::-1] if other == "x" else PLAIN[other]
        left, right = (operand, value) if turned else (value, operand)
        value = OPERATORS[name](left, right)
        value = np.tanh(0.3 * value)
    return value


@given(steps())
def test_mixed_operands_in_every_order(program):
    def f(x):
        return evaluate(program, x)

    traced = wg.trace(f)(X)
    value = f(X)
    np.testing.assert_allclose(traced(X), value, rtol=1e-12)
    assert np.asarray(traced(X)).dtype == np.asarray(value).dtype
    expected = truth.differences(f, [X], 0, step=1e-3)
    for mode in ("forward", "reverse"):
        assert_close(wg.jacobian(f, mode=mode)(X), expected, 1e-6, mode)


# ---- Transformations inside transformations, beside JAX's of the same names ----


def smooth(np, x):
    return np.sin(x) * x[::-1] + x[0] * x**3 - np.exp(-x) * np.sum(x)


def along(np, t):
    return np.sin(t) * t**2


WEIGHTS = np.array([0.5, -1.0, 2.0])
TRANSFORMATIONS = {
    "grad": lambda ad, np, f: lambda x: ad.grad(lambda y: np.sum(f(y)))(x),
    "grad with x outside": lambda ad, np, f: lambda x: ad.grad(lambda y: np.sum(f(y) * x))(x),
    "grad of a product": lambda ad, np, f: lambda x: x * ad.grad(lambda y: np.sum(f(x) * f(y)))(2 * x),
    "value_and_grad": lambda ad, np, f: lambda x: (lambda v, g: v * g)(*ad.value_and_grad(lambda y: f(y)[1])(x)),
    "jvp": lambda ad, np, f: lambda x: ad.jvp(f, (x,), (WEIGHTS,))[1],
    "jvp along x": lambda ad, np, f: lambda x: ad.jvp(f, (x,), (x * x,))[1],
    "vjp": lambda ad, np, f: lambda x: ad.vjp(f, x)[1](WEIGHTS)[0],
    "vjp of x": lambda ad, np, f: lambda x: ad.vjp(f, x)[1](f(x))[0],
    "linearize": lambda ad, np, f: lambda x: ad.linearize(f, x)[1](WEIGHTS),
    "jacfwd": lambda ad, np, f: lambda x: ad.jacfwd(f)(x) @ WEIGHTS,
    "jacrev": lambda ad, np, f: lambda x: x @ ad.jacrev(f)(x),
    "hessian": lambda ad, np, f: lambda x: ad.hessian(lambda y: np.sum(f(y) * x))(x) @ x,
    "vmap": lambda ad, np, f: lambda x: ad.vmap(lambda s: f(s * x)[0])(x),
    "vmap of grad": lambda ad, np, f: lambda x: f(x) * ad.vmap(ad.grad(lambda t: along(np, t) * x[0]))(x),
    "stop": lambda ad, np, f: lambda x: f(x) + x * STOP[ad](f(x)),
}
STOP = {wg: wg.stop_gradient, jax: jax.lax.stop_gradient}


@pytest.mark.parametrize("seed", [*range(20), 102, 130])  # 102, 130: members go on where the first has ended
def test_random_nestings_agree_with_their_definition(seed):
    """Loops and branches, too, in each other and in transformations; `nestings` tries as many as one likes."""
    name, wrong = disagreements(seed)
    assert not wrong, name


def test_the_definition_is_one():
    """Second derivatives of a number that carries infinitesimals are those of the function."""
    x = numbers(np.array([0.3, -0.7]))
    hessian = Reference.hessian(lambda x: np.sin(x[0]) * np.exp(x[1]) + x[0] ** 3)(x)
    s, c, e = np.sin(0.3), np.cos(0.3), np.exp(-0.7)
    np.testing.assert_allclose(hessian.astype(float), [[-s * e + 1.8, c * e], [c * e, s * e]], rtol=1e-14)


@settings(max_examples=12)  # JAX takes a second for each
@given(
    st.lists(st.sampled_from(sorted(TRANSFORMATIONS)), min_size=1, max_size=3), st.sampled_from(["jacfwd", "jacrev"])
)
def test_nested_transformations_agree_with_jax(names, last):
    def nested(ad, np):
        f = lambda x: smooth(np, x)  # noqa: E731
        for name in names:
            f = TRANSFORMATIONS[name](ad, np, f)
        return f

    ours, theirs = nested(wg, np), nested(jax, jnp)
    assert_close(ours(X), theirs(X), 1e-10, "value")
    if len(names) < 3:  # a derivative of the fourth order takes JAX long
        assert_close(getattr(wg, last)(ours)(X), getattr(jax, last)(theirs)(X), 1e-9, last)


def test_an_array_of_an_outer_trace_is_multiplied_in_place_in_an_inner_one():
    def f(x, y):
        a = np.zeros(3) + x
        a[1:] *= y * 3.0
        return np.sum(a)

    point = np.float64(2.0), np.float64(5.0)
    assert wg.jacobian(wg.grad(f, 1), 0)(*point) == 6.0
    assert wg.trace(wg.grad(f, 1))(*point)(*point) == 12.0
    assert wg.jit(wg.grad(f, 1))(*point) == 12.0


def test_a_program_of_a_loop_that_goes_on_asks_to_be_traced_again():
    f = nesting(102)[1](Wengert(0))
    first, longer, other = points(102)
    program = wg.trace(f)(first)
    for x in (first, other):
        np.testing.assert_allclose(program(x), f(x))
    with pytest.raises(wg.errors.BranchError, match=r"(?s)goes on here after \d steps.*Trace the function again"):
        program(longer)
