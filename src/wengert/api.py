"""What users call: the only module that chains the stages.

Names and the order of arguments are those of JAX and SciPy.  ``grad``, ``jacobian``, ``hessian``, ``hvp``, ``trace``
take a function and return one; ``jvp``, ``vjp`` and ``linearize`` take a function and a point.  All of them nest.

Wherever an array may stand, a tree of arrays may: dicts, lists, tuples, named tuples and dataclasses, nested.  A
derivative has the structure of what it is the derivative of.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, Literal, overload

import numpy as np

from wengert.accumulation.compressed import (
    as_dense,
    check_entries,
    split,
    warn_if_dense,
    warn_of_products,
    warn_of_sparse_result,
)
from wengert.accumulation.dense import check_memory, dimension, fits_comfortably, of_its_own
from wengert.accumulation.sparsity import pattern_of, symmetrized
from wengert.accumulation.sweeps import forward, reverse
from wengert.arguments import PLAIN, Argnames, Argnums, ArgnumsLike, Independents, ProgramTrees, Result, independent
from wengert.arguments import positions as _positions
from wengert.control.folding import Folding
from wengert.control.rerolling import folded_of, reroll
from wengert.control.staging import folding
from wengert.errors import ArgumentError, ResultError
from wengert.executors import Executor, demand_executor
from wengert.linearization import Graph, Linearization, by_position, write_graph
from wengert.passes.scalarization import is_scalar, scalarize
from wengert.planning import Compressed, Plan, Request, check_found, choose, choose_diagonal, is_searched, plan_trace
from wengert.program import Portable, Program
from wengert.tracing import (
    Trace,
    Traced,
    Unchanged,
    current_context,
    parameter_names,
    run,
    warn_of_decisions,
    warn_of_guards,
    watch,
)
from wengert.transformations import Documentation, P, Transformed, X, Y, demand_function, is_global

Function = Callable[..., Any]
Mode = Literal["forward", "reverse", "elimination", "waist", "column-compressed", "row-compressed", "bi-compressed"]
"""The modes of a Jacobian."""
HessianMode = Literal[
    "forward over reverse", "reverse over reverse", "elimination", "star", "acyclic", "column-compressed"
]
"""The modes of a Hessian."""


# ---- Arguments ----


def _record(
    f: Function, args: Sequence[Any], kwargs: Any, chosen: Argnums, keep_all: bool = False, copy: bool = False,
    result: Result | None = None, planned: bool = False,
) -> tuple[Trace, Independents | None]:  # fmt: skip
    """Trace a function of its chosen arguments; the second result is None if all arguments and results are arrays."""
    context = current_context()
    if context.folds and len(context.tapes) == 1:
        f = folding(f)
    fold = None if keep_all or planned or context.tapes else Folding
    if chosen.single:  # by far the most frequent
        position: Any = chosen.argnums
        if -1 < position < len(args) and type(args[position]) in PLAIN:
            replaced = list(args)
            replaced[position] = independent(args[position], position, copy)
            return run(f, replaced, kwargs, (position,), keep_all, None, result, planned=planned, fold=fold), None
    if chosen.argnames is None:
        counted = chosen.from_the_first
        positions = counted if counted and max(counted) < len(args) else _positions(chosen.argnums, args)
        for k in positions:
            if type(args[k]) not in PLAIN:
                break
        else:
            replaced = list(args)
            for k in positions:
                replaced[k] = independent(args[k], k, copy)
            return run(f, replaced, kwargs, positions, keep_all, None, result, planned=planned, fold=fold), None
        keys: Sequence[int | str] = positions
    else:
        keys = chosen.keys(f, args, kwargs)
    independents = Independents(args, kwargs, keys, copy, chosen.real_only, parameter_names(f, len(args)))
    return run(f, args, kwargs, (), keep_all, independents, result, planned=planned, fold=fold), independents


# ---- First derivatives ----


@overload
def value_and_grad(f: Callable[Concatenate[X, P], Y]) -> Transformed[Concatenate[X, P], tuple[Y, X]]: ...
@overload
def value_and_grad(
    f: Callable[P, Any], argnums: ArgnumsLike = None, *, argnames: Argnames = None, has_aux: bool = False
) -> Transformed[P, Any]: ...
def value_and_grad(
    f: Function, argnums: ArgnumsLike = None, *, argnames: Argnames = None, has_aux: bool = False
) -> Transformed[..., Any]:
    """Return a function that computes `f` and its gradient, in one reverse pass.

    Parameters
    ----------
    f
        A function of real numbers, arrays or trees of them that returns a real scalar.
    argnums
        The position of the argument to differentiate with respect to, or a sequence of them; negative ones count from
        the last.  The first argument, if neither this nor `argnames` is given.
    argnames
        The name of the argument to differentiate with respect to, or a sequence of them.
    has_aux
        True if `f` returns a pair: the scalar, and a tree of whatever else is to be returned beside it.

    Returns
    -------
    callable
        Takes what `f` takes; returns the value (a scalar; with `has_aux` the pair) and the gradient, which has the
        structure of the argument, each array of its shape and dtype; a tuple of gradients if `argnums` is a sequence,
        a dict of them if `argnames` is, and a pair of both if both are given.  The gradient g of a complex argument is
        that of ``df = Re(sum(g * dz))``, JAX's and the conjugate of PyTorch's (see ``docs/complex.md``).

    Raises
    ------
    ArgumentError
        If an argument is not a float or an array of them, or a tree of such.  Integers are refused, too, but taken as
        floats where SciPy calls with its starting point as it was given: ``fsolve(f, [1, 1], fprime=jacobian(f))``.
    ResultError
        If `f` does not return a real scalar.

    Examples
    --------
    >>> import numpy as np, wengert as wg
    >>> value, gradient = wg.value_and_grad(lambda x: np.sum(x**2))(np.array([1.0, 2.0]))
    >>> float(value), gradient
    (5.0, array([2., 4.]))
    >>> wg.value_and_grad(lambda p, k: k * p["a"] * p["b"])({"a": 2.0, "b": 3.0}, 1)
    (np.float64(6.0), {'a': np.float64(3.0), 'b': np.float64(2.0)})
    """
    chosen = Argnums(argnums, argnames)

    def value_and_gradient(args: Any, kwargs: Any) -> Any:
        if has_aux:
            value, gradients, aux = watch(_gradients_and_aux, f, args, kwargs, chosen)
            return (value, aux), gradients
        return watch(_value_and_gradients, f, args, kwargs, chosen)

    return Transformed(value_and_grad, f, value_and_gradient, argnums=argnums, argnames=argnames, has_aux=has_aux)


def _value_and_gradients(f: Function, args: Any, kwargs: Any, chosen: Argnums) -> tuple[Any, Any]:
    return _pull_back(*_record(f, args, kwargs, chosen), chosen)


def _gradients_and_aux(f: Function, args: Any, kwargs: Any, chosen: Argnums) -> tuple[Any, Any, Any]:
    result = Result(has_aux=True, scalar=True)
    return *_pull_back(*_record(f, args, kwargs, chosen, result=result), chosen), result.aux


_REAL_SCALARS = {
    "": "Use wg.jacobian for a function that returns an array, or return a sum or mean.",
    "c": "Return its real part, its modulus or their like; wg.jacobian differentiates complex results.",
    "b": "What is counted, compared or rounded does not move with the argument: return a float that does.",
}
"""What to return instead, by the kind of a number; the first for an array."""


def _pull_back(trace: Trace, independents: Independents | None, chosen: Argnums) -> tuple[Any, Any]:
    linearization = Linearization.of_trace(trace)
    (value,), (position,) = linearization.values, linearization.outputs
    if value.shape != () or value.dtype.kind != "f":
        what = f"an array of shape {value.shape}" if value.shape else "a number"
        instead = _REAL_SCALARS.get("" if value.shape else value.dtype.kind, _REAL_SCALARS["b"])
        happened = f"{trace.name} returned {what} of dtype {value.dtype}, and a gradient is that of a real scalar:"
        raise ResultError.at_caller(happened, instead)
    seeds = {position: value.dtype.type(1.0)} if position >= 0 else {}
    bars = reverse(linearization, seeds)
    if trace.tape.decisions and any(bar is None for bar in bars):
        warn_of_decisions(trace)
    gradients = [of_its_own(bar, x) for bar, x in zip(bars, linearization.inputs, strict=True)]
    return value, _like_arguments(gradients, chosen, independents)


def _like_arguments(gradients: list[Any], chosen: Argnums, independents: Independents | None) -> Any:
    """Return an array for each independent variable in the structure of the chosen arguments."""
    if independents is None and chosen.single:
        return gradients[0]
    return chosen.pack(gradients if independents is None else independents.collect(gradients))


@overload
def grad(f: Callable[Concatenate[X, P], Any]) -> Transformed[Concatenate[X, P], X]: ...
@overload
def grad(
    f: Callable[P, Any], argnums: ArgnumsLike = None, *, argnames: Argnames = None, has_aux: bool = False
) -> Transformed[P, Any]: ...
def grad(
    f: Function, argnums: ArgnumsLike = None, *, argnames: Argnames = None, has_aux: bool = False
) -> Transformed[..., Any]:
    """Return a function that computes the gradient of `f`, in one reverse pass; see `value_and_grad`.

    Examples
    --------
    >>> import numpy as np, wengert as wg
    >>> wg.grad(lambda x: np.sum(np.sin(x)))(np.zeros(2))
    array([1., 1.])
    >>> float(wg.grad(wg.grad(lambda x: x**3))(2.0))
    12.0
    >>> wg.grad(lambda x, *, scale: scale * x**2, argnames="scale")(3.0, scale=1.0)
    np.float64(9.0)
    """
    chosen = Argnums(argnums, argnames)

    def gradient(args: Any, kwargs: Any) -> Any:
        if has_aux:
            return watch(_gradients_and_aux, f, args, kwargs, chosen)[1:]
        return watch(_value_and_gradients, f, args, kwargs, chosen)[1]

    return Transformed(grad, f, gradient, argnums=argnums, argnames=argnames, has_aux=has_aux)


@overload
def elementwise_grad(f: Callable[Concatenate[X, P], Any]) -> Transformed[Concatenate[X, P], X]: ...
@overload
def elementwise_grad(
    f: Callable[P, Any], argnums: ArgnumsLike = None, *, argnames: Argnames = None
) -> Transformed[P, Any]: ...
def elementwise_grad(f: Function, argnums: ArgnumsLike = None, *, argnames: Argnames = None) -> Transformed[..., Any]:
    """Return a function that computes the derivative of `f` for each element, where `f` acts on each by itself.

    It is the gradient of the sum of all results: where an element of the result depends on several elements of the
    argument, their derivatives add up.

    Examples
    --------
    >>> import numpy as np, wengert as wg
    >>> wg.elementwise_grad(np.tanh)(np.array([0.0, 1.0])).round(6)
    array([1.      , 0.419974])
    >>> f = wg.elementwise_grad(wg.elementwise_grad(lambda x: x**3))
    >>> f(np.array([1.0, 2.0]))
    array([ 6., 12.])
    """

    @functools.wraps(f)
    def total(*args: Any, **kwargs: Any) -> Any:
        return np.sum(f(*args, **kwargs))

    gradient = grad(total, argnums, argnames=argnames)
    return Transformed(elementwise_grad, f, gradient.compute, argnums=argnums, argnames=argnames)


def jvp(f: Function, primals: Sequence[Any], tangents: Sequence[Any], *, has_aux: bool = False) -> Any:
    """Compute `f` and the product of its Jacobian with a tangent, in one forward pass.

    Parameters
    ----------
    f
        A function of real numbers, arrays or trees of them.
    primals
        The point: a sequence of the function's arguments.
    tangents
        The direction: as many values, each of the structure and shapes of its argument.
    has_aux
        True if `f` returns a pair, of which only the first is differentiated.

    Returns
    -------
    tuple
        The value of `f`, and ``J @ tangent`` of the same structure and shapes; with `has_aux`, what `f` returned
        beside it as well.

    Raises
    ------
    ArgumentError
        If an argument is not a float or an array of them, or a tangent has another shape than its argument.

    Examples
    --------
    >>> import numpy as np, wengert as wg
    >>> y, y_dot = wg.jvp(np.sin, (0.0,), (2.0,))
    >>> float(y), float(y_dot)
    (0.0, 2.0)
    """
    y, push, *aux = _linear("jvp", f, primals, has_aux)
    return y, push(*tangents), *aux


def vjp(f: Function, *primals: Any, has_aux: bool = False) -> Any:
    """Compute `f`, and a function that multiplies an adjoint by its Jacobian, in one reverse pass each.

    Returns
    -------
    tuple
        The value of `f`, and a function of an adjoint (of the structure and shapes of the value) that returns a tuple
        of products ``adjoint @ J``, one for each argument and of its structure and shapes; with `has_aux`, `f` returns
        a pair, and what stands beside the value comes third.

    Examples
    --------
    >>> import numpy as np, wengert as wg
    >>> y, pull = wg.vjp(lambda a, b: a * b, 2.0, 3.0)
    >>> [float(bar) for bar in pull(1.0)]
    [3.0, 2.0]
    """
    y, push, *aux = _linear("vjp", f, primals, has_aux)
    return y, push.pull, *aux


def linearize(f: Function, *primals: Any, has_aux: bool = False) -> Any:
    """Compute `f` and its linearization at a point: a function of tangents, which can be transposed and printed.

    Returns
    -------
    tuple
        The value of `f`, and a `LinearMap`; with `has_aux`, `f` returns a pair, and what stands beside the value
        comes third.

    Examples
    --------
    >>> import numpy as np, wengert as wg
    >>> y, push = wg.linearize(lambda x: x * x, 3.0)
    >>> float(push(1.0)), float(push.T(1.0))
    (6.0, 6.0)
    >>> print(push.graph)
    du_1/du_0 = 6.0
    """
    return _linear("linearize", f, primals, has_aux)


class LinearMap(Portable):
    """The derivative of a function at a point: call it with tangents, or ``.T`` of it with an adjoint.

    It pickles with all that it needs; the function by its name, or, where it has none (a lambda), as a Program.
    """

    __slots__ = ("_alarms", "_function", "_independents", "_linearization", "_primals", "_result", "_unchanged")

    def __init__(
        self,
        function: Function,
        primals: Sequence[Any],
        linearization: Linearization,
        independents: Independents | None = None,
        result: Result | None = None,
        alarms: int = 0,
    ) -> None:
        self._function, self._primals, self._linearization = function, primals, linearization
        self._independents, self._result = independents, result or Result()
        self._unchanged: Unchanged | None = None
        self._alarms = alarms
        """What NumPy has reported while the function ran; a NaN passes through a sweep without another report."""

    def __getstate__(self) -> tuple[Any, ...]:
        function = self._function if is_global(self._function) else self._program()
        return function, self._primals, self._demand_unchanged(), self._independents, self._result, self._alarms

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def __call__(self, *tangents: Any) -> Any:
        linearization = self._demand_unchanged()
        if len(tangents) != len(self._primals):
            raise ArgumentError(
                f"{len(self._primals)} tangents are needed, one for each argument, not {len(tangents)}."
            )
        leaves = tangents if self._independents is None else self._independents.split(tangents, "tangent")
        seeds = {
            k: _seed(t, x, f"tangent {k}") for k, (t, x) in enumerate(zip(leaves, linearization.inputs, strict=True))
        }
        dots = watch(self._swept, forward, seeds)
        return self._result.pack(
            [
                of_its_own(dots[position] if position >= 0 else None, value)
                for position, value in zip(linearization.outputs, linearization.values, strict=True)
            ]
        )

    def _swept(self, sweep: Callable[..., list[Any]], seeds: dict[int, Any]) -> list[Any]:
        current_context().alarms += self._alarms
        return sweep(self._linearization, seeds)

    def _demand_unchanged(self) -> Linearization:
        """Return the linearization, if the user's large arrays that it reads are still as the function found them."""
        if self._unchanged is not None:
            self._unchanged.check(self._linearization.rows)
        return self._linearization

    def pull(self, adjoint: Any) -> tuple[Any, ...]:
        """Multiply an adjoint by the Jacobian from the left: one product for each argument."""
        linearization = self._demand_unchanged()
        leaves = self._result.split(adjoint, "the adjoint")
        adjoints = [_seed(g, value, "the adjoint") for g, value in zip(leaves, linearization.values, strict=True)]
        bars = watch(self._swept, reverse, by_position(linearization.outputs, adjoints))
        products = [of_its_own(bar, x) for bar, x in zip(bars, linearization.inputs, strict=True)]
        return tuple(products if self._independents is None else self._independents.collect(products))

    @property
    def T(self) -> Callable[[Any], Any]:
        """The transposed map: a function of an adjoint (of one argument: its product; of several: a tuple)."""

        return self._pull_one

    def _pull_one(self, adjoint: Any) -> Any:
        bars = self.pull(adjoint)
        return bars[0] if len(bars) == 1 else bars

    @property
    def graph(self) -> Graph:
        """The linearized graph: the local partial on every edge, line by line."""
        return write_graph(self._program(), self._primals)

    def _program(self) -> Program:
        if isinstance(self._function, Program):
            return self._function
        function: Function = (lambda *xs: self._function(*xs)[0]) if self._result.has_aux else self._function
        return trace(function)(*self._primals)

    def __repr__(self) -> str:
        n, m = dimension(self._linearization.inputs), dimension(self._linearization.values)
        return f"<LinearMap R^{n} -> R^{m}>"


@functools.cache
def _all_of(count: int) -> Argnums:
    """Choose all arguments of a function that is called with so many."""
    return Argnums(range(count), None)


def _linear(name: str, f: Function, primals: Sequence[Any], has_aux: bool) -> Any:
    """Compute a function and its LinearMap, for what users call by this name."""
    demand_function(f, name)
    if not isinstance(primals, (list, tuple)):
        raise ArgumentError.at_caller(
            "the primals and tangents of a jvp are sequences, one value for each argument:",
            "Write wg.jvp(f, (x,), (x_dot,)).",
        )
    result = Result(has_aux)

    def record() -> tuple[Trace, Independents | None, int]:
        return *_record(f, primals, {}, _all_of(len(primals)), False, True, result), current_context().alarms

    trace, independents, alarms = watch(record)
    linearization = Linearization.of_trace(trace)
    push = LinearMap(f, tuple(primals), linearization, independents, result, alarms)
    push._unchanged = trace.tape.unchanged
    if trace.tape.decisions:
        warn_of_decisions(trace)
    values = linearization.values
    if name != "jvp":  # the map outlives this call, and reads the values
        values = [y.copy("K") if type(y) is np.ndarray else y for y in values]
    y = result.pack(values)
    return (y, push, result.aux) if has_aux else (y, push)


def _seed(seed: Any, like: Any, what: str) -> Any:
    """Return a tangent or adjoint as an array of the dtype of its value; raise ArgumentError if it does not fit."""
    if not isinstance(seed, Traced):
        seed = np.asarray(seed)
    if seed.shape != like.shape:
        raise ArgumentError.at_caller(
            f"{what} has shape {seed.shape}, and {like.shape} is needed:",
            "Give it the shape of the value it belongs to.",
        )
    if seed.dtype.kind == "c" and like.dtype.kind != "c":
        raise ArgumentError.at_caller(
            f"{what} is complex, and the value it belongs to is real:",
            "Take its real and imaginary parts in turn: the derivative is linear.",
        )
    if not isinstance(seed, Traced):
        seed = seed.astype(like.dtype)[()]
    return seed


# ---- Jacobians and Hessians ----


class Jacobian(Transformed[P, Any]):
    """What `jacobian` returns: a function that computes a Jacobian, and can say beforehand in which order."""

    def plan(self, *args: Any, **kwargs: Any) -> Plan:
        """Return the plan of this Jacobian at a point, of what it runs with its options; see `wengert.plan`.

        >>> import numpy as np, wengert as wg
        >>> wg.jacobian(lambda x: np.sum(x**2)).plan(np.ones(3)).chosen
        'reverse'
        """
        return _planned(self, args, kwargs)


Jacobian.__doc__ = Documentation(Jacobian.__doc__ or "")  # type: ignore[assignment]


class Hessian(Transformed[P, Any]):
    """What `hessian` returns: a function that computes a Hessian, and can say beforehand in which order."""

    def plan(self, *args: Any, **kwargs: Any) -> Plan:
        """Return the plan of this Hessian at a point, of what it runs with its options; see `wengert.plan`.

        >>> import numpy as np, wengert as wg
        >>> plan = wg.hessian(lambda x: np.sum(x**4)).plan(np.ones(3))
        >>> plan.chosen, plan["star"].passes
        ('forward over reverse', 1)
        """
        return _planned(self, args, kwargs)


Hessian.__doc__ = Documentation(Hessian.__doc__ or "")  # type: ignore[assignment]


def _planned(derivative: Jacobian[...] | Hessian[...], args: Any, kwargs: Any, measure: bool = False) -> Plan:
    """Return the plan of a Jacobian, or of a Hessian as the Jacobian of a gradient."""
    options = derivative.options
    argnums, argnames, has_aux = (options[name] for name in ("argnums", "argnames", "has_aux"))
    is_hessian, f = isinstance(derivative, Hessian), derivative.function
    search = (options.get(name) for name in ("effort", "milliseconds", "convention"))
    request = Request.of(options["mode"], options["sparse"], is_hessian, *search)
    f = grad(f, argnums, argnames=argnames, has_aux=has_aux) if is_hessian else f
    first = 0 if argnums is None and argnames is None else argnums
    return watch(plan_at, f, args, kwargs, first, argnames, has_aux, request, measure)[2]  # type: ignore[no-any-return]


def jacobian(
    f: Callable[P, Any],
    argnums: ArgnumsLike = None,
    *,
    argnames: Argnames = None,
    has_aux: bool = False,
    mode: Mode | None = None,
    sparse: Any = "auto",
    effort: Literal["portfolio", "search"] | None = None,
    milliseconds: float | None = None,
    convention: Literal["all", "unit-free"] | None = None,
    executor: Executor | None = None,
) -> Jacobian[P]:
    """Return a function that computes the Jacobian of `f`, in the order that `plan` marks: the one of least operations.

    Parameters
    ----------
    f
        A function of real numbers, arrays or trees of them that returns a real array or a tree of arrays.
    argnums, argnames
        The positions and names of the arguments to differentiate with respect to; see `value_and_grad`.
    has_aux
        True if `f` returns a pair, of which only the first is differentiated.
    mode
        The candidate of the plan that is to run: ``"forward"`` (n passes), ``"reverse"`` (m passes), ``"elimination"``
        (straight-line code without a pass, of functions of up to a few thousand scalar lines), ``"waist"`` (a reverse
        and a forward pass for each number at the narrowest cut of the graph); or ``"column-compressed"``,
        ``"row-compressed"``, ``"bi-compressed"``, in which columns that no row has two of share a pass, or rows, or
        both.  None takes what `wengert.plan` chooses by its counts.
    sparse
        ``"auto"`` to compress passes where that halves them, and saves more than it takes to find the pattern; the
        result is an array, but a SciPy ``csr_array`` with a warning where passes are compressed and the array would
        take more than 1 GiB, or a quarter of the memory.  True for compressed passes and a ``csr_array`` whatever the
        size, with a row for each element of the result and a column for each of the argument.  False for an array
        whatever the size, and passes over all of it.  Or the pattern itself, a SciPy sparse array or an array whose
        zeros are those of every Jacobian: as True, and checked at each call by a product with a random direction
        (under `jit`, when it is traced).
    effort, milliseconds, convention
        How much to plan; see `plan`.  With ``mode="elimination"``, how long to search for an order.
    executor
        Who runs the passes, in blocks of seeds: anything in the shape of `concurrent.futures` (threads, processes,
        dask's ``client.get_executor()``, loky, MPI); None for this thread.  The result is the same to the last bit.
        What is recorded travels, once to each worker, and not `f`.  See ``docs/executors.md``.

    Returns
    -------
    callable
        Takes what `f` takes; returns an array whose shape is that of the result followed by that of the argument
        (a tuple of them if `argnums` is a sequence).  For trees it has the structure of the result, and in the place
        of each array the structure of the argument.  With `has_aux`, a pair: this, and what `f` returned beside it.
        Its method ``plan`` takes the same and returns the `Plan`.  For a complex argument of a real function it is
        the J of ``dy = Re(J @ dz)``, as for a gradient.

    Raises
    ------
    ArgumentError
        If an argument is not a float or an array of them, or the mode or effort is unknown.
    ResultError
        If `f` returns something else than an array or a number, or is complex, of complex numbers and not holomorphic.
    PatternError
        If the Jacobian has an entry that the pattern given lacks.
    UnsupportedError
        With ``mode="elimination"``, if `f` cannot be written in real scalars, or takes too many.

    Warns
    -----
    CompressionWarning
        If ``sparse=True`` saves no pass, or by ``sparse="auto"`` a sparse matrix is returned.

    Examples
    --------
    >>> import numpy as np, wengert as wg
    >>> wg.jacobian(lambda x: np.array([x[0] * x[1], np.sin(x[0])]))(np.array([0.0, 2.0]))
    array([[2., 0.],
           [1., 0.]])
    >>> J = wg.jacobian(lambda x: np.diff(x) ** 2, sparse=np.eye(3, 4) + np.eye(3, 4, 1))(np.arange(4.0) ** 2)
    >>> J.nnz, J.toarray()
    (6, array([[ -2.,   2.,   0.,   0.],
           [  0.,  -6.,   6.,   0.],
           [  0.,   0., -10.,  10.]]))
    """
    demand_function(f, "jacobian")
    request = Request.of(mode, sparse, False, effort, milliseconds, convention)
    if executor is not None and mode == "elimination":
        raise ArgumentError(
            "an elimination makes no passes that an executor could run:\nLeave out executor, or the mode."
        )
    demand_executor(executor)
    chosen = Argnums(argnums, argnames)

    def jacobians(args: Any, kwargs: Any) -> Any:
        J, aux = watch(_jacobians, f, args, kwargs, chosen, has_aux, request, executor)
        return (J, aux) if has_aux else J

    return Jacobian(
        jacobian, f, jacobians, argnums=argnums, argnames=argnames, has_aux=has_aux, mode=mode, sparse=sparse,
        effort=effort, milliseconds=milliseconds, convention=convention, executor=executor,
    )  # fmt: skip


def jacfwd(
    f: Callable[P, Any], argnums: ArgnumsLike = None, *, argnames: Argnames = None, has_aux: bool = False
) -> Jacobian[P]:
    """Return a function that computes the Jacobian of `f` by forward accumulation: `jacobian` with ``mode="forward"``.

    Examples
    --------
    >>> import numpy as np, wengert as wg
    >>> wg.jacfwd(lambda x: x * x)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """
    return jacobian(f, argnums, argnames=argnames, has_aux=has_aux, mode="forward")


def jacrev(
    f: Callable[P, Any], argnums: ArgnumsLike = None, *, argnames: Argnames = None, has_aux: bool = False
) -> Jacobian[P]:
    """Return a function that computes the Jacobian of `f` by reverse accumulation: `jacobian` with ``mode="reverse"``.

    Examples
    --------
    >>> import numpy as np, wengert as wg
    >>> wg.jacrev(lambda x: np.sum(x * x))(np.array([1.0, 2.0]))
    array([2., 4.])
    """
    return jacobian(f, argnums, argnames=argnames, has_aux=has_aux, mode="reverse")


_PRODUCTS = (
    (
        "the dense Jacobian",
        "Multiply with it instead: wg.jvp(f, (x,), (v,))[1] is J @ v, and wg.vjp(f, x)[1](g)[0] is g @ J. If most of "
        "its entries are zero, wg.jacobian(f, sparse=True)(x) is a sparse matrix; if each result depends on one "
        "element of x alone, wg.elementwise_grad(f)(x) is its diagonal.",
    ),
    (
        "the dense Hessian",
        "Multiply with it instead: wg.hvp(f)(x, v) is H @ v, which is what scipy.optimize.minimize takes as hessp. "
        "If most of its entries are zero, wg.hessian(f, sparse=True)(x) is a sparse matrix; its diagonal is "
        "wg.hessian_diagonal(f)(x).",
    ),
)
"""What is too large to be made, and the products to use instead: of a function, of a gradient."""


def _jacobians(
    f: Function,
    args: Any,
    kwargs: Any,
    chosen: Argnums,
    has_aux: bool,
    request: Request,
    executor: Executor | None,
) -> tuple[Any, Any]:
    """Compute a Jacobian, or a Hessian as that of a gradient, by the candidate that planning takes."""
    result = Result(has_aux)
    keep_all = request.needs_constants or request.records_decisions is True
    keep_all = keep_all or executor is not None  # workers evaluate the lines again
    trace, independents = _record(f, args, kwargs, chosen, keep_all, result=result, planned=request.is_planned)
    linearization = Linearization.of_trace(trace)
    if request.must_compress:
        demand_real_arguments(linearization)
    if trace.tape.decisions:
        if not request.symmetric:
            warn_of_decisions(trace)
        if not keep_all and is_searched(linearization, request):
            request.records_decisions = True
            result = Result(has_aux)
            trace, independents = _record(f, args, kwargs, chosen, True, result=result, planned=request.is_planned)
            linearization = Linearization.of_trace(trace)
    choice = choose(linearization, request)
    if isinstance(choice, Compressed):
        rows = _evaluate(choice, linearization, request, executor)
    else:
        check_memory(linearization, *_PRODUCTS[request.symmetric])
        rows = choice.accumulate(linearization, executor)
    return _pack(rows, chosen, independents, result), result.aux


def demand_real_arguments(linearization: Linearization) -> None:
    """Raise ArgumentError if compressed passes are asked for, and an argument is complex."""
    if any(x.dtype.kind == "c" for x in linearization.inputs):
        raise ArgumentError.at_caller(
            "a sparse Jacobian is one of real arguments, and an argument is complex:",
            "Pass its real and imaginary parts, lambda a, b: f(a + 1j * b) with argnums=(0, 1); or leave out sparse.",
        )


def _evaluate(
    choice: Compressed, linearization: Linearization, request: Request, executor: Executor | None
) -> list[list[Any]]:
    """Compute a matrix in compressed passes; return its blocks, arrays or sparse matrices as the request has it."""
    if request.sparse is False:
        check_memory(linearization, *_PRODUCTS[request.symmetric])
    J = choice.compression.evaluate(linearization, executor)
    if request.is_given:
        check_entries(J, linearization)
    elif choice.is_new:
        check_found(J, linearization)
    if request.sparse is False:
        return as_dense(J, linearization)
    if request.is_auto:
        if fits_comfortably(linearization):
            return as_dense(J, linearization)
        warn_of_sparse_result(linearization)
    elif request.sparse is True:
        warn_if_dense(choice.compression)
    return split(J, linearization)


def _pack(rows: Sequence[Sequence[Any]], chosen: Argnums, independents: Independents | None, result: Result) -> Any:
    """Return blocks in the structure of the result, and in the place of each array in that of the arguments."""
    return result.pack([chosen.pack(row if independents is None else independents.collect(row)) for row in rows])


def hessian(
    f: Callable[P, Any],
    argnums: ArgnumsLike = None,
    *,
    argnames: Argnames = None,
    has_aux: bool = False,
    mode: HessianMode | None = None,
    sparse: Any = "auto",
    executor: Executor | None = None,
) -> Hessian[P]:
    """Return a function that computes the Hessian of `f`: passes over its gradient, in the order that `plan` marks.

    Parameters
    ----------
    f, argnums, argnames, has_aux
        As for `value_and_grad`.
    mode
        The candidate of the plan that is to run: ``"forward over reverse"`` (a pass an independent variable),
        ``"reverse over reverse"``, ``"elimination"``; or, compressed, ``"star"``, ``"acyclic"`` (entries are solved
        for, in fewer passes), ``"column-compressed"``.  None takes what the plan chooses by its counts.
    sparse
        As for `jacobian`: ``"auto"``, True, False, or the pattern, of which a triangle is enough.  Each entry is read
        once of the two times that it is there, so that fewer passes do.
    executor
        As for `jacobian`.

    Returns
    -------
    callable
        Takes what `f` takes; returns an array of shape ``x.shape + x.shape`` (a tuple of tuples of blocks if `argnums`
        is a sequence); for a tree, a tree of trees of blocks.  With `has_aux`, `f` returns a pair, and so does this.
        Its method ``plan`` takes the same and returns the `Plan`.

    Examples
    --------
    >>> import numpy as np, wengert as wg
    >>> wg.hessian(lambda x: x[0] ** 2 * x[1])(np.array([1.0, 3.0]))
    array([[6., 2.],
           [2., 0.]])
    """
    demand_function(f, "hessian")
    request = Request.of(mode, sparse, True)
    demand_executor(executor)
    gradient = grad(f, argnums, argnames=argnames, has_aux=has_aux)
    chosen = Argnums(argnums, argnames)

    def hessians(args: Any, kwargs: Any) -> Any:
        H, aux = watch(_jacobians, gradient, args, kwargs, chosen, has_aux, request, executor)
        return (H, aux) if has_aux else H

    return Hessian(
        hessian, f, hessians, argnums=argnums, argnames=argnames, has_aux=has_aux, mode=mode, sparse=sparse,
        executor=executor,
    )  # fmt: skip


def hvp(f: Function) -> Transformed[..., Any]:
    """Return a function of a point and a direction that multiplies the Hessian of `f` by it: forward over reverse.

    Returns
    -------
    callable
        Takes ``(x, v, *args, **kwargs)``, as SciPy's ``hessp``: `v` of the structure and shapes of `x`, and what else
        `f` takes after `x`; returns ``H(x) @ v``, of these too.

    Examples
    --------
    >>> import numpy as np, wengert as wg
    >>> wg.hvp(lambda x: np.sum(x**3))(np.array([1.0, 2.0]), np.array([1.0, 0.0]))
    array([6., 0.])
    >>> float(wg.hvp(lambda x, a: a * x**2)(1.0, 3.0, 2.0))
    12.0
    """
    demand_function(f, "hvp")
    gradient = grad(f)

    def product(x: Any, v: Any, *args: Any, **kwargs: Any) -> Any:
        if not (args or kwargs):
            return jvp(gradient, (x,), (v,))[1]
        return jvp(functools.wraps(f)(lambda x: gradient(x, *args, **kwargs)), (x,), (v,))[1]

    result: Transformed[..., Any] = Transformed(hvp, f, lambda args, kwargs: product(*args, **kwargs))
    functools.update_wrapper(result, product, ())  # whose signature it has
    return result


def gauss_newton(residual: Function, loss: Function | None = None) -> Transformed[..., Any]:
    """Return a function of a point and a direction that multiplies the Gauss-Newton matrix of a residual by it.

    The matrix is ``J.T @ J`` for the cost ``0.5 * sum(residual(x) ** 2)``, J being the Jacobian of the residual: the
    Hessian without what second derivatives of the residual contribute.  With a loss it is ``J.T @ H @ J``, H being the
    Hessian of the loss (Schraudolph, *Fast curvature matrix-vector products*, Neural Computation 14, 2002); it has no
    negative eigenvalue where the loss is convex.  A product takes a forward and a reverse pass over the residual, and
    with a loss a Hessian-vector product of that.

    Parameters
    ----------
    residual
        A function of real numbers, arrays or trees of them that returns a real array or a tree of arrays.
    loss
        A function of what `residual` returns that returns a real scalar; None for half the sum of squares.

    Returns
    -------
    callable
        Takes ``(x, v, *args, **kwargs)`` as `hvp` does, and as SciPy's ``hessp``: `v` of the structure and shapes of
        `x`, and what else `residual` takes after `x`; returns the product, of these too.

    Examples
    --------
    >>> import numpy as np, wengert as wg
    >>> x, v = np.array([1.0, 2.0]), np.array([1.0, 0.0])
    >>> residual = lambda x: np.array([x[0] * x[1] - 1, x[0] ** 2, x[1]])
    >>> J = wg.jacobian(residual)(x)
    >>> wg.gauss_newton(residual)(x, v), J.T @ (J @ v)
    (array([8., 2.]), array([8., 2.]))
    >>> wg.gauss_newton(residual, lambda r: np.sum(r**4))(x, v)
    array([96., 24.])
    """
    demand_function(residual, "gauss_newton")
    if loss is not None:
        demand_function(loss, "gauss_newton")

    def product(x: Any, v: Any, *args: Any, **kwargs: Any) -> Any:
        of_x = functools.wraps(residual)(lambda x: residual(x, *args, **kwargs)) if args or kwargs else residual
        y, push = linearize(of_x, x)
        y_dot = push(v)
        return push.T(y_dot if loss is None else hvp(loss)(y, y_dot))

    result: Transformed[..., Any] = Transformed(
        gauss_newton, residual, lambda args, kwargs: product(*args, **kwargs), loss=loss
    )
    functools.update_wrapper(result, product, ())  # whose signature it has
    return result


def hessian_diagonal(
    f: Function, argnums: ArgnumsLike = None, *, argnames: Argnames = None, has_aux: bool = False, sparse: bool = True
) -> Transformed[..., Any]:
    """Return a function that computes the diagonal of the Hessian of `f`, exactly.

    Variables of which no two interact share a product with the Hessian, and each reads its own entry there: for a chain
    or a five-point stencil two products are enough, however many variables there are.  Where every two may interact,
    there is a product for each variable.

    Parameters
    ----------
    f, argnums, argnames, has_aux
        As for `value_and_grad`.
    sparse
        False to leave the pattern of the Hessian alone, and to take a product for each variable.

    Returns
    -------
    callable
        Takes what `f` takes; returns the diagonal in the structure of the argument, as a gradient.

    Warns
    -----
    CompressionWarning
        If no two variables share a product, and there are hundreds of them.

    Examples
    --------
    >>> import numpy as np, wengert as wg
    >>> wg.hessian_diagonal(lambda x: np.sum(x[1:] ** 3 * x[:-1]))(np.array([1.0, 2.0, 3.0]))
    array([ 0., 12., 36.])
    """
    demand_function(f, "hessian_diagonal")
    chosen = Argnums(argnums, argnames)
    gradient = grad(f, argnums, argnames=argnames, has_aux=has_aux)

    def diagonals(args: Any, kwargs: Any) -> Any:
        parts, independents, aux = watch(_hessian_diagonal, gradient, args, kwargs, chosen, has_aux, sparse)
        diagonal = _like_arguments(parts, chosen, independents)
        return (diagonal, aux) if has_aux else diagonal

    return Transformed(
        hessian_diagonal, f, diagonals, argnums=argnums, argnames=argnames, has_aux=has_aux, sparse=sparse
    )


def laplacian(
    f: Function, argnums: ArgnumsLike = None, *, argnames: Argnames = None, has_aux: bool = False, sparse: bool = True
) -> Transformed[..., Any]:
    """Return a function that computes the Laplacian of `f`, the trace of its Hessian, exactly; see `hessian_diagonal`.

    Examples
    --------
    >>> import numpy as np, wengert as wg
    >>> wg.laplacian(lambda x: np.sum(x**2) * x[0])(np.array([1.0, 2.0, 3.0]))
    np.float64(10.0)
    """
    demand_function(f, "laplacian")
    chosen = Argnums(argnums, argnames)
    gradient = grad(f, argnums, argnames=argnames, has_aux=has_aux)

    def trace_of_hessian(args: Any, kwargs: Any) -> Any:
        parts, _, aux = watch(_hessian_diagonal, gradient, args, kwargs, chosen, has_aux, sparse)
        total = functools.reduce(np.add, [np.sum(part) for part in parts])
        return (total, aux) if has_aux else total

    return Transformed(
        laplacian, f, trace_of_hessian, argnums=argnums, argnames=argnames, has_aux=has_aux, sparse=sparse
    )


def _hessian_diagonal(
    gradient: Function, args: Any, kwargs: Any, chosen: Argnums, has_aux: bool, sparse: bool
) -> tuple[list[Any], Independents | None, Any]:
    """Compute the diagonal of the Hessian: an array for each independent variable."""
    result = Result(has_aux)
    trace, independents = _record(gradient, args, kwargs, chosen, keep_all=sparse, result=result)
    linearization = Linearization.of_trace(trace)
    inputs = linearization.inputs
    if any(x.dtype.kind == "c" for x in inputs):
        raise ArgumentError.at_caller(
            "the diagonal of a Hessian is one of real arguments, and an argument is complex:",
            "Pass its real and imaginary parts, lambda a, b: f(a + 1j * b) with argnums=(0, 1).",
        )
    compression = choose_diagonal(linearization, sparse)
    if sparse:
        warn_of_products(compression)
    diagonal = compression.evaluate(linearization)
    ends = np.cumsum([x.size for x in inputs]).tolist()
    parts = [diagonal[end - x.size : end].reshape(x.shape) for x, end in zip(inputs, ends, strict=True)]
    return [of_its_own(part, x) for part, x in zip(parts, inputs, strict=True)], independents, result.aux


# ---- Sparsity ----


def jacobian_sparsity(
    f: Function, argnums: ArgnumsLike = None, *, argnames: Argnames = None, has_aux: bool = False, local: bool = False
) -> Transformed[..., Any]:
    """Return a function that finds where the Jacobian of `f` may have entries, from one run of `f`.

    Parameters
    ----------
    f, argnums, argnames, has_aux
        As for `jacobian`.
    local
        False for a pattern that holds for all inputs of these shapes: both branches of ``where`` and ``wg.cond``, any
        element that a maximum, a sort or a computed index may choose, any number of steps of ``wg.while_loop``.  True
        for one that holds for this input alone, and is often sparser.

    Returns
    -------
    callable
        Takes what `f` takes; returns a SciPy ``csr_array`` of booleans with a row for each element of the result and a
        column for each of the argument; for trees and several arguments, these in the form that `jacobian` has, and
        with `has_aux` a pair as there.
        It never lacks an entry, and may have one that is always zero (``x - x``).

    Warns
    -----
    DecisionWarning
        If `f` decided by the argument's values in Python (``if x > 0``): only the branch that was taken is seen.

    Examples
    --------
    >>> import numpy as np, scipy.sparse, wengert as wg
    >>> pattern = wg.jacobian_sparsity(lambda x: x[1:] ** 2 - x[:-1])(np.zeros(4))
    >>> pattern.toarray().astype(int)
    array([[1, 1, 0, 0],
           [0, 1, 1, 0],
           [0, 0, 1, 1]])

    It is saved and loaded as SciPy's arrays are, and `spy` draws it:

    >>> import io
    >>> file = io.BytesIO()
    >>> scipy.sparse.save_npz(file, pattern)
    >>> _ = file.seek(0)
    >>> print(wg.spy(scipy.sparse.csr_array(scipy.sparse.load_npz(file))))
    3 x 4, 6 entries, 50 %
    ⠙⠦
    """
    chosen = Argnums(argnums, argnames)

    def patterns(args: Any, kwargs: Any) -> Any:
        return watch(_patterns, f, args, kwargs, chosen, has_aux, local, False)

    return Transformed(jacobian_sparsity, f, patterns, argnums=argnums, argnames=argnames, has_aux=has_aux, local=local)


def hessian_sparsity(
    f: Function, argnums: ArgnumsLike = None, *, argnames: Argnames = None, has_aux: bool = False, local: bool = False
) -> Transformed[..., Any]:
    """Return a function that finds where the Hessian of `f` may have entries: the pattern of its gradient's Jacobian.

    It takes the same and warns of the same as `jacobian_sparsity`, and returns a symmetric pattern; for several
    arguments and trees, blocks in the form that `hessian` has.

    Examples
    --------
    >>> import numpy as np, wengert as wg
    >>> rosenbrock = lambda x: np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)
    >>> wg.hessian_sparsity(rosenbrock)(np.zeros(4)).toarray().astype(int)
    array([[1, 1, 0, 0],
           [1, 1, 1, 0],
           [0, 1, 1, 1],
           [0, 0, 1, 1]])
    """
    demand_function(f, "hessian_sparsity")
    gradient = grad(f, argnums, argnames=argnames, has_aux=has_aux)
    chosen = Argnums(argnums, argnames)

    def patterns(args: Any, kwargs: Any) -> Any:
        return watch(_patterns, gradient, args, kwargs, chosen, has_aux, local, True)

    return Transformed(hessian_sparsity, f, patterns, argnums=argnums, argnames=argnames, has_aux=has_aux, local=local)


def _patterns(f: Function, args: Any, kwargs: Any, chosen: Argnums, has_aux: bool, local: bool, symmetric: bool) -> Any:
    result = Result(has_aux)
    trace, independents = _record(f, args, kwargs, chosen, keep_all=True, result=result)
    if not local:
        warn_of_guards(trace)
    blocks = pattern_of(Linearization.of_trace(trace), local)
    if symmetric:
        blocks = symmetrized(blocks)
    packed = _pack(blocks, chosen, independents, result)
    return (packed, result.aux) if has_aux else packed


# ---- Programs ----


def trace(f: Callable[P, Any], argnums: ArgnumsLike = None, *, fold: bool = True) -> Transformed[P, Program]:
    """Return a function that runs `f` and returns its Program: the Wengert list of what it did.

    Parameters
    ----------
    f
        A function of real numbers, arrays or trees of them.
    argnums
        The positions of the independent variables; None for every argument that is a real number or array, and every
        such leaf of one that is a tree.
    fold
        False to leave the lines of a long Python loop as they are, one after the other; else they are folded into a
        loop (`wengert.control.rerolling`).

    Returns
    -------
    callable
        Takes what `f` takes; returns a `Program`.  Where `f` computes on scalars only, an array argument is laid out
        in one variable for each element.  The leaves of a tree are arguments of their own, named by their paths;
        the Program is called with trees, or with the leaves.

    Examples
    --------
    >>> import numpy as np, wengert as wg
    >>> print(wg.trace(lambda a, b: np.exp(a) / b)(1.0, 2.0).listing(places=False))
    a = u_{-1}, b = u_0
    u_1 = exp(u_{-1})
    u_2 = u_1 / u_0    = y
    """

    def tracer(args: Any, kwargs: Any) -> Program:
        return watch(trace_at, f, args, kwargs, argnums, fold)[0]  # type: ignore[no-any-return]

    return Transformed(trace, f, tracer, argnums=argnums, fold=fold)


def _argnums_of(args: Sequence[Any], argnums: ArgnumsLike, argnames: Argnames = None) -> Argnums:
    """Choose the independent variables of a Program: if none are named, all arguments and leaves that are real."""
    if argnums is None and argnames is None:
        return Argnums(_positions(None, args), None, real_only=True)
    return Argnums(argnums, argnames)


def linearize_all(f: Function, args: Sequence[Any], kwargs: Any, argnums: ArgnumsLike) -> Linearization:
    """Linearize a function at a point, of the arguments that `trace` takes, with the values of all lines."""
    recorded, _ = _record(f, args, kwargs, _argnums_of(args, argnums), keep_all=True, result=Result())
    return Linearization.of_trace(recorded)


def trace_at(
    f: Function, args: Sequence[Any], kwargs: Any, argnums: ArgnumsLike, fold: bool = True
) -> tuple[Program, list[Any]]:
    """Trace a function at a point; return its Program and the values of its independent variables there."""
    chosen, result = _argnums_of(args, argnums), Result()
    recorded, independents = _record(f, args, kwargs, chosen, True, True, result)
    point, program = _point(recorded), recorded.program()
    del recorded  # and with it the values of every line
    program = _as_printed(program, point, fold)
    return _with_trees(program, args, kwargs, chosen, independents, result), point


def plan_at(
    f: Function,
    args: Sequence[Any],
    kwargs: Any,
    argnums: ArgnumsLike,
    argnames: Argnames = None,
    has_aux: bool = False,
    request: Request | None = None,
    measure: bool = False,
) -> tuple[Program, list[Any], Plan]:
    """Trace a function at a point as `trace_at` does; return the plan of its Jacobian as well."""
    chosen, result = _argnums_of(args, argnums, argnames), Result(has_aux)
    recorded, independents = _record(f, args, kwargs, chosen, True, True, result)
    point = _point(recorded)
    program = _as_printed(recorded.program(), point)
    plan = plan_trace(Linearization.of_trace(recorded), program, request or Request.of(), measure)
    plan = dataclasses.replace(plan, notes=(*folded_of(program), *plan.notes))
    return _with_trees(program, args, kwargs, chosen, independents, result), point, plan


def _point(recorded: Trace) -> list[Any]:
    return [part._value for group in recorded.arguments for part in group.parts]


def _as_printed(program: Program, point: Sequence[Any], fold: bool = True) -> Program:
    """Fold the lines of long Python loops, or write a Program of scalars in scalar lines."""
    folded = reroll(program, point) if fold else program
    return scalarize(program, *point) if folded is program and is_scalar(program) else folded


def _with_trees(
    program: Program,
    args: Sequence[Any],
    kwargs: Any,
    chosen: Argnums,
    independents: Independents | None,
    result: Result,
) -> Program:
    """Return a Program that takes and returns trees, where its function does."""
    if independents is None and result.structure is None:
        return program
    independents = independents or Independents(args, kwargs, _positions(chosen.argnums, args))
    return dataclasses.replace(program, trees=ProgramTrees(independents, result))


def plan(
    f: Callable[P, Any],
    argnums: ArgnumsLike = None,
    *,
    argnames: Argnames = None,
    has_aux: bool = False,
    mode: Mode | HessianMode | None = None,
    sparse: Any = "auto",
    effort: Literal["portfolio", "search"] | None = None,
    milliseconds: float | None = None,
    convention: Literal["all", "unit-free"] | None = None,
    measure: bool = False,
) -> Transformed[P, Plan]:
    """Return a function that counts what the Jacobian of `f` costs in each order, and says which is chosen and why.

    Parameters
    ----------
    f
        A function of real numbers, arrays or trees of them.  Of ``wg.jacobian(g)`` and ``wg.hessian(g)`` it is this
        derivative that is planned, with the options it has.
    argnums
        The positions of the independent variables; None for every argument that is a real number or array, and every
        such leaf of one that is a tree.
    argnames
        The names of the independent variables; see `value_and_grad`.
    has_aux
        True if `f` returns a pair, of which only the first is differentiated.
    mode, sparse
        As of the `jacobian` that is planned.  Compressed passes are listed wherever they halve the passes at least.
    effort
        None to compare forward and reverse; ``"portfolio"`` to compare elimination with them, in several orders by
        rule; ``"search"`` to search for an order of elimination as well.
    milliseconds
        How long to search, a second if it is not given.
    convention
        How the products of an elimination are counted where its order is chosen: ``"all"``, ``"unit-free"`` (those by
        1 and -1 are free), or None for both and the additions.
    measure
        True to run the best two candidates and to mark the one that takes less time.  Without it nothing is timed for
        the choice, which rests on counts and is the same on every machine.

    Returns
    -------
    callable
        Takes what `f` takes; returns a `Plan`, which prints as a table, and is a mapping from the name of an order to
        its counts.  They are of scalar operations, exact, and include the function itself.  The time is predicted, by a
        model of this machine.  What it marks is what `jacobian` runs.

    Examples
    --------
    >>> import numpy as np, wengert as wg
    >>> x = np.array([0.5, 2.0, 3.0])
    >>> f = lambda x: np.array([x[0] * (x[1] - x[2]), x[2] * np.log(1 - x[0])])
    >>> print(wg.plan(f)(x).listing(seconds=False))
    f: R^3 -> R^2, 5 lines; 2 multiplications, 2 additions, 1 log
    8 edges: forward 3 x 8 = 24 products, reverse 2 x 8 = 16
             passes  products  mult  add  calls  total     bytes
    ───────────────────────────────────────────────────────────────────────
    reverse       2        16    12    6      1     24  72 bytes  <- chosen
    forward       3        24    17   11      1     36  48 bytes
    reverse: 2 passes instead of 3; 33 % fewer operations (24 against 36)
    Counted: operations on scalars, of function, partials and all passes; products by 1 free, by minus 1 a sign
    """
    if isinstance(f, (Jacobian, Hessian)):
        if (
            any(option is not None for option in (argnums, argnames, mode, effort))
            or has_aux
            or not isinstance(sparse, str)
        ):
            raise ArgumentError.at_caller(
                "the plan of a Jacobian or Hessian has the options that this has:",
                f"Write them there: wg.plan(wg.{f.transformation.__name__}(f, mode=...))(x).",
            )
        return Transformed(plan, f, lambda args, kwargs: _planned(f, args, kwargs, measure), measure=measure)
    request = Request.of(mode, sparse, False, effort, milliseconds, convention)

    def planner(args: Any, kwargs: Any) -> Plan:
        return watch(plan_at, f, args, kwargs, argnums, argnames, has_aux, request, measure)[2]  # type: ignore[no-any-return]

    return Transformed(
        plan, f, planner, argnums=argnums, argnames=argnames, has_aux=has_aux, mode=mode, sparse=sparse, effort=effort,
        milliseconds=milliseconds, convention=convention, measure=measure,
    )  # fmt: skip
