"""What is written of a case of the corpus, section by section, and the golden file that holds it.

The text is the same on every machine, and where other functions of a file change: a place is ``+2``, the second line
after the function's first, or ``helper+2`` in a function that it calls; numbers are rounded to ten digits.
"""

from __future__ import annotations

import ast
import difflib
import functools
import hashlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from corpus import CORPUS, EXAMPLES, Case

import wengert as wg
from wengert.errors import UnsupportedError
from wengert.planning import COUNTED

FOLDER = Path(__file__).parent / "corpus"
LONGEST = 3_950
"""An explanation of more characters is left out; its section holds its length and a digest, which show a change."""
COMMAND = "python tests/golden/regenerate.py"


# ---- Sections ----


def sections(case: Case) -> list[str]:
    """Name the sections of a case in the order of its file: ``"function"``, ``"plan"``, ``"gradient: plan"``."""
    names = ["function"]
    for kind in ("function", *case.kinds):
        parts = ("listing", "source", "plan", "explanation")
        names += [part if kind == "function" else f"{kind}: {part}" for part in parts]
    return names


def write(case: Case, section: str) -> str:
    """Write a section."""
    if section == "function":
        return textwrap.dedent(inspect.getsource(case.f)).strip()
    kind, part = section.split(": ") if ": " in section else ("function", section)
    return stable(WRITERS[part](case, kind), case.f.__name__).strip("\n")


def explanation(case: Case, kind: str) -> str:
    """Write the explanation at the point; a line in its place where it is long or refused."""
    try:
        text = stable(str(wg.explain(case.function_of(kind), case.argnums)(*case.args)), case.f.__name__)
    except UnsupportedError as error:
        return f"(refused: {str(error).splitlines()[0]})"
    if len(text) <= LONGEST:
        return text
    return f"(left out: {len(text):,} characters, SHA-256 {hashlib.sha256(text.encode()).hexdigest()[:16]}...)"


def plan(case: Case, kind: str) -> str:
    """Write the plan at the point, without the line that is the same in all and the times of this machine."""
    function = case.function_of(kind)
    planner = getattr(function, "plan", None) or wg.plan(function, case.argnums)
    lines = planner(*case.args).listing(seconds=False).splitlines()
    return "\n".join(line for line in lines if line != COUNTED)


@functools.cache
def program_of(name: str, kind: str) -> Any:
    """Trace a function of the corpus, or a derivative of it."""
    case = CORPUS[name]
    return wg.trace(case.function_of(kind))(*case.args)


WRITERS = {
    "listing": lambda case, kind: program_of(case.name, kind).listing(places=False),
    "source": lambda case, kind: program_of(case.name, kind).source(),
    "plan": plan,
    "explanation": explanation,
}


# ---- The same text on every machine ----


def stable(text: str, name: str) -> str:
    """Round numbers, count places from the line of their function, of which `name` is not named, and drop addresses.

    The rule of a table is one character long, since it is the longest line of most files.
    """
    text = PLACE.sub(lambda place: _counted(place, name), text)
    return RULE.sub("─", ADDRESS.sub("<object>", NUMBER.sub(_rounded, text)))


NUMBER = re.compile(r"(?<![\w.])\d+\.\d+(?:e[-+]?\d+)?")
ADDRESS = re.compile(r"<[\w.]+ object at 0x[0-9a-f]+>")
PLACE = re.compile(r"(\w+\.py):(\d+)")
RULE = re.compile("─+")


def _rounded(number: re.Match[str]) -> str:
    digits = number[0].partition("e")[0].replace(".", "").lstrip("0")
    return number[0] if len(digits) <= 10 else repr(float(f"{float(number[0]):.10g}"))


def _counted(place: re.Match[str], name: str) -> str:
    """Turn ``corpus.py:310`` into ``softmax+2``, the second line after ``def softmax``; in `softmax` itself ``+2``."""
    file, line = place[1], int(place[2])
    for folder in (FOLDER.parent, EXAMPLES):
        if (folder / file).exists():
            for function, first, last in _functions(folder / file):
                if first <= line <= last:
                    return f"{'' if function == name else function}+{line - first}"
            return file
    return place[0]


@functools.cache
def _functions(path: Path) -> list[tuple[str, int, int]]:
    tree = ast.parse(path.read_text())
    return [(node.name, node.lineno, node.end_lineno or 0) for node in tree.body if isinstance(node, ast.FunctionDef)]


# ---- Files ----

HEADING = re.compile(r"^==== (.+) ====\n", re.M)


def parse(text: str) -> dict[str, str]:
    """Read the sections of a golden file.

    >>> parse("==== plan ====\\nreverse\\n\\n==== listing ====\\nx = u_0\\n")
    {'plan': 'reverse', 'listing': 'x = u_0'}
    """
    _, *parts = HEADING.split(text)
    return {name: body.strip("\n") for name, body in zip(parts[::2], parts[1::2], strict=True)}


def typeset(case: Case) -> str:
    """Write the golden file of a case."""
    return "\n\n".join(f"==== {name} ====\n{write(case, name)}" for name in sections(case)) + "\n"


@functools.cache
def golden(name: str) -> dict[str, str]:
    """Return the sections of a case's golden file; none if there is no file."""
    path = FOLDER / f"{name}.txt"
    return parse(path.read_text(encoding="utf-8")) if path.exists() else {}


def difference(name: str, section: str, before: str | None, after: str) -> str:
    """Return a unified diff of a section, "" where nothing has changed."""
    if before == after:
        return ""
    if before is None:
        return f"{name}.txt has no section {section!r}: {COMMAND} {name}"
    lines: Iterator[str] = difflib.unified_diff(
        before.splitlines(), after.splitlines(), f"{name}.txt, {section}", "now", lineterm=""
    )
    return "\n".join([f"the {section} of {name} has changed; if it should: {COMMAND} {name}", *lines])
