"""The derivation itself: both traversals of the chain rule, with every factor kept where the chain rule puts it.

Forward, ``∂u_i/∂x_j = Σ_k ∂u_i/∂u_k ∂u_k/∂x_j`` over the operands of line i, in the order of the list; reverse,
``∂y_k/∂u_i = Σ_s ∂y_k/∂u_s ∂u_s/∂u_i`` over the lines that use ``u_i``, against it.  Three accumulations run side by
side: formulas in the u's, formulas in the x's, and numbers; the numbers need no formula and check both.

A formula that would grow too long to read is called by its name from there on, ``cos(u_7) ∂u_7/∂x_1``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from wengert.explanation.formulas import (
    LONGEST,
    Algebra,
    abbreviated,
    add,
    as_expression,
    as_number,
    in_order,
    multiply,
    number,
    product,
    simplified,
    size_of,
    symbol,
    with_sigmoids,
)
from wengert.explanation.notation import LATEX, TEXT, WIDEST
from wengert.explanation.steps import (
    Decomposition,
    Definition,
    Derivation,
    Derivative,
    Edge,
    Entry,
    Expr,
    Formula,
    Pass,
    Step,
    Term,
)
from wengert.planning import Plan
from wengert.program import Constant, Line, Program, Var, value_of
from wengert.tracing import IGNORING, under


def derive(
    program: Program,
    args: Sequence[Any],
    plan: Plan,
    mode: str = "both",
    elements: Mapping[int, str] | None = None,
    passes: Sequence[int] | None = None,
) -> Derivation:
    """Work a scalar Program through, line by line, at a point.

    `elements` names constants by their identity, and `passes` has the numbers of those that are wanted, from 1.  In the
    mode ``"none"`` there are no passes, but lines and edges.
    """
    # what lies outside a domain prints as inf or nan; tracing has warned of it
    return under(IGNORING, lambda: _Deriver(program, args, elements).derivation(mode, plan, passes))  # type: ignore[no-any-return]


class _Deriver:
    """One derivation: the algebra of the Program, and the names of its independent and dependent variables."""

    def __init__(self, program: Program, args: Sequence[Any], elements: Mapping[int, str] | None) -> None:
        self.program, self.args = program, args
        self.algebra = algebra = Algebra(program, args, elements=elements)
        self.u = algebra.symbols
        self.users: dict[Var, list[Line]] = {var: [] for var in self.u if var.dtype.kind == "f"}
        self.lines = [line for line in program.lines if line.outputs[0].dtype.kind == "f"]
        for line in self.lines:
            for var in _operands(line):
                self.users[var].append(line)
        self.xs: list[tuple[Expr, Var]] = [
            (symbol(name), atom)
            for packing in program.arguments
            for name, atom in zip(packing.names, packing.atoms, strict=True)
            if isinstance(atom, Var)
        ]
        self.ys: list[tuple[Expr, Var | Constant]] = [
            (symbol(name), atom)
            for packing in program.results
            for name, atom in zip(packing.names, packing.atoms, strict=True)
        ]
        self.results: dict[Var, list[Expr]] = {}
        for y, atom in self.ys:
            if isinstance(atom, Var):
                self.results.setdefault(atom, []).append(y)
        self.chain = len(self.xs) == len(self.ys) == 1 and all(
            _operands(line) == [before]
            for line, before in zip(
                program.lines, [self.xs[0][1], *[one.outputs[0] for one in program.lines]], strict=False
            )
        )
        self.chain = self.chain and bool(program.lines)
        self.in_x = self._in_x()
        taken = {str(sym) for sym in (*self.u.values(), *algebra.values, *(x for x, _ in self.xs))}
        taken |= program_names(program)
        self.targets = targets(program, taken)
        self.called: dict[Expr, Expr] = {}
        for var, name in self.targets.items():
            formula = self.in_x.get(self.u[var])
            if formula is not None and formula.count_ops() > 1:
                self.called |= {-formula: -symbol(name), formula: symbol(name)}

    # ---- The function itself ----

    def _in_x(self) -> dict[Expr, Expr]:
        """Write each u in the x's, as far as that stays readable."""
        written: dict[Expr, Expr] = {self.u[var]: x for x, var in self.xs}
        for line in self.program.lines:
            var = line.outputs[0]
            value = self._replace(self.algebra.definitions[var], written)
            if value is not None:
                written[self.u[var]] = value
        return written

    def _replace(self, expression: Expr, written: dict[Expr, Expr]) -> Expr | None:
        needed = expression.free_symbols - self.algebra.data
        if any(sym not in written for sym in needed):
            return None
        if sum(size_of(written[sym]) for sym in needed) + size_of(expression) > LONGEST:
            return None
        replaced = expression.xreplace({sym: written[sym] for sym in needed})
        return replaced if size_of(replaced) <= LONGEST else None

    def decomposition(self) -> Decomposition:
        algebra = self.algebra
        definitions = [
            Definition(self.u[var], x, tuple(self.results.get(var, ())), _plain(algebra.environment[var]))
            for x, var in self.xs
        ]
        for line in self.program.lines:
            var = line.outputs[0]
            definitions.append(
                Definition(
                    self.u[var],
                    algebra.definitions[var],
                    tuple(self.results.get(var, ())),
                    _plain(algebra.environment[var]),
                    line.location,
                    in_order(line),
                    tuple(as_number(algebra.atom(a)) for a in line.inputs),
                    name=self.targets.get(var, ""),
                )
            )
        constants = tuple((y, number(atom.value)) for y, atom in self.ys if isinstance(atom, Constant))
        return Decomposition(tuple(definitions), constants)

    # ---- One pass ----

    def _derivative(self, of: Expr, by: Expr) -> Derivative:
        return Derivative(of, by, self.chain)

    def forward(self, index: int) -> Pass:
        x, seed = self.xs[index]
        sums = _Accumulation(self)
        for _, var in self.xs:
            sums.seed(self._derivative(self.u[var], x), var, int(var is seed))
        for line in self.lines:
            var = line.outputs[0]
            terms, parts = [], []
            for operand in _operands(line):
                terms.append(Term(self._derivative(self.u[var], self.u[operand]), self._derivative(self.u[operand], x)))
                parts.append((line, operand, operand))
            sums.add(
                self._derivative(self.u[var], x), var, None, terms, parts, local_first=True, entry=var in self.results
            )
        entries = [
            Entry(self._derivative(y, x), sums.shown(atom), sums.values[atom])
            if atom in sums.values
            else Entry(self._derivative(y, x), (), 0.0)
            for y, atom in self.ys
        ]
        return Pass("forward", index + 1, x, tuple(sums.steps), tuple(entries))

    def reverse(self, index: int) -> Pass:
        y, seed = self.ys[index]
        sums = _Accumulation(self)
        independents = [var for _, var in self.xs]
        for var in reversed(self.users):
            derivative = self._derivative(y, self.u[var])
            start = int(var is seed) if var in self.results or not self.users[var] else None
            if not self.users[var]:
                sums.seed(derivative, var, start or 0)
                continue
            terms, parts = [], []
            for line in self.users[var]:
                user = line.outputs[0]
                terms.append(Term(self._derivative(y, self.u[user]), self._derivative(self.u[user], self.u[var])))
                parts.append((line, var, user))
            sums.add(derivative, var, start or None, terms, parts, local_first=False, entry=var in independents)
        entries = [Entry(self._derivative(y, x), sums.shown(var), sums.values[var]) for x, var in self.xs]
        return Pass("reverse", index + 1, y, tuple(sums.steps), tuple(entries))

    # ---- The whole ----

    def derivation(self, mode: str, plan: Plan, passes: Sequence[int] | None = None) -> Derivation:
        forward = tuple(self.forward(k) for k in range(len(self.xs))) if mode in ("forward", "both") else ()
        reverse = tuple(self.reverse(k) for k in range(len(self.ys))) if mode in ("reverse", "both") else ()
        if reverse:
            jacobian = tuple(p.entries for p in reverse)
        else:
            jacobian = tuple(tuple(p.entries[k] for p in forward) for k in range(len(self.ys)))
        algebra = self.algebra
        values = dict(algebra.values)
        values.update({x: algebra.environment[var] for x, var in self.xs})
        values.update({y: value_of(atom, algebra.environment) for y, atom in self.ys})
        values.update({symbol(name): algebra.environment[var] for var, name in self.targets.items()})
        if passes is not None:
            forward, reverse = (tuple(p for p in of_mode if p.number in passes) for of_mode in (forward, reverse))
        return Derivation(
            name=self.program.name,
            decomposition=self.decomposition(),
            forward=forward,
            reverse=reverse,
            jacobian=jacobian,
            plan=plan,
            conditions=self._conditions(),
            notes=algebra.notes(),
            chain=self.chain,
            independents=tuple(x for x, _ in self.xs),
            dependents=tuple(y for y, _ in self.ys),
            values=values,
            functions=algebra.functions,
            names=algebra.names,
            edges=tuple(self._edges()),
            called=self.called,
        )

    def _edges(self) -> Iterator[Edge]:
        for line in self.lines:
            for operand in _operands(line):
                partial, value, *_ = self.algebra.partial(line, operand)
                yield Edge(self._derivative(self.u[line.outputs[0]], self.u[operand]), partial, float(value))

    def _conditions(self) -> tuple[tuple[Expr, str, bool | int], ...]:
        definitions = self.algebra.definitions
        return tuple(
            (
                definitions[guard.var] if guard.var.dtype.kind == "b" else self.u[guard.var],
                guard.var.dtype.kind,
                guard.value,
            )
            for guard in self.program.guards
        )


class _Accumulation:
    """The running sums of one pass: formulas in the u's, formulas in the x's, numbers."""

    def __init__(self, deriver: _Deriver) -> None:
        self.of = deriver
        self.in_u: dict[Var, Formula] = {}
        self.in_x: dict[Var, Formula | None] = {}
        self.values: dict[Var, float] = {}
        self.steps: list[Step] = []
        self.last_u: dict[Var, Formula | None] = {}
        self.said: set[tuple[str, str]] = set()

    def seed(self, derivative: Derivative, var: Var, value: int) -> None:
        formula = product(number(value)) if value else ()
        self.in_u[var] = self.in_x[var] = formula
        self.values[var] = float(value)
        self.steps.append(Step(derivative, value, (), formula, formula, float(value)))

    def add(
        self,
        derivative: Derivative,
        var: Var,
        seed: int | None,
        terms: Sequence[Term],
        parts: Sequence[tuple[Line, Var, Var]],
        local_first: bool,
        entry: bool,
    ) -> None:
        algebra = self.of.algebra
        start = product(number(seed)) if seed else ()
        u_parts: list[Formula] = [start]
        by_name: list[Formula] = [start]
        x_parts: list[Formula] | None = [start]
        value = float(seed or 0)
        for (line, operand, from_var), term in zip(parts, terms, strict=True):
            partial, slope, *_ = algebra.partial(line, operand)
            if partial == 0 or not self.in_u[from_var]:
                continue  # before the product, in which an infinite partial would make NaN of a zero
            value += float(slope) * self.values[from_var]
            pair = (product(partial), self.in_u[from_var])
            u_parts.append(multiply(*(pair if local_first else pair[::-1])))
            if pair[1][0].factors:
                inner = term.right if local_first else term.left
                pair = (pair[0], product(algebra.refer(inner, self.values[from_var])))
            by_name.append(multiply(*(pair if local_first else pair[::-1])))
            local_x, seed_x = self.of._replace(partial, self.of.in_x), self.in_x[from_var]
            if x_parts is None or local_x is None or seed_x is None or _size(seed_x) + size_of(local_x) > LONGEST:
                x_parts = None
                continue
            pair = (product(local_x), seed_x)
            x_parts.append(multiply(*(pair if local_first else pair[::-1])))
        in_u: Formula | None = add(u_parts)
        in_x = None if x_parts is None else add(x_parts)
        if in_x:
            multiplied = as_expression(in_x)
            simpler = simplified(multiplied) if entry else with_sigmoids(multiplied)
            in_x = product(simpler) if entry or simpler != multiplied else in_x
        self.values[var], self.in_x[var] = value, in_x
        assert in_u is not None
        self.in_u[var] = in_u
        if len(TEXT.formula(in_u, algebra.names)) > WIDEST:
            self.in_u[var] = product(algebra.refer(derivative, value))
            in_u = add(by_name)
            if len(TEXT.formula(in_u, algebra.names)) > WIDEST:
                in_u = None
        if in_x is not None and in_u is not None and len(TEXT.formula(abbreviated(in_x, self.of.called))) > WIDEST:
            in_x = None  # of an entry it stands in the Jacobian
        self.steps.append(Step(derivative, seed, tuple(terms), in_u, in_x, value, self._repeats(in_u, in_x)))

        self.last_u[var] = in_u

    def shown(self, var: Var) -> Formula | None:
        """Return the best formula there is: in the x's, else in the u's, else none."""
        in_x, in_u = self.in_x[var], self.last_u.get(var)
        if in_x is not None or in_u is None or as_expression(in_u).free_symbols & self.of.algebra.referred:
            return in_x
        return in_u

    def _repeats(self, in_u: Formula | None, in_x: Formula | None) -> bool:
        """Return whether an equality has been said in this pass, up to sign."""
        if in_u is None or in_x is None:
            return False
        names = self.of.algebra.names
        said = tuple(LATEX.formula(f, names).removeprefix("-") for f in (in_u, in_x))
        before = said in self.said
        self.said.add(said)  # type: ignore[arg-type]
        return before


def program_names(program: Program) -> set[str]:
    """Return what the arguments and results of a Program, and their elements, are called."""
    return {name for packing in (*program.arguments, *program.results) for name in (packing.name, *packing.names)}


def targets(program: Program, taken: Collection[str]) -> dict[Var, str]:
    """Return the variables whose value the user's code gives a name, if it gives no other value that name.

    An expression of several lines has the value of the last.  Names that are `taken` are left out.
    """
    by_place: dict[tuple[Any, str], list[Line]] = {}
    for line in program.lines:
        location = line.location
        if location is not None and len(line.outputs) == 1:
            by_place.setdefault((location, location.target), []).append(line)
    named: dict[str, list[Var]] = {}
    for (_, name), lines in by_place.items():
        if not name or name in taken:
            continue
        read = {a for line in lines for a in line.inputs}
        named.setdefault(name, []).extend(line.outputs[0] for line in lines if line.outputs[0] not in read)
    return {variables[0]: name for name, variables in named.items() if len(variables) == 1}


def _operands(line: Line) -> list[Var]:
    """Return the distinct variables of a line that a derivative can pass through, in order."""
    return list(dict.fromkeys(a for a in line.inputs if isinstance(a, Var) and a.dtype.kind == "f"))


def _plain(value: Any) -> bool | float:
    return bool(value) if np.asarray(value).dtype.kind == "b" else float(value)


def _size(formula: Formula) -> int:
    return sum(size_of(f) for product in formula for f in product.factors)
