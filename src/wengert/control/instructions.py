"""Instructions: a long run of lines on numbers as one line, which holds what they do as arrays of whole numbers.

For each of them there are a kind, the places of its operands in a memory, and the place in the user's code; the memory
begins with the constants and the operands of the line.  The kernels that go through them are machine code where there
is any (`wengert.compilation.native.instructions`), and else a loop in Python.

>>> import numpy as np, wengert as wg
>>> from wengert.control.folding import folded_program
>>> def f(x):
...     for _ in range(500):
...         x = np.sin(x) * 0.5 + x
...     return x
>>> program = folded_program(f, 0.5)
>>> print(program.lines[0].held.heading(), float(program(0.5)) == float(f(0.5)))
1,500 instructions of 3 kinds True
"""

from __future__ import annotations

import functools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wengert.compilation.native.instructions import (
    UNCHECKED,
    Kind,
    is_available,
    is_native,
    partial_program,
    run_kernel,
)
from wengert.control.holding import Holding, Mask
from wengert.cost import Cost, line_cost
from wengert.errors import RawLocation
from wengert.jacobians import Shape
from wengert.primitives.numpy.elementwise import add, multiply, positive, power
from wengert.primitives.numpy.structural import getitem, reshape, stack
from wengert.program import Constant, Guard, Line, Packing, Program, Var

Array = np.ndarray[Any, Any]
MOST_KINDS = 256
"""The number of kinds that have a code of one byte."""


@dataclass(frozen=True, slots=True)
class Block:
    """An operand: where its elements begin in the memory, and its shape."""

    start: int
    shape: Shape

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class Instructions(Holding):
    """Lines on numbers.

    Attributes
    ----------
    kinds
        What they do, by the number of the kind.
    codes, a, b
        For each instruction its kind, and where its operands are in the memory; those of kinds with one operand have
        any second one.
    leading
        The beginning of the memory: constants, and room for the operands of the line.
    blocks
        The operands of the line.
    results
        For each result of the line, where its elements are in the memory.
    places, numbers
        The places in the user's code, and for each instruction the number of its own.
    """

    kinds: tuple[Kind, ...]
    codes: Array
    a: Array
    b: Array
    leading: Array
    blocks: tuple[Block, ...]
    results: tuple[Array, ...]
    places: tuple[RawLocation | None, ...]
    numbers: Array
    name: str = "instructions"
    origin: None = None

    @property
    def programs(self) -> tuple[Program, ...]:
        return ()

    @property
    def times(self) -> tuple[int, ...]:
        return ()

    def titles(self) -> tuple[str, ...]:
        return ()

    @property
    def wiring(self) -> Hashable:
        return id(self)

    def structure(self, longest: int | None = None) -> None:
        return None

    def heading(self) -> str:
        kinds = f"{len(self.kinds)} kind{'s' * (len(self.kinds) != 1)}"
        return f"{len(self.codes):,} instruction{'s' * (len(self.codes) != 1)} of {kinds}"

    def source(self, names: Sequence[str], args: Sequence[str], left: Sequence[str]) -> list[str]:
        return [f"{', '.join(left)} = instructions({', '.join(args)})  # {self.heading()}"]

    def cost(self) -> Cost:
        total = Cost()
        y = np.float64(0.0)
        for kind, count in self.counted():
            more = () if kind.exponent is None else (Constant(kind.exponent),)
            operands = [Var(0, (), y.dtype)] * kind.arity
            total += count * line_cost(kind.primitive, y, [*operands, *more], dict(kind.params))
        return total

    def sweep(self, mode: str, active: Mask | None = None, seeded: Mask | None = None) -> tuple[Cost, Cost, int]:
        edges = sum(kind.arity * count for kind, count in self.counted())
        one_pass = Cost(multiplications=edges, additions=edges, products=edges)
        return Cost(), one_pass, (len(self.leading) + len(self.codes)) if mode == "reverse" else 0

    def counted(self) -> list[tuple[Kind, int]]:
        """Return the kinds, with the number of instructions of each."""
        counts = np.bincount(self.codes, minlength=len(self.kinds))
        return list(zip(self.kinds, counts.tolist(), strict=True))

    # -- Running --

    def memory(self, operands: Sequence[Any]) -> Array:
        """Return the memory before the first instruction."""
        first = len(self.leading)
        memory = np.empty(first + len(self.codes))
        memory[:first] = self.leading
        for block, operand in zip(self.blocks, operands, strict=True):
            memory[block.start : block.start + block.size] = np.ravel(operand)
        return memory

    def run(self, memory: Array) -> int:
        """Compute the result of each instruction; return which decision falls otherwise, or what the kernels return."""
        if self.is_native:
            return run_kernel("values", self.kinds, self.codes, self.a, self.b, memory, None, len(self.leading))
        first = len(self.leading)
        for t, (code, a, b) in enumerate(zip(self.codes.tolist(), self.a.tolist(), self.b.tolist(), strict=True)):
            kind = self.kinds[code]
            y = kind.compute(memory[a], memory[b])
            memory[first + t] = y if kind.decision is None else 0.0
            if kind.decision is not None and bool(y) != kind.decision:
                return t
        return UNCHECKED

    def push(self, memory: Array, dots: Array) -> int:
        """Push the tangents at the beginning of the memory through all instructions."""
        if self.is_native:
            return run_kernel("tangents", self.kinds, self.codes, self.a, self.b, memory, dots, len(self.leading))
        first = len(self.leading)
        for t, (code, a, b) in enumerate(zip(self.codes.tolist(), self.a.tolist(), self.b.tolist(), strict=True)):
            kind = self.kinds[code]
            if kind.decision is None:
                parts = self._partials(kind, memory, first + t, a, b)
                dots[first + t] = sum(c * dots[place] for place, c in parts)
        return UNCHECKED

    def pull(self, memory: Array, bars: Array) -> int:
        """Pull the adjoints in the memory back through all instructions."""
        if self.is_native:
            return run_kernel("adjoints", self.kinds, self.codes, self.a, self.b, memory, bars, len(self.leading))
        first = len(self.leading)
        codes, a_places, b_places = self.codes.tolist(), self.a.tolist(), self.b.tolist()
        for t in range(len(codes) - 1, -1, -1):
            kind = self.kinds[codes[t]]
            if kind.decision is None:
                for place, c in self._partials(kind, memory, first + t, a_places[t], b_places[t]):
                    bars[place] += c * bars[first + t]
        return UNCHECKED

    def _partials(self, kind: Kind, memory: Array, y: int, a: int, b: int) -> list[tuple[int, Any]]:
        partials = [kind.partial(k, memory[y], memory[a], memory[b]) for k in range(kind.arity)]
        return [(place, c) for place, c in zip((a, b), partials, strict=False) if c is not None]

    def tangent(self, active: Mask) -> Instructions | None:
        """Return the instructions that compute values and tangents; None where a rule is no instructions.

        They take the operands, and the tangents of those that are `active`; they return the results and their tangents.
        """
        expansions = [_expanded(kind) for kind in self.kinds]
        kinds = {kind for steps in expansions if steps is not None for kind, _ in steps}
        if None in expansions or len(kinds) > MOST_KINDS:
            return None
        return _WithTangents(self, expansions, active).instructions()  # type: ignore[arg-type]

    @property
    def is_native(self) -> bool:
        """True if machine code goes through them."""
        return is_available() and all(map(is_native, self.kinds))

    def guard(self, t: int) -> Guard:
        """Return the decision that an instruction checks."""
        return Guard(Var(t + 1, (), np.dtype(bool)), bool(self.kinds[int(self.codes[t])].decision), self.place(t))

    def place(self, t: int) -> RawLocation | None:
        """Return the place of an instruction in the user's code."""
        return self.places[int(self.numbers[t])]

    def unfolded(self) -> Program:
        """Return the instructions as a Program, line by line."""
        return _Unfolding(self).program()


# ---- Tangents ----

Reference = tuple[str, Any]
"""An operand: ``("x", k)``, the k-th of the instruction, ``("dot", k)``, its tangent; ``("step", n)``, what the n-th
step has computed; ``("constant", number)``."""
Expansion = list[tuple[Kind, list[Reference]]]
"""The steps that an instruction of a kind becomes: the first computes the value, the last the tangent."""


@functools.lru_cache(maxsize=4096)
def _expanded(kind: Kind) -> Expansion | None:
    """Return the steps that compute the value and the tangent of an instruction; None where a rule is no such steps."""
    steps: Expansion = [(kind, [("x", k) for k in range(kind.arity)])]
    if kind.decision is not None:
        return steps
    terms: list[Reference] = []
    for k in range(kind.arity):
        program = partial_program(kind, k)
        if program is None:
            continue
        if isinstance(program, float):
            partial: Any = ("constant", program)
        else:
            partial = _steps_of(program, steps)
            if partial is None:
                return None
        if partial != ("constant", 1.0):
            steps.append((Kind(multiply, 2), [partial, ("dot", k)]))
            partial = ("step", len(steps) - 1)
        else:
            partial = ("dot", k)
        terms.append(partial)
    while len(terms) > 1:
        steps.append((Kind(add, 2), [terms.pop(0), terms.pop(0)]))
        terms.insert(0, ("step", len(steps) - 1))
    if not terms or terms[0] != ("step", len(steps) - 1) or len(steps) == 1:
        steps.append((Kind(positive, 1), terms or [("constant", 0.0)]))
    return steps


def _steps_of(program: Program, steps: Expansion) -> Reference | None:
    """Add the lines of a rule to the steps; return its result, None where a line is no instruction."""
    names: dict[Var, Reference] = {var: ("step", 0) if k == 0 else ("x", k - 1) for k, var in enumerate(program.inputs)}

    def reference(atom: Any) -> Reference:
        return names[atom] if isinstance(atom, Var) else ("constant", float(atom.value))

    for line in program.lines:
        inputs, exponent = list(line.inputs), None
        if line.primitive is power and isinstance(inputs[1], Constant):
            exponent = inputs.pop().value  # type: ignore[union-attr]
        (out,) = line.outputs
        kind = Kind(line.primitive, len(inputs), exponent, None, tuple(sorted(line.params.items())))
        if len(inputs) > 2 or not is_native(kind) or out.dtype.kind != "f":
            return None
        steps.append((kind, list(map(reference, inputs))))
        names[out] = "step", len(steps) - 1
    return reference(program.outputs[0])


class _WithTangents:
    """Instructions with tangents beside the values: each becomes the steps of its kind."""

    def __init__(self, held: Instructions, expansions: list[Expansion], active: Mask) -> None:
        self.held, self.expansions, self.active = held, expansions, active
        self.first = len(held.leading)
        lengths = np.array([len(steps) for steps in expansions])[held.codes]
        self.starts = np.cumsum(lengths) - lengths
        self.total = int(lengths.sum())
        self.last = np.array([len(steps) - 1 for steps in expansions])[held.codes]
        self.constants: dict[float, int] = {}
        self.more: list[float] = []
        """Constants that the rules have."""
        zero = self.constant(0.0)
        for steps in expansions:
            for _, references in steps:
                for what, value in references:
                    if what == "constant":
                        self.constant(value)
        self.leading_dots = np.full(self.first, zero, np.int64)
        self.blocks = list(held.blocks)
        end = self.first + len(self.more)
        for block, on in zip(held.blocks, active, strict=True):
            if on:
                self.leading_dots[block.start : block.start + block.size] = np.arange(end, end + block.size)
                self.blocks.append(Block(end, block.shape))
                end += block.size
        self.leading = np.full(end, np.nan)
        self.leading[: self.first] = held.leading
        self.leading[self.first : self.first + len(self.more)] = self.more

    def constant(self, value: float) -> int:
        """Return the place of a constant."""
        if value not in self.constants:
            self.constants[value] = self.first + len(self.more)
            self.more.append(value)
        return self.constants[value]

    def instructions(self) -> Instructions:
        """Write them."""
        held, end = self.held, len(self.leading)
        kinds: dict[Kind, int] = {}
        codes = np.empty(self.total, np.uint8)
        a, b = np.zeros(self.total, np.int32), np.zeros(self.total, np.int32)
        numbers = np.empty(self.total, held.numbers.dtype)
        for code, steps in enumerate(self.expansions):
            which = np.flatnonzero(held.codes == code)
            for step, (kind, references) in enumerate(steps):
                targets = self.starts[which] + step
                codes[targets] = kinds.setdefault(kind, len(kinds))
                numbers[targets] = held.numbers[which]
                for places, reference in zip((a, b), references, strict=False):
                    places[targets] = self.resolved(reference, which, end)
        results = [self.values(places, end) for places in held.results]
        results += [self.dots(places, end) for places in held.results]
        return Instructions(
            tuple(kinds), codes, a, b, self.leading, tuple(self.blocks), tuple(results), held.places, numbers
        )  # fmt: skip

    def resolved(self, reference: Reference, which: Array, end: int) -> Any:
        """Return the places that a reference means in some instructions."""
        what, k = reference
        if what == "constant":
            return self.constants[k]
        if what == "step":
            return end + self.starts[which] + k
        places = (self.held.a, self.held.b)[k][which]
        return self.values(places, end) if what == "x" else self.dots(places, end)

    def values(self, places: Array, end: int) -> Array:
        """Return the places of values."""
        first = self.first
        return np.where(places < first, places, end + self.starts[np.maximum(places - first, 0)]).astype(np.int32)

    def dots(self, places: Array, end: int) -> Array:
        """Return the places of their tangents."""
        first = self.first
        numbers = np.maximum(places - first, 0)
        computed = end + self.starts[numbers] + self.last[numbers]
        return np.where(places < first, self.leading_dots[np.minimum(places, first - 1)], computed).astype(np.int32)


# ---- The lines, one by one ----


class _Unfolding:
    """Writes instructions as lines."""

    def __init__(self, held: Instructions) -> None:
        self.held = held
        self.lines: list[Line] = []
        self.float = np.dtype(np.float64)
        count = len(held.blocks)
        self.inputs = [Var(k + 1 - count, block.shape, self.float) for k, block in enumerate(held.blocks)]
        self.atoms: dict[int, Any] = {}

    def program(self) -> Program:
        """Write the Program."""
        held, first = self.held, len(self.held.leading)
        guards: list[Guard] = []
        for t, (code, *places) in enumerate(zip(held.codes.tolist(), held.a.tolist(), held.b.tolist(), strict=True)):
            kind, place = held.kinds[code], held.place(t)
            operands = [self.atom(k) for k in places[: kind.arity]]
            if kind.exponent is not None:
                operands.append(Constant(kind.exponent))
            dtype = self.float if kind.decision is None else np.dtype(bool)
            var = self.line(kind.primitive, operands, (), dtype, dict(kind.params), place)
            if kind.decision is None:
                self.atoms[first + t] = var
            else:
                guards.append(Guard(var, kind.decision, place))
        results = [self.result(places) for places in held.results]
        arguments = [Packing(f"x{k}", v.shape, v.dtype, (v,)) for k, v in enumerate(self.inputs, 1)]
        packed = [Packing(f"y{k}", r.shape, self.float, (r,)) for k, r in enumerate(results, 1)]
        return Program("instructions", tuple(arguments), tuple(self.lines), tuple(packed), tuple(guards), False)

    def line(self, primitive: Any, operands: Any, shape: Shape, dtype: Any, params: Any, place: Any) -> Var:
        """Add a line, and return its result."""
        var = Var(len(self.lines) + 1, shape, dtype)
        self.lines.append(Line(primitive, tuple(operands), (var,), params, place))
        return var

    def atom(self, place: int) -> Any:
        """Return what stands at a place of the memory."""
        if place not in self.atoms:
            self.atoms[place] = self._leading(place)
        return self.atoms[place]

    def _leading(self, place: int) -> Any:
        for block, var in zip(self.held.blocks, self.inputs, strict=True):
            if block.start <= place < block.start + block.size:
                if not block.shape:
                    return var
                index = tuple(int(i) for i in np.unravel_index(place - block.start, block.shape))
                return self.line(getitem, [var], (), self.float, {"index": index}, None)
        return Constant(self.held.leading[place])

    def result(self, places: Array) -> Any:
        """Return the atom of a result."""
        if not places.shape:
            return self.atom(int(places))
        flat = self.line(stack, map(self.atom, places.ravel().tolist()), (places.size,), self.float, {"axis": -1}, None)
        if places.ndim == 1:
            return flat
        return self.line(reshape, [flat], places.shape, self.float, {"shape": places.shape}, None)
