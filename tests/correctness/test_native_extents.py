"""Loops whose slices grow, shrink and move: their kernels against the plain functions, and how many are compiled."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_native_kernels import close, kernels_after_one_call, kernels_of  # noqa: F401 - a fixture

import wengert as wg
from wengert.compilation.native.entry import fits

pytestmark = [
    pytest.mark.skipif(not fits(), reason="there is no native code here"),
    pytest.mark.filterwarnings("ignore::wengert.errors.DecisionWarning"),
]

RNG = np.random.default_rng(13)


def triangular_solve(L, b):
    x = np.zeros_like(b)
    for i in range(len(b)):
        x[i] = (b[i] - L[i, :i] @ x[:i]) / L[i, i]
    return np.sum(x * x)


def back_substitution(L, b):
    x = np.zeros_like(b)
    for i in reversed(range(len(b))):
        x[i] = (b[i] - np.sum(L[i + 1 :, i] * x[i + 1 :])) / L[i, i]
    return np.sum(x * x)


def durbin(L, r):
    r = 0.1 * r
    y = np.zeros_like(r)
    alpha, beta = -r[0], 1.0
    y[0] = alpha
    for k in range(1, len(r)):
        beta = (1.0 - alpha * alpha) * beta
        alpha = -(r[k] + r[:k][::-1] @ y[:k]) / beta
        y[:k] = y[:k] + alpha * y[:k][::-1]
        y[k] = alpha
    return np.sum(y * y) + L[0, 0]


def gram_schmidt(A, b):
    A = A.copy()
    total = b[0]
    for k in range(A.shape[1]):
        norm = np.sqrt(A[:, k] @ A[:, k])
        q = A[:, k] / norm
        projections = q @ A[:, k + 1 :]
        A[:, k + 1 :] -= np.outer(q, projections)
        total += norm + np.sum(projections)
    return total


def elimination(A, b):
    A = A.copy()
    for k in range(len(A) - 1):
        factors = A[k + 1 :, k] / A[k, k]
        A[k + 1 :, k:] -= factors[:, None] * A[k, k:]
    return np.sum(np.log(np.abs(np.diag(A)))) + b[0]


FUNCTIONS = [triangular_solve, back_substitution, durbin, gram_schmidt, elimination]


def system(n):
    """Return a matrix with a large diagonal, and a vector."""
    return RNG.uniform(-0.5, 0.5, (n, n)) + n * np.eye(n), RNG.uniform(-0.4, 0.4, n)


@pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("n", [20, 70])
def test_loops_of_linear_algebra(f, n):
    args = system(n)
    gradient = wg.grad(f, argnums=(0, 1))
    jitted = wg.jit(gradient)
    for _ in range(4):
        close(jitted(*args), gradient(*args))
    assert kernels_of(jitted)


def test_longer_loops_compile_no_more_kernels(capsys):
    counts = []
    for n in (70, 90):
        jitted = wg.jit(wg.grad(triangular_solve, argnums=(0, 1)))
        for _ in range(3):
            jitted(*system(n))
        jitted.show("loops")
        made, compiled = re.search(r"# kernels: (\d+), compiled: (\d+)", capsys.readouterr().out).groups()
        counts.append((int(made), int(compiled)))
    assert counts[1][0] > counts[0][0]
    assert counts[0][1] == counts[1][1] < 15


@settings(max_examples=6, deadline=None)
@given(
    st.integers(17, 40),
    st.lists(
        st.tuples(
            st.integers(0, 3), st.integers(0, 3), st.sampled_from([-1, 1, 2]), st.sampled_from(["dot", "set", "row"])
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_random_slices_in_loops(n, lines):
    A, b = RNG.uniform(-0.5, 0.5, (n, n)), RNG.uniform(0.5, 1.0, n)

    def f(A, b):
        A, b = A.copy(), b.copy()
        for k in range(1, n - 4):
            for start, width, step, kind in lines:
                part = slice(start, start + k + width) if width % 2 else slice(k + start - 1, None)
                m = len(range(n)[part])
                if kind == "dot":
                    b[k] = 0.1 * (A[k, part][::step] @ b[part][::step]) + 0.5
                elif kind == "set":
                    b[part] = 0.5 * b[part][::-1] + 0.1 * A[part, k]
                else:
                    A[k, part] = A[k, part] - 0.1 * b[:m] * A[part, start]
        return np.sum(A * A) + np.sum(np.sin(b))

    gradient = wg.grad(f, argnums=(0, 1))
    jitted = wg.jit(gradient)
    for _ in range(3):
        close(jitted(A, b), gradient(A, b))
