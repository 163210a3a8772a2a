"""Forward and reverse accumulation: the two orders that go through the list line by line.

Both multiply the same local Jacobians.  *Forward* (inside-out) starts from tangents of the independent variables and
pushes them through each line; *reverse* (outside-in) starts from adjoints of the dependent ones and pulls them back.
One pass takes one seed, or with ``batch=1`` a block of seeds at once (vector mode), stacked on a leading axis.
A tangent or adjoint that is zero by structure is None and costs nothing.

On traced values a sweep writes a Program; the rows it makes carry the place of the line that they differentiate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from sys import getrefcount
from typing import Any, NamedTuple

import numpy as np

from wengert.accumulation.adjoints import Adjoints, MaskedAdjoints
from wengert.accumulation.extended import passes_infinities, sweep_in_extended_range
from wengert.accumulation.limits import find_limits
from wengert.accumulation.masks import (
    LINEAR,
    Mask,
    both,
    broadcast,
    chosen,
    either,
    has_pole,
    is_nowhere,
    joined,
    keeps_zeros,
    mixed,
    of_seed,
    only,
    pulled,
    pushed,
    summed,
    supported,
)
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
    pull_diagonal,
    pull_large,
    push_diagonal,
    scale,
)
from wengert.linearization import Linearization
from wengert.primitives.numpy.elementwise import multiply
from wengert.primitives.numpy.structural import getitem, setitem, sum_, where
from wengert.program import SMALL, Primitive, computes_lines, has_nan
from wengert.tracing import Row, current_context, innermost

ndarray, float64 = np.ndarray, np.float64
_MULTIPLIERS = frozenset({ndarray, np.float64, float, int})
"""Partials by which a large adjoint may be multiplied in place."""
_NUMBERS = frozenset({float, int, complex})


def forward(linearization: Linearization, seeds: Mapping[int, Array], batch: int = 0) -> list[Array | None]:
    """Accumulate inside-out: from tangents at positions, the tangent at every position (None where it is zero).

    Follows ``u_i_dot = sum over j of (du_i/du_j) u_j_dot`` in the order of the list.
    """
    try:
        return _twice_if_need_be(_forward, linearization, seeds, batch)
    except DegenerateError:
        return _forward_where_determined(linearization, seeds, _masks_of(seeds), batch)


def reverse(linearization: Linearization, seeds: Mapping[int, Array], batch: int = 0) -> list[Array | None]:
    """Accumulate outside-in: from adjoints at positions, the adjoint of each independent variable (None where zero).

    Follows ``u_j_bar += u_i_bar (du_i/du_j)`` against the order of the list; `adjoints` adds the contributions.
    """
    return _twice_if_need_be(_reverse, linearization, seeds, batch)


def sweep_once(linearization: Linearization, seeds: Mapping[int, Array], batch: int, back: bool) -> list[Array | None]:
    """Sweep once, forward or back: part of a larger sweep, which is repeated as a whole if need be."""
    if back:
        return _reverse(linearization, seeds, batch, False)
    try:
        return _forward(linearization, seeds, batch, False)
    except DegenerateError:
        return _forward_where_determined(linearization, seeds, {}, batch)


def sweep_carefully(
    linearization: Linearization, seeds: Mapping[int, Array], masks: Mapping[int, Mask], batch: int, back: bool
) -> tuple[list[Array | None], list[Mask | None]]:
    """Sweep, and say where anything contributes to what comes out, from seeds with masks."""
    sweep = _reverse_carefully if back else _forward_carefully
    return sweep(linearization, seeds, masks, batch)


def _masks_of(seeds: Mapping[int, Array]) -> dict[int, Mask]:
    """Return masks of seeds that have zeros."""
    masks = {position: of_seed(seed) for position, seed in seeds.items()}
    return {position: mask for position, mask in masks.items() if mask is not None}


def _twice_if_need_be(
    sweep: Callable[..., list[Any]], linearization: Linearization, seeds: Mapping[int, Array], batch: int
) -> list[Any]:
    """Run a sweep; if an infinity or NaN comes out, run it again, carefully.

    In a careful sweep zeros of structure win: the branch of ``where`` that was not taken contributes nothing, whatever
    its partials are (`masks`).  It costs twice as much, so it runs only if needed.  If NumPy has reported nothing on
    the way, only a NaN of the data may have come out; a Program that is being recorded is for other points too, so a
    report is enough to sweep carefully.  What is not finite even then is sought in extended range, and as a limit; in
    extended range also what comes from values that have overflowed, whose partials may be zero.
    """
    context = current_context()
    before, context.muted = context.muted, True
    try:
        result = sweep(linearization, seeds, batch, False)

        def ends() -> list[Any]:
            return [result[k] for k in linearization.outputs if k >= 0] if sweep is _forward else result

        silent = not context.alarms
        careful = _is_nan_anywhere(ends(), linearization) if silent else context.tapes or not is_finite(ends())
        if careful:
            result = sweep(linearization, seeds, batch, True)
            well = is_finite(ends())
            if not well and not context.tapes:
                result = sweep_in_extended_range(sweep, linearization, seeds, batch, result)
                well = is_finite(ends())
                if not well:
                    result, well = find_limits(linearization, seeds, batch, sweep is _reverse, result)
            if not well:
                context.muted = before  # there is something to warn of: this time the warnings are heard
                heard = sweep(linearization, seeds, batch, True)
                result = heard if context.tapes else result
        elif not silent and not context.tapes and passes_infinities(linearization):
            result = sweep_in_extended_range(sweep, linearization, seeds, batch, result)
    finally:
        context.muted = before
    return result


def _is_nan_anywhere(derivatives: Sequence[Any], linearization: Linearization) -> bool:
    """Return whether a derivative holds NaN; a large one is looked at only where a NaN need not show elsewhere."""
    large = []
    for derivative in derivatives:
        if type(derivative) is float64:
            if derivative != derivative:
                return True
        elif derivative is not None:
            if derivative.size > LARGE:
                large.append(derivative)
            elif holds_nan(derivative):
                return True
    return bool(large) and _leaves_out(linearization) and any(map(holds_nan, large))


def _leaves_out(linearization: Linearization) -> bool:
    """Return whether a line may leave elements out, so that a NaN need not reach the result."""
    return not all(
        primitive is sum_ or (primitive.elementwise and not primitive.chosen) for primitive, *_ in linearization.rows
    )


def holds_nan(value: Any) -> bool:
    """Return whether a derivative (None for zero) holds NaN."""
    kind = type(value)
    if kind is not ndarray and kind is not float64:
        value = innermost(value)
        if value is None:
            return False
    return has_nan(value)


def is_finite(values: Iterable[Any]) -> bool:
    """Return whether derivatives (None for zero) are free of infinities and NaN."""
    return all(value is None or bool(np.all(np.isfinite(innermost(value)))) for value in values)


# ---- Forward ----


_pushes_rows = computes_lines(lambda variables: (variables["primitive"], variables["place"], None))


def _forward(linearization: Linearization, seeds: Mapping[int, Array], batch: int, careful: bool) -> list[Array | None]:
    """Push tangents through all lines."""
    if careful:
        return _forward_carefully(linearization, seeds, _masks_of(seeds), batch)[0]
    if current_context().tapes:
        return _forward_carefully(linearization, seeds, {}, batch, sparing=True)[0]
    return _forward_plainly(linearization, seeds, batch)


@_pushes_rows
def _forward_plainly(linearization: Linearization, seeds: Mapping[int, Array], batch: int) -> list[Array | None]:
    with_complex = linearization.with_complex
    dot: list[Any] = [None] * linearization.size
    for position, seed in seeds.items():
        dot[position] = seed
    rows = linearization.rows if linearization.last_uses is None else _drop_tangents(linearization, dot)
    assigned: _Assigned | None = None
    for primitive, parents, kept, params, place, out in rows:  # noqa: B007 - a warning names the place
        if primitive is setitem and len(parents) == 2:
            assigned = assigned or _Assigned(linearization)
            total = assigned.push(parents, params["index"], dot, batch, out)
            if total is not None:
                dot[out] = total
                continue
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
                    part = c.push(t, batch)
                else:
                    part = push_diagonal(c, t, kept[k + 1].shape, kept[0].shape, batch)
                total = part if total is None else total + part
        dot[out] = _as_real(total, kept[0]) if with_complex else total
    return dot


class _Assigned:
    """The tangents of arrays that are assigned to: each is changed in its place if no other line reads it."""

    def __init__(self, linearization: Linearization) -> None:
        self.reads = Counter(parent for row in linearization.rows for parent in row[1])
        self.reads.update(linearization.outputs)
        self.owned: set[int] = set()
        """The positions of the tangents that were made here."""

    def push(self, parents: Sequence[int], index: Any, dot: list[Any], batch: int, out: int) -> Array | None:
        """Return the tangent after an assignment; None where the general rule is to make it."""
        parent, base = parents
        t, part = (dot[p] if p >= 0 else None for p in (base, parent))
        if type(t) is not ndarray or not is_basic(index):
            return None
        index = (slice(None),) * batch + index
        if part is not None and (part.dtype != t.dtype or part.shape != t[index].shape):
            return None
        if base not in self.owned or self.reads[base] > 1:
            t = t.copy()
        t[index] = 0.0 if part is None else part
        self.owned.add(out)
        return t


def _drop_tangents(linearization: Linearization, dot: list[Any]) -> Iterator[Row]:
    """Yield the rows, and drop each tangent after the last that reads it: its memory serves the next."""
    for row, positions in zip(linearization.rows, linearization.last_uses or (), strict=True):
        yield row
        for position in positions:
            dot[position] = None


@_pushes_rows
def _forward_carefully(
    linearization: Linearization,
    seeds: Mapping[int, Array],
    masks: Mapping[int, Mask],
    batch: int,
    sparing: bool = False,
    undetermined: list[DegenerateError] | None = None,
) -> tuple[list[Array | None], list[Mask | None]]:
    """Push tangents and their masks; with `undetermined`, a missing derivative is NaN and its error is listed."""
    context = current_context()
    recording, before = bool(context.tapes), context.place
    tangents = _Pushing(batch, sparing, undetermined, set())
    dot: list[Any] = [None] * linearization.size
    dot_masks: list[Mask | None] = [None] * linearization.size
    for position, seed in seeds.items():
        dot[position], dot_masks[position] = seed, masks.get(position)
    try:
        for row in linearization.rows:
            primitive, parents, kept, params, place, out = row
            if recording:
                context.place = place
            if primitive.multiple:
                dots, masks_of_dots = _push_several(row, batch, dot, dot_masks, recording)
                for position, t, mask in zip(out, dots, masks_of_dots, strict=False):
                    dot[position], dot_masks[position] = t, mask
                continue
            total, mask = None, None
            if primitive.jvp is not None:
                total = _push_jointly(primitive, parents, kept, params, batch, dot)
                if total is not None and (mask := _mask_of_joint(row, dot, dot_masks, sparing)) is not None:
                    total = total if sparing and primitive in LINEAR else only(mask, total)
            else:
                wild = primitive.domain is not None and has_pole(row)
                for k, parent, c in _partials_of(row, sparing):
                    if dot[parent] is None:
                        continue
                    push = _push_diagonal_carefully if primitive.elementwise else _push_structure_carefully
                    part, its_mask = push(row, k, c, dot[parent], dot_masks[parent], tangents)
                    if wild or parent in tangents.wild:
                        tangents.wild.add(out)
                    mask = its_mask if total is None else either(mask, its_mask)
                    total = part if total is None else total + part
            if not sparing and is_nowhere(mask):
                total = mask = None
            dot[out] = _as_real(total, kept[0]) if linearization.with_complex else total
            dot_masks[out] = mask
    finally:
        context.place = before
    return dot, dot_masks


class _Pushing(NamedTuple):
    """How tangents are pushed carefully; `wild` are positions whose tangents may be infinite at other points."""

    batch: int
    sparing: bool
    undetermined: list[DegenerateError] | None
    wild: set[int]


def _push_structure_carefully(
    row: Row, k: int, c: LocalJacobian, t: Any, mask: Mask | None, how: _Pushing
) -> tuple[Any, Mask | None]:
    """Push the tangent of an operand through a local Jacobian, where anything contributes."""
    part = c.push(t, how.batch) if how.undetermined is None else _push_or_nan(c, t, how.batch, how.undetermined)
    if mask is None and how.sparing:
        return part, supported(c)  # outside of its support the part is zero by itself
    mask = pushed(c, mask, _is_constant(row[1], k))
    return part if how.sparing and keeps_zeros(c) else only(mask, part), mask


def _push_diagonal_carefully(
    row: Row, k: int, c: Any, t: Any, mask: Mask | None, how: _Pushing
) -> tuple[Any, Mask | None]:
    """Multiply the tangent of an operand of an elementwise function by a partial, where anything contributes."""
    kept, batch, sparing = row[2], how.batch, how.sparing
    shape, out_shape = kept[k + 1].shape, kept[0].shape
    choice = chosen(row, k, sparing and row[0] is not where)
    mask = both(broadcast(mask, shape, out_shape), choice)
    part = c.push(t, batch) if type(c) is RealLinear else push_diagonal(c, t, shape, out_shape, batch)
    if mask is not None and (not sparing or _is_masked(row, c, choice, row[1][k] in how.wild)):
        part = only(mask, part)
    return part, mask


def _is_masked(row: Row, c: Any, choice: Mask | None, wild: bool) -> bool:
    """Return whether a Program needs a line for the mask of a product, which may be infinite at other points."""
    if choice is not None:
        return wild or row[0] is where or row[0] is multiply
    return type(c) not in _NUMBERS and not (type(c) in _MULTIPLIERS and bool(np.all(np.isfinite(c))))


def _is_constant(parents: Sequence[int], k: int) -> bool:
    """Return whether the other factor of a product of matrices is a constant."""
    return len(parents) == 2 and parents[1 - k] < 0


def _mask_of_joint(row: Row, dot: Sequence[Any], dot_masks: Sequence[Mask | None], sparing: bool) -> Mask | None:
    """Return the mask of what a line makes of the tangents of all its operands."""
    parents, kept = row[1], row[2]
    tangents = [dot[parent] if parent >= 0 else None for parent in parents]
    masks = [dot_masks[parent] if parent >= 0 else None for parent in parents]
    if sparing and all(mask is None for mask in masks):
        return None
    if row[0] in LINEAR:
        return joined(row, tangents, masks)
    moving = [k for k, t in enumerate(tangents) if t is not None]
    return mixed([masks[k] for k in moving], [np.shape(kept[k + 1]) for k in moving], kept[0].shape)


def _push_several(
    row: Row, batch: int, dot: Sequence[Any], dot_masks: Sequence[Mask | None], recording: bool
) -> tuple[Sequence[Any], Sequence[Mask | None]]:
    """Push the tangents of all operands of a line through it, to all its results."""
    primitive, parents, kept, params, _, out = row
    tangents = [dot[parent] if parent >= 0 else None for parent in parents]
    nothing = [None] * len(out)
    if all(t is None for t in tangents):
        return nothing, nothing
    if recording:
        return primitive.jvp(tangents, kept[1:], batch, **params), nothing  # type: ignore[misc]
    masks = [dot_masks[parent] if parent >= 0 else None for parent in parents]
    return primitive.jvp(tangents, kept[1:], batch, masks=masks, **params)  # type: ignore[misc, no-any-return]


def _forward_where_determined(
    linearization: Linearization, seeds: Mapping[int, Array], masks: Mapping[int, Mask], batch: int
) -> list[Array | None]:
    """Push tangents through lines whose derivatives may not exist where no result reads them, as in svd(A)[1]."""
    undetermined: list[DegenerateError] = []
    dot, _ = _forward_carefully(linearization, seeds, masks, batch, False, undetermined)
    if not is_finite([dot[position] for position in linearization.outputs if position >= 0]):
        raise undetermined[0] from None
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
    if careful:
        return _reverse_carefully(linearization, seeds, _masks_of(seeds), batch)[0]
    if current_context().tapes:
        return _reverse_carefully(linearization, seeds, {}, batch, sparing=True)[0]
    adjoints = Adjoints(linearization.size, batch)
    for position, seed in seeds.items():
        adjoints.totals[position] = seed
    if batch or linearization.with_complex:
        _sweep_back(linearization, adjoints)
    else:
        _sweep_back_plainly(linearization, adjoints)
    return _of_inputs(linearization, adjoints)


def _reverse_carefully(
    linearization: Linearization,
    seeds: Mapping[int, Array],
    masks: Mapping[int, Mask],
    batch: int,
    sparing: bool = False,
) -> tuple[list[Array | None], list[Mask | None]]:
    context = current_context()
    before = context.place
    adjoints = MaskedAdjoints(linearization.size, batch, bool(context.tapes), sparing)
    for position, seed in seeds.items():
        adjoints.totals[position] = seed
    adjoints.masks.update(masks)
    try:
        _sweep_back_carefully(linearization, adjoints)
    finally:
        context.place = before
    bars = _of_inputs(linearization, adjoints)
    return bars, [adjoints.masks.get(position) for position in range(len(bars))]


def _of_inputs(linearization: Linearization, adjoints: Adjoints) -> list[Array | None]:
    """Return the adjoints of the independent variables."""
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
        if primitive is setitem and type(g) is ndarray and type(part := _element(g, row)) is float64:
            totals[out] = None
            parent, base = parents
            if parent >= 0:
                total = totals[parent]
                totals[parent] = part if total is None else total + part
            if base >= 0:
                if out not in adjoints.owned:
                    g = g.copy()
                g[params["index"]] = 0.0
                if totals[base] is None:
                    totals[base] = g
                    adjoints.owned.add(base)
                else:
                    adjoints.add(base, g, fresh=True)
            continue
        kind = type(g) if primitive.elementwise else None
        if kind is float64:
            totals[out] = None
            partials = primitive.partials
            for k, parent in enumerate(parents):  # a zip of so few takes longer
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


def _element(g: np.ndarray[Any, Any], row: Row) -> Any:
    """Return the adjoint of a number that is assigned to one element of an array; of any other part not a number."""
    _, parents, kept, params, _, _ = row
    is_number = len(parents) == 2 and (parents[0] < 0 or not kept[1].shape)
    return g[params["index"]] if is_number else None


@_pulls_rows
def _sweep_back(linearization: Linearization, adjoints: Adjoints) -> None:
    """Sweep back over any plain values: also complex ones, and with blocks of seeds."""
    with_complex = linearization.with_complex
    for row in reversed(linearization.rows):
        primitive, parents, kept, params, _, out = row
        if primitive.multiple:
            _pull_several(row, adjoints)
            continue
        if out in adjoints.pieces:
            adjoints.put_together(out)
        if adjoints.totals[out] is None:
            continue
        if primitive is getitem and len(parents) == 1:
            adjoints.add_piece(parents[0], params["index"], adjoints.take(out), kept[1].shape)
        elif primitive.elementwise:
            _pull_diagonals(row, adjoints, with_complex)
        else:
            _pull_structures(row, adjoints.take(out), adjoints, with_complex)


@_pulls_rows
def _sweep_back_carefully(linearization: Linearization, adjoints: MaskedAdjoints) -> None:
    """Sweep back with masks: over traced values too, which writes the sweep down."""
    context, with_complex = current_context(), linearization.with_complex
    for row in reversed(linearization.rows):
        primitive, parents, kept, params, place, out = row
        if primitive.multiple:
            if adjoints.recorded:
                context.place = place
            _pull_several_carefully(row, adjoints)
            continue
        g, mask = adjoints.take_masked(out)
        if g is None:
            continue
        if primitive is getitem and len(parents) == 1:
            adjoints.add_masked_piece(parents[0], params["index"], g, kept[1].shape, mask)
            continue
        if adjoints.recorded:
            context.place = place
        wild = out in adjoints.wild or (primitive.domain is not None and has_pole(row))
        pull = _pull_diagonal_carefully if primitive.elementwise else _pull_structure_carefully
        for k, parent, c in _partials_of(row, adjoints.sparing):
            if wild:
                adjoints.wild.add(parent)
            if type(c) is Select:
                adjoints.add_masked_piece(parent, c.index, g, c.in_shape, mask)
                continue
            part, its_mask = pull(row, k, c, g, mask, adjoints)
            adjoints.add_masked(parent, _as_real(part, kept[k + 1]) if with_complex else part, its_mask)


def _pull_structure_carefully(
    row: Row, k: int, c: LocalJacobian, g: Any, mask: Mask | None, adjoints: MaskedAdjoints
) -> tuple[Any, Mask | None]:
    """Pull the adjoint of a line's result through a local Jacobian, where anything contributes."""
    if c.support is not None and (not adjoints.sparing or row[5] in adjoints.wild):
        g = only(supported(c), g)
    part = c.pull(g, adjoints.batch)
    if mask is None and adjoints.sparing:
        return part, None
    mask = pulled(c, mask, _is_constant(row[1], k))
    return part if adjoints.sparing and keeps_zeros(c) else only(mask, part), mask


def _partials_of(row: Row, sparing: bool) -> Iterator[tuple[int, int, Any]]:
    """Yield the local Jacobians of a line: the number of the operand, its position, and the partial.

    In a Program the branches of ``where`` are masked, which takes one line, instead of multiplied by ones and zeros;
    so is the other factor of a computed mask.
    """
    primitive, parents, kept, params, _, _ = row
    if sparing and primitive is where:
        yield from ((k, parent, 1) for k, parent in enumerate(parents) if k and parent >= 0)
        return
    shared = None if primitive.shared_partials is None else primitive.shared_partials(*kept, **params)
    for k, parent in enumerate(parents):
        if parent < 0:
            continue
        if shared is not None:
            c = shared[k]
        elif sparing and primitive is multiply and chosen(row, k, True) is not None:
            c = 1
        else:
            rule = primitive.partial(k)
            c = None if rule is None else rule(*kept, **params)
        if c is not None:
            yield k, parent, c


def _pull_diagonal_carefully(
    row: Row, k: int, c: Any, g: Any, mask: Mask | None, adjoints: MaskedAdjoints
) -> tuple[Any, Mask | None]:
    """Multiply the adjoint of the result of an elementwise function by a partial, where anything contributes.

    In a Program a line is written for that only where the product may be infinite.
    """
    kept, batch, sparing = row[2], adjoints.batch, adjoints.sparing
    shape, out_shape = kept[k + 1].shape, kept[0].shape
    choice = chosen(row, k, sparing and row[0] is not where)
    mask = both(mask, choice)
    if type(c) is RealLinear:
        mask = summed(mask, shape, out_shape)
        return only(mask, c.pull(g, batch)), mask
    part = scale(c, g)
    if mask is not None and (not sparing or _is_masked(row, c, choice, row[5] in adjoints.wild)):
        part = only(mask, part)
    if batch or part.shape != shape:
        part = pull_diagonal(1, part, shape, batch)
    return part, summed(mask, shape, out_shape)


def _pull_several_carefully(row: Row, adjoints: MaskedAdjoints) -> None:
    """Pull the adjoints of a line's several results back to its operands."""
    primitive, parents, kept, params, _, out = row
    pairs = [adjoints.take_masked(position) for position in out]
    bars, masks = [g for g, _ in pairs], [mask for _, mask in pairs]
    if all(g is None for g in bars):
        return
    wanted = [parent >= 0 for parent in parents]
    if adjoints.recorded:
        parts = primitive.vjp(bars, kept[1:], adjoints.batch, wanted, **params)  # type: ignore[misc]
        their_masks = [None] * len(parts)
    else:
        parts, their_masks = primitive.vjp(bars, kept[1:], adjoints.batch, wanted, masks=masks, **params)  # type: ignore[misc]
    for parent, part, mask in zip(parents, parts, their_masks, strict=True):
        if parent >= 0 and part is not None:
            adjoints.add_masked(parent, part, mask)


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


def _pull_diagonals(row: Row, adjoints: Adjoints, with_complex: bool = False) -> None:
    """Multiply the adjoint of the result of an elementwise function by its partials."""
    primitive, parents, kept, params, _, out = row
    partials, batch = primitive.partials, adjoints.batch
    g: Any = adjoints.take(out)
    large = type(g) is ndarray and g.size > LARGE
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
            part = scale(c, g)
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
