"""The table of primitives, and the functions that enter rows.

`define` makes a primitive of any function; `elementwise` is `define` for functions that act on each element by itself,
whose local partial is a diagonal; `array_function` is for the others, and `step_function` for those of them that jump.
All enter it in `PRIMITIVES` (by name) and, for a NumPy function, in `CALLS`, where tracing looks up a function that is
called on a traced value.  `calls` enters a function that is *written in terms of* primitives (``np.mean``) and needs no
rule.  Functions that do not dispatch by NumPy's protocols (SciPy's) are *caught* in the module that users call them
from while a trace runs: ``@calls(scipy.linalg.expm, catch=scipy.linalg)``.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any, cast

import numpy as np

from wengert.errors import PickleError
from wengert.program import Partial, Primitive

PRIMITIVES: dict[str, Primitive] = {}
"""Every primitive, by name."""

CALLS: dict[Callable[..., Any], Callable[..., Any]] = {}
"""The implementation of a NumPy function on traced values: a primitive, or a function written in primitives."""

_BEFORE: dict[str, Callable[..., Any]] = {}
"""The earlier entry in `CALLS` for the function that a primitive of this name replaces."""

CAUGHT: dict[FunctionType, str] = {}
"""Functions that do not dispatch by NumPy's protocols, with the module that users import them from."""

HOLDERS: dict[type, tuple[str, ...]] = {}
"""Classes of another library whose objects may hold traced values, with the attributes that do."""

NAMED: set[Callable[..., Any]] = set()
"""Compiled functions of other libraries, which are caught under the names by which code has them."""

ALWAYS: set[Callable[..., Any]] = set()
"""Functions that are caught on plain arguments, too, while a trace runs.

What they return is used on traced ones, or they call a function that reads some.
"""

LATE: dict[str, Callable[[], None]] = {}
"""By the name of a module that is slow to import: the function that enters its rows once the user imports it."""

HINTS = {
    "check_finite", "lapack_driver", "lwork", "max_ev", "overwrite_a", "overwrite_a_band", "overwrite_ab",
    "overwrite_b", "overwrite_x", "plan", "workers",
}  # fmt: skip
"""Parameters of SciPy's functions that change neither values nor derivatives, only speed and checks."""

Interval = tuple[float, float]
ALL: Interval = (-np.inf, np.inf)


def define(
    name: str,
    numpy: Callable[..., Any],
    *partials: Partial | None,
    replaces: Callable[..., Any] | None = None,
    squared: tuple[Partial, ...] = (),
    **facets: Any,
) -> Primitive:
    """Enter a primitive in the table and return it.

    Parameters
    ----------
    name
        How it is printed.
    numpy
        Computes it on plain values.
    partials
        For each argument the local partial, ``lambda y, x: ...`` of the result and the arguments, or None where the
        derivative is zero.  An elementwise primitive's rule returns the diagonal (an array that broadcasts to the
        result), any other's a `LocalJacobian`.  Name a parameter with an underscore if its elements are not read.
    replaces
        The NumPy function, called by users, that this primitive stands for.
    squared
        Of a root, the partials of its *square* with respect to the arguments: ``norm(x)**2`` is smooth where ``norm``
        is not.  A square of such a line is differentiated by them.
    facets
        Its other properties: ``elementwise``, ``variadic``, ``jvp``, ``source``, ``formula``, ``counts``,
        ``domain``, ``kink``, ``formula_rule``, ``native``; see `Primitive`.

    Raises
    ------
    ValueError
        If the name is taken.

    Examples
    --------
    A function of the user's own as one line of the list, ``h``, with its derivative:

    >>> import numpy as np, wengert as wg
    >>> h = wg.define("softsign", lambda x: x / (1 + abs(x)), lambda _y, x: 1 / (1 + abs(x)) ** 2)
    >>> float(wg.grad(lambda x: 3 * h(x))(1.0))
    0.75
    >>> print(wg.trace(lambda x: 3 * h(x))(1.0).listing(places=False))
    x = u_0
    u_1 = softsign(u_0)
    u_2 = 3 * u_1        = y
    >>> wg.undefine("softsign")
    """
    if name in PRIMITIVES:
        raise ValueError(f"there is a primitive {name} already; give yours another name, or undefine({name!r}) first.")
    primitive = Primitive(name, numpy, partials, home=(primitive_named, name), **facets)
    PRIMITIVES[name] = primitive
    if squared:
        primitive.is_usual = False
        primitive.squared = define(
            f"squared_{name}",
            lambda y, *_args, **_params: np.square(y),
            None,
            *squared,
            elementwise=primitive.elementwise,
            source="{0} ** 2",
            formula=lambda y, *_args: y**2,
            counts=lambda y, *_args, **_params: {"multiplications": y.size},
            native=lambda op, y, *_args, **_params: op("multiply", y, y),
        )
    if replaces is not None:
        if replaces in CALLS:
            _BEFORE[name] = CALLS[replaces]
        CALLS[replaces] = primitive
    return primitive


def array_function(name: str, numpy: Callable[..., Any], *partials: Partial | None, **facets: Any) -> Primitive:
    """Enter a function of whole arrays, whose rules return a `LocalJacobian`; it moves elements unless it `counts`."""
    return define(name, numpy, *partials, **{"elementwise": False, "counts": _nothing, **facets})


def step_function(name: str, numpy: Callable[..., Any], **facets: Any) -> Primitive:
    """Enter a function of whole arrays that jumps where it changes, so that its derivative is zero: it compares."""
    return array_function(name, numpy, None, **{"counts": _comparisons, **facets})


def _nothing(*_args: Any, **_params: Any) -> dict[str, int]:
    return {}


def _comparisons(_y: Any, x: Any, *_args: Any, **_params: Any) -> dict[str, int]:
    return {"comparisons": math.prod(x.shape)}


def primitive_named(name: str) -> Primitive:
    """Return the primitive of a name, to unpickle it; raise PickleError if this process does not define it."""
    if name not in PRIMITIVES:
        raise PickleError(
            f"a Program that is read back from a pickle has lines of the primitive {name}, which is not defined here.\n"
            f"Put wg.define({name!r}, ...) into a module that both processes import, and import it before."
        )
    return PRIMITIVES[name]


def undefine(name: str) -> None:
    """Remove a primitive from the table; raise KeyError if there is none of this name.

    Examples
    --------
    >>> import numpy as np, wengert as wg
    >>> h = wg.define("softsign", lambda x: x / (1 + abs(x)), lambda _y, x: 1 / (1 + abs(x)) ** 2)
    >>> wg.undefine("softsign")
    """
    primitive = PRIMITIVES.pop(name)
    primitive.home = None
    for function in [f for f, p in CALLS.items() if p is primitive]:
        if name in _BEFORE:
            CALLS[function] = _BEFORE.pop(name)
        else:
            del CALLS[function]


def elementwise(ufunc: np.ufunc, *partials: Partial | None, **facets: Any) -> Primitive:
    """Enter a NumPy ufunc, with the diagonals of its local Jacobians as rules."""
    facets.setdefault("counts", "calls")
    return define(ufunc.__name__, ufunc, *partials, replaces=ufunc, **facets)


def calls(
    *functions: Callable[..., Any], catch: ModuleType | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a function that is written in terms of primitives, for the functions that it implements.

    With `catch`, the module of the functions, these do not dispatch by NumPy's protocols: while a trace runs, a call
    with a traced value among its arguments goes to `written` instead, without the `HINTS` that this does not take.
    """

    def enter(written: Callable[..., Any]) -> Callable[..., Any]:
        for function in functions:
            CALLS[function] = written
            if catch is not None:
                CALLS[function] = _without_hints(function, written)
                CAUGHT[cast("FunctionType", function)] = catch.__name__
        return written

    return enter


def _without_hints(function: Callable[..., Any], written: Callable[..., Any]) -> Callable[..., Any]:
    """Return `written` with all parameters of `function`: those of the `HINTS` that it does not take are dropped."""
    names = list(inspect.signature(function).parameters)
    hints = HINTS.intersection(names).difference(inspect.signature(written).parameters)
    if not hints:
        return written
    positions = [k for k, name in enumerate(names) if name in hints]

    @functools.wraps(written)
    def call(*args: Any, **kwargs: Any) -> Any:
        if len(args) > positions[0]:
            args = tuple(a for k, a in enumerate(args) if k not in positions)
        return written(*args, **{name: value for name, value in kwargs.items() if name not in hints})

    return call
