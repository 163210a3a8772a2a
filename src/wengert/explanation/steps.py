"""What an explanation consists of, apart from how it is printed.

A `Derivation` is a `Decomposition` (the Wengert list as definitions) and passes; a `Pass` is one traversal of the list
for one seed, a sequence of `Step`; a step is one derivative with its chain rule, its formula in the intermediate
variables, its formula in the independent ones, and its value::

    ∂u_5/∂x_1 = ∂u_5/∂u_0 ∂u_0/∂x_1 + ∂u_5/∂u_3 ∂u_3/∂x_1 = -u_0 (1/u_2) = -x_3/(1 - x_1)  = -6
    derivative  terms                                        in_u            in_x             value

Text, LaTeX and Markdown are three tables of words over these classes, and over those of functions of arrays (see
`array_steps`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from wengert.errors import Location
from wengert.planning import Plan

Expr = Any
"""A SymPy expression: SymPy is imported when a formula is first asked for."""


class Product(NamedTuple):
    """A product whose factors are kept as they stand, in the order in which the chain rule brings them."""

    coefficient: Expr
    factors: tuple[Expr, ...]


Formula = tuple[Product, ...]
"""A sum of products; the empty one is zero."""


class Derivative(NamedTuple):
    """The name of a derivative, not its value: ``∂u_5/∂x_1``, or ``du_1/dx`` where it is *total*."""

    of: Expr
    by: Expr
    total: bool = False


class Term(NamedTuple):
    """A product of two derivatives: one summand of the chain rule."""

    left: Derivative
    right: Derivative


class Edge(NamedTuple):
    """An edge of the graph: the name of its local partial, the partial as a formula, and its value."""

    derivative: Derivative
    formula: Expr
    value: float


@dataclass(frozen=True)
class Definition:
    """One line of the decomposition, ``u_4 = u_{-2} u_1 = y_1``.

    `operator` and `operands` keep the order of the user's code in a sum, difference or product, which SymPy does not.
    Of a line of arrays, `variable`, `formula` and `results` are formulas of matrices (see `matrices`), as `shape` is,
    and there is no value.  `name` is what the user's code calls the value, if it calls nothing else so.
    """

    variable: Expr
    formula: Expr
    results: tuple[Expr, ...] = ()
    value: bool | float | None = 0.0
    location: Location | None = None
    operator: str = ""
    operands: tuple[Expr, ...] = ()
    shape: Expr = None
    name: str = ""


@dataclass(frozen=True)
class Decomposition:
    """The function as a list of definitions; `constants` are results that depend on nothing."""

    definitions: tuple[Definition, ...]
    constants: tuple[tuple[Expr, Expr], ...] = ()


@dataclass(frozen=True)
class Step:
    """One line of a pass.

    Attributes
    ----------
    derivative
        What the line computes.
    seed
        What it is set to before the chain rule; None for a variable that is no seed.
    terms
        The chain rule, zero terms included.
    in_u, in_x
        The value as a formula in the intermediate and in the independent variables; None where that would be too long
        to read, or cannot be written.
    value
        The number at the point.
    repeated
        True if ``in_u = in_x`` has been said in this pass already, up to sign.
    """

    derivative: Derivative
    seed: int | None
    terms: tuple[Term, ...]
    in_u: Formula | None
    in_x: Formula | None
    value: float
    repeated: bool = False


@dataclass(frozen=True)
class Entry:
    """One entry of the Jacobian: its name, its formula in the independent variables (None if too long), its value."""

    derivative: Derivative
    formula: Formula | None
    value: float


@dataclass(frozen=True)
class Note:
    """A variable whose local partials hold on one side of a choice, or by convention where there is no derivative.

    `condition` is what holds on the side chosen at the point, if it is known; `convention` is empty for a choice.
    """

    variable: Expr
    primitive: str
    condition: Expr | None = None
    convention: str = ""


@dataclass(frozen=True)
class Pass:
    """One traversal of the list: forward from one independent variable, or reverse from one dependent variable."""

    mode: str
    number: int
    seed: Expr
    steps: tuple[Step, ...]
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Derivation:
    """A whole explanation, line by line.

    `edges` are those of the graph, line by line, zero partials included: the chain rule multiplies along them.
    `values` has the number that each symbol stands for at the point, `functions` how to compute those without a
    formula: with both any formula can be evaluated.  `conditions` are the decisions on values that the function took on
    the way, each with the kind of value (``"b"`` for a truth value) and what it was.  `names` says how a symbol that is
    no plain variable (the partial of an opaque elemental, a derivative that is referred to by name) is printed.
    `called` has formulas in the independent variables that the user's code has a name for: long formulas are written
    with the name.
    """

    name: str
    decomposition: Decomposition
    forward: tuple[Pass, ...]
    reverse: tuple[Pass, ...]
    jacobian: tuple[tuple[Entry, ...], ...]
    plan: Plan
    conditions: tuple[tuple[Expr, str, bool | int], ...] = ()
    notes: tuple[Note, ...] = ()
    chain: bool = False
    independents: tuple[Expr, ...] = ()
    dependents: tuple[Expr, ...] = ()
    values: Mapping[Expr, float] = field(default_factory=dict)
    functions: Mapping[str, Any] = field(default_factory=dict)
    names: Mapping[Expr, Derivative] = field(default_factory=dict)
    edges: tuple[Edge, ...] = ()
    called: Mapping[Expr, Expr] = field(default_factory=dict)
