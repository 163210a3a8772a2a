"""Schedules: which states of a chain of steps to keep, so that its reverse sweep fits into bounded memory.

A chain of T steps goes through the states 0 .. T: step t starts from state t and makes state t + 1.  Its reverse sweep
takes the steps backwards, and needs the residuals of each.  Keeping all of them takes memory in proportion to T.  A
schedule keeps a few states instead, as *snapshots*, and runs the steps between them again when they are needed::

    schedule ::= Store forward reverse (Restore forward reverse)*   of one step: reverse
    forward  ::= (Advance Store)* Advance?                          up to the last state whose step is not reversed
    reverse  ::= Discard? Reverse                                   that step; its state is not needed any more

    Store(state)          keep the current state as a snapshot
    Advance(start, stop)  run the steps start .. stop - 1; state stop becomes the current one
    Restore(state)        make a snapshot the current state (the snapshot stays)
    Discard(state)        free a snapshot
    Reverse(step)         run a step from the current state, keep its residuals, and reverse it at once

What a schedule does before its first `Reverse` is the *first sweep*, the rest is the *reversal*.

**What is counted.**  State 0 is the input and is one of the s snapshots.  Beside these an executor holds the current
state, and the state or the residuals computed from it.  The results of a chain are needed before any adjoint is known,
so the first sweep over a chain runs all T steps, including the last; state T - 1 then stays current, and the reversal
begins from it.  `evaluations` counts all steps that are run without keeping residuals, in the first sweep and again.
Every schedule adds the T runs of `Reverse`, one for each step.  (The literature runs the last step only once, with its
residuals: one evaluation less.)

**The theorem.**  With s snapshots, and no step run forward more than t times, at most C(s + t, s) steps can be reversed
(`reach`).  If s and t grow together, memory and time both grow with the logarithm of T.

Sources: Griewank & Walther (2000), "Algorithm 799: revolve"; Griewank & Walther (2008), *Evaluating Derivatives*,
chapter 12.  Where T is not known in advance: Wang, Moin & Iaccarino (2009), "Minimal repetition dynamic checkpointing
algorithm for unsteady adjoint calculation"; see also Stumm & Walther (2010), "New algorithms for optimal online
checkpointing".

An executor is a loop over actions.  Here the state is a number, a step is the sine, and the adjoint is its derivative:

>>> from math import cos, sin
>>> def derivative(x, steps, snapshots):
...     keep, kept = set(first_sweep(steps, snapshots)), {}
...     for t in range(steps):
...         current = x  # in the end: state steps - 1
...         if t in keep:
...             kept[t] = current
...         x = sin(current)
...     x_bar = 1.0  # known only now
...     for action in reversal(steps, snapshots):
...         match action:
...             case Advance(start, stop):
...                 for _ in range(start, stop):
...                     current = sin(current)
...             case Store(state):
...                 kept[state] = current
...             case Restore(state):
...                 current = kept[state]
...             case Discard(state):
...                 del kept[state]
...             case Reverse():
...                 x_bar *= cos(current)
...     return x_bar
>>> abs(derivative(0.5, 100, snapshots=4) - derivative(0.5, 100, snapshots=100)) < 1e-15
True
>>> evaluations(100, snapshots=4), evaluations(100, snapshots=100), repeats(100, snapshots=4)
(375, 100, 5)
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from dataclasses import dataclass

from wengert.errors import ArgumentError

# ---- Actions ----


@dataclass(frozen=True, slots=True)
class Advance:
    """Run the steps start .. stop - 1 and keep no residuals; the current state goes from `start` to `stop`."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Store:
    """Keep the current state as a snapshot."""

    state: int


@dataclass(frozen=True, slots=True)
class Restore:
    """Make a snapshot the current state; it stays a snapshot."""

    state: int


@dataclass(frozen=True, slots=True)
class Discard:
    """Free a snapshot.  (The current state may be the same one; it stays current.)"""

    state: int


@dataclass(frozen=True, slots=True)
class Reverse:
    """Run a step from the current state, keep its residuals, and reverse it at once."""

    step: int


Action = Advance | Store | Restore | Discard | Reverse
"""An instruction to the executor.  Not a tuple, which would compare equal across kinds: ``Store(3) != Restore(3)``."""


# ---- The theorem ----


def reach(snapshots: int, repeats: int) -> int:
    """Return how many steps can be reversed if none is run forward more than `repeats` times: C(s + t, s).

    This is the recursion of Pascal's triangle: before the second snapshot lie the ``reach(s, t - 1)`` steps that are
    reversed last, with all s snapshots and one run already spent; after it lie ``reach(s - 1, t)`` more.

    >>> [[reach(s, t) for t in range(1, 6)] for s in (1, 2, 3)]
    [[2, 3, 4, 5, 6], [3, 6, 10, 15, 21], [4, 10, 20, 35, 56]]
    """
    return math.comb(snapshots + repeats, snapshots)


def repeats(steps: int, snapshots: int) -> int:
    """Return the least t with ``reach(snapshots, t) >= steps``: the most often that a step is run forward.

    When a step is reversed it is run once more, with its residuals, which is not counted.  (For a chain of one step the
    number is 0, as in the literature, although that step is run for its result.)

    >>> [repeats(steps, 3) for steps in (1, 2, 4, 5, 10, 11, 20, 10**6)]
    [0, 1, 1, 2, 2, 3, 3, 180]
    """
    steps, snapshots = _checked(steps, snapshots)
    return _repeats(steps, snapshots)


def _repeats(steps: int, snapshots: int) -> int:
    if steps <= snapshots + 1:
        return int(steps > 1)
    if snapshots == 1:
        return steps - 1
    low, high = 1, 2  # reach(low) < steps, and high doubles until it is enough
    while reach(snapshots, high) < steps:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if reach(snapshots, middle) < steps:
            low = middle
        else:
            high = middle
    return high


def evaluations(steps: int, snapshots: int) -> int:
    """Return the least number of steps that are run forward, the first sweep included: t T - C(s + t, t - 1) + 1.

    Griewank & Walther (2000), with t the `repeats`, and one more for the last step (see the top of this module).  No
    schedule with as many snapshots runs fewer; `first_sweep` and `reversal` together run exactly as many.

    >>> [evaluations(10, s) for s in (1, 2, 3, 4, 9)]
    [46, 21, 16, 15, 10]
    """
    steps, snapshots = _checked(steps, snapshots)
    t = _repeats(steps, snapshots)
    if t == 0:
        return steps
    return t * steps - math.comb(snapshots + t, t - 1) + 1


# ---- Known number of steps ----


def first_sweep(steps: int, snapshots: int) -> tuple[int, ...]:
    """Return the states to keep while the chain is run for its results, in the order in which they are reached.

    State steps - 1 stays the current one and is not among them.  As many snapshots as steps keep every other state,
    and nothing is run again.

    >>> first_sweep(10, 3), first_sweep(10, 1), first_sweep(5, 5), first_sweep(1, 5)
    ((0, 4, 7), (0,), (0, 1, 2, 3), ())
    """
    steps, snapshots = _checked(steps, snapshots)
    return (0, *_places(0, steps, snapshots)) if steps > 1 else ()


def reversal(steps: int, snapshots: int) -> Iterator[Action]:
    """Yield the actions that reverse a chain after its first sweep, from the snapshots and state steps - 1.

    >>> list(reversal(3, 2))
    [Reverse(step=2), Restore(state=1), Discard(state=1), Reverse(step=1), Restore(state=0), Discard(state=0), \
Reverse(step=0)]
    """
    steps, snapshots = _checked(steps, snapshots)
    return _backward(list(first_sweep(steps, snapshots)), 0, steps, snapshots)


def binomial(steps: int, snapshots: int, start: int = 0) -> Iterator[Action]:
    """Yield an optimal schedule of both sweeps over steps start .. start + steps - 1, from the current state `start`.

    The adjoint of the last state must be known beforehand, as for a part of a longer chain.  So the last step is not
    run for its results, and the schedule advances one step fewer than `evaluations` counts.

    >>> list(binomial(2, 1, start=5))
    [Store(state=5), Advance(start=5, stop=6), Reverse(step=6), Restore(state=5), Discard(state=5), Reverse(step=5)]
    """
    steps, snapshots = _checked(steps, snapshots)
    return _binomial(operator.index(start), steps, snapshots)


def _binomial(start: int, steps: int, snapshots: int) -> Iterator[Action]:
    kept, stop = [], start + steps
    if steps > 1:
        yield Store(start)
        kept.append(start)
        yield from _forward(kept, stop, snapshots)
    yield from _backward(kept, start, stop, snapshots)


def _forward(kept: list[int], stop: int, snapshots: int) -> Iterator[Action]:
    """Advance from the last snapshot, which is current, to state stop - 1; store snapshots while some are free."""
    current = kept[-1]
    for state in _places(current, stop, snapshots - len(kept) + 1):
        yield Advance(current, state)
        yield Store(state)
        kept.append(state)
        current = state
    if current < stop - 1:
        yield Advance(current, stop - 1)


def _backward(kept: list[int], start: int, stop: int, snapshots: int) -> Iterator[Action]:
    """Reverse the steps stop - 1 .. start; state stop - 1 is current.

    `kept` is the stack of the snapshots that are held, and the only memory: the steps between the last one and `stop`
    are a chain of their own, which uses that snapshot and the free ones.
    """
    while stop > start:
        stop -= 1
        if kept and kept[-1] == stop:
            yield Discard(kept.pop())
        yield Reverse(stop)
        if kept:
            yield Restore(kept[-1])
            yield from _forward(kept, stop, snapshots)


def _places(start: int, stop: int, snapshots: int) -> Iterator[int]:
    """Yield the states after `start` to store; `start` itself is the first of the snapshots."""
    while snapshots > 1:
        start += _stretch(stop - start, snapshots)
        if start >= stop - 1:
            return  # the last state is reversed from at once: nothing is gained by keeping it
        yield start
        snapshots -= 1


def _stretch(steps: int, snapshots: int) -> int:
    """Return the distance to the next snapshot: the largest that is optimal.

    A stretch of m steps is optimal where both parts lie between the same two columns of the triangle,
    ``reach(s, t - 2) <= m <= reach(s, t - 1)`` and ``reach(s - 1, t - 1) <= steps - m <= reach(s - 1, t)``.
    """
    t = _repeats(steps, snapshots)
    if t <= 1:
        return 1
    return min(reach(snapshots, t - 1), steps - reach(snapshots - 1, t - 1))


# ---- Unknown number of steps ----


class Online:
    """Snapshots of a chain of unknown length: at any moment a good choice for the steps made so far.

    The algorithm of Wang, Moin & Iaccarino (2009).  Every snapshot has a *level*, and is spare as soon as a later one
    has a higher level: the later one then replaces both.  A state takes a free place or that of a spare snapshot, at
    level 0.  If there is neither, the state is not stored, and the next one gets a level higher by one, which makes
    others spare.  (The paper keeps the current state among its snapshots.  Here it is held anyway, so a state is stored
    only when it is certain to stay.)

    Whenever the chain ends, no step is run forward more often than `repeats` says of the best schedule that knew the
    end beforehand: minimal repetition is what the paper proves.  So at most ``(1 + 1/s) t / (t - 1)`` times as many
    steps are run as the best would run.  In experiments it is 1.05 times on the average, and up to 1.5 just after t has
    risen to 3, where places are taken from snapshots that the best schedule would still use.

    >>> online = Online(3)
    >>> [online.step(t) for t in range(6)]
    [(Store(state=0),), (Store(state=1),), (Store(state=2),), (), (Discard(state=2), Store(state=4)), \
(Discard(state=1), Store(state=5))]
    >>> online.held
    (0, 4, 5)
    >>> sum(isinstance(action, Reverse) for action in online.reversal(6))
    6
    """

    __slots__ = ("_kept", "_level", "_levels", "_spare", "_steps", "snapshots")

    def __init__(self, snapshots: int) -> None:
        self.snapshots = _checked(0, snapshots)[1]
        self._steps = 0
        self._level = math.inf  # of the state that comes next: state 0 is never spare
        self._kept: list[int] = []  # the snapshots that are not spare; their levels never rise
        self._levels: list[float] = []
        self._spare: list[int] = []  # filled only when it is empty, so in order; the latest goes first

    @property
    def held(self) -> tuple[int, ...]:
        """The states that are snapshots now, in order."""
        return tuple(sorted(self._kept + self._spare))

    def step(self, t: int) -> tuple[Action, ...]:
        """Return the actions for state t, which is current, before step t runs: whether to store it, in whose place."""
        if t != self._steps:
            raise ArgumentError.at_caller(
                f"an online schedule was told of step {t} after {self._steps} steps:",
                f"Call step({self._steps}) next; each chain needs an Online of its own.",
            )
        self._steps = t + 1
        actions: tuple[Action, ...]
        if len(self._kept) + len(self._spare) < self.snapshots:
            actions = (Store(t),)
        elif self._spare:
            actions = (Discard(self._spare.pop()), Store(t))
        else:
            self._level += 1
            first = len(self._kept)
            while self._levels[first - 1] < self._level:
                first -= 1
            self._spare = self._kept[first:]
            del self._kept[first:], self._levels[first:]
            return ()
        self._kept.append(t)
        self._levels.append(self._level)
        self._level = 0
        return actions

    def reversal(self, steps: int) -> Iterator[Action]:
        """Yield the actions that reverse the chain, now that it has ended; state steps - 1 is current.

        Between the snapshots the schedules are optimal.  Every call starts from the snapshots that are `held` now.
        """
        if steps != self._steps:
            raise ArgumentError.at_caller(
                f"an online schedule that was told of {self._steps} steps is to reverse {steps}:",
                "Call step(t) before each step of the chain.",
            )
        return _backward(list(self.held), 0, steps, self.snapshots)


# ---- Memory ----


def snapshots_within(budget_bytes: int, state_bytes: int, step_bytes: int = 0, steps: int | None = None) -> int:
    """Return how many snapshots fit into a budget of bytes; no more than `steps`, if that is known.

    Beside the snapshots an executor holds the current state, and either the next state or `step_bytes`: the bytes that
    the reversal of one step needs (its residuals, and adjoints if they are to count).

    >>> snapshots_within(10_000, state_bytes=800, step_bytes=2_000), snapshots_within(10_000, 800, steps=6)
    (9, 6)
    """
    fixed = state_bytes + max(state_bytes, step_bytes)
    if budget_bytes < fixed + state_bytes:
        raise ArgumentError.at_caller(
            f"a memory budget of {budget_bytes:,} bytes is too small for any schedule: one snapshot and the "
            f"current state of {state_bytes:,} bytes each, and {fixed - state_bytes:,} for a step, do not fit:",
            f"Give {fixed + state_bytes:,} bytes or more.",
        )
    fit = (budget_bytes - fixed) // max(state_bytes, 1)  # a state without elements takes nothing
    return max(fit if steps is None else min(fit, steps), 1)


def _checked(steps: int, snapshots: int) -> tuple[int, int]:
    """Return both as plain integers; raise ArgumentError for fewer than 0 steps or 1 snapshot."""
    try:
        steps, snapshots = operator.index(steps), operator.index(snapshots)
    except TypeError:
        raise ArgumentError.at_caller(
            f"a schedule for {steps!r} steps with {snapshots!r} snapshots: both are counts:", "Give whole numbers."
        ) from None
    if steps < 0 or snapshots < 1:
        raise ArgumentError.at_caller(
            f"a schedule for {steps} steps with {snapshots} snapshots cannot be:",
            "Give one snapshot or more (state 0 is one of them), and no fewer than 0 steps.",
        )
    return steps, snapshots
