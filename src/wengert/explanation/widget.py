"""The widget: a page in a notebook, whose inputs a program reads and sets.

It is made by ``anywidget``, which comes with the extra ``notebook``.  The page stands in a frame of its own and tells
the widget of its inputs, by messages; ``widget.js`` passes them on.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wengert.errors import LoadError


def page_widget(page: str, inputs: Sequence[float]) -> Any:
    """Return a widget that shows a page; raise LoadError where ``anywidget`` is not installed."""
    return _class()(page=page, inputs=[float(value) for value in inputs])


@functools.cache
def _class() -> Any:
    try:
        import anywidget
        import traitlets
    except ImportError:
        raise LoadError(
            "a widget needs the library anywidget, which is not installed.\n"
            "Install it by pip install 'wengert[notebook]', or write e.html(), which a notebook shows without it."
        ) from None

    class PageWidget(anywidget.AnyWidget):  # type: ignore[misc]
        """A page in a frame: ``page`` is its HTML, ``inputs`` are the numbers in its fields."""

        _esm = Path(__file__).with_name("widget.js")
        page = traitlets.Unicode().tag(sync=True)
        inputs = traitlets.List(traitlets.Float()).tag(sync=True)

    return PageWidget
