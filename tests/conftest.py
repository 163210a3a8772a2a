"""The order of the suite, from formalities to integration, the profile of its random tests, and its threads: one."""

from __future__ import annotations

import atexit
import importlib
import os
import shutil
import tempfile

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
"""Formalities first, so that the suite fails quickly; and before them, on one worker, what needs the browser."""


def pytest_collection_modifyitems(items):
    rank = {name: k for k, name in enumerate(ORDER)}
    items.sort(key=lambda item: -1 if item.get_closest_marker("xdist_group") else rank[item.path.parent.name])


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
