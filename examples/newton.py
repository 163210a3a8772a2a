"""Differentiate through Newton's method: the orbit of a planet from Kepler's equation, fitted to where it was seen.

Kepler's equation ``E - e sin(E) = M`` has no solution in closed form, so a ``while`` loop runs Newton's method until it
converges: how often depends on the values.  The derivative of the root is right all the same; by the implicit function
theorem it is ``dE/de = sin(E) / (1 - e cos(E))``, which the script compares.
"""

import numpy as np
from scipy.optimize import least_squares

import wengert as wg


def eccentric_anomaly(M, e):
    """Solve Kepler's equation for the eccentric anomaly, by Newton's method."""
    E = M + e * np.sin(M)
    while True:
        change = (E - e * np.sin(E) - M) / (1 - e * np.cos(E))
        E = E - change
        if np.max(np.abs(change)) < 1e-9:  # the error is the square of the last change
            return E


def positions(orbit, times):
    """Where a planet is at some times: eccentricity, semi-major axis, period, time and angle of the perihelion."""
    e, a, period, start, angle = orbit
    E = eccentric_anomaly(2 * np.pi * (times - start) / period, e)
    x, y = a * (np.cos(E) - e), a * np.sqrt(1 - e**2) * np.sin(E)
    return np.stack([np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y])


def misfit(orbit, times, seen):
    return np.sum((positions(orbit, times) - seen) ** 2)


def observations(orbit, count, noise):
    times = np.linspace(0.0, 1.7 * orbit[2], count)
    return times, positions(orbit, times) + noise * np.random.default_rng(0).normal(size=(2, count))


def problem(count=9):
    """Return a function, its arguments, and the positions to differentiate with respect to."""
    orbit = np.array([0.6, 1.3, 2.0, 0.3, 0.8])
    return misfit, (orbit + 0.05, *observations(orbit, count, 0.01)), (0,)


def main(iterations=30):
    M, e = 0.5, 0.9
    E = eccentric_anomaly(M, e)
    traced = wg.grad(eccentric_anomaly, argnums=1)(M, e)
    print(f"E({M}, {e}) = {E:.12f}")
    print(f"dE/de through the loop     {traced:.15f}")
    print(f"dE/de by implicit function {np.sin(E) / (1 - e * np.cos(E)):.15f}\n")

    orbit = np.array([0.21, 0.39, 88.0, 20.0, 1.35])  # much as Mercury's
    times, seen = observations(orbit, 40, 0.002)

    def residuals(guess):
        return (positions(guess, times) - seen).ravel()

    guess = np.array([0.05, 0.45, 86.0, 15.0, 1.0])
    fit = least_squares(residuals, guess, jac=wg.jacobian(residuals), x_scale=np.abs(guess), max_nfev=iterations)
    deviations = np.sqrt(np.diag(np.linalg.inv(fit.jac.T @ fit.jac))) * np.sqrt(2 * fit.cost / (2 * len(times) - 5))
    print(f"fitted to {len(times)} positions in {fit.nfev} steps")
    names = ("eccentricity", "semi-major axis", "period", "perihelion at", "angle")
    for name, value, deviation, truth in zip(names, fit.x, deviations, orbit, strict=True):
        print(f"  {name:16} {value:9.4f} +- {deviation:.4f}    (made with {truth:g})")


if __name__ == "__main__":
    main()
