"""Formalities: the order of imports, the public names, docstrings, and every example in the documentation."""

from __future__ import annotations

import ast
import contextlib
import doctest
import importlib
import inspect
import io
import multiprocessing
import pkgutil
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import wengert
from wengert.primitives import CALLS

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "wengert"
MODULES = [
    "wengert",
    *sorted(m.name for m in pkgutil.walk_packages(wengert.__path__, "wengert.") if m.name != "wengert.__main__"),
]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])

LAYERS = {
    "display": 0,
    "errors": 0,
    "memory": 0,
    "drawing": 1,
    "formula": 1,
    "transformations": 1,
    "trees": 1,
    "jacobians": 1,
    "program": 1,
    "primitives": 2,
    "tracing": 3,
    "passes": 4,
    "linearization": 4,
    "arguments": 4,
    "numpy": 4,
    "cost": 4,
    "executors": 4,
    "accumulation": 5,
    "planning": 6,
    "compilation": 7,
    "control": 8,
    "batching": 9,
    "api": 10,
    "custom": 11,
    "explanation": 12,
    "checking": 13,
    "exercises": 13,
    "diagnosis": 13,
    "compat": 14,
    "server": 14,
    "cli": 15,
    "__init__": 16,
}
ORDERS = {
    "jacobians": "arrays index_domains probing structures products",
    "program": (
        "primitive lines provenance dataflow structure interpretation code compiled listing source pickling program"
    ),
    "primitives": "table numpy scipy bottleneck",
    "primitives/numpy": "elementwise structural running functions linalg fourier",
    "primitives/numpy/functions": (
        "operands logic manipulation creation joining products reductions selecting calculus in_place statistics "
        "ufuncs scalar_math"
    ),
    "primitives/numpy/linalg": (
        "matrices array_api degeneracy lapack triangular basis_completion solving products determinants eigenvalues "
        "singular_values factorizations least_squares norms"
    ),
    "primitives/scipy": (
        "parameters special distributions fft linalg decompositions banded signal sparse interpolate ndimage distance "
        "transform statistics integrate"
    ),
    "tracing": (
        "context codes names callers fingerprints layout unsupported tape traced flat views elements results "
        "assignment adoption conversions lists patching methods jitted errstate trace"
    ),
    "passes": "simplification fusion scalarization",
    "accumulation": (
        "masks adjoints extended limits sweeps programs dense sparsity elimination counting preaccumulation coloring "
        "compressed orders"
    ),
    "accumulation/coloring": "partition vertex_orders distance2 lattices symmetric bicoloring",
    "accumulation/elimination": "graph factors heuristics search edges portfolio program",
    "accumulation/orders": "order forward reverse elimination waist",
    "planning": "machine compressions candidates plan choice",
    "compilation": "cache comparisons environment linearized branches signatures native jit",
    "compilation/native": (
        "kinds positions operations complex_numbers threads loops lowering expressions assemblies joining nests llvm "
        "files engine instructions export vectorcall layout records places control entry extents products sequences "
        "plans predictions lowerings kernels grouping"
    ),
    "control": (
        "revolve holding templates unrolling bodies branch closures tapes checkpoints loop backward dependence "
        "sweeping instructions native execution nested higher_order rerolling folding state short_loops staging api"
    ),
    "batching": "loops vmap",
    "explanation": (
        "steps notation formulas document derivation matrices matrix_rules array_steps closed_forms loops arrays "
        "array_document slide text latex markdown svg saving page widget"
    ),
    "explanation/page": "mathml excerpts operations contents",
    "compat": "autograd",
    "compat/autograd": (
        "extend builtins differential_operators numpy signal scipy tracer core wrap_util misc test_util util"
    ),
    "compat/autograd/misc": "flatten fixed_points optimizers",
}
"""The modules of each folder in the only order in which they import each other; ``__init__`` comes last."""

# ---- The order of the tree is the only direction of imports ----


def modules_in(package):
    """Return the modules of a package: their paths by their names, ``tracing/tape``; a folder stands for itself."""
    names = {path.relative_to(package).with_suffix("").as_posix(): path for path in sorted(package.rglob("*.py"))}
    return {name.removesuffix("/__init__"): path for name, path in names.items()}


def imports_of(path, modules):
    """Return the modules that one imports, inside functions and for checking types, too."""
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            imported |= {f"{node.module}.{alias.name}" for alias in node.names}
    names = {name.removeprefix("wengert.").replace(".", "/") for name in imported if name.startswith("wengert.")}
    names.discard("__version__")
    return {name if name in modules else name.rpartition("/")[0] or "__init__" for name in names}


def circles_in(imports):
    """Return the sets of modules that import each other, directly or by others (Tarjan's algorithm)."""
    number, low, stack, circles = {}, {}, [], []

    def visit(module):
        number[module] = low[module] = len(number)
        stack.append(module)
        for other in sorted(imports.get(module, ())):
            if other not in number:
                visit(other)
            if other in stack:
                low[module] = min(low[module], low[other])
        if low[module] == number[module]:
            component = stack[stack.index(module) :]
            del stack[-len(component) :]
            if len(component) > 1:
                circles.append(set(component))

    for module in sorted(imports):
        if module not in number:
            visit(module)
    return circles


FILES = modules_in(PACKAGE)
IMPORTS = {name: imports_of(path, FILES) - {name} for name, path in FILES.items()}
INNER = sorted(name for name in FILES if name not in ("__init__", "__main__"))


@pytest.mark.parametrize("name", INNER)
def test_imports_follow_the_order_of_the_tree(name):
    part = name.partition("/")[0]
    assert part in LAYERS, f"{part} has no place in the order of the tree"
    for other in {other.partition("/")[0] for other in IMPORTS[name]} - {part}:
        allowed = LAYERS[other] < LAYERS[part]
        assert allowed, f"{name} (layer {LAYERS[part]}) imports {other} (layer {LAYERS[other]})"


@pytest.mark.parametrize("folder", sorted({name.rpartition("/")[0] for name in INNER} - {""}))
def test_imports_follow_the_order_in_each_folder(folder):
    order = ORDERS[folder].split()
    prefix = f"{folder}/"
    inside = [name for name in INNER if name.startswith(prefix)]
    places = {name: name.removeprefix(prefix).partition("/")[0] for name in inside}
    assert set(places.values()) == set(order), "each module of a folder has a place in its order"
    for name in inside:
        for other in IMPORTS[name]:
            assert other != folder, f"{name} imports {folder}, which imports it"
            if other in places:
                assert order.index(places[other]) <= order.index(places[name]), f"{name} imports {other}, a later one"


def test_no_modules_import_each_other():
    assert not circles_in(IMPORTS)


def test_a_wrong_import_would_be_seen(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from wengert.tracing.tape import Tape\n"
        "def f():\n    from wengert.api import grad\n    import wengert.tracing\n    from wengert import cost, numpy\n"
    )
    assert imports_of(path, FILES) == {"api", "tracing", "tracing/tape", "cost", "numpy"}


def test_a_circle_would_be_seen():
    imports = {"a": {"b"}, "b": {"c", "d"}, "c": {"a"}, "d": {"e"}, "e": set(), "f": {"g", "a"}, "g": {"f"}}
    assert sorted(map(sorted, circles_in(imports))) == [["a", "b", "c"], ["f", "g"]]


# ---- Public names ----


def test_all_is_sorted_complete_and_resolves():
    assert wengert.__all__ == sorted(wengert.__all__)
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    imports = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module.startswith("wengert")]
    imported = [a.asname or a.name for n in imports for a in n.names]
    assert set(wengert.__all__) == set(imported)
    assert all(getattr(wengert, name) is not None for name in wengert.__all__)


def test_names_that_are_imported_later():
    code = (
        "import sys, wengert as wg; names = set(wg.__all__); print(names <= set(dir(wg)), 'wengert.explanation' in "
        "sys.modules, hasattr(wg, 'explanations'), wg.explain.__module__, 'wengert.explanation' in sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split() == ["True", "False", "False", "wengert.explanation", "True"]


def test_no_module_shadows_a_public_function():
    for name in wengert.__all__:
        assert not inspect.ismodule(getattr(wengert, name)), name


# ---- Docstrings and their examples ----


@pytest.mark.parametrize("name", MODULES)
def test_module_classes_and_functions_have_docstrings(name):
    module = importlib.import_module(name)
    assert module.__doc__, name
    # those that stand for NumPy's have its names, signatures and documentation
    written = [id(inspect.unwrap(function)) for function in CALLS.values()]
    for key, value in vars(module).items():
        if callable(value) and id(inspect.unwrap(value)) in written:
            continue
        own = getattr(value, "__module__", None) == name and (inspect.isclass(value) or inspect.isfunction(value))
        if own and not key.startswith("_") and value.__name__ != "<lambda>":
            assert value.__doc__, f"{name}.{key}"
            assert "Function that" not in value.__doc__


@pytest.mark.parametrize("name", wengert.__all__)
def test_public_names_have_an_example(name):
    value = getattr(wengert, name)
    if isinstance(value, type) and issubclass(value, Warning | Exception):
        return
    assert ">>>" in (value.__doc__ or ""), f"wg.{name} has no example"


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    module = importlib.import_module(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = doctest.testmod(module)
    assert result.failed == 0


# ---- Examples in pages ----

BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```\s*$", re.M | re.S)


def run_page(text, path="page.md"):
    """Run the python blocks of a page in order; yield (line, printed, expected) where a text block follows directly."""
    namespace = {"__name__": "__page__"}
    matches = list(BLOCK.finditer(text))
    for k, match in enumerate(matches):
        language, options, code = match.groups()
        if language != "python" or "no-run" in options:
            continue
        line = text.count("\n", 0, match.start()) + 2
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile("\n" * (line - 1) + code, str(path), "exec"), namespace)
        after = matches[k + 1] if k + 1 < len(matches) else None
        if after is not None and after.group(1) == "text" and not text[match.end() : after.start()].strip():
            yield line, tidy(out.getvalue()), tidy(after.group(3))


def tidy(text):
    text = "\n".join(line.rstrip() for line in text.rstrip().splitlines())
    return text if "<- chosen" not in text else without_times(text)


def without_times(text):
    """Take the times out of the table of a plan, which are those of a machine, and the widths that they give it."""
    lines = [TIME.sub("  (time)", line) for line in text.splitlines()]
    return "\n".join(re.sub(" {2,}", "  ", re.sub("─+", "─", line)) for line in lines)


TIME = re.compile(r" +[\d,.]+ (us|ms|s|h)(?=$|  <- chosen)")


@pytest.fixture
def spawned():
    """Let processes start afresh: other tests have loaded JAX, whose threads no fork survives."""
    method = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("spawn", force=True)
    yield
    multiprocessing.set_start_method(method, force=True)


@pytest.mark.usefixtures("spawned")
@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_examples_in_pages(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for line, printed, expected in run_page(path.read_text(), path):
        assert printed == expected, f"{path.name}:{line}"


def test_times_of_plans_may_differ_and_nothing_else():
    table = "f: R^1 -> R^1\n   passes   time\n{}\nforward   {}  {:>6}  <- chosen\nreverse   2  1.5 ms"
    first, same, other = (
        table.format(*row) for row in (("───", 1, "9.1 us"), ("──", 1, "12 us"), ("───", 3, "9.1 us"))
    )
    assert tidy(first) == tidy(same) != tidy(other)


def test_a_wrong_page_would_be_seen():
    page = "```python\nx = 1\n```\n\n```python\nprint(x + 1)\n```\n```text\n3\n```\n```python no-run\nboom\n```\n"
    assert list(run_page(page)) == [(6, "2", "3")]


def test_the_page_of_the_architecture_has_the_layers():
    rows = [sorted(name for name in LAYERS if LAYERS[name] == layer) for layer in sorted(set(LAYERS.values()))]
    written = "\n".join(f"{layer:>2}  {' '.join(names)}" for layer, names in enumerate(rows))
    assert f"```text\n{written}\n```" in (ROOT / "docs" / "architecture.md").read_text()


def test_the_tour_runs(tmp_path):
    run = subprocess.run([sys.executable, ROOT / "docs" / "tour.py"], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("\n---- ") == 10
    assert "u_5 = u_0 * u_3     = y_2" in run.stdout
