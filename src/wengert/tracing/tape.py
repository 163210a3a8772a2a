"""The tape: the rows of one trace.

A row is a plain tuple, since thousands are made a millisecond::

    (primitive, parents, kept, params, place, out)

`parents` are the positions of the operands (-1 for a constant), `kept` is the result and operands as far as the
derivative rules will read them (`Shaped` stands for the rest), `place` is where in the user's code, and `out` the
position of the result.  A line with several results (a loop) has a tuple of them, as the first of `kept` and as `out`.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from wengert.errors import EscapedError, MatrixError, RawLocation, ShapeError, WengertError
from wengert.program import SMALL, Primitive, Shaped
from wengert.program.structure import exactly
from wengert.tracing.context import Context
from wengert.tracing.fingerprints import Unchanged

ndarray = np.ndarray

Row = tuple[Primitive, tuple[int, ...], tuple[Any, ...], Mapping[str, Any], RawLocation | None, Any]
COPIED = 1024
"""The user's own arrays of up to so many elements are copied onto the tape: they may change before they are read.

Of larger ones the tape remembers how they looked (see `fingerprints`)."""
FLOAT64, INT64 = np.dtype(np.float64), np.dtype(np.int64)
CHUNK = 1 << 14
"""After so many positions more, rows are folded."""
LONG = 1 << 18
"""Of a trace for one sweep, rows are folded from so many positions on: shorter ones take little memory."""
LOOKED_AT = 1 << 10
"""So many rows are looked at to know what kind of trace it is."""
NO_PARAMS: Mapping[str, Any] = types.MappingProxyType({})

np.empty((32 << 20) - (64 << 10), np.uint8)  # freed at once, so that glibc keeps what sweeps free: docs/design/0013


def outputs_of(row: Row) -> tuple[int, ...]:
    """Return the positions of the results of a row: of one, or of several."""
    out = row[5]
    return out if type(out) is tuple else (out,)


def results_of(row: Row) -> tuple[tuple[int, Any], ...]:
    """Return the positions of the results of a row, each with the value (or what is kept of it)."""
    out = row[5]
    return tuple(zip(out, row[2][0], strict=True)) if type(out) is tuple else ((out, row[2][0]),)


def _are_of_arrays(rows: Sequence[Row]) -> bool:
    """Return whether more than a quarter of rows compute arrays."""
    return sum(any(n > 1 for n in getattr(row[2][0], "shape", ())) for row in rows) > len(rows) / 4


def _repeat(rows: Sequence[Row]) -> bool:
    """Return whether rows are equal steps, one after the other: in primitives, parameters and shapes."""
    keys = [
        (row[0], getattr(row[2][0], "shape", ()), [(name, exactly(value)) for name, value in row[3].items()])
        for row in rows
    ]
    return any(keys[period:] == keys[:-period] for period in range(1, len(keys) // 3))


class LongTrace(BaseException):
    """A trace has become too long for its rows to be lines."""


class Lengths(NamedTuple):
    """From how many positions on a trace is too long for its rows to be lines.

    Attributes
    ----------
    equal
        One whose steps are equal: a loop of one step says the same.
    numbers, arrays
        One of numbers; one of arrays.
    """

    equal: int
    numbers: int
    arrays: int


class Tape:
    """The rows of one trace, as they are made."""

    __slots__ = (
        "adopted", "branches", "captures", "context", "decisions", "differentiates", "folding", "folds", "full",
        "guards", "keep_all", "keeps_large", "level", "mixed", "most", "narrow", "open", "planned", "roots", "rows",
        "size", "unchanged", "with_complex",
    )  # fmt: skip

    def __init__(
        self,
        context: Context,
        keep_all: bool,
        planned: bool = False,
        fold: Callable[[], Any] | None = None,
        most: Lengths | None = None,
        keeps_large: bool = True,
    ) -> None:
        self.context, self.keep_all = context, keep_all
        self.keeps_large = keeps_large and fold is None
        """With `keep_all` every value stays on the tape, unless large ones need not: a Program has their shapes."""
        self.planned = planned
        """True if an order of accumulation is chosen by what the rows cost: loops are counted as lines."""
        self.level = len(context.tapes)
        self.rows: list[Row] = []
        self.roots: dict[int, Row] = {}
        """The rows of roots (norms, moduli), by position: their squares have rules of their own."""
        self.guards: list[tuple[int, bool | int, RawLocation | None]] = []
        self.branches: list[RawLocation | None] = []
        """Where the user's code decided by values, not a function of NumPy's or SciPy's that it called.

        Those of the bodies of loops are on the outermost tape."""
        self.size = 0
        self.open = True
        self.with_complex = False
        self.narrow = False
        """True once there has been a value that NumPy promotes to another dtype where it meets a float64."""
        self.mixed = False
        """True once a plain value of another precision has been brought to that of a result."""
        self.captures: dict[tuple[int, int], tuple[Any, Any]] | None = None
        """In the trace of a loop's body, the traced values of other traces that it read, and what stands for them."""
        self.decisions: list[tuple[tuple[int, ...], RawLocation | None, str]] = []
        """Each time that values became a "truth", a "position" (or count, or mask) or "text": which, and where."""
        self.differentiates = False
        """True if the function takes derivatives: those of its kinks are decisions, and nothing to warn of."""
        self.adopted: list[tuple[Any, Any, RawLocation]] = []
        """The plain arrays that traced ones have taken the place of, and what NumPy is to have written into them."""
        self.unchanged: Unchanged | None = None
        """The large plain arrays that rows have read; None until there is one."""
        self.folds = fold
        """Makes what folds the rows while they are recorded (`wengert.control.folding`); None where nothing does."""
        self.folding: Any = None
        """That, once the tape has been full."""
        self.most = most
        """How long the trace may become where nothing folds it; None for any length."""
        lengths = sys.maxsize if most is None else most.equal
        self.full = lengths if fold is None else CHUNK if keep_all else LONG
        """The number of positions at which rows are to be folded."""

    def fold(self) -> None:
        """Fold the rows of a long trace, which is full; raise LongTrace where nothing folds them."""
        if self.folds is None:
            assert self.most is not None, "only then it becomes full"
            last = self.rows[-LOOKED_AT:]
            longest = self.most.arrays if _are_of_arrays(last) else self.most.numbers
            if self.size >= longest or _repeat(last):
                raise LongTrace
            self.full = min(longest, self.size + CHUNK)
            return
        self.folding = self.folding or self.folds()
        self.folding.fold(self)
        self.full = self.size + CHUNK

    def finish(self, results: Sequence[tuple[str, Any]]) -> None:
        """Write the rows anew that have been folded, once the function has returned."""
        if self.folds is not None and self.keep_all:
            self.folding = self.folding or self.folds()
        if self.folding is not None:
            self.folding.finish(self, [y._index for _, y in results if getattr(y, "_tape", None) is self])
            self.folding = None

    def remember(self, array: Any) -> None:
        """Remember how a large plain array looks that a row reads."""
        if self.unchanged is None:
            self.unchanged = Unchanged()
        self.unchanged.remember(array)


PLAIN = frozenset({float, int, bool, complex, np.complex128, np.ndarray, np.float64, np.bool_, np.int64, np.float32})
SCALARS = frozenset({complex, np.complex128, np.float64, np.float32, np.bool_, np.int64, float, int, bool})


def escaped(place: RawLocation | None) -> EscapedError:
    """Make the error for a traced value that outlived its trace."""
    return EscapedError.at(
        place,
        "a traced value is used after its trace has ended:",
        "Return it from the function that is differentiated; do not keep it in a global, an attribute or a cache.",
    )


def shape_error(primitive: Primitive, values: Sequence[Any], error: Exception, place: RawLocation | None) -> Exception:
    """Make the error for operands that do not go together, naming their shapes and the user's line."""
    if isinstance(error, WengertError):
        return error
    shapes = " and ".join(str(np.shape(v)) for v in values)
    if isinstance(error, np.linalg.LinAlgError):
        return MatrixError.at(
            place,
            f"{primitive.name} of a matrix of shape {shapes}: {error}",
            "Check that matrix: its shape, its rank, its sign.",
        )
    return ShapeError.at(
        place,
        f"{primitive.name} does not take operands of shapes {shapes}: {error}",
        "Check the shapes in that line; reshape or transpose one of them.",
    )


def read_for(primitive: Primitive, position: int) -> tuple[bool, ...]:
    """Return which of (result, first operand, second) the rule for one of two operands reads."""
    reads = primitive.reads[position] if position < len(primitive.reads) else ()
    return reads + (False,) * (3 - len(reads))


def what_is_kept(primitive: Primitive, parents: Sequence[int], y: Any, values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what a row keeps of its result and operands: what the rules that may be asked will read."""
    if len(values) == 1 and y.size <= SMALL and values[0].size <= SMALL:
        return (y, *values)
    if primitive.elementwise and len(parents) == 2 and -1 in parents:  # c * x: only one of the rules will be asked
        return what_is_read(read_for(primitive, parents[0] < 0), y, values)
    if primitive.keeps_all:
        return (y, *values)
    return what_is_read(primitive.keeps, y, values)


def what_is_read(keeps: tuple[bool, ...], y: Any, values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return result and operands, those that no rule will read (and that are not small) replaced by their shapes."""
    shape, dtype = y.shape, y.dtype
    if len(values) == 1 and len(keeps) == 2 and not (keeps[0] and keeps[1]):
        (value,) = values  # what is kept of the two stands in for the other, if it has the same shape
        if value.shape == shape and value.dtype is dtype:
            stand_in = y if keeps[0] else value if keeps[1] else Shaped(shape, dtype)
            return stand_in, stand_in
    stand_in = y if keeps[0] or y.size <= SMALL else None
    last = len(keeps) - 1
    kept = [stand_in]
    k = 0
    for value in values:
        if k < last:
            k += 1
        if keeps[k] or type(value) in SCALARS or value.size <= SMALL:
            kept.append(value)
            if stand_in is None and type(value) is ndarray and value.shape == shape and value.dtype is dtype:
                stand_in = value  # it is kept anyway, and has the shape
        elif value.shape == shape and value.dtype is dtype:
            if stand_in is None:
                stand_in = Shaped(shape, dtype)
            kept.append(stand_in)
        else:
            kept.append(Shaped(value.shape, value.dtype))
    if kept[0] is None:
        kept[0] = Shaped(shape, dtype) if stand_in is None else stand_in
    return tuple(kept)


def constants_are_kept(parents: Sequence[int], y: Any, values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what a row keeps that is to be a line, but not swept: its constants; large values only by their shapes."""
    return (
        _or_shape(y),
        *[value if parent < 0 else _or_shape(value) for parent, value in zip(parents, values, strict=True)],
    )


def _or_shape(value: Any) -> Any:
    """Return a small value itself, and the shape of a large one."""
    return Shaped(value.shape, value.dtype) if type(value) is ndarray and value.size > SMALL else value


def is_kept(row: Row, k: int) -> bool:
    """Return whether a row keeps its result (`k` is 0) or its k-th operand itself, not what stands in for it."""
    primitive, parents, kept, _, _, _ = row
    value = kept[k]
    if type(value) is Shaped:
        return False
    if type(value) in SCALARS or value.size <= SMALL:
        return True
    keeps = primitive.keeps
    if primitive.elementwise and len(parents) == 2 and -1 in parents:
        keeps = read_for(primitive, parents[0] < 0)
    return bool(keeps) and keeps[min(k, len(keeps) - 1)]
