"""A slide as a picture: an SVG that needs no font but the reader's own, in the colors of light and dark pages.

>>> import numpy as np, wengert as wg
>>> picture = draw(wg.explain(lambda x: np.sin(x))(0.5).slide)
>>> picture[:4], picture.count("<rect"), "cos(x)" in picture
('<svg', 1, True)
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from wengert.explanation.slide import Cell, Slide

CHARACTER, SIZE, LINE, PAD = 8.2, 14, 19, 12
"""The width of a character, the size of the font, the height of a line and the space beside a column, in pixels."""

STYLE = """
text { font: 14px 'STIX Two Math', 'Cambria Math', 'DejaVu Serif', serif; fill: #1b1b1f; }
.value { font-size: 12px; fill: #5c5c66; } .zero { fill: #b4b4bd; } .words { font-size: 13px; }
.head { font-weight: bold; } .middle { fill: #f1f3f8; } line { stroke: #9a9aa6; }
@media (prefers-color-scheme: dark) {
  text { fill: #e8e8ee; } .value { fill: #a5a5b0; } .zero { fill: #5c5c66; } .middle { fill: #2a2c33; }
}
"""


def draw(slide: Slide) -> str:
    """Draw a slide."""
    heads = [
        f"{column.derivative.text} {'↓' if column.reads == 'down' else '↑'}" if column.derivative.text else ""
        for column in slide.columns
    ]
    middle = [column.kind for column in slide.columns].index("decomposition")
    lefts, width = _columns([heads, *[_texts(row.cells, middle) for row in slide.rows]])
    closing = [f"{slide.counts}.", slide.sentence]
    width = max(width, *[len(words) * CHARACTER for words in (*closing, slide.title)]) + PAD
    top = 2 * LINE + PAD
    parts = [_text(slide.title, PAD, LINE, "head")]
    parts += [_text(head, left, top, "head") for head, left in zip(heads, lefts, strict=True)]
    rule = top + PAD // 2
    y = rule + LINE
    for row in slide.rows:
        for cell, text, left in zip(row.cells, _texts(row.cells, middle), lefts, strict=True):
            if cell is not None:
                parts.append(_text(text, left, y, "zero" if cell.is_zero else ""))
                parts += [_text(cell.shown.text, left, y + 15, "value")] if cell.shown.text else []
        y += 2 * LINE
    end = lefts[middle + 1] if middle + 1 < len(lefts) else width
    lines = [f'<line x1="{PAD}" y1="{rule}" x2="{width - PAD:.0f}" y2="{rule}"/>']
    parts += [_text(words, PAD, y + LINE * (k + 1), "words") for k, words in enumerate(closing)]
    height = y + LINE * (len(closing) + 1)
    band = (
        f'<rect class="middle" x="{lefts[middle] - PAD:.0f}" y="{rule}" width="{end - lefts[middle]:.0f}" '
        f'height="{y - rule - LINE // 2}"/>'
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" '
            f'height="{height}" role="img" aria-label="{html.escape(f"{slide.title}. {slide.counts}.")}">',
            f"<style>{STYLE}</style>",
            band,
            *lines,
            *parts,
            "</svg>\n",
        ]
    )


def _texts(cells: Sequence[Cell | None], middle: int) -> list[str]:
    return [
        "" if cell is None else f"{cell.name.text} = {cell.formula.text}" if k == middle else cell.formula.text
        for k, cell in enumerate(cells)
    ]


def _columns(grid: Sequence[Sequence[str]]) -> tuple[list[float], float]:
    """Return where columns begin, and the width of all."""
    lefts, left = [], float(PAD)
    for column in zip(*grid, strict=True):
        lefts.append(left)
        left += max(len(re.sub(r"[_{}]", "", text)) for text in column) * CHARACTER + 2 * PAD
    return lefts, left


def _text(text: str, x: float, y: float, style: str) -> str:
    """Write a formula with its indices below and its powers above the line."""
    written = html.escape(text, quote=False)
    written = re.sub(r"_(?:\{([^{}]+)\}|(\d+))", lambda m: _shifted(m[1] or m[2], 4), written)
    written = re.sub(r"\^(-?\d+)", lambda m: _shifted(m[1], -5), written)
    return f'<text x="{x:.0f}" y="{y}"{f" class={chr(34)}{style}{chr(34)}" if style else ""}>{written}</text>'


def _shifted(text: str, by: int) -> str:
    return f'<tspan dy="{by}" font-size="10">{text}</tspan><tspan dy="{-by}">\u200b</tspan>'
