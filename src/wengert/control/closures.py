"""Capture: the user's function as the body of a loop or branch, traced by itself at plain values.

What it closes over and what is being traced there becomes an argument more (a *constant* of the loop), so a body can
read the weights of a network that it is not handed.  The values of its arguments ride along, as in every trace, and
Python's ``if`` on one of them makes a body that holds for one branch; the loop traces another one when it is needed.
"""

from __future__ import annotations

import dis
import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from wengert import trees
from wengert.compilation.environment import is_empty
from wengert.control.bodies import Body, rearranged
from wengert.control.templates import same_rows
from wengert.errors import ArgumentError, Location, ResultError, caller
from wengert.primitives.numpy.structural import getitem, reshape, transpose
from wengert.program import Packing, Program, Recordable, Var, as_value
from wengert.program.dataflow import depending_on
from wengert.program.structure import exactly
from wengert.tracing import (
    COPIED,
    Group,
    Trace,
    Traced,
    build_program,
    constant,
    current_context,
    holds_traced,
    innermost,
    join,
    outputs_of,
    root_of_view,
    run,
)

Function = Callable[..., Any]
VIEWS = frozenset({getitem, reshape, transpose})
"""The primitives whose results may be views."""


_LEAVES = frozenset({Traced, float, int, np.float64, np.int64})
"""The most frequent types of leaves beside arrays."""


def leaves_of(tree: Any, what: str) -> tuple[list[Any], Any]:
    """Flatten a tree of numbers and arrays; raise ArgumentError naming a leaf that is neither."""
    if type(tree) in _LEAVES or (type(tree) is np.ndarray and tree.dtype.kind in "biufc"):
        return [as_value(tree)], trees.leaf()
    if tree is None:
        return [], trees.nothing()
    leaves, structure = trees.flatten(tree)
    values = []
    for k, leaf in enumerate(leaves):
        if not isinstance(leaf, Recordable) and holds_traced(leaf):
            leaf = join(leaf)
        if not isinstance(leaf, Recordable):
            leaf = np.asarray(leaf) if not isinstance(leaf, (np.ndarray, np.generic)) else leaf
            if leaf.dtype.kind not in "biufc":
                raise ArgumentError.at_caller(
                    f"{trees.paths(tree, what)[k]} is a {type(leaves[k]).__name__}, not a number or an array:",
                    "Give numbers and arrays there; what stays the same at every step can be closed over.",
                )
            leaf = as_value(leaf)
        values.append(leaf)
    return values, structure


class Pattern:
    """What a tree has to be like at every step: its structure, and the kind, shape and dtype of each leaf.

    This tells it fast where a plain loop would otherwise spend more time on checks than on steps.
    """

    __slots__ = ("_dtypes", "_is_tuple", "_kinds", "_shapes", "leaf", "structure")

    def __init__(self, leaves: Sequence[Any], structure: Any) -> None:
        self.structure, self.leaf = structure, structure.is_leaf()
        self._is_tuple = structure.type is tuple and structure.num_nodes == 1 + structure.num_leaves
        """True for a tuple of leaves, which is told without taking trees apart."""
        self._kinds = [type(v) for v in leaves]
        self._shapes = [v.shape for v in leaves]
        self._dtypes = [v.dtype for v in leaves]

    def leaves(self, tree: Any) -> Sequence[Any] | None:
        """Return the leaves of a tree that is of this pattern; None if it is not, or not of NumPy's own types."""
        if self.leaf:
            if type(tree) is not self._kinds[0]:
                return None
            if tree.dtype is self._dtypes[0] and tree.shape == self._shapes[0]:
                return (tree,)
            return None
        if tree is None:
            return () if not self._kinds and self.structure.num_nodes == 1 else None
        if self._is_tuple and type(tree) is tuple and len(tree) == len(self._kinds):
            leaves: Sequence[Any] = tree
        else:
            leaves, structure = trees.flatten(tree)
            if structure != self.structure:
                return None
        for value, kind, shape, dtype in zip(leaves, self._kinds, self._shapes, self._dtypes, strict=True):
            if type(value) is not kind or value.dtype is not dtype or value.shape != shape:
                return None
        return leaves


class Captured:
    """The traced values of other traces that bodies close over, and their plain values: a loop's constants.

    What a body computes of these alone, ``x[0]`` or ``w / x``, is a line of the trace around it, and a constant too.
    Every trace of the body writes that line again; it is recognized by what it computes.
    """

    def __init__(self) -> None:
        self.traced: list[Any] = []
        self.values: list[Any] = []
        self.packings: list[Packing] = []
        self._places: dict[Any, int] = {}
        self._start = {id(tape): (tape.size, len(tape.rows)) for tape in current_context().tapes}

    def place(self, outer: Any) -> int:
        """Return the place of a captured value among the constants."""
        key = self._key(outer._tape, outer._index, {})
        if key not in self._places:
            self._places[key] = len(self.traced)
            self.traced.append(outer)
            self.values.append(innermost(outer))
            name = f"outer_{len(self.traced)}"
            var = Var(0, outer.shape, outer.dtype)
            self.packings.append(Packing(name, outer.shape, outer.dtype, (var,)))
        return self._places[key]

    def reads(self, array: Any) -> bool:
        """Return whether a body has read a traced array by its closure: itself, a view of it, or a value of either."""
        tape = array._tape
        size, _ = self._start.get(id(tape), (0, 0))
        positions = {array._index, root_of_view(array)._index}
        for row in tape.rows:
            outputs = outputs_of(row)
            if not positions.isdisjoint(row[1]) and (outputs[0] >= size or row[0] in VIEWS):
                positions.update(outputs)
        return any(outer._tape is tape and outer._index in positions for outer in self.traced)

    def _key(self, tape: Any, index: int, rows: dict[int, Any]) -> Any:
        """Return what says which value this is: its position, or how it was computed since the loop was begun."""
        size, first = self._start.get(id(tape), (index + 1, 0))
        if index < size:
            return id(tape), index
        if not rows:
            rows.update((position, row) for row in tape.rows[first:] for position in outputs_of(row))
        if index not in rows:
            return id(tape), index
        primitive, parents, kept, params, *_ = rows[index]
        operands = tuple(
            exactly(value) if parent < 0 else self._key(tape, parent, rows)
            for parent, value in zip(parents, kept[1:], strict=True)
        )
        how = tuple((name, exactly(value)) for name, value in sorted(params.items()))
        key = (primitive, operands, how, outputs_of(rows[index]).index(index))
        try:
            hash(key)
        except TypeError:
            return id(tape), index
        return key


class Unpacking:
    """How a body's result is taken apart: into leaves with names; the structures are remembered."""

    def __init__(self, apart: Callable[[Any], list[tuple[str, Any]]]) -> None:
        self.apart = apart
        self.structure = True  # not one array

    def __call__(self, returned: Any) -> list[tuple[str, Any]]:
        return self.apart(returned)


class _Arguments:
    """The leaves that a body is traced with, as `tracing.run` takes arguments apart."""

    def __init__(self, leaves: Sequence[Any], names: Sequence[str]) -> None:
        self.leaves, self._names = list(leaves), list(names)

    def names(self, _function: Function) -> list[str]:
        return self._names

    def rebuild(self, leaves: Sequence[Any]) -> tuple[list[Any], dict[str, Any]]:
        return [list(leaves)], {}


class Draft:
    """A body as it was traced, before its Program is written: most steps are traced to see that they do the same."""

    __slots__ = ("_body", "_captured", "_first_const", "_sample", "places", "results", "trace", "values")

    def __init__(self, trace: Trace, values: Sequence[Any], captured: Captured) -> None:
        self.trace, self.results = trace, trace.results
        self._first_const, self._captured = len(trace.arguments), captured
        captures = list((trace.tape.captures or {}).values())
        trace.tape.captures = {}  # or else the tape would hold itself
        self.places = [captured.place(outer) for outer, _ in captures]
        """Where each constant that it reads stands among those of the loop, in the order in which it reads them."""
        trace.arguments += [Group("outer", inner.shape, inner.dtype, [inner]) for _, inner in captures]
        self.values = tuple([innermost(trace.value(part)) for group in trace.results for part in group.parts])
        self._sample = (*values, *captured.values)
        self._body: Body | None = None

    @property
    def body(self) -> Body:
        """The body: of the leaves of its arguments, and of all constants that were captured when it was traced."""
        if self._body is None:
            self._body = Body(self._written(), self._sample)
        return self._body

    def _written(self) -> Program:
        first = self._first_const
        packings = self._captured.packings[: len(self._sample) - first]
        read: dict[int, int] = {}  # by which argument each constant is read first; the others are merged into it
        merged = {k: one for k, place in enumerate(self.places, first) if (one := read.setdefault(place, k)) != k}
        if merged:
            order = [read.get(place, packing) for place, packing in enumerate(packings)]
            program = rearranged(build_program(self.trace), [*range(first), *order], merged)
        else:
            self.trace.arguments[first:] = [
                self.trace.arguments[read[place]]
                if place in read
                else Group(p.name, p.shape, p.dtype, [_Unread(place, p)])
                for place, p in enumerate(packings)
            ]
            program = build_program(self.trace)
        return _named(program, first, self._captured)

    def does_as(self, other: Draft) -> bool:
        """Return whether another trace wrote the same rows, with the same constants; no Program is written for that."""
        return self.places == other.places and same_rows(self.trace, other.trace)


class _Unread:
    """What stands in a trace for a constant of the loop that this body does not read."""

    __slots__ = ("_index", "dtype", "shape")

    def __init__(self, place: int, like: Packing) -> None:
        self._index, self.shape, self.dtype = -2 - place, like.shape, like.dtype


def draft_body(
    user: Function, step: Function, values: Sequence[Any], names: Sequence[str], unpack: Unpacking, captured: Captured,
    fold: Callable[[], Any] | None = None,
) -> Draft:  # fmt: skip
    """Trace a step at plain values as a body.

    `step` takes and returns lists of leaves; it calls the function of the user's, whose name the Program has.  Its rows
    are folded by what `fold` makes for its tape.
    """
    trace = run(step, (), {}, (), True, _Arguments(values, names), unpack, body=True, fold=fold)
    trace.name = getattr(user, "__name__", "f")
    return Draft(trace, values, captured)


def lift(function: Function) -> Function | None:
    """Return a function of the user's that reads plain arrays around it as constants of the trace; None if it has none.

    They are those of its closure and of its module that it names, and does not assign to.
    """
    code = getattr(function, "__code__", None)
    if not isinstance(function, types.FunctionType) or code is None:
        return None
    stored = {i.argval for i in dis.get_instructions(code) if i.opname.startswith(("STORE_", "DELETE_"))}
    tape = current_context().tapes[-1]

    def is_array(value: Any) -> bool:
        return type(value) is np.ndarray and value.ndim > 0 and value.dtype.kind in "biufc"

    def lifted_value(value: Any) -> Any:
        return constant(tape, value.copy() if value.size <= COPIED else value)  # as an operand would be

    names = {name: function.__globals__.get(name) for name in code.co_names if name not in stored}
    globals_ = {name: lifted_value(value) for name, value in names.items() if is_array(value)}
    cells = []
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        value = None if is_empty(cell) else cell.cell_contents
        lifts = name not in stored and is_array(value)
        cells.append(types.CellType(lifted_value(value)) if lifts else cell)
    if not globals_ and all(a is b for a, b in zip(cells, function.__closure__ or (), strict=True)):
        return None
    variables = {**function.__globals__, **globals_} if globals_ else function.__globals__
    lifted = types.FunctionType(code, variables, function.__name__, function.__defaults__, tuple(cells))
    lifted.__kwdefaults__ = function.__kwdefaults__
    return lifted


def widened(body: Body, first_const: int, captured: Captured) -> Body:
    """Return a body with arguments more, for the constants that other branches have captured since."""
    count = len(body.program.arguments) - first_const
    if count == len(captured.values):
        return body
    order = [*range(len(body.program.arguments)), *captured.packings[count:]]
    return Body(rearranged(body.program, order), (*body.sample, *captured.values[count:]))


def without_number(program: Program, number: int | None) -> Program:
    """Drop the decisions that depend on the number of a step alone: where each step is traced, these are fixed."""
    others = depending_on(program, [var for k, var in enumerate(program.inputs) if k != number])
    return replace(program, guards=tuple(guard for guard in program.guards if guard.var in others))


def _named(program: Program, first_const: int, captured: Captured) -> Program:
    """Name the constants of a body as captured."""
    arguments = tuple(
        packing
        if k < first_const
        else Packing(captured.packings[k - first_const].name, packing.shape, packing.dtype, packing.atoms)
        for k, packing in enumerate(program.arguments)
    )
    return replace(program, arguments=arguments, single=False)


# ---- A carry must keep its structure, shapes and dtypes ----


def check_carry(
    name: str,
    step: int | None,
    function: Function,
    names: Sequence[str],
    before: Sequence[Any],
    after: Sequence[Any],
    what: str = "the carry",
    verbs: tuple[str, str] = ("goes in as", "and comes out as"),
    again: Callable[[], Any] | None = None,
) -> None:
    """Raise ResultError naming leaf and step if a step returns a carry of other shapes or dtypes than it was given.

    The line named is that of the return statement, which is found by doing it `again` where there are several.
    """
    when = "" if step is None else f"at step {step} "
    for leaf, old, new in zip(names, before, after, strict=True):
        if old.shape != new.shape or old.dtype != new.dtype:
            raise ResultError.at(
                place_of(function, again),
                f"{name}: {when}{what} {leaf} {verbs[0]} {_said(old)} {verbs[1]} {_said(new)}:",
                _what_to_write(leaf, old, new),
            )


def check_collected(
    name: str,
    step: int,
    function: Function,
    names: Sequence[str],
    before: Sequence[Any],
    after: Sequence[Any],
    again: Callable[[], Any] | None = None,
) -> None:
    """Raise ResultError naming leaf and step if a step collects other shapes or dtypes than the first one."""
    verbs = ("was", "before, and is")
    check_carry(name, step, function, names, before, after, "what is collected as", verbs, again)


def check_structure(
    name: str,
    step: int | None,
    function: Function,
    needed: Any,
    returned: Any,
    what: str = "the carry",
    again: Callable[[], Any] | None = None,
) -> None:
    """Raise ResultError if a step returns a carry of another structure than it was given."""
    when = "" if step is None else f"at step {step} "
    if returned != needed:
        raise ResultError.at(
            place_of(function, again),
            f"{name}: {when}{what} has the structure {_structure(returned)}, where {_structure(needed)} is needed:",
            "Return the same structure every time, leaf for leaf.",
        )


def _structure(structure: Any) -> str:
    return str(structure).removeprefix("PyTreeSpec(").partition(", namespace=")[0].removesuffix(")")


def place_of(function: Function, again: Callable[[], Any] | None = None) -> Any:
    """Return the place where a function of the user's returns: the last one, or where it does so if done `again`."""
    code = getattr(function, "__code__", None)
    if code is None:
        return caller()
    returns = [instruction.offset for instruction in dis.get_instructions(code) if "RETURN" in instruction.opname]
    returns = [k for k in returns if Location.of((code, k)) is not None] or [0]
    offsets = [returns[-1]]
    if again is not None and len(returns) > 1:

        def watch(frame: Any, event: str, _returned: Any) -> None:
            if event == "return" and frame.f_code is code:
                offsets.append(frame.f_lasti)

        before = sys.getprofile()
        sys.setprofile(watch)
        try:
            again()
        except Exception:
            pass  # there is an error to tell of already
        finally:
            sys.setprofile(before)
    return code, offsets[-1]


def _said(value: Any) -> str:
    kind = value.dtype.name
    article = "an" if kind[0] == "i" else "a"
    return f"{article} {kind}" if value.shape == () else f"an array {value.shape} of {kind}"


def _what_to_write(leaf: str, old: Any, new: Any) -> str:
    if leaf.startswith("y"):
        return "Return the same shape and dtype every time: what is collected is one array."
    if old.shape != new.shape:
        return "Return it in the shape in which it is given, or start from one of the shape that it takes."
    if old.dtype.kind in "biu" and new.dtype.kind in "fc":
        return f"Start from a {new.dtype.name}: 0.0 instead of 0, x.astype({new.dtype.name}) of an array."
    return f"Start from a {new.dtype.name}, or return {leaf} by .astype({old.dtype.name})."
