"""autograd's differential operators, with its names, order of arguments and results."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import wengert.api as api
from wengert.trees import flatten

Function = Callable[..., Any]
Argnum = int | Sequence[int]


def _as_scalar(result: Any) -> Any:
    """Return a result of one element as a scalar, as autograd takes it."""
    return np.reshape(result, ()) if getattr(result, "shape", ()) != () and result.size == 1 else result


def _scalar(fun: Function) -> Function:
    """Return a function whose result of one element is a scalar."""

    @functools.wraps(fun)
    def scalar(*args: Any, **kwargs: Any) -> Any:
        return _as_scalar(fun(*args, **kwargs))

    return scalar


def _empty(args: Sequence[Any], argnum: Argnum) -> Any:
    """Return the argument chosen if it is a container without numbers, which is its own gradient; else None."""
    x = args[argnum] if isinstance(argnum, int) and argnum < len(args) else None
    return x if type(x) in (list, tuple, dict) and not flatten(x)[0] else None


def of_chosen_argument(fun: Function, argnum: Argnum, args: Sequence[Any], kwargs: Any) -> tuple[Function, Any]:
    """Return a function of the chosen argument alone (a tuple, for several), and its value."""

    def of_one(x: Any) -> Any:
        replaced = list(args)
        if isinstance(argnum, int):
            replaced[argnum] = x
        else:
            for k, part in zip(argnum, x, strict=True):
                replaced[k] = part
        return fun(*replaced, **kwargs)

    return of_one, args[argnum] if isinstance(argnum, int) else tuple(args[k] for k in argnum)


def grad(fun: Function, argnum: Argnum = 0) -> Function:
    """Return a function that computes the gradient of a scalar function.

    >>> float(grad(lambda a, b: a * b**2, 1)(2.0, 3.0))
    12.0
    """
    gradient = api.grad(_scalar(fun), argnum)

    @functools.wraps(fun)
    def gradient_or_empty(*args: Any, **kwargs: Any) -> Any:
        empty = _empty(args, argnum)
        return gradient(*args, **kwargs) if empty is None else empty

    return gradient_or_empty


def value_and_grad(fun: Function, argnum: Argnum = 0) -> Function:
    """Return a function that computes a scalar function and its gradient.

    >>> [float(v) for v in value_and_grad(lambda x: x**2)(3.0)]
    [9.0, 6.0]
    """

    def scalar_and_value(*args: Any, **kwargs: Any) -> Any:
        value = fun(*args, **kwargs)
        return _as_scalar(value), value

    both = api.value_and_grad(scalar_and_value, argnum, has_aux=True)

    @functools.wraps(fun)
    def value_and_gradient(*args: Any, **kwargs: Any) -> Any:
        empty = _empty(args, argnum)
        if empty is not None:
            return fun(*args, **kwargs), empty
        (_, value), gradient = both(*args, **kwargs)
        return value, gradient

    return value_and_gradient


def grad_and_aux(fun: Function, argnum: Argnum = 0) -> Function:
    """Return a function that computes the gradient of the first of two results, and returns the second beside it.

    >>> grad_and_aux(lambda x: (x**2, "aux"))(3.0)[1]
    'aux'
    """
    return api.grad(lambda *args, **kwargs: tuple(fun(*args, **kwargs)), argnum, has_aux=True)


def grad_named(fun: Function, argname: str) -> Function:
    """Return a function that computes the gradient with respect to the argument of a name.

    >>> float(grad_named(lambda a, b: a * b**2, "b")(2.0, 3.0))
    12.0
    """
    return grad(fun, list(inspect.signature(fun).parameters).index(argname))


def multigrad_dict(fun: Function) -> Function:
    """Return a function that computes the gradients with respect to all arguments, as a dict by their names.

    >>> {k: float(v) for k, v in multigrad_dict(lambda a, b: a * b)(2.0, 3.0).items()}
    {'a': 3.0, 'b': 2.0}
    """
    signature = inspect.signature(fun)

    @functools.wraps(fun)
    def gradients(*args: Any, **kwargs: Any) -> dict[str, Any]:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        named = dict(bound.arguments)

        def of_dict(given: dict[str, Any]) -> Any:
            call = inspect.BoundArguments(signature, {**named, **given})
            return fun(*call.args, **call.kwargs)

        result: dict[str, Any] = api.grad(_scalar(of_dict))(named)
        return result

    return gradients


def elementwise_grad(fun: Function, argnum: Argnum = 0) -> Function:
    """Return a function that computes the derivative of each element, where `fun` acts on each by itself.

    >>> import numpy as np
    >>> elementwise_grad(np.square)(np.array([1.0, 2.0]))
    array([2., 4.])
    """
    return api.elementwise_grad(fun, argnum)


def holomorphic_grad(fun: Function, argnum: Argnum = 0) -> Function:
    """Return a function that computes the derivative of a holomorphic function: the gradient of its real part.

    >>> holomorphic_grad(lambda z: z**2)(1.0 + 2.0j)
    np.complex128(2+4j)
    """
    return grad(lambda *args, **kwargs: np.real(fun(*args, **kwargs)), argnum)


def deriv(fun: Function, argnum: int = 0) -> Function:
    """Return a function that computes the derivative with respect to a scalar, by forward accumulation.

    >>> import numpy as np
    >>> deriv(lambda t: np.stack([t, t**2]))(3.0)
    array([1., 6.])
    """

    def derivative(*args: Any, **kwargs: Any) -> Any:
        of_one, x = of_chosen_argument(fun, argnum, args, kwargs)
        return api.jvp(of_one, (x,), (np.ones(np.shape(x), np.result_type(x))[()],))[1]

    return derivative


def jacobian(fun: Function, argnum: int = 0) -> Function:
    """Return a function that computes the Jacobian, of the result's shape followed by the argument's.

    >>> import numpy as np
    >>> jacobian(lambda x: x * x)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """
    return api.jacobian(fun, argnum)


def hessian(fun: Function, argnum: int = 0) -> Function:
    """Return a function that computes the Jacobian of the Jacobian.

    >>> import numpy as np
    >>> hessian(lambda x: np.sum(x**3))(np.array([1.0, 2.0]))
    array([[ 6.,  0.],
           [ 0., 12.]])
    """
    return api.jacobian(api.jacobian(fun, argnum), argnum)


def make_vjp(fun: Function, argnum: Argnum = 0) -> Function:
    """Return a function that returns the product with the Jacobian from the left, and the value.

    >>> pull, value = make_vjp(lambda x: x**2)(3.0)
    >>> float(pull(1.0)), float(value)
    (6.0, 9.0)
    """

    def make(*args: Any, **kwargs: Any) -> tuple[Function, Any]:
        value, pull = api.vjp(*of_chosen_argument(fun, argnum, args, kwargs))
        return (lambda g: pull(g)[0]), value

    return make


def make_jvp(fun: Function, argnum: Argnum = 0) -> Function:
    """Return a function that returns the product with the Jacobian from the right, together with the value.

    >>> [float(v) for v in make_jvp(lambda x: x**2)(3.0)(1.0)]
    [9.0, 6.0]
    """

    def make(*args: Any, **kwargs: Any) -> Function:
        value, push = api.linearize(*of_chosen_argument(fun, argnum, args, kwargs))
        return lambda v: (value, push(v))

    return make


def make_hvp(fun: Function, argnum: Argnum = 0) -> Function:
    """Return a function that returns the product with the Hessian, and the gradient.

    >>> product, gradient = make_hvp(lambda x: x**3)(2.0)
    >>> float(product(1.0)), float(gradient)
    (12.0, 12.0)
    """

    def make(*args: Any, **kwargs: Any) -> tuple[Function, Any]:
        of_one, x = of_chosen_argument(fun, argnum, args, kwargs)
        return make_vjp(grad(of_one))(x)  # type: ignore[no-any-return]

    return make


def hessian_tensor_product(fun: Function, argnum: int = 0) -> Function:
    """Return a function of the arguments and a direction that computes the product of the Hessian with it.

    >>> import numpy as np
    >>> hessian_tensor_product(lambda x: np.sum(x**3))(np.array([1.0, 2.0]), np.array([1.0, 0.0]))
    array([6., 0.])
    """

    def product(*args_and_vector: Any, **kwargs: Any) -> Any:
        *args, vector = args_and_vector
        of_one, x = of_chosen_argument(fun, argnum, args, kwargs)
        return api.hvp(_scalar(of_one))(x, vector)

    return product


hessian_vector_product = hessian_tensor_product


def tensor_jacobian_product(fun: Function, argnum: int = 0) -> Function:
    """Return a function of the arguments and a tensor that contracts the tensor with the leading axes of the Jacobian.

    >>> import numpy as np
    >>> vector_jacobian_product(lambda x: x**2)(np.array([1.0, 2.0]), np.array([1.0, 0.0]))
    array([2., 0.])
    """

    def product(*args_and_tensor: Any, **kwargs: Any) -> Any:
        *args, tensor = args_and_tensor
        of_one, x = of_chosen_argument(fun, argnum, args, kwargs)
        return api.jacobian(lambda x: np.tensordot(tensor, of_one(x), np.ndim(tensor)))(x)

    return product


vector_jacobian_product = tensor_jacobian_product


def make_ggnvp(f: Function, g: Function = lambda x: 1.0 / 2 * np.sum(x**2, axis=-1), f_argnum: int = 0) -> Function:
    """Return a function that returns the product with the generalized Gauss-Newton matrix of ``g(f(x))``.

    >>> import numpy as np
    >>> make_ggnvp(lambda x: 2 * x)(np.array([1.0, 2.0]))(np.array([1.0, 0.0]))
    array([4., 0.])
    """

    def make(*args: Any, **kwargs: Any) -> Function:
        f_of_one, x = of_chosen_argument(f, f_argnum, args, kwargs)
        y, push = api.linearize(f_of_one, x)
        curvature, _ = make_hvp(g)(y)
        return lambda v: push.T(curvature(push(v)))

    return make


def checkpoint(fun: Function) -> Function:
    """Return the function itself; autograd's trades time for memory here, the results are the same.

    >>> float(grad(checkpoint(lambda x: x**2))(3.0))
    6.0
    """
    return fun
