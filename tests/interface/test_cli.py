"""The command line: what it prints in a terminal and piped, where arguments come from, what exit codes mean."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pytest
from click.testing import CliRunner

from wengert.cli import main

MODEL = '''\
"""A file as users write them."""
import sys

import numpy as np
from neighbor import TWO


def f(x):
    return np.array([x[0] * (x[1] - x[2]), x[2] * np.log(1 - x[0])])


def g(a, b, k=2):
    return a * np.exp(b) ** k


def product(*factors):
    return factors[0] * factors[1] * TWO


def matrix(A, x):
    return np.sum(A @ x)


def lost(x):
    return float(x[0]) * x[1]


def broken(x):
    return inner(x) + 1


def inner(x):
    return x[0] / {}["a"]


class Model:
    @staticmethod
    def energy(x):
        return 0.5 * np.sum(x * x)


f.example = (np.array([0.5, 2.0, 3.0]),)
EXAMPLE = {"a": 0.5, "b": 2.0}
number = 3
print("main" if __name__ == "__main__" else "imported", len(sys.argv), file=sys.stderr)
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "neighbor.py").write_text("TWO = 2\n")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("neighbor", None)


def call(*args):
    return CliRunner().invoke(main, [str(a) for a in args])


def succeed(*args):
    result = call(*args)
    assert result.exit_code == 0, result.output
    return result.stdout


def fail(code, *args):
    result = call(*args)
    assert result.exit_code == code, result.output
    assert "site-packages" not in result.stderr
    return result.stderr


# ---- Commands ----


def test_trace_prints_the_list(folder):
    assert succeed("trace", "model.py:f", "--at", "0.5", "2", "3") == textwrap.dedent("""\
        x_1 = u_{-2}, x_2 = u_{-1}, x_3 = u_0
        u_1 = u_{-1} - u_0         # model.py:9
        u_2 = 1 - u_{-2}           # model.py:9
        u_3 = log(u_2)             # model.py:9
        u_4 = u_{-2} * u_1  = y_1  # model.py:9
        u_5 = u_0 * u_3     = y_2  # model.py:9
        """)


def test_the_source_that_trace_prints_runs_alone(folder):
    source = succeed("trace", "model.py:f", "--at", 0.5, 2, 3, "--source")
    names = {}
    exec(source, names)
    np.testing.assert_allclose(names["f"](np.array([0.5, 2.0, 3.0])), [-0.5, 3 * np.log(0.5)])


def test_explain_prints_the_derivation_in_each_form(folder):
    text = succeed("explain", "model.py:f", "--at", 0.5, 2, 3)
    assert "Forward accumulation mode" in text
    assert "Reverse accumulation mode" in text
    reverse = succeed("explain", "model.py:f", "--at", 0.5, 2, 3, "--mode", "reverse")
    assert "Forward accumulation mode" not in reverse
    assert r"\frac" in succeed("explain", "model.py:f", "--at", 0.5, 2, 3, "--format", "latex")
    assert "## " in succeed("explain", "model.py:f", "--at", 0.5, 2, 3, "--format", "markdown")


def test_a_formula_stands_for_a_file(folder):
    formulas = "x1*(x2 - x3), x3*log(1 - x1)"
    slide = succeed("explain", "--expr", formulas, "--at", 0.5, 2, 3, "--format", "slide")
    assert "8 edges: forward 3 x 8 = 24 products, reverse 2 x 8 = 16." in slide
    assert r"\begin{array}" in succeed("explain", "--expr", formulas, "--at", 0.5, 2, 3, "--format", "slide-latex")
    assert "2 passes instead of 3" in succeed("plan", "--expr", formulas, "--at", 0.5, 2, 3)
    assert succeed("explain", "--expr", formulas, "--at", 0.5, 2, 3, "--save", "out.svg") == ""
    with open("out.svg", encoding="utf-8") as file:
        assert file.read().startswith("<svg")
    assert "<svg" in succeed("explain", "--expr", formulas, "--at", 0.5, 2, 3, "--format", "svg")


def test_plan_prints_the_candidates(folder):
    text = succeed("plan", "model.py:f", "--at", 0.5, 2, 3)
    assert "2 passes instead of 3" in text


def test_check_passes_with_0_and_fails_with_1(folder):
    assert "right in both modes" in succeed("check", "model.py:f", "--at", 0.5, 2, 3)
    (folder / "wrong.py").write_text(
        "import numpy as np, wengert as wg\n"
        "cube = wg.define('cli_cube', lambda x: x**3, lambda _y, x: 2.001 * 3 * x**2)\n"
        "def f(x):\n    return np.sin(cube(x))\n"
    )
    try:
        result = call("check", "wrong.py", "--at", 0.5)
    finally:
        import wengert as wg

        wg.undefine("cli_cube")
    assert result.exit_code == 1
    assert "The rule of cli_cube is wrong" in result.stdout
    assert "return np.sin(cube(x))" in result.stdout


# ---- Arguments ----


@pytest.mark.parametrize(
    ("function", "words", "first"),
    [
        ("f", "--at 0.5 2 3", "x_1 = u_{-2}"),
        ("f", "--at=0.5,2,3", "x_1 = u_{-2}"),
        ("f", "--at [0.5,2,3]", "x_1 = u_{-2}"),
        ("g", "--at 0.5 -2", "a = u_{-1}, b = u_0"),
        ("g", "--at 0.5 --at -2e-1", "a = u_{-1}, b = u_0"),
        ("g", "--at 0.5 2 3", "a = u_{-2}, b = u_{-1}, k = u_0"),
        ("product", "--at 0.5 2", "u_{-1}"),
        ("matrix", "--at [[1,2],[3,4]] --at 5 6", "A = u_{-1}  (2 x 2), x = u_0  (2)"),
        ("Model.energy", "--at 1 2", "x = u_0  (2)"),
        ("f", "", "x_1 = u_{-2}"),
        ("g", "", "a = u_{-1}, b = u_0"),
    ],
)
def test_arguments_come_from_the_command_line_or_the_files_own_example(folder, function, words, first):
    assert first in succeed("trace", f"model.py:{function}", *words.split()).partition("\n")[0]


def test_the_function_may_come_after_the_numbers(folder):
    assert "y_2" in succeed("trace", "--at", 0.5, 2, 3, "model.py:f")


def test_arguments_come_from_files(folder):
    np.save("x.npy", np.array([0.5, 2.0, 3.0]))
    np.savez("m.npz", x=np.ones(2), A=np.ones((3, 2)))
    (folder / "x.json").write_text(json.dumps([0.5, 2, 3]))
    (folder / "g.json").write_text(json.dumps({"a": 0.5, "b": 2.0, "k": 3}))
    assert "x_3 = u_0" in succeed("trace", "model.py:f", "--args", "x.npy")
    assert "x_3 = u_0" in succeed("trace", "model.py:f", "--args", "x.json")
    assert "A = u_{-1}  (3 x 2), x = u_0  (2)" in succeed("trace", "model.py:matrix", "--args", "m.npz")
    assert "** 3" in succeed("trace", "model.py:g", "--args", "g.json")  # a bare integer stays an integer


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("model.py:g --at 1 2 3 4", "g(a, b, k) takes 2 arguments, and --at gives 4 numbers"),
        ("model.py:g --at 1", "g(a, b, k) takes 2 arguments, and --at gives 1 number"),
        ("model.py:f --at 1 --at 2", "f(x) does not take 2 arguments"),
        ("model.py:f --at", "--at takes numbers"),
        ("model.py:f --at two", "--at takes numbers, not 'two'"),
        ("model.py:f --at [1,", "JSON"),
        ("model.py:f --at 1 two", "unexpected extra argument"),
        ("model.py:f --args x.csv", ".npy, .npz or .json"),
        ("model.py:f --args x.npy --at 1", "not both"),
        ("", "FILE.py:FUNCTION"),
    ],
)
def test_a_wrong_command_line_ends_with_2(folder, words, message):
    assert message in fail(2, "trace", *words.split())


def test_a_function_without_arguments_given_says_how_to_give_them(folder):
    (folder / "bare.py").write_text("def f(x):\n    return x\n")
    message = fail(2, "trace", "bare.py")
    assert "f(x) is to be evaluated somewhere" in message
    assert "--at NUMBERS or --args FILE" in message


# ---- Files that cannot be had ----


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("modle.py:f --at 1", "Did you mean model.py?"),
        ("nowhere/at_all.py:f --at 1", "There is no such file in"),
        ("model:f --at 1", "Name one and a function in it: model.py:f"),
        ("model.ipynb:f --at 1", "is not a Python file"),
        ("model.py:ff --at 1", "Did you mean model.py:f? model.py defines f, g, product"),
        ("model.py:Model.enrgy --at 1", "has no function Model.enrgy"),
        ("model.py:number --at 1", "number in model.py is of type int, not a function"),
        ("model.py --at 1", "does not say which function"),
        ("model.py:f --args x.npy", "x.npy does not exist"),
        ("model.py:matrix", "EXAMPLE in model.py names a, b, and the function is matrix(A, x)"),
    ],
)
def test_what_cannot_be_had_ends_with_3(folder, words, message):
    error = fail(3, "trace", *words.split())
    assert message in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("def f(x:\n", "SyntaxError"),
        ("import numpy as np\nimport no_such_module\n", "No module named 'no_such_module'"),
        ("1 / 0\n", "ZeroDivisionError"),
        ("raise SystemExit(7)\n", "ended itself with exit code 7"),
    ],
)
def test_a_file_that_does_not_run_ends_with_3_and_its_own_traceback(folder, content, message):
    (folder / "bad.py").write_text(content)
    error = fail(3, "trace", "bad.py:f", "--at", "1")
    assert message in error
    assert "cli.py" not in error


def test_a_file_that_ends_itself_well_is_taken(folder):
    (folder / "script.py").write_text("def f(x):\n    return 2 * x\nimport sys\nsys.exit()\n")
    assert "2 * u_0" in succeed("trace", "script.py:f", "--at", 1)


def test_damaged_data_ends_with_3(folder):
    (folder / "x.npy").write_bytes(b"not an array")
    (folder / "x.json").write_text("{")
    assert "x.npy cannot be read" in fail(3, "trace", "model.py:f", "--args", "x.npy")
    assert "x.json cannot be read" in fail(3, "trace", "model.py:f", "--args", "x.json")
    (folder / "y.json").write_text('{"y": [1, 2]}')
    assert "y.json names y, and the function is f(x)" in fail(3, "trace", "model.py:f", "--args", "y.json")


# ---- Functions that cannot be differentiated ----


def test_a_wengert_error_ends_with_4_and_its_message_alone(folder):
    error = fail(4, "explain", "model.py:lost", "--at", 1, 2)
    assert error.splitlines()[-5:][0].startswith("error: a traced value")
    assert "return float(x[0]) * x[1]" in error
    assert "Traceback" not in error


def test_the_functions_own_exception_ends_with_4_and_the_functions_own_frames(folder):
    error = fail(4, "trace", "model.py:broken", "--at", 1, 2)
    assert "KeyError: 'a'" in error
    assert "in broken" in error
    assert "in inner" in error
    assert error.count("  File ") == 2


def test_a_domain_warning_is_told_once(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        result = call("trace", "model.py:f", "--at", 2, 2, 3)
    assert result.exit_code == 0
    assert result.stderr.count("outside its domain") == 1


# ---- As a real process ----


def process(*args, **options):
    command = [sys.executable, "-m", "wengert", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, **options)


def test_the_file_is_executed_as_python_would(folder):
    result = process("trace", "model.py:product", "--at", 0.5, 2, cwd=folder)
    assert result.returncode == 0, result.stderr
    assert result.stderr == "main 1\n"  # __name__ == "__main__", sys.argv is the file alone, its folder is on the path
    elsewhere = process("trace", folder / "model.py:f", "--at", 0.5, 2, 3, cwd="/")
    assert elsewhere.returncode == 0, elsewhere.stderr


def test_piped_output_is_plain_and_does_not_depend_on_the_width(folder):
    outputs = {
        process("check", "model.py:f", env={**os.environ, "COLUMNS": str(width), "TERM": "xterm-256color"}).stdout
        for width in (20, 200)
    }
    assert len(outputs) == 1
    assert "\x1b" not in outputs.pop()
    for command in ("explain", "plan", "trace"):
        printed = [process(command, "model.py:f", env={**os.environ, "COLUMNS": str(w)}).stdout for w in (20, 200)]
        texts = {re.sub(r"( +[\d,.]+ (us|ms)\b|[ ─])+", " ", text) for text in printed}  # predicted times differ
        assert len(texts) == 1
        assert "\x1b" not in texts.pop()


def test_a_reader_that_stops_early_is_no_verdict(folder):
    for command in ("check", "explain"):
        reading, writing = os.pipe()
        os.close(reading)
        arguments = [sys.executable, "-m", "wengert", command, "model.py:f"]
        result = subprocess.run(arguments, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
        os.close(writing)
        assert result.returncode == 141
        assert "Traceback" not in result.stderr


def test_exit_codes_of_the_process(folder):
    assert process("check", "model.py:f").returncode == 0
    assert process("trace", "model.py:g", "--at", 1).returncode == 2
    assert process("trace", "nothing.py:g", "--at", 1).returncode == 3
    assert process("trace", "model.py:lost", "--at", 1, 2).returncode == 4
    assert process("--version").stdout.startswith("wengert ")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("command", ["explain", "plan", "trace", "check"])
def test_in_a_terminal_the_same_text_is_colored(folder, command):
    leader, follower = pty.openpty()
    args = [sys.executable, "-m", "wengert", command, "model.py:f"]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "160"}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(args, stdout=follower, stderr=subprocess.DEVNULL, env=environment) as running:
        os.close(follower)
        output = b""
        while True:
            try:
                part = os.read(leader, 65536)
            except OSError:
                break
            if not part:
                break
            output += part
    os.close(leader)
    assert running.returncode == 0
    assert b"\x1b[" in output
