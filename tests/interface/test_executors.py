"""Executors: whoever runs the blocks, the results are those of one thread, and what goes wrong is named."""

from __future__ import annotations

import gc
import io
import itertools
import multiprocessing
import os
import pickle
import random
import re
import signal
import time
import warnings
import weakref
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
import rich.console
from scipy import sparse

import wengert as wg
from wengert import executors
from wengert.accumulation import compressed, dense
from wengert.errors import ArgumentError, DomainWarning, ExecutorError, PickleError

pytestmark = pytest.mark.not_compiled("a trace runs in this process alone, whatever the executor is")
RNG = np.random.default_rng(3)
MAIN = os.getpid()


# ---- Executors ----


class Here:
    """An executor whose tasks run at once in this process, behind a pickle; its futures end when they are asked to."""

    def __init__(self, workers=2):
        self._max_workers = workers
        self.sizes = []

    def submit(self, fn, /, *args):
        data = pickle.dumps((fn, args))
        self.sizes.append(len(data))
        future = Future()
        self.end(future, lambda: fn(*args))
        return future

    def end(self, future, work):
        """End a future with what a call returns or raises."""
        try:
            future.set_result(work())
        except Exception as error:
            future.set_exception(error)


class Elsewhere(Here):
    """An executor that says that it is another process, so that everything travels in pickles."""

    def submit(self, fn, /, *args):
        if fn is eval and "PROCESS" in args[0]:
            future = Future()
            future.set_result((wg.__version__, "elsewhere", 1))
            return future
        fn, args = pickle.loads(pickle.dumps((fn, args)))
        return super().submit(fn, *args)


class Shuffled(Elsewhere):
    """An executor whose tasks end in any order; `order` has the numbers of blocks as they came back."""

    def __init__(self):
        super().__init__(6)
        self.threads, self.random = ThreadPoolExecutor(6), random.Random(5)
        self.begun, self.ended = itertools.count(), []

    def end(self, future, work):
        number, delay = next(self.begun), self.random.uniform(0, 0.01)

        def late():
            time.sleep(delay)
            self.ended.append(number)
            super(Shuffled, self).end(future, work)

        self.threads.submit(late)


def processes():
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))


def dask_client(**options):
    from dask.distributed import Client, LocalCluster

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cluster = LocalCluster(dashboard_address=":0", **options)
        return cluster, Client(cluster)


@pytest.fixture(scope="module", params=["threads", "processes", "dask", "dask threads", "loky", "pickles"])
def executor(request):
    if request.param == "threads":
        with ThreadPoolExecutor(2) as pool:
            yield pool
    elif request.param == "processes":
        with processes() as pool:
            yield pool
    elif request.param == "loky":
        import loky

        pool = loky.ProcessPoolExecutor(2)
        yield pool
        pool.shutdown()
    elif request.param == "pickles":
        yield Elsewhere()
    else:
        of_threads = request.param == "dask threads"
        options = {"n_workers": 1 if of_threads else 2, "threads_per_worker": 2 if of_threads else 1}
        cluster, client = dask_client(processes=not of_threads, **options)
        yield client.get_executor()
        client.close()
        cluster.close()


@pytest.fixture
def in_small_blocks(monkeypatch):
    """Cut everything into blocks of a few seeds or members, and hand them over, two a task, though it is in vain."""
    monkeypatch.setattr(dense, "ELEMENTS", 40)
    monkeypatch.setattr(compressed, "seeds_at_once", lambda linearization: 1)
    monkeypatch.setattr(executors.Pool, "blocks_in_a_task", lambda self, count, seconds, size: 2)


# ---- Functions ----

W = RNG.normal(size=(13, 11))


def layers(x):
    return np.tanh(W @ np.sin(x)) * np.sum(x**2)


def bow_tie(x):
    return np.exp(-np.arange(60.0) * np.sum(W @ np.sin(x)) / 9)


def looping(x):
    y = wg.fori_loop(0, 20, lambda i, c: np.sin(c) * 0.9 + 0.1 * x, x)
    return y[::-1] * np.roll(y, 1)


def checkpointed(x):
    y = wg.fori_loop(0, 20, lambda i, c: np.cos(c) + x * c, x, checkpoint=3)
    return y * x[0]


def strided(x):
    y = x.reshape(4, 3, 2).transpose(1, 2, 0)
    return np.sum(np.exp(y) * np.ones((5, 1, 1, 1)), axis=(0, 2)).ravel()


def network(p, x):
    return {"y": np.tanh(p["w"] @ x + p["b"]), "norm": np.sum(p["w"] ** 2)}


def holomorphic(z):
    return np.exp(z) * z[::-1] + np.sum(z)


def tridiagonal(x):
    left, right = np.concatenate([[0.0], x[:-1]]), np.concatenate([x[1:], [0.0]])
    return 2 * x - x**3 + np.sin(left) * x - right**2


def arrowhead(x):
    return np.concatenate([[np.sum(x**2)], x[0] * x[1:] ** 3])


def folded(x):
    """Return a few sums of elementwise lines on a large array, which are preaccumulated."""
    y = np.sin(np.exp(x) * x) / x + np.cos(x) * np.exp(-x)
    return np.stack([np.sum(y * k * x) for k in range(1, 20)])


def stencil(x):
    y = np.sin(np.exp(x) * x) / x + np.cos(x) * np.exp(-x) * np.tanh(x)
    return y + sum(k * np.roll(y, k) for k in range(1, 5))


def coupled(x):
    return np.sum(np.sin(x[1:] * x[:-1]) + x[1:] ** 3) + np.sum(x[0] * x)


def with_edges(x):
    return np.where(x > 0, np.sqrt(np.abs(x)) * np.log(np.where(x > 0, x, 1.0)), x) * np.sum(x)


def point(x):
    if x[0] > 0.5:
        return np.array([np.sum(x * x), x[1]])
    return np.array([np.exp(-x[0]) * x[1], np.sin(W[:2, :2] @ x)[0]])


X, V = RNG.normal(size=11), RNG.normal(size=24)
Z = RNG.normal(size=9) + 1j * RNG.normal(size=9)
LONG = RNG.uniform(0.5, 1.5, 2000)
POINTS = RNG.normal(size=(203, 2))
ZEROS = np.array([0.0, 1.0, -2.0, 0.0, 0.25, 3.0])
TREE = {"w": RNG.normal(size=(3, 4)), "b": RNG.normal(size=3)}, RNG.normal(size=4)
SIX = np.linspace(-1.0, 2.0, 60)
CASES = {
    "forward": lambda e: wg.jacobian(layers, mode="forward", executor=e)(X),
    "reverse": lambda e: wg.jacobian(layers, mode="reverse", executor=e)(X),
    "waist": lambda e: wg.jacobian(bow_tie, mode="waist", executor=e)(X),
    "loop": lambda e: wg.jacobian(looping, executor=e)(X),
    "loop in reverse": lambda e: wg.jacobian(looping, mode="reverse", executor=e)(X),
    "checkpoints": lambda e: wg.jacobian(checkpointed, mode="reverse", executor=e)(X),
    "strides": lambda e: wg.jacobian(strided, mode="forward", executor=e)(V[::-1]),
    "strided argument": lambda e: wg.jacobian(lambda a: np.sum(a, axis=(0, 2)) ** 2, executor=e)(
        np.arange(24.0).reshape(2, 4, 3).transpose(1, 2, 0) / 7
    ),
    "trees": lambda e: wg.jacobian(network, (0, 1), executor=e)(*TREE),
    "complex": lambda e: wg.jacobian(holomorphic, executor=e)(Z),
    "edges": lambda e: wg.jacobian(with_edges, executor=e)(ZEROS),
    "Hessian": lambda e: wg.hessian(coupled, executor=e)(V),
    "auxiliary": lambda e: wg.jacobian(lambda x: (layers(x), x[0]), has_aux=True, executor=e)(X),
    "constant result": lambda e: wg.jacobian(lambda x: (np.ones(3), x * x), mode="reverse", executor=e)(X),
    "columns": lambda e: wg.jacobian(tridiagonal, sparse=True, mode="forward", executor=e)(SIX),
    "rows": lambda e: wg.jacobian(tridiagonal, sparse=True, mode="reverse", executor=e)(SIX),
    "pattern": lambda e: wg.jacobian(
        tridiagonal, sparse=sparse.diags_array([1.0] * 3, offsets=[-1, 0, 1], shape=(60, 60)), executor=e
    )(SIX),
    "arrowhead": lambda e: wg.jacobian(arrowhead, sparse=True, executor=e)(SIX),
    "automatic": lambda e: wg.jacobian(tridiagonal, sparse="auto", executor=e)(SIX),
    "sparse Hessian": lambda e: wg.hessian(coupled, sparse=True, executor=e)(SIX),
    "preaccumulated": lambda e: wg.jacobian(folded, executor=e)(LONG),
    "preaccumulated columns": lambda e: wg.jacobian(stencil, sparse=True, executor=e)(LONG),
    "points": lambda e: wg.vmap(point, executor=e)(POINTS),
    "Jacobians of points": lambda e: wg.vmap(wg.jacobian(point), executor=e)(POINTS),
    "columns of points": lambda e: wg.vmap(layers, in_axes=1, out_axes=1, executor=e)(RNG_POINTS),
    "one of several": lambda e: wg.vmap(lambda p, x: network(p, x), in_axes=(None, 0), executor=e)(
        TREE[0], RNG_POINTS[:4].T
    ),
    "Jacobian of points": lambda e: wg.jacobian(wg.vmap(point), sparse=True, executor=e)(POINTS),
    "dense Jacobian of points": lambda e: wg.jacobian(wg.vmap(layers), executor=e)(RNG_POINTS[:, :4].T),
}
RNG_POINTS = RNG.normal(size=(11, 120))


def leaves(value):
    if sparse.issparse(value):
        return [value.data, value.indices, value.indptr]
    if isinstance(value, dict):
        value = [value[key] for key in sorted(value)]
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in leaves(item)]
    return [np.asarray(value)]


def assert_same_bits(ours, theirs):
    assert len(leaves(ours)) == len(leaves(theirs))
    for a, b in zip(leaves(ours), leaves(theirs), strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert a.tobytes() == b.tobytes()


# ---- The results are those of one thread ----


@pytest.mark.usefixtures("in_small_blocks")
@pytest.mark.filterwarnings("ignore::wengert.errors.CompressionWarning")
@pytest.mark.filterwarnings("ignore::wengert.errors.DecisionWarning")
@pytest.mark.parametrize("case", CASES)
def test_the_results_are_those_of_one_thread(case, executor):
    assert_same_bits(CASES[case](executor), CASES[case](None))


@pytest.mark.usefixtures("in_small_blocks")
@pytest.mark.filterwarnings("ignore::wengert.errors.DecisionWarning")
@pytest.mark.parametrize("case", ["reverse", "complex", "Hessian", "columns", "points"])
def test_blocks_come_back_in_any_order(case):
    shuffled = Shuffled()
    assert_same_bits(CASES[case](shuffled), CASES[case](None))
    assert shuffled.ended != sorted(shuffled.ended)


@pytest.mark.filterwarnings("ignore::wengert.errors.DecisionWarning")
def test_small_blocks_are_right(monkeypatch):
    expected = {case: CASES[case](None) for case in ("forward", "reverse", "loop", "complex", "edges", "points")}
    monkeypatch.setattr(dense, "ELEMENTS", 40)
    for case, value in expected.items():
        for ours, theirs in zip(leaves(CASES[case](None)), leaves(value), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-13, atol=1e-13)


def test_blocks_leave_lines_long():
    """A line has 32,768 elements in a block, so that what a line costs by itself hardly counts."""
    for n, lines in ((1000, 1), (100, 30)):
        f = lambda x, lines=lines: [x := np.sin(x) for _ in range(lines)][-1]  # noqa: E731
        linearization = wg.linearize(f, np.ones(n))[1]._linearization
        assert dense.seeds_in_a_block(linearization) == -(-dense.ELEMENTS // n)
    scan = wg.linearize(lambda x: wg.fori_loop(0, 9, lambda i, c: np.sum(np.sin(c * x)), 0.5) * x, np.ones(500))[1]
    assert dense.seeds_in_a_block(scan._linearization) > dense.ELEMENTS // 500  # the numbers in its body are lines, too


# ---- Inside other transformations they run here ----


def refusing():
    class Refusing:
        def submit(self, fn, /, *args):
            raise AssertionError("nothing is handed over inside a trace")

    return Refusing()


def test_inside_a_trace_blocks_run_here():
    ex = refusing()
    H = wg.jacobian(lambda x: wg.jacobian(layers, executor=ex)(x)[0])(X)
    np.testing.assert_allclose(H, wg.hessian(lambda x: layers(x)[0])(X), rtol=1e-12, atol=1e-12)
    assert_same_bits(wg.jit(wg.jacobian(layers, executor=ex))(X), wg.jit(wg.jacobian(layers))(X))
    total = wg.grad(lambda x: np.sum(wg.vmap(np.sin, executor=ex)(x)))
    np.testing.assert_array_equal(total(X), np.cos(X))


# ---- What travels, and how often ----


@pytest.mark.usefixtures("in_small_blocks")
def test_a_program_travels_once_to_each_worker():
    data = RNG.normal(size=4000)  # 32,000 bytes that the Program holds

    def f(x):
        return np.array([np.sum(np.sin(x[k] * data)) for k in range(50)])

    ex = Elsewhere(workers=3)
    x = np.ones(50)
    wg.jacobian(f, mode="reverse")(x)  # the places of its lines are worked out
    J = wg.jacobian(f, mode="reverse", executor=ex)(x)
    large = [size for size in ex.sizes if size > 30_000]
    small = [size for size in ex.sizes if size <= 30_000]
    assert 0 < len(large) <= 3
    assert len(small) > 10
    assert max(small) < 2000
    del ex.sizes[:]
    assert_same_bits(wg.jacobian(f, mode="reverse", executor=ex)(x), J)
    assert max(ex.sizes) < 2000, "the second time nothing travels but numbers"


@pytest.mark.usefixtures("in_small_blocks")
def test_a_worker_that_has_forgotten_is_sent_the_program_again():
    ex = Elsewhere()
    J = wg.jacobian(layers, executor=ex)(X)
    executors._parts.clear()
    executors._built.clear()
    assert_same_bits(wg.jacobian(layers, executor=ex)(X), J)


@pytest.mark.usefixtures("in_small_blocks")
def test_threads_are_sent_nothing():
    with ThreadPoolExecutor(2) as pool:
        held = open(os.devnull)  # noqa: SIM115 - what no pickle takes

        def f(x):
            return x * np.sin(x) if held else x

        assert_same_bits(wg.jacobian(f, executor=pool)(X), wg.jacobian(f)(X))
        held.close()
    assert not executors._here


# ---- How many blocks make a task ----


def pool(**measured):
    return executors.Pool(**{"is_here": False, "workers": 4, "overhead": 0.0, "seconds_a_byte": 0.0, **measured})


def test_tasks_grow_with_what_the_executor_costs():
    assert pool(overhead=0.0003).blocks_in_a_task(1000, 0.01, 0) == 1
    assert pool(overhead=0.006).blocks_in_a_task(1000, 0.01, 0) == 6
    assert pool(overhead=0.006).blocks_in_a_task(1000, 0.001, 0) == 60
    assert pool(overhead=0.006).blocks_in_a_task(8, 0.001, 0) == 0, "8 ms are sooner done here"
    assert pool(overhead=0.006, workers=2).blocks_in_a_task(30, 0.02, 0) == 3
    assert pool(seconds_a_byte=1e-8).blocks_in_a_task(100, 0.01, 1 << 20) == 0, "a result takes as long as to make it"
    assert pool(seconds_a_byte=1e-8).blocks_in_a_task(100, 0.1, 1 << 20) == 1


def test_no_task_leaves_workers_idle():
    for workers in (2, 4, 64):
        for count in (3, 50, 1000):
            together = pool(overhead=0.1, workers=workers).blocks_in_a_task(count, 0.3, 0)
            assert together <= -(-count // workers)


def test_what_a_task_costs_is_measured_once():
    ex = Elsewhere()
    wg.jacobian(np.sin, executor=ex)(X)
    measured = len(ex.sizes)
    assert measured >= executors.PROBES
    wg.jacobian(np.sin, executor=ex)(X)
    assert len(ex.sizes) == measured, "so little work stays here"
    assert executors._pools[ex].overhead > 0


def test_an_executor_is_not_kept():
    ex = Elsewhere()
    wg.jacobian(layers, executor=ex)(X)
    alive = weakref.ref(ex)
    del ex
    gc.collect()
    assert alive() is None


# ---- Workers that die ----


def dying(shared, block):
    """Double a number; the first worker that is given a 5 kills itself."""
    flag, _ = shared
    if block == 5 and os.getpid() != MAIN_OF[0] and not os.path.exists(flag):
        open(flag, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * block


MAIN_OF = [0]


def both(flag, main):
    MAIN_OF[0] = main
    return flag, main


@pytest.mark.usefixtures("in_small_blocks")
@pytest.mark.parametrize("kind", ["processes", "loky", "dask"])
def test_a_worker_that_dies_loses_nothing(kind, tmp_path):
    flag = str(tmp_path / "died")
    shared = executors.Shared(both(flag, MAIN), both, lambda: [flag, MAIN])
    closing = []
    if kind == "dask":
        cluster, client = dask_client(n_workers=2, threads_per_worker=1, processes=True)
        closing, ex = [client, cluster], client.get_executor()
    elif kind == "loky":
        import loky

        ex = loky.ProcessPoolExecutor(2)
    else:
        ex = processes()
    try:
        assert list(executors.run_blocks(ex, dying, shared, range(30))) == [2 * k for k in range(30)]
        assert os.path.exists(flag), "a worker has died"
    finally:
        for one in closing:
            one.close()
        if not closing:
            ex.shutdown()


class Losing(Elsewhere):
    """An executor that loses every third task."""

    def end(self, future, work):
        if len(self.sizes) % 3 == 0 and len(self.sizes) > executors.PROBES + 2:
            future.set_exception(ConnectionResetError("the worker is gone"))
        else:
            super().end(future, work)


@pytest.mark.usefixtures("in_small_blocks")
def test_lost_tasks_are_handed_over_again():
    ex = Losing()
    assert_same_bits(wg.jacobian(layers, executor=ex)(X), wg.jacobian(layers)(X))
    assert ex.sizes


@pytest.mark.usefixtures("in_small_blocks")
def test_an_executor_that_is_shut_down_leaves_the_work_here():
    class Closing(Elsewhere):
        def submit(self, fn, /, *args):
            if len(self.sizes) > executors.PROBES + 3:
                raise RuntimeError("cannot schedule new futures after shutdown")
            return super().submit(fn, *args)

    assert_same_bits(wg.jacobian(layers, executor=Closing())(X), wg.jacobian(layers)(X))


# ---- Workers that are not fit ----


class Answering(Elsewhere):
    """An executor whose workers answer the first question by a value or an error."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def submit(self, fn, /, *args):
        future = Future()
        if isinstance(self.answer, Exception):
            future.set_exception(self.answer)
        else:
            future.set_result(self.answer)
        return future


def test_workers_that_lack_wengert_are_told():
    ex = Answering(ModuleNotFoundError("No module named 'wengert'", name="wengert"))
    with pytest.raises(ExecutorError, match=r"the workers of this executor lack wengert \(No module named 'wengert'\)"):
        wg.jacobian(np.sin, executor=ex)(X)


def processes_that_begin_with(code):
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=exec, initargs=(code,))


def test_workers_that_really_lack_wengert_are_told():
    with processes_that_begin_with("import sys; sys.modules['wengert'] = None") as ex:
        with pytest.raises(ExecutorError, match="lack wengert") as error:
            wg.jacobian(np.sin, executor=ex)(X)
        assert "test_executors.py" in str(error.value)


def test_workers_of_another_version_are_told():
    code = "import sys, types; sys.modules['wengert'] = types.SimpleNamespace(__version__='0.0.1')"
    message = rf"the workers of this executor have wengert 0\.0\.1, and here it is {re.escape(wg.__version__)}"
    with processes_that_begin_with(code) as ex, pytest.raises(ExecutorError, match=message):
        wg.vmap(np.sin, executor=ex)(np.ones(5))


@pytest.mark.usefixtures("in_small_blocks")
def test_a_worker_of_another_version_among_others_is_told(monkeypatch):
    ex = Elsewhere()
    wg.jacobian(np.sin, executor=ex)(X)
    run = executors.run_task
    monkeypatch.setattr(executors, "run_task", run_task_of_another_version)
    with pytest.raises(ExecutorError, match=r"have wengert 0\.0\.1"):
        wg.jacobian(layers, executor=ex)(X)
    assert run is not executors.run_task


def run_task_of_another_version(task):
    return executors.Outcome("0.0.1")


@pytest.mark.parametrize("wrong", [4, "threads", ThreadPoolExecutor, multiprocessing, np.sin])
@pytest.mark.parametrize("transformation", [wg.jacobian, wg.hessian, wg.vmap])
def test_what_is_no_executor_is_refused(transformation, wrong):
    with pytest.raises(ArgumentError, match=r"no executor|is a class") as error:
        transformation(np.sin, executor=wrong)
    assert isinstance(error.value, TypeError)
    assert "client.get_executor()" in str(error.value)


def test_a_dask_client_is_refused():
    class Client:
        def submit(self, fn, *args):
            pass

        def get_executor(self):
            pass

    with pytest.raises(TypeError, match=r"executor=client\.get_executor\(\)"):
        wg.jacobian(np.sin, executor=Client())


def test_an_elimination_has_no_passes_to_hand_over():
    with pytest.raises(ArgumentError, match="no passes that an executor could run"):
        wg.jacobian(np.sin, mode="elimination", executor=Here())


def test_an_executor_is_not_pickled():
    with pytest.raises(PickleError, match=r"an executor belongs to the process"):
        pickle.dumps(wg.jacobian(np.sin, executor=Here()))


# ---- Functions that cannot travel ----

LOG = io.StringIO()


def test_what_cannot_be_pickled_is_named(tmp_path):
    file = open(tmp_path / "log.txt", "w")  # noqa: SIM115

    @wg.custom_derivative
    def logged(x):
        return x**2

    def slope(y, x):
        file.write("asked\n")
        return 2 * x

    logged.def_partial(slope)
    with pytest.raises(PickleError) as error:
        wg.jacobian(lambda x: logged(x) * x, executor=Elsewhere())(X)
    message = str(error.value)
    assert "cannot travel to the workers" in message
    assert "'file', a TextIOWrapper, which cannot be pickled" in message
    assert "logged(x) * x" in message, "the line of the user's code"
    with ThreadPoolExecutor(2) as threads:
        np.testing.assert_array_equal(
            wg.jacobian(lambda x: logged(x) * x, executor=threads)(X), wg.jacobian(lambda x: logged(x) * x)(X)
        )
    file.close()


def test_a_function_need_not_travel(tmp_path):
    """It is traced here; what travels is what it has done."""
    with open(tmp_path / "data.txt", "w") as file:

        def f(x):
            file.write("traced\n")
            return np.sin(x) * x

        assert_same_bits(wg.jacobian(f, executor=Elsewhere())(X), wg.jacobian(f)(X))


# ---- Warnings and errors ----


@pytest.mark.usefixtures("in_small_blocks")
@pytest.mark.parametrize("make", [Elsewhere, lambda: ThreadPoolExecutor(2)])
def test_warnings_are_those_of_one_thread(make):
    x = np.where(np.arange(24) == 20, 0.0, 1.5)

    def f(x):
        return np.sqrt(x) * np.roll(x, 1) + np.log(x)

    def heard(ex):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            J = wg.jacobian(f, mode="reverse", executor=ex)(x)
        return J, [(w.category, str(w.message), w.filename, w.lineno) for w in caught]

    J, expected = heard(None)
    ours, warned = heard(make())
    assert_same_bits(ours, J)
    assert warned == expected
    assert {category for category, *_ in warned} == {DomainWarning}
    with np.errstate(all="ignore"):
        ours, warned = heard(make())
    assert not warned
    assert_same_bits(ours, J)


@pytest.mark.usefixtures("in_small_blocks")
@pytest.mark.parametrize("make", [Elsewhere, lambda: ThreadPoolExecutor(2)])
def test_errors_are_those_of_one_thread(make):
    def f(a):
        return np.linalg.eigh(a.reshape(3, 3) * np.ones((3, 3)) * np.eye(3))[1]

    messages = []
    for ex in (None, make()):
        with pytest.raises(wg.errors.DegenerateError) as error:
            wg.jacobian(f, mode="reverse", executor=ex)(np.ones(9))
        messages.append(str(error.value))
    assert messages[0] == messages[1]


def failing_elsewhere(shared, block):
    if os.getpid() != shared:
        raise ImportError("No module named 'cupy'")
    return block


@pytest.mark.usefixtures("in_small_blocks")
def test_a_failure_of_the_workers_alone_is_told():
    shared = executors.Shared(MAIN, int, lambda: [MAIN])
    with (
        processes() as ex,
        pytest.raises(ExecutorError, match=r"a worker failed where this process does not \(ImportE"),
    ):
        list(executors.run_blocks(ex, failing_elsewhere, shared, range(30)))


# ---- Progress ----


@pytest.mark.usefixtures("in_small_blocks")
def test_progress_is_shown_when_it_lasts(monkeypatch):
    file = io.StringIO()
    console = rich.console.Console
    monkeypatch.setattr(rich.console, "Console", lambda **_: console(file=file, force_terminal=True, width=80))
    wg.jacobian(looping, executor=Elsewhere())(np.ones(99))
    assert not file.getvalue()
    monkeypatch.setattr(executors, "PATIENCE", 0.0)
    wg.jacobian(looping, executor=Elsewhere())(np.ones(99))
    assert "blocks" in file.getvalue()
    assert "%" in file.getvalue()


@pytest.mark.usefixtures("in_small_blocks")
def test_no_progress_in_a_file(monkeypatch, capfd):
    monkeypatch.setattr(executors, "PATIENCE", 0.0)
    wg.jacobian(looping, executor=Elsewhere())(np.ones(99))
    assert capfd.readouterr() == ("", "")
