"""Schedules of snapshots: followed on a chain that only counts, and held against the theorem and a search."""

from __future__ import annotations

import functools
import heapq
import itertools
import math
import time
import tracemalloc
from collections import deque

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wengert.control.revolve import (
    Advance,
    Discard,
    Online,
    Restore,
    Reverse,
    Store,
    binomial,
    evaluations,
    first_sweep,
    reach,
    repeats,
    reversal,
    snapshots_within,
)
from wengert.errors import ArgumentError

# ---- A chain that only counts ----


class Chain:
    """An executor whose state t is the number t: it obeys, objects to what cannot be done, and counts runs of steps."""

    def __init__(self, steps, snapshots, start=0):
        self.start, self.left, self.snapshots = start, start + steps, snapshots
        self.runs = [0] * steps
        self.kept = set()
        self.current = start

    def advance(self, start, stop):
        assert self.current == start < stop, f"state {self.current} is current, not {start}"
        for t in range(start, stop):
            self.runs[t - self.start] += 1
        self.current = stop

    def follow(self, actions):
        for action in actions:
            match action:
                case Advance(start, stop):
                    self.advance(start, stop)
                case Store(state):
                    assert self.current == state, f"state {self.current} is current, not {state}"
                    assert state not in self.kept, f"state {state} is kept already"
                    self.kept.add(state)
                    assert len(self.kept) <= self.snapshots, f"{len(self.kept)} snapshots"
                case Restore(state):
                    assert state in self.kept, f"state {state} is not kept"
                    self.current = state
                case Discard(state):
                    assert state in self.kept, f"state {state} is not kept"
                    self.kept.remove(state)
                case Reverse(step):
                    assert self.current == step, f"state {self.current} is current, not {step}"
                    assert step == self.left - 1, f"step {step} is reversed before step {self.left - 1}"
                    self.left = step
                    self.current = None
        return self

    def finished(self):
        assert self.left == self.start, f"step {self.left - 1} is not reversed"
        assert not self.kept, f"snapshots are left: {self.kept}"
        return self.runs


def run_binomial(steps, snapshots, start=0):
    return Chain(steps, snapshots, start).follow(binomial(steps, snapshots, start)).finished()


def run_known(steps, snapshots):
    """Run a chain for its results first, then reverse it: what the library does with a scan."""
    chain = Chain(steps, snapshots)
    keep = first_sweep(steps, snapshots)
    for t in range(steps):
        if t in keep:
            chain.follow([Store(t)])
        if t < steps - 1:
            chain.advance(t, t + 1)
        else:
            chain.runs[t] += 1  # its outcome is a result; state t stays current
    return chain.follow(reversal(steps, snapshots)).finished()


def run_online(steps, snapshots):
    chain, online = Chain(steps, snapshots), Online(snapshots)
    for t in range(steps):
        chain.follow(online.step(t))
        assert chain.kept == set(online.held)
        assert 0 in chain.kept
        if t < steps - 1:
            chain.advance(t, t + 1)
        else:
            chain.runs[t] += 1
    return chain.follow(online.reversal(steps)).finished()


# ---- Slow and obvious definitions ----


@functools.cache
def fewest(steps, snapshots):
    """Return the fewest steps advanced: over every place for the second snapshot, both parts at their best."""
    if steps <= 1:
        return 0
    if snapshots == 0:
        return math.inf
    return min(m + fewest(m, snapshots) + fewest(steps - m, snapshots - 1) for m in range(1, steps))


@functools.cache
def fewest_repeats(steps, snapshots):
    """Return the least number of times that the step which is run forward most often is run."""
    if steps <= 1:
        return 0
    if snapshots == 0:
        return math.inf
    return min(max(1 + fewest_repeats(m, snapshots), fewest_repeats(steps - m, snapshots - 1)) for m in range(1, steps))


def search(steps, snapshots):
    """Return the fewest steps advanced over all that an executor could do at all (Dijkstra's algorithm)."""
    queue, seen, order = [(0, 0, frozenset(), 0, steps)], set(), itertools.count(1)
    while queue:
        cost, _, kept, current, left = heapq.heappop(queue)
        if left == 0:
            return cost
        if (kept, current, left) in seen:
            continue
        seen.add((kept, current, left))
        after = [(0, kept - {state}, current, left) for state in kept]
        after += [(0, kept, state, left) for state in kept]
        if current is not None:
            if len(kept) < snapshots:
                after.append((0, kept | {current}, current, left))
            if current < left - 1:
                after.append((1, kept, current + 1, left))
            if current == left - 1:
                after.append((0, kept, None, left - 1))
        for more, *rest in after:
            heapq.heappush(queue, (cost + more, next(order), *rest))
    raise AssertionError("no schedule at all")


@pytest.mark.parametrize("snapshots", [1, 2, 3, 4])
def test_no_way_of_any_kind_beats_the_formula(snapshots):
    for steps in range(1, 9):
        assert search(steps, snapshots) == fewest(steps, snapshots) == evaluations(steps, snapshots) - 1


# ---- The theorem ----


def test_reach_is_the_triangle_of_pascal():
    table = [[1, 2, 3, 4, 5, 6], [1, 3, 6, 10, 15, 21], [1, 4, 10, 20, 35, 56], [1, 5, 15, 35, 70, 126]]
    assert [[reach(s, t) for t in range(6)] for s in range(1, 5)] == table
    assert all(reach(s, t) == reach(s, t - 1) + reach(s - 1, t) for s in range(1, 9) for t in range(1, 9))


@pytest.mark.parametrize("snapshots", range(1, 9))
def test_s_snapshots_and_t_repeats_reverse_so_many_steps_and_not_one_more(snapshots):
    for steps in range(1, 61):
        t = repeats(steps, snapshots)
        assert t == fewest_repeats(steps, snapshots)
        assert steps <= reach(snapshots, t)
        assert t == 0 or steps > reach(snapshots, t - 1)
    for t in range(1, 6):
        steps = reach(snapshots, t)
        assert (repeats(steps, snapshots), repeats(steps + 1, snapshots)) == (t, t + 1)
        if steps <= 4000:
            assert max(run_known(steps, snapshots)) == t


@pytest.mark.parametrize("snapshots", range(1, 9))
def test_as_few_steps_are_run_as_can_be(snapshots):
    for steps in range(1, 61):
        optimum = fewest(steps, snapshots)
        runs = run_binomial(steps, snapshots)
        assert sum(runs) == optimum == evaluations(steps, snapshots) - 1
        assert max(runs) == repeats(steps, snapshots)
        runs = run_known(steps, snapshots)
        assert sum(runs) == optimum + 1 == evaluations(steps, snapshots)
        assert max(runs) == max(repeats(steps, snapshots), 1)


def test_a_snapshot_for_every_step_runs_nothing_again():
    for steps in range(8):
        assert run_known(steps, steps + 1) == [1] * steps
        assert evaluations(steps, steps + 1) == evaluations(steps, max(steps - 1, 1)) == steps
    assert first_sweep(6, 6) == (0, 1, 2, 3, 4)


def test_one_snapshot_starts_from_the_beginning_each_time():
    assert run_known(6, 1) == [5, 4, 3, 2, 1, 1]


def test_no_steps():
    assert first_sweep(0, 3) == ()
    assert list(reversal(0, 3)) == list(binomial(0, 3)) == list(binomial(0, 3, start=7)) == []
    assert list(Online(3).reversal(0)) == []
    assert evaluations(0, 3) == repeats(0, 3) == 0


@given(st.integers(1, 500), st.integers(1, 60), st.integers(0, 1000))
@settings(deadline=None)
def test_every_schedule_reverses_its_chain_at_the_optimum(steps, snapshots, start):
    runs = run_binomial(steps, snapshots, start)
    assert sum(runs) == evaluations(steps, snapshots) - 1
    assert max(runs) == repeats(steps, snapshots)
    assert sum(run_known(steps, snapshots)) == evaluations(steps, snapshots)


@given(st.integers(1, 10**12), st.integers(1, 10**6))
def test_counts_are_found_without_a_schedule(steps, snapshots):
    t = repeats(steps, snapshots)
    assert math.comb(snapshots + t, t) >= steps
    assert t == 0 or math.comb(snapshots + t - 1, t - 1) < steps
    assert steps <= evaluations(steps, snapshots) <= max(t, 1) * steps


def test_the_first_part_of_a_schedule_is_its_first_sweep():
    for steps, snapshots in itertools.product(range(2, 40), range(1, 8)):
        actions = list(binomial(steps, snapshots))
        forward = list(itertools.takewhile(lambda action: isinstance(action, Store | Advance), actions))
        assert tuple(action.state for action in forward if isinstance(action, Store)) == first_sweep(steps, snapshots)
        assert actions[len(forward) :] == list(reversal(steps, snapshots))


# ---- The checker is checked ----


def test_a_schedule_that_lacks_any_one_action_is_caught():
    actions = list(binomial(12, 3))
    Chain(12, 3).follow(actions).finished()
    for k in range(len(actions)):
        with pytest.raises(AssertionError):
            Chain(12, 3).follow(actions[:k] + actions[k + 1 :]).finished()


@pytest.mark.parametrize(
    ("action", "fault"),
    [
        (Restore(6), Restore(0)),
        (Restore(6), Restore(5)),
        (Store(6), Store(5)),
        (Reverse(11), Reverse(10)),
        (Discard(0), Discard(1)),
        (Advance(0, 6), Advance(0, 7)),
    ],
)
def test_a_wrong_action_is_caught(action, fault):
    actions = list(binomial(12, 3))
    k = actions.index(action)
    with pytest.raises(AssertionError):
        Chain(12, 3).follow([*actions[:k], fault, *actions[k + 1 :]]).finished()


def test_one_snapshot_too_many_is_caught():
    with pytest.raises(AssertionError, match="4 snapshots"):
        Chain(12, 3).follow(binomial(12, 4))


def test_actions_of_two_kinds_are_not_equal():
    assert Store(3) != Restore(3)
    assert len({Store(3), Restore(3), Discard(3), Reverse(3), Store(3)}) == 4


# ---- Unknown number of steps ----


def parts_of(online, steps):
    """Split the steps below the last one, which is reversed at once, at the snapshots: length, free snapshots."""
    held = online.held
    stops = [*held[1:], steps - 1]
    pairs = enumerate(zip(held, stops, strict=True))
    return [(stop - start, online.snapshots - k) for k, (start, stop) in pairs if stop > start]


@pytest.mark.parametrize(("snapshots", "longest"), [(1, 300), (2, 3000), (3, 3000), (5, 3000), (10, 3000), (40, 1500)])
def test_online_repeats_no_step_more_often_than_the_best_that_knows_the_end(snapshots, longest):
    online, ratios = Online(snapshots), []
    for steps in range(1, longest + 1):
        online.step(steps - 1)
        parts = parts_of(online, steps)
        t = repeats(steps, snapshots)
        assert 1 + max((repeats(*part) for part in parts), default=0) == max(t, 1)
        runs = steps + sum(evaluations(*part) - 1 for part in parts)
        ratios.append(runs / evaluations(steps, snapshots))
        if t > 1:
            assert 1 <= ratios[-1] <= (1 + 1 / snapshots) * t / (t - 1)
        else:
            assert runs == steps
        if steps % 499 == 7:
            executed = run_online(steps, snapshots)
            assert sum(executed) == runs
            assert max(executed) == max(t, 1)
    assert max(ratios) < 1.5
    assert np.mean(ratios) < 1.1


@given(st.integers(1, 400), st.integers(1, 40))
@settings(deadline=None)
def test_online_reverses_every_chain_within_its_snapshots(steps, snapshots):
    runs = run_online(steps, snapshots)
    assert max(runs) == max(repeats(steps, snapshots), 1)


def test_online_with_two_snapshots_keeps_the_triangular_numbers():
    online, latest = Online(2), set()
    for t in range(100):
        online.step(t)
        latest.update(online.held)
    assert latest == {0} | {k * (k + 1) // 2 for k in range(1, 14)}


def test_online_can_be_reversed_again_and_go_on():
    online = Online(4)
    for t in range(30):
        online.step(t)
    first = list(online.reversal(30))
    assert list(online.reversal(30)) == first
    online.step(30)
    assert next(online.reversal(31)) == Reverse(30)


def test_online_refuses_steps_out_of_order():
    online = Online(3)
    online.step(0)
    with pytest.raises(ArgumentError, match=r"told of step 2 after 1 steps(.|\n)*Call step\(1\) next"):
        online.step(2)
    with pytest.raises(ArgumentError, match="told of 1 steps is to reverse 2"):
        online.reversal(2)


# ---- Long chains ----


def most_memory(actions):
    tracemalloc.start()
    try:
        deque(actions(), maxlen=0)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("steps", "snapshots"), [(10**5, 1), (10**5, 30), (10**6, 10)])
def test_long_schedules_stream(steps, snapshots):
    actions = itertools.islice(binomial(steps, snapshots), 4 * 10**5)  # most is held near the beginning
    assert most_memory(lambda: actions) < 20_000


def test_long_online_schedules_stream():
    online = Online(30)

    def actions():
        for t in range(10**5):
            yield from online.step(t)
        yield from online.reversal(10**5)

    assert most_memory(actions) < 20_000


def test_a_million_steps_take_seconds():
    start = time.process_time()
    assert sum(isinstance(action, Reverse) for action in binomial(10**6, 1000)) == 10**6
    assert time.process_time() - start < 30  # 3 seconds on a desk


# ---- Memory ----


@given(st.integers(0, 10**7), st.integers(1, 10**5), st.integers(0, 10**5))
def test_as_many_snapshots_as_a_budget_holds(budget, state, step):
    smallest = 2 * state + max(state, step)
    if budget < smallest:
        with pytest.raises(ArgumentError, match=f"Give {smallest:,} bytes or more"):
            snapshots_within(budget, state, step)
        assert snapshots_within(smallest, state, step) == 1
    else:
        snapshots = snapshots_within(budget, state, step)
        assert (snapshots + 1) * state + max(state, step) <= budget < (snapshots + 2) * state + max(state, step)
        assert snapshots_within(budget, state, step, steps=10) == min(snapshots, 10)


def test_a_budget_for_everything_and_a_state_of_nothing():
    assert evaluations(50, snapshots_within(10**9, 8, steps=50)) == 50
    assert snapshots_within(100, 0, 100) == snapshots_within(10**9, 8, steps=0) == 1
    assert snapshots_within(10**6, 0, steps=50) == 50


def test_a_budget_that_is_too_small_says_what_would_do():
    with pytest.raises(ArgumentError) as info:
        snapshots_within(1_000, 800, 2_000)
    message = str(info.value)
    assert "memory budget of 1,000 bytes" in message
    assert "Give 3,600 bytes or more." in message
    assert "test_revolve.py" in message


# ---- What is refused ----


@pytest.mark.parametrize("function", [binomial, reversal, first_sweep, evaluations, repeats])
def test_counts_that_cannot_be_are_refused_at_once(function):
    for steps, snapshots in [(-1, 2), (5, 0), (5, -3)]:
        with pytest.raises(ArgumentError, match="one snapshot or more"):
            function(steps, snapshots)
    for steps, snapshots in [(5.0, 2), (5, "2"), (None, 1)]:
        with pytest.raises(ArgumentError, match="whole numbers"):
            function(steps, snapshots)
    with pytest.raises(ArgumentError, match="one snapshot or more"):
        Online(0)


def test_integers_of_numpy_are_integers():
    assert repeats(np.int64(20), np.int32(3)) == 3
    assert list(binomial(np.int64(9), np.int8(2))) == list(binomial(9, 2))
    assert type(first_sweep(np.int64(100), np.int8(3))[1]) is int
