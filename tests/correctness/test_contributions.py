"""Random programs with guards, poles and kinks against dual numbers that know which slopes are absent."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from contributions import SIZE, derivative, evaluate, is_limit, random_program

import wengert as wg

SEEDS = range(48)
UNITS = list(np.eye(SIZE))


def agrees(found, truth, function, x):
    """Compare a Jacobian with the truth; where the chain rule has none, it is not finite, or a limit."""
    known = np.isfinite(truth)
    np.testing.assert_allclose(np.where(known, found, 0.0), np.where(known, truth, 0.0), rtol=1e-9, atol=1e-12)
    for k in range(SIZE):
        assert is_limit(function, x, UNITS[k], found[:, k], ~known[:, k]), (found, truth)


def jacobians(f, x, elsewhere, with_programs):
    """Yield the Jacobian (or its sum over the results, one row) by every entry."""
    total = lambda z: np.sum(f(z))  # noqa: E731
    columns = lambda z: np.stack([wg.jvp(f, (z,), (e,))[1] for e in UNITS], axis=1)  # noqa: E731
    gradient = wg.grad(total)
    yield wg.jacobian(f, mode="forward")(x)
    yield wg.jacobian(f, mode="reverse")(x)
    yield columns(x)
    yield gradient(x)[None]
    yield wg.vmap(gradient)(np.stack([elsewhere, x]))[1][None]
    yield wg.vmap(lambda z: wg.jvp(f, (z,), (np.ones(SIZE),))[1])(np.stack([elsewhere, x]))[1][:, None]
    yield wg.vmap(wg.jacobian(f, mode="forward"))(np.stack([elsewhere, x]))[1]
    jitted = wg.jit(gradient)
    jitted(elsewhere)
    yield jitted(x)[None]
    if not with_programs:
        return
    program = wg.trace(gradient)(elsewhere)
    yield program(x)[None]
    names: dict = {}
    exec(program.source(), names)
    yield np.asarray(names["gradient" if "gradient" in names else program.name](x))[None]


def compare(f, plain, x, truth, with_programs):
    sums = np.where(np.isfinite(truth).all(axis=0), truth.sum(axis=0), np.nan)[None]
    for found in jacobians(f, x, x + [0.25, 0.125, 0.375], with_programs):
        if found.shape == truth.shape:
            agrees(found, truth, plain, x)
        elif found.shape[1] == 1:  # along the diagonal, where the other way of adding up leads
            known = np.isfinite(truth).all(axis=1)
            np.testing.assert_allclose(found[known, 0], truth[known].sum(axis=1), rtol=1e-9, atol=1e-12)
            assert is_limit(plain, x, np.ones(SIZE), found[:, 0], ~known), (found, truth)
        else:
            agrees(found, sums, lambda z: np.array([np.sum(plain(z))]), x)


@pytest.fixture(autouse=True)
def _quietly():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


@pytest.mark.parametrize("seed", SEEDS)
def test_every_entry_has_the_derivative_of_structure(seed):
    """Choices by values hold in every entry; those by fixed positions in a Program only near where it was recorded."""
    fixed = seed % 2 == 0
    steps, x = random_program(seed, fixed)
    value, truth = derivative(steps, x)
    if np.all(np.isfinite(value)):
        f = lambda z: evaluate(steps, z)  # noqa: E731
        compare(f, f, x, truth, not fixed)


LOOPS = {
    "fori": lambda f: lambda z: wg.fori_loop(0, 2, lambda _i, c: f(c), z),
    "scan": lambda f: lambda z: wg.scan(lambda c, _e: (f(c), None), z, np.zeros(2))[0],
    "while": lambda f: lambda z: wg.while_loop(lambda c: c[0] < 2, lambda c: (c[0] + 1, f(c[1])), (0, z))[1],
    "cond": lambda f: lambda z: f(wg.cond(np.sum(z) * 0 + 1 > 0, f, lambda q: q, z)),
}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("seed", SEEDS[::6])
def test_masks_go_from_step_to_step(loop, seed):
    steps, x = random_program(seed)
    value, truth = derivative(steps, x, 2)
    if np.all(np.isfinite(value)):
        f = lambda z: evaluate(steps, z)  # noqa: E731
        compare(LOOPS[loop](f), lambda z: f(f(z)), x, truth, False)


def test_the_truth_has_zeros_of_both_kinds():
    structural, infinite = 0, 0
    for seed in SEEDS:
        steps, x = random_program(seed)
        value, truth = derivative(steps, x)
        structural += int(np.all(np.isfinite(truth)) and not np.all(np.isfinite(intermediate_values(steps, x))))
        infinite += int(np.all(np.isfinite(value)) and not np.all(np.isfinite(truth)))
    assert structural >= 3
    assert infinite >= 5


def intermediate_values(steps, x):
    """Return all intermediate values: infinite or NaN where a guard leaves something out."""
    with np.errstate(all="ignore"):
        values = [x]
        for k in range(len(steps)):
            values.append(evaluate(steps[: k + 1], x))
    return np.concatenate(values)
