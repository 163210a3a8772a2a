"""Plain NumPy in, a Wengert list out: the user's function is run on real values, and what it does is written down.

A *traced value* stands for an array or scalar; it carries its value along, so shapes, dtypes and branches come from
NumPy itself.  Operators, ufuncs (NEP 13) and other NumPy functions (NEP 18) that meet one append a row to a *tape* and
return the next traced value.  Traces nest: the values of an inner trace may be traced values of an outer one, and what
the inner derivative computes is then written on the outer tape.  Each trace has a level; where values of two traces
meet, the inner one records and takes the other as a constant, so no tangent is ever confused with another's.

A row is a plain tuple, since thousands are made a millisecond::

    (primitive, parents, kept, params, place, out)

`parents` are the positions of the operands (-1 for a constant), `kept` is the result and operands as far as the
derivative rules will read them (`Shaped` stands for the rest), `place` is where in the user's code, and `out` the
position of the result.  ``np.array([...])`` of traced values is caught by a wrapper that is in place while any trace
runs and looks only at the thread that traces.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import dis
import functools
import inspect
import operator
import sys
import threading
import types
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from wengert.errors import (
    ArgumentError,
    AxisError,
    DomainWarning,
    EscapedError,
    Location,
    LostGradientError,
    MatrixError,
    RawLocation,
    ResultError,
    ShapeError,
    UnsupportedError,
    WengertError,
    caller,
    explain_at,
    user_frame,
)
from wengert.jacobians import is_basic
from wengert.primitives import elementwise as e
from wengert.primitives import functions
from wengert.primitives.structural import Operand, getitem, reshape, setitem, transpose
from wengert.primitives.table import CALLS, CAUGHT, LATE
from wengert.program import Constant, Guard, Line, Packing, Primitive, Program, Recordable, Shaped, Var, as_value

Array = Any
Row = tuple[Primitive, tuple[int, ...], tuple[Any, ...], Mapping[str, Any], RawLocation | None, int]

_getframe = sys._getframe
ndarray, float64 = np.ndarray, np.float64
SMALL = 256
"""Values of up to so many elements are kept on the tape as they are: a stand-in would cost more than it saves."""
_NO_PARAMS: Mapping[str, Any] = types.MappingProxyType({})


class Context:
    """What a thread is tracing: its open tapes, and the place to write on rows that wengert makes itself."""

    __slots__ = ("alarms", "muted", "place", "tapes")

    def __init__(self) -> None:
        self.tapes: list[Tape] = []
        self.place: RawLocation | None = None
        self.alarms = 0
        """How often NumPy has reported a value outside a function's domain; where it was told not to, 1 to be safe."""
        self.muted = False
        """True while a sweep runs for the first time: if it raises an alarm it runs again, carefully."""


class _Threads(threading.local):
    def __init__(self) -> None:
        self.context = Context()


_threads = _Threads()


def current_context() -> Context:
    """Return the context of this thread."""
    return _threads.context


class Tape:
    """The rows of one trace, as they are made."""

    __slots__ = ("context", "guards", "keep_all", "level", "open", "rows", "size", "with_complex")

    def __init__(self, context: Context, keep_all: bool) -> None:
        self.context, self.keep_all = context, keep_all
        self.level = len(context.tapes)
        self.rows: list[Row] = []
        self.guards: list[tuple[int, bool | int, RawLocation | None]] = []
        self.size = 0
        self.open = True
        self.with_complex = False

    def input(self, value: Any) -> Traced:
        """Make an independent variable."""
        if value.dtype.kind == "c":
            self.with_complex = True
        traced = Traced(value, self, self.size)
        self.size += 1
        return traced


# ---- Recording ----

_PLAIN = frozenset({float, int, bool, complex, np.complex128, np.ndarray, np.float64, np.bool_, np.int64, np.float32})
_SCALARS = frozenset({complex, np.complex128, np.float64, np.float32, np.bool_, np.int64, float, int, bool})


def record(primitive: Primitive, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
    """Compute a primitive on traced and other values, write the row, return the traced result.

    Called by something that the user's code called: the place is two frames up, unless the context knows better.
    """
    tape: Any = None
    values: list[Any] = []
    parents: list[int] = []
    for a in args:
        kind = type(a)
        if kind is Traced:
            if a.tape is not tape:
                if tape is not None:
                    return record_levels(primitive, args, params)
                tape = a.tape
            values.append(a.value)
            parents.append(a.index)
        elif kind in _PLAIN and not (kind is ndarray and a.dtype.hasobject):
            values.append(a)
            parents.append(-1)
        else:
            return record_mixed(primitive, args, params)
    return write_row(tape, primitive, tuple(values), tuple(parents), params, 3)


def record_levels(primitive: Primitive, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
    """Record where values of several traces meet: the innermost writes the row, the others' are constants to it."""
    tape = max((a.tape for a in args if type(a) is Traced), key=lambda tape: tape.level)
    own = [type(a) is Traced and a.tape is tape for a in args]
    values = tuple(a.value if mine else a for a, mine in zip(args, own, strict=True))
    parents = tuple(a.index if mine else -1 for a, mine in zip(args, own, strict=True))
    return at_place(lambda: write_row(tape, primitive, values, parents, params, 3))


def at_place(write: Callable[[], Any]) -> Any:
    """Run something that records rows of its own, their place being that of the user's line that led here."""
    context = _threads.context
    if context.place is not None:
        return write()
    context.place = caller()
    try:
        return write()
    finally:
        context.place = None


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
        if tape.level == 0:
            y = primitive.compute(*values, **params)
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
        y = as_value(y) if kind is not Traced else y.value if y.tape is tape else y  # made by the user's own primitive
        kind = type(y)
    if kind is not float64 and y.dtype.kind == "c":
        tape.with_complex = True
    if parents[0] < 0 and max(parents) < 0:  # an array that may be assigned to, but has not been yet
        return Traced(y, tape, -1) if kind is ndarray and y.dtype.kind in "fc" else y
    if primitive is getitem and kind is ndarray and y.size <= SMALL < values[0].size and y.base is not None:
        y = y.copy()  # so that a row of a large array does not hold all of it, and the array can be written to in place
    kept: Any
    if tape.keep_all:
        kept = (y, *values)
    elif not primitive.keeps:
        return y  # no derivative: nobody will ask for this row
    elif primitive.elementwise and (kind is float64 or y.size <= SMALL):
        kept = (y, *values)  # no operand is larger than the result
    elif primitive.elementwise and len(parents) == 2 and -1 in parents:  # c * x: only one of the rules will be asked
        kept = _what_is_read(_read_for(primitive, parents[0] < 0), y, values)
    elif primitive.keeps_all:
        kept = (y, *values)
    else:
        kept = _what_is_read(primitive.keeps, y, values)
    out = tape.size
    tape.size = out + 1
    tape.rows.append((primitive, parents, kept, params, place, out))
    return Traced(y, tape, out)


# ---- Assignment ----

_VIEWS = frozenset({getitem, reshape, transpose})
"""Primitives whose result NumPy may make a view of their operand."""


def assign(target: Traced, index: Any, value: Any) -> None:
    """Write a line for ``target[index] = value``, and let the traced array stand for its result from now on.

    A view writes through to the array it is a view of, and every other view of that array sees it, as in NumPy.
    """
    template, operands = as_index(index)
    link = getattr(value, "link", None) if type(value) is Traced else None
    if link is not None and link[0] is target and link[1] is getitem and _same_index(link[2]["index"], template):
        return  # a[i] += b has changed a through the view a[i] already
    if isinstance(value, (list, tuple)) or (type(value) is ndarray and value.dtype.hasobject):
        value = join(value) if holds_traced(value) else np.asarray(value)
    link = getattr(target, "link", None)
    if link is None:
        _write(target, value, template, operands)
    else:
        base, made_by, params = link
        _write_through(base, made_by, params, setitem(value, target, *operands, index=template))
    _refresh(target)


def _write(target: Traced, value: Any, template: tuple[Any, ...], operands: list[Any]) -> None:
    """Assign to an array that is no view; in place where nobody else holds its value, else to a copy."""
    tape = target.tape
    own = not operands and type(target.value) is ndarray and target.value.size > SMALL and tape.open
    # the attribute and the argument of getrefcount itself: no row, view or caller holds the array
    if own and not tape.keep_all and sys.getrefcount(target.value) <= 2 and target.value.flags.owndata:
        kind = type(value)
        mine = kind is Traced and value.tape is tape
        plain = value.value if mine else value
        if type(plain) is not Traced and (kind is not Traced or mine):
            operand_ = plain if mine else operand(plain)
            target.value[template] = operand_
            parent = value.index if mine else -1
            if parent >= 0 or target.index >= 0:
                shape = Shaped(target.value.shape, target.value.dtype)
                part = (
                    operand_ if type(operand_) in _SCALARS else Shaped(np.shape(operand_), np.asarray(operand_).dtype)
                )
                place = tape.context.place or caller()
                params = {"index": template}
                tape.rows.append((setitem, (parent, target.index), (shape, part, shape), params, place, tape.size))
                target.index = tape.size
                tape.size += 1
            return
    target.become(setitem(value, target, *operands, index=template))


def _write_through(base: Traced, made_by: Primitive, params: Mapping[str, Any], changed: Any) -> None:
    """Assign the changed value of a view to the array it is a view of."""
    if made_by is getitem:
        if not hasattr(base, "link"):
            _write(base, changed, params["index"], [])
            return
        whole = setitem(changed, base, index=params["index"])
    elif made_by is reshape:
        whole = reshape(changed, shape=base.shape)
    else:
        axes = params["axes"]
        whole = transpose(changed, axes=tuple(sorted(range(len(axes)), key=axes.__getitem__)))
    if hasattr(base, "link"):
        _write_through(*base.link, whole)
    else:
        base.become(whole)


def overwrite(target: Traced, result: Any) -> None:
    """Let an array (and what it is a view of) stand for a result of the same shape, cast to its own dtype."""
    result = functions.astype(result, target.dtype)
    if hasattr(target, "link"):
        _write_through(*target.link, result)
    else:
        target.become(result)
    _refresh(target)


def _refresh(target: Traced) -> None:
    """Let every view of the array that was written to stand for its present value."""
    root = target
    while hasattr(root, "link"):
        root = root.link[0]
    _refresh_views(root)


def _refresh_views(base: Traced) -> None:
    for reference in getattr(base, "views", ()):
        view = reference()
        if view is None:
            continue
        _, made_by, params = view.link
        view.become(made_by(base, **params))
        _refresh_views(view)


def _same_index(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    return len(a) == len(b) and all(
        type(p) is type(q) and not isinstance(p, ndarray) and p == q for p, q in zip(a, b, strict=True)
    )


def link_view(view: Any, base: Traced, made_by: Primitive, params: Mapping[str, Any]) -> Any:
    """Remember that one traced array is a view of another, where NumPy made it one."""
    if type(view) is Traced and view.tape is base.tape:
        value, of = view.value, base.value
        while type(value) is Traced:
            value, of = value.value, of.value
        if type(value) is ndarray and (
            (made_by is getitem and is_basic(params["index"]))  # NumPy made a view, which may have been copied since
            or (value.base is not None and (value.base is of or value.base is of.base))
        ):
            view.link = (base, made_by, params)
            views = getattr(base, "views", [])
            base.views = views = [r for r in views if r() is not None] if len(views) > 64 else views
            views.append(weakref.ref(view))
    return view


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
        raise ArgumentError(
            explain_at(
                caller(),
                f"a value of type {type(value).__name__} meets a traced array in arithmetic:",
                "Use a number or a numeric array there.",
            )
        )
    return array[()] if array.ndim == 0 and type(array[()]) in _PLAIN else array


def escaped(place: RawLocation | None) -> EscapedError:
    """Make the error for a traced value that outlived its trace."""
    return EscapedError(
        explain_at(
            place,
            "a traced value is used after its trace has ended:",
            "Return it from the function that is differentiated, instead of keeping it in a global, an attribute or a cache.",
        )
    )


def shape_error(primitive: Primitive, values: Sequence[Any], error: Exception, place: RawLocation | None) -> Exception:
    """Make the error for operands that do not go together, naming their shapes and the user's line."""
    if isinstance(error, WengertError):
        return error
    shapes = " and ".join(str(np.shape(v)) for v in values)
    if isinstance(error, np.linalg.LinAlgError):
        return MatrixError(
            explain_at(
                place,
                f"{primitive.name} of a matrix of shape {shapes}: {error}",
                "Check that matrix: its shape, its rank, its sign.",
            )
        )
    return ShapeError(
        explain_at(
            place,
            f"{primitive.name} does not take operands of shapes {shapes}: {error}",
            "Check the shapes in that line; reshape or transpose one of them.",
        )
    )


def _read_for(primitive: Primitive, position: int) -> tuple[bool, ...]:
    """Tell which of (result, first operand, second) the rule for one of two operands reads."""
    reads = primitive.reads[position] if position < len(primitive.reads) else ()
    return reads + (False,) * (3 - len(reads))


def _what_is_read(keeps: tuple[bool, ...], y: Any, values: tuple[Any, ...]) -> tuple[Any, ...]:
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
        if keeps[k] or type(value) in _SCALARS or value.size <= SMALL:
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


# ---- Traced values ----


def _binary(primitive: Primitive) -> Callable[[Any, Any], Any]:
    def method(self: Any, other: Any) -> Any:
        kind = type(other)
        if kind is Traced:
            if other.tape is self.tape:
                return write_row(
                    self.tape, primitive, (self.value, other.value), (self.index, other.index), _NO_PARAMS, 2
                )
        elif kind is float or kind is int or kind is float64:
            return write_row(self.tape, primitive, (self.value, other), (self.index, -1), _NO_PARAMS, 2)
        return record(primitive, (self, other), _NO_PARAMS)

    return method


def _reflected(primitive: Primitive) -> Callable[[Any, Any], Any]:
    def method(self: Any, other: Any) -> Any:
        kind = type(other)
        if kind is float or kind is int:
            return write_row(self.tape, primitive, (other, self.value), (-1, self.index), _NO_PARAMS, 2)
        return record(primitive, (other, self), _NO_PARAMS)

    return method


def _augmented(operation: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    """Make ``a += b``: it changes the array itself, so that every name and view of it sees the change."""

    def change(self: Traced, other: Any) -> None:
        result = operation(self, other)
        if result.shape != self.shape:
            raise ValueError(
                f"non-broadcastable output operand with shape {self.shape} doesn't match the broadcast shape {result.shape}"
            )
        overwrite(self, result)

    def method(self: Any, other: Any) -> Any:
        if not self.value.shape:
            return operation(self, other)  # scalars do not change
        _through(self, change, (self, other), _NO_PARAMS)
        return self

    return method


def _unary(primitive: Primitive) -> Callable[[Any], Any]:
    def method(self: Any) -> Any:
        return write_row(self.tape, primitive, (self.value,), (self.index,), _NO_PARAMS, 2)

    return method


def _through(traced: Traced, written: Callable[..., Any], args: Any, kwargs: Any, depth: int = 2) -> Any:
    """Run a function that is written in terms of primitives; the rows it makes carry the place of its caller."""
    context = traced.tape.context
    if context.place is not None:
        return written(*args, **kwargs)
    frame = _getframe(depth)
    context.place = place = (frame.f_code, frame.f_lasti)
    try:
        return written(*args, **kwargs)
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


def _method(function: Callable[..., Any]) -> Callable[..., Any]:
    written = CALLS[function]

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return _through(self, written, (self, *args), kwargs)

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
        """Stand for another value from now on: that of this array after an assignment."""
        if type(other) is Traced:
            self.value, self.tape, self.index = other.value, other.tape, other.index
        else:
            self.value, self.index = other, -1

    def record(self, primitive: Primitive, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
        if self.tape.context.place is None:
            return at_place(lambda: record(primitive, args, params))
        if len(args) == 1:
            result = write_row(self.tape, primitive, (self.value,), (self.index,), params, 2)
            return link_view(result, self, primitive, params) if primitive in _VIEWS else result
        return record(primitive, args, params)

    # -- What it is --

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
        return self.transpose()

    @property
    def mT(self) -> Any:
        return np.matrix_transpose(self)

    @property
    def strides(self) -> tuple[int, ...]:
        return self.value.strides  # type: ignore[no-any-return]

    @property
    def flags(self) -> Any:
        return self.value.flags

    @property
    def flat(self) -> Flat:
        return Flat(self)

    @property
    def real(self) -> Any:
        return self if self.dtype.kind != "c" else np.real(self)

    @property
    def imag(self) -> Any:
        return np.imag(self)

    def conj(self) -> Any:
        return self if self.dtype.kind != "c" else np.conjugate(self)

    conjugate = conj

    def __len__(self) -> int:
        shape = self.value.shape
        if not shape:
            raise TypeError("len() of unsized object")
        return shape[0]  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[Any]:
        if not self.value.shape:
            raise TypeError("iteration over a 0-d array")
        return (self[k] for k in range(len(self)))

    def __repr__(self) -> str:
        return f"Traced({self.value!r})"

    def __format__(self, spec: str) -> str:
        return format(self.value, spec)

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
        return _through(self, functions.matmul, (self, other), _NO_PARAMS)

    def __rmatmul__(self, other: Any) -> Any:
        return _through(self, functions.matmul, (other, self), _NO_PARAMS)

    # -- Indexing --

    def __getitem__(self, index: Any) -> Any:
        if type(index) is int:
            params = {"index": (index,)}
            item = write_row(self.tape, getitem, (self.value,), (self.index,), params, 2)
            return item if self.value.ndim == 1 else link_view(item, self, getitem, params)
        template, operands = as_index(index)
        params = {"index": template}
        return link_view(record(getitem, (self, *operands), params), self, getitem, params)

    def __setitem__(self, index: Any, value: Any) -> None:
        _through(self, assign, (self, index, value), _NO_PARAMS)

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
        functions.writing.put(self, indices, values, mode)

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
        if self.index < 0:
            return float(self.value)
        raise lost(caller())

    def __complex__(self) -> complex:
        return complex(self.value) if self.index < 0 else complex(float(self))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """Become a plain array where no derivative is lost: a constant, positions, or an array of traced elements.

        The last is what ``np.mean([a, b])`` makes of a list; NumPy then computes on the elements by their operators.
        """
        if self.index >= 0:
            if self.dtype.kind in "biu" and dtype is None:
                return np.asarray([int(v) for v in self.ravel()], self.dtype).reshape(self.shape)
            if (dtype is None or dtype == object) and self.size <= MOST_OBJECTS and _may_hold_objects(_getframe(1)):
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
                    return write_row(self.tape, handler, (self.value,), (self.index,), _NO_PARAMS, 2)
                return record(handler, inputs, _NO_PARAMS)
            if handler is not None:
                return _through(self, handler, inputs, kwargs)
        out = kwargs.get("out")
        if out is not None and len(out) == 1 and type(out[0]) is Traced:
            del kwargs["out"]
            result = getattr(ufunc, method)(*inputs, **kwargs)
            if method == "__call__" and kwargs.get("where", True) is not True:
                result = np.where(kwargs["where"], result, out[0])
            _through(self, overwrite, (out[0], result), _NO_PARAMS)
            return out[0]
        if out is not None:
            raise LostGradientError(
                explain_at(
                    caller(),
                    f"{ufunc.__name__} would write a traced result into a plain array in place:",
                    "Write the operation out, a = a + b instead of a += b, without out=.",
                )
            )
        if handler is None and ufunc.types == ["O" * ufunc.nin + "->" + "O" * ufunc.nout] and method == "__call__":
            return ufunc(*[_elements(x) if type(x) is Traced else x for x in inputs])  # made by np.frompyfunc
        if handler is None:
            raise unsupported(ufunc.__name__)
        return _through(self, functions.ufuncs.METHODS[method], (ufunc, *inputs), kwargs)

    def __array_function__(self, func: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
        handler = CALLS.get(func)
        if handler is None:
            if all_constant((args, kwargs)):
                return func(*plain(args), **plain(kwargs))
            raise unsupported(getattr(func, "__name__", str(func)))
        if kwargs and type(kwargs.get("out")) is Traced:
            target, rest = kwargs["out"], {name: value for name, value in kwargs.items() if name != "out"}
            _through(self, overwrite, (target, _through(self, handler, args, rest)), _NO_PARAMS)
            return target
        if self.tape.context.place is not None:
            return handler(*args, **kwargs)
        return _through(self, handler, args, kwargs)

    # -- Methods of arrays --

    sum, mean, prod = _method(np.sum), _method(np.mean), _method(np.prod)
    std, var, cumsum = _method(np.std), _method(np.var), _method(np.cumsum)
    max, min, argmax, argmin = _method(np.max), _method(np.min), _method(np.argmax), _method(np.argmin)
    all, any, ptp, clip = _method(np.all), _method(np.any), _method(np.ptp), _method(np.clip)
    dot, trace, diagonal = _method(np.dot), _method(np.trace), _method(np.diagonal)
    squeeze, swapaxes, copy = _method(np.squeeze), _method(np.swapaxes), _method(np.copy)
    take, repeat, choose = _method(np.take), _method(np.repeat), _method(np.choose)
    argsort, argpartition, searchsorted = _method(np.argsort), _method(np.argpartition), _method(np.searchsorted)
    nonzero, cumprod, round = _method(np.nonzero), _method(np.cumprod), _method(np.round)
    ravel = _method(np.ravel)
    flatten = ravel

    def reshape(self, *shape: Any, **kwargs: Any) -> Any:
        wanted = shape[0] if len(shape) == 1 else shape
        return _through(self, functions.reshape, (self, wanted), kwargs)

    def transpose(self, *axes: Any) -> Any:
        wanted = axes[0] if len(axes) == 1 else axes or None
        return _through(self, functions.transpose, (self, wanted), _NO_PARAMS)

    def compress(self, condition: Any, axis: Any = None, out: Any = None) -> Any:
        return _through(self, CALLS[np.compress], (condition, self, axis, out), _NO_PARAMS)

    def __round__(self, ndigits: int | None = None) -> Any:
        return int(np.rint(self)) if ndigits is None else np.round(self, ndigits)

    def astype(self, dtype: Any, order: str = "K", casting: str = "unsafe", subok: bool = True, copy: bool = True) -> Any:
        return _through(self, functions.astype, (self, dtype, order, casting), _NO_PARAMS)


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
        functions.writing.put(self.base, np.arange(self.base.size)[index], value)


def _refusing(name: str) -> Callable[..., Any]:
    def method(self: Traced, *args: Any, **kwargs: Any) -> Any:
        raise LostGradientError(
            explain_at(
                caller(),
                f"{name} takes the bytes of a traced array, which would lose its derivative:",
                "Leave it out, or take it of the result of the differentiated function.",
            )
        )

    return method


for _name in ("view", "tobytes", "tofile", "dump", "dumps", "getfield", "setfield", "byteswap"):
    setattr(Traced, _name, _refusing(_name))
for _ufunc in (
    np.exp, np.exp2, np.expm1, np.log, np.log2, np.log10, np.log1p, np.sqrt, np.cbrt, np.square, np.reciprocal,
    np.sin, np.cos, np.tan, np.arcsin, np.arccos, np.arctan, np.sinh, np.cosh, np.tanh, np.arcsinh, np.arccosh,
    np.arctanh, np.degrees, np.radians, np.rad2deg, np.deg2rad, np.fabs, np.rint, np.sign,
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
    """Bring an index into the form of a tuple of integers, slices and arrays, its traced parts set aside as operands."""
    items = index if type(index) is tuple else (index,)
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
        else:
            template.append(item)
    return tuple(template), operands


def _position(value: Any) -> int | None:
    return None if value is None else operator.index(value)


MOST_OBJECTS = 4096
"""The largest traced array that NumPy may take apart into an array of its elements."""
_STORE = dis.opmap["STORE_SUBSCR"]


def _may_hold_objects(frame: types.FrameType) -> bool:
    """Tell whether what asks for a plain array can do with one of objects: not ``a[i] = t``, and not compiled SciPy."""
    code = frame.f_code.co_code
    return code[frame.f_lasti] != _STORE and not frame.f_globals.get("__name__", "").startswith("scipy")


def _elements(traced: Traced) -> np.ndarray[Any, Any]:
    whole = np.ndarray(traced.shape, object)
    for index in np.ndindex(*traced.shape):
        whole[index] = traced[index] if index else traced
    return whole


# ---- Errors ----


def lost(place: RawLocation | None) -> LostGradientError:
    """Make the error for a traced value that is asked to become a plain float, with the NumPy spelling to use."""
    location = Location.of(place)
    segment = "" if location is None else location.segment
    instead = "Leave it as it is: traced scalars take part in arithmetic and NumPy functions."
    if "random" in segment or "rng" in segment:
        instead = "Draw from the standard distribution and scale what was drawn: loc + scale * np.random.normal(size=n)."
    for word in segment.replace("(", " ").replace(",", " ").split():
        module, _, name = word.rpartition(".")
        if module in ("math", "cmath"):
            known = {"fabs": "abs", "pow": "power", "asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2",
                     "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh", "fsum": "sum", "dist": "linalg.norm"}  # fmt: skip
            instead = f"Write np.{known.get(name, name)} instead of {word}: NumPy's functions are traced, those of {module} are not."
            break
    else:
        if "float(" in segment:
            instead = "Leave out float(...): a traced scalar can be used wherever a float can."
        elif "=" in segment or "[" in segment:
            instead = "If it is written into a plain array, build the array from its parts: np.array([...]) or np.stack([...])."
    return LostGradientError(
        explain_at(place, "a traced value is asked to become a plain float, which would lose its derivative:", instead)
    )


def unsupported(name: str) -> UnsupportedError:
    """Make the error for a function without a rule: it names the nearest supported ones and how to add one."""
    names = sorted({f.__name__ for f in CALLS if hasattr(f, "__name__")})
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    nearest = f"The nearest supported are {', '.join(map(_spelled, near))}; or add" if near else "Add"
    short = name.partition(".")[0].partition("(")[0]
    own = _spelled(short)
    return UnsupportedError(
        explain_at(
            caller(),
            f"{own}{name.removeprefix(short)} has no rule on traced values:",
            f"{nearest} a rule: wg.define({'my_' + short!r}, {own}, lambda y, x: <dy/dx>, replaces={own}).",
        )
    )


def _spelled(name: str) -> str:
    """Write the name of a function with the module that users call it from."""
    for module in ("numpy", "numpy.linalg", "numpy.fft", "scipy.special", "scipy.linalg"):
        if hasattr(sys.modules.get(module), name):
            return f"{module.replace('numpy', 'np')}.{name}"
    return f"np.{name}"


# ---- np.array([...]) of traced values ----


def holds_traced(value: Any) -> bool:
    """Tell whether a value is traced, or a list, tuple or object array with a traced value in it."""
    if type(value) is Traced:
        return True
    if isinstance(value, (list, tuple)):
        return any(holds_traced(item) for item in value)
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        return any(type(item) is Traced for item in value.ravel())
    return False


def join(value: Any) -> Any:
    """Make one traced array of nested lists (or an object array) of traced and plain values."""
    if type(value) is Traced:
        return value
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        return functions.stack(list(value.ravel())).reshape(value.shape) if value.ndim else value[()]
    if not holds_traced(value):
        return _originals["asarray"](value)
    return functions.stack([join(item) for item in value])


def _catching(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a maker of arrays, ``np.array`` or ``np.zeros``, for the threads that trace.

    A list of traced values becomes a traced array; and a new array of real numbers becomes a traced constant, so that
    what the function assigns to it later is written down.
    """
    fills = original.__name__ in ("full", "arange")
    converts = original.__name__ in ("array", "asarray", "asanyarray", "ascontiguousarray")

    @functools.wraps(original)
    def create(*args: Any, **kwargs: Any) -> Any:
        context = _threads.context
        if not context.tapes:
            return original(*args, **kwargs)
        if converts and args and holds_traced(args[0]):
            dtype = args[1] if len(args) > 1 else kwargs.get("dtype")
            if type(args[0]) is Traced and original.__name__ == "array" and kwargs.get("copy", True):
                args = (args[0].__copy__(), *args[1:])

            def joined(value: Any) -> Any:
                whole = join(value)
                if whole.ndim < kwargs.get("ndmin", 0):
                    whole = functions.reshape(whole, (1,) * (kwargs["ndmin"] - whole.ndim) + whole.shape)
                return whole if dtype is None else functions.astype(whole, dtype)

            return _through(_some_traced(args[0]), joined, args[:1], _NO_PARAMS)
        if fills and holds_traced([*args, *kwargs.values()]):
            return _through(_some_traced([*args, *kwargs.values()]), CALLS[original], args, kwargs)
        made = original(*args, **kwargs)
        if type(made) is not ndarray or not made.ndim or made.dtype.kind not in "fc" or not made.flags.owndata:
            return made
        frame = _getframe(1)
        if (args and made is args[0]) or frame.f_globals.get("__name__", "").partition(".")[0] in _INTERNAL:
            return made
        if not _calls_by_name(frame.f_code, frame.f_lasti, original.__name__):
            return made
        return Traced(made, context.tapes[-1], -1)

    return create


@functools.lru_cache(maxsize=4096)
def _calls_by_name(code: types.CodeType, offset: int, name: str) -> bool:
    """Tell whether the call at this place in the user's code is of ``np.zeros`` itself.

    Otherwise it is a call of compiled code, like a random generator's, which makes an array for itself: compiled code
    has no frame of its own, and would take the memory of a traced constant for that of an array.
    """
    if name not in code.co_names:
        return False
    location = Location.of((code, offset))
    if location is None or location.columns is None:
        return True
    try:
        node = ast.parse(location.segment, mode="eval").body
    except SyntaxError:
        return True
    function = node.func if isinstance(node, ast.Call) else node
    return getattr(function, "attr", getattr(function, "id", name)) == name


_INTERNAL = frozenset({"numpy", "scipy", "wengert"})
"""Packages whose own arrays are left as they are: what they do with them is behind a rule."""


def _some_traced(value: Any) -> Traced:
    if type(value) is Traced:
        return value
    return (
        next(_some_traced(item) for item in np.ravel(value) if holds_traced(item))
        if isinstance(value, np.ndarray)
        else next(_some_traced(item) for item in value if holds_traced(item))
    )


_CAUGHT = (
    *(
        "array",
        "asarray",
        "asanyarray",
        "ascontiguousarray",
        "copy",
        "zeros",
        "empty",
        "ones",
        "full",
        "eye",
        "identity",
    ),
    *("zeros_like", "empty_like", "ones_like", "full_like", "arange", "linspace"),
)
_originals: dict[str, Callable[..., Any]] = {name: getattr(np, name) for name in _CAUGHT}
_catchers = {name: _catching(original) for name, original in _originals.items()}
_lock = threading.Lock()
_tracing_threads = 0


def _start_catching() -> None:
    global _tracing_threads
    with _lock:
        _tracing_threads += 1
        if _tracing_threads == 1:
            if LATE:
                _catch_late()
            if len(CAUGHT) != len(_redirected):
                _redirect_all()
            vars(np).update(_catchers)  # in one step: this is done for every outermost trace


def _stop_catching() -> None:
    global _tracing_threads
    with _lock:
        _tracing_threads -= 1
        if _tracing_threads == 0:
            vars(np).update(_originals)


# ---- Functions that know nothing of NumPy's protocols: scipy.linalg.expm(t) ----


def _catching_call(original: Callable[..., Any], run: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """Wrap a function of another library: on a thread that traces, a call with a traced argument is recorded.

    What is not recorded goes to `run`, the function itself if that is not given.
    """
    run, depth = (original, 2) if run is None else (run, 3)

    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        if _threads.context.tapes:
            for value in (*args, *kwargs.values()):
                if holds_traced(value):
                    return _through(_some_traced(value), CALLS[original], args, kwargs, depth)
        return run(*args, **kwargs)

    return call


_redirected: set[types.FunctionType] = set()


def _redirect_all() -> None:
    for function in [function for function in CAUGHT if function not in _redirected]:
        _redirect(function)
        _redirected.add(function)


def _redirect(function: types.FunctionType) -> None:
    """Let a function of another library ask first whether its arguments are traced, for good.

    ``from scipy.special import logsumexp`` binds the function itself, so nothing that is done to SciPy's module would
    reach it: it is the function's own code that is replaced, and what it was is kept in another.
    """
    own = types.FunctionType(
        function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
    )
    own.__kwdefaults__ = function.__kwdefaults__
    function.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]  # that of the code is to change
    code = _asking_code(function.__code__.co_freevars)
    function.__code__ = code.replace(
        co_consts=tuple(_catching_call(function, own) if value == _ASKED else value for value in code.co_consts)
    )


_ASKED = "the function that asks"  # a constant that is replaced


def _asking_code(names: tuple[str, ...]) -> types.CodeType:
    """Return the code of a function that asks first, with the free variables of the one whose place it takes.

    The closure stays, and Python wants them to be as many.  They must be free variables by the compiler's own doing:
    code that only names them leaves their places in its frames empty, and who looks at such a frame crashes.
    """
    held = f"        if 0: ({', '.join(names)},)\n" if names else ""
    source = (
        f"def enclosing({', '.join(names)}):\n"
        "    def _ask_first(*_args_, **_kwargs_):\n"
        f"{held}"
        f"        _asking_ = {_ASKED!r}\n"
        "        return _asking_(*_args_, **_kwargs_)\n"
        "    return _ask_first\n"
    )
    namespace: dict[str, Any] = {}
    exec(compile(source, __file__, "exec"), namespace)
    code: types.CodeType = namespace["enclosing"](*names).__code__
    assert code.co_freevars == names
    return code


def _catch_late() -> None:
    """Enter the functions of modules that have been imported meanwhile."""
    for name in [name for name in LATE if name in sys.modules]:
        if not getattr(sys.modules[name].__spec__, "_initializing", False):
            LATE.pop(name)()


# ---- Warnings that name the user's line ----


def _warn(kind: str, flag: int) -> None:
    """Called by NumPy where it would warn of a value outside a function's domain."""
    context = _threads.context
    context.alarms += 1
    if context.muted:
        return
    frame = _getframe(1)
    inner = frame
    place: RawLocation | None = None
    what = ""
    while inner is not None:
        names = inner.f_locals
        if "primitive" in names and "place" in names and names["place"] is not None:
            place, primitive = names["place"], names["primitive"]
            values = names.get("values")
            of = ""
            if values is not None and all(np.ndim(v) == 0 for v in values):
                of = f" of {', '.join(str(getattr(v, 'value', v)) for v in values)}"
            what = f" in {primitive.name}{of}" if values is not None else f" in the derivative of {primitive.name}"
            break
        inner = inner.f_back  # type: ignore[assignment]
    location = Location.of(place)
    message = f"{kind}{what}"
    if location is None:
        warnings.warn(message, DomainWarning, stacklevel=2)
    else:
        message += f", outside its domain; the value is NumPy's own:\n{location.excerpt()}"
        warnings.warn_explicit(message, DomainWarning, location.file, location.line)


_USUAL = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}


@np.errstate(call=_warn, divide="call", over="call", invalid="call")
def _watched(work: Callable[..., Any], args: Any) -> Any:
    return work(*args)


def watch(work: Callable[..., Any], *args: Any) -> Any:
    """Call a function so that NumPy's floating-point warnings name the line of the user's code they come from.

    What the user has asked NumPy to ignore or to raise stays as it is; inside a trace this has been done already.
    """
    context = _threads.context
    if context.tapes:
        return work(*args)
    context.alarms = 0
    state = np.geterr()
    if state == _USUAL:
        return _watched(work, args)  # the decorated form costs half of a context manager
    context.alarms = 1
    warned: dict[str, Any] = {kind: "call" for kind, how in state.items() if how == "warn"}
    with np.errstate(call=_warn, **warned):
        return work(*args)


# ---- A trace ----


class Group:
    """An argument or result of a trace: its name and shape, and what it is laid out in (see `program.Packing`)."""

    __slots__ = ("dtype", "name", "parts", "shape")

    def __init__(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], parts: list[Any]) -> None:
        self.name, self.shape, self.dtype, self.parts = name, shape, dtype, parts


class Trace:
    """One run of a function on traced arguments: its tape, and where its arguments and results are on it."""

    __slots__ = ("arguments", "name", "results", "single", "tape")

    def __init__(self, name: str, tape: Tape, arguments: list[Group], results: list[Group], single: bool) -> None:
        self.name, self.tape, self.arguments, self.results, self.single = name, tape, arguments, results, single

    def program(self) -> Program:
        """Write the trace as a Program: lines that nothing depends on left out, variables numbered."""
        return build_program(self)

    def position(self, result: Any) -> int:
        """Return the position of a result on the tape, -1 if it is a constant."""
        return result.index if type(result) is Traced and result.tape is self.tape else -1

    def value(self, result: Any) -> Any:
        """Return the value of a result."""
        return result.value if type(result) is Traced and result.tape is self.tape else result


@contextlib.contextmanager
def recording() -> Iterator[Tape]:
    """Open a tape on which wengert itself writes a Program: every value is kept, no user code is run."""
    context = _threads.context
    tape = Tape(context, keep_all=True)
    place = context.place
    context.tapes.append(tape)
    try:
        yield tape
    finally:
        tape.open = False
        context.tapes.pop()
        context.place = place


def run(
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    positions: Sequence[int],
    keep_all: bool,
    spread: Any = None,
    unpack: Any = None,
) -> Trace:
    """Run a function with the arguments at `positions` traced; see `Trace`.

    With `keep_all` every value stays on the tape and decisions become guards (to make a Program); without, only what
    the derivative rules will read.  Arguments that are trees are traced leaf by leaf: `spread` has the leaves and
    puts traced ones in their places; `unpack` takes what the function returned apart, into named results.
    """
    context = _threads.context
    tape = Tape(context, keep_all)
    replaced = list(args)
    arguments = []
    if spread is None:
        names = parameter_names(function, len(args)) if keep_all else ("x",) * len(args)  # only a Program says them
        for position in positions:
            replaced[position] = tape.input(args[position])
            traced = replaced[position]
            # the function may assign to the array it is given: the copy stays the independent variable
            arguments.append(Group(names[position], traced.shape, traced.dtype, [traced.__copy__()]))
    else:
        inputs = [tape.input(leaf) for leaf in spread.leaves]
        names = spread.names(function) if keep_all else ("x",) * len(inputs)
        arguments = [Group(name, x.shape, x.dtype, [x.__copy__()]) for name, x in zip(names, inputs, strict=True)]
        replaced, kwargs = spread.rebuild(inputs)
    place, context.place = context.place, None
    context.tapes.append(tape)
    outermost = tape.level == 0
    if outermost:
        _start_catching()
    try:
        try:
            returned = function(*replaced, **kwargs)
        except ValueError as error:
            if isinstance(error.__cause__, LostGradientError):  # NumPy hides it: "setting an array element with..."
                raise error.__cause__ from None
            raise
        if unpack is None:
            results = [("", _result(function, returned))]
        else:
            results = [(name, _result(function, part)) for name, part in unpack(returned)]
    finally:
        tape.open = False
        context.tapes.pop()
        context.place = place
        if outermost:
            _stop_catching()
    groups = [Group(name, result.shape, result.dtype, [result]) for name, result in results]
    single = unpack is None or unpack.structure is None
    return Trace(getattr(function, "__name__", "f"), tape, arguments, groups, single)


def _result(function: Callable[..., Any], returned: Any) -> Any:
    if type(returned) is Traced:
        return returned
    if isinstance(returned, np.ndarray) and holds_traced(returned):
        return join(returned)
    if isinstance(returned, (float, int, np.ndarray, np.generic)) and np.asarray(returned).dtype.kind in "biufc":
        return as_value(returned)
    name = getattr(function, "__name__", "the function")
    code = getattr(function, "__code__", None)
    place = None if code is None else (code, 0)
    what = "None" if returned is None else f"a {type(returned).__name__}"
    hint = {
        "list": "Return np.array([...]) of it.",
        "tuple": "Return one array: np.array([...]) of scalars, np.concatenate([...]) of arrays.",
        "NoneType": "Is a return statement missing?",
    }.get(type(returned).__name__, "Return an array or a number.")
    raise ResultError(explain_at(place, f"{name} returned {what}, where an array or a number is needed:", hint))


@functools.lru_cache(maxsize=512)
def _names_of(code: types.CodeType) -> tuple[str, ...]:
    return code.co_varnames[: code.co_argcount]


def parameter_names(function: Callable[..., Any], count: int) -> Sequence[str]:
    """Return the names of a function's positional parameters, made up where they have none."""
    inner = function
    while hasattr(inner, "__wrapped__"):
        inner = inner.__wrapped__
    code = getattr(inner, "__code__", None)
    names = () if code is None else _names_of(code)
    if names and getattr(inner, "__self__", None) is not None:
        names = names[1:]
    if len(names) >= count:
        return names[:count]
    return [*names, *("x" if count == 1 else f"x{k}" for k in range(len(names), count))]


def build_program(trace: Trace) -> Program:
    """Number the variables of a trace and write its rows as lines.

    Lines that nothing depends on are left out.  As in Griewank & Walther the dependent variables come last: a line
    whose result is only returned moves to the end.
    """
    tape = trace.tape
    results = [(part, trace.position(part)) for group in trace.results for part in group.parts]
    needed = {position for _, position in results if position >= 0} | {position for position, _, _ in tape.guards}
    used: set[int] = {position for position, _, _ in tape.guards}
    live: list[Row] = []
    for row in reversed(tape.rows):
        if row[5] in needed:
            read = [parent for parent in row[1] if parent >= 0]
            needed.update(read)
            used.update(read)
            live.append(row)
    by_position = {row[5]: row for row in live}
    last = [by_position[k] for k in dict.fromkeys(k for _, k in results) if k in by_position and k not in used]
    moved = {row[5] for row in last}
    variables: dict[int, Var] = {}
    number = 1 - sum(len(group.parts) for group in trace.arguments)
    for group in trace.arguments:
        for part in group.parts:
            variables[part.index] = Var(number, part.shape, part.dtype)
            number += 1
    lines: list[Line] = []
    for primitive, parents, kept, params, place, out in [*[r for r in reversed(live) if r[5] not in moved], *last]:
        operands = tuple(
            variables[parent] if parent >= 0 else Constant(value)
            for parent, value in zip(parents, kept[1:], strict=True)
        )
        variables[out] = var = Var(len(lines) + 1, kept[0].shape, kept[0].dtype)
        lines.append(Line(primitive, operands, (var,), params, place))

    def atom(part: Any) -> Var | Constant:
        position = trace.position(part)
        return variables[position] if position >= 0 else Constant(trace.value(part))

    names = {group.name for group in trace.arguments}
    letter = next(letter for letter in ("y", "z", "w", "result") if letter not in names)
    guards: dict[tuple[int, type], Guard] = {}
    for position, value, place in tape.guards:
        guards.setdefault((position, type(value)), Guard(variables[position], value, place))
    return Program(
        "f" if trace.name == "<lambda>" else trace.name,
        tuple(Packing(g.name, g.shape, g.dtype, tuple(variables[p.index] for p in g.parts)) for g in trace.arguments),
        tuple(lines),
        tuple(
            Packing(
                letter if trace.single else f"{letter}{g.name or k}".removeprefix(letter * g.name.startswith(letter)),
                g.shape,
                g.dtype,
                tuple(atom(p) for p in g.parts),
            )
            for k, g in enumerate(trace.results, 1)
        ),
        tuple(guards.values()),
        trace.single,
    )
