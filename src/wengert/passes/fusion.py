"""Program -> a Program with fewer lines and the same bits: signs, doublings, views and rows go into what reads them.

A sum takes a change of sign of an operand, a constant factor a change of sign or the doubling of the other; a view of a
view is one view, and an array of rows of numbers is one array of numbers.  Each is exact for doubles: `jit` computes by
the Program what the plain function does, to the last bit.

>>> import numpy as np, wengert as wg
>>> program = wg.trace(lambda x, y: x + -(3.0 * (2.0 * y)), fold=False)(np.ones(2), np.ones(2))
>>> print(*fuse(program).lines, sep="\\n")
u_1 = -6 * u_0
u_2 = u_{-1} + u_1
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from wengert.jacobians.products import index_of_index
from wengert.passes.simplification import renumber
from wengert.primitives.numpy import elementwise as e
from wengert.primitives.numpy import structural as s
from wengert.program import Atom, Constant, Line, Primitive, Program, Var


def fuse(program: Program) -> Program:
    """Return a Program that computes the same bits by fewer lines."""
    return _Fusion(program).program()


class _Fusion:
    """One walk along the list.

    Attributes
    ----------
    made_by
        The line of each variable, as it has been rewritten.
    uses
        How often a variable is read.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self.lines: list[Line] = []
        self.made_by: dict[Atom, Line] = {}
        self.uses = Counter(atom for line in program.lines for atom in line.inputs)
        self.uses.update(program.outputs)
        self.uses.update(guard.var for guard in program.guards)

    def program(self) -> Program:
        """Return the rewritten Program, without the lines that nothing reads any more."""
        for line in self._program.lines:
            rewritten: Line | None = line
            while rewritten is not None:
                line = rewritten
                rewrite = _REWRITINGS.get(line.primitive)
                rewritten = None if rewrite is None else rewrite(self, line)
            self._append(line)
        return renumber(replace(self._program, lines=tuple(self.lines)))

    def _append(self, line: Line) -> None:
        self.lines.append(line)
        self.made_by.update((var, line) for var in line.outputs)

    def _inner(self, atom: Atom, primitive: Primitive, once: bool = False) -> Line | None:
        """Return the line that makes an operand if it is one of a primitive, and read `once`."""
        line = self.made_by.get(atom)
        return line if line is not None and line.primitive is primitive and not (once and self.uses[atom] > 1) else None

    def _negated(self, atom: Atom) -> Atom | None:
        """Return what an operand is the negative of."""
        line = self._inner(atom, e.negative)
        return None if line is None else line.inputs[0]

    def _product(self, atom: Atom, once: bool = False) -> tuple[Any, Var] | None:
        """Return the constant and the other factor of a product."""
        line = self._inner(atom, e.multiply, once)
        return None if line is None else _factors(line)

    # -- Signs and doublings --

    def sum(self, line: Line) -> Line | None:
        """x + -y -> x - y."""
        for k, atom in enumerate(line.inputs):
            inner = self._negated(atom) if _is_double(line) else None
            if inner is not None:
                return replace(line, primitive=e.subtract, inputs=(line.inputs[1 - k], inner))
        return None

    def difference(self, line: Line) -> Line | None:
        """x - -y -> x + y."""
        inner = self._negated(line.inputs[1]) if _is_double(line) else None
        return None if inner is None else replace(line, primitive=e.add, inputs=(line.inputs[0], inner))

    def negative(self, line: Line) -> Line | None:
        """-(c * x) -> -c * x."""
        product = self._product(line.inputs[0], once=True) if _is_double(line) else None
        if product is None:
            return None
        return replace(line, primitive=e.multiply, inputs=(Constant(_minus(product[0])), product[1]))

    def product(self, line: Line) -> Line | None:
        """c * -x -> -c * x;  c * (2 * x) -> 2c * x;  (c * x) * -y -> (-c * x) * y;  -x * -y -> x * y."""
        if not _is_double(line):
            return None
        factors = _factors(line)
        if factors is not None:
            constant, factor = factors
            inner = self._negated(factor)
            if inner is not None:
                return replace(line, inputs=(Constant(_minus(constant)), inner))
            product = self._product(factor)
            if product is not None and _doubles(product[0], constant):
                return replace(line, inputs=(Constant(_value(constant * product[0])), product[1]))
            return None
        for k, atom in enumerate(line.inputs):
            other, inner = line.inputs[1 - k], self._negated(atom)
            if inner is not None:
                both = self._negated(other)
                if both is not None:
                    return replace(line, inputs=(inner, both))
                product = self._product(other, once=True)
                if product is not None and isinstance(other, Var):
                    changed = Var(0, other.shape, other.dtype)
                    self._append(Line(e.multiply, (Constant(_minus(product[0])), product[1]), (changed,)))
                    return replace(line, inputs=(changed, inner))
        return None

    # -- Views and rows --

    def view(self, line: Line) -> Line | None:
        """x[i][j] -> x[ij]."""
        inner = self._inner(line.inputs[0], s.getitem) if len(line.inputs) == 1 else None
        if inner is None or len(inner.inputs) != 1 or not isinstance(inner.inputs[0], Var):
            return None
        index = composed(inner.params["index"], inner.inputs[0].shape, line.params["index"])
        return None if index is None else replace(line, inputs=inner.inputs, params={"index": index})

    def rows(self, line: Line) -> Line | None:
        """stack(stack(a, b), stack(c, d)) -> stack(a, b, c, d).reshape(2, 2)."""
        (out,) = line.outputs
        if not _is_double(line) or len(out.shape) != 2 or line.params["axis"] != -2 or out in self._program.outputs:
            return None
        numbers: list[Atom] = []
        for row in line.inputs:
            if isinstance(row, Constant):
                numbers += [Constant(number) for number in np.asarray(row.value).tolist()]
                continue
            stack = self._inner(row, s.stack, once=True)
            if stack is None or not all(map(_is_number, stack.inputs)):
                return None
            numbers += stack.inputs
        flat = Var(0, (len(numbers),), out.dtype)
        self._append(Line(s.stack, tuple(numbers), (flat,), {"axis": -1}))
        return Line(s.reshape, (flat,), line.outputs, {"shape": out.shape}, line.place)


_REWRITINGS: Mapping[Primitive, Callable[[_Fusion, Line], Line | None]] = {
    e.add: _Fusion.sum,
    e.subtract: _Fusion.difference,
    e.negative: _Fusion.negative,
    e.multiply: _Fusion.product,
    s.getitem: _Fusion.view,
    s.stack: _Fusion.rows,
}


def _is_double(line: Line) -> bool:
    return line.outputs[0].dtype == float and all(
        atom.dtype == float if isinstance(atom, Var) else _is_real(atom.value) for atom in line.inputs
    )


def _is_real(value: Any) -> bool:
    """Return whether a constant is a number or array whose values doubles hold."""
    if type(value) is int:
        return abs(value) <= 1 << 53
    return type(value) in (float, np.float64) or (type(value) is np.ndarray and value.dtype == float)


def _is_number(atom: Atom) -> bool:
    if isinstance(atom, Var):
        return not atom.shape and atom.dtype == float
    return type(atom.value) in (int, float, np.float64)


def _factors(line: Line) -> tuple[Any, Var] | None:
    """Return the constant factor of a product and the other one, if one is constant."""
    for k, atom in enumerate(line.inputs):
        other = line.inputs[1 - k]
        if isinstance(atom, Constant) and isinstance(other, Var) and _is_real(atom.value):
            return atom.value, other
    return None


def _minus(value: Any) -> Any:
    return -float(value) if type(value) is int else -value  # which of 0 is -0.0


def _value(value: Any) -> Any:
    return float(value) if isinstance(value, (int, np.float64)) else value


def _doubles(inner: Any, outer: Any) -> bool:
    """Return whether two constant factors can be multiplied first: the inner doubles, the outer makes nothing smaller.

    Doubling is exact unless it overflows; where it does, so does the product with both.
    """
    if np.ndim(inner) or not (abs(inner) >= 1.0 and math.isfinite(inner) and math.frexp(inner)[0] in (0.5, -0.5)):
        return False
    return bool(
        np.all(np.abs(outer) >= 1.0)
        and np.all(np.isfinite(outer))
        and np.max(np.abs(outer), initial=0.0) <= 1e300 / abs(inner)
    )


# ---- Views of views ----

_FULL = slice(None)


def composed(inner: tuple[Any, ...], shape: tuple[int, ...], outer: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """Return the index that does at once what two do in turn, to an array of a shape; None if none is simple.

    >>> composed((Ellipsis, 1), (4, 3, 2), (0,)), composed((slice(1, 3),), (4, 3), (1, 2))
    ((0, Ellipsis, 1), (2, 2))
    """
    index = index_of_index(outer, inner, shape)
    if index is None:
        return None
    items = [_in_short(item, n) if isinstance(item, slice) else item for item, n in zip(index, shape, strict=True)]
    start = next((k for k, item in enumerate(items) if item == _FULL), len(items))
    stop = start
    while stop < len(items) and items[stop] == _FULL:
        stop += 1
    return (
        (*items[:start], Ellipsis, *items[stop:])
        if stop < len(items) and stop > start
        else tuple(items[: start or None])
    )


def _in_short(part: slice, n: int) -> slice:
    """Return a slice of an axis without the bounds and the step that a slice has anyway."""
    step = part.step or 1
    if step < 0:
        return part
    return slice(part.start or None, None if part.stop == n else part.stop, None if step == 1 else step)
