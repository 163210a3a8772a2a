"""Branches: a function that takes decisions on values, as a tree of straight code.

Each branch is a Program.  The first is one Python function; where a decision falls otherwise than it did in the trace,
that function leaves by an `Exit`, and the branch that is traced then continues there, with the values that have been
computed so far.  So nothing is computed twice, each branch is compiled once, and a decision is found by the ``if`` that
the user wrote (`wengert.program.code`).

>>> import numpy as np, wengert as wg
>>> from wengert import trees
>>> from wengert.program.code import Leaf
>>> program = wg.trace(lambda x: 2.0 * x if x > 1.0 else -x, fold=False)(3.0)
>>> tree = Tree()
>>> form = ResultForm(trees.flatten(0.0)[1], (Leaf(0, "scalar"),))
>>> branch = tree.add(program, form, None)
>>> branch.run(np.float64(4.0)), branch.run(np.float64(0.0)) is branch.exits[0]
(np.float64(8.0), True)
>>> print(branch.text)
def branch(x0):
    x0 = float(x0)
    u1 = x0 > 1.0
    if not u1: return e0(locals())
    u2 = 2.0 * x0
    if u2 * 0.0 != 0.0: raise FloatingPointError
    return float64(u2)

Scalars of double precision are Python's own numbers.  Python does not report overflow, so numbers that could hide it
are looked at once in the end; whoever runs a branch lets NumPy raise where it would warn, and does without the branch
if it raises (`wengert.compilation.jit`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert.passes.fusion import fuse
from wengert.passes.simplification import simplify
from wengert.program import Program, Var
from wengert.program import code as statements
from wengert.program.code import Code, ResultForm, lower_branch
from wengert.program.compiled import write_branch


class Exit:
    """Where a branch is left because a decision falls otherwise: it goes on with another one, once there is one."""

    __slots__ = ("branch", "continuation", "statement")

    def __init__(self, branch: Branch, statement: statements.Exit) -> None:
        self.branch, self.statement = branch, statement
        self.continuation: Branch | None = None

    def __call__(self, values: dict[str, Any]) -> Any:
        """Go on with the values by their names; return this exit where no branch continues here."""
        return self if self.continuation is None else self.continuation.run(values)


class Tree:
    """All branches of a function for arguments of some types, shapes and dtypes.

    Attributes
    ----------
    branches
        All of them.
    roots
        Those that begin with the arguments: the first, and those that take other decisions inside a loop.
    names
        The names of variables in the code: those that exits hand on.
    lock
        Held while a branch is compiled, since that extends `names`.
    """

    __slots__ = ("branches", "lock", "names", "roots")

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.branches: list[Branch] = []
        self.roots: list[Branch] = []
        self.names: dict[Var, str] = {}

    def add(self, program: Program, form: ResultForm, exit_: Exit | None) -> Branch:
        """Add a branch that begins with the arguments, or else continues where another was left."""
        branch = Branch(self, program, form, exit_)
        self.branches.append(branch)
        if exit_ is None:
            self.roots.append(branch)
        else:
            exit_.continuation = branch
        return branch


class Branch:
    """One branch: a Program, lowered and compiled when it is first run.

    Attributes
    ----------
    program
        All lines, from the arguments on.
    run
        The compiled function.
    kernels
        The kernels of machine code that it calls (`wengert.compilation.native.grouping`).
    """

    __slots__ = ("_compiled", "_exit", "_form", "_tree", "kernels", "program", "run")

    def __init__(self, tree: Tree, program: Program, form: ResultForm, exit_: Exit | None) -> None:
        self.program, self._tree, self._form, self._exit = program, tree, form, exit_
        self._compiled: tuple[Code, str, list[Exit]] | None = None
        self.kernels: tuple[Any, ...] = ()
        self.run: Callable[..., Any] = self._compile_and_run

    def _compile_and_run(self, *args: Any) -> Any:
        self._compile()
        return self.run(*args)

    def _compile(self) -> tuple[Code, str, list[Exit]]:
        with self._tree.lock:
            if self._compiled is None:
                with np.errstate(all="ignore"):
                    self.program = fuse(simplify(self.program, exact=True))
                after = None if self._exit is None else (self._exit.branch.code, self._exit.statement)
                code = lower_branch(self.program, self._form, after)
                text, compile_ = write_branch(code, self._tree.names)
                exits = [Exit(self, statement) for statement in code.exits]
                self._compiled, self.run = (code, text, exits), compile_(exits)
            return self._compiled

    def run_by(self, code: Code, kernels: Sequence[Any]) -> None:
        """Run other code that computes the same by kernels, and is left where this branch is.

        Where it is left to begin anew, and where NumPy would warn in what comes before a decision, the code that this
        branch has had runs.
        """
        with self._tree.lock:
            own, text, exits = self._compile()
            exit_of = dict(zip(own.exits, exits, strict=True))
            in_python = self.run
            inputs = [self._tree.names[var] for var in own.inputs]

            def run_in_python(*args: Any) -> Any:
                with self._tree.lock:
                    self._compiled, self.run, self.kernels = (own, text, exits), in_python, ()
                return in_python(*args)

            def begin_anew(values: dict[str, Any]) -> Any:
                return run_in_python(*([values] if own.after else [values[name] for name in inputs]))

            by_kernels, compile_ = write_branch(code, dict(self._tree.names))
            run = compile_([begin_anew if type(e) is statements.Restart else exit_of[e] for e in code.exits])

            def run_or_begin_anew(*args: Any) -> Any:
                try:
                    return run(*args)
                except FloatingPointError:
                    return in_python(*args)

            restarts = any(type(exit_) is statements.Restart for exit_ in code.exits)
            self._compiled, self.kernels = (own, by_kernels, exits), tuple(kernels)
            self.run = run_or_begin_anew if restarts else run

    @property
    def code(self) -> Code:
        """The Program as statements."""
        return self._compile()[0]

    @property
    def text(self) -> str:
        """The source of the code."""
        return self._compile()[1]

    @property
    def exits(self) -> list[Exit]:
        """Where the branch is left, in the order of its decisions."""
        return self._compile()[2]
