"""What loops cost: `wg.scan`, `fori_loop`, `while_loop` beside a plain Python loop, HIPS autograd and JAX.

Every library runs the same recurrence, interpreted by wengert and autograd, by JAX both as it is called first (traced
and compiled) and compiled before.  Each row is the gradient with respect to one argument: medians over rounds in which
all run in turn, in one process, on one thread, with the ratio to wengert's loop.  Memory is the peak that `tracemalloc`
sees during one gradient (NumPy reports its arrays to it).

Run:  python benchmarks/loops.py [--rounds 7] [--steps 1000]     (needs the `bench` extra, and JAX)
"""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import argparse
import statistics
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import autograd
import autograd.numpy as anp
import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

import wengert as wg

jax.config.update("jax_enable_x64", True)

rng = np.random.default_rng(0)
W = rng.normal(size=(20, 20)) / 5


def scalars(np: Any, c: Any, x: Any) -> Any:
    """One step of a recurrence of numbers."""
    return np.sin(c * x)


def network(np: Any, h: Any, u: Any, W: Any) -> Any:
    """One step of a recurrent network of 20 cells."""
    return np.tanh(W @ h + u)


class Case:
    """A recurrence: its argument, its slices, its step, and the loops that it is written as."""

    def __init__(self, name: str, arg: Any, xs: Any, step: Callable[..., Any]) -> None:
        self.name, self.arg, self.xs, self.step = name, arg, xs, step

    def loop(self, form: str, np: Any, control: Any, xs: Any) -> Callable[[Any], Any]:
        """Write the function of the argument, by a loop of a library's."""
        steps, step = len(xs), self.step
        if form == "scan":
            return lambda a: np.sum(control.scan(lambda c, x: (step(np, c, x, a), None), self.start(np, a), xs)[0])
        if form == "fori_loop":
            return lambda a: np.sum(control.fori_loop(0, steps, lambda i, c: step(np, c, xs[i], a), self.start(np, a)))

        def advance(state: Any) -> Any:
            i, c, a = state
            return i + 1, step(np, c, xs[i], a), a

        return lambda a: np.sum(control.while_loop(lambda s: s[0] < steps, advance, (0, self.start(np, a), a))[1])

    def plain(self, np: Any) -> Callable[[Any], Any]:
        """Write it as a Python loop."""

        def f(a: Any) -> Any:
            c = self.start(np, a)
            for x in self.xs:
                c = self.step(np, c, x, a)
            return np.sum(c)

        return f

    def start(self, np: Any, a: Any) -> Any:
        return a if np.ndim(a) == 0 else np.zeros(a.shape[0])


def cases(steps: int) -> list[Case]:
    return [
        Case("numbers", 0.5, rng.normal(size=steps), lambda np, c, x, a: scalars(np, c, x)),
        Case("network", W, rng.normal(size=(steps, 20)), network),
    ]


def seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def peak(call: Callable[[], Any]) -> int:
    call()
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def measure(case: Case, rounds: int, table: Table) -> None:
    arg, xs = case.arg, case.xs
    calls: dict[str, Callable[[], Any]] = {}
    compiling: dict[str, float] = {}
    sizes: dict[str, Callable[[], Any]] = {}
    for form in ("scan", "fori_loop", "while_loop"):
        ours = case.loop(form, np, wg, xs)
        calls[f"{form}: function"] = lambda f=ours: f(arg)
        calls[f"{form}: grad"] = sizes[f"{form}: grad"] = lambda f=ours: wg.grad(f)(arg)
        calls[f"{form}: jvp"] = lambda f=ours: wg.jvp(f, (arg,), (np.ones_like(arg),))
    few = case.loop("scan", np, _Checkpointed, xs)
    calls["scan, 30 snapshots: grad"] = sizes["scan, 30 snapshots: grad"] = lambda: wg.grad(few)(arg)
    plain = case.plain(np)
    calls["Python loop: function"] = lambda: plain(arg)
    calls["Python loop: grad"] = sizes["Python loop: grad"] = lambda: wg.grad(plain)(arg)
    theirs = autograd.grad(case.plain(anp))
    calls["autograd, Python loop: grad"] = sizes["autograd, Python loop: grad"] = lambda: theirs(arg)
    for form in ("scan", "fori_loop"):
        f = case.loop(form, jnp, jax.lax, jnp.asarray(xs))
        jitted = jax.jit(jax.grad(f))
        compiling[f"JAX {form}, compiled: grad"] = seconds(lambda g=jitted: jax.block_until_ready(g(arg)))
        calls[f"JAX {form}, compiled: grad"] = lambda g=jitted: jax.block_until_ready(g(arg))
        calls[f"JAX {form}: grad"] = lambda f=f: jax.block_until_ready(jax.grad(f)(arg))
    f = case.loop("while_loop", jnp, jax.lax, jnp.asarray(xs))
    calls["JAX while_loop: jvp"] = lambda f=f: jax.block_until_ready(jax.jvp(f, (arg,), (jnp.ones_like(arg),)))
    expected = np.asarray(calls["Python loop: grad"]())
    for name, call in calls.items():
        found = call()
        if name.endswith("grad"):
            np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(seconds(call))
    reference = times["scan: grad"]
    for name, taken in times.items():
        ratio = statistics.median(t / r for t, r in zip(taken, reference, strict=True))
        table.add_row(
            case.name,
            name,
            f"{1e3 * statistics.median(taken):.2f}",
            f"{1e6 * statistics.median(taken) / len(xs):.2f}",
            f"{ratio:.2f}",
            f"{compiling[name]:.2f} s" if name in compiling else "",
            f"{peak(sizes[name]) / 1e6:.2f} MB" if name in sizes else "",
        )
    table.add_section()


class _Checkpointed:
    """`wg.scan` with 30 snapshots."""

    @staticmethod
    def scan(f: Any, init: Any, xs: Any) -> Any:
        return wg.scan(f, init, xs, checkpoint=30)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure loops.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=1000)
    given = parser.parse_args()
    table = Table(title=f"loops of {given.steps:,} steps")
    for column in ("recurrence", "what", "ms", "us a step", "ratio", "compiling", "peak"):
        table.add_column(column, justify="left" if column in ("recurrence", "what") else "right")
    for case in cases(given.steps):
        measure(case, given.rounds, table)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
