"""Drawings of sparse matrices: what is where, in which color, as text, in a terminal, a notebook, a plot and a file."""

from __future__ import annotations

import base64
import io
import pickle
import re
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
import scipy.sparse
from rich.console import Console

import wengert as wg
from wengert.accumulation.coloring import structure_of
from wengert.accumulation.compressed import Diagonal, acyclic, by_columns, by_rows, by_rows_and_columns, star
from wengert.drawing import PALETTE, UNCOLORED, Drawing, css
from wengert.errors import ArgumentError, ShapeError


def banded(n, *offsets):
    return structure_of(scipy.sparse.diags_array([1.0] * len(offsets), offsets=offsets, shape=(n, n)))


def arrowhead(n):
    dense = np.eye(n)
    dense[0] = dense[:, 0] = 1
    return structure_of(dense)


def pixels(drawing):
    """Return the image of a notebook, decoded by Pillow: what HTML holds is what a browser draws."""
    image = pytest.importorskip("PIL.Image")
    (data,) = re.findall(r"base64,([^\"]+)", drawing._repr_html_())
    return np.asarray(image.open(io.BytesIO(base64.b64decode(data))))


def expected_pixels(dense):
    """Return the image of a matrix of colors, -1 where it is empty and -2 for an entry without color."""
    shades = {color: (*bytes.fromhex(css(color)[1:]), 255) for color in {*dense.ravel().tolist()} - {-1}}
    shades[-1] = (0, 0, 0, 0)
    return np.array([[shades[color] for color in row] for row in dense.tolist()], np.uint8)


def dense_colors(drawing):
    """Return the colors that a drawing has, in a dense matrix."""
    dense = np.full(drawing.shape, -1)
    dense[drawing.rows, drawing.columns] = np.where(drawing.colors < 0, -2, drawing.colors)
    return dense


COMPRESSIONS = {
    "columns": by_columns(banded(12, -1, 0, 1)),
    "rows": by_rows(banded(11, 0, 1)),
    "both": by_rows_and_columns(arrowhead(9)),
    "star": star(banded(16, -4, -1, 0, 1, 4)),
    "acyclic": acyclic(banded(16, -4, -1, 0, 1, 4)),
    "diagonal": Diagonal.of(banded(10, -1, 0, 1)),
    "empty": by_columns(structure_of(np.zeros((3, 2)))),
    "none": by_columns(structure_of(np.zeros((0, 0)))),
}
DRAWINGS = pytest.mark.parametrize("compression", COMPRESSIONS.values(), ids=COMPRESSIONS)


# ---- Text ----


def test_drawn():
    lines = wg.spy(scipy.sparse.eye_array(1000, format="csr"), width=10).splitlines()
    assert lines[0] == "1,000 x 1,000, 1,000 entries, 0.1 %"
    assert len(lines) == 6
    assert all(len(line) <= 10 for line in lines[1:])
    assert wg.spy(np.zeros((3, 2))).splitlines() == ["3 x 2, 0 entries, 0 %"]


@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (4, 9), (17, 30)])
def test_each_dot_is_an_entry(shape):
    dense = np.random.default_rng(0).random(shape) < 0.4
    lines = wg.spy(dense).splitlines()[1:]
    places = {
        (0, 0): 0x01,
        (1, 0): 0x02,
        (2, 0): 0x04,
        (0, 1): 0x08,
        (1, 1): 0x10,
        (2, 1): 0x20,
        (3, 0): 0x40,
        (3, 1): 0x80,
    }
    for i, j in np.ndindex(shape):
        line = lines[i // 4] if i // 4 < len(lines) else ""
        code = ord(line[j // 2]) - 0x2800 if j // 2 < len(line) else 0
        assert bool(code & places[i % 4, j % 2]) == dense[i, j]


def test_headlines_say_what_is_colored():
    dense = np.ones((3, 4))
    assert wg.spy(dense, columns=[0, 1, 2, 0]).headline == "3 x 4, 12 entries, 100 %; 3 colors of columns"
    assert wg.spy(dense, rows=[0, 0, 0]).headline.endswith("; 1 color of rows")
    both = wg.spy(dense, columns=[0, -1, -1, -1], rows=[-1, 0, 1])
    assert both.headline.endswith("; 1 color of columns and 2 colors of rows")
    assert dense_colors(both).tolist() == [[0, -2, -2, -2], [0, 1, 1, 1], [0, 2, 2, 2]]


@pytest.mark.parametrize("colors", [[0, 1], [0.0, 1.0, 2.0], np.zeros((3, 1), int), 2])
def test_colors_that_do_not_fit_are_refused(colors):
    with pytest.raises(ArgumentError, match="the colors of 3 columns are as many whole numbers"):
        wg.spy(np.eye(3), columns=colors)


def test_what_is_no_matrix_is_refused():
    with pytest.raises(ShapeError, match="what is drawn is a matrix"):
        wg.spy(np.ones(3))


# ---- The colors of a compression ----


@DRAWINGS
def test_entries_of_one_color_are_read_in_one_pass(compression):
    drawing = wg.spy(compression)
    assert drawing.headline.endswith(f"; {compression}")
    assert drawing.colors.max(initial=-1) == (compression.passes - 1 if drawing.colors.size else -1)
    for color in range(compression.passes):
        here = drawing.colors == color
        rows, columns = drawing.rows[here], drawing.columns[here]
        if compression.substitutes:
            assert len(set(compression.columns.colors[columns])) == 1
        elif color < compression.forward_passes:  # of a symmetric matrix (i, j) may be read in the place of (j, i)
            is_of = compression.columns.colors == color
            assert np.all(is_of[columns] | is_of[rows])
        else:
            assert len(set(compression.rows.colors[rows])) == 1


def test_a_diagonal_alone_is_colored():
    dense = dense_colors(wg.spy(COMPRESSIONS["diagonal"]))
    assert set(np.diag(dense).tolist()) == {0, 1}
    assert set(dense[np.eye(10) == 0].tolist()) == {-1, -2}


# ---- A terminal ----


def printed(drawing, **options):
    out = io.StringIO()
    Console(file=out, width=200, **options).print(drawing)
    return out.getvalue()


@DRAWINGS
def test_a_terminal_shows_each_entry_in_its_color(compression):
    """Two rows a line: the upper one in the foreground of a half block, the lower one in its background."""
    drawing = wg.spy(compression)
    lines = printed(drawing, force_terminal=True, color_system="truecolor", legacy_windows=False).splitlines()[1:]
    dense = dense_colors(drawing)
    shown = np.full((2 * len(lines), drawing.shape[1]), -1)
    names = {css(color): color for color in (-2, *range(compression.passes))}

    def color_of(numbers):
        return names["#" + "".join(f"{int(number):02x}" for number in numbers)]

    for n, line in enumerate(lines):
        column = 0
        for escape, text in _runs(line):
            parts = escape.split(";")
            for character in text:
                if character != " ":
                    fore = color_of(parts[2:5])
                    back = color_of(parts[7:10]) if len(parts) > 5 else -1
                    shown[2 * n : 2 * n + 2, column] = {"█": (fore, fore), "▄": (-1, fore)}.get(character, (fore, back))
                column += 1
    np.testing.assert_array_equal(shown[: len(dense)], dense[: len(shown)])
    assert np.all(dense[len(shown) :] == -1)


def _runs(line):
    """Return the runs of a line: its style and its text."""
    parts = re.split(r"\x1b\[([\d;]*)m", line)
    return list(zip(["", *parts[1::2]], parts[::2], strict=True))


def test_a_large_matrix_is_colored_braille():
    drawing = wg.spy(star(banded(1000, -1, 0, 1)))
    out = printed(drawing, force_terminal=True, color_system="truecolor", legacy_windows=False)
    assert re.sub(r"\x1b\[[\d;]*m", "", out).splitlines() == drawing.splitlines()
    assert out.count("\x1b[38;2;") > 100


def test_without_colors_a_terminal_shows_the_text(monkeypatch):
    assert printed(wg.spy(np.eye(5))) == f"{wg.spy(np.eye(5))}\n"
    monkeypatch.setenv("NO_COLOR", "1")
    assert "38;2" not in printed(wg.spy(COMPRESSIONS["star"]), force_terminal=True, color_system="truecolor")


def test_the_prompt_of_a_terminal_has_colors_and_a_file_has_none(monkeypatch):
    drawing = wg.spy(COMPRESSIONS["columns"])
    assert repr(drawing) == str(drawing)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[38;2;0;114;178" in repr(drawing)
    assert "\x1b" not in str(drawing)
    assert repr(wg.spy(np.eye(5))) == str(wg.spy(np.eye(5)))


def test_a_plan_that_compresses_shows_its_pattern():
    plan = wg.plan(lambda x: x[1:] * x[:-1], sparse=True)(np.ones(40))
    out = printed(plan, force_terminal=True, color_system="truecolor", legacy_windows=False)
    assert re.search(r"\x1b\[38;2;[\d;]*m[\u2801-\u28ff▀▄█]", out)
    assert str(plan).splitlines()[0] in re.sub(r"\x1b\[[\d;]*m", "", out)
    assert wg.spy(plan)._repr_html_() in plan._repr_html_()
    assert "<img" not in wg.plan(lambda x: np.sum(x * x))(np.ones(40))._repr_html_()


# ---- Images, plots and files ----


@DRAWINGS
def test_a_notebook_shows_each_entry_in_its_color(compression):
    if not min(compression.pattern.shape):
        assert "0 x 0" in wg.spy(compression)._repr_html_()
        return
    drawing = wg.spy(compression)
    np.testing.assert_array_equal(pixels(drawing), expected_pixels(dense_colors(drawing)))
    ElementTree.fromstring(f"<body>{drawing._repr_html_()}</body>")


def test_a_large_image_has_the_color_of_most_entries():
    columns = np.zeros(4000, int)
    columns[2000:] = 1
    image = pixels(wg.spy(np.eye(4000), columns=columns))
    assert max(image.shape[:2]) <= 512
    assert image[0, 0].tolist() == [*bytes.fromhex(PALETTE[0][1:]), 255]
    assert image[-1, -1].tolist() == [*bytes.fromhex(PALETTE[1][1:]), 255]
    assert len(wg.spy(np.eye(4000))._repr_html_()) < 20_000


def test_colors_differ():
    names = [css(color) for color in range(100)]
    assert len({*names, UNCOLORED}) == 101
    assert all(re.fullmatch("#[0-9a-f]{6}", name) for name in names)


@pytest.mark.parametrize("name", COMPRESSIONS)
@pytest.mark.parametrize("suffix", [".png", ".svg", ".html", ".txt"])
def test_saved(name, suffix, tmp_path):
    if suffix in (".png", ".svg"):
        pytest.importorskip("matplotlib")
    if name == "none":
        return
    drawing, path = wg.spy(COMPRESSIONS[name]), tmp_path / f"pattern{suffix}"
    drawing.save(path)
    if suffix == ".txt":
        assert path.read_text(encoding="utf-8") == f"{drawing}\n"
    elif suffix == ".html":
        assert drawing._repr_html_() in path.read_text(encoding="utf-8")
    else:
        assert path.stat().st_size > 2000


def test_a_plot_on_axes_of_a_figure():
    figure = pytest.importorskip("matplotlib.figure").Figure()
    ax = figure.subplots()
    drawing = wg.spy(COMPRESSIONS["both"])
    assert drawing.plot(ax) is ax
    (image,) = ax.get_images()
    np.testing.assert_array_equal(image.get_array(), expected_pixels(dense_colors(drawing)))
    assert tuple(image.get_extent()) == (-0.5, 8.5, 8.5, -0.5)
    assert ax.get_title() == drawing.headline.replace("; ", "\n")


def test_a_plot_without_matplotlib_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "wengert\[plot\]"'):
        wg.spy(np.eye(3)).plot()


def test_a_drawing_pickles():
    drawing = wg.spy(COMPRESSIONS["star"])
    again = pickle.loads(pickle.dumps(drawing))
    assert isinstance(again, Drawing)
    assert again == drawing
    assert again.headline == drawing.headline
    np.testing.assert_array_equal(again.colors, drawing.colors)
