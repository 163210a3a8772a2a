"""Forward and reverse accumulation: the two orders that go through the list line by line.

Both multiply the same local Jacobians.  *Forward* (inside-out) starts from tangents of the independent variables and
pushes them through each line; *reverse* (outside-in) starts from adjoints of the dependent ones and pulls them back.
One pass takes one seed, or with ``batch=1`` a block of seeds at once (vector mode), stacked on a leading axis.
A tangent or adjoint that is zero by structure is None and costs nothing.

On traced values a sweep writes a Program; the rows it makes carry the place of the line that they differentiate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from sys import getrefcount
from typing import Any

import numpy as np

from wengert.accumulation.adjoints import Adjoints
from wengert.errors import DegenerateError
from wengert.jacobians import (
    LARGE,
    Array,
    Erase,
    LocalJacobian,
    RealLinear,
    Select,
    Shape,
    contract,
    is_basic,
    product_of_nonzeros,
    pull_diagonal,
    pull_large,
    push_diagonal,
    scale,
)
from wengert.linearization import Linearization
from wengert.primitives.numpy.structural import getitem
from wengert.program import SMALL, Primitive, Recordable, computes_lines
from wengert.tracing import Row, current_context

ndarray, float64 = np.ndarray, np.float64
_MULTIPLIERS = frozenset({ndarray, np.float64, float, int})
"""Partials by which a large adjoint may be multiplied in place."""


def forward(
    linearization: Linearization, seeds: Mapping[int, Array], batch: int = 0, careful: bool = False
) -> list[Array | None]:
    """Accumulate inside-out: from tangents at positions, the tangent at every position (None where it is zero).

    Follows ``u_i_dot = sum over j of (du_i/du_j) u_j_dot`` in the order of the list.  A sweep is `careful` (zero times
    infinity is zero) if an infinity or NaN came out without it, or on request.
    """
    try:
        if careful:
            return _forward(linearization, seeds, batch, True)
        return _twice_if_need_be(_forward, linearization, seeds, batch)
    except DegenerateError:  # perhaps of vectors that no result reads, as in np.linalg.svd(A)[1]
        undetermined: list[DegenerateError] = []
        dot = _forward(linearization, seeds, batch, True, undetermined)
        if not _finite(dot, linearization.outputs):
            raise undetermined[0] from None
        return dot


def reverse(linearization: Linearization, seeds: Mapping[int, Array], batch: int = 0) -> list[Array | None]:
    """Accumulate outside-in: from adjoints at positions, the adjoint of each independent variable (None where zero).

    Follows ``u_j_bar += u_i_bar (du_i/du_j)`` against the order of the list; `adjoints` adds the contributions.
    """
    return _twice_if_need_be(_reverse, linearization, seeds, batch)


def _twice_if_need_be(
    sweep: Callable[..., list[Any]], linearization: Linearization, seeds: Mapping[int, Array], batch: int
) -> list[Any]:
    """Run a sweep; if an infinity or NaN comes out, run it again, carefully.

    In a careful sweep zero times anything is zero: the branch of ``where`` that was not taken contributes nothing,
    whatever its partials are.  It costs twice as much, so it runs only if needed.  If NumPy has reported nothing on the
    way, the results are not inspected; a Program that is being recorded is for other points too, so a report is enough
    to sweep carefully.
    """
    context = current_context()
    positions = linearization.outputs if sweep is _forward else range(len(linearization.inputs))
    before, context.muted = context.muted, True
    try:
        result = sweep(linearization, seeds, batch, False)
        if context.alarms and (context.tapes or not _finite(result, positions)):
            result = sweep(linearization, seeds, batch, True)
            if not _finite(result, positions):
                context.muted = before  # there is something to warn of: this time the warnings are heard
                result = sweep(linearization, seeds, batch, True)
    finally:
        context.muted = before
    return result


def _finite(result: list[Any], positions: Iterable[int]) -> bool:
    """Return whether a sweep's results are free of infinities and NaN."""
    for position in positions:
        value = result[position] if position >= 0 else None
        while isinstance(value, Recordable):
            value = value._value  # type: ignore[attr-defined]
        if value is not None and not np.all(np.isfinite(value)):
            return False
    return True


# ---- Forward ----


@computes_lines(lambda variables: (variables["primitive"], variables["place"], None))
def _forward(
    linearization: Linearization,
    seeds: Mapping[int, Array],
    batch: int,
    careful: bool,
    undetermined: list[DegenerateError] | None = None,
) -> list[Array | None]:
    """Push tangents through all lines; with `undetermined`, a missing derivative is NaN and its error is listed."""
    context = current_context()
    recording = bool(context.tapes)
    with_complex = linearization.with_complex
    product = product_of_nonzeros if careful else scale
    before = context.place
    dot: list[Any] = [None] * linearization.size
    for position, seed in seeds.items():
        dot[position] = seed
    try:
        for primitive, parents, kept, params, place, out in linearization.rows:
            if recording:
                context.place = place
            if primitive.jvp is not None:
                total = _push_jointly(primitive, parents, kept, params, batch, dot)
                if primitive.multiple:
                    for position, t in zip(out, total or (), strict=False):
                        dot[position] = t
                    continue
            else:
                total = None
                for k, parent in enumerate(parents):
                    t = dot[parent] if parent >= 0 else None
                    rule = None if t is None else primitive.partial(k)
                    if rule is None:
                        continue
                    c = rule(*kept, **params) if params else rule(*kept)
                    if c is None:
                        continue
                    if isinstance(c, LocalJacobian):
                        part = c.push(t, batch) if undetermined is None else _push_or_nan(c, t, batch, undetermined)
                    else:
                        part = push_diagonal(c, t, kept[k + 1].shape, kept[0].shape, batch, product)
                    total = part if total is None else total + part
            dot[out] = _as_real(total, kept[0]) if with_complex else total
    finally:
        context.place = before
    return dot


def _push_or_nan(c: LocalJacobian, t: Array, batch: int, undetermined: list[DegenerateError]) -> Array:
    """Push a tangent; if the derivative does not exist, return NaN and add the error to `undetermined`."""
    try:
        return c.push(t, batch)
    except DegenerateError as error:
        undetermined.append(error)
        return np.full(t.shape[:batch] + c.out_shape, np.nan, t.dtype)


def _push_jointly(
    primitive: Primitive, parents: Sequence[int], kept: Sequence[Any], params: Mapping[str, Any], batch: int,
    dot: Sequence[Any],
) -> Any:  # fmt: skip
    """Push the tangents of all operands of a line at once."""
    tangents = [dot[parent] if parent >= 0 else None for parent in parents]
    if all(t is None for t in tangents):
        return None
    return primitive.jvp(tangents, kept[1:], batch, **params)  # type: ignore[misc]


def _as_real(derivative: Array | None, value: Array) -> Array | None:
    """Return the tangent or adjoint of a value: the real part for a real value, since ``dL = Re(g dz)``."""
    if derivative is not None and derivative.dtype.kind == "c" and value.dtype.kind != "c":
        return derivative.real
    return derivative


# ---- Reverse ----


def _reverse(linearization: Linearization, seeds: Mapping[int, Array], batch: int, careful: bool) -> list[Array | None]:
    context = current_context()
    before = context.place
    adjoints = Adjoints(linearization.size, batch, bool(context.tapes))
    for position, seed in seeds.items():
        adjoints.totals[position] = seed
    try:
        if adjoints.recorded or careful or batch or linearization.with_complex:
            _sweep_back(linearization, adjoints, careful)
        else:
            _sweep_back_plainly(linearization, adjoints)
    finally:
        context.place = before
    count = len(linearization.inputs)
    for position in [position for position in adjoints.pieces if position < count]:
        adjoints.put_together(position)
    return adjoints.totals[:count]


_pulls_rows = computes_lines(lambda variables: (variables["row"][0], variables["row"][4], None))


@_pulls_rows
def _sweep_back_plainly(linearization: Linearization, adjoints: Adjoints) -> None:  # noqa: C901 - the hottest loop of sweeps: no more calls
    """Sweep over real values with one seed, recording nothing.

    Most rows of most programs select elements, or are elementwise functions of numbers or small arrays: these are
    pulled through here.
    """
    totals, gathered = adjoints.totals, adjoints.pieces
    for row in reversed(linearization.rows):
        primitive, parents, kept, params, _, out = row
        if primitive.multiple:
            _pull_several(row, adjoints)
            continue
        if out in gathered:
            adjoints.put_together(out)
        g = totals[out]
        if g is None:
            continue
        if primitive is getitem and len(parents) == 1:
            totals[out] = None
            gathered.setdefault(parents[0], []).append((params["index"], g))
            adjoints.shapes[parents[0]] = kept[1].shape
            if type(g) is ndarray and g.size > SMALL:
                adjoints.weigh(parents[0], g)
            continue
        kind = type(g) if primitive.elementwise else None
        if kind is float64:
            totals[out] = None
            partials = primitive.partials
            for k, parent in enumerate(parents):
                if parent >= 0 and (rule := partials[k] if k < len(partials) else None) is not None:
                    c = rule(*kept, **params) if params else rule(*kept)
                    part = g if type(c) is int and c == 1 else c * g
                    total = totals[parent]
                    totals[parent] = part if total is None else total + part
        elif kind is ndarray and g.size <= LARGE:
            totals[out] = None
            partials = primitive.partials
            for k, parent in enumerate(parents):
                if parent >= 0 and (rule := partials[k] if k < len(partials) else None) is not None:
                    c = rule(*kept, **params) if params else rule(*kept)
                    shape = kept[k + 1].shape
                    part = c * g if type(c) is ndarray and shape == g.shape else _multiply_small(c, g, shape)
                    total = totals[parent]
                    totals[parent] = part if total is None else total + part
        elif kind is not None:
            g = None  # not to be held here, or it could not be written to
            _pull_diagonals(row, adjoints)
        else:
            totals[out] = None
            if primitive.vjp is not None:
                _pull_jointly(row, [g], adjoints)
            else:
                _pull_structures(row, g, adjoints)


@_pulls_rows
def _sweep_back(linearization: Linearization, adjoints: Adjoints, careful: bool) -> None:
    """Sweep back over any values: also traced or complex values, with blocks of seeds, or carefully."""
    context, with_complex = current_context(), linearization.with_complex
    for row in reversed(linearization.rows):
        primitive, parents, kept, params, place, out = row
        if primitive.multiple:
            if adjoints.recorded:
                context.place = place
            _pull_several(row, adjoints)
            continue
        if out in adjoints.pieces:
            adjoints.put_together(out)
        if adjoints.totals[out] is None:
            continue
        if primitive is getitem and len(parents) == 1:
            adjoints.add_piece(parents[0], params["index"], adjoints.take(out), kept[1].shape)
            continue
        if adjoints.recorded:
            context.place = place
        if primitive.elementwise:
            _pull_diagonals(row, adjoints, careful, with_complex)
        else:
            _pull_structures(row, adjoints.take(out), adjoints, with_complex)


def _pull_several(row: Row, adjoints: Adjoints) -> None:
    """Pull the adjoints of a line's several results back to its operands."""
    bars = [adjoints.take(position) for position in row[5]]
    if any(g is not None for g in bars):
        _pull_jointly(row, bars, adjoints)


def _pull_jointly(row: Row, bars: list[Any], adjoints: Adjoints) -> None:
    """Pull the adjoints of a line's results back to all its operands at once."""
    primitive, parents, kept, params, _, _ = row
    totals = adjoints.totals
    wanted = [parent >= 0 for parent in parents]
    parts = primitive.vjp(bars, kept[1:], adjoints.batch, wanted, **params)  # type: ignore[misc]
    for parent, part in zip(parents, parts, strict=True):
        if parent >= 0 and part is not None:
            if totals[parent] is None:
                totals[parent] = part
            else:
                adjoints.add(parent, part)


def _pull_diagonals(row: Row, adjoints: Adjoints, careful: bool = False, with_complex: bool = False) -> None:
    """Multiply the adjoint of the result of an elementwise function by its partials."""
    primitive, parents, kept, params, _, out = row
    partials, batch = primitive.partials, adjoints.batch
    g: Any = adjoints.take(out)
    large = type(g) is ndarray and g.size > LARGE and not (adjoints.recorded or careful)
    for k, parent in enumerate(parents):
        rule = partials[k] if parent >= 0 and k < len(partials) else None
        if rule is None:
            continue
        c = rule(*kept, **params) if params else rule(*kept)
        kind, shape = type(c), kept[k + 1].shape
        fresh = kind is not int or c != 1
        if not fresh:
            part = g
        elif kind is RealLinear:
            part = c.pull(g, batch)
        elif large and kind in _MULTIPLIERS:
            part = _multiply_large(c, g, shape, batch, parents[k + 1 :])
        else:
            part = product_of_nonzeros(c, g) if careful else scale(c, g)
        if batch or part.shape != shape:
            part = pull_diagonal(1, part, shape, batch)
        adjoints.add(parent, _as_real(part, kept[k + 1]) if with_complex else part, fresh)
        c = part = None  # not to be held while the next ones are computed


def _pull_structures(row: Row, g: Any, adjoints: Adjoints, with_complex: bool = False) -> None:
    """Pull the adjoint of a line's result through the local Jacobian of each operand."""
    primitive, parents, kept, params, _, out = row
    totals, partials, batch = adjoints.totals, primitive.partials, adjoints.batch
    shared = None if primitive.shared_partials is None else primitive.shared_partials(*kept, **params)
    for k, parent in enumerate(parents):
        if parent < 0:
            continue
        if primitive.variadic:
            c = partials[0](k, *kept, **params)  # type: ignore[misc]
        elif shared is not None:
            c = shared[k]
        else:
            rule = partials[k] if k < len(partials) else None
            if rule is None:
                continue
            c = rule(*kept, **params) if params else rule(*kept)
        if c is None:
            continue
        if type(c) is Select:
            adjoints.add_piece(parent, c.index, g, c.in_shape)
            continue
        copied = type(c) is Erase
        part: Any
        if copied and out in adjoints.owned and type(g) is ndarray and is_basic(c.index):
            part = c.erase(g, batch)
        else:
            part = c.pull(g, batch)
        if with_complex:
            part = _as_real(part, kept[k + 1])
        if totals[parent] is None and not copied:
            totals[parent] = part
        else:
            adjoints.add(parent, part, fresh=copied)
        c = part = None


def _multiply_small(c: Array, g: np.ndarray[Any, Any], shape: Shape) -> Array:
    """Multiply a small plain adjoint by a partial, and sum it to the shape of the operand."""
    kind = type(c)
    if kind is int:
        part = g if c == 1 else -g if c == -1 else c * g
    elif kind is RealLinear:
        part = c.pull(g, 0)
    elif kind is ndarray and not shape and c.shape == g.shape and c.dtype is g.dtype:
        return contract(c, g)
    else:
        part = c * g
    return part if part.shape == shape else pull_diagonal(1, part, shape, 0)


def _multiply_large(c: Array, g: np.ndarray[Any, Any], shape: Shape, batch: int, later: Sequence[int]) -> Array:
    """Multiply a large plain adjoint by a partial, into the memory of one of them if only the caller holds it.

    The adjoint is not written to if an operand at one of the positions `later` needs it, too.  If the operand is
    smaller, the product is summed to its shape.
    """
    plain = type(c) is ndarray
    if plain and (c.shape != g.shape or not shape):
        return pull_large(c, g, shape, batch)
    if not plain and shape != g.shape:
        return c * pull_diagonal(1, g, shape, batch)
    if plain and c.dtype is g.dtype and c.base is None and getrefcount(c) == _HELD_BY_THE_CALLER:
        return np.multiply(c, g, out=c)
    number = type(c) is int or type(c) is float
    alone = getrefcount(g) == _HELD_BY_THE_CALLER and g.base is None and max(later, default=-1) < 0
    return np.multiply(c, g, out=g) if alone and (number or c.dtype is g.dtype) else c * g


def _references_to_an_argument(argument: object) -> int:
    return getrefcount(argument)


def _references_where_the_caller_holds_it() -> int:
    value = object()
    return _references_to_an_argument(value)


_HELD_BY_THE_CALLER = _references_where_the_caller_holds_it()
"""The `getrefcount` of an argument that only one variable of the caller holds; versions of Python differ."""


def identity(shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
    """Return the block of all unit seeds of an array of `shape`: one for each element, on a leading axis."""
    size = int(np.prod(shape, dtype=int))
    return np.eye(size, dtype=dtype).reshape((size, *shape))
