"""Fit a Gaussian process: maximize the marginal likelihood of noisy data over length scale, amplitude and noise.

Algorithm 2.1 of Rasmussen & Williams (2006), *Gaussian Processes for Machine Learning*: one Cholesky factorization and
solves with the factor.  The gradient goes through both.
"""

import numpy as np
from scipy.optimize import minimize

import wengert as wg


def covariance(log_params, x, z):
    """Squared-exponential kernel with a length scale for each dimension."""
    scales, amplitude = np.exp(log_params[:-2]), np.exp(log_params[-2])
    differences = (x[:, None, :] - z[None, :, :]) / scales
    return amplitude**2 * np.exp(-0.5 * np.sum(differences**2, axis=-1))


def negative_log_likelihood(log_params, x, y):
    """Minus the log marginal likelihood of observations `y` at the points `x`."""
    noise = np.exp(log_params[-1])
    K = covariance(log_params, x, x) + noise**2 * np.eye(len(y))
    L = np.linalg.cholesky(K)
    alpha = np.linalg.solve(L.T, np.linalg.solve(L, y))
    return 0.5 * np.dot(y, alpha) + np.sum(np.log(np.diag(L))) + 0.5 * len(y) * np.log(2 * np.pi)


def predict(log_params, x, y, new):
    """Mean and standard deviation of the process at new points."""
    K = covariance(log_params, x, x) + np.exp(log_params[-1]) ** 2 * np.eye(len(y))
    cross = covariance(log_params, new, x)
    mean = cross @ np.linalg.solve(K, y)
    variance = np.exp(log_params[-2]) ** 2 - np.sum(cross * np.linalg.solve(K, cross.T).T, axis=1)
    return mean, np.sqrt(np.maximum(variance, 0.0))


def data(count, dimensions=1):
    rng = np.random.default_rng(0)
    x = rng.uniform(-3, 3, size=(count, dimensions))
    return x, np.sin(2 * x[:, 0]) + 0.3 * x[:, -1] + 0.15 * rng.normal(size=count)


def problem(count=12, dimensions=2):
    """Return a function, its arguments, and the positions to differentiate with respect to."""
    return negative_log_likelihood, (np.linspace(0.1, -0.7, dimensions + 2), *data(count, dimensions)), (0,)


def main(iterations=50):
    x, y = data(60)
    start = np.array([1.0, 1.0, 0.0])
    gradient = wg.value_and_grad(negative_log_likelihood)
    fit = minimize(gradient, start, (x, y), jac=True, method="BFGS", options={"maxiter": iterations})
    scale, amplitude, noise = np.exp(fit.x)
    print(f"log marginal likelihood {-negative_log_likelihood(start, x, y):.2f} -> {-fit.fun:.2f} in {fit.nit} steps")
    print(f"length scale {scale:.3f}, amplitude {amplitude:.3f}, noise {noise:.3f} (the data were made with 0.15)\n")
    new = np.linspace(-3, 3, 25)[:, None]
    mean, deviation = predict(fit.x, x, y, new)
    for point, m, s in zip(new[:, 0], mean, deviation, strict=True):
        line = [" "] * 61
        left, middle, right = (int(np.clip(round(30 + 13 * v), 0, 60)) for v in (m - 2 * s, m, m + 2 * s))
        line[left : right + 1] = "-" * (right + 1 - left)
        line[middle] = "o"
        print(f"{point:6.2f} |{''.join(line)}|")


if __name__ == "__main__":
    main()
