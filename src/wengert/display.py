"""Display: text that is the same wherever it is printed, and tables in HTML for notebooks.

>>> print(table([["u_1", "exp(u_{-1}) < 2"]], align="rl"))
<table style="border-collapse: collapse; color: inherit; background: transparent; font-family: monospace">
<tr><td style="text-align: right; white-space: pre">u<sub>1</sub></td>\
<td style="text-align: left; white-space: pre">exp(u<sub>-1</sub>) &lt; 2</td></tr>
</table>
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Sequence
from typing import Any

MOST_ROWS = 400
"""A table in HTML has no more rows than this: a notebook keeps all that it shows."""
_SIDES = {"l": "left", "r": "right", "c": "center"}


def as_text(renderable: Any, width: int = 200, color: bool = False) -> str:
    """Render what rich renders as text, in a terminal, a notebook or a file alike; plain, or in the terminal's colors.

    In a notebook, rich's console shows what it prints, and writes nothing into the file that it is given.
    """
    from rich.console import Console

    out = io.StringIO()
    console = Console(
        file=out, width=width, color_system="auto" if color else None, force_terminal=color, force_jupyter=False,
        legacy_windows=False,
    )  # fmt: skip
    console.print(renderable, end="")
    return "\n".join(line.rstrip() for line in out.getvalue().rstrip().splitlines())


def formula(text: str) -> str:
    """Escape text for HTML and set its indices and powers: ``u_{-1}``, ``x_2``, ``R^3``.

    >>> formula("f: R^3 -> R^2, u_{-1} < x_2")
    'f: R<sup>3</sup> → R<sup>2</sup>, u<sub>-1</sub> &lt; x<sub>2</sub>'
    """
    escaped = html.escape(text.replace("->", "→"), quote=False)
    escaped = re.sub(r"(?<=[^\W\d_])_(?:\{([^{}]+)\}|(\d+)(?!\w))", lambda m: f"<sub>{m[1] or m[2]}</sub>", escaped)
    return re.sub(r"\bR\^([\d,]*\d)", r"R<sup>\1</sup>", escaped)


def table(rows: Sequence[Sequence[str]], head: Sequence[str] = (), align: str = "") -> str:
    """Write a table of formulas in HTML, in the colors of the page; a row of one cell goes over all columns.

    `align` has a letter for each column: ``l``, ``r`` or ``c``.
    """
    columns = max(map(len, (head, *rows)))
    sides = [_SIDES[letter] for letter in align.ljust(columns, "l")]

    def row(cells: Sequence[str], tag: str) -> str:
        over = f' colspan="{columns}"' if len(cells) == 1 < columns else ""
        written = [
            f'<{tag}{over} style="text-align: {side}; white-space: pre">{formula(cell)}</{tag}>'
            for cell, side in zip(cells, ["left"] if over else sides, strict=False)
        ]
        return f"<tr>{''.join(written)}</tr>"

    shown = [row(cells, "td") for cells in rows[:MOST_ROWS]]
    if len(rows) > MOST_ROWS:
        shown.append(row([f"... {len(rows) - MOST_ROWS:,} more rows: print it for all"], "td"))
    style = "border-collapse: collapse; color: inherit; background: transparent; font-family: monospace"
    return "\n".join([f'<table style="{style}">', *([row(head, "th")] if head else []), *shown, "</table>"])


def paragraph(text: str, bold: bool = False) -> str:
    """Write a sentence in HTML; its line breaks and columns stay."""
    weight = "; font-weight: bold" if bold else ""
    return f'<div style="white-space: pre-wrap{weight}">{formula(text)}</div>'


def code(text: str) -> str:
    """Write code in HTML, such as an excerpt of the user's: nothing in it is a formula."""
    style = "color: inherit; background: transparent; font-family: monospace"
    return f'<pre style="{style}">{html.escape(text, quote=False)}</pre>'
