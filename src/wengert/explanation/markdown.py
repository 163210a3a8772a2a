r"""Explanations as Markdown with ``$$`` formulas, as notebooks, forges and site generators render it."""

from __future__ import annotations

from collections.abc import Sequence

from wengert.explanation import latex
from wengert.explanation.document import Block, Heading, Sentence
from wengert.explanation.slide import Cell, Slide


def typeset(blocks: Sequence[Block], values: bool = False) -> str:
    """Set blocks as Markdown."""
    written: list[str] = []
    for block in blocks:
        if isinstance(block, Heading):
            written.append(f"{'#' * (block.level + 1)} {_words(block.words)}")
        elif isinstance(block, Sentence):
            written.append(_words(block.words))
        else:
            written.append(f"$$\n{latex.equations(block, values)}\n$$")
    return "\n\n".join(written) + "\n"


def slide(s: Slide) -> str:
    """Set a slide as a table, each formula with its value beneath, zeros grey."""
    heads = [
        f"${column.derivative.latex}$ {'↓' if column.reads == 'down' else '↑'}" if column.derivative.latex else ""
        for column in s.columns
    ]
    middle = [column.kind == "decomposition" for column in s.columns]
    rows = [heads, [":--" if one else ":-:" for one in middle]]
    rows += [[_cell(cell, named) for cell, named in zip(row.cells, middle, strict=True)] for row in s.rows]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"## {_words(s.title)}\n\n{table}\n\n{s.counts}.\n\n{s.sentence}\n"


def _cell(cell: Cell | None, named: bool) -> str:
    if cell is None:
        return ""
    formula = f"{cell.name.latex} = {cell.formula.latex}" if named else cell.formula.latex
    formula = rf"\color{{gray}}{{{formula}}}" if cell.is_zero else formula
    parts = [f"${formula}$", *([f"${cell.shown.latex}$"] if cell.shown.latex else [])]
    return "<br>".join(parts).replace("|", r"\vert ")


def _words(words: str) -> str:
    return latex.inline(latex.spaces(words))
