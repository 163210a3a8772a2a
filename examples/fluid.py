"""Steer smoke: find the initial velocities of a fluid that carry a bar of smoke into the shape of a ring.

The solver is Stam's (1999, "Stable fluids") on a periodic grid: smoke and velocities are advected by looking back along
the flow and interpolating between four cells (fancy indexing), then the velocities are made free of divergence by a few
sweeps of Jacobi's method for the pressure (`np.roll`).  The gradient goes back through every time step.
"""

import numpy as np
from scipy.optimize import minimize

import wengert as wg


def project(vx, vy, sweeps=10):
    """Take out of a velocity field what would compress the fluid."""
    p = np.zeros(vx.shape)
    outflow = np.roll(vx, -1, axis=0) - np.roll(vx, 1, axis=0) + np.roll(vy, -1, axis=1) - np.roll(vy, 1, axis=1)
    for _ in range(sweeps):
        neighbors = np.roll(p, 1, axis=0) + np.roll(p, -1, axis=0) + np.roll(p, 1, axis=1) + np.roll(p, -1, axis=1)
        p = (neighbors - 0.5 * outflow) / 4.0
    vx = vx - 0.5 * (np.roll(p, -1, axis=0) - np.roll(p, 1, axis=0))
    vy = vy - 0.5 * (np.roll(p, -1, axis=1) - np.roll(p, 1, axis=1))
    return vx, vy


def advect(field, vx, vy):
    """Move a field along the flow: each cell takes the value of the place that its fluid came from."""
    rows, columns = field.shape
    x, y = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    x, y = x - vx, y - vy
    top, left = np.floor(x).astype(int), np.floor(y).astype(int)
    down, right = x - top, y - left
    top, left = top % rows, left % columns
    bottom, beside = (top + 1) % rows, (left + 1) % columns
    upper = (1 - right) * field[top, left] + right * field[top, beside]
    lower = (1 - right) * field[bottom, left] + right * field[bottom, beside]
    return (1 - down) * upper + down * lower


def simulate(vx, vy, smoke, steps):
    """Return the smoke after a number of time steps."""
    for _ in range(steps):
        vx, vy = advect(vx, vx, vy), advect(vy, vx, vy)
        vx, vy = project(vx, vy)
        smoke = advect(smoke, vx, vy)
    return smoke


def distance(velocities, smoke, target, steps):
    """Mean squared distance of the smoke from the target, from initial velocities of shape (2, rows, columns)."""
    vx, vy = project(velocities[0], velocities[1])
    return np.mean((simulate(vx, vy, smoke, steps) - target) ** 2)


def bar_and_ring(size):
    """Return the smoke at the start and the smoke that is wanted."""
    x, y = np.meshgrid(np.linspace(-1, 1, size), np.linspace(-1, 1, size), indexing="ij")
    radius = np.sqrt(x**2 + y**2)
    return np.where(np.abs(x) < 0.3, 1.0, 0.0), np.exp(-40 * (radius - 0.55) ** 2)


def problem(size=7, steps=3):
    """Return a function, its arguments, and the positions to differentiate with respect to."""
    smoke, target = bar_and_ring(size)
    velocities = 0.6 * np.random.default_rng(0).normal(size=(2, size, size))
    return distance, (velocities, smoke, target, steps), (0,)


def picture(smoke):
    """Draw smoke with characters."""
    levels = np.clip(smoke * 5, 0, 4.99).astype(int)
    return [" ".join(" .:o@"[level] for level in row) for row in levels]


def main(iterations=40, size=22, steps=12):
    smoke, target = bar_and_ring(size)
    gradient = wg.value_and_grad(distance)

    def objective(flat):
        value, slope = gradient(flat.reshape(2, size, size), smoke, target, steps)
        return value, slope.ravel()

    found = minimize(objective, np.zeros(2 * size * size), jac=True, method="L-BFGS-B", options={"maxiter": iterations})
    start = distance(np.zeros((2, size, size)), smoke, target, steps)
    print(f"{2 * size * size} velocities; squared distance from the ring {start:.4f} -> {found.fun:.4f}")
    vx, vy = project(*found.x.reshape(2, size, size))
    for t in (0, steps // 2, steps):
        print(f"\nafter {t} steps")
        print("\n".join(picture(simulate(vx, vy, smoke, t))))


if __name__ == "__main__":
    main()
