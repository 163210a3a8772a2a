"""Random nestings of loops, branches and transformations, and a slow, obvious truth for them.

A `Number` is a polynomial in infinitesimals whose squares are zero, one for each derivative that is being taken: no
trace, no sweep, no rule but the Taylor series of four functions.  `Reference` has wengert's names on top of it: loops
are Python's, `grad` goes through the directions, `vmap` through the members.

    python tests/support/nestings.py --first 0 --count 1000

tries nestings by their numbers, and reports those that disagree.
"""

from __future__ import annotations

import argparse
import itertools
import random
import traceback
import warnings
from collections import Counter

import numpy as np

import wengert as wg

# ---- Numbers with infinitesimals ----


class Number:
    """A sum of products of different infinitesimals: ``{frozenset(): value, frozenset({e}): slope, ...}``."""

    __slots__ = ("parts",)

    def __init__(self, parts):
        self.parts = parts

    def __float__(self):
        return self.parts.get(frozenset(), 0.0)

    def __add__(self, other):
        if isinstance(other, np.ndarray):
            return NotImplemented
        total = Counter(self.parts)
        for key, value in number(other).parts.items():
            total[key] += value
        return Number(dict(total))

    def __mul__(self, other):
        if isinstance(other, np.ndarray):
            return NotImplemented
        total = {}
        for a, b in itertools.product(self.parts.items(), number(other).parts.items()):
            if a[0].isdisjoint(b[0]):
                total[a[0] | b[0]] = total.get(a[0] | b[0], 0.0) + a[1] * b[1]
        return Number(total)

    def __neg__(self):
        return self * -1.0

    def __sub__(self, other):
        return NotImplemented if isinstance(other, np.ndarray) else self + -number(other)

    def __rsub__(self, other):
        return -self + other

    __radd__, __rmul__ = __add__, __mul__

    def __pow__(self, n):
        return self if n == 1 else self * self ** (n - 1)

    def __lt__(self, other):
        return float(self) < float(other)

    def __gt__(self, other):
        return float(self) > float(other)

    def series(self, derivatives):
        """Apply a function that has these derivatives at the value, by its Taylor series, which ends."""
        rest = Number({key: value for key, value in self.parts.items() if key})
        total, power = number(0.0), number(1.0)
        for k, derivative in enumerate(derivatives(float(self))):
            total, power = total + power * derivative, power * rest * (1.0 / (k + 1))
            if not power.parts:
                return total
        raise AssertionError("more derivatives than the series has terms")

    def sin(self):
        return self.series(lambda x: [np.sin(x), np.cos(x), -np.sin(x), -np.cos(x)] * 4)

    def cos(self):
        return self.series(lambda x: [np.cos(x), -np.sin(x), -np.cos(x), np.sin(x)] * 4)

    def exp(self):
        return self.series(lambda x: [np.exp(x)] * 16)


def number(value):
    return value if isinstance(value, Number) else Number({frozenset(): float(value)})


def numbers(values):
    """Return an array of numbers."""
    return np.vectorize(number, otypes=[object])(values)


def split(value, tag):
    """Return what stands without an infinitesimal, and its coefficient: arrays of numbers, or one each."""

    def of_each(pick):
        return np.vectorize(lambda v: Number(pick(number(v).parts)), otypes=[object])(value)[()]

    return (
        of_each(lambda parts: {key: v for key, v in parts.items() if tag not in key}),
        of_each(lambda parts: {key - {tag}: v for key, v in parts.items() if tag in key}),
    )


class Reference:
    """wengert's functions, by definition."""

    tags = itertools.count()

    @classmethod
    def jvp(cls, f, primals, tangents):
        tag = next(cls.tags)
        step = Number({frozenset({tag}): 1.0})
        return split(f(*[x + step * v for x, v in zip(primals, tangents, strict=True)]), tag)

    @classmethod
    def jacfwd(cls, f):
        def jacobian(x):
            columns = [cls.jvp(f, (x,), (e,))[1] for e in np.eye(np.size(x)).reshape(-1, *np.shape(x))]
            return np.stack(columns, axis=-1) if np.shape(x) else columns[0]

        return jacobian

    grad = jacrev = jacfwd

    @classmethod
    def value_and_grad(cls, f):
        return lambda x: (f(x), cls.grad(f)(x))

    @classmethod
    def hessian(cls, f):
        return cls.jacfwd(cls.grad(f))

    @classmethod
    def hvp(cls, f):
        return lambda x, v: cls.jvp(cls.grad(f), (x,), (v,))[1]

    @classmethod
    def vjp(cls, f, x):
        return f(x), lambda g: (g @ cls.jacfwd(f)(x),)

    @classmethod
    def linearize(cls, f, x):
        return f(x), lambda v: cls.jvp(f, (x,), (v,))[1]

    @staticmethod
    def vmap(f):
        return lambda x: np.stack([f(member) for member in x])

    @staticmethod
    def scan(body, carry, xs, length=None):
        ys = []
        for k in range(len(xs) if length is None else length):
            carry, y = body(carry, None if xs is None else xs[k])
            ys.append(y)
        return carry, np.stack(ys)

    @staticmethod
    def while_loop(test, body, carry):
        while test(carry):
            carry = body(carry)
        return carry

    @staticmethod
    def fori_loop(lower, upper, body, carry):
        for k in range(lower, upper):
            carry = body(k, carry)
        return carry

    @staticmethod
    def cond(predicate, true, false, *operands):
        return true(*operands) if predicate else false(*operands)

    @staticmethod
    def map(f, xs):
        return np.stack([f(x) for x in xs])

    @staticmethod
    def stop_gradient(x):
        return numbers(np.vectorize(float)(x))[()]

    checkpoint = jit = staticmethod(lambda f: f)
    cube = staticmethod(lambda x: x**3)


class Wengert:
    """wengert's functions, and a custom derivative by each form of rule."""

    def __getattr__(self, name):
        return getattr(wg, name)

    def __init__(self, form):
        self.cube = wg.custom_derivative(lambda x: x**3)
        if form == 0:
            self.cube.def_partial(lambda y, x: 3 * x**2)
        elif form == 1:
            self.cube.defjvp(lambda primals, tangents: (primals[0] ** 3, 3 * primals[0] ** 2 * tangents[0]))
        else:
            self.cube.defvjp(lambda x: (x**3, x), lambda x, g: (3 * x**2 * g,))


# ---- Nestings ----

W = np.array([0.5, -1.0, 0.8])

LEAVES = {
    "sin": lambda ad: lambda x: np.sin(x) * x[::-1],
    "product": lambda ad: lambda x: x * x[0] + 0.3 * np.sum(x * x),
    "exp": lambda ad: lambda x: np.exp(-x * x) + W * x,
    "where": lambda ad: lambda x: np.where(x > 0.2, x * x, np.sin(x)),
    "array": lambda ad: lambda x: np.array([x[0] * x[1], np.sin(x[2]), x[1]]),
    "if": lambda ad: lambda x: np.cos(x) if np.sum(x) > 0.5 else x * W,
    "cube": lambda ad: lambda x: ad.cube(0.5 * x) + 0.2,
    "matrix": lambda ad: lambda x: np.stack([x, x[::-1]]).T @ np.array([0.3, -0.4]),
}
ONE = {  # of one function
    "grad": lambda ad, f: lambda x: ad.grad(lambda y: np.sum(f(y) * x))(x),
    "grad of a product": lambda ad, f: lambda x: ad.grad(lambda y: np.sum(f(x) * f(y)))(0.5 * x),
    "value_and_grad": lambda ad, f: lambda x: (lambda v, g: v * g)(*ad.value_and_grad(lambda y: f(y)[1])(x)),
    "jvp": lambda ad, f: lambda x: ad.jvp(f, (x,), (x * x,))[1],
    "vjp": lambda ad, f: lambda x: ad.vjp(f, x)[1](W * x)[0],
    "linearize": lambda ad, f: lambda x: ad.linearize(f, x)[1](W),
    "jacfwd": lambda ad, f: lambda x: ad.jacfwd(f)(x) @ W,
    "jacrev": lambda ad, f: lambda x: ad.jacrev(f)(x).T @ x,
    "hvp": lambda ad, f: lambda x: ad.hvp(lambda y: np.sum(f(y) * x))(x, W),
    "vmap": lambda ad, f: lambda x: np.sum(ad.vmap(lambda s: f(s * x))(x), axis=0),
    "vmap of grad": lambda ad, f: lambda x: ad.vmap(ad.grad(lambda t: np.sum(f(t * x))))(x),
    "vmap of members": lambda ad, f: lambda x: ad.vmap(f)(np.stack([x, W * x]))[1],
    "checkpoint": lambda ad, f: lambda x: ad.checkpoint(f)(x),
    "jit": lambda ad, f: lambda x: ad.jit(f)(x),
    "stop": lambda ad, f: lambda x: f(x) + x * ad.stop_gradient(f(x)),
    "map": lambda ad, f: lambda x: ad.map(lambda s: np.sum(f(s * x)), x),
    "scan": lambda ad, f: lambda x: ad.scan(lambda c, s: (0.5 * f(c) + s * x, np.sum(c)), x, W)[0],
    "series of scan": lambda ad, f: lambda x: ad.scan(lambda c, _: (0.4 * f(c + x), c * W), x, None, 3)[1][2],
    "fori_loop": lambda ad, f: lambda x: ad.fori_loop(0, 3, lambda i, c: 0.5 * f(c) + 0.1 * x, x),
    "while_loop": lambda ad, f: (
        lambda x: ad.while_loop(
            lambda s: (s[0] < 5) & (np.sum(s[1] * s[1]) < 4.0),
            lambda s: (s[0] + 1, 1.2 * s[1] + 0.1 * np.sin(f(x))),
            (0, x),
        )[1]
    ),
    "while_loop of its own": lambda ad, f: (
        lambda x: ad.while_loop(
            lambda c: np.sum(c * c) < 6.0, lambda c: 1.5 * c + 0.3 + 0.05 * np.sin(f(c)), 0.5 * x + 0.05
        )
    ),
    "python loop": lambda ad, f: lambda x: repeat(f, x, 4),
    "long python loop": lambda ad, f: lambda x: repeat(lambda c: np.sin(c + 0.1 * x), f(x), 24),
}
TWO = {
    "composition": lambda ad, f, g: lambda x: f(np.sin(g(x))),
    "sum": lambda ad, f, g: lambda x: f(x) + g(x[::-1]),
    "product": lambda ad, f, g: lambda x: f(x) * g(x),
    "cond": lambda ad, f, g: lambda x: ad.cond(np.sum(x) > 0.3, f, g, x),
    "cond on the inside": lambda ad, f, g: (
        lambda x: ad.cond(x[0] > x[1], lambda y: f(y) * x[0], lambda y: g(y + x), 0.7 * x)
    ),
    "scan of a cond": lambda ad, f, g: (
        lambda x: ad.scan(lambda c, s: (0.5 * ad.cond(c[0] > 0.1 * s, f, g, c) + 0.2 * x, c[0]), x, W)[0]
    ),
}

ORDERS = {"grad": 1, "grad of a product": 1, "value_and_grad": 1, "jvp": 1, "vjp": 1, "linearize": 1, "jacfwd": 1,
          "jacrev": 1, "vmap of grad": 1, "hvp": 2}  # fmt: skip


def repeat(f, x, times):
    for _ in range(times):
        x = 0.6 * f(x)
    return x


def nesting(seed):
    """Return a random nesting by its number: its name, and a function of the functions to be used."""
    rng = random.Random(seed)
    left = rng.choice([1, 2, 2, 3])  # of what is differentiated within

    def build(depth):
        nonlocal left
        if depth == 0:
            name = rng.choice(sorted(LEAVES))
            return name, LEAVES[name]
        if rng.random() < 0.25:
            name = rng.choice(sorted(TWO))
            (a, f), (b, g) = build(depth - 1), build(rng.randrange(depth))
            return f"{name}({a}, {b})", lambda ad: tamed(TWO[name](ad, f(ad), g(ad)))
        name = rng.choice(sorted(ONE))
        if name in ORDERS:
            if left < ORDERS[name]:
                return build(depth)
            left -= ORDERS[name]
        a, f = build(depth - 1)
        return f"{name}({a})", lambda ad: tamed(ONE[name](ad, f(ad)))

    return build(rng.choice([1, 2, 2, 3, 3, 4]))


def tamed(f):
    """Keep the results of a nesting of moderate size."""
    return lambda x: np.sin(0.7 * f(x))


def points(seed):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1.2, 1.2, (3, 3))


def total(f):
    return lambda x: np.sum(f(x) * W)


CHECKS = {
    "value": (lambda f, X: f(X[0]), lambda r: r.f),
    "forward": (lambda f, X: wg.jacobian(f, mode="forward")(X[0]), lambda r: r.J[0]),
    "reverse": (lambda f, X: wg.jacobian(f, mode="reverse")(X[0]), lambda r: r.J[0]),
    "vmap": (lambda f, X: wg.vmap(f)(X), lambda r: r.values),
    "vmap of grad": (lambda f, X: wg.vmap(wg.grad(total(f)))(X), lambda r: W @ r.J),
    "vmap of jacfwd": (lambda f, X: wg.vmap(wg.jacfwd(f))(X), lambda r: r.J),
    "grad of vmap": (lambda f, X: wg.grad(lambda X: np.sum(wg.vmap(f)(X) * W))(X), lambda r: W @ r.J),
    "Program": (lambda f, X: wg.trace(f)(X[0])(X[0]), lambda r: r.f),
    "Program of grad": (lambda f, X: wg.trace(wg.grad(total(f)))(X[0])(X[0]), lambda r: W @ r.J[0]),
    "grad of Program": (lambda f, X: wg.grad(total(wg.trace(f)(X[0])))(X[0]), lambda r: W @ r.J[0]),
    "jit of grad": (lambda f, X: wg.jit(wg.grad(total(f)))(X[0]), lambda r: W @ r.J[0]),
    "jit of vmap": (lambda f, X: wg.jit(wg.vmap(f))(X), lambda r: r.values),
}


class Right:
    """The values and Jacobians of a nesting, by definition."""

    def __init__(self, make, X):
        f = make(Reference)
        plain = np.vectorize(float, otypes=[float])
        self.values = np.array([plain(f(numbers(x))) for x in X])
        self.J = np.array([plain(Reference.jacfwd(f)(numbers(x))) for x in X])
        self.f = self.values[0]


def disagreements(seed, checks=CHECKS):
    """Return the name of a nesting, and for each check of it that fails what came out."""
    name, make = nesting(seed)
    X = points(seed)
    right = Right(make, X)
    wrong = {}
    for check in checks:
        compute, expected = CHECKS[check]
        try:
            got = compute(make(Wengert(seed % 3)), X.copy())
            np.testing.assert_allclose(got, expected(right), rtol=1e-7, atol=1e-8)
        except AssertionError as error:
            wrong[check] = " ".join(str(error).split())[:200]
        except Exception as error:
            frames = [f for f in traceback.extract_tb(error.__traceback__) if "/wengert/" in f.filename]
            inside = f" ({frames[-1].filename.rpartition('/wengert/')[2]}:{frames[-1].lineno})" if frames else ""
            wrong[check] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}{inside}"
    return name, wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=100)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    faults = 0
    for seed in range(options.first, options.first + options.count):
        name, wrong = disagreements(seed)
        faults += bool(wrong)
        if wrong:
            print(f"{seed} {name}", *(f"    {check}: {what}" for check, what in wrong.items()), sep="\n", flush=True)
    print(f"{options.count:,} nestings, {faults} with faults")
