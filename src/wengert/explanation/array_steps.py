"""What the explanation of a function of arrays consists of, apart from how it is printed.

An `ArrayDerivation` has a definition for each line, and a step for each tangent and each adjoint; what a loop or a
branch does inside is explained once, in a `Body`.  All of them are formulas of matrices::

    u_1 = X W      du_1 = dX W + X dW      ∂y/∂W = X^T ∂y/∂u_1

>>> import numpy as np, wengert as wg
>>> derivation = wg.explain(lambda X, W: np.sum(X @ W))(np.ones((2, 30)), np.ones((30, 4))).derivation
>>> derivation.adjoints[-1].formula
Added(terms=(Beside(a=Ratio(of=Name(name='y'), by=Name(name='u_1')), b=Transposed(of=Name(name='W'))),))
"""

from __future__ import annotations

from dataclasses import dataclass

from wengert.explanation.matrices import Matrix
from wengert.explanation.steps import Definition
from wengert.planning import Plan


@dataclass(frozen=True)
class ArrayStep:
    """The tangent or the adjoint of one variable, as a formula of matrices; `shape` is a formula, too.

    `closed` is the formula of an adjoint without the adjoints before it, where that says more and is short.
    """

    derivative: Matrix
    formula: Matrix
    shape: Matrix
    closed: Matrix | None = None


@dataclass(frozen=True)
class ArrayEdge:
    """An edge of the graph of arrays: its ends, a formula of its local Jacobian, and its structure in words.

    There is no formula where the words say it all, and no words where the formula does.
    """

    of: Matrix
    by: Matrix
    formula: Matrix | None
    structure: str


Equality = tuple[Matrix, Matrix]
"""What stands left and right of an equality sign in a sentence."""
Decision = tuple[Matrix, str, bool | int]
"""A condition that the function took on the way, with the kind of value (``"b"`` for a truth value) and what it was."""


@dataclass(frozen=True)
class Body:
    """A Program that a line holds: a step, a test or a branch.

    Attributes
    ----------
    title
        What it is called among the others of the line.
    decisions
        What the Program decided on the way.
    definitions, tangents, adjoints
        Its lines, and the two passes over them.
    equalities
        What its arguments are outside.
    starts
        The adjoints with which reverse accumulation starts inside.
    bodies
        What the lines inside hold.
    """

    title: str
    decisions: tuple[Decision, ...]
    definitions: tuple[Definition, ...]
    tangents: tuple[ArrayStep, ...]
    adjoints: tuple[ArrayStep, ...]
    equalities: tuple[Equality, ...] = ()
    starts: tuple[Equality, ...] = ()
    bodies: tuple[Bodies, ...] = ()


@dataclass(frozen=True)
class StepWithValues:
    """One step of a loop with its numbers; `coming` and `leaving` are the adjoints that it receives and passes on."""

    number: int
    arguments: tuple[Equality, ...]
    definitions: tuple[Definition, ...]
    partials: tuple[tuple[Matrix, Matrix, Matrix], ...]
    coming: tuple[Equality, ...]
    leaving: tuple[Equality, ...]


@dataclass(frozen=True)
class LoopOfSteps:
    """A loop: where it starts, what a step reads, collects and hands on, its tests and its step, once.

    `tangents` are the equalities for forward accumulation: where the tangents start, what step s reads.  `adjoints` are
    those for reverse accumulation: where the adjoints start, how they go on, what step s reads.
    """

    results: Matrix
    function: str
    heading: str
    note: str
    starts: tuple[Equality, ...]
    reads: tuple[Equality, ...]
    collected: tuple[Matrix, ...]
    carried: tuple[Equality, ...]
    ends: tuple[Equality, ...]
    tests: tuple[Body, ...]
    bodies: tuple[Body, ...]
    tangents: tuple[tuple[Equality, ...], tuple[Equality, ...]]
    adjoints: tuple[tuple[Equality, ...], tuple[Equality, ...], tuple[Equality, ...]]
    with_values: StepWithValues | None = None


@dataclass(frozen=True)
class BranchesOfLine:
    """A choice between Programs, or a Program that is run again in the reverse sweep; `chosen_by` decides."""

    results: Matrix
    function: str
    heading: str
    note: str
    chosen_by: Matrix
    bodies: tuple[Body, ...]


@dataclass(frozen=True)
class SweepOfLine:
    """The Programs of a line that is itself a reverse sweep."""

    results: Matrix
    bodies: tuple[Body, ...]


@dataclass(frozen=True)
class SameAsLine:
    """A line that holds what another one holds; `operands` has the operands that differ, this line's first."""

    results: Matrix
    other: Matrix
    operands: tuple[Equality, ...]


Bodies = LoopOfSteps | BranchesOfLine | SweepOfLine | SameAsLine


@dataclass(frozen=True)
class ArrayDerivation:
    """A function explained by its array lines.

    Attributes
    ----------
    name, mode, plan
        The function, the traversals that are explained, and what the orders cost.
    independents, dependents, lines
        How many variables and lines there are.
    why
        Why it is explained by its array lines, after a comma or a colon.
    result
        What its one number is called, or the array of its results.
    with_one_number
        True if the function has one number as its result: adjoints are then derivatives of it.
    decisions, definitions, tangents, adjoints, bodies
        As of a `Body`.
    arguments
        The first arguments, by which the tangents start; there may be more.
    conventions
        What is taken for derivatives where there is none.
    edges
        The edges of the graph, line by line.
    gradient
        The derivatives of the one number by each argument, in numbers.
    means
        What signs in the formulas mean.
    """

    name: str
    mode: str
    plan: Plan
    independents: int
    dependents: int
    lines: int
    why: str
    result: str
    with_one_number: bool
    decisions: tuple[Decision, ...]
    definitions: tuple[Definition, ...]
    tangents: tuple[ArrayStep, ...]
    adjoints: tuple[ArrayStep, ...]
    bodies: tuple[Bodies, ...]
    arguments: tuple[Matrix, ...]
    more_arguments: bool
    conventions: tuple[str, ...]
    edges: tuple[ArrayEdge, ...] = ()
    gradient: tuple[Equality, ...] = ()
    means: tuple[str, ...] = ()
