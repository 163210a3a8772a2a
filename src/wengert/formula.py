r"""Formulas that people type, ``x1*(x2 - x3), x3*log(1 - x1)``: read by a small grammar, never evaluated as code.

::

    formulas = sum {"," sum}
    sum      = product {("+" | "-") product}
    product  = signed {["*" | "/"] signed}           the sign of a product may be left out: 2 x (1 - x)
    signed   = ("+" | "-") signed | power
    power    = atom ["^" signed]                     "**" as well
    atom     = number | name | function "(" sum {"," sum} ")" | "(" sum ")" | "|" sum "|"

A name is a letter or a word with an index, ``x``, ``x_1`` (``x1`` is the same), ``u_{-2}``, ``rate``.  `function`
makes a function of NumPy of formulas; the code that it compiles is made of the tree, node by node, never of the text.

>>> f = function("x1*(x2 - x3), x3*log(1 - x1)")
>>> f(0.5, 2.0, 3.0)
array([-0.5       , -2.07944154])
>>> parse("2 x^(1 + y")
Traceback (most recent call last):
...
wengert.errors.FormulaError: A closing parenthesis is missing at character 11 of the formula.
  2 x^(1 + y
            ^
Close the one that is opened at character 5.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import linecache
import math
import re
import types
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np

from wengert.errors import FormulaError

LONGEST = 2000
"""A formula of more characters than this is not read."""

DEEPEST = 60
"""Parentheses, signs and powers nest no deeper than this."""

LARGEST_POWER = 1000
"""No constant exponent is larger: its power would be an endless number, or infinite."""

OPERATIONS = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide", "^": "power"}
OF_ONE = (
    "sin cos tan arcsin arccos arctan sinh cosh tanh arcsinh arccosh arctanh exp expm1 log log1p log2 log10 "
    "sqrt cbrt abs sign square expit erf erfc gamma"
)
OF_TWO = "arctan2 hypot maximum minimum logaddexp"
FUNCTIONS = dict.fromkeys(OF_ONE.split(), 1) | dict.fromkeys(OF_TWO.split(), 2)
"""The functions that a formula may call, by NumPy's or SciPy's names, and how many arguments each takes."""

ALIASES = {"ln": "log", "sigmoid": "expit", "σ": "expit", "max": "maximum", "min": "minimum", "atan2": "arctan2",
           **{f"a{name}": f"arc{name}" for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")}}  # fmt: skip
CONSTANTS = {"pi": math.pi, "π": math.pi, "e": math.e}
_SCIPY = frozenset({"expit", "erf", "erfc", "gamma"})


# ---- The tree ----


@dataclass(frozen=True)
class Node:
    """A part of a formula: the characters `start` to `end` of its text."""

    start: int
    end: int


@dataclass(frozen=True)
class Number(Node):
    """A number as it is written."""

    text: str


@dataclass(frozen=True)
class Name(Node):
    """A variable or a constant."""

    name: str


@dataclass(frozen=True)
class Call(Node):
    """A function or an operation of operands; operations have NumPy's names, ``add``, ``negative``."""

    function: str
    operands: tuple[Node, ...]


Folded = TypeVar("Folded")


def fold(
    node: Node,
    number: Callable[[str], Folded],
    name: Callable[[str], Folded],
    call: Callable[[str, Sequence[Folded]], Folded],
) -> Folded:
    """Replace numbers, names and calls by something else, from the inside out."""
    if isinstance(node, Number):
        return number(node.text)
    if isinstance(node, Name):
        return name(node.name)
    assert isinstance(node, Call)
    return call(node.function, [fold(operand, number, name, call) for operand in node.operands])


def evaluate(node: Node, values: Mapping[str, Any]) -> Any:
    """Compute a formula with NumPy from the values of its names."""
    with np.errstate(all="ignore"):
        return fold(node, np.float64, lambda name: values[name], lambda f, operands: numpy_function(f)(*operands))


def names_in(nodes: Sequence[Node]) -> list[str]:
    """Return the names of variables, in the order of their letters and indices."""
    names = {node.name for one in nodes for node in _walk(one) if isinstance(node, Name)} - {*CONSTANTS}
    return sorted(names, key=lambda name: [int(k) if k.isdigit() else k for k in re.split(r"(\d+)", name)])


def numpy_function(name: str) -> Any:
    """Return the function of NumPy, or of SciPy, that a call names."""
    if name in _SCIPY:
        import scipy.special

        return getattr(scipy.special, name)
    return getattr(np, name)


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for operand in getattr(node, "operands", ()):
        yield from _walk(operand)


# ---- Reading ----


class Token(NamedTuple):
    """A sign, a number or a name, and where it stands."""

    kind: str
    text: str
    start: int
    end: int


_TOKENS = re.compile(
    r"(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[^\W\d_]+(?:_\{-?\d+(?:,-?\d+)*\}|_\w+|\d+\w*)?)"
    r"|(?P<sign>\*\*|[-+*/^(),|·⋅×−])"
)
_SAME = {"**": "^", "·": "*", "⋅": "*", "×": "*", "−": "-"}


def parse(text: str, names: Collection[str] = ()) -> tuple[Node, ...]:
    """Return the trees of formulas that are separated by commas.

    Parameters
    ----------
    text
        What was typed.
    names
        The variables that there are, as they are to be called in the tree; any name is one if none are listed. Names
        that are no plain ones, ``∂y/∂u_3``, are read if they are listed.

    Raises
    ------
    FormulaError
        If it is no formula; the message points at the character.
    """
    return _Parser(text, names).formulas()


class _Parser:
    """Reads one text, by recursive descent."""

    def __init__(self, text: str, names: Collection[str]) -> None:
        self.text, self.depth, self.bars = text, 0, 0
        self.names = {canonical(name): name for name in names}
        if len(text) > LONGEST:
            raise FormulaError(f"The formula has {len(text):,} characters", text, LONGEST, f"{LONGEST:,} are read.")
        self.tokens = [*self._tokens(names), Token("end", "", len(text.rstrip()), len(text.rstrip()))]
        self.place = 0

    def _tokens(self, names: Collection[str]) -> Iterator[Token]:
        strange = sorted((n for n in names if not _TOKENS.fullmatch(n)), key=len, reverse=True)
        at = 0
        while at < len(self.text):
            if self.text[at].isspace():
                at += 1
                continue
            listed = next((name for name in strange if self.text.startswith(name, at)), None)
            if listed is not None:
                yield Token("name", listed, at, at + len(listed))
                at += len(listed)
                continue
            match = _TOKENS.match(self.text, at)
            if match is None:
                raise self._error(
                    f"{self.text[at]!r} has no meaning", at, "A formula has numbers, names, + - * / ^ ( )."
                )
            kind = str(match.lastgroup)
            yield Token(kind, _SAME.get(match[0], match[0]), at, match.end())
            at = match.end()

    # ---- What stands next ----

    @property
    def next(self) -> Token:
        return self.tokens[self.place]

    def _take(self, *signs: str) -> Token | None:
        token = self.next
        if token.kind != "sign" or token.text not in signs:
            return None
        self.place += 1
        return token

    def _error(self, fault: str, position: int, remedy: str) -> FormulaError:
        return FormulaError(fault, self.text, position, remedy)

    def _close(self, opened: Token, sign: str) -> Token:
        closing = self._take(sign)
        if closing is None:
            what = "A closing parenthesis" if sign == ")" else "A closing |"
            raise self._error(
                f"{what} is missing", self.next.start, f"Close the one that is opened at character {opened.start + 1}."
            )
        return closing

    # ---- The grammar ----

    def formulas(self) -> tuple[Node, ...]:
        nodes = [self._sum()]
        while self._take(","):
            nodes.append(self._sum())
        if self.next.kind != "end":
            raise self._error(
                f"{self.next.text!r} is not expected", self.next.start, "Formulas are separated by commas."
            )
        return tuple(nodes)

    def _sum(self) -> Node:
        start, node = self.next.start, self._product()
        while operator := self._take("+", "-"):
            node = self._call(start, OPERATIONS[operator.text], node, self._product())
        return node

    def _product(self) -> Node:
        start, node = self.next.start, self._signed()
        while True:
            operator = self._take("*", "/")
            beside = self.next.kind == "name" or (self.next.kind == "sign" and self.next.text == "(")
            if operator is None and not beside:
                if self.next.kind == "number":
                    raise self._error("A sign is missing", self.next.start, "Write a product as 2 * 3.")
                return node
            node = self._call(start, OPERATIONS[operator.text] if operator else "multiply", node, self._signed())

    def _signed(self) -> Node:
        sign = self._take("+", "-")
        if sign is None:
            return self._power()
        operand = self._nested(self._signed, sign.start)
        return operand if sign.text == "+" else self._call(sign.start, "negative", operand)

    def _power(self) -> Node:
        start, base = self.next.start, self._atom()
        operator = self._take("^")
        return self._call(start, "power", base, self._nested(self._signed, operator.start)) if operator else base

    def _atom(self) -> Node:
        token = self.next
        self.place += token.kind != "end"
        if token.kind == "number":
            if not math.isfinite(float(token.text)):
                raise self._error(f"{token.text} is infinite", token.start, "Write a number of up to 1e308.")
            return Number(token.start, token.end, token.text)
        if token.kind == "name":
            return self._named(token)
        if token.text == "(":
            node = self._nested(self._sum, token.start)
            self._close(token, ")")
            return node
        if token.text == "|":
            node = self._nested(self._sum, token.start)
            return Call(token.start, self._close(token, "|").end, "abs", (node,))
        what = "The formula ends" if token.kind == "end" else f"{token.text!r} stands"
        raise self._error(
            f"{what} where a number, a name or ( is expected", token.start, "Write x, 2 or (x + 2) there."
        )

    def _named(self, token: Token) -> Node:
        known = self.names.get(canonical(token.text))
        name = ALIASES.get(token.text, token.text)
        if known is None and name in FUNCTIONS:
            return self._called(token, name)
        if known is not None:
            return Name(token.start, token.end, known)
        if token.text in CONSTANTS:
            return Name(token.start, token.end, token.text)
        opens = self.next.text == "("
        if self.names or (opens and len(token.text) > 1 and token.text.isalpha()):
            there = [*(self.names.values()), *([*FUNCTIONS, *ALIASES] if opens else [])]
            near = difflib.get_close_matches(token.text, there, n=1)
            what = "function" if opens and not self.names else "name"
            listed = ", ".join(
                sorted(self.names.values(), key=lambda n: (len(n), n))[:12] or ("sin", "exp", "log", "sqrt")
            )
            remedy = f"Did you mean {near[0]}?" if near else f"There are {listed}."
            raise self._error(f"{token.text!r} is no known {what}", token.start, remedy)
        return Name(token.start, token.end, indexed(token.text))

    def _called(self, token: Token, name: str) -> Node:
        opening = self._take("(")
        if opening is None:
            raise self._error(f"{token.text} has no argument", token.end, f"Write {token.text}(x).")
        operands = [self._nested(self._sum, opening.start)]
        while self._take(","):
            operands.append(self._nested(self._sum, opening.start))
        self._close(opening, ")")
        if len(operands) != FUNCTIONS[name]:
            takes = f"{FUNCTIONS[name]} argument{'s' * (FUNCTIONS[name] != 1)}"
            raise self._error(f"{token.text} takes {takes}, not {len(operands)}", opening.start, f"Write {takes}.")
        return self._call(token.start, name, *operands)

    def _nested(self, read: Callable[[], Node], start: int) -> Node:
        self.depth += 1
        if self.depth > DEEPEST:
            raise self._error(f"The formula nests deeper than {DEEPEST}", start, "Write it in fewer parentheses.")
        node = read()
        self.depth -= 1
        return node

    def _call(self, start: int, function: str, *operands: Node) -> Node:
        end = self.tokens[self.place - 1].end
        node = Call(start, end, function, operands)
        if function == "power" and is_constant(operands[1]):
            exponent = evaluate(operands[1], CONSTANTS)
            if abs(exponent) > LARGEST_POWER:
                at, most = operands[1].start, f"Write one from -{LARGEST_POWER} to {LARGEST_POWER}."
                raise self._error("The exponent is too large", at, most)
        if is_constant(node) and not np.isfinite(evaluate(node, CONSTANTS)):
            raise self._error(f"{self.text[start:end]} is no finite number", start, "Write one that is.")
        return node


def is_constant(node: Node) -> bool:
    """Return whether a formula has no variables."""
    return all(one.name in CONSTANTS for one in _walk(node) if isinstance(one, Name))


def canonical(name: str) -> str:
    """Return the one form of a name that is written in several: x_1, x1 and x_{1}."""
    return re.sub(r"[_{}]", "", name)


def indexed(name: str) -> str:
    """Write a letter with a number as a variable with an index: x1 -> x_1."""
    match = re.fullmatch(r"([^\W\d_]+)_?\{?(\d+)\}?", name)
    return f"{match[1]}_{match[2]}" if match else name


# ---- Formulas as a function ----


def function(text: str) -> Callable[..., Any]:
    """Return the function of formulas: its parameters are their names in order, its result a number or a vector.

    Each operation has its place in the text, which traces, explanations and errors quote.

    >>> import wengert as wg
    >>> print(wg.trace(function("y1*sin(x)"))(2.0, 3.0).listing(places=False))
    x = u_{-1}, y_1 = u_0
    u_1 = sin(u_{-1})
    u_2 = u_0 * u_1    = y
    """
    nodes = parse(text)
    names = names_in(nodes)
    for node in (part for one in nodes for part in _walk(one)):
        if isinstance(node, Name) and node.name not in CONSTANTS and not node.name.isidentifier():
            raise FormulaError(f"{node.name!r} cannot be an argument", text, node.start, "Call it x_1.")
    if not names:
        raise FormulaError("The formula has no variable", text, 0, "Write x for what it is to be differentiated by.")
    results = [_code(node, text) for node in nodes]
    if len(results) > 1:
        array, rows = ast.Name("array", ast.Load()), ast.List([*results], ast.Load())
        results = [ast.Call(array, [rows], [])]
    parameters = ast.arguments([], [ast.arg(name) for name in names], None, [], [], None, [])
    written = ast.Expression(_placed(ast.Lambda(parameters, _placed(results[0], 0, len(text.encode()))), 0, 0))
    file = f"formula-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
    (code,) = (one for one in compile(ast.fix_missing_locations(written), file, "eval").co_consts if _is_code(one))
    linecache.cache[file] = (len(text), None, [" ".join(text.split("\n")) + "\n"], file)
    called = {node.function for one in nodes for node in _walk(one) if isinstance(node, Call)}
    scope = {"__builtins__": {}, "array": np.array, **{name: numpy_function(name) for name in called}}
    made = types.FunctionType(code, scope, "f")
    made.__qualname__, made.__doc__ = "f", text
    return made


def _is_code(value: Any) -> bool:
    return isinstance(value, types.CodeType)


_SIGNS: Mapping[str, Any] = {
    "add": ast.Add,
    "subtract": ast.Sub,
    "multiply": ast.Mult,
    "divide": ast.Div,
    "power": ast.Pow,
}


def _code(node: Node, text: str) -> ast.expr:
    """Write a formula as a tree of Python's, each node with its columns, which count bytes."""
    start, end = (len(text[:k].encode()) for k in (node.start, node.end))
    return _placed(_uncolumned(node, text), start, end)


def _uncolumned(node: Node, text: str) -> ast.expr:
    if is_constant(node):
        value = float(evaluate(node, CONSTANTS))
        return ast.Constant(int(value) if value.is_integer() and abs(value) < 1e15 else value)
    if isinstance(node, Name):
        return ast.Name(node.name, ast.Load())
    assert isinstance(node, Call)
    operands = [_code(operand, text) for operand in node.operands]
    if node.function == "negative":
        return ast.UnaryOp(ast.USub(), operands[0])
    if node.function in _SIGNS:
        return ast.BinOp(operands[0], _SIGNS[node.function](), operands[1])
    return ast.Call(ast.Name(node.function, ast.Load()), operands, [])


def _placed(expression: ast.expr, start: int, end: int) -> ast.expr:
    expression.lineno = expression.end_lineno = 1
    expression.col_offset, expression.end_col_offset = start, end
    return expression
