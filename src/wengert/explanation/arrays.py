"""Functions of many numbers, explained line by line of arrays: each tangent and adjoint as a formula of matrices.

Nobody reads the million scalar lines of a neural network.  Its array lines are few, and on each edge stands a local
Jacobian with a structure; what that does to a tangent or adjoint is one formula::

    u_1 = X W             (64 x 10)      ∂y/∂W = X^T ∂y/∂u_1           (784 x 10)
    u_2 = u_1 + b         (64 x 10)      ∂y/∂b = sum(∂y/∂u_2, axis=0)  (10)
    u_3 = tanh(u_2)       (64 x 10)      ∂y/∂u_2 = ∂y/∂u_3 ⊙ (1 - u_3 ⊙ u_3)

``⊙`` multiplies element by element, as functions, powers and quotients act; a scalar stands before an array as a
factor.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wengert.explanation.document import (
    Block,
    Equations,
    Heading,
    Row,
    Sentence,
    compare,
    conjunction,
    counted,
    decision,
    note_of,
    space,
)
from wengert.explanation.formulas import Algebra, in_order, whole
from wengert.explanation.loops import Bodies
from wengert.explanation.notation import Notation, Written, written_sum
from wengert.explanation.steps import Expr
from wengert.jacobians import Composed, Diagonal, LocalJacobian, Permute, Reshape, Select, Sum, Transposed
from wengert.planning import Plan
from wengert.primitives.numpy import elementwise as e
from wengert.primitives.numpy import structural as s
from wengert.primitives.numpy.structural import write_index
from wengert.program import Atom, Constant, Line, Program, Var, reached_by, readable, value_of
from wengert.tracing import IGNORING, under

MOST_LINES = 60
"""A function of more scalar lines than this is explained by its array lines."""
MOST_ROWS = 40
"""So many rows of one kind are written out, half of them from the beginning and half from the end."""

_MOVING = frozenset(
    (
        s.reshape,
        s.transpose,
        s.broadcast_to,
        s.stack,
        s.concatenate,
        s.getitem,
        s.diagonal,
        s.setitem,
        s.put,
        s.sum_,
        s.cumsum,
        s.astype,
    )
)
"""Primitives that are linear: the tangent of the result is the same function of the tangents."""
_JOINING = frozenset({s.stack, s.concatenate, s.put, s.setitem})
"""Those of them that join pieces, of which a constant one has tangent 0."""


@dataclass(frozen=True)
class ArrayDerivation:
    """A Program explained by its array lines: everything is written when a notation is chosen."""

    program: Program
    algebra: Algebra
    scalar_lines: int | None
    mode: str
    plan: Plan
    step: int | None = None
    """The step of each loop that is written out with its values; None for none."""


def derive_arrays(
    program: Program,
    args: Sequence[Any],
    scalar_lines: int | None,
    mode: str,
    constants: Mapping[str, Any],
    plan: Plan,
    step: int | None = None,
) -> ArrayDerivation:
    """Prepare the explanation of a Program by its array lines; `constants` are the user's arrays by their names."""
    taken = {name for packing in program.arguments for name in packing.names}
    algebra = Algebra(program, args, {name: array for name, array in constants.items() if name not in taken})
    return ArrayDerivation(program, algebra, scalar_lines, mode, plan, step)


def compose_arrays(d: ArrayDerivation, notation: Notation) -> list[Block]:
    """Return the derivation as headings, sentences and equations."""
    computed = {var for line in d.program.lines for var in line.outputs}
    still = computed - reached_by(d.program, [True] * len(d.program.inputs)) - set(d.program.outputs)
    writer = _Writer(d, notation, still=frozenset(still))
    return under(IGNORING, writer.blocks)  # type: ignore[no-any-return]  # tracing has warned


class _Writer:
    def __init__(
        self,
        d: ArrayDerivation,
        notation: Notation,
        called: Mapping[str, str] | None = None,
        still: frozenset[Var] = frozenset(),
    ) -> None:
        """Prepare to write; of a body, `called` renames arguments, and `still` has the variables without a tangent."""
        self.still = still
        self.zero: set[Var] = set()
        self.d, self.program, self.algebra = d, d.program, d.algebra
        self.plain_notation = notation
        self.bodies = Bodies(self)
        names = {
            atom: (called or {}).get(name, name)
            for packing in d.program.arguments
            for name, atom in zip(packing.names, packing.atoms, strict=True)
            if isinstance(atom, Var)
        }
        self.names: dict[Var, str] = {var: names.get(var, sym.name) for var, sym in self.algebra.symbols.items()}
        self.rename = {sym: type(sym)(self.names[var], **sym.assumptions0) for var, sym in self.algebra.symbols.items()}
        scalars = {self.names[var] for var in self.names if var.size == 1}
        self.notation = type(notation)(scalars)
        self.users: dict[Var, list[Line]] = {var: [] for var in self.names}
        for line in self.program.lines:
            if any(var.dtype.kind in "fc" for var in line.outputs):
                for var in dict.fromkeys(a for a in line.inputs if isinstance(a, Var)):
                    self.users[var].append(line)
        self.results: dict[Var, list[str]] = {}
        for p in self.program.results:
            for name, atom in zip(p.names, p.atoms, strict=True):
                if isinstance(atom, Var):
                    self.results.setdefault(atom, []).append(p.name if p.whole else name)
        self.is_body = called is not None
        self.scalar_result = sum(int(np.prod(p.shape, dtype=int)) for p in self.program.results) == 1
        self.scalar_result = self.scalar_result and not self.is_body
        self.y = self.program.results[0].name

    # ---- Words ----

    def inside(self, program: Program, algebra: Algebra, called: Mapping[str, str], still: frozenset[Var]) -> _Writer:
        """Return the writer of a body, in the same notation."""
        return _Writer(
            ArrayDerivation(program, algebra, None, self.d.mode, self.d.plan), self.plain_notation, called, still
        )

    def blocks(self) -> list[Block]:
        program, d = self.program, self.d
        n = sum(var.size for var in program.inputs)
        m = sum(int(np.prod(p.shape, dtype=int)) for p in program.results)
        blocks: list[Block] = [
            Heading(1, f"{program.name}: {space(n)} -> {space(m)}"),
            Sentence(
                f"{program.name} takes {counted(n, 'independent variable')} to {counted(m, 'dependent variable')} "
                f"in {counted(len(program.lines), 'line')}{self._why(n + m)}."
            ),
        ]
        if program.guards:
            where = [decision(self._atom(g.var), g.var.dtype.kind, g.value) for g in program.guards]
            blocks.append(Sentence(f"This holds on the branch where {conjunction(where)}."))
        definitions, tangents, adjoints = self.definitions(), self.tangents(), self.adjoints()
        bodies = self.bodies.blocks()
        # the constants are known when every formula has been written
        blocks += [Heading(2, "Decomposition"), self._cut([*self._given(), *definitions])]
        primitives = {line.primitive for line in program.lines if line.primitive.kink}
        if primitives:
            conventions = sorted(f"{p.name} ({p.kink.partition(';')[0]})" for p in primitives)
            blocks.append(Sentence(f"Conventions where a derivative is not unique: {', '.join(conventions)}."))
        if d.mode != "reverse":
            blocks += [Heading(2, "Forward accumulation mode (inside-out)"), Sentence(self._about_forward())]
            blocks.append(self._cut(tangents))
        if d.mode != "forward":
            blocks += [Heading(2, "Reverse accumulation mode (outside-in)"), Sentence(self._about_reverse())]
            blocks.append(self._cut(adjoints))
        blocks += bodies
        blocks += [Heading(2, "Comparison"), *compare(d.plan)]
        return blocks

    def definitions(self) -> list[Row]:
        """Write each line as a definition."""
        rows: list[Row] = []
        for line in self.program.lines:
            rows += [self._definition(line)] if line.held is None else self.bodies.definition(line)
        return rows

    def tangents(self) -> list[Row]:
        """Write the tangent of each line."""
        rows: list[Row] = []
        for line in self.program.lines:
            if line.held is not None:
                rows += self.bodies.tangents(line)
            elif self.moves(line.outputs[0]):
                rows.append(self._tangent(line))
        return rows

    def adjoints(self) -> list[Row]:
        """Write the adjoint of each variable, the last first."""
        rows = [self._adjoint(var) for var in reversed(self.names) if self.moves(var) and not self._idle(var)]
        return [row for row in rows if row is not None]

    def moves(self, atom: Atom) -> bool:
        """Return whether an operand has a tangent and an adjoint."""
        return isinstance(atom, Var) and atom.dtype.kind in "fc" and atom not in self.still

    def _why(self, variables: int) -> str:
        scalars, lines = self.d.scalar_lines, self.program.lines
        which, has, stand, they = "some of which", "have", "stand", "they are"
        if len(lines) == 1:
            which, has, stand, they = "which", "has", "stands", "it is"
        if any(line.held is not None for line in self.program.lines):
            return "; what stands inside of a line is explained once, below"
        if any(var.dtype.kind == "c" for var in self.names):
            return f", {which} {has} complex values, so each refers to those before it"
        if not lines:
            return f": it only moves its {counted(variables, 'variable')}"
        if scalars is None:
            return f", {which} {has} no scalar form, so {they} explained array by array"
        if all(var.shape == () for var in self.names):
            return ": too many to write every formula out, so each line refers to those before it"
        return (
            f", which {stand} for {counted(scalars, 'line')} of scalars"
            f"{f' on {variables:,} variables' if scalars <= MOST_LINES else ''}: "
            "too many to read, so they are taken together, array by array"
        )

    def _about_forward(self) -> str:
        arguments = ", ".join(f"`{self._d(self.notation.name(self.names[var]))}`" for var in self.program.inputs[:4])
        more = "" if len(self.program.inputs) <= 4 else " and the others"
        passes = counted(self.d.plan["forward"].passes, "pass", "passes")
        return (
            f"From a tangent {arguments}{more}, one pass gives that of every line; the whole Jacobian takes {passes}."
        )

    def _about_reverse(self) -> str:
        if self.scalar_result:
            return "One pass gives the derivative with respect to every line, and to every independent variable."
        return (
            f"From an adjoint `{self._bar(self.y)}` of the shape of `{self.y}`, one pass gives that of every line; "
            f"the whole Jacobian takes {counted(self.d.plan['reverse'].passes, 'pass', 'passes')}."
        )

    def _cut(self, rows: Sequence[Row]) -> Equations:
        if len(rows) <= MOST_ROWS:
            return Equations(tuple(rows))
        half = MOST_ROWS // 2
        between = Row(self.notation.dots, (f"{self.notation.words(f'{len(rows) - 2 * half} lines like these')}",))
        return Equations((*rows[:half], between, *rows[-half:]))

    # ---- Lines ----

    def _given(self) -> list[Row]:
        rows = []
        for packing in self.program.arguments:
            if packing.whole:
                var = packing.atoms[0]
                rows.append(self._row(self._atom(var), "", var, extra=self.results.get(var, ())))  # type: ignore[arg-type]
        for name, value in self.algebra.arrays.items():
            rows.append(
                Row(
                    self.notation.name(name),
                    (self.notation.words("constant"),),
                    note="",
                    shape=self.shape(np.shape(value)),
                )
            )
        return rows

    def _row(self, left: str, right: str, var: Atom, line: Line | None = None, extra: Sequence[str] = ()) -> Row:
        equals = ([right] if right else [self.notation.words("given")]) + [self.notation.name(name) for name in extra]
        return Row(left, tuple(equals), note=note_of(line), shape=self.shape(var.shape))

    def shape(self, shape: tuple[int, ...]) -> str:
        """Write the shape of an array; nothing for a scalar."""
        return f"({self.notation.times.join(map(str, shape))})" if shape else ""

    def _definition(self, line: Line) -> Row:
        var = line.outputs[0]
        return self._row(self._atom(var), self._value(line), var, line, self.results.get(var, ()))

    def _value(self, line: Line) -> str:
        if line.primitive.elementwise:
            operator = in_order(line)
            if operator:
                return self.notation.operation(operator, *map(self._atom, line.inputs))
            return self._expression(self.algebra.definitions[line.outputs[0]])[0]
        if line.primitive is s.matmul:
            return " ".join(map(self._atom, line.inputs))
        return self._call(line, [self._atom(a) for a in line.inputs])

    def _call(self, line: Line, operands: Sequence[str]) -> str:
        primitive, params = line.primitive, line.params
        if primitive is s.transpose and params["axes"] == (1, 0):
            return self.notation.transposed(operands[0])
        if primitive is s.getitem:
            return self.notation.indexed(operands[0], write_index(params["index"], operands[1:]))
        if primitive is s.setitem:
            return self.notation.call(
                "assign", [operands[1], operands[0]], [f"at [{write_index(params['index'], operands[2:])}]"]
            )
        shapes = {"shape", "indices", "batch", "dtype"}
        extras = [
            f"{key}={self._param(value)}"
            for key, value in params.items()
            if not (key in {"axis", *shapes} or value is None or value is False or _has_no_repr(value))
        ]
        if params.get("axis") is not None:
            ndim = len(line.outputs[0].shape) if primitive is s.stack else max(len(a.shape) for a in line.inputs)
            axis = params["axis"]
            axes = tuple(k % ndim for k in (axis if isinstance(axis, tuple) else (axis,)))
            if len(axes) < ndim or not isinstance(axis, tuple):
                extras.insert(0, f"axis={axes[0] if len(axes) == 1 else axes}")
        return self.notation.call(primitive.name, operands, extras)

    def _param(self, value: Any) -> str:
        return str(getattr(value, "name", "")) or readable(str(value))

    # ---- Forward ----

    def _tangent(self, line: Line) -> Row:
        var = line.outputs[0]
        primitive = line.primitive
        dots = [self._d(self._atom(a)) if self.moves(a) else None for a in line.inputs]
        terms: list[str] = []
        if any(dots) and (primitive in _MOVING or self._is_linear(line)):
            kept = [
                d
                if d is not None
                else "0"
                if primitive in _JOINING and (k < 2 or primitive is not s.setitem)
                else self._atom(a)
                for k, (d, a) in enumerate(zip(dots, line.inputs, strict=True))
            ]
            terms = [self._call(line, kept)]
        elif primitive is s.matmul:
            a, b = map(self._atom, line.inputs)
            terms = [t for t, d in ((f"{dots[0]} {b}", dots[0]), (f"{a} {dots[1]}", dots[1])) if d is not None]
        else:
            for k, dot in enumerate(dots):
                if dot is None or line.inputs[k] in line.inputs[:k]:
                    continue
                terms += self._scaled(line, k, dot)
        return self._row(self._d(self._atom(var)), written_sum(terms), var)

    def _scaled(self, line: Line, position: int, operand: str, reverse: bool = False) -> list[str]:
        """Write the product of a local partial and a tangent or adjoint; nothing where it is zero."""
        atom = line.inputs[position]
        assert isinstance(atom, Var)
        if not line.primitive.elementwise:
            of = self.notation.ratio(self._atom(line.outputs[0]), self._atom(atom))
            return [f"{of} {operand}"]
        local = self.algebra.partial(line, atom)
        if local.of_conjugate is None:
            return self._product(self._partial(line, atom), line, operand)
        # not holomorphic: dz -> a dz + b conj(dz); an adjoint stands for dL = Re(z_bar dz)
        re, conj = (functools.partial(self.notation.call, name) for name in ("re", "conj"))
        if line.outputs[0].dtype.kind == "f":
            terms = self._product(whole(2 * local.formula), line, operand)
            return terms if reverse else [re(operands=[term]) for term in terms]
        terms = self._product(local.formula, line, operand)
        if reverse:
            return terms + [conj(operands=[term]) for term in self._product(local.of_conjugate, line, operand)]
        return terms + self._product(local.of_conjugate, line, conj(operands=[operand]))

    def _product(self, partial: Expr, line: Line, operand: str) -> list[str]:
        if partial == 0:
            return []
        coefficient, rest = partial.as_coeff_Mul()
        if rest == 1:
            return [self._times(coefficient, operand)]
        if line.outputs[0].shape == () and (coefficient.is_Float or coefficient.is_Integer):
            return [f"{self._times(coefficient, self.notation.as_factor(self._expression(rest)))} {operand}"]
        operand = self._times(coefficient, operand) if coefficient.is_Float or coefficient.is_Integer else operand
        if not coefficient.is_Float and not coefficient.is_Integer:
            rest = partial
        sign = "-" if operand.startswith("-") else ""
        operand = operand.removeprefix("-")
        text = self.notation.as_factor(self._expression(rest))
        scalar = all(self._is_scalar(sym) for sym in partial.free_symbols) or line.outputs[0].shape == ()
        if scalar and operand[:1].isdigit():
            scalar = False if line.outputs[0].shape else scalar
        return [f"{sign}{text} {operand}" if scalar else f"{sign}{operand} {self.notation.hadamard} {text}"]

    def _times(self, coefficient: Expr, operand: str) -> str:
        sign, size = ("-", -coefficient) if coefficient < 0 else ("", coefficient)
        if size == 1:
            return f"{sign}{operand}"
        if size.is_Rational and not size.is_Integer:
            return sign + self.notation.over(size, operand)
        return f"{sign}{self._expression(size)[0]} {operand}"

    def _is_scalar(self, sym: Expr) -> bool:
        value = self.algebra.values.get(sym)
        return value is not None and np.size(value) == 1

    def _partial(self, line: Line, var: Var) -> Expr:
        """Return the local partial; of a choice between two arrays, which one was chosen."""
        import sympy

        if line.primitive in (e.maximum, e.minimum, e.fmax, e.fmin) and line.outputs[0].shape:
            a, b = (self.algebra.atom(x) for x in line.inputs)
            here, other = (a, b) if line.inputs[0] is var else (b, a)
            condition = here > other if line.primitive in (e.maximum, e.fmax) else here < other
            return sympy.Piecewise((1, condition), (0, True))
        if line.primitive is s.where and line.outputs[0].shape:
            chosen = self.algebra.atom(line.inputs[0])
            where_true, where_false = (int(atom is var) for atom in line.inputs[1:])
            return sympy.Piecewise((where_true, chosen), (where_false, True))
        return self.algebra.partial(line, var).formula

    def _is_linear(self, line: Line) -> bool:
        """Return whether a line is linear in its one operand, as transforms and filters are."""
        if line.primitive.elementwise or len(line.inputs) != 1 or not line.inputs[0].size:
            return False
        x, y = (value_of(a, self.algebra.environment) for a in (line.inputs[0], line.outputs[0]))
        rule = line.primitive.partial(0)
        jacobian = None if rule is None else rule(y, x, **line.params)
        if jacobian is None:
            return False
        other = np.multiply(x, -1 - np.arange(np.size(x)).reshape(np.shape(x)) % 7 / 8, dtype=x.dtype)
        try:
            return bool(np.allclose(line.primitive(other, **line.params), jacobian.push(other), equal_nan=False))
        except (ArithmeticError, ValueError):  # a factorization of what is no such matrix
            return False

    # ---- Reverse ----

    def _idle(self, var: Var) -> bool:
        """Return whether nothing but a decision depends on a variable."""
        return not self.users[var] and var not in self.results and var not in self.program.inputs

    def _adjoint(self, var: Var) -> Row | None:
        left = self._adjoint_of(var)
        terms = []
        if var in self.results:
            terms += ["1"] if self.scalar_result else [self._bar(name) for name in self.results[var]]
        for line in self.users[var]:
            if self.zero.issuperset(line.outputs):
                continue
            if line.held is not None:
                terms += [
                    term for k, atom in enumerate(line.inputs) if atom is var for term in self.bodies.pulled(line, k)
                ]
                continue
            pulled = []
            for k, atom in enumerate(line.inputs):
                # the partial of an elementwise line with a repeated operand is the sum over its places already
                if atom is var and not (line.primitive.elementwise and atom in line.inputs[:k]):
                    pulled += self._pulled(line, k)
            if var.dtype.kind != "c" and line.outputs[0].dtype.kind == "c":
                pulled = [self.notation.call("re", [term]) for term in pulled]
            terms += pulled
        if not terms:  # its square is read, not itself
            self.zero.add(var)
            if var not in self.program.inputs:
                return None
        return self._row(left, written_sum(terms), var)

    def _adjoint_of(self, var: Var) -> str:
        return (
            self.notation.ratio(self.notation.name(self.y), self._atom(var))
            if self.scalar_result
            else self._bar(self.names[var])
        )

    def _bar(self, name: str) -> str:
        return self.notation.bar(name)

    def _pulled(self, line: Line, position: int) -> list[str]:
        atom, out = line.inputs[position], line.outputs[0]
        assert isinstance(atom, Var)
        g = self._adjoint_of(out)
        T = self.notation.transposed
        if line.primitive.elementwise:
            return [self._summed(term, atom.shape, out.shape) for term in self._scaled(line, position, g, reverse=True)]
        if line.primitive is s.matmul:
            other = self._atom(line.inputs[1 - position])
            ndims = len(line.inputs[0].shape), len(line.inputs[1].shape)
            if ndims == (1, 1):
                return [f"{g} {other}"]
            if position == 0:
                return [f"{other} {g}" if ndims[0] == 1 else f"{g} {T(other)}"]
            if ndims[0] == 1:
                return [f"{other} {T(g)}"]
            return [
                self._summed(
                    f"{T(other)} {g}", atom.shape, (*out.shape[:-2], *atom.shape[-2:]) if ndims[1] > 1 else atom.shape
                )
            ]
        if line.primitive is s.setitem and position < 2:
            index = write_index(line.params["index"], [self._atom(a) for a in line.inputs[2:]])
            if position == 1:
                return [self.notation.call("assign", [g, "0"], [f"at [{index}]"])]
            chosen = np.empty(out.shape)[s.fill_index(line.params["index"], self._indices(line))].shape
            return [self._summed(self.notation.indexed(g, index), atom.shape, chosen)]
        rule = line.primitive.partial(position)
        kept = [self.algebra.environment[out], *[value_of(a, self.algebra.environment) for a in line.inputs]]
        jacobian = None if rule is None else rule(*kept, **line.params)
        if jacobian is None:
            return []
        written = self._by_structure(jacobian, g, line)
        if written is None:
            partial = self.notation.grouped(self.notation.ratio(self._atom(out), self._atom(atom)))
            written = f"{self.notation.transposed(partial)} {g}"
        return [written]

    def _indices(self, line: Line) -> list[Any]:
        return [value_of(a, self.algebra.environment) for a in line.inputs[2:]]

    def _by_structure(self, jacobian: LocalJacobian, g: str, line: Line) -> str | None:
        """Write what the transpose of a structure does to an adjoint; None if the structure says nothing."""
        if isinstance(jacobian, Reshape):
            return self.notation.call("reshape", [g])
        if isinstance(jacobian, Permute):
            return self.notation.transposed(g) if len(jacobian.axes) == 2 else self.notation.call("transpose", [g])
        if isinstance(jacobian, Sum):
            return self.notation.call("broadcast", [g])
        if isinstance(jacobian, Select):
            operands = [self._atom(a) for a in line.inputs[1:]]
            index = (
                write_index(line.params["index"], operands)
                if line.primitive is s.getitem
                else _written(jacobian.index, len(jacobian.in_shape))
            )
            return self.notation.call("put", [g], [f"at [{index}]"])
        if isinstance(jacobian, Transposed) and isinstance(jacobian.of, Select):
            return self.notation.indexed(g, _written(jacobian.of.index, len(jacobian.of.in_shape)))
        if isinstance(jacobian, Diagonal) and type(jacobian.c) is int and jacobian.c == 1:
            return self._summed(g, jacobian.in_shape, jacobian.out_shape)
        if isinstance(jacobian, Composed) and line.primitive in (s.max_, s.min_):
            chosen = f"[{self._atom(line.inputs[0])} = {self._atom(line.outputs[0])}]"
            return f"{self.notation.call('broadcast', [g])} {self.notation.hadamard} {chosen}"
        return None

    def _summed(self, term: str, in_shape: tuple[int, ...], out_shape: tuple[int, ...]) -> str:
        """Sum over the axes along which the operand was broadcast."""
        if in_shape == out_shape:
            return term
        extra = len(out_shape) - len(in_shape)
        axes = [*range(extra), *[extra + k for k, size in enumerate(in_shape) if size != out_shape[extra + k]]]
        extras = [] if len(axes) == len(out_shape) else [f"axis={axes[0] if len(axes) == 1 else tuple(axes)}"]
        if in_shape and not extra:
            extras.append("keepdims=True")
        summed = self.notation.call("sum", [term], extras)
        return self.notation.call("reshape", [summed]) if extra and 1 in in_shape else summed

    # ---- Names ----

    def _atom(self, atom: Atom) -> str:
        if isinstance(atom, Var):
            return self.notation.name(self.names[atom])
        return self._expression(self.algebra.atom(atom))[0] if isinstance(atom, Constant) else str(atom)

    def _d(self, name: str) -> str:
        return f"d{name}"

    def _expression(self, expression: Expr) -> Written:
        return self.notation.written(expression.xreplace(self.rename))


def _has_no_repr(value: Any) -> bool:
    return " object at 0x" in repr(value)  # it says where the object lies in memory


def _written(index: Any, ndim: int) -> str:
    items = index if isinstance(index, tuple) else (index,)
    if items and items[0] is Ellipsis and len(items) == ndim + 1:
        items = items[1:]
    return write_index(items)
