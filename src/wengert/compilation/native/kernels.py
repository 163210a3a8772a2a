"""Kernels: some lines over arrays of any size as one function that Python calls with arrays.

It is a builtin function made of machine code, for one layout of the arguments: their shapes and strides.  It makes the
result arrays, calls the nests (`wengert.compilation.native.nests`) with their extents, without the interpreter's lock
if they take long, and raises FloatingPointError where NumPy would have warned.  An `ArrayKernel` has such a function
for each layout that it meets; where there are too many, or an argument is of no layout that machine code reads, it
copies.

>>> import numpy as np
>>> from wengert.compilation.native.layout import fits
>>> from wengert.compilation.native.expressions import Expressions
>>> def square(op, x):
...     return [op("multiply", x, x)]
>>> if fits():
...     kernel = ArrayKernel("k", square, [Operand((2, 3), "d")], [Result((2, 3), "d", False)])
...     assert np.array_equal(kernel(np.ones((3, 2)).T)[0], np.ones((2, 3)))
"""

from __future__ import annotations

import ctypes
import functools
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wengert.compilation.native.engine import Compiled as Code
from wengert.compilation.native.engine import assembly, compile_texts
from wengert.compilation.native.expressions import Expressions, Value
from wengert.compilation.native.extents import Families, Member, without_empty
from wengert.compilation.native.layout import addresses
from wengert.compilation.native.llvm import symbols_of
from wengert.compilation.native.loops import Buffer, Kernel, Load, Store, steps_of, walk_statements
from wengert.compilation.native.lowering import NoLoweringError
from wengert.compilation.native.nests import lower_nests
from wengert.compilation.native.operations import SPECIAL

LAYOUTS = 4
"""The number of layouts of arguments for which a kernel has code; arguments of any other are copied."""
LONG = 20_000
"""The number of steps of nests from which the interpreter's lock is released."""


class Operand(NamedTuple):
    """What a kernel is called with: an array, or a number where there are no axes."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def is_number(self) -> bool:
        """True for a float."""
        return not self.shape and self.dtype == "d"


class Result(NamedTuple):
    """What a kernel returns: an array, or without axes a scalar of NumPy's, or else Python's float."""

    shape: tuple[int, ...]
    dtype: str
    is_float: bool


class ArrayKernel:
    """A function of arrays, compiled for each layout of them.

    `write` writes the results as expressions of the arguments.  With `families`, those of the branch, it is compiled by
    `compile`, after all kernels of the branch have been lowered.

    Attributes
    ----------
    call
        The function for the first layout: it returns NotImplemented for any other.
    """

    __slots__ = ("_compiled", "_first", "_layouts", "_operands", "_optimize", "_results", "_write", "call", "name")

    def __init__(
        self,
        name: str,
        write: Callable[..., Sequence[Value]],
        operands: Sequence[Operand],
        results: Sequence[Result],
        optimize: bool = True,
        families: Families | None = None,
    ) -> None:
        self.name, self._write, self._optimize = name, write, optimize
        self._operands, self._results = tuple(operands), tuple(results)
        self._layouts: dict[Any, Compiled] = {}
        self._first = self._lowered(tuple([row_major_bytes(operand) for operand in operands]), families or Families())
        if families is None:
            self.compile()

    def compile(self) -> None:
        """Compile what was lowered, for all kernels of its family that have been entered by now."""
        self._compiled = self._layouts[self._first.strides] = compiled_for(self._first)
        self.call: Callable[..., Any] = self._compiled.call

    def __call__(self, *args: Any) -> tuple[Any, ...]:
        try:
            result = self.call(*args)
            return self._call(args) if result is NotImplemented else result
        except FloatingPointError:
            if not self._optimize:
                raise
        return self._calmly(args)

    def _calmly(self, args: Sequence[Any]) -> tuple[Any, ...]:
        """Compute without LLVM's passes, and from now on if that raises no alarm: lanes of vectors that hold no element
        may have raised it."""
        kernel = ArrayKernel(self.name, self._write, self._operands, self._results, optimize=False)
        result = kernel(*args)
        self._optimize, self._layouts, self._compiled, self.call = (
            False, kernel._layouts, kernel._compiled, kernel.call,
        )  # fmt: skip
        return result

    def _for(self, strides: tuple[Any, ...]) -> Compiled:
        """Return the code for a layout."""
        if strides not in self._layouts:
            self._layouts[strides] = compiled_for(self._lowered(strides, Families()))
        return self._layouts[strides]

    def _lowered(self, strides: tuple[Any, ...], families: Families) -> Lowered:
        """Return the loops for a layout, as one of a family."""
        op = Expressions()
        layout = zip(self._operands, strides, strict=True)
        arguments = [op.argument(operand.shape, operand.dtype, steps) for operand, steps in layout]
        kernel = lower_nests(op, self._write(op, *arguments), "k")
        if len(kernel.arguments) > MOST_BUFFERS or len(self._results) > MOST_RESULTS:
            raise NoLoweringError("too many arrays")
        member = families.enter(kernel, self._optimize)
        return Lowered(without_empty(kernel), member, self._operands, strides, self._results)

    def _call(self, args: Sequence[Any]) -> tuple[Any, ...]:
        """Compute for arguments of another layout."""
        values, strides = [], []
        for operand, arg in zip(self._operands, args, strict=True):
            if operand.is_number:
                value: Any = float(arg)
            else:
                value = np.asarray(arg)
                if type(arg) is not np.ndarray or value.dtype is not np.dtype(operand.dtype) or not value.flags.aligned:
                    value = np.array(value, operand.dtype, order="C")
            values.append(value)
            strides.append(_steps(value.strides, operand.shape) if type(value) is np.ndarray else ())
        key = tuple(strides)
        if key in self._layouts or len(self._layouts) < LAYOUTS:
            try:
                return self._for(key).call(*values)  # type: ignore[no-any-return]
            except NoLoweringError:
                pass
        return self.call(*[np.array(v, order="C") if type(v) is np.ndarray else v for v in values])  # type: ignore[no-any-return]

    @property
    def kernel(self) -> Kernel:
        """The loops for the first layout."""
        return self._compiled.kernel

    def text(self, what: str) -> str:
        """Return the ``"loops"``, the ``"llvm"`` text or the ``"assembly"`` for the first layout."""
        compiled = self._compiled
        if what == "loops":
            memory = f"{compiled.memory:,} bytes of memory" if compiled.memory else "no memory"
            return f"# {self.name}: {memory} beside its results\n{compiled.kernel}"
        return compiled.text if what == "llvm" else assembly(compiled.text, True)


class Lowered(NamedTuple):
    """A kernel for one layout as loops.

    Attributes
    ----------
    kernel
        The loops.
    member
        The kernel as one of its family.
    operands, strides, results
        What it is called with, and returns.
    """

    kernel: Kernel
    member: Member
    operands: tuple[Operand, ...]
    strides: tuple[Any, ...]
    results: tuple[Result, ...]


class Compiled(NamedTuple):
    """A kernel for one layout.

    Attributes
    ----------
    call
        The builtin function.
    function
        What that needs while it lives.
    kernel
        Its loops.
    text
        The LLVM text of the nests.
    memory
        The bytes of memory that it takes while it runs.
    """

    call: Callable[..., Any]
    function: _Function
    kernel: Kernel
    text: str
    memory: int


_compiled: dict[Any, Compiled] = {}
"""What has been compiled, by structure: an unrolled loop has many kernels of one structure."""
MOST_COMPILED = 512


def compiled_for(lowered: Lowered) -> Compiled:
    """Return a kernel as a builtin function; kernels of one family have the same code, and equal ones all in common."""
    code, extents = lowered.member.code()
    sizes = tuple([buffer.size for buffer in lowered.kernel.arguments])
    key = code, extents, sizes, *lowered[2:]
    if key not in _compiled:
        if len(_compiled) >= MOST_COMPILED:
            _compiled.clear()
        places = planned(lowered.kernel)
        function = _Function(code, extents, lowered, places)
        text = lowered.member.family.shared.text
        _compiled[key] = Compiled(function.call, function, lowered.kernel, text, places[1])
    return _compiled[key]


def planned(kernel: Kernel) -> tuple[dict[Buffer, int], int]:
    """Return where each buffer of work is in memory, and the size of that: what is not needed at a time shares it.

    >>> from wengert.compilation.native.loops import Element, Nest, Register
    >>> t, u, v = (Buffer(name, 100, "work") for name in "tuv")
    >>> r = Register(1)
    >>> def copy(a, b):
    ...     return Nest((100,), (Load(r, Element(a, 0, (1,))), Store(Element(b, 0, (1,)), r)))
    >>> places, size = planned(Kernel("k", (t, u, v), Buffer("y", 0, "result"), (copy(t, u), copy(u, v))))
    >>> [places[buffer] for buffer in (t, u, v)], size
    ([0, 832, 0], 1664)
    """
    first: dict[Buffer, int] = {}
    last: dict[Buffer, int] = {}
    for k, statement in enumerate(kernel.statements):
        for inner in walk_statements([statement]):
            if isinstance(inner, (Load, Store)) and inner.element.buffer.role == "work":
                first.setdefault(inner.element.buffer, k)
                last[inner.element.buffer] = k
    places: dict[Buffer, int] = {}
    total = 0
    for buffer in sorted(first, key=first.__getitem__):
        alive = sorted(
            (places[b], places[b] + _bytes(b)) for b in places if last[b] >= first[buffer] and first[b] <= last[buffer]
        )
        place = 0
        for start, end in alive:
            if start - place >= _bytes(buffer):
                break
            place = max(place, end)
        places[buffer] = place
        total = max(total, place + _bytes(buffer))
    return places, total


def _bytes(buffer: Buffer) -> int:
    """Return the size of a buffer, in whole lines of the cache."""
    return -(-buffer.size * np.dtype(buffer.dtype).itemsize // 64) * 64


def _steps(strides: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """Return strides, zero along axes of length one, where they say nothing."""
    return tuple([s if n > 1 else 0 for s, n in zip(strides, shape, strict=True)])


def row_major_bytes(operand: Operand) -> tuple[int, ...]:
    """Return the strides of an array in row-major order, in bytes."""
    size, shape = np.dtype(operand.dtype).itemsize, operand.shape
    return _steps([size * math.prod(shape[k + 1 :]) for k in range(len(shape))], shape)


# ---- The call ----


class _Record(ctypes.Structure):
    """What the call is compared with and made of, as `kernels.ll` reads it."""

    _fields_ = (
        *[(name, ctypes.c_int64) for name in ("arguments", "results", "buffers", "memory", "flags")],
        *[(name, ctypes.c_void_p) for name in ("kernel", "float", "float64", "ndarray", "error", "not_implemented")],
        *[(name, ctypes.c_void_p) for name in ("operand_forms", "result_forms", "offsets", "extents")],
    )


class _Form(ctypes.Structure):
    """An operand or a result, as `kernels.ll` reads it."""

    _fields_ = (
        ("kind", ctypes.c_int64),
        ("dtype", ctypes.c_void_p),
        ("ndim", ctypes.c_int64),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
    )


class _Method(ctypes.Structure):
    """CPython's description of a builtin function."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("documentation", ctypes.c_char_p),
    )


class _Function:
    """A builtin function that runs a kernel, with all that it needs while it lives."""

    __slots__ = ("_kept", "call")

    def __init__(
        self, code: Code, extents: Sequence[int], lowered: Lowered, places: tuple[dict[Buffer, int], int]
    ) -> None:
        kernel, operands, results = lowered.kernel, lowered.operands, lowered.results
        work = [buffer for buffer in kernel.arguments if buffer.role == "work"]
        self._kept: list[Any] = [code]
        layouts = zip(operands, lowered.strides, strict=True)
        inputs = [self.form(int(not o.is_number), o.dtype, o.shape, s) for o, s in layouts]
        outputs = [self.form(2 if r.shape else int(r.is_float), r.dtype, r.shape, ()) for r in results]
        offsets = [places[0].get(buffer, 0) for buffer in work]
        flags = RELEASES * (steps_of(kernel.statements) >= LONG)
        flags |= MAY_RAISE * any(symbol.startswith(SPECIAL) for symbol in symbols_of(kernel))
        record = _Record(
            len(operands), len(results), len(work), places[1], flags,
            code.address, id(float), id(np.float64), id(np.ndarray), id(FloatingPointError), id(NotImplemented),
            self.address((_Form * len(inputs))(*inputs)),
            self.address((_Form * len(outputs))(*outputs)),
            self.address((ctypes.c_int64 * len(offsets))(*offsets)),
            self.address((ctypes.c_int64 * len(extents))(*extents)),
        )  # fmt: skip
        method = _Method(b"kernel", _entry().address, FASTCALL, None)
        capsule = _new_capsule(self.address(record), None, None)
        self._kept += [method, capsule]
        self.call: Callable[..., Any] = _new_function(ctypes.addressof(method), capsule, None)

    def address(self, value: Any) -> int:
        """Keep memory, and return its address."""
        self._kept.append(value)
        return ctypes.addressof(value)

    def form(self, kind: int, dtype: str, shape: tuple[int, ...], strides: tuple[int, ...]) -> _Form:
        """Return the description of an operand or a result."""
        description = np.dtype(dtype)
        self._kept.append(description)
        axes = [self.address((ctypes.c_int64 * len(n))(*n)) for n in (shape, strides)]
        return _Form(kind, id(description), len(shape), *axes)


RELEASES, MAY_RAISE, FASTCALL = 1, 2, 0x80
"""Flags of a record, and of a builtin function."""
MOST_BUFFERS, MOST_RESULTS = 256, 128
"""The number of buffers and results that `kernels.ll` has room for."""

_new_function = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)(
    ("PyCFunction_NewEx", ctypes.pythonapi)
)
_new_capsule = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)(
    ("PyCapsule_New", ctypes.pythonapi)
)


@functools.cache
def _entry() -> Code:
    """Return the function that CPython calls."""
    text = Path(__file__).with_name("kernels.ll").read_text(encoding="utf-8")
    symbols = addresses(re.findall(r"^declare .*@(\w+)\(", text, re.MULTILINE))
    return compile_texts([text], "entry", symbols)
