"""`vmap`: a function of one member, evaluated for all members of a batch at once.

The function is traced for the first member, with every decision on a value.  Then each line is evaluated for all
members together, by the *batching rule* of its primitive: operands of elementwise lines are broadcast against each
other, lines whose parameters count axes from the end take one more axis in front, and any other line is evaluated for
each member and the results are stacked, which is always right.

Members for which a decision differs leave the batch, and the first of them is traced anew: members are grouped by the
branch that they take.  Lines are evaluated by calling primitives, so on traced values all of this is recorded, and
derivatives of batches, batches of derivatives and batches of batches need no code of their own.

>>> import numpy as np, wengert as wg
>>> wg.vmap(lambda x: x * x if x > 0 else -x)(np.array([-2.0, 3.0]))
array([2., 9.])
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert import trees
from wengert.accumulation import holds_nan
from wengert.accumulation.dense import members_in_a_block
from wengert.arguments import Result
from wengert.batching.loops import MembersDiffer, all_members, several
from wengert.errors import ArgumentError, ResultError, ShapeError, caller
from wengert.executors import Executor, Shared, demand_executor, pool_of, run_blocks
from wengert.jacobians import take
from wengert.primitives.numpy import structural as s
from wengert.primitives.table import PRIMITIVES
from wengert.program import Guard, Line, Operand, Primitive, Program, Recordable, Var, as_value, interpret
from wengert.tracing import (
    Trace,
    current_context,
    holds_traced,
    innermost,
    join,
    means_more,
    parameter_names,
    refuse_kind,
    run,
    watch,
)
from wengert.transformations import Transformed, refuse, said

Shape = tuple[int, ...]
Axes = Any
PATIENCE = 8
"""Of members that may have another derivative alone, so many in turn are evaluated in vain."""
MOST_ALONE = 64
"""So many are evaluated alone at most."""


# ---- What users call ----


def vmap(
    f: Callable[..., Any], in_axes: Axes = 0, out_axes: Axes = 0, *, executor: Executor | None = None
) -> Callable[..., Any]:
    """Return a function that maps `f` over an axis of its arguments, and stacks what it returns.

    Parameters
    ----------
    f
        A function of the members of a batch: arrays or trees of them.  It is run once for each branch that members
        take, so random numbers that it draws, and hidden state, are the same for all members of a group.
    in_axes
        The axis of the arguments to map over: an integer, None for an argument that all members share, or a sequence
        with one of these (or a tree of them) for each argument.  Keyword arguments are mapped over their first axis.
    out_axes
        Where the axis of the members goes in the result: an integer, None for what is the same for all members, or a
        tree of these.
    executor
        Who evaluates the members, in blocks of them: anything in the shape of `concurrent.futures`; see `jacobian`.

    Returns
    -------
    callable
        Takes what `f` takes, with one more axis.

    Raises
    ------
    ArgumentError
        If `in_axes` does not fit the arguments, or these have different numbers of members.
    ShapeError
        If members return arrays of different shapes.

    Examples
    --------
    >>> import numpy as np, wengert as wg
    >>> wg.vmap(lambda x, y: x @ y, in_axes=(0, None))(np.eye(2), np.array([5.0, 7.0]))
    array([5., 7.])
    >>> wg.vmap(wg.grad(lambda x: x**2 if x > 0 else -x))(np.array([-1.0, 1.0, 3.0]))
    array([-1.,  2.,  6.])
    """

    for axes, name in ((in_axes, "in_axes"), (out_axes, "out_axes")):
        if isinstance(axes, (float, np.ndarray, np.inexact)):
            refuse(f"{name} is {said(axes)}, where an axis is needed, or a sequence of them")

    demand_executor(executor)

    def mapped(args: Any, kwargs: Any) -> Any:
        batch = _Batch(f, args, kwargs, in_axes)
        groups: list[tuple[np.ndarray[Any, Any], list[tuple[Any, bool]], Result]] = []
        remaining = np.arange(batch.size)
        while True:
            result = Result()
            trace = watch(batch.trace, int(remaining[0]) if batch.size else None, result)
            every = remaining.size == batch.size
            leaves = batch.leaves if every else batch.at(remaining)
            kept, results, infinite = watch(_evaluate_in_blocks, trace.program(), leaves, remaining.size, executor)
            if trace.tape.differentiates and not current_context().tapes and remaining.size:
                alone = functools.partial(batch.alone, remaining)
                kept, results = watch(_carefully, kept, results, infinite, alone)
            groups.append((remaining[kept], results, result))
            remaining = remaining[:0] if kept.size == remaining.size else np.delete(remaining, kept)
            if not remaining.size:
                return _collect(groups, batch, out_axes)

    return Transformed(vmap, f, mapped, in_axes=in_axes, out_axes=out_axes, executor=executor)


class _Batch:
    """The arguments of a call: the leaves that are mapped, with the members along the first axis, and the others."""

    def __init__(self, f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], in_axes: Axes) -> None:
        self.f = f
        if isinstance(in_axes, list):
            in_axes = tuple(in_axes)
        if isinstance(in_axes, tuple) and len(in_axes) != len(args):
            raise ArgumentError.at_caller(
                f"in_axes has {len(in_axes)} entries, and the function is called with {len(args)} arguments:",
                "Give one entry for each positional argument, or a single integer for all.",
            )
        entries = in_axes if isinstance(in_axes, tuple) else (in_axes,) * len(args)
        self._leaves, self._structure = trees.flatten((args, kwargs))
        parameters = parameter_names(f, len(args))
        axes: list[int | None] = []
        called: list[str] = []
        for name, axis, arg in [
            *zip(parameters, entries, args, strict=True),
            *((key, 0, kwargs[key]) for key in sorted(kwargs)),
        ]:
            axes += spread_axes(axis, arg, f"in_axes of {name}")
            called += trees.paths(arg, name)
        self._mapped = [k for k, axis in enumerate(axes) if axis is not None]
        self.names_ = [called[k] for k in self._mapped]
        self.leaves = [
            _first_axis(self._leaves[k], axes[k], name) for k, name in zip(self._mapped, self.names_, strict=True)
        ]
        if not self.leaves:
            raise ArgumentError.at_caller(
                "no argument has an axis to map over:", "Give at least one of in_axes an integer."
            )
        sizes = [leaf.shape[0] for leaf in self.leaves]
        self.size = sizes[0]
        if len(set(sizes)) > 1:
            odd = next(k for k, size in enumerate(sizes) if size != self.size)
            axis_of_odd = axes[self._mapped[odd]]
            raise ArgumentError.at_caller(
                f"{self.names_[0]} has {self.size} members along axis {axes[self._mapped[0]]}, "
                f"and {self.names_[odd]} has {sizes[odd]} along axis {axis_of_odd}:",
                "Mapped axes must have one size; give in_axes None for an argument that all members share.",
            )

    def trace(self, member: int | None, result: Result) -> Trace:
        """Trace the function for one member; for a member of ones if the batch is empty."""
        independents = _Member(self, member)
        return run(self.f, (), {}, (), True, independents, result)

    def alone(self, members: np.ndarray[Any, Any], k: int) -> list[Any]:
        """Return the leaves of what the function returns for the k-th of some members, without a trace."""
        args, kwargs = self.rebuild([np.array(leaf[members[k]])[()] for leaf in self.leaves])
        return [leaf for _, leaf in Result()(self.f(*args, **kwargs))]

    def at(self, members: np.ndarray[Any, Any]) -> list[Any]:
        """Return the mapped leaves of some members."""
        return [leaf[members] for leaf in self.leaves]

    def rebuild(self, leaves: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments with the mapped leaves replaced."""
        all_leaves = list(self._leaves)
        for k, leaf in zip(self._mapped, leaves, strict=True):
            all_leaves[k] = leaf
        args, kwargs = trees.unflatten(self._structure, all_leaves)
        return list(args), kwargs


class _Member:
    """One member of a batch, in the form in which `tracing.run` takes arguments."""

    def __init__(self, batch: _Batch, member: int | None) -> None:
        self.rebuild = batch.rebuild
        self._names = batch.names_
        plain = [innermost(leaf) for leaf in batch.leaves]
        self.leaves = [
            as_value(np.ones(leaf.shape[1:], leaf.dtype) if member is None else leaf[member]) for leaf in plain
        ]

    def names(self, _function: Any) -> list[str]:
        return self._names


def spread_axes(axes: Axes, tree: Any, what: str) -> list[int | None]:
    """Return an axis for each leaf of a tree: that of the tree, or of the part of it that the leaf lies in.

    >>> spread_axes((0, {"a": None, "b": 1}), ([1.0, 2.0], {"a": 1.0, "b": 2.0}), "in_axes")
    [0, 0, None, 1]
    """
    count = len(trees.flatten(tree)[0])
    if axes is None or isinstance(axes, (int, np.integer)):
        return [axes if axes is None else int(axes)] * count
    spread: list[int | None] = []
    leaves, structure = trees.optree().tree_flatten(axes, none_is_leaf=True, namespace=trees.NAMESPACE)
    try:
        parts = structure.flatten_up_to(tree)
    except (ValueError, TypeError) as error:
        raise ArgumentError.at_caller(
            f"{what} does not fit: {str(error).partition(';')[0]}:", "Give it the structure of the argument."
        ) from error
    for axis, part in zip(leaves, parts, strict=True):
        if axis is not None and not isinstance(axis, (int, np.integer)):
            raise ArgumentError.at_caller(f"{what} holds {axis!r}:", "An axis is an integer, or None.")
        spread += spread_axes(axis, part, what)
    return spread


def _first_axis(leaf: Any, axis: int | None, name: str) -> Any:
    """Return an array with the axis of the members in front."""
    if holds_traced(leaf):
        leaf = join(leaf)
    elif (
        not isinstance(leaf, (np.ndarray, np.generic, float, int, complex))
        or np.asarray(leaf).dtype.kind not in "biufc"
    ):
        raise ArgumentError.at_caller(
            f"{name} is a {type(leaf).__name__}, and has no axis to map over:", "Give it None in in_axes."
        )
    if means_more(type(leaf)):
        raise refuse_kind(type(leaf))
    array: Any = leaf if isinstance(leaf, Recordable) else np.asarray(leaf)
    ndim = array.ndim
    if axis is None or not -ndim <= axis < ndim:
        raise ArgumentError.at_caller(
            f"{name} has shape {array.shape}, and no axis {axis} to map over:",
            "Give it another axis in in_axes, or None if all members share it.",
        )
    return array if axis % ndim == 0 else np.moveaxis(array, axis, 0)


def _collect(
    groups: Sequence[tuple[np.ndarray[Any, Any], list[tuple[Any, bool]], Result]], batch: _Batch, out_axes: Axes
) -> Any:
    """Return the results of all groups in the order of the members, with the axis of the members where it belongs."""
    first = groups[0][2]
    if any(g[2].structure != first.structure for g in groups):
        raise ResultError.at_caller(
            "members return results of different structures:", "Return the same structure in every branch."
        )
    order = np.argsort(np.concatenate([members for members, _, _ in groups])) if len(groups) > 1 else None
    axes = spread_axes(out_axes, first.pack([0.0] * len(groups[0][1])), "out_axes")
    leaves = []
    for k, axis in enumerate(axes):
        parts = [results[k] for _, results, _ in groups]
        if axis is None:
            if any(batched for _, batched in parts) or len(parts) > 1:
                raise ArgumentError.at_caller(
                    "out_axes is None for a result that is not the same for all members:",
                    "Give it an axis in out_axes.",
                )
            leaves.append(parts[0][0])
            continue
        batches = [all_members(v, batched, len(g[0])) for (v, batched), g in zip(parts, groups, strict=True)]
        shapes = {np.shape(b)[1:] for b in batches}
        if len(shapes) > 1:
            raise ShapeError.at_caller(
                f"members return arrays of different shapes: {', '.join(map(str, sorted(shapes)))}:",
                "Return the same shape in every branch; a batch is one array.",
            )
        result = batches[0] if order is None else np.concatenate(batches)[order]
        if type(result) is np.ndarray and any(np.may_share_memory(result, leaf) for leaf in batch.leaves):
            result = result.copy("K")  # what a member returns is its own, stacked
        leaves.append(np.moveaxis(result, 0, axis) if axis else result)
    return first.pack(leaves)


# ---- Evaluating the lines for all members ----


class _Batched:
    """A value for all members that were in the batch after members had left it so many `times`, on a leading axis."""

    __slots__ = ("times", "value")
    ndim = 1

    def __init__(self, value: Any, times: int) -> None:
        self.value, self.times = value, times


Evaluated = tuple[np.ndarray[Any, Any], list[tuple[Any, bool]], np.ndarray[Any, Any]]
"""The members that take the branches of the one that was traced; their results, each a value and whether it has an axis
of members; and for each of these members whether an infinite value has come up on the way."""


def _evaluate_in_blocks(program: Program, leaves: Sequence[Any], size: int, executor: Executor | None) -> Evaluated:
    """Evaluate for all members what was traced for the first, in blocks of members that an executor runs."""
    most, is_recorded = members_in_a_block(program), bool(current_context().tapes)
    if executor is not None and not is_recorded:
        pool_of(executor)  # which says if its workers are not fit
    if size <= most or is_recorded:
        return _evaluate(program, leaves, size)
    first = [leaf[:1] for leaf in leaves]
    blocks = [(start, [leaf[start : start + most] for leaf in leaves]) for start in range(0, size, most)]
    evaluated = list(
        run_blocks(executor, evaluate_block, Shared((program, first), _pair, lambda: [program, first]), blocks)
    )
    kept, results, infinite = zip(*evaluated, strict=True)
    joined = [
        (np.concatenate([value for value, _ in parts]), True) if parts[0][1] else parts[0]
        for parts in zip(*results, strict=True)
    ]
    return np.concatenate(kept), joined, np.concatenate(infinite)


def _pair(program: Program, first: Sequence[Any]) -> tuple[Program, Sequence[Any]]:
    return program, first


def evaluate_block(shared: tuple[Program, Sequence[Any]], block: tuple[int, Sequence[Any]]) -> Evaluated:
    """Evaluate for a block of members, behind the member that was traced, whose decisions hold for the block."""
    (program, first), (start, leaves) = shared, block
    size = len(leaves[0])
    extended = []
    for one, leaf in zip(first, leaves, strict=True):
        values = np.empty((size + 1, *leaf.shape[1:]), leaf.dtype)
        values[:1], values[1:] = one, leaf
        extended.append(values)
    kept, results, infinite = _evaluate(program, extended, size + 1)
    return kept[1:] + (start - 1), [(value[1:] if on else value, on) for value, on in results], infinite[1:]


def _evaluate(program: Program, leaves: Sequence[Any], size: int) -> Evaluated:
    """Evaluate for all members what was traced for one."""
    members = np.arange(size)
    infinite = np.zeros(size, bool)
    stayed: list[tuple[np.ndarray[Any, Any], Any]] = []
    """Each time that members left, which stayed, and the place of the line where they left."""
    context = current_context()
    before, unheard = context.place, min(context.alarms, 1)

    def leave(staying: np.ndarray[Any, Any]) -> None:
        nonlocal members
        if not staying.all():
            stayed.append((np.flatnonzero(staying), context.place))
            members = members[stayed[-1][0]]

    def present(batched: _Batched) -> Any:
        """Return a value for the members that are still in the batch."""
        place = context.place
        for those, context.place in stayed[batched.times :]:
            batched.value = batched.value[those]
        batched.times, context.place = len(stayed), place
        return batched.value

    def apply(line: Line, operands: list[Any]) -> Any:
        if context.tapes and line.place is not None:
            context.place = line.place
        pairs = [(present(a), True) if type(a) is _Batched else (a, False) for a in operands]
        if not line.primitive.multiple:
            alarms = context.alarms - unheard
            result = _Line(line, pairs, len(members)).evaluate()
            if context.alarms > alarms and not context.tapes and size:
                infinite[members] |= _where_any(np.isinf, [result], len(members))
            return _Batched(result, len(stayed))
        results, staying = _Line(line, pairs, len(members)).several()
        leave(staying)
        return [_Batched(y, len(stayed)) for y in results]

    def on_guard(guard: Guard, batched: _Batched) -> None:
        if size:
            leave(_decided(present(batched), guard.value))

    try:
        values = interpret(program, [_Batched(leaf, 0) for leaf in leaves], apply, on_guard)
    finally:
        context.place = before
    results = [(present(values[a]), True) if isinstance(a, Var) else (a.value, False) for a in program.outputs]
    return members, results, infinite[members]


def _carefully(
    members: np.ndarray[Any, Any],
    results: list[tuple[Any, bool]],
    infinite: np.ndarray[Any, Any],
    alone: Callable[[int], list[Any]],
) -> tuple[np.ndarray[Any, Any], list[tuple[Any, bool]]]:
    """Give no member a derivative that is NaN or wrong where the same function of it alone has a number.

    Derivatives that were recorded at finite values have no masks of what a fixed index leaves out, where other members
    may have an infinity or NaN.  These leave the group: traced at one of them, the derivatives have masks.  Members
    that are NaN even then, or have met an `infinite` value, are evaluated `alone`: neither limits nor extended range
    can be recorded.  Returns the members that stay, and their results.
    """
    of_members = [value for value, batched in results if batched]
    if not infinite.any() and not any(map(holds_nan, of_members)):
        return members, results
    odd = _where_any(np.isnan, of_members, len(members))
    if odd.any() and not odd[0]:
        staying = ~odd
        members, infinite, odd = members[staying], infinite[staying], odd[staying]
        results = [(value[staying] if batched else value, batched) for value, batched in results]
    failures = 0
    for k in np.flatnonzero(odd | infinite)[:MOST_ALONE]:
        differs = False
        for n, leaf in enumerate(alone(members[k])):
            value, batched = results[n]
            if batched and not np.allclose(value[k], leaf, rtol=1e-9, atol=0.0, equal_nan=True):
                value = value.copy("K")
                value[k] = leaf
                results[n], differs = (value, True), True
        failures = 0 if differs else failures + 1
        if failures == PATIENCE:
            break
    return members, results


def _where_any(test: Callable[[Any], Any], values: Sequence[Any], size: int) -> np.ndarray[Any, Any]:
    """Return for each member whether a test holds for any element of its values."""
    holds = np.zeros(size, bool)
    for value in values:
        if value.dtype.kind in "fc":
            holds |= test(value).reshape(size, -1).any(axis=1)
    return holds


def _evaluate_line(line: Line, operands: Sequence[tuple[Any, bool]], size: int) -> Any:
    """Evaluate a line of a body for all members; each operand comes with whether it has an axis of members."""
    batched = _Line(line, operands, size)
    if not line.primitive.multiple:
        return batched.evaluate()
    results, staying = batched.several()
    if not staying.all():
        raise MembersDiffer
    return results


def _decided(value: Any, decision: bool | int) -> np.ndarray[Any, Any]:
    """Return for each member whether its decision is that of the first one."""
    members = np.reshape(value, (-1,))
    agree = (members != 0 if isinstance(decision, bool) else np.trunc(members)) == decision
    staying: np.ndarray[Any, Any] = innermost(agree).copy()
    if isinstance(agree, Recordable):  # which members decide so is itself a decision of the trace around this one
        bool(np.all(agree == staying))
    staying[0] = True  # it is the one that was traced, whatever rounding says
    return staying


class _Line:
    """One line for all members: each operand with an axis of members in front, or shared by all."""

    __slots__ = ("batched", "ndims", "operands", "out_shape", "outputs", "params", "primitive", "size")

    def __init__(self, line: Line, operands: Sequence[tuple[Any, bool]], size: int) -> None:
        self.primitive, self.params, self.size = line.primitive, line.params, size
        self.operands, self.batched = [value for value, _ in operands], [on for _, on in operands]
        self.ndims = [getattr(value, "ndim", 0) - on for value, on in operands]  # np.ndim dispatches
        self.outputs, self.out_shape = line.outputs, line.outputs[0].shape

    def evaluate(self) -> Any:
        """Evaluate the line by the rule of its primitive, or else member by member."""
        primitive = self.primitive
        rule = _elementwise if primitive.elementwise and not self.params else RULES.get(primitive)
        if rule is None and PRIMITIVES.get(primitive.name) is primitive:
            rule = _STACKED.get(primitive.name)
        if rule is not None and self.size:
            trusted = not primitive.elementwise or isinstance(primitive.numpy, np.ufunc)
            try:
                result = rule(self)
            except (TypeError, ValueError, IndexError):
                if trusted:
                    raise
                result = None  # a function of the user's that takes one number at a time
            if getattr(result, "shape", None) == (self.size, *self.out_shape):
                return result
        return self.one_by_one()

    def one_by_one(self) -> Any:
        """Evaluate the line for each member, and stack the results."""
        results = [
            self.primitive(
                *[v[k] if batched else v for v, batched in zip(self.operands, self.batched, strict=True)], **self.params
            )
            for k in range(self.size)
        ]
        if not results:
            dtype = np.result_type(*[v for v in map(innermost, self.operands) if hasattr(v, "dtype")] or [float])
            return np.zeros((0, *self.out_shape), dtype)
        shapes = {np.shape(r) for r in results}
        if len(shapes) > 1:
            raise ShapeError.at(
                current_context().place or caller(),
                f"{self.primitive.name} gives the members of a batch arrays of different shapes:",
                "A batch is one array: write it so that no shape depends on values (np.where instead of a mask).",
            )
        return np.stack(results)

    def several(self) -> tuple[list[Any], Any]:
        """Evaluate a line of several results (a loop); return the stacked results, and which members stay."""
        return several(self.params["held"], self.operands, self.batched, self.size, self.outputs, _evaluate_line)

    def call(self, *operands: Any, **params: Any) -> Any:
        """Call the primitive on operands for all members."""
        return self.primitive(*operands, **params)

    def all(self, k: int) -> Any:
        """Return an operand with an axis of members, even if all share it."""
        return all_members(self.operands[k], self.batched[k], self.size)

    def shape(self, k: int) -> Shape:
        """Return the shape of an operand for one member."""
        shape: Shape = np.shape(self.operands[k])
        return shape[1:] if self.batched[k] else shape


def _aligned(value: Any, batched: bool, ndim: int, to: int) -> Any:
    """Insert axes of length one after that of the members, so that a batched operand broadcasts against others."""
    if not batched or ndim >= to:
        return value
    shape = np.shape(value)
    return s.reshape(value, shape=shape[:1] + (1,) * (to - ndim) + shape[1:])


# ---- Batching rules ----


def _elementwise(line: _Line) -> Any:
    to = len(line.out_shape)
    operands = [_aligned(v, b, n, to) for v, b, n in zip(line.operands, line.batched, line.ndims, strict=True)]
    return line.call(*operands)


def _same(line: _Line) -> Any:
    """Call the primitive as it is: its parameters count axes from the end."""
    return line.call(*line.operands, **line.params) if len(line.operands) == 1 else None


def _joined(line: _Line) -> Any:
    return line.call(*[line.all(k) for k in range(len(line.operands))], **line.params)


def _reshape(line: _Line) -> Any:
    return line.call(line.operands[0], shape=(line.size, *line.params["shape"]))


def _transpose(line: _Line) -> Any:
    return line.call(line.operands[0], axes=(0, *(axis + 1 for axis in line.params["axes"])))


def _broadcast_to(line: _Line) -> Any:
    shape = line.params["shape"]
    return line.call(_aligned(line.operands[0], True, line.ndims[0], len(shape)), shape=(line.size, *shape))


def _argument(line: _Line) -> Any:
    (x,), axis = line.operands, line.params["axis"]
    if axis is None:
        return line.call(s.reshape(x, shape=(line.size, math.prod(np.shape(x)[1:]))), axis=1)
    return line.call(x, axis=axis - line.ndims[0] if axis >= 0 else axis)


def _matmul(line: _Line) -> Any:
    (a, b), (m, n) = line.operands, line.ndims
    if n == 1 and m == 1 and all(line.batched):
        products = a * b
        return (np.any if products.dtype == bool else np.sum)(products, axis=-1)
    if n == 1 and m <= 2 and not line.batched[0]:
        return s.matmul(b, a if m == 1 else np.transpose(a))  # A b for many b is one product of matrices
    if m == 1 and n <= 2 and not line.batched[1]:
        return s.matmul(a, b)
    if m == 2 and n == 1 and not line.batched[1]:
        return s.reshape(s.matmul(a, s.reshape(b, shape=(line.shape(1)[0], 1))), shape=(line.size, *line.out_shape))
    left, right = (line.all(0) if m == 1 else a), (line.all(1) if n == 1 else b)
    if m == 1:
        left = s.reshape(left, shape=(line.size, 1, *line.shape(0)))
    if n == 1:
        right = s.reshape(right, shape=(line.size, *line.shape(1), 1))
    to = max(m, n, 2)
    left = _aligned(left, line.batched[0] or m == 1, max(m, 2), to)
    right = _aligned(right, line.batched[1] or n == 1, max(n, 2), to)
    return s.reshape(s.matmul(left, right), shape=(line.size, *line.out_shape))


def _solve(line: _Line) -> Any:
    m, n = line.ndims
    left, right = line.all(0), line.all(1)
    if n == 1:
        right = s.reshape(right, shape=(*np.shape(right), 1))
    to = max(m, n, 2)
    solved = line.call(_aligned(left, True, m, to), _aligned(right, True, max(n, 2), to))
    return s.reshape(solved, shape=(line.size, *line.out_shape))


def _getitem(line: _Line) -> Any:
    index = line.params["index"]
    if len(line.operands) == 1:
        return take(line.operands[0], index, line.shape(0), 1)
    if any(not isinstance(item, (Operand, int)) for item in index):
        return None
    if any(innermost(v).dtype.kind == "b" for v in line.operands[1:] if hasattr(v, "dtype")):
        return None
    # integers alone: the members count as one index more
    to = max(line.ndims[1:])
    indices = [
        _aligned(v, b, n, to) for v, b, n in zip(line.operands[1:], line.batched[1:], line.ndims[1:], strict=True)
    ]
    if not line.batched[0]:
        return s.getitem(line.operands[0], *indices, index=index)
    members = np.arange(line.size).reshape((line.size,) + (1,) * to)
    return s.getitem(line.operands[0], *indices, index=(members, *index))


def _setitem(line: _Line) -> Any:
    index = line.params["index"]
    if len(line.operands) > 2 or any(
        not (item is None or item is Ellipsis or isinstance(item, (int, slice))) for item in index
    ):
        return None
    selected = np.empty(line.shape(1))[index].ndim
    value = _aligned(line.operands[0], line.batched[0], line.ndims[0], selected)
    return line.call(value, line.all(1), index=(slice(None), *index))


def _put(line: _Line) -> Any:
    batch = line.params.get("batch", 0)
    pieces = [line.all(k) for k in range(len(line.operands))]
    return line.call(*pieces, indices=line.params["indices"], shape=line.params["shape"], batch=batch + 1)


RULES: dict[Primitive, Callable[[_Line], Any]] = {
    s.reshape: _reshape,
    s.transpose: _transpose,
    s.broadcast_to: _broadcast_to,
    s.stack: _joined,
    s.concatenate: _joined,
    s.getitem: _getitem,
    s.setitem: _setitem,
    s.put: _put,
    s.matmul: _matmul,
    s.cross: _elementwise,
    s.argmax: _argument,
    s.argmin: _argument,
    **dict.fromkeys([s.astype, s.diagonal, s.sum_, s.cumsum, s.max_, s.min_, s.all_, s.any_], _same),
}
"""The batching rule of each primitive: it evaluates a line for all members, or returns None where it does not apply."""

_STACKED: dict[str, Callable[[_Line], Any]] = {
    "solve": _solve,
    "recurrence": _joined,
    **dict.fromkeys(
        [
            *("inv", "det", "slogdet", "cholesky", "qr", "eigh", "eigvalsh", "svd", "svdvals", "cofactors"),
            *("fft", "ifft", "rfft", "irfft", "roll", "round", "argsort", "argpartition"),
            *("prod", "cumprod", "cummax", "cummin"),
        ],
        _same,
    ),
}
"""The batching rules of primitives that take stacks of matrices or signals anyway, by name."""
