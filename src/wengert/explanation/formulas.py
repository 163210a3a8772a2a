"""A Program's lines and local partials as SymPy expressions, and products of them that stay in order.

Nothing here knows a derivative: a local partial is the primitive's own rule, run on traced scalars (a small Program of
its own) and converted like any other Program.  Where a rule chooses by value (``maximum``, the edge of ``power``), the
formula is that of the choice made at the point.

>>> import numpy as np, wengert as wg
>>> program = wg.trace(lambda x: np.log(1 - x))(0.5)
>>> algebra = Algebra(program, (0.5,))
>>> [algebra.definitions[v] for v in (program.lines[0].outputs[0], program.lines[1].outputs[0])]
[1 - u_0, log(u_1)]
>>> algebra.partial(program.lines[1], program.lines[1].inputs[0]).formula
1/u_1
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from wengert.explanation.notation import SIGMOID, TEXT
from wengert.explanation.steps import Derivative, Expr, Formula, Note, Product
from wengert.jacobians import LocalJacobian, RealLinear
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
from wengert.tracing import record

LONGEST = 150
"""A formula with more nodes than this is not built: nobody would read it."""

SHORT = 30
"""In a formula of more characters, what the user's code has a name for is called by that."""

MOST_WITH_SIGMOIDS = 90
"""Logistic functions are looked for in expressions of up to so many nodes."""

MOST_SIMPLIFIED = 15
"""SymPy simplifies an expression of so many operations in a blink; of 25 it can take seconds."""


@functools.cache
def known_formulas() -> dict[Primitive, Any]:
    """Formulas of primitives whose row names no SymPy counterpart: comparisons, choices, and functions with steps."""
    import sympy

    def piecewise(c: Expr, a: Expr, b: Expr) -> Expr:
        return sympy.ITE(c, a, b) if is_truth(a) and is_truth(b) else sympy.Piecewise((a, c), (b, True))

    def extreme(name: str) -> Any:
        # SymPy's own Max and Min try to prove which number is the largest, for seconds
        return sympy.Function(name, real=True)

    return {
        **dict.fromkeys((e.maximum, e.fmax), extreme("max")),
        **dict.fromkeys((e.minimum, e.fmin), extreme("min")),
        e.greater: sympy.Gt,
        e.greater_equal: sympy.Ge,
        e.less: sympy.Lt,
        e.less_equal: sympy.Le,
        e.equal: sympy.Eq,
        e.not_equal: sympy.Ne,
        **dict.fromkeys((e.logical_and, e.bitwise_and), sympy.And),
        **dict.fromkeys((e.logical_or, e.bitwise_or), sympy.Or),
        **dict.fromkeys((e.logical_xor, e.bitwise_xor), sympy.Xor),
        **dict.fromkeys((e.logical_not, e.invert), sympy.Not),
        e.floor_divide: lambda a, b: sympy.floor(a / b),
        e.remainder: lambda a, b: a - b * sympy.floor(a / b),
        s.where: piecewise,
    }


@functools.cache
def sigmoid() -> Any:
    """Return the logistic function as SymPy's: ``σ(x) = 1/(1 + exp(-x))``."""
    import sympy

    return sympy.Function(SIGMOID, real=True)


_BITWISE = frozenset({e.bitwise_and, e.bitwise_or, e.bitwise_xor, e.invert})
_LOGICAL = frozenset({e.logical_and, e.logical_or, e.logical_xor, e.logical_not, *_BITWISE})
"""Primitives that take truth values, the bitwise ones if their operands are."""


class LocalPartial(NamedTuple):
    """The local partial of a line with respect to a variable, summed over the places where that stands.

    `chosen` tells whether the rule chose by comparing values, so that the formula holds on one side.  `of_conjugate` is
    the factor of the conjugate tangent where a function of complex numbers is not holomorphic.
    """

    formula: Expr
    value: Any
    chosen: bool = False
    of_conjugate: Expr | None = None

    def __add__(self, other: LocalPartial) -> LocalPartial:  # type: ignore[override]
        conjugates = [b for b in (self.of_conjugate, other.of_conjugate) if b is not None]
        chosen, of_conjugate = self.chosen or other.chosen, sum(conjugates) if conjugates else None
        return LocalPartial(self.formula + other.formula, self.value + other.value, chosen, of_conjugate)


def _slopes(line: Line, k: int, point: Mapping[Var, Any]) -> tuple[Any, ...]:
    """Run the rule of a line for its k-th operand: its factor, of a complex operand that of the conjugate as well."""
    rule = line.primitive.partial(k)
    operands = [value_of(a, point) for a in line.inputs]
    slope = None if rule is None else rule(point[line.outputs[0]], *operands, **line.params)
    of_conjugate = (0,) if line.inputs[k].dtype.kind == "c" else ()  # type: ignore[union-attr]
    if slope is None:
        return 0, *of_conjugate
    if isinstance(slope, RealLinear):
        return slope.a, slope.b
    return slope.push(np.float64(1.0)) if isinstance(slope, LocalJacobian) else slope, *of_conjugate


class Algebra:
    """The symbols, definitions and local partials of a Program at a point.

    The Program is evaluated once; the rules of its elementwise lines run once, together, on one tape, and what they
    recorded is converted as any Program is.

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
    elements
        By the identity of a constant: its name, if it is an element of an array that has one.
    data
        The symbols of those elements.
    """

    def __init__(
        self,
        program: Program,
        args: Sequence[Any],
        constants: Mapping[str, Any] | None = None,
        letter: str = "u",
        elements: Mapping[int, str] | None = None,
    ) -> None:
        self.program = program
        self.elements = dict(elements or {})
        self.data: set[Expr] = set()
        self.constants = dict(constants or {})
        self.arrays: dict[str, Any] = {}
        self.environment = evaluate_all(program, *args)
        self.functions: dict[str, Any] = dict(EXTREMES)
        self.names: dict[Expr, Derivative] = {}
        self.referred: set[Expr] = set()
        self._unnamed: dict[Expr, Any] = {}
        if letter == "u" and any(argument.name == "u" for argument in program.arguments):
            letter = "v"
        self.letter = letter
        self.symbols: dict[Var, Expr] = {
            var: symbol(letter + str(var).removeprefix("u"), var.dtype.kind) for var in self.environment
        }
        self.values: dict[Expr, Any] = {sym: self.environment[var] for var, sym in self.symbols.items()}
        self.values[number(np.nan)] = np.nan
        self.definitions: dict[Var, Expr] = {
            line.outputs[0]: self._apply(line, [self.atom(a) for a in line.inputs])
            for line in program.lines
            if line.held is None
        }

    def atom(self, atom: Atom) -> Expr:
        """Return the symbol of a variable, a constant number, or the name of a constant array."""
        if isinstance(atom, Var):
            return self.symbols[atom]
        return self._number(atom.value) if np.size(atom.value) == 1 else self._array(atom.value)

    def _number(self, value: Any) -> Expr:
        """Return a constant, by its name if it is an element of an array that has one: ``A_{1,2}``."""
        name = self.elements.get(id(value))
        if name is None:
            return number(value)
        element = symbol(name)
        self.values[element] = value
        self.data.add(element)
        return element

    def _array(self, value: Any) -> Expr:
        """Name a constant array: as the user's code calls it where that is known, else c_1, c_2...

        Small arrays are copied by tracing, so an equal array is taken for the same.
        """
        named = [*self.arrays.items(), *self.constants.items()]
        unnamed = sum(name.startswith("c_") for name in self.arrays)
        same = [name for name, array in named if array is value]
        same += [name for name, array in named if array.dtype == value.dtype and np.array_equal(array, value)]
        name = same[0] if same else f"c_{unnamed + 1}"
        self.arrays[name] = value
        return symbol(name, value.dtype.kind)

    def _apply(self, line: Line, operands: Sequence[Expr]) -> Expr:
        """Return the formula of a line; truth values that are counted with become numbers, and the other way round."""
        import sympy

        primitive, kind = line.primitive, line.outputs[0].dtype.kind
        if not primitive.elementwise and primitive is not s.astype:
            return sympy.Function(primitive.name)(*operands)
        logical = primitive in _LOGICAL and (kind == "b" or primitive not in _BITWISE)
        if primitive is s.where:
            condition, *sides = operands
            operands = [truth(condition), *[truth(x) if kind == "b" else as_number(x) for x in sides]]
        elif logical or (primitive is s.astype and kind == "b"):
            operands = [truth(x) for x in operands]
        else:
            operands = [as_number(x) for x in operands]
        (source, *_) = line.inputs
        if primitive is s.astype and (kind in "fcb" or (isinstance(source, Var) and source.dtype.kind in "iub")):
            return operands[0]
        formula = known_formulas().get(primitive) or primitive.formula
        if primitive in _BITWISE and not logical:
            formula = None
        if isinstance(formula, str):
            formula = getattr(sympy, formula)
        if formula is not None:
            return as_sigmoid(formula(*operands))
        self.functions[primitive.name] = functools.partial(primitive, **line.params)
        called = sympy.Function(primitive.name)(*operands)
        return truth(called) if kind == "b" else called

    def is_opaque(self, primitive: Primitive) -> bool:
        """Return whether a primitive is known by its name alone: one of the user's own, without a formula."""
        return primitive.formula is None and primitive not in OWN

    # ---- Local partials ----

    def partial(self, line: Line, var: Var) -> LocalPartial:
        """Return the local partial of an elementwise line with respect to a variable; zero where no rule says more."""
        partial = self._partials.get((line, var), LocalPartial(number(0), 0))
        named = {sym: self._array(array) for sym, array in self._unnamed.items() if partial.formula.has(sym)}
        return partial._replace(formula=partial.formula.xreplace(named)) if named else partial

    @functools.cached_property
    def _partials(self) -> dict[tuple[Line, Var], LocalPartial]:
        places: list[tuple[Line, int, Var]] = [
            (line, k, atom)
            for line in self.program.lines
            if (line.primitive.elementwise or line.primitive is s.astype) and line.outputs[0].dtype.kind in "fc"
            for k, atom in enumerate(line.inputs)
            if isinstance(atom, Var) and atom.dtype.kind in "fc"
        ]
        with record("partials") as trace:
            point = {var: trace.argument(str(var), value) for var, value in self.environment.items()}
            for line, k, _ in places:
                for slope in _slopes(line, k, point):
                    trace.result("", slope)
        program = trace.program()
        entered = [(self.environment[var], symbol, False) for var, symbol in self.symbols.items()]
        environment = interpret(program, entered, self._convert, None, lambda value: (value, None, False))
        results = iter([environment[a] if isinstance(a, Var) else (a.value, None, False) for a in program.outputs])
        partials: dict[tuple[Line, Var], LocalPartial] = {}
        for line, k, var in places:
            value, formula, chosen = next(results)
            of_conjugate = self._formula(next(results)) if var.dtype.kind == "c" else None
            if self.is_opaque(line.primitive) and formula is not None:
                formula = self._opaque(line, k, value)
            formula = self._as_written(line, as_number(self._formula((value, formula, chosen))))
            of_conjugate = None if of_conjugate == 0 else of_conjugate
            partial = LocalPartial(formula, value, chosen or line.primitive is s.where, of_conjugate)
            partials[line, var] = partials[line, var] + partial if (line, var) in partials else partial
        return partials

    def _as_written(self, line: Line, partial: Expr) -> Expr:
        """Write a partial by the value of its line where that is shorter, and that of 1/x by x, as people do."""
        import sympy

        y, definition = self.symbols[line.outputs[0]], self.definitions.get(line.outputs[0])
        if definition is None:
            return partial
        if definition.func == sigmoid():
            (x,) = definition.args
            return partial.xreplace({sigmoid()(-x): 1 - y, definition: y})
        _, rest = definition.as_coeff_Mul()
        if isinstance(rest, sympy.Pow) and rest.exp == -1 and partial.has(y):
            return partial.xreplace({y: definition})
        return partial

    def _convert(self, line: Line, operands: list[tuple[Any, Expr | None, bool]]) -> tuple[Any, Expr, bool]:
        """Convert a line of the rules' Program; where it chooses by a comparison, take the side chosen at the point."""
        values = [value for value, _, _ in operands]
        chosen = any(chosen for _, _, chosen in operands)
        if line.primitive is s.where and np.size(values[0]) == 1:
            return evaluate_line(line, values), self._formula(operands[1 if values[0] else 2]), True
        return evaluate_line(line, values), self._apply(line, [self._formula(operand) for operand in operands]), chosen

    def _formula(self, operand: tuple[Any, Expr | None, bool]) -> Expr:
        """Return the formula of a value; an array in a rule is named when that partial is asked for."""
        value, formula, _ = operand
        if formula is not None:
            return formula
        if np.size(value) == 1:
            return self._number(value)
        unnamed = symbol(f"array {len(self._unnamed)}", value.dtype.kind)
        self._unnamed[unnamed] = value
        return unnamed

    def notes(self) -> tuple[Note, ...]:
        """Return the lines whose formulas hold on one side of a choice, and those at a kink, where conventions hold."""
        chosen = {line for (line, _), partial in self._partials.items() if partial.chosen}
        notes = []
        for line in self.program.lines:
            variable, name = self.symbols[line.outputs[0]], line.primitive.name
            if line.primitive.kink and line.primitive.elementwise and self._jumps(line):
                notes.append(Note(variable, name, convention=line.primitive.kink.partition(";")[0]))
            elif line in chosen and line.primitive not in _EDGES:
                notes.append(Note(variable, name, self._condition(line)))
        return tuple(notes)

    def _condition(self, line: Line) -> Expr | None:
        """Return what holds on the side that a line chose at the point, None if that is not known."""
        import sympy

        if line.primitive is s.where:
            (condition, *_), holds = line.inputs, value_of(line.inputs[0], self.environment)
            formula = self.definitions.get(condition, self.atom(condition)) if isinstance(condition, Var) else None
            return formula if formula is None or holds else sympy.Not(formula)
        if line.primitive in _EXTREMES:
            a, b = (as_number(self.atom(operand)) for operand in line.inputs)
            x, y = (value_of(operand, self.environment) for operand in line.inputs)
            return sympy.Gt(a, b) if x > y else sympy.Lt(a, b) if x < y else None
        return None

    def _jumps(self, line: Line) -> bool:
        """Return whether the value or a partial of a line jumps beside the point: it has no derivative there."""
        operands = [value_of(a, self.environment) for a in line.inputs]

        def around(operands: Sequence[Any]) -> list[Any]:
            y = line.primitive(*operands, **line.params)
            rules = [line.primitive.partial(k) for k in range(len(operands))]
            slopes = [0.0 if rule is None else rule(y, *operands, **line.params) for rule in rules]
            return [y, *[0.0 if slope is None or isinstance(slope, LocalJacobian) else slope for slope in slopes]]

        here = around(operands)
        for k, operand in enumerate(operands):
            if np.asarray(operand).dtype.kind == "f":
                for side in (-np.inf, np.inf):
                    there = around([*operands[:k], np.nextafter(operand, side), *operands[k + 1 :]])
                    if not all(np.allclose(a, b, rtol=1e-6, equal_nan=True) for a, b in zip(here, there, strict=True)):
                        return True
        return False

    def _opaque(self, line: Line, position: int, value: Any) -> Expr:
        """Name the partial of a function without a formula: ``dh(u_0)/du_0``."""
        others = {a for a in line.inputs if isinstance(a, Var)}
        of, by = self.definitions[line.outputs[0]], self.atom(line.inputs[position])
        return self.name(Derivative(of, by, total=len(others) == 1), value)

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


OWN = frozenset(p for p in (*vars(e).values(), *vars(s).values()) if isinstance(p, Primitive))
"""The primitives of the library itself."""


def _largest(*values: Any) -> Any:
    return functools.reduce(np.maximum, values)


def _smallest(*values: Any) -> Any:
    return functools.reduce(np.minimum, values)


def _logistic(x: Any) -> Any:
    return np.exp(-np.logaddexp(0.0, -x))


EXTREMES = {"max": _largest, "min": _smallest, SIGMOID: _logistic}
"""How to compute the functions that formulas call by these names, which SymPy has not."""
_EXTREMES = (e.maximum, e.minimum, e.fmax, e.fmin)
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
    return operator if operator != "*" and (numbers[0] or np.reshape(second.value, ()).real > 0) else ""  # type: ignore[union-attr]


def symbol(name: str, kind: str = "f") -> Expr:
    """Make a symbol: of a real number, a complex one, or a truth value, as the kind of a dtype says."""
    import sympy

    return sympy.Symbol(name, **{"b": {}, "c": {"complex": True}}.get(kind, {"real": True}))


def is_truth(expression: Expr) -> bool:
    """Return whether an expression is a truth value."""
    from sympy.logic.boolalg import Boolean

    return expression.is_complex is None if expression.is_Symbol else isinstance(expression, Boolean)


def truth(expression: Expr) -> Expr:
    """Return whether a number is not 0; a truth value as it is."""
    import sympy

    return expression if is_truth(expression) else sympy.Ne(expression, 0)


def as_number(expression: Expr) -> Expr:
    """Return a truth value as a number, ``[u > 0]``; a number as it is."""
    import sympy

    return sympy.Piecewise((1, expression), (0, True)) if is_truth(expression) else expression


@functools.cache
def _NAN() -> Expr:
    return symbol("nan")


def number(value: Any) -> Expr:
    """Convert a constant: whole numbers stay whole, 1/3 is recognized (a rule computed it), any other is a Float."""
    import sympy

    value = np.reshape(value, ())[()]
    if isinstance(value, np.bool_):
        return sympy.true if value else sympy.false
    if isinstance(value, np.complexfloating):
        return number(value.real) + number(value.imag) * sympy.I
    as_float = float(value)
    if math.isnan(as_float):
        return _NAN()  # SymPy refuses to compare its own
    if math.isfinite(as_float) and as_float.is_integer() and abs(as_float) < 1e15:
        return sympy.Integer(int(as_float))
    fraction = as_fraction(as_float)
    if fraction is not None:
        return sympy.Rational(fraction.numerator, fraction.denominator)
    turns = as_fraction(as_float / math.pi) if len(repr(as_float)) > 12 else None
    if turns is not None and turns.denominator <= 12:
        return sympy.Rational(turns.numerator, turns.denominator) * sympy.pi
    return sympy.Float(as_float)


def as_fraction(value: float) -> Fraction | None:
    """Return the fraction that a person would write for a number: 1/2, 1/3, 5/6, but no decimal, 0.1; else None.

    Other denominators than powers of two stand where the number is no short decimal: a quotient that was computed.
    """
    if not 1e-6 < abs(value) < 1e3:
        return None
    exact = Fraction(value)
    if exact.denominator <= 16 or (abs(exact.numerator) == 1 and exact.denominator <= 4096):
        return exact
    if len(repr(value)) <= 12:
        return None
    if abs(value) < 1 and 1 / value == round(1 / value):
        return Fraction(1, round(1 / value))
    near = exact.limit_denominator(99)
    return near if float(near) == value else None


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

    integers = {f: sympy.Integer(int(f)) for f in expression.atoms(sympy.Float) if float(f).is_integer()}
    return expression.xreplace(integers) if integers else expression


def product(*expressions: Expr) -> Formula:
    """Multiply expressions: numbers are pulled to the front, the rest stay in order; equal ones become a power."""
    import sympy

    coefficient: Expr = sympy.Integer(1)
    factors: list[Expr] = []
    for factor in expressions:
        expression = whole(factor)
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
    return _cancelled(product(*_parts(left), *_parts(right)))


def _cancelled(formula: Formula) -> Formula:
    """Multiply out those factors of a product in which one divides by what another multiplies by: (1/u) (u/v) = 1/v."""
    import sympy

    if not formula:
        return formula
    ((coefficient, factors),) = formula
    powers = [factor.as_powers_dict() for factor in factors]
    for i in range(len(factors)):
        for k in range(i + 1, len(factors)):
            if any(
                exponent.is_number and other.is_number and exponent * other < 0
                for base, exponent in powers[i].items()
                if (other := powers[k].get(base)) is not None
            ):
                rest = [factor for j, factor in enumerate(factors) if j not in (i, k)]
                merged = sympy.Mul(factors[i], factors[k])
                return _cancelled(product(coefficient, *rest[:i], merged, *rest[i:]))
    return formula


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


def abbreviated(formula: Formula, called: Mapping[Expr, Expr]) -> Formula:
    """Call parts of a formula by the names that the user's code has for them, where it is long."""
    if not called or len(TEXT.formula(formula)) <= SHORT:
        return formula
    shorter = tuple(Product(c, tuple(factor.xreplace(called) for factor in factors)) for c, factors in formula)
    return shorter if shorter != formula else formula


@functools.lru_cache(maxsize=1024)
def simplified(expression: Expr) -> Expr:
    """Simplify an expression where that makes it shorter, and keep its signs: ``-x/(1 - z)``, not ``x/(z - 1)``.

    What it is written in, it stays written in: exponentials do not become hyperbolic functions; logistic functions are
    named, ``x σ(z) (1 - σ(z))``.
    """
    import sympy
    from sympy.core.function import AppliedUndef
    from sympy.functions.elementary.hyperbolic import HyperbolicFunction
    from sympy.functions.elementary.trigonometric import TrigonometricFunction

    expression = with_sigmoids(expression)
    before = expression.count_ops()
    if before < 3 or size_of(expression) > 70 or expression.has(sympy.Piecewise):
        return expression
    if any(f.func.__name__ in ("max", "min") for f in expression.atoms(AppliedUndef)):
        return expression
    candidates = [expression, sympy.factor_terms(expression)]
    if _is_rational(expression):
        candidates += [sympy.cancel(expression), sympy.factor(expression), sympy.expand(expression)]
    elif before <= MOST_SIMPLIFIED and not expression.has(sigmoid()):
        # a sum in a sine or tanh stays whole: SymPy would take it apart by addition theorems, for minutes
        angles = {f.args[0] for f in expression.atoms(TrigonometricFunction, HyperbolicFunction)}
        named = {angle: sympy.Dummy(real=True) for angle in angles if not angle.is_Symbol and not angle.is_number}
        short = expression.xreplace(named)
        back = {name: angle for angle, name in named.items()}
        candidates += [c.xreplace(back) for c in (sympy.trigsimp(short), sympy.simplify(short))]
        exponentials = {f: sympy.Dummy(real=True) for f in expression.atoms(sympy.exp)}
        rational = expression.xreplace(exponentials)
        if exponentials and _is_rational(rational):
            candidates.append(sympy.cancel(rational).xreplace({name: f for f, name in exponentials.items()}))
    functions = {f.func for f in expression.atoms(sympy.Function)}
    kept = [_keep_signs(c, expression) for c in candidates if functions >= {f.func for f in c.atoms(sympy.Function)}]
    best = min(kept, key=_length)
    return best if _length(best) < _length(expression) else expression


def as_sigmoid(expression: Expr) -> Expr:
    """Name the logistic function where an expression is one, ``1/(1 + exp(-x))``."""
    import sympy

    if expression.is_Pow and expression.exp == -1 and expression.base.is_Add and len(expression.base.args) == 2:
        one, power = sorted(expression.base.args, key=lambda a: not a.is_number)
        if one == 1 and isinstance(power, sympy.exp):
            return sigmoid()(-power.args[0])
    return expression


@functools.lru_cache(maxsize=1024)
def with_sigmoids(expression: Expr) -> Expr:
    """Name the logistic functions in an expression: ``exp(-x)/(1 + exp(-x))^2`` is ``σ(x) (1 - σ(x))``."""
    import sympy

    if not expression.has(sympy.exp) or size_of(expression) > MOST_WITH_SIGMOIDS:
        return expression
    logs = {log: sympy.Dummy(real=True) for log in expression.atoms(sympy.log)}  # log(1 + exp(x)) stays what it is
    expression = expression.xreplace(logs)
    arguments = [as_sigmoid(1 / one).args[0] for one in expression.atoms(sympy.Add) if as_sigmoid(1 / one) != 1 / one]
    arguments += [f.args[0] for f in expression.atoms(sympy.Function) if f.func == sigmoid()]
    for z in sorted(arguments, key=sympy.default_sort_key):
        written = []
        for x in (z, -z):
            p, q = sympy.symbols("p q", cls=sympy.Dummy)  # σ(x) and 1 - σ(x)
            named = expression.xreplace({sigmoid()(x): p, sigmoid()(-x): q})
            named = named.xreplace({sympy.exp(-x) + 1: 1 / p, sympy.exp(x) + 1: 1 / q})
            named = named.xreplace({sympy.exp(-x): q / p, sympy.exp(x): p / q})
            name = sigmoid()(x)
            written.append(named.xreplace({q: 1 - name, p: name}))
        expression = min([expression, *written], key=lambda e: (len(e.atoms(sympy.exp)), _length(e)))
    return expression.xreplace({name: log for log, name in logs.items()})


def _is_rational(expression: Expr) -> bool:
    import sympy

    return bool(expression.is_rational_function(*expression.free_symbols)) and not expression.has(sympy.Float)


def _length(expression: Expr) -> int:
    return len(TEXT.expression(expression))


def _keep_signs(candidate: Expr, original: Expr) -> Expr:
    """Turn a difference back where simplifying has turned it round."""
    import sympy

    turned = {}
    for difference in original.atoms(sympy.Add):
        turned[sympy.expand(-difference)] = sympy.Mul(-1, difference, evaluate=False)
    return candidate.xreplace({was: now for was, now in turned.items() if candidate.has(was)})
