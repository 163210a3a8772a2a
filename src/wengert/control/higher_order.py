"""Lines that hold Programs: how they are run and differentiated, and how their derivatives are such lines too.

On plain values, a line that holds H (a loop, a branch, a checkpoint) runs, and carries tangents and adjoints, by a run
of H (`wengert.control.execution`).  On traced values a derivative is a line again, and two are enough for every order:

- the *tangent* H' computes ``(f(x), J x_dot)`` from ``(x, x_dot)``: the same loop with tangents beside the values;
- the *reverse* H* computes ``J^T y_bar`` from ``(x, y_bar)``: the loop, and then its reverse sweep.

H* needs no derivative rule of its own.  With ``g(x, x_dot) = (f(x), J x_dot)``, the function of H', whatever H is:

- the tangent of ``J^T y_bar`` is the adjoint of `x` under `g`, pulled back from ``(y_bar_dot, y_bar)``;
- its adjoint for a weight `w` is ``J w`` for `y_bar`; for `x`, the adjoint of it under `g` at ``(x, w)``, pulled back
  from ``(0, y_bar)``.

So forward over reverse, reverse over reverse and all that follows are H' and H* of H', with the same checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from wengert.accumulation.sparsity import Reach
from wengert.control.backward import ReverseOf, Tangent, beside, tangent_of
from wengert.control.bodies import Body
from wengert.control.branch import Branches
from wengert.control.dependence import carry
from wengert.control.execution import ReverseRun, Run, one_by_one, run_of
from wengert.control.holding import Holding, Mask, Values
from wengert.control.instructions import Instructions
from wengert.control.nested import Masks, forward_pass_of
from wengert.program import Line, Primitive, Recordable, as_value
from wengert.tracing import Row, innermost, record_results, settled


class HigherOrder(Primitive):
    """The primitive of lines that hold Programs.

    The row of a line that is to be swept has a parameter more, ``run``: the run that computed it, which has what the
    sweeps read.
    """

    __slots__ = ()

    def __init__(self, name: str) -> None:
        super().__init__(
            name,
            lambda *operands, held: run_of(held, operands).evaluate(),
            (lambda _k, y, *operands, held: None,),
            elementwise=False,
            variadic=True,
            multiple=True,
            jvp=_jvp,
            vjp=_vjp,
            source=lambda args, params: f"{name}({', '.join(args)}; {params['held'].heading()})",
            counts=lambda _y, *_operands, held, run=None: held.cost(),
            home=(primitive_named, name),
        )

    def __call__(self, *operands: Any, held: Holding) -> Any:
        return call(held, operands)

    def linearize(self, operands: Values, active: Mask, held: Holding) -> tuple[Values, Mapping[str, Any]]:
        """Compute the results, and return with them the parameters of a row that is to be swept."""
        run = run_of(held, operands)
        return run.evaluate(active), {"held": held, "run": run}

    def carry(self, row: Row, operands: Sequence[Reach], width: int, local: bool) -> list[Reach]:
        """Return on what the results of a row may depend; see `wengert.accumulation.sparsity`."""
        return carry(row, operands, width, local)

    def forward_pass(self, line: Line, active: Mask) -> Line | None:
        """Return the line that also keeps what sweeps over `active` operands read; None if there is none."""
        return forward_pass_of(line, active)


_primitives: dict[str, HigherOrder] = {}


def primitive_named(name: str) -> HigherOrder:
    """Return the primitive of lines of a kind: ``scan``, ``cond``."""
    if name not in _primitives:
        _primitives[name] = HigherOrder(name)
    return _primitives[name]


def line_of(held: Holding, inputs: Sequence[Any], outputs: Sequence[Any], place: Any) -> Line:
    """Return the line of a Program that holds something."""
    return Line(primitive_named(held.name), tuple(inputs), tuple(outputs), {"held": held}, place)


def is_traced(values: Sequence[Any]) -> bool:
    """Return whether any of some values is traced."""
    return any(isinstance(v, Recordable) for v in values)


def call(held: Holding, operands: Sequence[Any], inner: Run | None = None) -> Values:
    """Run what a line holds, and write the line where operands are traced.

    Of a `ReverseOf`, `inner` is the run of the line that it reverses, if there was one on these operands.
    """
    operands = [settled(x) for x in operands]
    plain = tuple([innermost(x) for x in operands])
    run = ReverseRun(held, plain, inner) if isinstance(held, ReverseOf) else run_of(held, plain)
    return write(run, held, operands, run.evaluate())


def write(run: Run, held: Holding, operands: Sequence[Any], results: Sequence[Any]) -> Values:
    """Write the line of a run that was made, where operands are traced; return its results, traced like these."""
    return record_results(primitive_named(held.name), operands, {"held": held}, results, {"run": run})


# ---- Derivatives ----


def _jvp(
    tangents: Sequence[Any], operands: Sequence[Any], batch: int, held: Holding, run: Run | None = None,
    masks: Masks | None = None,
) -> Any:  # fmt: skip
    """Carry tangents through a line: by its run, or by the line of its tangent.

    With masks, where anything contributes to them, it is done carefully, and masks are returned with the tangents.
    """
    if isinstance(held, ReverseOf):
        dots = _jvp_of_reverse(tangents, operands, batch, held, masks is not None)
        return dots if masks is None else (dots, [None] * len(dots))
    if not is_traced([*tangents, *operands]):
        run = run or run_of(held, operands)
        return run.jvp(tangents, batch) if masks is None else run.carefully(tangents, masks, batch)
    if batch and isinstance(held, Instructions):
        return one_by_one(lambda *one: _jvp(one, operands, 0, held, run), tangents)
    size = next(t for t in tangents if t is not None).shape[0] if batch else None
    active = tuple(t is not None for t in tangents)
    tangent = _tangent_of(held, operands, active, size)
    line: Any = replace(tangent.held, origin=(held, active, tangent.operands))  # type: ignore[type-var]
    return tangent.tangents(call(line, tangent.join(operands, tangents)))


def _vjp(
    bars: Sequence[Any], operands: Sequence[Any], batch: int, wanted: Sequence[bool], held: Holding,
    run: Run | None = None, masks: Masks | None = None,
) -> Any:  # fmt: skip
    """Carry adjoints back through a line: by its run, or by the line of its reverse; with masks, as `_jvp`."""
    asked = tuple(on and x.dtype.kind in "fc" for on, x in zip(wanted, map(as_value, operands), strict=True))
    nothing: list[Any] = [None] * len(operands)
    if not any(asked):
        return nothing if masks is None else (nothing, nothing)
    if isinstance(held, ReverseOf):
        adjoints = _vjp_of_reverse(bars, operands, batch, asked, held, masks is not None)
        return adjoints if masks is None else (adjoints, nothing)
    if not is_traced([*bars, *operands]):
        run = run or run_of(held, operands)
        return run.vjp(bars, batch, asked) if masks is None else run.carefully(bars, masks, batch, asked)
    if batch:
        return one_by_one(lambda *one: _vjp(one, operands, 0, wanted, held, run), bars)
    reverse = ReverseOf(held, tuple(g is not None for g in bars), asked)
    back = iter(call(reverse, [*operands, *(g for g in bars if g is not None)], run))
    return [next(back) if on else None for on in asked]


def _tangent_of(held: Holding, operands: Sequence[Any], active: Mask, size: int | None) -> Tangent:
    """Return the line that carries tangents: of instructions more of them, or else their lines one by one."""
    if isinstance(held, Instructions):
        tangents = held.tangent(active)
        if tangents is not None:
            count = len(held.results)
            return Tangent(
                tangents, tuple(beside(0, len(active), active)), tuple(beside(0, count, [True] * count)), size
            )
        body = Body(held.unfolded(), [innermost(x) for x in operands])
        held = Branches(held.name, (body,), ("inside",), True, 0)
    return tangent_of(held, active, size)


def _jvp_of_reverse(
    tangents: Sequence[Any], operands: Sequence[Any], batch: int, held: ReverseOf, careful: bool = False
) -> list[Any]:
    """Carry tangents through a reverse sweep, on plain or traced values: by the reverse sweep over the tangent."""
    if batch:
        return one_by_one(lambda *one: _jvp_of_reverse(one, operands, 0, held, careful), tangents)
    xs, bars = held.split(operands)
    x_dots, bar_dots = held.split(tangents)
    if all(t is None for t in x_dots):  # it is linear in the adjoints
        adjoints = _back(bar_dots, xs, held.wanted, held.inner, careful)
    else:
        tangent = _tangent_of(held.inner, xs, tuple(t is not None for t in x_dots), None)
        seeds = _seeds_of_tangents(tangent, bars)
        seeds.update((tangent.value(k), bar_dot) for k, bar_dot in enumerate(bar_dots) if bar_dot is not None)
        adjoints = _back_through(tangent, xs, x_dots, seeds, careful)
    return [g for g, on in zip(adjoints, held.wanted, strict=True) if on]


def _vjp_of_reverse(
    bars: Sequence[Any], operands: Sequence[Any], batch: int, wanted: Mask, held: ReverseOf, careful: bool = False
) -> list[Any]:
    """Carry adjoints back through a reverse sweep, on plain or traced values: by the tangent, and its reverse sweep."""
    if batch:
        return one_by_one(lambda *one: _vjp_of_reverse(one, operands, 0, wanted, held, careful), bars)
    xs, y_bars = held.split(operands)
    weights = iter(bars)
    x_dots = [next(weights) if on else None for on in held.wanted]
    tangent = _tangent_of(held.inner, xs, tuple(t is not None for t in x_dots), None)
    of_xs, of_bars = held.split(wanted)
    adjoints: list[Any] = [None] * len(xs)
    if any(of_xs):
        back = _back_through(tangent, xs, x_dots, _seeds_of_tangents(tangent, y_bars), careful)
        adjoints = [g if on else None for g, on in zip(back, of_xs, strict=True)]
    dots: list[Any] = [None] * len(y_bars)
    if any(of_bars):
        dots = tangent.tangents(call(tangent.held, tangent.join(xs, x_dots)))
    return adjoints + [t if on else None for t, on, has in zip(dots, of_bars, held.seeded, strict=True) if has]


def _seeds_of_tangents(tangent: Tangent, bars: Sequence[Any]) -> dict[int, Any]:
    """Return adjoints of a line's results as those of the tangents of these, by their places."""
    places = [(tangent.tangent(k), bar) for k, bar in enumerate(bars)]
    return {place: bar for place, bar in places if place is not None and bar is not None}


def _back(
    bars: Sequence[Any], operands: Sequence[Any], wanted: Sequence[bool], held: Holding, careful: bool
) -> list[Any]:
    """Carry adjoints back through a line, carefully on request."""
    if not careful:
        return _vjp(bars, operands, 0, wanted, held)  # type: ignore[no-any-return]
    return _vjp(bars, operands, 0, wanted, held, masks=[None] * len(bars))[0]  # type: ignore[no-any-return]


def _back_through(
    tangent: Tangent, xs: Sequence[Any], x_dots: Sequence[Any], seeds: dict[int, Any], careful: bool
) -> list[Any]:
    """Pull adjoints of the tangent's results, by their places, back to the operands of the line."""
    joined = tangent.join(xs, x_dots)
    bars = [seeds.get(n) for n in range(len(tangent.gives))]
    wanted = [k in tangent.operands for k in range(len(joined))]
    adjoints = _back(bars, joined, wanted, tangent.held, careful)
    return [adjoints[place] for place in tangent.operands]
