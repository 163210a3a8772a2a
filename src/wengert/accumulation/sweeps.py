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

from wengert.errors import DegenerateError
from wengert.jacobians import (
    LARGE,
    Array,
    Erase,
    LocalJacobian,
    RealLinear,
    Select,
    add_into,
    assemble,
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
from wengert.tracing import current_context

ndarray, float64 = np.ndarray, np.float64
_MULTIPLIERS = frozenset({ndarray, np.float64, float, int})
"""Partials by which a large adjoint may be multiplied in place."""


def forward(
    linearization: Linearization, seeds: Mapping[int, Array], batch: int = 0, careful: bool = False
) -> list[Array | None]:
    """Accumulate inside-out: from tangents at positions, the tangent at every position (None where it is zero).

    Follows ``u_i_dot = sum over j of (du_i/du_j) u_j_dot`` in the order of the list.  A sweep is `careful` (zero times
    infinity is zero) where that has been seen to matter, or where it is asked to be.
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

    Follows ``u_j_bar += u_i_bar (du_i/du_j)`` against the order of the list.  Adjoints of the elements of one array
    are gathered and put together once, when the array's own line is reached.
    """
    return _twice_if_need_be(_reverse, linearization, seeds, batch)


def _twice_if_need_be(
    sweep: Callable[..., list[Any]], linearization: Linearization, seeds: Mapping[int, Array], batch: int
) -> list[Any]:
    """Run a sweep; if NumPy reported an infinity or NaN on the way (or was told not to), run it again, carefully.

    A careful sweep takes zero times anything for zero: the branch of ``where`` that was not taken contributes nothing,
    whatever its partials are.  It costs twice as much, so it is kept for where it matters.
    """
    context = current_context()
    before, context.muted = context.muted, True
    try:
        result = sweep(linearization, seeds, batch, False)
        if context.alarms:
            result = sweep(linearization, seeds, batch, True)
            if not _finite(result, linearization.outputs if sweep is _forward else range(len(linearization.inputs))):
                context.muted = before  # there is something to warn of: this time the warnings are heard
                result = sweep(linearization, seeds, batch, True)
    finally:
        context.muted = before
    return result


def _finite(result: list[Any], positions: Iterable[int]) -> bool:
    """Tell whether a sweep's results are free of infinities and NaN."""
    for position in positions:
        value = result[position] if position >= 0 else None
        while isinstance(value, Recordable):
            value = value.value  # type: ignore[attr-defined]
        if value is not None and not np.all(np.isfinite(value)):
            return False
    return True


_computes_partials = computes_lines(lambda variables: (variables["primitive"], variables["place"], None))


@_computes_partials
def _forward(
    linearization: Linearization,
    seeds: Mapping[int, Array],
    batch: int,
    careful: bool,
    undetermined: list[DegenerateError] | None = None,
) -> list[Array | None]:
    """Push tangents through all lines; with `undetermined`, one that does not exist is NaN, and its error listed."""
    context = current_context()
    recording = bool(context.tapes)
    with_complex = linearization.with_complex
    before = context.place
    dot: list[Any] = [None] * linearization.size
    for position, seed in seeds.items():
        dot[position] = seed
    try:
        for primitive, parents, kept, params, place, out in linearization.rows:
            if recording:
                context.place = place
            total = None
            if primitive.jvp is not None:
                tangents = [dot[parent] if parent >= 0 else None for parent in parents]
                if any(t is not None for t in tangents):
                    total = primitive.jvp(tangents, kept[1:], batch, **params)
                if primitive.multiple:
                    for position, t in zip(out, total or (), strict=False):
                        dot[position] = t
                    continue
            else:
                for k, parent in enumerate(parents):
                    if parent < 0:
                        continue
                    t = dot[parent]
                    if t is None:
                        continue
                    rule = primitive.partial(k)
                    if rule is None:
                        continue
                    c = rule(*kept, **params) if params else rule(*kept)
                    if c is None:
                        continue
                    if isinstance(c, LocalJacobian):
                        try:
                            part = c.push(t, batch)
                        except DegenerateError as error:
                            if undetermined is None:
                                raise
                            undetermined.append(error)
                            part = np.full(t.shape[:batch] + kept[0].shape, np.nan, kept[0].dtype)
                    else:
                        product = product_of_nonzeros if careful else scale
                        part = push_diagonal(c, t, kept[k + 1].shape, kept[0].shape, batch, product)
                    total = part if total is None else total + part
            if with_complex and total is not None and total.dtype.kind == "c" and kept[0].dtype.kind != "c":
                total = total.real
            dot[out] = total
    finally:
        context.place = before
    return dot


@_computes_partials
def _reverse(linearization: Linearization, seeds: Mapping[int, Array], batch: int, careful: bool) -> list[Array | None]:
    context = current_context()
    recording = bool(context.tapes)
    before = context.place
    bar: list[Any] = [None] * linearization.size
    with_complex = linearization.with_complex
    plain = not (recording or careful or batch or with_complex)
    pieces: dict[int, list[tuple[Any, Array]]] = {}
    shapes: dict[int, tuple[int, ...]] = {}
    own: set[int] = set()  # where the adjoint is a sum that was made here, and more can be added to it in place
    for position, seed in seeds.items():
        bar[position] = seed
    try:
        for primitive, parents, kept, params, place, out in reversed(linearization.rows):
            if primitive.multiple:
                if recording:
                    context.place = place
                for position in out:
                    if position in pieces:
                        whole = bar[position]
                        bar[position] = _gather(whole, pieces.pop(position), shapes[position], batch, position in own)
                bars = [bar[position] for position in out]
                for position in out:
                    bar[position] = None
                if any(g is not None for g in bars):
                    _pull_jointly(primitive, bars, parents, kept, params, batch, bar, own)
                bars = None  # type: ignore[assignment]  # not to be held while earlier lines are swept
                continue
            g = bar[out]
            if out in pieces:
                g = _gather(g, pieces.pop(out), shapes[out], batch, out in own)
                if type(g) is ndarray and not recording:
                    own.add(out)
            elif g is None:
                continue
            bar[out] = None
            if primitive is getitem and len(parents) == 1:
                pieces.setdefault(parents[0], []).append((params["index"], g))
                shapes[parents[0]] = kept[1].shape
                continue
            if plain and primitive.elementwise and type(g) is float64:  # numbers: what most scalar code is made of
                partials = primitive.partials
                for k, parent in enumerate(parents):
                    if parent >= 0 and (rule := partials[k] if k < len(partials) else None) is not None:
                        c = rule(*kept, **params) if params else rule(*kept)
                        part = g if type(c) is int and c == 1 else c * g
                        known = bar[parent]
                        bar[parent] = part if known is None else known + part
                continue
            if plain and primitive.elementwise and type(g) is ndarray and g.size <= LARGE:  # the same for small arrays
                partials = primitive.partials
                for k, parent in enumerate(parents):
                    if parent >= 0 and (rule := partials[k] if k < len(partials) else None) is not None:
                        c = rule(*kept, **params) if params else rule(*kept)
                        kind, shape = type(c), kept[k + 1].shape
                        if kind is int:
                            part = g if c == 1 else -g if c == -1 else c * g
                        elif kind is RealLinear:
                            part = c.pull(g, 0)
                        elif kind is ndarray and not shape and c.shape == g.shape and c.dtype is g.dtype:
                            part = contract(c, g)
                        else:
                            part = c * g
                        if part.shape != shape:
                            part = pull_diagonal(1, part, shape, 0)
                        known = bar[parent]
                        bar[parent] = part if known is None else known + part
                continue
            if plain and primitive.vjp is not None:
                _pull_jointly(primitive, [g], parents, kept, params, 0, bar, own)
                continue
            if recording:
                context.place = place
            elementwise, variadic, partials = primitive.elementwise, primitive.variadic, primitive.partials
            shared = None if primitive.shared_partials is None else primitive.shared_partials(*kept, **params)
            for k, parent in enumerate(parents):
                if parent < 0:
                    continue
                if variadic:
                    c = partials[0](k, *kept, **params)  # type: ignore[misc]
                elif shared is not None:
                    c = shared[k]
                else:
                    rule = partials[k] if k < len(partials) else None
                    if rule is None:
                        continue
                    c = rule(*kept, **params) if params else rule(*kept)
                fresh = elementwise
                if elementwise:
                    kind = type(c)
                    large = type(g) is ndarray and g.size > LARGE and not recording
                    if kind is int and (c == 1 or not large):
                        fresh = c != 1
                        part = -g if c == -1 else c * g if fresh else g
                    elif kind is RealLinear:
                        part = c.pull(g, batch)
                    elif careful:
                        part = product_of_nonzeros(c, g)
                    elif large and kind in _MULTIPLIERS:
                        if kind is ndarray and (c.shape != g.shape or not kept[k + 1].shape):
                            part = pull_large(c, g, kept[k + 1].shape, batch)
                        elif kind is not ndarray and kept[k + 1].shape != g.shape:
                            part = c * pull_diagonal(1, g, kept[k + 1].shape, batch)
                        elif kind is ndarray and c.dtype is g.dtype and getrefcount(c) == 2 and c.base is None:
                            part = np.multiply(c, g, out=c)  # the rule made it, and nobody else has it
                        elif (
                            getrefcount(g) == 2
                            and g.base is None
                            and max(parents[k + 1 :], default=-1) < 0
                            and (kind is int or kind is float or c.dtype is g.dtype)
                        ):
                            part = np.multiply(c, g, out=g)  # it is read for the last time
                        else:
                            part = c * g
                    elif kind is complex:  # complex * float64 would be Python's, without a shape
                        part = g * c
                    else:
                        part = c * g
                    if batch or part.shape != kept[k + 1].shape:
                        part = pull_diagonal(1, part, kept[k + 1].shape, batch)
                elif c is None:
                    continue
                elif type(c) is Select:
                    pieces.setdefault(parent, []).append((c.index, g))
                    shapes[parent] = c.in_shape
                    continue
                elif type(c) is Erase and out in own and type(g) is ndarray and is_basic(c.index):
                    part = c.erase(g, batch)
                    if bar[parent] is None:
                        own.add(parent)
                else:
                    part = c.pull(g, batch)
                    if type(c) is Erase and type(part) is ndarray and bar[parent] is None and not recording:
                        own.add(parent)  # a copy was made
                if with_complex and part.dtype.kind == "c" and kept[k + 1].dtype.kind != "c":
                    part = part.real  # dL = Re(g dz), and dz is real here
                known = bar[parent]
                if known is None:
                    bar[parent] = part
                    if fresh and not recording:
                        own.add(parent)
                elif type(known) is ndarray and known.size > SMALL:
                    if parent in own and part.dtype is known.dtype and type(part) is ndarray:
                        known += part
                    elif fresh and not recording and type(part) is ndarray and part.dtype is known.dtype:
                        bar[parent] = np.add(known, part, out=part)
                        own.add(parent)
                    else:
                        bar[parent] = known + part
                        if not recording:
                            own.add(parent)
                else:
                    bar[parent] = known + part
                c = part = known = None  # not to be held while the next ones are computed
            g = None
    finally:
        context.place = before
    for position in [k for k in pieces if k < len(linearization.inputs)]:
        bar[position] = _gather(bar[position], pieces.pop(position), shapes[position], batch, position in own)
    return bar[: len(linearization.inputs)]


def _pull_jointly(
    primitive: Primitive, bars: Sequence[Any], parents: Sequence[int], kept: Sequence[Any], params: Mapping[str, Any],
    batch: int, bar: list[Any], own: set[int],
) -> None:  # fmt: skip
    """Pull the adjoints of a line's results back to all its operands at once."""
    wanted = [parent >= 0 for parent in parents]
    parts = primitive.vjp(bars, kept[1:], batch, wanted, **params)  # type: ignore[misc]
    for parent, part in zip(parents, parts, strict=True):
        if parent >= 0 and part is not None:
            bar[parent] = part if bar[parent] is None else bar[parent] + part
            own.discard(parent)


def _gather(
    whole: Array | None, parts: list[tuple[Any, Array]], shape: tuple[int, ...], batch: int, own: bool
) -> Array:
    """Put the adjoints of an array's elements together, and add that of the array as a whole; in place if `own`."""
    if own and type(whole) is ndarray and all(is_basic(index) and g.dtype is whole.dtype for index, g in parts):
        free = (slice(None),) * batch
        for index, g in parts:
            add_into(whole, free + index, g)
        return whole
    total = assemble([g for _, g in parts], [index for index, _ in parts], shape, batch=batch)
    if type(total) is ndarray and type(whole) is ndarray and total.dtype is whole.dtype:
        total += whole
        return total
    return total if whole is None else whole + total


def identity(shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
    """Return the block of all unit seeds of an array of `shape`: one for each element, on a leading axis."""
    size = int(np.prod(shape, dtype=int))
    return np.eye(size, dtype=dtype).reshape((size, *shape))
