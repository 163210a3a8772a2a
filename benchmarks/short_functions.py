"""Short functions, of 1 to 500 microseconds: what `wg.value_and_grad` takes beside the function, and beside autograd's.

Packages are made of such functions: formulas of numbers in plain Python and `math`, vectors of a few elements, filters
and tables that are filled element by element, running products and extrema.  Both libraries run the very same code;
autograd has no assignments and no `math`, so a dash stands where it does not run.

Run:  python benchmarks/short_functions.py [--rounds 9] [--only NAME ...]
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import harness  # isort: skip  # before NumPy
import numpy

import wengert as wg

# ---- Formulas of numbers ----


def black_scholes(np: Any, x: Any) -> Any:
    spot, volatility = x[0], x[1]
    d1 = (math.log(spot / 100.0) + (0.02 + 0.5 * volatility**2)) / volatility
    d2 = d1 - volatility
    normal = [0.5 * (1.0 + math.erf(d / math.sqrt(2.0))) for d in (d1, d2)]
    return spot * normal[0] - 100.0 * math.exp(-0.02) * normal[1]


def haversine(np: Any, x: Any) -> Any:
    latitude, longitude = x
    a = np.sin(0.5 * (latitude - 0.8)) ** 2 + np.cos(latitude) * np.cos(0.8) * np.sin(0.5 * (longitude - 0.1)) ** 2
    return 2.0 * 6371.0 * np.arcsin(np.sqrt(a))


def friction_factor(np: Any, x: Any) -> Any:
    """Serghides' formula for the friction in a pipe."""
    reynolds, roughness = x
    a = -2.0 * math.log10(roughness / 3.7 + 12.0 / reynolds)
    b = -2.0 * math.log10(roughness / 3.7 + 2.51 * a / reynolds)
    c = -2.0 * math.log10(roughness / 3.7 + 2.51 * b / reynolds)
    return (a - (b - a) ** 2 / (c - 2.0 * b + a)) ** -2


def van_der_waals(np: Any, x: Any) -> Any:
    volume = x[0]
    for _ in range(8):  # Newton's method
        pressure = 8.314 * x[1] / (volume - 3.2e-5) - 0.137 / volume**2
        slope = -8.314 * x[1] / (volume - 3.2e-5) ** 2 + 0.274 / volume**3
        volume = volume - (pressure - 101325.0) / slope
    return volume


# ---- Vectors of a few elements ----


def quaternion(np: Any, x: Any) -> Any:
    q = x / np.linalg.norm(x)
    w, a, b, c = q
    rotation = np.array(
        [
            [1 - 2 * (b * b + c * c), 2 * (a * b - w * c), 2 * (a * c + w * b)],
            [2 * (a * b + w * c), 1 - 2 * (a * a + c * c), 2 * (b * c - w * a)],
            [2 * (a * c - w * b), 2 * (b * c + w * a), 1 - 2 * (a * a + b * b)],
        ]
    )
    return np.sum(np.dot(rotation, numpy.array([1.0, 2.0, 3.0])) ** 2 * numpy.array([1.0, 2.0, 4.0]))


def rosenbrock(np: Any, x: Any) -> Any:
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def softmax(np: Any, x: Any) -> Any:
    shifted = x - np.max(x)
    return np.sum(shifted[:3]) - np.log(np.sum(np.exp(shifted)))


def solve(np: Any, x: Any) -> Any:
    A = np.reshape(x, (3, 3)) + 4.0 * numpy.eye(3)
    return np.sum(np.linalg.solve(A, numpy.array([1.0, 2.0, 3.0])))


def differences(np: Any, x: Any) -> Any:
    return np.sum(np.diff(x) ** 2)


def convolution(np: Any, x: Any) -> Any:
    return np.sum(np.convolve(x, numpy.array([0.25, 0.5, 0.25]), "same") ** 2)


def interpolation(np: Any, x: Any) -> Any:
    return np.sum(np.interp(numpy.linspace(0.5, 8.5, 20), numpy.arange(10.0), x[:10]))


def running_sum(np: Any, x: Any) -> Any:
    return np.sum(np.cumsum(x) ** 2)


def running_product(np: Any, x: Any) -> Any:
    return np.sum(np.cumprod(1.0 + 0.01 * x))


def running_maximum(np: Any, x: Any) -> Any:
    return np.sum(np.maximum.accumulate(x) - x)


def running_ufunc(np: Any, x: Any) -> Any:
    return np.sum(np.add.accumulate(x) * np.multiply.accumulate(x + 0.5))


def product(np: Any, x: Any) -> Any:
    return np.prod(1.0 + 0.01 * x)


def variance(np: Any, x: Any) -> Any:
    return np.var(x, ddof=1) + np.std(x) + np.median(x)


# ---- Recursions that write element by element ----


def first_order(np: Any, x: Any) -> Any:
    y = np.zeros(len(x))
    y[0] = x[0]
    for i in range(1, len(x)):
        y[i] = 0.9 * y[i - 1] + x[i]
    return np.sum(y**2)


def biquad(np: Any, x: Any) -> Any:
    y = np.zeros_like(x)
    for n in range(2, len(x)):
        y[n] = 0.2 * x[n] + 0.4 * x[n - 1] + 0.2 * x[n - 2] + 0.5 * y[n - 1] - 0.2 * y[n - 2]
    return np.sum(y**2)


def garch(np: Any, x: Any) -> Any:
    omega, alpha, beta = 0.1, 0.1, 0.8
    s = np.empty(len(x))
    s[0] = 1.0
    for t in range(1, len(x)):
        s[t] = omega + alpha * x[t - 1] ** 2 + beta * s[t - 1]
    return 0.5 * np.sum(np.log(s) + x**2 / s)


def autoregression(np: Any, x: Any) -> Any:
    e = np.zeros(60)
    for t in range(2, 60):
        e[t] = SERIES[t] - x[0] * SERIES[t - 1] - x[1] * SERIES[t - 2] - x[2] * e[t - 1]
    return np.sum(e**2)


def cumulative(np: Any, x: Any) -> Any:
    y = x.copy()
    for i in range(1, len(y)):
        y[i] *= y[i - 1] + 0.01
    return np.sum(y)


def table(np: Any, x: Any) -> Any:
    """Fill the table of a dynamic time warping."""
    n = 8
    D = np.full((n + 1, n + 1), np.inf)
    D[0, 0] = 0.0
    for i in range(1, n + 1):
        for j in range(1, n + 1):
            D[i, j] = (x[i - 1] - SERIES[j - 1]) ** 2 + min(D[i - 1, j], D[i, j - 1], D[i - 1, j - 1])
    return D[n, n]


def thomas(np: Any, x: Any) -> Any:
    """Solve a tridiagonal system."""
    n = len(x)
    c, d = np.zeros(n), np.zeros(n)
    c[0], d[0] = -0.25, x[0] / 4.0
    for i in range(1, n):
        m = 4.0 + c[i - 1]
        c[i] = -1.0 / m
        d[i] = (x[i] + d[i - 1]) / m
    y = np.zeros(n)
    y[n - 1] = d[n - 1]
    for i in range(n - 2, -1, -1):
        y[i] = d[i] - c[i] * y[i + 1]
    return np.sum(y * x)


def cholesky(np: Any, x: Any) -> Any:
    n = 4
    A = np.outer(x[:n], x[:n]) + 4.0 * np.eye(n)
    L = np.zeros((n, n))
    for i in range(n):
        for j in range(i + 1):
            s = A[i, j]
            for k in range(j):
                s -= L[i, k] * L[j, k]
            L[i, j] = np.sqrt(s) if i == j else s / L[j, j]
    return np.sum(np.log(np.diag(L)))


# ---- Recursions of numbers and of small matrices ----


def horner(np: Any, x: Any) -> Any:
    result = 0.0
    for coefficient in x:
        result = result * 0.9 + coefficient
    return result**2


def smoothing(np: Any, x: Any) -> Any:
    """Holt's linear method: errors of one step ahead."""
    level, trend, total = SERIES[0], 0.0, 0.0
    for value in SERIES[1:]:
        error = value - level - trend
        level, trend = level + trend + x[0] * error, trend + x[1] * error
        total += error**2
    return total


def appended(np: Any, x: Any) -> Any:
    y = [x[0]]
    for i in range(1, len(x)):
        y.append(0.9 * y[i - 1] + x[i])
    return np.sum(np.array(y) ** 2)


def kalman(np: Any, x: Any) -> Any:
    F, H = numpy.array([[1.0, 1.0], [0.0, 1.0]]), numpy.array([[1.0, 0.0]])
    state, P, likelihood = numpy.zeros(2), numpy.eye(2), 0.0
    for z in SERIES[:12]:
        state, P = np.dot(F, state), np.dot(np.dot(F, P), F.T) + x[0] * numpy.eye(2)
        S = np.dot(np.dot(H, P), H.T) + x[1]
        K = np.dot(np.dot(P, H.T), np.linalg.inv(S))
        residual = z - np.dot(H, state)
        state, P = state + np.dot(K, residual), P - np.dot(np.dot(K, H), P)
        likelihood = likelihood + np.log(S[0, 0]) + residual[0] ** 2 / S[0, 0]
    return likelihood


def runge_kutta(np: Any, x: Any) -> Any:
    def slope(y: Any) -> Any:
        return np.array([y[0] * (1.1 - 0.4 * y[1]), y[1] * (0.1 * y[0] - 0.4)])

    y, h = x[:2], 0.1
    for _ in range(10):
        k1 = slope(y)
        k2 = slope(y + 0.5 * h * k1)
        k3 = slope(y + 0.5 * h * k2)
        k4 = slope(y + h * k3)
        y = y + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
    return np.sum(y**2)


SERIES = [math.sin(0.7 * t) + 0.1 * t for t in range(60)]
SHORT, LONG = numpy.linspace(0.1, 1.0, 10), numpy.cos(numpy.arange(60.0))
CASES: dict[str, tuple[Callable[..., Any], Any]] = {
    "Black-Scholes, math": (black_scholes, numpy.array([110.0, 0.3])),
    "haversine": (haversine, numpy.array([0.9, 0.2])),
    "friction factor, math": (friction_factor, numpy.array([1e5, 1e-4])),
    "van der Waals, Newton": (van_der_waals, numpy.array([0.0247, 298.0])),
    "quaternion": (quaternion, numpy.array([0.5, 0.1, -0.2, 0.7])),
    "Rosenbrock": (rosenbrock, SHORT),
    "softmax": (softmax, SHORT),
    "solve, 3 x 3": (solve, numpy.linspace(0.1, 1.0, 9)),
    "diff": (differences, LONG),
    "convolve": (convolution, LONG),
    "interp": (interpolation, SHORT),
    "cumsum": (running_sum, LONG),
    "cumprod": (running_product, LONG),
    "maximum.accumulate": (running_maximum, LONG),
    "add, multiply.accumulate": (running_ufunc, LONG),
    "prod": (product, LONG),
    "variance, median": (variance, LONG),
    "filter, written": (first_order, LONG),
    "biquad, written": (biquad, LONG),
    "GARCH, written": (garch, LONG),
    "autoregression, written": (autoregression, numpy.array([0.5, 0.2, 0.1])),
    "products, in place": (cumulative, LONG),
    "time warping, a table": (table, SHORT),
    "Thomas, written": (thomas, LONG),
    "Cholesky, written": (cholesky, numpy.linspace(0.1, 1.0, 4)),
    "Horner": (horner, LONG),
    "Holt's smoothing": (smoothing, numpy.array([0.5, 0.1])),
    "filter, appended": (appended, LONG),
    "Kalman, 2 x 2": (kalman, numpy.array([0.1, 0.5])),
    "Runge-Kutta": (runge_kutta, numpy.array([10.0, 5.0])),
}
CALLS = {
    name: partial(lambda f, x: partial(wg.value_and_grad(partial(f, numpy)), x), f, x) for name, (f, x) in CASES.items()
}


def measure(name: str, rounds: int, ratios: list[float]) -> tuple[str, ...]:
    function, x = CASES[name]
    calls = [partial(function, numpy, x), CALLS[name]()]
    if peer := harness.peer("autograd"):
        theirs = peer.value_and_grad(partial(function, importlib.import_module("autograd.numpy")))
        try:
            expected = theirs(x)
        except Exception:  # assignments, math, and functions that it lacks
            expected = None
        if expected is not None:
            numpy.testing.assert_allclose(calls[1]()[1], expected[1], rtol=1e-8, atol=1e-10)
            calls.append(partial(theirs, x))
    repeats = [max(2, math.ceil(0.005 / harness.seconds(call, 2))) for call in calls]
    times = [
        [harness.seconds(call, n) for call, n in zip(calls, repeats, strict=True)] for _ in range(rounds)
    ]  # each call so often that its clock is read well: they differ by a factor of 100
    columns = list(zip(*times, strict=True))
    ratios.append(harness.ratio(columns[1], columns[0]))
    cells = [f"{1e6 * median(column):,.1f}" for column in columns] + ["-"] * (3 - len(columns))
    others = [harness.ratio(column, columns[0]) for column in columns[1:]]
    return name, *cells, *[f"{ratio:.1f}" for ratio in others], *["-"] * (2 - len(others))


def main() -> None:
    options = harness.options(__doc__, *CASES, rounds=9)
    columns = ("function", "NumPy", "wengert", "autograd", "wengert / NumPy", "autograd / NumPy")
    ratios: list[float] = []
    title = "value and gradient of short functions: microseconds a call"
    harness.show(title, columns, (measure(name, options.rounds, ratios) for name in options.only))
    low, middle, high = numpy.quantile(ratios, [0.25, 0.5, 0.75])
    print(f"wengert / NumPy: median {middle:.1f}, quartiles {low:.1f} and {high:.1f}")


if __name__ == "__main__":
    main()
