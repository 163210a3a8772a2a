"""Long loops inside a step: their derivatives are those of the same steps written out, and one line of code each."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
from wengert import trees
from wengert.control import nested
from wengert.control.unrolling import LONG

N = LONG // 2
US = np.linspace(-1.0, 1.0, N)
XS = np.linspace(0.1, 0.7, 4)
MATRIX = np.linspace(-0.5, 0.5, 9).reshape(3, 3)
LARGE = np.linspace(-0.9, 0.9, 400)


@pytest.fixture(autouse=True)
def _seen(monkeypatch):
    """Fail if a test did not come to the code of nested loops."""
    swept = []
    call = nested.NestedSweep.__call__
    monkeypatch.setattr(nested.NestedSweep, "__call__", lambda *args: swept.append(1) or call(*args))
    yield
    assert swept


def loop(steps, inner):
    """Make a loop of many steps (more than are looked through line by line at first sight) around one."""
    xs = np.resize(XS, steps)
    return lambda w: wg.scan(lambda c, x: (inner(c, x, w), None), w * 0.5, xs)[0]


def plain(steps, inner):
    """Write the outer steps out."""

    def f(w):
        c = w * 0.5
        for x in np.resize(XS, steps):
            c = inner(c, x, w)
        return c

    return f


def scan_loop(c, x, w):
    return wg.scan(lambda c, u: (np.sin(c * w) + u * x, None), c, US)[0]


def scan_plain(c, x, w):
    for u in US:
        c = np.sin(c * w) + u * x
    return c


def reversed_loop(c, x, w):
    c, ys = wg.scan(lambda c, u: (np.sin(c * w) + u * x, c * u), c, US, reverse=True)
    return c + np.sum(ys**2) / N


def reversed_plain(c, x, w):
    ys = []
    for u in US[::-1]:
        ys.append(c * u)
        c = np.sin(c * w) + u * x
    return c + sum(y**2 for y in ys) / N


def fori(c, x, w):
    return wg.fori_loop(2, N, lambda i, c: np.cos(c * w) + i * x / N, c)


def fori_plain(c, x, w):
    for i in range(2, N):
        c = np.cos(c * w) + i * x / N
    return c


def while_loop(c, x, w):
    return wg.while_loop(lambda s: s[0] < N, lambda s: (s[0] + 1, np.sin(s[1] * w) + x), (0, c))[1]


def while_plain(c, x, w):
    for _ in range(N):
        c = np.sin(c * w) + x
    return c


def slices_loop(c, x, w):
    return wg.scan(lambda c, u: (np.sin(c + u), None), c, US * w * x)[0]


def slices_plain(c, x, w):
    for u in US * w * x:
        c = np.sin(c + u)
    return c


def deep(c, x, w):
    return wg.scan(lambda c, u: (scan_loop(c, u, w), None), c, US[:3] * x)[0]


def deep_plain(c, x, w):
    for u in US[:3] * x:
        c = scan_plain(c, u, w)
    return c


FORMS = {
    "scan": (scan_loop, scan_plain),
    "reversed": (reversed_loop, reversed_plain),
    "fori": (fori, fori_plain),
    "while": (while_loop, while_plain),
    "slices": (slices_loop, slices_plain),
    "deep": (deep, deep_plain),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("steps", [40, 3])
def test_derivatives_are_those_of_the_steps_written_out(form, steps):
    f, g = loop(steps, FORMS[form][0]), plain(steps, FORMS[form][1])
    for _ in range(2):  # few steps are compiled when they are met again
        np.testing.assert_allclose(wg.grad(f)(0.8), wg.grad(g)(0.8), rtol=1e-10)
        np.testing.assert_allclose(wg.jvp(f, (0.8,), (1.0,))[1], wg.grad(g)(0.8), rtol=1e-10)
    h = 1e-6
    np.testing.assert_allclose(wg.grad(f)(0.8), (g(0.8 + h) - g(0.8 - h)) / (2 * h), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("form", ["scan", "reversed", "while"])
def test_second_derivatives(form):
    f, g = loop(40, FORMS[form][0]), plain(40, FORMS[form][1])
    h = 1e-6
    slope = (wg.grad(g)(0.8 + h) - wg.grad(g)(0.8 - h)) / (2 * h)
    wg.grad(f)(0.8)
    np.testing.assert_allclose(wg.hessian(f)(0.8), slope, rtol=1e-5)


def test_blocks_of_seeds():
    def f(v):
        def step(v, x):
            v, ys = wg.scan(lambda v, u: (np.tanh(MATRIX @ v + u * x), v * u), v, US)
            return v, ys[:3]

        return np.concatenate([a.ravel() for a in wg.scan(step, v, np.resize(XS, 40))])[-12:]

    def g(v):
        rows = []
        for x in np.resize(XS, 40):
            ys = []
            for u in US:
                ys.append(v * u)
                v = np.tanh(MATRIX @ v + u * x)
            rows.append(np.stack(ys[:3]))
        return np.concatenate([v, *[r.ravel() for r in rows]])[-12:]

    v = np.array([0.3, -0.2, 0.9])
    expected = wg.jacrev(g)(v)
    np.testing.assert_allclose(wg.jacrev(f)(v), expected, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(wg.jacfwd(f)(v), expected, rtol=1e-9, atol=1e-14)


def test_elements_of_a_large_array_are_added_in_place():
    def f(a):
        def inner(c, x):
            return wg.fori_loop(0, N, lambda i, c: np.sin(c) * a[2 * i] + x, c)

        return wg.scan(lambda c, x: (inner(c, x), None), 0.5, np.resize(XS, 40))[0]

    def g(a):
        c = 0.5
        for x in np.resize(XS, 40):
            for i in range(N):
                c = np.sin(c) * a[2 * i] + x
        return c

    np.testing.assert_allclose(wg.grad(f)(LARGE), wg.grad(g)(LARGE), rtol=1e-9, atol=1e-14)


def test_a_result_that_is_not_carried_on():
    """Of (c, d), only c is read by the next step: the adjoint of d is zero from the second step back on."""

    def f(w):
        def inner(s, u):
            return (np.sin(s[0] * w) + u, s[0] * w), None

        def step(c, x):
            (c, d), _ = wg.scan(inner, (c, x), US)
            return c, d

        c, ds = wg.scan(step, w, np.resize(XS, 40))
        return c + np.sum(ds)

    def g(w):
        c, total = w, 0.0
        for _ in range(40):
            for u in US:
                c, d = np.sin(c * w) + u, c * w
            total = total + d
        return c + total

    np.testing.assert_allclose(wg.grad(f)(0.7), wg.grad(g)(0.7), rtol=1e-10)


def test_an_infinite_partial_is_swept_carefully():
    def f(w):
        def inner(c, u):
            return np.where(c > 2.0, np.sqrt(np.maximum(c - 2.0, 0.0)), np.sin(c * w) + u * 0.1), None

        return wg.scan(lambda c, x: (wg.scan(inner, c * 0.0 + 2.0, US)[0], None), w, np.resize(XS, 40))[0]

    def g(w):
        c = w
        for _ in range(40):
            c = c * 0.0 + 2.0
            for u in US:
                c = np.where(c > 2.0, np.sqrt(np.maximum(c - 2.0, 0.0)), np.sin(c * w) + u * 0.1)
        return c

    np.testing.assert_allclose(wg.grad(f)(0.7), wg.grad(g)(0.7), rtol=1e-10)


def test_another_decision_inside_is_taken():
    def f(w):
        def inner(c, u):
            return (np.sin(c) * w if c > 0 else np.cos(c) + u), None

        return wg.scan(lambda c, x: (scan_loop(wg.scan(inner, c, US)[0], x, w), None), w, np.resize(XS, 40))[0]

    def g(w):
        c = w
        for x in np.resize(XS, 40):
            for u in US:
                c = np.sin(c) * w if c > 0 else np.cos(c) + u
            c = scan_plain(c, x, w)
        return c

    h = 1e-6
    np.testing.assert_allclose(f(0.7), g(0.7), rtol=1e-12)
    np.testing.assert_allclose(wg.grad(f)(0.7), (g(0.7 + h) - g(0.7 - h)) / (2 * h), rtol=1e-4, atol=1e-9)
    wg.grad(loop(40, scan_loop))(0.5)


def test_constants_of_the_inner_step_are_those_of_each_call():
    """The code is shared by bodies of one structure: arrays among their constants are not."""
    for scale in (1.0, 2.0, 3.0):
        weights = scale * np.linspace(0.1, 1.0, 3)

        def inner(v, u, weights=weights):
            return np.tanh(v * weights + u), None

        def f(w):
            return np.sum(wg.scan(lambda v, x: (wg.scan(inner, v * x, US)[0], None), w, np.resize(XS, 40))[0])

        def g(w, weights=weights):
            v = w
            for x in np.resize(XS, 40):
                v = v * x
                for u in US:
                    v = np.tanh(v * weights + u)
            return np.sum(v)

        w = np.array([0.3, 0.5, 0.7])
        np.testing.assert_allclose(wg.grad(f)(w), wg.grad(g)(w), rtol=1e-9, atol=1e-15)


def test_a_test_is_part_of_the_code_of_the_step():
    """Also where it reads a constant that a step carries on, and decides on it."""

    def inner(c, x, w):
        def goes_on(s):
            k, c, sign, mode = s
            return k * sign < N if mode > 0 else c > 0.0

        def step(s):
            k, c, _, mode = s
            return k + 1, np.sin(c * w) + x, 1, mode

        return wg.while_loop(goes_on, step, (0, c, 1, 1))[1]

    f, g = loop(40, inner), plain(40, while_plain)
    for _ in range(2):
        np.testing.assert_allclose(wg.grad(f)(0.8), wg.grad(g)(0.8), rtol=1e-10)
        np.testing.assert_allclose(wg.jacobian(f)(0.8), wg.grad(g)(0.8), rtol=1e-10)


def test_a_sweep_that_is_first_written_in_a_trace_makes_no_traced_values_later():
    """Makers of arrays are others there, and the code of a sweep is kept: a jitted function returned a traced value."""

    def f(c, xs, w):
        def step(c, x):
            c = wg.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, 0.5 * s[1] + np.sin(w * s[1])), (0, c))[1]
            return np.tanh(c), c * x

        carry, ys = wg.scan(step, c, xs)
        return np.sum(carry) + np.sum(ys)

    args = tuple(np.linspace(0.2, 0.9, n).reshape(shape) for n, shape in ((7, 7), (21, (3, 7)), (7, 7)))
    nested._function.cache_clear()
    for argnums in ((0, 1, 2), (0, 2), 2):
        gradient = wg.grad(f, argnums)
        hvp = lambda *a: wg.jvp(gradient, a, args)  # noqa: B023, E731
        expected, jitted = trees.flatten(hvp(*args))[0], wg.jit(hvp)
        for _ in range(2):
            leaves = trees.flatten(jitted(*args))[0]
            assert [type(leaf) for leaf in leaves] == [np.ndarray] * len(expected)
            for leaf, truth in zip(leaves, expected, strict=True):
                np.testing.assert_allclose(leaf, truth, rtol=1e-12)
