r"""Saving: an explanation as a file, a document of LaTeX that stands alone, and as PDF by the programs that are there.

>>> print(as_document(r"\section*{f}", "f").splitlines()[0])
\documentclass[11pt]{article}
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from wengert.errors import ArgumentError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
SECONDS = 120
"""So long may a program take that makes a PDF."""


def as_document(body: str, title: str) -> str:
    """Return a body of LaTeX as a document that stands alone."""
    return "\n".join(
        [
            r"\documentclass[11pt]{article}",
            r"\usepackage{amsmath,graphicx,xcolor}",
            r"\usepackage[a4paper,margin=2cm]{geometry}",
            r"\setlength{\parindent}{0pt}\setlength{\parskip}{1ex}",
            f"% {title}",
            r"\begin{document}",
            body.rstrip("\n"),
            r"\end{document}",
            "",
        ]
    )


def save(path: str | os.PathLike[str], contents: Mapping[str, Callable[[], str]]) -> None:
    """Write a file in the form that its name asks for: `contents` makes that of each ending, ``.tex`` and so on.

    A ``.pdf`` is made of the LaTeX by pdflatex or, where there is none, of the HTML by a browser of the Chromium kind.
    """
    file = Path(path)
    ending = file.suffix.lower()
    if ending == ".pdf":
        file.write_bytes(_pdf(contents))
    elif ending in contents:
        file.write_text(contents[ending](), encoding="utf-8")
    else:
        endings = ", ".join((*contents, ".pdf"))
        raise ArgumentError(
            f"{file.name!r} does not say in which form to save.\nEnd its name with one of {endings}: explanation.html"
        )


def _pdf(contents: Mapping[str, Callable[[], str]]) -> bytes:
    latex = shutil.which("pdflatex")
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if latex is None and browser is None:
        raise ArgumentError(
            "a PDF is made by pdflatex or by a browser (Chromium, Chrome, Edge), and neither is installed here.\n"
            "Install one, or save explanation.html and print it to a file."
        )
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "page.tex" if latex else "page.html")
        page.write_text(contents[page.suffix](), encoding="utf-8")
        command = (
            [latex, "-interaction=nonstopmode", "-halt-on-error", page.name]
            if latex
            else [str(browser), "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer",
                  "--print-to-pdf=page.pdf", page.as_uri()]
        )  # fmt: skip
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=SECONDS, check=False)
        result = Path(folder, "page.pdf")
        if not result.exists():
            said = (done.stdout + done.stderr).decode(errors="replace").strip().splitlines()[-12:]
            raise ArgumentError(f"{command[0]} made no PDF:\n" + "\n".join(said))
        return result.read_bytes()
