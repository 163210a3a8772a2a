"""Short loops inside a body: written out where only a derivative is wanted, which is that of Python loops."""

from __future__ import annotations

import numpy as np
import pytest
from loops import PYTHON

import wengert as wg
from wengert.control import short_loops, staging

XS = np.array([0.3, 0.7, 1.1, -0.4])
US = np.array([0.5, -1.0, 0.25])


@pytest.fixture
def lines(monkeypatch):
    """Collect the names of the loops that become lines."""
    names = []
    run = staging._run
    monkeypatch.setattr(staging, "_run", lambda loop, *args: names.append(loop.name) or run(loop, *args))
    monkeypatch.setattr(short_loops, "_was_short", type(short_loops._was_short)())
    return names


def around(inner):
    """Make a loop around an inner one, and the same steps in plain Python; `inner` takes a library of loops."""

    def f(w):
        return wg.scan(lambda c, x: (inner(wg, c, x, w), None), w * 0.5, XS)[0]

    def plain(w):
        c = w * 0.5
        for x in XS:
            c = inner(PYTHON, c, x, w)
        return c

    return f, plain


def collecting(lib, c, x, w):
    c, ys = lib.scan(lambda c, u: (np.sin(c * w) + u * x, c * u), c, US)
    return c + np.sum(ys**2)


def reversed_(lib, c, x, w):
    c, ys = lib.scan(lambda c, u: (np.sin(c * w) + u * x, c * u), c, US * w, reverse=True)
    return c + ys[0] * x - ys[2]


def constant_collected(lib, c, x, w):
    c, ys = lib.scan(lambda c, u: (np.sin(c * w), np.array([1.0, 2.0])), c, US)
    return c + np.sum(ys) * x


def captured_collected(lib, c, x, w):
    c, ys = lib.scan(lambda c, u: (np.sin(c * w), w), c, US)
    return c + np.sum(ys) * x


def arrays(lib, c, x, w):
    v, ys = lib.scan(lambda v, u: (np.tanh(v * w + u), v[0] * u), np.array([c, 1.0, x]), US)
    return np.sum(v) + np.sum(ys)


def counted(lib, c, x, w):
    return lib.fori_loop(1, 4, lambda i, c: np.sin(c * w) + i * US[i - 1] * x if i % 2 else c**i, c)


def mapped(lib, c, x, w):
    return np.sum(lib.map(lambda u: np.array([u * w, c * u * u]), US * c) * np.array([x, 1.0]))


def while_counted(lib, c, x, w):
    return lib.while_loop(lambda s: s[0] < 4, lambda s: (s[0] + 1, np.sin(s[1] * w) + x), (0, c))[1]


def while_not_at_all(lib, c, x, w):
    return lib.while_loop(lambda s: s[0] < 0, lambda s: (s[0] + 1, s[1] * w), (0, c))[1] * w + x


def writes_into_its_carry(lib, c, x, w):
    def step(v, u):
        v[0] *= w
        v[1] += u * v[0]
        return v, v[1] * 1.0

    v, ys = lib.scan(step, np.array([c, x]) * w, US)
    return np.sum(v) + np.sum(ys)


def writes_into_an_array_around_it(lib, c, x, w):
    kept = np.zeros(3)

    def step(i, c):
        kept[i] = c * x
        return np.sin(c * w)

    c = lib.fori_loop(0, 3, step, c)
    return c + np.sum(kept**2)


def lets_a_value_out(lib, c, x, w):
    seen = []
    c = lib.fori_loop(0, 3, lambda i, c: seen.append(c) or np.sin(c * w), c)
    return c + seen[1] * x


def two_deep(lib, c, x, w):
    return lib.fori_loop(0, 2, lambda i, c: collecting(lib, c, x, w) + i, c)


def in_a_gradient(lib, c, x, w):
    return wg.grad(lambda z: lib.scan(lambda t, u: (np.sin(t * z) + u, None), z, US)[0])(c * w) * 0.1 + x


FORMS = (
    collecting, reversed_, constant_collected, captured_collected, arrays, counted, mapped, while_counted,
    while_not_at_all, writes_into_its_carry, writes_into_an_array_around_it, lets_a_value_out, two_deep, in_a_gradient,
)  # fmt: skip


@pytest.mark.parametrize("inner", FORMS)
def test_derivatives_are_those_of_python_loops(inner):
    f, plain = around(inner)
    value, slope = wg.value_and_grad(plain)(0.8)
    for _ in range(2):  # few steps are compiled when they are met again
        np.testing.assert_allclose(wg.value_and_grad(f)(0.8), (value, slope), rtol=1e-12)
        np.testing.assert_allclose(wg.jvp(f, (0.8,), (1.0,)), (value, slope), rtol=1e-12)
        np.testing.assert_allclose(wg.hessian(f)(0.8), wg.hessian(plain)(0.8), rtol=1e-9)
    h = 1e-6
    np.testing.assert_allclose(slope, (plain(0.8 + h) - plain(0.8 - h)) / (2 * h), rtol=1e-5, atol=1e-8)
    v = np.array([0.8, -0.3, 1.2])
    for mode in ("forward", "reverse"):  # blocks of seeds
        together = wg.jacobian(lambda v: np.stack([f(v[0] * v[1]), f(v[1] + v[2])]), mode=mode)(v)
        np.testing.assert_allclose(
            together, wg.jacobian(lambda v: np.stack([plain(v[0] * v[1]), plain(v[1] + v[2])]))(v), rtol=1e-10
        )


@pytest.mark.parametrize("inner", [inner for inner in FORMS if inner is not in_a_gradient])
def test_short_loops_are_no_lines(inner, lines):
    wg.grad(around(inner)[0])(0.8)
    assert lines == ["scan"]


def test_where_a_program_is_read_or_counted_they_are(lines):
    f, _ = around(collecting)
    program = wg.trace(f)(0.8)
    inside = [line.held.name for line in program.lines[-1].held.programs[0].lines if line.held]
    assert inside == ["scan"]
    for call in (wg.jacobian(f), wg.jit(f)):
        lines.clear()
        call(0.8)
        assert lines.count("scan") == 3  # two traces of the outer step, and the outer loop


def decides(lib, c, x, w):
    return lib.scan(lambda c, u: (np.sin(c * w) + u if c > 0.2 else c * x + w, None), c, US)[0]


def converges(lib, c, x, w):
    a = c * c + w + x * x
    return lib.while_loop(lambda r: np.abs(r * r - a) > 1e-12, lambda r: (r + a / r) / 2, a) * 0.5


def is_long(lib, c, x, w):
    return lib.while_loop(lambda s: s[0] < 150, lambda s: (s[0] + 1, np.sin(s[1] * w) + x), (0, c))[1]


def has_long_steps(lib, c, x, w):
    def step(i, c):
        for _ in range(50):
            c = np.sin(c * w) + x
        return c

    return lib.fori_loop(0, 4, step, c)


@pytest.mark.parametrize("inner", [decides, converges, is_long, has_long_steps])
def test_a_loop_that_is_long_or_decides_on_values_stays_a_line(inner, lines):
    f, plain = around(inner)
    for _ in range(2):
        np.testing.assert_allclose(wg.value_and_grad(f)(0.8), wg.value_and_grad(plain)(0.8), rtol=1e-9)
        assert set(lines) == {"scan", "while_loop", "fori_loop"} & set(lines)
        assert len(lines) >= 3
        lines.clear()


def test_a_loop_that_was_given_up_is_not_begun_again(lines, monkeypatch):
    begun = []
    make = short_loops.ShortLoop
    monkeypatch.setattr(short_loops, "ShortLoop", lambda *args: begun.append(1) or make(*args))
    for _ in range(3):
        wg.grad(around(is_long)[0])(0.8)
    assert len(begun) == 1


@pytest.mark.parametrize("branches", [False, True])
def test_random_numbers_are_drawn_as_by_python_loops(branches):
    def draws(lib, c, x, w):
        def step(c, u):
            r = rng.normal()
            return (c * r + w if branches and c < 0.2 else np.sin(c * w) + u * r), None

        return lib.scan(step, c, US)[0]

    f, plain = around(draws)
    rng = np.random.default_rng(3)
    expected = wg.value_and_grad(plain)(0.8)
    rng = np.random.default_rng(3)
    np.testing.assert_allclose(wg.value_and_grad(f)(0.8), expected, rtol=1e-12)
