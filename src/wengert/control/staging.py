"""Writing: how a loop, branch or checkpoint is run and becomes a line, its body traced where a trace is open.

A body is traced at the values of its first step, and again at those of the second, to see that it does the same and
changes nothing that it reads besides its arguments; then the loop runs on plain values, and its results ride along with
the line that is written for it.
"""

from __future__ import annotations

import contextlib
import functools
import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np

from wengert import trees
from wengert.control.bodies import Body, rearranged
from wengert.control.branch import Branches
from wengert.control.checkpoints import Policy
from wengert.control.closures import (
    Captured,
    Draft,
    Pattern,
    Unpacking,
    check_carry,
    check_collected,
    check_structure,
    draft_body,
    leaves_of,
    lift,
    place_of,
    widened,
    without_number,
)
from wengert.control.execution import BranchRun, LoopRun
from wengert.control.folding import Folding
from wengert.control.higher_order import call, write
from wengert.control.holding import Values
from wengert.control.loop import Loop
from wengert.control.rerolling import reroll
from wengert.control.short_loops import ShortLoop, short_loop, stacked
from wengert.control.state import reached_state, same_state
from wengert.control.templates import Template
from wengert.errors import BranchError, LostGradientError, ResultError, WengertError
from wengert.program import Line, Recordable, as_value, evaluate_line, interpret, value_of
from wengert.program.structure import all_same
from wengert.tracing import (
    Traced,
    at_place,
    current_context,
    holds_traced,
    innermost,
    join,
    parameter_names,
    root_of_view,
    settled,
)

Function = Callable[..., Any]
_copied = operator.methodcaller("copy")
Drawn = TypeVar("Drawn", Body, Draft)


def names_of(f: Function, structures: Sequence[Any]) -> list[list[str]]:
    """Name the leaves of each argument by the parameters of the user's function."""
    names: list[list[str]] = []
    taken: set[str] = set()
    for name, structure in zip(parameter_names(f, len(structures)), structures, strict=True):
        labels = [name] if structure.is_leaf() else trees.identifiers(structure, name)
        names.append([])
        for label in labels:
            while label in taken:
                label += "_"
            taken.add(label)
            names[-1].append(label)
    return names


# ---- A known number of steps ----


class Scan:
    """A loop of so many steps: `step` calls `f` with carry, number and slices; it returns carry and what to collect."""

    def __init__(
        self,
        name: str,
        f: Function,
        step: Function,
        of_carry: Any,
        of_xs: Any,
        names: list[list[str]],
        steps: int,
        reverse: bool,
        counter: range | None,
        policy: Policy,
    ) -> None:
        self.name, self.f, self.step = name, f, step
        self.of_carry, self.of_xs, self.names = of_carry, of_xs, names
        self.steps, self.reverse, self.counter = steps, reverse, counter
        self.policy = policy
        self.of_ys: Any = None
        self.at_step = 0

    def __call__(self, carry: Sequence[Any], slices: Sequence[Any]) -> tuple[Any, Any]:
        traced = bool(current_context().tapes)
        results = at_place(lambda: self._write(carry, slices)) if traced else self._loop(carry, slices)
        count = len(carry)
        return trees.unflatten(self.of_carry, results[:count]), trees.unflatten(self.of_ys, results[count:])

    def _split(self, returned: tuple[Any, Any], again: Callable[[], Any]) -> list[Any]:
        """Flatten what a step returned, and check the structures."""
        leaves, structure = leaves_of(returned[0], "the carry")
        check_structure(self.name, self.at_step, self.f, self.of_carry, structure, "the carry", again)
        ys, of_ys = leaves_of(returned[1], "y")
        if self.of_ys is not None and of_ys != self.of_ys:
            check_structure(self.name, self.at_step, self.f, self.of_ys, of_ys, "what is collected", again)
        self.of_ys = of_ys
        return [*leaves, *ys]

    def _call(self, values: Sequence[Any]) -> list[Any]:
        """Run a step on the leaves of its arguments."""
        count = self.of_carry.num_leaves
        number = () if self.counter is None else (values[count],)
        carry = trees.unflatten(self.of_carry, list(values[:count]))
        xs = trees.unflatten(self.of_xs, list(values[count + len(number) :]))
        arguments = self.f, carry, number[0] if number else None, xs
        return self._split(self.step(*arguments), lambda: self.step(*arguments))

    def _values(self, carry: Sequence[Any], slices: Sequence[Any], s: int) -> list[Any]:
        """Return the leaves of the arguments of the s-th step (of ones, if there is no step)."""
        if not self.steps:
            number: tuple[Any, ...] = () if self.counter is None else (np.int64(self.counter.start),)
            return [*carry, *number, *[as_value(np.ones(x.shape[1:], x.dtype)) for x in slices]]
        place = self.steps - 1 - s if self.reverse else s
        number = () if self.counter is None else (np.int64(self.counter[place]),)
        return [*carry, *number, *[as_value(x[place]) for x in slices]]

    def _loop(self, carry: Sequence[Any], slices: Sequence[Any]) -> list[Any]:
        """Run the loop in plain Python.  A body may write into what it is given, so it is given copies."""
        count = len(carry)
        if not self.steps:  # what would be collected is known from a step that is not made
            with np.errstate(all="ignore"):
                ys = self._call(self._values(carry, slices, 0))[count:]
            return [*carry, *[np.empty((0, *y.shape), y.dtype) for y in ys]]
        stacks: list[Any] = []

        def collect(place: int, collected: Sequence[Any]) -> None:
            if not stacks:
                stacks.extend(np.empty((self.steps, *y.shape), y.dtype) for y in collected)
            for k, y in enumerate(collected):
                stacks[k][place] = y

        return [*(self._in_turn(carry, slices, _copied, collect) or ()), *stacks]

    def _in_turn(
        self,
        carry: Sequence[Any],
        slices: Sequence[Sequence[Any]],
        own: Callable[[Any], Any],
        collect: Callable[[int, Sequence[Any]], None],
        goes_on: Callable[[], bool] | None = None,
    ) -> list[Any] | None:
        """Run the steps one after the other; return the last carry, or None if `goes_on`, asked after each, is False.

        A step may write into what it is given, so each of these values is made its `own`.  What it collects goes, with
        its place, to `collect`.
        """
        count = len(carry)
        values = self._values(list(map(own, carry)), slices, 0)
        results = first = self._checked_step(values[:count], list(map(own, values)), 0)
        of_carry, of_ys = Pattern(results[:count], self.of_carry), Pattern(results[count:], self.of_ys)
        state = trees.unflatten(self.of_carry, results[:count])
        if results[count:]:
            collect(self.steps - 1 if self.reverse else 0, results[count:])
        f, step, counter, number = self.f, self.step, self.counter, None
        one = slices[0] if self.of_xs.is_leaf() else None
        copies = one is not None and bool(np.ndim(one[0]))
        nothing = trees.unflatten(self.of_xs, []) if not slices else None
        for s in range(1, self.steps):
            if goes_on is not None and not goes_on():
                return None
            place = self.steps - 1 - s if self.reverse else s
            if counter is not None:
                number = np.int64(counter[place])
            if one is not None:
                x = own(one[place]) if copies else one[place]
            else:
                x = trees.unflatten(self.of_xs, [own(a[place]) for a in slices]) if slices else nothing
            returned = step(f, state, number, x)
            collected = of_ys.leaves(returned[1])
            if collected is None or of_carry.leaves(returned[0]) is None:  # of another type, or wrong
                arguments = [*trees.flatten(state)[0], *([] if number is None else [number]), *trees.flatten(x)[0]]
                results = self._checked_step(arguments[:count], arguments, s, first[count:], returned)
                state, collected = trees.unflatten(self.of_carry, results[:count]), results[count:]
                of_carry = Pattern(results[:count], self.of_carry)
            else:
                state = returned[0]
            if collected:
                collect(place, collected)
        return None if goes_on is not None and not goes_on() else trees.flatten(state)[0]

    def _checked_step(
        self,
        carry: Sequence[Any],
        values: Sequence[Any],
        s: int,
        before: Sequence[Any] = (),
        returned: Any = None,
    ) -> list[Any]:
        """Run a step (if that has not been done) and check all that it returns, against what was collected `before`."""
        self.at_step = s
        again = functools.partial(self._call, values)
        results = again() if returned is None else self._split(returned, again)
        check_carry(self.name, s, self.f, self.names[0], carry, results[: len(carry)], again=again)
        if before:
            names = trees.identifiers(self.of_ys, "y")
            check_collected(self.name, s, self.f, names, before, results[len(carry) :], again)
        return results

    def _write(self, carry: Sequence[Any], slices: Sequence[Any]) -> list[Any]:
        """Trace the step, run the loop at plain values, and write its line; a short loop in a body is written out."""
        writer = short_loop(self.policy, self.steps, self.f)
        results = None if writer is None else self._write_out(writer, carry, slices)
        if results is not None:
            return results
        plain_carry, plain_xs = [innermost(c) for c in carry], [innermost(x) for x in slices]
        count = len(carry)
        captured = Captured()
        collected: list[Any] = []

        def unpack(returned: list[Any]) -> list[tuple[str, Any]]:
            ys = trees.identifiers(self.of_ys, "y")
            return [*zip((f"{name}'" for name in self.names[0]), returned, strict=False)] + [
                *zip(ys, returned[count:], strict=True)
            ]

        def trace(state: Sequence[Any], s: int) -> Draft:
            self.at_step = s
            values = self._values(state, plain_xs, s)
            numbered = [] if self.counter is None else self.names[2]
            names = [*self.names[0], *numbered, *self.names[1]]
            again = functools.partial(draft_body, self.f, self._call, values, names, Unpacking(unpack), captured)
            draft = again()
            results = draft.results
            check_carry(self.name, s, self.f, self.names[0], state, results[:count], again=again)
            if collected:
                of_y = [result.name for result in results[count:]]
                check_collected(self.name, s, self.f, of_y, collected, results[count:], again)
            collected[:] = results[count:]
            return draft

        before = reached_state(self.f) if self.steps > 2 else None
        if self.steps:
            first = trace(plain_carry, 0)
        else:
            with np.errstate(all="ignore"):
                first = trace(plain_carry, 0)
        if self.steps > 1:

            def then(draft: Draft) -> Draft:
                return trace(draft.values[:count], 1)

            second = then(first)
            keeps_state = before is not None and not same_state(before, reached_state(self.f))
            if keeps_state or not same_step(first, second):
                lifted = None if keeps_state else _lifted(self, first, second, lambda: trace(plain_carry, 0), then)
                if lifted is None:
                    return self._write_each(carry, slices, captured, trace, [first, second])
                first = lifted
        loop = Loop(
            self.name, (first.body,), count, len(slices), len(first.results) - count, len(captured.values), self.steps,
            self.counter, self.reverse, policy=self.policy,
        )  # fmt: skip
        return _run(loop, carry, slices, captured, lambda _is_test, values, s: trace(values[:count], s).body)

    def _write_out(self, writer: ShortLoop, carry: Sequence[Any], slices: Sequence[Any]) -> list[Any] | None:
        """Write the steps one after the other on the trace; None if that is given up."""
        elements = [[x[place] for place in range(self.steps)] for x in slices]
        rows: list[Sequence[Any]] = [()] * self.steps

        def collect(place: int, collected: Sequence[Any]) -> None:
            rows[place] = list(map(writer.own, collected))

        state = writer.in_users_code(lambda: self._in_turn(carry, elements, writer.own, collect, writer.goes_on))
        return None if state is None else [*state, *stacked(rows)]

    def _write_each(
        self,
        carry: Sequence[Any],
        slices: Sequence[Any],
        captured: Captured,
        trace: Callable[..., Draft],
        traced: Sequence[Draft],
    ) -> list[Any]:
        """Trace every step, since they differ by more than their arguments, and write the line of the loop.

        The first steps have been `traced` (and would draw other random numbers the second time).
        """
        count = len(carry)
        each = EachStep(
            count + (self.counter is not None) + len(slices), None if self.counter is None else count, captured
        )
        state = [innermost(c) for c in carry]
        for s in range(self.steps):
            draft = traced[s] if s < len(traced) else trace(state, s)
            each.add(draft.body)
            state = list(draft.values[:count])
        bodies, arrays = each.bodies()
        if self.reverse:
            arrays = [a[::-1] for a in arrays]
        loop = Loop(
            self.name, tuple(bodies), count, len(slices) + len(arrays), len(bodies[0].program.results) - count,
            len(captured.values), self.steps, self.counter, self.reverse,
            which=tuple(each.which) if len(bodies) > 1 else None, policy=self.policy,
        )  # fmt: skip
        return _run(loop, carry, [*slices, *arrays], captured)


def same_step(first: Draft, second: Draft) -> bool:
    """Return whether a second step does as the first one, or takes another branch by a decision that is known."""
    if first.does_as(second):
        return True
    programs = first.body.program, second.body.program
    template = Template(programs[0])
    mine, other = map(template.read, programs)
    if mine is not None and other is not None:
        return all_same(mine, other)
    decisions = [[g.value for g in program.guards if type(g.value) is bool] for program in programs]
    return decisions[0] != decisions[1]


def _lifted(
    owner: Any, first: Draft, second: Draft, again: Callable[[], Draft], then: Callable[[Draft], Draft]
) -> Draft | None:
    """Trace the first two steps once more, with the plain arrays that the body closes over as constants of the trace.

    A body that reads a plain array at the number of the step, ``us[i]``, makes a plain int of it: NumPy does not let
    arrays of others know.  As a constant of the trace ``us`` is asked itself, and every step has the same lines.
    Returns the first draft, and leaves the lifted function with its `owner`; None where that does not help.
    """
    if not any(type(guard.value) is int for guard in first.body.program.guards):
        return None
    plainly = owner.f
    lifted = lift(plainly)
    if lifted is None:
        return None
    owner.f = lifted
    try:
        one = again()
        two = then(one)
        same = all_same((*first.values, *second.values), (*one.values, *two.values))
        if same and same_step(one, two):
            return one
    except Exception:
        pass  # it does what only a plain array can do
    owner.f = plainly
    return None


class EachStep:
    """The steps of a loop that were traced one by one: alike ones are folded, with what differs as slices.

    That is what a body needs that draws random numbers, or reads a plain array at the number of the step.
    """

    def __init__(self, first_const: int, number: int | None, captured: Captured) -> None:
        self.first_const, self.number, self.captured = first_const, number, captured
        self.which: list[int] = []
        self._templates: list[tuple[Template, Body]] = []
        self._rows: list[dict[int, list[Any]]] = []

    def add(self, body: Body) -> None:
        """Add the next step."""
        program = without_number(body.program, self.number)
        rows = ((n, template.read(program)) for n, (template, _) in enumerate(self._templates))
        n, row = next(((n, row) for n, row in rows if row is not None), (len(self._templates), None))
        if row is None:
            template = Template(program)
            self._templates.append((template, body))
            self._rows.append({})
            row = template.read(program)
            assert row is not None
        self._rows[n][len(self.which)] = row
        self.which.append(n)

    def bodies(self) -> tuple[list[Body], list[Any]]:
        """Return the bodies, which take what differs before their constants, and the arrays of it."""
        steps = range(len(self.which))
        first, folded = self.first_const, []
        for (template, body), rows in zip(self._templates, self._rows, strict=True):
            some = next(iter(rows.values()))
            folded.append((body, *template.fold([rows.get(s, some) for s in steps], first)))
        arrays = [array for _, _, stacks in folded for array in stacks]
        new = [program.arguments[first + k] for _, program, stacks in folded for k in range(len(stacks))]
        bodies, start = [], 0
        for n, (body, program, stacks) in enumerate(folded):
            stop = first + len(stacks)
            order: list[Any] = [*range(first), *new, *range(stop, len(program.arguments))]
            order[first + start : stop + start] = range(first, stop)
            s = next(iter(self._rows[n]))
            sample = (*body.sample[:first], *[as_value(a[s]) for a in arrays], *body.sample[first:])
            bodies.append(widened(Body(rearranged(program, order), sample), first + len(arrays), self.captured))
            start += len(stacks)
        return bodies, arrays


def active_among(values: Sequence[Any]) -> tuple[bool, ...]:
    """Return which values are traced real or complex numbers, so that derivatives reach them."""
    return tuple(isinstance(v, Traced) and v._index >= 0 and v.dtype.kind in "fc" for v in values)


def _run(
    loop: Loop,
    carry: Sequence[Any],
    slices: Sequence[Any],
    captured: Captured,
    retrace: Callable[[bool, Values, int], Body] | None = None,
) -> list[Any]:
    """Run a loop at plain values, with branches traced as steps take them, and write its line."""
    operands = [*map(settled, carry), *map(settled, slices)]
    plain = tuple(map(innermost, operands))
    run = LoopRun(loop, (*plain, *captured.values), retrace=retrace, constants=captured.values)
    active = active_among([*operands, *captured.traced])
    results = run.evaluate(active if any(active) and not current_context().tapes[0].keep_all else None)
    if loop.length is None or (loop.consts, len(loop.bodies)) != (len(captured.values), len(run.bodies)):
        loop = replace(
            loop, consts=len(captured.values), executed=run.count,
            bodies=tuple(widened(body, loop.first_const, captured) for body in run.bodies),
            tests=tuple(widened(test, loop.carried, captured) for test in run.tests),
        )  # fmt: skip
    operands += captured.traced
    run.settle(loop, (*plain, *captured.values), active_among(operands))
    return list(write(run, loop, operands, results))


def not_a_pair(name: str, f: Function, returned: Any) -> ResultError:
    """Return the error for a step that does not return a pair of carry and collected values."""
    return ResultError.at(
        place_of(f),
        f"{name}: a step returned {described(returned)}, where a pair is needed:",
        "Return (carry, y): the next carry, and what is to be collected (None for nothing).",
    )


def described(returned: Any) -> str:
    """Describe the value that a function returned, for an error message."""
    if returned is None:
        return "None"
    if isinstance(returned, (tuple, list)):
        return f"a {type(returned).__name__} of {len(returned)}"
    if isinstance(returned, (np.ndarray, np.generic, Recordable, int, float)):
        return "one array" if getattr(returned, "ndim", 0) else "one number"
    return f"a {type(returned).__name__}"


# ---- While a test holds ----


def truth(cond_fun: Function, returned: Any) -> Any:
    """Return what a test returned, which must be one truth value."""
    value: Any = returned if isinstance(returned, Recordable) else np.asarray(returned)
    if value.size != 1 or value.dtype.kind not in "biuf":
        what = f"an array of shape {value.shape} and dtype {value.dtype}"
        if value.dtype.kind not in "biufc":
            what = described(returned)
        raise ResultError.at(
            place_of(cond_fun, None),
            f"while_loop: the test returned {what}, where a truth value is needed:",
            "Return a comparison of numbers; reduce that of arrays by np.any or np.all.",
        )
    return returned if isinstance(returned, Recordable) else as_value(value)


def repeat(
    cond_fun: Function,
    body_fun: Function,
    carry: Sequence[Any],
    of_carry: Any,
    goes_on: Callable[[], bool] | None = None,
) -> Any:
    """Run the loop in Python; return the last value, or None where `goes_on`, called before each step, is False."""
    pattern = Pattern(carry, of_carry)
    value = trees.unflatten(of_carry, carry)  # of their own: the body may write into what it is given
    s = 0
    while True:
        test = cond_fun(value)
        kind = type(test)
        holds = test if kind is bool or kind is np.bool_ else bool(truth(cond_fun, test))
        if goes_on is not None and not goes_on():
            return None
        if not holds:
            return value
        after = body_fun(value)
        if pattern.leaves(after) is None:  # of another type, or wrong
            leaves, structure = leaves_of(after, "the value")
            again = functools.partial(body_fun, value)
            check_structure("while_loop", s, body_fun, of_carry, structure, "the value", again)
            names = names_of(body_fun, [of_carry])[0]
            before = trees.flatten(value)[0]
            check_carry("while_loop", s, body_fun, names, before, leaves, "the value", again=again)
            after = trees.unflatten(of_carry, leaves)
            pattern = Pattern(leaves, of_carry)
        value = after
        s += 1


def write_while(cond_fun: Function, body_fun: Function, carry: list[Any], of_carry: Any, policy: Policy) -> Any:
    """Trace test and step, run the loop at plain values, and write its line; a short one in a body is written out."""
    writer = short_loop(policy, None, body_fun, cond_fun)
    if writer is not None:
        own = list(map(writer.own, carry))
        value = writer.in_users_code(lambda: repeat(cond_fun, body_fun, own, of_carry, writer.goes_on))
        if value is not None:
            return value
    plain_carry = [innermost(c) for c in carry]
    captured = Captured()
    names = names_of(body_fun, [of_carry])[0]

    def test(values: Sequence[Any]) -> list[Any]:
        return [truth(cond_fun, cond_fun(trees.unflatten(of_carry, list(values))))]

    at_step = 0
    body_of = SimpleNamespace(f=body_fun)

    def step(values: Sequence[Any]) -> list[Any]:
        value = trees.unflatten(of_carry, list(values))
        after, structure = leaves_of(body_of.f(value), "the value")
        again = functools.partial(body_of.f, value)
        check_structure("while_loop", at_step, body_fun, of_carry, structure, "the value", again)
        return after

    def trace(is_test: bool, values: Sequence[Any], s: int) -> Draft:
        nonlocal at_step
        at_step = s
        state = list(values[: len(carry)])
        if is_test:
            unpack = Unpacking(lambda returned: [("goes_on", returned[0])])
            return draft_body(cond_fun, test, state, names, unpack, captured)
        unpack = Unpacking(lambda returned: [*zip((f"{name}'" for name in names), returned, strict=True)])
        again = functools.partial(draft_body, body_fun, step, state, names, unpack, captured)
        draft = again()
        check_carry("while_loop", s, body_fun, names, state, draft.results, "the value", again=again)
        return draft

    before = reached_state(body_fun, cond_fun)
    test_draft = trace(True, plain_carry, 0)
    if not test_draft.values[0]:
        # no step: as with Python's own while, the decision alone is recorded
        bool(truth(cond_fun, cond_fun(trees.unflatten(of_carry, carry))))
        return trees.unflatten(of_carry, carry)
    first = trace(False, plain_carry, 0)

    def then(draft: Draft) -> Draft:
        return trace(False, draft.values, 1)

    second = _if_it_can_be(lambda: then(first))
    keeps_state = not same_state(before, reached_state(body_fun, cond_fun))
    if second is not None and (keeps_state or not same_step(first, second)):
        again = functools.partial(trace, False, plain_carry, 0)
        lifted = None if keeps_state else _lifted(body_of, first, second, again, then)
        if lifted is None:
            traced = [first, second]
            return trees.unflatten(of_carry, _write_each_while(carry, captured, trace, policy, traced))
        first = lifted
    loop = Loop(
        "while_loop", (first.body,), len(carry), 0, 0, len(captured.values), tests=(test_draft.body,), policy=policy
    )
    retrace = functools.partial(_body_of, trace)
    return trees.unflatten(of_carry, _run(loop, carry, [], captured, retrace))


def _body_of(trace: Callable[..., Draft], is_test: bool, values: Values, s: int) -> Body:
    return trace(is_test, values, s).body


def _write_each_while(
    carry: list[Any], captured: Captured, trace: Callable[..., Draft], policy: Policy, traced: Sequence[Draft]
) -> list[Any]:
    """Trace every step, since they differ by more than the value, and write the line of the loop.

    The first steps have been `traced`.
    """
    each = EachStep(len(carry), None, captured)
    state = [innermost(c) for c in carry]
    tests = [trace(True, state, 0).body]
    while True:
        for test in tests:
            with contextlib.suppress(BranchError):
                holds = test(*state, *test.sample[len(state) :])[0]
                break
        else:
            draft = trace(True, state, 0)
            tests.append(draft.body)
            holds = draft.values[0]
        if not holds:
            break
        s = len(each.which)
        draft = traced[s] if s < len(traced) else trace(False, state, s)
        each.add(draft.body)
        state = list(draft.values)
    bodies, arrays = each.bodies()
    loop = Loop(
        "while_loop", tuple(bodies), len(carry), len(arrays), 0, len(captured.values), policy=policy,
        tests=tuple(widened(test, len(carry), captured) for test in tests),
        which=tuple(each.which) if len(bodies) > 1 else None,
    )  # fmt: skip
    return _run(loop, carry, arrays, captured)


# ---- Branches ----


def write_cond(pred: Any, true_fun: Function, false_fun: Function, operands: Sequence[Any]) -> Any:
    """Trace both branches, run the one that is taken, and write its line."""
    leaves, structure = leaves_of(tuple(operands), "operands")
    values = [innermost(leaf) for leaf in leaves]
    taken = int(bool(innermost(pred)))
    captured = Captured()
    of_results: dict[int, Any] = {}

    def trace(branch: int) -> Body:
        function = true_fun if branch else false_fun

        def run(values: Sequence[Any]) -> list[Any]:
            before = [value._index for value in values]
            result = function(*trees.unflatten(structure, list(values)))
            for k in changed_among(values, before):
                raise LostGradientError.at(
                    place_of(function),
                    f"cond: a branch writes into its operand {names[k]}, which would be lost:",
                    "Copy the operand first, and return the changed array: t = t.copy().",
                )
            parts, of_results[branch] = leaves_of(result, "the result")
            return parts

        unpack = Unpacking(lambda returned: [*zip(_labels(of_results[branch]), returned, strict=True)])
        of_operands = names_of(function, [trees.flatten(o)[1] for o in operands])
        names = [name for of_operand in of_operands for name in of_operand]
        return draft_body(function, run, values, names, unpack, captured).body

    bodies: list[Body | None] = [None, None]
    bodies[taken] = first = trace(taken)
    bodies[1 - taken] = second = _if_it_can_be(lambda: trace(1 - taken))
    if second is not None:
        name = "cond, the branch that is not taken"
        function = false_fun if taken else true_fun
        check_structure(name, None, function, of_results[taken], of_results[1 - taken], "the result")
        results = first.program.results, second.program.results
        check_carry(name, None, function, _labels(of_results[taken]), *results, "the result")
    bodies = [None if b is None else widened(b, len(values), captured) for b in bodies]
    held = Branches("cond", tuple(bodies), ("where false", "where true"), True, taken)
    truth = pred if pred.dtype.kind == "b" else pred != 0
    inputs = [truth.reshape(()) if truth.shape else truth, *map(settled, leaves), *captured.traced]
    run = BranchRun(held, tuple(map(innermost, inputs)))
    return trees.unflatten(of_results[taken], list(write(run, held, inputs, run.evaluate(active_among(inputs)))))


def _labels(structure: Any) -> list[str]:
    return ["y"] if structure.is_leaf() else trees.identifiers(structure, "y")


def _if_it_can_be(trace: Callable[[], Drawn]) -> Drawn | None:
    """Trace a branch that is not taken; None where it fails.  No decision that it takes binds the trace around it."""
    context = current_context()
    guards_before = [(tape, len(tape.guards)) for tape in context.tapes]
    muted, context.muted = context.muted, True
    alarms = context.alarms
    try:
        with np.errstate(all="ignore"):
            return trace()
    except Exception:
        return None
    finally:
        context.muted, context.alarms = muted, alarms
        for tape, count in guards_before:
            del tape.guards[count:]


# ---- Checkpoints ----


def write_checkpoint(f: Function, args: Any, kwargs: Any) -> Any:
    """Trace the function, forget its residuals, and write its line."""

    def call_again(body: Body, operands: Sequence[Any]) -> Sequence[Any]:
        return call(Branches("checkpoint", (body,), ("inside",), False, 0), operands)

    return _write_body("checkpoint", f, args, kwargs, call_again)


def folding(f: Function) -> Function:
    """Return a function of traced values that does as `f`, which is traced by itself, and folded.

    Its lines, some of which are loops and instructions, are written on the trace that runs (`wengert.control.folding`).
    """

    @functools.wraps(f)
    def folded(*args: Any, **kwargs: Any) -> Any:
        context = current_context()
        try:
            context.folds = False
            return at_place(lambda: _write_body(name, f, args, kwargs, _write_lines, Folding))
        except WengertError:
            return f(*args, **kwargs)  # it does what cannot be done in a body
        finally:
            context.folds = True

    name = getattr(f, "__name__", "f")
    return folded


def _write_lines(body: Body, operands: Sequence[Any]) -> Sequence[Any]:
    """Write the lines of a body on the trace of its operands."""
    context = current_context()
    place = context.place
    program = reroll(body.program, body.sample)

    def write_line(line: Line, values: list[Any]) -> Any:
        context.place = line.place or place
        return evaluate_line(line, values)

    try:
        values = interpret(program, operands, write_line)
    finally:
        context.place = place
    return [value_of(atom, values) for atom in program.outputs]


def _write_body(
    name: str, f: Function, args: Any, kwargs: Any, write_line: Callable[[Body, Sequence[Any]], Sequence[Any]],
    fold: Callable[[], Any] | None = None,
) -> Any:  # fmt: skip
    """Trace a function by itself, and write what becomes of its body; arrays that it has changed are changed."""
    leaves, structure = trees.flatten((args, kwargs))
    leaves = [join(leaf) if not isinstance(leaf, Recordable) and holds_traced(leaf) else leaf for leaf in leaves]
    moving = [k for k, leaf in enumerate(leaves) if isinstance(leaf, Recordable)]
    values = [innermost(leaves[k]) for k in moving]
    captured = Captured()
    of_result: Any = None
    changed: list[int] = []

    def run(values: Sequence[Any]) -> list[Any]:
        nonlocal of_result
        before = [value._index for value in values]
        inner_leaves = list(leaves)
        for k, value in zip(moving, values, strict=True):
            inner_leaves[k] = value
        inner_args, inner_kwargs = trees.unflatten(structure, inner_leaves)
        parts, of_result = leaves_of(f(*inner_args, **inner_kwargs), "the result")
        changed[:] = changed_among(values, before)
        return [*parts, *[values[k].copy() for k in changed]]

    unpack = Unpacking(
        lambda returned: [*zip([*_labels(of_result), *[f"{names[k]}'" for k in changed]], returned, strict=True)]
    )
    of_args = names_of(f, [trees.flatten(a)[1] for a in args])
    labels = [name for of_arg in of_args for name in of_arg]
    for key in sorted(kwargs):
        of_value = trees.flatten(kwargs[key])[1]
        labels += [key] if of_value.is_leaf() else trees.identifiers(of_value, key)
    names = [labels[k] for k in moving]
    body = draft_body(f, run, values, names, unpack, captured, fold).body
    operands = [*(leaves[k] for k in moving), *captured.traced]
    results = list(write_line(body, operands))
    count = len(results) - len(changed)
    for k, result in zip(changed, results[count:], strict=True):  # the caller's array, as the function has left it
        array = operands[k]
        others = [other for n, other in enumerate(operands[: len(moving)]) if n != k]
        if captured.reads(array) or any(share(array, other) for other in others):
            raise LostGradientError.at(
                place_of(f),
                f"{name}: the function writes into its argument {names[k]}, which it reads by another name, too:",
                "Copy it first: t = t.copy().",
            )
        array[...] = result
    return trees.unflatten(of_result, results[:count])


def changed_among(values: Sequence[Any], before: Sequence[int]) -> list[int]:
    """Return which arguments of a function have been written into, by their positions on the tape `before`."""
    return [k for k, (value, index) in enumerate(zip(values, before, strict=True)) if value._index != index]


def share(a: Any, b: Any) -> bool:
    """Return whether two traced arrays are, or are views of, the same one."""
    one, other = root_of_view(a), root_of_view(b)
    return one is other or (one._tape is other._tape and one._index == other._index >= 0)
