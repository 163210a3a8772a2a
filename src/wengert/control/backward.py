"""Source: a loop as Python statements, and the reverse sweep over it.

The bodies are functions that stand before these statements (see `Program.source`)::

    for s in range(5):
        u_3, u_4[s] = step(u_3, u_0[s])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from wengert.control.higher_order import Mask
from wengert.program import as_identifier, write_tuple

if TYPE_CHECKING:
    from wengert.control.loop import Loop


def write_loop(loop: Loop, names: Sequence[str], args: Sequence[str], left: Sequence[str]) -> list[str]:
    """Write a loop as statements: the names of tests and steps as functions, of operands and results are given."""
    tests = len(loop.tests or ())
    consts, carry, xs = loop.split(args)
    code, slices = _hoisted(xs, "xs")
    state, ys = left[: loop.carried], left[loop.carried :]
    if state:
        code.append(f"{', '.join(state)} = {', '.join(carry)}")
    for y, result in zip(ys, loop.bodies[0].program.results[loop.carried :], strict=True):
        code.append(f"{y} = np.empty({(loop.length, *result.shape)}, np.{result.dtype.name})")
    targets = ", ".join([*state, *(f"{y}[s]" for y in ys)])
    step = _call(loop, names[tests:], state, slices, consts)
    return [*code, *_walk(loop, names[:tests], [*state, *consts], bool(slices), [f"{targets} = {step}"])]


def _call(loop: Loop, steps: Sequence[str], state: Sequence[str], xs: Sequence[str], more: Sequence[str]) -> str:
    """Write a call of the step whose branch is taken."""
    number = [] if loop.counter is None else ["np.int64(s)" if not loop.counter.start else
                                              f"np.int64(s + {loop.counter.start})"]  # fmt: skip
    given = ", ".join([*state, *number, *(f"{x}[s]" for x in xs), *more])
    if len(steps) == 1:
        return f"{steps[0]}({given})"
    if loop.which is not None:
        return f"({', '.join(steps)})[which[s]]({given})"
    return f"first_that_holds(({', '.join(steps)}), {given})"


def _walk(loop: Loop, tests: Sequence[str], given: Sequence[str], numbered: bool, block: Sequence[str]) -> list[str]:
    """Write the loop around what is done in a step."""
    block = [f"    {text}" for text in block]
    taken = [] if loop.which is None else list(loop.which)
    which = [f"which = {tuple(taken[::-1] if loop.reversed else taken)}"] if taken else []
    if loop.tests is None:
        steps = f"range({loop.length})"
        return [*which, f"for s in {f'reversed({steps})' if loop.reversed else steps}:", *block]
    values = ", ".join(given if loop.test_takes is None else [given[k] for k in loop.test_takes])
    test = f"{tests[0]}({values})" if len(tests) == 1 else f"first_that_holds(({', '.join(tests)}), {values})"
    if numbered:
        return [*which, "s = 0", f"while {test}:", *block, "    s += 1"]
    return [*which, f"while {test}:", *block]


def write_backward(
    loop: Loop,
    names: Sequence[str],
    args: Sequence[str],
    bars: Sequence[str | None],
    left: Sequence[str],
    masks: tuple[Mask, Mask, Mask],
) -> list[str]:
    """Write the reverse sweep over a loop: the steps, whose states are kept, and the reversed steps backwards.

    `masks` say which results of a step have adjoints, which arguments get some, and which operands' are wanted.
    """
    has, gets, wanted = masks
    tests, steps = len(loop.tests or ()), len(loop.bodies)
    forward, backward = names[tests : tests + steps], names[tests + steps :]
    consts, carry, xs = loop.split(args)
    code, slices = _hoisted(xs, "xs")
    more, ys_bars = _hoisted([g or "" for g in bars[loop.carried :]], "ys_bar")
    arguments = loop.bodies[0].program.arguments
    named = [as_identifier(a.name) or f"x_{k}" for k, a in enumerate(arguments)]
    bar_of = [f"{name}_bar" for name in named]
    taken = {"s", "np", "states", "which", *names}
    state = [f"{name}_now" if name in taken or name.startswith("u_") else name for name in named[: loop.carried]]
    # forward: the states before each step
    code += more
    if state:
        code.append("states = []")
        code.append(f"{', '.join(state)} = {', '.join(carry)}")
    step = _call(loop, forward, state, slices, consts)
    count = len(loop.bodies[0].program.results)
    targets = ", ".join([*state, *(["*_"] if count > loop.carried else [])])
    if state:
        block = [f"states.append(({write_tuple(state)}))", f"{targets} = {step}"]
        code += _walk(loop, names[:tests], [*state, *consts], bool(slices), block)
    # and backward
    first = loop.carried + (loop.counter is not None)
    places = [*range(loop.carried), *range(first, first + loop.sliced + loop.consts)]
    target = dict(zip((k for k, on in zip(places, wanted, strict=True) if on), left, strict=True))
    moving = [k for k in range(loop.carried) if has[k]]
    for k in moving:
        code.append(f"{bar_of[k]} = {bars[k] or _zeros(arguments[k])}")
    for k, name in target.items():
        if first <= k < first + loop.sliced:
            code.append(f"{name} = np.zeros_like({slices[k - first]})")
        elif k >= first or not has[k]:
            code.append(f"{name} = {_zeros(arguments[k])}")
    given = [*(bar_of[k] for k in moving)]
    given += [f"{name}[s]" for name, on in zip(ys_bars, has[loop.carried :], strict=True) if on]
    call = _call(loop, backward, ["*states.pop()"] if state else [], slices, [*consts, *given])
    received: list[str] = []
    sums: list[str] = []
    for k, on in enumerate(gets):
        if not on:
            continue
        if k < loop.carried:
            received.append(bar_of[k])
        elif k in target and k < first + loop.sliced:
            received.append(f"{target[k]}[s]")
        elif k in target:
            received.append(bar_of[k])
            sums.append(f"{target[k]} = {target[k]} + {bar_of[k]}")
        else:
            received.append("_")
    block = [f"{', '.join(received)} = {call}", *sums] if received else []
    block += [f"{bar_of[k]} = {_zeros(arguments[k])}" for k in moving if not gets[k]]
    steps_made = "range(len(states))" if loop.tests is not None else f"range({loop.length})"
    if block:
        code.append(f"for s in {steps_made if loop.reversed else f'reversed({steps_made})'}:")
    code += [f"    {text}" for text in block]
    code += [f"{name} = {bar_of[k]}" for k, name in target.items() if k < loop.carried and has[k]]
    return code


def _zeros(argument: Any) -> str:
    return f"np.zeros({argument.shape}, np.{argument.dtype.name})[()]"


def _hoisted(args: Sequence[str], name: str) -> tuple[list[str], list[str]]:
    """Give constants that are read at every step a name; return the statements for it, and the arguments."""
    code, names = [], []
    for k, text in enumerate(args, 1):
        if text and not text.isidentifier():
            code.append(f"{name}_{k} = {text}")
            text = f"{name}_{k}"
        names.append(text)
    return code, names
