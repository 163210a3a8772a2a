"""The place of ``autograd.core``: products with the Jacobian of a function of one argument, and how to define rules.

>>> pull, value = make_vjp(lambda x: x["a"] ** 2, {"a": 3.0})
>>> float(value), {name: float(part) for name, part in pull(1.0).items()}
(9.0, {'a': 6.0})
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wengert.compat.autograd import differential_operators
from wengert.compat.autograd.extend import (
    def_linear,
    defjvp,
    defjvp_argnum,
    defjvp_argnums,
    defvjp,
    defvjp_argnum,
    defvjp_argnums,
    primitive,
)
from wengert.compat.autograd.tracer import getval, isbox

__all__ = [
    "def_linear",
    "defjvp",
    "defjvp_argnum",
    "defjvp_argnums",
    "defvjp",
    "defvjp_argnum",
    "defvjp_argnums",
    "getval",
    "isbox",
    "make_jvp",
    "make_vjp",
    "primitive",
]


def make_vjp(fun: Callable[..., Any], x: Any) -> tuple[Callable[..., Any], Any]:
    """Return the product with the Jacobian at `x` from the left, and the value there."""
    pull, value = differential_operators.make_vjp(fun)(x)
    return pull, value


def make_jvp(fun: Callable[..., Any], x: Any) -> Callable[..., Any]:
    """Return the product with the Jacobian at `x` from the right, which comes with the value.

    >>> [float(v) for v in make_jvp(lambda x: x**2, 3.0)(1.0)]
    [9.0, 6.0]
    """
    return differential_operators.make_jvp(fun)(x)  # type: ignore[no-any-return]
