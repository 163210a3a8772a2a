"""kmeans: squared distances of points to their nearest centroids, and Newton's direction: the Hessian is diagonal."""

from __future__ import annotations

import numpy as np

import wengert as wg


def assign(centroids, points):
    """Return the number of the nearest centroid of each point; that of the point itself need not be squared."""
    return np.argmin(np.sum(centroids**2, axis=1) - 2 * points @ centroids.T, axis=1)


def cost(centroids, points):
    nearest = assign(wg.stop_gradient(centroids), points)  # a choice: no tangents of all distances
    return np.sum((points - centroids[nearest]) ** 2)


def direction(centroids, points):
    """Return the gradient over the diagonal of the Hessian: its product with ones, as there is nothing else."""
    gradient, diagonal = wg.jvp(lambda c: wg.grad(cost)(c, points), (centroids,), (np.ones_like(centroids),))
    return gradient / diagonal


def arguments(data):
    return np.array(data["centroids"]), np.array(data["points"])


FUNCTIONS = {"cost": wg.jit(cost), "dir": wg.jit(direction)}
