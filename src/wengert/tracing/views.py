"""Views: which traced arrays share the memory of another, and how a traced array lies in memory.

What is written to a view is seen by the array it is a view of, so a traced array remembers its base where NumPy makes
a view, and how the view is made of it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from wengert.errors import UnsupportedError
from wengert.jacobians import is_basic
from wengert.primitives.numpy import elementwise as e
from wengert.primitives.numpy.structural import getitem, reshape, transpose
from wengert.program import Primitive
from wengert.tracing.layout import laid_like, lie_alike, numbered
from wengert.tracing.traced import Traced, copied_into_body, innermost

ndarray = np.ndarray
_empty, _empty_like = np.empty, np.empty_like
"""NumPy's own, whatever stands in their places while a trace runs."""

VIEWS = frozenset({getitem, reshape, transpose, e.real, e.imag})
"""Primitives whose result NumPy may make a view of their operand."""


# ---- How a traced array lies in memory ----


def model_of(traced: Traced) -> Any:
    """Return a plain array that lies in memory as NumPy's own would: the value itself may have been copied since."""
    link = getattr(traced, "_link", None)
    if link is None:
        return innermost(traced)
    base, made_by, params = link
    model = model_of(base)
    if made_by is getitem:
        return model[params["index"]]
    if made_by is reshape:
        return model.reshape(params["shape"])
    if made_by is transpose:
        return model.transpose(params["axes"])
    return model.real if made_by is e.real else model.imag if made_by is e.imag else made_by.plain(model)


def relaid(value: Any, model: Any) -> Any:
    """Return a traced or plain array whose elements lie in memory as those of another plain one do."""
    if type(value) is Traced:
        inner = relaid(value._value, model)
        return value if inner is value._value else Traced(inner, value._tape, value._index)
    return laid_like(value, model) if type(value) is ndarray and not lie_alike(value, model) else value


def laid_out(traced: Traced, order: Any) -> Any:
    """Return a traced array of its own whose value lies in memory in an order."""
    lies = model_of(traced)
    if order == "C" or order == "F":
        is_so = lies.flags.c_contiguous if order == "C" else lies.flags.f_contiguous
        model = lies if is_so else _empty(lies.shape, lies.dtype, order)
    else:
        model = _empty_like(lies, order=order)
    return relaid(copied_into_body(traced), model).__copy__()


def order_in_memory(traced: Traced, order: str) -> str:
    """Return the order that "A" stands for: that in which the array lies in memory."""
    return order if order != "A" else "F" if model_of(traced).flags.fnc else "C"


# ---- Views ----


class ViewMaker:
    """What makes a view that NumPy itself makes in other ways than by an index, a reshape or a transpose.

    `traced` makes it of a traced array, `plain` of a plain one.
    """

    __slots__ = ("plain", "traced")

    def __init__(self, traced: Callable[[Any], Any], plain: Callable[[Any], Any]) -> None:
        self.traced, self.plain = traced, plain

    def __call__(self, base: Traced) -> Any:
        return self.laid(self.traced(base), base)

    def laid(self, view: Any, base: Traced) -> Any:
        """Return the view with its axes in memory in the order in which NumPy's are."""
        return relaid(view, self.plain(model_of(base))) if view.ndim > 1 else view

    def places(self, base: Traced) -> Any:
        """Return for each element of the view the place of the element of its base that it is.

        Raises ValueError where NumPy would not let the view be written to, UnsupportedError where it shows an element
        more than once: what should stand there after an assignment is not defined.
        """
        model = model_of(base)
        if not self.plain(model).flags.writeable:
            raise ValueError("assignment destination is read-only")
        places = self.plain(numbered(model))
        if len(set(places.ravel().tolist())) < places.size:
            raise UnsupportedError.at_caller(
                "a view that shows elements more than once is written to:", "Write to the array that it is a view of."
            )
        return places


def link_view(view: Any, base: Traced, made_by: Primitive, params: Mapping[str, Any]) -> Any:
    """Remember that one traced array is a view of another, where NumPy made it one."""
    if type(view) is not Traced or view._tape is not base._tape:
        return view
    value = innermost(view)
    if type(value) is not ndarray:
        return view
    if made_by is getitem:
        is_view = is_basic(params["index"])  # NumPy made one, which may have been copied since
    elif made_by is not reshape:
        is_view = True
    elif hasattr(base, "_link"):
        model = model_of(base)
        is_view = np.may_share_memory(model.reshape(params["shape"]), model)
    else:
        of = innermost(base)
        is_view = value.base is not None and (value.base is of or value.base is of.base)
    if is_view:
        link(view, base, made_by, params)
    return view


def link(view: Traced, base: Traced, made_by: Any, params: Mapping[str, Any]) -> None:
    """Remember that one traced array is a view of another, and how it is made of it."""
    view._link, base._elements = (base, made_by, params), None
    views = getattr(base, "_views", [])
    base._views = views = [r for r in views if r() is not None] if len(views) > 64 else views
    views.append(weakref.ref(view))


def set_shape(array: Any, shape: Any) -> None:
    """Give an array itself another shape, ``a.shape = (3, 1)``: it becomes a view of what it was.

    Its own views, and the array that it was a view of, go on as they were.
    """
    model = model_of(array)
    if model.size and not np.shares_memory(model.reshape(shape), model):
        raise AttributeError("incompatible shape for in-place modification. Use `.reshape()` to make a copy.")
    base = array.__copy__()
    if hasattr(array, "_views"):
        base._views = array._views
        for view in [view for reference in base._views if (view := reference()) is not None]:
            view._link = (base, *view._link[1:])
        del array._views
    if hasattr(array, "_link"):
        of, made_by, params = array._link
        of._views = [reference for reference in of._views if reference() is not array]
        link(base, of, made_by, params)
    view = base.reshape(shape)
    array._value, array._index, array._elements = view._value, view._index, None
    link(array, base, reshape, {"shape": view._value.shape})
