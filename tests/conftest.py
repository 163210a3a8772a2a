"""The order of the suite, from formalities to integration, the profile of its random tests, and its threads: one."""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import shutil
import tempfile
import zlib
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # a triangular system of 3 in two busy threads takes 10 ms
if "WENGERT_CACHE" not in os.environ:
    os.environ["WENGERT_CACHE"] = tempfile.mkdtemp(prefix="wengert-")  # not the user's
    atexit.register(shutil.rmtree, os.environ["WENGERT_CACHE"], ignore_errors=True)
settings.register_profile("desk", max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("desk"), max_examples=200, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "desk")

ORDER = ("formalities", "golden", "internals", "correctness", "interface", "packages")
"""Formalities first, so that the suite fails quickly; and before them, on one worker, what needs the browser, and what
takes most of a minute, so that no worker waits for it in the end."""


def pytest_collection_modifyitems(items):
    rank = {name: k for k, name in enumerate(ORDER)}
    first = ("xdist_group", "long")
    items.sort(key=lambda item: -1 if any(map(item.get_closest_marker, first)) else rank[item.path.parent.name])


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Take the tests themselves, some hundred thousand objects that stay, out of every collection of garbage."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


# ---- Derivatives compiled ----

COUNTS: Counter = Counter()
"""How the derivatives of tests were computed again, in how many calls."""
NOT_COMPILED = ("formalities", "packages")
"""What these evaluate is not derivatives, or is done by other processes."""


def pytest_addoption(parser):
    parser.addoption(
        "--compiled",
        choices=("none", "part", "all"),
        default="none",
        help="compute the derivatives of tests again by wg.jit: of none, of one test in 32, or of all",
    )


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "not_compiled(reason): the derivatives of the test are not computed again by jit"
    )
    config.addinivalue_line("markers", "long: the test takes most of a minute, and so begins first")


def _is_compiled(item):
    """Return whether the derivatives of a test are computed again; one in 32 is chosen by a hash of its name."""
    chosen = item.config.getoption("compiled")
    if chosen == "none" or item.path.parent.name in NOT_COMPILED or item.get_closest_marker("not_compiled"):
        return False
    return chosen == "all" or zlib.crc32(item.nodeid.encode()) % 32 == 0


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    if not _is_compiled(pyfuncitem):
        return (yield)
    import compiled

    with compiled.noted() as calls:
        result = yield
    counts = compiled.repeat(calls)
    pyfuncitem.user_properties += [("compiled", [how, count]) for how, count in counts.items()]
    return result


def pytest_runtest_logreport(report):
    if report.when == "call":
        COUNTS.update({how: count for name, (how, count) in report.user_properties if name == "compiled"})


def pytest_terminal_summary(terminalreporter):
    if COUNTS:
        terminalreporter.write_sep("-", "derivatives computed again by wg.jit")
        for how, count in COUNTS.most_common():
            terminalreporter.write_line(f"{count:8,} {how}")


@pytest.fixture(scope="session")
def browser():
    """One headless browser for all tests of pages."""
    from browser import launched

    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def native_after_one_call():
    """Make native code in the second call of a jitted function."""
    jit_module = importlib.import_module("wengert.compilation.jit")  # the package has the function by this name
    before = jit_module.calls_before
    jit_module.calls_before = lambda: 1
    yield
    jit_module.calls_before = before
