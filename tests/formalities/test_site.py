"""The documentation site is built without a warning, and its pages lead to each other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import wengert as wg

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_every_name_has_its_reference(site):
    page = (site / "reference.html").read_text()
    missing = [name for name in wg.__all__ if f">{name}</span>" not in page and f"#wengert.{name}" not in page]
    assert not [name for name in missing if f".{name}" not in page]


def test_formulas_are_mathml_and_nothing_is_fetched(site):
    page = (site / "index.html").read_text()
    assert page.count("<math") > 10
    assert "$" not in re.sub(r"<(script|code|pre).*?</\1>", "", page, flags=re.S)
    sources = re.findall(r'<(?:script|img|link)[^>]+(?:src|href)="([^"]+)"', page)
    assert sources
    assert not [source for source in sources if source.startswith(("http:", "https:", "//"))]
