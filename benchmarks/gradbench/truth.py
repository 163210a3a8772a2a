"""What the evals must answer, without wengert: derivatives written by hand, differences, and known results.

Each function takes the input as JSON has it and returns the answers by the name of the function that is asked for.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation
from scipy.special import expit, gammaln, logsumexp, softmax


def answers(name: str, data: Any) -> dict[str, Any]:
    return globals()[f"_{name}"](data)


def _hello(x: float) -> dict[str, Any]:
    return {"square": x * x, "double": 2 * x}


def _ba(data: Any) -> dict[str, Any]:
    n, m, p = data["n"], data["m"], data["p"]
    z = np.concatenate([data["cam"], data["x"], [data["w"]]])

    def error(z: Any) -> Any:
        angle = np.sqrt(z[:3] @ z[:3])
        a, b, c = z[:3] / angle
        K = np.array([[0 * a, -c, b], [c, 0 * a, -a], [-b, a, 0 * a]])
        x = (np.eye(3) + np.sin(angle) * K + (1 - np.cos(angle)) * K @ K) @ (z[11:14] - z[3:6])
        u, v = x[0] / x[2], x[1] / x[2]
        factor = 1 + z[9] * (u * u + v * v) + z[10] * (u * u + v * v) ** 2
        pixel = np.array([z[6] * factor * u + z[7], z[6] * factor * v + z[8]])
        return z[14] * (pixel - data["feat"])

    block = np.stack([error(z + 1e-30j * e).imag / 1e-30 for e in np.eye(15)], axis=1)
    columns = [*range(11), *range(11 * n, 11 * n + 3), 11 * n + 3 * m]
    return {
        "objective": {
            "reproj_error": {"elements": error(z).tolist(), "repeated": p},
            "w_err": {"element": 1 - z[14] ** 2, "repeated": p},
        },
        "jacobian": {
            "rows": [*range(0, 15 * 30, 15), 31 * p],
            "cols": columns * 2 + [11 * n + 3 * m + p - 1],
            "vals": [*block.ravel().tolist(), -2 * z[14]],
        },
    }


def _det(data: Any) -> dict[str, Any]:
    A = np.array(data["A"]).reshape(data["ell"], -1)
    determinant = np.linalg.det(A)
    return {"primal": determinant, "gradient": (determinant * np.linalg.inv(A).T).ravel()}


def _gmm(data: Any) -> dict[str, Any]:
    d, k, n, gamma, m = (data[name] for name in ("d", "k", "n", "gamma", "m"))
    alpha, mu, q, x = (np.array(data[name]) for name in ("alpha", "mu", "q", "x"))
    below = np.tril(np.ones((d, d)), -1).T.astype(bool)  # its rows are the columns of the factor
    terms, factors, residuals = np.empty((n, k)), [], []
    for j in range(k):
        factor = np.zeros((d, d))
        factor[below] = data["l"][j]
        factor = factor.T + np.diag(np.exp(q[j]))
        residual = (x - mu[j]) @ factor.T
        terms[:, j] = alpha[j] + q[j].sum() - 0.5 * (residual**2).sum(axis=1)
        factors.append(factor)
        residuals.append(residual)
    share = softmax(terms, axis=1)
    frobenius = sum((factor**2).sum() for factor in factors)
    freedom = d + m + 1
    multigamma = 0.25 * d * (d - 1) * np.log(np.pi) + sum(gammaln(0.5 * (freedom - j)) for j in range(d))
    constant = freedom * d * (np.log(gamma) - 0.5 * np.log(2)) - multigamma
    prior = k * constant - 0.5 * gamma**2 * frobenius + m * q.sum()
    likelihood = logsumexp(terms, axis=1).sum() - n * logsumexp(alpha) - 0.5 * n * d * np.log(2 * np.pi)
    gradient: dict[str, Any] = {"alpha": share.sum(axis=0) - n * softmax(alpha), "mu": [], "q": [], "l": []}
    for j, (factor, residual) in enumerate(zip(factors, residuals, strict=True)):
        weighted = share[:, j, None] * residual
        gradient["mu"].append(weighted.sum(axis=0) @ factor)
        of_factor = -weighted.T @ (x - mu[j]) - gamma**2 * factor
        gradient["q"].append(share[:, j].sum() + m + np.diag(of_factor) * np.exp(q[j]))
        gradient["l"].append(of_factor.T[below])
    return {"objective": likelihood + prior, "jacobian": gradient}


def _ht(data: Any) -> dict[str, Any]:
    model = data["data"]["model"]
    points, us = np.array(data["data"]["points"]), np.array(data["us"])
    weights, base = np.array(model["weights"]), np.array(model["base_positions"])
    chosen = np.array(data["data"]["correspondences"])
    corners = np.array(model["triangles"])[chosen] if len(us) else chosen

    def error(theta: Any, us: Any) -> Any:
        absolute: list[Any] = []
        total = np.zeros((len(base), 4))
        for bone, parent in enumerate(model["parents"]):
            finger, joint = divmod(bone - 2, 4)
            local = np.eye(4)
            if 0 <= finger < 5 and joint < 3:
                angles = theta[6 + 4 * finger :]
                bend = angles[0] if joint == 0 else angles[joint + 1]
                spread = angles[1] if joint == 0 else 0.0
                local[:3, :3] = Rotation.from_euler("xz", [bend, spread]).as_matrix()
            own = np.array(model["base_relatives"][bone]) @ local
            absolute.append(own if parent == -1 else absolute[parent] @ own)
            transform = absolute[-1] @ np.array(model["inverse_base_absolutes"][bone])
            total += weights[:, bone, None] * (base @ transform.T)
        positions = total[:, :3] * ([-1, 1, 1] if model["is_mirrored"] else [1, 1, 1])
        positions = Rotation.from_rotvec(theta[:3]).apply(positions) + theta[3:6]
        at = positions[corners]
        if len(us):
            share = np.column_stack([us, 1 - us.sum(axis=1)])
            at = (share[:, :, None] * at).sum(axis=1)
        return (points - at).ravel()

    theta, h = np.array(data["theta"]), 1e-6
    columns = [(error(theta + h * e, us) - error(theta - h * e, us)) / (2 * h) for e in np.eye(26)]
    if len(us):
        columns[:0] = [(error(theta, us + h * e) - error(theta, us - h * e)) / (2 * h) for e in np.eye(2)]
    return {"objective": error(theta, us), "jacobian": np.stack(columns, axis=1)}


def _kmeans(data: Any) -> dict[str, Any]:
    points, centroids = np.array(data["points"]), np.array(data["centroids"])
    cost, sums, counts = 0.0, np.zeros_like(centroids), np.zeros(len(centroids))
    for point in points:
        distances = ((centroids - point) ** 2).sum(axis=1)
        nearest = distances.argmin()
        cost += distances[nearest]
        sums[nearest] += point
        counts[nearest] += 1
    return {"cost": cost, "dir": centroids - sums / counts[:, None]}


def _llsq(data: Any) -> dict[str, Any]:
    x, n = np.array(data["x"]), data["n"]
    t = -1 + 2 * np.arange(n) / (n - 1)
    powers = t[:, None] ** np.arange(len(x))
    residual = np.sign(t) - np.polynomial.polynomial.polyval(t, x)
    return {"primal": 0.5 * (residual**2).sum(), "gradient": -residual @ powers}


def _lse(data: Any) -> dict[str, Any]:
    return {"primal": logsumexp(data["x"]), "gradient": softmax(data["x"])}


def _lstm(data: Any) -> dict[str, Any]:
    """Go forward through all layers at each time, and backward in the opposite order."""
    main, extra, state, sequence = (np.array(data[k]) for k in ("main_params", "extra_params", "state", "sequence"))
    layers, width = len(main) // 2, sequence.shape[1]
    main = main.reshape(layers, 2, 4, width)
    hidden, cell = list(state[::2]), list(state[1::2])
    total, records, slopes = 0.0, [], []
    for now, following in pairwise(sequence):
        value, record = now * extra[0], []
        for k, ((wf, wi, wo, wc), (bf, bi, bo, bc)) in enumerate(main):
            f, i = expit(wf * value + bf), expit(wi * hidden[k] + bi)
            o, c = expit(wo * value + bo), np.tanh(wc * hidden[k] + bc)
            record.append((value, hidden[k], cell[k], f, i, o, c))
            cell[k] = cell[k] * f + i * c
            hidden[k] = value = o * np.tanh(cell[k])
        y = value * extra[1] + extra[2]
        shift = np.log(np.exp(y).sum() + 2)
        total += following @ (y - shift)
        records.append((now, record, value))
        slopes.append(following - following.sum() * np.exp(y - shift))
    main_bar, extra_bar = np.zeros_like(main), np.zeros_like(extra)
    hidden_bar, cell_bar = np.zeros((2, layers, width))
    for (now, record, value), y_bar in zip(reversed(records), reversed(slopes), strict=True):
        extra_bar[1] += y_bar * value
        extra_bar[2] += y_bar
        value_bar = y_bar * extra[1]
        for k in reversed(range(layers)):
            value, before, old, f, i, o, c = record[k]
            out_bar = hidden_bar[k] + value_bar
            t = np.tanh(old * f + i * c)
            new_bar = cell_bar[k] + out_bar * o * (1 - t * t)
            of_f, of_i, of_o, of_c = new_bar * old, new_bar * c, out_bar * t, new_bar * i
            inner = of_f * f * (1 - f), of_i * i * (1 - i), of_o * o * (1 - o), of_c * (1 - c * c)
            source = value, before, value, before
            for gate in range(4):
                main_bar[k, 0, gate] += inner[gate] * source[gate]
                main_bar[k, 1, gate] += inner[gate]
            weight = main[k, 0]
            value_bar = inner[0] * weight[0] + inner[2] * weight[2]
            hidden_bar[k] = inner[1] * weight[1] + inner[3] * weight[3]
            cell_bar[k] = new_bar * f
        extra_bar[0] += value_bar * now
    count = width * len(records)
    return {"objective": -total / count, "jacobian": -np.concatenate([main_bar.ravel(), extra_bar.ravel()]) / count}


def _ode(data: Any) -> dict[str, Any]:
    """The last component is a multiple of the product of all x, so its derivative by one of them is it over that."""
    x, s = np.array(data["x"]), data["s"]

    def rate(y: Any) -> Any:
        result = x.copy()
        result[1:] *= y[:-1]
        return result

    y, h = np.zeros_like(x), 2 / s
    for _ in range(s):
        slopes = [rate(y)]
        for part in (h / 2, h / 2, h):
            slopes.append(rate(y + part * slopes[-1]))
        y = y + h * np.average(slopes, axis=0, weights=[1, 2, 2, 1])
    return {"primal": y, "gradient": y[-1] / x}


def _particle(data: Any) -> dict[str, Any]:
    return dict.fromkeys(("ff", "fr", "rf", "rr"), 0.2071918746486116)


def _saddle(data: Any) -> dict[str, Any]:
    return dict.fromkeys(("ff", "fr", "rf", "rr"), np.zeros(4))
