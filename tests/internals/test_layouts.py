"""How results lie in memory: as NumPy's own do, since that decides which `ravel()` is a view, and what writes change.

The truth is NumPy itself: each call is run on plain arrays and inside a trace, with arguments that lie in every way.
"""

from __future__ import annotations

import contextlib
import itertools

import numpy as np
import pytest
import scipy.fft
import scipy.linalg
import scipy.signal
import scipy.special
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from test_numpy_surface import LISTED, point

import wengert as wg
from wengert.errors import UnsupportedError, WengertError
from wengert.primitives import CALLS
from wengert.tracing import Traced, innermost
from wengert.tracing.layout import laid_like
from wengert.tracing.views import model_of

pytestmark = pytest.mark.filterwarnings("ignore::wengert.errors.DecisionWarning")  # results are looked at, not returned


def how_it_lies(array):
    """Describe how an array lies, the size of gaps aside: None for a scalar, which is no array."""
    if type(array) is Traced:
        array = model_of(array)
    if not isinstance(array, np.ndarray):
        return None
    strides = laid_like(array, array).strides if array.size > 1 else array.shape
    return array.shape, tuple(s if n > 1 else 0 for s, n in zip(strides, array.shape, strict=True))


def ways_to_lie(a):
    """Lay an array out in every order of its axes, with gaps, and backwards."""
    if np.ndim(a) == 0:
        return [a, np.array(a)]
    ways = [laid(a, axes) for axes in itertools.permutations(range(a.ndim))]
    return [*ways, laid(a, range(a.ndim), 2), laid(a, range(a.ndim)[::-1], 2), a[::-1].copy()[::-1]]


def laid(a, axes, step=1):
    """Lay an array out with its axes in an order, each `step` times as long as it need be."""
    axes = list(axes)
    whole = np.empty([step * a.shape[k] for k in axes])[(slice(None, None, step),) * a.ndim]
    made = whole.transpose(np.argsort(axes))
    made[...] = a
    return made


def lies_inside(f, args):
    """Call a function inside a trace, and describe how its result lies there."""
    found = []

    def watched(*xs):
        y = f(*xs)
        found.append(how_it_lies(y))
        return xs[0] * 1.0

    wg.linearize(watched, *args)
    return found[0]


@pytest.mark.filterwarnings("ignore:'where' used without 'out'")
@pytest.mark.parametrize(("name", "f", "many"), LISTED, ids=[f"{c[0]}-{k}" for k, c in enumerate(LISTED)])
def test_results_lie_as_numpys(name, f, many):
    for shapes in many:
        for args in itertools.islice(itertools.product(*map(ways_to_lie, point(shapes))), 0, 60):
            try:
                expected = f(*args)
            except TypeError:  # the built-in round takes no array without dimensions
                continue
            if isinstance(expected, (np.ndarray, np.generic)):
                assert lies_inside(f, args) == how_it_lies(expected), [np.shape(a) and a.strides for a in args]


@pytest.mark.parametrize(
    "point",
    [lambda x: x[0], lambda x: np.squeeze(x[:1]), lambda x: x[:1] * 1.0, lambda x: x[:2] * 1.0],
    ids=["scalar", "without dimensions", "one element", "two elements"],
)
@pytest.mark.filterwarnings("ignore")
def test_scalars_are_scalars_and_arrays_without_dimensions_are_arrays(point):
    x = np.array([0.3, 0.6, 0.8])
    functions = [f for f in CALLS if (getattr(f, "__module__", None) or "numpy").startswith("numpy")]
    functions += [
        lambda v: np.pad(v, 1),
        lambda v: np.tensordot(v, v, 1),
        lambda v: np.einsum("i,i", v, v),
        lambda v: np.einsum("...->...", v),
        lambda v: np.where(v > 0, v, 0.0),
        lambda v: np.quantile(v, 0.3),
        lambda v: np.interp(v, [0.0, 1.0], [0.0, 2.0]),
        lambda v: np.piecewise(v, [v > 0], [lambda t: t * 2]),
        lambda v: np.broadcast_to(v, ()),
        lambda v: np.reshape(v, ()),
        lambda v: np.take(v, np.array(0)),
        lambda v: np.mean(v, axis=0),
        lambda v: np.exp(v, dtype=np.float64),
        lambda v: v.astype(np.float32),
        lambda v: v[()],
        lambda v: v[..., 0],
        lambda v: v[np.array(0)],
        lambda v: np.median(v, axis=0),
        lambda v: np.array(v),
        lambda v: np.copy(v),
    ]
    compared = 0
    for f in functions:
        try:
            expected = f(point(x))
        except Exception:  # what it does not take is not compared
            continue
        if isinstance(expected, (np.ndarray, np.generic)) and expected.dtype.kind in "biufc":
            with contextlib.suppress(WengertError):  # what is refused is not wrong
                assert lies_inside(lambda x, f=f: f(point(x)), [x]) == how_it_lies(expected), f
                compared += 1
    assert compared > 100


OF_SCIPY = {
    "solve": lambda a, b: scipy.linalg.solve(a, b),
    "solve_triangular": lambda a, b: scipy.linalg.solve_triangular(a, b),
    "cholesky": lambda a, b: scipy.linalg.cholesky(a, lower=True),
    "cho_factor": lambda a, b: scipy.linalg.cho_factor(a)[0],
    "cho_solve": lambda a, b: scipy.linalg.cho_solve(scipy.linalg.cho_factor(a), b),
    "lu": lambda a, b: scipy.linalg.lu(a)[1],
    "lu_factor": lambda a, b: scipy.linalg.lu_factor(a)[0],
    "expm": lambda a, b: scipy.linalg.expm(a),
    "logm": lambda a, b: scipy.linalg.logm(a),
    "sqrtm": lambda a, b: scipy.linalg.sqrtm(a),
    "cosm": lambda a, b: scipy.linalg.cosm(a),
    "inv": lambda a, b: scipy.linalg.inv(a),
    "pinv": lambda a, b: scipy.linalg.pinv(a),
    "eigh": lambda a, b: scipy.linalg.eigh(a)[1],
    "svd": lambda a, b: scipy.linalg.svd(a)[2],
    "qr": lambda a, b: scipy.linalg.qr(a)[0],
    "lstsq": lambda a, b: scipy.linalg.lstsq(a, b)[0],
    "solve_sylvester": lambda a, b: scipy.linalg.solve_sylvester(a, a, b @ b.T),
    "np.solve": lambda a, b: np.linalg.solve(a, b),
    "np.inv": lambda a, b: np.linalg.inv(a),
    "np.cholesky": lambda a, b: np.linalg.cholesky(a),
    "np.qr": lambda a, b: np.linalg.qr(a)[1],
    "np.eigh": lambda a, b: np.linalg.eigh(a)[1],
    "np.eig": lambda a, b: np.linalg.eig(a)[1],
    "np.svd": lambda a, b: np.linalg.svd(b, full_matrices=False)[2],
    "np.pinv": lambda a, b: np.linalg.pinv(a),
    "np.lstsq": lambda a, b: np.linalg.lstsq(a, b)[0],
    "np.matrix_power": lambda a, b: np.linalg.matrix_power(a, 3),
    "np.fft": lambda a, b: np.fft.fft(a, axis=0).real,
    "np.rfft2": lambda a, b: np.fft.rfft2(a),
    "dct": lambda a, b: scipy.fft.dct(a, axis=0),
    "convolve": lambda a, b: scipy.signal.convolve(a, a),
    "lfilter": lambda a, b: scipy.signal.lfilter([1.0, 0.5], [1.0, 0.2], a, axis=0),
    "logsumexp": lambda a, b: scipy.special.logsumexp(a, axis=0, keepdims=True),
    "softmax": lambda a, b: scipy.special.softmax(a, axis=0),
    "betainc": lambda a, b: scipy.special.betainc(a * a + 1, a * a + 1, 0.5),
    "norm.logpdf": lambda a, b: scipy.stats.norm.logpdf(a),
}


@pytest.mark.parametrize("f", OF_SCIPY.values(), ids=OF_SCIPY)
def test_results_of_linear_algebra_and_scipy_lie_as_theirs(f):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(3, 3)), rng.normal(size=(3, 2))
    for args in itertools.product(ways_to_lie(a @ a.T + 3 * np.eye(3)), ways_to_lie(b)):
        assert lies_inside(f, args) == how_it_lies(f(*args))


# ---- Random programs: what is written through one view is seen through others where NumPy sees it ----

ANYWHERE = {
    "scaled": lambda a, k: a * 2.0,
    "sin": lambda a, k: np.sin(a),
    "plus": lambda a, k: a + k.other,
    "plain first": lambda a, k: k.other * a,
    "maximum": lambda a, k: np.maximum(k.other, a),
    "hypot": lambda a, k: np.hypot(a, k.other),
    "logaddexp": lambda a, k: np.logaddexp(a, k.other),
    "power": lambda a, k: np.abs(a) ** 1.5,
    "with its transpose": lambda a, k: a * a.T if a.shape == a.T.shape else -a,
    "T": lambda a, k: a.T,
    "transpose": lambda a, k: a.transpose(k.axes),
    "swapaxes": lambda a, k: np.swapaxes(a, 0, k.axis),
    "moveaxis": lambda a, k: np.moveaxis(a, 0, -1),
    "slices": lambda a, k: a[k.slices],
    "positions": lambda a, k: a[k.along(k.positions)],
    "table of positions": lambda a, k: a[k.table],
    "mask": lambda a, k: a[k.along(k.mask)],
    "new axis": lambda a, k: a[:, None],
    "row": lambda a, k: a[0],
    "take": lambda a, k: np.take(a, k.positions, axis=k.axis),
    "take_along_axis": lambda a, k: np.take_along_axis(a, np.argsort(k.other, axis=k.axis), axis=k.axis),
    "compress": lambda a, k: np.compress(k.mask, a, axis=k.axis),
    "sort": lambda a, k: np.sort(a, axis=k.axis),
    "partition": lambda a, k: np.partition(a, 0, axis=k.axis),
    "quantile": lambda a, k: np.quantile(a, [0.2, 0.6], axis=k.axis),
    "median": lambda a, k: np.median(a, axis=k.axis, keepdims=True),
    "mean": lambda a, k: np.mean(a, axis=k.axis, keepdims=True),
    "sum": lambda a, k: np.sum(a, axis=k.axis),
    "cumsum": lambda a, k: np.cumsum(a, axis=k.axis),
    "cumprod": lambda a, k: np.cumprod(a, axis=k.axis),
    "accumulate": lambda a, k: np.multiply.accumulate(a, axis=k.axis),
    "outer": lambda a, k: np.add.outer(a, np.ones(2)),
    "flip": lambda a, k: np.flip(a, k.axis),
    "rot90": lambda a, k: np.rot90(a),
    "roll": lambda a, k: np.roll(a, 1, axis=k.axis),
    "repeat": lambda a, k: np.repeat(a, 2, axis=k.axis),
    "tile": lambda a, k: np.tile(a, 2),
    "diff": lambda a, k: np.diff(a, axis=k.axis),
    "gradient": lambda a, k: np.gradient(a, axis=k.axis),
    "pad": lambda a, k: np.pad(a, 1),
    "insert": lambda a, k: np.insert(a, 0, 1.5, axis=k.axis),
    "delete": lambda a, k: np.delete(a, 0, axis=k.axis),
    "clip": lambda a, k: np.clip(a, -1, 1),
    "round": lambda a, k: np.round(a, 1) * a,
    "nan_to_num": lambda a, k: np.nan_to_num(a),
    "where": lambda a, k: np.where(k.other > 0, a, k.other),
    "where itself": lambda a, k: np.where(a > 0, a, 0.0),
    "select": lambda a, k: np.select([k.other > 0], [a], 0.0),
    "concatenate": lambda a, k: np.concatenate([a, k.other], axis=k.axis),
    "stack": lambda a, k: np.stack([a, k.other], axis=k.axis),
    "hstack": lambda a, k: np.hstack([a, k.other]),
    "split": lambda a, k: np.array_split(a, 2, axis=k.axis)[1],
    "triu": lambda a, k: np.triu(a),
    "diagonal": lambda a, k: np.diagonal(a),
    "kron": lambda a, k: np.kron(a, np.ones(2)),
    "np.outer": lambda a, k: np.outer(a, a),
    "dot": lambda a, k: np.dot(a, a.T),
    "matmul": lambda a, k: a @ np.swapaxes(a, -1, -2),
    "tensordot": lambda a, k: np.tensordot(a, a, axes=(0, 0)),
    "einsum": lambda a, k: np.einsum("i...,i...->...i", a, a),
    "einsum transposes": lambda a, k: np.einsum("...ij->...ji", a),
    "einsum of a diagonal": lambda a, k: np.einsum("ii->i", a),
    "meshgrid": lambda a, k: np.meshgrid(a.ravel()[:3], a.ravel()[:2])[1],
    "broadcast_to": lambda a, k: np.broadcast_to(a, (2, *a.shape)),
    "squeeze": lambda a, k: np.squeeze(a),
    "expand_dims": lambda a, k: np.expand_dims(a, k.axis),
    "atleast_3d": lambda a, k: np.atleast_3d(a),
    "copy": lambda a, k: a.copy(),
    "copy by columns": lambda a, k: a.copy("F"),
    "np.copy": lambda a, k: np.copy(a),
    "array": lambda a, k: np.array(a),
    "asfortranarray": lambda a, k: np.asfortranarray(a),
    "ascontiguousarray": lambda a, k: np.ascontiguousarray(a),
    "astype": lambda a, k: a.astype(float),
    "zeros_like": lambda a, k: np.zeros_like(a) + 1.0,
    "full_like": lambda a, k: np.full_like(a, 2.0),
    "ravel": lambda a, k: a.ravel(),
    "ravel by columns": lambda a, k: a.ravel("F"),
    "ravel as it lies": lambda a, k: a.ravel("K"),
    "flatten": lambda a, k: a.flatten(),
    "to rows": lambda a, k: a.reshape(-1, a.shape[-1]),
    "to columns": lambda a, k: a.reshape(a.shape[0], -1),
    "reshape by columns": lambda a, k: np.reshape(a, (a.shape[-1], -1), order="F"),
}
WRITING = {
    "slices": lambda a, k: a.__setitem__(k.slices, 7.5),
    "row": lambda a, k: a.__setitem__(0, 3.25),
    "all": lambda a, k: a.__setitem__(..., k.other),
    "positions": lambda a, k: a.__setitem__(k.along(k.positions), 1.25),
    "+=": lambda a, k: a.__iadd__(k.other),
    "*=": lambda a, k: a.__imul__(2.0),
    "out": lambda a, k: np.sin(a, out=a),
    "copyto": lambda a, k: np.copyto(a, k.other),
    "fill_diagonal": lambda a, k: np.fill_diagonal(a, 4.5),
    "sort": lambda a, k: a.sort(axis=k.axis),
    "flat": lambda a, k: a.flat.__setitem__(0, 9.25),
    "put": lambda a, k: np.put(a, [0], 2.125),
    "ravel": lambda a, k: a.ravel().__setitem__(0, 8.25),
    "ravel as it lies": lambda a, k: a.ravel("K").__setitem__(0, 12.5),
    "ravel of the transpose": lambda a, k: a.T.ravel().__setitem__(0, 5.25),
    "reshape": lambda a, k: a.reshape(-1).__setitem__(0, 6.25),
    "reshape by columns": lambda a, k: a.reshape(-1, order="F").__setitem__(0, 11.5),
}


class Chances:
    """What a step draws beside the function: an axis, an index, a plain array of the same shape..."""

    def __init__(self, rng, a):
        n, self._ndim = (a.shape[0] if a.ndim else 1), a.ndim
        self.axis = int(rng.integers(max(a.ndim, 1)))
        self.axes = tuple(map(int, rng.permutation(a.ndim)))
        n = a.shape[self.axis] if a.ndim else 1
        self.positions, self.mask = rng.integers(0, n, 3), rng.random(n) < 0.6
        self.table = laid(rng.integers(0, a.shape[0] if a.ndim else 1, (2, 3)), rng.permutation(2)).astype(int)
        self.slices = tuple(slice(None, None, int(rng.choice([1, 1, 2, -1, -2]))) for _ in a.shape)
        self.other = in_some_way(rng, rng.normal(size=a.shape))

    def along(self, index):
        return (slice(None),) * self.axis + (index,) if self._ndim else index


def in_some_way(rng, a):
    ways = ways_to_lie(a)
    return ways[rng.integers(len(ways))]


def random_steps(rng, first):
    """Run random steps under NumPy: what each does, and all arrays after it."""
    pool, steps = [first], []
    for _ in range(rng.integers(2, 9)):
        writes = rng.random() < 0.35
        name = str(rng.choice(list(WRITING if writes else ANYWHERE)))
        which = int(rng.integers(len(pool)))
        step = (WRITING if writes else ANYWHERE)[name], which, Chances(rng, pool[which]), writes
        try:
            made = step[0](pool[which], step[2])
        except (ValueError, TypeError, IndexError):
            if writes:
                return steps, (step, name)
            continue
        if not writes:
            if not isinstance(made, np.ndarray) or not 0 < made.size < 400 or made.ndim > 5:
                continue
            pool.append(made)
        steps.append((name, step, [how_it_lies(a) for a in pool], [a.copy() for a in pool]))
    return steps, None


@given(st.integers(0, 2**32 - 1))
def test_random_programs_see_what_they_see_under_numpy(seed):
    rng = np.random.default_rng(seed)
    x = in_some_way(rng, rng.normal(size=rng.integers(1, 4, rng.integers(1, 4))))
    with np.errstate(all="ignore"):
        steps, refused = random_steps(rng, laid_like(x, x))

    def again(x):
        pool, done = [x], []
        for name, (call, which, chances, writes), layouts, values in steps:
            made = call(pool[which], chances)
            done.append(f"{name} of {which}")
            if not writes:
                pool.append(made)
            for k, (a, lies, value) in enumerate(zip(pool, layouts, values, strict=True)):
                assert how_it_lies(a) == lies, f"{done}: array {k} lies otherwise"
                np.testing.assert_allclose(innermost(a), value, 1e-12, 1e-12, err_msg=f"{done}: array {k}")
        if refused is not None:
            (call, which, chances, _), name = refused
            with pytest.raises((ValueError, TypeError, IndexError)):
                call(pool[which], chances)
        return x * 1.0

    with np.errstate(all="ignore"):
        wg.linearize(again, x)


# ---- What used to go wrong, and what cannot go right ----


@pytest.mark.parametrize("way", range(5))
@pytest.mark.parametrize(
    "view",
    [
        lambda y: np.einsum("ii->i", y),
        lambda y: np.einsum("ij->ji", y)[0],
        lambda y: np.einsum("ji", y)[1:],
        lambda y: np.einsum("...->...", y),
        lambda y: np.einsum(y, [0, 1], [1, 0])[:, 0],
        lambda y: np.einsum("ii->i", y)[::-1].reshape(3, 1),
        lambda y: np.lib.stride_tricks.as_strided(y, (2,), (y.strides[0] + y.strides[1],)),
        lambda y: np.sort(y.T).ravel(),
        lambda y: np.linalg.svd(y)[2].ravel(),
        lambda y: np.nan_to_num(y.T).T.ravel(),
    ],
)
def test_writes_to_views_that_numpy_makes_in_other_ways(view, way):
    def f(x):
        y = x * 1.0
        part = view(y)
        part[0] = 5.0 * x[0, 1]
        part += 1.0
        return np.concatenate([y.ravel(), part.ravel()])

    x = ways_to_lie(np.random.default_rng(1).normal(size=(3, 3)) + 2.0)[way]
    value, push = wg.linearize(f, x)
    np.testing.assert_allclose(value, f(x), rtol=1e-14)
    t = np.random.default_rng(0).normal(size=(3, 3))
    above, below = (f(laid_like(x + h * t, x)) for h in (1e-6, -1e-6))
    np.testing.assert_allclose(push(t), (above - below) / 2e-6, rtol=1e-6, atol=1e-6)


def test_scalars_of_functions_written_with_arrays_do_not_change_in_place():
    def f(x):
        m = np.median(x)
        before = m
        m += 1.0
        return before * m

    x = np.array([0.3, 1.0, 2.5])
    assert wg.linearize(f, x)[0] == 2.0 == f(x)
    np.testing.assert_allclose(wg.grad(f)(x), [0.0, 3.0, 0.0])


def test_windows_that_overlap_are_not_written_to():
    def f(x):
        windows = np.lib.stride_tricks.sliding_window_view(x * 1.0, 2, writeable=True)
        windows[0, 1] = 3.0
        return np.sum(windows)

    with pytest.raises(UnsupportedError, match="more than once"):
        wg.grad(f)(np.ones(4))


def test_finding_out_how_results_lie_overwrites_nothing():
    def f(a):
        b = np.asfortranarray(a * 2.0)
        y = scipy.linalg.solve(np.asfortranarray(a), b, overwrite_a=True, overwrite_b=True)
        middle = np.median(b, axis=0, overwrite_input=True)
        return np.sum(y * a) + np.sum(b * b) + np.sum(middle)

    def written_out(a):
        return np.sum(scipy.linalg.solve(a, a * 2.0) * a) + np.sum(4.0 * a * a) + np.sum(np.median(a * 2.0, axis=0))

    a = np.asfortranarray([[4.0, 1.0], [2.0, 3.0]])
    np.testing.assert_allclose(wg.grad(f)(a), wg.grad(written_out)(a), rtol=1e-13)
    np.testing.assert_array_equal(a, [[4.0, 1.0], [2.0, 3.0]])
