"""Adjust a bundle: recover cameras and points in space from where the points are seen in the pictures.

The camera is that of Agarwal et al. (2010), "Bundle adjustment in the large": nine numbers, a rotation vector turned
into a rotation by Rodrigues' formula, a translation, a focal length and two coefficients of radial distortion.  The
residuals are gathered by fancy indexing, and `wg.jacobian` gives SciPy's least squares what it needs.
"""

import numpy as np
from scipy.optimize import least_squares

import wengert as wg


def rotate(points, vectors):
    """Rotate points by rotation vectors, each by its own: Rodrigues' formula."""
    angle = np.sqrt(np.sum(vectors**2, axis=1, keepdims=True))
    axis = vectors / angle
    along = np.sum(axis * points, axis=1, keepdims=True) * axis
    return np.cos(angle) * points + np.sin(angle) * np.cross(axis, points) + (1 - np.cos(angle)) * along


def project(cameras, points):
    """Project points, each by its own camera: rotation (3), translation (3), focal length, two of distortion."""
    seen = rotate(points, cameras[:, :3]) + cameras[:, 3:6]
    plane = -seen[:, :2] / seen[:, 2:]
    squares = np.sum(plane**2, axis=1)
    distortion = 1 + cameras[:, 7] * squares + cameras[:, 8] * squares**2
    return (cameras[:, 6] * distortion)[:, None] * plane


def residuals(cameras, points, camera_indices, point_indices, observed):
    """Differences between where points should be seen and where they are: (observations, 2)."""
    return project(cameras[camera_indices], points[point_indices]) - observed


def cost(cameras, points, camera_indices, point_indices, observed):
    """Half the sum of squared residuals."""
    return 0.5 * np.sum(residuals(cameras, points, camera_indices, point_indices, observed) ** 2)


def scene(cameras, points, noise=1e-3, seed=0):
    """Make cameras around a cloud of points; each sees about two thirds of it."""
    rng = np.random.default_rng(seed)
    parameters = np.zeros((cameras, 9))
    parameters[:, :3] = rng.normal(size=(cameras, 3)) * 0.3
    parameters[:, 3:6] = rng.normal(size=(cameras, 3)) * 0.3 + [0.0, 0.0, -6.0]
    parameters[:, 6:] = rng.normal(size=(cameras, 3)) * [0.05, 0.01, 0.01] + [1.0, -0.1, 0.02]
    cloud = rng.normal(size=(points, 3))
    camera_indices, point_indices = np.nonzero(rng.uniform(size=(cameras, points)) < 0.67)
    observed = project(parameters[camera_indices], cloud[point_indices])
    observed = observed + noise * rng.normal(size=observed.shape)
    return parameters, cloud, camera_indices, point_indices, observed


def problem(cameras=3, points=7):
    """Return a function, its arguments, and the positions to differentiate with respect to."""
    parameters, cloud, *seen = scene(cameras, points)
    rng = np.random.default_rng(1)
    moved = parameters + 0.05 * rng.normal(size=parameters.shape), cloud + 0.1 * rng.normal(size=cloud.shape)
    return cost, (*moved, *seen), (0, 1)


def main(iterations=15, cameras=5, points=20):
    parameters, cloud, *seen = scene(cameras, points)
    rng = np.random.default_rng(1)
    guess = parameters + 0.02 * rng.normal(size=parameters.shape), cloud + 0.2 * rng.normal(size=cloud.shape)

    def unpack(flat):
        return flat[: 9 * cameras].reshape(cameras, 9), flat[9 * cameras :].reshape(points, 3)

    def flat_residuals(flat):
        return residuals(*unpack(flat), *seen).ravel()

    start = np.concatenate([part.ravel() for part in guess])
    jacobian = wg.jacobian(flat_residuals)
    shape = jacobian(start).shape
    print(f"{cameras} cameras, {points} points: a Jacobian of {shape[0]} residuals by {shape[1]} unknowns")
    fit = least_squares(flat_residuals, start, jac=jacobian, max_nfev=iterations)

    def spread(flat):
        return np.sqrt(np.mean(flat_residuals(flat) ** 2))

    print(f"root mean square of the residuals {spread(start):.5f} -> {spread(fit.x):.5f} in {fit.nfev} steps")
    print("(the pictures were made with noise of 0.00100)\n")
    before, after = (np.sqrt(np.sum(residuals(*unpack(flat), *seen) ** 2, axis=1)) for flat in (start, fit.x))
    print("camera   points seen   distance of the points from where they are seen: before, after")
    for k in range(cameras):
        mine = seen[0] == k
        print(f"{k:6} {np.sum(mine):13}   {np.mean(before[mine]):10.5f} {np.mean(after[mine]):10.5f}")


if __name__ == "__main__":
    main()
