"""Code: a Program lowered to statements, as data; it is printed as fast or as readable Python.

There is one lowering.  It orders the lines, checks each decision right after the line that it depends on, and frees
large values after their last use.  The printers only write (`wengert.program.compiled`, `.source`).

>>> import wengert as wg
>>> program = wg.trace(lambda x: 2.0 * x if x > 1.0 else x)(3.0)
>>> print(*lower(program).statements, sep="\\n")
enter x
u_1 = u_0 > 1
check where u_1 is True
u_2 = 2 * u_0

A *branch* of a function begins with its decisions, and with what they depend on.  Where a decision falls otherwise, an
`Exit` leaves the code; the code of another branch continues there, and takes over what has been computed so far.

>>> branch = lower_branch(program)
>>> print(*branch.statements, sep="\\n")
enter x
u_1 = u_0 > 1
leave unless u_1 is True
u_2 = 2 * u_0
check finite u_2
>>> other = wg.trace(lambda x: 2.0 * x if x > 1.0 else -x)(0.5)
>>> print(*lower_branch(other, after=(branch, branch.exits[0])).statements, sep="\\n")
take over u_0
u_2 = -u_0
check finite u_2

In a branch, scalars of double precision are `numbers`: a printer may compute them by arithmetic that is faster than
NumPy's and gives the same bits.  Such arithmetic does not report overflow, so numbers whose readers could hide that
they are not finite are checked at the end.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np

from wengert.program.lines import Atom, Constant, Guard, Line, Packing, Var, WengertList
from wengert.program.primitive import SMALL
from wengert.program.structure import exactly

ARITHMETIC: frozenset[Callable[..., Any]] = frozenset(
    {operator.add, operator.sub, operator.mul, operator.truediv, operator.neg}
)
"""What computes primitives that give the same bits on numbers; and a power does, if its exponent is a whole number."""
COMPARISONS: frozenset[Callable[..., Any]] = frozenset(
    {np.greater, np.greater_equal, np.less, np.less_equal, np.equal, np.not_equal}
)
"""What computes comparisons."""
_NUMBERS = (float, int, np.float64, np.integer, np.bool_)


# ---- Statements ----


@dataclass(frozen=True, slots=True, eq=False)
class Enter:
    """Unpack an argument, given by its place among the arguments of the Program, into its variables."""

    argument: Packing
    place: int

    def __str__(self) -> str:
        return f"enter {self.argument.name}"


@dataclass(frozen=True, slots=True, eq=False)
class _OfVariables:
    """A statement about some variables."""

    variables: tuple[Var, ...]
    verb: ClassVar[str]

    def __str__(self) -> str:
        return f"{self.verb} {', '.join(map(str, self.variables))}"


class Take(_OfVariables):
    """Take over variables that the code which this one continues has computed."""

    __slots__ = ()
    verb = "take over"


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """Compute a line, given by its place among the lines of the Program; `by_numbers` if by arithmetic on numbers."""

    line: Line
    place: int
    by_numbers: bool = False

    def __str__(self) -> str:
        return str(self.line)


@dataclass(frozen=True, slots=True, eq=False)
class Zeros:
    """Begin the result of a line with zeros, to which `Add` statements add."""

    line: Line

    def __str__(self) -> str:
        (var,) = self.line.outputs
        return f"{var} = zeros({var.shape})"


@dataclass(frozen=True, slots=True, eq=False)
class Add:
    """Add a value in place to the part of an array at an index; where it is the `first`, to zeros."""

    array: Var
    index: tuple[Any, ...]
    value: Atom
    first: bool = False

    def __str__(self) -> str:
        return f"{self.array}[{self.index}] {'' if self.first else '+'}= {self.value}"


@dataclass(frozen=True, slots=True, eq=False)
class Check:
    """Check that a decision is taken again; the guard is given by its place among the guards of the Program."""

    guard: Guard
    place: int

    def __str__(self) -> str:
        return f"check {self.guard}"


@dataclass(frozen=True, slots=True, eq=False)
class Exit(Check):
    """Leave the code if a decision is not taken again."""

    def __str__(self) -> str:
        return f"leave unless {self.guard.var} is {self.guard.value}"


@dataclass(frozen=True, slots=True, eq=False)
class Restart(Exit):
    """Leave the code if a decision is not taken again, for code that begins anew: no other value is needed."""


class CheckFinite(_OfVariables):
    """Check that numbers are finite."""

    __slots__ = ()
    verb = "check finite"


class Free(_OfVariables):
    """Free values that no later statement reads."""

    __slots__ = ()
    verb = "free"


Statement = Enter | Take | Call | Zeros | Add | Check | CheckFinite | Free


class Leaf(NamedTuple):
    """A leaf of what a function returned: a result of the Program, by its place.

    Its kind is ``"array"``, ``"scalar"`` (NumPy's), ``"0-d array"``, or the name of a type of Python's numbers.
    """

    place: int
    kind: str


class Fixed(NamedTuple):
    """A leaf of what a function returned that does not depend on the arguments."""

    value: Any


class Matrix(NamedTuple):
    """A leaf of what a function returned that is a sparse matrix in CSR form: the leaf of its data, and its places."""

    data: Leaf | Fixed
    like: Any

    def build(self, data: Any) -> Any:
        """Return the matrix of data that were computed."""
        like = self.like
        matrix = like.__class__.__new__(like.__class__)  # SciPy's constructor, which checks places again, takes long
        vars(matrix).update(vars(like), data=data, indices=like.indices.copy(), indptr=like.indptr.copy())
        return matrix


class ResultForm(NamedTuple):
    """What a function returned: a tree structure (`wengert.trees`), its leaves, and whether derivatives are among them.

    Derivatives that were traced at other values have no masks of what is left out there, and so may be NaN wrongly.
    """

    structure: Any
    leaves: tuple[Leaf | Fixed | Matrix, ...]
    holds_derivatives: bool = False


@dataclass(frozen=True, slots=True)
class For:
    """A way to repeat the statements of a Program: what its arguments and results are from step to step.

    Attributes
    ----------
    inputs
        For each independent variable: ``"carry"`` if a step passes it on to the next, ``"each"`` if it is the next
        element of an iterable, ``"kept"`` if it is one of the values that an earlier run kept of the step, ``"const"``.
    outputs
        For each dependent variable: the independent variable that it is carried to; ``"collect"`` if it is put into an
        array at the place of the step, ``"sum"`` if it is added to a sum, ``"pieces"`` if it goes, with the others
        after it that are ``"more"``, to an accumulator; ``"test"`` if it says whether there is another step.
    resets
        Carried independent variables that no result is carried to: they are zero after the first step.
    asks
        The independent variables that the test of a ``while`` takes, which is called before the first step; None for a
        loop over places.
    """

    inputs: tuple[str, ...]
    outputs: tuple[int | str, ...]
    resets: tuple[int, ...] = ()
    asks: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Code:
    """A Program as statements, from its arguments to its results.

    Attributes
    ----------
    program
        The Program: its arguments, its guards.
    statements
        The statements, in order of execution.
    outputs
        The dependent variables.
    kept
        The variables whose values are returned beside the results.
    form
        What a branch returns, each array in memory of its own.
    numbers
        The variables that are numbers, those of the code that this one continues included.
    after
        The code that this one continues, and where it was left; None for code that begins with the arguments.
    repeat
        How the statements are repeated, if they are.
    """

    program: WengertList
    statements: tuple[Statement, ...]
    outputs: tuple[Atom, ...]
    kept: tuple[Var, ...] = ()
    form: ResultForm | None = None
    numbers: frozenset[Var] = frozenset()
    after: tuple[Code, Exit] | None = None
    repeat: For | None = None

    @property
    def exits(self) -> list[Exit]:
        """Where the code is left, in the order of its decisions."""
        return [statement for statement in self.statements if isinstance(statement, Exit)]

    @property
    def inputs(self) -> tuple[Var, ...]:
        """The independent variables: those of the code that begins with the arguments."""
        *_, first = self.continued()
        return first.program.inputs

    def continued(self) -> Iterator[Code]:
        """Yield this code, the code that it continues, and so on."""
        code: Code | None = self
        while code is not None:
            yield code
            code = None if code.after is None else code.after[0]


# ---- The lowering ----


def lower(program: WengertList, kept: Sequence[Var] = ()) -> Code:
    """Lower a Program to statements; the code returns the values of the `kept` variables beside the results."""
    stay = {*program.inputs, *program.outputs, *kept}
    return Code(program, with_frees(list(_in_order(program)), stay), program.outputs, tuple(kept))


def _in_order(program: WengertList) -> Iterator[Statement]:
    """Yield the arguments and lines, each followed by the decisions on its variables."""
    checks: dict[Atom, list[Check]] = {}
    for k, guard in enumerate(program.guards):
        checks.setdefault(guard.var, []).append(Check(guard, k))
    for k, argument in enumerate(program.arguments):
        yield Enter(argument, k)
        for atom in argument.atoms:
            yield from checks.get(atom, ())
    for k, line in enumerate(program.lines):
        yield Call(line, k)
        for var in line.outputs:
            yield from checks.get(var, ())


def _decisions_first(program: WengertList) -> Iterator[Line | Guard]:
    """Yield the decisions, each after the lines that it depends on, then the other lines."""
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
        yield from sorted(needed, key=place.__getitem__)
        yield guard
    yield from [line for line in program.lines if line not in done]


def with_frees(statements: Sequence[Statement], stay: Iterable[Atom]) -> tuple[Statement, ...]:
    """Free each large value after the statement that reads it last; before an exit that needs all nothing is."""
    read: set[Atom] = set(stay)
    reversed_: list[Statement] = []
    may_free = True
    for statement in reversed(statements):
        may_free = may_free and type(statement) is not Exit
        if may_free and type(statement) is Call:
            variables = [a for a in dict.fromkeys(statement.line.inputs) if isinstance(a, Var) and a not in read]
            read.update(variables)
        elif may_free and type(statement) is Add:
            variables = [a for a in (statement.value,) if isinstance(a, Var) and a not in read]
            read.update((statement.value, statement.array))
        else:
            variables = []
        gone = tuple([var for var in variables if var.size > SMALL])
        if gone:
            reversed_.append(Free(gone))
        reversed_.append(statement)
    return tuple(reversed_[::-1])


def lower_branch(program: WengertList, form: ResultForm | None = None, after: tuple[Code, Exit] | None = None) -> Code:
    """Lower a Program to one branch of a function, which continues other code where it was left by an exit."""
    return _Branch(program, after).code(form)


class _Branch:
    """The lowering of a branch.

    A line or decision that the branch has in common with the code that it continues is recognized by its operands, and
    is not written again: its results stand for those of the other line.
    """

    def __init__(self, program: WengertList, after: tuple[Code, Exit] | None) -> None:
        self.program, self.after = program, after
        self.results_of: dict[Any, tuple[Var, ...]] = {}
        """The results of lines by primitive, operands and parameters."""
        self.decided: set[Any] = set()
        self.numbers: set[Var] = set()
        self.computed: set[Var] = set()
        """The numbers that may have become infinite without a report: those computed by arithmetic on numbers."""
        self.hidden: dict[Var, None] = {}
        """Those of them that are read by what may be finite where they are not."""
        self.defined: set[Var] = set()
        self.taken: dict[Var, None] = {}
        self.statements: list[Statement] = []
        self._sort_reads()
        inputs = program.inputs if after is None else after[0].inputs
        self.stands: dict[Atom, Any] = dict(zip(program.inputs, inputs, strict=True))
        if after is None:
            self.statements += [Enter(argument, k) for k, argument in enumerate(program.arguments)]
            self.defined.update(inputs)
            self.numbers.update(var for var in inputs if not var.shape and var.dtype == float)
        else:
            self._continue(*after)

    def code(self, form: ResultForm | None) -> Code:
        """Return the code."""
        places = {line: k for k, line in enumerate(self.program.lines)}
        guards = {guard: k for k, guard in enumerate(self.program.guards)}
        for item in _decisions_first(self.program):
            if isinstance(item, Line):
                self._line(item, places[item])
            else:
                self._decision(item, guards[item])
        outputs = tuple([self.stands.get(a, a) for a in self.program.outputs])
        self._read(outputs, hides=True)
        if self.hidden:
            self._read(self.hidden)
            self.statements.append(CheckFinite(tuple(self.hidden)))
        statements = with_frees(self.statements, {*self.program.inputs, *outputs, *self.taken})
        if self.taken:
            statements = (Take(tuple(self.taken)), *statements)
        return Code(self.program, statements, outputs, (), form, frozenset(self.numbers), self.after)

    def _sort_reads(self) -> None:
        """Find the scalars that arithmetic reads, and those that are read by decisions alone."""
        self.in_arithmetic: set[Atom] = set()
        read: set[Atom] = set(self.program.outputs)
        for line in self.program.lines:
            read.update(line.inputs)
            compute = line.primitive.compute
            if (compute in ARITHMETIC or compute in COMPARISONS or compute is operator.pow) and not line.outputs[
                0
            ].shape:
                self.in_arithmetic.update(line.inputs)
        self.only_decided = {guard.var for guard in self.program.guards} - read

    def _continue(self, code: Code, exit_: Exit) -> None:
        """Go on with what another code has come to before it was left."""
        chain = list(code.continued())[::-1]
        left_by = [later.after[1] for later in chain[1:] if later.after is not None]
        for earlier, until in zip(chain, [*left_by, exit_], strict=True):
            for statement in earlier.statements:
                if statement is until:
                    break
                self._note(statement)
        self.numbers = set(code.numbers)
        guard = exit_.guard
        if type(guard.value) is bool:  # the one decision that was not the other is this one
            self.decided.add((guard.var, bool, not guard.value))

    def _note(self, statement: Statement) -> None:
        """Note what is known after a statement."""
        if isinstance(statement, (Call, Zeros)):
            line = statement.line
            self.results_of[_key(line)] = line.outputs
            if isinstance(statement, Call) and statement.by_numbers:
                self.computed.update(var for var in line.outputs if var.dtype == float)
                self._hide(_hidden_by(line))
            else:
                self._hide(line.inputs)
        elif isinstance(statement, Exit):
            guard = statement.guard
            self.decided.add((guard.var, type(guard.value), guard.value))
            self._hide([guard.var])

    def _hide(self, atoms: Iterable[Atom]) -> None:
        self.hidden.update((a, None) for a in atoms if a in self.computed)

    def _read(self, atoms: Iterable[Atom], hides: bool = False) -> None:
        """Note that this code reads some values."""
        self.taken.update((a, None) for a in atoms if isinstance(a, Var) and a not in self.defined)
        if hides:
            self._hide(atoms)

    def _append(self, statement: Statement) -> None:
        self.statements.append(statement)
        self._note(statement)

    def _line(self, line: Line, place: int) -> None:
        line = replace(line, inputs=tuple([self.stands.get(a, a) for a in line.inputs]))
        earlier = self.results_of.get(_key(line))
        if earlier is not None:
            self.stands.update(zip(line.outputs, earlier, strict=True))
            return
        self._read(line.inputs)
        self.defined.update(line.outputs)
        indices = _added_at(line)
        if indices is not None:
            self._append(Zeros(line))
            pairs = zip(line.inputs, indices, strict=True)
            self.statements += [
                Add(line.outputs[0], index, value, first=not k) for k, (value, index) in enumerate(pairs)
            ]
            return
        by_numbers = self._is_by_numbers(line)
        self._append(Call(line, place, by_numbers))
        if by_numbers or (self.in_arithmetic.issuperset(line.outputs) and _is_double(line)):
            self.numbers.update(line.outputs)

    def _is_by_numbers(self, line: Line) -> bool:
        """Return whether arithmetic on numbers computes a line, with the same bits."""
        primitive = line.primitive
        if primitive.multiple or line.params or not all(map(self.is_number, line.inputs)):
            return False
        (out,) = line.outputs
        if out.shape:
            return False
        if primitive.compute in COMPARISONS:
            return out in self.only_decided
        if out.dtype != float:
            return False
        if primitive.compute is operator.pow:  # of a negative number it is complex, unless the exponent is whole
            base, exponent = line.inputs
            return isinstance(base, Var) and isinstance(exponent, Constant) and float(exponent.value).is_integer()
        return primitive.compute in ARITHMETIC

    def is_number(self, atom: Atom) -> bool:
        """Return whether an operand is a number, or a constant that may stand for one in double precision."""
        return (
            atom.dtype == float and atom in self.numbers if isinstance(atom, Var) else isinstance(atom.value, _NUMBERS)
        )

    def _decision(self, guard: Guard, place: int) -> None:
        guard = Guard(self.stands.get(guard.var, guard.var), guard.value, guard.place)
        if (guard.var, type(guard.value), guard.value) not in self.decided:
            self._read([guard.var])
            self._append(Exit(guard, place))


def _key(line: Line) -> Any:
    """Return what lines have in common that compute the same; the line itself if that cannot be told."""
    operands = tuple([a if isinstance(a, Var) else exactly(a.value) for a in line.inputs])
    key = line.primitive, operands, tuple([(name, exactly(value)) for name, value in line.params.items()])
    try:
        hash(key)
    except TypeError:
        return line
    return key


def _hidden_by(line: Line) -> Sequence[Atom]:
    """Return the operands of arithmetic that may be infinite where its result is finite."""
    compute = line.primitive.compute
    if compute is operator.truediv:
        return line.inputs[1:]
    if compute is operator.pow:
        return line.inputs[:1] if line.inputs[1].value <= 0 else ()  # type: ignore[union-attr]
    return line.inputs if compute in COMPARISONS else ()


def _is_double(line: Line) -> bool:
    return len(line.outputs) == 1 and not line.outputs[0].shape and line.outputs[0].dtype == float


def _added_at(line: Line) -> Sequence[tuple[Any, ...]] | None:
    """Return the indices at which the operands of a line are added up in zeros, if they can be added in place."""
    adds = line.primitive.adds
    if adds is None or line.outputs[0].dtype != float:
        return None
    values = [a if isinstance(a, Var) else a.value for a in line.inputs]
    if not all(getattr(value, "dtype", None) == np.dtype(float) for value in values):
        return None
    return adds(**line.params)
