"""Dependence: on which independent variables the results of a loop or branch may depend.

A branch reaches what any of its Programs reaches.  The steps of a loop are composed: if they are alike, the pattern of
one step is found once and multiplied through the number of steps, or until nothing is added where that number may
change; if a step computes positions by its number, each is gone through with the numbers that it has.  A reverse sweep
over a loop composes the steps forth, and their adjoint programs back.

>>> import numpy as np, wengert as wg
>>> def shift(x):
...     return wg.fori_loop(0, 2, lambda i, c: np.concatenate([c[:1], c[:-1]]), x)
>>> wg.jacobian_sparsity(shift)(np.ones(4)).toarray().astype(int)
array([[1, 0, 0, 0],
       [1, 0, 0, 0],
       [1, 0, 0, 0],
       [0, 1, 0, 0]])
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from wengert.accumulation.sparsity import CONSTANT, Reach, anything, propagate, union
from wengert.control.backward import ReverseOf
from wengert.control.bodies import Body
from wengert.control.branch import Branches
from wengert.control.holding import Values
from wengert.control.loop import Loop
from wengert.errors import BranchError
from wengert.jacobians import IndexDomains, joined
from wengert.linearization import Linearization
from wengert.program import Guard, Program, as_value, check_guard
from wengert.program.dataflow import depending_on
from wengert.tracing import Row

if TYPE_CHECKING:
    from scipy import sparse

MOST_STEPS = 2000
"""Of a loop whose steps are not alike, up to so many are gone through one by one."""


def carry(row: Row, operands: Sequence[Reach], width: int, local: bool) -> list[Reach]:
    """Return what the results of a line that holds Programs reach, from what its operands reach."""
    _, _, kept, params, _, _ = row
    held, values = params["held"], kept[1:]
    if isinstance(held, Branches):
        return _branches(held, values, operands, width, local)
    if isinstance(held, Loop):
        return _Steps(held, values, operands, width, local).forth()
    if isinstance(held, ReverseOf):
        return _reverse(held, values, operands, width, local)
    return [anything(operands, np.shape(y)) for y in kept[0]]


def _either(one: Reach, other: Reach) -> Reach:
    """Return what a value reaches that may be either of two."""
    return Reach(union([one.pattern, other.pattern]), one.varies or other.varies)


def _both(one: Sequence[Reach], other: Sequence[Reach]) -> list[Reach]:
    """Return what results reach that may come from either of two Programs."""
    return [*map(_either, one, other)]


def _through(program: Program, values: Sequence[Any], operands: Sequence[Reach], width: int, local: bool) -> Any:
    """Return what the results of a Program reach, and their values; BranchError where constants decide otherwise."""
    inputs = [var for var, operand in zip(program.inputs, operands, strict=True) if operand.varies and not local]
    varying = depending_on(program, inputs)

    def on_guard(guard: Guard, value: Any) -> None:
        if guard.var not in varying:
            check_guard(guard, value)

    with np.errstate(all="ignore"):
        linearization = Linearization.of_variables(program, [as_value(v) for v in values], on_guard)
    return propagate(linearization, operands, width, local), linearization.values


def _samples(body: Body, values: Sequence[Any], operands: Sequence[Reach]) -> list[Any]:
    """Return values for which a body holds that may not hold here: its own, but for constants."""
    return [s if o.varies else v for s, v, o in zip(body.sample, values, operands, strict=False)]


def _of_any(
    bodies: Sequence[Body], program_of: Callable[[Body], Program], values: Sequence[Any], operands: Sequence[Reach],
    more: tuple[Sequence[Any], Sequence[Reach]], width: int,
) -> list[Reach]:  # fmt: skip
    """Return what the results of any of some bodies reach; `more` are operands beside those of the body."""
    total: list[Reach] | None = None
    for body in bodies:
        count = len(body.sample)
        taken = [*_samples(body, values, operands), *more[0]]
        try:
            reached, _ = _through(program_of(body), taken, [*operands[:count], *more[1]], width, False)
        except BranchError:  # it is not taken at this step, whatever the inputs
            continue
        total = reached if total is None else _both(total, reached)
    return total or []


# ---- Branches ----


def _branches(held: Branches, values: Sequence[Any], operands: Sequence[Reach], width: int, local: bool) -> list[Reach]:
    body, inner = held.choose(values)
    rest = operands[held.leading :]
    if local or not held.leading or not operands[0].varies:
        return _through(body.program, inner, rest, width, local)[0]  # type: ignore[no-any-return]
    if len(held.traced) < len(held.bodies):
        return [anything(rest, y.shape) for y in body.program.results]
    reached = _of_any(held.traced, lambda body: body.program, inner, rest, ((), ()), width)
    return [Reach(r.pattern, True) for r in reached]


# ---- Loops ----


class _State(NamedTuple):
    """A step as it is entered: its body, the values of its arguments, and what these reach."""

    body: Body
    values: Values
    operands: list[Reach]


class _Entries(NamedTuple):
    """The entries of the Jacobian of a step: for each result those by each argument that it depends on."""

    blocks: list[list[tuple[int, sparse.csr_array | None]]]
    """The number of the argument, and the entries; None for those of an identity."""
    varies: list[bool]
    shapes: list[tuple[int, ...]]

    @classmethod
    def of(cls, program: Program, sample: Sequence[Any], varies: Sequence[bool]) -> _Entries:
        """Find them for a Program at a sample of its arguments, some of which change with the inputs or the step."""
        sizes = [math.prod(np.shape(v)) for v in sample]
        starts = np.concatenate([[0], np.cumsum(sizes)]).tolist()
        operands = [
            Reach(IndexDomains.identity(np.shape(v), start, starts[-1]) if as_value(v).dtype.kind in "fc" else None, on)
            for v, start, on in zip(sample, starts, varies, strict=False)
        ]
        reached, _ = _through(program, sample, operands, starts[-1], False)
        blocks: list[list[tuple[int, sparse.csr_array | None]]] = []
        for pattern, _ in reached:
            rows = None if pattern is None else pattern.csr()
            places = enumerate(zip(starts, sizes, strict=False))
            parts = [] if rows is None else [(k, rows[:, start : start + size]) for k, (start, size) in places]
            blocks.append([(k, None if _is_identity(part) else part) for k, part in parts if part.nnz])
        return cls(blocks, [r.varies for r in reached], [y.shape for y in program.results])

    def counts(self) -> list[list[tuple[int, int]]]:
        """Return the numbers of entries."""
        return [[(k, -1 if part is None else part.nnz) for k, part in row] for row in self.blocks]

    def carry(self, operands: Sequence[Reach]) -> list[Reach]:
        """Return what the results of a step reach, from what its arguments reach."""
        results = []
        for row, on, shape in zip(self.blocks, self.varies, self.shapes, strict=True):
            parts = []
            for k, part in row:
                pattern = operands[k].pattern
                if pattern is not None:
                    parts.append(pattern.reshaped(shape) if part is None else pattern.through(part, shape))
            results.append(Reach(union(parts), on))
        return results


def _is_identity(matrix: sparse.csr_array) -> bool:
    n, m = matrix.shape
    return bool(n == m == matrix.nnz and np.array_equal(matrix.indices, np.arange(n)) and matrix.indptr[1] == 1)


class _Steps:
    """The steps of a loop, with what their arguments reach."""

    def __init__(self, loop: Loop, values: Sequence[Any], operands: Sequence[Reach], width: int, local: bool) -> None:
        self.loop, self.width, self.local = loop, width, local
        self.consts, self.first, self.xs = loop.split(operands)
        self.values_of_consts, self.values_of_first, self.values_of_xs = loop.split(values)
        varies, _ = loop.reached_through(loop.bodies, tuple([o.varies for o in operands]), Body.depends)
        self.varies = list(varies)
        """Which arguments of a step change with the inputs, some step or other."""
        self.until_fixed = loop.length is None and not local
        self.alike = self._all_alike()
        self.states: list[_State] = []
        """The steps that were gone through; the last one alone, where all after it are the same."""

    # -- What any step does --

    def _all_alike(self) -> bool:
        """Return whether each step has the entries that any has: none is at a position that its number says."""
        loop = self.loop
        if self.local:
            return False
        if self.until_fixed or loop.steps > MOST_STEPS:
            return True
        if len(loop.bodies) > 1:
            return False
        changing = [*self.varies[: loop.carried], *[False] * (loop.counter is not None)]
        if all(changing):
            return True
        (body,) = loop.bodies
        here = _Entries.of(body.program, body.sample, self.varies)
        return here.counts() == _Entries.of(body.program, body.sample, self._unsteady()).counts()

    def _unsteady(self) -> list[bool]:
        """Return which arguments change with the inputs or from step to step."""
        first = self.loop.first_const - self.loop.sliced
        return [True] * first + self.varies[first:]

    def _any_step(
        self, program_of: Callable[[Body], Program], samples_of: Callable[[Body], Sequence[Any]], count: int
    ) -> Callable[[Sequence[Reach]], list[Reach]]:
        """Return the function of what the arguments of any step reach; `count` arguments come after the body's."""
        unsteady, steps = self._unsteady(), []
        for body in self.loop.bodies:
            n = len(body.sample)
            steps.append((n, _Entries.of(program_of(body), samples_of(body), [*unsteady[:n], *[True] * count])))

        def step(operands: Sequence[Reach]) -> list[Reach]:
            split = len(operands) - count
            total: list[Reach] | None = None
            for n, entries in steps:
                reached = entries.carry([*operands[: min(n, split)], *operands[split:]])
                total = reached if total is None else _both(total, reached)
            return total or []

        return step

    # -- Forth --

    def arguments(self, carry: Sequence[Reach], place: int | None) -> list[Reach]:
        """Return what the arguments of a step reach; with None for its place, those of any step."""
        number = [Reach(None, place is None)] * (self.loop.counter is not None)
        return [*carry, *number, *[_item(x, place) for x in self.xs], *self.consts]

    def forth(self) -> list[Reach]:
        """Go through the steps; return what the results of the loop reach."""
        loop = self.loop
        carry = [Reach(o.pattern, on) for o, on in zip(self.first, self.varies, strict=False)]
        if self.until_fixed:
            return self._until_fixed(carry)
        any_step = self._any_step(lambda b: b.program, lambda b: b.sample, 0) if self.alike else None
        values = self.values_of_first
        collected: list[list[Reach]] = [[] for _ in range(loop.collected)]
        steady = self.alike and all(x.pattern is None for x in self.xs)
        results: list[Reach] = []
        for s in range(loop.steps):
            place = loop.index(s, loop.steps)
            operands = self.arguments(carry, place)
            if any_step is not None:
                self.states.append(_State(loop.bodies[0], (), operands))
                results = any_step(operands)
            else:
                results, values = self._step(s, place, values, operands)
            for column, y in zip(collected, results[loop.carried :], strict=True):
                column.append(y)
            after = results[: loop.carried]
            if steady and all(map(_same, carry, after)):
                for column in collected:
                    column += column[-1:] * (loop.steps - s - 1)
                self.states += self.states[-1:] * (loop.steps - s - 1)
                break
            carry = after
        ys = loop.bodies[0].program.results[loop.carried :]
        return [
            *carry,
            *[self._stacked(c[::-1] if loop.reversed else c, y.shape) for c, y in zip(collected, ys, strict=True)],
        ]

    def _step(self, s: int, place: int, values: Values, operands: list[Reach]) -> tuple[list[Reach], Values]:
        """Go through one step by its values; in the patterns for all inputs, another body may be taken, too."""
        loop = self.loop
        arguments = loop.values(self.values_of_consts, values, self.values_of_xs, place)
        for body in loop.bodies if loop.which is None else [loop.bodies[loop.which[s]]]:
            count = len(body.sample)
            try:
                body.run(*arguments[:count])
                reached, results = _through(body.program, arguments[:count], operands[:count], self.width, self.local)
            except BranchError:
                continue
            break
        else:
            raise BranchError(f"{loop.name} takes a branch here that it did not take where it was traced.")
        self.states.append(_State(body, arguments[:count], operands))
        reached = self._or_of_others(reached, body, lambda b: b.program, arguments, operands, ((), ()))
        return reached, tuple(results[: loop.carried])

    def _or_of_others(
        self, reached: list[Reach], body: Body, program_of: Callable[[Body], Program], values: Sequence[Any],
        operands: Sequence[Reach], more: tuple[Sequence[Any], Sequence[Reach]],
    ) -> list[Reach]:  # fmt: skip
        """Return what results reach where another body than this one may be taken for other inputs; see `_of_any`."""
        if self.local or self.loop.which is not None:
            return reached
        others = [b for b in self.loop.bodies if b is not body]
        of_others = _of_any(others, program_of, values, operands, more, self.width)
        return _both(reached, of_others) if of_others else reached

    def _until_fixed(self, carry: list[Reach]) -> list[Reach]:
        """Add what more steps reach until that is nothing; the test may stop the loop at any of them."""
        any_step = self._any_step(lambda b: b.program, lambda b: b.sample, 0)
        while True:
            operands = self.arguments(carry, None)
            self.states = [_State(self.loop.bodies[0], (), operands)]
            after = _both(carry, any_step(operands)[: self.loop.carried])
            if all(map(_same, carry, after)):
                return after
            carry = after

    def _stacked(self, items: Sequence[Reach], shape: tuple[int, ...]) -> Reach:
        """Return what the stack of one result of each step reaches."""
        varies = any(item.varies for item in items)
        patterns = [item.pattern for item in items]
        if all(p is None for p in patterns):
            return Reach(None, varies)

        def stack(blocks: list[Any]) -> Any:
            first = next(b for b in blocks if b is not None)
            return np.stack([np.zeros_like(first) if b is None else b for b in blocks], axis=1)

        return Reach(joined(patterns, stack, (len(items), *shape), self.width), varies)

    # -- Back --

    def back(self, reverse: ReverseOf, bars: Sequence[Reach | None]) -> list[Reach]:
        """Go back through the adjoints of the steps; return what the adjoints of the wanted operands reach."""
        loop, sweep = self.loop, reverse.sweep_over_loop
        self.forth()
        programs = dict(zip(map(id, loop.bodies), sweep.programs(loop), strict=True))
        like = [np.ones(y.shape, y.dtype)[()] for y, on in zip(loop.bodies[0].program.results, sweep.received,
                                                               strict=True) if on]  # fmt: skip
        any_step = None
        if self.alike:
            any_step = self._any_step(lambda b: programs[id(b)], lambda b: (*b.sample, *like), len(like))
        carried = [bar or CONSTANT for bar in bars[: loop.carried]]
        sums: dict[int, Reach] = {}
        slices: dict[int, list[Reach]] = {k: [] for k, where in enumerate(sweep.passed) if where == "slice"}
        order = range(len(self.states) - 1, -1, -1)
        while True:
            before = list(carried)
            for s in order:
                body, values, operands = self.states[s]
                place = None if self.until_fixed else loop.index(s, loop.steps)
                received = [
                    _item(bars[k] or CONSTANT, place) if where == "slice" else carried[k]
                    for k, where in enumerate(sweep.received)
                    if where
                ]
                if any_step is not None:
                    passed = any_step([*operands, *received])
                else:
                    count = len(body.sample)
                    passed = _through(programs[id(body)], [*values, *like], [*operands[:count], *received],
                                      self.width, self.local)[0]  # fmt: skip
                    passed = self._or_of_others(
                        passed, body, lambda b: programs[id(b)], values, operands, (like, received)
                    )
                results = iter(passed)
                after = [CONSTANT] * loop.carried
                for k, where in enumerate(sweep.passed):
                    reach = next(results) if where else CONSTANT
                    if where == "carry":
                        after[k] = reach
                    elif where == "slice":
                        slices[k].append(reach)
                    elif where == "sum":
                        sums[k] = _either(sums.get(k, CONSTANT), reach)
                carried = [*map(_either, before, after)] if self.until_fixed else after
            if not self.until_fixed or all(map(_same, before, carried)):
                break
        return self._adjoints(reverse, carried, slices, sums)

    def _adjoints(
        self, reverse: ReverseOf, carried: Sequence[Reach], slices: dict[int, list[Reach]],
        sums: dict[int, Reach],
    ) -> list[Reach]:  # fmt: skip
        """Return what the adjoints of the wanted operands reach, in the order of the operands."""
        loop = self.loop
        number = loop.counter is not None
        adjoints: list[Reach] = []
        for k, on in enumerate(reverse.wanted):
            if not on:
                continue
            argument = k if k < loop.carried else k + number
            if k < loop.carried:
                adjoints.append(carried[k])
            elif argument in slices:
                items = slices[argument]  # in the order of the steps gone back
                shape = loop.bodies[0].program.arguments[argument].shape
                if self.until_fixed:
                    total = union([r.pattern for r in items])
                    length = np.shape(self.values_of_xs[k - loop.carried])[0]
                    spread = None if total is None else total.spread((length, *shape))
                    adjoints.append(Reach(spread, True))
                else:
                    adjoints.append(self._stacked(items if loop.reversed else items[::-1], shape))
            else:
                adjoints.append(sums.get(argument, CONSTANT))
        return adjoints


def _item(reach: Reach, place: int | None) -> Reach:
    """Return what an item of an array reaches; with None for its place, what any reaches."""
    pattern = reach.pattern
    if pattern is None:
        return reach
    if place is None:
        shape = pattern.shape
        return Reach(pattern.summed((-len(shape),), shape[1:]), reach.varies)
    return Reach(pattern.item(place), reach.varies)


def _same(one: Reach, other: Reach) -> bool:
    """Return whether two values reach the same."""
    a, b = one.pattern, other.pattern
    if a is b:
        return True
    if a is None or b is None:
        return (a is None or a.is_empty) and (b is None or b.is_empty)
    if a.columns is not None and b.columns is not None and np.array_equal(a.columns, b.columns):
        return True
    p, q = a.csr(), b.csr()
    return bool(np.array_equal(p.indptr, q.indptr) and np.array_equal(p.indices, q.indices))


# ---- Reverse sweeps ----


def _reverse(held: ReverseOf, values: Sequence[Any], operands: Sequence[Reach], width: int, local: bool) -> list[Reach]:
    xs, bars = held.split(operands)
    values_of_xs, values_of_bars = held.split(values)
    inner = held.inner
    if isinstance(inner, Loop):
        return _Steps(inner, values_of_xs, xs, width, local).back(held, bars)
    if not isinstance(inner, Branches):
        reaches = [*xs, *[b for b in bars if b is not None]]
        return [anything(reaches, np.shape(x)) for x, on in zip(values_of_xs, held.wanted, strict=True) if on]
    wanted = held.wanted[inner.leading :]
    body, taken = inner.choose(values_of_xs)
    rest = xs[inner.leading :]
    given = [b for b in bars if b is not None]
    seeds = [v for v in values_of_bars if v is not None]
    if local or not inner.leading or not xs[0].varies:
        program = body.reverse(held.seeded, wanted)
        reached, _ = _through(program, [*taken, *seeds], [*rest, *given], width, local)
        return reached  # type: ignore[no-any-return]
    if len(inner.traced) < len(inner.bodies):
        shapes = [a.shape for a, on in zip(body.program.arguments, wanted, strict=True) if on]
        return [anything([*rest, *given], shape) for shape in shapes]
    return _of_any(inner.traced, lambda b: b.reverse(held.seeded, wanted), taken, rest, (seeds, given), width)
