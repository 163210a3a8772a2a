"""Drawings of sparse matrices: where the entries are, and by color which of them one pass yields.

A drawing is text, in Braille; rich and the prompt of a terminal color it, a notebook shows an image, and `Drawing.plot`
and `Drawing.save` make plots and files of it.

>>> import numpy as np
>>> arrow = np.eye(8)
>>> arrow[0] = 1
>>> print(spy(arrow, columns=np.arange(8)))
8 x 8, 15 entries, 23.4 %; 8 colors of columns
⠙⢍⠉⠉
⠀⠀⠑⢄
"""

from __future__ import annotations

import base64
import colorsys
import math
import struct
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wengert.display import as_text, paragraph
from wengert.errors import ArgumentError, ShapeError

Array = Any
WIDTH = 64
"""The most characters in a line of a drawing."""
PIXELS = 512
"""The most blocks along a side of an image; each shows the color of most of its entries."""
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c564b", "#7f7f7f")
"""Colors that are told apart on a light and on a dark ground, by those who see few colors, too."""
_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])


def spy(
    pattern: Any, columns: Sequence[int] | Array | None = None, rows: Sequence[int] | Array | None = None,
    width: int = WIDTH,
) -> Drawing:  # fmt: skip
    """Draw where a matrix has entries, in Braille: a character for 4 rows and 2 columns, or for as many blocks of them.

    Parameters
    ----------
    pattern
        A SciPy sparse array, or an array of two axes; or what has a drawing of its own, as a `Plan` that compresses.
    columns, rows
        The colors of the columns, of the rows, or of both, numbers from 0 on, and -1 for what has none: an entry has
        the color of its column if there is one, else that of its row.
    width
        The most characters in a line.

    Returns
    -------
    Drawing
        A string, which ``rich.print`` and the prompt of a terminal show in color and a notebook as an image; its
        method ``plot`` draws by matplotlib, and ``save`` writes a file: ``.html``, ``.txt``, ``.png``, ``.svg``...

    Examples
    --------
    >>> import numpy as np
    >>> print(spy(np.eye(8)))
    8 x 8, 8 entries, 12.5 %
    ⠑⢄
    ⠀⠀⠑⢄
    """
    own = getattr(pattern, "drawing", None)
    if own is not None:
        return own(width)  # type: ignore[no-any-return]
    pattern = pattern if hasattr(pattern, "nonzero") else np.asarray(pattern)
    if len(pattern.shape) != 2:
        raise ShapeError.at_caller(
            f"what is drawn is a matrix, and this has shape {pattern.shape}:", "Give an array of two axes."
        )
    there, across = pattern.nonzero()
    colors, said = None, ""
    if columns is not None or rows is not None:
        parts = [
            _colors(which, given, size, places)
            for which, given, size, places in zip(
                ("columns", "rows"), (columns, rows), pattern.shape[::-1], (across, there), strict=True
            )
        ]
        of_columns, of_rows = (part for part, _ in parts)
        first = max(parts[0][1], 0)
        colors = np.where(of_columns >= 0, of_columns, np.where(of_rows >= 0, first + of_rows, -1))
        said = " and ".join(
            f"{count:,} color{'s' * (count != 1)} of {which}"
            for (_, count), which in zip(parts, ("columns", "rows"), strict=True)
            if count
        )
    return Drawing(pattern.shape, there, across, colors, said, width)


def _colors(which: str, given: Any, size: int, places: Array) -> tuple[Array, int]:
    """Return the color that each entry has by its column or row (-1 for none), and how many colors there are."""
    if given is None:
        return np.full(places.size, -1), 0
    colors = np.asarray(given)
    if colors.shape != (size,) or colors.dtype.kind not in "iu":
        raise ArgumentError.at_caller(
            f"the colors of {size:,} {which} are as many whole numbers, and these have shape {colors.shape} and "
            f"dtype {colors.dtype}:",
            f"Give {which}= a number for each of them, from 0 on, and -1 for none.",
        )
    return colors[places], int(colors.max(initial=-1)) + 1


class Drawing(str):
    """A drawing of a sparse matrix, a string of a headline and lines of Braille, and what colors its entries have.

    Attributes
    ----------
    headline
        Its size, its entries, and by what they are colored.
    shape, rows, columns
        The shape of the matrix, and where its entries are.
    colors
        For each entry the number of its color, -1 for none; None for a drawing without colors.
    """

    __slots__ = ("colors", "columns", "headline", "rows", "shape", "width")
    headline: str
    shape: tuple[int, int]
    rows: Array
    columns: Array
    colors: Array | None
    width: int

    def __new__(
        cls, shape: tuple[int, int], rows: Array, columns: Array, colors: Array | None = None, said: str = "",
        width: int = WIDTH,
    ) -> Drawing:  # fmt: skip
        m, n = shape
        share = 100 * len(rows) / max(m * n, 1)
        headline = f"{m:,} x {n:,}, {len(rows):,} entries, {share:.3g} %" + (said and f"; {said}")
        scale = max(1.0, n / (2 * width), m / (4 * width))
        dots = _blocks(shape, rows, columns, None, scale) >= 0
        height, across = -(-dots.shape[0] // 4), -(-dots.shape[1] // 2)
        padded = np.zeros((4 * height, 2 * across), np.bool_)
        padded[: dots.shape[0], : dots.shape[1]] = dots
        codes = 0x2800 + np.einsum("iajb,ab->ij", padded.reshape(height, 4, across, 2), _BITS)
        lines = ["".join(map(chr, line)).rstrip("\u2800") for line in codes.tolist()]
        drawing = super().__new__(cls, "\n".join([headline, *lines]))
        drawing.headline, drawing.shape, drawing.width = headline, (m, n), width
        drawing.rows, drawing.columns, drawing.colors = rows, columns, colors
        return drawing

    def __getnewargs__(self) -> tuple[Any, ...]:
        said = self.headline.partition("; ")[2]
        return self.shape, self.rows, self.columns, self.colors, said, self.width

    # ---- In a terminal ----

    def __rich__(self) -> Any:
        from rich.text import Text

        if self.colors is None:
            return Text(str(self))
        m, n = self.shape
        text = Text(self.headline)
        if n <= self.width and m <= 2 * self.width:  # a character for two entries, each of its own color
            blocks = self.blocks(1.0)
            blocks = np.pad(blocks, ((0, len(blocks) % 2), (0, 0)), constant_values=-1)
            for upper, lower in zip(blocks[::2], blocks[1::2], strict=True):
                text.append("\n")
                for above, below in zip(upper.tolist(), lower.tolist(), strict=True):
                    text.append(*_half_blocks(above, below))
                text.rstrip()
            return text
        scale = max(1.0, n / (2 * self.width), m / (4 * self.width))
        blocks = _blocks(self.shape, self.rows // 4, self.columns // 2, self.colors, scale)
        for line, colors in zip(str(self).splitlines()[1:], blocks.tolist(), strict=False):
            text.append("\n")
            for character, color in zip(line, colors, strict=False):
                text.append(character, css(color) if color >= 0 else "")
        return text

    def __repr__(self) -> str:
        """Return what a prompt shows: the text, in color where it is a terminal that has any."""
        if self.colors is None or not sys.stdout.isatty():
            return str(self)
        return as_text(self, color=True)

    # ---- As an image ----

    def blocks(self, scale: float) -> Array:
        """Return the color of each block of so many rows and columns: that of most entries in it, -1 without entries.

        An entry that has no color counts as the color before the first, -2.
        """
        return _blocks(self.shape, self.rows, self.columns, self.colors, scale)

    def _image(self) -> Array:
        """Return the pixels as bytes of red, green, blue and opacity."""
        blocks = self.blocks(max(1.0, max(self.shape) / PIXELS))
        numbers = range(int(blocks.max(initial=-1)) + 1)
        shades = [_bytes_of(css(color)) for color in numbers] + [_bytes_of(UNCOLORED), (0, 0, 0, 0)]
        return np.array(shades, np.uint8)[blocks]

    def _repr_html_(self) -> str:
        image = self._image()
        height, width = image.shape[:2]
        zoom = max(1, 256 // max(height, width, 1))
        style = (
            f"width: {zoom * width}px; height: {zoom * height}px; image-rendering: pixelated; border: 1px solid #8888"
        )
        data = base64.b64encode(_png(image)).decode()
        return f'{paragraph(self.headline)}\n<img alt="pattern" style="{style}" src="data:image/png;base64,{data}"/>'

    def plot(self, ax: Any = None) -> Any:
        """Draw by matplotlib, on axes if they are given; return the axes.

        >>> import numpy as np
        >>> spy(np.eye(3)).plot().get_title()
        '3 x 3, 3 entries, 33.3 %'
        """
        if ax is None:
            try:
                from matplotlib.figure import Figure
            except ImportError as error:
                message = 'a plot is drawn by matplotlib: pip install "wengert[plot]"'
                raise ImportError(message) from error
            ax = Figure(figsize=(5, 5), layout="constrained").subplots()
        m, n = self.shape
        image = self._image()
        ax.imshow(image, extent=(-0.5, n - 0.5, m - 0.5, -0.5), interpolation="nearest", aspect="equal")
        ax.set_title(self.headline.replace("; ", "\n"), fontsize="medium")
        ax.set_xlabel("columns")
        ax.set_ylabel("rows")
        ax.locator_params(integer=True)
        return ax

    def save(self, path: Any) -> None:
        """Write the drawing to a file, by its suffix: ``.txt`` as text, ``.html`` as a page, others by matplotlib.

        >>> import numpy as np, tempfile, pathlib
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "eye.txt")
        ...     spy(np.eye(3)).save(path)
        ...     print(path.read_text(encoding="utf-8"), end="")
        3 x 3, 3 entries, 33.3 %
        ⠑⠄
        """
        path = Path(path)
        if path.suffix == ".txt":
            path.write_text(f"{self}\n", encoding="utf-8")
        elif path.suffix in (".html", ".htm"):
            head = '<!DOCTYPE html>\n<meta charset="utf-8"/>\n<title>pattern</title>'
            path.write_text(f"{head}\n<body>\n{self._repr_html_()}\n</body>\n", encoding="utf-8")
        else:
            self.plot().figure.savefig(path, dpi=150)


UNCOLORED = "#8a8a8a"
"""The color of an entry that has none."""


def css(color: int) -> str:
    """Return the color of a number: those of the palette, and after them others around the circle of hues.

    >>> css(0), css(8)
    ('#0072b2', '#c73fbe')
    """
    if color < 0:
        return UNCOLORED
    if color < len(PALETTE):
        return PALETTE[color]
    hue = (color * (math.sqrt(5) - 1) / 2 + 0.9) % 1
    red, green, blue = (round(255 * part) for part in colorsys.hls_to_rgb(hue, 0.515, 0.55))
    return f"#{red:02x}{green:02x}{blue:02x}"


def _half_blocks(above: int, below: int) -> tuple[str, str]:
    """Return the character and style of two entries one above the other; -1 for none."""
    if above == -1 and below == -1:
        return " ", ""
    if above == below:
        return "█", css(above)
    if below == -1:
        return "▀", css(above)
    if above == -1:
        return "▄", css(below)
    return "▀", f"{css(above)} on {css(below)}"


def _bytes_of(color: str) -> tuple[int, int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16), 255


def _blocks(shape: tuple[int, int], rows: Array, columns: Array, colors: Array | None, scale: float) -> Array:
    """Return the color that most entries of a block have: -1 for a block without entries, -2 for no color."""
    height, width = (max(1, math.ceil(size / scale)) for size in shape)
    numbers = (rows / scale).astype(np.intp) * width + (columns / scale).astype(np.intp)
    blocks = np.full(height * width, -1)
    if colors is None:
        blocks[numbers] = 0
        return blocks.reshape(height, width)
    count = int(colors.max(initial=-1)) + 2
    keys, often = np.unique(numbers * count + colors + 1, return_counts=True)
    order = np.argsort(often, kind="stable")  # of those that are assigned to a block the last one stays
    shown = keys[order] % count - 1
    blocks[keys[order] // count] = np.where(shown < 0, -2, shown)
    return blocks.reshape(height, width)


def _png(image: Array) -> bytes:
    """Encode pixels of four bytes as a file of the format PNG."""
    height, width = image.shape[:2]
    rows = np.zeros((height, 1 + 4 * width), np.uint8)  # each begins with the number of its filter: none
    rows[:, 1:] = image.reshape(height, 4 * width)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows.tobytes())), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
