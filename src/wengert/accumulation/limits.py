"""Limits: a derivative at a point where a product of local partials is zero times infinity.

The derivative of ``arccos(x)**2`` at 1 is -2, but the chain rule has ``2 * 0 * -inf`` for it.  So the point is moved by
`t` along one coordinate, and every line is expanded in powers of `t`, fractions included: ``arccos(1 - t)`` begins with
``sqrt(2) t^(1/2)``, its square with ``2 t``.  The coefficient of `t` is the derivative from that side.  If the sides
differ there is a kink, and their middle is taken, as for `abs` at 0.

An expansion needs no more of a primitive than its rule: ``y' = (dy/dx) x'``, integrated term by term, gives each
coefficient from those before it.  Lines that are neither elementwise nor linear have no expansion, and the derivative
stays what the sweep has made of it.

>>> x = Expansion({0: np.array(1.0), UNIT: np.array(-1.0)})
>>> y = expand(elementwise.arccos, [x])
>>> {power / UNIT: round(float(c), 4) for power, c in (y * y).terms.items() if power <= 2 * UNIT}
{1.0: 2.0, 2.0: 0.3333}
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from wengert.jacobians import Array
from wengert.linearization import Linearization
from wengert.primitives.numpy import elementwise, structural
from wengert.primitives.numpy.linalg.norms import norm_
from wengert.primitives.table import CALLS
from wengert.program import Primitive, Shaped
from wengert.tracing import Row, is_kept

UNIT = 12
"""Powers are counted in twelfths: those of square roots, cube roots and roots of roots."""
LAST = 12 * UNIT
"""The last power that is kept; divisions leave enough for the derivative."""
BEND = 3 * UNIT // 2
MOST = 1 << 17
"""Limits are sought for as many coordinates as have together about so many elements in all lines."""
PER_LINE = 1 << 8
"""A line counts as so many elements at least."""
PATIENCE = 8
"""So many coordinates without a limit are tried one by one."""
NOISE = 1e-12


class NoExpansionError(Exception):
    """There is no expansion in these powers, or none that is known."""


class Expansion(np.lib.mixins.NDArrayOperatorsMixin):
    """An array that depends on a small positive `t`: a sum of coefficients times powers of `t`.

    Comparisons are decided for all `t` small enough.

    Attributes
    ----------
    terms
        The coefficient of each power that occurs, the power in units of ``1 / UNIT``.
    last
        The last power that is known.
    """

    __slots__ = ("last", "shape", "terms")
    dtype = np.dtype(np.float64)

    def __init__(self, terms: Mapping[int, Array], last: int = LAST, shape: tuple[int, ...] | None = None) -> None:
        arrays = {e: np.asarray(c) for e, c in sorted(terms.items())}
        kept = {e: c for e, c in arrays.items() if e <= last and c.any()}
        if not all(np.isfinite(c).all() for c in kept.values()):
            raise NoExpansionError
        self.shape = np.broadcast_shapes(*[c.shape for c in arrays.values()]) if shape is None else shape
        self.terms, self.last = kept, last

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def term(self, power: int) -> Array:
        """Return the coefficient of a power, of the full shape."""
        return np.broadcast_to(self.terms.get(power, np.float64(0.0)), self.shape)

    def aligned(self, ndim: int) -> Expansion:
        """Return a block of expansions of arrays as one of arrays with `ndim` axes, of length 1 before their own."""
        shape = (self.shape[0], *[1] * (ndim + 1 - self.ndim), *self.shape[1:])
        return Expansion({e: np.reshape(self.term(e), shape) for e in self.terms}, self.last, shape)

    def member(self, k: int) -> Expansion:
        """Return one of a block of expansions."""
        return Expansion({e: self.term(e)[k] for e in self.terms}, self.last, self.shape[1:])

    def until(self, last: int) -> Expansion:
        """Return it up to a power."""
        return Expansion(self.terms, last, self.shape)

    def leading(self) -> tuple[Array, Array]:
        """Return the first power of each element, and its coefficient; zero where there is none."""
        power, coefficient = np.full(self.shape, self.last + 1), np.zeros(self.shape)
        for e, c in reversed(self.terms.items()):
            there = np.broadcast_to(c != 0, self.shape)
            power, coefficient = np.where(there, e, power), np.where(there, c, coefficient)
        return power, coefficient

    def times(self, other: Expansion) -> Expansion:
        last = min(self.last, other.last)
        shape = np.broadcast_shapes(self.shape, other.shape)
        total: dict[int, Array] = {}
        for e, c in self.terms.items():
            for f, d in other.terms.items():
                if e + f <= last:
                    total[e + f] = total[e + f] + c * d if e + f in total else c * d
        return Expansion(total, last, shape)

    def plus(self, other: Expansion) -> Expansion:
        total = dict(self.terms)
        for e, c in other.terms.items():
            total[e] = total[e] + c if e in total else c
        return Expansion(total, min(self.last, other.last), np.broadcast_shapes(self.shape, other.shape))

    def minus(self, other: Expansion) -> Expansion:
        return self.plus(other.times(constant(-1)))

    def power(self, p: float) -> Expansion:
        """Return a real power, by the binomial series about the leading term."""
        power, coefficient = self.leading()
        result = Expansion({}, self.last, self.shape)
        for e in np.unique(power).tolist():
            here = power == e
            if e > self.last:  # zero, as far as is known
                if p <= 0:
                    raise NoExpansionError
                continue
            start = e * p
            if start != round(start):
                raise NoExpansionError
            divisor = np.where(here, coefficient, 1.0)
            terms = {f - e: np.where(here, c, 0.0) / divisor for f, c in self.terms.items() if f > e}
            rest = Expansion(terms, max(self.last - e, 0), self.shape)
            step = min(rest.terms, default=0)
            series = Expansion({0: np.ones(self.shape)}, rest.last)
            factor, product = 1.0, series
            for j in range(1, (rest.last // step if step else 0) + 1):
                factor *= (p - j + 1) / j
                product = product.times(rest)
                series = series.plus(product.times(constant(factor)))
            root = np.cbrt(coefficient) if p == 1 / 3 else np.where(here, coefficient, 1.0) ** p
            there = {round(start) + f: np.where(here, root * c, 0.0) for f, c in series.terms.items()}
            result = result.plus(Expansion(there, self.last, self.shape))
        return result

    def sign(self) -> Array:
        """Return the sign for small `t`."""
        return np.sign(self.leading()[1])

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        primitive = CALLS.get(ufunc)
        if method != "__call__" or kwargs or not isinstance(primitive, Primitive):
            raise NoExpansionError
        return expand(primitive, [as_expansion(x) for x in inputs])

    def __array_function__(self, func: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
        primitive = CALLS.get(func)
        if kwargs or not isinstance(primitive, Primitive):
            raise NoExpansionError
        return expand(primitive, list(args))


def constant(value: Any) -> Expansion:
    """Return the expansion of what does not depend on `t`."""
    return Expansion({0: np.asarray(value, float)})


def as_expansion(value: Any) -> Expansion:
    """Return a constant as an expansion."""
    if isinstance(value, Expansion):
        return value
    if isinstance(value, Shaped) or np.asarray(value).dtype.kind not in "biuf":
        raise NoExpansionError
    return constant(value)


# ---- What primitives make of expansions ----


def expand(primitive: Primitive, operands: Sequence[Any], params: Mapping[str, Any] | None = None) -> Any:
    """Return what a primitive makes of operands of which some are expansions."""
    if primitive in _RULES and not params:
        return _RULES[primitive](*map(as_expansion, operands))
    if primitive in _COMPARISONS:
        return _COMPARISONS[primitive](as_expansion(operands[0]).minus(as_expansion(operands[1])))
    if primitive is structural.where:
        here, a, b = map(as_expansion, operands)
        return a.times(here).plus(b.times(constant(1).minus(here)))
    if primitive is norm_ and params:
        total = expand(structural.sum_, [operands[0].times(operands[0])], {**params, "keepdims": False})
        return total.power(0.5)
    if primitive is structural.matmul:
        return _product(np.matmul, *map(as_expansion, operands))
    if primitive.elementwise:
        return _integrated(primitive, [as_expansion(x) for x in operands], params or {})
    if not any(primitive.keeps[: 1 + len(operands)]) and not primitive.multiple:
        return _linear(primitive, operands, params or {})
    raise NoExpansionError


def _linear(primitive: Primitive, operands: Sequence[Any], params: Mapping[str, Any]) -> Expansion:
    """Apply a linear function to each coefficient; computed positions stay as they are."""
    operands = [x if isinstance(x, Expansion) or np.asarray(x).dtype.kind != "f" else constant(x) for x in operands]
    moving = [x for x in operands if isinstance(x, Expansion)]
    terms = {
        e: primitive.numpy(*[x.term(e) if isinstance(x, Expansion) else x for x in operands], **params)
        for e in {0}.union(*[x.terms for x in moving])
    }
    return Expansion(terms, min(x.last for x in moving))


def _product(multiply: Callable[[Array, Array], Array], a: Expansion, b: Expansion) -> Expansion:
    """Multiply term by term, by any product."""
    total: dict[int, Array] = {0: multiply(np.zeros(a.shape), np.zeros(b.shape))}
    for e in a.terms:
        for f in b.terms:
            total[e + f] = total.get(e + f, 0.0) + multiply(a.term(e), b.term(f))
    return Expansion(total, min(a.last, b.last))


def _integrated(primitive: Primitive, operands: Sequence[Expansion], params: Mapping[str, Any]) -> Expansion:
    """Integrate ``y' = sum of (dy/dx_k) x_k'``: each coefficient follows from those before it."""
    if any(min(x.terms, default=0) < 0 for x in operands):
        raise NoExpansionError
    start = np.asarray(primitive.numpy(*[x.term(0) for x in operands], **params))
    last = min(x.last for x in operands)
    steps = [min((e for e in x.terms if e > 0), default=last + 1) for x in operands]
    step = min(steps)
    result = Expansion({0: start}, last)
    if step > last:
        return result
    before = [x.until(last - step) for x in operands]
    reads_result = any(of and of[0] for of in primitive.reads)
    y = _integrated(primitive, before, params) if reads_result else result.until(last - step)
    for k, x in enumerate(operands):
        if steps[k] > last:
            continue
        rule = primitive.partial(k)
        if rule is None:
            continue
        slope = as_expansion(rule(y, *before, **params))
        slope = Expansion(slope.terms, last, slope.shape)
        speed = Expansion({e - UNIT: e / UNIT * c for e, c in x.terms.items() if e > 0}, last, x.shape)
        result = result.plus(_integral(slope.times(speed), last))
    return result


def _integral(slope: Expansion, last: int) -> Expansion:
    if any(e <= -UNIT for e in slope.terms):
        raise NoExpansionError  # a logarithm, or a pole
    return Expansion({e + UNIT: c * UNIT / (e + UNIT) for e, c in slope.terms.items()}, last, slope.shape)


def _absolute(x: Expansion) -> Expansion:
    return x.times(constant(x.sign()))


def _chosen(largest: bool) -> Callable[[Expansion, Expansion], Expansion]:
    def choose(a: Expansion, b: Expansion) -> Expansion:
        left = (a.minus(b).sign() > 0) == largest
        return a.times(constant(left)).plus(b.times(constant(~left)))

    return choose


def _to_power(x: Expansion, p: Expansion) -> Expansion:
    exponents = np.unique(p.term(0))
    if not set(p.terms) <= {0} or exponents.size != 1:
        raise NoExpansionError
    return x.power(float(exponents[0]))


def _over(a: Expansion, b: Expansion) -> Expansion:
    """Divide, and return 0 where both are zero for all `t`: the quotient that is taken of a vector and its length."""
    zero = b.leading()[1] == 0
    return a.times(b.plus(constant(zero)).power(-1.0))


_e = elementwise
_RULES: dict[Primitive, Callable[..., Expansion]] = {
    _e.add: Expansion.plus,
    _e.subtract: Expansion.minus,
    _e.multiply: Expansion.times,
    _e.divide: lambda a, b: a.times(b.power(-1.0)),
    _e.negative: lambda x: x.times(constant(-1)),
    _e.positive: lambda x: x,
    structural.alias: lambda x: x,
    _e.square: lambda x: x.times(x),
    _e.reciprocal: lambda x: x.power(-1.0),
    _e.power: _to_power,
    _e.float_power: _to_power,
    _e.sqrt: lambda x: x.power(0.5),
    _e.root: lambda x: x.power(0.5),
    _e.cbrt: lambda x: x.power(1 / 3),
    _e.hypot: lambda a, b: a.times(a).plus(b.times(b)).power(0.5),
    _e.inverse: lambda x: _over(constant(np.where(x.leading()[1] == 0, 0.0, 1.0)), x),
    _e.unit: _over,
    _e.absolute: _absolute,
    _e.fabs: _absolute,
    _e.sign: lambda x: constant(x.sign()),
    **dict.fromkeys([_e.maximum, _e.fmax], _chosen(True)),
    **dict.fromkeys([_e.minimum, _e.fmin], _chosen(False)),
    **{
        row.squared: lambda y, *_: y.times(y)
        for row in (_e.sqrt, _e.root, _e.hypot, _e.absolute, _e.fabs)
        if row.squared
    },
}
_COMPARISONS: dict[Primitive, Callable[[Expansion], Array]] = {
    _e.greater: lambda d: d.sign() > 0,
    _e.greater_equal: lambda d: d.sign() >= 0,
    _e.less: lambda d: d.sign() < 0,
    _e.less_equal: lambda d: d.sign() <= 0,
    _e.equal: lambda d: d.sign() == 0,
    _e.not_equal: lambda d: d.sign() != 0,
}


# ---- Limits of derivatives ----


def expand_lines(linearization: Linearization, directions: Mapping[int, Array], bend: float) -> list[Any]:
    """Return the dependent variables, moved by `t` in each of a block of directions; None where there is no expansion.

    Coordinates that do not move in a direction are moved by a `bend` of ``t^(3/2)``, which does not change a slope,
    but leads away from further singularities at the point.
    """
    block = len(next(iter(directions.values())))
    values: dict[int, Any] = {}
    for position, x in enumerate(linearization.inputs):
        along = directions.get(position, np.zeros((block, *np.shape(x))))
        aside = bend * (along == 0)
        values[position] = constant(x).plus(Expansion({UNIT: along, BEND: aside})) if np.any(along) or bend else x
    decisions: set[int] = set()
    for row in linearization.rows:
        operands = [values.get(parent, v) for parent, v in zip(row[1], row[2][1:], strict=True)]
        if any(x is None for x in operands):
            values[row[5]] = None
        elif any(isinstance(x, Expansion) for x in operands):
            try:
                values[row[5]] = _expand_line(row, operands, values, decisions, block)
            except (NoExpansionError, TypeError, ValueError, AttributeError, RecursionError):
                values[row[5]] = None
    ends = zip(linearization.outputs, linearization.values, strict=True)
    return [
        values[position] if position in values else constant(np.broadcast_to(y, (block, *np.shape(y))))
        for position, y in ends
    ]


def _expand_line(
    row: Row, operands: Sequence[Any], values: Mapping[int, Any], decisions: set[int], block: int
) -> Expansion:
    """Expand a line; the position of a comparison's result is added to `decisions`."""
    primitive, parents, kept, params, _, out = row
    if not all(parent in values or is_kept(row, k) for k, parent in enumerate(parents, 1)):
        raise NoExpansionError
    if not primitive.elementwise and primitive is not structural.where:
        if not decisions.isdisjoint(parents):
            raise NoExpansionError
        return _each(primitive, operands, params, block)
    ndim = max(np.ndim(v) for v in kept[1:])
    result = expand(primitive, [x.aligned(ndim) if isinstance(x, Expansion) else x for x in operands], params)
    if isinstance(result, Expansion):
        return result
    decisions.add(out)
    return constant(result)


def _each(primitive: Primitive, operands: Sequence[Any], params: Mapping[str, Any], block: int) -> Expansion:
    """Expand a line for each of a block, and stack the results."""
    results = [
        expand(primitive, [x.member(k) if isinstance(x, Expansion) else x for x in operands], params)
        for k in range(block)
    ]
    powers = {0}.union(*[y.terms for y in results])
    return Expansion({e: np.stack([y.term(e) for y in results]) for e in powers}, min(y.last for y in results))


def slope_of(y: Expansion | None, block: int, value: Array) -> tuple[Array, Array]:
    """Return the limit of a value, and the coefficient of `t`.

    The latter is infinite if a lower power comes before, and NaN if there is no expansion, or one that does not begin
    with the value at the point.
    """
    if y is None:
        unknown = np.full((block, *np.shape(value)), np.nan)
        return unknown, unknown
    limit, slope = y.term(0), y.term(UNIT)
    size = np.abs(limit) + np.abs(slope) + 1
    for e, c in reversed(y.terms.items()):
        if 0 < e < UNIT:
            slope = np.where(np.abs(c) > NOISE * size, np.copysign(np.inf, c), slope)
        elif e < 0:
            slope = np.where(c != 0, np.nan, slope)
    return limit, np.where(np.isfinite(value) & ~(np.abs(limit - value) <= 1e-9 * size), np.nan, slope)


def one_sided(linearization: Linearization, directions: Mapping[int, Array]) -> list[tuple[Array, Array]]:
    """Return the limits and the slopes of each dependent variable on one side of the point; NaN if unknown."""
    block = len(next(iter(directions.values())))

    def path(bend: float) -> list[tuple[Array, Array]]:
        ends = zip(expand_lines(linearization, directions, bend), linearization.values, strict=True)
        return [slope_of(y, block, value) for y, value in ends]

    straight = path(0.0)
    if not any(np.any(np.isnan(limit)) for limit, _ in straight):
        return straight
    result = []
    for (limit, slope), *bent in zip(straight, path(1.0), path(-1.0), strict=True):
        limits, slopes = (_agreed(one, other) for one, other in zip(*bent, strict=True))
        unknown = np.isnan(limit)
        result.append((np.where(unknown, limits, limit), np.where(unknown, slopes, slope)))
    return result


def _agreed(a: Array, b: Array) -> Array:
    """Return what two ways lead to: NaN where they disagree; where one leads nowhere, what the other does."""
    return np.where(np.isnan(b), a, np.where(np.isnan(a) | np.isclose(a, b, rtol=1e-9, atol=1e-12), b, np.nan))


def two_sided(linearization: Linearization, directions: Mapping[int, Array]) -> tuple[list[Array], Array]:
    """Return the derivatives along each of a block of directions, from both sides, and where they jump.

    Where a function ends, the derivative is that of the side on which it is defined.
    """
    sides = [one_sided(linearization, {k: sign * d for k, d in directions.items()}) for sign in (1.0, -1.0)]
    result = []
    jumps = np.zeros(len(next(iter(directions.values()))), bool)
    for (at, a), (its, b) in zip(*sides, strict=True):
        b = -b
        smooth = np.isclose(a, b, rtol=1e-9, atol=1e-12)
        kinks = np.isfinite(a) & np.isfinite(b) & ~smooth
        jumps |= kinks.any(axis=tuple(range(1, kinks.ndim)))
        both = np.where(smooth, a, (a + b) / 2)
        both = np.where(np.isclose(at, its, rtol=1e-9, atol=1e-12), both, np.nan)
        result.append(np.where(np.isnan(its), a, np.where(np.isnan(at), b, both)))
    return result, jumps


def slopes(linearization: Linearization, directions: Mapping[int, Array]) -> Iterator[tuple[list[Array], bool]]:
    """Yield for each of a block of directions the derivatives along it, and whether they jump.

    All are expanded at once; if that fails, as one of them has no expansion, each by itself until `PATIENCE` have none.
    """
    ends, jumps = two_sided(linearization, directions)
    block, failures = len(jumps), 0
    retried = block > 1 and all(np.isnan(end).all() for end in ends)
    for k in range(block):
        one, jump = [end[k] for end in ends], bool(jumps[k])
        if retried and failures < PATIENCE:
            alone, its_jump = two_sided(linearization, {position: d[k : k + 1] for position, d in directions.items()})
            one, jump = [end[0] for end in alone], bool(its_jump[0])
            failures += all(np.isnan(end).all() for end in one)
        yield one, jump


def find_limits(
    linearization: Linearization, seeds: Mapping[int, Array], batch: int, back: bool, swept: list[Any]
) -> tuple[list[Any], bool]:
    """Replace NaN in a sweep's results by limits where they exist.

    An infinity stays: the chain rule has added up infinite partials, and a comparison made at the point may be another
    one beside it.
    Returns the results and whether all is well: every derivative finite, and none the middle of a jump.
    """
    if linearization.with_complex or any(row[0].multiple for row in linearization.rows):
        return swept, False
    with np.errstate(all="ignore"):
        try:
            return (_of_adjoints if back else _of_tangents)(linearization, seeds, batch, list(swept))
        except NoExpansionError:
            return swept, False


def _of_adjoints(
    linearization: Linearization, seeds: Mapping[int, Array], batch: int, swept: list[Any]
) -> tuple[list[Any], bool]:
    missing = {}
    for position, bar in enumerate(swept):
        if bar is not None:
            bad = ~np.isfinite(bar)
            missing[position] = np.argwhere(bad.any(axis=0) if batch else bad).tolist()
    _demand_few(sum(map(len, missing.values())), linearization)
    well = True
    for position, indices in missing.items():
        if not indices:
            continue
        units = np.zeros((len(indices), *np.shape(linearization.inputs[position])))
        for k, index in enumerate(indices):
            units[(k, *index)] = 1.0
        bar = np.array(swept[position])
        for index, (ends, jumps) in zip(indices, slopes(linearization, {position: units}), strict=True):
            total: Any = 0.0
            for out, slope in dict(zip(linearization.outputs, ends, strict=True)).items():
                if out in seeds:
                    parts = np.where(seeds[out] != 0, seeds[out] * slope, 0.0)
                    total = total + parts.sum(axis=tuple(range(batch, parts.ndim)))
            at: Any = (*[slice(None)] * batch, *index)
            bar[at] = np.where(np.isnan(bar[at]) & np.isfinite(total), total, bar[at])
            well = well and not jumps and bool(np.all(np.isfinite(bar[at])))
        swept[position] = bar[()]
    return swept, well


def _of_tangents(
    linearization: Linearization, seeds: Mapping[int, Array], batch: int, swept: list[Any]
) -> tuple[list[Any], bool]:
    dots = {k: np.array(swept[k]) for k in linearization.outputs if k >= 0 and swept[k] is not None}
    bad = [~np.isfinite(dot) for dot in dots.values()]
    rows = list(dict.fromkeys(tuple(i) for b in bad for i in np.argwhere(b.any(axis=tuple(range(batch, b.ndim))))))
    _demand_few(len(rows), linearization)
    directions = {k: np.stack([np.asarray(seed)[row] for row in rows]) for k, seed in seeds.items()}
    well = True
    for row, (ends, jumps) in zip(rows, slopes(linearization, directions), strict=True):
        well = well and not jumps
        for out, slope in zip(linearization.outputs, ends, strict=True):
            if out in dots:
                dot = dots[out]
                dot[row] = np.where(np.isnan(dot[row]) & np.isfinite(slope), slope, dot[row])
    for out, dot in dots.items():
        swept[out] = dot[()]
    return swept, well and all(bool(np.isfinite(dot).all()) for dot in dots.values())


def _demand_few(count: int, linearization: Linearization) -> None:
    """Raise NoExpansionError if limits are missing for too many coordinates."""
    if count * sum(max(np.size(row[2][0]), PER_LINE) for row in linearization.rows) > MOST:
        raise NoExpansionError
