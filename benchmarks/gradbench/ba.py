"""ba: errors of reprojection of points by cameras, and their sparse Jacobian: two rows of 15 entries an observation."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

import wengert as wg


def rotate(axis, x):
    """Rotate a point by an angle and an axis in one vector: the formula of Rodrigues."""
    angle = np.sqrt(np.sum(axis**2, axis=0))
    n = axis / angle
    cross = np.stack([n[1] * x[2] - n[2] * x[1], n[2] * x[0] - n[0] * x[2], n[0] * x[1] - n[1] * x[0]])
    cosine = np.cos(angle)
    return x * cosine + cross * np.sin(angle) + n * (np.sum(n * x, axis=0) * (1 - cosine))


def reprojection(z, feature):
    """Return the weighted error of one observation, of the 11 numbers of its camera, its point and its weight."""
    axis, center, focal, principal, radial, point, weight = z[:3], z[3:6], z[6], z[7:9], z[9:11], z[11:14], z[14]
    seen = rotate(axis, point - center)
    seen = seen[:2] / seen[2]
    square = np.sum(seen**2, axis=0)
    seen = seen * (1 + square * (radial[0] + radial[1] * square))
    return weight * (seen * focal + principal - feature)


def gather(cameras, points, weights, observed):
    """Return the arguments of all observations, one a column."""
    camera, point = observed
    return np.concatenate([cameras.T[:, camera], points.T[:, point], weights[None]])


blocks = wg.jit(wg.vmap(wg.jacobian(reprojection, mode="elimination"), in_axes=1))
"""The 2 x 15 block of each observation, by straight-line code of vectors."""


def objective(cameras, points, weights, observed, features):
    return reprojection(gather(cameras, points, weights, observed), features), 1 - weights**2


def jacobian(cameras, points, weights, observed, features):
    values = blocks(gather(cameras, points, weights, observed), features)
    return assemble(values, -2 * weights, observed, len(cameras), len(points))


def assemble(values, own, observed, n, m):
    """Return the matrix of all: a dense block of 2 x 15 for each observation, and an entry for each weight."""
    p = len(own)
    camera, point = (indices.astype(np.int32)[:, None] for indices in observed)
    of_camera = 11 * camera + np.arange(11, dtype=np.int32)
    of_point = 11 * n + 3 * point + np.arange(3, dtype=np.int32)
    weight = np.arange(11 * n + 3 * m, 11 * n + 3 * m + p, dtype=np.int32)
    row = np.concatenate([of_camera, of_point, weight[:, None]], axis=1)
    columns = np.concatenate([np.repeat(row, 2, axis=0).ravel(), weight])
    starts = np.concatenate([np.arange(0, 30 * p, 15), np.arange(30 * p, 31 * p + 1)]).astype(np.int32)
    return csr_array((np.concatenate([values.ravel(), own]), columns, starts), shape=(3 * p, 11 * n + 3 * m + p))


def arguments(data):
    n, m, p = data["n"], data["m"], data["p"]
    observation = np.arange(p)
    return (
        np.tile(data["cam"], (n, 1)),
        np.tile(data["x"], (m, 1)),
        np.full(p, data["w"]),
        (observation % n, observation % m),
        np.tile(np.array(data["feat"])[:, None], p),
    )


def answer(result):
    if isinstance(result, tuple):
        errors, own = result
        return {
            "reproj_error": {"elements": errors[:, 0], "repeated": errors.shape[1]},
            "w_err": {"element": own[0], "repeated": len(own)},
        }
    parts = {"rows": result.indptr, "cols": result.indices, "vals": result.data}
    return {name: np.append(part[:30], part[-1]) for name, part in parts.items()}


FUNCTIONS = {"objective": objective, "jacobian": jacobian}
