"""The traced value: behaves as the array or scalar it stands for, and writes down what is done to it.

Operators, ufuncs (NEP 13) and other NumPy functions (NEP 18) that meet one append a row to its tape and return the
next.  Operator methods are written directly on the class, and rows made with as few calls as possible: this is the
path that every line of every trace takes.
"""

from __future__ import annotations

import dis
import functools
import operator
import sys
import types
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from wengert.errors import (
    ArgumentError,
    AxisError,
    Location,
    LostGradientError,
    MatrixError,
    ShapeError,
    UnsupportedError,
    WengertError,
    caller,
    explain_at,
)
from wengert.primitives.numpy import elementwise as e
from wengert.primitives.numpy import functions
from wengert.primitives.numpy.structural import astype, concatenate, getitem, matmul, reshape, stack, transpose
from wengert.primitives.table import CALLS
from wengert.program import SMALL, Operand, Primitive, Recordable, Shaped, as_value, computes_lines
from wengert.tracing.messages import Text, lost, unsupported
from wengert.tracing.tape import (
    COPIED,
    FLOAT64,
    INT64,
    NO_PARAMS,
    PLAIN,
    Tape,
    at_place,
    escaped,
    shape_error,
    threads,
    what_is_kept,
)
from wengert.tracing.unsupported import scipy_call, unsupported_call

_getframe = sys._getframe
_asarray, _copy = np.asarray, np.copy
"""NumPy's own, whatever stands in their places while a trace runs."""
ndarray, float64, float32 = np.ndarray, np.float64, np.float32


_JOINS = frozenset({stack, concatenate})


def record(primitive: Primitive, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
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
            if a.tape is not tape:
                if tape is not None:
                    return record_levels(primitive, args, params)
                tape = a.tape
            values.append(a.value)
            parents.append(a.index)
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
    if large:
        see_large(tape, args)
    if narrow:
        tape.narrow = True
    return write_row(tape, primitive, tuple(values), tuple(parents), params, 3)


def see_large(tape: Tape, values: Sequence[Any]) -> None:
    """Let a tape remember the large plain arrays among operands or parts of an index: they are not copied onto it."""
    for value in values:
        if type(value) is ndarray and value.size > COPIED:
            tape.see(value)


def record_levels(primitive: Primitive, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
    """Record where values of several traces meet: the innermost writes the row, the others' are constants to it."""
    tape = max((a.tape for a in args if type(a) is Traced), key=lambda tape: tape.level)
    if tape.captures is not None:
        mine = [tape.capture(a) if type(a) is Traced and a.tape is not tape else a for a in args]
        return at_place(lambda: record(primitive, mine, params))
    own = [type(a) is Traced and a.tape is tape for a in args]
    values = tuple(a.value if mine else a for a, mine in zip(args, own, strict=True))
    tape.narrow = True  # who knows
    parents = tuple(a.index if mine else -1 for a, mine in zip(args, own, strict=True))
    see_large(tape, args)
    return at_place(lambda: write_row(tape, primitive, values, parents, params, 3))


@computes_lines(lambda variables: (variables["primitive"], variables["place"], variables["values"]))
def write_row(
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
        raise escaped(place)
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
    if kind is not float64 and kind is not ndarray:
        if kind is tuple:
            return _write_several(tape, primitive, y, values, parents, params, place)
        y = as_value(y) if kind is not Traced else y.value if y.tape is tape else y  # made by the user's own primitive
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
        kept = (y, *values)
    elif not primitive.keeps:
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
    return Traced(y, tape, out)


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
        converted[k], positions[k] = wide.value, wide.index
    return tuple(converted), tuple(positions)


@functools.cache
def _takes_integers(primitive: Primitive) -> bool:
    """Tell whether an operand chooses the loop of a ufunc by being an integer: the degree of a polynomial."""
    nin = primitive.numpy.nin  # type: ignore[attr-defined]
    return any(len(set(types[:nin])) > 1 and set(types[:nin]) & set("ilq") for types in primitive.numpy.types)  # type: ignore[attr-defined]


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
    results = tuple(y.value if type(y) is Traced and y.tape is tape else y for y in results)
    if any(y.dtype.kind == "c" for y in results):
        tape.with_complex = True
    if max(parents, default=-1) < 0:
        return tuple(Traced(y, tape, -1) if type(y) is ndarray and y.dtype.kind in "fc" else y for y in results)
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
    tape = max((a.tape for a in args if type(a) is Traced), key=lambda tape: tape.level, default=None)
    if tape is None:
        return tuple(results)
    context = tape.context
    place = caller() if context.place is None else context.place
    if not tape.open:
        raise escaped(place)
    if tape.captures is not None:
        args = [tape.capture(a) if type(a) is Traced and a.tape is not tape else a for a in args]
    own = [type(a) is Traced and a.tape is tape for a in args]
    values = tuple(a.value if mine else a for a, mine in zip(args, own, strict=True))
    parents = tuple(a.index if mine else -1 for a, mine in zip(args, own, strict=True))
    see_large(tape, values)
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
        value = value.value
    return value


def as_array(value: Any) -> Any:
    """Make an array without dimensions of a scalar: it is the same number, but it can be assigned to."""
    if type(value) is not Traced:
        return value if type(value) is ndarray else _asarray(value)
    is_one = value.value.shape or type(innermost(value)) is ndarray
    return value if is_one else Traced(as_array(value.value), value.tape, value.index)


_INSIDE = frozenset({"numpy", "scipy", "wengert", "optree", "json"})
"""Packages that take a traced value for what it is: they would read the memory of an array, or skip its protocols."""
_PASS_ON = frozenset({"abc", "typing"})
"""Modules of Python in which the question is asked on behalf of their callers."""


def _asked_inside(frame: types.FrameType | None) -> bool:
    """Tell whether code of a package that takes traced values for what they are asks for the class of one."""
    while frame is not None:
        name = frame.f_globals.get("__name__", "")
        if name not in _PASS_ON:
            return name.partition(".")[0] in _INSIDE and frame.f_code is not np.isscalar.__code__
        frame = frame.f_back
    return False


def _shuffles(frame: types.FrameType) -> bool:
    """Tell whether a line calls ``rng.shuffle``, which is compiled, and asks whether it has a sequence."""
    if not _SHUFFLES.intersection(frame.f_code.co_names):
        return False
    location = Location.of((frame.f_code, frame.f_lasti))
    return location is not None and any(f"{name}(" in location.segment for name in _SHUFFLES)


_SHUFFLES = frozenset({"shuffle", "permutation"})


class MissingError(AttributeError, TypeError):
    """What a scalar has not: as an attribute to ``hasattr``, as an operation to ``len``."""


def _names(frame: types.FrameType, attribute: str) -> bool:
    """Tell whether code asks for an attribute by name, rather than use what it stands for (a loop does)."""
    code = frame.f_code
    if dis.opname[code.co_code[frame.f_lasti]] in ("GET_ITER", "UNPACK_SEQUENCE", "UNPACK_EX"):
        return False  # Python would go on with x[0], x[1]... and find no element
    return attribute in code.co_consts or attribute in code.co_names


@functools.cache
def _how(function: Callable[..., Any]) -> tuple[int | None, bool]:
    """Return where a NumPy function takes ``out``, and whether it is called as most are."""
    return out_position(function), function not in (_copy, np.ravel, np.reshape)


def record_mixed(primitive: Primitive, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
    """Record with operands of other kinds: lists, NumPy scalars, object arrays that hold traced values."""
    return at_place(lambda: primitive(*[a if type(a) is Traced else operand(a) for a in args], **params))


def operand(value: Any) -> Any:
    """Bring an operand that is not traced into the form in which values are kept; traced values inside are stacked."""
    if holds_traced(value):
        return join(value)
    if isinstance(value, (float, int, bool, complex)) and not isinstance(value, np.generic):
        return value + 0
    array = np.asarray(value)
    if array.dtype.hasobject or array.dtype.kind not in "biufc":
        if type(value).__module__.startswith("scipy.sparse"):
            raise unsupported_call(f"scipy.sparse.{type(value).__name__}", caller())
        raise ArgumentError(
            explain_at(
                caller(),
                f"a value of type {type(value).__name__} meets a traced array in arithmetic:",
                "Use a number or a numeric array there.",
            )
        )
    return array[()] if array.ndim == 0 and type(array[()]) in PLAIN else array


def _binary(primitive: Primitive) -> Callable[[Any, Any], Any]:
    def method(self: Any, other: Any) -> Any:
        kind = type(other)
        if kind is Traced:
            if other.tape is self.tape:
                return write_row(
                    self.tape, primitive, (self.value, other.value), (self.index, other.index), NO_PARAMS, 2
                )
        elif kind is float or kind is int or kind is float64:
            return write_row(self.tape, primitive, (self.value, other), (self.index, -1), NO_PARAMS, 2)
        return record(primitive, (self, other), NO_PARAMS)

    return method


def _reflected(primitive: Primitive) -> Callable[[Any, Any], Any]:
    def method(self: Any, other: Any) -> Any:
        kind = type(other)
        if kind is float or kind is int:
            return write_row(self.tape, primitive, (other, self.value), (-1, self.index), NO_PARAMS, 2)
        return record(primitive, (other, self), NO_PARAMS)

    return method


def _augmented(operation: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    """Make ``a += b``: it changes the array itself, so that every name and view of it sees the change."""

    def change(self: Traced, other: Any) -> None:
        result = operation(self, other)
        if result.shape != self.shape:
            raise ValueError(
                f"non-broadcastable output operand with shape {self.shape} doesn't match "
                f"the broadcast shape {result.shape}"
            )
        overwrite(self, result)

    def method(self: Any, other: Any) -> Any:
        if not self.value.shape and type(innermost(self)) is not ndarray:
            return operation(self, other)  # scalars do not change
        through(self, change, (self, other), NO_PARAMS)
        return self

    return method


def _unary(primitive: Primitive) -> Callable[[Any], Any]:
    def method(self: Any) -> Any:
        return write_row(self.tape, primitive, (self.value,), (self.index,), NO_PARAMS, 2)

    return method


def through(traced: Traced, written: Callable[..., Any], args: Any, kwargs: Any, depth: int = 2) -> Any:
    """Run a function that is written in terms of primitives; the rows it makes carry the place of its caller."""
    context = traced.tape.context
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
        raise kind(explain_at(place, f"{name}: {error}", "Check the arguments in that line.")) from error
    finally:
        context.place = None


def _by_users(value: Any) -> Any:
    """Let functions of the user's among arguments run as such: what they call is no part of what calls them."""
    if type(value) is dict:
        return {key: _by_users(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(_by_users, value))
    if not callable(value):
        return value

    @functools.wraps(value)
    def call(*args: Any, **kwargs: Any) -> Any:
        context = threads.context
        before, context.place = context.place, None
        try:
            return value(*args, **kwargs)
        finally:
            context.place = before

    return call


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    written = CALLS[function]

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if args or kwargs:
            target, args, kwargs = set_out_aside(out_position(function), (self, *args), kwargs)
            if target is not None:
                result = through(self, written, args, kwargs)
                return through(self, write_out, (target, result, function.__name__), NO_PARAMS)
            return finished(function, args, kwargs, through(self, written, args, kwargs))
        args = (self,)
        return finished(function, args, NO_PARAMS, through(self, written, args, NO_PARAMS))

    method.__name__ = written.__name__
    return method


class Traced(Recordable):
    """A value that is being traced: behaves as the array or scalar it stands for, and writes down what is done.

    It can be assigned to: the list says each value once, so an assignment makes a new value, and the traced array
    stands for that from then on (see `assign`).  An index of -1 marks an array that depends on no input yet.
    """

    index: int
    tape: Tape
    value: Any
    link: tuple[Traced, Primitive, Mapping[str, Any]]
    views: list[weakref.ref[Traced]]

    __slots__ = ("__weakref__", "index", "link", "tape", "value", "views")
    __hash__ = None  # type: ignore[assignment]  # as arrays: == compares elements

    def __init__(self, value: Any, tape: Tape, index: int) -> None:
        self.value, self.tape, self.index = value, tape, index  # link and views are set when they are first needed

    def become(self, other: Any) -> None:
        """Stand for another value from now on: that of this array after an assignment, which stays where it lies."""
        if type(other) is not Traced:
            other = Traced(other, self.tape, -1)
        if not hasattr(self, "link") and self.value.shape:
            other = relaid(other, innermost(self))
        self.value, self.tape, self.index = other.value, other.tape, other.index

    def record(self, primitive: Primitive, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
        if self.tape.context.place is None:
            return at_place(lambda: record(primitive, args, params))
        if "index" in params:
            see_large(self.tape, params["index"])
        if len(args) == 1:
            result = write_row(self.tape, primitive, (self.value,), (self.index,), params, 2)
            return link_view(result, self, primitive, params) if primitive in VIEWS else result
        return record(primitive, args, params)

    # -- What it is --

    @property  # type: ignore[misc]  # __class__ of object can be assigned to
    def __class__(self) -> type:  # what isinstance asks for, where the type itself says no
        """Answer user code as the value it stands for would, so that it takes the branch it takes under NumPy.

        What builds on the memory of an array, NumPy and SciPy, goes on seeing a traced value and its protocols.
        """
        frame = _getframe(1)
        asking = frame.f_back
        if asking is not None and frame.f_globals.get("__name__") == "abc" and _shuffles(asking):
            if len(self.value.shape) == 1:
                return list  # which is shuffled element by element
            raise LostGradientError(
                explain_at(
                    (asking.f_code, asking.f_lasti),
                    "shuffle exchanges the rows of a traced array through views, and loses what stood there:",
                    "Write y = y[rng.permutation(len(y))].",
                )
            )
        return Traced if _asked_inside(frame) else type(innermost(self))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape  # type: ignore[no-any-return]

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.value.dtype  # type: ignore[no-any-return]

    @property
    def ndim(self) -> int:
        return self.value.ndim  # type: ignore[no-any-return]

    @property
    def size(self) -> int:
        return self.value.size  # type: ignore[no-any-return]

    @property
    def nbytes(self) -> int:
        return self.value.nbytes  # type: ignore[no-any-return]

    @property
    def itemsize(self) -> int:
        return self.value.itemsize  # type: ignore[no-any-return]

    @property
    def T(self) -> Any:
        axes = {"axes": tuple(range(self.value.ndim))[::-1]}
        return link_view(write_row(self.tape, transpose, (self.value,), (self.index,), axes, 2), self, transpose, axes)

    @property
    def mT(self) -> Any:
        return np.matrix_transpose(self)

    @property
    def strides(self) -> tuple[int, ...]:
        return layout(self).strides  # type: ignore[no-any-return]

    @property
    def flags(self) -> Any:
        return layout(self).flags

    @property
    def base(self) -> Any:
        return self.link[0] if hasattr(self, "link") else None

    @property
    def device(self) -> str:
        return "cpu"

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return np

    @property
    def flat(self) -> Flat:
        return Flat(self)

    @property
    def real(self) -> Any:
        return self if self.dtype.kind != "c" else np.real(self)

    @real.setter
    def real(self, value: Any) -> None:
        self[...] = value if self.dtype.kind != "c" else value + 1j * np.imag(self)

    @property
    def imag(self) -> Any:
        return np.imag(self)

    @imag.setter
    def imag(self, value: Any) -> None:
        if self.dtype.kind != "c":
            raise TypeError("array does not have imaginary part to set")
        self[...] = np.real(self) + 1j * value

    def conj(self) -> Any:
        return self if self.dtype.kind != "c" else np.conjugate(self)

    conjugate = conj

    # Properties that give the method, so that a scalar has none: hasattr(x, "__len__") is how people tell it.

    @property
    def __len__(self) -> Callable[[], int]:
        shape = self.value.shape
        if not shape:
            kind = type(innermost(self))
            if kind is ndarray:
                raise TypeError("len() of unsized object")
            raise MissingError(f"object of type 'numpy.{kind.__name__}' has no len()")
        return lambda: shape[0]

    @property
    def __iter__(self) -> Callable[[], Iterator[Any]]:
        shape = self.value.shape
        if not shape and type(innermost(self)) is not ndarray and _names(_getframe(1), "__iter__"):
            raise MissingError(f"'numpy.{type(innermost(self)).__name__}' object has no attribute '__iter__'")
        return self._elements_in_turn

    def _elements_in_turn(self) -> Iterator[Any]:
        shape = self.value.shape
        if not shape:
            kind = type(innermost(self))
            if kind is ndarray:
                raise TypeError("iteration over a 0-d array")
            raise TypeError(f"'numpy.{kind.__name__}' object is not iterable")
        return (self[k] for k in range(shape[0]))

    def __repr__(self) -> str:
        return f"Traced({self.value!r})"

    def __format__(self, spec: str) -> str:
        return Text(format(self.value, spec)) if self.index >= 0 else format(self.value, spec)

    # -- Arithmetic --

    __add__, __radd__ = _binary(e.add), _reflected(e.add)
    __sub__, __rsub__ = _binary(e.subtract), _reflected(e.subtract)
    __mul__, __rmul__ = _binary(e.multiply), _reflected(e.multiply)
    __truediv__, __rtruediv__ = _binary(e.divide), _reflected(e.divide)
    __pow__, __rpow__ = _binary(e.power), _reflected(e.power)
    __mod__, __rmod__ = _binary(e.remainder), _reflected(e.remainder)
    __floordiv__, __rfloordiv__ = _binary(e.floor_divide), _reflected(e.floor_divide)
    __neg__, __pos__, __abs__ = _unary(e.negative), _unary(e.positive), _unary(e.absolute)
    __lt__, __le__ = _binary(e.less), _binary(e.less_equal)
    __gt__, __ge__ = _binary(e.greater), _binary(e.greater_equal)
    __eq__, __ne__ = _binary(e.equal), _binary(e.not_equal)
    __and__, __rand__ = _binary(e.bitwise_and), _reflected(e.bitwise_and)
    __or__, __ror__ = _binary(e.bitwise_or), _reflected(e.bitwise_or)
    __xor__, __rxor__ = _binary(e.bitwise_xor), _reflected(e.bitwise_xor)
    __invert__ = _unary(e.invert)

    def __divmod__(self, other: Any) -> tuple[Any, Any]:
        return self // other, self % other

    def __matmul__(self, other: Any) -> Any:
        ndim = self.value.ndim
        if (ndim == 1 or ndim == 2) and (type(other) is Traced or type(other) is ndarray) and 0 < other.ndim < 3:
            return record(matmul, (self, other), NO_PARAMS)
        if type(other).__module__.startswith("scipy.sparse"):
            return NotImplemented  # it has a product from the left
        return through(self, functions.matmul, (self, other), NO_PARAMS)

    def __rmatmul__(self, other: Any) -> Any:
        if type(other) is ndarray and 0 < other.ndim < 3 and 0 < self.value.ndim < 3:
            return record(matmul, (other, self), NO_PARAMS)
        return through(self, functions.matmul, (other, self), NO_PARAMS)

    # -- Indexing --

    def __getitem__(self, index: Any) -> Any:
        if type(index) is int:
            params = {"index": (index,)}
            item = write_row(self.tape, getitem, (self.value,), (self.index,), params, 2)
            return item if self.value.ndim == 1 else link_view(item, self, getitem, params)
        template, operands = as_index(index)
        see_large(self.tape, template)
        params = {"index": template}
        if operands:
            return record(getitem, (self, *operands), params)
        return link_view(write_row(self.tape, getitem, (self.value,), (self.index,), params, 2), self, getitem, params)

    def __setitem__(self, index: Any, value: Any) -> None:
        through(self, assign, (self, index, value), NO_PARAMS)

    def __copy__(self) -> Traced:
        return Traced(self.value, self.tape, self.index)

    def __deepcopy__(self, memo: Any) -> Traced:
        return self.__copy__()

    __iadd__, __isub__, __imul__ = _augmented(e.add), _augmented(e.subtract), _augmented(e.multiply)
    __itruediv__, __ipow__ = _augmented(e.divide), _augmented(e.power)
    __imod__, __ifloordiv__ = _augmented(e.remainder), _augmented(e.floor_divide)
    __imatmul__ = _augmented(functions.matmul)

    def fill(self, value: Any) -> None:
        self[...] = value

    def put(self, indices: Any, values: Any, mode: str = "raise") -> None:
        functions.in_place.put(self, indices, values, mode)

    def sort(self, axis: int = -1, kind: Any = None, order: Any = None, *, stable: bool | None = None) -> None:
        self[...] = np.sort(self, axis, kind, order, stable=stable)

    def partition(self, kth: Any, axis: int = -1, kind: Any = "introselect", order: Any = None) -> None:
        self[...] = np.partition(self, kth, axis, kind, order)

    # -- Becoming a plain number --

    def __bool__(self) -> bool:
        return bool(self._decide(bool(self.value)))

    def _decide(self, value: int) -> int:
        if self.tape.keep_all and self.index >= 0:
            self.tape.guards.append((self.index, value, caller()))
        return value

    def _decided(self) -> np.ndarray[Any, Any]:
        """Return the values of integers or booleans; that they are these is one decision, however many they are."""
        values = _copy(_asarray(self.value))
        if self.tape.keep_all:
            at_place(lambda: bool((self == values).all()))
        return values

    def __int__(self) -> int:
        return self._decide(int(self.value))

    def __index__(self) -> int:
        return self._decide(operator.index(self.value))

    def __trunc__(self) -> int:
        return int(self)

    def __floor__(self) -> int:
        return int(np.floor(self))

    def __ceil__(self) -> int:
        return int(np.ceil(self))

    def __float__(self) -> float:
        if self.dtype.kind in "biu":
            return float(int(self))
        if self.index < 0 or _formats(_getframe(1)):
            return float(innermost(self))
        raise lost(caller())

    def __complex__(self) -> complex:
        return complex(self.value) if self.index < 0 else complex(float(self))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """Become a plain array where no derivative is lost: a constant, positions, or an array of traced elements.

        The last is what ``np.mean([a, b])`` makes of a list; NumPy then computes on the elements by their operators.
        """
        if self.index >= 0:
            if self.dtype.kind in "biu" and dtype is None:
                return self._decided()
            if (
                (dtype is None or np.dtype(dtype).hasobject)
                and self.size <= MOST_OBJECTS
                and _may_hold_objects(_getframe(1))
            ):
                return _elements(self)
            raise lost(caller())
        constant = np.asarray(self.value, dtype).view()
        constant.flags.writeable = False  # what is written into it behind our back would be lost
        return constant

    def item(self, *index: Any) -> Any:
        if index:
            where = index[0] if len(index) == 1 else index
            return self[tuple(where)] if isinstance(where, tuple) else self.ravel()[where]
        return self.reshape(())

    def tolist(self) -> Any:
        return self if self.ndim == 0 else [part.tolist() for part in self]

    # -- NumPy's protocols --

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        handler = CALLS.get(ufunc)
        if method == "__call__" and not kwargs:
            if type(handler) is Primitive:
                if len(inputs) == 1:
                    return write_row(self.tape, handler, (self.value,), (self.index,), NO_PARAMS, 2)
                return record(handler, inputs, NO_PARAMS)
            if handler is not None:
                return finished(ufunc, inputs, kwargs, through(self, handler, inputs, kwargs))
        outs = kwargs.get("out")
        if outs is not None:
            if all_constant(inputs) and not any(type(out) is Traced for out in outs):
                return getattr(ufunc, method)(*plain(inputs), **plain(kwargs))
            return through(self, write_ufunc, (ufunc, method, inputs, kwargs), NO_PARAMS)
        if handler is None and ufunc.types == ["O" * ufunc.nin + "->" + "O" * ufunc.nout] and method == "__call__":
            return ufunc(*[_elements(x) if type(x) is Traced else x for x in inputs])  # made by np.frompyfunc
        if handler is None:
            raise unsupported(ufunc.__name__)
        made = through(self, functions.ufuncs.METHODS[method], (ufunc, *inputs), kwargs)
        return finished(getattr(ufunc, method), inputs, kwargs, made)

    def __array_function__(self, func: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
        handler = CALLS.get(func)
        if handler is None:
            if all_constant((args, kwargs)):
                return func(*plain(args), **plain(kwargs))
            raise unsupported(getattr(func, "__name__", str(func)))
        out_at, is_usual = _how(func)
        if "out" in kwargs or (out_at is not None and len(args) > out_at):
            target, args, kwargs = set_out_aside(out_at, args, kwargs)
            if target is not None:
                result = through(self, handler, args, kwargs)
                return through(self, write_out, (target, result, func.__name__), NO_PARAMS)
        if func in CALLING:
            args, kwargs = _by_users(args), _by_users(kwargs)
        if self.tape.context.place is not None:
            return handler(*args, **kwargs)
        if is_usual:
            return finished(func, args, kwargs, through(self, handler, args, kwargs))
        if args and type(args[0]) is Traced:
            if func is _copy:
                return as_array(args[0].copy(kwargs.get("order", args[1] if len(args) > 1 else "K")))
            if func is np.ravel:
                return args[0].ravel(*args[1:], **kwargs)
            kwargs = {**kwargs, "order": in_memory(args[0], kwargs["order"])} if "order" in kwargs else kwargs
        return finished(func, args, kwargs, through(self, handler, args, kwargs))

    # -- Methods of arrays --

    sum, mean, prod = _method(np.sum), _method(np.mean), _method(np.prod)
    std, var, cumsum = _method(np.std), _method(np.var), _method(np.cumsum)
    max, min, argmax, argmin = _method(np.max), _method(np.min), _method(np.argmax), _method(np.argmin)
    all, any, ptp, clip = _method(np.all), _method(np.any), _method(np.ptp), _method(np.clip)
    dot, trace, diagonal = _method(np.dot), _method(np.trace), _method(np.diagonal)
    squeeze, swapaxes = _method(np.squeeze), _method(np.swapaxes)
    take, repeat, choose = _method(np.take), _method(np.repeat), _method(np.choose)
    argsort, argpartition, searchsorted = _method(np.argsort), _method(np.argpartition), _method(np.searchsorted)
    nonzero, cumprod, round = _method(np.nonzero), _method(np.cumprod), _method(np.round)
    sign = _method(np.sign)

    def ravel(self, order: str = "C") -> Any:
        """Return the elements one after the other: a view where they lie so in memory."""
        source, lies = self, layout(self)
        if order == "K":
            if any(n > 1 and not step for n, step in zip(lies.shape, lies.strides, strict=True)):
                places = numbered(lies).ravel("K")  # NumPy's own order
                return through(self, operator.getitem, (self.ravel(), places), NO_PARAMS)
            axes = sorted(range(self.ndim), key=lambda k: -abs(lies.strides[k]))
            if axes != list(range(self.ndim)):
                source, lies = self.transpose(axes), lies.transpose(axes)
            order = "C"
        order = in_memory(self, order)
        flat = through(self, CALLS[np.ravel], (source, order), NO_PARAMS)
        is_view = lies.flags.f_contiguous if order == "F" else lies.flags.c_contiguous
        return flat if is_view or type(flat) is not Traced else laid_out(flat, "C")

    def flatten(self, order: str = "C") -> Any:
        flat = self.ravel(order)
        return flat.__copy__() if type(flat) is Traced else flat

    def copy(self, order: str = "C") -> Any:
        return laid_out(self, order) if self.value.shape else self.__copy__()

    def reshape(self, *shape: Any, **kwargs: Any) -> Any:
        wanted = shape[0] if len(shape) == 1 else shape
        if not kwargs and type(self.value) is ndarray:
            try:
                params = {"shape": self.value.reshape(wanted).shape}
            except (ValueError, TypeError):
                pass  # it is raised below, with the user's line
            else:
                made = write_row(self.tape, reshape, (self.value,), (self.index,), params, 2)
                return link_view(made, self, reshape, params)
        if "order" in kwargs:
            kwargs["order"] = in_memory(self, kwargs["order"])
        return through(self, functions.reshape, (self, wanted), kwargs)

    def transpose(self, *axes: Any) -> Any:
        wanted = axes[0] if len(axes) == 1 else axes or None
        return through(self, functions.transpose, (self, wanted), NO_PARAMS)

    def compress(self, condition: Any, axis: Any = None, out: Any = None) -> Any:
        result = through(self, CALLS[np.compress], (condition, self, axis), NO_PARAMS)
        return result if out is None else through(self, write_out, (out, result, "compress"), NO_PARAMS)

    def __round__(self, ndigits: int | None = None) -> Any:
        return int(np.rint(self)) if ndigits is None else np.round(self, ndigits)

    def is_integer(self) -> Any:
        return self == np.floor(self)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise LostGradientError(
            explain_at(
                caller(),
                "a traced value cannot be pickled, it belongs to the trace that is running:",
                "Pickle the results of the differentiated function, or stop_gradient(x) of what you want to keep.",
            )
        )

    def view(self, *args: Any, **kwargs: Any) -> Any:
        """Return the same elements under another name; as another type they would be taken by their bytes."""
        return _refusing("view")(self) if args or kwargs else self[...]

    def astype(
        self, dtype: Any, order: str = "K", casting: str = "unsafe", subok: bool = True, copy: bool = True
    ) -> Any:
        made = through(self, functions.astype, (self, dtype, order, casting), NO_PARAMS)
        if type(made) is not Traced or not self.value.shape or (made is self and not copy):
            made = made.__copy__() if copy and made is self else made
            return as_array(made) if not self.value.shape and type(innermost(self)) is ndarray else made
        return laid_out(made, order)


class Flat:
    """The elements of a traced array one after the other: ``x.flat``."""

    def __init__(self, of: Traced) -> None:
        self.base, self.index = of, 0

    @property
    def coords(self) -> tuple[int, ...]:
        left, found = self.index, []
        for n in self.base.shape[::-1]:
            found.append(left % n)
            left //= n
        return tuple(found[::-1])

    def __iter__(self) -> Flat:
        return self

    def __next__(self) -> Any:
        if self.index >= self.base.size:
            raise StopIteration
        self.index += 1
        return self.base.ravel()[self.index - 1]

    def __len__(self) -> int:
        return self.base.size

    def __getitem__(self, index: Any) -> Any:
        return self.base.ravel()[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        functions.in_place.put(self.base, np.arange(self.base.size)[index], value)


_TAKEN = dict.fromkeys(("hex", "as_integer_ratio"), "a traced number apart into plain integers")


def _refusing(name: str) -> Callable[..., Any]:
    def method(self: Traced, *args: Any, **kwargs: Any) -> Any:
        if (foreign := scipy_call()) is not None:
            raise unsupported_call(foreign, caller())
        raise LostGradientError(
            explain_at(
                caller(),
                f"{name} takes {_TAKEN.get(name, 'the bytes of a traced array')}, which would lose its derivative:",
                "Leave it out, or take it of the result of the differentiated function.",
            )
        )

    return method


for _name in ("tobytes", "tofile", "dump", "dumps", "getfield", "setfield", "byteswap", "hex", "as_integer_ratio"):
    setattr(Traced, _name, _refusing(_name))


for _ufunc in (
    np.exp, np.exp2, np.expm1, np.log, np.log2, np.log10, np.log1p, np.sqrt, np.cbrt, np.square, np.reciprocal,
    np.sin, np.cos, np.tan, np.arcsin, np.arccos, np.arctan, np.sinh, np.cosh, np.tanh, np.arcsinh, np.arccosh,
    np.arctanh, np.degrees, np.radians, np.rad2deg, np.deg2rad, np.fabs, np.rint,
):  # fmt: skip
    setattr(Traced, _ufunc.__name__, _unary(CALLS[_ufunc]))  # type: ignore[arg-type]  # by name, for arrays of objects


def all_constant(value: Any) -> bool:
    """Tell whether no traced value in nested lists, tuples and dicts depends on an input."""
    if type(value) is Traced:
        return value.index < 0 and all_constant(value.value)
    if isinstance(value, dict):
        return all(all_constant(item) for item in value.values())
    return all(all_constant(item) for item in value) if isinstance(value, (list, tuple)) else True


def plain(value: Any) -> Any:
    """Replace traced constants in nested lists, tuples and dicts by their values."""
    if type(value) is Traced:
        return plain(value.value)
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
    template: list[Any] = []
    operands: list[Any] = []
    for item in items:
        if isinstance(item, list):
            item = join(item) if holds_traced(item) else np.asarray(item, dtype=None if item else np.intp)
        if type(item) is Traced and item.index < 0:
            item = plain(item)
        if type(item) is Traced:
            if item.dtype.kind == "b":
                int(functions.sum(item))  # in a Program the number of elements chosen is a guard
            template.append(Operand(len(operands)))
            operands.append(item)
        elif isinstance(item, slice):
            template.append(slice(_position(item.start), _position(item.stop), _position(item.step)))
        elif isinstance(item, np.integer):
            template.append(int(item))
        elif type(item) is ndarray and item.size <= COPIED:
            template.append(item.copy("K"))
        else:
            template.append(item)
    return tuple(template), operands


_PLACES = frozenset({int, type(None)})


def _position(value: Any) -> int | None:
    return None if value is None else operator.index(value)


MOST_OBJECTS = 4096
"""The largest traced array that NumPy may take apart into an array of its elements."""
_STORE = dis.opmap["STORE_SUBSCR"]
_FORMAT = next((i.opcode, i.arg) for i in dis.get_instructions(lambda a, b: a % b) if i.opname == "BINARY_OP")


def _may_hold_objects(frame: types.FrameType) -> bool:
    """Tell whether what asks for a plain array can do with one of objects: not ``a[i] = t``, and not compiled SciPy."""
    code = frame.f_code.co_code
    return code[frame.f_lasti] != _STORE and not frame.f_globals.get("__name__", "").startswith("scipy")


def _formats(frame: types.FrameType) -> bool:
    """Tell whether what asks for a float is ``"%.3f" % t``: as in an f-string, it is for people to read."""
    code, at = frame.f_code.co_code, frame.f_lasti
    return (code[at], code[at + 1]) == _FORMAT


def _elements(traced: Traced) -> np.ndarray[Any, Any]:
    whole = np.ndarray(traced.shape, object)
    for index in np.ndindex(*traced.shape):
        whole[index] = traced[index] if index else traced
    return whole


def first_traced(value: Any) -> Traced | None:
    """Return a value if it is traced, or the first traced value in a list, tuple or object array; None if none is."""
    if type(value) is Traced:
        return value
    if isinstance(value, np.ndarray):
        value = value.ravel() if value.dtype.hasobject else ()
    elif not isinstance(value, (list, tuple)):
        return None
    for item in value:
        if type(item) is not float and (found := first_traced(item)) is not None:
            return found
    return None


def holds_traced(value: Any) -> bool:
    """Tell whether a value is traced, or a list, tuple or object array with a traced value in it."""
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
        if not (type(item) is Traced and not item.value.shape) and type(item) is not float:
            return functions.stack([join(item) for item in value])
    return record(stack, value, _ALONG_LAST)  # a list of numbers, as most are


_ALONG_LAST: Mapping[str, Any] = types.MappingProxyType({"axis": -1})


Tape.traced = Traced

from wengert.tracing.assignment import (  # noqa: E402  # needs the class above, and is used in its methods
    assign,
    out_position,
    overwrite,
    set_out_aside,
    write_out,
    write_ufunc,
)
from wengert.tracing.views import (  # noqa: E402
    CALLING,
    VIEWS,
    finished,
    in_memory,
    laid_like,
    laid_out,
    layout,
    link_view,
    numbered,
    relaid,
)
