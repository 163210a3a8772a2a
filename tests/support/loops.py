"""Random bodies of loops, as data, and the ways to write a loop: wengert's, plain Python's, JAX's, from one source."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

import wengert as wg

MATRIX = np.array([[0.5, -0.3, 0.2], [0.1, 0.9, -0.6], [-0.8, 0.4, 0.3]])
SIZE = 3


# ---- One source, three libraries ----


def _assign(a, index, value):
    a = np.array(a)
    a[index] = value
    return a


def _assign_here(a, index, value):
    a[index] = value
    return a


@wg.custom_derivative
def squash(x):
    return np.tanh(x)


squash.def_partial(lambda y, x: 1 - y * y)


def plain_scan(f, init, xs, reverse=False):
    """Go through the leading axis as Python does: the form that the others have to agree with."""
    carry, ys = init, []
    steps = range(len(xs))
    for k in reversed(steps) if reverse else steps:
        carry, y = f(carry, xs[k])
        ys.append(y)
    return carry, np.stack(ys[::-1] if reverse else ys)


def plain_fori(lower, upper, f, init):
    for i in range(lower, upper):
        init = f(i, init)
    return init


def plain_while(test, f, init):
    while test(init):
        init = f(init)
    return init


OURS = SimpleNamespace(
    np=np, scan=wg.scan, fori_loop=wg.fori_loop, while_loop=wg.while_loop, cond=wg.cond, checkpoint=wg.checkpoint,
    map=wg.map, assign=_assign, assign_here=_assign_here, squash=squash,
    choose=lambda pred, a, b, *xs: a(*xs) if pred else b(*xs),
)  # fmt: skip
PYTHON = SimpleNamespace(
    np=np, scan=plain_scan, fori_loop=plain_fori, while_loop=plain_while, checkpoint=lambda f: f, assign=_assign,
    cond=lambda pred, a, b, *xs: a(*xs) if pred else b(*xs), assign_here=lambda a, i, v: _assign(a, i, v),
    map=lambda f, xs: np.stack([f(x) for x in xs]), squash=np.tanh,
    choose=lambda pred, a, b, *xs: a(*xs) if pred else b(*xs),
)  # fmt: skip
JAX = SimpleNamespace(
    np=jnp, scan=jax.lax.scan, fori_loop=jax.lax.fori_loop, while_loop=jax.lax.while_loop, cond=jax.lax.cond,
    checkpoint=jax.checkpoint, map=jax.lax.map, assign=lambda a, i, v: jnp.asarray(a).at[i].set(v),
    assign_here=lambda a, i, v: a.at[i].set(v), squash=jnp.tanh, choose=jax.lax.cond,
)  # fmt: skip


# ---- Ingredients of a body: (library, carry, slice, weights, number of the step) -> carry ----


def _inner_scan(lib, c, x, w, i):
    carry, ys = lib.scan(lambda s, z: (0.7 * s + lib.np.sin(z * w[0]), s * z), x, lib.np.stack([c, w, x * c]))
    return 0.5 * carry - lib.np.sum(ys, axis=0)


def _inner_fori(lib, c, x, w, i):
    return lib.fori_loop(0, 3, lambda k, v: lib.np.tanh(v * w + x) * (k + 1.0) / 3.0, c)


def _inner_while(lib, c, x, w, i):
    return lib.while_loop(lambda v: lib.np.sum(v * v) > 0.4, lambda v: 0.6 * v * lib.np.cos(0.3 * w), c * x)


def _counting_while(lib, c, x, w, i):
    def step(state):
        n, v = state
        return n + 1, 0.5 * v + lib.np.sin(w * v)

    return lib.while_loop(lambda state: state[0] < 3, step, (0, c))[1]


INGREDIENTS = {
    "elementwise": lambda lib, c, x, w, i: c * w + lib.np.sin(x),
    "product": lambda lib, c, x, w, i: c * x * w,
    "powers": lambda lib, c, x, w, i: c**2 - x * c**3,
    "matrix": lambda lib, c, x, w, i: MATRIX @ c + x,
    "matrices": lambda lib, c, x, w, i: (lib.np.outer(w, x) + MATRIX.T) @ c,
    "elements": lambda lib, c, x, w, i: lib.np.array([c[1], c[2] * x[0], 0.5]) + w,
    "reversed": lambda lib, c, x, w, i: c[::-1] * x[0],
    "assignment": lambda lib, c, x, w, i: lib.assign(c, 1, c[0] * x[2]),
    "assignment of a slice": lambda lib, c, x, w, i: lib.assign_here(1.0 * c, slice(0, 2), w[1:] * c[1:]),
    "assignment to the carry": lambda lib, c, x, w, i: lib.assign_here(c, 2, c[2] * w[2] + x[0]),
    "where": lambda lib, c, x, w, i: lib.np.where(c > 0.1, c * x, lib.np.sin(c)),
    "where, other branch infinite": lambda lib, c, x, w, i: lib.np.where(
        c > -9.0, c * w, 1.0 / lib.np.where(c > -9.0, 1.0, c)
    ),
    "reductions": lambda lib, c, x, w, i: c * lib.np.mean(x) - lib.np.max(c) + lib.np.sum(w * c),
    "norm": lambda lib, c, x, w, i: c / lib.np.linalg.norm(c + 2.0 * x + 5.0),
    "running sum": lambda lib, c, x, w, i: lib.np.cumsum(c * w),
    "counter": lambda lib, c, x, w, i: c * (1.0 + 0.1 * i),
    "decision": lambda lib, c, x, w, i: lib.choose(
        c[0] > 0.15, lambda c, x: c * x + 0.1, lambda c, x: lib.np.cos(c), c, x
    ),
    "cond": lambda lib, c, x, w, i: lib.cond(
        lib.np.sum(c) > 0.2, lambda c, x: lib.np.exp(-c) * w, lambda c, x: x * c - w, c, x
    ),
    "scan": _inner_scan,
    "fori_loop": _inner_fori,
    "while_loop": _inner_while,
    "counting while_loop": _counting_while,
    "map": lambda lib, c, x, w, i: lib.map(lambda z: lib.np.sin(z) * w[0] + z * x[1], c),
    "checkpoint": lambda lib, c, x, w, i: lib.checkpoint(lambda v, z: lib.np.sin(v * w) * lib.np.cos(z))(c, x),
    "custom": lambda lib, c, x, w, i: lib.squash(c * x) + w,
    "nothing": lambda lib, c, x, w, i: c,
}
FORWARD_ONLY = {"while_loop", "counting while_loop"}
"""What JAX does not go back through."""


@dataclass(frozen=True)
class RandomBody:
    """The body of a loop as a list of ingredients; prints as what it is, so that failures can be read."""

    names: tuple[str, ...]
    collects: bool = True

    def __call__(self, lib, carry, x, w, i):
        for name in self.names:
            carry = lib.np.tanh(INGREDIENTS[name](lib, carry, x, w, i))
        return carry

    @property
    def jax_goes_back(self):
        return FORWARD_ONLY.isdisjoint(self.names)


def random_bodies(max_size=3):
    names = st.lists(st.sampled_from(sorted(INGREDIENTS)), min_size=1, max_size=max_size)
    return st.builds(RandomBody, names.map(tuple))


# ---- Forms of a loop: a function of the first carry, the slices and the weights, to one vector ----


def as_python(body, lib=PYTHON, reverse=False):
    """Write the loop out: each statement of each step is a line."""

    def f(c, xs, w):
        ys = [None] * len(xs)
        for k in range(len(xs)):
            at = len(xs) - 1 - k if reverse else k
            y = c * xs[at]
            c = body(lib, c, xs[at], w, k)
            ys[at] = y
        return lib.np.concatenate([c, lib.np.sum(lib.np.stack(ys) * (1.0 + lib.np.arange(len(xs)))[:, None], axis=0)])

    return f


def as_scan(body, lib=OURS, reverse=False, **options):
    """Go through the slices; the number of the step is carried as well, an integer among floats."""

    def f(c, xs, w):
        def step(carry, x):
            c, k = carry
            return (body(lib, 1.0 * c, x, w, k), k + 1), c * x

        (c, _), ys = lib.scan(step, (c, 0), xs, reverse=reverse, **options)
        return lib.np.concatenate([c, lib.np.sum(ys * (1.0 + lib.np.arange(len(xs)))[:, None], axis=0)])

    return f


def as_fori(body, lib=OURS, **options):
    """Count, and carry what is collected along in a tree."""

    def f(c, xs, w):
        def step(i, state):
            c, total = state["c"], state["total"]
            y = c * xs[i]
            return {"c": body(lib, 1.0 * c, xs[i], w, i), "total": total + y * (1.0 + i)}

        state = lib.fori_loop(0, len(xs), step, {"c": c, "total": 0.0 * c}, **options)
        return lib.np.concatenate([state["c"], state["total"]])

    return f


def as_while(body, lib=OURS, **options):
    """Test the number of the step, which is carried along, and index the slices by it."""

    def f(c, xs, w):
        def step(state):
            k, c, total = state
            y = c * xs[k]
            return k + 1, body(lib, 1.0 * c, xs[k], w, k), total + y * (1.0 + k)

        _, c, total = lib.while_loop(lambda state: state[0] < len(xs), step, (0, c, 0.0 * c), **options)
        return lib.np.concatenate([c, total])

    return f


def points(steps):
    """Draw a first carry, slices and weights, none of them special."""
    return st.integers(0, 10**6).map(lambda seed: point(seed, steps))


def point(seed, steps):
    rng = np.random.default_rng(seed)
    return tuple(rng.uniform(-1.2, 1.2, shape) for shape in ((SIZE,), (steps, SIZE), (SIZE,)))
