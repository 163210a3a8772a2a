"""Kernels: a step and its two sweeps, each written once as straight code.

A step is linearized and swept thousands of times, and every time its local partials are the same formulas.  So they are
written down once: the sweep is recorded, as every derivative can be, with what the rules read as its arguments, and the
Program is run as plain Python.  Nothing is asked of the table of primitives while the loop runs.

    ahead(values...)            -> results, what is kept
    back(what is kept, bars)    -> adjoints of the arguments     (outside-in)
    onward(what is kept, dots)  -> tangents of the results       (inside-out)

Sweeps that meet an infinity go line by line, carefully (`wengert.accumulation.sweeps`): what is kept can always be
made into the `Linearization` that they read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.accumulation.sweeps import forward, reverse
from wengert.control.straight import straight
from wengert.linearization import Linearization, by_position
from wengert.primitives.table import PRIMITIVES
from wengert.program import Primitive, Program, Var, as_value
from wengert.simplification import simplify
from wengert.tracing import Group, Trace, build_program, recording, what_is_kept

Array = Any
Mask = tuple[bool, ...]
FEW = 32
"""Up to so many steps, writing a sweep down takes more time than it saves."""


class _Stand:
    """What stands for a variable's value while it is settled which values the rules read."""

    __slots__ = ("dtype", "shape", "size", "slot")

    def __init__(self, var: Var, slot: int) -> None:
        self.shape, self.dtype, self.size, self.slot = var.shape, var.dtype, var.size, slot


class Sweep:
    """A sweep as straight code: the places of those of its results that are not zero, and the function."""

    __slots__ = ("count", "places", "run")

    def __init__(self, run: Callable[..., tuple[Any, ...]], found: Sequence[Any]) -> None:
        self.run, self.count = run, len(found)
        self.places = tuple(k for k, v in enumerate(found) if v is not None)

    def __call__(self, kept: Sequence[Any], consts: Sequence[Any], seeds: Sequence[Any]) -> list[Any]:
        """Return all results, None where they are zero."""
        found: list[Any] = [None] * self.count
        for k, value in zip(self.places, self.run(*kept[1:], *consts, *seeds), strict=True):
            found[k] = value
        return found


class Kernel:
    """A Program of plain arrays, linearized for some active arguments, as straight code.

    What a step keeps is a tuple: this kernel, and then the values that the rules read, but for those of the last
    arguments, `consts` in number, which are the same at every step.
    """

    __slots__ = (
        "_consts", "_ends", "_outputs", "_rows", "_size", "_slots", "_starts", "_sweeps", "_with_complex", "inputs",
        "kept",
    )  # fmt: skip

    def __init__(self, program: Program, reached: set[Var], consts: int) -> None:
        self.inputs = len(program.inputs)
        slots: dict[Var, int] = {var: k for k, var in enumerate(program.inputs)}
        for line in program.lines:
            slots[line.outputs[0]] = len(slots)
        stands = {var: _Stand(var, slot) for var, slot in slots.items()}
        self._rows: list[Any] = []
        needed: dict[int, Var] = {}
        for line in program.lines:
            (var,) = line.outputs
            if var not in reached or not line.primitive.keeps:
                continue
            parents = tuple(slots[a] if isinstance(a, Var) and a in reached else -1 for a in line.inputs)
            operands = tuple(stands[a] if isinstance(a, Var) else a.value for a in line.inputs)
            kept = what_is_kept(line.primitive, parents, stands[var], operands)
            self._rows.append((line.primitive, parents, kept, line.params, line.place, slots[var]))
            for value in kept:
                if type(value) is _Stand:
                    needed.setdefault(value.slot, next(v for v, stand in stands.items() if stand is value))
        first = self.inputs - consts
        self.kept = [var for slot, var in needed.items() if not first <= slot < self.inputs]
        self._consts = [slot for slot in needed if first <= slot < self.inputs]
        self._slots = [slots[var] for var in self.kept]
        self._size = len(slots)
        self._outputs = [slots[a] if isinstance(a, Var) else -1 for a in program.outputs]
        self._starts = [(var.shape, var.dtype) for var in program.inputs]
        self._ends = [(packing.shape, packing.dtype) for packing in program.results]
        self._with_complex = any(var.dtype.kind == "c" for var in slots)
        self._sweeps: dict[Any, Sweep | None] = {}

    def linearization(self, kept: Sequence[Any], consts: Sequence[Any]) -> Linearization:
        """Make of what a step kept what the careful sweeps read."""
        values = dict(zip(self._slots, kept[1:], strict=True))
        first = self.inputs - len(consts)
        values.update((slot, consts[slot - first]) for slot in self._consts)
        rows = [
            (primitive, parents, tuple([values[v.slot] if type(v) is _Stand else v for v in kept]), params, place, out)
            for primitive, parents, kept, params, place, out in self._rows
        ]
        nothing = [None] * self.inputs
        return Linearization(rows, nothing, self._outputs, [], self._size, self._with_complex)

    def takes(self, ahead: bool, seeds: Sequence[Any]) -> bool:
        """Tell whether seeds (None where zero) are of the dtypes that sweeps are written for."""
        like = self._starts if ahead else self._ends
        return all(g is None or g.dtype == dtype for g, (_, dtype) in zip(seeds, like, strict=True))

    def sweep(self, ahead: bool, given: Mask, kept: Sequence[Any], consts: Sequence[Any], batch: int | None) -> Any:
        """Return the sweep for seeds where `given` says; None if it takes decisions on values.

        It takes what is kept (but for the kernel), all constants, and the seeds that are given.
        """
        key = (ahead, given, batch)
        if key not in self._sweeps:
            self._sweeps[key] = self._record(ahead, given, kept, consts, batch)
        return self._sweeps[key]

    def _record(
        self, ahead: bool, given: Mask, kept: Sequence[Any], consts: Sequence[Any], batch: int | None
    ) -> Sweep | None:
        leading = () if batch is None else (batch,)
        with recording() as tape:
            groups: list[Group] = []

            def enter(value: Any) -> Any:
                traced = tape.input(as_value(value))
                groups.append(Group(f"a_{len(groups)}", traced.shape, traced.dtype, [traced]))
                return traced

            entered = [None, *map(enter, kept[1:])]
            linearization = self.linearization(entered, [enter(c) for c in consts])
            positions = range(self.inputs) if ahead else self._outputs
            like = self._starts if ahead else self._ends
            seeds = by_position(
                positions,
                [
                    enter(np.ones(leading + shape, dtype)) if on else None
                    for (shape, dtype), on in zip(like, given, strict=True)
                ],
            )
            swept = (forward if ahead else reverse)(linearization, seeds, len(leading))
            found = [swept[k] if k >= 0 else None for k in self._outputs] if ahead else swept
            results = [Group("y", v.shape, v.dtype, [v]) for v in map(_as_known, found) if v is not None]
            if tape.guards:
                return None
            written = build_program(Trace("sweep", tape, groups, results, False))
        return Sweep(straight(simplify(written)), found)


def _as_known(value: Any) -> Any:
    return None if value is None else as_value(value)


def is_plain(program: Program, reached: set[Var]) -> bool:
    """Tell whether all rules that a sweep may ask are formulas: none looks at values, to refuse some of them."""
    for line in program.lines:
        if line.primitive.multiple:
            return False
        if line.outputs[0] in reached and not _is_formula(line.primitive):
            return False
    return True


def _is_formula(primitive: Primitive) -> bool:
    known = _formulas.get(primitive)
    if known is None:
        modules = {getattr(rule, "__module__", "") for rule in primitive.partials if rule is not None}
        known = modules <= _FORMULAS or (primitive.name in _CHECKED and PRIMITIVES.get(primitive.name) is primitive)
        _formulas[primitive] = known
    return known


_formulas: dict[Primitive, bool] = {}
_FORMULAS = frozenset(f"wengert.primitives.{name}" for name in ("elementwise", "structural", "special", "fourier"))
_CHECKED = frozenset({"norm", "inv", "solve"})
