"""Linearization: a list of lines, and on every edge its local Jacobian.

`Linearization` holds the rows of a trace with the values that the rules read.  Its edges are made on demand: a rule
runs once for each edge that a sweep reaches, forward or reverse, and never for a constant operand.

>>> import numpy as np, wengert as wg
>>> print(wg.linearize(lambda x: x[0] * np.log(x[1]), np.array([2.0, 1.0]))[1].graph)
du_1/du_0 = 1.0
du_2/du_{-1} = 0.0
du_2/du_1 = 2.0
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from wengert.display import table
from wengert.errors import located
from wengert.jacobians import Diagonal, LocalJacobian
from wengert.program import (
    Constant,
    Guard,
    Line,
    Packing,
    Program,
    Recordable,
    Var,
    check_guard,
    evaluate_line,
    interpret,
    value_of,
)
from wengert.program.interpretation import values_of_inputs
from wengert.tracing import Row, Trace, current_context, results_of

Array = Any


class Linearization:
    """The linearized computational graph of a function at a point.

    Attributes
    ----------
    rows
        The rows of the trace, in order; see `wengert.tracing`.
    inputs
        The values of the independent variables, at positions ``0 ... n-1``.
    outputs
        The positions of the dependent variables (-1 for a constant).
    values
        The values of the dependent variables.
    size
        The number of positions.
    with_complex
        False if no value is complex, so that a sweep need not look.
    numbers_of_active
        The numbers of the active rows, where they are rows of this list as they are and that is known beforehand.
    last_uses
        For each row the positions that no later row reads and that are no results, if a forward sweep is to drop their
        tangents there; else None.
    origin
        If it was made of another one: that one, and the function of a module that has made it.
    """

    __slots__ = (
        "_active",
        "inputs",
        "last_uses",
        "numbers_of_active",
        "origin",
        "outputs",
        "rows",
        "size",
        "values",
        "with_complex",
    )

    def __init__(
        self,
        rows: Sequence[Row],
        inputs: Sequence[Any],
        outputs: Sequence[int],
        values: Sequence[Any],
        size: int,
        with_complex: bool = False,
    ) -> None:
        self.rows, self.inputs, self.outputs, self.values, self.size = rows, inputs, outputs, values, size
        self.with_complex = with_complex
        self.numbers_of_active: Sequence[int] | None = None
        self.last_uses: Sequence[Sequence[int]] | None = None
        self.origin: tuple[Linearization, Callable[[Linearization], Linearization]] | None = None
        self._active: Linearization | None = None

    def active(self) -> Linearization:
        """Return the linearized graph of the active rows alone (see `active_rows`); it is made once."""
        if self._active is None:
            numbers = self.numbers_of_active
            rows = active_rows(self) if numbers is None else [self.rows[k] for k in numbers]
            self._active = Linearization(rows, self.inputs, self.outputs, self.values, self.size, self.with_complex)
        return self._active

    def __getstate__(self) -> tuple[Any, ...]:
        rows = [
            (primitive, parents, kept, {k: v for k, v in params.items() if k != "run"}, located(place), out)
            for primitive, parents, kept, params, place, out in self.rows
        ]
        return rows, self.inputs, self.outputs, self.values, self.size, self.with_complex

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    @classmethod
    def of_trace(cls, trace: Trace) -> Linearization:
        """Linearize a trace at the values that it recorded."""
        outputs: list[int] = []
        values: list[Any] = []
        for group in trace.results:
            for part in group.parts:
                position = trace.position(part)
                outputs.append(position)
                values.append(trace.value(part))
        inputs = [part._value for group in trace.arguments for part in group.parts]
        return cls(trace.tape.rows, inputs, outputs, values, trace.tape.size, trace.tape.with_complex)

    @classmethod
    def of_program(cls, program: Program, *args: Any) -> Linearization:
        """Linearize a Program at a point, by evaluating it there; the recorded rows have the places of its lines."""
        return cls.of_variables(program, values_of_inputs(program, args))

    @classmethod
    def of_variables(
        cls, program: Program, inputs: Sequence[Any], on_guard: Callable[[Guard, Any], None] = check_guard
    ) -> Linearization:
        """Linearize a Program at values of its independent variables, one by one; `on_guard` as for `interpret`."""
        context = current_context()
        place = context.place
        positions: dict[Var, int] = {var: k for k, var in enumerate(program.inputs)}
        rows: list[Row] = []

        def apply(line: Line, operands: list[Any]) -> Any:
            context.place = line.place
            y = evaluate_line(line, operands)
            parents = tuple([positions[a] if isinstance(a, Var) else -1 for a in line.inputs])
            for var in line.outputs:
                positions[var] = len(positions)
            out: Any = tuple([positions[var] for var in line.outputs])
            if line.primitive.multiple:
                y = tuple(y)
            else:
                (out,) = out
            rows.append((line.primitive, parents, (y, *operands), line.params, line.place, out))
            return y

        try:
            environment = interpret(program, inputs, apply, on_guard)
        finally:
            context.place = place
        outputs = [positions[a] if isinstance(a, Var) else -1 for a in program.outputs]
        values = [value_of(a, environment) for a in program.outputs]
        with_complex = any(var.dtype.kind == "c" for var in environment)
        return cls(rows, [environment[v] for v in program.inputs], outputs, values, len(positions), with_complex)

    def as_program(self) -> tuple[Program, list[Any]]:
        """Return the rows as a Program, and the values of its arguments.

        They are the independent variables, and after them whatever constants are traced values of an enclosing trace.

        >>> import numpy as np, wengert as wg
        >>> program = wg.trace(lambda x: np.exp(2.0 * x))(0.5)
        >>> print(Linearization.of_program(program, 0.5).as_program()[0].listing(places=False))
        x = u_0
        u_1 = 2 * u_0
        u_2 = exp(u_1)  = y
        """
        rows = needed_rows(self.rows, self.outputs)
        constants = [
            value
            for _, parents, kept, *_ in rows
            for parent, value in zip(parents, kept[1:], strict=True)
            if parent < 0 and isinstance(value, Recordable)
        ]
        args = [*self.inputs, *constants]
        inputs = [Var(k - len(args), x.shape, x.dtype) for k, x in enumerate(args, 1)]
        variables: dict[int, Var] = dict(enumerate(inputs[: len(self.inputs)]))
        captured = iter(inputs[len(self.inputs) :])
        lines: list[Line] = []
        number = itertools.count(1)
        for row in rows:
            primitive, parents, kept, params, place, _ = row
            operands = [
                variables[parent]
                if parent >= 0
                else next(captured)
                if isinstance(value, Recordable)
                else Constant(value)
                for parent, value in zip(parents, kept[1:], strict=True)
            ]
            written = {position: Var(next(number), y.shape, y.dtype) for position, y in results_of(row)}
            variables.update(written)
            if "run" in params:  # that of a loop, at these values
                params = {name: value for name, value in params.items() if name != "run"}
            lines.append(Line(primitive, tuple(operands), tuple(written.values()), params, place))
        results = [
            Packing(name, y.shape, y.dtype, (variables[position] if position >= 0 else Constant(y),))
            for name, position, y in zip(_names("y", self.values), self.outputs, self.values, strict=True)
        ]
        arguments = [Packing(name, x.shape, x.dtype, (x,)) for name, x in zip(_names("x", inputs), inputs, strict=True)]
        return Program("f", tuple(arguments), tuple(lines), tuple(results), single=len(results) == 1), args


def _names(letter: str, values: Sequence[Any]) -> list[str]:
    """Return names for values: ``x``, or ``x1``, ``x2``..."""
    return [letter] if len(values) == 1 else [f"{letter}{k}" for k in range(1, len(values) + 1)]


def active_rows(linearization: Linearization) -> list[Row]:
    """Return the rows of the linearized graph: those that depend on an argument, and that a result depends on.

    An operand that does not depend on an argument, or only by what has no derivative, is a constant in them (-1).

    >>> import numpy as np, wengert as wg
    >>> program = wg.trace(lambda x: (np.floor(x) * np.exp(x), np.log(x))[0])(1.5)
    >>> for primitive, parents, *_ in active_rows(Linearization.of_program(program, 1.5)):
    ...     print(primitive.name, parents)
    exp (0,)
    multiply (-1, 2)
    """
    still = {-1}  # the positions of what does not move: constants, and what depends on no argument
    moving: list[Row] = []
    for row in linearization.rows:
        primitive, parents, _, _, _, out = row
        if primitive.keeps and still.isdisjoint(parents):  # as with most
            moving.append(row)
        elif any(p not in still and primitive.partial(k) is not None for k, p in enumerate(parents)):
            moving.append((primitive, tuple([-1 if p in still else p for p in parents]), *row[2:]))
        elif type(out) is tuple:
            still.update(out)
        else:
            still.add(out)
    return needed_rows(moving, linearization.outputs)


def needed_rows(rows: Sequence[Row], outputs: Iterable[int]) -> list[Row]:
    """Return the rows that a result depends on, by derivatives or otherwise."""
    needed = set(outputs)
    chosen: list[Row] = []
    for row in reversed(rows):
        out = row[5]
        if out in needed if type(out) is not tuple else not needed.isdisjoint(out):
            needed.update(row[1])
            chosen.append(row)
    return chosen[::-1]


def last_uses(rows: Sequence[Row], outputs: Iterable[int]) -> list[list[int]]:
    """Return for each row the positions that it reads last, results left out.

    >>> import numpy as np, wengert as wg
    >>> graph = Linearization.of_program(wg.trace(lambda x: np.sin(np.exp(x)) * x)(1.5), 1.5)
    >>> last_uses(graph.rows, graph.outputs)
    [[], [1], [2, 0]]
    """
    seen = set(outputs)
    uses: list[list[int]] = []
    for row in reversed(rows):
        read_last = [position for position in dict.fromkeys(row[1]) if position >= 0 and position not in seen]
        seen.update(read_last)
        uses.append(read_last)
    return uses[::-1]


class OfOutput(LocalJacobian):
    """The edge from one operand to one of several results of a line."""

    __slots__ = ("_k", "_n", "_row")

    def __init__(self, row: Row, n: int, k: int) -> None:
        self._row, self._n, self._k = row, n, k
        self.in_shape, self.out_shape = row[2][k + 1].shape, row[2][0][n].shape

    def push(self, t: Array, batch: int = 0) -> Array:
        primitive, parents, kept, params, _, _ = self._row
        tangents = [t if k == self._k else None for k in range(len(parents))]
        pushed = primitive.jvp(tangents, kept[1:], batch, **params)[self._n]  # type: ignore[misc]
        return np.zeros(t.shape[:batch] + self.out_shape, t.dtype)[()] if pushed is None else pushed

    def pull(self, g: Array, batch: int = 0) -> Array:
        primitive, parents, kept, params, _, _ = self._row
        bars = [g if n == self._n else None for n in range(len(kept[0]))]
        wanted = [k == self._k for k in range(len(parents))]
        pulled = primitive.vjp(bars, kept[1:], batch, wanted, **params)[self._k]  # type: ignore[misc]
        return np.zeros(g.shape[:batch] + self.in_shape, g.dtype)[()] if pulled is None else pulled


def by_position(positions: Iterable[int], values: Iterable[Any]) -> dict[int, Any]:
    """Return tangents or adjoints by position, without zeros (None) and constants; those of one position are added.

    >>> by_position([3, -1, 3, 4], [1.0, 5.0, 2.0, None])
    {3: 3.0}
    """
    seeds: dict[int, Any] = {}
    for position, seed in zip(positions, values, strict=True):
        if position >= 0 and seed is not None:
            seeds[position] = seeds[position] + seed if position in seeds else seed
    return seeds


def edges(row: Row) -> Iterator[tuple[int, int, LocalJacobian]]:
    """Yield the edges into one row: source position, target position and local Jacobian of each."""
    for k, position, J in edges_by_operand(row):
        yield row[1][k], position, J


def edges_by_operand(row: Row) -> Iterator[tuple[int, int, LocalJacobian]]:
    """Yield the edges into one row: number of the operand, target position and local Jacobian of each."""
    primitive, parents, kept, params, _, out = row
    for k, parent in enumerate(parents):
        if parent < 0:
            continue
        if primitive.multiple:
            for n, position in enumerate(out):
                if kept[0][n].dtype.kind in "fc" and kept[k + 1].dtype.kind in "fc":
                    yield k, position, OfOutput(row, n, k)
            continue
        rule = primitive.partial(k)
        if rule is None:
            continue
        c = rule(*kept, **params)
        if c is not None:
            yield k, out, c if isinstance(c, LocalJacobian) else Diagonal(c, kept[k + 1].shape, kept[0].shape)


class Graph(str):
    """A linearized graph: an edge a line, with its local partial; in a notebook, a table."""

    __slots__ = ("edges",)
    edges: list[tuple[str, str, str]]
    """For each edge the variables that it leads to and from, and its partial."""

    def __new__(cls, edges: list[tuple[str, str, str]]) -> Graph:
        graph = super().__new__(cls, "\n".join(f"d{y}/d{x} = {partial}" for y, x, partial in edges))
        graph.edges = edges
        return graph

    def __getnewargs__(self) -> tuple[Any, ...]:
        return (self.edges,)

    def _repr_html_(self) -> str:
        return table([(f"d{y}/d{x}", f"= {partial}") for y, x, partial in self.edges])


def write_graph(program: Program, args: Sequence[Any]) -> Graph:
    """Write the linearized graph at a point: each edge with the value (for arrays, the structure) of its partial."""
    linearization = Linearization.of_program(program, *args)
    names = [str(var) for var in (*program.inputs, *[v for line in program.lines for v in line.outputs])]
    written = []
    for row in linearization.rows:
        parallel: dict[tuple[int, int], LocalJacobian] = {}
        for position, out, J in edges(row):
            key = out, position
            parallel[key] = parallel[key] + J if key in parallel else J
        for (out, position), J in parallel.items():
            scalar = J.in_shape == () and J.out_shape == ()
            value = float(J.dense()[0, 0]) if scalar else J
            written.append((names[out], names[position], str(value)))
    return Graph(written)
