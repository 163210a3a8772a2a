"""What loops cost: `wg.scan`, `fori_loop`, `while_loop` beside a plain Python loop, HIPS autograd and JAX.

Every library runs the same recurrence, interpreted by wengert and autograd, by JAX both as it is called first (traced
and compiled) and compiled before.  Each row is the gradient with respect to one argument (or the function itself, or a
tangent), with the ratio to wengert's `scan`.  Memory is the peak of one gradient.

Run:  python benchmarks/loops.py [--rounds 7] [--steps 1000]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import Any

import harness  # isort: skip  # before NumPy
import numpy as np

import wengert as wg

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


class _Checkpointed:
    """`wg.scan` with 30 snapshots."""

    @staticmethod
    def scan(f: Any, init: Any, xs: Any) -> Any:
        return wg.scan(f, init, xs, checkpoint=30)


def calls_of(case: Case) -> dict[str, harness.Call]:
    """Return the calls of wengert: each loop, its gradient, its tangent; and a Python loop."""
    arg, xs = case.arg, case.xs
    functions = {form: case.loop(form, np, wg, xs) for form in ("scan", "fori_loop", "while_loop")}
    functions["scan, 30 snapshots"] = case.loop("scan", np, _Checkpointed, xs)
    functions["Python loop"] = case.plain(np)
    calls: dict[str, harness.Call] = {}
    for form, f in functions.items():
        if form != "scan, 30 snapshots":
            calls[f"{form}: function"] = partial(f, arg)
        calls[f"{form}: grad"] = partial(lambda f: wg.grad(f)(arg), f)
        if form.endswith(("scan", "_loop")):
            calls[f"{form}: jvp"] = partial(lambda f: wg.jvp(f, (arg,), (np.ones_like(arg),)), f)
    return calls


def call_of(number: int, name: str) -> harness.Call:
    return calls_of(cases(1000)[number])[name]


CALLS = {
    f"{case.name}, {name}": partial(call_of, number, name)
    for number, case in enumerate(cases(1))
    for name in calls_of(case)
}


def calls_of_peers(case: Case) -> dict[str, harness.Call]:
    """Return the calls of the libraries beside wengert that are installed."""
    arg, xs = case.arg, case.xs
    calls: dict[str, harness.Call] = {}
    if autograd := harness.peer("autograd"):
        import autograd.numpy as anp

        calls["autograd, Python loop: grad"] = partial(autograd.grad(case.plain(anp)), arg)
    if jax := harness.peer("jax"):
        import jax.numpy as jnp

        jax.config.update("jax_enable_x64", True)
        wait = jax.block_until_ready
        for form in ("scan", "fori_loop"):
            f = case.loop(form, jnp, jax.lax, jnp.asarray(xs))
            calls[f"JAX {form}, compiled: grad"] = partial(lambda g: wait(g(arg)), jax.jit(jax.grad(f)))
            calls[f"JAX {form}: grad"] = partial(lambda f: wait(jax.grad(f)(arg)), f)
        f = case.loop("while_loop", jnp, jax.lax, jnp.asarray(xs))
        calls["JAX while_loop: jvp"] = lambda: wait(jax.jvp(f, (arg,), (jnp.ones_like(arg),)))
    return calls


def measure(case: Case, rounds: int) -> Iterator[tuple[str, ...]]:
    calls = calls_of(case) | calls_of_peers(case)
    first = {name: harness.seconds(call) for name, call in calls.items()}
    expected = np.asarray(calls["Python loop: grad"]())
    for name, call in calls.items():
        if name.endswith("grad"):
            np.testing.assert_allclose(call(), expected, rtol=1e-10, atol=1e-12)
    times = dict(zip(calls, harness.in_turn(list(calls.values()), rounds), strict=True))
    for name, taken in times.items():
        yield (
            case.name,
            name,
            f"{1e3 * median(taken):.2f}",
            f"{1e6 * median(taken) / len(case.xs):.2f}",
            f"{harness.ratio(taken, times['scan: grad']):.2f}",
            f"{first[name]:.2f} s" if "compiled" in name else "",
            f"{harness.peak(calls[name]) / 1e6:.2f} MB" if name.endswith("grad") and "JAX" not in name else "",
        )


def main() -> None:
    options = harness.options(__doc__, rounds=7, steps=1000)
    columns = ("recurrence", "what", "ms", "us a step", "ratio", "compiling", "peak")
    rows = (row for case in cases(options.steps) for row in measure(case, options.rounds))
    harness.show(f"loops of {options.steps:,} steps", columns, rows, labels=2)


if __name__ == "__main__":
    main()
