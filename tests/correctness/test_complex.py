"""Complex numbers: the convention of JAX and autograd, ``dL = Re(g dz)``, for functions holomorphic or not."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import wengert as wg
from wengert.jacobians import RealLinear
from wengert.linearization import Linearization, edges

jax.config.update("jax_enable_x64", True)

Z = np.array([1 + 2j, -0.5 + 0.3j, 2 - 1j])
X = np.array([0.3, 0.7, -1.2])

REAL_VALUED = {
    "modulus squared": lambda np, z: np.sum(np.abs(z) ** 2),
    "modulus": lambda np, z: np.sum(np.abs(np.sin(z) / z)),
    "real part": lambda np, z: np.sum(np.real(np.exp(z) * z)),
    "imaginary part": lambda np, z: np.sum(np.imag(np.conj(z) * z**3)),
    "angle": lambda np, z: np.sum(np.angle(z) * np.abs(z)),
    "inner product": lambda np, z: np.abs(np.vdot(z, z * z)),
    "stack": lambda np, z: np.sum(np.abs(np.array([z[0] * z[1], z[2], 1.0 + 0j]))),
    "attributes": lambda np, z: np.sum(z.real * z.imag + (z * z.conj()).real),
    "matrix": lambda np, z: np.abs((z @ np.outer(z, np.conj(z))).sum()),
    "roots and powers": lambda np, z: np.sum(np.abs(np.sqrt(z) + z**1.5 + np.log(z))),
}


@pytest.mark.parametrize("name", REAL_VALUED)
def test_gradients_agree_with_jax(name):
    f = REAL_VALUED[name]
    expected = jax.grad(lambda z: f(jnp, z))(Z)
    gradient = wg.grad(lambda z: f(np, z))(Z)
    assert gradient.dtype == np.complex128
    np.testing.assert_allclose(gradient, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", REAL_VALUED)
def test_gradients_are_the_derivatives_along_real_and_imaginary_parts(name):
    def f(z):
        return float(REAL_VALUED[name](np, z))

    gradient = wg.grad(lambda z: REAL_VALUED[name](np, z))(Z)
    for k in range(3):
        for direction in (1.0, 1j):
            step = 1e-5 * direction * np.eye(3)[k]
            slope = (f(Z + step) - f(Z - step)) / 2e-5
            assert np.real(gradient[k] * direction) == pytest.approx(slope, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("name", REAL_VALUED)
def test_forward_agrees_with_jax(name):
    f = REAL_VALUED[name]
    direction = np.array([0.3 - 1j, 0.2j, 1.0 + 0j])
    y, y_dot = wg.jvp(lambda z: f(np, z), (Z,), (direction,))
    expected = jax.jvp(lambda z: f(jnp, z), (Z,), (direction,))
    np.testing.assert_allclose([y, y_dot], expected, rtol=1e-12)
    assert np.asarray(y_dot).dtype == np.float64


def through_complex(np, x):
    return np.sum(np.abs(np.exp(1j * x) * x + 2j) ** 2)


def test_real_arguments_through_complex_values_stay_real():
    gradient = wg.grad(lambda x: through_complex(np, x))(X)
    assert gradient.dtype == np.float64
    np.testing.assert_allclose(gradient, jax.grad(lambda x: through_complex(jnp, x))(X), rtol=1e-13)
    hessian = wg.hessian(lambda x: through_complex(np, x))(X)
    np.testing.assert_allclose(hessian, jax.hessian(lambda x: through_complex(jnp, x))(X), rtol=1e-12, atol=1e-12)


def test_complex_values_of_real_arguments_have_a_complex_jacobian():
    J = wg.jacobian(lambda x: np.exp(1j * x) * x[0], mode="forward")(X)
    np.testing.assert_allclose(J, jax.jacfwd(lambda x: jnp.exp(1j * x) * x[0])(X), rtol=1e-13, atol=1e-14)


def test_assignment_of_complex_values():
    def f(np, z):
        if np is not jnp:
            y = np.zeros(3, dtype=complex)
            y[0], y[1:] = z[0] * z[1], np.conj(z[:2])
        else:
            y = jnp.concatenate([(z[0] * z[1])[None], jnp.conj(z[:2])])
        return np.sum(np.abs(y * z) ** 2)

    np.testing.assert_allclose(wg.grad(lambda z: f(np, z))(Z), jax.grad(lambda z: f(jnp, z))(Z), rtol=1e-12)


def test_the_edge_of_a_modulus_is_its_own_structure():
    program = wg.trace(lambda z: np.abs(z))(Z)
    linearization = Linearization.of_program(program, Z)
    (edge,) = edges(linearization.rows[-1])
    assert isinstance(edge[2], RealLinear)
    direction = Z * 1j + 0.5
    expected = jax.jvp(jnp.abs, (Z,), (direction,))[1]
    np.testing.assert_allclose(np.real(edge[2] @ direction), expected, rtol=1e-13)


def test_the_sign_of_complex_numbers_turns_with_them():
    def f(z):
        return np.sum((np.sign(z) * np.exp(z)).real)

    def by_division(z):
        return np.sum((z / np.abs(z) * np.exp(z)).real)

    np.testing.assert_allclose(wg.grad(f)(Z), wg.grad(by_division)(Z), rtol=1e-13)
    np.testing.assert_allclose(wg.jvp(f, (Z,), (1j * Z,))[1], wg.jvp(by_division, (Z,), (1j * Z,))[1], rtol=1e-13)

    def of_parts(g):
        return lambda x: g(x[:3] + 1j * x[3:])

    x = np.concatenate([Z.real, Z.imag])
    np.testing.assert_allclose(wg.hessian(of_parts(f))(x), wg.hessian(of_parts(by_division))(x), rtol=1e-11, atol=1e-12)
