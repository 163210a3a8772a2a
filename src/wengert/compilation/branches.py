"""Branches: a function that takes decisions on values, as a tree of straight code.

Each branch is a Program.  The first is one Python function; where a decision falls otherwise than it did in the trace,
that function leaves by an `Exit`, and the branch that is traced then continues there, with the values that have been
computed so far.  So nothing is computed twice, each branch is compiled once, and a decision is found by the ``if`` that
the user wrote.  What the decisions depend on is computed first.

>>> import numpy as np, wengert as wg
>>> program = wg.trace(lambda x: 2.0 * x if x > 1.0 else -x, fold=False)(3.0)
>>> tree = Tree([np.float64])
>>> branch = tree.add(program, ("leaf", 0, "scalar"), None)
>>> branch.run(np.float64(4.0)), branch.run(np.float64(0.0)) is branch.exits[0]
(np.float64(8.0), True)
>>> print(branch.text)
def branch(x0):
    x0 = float(x0)
    u1 = x0 > 1.0
    if not u1: return e0(locals())
    u2 = 2.0 * x0
    if u2 * 0.0 != 0.0: raise FloatingPointError
    return float64(u2)

Scalars of double precision are Python's own numbers, on which arithmetic takes a tenth of the time and gives the same
bits.  Python does not report overflow, so numbers that could hide it are looked at once in the end; whoever runs a
branch lets NumPy raise where it would warn, and does without the branch if it raises (`wengert.compilation.jit`).
"""

from __future__ import annotations

import itertools
import keyword
import math
import operator
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from wengert import trees
from wengert.passes.simplification import simplify
from wengert.primitives.numpy import elementwise as e
from wengert.primitives.numpy import structural as s
from wengert.program import SMALL, Atom, Guard, Line, Primitive, Program, Var, as_value
from wengert.program.structure import exactly

_array, _zeros = np.array, np.zeros
"""NumPy's own, whatever stands in their places while a trace runs."""
Layout = tuple[Any, ...]
"""Where the results of a Program stand in what the function returned: ``("leaf", k, kind)``, ``("constant", value)``,
``("tuple", layouts)``, ``("list", layouts)``, ``("dict", keys, layouts)`` or ``("tree", structure, layouts)``."""

_OPERATORS: Mapping[Any, str] = {
    operator.add: "{} + {}",
    operator.sub: "{} - {}",
    operator.mul: "{} * {}",
    operator.truediv: "{} / {}",
    operator.neg: "-{}",
    operator.pow: "{} ** {}",
}
_COMPARISONS: Mapping[Primitive, str] = {
    e.greater: "{} > {}",
    e.greater_equal: "{} >= {}",
    e.less: "{} < {}",
    e.less_equal: "{} <= {}",
    e.equal: "{} == {}",
    e.not_equal: "{} != {}",
}
_NUMBERS = (float, int, np.float64, np.integer, np.bool_)
_DOUBLES = frozenset({np.dtype(float), np.dtype(complex)})
_RESERVED = frozenset({"v", "float", "int", "bool", "complex", "locals", "branch", "FloatingPointError"})
_MAKES_ITS_OWN = frozenset({
    s.stack, s.concatenate, s.setitem, s.put, s.scatter, s.where, s.sum_, s.cumsum, s.matmul, s.astype,
})  # fmt: skip
"""Primitives, beside the elementwise, whose result is always memory of its own."""


class Exit:
    """Where a branch is left because a decision falls otherwise: it goes on with another one, once there is one."""

    __slots__ = ("branch", "continuation", "guard", "position")

    def __init__(self, branch: Branch, guard: Guard, position: int) -> None:
        self.branch, self.guard, self.position = branch, guard, position
        self.continuation: Branch | None = None

    def __call__(self, values: dict[str, Any]) -> Any:
        """Go on with the values by their names; return this exit where no branch continues here."""
        return self if self.continuation is None else self.continuation.run(values)


class Tree:
    """All branches of a function for arguments of some types, shapes and dtypes.

    Attributes
    ----------
    branches
        All of them.
    roots
        Those that begin with the arguments: the first, and those that take other decisions inside a loop.
    """

    __slots__ = ("branches", "kinds", "lock", "names", "roots", "types")

    def __init__(self, types: Sequence[type]) -> None:
        self.types = types
        self.lock = threading.RLock()
        """Held while a branch is compiled: its names must be those that its exits hand on."""
        self.branches: list[Branch] = []
        self.roots: list[Branch] = []
        self.kinds = {f"x{k}": "float" if kind is float else "" for k, kind in enumerate(types)}
        """By name, which values are Python's own: "float", "computed" (by Python's arithmetic), "bool"; else ""."""
        self.names = (f"u{k}" for k in itertools.count(1))

    def add(self, program: Program, layout: Layout, exit_: Exit | None) -> Branch:
        """Add a branch that begins with the arguments, or else continues where another was left."""
        branch = Branch(self, program, layout, exit_)
        self.branches.append(branch)
        if exit_ is None:
            self.roots.append(branch)
        else:
            exit_.continuation = branch
        return branch


class Branch:
    """One branch: a Program, written as Python code when it is first run.

    Attributes
    ----------
    program
        All lines, from the arguments on.
    """

    __slots__ = ("_exit", "_layout", "_tree", "_writer", "program", "run")

    def __init__(self, tree: Tree, program: Program, layout: Layout, exit_: Exit | None) -> None:
        self.program, self._tree, self._layout, self._exit = program, tree, layout, exit_
        self._writer: _Writer | None = None
        self.run: Callable[..., Any] = self._compile_and_run

    def _compile_and_run(self, *args: Any) -> Any:
        self.written  # noqa: B018 - compiles
        return self.run(*args)

    @property
    def written(self) -> _Writer:
        """The code, and what is known of its names."""
        with self._tree.lock:
            if self._writer is None:
                with np.errstate(all="ignore"):
                    self.program = simplify(self.program, exact=True)
                writer = _Writer(self, self._tree, self._layout, self._exit)
                names = writer.constants
                exec(compile(writer.text, f"<wengert jit of {self.program.name}>", "exec"), names)
                self._writer, self.run = writer, names.pop("branch")
            return self._writer

    @property
    def text(self) -> str:
        """The source of the code."""
        return self.written.text

    @property
    def exits(self) -> list[Exit]:
        """Where the branch is left, in the order of its decisions."""
        return self.written.exits


class _Writer:
    """Writes the code of a branch.

    A value that an earlier branch has computed before it was left is recognized by its `key` and keeps its name.
    """

    def __init__(self, branch: Branch, tree: Tree, layout: Layout, exit_: Exit | None) -> None:
        self.branch, self.tree = branch, tree
        self.constants: dict[str, Any] = {"float64": np.float64, "bool_": np.bool_, "array": _array, "zeros": _zeros,
                                          "as_value": as_value, "unflatten": trees.unflatten}  # fmt: skip
        self.numbers = itertools.count(1)
        self.exits: list[Exit] = []
        self.position = 0
        self.path: list[tuple[_Writer, int]] = []
        """The branches that this one continues, each with the position where it is left."""
        if exit_ is not None:
            before = exit_.branch.written
            self.path = [*before.path, (before, exit_.position)]
        self.keys: dict[Any, tuple[str, int]] = {}
        self.decided: dict[Any, int] = {}
        self.hiding: dict[str, int] = {}
        """Numbers made by Python's arithmetic that something reads which could hide that they are infinite."""
        self.called: dict[Var, str] = {}
        self.loaded: dict[str, None] = {}
        self.defined: set[str] = set()
        self.code: list[str] = []
        self.last_read: dict[str, int] = {}
        """By the names of values, the line of code that reads them last."""
        self.last_exit = -1
        program = branch.program
        self.made_by = {var: line for line in program.lines for var in line.outputs}
        self._count_uses(program)
        self.called = {var: f"x{k}" for k, var in enumerate(program.inputs)}
        if exit_ is None:
            self.defined.update(self.called.values())
            for (var, name), kind in zip(self.called.items(), tree.types, strict=True):
                if kind is not float and not var.shape and var.dtype == float:
                    self.code.append(f"    {name} = float({name})")
                    tree.kinds[name] = "float"
        for line, guards in _decisions_first(program):
            if line is not None:
                self._line(line)
            for guard in guards:
                self._check(guard, exit_)
        self._free(program)
        self._look_at_hiding()
        self.code.append(f"    return {self._returned(layout, set())}")
        parameters = ", ".join(self.called[var] for var in program.inputs) if exit_ is None else "v"
        loads = [f'    {name} = v["{name}"]' for name in self.loaded]
        self.text = "\n".join([f"def branch({parameters}):", *loads, *self.code])

    # -- What is known already --

    def _find(self, table: str, key: Any) -> Any:
        """Look something up that this branch, or one that it continues, has come to before it was left."""
        entry = getattr(self, table).get(key)
        if entry is not None:
            return entry
        for writer, position in self.path:
            entry = getattr(writer, table).get(key)
            if entry is not None and (entry if type(entry) is int else entry[1]) <= position:
                return entry
        return None

    def _count_uses(self, program: Program) -> None:
        """Count where scalars are read by arithmetic, and where by decisions alone."""
        self.in_arithmetic: dict[Var, int] = {}
        asked = {guard.var for guard in program.guards}
        read = {a for a in program.outputs if isinstance(a, Var)}
        for line in program.lines:
            read.update(a for a in line.inputs if isinstance(a, Var))
            if line.primitive.compute in _OPERATORS and not line.outputs[0].shape:
                for a in line.inputs:
                    if isinstance(a, Var):
                        self.in_arithmetic[a] = self.in_arithmetic.get(a, 0) + 1
        self.asked_only = asked - read

    # -- Operands --

    def _name(self, atom: Atom) -> str:
        if isinstance(atom, Var):
            name = self.called[atom]
            if name not in self.defined:
                self.loaded[name] = None
            return name
        value = atom.value
        if type(value) in (int, bool) or (type(value) is float and math.isfinite(value)):
            return f"({value!r})" if str(value).startswith("-") else repr(value)
        return self._constant(value)

    def _constant(self, value: Any) -> str:
        name = f"c{next(self.numbers)}"
        self.constants[name] = value
        return name

    def _is_number(self, atom: Atom) -> bool:
        """Tell whether an operand is a Python number, or a constant that may stand for one in double precision."""
        if isinstance(atom, Var):
            return self.tree.kinds[self.called[atom]] in ("float", "computed")
        return isinstance(atom.value, _NUMBERS)

    def _number(self, atom: Atom) -> str:
        if isinstance(atom, Var) or type(atom.value) in (int, bool, float):
            return self._name(atom)
        value = float(atom.value)
        if not math.isfinite(value):
            return self._constant(value)
        return f"({value!r})" if str(value).startswith("-") else repr(value)

    def _hides(self, atoms: Sequence[Atom]) -> None:
        """Note that what is made of some operands may be finite where they are not."""
        for atom in atoms:
            if isinstance(atom, Var):
                self.hiding.setdefault(self.called[atom], self.position)

    def _operand(self, line: Line, atom: Atom) -> str:
        """Write an operand for NumPy: a Python number is one of double precision where that makes a difference."""
        name = self._name(atom)
        if isinstance(atom, Var) and self.tree.kinds[name] == "bool":  # another branch only asked for it
            return f"bool_({name})"
        if not isinstance(atom, Var) or not self._is_number(atom):
            return name
        self._hides([atom])
        others = [a for a in line.inputs if a is not atom]
        weak = line.primitive.elementwise and isinstance(line.primitive.numpy, np.ufunc)
        weak = weak and all(map(self._takes_double, others))
        if line.primitive.compute in _OPERATORS:  # of two Python numbers it would be Python's own
            weak = weak and any(self._is_numpys(a) for a in others)
        return name if weak else f"float64({name})"

    def _is_numpys(self, atom: Atom) -> bool:
        if isinstance(atom, Var):
            return not self._is_number(atom)
        return isinstance(atom.value, (np.ndarray, np.generic))

    def _takes_double(self, atom: Atom) -> bool:
        if isinstance(atom, Var):
            return atom.dtype in _DOUBLES or atom.dtype.kind in "biu"
        value = atom.value
        if isinstance(value, (np.ndarray, np.generic)):
            return value.dtype in _DOUBLES or value.dtype.kind in "biu"
        return True

    # -- Lines --

    def _line(self, line: Line) -> None:
        key = self._key(line)
        entry = self._find("keys", key)
        if entry is not None:
            names = entry[0].split()
            self.called.update(zip(line.outputs, names, strict=True))
            return
        names = [next(self.tree.names) for _ in line.outputs]
        call, kind = self._call(line)
        self.code.append(f"    {', '.join(names)}{',' * line.primitive.multiple} = {call}")
        if line.primitive is s.put and call.startswith("zeros"):
            for atom, index in zip(line.inputs, line.params["indices"], strict=True):
                index = (slice(None),) * line.params["batch"] + tuple(index)
                self.code.append(f"    {names[0]}[{_written_index(index)}] += {self._name(atom)}")
        read = [self.called[a] for a in line.inputs if isinstance(a, Var)]
        self.last_read.update(dict.fromkeys(read, len(self.code) - 1))
        self.called.update(zip(line.outputs, names, strict=True))
        self.defined.update(names)
        self.tree.kinds.update(dict.fromkeys(names, kind))
        self.position += 1
        self.keys[key] = " ".join(names), self.position

    def _key(self, line: Line) -> Any:
        operands = tuple(self.called[a] if isinstance(a, Var) else (exactly(a.value),) for a in line.inputs)
        params = tuple((name, exactly(value)) for name, value in line.params.items())
        key = (line.primitive, operands, params)
        try:
            hash(key)
        except TypeError:
            return id(line)  # which the Program of this branch holds
        return key

    def _call(self, line: Line) -> tuple[str, str]:
        """Write what computes a line, and tell whether that is a Python number."""
        primitive, inputs = line.primitive, line.inputs
        out = line.outputs[0] if line.outputs else None
        if out is None or primitive.multiple:
            return self._by_function(line), ""
        if not out.shape and not line.params and all(map(self._is_number, inputs)):
            written = self._arithmetic(primitive, inputs, out)
            if written is not None:
                return written
        if primitive is s.getitem and len(inputs) == 1 and isinstance(inputs[0], Var):
            return self._element(line, inputs[0], out)
        if primitive is s.put and self._adds_by_slices(line, out):
            self._hides(inputs)
            return f"zeros({out.shape})", ""
        sign = _OPERATORS.get(primitive.compute)
        if sign is not None:
            return sign.format(*[self._operand(line, a) for a in inputs]), ""
        if not out.shape:
            call = self._by_function(line)
            if out.dtype == float and self.in_arithmetic.get(out):
                return f"float({call})", "float"
            is_ufunc = primitive.elementwise and isinstance(primitive.numpy, np.ufunc)
            return (call if is_ufunc else f"as_value({call})"), ""
        if primitive is s.stack and (stacked := self._stacked(line, out)) is not None:
            return stacked, ""
        if primitive in (s.reshape, s.transpose) and isinstance(inputs[0], Var) and inputs[0].shape:
            (value,) = line.params.values()
            return f"{self._name(inputs[0])}.{primitive.name}({value})", ""
        return self._by_function(line), ""

    def _arithmetic(self, primitive: Primitive, inputs: Sequence[Atom], out: Var) -> tuple[str, str] | None:
        """Write arithmetic on Python numbers; None for what Python computes in another way than NumPy."""
        written = [self._number(a) for a in inputs]
        sign = _OPERATORS.get(primitive.compute)
        if sign is not None and primitive is not e.power and out.dtype == float:
            if primitive is e.divide:
                self._hides(inputs[1:])
            call = sign.format(*written)
        elif primitive is e.power and out.dtype == float:
            exponent = getattr(inputs[1], "value", None)
            if exponent is None or not isinstance(inputs[0], Var) or not float(exponent).is_integer():
                return None  # Python's power of a negative number is complex
            if exponent < 0:
                self._hides(inputs[:1])
            call = f"{written[0]} ** {int(exponent)}"
        elif primitive in _COMPARISONS and out in self.asked_only:
            self._hides(inputs)
            return _COMPARISONS[primitive].format(*written), "bool"
        else:
            return None
        return call, "computed"

    def _element(self, line: Line, var: Var, out: Var) -> tuple[str, str]:
        """Write an index: of one number in double precision as Python's own."""
        name, index = self._operand(line, var), line.params["index"]
        if (
            out.shape == ()
            and out.dtype == float
            and len(index) == len(var.shape)
            and all(type(i) is int for i in index)
        ):
            return f"{name}.item({', '.join(map(str, index))})", "float"
        if _is_written(index):
            element = f"{name}[{_written_index(index)}]"
            return (f"as_value({element})" if not out.shape and Ellipsis in index else element), ""
        return f"{name}[{self._constant(index)}]", ""

    def _stacked(self, line: Line, out: Var) -> str | None:
        """Write a stack as np.array, which takes a third of the time; None where it would be another array."""
        if len(out.shape) == 1:
            if out.dtype != float or not all(a.shape == () for a in line.inputs):
                return None
            self._hides(line.inputs)
            return f"array(({self._listed(line.inputs)}))"
        rows = [a if isinstance(a, Var) else a.value for a in line.inputs]
        if len(out.shape) != 2 or any(getattr(row, "dtype", None) != out.dtype or len(row.shape) != 1 for row in rows):
            return None
        made = f"array(({self._listed(line.inputs)}))"
        return made if line.params["axis"] == -2 else f"{made}.T.copy()"

    def _adds_by_slices(self, line: Line, out: Var) -> bool:
        """Tell whether pieces of double precision are added at integers and slices, so that it can be written so."""
        pieces = all(isinstance(a, Var) and a.dtype == float for a in line.inputs)
        return pieces and out.dtype == float and all(map(_is_written, line.params["indices"]))

    def _listed(self, atoms: Sequence[Atom]) -> str:
        return "".join(f"{self._name(atom)}, " for atom in atoms)

    def _by_function(self, line: Line) -> str:
        operands = [self._operand(line, a) for a in line.inputs]
        function = self._function(line.primitive)
        params = [f"{name}={self._parameter(value)}" for name, value in line.params.items()]
        return f"{function}({', '.join([*operands, *params])})"

    def _function(self, primitive: Primitive) -> str:
        """Name what computes a primitive as the primitive is called."""
        name = re.sub(r"\W", "_", primitive.name)
        while (
            name in _RESERVED
            or keyword.iskeyword(name)
            or re.fullmatch(r"[cexu]\d+", name)
            or self.constants.get(name, primitive.compute) is not primitive.compute
        ):
            name += "_"
        self.constants[name] = primitive.compute
        return name

    def _parameter(self, value: Any) -> str:
        return repr(value) if value is None or type(value) in (int, bool) else self._constant(value)

    # -- Decisions --

    def _check(self, guard: Guard, exit_: Exit | None) -> None:
        name = self.called[guard.var]
        key = (name, type(guard.value), guard.value)
        if self._find("decided", key) is not None:
            return
        opposite = (name, bool, not guard.value)
        self.position += 1
        self.decided[key] = self.position
        if exit_ is not None and type(guard.value) is bool and self._left_by(exit_, opposite):
            return  # the one decision that was not the other is this one
        self._name(guard.var)
        self._hides([guard.var])
        test = f"{'not ' * guard.value}{name}" if type(guard.value) is bool else f"int({name}) != {guard.value}"
        values = "locals()" if exit_ is None else "{**v, **locals()}"
        self.constants[f"e{len(self.exits)}"] = leaves = Exit(self.branch, guard, self.position - 1)
        self.code.append(f"    if {test}: return e{len(self.exits)}({values})")
        self.exits.append(leaves)
        self.last_exit = len(self.code) - 1

    def _left_by(self, exit_: Exit, decision: Any) -> bool:
        """Tell whether the branch that this one continues was left because a decision was not this one."""
        writer = exit_.branch.written
        taken = writer.called[exit_.guard.var], type(exit_.guard.value), exit_.guard.value
        return bool(taken == decision)

    # -- The end --

    def _free(self, program: Program) -> None:
        """Let large values go behind the line that reads them last; only behind the last decision, which needs all."""
        stay = {self.called[a] for a in (*program.outputs, *program.inputs) if isinstance(a, Var)}
        gone: dict[int, list[str]] = {}
        for line in program.lines:
            for var in line.outputs:
                name = self.called[var]
                if var.size > SMALL and name in self.defined and name not in stay:
                    gone.setdefault(self.last_read[name], []).append(name)
        for k in sorted(gone, reverse=True):
            if k > self.last_exit:
                self.code.insert(k + 1, f"    del {', '.join(gone[k])}")

    def _look_at_hiding(self) -> None:
        program = self.branch.program
        self._hides([a for a in program.outputs if isinstance(a, Var)])
        names = dict.fromkeys(self.hiding)
        for writer, position in self.path:
            names.update(dict.fromkeys(name for name, at in writer.hiding.items() if at <= position))
        made = [name for name in names if self.tree.kinds[name] == "computed"]
        for name in made:
            if name not in self.defined:
                self.loaded[name] = None
        if made:
            total = f"({' + '.join(made)})" if len(made) > 1 else made[0]
            self.code.append(f"    if {total} * 0.0 != 0.0: raise FloatingPointError")

    def _returned(self, layout: Layout, taken: set[str]) -> str:
        """Write what the function returned, each array of its own memory."""
        form = layout[0]
        if form == "leaf":
            return self._result(self.branch.program.outputs[layout[1]], layout[2], taken)
        if form == "constant":
            value = layout[1]
            if type(value) is np.ndarray:
                return f'{self._constant(value)}.copy("K")'
            return self._constant(value)
        parts = [self._returned(part, taken) for part in layout[-1]]
        if form == "tuple":
            return f"({''.join(f'{part}, ' for part in parts)})"
        if form == "list":
            return f"[{', '.join(parts)}]"
        if form == "dict":
            return f"{{{', '.join(f'{self._constant(k)}: {part}' for k, part in zip(layout[1], parts, strict=True))}}}"
        return f"unflatten({self._constant(layout[1])}, [{', '.join(parts)}])"

    def _result(self, atom: Atom, kind: str, taken: set[str]) -> str:
        name = self._name(atom)
        number = isinstance(atom, Var) and self._is_number(atom)
        if kind in ("float", "int", "bool", "complex"):
            return name if number and kind == "float" else f"{kind}({name})"
        if kind == "scalar":
            if number:
                return f"float64({name})"
            is_scalar = isinstance(atom, Var) and name[0] == "u" and self.tree.kinds[name] != "bool"
            return name if is_scalar else f"as_value({name})"
        if kind == "array without dimensions":
            return f"array({name})"
        again = name in taken
        taken.add(name)
        is_own = not again and isinstance(atom, Var) and self._is_own(atom)
        return name if is_own else f'{name}.copy("K")'

    def _is_own(self, var: Var) -> bool:
        """Tell whether a result is memory that nothing else shares: what no argument, constant or other result is."""
        line = self.made_by.get(var)
        if line is None:
            return False
        primitive = line.primitive
        return primitive in _MAKES_ITS_OWN or (primitive.elementwise and isinstance(primitive.numpy, np.ufunc))


_SIMPLE = frozenset({int, type(None), type(...)})


def _is_written(index: tuple[Any, ...]) -> bool:
    """Tell whether an index can be written out: integers, slices of such, newaxis and the ellipsis."""
    return all(
        type(item) in _SIMPLE
        or (type(item) is slice and all(type(part) in _SIMPLE for part in (item.start, item.stop, item.step)))
        for item in index
    )


def _written_index(index: tuple[Any, ...]) -> str:
    written = s.write_index(index)
    return f"{written}," if len(index) == 1 and type(index[0]) is not slice else written


def _decisions_first(program: Program) -> Iterator[tuple[Line | None, list[Guard]]]:
    """Yield the lines, those that decisions depend on first, each with the decisions to check behind it."""
    made_by = {var: line for line in program.lines for var in line.outputs}
    place = {line: k for k, line in enumerate(program.lines)}
    done: set[Line] = set()
    for guard in program.guards:
        needed, stack = set(), [guard.var]
        while stack:
            line = made_by.get(stack.pop())
            if line is not None and line not in done and line not in needed:
                needed.add(line)
                stack += [a for a in line.inputs if isinstance(a, Var)]
        done |= needed
        for line in sorted(needed, key=place.__getitem__):
            yield line, []
        yield None, [guard]
    for line in program.lines:
        if line not in done:
            yield line, []
