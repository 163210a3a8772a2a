"""Assignment: the list says each value once, so ``a[i] = v`` makes a new value, and the traced array stands for it.

A view writes through to the array it is a view of, and every other view of that array sees it, as in NumPy.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from wengert.errors import LostGradientError, ShapeError, caller
from wengert.primitives.numpy import elementwise as e
from wengert.primitives.numpy import functions
from wengert.primitives.numpy.structural import fill_index, getitem, reshape, setitem, transpose
from wengert.primitives.table import CALLS
from wengert.program import SMALL, Shaped
from wengert.tracing.tape import PLAIN, SCALARS
from wengert.tracing.traced import (
    Traced,
    all_constant,
    as_array,
    as_index,
    constant,
    holds_traced,
    innermost,
    join,
    operand,
    plain,
    remember_large,
)
from wengert.tracing.unsupported import means_more, written_into_plain
from wengert.tracing.views import relaid

ndarray = np.ndarray
_asarray = np.asarray  # NumPy's own, whatever stands in its place while a trace runs


def assign(target: Traced, index: Any, value: Any) -> None:
    """Write a line for ``target[index] = value``, and let the traced array stand for its result from now on.

    A view writes through to the array it is a view of, and every other view of that array sees it, as in NumPy.
    """
    if target._tape.context.frozen is not None:
        _refuse_outer(target)
    if not target.shape and type(innermost(target)) is not ndarray:
        raise TypeError(f"'numpy.{type(innermost(target)).__name__}' object does not support item assignment")
    template, operands = as_index(index)
    template = tuple(remember_large(target._tape, template))
    link = getattr(value, "_link", None) if type(value) is Traced else None
    if link is not None and link[0] is target and link[1] is getitem and _same_index(link[2]["index"], template):
        return  # a[i] += b has changed a through the view a[i] already
    if isinstance(value, (list, tuple)) or (type(value) is ndarray and value.dtype.hasobject):
        value = join(value) if holds_traced(value) else np.asarray(value, target.dtype)
    elif value is None:
        value = np.asarray(None, target.dtype)[()]  # NaN
    elif type(value) not in PLAIN and means_more(type(value)):
        value = np.asarray(value)  # NumPy copies its elements
    if type(value) is Traced and target.dtype.kind in "biu" and value.dtype.kind in "fc":
        value = functions.astype(value, target.dtype)  # it is cut off, and moves no more
    if getattr(value, "ndim", 0) > 1 and value.shape[0] == 1:
        slot = np.broadcast_to(0.0, target.shape)[fill_index(template, [innermost(k) for k in operands])].ndim
        while value.ndim > slot and value.shape[0] == 1:  # NumPy leaves them out
            value = value[0]
    link = getattr(target, "_link", None)
    if link is None:
        _write(target, value, template, operands)
    else:
        base, made_by, params = link
        _write_through(base, made_by, params, setitem(value, target, *operands, index=template))
    _refresh(target)


def _write(target: Traced, value: Any, template: tuple[Any, ...], operands: list[Any]) -> None:
    """Assign to an array that is no view; in place where nobody else holds its value, else to a copy."""
    is_here = type(value) is Traced and value._tape is target._tape
    part = value._value if is_here else value
    if not operands and type(part) is not Traced and _is_held_alone(target):
        _write_in_place(target, part if is_here else operand(part), value._index if is_here else -1, template)
    else:
        _become(target, setitem(value, target, *operands, index=template))


def _is_held_alone(target: Traced) -> bool:
    """Return whether no row, view or caller holds the value of a large array."""
    if (
        type(target._value) is not ndarray
        or target._value.size <= SMALL
        or target._tape.keep_all
        or not target._tape.open
    ):
        return False
    # the attribute and the argument of getrefcount itself
    return sys.getrefcount(target._value) <= 2 and target._value.flags.owndata


def _write_in_place(target: Traced, part: Any, parent: int, template: tuple[Any, ...]) -> None:
    """Assign to the value of an array itself, and write the row if the part or the array depends on an input."""
    tape = target._tape
    target._value[template], target._elements = part, None
    if parent < 0 and target._index < 0:
        return
    shape = Shaped(target._value.shape, target._value.dtype)
    part = part if type(part) in SCALARS else Shaped(np.shape(part), np.asarray(part).dtype)
    place, params = tape.context.place or caller(), {"index": template}
    tape.rows.append((setitem, (parent, target._index), (shape, part, shape), params, place, tape.size))
    target._index = tape.size
    tape.size += 1


def _become(target: Traced, other: Any) -> None:
    """Replace the value of an array by that after an assignment; it stays where it lies in memory."""
    if type(other) is not Traced:
        other = constant(target._tape, other)
    if not hasattr(target, "_link") and target._value.shape:
        other = relaid(other, innermost(target))
    target._value, target._tape, target._index, target._elements = other._value, other._tape, other._index, None


def _write_through(base: Any, made_by: Any, params: Mapping[str, Any], changed: Any) -> None:
    """Assign the changed value of a view to the array it is a view of."""
    if made_by is getitem:
        if not hasattr(base, "_link"):
            _write(base, changed, params["index"], [])
            return
        result = setitem(changed, base, index=params["index"])
    elif made_by is e.real:
        result = changed if base.dtype.kind != "c" else changed + 1j * np.imag(base)
    elif made_by is e.imag:
        if base.dtype.kind != "c":
            raise ValueError("assignment destination is read-only")
        result = np.real(base) + 1j * changed
    elif made_by is reshape:
        result = reshape(changed, shape=base.shape)
    elif made_by is not transpose:
        index = np.unravel_index(made_by.places(base), base.shape)
        result = setitem(changed, base, index=index)
    else:
        axes = params["axes"]
        result = transpose(changed, axes=tuple(sorted(range(len(axes)), key=axes.__getitem__)))
    if hasattr(base, "_link"):
        root, maker, its_params = base._link
        _write_through(root, maker, its_params, result)
    else:
        _become(base, result)


def overwrite(target: Traced, result: Any) -> None:
    """Replace the value of an array, and of what it is a view of, by a result of the same shape, cast to its dtype."""
    if target._tape.context.frozen is not None:
        _refuse_outer(target)
    result = as_array(functions.astype(result, target.dtype))
    if hasattr(target, "_link"):
        _write_through(*target._link, result)
    else:
        _become(target, result)
    _refresh(target)


def _refuse_outer(target: Traced) -> None:
    """Refuse to change, in the body of a loop, an array from outside of it: it would change once, not at every step."""
    root = root_of_view(target)
    frozen = root._tape.context.frozen
    if frozen is not None and root._tape in frozen and root._index < frozen[root._tape]:
        raise LostGradientError.at(
            root._tape.context.place or caller(),
            "the body of a loop changes an array from outside of it:",
            "Carry the array through the loop: return the changed array from the body.",
        )


def root_of_view(target: Traced) -> Traced:
    """Return the array that a view is a view of, and itself for what is no view."""
    while hasattr(target, "_link"):
        target = target._link[0]
    return target


# ---- out= ----


@functools.cache
def out_position(function: Callable[..., Any]) -> int | None:
    """Return where among the positional arguments of a NumPy function ``out`` is, None where it is not."""
    for signed in (CALLS.get(function), function):  # of functions in C, Python does not always know the signature
        try:
            names = list(inspect.signature(signed).parameters.values())  # type: ignore[arg-type]  # None raises, too
        except (TypeError, ValueError):
            continue
        for position, parameter in enumerate(names):
            if parameter.name == "out" and parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
                return position
    return None


def set_out_aside(position: int | None, args: Any, kwargs: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """Return what a function is to write to (None: nothing), and its arguments without that."""
    if "out" in kwargs:
        rest = dict(kwargs)
        out = rest.pop("out")
        return (out[0] if type(out) is tuple and len(out) == 1 else out), args, rest
    if position is not None and len(args) > position:
        return args[position], (*args[:position], None, *args[position + 1 :]), kwargs
    return None, args, kwargs


def write_out(target: Any, result: Any, name: str, broadcasts: bool = False) -> Any:
    """Write the result of a NumPy function to the array it was given for that, as NumPy would; return the array."""
    if type(target) is not Traced:
        if type(target) is ndarray and (
            type(result) is not Traced or all_constant(result) or result.dtype.kind in "biu"
        ):
            target[...] = plain(result) if all_constant(result) else _asarray(result)  # positions and decisions
            return target
        raise written_into_plain()
    if not np.can_cast(result.dtype, target.dtype, "same_kind"):
        raise TypeError(
            f"Cannot cast {name} output from {result.dtype!r} to {target.dtype!r} with casting rule 'same_kind'"
        )
    if result.shape != target.shape:
        if not broadcasts or not _fits(result.shape, target.shape):
            raise ShapeError.at_caller(
                f"the result of {name} has shape {result.shape}, and out= has shape {target.shape}:",
                f"Give it an array of shape {result.shape}, or leave out= out.",
            )
        result = np.broadcast_to(result, target.shape)
    overwrite(target, result)
    return target


def _fits(shape: tuple[int, ...], target: tuple[int, ...]) -> bool:
    """Return whether an array of one shape broadcasts to another."""
    return len(shape) <= len(target) and all(n in (1, m) for n, m in zip(shape[::-1], target[::-1], strict=False))


def write_ufunc(ufunc: np.ufunc, method: str, inputs: Any, kwargs: Mapping[str, Any]) -> Any:
    """Call a ufunc, or a method of one, and write what comes of it to its ``out``."""
    rest = {name: value for name, value in kwargs.items() if name != "out"}
    results = getattr(ufunc, method)(*inputs, **rest)
    if type(results) is not tuple:
        (target,) = kwargs["out"]
        if method == "__call__" and rest.get("where", True) is not True:
            results = np.where(rest["where"], results, target)
        return write_out(target, results, ufunc.__name__, method == "__call__")
    return tuple(
        result if target is None else write_out(target, result, ufunc.__name__, broadcasts=True)
        for target, result in zip(kwargs["out"], results, strict=True)
    )


def _refresh(target: Traced) -> None:
    """Replace the value of every view of the array that was written to."""
    _refresh_views(root_of_view(target))


def _refresh_views(base: Traced) -> None:
    for reference in getattr(base, "_views", ()):
        view = reference()
        if view is None:
            continue
        _, made_by, params = view._link
        _become(view, made_by(base, **params))
        _refresh_views(view)


def _same_index(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    return len(a) == len(b) and all(
        type(p) is type(q) and not isinstance(p, ndarray) and p == q for p, q in zip(a, b, strict=True)
    )
