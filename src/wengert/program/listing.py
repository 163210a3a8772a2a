"""Listing: a Program as text, a line a line, in the reference text's numbering.

>>> import wengert as wg
>>> print(write_listing(wg.trace(lambda x: 2.0 * x + 1.0)(0.0), places=False))
x = u_0
u_1 = 2 * u_0
u_2 = u_1 + 1  = y
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wengert.display import table
from wengert.program.dataflow import guards_of
from wengert.program.lines import Var, WengertList
from wengert.program.primitive import Shape


def write_listing(program: WengertList, places: bool = True) -> str:
    """Return a Program as text: lines in columns, each followed by the Programs it holds; see `Program.listing`."""
    rows = list(_rows_of(program, places, "", {}))
    lines = [row for row in rows if type(row) is tuple]
    first = max([len(text) for text, _, _ in lines], default=0)
    second = max([len(note) for _, note, _ in lines], default=0)
    written = []
    for row in rows:
        if type(row) is str:
            written.append(row.rstrip())
            continue
        text, note, place = row
        text = f"{text:<{first}}" + (f"  {note:<{second}}" if second else "")
        written.append((f"{text}  # {place}" if place else text).rstrip())
    return "\n".join(written)


def write_html(program: WengertList) -> str:
    """Return a Program as an HTML table: formula, shape and name, place in the code."""
    rows = [[row] if type(row) is str else list(row) for row in _rows_of(program, True, "", {})]
    return table(rows)


def _rows_of(program: WengertList, places: bool, indent: str, said: dict[int, str], title: str = "") -> Iterator[Any]:
    """Yield the arguments as text, each line as (text, note, place), and the results that are no lines as text.

    A Program held by several lines is written once; `said` maps it to the name of the first such line.
    """
    head = [
        f"{name} = {atom}" + (f"  {_shape(atom.shape)}" if atom.shape else "")
        for argument in program.arguments
        for name, atom in zip(argument.names, argument.atoms, strict=True)
    ]
    yield f"{indent}{title}{', '.join(head)}"
    results: dict[Var, list[str]] = {}
    constants: list[str] = []
    for result in program.results:
        for name, atom in zip(result.names, result.atoms, strict=True):
            if isinstance(atom, Var) and atom.number > 0:
                results.setdefault(atom, []).append(name)
            else:
                constants.append(f"{name} = {atom}")
    guards = guards_of(program)
    for line in program.lines:
        notes = []
        for var in line.outputs:
            parts = [_shape(var.shape)] if var.shape else []
            parts += [f"= {name}" for name in results.get(var, [])]
            if parts and len(line.outputs) > 1:  # name the variable that the note is about
                parts.insert(0, str(var))
            notes.append(" ".join([*parts, *(f"(here {guard.value})" for guard in guards.get(var, ()))]))
        place = str(line.location) if places and line.location is not None else ""
        yield f"{indent}{line}", ", ".join(filter(None, notes)), place
        if line.held is not None:
            for name, inner in zip(line.held.titles(), line.programs, strict=True):
                if id(inner) in said:
                    yield f"{indent}  {name}: as of {said[id(inner)]}"
                    continue
                said[id(inner)] = ", ".join(map(str, line.outputs))
                yield from _rows_of(inner, places, f"{indent}  ", said, f"{name}: ")
    if constants:
        yield f"{indent}{', '.join(constants)}"


def _shape(shape: Shape) -> str:
    return "(" + " x ".join(map(str, shape)) + ")"
