"""A query planner for the chain rule: exact derivatives of plain NumPy functions, counted, chosen and explained."""

from wengert.api import (
    elementwise_grad,
    grad,
    hessian,
    hvp,
    jacfwd,
    jacobian,
    jacrev,
    jvp,
    linearize,
    plan,
    trace,
    value_and_grad,
    vjp,
)
from wengert.batching import vmap
from wengert.checking import check_derivatives
from wengert.compilation.jit import jit
from wengert.control import checkpoint, cond, fori_loop, map, scan, while_loop  # noqa: A004 - as in JAX
from wengert.custom import custom_derivative, stop_gradient
from wengert.diagnosis import why_nan
from wengert.explanation import explain
from wengert.primitives.table import define, undefine

__version__ = "0.1.0"
__all__ = [
    "check_derivatives",
    "checkpoint",
    "cond",
    "custom_derivative",
    "define",
    "elementwise_grad",
    "explain",
    "fori_loop",
    "grad",
    "hessian",
    "hvp",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jit",
    "jvp",
    "linearize",
    "map",
    "plan",
    "scan",
    "stop_gradient",
    "trace",
    "undefine",
    "value_and_grad",
    "vjp",
    "vmap",
    "while_loop",
    "why_nan",
]
