"""Patterns of Jacobians and Hessians: no entry is ever missing, and none is too many where the structure is plain.

The truth is the nonzeros of the derivatives themselves, at several points: they are accumulated by the sweeps, which
know nothing of patterns.
"""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import scipy.sparse
from hypothesis import given, settings
from loops import INGREDIENTS, RandomBody, as_fori, as_scan, as_while, point, random_bodies
from programs import points, random_programs
from test_checks import one_of_each

import wengert as wg
from wengert.accumulation.sparsity import pattern_of
from wengert.errors import DecisionWarning, SizeError
from wengert.linearization import Linearization

FORMS = {"scan": as_scan, "fori_loop": as_fori, "while_loop": as_while}
rng = np.random.default_rng(2)


def nonzeros(f, args, argnums=0):
    """Return where the Jacobian of a function is not zero here, as matrices, one for each argument."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        columns = wg.jacobian(f, argnums, mode="forward")(*args)
    many = columns if isinstance(argnums, tuple) else (columns,)
    counts = [np.size(args[k]) for k in (argnums if isinstance(argnums, tuple) else (argnums,))]
    return [np.reshape(J, (-1, count)) != 0 for J, count in zip(many, counts, strict=True)]


def others(args, count=3):
    """Yield points near one, and with its elements in another order, so that other elements are chosen."""
    for k in range(2 * count):
        if k % 2:
            yield [np.reshape(rng.permutation(np.ravel(a)), np.shape(a))[()] for a in args]
        else:
            yield [np.asarray(a * rng.uniform(0.9, 1.1, np.shape(a)))[()] for a in args]


def assert_covers(f, args):
    """Compare patterns with nonzeros: for all inputs at several points, for this input at this one."""
    args = [np.asarray(a, float)[()] for a in args]
    argnums = tuple(range(len(args)))
    with warnings.catch_warnings(record=True) as caught, np.errstate(all="ignore"):
        warnings.simplefilter("always")
        anywhere = [p.toarray() for p in wg.jacobian_sparsity(f, argnums)(*args)]
        here = [p.toarray() for p in wg.jacobian_sparsity(f, argnums, local=True)(*args)]
    for known, local, every in zip(nonzeros(f, args, argnums), here, anywhere, strict=True):
        assert known.shape == local.shape == every.shape
        assert not (known & ~local).any(), "an entry is missing here"
        assert not (local & ~every).any(), "an entry of this input is missing in the pattern for all"
    if any(w.category is DecisionWarning for w in caught):
        return
    for point_ in others(args):
        try:
            found = nonzeros(f, point_, argnums)
        except Exception:
            continue
        for known, every in zip(found, anywhere, strict=True):
            if known.shape == every.shape:
                assert not (known & ~every).any(), "an entry is missing at another point"


# ---- Nothing is ever missing ----


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "make", "values"), one_of_each())
def test_every_function(name, make, values):
    assert_covers(*make(*values))


@settings(max_examples=80)
@given(random_programs(analytic=False), points())
def test_random_programs(program, x):
    assert_covers(program, [x])


@settings(max_examples=25)
@given(random_programs(max_size=4), points(3))
def test_hessians_of_random_programs(program, x):
    def f(x):
        return np.sum(np.sin(program(x)))

    pattern = wg.hessian_sparsity(f)(x).toarray()
    np.testing.assert_array_equal(pattern, pattern.T)
    local = wg.hessian_sparsity(f, local=True)(x).toarray()
    for point_ in ([x], *others([x], 1)):
        assert not ((wg.hessian(f)(*point_) != 0) & ~pattern).any()
    assert not ((wg.hessian(f)(x) != 0) & ~local).any()


@pytest.mark.parametrize("form", sorted(FORMS))
@pytest.mark.parametrize("name", sorted(INGREDIENTS))
def test_each_ingredient_of_a_loop(name, form):
    assert_covers(FORMS[form](RandomBody((name,))), point(1, 3))


@settings(max_examples=10)
@given(random_bodies(2))
def test_random_loops(body):
    args = point(3, 4)
    for make in FORMS.values():
        assert_covers(make(body), args)
    assert_covers(as_scan(body, reverse=True), args)


@pytest.mark.parametrize("form", sorted(FORMS))
@pytest.mark.parametrize("name", ["product", "elements", "where", "reductions", "counter", "decision", "cond", "scan",
                                  "while_loop", "map", "checkpoint", "custom", "assignment"])  # fmt: skip
@pytest.mark.filterwarnings("ignore::wengert.errors.DecisionWarning")
def test_hessians_through_loops(name, form):
    args = point(1, 3)
    loop = FORMS[form](RandomBody((name,)))

    def f(c):
        return np.sum(loop(c, *args[1:]) ** 2)

    pattern = wg.hessian_sparsity(f)(args[0]).toarray()
    local = wg.hessian_sparsity(f, local=True)(args[0]).toarray()
    assert not ((wg.hessian(f)(args[0]) != 0) & ~pattern).any()
    assert not ((wg.hessian(f)(args[0]) != 0) & ~local).any()


def test_a_folded_program_has_the_pattern_of_its_steps():
    def f(x):
        for k in range(40):
            x = np.concatenate([x[:1], x[1:] * np.sin(x[:-1] + k)])
        return x

    x = rng.uniform(0.5, 1.0, 60)
    program = wg.trace(f)(x)
    assert any(line.held is not None for line in program.lines)
    ((folded,),) = pattern_of(Linearization.of_program(program, x))
    np.testing.assert_array_equal(folded.toarray(), wg.jacobian_sparsity(f)(x).toarray())
    np.testing.assert_array_equal(folded.toarray(), nonzeros(f, [x])[0])


# ---- Nothing is too many where the structure is plain ----

SPARSE = scipy.sparse.random_array((7, 6), density=0.3, rng=np.random.default_rng(3), format="csr")
MATRIX = np.where(rng.uniform(size=(5, 6)) < 0.4, rng.normal(size=(5, 6)), 0.0)
STACK = np.where(rng.uniform(size=(2, 4, 3)) < 0.5, 1.0, 0.0)
HOLES = np.array([True, False, True, True, False, True])


def _written(x):
    y = x * x
    y[1:] -= x[:-1]
    y[::2] = x[0]
    return y


EXACT = {
    "elementwise": lambda x: np.exp(x) * x + 1 / (2 + x * x),
    "getitem": lambda x: x[[3, 1, 1, 5]] * x[::2][1],
    "reversed": lambda x: x[::-1] * x[2:4].sum(),
    "roll": lambda x: np.roll(x, 2) * x,
    "roll of a matrix": lambda x: np.roll(np.reshape(x, (2, 3)), (1, -1), (0, 1)) + x[0],
    "concatenate": lambda x: np.concatenate([x[2:], [1.0], x[:1] * x[1]]),
    "stack": lambda x: np.stack([x, x[::-1] ** 2], axis=1),
    "array of elements": lambda x: np.array([[x[0], x[1] * x[2]], [0.0, x[5]]]),
    "transpose": lambda x: np.reshape(x, (2, 3)).T * x[:2],
    "outer": lambda x: np.outer(x[:2], x[2:]),
    "sum over an axis": lambda x: np.sum(np.reshape(x, (3, 2)) ** 2, axis=0),
    "mean of all": lambda x: np.mean(x[1:]) * x[:2],
    "matrix with zeros": lambda x: MATRIX @ x,
    "matrix from the right": lambda x: x[:5] @ MATRIX,
    "matrix with a matrix": lambda x: MATRIX[:, :3] @ np.reshape(x, (3, 2)),
    "matrix from the right of a matrix": lambda x: np.reshape(x, (2, 3)) @ MATRIX[:3],
    "stack of matrices": lambda x: STACK @ np.reshape(x, (3, 2)),
    "stack of matrices and a vector": lambda x: STACK @ x[:3],
    "vector and a stack": lambda x: x[:4] @ STACK,
    "product of two": lambda x: np.reshape(x, (2, 3)) @ np.reshape(x, (3, 2)),
    "convolve": lambda x: np.convolve(x, [1.0, 0.0, 0.0, -2.0]),
    "convolve by itself": lambda x: np.convolve(x[:4], x[4:]),
    "correlate": lambda x: np.correlate(x, [1.0, 0.0, 2.0], "same"),
    "cumsum": lambda x: np.cumsum(np.reshape(x, (2, 3)), axis=1),
    "diff": lambda x: np.diff(x, 2),
    "gradient": lambda x: np.gradient(x),
    "pad": lambda x: np.pad(x, 2, mode="wrap"),
    "pad with zeros": lambda x: np.pad(np.reshape(x, (2, 3)), 1),
    "tile and repeat": lambda x: np.concatenate([np.tile(x, 2), np.repeat(x, 2)]),
    "where": lambda x: np.where(HOLES, x, x[::-1] ** 2),
    "multiplied by zeros": lambda x: HOLES * x + 0.0 * x[::-1],
    "power by zeros": lambda x: x ** np.array([0.0, 1.0, 2.0, 0.0, 3.0, 1.0]),
    "zero over": lambda x: np.array([0.0, 1.0, 0.0, 2.0, 3.0, 0.0]) / x,
    "assignment": _written,
    "interpolation of values": lambda x: np.interp([0.5, 1.0, 3.3, 9.0], np.arange(6.0), x),
    "sparse matrix": lambda x: SPARSE @ x,
    "sparse matrix of entries": lambda x: scipy.sparse.csr_array((x, ([0, 1, 2, 2, 3, 0], range(6))), shape=(4, 6)) @ x,
    "filter": lambda x: scipy.ndimage.convolve(np.reshape(x, (2, 3)), np.array([[0, 1, 0.0], [1, 0, 2], [0, 0, 0]])),
    "diagonal": lambda x: np.diagonal(np.outer(x, x)),
    "trace": lambda x: np.trace(np.reshape(x[:4], (2, 2))),
    "einsum": lambda x: np.einsum("ij,jk->ki", np.reshape(x, (2, 3)), MATRIX[:3, :2]),
    "cross": lambda x: np.cross(x[:3], x[3:]),
    "kron": lambda x: np.kron(x[:3], x[3:5]),
    "complex": lambda x: np.abs(np.fft.fft(x + 1j * x[::-1])[:2]) + np.real(1j * x[:2]) + np.imag(x[2:4] * 1j),
    "single precision": lambda x: x.astype(np.float32)[::-1].astype(np.float64) * x,
    "norm of rows": lambda x: np.linalg.norm(np.reshape(x, (3, 2)), axis=1),
    "constants": lambda x: x - 2.0 * np.arange(6.0) + np.sum(np.ones(3)),
    "constant result": lambda x: np.ones((2, 2)),
    "no derivative": lambda x: np.floor(2.0 + x) * x,
    "stopped": lambda x: wg.stop_gradient(x[::-1]) * x,
    "scan": lambda x: wg.scan(lambda c, x: (0.5 * c * x, c + x), 1.0, x)[1],
    "scan from the last": lambda x: wg.scan(lambda c, x: (c * x, c), 1.0, x, reverse=True)[1],
    "positions by a counter": lambda x: wg.fori_loop(1, 5, lambda i, c: c * x[i] + x[i - 1], 1.0) * x[:1],
    "map": lambda x: wg.map(lambda row: row[0] * row, np.reshape(x, (2, 3))),
    "checkpoint": wg.checkpoint(lambda x: x[1:] * x[:-1]),
    "steps of a stencil": lambda x: wg.fori_loop(0, 2, lambda i, c: c + np.roll(c, 1), x * x),
    "long loop": lambda x: wg.fori_loop(0, 5000, lambda i, c: np.concatenate([c[:3][::-1], c[3:]]) * 0.999, x),
    "gradient inside": lambda x: wg.grad(lambda x: np.sum(x[1:] * x[:-1] ** 2))(x),
}


@pytest.mark.parametrize("name", EXACT)
def test_exact(name):
    f, x = EXACT[name], rng.uniform(0.5, 1.5, 6)
    union = sum(nonzeros(f, [y])[0].astype(int) for y in (x, *[rng.uniform(0.5, 1.5, 6) for _ in range(3)])) > 0
    pattern = wg.jacobian_sparsity(f)(x)
    assert pattern.dtype == bool
    assert pattern.has_sorted_indices
    np.testing.assert_array_equal(pattern.toarray(), union)
    np.testing.assert_array_equal(wg.jacobian_sparsity(f, local=True)(x).toarray(), nonzeros(f, [x])[0])


HESSIANS = {
    "rosenbrock": lambda x: np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2),
    "separable": lambda x: np.sum(np.sin(x)),
    "linear": lambda x: np.sum(x * np.arange(6.0)),
    "arrowhead": lambda x: x[0] * np.sum(x * x),
    "square of a sum": lambda x: np.sum(x[:3]) ** 2,
    "scan": lambda x: wg.scan(lambda c, x: (c + x * x, c), 0.0, x)[0],
    "chain": lambda x: wg.scan(lambda c, x: ((x, c[1] + c[0] * x), 0.0), (0.0, 0.0), x)[0][1],
    "branch": lambda x: wg.cond(True, lambda x: x[0] * x[1], lambda x: x[2] ** 2, x),
}


@pytest.mark.parametrize("name", HESSIANS)
def test_hessians_exact(name):
    f, x = HESSIANS[name], rng.uniform(0.5, 1.5, 6)
    pattern = wg.hessian_sparsity(f)(x)
    np.testing.assert_array_equal(pattern.toarray(), wg.hessian(f)(x) != 0)


# ---- For all inputs, and for this one ----

CHOICES = {
    "where": (lambda x: np.where(x > 0, x, x[::-1] ** 2), "a"),
    "max": (np.max, "all"),
    "sort": (np.sort, "all"),
    "sorted rows": (lambda x: np.sort(np.reshape(x, (2, 2))), "blocks"),
    "clip": (lambda x: np.clip(x, 0.2, 0.5), "diagonal"),
    "interpolation at": (lambda x: np.interp(x, [0.0, 1.0, 2.0], [1.0, 0.0, 3.0]), "diagonal"),
    "element at": (lambda x: np.array([1.0, 2.0, 3.0])[np.argmax(x[:3])] * x, "diagonal"),
    "cond": (lambda x: wg.cond(x[0] > 0, lambda x: x[:2], lambda x: x[2:], x), "halves"),
    "stopped when large": (
        lambda x: wg.while_loop(lambda c: np.sum(c) < 9, lambda c: np.concatenate([c[1:], c[:1]]) + 3, x), "all"
    ),
}  # fmt: skip
EXPECTED = {
    "a": np.eye(4) + np.eye(4)[::-1],
    "all": np.ones((4, 4)),
    "blocks": np.kron(np.eye(2), np.ones((2, 2))),
    "diagonal": np.eye(4),
    "halves": np.concatenate([np.eye(2), np.eye(2)], axis=1),
}


@pytest.mark.parametrize("name", CHOICES)
def test_what_is_chosen_by_value(name):
    f, expected = CHOICES[name]
    x = np.array([0.3, -0.4, 0.7, 0.1])
    pattern = wg.jacobian_sparsity(f)(x).toarray()
    np.testing.assert_array_equal(pattern, EXPECTED[expected][: len(pattern)] > 0)
    np.testing.assert_array_equal(wg.jacobian_sparsity(f, local=True)(x).toarray(), nonzeros(f, [x])[0])


def test_decisions_in_python_are_warned_of():
    def f(x):
        if x[0] > 0:
            return x
        return x[::-1]

    with pytest.warns(DecisionWarning, match=r"if x\[0\] > 0"):
        pattern = wg.jacobian_sparsity(f)(np.array([1.0, 2.0]))
    np.testing.assert_array_equal(pattern.toarray(), np.eye(2))
    wg.jacobian_sparsity(f, local=True)(np.array([1.0, 2.0]))  # no warning: it holds here


def test_checks_of_numpys_functions_are_no_decisions(recwarn):
    x = np.array([0.3, 1.0, 0.7])
    wg.jacobian_sparsity(lambda x: np.median(x) * np.quantile(x, 0.3) * np.interp(x, [0.0, 2.0], [1.0, 3.0]))(x)
    assert not [w for w in recwarn if w.category is DecisionWarning]
    with pytest.warns(DecisionWarning, match="sorted"):
        wg.jacobian_sparsity(lambda x: np.array(sorted(x)))(x)


def test_decisions_in_the_body_of_a_loop_are_warned_of():
    step = lambda c, x: (c * x if c > 0.5 else c, x)  # noqa: E731
    with pytest.warns(DecisionWarning):
        wg.jacobian_sparsity(lambda x: wg.scan(step, 1.0, x)[0])(np.ones(3))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("f", [lambda x: x**3 / x**2, lambda x: np.exp(np.log(x)), lambda x: x**2 * np.log(x)])
def test_a_zero_in_front_of_an_infinite_partial_is_an_entry(f):
    """Derivatives are limits there: x^3 / x^2 has slope 1 at 0, though the partials of the powers are 0."""
    x = np.array([0.0, 1.0])
    np.testing.assert_array_equal(wg.jacobian_sparsity(f, local=True)(x).toarray(), np.eye(2))


def test_values_that_are_zero_here_are_entries():
    x = np.zeros(3)
    assert wg.jacobian_sparsity(lambda x: x * x[::-1])(x).nnz == 5
    assert wg.jacobian_sparsity(lambda x: x * x[::-1], local=True)(x).nnz == 0
    assert wg.jacobian_sparsity(lambda x: np.reshape(x, (1, 3)) @ np.reshape(x, (3, 1)))(x).nnz == 3


# ---- Rules of the user's own ----


def test_inside_of_another_trace():
    """What an outer trace calls a variable may be any number; it is not read, so nothing is decided by it."""

    def f(w):
        patterns.append(wg.jacobian_sparsity(lambda x: w * x + w[::-1] @ x)(2.0 * w).toarray())
        return np.sum(w)

    patterns = []
    program = wg.trace(f)(np.array([0.0, 1.0, 0.0]))
    assert not program.guards
    assert patterns[0].all()
    twice = wg.jacobian(wg.jacobian(lambda x: x[1:] * x[:-1] ** 2))
    assert twice(np.ones(20)).shape == (19, 20, 20)
    assert not wg.trace(wg.jacobian(lambda x: x[1:] * x[:-1] ** 2))(np.ones(20)).guards


def test_custom_derivatives():
    @wg.custom_derivative
    def squash(x):
        return np.tanh(x)

    squash.def_partial(lambda y, x: 1 - y * y)

    @wg.custom_derivative
    def mix(x):
        return x

    mix.defjvp(lambda primals, tangents: (primals[0], tangents[0] * 2))
    x = np.ones(3)
    np.testing.assert_array_equal(wg.jacobian_sparsity(squash)(x).toarray(), np.eye(3))
    assert wg.jacobian_sparsity(mix)(x).nnz == 9  # nothing is known of it


def test_a_row_of_the_users_own():
    own = wg.define(
        "own_total", lambda x: np.sum(x), lambda _y, x: wg.jacobians.Dense(np.ones((1, x.size)), x.shape, ()),
        elementwise=False,
    )  # fmt: skip
    try:
        assert wg.jacobian_sparsity(lambda x: own(x[1:]) * x[0])(np.ones(3)).nnz == 3
    finally:
        wg.undefine("own_total")


# ---- Arguments, results, printing ----


def test_several_arguments_and_results():
    def f(p, k, scale=1.0):
        return {"s": np.sum(p["a"]) * scale, "v": p["a"] * p["b"][0]}, k

    p = {"a": np.ones(3), "b": np.ones(2)}
    patterns, aux = wg.jacobian_sparsity(f, has_aux=True)(p, 7, scale=2.0)
    assert aux == 7
    assert {(r, c): patterns[r][c].shape for r in "sv" for c in "ab"} == {
        ("s", "a"): (1, 3), ("s", "b"): (1, 2), ("v", "a"): (3, 3), ("v", "b"): (3, 2),
    }  # fmt: skip
    np.testing.assert_array_equal(patterns["v"]["b"].toarray(), [[1, 0]] * 3)
    by_name = wg.jacobian_sparsity(lambda x, y: x * y, argnames=["y"])(np.ones(2), y=np.ones(2))
    np.testing.assert_array_equal(by_name["y"].toarray(), np.eye(2))
    blocks = wg.hessian_sparsity(lambda x, y: np.sum(x * y**2), (0, 1))(np.ones(2), np.ones(2))
    assert [[block.nnz for block in row] for row in blocks] == [[0, 2], [2, 2]]


def test_scalars_and_empty_arrays():
    assert wg.jacobian_sparsity(lambda x: x * x)(2.0).toarray().tolist() == [[True]]
    assert wg.jacobian_sparsity(lambda x: x * x)(np.zeros(0)).shape == (0, 0)
    assert wg.jacobian_sparsity(lambda x: np.sum(x))(np.zeros(0)).shape == (1, 0)


def test_results_that_depend_on_nothing_join_others():
    x = np.ones(4)
    f = lambda x: np.linalg.qr(np.reshape(x, (2, 2)))[1] + np.zeros((2, 2)) * np.reshape(x, (2, 2))  # noqa: E731
    assert_covers(f, [x + np.arange(4.0)])
    assert wg.jacobian_sparsity(lambda x: 0.0 * x + (0.0 * x[::-1]) * 0.0)(x).nnz == 0
    assert wg.jacobian_sparsity(lambda x: np.sum(0.0 * np.reshape(x, (2, 2)), axis=0) + x[:2])(x).nnz == 2


def test_saved_and_loaded():
    pattern = wg.jacobian_sparsity(lambda x: x[1:] - x[:-1])(np.ones(5))
    file = io.BytesIO()
    scipy.sparse.save_npz(file, pattern)
    file.seek(0)
    assert (scipy.sparse.load_npz(file) != pattern).nnz == 0


# ---- Size ----


def test_a_large_stencil_takes_a_small_multiple_of_its_result():
    import tracemalloc

    n = 200_000

    def f(x):
        return np.concatenate([x[:1], x[1:-1] ** 2 - x[:-2] * x[2:], x[-1:]])

    x = np.ones(n)
    wg.jacobian_sparsity(f)(x)
    tracemalloc.start()
    pattern = wg.jacobian_sparsity(f)(x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    result = pattern.data.nbytes + pattern.indices.nbytes + pattern.indptr.nbytes
    assert pattern.nnz == 3 * (n - 2) + 2
    assert peak < 12 * result


def test_a_row_and_a_column_that_are_full():
    n = 20_000

    def arrowhead(x):
        return np.concatenate([[np.sum(x)], x[1:] * x[0]])

    pattern = wg.jacobian_sparsity(arrowhead)(np.ones(n))
    assert pattern.nnz == 3 * n - 2


def test_a_long_convolution_is_banded():
    n = 20_000
    pattern = wg.jacobian_sparsity(lambda x: np.convolve(x, [1.0, 0.0, -1.0], "same"))(np.ones(n))
    offsets = pattern.tocoo()
    assert set((offsets.col - offsets.row).tolist()) == {-1, 1}
    assert pattern.nnz == 2 * n - 2


def test_a_pattern_too_large_for_the_memory_is_refused():
    @wg.custom_derivative
    def mix(x):
        return x

    mix.defjvp(lambda primals, tangents: (primals[0], tangents[0]))
    with pytest.raises(SizeError, match=r"the pattern of mix here would have .* entries"):
        wg.jacobian_sparsity(lambda x: mix(x) * 2.0)(np.ones(200_000))


# ---- Entries that are known without a push are those that pushes find ----


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("lengths", [(5, 3), (3, 5), (4, 4), (6, 2), (1, 3)])
def test_entries_of_convolutions(mode, lengths):
    a, v = np.arange(1.0, lengths[0] + 1), rng.uniform(1, 2, lengths[1])
    for f, x in ((lambda a: np.convolve(a, v, mode), a), (lambda v: np.convolve(a, v, mode), v)):
        np.testing.assert_array_equal(wg.jacobian_sparsity(f)(x).toarray(), nonzeros(f, [x])[0])


@pytest.mark.parametrize("axis", [0, 1])
def test_entries_of_sparse_products(axis):
    A = scipy.sparse.random_array((4, 3), density=0.5, rng=np.random.default_rng(7), format="csr")
    x = rng.uniform(1, 2, (3, 2))
    right = lambda x: A @ x if axis == 0 else (x.T @ A.T).T  # noqa: E731
    np.testing.assert_array_equal(wg.jacobian_sparsity(right)(x).toarray(), nonzeros(right, [x])[0])
    entries = lambda d: scipy.sparse.csr_array((d, A.indices, A.indptr), shape=A.shape) @ x  # noqa: E731
    np.testing.assert_array_equal(wg.jacobian_sparsity(entries)(A.data).toarray(), nonzeros(entries, [A.data])[0])


def test_entries_of_stencils():
    kernel = np.array([[0.0, 1.0, 2.0], [1.0, 0.0, 0.0]])
    for mode in ("constant", "wrap", "reflect", "nearest"):
        f = lambda x, mode=mode: scipy.ndimage.correlate(x, kernel, mode=mode)  # noqa: E731
        x = rng.uniform(1, 2, (4, 5))
        np.testing.assert_array_equal(wg.jacobian_sparsity(f)(x).toarray(), nonzeros(f, [x])[0])


def test_a_large_map_is_probed_in_groups():
    n = 3000
    for f, expected in (
        (lambda x: scipy.signal.lfilter([1.0, 0.0, 2.0], [1.0], x), 2 * n - 2),
        (lambda x: np.add.reduceat(x, np.arange(0, n, 3)), n),
    ):
        pattern = wg.jacobian_sparsity(f)(np.ones(n))
        assert pattern.nnz == expected
