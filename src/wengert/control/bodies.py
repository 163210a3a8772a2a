"""Bodies: a Program that is run many times, as a plain function, as linearizations, and with its tangents beside it.

A loop runs the same few lines thousands of times, so what can be done once is done once: the Program is written as
straight Python code whose names are the variables; where its local Jacobians are wanted, a table says for each line
where its operands are and whether anything that is differentiated reaches it.

>>> import numpy as np, wengert as wg
>>> body = Body(wg.trace(lambda c, x: np.sin(c) * x)(0.5, 2.0), (np.float64(0.5), np.float64(2.0)))
>>> [float(y) for y in body(np.float64(0.0), np.float64(3.0))]
[0.0]
>>> tangent = body.tangent((True, False), (True,), [("x", 0), ("dot", 0), ("x", 1)], [("dot", 0)])
>>> [float(y) for y in tangent(np.float64(0.0), np.float64(1.0), np.float64(3.0))]
[3.0]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from wengert.accumulation.programs import Slot, adjoint_program, tangent_program
from wengert.compilation.cache import Form, form_of
from wengert.compilation.linearized import Kernel, Outline
from wengert.control.unrolling import unrolled
from wengert.linearization import Linearization
from wengert.program import (
    Constant,
    Guard,
    Packing,
    Program,
    Var,
    as_value,
    computes_lines,
    fail_at,
    guards_of,
    reached_by,
)
from wengert.program.compiled import Script
from wengert.program.dataflow import depending_on, substitute
from wengert.tracing import what_is_kept

FEW = 32
"""Up to so many steps, writing a sweep down takes more time than it saves."""


class Body:
    """A Program of plain arrays, one for each argument and result, that is run many times.

    `sample` are values of its arguments for which it holds: a branch that can be taken.
    """

    __slots__ = (
        "_arrays", "_form", "_kernels", "_met", "_reverses", "_run", "_tables", "_tangents", "_unrolled", "program",
        "sample",
    )  # fmt: skip

    def __init__(self, program: Program, sample: Sequence[Any]) -> None:
        self.program, self.sample = program, tuple(sample)
        self._run: Callable[..., tuple[Any, ...]] | None = None
        self._unrolled: Program | None = None
        self._arrays: list[Any] | None = None
        self._form: Form | None = None
        self._met = False
        self._tables: dict[tuple[bool, ...], _Table] = {}
        self._tangents: dict[Any, Body] = {}
        self._kernels: dict[Any, tuple[Kernel, Callable[..., Any]] | None] = {}
        self._reverses: dict[Any, Program] = {}

    def __getstate__(self) -> tuple[Any, ...]:
        return self.program, self.sample

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def __call__(self, *values: Any) -> tuple[Any, ...]:
        """Evaluate the Program on plain values; BranchError where it takes another branch."""
        return self.run(*values)

    @property
    def unrolled(self) -> Program:
        """The Program with its short loops written out: what the code and the sweeps of this body are made from."""
        if self._unrolled is None:
            self._unrolled = unrolled(self.program)
        return self._unrolled

    @property
    def arrays(self) -> list[Any]:
        """The arrays among the constants, in the order of the lines: what bodies of one structure differ in."""
        if self._arrays is None:
            program = self.unrolled
            atoms = [*(a for line in program.lines for a in line.inputs), *program.outputs]
            self._arrays = [a.value for a in atoms if isinstance(a, Constant) and type(a.value) is np.ndarray]
        return self._arrays

    @property
    def form(self) -> Form:
        """What follows from the structure of this body alone."""
        form = self._form
        if form is None:
            form = self._form = form_of(self.unrolled)
            self._met, form.met = form.met, form.common
        return form

    @property
    def run(self) -> Callable[..., tuple[Any, ...]]:
        """The Program as straight code, written when it is first asked for."""
        if self._run is None:
            form = self.form
            if form.run is None:
                form.run = Script(self.unrolled)
            self._run = form.run.of(self.unrolled)
        return self._run

    def reaches(self, active: tuple[bool, ...]) -> tuple[bool, ...]:
        """Return which results depend, by derivatives, on the arguments that are `active`."""
        activity: dict[Any, tuple[bool, ...]] = self.form.activity
        key = self.unrolled is self.program, active
        if key not in activity:
            reached = reached_by(self.program, active)
            activity[key] = tuple(isinstance(a, Var) and a in reached for a in self.program.outputs)
        return activity[key]

    def depends(self, marked: Sequence[bool]) -> tuple[bool, ...]:
        """Return which results depend, by derivatives or otherwise, on the arguments that are `marked`."""
        reached = depending_on(self.program, [var for var, on in zip(self.program.inputs, marked, strict=True) if on])
        return tuple([isinstance(a, Var) and a in reached for a in self.program.outputs])

    def leads(self, seeded: tuple[bool, ...]) -> tuple[bool, ...]:
        """Return the arguments on which, by derivatives, some of the results that are `seeded` depend."""
        activity: dict[Any, tuple[bool, ...]] = self.form.activity
        key = self.unrolled is self.program, seeded, "adjoints"
        if key not in activity:
            leading = {a for a, on in zip(self.program.outputs, seeded, strict=True) if on}
            for line in reversed(self.program.lines):
                differentiated = line.primitive.keeps or line.primitive.multiple
                if differentiated and any(var in leading and var.dtype.kind in "fc" for var in line.outputs):
                    leading.update(line.inputs)
            activity[key] = tuple(var in leading for var in self.program.inputs)
        return activity[key]

    def linearize(self, values: Sequence[Any], active: tuple[bool, ...]) -> Linearization:
        """Evaluate the Program and keep what the rules will read, on the lines that active arguments reach."""
        table = self._tables.get(active)
        if table is None:
            table = self._tables[active] = _Table(self.unrolled, active)
        return table.linearize(values)

    def kernel(
        self, active: tuple[bool, ...], consts: int, few: bool = False
    ) -> tuple[Kernel, Callable[..., Any]] | None:
        """Return the step as straight code: its `Kernel`, and the function that keeps what the sweeps read.

        None where that cannot be.  The last arguments, `consts` in number, are the same at every step.  For a `few`
        steps nothing is written at first sight, only for a structure that is met again.
        """
        key = active, consts, few
        if key not in self._kernels:
            outlines = self.form.outlines
            outline = outlines.get((active, consts), self)
            if outline is self and few and not self._met:
                outline = None
            program = None if outline is None else with_forward_passes(self.unrolled, active)
            if outline is self:
                outline = None if program is None else Outline.of(program, active, consts)
                outlines[active, consts] = outline
            kernel = None if outline is None or program is None else Kernel(program, outline)
            self._kernels[key] = None if kernel is None else (kernel, kernel.forward_pass())
        return self._kernels[key]

    def tangent(
        self,
        active: tuple[bool, ...],
        wanted: tuple[bool, ...],
        takes: Sequence[Slot],
        gives: Sequence[Slot],
        batch: int | None = None,
    ) -> Body:
        """Return the Program that computes tangents beside the values.

        Tangents come in for the arguments that are `active` and go out for the results that are `wanted`; with `batch`,
        a block of so many at once.  `takes` and `gives` say in which order values and tangents stand.
        """
        key = (active, wanted, tuple(takes), tuple(gives), batch)
        if key not in self._tangents:
            leading = () if batch is None else (batch,)
            sample = [
                self.sample[k]
                if what == "x"
                else as_value(np.ones(leading + np.shape(self.sample[k]), self.sample[k].dtype))
                for what, k in takes
            ]
            program = tangent_program(self.program, self.sample, active, takes, gives, batch)
            self._tangents[key] = Body(program, sample)
        return self._tangents[key]

    def reverse(self, seeded: tuple[bool, ...], wanted: tuple[bool, ...]) -> Program:
        """Return the Program that runs this one and then goes back: to adjoints of the arguments that are `wanted`.

        It takes the arguments, and the adjoints of the results that are `seeded`.
        """
        key = seeded, wanted
        if key not in self._reverses:
            self._reverses[key] = adjoint_program(self.program, self.sample, seeded, wanted)
        return self._reverses[key]


def is_few(steps: int | None) -> bool:
    """Return whether a loop makes too few steps for its sweeps to be written down at first sight."""
    return steps is not None and steps <= FEW


class _Table:
    """A Program's lines as a table of places, to evaluate it and keep what the rules read, again and again.

    What `interpret` would ask at each line is looked up beforehand: a step takes less than half the time of that walk.
    """

    __slots__ = ("_base", "_inputs", "_rows", "_with_complex", "outputs", "size")

    def __init__(self, program: Program, active: Sequence[bool]) -> None:
        reached = reached_by(program, active)
        self._inputs = len(program.inputs)
        slots: dict[Var, int] = {var: k for k, var in enumerate(program.inputs)}
        for line in program.lines:
            for var in line.outputs:
                slots[var] = len(slots)
        self.size = len(slots)
        self._base: list[Any] = [None] * self.size
        guards = guards_of(program)

        def place_of(atom: Any) -> int:
            if isinstance(atom, Var):
                return slots[atom]
            self._base.append(atom.value)
            return len(self._base) - 1

        self._rows: list[Any] = []
        first = [(slots[var], guards[var]) for var in program.inputs if var in guards]
        if first:
            self._rows.append((None, None, (), (), {}, None, (), first, False))
        for line in program.lines:
            primitive = line.primitive
            args = [place_of(a) for a in line.inputs]
            parents = tuple(slots[a] if isinstance(a, Var) and a in reached else -1 for a in line.inputs)
            out: Any = tuple(slots[var] for var in line.outputs)
            heeded = [(slots[var], guards[var]) for var in line.outputs if var in guards]
            keep = not reached.isdisjoint(line.outputs)
            if not primitive.multiple:
                (out,) = out
            plain = line.outputs[0].shape or (primitive.elementwise and isinstance(primitive.numpy, np.ufunc))
            self._rows.append(
                (primitive, None if plain else as_value, args, parents, line.params, line.place, out, heeded, keep)
            )
        self.outputs = [slots[a] if isinstance(a, Var) else place_of(a) for a in program.outputs]
        self._with_complex = any(var.dtype.kind == "c" for var in slots)

    @computes_lines(lambda variables: (variables["primitive"], variables["place"], variables["values"]))
    def linearize(self, arguments: Sequence[Any]) -> Linearization:
        env = self._base.copy()
        env[: self._inputs] = arguments
        rows: list[Any] = []
        for primitive, convert, args, parents, params, place, out, heeded, keep in self._rows:
            if primitive is not None:
                values = tuple([env[k] for k in args])
                if primitive.multiple:
                    if keep:
                        y, swept = primitive.linearize(values, tuple([parent >= 0 for parent in parents]), **params)
                        rows.append((primitive, parents, (y, *values), swept, place, out))
                    else:
                        y = primitive.compute(*values, **params)
                    for position, value in zip(out, y, strict=True):
                        env[position] = value
                else:
                    y = primitive.compute(*values, **params)
                    if convert is not None:
                        y = as_value(y)
                    env[out] = y
                    if keep:
                        kept = what_is_kept(primitive, parents, y, values)
                        rows.append((primitive, parents, kept, params, place, out))
            if heeded:
                _heed(heeded, env)
        size = self.size
        outputs = [k if k < size else -1 for k in self.outputs]
        results = [env[k] for k in self.outputs]
        return Linearization(rows, list(arguments), outputs, results, size, self._with_complex)


def _heed(heeded: Sequence[tuple[int, list[Guard]]], env: Sequence[Any]) -> None:
    for position, guards in heeded:
        for guard in guards:
            if guard.value != type(guard.value)(env[position]):
                fail_at(guard, env[position])


def with_forward_passes(program: Program, active: tuple[bool, ...]) -> Program | None:
    """Return a Program whose loops keep what sweeps over `active` arguments read (`wengert.control.nested`).

    None where the line of a loop or branch cannot do that.
    """
    if not any(line.primitive.multiple for line in program.lines):
        return program
    reached = reached_by(program, active)
    lines: list[Any] = []
    for line in program.lines:
        if line.primitive.multiple and not reached.isdisjoint(line.outputs):
            primitive: Any = line.primitive
            line = primitive.forward_pass(line, tuple([isinstance(a, Var) and a in reached for a in line.inputs]))
        lines.append(line)
    return None if None in lines else replace(program, lines=tuple(lines))


# ---- The same Program with other arguments ----


def rearranged(
    program: Program, arguments: Sequence[Packing | int], merged: Mapping[int, int] | None = None
) -> Program:
    """Return a Program with other arguments around its own: those of its own by position, others that it ignores.

    Arguments that are `merged` into others are left out.

    >>> import numpy as np, wengert as wg
    >>> program = wg.trace(lambda x: 2.0 * x)(1.0)
    >>> unused = Packing("c", (), np.dtype(float), (Var(0, (), np.dtype(float)),))
    >>> print(rearranged(program, [unused, 0]).listing(places=False))
    c = u_{-1}, x = u_0
    u_1 = 2 * u_0  = y
    """
    new: dict[Var, Var] = {}
    packings = []
    for k, argument in enumerate(arguments):
        packing = program.arguments[argument] if isinstance(argument, int) else argument
        (old,) = packing.atoms
        var = Var(k + 1 - len(arguments), packing.shape, packing.dtype)
        if isinstance(old, Var):
            new[old] = var
        packings.append(Packing(packing.name, packing.shape, packing.dtype, (var,)))
    inputs = program.inputs
    new.update((inputs[gone], new[inputs[kept]]) for gone, kept in (merged or {}).items())
    return substitute(program, new, packings)
