"""The page of n passes against m: its counts are counted again, and what it claims of them holds."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from agreement import assert_close

import wengert as wg

PATH = Path(__file__).parents[2] / "docs" / "generate_closing_claim.py"
MEASURED = re.compile(r"(?<![\w*])\*[\d?][^*\n]*\*(?!\*)")


@pytest.fixture(scope="module")
def page():
    spec = importlib.util.spec_from_file_location("generate_closing_claim", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def without_times(text):
    return MEASURED.sub("*?*", text)


def test_the_counts_of_the_page_are_those_of_the_plan(page):
    counted, _ = page.write(page.Clock(stopped=True))
    assert without_times(counted) == without_times(page.PAGE.read_text()), f"run python docs/{PATH.name}"
    assert counted.count("*?*") > 60
    assert page.PLOT.stat().st_size > 10_000


def test_only_times_are_left_out_of_the_comparison():
    text = "| 30 | *1.2 ms* | **bold** | *Written by* a*b |"
    assert without_times(text) == "| 30 | *?* | **bold** | *Written by* a*b |"


@pytest.mark.parametrize(("n", "m"), [(1, 8), (8, 1), (4, 8), (8, 4), (6, 6)])
def test_forward_takes_n_passes_and_reverse_m(page, n, m):
    f, x = page.chain(n, m)
    plan = wg.plan(f)(x)
    assert (plan["forward"].passes, plan["reverse"].passes) == (n, m)
    assert plan.chosen == ("forward" if n <= m else "reverse")
    links = max(n, m)
    directions = np.cumsum(np.repeat(x, links // n))
    turned = np.kron(np.eye(n), np.ones(links // n)).cumsum(axis=1)  # how a link's direction moves with each angle
    expected = np.cumsum(np.cos(directions) * turned, axis=1)[:, links // m - 1 :: links // m].T
    assert_close(wg.jacobian(f)(x), expected, 1e-13)


def test_the_gradient_takes_at_most_a_small_multiple_of_the_function(page):
    for name, sizes in page.PROGRAMS.items():
        f, args, argnums = page.load(name).problem(**sizes)
        plan = wg.plan(f, argnums)(*args)
        bound = 4 if name != "gaussian_process" else 7  # which the page explains
        assert plan["reverse"].operations <= bound * plan.function.operations, name


def test_the_curves_cross_where_they_are_equal(page):
    sizes = [1, 10, 100, 1000]
    assert_close(page.crossing(sizes, [2.0, 20.0, 200.0, 2000.0], [60.0] * 4), 30.0, 1e-9)
    assert np.isnan(page.crossing(sizes, [1.0] * 4, [2.0] * 4))


def test_the_plot_is_drawn(page, tmp_path):
    pytest.importorskip("matplotlib")
    clock = page.Clock(rounds=1)
    page.plot({m: page.sweep([1, 4, 16], m, clock) for m in (1, 4)}, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 10_000
