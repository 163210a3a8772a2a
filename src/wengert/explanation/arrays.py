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

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from wengert.accumulation.sweeps import reverse
from wengert.explanation.array_steps import ArrayDerivation, ArrayEdge, ArrayStep, Decision, Equality
from wengert.explanation.closed_forms import close
from wengert.explanation.derivation import program_names, targets
from wengert.explanation.document import counted
from wengert.explanation.formulas import Algebra, in_order, whole
from wengert.explanation.loops import LinesWithPrograms
from wengert.explanation.matrices import (
    ONE,
    ZERO,
    Abridged,
    Added,
    Adjoint,
    Beside,
    Call,
    Chain,
    Digits,
    Expression,
    Index,
    Indexed,
    Matrix,
    Name,
    Operation,
    Ratio,
    Scaled,
    Shape,
    Tangent,
    Transposed,
    Where,
    Words,
)
from wengert.explanation.matrix_rules import MEANS, OUTER, rule_of
from wengert.explanation.steps import Definition, Expr
from wengert.jacobians import Composed, Diagonal, LocalJacobian, Permute, Reshape, Select, Sum
from wengert.jacobians import Transposed as TransposedMap
from wengert.linearization import Linearization
from wengert.planning import Plan
from wengert.primitives.numpy import elementwise as e
from wengert.primitives.numpy import structural as s
from wengert.program import Atom, Constant, Line, Program, Var, reached_by, readable, value_of
from wengert.tracing import IGNORING, under

MOST_LINES = 60
"""A function of more scalar lines than this is explained by its array lines."""

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
_STRUCTURES: dict[type, str] = {
    Select: "selection",
    Sum: "sum",
    Reshape: "other shape",
    Permute: "transposition",
    Diagonal: "diagonal",
}
"""What the structures of local Jacobians are called."""
_JOINING = frozenset({s.stack, s.concatenate, s.put, s.setitem})
"""Those of them that join pieces, of which a constant one has tangent 0."""


def derive_arrays(
    program: Program,
    args: Sequence[Any],
    scalar_lines: int | None,
    mode: str,
    constants: Mapping[str, Any],
    plan: Plan,
    step: int | None = None,
) -> ArrayDerivation:
    """Explain a Program by its array lines.

    Parameters
    ----------
    program, args
        The Program, and the point.
    scalar_lines
        How many lines of scalars it would have; None if some have no scalar form.
    mode
        The traversals that are explained: ``"forward"``, ``"reverse"`` or ``"both"``.
    constants
        The user's arrays by their names.
    plan
        What the orders of accumulation cost.
    step
        The step of each loop that is written out with its values; None for none.
    """
    names = {name for packing in program.arguments for name in packing.names}
    algebra = Algebra(program, args, {name: array for name, array in constants.items() if name not in names})
    computed = {var for line in program.lines for var in line.outputs}
    still = computed - reached_by(program, [True] * len(program.inputs)) - set(program.outputs)
    lines = ArrayLines(program, algebra, mode, still=frozenset(still), step=step)
    return under(IGNORING, lambda: _derivation(lines, args, scalar_lines, plan))  # type: ignore[no-any-return]  # tracing has warned


def _derivation(of: ArrayLines, args: Sequence[Any], scalar_lines: int | None, plan: Plan) -> ArrayDerivation:
    program = of.program
    n = sum(var.size for var in program.inputs)
    m = sum(int(np.prod(p.shape, dtype=int)) for p in program.results)
    definitions, tangents, adjoints = of.definitions(), of.tangents(), of.adjoints()
    bodies = of.inner.explained()
    gradient = _gradient(of, args) if of.mode != "forward" else ()
    kinks = sorted({f"{p.name} ({p.kink.partition(';')[0]})" for line in program.lines if (p := line.primitive).kink})
    return ArrayDerivation(
        name=program.name,
        mode=of.mode,
        plan=plan,
        independents=n,
        dependents=m,
        lines=len(program.lines),
        why=_why(program, of, scalar_lines, n + m),
        result=of.y,
        with_one_number=of.scalar_result,
        decisions=of.decisions(),
        definitions=(*of.arguments(), *definitions),  # the constants are known when every formula has been made
        tangents=tuple(tangents) if of.mode != "reverse" else (),
        adjoints=close(adjoints, of.scalars) if of.mode != "forward" else (),
        bodies=bodies,
        arguments=tuple(Name(of.names[var]) for var in program.inputs[:4]),
        more_arguments=len(program.inputs) > 4,
        conventions=tuple(kinks),
        edges=tuple(of.edges()),
        gradient=gradient,
        means=tuple(
            dict.fromkeys(MEANS[line.primitive.name] for line in program.lines if line.primitive.name in MEANS)
        ),
    )


def _gradient(of: ArrayLines, args: Sequence[Any]) -> tuple[Equality, ...]:
    """Return the derivatives of the one number by each argument as numbers; none of several numbers."""
    (atom, *others) = of.program.outputs
    if not of.scalar_result or others or not isinstance(atom, Var) or atom.dtype.kind != "f":
        return ()
    linearization = Linearization.of_program(of.program, *args)
    seeds = {linearization.outputs[0]: np.ones(atom.shape, atom.dtype)[()]}
    bars = reverse(linearization, seeds)
    return tuple(
        (of.adjoint_of(var), Abridged(np.zeros(var.shape) if bar is None else bar))
        for var, bar in zip(of.program.inputs, bars, strict=True)
    )


def _why(program: Program, of: ArrayLines, scalars: int | None, variables: int) -> str:
    """Say why a function is explained array by array."""
    which, has, stand, they = "some of which", "have", "stand", "they are"
    if len(program.lines) == 1:
        which, has, stand, they = "which", "has", "stands", "it is"
    if any(line.held is not None for line in program.lines):
        return "; what stands inside of a line is explained once, below"
    if any(var.dtype.kind == "c" for var in of.names):
        return f", {which} {has} complex values, so each refers to those before it"
    if not program.lines:
        return f": it only moves its {counted(variables, 'variable')}"
    if scalars is None:
        return f", {which} {has} no scalar form, so {they} explained array by array"
    if all(var.shape == () for var in of.names):
        return ": too many to write every formula out, so each line refers to those before it"
    return (
        f", which {stand} for {counted(scalars, 'line')} of scalars"
        f"{f' on {variables:,} variables' if scalars <= MOST_LINES else ''}: "
        "too many to read, so they are taken together, array by array"
    )


class ArrayLines:
    """The lines of one Program, their tangents and their adjoints, as formulas of matrices.

    Of a body, `called` renames arguments, and `still` has the variables without a tangent.
    """

    def __init__(
        self,
        program: Program,
        algebra: Algebra,
        mode: str,
        called: Mapping[str, str] | None = None,
        still: frozenset[Var] = frozenset(),
        step: int | None = None,
    ) -> None:
        self.program, self.algebra, self.mode, self.still, self.step = program, algebra, mode, still, step
        self.zero: set[Var] = set()
        self.inner = LinesWithPrograms(self)
        names = {
            atom: (called or {}).get(name, name)
            for packing in program.arguments
            for name, atom in zip(packing.names, packing.atoms, strict=True)
            if isinstance(atom, Var)
        }
        self.names: dict[Var, str] = {var: names.get(var, sym.name) for var, sym in algebra.symbols.items()}
        self.rename = {sym: type(sym)(self.names[var], **sym.assumptions0) for var, sym in algebra.symbols.items()}
        self.scalars = frozenset(self.names[var] for var in self.names if var.size == 1)
        self.users: dict[Var, list[Line]] = {var: [] for var in self.names}
        for line in program.lines:
            if any(var.dtype.kind in "fc" for var in line.outputs):
                for var in dict.fromkeys(a for a in line.inputs if isinstance(a, Var)):
                    self.users[var].append(line)
        self.results: dict[Var, list[str]] = {}
        for p in program.results:
            for name, atom in zip(p.names, p.atoms, strict=True):
                if isinstance(atom, Var):
                    self.results.setdefault(atom, []).append(p.name if p.whole else name)
        of_one_number = sum(int(np.prod(p.shape, dtype=int)) for p in program.results) == 1
        self.scalar_result = of_one_number and called is None
        self.y = program.results[0].name
        self.is_body = called is not None
        self.targets = {} if self.is_body else targets(program, {*self.names.values(), *program_names(program)})

    def inside(
        self, program: Program, algebra: Algebra, called: Mapping[str, str], still: frozenset[Var]
    ) -> ArrayLines:
        """Return the lines of a body."""
        return ArrayLines(program, algebra, self.mode, called, still)

    def decisions(self) -> tuple[Decision, ...]:
        """Return what the Program decided on the way."""
        return tuple((self.atom(g.var), g.var.dtype.kind, g.value) for g in self.program.guards)

    def arguments(self) -> list[Definition]:
        """Return the whole arguments and the constants, which are defined by nothing."""
        rows = []
        for packing in self.program.arguments:
            if packing.whole:
                (var,) = packing.atoms
                results = tuple(map(Name, self.results.get(var, ())))  # type: ignore[arg-type]
                rows.append(Definition(self.atom(var), Words("given"), results, None, shape=Shape(var.shape)))
        for name, value in self.algebra.arrays.items():
            rows.append(Definition(Name(name), Words("constant"), (), None, shape=Shape(np.shape(value))))
        return rows

    def definitions(self) -> list[Definition]:
        """Return a definition for each line."""
        rows: list[Definition] = []
        for line in self.program.lines:
            rows += [self.definition(line)] if line.held is None else self.inner.definition(line)
        return rows

    def tangents(self) -> list[ArrayStep]:
        """Return the tangent of each line."""
        rows: list[ArrayStep] = []
        for line in self.program.lines:
            if line.held is not None:
                rows += self.inner.tangents(line)
            elif self.moves(line.outputs[0]):
                rows.append(self._tangent(line))
        return rows

    def adjoints(self) -> list[ArrayStep]:
        """Return the adjoint of each variable, the last first."""
        rows = [self._adjoint(var) for var in reversed(self.names) if self.moves(var) and not self.is_idle(var)]
        return [row for row in rows if row is not None]

    def edges(self) -> Iterator[ArrayEdge]:
        """Yield the edges into each line, with their local Jacobians."""
        for line in self.program.lines:
            for out in filter(self.moves, line.outputs):
                for k, atom in enumerate(line.inputs):
                    if self.moves(atom) and atom not in line.inputs[:k]:
                        formula, structure = self._local(line, k)
                        yield ArrayEdge(self.atom(out), self.atom(atom), formula, structure)

    def _local(self, line: Line, position: int) -> tuple[Matrix | None, str]:
        """Return the local Jacobian of a line with respect to an operand: a formula, and the name of its structure."""
        atom = line.inputs[position]
        assert isinstance(atom, Var)
        if line.held is not None:
            return Ratio(self.atom(line.outputs[0]), self.atom(atom)), line.held.heading()
        if line.primitive.elementwise:
            partial, shape = self._partial(line, atom), line.outputs[0].shape
            if shape and partial == 1:
                return None, "identity" if atom.shape == shape else "broadcast"
            written = self._expression(partial)
            return Call("diag", (written,)) if shape else written, ""
        if line.primitive is s.matmul:
            other = self.atom(line.inputs[1 - position])
            side = "right" if position == 0 else "left"
            return other, f"product from the {side}"
        rule = line.primitive.partial(position)
        values = [value_of(a, self.algebra.environment) for a in (line.outputs[0], *line.inputs)]
        jacobian = None if rule is None else rule(*values, **line.params)
        return None, "zero" if jacobian is None else _STRUCTURES.get(type(jacobian), line.primitive.name)

    def moves(self, atom: Atom) -> bool:
        """Return whether an operand has a tangent and an adjoint."""
        return isinstance(atom, Var) and atom.dtype.kind in "fc" and atom not in self.still

    # ---- Lines ----

    def definition(self, line: Line) -> Definition:
        """Return what a line computes."""
        var = line.outputs[0]
        names = [self.targets[var]] if var in self.targets else []
        results = tuple(map(Name, [*names, *self.results.get(var, ())]))
        is_number = var.shape == () and var.dtype.kind == "f" and not self.is_body  # a body has one value a step
        value = float(self.algebra.environment[var]) if is_number else None
        return Definition(self.atom(var), self._value(line), results, value, line.location, shape=Shape(var.shape))

    def _value(self, line: Line) -> Matrix:
        operands = [self.atom(a) for a in line.inputs]
        if rule_of(line) is OUTER:
            return Chain(tuple(operands))
        if line.primitive.elementwise:
            operator = in_order(line)
            if operator:
                a, b = operands
                return Operation(operator, a, b, self.scalars)
            return self._expression(self.algebra.definitions[line.outputs[0]])
        rule = rule_of(line)
        if rule is not None and rule.definition is not None:
            return rule.definition(operands, line.params)
        if line.primitive is s.matmul:
            return Beside(*operands)
        return self._call(line, operands)

    def _call(self, line: Line, operands: Sequence[Matrix]) -> Matrix:
        primitive, params = line.primitive, line.params
        if primitive is s.transpose and params["axes"] == (1, 0):
            return Transposed(operands[0])
        if primitive is s.getitem:
            return Indexed(operands[0], Index(params["index"], tuple(operands[1:])))
        if primitive is s.setitem:
            return Call("assign", (operands[1], operands[0]), (Index(params["index"], tuple(operands[2:])),))
        shapes = {"shape", "indices", "batch", "dtype"}
        extras = [
            f"{key}={_written(value)}"
            for key, value in params.items()
            if not (key in {"axis", *shapes} or value is None or value is False or _has_no_repr(value))
        ]
        if params.get("axis") is not None:
            ndim = len(line.outputs[0].shape) if primitive is s.stack else max(len(a.shape) for a in line.inputs)
            axis = params["axis"]
            axes = tuple(k % ndim for k in (axis if isinstance(axis, tuple) else (axis,)))
            if len(axes) < ndim or not isinstance(axis, tuple):
                extras.insert(0, f"axis={axes[0] if len(axes) == 1 else axes}")
        return Call(primitive.name, tuple(operands), tuple(extras))

    # ---- Forward ----

    def _tangent(self, line: Line) -> ArrayStep:
        var = line.outputs[0]
        primitive = line.primitive
        dots = [Tangent(self.atom(a)) if self.moves(a) else None for a in line.inputs]
        terms: list[Matrix] = []
        rule = rule_of(line)
        if rule is not None and any(dots):
            terms = [rule.tangent(self.atom(var), [self.atom(a) for a in line.inputs], dots, line.params)]
        elif any(dots) and (primitive in _MOVING or self._is_linear(line)):
            operands: list[Matrix] = [
                dot
                if dot is not None
                else ZERO
                if primitive in _JOINING and (k < 2 or primitive is not s.setitem)
                else self.atom(a)
                for k, (dot, a) in enumerate(zip(dots, line.inputs, strict=True))
            ]
            terms = [self._call(line, operands)]
        elif primitive is s.matmul:
            a, b = map(self.atom, line.inputs)
            terms = [Beside(dots[0], b)] if dots[0] is not None else []
            terms += [Beside(a, dots[1])] if dots[1] is not None else []
        else:
            for k, dot in enumerate(dots):
                if dot is None or line.inputs[k] in line.inputs[:k]:
                    continue
                terms += self._scaled(line, k, dot)
        return ArrayStep(Tangent(self.atom(var)), Added(tuple(terms)), Shape(var.shape))

    def _scaled(self, line: Line, position: int, operand: Matrix, reverse: bool = False) -> list[Matrix]:
        """Return the product of a local partial and a tangent or adjoint; nothing where it is zero."""
        atom = line.inputs[position]
        assert isinstance(atom, Var)
        if not line.primitive.elementwise:
            return [Beside(Ratio(self.atom(line.outputs[0]), self.atom(atom)), operand)]
        local = self.algebra.partial(line, atom)
        if local.of_conjugate is None:
            return self._product(self._partial(line, atom), line, operand)
        # not holomorphic: dz -> a dz + b conj(dz); an adjoint stands for dL = Re(z_bar dz)
        if line.outputs[0].dtype.kind == "f":
            terms = self._product(whole(2 * local.formula), line, operand)
            return terms if reverse else [Call("re", (term,)) for term in terms]
        terms = self._product(local.formula, line, operand)
        if reverse:
            return [*terms, *[Call("conj", (term,)) for term in self._product(local.of_conjugate, line, operand)]]
        return terms + self._product(local.of_conjugate, line, Call("conj", (operand,)))

    def _product(self, partial: Expr, line: Line, operand: Matrix) -> list[Matrix]:
        if partial == 0:
            return []
        by_scalar = all(self._is_scalar(sym) for sym in partial.free_symbols)
        return [Scaled(partial.xreplace(self.rename), operand, by_scalar, line.outputs[0].shape == (), self.scalars)]

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

    def is_idle(self, var: Var) -> bool:
        """Return whether nothing but a decision depends on a variable."""
        return not self.users[var] and var not in self.results and var not in self.program.inputs

    def _adjoint(self, var: Var) -> ArrayStep | None:
        terms: list[Matrix] = []
        if var in self.results:
            terms += [ONE] if self.scalar_result else [Adjoint(name) for name in self.results[var]]
        for line in self.users[var]:
            if self.zero.issuperset(line.outputs):
                continue
            if line.held is not None:
                terms += [
                    term for k, atom in enumerate(line.inputs) if atom is var for term in self.inner.pulled(line, k)
                ]
                continue
            pulled: list[Matrix] = []
            for k, atom in enumerate(line.inputs):
                # the partial of an elementwise line with a repeated operand is the sum over its places already
                if atom is var and not (line.primitive.elementwise and atom in line.inputs[:k]):
                    pulled += self._pulled(line, k)
            if var.dtype.kind != "c" and line.outputs[0].dtype.kind == "c":
                pulled = [Call("re", (term,)) for term in pulled]
            terms += pulled
        if not terms:  # its square is read, not itself
            self.zero.add(var)
            if var not in self.program.inputs:
                return None
        return ArrayStep(self.adjoint_of(var), Added(tuple(terms)), Shape(var.shape))

    def adjoint_of(self, var: Var) -> Matrix:
        """Return the name of a variable's adjoint."""
        return Ratio(Name(self.y), self.atom(var)) if self.scalar_result else Adjoint(self.names[var])

    def _pulled(self, line: Line, position: int) -> list[Matrix]:
        atom, out = line.inputs[position], line.outputs[0]
        assert isinstance(atom, Var)
        g = self.adjoint_of(out)
        matrix_rule = rule_of(line)
        if matrix_rule is not None:
            return [matrix_rule.adjoint(self.atom(out), [self.atom(a) for a in line.inputs], g, position, line.params)]
        if line.primitive.elementwise:
            return [_summed(term, atom.shape, out.shape) for term in self._scaled(line, position, g, reverse=True)]
        if line.primitive is s.matmul:
            other = self.atom(line.inputs[1 - position])
            ndims = len(line.inputs[0].shape), len(line.inputs[1].shape)
            if ndims == (1, 1):
                return [Beside(g, other)]
            if position == 0:
                return [Beside(other, g) if ndims[0] == 1 else Beside(g, Transposed(other))]
            if ndims[0] == 1:
                return [Beside(other, Transposed(g))]
            shape = (*out.shape[:-2], *atom.shape[-2:]) if ndims[1] > 1 else atom.shape
            return [_summed(Beside(Transposed(other), g), atom.shape, shape)]
        if line.primitive is s.setitem and position < 2:
            index = Index(line.params["index"], tuple(self.atom(a) for a in line.inputs[2:]))
            if position == 1:
                return [Call("assign", (g, ZERO), (index,))]
            indices = [value_of(a, self.algebra.environment) for a in line.inputs[2:]]
            chosen = np.empty(out.shape)[s.fill_index(line.params["index"], indices)].shape
            return [_summed(Indexed(g, index), atom.shape, chosen)]
        rule = line.primitive.partial(position)
        values = [self.algebra.environment[out], *[value_of(a, self.algebra.environment) for a in line.inputs]]
        jacobian = None if rule is None else rule(*values, **line.params)
        if jacobian is None:
            return []
        by_structure = self._by_structure(jacobian, g, line)
        if by_structure is None:
            return [Beside(Transposed(Ratio(self.atom(out), self.atom(atom))), g)]
        return [by_structure]

    def _by_structure(self, jacobian: LocalJacobian, g: Matrix, line: Line) -> Matrix | None:
        """Return what the transpose of a structure does to an adjoint; None if the structure says nothing."""
        if isinstance(jacobian, Reshape):
            return Call("reshape", (g,))
        if isinstance(jacobian, Permute):
            return Transposed(g) if len(jacobian.axes) == 2 else Call("transpose", (g,))
        if isinstance(jacobian, Sum):
            return Call("broadcast", (g,))
        if isinstance(jacobian, Select):
            if line.primitive is s.getitem:
                index = Index(line.params["index"], tuple(self.atom(a) for a in line.inputs[1:]))
            else:
                index = _index(jacobian.index, len(jacobian.in_shape))
            return Call("put", (g,), (index,))
        if isinstance(jacobian, TransposedMap) and isinstance(jacobian.of, Select):
            return Indexed(g, _index(jacobian.of.index, len(jacobian.of.in_shape)))
        if isinstance(jacobian, Diagonal) and type(jacobian.c) is int and jacobian.c == 1:
            return _summed(g, jacobian.in_shape, jacobian.out_shape)
        if isinstance(jacobian, Composed) and line.primitive in (s.max_, s.min_):
            return Where(Call("broadcast", (g,)), self.atom(line.inputs[0]), self.atom(line.outputs[0]))
        return None

    # ---- Names ----

    def atom(self, atom: Atom) -> Matrix:
        """Return an operand as a formula."""
        if isinstance(atom, Var):
            return Name(self.names[atom])
        return self._expression(self.algebra.atom(atom)) if isinstance(atom, Constant) else Digits(str(atom))

    def partial_of(self, line: Line, var: Var) -> tuple[Matrix, Any]:
        """Return the local partial of an elementwise line as a formula, and its value."""
        partial = self.algebra.partial(line, var)
        return self._expression(partial.formula), partial.value

    def _expression(self, expression: Expr) -> Expression:
        return Expression(expression.xreplace(self.rename), self.scalars)


def _summed(term: Matrix, in_shape: tuple[int, ...], out_shape: tuple[int, ...]) -> Matrix:
    """Sum over the axes along which the operand was broadcast."""
    if in_shape == out_shape:
        return term
    extra = len(out_shape) - len(in_shape)
    axes = [*range(extra), *[extra + k for k, size in enumerate(in_shape) if size != out_shape[extra + k]]]
    extras = [] if len(axes) == len(out_shape) else [f"axis={axes[0] if len(axes) == 1 else tuple(axes)}"]
    if in_shape and not extra:
        extras.append("keepdims=True")
    summed = Call("sum", (term,), tuple(extras))
    return Call("reshape", (summed,)) if extra and 1 in in_shape else summed


def _written(value: Any) -> str:
    """Write a parameter."""
    return str(getattr(value, "name", "")) or readable(str(value))


def _has_no_repr(value: Any) -> bool:
    return " object at 0x" in repr(value)  # it says where the object lies in memory


def _index(index: Any, ndim: int) -> Index:
    items = index if isinstance(index, tuple) else (index,)
    if items and items[0] is Ellipsis and len(items) == ndim + 1:
        items = items[1:]
    return Index(items)
