"""`jit`: a function traced once for arguments of some structure, shapes and dtypes, and run as straight code.

Tracing is what makes a derivative of a small function slow: `jit` does it once for each *signature* (the tree structure
of the arguments, shapes, dtypes and memory layouts of arrays, the values of whatever is no array), and once more for
each branch that the function takes.

    call -> environment as it was? -> signature -> tree of branches -> result
                 | no                       | new            | a decision falls otherwise
                 trace anew                 trace            trace this branch, and keep it beside the others

Every decision that Python takes on a value is checked by the code (`wengert.compilation.branches`), and whatever the
function can read beside its arguments is compared at each call (`wengert.compilation.environment`).  Where NumPy would
warn, and where anything is raised, the plain function runs instead: values, warnings and errors are its own.

>>> import numpy as np, wengert as wg
>>> gradient = wg.jit(wg.grad(lambda x: np.sum(x**2) if x[0] > 0 else np.sum(x)))
>>> gradient(np.array([1.0, 2.0])), gradient(np.array([-1.0, 2.0])), gradient(np.array([3.0, 4.0]))
(array([2., 4.]), array([1., 1.]), array([6., 8.]))
>>> gradient
<jit(grad(<lambda>)): 1 trace, 2 branches>
"""

from __future__ import annotations

import functools
import gc
import math
import os
import sys
import threading
import time
import types
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from wengert import trees
from wengert.compilation.branches import Exit, Tree
from wengert.compilation.environment import PRINTS, Environment, Reading, is_clock
from wengert.compilation.native.engine import calls_before, is_expected
from wengert.compilation.native.vectorcall import with_vectorcall
from wengert.compilation.signatures import Arguments, Result
from wengert.errors import (
    ArgumentError,
    BranchError,
    ImpureError,
    JitWarning,
    Location,
    RawLocation,
    caller,
    explain_at,
)
from wengert.program import Program, Var, has_nan, walk
from wengert.tracing import RAISING, Lengths, LongTrace, Trace, error_state, raising, run, threads, under
from wengert.transformations import Documentation, Transformed

if TYPE_CHECKING:
    from wengert.compilation.native.entry import Native
    from wengert.compilation.native.records import Record

Function = Callable[..., Any]
ndarray, float64 = np.ndarray, np.float64

MOST_SIGNATURES = 256
"""The number of signatures that are kept; the next one clears them."""
LONGEST_WAIT = 1023
"""The largest number of calls without an attempt to trace, if NumPy has warned in every attempt."""
SECONDS_TO_START, SECONDS_TO_COMPILE, SECONDS_A_LINE = 0.04, 0.01, 1e-3
"""What native code takes: of a process, once; of a function; of each line of its branches.  It is made where Python has
run for as long, tracing included, so that the two together take at most twice as long as the better of them alone."""
KERNELS_FOR = 4.0
"""Kernels of arrays are made for a second in Python if they take so many: a function that is jitted is called again."""
LONGEST_TO_COMPILE = 0.25
"""What it takes at most before it is clear that a function is too long to be one kernel."""
IN_PYTHON, UNROLLED = Lengths(2_000, 2_000, 2_000), Lengths(15_000, 40_000, 150_000)
"""Longer traces are folded: to write, compile and run their lines one by one would take too long.  Of machine code,
more lines are run, and it is made once for steps that differ in their slices."""
FOLDING: list[Callable[[Function], Function]] = []
"""What makes a function be folded while it is traced; it stands above, in `wengert.control`."""
ENVIRONMENTS = 4
"""The number of states of the environment that are kept with their traces: a flag may go back and forth."""


def jit(f: Function | None = None, *, max_branches: int = 32, native: bool = True) -> Any:
    """Return a function that computes the same as `f`, traced once and then run as straight code.

    Parameters
    ----------
    f
        Any function of arrays, numbers and trees of them, and of anything else: a plain one, ``grad(f)``,
        ``jacobian(f)``, ``hessian(f)``, ``vmap(f)``...  Left out, `jit` returns a decorator.
    max_branches
        How many branches are kept for a signature, and how many values of an argument that is no array; beyond,
        a `JitWarning` names the line or the argument, and the plain function runs.
    native
        Whether machine code takes over after a while, where there is any for all that is computed (on
        x86-64 under Linux): when Python has run for as long as compiling takes.  The environment variable
        ``WENGERT_NATIVE`` turns it off everywhere (``off``), or says after how many calls.

    Returns
    -------
    callable
        Takes and returns what `f` does.  ``.show("code")`` prints the Python code of each branch,
        ``.show("program")`` the list of its lines.  Called while a trace runs, it is `f`.

    Raises
    ------
    ImpureError
        If `f` draws random numbers, reads a clock, or changes something outside of itself.
    ResultError
        If `f` returns something that is neither a number, an array, a string, nor a tree of these.
    LostGradientError
        If `f` makes a plain number of a value that depends on its arguments, as ``float(x)`` does.

    Warnings about the structure of `f`, as `DecisionWarning`, are given once for each branch: while it is traced.

    Examples
    --------
    >>> import numpy as np, wengert as wg
    >>> @wg.jit
    ... def root(a):
    ...     x = a
    ...     while abs(x * x - a) > 1e-12 * a:
    ...         x = 0.5 * (x + a / x)
    ...     return x
    >>> root(2.0), root(9.0), root
    (1.414213562373095, 3.0, <jit(root): 1 trace, 2 branches>)
    >>> wg.grad(root)(9.0).round(6)
    np.float64(0.166667)
    """
    if f is None:
        return functools.partial(jit, max_branches=max_branches, native=native)
    return Jitted(f, max_branches, native)


@with_vectorcall
class Jitted(Transformed[..., Any]):
    """A function that `jit` has returned.

    Once there is native code, that is what is called, instead of `__call__`, which computes what it does not take.
    """

    __slots__ = (
        "_is_derivative", "_latest", "_lock", "_native", "_record", "_restarts", "_states", "_warned", "declined",
        "max_branches",
    )  # fmt: skip

    def __init__(self, function: Function, max_branches: int, native: bool) -> None:
        super().__init__(jit, function, self._compute, max_branches=max_branches, native=native)
        for name in [name for name in vars(self) if name[:2] != "__" and hasattr(Jitted, name)]:
            del vars(self)[name]  # an attribute of the function that is called as a method here
        self.max_branches, self._native = max_branches, native
        self._is_derivative = isinstance(function, Transformed)
        self._states: list[_State] = []
        self._latest: _Signature | None = None
        """The signature of the latest call with leaves alone: most calls repeat it."""
        self._record: Record | None = None
        """What native code reads where this object is called, once there is some."""
        self._lock = threading.Lock()
        self._restarts = 0
        self._warned: set[Any] = set()
        self.declined = 0
        """The number of calls in which the plain function ran because NumPy would have warned in the code."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        latest = self._latest
        if latest is None or kwargs or threads.context.tapes or not latest.unchanged():
            return self._call(args, kwargs)
        if not latest.fits(args):
            return self._call(args, kwargs)
        latest.calls += 1
        is_due = latest.calls >= latest.due
        if is_due and self._compile_native(latest):
            return self(*args)
        values = args if latest.traced_among is None else latest.traced_among(args)
        start = time.perf_counter() if is_due else 0.0
        before = error_state.get()
        try:  # as `_run` does; most calls end here
            try:
                error_state.set(raising(before))
                result = latest.tree.roots[0].run(*values)
            finally:
                error_state.set(before)
            if is_due:
                latest.note(time.perf_counter() - start)
        except BranchError:
            return self._run(latest, values, args, kwargs)
        except Exception:
            return self._plain(args, kwargs)
        except BaseException:
            threads.context.clear()
            raise
        return self._run(latest, values, args, kwargs) if type(result) is Exit else result

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Compute a call that is not like the latest, or leaves its first branch."""
        if threads.context.tapes:
            return self.function(*args, **kwargs)
        states = self._states
        state = states[0] if states and states[0].environment.unchanged() else self._state()
        if state is None:
            return self.function(*args, **kwargs)
        arguments = Arguments(args, kwargs, self.function)
        if arguments.holds_traced:
            return self.function(*args, **kwargs)
        signature = self._signature(state, arguments)
        if signature is not None and signature.fixes_floats:
            arguments = Arguments(args, kwargs, self.function, fixes_floats=True)
            signature = self._signature(state, arguments)
        if signature is None:
            return self.function(*args, **kwargs)
        signature.calls += 1
        is_due = signature.calls >= signature.due
        if is_due:
            self._compile_native(signature)
        if signature.native is not None:
            self._attach(signature)
            result = signature.native(*arguments.values)
            if result is not NotImplemented:
                return result
        start = time.perf_counter() if is_due else 0.0
        result = self._run(signature, arguments.values, args, kwargs, arguments)
        if is_due:
            signature.note(time.perf_counter() - start)
        if arguments.are_leaves and signature.tree.roots and not signature.fixes_floats:
            self._latest = signature
        return result

    def _compute(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self(*args, **kwargs)

    # -- Native code --

    def _compile_native(self, signature: _Signature) -> bool:
        """Make native code for a signature, if it has run in Python for as long as that takes; return whether."""
        if not signature.is_worth_compiling():
            return False
        before = signature.native
        signature.compile_native(self._name)
        self._attach(signature)
        return signature.native is not before

    def _attach(self, signature: _Signature) -> None:
        """Let this object be called by the native code of a signature, and of others in the same environment."""
        native, record = signature.native, self._record
        if native is None or native.entry is None or signature.floats_are_fixed:
            return
        if record is not None and native.entry in record.entries and record.environment is signature.environment:
            return
        from wengert.compilation.native.entry import attach_entries

        with self._lock:
            others = [
                s.native for s in self._signatures() if s.environment is signature.environment and s is not signature
            ]
            natives = [native, *[other for other in others if other is not None]]
            self._record = attach_entries(self, natives, signature.environment, _IN_PYTHON)

    # -- States and signatures --

    def _state(self) -> _State | None:
        """Return the present state of the environment, where it is not the latest; None if it changes too often."""
        with self._lock:
            for state in self._states:
                if state.environment.unchanged():
                    self._states = [state, *[other for other in self._states if other is not state]]
                    return state
            if self._restarts > self.max_branches:
                if self._states:
                    self._warn_of_changes(self._states[0].environment)
                return None
            environment = Environment([self.function])
            if environment.too_many:
                self._warn_once(
                    "too much",
                    f"{self._name} reads too much beside its arguments to compare it at each call:",
                    caller(),
                    "Pass what it reads as arguments; the plain function runs.",
                )
                self._restarts = self.max_branches + 1
                return None
            self._restarts += 1
            state = _State(environment)
            self._states = [state, *self._states[: ENVIRONMENTS - 1]]
            return state

    def _warn_of_changes(self, environment: Environment) -> None:
        changes = environment.changes()
        names = ", ".join(map(str, changes[:3]))
        self._warn_once(
            "changes",
            f"{self._name} reads {names}, which has changed {self.max_branches} times between its calls:",
            environment.place_of_change(changes[0]) if changes else None,
            "Pass it as an argument; where it has changed, the plain function runs.",
        )

    @property
    def _name(self) -> str:
        return str(getattr(self, "__name__", "f"))

    def _signature(self, state: _State, arguments: Arguments) -> _Signature | None:
        """Return the signature of a call; None if too many differ from it only in arguments that are not arrays."""
        signature = state.signatures.get(arguments.key)
        if signature is not None and signature.holds():
            return signature
        with self._lock:
            signature = state.signatures.get(arguments.key)
            if signature is not None and signature.holds():
                return signature
            alike = [s for s in state.signatures.values() if s.arrays == arguments.arrays]
            if arguments.statics and len(alike) >= self.max_branches:
                self._warn_of_values(alike, arguments)
                return None
            restarts = 0 if signature is None else signature.restarts + 1
            if restarts > self.max_branches:
                self._warn_of_changes(signature.environment)  # type: ignore[union-attr]
                return None
            environment = state.environment
            if arguments.objects:
                environment = Environment([self.function, *arguments.objects])
            signature = _Signature(arguments, environment, restarts, calls_before() if self._native else 0)
            if len(state.signatures) >= MOST_SIGNATURES:
                state.signatures.clear()
            state.signatures[arguments.key] = signature
            return signature

    def _warn_of_values(self, alike: Sequence[_Signature], arguments: Arguments) -> None:
        values = {k: {s.statics[k] for s in alike if k in s.statics} for k in arguments.statics}
        name = arguments.leaf_names[max(values, key=lambda k: len(values[k]))]
        self._warn_once(
            ("values", name),
            f"{self._name} has been traced for {len(alike)} values of {name}, which is no array:",
            caller(),
            f"Pass an array or a number of NumPy's, np.float64({name}) or np.int64({name}); "
            "where the value is new, the plain function runs.",
        )

    def _warn_once(self, topic: Any, happened: str, place: RawLocation | None, instead: str) -> None:
        """Warn, unless a warning on the same topic has been given."""
        if topic not in self._warned:
            self._warned.add(topic)
            _warn(explain_at(place, happened, instead), place)

    # -- Running --

    def _plain(self, args: Any, kwargs: Any) -> Any:
        """Run the plain function, which warns or raises by itself."""
        self.declined += 1
        return self.function(*args, **kwargs)

    def _run(
        self, signature: _Signature, values: Sequence[Any], args: Any, kwargs: Any, arguments: Arguments | None = None
    ) -> Any:
        leave: Exit | None = None
        roots = signature.tree.roots
        count = len(roots)
        try:
            for branch in roots:
                try:
                    result = under(RAISING, branch.run, *values)
                except BranchError:  # a decision inside a loop
                    continue
                if type(result) is not Exit:
                    return result
                leave = result
                break
        except Exception:
            return self._plain(args, kwargs)
        except BaseException:
            threads.context.clear()
            raise
        if len(signature.tree.branches) >= self.max_branches:
            self._warn_of_branches(leave)
            return self.function(*args, **kwargs)
        if signature.waits:
            signature.waits -= 1
            return self._plain(args, kwargs)
        arguments = arguments or Arguments(args, kwargs, self.function, signature.floats_are_fixed)
        try:
            result = self._trace(signature, leave, count, arguments, args, kwargs)
        except FloatingPointError:  # NumPy would warn, and a trace made there fits few other points
            signature.waits = signature.waited = min(2 * signature.waited + 1, LONGEST_WAIT)
            return self._plain(args, kwargs)
        signature.waited = 0
        return result

    def _warn_of_branches(self, leave: Exit | None) -> None:
        place = None if leave is None else leave.statement.guard.place
        self._warn_once(
            ("branches", place),
            f"{self._name} takes more than {self.max_branches} branches; here one more:",
            place,
            "Write np.where for a decision on each value, wg.while_loop for a loop until something holds; or raise "
            "max_branches. Where a branch is new, the plain function runs.",
        )

    def _trace(
        self, signature: _Signature, leave: Exit | None, roots: int, arguments: Arguments, args: Any, kwargs: Any
    ) -> Any:
        """Trace a branch, keep it, and return the result of this call.

        The branch continues where another was left; if none was, it is a root beside the others.
        """
        environment, start = signature.environment, time.perf_counter()
        before = environment.states()
        calls: dict[str, RawLocation] = {}
        trace, returned = self._traced(environment, calls, arguments, args, kwargs)
        self._check_purity(environment, before, calls, arguments)
        program = trace.program()
        result = returned.build([group.parts[0]._value for group in trace.results])
        if any(type(value) in (float, complex) for value in arguments.values):
            plain = self.function(*args, **kwargs)  # on Python's own numbers: gives the types of the results
            if trace.tape.mixed or _is_mixed(program) or not _agree(result, plain):
                signature.fixes_floats = True
                return plain
            returned.take_types(plain)
            result = plain
        form = returned.form._replace(holds_derivatives=self._is_derivative or trace.tape.differentiates)
        with self._lock:
            tree = signature.tree
            if len(tree.roots) == roots if leave is None else leave.continuation is None:
                tree.add(program, form, leave)  # or else another thread has been faster
                signature.expect_native(time.perf_counter() - start)
        if form.holds_derivatives and any(map(has_nan, _numbers_in(result))):
            return self._plain(args, kwargs)  # the NaN may be masked there, or have a limit
        return result

    def _traced(
        self, environment: Environment, calls: dict[str, RawLocation], arguments: Arguments, args: Any, kwargs: Any
    ) -> tuple[Trace, Result]:
        """Trace the function; if it is long once more, and folded (`wengert.control.folding`)."""
        context = threads.context

        def record(function: Function, most: Lengths | None) -> tuple[Trace, Result]:
            context.alarms = 0
            returned = Result(arguments, environment)
            work = functools.partial(run, most=most, keeps_large=False)
            trace = _listen(
                environment, calls, under, RAISING, work, function, args, kwargs, (), True, arguments, returned
            )
            return trace, returned

        try:
            return record(self.function, self._lengths() if FOLDING else None)
        except LongTrace:
            context.clear()
        context.folds = True
        try:
            return record(self.function if self._is_derivative else FOLDING[0](self.function), None)
        finally:
            context.folds = False

    def _lengths(self) -> Lengths:
        """Return how long a trace may be whose lines are run one by one."""
        return UNROLLED if self._native and is_expected() else IN_PYTHON

    def _check_purity(
        self, environment: Environment, before: Sequence[Any], calls: Mapping[str, Any], arguments: Arguments
    ) -> None:
        """Raise ImpureError if the function did more than compute, and warn if it prints."""
        name = self._name

        def refuse(place: RawLocation | None, what: str, instead: str) -> ImpureError:
            return ImpureError.at(place, f"{name} is traced once, and {what}:", instead)

        if "prints" in calls:
            happened = f"{name} prints (or opens a file) only while it is traced:"
            self._warn_once("prints", happened, calls["prints"], "Return what is to be printed, and print it outside.")
        if "reads" in calls:
            what = "what it reads here would never be read again"
            raise refuse(calls["reads"], what, "Pass the time, or whatever this reads, as an argument.")
        place = environment.unseeded()
        if place is not None or environment.states() != before:
            what = "what it draws at random would be the same at every call"
            place = place or environment.place_of_drawing()
            raise refuse(place, what, "Draw the random numbers outside, and pass them as an argument.")
        changed = arguments.changed()
        if changed is not None:
            what = f"its argument {changed} is changed in place, which later calls would not do"
            place = environment.place_of_change(Reading(changed, ""))
            raise refuse(place, what, f"Work on a copy, {changed} = {changed}.copy(), and return it.")
        if not environment.unchanged():
            reading = environment.changes()[0]
            what = f"what it writes into {reading} would be written once only"
            place = environment.place_of_change(reading)
            raise refuse(place, what, "Return it, and keep it outside (a derivative passes it on with has_aux=True).")

    # -- Looking --

    def show(self, what: str = "code") -> None:
        """Print what is run for each signature of the arguments.

        ``"program"`` is the list of lines of each branch that has been traced, ``"code"`` its Python code.  All
        branches together are one kernel of native code: its ``"loops"``, its text for ``"llvm"``, its ``"assembly"``.

        >>> import numpy as np, wengert as wg
        >>> f = wg.jit(lambda x: np.sin(2.0 * x))
        >>> float(f(np.float64(0.0)))
        0.0
        >>> f.show()
        # <lambda>(x: float64), branch 1
        def branch(x0):
            x0 = float(x0)
            u1 = 2.0 * x0
            u2 = sin(u1)
            if u1 * 0.0 != 0.0: raise FloatingPointError
            return u2
        """
        if what not in ("program", "code", "loops", "llvm", "assembly"):
            raise ArgumentError(f"show({what!r}): there are 'program', 'code', 'loops', 'llvm' and 'assembly'.")
        for signature in self._signatures():
            if what not in ("code", "program"):
                print(f"# {self._name}({signature.described()})")
                print(signature.native_text(what, self._name))
                continue
            for k, branch in enumerate(signature.tree.branches, 1):
                print(f"# {self._name}({signature.described()}), branch {k}")
                print(branch.text if what == "code" else branch.program.listing())

    def export(self, path: str | os.PathLike[str], *args: Any, **kwargs: Any) -> None:
        """Write the function for programs without Python: ``"name.c"``, ``"name.o"`` or ``"name.ll"``, and ``name.h``.

        The file has one function, with the name of the file, of all branches that have been traced.  It takes arrays
        of one set of shapes: those of `args`, at which it is traced if need be, or of the only trace there is.  What
        the function reads beside its arguments becomes part of the code.

        >>> import pathlib, tempfile, numpy as np, wengert as wg
        >>> gradient = wg.jit(wg.grad(lambda x: np.sum(x**2)))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     gradient.export(f"{folder}/gradient.c", np.array([1.0, 2.0]))
        ...     print(pathlib.Path(f"{folder}/gradient.c").read_text().partition("#endif")[2].strip())
        int gradient(const double *x, double *restrict result, double *restrict work)
        {
            (void)work;
            const double r1 = x[0];
            const double r2 = 2.0 * r1;
            const double r3 = x[1];
            const double r4 = 2.0 * r3;
            result[0] = r2;
            result[1] = r4;
            return 0;
        }
        """
        from wengert.compilation.native.export import export

        if args or kwargs:
            self(*args, **kwargs)
        signatures = [s for s in self._current_signatures() if s.tree.branches]
        if args or kwargs:
            keys = [Arguments(args, kwargs, self.function, fixes_floats=fixes).key for fixes in (False, True)]
            signatures = [s for s in signatures if s.key in keys]
        if len(signatures) != 1:
            traces = _counted(len(signatures), "trace", "traces")
            raise ArgumentError.at_caller(
                f"export({os.fspath(path)!r}): {self._name} has {traces}, and a file takes the code of one:",
                "Pass arguments at which NumPy does not warn: none is traced where it does."
                if args or kwargs
                else "Pass arguments of the shapes that it is for: f.export(path, x).",
            )
        (signature,) = signatures
        export(path, signature.tree, signature.names, f"{self._name}({signature.described()})")

    def _signatures(self) -> Iterator[_Signature]:
        for state in self._states:
            yield from list(state.signatures.values())

    def _current_signatures(self) -> Iterator[_Signature]:
        """Yield those that were traced with what the function reads now."""
        for signature in self._signatures():
            if signature.unchanged():
                yield signature

    def __repr__(self) -> str:
        inner = Transformed.__repr__(self)
        traced = [s for s in self._signatures() if s.tree.branches]
        branches = sum(len(s.tree.branches) for s in traced)
        return f"<{inner}: {_counted(len(traced), 'trace', 'traces')}, {_counted(branches, 'branch', 'branches')}>"


_IN_PYTHON = Jitted.__call__
Jitted.__doc__ = Documentation(Jitted.__doc__ or "")  # type: ignore[assignment]


def _counted(n: int, one: str, many: str) -> str:
    return f"{n} {one if n == 1 else many}"


# ---- States and signatures ----


class _State:
    """A state of the environment, and the signatures that were traced in it."""

    __slots__ = ("environment", "signatures")

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.signatures: dict[Any, _Signature] = {}


class _Signature:
    """The branches for one tree structure of arguments, their shapes and dtypes, and the values of other leaves.

    Attributes
    ----------
    key, arrays, statics
        Those of the arguments.
    holds
        Returns whether the objects among the arguments are unchanged.
    unchanged
        Returns whether everything that the function can read is.
    restarts
        The number of times that they were not.
    fixes_floats
        True if Python's own floats are taken by their values, in another signature: among numbers of single precision
        they must not become double.
    waits
        The number of calls until the next attempt to trace, after attempts that ended in a warning of NumPy's.
    native
        The native code, once it is made.
    calls, due
        The number of calls in Python, and that at which native code is made or thought of.
    """

    def __init__(self, arguments: Arguments, environment: Environment, restarts: int, patience: int | None) -> None:
        self.key, self.arrays, self.statics = arguments.key, arguments.arrays, arguments.statics
        self.environment = environment
        self.unchanged = environment.unchanged
        self.holds = environment.unchanged if arguments.objects else _always
        self.restarts = restarts
        self.tree = Tree()
        self.names = arguments.names()
        self._fixed = {arguments.leaf_names[k]: value for k, (_, value) in arguments.statics.items()}
        self._test, self.traced_among = arguments.test(), arguments.traced_among()
        self.fixes_floats, self.floats_are_fixed = False, arguments.fixes_floats
        self.waits = self.waited = 0
        self.native: Native | None = None
        self.calls, self.due, self._patience = 0, math.inf, patience
        self._timed, self._latest_seconds = 0, math.inf
        self._longer = 0.0
        """The seconds in Python after which kernels are made, if that has been put off."""
        self._spent, self._times = 0.0, 1
        """The seconds that were spent in Python, by estimate, the tracing of the latest branch and all since then; how
        long to wait, in the times that compiling takes."""

    def expect_native(self, seconds: float) -> None:
        """Plan to make native code, since there is a new branch, which took so many seconds to trace.

        With each branch that waits for twice as much.
        """
        if self._patience != 0:
            self.due = self.calls + (self._patience or 1)
            self._timed, self._spent, self._times = self.calls, seconds, 2 * self._times
            self._patience = self._patience and 2 * self._patience

    def note(self, seconds: float) -> None:
        """Note how long a call has taken in Python.

        Those since the one that was measured before are taken to have lasted as long as the shorter of the two.
        """
        self._spent += seconds + (self.calls - self._timed - 1) * min(seconds, self._latest_seconds)
        self._timed, self._latest_seconds = self.calls, seconds
        if self._patience is None and self.due < math.inf:  # infinite once it has been tried
            remaining = self._waits_for() - self._spent
            self.due = self.calls + min(max(int(remaining / (2 * max(seconds, 1e-9))), 1), 1_000)

    def is_worth_compiling(self) -> bool:
        """Return whether native code is to be made now: after a number of calls, or as much time as it would take."""
        return self._patience is not None or self._spent >= self._waits_for()

    def _waits_for(self) -> float:
        lines = sum(len(branch.program.lines) for branch in self.tree.branches)
        starting = SECONDS_TO_START if "llvmlite.binding" not in sys.modules else 0.0
        seconds = min(SECONDS_TO_COMPILE + SECONDS_A_LINE * lines, LONGEST_TO_COMPILE)
        return max((self._times / 2) * seconds + starting, self._longer)

    def compile_native(self, name: str) -> None:
        """Make native code of all branches that are known; where it cannot be made, Python code runs on."""
        from wengert.compilation.native import entry, grouping, layout, lowering  # most processes never come here

        with self.tree.lock:
            if self.calls >= self.due:
                self.due = math.inf
                try:
                    self.native = entry.native_code(self.tree, self.arrays[1], name, self.statics, self.arrays[0])
                except lowering.NoLoweringError:
                    longest = math.inf if self._patience else KERNELS_FOR * self._spent
                    seconds = grouping.use_kernels_in(self.tree, longest) if layout.fits() else 0.0
                    if seconds:
                        self._longer, self.due = seconds / KERNELS_FOR, self.calls + 1
                    else:
                        self._longer = 0.0

    def native_text(self, what: str, name: str) -> str:
        """Return the native code of all branches as text, or why there is none."""
        from wengert.compilation.native import entry, grouping, layout, lowering

        try:
            if what == "loops":
                return str(lowering.lower_tree(self.tree, name).kernel)
            native = entry.native_code(self.tree, self.arrays[1], name, self.statics, self.arrays[0])
        except lowering.NoLoweringError as error:
            if layout.fits():
                grouping.use_kernels_in(self.tree)
            kernels = [kernel for branch in self.tree.branches for kernel in branch.kernels]
            if not kernels:
                return f"# no native code: {error}"
            texts = [kernel.text(what) for kernel in kernels]
            if what == "loops":
                compiled = {text for kernel in kernels for text in kernel.texts}
                texts.insert(0, f"# kernels: {sum(kernel.pieces for kernel in kernels)}, compiled: {len(compiled)}")
            return "\n\n".join(texts)
        return native.text if what == "llvm" else native.assembly()

    def fits(self, args: tuple[Any, ...]) -> bool:
        """Return whether arguments, leaves alone, have this signature."""
        text, names = self._test
        self.fits = eval(f"lambda args: {text}", names)  # type: ignore[method-assign]  # compiled when it is first asked
        return bool(self.fits(args))

    def described(self) -> str:
        """Write the arguments as a function's parameters."""
        parts = []
        inputs = self.tree.branches[0].program.inputs if self.tree.branches else ()
        for name, var in zip(self.names, inputs, strict=False):
            shape = f" {' x '.join(map(str, var.shape))}" if var.shape else ""
            parts.append(f"{name}: {var.dtype}{shape}")
        parts += [f"{name}={getattr(value, 'value', value)!r}" for name, value in self._fixed.items()]
        return ", ".join(parts)


def _always() -> bool:
    return True


# ---- Comparing and warning ----


_SINGLE = frozenset(map(np.dtype, (np.float16, np.float32, np.complex64, np.longdouble, np.clongdouble)))


def _is_mixed(program: Program) -> bool:
    """Return whether a Program computes in another precision than double."""
    inner = [atom for line in walk(program) for atom in (*line.inputs, *line.outputs)]
    values = [*program.inputs, *(a if isinstance(a, Var) else np.asarray(a.value) for a in inner)]
    return any(value.dtype in _SINGLE for value in values)


def _agree(one: Any, other: Any) -> bool:
    """Return whether two results are equal up to rounding and the types of numbers."""
    (ones, structure), (others, other_structure) = trees.flatten(one), trees.flatten(other)
    ones, others = [[part for leaf in leaves for part in _arrays_of(leaf)] for leaves in (ones, others)]
    return (
        structure == other_structure
        and len(ones) == len(others)
        and all(
            np.shape(a) == np.shape(b) and (a is b or np.all(np.isclose(a, b, rtol=1e-9, atol=1e-12, equal_nan=True)))
            if not isinstance(a, str)
            else a == b
            for a, b in zip(ones, others, strict=True)
        )
    )


def _numbers_in(result: Any) -> list[Any]:
    """Return the floating-point arrays and numbers in a result, as NumPy's."""
    arrays = [np.asarray(part) for leaf in trees.flatten(result)[0] for part in _arrays_of(leaf)]
    return [array for array in arrays if array.dtype.kind in "fc"]


def _arrays_of(leaf: Any) -> Sequence[Any]:
    """Return a leaf of a result, or the arrays of a sparse matrix."""
    if not hasattr(leaf, "tocoo"):
        return [leaf]
    matrix = leaf.tocoo()
    return [*matrix.coords, matrix.data]


def _listen(environment: Environment, calls: dict[str, RawLocation], work: Callable[..., Any], *args: Any) -> Any:
    """Call a function, and note its calls of clocks and of ``print`` if the user's code names any."""
    if not environment.suspicious:
        return work(*args)
    of_collector = {getattr(callback, "__code__", None) for callback in gc.callbacks}  # they may come at any moment

    def listen(frame: types.FrameType, event: str, called: Any) -> None:
        if event == "c_call" and (is_clock(called) or called in PRINTS):
            inner: types.FrameType | None = frame
            while inner is not None and inner.f_code not in environment.codes:
                inner = None if inner.f_code in of_collector else inner.f_back
            if inner is not None:
                calls.setdefault("prints" if called in PRINTS else "reads", (inner.f_code, inner.f_lasti))

    before = sys.getprofile()
    try:
        sys.setprofile(listen)
        return work(*args)
    finally:
        sys.setprofile(before)


def _warn(message: str, place: RawLocation | None) -> None:
    location = Location.of(place or caller())
    if location is None:
        warnings.warn(message, JitWarning, stacklevel=2)
    else:
        warnings.warn_explicit(message, JitWarning, location.file, location.line)
