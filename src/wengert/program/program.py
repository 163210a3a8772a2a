"""The Wengert list: a function written down as a straight list of lines, each one primitive of earlier variables.

Grammar::

    program  ::= argument* line* result*
    line     ::= u_k = primitive(atom, ..., param=value, ...)      # the place in the user's code
    atom     ::= u_k | constant
    argument ::= name = u_k                  # one variable for the whole array, or
               | name = (u_k, u_{k+1}, ...)  # one for each of its elements, row by row
    result   ::= the same, of atoms

Variables are numbered as in Griewank & Walther: ``u_{1-n} ... u_0`` are the n independent ones, ``u_1 ...`` the
intermediate ones, in the order in which they are computed.  A parameter of a line may hold a Program of its own
(a loop's body).  A Program holds for one set of shapes and for one branch: the *guards* say which.

>>> import numpy as np, wengert as wg
>>> program = wg.trace(lambda x: np.array([x[0] * (x[1] - x[2]), x[2] * np.log(1 - x[0])]))(np.array([0.5, 2.0, 3.0]))
>>> print(program.listing(places=False))
x_1 = u_{-2}, x_2 = u_{-1}, x_3 = u_0
u_1 = u_{-1} - u_0
u_2 = 1 - u_{-2}
u_3 = log(u_2)
u_4 = u_{-2} * u_1  = y_1
u_5 = u_0 * u_3     = y_2
"""

from __future__ import annotations

import base64
import inspect
import keyword
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wengert.errors import ArgumentError, BranchError, Location, ProgramError, RawLocation, ShapeError

Array = Any
Shape = tuple[int, ...]
SMALL = 256
"""Values of up to so many elements are kept: freeing or replacing them costs more than it saves."""


class Recordable:
    """The base of traced values, here so that a primitive can tell one without knowing how tracing works."""

    __slots__ = ()

    def record(self, primitive: Primitive, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
        """Write a line on the innermost list that any of `args` belongs to, and return its traced value."""
        raise NotImplementedError


class Shaped:
    """What is kept of a value whose elements nobody will read again: its shape and dtype."""

    __slots__ = ("dtype", "shape")

    def __init__(self, shape: Shape, dtype: np.dtype[Any]) -> None:
        self.shape, self.dtype = shape, dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def __repr__(self) -> str:
        return f"Shaped({self.shape}, {self.dtype})"


Partial = Callable[..., Any]


class Primitive:
    """One row of the table: an elemental function and all that is known of it.

    `numpy` computes it on plain values.  ``partials[k]`` is the local partial with respect to the k-th argument, a
    function of the result and the arguments, ``lambda y, x: 1 / x``; it returns the diagonal (for an elementwise
    primitive) or a `LocalJacobian` (for any other), and is None where the derivative is zero or does not exist.
    A parameter whose name begins with an underscore is only asked for its shape and dtype, so its elements need not
    be kept for the derivative: ``lambda y, _x: y``.  A *variadic* primitive has one rule for all its arguments, which
    takes the position first.  A *multiple* primitive returns a tuple, and its line has an output for each (a loop).
    `joint` and `joint_pull` push all tangents and pull all adjoints of a line at once, where that is less work than one
    argument after the other; `together` returns the partials with respect to all arguments, where their pulls have work
    in common.  Calling a primitive on traced values records a line.

    >>> import numpy as np
    >>> cube = Primitive("cube", lambda x: x**3, (lambda _y, x: 3 * x**2,))
    >>> float(cube(2.0)), float(cube.partials[0](None, 2.0)), cube.keeps
    (8.0, 12.0, (False, True))
    """

    __slots__ = (
        "compute",
        "counts",
        "domain",
        "elementwise",
        "formula",
        "joint",
        "joint_pull",
        "keeps",
        "keeps_all",
        "kink",
        "multiple",
        "name",
        "numpy",
        "partials",
        "reads",
        "source",
        "together",
        "variadic",
    )

    def __init__(
        self,
        name: str,
        numpy: Callable[..., Any],
        partials: Sequence[Partial | None] = (),
        *,
        elementwise: bool = True,
        variadic: bool = False,
        multiple: bool = False,
        joint: Callable[..., Any] | None = None,
        joint_pull: Callable[..., Any] | None = None,
        together: Callable[..., Sequence[Any]] | None = None,
        operator: Callable[..., Any] | None = None,
        source: str | Callable[[Sequence[str], Mapping[str, Any]], str] | None = None,
        formula: str | Callable[..., Any] | None = None,
        counts: str | Callable[..., dict[str, int]] | None = None,
        domain: tuple[tuple[float, float], ...] | None = None,
        kink: str = "",
    ) -> None:
        self.name, self.numpy, self.partials = name, numpy, tuple(partials)
        self.elementwise, self.variadic, self.multiple = elementwise, variadic, multiple
        self.joint, self.joint_pull, self.together = joint, joint_pull, together
        self.compute = operator or numpy  # Python's own operators are ten times as fast on scalars
        self.source, self.formula, self.counts, self.domain, self.kink = source, formula, counts, domain, kink
        self.keeps = _what_the_rules_read(self.partials, variadic)
        self.keeps_all = bool(self.keeps) and all(self.keeps)
        self.reads = () if variadic else tuple(_what_the_rules_read((rule,), False) for rule in self.partials)

    def __call__(self, *args: Any, **params: Any) -> Any:
        for a in args:
            if isinstance(a, Recordable):
                return a.record(self, args, params)
        return self.numpy(*args, **params)

    def partial(self, position: int) -> Partial | None:
        """Return the rule for the argument at `position` (any position, for a variadic primitive)."""
        if self.variadic:
            rule = self.partials[0]
            return None if rule is None else lambda *kept, **params: rule(position, *kept, **params)
        return self.partials[position] if position < len(self.partials) else None

    def write(self, args: Sequence[str], params: Mapping[str, Any]) -> str:
        """Write a call of this primitive as a NumPy expression."""
        if callable(self.source):
            return self.source(args, params)
        if self.source is not None:
            return self.source.format(*args)
        extras = [f"{key}={value!r}" for key, value in params.items()]
        return f"np.{self.name}({', '.join([*args, *extras])})"

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"


def _what_the_rules_read(partials: Sequence[Partial | None], variadic: bool) -> tuple[bool, ...]:
    """Tell which of (result, first argument, second...) the rules read, from the names of their parameters."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    reads: list[bool] = []
    for rule in partials:
        if rule is None:
            continue
        names = [
            name
            for name, p in inspect.signature(rule).parameters.items()
            if p.kind in kinds or p.kind is p.VAR_POSITIONAL
        ]
        if variadic:
            names = names[1:]
        for k, name in enumerate(names):
            if k == len(reads):
                reads.append(False)
            reads[k] = reads[k] or not name.startswith("_")
    return tuple(reads)


@dataclass(frozen=True, slots=True, eq=False)
class Var:
    """A variable of the list, printed ``u_{number}``."""

    number: int
    shape: Shape
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    def __str__(self) -> str:
        return f"u_{self.number}" if self.number >= 0 else f"u_{{{self.number}}}"


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """A value that does not depend on the independent variables."""

    value: Any

    @property
    def shape(self) -> Shape:
        """The shape of the value."""
        return np.shape(self.value)

    @property
    def size(self) -> int:
        """The number of elements."""
        return np.size(self.value)

    def __str__(self) -> str:
        value = self.value
        if isinstance(value, np.ndarray) and value.size > 4:
            return f"[{value.dtype.name} {'x'.join(map(str, value.shape))}]"
        if isinstance(value, np.ndarray):
            return "[" + " ".join(np.array2string(value, precision=6).split()).strip("[]") + "]"
        return f"{value:.6g}" if isinstance(value, (float, np.floating)) else f"{value}"


Atom = Var | Constant


class _Brief:
    """What stands for a long array where a line is printed."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _brief(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.size > 4:
        return _Brief(str(Constant(value)))
    return tuple(_brief(v) for v in value) if isinstance(value, tuple) else value


class Held:
    """What a line holds beside its operands: Programs, and how they are run (a loop, a branch); see `wengert.control`.

    It is the line's parameter ``held``.
    """

    __slots__ = ()

    @property
    def programs(self) -> tuple[Program, ...]:
        """The Programs, in the order in which they are printed."""
        raise NotImplementedError

    @property
    def times(self) -> tuple[int, ...]:
        """How often each Program runs."""
        raise NotImplementedError

    def weighed(self) -> list[tuple[Program, int]]:
        """Return Programs and how often they run, as far as is known without recording anything: for a rough count."""
        return list(zip(self.programs, self.times, strict=True))

    def heading(self) -> str:
        """Say in a few words how they are run: ``1,000 steps``."""
        raise NotImplementedError

    def titles(self) -> tuple[str, ...]:
        """Say for each Program what it is: ``step``, ``where true``."""
        raise NotImplementedError

    def note(self) -> str:
        """Say what a reverse sweep keeps of this line, in bytes, and what it runs again; or nothing."""
        return ""

    def source(self, names: Sequence[str], args: Sequence[str], left: Sequence[str]) -> list[str]:
        """Write the line as Python statements; the Programs are functions of the given names."""
        raise NotImplementedError

    def swept(self, moving: Sequence[bool]) -> tuple[Any, Any, int] | None:
        """Count the line where it is itself a sweep over another: once, in each pass, and the values kept for it.

        Only the `moving` operands change from pass to pass; None if that is not how the line came about.
        """
        return None


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """One line of the list: ``outputs = primitive(inputs, **params)``, and where in the user's code it comes from."""

    primitive: Primitive
    inputs: tuple[Atom, ...]
    outputs: tuple[Var, ...]
    params: Mapping[str, Any] = field(default_factory=dict)
    place: RawLocation | None = None

    @property
    def location(self) -> Location | None:
        """The place in the user's code."""
        return Location.of(self.place)

    @property
    def programs(self) -> tuple[Program, ...]:
        """The Programs that this line holds (the body of a loop)."""
        held = self.held
        return () if held is None else held.programs

    @property
    def held(self) -> Held | None:
        """What this line holds beside its operands; None for most lines."""
        held = self.params.get("held") if self.primitive.multiple else None
        return held if isinstance(held, Held) else None

    def __str__(self) -> str:
        left = ", ".join(map(str, self.outputs))
        params = {name: _brief(value) for name, value in self.params.items()}
        return f"{left} = {readable(self.primitive.write([str(a) for a in self.inputs], params))}"


@dataclass(frozen=True, slots=True, eq=False)
class Guard:
    """A decision that the user's code took on a value: the Program holds only where it is taken again."""

    var: Var
    value: bool | int
    place: RawLocation | None = None

    def __str__(self) -> str:
        return f"where {self.var} is {self.value}"


@dataclass(frozen=True, slots=True, eq=False)
class Packing:
    """How an argument or result is laid out in variables: one for the whole array, or one for each element."""

    name: str
    shape: Shape
    dtype: np.dtype[Any]
    atoms: tuple[Atom, ...]

    @property
    def whole(self) -> bool:
        """True if one variable holds the whole array."""
        return len(self.atoms) == 1 and self.atoms[0].shape == self.shape

    @property
    def names(self) -> list[str]:
        """The names of the variables: ``x``, or ``x_1, x_2, ...`` counted from 1 as mathematicians do."""
        if self.whole:
            return [self.name]
        if len(self.shape) == 1:
            return [f"{self.name}_{k + 1}" for k in range(len(self.atoms))]
        indices = np.ndindex(*self.shape)
        return [f"{self.name}_{{{','.join(str(i + 1) for i in index)}}}" for index in indices]

    def unpack(self, value: Array) -> list[Any]:
        """Split a value into those of the variables; ArgumentError or ShapeError if it does not fit."""
        value = as_value(value)
        if np.shape(value) != self.shape:
            raise ShapeError(
                f"argument {self.name} has shape {np.shape(value)}, and this Program was traced for {self.shape}.\n"
                f"Trace the function again for the new shape: wg.trace(f)(...)."
            )
        if self.whole:
            return [value]
        return [value[index] for index in np.ndindex(*self.shape)]

    def pack(self, values: Sequence[Any]) -> Array:
        """Put the values of the variables together again."""
        if self.whole:
            return values[0]
        if any(isinstance(v, Recordable) for v in values):
            parts: list[Any] = [v if isinstance(v, Recordable) else np.asarray(v, self.dtype) for v in values]
            return np.stack(parts).reshape(self.shape)
        return np.array(values, self.dtype).reshape(self.shape)


class Trees:
    """How trees of arrays become the arguments of a Program, and its results a tree; see `wengert.api`."""

    __slots__ = ()

    def split(self, args: Sequence[Any]) -> Sequence[Any]:
        """Take the arguments of the function apart, into those of the Program."""
        raise NotImplementedError

    def join(self, results: Sequence[Any]) -> Any:
        """Put the results of the Program together, as the function returned them."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A function written down: arguments, lines, guards, results.  Call it to evaluate it.

    >>> import numpy as np, wengert as wg
    >>> program = wg.trace(lambda x: np.exp(2 * x))(0.5)
    >>> float(program(0.0)), len(program.lines)
    (1.0, 2)
    """

    name: str
    arguments: tuple[Packing, ...]
    lines: tuple[Line, ...]
    results: tuple[Packing, ...]
    guards: tuple[Guard, ...] = ()
    single: bool = True
    """True if the function returned one array, False for several."""
    trees: Trees | None = None
    """How the arguments and the results are laid out as trees; None if they are arrays."""

    @property
    def inputs(self) -> tuple[Var, ...]:
        """The independent variables."""
        return tuple(atom for argument in self.arguments for atom in argument.atoms if isinstance(atom, Var))

    @property
    def outputs(self) -> tuple[Atom, ...]:
        """The dependent variables (constants, where a result does not depend on the arguments)."""
        return tuple(atom for result in self.results for atom in result.atoms)

    def __call__(self, *args: Any) -> Any:
        return evaluate(self, *args)

    def source(self) -> str:
        """Write the Program as NumPy code that runs alone and gives the same values."""
        return write_source(self)

    def listing(self, places: bool = True) -> str:
        """Write the Program in the reference text's numbering; with `places`, each line with its place in the code."""
        return write_listing(self, places)

    def __str__(self) -> str:
        return self.listing()

    def __repr__(self) -> str:
        n, m = sum(v.size for v in self.inputs), sum(math.prod(r.shape) for r in self.results)
        inside = len({id(line) for line in walk(self)}) - len(self.lines)
        more = f", {inside} in bodies" if inside else ""
        return f"<Program {self.name}: R^{n} -> R^{m}, {len(self.lines)} lines{more}>"


# ---- Check ----


def check(program: Program) -> None:
    """Check that a Program is well formed; raise ProgramError naming the first line that is not.

    Every variable is defined once and before it is used, numbers rise, packings fit their shapes.
    """
    defined: set[Var] = set()

    def fail(reason: str, line: Line | None = None) -> None:
        message = [f"{program.name} is not a Program: {reason}."]
        if line is not None:
            at = program.lines.index(line)
            message += [
                ("> " if k == at else "  ") + str(program.lines[k])
                for k in range(max(0, at - 2), min(len(program.lines), at + 3))
            ]
            if line.location is not None:
                message.append(line.location.excerpt())
        raise ProgramError("\n".join(message))

    for packing in program.arguments:
        for atom in packing.atoms:
            if not isinstance(atom, Var) or atom.number > 0:
                fail(f"argument {packing.name} is laid out in {atom}, which is no independent variable")
            elif atom in defined:
                fail(f"{atom} stands twice among the arguments")
            else:
                defined.add(atom)
    last = 0
    for line in program.lines:
        for atom in line.inputs:
            if isinstance(atom, Var) and atom not in defined:
                fail(f"{atom} is used before it is defined", line)
        for var in line.outputs:
            if var.number <= last:
                fail(f"{var} does not follow u_{last}", line)
            last = var.number
            defined.add(var)
        for inner in line.programs:
            check(inner)
    for guard in program.guards:
        if guard.var not in defined:
            fail(f"a guard asks for {guard.var}, which is not defined")
    for packing in (*program.arguments, *program.results):
        for atom in packing.atoms:
            if isinstance(atom, Var) and atom not in defined:
                fail(f"result {packing.name} is {atom}, which is not defined")
        if not packing.whole and (
            len(packing.atoms) != math.prod(packing.shape) or any(atom.shape != () for atom in packing.atoms)
        ):
            fail(f"{packing.name} of shape {packing.shape} is laid out in {len(packing.atoms)} variables")


# ---- Evaluate ----


def as_value(value: Any) -> Any:
    """Return a number or array in the form in which values ride along: a NumPy scalar or array, or a traced value."""
    kind = type(value)
    if (
        kind is np.float64
        or isinstance(value, Recordable)
        or (kind is np.ndarray and value.dtype.kind in "fc" and value.ndim)
    ):
        return value
    array = np.asarray(value)
    return array[()] if array.ndim == 0 else array


def evaluate(program: Program, *args: Any) -> Any:
    """Evaluate a Program at a point; raise BranchError where its function would take another branch.

    Returns what the function returned: an array, or a tree of arrays.
    """
    environment = evaluate_all(program, *args)
    values = tuple(result.pack([value_of(atom, environment) for atom in result.atoms]) for result in program.results)
    if program.trees is not None:
        return program.trees.join(values)
    return values[0] if program.single else values


def evaluate_all(program: Program, *args: Any, before: Callable[[Line], None] | None = None) -> dict[Var, Any]:
    """Evaluate a Program at a point and return the value of every variable.

    Where the function takes trees, the arguments are trees, or else their leaves one by one.  `before` is told of each
    line that comes.
    """
    if program.trees is not None:
        args = tuple(program.trees.split(args))
    if len(args) != len(program.arguments):
        names = ", ".join(a.name for a in program.arguments)
        raise ArgumentError(f"this Program takes {len(program.arguments)} arguments ({names}), not {len(args)}.")
    environment: dict[Var, Any] = {}
    for argument, value in zip(program.arguments, args, strict=True):
        for atom, part in zip(argument.atoms, argument.unpack(value), strict=True):
            environment[atom] = part  # type: ignore[index]
    guards = guards_of(program)
    for var in program.inputs:
        _heed(guards, var, environment)
    for line in program.lines:
        if before is not None:
            before(line)
        result = line.primitive(*[value_of(a, environment) for a in line.inputs], **line.params)
        if line.primitive.multiple:
            environment.update(zip(line.outputs, result, strict=True))
        else:
            environment[line.outputs[0]] = result
        for var in line.outputs:
            _heed(guards, var, environment)
    return environment


def guards_of(program: Program) -> dict[Var, list[Guard]]:
    """Return the guards by the variable they ask for: one may have been asked ``if n`` and ``int(n)``."""
    guards: dict[Var, list[Guard]] = {}
    for guard in program.guards:
        guards.setdefault(guard.var, []).append(guard)
    return guards


def _heed(guards: dict[Var, list[Guard]], var: Var, environment: dict[Var, Any]) -> None:
    for guard in guards.get(var, ()):
        if guard.value != type(guard.value)(environment[var]):
            fail_at(guard, environment[var])


def fail_at(guard: Guard, value: Any) -> None:
    """Raise BranchError for a guarded variable that has another value here."""

    def message() -> str:
        location = Location.of(guard.place)
        return (
            f"here {guard.var} is {value}, and the Program was traced where it was {guard.value}:"
            + ("" if location is None else f"\n{location.excerpt()}")
            + "\nThe function takes another branch at this point: trace it again there."
        )

    raise BranchError(message)


def value_of(atom: Atom, environment: Mapping[Var, Any]) -> Any:
    """Return the value of a variable or constant."""
    return environment[atom] if isinstance(atom, Var) else atom.value


# ---- Print ----


def readable(expression: str) -> str:
    """Drop the module from a NumPy expression: the Wengert list says ``log(u_2)``."""
    return re.sub(r"\bscipy\.[a-z]+\.|\bwengert\.primitives\.(?:[a-z_]+\.)+|\bnp\.", "", expression)


def write_listing(program: Program, places: bool = True) -> str:
    """Write a Program line by line, in columns, and below a line the Programs it holds; see `Program.listing`."""
    rows = list(_rows_of(program, places, "", {}))
    lines = [row for row in rows if type(row) is tuple]
    first = max([len(text) for text, _, _ in lines], default=0)
    second = max([len(note) for _, note, _ in lines], default=0)
    written = []
    for row in rows:
        if type(row) is str:
            written.append(row.rstrip())
            continue
        text, note, place = row
        text = f"{text:<{first}}" + (f"  {note:<{second}}" if second else "")
        written.append((f"{text}  # {place}" if place else text).rstrip())
    return "\n".join(written)


def _rows_of(program: Program, places: bool, indent: str, said: dict[int, str], title: str = "") -> Iterator[Any]:
    """Yield the arguments as text, each line as (text, note, place), and the results that are no lines as text.

    A Program that another line holds too is written once; `said` has the names of that line.
    """
    head = [
        f"{name} = {atom}" + (f"  {_shape(atom.shape)}" if atom.shape else "")
        for argument in program.arguments
        for name, atom in zip(argument.names, argument.atoms, strict=True)
    ]
    yield f"{indent}{title}{', '.join(head)}"
    results: dict[Var, list[str]] = {}
    constants: list[str] = []
    for result in program.results:
        for name, atom in zip(result.names, result.atoms, strict=True):
            if isinstance(atom, Var) and atom.number > 0:
                results.setdefault(atom, []).append(name)
            else:
                constants.append(f"{name} = {atom}")
    guards = guards_of(program)
    for line in program.lines:
        notes = []
        for var in line.outputs:
            own = [_shape(var.shape)] if var.shape else []
            own += [f"= {name}" for name in results.get(var, [])]
            if own and len(line.outputs) > 1:  # of which of them is it said?
                own.insert(0, str(var))
            notes.append(" ".join([*own, *(f"(here {guard.value})" for guard in guards.get(var, ()))]))
        place = str(line.location) if places and line.location is not None else ""
        yield f"{indent}{line}", ", ".join(filter(None, notes)), place
        if line.held is not None:
            for name, inner in zip(line.held.titles(), line.programs, strict=True):
                if id(inner) in said:
                    yield f"{indent}  {name}: as of {said[id(inner)]}"
                    continue
                said[id(inner)] = ", ".join(map(str, line.outputs))
                yield from _rows_of(inner, places, f"{indent}  ", said, f"{name}: ")
    if constants:
        yield f"{indent}{', '.join(constants)}"


def _shape(shape: Shape) -> str:
    return "(" + " x ".join(map(str, shape)) + ")"


# ---- Source ----

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
"""The transpose of indexing, which NumPy has no function for, as it stands in the source of a derivative."""

SETITEM_SOURCE = '''
def setitem(array, index, value):
    """Return a copy of an array with part of it assigned to."""
    changed = np.array(array)
    changed[index] = value
    return changed


'''
"""An assignment, as it stands in the source of a Program: the list says each value once, so it makes a new one."""


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
"""How a loop whose steps take several branches finds the one to take, as it stands in the source of a Program."""


def write_source(program: Program) -> str:
    """Write a Program as the NumPy source of a function; see `Program.source`."""
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


def _write_function(
    name: str, program: Program, taken: set[str], known: Mapping[int, str], is_body: bool = False
) -> list[str]:
    """Write a Program as a function; one that a line holds becomes a function inside, of a name that is not taken.

    `known` are the functions that are written already where this one stands.
    """
    guards = guards_of(program)
    written = dict(known)
    own = _parameters(program) if is_body else [as_identifier(a.name) or "x" for a in program.arguments]
    lines = [f"def {name}({', '.join(own)}):"]

    def add(text: str, line: Line | None = None) -> None:
        location = None if line is None else line.location
        lines.append(f"    {text}" + ("" if location is None else f"  # {location}"))

    def heed(var: Var) -> None:
        for guard in guards.get(var, ()):
            add(f"if {type(guard.value).__name__}({_python(var)}) != {guard.value!r}:")
            add(f"    raise ValueError({f'{var} is not {guard.value}: another branch'!r})")

    if is_body:
        renamed = [(_python(a.atoms[0]), o) for a, o in zip(program.arguments, own, strict=True)]
        renamed = [(var, parameter) for var, parameter in renamed if var != parameter]
        if renamed:
            add(f"{', '.join(var for var, _ in renamed)} = {', '.join(parameter for _, parameter in renamed)}")
    for argument, parameter in zip(program.arguments, own, strict=True):
        if argument.whole and not is_body:
            add(f"{_python(argument.atoms[0])} = np.asarray({parameter})[()]")
        elif not is_body:
            for index, atom in zip(np.ndindex(*argument.shape), argument.atoms, strict=True):
                add(f"{_python(atom)} = {parameter}[{', '.join(map(str, index))}]")
        for atom in argument.atoms:
            heed(atom)  # type: ignore[arg-type]
    for line in program.lines:
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
        for var in line.outputs:
            heed(var)
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
    """Write expressions as a tuple, as it stands on either side of ``=``."""
    return f"{parts[0]}," if len(parts) == 1 else ", ".join(parts) if parts else "()"


def _parameters(program: Program) -> list[str]:
    """Name the parameters of a body by its arguments, or where that is no name of their own, by their variables."""
    names = [as_identifier(argument.name) for argument in program.arguments]
    return [
        name if name and names.count(name) == 1 and name != "np" and not name.startswith("u_") else _python(a.atoms[0])
        for name, a in zip(names, program.arguments, strict=True)
    ]


def _function_name(title: str, taken: set[str]) -> str:
    """Turn a title into the name of a function that is not taken yet, and take it."""
    stem = name = re.sub(r"\W+", "_", title)
    k = 1
    while name in taken or keyword.iskeyword(name):
        k += 1
        name = f"{stem}_{k}"
    taken.add(name)
    return name


def as_identifier(name: str) -> str:
    """Return a name that Python takes: ``c'`` is ``c_next``; nothing, if there is none."""
    name = name.replace("'", "_next")
    return name if name.isidentifier() and not keyword.iskeyword(name) else ""


def _python(atom: Atom) -> str:
    if isinstance(atom, Var):
        return f"u_{atom.number}" if atom.number >= 0 else f"u_m{-atom.number}"
    return write_constant(atom.value)


def write_constant(value: Any, typed: bool = False) -> str:
    """Write a constant as a Python expression that gives it back to the last bit.

    A number is written as Python's own, or with `typed` as NumPy's: two of Python's would not divide as arrays do.
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


def walk(program: Program) -> Iterator[Line]:
    """Go through the lines of a Program and of the Programs that they hold."""
    for line in program.lines:
        yield line
        for inner in line.programs:
            yield from walk(inner)
