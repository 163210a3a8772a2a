"""Explanations as plain text: Unicode, one equation a line, values in a column at the right."""

from __future__ import annotations

from collections.abc import Sequence

from wengert.explanation.document import Block, Equations, Heading, Sentence, value_of
from wengert.explanation.notation import TEXT

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
            written.append(block.words.replace("`", ""))
        else:
            written.append("\n".join(f"  {line}" for line in equations(block, values)))
    return "\n\n".join(written)


def equations(block: Equations, values: bool = True) -> list[str]:
    """Set equations, their left sides and values aligned."""
    left = max((len(row.left) for row in block.rows), default=0)
    bodies = [
        f"{row.left:<{left}} = {' = '.join(row.equals)}" if row.equals else f"{row.left:<{left}}" for row in block.rows
    ]
    shown = [row.shape or (value_of(row, TEXT) if values else "") for row in block.rows]
    column = max((len(b) for b, v in zip(bodies, shown, strict=True) if v and len(b) <= WIDEST_COLUMN), default=0)
    lines = [f"{b:<{column}}  {v}" if v else b for b, v in zip(bodies, shown, strict=True)]
    note_column = max((len(line) for line, row in zip(lines, block.rows, strict=True) if row.note), default=0)
    return [
        (f"{line:<{note_column}}  # {row.note}" if row.note and values else line).rstrip()
        for line, row in zip(lines, block.rows, strict=True)
    ]
