"""Explanations as plain text: Unicode, one equation a line, values in a column at the right."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from typing import Any

from wengert.explanation.document import Block, Equations, Heading, Row, Sentence, value_of
from wengert.explanation.notation import TEXT
from wengert.explanation.slide import Cell, Slide

WIDEST_SLIDE = 150
"""A slide has as many passes as fit into lines of so many characters."""

WIDEST_LINE = 116
"""A line of equations that is longer goes on below."""

UNBROKEN: Any = {"break_long_words": False, "break_on_hyphens": False}

WIDEST_COLUMN = 96
"""Values stand in a column, unless the line is longer than this."""


def typeset(blocks: Sequence[Block], values: bool = True) -> str:
    """Set blocks as text."""
    written: list[str] = []
    for block in blocks:
        if isinstance(block, Heading):
            words = block.words.replace("`", "")
            rule = {1: "=", 2: "-"}.get(block.level)
            written.append(f"{words}\n{rule * len(words)}" if rule else f"{words}:")
        elif isinstance(block, Sentence):
            written.append(_paragraph(block.words))
        else:
            written.append("\n".join(f"  {line}" for line in equations(block, values)))
    return "\n\n".join(written)


def _paragraph(words: str) -> str:
    """Break a paragraph into lines, between words and not in a short formula."""
    kept = re.sub(r"`[^`]{,40}`", lambda formula: formula[0].replace(" ", "\xa0"), words).replace("`", "")
    lines = textwrap.wrap(kept, WIDEST_LINE, **UNBROKEN)
    return "\n".join(lines).replace("\xa0", " ")


def equations(block: Equations, values: bool = True) -> list[str]:
    """Set equations, their left sides and values aligned; what is too long for a line goes on below, indented."""
    left = max((len(row.left) for row in block.rows), default=0)
    bodies = [_body(row, left) for row in block.rows]
    shown = [row.shape or (value_of(row, TEXT) if values else "") for row in block.rows]
    column = max(
        (len(b[-1]) for b, v in zip(bodies, shown, strict=True) if v and len(b[-1]) <= WIDEST_COLUMN), default=0
    )
    for body, value in zip(bodies, shown, strict=True):
        body[-1] = f"{body[-1]:<{column}}  {value}" if value else body[-1]
    note_column = max((len(body[-1]) for body, row in zip(bodies, block.rows, strict=True) if row.note), default=0)
    for body, row in zip(bodies, block.rows, strict=True):
        if row.note and values:
            body[-1] = f"{body[-1]:<{note_column}}  # {row.note}"
    return [line.rstrip() for body in bodies for line in body]


def _body(row: Row, left: int) -> list[str]:
    """Write the sides of a row in one line or, where that is too long, an equality a line, broken at its terms."""
    if not row.equals:
        return [f"{row.left:<{left}}"]
    line = f"{row.left:<{left}} = {' = '.join(row.equals)}"
    if len(line) <= WIDEST_LINE:
        return [line]
    first, indent = f"{row.left:<{left}} = ", " " * left + " = "
    lines: list[str] = []
    for k, side in enumerate(row.equals):
        pieces = textwrap.wrap(
            side,
            WIDEST_LINE,
            initial_indent=indent if k else first,
            subsequent_indent=" " * len(indent),
            **UNBROKEN,
        )
        lines += pieces
    return lines


def slide(whole: Slide) -> str:
    """Set a slide as a table: each formula with its value beneath."""
    passes = max(sum(column.kind == kind for column in whole.columns) for kind in ("forward", "reverse"))
    for most in range(max(passes, 1), 0, -1):
        narrow = whole.narrowed(most)
        lines = _table(narrow)
        if max(map(len, lines)) <= WIDEST_SLIDE:
            break
    closing = [f"{whole.counts}.", whole.sentence, narrow.left_out(whole)]
    return "\n".join([whole.title, "=" * len(whole.title), "", *lines, "", *filter(None, closing)])


def _table(s: Slide) -> list[str]:
    heads = [
        f"{column.derivative.text} {'↓' if column.reads == 'down' else '↑'}" if column.derivative.text else ""
        for column in s.columns
    ]
    grid = [heads]
    for row in s.rows:
        named = [
            "" if cell is None else f"{cell.name.text} = {cell.formula.text}" if middle else cell.formula.text
            for cell, middle in zip(row.cells, (column.kind == "decomposition" for column in s.columns), strict=True)
        ]
        grid += [named, [_beneath(cell) for cell in row.cells]]
    widths = [max(len(row[k]) for row in grid) for k in range(len(s.columns))]

    def line(cells: Sequence[str]) -> str:
        text = ""
        for k, (cell, width) in enumerate(zip(cells, widths, strict=True)):
            beside = k and "decomposition" in (s.columns[k].kind, s.columns[k - 1].kind)
            text += ("  │  " if beside else "   " if k else "") + cell.ljust(width)
        return text.rstrip(" ")

    lines = [line(row) for row in grid]
    ruled = [
        lines[0],
        "".join("┼" if c == "│" else "─" for c in line([" " * w for w in widths]).ljust(max(map(len, lines)))),
    ]
    for first, second, cells in zip(lines[1::2], lines[2::2], grid[2::2], strict=True):
        ruled += [first, second] if any(cells) else [first]
    return ruled


def _beneath(cell: Cell | None) -> str:
    return "" if cell is None else cell.shown.text
