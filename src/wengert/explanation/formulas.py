"""A Program's lines and local partials as SymPy expressions, and products of them that stay in order.

Nothing here knows a derivative: a local partial is the primitive's own rule, run on traced scalars (a small Program of
its own) and converted like any other Program.  Where a rule chooses by value (``maximum``, the edge of ``power``), the
formula is that of the choice made at the point.

>>> import numpy as np, wengert as wg
>>> program = wg.trace(lambda x: np.log(1 - x))(0.5)
>>> algebra = Algebra(program, (0.5,))
>>> [algebra.definitions[v] for v in (program.lines[0].outputs[0], program.lines[1].outputs[0])]
[1 - u_0, log(u_1)]
>>> algebra.partial(program.lines[1], program.lines[1].inputs[0])
1/u_1
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wengert.explanation.steps import Derivative, Expr, Formula, Product
from wengert.jacobians import LocalJacobian
from wengert.primitives.numpy import elementwise as e
from wengert.primitives.numpy import structural as s
from wengert.program import (
    Atom,
    Constant,
    Line,
    Primitive,
    Program,
    Var,
    evaluate_all,
    evaluate_line,
    interpret,
    value_of,
)
from wengert.tracing import run

LONGEST = 150
"""A formula with more nodes than this is not built: nobody would read it."""

MOST_SIMPLIFIED = 15
"""SymPy simplifies an expression of so many operations in a blink; of 25 it can take seconds."""


@functools.cache
def known_formulas() -> dict[Primitive, Any]:
    """Formulas of primitives whose row names no SymPy counterpart: comparisons, choices, and functions with steps."""
    import sympy

    def piecewise(c: Expr, a: Expr, b: Expr) -> Expr:
        return sympy.Piecewise((a, c), (b, True))

    return {
        e.greater: sympy.Gt,
        e.greater_equal: sympy.Ge,
        e.less: sympy.Lt,
        e.less_equal: sympy.Le,
        e.equal: sympy.Eq,
        e.not_equal: sympy.Ne,
        e.logical_and: sympy.And,
        e.logical_or: sympy.Or,
        e.logical_not: sympy.Not,
        e.bitwise_and: sympy.And,
        e.bitwise_or: sympy.Or,
        e.invert: sympy.Not,
        e.floor_divide: lambda a, b: sympy.floor(a / b),
        e.remainder: lambda a, b: a - b * sympy.floor(a / b),
        s.where: piecewise,
        s.astype: lambda x: x,
    }


class Algebra:
    """The symbols, definitions and local partials of a scalar Program at a point.

    Attributes
    ----------
    symbols
        The symbol of each variable: ``u_k``.
    definitions
        For each variable of a line, its formula in the variables of earlier lines.
    values
        The number that each symbol stands for.
    arrays
        The constant arrays that formulas refer to, by name.
    functions
        How to compute the functions that have no formula, by name.
    referred
        The symbols that stand for derivatives too long to be written out each time.
    names
        How the symbols that stand for partials of such functions are written.
    chosen
        The lines whose partials are those of a choice by value.
    """

    def __init__(
        self, program: Program, args: Sequence[Any], constants: Mapping[str, Any] | None = None, letter: str = "u"
    ) -> None:
        self.program = program
        self.constants = dict(constants or {})
        self.arrays: dict[str, Any] = {}
        self.environment = evaluate_all(program, *args)
        self.functions: dict[str, Any] = {}
        self.names: dict[Expr, Derivative] = {}
        self.chosen: list[Line] = []
        self.referred: set[Expr] = set()
        if letter == "u" and any(argument.name == "u" for argument in program.arguments):
            letter = "v"
        self.letter = letter
        self.symbols: dict[Var, Expr] = {
            var: symbol(letter + str(var).removeprefix("u"), _is_bool(var)) for var in self.environment
        }
        self.values: dict[Expr, Any] = {sym: self.environment[var] for var, sym in self.symbols.items()}
        self.definitions: dict[Var, Expr] = {
            line.outputs[0]: self._apply(line, [self._atom(a, self.symbols) for a in line.inputs])
            for line in program.lines
            if line.held is None
        }
        self._partials: dict[tuple[Line, Var], Expr] = {}

    def _atom(self, atom: Atom, symbols: Mapping[Var, Expr]) -> Expr:
        if isinstance(atom, Var):
            return symbols[atom]
        return number(atom.value) if np.size(atom.value) == 1 else self._array(atom.value)

    def _array(self, value: Any) -> Expr:
        """Name a constant array: as the user's code calls it where that is known, else c_1, c_2...

        Small arrays are copied by tracing, so an equal array is taken for the same.
        """
        known = [*self.arrays.items(), *self.constants.items()]
        unnamed = sum(name.startswith("c_") for name in self.arrays)
        same = [name for name, array in known if array is value]
        same += [name for name, array in known if array.dtype == value.dtype and np.array_equal(array, value)]
        name = same[0] if same else f"c_{unnamed + 1}"
        self.arrays[name] = value
        return symbol(name)

    def _apply(self, line: Line, operands: Sequence[Expr]) -> Expr:
        import sympy

        if not line.primitive.elementwise and line.primitive is not s.astype:
            return sympy.Function(line.primitive.name)(*operands)
        formula = line.primitive.formula or known_formulas().get(line.primitive)
        if isinstance(formula, str):
            formula = getattr(sympy, formula)
        if formula is None:
            self.functions[line.primitive.name] = line.primitive
            return sympy.Function(line.primitive.name)(*operands)
        return formula(*operands)

    def is_opaque(self, primitive: Primitive) -> bool:
        """Tell whether a primitive is known by its name alone: one of the user's own, without a formula."""
        return primitive.formula is None and primitive not in OWN

    def partial(self, line: Line, var: Var) -> Expr:
        """Return the local partial of a line with respect to a variable (its sum over repeated operands)."""
        key = (line, var)
        if key not in self._partials:
            import sympy

            parts = [self._partial(line, k) for k, atom in enumerate(line.inputs) if atom is var]
            self._partials[key] = sympy.Add(*parts)
        return self._partials[key]

    def _partial(self, line: Line, position: int) -> Expr:
        import sympy

        rule = line.primitive.partial(position)
        if rule is None:
            return sympy.Integer(0)
        operands = [value_of(a, self.environment) for a in line.inputs]
        kept = [self.environment[line.outputs[0]], *operands]
        traced = [
            k for k, atom in enumerate([line.outputs[0], *line.inputs]) if isinstance(atom, Var) and not _is_bool(atom)
        ]

        def rule_at(*values: Any) -> Any:
            c = rule(*values, **line.params)
            return c.push(np.float64(1.0)) if isinstance(c, LocalJacobian) else c

        program = run(rule_at, kept, {}, traced, keep_all=True).program()
        if self.is_opaque(line.primitive) and isinstance(program.outputs[0], Var):
            return self._opaque(line, position)
        given = [self.symbols[line.outputs[0]], *[self._atom(a, self.symbols) for a in line.inputs]]
        return self._convert(program, [given[k] for k in traced], [kept[k] for k in traced], line)

    def _convert(self, program: Program, given: Sequence[Expr], values: Sequence[Any], line: Line) -> Expr:
        """Convert the Program of a rule; where it chooses by a comparison, take the side chosen at the point."""
        if line.primitive is s.where:
            self._note(line)

        def apply(inner: Line, operands: list[tuple[Any, Expr | None]]) -> tuple[Any, Expr]:
            numbers = [number for number, _ in operands]
            if inner.primitive is s.where and np.size(numbers[0]) == 1:
                if line.primitive not in _EDGES:
                    self._note(line)
                formula = self._formula(operands[1] if numbers[0] else operands[2])
            else:
                formula = self._apply(inner, [self._formula(operand) for operand in operands])
            return evaluate_line(inner, numbers), formula

        entered = list(zip(values, given, strict=True))
        environment = interpret(program, entered, apply, constant=lambda value: (value, None))
        (output,) = program.outputs
        return self._formula(environment[output] if isinstance(output, Var) else (output.value, None))

    def _formula(self, known: tuple[Any, Expr | None]) -> Expr:
        """Return the formula of a value; a constant is written where it is read."""
        value, formula = known
        return self._atom(Constant(value), {}) if formula is None else formula

    def _note(self, line: Line) -> None:
        if line not in self.chosen:
            self.chosen.append(line)

    def _opaque(self, line: Line, position: int) -> Expr:
        """Name the partial of a function without a formula: ``dh(u_0)/du_0``."""
        operand = line.inputs[position]
        others = [a for a in line.inputs if isinstance(a, Var)]
        name = Derivative(
            self.definitions[line.outputs[0]], self._atom(operand, self.symbols), total=len(set(others)) == 1
        )
        rule = line.primitive.partial(position)
        assert rule is not None
        kept = [self.environment[line.outputs[0]], *[value_of(a, self.environment) for a in line.inputs]]
        value = rule(*kept, **line.params)
        return self.name(name, value.push(np.float64(1.0)) if isinstance(value, LocalJacobian) else value)

    def name(self, derivative: Derivative, value: Any) -> Expr:
        """Return the symbol that stands for a derivative in formulas that refer to it by name."""
        sym = symbol(f"d({derivative.of})/d({derivative.by})")
        self.names[sym] = derivative
        self.values[sym] = value
        return sym

    def refer(self, derivative: Derivative, value: Any) -> Expr:
        """Return the symbol of a derivative that is called by its name because its formula is too long."""
        sym = self.name(derivative, value)
        self.referred.add(sym)
        return sym

    def evaluate(self, expression: Expr) -> float:
        """Compute an expression at the point."""
        return evaluate(expression, self.values, self.functions)


OWN = frozenset(p for p in (*vars(e).values(), *vars(s).values()) if isinstance(p, Primitive))
"""The primitives of the library itself."""

_EDGES = (e.power, e.float_power, e.hypot, e.logaddexp, e.logaddexp2)
"""Primitives whose rules choose by value only at the edge of their domain: no reader needs to be told."""


def in_order(line: Line) -> str:
    """Return ``+``, ``-`` or ``*`` for a line that can be written in the order of the user's code; SymPy drops it."""
    operator = {e.add: "+", e.subtract: "-", e.multiply: "*"}.get(line.primitive, "")
    if not operator or line.inputs[0] is line.inputs[1]:
        return ""
    numbers = [isinstance(a, Constant) and np.size(a.value) == 1 for a in line.inputs]
    if not any(numbers):
        return operator
    second = line.inputs[1]
    return operator if operator != "*" and (numbers[0] or float(np.reshape(second.value, ())) > 0) else ""  # type: ignore[union-attr]


def symbol(name: str, is_bool: bool = False) -> Expr:
    """Make a symbol: of a real number, or of a truth value."""
    import sympy

    return sympy.Symbol(name) if is_bool else sympy.Symbol(name, real=True)


def _is_bool(var: Var) -> bool:
    return var.dtype.kind == "b"


def number(value: Any) -> Expr:
    """Convert a constant: whole numbers stay whole, 1/3 is recognized (a rule computed it), any other is a Float."""
    import sympy

    if isinstance(value, (bool, np.bool_)):
        return sympy.true if value else sympy.false
    as_float = float(np.reshape(value, ()))
    if math.isfinite(as_float) and as_float.is_integer() and abs(as_float) < 1e15:
        return sympy.Integer(int(as_float))
    if len(repr(as_float)) > 12 and 1e-6 < abs(as_float) < 1 and 1 / as_float == round(1 / as_float):
        return sympy.Rational(1, round(1 / as_float))
    return sympy.Float(as_float)


def evaluate(expression: Expr, values: Mapping[Expr, Any], functions: Mapping[str, Any]) -> float:
    """Compute an expression from the numbers that its symbols stand for."""
    import sympy

    symbols = sorted(expression.free_symbols, key=str)
    compute = sympy.lambdify(symbols, expression, modules=[dict(functions), "numpy"])
    return float(compute(*[values[sym] for sym in symbols]))


# ---- Sums of products ----


def as_expression(formula: Formula) -> Expr:
    """Multiply and add a formula up, as SymPy does."""
    import sympy

    return whole(sympy.Add(*[sympy.Mul(coefficient, *factors) for coefficient, factors in formula]))


def whole(expression: Expr) -> Expr:
    """Turn floats that are whole numbers back into integers: 0.5 * 2 -> 1."""
    import sympy

    found = {f: sympy.Integer(int(f)) for f in expression.atoms(sympy.Float) if float(f).is_integer()}
    return expression.xreplace(found) if found else expression


def product(*expressions: Expr) -> Formula:
    """Multiply expressions: numbers are pulled to the front, the rest stay in order; equal ones become a power."""
    import sympy

    coefficient: Expr = sympy.Integer(1)
    factors: list[Expr] = []
    for given in expressions:
        expression = whole(given)
        size, rest = expression.as_coeff_Mul() if not expression.is_Boolean else (sympy.Integer(1), expression)
        coefficient = coefficient * size
        if rest == 1:
            continue
        if rest in factors:
            factors[factors.index(rest)] = rest**2
        else:
            factors.append(rest)
    coefficient = whole(coefficient)
    return (Product(coefficient, tuple(factors)),) if coefficient != 0 else ()


def multiply(left: Formula, right: Formula) -> Formula:
    """Multiply two formulas; a sum among them becomes one factor."""
    if not left or not right:
        return ()
    for one, other in ((left, right), (right, left)):
        if len(one) == 1 and not one[0].factors and one[0].coefficient in (1, -1):
            return tuple(Product(one[0].coefficient * c, factors) for c, factors in other)
    return product(*_parts(left), *_parts(right))


def _parts(formula: Formula) -> Sequence[Expr]:
    if len(formula) == 1:
        return (formula[0].coefficient, *formula[0].factors)
    return (as_expression(formula),)


def add(parts: Sequence[Formula]) -> Formula:
    """Add formulas up; terms that cancel or collect are collected."""
    import sympy

    terms = [term for part in parts for term in part]
    if len(terms) < 2:
        return tuple(terms)
    total = as_expression(tuple(terms))
    if len(sympy.Add.make_args(total)) < sum(len(sympy.Add.make_args(sympy.Mul(c, *f))) for c, f in terms):
        return product(total)
    return tuple(terms)


def size_of(expression: Expr) -> int:
    """Count the nodes of an expression, as far as `LONGEST`."""
    import sympy

    count = 0
    for _ in sympy.preorder_traversal(expression):
        count += 1
        if count > LONGEST:
            break
    return count


@functools.lru_cache(maxsize=1024)
def simplified(expression: Expr) -> Expr:
    """Simplify an expression where that makes it shorter, and keep its signs: ``-x/(1 - z)``, not ``x/(z - 1)``."""
    import sympy

    before = expression.count_ops()
    if before < 3 or size_of(expression) > 70 or expression.has(sympy.Piecewise, sympy.Max, sympy.Min):
        return expression
    candidates = [
        expression,
        sympy.factor_terms(expression),
        sympy.cancel(expression) if _is_rational(expression) else expression,
    ]
    if before <= MOST_SIMPLIFIED and expression.has(sympy.sin, sympy.cos, sympy.sinh, sympy.cosh):
        candidates.append(sympy.trigsimp(expression))
    if _is_rational(expression):
        candidates += [sympy.factor(expression), sympy.expand(expression)]
    elif before <= MOST_SIMPLIFIED:
        candidates.append(sympy.simplify(expression))
    kept = [_keep_signs(c, expression) for c in candidates]
    best = min(kept, key=_length)
    return best if _length(best) < _length(expression) else expression


def _is_rational(expression: Expr) -> bool:
    return bool(expression.is_rational_function(*expression.free_symbols)) and not expression.has(_float_class())


def _float_class() -> Any:
    import sympy

    return sympy.Float


def _length(expression: Expr) -> int:
    from wengert.explanation.notation import TEXT

    return len(TEXT.expression(expression))


def _keep_signs(candidate: Expr, original: Expr) -> Expr:
    """Turn a difference back where simplifying has turned it round."""
    import sympy

    turned = {}
    for difference in original.atoms(sympy.Add):
        turned[sympy.expand(-difference)] = sympy.Mul(-1, difference, evaluate=False)
    return candidate.xreplace({was: now for was, now in turned.items() if candidate.has(was)})
