"""Hit a target with a chain of springs: forces are added up in place, and the throw is found by the gradient.

Masses in a row are joined by springs with friction; ``F[i] += f; F[j] -= f`` as one writes it, and the time steps are
those of Euler and Cromer, in place too.  The initial velocities and the stiffness of each spring are adjusted until
the chain, thrown from the floor, lies around the target at the end.
"""

import numpy as np

import wengert as wg

GRAVITY = np.array([0.0, -9.81])


def forces(x, v, stiffness, length, friction):
    """Force on each mass: gravity, and each spring on the two masses it joins."""
    F = np.zeros(x.shape)
    F += GRAVITY
    for i in range(len(x) - 1):
        j = i + 1
        d = x[j] - x[i]
        distance = np.sqrt(np.sum(d**2))
        f = stiffness[i] * (distance - length) * d / distance + friction * (v[j] - v[i])
        F[i] += f
        F[j] -= f
    return F


def simulate(x, v, stiffness, steps, h, length=0.25, friction=0.5):
    """Return the positions at all time steps: (steps + 1, masses, 2)."""
    x, v = np.array(x), np.array(v)  # the arrays that are given stay as they are
    path = np.zeros((steps + 1, *x.shape))
    path[0] = x
    for k in range(steps):
        v += h * forces(x, v, stiffness, length, friction)
        x += h * v
        path[k + 1] = x
    return path


def miss(v, log_stiffness, x, target, steps, h):
    """Mean squared distance of the masses from the target at the end."""
    path = simulate(x, v, np.exp(log_stiffness), steps, h)
    return np.mean((path[-1] - target) ** 2)


def chain(masses):
    """Return a chain that lies on the floor, a throw, and logarithms of stiffness."""
    x = np.stack([0.25 * np.arange(masses), np.zeros(masses)], axis=1)
    v = np.stack([np.full(masses, 2.0), np.linspace(4.0, 6.0, masses)], axis=1)
    return x, v, np.log(np.full(masses - 1, 60.0))


def problem(masses=4, steps=5):
    """Return a function, its arguments, and the positions to differentiate with respect to."""
    x, v, log_stiffness = chain(masses)
    return miss, (v, log_stiffness, x, np.array([3.0, 1.0]), steps, 0.02), (0, 1)


def main(iterations=60, masses=5, steps=40, h=0.02):
    x, v, log_stiffness = chain(masses)
    target = np.array([3.0, 1.0])
    gradient = wg.value_and_grad(miss, argnums=(0, 1))
    for k in range(iterations + 1):
        value, (v_slope, s_slope) = gradient(v, log_stiffness, x, target, steps, h)
        if k % 20 == 0 or k == iterations:
            print(f"step {k:3}: root mean square distance from the target {np.sqrt(value):.4f}")
        v, log_stiffness = v - 2.0 * v_slope, log_stiffness - 2.0 * s_slope
    path = simulate(x, v, np.exp(log_stiffness), steps, h)
    grid = [[" "] * 76 for _ in range(18)]
    for t in range(0, steps + 1, max(1, steps // 6)):
        for px, py in path[t]:
            row, column = 15 - round(py / 0.11), round(px / 0.06) + 4
            if 0 <= row < 18 and 0 <= column < 76:
                grid[row][column] = "o"
    grid[15 - round(target[1] / 0.11)][round(target[0] / 0.06) + 4] = "X"
    print("\n".join("".join(row) for row in grid))
    print("stiffness of the springs:", np.round(np.exp(log_stiffness), 1))


if __name__ == "__main__":
    main()
