"""Nested loops: a long loop inside a step that is compiled, as lines of the step's code.

The code of a step does not write the steps of such a loop out.  One line runs the loop and keeps what its sweeps read
(the *forward pass*), and one line in each sweep of the step goes through what was kept.  Both run code that repeats the
inner step (`wengert.program.code.For`).

>>> import numpy as np, wengert as wg
>>> program = wg.trace(lambda x: wg.fori_loop(0, 2, lambda i, c: np.sin(c) + i, x))(1.0)
>>> line = forward_pass_of(program.lines[0], (True,))
>>> value, kept = line.primitive(np.float64(0.5), **line.params)
>>> float(value) == float(np.sin(np.sin(0.5)) + 1), len(kept.steps)
(True, 2)
>>> (adjoint,) = kept.sweep(SweepKind(False, (True,), (True,), None), np.float64(1.0))
>>> float(adjoint) == float(np.cos(np.sin(0.5)) * np.cos(0.5))
True
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert.accumulation.masks import Mask as Where
from wengert.compilation.linearized import Kernel
from wengert.control.backward import ReverseSweep
from wengert.control.checkpoints import AllResiduals
from wengert.control.execution import LoopRun
from wengert.control.holding import Mask, Values
from wengert.control.loop import Loop
from wengert.control.sweeping import End, SweepCode, SweepKind
from wengert.control.tapes import Record
from wengert.program import Line, Primitive, Recordable, Var, as_value, write_tuple
from wengert.tracing import innermost, record_results

Masks = Sequence[Where | None]
Ends = Sequence[Any]
"""Tangents or adjoints of the operands or results of a line; None where zero."""


def forward_pass_of(line: Line, active: Mask) -> Line | None:
    """Return the line that runs a loop and keeps what sweeps over `active` operands read, in one result more.

    None where that cannot be: where steps take several branches, or not all residuals are kept.
    """
    loop = line.held
    if not isinstance(loop, Loop) or not loop.is_simple:
        return None
    compiled = loop.bodies[0].kernel(loop.reached(active)[0], loop.consts)
    if compiled is None:
        return None
    outputs = (*line.outputs, Var(0, (), Kept.dtype))
    return Line(FORWARD_PASS, line.inputs, outputs, {"nested": Nested(loop, active, compiled[0])}, line.place)


class Nested:
    """A loop inside a step, for some active operands: its kernel, and its code."""

    __slots__ = ("active", "kernel", "loop", "run", "sweeps")

    def __init__(self, loop: Loop, active: Mask, kernel: Kernel) -> None:
        self.loop, self.active, self.kernel = loop, active, kernel
        self.run = kernel.forward_passes(loop.repeat, *[(test.unrolled, test.form) for test in loop.tests])
        self.sweeps: dict[SweepKind, NestedSweep | None] = {}


class Kept:
    """A loop that was run inside a step: its operands, and the residuals of its steps; one value of the step's code."""

    __slots__ = ("nested", "operands", "steps")
    shape, dtype, size, ndim = (), np.dtype(object), 1, 0

    def __init__(self, nested: Nested, operands: Values, steps: list[Any]) -> None:
        self.nested, self.operands, self.steps = nested, operands, steps

    @property
    def nbytes(self) -> int:
        """The bytes that the steps take."""
        return self.run().kept_bytes()

    def run(self) -> LoopRun:
        """Return the run of the loop, which is swept step by step."""
        run = LoopRun(self.nested.loop, self.operands)
        run.count, run.store = len(self.steps), AllResiduals(self.nested.active)
        run.store.steps = Record(self.steps)
        return run

    def sweep(self, kind: SweepKind, *seeds: Any) -> Values:
        """Sweep over the steps, by code if there is any; return the tangents or adjoints that are left."""
        sweeps = self.nested.sweeps
        if self.steps and kind not in sweeps:
            sweeps[kind] = NestedSweep.of(self, kind)
        sweep = sweeps[kind] if self.steps else None
        return self._swept_by_steps(kind, seeds) if sweep is None else sweep(self, seeds)

    def _swept_by_steps(self, kind: SweepKind, seeds: Values) -> Values:
        remaining, run, batch = iter(seeds), self.run(), int(kind.block is not None)
        all_seeds = [next(remaining) if on else None for on in kind.seeded]
        swept = run.jvp(all_seeds, batch) if kind.tangents else run.vjp(all_seeds, batch, self.nested.active)
        leading = () if kind.block is None else (kind.block,)
        likes = self.nested.loop.empty_results() if kind.tangents else self.operands
        return tuple(
            as_value(np.zeros((*leading, *like.shape), like.dtype)) if g is None else g
            for g, like, on in zip(swept, likes, kind.left, strict=True)
            if on
        )


# ---- Sweeps over the steps that were kept ----


class NestedSweep:
    """A sweep over the steps of a loop that were kept, as code."""

    __slots__ = ("_arrays", "_code", "_parts", "_run")

    def __init__(self, nested: Nested, kind: SweepKind, code: SweepCode) -> None:
        self._arrays, self._parts = code.arrays, list(code.sweep.parts.values())
        self._code = code.sweep.repeated(code.repeat)
        text = _write_sweep(kind, nested.loop, code)
        self._run = _function(text)

    @classmethod
    def of(cls, kept: Kept, kind: SweepKind) -> NestedSweep | None:
        """Return the sweep over a loop; None if there is no code for the sweep over one of its steps."""
        nested, loop = kept.nested, kept.nested.loop
        if kind.tangents:
            seeded = loop.reached(kind.seeded)[0]
        else:
            seeded = tuple(map(bool, ReverseSweep.over(loop, kind.seeded, nested.active).received))
        consts = kept.operands[loop.carried + loop.sliced :]
        code = SweepCode.of(loop, nested.kernel, kind.tangents, seeded, kind.block, kept.steps[0], consts)
        return None if code is None else cls(nested, kind, code)

    def __call__(self, kept: Kept, seeds: Values) -> Values:
        """Return the tangents or adjoints that are left."""
        sums = [_SumOfPieces(parts) for parts in self._parts]
        return self._run(self._code, kept.steps, kept.operands, self._arrays, sums, *seeds)  # type: ignore[no-any-return]


def _zeros(end: End) -> str:
    """Return an expression for zeros: those of all steps for slices."""
    if end.kind == "slice":
        return f"zeros((len(steps), *{end.shape}), {end.dtype!r})"
    return f"zeros({end.shape}, {end.dtype!r})" if end.shape else f"zeros((), {end.dtype!r})[()]"


def _write_sweep(kind: SweepKind, loop: Loop, code: SweepCode) -> str:
    """Write the function that calls the code of a sweep: with zeros where nothing is seeded, and arrays for results."""
    seeds, swept, pieces = code.seeds, code.swept, code.pieces
    backwards = "[::-1]" * (loop.reversed == kind.tangents)
    block_behind, block_in_front = (
        ("moveaxis({}, 0, 1)", "moveaxis({}, 1, 0)") if kind.block is not None else ("{}", "{}")
    )
    starts, targets, text = [], [], []
    for end in seeds:
        seed = f"seed{end.place}" if kind.seeded[end.place] else _zeros(end)
        starts.append(block_behind.format(seed) + backwards if end.kind == "slice" else seed)
    left = {end.place: f"carry{end.place}" for end in seeds if end.kind == "carry"}
    returned = list(left.values())
    for end in swept:
        if end.kind == "slice":
            text.append(f"    out{end.place} = empty((len(steps), *{end.shape}), {end.dtype!r})")
            targets.append(f"out{end.place}")
            left[end.place] = block_in_front.format(targets[-1])
        elif end in pieces:
            targets.append(f"sums[{pieces.index(end)}]")
            left[end.place] = f"{targets[-1]}.total"
        elif end.kind == "const":
            targets.append(_zeros(end))
            left[end.place] = f"sum{end.place}"
            returned.append(left[end.place])
    lost = [
        _zeros(end)
        for end in seeds
        if end.kind == "carry" and all(end.place != e.place for e in swept if e.kind == "carry")
    ]
    arguments = [
        f"range(len(steps)){backwards}", "steps" if kind.tangents else "reversed(steps)", "None",
        f"*operands[{loop.carried + loop.sliced}:]", "*arrays", *starts, *targets, *lost,
    ]  # fmt: skip
    seed_names = [f"seed{place}" for place, on in enumerate(kind.seeded) if on]
    zeros = {end.place: _zeros(end) for end in code.there}
    values = [left.get(place) or zeros[place] for place, on in enumerate(kind.left) if on]
    call = f"code({', '.join(arguments)})"
    return "\n".join(
        [
            f"def run({', '.join(['code', 'steps', 'operands', 'arrays', 'sums', *seed_names])}):",
            *text,
            f"    {write_tuple(returned)} = {call}" if returned else f"    {call}",
            f"    return {write_tuple(values)}",
        ]
    )


_MAKERS = {"zeros": np.zeros, "empty": np.empty, "moveaxis": np.moveaxis}
"""NumPy's own: while a trace runs, others stand in their places."""


@functools.lru_cache(256)
def _function(text: str) -> Any:
    """Return the function that a text defines."""
    names: dict[str, Any] = {**_MAKERS}
    exec(compile(text, "<wengert sweep over a nested loop>", "exec"), names)
    return names["run"]


class _SumOfPieces:
    """The adjoint of a large constant of which each step reads a part."""

    __slots__ = ("_parts", "total")

    def __init__(self, parts: Any) -> None:
        self._parts = parts
        self.total: Any = None

    def add(self, values: Values) -> None:
        """Add the pieces of a step."""
        self.total = self._parts.read(iter(values)).add_into(self.total)


# ---- The lines ----


def _forward_pass(*operands: Any, nested: Nested) -> tuple[Any, ...]:
    """Run a loop; return its results, and the loop with its steps as they are kept."""
    loop = nested.loop
    steps: list[Any] = []
    ys = loop.empty() if loop.collected else ()
    carry = nested.run(*loop.started(steps.append, operands), *ys)
    return (*carry, *ys, Kept(nested, operands, steps))


def _jvp(tangents: Ends, _operands: Values, batch: int, nested: Nested, run: Any, masks: Masks | None = None) -> Any:
    """Carry tangents of the operands through the line of a forward pass; with masks, carefully (`higher_order`)."""
    if masks is not None:
        dots, masks_of_dots = run.run().carefully(tangents, masks, batch)
        return [*dots, None], [*masks_of_dots, None]
    if not isinstance(run, Recordable):
        return [*run.run().jvp(tangents, batch), None]
    left = nested.loop.reached(tuple([t is not None for t in tangents]))[1]
    return [*_write_line(run, True, tangents, batch, left), None]


def _vjp(
    bars: Ends, _operands: Values, batch: int, _wanted: Sequence[bool], nested: Nested, run: Any,
    masks: Masks | None = None,
) -> Any:  # fmt: skip
    """Carry adjoints of the results back through the line of a forward pass; with masks, carefully."""
    bars, loop, active = bars[:-1], nested.loop, nested.active
    if masks is not None:
        return run.run().carefully(bars, masks[:-1], batch, active)
    if not isinstance(run, Recordable):
        return run.run().vjp(bars, batch, active)
    passed = ReverseSweep.over(loop, tuple([g is not None for g in bars]), active).passed
    left = tuple([to is not None for to, kind in zip(passed, loop.kinds_of_arguments, strict=True) if kind != "number"])
    return _write_line(run, False, bars, batch, left)


def _write_line(run: Any, tangents: bool, seeds: Ends, batch: int, left: Mask) -> Ends:
    """Write the line of a sweep over the steps that were kept."""
    values = [g for g in seeds if g is not None]
    kind = SweepKind(tangents, tuple([g is not None for g in seeds]), left, values[0].shape[0] if batch else None)
    results = innermost(run).sweep(kind, *map(innermost, values))
    traced = iter(record_results(SWEEP, [run, *values], {"kind": kind}, results, {}))
    return [next(traced) if on else None for on in left]


FORWARD_PASS = Primitive(
    "forward_pass",
    _forward_pass,
    (lambda _k, _y, *_operands, nested: None,),
    elementwise=False,
    variadic=True,
    multiple=True,
    jvp=_jvp,
    vjp=_vjp,
)
"""Runs a loop and returns, beside its results, the loop as it is kept."""
SWEEP = Primitive("sweep", lambda kept, *seeds, kind: kept.sweep(kind, *seeds), elementwise=False, multiple=True)
"""Goes through the steps of a loop that were kept."""
