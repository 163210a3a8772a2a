r"""Explanations as LaTeX: aligned equations that break over pages, in no need of any package but amsmath."""

from __future__ import annotations

import re
from collections.abc import Sequence

from wengert.explanation.document import Block, Equations, Heading, Sentence, value_of
from wengert.explanation.notation import LATEX
from wengert.explanation.slide import Cell, Slide

WIDEST_LINE = 90
"""Equalities that are about so many characters wide stand in one line."""

_SECTIONS = {1: "section", 2: "subsection", 3: "paragraph"}


def typeset(blocks: Sequence[Block], values: bool = False) -> str:
    """Set blocks as the body of a LaTeX document; equations break over pages."""
    written: list[str] = [r"\allowdisplaybreaks"]
    for block in blocks:
        if isinstance(block, Heading):
            written.append(rf"\{_SECTIONS[block.level]}*{{{_words(block.words)}}}")
        elif isinstance(block, Sentence):
            written.append(_words(block.words))
        else:
            written.append(equations(block, values, "align*"))
    return "\n\n".join(written) + "\n"


def equations(block: Equations, values: bool = False, environment: str = "aligned") -> str:
    """Set equations as sentences end: commas, and a period at last; long ones go on below, an equality a line."""
    rows = []
    for row in block.rows:
        value = value_of(row, LATEX) if values or not row.equals else ""
        sides = [f"= {side}" for side in row.equals]
        if not sides:
            sides = [value]
        elif value:
            sides[-1] += f" {value}"
        between = " " if sum(map(_width, (row.left, *sides))) <= WIDEST_LINE else " \\\\\n & "
        body = between.join(sides)
        rows.append(f"{row.left} & {body}" + (rf" \quad {row.shape}" if row.shape else ""))
    return f"\\begin{{{environment}}}\n" + ", \\\\\n".join(rows) + f".\n\\end{{{environment}}}"


def _width(formula: str) -> int:
    """Estimate how many characters wide a formula is set; a fraction is as wide as its wider part."""
    fraction = re.compile(r"\\frac\{((?:[^{}]|\{[^{}]*\})*)\}\{((?:[^{}]|\{[^{}]*\})*)\}")
    while match := fraction.search(formula):
        formula = formula[: match.start()] + max(match[1], match[2], key=len) + formula[match.end() :]
    return len(re.sub(r"[{}_^&\\ ]|(?<=\\)[a-z]+(?=[a-z])", "", formula))


def slide(s: Slide) -> str:
    """Set a slide as an array as wide as the text at most; it needs the packages graphicx and xcolor."""
    middle = [column.kind == "decomposition" for column in s.columns]
    place = middle.index(True)
    left, right = "c" * place, "c" * (len(middle) - place - 1)
    sides = f"{left}{'|' if left else ''}l{'|' if right else ''}{right}"
    heads = [
        rf"{column.derivative.latex} \{column.reads}arrow" if column.derivative.latex else "" for column in s.columns
    ]
    rows = [" & ".join(heads) + r" \\[2ex] \hline"]
    rows += [
        " & ".join(_cell(cell, named) for cell, named in zip(row.cells, middle, strict=True)) + r" \\[1ex]"
        for row in s.rows
    ]
    table = "\n".join([rf"\begin{{array}}{{{sides}}}", *rows, r"\end{array}"])
    fitted = "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{$\\displaystyle\n" + table + "\n$}"
    centered = f"\\begin{{center}}\n{fitted}\n\\end{{center}}"
    title, counts, sentence = (_words(words) for words in (s.title, f"{s.counts}.", s.sentence))
    return f"\\section*{{{title}}}\n\n{centered}\n\n{counts}\n\n{sentence}\n"


def _cell(cell: Cell | None, named: bool) -> str:
    if cell is None:
        return ""
    formula = f"{cell.name.latex} = {cell.formula.latex}" if named else cell.formula.latex
    formula = rf"\textcolor{{gray}}{{{formula}}}" if cell.is_zero else formula
    if not cell.shown.latex:
        return formula
    side = "{@{}l@{}}" if named else "{@{}c@{}}"
    return rf"\begin{{array}}{side} {formula} \\ \scriptstyle {cell.shown.latex} \end{{array}}"


def _words(words: str) -> str:
    return inline(re.sub(r"([_%&#])(?=[^`]*(?:`[^`]*`[^`]*)*$)", r"\\\1", spaces(words)))


def spaces(words: str) -> str:
    """Write ``R^3 -> R^2`` as a formula between backquotes."""

    def formula(match: re.Match[str]) -> str:
        n, m = (f"^{{{n}}}" if n else "" for n in match.groups())
        return rf"`\mathbf{{R}}{n} \to \mathbf{{R}}{m}`"

    return re.sub(r"\bR(?:\^(\d+))? -> R(?:\^(\d+))?", formula, words)


def inline(words: str) -> str:
    """Put what stands between backquotes into dollars."""
    return re.sub(r"`([^`]*)`", lambda match: f"${match[1]}$", words)
