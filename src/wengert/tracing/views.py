"""Views and layouts: which results share the memory of what they are made of, and how they lie in memory.

What is written to a view is seen by the array it is a view of, so a traced array remembers its base where NumPy makes
a view.  Whether ``ravel()`` and ``reshape()`` make one hangs on how the elements lie in memory.  Most results lie as
NumPy's own because NumPy has computed them; those of functions that are written with other primitives are laid out as
NumPy's own function lays them out, which is asked once for each kind of arguments.
"""

from __future__ import annotations

import functools
import string
import weakref
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from wengert.errors import UnsupportedError, caller, explain_at
from wengert.jacobians import is_basic
from wengert.primitives.numpy import elementwise as e
from wengert.primitives.numpy.structural import getitem, reshape, transpose
from wengert.primitives.table import CALLS
from wengert.program import Primitive
from wengert.tracing.tape import NO_PARAMS, threads
from wengert.tracing.traced import Traced, as_array, innermost

ndarray, float64 = np.ndarray, np.float64
_arange, _asarray, _empty, _empty_like = np.arange, np.asarray, np.empty, np.empty_like
"""NumPy's own, whatever stands in their places while a trace runs."""

VIEWS = frozenset({getitem, reshape, transpose, e.real, e.imag})
"""Primitives whose result NumPy may make a view of their operand."""


# ---- How an array lies in memory ----


def laid_like(value: Any, model: Any) -> Any:
    """Return a copy of a plain array whose elements lie in memory as those of another of its shape do.

    Gaps between them stay gaps, but small ones, so that what can be seen through a view of the one can be seen through
    a view of the other.

    >>> a = np.arange(100.0).reshape(10, 10)[::-1, 3:5]
    >>> laid_like(a, a).strides, np.array_equal(laid_like(a, a), a)
    ((-24, 8), True)
    """
    made = _empty_like(model, value.dtype)
    if model.size and made.strides != model.strides:
        made = _with_gaps(model.shape, model.strides, model.dtype.itemsize, value.dtype)
    made[...] = value
    return made


def _with_gaps(shape: tuple[int, ...], given: tuple[int, ...], itemsize: int, dtype: np.dtype[Any]) -> Any:
    """Return an array that lies as one of given strides: axes that join go on joining, others have a gap between."""
    step, joined = dtype.itemsize, itemsize
    strides, offset = [0] * len(shape), 0
    moving = [k for k, n in enumerate(shape) if n > 1 and given[k]]
    for k in sorted(moving, key=lambda k: (abs(given[k]), -k)):
        if abs(given[k]) != joined:
            step += dtype.itemsize
        strides[k] = step if given[k] > 0 else -step
        offset += step * (shape[k] - 1) * (given[k] < 0)
        step, joined = step * shape[k], abs(given[k]) * shape[k]
    return np.ndarray(shape, dtype, _empty(step, np.uint8).data, offset, strides)


def numbered(lies: Any) -> Any:
    """Return the places of the elements of an array, counted row by row, each where the element lies."""
    return laid_like(_arange(lies.size).reshape(lies.shape), lies)


def relaid(value: Any, model: Any) -> Any:
    """Return a traced or plain array whose elements lie in memory as those of another plain one do."""
    if type(value) is Traced:
        inner = relaid(value.value, model)
        return value if inner is value.value else Traced(inner, value.tape, value.index)
    return laid_like(value, model) if type(value) is ndarray and not _lie_alike(value, model) else value


def _lie_alike(a: Any, b: Any) -> bool:
    """Tell whether two arrays of one shape have the same strides, where there is a step to take."""
    return a.strides == b.strides or all(s == t or n < 2 for s, t, n in zip(a.strides, b.strides, a.shape, strict=True))


def layout(traced: Traced) -> Any:
    """Return an array that lies in memory as NumPy's own would: the value itself may have been copied meanwhile."""
    link = getattr(traced, "link", None)
    if link is None:
        return innermost(traced)
    base, made_by, params = link
    whole = layout(base)
    if made_by is getitem:
        return whole[params["index"]]
    if made_by is reshape:
        return whole.reshape(params["shape"])
    if made_by is transpose:
        return whole.transpose(params["axes"])
    return whole.real if made_by is e.real else whole.imag if made_by is e.imag else made_by.numpys(whole)


def laid_out(traced: Traced, order: Any) -> Any:
    """Return a traced array of its own whose value lies in memory in an order."""
    lies = layout(traced)
    if order == "C" or order == "F":
        is_so = lies.flags.c_contiguous if order == "C" else lies.flags.f_contiguous
        model = lies if is_so else _empty(lies.shape, lies.dtype, order)
    else:
        model = _empty_like(lies, order=order)
    return relaid(traced, model).__copy__()


def in_memory(traced: Traced, order: str) -> str:
    """Return the order that "A" stands for: that in which the array lies in memory."""
    return order if order != "A" else "F" if layout(traced).flags.fnc else "C"


# ---- Views ----


class Seen:
    """What makes a view that NumPy itself makes in other ways than by an index, a reshape or a transpose.

    `again` makes it of a traced array, `numpys` of a plain one.
    """

    __slots__ = ("again", "numpys")

    def __init__(self, again: Callable[[Any], Any], numpys: Callable[[Any], Any]) -> None:
        self.again, self.numpys = again, numpys

    def __call__(self, base: Traced) -> Any:
        return self.laid(self.again(base), base)

    def laid(self, view: Any, base: Traced) -> Any:
        """Return the view with its axes in memory in the order in which NumPy's are."""
        return relaid(view, self.numpys(layout(base))) if view.ndim > 1 else view

    def places(self, base: Traced) -> Any:
        """Return for each element of the view the place of the element of its base that it is.

        Raises ValueError where NumPy would not let the view be written to, UnsupportedError where it shows an element
        more than once: what should stand there after an assignment is not defined.
        """
        whole = layout(base)
        if not self.numpys(whole).flags.writeable:
            raise ValueError("assignment destination is read-only")
        places = self.numpys(numbered(whole))
        if len(set(places.ravel().tolist())) < places.size:
            raise UnsupportedError(
                explain_at(
                    caller(),
                    "a view that shows elements more than once is written to:",
                    "Write to the array that it is a view of.",
                )
            )
        return places


def link_view(view: Any, base: Traced, made_by: Primitive, params: Mapping[str, Any]) -> Any:
    """Remember that one traced array is a view of another, where NumPy made it one."""
    if type(view) is not Traced or view.tape is not base.tape:
        return view
    value = innermost(view)
    if type(value) is not ndarray:
        return view
    if made_by is getitem:
        is_view = is_basic(params["index"])  # NumPy made one, which may have been copied since
    elif made_by is not reshape:
        is_view = True
    elif hasattr(base, "link"):
        whole = layout(base)
        is_view = np.may_share_memory(whole.reshape(params["shape"]), whole)
    else:
        of = innermost(base)
        is_view = value.base is not None and (value.base is of or value.base is of.base)
    if is_view:
        _link(view, base, made_by, params)
    return view


def _link(view: Traced, base: Traced, made_by: Any, params: Mapping[str, Any]) -> None:
    view.link = (base, made_by, params)
    views = getattr(base, "views", [])
    base.views = views = [r for r in views if r() is not None] if len(views) > 64 else views
    views.append(weakref.ref(view))


def _link_seen(view: Any, base: Any, made_by: Seen) -> Any:
    if type(view) is Traced and type(base) is Traced and view.tape is base.tape and view.value.shape:
        view = made_by.laid(view if view is not base else base.__copy__(), base)
        _link(view, base, made_by, NO_PARAMS)
    return view


VIEWING = frozenset({
    np.reshape, np.ravel, np.transpose, np.swapaxes, np.moveaxis, np.rollaxis, np.squeeze, np.expand_dims, np.flip,
    np.atleast_1d, np.atleast_2d, np.atleast_3d, np.fliplr, np.flipud, np.rot90, np.split, np.array_split, np.hsplit,
    np.vsplit, np.dsplit, np.real, np.imag, np.real_if_close, np.trim_zeros, np.matrix_transpose,
    *(getattr(np, name) for name in ("unstack", "permute_dims") if hasattr(np, name)), np.linalg.matrix_transpose,
})  # fmt: skip
"""Functions of NumPy whose results may be views of their argument; those of all others are arrays of their own."""
SEEING = frozenset({
    np.diagonal, np.linalg.diagonal, np.diag, np.broadcast_to, np.broadcast_arrays,
    np.lib.stride_tricks.sliding_window_view, np.lib.stride_tricks.as_strided,
})  # fmt: skip
"""Functions whose results see changes of their argument; most of them are not written to."""
CALLING = frozenset({np.piecewise, np.apply_along_axis, np.apply_over_axes})
"""Functions that call the user's, which is not called twice."""
OTHERWISE = frozenset({
    np.nanquantile, np.einsum, np.cross, np.tensordot, np.linalg.eig, np.pad, np.block, np.i0, np.real, np.imag,
    np.real_if_close, np.piecewise, np.fft.fftn, np.fft.ifftn, np.lib.stride_tricks.as_strided,
})  # fmt: skip
"""NumPy's functions whose results may not lie row by row where their arguments do, or be arrays without dimensions."""
OWN = frozenset({
    np.matmul, np.dot, np.vecdot, np.inner, np.sum, np.mean, np.concatenate, np.stack, np.vstack, np.hstack,
    *(f for f in vars(np.linalg).values() if callable(f) and f is not np.linalg.eig),
})  # fmt: skip
"""NumPy's functions whose results NumPy's own have laid out here, too: if they lie row by row, they do so there."""


_SPECIAL = VIEWING | SEEING | OTHERWISE


def finished(function: Callable[..., Any], args: Any, kwargs: Any, result: Any, plainly: bool = True) -> Any:
    """Return the result of a NumPy function: a view where NumPy's is one, and else an array that lies as NumPy's.

    Most results lie row by row if the arguments do; other libraries' functions are asked always (`plainly` is False).
    """
    value = result.value if type(result) is Traced else None
    if type(value) is float64 and function not in OTHERWISE:
        return result
    if threads.context.place is not None:
        return result  # inside of another function, whose result is finished when it is there
    if type(value) is Traced:
        value = innermost(value)
    if value is not None and plainly and function not in _SPECIAL:  # most
        if type(value) is ndarray and args and result is not args[0] and not hasattr(result, "link"):
            ndim = value.ndim
            by_rows = ndim and value.flags.c_contiguous
            if by_rows and (ndim == 1 or function in OWN or _lie_by_rows(args)):
                return result
    elif function in SEEING:
        return _see_through(function, args, kwargs, result)
    views = function in VIEWING or (function is np.meshgrid and kwargs.get("copy") is False)
    if value is not None:
        if function is np.einsum and np.ndim(value) and (renaming := _renaming(args)) is not None:
            spec, base = renaming
            return _link_seen(result, base, Seen(lambda x: CALLS[np.einsum](spec, x), lambda x: np.einsum(spec, x)))
        if hasattr(result, "link") or (args and result is args[0]):
            if function is np.diff or (views and (np.ndim(value) or function not in OTHERWISE)):
                return result  # a difference of order 0 is the array itself
            result = result.__copy__()
        if type(value) is ndarray or function in OTHERWISE or not plainly:
            return _as_numpys(function, args, kwargs, result)
        return result
    if type(result) is ndarray:
        as_it_is = result.ndim == 1 or (result.ndim and plainly and _lie_by_rows(args))
        return result if as_it_is else _as_numpys(function, args, kwargs, result)
    if not views and isinstance(result, (list, tuple)):
        own = [part.__copy__() if type(part) is Traced and hasattr(part, "link") else part for part in result]
        plainly = plainly and function not in OTHERWISE and all(getattr(part, "ndim", 1) for part in own)
        if not (plainly and _lie_by_rows(own) and _lie_by_rows(args)):
            own = _as_numpys(function, args, kwargs, own)
        return type(result)(own) if type(result) in (list, tuple) else type(result)(*own)
    return result


def _renaming(args: Any) -> tuple[str, Traced] | None:
    """Return subscripts and operand of ``np.einsum("ii->i", x)``, which sums nothing and gives a view."""
    if type(args[0]) is str and len(args) == 2:
        subscripts, operand = args
    elif type(args[0]) is not str and len(args) < 4:
        subscripts, operand = "->".join(map(_letters, args[1:])), args[0]
    else:
        return None
    given, arrow, out = subscripts.replace(" ", "").partition("->")
    if not arrow and len(set(given)) == len(given):
        out = given
    return (subscripts, operand) if set(given) == set(out) else None


def _letters(axes: Any) -> str:
    return "".join("..." if k is Ellipsis else string.ascii_letters[int(k)] for k in axes)


def _see_through(function: Callable[..., Any], args: Any, kwargs: Any, result: Any) -> Any:
    written = CALLS[function]
    if function is np.broadcast_arrays:
        shape = result[0].shape if result else ()
        again, numpys = (functools.partial(call, shape=shape) for call in (CALLS[np.broadcast_to], np.broadcast_to))
        return type(result)(
            part if part is base else _link_seen(part, base, Seen(again, numpys))
            for part, base in zip(result, args, strict=True)
        )
    base = args[0] if args else None
    if type(result) is not Traced or type(base) is not Traced or result is base:
        return result
    if not result.value.shape:
        return as_array(result)
    if function is np.diag and base.ndim == 1:
        return result.__copy__() if hasattr(result, "link") else result
    rest = args[1:]
    made_by = Seen(lambda x: written(x, *rest, **kwargs), lambda x: function(x, *rest, **kwargs))
    return _link_seen(result, base, made_by)


# ---- As NumPy's own function lays it out ----


def _lies_by_rows(value: Any) -> bool:
    value = innermost(value)
    return type(value) is not ndarray or value.ndim < 2 or value.flags.c_contiguous


def _lie_by_rows(values: Any) -> bool:
    """Tell whether all arrays among arguments, and in lists of them, lie in memory row by row."""
    for value in values:
        kind = type(value)
        if kind is Traced or kind is ndarray:
            if not _lies_by_rows(value):
                return False
        elif (kind is list or kind is tuple) and not _lie_by_rows(value):
            return False
    return True


class _Layout(NamedTuple):
    """How a result lies in memory: its axes from the slowest to the fastest, and its strides if it has gaps."""

    order: tuple[int, ...]
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    itemsize: int

    def model(self, part: Any) -> Any:
        """Return an array of the shape of a part that lies so; None if the part does itself."""
        if self.strides and self.shape == part.shape:
            return _with_gaps(self.shape, self.strides, self.itemsize, part.dtype)
        step = part.itemsize
        strides = innermost(part).strides
        for k in reversed(self.order):
            n = part.shape[k]
            if n > 1 and strides[k] != step:
                break
            step *= n
        else:
            return None
        inverse = sorted(range(len(self.order)), key=self.order.__getitem__)
        return _empty([part.shape[k] for k in self.order], part.dtype).transpose(inverse)


_known: dict[Any, tuple[_Layout | None, ...]] = {}
"""The layouts of the results of calls, None for what is no array; by what the calls were like."""
_MOST_KNOWN = 4096


def _as_numpys(function: Callable[..., Any], args: Any, kwargs: Any, result: Any) -> Any:
    """Lay out the result of a function, or each in a list of them, as NumPy's own function does."""
    several = type(result) is list
    parts = result if several else [result]
    if function in CALLING:
        if function is not np.piecewise:
            return result
        return relaid(result, _empty_like(_lying(args[0]))) if np.ndim(result) else as_array(result)
    key = function, _like(args), _like(kwargs)
    layouts = _known.get(key)
    if layouts is None:
        layouts = _asked(function, args, kwargs)
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known[key] = layouts
    laid = [_settled(part, lies) for part, lies in zip(parts, layouts, strict=False)]
    return laid if several else laid[0] if laid else result


def _asked(function: Callable[..., Any], args: Any, kwargs: Any) -> tuple[_Layout | None, ...]:
    """Call NumPy's own function on copies that lie as the arguments do (it may overwrite them): how do results lie?"""
    with np.errstate(all="ignore"):
        made = function(*_plain(args), **_plain(kwargs))
    return tuple(map(_layout_of, made if isinstance(made, (list, tuple)) else [made]))


def _layout_of(part: Any) -> _Layout | None:
    if type(part) is not ndarray:
        return None
    order = tuple(sorted(range(part.ndim), key=lambda k: -abs(part.strides[k])))
    gaps = part.size and _empty_like(part).strides != part.strides
    return _Layout(order, part.shape, part.strides if gaps else (), part.itemsize)


def _settled(part: Any, lies: _Layout | None) -> Any:
    """Return a part of a result as NumPy's own is: a scalar (None), or an array that lies so."""
    if getattr(part, "ndim", -1) != (0 if lies is None else len(lies.order)):
        return part
    if lies is None:
        return _as_scalar(part)
    if not lies.order:
        return as_array(part)
    model = lies.model(part)
    return part if model is None else relaid(part, model)


def _as_scalar(value: Any) -> Any:
    if type(value) is not Traced:
        return value[()]
    inner = _as_scalar(value.value)
    return value if inner is value.value else Traced(inner, value.tape, value.index)


def _lying(value: Any) -> Any:
    """Return for a traced value a plain one that lies as NumPy's own would, and other values as they are."""
    return layout(value) if type(value) is Traced else value


def _plain(value: Any) -> Any:
    value = _lying(value)
    if type(value) is dict:
        return {key: _plain(item) for key, item in value.items()}
    if type(value) is ndarray and value.dtype.hasobject:
        return _asarray([innermost(item) for item in value.flat]).reshape(value.shape)
    if type(value) is ndarray:
        return laid_like(value, value)
    return type(value)(map(_plain, value)) if type(value) in (list, tuple) else value


def _like(value: Any) -> Any:
    """Describe a value so that arrays are alike if they lie alike, and other things if they are equal."""
    value = _lying(value)
    kind = type(value)
    if kind is ndarray:
        return value.shape, value.strides, value.dtype.char
    if kind is list or kind is tuple:
        return kind, *map(_like, value)
    if kind is dict:
        return tuple((key, _like(item)) for key, item in value.items())
    if kind is float or kind is float64 or kind is complex:
        return kind
    return (kind, value) if kind in _SIMPLE else (kind, repr(value))


_SIMPLE = frozenset({int, bool, str, type(None), type})
