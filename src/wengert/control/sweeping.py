"""Sweeping: a sweep over many steps as the code of one, with a `For` that says where its seeds and results go.

A sweep over a step goes from tangents of its arguments to those of its results, or from adjoints of its results to
those of its arguments.  Over many steps, what belongs to the carry goes on from step to step, what belongs to slices is
read or written at the place of the step, and adjoints of constants are added up.

>>> import numpy as np, wengert as wg
>>> loop = wg.trace(lambda x: wg.scan(lambda c, r: (c * r, None), 1.0, x)[0])(np.ones(3)).lines[0].held
>>> kernel, run = loop.bodies[0].kernel((True, True), 0)
>>> _, kept = run(np.float64(1.0), np.float64(2.0))
>>> code = SweepCode.of(loop, kernel, False, (True,), None, kept, ())
>>> code.repeat.inputs, code.repeat.outputs
(('kept', 'kept', 'kept', 'carry'), (3, 'collect'))
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from wengert.compilation.linearized import Kernel, Sweep
from wengert.control.holding import Mask, Values
from wengert.control.loop import Loop
from wengert.program.code import For


class SweepKind(NamedTuple):
    """What a sweep over a loop carries: `tangents` of the operands forward, or adjoints of the results back.

    It goes from the ends of the line that are `seeded` to those that are `left`, with a `block` of so many at once.
    """

    tangents: bool
    seeded: Mask
    left: Mask
    block: int | None


class End(NamedTuple):
    """An operand or result of a loop's line, as a sweep sees it.

    Its `kind` is ``"carry"``, ``"slice"`` (an element for each step), ``"const"`` or ``"number"``; `place` is that
    among the ends of the line, shape and dtype are those of the tangent or adjoint in one step.
    """

    kind: str
    place: int
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True, eq=False)
class SweepCode:
    """The sweep over the steps of a loop, as the code of one step that is repeated.

    The code takes the values that are kept of a step, the constants of the loop, the arrays among the constants of its
    body, and the seeds.

    Attributes
    ----------
    sweep
        The sweep over one step.
    repeat
        How it is repeated.
    seeds, swept
        The ends that it goes from, and those that it goes to.
    there
        All ends of the other side.
    arrays
        The arrays among the constants of the body, unless they stand in the code.
    """

    sweep: Sweep
    repeat: For
    seeds: tuple[End, ...]
    swept: tuple[End, ...]
    there: tuple[End, ...]
    arrays: tuple[Any, ...]

    @classmethod
    def of(
        cls, loop: Loop, kernel: Kernel, tangents: bool, seeded: Mask, block: int | None, kept: Sequence[Any],
        consts: Values,
    ) -> SweepCode | None:  # fmt: skip
        """Return the sweep from the ends of a step that are `seeded`; None if there is no code for it.

        It is recorded on the values `kept` of some step.
        """
        sweep = kernel.sweep(tangents, seeded, kept, consts, block)
        if sweep is None:
            return None
        outline = kernel.outline
        arguments = _ends(loop.kinds_of_arguments, outline.starts, block)
        results = _ends(loop.kinds_of_results, outline.ends, block)
        here, there = (arguments, results) if tangents else (results, arguments)
        seeds = [end for end, on in zip(here, seeded, strict=True) if on]
        swept = [there[k] for k in sweep.places]
        arrays = () if sweep.alone else tuple(kernel.arrays)
        inputs = ["kept"] * len(outline.slots) + ["const"] * (loop.consts + len(arrays))
        carried = {end.place: k for k, end in enumerate(seeds, len(inputs)) if end.kind == "carry"}
        inputs += ["each" if end.kind == "slice" else end.kind for end in seeds]
        outputs: list[int | str] = []
        for k, end in zip(sweep.places, swept, strict=True):
            if k in sweep.parts:
                outputs += ["pieces", *["more"] * (sweep.parts[k].count - 1)]
            else:
                outputs.append(carried[end.place] if end.kind == "carry" else _TARGETS[end.kind])
        resets = tuple([k for k in carried.values() if k not in outputs])
        repeat = For(tuple(inputs), tuple(outputs), resets)
        return cls(sweep, repeat, tuple(seeds), tuple(swept), tuple(there), arrays)

    @property
    def pieces(self) -> list[End]:
        """The ends whose adjoints come in pieces."""
        return [self.there[k] for k in self.sweep.parts]


_TARGETS = {"slice": "collect", "const": "sum"}
"""Where the results of a sweep over a step go that are not carried to the next one."""


def _ends(kinds: Sequence[str], like: Sequence[Any], block: int | None) -> list[End]:
    """Return the ends of the line that belong to those of a step."""
    leading = () if block is None else (block,)
    places = itertools.count()
    return [
        End(kind, -1 if kind == "number" else next(places), (*leading, *shape), dtype.str)
        for kind, (shape, dtype) in zip(kinds, like, strict=True)
    ]
