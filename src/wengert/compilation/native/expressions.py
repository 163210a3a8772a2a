"""Expressions: lines over arrays of any size as a graph of values, before it is decided what is stored.

Elementwise arithmetic, folds over axes, moves that only change how an array is looked at, and arrays that are put
together of parts.  `Expressions` is the ``op`` that a row's native facet is called with; it computes nothing.

>>> import numpy as np
>>> op = Expressions()
>>> x = op.argument((1000, 3), "d", (24, 8))
>>> y = op.fold("add", op("multiply", x, op.move(lambda a: a[::-1], x)), (1,), False)
>>> y.shape, str(y)
((1000,), 'move(add(multiply(x0, move(x0))))')
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from wengert.compilation.native.complex_numbers import FUNCTIONS
from wengert.compilation.native.kinds import FLOATING, PARTS, TRUTH, WHOLE, in_kind, kind_of, promoted
from wengert.compilation.native.loops import Buffer, row_major
from wengert.compilation.native.lowering import NoLoweringError, unchanged_operand
from wengert.compilation.native.operations import SPECIAL, constant_of, instruction, operation_of
from wengert.compilation.native.positions import Computed, Positions, positions_of
from wengert.program import Atom, Line, Operand, Var

LARGEST_MATRIX, LARGEST_PRODUCT = 1 << 16, 1 << 12
"""The number of multiplications up to which a matrix is multiplied by a vector, or a matrix, without BLAS."""

Shape = tuple[int, ...]
Viewing = Callable[[Any], Any]
"""A function that returns a view of an array."""


class View(NamedTuple):
    """Elements of a buffer as an array, by strides in elements."""

    buffer: Buffer
    offset: int
    strides: tuple[int, ...]
    shape: Shape


class CopyError(Exception):
    """What was to be a view of an array is a copy of it."""


@functools.lru_cache(maxsize=1 << 12)
def view_of(shape: Shape, strides: tuple[int, ...], function: Viewing) -> tuple[int, tuple[int, ...], Shape]:
    """Return offset, strides and shape of a view of an array; raise CopyError if it is none.

    The array that the function gets has no values: its memory is never touched, unless it is copied.

    >>> view_of((4, 3), (3, 1), lambda x: x[1:, ::-1].T)
    (5, (-1, 3), (3, 3))
    """
    low = high = 0
    for n, s in zip(shape, strides, strict=True):
        if n > 1 and s < 0:
            low += (n - 1) * s
        elif n > 1:
            high += (n - 1) * s
    start, memory = _untouched((high - low).bit_length())
    result = function(np.ndarray(shape, np.int8, memory, -low, strides))
    place = result.__array_interface__["data"][0] - start
    if not 0 <= place < memory.size or result.dtype != np.int8:
        raise CopyError
    strides = tuple([s if n > 1 else 0 for s, n in zip(result.strides, result.shape, strict=True)])
    return place + low, strides, result.shape


@functools.lru_cache(maxsize=1 << 10)
def broadcast_to(shape: Shape) -> Viewing:
    """Return the function that broadcasts to a shape."""
    return functools.partial(np.broadcast_to, shape=shape)


@functools.lru_cache(maxsize=40)
def _untouched(bits: int) -> tuple[int, np.ndarray[Any, np.dtype[np.int8]]]:
    """Return where memory begins that nobody writes to, so that it takes none, and that memory."""
    memory = np.empty(1 << bits, np.int8)
    return memory.__array_interface__["data"][0], memory


class Value:
    """An array of one kind of data in a graph: what computes it, of what.

    Attributes
    ----------
    shape, dtype
        The shape, and the kind (`wengert.compilation.native.kinds`).
    operands
        The values and constants that it is computed of.
    """

    __slots__ = ("dtype", "operands", "shape")

    def __init__(self, shape: Shape, dtype: str, operands: Sequence[Any] = ()) -> None:
        self.shape, self.dtype, self.operands = shape, dtype, tuple(operands)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    def substituted(self, values: Mapping[Any, Any]) -> Value:
        """Return the same of other operands; the value itself where it has the same ones."""
        operands = [values.get(a, a) if isinstance(a, Value) else a for a in self.operands]
        if all(a is b for a, b in zip(operands, self.operands, strict=True)):
            return self
        return self._of(operands)

    def _of(self, operands: Sequence[Any]) -> Value:
        raise NotImplementedError

    def __str__(self) -> str:
        return f"{self._title()}({', '.join(map(str, self.operands))})"

    def _title(self) -> str:
        return type(self).__name__.lower()


class Argument(Value):
    """An array in memory; it is `dying` if nothing reads it after the kernel, which may write into it then."""

    __slots__ = ("dying", "view")

    def __init__(self, view: View, dying: bool = False) -> None:
        super().__init__(view.shape, view.buffer.dtype)
        self.view, self.dying = view, dying

    def __str__(self) -> str:
        return self.view.buffer.name


class Each(Value):
    """An operation of scalars on each element; the operands are broadcast."""

    __slots__ = ("name",)

    def __init__(self, name: str, shape: Shape, dtype: str, operands: Sequence[Any]) -> None:
        super().__init__(shape, dtype, operands)
        self.name = name

    def _of(self, operands: Sequence[Any]) -> Value:
        return Each(self.name, self.shape, self.dtype, operands)

    def _title(self) -> str:
        return self.name


class Move(Value):
    """A view of its operand."""

    __slots__ = ("function",)

    def __init__(self, function: Viewing, shape: Shape, operand: Value) -> None:
        super().__init__(shape, operand.dtype, (operand,))
        self.function = function

    def _of(self, operands: Sequence[Any]) -> Value:
        return Move(self.function, self.shape, *operands)


class Fold(Value):
    """A sum, product, maximum, minimum... along axes, which stay with the length one."""

    __slots__ = ("axes", "name")

    def __init__(self, name: str, operand: Value, axes: frozenset[int]) -> None:
        shape = tuple([1 if k in axes else n for k, n in enumerate(operand.shape)])
        super().__init__(shape, operand.dtype, (operand,))
        self.name, self.axes = name, axes

    def _of(self, operands: Sequence[Any]) -> Value:
        (operand,) = operands
        return Fold(self.name, operand, self.axes)

    def _title(self) -> str:
        return self.name


class Product(Value):
    """A product of matrices, or of stacks of them, which BLAS computes."""

    __slots__ = ()


class Filled(Value):
    """An array with the same constant everywhere; it is an operand, and never stored."""

    __slots__ = ("value",)

    def __init__(self, shape: Shape, value: float | bool, dtype: str) -> None:
        super().__init__(shape, dtype)
        self.value = value


class Complex(Value):
    """An array of complex numbers: the values of both parts, which are in the graph; it is not."""

    __slots__ = ("imag", "real")

    def __init__(self, real: Value, imag: Value) -> None:
        super().__init__(real.shape, np.result_type(real.dtype, "F").char, (real, imag))
        self.real, self.imag = real, imag


class Gather(Value):
    """Elements of its first operand, which is in memory, at positions; the others are the tables of these."""

    __slots__ = ("positions",)

    def __init__(self, operand: Value, positions: Positions, tables: Sequence[Value]) -> None:
        super().__init__(positions.shape, operand.dtype, (operand, *tables))
        self.positions = positions

    @property
    def tables(self) -> tuple[Value, ...]:
        """The tables of the positions."""
        return self.operands[1:]

    def _of(self, operands: Sequence[Any]) -> Value:
        return Gather(operands[0], self.positions, operands[1:])


class Running(Value):
    """The sums, products or extrema of the elements so far along an axis."""

    __slots__ = ("axis", "name")

    def __init__(self, name: str, operand: Value, axis: int) -> None:
        super().__init__(operand.shape, operand.dtype, (operand,))
        self.name, self.axis = name, axis

    def _of(self, operands: Sequence[Any]) -> Value:
        return Running(self.name, operands[0], self.axis)

    def _title(self) -> str:
        return f"running {self.name}"


class Part(NamedTuple):
    """A value that is written to, or added to, a part of an array: a view of it, or positions in that."""

    value: Any
    function: Viewing
    adds: bool
    positions: Positions | None = None
    tables: tuple[Value, ...] = ()


class Assembly(Value):
    """An array that is put together: filled first, unless the parts cover it, then part by part."""

    __slots__ = ("first", "is_disjoint", "parts")

    def __init__(self, shape: Shape, dtype: str, first: Any, parts: Sequence[Part]) -> None:
        tables = [table for part in parts for table in part.tables]
        super().__init__(shape, dtype, [v for v in (first, *[p.value for p in parts], *tables) if v is not None])
        self.first, self.parts = first, tuple(parts)
        are_written = not any(part.adds or part.positions for part in parts)
        self.is_disjoint = first is None and are_written and self._parts_size() == self.size
        """Whether each element is that of one part alone, so that parts may be written in any order."""

    def _parts_size(self) -> int:
        places = [view_of(self.shape, row_major(self.shape), part.function) for part in self.parts]
        return sum([math.prod(shape) for _, _, shape in places])

    def _of(self, operands: Sequence[Any]) -> Value:
        rest = iter(operands)
        first = self.first if self.first is None else next(rest)
        parts = [part._replace(value=next(rest)) for part in self.parts]
        parts = [part._replace(tables=tuple([next(rest) for _ in part.tables])) for part in parts]
        return Assembly(self.shape, self.dtype, first, parts)


class Expressions:
    """A graph of values, which the native facets of rows write.

    Attributes
    ----------
    values
        All values, each after its operands.
    arguments
        The buffers that are read.
    tables
        The arrays that some of these hold, which never change.
    guards
        Numbers that are computed for the alarm alone that they raise where a position is outside an array.
    kind
        The kind of floating-point numbers that the line computes with which is being written.
    """

    unrolls = False
    """An array is not written out element by element."""

    def __init__(self) -> None:
        self.values: list[Value] = []
        self.arguments: list[Buffer] = []
        self.tables: dict[Buffer, np.ndarray[Any, Any]] = {}
        self.guards: list[Value] = []
        self.kind = "d"
        self._computed: dict[Any, Value] = {}

    def argument(self, shape: Shape, dtype: str, strides: Sequence[int], dying: bool = False) -> Value:
        """Enter an array in memory, with its strides in bytes; nothing reads a `dying` one after the kernel."""
        size = np.dtype(dtype).itemsize
        if dtype in PARTS:
            pairs = self.argument((*shape, 2), PARTS[dtype], (*strides, size // 2), dying)
            return Complex(self.move(_real_of_pairs, pairs), self.move(_imag_of_pairs, pairs))
        if any(s % size for s, n in zip(strides, shape, strict=True) if n > 1):
            raise NoLoweringError("strides that are no multiples of an element")
        buffer = Buffer(f"x{len(self.arguments)}", math.prod(shape), "argument", dtype)
        self.arguments.append(buffer)
        steps = tuple([s // size if n > 1 else 0 for s, n in zip(strides, shape, strict=True)])
        value: Value = self._enter(Argument(View(buffer, 0, steps, shape), dying), None)
        return value

    def _enter(self, value: Value, key: Any) -> Any:
        """Enter a value, or return the one that is computed in the same way."""
        if key is not None and key in self._computed:
            return self._computed[key]
        if not value.size:
            raise NoLoweringError("an array without elements")
        self.values.append(value)
        if key is not None:
            self._computed[key] = value
        return value

    def _tables_of(self, positions: Positions, shape: Shape) -> tuple[Value, ...]:
        """Return the tables of positions in an array of a shape: arguments, or what is computed."""
        tables: list[Value] = []
        for table, axis in zip(positions.tables, positions.axes, strict=True):
            if isinstance(table, Computed):
                tables.append(self._inside(table.value, shape[axis]))
                continue
            key = ("table", table.shape, table.tobytes())
            if key not in self._computed:
                self._computed[key] = self.argument(table.shape, "l", table.strides)
                self.tables[self.arguments[-1]] = table
            tables.append(self._computed[key])
        return tuple(tables)

    def _inside(self, table: Value, length: int) -> Value:
        """Return computed positions as places along an axis; of those outside, an alarm is raised.

        It is that of the root of a negative number: how far the smallest and the largest one are inside.
        """
        key = ("inside", id(table), length)
        if key not in self._computed:
            table = self.converted(table, "l")
            ends = [self.fold(name, table, None, False) if table.ndim else table for name in ("minimum", "maximum")]
            below, above = self("add", ends[0], length), self("subtract", length - 1, ends[1])
            slack = self("select", self("less", below, above), below, above)
            self.guards.append(self("sqrt", self.converted(slack, "d")))
            place = self("select", self("less", table, 0), self("add", table, length), table)
            place = self("select", self("less", place, 0), 0, place)
            self._computed[key] = self("select", self("less", place, length), place, length - 1)
        return self._computed[key]

    def _index_of(self, index: Sequence[Any]) -> list[Any]:
        """Return an index with what is computed in it as tables."""
        items: list[Any] = []
        for item in index:
            if isinstance(item, Value):
                if item.dtype not in WHOLE or isinstance(item, Filled):
                    raise NoLoweringError(f"positions of {np.dtype(item.dtype)}")
                item = Computed(item, item.shape)
            items.append(item)
        return items

    def in_memory(self, value: Value) -> Value:
        """Return a value as it lies in memory: complex numbers are pairs along one more axis."""
        if not isinstance(value, Complex):
            return value
        parts = [(value.real, _real_of_pairs, False), (value.imag, _imag_of_pairs, False)]
        pairs: Value = self.assemble((*value.shape, 2), None, [Part(*part) for part in parts])
        return pairs

    # -- Lines --

    def line(self, line: Line, values: Mapping[Atom, Any]) -> Any:
        """Return the value of a line, given those of its variables and of its constants that are arrays."""
        primitive, facet = line.primitive, line.primitive.native
        if facet is None or primitive.multiple:
            raise NoLoweringError(primitive.name)
        (out,) = line.outputs
        kind = kind_of(out.dtype)
        if kind is None:
            raise NoLoweringError(f"{primitive.name} of {out.dtype}")
        self.kind = kind if kind in FLOATING else PARTS.get(kind, "d")
        operands = [values[atom] if atom in values else constant_of_atom(atom) for atom in line.inputs]
        if facet == "moves":
            if len(operands) != 1:
                raise NoLoweringError(primitive.name)
            result = self.move(functools.partial(primitive.compute, **line.params), operands[0])
        else:
            operands = self._as_computed_with(line, operands, kind)
            result = self(facet, *operands) if isinstance(facet, str) else facet(self, *operands, **line.params)
        if not isinstance(result, Value) or isinstance(result, Filled):
            raise NoLoweringError(f"{primitive.name} with these parameters")
        if result.dtype == TRUTH:
            result = self.converted(result, kind)
        if result.dtype != kind:
            raise NoLoweringError(f"{primitive.name} of {out.dtype}")
        if result.shape != out.shape:
            result = self.move(broadcast_to(out.shape), result)
        return result

    def _as_computed_with(self, line: Line, operands: list[Any], kind: str) -> list[Any]:
        """Return operands in the kind that NumPy computes a result of a kind with: that, or what is compared."""
        first = int(line.primitive.native == "select")
        last = len(operands) - sum(isinstance(item, Operand) for item in line.params.get("index", ()))
        if kind == TRUTH:
            if not line.primitive.elementwise or len(operands) == 1:
                return operands
            try:
                dtype = np.result_type(*[a.dtype if isinstance(a, Var) else a.value for a in line.inputs[first:]])
            except (OverflowError, TypeError) as error:
                raise NoLoweringError(str(error)) from error
            compared = kind_of(dtype)
            if compared is None:
                raise NoLoweringError(f"{line.primitive.name} of {dtype}")
            kind = compared
        elif kind not in PARTS and any(isinstance(operand, Complex) for operand in operands):
            return operands  # a real result of complex numbers
        converted = [self.converted(operand, kind) for operand in operands[first:last]]
        return [*operands[:first], *converted, *operands[last:]]  # the last ones are positions

    # -- What facets call --

    def __call__(self, name: str, *operands: Any) -> Any:
        """Apply an operation of scalars, ``"select"``, ``"truth"`` or ``"number"`` to each element."""
        if name == "truth":
            return self.converted(operands[0], TRUTH)
        if name == "number":
            return self.converted(operands[0], self.kind) if _kind(operands[0]) == TRUTH else operands[0]
        if any(isinstance(operand, Complex) for operand in operands):
            return self._of_complex(name, operands)
        if name == "select":
            kind = result = self._common_kind(operands[1:], True)
            converted = [self.converted(operands[0], TRUTH), *[self.converted(a, kind) for a in operands[1:]]]
        else:
            operation = operation_of(name)
            kind = self._common_kind(operands, operation.of_bools)
            if operation.of_bools and kind not in WHOLE:
                kind = TRUTH
            if kind == "f" and name.startswith(SPECIAL):
                return self.converted(self(name, *[self.converted(a, "d") for a in operands]), "f")
            if instruction(name, kind) is None:
                raise NoLoweringError(f"{name} of {np.dtype(kind)}")
            if kind in WHOLE and name in ("divide", "fmod") and self.value_of(operands[1]) in (None, 0, -1):
                raise NoLoweringError("a division by what may be zero")  # the processor would end the process
            converted = [self.converted(a, kind) for a in operands]
            result = TRUTH if operation.is_bool and not (operation.of_bools and kind in WHOLE) else kind
        shape = np.broadcast_shapes(*[a.shape for a in converted if isinstance(a, Value)])
        operands = tuple([a.value if isinstance(a, Filled) else a for a in converted])
        if name != "select" and not any(isinstance(a, Value) for a in operands):
            value = constant_of(name, operands, kind)
            if value is not None:
                return Filled(shape, value, result)
        same = None if name == "select" else unchanged_operand(name, operands)
        if same is not None and isinstance(operands[same], Value) and operands[same].shape == shape:
            return operands[same]
        key = (name, shape, result, *[id(a) if isinstance(a, Value) else repr(a) for a in operands])
        return self._enter(Each(name, shape, result, operands), key)

    def _of_complex(self, name: str, operands: Sequence[Any]) -> Any:
        """Apply an operation to each element of arrays of complex numbers."""
        if name == "select":
            kind = self._common_kind(operands[1:], False)
            condition, one, other = operands[0], *[self.converted(a, kind) for a in operands[1:]]
            parts = (one.real, other.real), (one.imag, other.imag)
            return self.complex_of(*[self("select", condition, *pair) for pair in parts])
        if name in ("and", "or", "xor", "not"):
            return self(name, *[self.converted(a, TRUTH) for a in operands])
        if name not in FUNCTIONS:
            raise NoLoweringError(f"{name} of complex numbers")
        kind = self._common_kind(operands, False)
        return FUNCTIONS[name](self, *[self.converted(a, kind) for a in operands])

    def complex_of(self, real: Any, imag: Any) -> Complex:
        """Return complex numbers of the parts."""
        parts = [x if isinstance(x, Value) else Filled((), in_kind(x, self.kind), self.kind) for x in (real, imag)]
        shape = np.broadcast_shapes(*[part.shape for part in parts])
        return Complex(*[part if part.shape == shape else self.move(broadcast_to(shape), part) for part in parts])

    def conjugate(self, x: Any) -> Any:
        """Return the conjugate."""
        return self.complex_of(x.real, self("negative", x.imag)) if isinstance(x, Complex) else x

    def is_whole(self, x: Any) -> bool:
        """Return whether a value is of whole numbers."""
        return isinstance(x, Value) and x.dtype in WHOLE

    def real(self, x: Any) -> Any:
        """Return the real part."""
        return x.real if isinstance(x, Complex) else x

    def imag(self, x: Any) -> Any:
        """Return the imaginary part."""
        return x.imag if isinstance(x, Complex) else Filled(x.shape, 0.0, self.kind)

    def _common_kind(self, operands: Sequence[Any], may_be_truths: bool) -> str:
        """Return the kind that operands are computed with; numbers of Python's take that of the values beside them."""
        kinds = [operand.dtype for operand in operands if isinstance(operand, Value)]
        kind = functools.reduce(promoted, kinds, TRUTH)
        are_truths = kind == TRUTH and all(_kind(operand) == TRUTH for operand in operands)
        return self.kind if kind == TRUTH and not (are_truths and may_be_truths) else kind

    def converted(self, value: Any, kind: str) -> Any:
        """Return a value or constant as one of another kind."""
        if kind in PARTS:
            return self._as_complex(value, PARTS[kind])
        if isinstance(value, Complex):
            if kind != TRUTH:
                raise NoLoweringError("complex numbers as real ones")
            return self("or", *[self.converted(part, TRUTH) for part in (value.real, value.imag)])
        try:
            if not isinstance(value, Value):
                return in_kind(value, kind)
            if value.dtype == kind:
                return value
            if isinstance(value, Filled):
                return Filled(value.shape, in_kind(value.value, kind), kind)
        except OverflowError as error:
            raise NoLoweringError(str(error)) from error
        return self._enter(Each("convert", value.shape, kind, (value,)), ("convert", kind, id(value)))

    def _as_complex(self, value: Any, kind: str) -> Complex:
        """Return a value or constant as complex numbers, with parts of a kind."""
        if isinstance(value, Complex):
            parts = value.real, value.imag
        elif isinstance(value, Value):
            parts = value, Filled(value.shape, 0.0, kind)
        else:
            parts = Filled((), in_kind(value.real, kind), kind), Filled((), in_kind(value.imag, kind), kind)
        return self.complex_of(*[self.converted(part, kind) for part in parts])

    def constant(self, value: float | bool) -> Any:
        """Return a constant."""
        return value

    def value_of(self, value: Any) -> complex | bool | None:
        """Return the value of a constant; None for any other."""
        if isinstance(value, Complex):
            parts = [part.value for part in (value.real, value.imag) if isinstance(part, Filled)]
            return complex(*parts) if len(parts) == 2 else None
        return value.value if isinstance(value, Filled) else None if isinstance(value, Value) else value

    def move(self, function: Viewing, value: Any) -> Any:
        """Return a view of a value; raise NoLoweringError if NumPy would copy it."""
        if not isinstance(value, Value):
            return value
        if isinstance(value, Complex):
            return Complex(self.move(function, value.real), self.move(function, value.imag))
        try:
            _, _, shape = view_of(value.shape, row_major(value.shape), function)
        except CopyError:
            raise NoLoweringError("a copy") from None
        if isinstance(value, Filled):
            return Filled(shape, value.value, value.dtype)
        return self._enter(Move(function, shape, value), None)

    def gather(self, value: Any, index: Sequence[Any]) -> Any:
        """Return what an index with arrays chooses."""
        positions = positions_of(self._index_of(index), value.shape)
        if positions is None:
            raise NoLoweringError("an index of values that are computed")
        if isinstance(value, Complex):
            return Complex(self.gather(value.real, index), self.gather(value.imag, index))
        if isinstance(value, Filled):
            return Filled(positions.shape, value.value, value.dtype)
        source = self.move(positions.view, value)
        return self._enter(Gather(source, positions, self._tables_of(positions, value.shape)), None)

    def part_at(self, value: Any, index: Sequence[Any], shape: Shape, adds: bool, batch: int) -> Part:
        """Return a value that is written to, or added to, what an index with arrays chooses."""
        positions = positions_of(self._index_of(index), shape, batch)
        if positions is None:
            raise NoLoweringError("an index of values that are computed")
        return Part(value, positions.view, adds, positions)

    def running(self, name: str, value: Any, axis: int) -> Any:
        """Combine the elements so far along an axis, each time in order."""
        if isinstance(value, Complex) and name == "add":
            return Complex(self.running(name, value.real, axis), self.running(name, value.imag, axis))
        if not isinstance(value, Value) or isinstance(value, (Filled, Complex)) or value.dtype == TRUTH:
            raise NoLoweringError(f"a running {name} of these")
        return self._enter(Running(name, value, axis % value.ndim), ("running", name, id(value), axis % value.ndim))

    def fold(self, name: str, value: Any, axis: Sequence[int] | None, keepdims: bool) -> Any:
        """Combine the elements along axes by an operation that may take them in any order."""
        if isinstance(value, Complex) and name == "add":
            return Complex(*[self.fold(name, part, axis, keepdims) for part in (value.real, value.imag)])
        if not isinstance(value, Value) or isinstance(value, (Filled, Complex)):
            raise NoLoweringError("a fold of a constant")
        axes = frozenset(range(value.ndim) if axis is None else [k % value.ndim for k in axis])
        if (value.dtype == TRUTH) != (name in ("and", "or")):
            value = self.converted(value, TRUTH if name in ("and", "or") else self.kind)
        result = self._enter(Fold(name, value, axes), ("fold", name, id(value), axes))
        shape = tuple([n for k, n in enumerate(value.shape) if k not in axes])
        return result if keepdims or shape == result.shape else self.move(lambda a: a.reshape(shape), result)

    def product(self, left: Any, right: Any) -> Any:
        """Multiply matrices, or stacks of them."""
        if not all(isinstance(x, Value) and x.dtype != TRUTH for x in (left, right)):
            raise NoLoweringError("a product of other than matrices of numbers")
        if isinstance(left, Filled) or isinstance(right, Filled):
            return self._product_with_filled(left, right)
        product = self._folded_product(left, right) if left.ndim == right.ndim == 2 else None
        if product is not None:
            return product
        if not left.dtype == right.dtype or left.dtype not in FLOATING:
            raise NoLoweringError(f"a product of large matrices of {np.dtype(left.dtype)}")
        stack = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
        return self._enter(Product((*stack, left.shape[-2], right.shape[-1]), left.dtype, (left, right)), None)

    def _product_with_filled(self, left: Any, right: Any) -> Any:
        """Multiply matrices one of which has the same number everywhere: add up the other, and multiply the sums."""
        stack = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
        matrix, number, axis = (right, left, -2) if isinstance(left, Filled) else (left, right, -1)
        total = self("multiply", self.fold("add", matrix, (axis,), True), number.value)
        return self.move(broadcast_to((*stack, left.shape[-2], right.shape[-1])), total)

    def _folded_product(self, left: Value, right: Value) -> Any:
        """Multiply matrices by multiplying elements and adding them up; None where that takes so long that BLAS pays.

        What is added up runs along memory, if one factor is a vector.
        """
        n, k, m = *left.shape, right.shape[1]
        if n == 1 or m == 1:
            if n * k * m > LARGEST_MATRIX:
                return None
            matrix, vector = (
                (left, right) if m == 1 else (self.move(np.transpose, right), self.move(np.transpose, left))
            )
            along_rows, along_columns = map(abs, self._strides(matrix))
            if min(n, m) < max(n, m) and along_rows < along_columns:
                total = self.fold("add", self("multiply", self.move(np.transpose, matrix), vector), (0,), False)
            else:
                row = self.move(_first_column, vector)
                total = self.fold("add", self("multiply", matrix, row), (1,), False)
            return self.move(lambda x: x.reshape(n, m), total)
        if n * k * m > LARGEST_PRODUCT:
            return None
        rows = self.move(lambda x: np.broadcast_to(x[:, :, None], (n, k, m)), left)
        return self.fold("add", self("multiply", rows, right), (1,), False)

    def _strides(self, value: Value) -> tuple[int, ...]:
        """Return the strides of an array, as far as it lies in memory; in row-major order if it is computed."""
        if isinstance(value, Complex):
            value = value.real
        if isinstance(value, Argument):
            return value.view.strides
        if isinstance(value, Move):
            operand: Value = value.operands[0]
            with contextlib.suppress(CopyError):
                return view_of(operand.shape, self._strides(operand), value.function)[1]
        return row_major(value.shape)

    def assemble(self, shape: Shape, first: Any, parts: Sequence[Part]) -> Any:
        """Return an array that is filled with `first`, unless that is None, then with parts."""
        parts = [Part(*part) for part in parts]
        parts = [p if p.positions is None else p._replace(tables=self._tables_of(p.positions, shape)) for p in parts]
        kind = self._common_kind([p.value for p in parts] + [first] * (first is not None), True)
        if kind in PARTS:
            values = [self._as_complex(part.value, PARTS[kind]) for part in parts]
            start = None if first is None else self._as_complex(first, PARTS[kind])
            real = [part._replace(value=z.real) for part, z in zip(parts, values, strict=True)]
            imag = [part._replace(value=z.imag) for part, z in zip(parts, values, strict=True)]
            if start is None:
                return Complex(self.assemble(shape, None, real), self.assemble(shape, None, imag))
            return Complex(self.assemble(shape, start.real, real), self.assemble(shape, start.imag, imag))
        parts = [part._replace(value=_number(self.converted(part.value, kind))) for part in parts]
        first = first if first is None else _number(self.converted(first, kind))
        parts = [p for p in parts if p.positions is not None or _has_elements(shape, p.function)]
        if not parts and isinstance(first, Value) and first.shape == shape:
            return first  # all parts were empty
        return self._enter(Assembly(shape, kind, first, parts), None)


def _has_elements(shape: Shape, function: Viewing) -> bool:
    """Return whether the part of an array has elements; raise CopyError if it is no view."""
    _, _, part = view_of(shape, row_major(shape), function)
    return 0 not in part


def constant_of_atom(atom: Atom) -> Value:
    """Return a constant that is a number, or has the same in all places; raise NoLoweringError for any other atom."""
    if isinstance(atom, Var):
        raise NoLoweringError(f"an operand of {atom.dtype}")
    array = np.asarray(atom.value)
    kind = stored_kind(array.dtype)
    if kind is None or not array.size:
        raise NoLoweringError(f"a constant of {array.dtype}")
    first = array.flat[0]
    if array.size > 1 and not (array.tobytes() == first.tobytes() * array.size):
        raise NoLoweringError("a constant of several values")
    if kind in PARTS:
        return Complex(*[Filled(array.shape, float(part), PARTS[kind]) for part in (first.real, first.imag)])
    return Filled(array.shape, first.item(), kind)


def stored_kind(dtype: np.dtype[Any]) -> str | None:
    """Return the kind in which a constant is kept: its own, or a wider one that has all its numbers."""
    if kind_of(dtype) is not None:
        return dtype.char
    wider = np.dtype("l" if dtype.kind in "iu" else "f")
    return wider.char if dtype.kind in "iuf" and np.can_cast(dtype, wider) else None


def _first_column(x: Any) -> Any:
    return x[:, 0]


def _real_of_pairs(x: Any) -> Any:
    return x[..., 0]


def _imag_of_pairs(x: Any) -> Any:
    return x[..., 1]


def _number(value: Any) -> Any:
    """Return a constant as a number, whatever its shape."""
    return value.value if isinstance(value, Filled) else value


def _kind(value: Any) -> str:
    """Return the kind of a value; of a number of Python's, whether it is a truth value."""
    return value.dtype if isinstance(value, Value) else TRUTH if type(value) is bool else ""
