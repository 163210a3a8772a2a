"""Excerpts of the user's source: the functions that the lines of a Program come from.

>>> from wengert.errors import Location
>>> excerpts([Location(__file__, 12)])[0]["file"]
'excerpts.py'
"""

from __future__ import annotations

import ast
import functools
import linecache
import os
from collections.abc import Iterable, Iterator
from typing import Any

from wengert.errors import Location

MOST_LINES = 240
"""The lines of source that a page shows at most."""


def excerpts(locations: Iterable[Location | None]) -> list[dict[str, Any]]:
    """Return the functions around some places: for each its file, the number of its first line, and its text."""
    wanted: dict[str, set[int]] = {}
    for location in locations:
        if location is not None and linecache.getline(location.file, location.line):
            wanted.setdefault(location.file, set()).add(location.line)
    written, left = [], MOST_LINES
    for file, numbers in wanted.items():
        lines = linecache.getlines(file)
        for start, stop in _ranges(file, numbers):
            stop = min(stop, start + left)
            left -= stop - start
            if start < stop:
                text = [line.rstrip() for line in lines[start:stop]]
                indent = min((len(line) - len(line.lstrip()) for line in text if line), default=0)
                written.append(
                    {
                        "file": os.path.basename(file),
                        "first": start + 1,
                        "indent": indent,
                        "lines": [line[indent:] for line in text],
                    }
                )
    return written


def function_of(location: Location) -> str:
    """Return the name of the innermost function around a place; empty outside of any, or where there is no source."""
    function = _innermost(location.file, location.line)
    return "" if function is None else function.name


def _innermost(file: str, line: int) -> ast.FunctionDef | None:
    around = [f for f in _functions(file, len(linecache.getlines(file))) if line in _span(f)]
    return min(around, key=lambda function: len(_span(function)), default=None)


def _ranges(file: str, numbers: set[int]) -> Iterator[tuple[int, int]]:
    """Yield the ranges of lines, counted from 0, of the innermost functions around some lines, in order and joined."""
    functions = [(number, _innermost(file, number)) for number in numbers]
    spans = [range(number, number + 1) if function is None else _span(function) for number, function in functions]
    joined: list[range] = []
    for span in sorted(spans, key=lambda span: span.start):
        if joined and span.start <= joined[-1].stop:
            joined[-1] = range(joined[-1].start, max(joined[-1].stop, span.stop))
        else:
            joined.append(span)
    for span in joined:
        yield span.start - 1, span.stop - 1


@functools.lru_cache(maxsize=16)
def _functions(file: str, _lines: int) -> list[ast.FunctionDef]:
    """Return the functions of a source file of so many lines."""
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except SyntaxError:
        return []
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def _span(node: ast.FunctionDef) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)
