"""Two functions or three of each of ten packages, as they are, against differences: eager, jitted, batched, as a list.

The versions are pinned in the extra `packages`.
"""

import runpy
from pathlib import Path

import filterpy.common
import filterpy.kalman
import fluids
import haversine
import iapws
import numpy as np
import numpy_financial
import pint
import psychrolib
import pymap3d
import pytest
import tmm
import transforms3d

import wengert as wg

pytestmark = [
    pytest.mark.filterwarnings("ignore::wengert.errors.JitWarning"),  # pint's registry is too large to be compared
    pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning"),  # an infinite thickness; tmm mutes them itself
]
psychrolib.SetUnitSystem(psychrolib.SI)
UNITS = pint.UnitRegistry()


def filtered(x):
    """Return an estimate and its likelihood after three measurements, by a step, a prior variance and a noise."""
    kalman = filterpy.kalman.KalmanFilter(dim_x=2, dim_z=1)
    kalman.x = np.array([0.0, 1.0])
    kalman.F = np.array([[1.0, x[0]], [0.0, 1.0]])
    kalman.H = np.array([[1.0, 0.0]])
    kalman.P = kalman.P * x[1]
    kalman.R = kalman.R * x[2]
    for measured in (0.9, 2.1, 2.9):
        kalman.predict()
        kalman.update(measured)
    return kalman.x[0] + kalman.log_likelihood


def unscented(x):
    """Return an estimate after two measurements, by a prior variance and a noise."""
    points = filterpy.kalman.MerweScaledSigmaPoints(2, 0.1, 2.0, 1.0)
    kalman = filterpy.kalman.UnscentedKalmanFilter(
        2, 1, 0.5, hx=lambda z: z[:1], fx=lambda z, dt: z + dt * np.array([z[1], -np.sin(z[0])]), points=points
    )
    kalman.x = np.array([0.0, 1.0])
    kalman.P *= x[0]
    kalman.R *= x[1]
    for measured in (0.9, 2.1):
        kalman.predict()
        kalman.update(np.array([measured]))
    return kalman.x @ np.array([1.0, 2.0])


FILMS = [1, 2.2, 3.3 + 0.3j, 1]
CASES = {
    "filterpy: KalmanFilter": (filtered, [0.5, 2.0, 0.7]),
    "filterpy: UnscentedKalmanFilter": (unscented, [2.0, 0.7]),
    "filterpy: Q_discrete_white_noise": (
        lambda x: np.sum(filterpy.common.Q_discrete_white_noise(2, dt=x[0], var=x[1])),
        [0.5, 2.0],
    ),
    "transforms3d: quat2mat": (lambda q: transforms3d.quaternions.quat2mat(q)[0].sum(), [0.9, 0.1, 0.2, 0.3]),
    "transforms3d: euler2mat": (lambda a: transforms3d.euler.euler2mat(a[0], a[1], a[2])[0].sum(), [0.3, 0.4, 0.5]),
    "fluids: friction_factor": (lambda x: fluids.friction_factor(Re=x[0] * 1e5, eD=x[1] * 1e-4), [1.2, 3.0]),
    "fluids: Colebrook": (lambda x: fluids.friction.Colebrook(x[0] * 1e5, x[1] * 1e-4), [1.2, 3.0]),
    "fluids: cdf_lognormal": (
        lambda x: fluids.particle_size_distribution.cdf_lognormal(x[0], x[1], x[2]),
        [0.6, 0.5, 1.1],
    ),
    "tmm: reflection by films": (
        lambda d: tmm.coh_tmm("s", FILMS, [np.inf, 100 * d[0], 100 * d[1], np.inf], 0.1, 400.0)["R"],
        [1.0, 3.0],
    ),
    "tmm: transmission by films": (
        lambda d: tmm.coh_tmm("p", FILMS, [np.inf, 100 * d[0], 300.0, np.inf], 0.3, 100 * d[1])["T"],
        [1.0, 4.0],
    ),
    "psychrolib: GetSatVapPres": (lambda t: psychrolib.GetSatVapPres(t[0]) / 1e3, [25.0]),
    "psychrolib: GetHumRatioFromTWetBulb": (
        lambda t: 100 * psychrolib.GetHumRatioFromTWetBulb(t[0], t[1], 101325.0),
        [30.0, 25.0],
    ),
    "haversine: haversine": (lambda x: haversine.haversine((x[0], x[1]), (x[2], x[3])), [45.7, 4.8, 48.8, 2.3]),
    "haversine: inverse_haversine": (
        lambda x: haversine.inverse_haversine((x[0], x[1]), x[2], 0.5)[0],
        [0.7, 0.8, 9.0],
    ),
    "pymap3d: geodetic2ecef": (lambda x: pymap3d.geodetic2ecef(x[0], x[1], x[2])[0] / 1e6, [42.0, -82.0, 200.0]),
    "pymap3d: enu2aer": (lambda x: pymap3d.enu2aer(x[0], x[1], x[2])[1], [1.0, 2.0, 3.0]),
    "numpy_financial: npv": (lambda x: numpy_financial.npv(x[0], [-100.0, x[1], 59.0]), [0.28, 39.0]),
    "numpy_financial: irr": (lambda x: numpy_financial.irr([-100.0, x[0], 59.0, x[1]]), [39.0, 55.0]),
    "iapws: viscosity": (lambda x: 1e3 * iapws._iapws._Viscosity(100 * x[0], 100 * x[1]), [9.98, 2.9815]),
    "iapws: saturation pressure": (lambda x: 1e3 * iapws.iapws97._PSat_T(x[0]), [300.0]),
    "pint: a speed": (lambda x: (x[0] * UNITS.m / (x[1] * UNITS.min)).to("km/h").magnitude, [3.0, 2.0]),
    "pint: a root of an area": (lambda x: np.sqrt(UNITS.Quantity(x, "m**2").sum()).to("cm").magnitude, [3.0, 2.0]),
}
"""Functions of a vector, and a point."""


def comparisons(name):
    """Yield, by the columns of the page, what is computed, what it should be, and the two tolerances, rtol and atol."""
    f, point = CASES[name]
    x = np.array(point)
    value, gradient = wg.value_and_grad(f)(x)
    yield "gradient", value, f(x), 1e-13, 0.0
    steps = 1e-5 * np.maximum(1.0, np.abs(x)) * np.eye(len(x))

    def differences(g):
        return np.stack([(g(x + step) - g(x - step)) / (2 * np.sum(step)) for step in steps])

    yield "gradient", gradient, differences(f), 1e-6, 1e-7
    yield "Hessian", wg.hessian(f)(x), differences(wg.grad(f)), 1e-5, 1e-6

    near = x * 1.001
    program = wg.trace(f)(x)
    jitted = wg.jit(wg.grad(f))
    yield "Program", program(near), f(near), 1e-12, 0.0
    yield "jit", jitted(x), gradient, 1e-10, 0.0
    yield "jit", jitted(near), wg.grad(f)(near), 1e-10, 0.0
    yield "vmap", wg.vmap(wg.grad(f))(np.stack([x, near])), [gradient, wg.grad(f)(near)], 1e-10, 1e-13
    names = {}
    exec(program.source(), names)
    function = next(value for key, value in names.items() if key == program.name)
    yield "Program", function(near), f(near), 1e-12, 0.0


@pytest.mark.parametrize("name", CASES)
def test_derivatives_of_functions_as_they_are_published(name):
    for column, actual, desired, rtol, atol in comparisons(name):
        np.testing.assert_allclose(actual, desired, rtol=rtol, atol=atol, err_msg=column)


def test_the_page_says_what_is_so():
    root = Path(__file__).parents[2]
    generated = runpy.run_path(str(root / "docs" / "generate_works_with.py"))["page"]()
    assert generated == (root / "docs" / "works_with.md").read_text(), "run python docs/generate_works_with.py"
