"""The functions of the replay corpus, as data: each with its point and the derivatives to be written.

A case is a plain NumPy function under a decorator that holds its arguments.  Keep it small: its listings, sources,
plans and explanations are golden text, to be read by people.  Keep its numbers stable: no value that cancels to almost
zero, no tie, nothing that NumPy's versions compute in other ways.

>>> CORPUS["reference"].kinds
('jacobian', 'gradient of a component')
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.fft
import scipy.linalg
import scipy.signal
import scipy.sparse
import scipy.special
import scipy.stats

import wengert as wg

EXAMPLES = Path(__file__).parents[2] / "examples"


# ---- Cases ----


@dataclass(frozen=True)
class Case:
    """A function, its arguments, and what is to be written of it."""

    name: str
    f: Callable[..., Any]
    args: tuple[Any, ...]
    argnums: tuple[int, ...]
    """The positions of the independent variables."""
    kinds: tuple[str, ...]
    """The derivatives, keys of DERIVATIVES."""

    def function_of(self, kind: str) -> Callable[..., Any]:
        """Return the function itself, or a derivative of it."""
        return self.f if kind == "function" else DERIVATIVES[kind](self)


def tilted(x: Any) -> Any:
    """Return a direction without symmetry, of the structure of an argument."""
    if isinstance(x, (dict, list, tuple)) or dataclasses.is_dataclass(x):
        raise TypeError("directions of trees are not needed so far")
    return (0.5 - 0.25 * (np.arange(np.size(x)) % 4)).reshape(np.shape(x))[()]


def _single(case: Case) -> int | tuple[int, ...]:
    return case.argnums[0] if len(case.argnums) == 1 else case.argnums


def _jvp(case: Case) -> Callable[..., Any]:
    assert case.argnums == tuple(range(len(case.args)))
    tangents = tuple(tilted(x) for x in case.args)

    @functools.wraps(case.f)
    def push(*args: Any) -> Any:
        return wg.jvp(case.f, args, tangents)[1]

    return push


def _vjp(case: Case) -> Callable[..., Any]:
    y_bar = tilted(case.f(*case.args))

    @functools.wraps(case.f)
    def pull(*args: Any) -> Any:
        return wg.vjp(case.f, *args)[1](y_bar)

    return pull


def _hvp(case: Case) -> Callable[..., Any]:
    direction = tilted(case.args[0])

    @functools.wraps(case.f)
    def product(*args: Any) -> Any:
        return wg.hvp(case.f)(args[0], direction, *args[1:])

    return product


def _component(case: Case) -> Callable[..., Any]:
    @functools.wraps(case.f)
    def first(*args: Any) -> Any:
        return case.f(*args)[0]

    return wg.grad(first, _single(case))


DERIVATIVES: dict[str, Callable[[Case], Callable[..., Any]]] = {
    "gradient": lambda case: wg.grad(case.f, _single(case)),
    "gradient of a component": _component,
    "jacobian": lambda case: wg.jacobian(case.f, _single(case)),
    "forward jacobian": lambda case: wg.jacfwd(case.f, _single(case)),
    "reverse jacobian": lambda case: wg.jacrev(case.f, _single(case)),
    "jvp": _jvp,
    "vjp": _vjp,
    "hessian": lambda case: wg.hessian(case.f, _single(case)),
    "hvp": _hvp,
}

CORPUS: dict[str, Case] = {}


def case(*args: Any, kinds: Any = "gradient", argnums: Any = None) -> Callable[..., Any]:
    """Enter the decorated function into the corpus."""

    def enter(f: Callable[..., Any]) -> Callable[..., Any]:
        _enter(f.__name__, f, args, kinds, argnums)
        return f

    return enter


def _enter(name: str, f: Any, args: Any, kinds: Any, argnums: Any = None) -> None:
    assert name not in CORPUS, name
    kinds = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    argnums = tuple(range(len(args))) if argnums is None else tuple(argnums)
    CORPUS[name] = Case(name, f, args, argnums, kinds)


# ---- The reference text ----

X2 = np.array([0.5, -0.75])
X3 = np.array([0.5, 2.0, 3.0])
X4 = np.array([0.25, -0.5, 1.5, 0.75])
A23 = np.array([[0.5, -1.0, 0.25], [0.75, 0.5, -0.25]])
A33 = np.array([[2.0, 0.5, -0.25], [0.25, 1.5, 0.5], [-0.5, 0.75, 1.25]])
S33 = np.array([[2.0, 0.5, -0.25], [0.5, 1.5, 0.25], [-0.25, 0.25, 1.0]])  # symmetric, positive definite
ROWS = np.array([[0.5, -0.25, 1.0], [0.75, 0.5, -0.5], [-1.0, 0.25, 0.125], [0.375, -0.625, 0.25]])


@case(0.75, kinds=("gradient", "hessian", "jvp"))
def chain(x):
    """Return y = f(g(h(x)))."""
    return np.sin(np.exp(x * x))


@case(X3, kinds=("jacobian", "gradient of a component"))
def reference(x):
    return np.array([x[0] * (x[1] - x[2]), x[2] * np.log(1 - x[0])])


@case(0.5, 2.0, 3.0, kinds=("jacobian", "forward jacobian", "reverse jacobian", "jvp"))
def reference_of_scalars(x_1, x_2, x_3):
    y_1 = x_1 * (x_2 - x_3)
    y_2 = x_3 * np.log(1 - x_1)
    return np.stack([y_1, y_2])


# ---- Scalars ----


@case(np.array([0.5, -1.5, 0.75]), kinds=("gradient", "hessian", "hvp"))
def rosenbrock(x):
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


@case(np.array([0.5, -1.5]), kinds=("gradient", "hessian"))
def rosenbrock_of_elements(x):
    return 100.0 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2


@case(np.array([0.25, 0.5, -0.75]), kinds=("jacobian", "vjp"))
def robot_arm(angles):
    total = np.cumsum(angles)
    lengths = np.array([1.0, 0.75, 0.5])
    return np.array([np.sum(lengths * np.cos(total)), np.sum(lengths * np.sin(total))])


@case(1.25, kinds=("gradient", "hessian"))
def horner(x):
    y = 0.0
    for coefficient in (2.0, -1.0, 0.5, 3.0):
        y = y * x + coefficient
    return y


@case(0.5, 1.5)
def quotients_and_powers(a, b):
    return (a / b) ** 3 + b**a - 2.0 / (a * b) + np.sqrt(a + b)


@case(0.75, -0.5)
def elementary(x, y):
    return np.arctan2(x, y) + np.tanh(x) * np.arcsin(y) + np.log1p(x) * np.expm1(y) - np.hypot(x, y) + np.sinh(x - y)


@case(0.5, -0.25, kinds="jacobian")
def two_results(x, y):
    return np.sin(x) * y, x - y**2


@case(1.5, 2.0)
def unused_argument(x, y):
    return x * x


@case(X2, kinds="jacobian")
def identity(x):
    return x


@case(0.5, kinds="jacobian")
def partly_constant(x):
    return np.array([3.0, x, 2.0 * x])


# ---- Arrays ----


@case(X3, kinds=("gradient", "hessian"))
def sum_of_squares(x):
    return np.sum(x**2)


@case(X3, kinds=("jacobian", "jvp", "vjp"))
def softmax(x):
    e = np.exp(x - np.max(x))
    return e / np.sum(e)


@case(ROWS)
def cross_entropy(scores):
    labels = np.array([0, 2, 1, 0])
    z = scores - np.max(scores, axis=1, keepdims=True)
    log_probability = z - np.log(np.sum(np.exp(z), axis=1, keepdims=True))
    return -np.mean(log_probability[np.arange(4), labels])


@case(A23, np.array([0.25, -0.5]), np.array([0.75, -1.25]), X3, argnums=(0, 1, 2))
def two_layers(W, b, w, x):
    return w @ np.tanh(W @ x + b)


@case(X3, kinds=("jacobian", "vjp"))
def dense_layer(x):
    return np.tanh(A23 @ x + np.array([0.25, -0.5]))


@case(A23, X3, 0.5)
def broadcasting(A, x, c):
    return np.mean((A * x - c) ** 2) + np.sum(c * np.ones((2, 3)))


@case(np.array([0.5, -0.25, 0.75, 0.375]), kinds="jacobian")
def concatenated_and_cut(x):
    return np.concatenate([np.exp(x), x**2])[:5]


@case(X4, kinds="jacobian")
def cumulative_sum_and_cut(x):
    return np.cumsum(x)[1:]


@case(X3, kinds="jacobian")
def outer_product_and_cut(x):
    return np.outer(x, x)[:2, :2].ravel()


@case(X4)
def cumulative_product(x):
    return np.sum(np.cumprod(x))


@case(ROWS)
def statistics(x):
    return np.std(x) + np.sum(np.var(x, axis=0)) + np.mean(x, axis=1)[1] * np.prod(x[0])


@case(X4)
def order_statistics(x):
    return np.max(x) * np.min(x) + np.sum(np.sort(x) * np.arange(4.0)) + np.median(x)


@case(X4)
def pieces(x):
    return np.sum(np.where(x > 0, x**3, np.exp(x)) + np.clip(x, -0.25, 1.0) * x + np.maximum(x, 0.5) + np.abs(x))


@case(X4, kinds="jacobian")
def gathered(x):
    places = np.array([2, 0, 2])
    return x[places] * x[[1, 1, 3]] + x[x > 0.5][0]


@case(ROWS)
def rearranged(x):
    y = x.T.reshape(2, 6)
    z = np.stack([y[0], y[1][::-1]], axis=1)
    return np.sum(np.roll(z, 1, axis=0) * z) + np.sum(np.pad(x[1], 1) * np.repeat(x[2, :1], 5))


@case(X3, ROWS)
def contractions(x, B):
    return np.einsum("i,ji,jk,k->", x, B, B, x) + np.sum(np.tensordot(B, np.outer(x, x), axes=1)) + x @ B[0]


@case(X4, kinds="jacobian")
def differences_and_convolutions(x):
    return np.convolve(x, np.array([0.5, 1.0, -0.25]), mode="valid") + np.diff(x)[1:] * np.interp(0.5, [0, 1], x[:2])


@case(np.float32(0.5), np.array([0.25, 0.75], dtype=np.float32))
def single_precision(a, x):
    return np.sum(np.sin(a * x) * np.float32(2.0))


# ---- Several vectors and results ----


@case(np.array([0.5, 1.5, -0.75]), np.array([2.0, 0.25, 1.25]), kinds=("jacobian", "jvp"))
def products_of_two_vectors(x, y):
    return np.array([x[0] * y[0] * y[1], x[1] * y[1] * y[2], x[0] * x[1] * y[2], y[0] * y[1] * y[2]])


@case(np.array([0.5, 1.5, -0.75]), np.array([2.0, 0.25]), kinds="jacobian")
def two_vectors_of_elements(x, y):
    return np.array([x[0] * y[0], x[2] * np.exp(y[1]), x[1] - y[1]]), y[0] * x[0]


@case(X3, np.array([0.5, 0.25]), 2.0, kinds="jacobian")
def results_of_many_shapes(x, y, c):
    return np.outer(x, y), c * np.sum(x), np.sin(y) * c


# ---- Branches and guards ----


@case(1.5)
def branch(x):
    if x > 1:
        return np.log(x) * x
    return x * x


@case(5.0)
def halving(x):
    while x > 1:
        x = x / 2 + 0.125 * np.sin(x)
    return x


@case(2.75, X4)
def whole_part_as_index(t, x):
    k = int(t)
    return x[k] * (t - k)


@case(X4, kinds="jacobian")
def largest_as_index(x):
    k = np.argmax(x)
    return x * x[k]


@case(0.5, kinds=("gradient", "hessian"))
def cond_of_one(x):
    return wg.cond(x > 0, lambda t: t * np.sin(t), lambda t: t * t, x)


@case(0.5, X3)
def cond_of_arrays(s, x):
    return wg.cond(np.sum(x) < s, lambda s, x: s * np.sum(np.exp(x)), lambda s, x: np.sum(x**3) / s, s, x)


@case(X4)
def piecewise(x):
    smooth = np.select([x < 0, x > 1], [np.exp(x), 1 + np.log(x * x)], x**2)
    return np.sum(np.piecewise(x, [x < 0.5], [lambda t: np.cos(t), lambda t: t**3]) * smooth)


# ---- Loops ----


@case(0.5, X3, kinds=("gradient", "hessian"))
def scan_to_one(c, xs):
    return wg.scan(lambda c, x: (np.sin(c * x), None), c, xs)[0]


@case(0.5, X3, kinds="jacobian")
def scan_that_collects(c, xs):
    def step(c, x):
        c = np.tanh(c + x)
        return c, c * x

    carry, ys = wg.scan(step, c, xs, reverse=True)
    return ys * carry


@case({"W": 0.5 * A33, "b": np.array([0.25, -0.5, 0.125])}, ROWS, argnums=(0,))
def scan_of_trees(params, xs):
    def step(state, x):
        h = np.tanh(params["W"] @ state["h"] + x + params["b"])
        return {"h": h, "total": state["total"] + np.sum(h * h)}, None

    return wg.scan(step, {"h": np.zeros(3), "total": 0.0}, xs)[0]["total"]


@case(2.0, kinds=("gradient", "hessian"))
def fori_loop_of_powers(x):
    return wg.fori_loop(0, 5, lambda i, v: v * 0.5 + x**i, 0.0)


@case(X4)
def fori_loop_that_reads(x):
    return wg.fori_loop(1, 4, lambda i, v: v * x[i] + np.cos(x[i - 1]), 1.0)


@case(2.0)
def while_loop_root(a):
    def improve(state):
        k, x = state
        return k + 1, 0.5 * (x + a / x)

    return wg.while_loop(lambda state: np.abs(state[1] ** 2 - a) > 1e-3, improve, (0, 1.0))[1]


@case(ROWS)
def map_of_rows(xs):
    return np.sum(wg.map(lambda x: x @ np.sin(x), xs))


@case(0.5, X2)
def nested_scans(c, xs):
    def outer(c, x):
        def inner(d, y):
            return np.sin(d * y + x), None

        return wg.scan(inner, c, xs)[0], None

    return wg.scan(outer, c, xs)[0]


@case(0.5, 1.5)
def fori_loop_in_while_loop(x, y):
    def body(state):
        return wg.fori_loop(0, 3, lambda i, s: 0.5 * s + 0.125 * np.sin(y * s) + 0.0625 * i, state)

    return wg.while_loop(lambda s: s > 0.25, lambda s: body(s) - 0.25, x)


@case(0.5, X4)
def cond_in_scan(c, xs):
    return wg.scan(lambda c, x: (wg.cond(x > 0, lambda c: np.sin(c) + x, lambda c: c * x, c), None), c, xs)[0]


@case(X3)
def python_loop(x):
    for k in range(36):
        x = np.tanh(A33 @ x) + 0.0625 * k
    return np.sum(x)


@case(0.5)
def python_loop_of_scalars(x):
    y = x
    for _ in range(30):
        y = np.sin(y * x) + 0.25 * y
    return y


@case(X3, np.arange(78.0).reshape(26, 3) % 7 / 8, argnums=(0,))
def python_loop_that_collects(x, us):
    hs = []
    for u in us:
        x = np.tanh(A33 @ x + u)
        hs.append(x)
    return np.sum(np.sin(np.array(hs)))


@case(0.5, X3)
def python_loops_one_in_another(c, x):
    for _ in range(8):
        for k in range(3):
            c = 0.5 * np.sin(c * x[k]) + 0.25 * c
    return c


@case(0.5, X4)
def scan_with_checkpoints(c, xs):
    return wg.scan(lambda c, x: (np.sin(c * x) * np.cos(c), None), c, xs, checkpoint="all")[0]


@case(0.5)
def fori_loop_with_snapshots(c):
    return wg.fori_loop(0, 6, lambda i, c: np.sin(c) * np.cos(c + i), c, checkpoint=2)


@case(X3)
def checkpointed_layers(x):
    layer = wg.checkpoint(lambda x: np.tanh(A33 @ x) * np.sin(x))
    return np.sum(layer(layer(x)))


# ---- Linear algebra ----


@case(A33, X3, kinds=("gradient", "jvp"))
def solution(A, b):
    return np.sum(np.linalg.solve(A, b) ** 2)


@case(A33)
def determinants(A):
    return np.linalg.det(A) + np.linalg.slogdet(A)[1]


@case(A33)
def inverse(A):
    return np.sum(np.linalg.inv(A) * A.T)


@case(S33)
def cholesky_factor(S):
    return np.sum(np.log(np.diag(np.linalg.cholesky(S + S.T))))


@case(S33)
def eigenvalues(S):
    return np.sum(np.linalg.eigvalsh(S) ** 3)


@case(A23)
def singular_values(A):
    return np.sum(np.sqrt(np.linalg.svd(A, compute_uv=False)))


@case(A33, X3)
def norms_and_powers(A, x):
    return np.linalg.norm(A @ x) + np.linalg.norm(A) + np.trace(np.linalg.matrix_power(A, 3)) + np.linalg.norm(x, 3)


@case(A33, X3)
def triangular_solution(A, b):
    return np.sum(scipy.linalg.solve_triangular(A, b, lower=True) * b)


@case(X3, kinds="jacobian")
def sparse_product(x):
    return scipy.sparse.csr_array(np.diag([1.0, 2.0, 3.0]) + np.eye(3, k=1)) @ (x * x)


# ---- Complex numbers ----


@case(0.5, 0.75)
def complex_modulus(x, y):
    z = x + 1j * y
    return np.abs(np.exp(z) * z) ** 2


@case(X3)
def complex_phases(x):
    z = np.exp(1j * x) * np.array([1.0, 2.0 + 1.0j, 0.5j])
    return np.real(np.vdot(z, z * z)) + np.sum(np.angle(z) * z.imag)


@case(np.array([1.0 + 2.0j, -0.5 + 0.25j]))
def complex_argument(z):
    return np.sum(np.abs(np.sin(z) / z)) + np.real(z[0] * np.conj(z[1]))


@case(0.5, 2.0, kinds="jacobian")
def complex_impedance(omega, resistance):
    z = resistance + 1j * omega + 1 / (0.25j * omega)
    return np.array([np.real(1 / z), np.imag(1 / z)])


# ---- Fourier transforms and signals ----


@case(X4)
def power_spectrum(x):
    return np.sum(np.abs(np.fft.fft(x)) ** 2 * np.arange(4.0))


@case(X4, kinds="jacobian")
def filtered(x):
    return np.fft.irfft(np.fft.rfft(x) * np.array([1.0, 0.5, 0.25]), 4)


@case(X4, kinds="jacobian")
def cosine_transform(x):
    return scipy.fft.dct(x * x, norm="ortho")


@case(X4)
def signal(x):
    return np.sum(scipy.signal.lfilter([0.5, 0.25], [1.0, -0.5], x) ** 2)


# ---- Batches ----


@case(ROWS, X3)
def batch_of_products(X, w):
    return np.sum(np.sin(wg.vmap(lambda x, w: x @ w, in_axes=(0, None))(X, w)))


@case(X4, kinds="jacobian")
def batch_of_branches(xs):
    return wg.vmap(lambda x: x**3 if x > 0 else np.exp(x))(xs)


@case(ROWS, kinds=())
def batch_of_gradients(X):
    return wg.vmap(wg.grad(lambda x: np.prod(np.sin(x))))(X)[0]


@case(A23)
def batch_of_loops(X):
    return np.sum(wg.vmap(lambda x: wg.fori_loop(0, 3, lambda i, c: np.tanh(c * x[1] + x[0]), x[2]))(X))


# ---- Rules that the user gives ----


@wg.custom_derivative
def log1pexp(x):
    return np.log(1 + np.exp(x))


@log1pexp.defjvp
def _log1pexp_rule(primals, tangents):
    (x,), (x_dot,) = primals, tangents
    return log1pexp(x), x_dot * (1 - 1 / (1 + np.exp(x)))


@wg.custom_derivative
def cubed(x):
    return x * x * x


@wg.custom_derivative
def doubled(x):
    return 2.0 * x


cubed.def_partial(lambda y, x: 3 * x**2)
doubled.defvjp(lambda x: (2.0 * x, None), lambda kept, y_bar: (2.0 * y_bar,))
RULES = {"log1pexp": log1pexp, "cubed": cubed, "doubled": doubled}
"""What the sources of functions with such rules call by name."""

softsign = wg.define(
    "corpus_softsign",
    lambda x: x / (1 + abs(x)),
    lambda _y, x: 1 / (1 + abs(x)) ** 2,
    source="({0}) / (1 + abs({0}))",
)
wg.undefine("corpus_softsign")  # its row is held by the name above; the table stays as it was


@case(X3, kinds=("gradient", "jvp"))
def custom_forward_rule(x):
    return np.sum(log1pexp(x * x))


@case(X3, kinds=("gradient", "hessian"))
def custom_partials(x):
    return np.sum(cubed(x) * np.sin(x))


@case(X3, kinds=("gradient", "jvp"))
def custom_reverse_rule(x):
    return np.sum(doubled(np.sin(x)) ** 2)


@case(X3)
def defined_row(x):
    return np.sum(softsign(x) * x)


# ---- Special functions ----


@case(0.75)
def error_function(x):
    return scipy.special.erf(x) * scipy.special.expit(x) + scipy.special.xlogy(x, 2 * x)


@case(0.75)
def gamma_and_bessel(x):
    return scipy.special.gammaln(x) + scipy.special.j0(x) * scipy.special.digamma(x)


@case(X3)
def log_sum_exp(x):
    return scipy.special.logsumexp(x * x)


@case(0.25, 1.5)
def normal_density(mean, scale):
    return np.sum(scipy.stats.norm.logpdf(np.array([0.5, -1.0]), mean, scale))


# ---- Assignment, in place ----


@case(X3, kinds="jacobian")
def filled(x):
    y = np.zeros(4)
    y[0] = x[0] * x[1]
    y[1:] = np.sin(x)
    return y


@case(X3)
def recurrence_in_place(x):
    y = np.zeros(5)
    y[0] = x[0]
    for k in range(4):
        y[k + 1] = y[k] * x[1] + np.cos(y[k] * x[2])
    return np.sum(y**2)


@case(ROWS)
def added_in_place(x):
    total = np.ones(3)
    total += x[0] * x[1]
    total[1:] *= x[2, 1:]
    total -= np.exp(x[3])
    return np.sum(total**2)


@case(X4)
def assigned_through_views(x):
    y = x * 2.0
    part = y.reshape(2, 2)[:, 1]
    part[:] = part**2
    np.add(y, x, out=y)
    y[[0, 3]] = x[1]
    y[y > 1.0] = 0.5
    return np.sum(y * x)


# ---- Trees ----

Line = namedtuple("Line", ["slope", "intercept"])


@case({"a": 2.0, "b": [3.0, np.array([0.5, 0.25])]})
def dictionary(p):
    return p["a"] * p["b"][0] + np.sum(np.exp(p["a"] * p["b"][1]))


@case(Line(0.5, np.array([1.0, -2.0])), 1.5)
def named_tuple(line, x):
    return np.sum((line.slope * x + line.intercept) ** 2)


@case((0.5, X2), kinds="jacobian")
def tree_of_results(pair):
    return {"sine": np.sin(pair[0]) * pair[1], "rest": (pair[0] ** 2, [pair[1][0]])}


# ---- The programs in examples/, at tiny sizes ----


def load(name: str) -> Any:
    """Load a fresh copy of an example."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TINY: dict[str, dict[str, int]] = {
    "black_scholes": {"count": 3},
    "bundle_adjustment": {"cameras": 2, "points": 2},
    "char_rnn": {"hidden": 2, "length": 3, "count": 1},
    "gaussian_process": {"count": 3, "dimensions": 1},
    "hmm": {"count": 4},
    "kalman": {"count": 2},
    "logistic_regression": {"count": 4, "features": 2},
    "lotka_volterra": {"years": 1, "substeps": 1},
    "lstm": {"hidden": 2, "length": 2, "count": 1},
    "mixture": {"count": 3, "components": 2},
    "springs": {"masses": 2, "steps": 2},
}
for _name, _sizes in TINY.items():
    _f, _args, _argnums = load(_name).problem(**_sizes)
    _enter(f"example_{_name}", _f, _args, "gradient", _argnums)

_enter("example_newton", load("newton").eccentric_anomaly, (0.5, 0.75), "gradient")
_convnet = load("convnet")


@case(ROWS[:, :1].reshape(2, 2, 1, 1), np.arange(9.0).reshape(1, 3, 3, 1) % 5 / 4)
def example_convnet(kernels, images):
    return np.sum(np.tanh(_convnet.max_pool(_convnet.convolve(images, kernels))))


_fluid = load("fluid")


@case(np.array([[0.25, 0.5], [-0.75, 0.125]]), np.array([[1.0, 0.25], [0.5, -0.75]]), argnums=(0,))
def example_fluid(vx, smoke):
    return np.sum(_fluid.advect(smoke, vx, -vx) ** 2)


_rng = np.random.default_rng(0)
_IN, _OUT = _rng.normal(size=(8, 2)) / np.sqrt(2), _rng.normal(size=(3, 8))


@case(_rng.normal(size=2), kinds="jacobian")
def hidden_layer(x):
    return _OUT @ np.tanh(_IN @ x)
