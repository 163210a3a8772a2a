r"""Formulas of matrices as data: what a line, a tangent or an adjoint of arrays is, before a notation writes it.

>>> from wengert.explanation.notation import LATEX, TEXT
>>> formula = Beside(Transposed(Name("X")), Ratio(Name("y"), Name("u_1")))
>>> print(formula.write(TEXT), formula.write(LATEX), sep="\n")
X^T ∂y/∂u_1
X^\top \frac{\partial y}{\partial u_1}
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from wengert.explanation.notation import Notation, written_sum
from wengert.explanation.steps import Expr
from wengert.primitives.numpy.structural import write_index


class Matrix:
    """A formula whose value is an array or a number."""

    __slots__ = ()

    def write(self, notation: Notation) -> str:
        """Write it in a notation."""
        raise NotImplementedError


# ---- Names and numbers ----


@dataclass(frozen=True)
class Name(Matrix):
    """A variable or a constant by its name."""

    name: str

    def write(self, notation: Notation) -> str:
        return notation.name(self.name)


@dataclass(frozen=True)
class Names(Matrix):
    """The results of a line that has several."""

    parts: tuple[Matrix, ...]

    def write(self, notation: Notation) -> str:
        return ", ".join(part.write(notation) for part in self.parts)


@dataclass(frozen=True)
class Words(Matrix):
    """Words in the place of a formula."""

    words: str

    def write(self, notation: Notation) -> str:
        return notation.words(self.words)


@dataclass(frozen=True)
class Digits(Matrix):
    """A whole number, or what else every notation writes as it stands."""

    digits: str

    def write(self, notation: Notation) -> str:
        return self.digits


ZERO, ONE = Digits("0"), Digits("1")


@dataclass(frozen=True, eq=False)
class Number(Matrix):
    """The value of a number or of a short vector."""

    value: Any

    def write(self, notation: Notation) -> str:
        if np.ndim(self.value):
            return f"[{', '.join(notation.number(x)[0] for x in self.value)}]"
        return notation.number(self.value)[0]


@dataclass(frozen=True)
class Shape(Matrix):
    """The shape of an array; nothing for a number."""

    shape: tuple[int, ...]

    def write(self, notation: Notation) -> str:
        return f"({notation.times.join(map(str, self.shape))})" if self.shape else ""


@dataclass(frozen=True)
class Shapes(Matrix):
    """The shapes of a line's several results, each with its name."""

    of: tuple[tuple[Matrix, Shape], ...]

    def write(self, notation: Notation) -> str:
        return ", ".join(f"{name.write(notation)} {shape.write(notation)}" for name, shape in self.of)


@dataclass(frozen=True)
class Dots(Matrix):
    """What stands for lines that are left out."""

    def write(self, notation: Notation) -> str:
        return notation.dots


@dataclass(frozen=True)
class Expression(Matrix):
    """An elementwise formula, as a SymPy expression of names; `scalars` are those of numbers, others are of arrays."""

    expression: Expr
    scalars: frozenset[str]

    def write(self, notation: Notation) -> str:
        return notation.among(self.scalars).expression(self.expression)


# ---- Derivatives ----


@dataclass(frozen=True)
class Tangent(Matrix):
    """The tangent of a variable."""

    of: Matrix

    def write(self, notation: Notation) -> str:
        return f"d{self.of.write(notation)}"


@dataclass(frozen=True)
class Adjoint(Matrix):
    """The adjoint of a variable, where the function has several results."""

    name: str

    def write(self, notation: Notation) -> str:
        return notation.bar(self.name)


@dataclass(frozen=True)
class Ratio(Matrix):
    """The derivative of one variable with respect to another."""

    of: Matrix
    by: Matrix

    def write(self, notation: Notation) -> str:
        return notation.ratio(self.of.write(notation), self.by.write(notation))


# ---- Operations ----


@dataclass(frozen=True)
class Operation(Matrix):
    """A sum, difference or elementwise product, in the order of the user's code."""

    operator: str
    a: Matrix
    b: Matrix
    scalars: frozenset[str]

    def write(self, notation: Notation) -> str:
        return notation.among(self.scalars).operation(self.operator, self.a.write(notation), self.b.write(notation))


@dataclass(frozen=True)
class Beside(Matrix):
    """A product of two matrices, or of a number and an array."""

    a: Matrix
    b: Matrix

    def write(self, notation: Notation) -> str:
        return f"{self.a.write(notation)} {self.b.write(notation)}"


@dataclass(frozen=True)
class Where(Matrix):
    """The elements of an array at which two others are equal, and zeros: ``a ⊙ [b = c]``."""

    a: Matrix
    b: Matrix
    c: Matrix

    def write(self, notation: Notation) -> str:
        condition = f"[{self.b.write(notation)} = {self.c.write(notation)}]"
        return f"{self.a.write(notation)} {notation.hadamard} {condition}"


@dataclass(frozen=True)
class Transposed(Matrix):
    """A transposed matrix."""

    of: Matrix

    def write(self, notation: Notation) -> str:
        return notation.transposed(self.of.write(notation))


@dataclass(frozen=True)
class Added(Matrix):
    """A sum, 0 without terms."""

    terms: tuple[Matrix, ...]

    def write(self, notation: Notation) -> str:
        return written_sum([term.write(notation) for term in self.terms])


@dataclass(frozen=True)
class Scaled(Matrix):
    """The elementwise product of a local partial and a tangent or adjoint.

    Attributes
    ----------
    partial
        The partial, a SymPy expression.
    operand
        The tangent or adjoint.
    by_scalar
        True if the partial is a number at this point, not an array.
    of_scalar
        True if the product is a number.
    scalars
        The names of the variables that are numbers.
    """

    partial: Expr
    operand: Matrix
    by_scalar: bool
    of_scalar: bool
    scalars: frozenset[str]

    def write(self, notation: Notation) -> str:
        notation = notation.among(self.scalars)
        operand = self.operand.write(notation)
        coefficient, rest = self.partial.as_coeff_Mul()
        if rest == 1:
            return _times(coefficient, operand, notation)
        plain = coefficient.is_Float or coefficient.is_Integer
        if self.of_scalar and plain:
            return f"{_times(coefficient, notation.as_factor(notation.written(rest)), notation)} {operand}"
        operand = _times(coefficient, operand, notation) if plain else operand
        factor = notation.as_factor(notation.written(rest if plain else self.partial))
        sign = "-" if operand.startswith("-") else ""
        operand = operand.removeprefix("-")
        if self.of_scalar or (self.by_scalar and not operand[:1].isdigit()):
            return f"{sign}{factor} {operand}"
        return f"{sign}{operand} {notation.hadamard} {factor}"


def _times(coefficient: Expr, operand: str, notation: Notation) -> str:
    sign, size = ("-", -coefficient) if coefficient < 0 else ("", coefficient)
    if size == 1:
        return f"{sign}{operand}"
    if size.is_Rational and not size.is_Integer:
        return sign + notation.over(size, operand)
    return f"{sign}{notation.expression(size)} {operand}"


# ---- Calls and elements ----


@dataclass(frozen=True, eq=False)
class Index:
    """An index, in which the elements that are variables are named."""

    index: Any
    operands: tuple[Matrix, ...] = ()

    def write(self, notation: Notation) -> str:
        """Write it as it stands between brackets."""
        return write_index(self.index, [operand.write(notation) for operand in self.operands])


@dataclass(frozen=True)
class Call(Matrix):
    """A function of arrays; `extras` are the arguments that are no arrays, and the index at which it acts."""

    name: str
    operands: tuple[Matrix, ...]
    extras: tuple[str | Index, ...] = ()

    def write(self, notation: Notation) -> str:
        extras = [e if isinstance(e, str) else f"at [{e.write(notation)}]" for e in self.extras]
        return notation.call(self.name, [operand.write(notation) for operand in self.operands], extras)


@dataclass(frozen=True)
class Indexed(Matrix):
    """Elements of an array."""

    of: Matrix
    index: Index

    def write(self, notation: Notation) -> str:
        return notation.indexed(self.of.write(notation), self.index.write(notation))


# ---- Steps of a loop ----


@dataclass(frozen=True)
class AtStep(Matrix):
    """What a variable of a loop's body is at a step, ``c(s + 1)``."""

    of: Matrix
    step: str

    def write(self, notation: Notation) -> str:
        return f"{self.of.write(notation)}({self.step})"


@dataclass(frozen=True)
class Slice(Matrix):
    """What stands in an array for a step, ``x[s]``."""

    of: Matrix
    step: str

    def write(self, notation: Notation) -> str:
        text = self.of.write(notation)
        return f"({text})[{self.step}]" if "/" in text else f"{text}[{self.step}]"


@dataclass(frozen=True)
class Stacked(Matrix):
    """What all steps have, as one array: ``[x(0), ..., x(4)]``; None where steps are left out."""

    parts: tuple[Matrix | None, ...]

    def write(self, notation: Notation) -> str:
        return f"[{', '.join(notation.ellipsis if part is None else part.write(notation) for part in self.parts)}]"


@dataclass(frozen=True)
class OverSteps(Matrix):
    """A sum over the steps."""

    of: Matrix

    def write(self, notation: Notation) -> str:
        return f"{notation.sum_over} {self.of.write(notation)}"


@dataclass(frozen=True)
class Inside(Matrix):
    """A variable of the body of the line that computes another."""

    of: Matrix
    line: Matrix

    def write(self, notation: Notation) -> str:
        return self.of.write(notation) + notation.inside(self.line.write(notation))


# ---- Matrices by their inverses ----


@dataclass(frozen=True)
class Inverse(Matrix):
    """The inverse of a matrix, or its transpose."""

    of: Matrix
    transposed: bool = False

    def write(self, notation: Notation) -> str:
        return notation.inverse(self.of.write(notation), self.transposed)


@dataclass(frozen=True)
class Chain(Matrix):
    """A product of matrices and numbers, from left to right."""

    factors: tuple[Matrix, ...]
    negative: bool = False

    def write(self, notation: Notation) -> str:
        grouped = [Grouped(f) if isinstance(f, Over) and notation.slashes else f for f in self.factors]
        written = " ".join(factor.write(notation) for factor in grouped)
        return f"-{written}" if self.negative else written


@dataclass(frozen=True)
class Over(Matrix):
    """A quotient, element by element."""

    above: Matrix
    below: Matrix

    def write(self, notation: Notation) -> str:
        return notation.quotient(self.above.write(notation), self.below.write(notation))


@dataclass(frozen=True)
class Hadamard(Matrix):
    """A product element by element."""

    a: Matrix
    b: Matrix

    def write(self, notation: Notation) -> str:
        return f"{self.a.write(notation)} {notation.hadamard} {self.b.write(notation)}"


@dataclass(frozen=True)
class Grouped(Matrix):
    """A formula in parentheses."""

    of: Matrix

    def write(self, notation: Notation) -> str:
        return notation.grouped(self.of.write(notation))


@dataclass(frozen=True)
class Norm(Matrix):
    """The Euclidean norm of a vector, or that of Frobenius."""

    of: Matrix

    def write(self, notation: Notation) -> str:
        return notation.norm(self.of.write(notation))


@dataclass(frozen=True, eq=False)
class Abridged(Matrix):
    """The numbers of an array, the first and last of each axis where there are many."""

    value: Any

    def write(self, notation: Notation) -> str:
        return notation.abridged(np.asarray(self.value))
