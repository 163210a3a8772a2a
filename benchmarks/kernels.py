"""Scientific kernels in plain NumPy: the gradient by `wg.jit`, and by JAX of a port as its users write it.

The kernels are of the kinds of NPBench: stencils that go through time in place, factorizations and solves by loops,
recurrences over rows and columns, a flow in a cavity, bodies, filters, integrals of spectra, small networks.  Each
returns one number, which is differentiated by its first argument; the gradients of both libraries are compared.  Times
are the processor's, of a call and of the first one, which traces and compiles.

Run:  python benchmarks/kernels.py [--rounds 5] [--only jacobi lu ...]
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import harness  # isort: skip  # before NumPy

os.environ.pop("WENGERT_NATIVE", None)  # as its users have it: after as long as compiling takes
import numpy as np

import wengert as wg

jax = harness.peer("jax")
if jax:
    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp
    from jax import lax

rng = np.random.default_rng(0)

# ---- Stencils that go through time in place ----


def jacobi(A, steps):
    """Average each inner element with its four neighbours, over and over, between two arrays."""
    A, B = A.copy(), A.copy()
    for _ in range(steps):
        B[1:-1, 1:-1] = 0.2 * (A[1:-1, 1:-1] + A[1:-1, :-2] + A[1:-1, 2:] + A[2:, 1:-1] + A[:-2, 1:-1])
        A[1:-1, 1:-1] = 0.2 * (B[1:-1, 1:-1] + B[1:-1, :-2] + B[1:-1, 2:] + B[2:, 1:-1] + B[:-2, 1:-1])
    return np.sum(A * A)


def jax_jacobi(A, steps):
    def sweep(_, A):
        for _ in range(2):
            mean = 0.2 * (A[1:-1, 1:-1] + A[1:-1, :-2] + A[1:-1, 2:] + A[2:, 1:-1] + A[:-2, 1:-1])
            A = A.at[1:-1, 1:-1].set(mean)
        return A

    A = lax.fori_loop(0, steps, sweep, A)
    return jnp.sum(A * A)


def heat(u, steps):
    """Conduct heat in a block: second differences along three axes."""
    u = u.copy()
    for _ in range(steps):
        inner = u[1:-1, 1:-1, 1:-1]
        u[1:-1, 1:-1, 1:-1] = (
            inner
            + 0.125 * (u[2:, 1:-1, 1:-1] - 2.0 * inner + u[:-2, 1:-1, 1:-1])
            + 0.125 * (u[1:-1, 2:, 1:-1] - 2.0 * inner + u[1:-1, :-2, 1:-1])
            + 0.125 * (u[1:-1, 1:-1, 2:] - 2.0 * inner + u[1:-1, 1:-1, :-2])
        )
    return np.sum(u * u)


def jax_heat(u, steps):
    def step(_, u):
        inner = u[1:-1, 1:-1, 1:-1]
        return u.at[1:-1, 1:-1, 1:-1].set(
            inner
            + 0.125 * (u[2:, 1:-1, 1:-1] - 2.0 * inner + u[:-2, 1:-1, 1:-1])
            + 0.125 * (u[1:-1, 2:, 1:-1] - 2.0 * inner + u[1:-1, :-2, 1:-1])
            + 0.125 * (u[1:-1, 1:-1, 2:] - 2.0 * inner + u[1:-1, 1:-1, :-2])
        )

    u = lax.fori_loop(0, steps, step, u)
    return jnp.sum(u * u)


def seidel(A, steps):
    """Average each element with its eight neighbours in place, so that half of them are new already."""
    A = A.copy()
    n = len(A)
    for _ in range(steps):
        for i in range(1, n - 1):
            for j in range(1, n - 1):
                A[i, j] = (
                    A[i - 1, j - 1] + A[i - 1, j] + A[i - 1, j + 1] + A[i, j - 1] + A[i, j]
                    + A[i, j + 1] + A[i + 1, j - 1] + A[i + 1, j] + A[i + 1, j + 1]
                ) / 9.0  # fmt: skip
    return np.sum(A * A)


def jax_seidel(A, steps):
    n = len(A)

    def element(k, A):
        i, j = 1 + k // (n - 2), 1 + k % (n - 2)
        return A.at[i, j].set(jnp.mean(lax.dynamic_slice(A, (i - 1, j - 1), (3, 3))))

    A = lax.fori_loop(0, steps, lambda _, A: lax.fori_loop(0, (n - 2) ** 2, element, A), A)
    return jnp.sum(A * A)


def waves(hz, steps):
    """Move an electromagnetic wave over a staggered grid: two components of one field, one of the other."""
    hz = hz.copy()
    ex, ey = np.zeros_like(hz), np.zeros_like(hz)
    for t in range(steps):
        ey[0, :] = 0.1 * t
        ey[1:, :] -= 0.5 * (hz[1:, :] - hz[:-1, :])
        ex[:, 1:] -= 0.5 * (hz[:, 1:] - hz[:, :-1])
        hz[:-1, :-1] -= 0.7 * (ex[:-1, 1:] - ex[:-1, :-1] + ey[1:, :-1] - ey[:-1, :-1])
    return np.sum(hz * hz)


def jax_waves(hz, steps):
    def step(t, fields):
        ex, ey, hz = fields
        ey = ey.at[0, :].set(0.1 * t)
        ey = ey.at[1:, :].add(-0.5 * (hz[1:, :] - hz[:-1, :]))
        ex = ex.at[:, 1:].add(-0.5 * (hz[:, 1:] - hz[:, :-1]))
        hz = hz.at[:-1, :-1].add(-0.7 * (ex[:-1, 1:] - ex[:-1, :-1] + ey[1:, :-1] - ey[:-1, :-1]))
        return ex, ey, hz

    hz = lax.fori_loop(0, steps, step, (jnp.zeros_like(hz), jnp.zeros_like(hz), hz))[2]
    return jnp.sum(hz * hz)


# ---- Factorizations and solves by loops ----


def lu(A):
    """Factor a matrix in place, element by element, without pivots; the logarithm of the determinant."""
    A = A.copy()
    for i in range(len(A)):
        for j in range(i):
            A[i, j] = (A[i, j] - A[i, :j] @ A[:j, j]) / A[j, j]
        for j in range(i, len(A)):
            A[i, j] -= A[i, :i] @ A[:i, j]
    return np.sum(np.log(np.diag(A)))


def jax_lu(A):
    positions = jnp.arange(len(A))

    def row(i, A):
        def below(j, A):
            dot = jnp.sum(jnp.where(positions < j, A[i] * A[:, j], 0.0))
            return A.at[i, j].set(jnp.where(j < i, (A[i, j] - dot) / A[j, j], A[i, j]))

        def above(j, A):
            dot = jnp.sum(jnp.where(positions < i, A[i] * A[:, j], 0.0))
            return A.at[i, j].set(jnp.where(j >= i, A[i, j] - dot, A[i, j]))

        return lax.fori_loop(0, len(A), above, lax.fori_loop(0, len(A), below, A))

    return jnp.sum(jnp.log(jnp.diag(lax.fori_loop(0, len(A), row, A))))


def cholesky(A):
    """Factor a positive matrix by rows; the logarithm of the determinant."""
    L = np.zeros_like(A)
    for i in range(len(A)):
        for j in range(i):
            L[i, j] = (A[i, j] - L[i, :j] @ L[j, :j]) / L[j, j]
        L[i, i] = np.sqrt(A[i, i] - L[i, :i] @ L[i, :i])
    return 2 * np.sum(np.log(np.diag(L)))


def jax_cholesky(A):
    positions = jnp.arange(len(A))

    def row(i, L):
        def entry(j, L):
            dot = jnp.sum(jnp.where(positions < j, L[i] * L[j], 0.0))
            diagonal = jnp.where(j < i, L[j, j], 1.0)
            return L.at[i, j].set(jnp.where(j < i, (A[i, j] - dot) / diagonal, L[i, j]))

        L = lax.fori_loop(0, len(A), entry, L)
        return L.at[i, i].set(jnp.sqrt(A[i, i] - jnp.sum(jnp.where(positions < i, L[i] ** 2, 0.0))))

    return 2 * jnp.sum(jnp.log(jnp.diag(lax.fori_loop(0, len(A), row, jnp.zeros_like(A)))))


def triangular_solve(L, b):
    """Substitute forward, row by row."""
    x = np.zeros_like(b)
    for i in range(len(b)):
        x[i] = (b[i] - L[i, :i] @ x[:i]) / L[i, i]
    return np.sum(x * x)


def jax_triangular_solve(L, b):
    def row(i, x):  # what is not solved for yet is zero
        return x.at[i].set((b[i] - L[i] @ x) / L[i, i])

    x = lax.fori_loop(0, len(b), row, jnp.zeros_like(b))
    return jnp.sum(x * x)


def gram_schmidt(A):
    """Make columns orthonormal, each against those after it; the sum of the triangular factor."""
    A = A.copy()
    total = 0.0
    for k in range(A.shape[1]):
        norm = np.sqrt(A[:, k] @ A[:, k])
        q = A[:, k] / norm
        projections = q @ A[:, k + 1 :]
        A[:, k + 1 :] -= np.outer(q, projections)
        total += norm + np.sum(projections)
    return total


def jax_gram_schmidt(A):
    columns = jnp.arange(A.shape[1])

    def column(k, state):
        A, total = state
        norm = jnp.sqrt(A[:, k] @ A[:, k])
        q = A[:, k] / norm
        projections = jnp.where(columns > k, q @ A, 0.0)
        return A - jnp.outer(q, projections), total + norm + jnp.sum(projections)

    return lax.fori_loop(0, A.shape[1], column, (A, 0.0))[1]


def durbin(r):
    """Solve the equations of Yule and Walker by the recursion of Durbin."""
    n = len(r)
    y = np.zeros_like(r)
    alpha, beta = -r[0], 1.0
    y[0] = alpha
    for k in range(1, n):
        beta = (1.0 - alpha * alpha) * beta
        alpha = -(r[k] + r[:k][::-1] @ y[:k]) / beta
        y[:k] = y[:k] + alpha * y[:k][::-1]
        y[k] = alpha
    return np.sum(y * y)


def jax_durbin(r):
    n = len(r)
    positions = jnp.arange(n)

    def step(k, state):
        y, alpha, beta = state
        beta = (1.0 - alpha * alpha) * beta
        reverse = jnp.where(positions < k, y[k - 1 - positions], 0.0)
        alpha = -(r[k] + r @ jnp.where(positions < k, y[k - 1 - positions], 0.0)) / beta
        return (y + alpha * reverse).at[k].set(alpha), alpha, beta

    y, _, _ = lax.fori_loop(1, n, step, (jnp.zeros_like(r).at[0].set(-r[0]), -r[0], 1.0))
    return jnp.sum(y * y)


# ---- Recurrences over rows and columns ----


def alternating(u, steps):
    """Conduct heat by alternating directions: a tridiagonal solve along columns, then along rows."""
    n = len(u)
    a, b, c = -0.5, 2.0, 1.0
    for _ in range(steps):
        for _ in range(2):
            p, q = np.zeros_like(u), np.zeros_like(u)
            v = np.zeros_like(u)
            q[:, 0] = 1.0
            for j in range(1, n - 1):
                p[1:-1, j] = -a / (a * p[1:-1, j - 1] + b)
                source = 0.5 * u[j, :-2] + c * u[j, 1:-1] + 0.5 * u[j, 2:]
                q[1:-1, j] = (source - a * q[1:-1, j - 1]) / (a * p[1:-1, j - 1] + b)
            for j in range(n - 2, 0, -1):
                v[1:-1, j] = p[1:-1, j] * v[1:-1, j + 1] + q[1:-1, j]
            u = v
    return np.sum(u * u)


def jax_alternating(u, steps):
    n = len(u)
    a, b, c = -0.5, 2.0, 1.0

    def solve(_, u):
        def forward(pq, row):
            p, q = pq
            source = 0.5 * row[:-2] + c * row[1:-1] + 0.5 * row[2:]
            new = -a / (a * p + b), (source - a * q) / (a * p + b)
            return new, new

        def backward(v, pq):
            p, q = pq
            v = p * v + q
            return v, v

        start = jnp.zeros(n - 2), jnp.ones(n - 2)
        _, coefficients = lax.scan(forward, start, u[1:-1])
        _, columns = lax.scan(backward, jnp.zeros(n - 2), coefficients, reverse=True)
        return jnp.zeros_like(u).at[1:-1, 1:-1].set(columns.T)

    u = lax.fori_loop(0, 2 * steps, solve, u)
    return jnp.sum(u * u)


def edges(image):
    """Smooth an image by recursive filters from left to right and back (after Deriche)."""
    columns = image.shape[1]
    k = (1 - np.exp(-0.25)) ** 2 / (1 + 0.5 * np.exp(-0.25) - np.exp(-0.5))
    a1, a2, b1, b2 = k, k * np.exp(-0.25) * -0.75, 2 * np.exp(-0.25), -np.exp(-0.5)
    right, left = np.zeros_like(image), np.zeros_like(image)
    right[:, 0] = a1 * image[:, 0]
    right[:, 1] = a1 * image[:, 1] + a2 * image[:, 0] + b1 * right[:, 0]
    for j in range(2, columns):
        right[:, j] = a1 * image[:, j] + a2 * image[:, j - 1] + b1 * right[:, j - 1] + b2 * right[:, j - 2]
    for j in range(columns - 3, -1, -1):
        left[:, j] = a2 * image[:, j + 1] + a1 * image[:, j + 2] + b1 * left[:, j + 1] + b2 * left[:, j + 2]
    return np.sum((right + left) ** 2)


def jax_edges(image):
    k = (1 - jnp.exp(-0.25)) ** 2 / (1 + 0.5 * jnp.exp(-0.25) - jnp.exp(-0.5))
    a1, a2, b1, b2 = k, k * jnp.exp(-0.25) * -0.75, 2 * jnp.exp(-0.25), -jnp.exp(-0.5)
    x = image.T

    def to_right(state, column):
        before, last, last_but_one = state
        y = a1 * column + a2 * before + b1 * last + b2 * last_but_one
        return (column, y, last), y

    def to_left(state, pair):
        last, last_but_one = state
        y = a2 * pair[0] + a1 * pair[1] + b1 * last + b2 * last_but_one
        return (y, last), y

    zero = jnp.zeros(len(image))
    right = lax.scan(to_right, (zero, zero, zero), x)[1]
    left = lax.scan(to_left, (zero, zero), (x[1:-1], x[2:]), reverse=True)[1]
    left = jnp.concatenate([left, jnp.zeros((2, len(image)))])
    return jnp.sum((right + left) ** 2)


def pairing(scores):
    """Pair the letters of a chain by the best sum of scores, by dynamic programming over intervals (after Nussinov)."""
    n = len(scores)
    best = np.zeros_like(scores)
    for i in range(n - 2, -1, -1):
        for j in range(i + 1, n):
            value = np.maximum(best[i, j - 1], best[i + 1, j])
            value = np.maximum(value, best[i + 1, j - 1] + scores[i, j])
            if j > i + 1:
                value = np.maximum(value, np.max(best[i, i + 1 : j] + best[i + 2 : j + 1, j]))
            best[i, j] = value
    return best[0, n - 1]


def jax_pairing(scores):
    n = len(scores)
    positions = jnp.arange(n)

    def row(k, best):
        i = n - 2 - k

        def entry(j, best):
            below = best[jnp.minimum(positions + 1, n - 1), j]
            split = jnp.max(jnp.where((positions > i) & (positions < j), best[i] + below, 0.0))
            value = jnp.maximum(jnp.maximum(best[i, j - 1], best[i + 1, j]), best[i + 1, j - 1] + scores[i, j])
            return best.at[i, j].set(jnp.where(j > i, jnp.maximum(value, split), best[i, j]))

        return lax.fori_loop(1, n, entry, best)

    return lax.fori_loop(0, n - 1, row, jnp.zeros_like(scores))[0, n - 1]


# ---- Flow, bodies, filters, spectra ----


def cavity(u, steps, relaxations):
    """Flow in a cavity whose lid moves: velocities by upwind differences, pressure by relaxation."""
    n = len(u)
    dx, dt, viscosity = 2.0 / (n - 1), 0.001, 0.1
    u, v, p = u.copy(), np.zeros_like(u), np.zeros_like(u)
    for _ in range(steps):
        ux = (u[1:-1, 2:] - u[1:-1, :-2]) / (2 * dx)
        vy = (v[2:, 1:-1] - v[:-2, 1:-1]) / (2 * dx)
        uy = (u[2:, 1:-1] - u[:-2, 1:-1]) / (2 * dx)
        vx = (v[1:-1, 2:] - v[1:-1, :-2]) / (2 * dx)
        source = (ux + vy) / dt - ux**2 - 2 * uy * vx - vy**2
        for _ in range(relaxations):
            p[1:-1, 1:-1] = 0.25 * (p[1:-1, 2:] + p[1:-1, :-2] + p[2:, 1:-1] + p[:-2, 1:-1]) - 0.25 * dx**2 * source
            p[:, -1] = p[:, -2]
            p[0, :] = p[1, :]
            p[:, 0] = p[:, 1]
            p[-1, :] = 0.0
        before, old = u.copy(), v.copy()
        inner, other = before[1:-1, 1:-1], old[1:-1, 1:-1]
        u[1:-1, 1:-1] = (
            inner
            - dt / dx * (inner * (inner - before[1:-1, :-2]) + other * (inner - before[:-2, 1:-1]))
            - dt / (2 * dx) * (p[1:-1, 2:] - p[1:-1, :-2])
            + viscosity
            * dt
            / dx**2
            * (before[1:-1, 2:] + before[1:-1, :-2] + before[2:, 1:-1] + before[:-2, 1:-1] - 4 * inner)
        )
        v[1:-1, 1:-1] = (
            other
            - dt / dx * (inner * (other - old[1:-1, :-2]) + other * (other - old[:-2, 1:-1]))
            - dt / (2 * dx) * (p[2:, 1:-1] - p[:-2, 1:-1])
            + viscosity * dt / dx**2 * (old[1:-1, 2:] + old[1:-1, :-2] + old[2:, 1:-1] + old[:-2, 1:-1] - 4 * other)
        )
        u[-1, :] = 1.0
    return np.sum(u * u) + np.sum(v * v)


def jax_cavity(u, steps, relaxations):
    n = len(u)
    dx, dt, viscosity = 2.0 / (n - 1), 0.001, 0.1

    def step(_, state):
        u, v, p = state
        ux = (u[1:-1, 2:] - u[1:-1, :-2]) / (2 * dx)
        vy = (v[2:, 1:-1] - v[:-2, 1:-1]) / (2 * dx)
        uy = (u[2:, 1:-1] - u[:-2, 1:-1]) / (2 * dx)
        vx = (v[1:-1, 2:] - v[1:-1, :-2]) / (2 * dx)
        source = (ux + vy) / dt - ux**2 - 2 * uy * vx - vy**2

        def relax(_, p):
            mean = 0.25 * (p[1:-1, 2:] + p[1:-1, :-2] + p[2:, 1:-1] + p[:-2, 1:-1])
            p = p.at[1:-1, 1:-1].set(mean - 0.25 * dx**2 * source)
            p = p.at[:, -1].set(p[:, -2])
            p = p.at[0, :].set(p[1, :])
            p = p.at[:, 0].set(p[:, 1])
            return p.at[-1, :].set(0.0)

        p = lax.fori_loop(0, relaxations, relax, p)
        inner, other = u[1:-1, 1:-1], v[1:-1, 1:-1]
        new_u = u.at[1:-1, 1:-1].set(
            inner
            - dt / dx * (inner * (inner - u[1:-1, :-2]) + other * (inner - u[:-2, 1:-1]))
            - dt / (2 * dx) * (p[1:-1, 2:] - p[1:-1, :-2])
            + viscosity * dt / dx**2 * (u[1:-1, 2:] + u[1:-1, :-2] + u[2:, 1:-1] + u[:-2, 1:-1] - 4 * inner)
        )
        new_v = v.at[1:-1, 1:-1].set(
            other
            - dt / dx * (inner * (other - v[1:-1, :-2]) + other * (other - v[:-2, 1:-1]))
            - dt / (2 * dx) * (p[2:, 1:-1] - p[:-2, 1:-1])
            + viscosity * dt / dx**2 * (v[1:-1, 2:] + v[1:-1, :-2] + v[2:, 1:-1] + v[:-2, 1:-1] - 4 * other)
        )
        return new_u.at[-1, :].set(1.0), new_v, p

    u, v, _ = lax.fori_loop(0, steps, step, (u, jnp.zeros_like(u), jnp.zeros_like(u)))
    return jnp.sum(u * u) + jnp.sum(v * v)


def bodies(x, steps):
    """Move bodies that attract each other, by leapfrog; the energy in the end."""
    v = np.zeros_like(x)

    def accelerations(x):
        apart = x[None, :, :] - x[:, None, :]
        squares = np.sum(apart**2, axis=2) + 0.01
        return np.sum(apart * squares[:, :, None] ** -1.5, axis=1)

    a = accelerations(x)
    for _ in range(steps):
        v = v + 0.005 * a
        x = x + 0.01 * v
        a = accelerations(x)
        v = v + 0.005 * a
    return 0.5 * np.sum(v * v)


def jax_bodies(x, steps):
    def accelerations(x):
        apart = x[None, :, :] - x[:, None, :]
        squares = jnp.sum(apart**2, axis=2) + 0.01
        return jnp.sum(apart * squares[:, :, None] ** -1.5, axis=1)

    def step(_, state):
        x, v, a = state
        v = v + 0.005 * a
        x = x + 0.01 * v
        a = accelerations(x)
        return x, v + 0.005 * a, a

    v = lax.fori_loop(0, steps, step, (x, jnp.zeros_like(x), accelerations(x)))[1]
    return 0.5 * jnp.sum(v * v)


def biquad(x):
    """Filter a signal by a section of second order, sample by sample."""
    y = np.zeros_like(x)
    for n in range(2, len(x)):
        y[n] = 0.2 * x[n] + 0.4 * x[n - 1] + 0.2 * x[n - 2] + 0.3 * y[n - 1] - 0.2 * y[n - 2]
    return np.sum(y * y)


def jax_biquad(x):
    def sample(state, three):
        last, last_but_one = state
        y = 0.2 * three[0] + 0.4 * three[1] + 0.2 * three[2] + 0.3 * last - 0.2 * last_but_one
        return (y, last), y

    y = lax.scan(sample, (0.0, 0.0), (x[2:], x[1:-1], x[:-2]))[1]
    return jnp.sum(y * y)


def resolvents(A, points):
    """Integrate the trace of a resolvent around part of a spectrum, by the points of a circle."""
    total = 0.0
    for z in points:
        total += np.sum(np.real(z * np.trace(np.linalg.inv(z * np.eye(len(A)) - A))))
    return total / len(points)


def jax_resolvents(A, points):
    def point(total, z):
        return total + jnp.real(z * jnp.trace(jnp.linalg.inv(z * jnp.eye(len(A)) - A))), None

    return lax.scan(point, 0.0, points)[0] / len(points)


# ---- Networks ----


def convolution(images, kernel):
    rows, columns = images.shape[1] - kernel.shape[0] + 1, images.shape[2] - kernel.shape[1] + 1
    total = 0.0
    for i in range(kernel.shape[0]):
        for j in range(kernel.shape[1]):
            total = total + images[:, i : i + rows, j : j + columns] @ kernel[i, j]
    return total


def convnet(kernel, dense, images):
    """Classify small images: a convolution, a rectifier, means over two by two, and a dense layer."""
    x = np.maximum(convolution(images, kernel), 0.0)
    n, rows, columns, channels = x.shape
    x = np.mean(x.reshape(n, rows // 2, 2, columns // 2, 2, channels), axis=(2, 4))
    logits = x.reshape(n, -1) @ dense
    logits = logits - np.max(logits, axis=1, keepdims=True)
    return -np.mean((logits - np.log(np.sum(np.exp(logits), axis=1, keepdims=True)))[:, 0])


def jax_convnet(kernel, dense, images):
    x = lax.conv_general_dilated(images, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    x = jnp.maximum(x, 0.0)
    n, rows, columns, channels = x.shape
    x = jnp.mean(x.reshape(n, rows // 2, 2, columns // 2, 2, channels), axis=(2, 4))
    return -jnp.mean(jax.nn.log_softmax(x.reshape(n, -1) @ dense)[:, 0])


def softmax(x, axis):
    shifted = np.exp(x - np.max(x, axis=axis, keepdims=True))
    return shifted / np.sum(shifted, axis=axis, keepdims=True)


def attention(x, queries, keys, values):
    """Attend from each place of a sequence to all, by several heads."""
    q, k, v = (np.einsum("nd,hde->hne", x, w) for w in (queries, keys, values))
    weights = softmax(q @ np.swapaxes(k, 1, 2) / np.sqrt(q.shape[2]), axis=2)
    return np.sum((weights @ v) ** 2)


def jax_attention(x, queries, keys, values):
    q, k, v = (jnp.einsum("nd,hde->hne", x, w) for w in (queries, keys, values))
    weights = jax.nn.softmax(q @ jnp.swapaxes(k, 1, 2) / jnp.sqrt(q.shape[2]), axis=2)
    return jnp.sum((weights @ v) ** 2)


def heads(x):
    """Softmax over the last of four axes."""
    return np.sum(softmax(x, axis=3) ** 2)


def jax_heads(x):
    return jnp.sum(jax.nn.softmax(x, axis=3) ** 2)


def correlation(data):
    """Correlate columns; the sum of the squares."""
    centered = data - np.mean(data, axis=0)
    scaled = centered / (np.sqrt(len(data)) * np.std(data, axis=0))
    return np.sum((scaled.T @ scaled) ** 2)


def jax_correlation(data):
    centered = data - jnp.mean(data, axis=0)
    scaled = centered / (jnp.sqrt(len(data)) * jnp.std(data, axis=0))
    return jnp.sum((scaled.T @ scaled) ** 2)


def positive(n: int) -> Any:
    A = rng.normal(size=(n, n))
    return A @ A.T / n + np.eye(n)


def circle(n: int) -> Any:
    return 3.0 * np.exp(2j * np.pi * (np.arange(n) + 0.5) / n)


KERNELS: dict[str, tuple[Callable[..., Any], tuple[Any, ...], tuple[int, ...]]] = {
    "jacobi": (jacobi, (rng.random((60, 60)), 40), (1,)),
    "heat": (heat, (rng.random((20, 20, 20)), 20), (1,)),
    "seidel": (seidel, (rng.random((14, 14)), 4), (1,)),
    "waves": (waves, (rng.random((60, 60)), 30), (1,)),
    "lu": (lu, (positive(24),), ()),
    "cholesky": (cholesky, (positive(24),), ()),
    "triangular_solve": (triangular_solve, (np.tril(rng.random((100, 100))) + 9 * np.eye(100), rng.random(100)), ()),
    "gram_schmidt": (gram_schmidt, (rng.normal(size=(60, 40)),), ()),
    "durbin": (durbin, (0.9 ** np.arange(1.0, 121) * 0.5,), ()),
    "alternating": (alternating, (rng.random((40, 40)), 4), (1,)),
    "edges": (edges, (rng.random((120, 80)),), ()),
    "pairing": (pairing, (rng.random((18, 18)),), ()),
    "cavity": (cavity, (0.1 * rng.random((41, 41)), 10, 10), (1, 2)),
    "bodies": (bodies, (rng.normal(size=(25, 3)), 40), (1,)),
    "biquad": (biquad, (rng.normal(size=300),), ()),
    "resolvents": (resolvents, (rng.normal(size=(24, 24)) / 5, circle(16)), ()),
    "convnet": (
        convnet,
        (0.3 * rng.normal(size=(5, 5, 3, 8)), rng.normal(size=(1152, 10)), rng.random((8, 28, 28, 3))),
        (),
    ),
    "attention": (attention, (rng.normal(size=(64, 32)), *(0.3 * rng.normal(size=(3, 4, 32, 8)))), ()),
    "heads": (heads, (rng.normal(size=(8, 4, 64, 64)),), ()),
    "correlation": (correlation, (rng.normal(size=(300, 80)),), ()),
}
"""The kernels by name, with arguments, and the positions of those that JAX takes for static."""


def makers(name: str) -> dict[str, Callable[[], harness.Call]]:
    """Return for each library what makes the call: the first call of that traces and compiles."""
    function, args, static = KERNELS[name]

    def of_wengert() -> harness.Call:
        gradient = wg.jit(wg.grad(function))
        return lambda: gradient(*args)

    def of_jax() -> harness.Call:
        gradient = jax.jit(jax.grad(globals()[f"jax_{name}"]), static_argnums=static)
        values = [jnp.asarray(arg) if isinstance(arg, np.ndarray) else arg for arg in args]
        return lambda: jax.block_until_ready(gradient(*values))

    return {"wengert": of_wengert, **({"JAX": of_jax} if jax else {})}


def main() -> None:
    options = harness.options(__doc__, *KERNELS, rounds=5)
    races = (harness.race(name, makers(name), options.rounds) for name in options.only)
    harness.show_races("Gradients of scientific kernels", ("JAX",), races)


if __name__ == "__main__":
    main()
