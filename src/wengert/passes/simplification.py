"""Program -> an equivalent Program with fewer lines: derivatives are simplified before they are read or counted.

In one walk along the list, each line is rewritten by small rules (the algebra stands beside each), equal lines are
merged (common subexpressions), and lines that nothing depends on are dropped.  Values do not change, except that a
product with a structural zero is zero even if the other factor is infinite.

>>> import numpy as np, wengert as wg
>>> program = wg.trace(wg.grad(lambda x: 3.0 * x * x))(2.0)
>>> len(program.lines), len(simplify(program).lines)
(5, 2)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from wengert.primitives.numpy import elementwise as e
from wengert.primitives.numpy import structural as s
from wengert.program import Atom, Constant, Guard, Line, Packing, Program, Var
from wengert.program.dataflow import live_lines, substitute
from wengert.program.structure import exactly

_COMMUTE = frozenset({e.add, e.multiply, e.maximum, e.minimum})


def simplify(program: Program, exact: bool = False) -> Program:  # noqa: C901 - one pass for all rewritings, so that it takes linear time
    """Return a Program that computes the same with fewer lines.

    With `exact`, the values stay the same to the last bit, finite or not: a product with a structural zero is kept, and
    so is a sum that turns -0.0 into 0.0.

    >>> import wengert as wg
    >>> program = wg.trace(lambda x: 0.0 * x + 1.0 * x)(2.0)
    >>> len(simplify(program).lines), len(simplify(program, exact=True).lines)
    (0, 2)
    """
    renamed: dict[Var, Atom] = {}
    seen: dict[Any, Var] = {}
    several: dict[Any, tuple[Var, ...]] = {}
    negated: dict[Var, Atom] = {}
    spread: dict[Var, Atom] = {}
    lines: list[Line] = []
    for line in program.lines:
        inputs = tuple(renamed.get(a, a) if isinstance(a, Var) else a for a in line.inputs)
        if spread and line.primitive.elementwise and len(inputs) == 2:
            inputs = _without_spreading(line, inputs, spread)
        if line.primitive is s.put and not all(atom.size for atom in inputs):
            line, inputs = _without_empty_pieces(line, inputs)
        if line.primitive.multiple:
            key = (*_key(line, inputs), len(line.outputs))
            if key in several:
                renamed.update(zip(line.outputs, several[key], strict=True))
            else:
                several[key] = line.outputs
                lines.append(Line(line.primitive, inputs, line.outputs, line.params, line.place))
            continue
        atom = _rewrite(line, inputs, negated, exact)
        if atom is None:
            key = _key(line, inputs)
            if key is not None and key in seen:
                atom = seen[key]
        if atom is not None:
            renamed[line.outputs[0]] = atom
            continue
        if key is not None:
            seen[key] = line.outputs[0]
        if line.primitive is e.negative:
            negated[line.outputs[0]] = inputs[0]
        elif line.primitive is s.broadcast_to:
            spread[line.outputs[0]] = inputs[0]
        lines.append(Line(line.primitive, inputs, line.outputs, line.params, line.place))

    def follow(atom: Atom) -> Atom:
        return renamed.get(atom, atom) if isinstance(atom, Var) else atom

    results = tuple(Packing(r.name, r.shape, r.dtype, tuple(follow(a) for a in r.atoms)) for r in program.results)
    guards: dict[tuple[Var, type], Guard] = {}
    for guard in program.guards:
        var = follow(guard.var)
        if isinstance(var, Var):
            guards.setdefault((var, type(guard.value)), Guard(var, guard.value, guard.place))
    return renumber(replace(program, lines=tuple(lines), results=results, guards=tuple(guards.values())))


def _scalar(atom: Atom) -> float | None:
    """Return the value of a constant all of whose elements are the same number."""
    if isinstance(atom, Var):
        return None
    value = np.asarray(atom.value)
    if value.size == 0 or value.dtype.kind not in "biuf":
        return None
    first = value.flat[0]
    return float(first) if value.ndim == 0 or bool((value == first).all()) else None


def _rewrite(  # noqa: C901 - an identity of algebra after the other
    line: Line, inputs: tuple[Atom, ...], negated: Mapping[Var, Atom], exact: bool
) -> Atom | None:
    """Return the atom that a line is equal to, if one is available."""
    (out,) = line.outputs
    primitive = line.primitive
    constants = [_scalar(a) for a in inputs]

    def same(atom: Atom) -> Atom | None:
        # an operand that was broadcast or converted is not the result
        return atom if isinstance(atom, Var) and atom.shape == out.shape and atom.dtype == out.dtype else None

    if primitive is e.multiply:
        for k, c in enumerate(constants):
            if c == 1.0:  # x * 1 -> x
                return same(inputs[1 - k])
            if c == 0.0 and not exact:  # x * 0 -> 0
                return _constant(0.0, out)
    elif primitive is e.divide:
        if constants[1] == 1.0:  # x / 1 -> x
            return same(inputs[0])
        if constants[0] == 0.0 and not exact:  # 0 / x -> 0
            return _constant(0.0, out)
    elif primitive is e.add:
        for k, c in enumerate(constants):
            if c == 0.0 and (not exact or _is_minus_zero(inputs[k])):  # x + 0 -> x
                return same(inputs[1 - k])
    elif primitive is e.subtract:
        if constants[1] == 0.0 and (not exact or _is_plus_zero(inputs[1])):  # x - 0 -> x
            return same(inputs[0])
    elif primitive is e.power:
        if constants[1] == 1.0:  # x ** 1 -> x
            return same(inputs[0])
        if constants[1] == 0.0:  # x ** 0 -> 1
            return _constant(1.0, out)
    elif primitive is e.negative:
        inner = negated.get(inputs[0]) if isinstance(inputs[0], Var) else None
        if inner is not None:  # -(-x) -> x
            return same(inner)
    elif (
        primitive is e.positive
        or primitive in (s.reshape, s.broadcast_to)
        or (primitive is s.getitem and len(inputs) == 1 and _is_everything(line.params["index"]))
    ):
        return same(inputs[0])
    elif primitive is s.setitem and not inputs[0].size and len(inputs) == 2:  # nothing is written
        return same(inputs[1])
    if all(isinstance(a, Constant) for a in inputs) and inputs:
        # constants fold
        return Constant(primitive(*[a.value for a in inputs if isinstance(a, Constant)], **line.params))
    return _of_nothing(line) if not all(a.size for a in inputs) or not out.size else None


def _of_nothing(line: Line) -> Constant | None:
    """Return the result of a line that has no elements, or reads none: an empty sum is zero."""
    (out,) = line.outputs
    if not out.size:
        return Constant(np.empty(out.shape, out.dtype))
    if any(a.size for a in line.inputs):
        return None
    with np.errstate(all="ignore"):
        empty = [np.empty(a.shape, a.dtype) if isinstance(a, Var) else a.value for a in line.inputs]
        value = line.primitive(*empty, **line.params)
    return Constant(value) if np.isfinite(value).all() else None


def _is_everything(index: Any) -> bool:
    """Return whether an index takes all elements where it takes as many as there are: slices that do not turn round."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(type(part) is slice and (part.step is None or part.step > 0) for part in parts)


def _is_minus_zero(atom: Atom) -> bool:
    return isinstance(atom, Constant) and bool(np.all(np.signbit(np.asarray(atom.value, np.float64))))


def _is_plus_zero(atom: Atom) -> bool:
    return isinstance(atom, Constant) and not np.any(np.signbit(np.asarray(atom.value, np.float64)))


def _without_spreading(line: Line, inputs: tuple[Atom, ...], spread: Mapping[Var, Atom]) -> tuple[Atom, ...]:
    """Return operands without a broadcast that the other operand implies: x * broadcast_to(y) -> x * y."""
    (out,) = line.outputs
    for k, atom in enumerate(inputs):
        if isinstance(atom, Var) and atom in spread:
            inner, other = spread[atom], inputs[1 - k]
            if (
                isinstance(inner, Var)
                and isinstance(other, Var)
                and other.shape == out.shape
                and other.dtype == atom.dtype
            ):
                return (inner, other) if k == 0 else (other, inner)
    return inputs


def _without_empty_pieces(line: Line, inputs: tuple[Atom, ...]) -> tuple[Line, tuple[Atom, ...]]:
    """Return a line that puts pieces into an array, without those that have no elements, and its operands."""
    full = [k for k, atom in enumerate(inputs) if atom.size]
    if not full or line.params.get("batch", 0):
        return line, inputs
    indices = tuple([line.params["indices"][k] for k in full])
    pieces = tuple([inputs[k] for k in full])
    return replace(line, params={**line.params, "indices": indices}), pieces


def _constant(value: float, out: Var) -> Constant:
    return Constant(np.full(out.shape, value, out.dtype)[()])


def _key(line: Line, inputs: tuple[Atom, ...]) -> Any:
    """Return a key that is equal for lines that compute the same; None for a line that cannot be compared."""
    parts = [a if isinstance(a, Var) else ("constant", exactly(a.value)) for a in inputs]
    if line.primitive in _COMMUTE:
        parts.sort(key=lambda part: (isinstance(part, tuple), part.number if isinstance(part, Var) else 0))
    params = tuple((name, exactly(value)) for name, value in sorted(line.params.items()))
    try:
        key = (line.primitive, tuple(parts), params)
        hash(key)
    except TypeError:
        return None
    return key


def renumber(program: Program) -> Program:
    """Drop the lines that nothing depends on, and number the rest from 1."""
    live = replace(program, lines=tuple(live_lines(program)))
    return substitute(live, _numbers(live))


def numbered(program: Program) -> Program:
    """Number every variable by its place; the Program has a variable for each argument."""
    count = len(program.arguments)
    inputs = {old: Var(k - count, old.shape, old.dtype) for k, old in enumerate(program.inputs, 1)}
    return substitute(program, {**inputs, **_numbers(program)})


def _numbers(program: Program) -> dict[Var, Atom]:
    """Return for each result of a line a variable that is numbered by its place."""
    computed = [var for line in program.lines for var in line.outputs]
    return {var: Var(k, var.shape, var.dtype) for k, var in enumerate(computed, 1)}
