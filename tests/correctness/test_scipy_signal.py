"""``scipy.signal``: convolutions of every mode, filters by signal and by coefficients, against differences."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
import truth
from agreement import assert_close
from test_scipy_samples import CASES as OF_SAMPLES

import wengert as wg
from wengert.primitives.scipy import signal as scipy_signal

rng = np.random.default_rng(4)
SIGNAL, KERNEL, PLANE, TILE, ODD, LONG, REST = (
    rng.normal(size=s) for s in ((7,), (3,), (3, 4), (2, 2), (3, 3), (24,), (3,))
)
B, A = np.array([0.5, 0.2, -0.1]), np.array([2.0, 0.3, 0.2, -0.1])
SECTIONS = scipy.signal.butter(4, 0.3, output="sos")
SMOOTH = scipy.signal.butter(2, 0.3)
s = scipy.signal

CASES = {}
for mode in ("full", "same", "valid"):
    for f in (s.convolve, s.correlate, s.fftconvolve, s.oaconvolve):
        name = f"{f.__name__} {mode}"
        CASES[f"{name}, signal"] = (lambda x, f=f, mode=mode: f(x, KERNEL, mode), SIGNAL)
        CASES[f"{name}, kernel"] = (lambda k, f=f, mode=mode: f(SIGNAL, k, mode), KERNEL)
        CASES[f"{name}, longer kernel"] = (lambda k, f=f, mode=mode: f(k, SIGNAL, mode), KERNEL)
        CASES[f"{name}, both"] = (lambda x, f=f, mode=mode: f(x, x[:3], mode), SIGNAL)
        CASES[f"{name}, plane"] = (lambda x, f=f, mode=mode: f(x, TILE, mode), PLANE)
        CASES[f"{name}, tile"] = (lambda k, f=f, mode=mode: f(PLANE, k, mode), TILE)
        CASES[f"{name}, complex"] = (lambda x, f=f, mode=mode: np.abs(f(x * (1 + 2j), KERNEL * 1j, mode)), SIGNAL)
    for f in (s.fftconvolve, s.oaconvolve):
        CASES[f"{f.__name__} {mode}, axes"] = (lambda x, f=f, mode=mode: f(x, TILE[:1], mode, axes=1), PLANE)
    for edge in ("fill", "wrap", "symm"):
        CASES[f"convolve2d {mode} {edge}"] = (lambda x, mode=mode, edge=edge: s.convolve2d(x, ODD, mode, edge), PLANE)
        CASES[f"convolve2d {mode} {edge}, kernel"] = (
            lambda k, mode=mode, edge=edge: s.convolve2d(PLANE, k, mode, edge),
            TILE,
        )
        CASES[f"correlate2d {mode} {edge}"] = (lambda x, mode=mode, edge=edge: s.correlate2d(x, ODD, mode, edge), PLANE)
    CASES[f"convolve2d {mode} 1.5"] = (lambda x, mode=mode: s.convolve2d(x, TILE, mode, "fill", 1.5), PLANE)
CASES |= {
    "lfilter, signal": (lambda x: s.lfilter(B, A, x), SIGNAL),
    "lfilter, numerator": (lambda b: s.lfilter(b, A, SIGNAL), B),
    "lfilter, denominator": (lambda a: s.lfilter(B, a, SIGNAL), A),
    "lfilter, no feedback": (lambda x: s.lfilter(B, 1.0, x), SIGNAL),
    "lfilter, feedback alone": (lambda a: s.lfilter([1.0], a, SIGNAL), A),
    "lfilter, complex": (lambda x: np.abs(s.lfilter(B * 1j, A, x * (1 + 1j) + 1)), SIGNAL),
    "lfiltic, outputs": (lambda y: s.lfiltic(B, A, y, SIGNAL[:2]), SIGNAL[2:]),
    "lfiltic, inputs": (lambda x: s.lfiltic(B, A, SIGNAL[:1], x), SIGNAL),
    "lfiltic, numerator": (lambda b: s.lfiltic(b, A, SIGNAL, SIGNAL[::-1]), B),
    "lfiltic, denominator": (lambda a: s.lfiltic(B, a, SIGNAL), A),
    "lfiltic, feedback alone": (lambda a: s.lfiltic([2.0], a, SIGNAL), A),
    "lfilter, at rest": (lambda zi: np.concatenate(s.lfilter(B, A, SIGNAL, zi=zi)), REST),
    "lfilter, not at rest": (lambda x: np.concatenate(s.lfilter(B, A, x, zi=REST)), SIGNAL),
    "lfilter, not at rest, numerator": (lambda b: np.concatenate(s.lfilter(b, A, SIGNAL, zi=REST)), B),
    "lfilter, not at rest, denominator": (lambda a: np.concatenate(s.lfilter(B, a, SIGNAL, zi=REST)), A),
    "lfilter, shorter than its delays": (lambda x: np.concatenate(s.lfilter(B, A, x, zi=REST)), SIGNAL[:2]),
    "lfilter, delays alone": (lambda x: np.concatenate(s.lfilter(B, [1.0], x, zi=REST[:2])), SIGNAL),
    "lfilter, rows": (lambda x: s.lfilter(B, A, x, axis=0), PLANE),
    "lfilter, columns, denominator": (lambda a: s.lfilter(B, a, PLANE, axis=1), A),
    "sosfilt": (lambda x: s.sosfilt(SECTIONS, x), SIGNAL),
    "sosfilt, columns": (lambda x: s.sosfilt(SECTIONS, x, axis=0), PLANE),
    "sosfilt, not at rest": (lambda x: s.sosfilt(SECTIONS, x, zi=s.sosfilt_zi(SECTIONS))[0], SIGNAL),
    "sosfilt, what is left": (lambda x: s.sosfilt(SECTIONS, x, zi=s.sosfilt_zi(SECTIONS))[1], SIGNAL),
    # Python code of SciPy's that comes to filters and transforms
    "filtfilt": (lambda x: s.filtfilt(*SMOOTH, x), LONG),
    "sosfiltfilt": (lambda x: s.sosfiltfilt(SECTIONS[:1], x), LONG),
    "hilbert": (lambda x: np.abs(s.hilbert(x)), LONG),
    "resample": (lambda x: s.resample(x, 36), LONG),
    "decimate": (lambda x: s.decimate(x, 2, n=2), LONG),
    "detrend": (lambda x: s.detrend(x), LONG),
}


@pytest.mark.parametrize("case", CASES)
def test_values_and_derivatives(case):
    f, x = CASES[case]
    expected = f(x)
    seen = []

    def watched(x):
        y = f(x)
        seen.append(y)
        return y

    matrix = truth.differences(f, [x], 0, step=1e-3)
    for mode in ("forward", "reverse"):
        assert_close(wg.jacobian(watched, mode=mode)(x), matrix, 1e-8, mode)
    assert (seen[0].dtype, seen[0].shape) == (expected.dtype, expected.shape)
    np.testing.assert_allclose(wg.linearize(f, x)[0], expected, rtol=1e-11, atol=1e-13)


def test_every_function_has_a_case():
    elsewhere = {case.replace(",", "").split()[0] for case in OF_SAMPLES}
    assert {case.replace(",", "").split()[0] for case in CASES} | elsewhere >= set(scipy_signal.FUNCTIONS)


def test_higher_derivatives_batches_and_source():
    def f(v):
        return np.sum(s.lfilter(v[:3], np.concatenate([[1.0], v[3:5] * 0.3]), v) ** 3)

    expected = truth.differences(wg.grad(f), [SIGNAL], 0, step=1e-3)
    assert_close(wg.hessian(f)(SIGNAL), expected, 1e-8)
    assert wg.check_derivatives(f)(SIGNAL)
    np.testing.assert_allclose(wg.vmap(f)(np.stack([SIGNAL, 2 * SIGNAL])), [f(SIGNAL), f(2 * SIGNAL)])
    namespace = {}
    exec(wg.trace(f)(SIGNAL).source(), namespace)
    assert np.isclose(namespace["f"](SIGNAL), f(SIGNAL))


def test_single_precision_stays():
    b, a, x = (v.astype(np.float32) for v in (B, A, SIGNAL))
    assert wg.linearize(lambda x: s.lfilter(b, a, x), x)[0].dtype == np.float32
    assert wg.linearize(lambda x: s.fftconvolve(x, b), x)[0].dtype == np.float32


@pytest.mark.parametrize(
    "f",
    [
        lambda x: s.convolve(x, TILE),
        lambda x: s.convolve(x, KERNEL, "half"),
        lambda x: s.fftconvolve(np.outer(x, x)[:2], np.ones((3, 2)), "valid"),
        lambda x: s.convolve2d(x, TILE),
        lambda x: s.convolve2d(np.outer(x, x), TILE, "same", "mirror"),
        lambda x: s.sosfilt(SECTIONS[:, :5], x),
        lambda x: s.sosfilt(SECTIONS * 2, x),
    ],
)
def test_what_scipy_refuses_is_refused(f):
    for call in (f, wg.jacobian(f)):
        with pytest.raises(ValueError) as caught:  # noqa: PT011  # whatever SciPy says
            call(SIGNAL)
        assert "Traced" not in str(caught.value)
