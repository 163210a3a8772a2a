"""Checking derivatives: both modes against an independent truth, and against each other.

The truth is the *complex step*, ``Im f(x + ih v) / h``, where `f` runs on complex numbers and is analytic at the point
(it must agree with differences there); else *differences*, central ones extrapolated to step zero (Ridders 1982),
which come with an estimate of their own error.  Tolerances follow from that estimate and from rounding; none is a
constant chosen to pass.  The modes are then compared with each other by the adjoint identity ``<g, J t> = <J^T g, t>``.
If a derivative is wrong, every line of the list is checked by itself, and the report names the rule.

>>> import numpy as np, wengert as wg
>>> report = wg.check_derivatives(lambda x: np.array([x[0] * x[1], np.sin(x[0])]))(np.array([0.5, 2.0]))
>>> report.passed, report.truth
(True, 'complex step')
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import itertools
import logging
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from wengert.accumulation.compressed import by_columns, joined, missing_entries
from wengert.accumulation.dense import seeds_in_a_block
from wengert.accumulation.sweeps import forward, reverse
from wengert.api import LinearMap, linearize, trace
from wengert.arguments import ArgnumsLike, of_arrays
from wengert.control.execution import run_of
from wengert.control.holding import Holding
from wengert.custom import Replay
from wengert.display import code, paragraph, table
from wengert.errors import DerivativeError, ResultError, WengertError
from wengert.linearization import Linearization, by_position, edges
from wengert.program import Line, Program, Shaped, Var, as_value
from wengert.tracing import results_of, watch
from wengert.transformations import P, Transformed

if TYPE_CHECKING:
    from rich.console import RenderableType

Array = np.ndarray[Any, Any]

FULL = 64
"""The number of inputs and outputs up to which every entry is checked; beyond it, random directions are."""
DIRECTIONS = 8
"""The number of random directions."""
PROBES = 2
"""The number of directions of differences that a check begins with: a fault in any entry shows in each of them."""
NEIGHBORS = 3
"""The number of neighbors that estimate the effect of rounding on a derivative."""
EPS = float(np.finfo(float).eps)
STEP = 1e-20
"""The complex step: nothing is subtracted, so it can be arbitrarily small."""
SAFETY = 10.0
"""The factor from an estimated error to a tolerance."""
ROUNDINGS = 64.0
"""The number of roundings allowed to each mode, of the largest entry of a row and of the values it depends on."""


# ---- The report ----


@dataclass(frozen=True, slots=True)
class Entry:
    """One compared number: its place in the Jacobian, both values, and the tolerance."""

    name: str
    output: int
    input: int
    got: float
    expected: float
    tolerance: float

    @property
    def error(self) -> float:
        """The distance, relative to the larger of the two values (0 where both are 0)."""
        size = max(abs(self.got), abs(self.expected))
        return abs(self.got - self.expected) / size if size > 0 else abs(self.got - self.expected)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The comparison of two computations, with the worst entry; `wrong` has the worst entry of each wrong output."""

    got: str
    expected: str
    checked: int
    total: int
    worst: Entry | None
    wrong: tuple[Entry, ...]

    @property
    def name(self) -> str:
        """The names of the two computations."""
        return self.got if not self.expected else f"{self.got} vs {self.expected}"

    @property
    def passed(self) -> bool:
        """True if no number is wrong and at least one could be checked."""
        return not self.wrong and (self.checked > 0 or self.total == 0)


@dataclass(frozen=True, slots=True)
class Report:
    """The result of `check_derivatives`: true if all comparisons passed; prints as a table.

    Attributes
    ----------
    function, n, m
        The name of the function, and its numbers of inputs and outputs.
    truth
        ``"complex step"`` or ``"differences"``.
    comparisons
        The comparisons that were made, each with its worst entry.
    notes
        The extent of the check, and its gaps.
    one_sided
        The number of entries at the edge of the domain, where the derivative is that from one side.
    findings
        A sentence for each wrong entry and each wrong rule, with the place in the user's code.
    """

    function: str
    n: int
    m: int
    truth: str
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...]
    findings: tuple[str, ...]
    one_sided: int = 0

    @property
    def passed(self) -> bool:
        """True if nothing is wrong, and each mode could be checked somewhere."""
        return not any(c.wrong for c in self.comparisons) and all(c.passed for c in self.comparisons[:2])

    @property
    def conclusion(self) -> str:
        """The last line of the report."""
        if not self.comparisons:
            return "There is nothing to check."
        if self.passed:
            conclusion = f"The derivatives of {self.function} are right in both modes"
            gaps = [f"{c.checked} of {c.total} entries" for c in self.comparisons[:2] if c.checked < c.total]
            if gaps:
                return f"{conclusion} where they could be checked: {gaps[0]}."
            if self.one_sided:
                where = "1 entry" if self.one_sided == 1 else f"{self.one_sided} entries"
                return (
                    f"Right in both modes; at {where} {self.function} ends or a partial is infinite, "
                    "and there the derivative from one side was compared."
                )
            return f"{conclusion}."
        wrong = [comparison.name for comparison in self.comparisons if comparison.wrong]
        if wrong == [ZEROS]:
            return f"The derivatives of {self.function} are right in both modes, and the pattern is WRONG."
        if wrong:
            return f"The derivatives of {self.function} are WRONG."
        return f"The derivatives of {self.function} could not be checked at this point."

    def __bool__(self) -> bool:
        return self.passed

    def raise_if_wrong(self) -> Report:
        """Raise DerivativeError with the whole report if anything is wrong; else return the report.

        >>> import numpy as np, wengert as wg
        >>> wg.check_derivatives(np.sin)(0.5).raise_if_wrong().passed
        True
        """
        if not self.passed:
            raise DerivativeError(str(self))
        return self

    @property
    def heading(self) -> str:
        """The name of the function and its dimensions."""
        return f"{self.function}: R^{self.n:,} -> R^{self.m:,}"

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The table, one row a comparison: name, entries, worst entry, both values, relative error, verdict."""
        rows: list[tuple[str, ...]] = []
        for c in self.comparisons:
            verdict = "ok" if c.passed else "WRONG" if c.wrong else "not checked"
            count = f"{c.checked}" if c.checked == c.total else f"{c.checked} of {c.total}"
            if c.worst is None:
                rows.append((c.name, count, "-", "-", "-", "-", verdict))
            else:
                w = c.worst
                rows.append((c.name, count, w.name, f"{w.got:.7g}", f"{w.expected:.7g}", f"{w.error:.1e}", verdict))
        return rows

    def __str__(self) -> str:
        table = [HEAD, *self.rows]
        widths = [max(len(row[k]) for row in table) for k in range(len(HEAD))]
        lines = [
            "  ".join(
                cell.ljust(width) if k in (0, 2, 6) else cell.rjust(width)
                for k, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in table
        ]
        shown = lines if self.comparisons else []
        return "\n".join([self.heading, *shown, *self.notes, *self.findings, self.conclusion])

    def _repr_html_(self) -> str:
        parts = [paragraph(self.heading, bold=True), table(self.rows, HEAD, "lrlrrrl")]
        parts += [*map(paragraph, self.notes), *map(code, self.findings), paragraph(self.conclusion, bold=True)]
        return "\n".join(parts)

    def __rich__(self) -> RenderableType:
        from rich.text import Text

        text = Text(str(self))
        text.highlight_regex(rf"(?m)^{re.escape(self.heading)}$|^check .*$", "bold")
        text.highlight_regex(r"(?m)  ok$", "green")
        text.highlight_regex(r"(?m)  WRONG$|is wrong\.", "bold red")
        text.highlight_regex(r"(?m)  not checked$", "yellow")
        text.highlight_regex(re.escape(self.conclusion), "bold green" if self.passed else "bold red")
        return text


ZEROS = "zeros of the pattern"
"""The comparison of the entries that a pattern leaves out."""
HEAD = ("check", "entries", "worst", "got", "expected", "error", "")


# ---- Checking ----


class _Muted(io.TextIOBase):
    """A stream that drops what one thread writes."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.thread = stream, threading.get_ident()

    def write(self, text: str) -> int:
        return len(text) if threading.get_ident() == self.thread else int(self.stream.write(text))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drop what this thread prints, logs and warns of."""
    here = threading.get_ident()
    loggers = [logging.root, *[x for x in logging.root.manager.loggerDict.values() if isinstance(x, logging.Logger)]]
    last = [] if logging.lastResort is None else [logging.lastResort]
    handlers = {handler for logger in loggers for handler in logger.handlers}.union(last)

    def from_elsewhere(record: logging.LogRecord) -> bool:
        return record.thread != here

    streams = sys.stdout, sys.stderr
    try:
        sys.stdout, sys.stderr = map(_Muted, streams)
        with warnings.catch_warnings(), np.errstate(all="ignore"), contextlib.ExitStack() as stack:
            warnings.simplefilter("ignore")
            for handler in handlers:
                handler.addFilter(from_elsewhere)
                stack.callback(handler.removeFilter, from_elsewhere)
            yield
    finally:  # in one statement without a call, where Ctrl-C does not come between
        sys.stdout, sys.stderr = streams


def check_derivatives(
    f: Callable[P, Any], argnums: ArgnumsLike = None, *, sparse: Any = None, seed: int = 0
) -> Transformed[P, Report]:
    """Return a function that checks the derivatives of `f` at a point, in both modes.

    `f` runs some tens of times, on plain numbers but for once; what it prints, logs and warns of in that first run is
    heard, and nothing of the others.  The values that `stop_gradient` returns are held fixed.  Complex arguments and
    results are checked by their real and imaginary parts.

    Parameters
    ----------
    f
        A function of numbers, arrays or trees of them that returns such, and the same each time.
    argnums
        The positions of the arguments to differentiate with respect to; None for all that are real.
    sparse
        A pattern that is given to `jacobian` as its ``sparse=``, to check as well: an entry of the Jacobian that it
        lacks is named.  It has a row for each element of the result, and a column for each of the arguments.
    seed
        The seed of the random directions.

    Returns
    -------
    callable
        Takes the arguments of `f`; returns a `Report`, which is true if all is right and prints as a table.

    Raises
    ------
    ArgumentError
        If an argument is not a float or an array of them.
    ResultError
        If `f` returns something else than an array or a number, or not the same one twice.

    Examples
    --------
    >>> import numpy as np, wengert as wg
    >>> print(wg.check_derivatives(np.exp)(0.0))  # doctest: +ELLIPSIS, +NORMALIZE_WHITESPACE
    exp: R^1 -> R^1
    check                    entries  worst                 got    expected    error
    forward vs complex step        1  dy/dx                   1           1  0.0e+00  ok
    reverse vs complex step        1  dy/dx                   1           1  0.0e+00  ok
    forward vs reverse             1  dy/dx                   1           1  0.0e+00  ok
    adjoint identity               8  <g_...
    Every entry of the Jacobian was checked.
    The adjoint identity is <g, J t> = <J^T g, t>, for 8 random g and t.
    The derivatives of exp are right in both modes.
    >>> report = wg.check_derivatives(lambda x: x * x[::-1], sparse=np.eye(3))(np.array([1.0, 2.0, 3.0]))
    >>> report.passed, report.findings
    (False, ('The pattern lacks an entry of the Jacobian: dy_1/dx_3 = 1 (row 0, column 2).',))
    """

    def check(args: Any, kwargs: Any) -> Report:
        function, leaves, names = of_arrays(f, args, kwargs, argnums)
        point = _Point(*_in_real_parts(function, leaves, names))
        rng = np.random.default_rng(seed)
        with quiet():
            report = _check(point, rng)
            return report if sparse is None else _with_pattern(report, point, sparse)

    return Transformed(check_derivatives, f, check, argnums=argnums, sparse=sparse, seed=seed)


def _with_pattern(report: Report, point: _Point, sparse: Any) -> Report:
    """Return a report in which the pattern of the Jacobian is checked as well."""
    linearization = point.map._linearization
    pattern = joined(sparse, linearization)
    jacobian = by_columns(pattern).evaluate(linearization)
    entries = [
        Entry(f"d{point.output_name(row)}/d{point.input_name(column)}", row, column, value, 0.0, 0.0)
        for row, column, value in watch(missing_entries, jacobian, linearization)
    ]
    total = point.n * point.m - int(pattern.nnz)
    found = [
        f"The pattern lacks an entry of the Jacobian: {e.name} = {e.got:.6g} (row {e.output}, column {e.input})."
        for e in entries
    ]
    outside = Comparison(ZEROS, "", total, total, entries[0] if entries else None, tuple(entries[:1]))
    return replace(report, comparisons=(*report.comparisons, outside), findings=(*report.findings, *found[:FINDINGS]))


FINDINGS = 8
"""The number of entries that a pattern lacks which are named at most."""


def _in_real_parts(
    f: Callable[..., Any], leaves: Sequence[Any], names: Sequence[str]
) -> tuple[Callable[..., Any], list[Any], list[str]]:
    """Return a function of the real and imaginary parts of complex arguments, to those of a complex result."""
    is_complex = [_is_complex(leaf) for leaf in leaves]
    parts: list[Any] = []
    for leaf, apart in zip(leaves, is_complex, strict=True):
        parts += [np.real(leaf), np.imag(leaf)] if apart else [leaf]
    suffixes = [("_real", "_imag") if apart else ("",) for apart in is_complex]
    named = [name + suffix for name, two in zip(names, suffixes, strict=True) for suffix in two]

    result_is_complex = False

    @functools.wraps(f)
    def of_parts(*parts: Any) -> Any:
        nonlocal result_is_complex
        remaining = iter(parts)
        y = f(*[next(remaining) + 1j * next(remaining) if apart else next(remaining) for apart in is_complex])
        if not any(_is_complex(part) for part in parts):  # but in a complex step
            result_is_complex = _is_complex(y)
        return np.concatenate([np.ravel(np.real(y)), np.ravel(np.imag(y))]) if result_is_complex else y

    return of_parts, parts, named


def _is_complex(value: Any) -> bool:
    return isinstance(value, complex) or getattr(getattr(value, "dtype", None), "kind", "") == "c"


class _Point:
    """The checked function as a function of flat vectors, at a point."""

    def __init__(self, f: Callable[..., Any], args: Sequence[Any], names: Sequence[str]) -> None:
        self.f, self.args, self.names = f, list(args), names
        self.name = getattr(f, "__name__", "f")
        if self.name == "<lambda>":
            self.name = "f"
        self.y, self.map = linearize(f, *self.args)
        self.inputs = [np.array(a) if type(a) is np.ndarray else as_value(a) for a in self.args]
        self.shapes = [np.shape(x) for x in self.inputs]
        self.sizes = [int(np.size(x)) for x in self.inputs]
        self.splits = np.cumsum(self.sizes)[:-1]
        wide = np.result_type(np.float64, *[x.dtype for x in self.inputs])
        self.x = np.concatenate([np.ravel(x).astype(wide) for x in self.inputs])
        self.n, self.m = int(self.x.size), int(np.size(self.y))
        self.defined = np.isfinite(np.reshape(self.y, (self.m, 1)))
        self.is_finite = bool(self.defined.all() and np.isfinite(self.x).all())
        self.replay = Replay()

    def measure_precision(self) -> None:
        """Set the precision of the function: of its least precise value on the way from float64 arguments."""
        dtypes = [d for d in (np.asarray(self.y).dtype, *[x.dtype for x in self.inputs]) if d.kind in "fc"]
        outer = float(max(np.finfo(d).eps for d in dtypes))
        exact = self.map if outer == EPS else linearize(self.f, *self.split(self.x))[1]
        inner = {y.dtype for row in exact._linearization.rows for _, y in results_of(row) if y.dtype.kind == "f"}
        self.precision = float(max([np.finfo(d).eps for d in inner], default=EPS))
        self.eps = max(outer, self.precision)

    def split(self, x: Array, cast: bool = False) -> list[Any]:
        """Split a flat vector into arrays of the arguments' shapes; with `cast`, in the arguments' dtypes."""
        parts = [part.reshape(s) for part, s in zip(np.split(x.copy(), self.splits), self.shapes, strict=True)]
        parts = [p if type(i) is np.ndarray else p[()] for p, i in zip(parts, self.inputs, strict=True)]
        return [p.astype(i.dtype) for p, i in zip(parts, self.inputs, strict=True)] if cast else parts

    def value(self, x: Array) -> Array:
        """Evaluate the function on plain values: float64 (or complex128), not traced; `stop_gradient` holds its own."""
        return np.ravel(np.asarray(self.replay(self.f, *self.split(x))))

    def push(self, V: Array, through: LinearMap | None = None) -> Array:
        """Multiply the Jacobian by each column of `V`, in blocks: ``J V``."""
        linearization = (through or self.map)._linearization

        def pushed(block: Array) -> Array:
            parts = np.split(block, self.splits, axis=1)
            seeds = {
                k: part.reshape(-1, *x.shape).astype(x.dtype)
                for k, (part, x) in enumerate(zip(parts, linearization.inputs, strict=True))
            }
            dots = watch(forward, linearization, seeds, 1)
            return _rows(len(block), self.m, [dots[k] if k >= 0 else None for k in linearization.outputs])

        return _in_blocks(pushed, V, seeds_in_a_block(linearization))

    def pull(self, G: Array) -> Array:
        """Multiply the transposed Jacobian by each column of `G`, in blocks: ``J^T G``."""
        linearization = self.map._linearization
        (y,) = linearization.values

        def pulled(block: Array) -> Array:
            seeds = by_position(linearization.outputs, [block.reshape(-1, *y.shape).astype(y.dtype)])
            bars = watch(reverse, linearization, seeds, 1)
            blocks = [_rows(len(block), size, [bar]) for size, bar in zip(self.sizes, bars, strict=True)]
            return np.concatenate(blocks, axis=1)

        return _in_blocks(pulled, G, seeds_in_a_block(linearization))

    def neighbors(self, rng: np.random.Generator) -> list[LinearMap]:
        """Linearize with every argument and every value of the list changed by a rounding.

        The change of a product with the Jacobian shows how accurate it can be in this precision.  All values of a line
        are moved by the same factor, so that equal values (in a maximum, say) stay equal.
        """
        neighbors: list[LinearMap] = []
        for _ in range(NEIGHBORS):
            moved = self.x * (1 + self.eps * rng.choice([-1.0, 1.0], self.n))
            with contextlib.suppress(Exception):  # it may be outside the domain
                neighbors.append(_rounded(linearize(self.f, *self.split(moved, cast=True))[1], self.eps, rng))
        return neighbors

    def wobble(self, products: Array, V: Array, near: Sequence[LinearMap]) -> Array:
        """Return the largest change of ``J V`` among the neighbors."""
        wobble = np.zeros(products.shape)
        for through in near:
            distance = np.abs(self.push(V, through) - products)
            wobble = np.fmax(wobble, np.where(np.isfinite(distance), distance, 0.0))
        return wobble

    def input_name(self, j: int) -> str:
        k = int(np.searchsorted(np.cumsum(self.sizes), j, side="right"))
        return self.names[k] + _subscript(j - sum(self.sizes[:k]), self.shapes[k])

    def output_name(self, i: int) -> str:
        letter = next(c for c in ("y", "z", "w", "result") if c not in self.names)
        return letter + _subscript(i, np.shape(self.y))


def _rows(count: int, size: int, parts: Sequence[Array | None]) -> Array:
    """Return the products of a block of seeds as rows; the parts of a result side by side, zeros for None."""
    return np.concatenate(
        [np.zeros((count, size)) if part is None else part.reshape(count, -1).astype(np.float64) for part in parts],
        axis=1,
    )


def _in_blocks(multiply: Callable[[Array], Array], seeds: Array, most: int) -> Array:
    """Multiply blocks of columns, transposed, by a linear map, and join the products as columns."""
    return np.concatenate([multiply(seeds.T[k : k + most]) for k in range(0, seeds.shape[1], most)]).T


def _rounded(exact: LinearMap, eps: float, rng: np.random.Generator) -> LinearMap:
    """Return a map with the residuals of each line changed by a rounding, up or down."""

    def moved(value: Any, factor: float) -> Any:
        return value * value.dtype.type(factor) if getattr(getattr(value, "dtype", None), "kind", "") == "f" else value

    linearization = exact._linearization
    rows = []
    for primitive, parents, kept, params, place, out in linearization.rows:
        factor = 1 + eps * float(rng.choice([-1.0, 1.0]))
        plain = [value if type(value) is Shaped else moved(value, factor) for value in kept]
        rows.append((primitive, parents, tuple(plain), params, place, out))
    L = linearization
    return LinearMap(exact._function, exact._primals, Linearization(rows, L.inputs, L.outputs, L.values, L.size))


def _subscript(flat: int, shape: tuple[int, ...]) -> str:
    if not shape:
        return ""
    index = ",".join(str(int(i) + 1) for i in np.unravel_index(flat, shape))
    return f"_{index}" if len(shape) == 1 else f"_{{{index}}}"


def _directions(rng: np.random.Generator, size: int) -> Array:
    """Return random directions as columns, of elements between 1/2 and 3/2 of either sign, exact in every precision."""
    return rng.choice((-1.0, 1.0), (size, DIRECTIONS)) * rng.integers(8, 25, (size, DIRECTIONS)) / 16


def _check(point: _Point, rng: np.random.Generator) -> Report:
    """Compare with a truth that costs little; where that leaves a doubt, examine every entry and how it is rounded."""
    n, m = point.n, point.m
    if not n or not m:
        return Report(point.name, n, m, "complex step", (), (), ())
    point.measure_precision()
    start = _check_same_value(point)
    directions = _directions(rng, n)
    every = np.eye(n) if n <= FULL else directions
    V, truth = _quick_truth(point, every, directions, start, rng)
    products = _Products.at(point, V, rng)
    examination = _Examination(point, products, truth, ())
    if not examination.is_complete or truth.kink.any():
        truth = find_truth(point.value, point.x, every, point.precision)
        if every is not V:
            products = _Products.at(point, every, rng)
        examination = _Examination(point, products, truth, point.neighbors(rng))
    return examination.report(rng)


def _quick_truth(
    point: _Point, every: Array, directions: Array, start: Array, rng: np.random.Generator
) -> tuple[Array, Truth]:
    """Return directions and the derivatives along them: by complex step, if differences along one more confirm it."""
    steps = _complex_step(point.value, point.x, every, start.shape)
    if not isinstance(steps, str):
        some = _directions(rng, every.shape[1])[:, :1]
        differences = find_differences(point.value, point.x, every @ some, point.precision, start)
        rounding = ROUNDINGS * point.precision * _row_scale(steps) * every.shape[1]
        distance = np.abs(steps @ some - differences.value)
        smooth = np.isfinite(differences.error) & ~differences.kink & ~differences.one_sided
        agrees = smooth & (distance <= differences.tolerance + rounding)
        if agrees.all():
            no = np.zeros(steps.shape, bool)
            return every, Truth(steps, np.zeros(steps.shape), no, "complex step", no)
        steps = _NOT_ANALYTIC
    V = every if point.n <= PROBES else directions[:, :PROBES]
    return V, find_differences(point.value, point.x, V, point.precision, start, steps)


def _check_same_value(point: _Point) -> Array:
    """Return the value of the function at the point; raise ResultError if it is another one the second time."""
    first, second = point.value(point.x), point.value(point.x)
    if first.dtype.kind not in "biuf":
        raise ResultError(f"{point.name} returns values of dtype {first.dtype}; derivatives are checked of numbers.")
    if not np.array_equal(first, second, equal_nan=True):
        raise ResultError.at(
            (point.f.__code__, 0) if hasattr(point.f, "__code__") else None,
            f"{point.name} returns another value each time, so no derivative of it can be checked:",
            "Make it a function of its arguments alone; give random numbers a fixed seed inside it.",
        )
    return first.astype(np.float64)


@dataclass(frozen=True, slots=True)
class _Products:
    """The products of both modes with directions, and with the random seeds of the adjoint identity."""

    V: Array
    entrywise: bool
    """True if the directions are the unit vectors of all inputs."""
    G: Array
    forward: Array
    backward: Array
    T: Array
    J_T: Array
    H: Array
    H_J: Array

    @classmethod
    def at(cls, point: _Point, V: Array, rng: np.random.Generator) -> _Products:
        """Multiply all seeds of a mode in one block, and the first random one also alone, as `wengert.grad` does."""
        n, m = point.n, point.m
        entrywise = V.shape == (n, n) and n <= FULL
        T, H = (_kept_like(rng.standard_normal((size, DIRECTIONS)), point.eps) for size in (n, m))
        H = np.where(point.defined, H, 0.0)
        G = np.eye(m) if m <= FULL else np.where(point.defined, _directions(rng, m), 0.0)
        forward, J_T = np.split(point.push(np.hstack([V, T])), [V.shape[1]], axis=1)
        backward, H_J = np.split(point.pull(np.hstack([G, H])).T, [G.shape[1]])
        J_T[:, 0] = np.ravel(point.map(*point.split(T[:, 0], cast=True)))
        H_J[0] = np.concatenate([np.ravel(bar) for bar in point.map.pull(np.reshape(H[:, 0], np.shape(point.y)))])
        return cls(V, entrywise, G, forward, backward if entrywise else backward @ V, T, J_T, H, H_J)

    def adjoint_identity(self, point: _Point, near: Sequence[LinearMap]) -> Comparison:
        """Compare <h, J t> with <J^T h, t>: they differ if a rule is transposed wrongly."""
        terms, transposed = np.where(point.defined, self.H * self.J_T, 0.0), self.H_J.T * self.T
        size = np.abs(terms).sum(axis=0) + np.abs(transposed).sum(axis=0)  # their sum may cancel
        wobble = np.where(point.defined, np.abs(self.H) * point.wobble(self.J_T, self.T, near), 0.0).sum(axis=0)
        tolerance = ROUNDINGS * (point.eps * size + wobble)
        if not point.is_finite:
            tolerance = np.where(np.isfinite(size), tolerance, np.nan)
        left, right, tolerance = (v[:, None] for v in (terms.sum(axis=0), transposed.sum(axis=0), tolerance))
        return _compare("adjoint identity", "", left, right, tolerance, lambda i, _j: f"<g_{i + 1}, J t_{i + 1}>")


class _Examination:
    """The products of both modes, compared with the truth and with each other."""

    def __init__(self, point: _Point, products: _Products, truth: Truth, near: Sequence[LinearMap]) -> None:
        self.point, self.products, self.truth = point, products, truth
        m, full, entrywise = point.m, point.m <= FULL, products.entrywise
        G, forward, backward = products.G, products.forward, products.backward
        rounding = ROUNDINGS * (point.wobble(forward, products.V, near) + point.eps * _row_scale(forward, truth.value))
        rounding = np.where(point.defined, rounding, np.nan)  # the derivative of a NaN is not compared with anything
        tolerance = truth.tolerance + rounding

        def names(outputs: bool) -> Callable[[int, int], str]:
            def name_of(i: int, j: int) -> str:
                top = f"d{point.output_name(i)}" if outputs else f"<g_{i + 1}, y>'"
                bottom = f"/d{point.input_name(j)}" if entrywise else f" along t_{j + 1}"
                return top + bottom

            return name_of

        def combined(matrix: Array, weights: Array = G) -> Array:
            return matrix if full else weights.T @ np.where(point.defined, matrix, 0.0)

        size = np.where(point.defined, np.abs(np.reshape(point.y, (m, 1))), 0.0) / max(
            1.0, float(np.max(np.abs(point.x)))
        )
        kink, sizes = truth.kink if full else None, combined(size, np.abs(G))
        expected, allowed = combined(truth.value), combined(tolerance, np.abs(G))
        slack, pushed = combined(rounding, np.abs(G)), combined(forward)
        if not full and not point.is_finite:
            allowed = np.where(np.isfinite(backward), allowed, np.nan)
        self.comparisons = (
            _compare("forward", truth.method, forward, truth.value, tolerance, names(True), truth.kink, size),
            _compare("reverse", truth.method, backward, expected, allowed, names(full), kink, sizes),
            _compare("forward", "reverse", pushed, backward, slack, names(full)),
            products.adjoint_identity(point, near),
        )

    @property
    def is_complete(self) -> bool:
        """True if every comparison passed, and no entry was left out."""
        return all(c.passed and c.checked == c.total for c in self.comparisons)

    def report(self, rng: np.random.Generator) -> Report:
        """Describe the comparisons, their extent, and what is wrong."""
        point, truth = self.point, self.truth
        findings: list[str] = []
        if any(c.wrong for c in self.comparisons):
            findings = _findings(point, self.comparisons, self.products, rng)
        return Report(
            point.name,
            point.n,
            point.m,
            truth.method,
            self.comparisons,
            tuple(self._notes()),
            tuple(findings),
            self._one_sided,
        )

    @property
    def _one_sided(self) -> int:
        truth = self.truth
        return int((truth.one_sided & (truth.tolerance <= 0.1 * np.abs(truth.value))).sum())

    def _notes(self) -> Iterator[str]:
        point, truth, first = self.point, self.truth, self.comparisons[0]
        if self.products.entrywise and first.checked < first.total:
            yield f"{first.checked:,} of {first.total:,} entries of the Jacobian were checked."
        else:
            yield _extent(point.n, point.m, self.products.entrywise, self.products.V.shape[1])
        yield f"The adjoint identity is <g, J t> = <J^T g, t>, for {DIRECTIONS} random g and t."
        if truth.reason:
            yield f"Differences, not the complex step: {truth.reason}."
        if point.replay.values:
            yield "The values of stop_gradient were held fixed in the truth: they are constants of the derivative."
        if kinks := int(truth.kink.sum()):
            yield f"{kinks} of them at a kink, where anything between the derivatives from both sides passes."
        if edges := self._one_sided:
            yield f"{edges} of them at the edge of the domain, where differences from one side were taken."
        for what, name, values in (
            ("The argument", point.input_name, point.x),
            ("The result", point.output_name, np.ravel(point.y)),
        ):
            bad = np.flatnonzero(~np.isfinite(values))
            if bad.size:
                others = f", and {bad.size - 1:,} others are not finite" if bad.size > 1 else ""
                yield f"{what} {name(int(bad[0]))} is {values[bad[0]]}{others}: what depends on it was not checked."
        if unknown := first.total - first.checked:
            yield (
                f"{unknown:,} of {first.total:,} entries could not be checked: "
                "around the point the function is not defined, not smooth, or not precise enough."
            )


def _extent(n: int, m: int, entrywise: bool, directions: int) -> str:
    """Describe the extent of the check."""
    if entrywise and m <= FULL:
        return "Every entry of the Jacobian was checked."
    if entrywise:
        return f"Of {m:,} outputs, forward was checked in each, reverse in {DIRECTIONS} random combinations g."
    if m <= FULL:
        return f"Of {n:,} inputs, {directions} random directions t were checked: every input is in each of them."
    return (
        f"Of {n:,} inputs, {directions} random directions t were checked, of {m:,} outputs each in forward, and "
        f"{DIRECTIONS} random combinations g in reverse."
    )


def _row_scale(*matrices: Array) -> Array:
    """Return the largest entry of each row as a column: the scale of the roundings of the row."""
    scale = np.zeros((matrices[0].shape[0], 1))
    for matrix in matrices:
        finite = np.where(np.isfinite(matrix), np.abs(matrix), 0.0)
        scale = np.maximum(scale, finite.max(axis=1, keepdims=True, initial=0.0))
    return scale


def _compare(
    got_name: str,
    expected_name: str,
    got: Array,
    expected: Array,
    tolerance: Array,
    name: Callable[[int, int], str],
    kink: Array | None = None,
    floor: Array | float = 0.0,
) -> Comparison:
    """Compare two matrices entry by entry; return the worst entry of all and of each wrong row.

    An entry counts as checked if its tolerance is small beside its row, or if it is 0 without rounding and the
    tolerance is small beside `floor`, the size of the output.
    """
    row_scale, distance = _row_scale(expected, got), np.abs(got - expected)
    noise = 8 * EPS * np.max(row_scale, initial=0.0)  # in a row of zeros, made by a Fourier transform, say
    tolerance = np.where((distance > tolerance) & (distance <= noise), noise, tolerance)
    scale = np.maximum(row_scale, np.finfo(float).tiny)
    sharp = (tolerance <= 0.1 * scale) | ((got == 0) & (tolerance <= 1e-6 * floor))
    checked = np.isfinite(tolerance) & np.isfinite(expected) & (sharp if kink is None else sharp | kink)
    bad = checked & ~(distance <= tolerance)  # a NaN is wrong
    with np.errstate(all="ignore"):
        badness = np.where(checked, distance / np.maximum(tolerance, np.finfo(float).tiny), -1.0)
    badness[np.isnan(badness)] = np.inf

    def entry(i: int, j: int) -> Entry:
        return Entry(name(i, j), i, j, float(got[i, j]), float(expected[i, j]), float(tolerance[i, j]))

    worst = None
    if checked.any():
        i, j = np.unravel_index(int(np.argmax(badness)), got.shape)
        worst = entry(int(i), int(j))
    wrong = [entry(int(i), int(np.argmax(np.where(bad[i], badness[i], -1.0)))) for i in np.flatnonzero(bad.any(axis=1))]
    return Comparison(got_name, expected_name, int(checked.sum()), got.size, worst, tuple(wrong))


# ---- The truth ----


@dataclass(frozen=True, slots=True)
class Truth:
    """Derivatives along the columns of V, their errors, and the method that computed them."""

    value: Array
    error: Array
    kink: Array
    """True at a kink, where the one-sided derivatives differ: `value` is their mean, and `error` half of the gap."""
    method: str
    one_sided: Array
    """True at the edge of the domain, where only one side is defined: `value` is the derivative from there."""
    reason: str = ""
    """The reason against the complex step, if it was not used."""

    @property
    def tolerance(self) -> Array:
        """The tolerance for a right derivative: the error with a safety factor; at a kink, without one."""
        return np.where(self.kink, self.error * (1 + 1e-6), SAFETY * self.error)


_NOT_ANALYTIC = "the function is not analytic there, since it disagrees with differences"


def find_truth(f: Callable[[Array], Array], x: Array, V: Array, eps: float = EPS) -> Truth:
    """Differentiate `f` at `x` along the columns of `V` without any rule: by complex step or by differences.

    `eps` is the precision of the computation of `f`.

    >>> truth = find_truth(lambda x: np.array([x[0] * x[1]]), np.array([2.0, 3.0]), np.eye(2))
    >>> truth.value, truth.method
    (array([[3., 2.]]), 'complex step')
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        start = f(x).astype(np.float64)
        differences = find_differences(f, x, V, eps, start)
        C = _complex_step(f, x, V, start.shape)
        if isinstance(C, str):
            return dataclasses.replace(differences, reason=C)
        noise = _rounding_of_complex_step(f, x, V, eps, C)
    D, error, kink = differences.value, differences.error, differences.kink
    smooth = np.isfinite(error) & ~kink & ~differences.one_sided
    rounding = ROUNDINGS * eps * _row_scale(C, D)
    if not np.all(np.abs(C - D)[smooth] <= (SAFETY * error + rounding)[smooth]):
        return dataclasses.replace(differences, reason=_NOT_ANALYTIC)
    better = smooth & (noise < error)
    return dataclasses.replace(
        differences, value=np.where(better, C, D), error=np.where(better, noise, error), method="complex step"
    )


def _rounding_of_complex_step(f: Callable[[Array], Array], x: Array, V: Array, eps: float, C: Array) -> Array:
    """Return the largest change of the complex step `C` where the point is moved by some roundings: its own error.

    A recurrence or a Schur decomposition of complex numbers rounds more than its result shows.
    """
    noise = np.zeros(C.shape)
    rng = np.random.default_rng(0)
    for _ in range(NEIGHBORS):
        roundings = rng.choice([-1.0, 1.0], x.shape) * rng.integers(4, 16, x.shape)
        moved = _complex_step(f, x + eps * roundings * np.where(x == 0, 1.0, x), V, C.shape[:1])
        if not isinstance(moved, str):
            distance = np.abs(moved - C)
            noise = np.fmax(noise, np.where(np.isfinite(distance), distance, 0.0))
    return noise


def _complex_step(f: Callable[[Array], Array], x: Array, V: Array, shape: tuple[int, ...]) -> Array | str:
    """Differentiate by complex steps along the columns of `V`; return the reason if that is not possible."""
    columns = []
    for v in V.T:
        try:
            columns.append(f(x + 1j * STEP * v))
        except Exception as failure:
            return f"the function does not run on complex numbers ({type(failure).__name__})"
        if columns[-1].dtype.kind != "c":
            return "the function returns real numbers for complex ones"
        if columns[-1].shape != shape:
            return "the function returns another number of results for complex numbers"
    return np.column_stack([c.imag / STEP for c in columns])


def find_differences(
    f: Callable[[Array], Array], x: Array, V: Array, eps: float, start: Array, reason: str = ""
) -> Truth:
    """Differentiate `f` along the columns of `V` by differences; `start` is its value at `x`."""
    columns = [_differences(f, x, v, eps, start) for v in V.T]
    D, error, kink, one_sided = (np.column_stack([column[k] for column in columns]) for k in range(4))
    return Truth(D, error, kink.astype(bool), "differences", one_sided.astype(bool), reason)


def _differences(f: Callable[[Array], Array], x: Array, v: Array, eps: float, start: Array) -> tuple[Array, ...]:
    """Differentiate `f` along `v` by extrapolated differences: value, error, kinks, edges of the domain."""
    moved = np.abs(x[(v != 0) & (x != 0)])
    scale = max(1.0, float(np.median(moved))) if moved.size else 1.0
    d, error, kink = _ladder(f, x, v, 0.1 * scale, eps, start)
    closest = float(moved.min(initial=np.inf))
    poor = ~(error <= 1e-7 * np.abs(d)) & (d != 0)  # a NaN is poor
    if poor.any() and closest < 0.1:  # near the edge of a domain, or a kink: log at 1e-8
        finer = _ladder(f, x, v, 0.3 * closest, eps, start)
        better = finer[1] < error
        d, error, kink = (np.where(better, a, b) for a, b in zip(finer, (d, error, kink), strict=True))
    edge = np.isinf(error) & np.isfinite(start)
    for side in (1, -1) if edge.any() else ():
        d_side, error_side, _ = _ladder(f, x, v, 0.1 * scale, eps, start, side)
        better = edge & (error_side < error)
        d, error = np.where(better, d_side, d), np.where(better, error_side, error)
    return d, error, kink, edge & np.isfinite(error)


def _ladder(
    f: Callable[[Array], Array], x: Array, v: Array, h: float, eps: float, f0: Array, side: int = 0
) -> tuple[Array, Array, Array]:
    """Extrapolate central differences with steps h, h/4, h/16... to step 0; return value, error and kinks.

    Ridders (1982), "Accurate computation of F'(x) and F'(x) F''(x)".  The error is the distance of
    the best number of the table from those that it was made of and from the one before it of the same order; it is no
    less than rounding, nor than the distance from the differences of the smallest steps, if these contradict it.  At a
    kink, where the one-sided derivatives differ for all steps, it is half the gap: any value between them is right.
    With `side` 1 or -1 the differences are from this side of `x` alone.
    """
    ratio, rungs, probes = 4.0, 11, (13, 16)
    width = 1 if side else 2  # of the interval in steps; the order of the error, too

    def around(step: float) -> tuple[Array, Array]:
        above = f0 if side < 0 else _or_nan(f, x + step * v, f0.shape)
        return above, f0 if side > 0 else _or_nan(f, x - step * v, f0.shape)

    far = float(np.max(np.abs(x), where=v != 0, initial=0.0))  # x + h v is rounded too
    with np.errstate(all="ignore"):
        best, error = np.full(f0.shape, np.nan), np.full(f0.shape, np.inf)
        plain: list[Array] = []
        gaps: list[Array] = []
        coarser: list[Array] = []
        settled = False
        for k in range(rungs):
            if settled and k < rungs - 3:
                continue  # the last steps tell of kinks
            step = h / ratio**k
            above, below = around(step)
            row = [(above - below) / (width * step)]
            plain.append(row[0])
            gaps.append(np.abs(above - 2 * f0 + below) / step)
            noise = 8 * eps * (np.fmax(np.abs(above), np.abs(below)) + far * np.abs(row[0])) / step
            for j in range(0 if settled else k):
                better = row[j] + (row[j] - coarser[j]) / (ratio ** (width * (j + 1)) - 1)
                row.append(better)
                same_order = coarser[min(j + 1, k - 1)]
                apart = [np.abs(better - other) for other in (row[j], coarser[j], same_order)]
                estimate = np.max([*apart, noise], axis=0)
                take = estimate < error  # never, if it is NaN
                best, error = np.where(take, better, best), np.where(take, estimate, error)
            coarser, settled = row, settled or (k > 2 and bool(np.all(error <= 1e-9 * np.abs(best))))
        contradiction = np.abs(plain[-1] - best)
        error = np.where((contradiction > error) & (contradiction > 16 * noise), contradiction, error)
        for k in probes:  # too small a step to be accurate, small enough to see a jump that the others straddle
            step = h / ratio**k
            above, below = around(step)
            probed = (above - below) / (width * step)
            contradiction = np.abs(probed - best)
            doubt = 16 * noise * ratio ** (k - rungs + 1)
            error = np.where((contradiction > error) & (contradiction > doubt), contradiction, error)
        # a smooth function's gap shrinks with the step, to a sixteenth over two rungs
        steady = np.maximum(np.abs(gaps[-1] - gaps[-2]), np.abs(gaps[-1] - gaps[-3]))
        kink = (side == 0) & (gaps[-1] > 16 * noise) & (steady < 0.05 * gaps[-1])
        best, error = np.where(kink, plain[-1], best), np.where(kink, gaps[-1] / 2 + noise, error)
    return best, error, kink


def _or_nan(f: Callable[[Array], Array], x: Array, shape: tuple[int, ...]) -> Array:
    """Evaluate `f` near the point; return NaN if it is not defined there or has another shape."""
    try:
        y = f(x)
    except (ArithmeticError, ValueError, IndexError, np.linalg.LinAlgError):
        return np.full(shape, np.nan)
    return y.astype(np.float64) if y.shape == shape else np.full(shape, np.nan)


# ---- What is wrong, and where ----


def _findings(
    point: _Point, comparisons: Sequence[Comparison], products: _Products, rng: np.random.Generator
) -> list[str]:
    """Describe the wrong entry of each wrong output with the place of its computation, and the wrong rules."""
    program: Program | None
    try:
        program = trace(point.f)(*point.args)
    except WengertError:  # pragma: no cover - it was linearized just before
        program = None
    findings: list[str] = []
    seen: set[int] = set()
    combined = point.m > FULL
    for k, comparison in enumerate(comparisons[:3]):
        if combined and k > 0:
            continue  # an entry of a random combination has no line of its own
        for entry in comparison.wrong:
            if entry.output in seen or len(seen) == 5:
                continue
            seen.add(entry.output)
            shown = entry if products.entrywise else _localized(point, entry, products.V, comparison.got)
            text = (
                f"{shown.name}: {comparison.got} gives {shown.got:.10g}, {comparison.expected} gives "
                f"{shown.expected:.10g} (relative error {shown.error:.1e}, allowed {shown.tolerance:.1e})"
            )
            findings.append(text + _defined_at(program, point, entry.output))
    if program is not None:
        findings += wrong_rules(program, point.args, rng)
    return findings


def _localized(point: _Point, entry: Entry, V: Array, mode: str) -> Entry:
    """Halve a wrong direction repeatedly, down to the single wrong input."""
    row = point.pull(np.eye(point.m)[:, [entry.output]])[:, 0] if mode == "reverse" and point.m <= FULL else None
    support = np.arange(point.n)
    v = V[:, entry.input]
    got = expected = allowed = 0.0
    while support.size > 1:
        halves = []
        for half in np.array_split(support, 2):
            part = np.zeros(point.n)
            part[half] = v[half]
            truth = find_truth(point.value, point.x, part[:, None], point.precision)
            got = float(point.push(part[:, None])[entry.output, 0] if row is None else row @ part)
            expected, slack = float(truth.value[entry.output, 0]), float(truth.tolerance[entry.output, 0])
            halves.append((abs(got - expected), half, got, expected, slack + entry.tolerance))
        distance, support, got, expected, allowed = max(halves, key=lambda half: half[0])
        if not distance > allowed:
            return entry
    j = int(support[0])
    name = f"d{point.output_name(entry.output)}/d{point.input_name(j)}"
    return Entry(name, entry.output, j, got * v[j], expected * v[j], allowed)


def _defined_at(program: Program | None, point: _Point, output: int) -> str:
    if program is None:
        return ""
    packing = program.results[0]
    atom = packing.atoms[0 if packing.whole else output]
    for line in program.lines:
        if atom in line.outputs:
            where = "" if line.location is None else f"\n{line.location.excerpt()}"
            return f"\n  {point.output_name(output)} is computed last in  {line}{where}"
    return ""


def wrong_rules(program: Program, args: Sequence[Any], rng: np.random.Generator) -> list[str]:
    """Check every line of a Program by itself, and return a description of each primitive with a wrong rule.

    The rule is pushed and pulled through in random directions, and compared with differences of the primitive alone.
    The lines of a loop's body are checked at the values of its first steps.
    """
    faults: dict[str, str] = {}
    _check_lines(program, args, rng, faults, "")
    return list(faults.values())


STEPS = 3
"""The number of steps of a loop that are checked."""


def _check_lines(
    program: Program, args: Sequence[Any], rng: np.random.Generator, faults: dict[str, str], within: str
) -> None:
    with np.errstate(all="ignore"):
        linearization = Linearization.of_program(program, *args)
    for line, row in zip(program.lines, linearization.rows, strict=True):
        name = line.primitive.name
        if isinstance(line.held, Holding):
            with np.errstate(all="ignore"):
                runs = list(itertools.islice(run_of(line.held, row[2][1:]).programs(), STEPS))
            for title, inner, values in runs:
                _check_lines(inner, values, rng, faults, f" {title}{within}")
        if name in faults or name == "stop_gradient" or line.primitive.multiple:
            continue
        for atom in dict.fromkeys(a for a in line.inputs if isinstance(a, Var) and a.dtype.kind == "f" and a.size):
            with np.errstate(all="ignore"):
                fault = _fault(line, row, atom, rng)
            if fault:
                where = "" if line.location is None else f"\n{line.location.excerpt()}"
                faults[name] = (
                    f"The rule of {name} is wrong{within}. In  {line}\n  d{line.outputs[0]}/d{atom} {fault}{where}"
                )
                break


def _fault(line: Line, row: Any, atom: Var, rng: np.random.Generator) -> str:
    """Describe the fault in the derivative of a line with respect to one of its variables; empty if it is right."""
    primitive, parents, kept, params, _, _ = row
    position = next(parents[k] for k, a in enumerate(line.inputs) if a is atom)
    y, *values = kept
    x = np.asarray(values[line.inputs.index(atom)], dtype=np.float64)
    if y.dtype.kind != "f" or not y.size:
        return ""
    eps = float(max(np.finfo(y.dtype).eps, np.finfo(atom.dtype).eps))
    scalar = x.size == 1 and y.size == 1
    t = np.ones(x.shape) if scalar else _kept_like(rng.standard_normal(x.shape), eps)
    g = np.ones(y.shape) if scalar else _kept_like(rng.standard_normal(y.shape), eps)

    def alone(flat: Array) -> Array:
        moved = flat.reshape(x.shape)[()]
        operands = [moved if a is atom else v for a, v in zip(line.inputs, values, strict=True)]
        return np.ravel(primitive.numpy(*operands, **params))

    truth = find_truth(alone, x.ravel(), t.reshape(-1, 1), float(np.finfo(alone(x.ravel()).dtype).eps))
    d = truth.value[:, 0]
    pushed, pulled, scale = np.zeros(y.shape), 0.0, 0.0
    for parent, _, J in edges(row):
        if parent == position:
            pull = np.asarray(J.pull(g.astype(y.dtype)[()]), dtype=np.float64)
            pulled, scale = pulled + float(np.sum(pull * t)), scale + float(np.sum(np.abs(pull * t)))
            if primitive.jvp is None:
                pushed = pushed + J.push(t.astype(atom.dtype)[()])
    if primitive.jvp is not None:
        tangents = [t.astype(atom.dtype)[()] if parent == position else None for parent in parents]
        pushed = np.asarray(primitive.jvp(tangents, kept[1:], 0, **params))
    ahead = np.broadcast_to(np.asarray(pushed, dtype=np.float64), y.shape)
    allowed = truth.tolerance[:, 0] + ROUNDINGS * eps * (np.max(np.abs(d[np.isfinite(d)]), initial=0.0) + 1e-300)
    finite = np.isfinite(allowed)
    distance = np.where(finite, np.abs(ahead.ravel() - d), 0.0)
    if np.any(distance > np.where(finite, allowed, np.inf)):
        k = int(np.argmax(distance - np.where(finite, allowed, 0.0)))
        verb = "is" if scalar else "times a random tangent is"
        return f"{verb} {ahead.ravel()[k]:.10g} by the rule, {d[k]:.10g} by {truth.method}."
    across = float(np.sum(g * ahead))
    if abs(across - pulled) > ROUNDINGS * eps * (scale + float(np.sum(np.abs(g * ahead)))):
        return (
            "pushes forward and pulls back as two different maps: "
            f"<g, J t> = {across:.10g}, <J^T g, t> = {pulled:.10g}."
        )
    return ""


def _kept_like(v: Array, eps: float) -> Array:
    return v.astype(np.float32).astype(np.float64) if eps > 1e-10 else v


__all__ = ["Comparison", "Entry", "Report", "Truth", "check_derivatives", "find_truth", "wrong_rules"]
