"""A query planner for the chain rule: exact derivatives of plain NumPy functions, counted, chosen and explained."""

from wengert.api import grad, hessian, hvp, jacfwd, jacobian, jacrev, jvp, linearize, plan, trace, value_and_grad, vjp
from wengert.checking import check_derivatives
from wengert.diagnosis import why_nan
from wengert.explanation import explain
from wengert.primitives.table import define, undefine

__version__ = "0.1.0"
__all__ = ["check_derivatives", "define", "explain", "grad", "hessian", "hvp", "jacfwd", "jacobian", "jacrev", "jvp", "linearize", "plan", "trace", "undefine", "value_and_grad", "vjp", "why_nan"]
