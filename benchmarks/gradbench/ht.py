"""ht: distances of points to a hand that 26 angles and shifts move; the Jacobian, by the corners in two columns.

An error depends on the two barycentric coordinates of its own point only, so the columns of these are compressed into
two: the derivative by a shift that all points share.
"""

from __future__ import annotations

import numpy as np

import wengert as wg

FINGERS = [2, 2, 3, 4, 6, 6, 7, 8, 10, 10, 11, 12, 14, 14, 15, 16, 18, 18, 19, 20]
"""The bone that each angle of a finger turns; the first bone of a finger has two."""
AXES = [0, 1, 0, 0] * 5
"""The axis that it turns about: 0 for x, 1 for z."""


def global_rotation(axis):
    """Return the matrix of a rotation by an angle and an axis in one vector."""
    angle = np.sqrt(np.sum(axis**2))
    if angle < 0.0001:
        return np.eye(3)
    x, y, z = axis / angle
    cosine = np.cos(angle)
    K = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    n = np.array([x, y, z])
    return cosine * np.eye(3) + (1 - cosine) * np.outer(n, n) + np.sin(angle) * K


def bone_rotations(angles, bones):
    """Return the matrices Rz Rx of all bones, homogeneous."""
    turns = np.zeros((bones, 2))
    turns[FINGERS, AXES] = angles
    (cx, cz), (sx, sz) = np.cos(turns).T, np.sin(turns).T
    R = np.zeros((bones, 4, 4))
    R[:, 0, 0], R[:, 0, 1], R[:, 0, 2] = cz, -sz * cx, sz * sx
    R[:, 1, 0], R[:, 1, 1], R[:, 1, 2] = sz, cz * cx, -cz * sx
    R[:, 2, 1], R[:, 2, 2] = sx, cx
    R[:, 3, 3] = 1.0
    return R


def positions(theta, hand):
    """Return the positions of the hand's vertices: each is moved by all bones, by weights."""
    relative = hand["base_relatives"] @ bone_rotations(theta[6:], len(hand["parents"]))
    absolute = []
    for own, parent in zip(relative, hand["parents"], strict=True):
        absolute.append(own if parent < 0 else absolute[parent] @ own)
    transforms = (np.stack(absolute) @ hand["inverse_base_absolutes"])[:, :3]
    moved = global_rotation(theta[:3]) @ (hand["mirror"] * transforms)
    return hand["blend"] @ np.swapaxes(moved, 1, 2).reshape(-1, 3) + theta[3:6]


def errors(theta, us, hand, points):
    vertices = positions(theta, hand)[hand["corners"]]
    if us is None:
        return points - vertices
    u, v = us[:, :1], us[:, 1:]
    return points - (u * vertices[:, 0] + v * vertices[:, 1] + (1 - u - v) * vertices[:, 2])


def jacobian(theta, us, hand, points):
    if us is None:
        J = wg.jacobian(errors)(theta, None, hand, points)
    else:

        def moved(z):
            return errors(z[2:], us + z[:2], hand, points)

        J = wg.jacobian(moved)(np.concatenate([np.zeros(2), theta]))
    return J.reshape(points.size, -1)


def arguments(data):
    model = data["data"]["model"]
    us = np.array(data["us"]) if data["us"] else None
    corners = np.array(data["data"]["correspondences"])
    if us is not None:
        corners = np.array(model["triangles"])[corners]
    weights, base = np.array(model["weights"]), np.array(model["base_positions"])
    hand = {
        "parents": model["parents"],
        "base_relatives": np.array(model["base_relatives"]),
        "inverse_base_absolutes": np.array(model["inverse_base_absolutes"]),
        "blend": (weights[:, :, None] * base[:, None, :]).reshape(len(base), -1),
        "mirror": np.array([[-1.0 if model["is_mirrored"] else 1.0], [1.0], [1.0]]),
        "corners": corners,
    }
    return np.array(data["theta"]), us, hand, np.array(data["data"]["points"])


def answer(result):
    return result if result.shape[1] > 3 else result.ravel()


FUNCTIONS = {"objective": wg.jit(errors), "jacobian": wg.jit(jacobian)}
