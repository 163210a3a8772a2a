"""Value and gradient of dense networks: small and called often, medium, and large enough that products decide.

Run:  python benchmarks/networks.py [--rounds 5] [--only 64-64-10 ...]
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from itertools import pairwise
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

NETWORKS = {
    "64-64-10": ((64, 64, 10), 32),
    "784-512-512-10": ((784, 512, 512, 10), 128),
    "784-1024-1024-1024-10": ((784, 1024, 1024, 1024, 10), 128),
}
"""The widths of the layers and the number of samples."""


def loss(xp: Any, parameters: Any, x: Any, labels: Any) -> Any:
    """Return the cross entropy of a network with hyperbolic tangents."""
    for W, b in parameters[:-1]:
        x = xp.tanh(x @ W + b)
    W, b = parameters[-1]
    logits = x @ W + b
    largest = logits.max(axis=1, keepdims=True) if xp is not torch else logits.max(dim=1, keepdim=True)[0]
    total = xp.log(xp.sum(xp.exp(logits - largest), 1)) + largest[:, 0]
    return xp.mean(total - xp.sum(logits * labels, 1))


def makers(widths: tuple[int, ...], samples: int) -> dict[str, Callable[[], harness.Call]]:
    rng = np.random.default_rng(0)
    layers = pairwise(widths)
    parameters = [(rng.normal(size=(n, m)) / np.sqrt(n), np.zeros(m)) for n, m in layers]
    x, labels = rng.normal(size=(samples, widths[0])), np.eye(widths[-1])[rng.integers(0, widths[-1], samples)]

    def of_wengert() -> harness.Call:
        return partial(wg.jit(wg.value_and_grad(partial(loss, np))), parameters, x, labels)

    def of_jax() -> harness.Call:
        both = jax.jit(jax.value_and_grad(partial(loss, jax.numpy)))
        args = jax.tree.map(jax.numpy.asarray, (parameters, x, labels))
        return lambda: jax.block_until_ready(both(*args))

    def of_torch() -> harness.Call:
        values = [tuple(torch.tensor(part, requires_grad=True) for part in layer) for layer in parameters]
        flat, data = [part for layer in values for part in layer], (torch.tensor(x), torch.tensor(labels))

        def call() -> Any:
            value = loss(torch, values, *data)
            gradient = torch.autograd.grad(value, flat)
            return value.detach().numpy(), [part.numpy() for part in gradient]

        return call

    def of_autograd() -> harness.Call:
        both = autograd.value_and_grad(partial(loss, harness.peer("autograd.numpy")))
        return partial(both, parameters, x, labels)

    made = {"wengert": of_wengert}
    for name, module, make in (("JAX", jax, of_jax), ("PyTorch", torch, of_torch), ("autograd", autograd, of_autograd)):
        if module:
            made[name] = make
    return made


def main() -> None:
    options = harness.options(__doc__, *NETWORKS, rounds=5)
    races = (harness.race(name, makers(*NETWORKS[name]), options.rounds) for name in options.only)
    harness.show_races("Value and gradient of networks", PEERS, races)


if __name__ == "__main__":
    main()
