"""Large plain arrays that are changed in place while a function runs: an error, or the right derivative."""

from __future__ import annotations

import gc
import sys

import numpy as np
import pytest

import wengert as wg
from wengert.errors import ChangedError
from wengert.tracing import Unchanged
from wengert.tracing.fingerprints import COLUMNS, LARGE

SIZES = [1000, 1025, 4096, 4097, 20000, 32769, 50000, 200000]
PLAIN = [np.float64, np.float32, np.complex128, np.int32, np.bool_]


def changing(change, n, use=np.multiply, inside=False):
    """Make a function that reads an array, changes it, and reads it again: one of its closure, or made inside."""

    def make():
        return np.random.default_rng(0).permutation(np.linspace(0.5, 1.5, n))  # plain: made by compiled code

    data_outside = make()

    def f(x):
        data = make() if inside else data_outside
        y = np.sum(use(data, x))
        change(data)
        return y + np.sum(use(data, x)) * 0.5

    return f


def whole(a):
    a *= 2.0


def one(a):
    a[len(a) // 3] += 1.0


def sorted_in_place(a):
    a.sort()


def shuffled(a):
    np.random.default_rng(1).shuffle(a)


def through_a_view(a):
    view = a[10:]
    view[::2] = 0.0


def swapped(a):
    a[0], a[-1] = a[-1], a[0]


def reversed_blocks(a):
    a[:] = a.reshape(-1, 5)[:, ::-1].ravel() if len(a) % 5 == 0 else a[::-1].copy()


def neighbors_swapped(a):
    a[100], a[101] = a[101], a[100]


CHANGES = [whole, one, sorted_in_place, shuffled, through_a_view, reversed_blocks, swapped, neighbors_swapped]


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_is_found_out_or_does_no_harm(change, n):
    f = changing(change, n)
    if n <= 1024:
        expected = changing(change, n)(1.0)  # it is linear
        assert np.isclose(wg.grad(f)(1.5), expected, rtol=1e-9)
        return
    with pytest.raises(ChangedError) as caught:
        wg.grad(f)(1.5)
    assert "np.sum(use(data, x))" in str(caught.value)
    assert "a.copy()" in str(caught.value)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_an_array_that_is_made_inside_may_be_changed(change, n):
    f = changing(change, n, inside=True)
    assert np.isclose(wg.grad(f)(1.5), f(1.0), rtol=1e-9)
    assert np.isclose(wg.jit(wg.grad(f))(1.5), f(1.0), rtol=1e-9)
    assert np.isclose(wg.trace(f)(2.5)(1.5), f(1.5), rtol=1e-9)


def _logical_not(m):
    np.logical_not(m, m)


def _one_on(i):
    i += 1
    i %= len(i)


def _in_turn(i):
    i.sort()


@pytest.mark.parametrize("n", [9, 1025, 20000])
@pytest.mark.parametrize("change", [_logical_not, _one_on, _in_turn], ids=lambda change: change.__name__)
def test_a_mask_or_an_index_that_is_made_inside_may_be_changed(change, n):
    c = np.random.default_rng(3).normal(size=n)

    def f(x):
        chosen = np.random.default_rng(0).permutation(n) if change is not _logical_not else x > 0
        y = np.zeros_like(x)
        y[chosen] = x[chosen] * c[: len(x[chosen])]
        change(chosen)
        y[chosen] += 3.0 * x[chosen] * c[: len(x[chosen])]
        return np.sum(c * y)

    x = np.random.default_rng(1).normal(size=n)
    assert np.isclose(np.vdot(wg.grad(f)(x), x), f(x))  # it is homogeneous of degree one
    assert np.isclose(np.vdot(wg.jit(wg.grad(f))(x), x), f(x))


@pytest.mark.parametrize("operator", [wg.grad, wg.jacobian, wg.hessian, wg.trace, wg.vmap])
def test_every_transformation_notices(operator):
    f = changing(whole, 5000, lambda a, x: a * np.sin(x))
    with pytest.raises(ChangedError):
        operator(f)(np.ones(2) if operator is wg.vmap else 1.5)


def test_many_arrays_are_looked_at_in_turn():
    arrays = [np.random.default_rng(k).normal(size=2000) for k in range(40)]

    def f(x):
        y = sum(np.sum(x * a) for a in arrays)
        arrays[35][77] += 1.0
        return y

    with pytest.raises(ChangedError):
        wg.grad(f)(1.5)


@pytest.mark.parametrize("n", [2000, LARGE - 1, 20 * LARGE + 3])
@pytest.mark.parametrize("dtype", PLAIN)
def test_no_change_of_a_single_element_is_missed(n, dtype):
    rng = np.random.default_rng(0)
    array = (rng.normal(size=n) * 3).astype(dtype)
    unchanged = Unchanged()
    unchanged.remember(array)
    for at in [0, 1, n // 2, n - 2, n - 1, *rng.integers(0, n, 20)]:
        before = array[at]
        array[at] = ~before if dtype is np.bool_ else before + 1
        assert unchanged.changed(), at
        array[at] = before
        assert not unchanged.changed()


@pytest.mark.parametrize("n", [2000, LARGE, 20 * LARGE])
def test_no_exchange_of_two_elements_is_missed_twice(n):
    rng = np.random.default_rng(0)
    array = rng.normal(size=n)
    pairs = [rng.choice(n, 2, replace=False) for _ in range(60)]
    pairs += [(5, 5 + width) for width in (*COLUMNS[0], *COLUMNS[1])] + [(0, 1), (0, n - 1)]
    for i, j in pairs:
        noticed = []
        for _ in range(2):  # one trace and the next
            unchanged = Unchanged()
            unchanged.remember(array)
            array[[i, j]] = array[[j, i]]
            noticed.append(bool(unchanged.changed()))
            array[[i, j]] = array[[j, i]]
        assert all(noticed) or (any(noticed) and any((j - i) % width == 0 for width in (*COLUMNS[0], *COLUMNS[1])))


def test_what_cannot_be_changed_is_not_looked_at():
    frozen, open_ = np.ones(5000), np.ones(5000)
    frozen.flags.writeable = False
    view = open_[:]
    view.flags.writeable = False
    unchanged = Unchanged()
    for array in (frozen, frozen[1:], np.frombuffer(bytes(40000)), np.broadcast_to(frozen, (2, 5000))):
        unchanged.remember(array)
        assert not unchanged.remembered
    for array in (view, np.broadcast_to(open_, (2, 5000)), np.frombuffer(bytearray(40000))):
        unchanged.remember(array)
        assert unchanged.remembered.pop(id(array))


def test_what_is_not_read_may_change():
    def f(x):
        data = np.random.default_rng(0).normal(size=5000)
        y = np.sum(x + data)
        data[:] = 0.0
        return y + np.sum(x - data)

    assert wg.grad(f)(1.5) == 10000.0


def test_a_copy_mends_it():
    def f(x):
        data = np.random.default_rng(0).normal(size=5000)
        y = np.sum(x * data.copy())
        data *= 2.0
        return y + np.sum(x * data)

    assert np.isclose(wg.grad(f)(1.5), f(1.0))


def test_arrays_of_positions():
    order = np.arange(2000)[::-1].copy()

    def f(x):
        y = x[order] * np.arange(2000.0)
        order[:] = 0
        return np.sum(y)

    with pytest.raises(ChangedError, match="getitem"):
        wg.grad(f)(np.ones(3000))


@pytest.mark.parametrize("dtype", PLAIN)
@pytest.mark.parametrize("n", SIZES[1:])
@pytest.mark.parametrize("layout", ["C", "F", "strided", "transposed", "row"])
def test_fingerprints_see_a_change(dtype, n, layout):
    rng = np.random.default_rng(0)
    base = (rng.normal(size=(2 * n // 10 + 1, 10)) * 3).astype(dtype)
    array = {
        "C": base[: n // 10],
        "F": np.asfortranarray(base[: n // 10]),
        "strided": base[::2][: n // 10],
        "transposed": base[: n // 10].T,
        "row": base[: n // 10, :9],
    }[layout]
    assert array.size > 900
    unchanged = Unchanged()
    unchanged.remember(array)
    assert not unchanged.changed()
    array[...] = np.roll(array, 3, 0) if dtype is not np.bool_ else ~array
    assert [a is array for a in unchanged.changed()] == [True]


def test_a_pull_after_the_data_has_changed():
    data = np.random.default_rng(0).normal(size=5000)
    y, pull = wg.vjp(lambda x: np.sum(x * data), 1.5)
    _, push = wg.linearize(lambda x: np.sum(x * data), 1.5)
    assert np.isclose(pull(1.0)[0], np.sum(data))
    assert np.isclose(push(1.0), np.sum(data))
    data *= 2.0
    for late in (pull, push):
        with pytest.raises(ChangedError, match="changed in place"):
            late(1.0)
    assert np.isclose(y, 1.5 * np.sum(data) / 2)


def test_arrays_are_not_kept_alive():
    alive = []

    def f(x):
        for _ in range(3):
            data = np.random.default_rng(0).normal(size=5000)
            x = x + data.sum() * 0 + np.sum(x + data) * 0
            alive.append(sys.getrefcount(data))
        return x

    gc.disable()
    try:
        wg.grad(f)(1.5)
    finally:
        gc.enable()
    assert set(alive) == {2}
