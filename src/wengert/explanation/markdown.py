r"""Explanations as Markdown with ``$$`` formulas, as notebooks, forges and site generators render it."""

from __future__ import annotations

from collections.abc import Sequence

from wengert.explanation import latex
from wengert.explanation.document import Block, Heading, Sentence


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


def _words(words: str) -> str:
    return latex.inline(latex.spaces(words))
