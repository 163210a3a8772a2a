"""What every derivative has to satisfy, whatever the function: both modes, singles and blocks, against the truth."""

from __future__ import annotations

import numpy as np
import truth

import wengert as wg


def assert_close(given, expected, rtol, what=""):
    """Compare arrays with a tolerance relative to the largest element."""
    given, expected = np.asarray(given, dtype=float), np.asarray(expected, dtype=float)
    assert given.shape == expected.shape, f"{what}: shape {given.shape} instead of {expected.shape}"
    scale = max(1.0, float(np.max(np.abs(expected), initial=0.0)))
    assert np.all(np.isfinite(expected)), f"{what}: the truth is not finite"
    np.testing.assert_allclose(given, expected, rtol=rtol, atol=rtol * scale, err_msg=what)


def assert_first_order(f, args, which=None, *, analytic=False, rtol=None):
    """Compare both modes, in blocks and in single passes, with the complex step or with differences."""
    which = tuple(range(len(args))) if which is None else tuple(which)
    rtol = rtol or (1e-12 if analytic else 1e-7)
    measure = truth.complex_step if analytic else truth.differences
    y = np.asarray(f(*args))
    expected = [measure(f, args, k) for k in which]
    for mode in ("forward", "reverse"):
        given = wg.jacobian(f, which, mode=mode)(*args)
        for k, J, J_true in zip(which, given, expected, strict=True):
            assert_close(J, J_true, rtol, f"{mode} jacobian, argument {k}")
    rng = np.random.default_rng(7)
    tangents = [rng.normal(size=np.shape(args[k]))[()] for k in which]
    adjoint = rng.normal(size=y.shape)[()]

    def of_chosen(*chosen):
        whole = list(args)
        for k, x in zip(which, chosen, strict=True):
            whole[k] = x
        return f(*whole)

    value, push = wg.linearize(of_chosen, *[args[k] for k in which])
    np.testing.assert_allclose(value, y, rtol=1e-14, atol=1e-14)
    y_dot = sum(
        np.tensordot(J, t, axes=np.ndim(t)) if np.ndim(t) else J * t for J, t in zip(expected, tangents, strict=True)
    )
    assert_close(push(*tangents), y_dot, rtol, "single forward pass")
    for k, bar, J in zip(which, push.T(adjoint) if len(which) > 1 else (push.T(adjoint),), expected, strict=True):
        x_bar = np.tensordot(adjoint, J, axes=np.ndim(adjoint)) if np.ndim(adjoint) else adjoint * J
        assert_close(bar, x_bar, rtol, f"single reverse pass, argument {k}")


def assert_second_order(f, args, which=None, rtol=2e-6):
    """Compare v^T H v of a weighted sum of results, in three nestings of the modes, with second differences."""
    which = tuple(range(len(args))) if which is None else tuple(which)
    rng = np.random.default_rng(11)
    y = np.asarray(f(*args))
    weights = rng.uniform(0.5, 1.5, y.shape)
    directions = [rng.uniform(-1.0, 1.0, np.shape(args[k]))[()] for k in which]
    everywhere = [None] * len(args)
    for k, v in zip(which, directions, strict=True):
        everywhere[k] = v

    def of_chosen(*chosen):
        whole = list(args)
        for k, x in zip(which, chosen, strict=True):
            whole[k] = x
        return f(*whole)

    def scalar(*chosen):
        return np.sum(weights * of_chosen(*chosen))

    def slope(*chosen):
        gradients = wg.grad(scalar, tuple(range(len(which))))(*chosen)
        return sum(np.sum(g * v) for g, v in zip(gradients, directions, strict=True))

    def slope_forward(*chosen):
        return wg.jvp(scalar, chosen, directions)[1]

    point = [args[k] for k in which]
    expected = truth.second_differences(lambda *a: np.sum(weights * np.asarray(f(*a))), args, everywhere)
    curvatures = wg.grad(slope, tuple(range(len(which))))(*point)
    given = {
        "reverse over reverse": sum(np.sum(c * v) for c, v in zip(curvatures, directions, strict=True)),
        "forward over reverse": wg.jvp(slope, point, directions)[1],
        "forward over forward": wg.jvp(slope_forward, point, directions)[1],
    }
    for what, value in given.items():
        assert_close(value, expected, rtol, what)


def assert_single_precision(f, args, which=None):
    """Run in float32: the result and the gradient keep the dtype NumPy gives, and agree with float64."""
    which = tuple(range(len(args))) if which is None else tuple(which)
    single = [np.asarray(a, np.float32)[()] if k in which else a for k, a in enumerate(args)]
    expected_dtype = np.asarray(f(*single)).dtype
    for mode in ("forward", "reverse"):
        both = zip(wg.jacobian(f, which, mode=mode)(*single), wg.jacobian(f, which, mode=mode)(*args), strict=True)
        for J, J_double in both:
            assert_close(J, J_double, 2e-3, f"{mode} in float32")
            if expected_dtype == np.float32:
                assert J.dtype == np.float32, f"{mode}: {J.dtype}"
    gradients = wg.grad(lambda *a: np.sum(f(*a) * np.float32(1.0)), which)(*single)
    assert all(g.dtype == np.float32 for g in gradients)


def assert_caught(f, args, rtol=2e-7, value_rtol=1e-10):
    """Compare a function of another library that is caught: value, shape, both modes, second order, all by differences.

    Outside of a trace `f` is that library's own.
    """
    expected = np.asarray(f(*args))
    value = wg.linearize(f, *args)[0]
    assert np.shape(value) == expected.shape
    np.testing.assert_allclose(value, expected, rtol=value_rtol, atol=1e-12)
    which = tuple(range(len(args)))
    for mode in ("forward", "reverse"):
        for k, J in enumerate(wg.jacobian(f, which, mode=mode)(*args)):
            assert_close(J, truth.differences(f, args, k, step=1e-3), rtol, f"{mode}, argument {k}")
    rng = np.random.default_rng(1)
    weights = rng.normal(size=expected.shape)
    directions = [rng.uniform(-0.5, 0.5, np.shape(a)) for a in args]

    def slope(*xs):
        gradients = wg.grad(lambda *xs: np.sum(weights * f(*xs) ** 2), which)(*xs)
        return sum(np.sum(g * v) for g, v in zip(gradients, directions, strict=True))

    def slope_by_differences(h):
        return slope(*[a + h * v for a, v in zip(args, directions, strict=True)])

    step = 1e-3
    ahead = sum(w * slope_by_differences(n * step) for n, w in enumerate(truth.FIRST, 1))
    behind = sum(w * slope_by_differences(-n * step) for n, w in enumerate(truth.FIRST, 1))
    curvature = (ahead - behind) / step
    reverse = wg.grad(slope, which)(*args)
    assert_close(sum(np.sum(g * v) for g, v in zip(reverse, directions, strict=True)), curvature, 1e-6, "second order")
    assert_close(wg.jvp(slope, tuple(args), tuple(directions))[1], curvature, 1e-6, "forward over reverse")
