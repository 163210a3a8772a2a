"""Formalities: the order of imports, the public names, docstrings, and every example in the documentation."""

from __future__ import annotations

import ast
import contextlib
import doctest
import importlib
import inspect
import io
import pkgutil
import re
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
    "errors": 0,
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
    "accumulation": 5,
    "cost": 6,
    "planning": 7,
    "compilation": 8,
    "control": 9,
    "batching": 10,
    "api": 11,
    "custom": 12,
    "explanation": 13,
    "checking": 14,
    "diagnosis": 14,
    "compat": 15,
    "cli": 16,
}
# ---- The order of the tree is the only direction of imports ----


def imports_of(path):
    """Name the parts of the package that a module imports, inside functions too."""
    tree = ast.parse(path.read_text())
    checked = [
        n
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for n in ast.walk(node)
    ]
    names = []
    for node in ast.walk(tree):
        if node in checked:
            continue
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            whole = node.module == "wengert"
            names += [f"wengert.{alias.name}" for alias in node.names] if whole else [node.module]
    return {name.split(".")[1] for name in names if name.startswith("wengert.")}


def part_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_follow_the_order_of_the_tree(path):
    part = part_of(path)
    if part in ("__init__", "__main__"):
        return
    assert part in LAYERS, f"{part} has no place in the order of the tree"
    for other in imports_of(path) - {part, "__version__"}:
        allowed = LAYERS[other] < LAYERS[part]
        assert allowed, f"{part} (layer {LAYERS[part]}) imports {other} (layer {LAYERS[other]})"


def test_a_wrong_import_would_be_seen(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(
        "def f():\n    from wengert.api import grad\n    import wengert.tracing\n    from wengert import cost\n"
    )
    assert imports_of(path) == {"api", "tracing", "cost"}


# ---- Public names ----


def test_all_is_sorted_complete_and_resolves():
    assert wengert.__all__ == sorted(wengert.__all__)
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    imported = [a.asname or a.name for n in tree.body if isinstance(n, (ast.Import, ast.ImportFrom)) for a in n.names]
    assert set(wengert.__all__) == {name for name in imported if not name.startswith("_") and name != "annotations"}
    assert all(getattr(wengert, name) is not None for name in wengert.__all__)


def test_no_module_shadows_a_public_function():
    for name in wengert.__all__:
        assert not inspect.ismodule(getattr(wengert, name)), name


# ---- Docstrings and their examples ----


@pytest.mark.parametrize("name", MODULES)
def test_module_classes_and_functions_have_docstrings(name):
    module = importlib.import_module(name)
    assert module.__doc__, name
    written = [id(function) for function in CALLS.values()]  # NumPy's own names, signatures and documentation
    for key, value in vars(module).items():
        if id(value) in written:
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
    return "\n".join(line.rstrip() for line in text.rstrip().splitlines())


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_examples_in_pages(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for line, printed, expected in run_page(path.read_text(), path):
        assert printed == expected, f"{path.name}:{line}"


def test_a_wrong_page_would_be_seen():
    page = "```python\nx = 1\n```\n\n```python\nprint(x + 1)\n```\n```text\n3\n```\n```python no-run\nboom\n```\n"
    assert list(run_page(page)) == [(6, "2", "3")]
