"""A trace: one run of the user's function on traced arguments, and the Program that it makes."""

from __future__ import annotations

import functools
import types
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from wengert.errors import (
    ChangedError,
    DecisionWarning,
    Location,
    RawLocation,
    ResultError,
    WengertError,
    explain_at,
    refusals,
)
from wengert.primitives.table import ALWAYS
from wengert.program import Constant, Guard, Line, Packing, Program, Var, as_value
from wengert.tracing.adoption import check_adopted
from wengert.tracing.context import threads
from wengert.tracing.errstate import IGNORING, changed, error_state
from wengert.tracing.fingerprints import Unchanged
from wengert.tracing.jitted import caught
from wengert.tracing.lists import join_lists
from wengert.tracing.names import Rebound, bound, redirect
from wengert.tracing.patching import patch_methods, rebind_imports, remember_methods
from wengert.tracing.tape import Lengths, Row, Tape, escaped, outputs_of
from wengert.tracing.traced import Traced, capture, holds_traced, innermost, join, plain, variable
from wengert.tracing.unsupported import entries, is_of_compiled_code, translated

LONG = 500
"""From so many values on a trace is long."""


class Group:
    """An argument or result of a trace: its name and shape, and what it is laid out in (see `program.Packing`)."""

    __slots__ = ("dtype", "name", "parts", "shape")

    def __init__(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], parts: list[Any]) -> None:
        self.name, self.shape, self.dtype, self.parts = name, shape, dtype, parts


class Trace:
    """One run of a function on traced arguments: its tape, and where its arguments and results are on it."""

    __slots__ = ("arguments", "name", "results", "single", "tape")

    def __init__(self, name: str, tape: Tape, arguments: list[Group], results: list[Group], single: bool) -> None:
        self.name, self.tape, self.arguments, self.results, self.single = name, tape, arguments, results, single

    def input(self, value: Any) -> Any:
        """Add an independent variable, and return the traced value that stands for it."""
        return variable(self.tape, value)

    def argument(self, name: str, value: Any) -> Any:
        """Add an argument that is one independent variable, and return the traced value that stands for it."""
        traced = self.input(value)
        self.arguments.append(Group(name, traced.shape, traced.dtype, [traced]))
        return traced

    def result(self, name: str, value: Any) -> None:
        """Add a result: a traced value, or a constant."""
        value = value if type(value) is Traced else as_value(value)
        self.results.append(Group(name, value.shape, value.dtype, [value]))

    def program(self) -> Program:
        """Write the trace as a Program: lines that nothing depends on left out, variables numbered."""
        return build_program(self)

    def position(self, result: Any) -> int:
        """Return the position of a result on the tape, -1 if it is a constant."""
        return result._index if type(result) is Traced and result._tape is self.tape else -1

    def value(self, result: Any) -> Any:
        """Return the value of a result."""
        return result._value if type(result) is Traced and result._tape is self.tape else result


class record:  # noqa: N801 - used as a function
    """Open a trace on which wengert itself records a Program: every value is kept, no function of the user's runs.

    The values have been computed before, by the user's own function, and NumPy has warned of them then: here it does
    not, and no sweep runs a second time for that.

    >>> import numpy as np
    >>> with record("tangent") as trace:
    ...     x, x_dot = trace.argument("x", np.float64(2.0)), trace.argument("x_dot", np.float64(1.0))
    ...     trace.result("y_dot", np.cos(x) * x_dot)
    >>> print(trace.program().listing(places=False))
    x = u_{-1}, x_dot = u_0
    u_1 = cos(u_{-1})
    u_2 = u_1 * u_0    = y_dot
    """

    __slots__ = ("_alarms", "_errors", "_place", "_trace")

    def __init__(self, name: str, single: bool = False) -> None:
        self._trace = Trace(name, Tape(threads.context, keep_all=True), [], [], single)

    def __enter__(self) -> Trace:
        tape = self._trace.tape
        context = tape.context
        self._place, self._alarms, self._errors = context.place, context.alarms, error_state.get()
        context.alarms = 0
        error_state.set(changed(self._errors, IGNORING))
        context.tapes.append(tape)
        return self._trace

    def __exit__(self, *_: object) -> None:  # if Ctrl-C comes before this, the outermost `watch` does it
        tape = self._trace.tape
        context = tape.context
        del context.tapes[tape.level :]
        tape.open = False
        context.place, context.alarms = self._place, self._alarms
        error_state.set(self._errors)


def run(
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    positions: Sequence[int],
    keep_all: bool,
    spread: Any = None,
    unpack: Any = None,
    body: bool = False,
    planned: bool = False,
    fold: Callable[[], Any] | None = None,
    most: Lengths | None = None,
    keeps_large: bool = True,
) -> Trace:
    """Run a function with the arguments at `positions` traced; see `Trace`.

    With `keep_all` every value stays on the tape and decisions become guards (to make a Program); without, only what
    the derivative rules will read.  Arguments that are trees are traced leaf by leaf: `spread` has the leaves and
    puts traced ones in their places; `unpack` takes what the function returned apart, into named results.  A `body`
    of a loop is traced by itself: values of other traces that it reads become arguments of it (see `Tape.captures`).
    A trace is `planned` if the order of accumulation is chosen by what its rows cost.  If it becomes long its rows are
    folded by what `fold` makes for its tape; with `keep_all`, however long it is.  LongTrace is raised where it
    becomes longer than `most`.  Where a Program is all that is wanted, large values need not be kept (`keeps_large`):
    they are freed when the function is done with them.
    """
    context = threads.context
    tape = Tape(context, keep_all, planned, fold, most, keeps_large)
    frozen = context.frozen
    if body:
        tape.captures = {}
    else:
        for outer in context.tapes:
            outer.differentiates = True
    replaced = list(args)
    arguments = []
    if spread is None:
        names = parameter_names(function, len(args)) if keep_all else ("x",) * len(args)  # only a Program says them
        for position in positions:
            replaced[position] = variable(tape, args[position])
            traced = replaced[position]
            # the function may assign to the array it is given: the copy stays the independent variable
            arguments.append(Group(names[position], traced.shape, traced.dtype, [traced.__copy__()]))
    else:
        inputs = [variable(tape, leaf) for leaf in spread.leaves]
        names = spread.names(function) if keep_all else ("x",) * len(inputs)
        arguments = [Group(name, x.shape, x.dtype, [x.__copy__()]) for name, x in zip(names, inputs, strict=True)]
        replaced, kwargs = spread.rebuild(inputs)
    place, level = context.place, tape.level
    refused, refusals.first = refusals.first, None
    try:
        context.place = None
        if body:
            context.frozen = {outer: outer.size for outer in context.tapes}
        context.tapes.append(tape)
        results = bound(_call, function, replaced, kwargs, unpack)
        if body:
            results = [(name, _captured(tape, part)) for name, part in results]
    except Rebound as rebound:
        results, first = None, rebound.__cause__
        context.restarts = False
        if context.needs_methods:
            context.needs_methods = False
            remember_methods(function)
    finally:  # without a call, so that Ctrl-C does not come between
        del context.tapes[level:]
        context.frozen = frozen
        context.place = place
        refusals.first = refused if level else None
        tape.open = False
    if results is not None:
        tape.finish(results)
        first = _change(tape, body)
    if results is None or first is not None:
        options = keep_all, spread, unpack, body, planned, fold, most, keeps_large
        again = functools.partial(run, function, args, kwargs, positions, *options)
        return _run_again(again, tape, first)
    context.makes_many = tape.size > LONG
    groups = [Group(name, result.shape, result.dtype, [result]) for name, result in results]
    single = unpack is None or unpack.structure is None
    if keep_all and not body:
        _name_results(arguments, groups, single)
    return Trace(getattr(function, "__name__", "f"), tape, arguments, groups, single)


def _run_again(again: Callable[[], Trace], tape: Tape, first: BaseException | None) -> Trace:
    """Run a function anew: its names mean other things now, or there is an error that another run may not have."""
    if first is None:
        return again()
    return _with_copies(again, tape, first) if isinstance(first, ChangedError) else _with_plain_arrays(again, first)


def _with_plain_arrays(again: Callable[[], Trace], first: BaseException) -> Trace:
    """Run a function anew, its makers of arrays leaving them plain; if that fails raise the first error."""
    context = threads.context
    context.leaves_plain = True
    try:
        return again()
    except Exception:
        raise first from first.__cause__
    finally:
        context.leaves_plain = False


def _with_copies(again: Callable[[], Trace], tape: Tape, error: ChangedError) -> Trace:
    """Run a function anew that has changed large arrays which it made and read: what it reads is copied.

    If it reads the same arrays again they are not its own, and the error is raised.
    """
    context = threads.context
    if context.changed is not None or tape.unchanged is None:
        raise error
    context.changed = error, tape.unchanged.changed()
    try:
        return again()
    finally:
        context.changed = None


def _change(tape: Tape, body: bool) -> ChangedError | None:
    """Return the error about an array that has been changed since a row of a trace that has ended has read it."""
    if tape.adopted:
        check_adopted(tape)
    if tape.unchanged is None:
        return None
    try:
        tape.unchanged.check(tape.rows)
    except ChangedError as error:
        return error
    if body:
        outer = tape.context.tapes[-1]
        outer.unchanged = outer.unchanged or Unchanged()
        tape.unchanged.pass_on(outer.unchanged)
    return None


_NO_ARRAY = ("object __array__ method not producing an array",)
"""What NumPy says where an object's method ``__array__`` returns a traced array."""


def _call(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], unpack: Any
) -> list[tuple[str, Any]]:
    """Call the user's function; return its named results.  Raise errors of compiled code as errors about its line."""
    context = threads.context
    context.restarts = False
    context.constants = context.constants and len(context.tapes) > 1
    patch_methods(function)
    try:
        returned = function(*args, **kwargs)
    except Exception as error:
        frames = [frame for frame, _ in entries(error.__traceback__)]
        if context.restarts or caught() or redirect(frames, ALWAYS):
            raise Rebound from None
        if isinstance(error, ValueError) and isinstance(error.__cause__, WengertError):
            raise error.__cause__ from None  # NumPy hides it: "setting an array element with a sequence"
        if isinstance(error, ValueError) and error.args == _NO_ARRAY:
            *_, (frame, _) = entries(error.__traceback__)
            rebind_imports(frame)
            join_lists(frame)
        translation = translated(error, holds_traced)
        if context.constants and not context.leaves_plain and is_of_compiled_code(error):
            raise Rebound from translation or error
        if translation is not None:
            raise translation from error
        raise
    if context.restarts:
        raise Rebound
    if refusals.first is not None:
        refusals.first.add_note("The function has caught this error and gone on, which NumPy's own value would not do.")
        raise refusals.first
    if unpack is None:
        return [("", _result(function, returned))]
    return [(name, _result(function, part)) for name, part in unpack(returned)]


def warn_of_decisions(trace: Trace) -> None:
    """Warn if the results depend on an argument through decisions alone: a bisection does, or a count.

    A branch that is taken once is none of these: ``return 1.0`` for a saturated argument, and a penalty ``if np.any(x >
    10)``, have derivative zero.  If there are no decisions, what a value reads as may have been made a number again.

    >>> import wengert as wg
    >>> def root(c):
    ...     low, high = 0.0, 3.0
    ...     while high - low > 1e-9:
    ...         middle = 0.5 * (low + high)
    ...         low, high = (middle, high) if middle**3 < c else (low, middle)
    ...     return low
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     float(wg.grad(root)(2.0))
    0.0
    >>> print(str(caught[0].message).splitlines()[0])
    the result depends on an argument through decisions alone, and the derivative is zero:
    """
    tape = trace.tape
    inputs = {part._index for group in trace.arguments for part in group.parts}
    reached = {trace.position(part) for group in trace.results for part in group.parts}
    if tape.differentiates or (len(inputs) == 1 and max(reached) >= 0):
        return
    for row in reversed(tape.rows):
        if not reached.isdisjoint(outputs_of(row)):
            reached.update(row[1])
    moved = inputs - reached
    if not moved:
        return
    for row in tape.rows:
        if not moved.isdisjoint(row[1]):
            moved.update(outputs_of(row))
    noted = [(kind, place) for parents, place, kind in tape.decisions if not moved.isdisjoint(parents)]
    texts = [place for kind, place in noted if kind == "text"]
    noted = [(kind, place) for kind, place in noted if kind != "text" and not _is_reduced_to_truth(place)]
    branches = Counter(map(_spot, [place for _, place in noted]))
    positions = any(kind == "position" for kind, _ in noted)
    decisions = [place for kind, place in noted if kind == "position" or branches[_spot(place)] > 1]
    location = Location.of(decisions[0] if decisions else texts[0]) if decisions or texts else None
    if location is None or (not positions and _is_outside(trace)):
        return
    if not decisions:
        happened = "the result depends on an argument through text alone, if at all, and the derivative is zero:"
        instead = "If the text is made a number again (float(f'{x}')), use the value itself; else this is no loss."
    else:
        happened = "the result depends on an argument through decisions alone, and the derivative is zero:"
        instead = (
            "If that is not meant, differentiate what the decisions find: a root by the implicit function theorem "
            "(wg.custom_derivative), a count or position by a smooth function in its place."
        )
    warnings.warn_explicit(
        explain_at(location, happened, instead), DecisionWarning, location.file, location.line, registry=_warned
    )


def _spot(place: RawLocation | None) -> Any:
    """Return a key of a place; code objects of the same text are different ones."""
    return (id(place[0]), place[1]) if type(place) is tuple else place


_TO_TRUTH = frozenset({"any", "all", "allclose", "array_equal", "array_equiv"})


@functools.lru_cache(maxsize=256)
def _is_reduced_to_truth(place: RawLocation | None) -> bool:
    """Return whether what is compared at a place is reduced to one truth value: ``np.any(x > 10)``."""
    location = Location.of(place)
    return location is not None and not _TO_TRUTH.isdisjoint(location.calls())


def warn_of_guards(trace: Trace) -> None:
    """Warn if the function decided by values of its arguments, where what is made of the trace is for all inputs."""
    location = next((Location.of(place) for place in trace.tape.branches if place is not None), None)
    if location is None:
        return
    message = explain_at(
        location,
        "the function decides here by the values of an argument, and the pattern has only the branch that was taken:",
        "Write np.where or wg.cond for a pattern of both branches; or ask for the one of this input, with local=True.",
    )
    warnings.warn_explicit(message, DecisionWarning, location.file, location.line, registry=_warned)


def _is_outside(trace: Trace) -> bool:
    """Return whether all results are zero or not finite, as branches outside of a domain or a cutoff return."""
    values = [innermost(part) for group in trace.results for part in group.parts]
    return not any(np.any(np.isfinite(value) & (value != 0)) for value in values)


_warned: dict[Any, Any] = {}
"""The warnings that have been shown, as Python's filters note them."""


def _name_results(arguments: Sequence[Group], results: Sequence[Group], single: bool) -> None:
    """Name results by a letter that no argument has: ``y``, or ``y1``, ``y2``, or ``y`` and the path in a tree."""
    taken = {group.name for group in arguments}
    letter = next(letter for letter in ("y", "z", "w", "result") if letter not in taken)
    for k, group in enumerate(results, 1):
        name = f"{letter}{group.name or k}"
        group.name = letter if single else name.removeprefix(letter) if group.name.startswith(letter) else name


def _captured(tape: Tape, result: Any) -> Any:
    """Return a result of a loop's body as a value of its own trace."""
    return capture(tape, result) if type(result) is Traced and result._tape is not tape else result


def _result(function: Callable[..., Any], returned: Any) -> Any:
    if type(returned) is Traced:
        if not returned._tape.open:  # the body of a loop put it into a list, say: its derivative would be zero
            if returned._index >= 0:
                raise escaped(None)
            return plain(returned)
        return returned
    if isinstance(returned, np.ndarray) and holds_traced(returned):
        return join(returned)
    if isinstance(returned, (float, int, np.ndarray, np.generic)) and np.asarray(returned).dtype.kind in "biufc":
        return as_value(returned)
    name = getattr(function, "__name__", "the function")
    code = getattr(function, "__code__", None)
    place = None if code is None else (code, 0)
    what = "None" if returned is None else f"a {type(returned).__name__}"
    hint = {
        "list": "Return np.array([...]) of it.",
        "tuple": "Return one array: np.array([...]) of scalars, np.concatenate([...]) of arrays.",
        "NoneType": "Is a return statement missing?",
    }.get(type(returned).__name__, "Return an array or a number.")
    raise ResultError.at(place, f"{name} returned {what}, where an array or a number is needed:", hint)


@functools.lru_cache(maxsize=512)
def _names_of(code: types.CodeType) -> tuple[str, ...]:
    return code.co_varnames[: code.co_argcount]


def parameter_names(function: Callable[..., Any], count: int) -> Sequence[str]:
    """Return the names of a function's positional parameters, made up where they have none."""
    inner = function
    while hasattr(inner, "__wrapped__"):
        inner = inner.__wrapped__
    code = getattr(inner, "__code__", None)
    names = () if code is None else _names_of(code)
    if names and getattr(inner, "__self__", None) is not None:
        names = names[1:]
    if len(names) >= count:
        return names[:count]
    return [*names, *("x" if count == 1 else f"x{k}" for k in range(len(names), count))]


def build_program(trace: Trace) -> Program:
    """Number the variables of a trace and write its rows as lines.

    Lines that nothing depends on are left out.  As in Griewank & Walther the dependent variables come last: a line
    whose result is only returned moves to the end.
    """
    tape = trace.tape
    results = [(part, trace.position(part)) for group in trace.results for part in group.parts]
    used: set[int] = {position for position, _, _ in tape.guards}
    needed = used | {position for _, position in results if position >= 0}
    live: list[Row] = []
    for row in reversed(tape.rows):
        out = row[5]
        if not needed.isdisjoint(out) if type(out) is tuple else out in needed:
            used.update(row[1])
            needed.update(row[1])  # with the -1 of constants, which is no position
            live.append(row)
    by_position = {row[5]: row for row in live}  # lines with several results stay where they are
    last = [by_position[k] for k in dict.fromkeys(k for _, k in results) if k in by_position and k not in used]
    moved = {row[5] for row in last}
    variables: dict[int, Var] = {}
    number = 1 - sum(len(group.parts) for group in trace.arguments)
    for group in trace.arguments:
        for part in group.parts:
            variables[part._index] = Var(number, part.shape, part.dtype)
            number += 1
    number = 0
    lines: list[Line] = []
    for primitive, parents, kept, params, place, out in [*[r for r in reversed(live) if r[5] not in moved], *last]:
        operands = tuple([
            variables[parent] if parent >= 0 else Constant(value)
            for parent, value in zip(parents, kept[1:], strict=True)
        ])  # fmt: skip
        if type(out) is tuple:
            written = []
            for position, y in zip(out, kept[0], strict=True):
                number += 1
                variables[position] = var = Var(number, y.shape, y.dtype)
                written.append(var)
            outputs = tuple(written)
        else:
            number += 1
            variables[out] = var = Var(number, kept[0].shape, kept[0].dtype)
            outputs = (var,)
        lines.append(Line(primitive, operands, outputs, params, place))

    def atom(part: Any) -> Var | Constant:
        position = trace.position(part)
        return variables[position] if position >= 0 else Constant(trace.value(part))

    guards: dict[tuple[int, type], Guard] = {}
    for position, value, place in tape.guards:
        guards.setdefault((position, type(value)), Guard(variables[position], value, place))
    return Program(
        "f" if trace.name == "<lambda>" else trace.name,
        tuple(Packing(g.name, g.shape, g.dtype, tuple(variables[p._index] for p in g.parts)) for g in trace.arguments),
        tuple(lines),
        tuple(Packing(g.name, g.shape, g.dtype, tuple(map(atom, g.parts))) for g in trace.results),
        tuple(guards.values()),
        trace.single,
    )
