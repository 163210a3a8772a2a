"""Kernels: a plan as one function that Python calls with arrays.

It is a builtin function made of machine code, for one layout of the arguments: their shapes and strides.  It makes the
result arrays and the arena, goes through the commands (`wengert.compilation.native.sequences`), without the
interpreter's lock if they take long, and raises FloatingPointError where NumPy would have warned.  An `ArrayKernel` has
such a function for each layout that it meets; where there are too many, or an argument is of no layout that machine
code reads, it copies.

>>> import numpy as np
>>> from wengert.compilation.native.layout import fits
>>> from wengert.compilation.native.plans import Operand, Plan, Result
>>> def square(op, x):
...     return [op("multiply", x, x)]
>>> if fits():
...     kernel = ArrayKernel("k", Plan.of(square, [Operand((2, 3), "d")], [Result((2, 3), "d", False)]))
...     assert np.array_equal(kernel(np.ones((3, 2)).T)[0], np.ones((2, 3)))
"""

from __future__ import annotations

import ctypes
import functools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wengert.compilation.native.engine import Compiled as Code
from wengert.compilation.native.engine import assembly, compile_texts
from wengert.compilation.native.layout import addresses
from wengert.compilation.native.lowering import NoLoweringError
from wengert.compilation.native.lowerings import Lowerings
from wengert.compilation.native.plans import Lowered, Plan, steps_along
from wengert.compilation.native.sequences import code_of

LAYOUTS = 4
"""The number of layouts of arguments for which a kernel has code; arguments of any other are copied."""
LONG = 20_000
"""The number of steps of nests from which the interpreter's lock is released."""


class ArrayKernel:
    """A function of arrays that runs a plan, compiled for each layout of them.

    With `lowerings`, those of the branch, its pieces have been lowered.

    Attributes
    ----------
    call
        The function for the first layout: it returns NotImplemented for any other.
    """

    __slots__ = ("_calm", "_compiled", "_layouts", "_operands", "_optimize", "_plan", "call", "name")

    def __init__(self, name: str, plan: Plan, optimize: bool = True, lowerings: Lowerings | None = None) -> None:
        self.name, self._plan, self._optimize = name, plan, optimize
        if plan.operands + len(plan.results) > MOST_BUFFERS or len(plan.results) > MOST_RESULTS:
            raise NoLoweringError("too many arrays")
        self._operands = plan.values[: plan.operands]
        self._calm: ArrayKernel | None = None
        self._layouts: dict[Any, Compiled] = {}
        self._compiled = self._for(plan.by_rows, lowerings)
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
        if self._calm is None:
            self._calm = ArrayKernel(self.name, self._plan, optimize=False)
        kernel, result = self._calm, self._calm(*args)  # which may raise: then it is made for the next call
        self._optimize, self._layouts, self._compiled, self.call = (
            False, kernel._layouts, kernel._compiled, kernel.call,
        )  # fmt: skip
        return result

    def _for(self, strides: tuple[Any, ...], lowerings: Lowerings | None = None) -> Compiled:
        """Return the code for a layout."""
        if strides not in self._layouts:
            if lowerings is None:
                lowerings = Lowerings(self._optimize)
                lowerings.enter(self._plan, strides)
                lowerings.lower()
            self._layouts[strides] = compiled(lowerings.lowered(self._plan, strides))
        return self._layouts[strides]

    def _call(self, args: Sequence[Any]) -> tuple[Any, ...]:
        """Compute for arguments of another layout."""
        values, strides = [], []
        for operand, arg in zip(self._operands, args, strict=True):
            if operand.is_number:
                value: Any = np.dtype(operand.dtype).type(arg)
            else:
                value = np.asarray(arg)
                if type(arg) is not np.ndarray or value.dtype is not np.dtype(operand.dtype) or not value.flags.aligned:
                    value = np.array(value, operand.dtype, order="C")
            values.append(value)
            strides.append(steps_along(value.strides, operand.shape) if type(value) is np.ndarray else ())
        key = tuple(strides)
        if key in self._layouts or len(self._layouts) < LAYOUTS:
            try:
                return self._for(key).call(*values)  # type: ignore[no-any-return]
            except NoLoweringError:
                pass
        return self.call(*[np.array(v, order="C") if type(v) is np.ndarray else v for v in values])  # type: ignore[no-any-return]

    @property
    def pieces(self) -> int:
        """The number of kernels that it calls, and products."""
        return len(self._plan.pieces)

    @property
    def texts(self) -> list[str]:
        """The LLVM texts of the different kernels for the first layout."""
        return list(dict.fromkeys([family.shared.text for family in self._compiled.lowered.families]))

    def text(self, what: str) -> str:
        """Return the ``"loops"``, the ``"llvm"`` text or the ``"assembly"`` for the first layout."""
        lowered = self._compiled.lowered
        if what == "loops":
            memory = f"{lowered.memory:,} bytes of memory" if lowered.memory else "no memory"
            pieces = f", {len(self._plan.pieces):,} pieces" if len(self._plan.pieces) > 1 else ""
            return "\n".join([f"# {self.name}: {memory} beside its results{pieces}", *map(str, lowered.kernels)])
        return "\n\n".join(self.texts if what == "llvm" else [assembly(text, True) for text in self.texts])


class Compiled(NamedTuple):
    """A plan for one layout as a builtin function, what that needs while it lives, and the loops."""

    call: Callable[..., Any]
    function: _Function
    lowered: Lowered


def compiled(lowered: Lowered) -> Compiled:
    """Return a plan that was lowered as a builtin function."""
    function = _Function(lowered)
    return Compiled(function.call, function, lowered)


# ---- The call ----


class _Record(ctypes.Structure):
    """What the call is compared with and made of, as `kernels.ll` reads it."""

    _fields_ = (
        *[(name, ctypes.c_int64) for name in ("arguments", "results", "memory", "flags")],
        *[(name, ctypes.c_void_p) for name in ("kernel", "float", "float64", "ndarray", "error", "not_implemented")],
        *[(name, ctypes.c_void_p) for name in ("operand_forms", "result_forms", "commands")],
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

    def __init__(self, lowered: Lowered) -> None:
        plan = lowered.plan
        commands, kept = lowered.commands()
        code = code_of("wengert_sequence")
        self._kept: list[Any] = [commands, kept, code]
        operands = zip(plan.values[: plan.operands], lowered.strides, strict=True)
        inputs = [self.form(int(not o.is_number), o.type, o.shape, s) for o, s in operands]
        outputs = [self.form(2 if r.shape else int(r.is_float), np.dtype(r.dtype), r.shape) for _, r in plan.results]
        flags = RELEASES * (lowered.steps >= LONG) | MAY_RAISE * lowered.may_raise
        record = _Record(
            len(inputs), len(outputs), lowered.memory, flags,
            code.address, id(float), id(np.float64), id(np.ndarray), id(FloatingPointError), id(NotImplemented),
            self.address((_Form * len(inputs))(*inputs)),
            self.address((_Form * len(outputs))(*outputs)),
            commands.ctypes.data,
        )  # fmt: skip
        method = _Method(b"kernel", _entry().address, FASTCALL, None)
        capsule = _new_capsule(self.address(record), None, None)
        self._kept += [method, capsule]
        self.call: Callable[..., Any] = _new_function(ctypes.addressof(method), capsule, None)

    def address(self, value: Any) -> int:
        """Keep memory, and return its address."""
        self._kept.append(value)
        return ctypes.addressof(value)

    def form(self, kind: int, description: Any, shape: tuple[int, ...], strides: tuple[int, ...] = ()) -> _Form:
        """Return the description of an operand or a result, with its dtype or, for a scalar that is passed, type."""
        self._kept.append(description)
        axes = [self.address((ctypes.c_int64 * len(n))(*n)) for n in (shape, strides)]
        return _Form(kind, id(description), len(shape), *axes)


RELEASES, MAY_RAISE, FASTCALL = 1, 2, 0x80
"""Flags of a record, and of a builtin function."""
MOST_BUFFERS, MOST_RESULTS = 1023, 512
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
