"""``scipy.fft``: every transform, type, length, axis and normalization against its own matrix: they are linear maps."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.fft
import scipy.fftpack

import wengert as wg
from wengert.primitives.scipy import fft as scipy_fft

rng = np.random.default_rng(8)
SIGNAL, PLANE, BOX = (rng.normal(size=s) for s in ((5,), (3, 4), (2, 3, 3)))
NORMS = (None, "backward", "ortho", "forward")


def flat(y):
    """Lay out real and imaginary parts in one vector."""
    return np.concatenate([np.ravel(np.real(y)), np.ravel(np.imag(y))])


def assert_linear(f, x):
    """Check value, dtype, and the matrix in both modes, against the transform of each unit."""
    expected = f(x)
    matrix = np.stack([flat(f(e.reshape(x.shape))) for e in np.eye(x.size)], axis=-1)
    seen = []

    def traced(x):
        y = f(x)
        seen.append(y)
        return flat(y)

    for mode in ("forward", "reverse"):
        J = wg.jacobian(traced, mode=mode)(x)
        np.testing.assert_allclose(J.reshape(matrix.shape), matrix, rtol=1e-12, atol=1e-13, err_msg=mode)
    assert seen[0].dtype == expected.dtype
    assert seen[0].shape == expected.shape
    np.testing.assert_allclose(wg.linearize(traced, x)[0], flat(expected), rtol=1e-12, atol=1e-13)


CASES = {}
for name in ("dct", "idct", "dst", "idst"):
    one, several = getattr(scipy.fft, name), getattr(scipy.fft, name + "n")
    for kind, norm, orthogonalize in itertools.product((1, 2, 3, 4), NORMS, (None, True, False)):
        CASES[f"{name} {kind} {norm} {orthogonalize}"] = (
            lambda x, one=one, kind=kind, norm=norm, orthogonalize=orthogonalize: one(
                x, kind, norm=norm, orthogonalize=orthogonalize
            ),
            SIGNAL,
        )
    for kind in (1, 2, 3, 4):
        CASES[f"{name} {kind} longer"] = (lambda x, one=one, kind=kind: one(x, kind, 7), SIGNAL)
        CASES[f"{name} {kind} cut"] = (lambda x, one=one, kind=kind: one(x, kind, 2, 0), PLANE)
        CASES[f"{name} {kind} complex"] = (lambda x, one=one, kind=kind: one(x * 1j + 2 * x, kind), SIGNAL)
        CASES[f"{name}n {kind}"] = (lambda x, f=several, kind=kind: f(x, kind, norm="ortho"), PLANE)
        CASES[f"{name}n {kind} s, axes"] = (lambda x, f=several, kind=kind: f(x, kind, s=(2, 5), axes=(0, 2)), BOX)
for name in ("fft", "ifft", "rfft", "ihfft", "irfft", "hfft"):
    one, plane, several = (getattr(scipy.fft, name + suffix) for suffix in ("", "2", "n"))
    for norm in NORMS:
        CASES[f"{name} {norm}"] = (lambda x, one=one, norm=norm: one(x, norm=norm), SIGNAL)
        CASES[f"{name}2 {norm}"] = (lambda x, f=plane, norm=norm: f(x, norm=norm), BOX)
        CASES[f"{name}n {norm}"] = (lambda x, f=several, norm=norm: f(x, norm=norm, workers=1), BOX)
    CASES[f"{name} n, axis"] = (lambda x, one=one: one(x, 6, 0), PLANE)
    CASES[f"{name}n s, axes"] = (lambda x, f=several: f(x, s=(2, 4), axes=(0, 1)), BOX)
CASES["shifts"] = (lambda x: scipy.fft.fftshift(x) * np.arange(5.0) + scipy.fft.ifftshift(x), SIGNAL)
CASES["frequencies"] = (lambda x: scipy.fft.ifft(scipy.fft.fft(x) * 2j * np.pi * scipy.fft.fftfreq(5)), SIGNAL)


@pytest.mark.parametrize("case", CASES)
def test_transforms(case):
    assert_linear(*CASES[case])


def test_every_function_has_a_case():
    assert {case.split()[0] for case in CASES} >= set(scipy_fft.FUNCTIONS)


@pytest.mark.parametrize("kind", [1, 2, 3, 4])
def test_higher_derivatives_and_batches(kind):
    def f(x):
        return np.sum(scipy.fft.dct(x, kind) ** 3 + scipy.fft.dst(x, kind) ** 2)

    C, S = (np.stack([g(e, kind) for e in np.eye(5)], axis=-1) for g in (scipy.fft.dct, scipy.fft.dst))
    expected = 6 * C.T @ np.diag(C @ SIGNAL) @ C + 2 * S.T @ S
    np.testing.assert_allclose(wg.hessian(f)(SIGNAL), expected, rtol=1e-11, atol=1e-10)
    np.testing.assert_allclose(wg.vmap(f)(PLANE), [f(x) for x in PLANE])
    assert wg.check_derivatives(f)(SIGNAL)
    assert wg.trace(f)(SIGNAL).source().count("scipy.fft.") == 2


def test_single_precision_stays():
    x = SIGNAL.astype(np.float32)
    gradient = wg.grad(lambda x: np.sum(scipy.fft.dct(x, norm="ortho") + np.abs(scipy.fft.fft(x))))(x)
    assert gradient.dtype == np.float32
    assert wg.linearize(lambda x: scipy.fft.dct(x, norm="ortho"), x)[0].dtype == np.float32


@pytest.mark.parametrize(
    "f",
    [
        lambda x: scipy.fft.dct(x, 5),
        lambda x: scipy.fft.dct(x, norm="unitary"),
        lambda x: scipy.fft.dct(x, 1, n=1),
        lambda x: scipy.fft.fft(x, n=0),
        lambda x: scipy.fft.fftn(x, s=(2, 2), axes=(0,)),
    ],
)
def test_what_scipy_refuses_is_refused(f):
    for call in (f, wg.jacobian(f)):
        with pytest.raises((ValueError, RuntimeError)):
            call(SIGNAL)


# ---- scipy.fftpack ----


def older(name, x, *args, **kwargs):
    """Return a function of scipy.fftpack, looked up when it is called, and its argument."""
    return lambda x: getattr(scipy.fftpack, name)(x, *args, **kwargs), x


EVEN = BOX[0, :2].ravel()
COSINES, TRANSFORMS = ("dct", "idct", "dst", "idst"), ("fft", "ifft", "rfft", "irfft")
OLDER = {
    **{f"{name} {kind} {norm}": older(name, SIGNAL, kind, norm=norm)
       for name in COSINES for kind in (1, 2, 3, 4) for norm in (None, "ortho")},
    **{f"{name}n {kind}": older(f"{name}n", PLANE, kind, shape=(2, 5), axes=(0, 1))
       for name in COSINES for kind in (2, 3)},
    **{f"{name} {n}": older(name, PLANE, n, 0) for name in TRANSFORMS for n in (2, 6, 7)},
    **{f"{name} alone": older(name, SIGNAL) for name in TRANSFORMS},
    **{name: older(name, BOX) for name in ("fft2", "ifft2", "fftn", "ifftn")},
    "fftn, shape": older("fftn", BOX, (4, 4), (0, 2)),
    **{f"{name} {x.size}": older(name, x) for name in ("diff", "hilbert", "ihilbert") for x in (SIGNAL, EVEN)},
    "diff 2": older("diff", SIGNAL, 2, period=3.0),
    "diff -1": older("diff", SIGNAL, -1),
    "diff complex": (lambda x: scipy.fftpack.diff(x * (1 + 2j)), SIGNAL),
    "shift": older("shift", SIGNAL, 0.3),
    **{name: older(name, SIGNAL, 0.7) for name in ("tilbert", "itilbert")},
    **{f"{kind}_diff": older(f"{kind}_diff", SIGNAL, 0.7, 0.4, period=5.0) for kind in ("cc", "cs", "sc", "ss")},
}  # fmt: skip


@pytest.mark.parametrize("name", OLDER)
def test_older_names(name):
    assert_linear(*OLDER[name])


def test_every_older_name_is_tested():
    linear = set(scipy.fftpack.__all__) - {"fftfreq", "rfftfreq", "fftshift", "ifftshift", "next_fast_len"}
    assert linear == set(scipy_fft.OLDER) == {name.partition(" ")[0].partition(",")[0] for name in OLDER}
