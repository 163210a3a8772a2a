"""What the gradients of the programs in `examples/` cost: `wg.grad`, nothing compiled, against HIPS autograd's `grad`.

autograd runs the very same source, loaded a second time with `autograd.numpy` in the place of `numpy`.  What it cannot
run, assignment into arrays, is rewritten for it below (marked *): parts in lists, stacked at the end; wengert still
runs the example as it is.  Memory is the peak of one gradient, at a size where arrays outweigh the record of them.

Run:  python benchmarks/examples.py [--rounds 9] [--only fluid]     (needs autograd)
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

import harness  # isort: skip  # before NumPy
import numpy as np

import wengert as wg

FOLDER = Path(__file__).parents[1] / "examples"

SIZES: dict[str, dict[str, int]] = {
    "fluid": {"size": 64, "steps": 20},
    "lstm": {"hidden": 64, "length": 60, "count": 32},
    "char_rnn": {"hidden": 64, "length": 60, "count": 32},
    "gaussian_process": {"count": 400},
    "kalman": {"count": 500},
    "hmm": {"count": 500},
    "newton": {"count": 20000},
    "lotka_volterra": {"years": 100, "substeps": 2},
    "convnet": {"count": 32, "size": 34, "filters": 8},
    "mixture": {"count": 20000},
    "bundle_adjustment": {"cameras": 20, "points": 1500},
    "black_scholes": {"count": 20000},
    "springs": {"masses": 8, "steps": 100},
    "logistic_regression": {"count": 20000, "features": 20},
}
"""The examples, and the arguments of their `problem` for a size at which memory matters."""


def load(name: str, **names: Any) -> ModuleType:
    """Load a fresh copy of an example, in which names stand for something else: ``load(..., np=autograd.numpy)``."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    vars(module).update({key: value for key, value in names.items() if key in vars(module)})
    return module


# ---- The examples that assign to arrays, for libraries that cannot; `m` is a copy of the example's module ----


def without_assignment(m: ModuleType) -> ModuleType:
    """Replace the functions of an example that assign to arrays by others that stack lists."""
    rewritten = REWRITTEN.get(m.__name__)
    if rewritten is not None:
        rewritten(m, m.np)
    return m


def rewrite_kalman(m: ModuleType, np: Any) -> None:
    def kalman_filter(y, F, H, Q, r, mean, cov):
        means, covs, terms = [mean], [cov], []
        for t in range(len(y)):
            error = y[t] - H @ means[-1]
            spread = H @ covs[-1] @ H + r
            gain = F @ covs[-1] @ H / spread
            terms.append(-0.5 * (np.log(2 * np.pi * spread) + error**2 / spread))
            means.append(F @ means[-1] + gain * error)
            covs.append(F @ covs[-1] @ F.T - np.outer(gain, gain) * spread + Q)
        return np.stack(means), np.stack(covs), np.sum(np.stack(terms[1:]))

    def local_trend(log_variances, slope, y):
        r, q_level, q_slope = np.exp(log_variances)
        F, H = np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([1.0, 0.0])
        Q = np.array([[q_level, 0.0], [0.0, q_slope]])
        return -m.kalman_filter(y, F, H, Q, r, np.array([y[0], slope]), np.diag(np.array([2.0, 0.5])))[2]

    m.kalman_filter, m.local_trend = kalman_filter, local_trend


def rewrite_lotka_volterra(m: ModuleType, np: Any) -> None:
    def rate(state, params):
        birth, hunting, death, growth = params
        return np.array([(birth - hunting * state[1]) * state[0], (growth * state[0] - death) * state[1]])

    def runge_kutta(state, params, steps, h):
        states = [state]
        for _ in range(steps):
            k1 = m.rate(states[-1], params)
            k2 = m.rate(states[-1] + 0.5 * h * k1, params)
            k3 = m.rate(states[-1] + 0.5 * h * k2, params)
            k4 = m.rate(states[-1] + h * k3, params)
            states.append(states[-1] + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4))
        return np.stack(states)

    m.rate, m.runge_kutta = rate, runge_kutta


def rewrite_mixture(m: ModuleType, np: Any) -> None:
    import numpy

    def factors(logs, lower):
        d = logs.shape[1]
        rows, columns = numpy.tril_indices(d, -1)
        places = numpy.zeros((len(rows), d, d))
        places[numpy.arange(len(rows)), rows, columns] = 1.0
        return np.exp(logs)[:, :, None] * numpy.eye(d) + np.tensordot(lower, places, 1)

    m.factors = factors


def rewrite_springs(m: ModuleType, np: Any) -> None:
    def forces(x, v, stiffness, length, friction):
        F = [m.GRAVITY for _ in range(len(x))]
        for i in range(len(x) - 1):
            j = i + 1
            d = x[j] - x[i]
            distance = np.sqrt(np.sum(d**2))
            f = stiffness[i] * (distance - length) * d / distance + friction * (v[j] - v[i])
            F[i] = F[i] + f
            F[j] = F[j] - f
        return np.stack(F)

    def simulate(x, v, stiffness, steps, h, length=0.25, friction=0.5):
        path = [x]
        for _ in range(steps):
            v = v + h * m.forces(x, v, stiffness, length, friction)
            x = x + h * v
            path.append(x)
        return np.stack(path)

    m.forces, m.simulate = forces, simulate


def rewrite_char_rnn(m: ModuleType, np: Any) -> None:
    m.loss = m.unrolled_loss
    m.loss.__name__ = "loss"


REWRITTEN: dict[str, Callable[[ModuleType, Any], None]] = {
    "char_rnn": rewrite_char_rnn,
    "kalman": rewrite_kalman,
    "lotka_volterra": rewrite_lotka_volterra,
    "mixture": rewrite_mixture,
    "springs": rewrite_springs,
}


# ---- Measuring ----


def leaves(tree: Any) -> list[Any]:
    """Return the arrays of nested dicts, lists and tuples, keys in order."""
    if isinstance(tree, dict):
        return [leaf for key in sorted(tree) for leaf in leaves(tree[key])]
    if isinstance(tree, (list, tuple)):
        return [leaf for item in tree for leaf in leaves(item)]
    return [tree]


def for_autograd(name: str) -> ModuleType:
    import autograd.numpy
    import autograd.scipy.special as special

    return without_assignment(load(name, np=autograd.numpy, logsumexp=special.logsumexp, erf=special.erf))


def gradient(name: str, sizes: dict[str, int]) -> harness.Call:
    """Return a call of the gradient of an example, at a size."""
    function, args, argnums = load(name).problem(**sizes)
    return partial(wg.grad(function, argnums), *args)


CALLS = {name: partial(gradient, name, {}) for name in SIZES}
CALLS |= {f"{name}, large": partial(gradient, name, sizes) for name, sizes in SIZES.items()}


def measure(name: str, rounds: int) -> tuple[str, ...]:
    import autograd

    ours, theirs = load(name), for_autograd(name)
    cells = []
    for sizes in ({}, SIZES[name]):
        function, args, _ = ours.problem(**sizes)
        other, other_args, argnums = theirs.problem(**sizes)
        calls = partial(function, *args), gradient(name, sizes), partial(autograd.grad(other, argnums), *other_args)
        for mine, its in zip(leaves(calls[1]()), leaves(calls[2]()), strict=True):
            np.testing.assert_allclose(mine, its, rtol=1e-8, atol=1e-10 * max(1.0, np.max(np.abs(its))))
        each = harness.seconds(calls[2])
        times = harness.in_turn(calls, rounds if each < 1.0 else 3, max(1, int(0.02 / each)))
        cells += [*(f"{1e3 * median(column):,.2f}" for column in times), f"{harness.ratio(times[1], times[2]):.2f}"]
    memory = [harness.peak(call) / 1e6 for call in calls[1:]]
    label = name + "*" * (name in REWRITTEN)
    return label, *cells, *(f"{value:,.1f}" for value in memory), f"{memory[0] / memory[1]:.2f}"


def main() -> None:
    options = harness.options(__doc__, *SIZES, rounds=9)
    title = "gradients of the examples, nothing compiled: milliseconds a call, peak memory in MB"
    columns = ("NumPy", "wengert", "autograd", "ratio")
    columns = ("example", *columns, *(f"large:\n{c}" for c in columns), *(f"memory:\n{c}" for c in columns[1:]))
    harness.show(title, columns, (measure(name, options.rounds) for name in options.only))


if __name__ == "__main__":
    main()
