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
import math
import re
from collections.abc import Sequence
from typing import Any

MOST_ROWS = 400
"""A table in HTML has no more rows than this: a notebook keeps all that it shows."""
_SIDES = {"l": "left", "r": "right", "c": "center"}


def as_text(renderable: Any, width: int = 200) -> str:
    """Render what rich renders as plain text, in a terminal, a notebook or a file alike.

    In a notebook, rich's console shows what it prints, and writes nothing into the file that it is given.
    """
    from rich.console import Console

    out = io.StringIO()
    console = Console(
        file=out, width=width, color_system=None, force_terminal=False, force_jupyter=False, legacy_windows=False
    )
    console.print(renderable, end="")
    return "\n".join(line.rstrip() for line in out.getvalue().rstrip().splitlines())


def spy(pattern: Any, width: int = 64) -> str:
    """Draw where a matrix has entries, in Braille: a character for 4 rows and 2 columns, or for as many blocks of them.

    Parameters
    ----------
    pattern
        A SciPy sparse array, or an array of two axes.
    width
        The most characters in a line.

    Examples
    --------
    >>> import numpy as np
    >>> print(spy(np.eye(8)))
    8 x 8, 8 entries, 12.5 %
    ⠑⢄
    ⠀⠀⠑⢄
    """
    import numpy as np

    rows, columns = pattern.nonzero()
    m, n = pattern.shape
    scale = max(1.0, n / (2 * width), m / (4 * width))
    dots = np.zeros((4 * math.ceil(m / scale / 4), 2 * math.ceil(n / scale / 2)), np.bool_)
    dots[(rows / scale).astype(np.intp), (columns / scale).astype(np.intp)] = True
    cells = dots.reshape((dots.shape[0] // 4, 4, dots.shape[1] // 2, 2))
    bits = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
    codes = 0x2800 + np.einsum("iajb,ab->ij", cells, bits)
    share = 100 * len(rows) / max(m * n, 1)
    head = f"{m:,} x {n:,}, {len(rows):,} entries, {share:.3g} %"
    return "\n".join([head, *["".join(map(chr, line)).rstrip("\u2800") for line in codes.tolist()]])


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
