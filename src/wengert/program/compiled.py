"""Compiled: Code as a fast Python function, with a local variable for each variable and a line for each line.

A `Script` is the code alone, and fits all Programs of one structure.  The constants, parameters and guards of a Program
are the globals of its function.

>>> import wengert as wg
>>> straight(wg.trace(lambda x: 2.0 * x + 1.0)(0.0))(3.0)
(7.0,)
>>> doubled, tripled = (wg.trace(lambda x: k * x)(0.0) for k in (2.0, 3.0))
>>> Script(doubled).of(tripled)(1.0)
(3.0,)
>>> print(Script(doubled).text)
def step(x0):
    u1 = c0 * x0
    return (u1,)

A `BranchScript` is the code of one branch of a function; constants stand in it, and scalars of double precision are
Python's own numbers, on which arithmetic takes a tenth of the time.
"""

from __future__ import annotations

import keyword
import math
import operator
import re
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from wengert.program.code import Add, Call, Check, CheckFinite, Code, Enter, Exit, Free, Take, Zeros, lower
from wengert.program.interpretation import fail_at
from wengert.program.lines import Atom, Line, Packing, Var, WengertList
from wengert.program.primitive import Primitive, Recordable, as_value
from wengert.program.provenance import ORIGIN

_OPERATORS: Mapping[Callable[..., Any], str] = {
    operator.add: "{} + {}",
    operator.sub: "{} - {}",
    operator.mul: "{} * {}",
    operator.truediv: "{} / {}",
    operator.pow: "{} ** {}",
    operator.neg: "-{}",
    np.greater: "{} > {}",
    np.greater_equal: "{} >= {}",
    np.less: "{} < {}",
    np.less_equal: "{} <= {}",
    np.equal: "{} == {}",
    np.not_equal: "{} != {}",
}
"""Primitives that are written as operators: an operator is faster than a call."""
_DOUBLES = frozenset({np.dtype(float), np.dtype(complex)})

Layout = tuple[Any, ...]
"""Where the results of a Program stand in what the function returned: ``("leaf", k, kind)``, ``("constant", value)``,
``("tuple", layouts)``, ``("list", layouts)``, ``("dict", keys, layouts)`` or ``("tree", unflatten, layouts)``."""


def compiled(text: str, title: str) -> types.CodeType:
    """Compile the source of one function to its code object."""
    module = compile(text, f"<wengert {title}>", "exec")
    return next(constant for constant in module.co_consts if isinstance(constant, types.CodeType))


def straight(program: WengertList) -> Callable[..., tuple[Any, ...]]:
    """Return a Program as a function from the independent variables, one by one, to the tuple of the dependent ones."""
    return Script(program).of(program)


def entry(program: WengertList) -> Callable[..., Any]:
    """Return a Program as a function from its arguments to its result, for `Program.__call__`.

    The function raises `Traced` if an argument is a traced value: its lines must be recorded then.
    """
    return Script(program, packed=True).of(program)


class Script:
    """The code of all Programs of one structure.

    With `kept` variables, the function returns two tuples: the results, and its argument `mark` followed by the values
    of these variables.  With `packed`, the function takes and returns the arguments and results of the Program instead
    of single variables.
    """

    __slots__ = ("_code", "_globals", "_names", "lines", "text")

    def __init__(self, program: WengertList, kept: Sequence[Var] | None = None, packed: bool = False) -> None:
        printer = _StepPrinter(lower(program, kept or ()), kept is not None, packed)
        self.text = "\n".join(printer.text)
        """The source of the function."""
        self.lines = tuple(printer.lines)
        """For each line of the source, which line of the Program it computes, and the names of the operands."""
        self._globals = printer.globals
        """The global names whose values differ between Programs, in the order of `_particulars`."""
        self._code = compiled(self.text, program.name)
        self._names = printer.names

    def of(self, program: WengertList, mark: Any = None) -> Callable[..., Any]:
        """Return the compiled function of a Program of the structure that the code was written for."""
        names = self._names.copy()
        names.update(zip(self._globals, _particulars(program), strict=True))
        names["mark"] = mark
        names[ORIGIN] = self.lines, program.lines
        return types.FunctionType(self._code, names)


def _particulars(program: WengertList) -> list[Any]:
    """Return the particulars of a Program: its constants and parameters in the order of the lines, and its guards."""
    values: list[Any] = []
    for line in program.lines:
        values += [atom.value for atom in line.inputs if not isinstance(atom, Var)]
        values += line.params.values()
    values += [atom.value for atom in program.outputs if not isinstance(atom, Var)]
    return [*values, *program.guards]


class Traced(Exception):  # noqa: N818 - not an error: the lines are to be recorded
    """A compiled function, which takes plain values, was called on a traced one."""


def enter(packing: Packing, value: Any) -> Any:
    """Return the value of an argument as an array or NumPy scalar of its shape; raise `Traced` where it is traced."""
    if isinstance(value, Recordable):
        raise Traced
    return packing.checked(value)


class BranchScript:
    """The code of one branch of a function, which continues another or takes all arguments.

    The function returns what `layout` says, each array in memory of its own, or else what the exit returns by which the
    code is left.  It raises FloatingPointError if NumPy would have warned of a number.

    Attributes
    ----------
    code
        The statements.
    text
        The source of the function.
    names
        By variable, its name: in this code, and in all that may continue it.
    """

    __slots__ = ("_names", "code", "names", "text")

    def __init__(self, code: Code, layout: Layout, names: dict[Var, str]) -> None:
        printer = _BranchPrinter(code, layout, names)
        self.code, self.text, self.names = code, "\n".join(printer.text), names
        self._names = printer.names

    def function(self, exits: Sequence[Callable[[dict[str, Any]], Any]]) -> Callable[..., Any]:
        """Return the compiled function; each exit takes the values computed so far, by name."""
        names = self._names | {f"e{k}": exit_ for k, exit_ in enumerate(exits)}
        return types.FunctionType(compiled(self.text, self.code.program.name), names)


class _Printer:
    """Prints the statements of Code as the source of a function.

    `names` are the globals of the function, and `called` the names of variables.
    """

    def __init__(self, code: Code, called: dict[Var, str]) -> None:
        self.code, self.called = code, called
        self.text: list[str] = []
        self.lines: list[tuple[int | None, tuple[str, ...]]] = []
        self.names: dict[str, Any] = dict(_GLOBALS)

    def write(self, text: str, place: int | None = None, operands: Sequence[str] = ()) -> None:
        """Write one line, which computes the line of the Program at `place`."""
        self.text.append(text)
        self.lines.append((place, tuple(operands)))

    def write_statements(self) -> None:
        """Write all statements."""
        for statement in self.code.statements:
            _WRITTEN[type(statement)](self, statement)

    # -- Names --

    def constant(self, value: Any) -> str:
        """Return the expression of a constant or parameter."""
        raise NotImplementedError

    def subscript(self, index: tuple[Any, ...]) -> str:
        """Return the expression of an index."""
        return self.constant(index)

    def name(self, atom: Atom) -> str:
        """Return the expression of an atom."""
        return self.called[atom] if isinstance(atom, Var) else self.constant(atom.value)

    def listed(self, atoms: Sequence[Atom]) -> str:
        """Return the expressions of atoms, as the items of a tuple."""
        return "".join([f"{self.name(a)}, " for a in atoms]).removesuffix(" ")

    def new_name(self, var: Var) -> str:
        """Name the result of a line."""
        self.called[var] = name = f"u{len(self.called) - len(self.code.inputs) + 1}"
        return name

    def function(self, primitive: Primitive) -> str:
        """Name the function that computes a primitive, by the name of the primitive."""
        name = re.sub(r"\W", "_", primitive.name)
        while (
            keyword.iskeyword(name)
            or re.fullmatch(r"[a-z]\d*", name)
            or self.names.get(name, primitive.compute) is not primitive.compute
        ):
            name += "_"
        self.names[name] = primitive.compute
        return name

    # -- Lines --

    def call(self, call: Call) -> None:
        """Write a line of the Program."""
        line, primitive = call.line, call.line.primitive
        inline = self.inline(line)
        if call.by_numbers:
            operands = [self.number(a) for a in line.inputs]
        elif inline is None or primitive.compute in _OPERATORS:
            operands = [self.operand(line, a) for a in line.inputs]
        else:
            operands = [self.name(a) for a in line.inputs]
        params = {
            name: self.subscript(value) if inline and name == "index" else self.constant(value)
            for name, value in line.params.items()
        }
        if inline is not None:
            text = inline.format(*operands, **params)
        else:
            written = [*operands, *[f"{name}={value}" for name, value in params.items()]]
            text = f"{self.function(primitive)}({', '.join(written)})"
        if primitive.multiple:
            left = f"({''.join([f'{self.new_name(var)}, ' for var in line.outputs])})"
        else:
            (var,) = line.outputs
            if not (var.shape or call.by_numbers or inline == _ITEM):
                text = self.scalar(line, var, text)
            left = self.new_name(var)
        self.write(f"    {left} = {text}", call.place, operands)

    def inline(self, line: Line) -> str | None:
        """Return the expression of a line, with places for operands and parameters; None for a call."""
        primitive, first = line.primitive, line.inputs[0] if line.inputs else None
        operator = _OPERATORS.get(primitive.compute)
        if operator is not None:
            return None if line.params else operator
        if primitive.inline is None or callable(primitive.inline):
            return primitive.inline and primitive.inline(line)
        if len(line.inputs) != 1 or not isinstance(first, Var) or not first.shape:
            return None  # it is a method of arrays, or an index without computed parts
        if primitive.inline == _INDEX and line.outputs[0] in self.code.numbers:
            index = line.params["index"]
            if len(index) == len(first.shape) and all(type(i) is int for i in index):
                return _ITEM
        return primitive.inline

    def operand(self, line: Line, atom: Atom) -> str:
        """Return the expression of an operand for NumPy: a number is made a NumPy scalar where that matters."""
        name = self.name(atom)
        if not isinstance(atom, Var) or atom not in self.code.numbers:
            return name
        if atom.dtype == bool:  # another branch only decided on it
            return f"bool_({name})"
        others = [a for a in line.inputs if a is not atom]
        weak = line.primitive.is_ufunc and all(map(_takes_double, others))
        if line.primitive.compute in _OPERATORS:  # of two Python numbers it would be Python's own
            weak = weak and any(map(self.is_numpys, others))
        return name if weak else f"float64({name})"

    def is_numpys(self, atom: Atom) -> bool:
        """Return whether an operand is a NumPy scalar or array."""
        if isinstance(atom, Var):
            return atom not in self.code.numbers
        return isinstance(atom.value, (np.ndarray, np.generic))

    def number(self, atom: Atom) -> str:
        """Return the expression of an operand of arithmetic on numbers."""
        if isinstance(atom, Var) or type(atom.value) in (int, bool, float):
            return self.name(atom)
        return self.constant(float(atom.value))

    def scalar(self, line: Line, var: Var, text: str) -> str:
        """Return the expression of a scalar result of NumPy's as a number or NumPy scalar."""
        if var in self.code.numbers:
            return f"float({text})"
        is_scalar = line.primitive.is_ufunc or (
            line.primitive.inline == _INDEX and Ellipsis not in line.params["index"]
        )
        return text if is_scalar else f"as_value({text})"

    # -- Other statements --

    def zeros(self, zeros: Zeros) -> None:
        """Write the array that terms are added to."""
        (var,) = zeros.line.outputs
        self.write(f"    {self.new_name(var)} = zeros({var.shape})")

    def add(self, add: Add) -> None:
        """Write an addition in place."""
        self.write(f"    {self.name(add.array)}[{self.subscript(add.index)}] += {self.name(add.value)}")

    def free(self, free: Free) -> None:
        """Write that variables are deleted."""
        self.write(f"    del {', '.join(map(self.name, free.variables))}")

    def test(self, check: Check) -> str:
        """Return the expression that holds where a decision falls otherwise."""
        value, name = check.guard.value, self.name(check.guard.var)
        return f"{'not ' * value}{name}" if type(value) is bool else f"int({name}) != {value}"

    def enter(self, enter: Enter) -> None:
        """Write how an argument is taken."""
        raise NotImplementedError

    def check(self, check: Check) -> None:
        """Write the check of a decision."""
        raise NotImplementedError

    def exit(self, exit_: Exit) -> None:
        """Write where the code is left."""
        raise NotImplementedError

    def take(self, take: Take) -> None:
        """Write where the values of earlier code come from."""
        raise NotImplementedError

    def check_finite(self, check: CheckFinite) -> None:
        """Write the check of numbers."""
        total = " + ".join(map(self.name, check.variables))
        total = f"({total})" if len(check.variables) > 1 else total
        self.write(f"    if {total} * 0.0 != 0.0: raise FloatingPointError")


_WRITTEN: Mapping[type, Callable[[_Printer, Any], None]] = {
    Enter: lambda printer, statement: printer.enter(statement),
    Take: lambda printer, statement: printer.take(statement),
    Call: _Printer.call,
    Zeros: _Printer.zeros,
    Add: _Printer.add,
    Check: lambda printer, statement: printer.check(statement),
    Exit: lambda printer, statement: printer.exit(statement),
    CheckFinite: _Printer.check_finite,
    Free: _Printer.free,
}


class _StepPrinter(_Printer):
    """Prints code for all Programs of one structure: constants and parameters are globals, listed in `globals`."""

    def __init__(self, code: Code, with_kept: bool, packed: bool) -> None:
        super().__init__(code, {var: f"x{k}" for k, var in enumerate(code.inputs)})
        self.packed = packed
        self.globals: list[str] = []
        arguments = [f"a{k}" for k in range(len(code.program.arguments))] if packed else self.called.values()
        self.write(f"def step({', '.join(arguments)}):")
        self.write_statements()
        returned = self.packed_results() if packed else f"({self.listed(code.outputs)})"
        self.globals += [f"g{k}" for k in range(len(code.program.guards))]
        if with_kept:
            returned += f", (mark, {self.listed(code.kept)})"
        self.write(f"    return {returned}")

    def constant(self, value: Any) -> str:
        name = f"c{len(self.globals)}"
        self.globals.append(name)
        return name

    def test(self, check: Check) -> str:
        value = check.guard.value
        return (
            super().test(check) if type(value) is bool else f"int({self.name(check.guard.var)}) != g{check.place}.value"
        )

    def check(self, check: Check) -> None:
        self.write(f"    if {self.test(check)}:")
        self.write(f"        fail_at(g{check.place}, {self.name(check.guard.var)})")

    def enter(self, enter: Enter) -> None:
        if not self.packed:
            return
        argument, k = enter.argument, enter.place
        name = self.name(argument.atoms[0]) if argument.whole else f"a{k}"
        fits = (
            f"type(a{k}) is ndarray and a{k}.shape == {argument.shape}" if argument.shape else f"type(a{k}) is float64"
        )
        self.names[f"packing{k}"] = argument
        self.write(f"    {name} = a{k} if {fits} else enter(packing{k}, a{k})")
        if not argument.whole:
            flat = name if len(argument.shape) == 1 else f"{name}.ravel()"
            self.write(f"    ({self.listed(argument.atoms)}) = {flat}")

    def packed_results(self) -> str:
        """Return the results as the Program lays them out."""
        program, written = self.code.program, []
        for k, result in enumerate(program.results):
            if result.whole:
                written.append(self.name(result.atoms[0]))
                continue
            self.names[f"dtype{k}"] = result.dtype
            flat = f"array(({self.listed(result.atoms)}), dtype{k})"
            written.append(flat if len(result.shape) == 1 else f"{flat}.reshape({result.shape})")
        return written[0] if program.single else f"({''.join([f'{text}, ' for text in written])})"


class _BranchPrinter(_Printer):
    """Prints the code of one branch: constants and parameters are written out where they are short."""

    def __init__(self, code: Code, layout: Layout, called: dict[Var, str]) -> None:
        if code.after is None:
            called.update((var, f"x{k}") for k, var in enumerate(code.inputs))
        super().__init__(code, called)
        self.left = 0
        self.fresh = {var for line in code.lines() if line.primitive.fresh for var in line.outputs}
        """The results that are memory of their own; one that has been returned is taken out."""
        self.write(f"def branch({'v' if code.after else ', '.join([called[var] for var in code.inputs])}):")
        self.write_statements()
        self.write(f"    return {self.returned(layout)}")

    def constant(self, value: Any) -> str:
        literal = _literal(value)
        if literal is None:
            literal = f"c{len(self.names) - len(_GLOBALS) + 1}"
            self.names[literal] = value
        return literal

    def subscript(self, index: tuple[Any, ...]) -> str:
        parts = [_sliced(item) if type(item) is slice else _literal(item) for item in index]
        return self.constant(index) if None in parts or not parts else ", ".join(map(str, parts))

    def enter(self, enter: Enter) -> None:
        (var,) = enter.argument.atoms
        if var in self.code.numbers:
            self.write(f"    {self.name(var)} = float({self.name(var)})")

    def take(self, take: Take) -> None:
        for var in take.variables:
            self.write(f'    {self.name(var)} = v["{self.name(var)}"]')

    def exit(self, exit_: Exit) -> None:
        values = "locals()" if self.code.after is None else "{**v, **locals()}"
        self.write(f"    if {self.test(exit_)}: return e{self.left}({values})")
        self.left += 1

    # -- The result --

    def returned(self, layout: Layout) -> str:
        """Return the expression of what the function returned."""
        form = layout[0]
        if form == "leaf":
            return self.result(self.code.outputs[layout[1]], layout[2])
        if form == "constant":
            copied = '.copy("K")' * (type(layout[1]) is np.ndarray)
            return self.constant(layout[1]) + copied
        parts = [self.returned(part) for part in layout[-1]]
        if form == "tuple":
            return f"({''.join([f'{part}, ' for part in parts])})"
        if form == "list":
            return f"[{', '.join(parts)}]"
        if form == "dict":
            keys = map(self.constant, layout[1])
            return f"{{{', '.join([f'{key}: {part}' for key, part in zip(keys, parts, strict=True)])}}}"
        return f"{self.constant(layout[1])}([{', '.join(parts)}])"

    def result(self, atom: Atom, kind: str) -> str:
        """Return the expression of one result, of the type that the function returned."""
        name, is_number = self.name(atom), atom in self.code.numbers
        if kind in ("float", "int", "bool", "complex"):
            return name if is_number and kind == "float" else f"{kind}({name})"
        if kind == "array without dimensions":
            return f"array({name})"
        if kind == "array":
            is_own = atom in self.fresh
            self.fresh.discard(atom)
            return name if is_own else f'{name}.copy("K")'
        if is_number:
            return f"{'bool_' if atom.dtype == bool else 'float64'}({name})"  # type: ignore[union-attr]
        return name if isinstance(atom, Var) and atom not in self.code.inputs else f"as_value({name})"


_INDEX, _ITEM = "{0}[{index}]", "{0}.item({index})"
_GLOBALS: Mapping[str, Any] = {
    "array": np.array,  # NumPy's own: another stands in its place while a trace runs
    "zeros": np.zeros,
    "ndarray": np.ndarray,
    "float64": np.float64,
    "bool_": np.bool_,
    "as_value": as_value,
    "fail_at": fail_at,
    "enter": enter,
    "type": type,
    "float": float,
    "int": int,
    "bool": bool,
    "complex": complex,
    "locals": locals,
    "FloatingPointError": FloatingPointError,
}
"""The names that all code may use."""


def _literal(value: Any) -> str | None:
    """Write a short constant out; None for one that must be a global."""
    kind = type(value)
    if kind in (int, bool, str) or value is None or (kind is float and math.isfinite(value)):
        return f"({value!r})" if kind in (int, float) and repr(value).startswith("-") else repr(value)
    if value is Ellipsis:
        return "..."
    if kind is tuple:
        parts = [_literal(item) for item in value]
        return None if None in parts else f"({', '.join(map(str, parts))}{',' * (len(parts) == 1)})"
    return None


def _sliced(item: slice) -> str | None:
    """Write a slice out as it stands in an index; None for one of other parts than integers."""
    parts = (item.start, item.stop, item.step)
    if not all(part is None or type(part) is int for part in parts):
        return None
    start, stop, step = ["" if part is None else str(part) for part in parts]
    return f"{start}:{stop}{f':{step}' * bool(step)}"


def _takes_double(atom: Atom) -> bool:
    """Return whether an operand computes in double precision with a Python number."""
    value = atom if isinstance(atom, Var) else atom.value
    dtype = getattr(value, "dtype", None)
    return dtype is None or dtype in _DOUBLES or dtype.kind in "biu"
