"""A query planner for the chain rule: exact derivatives of plain NumPy functions, counted, chosen and explained."""

import importlib
from typing import TYPE_CHECKING, Any

from wengert.api import (
    elementwise_grad,
    gauss_newton,
    grad,
    hessian,
    hessian_diagonal,
    hessian_sparsity,
    hvp,
    jacfwd,
    jacobian,
    jacobian_sparsity,
    jacrev,
    jvp,
    laplacian,
    linearize,
    plan,
    trace,
    value_and_grad,
    vjp,
)
from wengert.batching import vmap
from wengert.compilation.jit import jit
from wengert.compilation.native.threads import set_threads
from wengert.control import checkpoint, cond, fori_loop, map, scan, while_loop  # noqa: A004 - as in JAX
from wengert.custom import custom_derivative, stop_gradient
from wengert.drawing import spy
from wengert.primitives.table import define, undefine

if TYPE_CHECKING:  # imported when they are first asked for: what nobody explains or checks starts faster
    from wengert.checking import check_derivatives
    from wengert.diagnosis import why_nan
    from wengert.exercises import quiz
    from wengert.explanation import explain

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
    "gauss_newton",
    "grad",
    "hessian",
    "hessian_diagonal",
    "hessian_sparsity",
    "hvp",
    "jacfwd",
    "jacobian",
    "jacobian_sparsity",
    "jacrev",
    "jit",
    "jvp",
    "laplacian",
    "linearize",
    "map",
    "plan",
    "quiz",
    "scan",
    "set_threads",
    "spy",
    "stop_gradient",
    "trace",
    "undefine",
    "value_and_grad",
    "vjp",
    "vmap",
    "while_loop",
    "why_nan",
]
_PUBLIC = ("compat", "errors", "numpy")
"""Modules that users import."""
_MODULES = {
    "check_derivatives": "wengert.checking",
    "explain": "wengert.explanation",
    "quiz": "wengert.exercises",
    "why_nan": "wengert.diagnosis",
}


if not TYPE_CHECKING:  # which would take any name for one of these

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module 'wengert' has no attribute {name!r}")
        globals()[name] = value = getattr(importlib.import_module(_MODULES[name]), name)
        return value


def __dir__() -> list[str]:
    return sorted([*__all__, *_PUBLIC, *[name for name in globals() if name[:2] == "__"]])
