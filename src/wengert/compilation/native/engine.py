"""Engine: the text of LLVM functions as machine code, by llvmlite, which is imported when it is first needed.

Straight-line code of small programs has been simplified before, so LLVM only selects instructions and registers; its
own passes, which take longer than all else, run on code with loops alone.

>>> text = "define i32 @answer() {\\n  ret i32 42\\n}"
>>> if is_available():
...     code = compile_texts([text], "answer")  # unloaded when it is forgotten
...     assert ctypes.CFUNCTYPE(ctypes.c_int)(code.address)() == 42
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
import platform
import re
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from wengert.compilation.native.files import files
from wengert.compilation.native.operations import PURE, SPECIAL
from wengert.compilation.native.threads import TEXT, address_of_count

VARIABLE = "WENGERT_NATIVE"
"""The environment variable that turns native code off (``0`` or ``off``), or says after how many calls it is made."""


@functools.cache
def calls_before() -> int | None:
    """Return after how many calls native code is made; 0 if it is turned off, None if that depends on their time."""
    text = os.environ.get(VARIABLE, "").strip().lower()
    if text in ("off", "false", "no"):
        return 0
    return int(text) if text.isdecimal() else None


@functools.cache
def is_expected() -> bool:
    """Return whether native code is made here if LLVM can be loaded, which takes a while."""
    here = sys.platform == "linux" and platform.machine() == "x86_64" and platform.python_implementation() == "CPython"
    return here and ctypes.sizeof(ctypes.c_void_p) == 8 and calls_before() != 0


@functools.cache
def is_available() -> bool:
    """Return whether native code can be made here: on x86-64 under Linux, unless the environment turns it off."""
    if not is_expected():
        return False
    try:
        _engine()
    except (ImportError, OSError, RuntimeError, AttributeError):
        return False
    return True


class Compiled:
    """Machine code, which lives as long as this object.

    Attributes
    ----------
    address
        The address of the exported function.
    """

    __slots__ = ("__weakref__", "_owner", "address")

    def __init__(self, address: int, owner: Any) -> None:
        self.address, self._owner = address, owner


_compiled: weakref.WeakValueDictionary[Any, Compiled] = weakref.WeakValueDictionary()
"""Machine code that is in use, by what it was made of: equal functions share it."""


class _Engine:
    """LLVM's compiler for this machine."""

    def __init__(self) -> None:
        import llvmlite
        import llvmlite.binding as llvm

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        llvm.initialize_native_asmparser()
        self.llvm = llvm
        self.target = llvm.Target.from_default_triple()
        self.options = {"cpu": llvm.get_host_cpu_name(), "features": llvm.get_host_cpu_features().flatten()}
        self.machine = self.target.create_target_machine(**self.options, opt=1, jit=True)
        self.lljit = llvm.create_lljit_compiler(self.machine)
        self.lock, self.numbers = threading.Lock(), itertools.count()
        features = llvm.get_host_cpu_features()
        self.lanes = [
            (letter, lanes)
            for letter, lanes, feature in (("d", 4, "avx2"), ("e", 8, "avx512f"))
            if features.get(feature)
        ]
        """The letters of vectors in the names of libmvec's functions, and how many doubles they have."""
        package = __name__.partition(".")[0]
        versions = getattr(sys.modules[package], "__version__", ""), llvm.llvm_version_info, llvmlite.__version__
        self.described = f"{package} {versions} {self.target.triple} {self.options}"
        """What machine code depends on beside the text that it is made of."""

    def machine_code(self, text: str, optimize: bool, vectorize: bool = True, quickly: bool = False) -> bytes:
        """Return LLVM text as an object file for this processor: that of an earlier process, if it was kept."""
        store = files()
        key = f"{self.described} {optimize} {vectorize} {quickly}\n{text}"
        code = None if store is None else store.load(key)
        if code is None:
            module = self.llvm.parse_assembly(text)
            if optimize:
                self.optimize(module, self.machine, vectorize, quickly)
            code = bytes(self.machine.emit_object(module))
            if store is not None:
                store.save(key, code)
        return code

    def optimized(self, text: str, vectorize: bool = True) -> str:
        """Return text with its loops optimized, and on vectors where that pays."""
        module = self.llvm.parse_assembly(self.for_vectors(text) if vectorize else text)
        self.optimize(module, self.machine, vectorize)
        return str(module)

    def for_vectors(self, text: str) -> str:
        """Return text in which the C library's functions have those of its vector library beside them.

        LLVM calls these where it puts a loop on vectors.  Those for exponentials raise an overflow at minus infinity,
        which is a mask in many programs: they get a number instead that is as good.
        """
        variants: list[str] = []
        for kind, name, operands in re.findall(r"^declare (double|float) @(\w+)\(([^)]*)\)", text, re.MULTILINE):
            letters = "v" * operands.count(kind)
            of_kind = [(letter, lanes * (1 if kind == "double" else 2)) for letter, lanes in self.lanes]
            names = [(lanes, f"_ZGV{letter}N{lanes}{letters}_{name}") for letter, lanes in of_kind]
            names = [(lanes, symbol) for lanes, symbol in names if _of_libmvec(symbol) is not None]
            if not names:
                continue
            attribute = ",".join([f"_ZGV_LLVM_N{lanes}{letters}_{name}({symbol})" for lanes, symbol in names])
            head = f"declare {kind} @{name}({operands})"
            text = text.replace(head, f'{head} "vector-function-abi-variant"="{attribute}"')
            for lanes, symbol in names:
                vector = f"<{lanes} x {kind}>"
                variants.append(f"declare {vector} @{symbol}({operands.replace(kind, vector)}) {PURE}")
            if name in _BOUNDED:
                text = text.replace(f"call {kind} @{name}(", f"call {kind} @bounded.{name}(")
                variants.append(_BOUNDED_FUNCTION.format(name=name, kind=kind, bound=_BOUNDED[name]))
        if not variants:
            return text
        symbols = re.findall(r"@(_ZGV\w+)\(<", "\n".join(variants))
        used = f"[{len(symbols)} x ptr] [{', '.join([f'ptr @{symbol}' for symbol in symbols])}]"
        variants.append(f'@llvm.compiler.used = appending global {used}, section "llvm.metadata"')
        if ("e", 8) in self.lanes:
            text = text.replace(' "probe-stack"', ' "prefer-vector-width"="512" "probe-stack"')
        return "\n".join([text, *variants])

    def optimize(self, module: Any, machine: Any, vectorize: bool = True, quickly: bool = False) -> None:
        """Run LLVM's passes on a module, for a machine.

        Without unrolling and interleaving of loops they, and what comes after them, take three fifths of the time.
        """
        options = self.llvm.create_pipeline_tuning_options(speed_level=1 if quickly else 2)
        options.loop_vectorization = vectorize
        if quickly:
            options.loop_unrolling = options.loop_interleaving = False
        builder = self.llvm.create_pass_builder(machine, options)
        builder.getModulePassManager().run(module, builder)


_BOUNDED: Mapping[str, float] = {"exp": -1000.0, "expm1": -100.0, "expf": -200.0, "expm1f": -100.0}
"""Functions that are constant below some argument, but for rounding."""
_BOUNDED_FUNCTION = """\
define internal {kind} @bounded.{name}({kind} %x) alwaysinline {{
  %below = fcmp olt {kind} %x, {bound:e}
  %argument = select i1 %below, {kind} {bound:e}, {kind} %x
  %result = call {kind} @{name}({kind} %argument)
  ret {kind} %result
}}"""


@functools.cache
def _of_libmvec(symbol: str) -> int | None:
    """Return the address of a vector function of the C library; None where there is none."""
    try:
        function = getattr(ctypes.CDLL("libmvec.so.1"), symbol, None)
    except OSError:
        return None
    return None if function is None else ctypes.cast(function, ctypes.c_void_p).value


@functools.cache
def _engine() -> _Engine:
    return _Engine()


def compile_texts(
    texts: Sequence[str],
    function: str,
    symbols: Mapping[str, int] | None = None,
    optimize: bool = False,
    vectorize: bool = True,
    quickly: bool = False,
) -> Compiled:
    """Compile LLVM texts, and return the machine code of one function; `symbols` are the addresses of what they call.

    Each text is a unit of its own, so that no optimization looks across them; LLVM's passes `optimize` the first.
    Where they `vectorize` loops, lanes that nobody reads may set the processor's flags.  What runs for a moment is
    better compiled `quickly`.
    """
    engine, symbols = _engine(), dict(symbols or {})
    key = tuple(texts), function, tuple(symbols.items()), optimize, vectorize, quickly
    with engine.lock:
        compiled = _compiled.get(key)
        if compiled is None:
            library = engine.llvm.JITLibraryBuilder().export_symbol(function)
            for k, text in enumerate(texts):
                with_passes = optimize and not k
                if with_passes and vectorize:
                    text = engine.for_vectors(text)
                    names = re.findall(r"@(_ZGV[de]N\w+)", text)
                    symbols |= {name: address for name in names if (address := _of_libmvec(name)) is not None}
                library.add_object_img(engine.machine_code(text, with_passes, vectorize, quickly))
            for name, address in symbols.items():
                library.import_symbol(name, address)
            tracker = library.link(engine.lljit, f"wengert{next(engine.numbers)}")
            compiled = _compiled[key] = Compiled(tracker[function], tracker)
    return compiled


def assembly(text: str, optimize: bool = False) -> str:
    """Return LLVM text as the assembly of this machine."""
    engine = _engine()
    with engine.lock:
        module = engine.llvm.parse_assembly(engine.optimized(text) if optimize else text)
        return str(engine.machine.emit_assembly(module))


def object_file(text: str, optimize: bool = False) -> bytes:
    """Return LLVM text as an object file for any processor of this machine's kind."""
    engine = _engine()
    with engine.lock:
        machine = engine.target.create_target_machine(opt=2, reloc="pic")
        module = engine.llvm.parse_assembly(text)
        module.triple, module.data_layout = machine.triple, str(machine.target_data)
        if optimize:
            engine.optimize(module, machine)
        return bytes(machine.emit_object(module))


@functools.cache
def address_of(symbol: str) -> int | None:
    """Return the address of a function of libm, of Python's C API or of SciPy's; None where there is none.

    >>> address_of("log") is not None, address_of("no_such_function"), address_of("scipy.special.erf") is not None
    (True, None, True)
    """
    if symbol.startswith(SPECIAL):
        return _special(symbol.removeprefix(SPECIAL))
    if symbol == "wengert_threads":
        return address_of_count()
    if symbol == "wengert_parallel":
        return _parallel().address
    for library in (ctypes.CDLL(None), ctypes.pythonapi):
        function = getattr(library, symbol, None)
        if function is not None:
            return ctypes.cast(function, ctypes.c_void_p).value
    return None


@functools.cache
def _parallel() -> Compiled:
    """Return the function that divides a nest among threads."""
    names = ("pthread_create", "pthread_join")
    return compile_texts([TEXT], "wengert_parallel", {name: address_of(name) or 0 for name in names})


def _special(name: str) -> int | None:
    """Return the address of a function of doubles of ``scipy.special``, which `cython_special` has in a capsule."""
    from scipy.special import cython_special

    pointer, text = ctypes.pythonapi.PyCapsule_GetPointer, ctypes.pythonapi.PyCapsule_GetName
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    text.restype, text.argtypes = ctypes.c_char_p, [ctypes.py_object]
    for key in (name, *[f"__pyx_fuse_{k}{name}" for k in range(3)]):
        capsule = cython_special.__pyx_capi__.get(key)
        signature = text(capsule) if capsule is not None else b""
        if re.fullmatch(rb"double \((double, )+int __pyx_skip_dispatch\)", signature):
            return int(pointer(capsule, signature))
    return None
