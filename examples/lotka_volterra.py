"""Fit an ordinary differential equation to data: hares and lynxes, by a Runge-Kutta method that fills a buffer.

The classical fourth-order method writes the populations into ``np.zeros((steps, 2))`` as it goes, and the gradient
follows.  The data are the pelts (in thousands) that the Hudson's Bay Company collected from 1900 to 1920; the equations
are Lotka's (1925) and Volterra's (1926).
"""

import numpy as np
from scipy.optimize import minimize

import wengert as wg

HARE = np.array(
    [30, 47.2, 70.2, 77.4, 36.3, 20.6, 18.1, 21.4, 22, 25.4, 27.1]
    + [40.3, 57, 76.6, 52.3, 19.5, 11.2, 7.6, 14.6, 16.2, 24.7]
)
LYNX = np.array(
    [4, 6.1, 9.8, 35.2, 59.4, 41.7, 19, 13, 8.3, 9.1, 7.4, 8, 12.3, 19.5, 45.7, 51.1, 29.7, 15.8, 9.7, 10.1, 8.6]
)


def rate(state, params):
    """How fast the populations change."""
    birth, hunting, death, growth = params
    change = np.zeros(2)
    change[0] = (birth - hunting * state[1]) * state[0]
    change[1] = (growth * state[0] - death) * state[1]
    return change


def runge_kutta(state, params, steps, h):
    """Integrate from `state`; return the states at all steps."""
    states = np.zeros((steps + 1, 2))
    states[0] = state
    for k in range(steps):
        k1 = rate(states[k], params)
        k2 = rate(states[k] + 0.5 * h * k1, params)
        k3 = rate(states[k] + 0.5 * h * k2, params)
        k4 = rate(states[k] + h * k3, params)
        states[k + 1] = states[k] + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
    return states


def misfit(logs, data, substeps):
    """Sum of squared differences of the logarithms; `logs` are those of four rates and two initial populations."""
    states = runge_kutta(np.exp(logs[4:]), np.exp(logs[:4]), substeps * (len(data) - 1), 1.0 / substeps)
    return np.sum((np.log(states[::substeps]) - np.log(data)) ** 2)


def problem(years=4, substeps=2):
    """Return a function, its arguments, and the positions to differentiate with respect to."""
    data = np.stack([HARE, LYNX], axis=1)
    return misfit, (np.log([0.5, 0.03, 0.9, 0.025, 32.0, 5.0]), np.resize(data, (years + 1, 2)), substeps), (0,)


def main(iterations=25, substeps=5):
    data = np.stack([HARE, LYNX], axis=1)
    start = np.log([0.5, 0.03, 0.9, 0.025, 30.0, 4.0])
    gradient = wg.value_and_grad(misfit)
    fit = minimize(gradient, start, (data, substeps), jac=True, method="BFGS", options={"maxiter": iterations})
    print(f"sum of squares {misfit(start, data, substeps):.2f} -> {fit.fun:.3f} in {fit.nit} steps")
    names = ("birth of hares", "hunting", "death of lynxes", "growth of lynxes", "hares in 1900", "lynxes in 1900")
    for name, value in zip(names, np.exp(fit.x), strict=True):
        print(f"  {name:17} {value:8.4f}")
    states = runge_kutta(np.exp(fit.x[4:]), np.exp(fit.x[:4]), substeps * 20, 1.0 / substeps)[::substeps]
    print("\n      hares: pelts (o) and model (*)" + " " * 22 + "lynxes")
    for year, (seen, modeled) in enumerate(zip(data, states, strict=True), 1900):
        line = [" "] * 90
        for left, k in ((0, 0), (50, 1)):
            line[left + min(int(seen[k] / 2.2), 39)] = "o"
            line[left + min(int(modeled[k] / 2.2), 39)] = "*"
        print(year, "|", "".join(line).rstrip())


if __name__ == "__main__":
    main()
