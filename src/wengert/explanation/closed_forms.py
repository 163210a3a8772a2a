"""Adjoints of arrays without the adjoints before them: ``X^T ∂y/∂u_1`` becomes ``1/8 X^T u_2``.

One pass goes through the steps and puts what each adjoint is into those that refer to it, as long as that stays short;
a formula that would not refers to the adjoint by name.  Ones and identities disappear, elementwise factors are
multiplied and cancelled.

>>> import numpy as np, wengert as wg
>>> A, B = np.ones((9, 9)), np.eye(9)
>>> steps = wg.explain(lambda X: np.trace(A @ X @ B))(np.eye(9)).derivation.adjoints
>>> from wengert.explanation.notation import TEXT
>>> steps[-1].closed.write(TEXT)
'A^T B^T'
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any

from wengert.explanation.array_steps import ArrayStep
from wengert.explanation.matrices import (
    ONE,
    Added,
    Beside,
    Call,
    Chain,
    Digits,
    Expression,
    Grouped,
    Hadamard,
    Matrix,
    Name,
    Ratio,
    Scaled,
    Transposed,
)
from wengert.explanation.notation import TEXT
from wengert.explanation.steps import Expr

LONGEST = 44
"""A closed form of more characters is not put into others."""

ONES, IDENTITY = Digits("1"), Name("I")


@dataclass(frozen=True)
class Closed:
    """A number times a formula; `ONES` stands for the number 1 and for an array of ones, `IDENTITY` for that matrix."""

    coefficient: Expr
    of: Matrix
    is_number: bool


def close(steps: Sequence[ArrayStep], numbers: Set[str]) -> tuple[ArrayStep, ...]:
    """Return steps with their closed forms, where they have one that says more than the step itself.

    `numbers` has the names of the variables that are numbers.
    """
    import sympy

    closer = _Closer(numbers)
    closed: list[ArrayStep] = []
    for step in steps:
        name = step.derivative.write(TEXT)
        is_number = isinstance(step.derivative, Ratio) and step.derivative.by.write(TEXT) in numbers
        form = closer.close(step.formula)
        written = None if form is None else closer.matrix(form, is_number)
        text = "" if written is None else written.write(TEXT)
        if form is None or len(text) > LONGEST:
            closer.known[name] = Closed(sympy.Integer(1), step.derivative, is_number)
            closed.append(step)
            continue
        closer.known[name] = dataclasses.replace(form, is_number=is_number)
        says_more = text != step.formula.write(TEXT) and not (form.of is ONES and not is_number)
        closed.append(dataclasses.replace(step, closed=written if says_more else None))
    return tuple(closed)


class _Closer:
    def __init__(self, numbers: Set[str]) -> None:
        self.scalars = frozenset(numbers)
        self.known: dict[str, Closed] = {}

    def matrix(self, form: Closed, is_number: bool) -> Matrix:
        """Return a closed form as a formula."""
        if form.coefficient == 1:
            return form.of
        operand = ONE if form.of is ONES else form.of
        if operand is ONE:
            return Expression(form.coefficient, self.scalars)
        if isinstance(operand, Expression):
            return Expression(form.coefficient * operand.expression, self.scalars)
        return Scaled(form.coefficient, operand, True, is_number, self.scalars)

    def close(self, formula: Matrix) -> Closed | None:  # noqa: C901 - a kind of formula after the other
        """Return the closed form of a formula; None if there is none."""
        import sympy

        if formula is ONE:
            return Closed(sympy.Integer(1), ONES, True)
        if isinstance(formula, Ratio):
            return self.known.get(formula.write(TEXT))
        if isinstance(formula, Added):
            return self.close(formula.terms[0]) if len(formula.terms) == 1 else None
        if isinstance(formula, Scaled):
            return self._scaled(formula)
        if isinstance(formula, Transposed):
            form = self.close(formula.of)
            if form is None or form.of in (ONES, IDENTITY):
                return form
            return dataclasses.replace(form, of=Transposed(form.of))
        if isinstance(formula, Call):
            return self._call(formula)
        if isinstance(formula, Beside):
            return self._product((formula.a, formula.b))
        if isinstance(formula, Chain):
            form = self._product(formula.factors)
            if form is None or not formula.negative:
                return form
            return dataclasses.replace(form, coefficient=-form.coefficient)
        if isinstance(formula, Hadamard):
            form = self.close(formula.a)
            if form is None or form.of is IDENTITY:
                return None
            return dataclasses.replace(form, of=formula.b if form.of is ONES else Hadamard(form.of, formula.b))
        return None

    def _scaled(self, formula: Scaled) -> Closed | None:
        form = self.close(formula.operand)
        if form is None:
            return None
        size, rest = formula.partial.as_coeff_Mul()
        coefficient = form.coefficient * size
        if rest == 1:
            return Closed(coefficient, form.of, formula.of_scalar)
        if form.of is IDENTITY:
            return None
        factor = _elementwise(form.of)
        if form.of is ONES or factor is not None:
            size, rest = (rest if factor is None else factor * rest).as_coeff_Mul()
            of: Matrix = ONES if rest == 1 else Expression(rest, self.scalars)
            return Closed(coefficient * size, of, formula.of_scalar)
        return Closed(coefficient, dataclasses.replace(formula, partial=rest, operand=form.of), formula.of_scalar)

    def _call(self, formula: Call) -> Closed | None:
        if len(formula.operands) != 1 or formula.name not in ("broadcast", "sum", "diag", "reshape"):
            return None
        form = self.close(formula.operands[0])
        if form is None:
            return None
        if form.of is ONES:
            if formula.name == "sum":
                return None
            return dataclasses.replace(form, of=IDENTITY if formula.name == "diag" else ONES, is_number=False)
        if form.of is IDENTITY or (formula.name == "broadcast" and form.is_number):
            return form if form.of is not IDENTITY else None
        return Closed(form.coefficient, Call(formula.name, (form.of,), formula.extras), False)

    def _product(self, factors: Sequence[Matrix]) -> Closed | None:
        import sympy

        coefficient: Any = sympy.Integer(1)
        kept: list[Matrix] = []
        replaced = False
        for factor in factors:
            form = self.close(factor) if isinstance(factor, (Ratio, Transposed)) else None
            if form is None:
                kept.append(factor)
                continue
            replaced = True
            if form.of is ONES and not form.is_number:
                return None
            coefficient *= form.coefficient
            if form.of not in (ONES, IDENTITY):
                kept += form.of.factors if isinstance(form.of, Chain) and not form.of.negative else [_factor(form.of)]
        if not replaced or not kept:
            return None
        return Closed(coefficient, kept[0] if len(kept) == 1 else Chain(tuple(kept)), False)


def _elementwise(of: Matrix) -> Expr | None:
    """Return a formula as an expression whose factors can be multiplied element by element; None if it is none."""
    import sympy

    if isinstance(of, Name):
        return sympy.Symbol(of.name, real=True)
    return of.expression if isinstance(of, Expression) else None


def _factor(of: Matrix) -> Matrix:
    """Put a sum, a quotient or an elementwise product that is a factor in parentheses."""
    if isinstance(of, Expression):
        return of if of.expression.is_Symbol else Grouped(of)
    return Grouped(of) if isinstance(of, (Hadamard, Scaled, Added)) else of
