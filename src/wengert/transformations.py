"""The results of transformations: functions such as ``grad(f)``, which print, bind as methods and pickle.

>>> import numpy as np, wengert as wg
>>> def energy(x):
...     "The energy of a chain."
...     return np.sum(x**2)
>>> force = wg.grad(energy)
>>> force, wg.vmap(wg.jacobian(energy, mode="reverse"), in_axes=1)
(grad(energy), vmap(jacobian(energy, mode='reverse'), in_axes=1))
>>> force.transformation is wg.grad, force.function is energy
(True, True)
>>> print(force.__doc__)
grad(energy): a function that computes the gradient of `f`, in one reverse pass; see `value_and_grad`.
<BLANKLINE>
The energy of a chain.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Sequence
from types import FunctionType, MethodType
from typing import Any, Generic, NoReturn, ParamSpec, TypeVar

import numpy as np

from wengert.errors import ArgumentError, PickleError

Function = Callable[..., Any]
P = ParamSpec("P")
"""What a function takes, and what is made of it with it."""
X = TypeVar("X")
"""The argument to differentiate with respect to, and the gradient, which is of its kind."""
Y = TypeVar("Y")
"""What a function returns."""
_ASSIGNED = tuple(name for name in functools.WRAPPER_ASSIGNMENTS if name != "__doc__")


class Documentation:
    """The docstring of a `Transformed`, composed on demand; for the class itself, that of the class."""

    def __init__(self, of_class: str) -> None:
        self._of_class = of_class

    def __get__(self, instance: Transformed[..., Any] | None, owner: type | None = None) -> str:
        if instance is None:
            return self._of_class
        summary = (instance.transformation.__doc__ or "").partition("\n\n")[0].removeprefix("Return ")
        return f"{instance!r}: {summary}\n\n{instance.function.__doc__ or ''}".rstrip()


class Transformed(Generic[P, Y]):
    """A function made by a transformation, with the name and signature of the function it was made from.

    It is pickled as the transformation, the function and the options; functions are pickled by name.  As an attribute
    of a class it is a method.

    Attributes
    ----------
    transformation
        The function that made it: ``wg.grad``.
    function
        The function that is transformed.
    options
        The keyword arguments of the transformation.
    compute
        The computation, a function of a tuple of arguments and a dict of keyword arguments.
    """

    __slots__ = ("__dict__", "__weakref__", "compute", "function", "options", "transformation")

    def __init__(
        self,
        transformation: Function,
        function: Function,
        compute: Callable[[tuple[Any, ...], dict[str, Any]], Y],
        **options: Any,
    ) -> None:
        demand_function(function, transformation.__name__)
        if type(argnums := options.get("argnums")) is not int and argnums is not None:
            demand_positions(argnums)
        self.transformation, self.function, self.options, self.compute = transformation, function, options, compute
        functools.update_wrapper(self, function, _ASSIGNED)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Y:
        return self.compute(args, kwargs)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else MethodType(self, instance)

    def __repr__(self) -> str:
        options = [f", {name}={value!r}" for name, value in self._particular().items()]
        function = self.function
        name = getattr(function, "__name__", None) if not isinstance(function, Transformed) else None
        return f"{self.transformation.__name__}({name or repr(function)}{''.join(options)})"

    def _particular(self) -> dict[str, Any]:
        """Return the options that differ from the transformation's defaults."""
        parameters = inspect.signature(self.transformation).parameters
        return {name: value for name, value in self.options.items() if value is not parameters[name].default}

    def __reduce__(self) -> str | tuple[Any, ...]:
        if is_global(self):  # a decorated function of a module
            return self.__qualname__  # type: ignore[no-any-return,attr-defined]
        if self.options.get("executor") is not None:
            raise PickleError(
                f"{self!r} cannot be pickled: an executor belongs to the process that has made it.\n"
                "Pickle the function without it, and give it one of the other process there."
            )
        innermost = self.function
        while isinstance(innermost, Transformed) and not is_global(innermost):
            innermost = innermost.function
        demand_picklable(innermost, repr(self))
        return _transform, (self.transformation, self.function, self._particular())


Transformed.__doc__ = Documentation(Transformed.__doc__ or "")  # type: ignore[assignment]


def _transform(transformation: Function, function: Function, options: dict[str, Any]) -> Any:
    """Apply a transformation again, to unpickle its result."""
    return transformation(function, **options)


# ---- What transformations are called with ----


def demand_function(function: Any, transformation: str) -> None:
    """Raise ArgumentError if a transformation is given something else than a function: what it returned, probably."""
    if not callable(function):
        refuse(f"{transformation} takes a function, and was given {said(function)}")


def demand_positions(argnums: Any, name: str = "argnums") -> None:
    """Raise ArgumentError if `argnums` is not a position or a sequence of them: the function's argument, probably."""
    several = isinstance(argnums, (tuple, Sequence)) and not isinstance(argnums, str)
    if not all(_is_position(k) for k in (argnums if several else [argnums])):
        refuse(f"{name} is {said(argnums)}, where the position of an argument is needed, or a sequence of them")


def _is_position(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def refuse(happened: str) -> NoReturn:
    """Raise ArgumentError for a transformation that is called as the function would be."""
    instead = "What a transformation returns is called with the arguments: write wg.grad(f)(x), wg.explain(f)(x)."
    raise ArgumentError.at_caller(f"{happened}:", instead)


def said(value: Any) -> str:
    """Name a value as a message does: ``an array of shape (2,)``, ``the number 2.0``, ``a str``."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple) and shape:
        return f"an array of shape {shape}"
    return f"the number {float(value)!r}" if shape == () or isinstance(value, float) else f"a {type(value).__name__}"


# ---- What pickle finds by name ----


def is_global(function: Any) -> bool:
    """Return whether pickle finds a function in its module under its own name."""
    value: Any = sys.modules.get(getattr(function, "__module__", None) or "")
    for name in getattr(function, "__qualname__", "<locals>").split("."):
        value = getattr(value, name, None)
    return value is function


def demand_picklable(function: Any, wrapper: str) -> None:
    """Raise PickleError if pickle cannot find a function by name, and no loaded library pickles it by value.

    `wrapper` names the object that wraps the function, for the message.
    """
    if not isinstance(function, FunctionType) or is_global(function):
        return
    if any(name.rpartition(".")[2] in ("cloudpickle", "dill") for name in sys.modules):
        return
    code = function.__code__
    raise PickleError(
        f"{wrapper} cannot be pickled: its function {function.__qualname__} ({code.co_filename}:{code.co_firstlineno}) "
        "cannot be found by name.\n"
        "Define it by def at the top level of a module; or pickle with cloudpickle, which takes functions by value."
    )
