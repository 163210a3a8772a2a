"""Functions whose Jacobians the literature counts: RoeFlux_1d and RobotArm_6DOF, as in AlphaGrad (NeurIPS 2024).

Each vertex of their graphs is an elementary operation, from left to right; nothing that occurs twice is shared.
"""

from __future__ import annotations

import numpy as np

GAMMA = 0.5


def pressure(a, b, c):
    return (GAMMA - 1) * (c - 0.5 * b**2 / a)


def enthalpy(a, e, p):
    return (e + p) / a


def flux(a, b, c, p):
    v = b / a
    return b, p + b * v, v * (p + c)


def roe_flux(x):
    """Return the flux of Roe's scheme for the one-dimensional Euler equations."""
    l0, l1, l2, r0, r1, r2 = x
    d0 = r0 - l0
    s = np.sqrt(l0 * r0)
    w = np.sqrt(l0) + np.sqrt(r0)
    v_left = l1 / l0
    p_left = pressure(l0, l1, l2)
    h_left = enthalpy(l0, l2, p_left)
    v_right = r1 / r0
    p_right = pressure(r0, r1, r2)
    h_right = enthalpy(r0, r2, p_right)
    dp = p_right - p_left
    dv = v_right - v_left
    u = (np.sqrt(l0) * v_left + np.sqrt(r0) * v_right) / w
    h = (np.sqrt(l0) * h_left + np.sqrt(r0) * h_right) / w
    q = u**2
    a2 = (GAMMA - 1) * (h - 0.5 * q)
    a = np.sqrt(a2)
    l_plus, l_zero, l_minus = abs(u + a), abs(u), abs(u)
    n = a * s
    c0 = (d0 - dp / a2) * l_zero
    c1 = (dv + dp / n) * l_plus
    c2 = (dv - dp / n) * l_minus
    left, right = flux(l0, l1, l2, p_left), flux(r0, r1, r2, p_right)
    c = 0.5 * s / a
    D = (
        c0 + c * c1 - c * c2,
        c0 * u + c * c1 * (u + a) - c * c2 * (u - a),
        c0 * 0.5 * q + c * c1 * (h + u * a) - c * c2 * (h - u * a),
    )
    return np.array([0.5 * (f + g - d) for f, g, d in zip(left, right, D, strict=True)])


def robot_arm(t):
    """Return the position and the orientation of the end of a robot's arm with six joints."""
    t1, t2, t3, t4, t5, t6 = t
    a1, a2, a3, d1, d4, d6 = 175.0, 890.0, 50.0, 575.0, 1035.0, 185.0
    cos, sin = np.cos, np.sin
    c1, c2, c4, c5, c6 = cos(t1), cos(t2), cos(t4), cos(t5), cos(t6)
    s1, s2, s4, s5, s6 = sin(t1), sin(t2), sin(t4), sin(t5), sin(t6)
    c23 = cos(t2) * cos(t3) - sin(t2) * sin(t3)
    s23 = cos(t2) * sin(t3) + sin(t2) * cos(t3)
    ax = s5 * (c1 * c23 * c4 + s1 * s4) + c1 * s23 * c5
    ay = s5 * (s1 * c23 * c4 - c1 * s4) + s1 * s23 * c5
    az = s23 * c4 * s5 - c23 * c5
    nz = c6 * (c23 * s5 + s23 * c4 * c5) - s23 * s4 * s6
    oz = -s6 * (c23 * s5 + s23 * c4 * c5) - s23 * s4 * c6
    px = d6 * (s5 * (c1 * c23 * c4 + s1 * s4) + c1 * s23 * c5) + c1 * (a1 + a2 * c2 + a3 * c23 + d4 * s23)
    py = d6 * (s5 * (s1 * c23 * c4 + c1 * s4) + s1 * s23 * c5) + s1 * (a1 + a2 * c2 + a3 * c23 + d4 * s23)
    pz = a2 * s2 + d1 + a3 * s23 - d4 * c23 + d6 * (s23 * c4 * s5 - c23 * c5)
    return np.array([px, py, pz, np.arctan2(ay, ax), np.arctan2(np.sqrt(1 - az**2), az), np.arctan2(oz, -nz)])


STATE = np.array([1.0, 0.2, -1.5, 1.3, 0.35, -2.0])
"""A left and a right state: density, momentum and energy, where the speed of sound is real for this gamma."""
ANGLES = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
