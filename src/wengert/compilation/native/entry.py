"""Entry: a kernel as a function that Python calls, made of machine code as well.

It is a builtin function (``METH_FASTCALL``).  It takes exact arrays of double precision of the recorded shapes,
row-major and aligned, and Python's and NumPy's floats; it reads their data where CPython and NumPy keep them, runs the
kernel, and returns new arrays and numbers.  For any other argument it returns `NotImplemented`, and so it does where
NumPy would have warned (the processor's flags say so: division by zero, overflow, an invalid operation), where the
kernel was left, and where a result is not finite: the caller then computes in Python.

The offsets are those of NumPy 2 and of CPython's header; `fits` compares them with what objects hold here, once.

>>> fits() or not is_available()
True
"""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert import trees
from wengert.compilation.branches import Tree
from wengert.compilation.native.engine import address_of, assembly, compile_texts, is_available
from wengert.compilation.native.llvm import ATTRIBUTES, symbols_of, write_declarations, write_kernel
from wengert.compilation.native.lowering import Lowered, NoLoweringError, Part, lower_tree
from wengert.compilation.native.operations import SPECIAL
from wengert.program.code import Fixed, ResultForm

Parameter = tuple[int, ...] | type
"""What is passed for an argument: an array of a shape, `float`, or `np.float64`."""

TYPE, VALUE = 8, 16
"""Offsets in an object: of its type, of the value of a float."""
DATA, NDIM, SHAPE, DTYPE, FLAGS = 16, 24, 32, 56, 64
"""Offsets in an array."""
CONTIGUOUS_ALIGNED = 0x101
FASTCALL = 0x80
NEW, SCALAR = 93, 60
"""Entries of NumPy's table of functions: `PyArray_New`, `PyArray_Scalar`."""
ALARMS = 0x0D
"""The processor's flags: invalid operation, division by zero, overflow."""

_PYTHON = (
    "Py_IncRef",
    "Py_DecRef",
    "PyErr_Clear",
    "PyErr_Occurred",
    "PyFloat_FromDouble",
    "PyTuple_New",
    "PyTuple_SetItem",
)
_DECLARED = """\
declare void @Py_IncRef(ptr)
declare void @Py_DecRef(ptr)
declare void @PyErr_Clear()
declare ptr @PyErr_Occurred()
declare ptr @PyFloat_FromDouble(double)
declare ptr @PyTuple_New(i64)
declare i32 @PyTuple_SetItem(ptr, i64, ptr)
declare ptr @PyArray_New(ptr, i32, ptr, i32, ptr, ptr, i32, i32, ptr)
declare ptr @PyArray_Scalar(ptr, ptr, ptr)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare double @llvm.fabs.f64(double)
declare i32 @kernel(ptr, ptr)"""


# ---- The layout of objects ----


def _word(address: int, kind: Any = ctypes.c_void_p) -> Any:
    return kind.from_address(address).value


def _table() -> int:
    """Return the address of NumPy's table of functions."""
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return int(pointer(np._core._multiarray_umath._ARRAY_API, None))  # type: ignore[attr-defined]


def addresses(symbols: Sequence[str]) -> dict[str, int]:
    """Return the addresses of functions of Python's, of NumPy's and of the C library's; of those that are there."""
    numpys = {"PyArray_NewFromDescr": NEW + 1, "PyArray_Scalar": SCALAR}
    pairs = {s: _word(_table() + 8 * numpys[s]) if s in numpys else address_of(s) for s in symbols}
    return {symbol: address for symbol, address in pairs.items() if address}


@functools.cache
def fits() -> bool:
    """Return whether objects and NumPy's table of functions are laid out as this module reads them."""
    if not is_available():
        return False
    try:
        return _layout_fits() and _functions_fit()
    except (AttributeError, ValueError, TypeError, ctypes.ArgumentError):
        return False


def _layout_fits() -> bool:
    for number in (3.25, np.float64(-0.5)):
        if _word(id(number) + TYPE) != id(type(number)) or _word(id(number) + VALUE, ctypes.c_double) != float(number):
            return False
    base = np.arange(24.0)
    frozen = base.copy()
    frozen.flags.writeable = False
    shifted = np.frombuffer(bytes(33), np.uint8)[1:].view(float) if np.little_endian else base
    samples = (base, base.reshape(2, 3, 4), base.reshape(4, 6).T, base[::2], frozen, shifted, np.array(1.5), base[:0])
    return all(map(_array_fits, samples))


def _array_fits(array: np.ndarray[Any, Any]) -> bool:
    start = id(array)
    flags = _word(start + FLAGS, ctypes.c_int)
    lengths = _word(start + SHAPE)
    return bool(
        _word(start + TYPE) == id(np.ndarray)
        and _word(start + DATA) == array.ctypes.data
        and _word(start + NDIM, ctypes.c_int) == array.ndim
        and tuple([_word(lengths + 8 * k, ctypes.c_ssize_t) for k in range(array.ndim)]) == array.shape
        and _word(start + DTYPE) == id(np.dtype(float))
        and (flags & 0x1, flags & 0x2, flags & 0x100, flags & 0x400)
        == (array.flags.c_contiguous, 2 * array.flags.f_contiguous, 0x100 * array.flags.aligned,
            0x400 * array.flags.writeable)
    )  # fmt: skip


def _functions_fit() -> bool:
    table = _table()
    entries = {2: np.ndarray, 3: np.dtype, 31: np.float64}
    if any(_word(table + 8 * k) != id(cls) for k, cls in entries.items()):
        return False
    version = ctypes.CFUNCTYPE(ctypes.c_uint)(_word(table))()
    if version >> 24 != 2:
        return False
    new = ctypes.PYFUNCTYPE(
        ctypes.py_object, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_ssize_t), ctypes.c_int,
        ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_void_p,
    )(_word(table + 8 * NEW))  # fmt: skip
    array = new(id(np.ndarray), 2, (ctypes.c_ssize_t * 2)(3, 5), 12, None, None, 0, 0, None)
    scalar = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)(
        _word(table + 8 * SCALAR)
    )
    number = scalar(ctypes.addressof(ctypes.c_double(2.5)), np.dtype(float), None)
    return (
        (type(array), array.shape, array.dtype, array.flags.carray) == (np.ndarray, (3, 5), np.dtype(float), True)
        and (type(number), float(number)) == (np.float64, 2.5)
        and all(address_of(symbol) for symbol in _PYTHON)
    )


# ---- The entry point ----


def native_code(tree: Tree, described: Sequence[Any], name: str) -> Native:
    """Return the native code of all branches of a function; raise NoLoweringError where there is none.

    Of each traced leaf of the arguments, `described` has the shape, strides and dtype of an array, or else its type.
    """
    if not fits():
        raise NoLoweringError("it is turned off, or not made for this machine")
    parameters: list[Parameter] = []
    for leaf in described:
        if isinstance(leaf, tuple):
            shape, strides, dtype = leaf
            array = np.lib.stride_tricks.as_strided(np.empty(0, dtype), shape, strides)
            if dtype.char != "d" or not array.flags.c_contiguous:
                raise NoLoweringError("an argument that is no row-major array of double precision")
            parameters.append(shape)
        elif leaf in (float, np.float64):
            parameters.append(leaf)
        else:
            raise NoLoweringError(f"an argument of the type {leaf.__name__}")
    try:
        return Native(lower_tree(tree, name), parameters)
    except RuntimeError as error:  # LLVM's, or too deep a recursion
        raise NoLoweringError(str(error)) from error


class Native:
    """A tree of branches as a builtin function.

    Attributes
    ----------
    call
        The function; it returns `NotImplemented` where the result is to be computed in Python.
    texts
        The LLVM text of the kernel, and that of the entry point.
    lowered
        The kernel, and the forms of results.
    """

    __slots__ = ("_kept", "call", "lowered", "texts")

    def __init__(self, lowered: Lowered, parameters: Sequence[Parameter]) -> None:
        kernel = lowered.kernel
        called = symbols_of(kernel)
        missing = [symbol for symbol in called if address_of(symbol) is None]
        if missing:
            raise NoLoweringError(f"no function {missing[0]}")
        self.lowered = lowered
        writer = _Entry(lowered, parameters)
        self.texts = "\n".join([write_declarations(kernel), write_kernel(kernel)]).strip(), writer.text()
        table = _table()
        symbols: dict[str, int] = {symbol: address_of(symbol) or 0 for symbol in (*_PYTHON, *called)}
        symbols["PyArray_New"], symbols["PyArray_Scalar"] = _word(table + 8 * NEW), _word(table + 8 * SCALAR)
        compiled = compile_texts(self.texts, "entry", symbols, kernel.has_nests)
        method = _Method(b"native", compiled.address, FASTCALL, None)
        self._kept = compiled, method, writer.objects
        self.call = self._rebuilt(_new_function(ctypes.addressof(method), _Kept(self._kept), None))

    def assembly(self) -> str:
        """Return the machine code of the kernel as text."""
        return assembly(self.texts[0], self.lowered.kernel.has_nests)

    def _rebuilt(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that builds trees of the leaves, if some branch returns any."""
        structures = [None if _is_flat(form) else form.structure for form, _ in self.lowered.forms]
        if not any(structures):
            return function

        def call(*args: Any) -> Any:
            result = function(*args)
            if result is NotImplemented:
                return result
            structure = structures[result[0]]
            return result[1] if structure is None else trees.unflatten(structure, result[1])

        return call


class _Kept:
    """What a builtin function needs while it lives; it is the function's ``__self__``."""

    __slots__ = ("_objects",)

    def __init__(self, objects: Any) -> None:
        self._objects = objects


class _Method(ctypes.Structure):
    """CPython's description of a builtin function."""

    _fields_ = (("name", ctypes.c_char_p), ("address", ctypes.c_void_p), ("flags", ctypes.c_int),
                ("documentation", ctypes.c_char_p))  # fmt: skip


_new_function = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)(
    ("PyCFunction_NewEx", ctypes.pythonapi)
)


def _is_flat(form: ResultForm) -> bool:
    """Return whether a result is one leaf, or a tuple of leaves."""
    structure = form.structure
    return bool(structure.is_leaf() or (structure.type is tuple and all(c.is_leaf() for c in structure.children())))


class _Entry:
    """Writes the entry point: checks of the arguments, the call of the kernel, and the results of each branch."""

    def __init__(self, lowered: Lowered, parameters: Sequence[Parameter]) -> None:
        self.lowered, self.parameters = lowered, parameters
        self.rebuilds = not all(_is_flat(form) for form, _ in lowered.forms)
        self.objects: list[Any] = [np.dtype(float)]
        """Objects that the code has the addresses of."""
        self.globals: list[str] = []
        self.lines: list[str] = []
        self.count = 0

    def text(self) -> str:
        """Return the text."""
        count, size = len(self.parameters), self.lowered.kernel.results.size
        self.write(f"%arguments = alloca [{max(count, 1)} x ptr]")
        self.write(f"%y = alloca [{max(size, 1)} x double], align 64")
        self.write("%csr = alloca i32")
        self.demand(f"icmp eq i64 %count, {count}")
        for k, parameter in enumerate(self.parameters):
            self.argument(k, parameter)
        self.flags("stmxcsr $0", "=*m")
        self.write("%before = load i32, ptr %csr")
        self.write("%cleared = and i32 %before, -64")
        self.write("store i32 %cleared, ptr %csr")
        self.flags("ldmxcsr $0", "*m")
        self.write("%branch = call i32 @kernel(ptr %arguments, ptr %y)")
        if any(symbol.startswith(SPECIAL) for symbol in symbols_of(self.lowered.kernel)):
            self.write("%raised = call ptr @PyErr_Occurred()")  # SciPy's functions may, if the user asks them to
            self.write("call void @PyErr_Clear()")
            self.demand("icmp eq ptr %raised, null")
        self.flags("stmxcsr $0", "=*m")
        self.write("%after = load i32, ptr %csr")
        self.write(f"%alarms = and i32 %after, {ALARMS}")
        self.demand("icmp eq i32 %alarms, 0")
        cases = " ".join([f"i32 {k}, label %branch{k}" for k in range(len(self.lowered.forms))])
        self.write(f"switch i32 %branch, label %miss [ {cases} ]")
        for k, (form, parts) in enumerate(self.lowered.forms):
            self.lines.append(f"branch{k}:")
            self.result(k, form, parts)
        self.lines += ["miss:", f"  call void @Py_IncRef({self.object(NotImplemented)})"]
        self.lines += [f"  ret {self.object(NotImplemented)}"]
        head = f"define ptr @entry(ptr %self, ptr %args, i64 %count) {ATTRIBUTES} {{"
        return "\n".join([_DECLARED, *self.globals, head, *self.lines, "}"])

    def write(self, text: str) -> None:
        """Write one instruction."""
        self.lines.append(f"  {text}")

    def new(self, text: str) -> str:
        """Write an instruction with a result, and return its name."""
        self.count += 1
        self.write(f"%v{self.count} = {text}")
        return f"%v{self.count}"

    def object(self, value: Any) -> str:
        """Return the address of an object, which is kept."""
        self.objects.append(value)
        return f"ptr inttoptr (i64 {id(value)} to ptr)"

    def demand(self, condition: str) -> None:
        """Write that the code is left unless a condition holds."""
        test = self.new(condition)
        self.write(f"br i1 {test}, label %go{self.count}, label %miss")
        self.lines.append(f"go{self.count}:")

    def field(self, start: str, offset: int, kind: str) -> str:
        """Write the reading of a field of an object."""
        address = self.new(f"getelementptr i8, ptr {start}, i64 {offset}")
        return self.new(f"load {kind}, ptr {address}")

    def flags(self, instruction: str, constraint: str) -> None:
        """Write the instruction that reads or sets the processor's flags; no computation passes it."""
        self.write(f'call void asm sideeffect "{instruction}", "{constraint},~{{memory}}"(ptr elementtype(i32) %csr)')

    # -- Arguments --

    def argument(self, k: int, parameter: Parameter) -> None:
        """Write the checks of an argument, and where its data are."""
        value = self.field("%args", 8 * k, "ptr")
        expected = np.ndarray if isinstance(parameter, tuple) else parameter
        self.demand(f"icmp eq {self.object(expected)}, {self.field(value, TYPE, 'ptr')}")
        if isinstance(parameter, tuple):
            self.demand(f"icmp eq {self.object(np.dtype(float))}, {self.field(value, DTYPE, 'ptr')}")
            self.demand(f"icmp eq i32 {self.field(value, NDIM, 'i32')}, {len(parameter)}")
            flags = self.new(f"and i32 {self.field(value, FLAGS, 'i32')}, {CONTIGUOUS_ALIGNED}")
            self.demand(f"icmp eq i32 {flags}, {CONTIGUOUS_ALIGNED}")
            if parameter:
                lengths = self.field(value, SHAPE, "ptr")
                for axis, length in enumerate(parameter):
                    self.demand(f"icmp eq i64 {self.field(lengths, 8 * axis, 'i64')}, {length}")
            data = self.field(value, DATA, "ptr")
        else:
            data = self.new(f"getelementptr i8, ptr {value}, i64 {VALUE}")
        self.write(f"store ptr {data}, ptr {self.new(f'getelementptr ptr, ptr %arguments, i64 {k}')}")

    # -- Results --

    def result(self, branch: int, form: ResultForm, parts: Sequence[Part]) -> None:
        """Write the result of a branch: a leaf, a tuple, or the number of the branch and the leaves of its tree."""
        self.demand_finite(branch, sum(math.prod(part.shape) for part in parts if part.has_data))
        if form.structure.is_leaf() and not self.rebuilds:
            self.write(f"ret ptr {self.leaf(branch, 0, parts[0])}")
            return
        if self.rebuilds:
            outer = self.new("call ptr @PyTuple_New(i64 2)")
            self.unless_null(outer, None)
            self.write(f"call void @Py_IncRef({self.object(branch)})")
            self.write(f"call i32 @PyTuple_SetItem(ptr {outer}, i64 0, {self.object(branch)})")
            if form.structure.is_leaf():
                leaf = self.leaf(branch, 0, parts[0], outer)
                self.write(f"call i32 @PyTuple_SetItem(ptr {outer}, i64 1, ptr {leaf})")
            else:
                inner = self.new(f"call ptr @PyTuple_New(i64 {len(parts)})")
                self.unless_null(inner, outer)
                self.write(f"call i32 @PyTuple_SetItem(ptr {outer}, i64 1, ptr {inner})")
                self.fill(branch, parts, inner, outer)
            self.write(f"ret ptr {outer}")
            return
        made = self.new(f"call ptr @PyTuple_New(i64 {len(parts)})")
        self.unless_null(made, None)
        self.fill(branch, parts, made, made)
        self.write(f"ret ptr {made}")

    def fill(self, branch: int, parts: Sequence[Part], items: str, owner: str) -> None:
        """Write the items of a tuple."""
        for k, part in enumerate(parts):
            leaf = self.leaf(branch, k, part, owner)
            self.write(f"call i32 @PyTuple_SetItem(ptr {items}, i64 {k}, ptr {leaf})")

    def demand_finite(self, branch: int, size: int) -> None:
        """Write that the code is left if an element of the results is not finite: Python knows whether it is quiet."""
        if not size:
            return
        loop, done = f"finite{branch}", f"done{branch}"
        self.write(f"br label %{loop}.before")
        self.lines.append(f"{loop}.before:")
        self.write(f"br label %{loop}")
        self.lines.append(f"{loop}:")
        self.write(f"%{loop}.k = phi i64 [ 0, %{loop}.before ], [ %{loop}.next, %{loop}.more ]")
        value = self.new(f"load double, ptr {self.new(f'getelementptr double, ptr %y, i64 %{loop}.k')}")
        size_of = self.new(f"call double @llvm.fabs.f64(double {value})")
        test = self.new(f"fcmp olt double {size_of}, 0x7FF0000000000000")
        self.write(f"br i1 {test}, label %{loop}.more, label %miss")
        self.lines.append(f"{loop}.more:")
        self.write(f"%{loop}.next = add i64 %{loop}.k, 1")
        more = self.new(f"icmp ult i64 %{loop}.next, {size}")
        self.write(f"br i1 {more}, label %{loop}, label %{done}")
        self.lines.append(f"{done}:")

    def leaf(self, branch: int, k: int, part: Part, owner: str | None = None) -> str:
        """Write how one leaf is made, and return its name."""
        if not part.has_data:
            value = self.object(part.leaf.value)  # type: ignore[union-attr]
            self.write(f"call void @Py_IncRef({value})")
            return value.removeprefix("ptr ")
        data = self.new(f"getelementptr double, ptr %y, i64 {part.offset}")
        kind = "array" if isinstance(part.leaf, Fixed) else part.leaf.kind
        if kind == "float":
            made = self.new(f"call ptr @PyFloat_FromDouble(double {self.new(f'load double, ptr {data}')})")
        elif kind == "scalar":
            made = self.new(f"call ptr @PyArray_Scalar(ptr {data}, {self.object(np.dtype(float))}, ptr null)")
        else:
            shape = ", ".join([f"i64 {length}" for length in part.shape])
            name = f"@shape{branch}.{k}"
            self.globals.append(f"{name} = internal constant [{len(part.shape)} x i64] [{shape}]")
            made = self.new(
                f"call ptr @PyArray_New({self.object(np.ndarray)}, i32 {len(part.shape)}, ptr {name}, i32 12, "
                "ptr null, ptr null, i32 0, i32 0, ptr null)"
            )
        self.unless_null(made, owner)
        if kind not in ("float", "scalar"):
            target = self.field(made, DATA, "ptr")
            size = 8 * math.prod(part.shape)
            self.write(f"call void @llvm.memcpy.p0.p0.i64(ptr {target}, ptr {data}, i64 {size}, i1 false)")
        return made

    def unless_null(self, made: str, owner: str | None) -> None:
        """Write that the call fails, with the error that is set, if memory is exhausted."""
        test = self.new(f"icmp ne ptr {made}, null")
        k = self.count
        self.write(f"br i1 {test}, label %made{k}, label %failed{k}")
        self.lines.append(f"failed{k}:")
        if owner is not None:
            self.write(f"call void @Py_DecRef(ptr {owner})")
        self.write("ret ptr null")
        self.lines.append(f"made{k}:")
