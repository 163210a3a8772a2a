"""Exercises: the derivation with partials, tangents or adjoints hidden, and the learner's answers checked.

An answer is a formula in the intermediate or the independent variables, in any equivalent form, or a number.  It is
read by the grammar of `wengert.formula`, and compared with the derivation at the point and at points nearby; where the
formulas are small, SymPy is asked as well.

>>> import numpy as np, wengert as wg
>>> exercise = wg.quiz(lambda x: x[0] * np.log(x[1]))(np.array([3.0, 0.5]))
>>> question = exercise["∂y/∂x_2"]
>>> print(question.check("x_2/x_1").words)
No: at the point it is 6, and yours is 0.166667.
>>> print(question.hint)
∂y/∂u_0 = ∂y/∂u_1 ∂u_1/∂u_0
>>> bool(question.check("x1 * 1/x2")), bool(question.check("u_{-1}/u_0")), bool(question.check(6.0))
(True, True, True)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wengert.arguments import ArgnumsLike
from wengert.errors import ArgumentError, BranchError, FormulaError
from wengert.explanation import explain
from wengert.explanation.derivation import derive
from wengert.explanation.formulas import Algebra, as_expression, product, size_of
from wengert.explanation.notation import TEXT, short
from wengert.explanation.steps import Derivation, Derivative, Expr, Formula
from wengert.formula import evaluate, fold, is_constant, parse
from wengert.planning import Plan
from wengert.program import Program, Var
from wengert.transformations import Transformed

__all__ = ["Question", "Quiz", "Verdict", "quiz"]

HIDDEN = ("partials", "tangents", "adjoints")
NEARBY = 3
"""A formula is compared at the point and at so many points beside it."""
CLOSE, ROUNDED = 1e-7, 2e-3
"""By how much a formula may differ from the derivation, relatively, and a number that is typed."""
MOST_SIMPLIFIED = 40
"""SymPy compares formulas of up to so many nodes."""


@dataclass(frozen=True)
class Verdict:
    """Whether an answer is right, in words, and how that was found: ``"symbolically"`` or ``"in numbers"``."""

    right: bool
    words: str
    how: str = "in numbers"

    def __bool__(self) -> bool:
        return self.right


@dataclass(frozen=True)
class _Point:
    """A point: what the names of a derivation are there, and the values of what is asked for."""

    values: dict[str, Any]
    answers: list[float]


@dataclass(frozen=True)
class Question:
    """One derivative that is asked for.

    `name` is what it is called in the derivation, `also` in the independent variables; `hint` is its line of the chain
    rule, and `solution` its formula.
    """

    name: str
    also: str
    hint: str
    solution: str
    value: float
    number: int
    formula: Expr = field(repr=False)
    quiz: Quiz = field(repr=False)

    def check(self, answer: str | float) -> Verdict:
        """Check an answer, a formula or a number."""
        if not isinstance(answer, str):
            return self._verdict(float(answer), ROUNDED)
        (node, *others) = parse(answer, self.quiz.names)
        if others:
            raise FormulaError("One formula is asked for", answer, others[0].start, "Leave out what follows the comma.")
        points = self.quiz.points
        first = self._verdict(float(evaluate(node, self.quiz.constants | points[0].values)), CLOSE)
        if is_constant(node):
            return self._verdict(float(evaluate(node, self.quiz.constants)), ROUNDED)
        for point in points[1:]:
            value, truth = float(evaluate(node, self.quiz.constants | point.values)), point.answers[self.number]
            if first and not math.isclose(value, truth, rel_tol=CLOSE, abs_tol=1e-10):
                return Verdict(False, "No: it is right at this point by chance; beside it, it is not.")
        if first and self._is_same(fold(node, _number, self.quiz.symbol, _call)):
            return Verdict(True, first.words, "symbolically")
        return first

    def _verdict(self, value: float, tolerance: float) -> Verdict:
        same = (math.isnan(value) and math.isnan(self.value)) or math.isclose(
            value, self.value, rel_tol=tolerance, abs_tol=1e-10
        )
        words = f"Yes: {self.name} = {self.solution}." if same else (
            f"No: at the point it is {short(self.value)}, and yours is {short(value)}."
        )  # fmt: skip
        return Verdict(same, words)

    def _is_same(self, answer: Expr) -> bool:
        import sympy

        if self.formula is None or size_of(answer) + size_of(self.formula) > MOST_SIMPLIFIED:
            return False
        if any(power.exp.is_number and abs(power.exp) > 20 for power in answer.atoms(sympy.Pow)):
            return False  # SymPy might multiply it out
        difference = answer - self.formula
        return bool(difference == 0 or sympy.simplify(difference) == 0)


class Quiz:
    """A derivation with some of its derivatives hidden, as questions.

    Index it by the number of a question, from 0, or by the name of a derivative; ``ask`` goes through all of them in
    the terminal.
    """

    def __init__(self, program: Program, point: Sequence[Any], plan: Plan, hide: str) -> None:
        self.program, self.plan, self.hide = program, plan, hide
        mode = "forward" if hide == "tangents" else "reverse"
        derivation = derive(program, point, plan, mode)
        self.title = f"{derivation.name}: R^{len(derivation.independents)} -> R^{len(derivation.dependents)}"
        self.definitions = derivation.decomposition.definitions
        self.constants = {"pi": math.pi, "π": math.pi, "e": math.e}
        here = _Point(_values(derivation), [])
        self.names = [name for name in here.values if name not in ("nan",)]
        self._symbols = {TEXT.expression(sym, derivation.names): sym for sym in derivation.values}
        self.questions = tuple(self._questions(derivation, program, point))
        here.answers.extend(question.value for question in self.questions)
        self._here, self._point, self._mode = here, point, mode
        self._points: list[_Point] = []

    @property
    def points(self) -> list[_Point]:
        """The point, and points nearby on the same branch."""
        if not self._points:
            self._points = [self._here]
            generator = np.random.default_rng(1)
            for _ in range(4 * NEARBY):
                if len(self._points) > NEARBY:
                    break
                moved = [np.asarray(v) * (1 + 0.05 * generator.uniform(-1, 1, np.shape(v))) for v in self._point]
                moved = [v + 1e-3 * generator.uniform(-1, 1, np.shape(v)) for v in moved]
                try:
                    derivation = derive(self.program, moved, self.plan, self._mode)
                except BranchError:
                    continue
                answers = [value for *_, value in _asked(derivation, self.program, moved, self.hide)]
                self._points.append(_Point(_values(derivation), answers))
        return self._points

    def symbol(self, name: str) -> Expr:
        """Return the symbol that a name in an answer stands for, written in the independent variables if it can be."""
        import sympy

        if name in self.constants and name not in self._symbols:
            return sympy.E if name == "e" else sympy.pi
        sym = self._symbols[name]
        return self._in_x.get(sym, sym)

    def _questions(self, derivation: Derivation, program: Program, point: Sequence[Any]) -> Iterator[Question]:
        self._in_x: dict[Expr, Expr] = {}
        for definition in self.definitions:
            self._in_x[definition.variable] = definition.formula.xreplace(self._in_x)
        independents = dict(zip(derivation.independents, self.definitions, strict=False))
        x_of = {definition.variable: x for x, definition in independents.items()}
        for number, (derivative, rule, formula, value) in enumerate(_asked(derivation, program, point, self.hide)):
            name = TEXT.derivative(derivative, derivation.names)
            by = x_of.get(derivative.by)
            of_all = [y for one in self.definitions if one.variable == derivative.of for y in one.results]
            also = derivative._replace(
                by=derivative.by if by is None else by,
                of=of_all[0] if of_all and self.hide == "tangents" else derivative.of,
            )
            expression = None if formula is None else as_expression(formula).xreplace(self._in_x)
            written = short(value) if formula is None else TEXT.formula(formula, derivation.names)
            yield Question(
                name,
                TEXT.derivative(also, derivation.names),
                f"{name} = {rule}",
                written,
                value,
                number,
                expression,
                self,
            )

    def __len__(self) -> int:
        return len(self.questions)

    def __iter__(self) -> Iterator[Question]:
        return iter(self.questions)

    def __getitem__(self, which: int | str) -> Question:
        if isinstance(which, int):
            return self.questions[which]
        for question in self.questions:
            if which in (question.name, question.also):
                return question
        names = ", ".join(question.name for question in self.questions[:8])
        raise ArgumentError(f"{which!r} is not asked for.\nThere are {names}.")

    def __str__(self) -> str:
        lines = [f"  {TEXT.expression(d.variable)} = {TEXT.expression(d.formula)}" for d in self.definitions]
        asked = [f"  {question.number + 1}. {question.name} = ?" for question in self.questions]
        return "\n".join([self.title, "=" * len(self.title), "", *lines, "", f"The {self.hide}:", "", *asked])

    def __repr__(self) -> str:
        return f"<Quiz on the {self.hide} of {self.title}, {len(self)} questions>"

    def ask(self, read: Callable[[str], str] = input, write: Callable[[str], None] = print) -> int:
        """Ask all questions in the terminal, and return how many were right at once.

        An empty answer shows the line of the chain rule; a second one, the solution.
        """
        write(str(self).split(f"\n\nThe {self.hide}")[0])
        right = 0
        for question in self.questions:
            tries = 0
            while True:
                answer = read(f"{question.name} = ").strip()
                if not answer:
                    if tries:
                        write(f"{question.name} = {question.solution}")
                        break
                    write(f"Hint: {question.hint}")
                    tries += 1
                    continue
                try:
                    verdict = question.check(answer)
                except FormulaError as error:
                    write(str(error))
                    continue
                write(verdict.words)
                if verdict:
                    right += not tries
                    break
                tries += 1
        write(f"{right} of {len(self)} were right at once.")
        return right


def quiz(f: Callable[..., Any], argnums: ArgnumsLike = None, *, hide: str = "adjoints") -> Callable[..., Quiz]:
    """Return a function that makes an exercise of the derivation of `f` at a point.

    Parameters
    ----------
    f
        A function of real numbers or arrays, of up to 1,000 scalar lines.
    argnums
        The positions of the independent variables; None for every argument that is a real number or array.
    hide
        What is asked for: ``"partials"`` (of each line), ``"tangents"`` (forward accumulation) or ``"adjoints"``
        (reverse accumulation).

    Returns
    -------
    callable
        Takes what `f` takes; returns a `Quiz`, whose questions check answers and give hints.

    Raises
    ------
    ArgumentError
        If `hide` is unknown, or the function has no scalar form.

    Examples
    --------
    >>> import numpy as np, wengert as wg
    >>> print(quiz(lambda x: np.sin(x) * x, hide="partials")(0.5))
    f: R^1 -> R^1
    =============
    <BLANKLINE>
      u_0 = x
      u_1 = sin(u_0)
      u_2 = u_0 u_1
    <BLANKLINE>
    The partials:
    <BLANKLINE>
      1. ∂u_1/∂u_0 = ?
      2. ∂u_2/∂u_1 = ?
      3. ∂u_2/∂u_0 = ?
    """
    if hide not in HIDDEN:
        raise ArgumentError(f"hide={hide!r} is unknown; it is one of {', '.join(map(repr, HIDDEN))}.")

    def make(args: Any, kwargs: Any) -> Quiz:
        explanation = explain(f, argnums, mode="reverse", level="scalars")(*args, **kwargs)
        return Quiz(explanation.program, explanation.point, explanation.derivation.plan, hide)

    return Transformed(quiz, f, make, argnums=argnums, hide=hide)


def _asked(
    d: Derivation, program: Program, point: Sequence[Any], hide: str
) -> Iterator[tuple[Derivative, str, Formula | None, float]]:
    """Yield what is asked for: the derivative, its chain rule, its formula and its value."""
    if hide == "partials":
        algebra = Algebra(program, point)
        for line in program.lines:
            out = line.outputs[0]
            operands = dict.fromkeys(a for a in line.inputs if isinstance(a, Var) and a.dtype.kind == "f")
            for var in operands if out.dtype.kind == "f" else ():
                partial = algebra.partial(line, var)
                derivative = Derivative(algebra.symbols[out], algebra.symbols[var])
                written = TEXT.expression(algebra.definitions[out])
                rule = f"the derivative of {written} by {TEXT.expression(algebra.symbols[var])}"
                formula = product(partial.formula)
                yield derivative, rule, formula, float(partial.value)
        return
    for p in d.forward if hide == "tangents" else d.reverse:
        for s in p.steps:
            if s.terms:
                rule = " + ".join(f"{TEXT.derivative(t.left)} {TEXT.derivative(t.right)}" for t in s.terms)
                yield s.derivative, rule, s.in_x if s.in_x is not None else s.in_u, s.value


def _values(d: Derivation) -> dict[str, Any]:
    return {TEXT.expression(sym, d.names): value for sym, value in d.values.items()}


def _number(text: str) -> Expr:
    import sympy

    return sympy.Rational(text)


def _call(name: str, operands: Sequence[Expr]) -> Expr:
    """Return a function or an operation of SymPy by its name in `wengert.formula`."""
    import sympy

    a, *others = operands
    operations: dict[str, Callable[[], Expr]] = {
        "add": lambda: a + others[0],
        "subtract": lambda: a - others[0],
        "multiply": lambda: a * others[0],
        "divide": lambda: a / others[0],
        "power": lambda: a ** others[0],
        "negative": lambda: -a,
        "square": lambda: a**2,
        "expit": lambda: 1 / (1 + sympy.exp(-a)),
        "expm1": lambda: sympy.exp(a) - 1,
        "log1p": lambda: sympy.log(1 + a),
        "log2": lambda: sympy.log(a, 2),
        "log10": lambda: sympy.log(a, 10),
        "abs": lambda: sympy.Abs(a),
        "hypot": lambda: sympy.sqrt(a**2 + others[0] ** 2),
        "logaddexp": lambda: sympy.log(sympy.exp(a) + sympy.exp(others[0])),
        "maximum": lambda: sympy.Max(a, others[0]),
        "minimum": lambda: sympy.Min(a, others[0]),
        "arctan2": lambda: sympy.atan2(a, others[0]),
    }
    if name in operations:
        return operations[name]()
    return getattr(sympy, name.replace("arc", "a"))(a)
