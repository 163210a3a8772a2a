"""Code that changes arrays in place computes what code without it does, whatever is read later.

Random functions write to parts of arrays, add to them, read views of them early and late, and keep old arrays.  A value
that is overwritten before its last reader gets it gives other numbers than the eager function, which makes new arrays.
"""

import numpy as np
import pytest

import wengert as wg

PARTS = (
    np.s_[1:-1, 1:-1],
    np.s_[2:, 1:-1],
    np.s_[:-2, 1:-1],
    np.s_[1:-1, 2:],
    np.s_[1:-1, :-2],
    np.s_[-2:0:-1, 1:-1],
)
LINES = (np.s_[2], np.s_[3], np.s_[:, 1], np.s_[:, 2], np.s_[-1], np.s_[:, -1], np.s_[4, ::-1])
ODD = (np.s_[[1, 3]], np.s_[[4, 0]], np.s_[1:3], np.s_[3:1:-1])


def random_function(seed, steps, n):
    """Return a function of a matrix that goes through random steps, the same at each call."""
    drawn = np.random.default_rng(seed).integers(0, 5040, size=10 * steps).tolist()

    def function(x):
        numbers = iter(drawn)

        def draw(count):
            return next(numbers) % count

        arrays = [x * 1.5, np.sin(x), np.zeros((n, n)), x]
        views = []
        total = 0.0
        for _ in range(steps):
            k = draw(3)
            a, b = arrays[k], arrays[draw(len(arrays))]
            kind = draw(9)
            group = (PARTS, LINES, ODD)[draw(3)]
            at, of = group[draw(len(group))], group[draw(len(group))]
            if a[at].shape != a[of].shape:
                of = at
            if kind == 0:
                a[at] = 0.7 * b[of]
            elif kind == 1:
                a[at] = b[of]  # a view of the array itself, perhaps
            elif kind == 2:
                a[at] += 0.3 * b[of] * b[of]
            elif kind == 3:
                a[at] *= 0.5
            elif kind == 4:
                views.append(a[of])  # it sees what is written to the array later
            elif kind == 5 and views:
                v = views[draw(len(views))]
                total = total + np.sum(v * v * 0.1)
            elif kind == 6:
                arrays[k] = a * b * 0.5
            elif kind == 7:
                total = total + np.sum(np.cos(a[at])) * 0.1
            elif kind == 8:
                arrays[k] = a.copy()
                arrays.append(a)
        return total + sum(np.sum(np.tanh(a) * (k + 1)) for k, a in enumerate(arrays)) + sum(map(np.sum, views))

    return function


@pytest.mark.usefixtures("native_after_one_call")
@pytest.mark.filterwarnings("ignore::wengert.errors.DecisionWarning")
@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_random_writes_and_reads(seed, native):
    rng = np.random.default_rng(1000 + seed)
    n = int(rng.integers(5, 9)) if seed % 3 else 20
    f = random_function(seed, int(rng.integers(3, 16)), n)
    x, t = rng.normal(size=(2, n, n))
    for g in (f, wg.grad(f), lambda x: wg.jvp(wg.grad(f), (x,), (t,))[1]):
        expected = g(x)
        jitted = wg.jit(g, native=native)
        for _ in range(3):
            np.testing.assert_allclose(jitted(x), expected, rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(jitted(x + 0.5), g(x + 0.5), rtol=1e-11, atol=1e-12)
    both = wg.vmap(wg.grad(f))(np.stack([x, t]))
    np.testing.assert_allclose(both[1], wg.grad(f)(t), rtol=1e-11, atol=1e-12)


def test_an_argument_and_a_constant_are_left_as_they_are():
    table = np.arange(12.0).reshape(3, 4)

    def f(x):
        y = np.asarray(table) * 1.0 if x is None else x
        z = table + 0.0 * y
        z[1] = y[0]
        y = y.copy()
        y[0] = z[1] * z[2]
        return np.sum(y * z)

    x = np.random.default_rng(0).normal(size=(3, 4))
    before, constant = x.copy(), table.copy()
    jitted = wg.jit(wg.value_and_grad(f))
    for _ in range(3):
        jitted(x)
    assert np.array_equal(x, before)
    assert np.array_equal(table, constant)


def test_results_are_memory_of_their_own():
    def f(x):
        y = 2.0 * x
        before = y
        y = y.copy()
        y[0] = 1.0
        z = y.copy()
        z[1] = 3.0
        return before, y, z

    x = np.random.default_rng(0).normal(size=(30, 20))
    jitted = wg.jit(f)
    for _ in range(2):
        results = jitted(x)
        for k, (one, other) in enumerate(zip(results, f(x), strict=True)):
            assert np.array_equal(one, other)
            assert not any(np.shares_memory(one, a) for a in (x, *results[:k]))


def test_what_waits_is_written_before_what_it_reads_is_changed():
    def f(x):
        y, z = 2.0 * x, 3.0 * x
        y[:, 0] = z[:, 1]
        z[:, 1] = 5.0
        return np.cos(z), np.sin(y)  # `z` is asked for first

    x = np.random.default_rng(0).normal(size=(30, 20))
    jitted = wg.jit(f, native=False)
    for _ in range(2):
        for one, other in zip(jitted(x), f(x), strict=True):
            np.testing.assert_array_equal(one, other)
