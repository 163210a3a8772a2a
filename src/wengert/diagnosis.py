"""Diagnosis: where a NaN or an infinity comes from, in a function or in its derivative.

The search goes through the list in order, to the first line with finite operands and a result that is not finite.  If
all values are finite, it accumulates the derivative outside-in, edge by edge, to the first local partial that is not
finite, or product of partials; a branch that is not taken contributes nothing.

>>> import numpy as np, wengert as wg
>>> print(wg.why_nan(lambda x: np.sqrt(x[0]) * x[1])(np.array([0.0, 1.0])).summary)
the derivative of sqrt is inf where its operand is 0.0
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wengert.accumulation.masks import Mask, both, chosen, either, only, pulled, summed
from wengert.accumulation.sweeps import is_finite, reverse
from wengert.api import linearize_all, trace_at
from wengert.arguments import ArgnumsLike
from wengert.control.backward import ReverseSweep
from wengert.control.branch import Branches
from wengert.control.execution import Adjoints, run_of
from wengert.control.holding import Holding
from wengert.control.loop import Loop
from wengert.display import code, paragraph
from wengert.errors import Location
from wengert.jacobians import Diagonal, pull_diagonal, scale
from wengert.linearization import Linearization, by_position, edges_by_operand
from wengert.program import Line, Program, evaluate_all, value_of
from wengert.tracing import IGNORING, USUAL, current_context, outputs_of, results_of, under, watch
from wengert.transformations import P, Transformed


@dataclass(frozen=True)
class Origin:
    """The origin of the first value that is not finite; falsy if every value is finite.  Prints as a few lines.

    Attributes
    ----------
    summary
        The origin in one sentence.
    where
        ``"arguments"``, ``"function"``, ``"derivative"`` or ``"nowhere"``.
    line
        The line of the Wengert list, as it is printed.
    primitive
        The name of its primitive.
    operands
        The values of its operands at the first element concerned.
    value
        The value that is not finite.
    location
        The place in the user's code.
    """

    summary: str
    where: str = "nowhere"
    line: str = ""
    primitive: str = ""
    operands: tuple[float, ...] = ()
    value: float = 0.0
    location: Location | None = None

    def __bool__(self) -> bool:
        return self.where != "nowhere"

    @property
    def _sentence(self) -> str:
        return f"{self.summary}, in the line {self.line}" if self.line else f"{self.summary}."

    def __str__(self) -> str:
        return self._sentence if self.location is None else f"{self._sentence}\n{self.location.excerpt()}"

    def _repr_html_(self) -> str:
        excerpt = [] if self.location is None else [code(self.location.excerpt())]
        return "\n".join([paragraph(self._sentence), *excerpt])


def why_nan(f: Callable[P, Any], argnums: ArgnumsLike = None) -> Transformed[P, Origin]:
    """Return a function that finds where the first NaN or infinity enters `f`, or its derivative, at a point.

    Parameters
    ----------
    f
        A function of real numbers or arrays.
    argnums
        The positions of the independent variables; None for every argument that is a real number or array.

    Returns
    -------
    callable
        Takes the arguments of `f`; returns an `Origin`, which is falsy if every value and derivative is finite.

    Examples
    --------
    >>> import numpy as np, wengert as wg
    >>> origin = wg.why_nan(lambda x: np.sum(np.log(x - 1.0)))(np.array([3.0, 1.0]))
    >>> print(origin.summary)
    log is -inf where its operand is 0.0
    >>> origin.where, origin.operands
    ('function', (0.0,))
    >>> bool(wg.why_nan(np.exp)(1.0))
    False
    """

    def find(args: Any, kwargs: Any) -> Origin:
        if under(USUAL, watch, _is_finite, f, args, kwargs, argnums):
            return Origin("every value and derivative is finite")
        return watch(under, IGNORING, search, args, kwargs)  # type: ignore[no-any-return]

    def search(args: Any, kwargs: Any) -> Origin:
        program, point = trace_at(f, args, kwargs, argnums)
        return _in_arguments(program, point) or _in_function(program, point) or _in_derivative(program, point)

    return Transformed(why_nan, f, find, argnums=argnums)


def _is_finite(f: Callable[..., Any], args: Any, kwargs: Any, argnums: ArgnumsLike) -> bool:
    """Return whether one run of the function and one sweep meet finite numbers only; False for a loop, to look into."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        linearization = linearize_all(f, args, kwargs, argnums)
        values = [y for row in linearization.rows for _, y in results_of(row)]
        if any(row[0].multiple for row in linearization.rows) or not is_finite([*linearization.inputs, *values]):
            return False
        ones = [np.ones(y.shape, y.dtype) for y in linearization.values]
        bars = reverse(linearization, by_position(linearization.outputs, ones))
        return not current_context().alarms and is_finite(bars)


def _first(value: Any) -> tuple[int, ...] | None:
    """Return the index of the first element that is not finite."""
    bad = ~np.isfinite(np.asarray(value))
    return tuple(int(k) for k in np.argwhere(bad)[0]) if bad.any() else None


def _in_arguments(program: Program, point: list[Any]) -> Origin:
    for argument, value in zip(program.arguments, point, strict=True):
        index = _first(value)
        if index is not None:
            element = np.asarray(value)[index]
            name = f"{argument.name}[{', '.join(map(str, index))}]" if index else argument.name
            return Origin(f"the argument {name} is {element} already", "arguments", value=float(element.real))
    return Origin("every value and derivative is finite")


def _in_function(program: Program, point: list[Any]) -> Origin:
    environment = evaluate_all(program, *point)
    for line in program.lines:
        if isinstance(line.held, Holding):
            run = run_of(line.held, [value_of(a, environment) for a in line.inputs])
            for title, inner, values in run.programs():
                origin = _in_function(inner, list(values))
                if origin:
                    return _inside(title, origin)
        for var in line.outputs:
            index = _first(environment[var])
            if index is None:
                continue
            operands = [value_of(a, environment) for a in line.inputs]
            constant = next((o for o in operands if _first(o) is not None), None)
            if constant is not None:
                element = np.asarray(constant)[_first(constant)]
                text = f"{line.primitive.name} has a constant operand with an element that is {element}"
                return _origin(text, "function", line, (), element)
            element = np.asarray(environment[var])[index]
            elements = _operands_at(operands, index, np.shape(environment[var]))
            return _origin(
                f"{line.primitive.name} is {element} where {_described(elements)}", "function", line, elements, element
            )
    return Origin("every value and derivative is finite")


def _inside(title: str, origin: Origin) -> Origin:
    """Return an origin with the step of the loop, or the branch, in which it was found."""
    return dataclasses.replace(origin, summary=f"{title}, {origin.summary}")


def _in_derivative(program: Program, point: list[Any]) -> Origin:
    linearization = Linearization.of_program(program, *point)
    ones = [np.ones(np.shape(value))[()] for value in linearization.values]
    return _backward(program, linearization, by_position(linearization.outputs, ones))


def _backward(program: Program, linearization: Linearization, bars: dict[int, Any]) -> Origin:
    """Accumulate outside-in, edge by edge; leave the adjoints of the independent variables in `bars`."""
    lines = {p: line for row, line in zip(linearization.rows, program.lines, strict=True) for p in outputs_of(row)}
    masks: dict[int, Mask | None] = {}
    for row in reversed(linearization.rows):
        adjoints = {position: bars.pop(position) for position in outputs_of(row) if position in bars}
        if not adjoints:
            continue
        kept = row[2]
        held = row[3].get("held") if row[0].multiple else None
        if isinstance(held, (Loop, Branches)):
            origin = _in_steps(held, kept[1:], [adjoints.get(position) for position in outputs_of(row)])
            if origin:
                return origin
        for k, out, J in edges_by_operand(row):
            if out not in adjoints:
                continue
            parent, g, mask = row[1][k], adjoints[out], masks.get(out)
            if isinstance(J, Diagonal) and row[0].elementwise:
                mask = both(mask, chosen(row, k))
                full = only(mask, scale(J.c, g))
                part = pull_diagonal(1, full, J.in_shape, 0)
                mask = summed(mask, J.in_shape, J.out_shape)
            else:
                mask = pulled(J, mask)
                full = part = only(mask, J.pull(g))
            index = _first(full)
            if index is not None:
                element = np.asarray(full)[index]
                shape = np.shape(full)
                elementwise = isinstance(J, Diagonal)
                elements = _operands_at(kept[1:], index, shape) if elementwise else ()
                c = np.broadcast_to(np.asarray(J.c), shape)[index] if isinstance(J, Diagonal) else element
                which = f" with respect to operand {k + 1}" if len(row[1]) > 1 else ""
                where = f" where {_described(elements)}" if elements else ""
                text = f"the derivative of {row[0].name}{which} is {c}{where}"
                return _origin(text, "derivative", lines[out], elements, c)
            masks[parent] = either(masks.get(parent), mask) if parent in bars else mask
            bars[parent] = bars[parent] + part if parent in bars else part
    return Origin("every value and derivative is finite")


def _in_steps(held: Loop | Branches, operands: Sequence[Any], bars: Sequence[Any]) -> Origin:
    """Accumulate outside-in through the steps of a loop (or the branch that is taken), edge by edge."""
    run = run_of(held, operands)
    programs = list(run.programs())
    adjoints = None
    if isinstance(held, Loop):
        able = tuple(np.asarray(x).dtype.kind in "fc" for x in operands)
        sweep = ReverseSweep.over(held, tuple(g is not None for g in bars), able)
        adjoints = Adjoints(held, sweep, bars, operands)
    for s, (title, program, values) in reversed(list(enumerate(programs))):
        linearization = Linearization.of_program(program, *values)
        place = held.index(s, len(programs)) if isinstance(held, Loop) else 0
        received = bars if adjoints is None else adjoints.received(place)
        seeds = by_position(linearization.outputs, received)
        origin = _backward(program, linearization, seeds)
        if origin:
            return _inside(title, origin)
        if adjoints is not None:
            adjoints.passed(place, [seeds.get(k) for k in range(len(values))])
    return Origin("every value and derivative is finite")


def _operands_at(operands: Any, index: tuple[int, ...], shape: tuple[int, ...]) -> tuple[float, ...]:
    """Return the elements of the operands that one element of the result depends on; none if they do not broadcast."""
    try:
        return tuple(np.broadcast_to(np.asarray(o), shape)[index].item() for o in operands)
    except ValueError:  # a sum, a product of matrices: the operand is not one number
        return ()


def _described(operands: tuple[float, ...]) -> str:
    if not operands:
        return "its operands are finite"
    if len(operands) == 1:
        return f"its operand is {operands[0]!r}"
    return f"its operands are {', '.join(map(repr, operands))}"


def _origin(text: str, where: str, line: Line, operands: tuple[float, ...], value: Any) -> Origin:
    number = float(np.real(value))
    return Origin(text, where, str(line), line.primitive.name, operands, number, line.location)
