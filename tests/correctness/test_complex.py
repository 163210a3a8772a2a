"""Complex numbers: the convention of JAX and autograd, ``dL = Re(g dz)``, in both modes (see ``docs/complex.md``)."""

from __future__ import annotations

import functools

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


# ---- Jacobians: the same in both modes, and that of the differences ----

MATRIX = np.array([[1.0 - 1j, 2.0, 0.5j], [0.3, -1j, 1.0 + 1j]])
TO_REAL = {
    **{name: functools.partial(f, np) for name, f in REAL_VALUED.items()},
    "squares": lambda z: z.imag**2,
    "products": lambda z: np.real(np.outer(z, np.conj(z[:2]))) * np.imag(z[0]),
    "Fourier": lambda z: np.abs(np.fft.fft(z)),
    "constant": lambda z: np.array([1.0, np.sum(z.real)]),
    "single axis": lambda z: np.array([z[0].real, z[1].imag]),
    "narrow": lambda z: np.abs(z.astype(np.complex64)).astype(np.float64),
}
HOLOMORPHIC = {
    "square": lambda z: z**2,
    "product": lambda z: MATRIX @ np.exp(z),
    "Fourier": np.fft.ifft,
    "sum": lambda z: np.sum(np.log(z)),
    "solve": lambda z: np.linalg.solve(np.diag(z) + 0.1, z),
    "conjugated twice": lambda z: np.conj(np.sin(np.conj(z)) * 2),
    "of parts": lambda z: 1j * (z.real + 1j * z.imag),
    "constant": lambda z: np.array([1j, 2.0]),
}
OTHER = {
    "conj": np.conj,
    "modulus": lambda z: np.abs(z) + 0j,
    "product": lambda z: z * z[0].real,
    "one of many": lambda z: np.array([z[0], z[1], z[2].imag]),
    "gradient": wg.grad(lambda z: np.sum(np.abs(z) ** 2)),
}
FROM_REAL = {
    "turn": lambda x: np.exp(1j * x) * x[0],
    "Fourier": np.fft.rfft,
    "sum": lambda x: np.sum(x * MATRIX, axis=1),
    "scalar": lambda x: np.log(x[0] + 1j * x[1]),
}
MODES = pytest.mark.parametrize("mode", [None, "forward", "reverse"])


def along_axes(f, z, axes=(1.0, 1j)):
    """Return the differences of a function along the real and the imaginary axis of its argument."""
    steps = np.eye(z.size).reshape(z.size, *z.shape) * 1e-5
    return [np.moveaxis(np.array([(f(z + axis * h) - f(z - axis * h)) / 2e-5 for h in steps]), 0, -1) for axis in axes]


def derivatives_of(f, z, mode):
    """Return the Jacobian as it is, batched, and by a Program made at another point."""
    J = wg.jacobian(f, mode=mode)
    return [
        J(z),
        wg.vmap(J)(np.stack([z, z * (1 + 0.1j) if z.dtype.kind == "c" else 2 * z]))[0],
        wg.trace(J)(z * 0.9)(z),
    ]


@MODES
@pytest.mark.parametrize("name", TO_REAL)
def test_a_real_function_has_the_jacobian_of_both_axes(name, mode):
    f = TO_REAL[name]
    real, imaginary = along_axes(f, Z)
    for J in derivatives_of(f, Z, mode):
        assert J.dtype == np.complex128
        np.testing.assert_allclose(J, real - 1j * imaginary, rtol=1e-7, atol=1e-2 if name == "narrow" else 1e-7)
    np.testing.assert_allclose(wg.jacobian(f, mode=mode)(Z), wg.jacobian(f, mode="reverse")(Z), rtol=1e-12, atol=1e-14)


@MODES
@pytest.mark.parametrize("name", HOLOMORPHIC)
def test_a_holomorphic_function_has_a_complex_jacobian(name, mode):
    f = HOLOMORPHIC[name]
    for J in derivatives_of(f, Z, mode):
        np.testing.assert_allclose(J, along_axes(f, Z)[0], rtol=1e-8, atol=1e-8)


@MODES
@pytest.mark.parametrize("name", OTHER)
def test_other_complex_functions_are_refused(name, mode):
    with pytest.raises(wg.errors.ResultError, match=r"not holomorphic(.|\n)*test_complex.py(.|\n)*a \+ 1j \* b"):
        wg.jacobian(OTHER[name], mode=mode)(Z)

    def of_parts(a, b):
        return OTHER[name](a + 1j * b)

    for J, expected in zip(
        wg.jacobian(of_parts, (0, 1), mode=mode)(Z.real, Z.imag), along_axes(OTHER[name], Z), strict=True
    ):
        np.testing.assert_allclose(J, expected, rtol=1e-8, atol=1e-8)


@MODES
@pytest.mark.parametrize("name", FROM_REAL)
def test_a_complex_function_of_real_numbers_has_a_complex_jacobian(name, mode):
    f = FROM_REAL[name]
    for J in derivatives_of(f, X, mode):
        assert J.dtype == np.complex128
        np.testing.assert_allclose(J, along_axes(f, X, [1.0])[0], rtol=1e-8, atol=1e-8)


@MODES
def test_arguments_and_results_may_be_of_both_kinds(mode):
    def f(x, z):
        return {"real": np.abs(z) * x, "complex": np.exp(1j * x) * x[0]}

    J = wg.jacobian(f, (0, 1), mode=mode)(X, Z)
    np.testing.assert_allclose(J["real"][0], np.diag(np.abs(Z)), rtol=1e-12)
    np.testing.assert_allclose(J["real"][1], np.diag(X * Z.conj() / np.abs(Z)), rtol=1e-12)
    np.testing.assert_allclose(
        J["complex"][0], along_axes(lambda x: f(x, Z)["complex"], X, [1.0])[0], rtol=1e-8, atol=1e-8
    )
    np.testing.assert_array_equal(J["complex"][1], 0)


def test_a_program_refuses_points_at_which_its_function_is_not_holomorphic():
    program = wg.trace(wg.jacobian(lambda z: z * z + (z.imag - 1.0) ** 2))(np.array([2.0 + 1j, 1j]))
    np.testing.assert_allclose(program(np.array([5.0 + 1j, 1j])), np.diag([10 + 2j, 2j]), rtol=1e-12, atol=1e-14)
    with pytest.raises(wg.errors.BranchError):
        program(np.array([5.0 + 2j, 1j]))


def test_hessians_of_holomorphic_gradients_only():
    np.testing.assert_allclose(wg.hessian(lambda z: np.sum((z**3).real))(Z), np.diag(6 * Z), rtol=1e-12)
    with pytest.raises(wg.errors.ResultError, match="not holomorphic"):
        wg.hessian(lambda z: np.sum(np.abs(z) ** 2))(Z)
    np.testing.assert_allclose(wg.hvp(lambda z: np.sum(np.abs(z) ** 2))(Z, 1j * Z), np.conj(2j * Z), rtol=1e-12)


def test_plans_count_two_variables_for_a_complex_number():
    plan = wg.plan(lambda z: np.abs(z) ** 2)(Z)
    assert (plan.n, plan.m, plan["forward"].passes, plan["reverse"].passes) == (6, 3, 6, 3)
    assert repr(wg.linearize(np.exp, Z)[1]) == "<LinearMap R^6 -> R^6>"


def test_complex_seeds_of_real_values_are_refused():
    with pytest.raises(wg.errors.ArgumentError, match="tangent 0 is complex"):
        wg.jvp(np.sin, (X,), (1j * X,))
    with pytest.raises(wg.errors.ArgumentError, match="the adjoint is complex"):
        wg.vjp(np.abs, Z)[1](Z)


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
