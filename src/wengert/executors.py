"""Executors: blocks of seeds or of points are run here, or by the workers of an executor.

An *executor* is anything in the shape of `concurrent.futures`: threads, processes, dask, loky, MPI.  What all blocks
read travels to each worker once and is kept there under a key; a block is then a few numbers.  How a run is cut into
blocks does not depend on the executor, so the results are the same to the last bit; how many blocks make a task does:
it follows from the time of the first block, which is run here, and from what a task of this executor costs.

>>> from concurrent.futures import ThreadPoolExecutor
>>> import numpy as np, wengert as wg
>>> x = np.linspace(0.0, 1.0, 300)
>>> with ThreadPoolExecutor(2) as executor:
...     J = wg.jacobian(lambda x: np.sin(x) * x[::-1], executor=executor)(x)
>>> np.array_equal(J, wg.jacobian(lambda x: np.sin(x) * x[::-1])(x))
True
"""

from __future__ import annotations

import contextlib
import copyreg
import functools
import importlib
import inspect
import io
import itertools
import logging
import os
import pickle
import queue
import threading
import time
import uuid
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, CancelledError
from dataclasses import dataclass, field
from hashlib import blake2b
from types import FunctionType
from typing import Any, NamedTuple, Protocol

import numpy as np

from wengert.errors import ArgumentError, ExecutorError, PickleError, RawLocation, caller, explain_at
from wengert.program import Line, Program
from wengert.tracing import current_context, postponing_warnings, warn_of_domain, watch

Work = Callable[[Any, Any], Any]
"""Computes the result of a block: a function of what is shared, and the block."""
log = logging.getLogger("wengert")


class Executor(Protocol):
    """Anything that runs calls elsewhere, as ``concurrent.futures.Executor`` does."""

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Any:
        """Return a future of a call: an object with ``result``, ``add_done_callback`` and ``cancel``."""


def demand_executor(executor: Any) -> None:
    """Raise ArgumentError if an executor is none.

    >>> try:
    ...     demand_executor(4)
    ... except ArgumentError as error:
    ...     print(str(error).splitlines()[0])
    executor=4 is no executor: it has no method submit:
    """
    if executor is None or (callable(getattr(executor, "submit", None)) and not isinstance(executor, type)):
        if not hasattr(executor, "get_executor"):
            return
        instead = "Write executor=client.get_executor()."
        raise ArgumentError.at_caller("a dask client submits tasks, but not as concurrent.futures does:", instead)
    what = "is a class" if isinstance(executor, type) else "is no executor: it has no method submit"
    raise ArgumentError.at_caller(
        f"executor={executor!r} {what}:",
        "Pass one in the shape of concurrent.futures: ThreadPoolExecutor(), ProcessPoolExecutor(), dask's "
        "client.get_executor(), loky.get_reusable_executor(), or None to run here.",
    )


class Shared:
    """What all blocks of a run read, and how a worker comes by it.

    Attributes
    ----------
    value
        It, here.
    build
        Makes it of its parts there: a function of a module, which pickle finds by name.
    parts
        Returns the parts, each of which travels once.
    has_state
        Returns whether it changes while a block is run, so that each thread needs one of its own.
    """

    __slots__ = ("build", "has_state", "parts", "value")

    def __init__(
        self,
        value: Any,
        build: Callable[..., Any],
        parts: Callable[[], Sequence[Any]],
        has_state: Callable[[], bool] = bool,
    ) -> None:
        self.value, self.build, self.parts, self.has_state = value, build, parts, has_state


def run_blocks(executor: Executor | None, work: Work, shared: Shared, blocks: Sequence[Any]) -> Iterator[Any]:
    """Yield the results of all blocks, in their order.

    Without an executor, and inside a trace, which records what is done on its own thread, they are run here.
    """
    if executor is None or current_context().tapes:
        return _in_turn(work, shared.value, blocks)
    return _run_there(executor, work, shared, blocks)


def _in_turn(work: Work, value: Any, blocks: Sequence[Any]) -> Iterator[Any]:
    """Run blocks in turn; each begins with the alarms that were there before all of them, as it would elsewhere."""
    context = current_context()
    if context.tapes or len(blocks) == 1:
        for block in blocks:
            yield work(value, block)
        return
    before = total = context.alarms
    for block in blocks:
        context.alarms = before
        result = work(value, block)
        total += context.alarms - before
        context.alarms = total
        yield result


# ---- In the worker ----

PROCESS = uuid.uuid4().hex
"""The name of this process, with its number: a process that is forked has another."""


class Task(NamedTuple):
    """Some blocks, as they travel.

    `parts` are pickled, or None where the worker is taken to have them; their `keys` say which.
    """

    version: str
    number: int
    work: Work
    build: Callable[..., Any]
    has_state: bool
    keys: tuple[Hashable, ...]
    parts: tuple[bytes | None, ...]
    errors: Any
    alarms: int
    blocks: Sequence[Any]


class Outcome(NamedTuple):
    """What a worker returns of a task: the results, and what NumPy reported on the way."""

    version: str
    is_missing: bool = False
    """True if the worker lacks a part; it has done nothing."""
    results: Sequence[Any] = ()
    warnings: Sequence[Any] = ()
    alarms: int = 0


MOST_PARTS, MOST_BUILT = 16, 2
"""A worker keeps the latest parts, so many of them, and what it has built of them."""


class _Threads(threading.local):
    def __init__(self) -> None:
        self.built: OrderedDict[Any, Any] = OrderedDict()


_here: dict[Hashable, Shared] = {}
"""What runs of this process share with threads of this process."""
_parts: OrderedDict[Hashable, Any] = OrderedDict()
_built: OrderedDict[Any, Any] = OrderedDict()
_threads = _Threads()
_storing = threading.RLock()


def run_task(task: Task) -> Outcome:
    """Run the blocks of a task, in a worker."""
    from wengert import __version__

    if task.version != __version__:
        return Outcome(__version__)
    with np.errstate(**task.errors):  # as it was where the function ran
        value = _value_of(task)
        if value is None:
            return Outcome(__version__, is_missing=True)
        return watch(_outcome, task, value[0], __version__)  # type: ignore[no-any-return]


def _outcome(task: Task, value: Any, version: str) -> Outcome:
    context = current_context()
    context.alarms = task.alarms
    with postponing_warnings() as warnings:
        results = list(_in_turn(task.work, value, task.blocks))
    return Outcome(version, False, results, warnings, context.alarms - task.alarms)


def _value_of(task: Task) -> tuple[Any] | None:
    """Return what the blocks of a task share, which is built of its parts once; None if parts are lacking."""
    with _storing:
        shared = _here.get(task.keys)
        if shared is not None and not task.has_state:
            return (shared.value,)
        built = _threads.built if task.has_state else _built
        if task.keys in built:
            return (built[task.keys],)
        for key, part in zip(task.keys, task.parts, strict=True):
            if part is not None and key not in _parts:
                _keep(_parts, key, pickle.loads(part), MOST_PARTS)
        if shared is None and not all(key in _parts for key in task.keys):
            return None
        parts = [_parts[key] for key in task.keys] if shared is None else shared.parts()
        return (_keep(built, task.keys, task.build(*parts), MOST_BUILT),)


def _keep(values: OrderedDict[Any, Any], key: Hashable, value: Any, most: int) -> Any:
    values[key] = value
    while len(values) > most:
        values.popitem(last=False)
    return value


# ---- What an executor is like ----

_PROBE = (
    "(lambda wg, sys, os: (wg.__version__, getattr(sys.modules.get('wengert.executors'), 'PROCESS', None), "
    "os.getpid()))(*map(__import__, ('wengert', 'sys', 'os')))"
)
"""Evaluated by the workers, each of which may lack wengert, and imports it before anything is timed."""
MOST_PROBES = 64
PROBES, PROBE_BYTES = 8, 1 << 20


@dataclass(eq=False)
class Pool:
    """What was measured of an executor when it was first used; it lives as long as the executor.

    Attributes
    ----------
    is_here
        True if its workers are threads of this process, so that nothing is pickled for them.
    workers
        How many there are.
    overhead
        The seconds that a task takes beside its work.
    seconds_a_byte
        The seconds that a byte of a result takes.
    sent
        The keys of the parts that were sent last, as many as a worker keeps.
    """

    is_here: bool
    workers: int
    overhead: float
    seconds_a_byte: float
    sent: OrderedDict[Hashable, None] = field(default_factory=OrderedDict)

    def blocks_in_a_task(self, count: int, seconds: float, size: int) -> int:
        """Return how many of the blocks that are left go in a task; 0 if they are sooner done here.

        Parameters
        ----------
        count
            The number of blocks that are left.
        seconds
            The time that one takes here.
        size
            The bytes of its result.

        >>> processes, cluster = Pool(False, 4, 0.0003, 1e-9), Pool(False, 64, 0.006, 1e-9)
        >>> [pool.blocks_in_a_task(1000, 0.01, 8000) for pool in (processes, cluster)]
        [1, 6]
        >>> processes.blocks_in_a_task(1000, 3e-4, 8000), processes.blocks_in_a_task(1, 1e-4, 8000)
        (10, 0)
        """
        together = min(max(1, round(SHARE * self.overhead / max(seconds, 1e-9))), -(-count // self.workers))
        tasks = -(-count // together)
        here = count * seconds
        busy = -(-tasks // self.workers) * (together * seconds + self.overhead)
        there = max(busy, tasks * self.overhead + count * size * self.seconds_a_byte)
        return together if there < WORTH * here else 0


SHARE, WORTH = 10, 0.9
"""A task takes so many times as long as what it costs to hand it over; and all of them, at most this share of the time
that they take here."""
_pools: weakref.WeakKeyDictionary[Any, Pool] = weakref.WeakKeyDictionary()


def pool_of(executor: Executor) -> Pool:
    """Return an executor with what is known of it; raise ExecutorError if its workers cannot take tasks."""
    try:
        pool = _pools.get(executor)
    except TypeError:  # it cannot be referred to weakly
        return _measure(executor)
    if pool is None:
        pool = _pools[executor] = _measure(executor)
    return pool


def _measure(executor: Executor) -> Pool:
    from wengert import __version__

    workers = _workers_of(executor)
    probes = [executor.submit(eval, f"{_PROBE} # {k}") for k in range(min(workers, MOST_PROBES))]
    is_here = True
    for probe in probes:
        try:
            version, process, number = probe.result()
        except ModuleNotFoundError as error:
            if not _is_lacking(error):
                raise
            raise _lacking(error) from error
        if version != __version__ or process is None:
            raise _other_version(version)
        is_here = is_here and (process, number) == (PROCESS, os.getpid())
    start = time.perf_counter()
    for future in [executor.submit(eval, repr(k)) for k in range(PROBES)]:
        future.result()
    overhead = (time.perf_counter() - start) / PROBES
    seconds_a_byte = 0.0
    if not is_here:
        start = time.perf_counter()
        executor.submit(eval, f"bytes({PROBE_BYTES})").result()
        seconds_a_byte = max(0.0, time.perf_counter() - start - overhead) / PROBE_BYTES
    return Pool(is_here, workers, overhead, seconds_a_byte)


def _workers_of(executor: Any) -> int:
    """Return how many tasks an executor runs at once, as far as it says so.

    >>> from concurrent.futures import ThreadPoolExecutor
    >>> _workers_of(ThreadPoolExecutor(3))
    3
    """
    for name in ("_max_workers", "num_workers", "max_workers"):
        count = getattr(executor, name, None)
        if isinstance(count, int) and count > 0:
            return count
    nthreads = getattr(getattr(executor, "_client", None), "nthreads", dict)  # dask's
    return sum(nthreads().values()) or os.cpu_count() or 1


def _is_lacking(error: BaseException) -> bool:
    """Return whether an error says that wengert, or a module of it, is not there."""
    return isinstance(error, ModuleNotFoundError) and (error.name or str(error)).partition(".")[0] == "wengert"


def _lacking(error: BaseException) -> ExecutorError:
    return ExecutorError.at_caller(
        f"the workers of this executor lack wengert ({error}):",
        "Install it where they run, the same version as here, in the environment that they start in.",
    )


def _other_version(version: str) -> ExecutorError:
    from wengert import __version__

    return ExecutorError.at_caller(
        f"the workers of this executor have wengert {version}, and here it is {__version__}:",
        "Install the same version in both, so that the results are the same.",
    )


# ---- Handing blocks over ----

WINDOW = 4
"""So many tasks a worker are handed over before the first of them is done."""
ATTEMPTS = 2
"""A task is handed over so often, if its worker dies; then it is run here."""
_numbers = itertools.count()


def _run_there(executor: Executor, work: Work, shared: Shared, blocks: Sequence[Any]) -> Iterator[Any]:
    """Run the first block here, and the others by the workers of a pool if they are sooner done so."""
    from wengert import __version__

    pool = pool_of(executor)
    if not blocks:
        return
    parts = () if pool.is_here else tuple([_dumps(part) for part in shared.parts()])
    context = current_context()
    alarms = context.alarms
    start = time.perf_counter()
    (first,) = _in_turn(work, shared.value, blocks[:1])
    seconds = time.perf_counter() - start
    yield first
    together = pool.blocks_in_a_task(len(blocks) - 1, seconds, _bytes_of(first)) if len(blocks) > 1 else 0
    heard, context.alarms = context.alarms - alarms, alarms
    if not together:
        yield from _in_turn(work, shared.value, blocks[1:])
    else:
        keys: tuple[Hashable, ...] = tuple([blake2b(part, digest_size=16).digest() for part in parts])
        if pool.is_here:
            keys = ((PROCESS, next(_numbers)),)
            _here[keys] = shared
        errors = {kind: "warn" if how == "call" else how for kind, how in np.geterr().items()}
        task = Task(__version__, 0, work, shared.build, shared.has_state(), keys, parts, errors, alarms, ())
        groups = [blocks[k : k + together] for k in range(1, len(blocks), together)]
        try:
            with _Progress(len(blocks), 1) as progress:
                yield from _Run(executor, pool, shared, task, groups, progress).results()
        finally:
            _here.pop(keys, None)
    context.alarms += heard


def _bytes_of(result: Any) -> int:
    """Return the bytes of the arrays in nested sequences.

    >>> _bytes_of([np.zeros(3), (np.zeros((2, 2)), None)])
    56
    """
    if isinstance(result, (list, tuple)):
        return sum(map(_bytes_of, result))
    return int(getattr(result, "nbytes", 0))


class _Run:
    """The tasks of one run: those that are waiting, those that are with the workers, and what came back."""

    def __init__(
        self,
        executor: Executor,
        pool: Pool,
        shared: Shared,
        task: Task,
        groups: Sequence[Sequence[Any]],
        progress: _Progress,
    ) -> None:
        self.executor, self.pool, self.shared, self.task = executor, pool, shared, task
        self.groups, self.progress = groups, progress
        self.waiting = deque(range(len(groups)))
        self.attempts = [0] * len(groups)
        self.lacking: set[int] = set()
        """The tasks whose worker lacked a part."""
        self.running: dict[int, Any] = {}
        """The futures of the tasks that are with the workers."""
        self.outcomes: dict[int, Outcome] = {}
        self.done: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        self.carriers = 0 if all(key in pool.sent for key in task.keys) else pool.workers
        """So many tasks still take the parts with them."""
        self.is_lost = False
        """True if the executor takes no more tasks."""
        self.place: RawLocation | None = caller()

    def results(self) -> Iterator[Any]:
        """Yield the results of all blocks in their order, in whatever order the tasks end."""
        context = current_context()
        try:
            for number in range(len(self.groups)):
                while number not in self.outcomes:
                    self._hand_over()
                    if self.running:
                        self._receive(*self.done.get())
                    else:  # the executor takes no more
                        self._run_here(self.waiting.popleft())
                outcome = self.outcomes.pop(number)
                for warning in outcome.warnings:
                    warn_of_domain(*warning)
                context.alarms += outcome.alarms
                yield from outcome.results
            for key in self.task.keys if self.task.parts else ():
                _keep(self.pool.sent, key, None, MOST_PARTS)
        finally:
            for future in self.running.values():
                future.cancel()

    def _hand_over(self) -> None:
        """Submit tasks as long as few are with the workers."""
        while self.waiting and not self.is_lost and len(self.running) < WINDOW * self.pool.workers:
            number = self.waiting[0]
            takes_parts = self.carriers > 0 or number in self.lacking
            parts = self.task.parts if takes_parts and self.task.parts else (None,) * len(self.task.keys)
            task = self.task._replace(number=next(_numbers), parts=parts, blocks=self.groups[number])
            try:
                future = self.executor.submit(run_task, task)
            except Exception as error:
                if not _is_loss(error) and not isinstance(error, RuntimeError):
                    raise
                self._lose(error)
                return
            self.waiting.popleft()
            self.carriers -= 1
            self.running[number] = future
            future.add_done_callback(functools.partial(_put, self.done, number))

    def _receive(self, number: int, future: Any) -> None:
        """Take what became of a task."""
        if self.running.pop(number, None) is None:  # the executor was given up, and it has been run here
            return
        try:
            outcome = future.result()
        except (Exception, CancelledError) as error:
            if _is_lacking(error):
                raise _lacking(error) from error
            if not _is_loss(error):
                self._run_here(number)  # what the function itself raises is raised here, where its lines are
                happened = f"a worker failed where this process does not ({type(error).__name__}: {error}):"
                instead = "Compare what is installed there, and the memory that the workers have."
                raise ExecutorError(explain_at(self.place, happened, instead)) from error
            self.attempts[number] += 1
            log.warning("a worker was lost (%s: %s); its blocks run again", type(error).__name__, error)
            if self.attempts[number] < ATTEMPTS:
                self.waiting.appendleft(number)
            else:
                self._run_here(number)
            return
        if outcome.version != self.task.version:
            raise _other_version(outcome.version)
        if not outcome.is_missing:
            self._end(number, outcome)
        elif self.task.parts:
            self.lacking.add(number)
            self.waiting.appendleft(number)
        else:
            self._run_here(number)

    def _run_here(self, number: int) -> None:
        context = current_context()
        before, context.alarms = context.alarms, self.task.alarms
        try:
            results = list(_in_turn(self.task.work, self.shared.value, self.groups[number]))
            heard = context.alarms - self.task.alarms
        finally:
            context.alarms = before
        self._end(number, Outcome(self.task.version, False, results, (), heard))

    def _end(self, number: int, outcome: Outcome) -> None:
        self.outcomes[number] = outcome
        self.progress.advance(len(self.groups[number]))

    def _lose(self, error: Exception) -> None:
        """Give up an executor that takes no more tasks: what has not come back is run here."""
        log.warning("the executor takes no more tasks (%s: %s); the rest runs here", type(error).__name__, error)
        self.is_lost = True
        self.waiting = deque(sorted([*self.waiting, *self.running]))
        self.running.clear()


def _put(done: queue.SimpleQueue[tuple[int, Any]], number: int, future: Any) -> None:
    done.put((number, future))


def _is_loss(error: BaseException) -> bool:
    """Return whether an error says that a worker is gone, not that its work has failed."""
    is_of_dask = type(error).__module__.partition(".")[0] == "distributed"
    return is_of_dask or isinstance(error, (BrokenExecutor, CancelledError, ConnectionError, EOFError))


PATIENCE = 2.0
"""After so many seconds the progress is shown, in a terminal or notebook."""


class _Progress:
    """A bar of the blocks that are done, if they last."""

    def __init__(self, total: int, completed: int) -> None:
        self.total, self.completed = total, completed
        self.start = time.monotonic()
        self.bar: Any = None

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def advance(self, count: int) -> None:
        """Count blocks that are done."""
        self.completed += count
        if self.bar is None and time.monotonic() - self.start >= PATIENCE and self.completed < self.total:
            self.bar = _bar(self.total)
        if self.bar is not None:
            self.bar.update(0, completed=self.completed)


def _bar(total: int) -> Any:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    bar = Progress(console=console, transient=True, disable=not (console.is_terminal or console.is_jupyter))
    bar.add_task("blocks", total=total)
    bar.start()
    return bar


# ---- What travels ----


def _reduce_array(array: Any) -> Any:
    """Pickle an array so that it lies in memory there as it does here: sums are taken in the same order."""
    if array.flags.forc or array.dtype.hasobject:
        return array.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
    strides = array.strides
    axes = tuple(sorted(range(array.ndim), key=lambda axis: -abs(strides[axis])))
    turns = tuple([slice(None, None, -1 if strides[axis] < 0 else 1) for axis in axes])
    once = tuple([slice(None, None if strides[axis] else 1) for axis in axes])
    return _laid_out, (np.ascontiguousarray(array.transpose(axes)[turns][once]), axes, turns, array.shape)


def _laid_out(array: Any, axes: Sequence[int], turns: tuple[slice, ...], shape: Sequence[int]) -> Any:
    """Return an array of a shape whose axes lie in this order, some of them backwards, some of one element repeated."""
    laid = array[turns].transpose(np.argsort(axes))
    return laid if laid.shape == shape else np.broadcast_to(laid, shape)


class _Pickler(pickle.Pickler):
    dispatch_table = {**copyreg.dispatch_table, np.ndarray: _reduce_array}  # noqa: RUF012 - read by pickle


def _dumps(part: Any) -> bytes:
    """Pickle a part; raise PickleError that names what cannot be pickled."""
    try:
        return _pickled(part)
    except Exception as error:
        raise _refusal(part) from error


def _pickled(value: Any) -> bytes:
    """Pickle a value, its functions without a name by cloudpickle, if it is installed."""
    try:
        return _written(_Pickler, value)
    except Exception:
        try:
            by_value = _by_value()
        except ImportError:
            by_value = None
        if by_value is None:
            raise
        return _written(by_value, value)


def _written(pickler: type[pickle.Pickler], value: Any) -> bytes:
    file = io.BytesIO()
    pickler(file, pickle.HIGHEST_PROTOCOL).dump(value)
    return file.getvalue()


@functools.cache
def _by_value() -> type[pickle.Pickler]:
    """Return a pickler that takes functions by value; raise ImportError if there is none."""
    cloudpickle = importlib.import_module("cloudpickle")

    class ByValue(cloudpickle.Pickler):  # type: ignore[misc,name-defined]
        dispatch_table = {**cloudpickle.Pickler.dispatch_table, np.ndarray: _reduce_array}  # noqa: RUF012

    return ByValue


def _refusal(part: Any) -> PickleError:
    """Return the error that names what cannot be pickled, and the line of the user's code that holds it."""
    place: RawLocation | None = caller()
    holder, inside = "what the blocks share", part
    for line in part.lines if isinstance(part, Program) else ():
        if _failure(line) is not None:
            holder, inside, place = f"its line {line.outputs[0]} = {line.primitive.name}", line, line.place or place
            break
    path, culprit = _culprit(inside, (), set())
    named = f"{path[-1]!r}, a {type(culprit).__name__}" if path else f"a {type(culprit).__name__}"
    return PickleError.at(
        place,
        f"the function cannot travel to the workers: {holder} holds {named}, which cannot be pickled "
        f"({_failure(culprit)}):",
        "Pass what it holds as data, or use threads: ThreadPoolExecutor().",
    )


def _failure(value: Any) -> Exception | None:
    """Return why a value cannot be pickled, None if it can."""
    try:
        _pickled(value)
    except Exception as error:
        return error
    return None


def _culprit(value: Any, path: tuple[str, ...], seen: set[int]) -> tuple[tuple[str, ...], Any]:
    """Return the innermost value that cannot be pickled, of those that one holds, and the names that lead to it."""
    seen.add(id(value))
    for name, inner in _held_by(value):
        if id(inner) not in seen and _failure(inner) is not None:
            return _culprit(inner, (*path, name), seen)
    return path, value


def _held_by(value: Any) -> list[tuple[str, Any]]:
    """Return what a value holds, by name."""
    if isinstance(value, Line):
        return [(value.primitive.name, value.primitive), *value.params.items()]
    if isinstance(value, FunctionType):
        with contextlib.suppress(ValueError):  # a name that has no value yet
            read = inspect.getclosurevars(value)
            return [*read.nonlocals.items(), *read.globals.items()]
    if isinstance(value, dict):
        return [(str(key), inner) for key, inner in value.items()]
    if isinstance(value, (list, tuple)):
        return [(f"item {k}", inner) for k, inner in enumerate(value)]
    slots = [slot for kind in type(value).__mro__ for slot in getattr(kind, "__slots__", ())]
    attributes = [(name, getattr(value, name)) for name in slots if hasattr(value, name)]
    return [*attributes, *getattr(value, "__dict__", {}).items()]
