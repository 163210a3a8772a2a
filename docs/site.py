"""What the documentation site has beside the pages in `docs/`: files of the project, the gallery, formulas as MathML.

MkDocs calls the functions for each build and page (``hooks`` in ``mkdocs.yml``).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
GALLERY = ROOT / "build" / "gallery"
"""Where `make gallery` puts its pages."""
BESIDE = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
"""Files of the project that are pages of the site."""
LINKS = {
    **{f"../{path}": page for path, page in BESIDE.items()},
    "../README.md": "index.md",
    "../examples": "gallery.md",
}
"""Links out of `docs/`, and where they lead in the site."""
CODE = re.compile(r"(^```.*?^```[^\n]*$|`[^`\n]+`)", re.M | re.S)
FORMULA = re.compile(r"\$\$(.+?)\$\$|\$([^\s$](?:[^$\n]*[^\s$])?)\$", re.S)


def on_config(config: Any) -> Any:
    """List the design pages in the navigation."""
    (inside,) = [group["Inside"] for group in config.nav if "Inside" in group]
    pages = sorted((ROOT / "docs" / "design").glob("*.md"))
    inside.append({"Design decisions": [f"design/{page.name}" for page in pages]})
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add files of the project, and the pages of the gallery."""
    for path, page in BESIDE.items():
        files.append(File.generated(config, page, content=(ROOT / path).read_text()))
    for path in sorted(GALLERY.glob("*.html")):
        files.append(File.generated(config, f"gallery/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Return the Markdown of a page as MkDocs takes it."""
    parts = CODE.split(markdown)
    parts[::2] = [FORMULA.sub(_formula, _linked(part, page.file.src_uri)) for part in parts[::2]]
    return "".join(parts)


def _linked(text: str, page: str) -> str:
    if page in BESIDE.values():
        return text.replace("](docs/", "](")
    for path, instead in LINKS.items():
        text = text.replace(f"]({path})", f"]({instead})")
    return text


def _formula(match: re.Match[str]) -> str:
    display, inline = match.groups()
    return convert(display or inline, display="block" if display else "inline")
