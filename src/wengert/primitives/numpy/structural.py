"""Primitives that move, add up or multiply elements: their local Jacobians are structures, not diagonals.

All but ``matmul``, ``where`` and the selections by value are linear, so each row's rule is the structure itself,
and in it axes count from the end (negative): a block of tangents travels with one more axis in front.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from wengert.jacobians import (
    SHORT,
    Composed,
    Diagonal,
    Erase,
    LeftProduct,
    LocalJacobian,
    Map,
    Permute,
    Place,
    Reshape,
    RightProduct,
    Select,
    Shape,
    Sum,
    add_up,
    assemble,
    count_overlaps,
    erase,
    is_basic,
    matrix_of_pairs,
    product_counts,
    pull_diagonal,
    take,
)
from wengert.primitives.table import CALLS, array_function, define, step_function
from wengert.program import Operand, Primitive, Recordable, Var

# ---- Writing calls as NumPy source ----


def write_index(index: Sequence[Any], operands: Sequence[str] = ()) -> str:
    """Return an index tuple as source code: ``1:3, ..., 0``."""

    def one(item: Any) -> str:
        if isinstance(item, slice):
            parts = ["" if p is None else str(p) for p in (item.start, item.stop, item.step)]
            return ":".join(parts[:2]) + (f":{parts[2]}" if parts[2] else "")
        if item is Ellipsis:
            return "..."
        if isinstance(item, Operand):
            return operands[item.k]
        if isinstance(item, np.ndarray):
            kind = "" if item.dtype.kind == "i" and item.size else f", dtype=np.{item.dtype.name}"
            return f"np.array({item.tolist()!r}{kind})"
        return repr(item)

    return ", ".join(one(item) for item in index) or "()"


def _listed(name: str) -> Any:
    def write(args: Sequence[str], params: Mapping[str, Any]) -> str:
        return f"np.{name}([{', '.join(args)}], axis={params['axis']})"

    return write


def _reduction(name: str) -> Any:
    def write(args: Sequence[str], params: Mapping[str, Any]) -> str:
        axis = params["axis"]
        extra = ", keepdims=True" if params["keepdims"] else ""
        return f"np.{name}({args[0]}, axis={axis[0] if len(axis) == 1 else axis}{extra})"

    return write


# ---- How machine code computes what is no operation of scalars (see `wengert.compilation.native.lowering`) ----


def _native_astype(op: Any, x: Any, dtype: Any) -> Any:
    return op.converted(x, dtype.char)


def _viewing(index: tuple[Any, ...]) -> Callable[[Any], Any]:
    """Return what takes the part of an array at an index; a view, if the index is of integers and slices."""
    full = index if any(item is Ellipsis for item in index) else (*index, ...)
    return lambda a: a[full]


def _diagonal_at(index: tuple[Any, ...]) -> Callable[[Any], Any] | None:
    """Return what takes the diagonal that two arrays of positions name, as a view; None if they name none."""
    lead = len(index) - 2
    if lead < 0 or any(type(item) is not slice or item != slice(None) for item in index[:lead]):
        return None
    pair = index[lead:]
    for positions in pair:
        if not (isinstance(positions, np.ndarray) and positions.ndim == 1 and positions.dtype.kind == "i"):
            return None
        if not positions.size or positions[0] < 0 or np.any(np.diff(positions) != 1):
            return None
    block = tuple([slice(int(item[0]), int(item[0]) + item.size) for item in pair])
    axes = [*range(lead), lead, lead, ...]
    return lambda a: np.einsum(a[(*index[:lead], *block)], axes, [*range(lead + 1), ...])  # a view to write to


def _native_part(op: Any, value: Any, index: Sequence[Any], shape: Shape, adds: bool, batch: int = 0) -> Any:
    """Return a value that is written to a part of an array, or added to it."""
    index = (slice(None),) * batch + tuple(index)
    view = _viewing(index) if is_basic(index) else _diagonal_at(index)
    if view is not None:
        return value, view, adds
    return op.part_at(value, index[batch:], shape, adds, batch)


def _native_put(op: Any, *pieces: Any, indices: Sequence[tuple[Any, ...]], shape: Shape, batch: int = 0) -> Any:
    shape = pieces[0].shape[:batch] + shape
    if not op.unrolls or all(map(is_basic, indices)):
        pairs = zip(pieces, indices, strict=True)
        return op.assemble(shape, 0.0, [_native_part(op, piece, index, shape, True, batch) for piece, index in pairs])
    y = np.full(shape, op.constant(0.0))
    size = math.prod(shape[batch:])
    places, blocks = np.arange(size).reshape(shape[batch:]), size * np.arange(math.prod(shape[:batch]))
    for piece, index in zip(pieces, indices, strict=True):
        inner = places[tuple(index)]  # an array may name an element several times
        chosen = np.add.outer(blocks, inner).reshape(shape[:batch] + inner.shape)
        for place, cell in zip(chosen.flat, np.broadcast_to(piece, chosen.shape).flat, strict=True):
            y.flat[place] = op("add", y.flat[place], cell)
    return y


def _native_setitem(op: Any, value: Any, array: Any, *operands: Any, index: tuple[Any, ...]) -> Any:
    if operands and op.unrolls:
        return None
    index = fill_index(index, operands)
    if not op.unrolls or is_basic(index):
        return op.assemble(array.shape, array, [_native_part(op, value, index, array.shape, False)])
    y = array.copy()  # what arrays of positions choose is no view that could be written to
    y[index] = value
    return y


def _native_scatter(op: Any, piece: Any, *operands: Any, index: tuple[Any, ...], shape: Shape, batch: int = 0) -> Any:
    if op.unrolls:
        return None
    return _native_put(op, piece, indices=(fill_index(index, operands),), shape=shape, batch=batch)


def _native_stack(op: Any, *xs: Any, axis: int) -> Any:
    shape = list(xs[0].shape)
    shape.insert(axis % (len(shape) + 1), len(xs))
    rest = (slice(None),) * (-1 - axis)
    return op.assemble(tuple(shape), None, [(x, _viewing((..., k, *rest)), False) for k, x in enumerate(xs)])


def _native_concatenate(op: Any, *xs: Any, axis: int) -> Any:
    axis %= xs[0].ndim
    ends = list(itertools.accumulate([x.shape[axis] for x in xs]))
    free = (slice(None),) * axis
    parts = [(x, _viewing((*free, slice(end - x.shape[axis], end))), False) for x, end in zip(xs, ends, strict=True)]
    return op.assemble((*xs[0].shape[:axis], ends[-1], *xs[0].shape[axis + 1 :]), None, parts)


def _native_roll(op: Any, x: Any, shift: Shape, axis: Shape) -> Any:
    for by, k in zip(shift, axis, strict=True):
        n = x.shape[k]
        if n and by % n:
            free = (slice(None),) * (k % x.ndim)
            ahead, behind = (op.move(_viewing((*free, part)), x) for part in (slice(-by % n), slice(-by % n, None)))
            x = _native_concatenate(op, behind, ahead, axis=k)
    return x


def _native_getitem(op: Any, x: Any, *operands: Any, index: tuple[Any, ...]) -> Any:
    if operands and op.unrolls:
        return None
    if operands:
        return op.gather(x, fill_index(index, operands))
    view = _viewing(index) if op.unrolls or is_basic(index) else _diagonal_at(index)
    return op.gather(x, index) if view is None else op.move(view, x)


def native_running(name: str) -> Callable[..., Any]:
    """Return how machine code combines the elements so far along an axis."""
    return lambda op, x, axis: op.running(name, x, axis)


def _native_fold(name: str) -> Callable[..., Any]:
    return lambda op, x, axis, keepdims: op.fold(name, x, axis, keepdims)


def _native_matmul(op: Any, a: Any, b: Any) -> Any:
    if not a.shape[-1]:
        return None
    left = op.move(lambda a: a[None], a) if a.ndim == 1 else a
    right = op.move(lambda b: b[:, None], b) if b.ndim == 1 else b
    y = op.product(left, right)
    y = op.move(lambda y: y[..., 0, :], y) if a.ndim == 1 else y
    return op.move(lambda y: y[..., 0], y) if b.ndim == 1 else y


def _native_cross(op: Any, a: Any, b: Any) -> Any:
    if not op.unrolls:
        return None
    parts = []
    for p, q in ((1, 2), (2, 0), (0, 1)):
        left, right = op("multiply", a[..., p], b[..., q]), op("multiply", a[..., q], b[..., p])
        parts.append(op("subtract", left, right))
    return np.stack(parts, -1)


# ---- Rearranging ----

reshape = array_function(
    "reshape",
    lambda x, shape: x.reshape(shape) if type(x) is np.ndarray else np.reshape(x, shape),
    lambda _y, _x, shape: Reshape(_x.shape, shape),
    source=lambda args, params: f"np.reshape({args[0]}, {params['shape']})",
    inline="{0}.reshape({shape})",
    native="moves",
)


def _inline_transpose(line: Any) -> str | None:
    """Write a transpose as ``.T`` where it is; None for a constant, which has no method by name."""
    (x,), axes = line.inputs, line.params["axes"]
    if not isinstance(x, Var) or not x.shape:
        return None
    return "{0}.T" if axes == tuple(range(len(axes)))[::-1] else "{0}.transpose({axes})"


transpose = array_function(
    "transpose",
    lambda x, axes: x.transpose(axes) if type(x) is np.ndarray else np.transpose(x, axes),
    lambda _y, _x, axes: Permute(_x.shape, axes, _y.shape),
    source=lambda args, params: (
        f"{args[0]}.T" if params["axes"] == (1, 0) else f"np.transpose({args[0]}, {params['axes']})"
    ),
    inline=_inline_transpose,
    native="moves",
)
broadcast_to = array_function(
    "broadcast_to",
    lambda x, shape: np.broadcast_to(x, shape),
    lambda _y, _x, shape: Diagonal(1, _x.shape, shape),
    source=lambda args, params: f"np.broadcast_to({args[0]}, {params['shape']})",
    native="moves",
)


def _astype_partial(_y: Any, _x: Any, dtype: Any) -> LocalJacobian | None:
    if dtype.kind not in "fc":
        return None
    if dtype.kind == "c" or _x.dtype.kind == "c":
        return Diagonal(1, _x.shape, _x.shape)
    dtype_of_x = _x.dtype if _x.dtype.kind == "f" else dtype
    return Map(_x.shape, _x.shape, lambda t: t.astype(dtype), lambda g: g.astype(dtype_of_x), name="astype", moves=True)


astype = array_function(
    "astype",
    lambda x, dtype: np.asarray(x).astype(dtype)[()],
    _astype_partial,
    fresh=True,
    source=lambda args, params: f"np.asarray({args[0]}).astype({params['dtype'].name!r})",
    native=_native_astype,
)


def _put_on_diagonal(g: Any, shape: Shape, offset: int) -> Any:
    """Put vectors on the diagonals of matrices of zeros: by one strided write, or on traced values by a line."""
    lead = g.shape[:-1]
    if type(g) is not np.ndarray:
        positions = np.arange(g.shape[-1])
        return assemble([g], [(positions - min(offset, 0), positions + max(offset, 0))], shape, batch=len(lead))
    matrices = np.zeros(lead + shape, g.dtype)
    start = offset if offset >= 0 else -offset * shape[1]
    flat = matrices.reshape((*lead, shape[0] * shape[1]))
    flat[..., start : start + g.shape[-1] * (shape[1] + 1) : shape[1] + 1] = g
    return matrices


diagonal = array_function(
    "diagonal",
    lambda x, offset: x.diagonal(offset, -2, -1).copy(),
    lambda _y, _x, offset: Map(
        _x.shape,
        _y.shape,
        lambda t: np.diagonal(t, offset, -2, -1),
        lambda g: _put_on_diagonal(g, _x.shape[-2:], offset),
        name="diagonal",
        moves=True,
    ),
    source=lambda args, params: f"np.diagonal({args[0]}, {params['offset']}, -2, -1)",
    native=lambda op, x, offset: op.move(lambda a: a.diagonal(offset, -2, -1), x),
)


# ---- Joining: variadic, and linear in all arguments together ----

_array = np.array  # NumPy's own, whatever stands in its place while a trace runs


def _zeros_for(tangents: Sequence[Any], values: Sequence[Any], batch: int) -> list[Any]:
    """Replace tangents that are None by zeros, so that all can be joined; blocks get the size of the others."""
    leading: Shape = next(t.shape[:batch] for t in tangents if t is not None)
    dtype = np.result_type(*[t.dtype for t in tangents if t is not None])
    return [np.zeros(leading + np.shape(v), dtype) if t is None else t for t, v in zip(tangents, values, strict=True)]


def _stack_part(k: int, _y: Any, *_xs: Any, axis: int) -> LocalJacobian:
    out = _y.shape
    axis_of_parts = len(out) + axis
    return Select((Ellipsis, k) + (slice(None),) * (-axis - 1), out, out[:axis_of_parts] + out[axis_of_parts + 1 :]).T


def _concatenate_part(k: int, _y: Any, *_xs: Any, axis: int) -> LocalJacobian:
    start = sum(x.shape[axis] for x in _xs[:k])
    index = (Ellipsis, slice(start, start + _xs[k].shape[axis])) + (slice(None),) * (-axis - 1)
    return Select(index, _y.shape, _xs[k].shape).T


def _pull_stack(bars: Sequence[Any], _values: Any, batch: int, wanted: Sequence[bool], axis: int) -> list[Any]:
    """Split the adjoint of a stack."""
    (g,) = bars
    if g.ndim == 1:
        return [g[k] if w else None for k, w in enumerate(wanted)]
    behind = (slice(None),) * (-axis - 1)
    return [g[(..., k, *behind)] if w else None for k, w in enumerate(wanted)]


def _pull_concatenated(bars: Sequence[Any], values: Any, batch: int, wanted: Sequence[bool], axis: int) -> list[Any]:
    (g,) = bars
    behind = (slice(None),) * (-axis - 1)
    stop, parts = 0, []
    for value, w in zip(values, wanted, strict=True):
        start, stop = stop, stop + value.shape[axis]
        parts.append(g[(..., slice(start, stop), *behind)] if w else None)
    return parts


def _inline_stack(line: Any) -> str | None:
    """Write a stack as np.array, which takes a third of the time; None where it would be another array."""
    (out,), rows = line.outputs, [a if isinstance(a, Var) else a.value for a in line.inputs]
    stacked = f"array(({''.join([f'{{{k}}}, ' for k in range(len(rows))])}))"
    if len(out.shape) == 1:
        return stacked if out.dtype == float and all(np.shape(row) == () for row in rows) else None
    if len(out.shape) != 2 or any(getattr(row, "dtype", None) != out.dtype or len(row.shape) != 1 for row in rows):
        return None
    return stacked if line.params["axis"] == -2 else f"{stacked}.T.copy()"


stack = array_function(
    "stack",
    lambda *xs, axis: np.stack(xs, axis) if getattr(xs[0], "ndim", 0) else _array(xs),
    lambda k, _y, *_xs, axis: _stack_part(k, _y, *_xs, axis=axis),
    variadic=True,
    jvp=lambda tangents, values, batch, axis: np.stack(_zeros_for(tangents, values, batch), axis),
    vjp=_pull_stack,
    source=_listed("stack"),
    inline=_inline_stack,
    fresh=True,
    native=_native_stack,
)
concatenate = array_function(
    "concatenate",
    lambda *xs, axis: np.concatenate(xs, axis),
    _concatenate_part,
    variadic=True,
    jvp=lambda tangents, values, batch, axis: np.concatenate(_zeros_for(tangents, values, batch), axis),
    vjp=_pull_concatenated,
    source=_listed("concatenate"),
    fresh=True,
    native=_native_concatenate,
)


alias = Primitive("alias", np.positive, (lambda _y, _x: 1,), operator=lambda x: x, fresh=False)
"""The same value under another name, so that its adjoint is summed separately; it is in no printed list."""

# ---- Selecting ----


def fill_index(index: tuple[Any, ...], operands: Sequence[Any]) -> tuple[Any, ...]:
    """Return an index with its placeholders replaced by the computed operands."""
    if not operands:
        return index
    filled = [operands[item.k] if isinstance(item, Operand) else item for item in index]
    return tuple([int(item) if type(item) is np.int64 else item for item in filled])  # as the user would have written


def _getitem_partial(_y: Any, _x: Any, *operands: Any, index: tuple[Any, ...]) -> LocalJacobian:
    return Select(fill_index(index, operands), _x.shape, _y.shape)


def _assemble_partial(k: int, _y: Any, *_pieces: Any, indices: Any, shape: Shape, batch: int = 0) -> LocalJacobian:
    # without its block of seeds, a piece has the shape of the selection by its index
    free = (slice(None),) * batch
    out_shape = _pieces[k].shape[:batch] + shape
    if batch:
        return Map(
            _pieces[k].shape,
            out_shape,
            lambda t: assemble([t], [indices[k]], shape, batch=len(t.shape) - len(_pieces[k].shape) + batch),
            lambda g: take(g, indices[k], shape, len(g.shape) - len(shape)),
            name="put",
            moves=True,
        )
    return Select(free + tuple(indices[k]), out_shape, _pieces[k].shape).T


getitem = array_function(
    "getitem",
    lambda x, *operands, index: x[fill_index(index, operands)],
    _getitem_partial,
    source=lambda args, params: f"{args[0]}[{write_index(params['index'], args[1:])}]",
    inline="{0}[{index}]",
    native=_native_getitem,
)


def _setitem(value: Any, array: Any, *operands: Any, index: tuple[Any, ...]) -> Any:
    changed = array.copy("K") if type(array) is np.ndarray else np.array(array, copy=True)
    changed[fill_index(index, operands)] = value
    return changed


def _setitem_jvp(tangents: Sequence[Any], values: Sequence[Any], batch: int, index: tuple[Any, ...]) -> Any:
    """Assign the tangent of the assigned value into a copy of the tangent of the array."""
    value_dot, array_dot = tangents[0], tangents[1]
    filled = fill_index(index, values[2:])
    shape = values[1].shape
    kept = None if array_dot is None else Erase(filled, shape).push(array_dot, batch)
    placed = None if value_dot is None else Place(filled, getattr(values[0], "shape", ()), shape).push(value_dot, batch)
    return placed if kept is None else kept if placed is None else kept + placed


setitem = array_function(
    "setitem",
    _setitem,
    lambda _y, _value, _array, *operands, index: Place(fill_index(index, operands), _value.shape, _array.shape),
    lambda _y, _value, _array, *operands, index: Erase(fill_index(index, operands), _array.shape),
    jvp=_setitem_jvp,
    fresh=True,
    source=lambda args, params: f"setitem({args[1]}, np.s_[{write_index(params['index'], args[2:])}], {args[0]})",
    native=_native_setitem,
)


def _added_in_place(
    indices: Sequence[tuple[Any, ...]], shape: Shape, batch: int = 0
) -> Sequence[tuple[Any, ...]] | None:
    """Return the indices of pieces that can be added in place, at integers and slices; None if some cannot."""
    return [(slice(None),) * batch + tuple(index) for index in indices] if all(map(is_basic, indices)) else None


def _put_jvp(
    tangents: Sequence[Any], values: Sequence[Any], lead: int, indices: Sequence[Any], shape: Shape, batch: int = 0
) -> Any:
    """Put the tangents of all pieces into one array."""
    moving = [k for k, t in enumerate(tangents) if t is not None]
    return assemble([tangents[k] for k in moving], [indices[k] for k in moving], shape, batch=lead + batch)


put = array_function(
    "put",
    lambda *pieces, indices, shape, batch=0: assemble(pieces, indices, shape, batch=batch),
    _assemble_partial,
    variadic=True,
    jvp=_put_jvp,
    fresh=True,
    adds=_added_in_place,
    source=lambda args, params: _write_put(args, params),
    counts=lambda _y, *pieces, indices, shape, batch=0: {
        "additions": math.prod(pieces[0].shape[:batch]) * count_overlaps(indices, shape)
    },
    native=_native_put,
)


def _scatter_partial(
    _y: Any, _piece: Any, *operands: Any, index: tuple[Any, ...], shape: Shape, batch: int = 0
) -> LocalJacobian:
    return _assemble_partial(0, _y, _piece, indices=(fill_index(index, operands),), shape=shape, batch=batch)


scatter = array_function(
    "scatter",
    lambda piece, *operands, index, shape, batch=0: assemble(
        [piece], [fill_index(index, operands)], shape, batch=batch
    ),
    _scatter_partial,
    fresh=True,
    source=lambda args, params: _write_put(args[:1], params | {"indices": [params["index"]]}, args[1:]),
    counts=lambda _y, piece, *_operands, **_params: {"additions": math.prod(piece.shape)},
    native=_native_scatter,
)


def _assemble(pieces: Sequence[Any], indices: Sequence[Any], shape: Shape, batch: int = 0) -> Any:
    """Assemble pieces on traced values: single elements are added and stacked, so that scalars stay scalars."""
    computed = [k for k, index in enumerate(indices) if any(isinstance(item, Recordable) for item in index)]
    if computed:
        rest = [k for k in range(len(pieces)) if k not in computed]
        parts = [_scatter(pieces[k], indices[k], shape, batch) for k in computed]
        if rest:
            parts.append(assemble([pieces[k] for k in rest], [indices[k] for k in rest], shape, batch))
        return functools.reduce(np.add, parts)
    size = math.prod(shape)
    if size <= 4 * len(pieces) and all(len(i) == len(shape) and all(type(k) is int for k in i) for i in indices):
        elements: dict[int, Any] = {}
        for piece, index in zip(pieces, indices, strict=True):
            position = 0
            for k, length in zip(index, shape, strict=True):
                position = position * length + k % length
            elements[position] = elements[position] + piece if position in elements else piece
        zero = np.zeros(np.shape(pieces[0]), pieces[0].dtype)[()]
        flat = stack(*[elements.get(position, zero) for position in range(size)], axis=-1)
        return flat if len(shape) == 1 else reshape(flat, shape=np.shape(pieces[0]) + shape)
    return put(*pieces, indices=tuple(indices), shape=shape, batch=batch)


def set_aside(index: tuple[Any, ...]) -> tuple[tuple[Any, ...], list[Any]]:
    """Split an index into a template and the operands that are computed."""
    operands = [item for item in index if isinstance(item, Recordable)]
    places = iter(range(len(operands)))
    return tuple(Operand(next(places)) if isinstance(item, Recordable) else item for item in index), operands


def _scatter(piece: Any, index: tuple[Any, ...], shape: Shape, batch: int) -> Any:
    template, operands = set_aside(index)
    return scatter(piece, *operands, index=template, shape=shape, batch=batch)


def _take(t: Any, index: tuple[Any, ...], shape: Shape, batch: int) -> Any:
    """Index a block at computed positions: a line with the positions as operands."""
    template, operands = set_aside(index)
    if not batch:
        return getitem(t, *operands, index=template)
    positions = getitem(np.arange(math.prod(shape)).reshape(shape), *operands, index=template)
    flat = np.reshape(t, (*t.shape[:batch], math.prod(shape)))
    return getitem(flat, positions, index=(Ellipsis, Operand(0)))


def _erase(t: Any, index: tuple[Any, ...], batch: int) -> Any:
    """Erase part of a traced value: a line that assigns zero."""
    template, operands = set_aside((slice(None),) * batch + tuple(index))
    return setitem(0.0, t, *operands, index=template)


CALLS[assemble] = _assemble
CALLS[erase] = _erase
CALLS[take] = _take


def _write_put(args: Sequence[str], params: Mapping[str, Any], operands: Sequence[str] = ()) -> str:
    """Write the transpose of indexing as a call of the function `program.source.PUT_SOURCE`, which NumPy lacks."""
    indices = ", ".join(f"np.s_[{write_index(index, operands)}]" for index in params["indices"])
    batch = f", batch={params['batch']}" if params["batch"] else ""
    return f"put([{', '.join(args)}], [{indices}], {params['shape']}{batch})"


def _where_partial(chosen: bool) -> Any:
    def partial(_y: Any, condition: Any, _a: Any, _b: Any) -> Any:
        one, zero = _y.dtype.type(1), _y.dtype.type(0)
        return np.where(condition, one, zero) if chosen else np.where(condition, zero, one)

    return partial


where = define(
    "where",
    np.where,
    None,
    _where_partial(True),
    _where_partial(False),
    chosen=(None, lambda _y, condition, _a, _b: condition, lambda _y, condition, _a, _b: np.logical_not(condition)),
    elementwise=True,
    fresh=True,
    counts="comparisons",
    native="select",
)


# ---- Adding up ----

sum_ = array_function(
    "sum",
    lambda x, axis, keepdims: (
        add_up(x, axis, keepdims, exact=True)
        if type(x) is np.ndarray and x.size > SHORT
        else np.add.reduce(x, axis=axis, keepdims=keepdims)
    ),
    lambda _y, _x, axis, keepdims: Sum(_x.shape, axis, keepdims, _y.shape),
    fresh=True,
    source=_reduction("sum"),
    counts=lambda y, x, **_params: {"additions": max(math.prod(x.shape) - math.prod(y.shape), 0)},
    native=_native_fold("add"),
)


def _cumsum_counts(x: Any, axis: int) -> dict[str, int]:
    size = math.prod(x.shape)
    return {"additions": size - size // max(1, x.shape[axis])}  # the first element is no sum


cumsum = array_function(
    "cumsum",
    lambda x, axis: np.cumsum(x, axis),
    lambda _y, _x, axis: Map(
        _x.shape,
        _x.shape,
        lambda t: np.cumsum(t, axis),
        lambda g: np.flip(np.cumsum(np.flip(g, axis), axis), axis),
        _cumsum_counts(_x, axis),
        name="cumsum",
        moves=True,
    ),
    fresh=True,
    source=lambda args, params: f"np.cumsum({args[0]}, {params['axis']})",
    counts=lambda _y, x, axis: _cumsum_counts(x, axis),
    native=native_running("add"),
)


# ---- Choosing by value ----


class Chosen(Composed):
    """The sum over axes of the chosen elements, in equal shares: ``y_dot = (x_dot * share).sum(axis)``."""

    __slots__ = ("_axis", "_chosen", "_count", "_keepdims", "_kept")
    moves = True

    def __init__(self, y: Any, x: Any, axis: Shape, keepdims: bool) -> None:
        self.in_shape, self.out_shape, self._axis, self._keepdims = x.shape, y.shape, axis, keepdims
        self._kept = tuple(1 if k - len(x.shape) in axis else s for k, s in enumerate(x.shape))
        self._chosen = x == np.reshape(y, self._kept)
        self._count = _how_many(self._chosen, axis, y.dtype)

    @property
    def outer(self) -> LocalJacobian:  # type: ignore[override]
        """The sum."""
        return Sum(self.in_shape, self._axis, self._keepdims)

    @property
    def inner(self) -> LocalJacobian:  # type: ignore[override]
        """The shares."""
        return Diagonal(self._chosen / self._count, self.in_shape, self.in_shape)

    def push(self, t: Any, batch: int = 0) -> Any:
        total = (self._chosen * t).sum(axis=self._axis, keepdims=self._keepdims)
        return total / (self._count if self._keepdims else np.reshape(self._count, self.out_shape))

    def pull(self, g: Any, batch: int = 0) -> Any:
        return self._chosen * (np.reshape(g, g.shape[:batch] + self._kept) / self._count)


def _how_many(chosen: Any, axis: Shape, dtype: Any) -> Any:
    """Count the chosen elements along axes; along short axes by adding slices, which is faster than NumPy's sum."""
    lengths = [chosen.shape[k] for k in axis]
    if type(chosen) is not np.ndarray or chosen.size <= SHORT or 0 in lengths or math.prod(lengths) > 127:
        return np.sum(chosen, axis=axis, keepdims=True).astype(dtype)
    count: Any = chosen.view(np.int8)
    for k in sorted(axis):
        rest: tuple[Any, ...] = (slice(None),) * (-1 - k)
        count = functools.reduce(np.add, [count[(..., slice(j, j + 1), *rest)] for j in range(count.shape[k])])
    return count.astype(dtype)


_TIE = "tie: equal shares to each, as NumPy users expect of autograd"


def _extreme(name: str, pair: np.ufunc) -> Primitive:
    return array_function(
        name,
        lambda x, axis, keepdims: pair.reduce(x, axis=axis, keepdims=keepdims),
        Chosen,
        source=_reduction(name),
        counts=lambda y, x, **_params: {"comparisons": math.prod(x.shape) - math.prod(y.shape)},
        kink=_TIE,
        native=_native_fold(pair.__name__),
    )


max_, min_ = _extreme("max", np.maximum), _extreme("min", np.minimum)
argmax = step_function("argmax", lambda x, **given: np.argmax(x, **given))
argmin = step_function("argmin", lambda x, **given: np.argmin(x, **given))
all_ = step_function(
    "all",
    lambda x, axis, keepdims: np.all(x, axis, keepdims=keepdims),
    source=_reduction("all"),
    native=lambda op, x, axis, keepdims: op.fold("and", op("truth", x), axis, keepdims),
)
any_ = step_function(
    "any",
    lambda x, axis, keepdims: np.any(x, axis, keepdims=keepdims),
    source=_reduction("any"),
    native=lambda op, x, axis, keepdims: op.fold("or", op("truth", x), axis, keepdims),
)


# ---- Positions and counts: they jump where they change, so they have no derivative ----


argsort = step_function(
    "argsort",
    lambda x, axis, stable: np.argsort(x, axis, kind="stable" if stable else None),
    source=lambda args, params: (
        f"np.argsort({args[0]}, {params['axis']}" + (", kind='stable')" if params["stable"] else ")")
    ),
)
argpartition = step_function("argpartition", lambda x, kth, axis: np.argpartition(x, kth, axis))
lexsort = step_function(
    "lexsort",
    lambda *keys, axis: np.lexsort(keys, axis),
    source=lambda args, params: f"np.lexsort(({', '.join(args)},), {params['axis']})",
)
searchsorted = step_function(
    "searchsorted",
    lambda x, v, side: np.searchsorted(x, v, side),
    counts=lambda y, x, _v, **_params: {"comparisons": math.prod(y.shape) * max(1, math.prod(x.shape)).bit_length()},
)
argwhere = step_function("argwhere", np.argwhere)
length = step_function("length", lambda x: np.intp(x.shape[0]), source="np.shape({0})[0]", counts=lambda *_args: {})
isin = step_function("isin", lambda x, among, invert: np.isin(x, among, invert=invert))
unique_positions = step_function(
    "unique_positions",
    lambda x, what, axis, equal_nan: np.unique(x, True, True, True, axis, equal_nan=equal_nan)[what],
    source=lambda args, params: (
        f"np.unique({args[0]}, True, True, True, {params['axis']}, equal_nan={params['equal_nan']})[{params['what']}]"
    ),
)


def _native_round(op: Any, x: Any, decimals: int) -> Any:
    """Round as NumPy does: scaled by a power of ten, to the nearest whole number."""
    names = ("multiply", "divide") if decimals >= 0 else ("divide", "multiply")
    scale = float(10 ** abs(decimals))
    return op(names[1], op("rint", op(names[0], x, scale)), scale) if decimals else op("rint", x)


round_ = step_function(
    "round", lambda x, decimals: np.round(x, decimals), kink="0 everywhere, at the jumps too", native=_native_round
)
exponent = step_function("exponent", lambda x: np.frexp(x)[1], source="np.frexp({0})[1]")


# ---- Shifting, and sums of neighbors ----


def _roll(x: Any, shift: tuple[int, ...], axis: tuple[int, ...]) -> Any:
    """Shift as np.roll does, without the overhead of np.roll for small arrays."""
    if len(axis) != 1 or type(x) is not np.ndarray or not x.shape[axis[0]]:
        return np.roll(x, shift, axis)
    by = -shift[0] % x.shape[axis[0]]
    rest = (slice(None),) * (-1 - axis[0])
    end: Any = (..., slice(by, None), *rest)
    start: Any = (..., slice(by), *rest)
    return np.concatenate((x[end], x[start]), axis[0])


roll = array_function(
    "roll",
    _roll,
    lambda _y, _x, shift, axis: Map(
        _x.shape,
        _x.shape,
        lambda t: _roll(t, shift, axis),
        lambda g: _roll(g, tuple(-by for by in shift), axis),
        name="roll",
        moves=True,
    ),
    source=lambda args, params: f"np.roll({args[0]}, {params['shift']}, {params['axis']})",
    native=_native_roll,
)
unwrap = array_function(
    "unwrap",
    lambda x, discont, axis, period: np.unwrap(x, discont, axis, period=period),
    lambda _y, _x, **_params: Diagonal(1, _x.shape, _y.shape),
    counts=lambda y, _x, **_params: {"additions": math.prod(y.shape)},
    kink="where a step is just half a period: the derivative of either side, 1",
)


def _segments(indices: tuple[int, ...], n: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return every position that the slices of ``np.add.reduceat`` hold, and the slice each belongs to."""
    ends = [*indices[1:], n]
    spans = [np.arange(start, max(stop, start + 1)) for start, stop in zip(indices, ends, strict=False)]
    owners = [np.full(span.size, k) for k, span in enumerate(spans)]
    empty = [np.zeros(0, np.intp)]
    return np.concatenate([*empty, *spans]), np.concatenate([*empty, *owners])


def _add_reduceat_partial(_y: Any, _x: Any, indices: tuple[int, ...], axis: int) -> LocalJacobian:
    shape = _x.shape
    positions, owners = _segments(indices, shape[axis])
    rest = (slice(None),) * (-axis - 1)

    def pull(g: Any) -> Any:
        index = (slice(None),) * (len(shape) + axis) + (positions, *rest)
        return assemble([g[(Ellipsis, owners, *rest)]], [index], shape, batch=len(g.shape) - len(shape))

    return Map(shape, _y.shape, lambda t: np.add.reduceat(t, indices, axis), pull, name="reduceat", moves=True)


add_reduceat = array_function(
    "add.reduceat",
    lambda x, indices, axis: np.add.reduceat(x, indices, axis),
    _add_reduceat_partial,
    counts=lambda y, x, **_params: {"additions": math.prod(x.shape)},
)


def _rows(convolved: Any) -> Any:
    """Return a function of one vector as a function of the last axis of a block."""

    def of_block(block: Any) -> Any:
        if len(block.shape) == 1:
            return convolved(block)
        flat = np.reshape(block, (-1, block.shape[-1]))
        rows = np.stack([convolved(flat[k]) for k in range(flat.shape[0])]) if flat.shape[0] else None
        if rows is None:
            return np.zeros((*block.shape[:-1], convolved(np.zeros(block.shape[-1])).shape[0]))
        return np.reshape(rows, block.shape[:-1] + rows.shape[1:])

    return of_block


def _convolve_counts(y: Any, a: Any, v: Any, **_params: Any) -> dict[str, int]:
    return {"multiplications": a.shape[0] * v.shape[0], "additions": a.shape[0] * v.shape[0] - y.shape[0]}


def _convolve_entries(moving: int, kernel: Any, y: Any, mode: Any) -> Any:
    """Return the entries of a convolution with a kernel: diagonals where that is not zero."""
    short = min(moving, kernel.shape[0])
    start = {"full": 0, "same": (short - 1) // 2, "valid": short - 1}[mode]
    rows = np.arange(moving)[:, None] + np.flatnonzero(kernel) - start
    inside = (rows >= 0) & (rows < y.shape[0])
    return matrix_of_pairs(rows[inside], np.nonzero(inside)[0], (y.shape[0], moving))


def _convolve_long(_y: Any, _a: Any, v: Any, mode: Any) -> LocalJacobian:
    back: Any = "valid" if mode == "full" else "full"
    return Map(
        _a.shape,
        _y.shape,
        _rows(lambda t: np.convolve(t, v, mode)),
        _rows(lambda g: np.convolve(g, v[::-1], back)),
        _convolve_counts(_y, _a, v),
        name="convolve",
        entries=lambda: _convolve_entries(_a.shape[0], v, _y, mode),
    )


def _convolve_short(_y: Any, a: Any, _v: Any, mode: Any) -> LocalJacobian:
    def pull(g: Any) -> Any:
        return np.convolve(g, a[::-1], "valid") if mode == "full" else np.convolve(a, g[::-1], "valid")[::-1]

    return Map(
        _v.shape,
        _y.shape,
        _rows(lambda t: np.convolve(a, t, mode)),
        _rows(pull),
        _convolve_counts(_y, a, _v),
        name="convolve",
        entries=lambda: _convolve_entries(_v.shape[0], a, _y, mode),
    )


convolve = array_function(
    "convolve",
    lambda a, v, mode: np.convolve(a, v, mode),
    _convolve_long,
    _convolve_short,
    bilinear=True,
    counts=_convolve_counts,
)


# ---- Products of matrices ----

matmul = array_function(
    "matmul",
    np.matmul,
    lambda _y, _a, b: RightProduct(b, _a.shape, _y.shape),
    lambda _y, a, _b: LeftProduct(a, _b.shape, _y.shape),
    fresh=True,
    source="{0} @ {1}",
    counts=lambda y, a, _b: product_counts(y.shape, a.shape[-1]),
    native=_native_matmul,
)


def _cross(a: Any, b: Any) -> Any:
    """Multiply as np.cross does, without the overhead of np.cross for small arrays."""
    a0, a1, a2, b0, b1, b2 = a[..., 0], a[..., 1], a[..., 2], b[..., 0], b[..., 1], b[..., 2]
    left, right = a1 * b2, a2 * b1
    y = np.empty((*left.shape, 3), left.dtype)
    np.subtract(left, right, out=y[..., 0])
    spare: Any = (left, right) if type(left) is np.ndarray else (None, None)
    for k, p, q, r, s in ((1, a2, b0, a0, b2), (2, a0, b1, a1, b0)):
        np.subtract(np.multiply(p, q, out=spare[0]), np.multiply(r, s, out=spare[1]), out=y[..., k])
    return y


def _cross_part(
    in_shape: Shape, out_shape: Shape, forth: Callable[[Any], Any], back: Callable[[Any], Any]
) -> LocalJacobian:
    """Multiply by a fixed vector: the transpose of ``b x`` is ``x b``, the same with the factors exchanged."""
    ndim = len(out_shape)

    def push(t: Any) -> Any:
        leading = t.shape[: t.ndim - len(in_shape)]
        return forth(np.reshape(t, leading + (1,) * (ndim - len(in_shape)) + in_shape) if leading else t)

    return Map(
        in_shape,
        out_shape,
        push,
        lambda g: pull_diagonal(1, back(g), in_shape, g.ndim - ndim),
        lambda: {"multiplications": 2 * math.prod(out_shape), "additions": math.prod(out_shape)},
        name="cross",
    )


cross: Primitive = array_function(
    "cross",
    _cross,
    lambda _y, _a, b: _cross_part(_a.shape, _y.shape, lambda t: cross(t, b), lambda g: cross(b, g)),
    lambda _y, a, _b: _cross_part(_b.shape, _y.shape, lambda t: cross(a, t), lambda g: cross(g, a)),
    bilinear=True,
    source="np.cross({0}, {1})",
    counts=lambda y, _a, _b: {"multiplications": 2 * math.prod(y.shape), "additions": math.prod(y.shape)},
    native=_native_cross,
)
