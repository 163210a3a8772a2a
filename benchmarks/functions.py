"""Five functions of known literature, each written once in plain NumPy for any namespace that speaks it.

``function(np, ...)`` runs the very same code under NumPy (wengert), ``jax.numpy`` and ``autograd.numpy``.

>>> import numpy
>>> entry = FUNCTIONS["rosenbrock"]
>>> float(entry.function(numpy, numpy.ones(4)))
0.0
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy


@dataclass(frozen=True)
class Entry:
    """A function, arguments of a small size for it, and the positions to differentiate with respect to."""

    name: str
    function: Callable[..., Any]
    arguments: Callable[[], tuple[Any, ...]]
    argnums: tuple[int, ...]


def rosenbrock(np, x):
    """Rosenbrock (1960), the banana valley, in n variables."""
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def normal_cdf(np, x):
    """Distribution function of the normal law: Abramowitz & Stegun (1964), formula 26.2.17."""
    k = 1.0 / (1.0 + 0.2316419 * np.abs(x))
    tail = k * (0.319381530 + k * (-0.356563782 + k * (1.781477937 + k * (-1.821255978 + k * 1.330274429))))
    density = np.exp(-0.5 * x * x) / np.sqrt(2.0 * np.pi)
    return np.where(x > 0, 1.0 - density * tail, density * tail)


def black_scholes(np, spot, strike, rate, volatility, time):
    """Black & Scholes (1973), the price of European calls, one for each strike, added up."""
    total = volatility * np.sqrt(time)
    d1 = (np.log(spot / strike) + (rate + 0.5 * volatility**2) * time) / total
    return np.sum(spot * normal_cdf(np, d1) - strike * np.exp(-rate * time) * normal_cdf(np, d1 - total))


def robot_arm(np, angles, lengths):
    """Position of the hand of an arm with six revolute joints: products of Denavit & Hartenberg (1955) transforms."""
    twists = (0.5, -0.4, 0.3, -0.2, 0.1, 0.6)
    position = np.array([0.0, 0.0, 0.0])
    rotation = np.eye(3)
    for k, twist in enumerate(twists):
        c, s = np.cos(angles[k]), np.sin(angles[k])
        ct, st = numpy.cos(twist), numpy.sin(twist)
        joint = np.array([[c, -s * ct, s * st], [s, c * ct, -c * st], [0.0, st, ct]])
        position = position + rotation @ (lengths[k] * np.array([c, s, 0.1]))
        rotation = rotation @ joint
    return position


def logistic_regression(np, w, X, y):
    """Negative log-likelihood of labels in {-1, 1} under the logistic model, with a ridge."""
    return np.sum(np.logaddexp(0.0, -y * (X @ w))) + 0.5 * np.sum(w * w)


def network(np, W1, b1, W2, b2, X, y):
    """Mean squared error of a network with one hidden layer of hyperbolic tangents."""
    hidden = np.tanh(X @ W1 + b1)
    return np.mean((hidden @ W2 + b2 - y) ** 2)


def _numbers(*shape, seed=0):
    return numpy.random.default_rng(seed).normal(size=shape)


def _labels(count):
    return numpy.where(numpy.arange(count) % 3 == 0, 1.0, -1.0)


def _network_arguments():
    shapes = ((3, 4), (4,), (4, 2), (2,), (20, 3), (20, 2))
    return tuple(_numbers(*shape, seed=k) for k, shape in enumerate(shapes))


def _logistic_arguments():
    return _numbers(5), _numbers(40, 5, seed=1), _labels(40)


def _option_arguments():
    return 100.0, numpy.linspace(80.0, 125.0, 10), 0.03, 0.2, 0.75


def _arm_arguments():
    return _numbers(6), numpy.linspace(0.3, 0.8, 6)


FUNCTIONS = {
    entry.name: entry
    for entry in (
        Entry("rosenbrock", rosenbrock, lambda: (_numbers(10),), (0,)),
        Entry("black_scholes", black_scholes, _option_arguments, (0, 2, 3, 4)),
        Entry("robot_arm", robot_arm, _arm_arguments, (0,)),
        Entry("logistic_regression", logistic_regression, _logistic_arguments, (0,)),
        Entry("network", network, _network_arguments, (0, 1, 2, 3)),
    )
}
"""The functions by name, each with arguments of a small size."""
