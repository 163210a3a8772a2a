"""Lines that hold Programs: how they are evaluated, pushed and pulled, and how their derivatives are such lines too.

A *held* object H (a loop, a branch, a checkpoint) says how Programs are run on the operands of a line.  On plain values
H runs, pushes a tangent or pulls an adjoint itself.  On traced values a derivative is a line again, and two are enough
for every order:

- the *dual* H' computes ``(f(x), J x_dot)`` from ``(x, x_dot)``: the same loop with tangents beside the values;
- the *pulled* H* computes ``J^T y_bar`` from ``(x, y_bar)``: the loop, and then its reverse sweep.

H* needs no derivative rule of its own.  With ``g(x, x_dot) = (f(x), J x_dot)``, the function of H', whatever H is:

- the tangent of ``J^T y_bar`` is the adjoint of `x` under `g`, pulled back from ``(y_bar_dot, y_bar)``;
- its adjoint for a weight `w` is ``J w`` for `y_bar`; for `x`, the adjoint of it under `g` at ``(x, w)``, pulled back
  from ``(0, y_bar)``.

So forward over reverse, reverse over reverse and all that follows are H' and H* of H', with the same checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wengert.cost import Cost, cost
from wengert.linearization import Linearization
from wengert.program import Held, Line, Primitive, Program, Recordable, as_value

Array = Any
Mask = tuple[bool, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Dual:
    """A line with its tangents beside it, and where operands and results stand in it.

    Attributes
    ----------
    held
        What it holds.
    join
        Makes its operands of those of the line and their tangents (None where zero).
    tangents
        Takes the tangents of the line's results out of its results; None for those that have none.
    operand
        The place of each operand of the line among its operands.
    value, tangent
        The places of each result of the line and of its tangent among its results; None for one that has none.
    results
        The number of its results.
    """

    held: Holding
    join: Callable[[Sequence[Any], Sequence[Any]], list[Any]]
    tangents: Callable[[Sequence[Any]], list[Any]]
    operand: tuple[int, ...]
    value: tuple[int, ...]
    tangent: tuple[int | None, ...]
    results: int


class Holding(Held):
    """What a line holds.  What `evaluate`, `push` and `pull` are given is plain (but for `Pulled`)."""

    __slots__ = ("name", "origin")
    name: str
    origin: tuple[Holding, Mask, tuple[int, ...]] | None
    """Of the dual of a line, where it pushes tangents: the line, the operands that have them, the places of values."""

    @property
    def programs(self) -> tuple[Program, ...]:
        raise NotImplementedError

    def weighed(self) -> list[tuple[Program, int]]:
        return list(zip(self.programs, self.times, strict=True))

    def evaluate(self, operands: Sequence[Any]) -> tuple[Any, ...]:
        """Compute the results."""
        raise NotImplementedError

    def keeping(self, operands: Sequence[Any], active: Mask) -> tuple[tuple[Any, ...], Holding]:
        """Compute the results, and return with them what holds all that a sweep over this very run will want."""
        return self.evaluate(operands), self

    def alone(self) -> Holding:
        """Return the same with nothing kept of any run: for a line of its own."""
        raise NotImplementedError

    def runs(self, operands: Sequence[Any]) -> Iterator[tuple[str, Program, Sequence[Any]]]:
        """Go through what is run on operands: what it is in words, the Program, and the values of its arguments."""
        raise NotImplementedError

    def push(self, tangents: Sequence[Any], operands: Sequence[Any], batch: int) -> list[Any]:
        """Carry tangents of the operands (None where zero) forward: one for each result."""
        raise NotImplementedError

    def pull(self, bars: Sequence[Any], operands: Sequence[Any], batch: int, wanted: Mask) -> list[Any]:
        """Carry adjoints of the results (None where zero) back: one for each operand that is wanted, else None."""
        raise NotImplementedError

    def dual(self, active: Mask, batch: int | None) -> Dual:
        """Return the line with tangents of the active operands beside it; with `batch`, blocks of so many."""
        raise NotImplementedError

    def cost(self) -> Cost:
        """Count the operations of all the Programs together."""
        total = Cost()
        for program, times in zip(self.programs, self.times, strict=True):
            total += times * cost(program)
        return total

    def swept(self, moving: Sequence[bool]) -> tuple[Cost, Cost, int] | None:
        if self.origin is None:
            return None
        held, active, values = self.origin
        return None if any(moving[k] for k in values) else held.sweep("forward", active)

    def sweep(self, mode: str, active: Mask | None = None, given: Mask | None = None) -> tuple[Cost, Cost, int]:
        """Count a sweep over this line: what is done once, what in each pass, and how many values are kept for it.

        Only the operands that are `active` are differentiated, and only the results that are `given` have adjoints.
        """
        raise NotImplementedError

    def kept_bytes(self) -> int:
        """Count the bytes of what `keeping` has kept."""
        return 0

    def in_reverse(self, given: Mask, wanted: Mask) -> Reversed:
        """Return the Programs that the reverse sweep over this line runs, where it is written as a line."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, eq=False)
class Reversed:
    """The reverse sweep over a line, in Programs.

    Attributes
    ----------
    programs, titles, times
        What is run, what it is called, and how often.
    source
        Writes it as Python statements: of the names of the Programs as functions, the operands, the adjoints of the
        results (None where zero) and the names to be assigned to.
    """

    programs: tuple[Program, ...]
    titles: tuple[str, ...]
    times: tuple[int, ...]
    source: Callable[[Sequence[str], Sequence[str], Sequence[str | None], Sequence[str]], list[str]]


ARRAY = 128
"""Bytes that an array takes beside its elements."""
PLACE = 320
"""Bytes that a place in a store takes: tuple, number, dict and what the schedule remembers."""


def bytes_of(linearization: Linearization, own: Sequence[Any]) -> int:
    """Count the bytes that a linearization keeps, `own` values aside; a loop inside it keeps its own."""
    known = {id(v) for v in own}
    seen: dict[int, int] = {}
    total = PLACE * (len(linearization.rows) + 1)
    for primitive, _, kept, params, _, _ in linearization.rows:
        for value in kept:
            for v in value if type(value) is tuple else (value,):
                if hasattr(v, "nbytes") and id(v) not in known:
                    seen[id(v)] = v.nbytes + ARRAY
        if primitive.multiple:
            total += params["held"].kept_bytes()
    return total + sum(seen.values())


def call(held: Holding, operands: Sequence[Any]) -> tuple[Any, ...]:
    """Write the line that holds something (on traced operands), or run it (on plain ones)."""
    return _primitive(held.name)(*operands, held=held)  # type: ignore[no-any-return]


def line_of(held: Holding, inputs: Sequence[Any], outputs: Sequence[Any], place: Any) -> Line:
    """Return the line of a Program that holds something."""
    return Line(_primitive(held.name), tuple(inputs), tuple(outputs), {"held": held}, place)


_primitives: dict[str, Primitive] = {}


def _primitive(name: str) -> Primitive:
    known = _primitives.get(name)
    if known is None:
        known = _primitives[name] = Primitive(
            name,
            lambda *operands, held: held.evaluate(operands),
            (lambda _k, y, *operands, held: None,),
            elementwise=False,
            variadic=True,
            multiple=True,
            jvp=_push,
            vjp=_pull,
            source=lambda args, params: f"{name}({', '.join(args)}; {params['held'].heading()})",
            counts=lambda _y, *_operands, held: held.cost(),
        )
    return known


def is_traced(values: Sequence[Any]) -> bool:
    """Tell whether any of some values is traced."""
    return any(isinstance(v, Recordable) for v in values)


def _push(tangents: Sequence[Any], operands: Sequence[Any], batch: int, held: Holding) -> list[Any]:
    """Carry tangents through a line: run it, or write the line of its dual."""
    if isinstance(held, Pulled) or not is_traced([*tangents, *operands]):
        return held.push(tangents, operands, batch)
    size = next(t for t in tangents if t is not None).shape[0] if batch else None
    active = tuple(t is not None for t in tangents)
    dual = held.dual(active, size)
    dual.held.origin = held, active, dual.operand
    return dual.tangents(call(dual.held, dual.join(operands, tangents)))


def _pull(bars: Sequence[Any], operands: Sequence[Any], batch: int, wanted: Sequence[bool], held: Holding) -> list[Any]:
    """Carry adjoints back through a line: run its reverse sweep, or write the line that does."""
    asked = tuple(on and x.dtype.kind in "fc" for on, x in zip(wanted, map(as_value, operands), strict=True))
    if not any(asked):
        return [None] * len(operands)
    if isinstance(held, Pulled) or not is_traced([*bars, *operands]):
        return held.pull(bars, operands, batch, asked)
    if batch:
        return one_by_one(lambda *one: _pull(one, operands, 0, wanted, held), bars)
    pulled = Pulled(held, tuple(g is not None for g in bars), asked)
    found = iter(call(pulled, [*operands, *(g for g in bars if g is not None)]))
    return [next(found) if on else None for on in asked]


def one_by_one(work: Callable[..., Sequence[Any]], blocks: Sequence[Any]) -> list[Any]:
    """Do for each seed of a block what is not done for a block at once, and stack the results."""
    size = next(g for g in blocks if g is not None).shape[0]
    rows = [work(*(None if g is None else g[k] for g in blocks)) for k in range(size)]
    return [None if column[0] is None else np.stack(column) for column in zip(*rows, strict=True)]


class Pulled(Holding):
    """The reverse sweep over a line, as a line: from its operands and the adjoints of its results, those of operands.

    `given` says of which results there are adjoints, `wanted` of which operands they are computed.
    """

    __slots__ = ("_reversed", "given", "inner", "wanted")

    def __init__(self, inner: Holding, given: Mask, wanted: Mask) -> None:
        self.inner, self.given, self.wanted = inner, given, wanted
        self.name, self.origin = f"pull_{inner.name}", None
        self._reversed: Reversed | None = None

    def _backward(self) -> Reversed:
        if self._reversed is None:
            self._reversed = self.inner.in_reverse(self.given, self.wanted)
        return self._reversed

    def runs(self, operands: Sequence[Any]) -> Iterator[tuple[str, Program, Sequence[Any]]]:
        return self.inner.runs(self._split(operands)[0])

    def alone(self) -> Pulled:
        return Pulled(self.inner.alone(), self.given, self.wanted)

    @property
    def programs(self) -> tuple[Program, ...]:
        return self._backward().programs

    @property
    def times(self) -> tuple[int, ...]:
        return self._backward().times

    def weighed(self) -> list[tuple[Program, int]]:
        return [(program, 3 * times) for program, times in self.inner.weighed()]  # there, and twice as much back

    def titles(self) -> tuple[str, ...]:
        return self._backward().titles

    def heading(self) -> str:
        return f"{self.inner.heading()}, in reverse"

    def source(self, names: Sequence[str], args: Sequence[str], left: Sequence[str]) -> list[str]:
        xs, bars = self._split(args)
        return self._backward().source(names, xs, bars, left)

    def cost(self) -> Cost:
        once, each_pass, _ = self.inner.sweep("reverse", self.wanted, self.given)
        return self.inner.cost() + once + each_pass

    def swept(self, moving: Sequence[bool]) -> tuple[Cost, Cost, int] | None:
        xs, _ = self._split(moving)
        return None if any(xs) else self.inner.sweep("reverse", self.wanted, self.given)

    def _split(self, operands: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """Split the operands into those of the line and the adjoints of its results."""
        count = len(self.wanted)
        bars = iter(operands[count:])
        return list(operands[:count]), [next(bars) if on else None for on in self.given]

    def evaluate(self, operands: Sequence[Any]) -> tuple[Any, ...]:
        xs, bars = self._split(operands)
        pulled = self.inner.pull(bars, xs, 0, self.wanted)
        return tuple(
            as_value(np.zeros(np.shape(x), x.dtype)) if g is None else g
            for x, g, on in zip(map(as_value, xs), pulled, self.wanted, strict=True)
            if on
        )

    def push(self, tangents: Sequence[Any], operands: Sequence[Any], batch: int) -> list[Any]:
        """Carry tangents through, on plain or traced values: by the reverse sweep over the dual."""
        if batch:
            return one_by_one(lambda *one: self.push(one, operands, 0), tangents)
        xs, bars = self._split(operands)
        x_dots, bar_dots = self._split(tangents)
        if all(t is None for t in x_dots):  # it is linear in the adjoints
            pulled = _pull(bar_dots, xs, 0, self.wanted, self.inner)
            return [g for g, on in zip(pulled, self.wanted, strict=True) if on]
        dual = self.inner.dual(tuple(t is not None for t in x_dots), None)
        seeds: dict[int, Any] = {}
        for k, (bar, bar_dot) in enumerate(zip(bars, bar_dots, strict=True)):
            at = dual.tangent[k]
            if bar is not None and at is not None:
                seeds[at] = bar
            if bar_dot is not None:
                seeds[dual.value[k]] = bar_dot
        return [g for g, on in zip(self._under(dual, xs, x_dots, seeds), self.wanted, strict=True) if on]

    def pull(self, bars: Sequence[Any], operands: Sequence[Any], batch: int, wanted: Mask) -> list[Any]:
        """Carry adjoints back, on plain or traced values: by the dual, and the reverse sweep over it."""
        if batch:
            return one_by_one(lambda *one: self.pull(one, operands, 0, wanted), bars)
        xs, given = self._split(operands)
        weights = iter(bars)
        x_dots = [next(weights) if on else None for on in self.wanted]
        dual = self.inner.dual(tuple(t is not None for t in x_dots), None)
        of_xs, of_bars = self._split(wanted)
        found: list[Any] = [None] * len(xs)
        if any(of_xs):
            seeds = {at: bar for at, bar in zip(dual.tangent, given, strict=True) if at is not None and bar is not None}
            found = [g if on else None for g, on in zip(self._under(dual, xs, x_dots, seeds), of_xs, strict=True)]
        pushed: list[Any] = [None] * len(given)
        if any(of_bars):
            pushed = dual.tangents(call(dual.held, dual.join(xs, x_dots)))
        return found + [
            t if on else None for t, on, is_given in zip(pushed, of_bars, self.given, strict=True) if is_given
        ]

    def _under(self, dual: Dual, xs: Sequence[Any], x_dots: Sequence[Any], seeds: dict[int, Any]) -> list[Any]:
        """Pull adjoints at places among the results of the dual back to the operands of the line."""
        joined = dual.join(xs, x_dots)
        bars = [seeds.get(n) for n in range(dual.results)]
        wanted = [k in dual.operand for k in range(len(joined))]
        pulled = _pull(bars, joined, 0, wanted, dual.held)
        return [pulled[at] for at in dual.operand]
