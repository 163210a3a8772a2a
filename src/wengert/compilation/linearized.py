"""Kernels: a step and its two sweeps, each written once as straight code.

A step is linearized and swept thousands of times, always with the same formulas for its local partials.  So each sweep
is recorded once, as a Program whose arguments are the residuals (the values that the rules read), and runs as plain
Python.  The table of primitives is not consulted while the loop runs.

    forward_pass(values...)    -> results, residuals
    vjp(residuals, bars)       -> adjoints of the arguments     (outside-in)
    jvp(residuals, dots)       -> tangents of the results       (inside-out)

A sweep that meets an infinity is repeated line by line, carefully (`wengert.accumulation.sweeps`), on a `Linearization`
that is built from the residuals.

The code depends only on the structure of a body (`wengert.compilation.cache`): an `Outline` is shared by all bodies of
one structure, and a `Kernel` is an outline with the constants of one body.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from wengert.accumulation.programs import enter_seed, pull, push
from wengert.compilation.cache import Form
from wengert.compilation.environment import Environment, is_settled
from wengert.jacobians import add_at, add_into, is_basic
from wengert.linearization import Linearization
from wengert.passes.simplification import simplify
from wengert.primitives.numpy.elementwise import add
from wengert.primitives.numpy.structural import alias, fill_index, put, scatter
from wengert.program import SMALL, Line, Program, Var, as_value, reached_by
from wengert.program.code import For
from wengert.program.compiled import Script, straight
from wengert.program.dataflow import substitute
from wengert.program.lines import Operand
from wengert.tracing import Tape, Traced, record, what_is_kept

Mask = tuple[bool, ...]
SWEEPS = 16
"""The number of sweeps that an outline keeps: there is one for each size of a block of seeds."""
CHANGES = 8
"""After so many changes of what the user's rules read, each body records sweeps of its own."""
HELD = 1 << 14
"""The bytes of arrays up to which a sweep is shared: it may hold zeros or a unit matrix that a rule made."""


class _Stand:
    """A placeholder for the value of a variable, or for an array among the constants."""

    __slots__ = ("dtype", "shape", "size", "slot")

    def __init__(self, like: Any, slot: int) -> None:
        self.shape, self.dtype, self.size, self.slot = like.shape, like.dtype, like.size, slot


class Pieces:
    """The adjoint of a large array that a step reads in part: terms, and the index at which each is added."""

    __slots__ = ("batch", "shape", "terms")

    def __init__(self, terms: Sequence[tuple[Any, Any]], shape: tuple[int, ...], batch: int) -> None:
        self.terms, self.shape, self.batch = terms, shape, batch

    def add_into(self, total: np.ndarray[Any, Any] | None) -> np.ndarray[Any, Any]:
        """Add the terms into an array in place, or into a new one, and return it."""
        if total is None:
            value = self.terms[0][0]
            total = np.zeros((*value.shape[: self.batch], *self.shape), np.result_type(*[v for v, _ in self.terms]))
        free = (slice(None),) * self.batch
        for value, index in self.terms:
            if index is None:
                total += value
            elif is_basic(index):
                add_into(total, free + index, value)
            else:
                add_at(total, value, index, self.shape, self.batch)
        return total


class _Parts:
    """For one result of a sweep that becomes `Pieces`: the index of each term, with places for computed operands."""

    __slots__ = ("batch", "indices", "shape")

    def __init__(self, indices: Sequence[Any], shape: tuple[int, ...], batch: int) -> None:
        self.indices, self.shape, self.batch = indices, shape, batch

    @property
    def count(self) -> int:
        """The number of values that they are read from."""
        return sum(1 + sum(type(item) is Operand for item in index or ()) for index in self.indices)

    def read(self, values: Iterator[Any]) -> Pieces:
        """Take the terms and the operands of their indices from the results of the code."""
        terms = []
        for template in self.indices:
            value = next(values)
            operands = [next(values) for item in template or () if type(item) is Operand]
            terms.append((value, None if template is None else fill_index(template, operands)))
        return Pieces(terms, self.shape, self.batch)


class Sweep:
    """A sweep as straight code: the positions of its nonzero results, and the function."""

    __slots__ = ("_repeated", "alone", "count", "native", "parts", "places", "program", "run")

    def __init__(self, program: Program, results: Sequence[Any], parts: dict[int, _Parts], alone: bool) -> None:
        self.program, self.run, self.count = program, straight(program), len(results)
        self._repeated: dict[For, Callable[..., Any]] = {}
        self.places = tuple(k for k, v in enumerate(results) if v is not None)
        self.parts = parts
        """The results that are made of pieces."""
        self.alone = alone
        """True if it was written for one body, whose constants stand in it."""
        self.native: dict[Any, Any] = {}
        """The machine code of many steps, by how they are repeated (`wengert.control.native`)."""

    def repeated(self, repeat: For) -> Callable[..., Any]:
        """Return the sweep over many steps as one function; see `Script`."""
        if repeat not in self._repeated:
            self._repeated[repeat] = Script(self.program, repeat=repeat).of(self.program)
        return self._repeated[repeat]

    def __call__(self, kept: Sequence[Any], consts: Sequence[Any], seeds: Sequence[Any]) -> list[Any]:
        """Return all results, None for zero."""
        arrays = () if self.alone else kept[0].arrays
        computed = self.run(*kept[1:], *consts, *arrays, *seeds)
        if len(computed) == self.count and not self.parts:
            return list(computed)
        results: list[Any] = [None] * self.count
        if self.parts:
            values = iter(computed)
            for k in self.places:
                results[k] = self.parts[k].read(values) if k in self.parts else next(values)
        else:
            for k, value in zip(self.places, computed, strict=True):
                results[k] = value
        return results


class Outline:
    """The linearization that all bodies of one structure share, for some active arguments.

    The values that the rules read have slots: the arguments, the results of the lines, the arrays among the constants.
    The last arguments, `consts` in number, are the same at every step.
    """

    __slots__ = (
        "_changes", "_environment", "_sweeps", "arrays", "consts", "ends", "inputs", "kept", "outputs", "repeated",
        "rows", "rules", "script", "size", "slots", "starts", "with_complex",
    )  # fmt: skip

    @classmethod
    def of(cls, program: Program, active: Mask, consts: int) -> Outline | None:
        """Return the outline of a Program for some active arguments; None if a rule that sweeps call is no formula.

        (Such a rule inspects values, to refuse some of them.)
        """
        reached = reached_by(program, active)
        lines = [line for line in program.lines if not reached.isdisjoint(line.outputs)]
        return cls(program, reached, consts) if all(line.primitive.formula_rule for line in lines) else None

    def __init__(self, program: Program, reached: set[Var], consts: int) -> None:
        self.inputs = len(program.inputs)
        variables = _variables(program)
        slots: dict[Var, int] = {var: k for k, var in enumerate(variables)}
        stands: list[Any] = [_Stand(var, slot) for var, slot in slots.items()]
        places: dict[int, tuple[int, int]] = {}  # of the constants that are arrays: line and operand
        self.size = len(slots)
        self.rows: list[Any] = []
        needed: dict[int, None] = {}
        for n, line in enumerate(program.lines):
            var = line.outputs[0]
            if reached.isdisjoint(line.outputs) or not line.primitive.keeps:
                continue
            operands: list[Any] = []
            for k, a in enumerate(line.inputs):
                if isinstance(a, Var):
                    operands.append(stands[slots[a]])
                elif type(a.value) is np.ndarray:
                    places[len(stands)] = n, k
                    stands.append(_Stand(a.value, len(stands)))
                    operands.append(stands[-1])
                else:
                    operands.append(a.value)
            parents = tuple(slots[a] if isinstance(a, Var) and a in reached else -1 for a in line.inputs)
            if line.primitive.multiple:  # a loop, whose last result is what its sweeps read
                outs = tuple([slots[v] for v in line.outputs])
                self.rows.append((n, parents, (tuple([stands[k] for k in outs]), *operands), outs))
                needed[outs[-1]] = None
                continue
            kept = what_is_kept(line.primitive, parents, stands[slots[var]], tuple(operands))
            self.rows.append((n, parents, kept, slots[var]))
            needed.update((value.slot, None) for value in kept if type(value) is _Stand)
        first = self.inputs - consts
        self.consts = [slot for slot in needed if first <= slot < self.inputs]
        self.arrays = [(slot, *places[slot]) for slot in needed if slot >= self.size]
        self.slots = [slot for slot in needed if slot < self.size and not first <= slot < self.inputs]
        self.kept = [variables[slot] for slot in self.slots]
        self.outputs = [slots[a] if isinstance(a, Var) else -1 for a in program.outputs]
        self.starts = [(var.shape, var.dtype) for var in program.inputs]
        self.ends = [(packing.shape, packing.dtype) for packing in program.results]
        self.with_complex = any(var.dtype.kind == "c" for var in slots)
        self.script = Script(program, self.kept)
        self.repeated: dict[tuple[For, Form | None], Script] = {}
        primitives = dict.fromkeys(program.lines[n].primitive for n, *_ in self.rows)
        self.rules = [rule for primitive in primitives for rule in primitive.rules if not is_settled(rule)]
        """The rules that the user wrote: the values they read beside their arguments may change."""
        self._environment = Environment(self.rules)
        self._changes = 0
        self._sweeps: dict[Any, Any] = {}

    def kept_of(self, program: Program) -> list[Var]:
        """Return the variables that are kept of a Program of this structure."""
        variables = _variables(program)
        return [variables[slot] for slot in self.slots]

    @property
    def sweeps(self) -> dict[Any, Any] | None:
        """The sweeps by seeds, as long as what the user's rules read is unchanged; None if that cannot be told.

        A sweep is None if there is no code for it, and `_ALONE` if each body needs its own.
        """
        if self.rules and self._changes < CHANGES and not self._environment.unchanged():
            self._environment, self._sweeps = Environment(self.rules), {}
            self._changes += 1
        return self._sweeps if self._environment.is_complete and self._changes < CHANGES else None


def _variables(program: Program) -> list[Var]:
    return [*program.inputs, *[var for line in program.lines for var in line.outputs]]


def _with_test(program: Program, test: Program, repeat: For) -> Program:
    """Return the Program of a step with the test of the next one, on what is carried to it, as its last result."""
    carried: dict[Var, Var] = {}
    constants: list[Line] = []
    for k, result, atom in zip(repeat.outputs, program.results, program.outputs, strict=False):
        if type(k) is int:
            var = atom if isinstance(atom, Var) else Var(0, result.shape, result.dtype)
            if var is not atom:
                constants.append(Line(alias, (atom,), (var,), {}, None))
            carried[program.inputs[k]] = var
    asked = [program.inputs[k] for k in repeat.asks or ()]
    taken = substitute(test, {var: carried.get(a, a) for var, a in zip(test.inputs, asked, strict=True)}, ())
    return replace(
        program, lines=(*program.lines, *constants, *taken.lines), results=program.results + taken.results,
        guards=program.guards + taken.guards,
    )  # fmt: skip


_ALONE = object()


class Kernel:
    """A Program of plain arrays, linearized for some active arguments, as straight code.

    The residuals of a step are a tuple: this kernel, then the values that the rules read, except constants.
    """

    __slots__ = ("_shared", "_sweeps", "arrays", "inputs", "outline", "program")

    def __init__(self, program: Program, outline: Outline) -> None:
        self.program, self.outline, self.inputs = program, outline, outline.inputs
        self.arrays = [program.lines[n].inputs[k].value for _, n, k in outline.arrays]  # type: ignore[union-attr]
        self._sweeps: dict[Any, Sweep | None] = {}
        self._shared = outline.sweeps

    def forward_pass(self) -> Callable[..., Any]:
        """Return a function that runs the step and returns its residuals, which hold this kernel."""
        return self.outline.script.of(self.program, self)

    def forward_passes(self, repeat: For, test: tuple[Program, Form] | None = None) -> Callable[..., Any]:
        """Return a function that runs many steps and hands the residuals of each on; see `Script`.

        A `test` is asked after each step.
        """
        program, form = self.program, None
        if test is not None:
            program, form = _with_test(program, test[0], repeat), test[1]
        script = self.outline.repeated.get((repeat, form))
        if script is None:
            script = Script(program, self.outline.kept_of(self.program), repeat=repeat)
            if form is None or form.common:
                self.outline.repeated[repeat, form] = script
        return script.of(program, self)

    def linearization(self, kept: Sequence[Any], consts: Sequence[Any]) -> Linearization:
        """Build the linearization for careful sweeps from the residuals of a step."""
        return self._linearization(kept, consts, self.arrays)

    def _linearization(
        self, kept: Sequence[Any], consts: Sequence[Any], arrays: Sequence[Any], private: bool = False
    ) -> Linearization:
        outline = self.outline
        values = dict(zip(outline.slots, kept[1:], strict=True))
        first = self.inputs - len(consts)
        values.update((slot, consts[slot - first]) for slot in outline.consts)
        values.update((slot, array) for (slot, _, _), array in zip(outline.arrays, arrays, strict=True))
        rows = []
        for n, parents, read, out in outline.rows:
            line = self.program.lines[n]
            params = {name: _private(v) for name, v in line.params.items()} if private else line.params
            if line.primitive.multiple:
                params = {**params, "run": values[out[-1]]}
            else:
                read = tuple([values[v.slot] if type(v) is _Stand else v for v in read])
            rows.append((line.primitive, parents, read, params, line.place, out))
        nothing = [None] * self.inputs
        return Linearization(rows, nothing, outline.outputs, [], outline.size, outline.with_complex)

    def takes(self, tangents: bool, seeds: Sequence[Any]) -> bool:
        """Return whether seeds (None for zero) have the dtypes that the sweeps are compiled for."""
        like = self.outline.starts if tangents else self.outline.ends
        return all(g is None or g.dtype == dtype for g, (_, dtype) in zip(seeds, like, strict=True))

    def sweep(self, tangents: bool, seeded: Mask, kept: Sequence[Any], consts: Sequence[Any], batch: int | None) -> Any:
        """Return the sweep of `tangents` (or adjoints) from the `seeded` ends; None if it decides on values.

        The sweep takes the residuals (without the kernel), all constants, and the seeds.
        """
        key = (tangents, seeded, batch)
        shared = self._shared
        sweep = _ALONE if shared is None else shared.get(key, self)
        if shared is not None and sweep is self:
            sweep = self._record(tangents, seeded, kept, consts, batch, alone=False)
            if len(shared) >= SWEEPS:
                shared.clear()
            shared[key] = sweep
        if sweep is _ALONE:
            if key not in self._sweeps:
                self._sweeps[key] = self._record(tangents, seeded, kept, consts, batch, alone=True)
            sweep = self._sweeps[key]
        return sweep

    def _record(
        self, tangents: bool, seeded: Mask, kept: Sequence[Any], consts: Sequence[Any], batch: int | None, alone: bool
    ) -> Any:
        """Record and compile a sweep, for all bodies of this structure or for this one `alone`."""
        try:
            return self._written(tangents, seeded, kept, consts, batch, alone)
        except Exception:
            if self.outline.rules:  # a user's rule may refuse traced values; a sweep line by line passes plain ones
                return None
            raise

    def _written(
        self, tangents: bool, seeded: Mask, kept: Sequence[Any], consts: Sequence[Any], batch: int | None, alone: bool
    ) -> Any:
        program = self.program
        with record("sweep") as trace:

            def enter(value: Any) -> Any:
                return trace.argument(f"a_{len(trace.arguments)}", as_value(value))

            entered = [None, *map(enter, kept[1:])], [enter(c) for c in consts]
            arrays = self.arrays if alone else list(map(enter, self.arrays))
            linearization = self._linearization(*entered, arrays, not alone)
            ends, suffix = (program.arguments, "dot") if tangents else (program.results, "bar")
            pairs = zip(ends, seeded, strict=True)
            seeds = [enter_seed(trace, end, suffix, batch) if on else None for end, on in pairs]
            results = (push if tangents else pull)(linearization, seeds, ends, batch)
            parts: dict[int, _Parts] = {}
            for k, value in enumerate(results):
                if value is None:
                    continue
                terms = [] if tangents or k < self.inputs - len(consts) else _terms_of(trace.tape, value)
                for term, *operands, _ in terms or [(value, None)]:
                    for part in (term, *operands):
                        trace.result("y", part)
                if terms:
                    parts[k] = _Parts(
                        [template for *_, template in terms], program.arguments[k].shape, int(batch is not None)
                    )
            if trace.tape.guards:
                return None if alone or not self.arrays else _ALONE
        written = simplify(trace.program())
        if not alone and _bytes_in(written) > HELD:
            return _ALONE
        return Sweep(written, results, parts, alone)


def _terms_of(tape: Tape, value: Any) -> list[tuple[Any, ...]]:
    """Return the terms of a large adjoint if some of them are parts put into zeros; otherwise an empty list.

    Each entry has the term, the computed operands of its index, and the index (None for the full array).
    """
    if value.size <= SMALL or type(value) is not Traced:
        return []
    rows = {row[5]: row for row in tape.rows if type(row[5]) is int}
    terms: list[tuple[Any, ...]] = []

    def enter(value: Any, parent: int) -> Any:
        return value if parent < 0 else Traced(value, tape, parent)

    waiting: list[Any] = [value]
    while waiting:
        term = waiting.pop()
        row = rows.get(term._index) if type(term) is Traced else None
        operands = [] if row is None else [enter(v, parent) for v, parent in zip(row[2][1:], row[1], strict=True)]
        if row is not None and row[0] is add and all(a.shape == term.shape for a in operands):
            waiting += operands
        elif row is not None and row[0] is scatter:
            terms.append((*operands, row[3]["index"]))
        elif row is not None and row[0] is put:
            terms += zip(operands, row[3]["indices"], strict=True)
        else:
            terms.append((term, None))
    return terms if any(index is not None for *_, index in terms) else []


def _private(value: Any) -> Any:
    """Return a parameter with its arrays copied, for code that other bodies share."""
    if type(value) is np.ndarray:
        return value.copy()
    return type(value)(map(_private, value)) if type(value) in (tuple, list) else value


def _bytes_in(program: Program) -> int:
    """Count the bytes of the arrays in a Program: constants, and parts of an index."""
    held = 0
    for line in program.lines:
        held += sum(_bytes_of(a.value) for a in line.inputs if not isinstance(a, Var))
        held += sum(map(_bytes_of, line.params.values()))
    return held + sum(_bytes_of(a.value) for a in program.outputs if not isinstance(a, Var))


def _bytes_of(value: Any) -> int:
    return sum(map(_bytes_of, value)) if isinstance(value, (tuple, list)) else getattr(value, "nbytes", 0)
