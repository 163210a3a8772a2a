"""Ctrl-C at every bytecode at which CPython can deliver it, one after the other; and what must hold afterwards.

CPython looks for signals where a function begins or resumes, after a call, and where a loop jumps back, and nowhere
else.  `interrupt` runs a call once for each such moment and raises KeyboardInterrupt there, so nothing hangs on clocks.

    python tests/support/interruptions.py --most 100000 [name...]

interrupts every call of `CALLS` at all its moments (or at so many, spread evenly), and reports what is not clean.
"""

from __future__ import annotations

import argparse
import dis
import faulthandler
import gc
import math
import sys
import time
import warnings
from collections import Counter

import numpy as np

import wengert as wg
from wengert.tracing import current_context, names, patching

# ---- Interruptions ----

_CALLED = ("CALL", "CALL_FUNCTION_EX", "CALL_KW")
_LOOPS = ("JUMP_BACKWARD", "SEND")
_moments: dict[object, tuple[frozenset[int], frozenset[int]]] = {}


def _moments_of(code):
    """Return the offsets at which a signal may come, after a call or where a loop jumps back, and those of yields.

    After a call it is raised where the call stands.  An instruction after it, which another handler guards, is none.
    """
    if code not in _moments:
        listing = dis.Bytecode(code)

        def handler(offset):
            return next((e.target for e in listing.exception_entries if e.start <= offset < e.end), None)

        offsets, yields, call = set(), set(), None
        for instruction in listing:
            offset = instruction.offset
            if instruction.opname in _LOOPS or (call is not None and handler(call) == handler(offset)):
                offsets.add(offset)
            if instruction.opname == "YIELD_VALUE":
                yields.add(offset)
            call = offset if instruction.opname in _CALLED else None
        _moments[code] = frozenset(offsets), frozenset(yields)
    return _moments[code]


class _Moments:
    """Notes every moment of a run: by the number of the entry into a frame, and of the moment since then."""

    def __init__(self):
        self.moments, self.entries = [], 0

    def __call__(self, frame, event, _):
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        offsets, yields = _moments_of(frame.f_code)
        entry = self.entries = self.entries + 1
        count = 0
        if frame.f_lasti not in yields:  # else a generator is closed
            self.moments.append((entry, 0))  # the function begins, or resumes

        def local(frame, event, _):
            nonlocal count
            if event == "opcode" and frame.f_lasti in offsets:
                count += 1
                self.moments.append((entry, count))
            return local

        return local


class _Interruption:
    """Raises KeyboardInterrupt at one moment of a run; all frames but one run at full speed."""

    def __init__(self, moment):
        self.entry, self.count = moment
        self.place = None

    def __call__(self, frame, event, _):
        self.entry -= 1
        if self.entry:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        offsets, _ = _moments_of(frame.f_code)
        self.step(frame)

        def local(frame, event, _):
            if event == "opcode" and frame.f_lasti in offsets:
                self.step(frame)
            return local

        return local

    def step(self, frame):
        if not self.count:
            self.place = f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"
            raise KeyboardInterrupt
        self.count -= 1


def traced(call, tracer):
    """Run a call under a trace function; return its result, or the interruption."""
    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        return call()
    except (KeyboardInterrupt, SystemError) as interruption:  # SystemError: it came in what compiled code had called
        return interruption
    finally:
        sys.settrace(before)


def faults():
    """Return what an interruption has left behind."""
    context = current_context()
    state = {
        "open tapes": context.tapes,
        "a frozen size": context.frozen is not None,
        "a place": context.place is not None,
        "muted": context.muted,
        "patched makers": [name for name, wrapper in patching.patched.items() if getattr(np, name) is wrapper],
        "patched functions of numbers": type(math.sqrt) is not type(len),
        "an error state": {k: v for k, v in np.geterr().items() if v != ("ignore" if k == "under" else "warn")},
        "NumPy's callback": np.geterrcall() is not None,
        "a profiler": sys.getprofile() is not None,
    }
    return [name for name, left in state.items() if left]


# ---- What is interrupted ----

C = np.linspace(0.1, 1.0, 5)


def scanned(c, steps=6):
    return np.sum(wg.scan(lambda c, _: (np.sin(1.1 * c) + np.zeros(5), c[0]), c, None, steps)[0])


def repeated(c, steps=6):
    return np.sum(wg.while_loop(lambda s: s[0] < steps, lambda s: (s[0] + 1, np.sin(1.1 * s[1])), (0, c))[1])


def nested(c):
    inner = lambda c: wg.fori_loop(0, 2, lambda i, v: np.sin(v) * (1.0 + 0.1 * i), c)  # noqa: E731
    return np.sum(wg.scan(lambda c, _: (wg.checkpoint(inner)(c), None), c, None, 4, checkpoint=2)[0])


def branched(c):
    return np.sum(wg.cond(c[0] > 0, np.sin, np.cos, c) * np.linalg.norm(c))


def guarded(c):
    return np.sum(np.where(c > 0.5, np.sqrt(np.maximum(c - 0.5, 0.0)), c))


def assigned(c):
    a = np.zeros(5)
    a[1:] = c[:-1] * 2
    a += np.array([c[0], 1, 2, 3, c[1]])
    return np.sum(a**2)


@wg.custom_derivative
def by_jvp(x):
    return np.sin(x)


by_jvp.defjvp(lambda primals, tangents: (np.sin(primals[0]), np.cos(primals[0]) * tangents[0]))


@wg.custom_derivative
def by_vjp(x):
    return np.sin(x)


by_vjp.defvjp(lambda x: (np.sin(x), np.cos(x)), lambda cosine, g: (g * cosine,))


def total(f):
    return lambda c: np.sum(f(c))


def python_loop(c):
    for _ in range(12):
        c = np.sin(1.1 * c)
    return np.sum(c)


CALLS = {
    "grad": lambda: wg.grad(assigned)(C),
    "careful grad": lambda: wg.grad(guarded)(C),
    "jacobian": lambda: wg.jacobian(lambda c: np.outer(c, c) @ c)(C),
    "hessian": lambda: wg.hessian(assigned)(C),
    "hvp of while_loop": lambda: wg.hvp(repeated)(C, C),
    "jvp of scan": lambda: np.array(wg.jvp(scanned, (C,), (C,))),
    "vjp of cond": lambda: wg.vjp(branched, C)[1](1.0)[0],
    "grad of scan": lambda: wg.grad(scanned)(C),
    "grad of while_loop": lambda: wg.grad(repeated)(C),
    "grad of nested loops": lambda: wg.grad(nested)(C),
    "a loop on plain values": lambda: nested(C),
    "trace of the gradient": lambda: wg.trace(wg.grad(scanned))(C)(C),
    "trace that is folded": lambda: wg.trace(wg.grad(python_loop))(C)(C),
    "vmap": lambda: wg.vmap(assigned)(np.outer(C, C)),
    "vmap of grad": lambda: wg.vmap(wg.grad(branched))(np.outer(C, C)),
    "vmap of scan": lambda: wg.vmap(wg.grad(scanned))(np.outer(C, C)),
    "custom jvp": lambda: wg.grad(total(by_jvp))(C),
    "custom vjp": lambda: wg.jacobian(by_vjp, mode="forward")(C),
    "custom rules in scan": lambda: wg.grad(lambda c: np.sum(wg.scan(lambda c, _: (by_vjp(c), None), c, None, 3)[0]))(
        C
    ),
    "jit": lambda: wg.jit(assigned)(C),
    "jit of grad": lambda: wg.jit(wg.grad(guarded))(C),
    "plan": lambda: str(wg.plan(branched)(C)),
    "explain": lambda: str(wg.explain(lambda x: np.sin(x[0]) * x[1])(C)),
    "check_derivatives": lambda: str(wg.check_derivatives(lambda x: np.sin(x[0]) * x[1])(C)),
    "why_nan": lambda: str(wg.why_nan(guarded)(C)),
    "source": lambda: wg.trace(lambda c: np.linalg.solve(np.diag(c), c))(C).source(),
}


def interrupt(name, most):
    """Interrupt a call at so many of its moments at most, spread evenly; return how many, and what was left where."""
    call = CALLS[name]
    expected = call()
    found = Counter()
    done = 0
    gc.collect()
    gc.disable()  # JAX, where it is there, is called by the collector: frames more, where an interruption is swallowed
    try:
        moments: list[tuple[int, int]] = []
        for _ in range(6):  # until caches make runs no shorter
            recorder = _Moments()
            traced(call, recorder)
            settled = len(recorder.moments) == len(moments)
            moments = recorder.moments
            if settled:
                break
        for k in np.unique(np.linspace(0, len(moments) - 1, min(most, len(moments))).astype(int)):
            faulthandler.dump_traceback_later(60, exit=True)
            interruption = _Interruption(moments[k])
            result = traced(call, interruption)
            place = interruption.place
            if place is None:
                continue  # caches make a run shorter than the first
            done += 1
            if not isinstance(result, BaseException) and not np.array_equal(result, expected):
                found["swallowed, and another result", place] += 1
            left = [f"at once: {fault}" for fault in faults()]
            if not left and not np.array_equal(call(), expected):  # while the exception holds its frames
                left = ["another result"]
            del result
            left = left or [f"afterwards: {fault}" for fault in faults()]
            if left:
                found[", ".join(left), place] += 1
                _repair()
            if done % 200 == 0:
                gc.collect()
    finally:
        faulthandler.cancel_dump_traceback_later()
        gc.enable()
    return done, len(moments), found


def _repair():
    current_context().clear()
    np.seterr(divide="warn", over="warn", under="ignore", invalid="warn")
    np.seterrcall(None)
    sys.setprofile(None)
    names._tracing.clear()
    vars(np).update(patching._originals)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=10**6, help="interruptions of each call")
    parser.add_argument("names", nargs="*", help="calls; all if none is named")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    total_done = total_left = 0
    for name in options.names or CALLS:
        start = time.perf_counter()
        done, count, found = interrupt(name, options.most)
        total_done, total_left = total_done + done, total_left + sum(found.values())
        print(
            f"{name}: {done:,} of {count:,} moments, {sum(found.values())} faults, {time.perf_counter() - start:.0f} s",
            flush=True,
        )
        for (what, place), times in found.most_common(30):
            print(f"    {times} times {what}: {place}", flush=True)
    print(f"{total_done:,} interruptions, {total_left} faults")
