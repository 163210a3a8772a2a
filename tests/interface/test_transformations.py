"""What transformations return: functions with a name, a signature and a docstring, that bind as methods do."""

from __future__ import annotations

import functools
import inspect
import re

import numpy as np
import pytest

import wengert as wg
from wengert.transformations import Transformed


def energy(x, k=1.0, *, scale=2.0):
    """The energy of a spring."""
    return scale * k * np.sum(x**3)


TRANSFORMATIONS = {
    wg.grad: "grad(energy)",
    wg.value_and_grad: "value_and_grad(energy)",
    wg.elementwise_grad: "elementwise_grad(energy)",
    wg.jacobian: "jacobian(energy)",
    wg.jacfwd: "jacobian(energy, mode='forward')",
    wg.jacrev: "jacobian(energy, mode='reverse')",
    wg.hessian: "hessian(energy)",
    wg.hvp: "hvp(energy)",
    wg.gauss_newton: "gauss_newton(energy)",
    wg.hessian_diagonal: "hessian_diagonal(energy)",
    wg.laplacian: "laplacian(energy)",
    wg.vmap: "vmap(energy)",
    wg.checkpoint: "checkpoint(energy)",
    wg.trace: "trace(energy)",
    wg.plan: "plan(energy)",
    wg.explain: "explain(energy)",
    wg.check_derivatives: "check_derivatives(energy)",
    wg.why_nan: "why_nan(energy)",
}
PRODUCTS = [wg.hvp, wg.gauss_newton]
"""Transformations whose results take a direction besides the point."""


@pytest.mark.parametrize("transformation", TRANSFORMATIONS, ids=lambda t: t.__name__)
def test_what_a_transformation_returns_says_what_it_is(transformation):
    result = transformation(energy)
    assert isinstance(result, Transformed)
    assert repr(result) == TRANSFORMATIONS[transformation]
    assert result.__name__ == "energy"
    assert result.__module__ == __name__
    assert result.__doc__.startswith(f"{result!r}: ")
    assert result.__doc__.endswith("The energy of a spring.")
    assert result.function is energy


@pytest.mark.parametrize("transformation", [t for t in TRANSFORMATIONS if t not in PRODUCTS], ids=lambda t: t.__name__)
def test_signature_is_that_of_the_function(transformation):
    assert inspect.signature(transformation(energy)) == inspect.signature(energy)
    assert inspect.unwrap(transformation(energy)) is energy


@pytest.mark.parametrize("transformation", PRODUCTS, ids=lambda t: t.__name__)
def test_signature_of_a_product_with_a_matrix(transformation):
    assert list(inspect.signature(transformation(energy)).parameters) == ["x", "v", "args", "kwargs"]


def test_reprs_name_options_and_nest():
    nested = wg.vmap(wg.grad(wg.jacobian(energy, mode="forward"), argnums=(0, 1)), in_axes=(0, None))
    assert repr(nested) == "vmap(grad(jacobian(energy, mode='forward'), argnums=(0, 1)), in_axes=(0, None))"
    assert repr(wg.grad(lambda x: x)) == "grad(<lambda>)"
    assert repr(wg.grad(np.tanh)) == "grad(tanh)"
    assert repr(wg.grad(functools.partial(max, 1))) == f"grad({functools.partial(max, 1)!r})"


class Spring:
    k = 3.0

    @functools.partial(wg.grad, argnums=1)
    def force(self, x):
        """The force."""
        return self.k * x**2

    @staticmethod
    @wg.grad
    def slope(x):
        return x**2

    def energy(self, x):
        return self.k * x**2


def test_decorated_methods_bind():
    spring = Spring()
    assert spring.force(2.0) == 12.0
    assert Spring.force(spring, 2.0) == 12.0
    assert spring.slope(2.0) == Spring.slope(2.0) == 4.0
    assert repr(Spring.force) == "grad(force, argnums=1)"
    assert inspect.signature(spring.force) == inspect.signature(spring.energy)
    assert wg.grad(spring.energy)(2.0) == 12.0
    assert repr(wg.grad(spring.energy)) == "grad(energy)"


def test_the_function_s_own_attributes_do_not_get_in_the_way():
    def f(x):
        return x**2

    f.function, f.options, f.compute, f.note = 1, 2, 3, 4
    g = wg.grad(wg.grad(f))
    assert g(3.0) == 2.0
    assert g.note == 4
    assert g.function.function is f


def test_products_with_the_hessian_take_the_function_s_further_arguments():
    x, v = np.array([1.0, 2.0]), np.array([1.0, -1.0])
    exact = 6 * x * v
    np.testing.assert_allclose(wg.hvp(energy)(x, v), 2 * exact, rtol=1e-14)
    np.testing.assert_allclose(wg.hvp(energy)(x, v, 3.0), 6 * exact, rtol=1e-14)
    np.testing.assert_allclose(wg.hvp(energy)(x, v, 3.0, scale=1.0), 3 * exact, rtol=1e-14)
    mixed = wg.grad(lambda k: np.sum(wg.hvp(energy)(x, v, k)))(1.0)
    np.testing.assert_allclose(mixed, 2 * np.sum(exact), rtol=1e-14)


# ---- What transformations are called with ----

WITH_ARGNUMS = [t for t in TRANSFORMATIONS if t not in (*PRODUCTS, wg.vmap, wg.checkpoint)]


@pytest.mark.parametrize(
    "transformation",
    [*TRANSFORMATIONS, wg.jit, wg.custom_derivative, wg.linearize, wg.vjp],
    ids=lambda t: t.__name__,
)
@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.ones(3), "an array of shape (3,)"),
        (2.0, "the number 2.0"),
        (np.float32(2), "the number 2.0"),
        ([1.0], "a list"),
    ],
    ids=str,
)
def test_what_is_no_function_is_refused_at_once(transformation, value, said):
    with pytest.raises(wg.errors.ArgumentError) as error:
        transformation(value)
    name = "jacobian" if transformation in (wg.jacfwd, wg.jacrev) else transformation.__name__
    assert f"{name} takes a function, and was given {said}" in str(error.value)
    assert "transformation(value)" in str(error.value)
    assert "write wg.grad(f)(x)" in str(error.value)


@pytest.mark.parametrize("transformation", WITH_ARGNUMS, ids=lambda t: t.__name__)
@pytest.mark.parametrize(
    "value", [np.ones(3), np.array([1, 2]), 2.0, np.float64(2), [1.0], "x", {"a": 1}, True], ids=repr
)
def test_a_point_in_the_place_of_argnums_is_refused_at_once(transformation, value):
    with pytest.raises(wg.errors.ArgumentError, match=r"argnums is .*, where the position of an argument is needed"):
        transformation(energy, value)


@pytest.mark.parametrize("value", [np.ones(3), 2.0, np.float64(2)], ids=repr)
def test_a_point_in_the_place_of_other_options_is_refused_at_once(value):
    with pytest.raises(wg.errors.ArgumentError, match=r"in_axes is .*, where an axis is needed"):
        wg.vmap(energy, value)
    with pytest.raises(wg.errors.ArgumentError, match=r"nondiff_argnums is .*, where the position"):
        wg.custom_derivative(energy, value)
    for transformation in (wg.hvp, wg.jit, wg.checkpoint):
        with pytest.raises(TypeError, match="positional argument"):
            transformation(energy, value)


@pytest.mark.parametrize("argnums", [0, -2, [0, 1], (0, 1), range(2), np.int64(1), [np.int64(0)]], ids=repr)
def test_positions_are_taken(argnums):
    wg.grad(energy, argnums)(np.ones(2), 2.0)
    wg.trace(energy, argnums)(np.ones(2), 2.0)


def test_integers_are_taken_as_floats_where_scipy_calls():
    scipy_optimize = pytest.importorskip("scipy.optimize")

    def f(x):
        return np.stack([x[0] ** 2 - 2, x[0] * x[1] - 1])

    root = np.sqrt([2, 0.5])
    np.testing.assert_allclose(scipy_optimize.fsolve(f, [1, 1], fprime=wg.jacobian(f)), root, rtol=1e-8)
    np.testing.assert_allclose(scipy_optimize.root(f, [1, 1], jac=wg.jacobian(f)).x, root, rtol=1e-8)
    least = scipy_optimize.minimize(lambda x: np.sum((x - 3) ** 2), [1, 1], jac=wg.grad(lambda x: np.sum((x - 3) ** 2)))
    np.testing.assert_allclose(least.x, 3.0)
    with pytest.raises(wg.errors.ArgumentError, match=re.escape("Pass x.astype(float)")):
        wg.jacobian(f)(np.array([1, 1]))
    with pytest.raises(wg.errors.ArgumentError, match=re.escape("Pass x.astype(float)")):
        scipy_optimize.fsolve(f, [1, 1], fprime=lambda x: wg.jacobian(f)(x))


@pytest.mark.parametrize(
    "f", [np.exp, lambda x: x, lambda x: {"y": np.exp(x), "x": x}], ids=["exp", "identity", "tree"]
)
def test_a_value_that_is_changed_in_place_does_not_change_the_derivative(f):
    x = np.array([0.5, 1.5])
    for y, derivative, seed in ((*wg.vjp(f, x), f(x)), (*wg.linearize(f, x), x)):
        expected = derivative(seed)
        for leaf in y.values() if isinstance(y, dict) else [y]:
            leaf -= 1.0
        np.testing.assert_equal(derivative(seed), expected)
    np.testing.assert_array_equal(x, [0.5, 1.5])
