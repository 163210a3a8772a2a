"""What users call: the only module that chains the stages.

Names and the order of arguments are those of JAX and SciPy.  ``grad``, ``jacobian``, ``hessian``, ``hvp``, ``trace``
take a function and return one; ``jvp``, ``vjp`` and ``linearize`` take a function and a point.  All of them nest.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.accumulation.sweeps import forward, identity, reverse
from wengert.errors import ArgumentError, ResultError, caller, explain_at
from wengert.linearization import Linearization, write_graph
from wengert.planning import Plan, choose, plan_program
from wengert.program import Program
from wengert.scalarization import is_scalar, scalarize
from wengert.tracing import Trace, Traced, run, watch

Array = Any
Function = Callable[..., Any]
Argnums = int | Sequence[int] | None


# ---- Arguments ----


def _independent(value: Any, position: int, copy: bool = False) -> Any:
    """Return an argument in the form in which it is traced, or raise ArgumentError saying what to pass instead."""
    kind = type(value)
    if kind is float:
        return np.float64(value)
    if kind is np.float64:
        return value
    if kind is Traced:
        dtype = value.dtype
    elif isinstance(value, (np.ndarray, np.generic)):
        dtype = value.dtype
    else:
        dtype = None
    if dtype is not None and dtype.kind == "f":
        if kind is np.ndarray:
            return value[()] if value.ndim == 0 else value.copy() if copy else value
        return value
    if isinstance(value, (int, np.integer)) or (dtype is not None and dtype.kind in "biu"):
        what = f"is of integer dtype ({value!r})" if np.ndim(value) == 0 else f"is an array of {dtype}"
        instead = f"Pass {float(value)!r}" if np.ndim(value) == 0 else "Pass x.astype(float)"
        raise ArgumentError(
            explain_at(caller(), f"argument {position} {what}, and derivatives need real numbers:", f"{instead}.")
        )
    if kind is complex or (dtype is not None and dtype.kind == "c"):
        raise ArgumentError(
            explain_at(
                caller(),
                f"argument {position} is complex, and derivatives with respect to complex numbers are not supported yet:",
                "Pass the real and imaginary parts as two real arguments.",
            )
        )
    instead = "Pass np.array(...) of it, with dtype float" if isinstance(value, (list, tuple)) else "Pass a float or a NumPy array"
    what = "None" if value is None else f"a {kind.__name__}"
    raise ArgumentError(
        explain_at(caller(), f"argument {position} is {what}, not a number or an array:", f"{instead}.")
    )


def _positions(argnums: Argnums, args: Sequence[Any]) -> tuple[int, ...]:
    """Return the positions of the independent arguments; with None, all that are real numbers or arrays of them."""
    if argnums is None:
        found = tuple(k for k, a in enumerate(args) if isinstance(a, float) or getattr(getattr(a, "dtype", None), "kind", "") == "f")
        if found:
            return found
        argnums = 0
    positions = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    for k in positions:
        if not -len(args) <= k < len(args):
            raise ArgumentError(
                explain_at(
                    caller(),
                    f"argnums names argument {k}, and the function is called with {len(args)} positional arguments:",
                    "Pass the arguments to differentiate by position, and count them from 0.",
                )
            )
    return tuple(k % len(args) for k in positions)


def _record(f: Function, args: Sequence[Any], kwargs: Any, positions: Sequence[int], keep_all: bool = False, copy: bool = False) -> Trace:
    replaced = list(args)
    for k in positions:
        replaced[k] = _independent(args[k], k, copy)
    return run(f, replaced, kwargs, positions, keep_all)


def _like(bar: Any, value: Any) -> Any:
    """Return an accumulated derivative as an array of its own, of the shape and dtype of the value it belongs to."""
    if bar is None:
        return np.zeros(value.shape, value.dtype)[()]
    if bar.dtype != value.dtype:
        bar = bar.astype(value.dtype)
    if type(bar) is np.ndarray:
        if bar.ndim == 0:
            return bar[()]
        if not (bar.flags.owndata and bar.flags.writeable):
            return bar.copy()
    return bar


# ---- First derivatives ----


def value_and_grad(f: Function, argnums: int | Sequence[int] = 0) -> Function:
    """Return a function that computes `f` and its gradient, in one reverse pass.

    Parameters
    ----------
    f
        A function of real numbers or arrays that returns a real scalar.
    argnums
        The positions of the arguments to differentiate with respect to.

    Returns
    -------
    callable
        Takes what `f` takes; returns the value (scalar) and the gradient, which has the shape and dtype of the
        argument; a tuple of gradients if `argnums` is a sequence.

    Raises
    ------
    ArgumentError
        If an argument is not a float or an array of them.
    ResultError
        If `f` does not return a real scalar.

    Examples
    --------
    >>> import numpy as np, wengert as wg
    >>> value, gradient = wg.value_and_grad(lambda x: np.sum(x**2))(np.array([1.0, 2.0]))
    >>> float(value), gradient
    (5.0, array([2., 4.]))
    """
    single = isinstance(argnums, int)

    @functools.wraps(f)
    def value_and_gradient(*args: Any, **kwargs: Any) -> Any:
        value, gradients = watch(_value_and_gradients, f, args, kwargs, argnums)
        return value, gradients[0] if single else gradients

    return value_and_gradient


def _value_and_gradients(f: Function, args: Any, kwargs: Any, argnums: Argnums) -> tuple[Any, tuple[Any, ...]]:
    trace = _record(f, args, kwargs, _positions(argnums, args))
    linearization = Linearization.of_trace(trace)
    (value,), (position,) = linearization.values, linearization.outputs
    if value.shape != () or value.dtype.kind != "f":
        raise ResultError(
            explain_at(
                caller(),
                f"{trace.name} returned an array of shape {value.shape} and dtype {value.dtype}, "
                "and a gradient is that of a real scalar:",
                "Use wg.jacobian for a function that returns an array, or return a sum or mean.",
            )
        )
    seeds = {position: value.dtype.type(1.0)} if position >= 0 else {}
    bars = reverse(linearization, seeds)
    return value, tuple([_like(bar, x) for bar, x in zip(bars, linearization.inputs, strict=True)])


def grad(f: Function, argnums: int | Sequence[int] = 0) -> Function:
    """Return a function that computes the gradient of `f`, in one reverse pass; see `value_and_grad`.

    Examples
    --------
    >>> import numpy as np, wengert as wg
    >>> wg.grad(lambda x: np.sum(np.sin(x)))(np.zeros(2))
    array([1., 1.])
    >>> float(wg.grad(wg.grad(lambda x: x**3))(2.0))
    12.0
    """
    single = isinstance(argnums, int)

    @functools.wraps(f)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        gradients = watch(_value_and_gradients, f, args, kwargs, argnums)[1]
        return gradients[0] if single else gradients

    return gradient


def jvp(f: Function, primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Array, Array]:
    """Compute `f` and the product of its Jacobian with a tangent, in one forward pass.

    Parameters
    ----------
    f
        A function of real numbers or arrays.
    primals
        The point: a sequence of the function's arguments.
    tangents
        The direction: as many values, each of the shape of its argument.

    Returns
    -------
    tuple
        The value of `f`, and ``J @ tangent`` of the same shape.

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
    y, push = _linear(f, primals)
    return y, push(*tangents)


def vjp(f: Function, *primals: Any) -> tuple[Array, Callable[[Array], tuple[Array, ...]]]:
    """Compute `f`, and a function that multiplies an adjoint by its Jacobian, in one reverse pass each.

    Returns
    -------
    tuple
        The value of `f`, and a function of an adjoint (of the shape of the value) that returns a tuple of products
        ``adjoint @ J``, one for each argument and of its shape.

    Examples
    --------
    >>> import numpy as np, wengert as wg
    >>> y, pull = wg.vjp(lambda a, b: a * b, 2.0, 3.0)
    >>> [float(bar) for bar in pull(1.0)]
    [3.0, 2.0]
    """
    y, push = _linear(f, primals)
    return y, push.pull


def linearize(f: Function, *primals: Any) -> tuple[Array, LinearMap]:
    """Compute `f` and its linearization at a point: a function of tangents, which can be transposed and printed.

    Returns
    -------
    tuple
        The value of `f`, and a `LinearMap`.

    Examples
    --------
    >>> import numpy as np, wengert as wg
    >>> y, push = wg.linearize(lambda x: x * x, 3.0)
    >>> float(push(1.0)), float(push.T(1.0))
    (6.0, 6.0)
    >>> print(push.graph)
    du_1/du_0 = 6.0
    """
    return _linear(f, primals)


class LinearMap:
    """The derivative of a function at a point: call it with tangents, or ``.T`` of it with an adjoint."""

    __slots__ = ("_function", "_linearization", "_primals")

    def __init__(self, function: Function, primals: Sequence[Any], linearization: Linearization) -> None:
        self._function, self._primals, self._linearization = function, primals, linearization

    def __call__(self, *tangents: Any) -> Array:
        linearization = self._linearization
        if len(tangents) != len(linearization.inputs):
            raise ArgumentError(f"{len(linearization.inputs)} tangents are needed, one for each argument, not {len(tangents)}.")
        seeds = {k: _seed(t, x, f"tangent {k}") for k, (t, x) in enumerate(zip(tangents, linearization.inputs, strict=True))}
        dots = watch(forward, linearization, seeds)
        (position,), (value,) = linearization.outputs, linearization.values
        return _like(dots[position] if position >= 0 else None, value)

    def pull(self, adjoint: Any) -> tuple[Array, ...]:
        """Multiply an adjoint by the Jacobian from the left: one product for each argument."""
        linearization = self._linearization
        (position,), (value,) = linearization.outputs, linearization.values
        seed = _seed(adjoint, value, "the adjoint")
        bars = watch(reverse, linearization, {position: seed} if position >= 0 else {})
        return tuple(_like(bar, x) for bar, x in zip(bars, linearization.inputs, strict=True))

    @property
    def T(self) -> Callable[[Any], Any]:
        """The transposed map: a function of an adjoint (of one argument: its product; of several: a tuple)."""

        def transposed(adjoint: Any) -> Any:
            bars = self.pull(adjoint)
            return bars[0] if len(bars) == 1 else bars

        return transposed

    @property
    def graph(self) -> str:
        """The linearized graph: the local partial on every edge, line by line."""
        return write_graph(trace(self._function)(*self._primals), self._primals)

    def __repr__(self) -> str:
        n = sum(x.size for x in self._linearization.inputs)
        return f"<LinearMap R^{n} -> R^{self._linearization.values[0].size}>"


def _linear(f: Function, primals: Sequence[Any]) -> tuple[Array, LinearMap]:
    if not isinstance(primals, (list, tuple)):
        raise ArgumentError(explain_at(caller(), "the primals and tangents of a jvp are sequences, one value for each argument:", "Write wg.jvp(f, (x,), (x_dot,))."))
    trace = watch(_record, f, primals, {}, range(len(primals)), False, True)
    linearization = Linearization.of_trace(trace)
    return linearization.values[0], LinearMap(f, tuple(primals), linearization)


def _seed(given: Any, like: Any, what: str) -> Any:
    seed = given if isinstance(given, Traced) else np.asarray(given)
    if seed.shape != like.shape:
        raise ArgumentError(explain_at(caller(), f"{what} has shape {seed.shape}, and {like.shape} is needed:", "Give it the shape of the value it belongs to."))
    if not isinstance(seed, Traced):
        seed = seed.astype(like.dtype)[()]
    return seed


# ---- Jacobians and Hessians ----

MODES = ("forward", "reverse")
BLOCK_BYTES = 1 << 27
"""Seeds travel in blocks whose values together take about this much memory."""


def jacobian(f: Function, argnums: int | Sequence[int] = 0, *, mode: str | None = None) -> Function:
    """Return a function that computes the Jacobian of `f`, in the mode that costs less.

    Parameters
    ----------
    f
        A function of real numbers or arrays that returns a real array.
    argnums
        The positions of the arguments to differentiate with respect to.
    mode
        ``"forward"`` (n passes) or ``"reverse"`` (m passes); None lets `wengert.plan` choose by its counts.

    Returns
    -------
    callable
        Takes what `f` takes; returns an array whose shape is that of the result followed by that of the argument
        (a tuple of them if `argnums` is a sequence).

    Raises
    ------
    ArgumentError
        If an argument is not a float or an array of them, or the mode is unknown.
    ResultError
        If `f` returns something else than an array or a number.

    Examples
    --------
    >>> import numpy as np, wengert as wg
    >>> wg.jacobian(lambda x: np.array([x[0] * x[1], np.sin(x[0])]))(np.array([0.0, 2.0]))
    array([[2., 0.],
           [1., 0.]])
    """
    if mode is not None and mode not in MODES:
        raise ArgumentError(f"mode {mode!r} is unknown; the modes are {', '.join(map(repr, MODES))}, or None to let the plan choose.")
    single = isinstance(argnums, int)

    @functools.wraps(f)
    def jacobians(*args: Any, **kwargs: Any) -> Any:
        blocks = watch(_jacobians, f, args, kwargs, argnums, mode)
        return blocks[0] if single else tuple(blocks)

    return jacobians


def _jacobians(f: Function, args: Any, kwargs: Any, argnums: Argnums, mode: str | None) -> list[Array]:
    linearization = Linearization.of_trace(_record(f, args, kwargs, _positions(argnums, args)))
    return _accumulate(linearization, mode or choose(linearization))


def _accumulate(linearization: Linearization, mode: str) -> list[Array]:
    """Compute the Jacobian with respect to each input, in blocks of unit seeds."""
    (position,), (y,) = linearization.outputs, linearization.values
    xs = linearization.inputs
    if position < 0:
        return [np.zeros(y.shape + x.shape, np.result_type(y.dtype, x.dtype)) for x in xs]
    size = sum(row[2][0].size for row in linearization.rows) * y.dtype.itemsize
    step = max(1, BLOCK_BYTES // max(1, size))
    if mode == "forward":
        columns = []
        for k, x in enumerate(xs):
            parts = []
            for seeds in _blocks(x, step):
                dots = forward(linearization, {k: seeds}, batch=1)
                dot = dots[position]
                parts.append(np.zeros(seeds.shape[:1] + y.shape, y.dtype) if dot is None else dot)
            whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
            moved = np.moveaxis(whole, 0, -1).reshape(y.shape + x.shape)
            columns.append(_like(moved, moved))
        return columns
    collected: list[list[Any]] = [[] for _ in xs]
    for seeds in _blocks(y, step):
        bars = reverse(linearization, {position: seeds}, batch=1)
        for k, (bar, x) in enumerate(zip(bars, xs, strict=True)):
            collected[k].append(np.zeros(seeds.shape[:1] + x.shape, x.dtype) if bar is None else bar)
    rows = []
    for parts, x in zip(collected, xs, strict=True):
        whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
        shaped = whole.reshape(y.shape + x.shape)
        rows.append(_like(shaped, shaped))
    return rows


def _blocks(value: Any, step: int) -> Any:
    size = value.size
    if size <= step:
        yield identity(value.shape, value.dtype)
        return
    for start in range(0, size, step):
        stop = min(size, start + step)
        block = np.zeros((stop - start, size), value.dtype)
        block[np.arange(stop - start), np.arange(start, stop)] = 1
        yield block.reshape((stop - start, *value.shape))


def hessian(f: Function, argnums: int | Sequence[int] = 0) -> Function:
    """Return a function that computes the Hessian of `f`: forward over reverse, one pass an independent variable.

    Returns
    -------
    callable
        Takes what `f` takes; returns an array of shape ``x.shape + x.shape`` (a tuple of tuples of blocks if `argnums`
        is a sequence).

    Examples
    --------
    >>> import numpy as np, wengert as wg
    >>> wg.hessian(lambda x: x[0] ** 2 * x[1])(np.array([1.0, 3.0]))
    array([[6., 2.],
           [2., 0.]])
    """
    if isinstance(argnums, int):
        return jacobian(grad(f, argnums), argnums, mode="forward")
    chosen = tuple(argnums)

    @functools.wraps(f)
    def hessians(*args: Any, **kwargs: Any) -> Any:
        return tuple(jacobian(grad(f, k), chosen, mode="forward")(*args, **kwargs) for k in chosen)

    return hessians


def hvp(f: Function) -> Function:
    """Return a function of a point and a direction that multiplies the Hessian of `f` by it: forward over reverse.

    Returns
    -------
    callable
        Takes ``(x, v)``, `v` of the shape of `x`; returns ``H(x) @ v`` of that shape.

    Examples
    --------
    >>> import numpy as np, wengert as wg
    >>> wg.hvp(lambda x: np.sum(x**3))(np.array([1.0, 2.0]), np.array([1.0, 0.0]))
    array([6., 0.])
    """

    @functools.wraps(f)
    def product(x: Any, v: Any) -> Array:
        return jvp(grad(f), (x,), (v,))[1]

    return product


# ---- Programs ----


def trace(f: Function, argnums: Argnums = None) -> Callable[..., Program]:
    """Return a function that runs `f` and returns its Program: the Wengert list of what it did.

    Parameters
    ----------
    f
        A function of real numbers or arrays.
    argnums
        The positions of the independent variables; None for every argument that is a real number or array.

    Returns
    -------
    callable
        Takes what `f` takes; returns a `Program`.  Where `f` computes on scalars only, an array argument is laid out
        in one variable for each element.

    Examples
    --------
    >>> import numpy as np, wengert as wg
    >>> print(wg.trace(lambda a, b: np.exp(a) / b)(1.0, 2.0).listing(places=False))
    a = u_{-1}, b = u_0
    u_1 = exp(u_{-1})
    u_2 = u_1 / u_0    = y
    """

    @functools.wraps(f)
    def tracer(*args: Any, **kwargs: Any) -> Program:
        return watch(_trace, f, args, kwargs, argnums)  # type: ignore[no-any-return]

    return tracer


def _trace(f: Function, args: Any, kwargs: Any, argnums: Argnums) -> Program:
    return trace_at(f, args, kwargs, argnums)[0]


def trace_at(f: Function, args: Sequence[Any], kwargs: Any, argnums: Argnums) -> tuple[Program, list[Any]]:
    """Trace a function at a point; return its Program and the values of its independent variables there."""
    recorded = _record(f, args, kwargs, _positions(argnums, args), keep_all=True, copy=True)
    point = [part.value for group in recorded.arguments for part in group.parts]
    program = recorded.program()
    return (scalarize(program, *point) if is_scalar(program) else program), point


def plan(f: Function, argnums: Argnums = None) -> Callable[..., Plan]:
    """Return a function that counts what the Jacobian of `f` would cost in each mode, and says which is chosen and why.

    Parameters
    ----------
    f
        A function of real numbers or arrays.
    argnums
        The positions of the independent variables; None for every argument that is a real number or array.

    Returns
    -------
    callable
        Takes what `f` takes; returns a `Plan`, which prints as a table.  Counts are of scalar operations, exact, and
        include the function itself.

    Examples
    --------
    >>> import numpy as np, wengert as wg
    >>> x = np.array([0.5, 2.0, 3.0])
    >>> print(wg.plan(lambda x: np.array([x[0] * (x[1] - x[2]), x[2] * np.log(1 - x[0])]))(x))
    """

    @functools.wraps(f)
    def planner(*args: Any, **kwargs: Any) -> Plan:
        return watch(_plan, f, args, kwargs, argnums)  # type: ignore[no-any-return]

    return planner


def _plan(f: Function, args: Any, kwargs: Any, argnums: Argnums) -> Plan:
    return plan_program(*trace_at(f, args, kwargs, argnums))
