"""The Wengert list as a value: primitives, lines, Programs; how they are evaluated, printed and written as code."""

from wengert.program.dataflow import check, guards_of, reached_by, walk
from wengert.program.interpretation import (
    check_guard,
    evaluate,
    evaluate_all,
    evaluate_line,
    fail_at,
    interpret,
    value_of,
)
from wengert.program.lines import Atom, Constant, Guard, Held, Line, Operand, Packing, Trees, Var, WengertList, readable
from wengert.program.pickling import Portable, made_from, make_again
from wengert.program.primitive import SMALL, Partial, Primitive, Recordable, Shaped, as_value, has_nan
from wengert.program.program import Program
from wengert.program.provenance import PresentLine, computes_lines, current_line
from wengert.program.source import as_identifier, write_tuple

__all__ = [
    "SMALL",
    "Atom",
    "Constant",
    "Guard",
    "Held",
    "Line",
    "Operand",
    "Packing",
    "Partial",
    "Portable",
    "PresentLine",
    "Primitive",
    "Program",
    "Recordable",
    "Shaped",
    "Trees",
    "Var",
    "WengertList",
    "as_identifier",
    "as_value",
    "check",
    "check_guard",
    "computes_lines",
    "current_line",
    "evaluate",
    "evaluate_all",
    "evaluate_line",
    "fail_at",
    "guards_of",
    "has_nan",
    "interpret",
    "made_from",
    "make_again",
    "reached_by",
    "readable",
    "value_of",
    "walk",
    "write_tuple",
]
