"""How a formula is written: one walk over a SymPy expression, and a table of signs for text and one for LaTeX.

SymPy's own printers write for a computer algebra system (``-x_1 + 1``, ``x_{1}``, ``\\log{\\left(x \\right)}``); here
formulas look as one writes them by hand:

>>> import sympy
>>> x, y = sympy.symbols("x_1 x_2", real=True)
>>> TEXT.expression(-y / (1 - x))
'-x_2/(1 - x_1)'
>>> LATEX.expression(-y / (1 - x))
'-\\\\frac{x_2}{1 - x_1}'

A sum begins with a positive term, variables come in the order of their numbers, a number prints as short as it is.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Mapping, Sequence, Set
from typing import Any

from wengert.explanation.steps import Derivative, Expr, Formula, Product

SUM, PRODUCT, POWER, ATOM = range(4)
"""How tightly a piece of text holds together; a looser one is put in parentheses."""

WIDEST = 72
"""A formula that takes more characters than this in a line of text is left out, or called by name."""

SIGMOID = "σ"
"""The name of the logistic function, ``1/(1 + exp(-x))``, in formulas."""

MOST_NUMBERS = 5
"""So many numbers along an axis are written; of more, the first three and the last."""

Written = tuple[str, int]

_NUMPY_NAMES = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2", "asinh": "arcsinh",
                "acosh": "arccosh", "atanh": "arctanh", "Max": "max", "Min": "min", "ceiling": "ceil",
                "ITE": "where", "conjugate": "conj", "Xor": "logical_xor"}  # fmt: skip
_LATEX_FUNCTIONS = frozenset(
    {"log", "exp", "sin", "cos", "tan", "sinh", "cosh", "tanh", "arcsin", "arccos", "arctan", "max", "min", "sigma"}
)
# fmt: off
_IN_TEXT = {"==": "=", "!=": "≠", "<": "<", "<=": "≤", ">": ">", ">=": "≥", "And": "and", "Or": "or", "Not": "not "}
_IN_LATEX = {"==": "=", "!=": r"\neq", "<": "<", "<=": r"\leq", ">": ">", ">=": r"\geq",
             "And": r"\land", "Or": r"\lor", "Not": r"\lnot "}
_GREEK = frozenset({
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi",
    "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega",
    "Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega",
})
# fmt: on


class Notation:
    """The walk over an expression, and the signs of formulas in one line of Unicode, ``-x_3/(1 - x_1)``.

    Where `scalars` names the variables that are numbers, the others are arrays: ``⊙`` multiplies them.
    """

    slashes = True
    dot, hadamard, dots, ellipsis, sum_over, about, times = "·", "⊙", "...", "...", "Σ_s", "≈", " x "
    relations: Mapping[str, str] = _IN_TEXT

    def __init__(self, scalars: Set[str] | None = None) -> None:
        self.scalars = None if scalars is None else {self.name(name) for name in scalars}

    @functools.lru_cache(maxsize=64)  # noqa: B019 - two notations live for ever, those of arrays are small
    def among(self, scalars: frozenset[str]) -> Notation:
        """Return the notation of formulas in which `scalars` are numbers and the other variables arrays."""
        return type(self)(scalars)

    def expression(self, e: Expr, names: Mapping[Expr, Derivative] | None = None) -> str:
        """Write a SymPy expression; `names` says which symbols are names of derivatives."""
        return self.written(e, names)[0]

    def formula(self, formula: Formula, names: Mapping[Expr, Derivative] | None = None) -> str:
        """Write a sum of products, each product's factors in the order in which they stand."""
        return written_sum([self._factors_as_they_stand(product, names or {})[0] for product in formula])

    def derivative(self, d: Derivative, names: Mapping[Expr, Derivative] | None = None) -> str:
        """Write the name of a derivative."""
        return self.ratio(self.expression(d.of, names), self.expression(d.by, names), "d" if d.total else "∂")

    # ---- The walk ----

    def _factors_as_they_stand(self, product: Product, names: Mapping[Expr, Derivative]) -> Written:
        coefficient, factors = product
        if len(factors) <= 1:
            single = coefficient * factors[0] if factors else coefficient
            return self.written(single, names)
        sign, size = _sign(coefficient)
        written = [] if size == 1 else [self.written(size, names)]
        written += [self.written(f, names) for f in factors]
        return sign + self._beside([self.as_factor(w) for w in written]), PRODUCT

    def written(self, e: Expr, names: Mapping[Expr, Derivative] | None = None) -> Written:
        """Write an expression, with how tightly it holds together."""
        # SymPy orders by the names of symbols, and u_{-2} would come after u_10: for the walk they are called by rank
        symbols = sorted(getattr(e, "free_symbols", ()), key=lambda s: _natural(s.name))
        named = tuple((s, names[s]) for s in symbols if s in names) if names else ()
        written = {s.name: (self.name(s.name), ATOM) for s in symbols}
        written |= {s.name: (self.derivative(derivative, names), POWER) for s, derivative in named}
        return self._ranked(e, tuple(symbols), tuple(written.values()))

    @functools.lru_cache(maxsize=4096)  # noqa: B019 - two notations live for ever, those of arrays are small
    def _ranked(self, e: Expr, symbols: tuple[Expr, ...], written: tuple[Written, ...]) -> Written:
        import sympy

        if [s.name for s in symbols] == sorted(s.name for s in symbols):
            return self._write(e, {s.name: w for s, w in zip(symbols, written, strict=True)})
        ranked = {s: sympy.Symbol(f"_{k:06d}", **s.assumptions0) for k, s in enumerate(symbols)}
        return self._write(e.xreplace(ranked), {r.name: w for r, w in zip(ranked.values(), written, strict=True)})

    def _write(self, e: Expr, symbols: Mapping[str, Written]) -> Written:  # noqa: C901 - a kind of expression after the other
        import sympy
        from sympy.core.relational import Relational

        if e.is_Symbol:
            return symbols[e.name]
        if e.is_Number:
            return self.number(e)
        if e.is_Add:
            return self._sum(e, symbols)
        if e.is_Mul or (e.is_Pow and e.exp.is_number and _is_negative(e.exp)):
            return self._product(e, symbols)
        if e.is_Pow:
            return self._power(e.base, e.exp, symbols)
        if e in _CONSTANTS(sympy):
            return self._constant(str(e)), ATOM
        if isinstance(e, sympy.Piecewise):
            if len(e.args) == 2 and [value for value, _ in e.args] == [1, 0]:
                return f"[{self._condition(e.args[0][1], symbols)}]", ATOM  # Iverson's bracket
            if len(e.args) == 2 and [value for value, _ in e.args] == [0, 1]:
                return f"[{self.relations['Not']}{self._condition(e.args[0][1], symbols)}]", ATOM
            return self._pieces([(self._write(a, symbols)[0], self._condition(c, symbols)) for a, c in e.args]), ATOM
        if isinstance(e, (Relational, sympy.And, sympy.Or, sympy.Not)) or e in (sympy.true, sympy.false):
            return self._condition(e, symbols), SUM
        name = _NUMPY_NAMES.get(e.func.__name__, e.func.__name__)
        operands = list(e.args)
        if name in ("max", "min"):
            for k in range(len(operands) - 1, -1, -1):  # max(max(a, b), c) is max(a, b, c)
                operands[k : k + 1] = operands[k].args if operands[k].func == e.func else [operands[k]]
            operands.sort(key=sympy.default_sort_key)
        arguments = [self._write(a, symbols)[0] for a in operands]
        if isinstance(e, sympy.exp):
            return self._exp(arguments[0])
        if isinstance(e, sympy.Abs):
            return f"|{arguments[0]}|", ATOM
        return self._call(name, "", arguments), ATOM

    def _sum(self, e: Expr, symbols: Mapping[str, Written]) -> Written:
        terms = e.as_ordered_terms()
        first = next((k for k, t in enumerate(terms) if not _is_negative(t)), 0)
        terms.insert(0, terms.pop(first))  # 1 - x, not -x + 1
        written = [(self._write(term, symbols), PRODUCT if term.is_Add else SUM) for term in terms]
        return written_sum([self._parenthesize(*term) for term in written]), SUM

    def _product(self, e: Expr, symbols: Mapping[str, Written]) -> Written:
        import sympy

        coefficient, rest = e.as_coeff_Mul()
        sign, size = _sign(coefficient)
        above: list[Written] = []
        below: list[Written] = []
        if size.is_Rational:
            if size.p != 1:
                above.append(self.number(sympy.Integer(size.p)))
            if size.q != 1:
                below.append(self.number(sympy.Integer(size.q)))
        elif size != 1:
            above.append(self.number(size))
        # u_0 x^(u_0 - 1), not x^(u_0 - 1) u_0: plain variables and their powers come first
        factors = sorted(
            rest.as_ordered_factors(),
            key=lambda f: (
                not (f.is_Symbol or (f.is_Pow and f.base.is_Symbol and f.exp.is_number)),
                f.is_Add and any(a.func.__name__ == SIGMOID for a in f.atoms(sympy.Function)),  # σ (1 - σ)
            ),
        )
        for factor in factors:
            if factor.is_Pow and factor.exp.is_number and _is_negative(factor.exp):
                below.append(self._write(factor.base ** (-factor.exp), symbols))
            elif factor != 1:
                above.append(self._write(factor, symbols))
        if not below:
            if len(above) == 1:
                text, level = above[0]
                return (sign + self._parenthesize(above[0], PRODUCT), PRODUCT) if sign else (text, level)
            return sign + self._beside([self.as_factor(w) for w in above]), PRODUCT
        return sign + self._fraction(above, below), PRODUCT

    def _power(self, base: Expr, exponent: Expr, symbols: Mapping[str, Written]) -> Written:
        import sympy

        if self.scalars is not None and exponent == 2 and base.is_Symbol and symbols[base.name][0] not in self.scalars:
            text = symbols[base.name][0]
            return f"{text} {self.hadamard} {text}", PRODUCT
        if exponent.is_Rational and exponent.p == 1 and exponent.q in (2, 3):
            return self._root(exponent.q, self._write(base, symbols)[0]), ATOM
        power = self._write(exponent, symbols)
        if base.is_Function and not isinstance(base, (sympy.exp, sympy.Abs)) and not self.slashes:
            arguments = [self._write(a, symbols)[0] for a in base.args]
            name = _NUMPY_NAMES.get(base.func.__name__, base.func.__name__)
            return self._call(name, self._raised(power), arguments), POWER
        return self._parenthesize(self._write(base, symbols), ATOM) + self._raised(power), POWER

    def _condition(self, c: Expr, symbols: Mapping[str, Written]) -> str:
        import sympy
        from sympy.core.function import AppliedUndef
        from sympy.core.relational import Relational

        if isinstance(c, Relational):
            if c.rel_op == "!=" and c.rhs == 0 and isinstance(c.lhs, AppliedUndef):
                return self._write(c.lhs, symbols)[0]  # isnan(x)
            return f"{self._write(c.lhs, symbols)[0]} {self.relations[c.rel_op]} {self._write(c.rhs, symbols)[0]}"
        if isinstance(c, (sympy.And, sympy.Or)):
            return f" {self.relations[type(c).__name__]} ".join(
                self._condition(a, symbols) for a in sorted(c.args, key=str)
            )
        if isinstance(c, sympy.Not):
            return f"{self.relations['Not']}{self.grouped(self._condition(c.args[0], symbols))}"
        return str(c) if c in (sympy.true, sympy.false) else self._write(c, symbols)[0]

    def _parenthesize(self, written: Written, level: int) -> str:
        return written[0] if written[1] >= level else self.grouped(written[0])

    def as_factor(self, written: Written) -> str:
        text, level = written
        return (
            self.grouped(text)
            if level < PRODUCT or text.startswith("-") or (self.slashes and "/" in text and level == PRODUCT)
            else text
        )

    def _beside(self, factors: Sequence[str]) -> str:
        text = factors[0]
        for before, factor in itertools.pairwise(factors):
            if self.scalars is None:
                sign = f" {self.dot} " if factor[:1].isdigit() else " "
            else:
                scalar = before in self.scalars or before.replace(".", "").isdigit()
                sign = " " if scalar else f" {self.hadamard} "
            text += sign + factor
        return text

    def operation(self, operator: str, a: str, b: str) -> str:
        """Write a sum, difference or product of two names as it stands in the code."""
        return self._beside([a, b]) if operator == "*" else f"{a} {operator} {b}"

    # ---- Signs ----

    def name(self, name: str) -> str:
        """Write the name of a variable."""
        return name

    def ratio(self, of: str, by: str, d: str = "∂") -> str:
        """Write the name of a derivative of written variables."""
        return f"{d}{of}/{d}{by}"

    def number(self, e: Any) -> Written:
        """Write a number."""
        text = short(e)
        return text, PRODUCT if "/" in text else SUM if text.startswith("-") else ATOM

    def _constant(self, name: str) -> str:
        return {"pi": "π", "E": "e", "I": "i", "oo": "∞", "-oo": "-∞"}.get(name, name)

    def _pieces(self, pieces: Sequence[tuple[str, str]]) -> str:
        text = pieces[-1][0] if pieces[-1][1] == "True" else "undefined"
        for value, condition in reversed(pieces[:-1] if pieces[-1][1] == "True" else pieces):
            text = f"where({condition}, {value}, {text})"
        return text

    def _exp(self, argument: str) -> Written:
        return f"exp({argument})", ATOM

    def _call(self, name: str, power: str, arguments: Sequence[str]) -> str:
        return f"{name}({', '.join(arguments)}){power}"

    def _fraction(self, above: Sequence[Written], below: Sequence[Written]) -> str:
        over = self._beside([self.as_factor(w) for w in above]) if above else "1"
        if len(below) == 1:
            return f"{over}/{self._parenthesize(below[0], POWER)}"
        return f"{over}/({self._beside([self.as_factor(w) for w in below])})"

    def _root(self, degree: int, radicand: str) -> str:
        return f"{'sqrt' if degree == 2 else 'cbrt'}({radicand})"

    def _raised(self, power: Written) -> str:
        return f"^{self._parenthesize(power, ATOM)}"

    def grouped(self, text: str) -> str:
        """Put parentheses around."""
        return f"({text})"

    # ---- Of arrays ----

    def over(self, size: Expr, operand: str) -> str:
        """Write a fraction of an operand."""
        above = "" if size.p == 1 else f"{size.p} "
        return f"{above}{operand}/{size.q}" if "/" not in operand else f"{self.number(size)[0]} {operand}"

    def call(self, name: str, operands: Sequence[str], extras: Sequence[str] = ()) -> str:
        """Write a call of a function of NumPy's."""
        return f"{name}({', '.join([*operands, *extras])})"

    def transposed(self, text: str) -> str:
        """Write a transposed matrix."""
        return f"({text})^T" if "/" in text and not text.startswith("(") else f"{text}^T"

    def inverse(self, text: str, transposed: bool = False) -> str:
        """Write the inverse of a matrix, or its transpose."""
        return f"{text if self._is_name(text) else self.grouped(text)}^{{-{'T' if transposed else '1'}}}"

    def _is_name(self, text: str) -> bool:
        return " " not in text and "/" not in text

    def quotient(self, above: str, below: str) -> str:
        """Write a quotient of two names."""
        return f"{above}/{below}"

    def norm(self, text: str) -> str:
        """Write the norm of a vector."""
        return f"‖{text}‖"

    def abridged(self, value: Any) -> str:
        """Write the numbers of an array, the first and last of each axis."""
        if value.ndim == 0:
            return self.number(abridged(value[()]))[0]
        parts = [self.ellipsis if part is None else self.abridged(part) for part in abridge(value)]
        return f"[{', '.join(parts)}]"

    def indexed(self, text: str, index: str) -> str:
        """Write elements of an array."""
        return f"({text})[{index}]" if "/" in text else f"{text}[{index}]"

    def bar(self, name: str) -> str:
        """Write the adjoint of a variable."""
        return f"{name}_bar"

    def inside(self, name: str) -> str:
        """Write whose body it is that a name belongs to."""
        return f" in {name}"

    def words(self, text: str) -> str:
        """Write words among formulas."""
        return text


class Latex(Notation):
    r"""Formulas in LaTeX without packages, ``-\frac{x_3}{1 - x_1}``."""

    slashes = False
    dot, hadamard, dots, ellipsis, sum_over = r"\cdot", r"\odot", r"\vdots", r"\ldots", r"\sum_s"
    about, times = r"\approx", r" \times "
    relations = _IN_LATEX

    def name(self, name: str) -> str:
        if name.endswith("'"):
            return f"{self.name(name[:-1])}'"
        stem, underscore, index = name.partition("_")
        if underscore and re.fullmatch(r"\w|-?\d+|\{[-\d,]+\}", index):
            return f"{self._word(stem)}_{index if len(index) == 1 or index[0] == '{' else '{' + index + '}'}"
        digits = re.fullmatch(r"([^\W\d_]+)(\d+)", name)
        if digits:
            return f"{self._word(digits[1])}_{digits[2] if len(digits[2]) == 1 else '{' + digits[2] + '}'}"
        return self._word(name)

    def _word(self, name: str) -> str:
        if len(name) == 1:
            return name
        return f"\\{name}" if name in _GREEK else rf"\mathrm{{{name}}}".replace("_", r"\_")

    def ratio(self, of: str, by: str, d: str = "∂") -> str:
        d = "d" if d == "d" else r"\partial"
        return rf"\frac{{{d} {of}}}{{{d} {by}}}"

    def number(self, e: Any) -> Written:
        text = short(e)
        sign = "-" if text.startswith("-") else ""
        text = text.lstrip("-")
        if "/" in text:
            above, _, below = text.partition("/")
            text = rf"\frac{{{above}}}{{{below}}}"
        elif "e" in text:
            mantissa, _, power = text.partition("e")
            text = (f"{mantissa} \\cdot " if mantissa != "1" else "") + f"10^{{{int(power)}}}"
        return sign + text, SUM if sign else ATOM if "^" not in text else PRODUCT

    def _constant(self, name: str) -> str:
        return {"pi": r"\pi", "E": "e", "I": "i", "oo": r"\infty", "-oo": r"-\infty"}.get(name, rf"\mathrm{{{name}}}")

    def _pieces(self, pieces: Sequence[tuple[str, str]]) -> str:
        rows = [
            f"{value} & \\text{{{'otherwise'}}}" if condition == "True" else f"{value} & \\text{{where }} {condition}"
            for value, condition in pieces
        ]
        return r"\begin{cases} " + r" \\ ".join(rows) + r" \end{cases}"

    def _exp(self, argument: str) -> Written:
        return f"e^{{{argument}}}", POWER

    def _call(self, name: str, power: str, arguments: Sequence[str]) -> str:
        if name in ("floor", "ceil"):
            return rf"\l{name} {arguments[0]} \r{name}{power}"
        name = "sigma" if name == SIGMOID else name
        command = (
            f"\\{name}"
            if name in _LATEX_FUNCTIONS
            else name
            if len(name) == 1
            else rf"\operatorname{{{name}}}".replace("_", r"\_")
        )
        return command + power + self.grouped(", ".join(arguments))

    def _fraction(self, above: Sequence[Written], below: Sequence[Written]) -> str:
        over = above[0][0] if len(above) == 1 else self._beside([self.as_factor(w) for w in above]) if above else "1"
        under = below[0][0] if len(below) == 1 else self._beside([self.as_factor(w) for w in below])
        return rf"\frac{{{over}}}{{{under}}}"

    def _root(self, degree: int, radicand: str) -> str:
        return rf"\sqrt{{{radicand}}}" if degree == 2 else rf"\sqrt[{degree}]{{{radicand}}}"

    def _raised(self, power: Written) -> str:
        text = power[0]
        return f"^{text}" if len(text) == 1 else f"^{{{text}}}"

    def grouped(self, text: str) -> str:
        tall = any(word in text for word in (r"\frac", r"\begin", r"\sqrt"))
        return rf"\left({text}\right)" if tall else f"({text})"

    # ---- Of arrays ----

    def over(self, size: Expr, operand: str) -> str:
        return f"{self.number(size)[0]} {operand}"

    def call(self, name: str, operands: Sequence[str], extras: Sequence[str] = ()) -> str:
        return self._call(name, "", [*operands, *[rf"\text{{{extra}}}".replace("_", r"\_") for extra in extras]])

    def transposed(self, text: str) -> str:
        return rf"{text}^\top" if not text.startswith(r"\frac") else rf"\left({text}\right)^\top"

    def inverse(self, text: str, transposed: bool = False) -> str:
        power = r"-\top" if transposed else "-1"
        return f"{text if self._is_name(text) else self.grouped(text)}^{{{power}}}"

    def quotient(self, above: str, below: str) -> str:
        return rf"\frac{{{above}}}{{{below}}}"

    def norm(self, text: str) -> str:
        return rf"\lVert {text} \rVert"

    def abridged(self, value: Any) -> str:
        if not 1 <= value.ndim <= 2:
            return self.words(TEXT.abridged(value)) if value.ndim else self.number(abridged(value[()]))[0]
        rows = [value] if value.ndim == 1 else abridge(value)
        written = [
            r"\vdots"
            if row is None
            else " & ".join(r"\dots" if x is None else self.number(abridged(x))[0] for x in abridge(row))
            for row in rows
        ]
        return rf"\begin{{pmatrix}} {(' ' + chr(92) * 2 + ' ').join(written)} \end{{pmatrix}}"

    def indexed(self, text: str, index: str) -> str:
        return rf"{text}[\text{{{index}}}]"

    def bar(self, name: str) -> str:
        stem = name.removesuffix("'")
        return rf"\bar{{{self.name(stem)}}}" + name[len(stem) :]

    def inside(self, name: str) -> str:
        return rf" \text{{ in }} {name}"

    def words(self, text: str) -> str:
        return rf"\text{{{text}}}"


TEXT, LATEX = Notation(), Latex()


def written_sum(terms: Sequence[str]) -> str:
    """Write a sum of written terms, a negative one as a difference; 0 without terms."""
    text = ""
    for term in terms:
        text = term if not text else f"{text} - {term[1:]}" if term.startswith("-") else f"{text} + {term}"
    return text or "0"


def abridged(number: Any) -> float:
    """Round a number of an array to four digits."""
    return float(f"{number:.4g}")


def abridge(value: Any) -> list[Any]:
    """Return the parts of an array along its first axis; of more than `MOST_NUMBERS`, three, None, and the last."""
    return list(value) if len(value) <= MOST_NUMBERS else [*value[:3], None, value[-1]]


def short(e: Any) -> str:
    """Write a number as short as it is: 2, 0.5, 1/3, 0.693147."""
    if getattr(e, "is_Rational", False):
        return str(e)
    value = float(e)
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else f"{value:.6g}"


def _CONSTANTS(sympy: Any) -> tuple[Any, ...]:
    return (sympy.pi, sympy.E, sympy.I, sympy.oo, -sympy.oo, sympy.nan, sympy.zoo, sympy.EulerGamma)


def _natural(name: str) -> tuple[str, tuple[int, ...], str]:
    """Return the key that puts u_2 before u_10, and u_{-2} before both."""
    stem, _, rest = name.partition("_")
    return stem, tuple(int(k) for k in re.findall(r"-?\d+", rest)), name


def _is_negative(e: Expr) -> bool:
    coefficient = e.as_coeff_Mul()[0] if hasattr(e, "as_coeff_Mul") else e
    return bool(coefficient.is_number and coefficient.is_negative)


def _sign(coefficient: Expr) -> tuple[str, Expr]:
    return ("-", -coefficient) if coefficient.is_negative else ("", coefficient)
