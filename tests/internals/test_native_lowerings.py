"""Kernels that were predicted compute what NumPy does, and a wrong prediction is noticed."""

import numpy as np
import pytest

import wengert as wg
from wengert.compilation.native.extents import Member
from wengert.compilation.native.kernels import ArrayKernel
from wengert.compilation.native.layout import fits
from wengert.compilation.native.lowerings import Lowerings
from wengert.compilation.native.plans import Operand, Piece, Plan, Result
from wengert.compilation.native.predictions import Predictions

pytestmark = pytest.mark.skipif(not fits(), reason="machine code is for other machines")
RNG = np.random.default_rng(5)
N = 90


def lines_of(name):
    """Return what is computed of two arrays in a step, by NumPy and by an expression, and its length."""

    def parts(k):
        return {
            "sums": (lambda x: x[:k], lambda y: y[N - k :], k),
            "backwards": (lambda x: x[k - 1 :: -1] if k < N else x[::-1], lambda y: y[:k], k),
            "strided": (lambda x: x[k % 3 : k : 2], lambda y: y[k % 3 : k : 2], -(-(k - k % 3) // 2)),
        }[name]

    return parts


def plan_of(name, first, stop):
    """Return a plan whose pieces are like each other: products, sums of them, and the running maximum."""
    parts = lines_of(name)
    pieces, forms, results = [], [], []
    for k in range(first, stop):
        one, other, length = parts(k)

        def write(op, x, y, one=one, other=other):
            product = op("multiply", op.move(one, x), op.move(other, y))
            return [product, op.fold("add", op("exp", product), (0,), True)]

        def compute(x, y, one=one, other=other):
            product = one(x) * other(y)
            return [product, np.exp(product).sum(keepdims=True)]

        numbers = 2 + len(forms), 3 + len(forms)
        forms += [Operand((length,), "d"), Operand((1,), "d")]
        results += [(n, Result(form.shape, "d", False)) for n, form in zip(numbers, forms[-2:], strict=True)]
        pieces.append(Piece(name, (k, k % 3), (0, 1), numbers, write, compute))
    return Plan((Operand((N,), "d"), Operand((N,), "d"), *forms), 2, {}, tuple(results), tuple(pieces))


def check(plan, lowerings):
    x, y = RNG.normal(size=(2, N))
    kernel = ArrayKernel("k", plan, lowerings=lowerings)
    results = iter(kernel(x, y))
    for piece in plan.pieces:
        for expected in piece.compute(x, y):
            np.testing.assert_allclose(next(results), expected, rtol=1e-13)


def lowered(plan):
    lowerings = Lowerings()
    lowerings.enter(plan, plan.by_rows)
    lowerings.lower()
    return lowerings


@pytest.mark.parametrize("name", ["sums", "backwards", "strided"])
def test_predicted_kernels_compute_what_numpy_does(name):
    plan = plan_of(name, 4, N)
    lowerings = lowered(plan)
    assert lowerings.lowered_count < len(plan.pieces) / 3
    assert lowerings.lowered_count + lowerings.predicted_count == len(plan.pieces)
    check(plan, lowerings)


@pytest.mark.parametrize("fault", [1, -1, 2])
def test_a_wrong_number_is_noticed(monkeypatch, fault):
    """Each prediction has one number that is wrong, another one each time."""
    predicted, count = Predictions.predicted, 0

    def wrong(self, parameters):
        nonlocal count
        prediction = predicted(self, parameters)
        if prediction is None:
            return None
        outline, numbers = prediction
        count += 1
        k = count % len(numbers)
        return outline, (*numbers[:k], numbers[k] + fault, *numbers[k + 1 :])

    monkeypatch.setattr(Predictions, "predicted", wrong)
    plan = plan_of("sums", 4, 60)
    check(plan, lowered(plan))
    assert count > 20


def test_what_reaches_outside_of_an_array_is_not_run(monkeypatch):
    def wrong(self, parameters):
        for _, outline, numbers in self._samples[-1:]:
            return outline, tuple([int(n) + 10**6 for n in numbers])
        return None

    monkeypatch.setattr(Predictions, "predicted", wrong)
    plan = plan_of("sums", 4, 20)
    lowerings = lowered(plan)
    assert lowerings.predicted_count == 0
    check(plan, lowerings)


def test_members_of_a_family_keep_their_numbers():
    plan = plan_of("sums", 70, N)
    lowerings = lowered(plan)
    pieces = lowerings.lowered(plan, plan.by_rows)._pieces
    numbers = [call.source.numbers for piece in pieces for call in piece.calls if isinstance(call.source, Member)]
    assert len(set(numbers)) == len(plan.pieces)


def growing(x):
    """Slices that grow, and move in two directions."""
    y = np.zeros_like(x)
    a = np.outer(x, x) * 0.01 + np.eye(x.size)
    for i in range(x.size):
        y[i] = x[i] - a[i, :i] @ y[:i]
        for j in range(max(0, i - 2), i):
            a[i, j:] -= y[j] * a[j, j:] * 0.1
    return np.sum(y**2) + np.sum(a[:, 3] * a[4])


@pytest.mark.usefixtures("native_after_one_call")
def test_loops_whose_slices_grow_have_their_gradients():
    x = RNG.normal(size=24)
    f = wg.jit(wg.grad(growing))
    f(x)
    for _ in range(3):
        z = RNG.normal(size=24)
        step = 1e-6 * RNG.normal(size=24)
        change = (growing(z + step) - growing(z - step)) / 2
        np.testing.assert_allclose(f(z), wg.grad(growing)(z), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(f(z) @ step, change, rtol=1e-5, atol=1e-10)


def test_comparisons_are_not_predicted():
    """Of random numbers none is equal to another one, wherever they are: the test would not notice a wrong place."""
    n = 40

    def pieces():
        for k in range(4, 30):

            def write(op, x, y, k=k):
                return [op("number", op("equal", op.move(lambda a: a[k : k + 9], x), op.move(lambda a: a[:9], y)))]

            def compute(x, y, k=k):
                return [(x[k : k + 9] == y[:9]) * 1.0]

            yield Piece("equal", (k,), (0, 1), (k - 2,), write, compute)

    forms = [Operand((9,), "d") for _ in range(4, 30)]
    results = [(k + 2, Result(form.shape, "d", False)) for k, form in enumerate(forms)]
    plan = Plan((Operand((n,), "d"), Operand((n,), "d"), *forms), 2, {}, tuple(results), tuple(pieces()))
    lowerings = lowered(plan)
    assert lowerings.predicted_count == 0
    x = RNG.integers(0, 3, size=n).astype(float)
    for piece, result in zip(plan.pieces, ArrayKernel("k", plan, lowerings=lowerings)(x, x), strict=True):
        np.testing.assert_array_equal(result, piece.compute(x, x)[0])
