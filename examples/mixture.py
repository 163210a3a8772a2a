"""Find clusters: a mixture of Gaussian distributions, each with a full covariance, fitted by the gradient.

A covariance is kept as its Cholesky factor, with logarithms on the diagonal, so that any numbers make a valid one; this
is the parametrization of the benchmark of Srajer, Kukelova & Fitzgibbon (2018).
"""

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp

import wengert as wg


def factors(logs, lower):
    """Return lower triangular matrices: exponentials of `logs` on the diagonal, the numbers `lower` beneath it."""
    components, d = logs.shape
    rows, columns = np.tril_indices(d, -1)
    L = np.zeros((components, d, d))
    L[:, np.arange(d), np.arange(d)] = np.exp(logs)
    L[:, rows, columns] = lower
    return L


def log_joint(params, x):
    """Log-density of each point and component together: (points, components)."""
    weights, means = params["weights"], params["means"]
    L = factors(params["logs"], params["lower"])
    centered = x[:, None, :] - means  # (points, components, d)
    whitened = np.linalg.solve(L, np.transpose(centered, (1, 2, 0)))  # (components, d, points)
    squares = np.sum(whitened**2, axis=1).T
    constant = weights - logsumexp(weights) - np.sum(params["logs"], axis=1) - 0.5 * x.shape[1] * np.log(2 * np.pi)
    return constant - 0.5 * squares


def negative_log_likelihood(params, x):
    """Minus the mean log-likelihood of the points."""
    return -np.mean(logsumexp(log_joint(params, x), axis=1))


def points(count, rng):
    """Draw points from three clusters in the plane."""
    parts = []
    for share, center, L in (
        (0.5, [0.0, 0.0], [[1.0, 0.0], [0.9, 0.4]]),
        (0.3, [3.0, -1.0], [[0.4, 0.0], [-0.3, 0.9]]),
        (0.2, [-2.0, 3.0], [[0.8, 0.0], [0.0, 0.3]]),
    ):
        size = round(share * count)
        parts.append(np.array(center) + rng.normal(size=(size, 2)) @ np.array(L).T)
    return np.concatenate(parts)


def problem(count=20, components=3):
    """Return a function, its arguments, and the positions to differentiate with respect to."""
    rng = np.random.default_rng(0)
    shapes = {"weights": (components,), "means": (components, 2), "logs": (components, 2), "lower": (components, 1)}
    params = {name: 0.5 * rng.normal(size=shape) for name, shape in shapes.items()}
    return negative_log_likelihood, (params, points(count, rng)), (0,)


def main(iterations=80, count=600):
    rng = np.random.default_rng(3)
    x = points(count, rng)
    shapes = {"weights": (3,), "means": (3, 2), "logs": (3, 2), "lower": (3, 1)}
    start = {name: np.zeros(shape) for name, shape in shapes.items()} | {"means": np.array([[0.0, 1], [1, 0], [-1, 1]])}
    ends = np.cumsum([np.prod(shape) for shape in shapes.values()])[:-1]

    def unpack(flat):
        return {name: part.reshape(shapes[name]) for name, part in zip(shapes, np.split(flat, ends), strict=True)}

    def pack(params):
        return np.concatenate([params[name].ravel() for name in shapes])

    gradient = wg.value_and_grad(negative_log_likelihood)

    def objective(flat):
        value, slope = gradient(unpack(flat), x)
        return value, pack(slope)

    fit = minimize(objective, pack(start), jac=True, method="BFGS", options={"maxiter": iterations})
    params = unpack(fit.x)
    before = -negative_log_likelihood(start, x)
    print(f"{count} points, mean log-likelihood {before:.3f} -> {-fit.fun:.3f} in {fit.nit} steps\n")
    shares = np.exp(params["weights"] - logsumexp(params["weights"]))
    for k in np.argsort(-shares):
        L = factors(params["logs"], params["lower"])[k]
        mean, covariance = np.round(params["means"][k], 2), np.round(L @ L.T, 2)
        print(f"share {shares[k]:.2f}  mean {mean}  covariance {covariance.tolist()}")
    grid = [[" "] * 64 for _ in range(20)]
    for (u, v), k in zip(x, np.argmax(log_joint(params, x), axis=1), strict=True):
        row, column = int((5 - v) / 0.45), int((u + 5) / 0.16)
        if 0 <= row < 20 and 0 <= column < 64:
            grid[row][column] = "o+x"[k]
    print("\n" + "\n".join("".join(row) for row in grid))


if __name__ == "__main__":
    main()
