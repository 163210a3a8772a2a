"""Array lines -> scalar lines: a Program whose every variable is one number, as the reference text writes it.

Each line is run on object arrays of traced scalars.  Selections and rearrangements only move elements and record no
line; an elementwise function becomes one line for each element; sums and products of matrices become their additions
and multiplications.

>>> import numpy as np, wengert as wg
>>> x = np.array([1.0, 2.0])
>>> program = wg.trace(lambda x: np.sum(x**2))(x)
>>> print(scalarize(program, x).listing(places=False))
x_1 = u_{-1}, x_2 = u_0
u_1 = u_{-1} ** 2
u_2 = u_0 ** 2
u_3 = u_1 + u_2    = y
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from wengert.primitives.numpy import elementwise as e
from wengert.primitives.numpy import running
from wengert.primitives.numpy import structural as s
from wengert.primitives.numpy.linalg.norms import norm_
from wengert.program import Constant, Guard, Line, Primitive, Program, as_value, interpret, value_of
from wengert.tracing import Group, Tape, Traced, innermost, record

_MOVING = (s.reshape, s.transpose, s.broadcast_to, s.stack, s.concatenate, s.getitem, s.diagonal)
"""Primitives that only move elements."""


def _reduce(pair: Primitive, empty: float | None = None) -> Callable[..., Any]:
    ufunc = np.frompyfunc(pair, 2, 1)

    def reduce(x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
        if empty is not None and x.size == 0:
            kept = tuple(1 if k - x.ndim in axis else size for k, size in enumerate(x.shape))
            x = np.full(kept, empty, dtype=object)
            return x if keepdims else np.squeeze(x, axis=axis)
        for k in sorted(axis, reverse=True):
            x = ufunc.reduce(x, axis=k, keepdims=True)
        return x if keepdims else np.squeeze(x, axis=axis)

    return reduce


def _sum(x: Any, axis: tuple[int, ...], keepdims: bool) -> Any:
    return _reduce(e.add, 0.0)(_counted(x), axis, keepdims)


def _accumulate(pair: Primitive) -> Callable[..., Any]:
    ufunc = np.frompyfunc(pair, 2, 1)
    return lambda x, axis: ufunc.accumulate(_counted(x), axis=axis, dtype=object)


def _counted(x: Any) -> Any:
    """Return truth values as whole numbers: a sum counts them."""
    counts = x.size and getattr(x.flat[0], "dtype", np.dtype(float)).kind == "b"
    return _WRITTEN[s.astype](x, np.dtype(int)) if counts else x


def _stack(*xs: Any, axis: int) -> Any:
    """Stack arrays, scalars as well: NumPy's array of arrays without dimensions would have these as elements."""
    return np.stack(list(map(_boxed, xs)), axis)


def _broadcast(x: Any, shape: tuple[int, ...]) -> Any:
    y = np.empty(shape, dtype=object)
    y[...] = x
    return y


def _product(a: Any, b: Any) -> Any:
    return np.matmul(np.asarray(a, dtype=object), np.asarray(b, dtype=object))


def _cross(a: Any, b: Any) -> Any:
    a, b = np.broadcast_arrays(np.asarray(a, dtype=object), np.asarray(b, dtype=object))
    y = np.empty(a.shape, dtype=object)
    for row in np.ndindex(*a.shape[:-1]):
        for k, (i, j) in enumerate(((1, 2), (2, 0), (0, 1))):
            y[(*row, k)] = a[(*row, i)] * b[(*row, j)] - a[(*row, j)] * b[(*row, i)]
    return y


def _assign(value: Any, array: Any, *operands: Any, index: tuple[Any, ...]) -> Any:
    changed = np.array(array, dtype=object)
    changed[s.fill_index(index, tuple(map(_decided, operands)))] = value
    return changed


def _element(x: Any, *operands: Any, index: tuple[Any, ...]) -> Any:
    return s.getitem.numpy(x, *map(_decided, operands), index=index)


def _decided(index: Any) -> Any:
    """Return the value of an index that is computed: the scalar lines hold where it is the same."""
    decided = [bool(i) if i.dtype.kind == "b" else i.__index__() for i in np.ravel(index)]
    return np.array(decided or np.zeros(0, int)).reshape(np.shape(index))


def _put(*pieces: Any, indices: Sequence[Any], shape: tuple[int, ...], batch: int = 0) -> Any:
    """Add pieces up in zeros, each at its index; a block of them has leading axes."""
    leading = np.shape(pieces[0])[:batch]
    total = np.full(leading + shape, 0.0, dtype=object)
    places = np.arange(total.size).reshape(total.shape)
    for piece, index in zip(pieces, indices, strict=True):
        at_index = places[(slice(None),) * batch + index]
        for place, element in zip(at_index.ravel(), _broadcast(piece, at_index.shape).ravel(), strict=True):
            here = total.flat[place]
            total.flat[place] = element if type(here) is float else here + element
    return total


def _scatter(piece: Any, *operands: Any, index: tuple[Any, ...], shape: tuple[int, ...], batch: int = 0) -> Any:
    return _put(piece, indices=[s.fill_index(index, tuple(map(_decided, operands)))], shape=shape, batch=batch)


def _norm(x: Any, axis: tuple[int, ...]) -> Any:
    squares = np.frompyfunc(e.square, 1, 1)(np.asarray(x, dtype=object))
    return np.frompyfunc(e.sqrt, 1, 1)(_boxed(_sum(squares, axis, False)))


def _convolve(a: Any, v: Any, mode: str) -> Any:
    full = np.full(len(a) + len(v) - 1, None, dtype=object)
    for (i, x), (j, y) in itertools.product(enumerate(a), enumerate(v)):
        full[i + j] = x * y if full[i + j] is None else full[i + j] + x * y
    short = min(len(a), len(v))
    start = {"full": 0, "same": (short - 1) // 2, "valid": short - 1}[mode]
    size = {"full": len(full), "same": max(len(a), len(v)), "valid": max(len(a), len(v)) - short + 1}[mode]
    return full[start : start + size]


# ---- Positions: they are decided, and the scalar lines hold where they are the same ----


def _values(x: Any) -> Any:
    """Return the values of scalars as an array."""
    flat = [innermost(element) for element in np.ravel(x)]
    return np.array(flat).reshape(np.shape(x))


def _demand(relation: Primitive, a: Any, b: Any) -> None:
    """Decide on a relation of elements, which is a guard from here on."""
    for holds in np.ravel(np.frompyfunc(relation, 2, 1)(a, b)):
        bool(holds)


def _argsort(x: Any, axis: int | None, stable: bool) -> Any:
    order = s.argsort.numpy(_values(x), axis=axis, stable=stable)
    ranked = np.moveaxis(np.take_along_axis(x, order, axis), axis or 0, 0)
    _demand(e.less_equal, ranked[:-1], ranked[1:])
    return order


def _argpartition(x: Any, kth: Any, axis: int | None) -> Any:
    order = s.argpartition.numpy(_values(x), kth=kth, axis=axis)
    ranked = np.moveaxis(np.take_along_axis(x, order, axis), axis or 0, 0)
    for k in np.ravel(kth).tolist():
        _demand(e.less_equal, ranked[:k], ranked[k])
        _demand(e.less_equal, ranked[k], ranked[k + 1 :])
    return order


def _extreme(primitive: Primitive, relation: Primitive) -> Callable[..., Any]:
    def position(x: Any, axis: int | None = None, **params: Any) -> Any:
        values = _values(x)
        place = np.expand_dims(primitive.numpy(values, axis=axis), axis) if axis is not None else None
        taken = x.flat[values.argmax() if relation is e.greater_equal else values.argmin()]
        _demand(relation, taken if place is None else np.take_along_axis(x, place, axis), x)
        return primitive.numpy(values, axis=axis, **params)

    return position


def _searchsorted(x: Any, v: Any, side: str) -> Any:
    positions = s.searchsorted.numpy(_values(x), _values(v), side=side)
    below, above = (e.less, e.less_equal) if side == "left" else (e.less_equal, e.less)
    for k, element in zip(np.ravel(positions), np.ravel(v), strict=True):
        _demand(below, x[max(k - 1, 0) : k], element)
        _demand(above, element, x[k : k + 1])
    return positions


def _argwhere(x: Any) -> Any:
    _demand(e.not_equal, x, 0)
    return np.argwhere(_values(x))


_WRITTEN: dict[Primitive, Callable[..., Any]] = {
    **{primitive: primitive.numpy for primitive in _MOVING},
    s.stack: _stack,
    s.broadcast_to: _broadcast,
    s.getitem: _element,
    s.sum_: _sum,
    s.max_: _reduce(e.maximum),
    s.min_: _reduce(e.minimum),
    s.all_: _reduce(e.logical_and),
    s.any_: _reduce(e.logical_or),
    s.cumsum: _accumulate(e.add),
    running.prod: lambda x, axis: np.frompyfunc(e.multiply, 2, 1).reduce(x, axis=axis),
    running.cumprod: _accumulate(e.multiply),
    running.running_maximum: _accumulate(e.maximum),
    running.running_minimum: _accumulate(e.minimum),
    s.matmul: _product,
    s.cross: _cross,
    s.setitem: _assign,
    s.astype: lambda x, dtype: np.frompyfunc(functools.partial(s.astype, dtype=dtype), 1, 1)(x),
}


_ON_REQUEST: dict[Primitive, Callable[..., Any]] = {
    s.roll: s.roll.numpy,
    s.put: _put,
    s.scatter: _scatter,
    s.convolve: _convolve,
    norm_: _norm,
    s.argsort: _argsort,
    s.argpartition: _argpartition,
    s.argmax: _extreme(s.argmax, e.greater_equal),
    s.argmin: _extreme(s.argmin, e.less_equal),
    s.searchsorted: _searchsorted,
    s.argwhere: _argwhere,
    s.length: lambda x: np.intp(x.shape[0]),
}
"""What an elimination needs in scalars, and what reads better as arrays."""


def has_scalar_form(primitive: Primitive) -> bool:
    """Return whether a line of a primitive can be written in scalars."""
    return reads_in_scalars(primitive) or primitive in _ON_REQUEST


def reads_in_scalars(primitive: Primitive) -> bool:
    """Return whether a line of a primitive can be written in scalars, and reads better so."""
    return primitive.elementwise or primitive in _WRITTEN


def can_scalarize(program: Program) -> bool:
    """Return whether every line of a Program can be written in scalars, and reads better so."""
    return all(reads_in_scalars(line.primitive) for line in program.lines)


def is_scalar(program: Program) -> bool:
    """Return whether a Program computes on scalars only, apart from lines that move elements."""
    entries = sum(var.size for var in program.inputs)
    return entries <= len(program.lines) + 16 and all(
        line.primitive in _MOVING if line.outputs[0].shape else line.primitive.elementwise or line.primitive in _MOVING
        for line in program.lines
    )


def scalar_lines(program: Program) -> int:
    """Estimate how many scalar lines a Program would have, without writing them."""
    total = 0
    for line in program.lines:
        if line.primitive in _MOVING:
            continue
        size = line.outputs[0].size
        if line.primitive is s.matmul:
            total += size * 2 * line.inputs[0].shape[-1]
        else:
            total += max([size, *[int(np.prod(a.shape, dtype=int)) for a in line.inputs]])
    return total


def scalarize(program: Program, *args: Any, elements: Mapping[int, Any] | None = None) -> Program:
    """Return a Program in scalar lines, traced at a point.

    `elements` has, by their identity, arrays of objects in the place of constant arrays: their elements, NumPy's
    numbers, are the very constants of the scalar lines, by which these can be told apart.  Raise NotImplementedError
    for a line that has no scalar form.
    """
    entered: list[Any] = []
    with record(program.name, program.single) as trace:
        tape = trace.tape
        for argument, value in zip(program.arguments, args, strict=True):
            values = np.asarray(as_value(value), dtype=argument.dtype)
            parts = [trace.input(values[index]) for index in np.ndindex(*argument.shape)]
            trace.arguments.append(Group(argument.name, argument.shape, argument.dtype, parts))
            entered += [_spread(argument.shape, parts)] if argument.whole else parts

        def apply(line: Line, operands: list[Any]) -> Any:
            tape.context.place = line.place
            if elements:
                operands = [
                    elements.get(id(atom.value), operand) if isinstance(atom, Constant) else operand
                    for atom, operand in zip(line.inputs, operands, strict=True)
                ]
            return _without_dimensions(_run(line.primitive, operands, dict(line.params)))

        environment = interpret(program, entered, apply, functools.partial(_guard, tape))
    for packing in program.results:
        parts = [value_of(a, environment) for a in packing.atoms]
        if packing.whole:
            parts = list(np.ravel(_boxed(parts[0])))
        trace.results.append(
            Group(packing.name, packing.shape, packing.dtype, [p if type(p) is Traced else as_value(p) for p in parts])
        )
    return trace.program()


def _guard(tape: Tape, guard: Guard, value: Any) -> None:
    """Move a guard to the scalar that replaces the guarded variable, which may be an array of one element."""
    scalar = value.item() if isinstance(value, np.ndarray) and value.size == 1 else value
    if type(scalar) is Traced:
        tape.guards.append((scalar._index, guard.value, guard.place))


def _spread(shape: tuple[int, ...], parts: Sequence[Traced]) -> Any:
    """Return scalars as an object array of the given shape."""
    array = np.empty(shape, dtype=object)
    for index, part in zip(np.ndindex(*shape), parts, strict=True):
        array[index] = part
    return _without_dimensions(array)


def _without_dimensions(value: Any) -> Any:
    return value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value


def _run(primitive: Primitive, operands: list[Any], params: dict[str, Any]) -> Any:
    written = _WRITTEN.get(primitive) or _ON_REQUEST.get(primitive)
    if written is not None:
        return written(*[o if type(o) is not Traced else _boxed(o) for o in operands], **params)
    if not primitive.elementwise:
        raise NotImplementedError(f"{primitive.name} has no scalar form")
    return np.frompyfunc(functools.partial(primitive, **params), len(operands), 1)(*[_boxed(o) for o in operands])


def _boxed(value: Any) -> Any:
    """Put a scalar into an object array without dimensions, so that NumPy does not look inside it."""
    if isinstance(value, np.ndarray):
        return value
    box = np.empty((), dtype=object)
    box[()] = value
    return box
