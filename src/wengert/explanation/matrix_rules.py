"""Functions of matrices as textbooks write their derivatives: ``-A^{-T} g A^{-T}`` for the adjoint of an inverse.

A rule is how the line itself is written, its tangent, and the adjoint that it gives an operand.  Rows without one keep
their local Jacobian by name, ``(∂u_1/∂A)^T ∂y/∂u_1``.  Each is held to the numbers of the row in the tests.

>>> from wengert.explanation.matrices import Name
>>> from wengert.explanation.notation import TEXT
>>> RULES["inv"].adjoint(Name("y"), (Name("A"),), Name("g"), 0, {}).write(TEXT)
'-A^{-T} g A^{-T}'
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from wengert.explanation.matrices import (
    ZERO,
    Added,
    Call,
    Chain,
    Grouped,
    Hadamard,
    Index,
    Indexed,
    Inverse,
    Matrix,
    Norm,
    Over,
    Transposed,
)
from wengert.primitives.numpy.elementwise import multiply
from wengert.primitives.table import PRIMITIVES
from wengert.program import Line

Operands = Sequence[Matrix]
Tangents = Sequence[Matrix | None]
Params = Mapping[str, Any]


class MatrixRule(NamedTuple):
    """How the line ``y = f(operands)`` of matrices is written, with its derivatives.

    `tangent` takes y, the operands, their tangents (None for a constant) and the parameters of the line; `adjoint`
    takes y, the operands, the adjoint of y, the position of an operand and the parameters.
    """

    definition: Callable[[Operands, Params], Matrix] | None
    tangent: Callable[[Matrix, Operands, Tangents, Params], Matrix]
    adjoint: Callable[[Matrix, Operands, Matrix, int, Params], Matrix]


def rule_of(line: Line) -> MatrixRule | None:
    """Return the rule of a line of vectors or of matrices; None for stacks of matrices, and where there is none."""
    name, y = line.primitive.name, line.outputs[0]
    shapes = [atom.shape for atom in line.inputs]
    if line.primitive is multiply and len(shapes[0]) == len(shapes[1]) == 2 and _is_outer(*shapes):
        return OUTER
    rule = RULES.get(name)
    if rule is None or PRIMITIVES.get(name) is not line.primitive or max(map(len, (*shapes, y.shape))) > 2:
        return None
    whole = y.size == 1 or bool(line.params.get("keepdims"))
    return rule if whole or name not in REDUCING else None


def _is_outer(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return a[1] == b[0] == 1 != a[0] != b[1] != 1


def _negated(*factors: Matrix) -> Chain:
    return Chain(factors, negative=True)


def _triangle(params: Params) -> str:
    return "tril" if params["lower"] else "triu"


# ---- Tangents ----


def _solve_tangent(y: Matrix, operands: Operands, dots: Tangents, _: Params) -> Matrix:
    (A, _b), (dA, db) = operands, dots
    if dA is None:
        assert db is not None
        return Chain((Inverse(A), db))
    if db is None:
        return _negated(Inverse(A), dA, y)
    return Chain((Inverse(A), Grouped(Added((db, _negated(dA, y))))))


def _logsumexp_tangent(y: Matrix, x: Operands, dots: Tangents, params: Params) -> Matrix:
    axes = params["axis"]
    extras = (f"axis={axes[0] if len(axes) == 1 else axes}", "keepdims=True") if params["keepdims"] else ()
    return Call("sum", (Hadamard(Call("exp", (Added((x[0], _negated(y))),)), _first(dots)),), extras)


def _cholesky_tangent(L: Matrix, _: Operands, dots: Tangents, params: Params) -> Matrix:
    (dS,) = dots
    assert dS is not None
    if params["upper"]:
        return Chain((Call("Φ", (Chain((Inverse(L, True), dS, Inverse(L))),)), L))
    return Chain((L, Call("Φ", (Chain((Inverse(L), dS, Inverse(L, True))),))))


# ---- Adjoints ----


def _solve_adjoint(y: Matrix, operands: Operands, g: Matrix, position: int, _: Params) -> Matrix:
    A = operands[0]
    return Chain((Inverse(A, True), g)) if position else _negated(Inverse(A, True), g, Transposed(y))


def _triangular_adjoint(y: Matrix, operands: Operands, g: Matrix, position: int, params: Params) -> Matrix:
    adjoint = _solve_adjoint(y, operands, g, position, params)
    if position:
        return adjoint
    return Call(_triangle(params), (adjoint,))


def _norm_adjoint(y: Matrix, operands: Operands, g: Matrix, _position: int, _params: Params) -> Matrix:
    return Chain((g, Over(operands[0], y)))


def _logsumexp_adjoint(y: Matrix, operands: Operands, g: Matrix, _position: int, _params: Params) -> Matrix:
    return Hadamard(g, Call("exp", (Added((operands[0], _negated(y))),)))


def _first(x: Tangents) -> Matrix:
    assert x[0] is not None
    return x[0]


RULES: dict[str, MatrixRule] = {
    "inv": MatrixRule(
        lambda x, _: Inverse(x[0]),
        lambda y, _x, dx, _: _negated(y, _first(dx), y),
        lambda _y, x, g, _k, _: _negated(Inverse(x[0], True), g, Inverse(x[0], True)),
    ),
    "solve": MatrixRule(lambda x, _: Chain((Inverse(x[0]), x[1])), _solve_tangent, _solve_adjoint),
    "solve_triangular": MatrixRule(lambda x, _: Chain((Inverse(x[0]), x[1])), _solve_tangent, _triangular_adjoint),
    "det": MatrixRule(
        lambda x, _: Call("det", (x[0],)),
        lambda y, x, dx, _: Chain((y, Call("tr", (Chain((Inverse(x[0]), _first(dx))),)))),
        lambda y, x, g, _k, _: Chain((g, y, Inverse(x[0], True))),
    ),
    "slogdet": MatrixRule(
        None,
        lambda _y, x, dx, _: Call("stack", (ZERO, Call("tr", (Chain((Inverse(x[0]), _first(dx))),)))),
        lambda _y, x, g, _k, _: Chain((Indexed(g, Index((1,))), Inverse(x[0], True))),
    ),
    "norm": MatrixRule(
        lambda x, _: Norm(x[0]),
        lambda y, x, dx, _: Over(Call("sum", (Hadamard(x[0], _first(dx)),)), y),
        _norm_adjoint,
    ),
    "logsumexp": MatrixRule(None, _logsumexp_tangent, _logsumexp_adjoint),
    "cholesky": MatrixRule(
        lambda x, params: Call("cholesky", (x[0],), ("upper=True",) if params["upper"] else ()),
        _cholesky_tangent,
        lambda L, _x, g, _k, params: Call(
            "fold",
            (
                Chain(
                    (Inverse(L), Call("Φ", (Chain((g, Transposed(L))),)), Inverse(L, True))
                    if params["upper"]
                    else (Inverse(L, True), Call("Φ", (Chain((Transposed(L), g)),)), Inverse(L))
                ),
            ),
        ),
    ),
    "diagonal": MatrixRule(
        lambda x, _: Call("diag", (x[0],)),
        lambda _y, _x, dx, _: Call("diag", (_first(dx),)),
        lambda _y, _x, g, _k, _: Call("diag", (g,)),
    ),
    "prod": MatrixRule(
        None,
        lambda y, x, dx, _: Chain((y, Call("sum", (Over(_first(dx), x[0]),)))),
        lambda y, x, g, _k, _: Chain((g, Over(y, x[0]))),
    ),
}
"""The rules by the names of rows."""

REDUCING = frozenset({"norm", "logsumexp", "prod"})
"""Rows whose rules are for one number, or for axes that are kept."""

OUTER = MatrixRule(
    lambda x, _: Chain((x[0], x[1])),
    lambda _y, x, dx, _: Added(
        (
            *([] if dx[0] is None else [Chain((dx[0], x[1]))]),
            *([] if dx[1] is None else [Chain((x[0], dx[1]))]),
        )
    ),
    lambda _y, x, g, k, _: Chain((Transposed(x[0]), g)) if k else Chain((g, Transposed(x[1]))),
)
"""A column by a row: the product of every pair of elements."""

MEANS: dict[str, str] = {
    "cholesky": "`Φ` takes the triangle that is read and halves its diagonal; `fold(P)` adds the other triangle of `P` "
    "to it, since NumPy reads one triangle alone.",
}
"""What the signs of a rule mean, by the name of its row."""
