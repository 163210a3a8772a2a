"""The place of ``autograd.misc.optimizers``: gradient descent on trees, with autograd's names and defaults.

>>> gradient = lambda x, step: 2 * (x - 3.0)
>>> round(float(sgd(gradient, 0.0)), 3)
3.0
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from wengert.compat.autograd.misc.flatten import flatten

__all__ = ["adam", "rmsprop", "sgd"]


def _descend(
    grad: Callable[..., Any],
    x0: Any,
    callback: Callable[..., Any] | None,
    num_iters: int,
    change: Callable[[int, Any], Any],
) -> Any:
    x, unflatten = flatten(x0)
    for k in range(num_iters):
        gradient = grad(unflatten(x), k)
        if callback is not None:
            callback(unflatten(x), k, gradient)
        x = x + change(k, flatten(gradient)[0])
    return unflatten(x)


def sgd(
    grad: Any, x0: Any, callback: Any = None, num_iters: int = 200, step_size: float = 0.1, mass: float = 0.9
) -> Any:
    """Descend with momentum; ``grad(x, iteration)`` returns the gradient.

    >>> round(float(sgd(lambda x, k: x, 1.0, num_iters=1, mass=0.0)), 3)
    0.9
    """
    velocity = np.zeros_like(flatten(x0)[0])

    def change(k: int, g: Any) -> Any:
        nonlocal velocity
        velocity = mass * velocity - (1.0 - mass) * g
        return step_size * velocity

    return _descend(grad, x0, callback, num_iters, change)


def rmsprop(
    grad: Any,
    x0: Any,
    callback: Any = None,
    num_iters: int = 100,
    step_size: float = 0.1,
    gamma: float = 0.9,
    eps: float = 1e-8,
) -> Any:
    """Descend by gradients divided by a running root of their mean square (Tieleman and Hinton 2012).

    >>> round(float(rmsprop(lambda x, k: x, 1.0, num_iters=1)), 3)
    0.9
    """
    mean = np.ones_like(flatten(x0)[0])

    def change(k: int, g: Any) -> Any:
        nonlocal mean
        mean = mean * gamma + g**2 * (1 - gamma)
        return -step_size * g / (np.sqrt(mean) + eps)

    return _descend(grad, x0, callback, num_iters, change)


def adam(
    grad: Any,
    x0: Any,
    callback: Any = None,
    num_iters: int = 100,
    step_size: float = 0.001,
    b1: float = 0.9,
    b2: float = 0.999,
    eps: float = 1e-8,
) -> Any:
    """Descend by running first and second moments of the gradients, unbiased (Kingma and Ba 2015, Algorithm 1).

    >>> round(float(adam(lambda x, k: x, 1.0, num_iters=1)), 3)
    0.999
    """
    first = np.zeros_like(flatten(x0)[0])
    second = np.zeros_like(first)

    def change(k: int, g: Any) -> Any:
        nonlocal first, second
        first = b1 * first + (1 - b1) * g
        second = b2 * second + (1 - b2) * g**2
        return -step_size * (first / (1 - b1 ** (k + 1))) / (np.sqrt(second / (1 - b2 ** (k + 1))) + eps)

    return _descend(grad, x0, callback, num_iters, change)
