"""Loops, branches and checkpoints: lines that hold Programs.

A trace of a long Python loop has a line for every statement of every step.  These have one line for all of them, which
holds the Program of one step; print, cost, explanation and derivatives go into it.

- `statements`: what users call, `scan`, `fori_loop`, `while_loop`, `cond`, `map`, `checkpoint`;
- `writing`: how they are run, and become lines;
- `capture`: the user's function as a body, and what it closes over;
- `folding`: steps that are alike as one step, and what differs between them as slices;
- `bodies`: a Program that is run many times; as straight code (`straight`), with its sweeps (`kernels`);
- `forms`: what follows from the structure of a body alone, worked out once for all traces of it;
- `lines`: how a line that holds Programs is differentiated, to any order;
- `loops`, `branches`: what such lines hold; `stores`: what a loop keeps of its steps;
- `source`: loops as Python statements.
"""

from wengert.control.api import checkpoint, cond, fori_loop, map, scan, while_loop  # noqa: A004 - as in JAX

__all__ = ["checkpoint", "cond", "fori_loop", "map", "scan", "while_loop"]
