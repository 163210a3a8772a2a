"""``numpy.fft``: every transform, length, axis and normalization against differences, and Parseval's theorem."""

from __future__ import annotations

import numpy as np
import pytest
from agreement import assert_close
from matrices import assert_derivatives, assert_value, both, case, points, rows_of, rows_reached

import wengert as wg
from wengert.primitives import CALLS
from wengert.primitives.numpy import fourier

rng = np.random.default_rng(8)
SIGNAL, SIGNALS, PARTS, PLANE, BOX = (rng.normal(size=s) for s in ((5,), (4, 2), (2, 4), (2, 3), (2, 2, 3)))
NORMS = (None, "backward", "ortho", "forward")


def of_real(function, **given):
    return lambda x: both(function(x, **given))


def of_complex(function, **given):
    return lambda x: both(function(x[0] + 1j * x[1], **given))


def to_real(function, **given):
    return lambda x: function(x[0] + 1j * x[1], **given)


def one_axis(function):
    """Call a transform of complex signals: of every length and normalization, of real and of complex signals."""
    return [
        *(case(of_real(function, norm=norm), SIGNAL) for norm in NORMS),
        *(case(of_real(function, n=n), SIGNAL) for n in (1, 3, 8)),
        case(of_real(function, axis=0), SIGNALS),
        case(of_real(function, n=6, axis=-2, norm="ortho"), SIGNALS),
        case(of_complex(function), PARTS),
        case(of_complex(function, n=6, norm="forward"), PARTS),
    ]


def real_signals(function):
    return [c for k, c in enumerate(one_axis(function)) if k < 9]


def hermitian_spectra(function):
    return [
        *(case(to_real(function, norm=norm), PARTS) for norm in NORMS),
        *(case(to_real(function, n=n), PARTS) for n in (1, 2, 3, 4, 7, 9)),
        case(lambda x: function(x, axis=0), SIGNALS),
        case(lambda x: function(x, n=5, axis=0, norm="ortho"), SIGNALS),
    ]


def several_axes(function):
    return [
        case(of_real(function), PLANE),
        case(of_real(function, axes=(0, 2), norm="ortho"), BOX),
        case(of_real(function, s=(3, 2), axes=(1, 2)), BOX),
        case(of_real(function, s=(-1, 4), axes=(2, 0), norm="forward"), BOX),
    ]


CASES = {
    np.fft.fft: one_axis(np.fft.fft),
    np.fft.ifft: one_axis(np.fft.ifft),
    np.fft.rfft: real_signals(np.fft.rfft),
    np.fft.ihfft: real_signals(np.fft.ihfft),
    np.fft.irfft: hermitian_spectra(np.fft.irfft),
    np.fft.hfft: hermitian_spectra(np.fft.hfft),
    np.fft.fft2: several_axes(np.fft.fft2),
    np.fft.ifft2: several_axes(np.fft.ifft2),
    np.fft.fftn: [*several_axes(np.fft.fftn), case(of_real(np.fft.fftn), BOX), case(of_complex(np.fft.fftn), BOX)],
    np.fft.ifftn: [*several_axes(np.fft.ifftn), case(of_complex(np.fft.ifftn), BOX)],
    np.fft.rfft2: several_axes(np.fft.rfft2),
    np.fft.rfftn: [*several_axes(np.fft.rfftn), case(of_real(np.fft.rfftn), BOX)],
    np.fft.irfft2: [case(to_real(np.fft.irfft2), BOX), case(to_real(np.fft.irfft2, s=(3, 5), norm="ortho"), BOX)],
    np.fft.irfftn: [
        case(to_real(np.fft.irfftn), BOX),
        case(to_real(np.fft.irfftn, s=(3, 3), axes=(1, 0)), BOX),
        case(lambda x: np.fft.irfftn(x), BOX),
    ],
    np.fft.fftshift: [case(np.fft.fftshift, BOX), case(lambda x: np.fft.fftshift(x, axes=1), PLANE)],
    np.fft.ifftshift: [case(np.fft.ifftshift, BOX), case(lambda x: np.fft.ifftshift(x, axes=(0, -1)), BOX)],
}
"""For each transform the forms in which it is called."""

POINTS = points(CASES)


def test_every_transform_and_row_is_tested():
    assert {f for f in CALLS if getattr(f, "__module__", "").startswith("numpy.fft")} == set(CASES)
    assert set(rows_of(fourier)) <= rows_reached(CASES)


@pytest.mark.parametrize("case", POINTS)
def test_values_are_those_of_numpy(case):
    assert_value(case)


@pytest.mark.parametrize("case", POINTS)
def test_derivatives_are_right(case):
    assert_derivatives(case)


@pytest.mark.parametrize(("norm", "factor"), [(None, 5.0), ("ortho", 1.0), ("forward", 1 / 5)])
def test_parseval(norm, factor):
    gradient = wg.grad(lambda x: np.sum(np.abs(np.fft.fft(x, norm=norm)) ** 2))(SIGNAL)
    assert_close(gradient, 2 * factor * SIGNAL, 1e-14)


def test_there_and_back_is_the_identity():
    assert_close(wg.jacobian(lambda x: np.fft.irfft(np.fft.rfft(x), 5))(SIGNAL), np.eye(5), 1e-15)
    assert_close(wg.jacobian(lambda x: np.fft.ifft(np.fft.fft(x)).real)(SIGNAL), np.eye(5), 1e-15)
    assert_close(wg.jacobian(lambda x: np.fft.ifftshift(np.fft.fftshift(x)))(SIGNAL), np.eye(5), 0)


def test_a_convolution_by_transforms_is_the_convolution():
    kernel = np.array([0.5, -1.0, 2.0])

    def by_transforms(x):
        return np.fft.irfft(np.fft.rfft(x, 8) * np.fft.rfft(kernel, 8), 8)[:7]

    expected = wg.jacobian(lambda x: np.convolve(x, kernel))(SIGNAL)
    for mode in ("forward", "reverse"):
        assert_close(wg.jacobian(by_transforms, mode=mode)(SIGNAL), expected, 1e-14)


def test_refused_as_numpy_refuses():
    with pytest.raises(ValueError, match="data points"):
        wg.grad(lambda x: np.sum(np.abs(np.fft.fft(x, 0))))(SIGNAL)
    with pytest.raises(ValueError, match="norm"):
        wg.grad(lambda x: np.sum(np.abs(np.fft.fft(x, norm="unit"))))(SIGNAL)
    with pytest.raises(TypeError):
        np.fft.rfft(SIGNAL + 0j)
    with pytest.raises(TypeError):
        wg.grad(lambda x: np.sum(np.abs(np.fft.rfft(x + 0j))))(SIGNAL)
