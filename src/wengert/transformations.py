"""What a transformation returns: a function made of another, such as ``grad(f)``, that prints, binds and pickles.

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
from collections.abc import Callable
from types import FunctionType, MethodType
from typing import Any

from wengert.errors import PickleError

Function = Callable[..., Any]
_ASSIGNED = tuple(name for name in functools.WRAPPER_ASSIGNMENTS if name != "__doc__")


class Documentation:
    """The docstring of a `Transformed`, put together when it is asked for; for the class itself, that of the class."""

    def __init__(self, of_class: str) -> None:
        self._of_class = of_class

    def __get__(self, instance: Transformed | None, owner: type | None = None) -> str:
        if instance is None:
            return self._of_class
        summary = (instance.transformation.__doc__ or "").partition("\n\n")[0].removeprefix("Return ")
        return f"{instance!r}: {summary}\n\n{instance.function.__doc__ or ''}".rstrip()


class Transformed:
    """A function that a transformation made of another; it has the name and signature of that.

    It pickles as the transformation, the function and the options: by their names, as functions do.  As an attribute of
    a class it is a method.

    Attributes
    ----------
    transformation
        What made it: ``wg.grad``.
    function
        The function that is transformed.
    options
        The keyword arguments of the transformation.
    compute
        Does the work, of a tuple of arguments and a dict of keyword arguments.
    """

    __slots__ = ("__dict__", "__weakref__", "compute", "function", "options", "transformation")

    def __init__(
        self,
        transformation: Function,
        function: Function,
        compute: Callable[[tuple[Any, ...], dict[str, Any]], Any],
        **options: Any,
    ) -> None:
        self.transformation, self.function, self.options, self.compute = transformation, function, options, compute
        functools.update_wrapper(self, function, _ASSIGNED)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.compute(args, kwargs)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else MethodType(self, instance)

    def __repr__(self) -> str:
        options = [f", {name}={value!r}" for name, value in self._particular().items()]
        function = self.function
        name = getattr(function, "__name__", None) if not isinstance(function, Transformed) else None
        return f"{self.transformation.__name__}({name or repr(function)}{''.join(options)})"

    def _particular(self) -> dict[str, Any]:
        """Return the options that are not the transformation's defaults."""
        parameters = inspect.signature(self.transformation).parameters
        return {name: value for name, value in self.options.items() if value is not parameters[name].default}

    def __reduce__(self) -> str | tuple[Any, ...]:
        if is_global(self):  # a decorated function of a module
            return self.__qualname__  # type: ignore[no-any-return,attr-defined]
        innermost = self.function
        while isinstance(innermost, Transformed) and not is_global(innermost):
            innermost = innermost.function
        demand_picklable(innermost, repr(self))
        return _transform, (self.transformation, self.function, self._particular())


Transformed.__doc__ = Documentation(Transformed.__doc__ or "")  # type: ignore[assignment]


def _transform(transformation: Function, function: Function, options: dict[str, Any]) -> Any:
    """Apply a transformation again, where what it returned is read back."""
    return transformation(function, **options)


# ---- What pickle finds by name ----


def is_global(function: Any) -> bool:
    """Tell whether a function stands in its module under its own name, where pickle looks for it."""
    value: Any = sys.modules.get(getattr(function, "__module__", None) or "")
    for name in getattr(function, "__qualname__", "<locals>").split("."):
        value = getattr(value, name, None)
    return value is function


def demand_picklable(function: Any, whole: str) -> None:
    """Raise PickleError if pickle will not find a function by its name, and nothing is loaded that pickles it by value.

    `whole` is what wraps the function.
    """
    if not isinstance(function, FunctionType) or is_global(function):
        return
    if any(name.rpartition(".")[2] in ("cloudpickle", "dill") for name in sys.modules):
        return
    code = function.__code__
    raise PickleError(
        f"{whole} cannot be pickled: its function {function.__qualname__} ({code.co_filename}:{code.co_firstlineno}) "
        "cannot be found by name.\n"
        "Define it by def at the top level of a module; or pickle with cloudpickle, which takes functions by value."
    )
