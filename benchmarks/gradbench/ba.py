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


SIZE = 8192
"""So many observations are computed at once: their arrays stay in the cache."""


def jacobian(cameras, points, weights, observed, features):
    """Return the matrix of all: a dense block of 2 x 15 for each observation, and an entry for each weight."""
    n, m, p = len(cameras), len(points), len(weights)
    values, columns = np.empty(31 * p), np.empty(31 * p, np.int32)
    dense = values[: 30 * p].reshape(p, 2, 15)
    for start in range(0, p, SIZE):
        part = slice(max(0, min(start, p - SIZE)), start + SIZE)  # the last one overlaps: all are of one size
        z = gather(cameras, points, weights[part], (observed[0][part], observed[1][part]))
        dense[part] = blocks(z, features[:, part])
    values[30 * p :] = -2 * weights
    weight = np.arange(11 * n + 3 * m, 11 * n + 3 * m + p, dtype=np.int32)
    of_camera, of_point, of_weight = np.split(columns[: 30 * p].reshape(p, 2, 15), [11, 14], axis=2)
    of_camera[:] = (11 * observed[0][:, None] + np.arange(11))[:, None]
    of_point[:] = (11 * n + 3 * observed[1][:, None] + np.arange(3))[:, None]
    of_weight[:] = weight[:, None, None]
    columns[30 * p :] = weight
    starts = np.concatenate([np.arange(0, 30 * p, 15), np.arange(30 * p, 31 * p + 1)]).astype(np.int32)
    return csr_array((values, columns, starts), shape=(3 * p, 11 * n + 3 * m + p))


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
