"""Methods: what an array has beside operators: indexing, assignment, NumPy's protocols, and its own methods.

They are written in a class of their own, above views and assignment, which they are made of; and then copied onto
`Traced`, since a class in between would make each row slower.

>>> import wengert as wg
>>> def f(x):
...     y = x.reshape(2, 2)
...     y[0] *= 3.0
...     return y.sum()
>>> wg.grad(f)(np.ones(4))
array([3., 3., 1., 1.])
"""

from __future__ import annotations

import functools
import operator
import sys
import types
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any

import numpy as np

from wengert.errors import LIBRARIES, LostGradientError
from wengert.primitives.numpy import elementwise as e
from wengert.primitives.numpy import functions
from wengert.primitives.numpy.structural import getitem, reshape, transpose
from wengert.primitives.table import CALLS
from wengert.program import Primitive
from wengert.tracing.adoption import adopt_for_call, adopt_for_operation, write_into_plain
from wengert.tracing.assignment import assign, out_position, overwrite, set_out_aside, write_out, write_ufunc
from wengert.tracing.callers import asks_for_attribute, assigns, formats, names_attribute, takes_objects
from wengert.tracing.context import at_place, threads
from wengert.tracing.elements import read_element, write_element
from wengert.tracing.flat import Flat
from wengert.tracing.layout import numbered
from wengert.tracing.lists import join_lists
from wengert.tracing.patching import rebind_imports, rebind_makers
from wengert.tracing.results import CALLBACKS, finish
from wengert.tracing.tape import NO_PARAMS, SCALARS
from wengert.tracing.traced import (
    LeftToOther,
    Traced,
    all_constant,
    as_array,
    as_index,
    as_scalar,
    as_text,
    innermost,
    is_kept_constant,
    join,
    plain,
    record_line,
    remember_large,
    squared,
    through,
    unary,
    write_row,
)
from wengert.tracing.unsupported import (
    has_own_operations,
    lost,
    refuse_kind,
    unsupported,
    which_means_more,
    written_into_plain,
)
from wengert.tracing.views import VIEWS, laid_out, link_view, model_of, order_in_memory, set_shape

_getframe = sys._getframe
_asarray, _copy = np.asarray, np.copy
"""NumPy's own, whatever stands in their places while a trace runs."""
ndarray = np.ndarray


class MissingError(AttributeError, TypeError):
    """What a scalar has not: as an attribute to ``hasattr``, as an operation to ``len``."""


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
        if not self._value.shape and type(innermost(self)) is not ndarray:
            return operation(self, other)  # scalars do not change
        through(self, change, (self, other), NO_PARAMS)
        return self

    return method


def _by_users(value: Any) -> Any:
    """Wrap functions of the user's among arguments: what they call is no part of the function that calls them."""
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


def _method_of(function: Callable[..., Any]) -> Callable[..., Any]:
    written = CALLS[function]

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if args or kwargs:
            target, args, kwargs = set_out_aside(out_position(function), (self, *args), kwargs)
            if target is not None:
                result = through(self, written, args, kwargs)
                return through(self, write_out, (target, result, function.__name__), NO_PARAMS)
            return finish(function, args, kwargs, through(self, written, args, kwargs))
        args = (self,)
        return finish(function, args, NO_PARAMS, through(self, written, args, NO_PARAMS))

    method.__name__ = written.__name__
    return method


@functools.cache
def _how_called(function: Callable[..., Any]) -> tuple[int | None, bool]:
    """Return where a NumPy function takes ``out``, and whether it is called as most are."""
    is_usual = function not in (_copy, np.ravel, np.reshape) and function not in WRITERS and function not in CALLBACKS
    return out_position(function), is_usual


MOST_OBJECTS = 4096
"""The largest traced array that NumPy may take apart into an array of its elements."""


def _elements(traced: Any) -> np.ndarray[Any, Any]:
    elements = np.ndarray(traced.shape, object)
    for index in np.ndindex(*traced.shape):
        elements[index] = traced[index] if index else traced
    return elements


_READING = frozenset({"tobytes", "tofile", "dump", "dumps"})
"""Methods that read the bytes of an array, which a constant has."""
_TAKEN = dict.fromkeys(("hex", "as_integer_ratio"), "a traced number apart into plain integers")


def _refusing(name: str) -> Callable[..., Any]:
    def method(self: Traced, *args: Any, **kwargs: Any) -> Any:
        if self._index < 0 and name in _READING:
            return getattr(innermost(self), name)(*args, **kwargs)
        raise lost(
            f"{name} takes {_TAKEN.get(name, 'the bytes of a traced array')}, which would lose its derivative:",
            "Leave it out, or take it of the result of the differentiated function.",
        )

    method.__name__ = name
    return method


def _call_plain(function: Any, args: Any, kwargs: Any, kind: type | None) -> Any:
    """Call a function that has no rule (or none for a class of arrays) if all is constant, else raise an error."""
    if all_constant((args, kwargs)):
        return function(*plain(args), **plain(kwargs))
    raise unsupported(getattr(function, "__name__", str(function))) if kind is None else refuse_kind(kind)


def _without_rule(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Call a ufunc that was made of a function in Python, by np.frompyfunc or by Numba, on the elements one by one."""
    elements = [_elements(value) if type(value) is Traced else value for value in inputs]
    if ufunc.types == ["O" * ufunc.nin + "->" + "O" * ufunc.nout]:
        return getattr(ufunc, method)(*elements, **kwargs)
    jitted = getattr(getattr(ufunc, "_dispatcher", None), "py_func", None)
    if method == "__call__" and not kwargs and jitted is not None:
        return join(np.frompyfunc(jitted, len(inputs), 1)(*elements))
    raise unsupported(ufunc.__name__)


def _left_to_other(kind: type, ufunc: np.ufunc, inputs: tuple[Any, ...]) -> Any:
    """Let NumPy ask another operand, but ask a subclass of ndarray here: most of them take no traced value."""
    if not issubclass(kind, ndarray):
        return NotImplemented
    other = next(value for value in inputs if type(value) is kind)
    result = other.__array_ufunc__(ufunc, "__call__", *inputs)
    if result is NotImplemented:
        raise refuse_kind(kind)
    return result


WRITERS = frozenset({np.copyto, np.put, np.putmask, np.place, np.fill_diagonal, np.put_along_axis})
"""Functions of NumPy that write into their first argument."""


def _write_by_call(function: Any, handler: Any, args: Any, kwargs: Any, frame: types.FrameType) -> Any:
    """Call a function that writes into its first argument, a plain array, with traced values among the others."""
    others = args[1:]
    if all_constant((others, kwargs)):
        return function(args[0], *plain(others), **plain(kwargs))
    adopted = adopt_for_call(function, args, kwargs, frame)
    if adopted is not None:
        return through(adopted, handler, (adopted, *others), kwargs, 3)
    target = args[0]
    values: list[Any] = [value for value in (*others, *kwargs.values()) if type(value) is Traced]
    if target.dtype.kind in "biu" and all(value.dtype.kind in "biu" for value in values):
        decided = {id(value): value._decided() for value in values}
        others = [decided.get(id(value), value) for value in others]
        return function(target, *others, **{name: decided.get(id(value), value) for name, value in kwargs.items()})
    rebind_makers(frame)
    raise written_into_plain()


def _names_element(traced: Traced, index: Any) -> bool:
    """Return whether an index has a whole number for each axis of an array of several."""
    return type(index) is tuple and 1 < len(index) == traced._value.ndim and _INTEGERS.issuperset(map(type, index))


_INTEGERS = frozenset({int})


class Memory:
    """Where the elements of an array lie: a traced one has such a place, but nobody may look there."""

    def _refuse(self, *args: Any) -> Any:
        raise lost("the memory of a traced array is asked for, which would lose its derivative:")

    __getattr__ = __getitem__ = __setitem__ = __len__ = __iter__ = __array__ = __bytes__ = _refuse


class ArrayMethods(Traced):
    """The methods that are copied onto `Traced`."""

    __slots__ = ()

    def _record(self, primitive: Primitive, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
        context = self._tape.context
        if context.place is None:
            frame = _getframe(2)  # the caller of the primitive: the user's code, mostly, if the user has entered it
            if frame.f_code.co_filename.startswith(LIBRARIES):
                return at_place(lambda: record_line(primitive, args, params))
            if len(args) == 1 and not params:
                return write_row(self._tape, primitive, (self._value,), (self._index,), NO_PARAMS, 3)
            context.place = (frame.f_code, frame.f_lasti)
            try:
                return record_line(primitive, args, params)
            finally:
                context.place = None
        if "index" in params:
            params = {**params, "index": tuple(remember_large(self._tape, params["index"]))}
        if len(args) == 1:
            result = write_row(self._tape, primitive, (self._value,), (self._index,), params, 2)
            return link_view(result, self, primitive, params) if primitive in VIEWS else result
        try:
            return record_line(primitive, args, params)
        except LeftToOther as other:
            raise refuse_kind(other.args[0]) from None

    # -- What it is --

    @property
    def T(self) -> Any:
        axes = {"axes": tuple(range(self._value.ndim))[::-1]}
        return link_view(
            write_row(self._tape, transpose, (self._value,), (self._index,), axes, 2), self, transpose, axes
        )

    @property
    def mT(self) -> Any:
        return np.matrix_transpose(self)

    @property
    def strides(self) -> tuple[int, ...]:
        return model_of(self).strides  # type: ignore[no-any-return]

    @property
    def flags(self) -> Any:
        return model_of(self).flags

    @property
    def base(self) -> Any:
        return self._link[0] if hasattr(self, "_link") else None

    __array_priority__ = 0.0

    @property
    def device(self) -> str:
        return "cpu"

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return np

    @property
    def flat(self) -> Flat:
        return Flat(self)

    @flat.setter
    def flat(self, values: Any) -> None:
        Flat(self)[...] = values

    @property
    def data(self) -> Memory:
        return Memory()

    @property
    def ctypes(self) -> Memory:
        if type(innermost(self)) is not ndarray:
            raise AttributeError("'numpy.float64' object has no attribute 'ctypes'")
        return Memory()

    def __contains__(self, value: Any) -> bool:
        return bool((self == value).any())

    def setflags(self, write: Any = None, align: Any = None, uic: Any = None) -> None:
        """Do nothing: a program that does not write where it may not runs as it does with the flag."""

    def to_device(self, device: str, /, *, stream: Any = None) -> Any:
        if device != "cpu":
            raise ValueError(f'Unsupported device "{device}". Only "cpu" is accepted.')
        return self

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
        shape = self._value.shape
        if not shape:
            kind = type(innermost(self))
            if kind is ndarray:
                raise TypeError("len() of unsized object")
            raise MissingError(f"object of type 'numpy.{kind.__name__}' has no len()")
        return lambda: shape[0]

    @property
    def __iter__(self) -> Callable[[], Iterator[Any]]:
        shape = self._value.shape
        if not shape and type(innermost(self)) is not ndarray and names_attribute(_getframe(1), "__iter__"):
            raise MissingError(f"'numpy.{type(innermost(self)).__name__}' object has no attribute '__iter__'")
        return self._elements_in_turn

    def _elements_in_turn(self) -> Iterator[Any]:
        shape = self._value.shape
        if not shape:
            kind = type(innermost(self))
            if kind is ndarray:
                raise TypeError("iteration over a 0-d array")
            raise TypeError(f"'numpy.{kind.__name__}' object is not iterable")
        return (self[k] for k in range(shape[0]))

    # -- Indexing --

    def __getitem__(self, index: Any) -> Any:
        if type(index) is int:
            elements = self._elements
            if elements is not None and (position := elements.positions.get(index)) is not None and self._tape.open:
                y = self._value[index]
                return Traced(y, self._tape, position) if position >= 0 else y
            if self._value.ndim == 1 and (element := read_element(self, (index,))) is not None:
                return element
            params = {"index": (index,)}
            item = write_row(self._tape, getitem, (self._value,), (self._index,), params, 2)
            return item if self._value.ndim == 1 else link_view(item, self, getitem, params)
        if _names_element(self, index) and (element := read_element(self, index)) is not None:
            return element
        template, operands = as_index(index)
        params = {"index": tuple(remember_large(self._tape, template))}
        if operands:
            return record_line(getitem, (self, *operands), params)
        return link_view(
            write_row(self._tape, getitem, (self._value,), (self._index,), params, 2), self, getitem, params
        )

    def __setitem__(self, index: Any, value: Any) -> None:
        if type(index) is int:
            if self._value.ndim == 1 and write_element(self, (index,), value):
                return
        elif _names_element(self, index) and write_element(self, index, value):
            return
        through(self, assign, (self, index, value), NO_PARAMS)

    __iadd__, __isub__, __imul__ = _augmented(e.add), _augmented(e.subtract), _augmented(e.multiply)
    __itruediv__, __ipow__ = _augmented(e.divide), _augmented(e.power)
    __imod__, __ifloordiv__ = _augmented(e.remainder), _augmented(e.floor_divide)
    __imatmul__ = _augmented(functions.matmul)
    __iand__, __ior__ = _augmented(e.bitwise_and), _augmented(e.bitwise_or)
    __ixor__ = _augmented(e.bitwise_xor)

    def __rdivmod__(self, other: Any) -> tuple[Any, Any]:
        return other // self, other % self

    def fill(self, value: Any) -> None:
        self[...] = value

    def put(self, indices: Any, values: Any, mode: str = "raise") -> None:
        functions.in_place.put(self, indices, values, mode)

    def sort(self, axis: int = -1, kind: Any = None, order: Any = None, *, stable: bool | None = None) -> None:
        self[...] = np.sort(self, axis, kind, order, stable=stable)

    def partition(self, kth: Any, axis: int = -1, kind: Any = "introselect", order: Any = None) -> None:
        self[...] = np.partition(self, kth, axis, kind, order)

    # -- Becoming a plain number or array --

    def __int__(self) -> int:
        if self._index >= 0 and (mark := write_into_plain(self, _getframe(1))) is not None:
            return int(mark)
        return self._decide(int(self._value))

    def __float__(self) -> float:
        if self.dtype.kind in "biu":
            return float(int(self))
        frame = _getframe(1)
        if self._index < 0:
            return float(innermost(self))
        if formats(frame):
            as_text(self, "")
            return float(innermost(self))
        if not assigns(frame):
            rebind_imports(frame)
            join_lists(frame)
        mark = write_into_plain(self, frame)
        if mark is None:
            rebind_makers(frame)
            raise lost()
        return float(mark)

    def __complex__(self) -> complex:
        if self._index < 0:
            return complex(self._value)
        rebind_imports(_getframe(1))
        mark = write_into_plain(self, _getframe(1))
        if mark is None:
            raise lost()
        return complex(mark)

    def _decided(self) -> np.ndarray[Any, Any]:
        """Return the values of integers or booleans; that they are these is one decision, however many they are."""
        values = _copy(_asarray(self._value))
        if self._tape.keep_all:
            at_place(lambda: bool((self == values).all()))
        return values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """Become a plain array where no derivative is lost: a constant, positions, or an array of traced elements.

        The last is what ``np.mean([a, b])`` makes of a list; NumPy then computes on the elements by their operators.
        """
        if is_kept_constant(self):
            value = _asarray(plain(self), dtype)
            return _copy(value) if copy else value
        rebind_imports(_getframe(1))
        if self._index >= 0:
            if (marks := write_into_plain(self, _getframe(1))) is not None:
                return marks  # type: ignore[no-any-return]
            if self.dtype.kind in "biu" and (dtype is None or np.dtype(dtype).kind in "biufc"):
                return self._decided()
            if (
                (dtype is None or np.dtype(dtype).hasobject)
                and self.size <= MOST_OBJECTS
                and takes_objects(_getframe(1))
            ):
                join_lists(_getframe(1))
                return _elements(self)
            rebind_makers(_getframe(1))
            raise lost()
        constant = np.asarray(self._value, dtype).view()
        constant.flags.writeable = False  # what is written into it behind our back would be lost
        return constant

    def item(self, *index: Any) -> Any:
        if index:
            where = index[0] if len(index) == 1 else index
            return self[tuple(where)] if isinstance(where, tuple) else self.ravel()[where]
        return as_scalar(self.reshape(()))

    def tolist(self) -> Any:
        return as_scalar(self) if self.ndim == 0 else [part.tolist() for part in self]

    # -- NumPy's protocols --

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        handler = CALLS.get(ufunc)
        if method == "__call__" and not kwargs:
            if type(handler) is Primitive:
                if len(inputs) == 1:
                    if handler is e.square and self._index in self._tape.roots:
                        return squared(self)
                    return write_row(self._tape, handler, (self._value,), (self._index,), NO_PARAMS, 2)
                if self._tape.roots and inputs[0] is self and self._index in self._tape.roots:
                    if handler is e.multiply and inputs[1] is self:
                        return squared(self)
                    if handler is e.power and type(inputs[1]) in SCALARS and inputs[1] == 2:
                        return squared(self)
                try:
                    return record_line(handler, inputs, NO_PARAMS)
                except LeftToOther as other:
                    return _left_to_other(other.args[0], ufunc, inputs)
            if handler is not None:
                return finish(ufunc, inputs, kwargs, through(self, handler, inputs, kwargs))
        if handler is None and kwargs.get("out") is None:
            return _without_rule(ufunc, method, inputs, kwargs)
        return self._apply_ufunc(ufunc, method, inputs, kwargs)

    def _apply_ufunc(self, ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a ufunc with arguments by keyword, or one of its methods."""
        outs = kwargs.get("out")
        if method == "at" and type(inputs[0]) is ndarray:
            call = functools.partial(functions.ufuncs.METHODS[method], ufunc)
            return _write_by_call(getattr(ufunc, method), call, inputs, kwargs, _getframe(2))
        if outs is not None and type(outs[0]) is ndarray and not all_constant(inputs):
            adopted = adopt_for_operation(outs[0], _getframe(2))
            if adopted is None:
                rebind_makers(_getframe(2))
            else:
                outs = (adopted,)
                kwargs = {**kwargs, "out": outs}
        if outs is None:
            made = through(self, functions.ufuncs.METHODS[method], (ufunc, *inputs), kwargs, 3)
            return finish(getattr(ufunc, method), inputs, kwargs, made)
        if all_constant(inputs) and not any(type(out) is Traced for out in outs):
            return getattr(ufunc, method)(*plain(inputs), **plain(kwargs))
        return through(self, write_ufunc, (ufunc, method, inputs, kwargs), NO_PARAMS, 3)

    def __array_function__(self, func: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
        handler = CALLS.get(func)
        kind = which_means_more(types) if len(types) > 1 else None
        if handler is None or kind is not None:
            if kind is not None and has_own_operations(kind) and not all_constant((args, kwargs)):
                return NotImplemented  # NumPy asks the other next
            return _call_plain(func, args, kwargs, kind)
        out_at, is_usual = _how_called(func)
        if not is_usual and args and type(args[0]) is ndarray and func in WRITERS:
            return _write_by_call(func, handler, args, kwargs, _getframe(1))
        if "out" in kwargs or (out_at is not None and len(args) > out_at):
            target, args, kwargs = set_out_aside(out_at, args, kwargs)
            if target is not None:
                result = through(self, handler, args, kwargs)
                return through(self, write_out, (target, result, func.__name__), NO_PARAMS)
        if not is_usual and func in CALLBACKS:
            args, kwargs = _by_users(args), _by_users(kwargs)
        if self._tape.context.place is not None:
            return handler(*args, **kwargs)
        if is_usual:
            return finish(func, args, kwargs, through(self, handler, args, kwargs))
        if args and type(args[0]) is Traced and func not in CALLBACKS:
            array: Any = args[0]
            if func is _copy:
                return as_array(array.copy(kwargs.get("order", args[1] if len(args) > 1 else "K")))
            if func == np.ravel:
                return array.ravel(*args[1:], **kwargs)
            kwargs = {**kwargs, "order": order_in_memory(array, kwargs["order"])} if "order" in kwargs else kwargs
        return finish(func, args, kwargs, through(self, handler, args, kwargs))

    # -- Methods of arrays --

    sum, mean, prod = _method_of(np.sum), _method_of(np.mean), _method_of(np.prod)
    std, var, cumsum = _method_of(np.std), _method_of(np.var), _method_of(np.cumsum)
    max, min, argmax, argmin = _method_of(np.max), _method_of(np.min), _method_of(np.argmax), _method_of(np.argmin)
    all, any, clip = _method_of(np.all), _method_of(np.any), _method_of(np.clip)
    dot, trace, diagonal = _method_of(np.dot), _method_of(np.trace), _method_of(np.diagonal)
    squeeze, swapaxes = _method_of(np.squeeze), _method_of(np.swapaxes)
    take, repeat, choose = _method_of(np.take), _method_of(np.repeat), _method_of(np.choose)
    argsort, argpartition = _method_of(np.argsort), _method_of(np.argpartition)
    searchsorted, nonzero = _method_of(np.searchsorted), _method_of(np.nonzero)
    cumprod, round = _method_of(np.cumprod), _method_of(np.round)

    def ravel(self, order: str = "C") -> Any:
        """Return the elements one after the other: a view where they lie so in memory."""
        source, lies = self, model_of(self)
        if order == "K":
            if any(n > 1 and not step for n, step in zip(lies.shape, lies.strides, strict=True)):
                places = numbered(lies).ravel("K")  # NumPy's own order
                return through(self, operator.getitem, (self.ravel(), places), NO_PARAMS)
            axes = sorted(range(self.ndim), key=lambda k: -abs(lies.strides[k]))
            if axes != list(range(self.ndim)):
                source, lies = self.transpose(axes), lies.transpose(axes)
            order = "C"
        order = order_in_memory(self, order)
        flat = through(self, CALLS[np.ravel], (source, order), NO_PARAMS)
        is_view = lies.flags.f_contiguous if order == "F" else lies.flags.c_contiguous
        return flat if is_view or type(flat) is not Traced else laid_out(flat, "C")

    def flatten(self, order: str = "C") -> Any:
        flat = self.ravel(order)
        return flat.__copy__() if type(flat) is Traced else flat

    def copy(self, order: str = "C") -> Any:
        return laid_out(self, order) if self._value.shape else self.__copy__()

    def reshape(self, *shape: Any, **kwargs: Any) -> Any:
        wanted = shape[0] if len(shape) == 1 else shape
        if not kwargs and type(self._value) is ndarray:
            try:
                params = {"shape": self._value.reshape(wanted).shape}
            except (ValueError, TypeError):
                pass  # it is raised below, with the user's line
            else:
                made = write_row(self._tape, reshape, (self._value,), (self._index,), params, 2)
                return link_view(made, self, reshape, params)
        if "order" in kwargs:
            kwargs["order"] = order_in_memory(self, kwargs["order"])
        return through(self, functions.reshape, (self, wanted), kwargs)

    def transpose(self, *axes: Any) -> Any:
        wanted = axes[0] if len(axes) == 1 else axes or None
        return through(self, functions.transpose, (self, wanted), NO_PARAMS)

    def compress(self, condition: Any, axis: Any = None, out: Any = None) -> Any:
        result = through(self, CALLS[np.compress], (condition, self, axis), NO_PARAMS)
        return result if out is None else through(self, write_out, (out, result, "compress"), NO_PARAMS)

    def __round__(self, ndigits: int | None = None) -> Any:
        return int(np.rint(self)) if ndigits is None else np.round(self, ndigits)

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise LostGradientError.at_caller(
            "a traced value cannot be pickled, it belongs to the trace that is running:",
            "Pickle the results of the differentiated function, or stop_gradient(x) of what you want to keep.",
        )

    def view(self, *args: Any, **kwargs: Any) -> Any:
        """Return the same elements under another name; as another type they would be taken by their bytes.

        A subclass that computes as ndarray does, and carries a name, holds the elements as objects.
        """
        kind = which_means_more(tuple(value for value in (*args, *kwargs.values()) if isinstance(value, type)))
        if kind is not None and self._index < 0:
            return self.__array__().view(*args, **kwargs)
        if kind is not None:
            raise refuse_kind(kind)
        values = *args, *kwargs.values()
        if values in ((), (ndarray,)):
            return self[...]
        subclass = values[0] if len(values) == 1 and isinstance(values[0], type) else object
        if issubclass(subclass, ndarray) and self.size <= MOST_OBJECTS:
            return _elements(self).view(subclass)
        return _refusing("view")(self)

    def astype(
        self, dtype: Any, order: str = "K", casting: str = "unsafe", subok: bool = True, copy: bool = True
    ) -> Any:
        made = through(self, functions.astype, (self, dtype, order, casting), NO_PARAMS)
        if type(made) is not Traced or not self._value.shape or (made is self and not copy):
            made = made.__copy__() if copy and made is self else made
            return as_array(made) if not self._value.shape and type(innermost(self)) is ndarray else made
        return laid_out(made, order)


def _set_shape(self: Any, shape: Any) -> None:
    through(self, set_shape, (self, shape), NO_PARAMS, 2)


class MethodOfSome:
    """A method that some traced values have, and that for all others is no attribute at all."""

    __slots__ = ("has", "method")

    def __init__(self, method: Callable[..., Any], has: Callable[[Any], bool]) -> None:
        self.method, self.has = method, has

    def __get__(self, traced: Any, owner: Any = None) -> Any:
        if not self.has(traced):
            kind, name = type(innermost(traced)).__name__, self.method.__name__
            raise AttributeError(f"'numpy.{kind}' object has no attribute {name!r}")
        return types.MethodType(self.method, traced)


def _is_integer(self: Any) -> Any:
    return self == np.floor(self)


_is_integer.__name__ = "is_integer"
_REFUSED = ("tobytes", "tofile", "dump", "dumps", "getfield", "setfield", "byteswap", "resize")
_OF_SCALARS = (_is_integer, *map(_refusing, _TAKEN))
_BY_NAME = (
    np.exp, np.exp2, np.expm1, np.log, np.log2, np.log10, np.log1p, np.sqrt, np.cbrt, np.square, np.reciprocal,
    np.sin, np.cos, np.tan, np.arcsin, np.arccos, np.arctan, np.sinh, np.cosh, np.tanh, np.arcsinh, np.arccosh,
    np.arctanh, np.degrees, np.radians, np.rad2deg, np.deg2rad, np.fabs, np.rint,
)  # fmt: skip
"""Ufuncs that NumPy calls by name on the elements of an array of objects; nobody else sees them."""


def _leave_to_value(protocol: Any) -> None:
    """Let ``isinstance(x, Iterable)`` go by the class that a traced value answers with: a scalar is not iterable.

    Python's own protocols look for methods in the class `Traced`, which has them for the sake of arrays.
    """
    hook = protocol.__subclasshook__.__func__

    def ask(cls: Any, kind: type) -> Any:
        return NotImplemented if kind is Traced else hook(cls, kind)

    protocol.__subclasshook__ = classmethod(ask)


def complete() -> None:
    """Give `Traced` the methods of an array."""
    for protocol in (Collection, Container, Iterable, Sized):
        _leave_to_value(protocol)
    for name, method in vars(ArrayMethods).items():
        if name not in ("__doc__", "__module__", "__slots__"):
            setattr(Traced, name, method)
    for name in _REFUSED:
        setattr(Traced, name, _refusing(name))
    Traced.shape = Traced.shape.setter(_set_shape)  # type: ignore[attr-defined, method-assign]
    for method in _OF_SCALARS:
        setattr(Traced, method.__name__, MethodOfSome(method, lambda traced: not traced.shape))
    for ufunc in _BY_NAME:
        method = unary(CALLS[ufunc])  # type: ignore[arg-type]
        method.__name__ = ufunc.__name__
        setattr(Traced, ufunc.__name__, MethodOfSome(method, lambda _: not asks_for_attribute(_getframe(2))))
