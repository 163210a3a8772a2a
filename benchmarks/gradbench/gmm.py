"""gmm: the likelihood of a mixture of Gaussians with a Wishart prior; the gradient by weights, means and factors.

The inverse covariance of a component is Q^T Q with Q lower triangular: exp(q) on the diagonal, l below, by columns.
"""

from __future__ import annotations

import numpy as np
from scipy.special import multigammaln

import wengert as wg


def logsumexp(x):
    largest = np.max(x, axis=-1, keepdims=True)
    return np.log(np.sum(np.exp(x - largest), axis=-1)) + largest[..., 0]


def log_likelihood(alpha, mu, q, l, x, gamma, m):  # noqa: E741  # its name
    n, d = x.shape
    k = len(alpha)
    columns, rows = np.triu_indices(d, 1)
    Q = np.zeros((k, d, d))
    Q[:, rows, columns] = l
    Q[:, np.arange(d), np.arange(d)] = np.exp(q)
    sums = np.sum(q, axis=1)

    centered = (x @ Q.reshape(k * d, d).T).reshape(n, k, d) - (Q @ mu[:, :, None])[:, :, 0]
    terms = alpha + sums - 0.5 * np.sum(centered**2, axis=2)
    likelihood = -0.5 * n * d * np.log(2 * np.pi) + np.sum(logsumexp(terms)) - n * logsumexp(alpha)

    freedom = d + m + 1
    constant = freedom * d * (np.log(gamma) - 0.5 * np.log(2)) - multigammaln(0.5 * freedom, d)
    prior = 0.5 * gamma**2 * np.sum(Q**2) - m * np.sum(sums)
    return likelihood - prior + k * constant


def arguments(data):
    d, k = data["d"], data["k"]
    l = np.array(data["l"], dtype=float).reshape(k, d * (d - 1) // 2)  # noqa: E741
    fitted = np.array(data["alpha"]), np.array(data["mu"]), np.array(data["q"]), l
    return *fitted, np.array(data["x"]), data["gamma"], data["m"]


def answer(result):
    return dict(zip(("alpha", "mu", "q", "l"), result, strict=True)) if isinstance(result, tuple) else result


FUNCTIONS = {
    "objective": wg.jit(log_likelihood),
    "jacobian": wg.jit(wg.grad(log_likelihood, argnums=(0, 1, 2, 3))),
}
