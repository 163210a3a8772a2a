"""Random loops over slices that grow, move, are empty or are exchanged: kernels compute what the function does."""

import numpy as np
import pytest

import wengert as wg

pytestmark = pytest.mark.filterwarnings("ignore::wengert.errors.DecisionWarning")

STEPS = {
    "solved": lambda A, x, y, z, i, a: y.__setitem__(i, x[i] - A[i, :i] @ y[:i]),
    "scaled": lambda A, x, y, z, i, a: A.__setitem__(np.s_[i, :i], 0.9 * A[i, :i]),
    "column": lambda A, x, y, z, i, a: A.__setitem__(np.s_[i:, i], A[i:, i] - 0.05 * A[i:, i - 1] * y[i]),
    "turned": lambda A, x, y, z, i, a: y.__setitem__(np.s_[:i], y[:i] + 0.1 * np.flip(y[:i])),
    "element": lambda A, x, y, z, i, a: A.__setitem__((i, i), A[i, i] / (1 + A[i - 1, i - 1] ** 2)),
    "window": lambda A, x, y, z, i, a: z.__setitem__(np.s_[a : i + 1], np.tanh(z[a : i + 1] + 0.1 * A[i, a : i + 1])),
    "block": lambda A, x, y, z, i, a: A.__setitem__(np.s_[:i, :i], 0.99 * A[:i, :i] + 0.001 * np.outer(z[:i], y[:i])),
    "summed": lambda A, x, y, z, i, a: y.__setitem__(i, y[i] + np.sum(A[: i + 1, i] * A[i, : i + 1]) * 0.1),
    "exchanged": lambda A, x, y, z, i, a: A.__setitem__(np.s_[i - 1 : i + 1, i - 1 :], A[i - 1 : i + 1, i - 1 :][::-1]),
}


def random_loop(seed):
    rng = np.random.default_rng(seed)
    n, a = int(rng.integers(9, 19)), int(rng.integers(0, 4))
    names = [sorted(STEPS)[k] for k in rng.integers(0, len(STEPS), size=rng.integers(2, 5))]

    def f(x):
        A, y, z = np.outer(x, np.cos(x)) * 0.1 + np.eye(n), np.zeros(n), np.sin(x)
        for i in range(1, n):
            for name in names:
                STEPS[name](A, x, y, z, i, a)
        return np.sum(y * y) + np.sum(A * A) * 0.1 + np.sum(z)

    return f, n, names


@pytest.mark.usefixtures("native_after_one_call")
@pytest.mark.parametrize("seed", range(12))
def test_random_loops(seed):
    f, n, names = random_loop(seed)
    rng = np.random.default_rng(1000 + seed)
    jitted = wg.jit(wg.grad(f))
    for _ in range(3):
        x = 0.5 * rng.normal(size=n)
        expected = wg.grad(f)(x)
        np.testing.assert_allclose(jitted(x), expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max(), err_msg=names)
    step = 1e-6 * rng.normal(size=n)
    difference = (f(x + step) - f(x - step)) / 2
    np.testing.assert_allclose(jitted(x) @ step, difference, rtol=1e-5, atol=1e-9 * np.abs(expected).max())


@pytest.mark.usefixtures("native_after_one_call")
def test_an_assignment_to_an_empty_slice_changes_nothing():
    """The adjoint of one set an element to zero, beside arrays of more than a hundred elements."""

    def f(x):
        A, z = np.outer(x, np.cos(x)), np.sin(x)
        for i in range(1, 11):
            z[2 : i + 1] = np.tanh(z[2 : i + 1] + A[i, 2 : i + 1])
            A[:i, :i] = 0.99 * A[:i, :i] + 0.001 * np.outer(z[:i], z[:i])
        return np.sum(z) + np.sum(A)

    jitted = wg.jit(wg.grad(f))
    for seed in range(3):
        x = np.random.default_rng(seed).normal(size=12)
        np.testing.assert_allclose(jitted(x), wg.grad(f)(x), rtol=1e-10, atol=1e-12)
