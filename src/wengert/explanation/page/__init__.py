"""The page: a derivation as one HTML file that plays it, step by step, and needs no network.

`contents` gathers what is shown, as a document of JSON, from the same data that text and LaTeX are written from.  The
browser's part is ``page.html``, ``page.css`` and three scripts: ``program.js`` runs the scalar program, ``learner.js``
reads formulas that a learner types, ``page.js`` shows everything.  Graphs are laid out by dagre, ``dagre.min.js``.

- `mathml`: formulas as browsers set them;
- `excerpts`: the source of the functions that lines come from;
- `operations`: values and local partials as operations that a browser runs;
- `contents`: the document.

>>> import numpy as np, wengert as wg
>>> e = wg.explain(lambda x: np.exp(-x))(0.0)
>>> page = write_page(e.derivation, e.program, (0.0,))
>>> page[:15], "http-equiv" in page
('<!DOCTYPE html>', True)
"""

from __future__ import annotations

import functools
import html
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wengert.explanation.array_steps import ArrayDerivation
from wengert.explanation.page.contents import contents
from wengert.explanation.steps import Derivation
from wengert.program import Program

__all__ = ["contents", "write_message", "write_page"]

SCRIPTS = ("dagre.min.js", "program.js", "learner.js", "page.js")


def write_page(derivation: Derivation | ArrayDerivation, program: Program, point: Sequence[Any], head: str = "") -> str:
    """Write the page of a derivation; `program` is what was derived, at the `point`, and `head` stands above it all."""
    document = json.dumps(contents(derivation, program, point), ensure_ascii=False, separators=(",", ":"))
    parts = {
        "title": html.escape(f"{derivation.name}: the chain rule, step by step"),
        "style": _part("page.css"),
        "head": head,
        "contents": document.replace("<", "\\u003c"),
        "scripts": "\n".join(map(_part, SCRIPTS)),
    }
    return _fill("page.html", parts)


def write_message(title: str, head: str) -> str:
    """Write a page that has no derivation to show: `head` alone, in the style of the others."""
    return _fill("message.html", {"title": html.escape(title), "style": _part("page.css"), "head": head})


def _fill(template: str, parts: Mapping[str, str]) -> str:
    return re.sub(r"<!--(\w+)-->", lambda match: parts[match[1]], _part(template))


@functools.cache
def _part(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")
