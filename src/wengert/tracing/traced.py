"""The traced value: stands for an array or scalar, and writes down what is done to it.

Operators append a row to its tape and return the next traced value.  They are written directly on the class, and rows
made with as few calls as possible: this is the path that every line of every trace takes.  What else an array has
stands in `methods`, above what it is made of.

>>> import wengert as wg
>>> print(wg.trace(lambda x: 2.0 * x + 1.0)(3.0).listing(places=False))
x = u_0
u_1 = 2 * u_0
u_2 = u_1 + 1  = y
"""

from __future__ import annotations

import functools
import numbers
import operator
import sys
import types
import weakref
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from wengert.errors import (
    ArgumentError,
    AxisError,
    Location,
    LostGradientError,
    MatrixError,
    RawLocation,
    ShapeError,
    UnsupportedError,
    WengertError,
    caller,
)
from wengert.primitives.numpy import elementwise as e
from wengert.primitives.numpy import functions
from wengert.primitives.numpy.structural import astype, concatenate, getitem, matmul, stack
from wengert.program import SMALL, Operand, Primitive, Recordable, Shaped, as_value, computes_lines
from wengert.tracing.callers import asks_inside, decides_inside, shuffles
from wengert.tracing.context import at_place
from wengert.tracing.layout import laid_like
from wengert.tracing.names import redirect_calls
from wengert.tracing.tape import (
    COPIED,
    FLOAT64,
    INT64,
    NO_PARAMS,
    PLAIN,
    Tape,
    constants_are_kept,
    escaped,
    shape_error,
    what_is_kept,
)
from wengert.tracing.unsupported import Text, has_own_operations, means_more, refuse_kind, unsupported_call

_getframe = sys._getframe
_asarray = np.asarray  # NumPy's own, whatever stands in its place while a trace runs
ndarray, float64, float32 = np.ndarray, np.float64, np.float32


_JOINS = frozenset({stack, concatenate})


# ---- Rows ----


def record_line(primitive: Primitive, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
    """Compute a primitive on traced and other values, write the row, return the traced result.

    Called by something that the user's code called: the place is two frames up, unless the context knows better.
    """
    tape: Any = None
    values: list[Any] = []
    parents: list[int] = []
    large = narrow = False
    for a in args:
        kind = type(a)
        if kind is Traced:
            if a._tape is not tape:
                if tape is not None:
                    return record_on_innermost(primitive, args, params)
                tape = a._tape
            values.append(a._value)
            parents.append(a._index)
        elif kind is ndarray and not a.dtype.hasobject:
            if a.size <= COPIED:
                lies_by_rows = a.flags.c_contiguous
                a = a.copy() if lies_by_rows else laid_like(a, a) if 0 in a.strides else a.copy("K")
            else:
                large = True
            if a.dtype is not FLOAT64 and a.dtype is not INT64:
                narrow = True
            values.append(a)
            parents.append(-1)
        elif kind in PLAIN and kind is not ndarray:
            if kind is float32:
                narrow = True
            values.append(a)
            parents.append(-1)
        else:
            return record_mixed(primitive, args, params)
    if narrow and primitive.promotes:
        tape.narrow = True
    if large:
        values = [*remember_large(tape, values, parents)]  # lest NumPy compute into what only the row would hold
    return write_row(tape, primitive, tuple(values), tuple(parents), params, 3)


def remember_large(tape: Tape, values: Sequence[Any], parents: Sequence[int] | None = None) -> Sequence[Any]:
    """Return operands or parts of an index; the large plain arrays among them, if not copied, are remembered on a tape.

    They are copied only where an earlier run has changed arrays that it had read: not those, which are the user's.
    """
    for value in values:
        if type(value) is ndarray and value.size > COPIED:
            break
    else:
        return values
    changed = tape.context.changed
    fixed = list(values)
    for k, value in enumerate(values):
        if type(value) is ndarray and value.size > COPIED and (parents is None or parents[k] < 0):
            if changed is None:
                tape.remember(value)
                continue
            error, arrays = changed
            if any(np.may_share_memory(value, array) for array in arrays):
                raise error
            fixed[k] = laid_like(value, value)
    return fixed


def record_on_innermost(primitive: Primitive, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
    """Record where values of several traces meet: the innermost writes the row, the others' are constants to it."""
    if any(map(is_kept_constant, args)):
        args = [plain(a) if is_kept_constant(a) else a for a in args]
        return at_place(lambda: record_line(primitive, args, params))
    tape = max((a._tape for a in args if type(a) is Traced), key=lambda tape: tape.level)
    if tape.captures is not None:
        captured = [capture(tape, a) if type(a) is Traced and a._tape is not tape else a for a in args]
        return at_place(lambda: record_line(primitive, captured, params))
    values = tuple(
        a if type(a) is not Traced else a._value if a._tape is tape else Traced(a._value, a._tape, a._index)
        for a in args  # an array of an outer trace may be assigned to later, and then stands for another value
    )
    tape.narrow = True  # who knows
    parents = tuple(a._index if type(a) is Traced and a._tape is tape else -1 for a in args)
    fixed = [*remember_large(tape, values, parents)]
    return at_place(lambda: write_row(tape, primitive, tuple(fixed), parents, params, 3))


@computes_lines(lambda variables: (variables["primitive"], variables["place"], variables["values"]))
def write_row(  # noqa: C901 - the hottest function of tracing: no more calls
    tape: Tape,
    primitive: Primitive,
    values: tuple[Any, ...],
    parents: tuple[int, ...],
    params: Mapping[str, Any],
    depth: int,
) -> Any:
    """Compute a primitive on the values of one trace and write the row; the user's code is `depth` frames up."""
    context = tape.context
    place = context.place
    if place is None:
        frame = _getframe(depth)
        place = (frame.f_code, frame.f_lasti)
    if not tape.open:
        return _outside(primitive, values, parents, params, place)
    try:
        if tape.level == 0 or tape.captures is not None:  # all values are plain
            y = primitive.compute(*values, **params) if params else primitive.compute(*values)  # twice as fast
        else:
            before, context.place = context.place, place
            try:
                y = primitive(*values, **params)
            finally:
                context.place = before
    except ValueError as error:
        raise shape_error(primitive, values, error, place) from error
    kind = type(y)
    if (
        (primitive.is_usual or (primitive is getitem and len(values) == 1 and values[0].size <= SMALL))
        and (kind is float64 or (kind is ndarray and y.dtype is FLOAT64 and y.size <= SMALL))
        and not (tape.narrow or tape.keep_all)
        and (parents[0] >= 0 or max(parents) >= 0)
    ):
        out = tape.size  # as below: most rows of most traces
        tape.size = out + 1
        tape.rows.append((primitive, parents, (y, *values), params, place, out))
        if out >= tape.full:
            tape.fold()
        return Traced(y, tape, out)
    if kind is not float64 and kind is not ndarray:
        if kind is tuple:
            return _write_several(tape, primitive, y, values, parents, params, place)
        y = (
            as_value(y) if kind is not Traced else y._value if y._tape is tape else y
        )  # made by the user's own primitive
        kind = type(y)
    if kind is not float64 and y.dtype is not FLOAT64:
        if y.dtype.kind == "c":
            tape.with_complex = True
        if y.dtype.kind in "fc":
            tape.narrow = True
    if tape.narrow and primitive.promotes:
        values, parents = _promoted(tape, primitive, values, parents, y.dtype, place)
    if parents[0] < 0 and max(parents) < 0:  # an array that may be assigned to, but has not been yet
        return Traced(y, tape, -1) if kind is ndarray and y.dtype.kind in "fc" else y
    if primitive is getitem and kind is ndarray and y.size <= SMALL < values[0].size and y.base is not None:
        y = y.copy("K")  # so that a row of a large array does not hold all of it, which can be written to in place
    kept: Any
    if tape.keep_all:
        holds_all = (
            tape.keeps_large
            or primitive.squared is not None
            or (primitive.elementwise and (kind is float64 or y.size <= SMALL))
        )
        kept = (y, *values) if holds_all else constants_are_kept(parents, y, values)
    elif not primitive.keeps:
        if y.dtype is not FLOAT64 and y.dtype.kind in "biu" and context.tapes[-1] is tape:
            tape.decisions.append((parents, place, "truth" if y.dtype.kind == "b" and not y.shape else "position"))
        return y  # no derivative: nobody will ask for this row
    elif (primitive.elementwise or primitive in _JOINS) and (kind is float64 or y.size <= SMALL):
        kept = (y, *values)  # no operand is larger than the result
    elif (
        y.size <= SMALL
        and type(values[0]) is ndarray
        and values[0].size <= SMALL
        and (len(values) == 1 or (len(values) == 2 and type(values[1]) is ndarray and values[1].size <= SMALL))
    ):
        kept = (y, *values)
    else:
        kept = what_is_kept(primitive, parents, y, values)
    out = tape.size
    tape.size = out + 1
    tape.rows.append((primitive, parents, kept, params, place, out))
    if primitive.squared is not None:
        tape.roots[out] = tape.rows[-1]
    if out >= tape.full:
        tape.fold()
    return Traced(y, tape, out)


def _outside(
    primitive: Primitive, values: Sequence[Any], parents: Sequence[int], params: Mapping[str, Any], place: Any
) -> Any:
    """Compute with what has outlived its trace: constants, which a function may keep; all else has escaped."""
    if max(parents) >= 0:
        raise escaped(place)
    return primitive(*[plain(v) for v in values], **params)


def squared(root: Traced) -> Any:
    """Square a root, a norm say: a row that is differentiated by the radicand, for it is smooth where the root is not.

    >>> import wengert as wg
    >>> wg.hessian(lambda x: np.linalg.norm(x) ** 2)(np.zeros(2))
    array([[2., 0.],
           [0., 2.]])
    """
    primitive, parents, kept, params, _, _ = root._tape.roots[root._index]
    assert primitive.squared is not None
    return write_row(root._tape, primitive.squared, (root._value, *kept[1:]), (root._index, *parents), params, 3)


def _promoted(
    tape: Tape,
    primitive: Primitive,
    values: tuple[Any, ...],
    parents: tuple[int, ...],
    dtype: np.dtype[Any],
    place: Any,
) -> tuple[tuple[Any, ...], tuple[int, ...]]:
    """Bring operands to the dtype in which NumPy has computed with them, so that the rules do so, too.

    A traced operand gets a line for that.  Bytes and half precision are what this is for: int64 is wide enough, and a
    mask may stand in a product.
    """
    real = np.dtype(dtype.char.lower()) if dtype.kind == "c" else dtype
    if real.kind != "f":
        return values, parents
    by_loop = _takes_integers(primitive)
    converted, positions = list(values), list(parents)
    for k, (value, parent) in enumerate(zip(values, parents, strict=True)):
        own = getattr(value, "dtype", None)
        if own is None or own is dtype or own is real:
            continue
        if own.kind in "iu":
            wanted = None if own is INT64 else INT64 if by_loop else real
        elif own.kind == "b":
            wanted = None if primitive is e.multiply else real
        else:
            wanted = dtype if own.kind == "c" else real
            if parent >= 0 and primitive is e.multiply:
                wanted = None  # its partial is the other operand as it is
            tape.mixed = tape.mixed or parent < 0
        if wanted is None or (own == wanted and own.isnative):
            continue
        if parent < 0:
            converted[k] = value.astype(wanted)
            continue
        context = tape.context
        before, context.place = context.place, place
        try:
            wide = write_row(tape, astype, (value,), (parent,), {"dtype": wanted}, 1)
        finally:
            context.place = before
        converted[k], positions[k] = wide._value, wide._index
    return tuple(converted), tuple(positions)


@functools.cache
def _takes_integers(primitive: Primitive) -> bool:
    """Return whether an operand chooses the loop of a ufunc by being an integer: the degree of a polynomial."""
    nin = primitive.numpy.nin  # type: ignore[attr-defined]
    loops = [set(types[:nin]) for types in primitive.numpy.types]  # type: ignore[attr-defined]
    return any(len(operands) > 1 and operands & set("ilq") and not operands & set("mM") for operands in loops)


def _write_several(
    tape: Tape,
    primitive: Primitive,
    results: Sequence[Any],
    values: tuple[Any, ...],
    parents: tuple[int, ...],
    params: Mapping[str, Any],
    place: Any,
) -> tuple[Any, ...]:
    """Write the row of a line with several results, and return a traced value for each."""
    results = tuple(map(as_value, results))
    results = tuple(y._value if type(y) is Traced and y._tape is tape else y for y in results)
    if any(y.dtype is not FLOAT64 for y in results):
        tape.with_complex = tape.with_complex or any(y.dtype.kind == "c" for y in results)
        tape.narrow = True
    if max(parents, default=-1) < 0:
        return tuple(constant(tape, y) if type(y) is ndarray and y.dtype.kind in "fc" else y for y in results)
    read = results if tape.keep_all else tuple(y if y.size <= SMALL else Shaped(y.shape, y.dtype) for y in results)
    out = tuple(range(tape.size, tape.size + len(results)))
    tape.size += len(results)
    tape.rows.append((primitive, parents, (read, *values), params, place, out))
    return tuple(Traced(y, tape, position) for y, position in zip(results, out, strict=True))


def record_results(
    primitive: Primitive,
    args: Sequence[Any],
    params: Mapping[str, Any],
    results: Sequence[Any],
    swept: Mapping[str, Any],
) -> tuple[Any, ...]:
    """Write a line whose results are computed, on each trace that its operands belong to; return them, traced.

    A row that is to be swept has the parameters `swept` beside its own.  The operands are `settled`.
    """
    args = [plain(a) if is_kept_constant(a) else a for a in args]
    tape = max((a._tape for a in args if type(a) is Traced), key=lambda tape: tape.level, default=None)
    if tape is None:
        return tuple(results)
    context = tape.context
    place = caller() if context.place is None else context.place
    if not tape.open:
        raise escaped(place)
    if tape.captures is not None:
        args = [capture(tape, a) if type(a) is Traced and a._tape is not tape else a for a in args]
    values = tuple(a._value if type(a) is Traced and a._tape is tape else a for a in args)
    parents = tuple(a._index if type(a) is Traced and a._tape is tape else -1 for a in args)
    values = tuple(remember_large(tape, values, parents))
    if tape.captures is None:
        results = record_results(primitive, values, params, results, swept)
    if not tape.keep_all:
        params = {**params, **swept}
    return _write_several(tape, primitive, results, values, parents, params, place)


def settled(value: Any) -> Any:
    """Return an operand that will not change: a small plain array is copied, as it may be the user's."""
    return value.copy("K") if type(value) is ndarray and value.size <= COPIED else value


def innermost(value: Any) -> Any:
    """Return the plain value that a traced value stands for, through all traces."""
    while type(value) is Traced:
        value = value._value
    return value


def as_array(value: Any) -> Any:
    """Make an array without dimensions of a scalar: it is the same number, but it can be assigned to."""
    if type(value) is not Traced:
        return value if type(value) is ndarray else _asarray(value)
    is_one = value._value.shape or type(innermost(value)) is ndarray
    return value if is_one else Traced(as_array(value._value), value._tape, value._index)


def as_scalar(value: Any) -> Any:
    """Make a scalar of an array without dimensions, as ``value[()]`` does; any other value stays what it is."""
    if type(value) is not Traced:
        return value[()] if type(value) is ndarray and not value.shape else value
    is_one = value._value.shape or type(innermost(value)) is not ndarray
    return value if is_one else Traced(as_scalar(value._value), value._tape, value._index)


# ---- Operators ----


class LeftToOther(Exception):  # noqa: N818 - it does not reach users
    """An operand has the operation itself, and is asked by NumPy where it is told so."""


def record_mixed(primitive: Primitive, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
    """Record with operands of other kinds: lists, NumPy scalars, object arrays that hold traced values."""
    if all_constant(args) and any(means_more(type(a)) for a in args):
        return primitive.numpy(*plain(args), **params)
    for kind in map(type, args):
        if kind is not Traced and has_own_operations(kind):
            raise LeftToOther(kind)
    return at_place(lambda: primitive(*[a if type(a) is Traced else operand(a) for a in args], **params))


def operand(value: Any) -> Any:
    """Bring an operand that is not traced into the form in which values are kept; traced values inside are stacked."""
    if holds_traced(value):
        return join(value)
    if isinstance(value, (float, int, bool, complex)) and not isinstance(value, np.generic):
        return value + 0
    if isinstance(value, Fraction):
        return float(value)
    if means_more(type(value)):
        raise refuse_kind(type(value))
    array = np.asarray(value)
    if array.dtype.hasobject or array.dtype.kind not in "biufc":
        if type(value).__module__.startswith("scipy.sparse"):
            raise unsupported_call(f"scipy.sparse.{type(value).__name__}", caller())
        raise ArgumentError.at_caller(
            f"a value of type {type(value).__name__} meets a traced array in arithmetic:",
            "Use a number or a numeric array there.",
        )
    return array[()] if array.ndim == 0 and type(array[()]) in PLAIN else array


def _has_operations(traced: Any, kind: type) -> bool:
    """Return whether an operand of a class has the operation itself, from the right.

    A sparse matrix has, what NumPy leaves the operation to, and where the traced value is a number any other object;
    to a constant all that means more than its elements.
    """
    return has_own_operations(kind) or (traced._index < 0 and means_more(kind)) or _answers_numbers(traced, kind)


def _answers_numbers(traced: Any, kind: type) -> bool:
    """Return whether a traced value is a number, which NumPy leaves to objects that are no arrays or numbers."""
    return not traced._value.shape and not issubclass(kind, _ARRAYS_AND_NUMBERS) and not hasattr(kind, "__array__")


_ARRAYS_AND_NUMBERS = (ndarray, np.generic, numbers.Number, list, tuple, str, bytes, type(None), dict)


_computes_numbers = computes_lines(
    lambda variables: (variables["primitive"], variables["place"], (variables["value"], variables["operand"]))
)


_COMPARISONS = frozenset({e.less, e.less_equal, e.greater, e.greater_equal, e.equal, e.not_equal})


def _binary(primitive: Primitive) -> Callable[[Any, Any], Any]:
    compute, is_usual, compares = primitive.compute, primitive.is_usual, primitive in _COMPARISONS
    multiplies, raises = primitive is e.multiply, primitive is e.power

    @_computes_numbers
    def method(self: Any, other: Any) -> Any:
        kind = type(other)
        tape, value, index = self._tape, self._value, self._index
        if kind is Traced and other._tape is tape:
            operand, parent = other._value, other._index
        elif kind is float or kind is int or kind is float64:
            operand, parent = other, -1
        else:
            if kind is not Traced and kind is not ndarray and _has_operations(self, kind):
                return _leave(primitive, self, other)
            return record_line(primitive, (self, other), NO_PARAMS)
        if index in tape.roots and ((multiplies and other is self) or (raises and kind is not Traced and other == 2)):
            return squared(self)
        if (
            type(value) is float64
            and (kind is not Traced or type(operand) is float64)
            and (index >= 0 or parent >= 0)
            and (is_usual or (compares and not tape.keep_all and tape.context.tapes[-1] is tape))
            and tape.open
        ):  # numbers, of which most rows are: as in `write_row`, without another call
            place = tape.context.place
            if place is None:
                frame = _getframe(1)
                place = (frame.f_code, frame.f_lasti)
            y = compute(value, operand)
            if type(y) is float64:
                out = tape.size
                tape.size = out + 1
                tape.rows.append((primitive, (index, parent), (y, value, operand), NO_PARAMS, place, out))
                if out >= tape.full:
                    tape.fold()
                return Traced(y, tape, out)
            if compares:
                tape.decisions.append(((index, parent), place, "truth"))
                return y
        return write_row(tape, primitive, (value, operand), (index, parent), NO_PARAMS, 2)

    return method


def _leave(primitive: Primitive, traced: Any, other: Any) -> Any:
    """Leave an operation to the other operand, as NumPy does: to its ufuncs, or to its operator from the right."""
    protocol = getattr(type(other), "__array_ufunc__", None)
    return NotImplemented if protocol in (None, ndarray.__array_ufunc__) else primitive.numpy(traced, other)


def _reflected(primitive: Primitive) -> Callable[[Any, Any], Any]:
    compute, is_usual = primitive.compute, primitive.is_usual

    @_computes_numbers
    def method(self: Any, other: Any) -> Any:
        kind = type(other)
        if kind is float or kind is int:
            tape, value, operand, index = self._tape, other, self._value, self._index
            if type(operand) is float64 and index >= 0 and is_usual and tape.open:
                place = tape.context.place
                if place is None:
                    frame = _getframe(1)
                    place = (frame.f_code, frame.f_lasti)
                y = compute(value, operand)
                if type(y) is float64:
                    out = tape.size
                    tape.size = out + 1
                    tape.rows.append((primitive, (-1, index), (y, value, operand), NO_PARAMS, place, out))
                    if out >= tape.full:
                        tape.fold()
                    return Traced(y, tape, out)
            return write_row(tape, primitive, (value, operand), (-1, index), NO_PARAMS, 2)
        if self._index < 0 and means_more(kind):
            return primitive.compute(other, plain(self))
        return record_line(primitive, (other, self), NO_PARAMS)

    return method


def unary(primitive: Primitive) -> Callable[[Any], Any]:
    """Make the method that applies a primitive of one operand."""

    def method(self: Any) -> Any:
        return write_row(self._tape, primitive, (self._value,), (self._index,), NO_PARAMS, 2)

    return method


def through(traced: Traced, written: Callable[..., Any], args: Any, kwargs: Any, depth: int = 2) -> Any:
    """Run a function that is written in terms of primitives; the rows it makes carry the place of its caller."""
    context = traced._tape.context
    if context.place is not None:
        return written(*args, **kwargs) if kwargs else written(*args)
    frame = _getframe(depth)
    context.place = place = (frame.f_code, frame.f_lasti)
    try:
        return written(*args, **kwargs) if kwargs else written(*args)
    except (ValueError, NotImplementedError) as error:
        if isinstance(error, WengertError) and "\n" in str(error):
            raise
        kind: type[WengertError] = AxisError if isinstance(error, np.exceptions.AxisError) else ShapeError
        if isinstance(error, (NotImplementedError, np.linalg.LinAlgError)):
            kind = UnsupportedError if isinstance(error, NotImplementedError) else MatrixError
        name = getattr(written, "__name__", "this function")
        raise kind.at(place, f"{name}: {error}", "Check the arguments in that line.") from error
    finally:
        context.place = None


class Elements:
    """Where single elements of an array stand on the tape (see `wengert.tracing.elements`)."""

    __slots__ = ("position", "positions", "stand_in", "written")

    def __init__(self, position: int, stand_in: Any, written: bool = False) -> None:
        self.position = position
        """The position of the array before any of them was written, where all others still stand; -1 for a constant."""
        self.positions: dict[Any, int] = {}
        """By index, the positions of elements that have been read or written; -1 for a constant."""
        self.stand_in, self.written = stand_in, written
        """What rows keep of the array, and whether an element was written."""


class Traced(Recordable):
    """A value that is being traced: behaves as the array or scalar it stands for, and writes down what is done.

    It can be assigned to: the list says each value once, so an assignment makes a new value, and the traced array
    stands for that from then on (see `assignment`).  An index of -1 marks an array that depends on no input yet.
    """

    _index: int
    _tape: Tape
    _value: Any
    _elements: Elements | None
    _link: tuple[Traced, Any, Mapping[str, Any]]
    _views: list[weakref.ref[Traced]]

    __slots__ = ("__weakref__", "_elements", "_index", "_link", "_tape", "_value", "_views")
    __hash__ = None  # type: ignore[assignment]  # as arrays: == compares elements

    def __init__(self, value: Any, tape: Tape, index: int) -> None:
        self._value, self._tape, self._index = value, tape, index  # link and views are set when they are first needed
        self._elements = None

    # -- What it is --

    @property  # type: ignore[misc]  # __class__ of object can be assigned to
    def __class__(self) -> type:  # what isinstance asks for, where the type itself says no
        """Answer user code as the value it stands for would, so that it takes the branch it takes under NumPy.

        What builds on the memory of an array, NumPy and SciPy, goes on seeing a traced value and its protocols.
        """
        frame = _getframe(1)
        asking = frame.f_back
        if asking is not None and frame.f_globals.get("__name__") == "abc" and shuffles(asking):
            if len(self._value.shape) == 1:
                return list  # which is shuffled element by element
            raise LostGradientError.at(
                (asking.f_code, asking.f_lasti),
                "shuffle exchanges the rows of a traced array through views, and loses what stood there:",
                "Write y = y[rng.permutation(len(y))].",
            )
        if asks_inside(frame):
            if frame.f_globals.get("__name__", "").startswith("scipy."):
                redirect_calls(frame)
            return Traced
        return type(innermost(self))

    @property
    def shape(self) -> tuple[int, ...]:
        return self._value.shape  # type: ignore[no-any-return]

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._value.dtype  # type: ignore[no-any-return]

    @property
    def ndim(self) -> int:
        return self._value.ndim  # type: ignore[no-any-return]

    @property
    def size(self) -> int:
        return self._value.size  # type: ignore[no-any-return]

    @property
    def nbytes(self) -> int:
        return self._value.nbytes  # type: ignore[no-any-return]

    @property
    def itemsize(self) -> int:
        return self._value.itemsize  # type: ignore[no-any-return]

    def __copy__(self) -> Traced:
        return Traced(self._value, self._tape, self._index)

    def __deepcopy__(self, memo: Any) -> Traced:
        return copied_into_body(self).__copy__()

    def __repr__(self) -> str:
        return as_text(self, repr(self._value))

    def __str__(self) -> str:
        return self.__format__("")

    def __format__(self, spec: str) -> str:
        return as_text(self, format(self._value, spec))

    # -- Arithmetic --

    __add__, __radd__ = _binary(e.add), _reflected(e.add)
    __sub__, __rsub__ = _binary(e.subtract), _reflected(e.subtract)
    __mul__, __rmul__ = _binary(e.multiply), _reflected(e.multiply)
    __truediv__, __rtruediv__ = _binary(e.divide), _reflected(e.divide)
    __pow__, __rpow__ = _binary(e.power), _reflected(e.power)
    __mod__, __rmod__ = _binary(e.remainder), _reflected(e.remainder)
    __floordiv__, __rfloordiv__ = _binary(e.floor_divide), _reflected(e.floor_divide)
    __neg__, __pos__, __abs__ = unary(e.negative), unary(e.positive), unary(e.absolute)
    __lt__, __le__ = _binary(e.less), _binary(e.less_equal)
    __gt__, __ge__ = _binary(e.greater), _binary(e.greater_equal)
    __eq__, __ne__ = _binary(e.equal), _binary(e.not_equal)
    __and__, __rand__ = _binary(e.bitwise_and), _reflected(e.bitwise_and)
    __or__, __ror__ = _binary(e.bitwise_or), _reflected(e.bitwise_or)
    __xor__, __rxor__ = _binary(e.bitwise_xor), _reflected(e.bitwise_xor)
    __invert__ = unary(e.invert)

    def __divmod__(self, other: Any) -> tuple[Any, Any]:
        return self // other, self % other

    def __matmul__(self, other: Any) -> Any:
        ndim = self._value.ndim
        if (ndim == 1 or ndim == 2) and (type(other) is Traced or type(other) is ndarray) and 0 < other.ndim < 3:
            return record_line(matmul, (self, other), NO_PARAMS)
        if _has_operations(self, type(other)):
            return NotImplemented
        return through(self, functions.matmul, (self, other), NO_PARAMS)

    def __rmatmul__(self, other: Any) -> Any:
        if type(other) is ndarray and 0 < other.ndim < 3 and 0 < self._value.ndim < 3:
            return record_line(matmul, (other, self), NO_PARAMS)
        return through(self, functions.matmul, (other, self), NO_PARAMS)

    # -- Becoming a plain number --

    def __bool__(self) -> bool:
        return bool(self._decide(bool(self._value)))

    def _decide(self, value: int) -> int:
        if self._index >= 0:
            if self._tape.keep_all:
                self._tape.guards.append((self._index, value, caller()))
                if not decides_inside(_getframe(1)):
                    self._tape.context.tapes[0].branches.append(self._tape.guards[-1][2])
            else:
                kind = "truth" if type(value) is bool else "position"
                self._tape.decisions.append(((self._index,), caller(), kind))
        return value

    def __index__(self) -> int:
        return self._decide(operator.index(self._value))

    def __trunc__(self) -> int:
        return int(self)

    def __floor__(self: Any) -> int:
        return int(np.floor(self))

    def __ceil__(self: Any) -> int:
        return int(np.ceil(self))


def as_text(value: Traced, text: str) -> str:
    """Return the text of a traced value, which is not to be made a number again.

    In a Program it is a decision, that the value is this one, unless it is made to be printed or raised.
    """
    if value._index < 0:
        return text
    place = caller()
    if not value._tape.keep_all:
        value._tape.decisions.append(((value._index,), place, "text"))
    elif not _is_shown(place):
        constant = innermost(value)
        at_place(lambda: bool(functions.all(value == constant)))
    return Text(text)


_SHOWING = frozenset({"print", "pprint", "debug", "info", "warning", "warn", "error", "critical", "exception", "log"})


@functools.lru_cache(maxsize=256)
def _is_shown(place: RawLocation | None) -> bool:
    """Return whether a text is made for a call that shows it, or for an error: ``print(f"{x}")``."""
    location = Location.of(place)
    calls = [] if location is None else location.calls()
    return any(name in _SHOWING or name.endswith(("Error", "Exception", "Warning")) for name in calls)


def variable(tape: Tape, value: Any) -> Traced:
    """Make an independent variable of a trace."""
    if value.dtype is not FLOAT64:
        tape.with_complex = tape.with_complex or value.dtype.kind == "c"
        tape.narrow = True
    traced = Traced(value, tape, tape.size)
    tape.size += 1
    return traced


def constant(tape: Tape, array: np.ndarray[Any, Any]) -> Traced:
    """Make a constant of a trace: an array that may be assigned to, but has not been yet."""
    if array.dtype is not FLOAT64 and array.dtype is not INT64:
        tape.narrow = True
    return Traced(array, tape, -1)


def capture(tape: Tape, other: Traced) -> Traced:
    """Make an independent variable of a traced value of another trace, which the body of a loop closes over."""
    assert tape.captures is not None
    value = innermost(other)
    if other._index < 0:
        return constant(tape, value)
    key = (id(other._tape), other._index)
    captured = tape.captures.get(key)
    if captured is None:
        captured = tape.captures[key] = (other.__copy__(), variable(tape, value))
    return captured[1].__copy__()


def copied_into_body(value: Traced) -> Traced:
    """Return what a copy is made of: in the body of a loop, of an array from outside, it is a value of the body."""
    context = value._tape.context
    if context.frozen is None or value._tape not in context.frozen or context.tapes[-1].captures is None:
        return value
    return capture(context.tapes[-1], value)


# ---- Values that hold traced ones ----


def is_kept_constant(value: Any) -> bool:
    """Return whether a value is a constant of a trace that has ended, which a function may keep for its next call."""
    return type(value) is Traced and value._index < 0 and not value._tape.open


def all_constant(value: Any) -> bool:
    """Return whether no traced value in nested lists, tuples and dicts depends on an input."""
    if type(value) is Traced:
        return value._index < 0 and all_constant(value._value)
    if isinstance(value, dict):
        return all(all_constant(item) for item in value.values())
    return all(all_constant(item) for item in value) if isinstance(value, (list, tuple)) else True


def plain(value: Any) -> Any:
    """Replace traced constants in nested lists, tuples and dicts by their values."""
    if type(value) is Traced:
        return plain(value._value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(plain(item) for item in value)
    return value


def as_index(index: Any) -> tuple[tuple[Any, ...], list[Any]]:
    """Bring an index into the form of a tuple of integers, slices and arrays, traced parts set aside as operands."""
    items = index if type(index) is tuple else (index,)
    for item in items:
        kind = type(item)
        if kind is slice:
            if not (type(item.start) in _PLACES and type(item.stop) in _PLACES and type(item.step) in _PLACES):
                break
        elif kind is not int and item is not None and item is not Ellipsis:
            break
    else:
        return items, []  # what most indices are: integers and slices
    operands: list[Any] = []
    return tuple([_index_part(item, operands) for item in items]), operands


def _index_part(item: Any, operands: list[Any]) -> Any:
    """Bring one part of an index into its form; a traced one is added to the operands."""
    if isinstance(item, list):
        item = join(item) if holds_traced(item) else np.asarray(item, dtype=None if item else np.intp)
    if type(item) is Traced and item._index < 0:
        item = plain(item)
    if type(item) is Traced:
        if item.dtype.kind == "b":
            int(functions.sum(item))  # in a Program the number of elements chosen is a guard
        operands.append(item)
        return Operand(len(operands) - 1)
    if isinstance(item, slice):
        return slice(_position(item.start), _position(item.stop), _position(item.step))
    if isinstance(item, np.integer):
        return int(item)
    if type(item) is not ndarray and (isinstance(item, ndarray) or means_more(type(item))):
        item = operand(item)
    return item.copy("K") if type(item) is ndarray and item.size <= COPIED else item


_PLACES = frozenset({int, type(None)})


def _position(value: Any) -> int | None:
    return None if value is None else operator.index(value)


def first_traced(value: Any) -> Traced | None:
    """Return a value if it is traced, or the first traced value in a list, tuple or object array; None if none is."""
    if type(value) is Traced:
        return value
    if isinstance(value, np.ndarray):
        value = value.flat if value.dtype.hasobject else ()
    elif not isinstance(value, (list, tuple)):
        return None
    for item in value:
        if type(item) is not float and (traced := first_traced(item)) is not None:
            return traced
    return None


def holds_traced(value: Any) -> bool:
    """Return whether a value is traced, or a list, tuple or object array with a traced value in it."""
    return first_traced(value) is not None


def join(value: Any) -> Any:
    """Make one traced array of nested lists (or an object array) of traced and plain values."""
    if type(value) is Traced:
        return value
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        return functions.stack(list(value.ravel())).reshape(value.shape) if value.ndim else value[()]
    if not holds_traced(value):
        return _asarray(value)
    for item in value:
        if not (type(item) is Traced and not item._value.shape) and type(item) is not float:
            return functions.stack([join(item) for item in value])
    return record_line(stack, value, _ALONG_LAST)  # a list of numbers, as most are


_ALONG_LAST: Mapping[str, Any] = types.MappingProxyType({"axis": -1})
