"""The tool for GradBench answers all evals rightly, as a process, and nothing else stands on its standard output."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
EVALS = ("hello", "ba", "det", "gmm", "ht", "kmeans", "llsq", "lse", "lstm", "ode", "particle", "saddle")


def run(*args, **options):
    return subprocess.run(
        [sys.executable, "-m", *args], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False, **options
    )


def tell(*messages):
    """Send lines to the tool; return its answers."""
    lines = "".join(f"{m if isinstance(m, str) else json.dumps(m)}\n" for m in messages)
    return [json.loads(line) for line in run("benchmarks.gradbench", input=lines).stdout.splitlines()]


@pytest.fixture
def driver(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.gradbench import driver

    return driver


@pytest.mark.parametrize("name", EVALS)
def test_an_eval_is_answered_rightly(name):
    done = run("benchmarks.gradbench.driver", "--eval", name, "--size", "small", "--seconds", "0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "right" in done.stdout
    assert "WRONG" not in done.stdout


def test_all_evals_have_inputs_of_each_size(driver):
    for sizes in driver.SIZES.values():
        assert tuple(sizes) == EVALS
    assert set(driver.BY_HAND) == set(EVALS) - {"hello"}
    for name, times in driver.BY_HAND.items():
        assert len(times) == 2 * len(driver.workloads.MEASURED[name])
        assert all(size in driver.workloads.DEFAULT[name] for size in driver.workloads.MEASURED[name])


def test_the_protocol_has_an_answer_a_line():
    answers = tell(
        {"id": 7, "kind": "start", "eval": "hello"},
        {"id": 8, "kind": "define", "module": "hello"},
        {"id": 9, "kind": "define", "module": "nowhere"},
        {"id": 10, "kind": "evaluate", "module": "hello", "function": "double", "input": 3.0},
        {"id": 11, "kind": "analysis", "of": 10, "valid": True},
    )
    assert answers[0] == {"id": 7, "tool": "wengert"}
    assert answers[1] == {"id": 8, "success": True}
    assert answers[2] == {"id": 9, "success": False}
    assert answers[3]["output"] == 6.0
    assert [timing["name"] for timing in answers[3]["timings"]] == ["evaluate"]
    assert answers[4] == {"id": 11}


def test_a_function_runs_until_both_bounds_are_reached():
    question = {"kind": "evaluate", "module": "lse", "function": "primal"}
    few, long = tell(
        {"id": 0, **question, "input": {"x": [0.0, 0.0], "min_runs": 5, "min_seconds": 0}},
        {"id": 1, **question, "input": {"x": [0.0, 0.0], "min_runs": 1, "min_seconds": 0.05}},
    )
    assert len(few["timings"]) == 5
    assert sum(timing["nanoseconds"] for timing in long["timings"]) >= 5e7
    assert few["output"] == long["output"] == pytest.approx(np.log(2))


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("not JSON", None),
        ("[1, 2]", None),
        ({"kind": "start"}, None),
        ({"id": 1}, 1),
        ({"id": 2, "kind": "evaluate", "module": "hello"}, 2),
        ({"id": 3, "kind": "evaluate", "module": "os", "function": "system", "input": "true"}, 3),
        ({"id": 4, "kind": "evaluate", "module": "lse", "function": "hessian", "input": {"x": [1.0]}}, 4),
        ({"id": 5, "kind": "evaluate", "module": "lse", "function": "primal", "input": {"x": ["one"]}}, 5),
    ],
)
def test_a_malformed_message_is_answered_and_the_next_one_too(line, number):
    answers = tell(line, {"id": 6, "kind": "start"})
    assert len(answers) == 2
    assert answers[0]["id"] == number
    assert answers[0]["success"] is False
    assert answers[0]["error"]
    assert answers[1] == {"id": 6, "tool": "wengert"}


def test_what_a_function_prints_is_not_in_the_answers():
    code = (
        "from benchmarks.gradbench import __main__ as tool, hello\n"
        "hello.FUNCTIONS['square'] = lambda x: print('noise') or x\n"
        "tool.main()\n"
    )
    line = json.dumps({"id": 0, "kind": "evaluate", "module": "hello", "function": "square", "input": 2.0})
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, input=line, capture_output=True, text=True, timeout=60, check=True
    )
    assert json.loads(done.stdout)["output"] == 2.0
    assert "noise" in done.stderr


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (1.001, 1.0),
        (float("nan"), 1.0),
        ([1.0], 1.0),
        (1.0, [1.0]),
        ([1.0, 2.0], [1.0]),
        ([1.0, 2.002], [1.0, 2.0]),
        ([[1.0], [2.0]], [[1.0], [2.1]]),
        ({"a": 1.0}, {"b": 1.0}),
        ({"a": [1.0, 0.0]}, {"a": [1.0, 2e-4]}),
        (None, 0.0),
    ],
)
def test_the_driver_sees_a_wrong_answer(driver, answer, expected):
    assert driver.difference(answer, expected)
    assert not driver.difference(expected, expected)


def test_the_driver_allows_what_gradbench_allows(driver):
    assert not driver.difference([1000.05, 0.00009], np.array([1000.0, 0.0]))
    assert driver.difference([1000.2], np.array([1000.0]))


def test_the_hand_written_derivatives_agree_with_differences(driver):
    """The gradients that the driver compares with are themselves slopes of the functions that it compares with."""
    rng = np.random.default_rng(1)
    cases = {
        "gmm": ("objective", "jacobian", ("alpha", "mu", "q", "l")),
        "lstm": ("objective", "jacobian", ("main_params", "extra_params")),
        "llsq": ("primal", "gradient", ("x",)),
        "lse": ("primal", "gradient", ("x",)),
        "det": ("primal", "gradient", ("A",)),
    }
    for name, (function, derivative, fitted) in cases.items():
        data = driver.workloads.make(name, driver.workloads.SMALL[name][0])
        arrays = {key: np.array(data[key]) for key in fitted}
        steps = {key: rng.normal(size=array.shape) for key, array in arrays.items()}
        slope = driver.truth.answers(name, data)[derivative]
        gradient = slope if isinstance(slope, dict) else dict.fromkeys(fitted, slope)
        if name == "lstm":
            ends = np.cumsum([array.size for array in arrays.values()])
            gradient = dict(zip(fitted, np.split(slope, ends[:-1]), strict=True))
        expected = sum(np.sum(steps[key].ravel() * np.ravel(gradient[key])) for key in fitted)
        ends = []
        for h in (1e-5, -1e-5):
            moved = {key: (arrays[key] + h * steps[key]).tolist() for key in fitted}
            ends.append(driver.truth.answers(name, {**data, **moved})[function])
        assert (ends[0] - ends[1]) / 2e-5 == pytest.approx(expected, rel=1e-4), name
