"""Formulas as MathML, which browsers set themselves: without a font, a script or a network.

>>> convert(r"\\frac{1}{x_3}")
'<mfrac><mn>1</mn><msub><mi>x</mi><mn>3</mn></msub></mfrac>'
"""

from __future__ import annotations

import functools
import html
import re

from wengert.explanation.latex import spaces

_WORD = re.compile(r'(?:<mi mathvariant="normal">[^<]</mi>){2,}')
_BOXES = re.compile(r"<mrow>(<(m[a-z]+)>[^<]*</\2>|<(msub|mfrac|msup|msqrt)>(?:(?!<\3>).)*</\3>)</mrow>")


@functools.lru_cache(maxsize=1 << 14)
def convert(latex: str) -> str:
    """Return a formula in LaTeX as the content of a ``<math>``."""
    from latex2mathml.converter import convert as with_math

    content = with_math(latex).partition(">")[2].removesuffix("</math>")
    content = re.sub(r"&#x([0-9A-F]+);", lambda match: html.escape(chr(int(match[1], 16)), quote=False), content)
    content = _WORD.sub(lambda match: f"<mi>{re.sub('<[^>]*>', '', match[0])}</mi>", content)
    shorter = _BOXES.sub(r"\1", content)
    while shorter != content:  # a box around one thing, once the boxes inside of that are gone
        content, shorter = shorter, _BOXES.sub(r"\1", shorter)
    return content


def inline(latex: str) -> str:
    """Return a formula as an element of HTML."""
    return f"<math>{convert(latex)}</math>" if latex else ""


def words(text: str, notated: bool = True) -> str:
    """Return a sentence as HTML; what stands between backquotes is a formula, or code where nothing is `notated`.

    >>> words("a sum in `x`, with `wg.jacobian(f, sparse=True)`")
    'a sum in <math><mi>x</mi></math>, with <code>wg.jacobian(f, sparse=True)</code>'
    """
    parts = spaces(text).split("`")
    parts[::2] = [html.escape(part, quote=False) for part in parts[::2]]
    parts[1::2] = [
        inline(part) if notated and not part.startswith("wg.") else f"<code>{html.escape(part, quote=False)}</code>"
        for part in parts[1::2]
    ]
    return "".join(parts)
