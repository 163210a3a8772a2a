"""Results: a NumPy function's traced result becomes a view where NumPy's is one, or lies in memory as NumPy's does.

Most results lie as NumPy's own because NumPy has computed them; those of functions that are written with other
primitives are laid out as NumPy's own function lays them out, which is asked once for each kind of arguments.

>>> import wengert as wg
>>> def f(x):
...     diagonal = np.einsum("ii->i", x)  # a view, with NumPy as here
...     diagonal[...] = 1.0
...     return np.sum(x**2)
>>> wg.grad(f)(np.full((2, 2), 3.0))
array([[0., 6.],
       [6., 0.]])
"""

from __future__ import annotations

import functools
import string
from collections.abc import Callable
from typing import Any

import numpy as np

from wengert.primitives.table import CALLS
from wengert.tracing.context import threads
from wengert.tracing.layout import Layout, laid_like
from wengert.tracing.tape import NO_PARAMS
from wengert.tracing.traced import Traced, as_array, as_scalar, innermost
from wengert.tracing.views import ViewMaker, link, model_of, relaid

ndarray, float64 = np.ndarray, np.float64
_asarray, _empty_like = np.asarray, np.empty_like
"""NumPy's own, whatever stands in their places while a trace runs."""

VIEWS = frozenset({
    np.reshape, np.ravel, np.transpose, np.swapaxes, np.moveaxis, np.rollaxis, np.squeeze, np.expand_dims, np.flip,
    np.atleast_1d, np.atleast_2d, np.atleast_3d, np.fliplr, np.flipud, np.rot90, np.split, np.array_split, np.hsplit,
    np.vsplit, np.dsplit, np.real, np.imag, np.real_if_close, np.trim_zeros, np.matrix_transpose,
    *(getattr(np, name) for name in ("unstack", "permute_dims") if hasattr(np, name)), np.linalg.matrix_transpose,
})  # fmt: skip
"""Functions of NumPy whose results may be views of their argument; those of all others are arrays of their own."""
OTHER_VIEWS = frozenset({
    np.diagonal, np.linalg.diagonal, np.diag, np.broadcast_to, np.broadcast_arrays,
    np.lib.stride_tricks.sliding_window_view, np.lib.stride_tricks.as_strided,
})  # fmt: skip
"""Functions whose results see changes of their argument; most of them are not written to."""
CALLBACKS = frozenset({np.piecewise, np.apply_along_axis, np.apply_over_axes})
"""Functions that take a callback; it must not be called a second time to learn the layout."""
LAID_OTHERWISE = frozenset({
    np.nanquantile, np.einsum, np.cross, np.tensordot, np.linalg.eig, np.pad, np.block, np.i0, np.real, np.imag,
    np.real_if_close, np.piecewise, np.fft.fftn, np.fft.ifftn, np.lib.stride_tricks.as_strided,
})  # fmt: skip
"""NumPy's functions whose results may not lie row by row where their arguments do, or be arrays without dimensions."""
LAID_BY_NUMPY = frozenset({
    np.matmul, np.dot, np.vecdot, np.inner, np.sum, np.mean, np.concatenate, np.stack, np.vstack, np.hstack,
    *(f for f in vars(np.linalg).values() if callable(f) and f is not np.linalg.eig),
})  # fmt: skip
"""NumPy's functions whose results NumPy's own have laid out here, too: if they lie row by row, they do so there."""
_COPIES = frozenset({np.meshgrid, *([np.astype] if hasattr(np, "astype") else [])})
"""Functions that return views of their arguments if they are told not to copy."""
_SPECIAL = VIEWS | OTHER_VIEWS | LAID_OTHERWISE


def finish(function: Callable[..., Any], args: Any, kwargs: Any, result: Any, by_rows: bool = True) -> Any:
    """Return the result of a NumPy function: a view where NumPy's is one, and else an array that lies as NumPy's.

    Most results lie row by row if the arguments do; where `by_rows` is False (other libraries' functions), NumPy is
    asked always.
    """
    value = result._value if type(result) is Traced else None
    if type(value) is float64 and function not in LAID_OTHERWISE:
        return result
    if threads.context.place is not None:
        return result  # inside of another function, whose result is finished when it is there
    if type(value) is Traced:
        value = innermost(value)
    if value is not None and by_rows and function not in _SPECIAL:  # most
        if type(value) is ndarray and args and result is not args[0] and not hasattr(result, "_link"):
            ndim = value.ndim
            if ndim and value.flags.c_contiguous and (ndim == 1 or function in LAID_BY_NUMPY or _lie_by_rows(args)):
                return result
    elif function in OTHER_VIEWS:
        return _link_other(function, args, kwargs, result)
    if value is not None:
        return _finish_traced(function, args, kwargs, result, value, by_rows)
    if type(result) is ndarray:
        is_laid = result.ndim == 1 or (result.ndim and by_rows and _lie_by_rows(args))
        return result if is_laid else _laid_as_numpys(function, args, kwargs, result)
    if isinstance(result, tuple) and type(result).__init__ is not object.__init__:
        return result  # it has more than its parts, as results of SciPy's tests have
    if isinstance(result, (list, tuple)) and not _makes_views(function, kwargs):
        return _finish_several(function, args, kwargs, result, by_rows)
    return result


def _makes_views(function: Callable[..., Any], kwargs: Any) -> bool:
    return function in VIEWS or (function in _COPIES and kwargs.get("copy", True) is False)


def _finish_traced(function: Callable[..., Any], args: Any, kwargs: Any, result: Any, value: Any, by_rows: bool) -> Any:
    """Finish one traced result, whose plain value is given."""
    if function == np.einsum and np.ndim(value) and (renaming := _renaming(args)) is not None:
        spec, base = renaming
        maker = ViewMaker(lambda x: CALLS[np.einsum](spec, x), lambda x: np.einsum(spec, x))
        return _link_made(result, base, maker)
    if hasattr(result, "_link") or (args and result is args[0]):
        is_view = _makes_views(function, kwargs) and (np.ndim(value) or function not in LAID_OTHERWISE)
        if is_view or function == np.diff:
            return result  # a difference of order 0 is the array itself
        result = result.__copy__()
    if type(value) is ndarray or function in LAID_OTHERWISE or not by_rows:
        return _laid_as_numpys(function, args, kwargs, result)
    return result


def _finish_several(function: Callable[..., Any], args: Any, kwargs: Any, results: Any, by_rows: bool) -> Any:
    """Finish a list, tuple or named tuple of results, which are no views."""
    parts = [part.__copy__() if type(part) is Traced and hasattr(part, "_link") else part for part in results]
    by_rows = by_rows and function not in LAID_OTHERWISE and all(getattr(part, "ndim", 1) for part in parts)
    if not (by_rows and _lie_by_rows(parts) and _lie_by_rows(args)):
        parts = _laid_as_numpys(function, args, kwargs, parts)
    return type(results)(parts) if type(results) in (list, tuple) else type(results)(*parts)


def _renaming(args: Any) -> tuple[str, Traced] | None:
    """Return subscripts and operand of ``np.einsum("ii->i", x)``, which sums nothing and gives a view."""
    if type(args[0]) is str and len(args) == 2:
        subscripts, operand = args
    elif type(args[0]) is not str and len(args) < 4:
        subscripts, operand = "->".join(map(_letters, args[1:])), args[0]
    else:
        return None
    axes, arrow, out = subscripts.replace(" ", "").partition("->")
    if not arrow and len(set(axes)) == len(axes):
        out = axes
    return (subscripts, operand) if set(axes) == set(out) else None


def _letters(axes: Any) -> str:
    return "".join("..." if k is Ellipsis else string.ascii_letters[int(k)] for k in axes)


def _link_other(function: Callable[..., Any], args: Any, kwargs: Any, result: Any) -> Any:
    """Link the result of one of the OTHER_VIEWS to its argument."""
    written = CALLS[function]
    if function == np.broadcast_arrays:
        shape = result[0].shape if result else ()
        traced, plain = (functools.partial(call, shape=shape) for call in (CALLS[np.broadcast_to], np.broadcast_to))
        return type(result)(
            part if part is base else _link_made(part, base, ViewMaker(traced, plain))
            for part, base in zip(result, args, strict=True)
        )
    base = args[0] if args else None
    if type(result) is not Traced or type(base) is not Traced or result is base:
        return result
    if not result._value.shape:
        return as_array(result)
    if function == np.diag and base.ndim == 1:
        return result.__copy__() if hasattr(result, "_link") else result
    rest = args[1:]
    maker = ViewMaker(lambda x: written(x, *rest, **kwargs), lambda x: function(x, *rest, **kwargs))
    return _link_made(result, base, maker)


def _link_made(view: Any, base: Any, made_by: ViewMaker) -> Any:
    if type(view) is Traced and type(base) is Traced and view._tape is base._tape and view._value.shape:
        view = made_by.laid(view if view is not base else base.__copy__(), base)
        link(view, base, made_by, NO_PARAMS)
    return view


# ---- As NumPy's own function lays it out ----


def _lies_by_rows(value: Any) -> bool:
    value = innermost(value)
    return type(value) is not ndarray or value.ndim < 2 or value.flags.c_contiguous


def _lie_by_rows(values: Any) -> bool:
    """Return whether all arrays among arguments, and in lists of them, lie in memory row by row."""
    for value in values:
        kind = type(value)
        if kind is Traced or kind is ndarray:
            if not _lies_by_rows(value):
                return False
        elif (kind is list or kind is tuple) and not _lie_by_rows(value):
            return False
    return True


_layouts: dict[Any, tuple[Layout | None, ...]] = {}
"""The layouts of the results of calls, None for what is no array; by what the calls were like."""
_MOST_LAYOUTS = 4096


def _laid_as_numpys(function: Callable[..., Any], args: Any, kwargs: Any, result: Any) -> Any:
    """Lay out the result of a function, or each in a list of them, as NumPy's own function does."""
    several = type(result) is list
    parts = result if several else [result]
    if function in CALLBACKS:
        if function != np.piecewise:
            return result
        return relaid(result, _empty_like(_lying(args[0]))) if np.ndim(result) else as_array(result)
    key = function, _like(args), _like(kwargs)
    layouts = _layouts.get(key)
    if layouts is None:
        layouts = _ask_numpy(function, args, kwargs)
        if len(_layouts) >= _MOST_LAYOUTS:
            _layouts.clear()
        _layouts[key] = layouts
    laid = [_laid(part, layout) for part, layout in zip(parts, layouts, strict=False)]
    return laid if several else laid[0] if laid else result


def _ask_numpy(function: Callable[..., Any], args: Any, kwargs: Any) -> tuple[Layout | None, ...]:
    """Call NumPy's own function on copies that lie as the arguments do (it may overwrite them): how do results lie?"""
    with np.errstate(all="ignore"):
        made = function(*_plain(args), **_plain(kwargs))
    parts = made if isinstance(made, (list, tuple)) else [made]
    return tuple(Layout.of(part) if type(part) is ndarray else None for part in parts)


def _laid(part: Any, layout: Layout | None) -> Any:
    """Return a part of a result as NumPy's own is: a scalar (None), or an array that lies so."""
    if getattr(part, "ndim", -1) != (0 if layout is None else len(layout.order)):
        return part
    if layout is None:
        return as_scalar(part)
    if not layout.order:
        return as_array(part)
    model = layout.model(innermost(part))
    return part if model is None else relaid(part, model)


def _lying(value: Any) -> Any:
    """Return for a traced value a plain one that lies as NumPy's own would, and other values as they are."""
    return model_of(value) if type(value) is Traced else value


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
