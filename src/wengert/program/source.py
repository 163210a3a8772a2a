"""Source: a Program as readable NumPy code that runs by itself and computes the same values.

>>> import wengert as wg
>>> print(write_source(wg.trace(lambda x: 2.0 * x + 1.0)(0.0)).split("# ")[0].rstrip())
import numpy as np
<BLANKLINE>
<BLANKLINE>
def f(x):
    u_0 = np.asarray(x)[()]
    u_1 = 2.0 * u_0
"""

from __future__ import annotations

import base64
import keyword
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wengert.program.code import Call, Check, Enter, lower
from wengert.program.dataflow import walk
from wengert.program.lines import Atom, Constant, Line, Var, WengertList

PUT_SOURCE = '''
def put(pieces, indices, shape, batch=0):
    """Add each piece into an array of zeros at its index; repeated positions add up."""
    leading, size = np.shape(pieces[0])[:batch], int(np.prod(shape))
    total = np.zeros((*leading, size), np.result_type(*pieces))
    for piece, index in zip(pieces, indices):
        at = np.arange(size).reshape(shape)[index].ravel()
        np.add.at(total, (..., at), np.reshape(piece, (*leading, at.size)))
    return total.reshape((*leading, *shape))


'''
"""The source of the transpose of indexing, for which NumPy has no function."""

SETITEM_SOURCE = '''
def setitem(array, index, value):
    """Return a copy of an array with part of it assigned to."""
    changed = np.array(array)
    changed[index] = value
    return changed


'''
"""The source of an assignment: it makes a new array, since a value of the list never changes."""


CHOOSE_SOURCE = '''
def first_that_holds(branches, *values):
    """Return what the first of some functions returns that takes the decisions which these values ask for."""
    for branch in branches:
        try:
            return branch(*values[: branch.__code__.co_argcount])
        except ValueError:
            continue
    raise ValueError("another branch than those that were traced")


'''
"""The source of the choice of a branch, in a loop whose steps take several."""


def write_source(program: WengertList) -> str:
    """Return a Program as the NumPy source of a function; see `Program.source`."""
    name = program.name if program.name.isidentifier() else "f"
    body = "\n".join(_write_function(name, program, {name, "np", "put", "setitem"}, {}))
    imports = ["import numpy as np"]
    if "np.frombuffer(base64" in body:
        imports.insert(0, "import base64\n")
    modules = set(re.findall(r"(scipy\.[a-z]+|wengert\.primitives(?:\.[a-z_]+)+)\.", body))
    imports += [f"import {module}" for module in sorted(modules)]
    used = {line.primitive.name for line in walk(program)}
    helpers = PUT_SOURCE.lstrip("\n") if used & {"put", "scatter"} else ""
    helpers += SETITEM_SOURCE.lstrip("\n") if "setitem" in used else ""
    helpers += CHOOSE_SOURCE.lstrip("\n") if "first_that_holds(" in body else ""
    return "\n".join(imports) + "\n\n\n" + helpers + body + "\n"


def _write_function(  # noqa: C901 - a part of a function's source after the other
    name: str, program: WengertList, taken: set[str], outer: Mapping[int, str], is_body: bool = False
) -> list[str]:
    """Return a Program as the lines of a function; a Program held by a line becomes an inner function.

    `outer` names the functions already written in the enclosing scope, by the identity of their Programs.
    """
    written = dict(outer)
    parameters = _parameters(program) if is_body else [as_identifier(a.name) or "x" for a in program.arguments]
    lines = [f"def {name}({', '.join(parameters)}):"]

    def add(text: str, line: Line | None = None) -> None:
        location = None if line is None else line.location
        lines.append(f"    {text}" + ("" if location is None else f"  # {location}"))

    if is_body:
        renamed = [(_python(a.atoms[0]), o) for a, o in zip(program.arguments, parameters, strict=True)]
        renamed = [(var, parameter) for var, parameter in renamed if var != parameter]
        if renamed:
            add(f"{', '.join(var for var, _ in renamed)} = {', '.join(parameter for _, parameter in renamed)}")
    for statement in lower(program).statements:
        if isinstance(statement, Enter) and not is_body:
            argument, parameter = statement.argument, parameters[statement.place]
            if argument.whole:
                add(f"{_python(argument.atoms[0])} = np.asarray({parameter})[()]")
            else:
                for index, atom in zip(np.ndindex(*argument.shape), argument.atoms, strict=True):
                    add(f"{_python(atom)} = {parameter}[{', '.join(map(str, index))}]")
        elif isinstance(statement, Check):
            guard = statement.guard
            add(f"if {type(guard.value).__name__}({_python(guard.var)}) != {guard.value!r}:")
            add(f"    raise ValueError({f'{guard.var} is not {guard.value}: another branch'!r})")
        if not isinstance(statement, Call):
            continue  # a reader does not ask when memory is freed
        line = statement.line
        left = [_python(v) for v in line.outputs]
        if line.held is None:
            add(f"{', '.join(left)} = {line.primitive.write([_python(a) for a in line.inputs], line.params)}", line)
        else:
            names = []
            for title, inner in zip(line.held.titles(), line.programs, strict=True):
                if id(inner) not in written:
                    own_name = _function_name(title, taken)
                    function = _write_function(own_name, inner, taken, written, True)
                    lines += [""] * (lines[-1] != "") + [f"    {text}" if text else "" for text in function] + [""]
                    written[id(inner)] = own_name
                names.append(written[id(inner)])
            args = [_python(a) if isinstance(a, Var) else write_constant(a.value, True) for a in line.inputs]
            for k, text in enumerate(line.held.source(names, args, left)):
                add(text, None if k else line)
    results = []
    for result in program.results:
        parts = [_python(atom) for atom in result.atoms]
        if result.whole:
            is_constant = is_body and isinstance(result.atoms[0], Constant)
            results.append(write_constant(result.atoms[0].value, True) if is_constant else parts[0])  # type: ignore[union-attr]
        else:
            kind = "" if result.dtype == np.float64 else f", dtype=np.{result.dtype.name}"
            flat = f"np.array([{', '.join(parts)}]{kind})"
            results.append(flat if len(result.shape) == 1 else f"{flat}.reshape({result.shape})")
    alone = len(results) == 1 if is_body else program.single
    add(f"return {results[0] if alone else write_tuple(results)}")
    return lines


def write_tuple(parts: Sequence[str]) -> str:
    """Return expressions as a tuple, for either side of ``=``."""
    return f"{parts[0]}," if len(parts) == 1 else ", ".join(parts) if parts else "()"


def _parameters(program: WengertList) -> list[str]:
    """Return the names of a body's parameters: those of its arguments, or of their variables where names repeat."""
    names = [as_identifier(argument.name) for argument in program.arguments]
    return [
        name if name and names.count(name) == 1 and name != "np" and not name.startswith("u_") else _python(a.atoms[0])
        for name, a in zip(names, program.arguments, strict=True)
    ]


def _function_name(title: str, taken: set[str]) -> str:
    """Return a function name made of a title, and enter it among the names that are taken."""
    stem = name = re.sub(r"\W+", "_", title)
    k = 1
    while name in taken or keyword.iskeyword(name):
        k += 1
        name = f"{stem}_{k}"
    taken.add(name)
    return name


def as_identifier(name: str) -> str:
    """Return a name as a Python identifier: ``c_next`` for ``c'``; empty if there is none."""
    name = name.replace("'", "_next")
    return name if name.isidentifier() and not keyword.iskeyword(name) else ""


def _python(atom: Atom) -> str:
    if isinstance(atom, Var):
        return f"u_{atom.number}" if atom.number >= 0 else f"u_m{-atom.number}"
    return write_constant(atom.value)


def write_constant(value: Any, typed: bool = False) -> str:
    """Return a Python expression that evaluates to a constant, exact to the last bit.

    A number is written as a Python number, or with `typed` as a NumPy scalar: Python numbers divide differently.
    """
    if isinstance(value, np.generic):
        text = repr(value.item())
        if text in ("inf", "-inf", "nan"):
            text = f"float({text!r})"
        return f"np.{value.dtype.name}({text})" if typed or value.dtype != np.float64 else _signed(text)
    if isinstance(value, np.ndarray):
        if not value.size:
            return f"np.zeros({value.shape}, np.{value.dtype.name})"
        if value.size <= 64 and np.all(np.isfinite(value)):
            return f"np.array({value.tolist()!r}, dtype=np.{value.dtype.name})"
        raw = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return f"np.frombuffer(base64.b64decode({raw!r}), dtype=np.{value.dtype.name}).reshape({value.shape})"
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')"
    return _signed(repr(value))


def _signed(text: str) -> str:
    return f"({text})" if text.startswith("-") else text
