"""Primitives: the rows of the table, and the properties of values that a row depends on.

A primitive is an elemental function with its derivative rules and properties.  Called on plain values it computes;
called on traced values it records a line.

>>> double = Primitive("double", lambda x: 2 * x, (lambda _y, _x: 2,))
>>> double(3), double.partial(0)(None, None), double.keeps
(6, 2, (False, False))
"""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from wengert.errors import PickleError

Shape = tuple[int, ...]
SMALL = 256
"""Values of up to this many elements are kept: to free or replace them costs more than it saves."""


class Recordable:
    """The base of traced values, defined here so that a primitive recognizes one without importing tracing."""

    __slots__ = ()

    def _record(self, primitive: Primitive, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
        """Write a line on the innermost list that any of `args` belongs to, and return its traced value."""
        raise NotImplementedError


class Shaped:
    """The shape and dtype of a value, kept in place of one whose elements are not read again."""

    __slots__ = ("dtype", "shape")

    def __init__(self, shape: Shape, dtype: np.dtype[Any]) -> None:
        self.shape, self.dtype = shape, dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def __repr__(self) -> str:
        return f"Shaped({self.shape}, {self.dtype})"


Partial = Callable[..., Any]


class Primitive:
    """One row of the table: an elemental function, its derivative rules and its properties.

    `numpy` computes it on plain values.  ``partials[k]`` is the local partial with respect to the k-th argument, a
    function of the result and the arguments, ``lambda y, x: 1 / x``; it returns the diagonal (for an elementwise
    primitive) or a `LocalJacobian` (for any other), and is None where the derivative is zero or does not exist.
    A parameter whose name begins with an underscore is only asked for its shape and dtype, so its elements need not
    be kept for the derivative: ``lambda y, _x: y``.  A *variadic* primitive has one rule for all its arguments, which
    takes the position first.  A *multiple* primitive returns a tuple, and its line has an output for each (a loop).
    `jvp` pushes all tangents of a line at once, and `vjp` pulls all adjoints, for primitives where that is less work
    than one argument after the other; `shared_partials` returns the partials with respect to all arguments, for
    primitives whose pulls share work.  If NumPy *promotes* operands to a common dtype, the rules take them promoted: in
    a byte ``a * a`` overflows.  `formula_rule` is False for a rule that inspects values, to refuse some of them or to
    choose a method; a rule that is a formula is compiled once.  Of a function that chooses between its operands,
    ``chosen[k]`` takes what a rule takes and returns where it has chosen the k-th.
    `native` is how machine code computes a line: the name of an operation of scalars, element by element; ``"moves"``
    where it only moves elements; or a function of ``op``, which applies operations, and the operands, and returns None
    where it cannot.
    Three facets are for generated Python: `inline` is the Python expression of a line, or a function of the line that
    returns it, or None for a call; `adds` takes the parameters of a line that adds its operands up in zeros, and
    returns the indices at which it does; `fresh` is True if the result is memory that nothing else shares.
    A `bilinear` primitive is linear in each operand: where its local Jacobian has entries for other values of the other
    operand, it has them for ones.
    A primitive called on traced values records a line.  It is pickled as its `home`: a function that returns the
    primitive, with its arguments; or else its name in the table.

    >>> import numpy as np
    >>> cube = Primitive("cube", lambda x: x**3, (lambda _y, x: 3 * x**2,))
    >>> float(cube(2.0)), float(cube.partials[0](None, 2.0)), cube.keeps
    (8.0, 12.0, (False, True))
    """

    __slots__ = (
        "adds",
        "bilinear",
        "chosen",
        "compute",
        "counts",
        "domain",
        "elementwise",
        "formula",
        "formula_rule",
        "fresh",
        "home",
        "inline",
        "is_usual",
        "jvp",
        "keeps",
        "keeps_all",
        "kink",
        "multiple",
        "name",
        "native",
        "numpy",
        "partials",
        "promotes",
        "reads",
        "shared_partials",
        "source",
        "squared",
        "variadic",
        "vjp",
    )

    def __init__(
        self,
        name: str,
        numpy: Callable[..., Any],
        partials: Sequence[Partial | None] = (),
        *,
        elementwise: bool = True,
        variadic: bool = False,
        multiple: bool = False,
        jvp: Callable[..., Any] | None = None,
        vjp: Callable[..., Any] | None = None,
        shared_partials: Callable[..., Sequence[Any]] | None = None,
        operator: Callable[..., Any] | None = None,
        source: str | Callable[[Sequence[str], Mapping[str, Any]], str] | None = None,
        formula: str | Callable[..., Any] | None = None,
        counts: str | Callable[..., dict[str, int]] | None = None,
        domain: tuple[tuple[float, float], ...] | None = None,
        kink: str = "",
        formula_rule: bool = True,
        inline: str | Callable[..., str | None] | None = None,
        adds: Callable[..., Sequence[tuple[Any, ...]] | None] | None = None,
        fresh: bool | None = None,
        chosen: Sequence[Callable[..., Any] | None] = (),
        bilinear: bool = False,
        native: str | Callable[..., Any] | None = None,
        home: tuple[Any, ...] | None = None,
    ) -> None:
        self.name, self.numpy, self.partials = name, numpy, tuple(partials)
        self.elementwise, self.variadic, self.multiple = elementwise, variadic, multiple
        self.jvp, self.vjp, self.shared_partials = jvp, vjp, shared_partials
        self.compute = operator or numpy  # Python's own operators are ten times as fast on scalars
        self.source, self.formula, self.counts, self.domain, self.kink = source, formula, counts, domain, kink
        self.formula_rule = formula_rule
        self.inline, self.adds = inline, adds
        self.fresh = self.is_ufunc if fresh is None else fresh
        self.chosen = tuple(chosen)
        self.bilinear = bilinear
        self.native = native
        self.home = home
        self.keeps = _reads_of(self.partials, variadic)
        self.keeps_all = bool(self.keeps) and all(self.keeps)
        self.squared: Primitive | None = None
        """Of a root: its square, whose rules are those of the radicand (see `define`)."""
        self.is_usual = elementwise and bool(self.keeps)
        """True if it has a derivative, element by element, and is no root: of small rows nothing else is noted."""
        self.promotes = elementwise and any(self.keeps[1:]) and _promotes(numpy)
        self.reads = () if variadic else tuple(_reads_of((rule,), False) for rule in self.partials)

    def __call__(self, *args: Any, **params: Any) -> Any:
        for a in args:
            if isinstance(a, Recordable):
                return a._record(self, args, params)
        return self.numpy(*args, **params)

    def partial(self, position: int) -> Partial | None:
        """Return the rule for the argument at `position` (any position, for a variadic primitive)."""
        if self.variadic:
            rule = self.partials[0]
            return None if rule is None else lambda *kept, **params: rule(position, *kept, **params)
        return self.partials[position] if position < len(self.partials) else None

    @property
    def is_ufunc(self) -> bool:
        """True if NumPy computes it element by element: NumPy's scalars give one, and arrays a new array."""
        return self.elementwise and isinstance(self.numpy, np.ufunc)

    @property
    def rules(self) -> tuple[Callable[..., Any], ...]:
        """All derivative rules of this primitive."""
        rules = (*self.partials, self.jvp, self.vjp, self.shared_partials)
        return tuple([rule for rule in rules if rule is not None])

    def write(self, args: Sequence[str], params: Mapping[str, Any]) -> str:
        """Return a call of this primitive as a NumPy expression."""
        if callable(self.source):
            return self.source(args, params)
        if self.source is not None:
            return self.source.format(*args)
        extras = [f"{key}={value!r}" for key, value in params.items()]
        return f"np.{self.name}({', '.join([*args, *extras])})"

    def __reduce__(self) -> tuple[Any, ...]:
        if self.home is None:
            raise PickleError(
                f"the primitive {self.name} cannot be pickled: it is not in the table of primitives.\n"
                f"Enter it by wg.define({self.name!r}, ...), in a module that the receiving process imports, too."
            )
        function, *args = self.home
        return function, tuple(args)

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"


def _promotes(function: Callable[..., Any]) -> bool:
    """Return whether NumPy promotes the operands of this function to a common dtype: a ufunc of two or more."""
    return isinstance(function, np.ufunc) and function.nin > 1 and "d" * function.nin + "->d" in function.types


def _reads_of(partials: Sequence[Partial | None], variadic: bool) -> tuple[bool, ...]:
    """Return for each of (result, first argument, second...) whether the rules read it, by the names of parameters."""
    reads: list[bool] = []
    for rule in partials:
        if rule is None:
            continue
        for k, name in enumerate(_positional(rule)[variadic:]):
            if k == len(reads):
                reads.append(False)
            reads[k] = reads[k] or not name.startswith("_")
    return tuple(reads)


def _positional(rule: Callable[..., Any]) -> Sequence[str]:
    """Return the names of the parameters that a rule takes by position."""
    if type(rule) is types.FunctionType and not rule.__dict__:  # most are; `inspect` takes ten times as long
        code = rule.__code__
        names = code.co_varnames[: code.co_argcount]
        has_more = code.co_flags & inspect.CO_VARARGS
        return (*names, code.co_varnames[code.co_argcount + code.co_kwonlyargcount]) if has_more else names
    parameters = inspect.signature(rule).parameters.values()
    return [p.name for p in parameters if p.kind not in (p.KEYWORD_ONLY, p.VAR_KEYWORD)]


def as_value(value: Any) -> Any:
    """Return a number or array as a NumPy scalar, array or traced value: the form of all values in a trace."""
    kind = type(value)
    if (
        kind is np.float64
        or kind is np.bool_
        or isinstance(value, Recordable)
        or (kind is np.ndarray and value.dtype.kind in "fc" and value.ndim)
    ):
        return value
    array = np.asarray(value)
    return array[()] if array.ndim == 0 else array


def has_nan(value: Any) -> bool:
    """Return whether a number or array of NumPy's holds NaN.

    >>> has_nan(np.array([np.inf, np.nan])), has_nan(np.zeros(0)), has_nan(np.float64(-np.inf))
    (True, False, False)
    """
    if value.ndim:
        if not value.size:
            return False
        value = value.item(value.argmax())  # that of the first NaN, and no arithmetic that could overflow
    return bool(value != value)
