"""The exceptions and warnings of wengert in one tree, and the places in the user's code that they name.

::

    WengertError
     |-- ArgumentError    (TypeError)            an argument of the function cannot be differentiated
     |-- ResultError      (TypeError)            the result of the function cannot be differentiated
     |-- UnsupportedError (NotImplementedError)  a function that has no rule was called on a traced value
     |-- LostGradientError(TypeError)            a traced value was about to become a plain number
     |-- EscapedError     (RuntimeError)         a traced value was used after its trace had ended
     |-- ChangedError     (RuntimeError)         a plain array was changed in place that the derivative reads
     |-- ShapeError       (ValueError)           shapes that do not go together
     |    `-- AxisError   (numpy's, IndexError)  an axis that the array does not have
     |-- PatternError     (ValueError)           a pattern of sparsity that lacks an entry of the matrix
     |-- SizeError        (MemoryError)          a dense result that is too large for this machine's memory
     |-- MatrixError      (LinAlgError)          NumPy refuses a matrix: singular, not square, not positive definite
     |-- DegenerateError  (ArithmeticError)      no derivative: it depends on vectors that are not unique
     |-- BranchError      (RuntimeError)         a Program was evaluated where its function takes another branch
     |-- ImpureError      (RuntimeError)         a jitted function draws random numbers, or writes outside of itself
     |-- ProgramError     (ValueError)           a Program that is not well formed
     |-- DerivativeError  (AssertionError)       derivatives that were checked and found wrong
     |-- PickleError      (PickleError)          something cannot be pickled, or cannot be read back here
     |-- ExecutorError    (RuntimeError)         the workers of an executor cannot do what they are given
     |-- FormulaError     (ValueError)           a formula that was typed cannot be read
     |-- ExportError      (NotImplementedError)  a jitted function has something that exported code cannot compute
     `-- LoadError        (ImportError)          a file or function named on the command line cannot be found

    DomainWarning (RuntimeWarning)               a function was evaluated outside its domain
    DecisionWarning (RuntimeWarning)             the result depends on an argument through comparisons alone
    CompressionWarning (RuntimeWarning)          a sparse Jacobian saves nothing, or stands for an array too large
    JitWarning    (RuntimeWarning)               a jitted function prints, or takes too many branches to keep them all

Every message has three parts: the fault with its value, the line of the user's code, and the remedy.  Each class is
also the built-in exception that a NumPy user would expect in its place.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import linecache
import os
import pickle
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any, ClassVar, Self

import numpy as np

PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_SCIPY = importlib.util.find_spec("scipy")  # found, not imported
LIBRARIES = (PACKAGE,) + tuple(
    os.path.dirname(os.path.abspath(file)) + os.sep
    for file in (np.__file__, None if _SCIPY is None else _SCIPY.origin)
    if file is not None
)

SCIPY = None if _SCIPY is None or _SCIPY.origin is None else os.path.dirname(os.path.abspath(_SCIPY.origin)) + os.sep
"""The folder of SciPy's modules."""
_parsing = threading.RLock()
"""Held while source is parsed: CPython 3.11 counts the depth of all threads' trees in one place."""


WIDEST = 120
"""A longer line of source is cut in an excerpt."""


@dataclass(frozen=True, slots=True)
class Location:
    """A place in the user's source code: file, line, and the columns of the expression if they are known.

    It is pickled with the text of the line, which the reading process may not have.
    """

    file: str
    line: int
    columns: tuple[int, int] | None = None
    _text: str = field(default="", repr=False, compare=False)

    @classmethod
    def of(cls, raw: RawLocation | None) -> Location | None:
        """Resolve a code object and instruction offset; None where it lies inside wengert itself."""
        if raw is None or isinstance(raw, Location):
            return raw
        code, offset = raw
        if code.co_filename.startswith(PACKAGE):
            return None
        for index, (line, end_line, column, end_column) in enumerate(code.co_positions()):
            if index == offset // 2 and line is not None:
                one_line = line == end_line and column is not None and end_column is not None
                return cls(code.co_filename, line, (column, end_column) if one_line else None)  # type: ignore[arg-type]
        return cls(code.co_filename, code.co_firstlineno)

    def __reduce__(self) -> tuple[Any, ...]:
        return Location, (self.file, self.line, self.columns, self._source_line())

    def _source_line(self) -> str:
        return self._text or linecache.getline(self.file, self.line)

    @property
    def text(self) -> str:
        """The whole source line, without its indentation; empty if the source is not available."""
        return self._source_line().strip()

    @property
    def segment(self) -> str:
        """The expression itself where its columns are known, else the whole line."""
        line = self._source_line()
        if self.columns is None or not line:
            return line.strip()
        raw = line.encode()  # columns count bytes of UTF-8
        return raw[self.columns[0] : self.columns[1]].decode(errors="replace")

    @property
    def expression(self) -> ast.expr | None:
        """The expression, parsed; None if the source is not available, or is a statement."""
        try:
            with _parsing:
                return ast.parse(self.segment, mode="eval").body
        except SyntaxError:
            return None

    @property
    def target(self) -> str:
        """The variable that the user's code assigns the value of the expression to; empty if there is none."""
        if self.columns is None:
            return ""
        assigned = _targets(self.file, len(linecache.getlines(self.file)))
        return assigned.get((self.line, *self.columns), "")

    def calls(self) -> list[str]:
        """Return the names of the functions and methods that the expression calls or is given to, outermost first."""
        tree = _tree(self.file, len(linecache.getlines(self.file)))
        if tree is None or self.columns is None:
            return []
        start, end = ((self.line, column) for column in self.columns)
        return [
            node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and (node.lineno, node.col_offset) <= start
            and end <= (node.end_lineno or 0, node.end_col_offset or 0)
        ]

    def __str__(self) -> str:
        return f"{os.path.basename(self.file)}:{self.line}"

    def excerpt(self) -> str:
        """Return file, line and source text, the expression underlined, as Python's own tracebacks show them."""
        head = f'  File "{self.file}", line {self.line}'
        line = self._source_line().rstrip("\n")
        if not line.strip():
            return head
        body = line.strip()
        if self.columns is None:
            return f"{head}\n    {_cut(body, 0)[0]}"
        raw = line.encode()
        indent = len(line) - len(line.lstrip())
        start = len(raw[: self.columns[0]].decode(errors="replace")) - indent
        shown, start = _cut(body, start)
        width = max(1, min(len(self.segment), len(shown) - start))
        return f"{head}\n    {shown}\n    {' ' * start}{'^' * width}"


@functools.lru_cache(maxsize=8)
def _tree(file: str, _lines: int) -> ast.Module | None:
    """Return the tree of a source file of so many lines; None if it is not available."""
    try:
        with _parsing:
            return ast.parse("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError, RecursionError):
        return None


@functools.lru_cache(maxsize=8)
def _targets(file: str, lines: int) -> dict[tuple[int, int, int], str]:
    """Return the variables of a file to which expressions of one line are assigned, by line and columns."""
    tree = _tree(file, lines)
    return {
        (node.value.lineno, node.value.col_offset, node.value.end_col_offset or 0): node.targets[0].id
        for node in ([] if tree is None else ast.walk(tree))
        if isinstance(node, ast.Assign)
        and len(node.targets) == 1
        and isinstance(node.targets[0], ast.Name)
        and node.value.lineno == node.value.end_lineno
    }


def _cut(text: str, start: int) -> tuple[str, int]:
    """Return at most `WIDEST` characters of a line, and where the character at `start` is in these."""
    if len(text) <= WIDEST:
        return text, start
    first = max(0, start - WIDEST // 3)
    left, right = "..." if first else "", "..." if first + WIDEST < len(text) else ""
    return left + text[first + len(left) : first + WIDEST - len(right)] + right, start - first


RawLocation = tuple[CodeType, int] | Location
"""A code object and the offset of an instruction in it: cheap to record while tracing, resolved on demand.

In an unpickled Program, the Location itself.
"""


@functools.lru_cache(maxsize=1024)
def located(raw: RawLocation | None) -> Location | None:
    """Resolve a place for a pickle, to one Location for all lines from it."""
    return Location.of(raw)


def user_frame(frame: FrameType | None) -> FrameType | None:
    """Walk outwards from `frame` to the first one that is neither wengert's own nor NumPy's or SciPy's."""
    while frame is not None and frame.f_code.co_filename.startswith(LIBRARIES):
        frame = frame.f_back
    return frame


def caller() -> RawLocation | None:
    """Return the place in the user's code from which wengert was entered."""
    frame = user_frame(sys._getframe(1))
    return None if frame is None else (frame.f_code, frame.f_lasti)


def is_called_by_scipy() -> bool:
    """Return whether wengert was called by a function of SciPy, not by the user's code."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(LIBRARIES):
        if SCIPY is not None and frame.f_code.co_filename.startswith(SCIPY):
            return True
        frame = frame.f_back
    return False


_STANDARD = os.path.dirname(os.path.abspath(ast.__file__)) + os.sep
_TRACING = os.path.join(PACKAGE, "tracing", "trace.py")


def is_installed(code: CodeType) -> bool:
    """Return whether code is of Python's own library, or of a package that is installed beside it.

    >>> is_installed(ast.parse.__code__), is_installed(compile("1", "model.py", "eval"))
    (True, False)
    """
    file = code.co_filename
    return file.startswith(("<frozen", "<string>", _STANDARD)) or "site-packages" in file or "dist-packages" in file


def outside_packages(frame: FrameType | None) -> FrameType | None:
    """Walk outwards from `frame` to the user's line, past packages; None if the differentiated function is in one."""
    while frame is not None and (is_installed(frame.f_code) or frame.f_code.co_filename.startswith(LIBRARIES)):
        if frame.f_code.co_filename == _TRACING:
            return None
        frame = frame.f_back
    return frame


def explain_at(raw: RawLocation | None, happened: str, instead: str, inner: RawLocation | None = None) -> str:
    """Compose a message of three parts: the fault, its place, and the remedy.

    Of a place in a package that the running code has called, the user's line is named first; `inner` is such a place
    where that code has ended.
    """
    places = [raw] if inner is None else [raw, inner]
    if isinstance(raw, tuple) and is_installed(raw[0]):
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code is not raw[0]:
            frame = frame.f_back
        outer = outside_packages(frame)
        if outer is not None:
            places.insert(0, (outer.f_code, outer.f_lasti))
    excerpts = [location.excerpt() for place in places if (location := Location.of(place)) is not None]
    where = "\nwhich leads to this line of a package:\n".join(excerpts)
    return "\n".join([happened, *([where] if where else []), instead])


class _Refusals(threading.local):
    first: WengertError | None = None
    """The first error, in the trace that runs on this thread, that plain NumPy would not have raised."""


refusals = _Refusals()


class WengertError(Exception):
    """The base of every exception that wengert raises on purpose."""

    is_refusal: ClassVar[bool] = False
    """Whether plain NumPy would go on: a function that catches the error goes where NumPy does not.

    So the first such error is remembered, and raised again when the function that is traced returns.
    """

    @classmethod
    def at(cls, place: RawLocation | None, happened: str, instead: str, inner: RawLocation | None = None) -> Self:
        """Make the error of three parts: the fault, its place (and that of a package's it leads to), and the remedy."""
        return cls(explain_at(place, happened, instead, inner))

    @classmethod
    def at_caller(cls, happened: str, instead: str) -> Self:
        """Make the error of three parts: the fault, the line of the user's code that called, and the remedy."""
        return cls.at(caller(), happened, instead)

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        if self.is_refusal and refusals.first is None:
            refusals.first = self


class ArgumentError(WengertError, TypeError):
    """An argument of the function cannot be differentiated (integers, strings, lists...)."""


class ResultError(WengertError, TypeError):
    """The result of the function cannot be differentiated (None, a string, a vector where a scalar is needed...)."""


class UnsupportedError(WengertError, NotImplementedError):
    """A function that has no rule was called on a traced value."""

    is_refusal = True


class LostGradientError(WengertError, TypeError):
    """A traced value was about to become a plain number, and the derivative would have been lost without a word."""

    is_refusal = True


class EscapedError(WengertError, RuntimeError):
    """A traced value was used after its trace had ended."""


class ChangedError(WengertError, RuntimeError):
    """A plain array that the derivative reads was changed in place after it had been used."""


class ShapeError(WengertError, ValueError):
    """Shapes that do not go together."""


class AxisError(ShapeError, np.exceptions.AxisError):
    """An axis that the array does not have."""


class PatternError(WengertError, ValueError):
    """A pattern of sparsity that was given lacks an entry of the matrix."""


class SizeError(WengertError, MemoryError):
    """A dense Jacobian or Hessian would take more than a quarter of the memory; products with it take none."""


class MatrixError(WengertError, np.linalg.LinAlgError):
    """NumPy's linear algebra refuses a matrix: it is singular, not square, not positive definite..."""


class DegenerateError(WengertError, ArithmeticError):
    """A derivative depends on vectors that are not unique: those of a repeated eigenvalue or singular value."""


class BranchError(WengertError, RuntimeError):
    """A Program was evaluated at a point where its function would have taken another branch.

    A loop tries its branches one after the other, so the message is composed on demand.
    """

    def __init__(self, message: str | Callable[[], str]) -> None:
        super().__init__(message)
        self._message = message

    def __str__(self) -> str:
        return self._message if isinstance(self._message, str) else self._message()

    def __reduce__(self) -> tuple[type[BranchError], tuple[str]]:
        return type(self), (str(self),)


class ImpureError(WengertError, RuntimeError):
    """A jitted function does more than compute: it draws random numbers, reads a clock, or writes outside of itself."""


class ProgramError(WengertError, ValueError):
    """A Program that is not well formed."""


class DerivativeError(WengertError, AssertionError):
    """Derivatives that were checked and found wrong."""


class PickleError(WengertError, pickle.PickleError):
    """Something cannot be pickled (a lambda), or cannot be read back here (a primitive that is not defined)."""


class ExecutorError(WengertError, RuntimeError):
    """The workers of an executor cannot do what they are given: they lack wengert, or have another version of it."""


class FormulaError(WengertError, ValueError):
    """A formula that was typed cannot be read; `position` is the character, from 0, at which it fails."""

    def __init__(self, fault: str, text: str, position: int, remedy: str) -> None:
        super().__init__(fault, text, position, remedy)
        self.fault, self.text, self.position, self.remedy = fault, text, position, remedy

    def __str__(self) -> str:
        start = max(0, self.position - 60)
        shown = "".join(" " if c.isspace() else c for c in self.text[start : self.position + 40])
        point = " " * (self.position - start) + "^"
        where = f"{self.fault} at character {self.position + 1} of the formula."
        return f"{where}\n  {shown}\n  {point}\n{self.remedy}"


class ExportError(WengertError, NotImplementedError):
    """A jitted function has something that exported code cannot compute: a line that calls Python's libraries."""


class LoadError(WengertError, ImportError):
    """A file or function that was named on the command line cannot be found."""


class DomainWarning(RuntimeWarning):
    """A function was evaluated outside its domain; the value is NumPy's own (NaN or infinity)."""


class DecisionWarning(RuntimeWarning):
    """A result depends on an argument through comparisons, counts or positions alone: its derivative is zero.

    Or a pattern of sparsity was asked for all inputs, of a function that decides by their values in Python.
    """


class CompressionWarning(RuntimeWarning):
    """A Jacobian that was asked for as a sparse matrix saves no passes, or stands for an array that is too large."""


class JitWarning(RuntimeWarning):
    """A jitted function prints, or takes so many branches that they cannot all be kept."""
