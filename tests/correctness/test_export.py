"""Exported code against the function itself: compiled by gcc without a warning, and run under a sanitizer."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import random
import shutil
import subprocess

import numpy as np
import programs
import pytest
from corpus import CORPUS
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

import wengert as wg
from wengert import trees
from wengert.compilation.native import lowering
from wengert.errors import ArgumentError, ExportError

pytestmark = [
    pytest.mark.filterwarnings("ignore::wengert.errors.DecisionWarning"),
    pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc to compile what is exported"),
]
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-ffp-contract=off", "-O1", "-fno-builtin"]
X = np.array([0.5, 2.0, 3.0])


def gcc(*arguments, folder):
    """Run gcc in a folder; demand that it has nothing to say."""
    done = subprocess.run(["gcc", *map(str, arguments)], capture_output=True, text=True, cwd=folder, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def sizes_in(header, name):
    """Return the sizes that a header states: of the arguments in order, of the results, of the work array."""
    lines = [line.split() for line in header.read_text().splitlines() if f"{name.upper()}_SIZE_OF_" in line]
    sizes = [int(words[2]) for words in lines if words[0] == "#define"]
    return sizes[:-2], sizes[-2], sizes[-1]


def exported(f, *args, folder, ending=".c", name="f"):
    """Export a function, compile it, and return it as a function of Python's that returns branch and results."""
    jitted = wg.jit(f)
    jitted.export(folder / f"{name}{ending}", *args)
    return loaded(folder, name, ending)


def loaded(folder, name, ending=".c"):
    """Compile an exported file, and return its function."""
    library = folder / f"{name}.so"
    gcc("-shared", "-fPIC", *STRICT * (ending == ".c"), f"{name}{ending}", "-o", library, "-lm", folder=folder)
    function = getattr(ctypes.CDLL(str(library)), name)
    arguments, results, work = sizes_in(folder / f"{name}.h", name)

    def call(*values):
        moving = [value for value in trees.flatten(values)[0] if type(value) is not int]
        arrays = [np.ascontiguousarray(value, float).ravel() for value in moving]
        assert [a.size for a in arrays] == arguments
        y = np.full(results, np.nan)
        arrays += [y, np.zeros(work)]
        return function(*[ctypes.c_void_p(a.ctypes.data) for a in arrays]), y

    return call


def flattened(result, header=""):
    """Return the numbers of a result, leaf by leaf, without those of which the header says that they never change."""
    fixed = {line.split(": always ")[0].strip(" *") for line in header.splitlines() if ": always " in line}
    leaves, structure = trees.flatten(result)
    paths = trees.paths(trees.skeleton(structure), "result")
    moving = [np.ravel(leaf) for leaf, path in zip(leaves, paths, strict=True) if path not in fixed]
    return np.concatenate([np.zeros(0), *moving])


def agrees(f, *args, folder, rtol=2e-14, name="f", **options):
    """Compare exported code with the function at some arguments."""
    branch, y = exported(f, *args, folder=folder, name=name, **options)(*args)
    assert branch == 0
    expected = flattened(f(*args), (folder / f"{name}.h").read_text())
    np.testing.assert_allclose(y[: expected.size], expected, rtol=rtol, atol=1e-300)


def arithmetic(x):
    y = x * x[::-1] - 3.0 / x
    return {"a": np.outer(y, x) - x, "b": (np.sum(y) / np.prod(x), -y), "c": np.sqrt(np.abs(y)) + np.floor(y)}


# ---- The same numbers ----


@pytest.mark.parametrize("ending", [".c", ".o"])
@pytest.mark.parametrize("unrolled", [128, 1])
def test_arithmetic_has_the_same_bits(ending, unrolled, tmp_path, monkeypatch):
    monkeypatch.setattr(lowering, "UNROLLED", unrolled)
    agrees(arithmetic, X, folder=tmp_path, ending=ending, rtol=0)
    agrees(wg.grad(lambda x: np.sum(arithmetic(x)["a"])), X, folder=tmp_path, ending=ending, name="g")


@settings(deadline=None, max_examples=30)
@given(programs.random_programs(analytic=False, max_size=5), programs.points(4), st.sampled_from([0, 3, 128]))
def test_random_functions(f, x, unrolled):
    gradient = wg.value_and_grad(lambda x: np.sum(f(x)))
    with pytest.MonkeyPatch.context() as patch, np.errstate(all="ignore"):
        patch.setattr(lowering, "UNROLLED", unrolled)
        try:
            branch, y = exported(gradient, x, folder=folder_of_run(), name=f"f{next(NUMBERS)}")(x)
        except (ExportError, ArgumentError):
            return  # a row without a native facet; NumPy warns at `x`
        expected = flattened(gradient(x))
    assert branch == 0
    np.testing.assert_allclose(y, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("case", CORPUS.values(), ids=CORPUS.keys())
def test_corpus(case, tmp_path):
    written = 0
    for kind in case.kinds:
        f = case.function_of(kind)
        try:
            agrees(f, *case.args, folder=tmp_path, name=f"f{written}", rtol=1e-11)
        except (ExportError, ArgumentError, TypeError):
            continue
        written += 1
    if not written:
        pytest.skip("nothing of it is code of its own")


def test_every_branch_is_in_the_file(tmp_path):
    def f(x):
        return (x * 2.0 if x[1] > x[2] else np.sin(x)) if x[0] > 0 else np.zeros(3)

    jitted = wg.jit(f)
    points = [np.array(p) for p in ([1.0, 2, 1], [1.0, 1, 2], [-1.0, 2, 0])]
    for x in points[:2]:
        jitted(x)
    jitted.export(tmp_path / "two.c")
    function = loaded(tmp_path, "two")
    assert function(points[2])[0] == -1
    jitted(points[2])
    jitted.export(tmp_path / "three.c")
    function = loaded(tmp_path, "three")
    assert len({function(x)[0] for x in points}) == 3
    for x in points:
        np.testing.assert_allclose(function(x)[1], f(x), rtol=1e-15)


def test_trees_and_awkward_names(tmp_path):
    def loss(y, r1, exp, params, θ, double, i):
        return {"π": np.exp(y) * r1 + exp * params["w w"] + θ * double - i, "text": "*/", "n": None, "k": 3}

    args = 0.5, 1.0, X, {"w w": X}, 2.0, 3.0, np.ones(3)
    agrees(loss, *args, folder=tmp_path)
    header = (tmp_path / "f.h").read_text()
    assert "result['text']: always '* /'" in header
    assert "result['k']: always 3" in header
    assert "result['π']: 3, from result[0] to result[2]" in header
    for name in ("exp_", "r1_", "double_", "i_", "argument4"):
        assert f"const double *{name}" in header


@pytest.mark.parametrize("x", [np.zeros((0, 3)), np.float64(0.5), 0.5, np.arange(24.0).reshape(2, 3, 4)])
def test_shapes(x, tmp_path):
    agrees(lambda x: (np.transpose(x) * 2.0, np.sum(x), np.inf, -np.inf * np.ones(2), -0.0), x, folder=tmp_path)


def test_not_finite(tmp_path):
    function = exported(lambda x: np.exp(x[0]) * x if not x[1] > 1e6 else x, X, folder=tmp_path)
    for x, expected in ((1e4 * X, np.inf), (np.nan * X, np.nan)):
        branch, y = function(x)
        assert branch == 0
        np.testing.assert_array_equal(y, [expected] * 3)


def test_what_is_read_is_in_the_file(tmp_path):
    scale = [2.0]
    jitted = wg.jit(lambda x: scale[0] * x)
    jitted.export(tmp_path / "f.c", X)
    scale[0] = 3.0
    with pytest.raises(ArgumentError, match="0 traces"):
        jitted.export(tmp_path / "f.c")
    jitted.export(tmp_path / "f.c", X)
    np.testing.assert_array_equal(loaded(tmp_path, "f")(X)[1], 3.0 * X)


def test_programs_in_cpp_include_the_header(tmp_path):
    wg.jit(arithmetic).export(tmp_path / "f.o", X)
    (tmp_path / "main.cpp").write_text('#include "f.h"\nint main() { return f(nullptr, nullptr, nullptr); }\n')
    gcc("-x", "c++", "-fsyntax-only", "main.cpp", folder=tmp_path)


@pytest.mark.skipif(importlib.util.find_spec("llvmlite") is None, reason="llvmlite reads the text")
def test_llvm_text(tmp_path):
    import llvmlite.binding as llvm

    wg.jit(wg.grad(lambda x: np.sum(np.exp(x) * x))).export(tmp_path / "f.ll", X)
    module = llvm.parse_assembly((tmp_path / "f.ll").read_text())
    module.verify()
    assert module.get_function("f")
    assert (tmp_path / "f.h").exists()


# ---- What cannot be exported ----


@pytest.mark.parametrize(
    ("f", "reason"),
    [
        (lambda x: 2.0 * special.gammaln(x), "gammaln"),
        (lambda x: np.linalg.inv(np.outer(x, x) + np.eye(3)), "inv"),
        (lambda x: np.sort(x), "sort"),
    ],
)
def test_a_line_without_source_is_named(f, reason, tmp_path):
    with pytest.raises(ExportError, match=f"(?s){reason}.*test_export.py.*lambda x") as caught:
        wg.jit(f).export(tmp_path / "f.c", X)
    assert isinstance(caught.value, NotImplementedError)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("x", "reason"), [(np.ones(5_000), "a large array"), (np.ones(3, np.float32), "an argument of float32")]
)
def test_arguments_without_source(x, reason, tmp_path):
    with pytest.raises(ExportError, match=f"(?s){reason}.*small arrays and numbers of double precision"):
        wg.jit(lambda x: np.exp(x) * 2).export(tmp_path / "f.c", x)


@pytest.mark.parametrize("name", ["f.txt", "f", "1f.c", "double.c", "a-b.c", "é.c", "exp.c", "class.c"])
def test_names_of_files(name, tmp_path):
    with pytest.raises(ArgumentError, match="export"):
        wg.jit(np.exp).export(tmp_path / name, X)


def test_where_numpy_warns_nothing_is_traced(tmp_path):
    with np.errstate(all="ignore"), pytest.raises(ArgumentError, match="at which NumPy does not warn"):
        wg.jit(np.log).export(tmp_path / "f.c", -X)


def test_one_trace_is_exported(tmp_path):
    jitted = wg.jit(np.exp)
    with pytest.raises(ArgumentError, match="0 traces"):
        jitted.export(tmp_path / "f.c")
    jitted(X)
    jitted.export(tmp_path / "f.c")
    jitted(X[:2])
    with pytest.raises(ArgumentError, match="2 traces"):
        jitted.export(tmp_path / "f.c")
    jitted.export(tmp_path / "f.c", X[:2])
    np.testing.assert_allclose(loaded(tmp_path, "f")(X[:2])[1], np.exp(X[:2]), rtol=1e-15)


# ---- Bad accesses ----

DRIVER = """\
#include <stdlib.h>
#include <stdio.h>
{includes}
static double *filled(int n)
{{
    double *a = malloc(n * sizeof(double));
    for (int k = 0; k < n; k++) a[k] = 0.25 + 0.5 * k / n;
    return a;
}}
int main(void)
{{
    int total = 0;
{calls}
    printf("%d calls\\n", total);
    return 0;
}}
"""


def test_no_bad_access(tmp_path, monkeypatch):
    rng = random.Random(0)
    names = [p.name for p in programs.ROWS] + sorted(programs.STRUCTURAL)
    functions = []
    for k in range(30):
        steps = [programs.Step(rng.choice(names), rng.randrange(3), rng.randrange(4)) for _ in range(1 + k % 6)]
        f = programs.RandomProgram(tuple(steps))
        functions.append((wg.value_and_grad(lambda x, f=f: np.sum(f(x))), (np.linspace(0.25, 0.75, 1 + k % 5),)))
    functions += [(c.function_of(kind), c.args) for c in CORPUS.values() for kind in c.kinds]
    includes, calls = [], []
    for k, (f, args) in enumerate(functions):
        monkeypatch.setattr(lowering, "UNROLLED", (128, 3, 0)[k % 3])
        name = f"f{k}"
        try:
            with np.errstate(all="ignore"):
                wg.jit(f).export(tmp_path / f"{name}.c", *args)
        except (ExportError, ArgumentError, TypeError):
            continue
        arguments, results, work = sizes_in(tmp_path / f"{name}.h", name)
        arrays = [f"*a{j} = filled({n})" for j, n in enumerate([*arguments, results, work])]
        pointers = [f"a{j}" for j in range(len(arrays))]
        includes.append(f'#include "{name}.h"')
        freed = " ".join([f"free({p});" for p in pointers])
        calls.append(f"    {{ double {', '.join(arrays)}; {name}({', '.join(pointers)}); total++; {freed} }}")
    (tmp_path / "main.c").write_text(DRIVER.format(includes="\n".join(includes), calls="\n".join(calls)))
    files = [line.split('"')[1].replace(".h", ".c") for line in includes]
    sanitizer = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-O1", "-std=c99"]
    gcc(*sanitizer, "main.c", *files, "-o", "main", "-lm", folder=tmp_path)
    done = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", f"{len(calls)} calls\n")
    assert len(calls) > 30


# ---- Folders ----

NUMBERS = iter(range(10_000))


@functools.cache
def folder_of_run():
    """Return a folder for the examples of hypothesis, which run in one test."""
    import atexit
    import tempfile
    from pathlib import Path

    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    return Path(folder.name)
