"""``scipy.ndimage``: filters and resampled images in every mode and order, against SciPy's values and differences."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage as nd
from agreement import assert_caught

import wengert as wg
from wengert.errors import UnsupportedError
from wengert.primitives.scipy import ndimage

rng = np.random.default_rng(3)
LINE, PLANE, CUBE = rng.normal(size=6), rng.normal(size=(4, 5)), rng.normal(size=(3, 4, 2))
KERNEL, TILE, EVEN = rng.normal(size=3), rng.normal(size=(3, 2)), rng.normal(size=4)
PLACES = np.array([[0.3, 1.7, 2.6, 1.2], [3.4, 0.2, 1.9, 2.3]])
BEYOND = np.array([[-1.3, 1.7, 4.6, -0.2], [3.4, 6.2, -2.9, 2.3]])
MODES = ("reflect", "mirror", "nearest", "wrap", "constant", "grid-wrap", "grid-mirror", "grid-constant")
SIZE = np.float64(1.1)

CASES = {}
for mode in MODES:
    CASES |= {
        f"correlate1d {mode}": (
            lambda x, w, mode=mode: nd.correlate1d(x, w, 0, mode=mode, cval=0.7),
            [PLANE, KERNEL],
        ),
        f"convolve1d {mode}": (lambda x, w, mode=mode: nd.convolve1d(x, w, mode=mode, cval=0.7), [LINE, EVEN]),
        f"correlate {mode}": (lambda x, w, mode=mode: nd.correlate(x, w, mode=mode, cval=0.7), [PLANE, TILE]),
        f"convolve {mode}": (lambda x, w, mode=mode: nd.convolve(x, w, mode=mode, cval=0.7), [PLANE, TILE]),
        f"gaussian_filter {mode}": (
            lambda x, s, mode=mode: nd.gaussian_filter(x, s, mode=mode, cval=0.7, radius=2),
            [PLANE, SIZE],
        ),
        f"uniform_filter {mode}": (lambda x, mode=mode: nd.uniform_filter(x, 3, mode=mode), [PLANE]),
    }
    for order in range(6):
        CASES |= {
            f"map_coordinates {mode} {order}": (
                lambda x, p, mode=mode, order=order: (
                    nd.map_coordinates(x, p, order=order, mode=mode, cval=0.7) + 0 * p[0]
                ),
                [PLANE, BEYOND],
            ),
            f"shift {mode} {order}": (
                lambda x, d, mode=mode, order=order: nd.shift(x, d, order=order, mode=mode, cval=0.7) + 0 * d[0],
                [PLANE, np.array([0.7, -1.3])],
            ),
        }
    CASES |= {
        f"zoom {mode}": (lambda x, mode=mode: nd.zoom(x, 1.7, mode=mode, cval=0.7), [PLANE]),
        f"spline_filter1d {mode}": (lambda x, mode=mode: nd.spline_filter1d(x, 5, 0, mode=mode), [PLANE]),
    }
CASES |= {
    "correlate, origin": (lambda x, w: nd.correlate(x, w, origin=(1, -1)), [PLANE, TILE]),
    "correlate1d, origin": (lambda x, w: nd.correlate1d(x, w, origin=-1), [LINE, EVEN]),
    "convolve, origin": (lambda x, w: nd.convolve(x, w, origin=(-1, 0)), [PLANE, TILE]),
    "correlate, axes of a cube": (lambda x, w: nd.correlate(x, w, axes=(2, 0)), [CUBE, TILE]),
    "correlate, a large kernel": (lambda x, w: nd.correlate(x, w), [PLANE, rng.normal(size=(7, 9))]),
    "gaussian_filter1d, derivatives": (
        lambda x, s: nd.gaussian_filter1d(x, s, order=1) + nd.gaussian_filter1d(x, s, order=2, axis=0) ** 2,
        [PLANE, SIZE],
    ),
    "gaussian_filter, two sizes": (lambda x, s: nd.gaussian_filter(x, (s, 0.7), order=(0, 1)), [PLANE, SIZE]),
    "gaussian_filter of a cube": (lambda x: nd.gaussian_filter(x, 0.8, axes=(0, 1)), [CUBE]),
    "gaussian_laplace": (lambda x, s: nd.gaussian_laplace(x, s), [PLANE, SIZE]),
    "gaussian_gradient_magnitude": (lambda x, s: nd.gaussian_gradient_magnitude(x, s), [PLANE, SIZE]),
    "uniform_filter1d": (lambda x: nd.uniform_filter1d(x, 4, 0, origin=1), [PLANE]),
    "uniform_filter, sizes": (lambda x: nd.uniform_filter(x, (1, 4), origin=(0, -1)), [PLANE]),
    "laplace": (lambda x: nd.laplace(x, mode="wrap"), [PLANE]),
    "sobel": (lambda x: nd.sobel(x, 0), [PLANE]),
    "prewitt": (lambda x: nd.prewitt(x, mode=("wrap", "nearest")), [PLANE]),
    "minimum_filter": (lambda x: nd.minimum_filter(x, 3), [PLANE]),
    "maximum_filter": (lambda x: nd.maximum_filter(x, (2, 3), mode="mirror"), [PLANE]),
    "median_filter": (lambda x: nd.median_filter(x, 3, mode="constant", cval=0.1), [PLANE]),
    "median_filter, footprint": (lambda x: nd.median_filter(x, footprint=[[0, 1, 0], [1, 1, 1]]), [PLANE]),
    "rank_filter": (lambda x: nd.rank_filter(x, -2, size=3), [PLANE]),
    "percentile_filter": (lambda x: nd.percentile_filter(x, 30, size=(3, 2)), [PLANE]),
    "spline_filter1d, long": (lambda x: nd.spline_filter1d(x, 3, mode="mirror"), [rng.normal(size=70)]),
    "spline_filter1d, long and reflected": (lambda x: nd.spline_filter1d(x, 5, mode="reflect"), [rng.normal(size=70)]),
    "spline_filter": (lambda x: nd.spline_filter(x, 4), [PLANE]),
    "map_coordinates, inside": (lambda x, p: nd.map_coordinates(x, p), [PLANE, PLACES]),
    "map_coordinates, coefficients": (lambda x, p: nd.map_coordinates(x, p, prefilter=False), [PLANE, PLACES]),
    "map_coordinates, rows": (
        lambda x, p: nd.map_coordinates(x, np.reshape(p, (2, 2, 2)), order=1),
        [PLANE, PLACES],
    ),
    "map_coordinates of a line": (lambda x, p: nd.map_coordinates(x, p), [LINE, np.array([[0.3, 2.2, 3.9]])]),
    "shift of a line": (lambda x, d: nd.shift(x, d), [LINE, np.float64(0.4)]),
    "zoom of the grid": (lambda x: nd.zoom(x, (0.6, 2), mode="grid-wrap", grid_mode=True, order=1), [PLANE]),
    "zoom of a line": (lambda x: nd.zoom(x, 0.5), [LINE]),
    "affine_transform": (
        lambda x, m, o: nd.affine_transform(x, m, o, output_shape=(3, 3)),
        [PLANE, np.array([[0.83, 0.2], [-0.11, 1.1]]), np.array([0.21, 0.33])],
    ),
    "affine_transform, homogeneous": (
        lambda x, m: nd.affine_transform(x, m, mode="nearest"),
        [PLANE, np.array([[0.83, 0.21, 0.14], [-0.13, 0.9, 0.37]])],
    ),
    "affine_transform, diagonal": (lambda x, m: nd.affine_transform(x, m, 0.13), [PLANE, np.array([0.83, 1.07])]),
    "rotate": (lambda x, a: nd.rotate(x, a, mode="mirror"), [PLANE, np.array(17.0)]),
    "rotate, size kept": (lambda x, a: nd.rotate(x, a, (0, 2), reshape=False, mode="nearest"), [CUBE, np.array(31.0)]),
    "gaussian_filter, complex": (lambda x: np.abs(nd.gaussian_filter(x * (1 + 2j) + 1j, 0.8)), [LINE]),
}


@pytest.mark.parametrize("case", CASES)
def test_values_and_derivatives(case):
    f, args = CASES[case]
    assert_caught(f, args, rtol=1e-6 if "map" in case or "shift" in case else 2e-7)


def test_every_function_has_a_case():
    assert {case.replace(",", "").split()[0] for case in CASES} >= set(ndimage.FUNCTIONS)


def test_batches_programs_and_source():
    def f(x):
        return np.sum(nd.gaussian_filter(x, 1.0 + x[0, 0] ** 2, radius=2) * nd.shift(x, x[0, 1]) ** 2)

    many = np.stack([PLANE, 0.5 * PLANE])
    np.testing.assert_allclose(wg.vmap(f)(many), [f(x) for x in many])
    np.testing.assert_allclose(wg.vmap(wg.grad(f))(many), [wg.grad(f)(x) for x in many])
    program = wg.trace(f)(PLANE)
    np.testing.assert_allclose(program(PLANE), f(PLANE))
    assert wg.check_derivatives(f)(PLANE)
    namespace = {}
    exec(program.source(), namespace)
    assert np.isclose(namespace["f"](PLANE), f(PLANE))


def test_precision_and_output():
    single = PLANE.astype(np.float32)
    for f in (lambda x: nd.gaussian_filter(x, 1.0), lambda x: nd.shift(x, 0.3), lambda x: nd.median_filter(x, 3)):
        assert wg.linearize(f, single)[0].dtype == f(single).dtype == np.float32
    wide = wg.linearize(lambda x: nd.gaussian_filter(x, 1.0, output=np.float64), single)[0]
    assert wide.dtype == np.float64

    def into(x):
        out = np.zeros((4, 5))
        nd.gaussian_filter(x, 1.0, output=out)
        return out

    np.testing.assert_allclose(wg.jacobian(into)(PLANE), wg.jacobian(lambda x: nd.gaussian_filter(x, 1.0))(PLANE))


def test_an_image_of_integers_has_no_derivative():
    image = np.arange(20).reshape(4, 5)
    with pytest.raises(UnsupportedError, match=r"image\.astype"):
        wg.grad(lambda w: np.sum(nd.correlate(image, w)))(TILE)
    expected = wg.grad(lambda w: np.sum(nd.correlate(image.astype(float), w)))(TILE)
    np.testing.assert_allclose(wg.grad(lambda w: np.sum(nd.correlate(image, w, output=float)))(TILE), expected)


def test_what_has_no_rule_says_so():
    with pytest.raises(UnsupportedError, match="generic_filter"):
        wg.grad(lambda x: np.sum(nd.generic_filter(x, np.ptp, 3)))(PLANE)
