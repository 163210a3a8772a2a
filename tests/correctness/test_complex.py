"""Complex numbers: the convention of JAX and autograd, ``dL = Re(g dz)``, in both modes (see ``docs/complex.md``)."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.fftpack
import scipy.linalg
import scipy.signal
from scipy import special

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


# ---- Every ufunc with a complex loop, in all four quadrants ----

RAYS = np.exp(1j * np.array([0.2, 1.0, 1.4, 1.8, 2.3, 2.9, -0.3, -1.1, -1.7, -2.2, -2.8]))
POINTS = np.concatenate([radius * RAYS for radius in (0.3, 0.9, 1.6, 4.0, 11.0, 13.0)])
LOOPS = [
    pytest.param(ufunc, loop, k, id=f"{ufunc.__name__}-{loop.partition('-')[0]}-{k}")
    for ufunc in sorted(
        {
            ufunc
            for module in (np, special)
            for ufunc in vars(module).values()
            if isinstance(ufunc, np.ufunc) and not ufunc.signature
        },
        key=lambda ufunc: ufunc.__name__,
    )
    for loop in ufunc.types
    if "D" in loop.partition("->")[0] and "?" not in loop
    for k in range(ufunc.nin)
    if loop[k] in "dD"
]
NO_RULE = {"elliprc", "elliprd", "elliprg", "elliprj"}
FIRST_ONLY = {"elliprf"}
PARAMETERS = {
    "d": lambda name: np.full(POINTS.size, 2.0 if name.startswith("eval") else 1.3),
    "D": lambda _: 0.6 + 0.3j,
}


@pytest.mark.parametrize(("ufunc", "loop", "k"), LOOPS)
def test_ufunc_at_complex_arguments(ufunc, loop, k):
    ins, name = loop.partition("->")[0], ufunc.__name__
    operands = [PARAMETERS[kind](name) if kind in PARAMETERS else 2 for kind in ins]
    operands[0 if name.startswith("ellip") else k if ins[k] == "D" else ins.index("D")] = POINTS
    operands[k] = operands[k] + np.zeros(POINTS.size)
    one = np.ones_like(operands[k])

    def f(z):
        results = ufunc(*operands[:k], z, *operands[k + 1 :])
        return results if isinstance(results, tuple) else (results,)

    def slope(z, axis=1.0, of=f):
        return wg.jvp(of, (z,), (axis * one,))[1]

    if name in NO_RULE or ("D" in ins and ins[k] == "d"):
        with pytest.raises(wg.errors.UnsupportedError, match=r"has no rule(.|\n)*test_complex.py"):
            slope(operands[k])
        return
    for values, traced in zip(f(operands[k]), wg.trace(f)(operands[k])(operands[k]), strict=True):
        np.testing.assert_allclose(values, traced, rtol=1e-14, atol=0)
    for of in [f] if name in FIRST_ONLY or name == "rint" else [f, slope]:
        values = of(operands[k])
        for axis in (1.0, 1j):
            near = [of(operands[k] + shift * axis) for shift in (-2e-5, -1e-5, 1e-5, 2e-5)]
            for y, y_dot, parts in zip(values, slope(operands[k], axis, of), zip(*near, strict=True), strict=True):
                a, b, c, d = parts
                expected = (a - 8 * b + 8 * c - d) / 12e-5
                known = np.isfinite(expected)
                error = np.abs(y_dot - expected)[known]
                assert np.all(error <= (1e-6 * np.abs(expected) + 1e-8 * np.abs(y) + 1e-9)[known]), (of.__name__, axis)
    z, g = wg.jvp(f, (operands[k],), (RAYS[3] * one,))[1], [np.exp(1j * y.real) for y in f(operands[k])]
    (z_bar,) = wg.vjp(f, operands[k])[1](
        tuple(g_k if y.dtype.kind == "c" else g_k.real for g_k, y in zip(g, z, strict=True))
    )
    pushed = sum(np.real(g_k * y) for g_k, y in zip(g, z, strict=True))
    np.testing.assert_allclose(np.real(z_bar * RAYS[3]), pushed, rtol=1e-9, atol=1e-12)


CUT = [complex(x, zero) for x in (2.5, -2.5, 0.5, -0.5) for zero in (0.0, -0.0)]


@pytest.mark.parametrize("z", CUT)
@pytest.mark.parametrize(
    "f", [np.arcsin, np.arccos, np.arccosh, np.log, np.sqrt, np.arctanh, np.log1p, special.psi, special.loggamma]
)
def test_on_a_branch_cut_the_side_is_that_of_the_sign_of_zero(f, z):
    def along(x):
        return f(np.array([complex(x, z.imag)]))[0]

    expected = (along(z.real + 1e-6) - along(z.real - 1e-6)) / 2e-6
    np.testing.assert_allclose(wg.jvp(f, (z,), (1.0 + 0j,))[1], expected, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("z", [complex(zero, y) for zero in (0.0, -0.0) for y in (2.5, -2.5, 0.5)])
@pytest.mark.parametrize("f", [np.arcsinh, np.arctan])
def test_on_an_imaginary_branch_cut_the_side_is_that_of_the_sign_of_zero(f, z):
    def along(y):
        return f(np.array([complex(z.real, y)]))[0]

    expected = (along(z.imag + 1e-6) - along(z.imag - 1e-6)) / 2e-6 / 1j
    np.testing.assert_allclose(wg.jvp(f, (z,), (1.0 + 0j,))[1], expected, rtol=1e-7, atol=1e-8)


FAR = [r * np.exp(1j * angle) for r in (9.5, 11.0, 40.0, 300.0) for angle in (0.1, 0.9, 1.5, 1.7, 2.0, 3.0, -1.2, -2.9)]
HOLOMORPHIC_AT = {
    "psi": (special.psi, lambda z: mpmath.psi(1, z)),
    "log_ndtr": (special.log_ndtr, lambda z: mpmath.npdf(z) / mpmath.erfc(-z / mpmath.sqrt(2)) * 2),
    "spence": (special.spence, lambda z: mpmath.log(z) / (1 - z)),
    "erfcx": (special.erfcx, lambda z: 2 * z * mpmath.exp(z * z) * mpmath.erfc(z) - 2 / mpmath.sqrt(mpmath.pi)),
    "dawsn": (special.dawsn, lambda z: 1 - z * mpmath.sqrt(mpmath.pi) * mpmath.exp(-z * z) * mpmath.erfi(z)),
    "wofz": (special.wofz, lambda z: 2j / mpmath.sqrt(mpmath.pi) - 2 * z * mpmath.exp(-z * z) * mpmath.erfc(-1j * z)),
    "arcsinh": (np.arcsinh, lambda z: mpmath.diff(mpmath.asinh, z)),
    "arccosh": (np.arccosh, lambda z: mpmath.diff(mpmath.acosh, z)),
    "lambertw": (special.lambertw, lambda z: mpmath.diff(mpmath.lambertw, z)),
    "lambertw, branch 2": (lambda z: special.lambertw(z, 2), lambda z: mpmath.diff(lambda u: mpmath.lambertw(u, 2), z)),
    "sinc": (np.sinc, lambda z: mpmath.diff(lambda u: mpmath.sincpi(u), z)),
}  # fmt: skip


@pytest.mark.parametrize("name", HOLOMORPHIC_AT)
def test_far_from_zero_beside_mpmath(name):
    f, true = HOLOMORPHIC_AT[name]
    for z in [*FAR, 0.3 + 0.1j, -0.7 + 0.9j, 1.001 + 0j, -2.2 - 1e-3j]:
        with mpmath.workdps(60):
            expected = true(mpmath.mpc(z))
        if not 1e-290 < abs(expected) < 1e290:
            continue
        with np.errstate(all="ignore"):
            given = wg.jvp(f, (z,), (1.0 + 0j,))[1]
        assert abs(given - complex(expected)) < 2e-12 * abs(complex(expected)), (z, given, expected)


# ---- Functions of whole arrays ----

C = np.array([0.4 - 1j, 1.3 + 0.2j, -0.6 + 0.7j, 0.1 + 0.9j, -1.1 - 0.3j, 0.8 + 0.5j])
W = np.array([1.1 + 0.3j, -0.4 + 0.8j, 0.6 - 1.2j, 1.5 + 0.1j, -0.2 - 0.9j, 0.7 + 0.4j])


def square(z):
    return z[:4].reshape(2, 2)


def gram(z):
    return square(z) @ square(z).conj().T + np.eye(2)


OF_ARRAYS = {
    **{name: getattr(np, name) for name in (
        "sum", "mean", "var", "std", "prod", "cumprod", "cumsum", "max", "min", "sort", "median", "diff", "gradient",
        "angle", "sinc", "nan_to_num", "nanmean", "nanvar", "nanstd", "nanmax", "ptp", "ediff1d",
    )},
    "clip": lambda z: np.clip(z, -1 - 1j, 1 + 1j),
    "maximum": lambda z: np.maximum(z, C),
    "cov": lambda z: np.cov(z, C),
    "correlate": lambda z: np.correlate(C, z, "full"),
    "roots": lambda z: np.roots(z[:3]),
    "polyfit": lambda z: np.polyfit(np.arange(6.0), z, 2),
    "interp": lambda z: np.interp([0.5, 1.5], np.arange(6), z),
    "geomspace": lambda z: np.geomspace(z[0], z[1], 4),
    "vecdot": lambda z: np.vecdot(C, z),
    "norm of order 3": lambda z: np.linalg.norm(z, 3),
    "nuclear norm": lambda z: np.linalg.norm(square(z), "nuc"),
    "signm": lambda z: scipy.linalg.signm(square(z)),
    "rq": lambda z: scipy.linalg.rq(square(z))[0],
    "rq, Q": lambda z: scipy.linalg.rq(z.reshape(2, 3), mode="economic")[1],
    "qr_multiply": lambda z: scipy.linalg.qr_multiply(square(z), C[:2])[0],
    "qr_multiply, left": lambda z: scipy.linalg.qr_multiply(z.reshape(3, 2), C[:2], "left", conjugate=True)[0],
    "subspace_angles": lambda z: scipy.linalg.subspace_angles(z.reshape(6, 1), C.reshape(6, 1)),
    "matrix_balance": lambda z: scipy.linalg.matrix_balance(square(z))[0],
    "pinvh": lambda z: scipy.linalg.pinvh(gram(z)),
    "expm_cond": lambda z: scipy.linalg.expm_cond(square(z)),
    "fiedler_companion": lambda z: scipy.linalg.fiedler_companion(z),
    "solve_toeplitz": lambda z: scipy.linalg.solve_toeplitz(z[:3], C[:3]),
    "solve, Hermitian": lambda z: scipy.linalg.solve(gram(z), C[:2], assume_a="her"),
    "solve_sylvester": lambda z: scipy.linalg.solve_sylvester(square(z), square(C), gram(C)),
    "lfiltic": lambda z: scipy.signal.lfiltic(z[:2], [1, 0.3j], z),
    "fftpack": lambda z: scipy.fftpack.diff(scipy.fftpack.ifft(z)),
    "logsumexp": lambda z: special.logsumexp(z),
    "jvp": lambda z: special.jvp(1, z),
    **{f"spherical_{k}n": lambda z, k=k: getattr(special, f"spherical_{k}n")(2, z) for k in "jyik"},
}  # fmt: skip


@pytest.mark.parametrize("name", OF_ARRAYS)
def test_functions_of_complex_arrays(name):
    f = OF_ARRAYS[name]
    expected = np.asarray(f(W))
    weights = np.exp(1j * np.arange(expected.size)).reshape(expected.shape)

    def loss(z):
        return np.sum(np.real(weights * f(z)))

    np.testing.assert_allclose(wg.trace(f)(W)(W), expected, rtol=1e-11, atol=1e-13)
    real, imaginary = along_axes(loss, W)
    gradient, direction = wg.grad(loss)(W), C * (1 + 0.5j)
    np.testing.assert_allclose(gradient, real - 1j * imaginary, rtol=1e-6, atol=1e-8)
    pushed = wg.jvp(loss, (W,), (direction,))[1]
    np.testing.assert_allclose(pushed, np.sum(np.real(gradient * direction)), rtol=1e-9, atol=1e-11)
    second = (wg.grad(loss)(W + 1e-5 * direction) - wg.grad(loss)(W - 1e-5 * direction)) / 2e-5
    np.testing.assert_allclose(wg.hvp(loss)(W, direction), second, rtol=1e-5, atol=1e-6)


def test_parts_of_numbers_have_numpys_dtype_and_signs():
    for x in (np.arange(3), np.array([0.0, -0.0, 1.5], np.float32), np.array([complex(-0.0, -0.0), 1j])):
        for part in (np.real, np.imag):
            y = wg.jit(part)(x)
            assert y.dtype == part(x).dtype
            np.testing.assert_array_equal(np.signbit(y), np.signbit(part(x)))
