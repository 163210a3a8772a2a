"""Functions of samples: ``scipy.integrate``, statistics of ``scipy.stats``, spectra in ``scipy.signal``."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.integrate as si
import scipy.signal as ss
from agreement import assert_caught, assert_close
from scipy import stats

import wengert as wg
from wengert.errors import UnsupportedError

rng = np.random.default_rng(6)
T, Y, TWO = np.cumsum(rng.uniform(0.1, 0.2, 9)), rng.normal(size=9), rng.normal(size=(2, 9))
LONG, OTHER = rng.normal(size=24), rng.normal(size=24)
PAIRS, PLACES = rng.normal(size=(2, 6)), rng.normal(size=(2, 3))

CASES = {
    "simpson": (lambda y, x: si.simpson(y, x=x), [Y, T]),
    "simpson, an even number": (lambda y, x: si.simpson(y, x=x), [Y[:-1], T[:-1]]),
    "simpson of two": (lambda y, x: si.simpson(y, x=x), [Y[:2], T[:2]]),
    "simpson, evenly spaced": (lambda y, h: si.simpson(y, dx=h), [Y[:-1], np.array(0.3)]),
    "simpson of columns": (lambda y, x: si.simpson(y.T, x=x, axis=0), [TWO, T]),
    "trapezoid": (lambda y, x: si.trapezoid(y, x), [Y, T]),
    "cumulative_trapezoid": (lambda y, x: si.cumulative_trapezoid(y, x, initial=0), [Y, T]),
    "cumulative_simpson": (lambda y, x: si.cumulative_simpson(y, x=x), [Y, T]),
    "romb": (lambda y: si.romb(y, 0.1), [Y]),
    "pearsonr": (lambda x, y: stats.pearsonr(x, y)[0], [T, Y]),
    "pearsonr, p-value": (lambda x, y: stats.pearsonr(x, y).pvalue, [T, Y]),
    "pearsonr, greater": (lambda x, y: stats.pearsonr(x, y, alternative="greater").pvalue, [T, Y]),
    "gaussian_kde": (lambda x, p: stats.gaussian_kde(x)(p), [Y, T]),
    "gaussian_kde, points": (stats.gaussian_kde(Y), [T]),
    "gaussian_kde of pairs": (lambda x, p: stats.gaussian_kde(x).logpdf(p), [PAIRS, PLACES]),
    "gaussian_kde, weights": (lambda x, w: stats.gaussian_kde(x, weights=w)(T), [Y, rng.uniform(0.5, 1.5, 9)]),
    "gaussian_kde, bandwidth": (lambda h: stats.gaussian_kde(Y, h).pdf(T), [np.float64(0.4)]),
    "gaussian_kde, silverman": (lambda x: stats.gaussian_kde(x, "silverman").evaluate(T), [Y]),
    "gaussian_kde.integrate_box_1d": (lambda x: stats.gaussian_kde(x).integrate_box_1d(-0.3, 0.9), [Y]),
    "zscore": (lambda x: stats.zscore(x), [Y]),
    "skew and kurtosis": (lambda x: stats.skew(x) + stats.kurtosis(x), [Y]),
    "linregress": (lambda x, y: stats.linregress(x, y).slope, [T, Y]),
    "savgol_filter": (lambda x: ss.savgol_filter(x, 5, 2), [LONG]),
    "savgol_filter, derivative": (lambda x: ss.savgol_filter(x, 5, 3, deriv=1, delta=0.5, axis=1), [TWO]),
    "savgol_filter, wrapped": (lambda x: ss.savgol_filter(x, 7, 2, mode="wrap"), [LONG]),
    "medfilt": (lambda x: ss.medfilt(x, 5), [LONG]),
    "medfilt2d": (lambda x: ss.medfilt2d(x, 3), [rng.normal(size=(4, 5))]),
    "welch": (lambda x: ss.welch(x, nperseg=8)[1], [LONG]),
    "welch, median": (lambda x: ss.welch(x, 3.0, "hamming", 8, 6, 16, "linear", average="median")[1], [LONG]),
    "welch, two-sided": (lambda x: ss.welch(x, nperseg=7, return_onesided=False, scaling="spectrum")[1], [LONG]),
    "welch of columns": (lambda x: ss.welch(x.T, nperseg=4, axis=0, detrend=False)[1], [TWO]),
    "csd": (lambda x, y: np.abs(ss.csd(x, y, nperseg=8)[1]), [LONG, OTHER]),
    "coherence": (lambda x, y: ss.coherence(x, y, nperseg=8)[1], [LONG, OTHER]),
    "periodogram": (lambda x: ss.periodogram(x, 2.0, scaling="spectrum")[1], [LONG]),
    "periodogram, longer": (lambda x: ss.periodogram(x, nfft=32, window="hann")[1], [LONG]),
    "spectrogram": (lambda x: ss.spectrogram(x, nperseg=8)[2], [LONG]),
    "stft": (lambda x: np.abs(ss.stft(x, nperseg=8)[2]), [LONG]),
    "upfirdn": (lambda h, x: ss.upfirdn(h, x, 3, 2), [np.array([0.5, 1.0, -0.3]), Y]),
    "resample_poly": (lambda x: ss.resample_poly(x, 3, 2), [LONG]),
}


@pytest.mark.parametrize("case", CASES)
def test_values_and_derivatives(case):
    assert_caught(*CASES[case], rtol=1e-6, value_rtol=1e-9)


def test_results_are_those_of_scipy():
    def f(x):
        result = stats.pearsonr(x, Y)
        assert len(result) == 2
        assert result.statistic is result[0]
        kde = stats.gaussian_kde(x)
        assert isinstance(kde, stats.gaussian_kde)
        assert kde.factor == pytest.approx(9 ** (-0.2))
        return result.statistic * kde(0.3)[0]

    assert_close(wg.grad(f)(T), wg.jacobian(f, mode="forward")(T), 1e-12)
    frequencies, _ = ss.welch(LONG, nperseg=8)
    np.testing.assert_array_equal(frequencies, np.fft.rfftfreq(8))


@pytest.mark.parametrize(
    ("f", "words"),
    [
        (lambda y: stats.pearsonr(y, T, method=stats.PermutationMethod())[0], "draws samples"),
        (lambda y: ss.upfirdn([1.0, 0.5], y, mode="wrap"), "upfirdn"),
    ],
)
def test_what_has_no_rule_says_so(f, words):
    with pytest.raises(UnsupportedError, match=words):
        wg.grad(lambda y: np.sum(f(y)))(Y)
