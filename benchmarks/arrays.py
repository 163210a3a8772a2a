"""Gradients of elementwise chains, reductions, stencils and logsumexp, from a thousand numbers to ten million.

Run:  python benchmarks/arrays.py [--rounds 5] [--largest 1000000] [--only chain logsumexp ...]
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import harness  # isort: skip  # before NumPy

os.environ.pop("WENGERT_NATIVE", None)  # as its users have it: after as long as compiling takes
import numpy as np

import wengert as wg

PEERS = ("JAX", "PyTorch", "autograd")
jax, torch, autograd = harness.peer("jax"), harness.peer("torch"), harness.peer("autograd")
if jax:
    jax.config.update("jax_enable_x64", True)
if torch:
    torch.set_num_threads(1)


def chain(xp: Any, x: Any) -> Any:
    """Nine operations an element, of which three are transcendental."""
    y = xp.tanh(x) * x + 0.5
    return xp.sum(xp.sin(y) * xp.exp(-y * y))


def distance(xp: Any, x: Any) -> Any:
    """A reduction of a quotient."""
    return xp.sqrt(xp.sum((x / (1.0 + x * x)) ** 2))


def stencil(xp: Any, x: Any) -> Any:
    """Second differences, squared."""
    return xp.sum((x[2:] - 2.0 * x[1:-1] + x[:-2]) ** 2)


def logsumexp(xp: Any, x: Any) -> Any:
    largest = xp.max(x)
    return xp.log(xp.sum(xp.exp(x - largest))) + largest


CASES = {function.__name__: function for function in (chain, distance, stencil, logsumexp)}
SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)


def makers(function: Callable[..., Any], x: Any) -> dict[str, Callable[[], harness.Call]]:
    def of_wengert() -> harness.Call:
        return partial(wg.jit(wg.grad(partial(function, np))), x)

    def of_jax() -> harness.Call:
        gradient, value = jax.jit(jax.grad(partial(function, jax.numpy))), jax.numpy.asarray(x)
        return lambda: jax.block_until_ready(gradient(value))

    def of_torch() -> harness.Call:
        value = torch.tensor(x, requires_grad=True)
        return lambda: torch.autograd.grad(function(torch, value), value)[0].numpy()

    def of_autograd() -> harness.Call:
        return partial(autograd.grad(partial(function, importable("autograd.numpy"))), x)

    made = {"wengert": of_wengert}
    for name, module, make in (("JAX", jax, of_jax), ("PyTorch", torch, of_torch), ("autograd", autograd, of_autograd)):
        if module:
            made[name] = make
    return made


def importable(name: str) -> Any:
    module = harness.peer(name)
    assert module is not None, name
    return module


def races(names: list[str], largest: int, rounds: int) -> Iterator[list[harness.Timing]]:
    for name in names:
        for dtype in (np.float32, np.float64):
            for size in SIZES:
                if size <= largest:
                    x = np.random.default_rng(0).normal(size=size).astype(dtype)
                    case = f"{name} {np.dtype(dtype).name} {size:,}"
                    single = 1e-3 * max(1.0, size / 1e6)  # JAX's sum of 10^7 exponentials is off by a hundredth
                    yield harness.race(case, makers(CASES[name], x), rounds, single=single)


def main() -> None:
    options = harness.options(__doc__, *CASES, rounds=5, largest=SIZES[-1])
    harness.show_races("Gradients of arrays", PEERS, races(options.only, options.largest, options.rounds))


if __name__ == "__main__":
    main()
