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

The code of one branch of a function (`write_branch`) has its constants in it, and its numbers are Python's own, on
which arithmetic takes a tenth of the time.
"""

from __future__ import annotations

import itertools
import keyword
import math
import operator
import re
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from wengert.program.code import (
    Add,
    Call,
    Check,
    CheckFinite,
    Code,
    Enter,
    Exit,
    Fixed,
    For,
    Free,
    Leaf,
    Matrix,
    Restart,
    ResultForm,
    Take,
    Zeros,
    lower,
)
from wengert.program.interpretation import fail_at
from wengert.program.lines import Atom, Line, Operand, Packing, Var, WengertList
from wengert.program.primitive import Primitive, Recordable, as_value, has_nan
from wengert.program.provenance import ORIGIN
from wengert.program.structure import exactly

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
_ELEMENTWISE = frozenset({*_OPERATORS, np.where}) - {operator.pow}
"""What computes the same with a number as with an array of no dimensions; a power looks at the type of its exponent."""
TERMS = 256
"""So many terms a sum may have: Python's compiler does not take expressions of thousands."""
_DOUBLES = frozenset({np.dtype(float), np.dtype(complex)})


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

    With `repeat`, the function runs the Program again and again.  It takes the places of the steps; what keeps the kept
    values of a step, or has them of each; the test before the first step; the variables, iterables for those that are
    another one each time; the arrays, sums and accumulators that results go to; and the zeros of resets.  It returns
    what is carried, then the sums.

    >>> import wengert as wg
    >>> total = wg.trace(lambda c, x: c + x)(0.0, 1.0)
    >>> script = Script(total, repeat=For(("carry", "each"), (0,)))
    >>> script.of(total)(range(3), None, None, 1.0, [1.0, 2.0, 3.0])
    (7.0,)
    >>> print(script.text)
    def step(p, r, q, x0, a1):
        for x1 in a1:
            u1 = x0 + x1
            x0 = u1
        return (x0,)
    """

    __slots__ = ("_code", "_globals", "_names", "lines", "text")

    def __init__(
        self, program: WengertList, kept: Sequence[Var] | None = None, packed: bool = False, repeat: For | None = None
    ) -> None:
        names = {var: f"x{k}" for k, var in enumerate(program.inputs)}
        code = replace(lower(program, kept or ()), repeat=repeat)
        printer = _Printer(code, names, True, packed, kept is not None)
        self.text = "\n".join(printer.text)
        """The source of the function."""
        self.lines = tuple(printer.lines)
        """For each line of the source, which line of the Program it computes, and the names of the operands."""
        self._globals = (*printer.constants, *[f"g{k}" for k in range(len(program.guards))])
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


def write_branch(code: Code, names: dict[Var, str]) -> tuple[str, Callable[..., Callable[..., Any]]]:
    """Write the code of one branch of a function.

    Takes the names of the variables of all branches, and enters those of this one.  Returns the source, and a function
    that compiles it for exits, which take the values computed so far by name.  The code takes the arguments, or such
    values; it returns the result, or what the exit returns by which it is left; it raises FloatingPointError if NumPy
    would have warned of a number.
    """
    if code.after is None:
        names.update((var, f"x{k}") for k, var in enumerate(code.inputs))
    printer = _Printer(code, names)
    text = "\n".join(printer.text)

    def compile_(exits: Sequence[Callable[[dict[str, Any]], Any]]) -> Callable[..., Any]:
        names = {**printer.names, **printer.constants, **{f"e{k}": exit_ for k, exit_ in enumerate(exits)}}
        return types.FunctionType(compiled(text, code.program.name), names)

    return text, compile_


class _Printer:
    """Prints the statements of Code as the source of a function.

    `names` are the globals of the function, `constants` those that belong to one Program, and `called` the names of
    variables.  In `shared` code, which fits all Programs of one structure, all constants and parameters are globals.
    """

    def __init__(
        self, code: Code, called: dict[Var, str], shared: bool = False, packed: bool = False, with_kept: bool = False
    ) -> None:
        self.code, self.called, self.shared, self.packed = code, called, shared, packed
        self.text: list[str] = []
        self.lines: list[tuple[int | None, tuple[str, ...]]] = []
        self.names: dict[str, Any] = dict(_GLOBALS)
        self.constants: dict[str, Any] = {}
        self.constant_names: dict[Any, str] = {}
        self.notes: list[str] = []
        """The values of the scalar constants that the next line is the first to read."""
        self.in_arrays = set() if shared or code.after or code.exits else _read_by_arrays(code)
        """The scalars that only arithmetic with arrays reads: it is faster on arrays of no dimensions."""
        self.exits, self.count = 0, len(code.inputs)
        computed = [s.line for part in code.continued() for s in part.statements if isinstance(s, (Call, Zeros))]
        self.fresh = {var for line in computed if line.primitive.fresh for var in line.outputs}
        """The results that are memory of their own; one that has been returned is taken out."""
        arguments = ["v"] if code.after else list(map(called.__getitem__, code.inputs))
        if packed:
            arguments = [f"a{k}" for k in range(len(code.program.arguments))]
        self.indent = ""
        if code.repeat is None:
            self.write(f"def {'step' if shared else 'branch'}({', '.join(arguments)}):")
        else:
            self.begin(code.repeat)
        for statement in code.statements:
            _WRITTEN[type(statement)](self, statement)
        if code.form is not None and code.form.holds_derivatives:
            self.check_numbers(code.form)
        kept = f"(mark, {self.listed(code.kept)})" if with_kept else ""
        if code.repeat is None:
            self.write(f"    return {self.returned()}{f', {kept}' * with_kept}")
        else:
            self.end(code.repeat, kept)

    def write(self, text: str, place: int | None = None, operands: Sequence[str] = ()) -> None:
        """Write one line, which computes the line of the Program at `place`."""
        comment = f"  # {', '.join(self.notes)}" if self.notes else ""
        self.notes.clear()
        self.text.append(self.indent + text + comment)
        self.lines.append((place, tuple(operands)))

    # -- Names --

    def constant(self, value: Any) -> str:
        """Return the expression of a constant or parameter: written out where it is short."""
        text = None if self.shared else _literal(value)
        if text is None:
            key = None if self.shared else _key_of(value)
            text = self.constant_names.get(key) if key is not None else None
            if text is None:
                text = f"c{len(self.constants)}"
                self.constants[text] = value
                if key is not None:
                    self.constant_names[key] = text
                if not self.shared and isinstance(value, (np.ndarray, np.generic)) and value.ndim == 0:
                    self.notes.append(f"{text} = {value}")
        return f"({text})" if text.startswith("-") else text

    def subscript(self, index: tuple[Any, ...]) -> str:
        """Return the expression of an index."""
        parts = [None] if self.shared else [_literal(item, True) for item in _without_full_slices(index)]
        return self.constant(index) if None in parts or not parts else ", ".join(map(str, parts))

    def name(self, atom: Atom) -> str:
        """Return the expression of an atom."""
        return self.called[atom] if isinstance(atom, Var) else self.constant(atom.value)

    def listed(self, atoms: Sequence[Atom]) -> str:
        """Return the expressions of atoms, as the items of a tuple."""
        return "".join([f"{self.name(a)}, " for a in atoms]).removesuffix(" ")

    def new_name(self, var: Var) -> str:
        """Name the result of a line, unless other code has named it."""
        if var in self.called:
            return self.called[var]
        self.called[var] = name = f"u{len(self.called) - self.count + 1}"
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
            if not (var.shape or call.by_numbers or inline in (_ITEM, _VIEW)):
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
        if primitive.inline == _INDEX and len(line.inputs) > 1 and self.shared:
            index = line.params["index"]
            return f"{{0}}[{', '.join([f'{{{i.k + 1}}}' for i in index])}]" if _is_computed(first, index) else None
        if len(line.inputs) != 1 or not isinstance(first, Var) or not first.shape:
            return None  # it is a method of arrays, or an index without computed parts
        if primitive.inline == _INDEX and not line.outputs[0].shape:
            index = line.params["index"]
            if len(index) == len(first.shape) and all(type(i) is int for i in index):
                in_numbers, in_arrays = line.outputs[0] in self.code.numbers, line.outputs[0] in self.in_arrays
                return _ITEM if in_numbers else _VIEW if in_arrays else _INDEX
        return primitive.inline

    def operand(self, line: Line, atom: Atom) -> str:
        """Return the expression of an operand for NumPy: a number is made a NumPy scalar where that matters."""
        if not isinstance(atom, Var) and not self.shared and _is_of_arrays(line):
            value = _as_array(atom.value)
            if value is not None:
                return self.constant(value)
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
        is_element = line.primitive.inline == _INDEX and all(type(i) in (int, Operand) for i in line.params["index"])
        return text if line.primitive.is_ufunc or is_element else f"as_value({text})"

    # -- Other statements --

    def zeros(self, zeros: Zeros) -> None:
        """Write the array that terms are added to."""
        (var,) = zeros.line.outputs
        self.write(f"    {self.new_name(var)} = zeros({var.shape})")

    def add(self, add: Add) -> None:
        """Write an addition in place."""
        part = f"{self.name(add.array)}[{self.subscript(add.index)}]"
        if add.value.shape and not add.first:
            self.write(f"    part = {part}")  # `u[i] += v` would write it back, which takes half as long again
            part = "part"
        self.write(f"    {part} {'' if add.first else '+'}= {self.name(add.value)}")

    def free(self, free: Free) -> None:
        """Write that variables are deleted."""
        self.write(f"    del {', '.join(map(self.name, free.variables))}")

    def check(self, check: Check) -> None:
        """Write the check of a decision, or the exit where it is not taken again."""
        value, name = check.guard.value, self.name(check.guard.var)
        if type(value) is bool:
            test = f"{'not ' * value}{name}"
        else:
            test = f"int({name}) != {f'g{check.place}.value' if self.shared else value}"
        if isinstance(check, Exit):
            values = "locals()" if self.code.after is None else "{**v, **locals()}"
            self.write(f"    if {test}: return e{self.exits}({values})")
            self.exits += 1
        else:
            self.write(f"    if {test}:")
            self.write(f"        fail_at(g{check.place}, {name})")

    def take(self, take: Take) -> None:
        """Write that values of earlier code are taken over."""
        for name in map(self.name, take.variables):
            self.write(f'    {name} = v["{name}"]')

    def enter(self, enter: Enter) -> None:
        """Write how an argument is unpacked, where that needs anything."""
        argument, k = enter.argument, enter.place
        if not self.packed:
            for name in [self.name(atom) for atom in argument.atoms if atom in self.code.numbers]:
                self.write(f"    {name} = float({name})")
            return
        name = self.name(argument.atoms[0]) if argument.whole else f"a{k}"
        fits = f"ndarray and a{k}.shape == {argument.shape}" if argument.shape else "float64"
        self.names[f"packing{k}"] = argument
        self.write(f"    {name} = a{k} if type(a{k}) is {fits} else enter(packing{k}, a{k})")
        if not argument.whole:
            flat = name if len(argument.shape) == 1 else f"{name}.ravel()"
            self.write(f"    ({self.listed(argument.atoms)}) = {flat}")

    def check_finite(self, check: CheckFinite) -> None:
        """Write the check of numbers."""
        for start in range(0, len(check.variables), TERMS):
            names = list(map(self.name, check.variables[start : start + TERMS]))
            total = f"({' + '.join(names)})" if len(names) > 1 else names[0]
            self.write(f"    if {total} * 0.0 != 0.0: raise FloatingPointError")

    def check_numbers(self, form: ResultForm) -> None:
        """Write the check that no leaf of the result is NaN."""
        leaves = [leaf.data if isinstance(leaf, Matrix) else leaf for leaf in form.leaves]
        outputs = dict.fromkeys([self.code.outputs[leaf.place] for leaf in leaves if isinstance(leaf, Leaf)])
        tests = [
            f"{self.name(a)} != {self.name(a)}" if a in self.code.numbers else f"has_nan({self.name(a)})"
            for a in outputs
            if isinstance(a, Var) and a.dtype.kind in "fc"
        ]
        for start in range(0, len(tests), TERMS):
            self.write(f"    if {' or '.join(tests[start : start + TERMS])}: raise FloatingPointError")

    # -- Steps --

    def begin(self, repeat: For) -> None:
        """Write the head of the function, and of the loop in it."""
        program = self.code.program
        read = {*program.outputs, *self.code.kept, *[guard.var for guard in program.guards]}
        read.update(a for line in program.lines for a in line.inputs)
        arguments, kept, sources = [], [], {}
        for k, (var, kind) in enumerate(zip(program.inputs, repeat.inputs, strict=True)):
            if kind == "kept":
                kept.append(self.name(var))
            else:
                arguments.append(f"a{k}" if kind == "each" else self.name(var))
                if kind == "each" and var in read:
                    sources[self.name(var)] = f"a{k}"
        arguments += [f"t{k}" for k, kind in enumerate(repeat.outputs) if kind in ("collect", "sum", "pieces")]
        arguments += [f"z{k}" for k in repeat.resets]
        self.write(f"def step({', '.join(['p', 'r', 'q', *arguments])}):")
        if repeat.asks is not None:
            asked = [self.name(program.inputs[k]) for k in repeat.asks]
            self.write(f"    w = q({', '.join(asked)})[0]")
            self.write("    while w:")
        else:
            if kept:
                sources[f"({', '.join(['_', *kept])})"] = "r"
            if "collect" in repeat.outputs or not sources:
                sources["s"] = "p"
            values = ", ".join(sources.values())
            self.write(f"    for {', '.join(sources)} in {f'zip({values})' if len(sources) > 1 else values}:")
        self.indent = "    "

    def end(self, repeat: For, kept: str) -> None:
        """Write what is done with the results of a step, and what the function returns."""
        results = list(map(self.name, self.code.outputs))
        names = list(map(self.name, self.code.inputs))
        if kept:
            self.write(f"    r({kept})")
        for k, (kind, value) in enumerate(zip(repeat.outputs, results, strict=True)):
            if kind == "collect":
                self.write(f"    t{k}[s] = {value}")
            elif kind == "sum":
                self.write(f"    t{k} += {value}")
            elif kind == "pieces":
                more = itertools.takewhile(lambda n: repeat.outputs[n] == "more", range(k + 1, len(results)))
                self.write(f"    t{k}.add(({''.join([f'{results[n]}, ' for n in (k, *more)])}))")
        carried = {names[k]: value for k, value in zip(repeat.outputs, results, strict=True) if type(k) is int}
        carried.update((names[k], f"z{k}") for k in repeat.resets)
        carried.update(("w", value) for kind, value in zip(repeat.outputs, results, strict=True) if kind == "test")
        if carried:
            self.write(f"    {', '.join(carried)} = {', '.join(carried.values())}")
        self.indent = ""
        left = [name for name, kind in zip(names, repeat.inputs, strict=True) if kind == "carry"]
        left += [f"t{k}" for k, kind in enumerate(repeat.outputs) if kind == "sum"]
        self.write(f"    return ({''.join([f'{name}, ' for name in left]).removesuffix(' ')})")

    # -- The result --

    def returned(self) -> str:
        """Return the expression of the result: of the form of the function's, of the Program's, or a tuple."""
        code = self.code
        if code.form is not None:
            return self.built(code.form.structure, map(self.leaf, code.form.leaves))
        if not self.packed:
            return f"({self.listed(code.outputs)})"
        parts = [self.packed_result(result, k) for k, result in enumerate(code.program.results)]
        return parts[0] if code.program.single else f"({''.join([f'{part}, ' for part in parts])})"

    def packed_result(self, result: Packing, k: int) -> str:
        """Return the expression of one result as the Program lays it out."""
        if result.whole:
            return self.name(result.atoms[0])
        self.names[f"dtype{k}"] = result.dtype
        flat = f"array(({self.listed(result.atoms)}), dtype{k})"
        return flat if len(result.shape) == 1 else f"{flat}.reshape({result.shape})"

    def built(self, structure: Any, leaves: Iterator[str]) -> str:
        """Return the expression of a tree."""
        if structure.is_leaf():
            return next(leaves)
        if structure.type not in (tuple, list, dict):
            parts = list(itertools.islice(leaves, structure.num_leaves))
            return f"{self.constant(structure)}.unflatten([{', '.join(parts)}])" if structure.num_nodes > 1 else "None"
        parts = [self.built(child, leaves) for child in structure.children()]
        if structure.type is tuple:
            return f"({''.join([f'{part}, ' for part in parts])})"
        if structure.type is list:
            return f"[{', '.join(parts)}]"
        places = structure.one_level().unflatten(range(len(parts)))  # by key, in the order of insertion
        return f"{{{', '.join([f'{self.constant(key)}: {parts[k]}' for key, k in places.items()])}}}"

    def leaf(self, leaf: Leaf | Fixed | Matrix) -> str:
        """Return the expression of one leaf, of the type that the function returned."""
        if isinstance(leaf, Matrix):
            return f"{self.constant(leaf)}.build({self.leaf(leaf.data)})"
        if isinstance(leaf, Fixed):
            return self.constant(leaf.value) + '.copy("K")' * (type(leaf.value) is np.ndarray)
        atom, kind = self.code.outputs[leaf.place], leaf.kind
        name, is_number = self.name(atom), atom in self.code.numbers
        if kind in ("float", "int", "bool", "complex"):
            return name if is_number and kind == "float" else f"{kind}({name})"
        if kind == "0-d array":
            return f"array({name})"
        if kind == "array":
            is_own = atom in self.fresh
            self.fresh.discard(atom)
            return name if is_own else f'{name}.copy("K")'
        if isinstance(atom, Var) and is_number:
            return f"{'bool_' if atom.dtype == bool else 'float64'}({name})"
        if isinstance(atom, Var) and atom.dtype == complex and not atom.shape:
            return f"complex128({name})"  # of Python's numbers it may be one
        return name if isinstance(atom, Var) and atom not in self.code.inputs else f"as_value({name})"


_WRITTEN: Mapping[type, Callable[[_Printer, Any], None]] = {
    Enter: _Printer.enter,
    Take: _Printer.take,
    Call: _Printer.call,
    Zeros: _Printer.zeros,
    Add: _Printer.add,
    Check: _Printer.check,
    Exit: _Printer.check,
    Restart: _Printer.check,
    CheckFinite: _Printer.check_finite,
    Free: _Printer.free,
}


_INDEX, _ITEM, _VIEW = "{0}[{index}]", "{0}.item({index})", "{0}[{index}, ...]"
_GLOBALS: Mapping[str, Any] = {
    **{
        f.__name__: f
        for f in (as_value, fail_at, enter, has_nan, type, float, int, bool, complex, locals, FloatingPointError)
    },
    "array": np.array,
    "zeros": np.zeros,  # NumPy's own: while a trace runs, others stand in their places
    "ndarray": np.ndarray,
    "float64": np.float64,
    "complex128": np.complex128,
    "bool_": np.bool_,
}
"""The names that all code may use."""


def _literal(value: Any, in_index: bool = False) -> str | None:
    """Write a short constant out, or a part of an index; None for one that must be a global."""
    kind = type(value)
    if kind in (int, bool, str) or value is None or (kind is float and math.isfinite(value)):
        return repr(value)
    if value is Ellipsis:
        return "..."
    if kind is tuple:
        parts = [_literal(item) for item in value]
        return None if None in parts else f"({', '.join(map(str, parts))}{',' * (len(parts) == 1)})"
    if kind is slice and in_index:
        parts = ["" if part is None else _literal(part) for part in (value.start, value.stop, value.step)]
        return None if None in parts else f"{parts[0]}:{parts[1]}{f':{parts[2]}' * bool(parts[2])}"
    return None


def _key_of(value: Any) -> Any:
    """Return a key of a constant; None if it has none."""
    try:
        key = exactly(value)
        hash(key)
    except TypeError:
        return None
    return key


def _without_full_slices(index: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return an index without full slices in front of an ellipsis, which stands for them, too."""
    start = next((k for k, item in enumerate(index) if type(item) is not slice or item != slice(None)), 0)
    return index[start:] if start and index[start] is Ellipsis else index


def _is_of_arrays(line: Line) -> bool:
    """Return whether a line is arithmetic of arrays in double precision: on their elements, one by one."""
    if line.primitive.compute not in _ELEMENTWISE or line.outputs[0].dtype not in (float, bool):
        return False
    return any(isinstance(a, Var) and a.shape and a.dtype == float for a in line.inputs)


def _as_array(value: Any) -> np.ndarray[Any, Any] | None:
    """Return a number as an array of no dimensions, which NumPy need not convert; None for any other constant."""
    if type(value) not in (int, float, np.float64) or (type(value) is int and abs(value) > 1 << 53):
        return None
    return np.array(value, float)


def _read_by_arrays(code: Code) -> set[Var]:
    """Return the scalars of double precision that are read, and by arithmetic with arrays alone."""
    others: set[Atom] = {*code.outputs, *code.kept}
    scalars: set[Var] = set()
    for statement in code.statements:
        if isinstance(statement, Call):
            atoms = {a for a in statement.line.inputs if isinstance(a, Var) and not a.shape and a.dtype == float}
            (scalars if _is_of_arrays(statement.line) else others).update(atoms)
        elif isinstance(statement, Add):
            others.add(statement.value)
        elif isinstance(statement, CheckFinite):
            others.update(statement.variables)
    return scalars - others


def _is_computed(array: Atom | None, index: tuple[Any, ...]) -> bool:
    """Return whether an index into an array has computed parts alone."""
    if array is None or array.shape == () or (not isinstance(array, Var) and type(array.value) is not np.ndarray):
        return False
    return all(type(item) is Operand for item in index)


def _takes_double(atom: Atom) -> bool:
    """Return whether an operand computes in double precision with a Python number."""
    value = atom if isinstance(atom, Var) else atom.value
    dtype = getattr(value, "dtype", None)
    return dtype is None or dtype in _DOUBLES or dtype.kind in "biu"
