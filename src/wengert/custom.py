"""User-defined derivatives: `custom_derivative` and `stop_gradient`.

The user gives one rule, in any of three forms, and both modes follow from it:

- the *local partial* (a diagonal, or the full Jacobian) serves both modes, as that of any primitive;
- a *forward* rule is linear in the tangent: traced as a function of the tangent and swept in reverse, it is transposed;
- a *reverse* rule is linear in the adjoint, and is transposed in the same way.

The function is one line of the list, ``u_3 = f(u_2)``.  Rules are plain NumPy, so higher derivatives follow by tracing
them; the seeds of a block go through a rule one by one.
"""

from __future__ import annotations

import functools
import inspect
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from wengert import trees
from wengert.accumulation.sweeps import reverse
from wengert.errors import ArgumentError, LostGradientError, ShapeError, UnsupportedError
from wengert.jacobians import Dense, Diagonal, LocalJacobian
from wengert.linearization import Linearization
from wengert.program import Primitive, Recordable, as_value
from wengert.tracing import all_constant, at_place, current_context, holds_traced, innermost, join, plain, run
from wengert.transformations import demand_function, demand_picklable, demand_positions, is_global

Array = Any
Rule = Callable[..., Any]


# ---- Stopping ----


def _stop_primitive() -> Primitive:
    return _stop


_stop = Primitive(
    "stop_gradient",
    lambda x: np.array(x)[()],
    (None,),
    elementwise=False,
    source=lambda args, _params: f"np.copy({args[0]})",
    counts=lambda *_args, **_params: {},
    home=(_stop_primitive,),
)


def stop_gradient(x: Any) -> Any:
    """Return a value (or a tree of them) as a constant: its derivative is zero in every mode and order.

    Examples
    --------
    >>> import numpy as np, wengert as wg
    >>> float(wg.grad(lambda x: x * wg.stop_gradient(x))(3.0))
    3.0
    """
    return _stop_leaf(x) if isinstance(x, (Recordable, *_NUMBERS)) else trees.map_leaves(_stop_leaf, x)


_NUMBERS = (np.ndarray, np.generic, float, int)


def _stop_leaf(leaf: Any) -> Any:
    if holds_traced(leaf):
        leaf = _stop(join(leaf))
    elif not isinstance(leaf, _NUMBERS):
        return leaf
    return leaf if _replays.current is None else _replays.current.value_for(leaf)


class Replay:
    """Evaluates a function time and again with the values that `stop_gradient` returned in the first evaluation.

    So differences of the function leave out what its derivative leaves out.

    >>> replay = Replay()
    >>> [float(replay(lambda x: x * stop_gradient(x), x)) for x in (3.0, 3.5)]
    [9.0, 10.5]
    """

    __slots__ = ("_remaining", "values")

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._remaining: Iterator[Any] | None = None  # None in the first evaluation

    def __call__(self, f: Callable[..., Any], *args: Any) -> Any:
        outer, _replays.current = _replays.current, self
        try:
            return f(*args)
        finally:
            _replays.current, self._remaining = outer, iter(self.values)

    def value_for(self, stopped: Any) -> Any:
        """Return the value of the first evaluation that stood where this one stands."""
        if self._remaining is not None:
            return np.array(next(self._remaining, stopped))[()]
        self.values.append(np.array(innermost(stopped)))
        return stopped


class _Replays(threading.local):
    current: Replay | None = None


_replays = _Replays()


# ---- Giving ----


class custom_derivative:  # noqa: N801 - a decorator
    """Define the derivative of a function: a decorator, and then a rule in one of three forms.

    Parameters
    ----------
    f
        The function, of arrays or trees of them; it runs on plain values only, so it may use code that cannot be
        traced.
    nondiff_argnums
        The positions of arguments that rules take first and that have no derivative.  (Arguments that are no real
        numbers or arrays, strings and integers say, have none anyway.)

    Raises
    ------
    UnsupportedError
        If it is called on a traced value before a rule was given.
    ShapeError
        If a rule returns something of another shape than it must have.

    Examples
    --------
    The local partial, a function of the result and the arguments:

    >>> import math
    >>> import numpy as np, wengert as wg
    >>> @wg.custom_derivative
    ... def erf(x):
    ...     return math.erf(x)
    >>> erf.def_partial(lambda y, x: 2 / np.sqrt(np.pi) * np.exp(-x * x))
    >>> round(float(wg.grad(erf)(0.5)), 6), round(float(wg.grad(wg.grad(erf))(0.5)), 6)
    (0.878783, -0.878783)

    A forward rule, of the primals and their tangents; the reverse mode follows:

    >>> @wg.custom_derivative
    ... def log1pexp(x):
    ...     return np.log(1 + np.exp(x))
    >>> @log1pexp.defjvp
    ... def rule(primals, tangents):
    ...     (x,), (x_dot,) = primals, tangents
    ...     return log1pexp(x), x_dot * (1 - 1 / (1 + np.exp(x)))
    >>> float(wg.grad(log1pexp)(0.0))
    0.5

    A reverse rule: the function with its residuals, then the adjoints of the arguments; the forward mode follows:

    >>> @wg.custom_derivative
    ... def clipped(x):
    ...     return x
    >>> clipped.defvjp(lambda x: (x, None), lambda kept, y_bar: (np.clip(y_bar, -1, 1),))
    >>> float(wg.grad(lambda x: 5 * clipped(x))(1.0))
    1.0
    """

    def __init__(self, f: Callable[..., Any], nondiff_argnums: int | Sequence[int] = ()) -> None:
        demand_function(f, "custom_derivative")
        demand_positions(nondiff_argnums, "nondiff_argnums")
        self.f = f
        self.nondiff = (nondiff_argnums,) if isinstance(nondiff_argnums, int) else tuple(nondiff_argnums)
        self.name = getattr(f, "__name__", "f")
        self.rules: _Rules | None = None
        try:
            self._signature: inspect.Signature | None = inspect.signature(f)
        except (TypeError, ValueError):
            self._signature = None
        self._primitive = Primitive(
            self.name,
            _compute,
            (_partial,),
            elementwise=False,
            variadic=True,
            formula_rule=False,
            source=lambda args, _params: f"{self.name}({', '.join(args)})",
            home=(_primitive_of, self),
        )
        functools.update_wrapper(self, f)

    def __reduce__(self) -> str | tuple[Any, ...]:
        if is_global(self):  # a decorated function of a module
            return self.__qualname__  # type: ignore[no-any-return,attr-defined]
        demand_picklable(self.f, repr(self))
        return custom_derivative, (self.f, self.nondiff), {"rules": self.rules}

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __repr__(self) -> str:
        return f"<custom_derivative {self.name}>"

    def def_partial(self, *partials: Rule | None) -> None:
        """Set the local partial for each argument: functions of the result and the arguments, None for zero.

        A partial is an array of the result's shape (the factor of each element's tangent), or the full Jacobian, of the
        result's shape followed by the argument's, or a `LocalJacobian`.
        """
        self.rules = _Partials(self, partials)

    def defjvp(self, rule: Rule) -> Rule:
        """Set a forward rule: ``rule(primals, tangents)`` returns the result and its tangent, linear in the tangents.

        Both are tuples, one entry for each argument and of its structure; the tangent of an argument that is
        no real array is None.  Can be used as a decorator.
        """
        self._give(_Forward(self, rule))
        return rule

    def defvjp(self, forward: Rule, backward: Rule) -> None:
        """Set a reverse rule, in two parts.

        ``forward(*args)`` returns the result and its residuals; ``backward(residuals, y_bar)`` returns a tuple of the
        adjoints of the arguments (None for zero), linear in ``y_bar``.
        """
        self._give(_Reverse(self, forward, backward))

    def _give(self, rules: _Forward | _Reverse) -> None:
        """Store a rule; a forward and a reverse rule are kept side by side, each for its own mode."""
        first = self.rules
        if isinstance(first, _Forward) and isinstance(rules, _Reverse):
            self.rules = _Both(first, rules)
        elif isinstance(first, _Reverse) and isinstance(rules, _Forward):
            self.rules = _Both(rules, first)
        else:
            self.rules = rules

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._signature is not None:
            bound = self._signature.bind(*args, **kwargs)
            bound.apply_defaults()
            args, kwargs = bound.args, bound.kwargs
        leaves, structure = trees.flatten((args, kwargs))
        leaves = [join(leaf) if not isinstance(leaf, Recordable) and holds_traced(leaf) else leaf for leaf in leaves]
        if not any(isinstance(leaf, Recordable) for leaf in leaves):
            return self.f(*args, **kwargs)
        if self.rules is None:
            raise UnsupportedError.at_caller(
                f"{self.name} has no derivative yet:",
                f"Give it one by {self.name}.def_partial, {self.name}.defjvp or {self.name}.defvjp.",
            )
        call = _Call(self, structure, leaves)
        operands = [leaves[k] for k in call.moving]

        def write() -> Any:
            return call.unpack(self._primitive(*operands, call=call))

        return at_place(write)


def _primitive_of(custom: custom_derivative) -> Primitive:
    return custom._primitive


class _Call:
    """The static part of one call: tree structures, and the arguments that are not differentiated."""

    __slots__ = ("custom", "kept", "moving", "nondiff", "out_shapes", "out_structure", "static", "structure")

    def __init__(self, custom: custom_derivative, structure: Any, leaves: Sequence[Any]) -> None:
        self.custom, self.structure = custom, structure
        self.moving = tuple(k for k, leaf in enumerate(leaves) if _moves(leaf))
        self.static = tuple(None if k in self.moving else leaf for k, leaf in enumerate(leaves))
        args, _ = trees.unflatten(structure, range(len(leaves)))
        self.nondiff = frozenset(k for n in custom.nondiff for k in trees.flatten(args[n])[0])
        self.out_structure: Any = None
        self.out_shapes: list[tuple[tuple[int, ...], Any]] | None = None
        self.kept: tuple[tuple[Any, ...], Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        state = {name: getattr(self, name) for name in self.__slots__}
        out = None if self.out_structure is None else (trees.skeleton(self.out_structure),)
        return {**state, "kept": None, "structure": trees.skeleton(self.structure), "out_structure": out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        self.structure = trees.flatten(self.structure)[1]
        self.out_structure = None if self.out_structure is None else trees.flatten(*self.out_structure)[1]

    def __eq__(self, other: object) -> bool:
        """Return whether only the operands of two calls differ, so that they may share derivative programs."""
        if not isinstance(other, _Call) or other.custom is not self.custom or other.moving != self.moving:
            return False
        pairs = zip(self.static, other.static, strict=True)
        return bool(self.structure == other.structure) and all(
            a is b or (type(a) is type(b) and isinstance(a, (int, str)) and a == b) for a, b in pairs
        )

    def __hash__(self) -> int:
        return hash((id(self.custom), self.structure, self.moving))

    def arguments(self, operands: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of the function, with the operands of the line in their places."""
        leaves = list(self.static)
        for k, operand in zip(self.moving, operands, strict=True):
            leaves[k] = operand
        args, kwargs = trees.unflatten(self.structure, leaves)
        return args, kwargs

    def argument_of(self, k: int) -> int | None:
        """Return the position of the argument that the k-th operand of the line belongs to; None for a keyword."""
        args, _ = trees.unflatten(self.structure, range(len(self.static)))
        return next((n for n, arg in enumerate(args) if self.moving[k] in trees.flatten(arg)[0]), None)

    def spread(self, values: Sequence[Any]) -> tuple[Any, ...]:
        """Return the differentiable positional arguments, with `values` in the places of the operands."""
        leaves: list[Any] = [None] * len(self.static)
        for k, value in zip(self.moving, values, strict=True):
            leaves[k] = value
        args, _ = trees.unflatten(self.structure, leaves)
        return tuple(a for k, a in enumerate(args) if k not in self.custom.nondiff)

    def split(self, args: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """Split the arguments into those that are not differentiated, which rules take first, and the others."""
        first = self.custom.nondiff
        return [args[k] for k in first], [a for k, a in enumerate(args) if k not in first]

    def pack(self, y: Any) -> Any:
        """Return a result as one array: itself, or its leaves end to end."""
        if self.out_shapes is None:
            return as_value(y)
        leaves = trees.flatten_as(self.out_structure, y, f"what the rule of {self.custom.name} returned")
        for leaf, (shape, _) in zip(leaves, self.out_shapes, strict=True):
            if np.shape(leaf) != shape:
                raise _wrong(self, "result", np.shape(leaf), shape)
        return np.concatenate([np.ravel(leaf) for leaf in leaves])

    def unpack(self, y: Any) -> Any:
        """Return the result (or its tangent or adjoint) in the form in which the function returns it."""
        if self.out_shapes is None:
            return y
        leaves, start = [], 0
        for shape, dtype in self.out_shapes:
            part = y[start] if shape == () else y[start : start + math.prod(shape)].reshape(shape)
            leaves.append(part if part.dtype == dtype else part.astype(dtype))
            start += math.prod(shape)
        return trees.unflatten(self.out_structure, leaves)


def _moves(leaf: Any) -> bool:
    return isinstance(leaf, (Recordable, np.ndarray, np.generic, float, complex)) and getattr(
        getattr(leaf, "dtype", None), "kind", "f"
    ) in "biufc"  # fmt: skip


def _wrong(call: _Call, kind: str, shape: Any, expected: Any) -> ShapeError:
    return ShapeError.at_caller(
        f"the rule of {call.custom.name} gives a {kind} of shape {shape}, and {expected} is needed:",
        "A tangent has the shape of its result, an adjoint that of its argument; a partial that of the result, "
        "or that followed by the argument's.",
    )


# ---- The primitive ----


def _compute(*operands: Any, call: _Call) -> Any:
    """Compute the function on plain values."""
    args, kwargs = call.arguments(operands)
    rules = call.custom.rules
    assert rules is not None
    context = current_context()
    tapes = context.tapes[:]
    try:
        del context.tapes[:]  # no trace may record the arrays that it makes
        y = rules.value(call, operands, args, kwargs)
    finally:
        context.tapes[:] = tapes
    if isinstance(y, (Recordable, np.ndarray, np.generic, float, int)):
        return _untraced(call, y)
    leaves, call.out_structure = trees.flatten(y)
    leaves = [_untraced(call, leaf) for leaf in leaves]
    call.out_shapes = [(np.shape(leaf), leaf.dtype) for leaf in leaves]
    return np.concatenate([np.ravel(leaf) for leaf in leaves])


def _untraced(call: _Call, y: Any) -> Any:
    """Return a result as a plain value; raise LostGradientError if it was computed from traced values."""
    if not all_constant(join(y) if holds_traced(y) else y):
        raise LostGradientError.at_caller(
            f"{call.custom.name} computes with a traced value that is not among its arguments:",
            "Pass it as an argument, so that the rule can give its derivative.",
        )
    return as_value(plain(y))


def _partial(k: int, y: Any, *operands: Any, call: _Call) -> LocalJacobian | None:
    """Return the local Jacobian for the k-th operand."""
    if call.moving[k] in call.nondiff or operands[k].dtype.kind not in "fc":
        return None
    rules = call.custom.rules
    assert rules is not None
    return rules.jacobian(call, k, y, operands)


_last = threading.local()


def _shared(J: _Linear, g: Any, work: Callable[[], Any]) -> Any:
    """Return the result of `work` for one operand of a line; it is computed once for all operands of the line."""
    real = [k for k, x in enumerate(J._operands) if as_value(x).dtype.kind in "fc"]
    if len(real) == 1:
        return work()
    key = (J._call, g, *J._operands)
    last = getattr(_last, "entry", None)
    same = last is not None and len(last[0]) == len(key) and all(a is b for a, b in zip(last[0], key, strict=True))
    result = last[1] if last is not None and same else work()
    _last.entry = None if J._k == real[-1] else (key, result)
    return result


class _Rules:
    """The rules that define the derivative of a function."""

    def __init__(self, custom: custom_derivative) -> None:
        self.custom = custom

    def value(self, call: _Call, operands: Sequence[Any], args: Any, kwargs: Any) -> Any:
        """Compute the function."""
        return self.custom.f(*args, **kwargs)

    def jacobian(self, call: _Call, k: int, y: Any, operands: Sequence[Any]) -> LocalJacobian | None:
        """Return the local Jacobian for the k-th operand."""
        raise NotImplementedError


class _Partials(_Rules):
    """Rules given as local partials."""

    def __init__(self, custom: custom_derivative, partials: Sequence[Rule | None]) -> None:
        super().__init__(custom)
        self.partials = partials

    def jacobian(self, call: _Call, k: int, y: Any, operands: Sequence[Any]) -> LocalJacobian | None:
        args, kwargs = call.arguments(operands)
        position = call.argument_of(k)
        if position is None or position >= len(self.partials):
            raise UnsupportedError(
                f"{self.custom.name} was given {len(self.partials)} partials, and it is differentiated with respect to "
                f"argument {position}.\n"
                f"Give {self.custom.name}.def_partial one for each argument, None where it is zero."
            )
        rule = self.partials[position]
        if rule is None:
            return None
        x = operands[k]
        c = rule(call.unpack(y), *args, **kwargs)
        if isinstance(c, LocalJacobian):
            return c
        shape = np.shape(c)
        if shape == y.shape + x.shape and x.shape:
            size = (math.prod(y.shape), math.prod(x.shape))
            return Dense(np.reshape(c, size), x.shape, y.shape)
        if _broadcasts(shape, y.shape) and _broadcasts(x.shape, y.shape):
            return Diagonal(c if hasattr(c, "dtype") else as_value(c), x.shape, y.shape)
        raise _wrong(call, "partial", shape, f"{y.shape} or {y.shape + x.shape}")


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    try:
        return np.broadcast_shapes(shape, to) == to
    except ValueError:
        return False


class _Linear(LocalJacobian):
    """A local Jacobian with one action by the user's rule, and the other by its transpose."""

    __slots__ = ("_call", "_k", "_operands", "_rules", "_y")

    def __init__(
        self, rules: _Forward | _Reverse | _Both, call: _Call, k: int, y: Any, operands: Sequence[Any]
    ) -> None:
        self._rules, self._call, self._k, self._y, self._operands = rules, call, k, y, tuple(operands)
        self.in_shape, self.out_shape = operands[k].shape, y.shape

    def push(self, t: Array, batch: int = 0) -> Array:
        return _each(lambda one, batch: self._rules.push(self, one, batch), t, batch, self._rules.pushes_blocks)

    def pull(self, g: Array, batch: int = 0) -> Array:
        return _each(lambda one, batch: self._rules.pull(self, one, batch), g, batch, self._rules.pulls_blocks)

    def formula(self, operand: str) -> str:
        return f"D{self._call.custom.name}^T({operand})"

    def checked(self, value: Any, shape: tuple[int, ...], kind: str) -> Any:
        """Return the result of a rule as an array; raise ShapeError if it does not have the given shape."""
        value = as_value(value)
        if value.shape != shape:
            raise _wrong(self._call, kind, value.shape, shape)
        return value


def _each(work: Callable[[Any, int], Any], block: Array, batch: int, takes_blocks: bool) -> Array:
    """Apply `work` to a block of seeds at once, or to one seed after the other, and stack the results."""
    if not batch or takes_blocks:
        return work(block, batch)
    if len(block) == 0:
        one = work(np.zeros(block.shape[1:], block.dtype), batch - 1)
        return np.zeros((0, *one.shape), one.dtype)
    return np.stack([work(block[k], batch - 1) for k in range(len(block))])


def _transposed(linear: Callable[..., Any], zeros: Sequence[Any]) -> Linearization:
    """Linearize a linear function; a reverse sweep over it is its transpose."""
    return Linearization.of_trace(run(linear, zeros, {}, range(len(zeros)), False))


class _Forward(_Rules):
    """A forward rule; it is transposed for the reverse mode."""

    pushes_blocks, pulls_blocks = False, True

    def __init__(self, custom: custom_derivative, rule: Rule) -> None:
        super().__init__(custom)
        self.rule = rule

    def jacobian(self, call: _Call, k: int, y: Any, operands: Sequence[Any]) -> LocalJacobian:
        return _Linear(self, call, k, y, operands)

    def tangent(self, J: _Linear, tangents: Sequence[Any]) -> Any:
        """Run the rule; return the tangent of the result as one array."""
        call = J._call
        args, kwargs = call.arguments(J._operands)
        first, primals = call.split(args)
        returned = self.rule(*first, tuple(primals), call.spread(tangents), **kwargs)
        if not isinstance(returned, (tuple, list)) or len(returned) != 2:
            raise ArgumentError(
                f"the forward rule of {self.custom.name} must return a pair: the result, and its tangent."
            )
        packed = J.checked(call.pack(returned[1]), J.out_shape, "tangent")
        return packed if packed.dtype == J._y.dtype else packed.astype(J._y.dtype)

    def _zeros(self, J: _Linear) -> list[Any]:
        return [np.zeros(x.shape, x.dtype)[()] if (x := as_value(v)).dtype.kind in "fc" else None for v in J._operands]

    def push(self, J: _Linear, t: Array, batch: int) -> Array:
        tangents = self._zeros(J)
        tangents[J._k] = t
        return self.tangent(J, tangents)

    def pull(self, J: _Linear, g: Array, batch: int) -> Array:
        zeros = self._zeros(J)
        real = [k for k, zero in enumerate(zeros) if zero is not None]

        def linear(*tangents: Any) -> Any:
            all_tangents: list[Any] = list(zeros)
            for k, t in zip(real, tangents, strict=True):
                all_tangents[k] = t
            return self.tangent(J, all_tangents)

        def pull() -> list[Any]:
            try:
                linearization = _transposed(linear, [zeros[k] for k in real])
                (position,) = linearization.outputs
                return reverse(linearization, {position: g} if position >= 0 else {}, batch)
            except RecursionError:
                raise UnsupportedError(
                    f"the forward rule of {self.custom.name} applies {self.custom.name} to a tangent, "
                    "so it cannot be transposed.\nGive a reverse rule as well, by defvjp."
                ) from None

        bar = _shared(J, g, pull)[real.index(J._k)]
        return np.zeros(g.shape[:batch] + J.in_shape, J._y.dtype)[()] if bar is None else bar


class _Reverse(_Rules):
    """A reverse rule; it is transposed for the forward mode."""

    pushes_blocks, pulls_blocks = True, False

    def __init__(self, custom: custom_derivative, forward: Rule, backward: Rule) -> None:
        super().__init__(custom)
        self.forward, self.backward = forward, backward

    def value(self, call: _Call, operands: Sequence[Any], args: Any, kwargs: Any) -> Any:
        y, kept = self._run(args, kwargs)
        call.kept = (tuple(operands), kept)
        return y

    def _run(self, args: Any, kwargs: Any) -> tuple[Any, Any]:
        returned = self.forward(*args, **kwargs)
        if not isinstance(returned, tuple) or len(returned) != 2:
            raise ArgumentError(
                f"the first part of the reverse rule of {self.custom.name} must return a pair: "
                "the result, and what to keep."
            )
        return returned

    def jacobian(self, call: _Call, k: int, y: Any, operands: Sequence[Any]) -> LocalJacobian:
        return _Linear(self, call, k, y, operands)

    def adjoints(self, J: _Linear, g: Any) -> list[Any]:
        """Run the rule; return an adjoint for each operand, None for zero."""
        call = J._call
        args, kwargs = call.arguments(J._operands)
        last = call.kept  # the operands of the last evaluation, and its residuals
        if last is not None and all(a is b for a, b in zip(last[0], J._operands, strict=True)):
            kept = last[1]
        else:
            kept = self._run(args, kwargs)[1]
        first, rest = call.split(args)
        bars = self.backward(*first, kept, call.unpack(g))
        if not isinstance(bars, (tuple, list)):
            bars = (bars,)
        if len(bars) != len(rest):
            raise ArgumentError(
                f"the reverse rule of {self.custom.name} must return a tuple of {len(rest)} adjoints, "
                f"one for each argument (None for zero), not {len(bars)}."
            )
        places, _ = trees.unflatten(call.structure, range(len(call.static)))
        places = [p for n, p in enumerate(places) if n not in self.custom.nondiff]
        bar_of: dict[int, Any] = {}
        for place, bar in zip(places, bars, strict=True):
            leaves, structure = trees.flatten(place)
            if bar is not None and leaves:
                bar_of.update(
                    zip(
                        leaves,
                        trees.flatten_as(structure, bar, f"the adjoint that {self.custom.name}'s rule gives"),
                        strict=True,
                    )
                )
        result = []
        for k, x in zip(call.moving, J._operands, strict=True):
            bar, x = bar_of.get(k), as_value(x)
            if bar is not None and x.dtype.kind in "fc":
                bar = J.checked(bar, x.shape, "adjoint")
                bar = bar if bar.dtype == x.dtype else bar.astype(x.dtype)
            result.append(bar if x.dtype.kind in "fc" else None)
        return result

    def pull(self, J: _Linear, g: Array, batch: int) -> Array:
        bar = _shared(J, g, lambda: self.adjoints(J, g))[J._k]
        return np.zeros(J.in_shape, J._operands[J._k].dtype)[()] if bar is None else bar

    def push(self, J: _Linear, t: Array, batch: int) -> Array:
        x = J._operands[J._k]

        def linear(g: Any) -> Any:
            bar = self.adjoints(J, g)[J._k]
            return np.zeros(x.shape, x.dtype)[()] if bar is None else bar

        linearization = _transposed(linear, [np.zeros(J.out_shape, J._y.dtype)[()]])
        (position,) = linearization.outputs
        (y_dot,) = reverse(linearization, {position: t} if position >= 0 else {}, batch)
        return np.zeros(t.shape[:batch] + J.out_shape, J._y.dtype)[()] if y_dot is None else y_dot


class _Both(_Rules):
    """A forward and a reverse rule."""

    pushes_blocks, pulls_blocks = False, False

    def __init__(self, forward: _Forward, backward: _Reverse) -> None:
        super().__init__(forward.custom)
        self.forward, self.backward = forward, backward
        self.value = backward.value  # type: ignore[method-assign]  # it keeps the residuals of the reverse rule
        self.push, self.pull = forward.push, backward.pull

    def jacobian(self, call: _Call, k: int, y: Any, operands: Sequence[Any]) -> LocalJacobian:
        return _Linear(self, call, k, y, operands)
