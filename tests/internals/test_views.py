"""Which results of NumPy's functions are views of their argument, and which are arrays of their own: both are written.

The truth is NumPy itself: the same function is run on plain arrays, and its values and differences are compared.
"""

from __future__ import annotations

import numpy as np
import pytest
import truth
from agreement import assert_close

import wengert as wg
from wengert.errors import UnsupportedError

X = np.array([0.73, -0.41, 1.31, 0.22])


def flatten_copies(x):
    y = x.reshape(2, 2) * 1.0
    f = y.flatten()
    f[0] = 5
    g = x * 1.0
    h = g.flatten()
    h[1] = 3
    return np.concatenate([y.ravel(), g, f, h])


def ravel_of_a_column_copies(x):
    y = np.outer(x, x)
    c = y[:, 1]
    r = c.ravel()
    r[0] = 7
    r += x[0]
    return y


def ravel_of_a_long_column_copies(x):
    y = np.outer(np.tile(x, 6), np.tile(x, 6))
    c = y[:, 1]
    r = c.ravel()
    r[0] = 7
    return y


def reshape_of_a_block_copies(x):
    y = np.outer(x, x)
    c = y[:, :2]
    r = c.reshape(-1)
    r[0] = 7
    return y


def reshape_of_a_long_block_copies(x):
    y = np.outer(np.tile(x, 6), np.tile(x, 6))
    c = y[:, :2]
    r = c.reshape(-1)
    r[0] = 7
    q = c.reshape(2, -1)
    q[0] = 1
    return y


def reshape_of_rows_is_a_view(x):
    y = np.outer(np.tile(x, 6), np.tile(x, 6))
    c = y[:2]
    r = c.reshape(-1)
    r[0] = 7
    q = y[:4].ravel()
    q[3] = x[0]
    return y


def reshape_of_a_transpose(x):
    y = np.outer(x, x)
    r = y.T.reshape(-1)
    r[0] = 7
    s = y.T.T.reshape(-1)
    s[1] = 9 * x[0]
    return y


def what_is_reversed(x):
    y = x * 1.0
    r = y[::-1].reshape(2, 2)
    r[0] = 7
    q = y[::-1].ravel()
    q[0] = 1
    return y


def every_other_element(x):
    y = np.tile(x, 4) * 1.0
    r = y[::2].reshape(2, 4)
    r[0] = 7
    return y


def transposes(x):
    y = np.outer(np.tile(x, 6), np.tile(x, 6))
    r = y.T.ravel()
    r[0] = 7
    r2 = y.T[:3].reshape(-1)
    r2[:] = 0
    r3 = y.T[:3].T.reshape(-1)
    r3[:] = 0
    return y


def orders_in_memory(x):
    y = np.outer(x, x)
    r = y.ravel("F")
    r[0] = 7
    r2 = y.ravel("K")
    r2[1] = 3
    r3 = y.T.ravel("K")
    r3[2] = 4
    r4 = y.T.ravel("A")
    r4[3] = 5
    return y


def functions_instead_of_methods(x):
    y = np.outer(x, x)
    np.ravel(y)[0] = 3
    np.ravel(y[:, 1])[0] = 9
    np.reshape(y[:, :2], -1)[0] = 4
    return y


def squeezes(x):
    y = np.outer(x, x)[:, :1]
    s = np.squeeze(y)
    s[0] = 3
    return y * 1.0


def swaps_axes(x):
    y = np.outer(x, x)
    a = y.swapaxes(0, 1).reshape(-1)
    a[0] = 9
    return y


def diagonal_of_a_product(x):
    y = np.outer(x, x)
    d = np.diagonal(y)
    return d * 2


def splits_columns(x):
    y = np.outer(x, x)
    a, b = np.hsplit(y, 2)
    a.ravel()[0] = 4
    b[:] = a
    return y


def new_axes(x):
    y = x * 1.0
    z = y[:, None]
    r = z.reshape(-1)
    r[0] = 5
    w = y[None].ravel()
    w[1] = 6
    return y


def broadcast_and_flattened(x):
    y = np.broadcast_to(x, (3, 4))
    r = y.reshape(-1)
    r[0] = 5
    return r + np.sum(y)


def contiguous_arrays(x):
    y = np.outer(x, x).T
    z = np.ascontiguousarray(y)
    z[0] = 3
    w = np.asfortranarray(y)
    w[1] = 4
    return y


def at_least_two_axes(x):
    y = x * 1.0
    np.atleast_2d(y)[0, 0] = 5
    np.atleast_3d(y)[0, 1, 0] = 6
    return y


def rolls_an_axis(x):
    y = np.outer(x, x)
    np.rollaxis(y, 1)[0] = x
    return y


def flips(x):
    y = np.outer(x, x)
    np.flip(y)[0] = x
    np.fliplr(y)[0, 0] = 7
    np.rot90(y)[1] = 3
    return y


def windows_see_changes(x):
    y = x * 1.0
    v = np.lib.stride_tricks.sliding_window_view(y, 2)
    y[1] = 5
    return v * 1.0


def splits_rows(x):
    y = np.outer(x, x)
    a, _ = np.vsplit(y, 2)
    a[:] = 0
    np.array_split(y, 3)[1][:] = x
    return y


def meshes_that_are_views(x):
    a, b = np.meshgrid(x, x, copy=False, sparse=True)
    return a * b


def triangles_copy(x):
    y = np.outer(x, x)
    t = np.triu(y)
    t[0] = 0
    return y


def unstacks(x):
    y = np.outer(x, x)
    a = np.unstack(y)[1]
    a[:] = x
    return y


def matrix_transposes(x):
    y = np.outer(x, x)
    y.mT[0] = x
    np.matrix_transpose(y)[1] = 2 * x
    np.permute_dims(y, (1, 0))[2] = 3
    return y


def real_if_close(x):
    y = x * 1.0
    z = np.real_if_close(y)
    z[0] = 3
    return y


def takes_copy(x):
    y = np.outer(x, x)
    t = np.take(y, 0, axis=0)
    t[:] = 0
    t = y.take([0])
    t[0] = 3
    t = np.compress([1, 0, 0, 0], y, 0)
    t[:] = 2
    return y


def astype_copies_unless_told(x):
    y = x * 1.0
    t = y.astype(float)
    t[0] = 4
    t = y.astype(float, copy=False)
    t[1] = 3
    return y


def view_method(x):
    y = x * 1.0
    z = y.view()
    z[0] = 4
    return y


def positive_copies(x):
    y = x * 1.0
    z = +y
    z[0] = 4
    z = np.abs(y)
    z[1] = 3
    return y


def sums_over_one_element(x):
    y = x.reshape(1, 4) * 1.0
    z = np.sum(y, axis=0)
    z[0] = 3
    z = np.max(y, 0)
    z[0] = 3
    return y


def joins_of_one(x):
    y = x * 1.0
    z = np.concatenate([y])
    z[0] = 3
    z = np.stack([y])[0]
    z[1] = 3
    return y


def flat_iterators(x):
    y = np.outer(x, x)
    r = y[1]
    r2 = r[::2]
    r2[:] = x[0]
    f = y.flat
    f[3] = 9
    f[[4, 5]] = 8
    return y


def views_that_are_only_read_see_changes(x):
    y = np.outer(x, x)
    d = np.diagonal(y)
    e = y.diagonal(1)
    g = np.diag(y)
    b = np.broadcast_to(y[0], (3, 4))
    a1, _ = np.broadcast_arrays(y, x)
    w = np.lib.stride_tricks.sliding_window_view(y[0], 2)
    y[0] = x * 3
    y[1, 1] = 9
    return np.concatenate([d, e, g, b.ravel(), a1.ravel(), w.ravel()])


def copies_lie_as_numpys_do(x):
    y = np.outer(x, x).T.copy()
    y.ravel()[0] = 5
    z = np.outer(x, x**2).T
    z.ravel()[0] = 7
    w = np.array(z)
    w.ravel()[1] = 3
    w.T.ravel()[1] = 4
    u = np.copy(z)
    u.T.reshape(-1)[2] = 8
    return np.concatenate([y.ravel(), z.ravel(), w.ravel(), u.ravel()])


def elements_in_the_order_of_memory(x):
    y = np.outer(x, x**2)
    return np.concatenate(
        [
            y.T.ravel("K"),
            y.T.ravel("A"),
            y.T.flatten("K"),
            y.T.reshape(-1, order="A"),
            np.ravel(y.T, order="K"),
            np.reshape(y.T, -1, order="A"),
            y[::-1].ravel("K"),
            y[:, ::2].T.ravel("K"),
        ]
    )


def asarray_with_an_order(x):
    y = np.outer(x, x)
    a = np.asarray(y, order="F")
    a[0] = 3
    b = np.asarray(y, order="C")
    b[1] = 4
    c = np.array(y, order="F")
    c.T.ravel()[0] = 9
    return np.concatenate([y.ravel(), c.ravel()])


def meshes_copy(x):
    y = x * 1.0
    a, _ = np.meshgrid(y, y, sparse=True)
    a[:] = 0
    return y


def functions_that_change_nothing_copy(x):
    y = x * 1.0
    z = np.roll(y, 0)
    z[0] = 1
    z = np.delete(y, []) if False else np.repeat(y, 1)
    z[1] = 2
    z = np.round(y, 3)
    z[2] = 3
    z = np.sort(y)
    z[0] = 9
    z = np.tile(y, 1)
    z[0] = 8
    z = np.clip(y, None, 9.0)
    z[3] = 1
    z = np.append(y, [])
    z[0] = 1
    z = np.squeeze(y)
    z[1] = 6
    return y


def _copies_and_writes(v):
    m = np.copy(v)
    m[0] = 5.0
    s = np.roll(v, 0)
    s[1] = 7.0
    c = v.clip(-9.0, 9.0)
    c[0] = 1.0
    q = np.sort(v)
    q[0] = 0.0
    w = np.clip(v, None, None)
    w[2] = 6.0
    middle = np.median(v[:3])
    before = middle
    middle += 1.0
    return v * 1.0 + m * 2.0 + s + c + q + w + before * middle


def functions_that_call_the_users(x):
    y = np.outer(x, x**2) + x
    rows = np.apply_along_axis(_copies_and_writes, 1, y)
    return rows + np.piecewise(y, [y > -9.0, y <= -9.0], [_copies_and_writes, lambda v: v * 2.0])


FUNCTIONS = [
    f
    for f in list(globals().values())
    if callable(f) and getattr(f, "__module__", "") == __name__ and not f.__name__.startswith("_")
]


@pytest.mark.parametrize("f", FUNCTIONS, ids=lambda f: f.__name__)
def test_writes_are_seen_where_numpy_sees_them(f):
    np.testing.assert_allclose(wg.linearize(f, X)[0], f(X.copy()), rtol=1e-14)
    expected = truth.differences(lambda x: f(x.copy()), [X], 0, step=1e-3)
    for mode in ("forward", "reverse"):
        assert_close(wg.jacobian(f, mode=mode)(X), expected, 1e-8, mode)


@pytest.mark.parametrize(
    "view",
    [
        lambda y: np.broadcast_to(y[0], (2, 4)),
        np.diagonal,
        np.diag,
        lambda y: np.lib.stride_tricks.sliding_window_view(y, (2, 2)),
        lambda y: np.broadcast_to(y, (3, 4, 4)),
    ],
)
def test_views_that_are_not_written_to(view):
    def f(x):
        y = np.outer(x, x)
        view(y)[0] = 1.0
        return y

    for call in (f, wg.jacobian(f)):
        with pytest.raises(ValueError, match="read-only"):
            call(X)


def test_nan_to_num_in_place_says_what_to_write():
    with pytest.raises(UnsupportedError, match="use its result"):
        wg.grad(lambda x: np.sum(np.nan_to_num(x, copy=False)))(X)
