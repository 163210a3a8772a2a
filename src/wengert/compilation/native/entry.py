"""Entry: a kernel as a function that Python calls.

`Native` is called with the traced leaves of the arguments: exact arrays of double precision of the recorded shapes,
row-major and aligned, and Python's and NumPy's floats.  For any other argument it returns `NotImplemented`, and so it
does where NumPy would have warned (the processor's flags say so: division by zero, overflow, an invalid operation),
where the kernel was left, and where a result is not finite: the caller then computes in Python.

A jitted function is called by the same machine code (`call.ll`), after what it can read has been compared.

>>> from wengert.compilation.native.engine import is_available
>>> fits() or not is_available()
True
"""

from __future__ import annotations

import contextlib
import functools
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wengert import trees
from wengert.compilation.branches import Tree
from wengert.compilation.environment import Environment
from wengert.compilation.native.engine import Compiled, address_of, assembly, compile_texts
from wengert.compilation.native.layout import addresses, fits
from wengert.compilation.native.llvm import symbols_of, write_declarations, write_kernel
from wengert.compilation.native.loops import Nest, Statement, inner_block
from wengert.compilation.native.lowering import Lowered, NoLoweringError, lower_tree
from wengert.compilation.native.operations import SPECIAL
from wengert.compilation.native.records import MAY_RAISE, RELEASES, Entry, Record, UntakenError
from wengert.compilation.native.vectorcall import attach, with_vectorcall

LONG = 100_000
"""The number of operations from which a kernel runs without the interpreter's lock: some fifty microseconds."""
UNKNOWN = 1_000
"""The number of steps that a loop whose count is computed is taken to have."""
MOST_ENTRIES = 8
"""The number of signatures that a call is compared with before Python looks for it."""


def native_code(tree: Tree, described: Sequence[Any], name: str, statics: dict[int, Any], structure: Any) -> Native:
    """Return the native code of all branches of a function; raise NoLoweringError where there is none.

    Of each leaf of the arguments, `described` has the shape, strides and dtype of an array, or else its type, and None
    where it is not traced; then `statics` has its key.  `structure` is the tree of the arguments.
    """
    if not fits():
        raise NoLoweringError("it is turned off, or not made for this machine")
    for leaf in described:
        if isinstance(leaf, tuple):
            shape, strides, dtype = leaf
            array = np.lib.stride_tricks.as_strided(np.empty(0, dtype), shape, strides)
            if dtype.char != "d" or not array.flags.c_contiguous:
                raise NoLoweringError("an argument that is no row-major array of double precision")
        elif leaf is not None and leaf not in (float, np.float64):
            raise NoLoweringError(f"an argument of the type {leaf.__name__}")
    try:
        return Native(lower_tree(tree, name), described, statics, structure)
    except RuntimeError as error:  # LLVM's, or too deep a recursion
        raise NoLoweringError(str(error)) from error


@with_vectorcall
class Native:
    """A tree of branches as a function of the traced leaves of its arguments.

    Attributes
    ----------
    text
        The LLVM text of the kernel.
    lowered
        The kernel, and the forms of results.
    entry
        What a call with the arguments as they are is compared with; None if Python has to take them apart.
    """

    __slots__ = ("_record", "entry", "lowered", "text")

    def __init__(self, lowered: Lowered, described: Sequence[Any], statics: dict[int, Any], structure: Any) -> None:
        kernel = lowered.kernel
        called = symbols_of(kernel)
        missing = [symbol for symbol in called if address_of(symbol) is None]
        if missing:
            raise NoLoweringError(f"no function {missing[0]}")
        self.lowered = lowered
        self.text = "\n".join([write_declarations(kernel), write_kernel(kernel)]).strip()
        compiled = compile_texts([self.text], "kernel", addresses(called), kernel.has_nests)
        flags = MAY_RAISE if any(symbol.startswith(SPECIAL) for symbol in called) else 0
        flags |= RELEASES if operations_of(kernel.statements) > LONG else 0
        leaves = [leaf for leaf in described if leaf is not None]
        flat = Entry(lowered, compiled, flags, tuple(range(len(leaves))), leaves, {})
        args, kwargs = trees.unflatten(structure, list(range(len(described))))
        self.entry: Entry | None = None
        if not kwargs:
            with contextlib.suppress(UntakenError):
                self.entry = Entry(lowered, compiled, flags, args, described, statics)
        self._record = Record([flat])
        attach(self, _call().address, self._record.address)

    def __call__(self, *leaves: Any) -> Any:
        """Return the result, or `NotImplemented` where it is to be computed in Python: machine code does, instead."""
        raise AssertionError("native code has not been attached")

    def assembly(self) -> str:
        """Return the machine code of the kernel as text."""
        return assembly(self.text, self.lowered.kernel.has_nests)


def attach_entries(
    jitted: Any, natives: Sequence[Native], environment: Environment, fallback: Callable[..., Any]
) -> Record:
    """Let a jitted function be called by native code; return the record of it, which has to live as long as that."""
    entries = [native.entry for native in natives if native.entry is not None]
    record = Record(entries[:MOST_ENTRIES], environment, fallback)
    attach(jitted, _call().address, record.address)
    return record


@functools.cache
def _call() -> Compiled:
    """Return the function that CPython calls."""
    text = Path(__file__).with_name("call.ll").read_text(encoding="utf-8")
    return compile_texts(
        [text], "call", addresses(re.findall(r"^declare .*@(?!llvm)(\w+)\(", text, re.MULTILINE)), True
    )


def operations_of(block: Sequence[Statement]) -> int:
    """Return the number of statements that a block runs at most, by estimate where a loop's count is computed.

    >>> from wengert.compilation.native.loops import Leave
    >>> operations_of([Nest((10, 10), (Leave(), Leave())), Leave()])
    201
    """
    total = 0
    for statement in block:
        inner = operations_of(inner_block(statement))
        if isinstance(statement, Nest):
            total += inner * math.prod([n if isinstance(n, int) else UNKNOWN for n in statement.counts])
        else:
            total += 1 + inner
    return total
