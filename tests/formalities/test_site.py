"""The documentation site is built without a warning, and its pages lead to each other."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import wengert as wg

pytestmark = pytest.mark.xdist_group("site")  # it is built once, by one worker
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    folder = tmp_path_factory.mktemp("site")
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    commands = (
        ["docs/generate_gallery.py"],
        ["-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
    )
    for command in commands:
        done = subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_name_has_its_reference(site):
    page = (site / "reference.html").read_text()
    headings = set(re.findall(r'<h3 id="[\w.]*?(\w+)"', page))
    assert set(wg.__all__) <= headings


def test_pages_of_the_gallery(site):
    page = (site / "gallery.html").read_text()
    pictures = re.findall(r'src="images/(\w+)\.png"', page)
    assert len(pictures) == 10
    for name in pictures:
        own = (site / "gallery" / f"{name}.html").read_text()
        assert own.startswith("<!DOCTYPE html>")
        assert 100_000 < len(own) < 3_000_000


def test_formulas_are_mathml_and_nothing_is_fetched(site):
    page = (site / "index.html").read_text()
    assert page.count("<math") > 10
    assert "$" not in re.sub(r"<(script|code|pre).*?</\1>", "", page, flags=re.S)
    sources = re.findall(r'<(?:script|img|link)[^>]+(?:src|href)="([^"]+)"', page)
    assert sources
    assert not [source for source in sources if source.startswith(("http:", "https:", "//"))]
