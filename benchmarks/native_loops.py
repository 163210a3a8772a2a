"""Gradients of loops: by machine code, in Python, and by JAX's `jit` of the same loop.

Each case is written once, for NumPy and for `jax.numpy`: a recurrence of numbers, a recurrent network of 20 cells, an
LSTM of 14, a Kalman filter of 4 states, a Runge-Kutta method of order four, and Newton's iteration.

Run:  python benchmarks/native_loops.py [--rounds 7] [--steps 1000] [--only "lstm" ...]
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import harness  # isort: skip  # before NumPy

os.environ["WENGERT_NATIVE"] = "1"
import numpy as np

import wengert as wg
from wengert.control import native

jax = harness.peer("jax")
if jax:
    jax.config.update("jax_enable_x64", True)

Case = tuple[Callable[..., Any], tuple[Any, ...]]


def recurrence(np: Any, loops: Any, steps: int, x: Any) -> Any:
    return loops.fori_loop(0, 10 * steps, lambda i, c: np.sin(c) * x[0] + x[1] * c, 0.5)


def recurrent_network(np: Any, loops: Any, steps: int, w: Any, u: Any, xs: Any) -> Any:
    return np.sum(loops.scan(lambda h, x: (np.tanh(w @ h + u @ x), None), np.zeros(20), xs)[0] ** 2)


def lstm(np: Any, loops: Any, steps: int, w: Any, b: Any, xs: Any) -> Any:
    def gate(z: Any) -> Any:
        return 1.0 / (1.0 + np.exp(-z))

    def step(state: Any, x: Any) -> Any:
        h, c = state
        z = np.concatenate([x, h]) @ w + b
        c = gate(z[14:28]) * c + gate(z[:14]) * np.tanh(z[42:])
        h = gate(z[28:42]) * np.tanh(c)
        return (h, c), np.sum(h)

    return np.sum(loops.scan(step, (np.zeros(14), np.zeros(14)), xs)[1] ** 2)


def kalman_filter(np: Any, loops: Any, steps: int, transition: Any, noise: Any, zs: Any) -> Any:
    observed = np.eye(4)[:2]

    def step(state: Any, z: Any) -> Any:
        x, p, loss = state
        x, p = transition @ x, transition @ p @ transition.T + noise
        y, s = z - observed @ x, observed @ p @ observed.T + 0.5 * np.eye(2)
        determinant = s[0, 0] * s[1, 1] - s[0, 1] * s[1, 0]
        inverse = np.array([[s[1, 1], -s[0, 1]], [-s[1, 0], s[0, 0]]]) / determinant
        gain = p @ observed.T @ inverse
        return (x + gain @ y, p - gain @ observed @ p, loss + np.log(determinant) + y @ inverse @ y), None

    return loops.scan(step, (np.zeros(4), np.eye(4), 0.0), zs)[0][2]


def runge_kutta(np: Any, loops: Any, steps: int, p: Any) -> Any:
    def f(y: Any) -> Any:
        return np.array([p[0] * (y[1] - y[0]), y[0] * (p[1] - y[2]) - y[1], y[0] * y[1] - p[2] * y[2]])

    def step(_: Any, y: Any) -> Any:
        a = f(y)
        b = f(y + 0.0005 * a)
        c = f(y + 0.0005 * b)
        return y + 0.001 / 6 * (a + 2.0 * b + 2.0 * c + f(y + 0.001 * c))

    return np.sum(loops.fori_loop(0, steps, step, np.ones(3)) ** 2)


def newton(np: Any, loops: Any, steps: int, a: Any) -> Any:
    """Find a root by steps that are shortened, some fifty; the value alone: JAX has no reverse of a while loop."""
    return loops.while_loop(lambda x: np.abs(x * x - a) > 1e-12, lambda x: x - 0.3 * (x - a / x), a)


def cases(steps: int) -> dict[str, Case]:
    rng = np.random.default_rng(0)
    return {
        "recurrence": (recurrence, (np.array([0.7, 0.5]),)),
        "recurrent network": (
            recurrent_network,
            (rng.normal(size=(20, 20)) * 0.2, rng.normal(size=(20, 5)), rng.normal(size=(steps, 5))),
        ),
        "lstm": (lstm, (rng.normal(size=(28, 56)) * 0.2, rng.normal(size=56), rng.normal(size=(steps, 14)))),
        "kalman filter": (
            kalman_filter,
            (np.eye(4) + 0.1 * np.eye(4, k=2), 0.01 * np.eye(4), rng.normal(size=(steps, 2))),
        ),
        "runge-kutta": (runge_kutta, (np.array([10.0, 28.0, 8 / 3]),)),
        "newton, value": (newton, (np.float64(2.0),)),
    }


def in_python(call: harness.Call) -> harness.Call:
    """Return a call that runs no machine code."""
    before = native.Effort.before

    def alone() -> Any:
        native.Effort.before = lambda self, steps, make: None  # type: ignore[method-assign]
        try:
            return call()
        finally:
            native.Effort.before = before  # type: ignore[method-assign]

    return alone


def makers(name: str, f: Any, args: tuple[Any, ...], steps: int) -> dict[str, Callable[[], harness.Call]]:
    transform = (lambda f: f) if "value" in name else wg.grad

    def eager() -> harness.Call:
        return partial(transform(partial(f, np, wg, steps)), *args)

    def jitted() -> harness.Call:
        return partial(wg.jit(transform(partial(f, np, wg, steps))), *args)

    def of_jax() -> harness.Call:
        function = partial(f, jax.numpy, jax.lax, steps)
        compiled = jax.jit(function if "value" in name else jax.grad(function))
        values = tuple(map(jax.numpy.asarray, args))
        return lambda: jax.block_until_ready(compiled(*values))

    made: dict[str, Callable[[], harness.Call]] = {
        "wengert": eager,
        "wengert jit": jitted,
        "in Python": lambda: in_python(eager()),
    }
    return made | {"JAX": of_jax} if jax else made


def main() -> None:
    options = harness.options(__doc__, *cases(1), rounds=7, steps=1000)
    chosen = {name: case for name, case in cases(options.steps).items() if name in options.only}
    races = (
        harness.race(name, makers(name, f, args, options.steps), options.rounds, lasting=0.001)
        for name, (f, args) in chosen.items()
    )
    peers = ["wengert jit", "in Python", *(["JAX"] if jax else [])]
    harness.show_races(f"gradients of loops of {options.steps:,} steps", peers, races)


if __name__ == "__main__":
    main()
