"""Kernels among lines: jitted functions of arrays of any size against the plain functions, whatever is passed."""

from __future__ import annotations

import threading
import tracemalloc
import warnings

import numpy as np
import programs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special
from test_jit import same

import wengert as wg
from wengert import trees
from wengert.compilation import jit as jit_module
from wengert.compilation.native import grouping, lowering
from wengert.compilation.native.entry import fits

pytestmark = [
    pytest.mark.skipif(not fits(), reason="there is no native code here"),
    pytest.mark.filterwarnings("ignore::wengert.errors.DecisionWarning"),
]

RNG = np.random.default_rng(11)


@pytest.fixture(autouse=True, scope="module")
def kernels_after_one_call():
    """Make native code in the second call, and let kernels do what would be lowered as a whole."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jit_module, "calls_before", lambda: 1)
        patch.setattr(lowering, "MOST", -1)
        yield


def kernels_of(jitted):
    """Return the kernels of all branches."""
    return [k for s in jitted._signatures() for branch in s.tree.branches for k in branch.kernels]


def close(result, expected):
    """Compare trees of arrays: types, shapes, and values to rounding."""
    (ones, structure), (others, other_structure) = trees.flatten(result), trees.flatten(expected)
    assert structure == other_structure
    for one, other in zip(ones, others, strict=True):
        assert type(one) is type(other)
        assert np.asarray(one).dtype == np.asarray(other).dtype
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


def warmed(f, *args):
    """Return a jitted function that runs kernels at some arguments, after it has been compared with the plain one."""
    jitted = wg.jit(f)
    for _ in range(4):
        close(jitted(*args), f(*args))
    assert kernels_of(jitted)
    assert not jitted.declined
    return jitted


def chain(x):
    return np.tanh(x * x + 1.0) / (1.0 + x * x) - np.exp(-x)


def logsumexp(x):
    m = np.max(x)
    return m + np.log(np.sum(np.exp(x - m)))


def stencil(u):
    for _ in range(2):
        w = u.copy()
        w[1:-1, 1:-1] += 0.1 * (u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4.0 * u[1:-1, 1:-1])
        u = w
    return np.sum(u**2)


def network(params, x, y):
    h = np.tanh(x @ params[0] + params[1])
    z = h @ params[2] + params[3]
    z = z - np.max(z, axis=1, keepdims=True)
    return -np.mean(np.sum((z - np.log(np.sum(np.exp(z), axis=1, keepdims=True))) * y, axis=1))


def mixed(x):
    y = np.where(x > 0.0, x, 0.1 * x)
    centered = x.reshape(-1, 10) - np.mean(x.reshape(-1, 10), axis=0)
    joined = np.concatenate([x[::2], y[1::2], np.sort(x)])
    return np.sum(centered**2 * y.reshape(-1, 10)) + np.sum(joined * np.roll(joined, 3)) + np.var(np.maximum(x, y))


VECTOR = RNG.normal(size=1200)


@pytest.mark.parametrize("n", [200, 1200, 5000])
@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.sum(np.exp(-x * x)),
        lambda x: np.sum(chain(x)),
        logsumexp,
        lambda x: stencil(x.reshape(20, -1)),
        mixed,
        lambda x: np.sum(np.max(x.reshape(-1, 10), axis=1) * np.min(x.reshape(-1, 10), axis=1)),
        lambda x: np.sum(np.outer(x[:40], x[-50:]) ** 2 / (1.0 + x[:40, None] ** 2)) ** 0.5,
        lambda x: np.sum(np.stack([x, x[::-1], x * x]).T[::3] ** 3),
        lambda x: np.std(x.reshape(4, -1), axis=1) @ np.linalg.norm(x.reshape(4, -1), axis=1),
    ],
)
def test_gradients(f, n):
    x = RNG.normal(size=n)
    jitted = warmed(wg.value_and_grad(f), x)
    for y in (x / 2, x[::-1].copy(), RNG.normal(size=n)):
        close(jitted(y), wg.value_and_grad(f)(y))
    assert not jitted.declined


def test_a_network_is_one_sequence():
    params = [RNG.normal(size=s) / 5 for s in ((64, 40), (40,), (40, 10), (10,))]
    x, y = RNG.normal(size=(32, 64)), np.eye(10)[RNG.integers(0, 10, 32)]
    jitted = warmed(wg.value_and_grad(network), params, x, y)
    ((signature),) = jitted._signatures()
    text = signature.tree.branches[0].text
    assert "matmul" not in text  # the products are commands of the sequence
    assert text.count("kernel") == 1
    assert len(text.splitlines()) < 6
    close(jitted(params, x[::-1].copy(), y), wg.value_and_grad(network)(params, x[::-1].copy(), y))


def test_results_without_derivatives():
    def f(x, y):
        z = np.exp(x) * y
        return {"z": z, "mask": z > 1.0, "any": np.any(z > 3.0), "t": z.T, "n": np.sum(z > 1.0), "s": (z.sum(), x)}

    warmed(f, RNG.normal(size=(40, 30)), RNG.normal(size=30))


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.prod(1.0 + x / 500.0, axis=1) * np.linalg.norm(x, axis=-1),
        lambda x: np.linalg.norm(x) * special.logsumexp(3.0 * x, axis=0),
        lambda x: special.logsumexp(x, axis=1, keepdims=True) + np.sinc(x) + np.sinc(np.round(x)),
        lambda x: np.where(np.any(x > 2.0, axis=0), np.round(x, 2), np.round(10.0 * x, -1) + np.all(x < 1.5, axis=0)),
        lambda x: np.logaddexp2(x, 1.0) + np.floor_divide(x, 0.25) + np.floor_divide(1.0, x) + x % -0.3,
        lambda x: np.roll(x, (2, -3), (0, 1)) * np.stack([x, -x], axis=1)[:, 1],
        lambda x: np.concatenate([x[:, :7], np.exp(x)], axis=1)[::2, ::-1],
        lambda x: np.average(x, axis=0, weights=np.arange(1.0, 31.0)) + np.ptp(x, axis=0) + np.diff(x, axis=0)[3],
        lambda x: np.clip(x, -0.5, 0.75) * np.nan_to_num(x) - np.tril(x[:, :30])[:, :1],
        lambda x: x[[3, 1, 3], :] * x[2, [5] * 40] + x[np.arange(3), [1, 1, 2]][:, None],
    ],
)
def test_functions_of_arrays(f):
    x = RNG.normal(size=(30, 40))
    jitted = warmed(lambda x: 1.0 * f(2.0 * x), x)
    close(jitted(x[::-1].copy()), 1.0 * f(2.0 * x[::-1]))
    warmed(wg.grad(lambda x: np.sum(f(x) ** 2 * f(x + 1.0)) + np.sum(np.exp(x) * x)), x)


def test_arrays_of_any_layout():
    def f(x, y):
        return wg.value_and_grad(lambda x: np.sum(np.exp(-x * y) * x.T[::-1].T + y))(x)

    x, y = RNG.normal(size=(40, 50)), RNG.normal(size=(40, 50))
    wide = np.zeros((80, 100))
    wide[::2, ::2] = x
    shifted = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(float).reshape(x.shape)
    frozen = x.copy()
    frozen.flags.writeable = False
    others = [x, np.asfortranarray(x), wide[::2, ::2], np.broadcast_to(x[0], x.shape), x[::-1, ::-1], shifted, frozen]
    others += [x.astype(">f8"), x.astype(np.float32), np.ascontiguousarray(x.T).T]
    jitted = wg.jit(f)
    for _ in range(4):
        for other in others:
            result, expected = jitted(other, y), f(other, y)
            np.testing.assert_allclose(
                result[1], expected[1], rtol=1e-5 if other.dtype.char == "f" else 1e-12, atol=1e-14
            )
            assert result[1].dtype == expected[1].dtype


def test_kernels_meet_more_layouts_than_they_have_code_for():
    def double(op, x):
        return [op("add", op("multiply", x, 2.0), 1.0), op.fold("add", x, (0, 1), False)]

    from wengert.compilation.native.kernels import LAYOUTS, ArrayKernel
    from wengert.compilation.native.plans import Operand, Plan, Result

    results = [Result((6, 8), "d", False), Result((), "d", True)]
    kernel = ArrayKernel("k", Plan.of(double, [Operand((6, 8), "d")], results))
    base = RNG.normal(size=(40, 40))
    parts = [base[::i, ::j][:6, :8] for i in (1, 2, 3, 4) for j in (1, 2, 3, 4)]
    assert len(parts) > 2 * LAYOUTS
    for part in [*parts, *parts, base[:8, :6].T, base[:6, 7::-1], parts[0].astype(">f8"), parts[0].tolist()]:
        result, total = kernel(part)
        np.testing.assert_array_equal(result, np.asarray(part, float) * 2.0 + 1.0)
        assert type(total) is float
        np.testing.assert_allclose(total, np.sum(part), rtol=1e-13)
    assert len(kernel._layouts) <= LAYOUTS


def test_numpy_warns_as_it_does():
    def f(x):
        return np.sum(np.log(x) + 1.0 / x + np.exp(x))

    x = RNG.uniform(0.5, 2.0, size=500)
    jitted = warmed(f, x)
    for value in (0.0, -1.0, 1e4):
        bad = x.copy()
        bad[300] = value
        with warnings.catch_warnings(record=True) as expected:
            warnings.simplefilter("always")
            first = f(bad)
        with warnings.catch_warnings(record=True) as got:
            warnings.simplefilter("always")
            second = jitted(bad)
        assert [str(w.message) for w in got] == [str(w.message) for w in expected] != []
        np.testing.assert_array_equal(first, second)
    with np.errstate(all="raise"), pytest.raises(FloatingPointError):
        jitted(np.zeros(500))
    close(jitted(x), f(x))


def test_lanes_without_an_element_raise_nothing():
    x = RNG.normal(size=(6, 9))
    jitted = warmed(lambda x: 2.0 * np.corrcoef(x), x)
    for scale in (0.5, 1.5, 3.0):
        close(jitted(x * scale), 2.0 * np.corrcoef(x * scale))
    assert not jitted.declined


def test_arrays_of_many_axes():
    for ndim in (5, 9, 15):
        x = RNG.normal(size=(2,) * ndim)

        def f(x, axes=tuple(range(0, ndim, 2))):
            return np.exp(x) * x.T + np.sum(x, axis=axes, keepdims=True)

        jitted = wg.jit(f)
        for _ in range(4):
            close(jitted(x), f(x))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -0.0, 0.0, 5e-324])
def test_special_values(value):
    def f(x):
        return np.where(x > 0.0, x, -x), np.maximum(x, 0.5) * 1.0, np.max(x), x * 2.0 - 1.0, np.sum(x > 0.0, axis=0)

    x = RNG.normal(size=900)
    jitted = warmed(f, x)
    x[[0, 450, 899]] = value
    with np.errstate(all="ignore"):
        for one, other in zip(jitted(x), f(x), strict=True):
            np.testing.assert_array_equal(one, other)
            np.testing.assert_array_equal(np.signbit(one), np.signbit(other))


@settings(deadline=None, max_examples=50)
@given(programs.random_programs(analytic=False, max_size=5), st.lists(programs.points(6), min_size=1, max_size=3))
def test_random_programs(f, points):
    gradient = wg.value_and_grad(lambda x: np.sum(f(x)))
    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
        patch.setattr(grouping, "SMALLEST", 1)
        patch.setattr(grouping, "FEWEST", 1)
        jitted = wg.jit(gradient)
        for x in [*points, *points, *points]:
            for one, other in zip(jitted(x), gradient(x), strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)


def test_branches_continue_where_kernels_are_not():
    def f(x):
        if np.sum(x) > 0.0:
            return np.sum(np.exp(x) * x)
        y = np.exp(-x) + x * x
        return np.sum(y) if np.max(x) < 0.5 else np.sum(y * x)

    gradient = wg.value_and_grad(f)
    jitted = wg.jit(gradient)
    xs = [s * np.abs(RNG.normal(size=300)) + c for s, c in ((1.0, 0.0), (-1.0, 0.0), (-1.0, 0.4), (-0.1, -3.0))]
    xs[2][0] = 2.0
    for _ in range(5):
        for x in xs:
            close(jitted(x), gradient(x))
    assert kernels_of(jitted)


@pytest.mark.parametrize("both", [False, True])
def test_products_of_what_is_reshaped_by_a_copy(both):
    def f(x, a):
        y = np.sin(x) + x
        z = np.swapaxes(np.swapaxes(y, 2, 3).reshape(7, 15, 4), 0, 1).reshape(60, 7)
        return np.cos(z.T @ z if both else a @ z) * 2.0

    x, a = RNG.normal(size=(7, 5, 4, 3)), RNG.normal(size=(50, 60))
    jitted = warmed(f, x, a)
    (signature,) = jitted._signatures()
    assert "matmul" not in signature.tree.branches[0].text
    warmed(wg.grad(lambda x, a: np.sum(f(x, a)), argnums=(0, 1)), x, a)
    close(jitted(x[:, ::-1], a[::-1]), f(x[:, ::-1], a[::-1]))


def late(x):
    """Decide in the end, on what everything else is computed for."""
    y = np.exp(x) * x
    z = np.sin(y) + x
    return y * z if np.sum(z) > 0.0 else y - z


def test_there_are_kernels_before_a_late_decision():
    x = np.abs(RNG.normal(size=300))
    gradient = wg.jacobian(lambda x: np.sum(late(x)))
    jitted = warmed(gradient, x)
    (signature,) = jitted._signatures()
    (branch,) = signature.tree.branches
    assert "e0" in branch.text
    assert branch.text.index("kernel1") < branch.text.index("e0")
    for sign in (-1.0, 1.0, -2.0, 0.5, -0.5, 1.0, -1.0):  # otherwise, then as before
        close(jitted(sign * x), gradient(sign * x))
    assert len(signature.tree.branches) == 2


def test_a_decision_prevents_what_would_warn_in_kernels():
    def f(x):
        return np.where(x > 0, x, 0.0) * 2.0 - np.exp(x) if np.min(x) < 0.0 else np.sqrt(x) * np.exp(x)

    x = np.abs(RNG.normal(size=300))
    jitted = warmed(f, x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(4):
            for sign in (1.0, -1.0):
                close(jitted(sign * x), f(sign * x))
    assert jitted.declined == 0, "the branch that is meant is traced, the plain function does not run"


def test_a_sparse_jacobian_and_its_check_are_kernels():
    def residual(x):
        inner = 2 * x[1:-1] - x[1:-1] ** 3 - x[:-2] * x[2:]
        return np.concatenate([x[:1] - 1, inner, x[-1:] - 1])

    x = RNG.normal(size=200)
    jacobian = wg.jacobian(residual, sparse=True)
    jitted = wg.jit(jacobian)
    for k in range(5):
        expected = jacobian((1 + k) * x)
        assert np.array_equal(jitted((1 + k) * x).indices, expected.indices)
        np.testing.assert_allclose(jitted((1 + k) * x).data, expected.data, rtol=1e-12)
    assert kernels_of(jitted)


def test_empty_arrays_and_numbers():
    def f(x, a):
        return np.sum(np.exp(x) * a + x), np.exp(a) * a

    for x in (np.zeros(0), np.zeros((3, 0)), np.ones(1), np.ones((1, 1, 1))):
        jitted = wg.jit(f)
        for _ in range(4):
            same(jitted(x, np.float64(2.0)), f(x, np.float64(2.0)))
    x = RNG.normal(size=300)
    warmed(f, x, np.float64(2.0))


def test_many_threads():
    gradient = wg.value_and_grad(lambda x: np.sum(chain(x) * x[::-1]))
    x = RNG.normal(size=60_000)
    jitted = warmed(gradient, x)
    inputs = [x * s for s in (0.25, 0.5, 1.0, 1.5)]
    expected = [jitted(y) for y in inputs]
    wrong = []

    def work(k):
        for _ in range(20):
            value, slope = jitted(inputs[k])
            if value != expected[k][0] or not np.array_equal(slope, expected[k][1]):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_nothing_is_left_behind():
    jitted = warmed(wg.value_and_grad(lambda x: np.sum(chain(x))), VECTOR)
    bad = VECTOR.copy()
    bad[0] = 1e200
    tracemalloc.start()
    try:
        for turn in range(3):
            for _ in range(300):
                jitted(VECTOR)
            if turn == 0:
                before = tracemalloc.get_traced_memory()[0]
        assert tracemalloc.get_traced_memory()[0] - before < 20_000
    finally:
        tracemalloc.stop()
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(jitted(bad)[1], wg.value_and_grad(lambda x: np.sum(chain(x)))(bad)[1])


def test_what_is_shown(capsys):
    jitted = warmed(wg.value_and_grad(lambda x: np.sum(np.exp(x @ x.T) * 2.0 + x[0])), RNG.normal(size=(30, 30)) / 9)
    jitted.show("code")
    assert "kernel1(" in capsys.readouterr().out
    jitted.show("loops")
    text = capsys.readouterr().out
    assert "of memory beside its results, 5 pieces" in text
    assert "for i < 30, j < 30:" in text
    jitted.show("llvm")
    assert "define i32 @kernel" in capsys.readouterr().out


def test_native_code_is_tried_once_where_kernels_are_used(monkeypatch):
    from wengert.compilation.native import entry

    monkeypatch.setattr(jit_module, "calls_before", lambda: None)  # after as long as it takes, by the clock
    tried = []
    native_code = entry.native_code
    monkeypatch.setattr(entry, "native_code", lambda *args: tried.append(1) or native_code(*args))
    x = np.linspace(0.1, 1.0, 3_000)
    jitted = wg.jit(lambda x: np.sort(np.sin(x) * x + 1.0))
    for _ in range(2_000):
        jitted(x)
    assert len(tried) == 1


def cholesky_by_loops(A):
    L = np.zeros_like(A)
    for i in range(len(A)):
        for j in range(i):
            L[i, j] = (A[i, j] - L[i, :j] @ L[j, :j]) / L[j, j]
        L[i, i] = np.sqrt(A[i, i] - L[i, :i] @ L[i, :i])
    return 2 * np.sum(np.log(np.diag(L)))


def attention(x, w):
    scores = x @ w @ x.T
    weights = np.exp(scores - np.max(scores, axis=1, keepdims=True))
    return np.sum((weights / np.sum(weights, axis=1, keepdims=True) @ x) ** 2)


def diagonals(A):
    k = np.arange(7)
    B = A.copy()
    B[k, k + 1] = np.tanh(A[k + 1, k])
    return np.sum(B @ A * np.exp(A)) * A[k, k].sum()


@pytest.mark.parametrize(
    ("function", "args"),
    [
        pytest.param(cholesky_by_loops, [np.eye(9) + 0.1], id="empty products, and a diagonal"),
        pytest.param(attention, [RNG.normal(size=(100, 4)), np.eye(4)], id="counts of ties between products"),
        pytest.param(diagonals, [RNG.normal(size=(40, 40))], id="diagonals by arrays of positions"),
    ],
)
def test_a_gradient_is_one_sequence(function, args):
    assert len(kernels_of(warmed(wg.grad(function), *args))) == 1
