"""Unsupported: what users read where tracing cannot go on, and what to write instead.

A function of NumPy's may have no rule, and a float would lose its derivative.  SciPy's compiled code takes the memory
of arrays, and its own message about a traced value (``argument 1 must be numpy.ndarray, not Traced``) helps nobody:
the frames between a traced value that is about to become a plain one (or an error) and the user's line lead to the
function that was called; a table has what to write in its place.

>>> print(str(unsupported_call("scipy.fft.next_fast_len", None)).partition(". Or")[0])
scipy.fft.next_fast_len has no rule on traced values:
The transforms of Fourier, cosine and sine are traced, in one axis and in several
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import difflib
import dis
import functools
import itertools
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from types import CodeType, FrameType, FunctionType, MethodType, TracebackType
from typing import Any

import numpy as np

from wengert.errors import (
    LIBRARIES,
    PACKAGE,
    SCIPY,
    Location,
    LostGradientError,
    RawLocation,
    UnsupportedError,
    WengertError,
    caller,
    is_installed,
    outside_packages,
    user_frame,
)
from wengert.primitives.table import CALLS
from wengert.program import Recordable
from wengert.tracing.callers import assigns
from wengert.tracing.context import threads

_STEPS = "Write the steps in NumPy: a loop of Runge-Kutta steps is traced; wg.scan and wg.while_loop write it short."
_EIGENVALUES = "Take eig, eigvals or eigh, or a function of the matrix: this form is not unique."
INSTEAD = {
    "scipy.cluster": "Take the clusters from stop_gradient(x), and compute with x from there.",
    "scipy.fft": "The transforms of Fourier, cosine and sine are traced, in one axis and in several.",
    "scipy.integrate": (
        "quad and simpson are traced; write other quadrature or the steps in NumPy: np.trapezoid, a sum over the nodes "
        "and weights of np.polynomial.legendre.leggauss, a loop of Runge-Kutta steps."
    ),
    "scipy.integrate.solve_ivp": _STEPS,
    "scipy.integrate.odeint": _STEPS,
    "scipy.integrate.ode": _STEPS,
    "scipy.interpolate": (
        "CubicSpline, PchipInterpolator, Akima1DInterpolator, BSpline, make_interp_spline, interp1d, splev and "
        "RegularGridInterpolator are traced; other interpolation is linear in the values: compute its weights from "
        "plain numbers, and multiply: weights @ values."
    ),
    "scipy.linalg": (
        "lu, cholesky, qr, rq, svd, eig, eigh and polar are traced, and expm, logm, sqrtm, signm and "
        "fractional_matrix_power."
    ),
    "scipy.linalg.funm": (
        "expm, logm, sqrtm, signm, cosm and their like are traced; another function f by its eigenvalues: "
        "w, V = np.linalg.eig(A); (V * f(w)) @ np.linalg.inv(V)."
    ),
    "scipy.linalg.ldl": "Take cholesky or lu; the system is solved by solve(A, b, assume_a='sym').",
    "scipy.linalg.schur": _EIGENVALUES,
    "scipy.linalg.rsf2csf": _EIGENVALUES,
    "scipy.linalg.hessenberg": _EIGENVALUES,
    "scipy.linalg.cdf2rdf": _EIGENVALUES,
    "scipy.linalg.qz": "Take np.linalg.eig(np.linalg.solve(B, A)), where B is regular.",
    "scipy.linalg.ordqz": "Take np.linalg.eig(np.linalg.solve(B, A)), where B is regular.",
    "scipy.linalg.qr_insert": "Factor the whole matrix anew: qr.",
    "scipy.linalg.qr_delete": "Factor the whole matrix anew: qr.",
    "scipy.linalg.qr_update": "Factor the whole matrix anew: qr.",
    "scipy.ndimage": (
        "Its linear filters, those by rank, map_coordinates, shift, zoom, rotate and affine_transform are traced; "
        "write others with np.roll and slices of padded arrays."
    ),
    "scipy.optimize": (
        "Write the iteration in NumPy (Newton's method in a while loop is traced), or solve for plain numbers and give "
        "the solution its derivative: wg.custom_derivative, by the implicit function theorem."
    ),
    "scipy.signal": "Convolutions, filters, savgol_filter, medfilt, welch, stft and resample_poly are traced.",
    "scipy.sparse": (
        "Matrices of coordinates, compressed rows and columns, and diagonals are traced, their products, sums and "
        "solutions (A @ x, spsolve, cg; splu inside of the function); or sum over entries: np.add.at(y, rows, values * "
        "x[columns])."
    ),
    "scipy.spatial": (
        "Distances are traced, and rotations with SciPy 1.17 or newer; take neighbors and hulls from stop_gradient(x), "
        "as positions, and compute with x[positions]."
    ),
    "scipy.stats": "The page of what is supported has the distributions and functions that are traced.",
}
"""What to write in the place of a function that has no rule, by its name or by the module that it is in."""


def unsupported_call(name: str, place: RawLocation | None, message: str = "") -> UnsupportedError:
    """Make the error for a function of SciPy that has no rule."""
    module = re.search(r"scipy\.[a-z]+", name)
    instead = INSTEAD.get(name) or ("" if module is None else INSTEAD.get(module[0], ""))
    short = name.rpartition(".")[2]
    my_name = "my_function" if not short.isidentifier() else f"my_{short}"
    happened = f"{name} has no rule on traced values{f' (it says: {message})' if message else ''}:"
    define = f"a function of your own that calls it: wg.define({my_name!r}, ...)."
    return UnsupportedError.at(
        place, happened, f"{instead} Or give a rule to {define}" if instead else f"Give a rule to {define}"
    )


def _is_scipy(frame: FrameType) -> bool:
    return SCIPY is not None and frame.f_code.co_filename.startswith(SCIPY)


def public_name(frames: list[FrameType]) -> str | None:
    """Return the name by which users know the function of SciPy that the outermost of some frames belongs to."""
    for frame in frames:
        module = frame.f_globals.get("__name__", "")
        parts = module.split(".")
        if not _is_scipy(frame) or len(parts) < 2 or parts[1].startswith("_"):
            continue  # wrappers of SciPy's own
        short = frame.f_code.co_qualname.partition(".")[0]
        public = list(itertools.takewhile(lambda part: not part.startswith("_"), parts))
        for depth in range(len(public), 1, -1):
            package = ".".join(public[:depth])
            if callable(getattr(sys.modules.get(package), short, None)):
                return f"{package}.{short}"
        return ".".join(parts[:2])
    return None


def _inwards(frame: FrameType | None) -> list[FrameType]:
    """Return the frames between a frame and the user's line that led to it, the outermost first."""
    frames: list[FrameType] = []
    while frame is not None and frame.f_code.co_filename.startswith(LIBRARIES):
        frames.append(frame)
        frame = frame.f_back
    return frames[::-1]


def scipy_call() -> str | None:
    """Return the function of SciPy that is running between the user's line and here; None if there is none."""
    inner = _inwards(sys._getframe(1))
    frames = [frame for frame in inner if not frame.f_code.co_filename.startswith(PACKAGE)]
    if frames:
        return public_name(frames)
    return compiled_call(inner[0].f_back) if inner and inner[0].f_back is not None else None


_HOMES = {"SuperLU": "scipy.sparse.linalg"}
"""Where compiled classes are from that do not say so."""


def compiled_call(frame: FrameType, offset: int | None = None) -> str | None:
    """Return the name of the compiled function or class of SciPy that a line calls; None if it calls something else."""
    written = _function_written(frame.f_code, frame.f_lasti if offset is None else offset)
    if written is None:
        return None
    if re.fullmatch(r"[\w.]+", written) is None:
        return written if "scipy." in written and len(written) < 60 else None
    called = _named(written, frame)
    module = _home_of(called)
    if not module.startswith("scipy.") or isinstance(called, FunctionType):
        return None
    public = itertools.takewhile(lambda part: not part.startswith("_"), module.split("."))
    return ".".join([*public, getattr(called, "__qualname__", written.rpartition(".")[2])])


def called(frame: FrameType) -> Any:
    """Return what a line calls by a dotted name; None if that is not known."""
    written = _function_written(frame.f_code, frame.f_lasti)
    return None if written is None else _named(written, frame)


@functools.lru_cache(maxsize=1024)
def _function_written(code: CodeType, offset: int) -> str | None:
    """Return the function that a line calls, as it is written there; None if the line calls nothing."""
    location = Location.of((code, offset))
    node = None if location is None else location.expression
    return ast.unparse(node.func) if isinstance(node, ast.Call) else None


def _named(written: str, frame: FrameType) -> Any:
    """Return the value of a dotted name in a frame; None if it has none."""
    first, *names = written.split(".")
    value: Any = frame.f_locals.get(first, frame.f_globals.get(first, vars(builtins).get(first)))
    for name in names:
        value = None if issubclass(type(value), Recordable) else getattr(value, name, None)
    return value


def _home_of(called: Any) -> str:
    """Return the module of a function; of a method of a compiled object, that of the object's class."""
    owner = type(getattr(called, "__self__", None))
    return getattr(called, "__module__", None) or _HOMES.get(owner.__name__, owner.__module__)


def entries(traceback: TracebackType | None) -> Iterator[tuple[FrameType, int]]:
    """Yield the frames of a traceback, each with the place that it has come to."""
    while traceback is not None:
        yield traceback.tb_frame, traceback.tb_lasti
        traceback = traceback.tb_next


_CYTHON = (".pyx", ".pxd", ".pxi", "<stringsource>", "View.MemoryView")
"""Where Cython says that a frame of compiled code is."""
_THEIRS = (TypeError, AttributeError, SystemError, BufferError)


_OBJECTS = (
    "what is called here does not take a traced value:",
    "Write it with functions that are traced; or give it stop_gradient(x), if no derivative is wanted.",
)
_REFUSALS = {
    "object arrays are not supported": _OBJECTS,
    "No matching signature": _OBJECTS,
    "incompatible function arguments": _OBJECTS,  # of functions that pybind11 has bound
    "unhashable type: 'Traced'": (
        "what is called here does not take a traced value, which is unhashable (a key of a cache, a dict or a set):",
        "Leave out the cache (functools.cache, lru_cache) of what is called; let a key be text or stop_gradient(x).",
    ),
    "NPY_ITER_REFS_OK": (
        "np.nditer does not take a traced array:",
        "Iterate over x.flat, np.ndenumerate(x) or np.ndindex(x.shape).",
    ),
    "required argument is not a float": (
        "the bytes of a traced value are asked for, which would lose its derivative:",
        "Leave it out, or take it of the result of the differentiated function.",
    ),
    "Error setting single item of array": (
        "a traced value is written into a plain array, which would lose its derivative:",
        "Make that array inside the function: np.zeros(...), np.array([...]) or np.copy(x).",
    ),
}
"""The fault and the remedy, by a part of the message that compiled code gives of a traced value."""


def is_of_compiled_code(error: Exception) -> bool:
    """Return whether compiled code has raised an error, which may be about the memory of an array that has none."""
    if isinstance(error, WengertError):
        return False
    *_, (frame, offset) = entries(error.__traceback__)
    return not dis.opname[frame.f_code.co_code[offset]].startswith(("RAISE", "RERAISE"))


def translated(error: Exception, holds_traced: Callable[[Any], bool]) -> WengertError | None:
    """Return the error to raise in the place of one that compiled code raised of a traced value; None to leave it."""
    hidden: BaseException | None = error
    while hidden is not None and not isinstance(hidden, WengertError):
        hidden = hidden.__cause__ or hidden.__context__
    refusal = next((texts for part, texts in _REFUSALS.items() if part in str(error)), None)
    theirs = isinstance(error, _THEIRS) or type(error).__name__ == "error" or repr(error) == "KeyError('O')"
    if isinstance(error, WengertError) or not (theirs or hidden or refusal):
        return None
    frames = [e for e in entries(error.__traceback__) if not e[0].f_code.co_filename.endswith(_CYTHON)]
    users = [k for k, (frame, _) in enumerate(frames) if not frame.f_code.co_filename.startswith(LIBRARIES)]
    if not users:
        return None
    frame, offset = frames[next((k for k in reversed(users) if not is_installed(frames[k][0].f_code)), users[-1])]
    inner = [f for f, _ in frames[users[-1] + 1 :]]
    name = public_name(inner)
    message = str(error).partition("\n")[0][:100]
    if isinstance(hidden, UnsupportedError) or (hidden is not None and type(error).__module__ == "builtins"):
        return hidden
    if name is not None:
        values = [value for f in inner if _is_scipy(f) for value in f.f_locals.values()]
        if not (hidden or "Traced" in message or any(map(holds_traced, [*values, *_closed_over(values)]))):
            return None
    else:
        name = None if inner else compiled_call(frame, offset)
    if name is not None:
        return unsupported_call(name, (frame.f_code, offset), message)
    if not any(map(holds_traced, frame.f_locals.values())):
        return None
    said = re.sub(r"'?Traced'?", "a traced value", message)
    compiled = None if inner or refusal not in (None, _OBJECTS) else _compiled_of_package(*frames[users[-1]])
    if compiled is not None and is_of_compiled_code(error):
        refusal = f"{compiled} is compiled, and does not take a traced value (it says: {said}):", GIVE_A_RULE
    if refusal is None and "Traced" in message and not message.startswith("'Traced' object has no attribute"):
        refusal = (
            f"what is called here does not take a traced value (it says: {said}):",
            "Write it with NumPy's functions; or give it stop_gradient(x), if no derivative is wanted.",
        )
    if refusal is None:
        return None
    code, lasti = frames[users[-1]][0].f_code, frames[users[-1]][1]
    return LostGradientError.at((frame.f_code, offset), *refusal, inner=None if code is frame.f_code else (code, lasti))


def _compiled_of_package(frame: FrameType, offset: int) -> str | None:
    """Return the name of the compiled function of an installed package that a line calls; None if it calls another."""
    written = _function_written(frame.f_code, offset)
    function = None if written is None else _named(written, frame)
    package = _home_of(function).partition(".")[0]
    is_another = not callable(function) or isinstance(function, (type, FunctionType, MethodType))
    return None if is_another or package in sys.stdlib_module_names or package in ("numpy", "wengert") else written


def _closed_over(functions: Sequence[Any]) -> Iterator[Any]:
    """Yield what functions of the user's have from around them."""
    for function in functions:
        for cell in getattr(function, "__closure__", None) or ():
            with contextlib.suppress(ValueError):  # an empty cell
                yield cell.cell_contents


# ---- An array that is more than its elements ----

_HARMLESS = frozenset({
    "__array_finalize__", "__array_wrap__", "__array_priority__", "__getitem__", "__new__", "__init__", "__del__",
    "__doc__", "__module__", "__dict__", "__weakref__", "__slots__", "__annotations__", "__repr__", "__str__",
    "__reduce__", "__setstate__", "__init_subclass__", "__class_getitem__", "__getattr__", "__getattribute__", "view",
})  # fmt: skip
"""What a subclass of ndarray may define and still compute as ndarray does: `np.memmap`, arrays that carry a name."""
_ELEMENTS = {
    "numpy.ma": "Compute with the elements and the mask: np.where(m.mask, 0.0, x * m.data).",
    "numpy": "Take np.asarray(M), and M @ x for the product of matrices.",
    "pandas": "Take its elements, s.to_numpy(), outside of the function or in front of the operation.",
}
"""How to come by plain arrays, by the beginning of a class's module."""


def _means_more(kind: type) -> bool:
    """Return whether arrays of a class mean more than their elements: masked, labelled, with units, matrices.

    >>> means_more(np.ma.MaskedArray), means_more(np.memmap), means_more(np.ndarray), means_more(list)
    (True, False, False, False)
    """
    if not issubclass(kind, np.ndarray):
        return getattr(kind, "__array_ufunc__", None) is not None and not issubclass(kind, Recordable)
    classes = kind.__mro__[: kind.__mro__.index(np.ndarray)]
    return any(hasattr(np.ndarray, name) and name not in _HARMLESS for part in classes for name in vars(part))


means_more: Callable[[Any], bool] = functools.cache(_means_more)


def _has_own_operations(kind: type) -> bool:
    """Return whether NumPy leaves binary operations with a class of operands to that: units, labelled arrays.

    >>> has_own_operations(np.polynomial.Polynomial), has_own_operations(np.ma.MaskedArray), has_own_operations(list)
    (True, False, False)
    """
    if issubclass(kind, (Recordable, np.generic)):
        return False
    if kind.__module__.startswith("scipy.sparse"):
        return True
    if issubclass(kind, np.ndarray):
        return kind.__array_ufunc__ is not np.ndarray.__array_ufunc__ and not kind.__module__.startswith("numpy")
    if hasattr(kind, "__array_ufunc__"):
        return True
    return bool(getattr(kind, "__array_priority__", 0.0) > 0.0)


has_own_operations: Callable[[Any], bool] = functools.cache(_has_own_operations)


@functools.cache
def which_means_more(kinds: tuple[type, ...]) -> type | None:
    """Return the first of some classes whose arrays mean more than their elements; None if there is none."""
    return next(filter(means_more, kinds), None)


def refuse_kind(kind: type) -> UnsupportedError:
    """Make the error for an array that means more than its elements where these alone would be used."""
    name = f"{kind.__module__.removesuffix('.core').removesuffix('.matrixlib.defmatrix')}.{kind.__qualname__}"
    fits = (text for module, text in _ELEMENTS.items() if f"{kind.__module__}.".startswith(f"{module}."))
    return UnsupportedError.at_caller(
        f"a {name} meets a traced value, and what it means beyond its elements would be lost:",
        next(fits, "Take its elements: np.asarray(a), or a.value in the units that you want."),
    )


# ---- A float that would lose its derivative ----

_IN_NUMPY = {
    "acos": "np.arccos",
    "acosh": "np.arccosh",
    "asin": "np.arcsin",
    "asinh": "np.arcsinh",
    "atan": "np.arctan",
    "atan2": "np.arctan2",
    "atanh": "np.arctanh",
    "comb": "scipy.special.comb",
    "dist": "np.linalg.norm",
    "erf": "scipy.special.erf",
    "erfc": "scipy.special.erfc",
    "fabs": "np.abs",
    "fmean": "np.mean",
    "factorial": "scipy.special.factorial",
    "fsum": "np.sum",
    "gamma": "scipy.special.gamma",
    "lgamma": "scipy.special.gammaln",
    "phase": "np.angle",
    "perm": "scipy.special.perm",
    "polar": "np.abs and np.angle",
    "pow": "np.power",
    "pstdev": "np.std",
    "pvariance": "np.var",
    "stdev": "np.std with ddof=1",
    "sumprod": "np.dot",
    "ulp": "np.spacing",
    "variance": "np.var with ddof=1",
}
"""What NumPy and SciPy call functions of the modules math, cmath and statistics."""
_SCALED = frozenset(["normal", "uniform", "gauss", "laplace", "logistic", "gumbel", "exponential", "rayleigh"])
"""Distributions whose parameters move and stretch what is drawn."""


_DEFAULT = "a traced value is asked to become a plain float, which would lose its derivative:"
_AS_IT_IS = "Leave it as it is: traced scalars take part in arithmetic and NumPy functions."


def lost(happened: str = _DEFAULT, instead: str = "") -> LostGradientError | UnsupportedError:
    """Make the error for a traced value that is asked to become a plain one, with what to write in the user's line.

    Where it is a function of SciPy that asks, that is what has no rule.
    """
    foreign = scipy_call()
    if foreign is not None:
        return unsupported_call(foreign, caller())
    frame = user_frame(sys._getframe(1))
    if frame is None:
        return LostGradientError.at(None, happened, instead or _AS_IT_IS)
    place = (frame.f_code, frame.f_lasti)
    user = outside_packages(frame)
    if user is None:  # the differentiated function is in a package
        return LostGradientError.at(place, happened, GIVE_A_RULE)
    if "site-packages" in frame.f_code.co_filename:
        instead = ""
    return LostGradientError.at(place, happened, _instead_of(user, instead or _otherwise(user, frame)))


GIVE_A_RULE = (
    "Give that call a derivative: make it in a function of your own under wg.custom_derivative; or give it "
    "stop_gradient(x), if no derivative is wanted."
)
"""What to do about a line of a package, which is not the user's to edit."""


def _otherwise(user: FrameType, frame: FrameType) -> str:
    """Return what to do about a line that calls a package's code, compiled or not, or asks for plain numbers itself."""
    function = called(frame) if user is frame else None
    is_compiled = (
        callable(function) and not isinstance(function, (type, FunctionType)) and _home_of(function) != "builtins"
    )
    return GIVE_A_RULE if user is not frame or is_compiled else _AS_IT_IS


def _instead_of(frame: FrameType, otherwise: str) -> str:
    """Return what to write in the place of a user's line that asks for plain numbers, by the objects that it names."""
    location = Location.of((frame.f_code, frame.f_lasti))
    segment = "" if location is None else location.segment
    for word in re.findall(r"[A-Za-z_][\w.]*", segment):
        called, written = _named(word, frame), word
        home, name = _home_of(called), getattr(called, "__name__", "")
        if home in ("math", "cmath", "statistics"):
            spelled = _IN_NUMPY.get(name, f"np.{name}")
            whose = "SciPy's" if spelled.startswith("scipy") else "NumPy's"
            return f"Write {spelled} instead of {written}: {whose} functions are traced, those of {home} are not."
        if home in ("random", "numpy.random") or home.startswith("numpy.random."):
            if name in _SCALED:
                return "Draw from the standard distribution and scale: loc + scale * rng.standard_normal(size)."
            if callable(called) and not isinstance(called, type):
                return (
                    f"What {word} draws does not move with its parameters: give it stop_gradient(x), and differentiate "
                    "an expectation (the log of the probability times the value); loc and scale can stand outside."
                )
        if isinstance(called, type) and issubclass(called, (float, complex, np.inexact)):
            parentheses = "(...)" if f"{word}(" in segment else ""
            return f"Leave out {word}{parentheses}: a traced scalar can be used wherever a float can."
    return _INTO_ANOTHER if assigns(frame) or re.search(r"\.(fill|put)\(", segment) else otherwise


_INTO_ANOTHER = (
    "Others may see that array: make that array inside the function, y = np.array(y), and write y[i] = v into it; of a "
    "list, write np.array([...])."
)


def written_into_plain() -> LostGradientError | UnsupportedError:
    """Make the error for a traced result that is written into a plain array which more holds than variables."""
    return lost(
        "a traced value is written into a plain array, which would lose its derivative:",
        "Write the operation out, a = a + b instead of a += b, without out=; or make the array inside the function, "
        "a = np.array(a).",
    )


class Text(str):
    """What a traced value reads as: text for people, which is not made a number again while a trace is open.

    What is cut out of it, or put together of it, is such text, too.

    >>> Text("0.5") == "0.5", float(Text("0.5")) + 1, type(Text(" 0.5 ").strip()).__name__
    (True, 1.5, 'Text')
    """

    __slots__ = ()

    def _refuse(self) -> None:
        if threads.context.tapes:
            frame = sys._getframe(1)
            while frame.f_back is not None and (
                _reads_numbers(frame) or frame.f_globals.get("__name__", "").startswith("wengert.")
            ):
                frame = frame.f_back
            raise LostGradientError.at(
                (frame.f_code, frame.f_lasti),
                "the text of a traced value is made a number again, which would lose its derivative:",
                "Use the value itself; or write stop_gradient(x) where a constant is meant.",
            )

    def __float__(self) -> float:
        self._refuse()
        return float(str.__str__(self))

    def __int__(self) -> int:
        self._refuse()
        return int(str.__str__(self))

    def __complex__(self) -> complex:
        self._refuse()
        return complex(str.__str__(self))

    def __str__(self) -> str:
        return self

    def __radd__(self, other: str) -> str:
        return Text(str.__add__(other, self))

    def startswith(self, *args: Any) -> bool:
        if _reads_numbers(sys._getframe(1)):  # json.loads asks so for the mark of an encoding
            self._refuse()
        return super().startswith(*args)

    def __reduce__(self) -> Any:
        return str, (str.__str__(self),)


def _reads_numbers(frame: FrameType) -> bool:
    """Return whether it is a module of Python that asks, which makes numbers of text."""
    return frame.f_globals.get("__name__", "").partition(".")[0] in ("ast", "json")


def _of_text(method: Callable[..., Any]) -> Callable[..., Any]:
    """Make a method of text whose results are again what a traced value reads as."""

    @functools.wraps(method)
    def call(self: Text, *args: Any, **kwargs: Any) -> Any:
        if _reads_numbers(sys._getframe(1)):
            self._refuse()
        result = method(self, *args, **kwargs)
        return Text(result) if isinstance(result, str) else type(result)(map(Text, result))

    return call


for _name in (
    "__add__", "__format__", "__getitem__", "__mod__", "strip", "lstrip", "rstrip", "replace", "removeprefix",
    "removesuffix", "lower", "upper", "ljust", "rjust", "center", "zfill", "partition", "rpartition", "split",
    "rsplit", "splitlines",
):  # fmt: skip
    setattr(Text, _name, _of_text(getattr(str, _name)))


# ---- A function of NumPy's that has no rule ----


def unsupported(name: str) -> UnsupportedError:
    """Make the error for a function without a rule: it names the nearest supported ones and how to add one."""
    names = sorted({f.__name__ for f in CALLS if hasattr(f, "__name__")})
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.7)
    nearest = f"The nearest supported are {', '.join(map(_spelled, near))}; or add" if near else "Add"
    short = name.partition(".")[0].partition("(")[0]
    function = _spelled(short)
    return UnsupportedError.at_caller(
        f"{function}{name.removeprefix(short)} has no rule on traced values:",
        f"{nearest} a rule: wg.define({'my_' + short!r}, {function}, lambda y, x: <dy/dx>, replaces={function}).",
    )


def _spelled(name: str) -> str:
    """Write the name of a function with the module that users call it from."""
    for module in ("numpy", "numpy.linalg", "numpy.fft", "scipy.special", "scipy.linalg"):
        if hasattr(sys.modules.get(module), name):
            return f"{module.replace('numpy', 'np')}.{name}"
    return f"np.{name}"
