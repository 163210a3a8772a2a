"""HIPS autograd's names and conventions: change ``autograd`` to ``wengert.compat.autograd`` in the import lines.

>>> import wengert.compat.autograd.numpy as np
>>> from wengert.compat.autograd import grad
>>> def tanh(x):
...     return (1.0 - np.exp(-2.0 * x)) / (1.0 + np.exp(-2.0 * x))
>>> round(float(grad(tanh)(1.0)), 6)
0.419974

What is ``autograd.numpy`` there is NumPy itself here, and ``autograd.scipy`` SciPy itself.  `primitive` and the
functions of ``extend`` give a function rules as autograd takes them; the mode that is not given follows from the other.
"""

# ruff: noqa: A004 - autograd's own names
from wengert.compat.autograd import numpy, scipy
from wengert.compat.autograd.builtins import dict, isinstance, list, tuple, type
from wengert.compat.autograd.differential_operators import (
    checkpoint,
    deriv,
    elementwise_grad,
    grad,
    grad_and_aux,
    grad_named,
    hessian,
    hessian_tensor_product,
    hessian_vector_product,
    holomorphic_grad,
    jacobian,
    make_ggnvp,
    make_hvp,
    make_jvp,
    make_vjp,
    multigrad_dict,
    tensor_jacobian_product,
    value_and_grad,
    vector_jacobian_product,
)
from wengert.compat.autograd.extend import primitive

__all__ = [
    "checkpoint",
    "deriv",
    "dict",
    "elementwise_grad",
    "grad",
    "grad_and_aux",
    "grad_named",
    "hessian",
    "hessian_tensor_product",
    "hessian_vector_product",
    "holomorphic_grad",
    "isinstance",
    "jacobian",
    "list",
    "make_ggnvp",
    "make_hvp",
    "make_jvp",
    "make_vjp",
    "multigrad_dict",
    "numpy",
    "primitive",
    "scipy",
    "tensor_jacobian_product",
    "tuple",
    "type",
    "value_and_grad",
    "vector_jacobian_product",
]
