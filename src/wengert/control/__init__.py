"""Loops, branches and checkpoints: lines that hold Programs.

A trace of a long Python loop has a line for every statement of every step.  These have one line for all of them, which
holds the Program of one step; print, cost, explanation and derivatives go into it.

- `revolve`: which steps an optimal schedule keeps and runs again;
- `unrolling`, `bodies`: a Program that is run many times, as straight code, with its sweeps;
- `holding`, `loop`, `branch`: what the line of a loop, a branch or a checkpoint holds, as frozen data;
- `checkpoints`: what a loop keeps of its steps for the reverse sweep;
- `backward`: tangents and reverse sweeps of loops and branches, as data;
- `execution`: runs of them on plain values, with their sweeps;
- `nested`: a long loop inside a step, as lines of the code of that step;
- `higher_order`: the primitive of such lines, differentiated to any order;
- `templates`, `rerolling`: steps that are alike as one step, and what differs between them as slices;
- `instructions`, `folding`: long runs of lines on numbers as arrays of whole numbers, written while they are traced;
- `closures`: the user's function as a body, and what it closes over;
- `state`: what a body reads besides its arguments and may change itself;
- `short_loops`: a loop of a few lines inside a body, written out on its trace;
- `staging`: how loops and branches are traced, run, and become lines;
- `api`: what users call, `scan`, `fori_loop`, `while_loop`, `cond`, `map`, `checkpoint`.
"""

from wengert.compilation.jit import FOLDING
from wengert.control.api import checkpoint, cond, fori_loop, map, scan, while_loop  # noqa: A004 - as in JAX
from wengert.control.staging import folding

FOLDING.append(folding)

__all__ = ["checkpoint", "cond", "fori_loop", "map", "scan", "while_loop"]
