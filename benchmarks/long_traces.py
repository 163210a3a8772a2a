"""Long traces: a Python loop of 1,600 statements, and a network of long short-term memory unrolled over 100 steps.

"first call" is what decides here: the time until the first gradient.  JAX unrolls and compiles what it is given, so it
is left out of a run unless asked for by `--jax 1`.

Run:  python benchmarks/long_traces.py [--rounds 3] [--steps 400] [--jax 0]
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import harness  # isort: skip  # before NumPy

os.environ.pop("WENGERT_NATIVE", None)  # as its users have it: after as long as compiling takes
import numpy as np

import wengert as wg

jax, autograd = harness.peer("jax"), harness.peer("autograd")
if jax:
    jax.config.update("jax_enable_x64", True)
PEERS = ("autograd", "JAX")


def statements(xp: Any, x: Any, steps: int) -> Any:
    """Four statements of arrays a step."""
    y = x
    for k in range(steps):
        z = y * xp.cos(y)
        y = 0.9 * y + 0.1 * z
        y = y - 0.01 * xp.sin(k * x)
        y = y / (1.0 + 0.01 * y * y)
    return xp.sum(y * y)


def unrolled(xp: Any, W: Any, x: Any) -> Any:
    """One layer of long short-term memory, step by step; the loss is of the last state."""
    width = W.shape[1] // 4
    h = c = xp.zeros(width)
    for row in x:
        gates = xp.concatenate([row, h]) @ W
        i, f, o = (1.0 / (1.0 + xp.exp(-gates[k * width : (k + 1) * width])) for k in range(3))
        c = f * c + i * xp.tanh(gates[3 * width :])
        h = o * xp.tanh(c)
    return xp.sum(h * h)


def makers(
    function: Callable[..., Any], args: tuple[Any, ...], with_jax: bool
) -> dict[str, Callable[[], harness.Call]]:
    def of_wengert() -> harness.Call:
        return partial(wg.jit(wg.grad(partial(function, np))), *args)

    def of_autograd() -> harness.Call:
        return partial(autograd.grad(partial(function, harness.peer("autograd.numpy"))), *args)

    def of_jax() -> harness.Call:
        static = tuple(k for k, arg in enumerate(args) if isinstance(arg, int))
        gradient = jax.jit(jax.grad(partial(function, jax.numpy)), static_argnums=static)
        return lambda: jax.block_until_ready(gradient(*args))

    made = {"wengert": of_wengert}
    if autograd:
        made["autograd"] = of_autograd
    if jax and with_jax:
        made["JAX"] = of_jax
    return made


def main() -> None:
    options = harness.options(__doc__, rounds=3, steps=400, jax=0)
    rng = np.random.default_rng(0)
    inputs = {
        f"{4 * options.steps:,} statements": (statements, (rng.normal(size=100), options.steps)),
        "LSTM of 100 steps": (unrolled, (rng.normal(size=(48, 128)) / 7, rng.normal(size=(100, 16)))),
    }
    races = (
        harness.race(name, makers(function, args, bool(options.jax)), options.rounds)
        for name, (function, args) in inputs.items()
    )
    harness.show_races("Gradients of long traces", PEERS, races)


if __name__ == "__main__":
    main()
