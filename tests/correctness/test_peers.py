"""Agreement with JAX on functions of the literature, run from the very same source: forward, reverse, Hessian."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import assert_close

import wengert as wg

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from functions import FUNCTIONS

jax.config.update("jax_enable_x64", True)

ENTRIES = pytest.mark.parametrize("name", FUNCTIONS)


def sides(name):
    entry = FUNCTIONS[name]
    return partial(entry.function, np), partial(entry.function, jnp), entry.arguments(), entry.argnums


@ENTRIES
def test_values(name):
    ours, theirs, args, _ = sides(name)
    assert_close(ours(*args), theirs(*args), 1e-13)


@ENTRIES
@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_first_derivatives(name, mode):
    ours, theirs, args, argnums = sides(name)
    expected = (jax.jacfwd if mode == "forward" else jax.jacrev)(theirs, argnums)(*args)
    for given, J in zip(wg.jacobian(ours, argnums, mode=mode)(*args), expected, strict=True):
        assert_close(given, J, 1e-12)


@ENTRIES
def test_gradients_and_products(name):
    ours, theirs, args, argnums = sides(name)
    rng = np.random.default_rng(2)
    y = np.asarray(theirs(*args))
    tangents = tuple(rng.normal(size=np.shape(a)) for a in args)
    _, expected = jax.jvp(theirs, tuple(map(jnp.asarray, args)), tuple(map(jnp.asarray, tangents)))
    assert_close(wg.jvp(ours, args, tangents)[1], expected, 1e-12)
    adjoint = rng.normal(size=y.shape)
    for given, bar in zip(
        wg.vjp(ours, *args)[1](adjoint), jax.vjp(theirs, *map(jnp.asarray, args))[1](jnp.asarray(adjoint)), strict=True
    ):
        assert_close(given, bar, 1e-12)
    if y.shape == ():
        for given, g in zip(wg.grad(ours, argnums)(*args), jax.grad(theirs, argnums)(*args), strict=True):
            assert_close(given, g, 1e-12)


@ENTRIES
def test_hessians(name):
    ours, theirs, args, argnums = sides(name)
    if np.ndim(ours(*args)):
        ours, theirs = (
            (lambda f: lambda *a: f(*a) @ np.array([1.0, -2.0, 0.5]))(ours),
            (lambda f: lambda *a: f(*a) @ jnp.array([1.0, -2.0, 0.5]))(theirs),
        )
    expected = jax.hessian(theirs, argnums)(*args)
    for row, row_expected in zip(wg.hessian(ours, argnums)(*args), expected, strict=True):
        for given, block in zip(row, row_expected, strict=True):
            assert_close(given, block, 1e-12)


@ENTRIES
def test_programs_of_derivatives(name):
    """The program of a gradient, and its source run alone, give what JAX gives."""
    ours, theirs, args, argnums = sides(name)
    k = argnums[0]
    expected = jax.jacrev(theirs, k)(*args)
    program = wg.trace(wg.jacobian(ours, k, mode="reverse"), k)(*args)
    assert_close(program(args[k]), expected, 1e-12)
    namespace = {}
    exec(program.source(), namespace)
    assert_close(namespace[program.name if program.name.isidentifier() else "f"](args[k]), expected, 1e-12)
