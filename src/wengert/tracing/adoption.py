"""Adoption: a plain array that the function itself has made becomes traced when a traced value is written into it.

Calls of ``np.zeros`` and its like are caught (see `patching`); ``data.copy()``, ``data * 1.0`` and what a random
generator draws are plain arrays.  If variables of the running functions are all that holds such an array, a traced one
takes its place in each of them, and the assignment is made to that.  Python counts the references to the array, so
that no other holder is overlooked: it may be the user's data, or seen through a view, and the write is refused.

>>> import wengert as wg
>>> data = np.arange(3.0)
>>> def f(x):
...     u = data.copy()
...     u[0] = x
...     return np.sum(u**2)
>>> float(wg.grad(f)(5.0))
10.0
"""

from __future__ import annotations

import ast
import ctypes
import dis
import functools
import operator
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from types import CodeType, FrameType
from typing import Any

import numpy as np

from wengert.errors import PACKAGE, Location, LostGradientError
from wengert.tracing.callers import assigns
from wengert.tracing.context import at_place, threads
from wengert.tracing.tape import Tape
from wengert.tracing.traced import Traced, holds_traced

ndarray = np.ndarray
_random = np.random.default_rng()
_WRITES_THROUGH = sys.version_info >= (3, 13)
_PER_LOOK = 0 if _WRITES_THROUGH else 1
"""How many references to its value it makes to look at a variable of a frame: Python 3.13 ended that."""
_OPERATION = dis.opmap["BINARY_OP"]


# ---- Who holds an array ----


Holders = list[tuple[FrameType, list[str]]]
"""Frames of running functions, each with the names of some of its variables."""


def _holders(array: Any, frame: FrameType) -> tuple[Holders, int]:
    """Return the variables of running functions that hold an array, and how many other references there are to it."""
    holders = []
    references = 0
    outer: FrameType | None = frame
    while outer is not None and (outer is frame or not outer.f_code.co_filename.startswith(PACKAGE)):
        names = [name for name, value in outer.f_locals.items() if value is array]
        references += len(names) * _PER_LOOK
        free = outer.f_code.co_freevars  # are variables of an enclosing function's frame
        if names := [name for name in names if name not in free]:
            holders.append((outer, names))
            references += len(names)
        outer = outer.f_back
    others = sys.getrefcount(array) - references
    base = array.base if holders else None
    while type(base) is ndarray:
        others += sys.getrefcount(base) - 3  # that of the view, of this variable, of the call
        base = base.base
    return holders, others if base is None else -1


class _Probe:
    """Stands for a traced value: counts the references that there are to an array while NumPy writes into it."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape, self.others = shape, -2

    def _count(self, frame: FrameType) -> None:
        array = frame.f_locals["array"]
        self.others = _holders(array, frame)[1]

    def __float__(self) -> float:
        self._count(sys._getframe(1))
        return 0.0

    def __int__(self) -> int:
        self._count(sys._getframe(1))
        return 0

    def __complex__(self) -> complex:
        self._count(sys._getframe(1))
        return 0j

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        self._count(sys._getframe(1))
        return np.broadcast_to(0.0, self.shape)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        array = kwargs["out"][0] if method == "__call__" else inputs[0]
        self.others = _holders(array, sys._getframe(1))[1]
        return array

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> None:
        array = args[0]
        self.others = _holders(array, sys._getframe(1))[1]


def _adopt(array: Any, held: tuple[Holders, int], write: Callable[[Any], None], probe: _Probe) -> Traced | None:
    """Put a traced array into the variables that hold a plain one; None if there are other references to it.

    `write` does with a copy, which one variable holds, what the user's code is doing: so many references are usual.
    """
    write(array.copy("K"))
    holders, others = held
    if others != probe.others:
        return None
    traced = Traced(array.copy("K"), threads.context.tapes[-1], -1)
    replace_variables(holders, traced)
    return traced


def replace_variables(holders: Holders, value: Any) -> None:
    """Put a value into variables of running functions."""
    for frame, names in holders:
        variables = frame.f_locals
        for name in names:
            variables[name] = value
        if not _WRITES_THROUGH:
            ctypes.pythonapi.PyFrame_LocalsToFast(ctypes.py_object(frame), ctypes.c_int(0))


# ---- a[i] = v ----

_PURE = (
    ast.Name, ast.Constant, ast.Subscript, ast.Slice, ast.Tuple, ast.List, ast.Attribute, ast.UnaryOp, ast.BinOp,
    ast.Compare, ast.operator, ast.unaryop, ast.cmpop, ast.expr_context, ast.keyword,
)  # fmt: skip
_PURE_CALLS = re.compile(r"len|int|slice|range|min|max|abs|(np|numpy)\.\w+")


def _is_pure(node: ast.AST) -> bool:
    """Return whether a node may stand in an index, which is evaluated once more."""
    return isinstance(node, _PURE) or (type(node) is ast.Call and bool(_PURE_CALLS.fullmatch(ast.unparse(node.func))))


@functools.lru_cache(maxsize=1024)
def _target(code: CodeType, offset: int) -> tuple[str, CodeType | None, CodeType] | None:
    """Return what ``y.T[0][i] = v`` assigns to: the variable, the part of it (None: it itself), and the index.

    None where that is not known, or cannot be evaluated again.
    """
    location = Location.of((code, offset))
    node = None if location is None else location.expression
    if type(node) is not ast.Subscript or not all(map(_is_pure, ast.walk(node))):
        return None
    root: Any = node.value
    while isinstance(root, (ast.Subscript, ast.Attribute)):
        root = root.value
    if type(root) is not ast.Name:
        return None
    index = ast.Subscript(ast.Name("_index_", ast.Load()), node.slice, ast.Load())
    part, key = (
        compile(ast.fix_missing_locations(ast.Expression(expression)), "<index>", "eval")
        for expression in (node.value, index)
    )
    return root.id, None if root is node.value else part, key


def write_into_plain(value: Traced, frame: FrameType) -> Any:
    """Write a traced value into the plain array that a line assigns it to: a traced one takes the place of that.

    Return what NumPy is to write into the plain array, which nothing holds from then on; None if the write is refused.
    """
    target = _target(frame.f_code, frame.f_lasti) if assigns(frame) else None
    if target is None:
        return None
    name, part, key = target
    array = frame.f_locals.get(name)
    if type(array) is not ndarray or array.dtype.kind not in "iufc":
        return None
    held = _holders(array, frame)
    scope = {**frame.f_globals, **frame.f_locals, "_index_": np.s_}
    index, probe = eval(key, {}, scope), _Probe(value.shape)
    del scope[name]
    if value.dtype.kind not in "fc" and holds_traced(index if type(index) is tuple else (index,)):
        return None  # it may be the index that is asked for its elements

    def store(array: Any) -> None:
        array[index] = probe

    def store_in_part(array: Any) -> None:
        eval(part, {}, {**scope, name: array})[index] = probe  # type: ignore[arg-type]

    written = array.copy("K")
    traced = _adopt(array, held, store if part is None else store_in_part, probe)
    if traced is None:
        return None
    marks = _random.random(value.shape) if array.dtype.kind in "fc" else _random.integers(0, 100, value.shape)
    for to, what in ((written, marks), (traced, value)):
        whole_or_part = to if part is None else eval(part, {}, {**scope, name: to})
        at_place(functools.partial(operator.setitem, whole_or_part, index, what))
    traced._tape.adopted.append((array, written, (frame.f_code, frame.f_lasti)))
    return marks


def check_adopted(tape: Tape) -> None:
    """Raise LostGradientError if NumPy has written more into an array than the traced value: it was part of a list."""
    for array, written, place in tape.adopted:
        if array.tobytes() != written.tobytes():
            raise LostGradientError.at(
                place,
                "a list that holds a traced value is written into a plain array, which would lose its derivative:",
                "Write np.array([...]) of the list.",
            )


# ---- a += b, np.put(a, i, v) ----


def adopt_for_operation(array: Any, frame: FrameType) -> Traced | None:
    """Return what an operation like ``a += b`` is to change in the place of a plain array, None if it is refused.

    A part of an array, as in ``a[0] += b``, is assigned to that afterwards.
    """
    if frame.f_code.co_code[frame.f_lasti] != _OPERATION or array.dtype.kind not in "fc":
        return None
    held, probe = _holders(array, frame), _Probe(array.shape)

    def operate(array: Any) -> None:
        array += probe

    def operate_on_part(array: Any) -> None:
        array[...] += probe

    return _adopt(array, held, operate if held[0] else operate_on_part, probe)


def adopt_for_call(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], frame: FrameType
) -> Traced | None:
    """Return what a function that writes into its first argument, a plain array, is to write to; None if refused."""
    array = args[0]
    held, probe = _holders(array, frame), _Probe(())
    if array.dtype.kind not in "iufc" or not held[0]:
        return None
    others = [probe if type(value) is Traced else value for value in (*args[1:], *kwargs.values())]
    return _adopt(array, held, _writer(len(args) - 1, *kwargs)(function, others), probe)


@functools.cache
def _writer(count: int, *names: str) -> Callable[[Callable[..., Any], Sequence[Any]], Callable[[Any], None]]:
    """Return what makes a function of an array that passes it on, with so many others and some by name.

    It is written out: to pass ``*others`` on would make other references to the array.
    """
    others = [f"others[{k}]" for k in range(count)] + [f"{name}=others[{count + k}]" for k, name in enumerate(names)]
    source = f"lambda function, others: lambda array: function(array, {', '.join(others)})"
    return eval(source, {})  # type: ignore[no-any-return]
