"""Lowering: the branches of a function -> one kernel of loops, with all decisions in it.

An array is, while it is lowered, an array of *cells*: for each element the number of a constant, a register, or an
element of a buffer.  So a primitive that only moves elements needs no code: it runs on the cells.  Arithmetic on up to
`UNROLLED` elements becomes one operation an element, in registers; on more, a nest of loops.  Nests over one shape
become one nest, in which a value goes from one line to the next in a register, and is stored only if something else
reads it.  What was computed before is not computed again.

>>> import numpy as np, wengert as wg
>>> from wengert import trees
>>> from wengert.compilation.branches import Tree
>>> from wengert.program.code import Leaf, ResultForm
>>> program = wg.trace(lambda x: (x[::-1] * x)[1:] if x[0] > 0 else x)(np.array([1.0, 2.0, 3.0]))
>>> tree = Tree()
>>> branch = tree.add(program, ResultForm(trees.flatten(0.0)[1], (Leaf(0, "array"),)), None)
>>> print(lower_tree(tree, "f").kernel)
f(x0: 3) -> y: 2
  r1 = x0[0]
  b2 = greater r1, 0.0
  unless b2:
    leave
  r3 = x0[2]
  r4 = multiply r3, r1
  r5 = x0[1]
  r6 = multiply r5, r5
  y[0] = r6
  y[1] = r4
  return 0
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np

from wengert.compilation.branches import Branch, Tree
from wengert.compilation.native.loops import (
    Buffer,
    Compute,
    Element,
    Kernel,
    Leave,
    Load,
    Nest,
    Operand,
    Register,
    Return,
    Statement,
    Store,
    Unless,
    row_major,
    walk_statements,
    without_unread,
)
from wengert.compilation.native.operations import SPECIAL, RealNumbers, constant_of, operation_of
from wengert.errors import RawLocation
from wengert.primitives.table import PRIMITIVES
from wengert.program import Atom, Guard, Line, Var
from wengert.program.code import Add, Call, CheckFinite, Enter, Exit, Fixed, Free, Leaf, Matrix, ResultForm, Take, Zeros

UNROLLED = 128
"""The number of elements up to which an array is computed in registers, one by one."""
LONGEST_SUM, PARTIAL_SUMS = 64, 4
"""An element of a product of matrices that is computed in a nest is a sum of up to so many terms, in so many partial
sums."""
MOST = 4_000
"""The largest number of statements of a kernel: of straight-line code, compiling takes 30 to 60 us each."""
STACK = 4_096
"""The largest number of doubles in the temporaries and the results of a kernel, which are on the stack."""

Cells = np.ndarray[Any, np.dtype[np.int64]]


class NoLoweringError(Exception):
    """A branch has something that machine code is not generated for; the message names it.

    Attributes
    ----------
    place
        The place of the line in the user's code; None where no one line is the cause.
    """

    place: RawLocation | None = None


class Part(NamedTuple):
    """A leaf of a result: the array or number, or its place in the buffer of results, and its shape.

    Where it is the data of a sparse matrix, `matrix` makes that.
    """

    leaf: Leaf | Fixed
    offset: int
    shape: tuple[int, ...]
    matrix: Matrix | None = None

    @property
    def has_data(self) -> bool:
        """False for an object that does not change: a text, a whole number."""
        return isinstance(self.leaf, Leaf) or isinstance(self.leaf.value, np.ndarray)


class Lowered(NamedTuple):
    """The kernel of a tree of branches, and what each branch returns: the form, and where its leaves are."""

    kernel: Kernel
    forms: tuple[tuple[ResultForm, tuple[Part, ...]], ...]


def lower_tree(tree: Tree, name: str, portable: bool = False) -> Lowered:
    """Lower all branches of a function to one kernel; raise NoLoweringError if something has no lowering.

    A `portable` kernel calls nothing but the C library.
    """
    if len(tree.roots) != 1:
        raise NoLoweringError("a decision inside a loop")
    _refuse_long(tree)
    return Memory(tree.roots[0], name, portable).lowered()


def _refuse_long(tree: Tree) -> None:
    """Raise NoLoweringError for a tree with a line that has no lowering, or too many that compute something."""
    computing = 0
    for branch in tree.branches:
        for statement in branch.code.statements:
            if isinstance(statement, Call):
                line = statement.line
                if line.primitive.native is None or line.primitive.multiple:
                    error = NoLoweringError(line.primitive.name)
                    error.place = line.place
                    raise error
                computing += line.primitive.native != "moves"
    if computing > MOST:
        raise NoLoweringError(f"more than {MOST:,} operations")


class Memory:
    """The buffers and registers of all blocks of a kernel, and what each cell stands for."""

    def __init__(self, root: Branch | None, name: str, portable: bool) -> None:
        self.root, self.name, self.portable = root, name, portable
        self.things: list[Operand | Element] = []
        """Constants, registers and elements, by the numbers of cells."""
        self.count = self.statements = 0
        self.temporaries: list[Buffer] = []
        self.stack, self.on_stack = STACK, 0
        """The number of elements of the temporaries."""
        self.forms: list[tuple[ResultForm, tuple[Part, ...]]] = []
        self.results: list[tuple[list[Statement], Cells]] = []

    def lowered(self) -> Lowered:
        """Return the kernel."""
        assert self.root is not None, "a tree, no single block"
        block = Block(self, {}, {})
        arguments = []
        for k, argument in enumerate(self.root.code.program.arguments):
            if not argument.whole or argument.dtype != float or not isinstance(argument.atoms[0], Var):
                raise NoLoweringError(f"an argument of {argument.dtype}")
            buffer = Buffer(f"x{k}", math.prod(argument.shape), "argument")
            arguments.append(buffer)
            block.values[argument.atoms[0]] = self.elements(buffer, argument.shape)
        block.branch(self.root)
        size = max([cells.size for _, cells in self.results], default=0)
        if size + self.on_stack > STACK:
            raise NoLoweringError("large temporaries")
        results = Buffer("y", size, "result")
        for statements, cells in self.results:
            end = statements.pop()
            for k, cell in enumerate(cells.tolist()):
                thing = self.things[cell]
                if isinstance(thing, Element):  # stored from a nest, or an argument
                    register = self.register()
                    statements.append(Load(register, thing))
                    thing = register
                statements.append(Store(Element(results, k), thing))
            statements.append(end)
        body = without_unread(block.frozen(), self.temporaries)
        read = {s.element.buffer for s in walk_statements(body) if isinstance(s, Load)}
        temporaries = tuple([buffer for buffer in self.temporaries if buffer in read])
        kernel = Kernel(self.name, tuple(arguments), results, body, temporaries)
        return Lowered(kernel, tuple(self.forms))

    # -- Cells --

    def cell(self, thing: Operand | Element) -> int:
        """Enter a constant, register or element."""
        self.things.append(thing)
        return len(self.things) - 1

    def elements(self, buffer: Buffer, shape: tuple[int, ...]) -> Cells:
        """Return the cells of a buffer."""
        if buffer.size > self.stack:
            raise NoLoweringError("a large array")
        first = len(self.things)
        self.things += [Element(buffer, k) for k in range(buffer.size)]
        return np.arange(first, len(self.things)).reshape(shape)

    def register(self, is_bool: bool = False) -> Register:
        """Return a new register."""
        self.count += 1
        return Register(self.count, "?" if is_bool else "d")

    def temporary(self, shape: tuple[int, ...]) -> tuple[Buffer, Cells]:
        """Return a new buffer on the stack, and its cells."""
        buffer = Buffer(f"t{len(self.temporaries) + 1}", math.prod(shape), "temporary")
        self.temporaries.append(buffer)
        self.on_stack += buffer.size
        if self.on_stack > self.stack:
            raise NoLoweringError("large temporaries")
        return buffer, self.elements(buffer, shape)

    def count_statement(self) -> None:
        """Raise NoLoweringError if the kernel becomes too long."""
        self.statements += 1
        if self.statements > MOST:
            raise NoLoweringError(f"more than {MOST:,} operations")


class _Open(NamedTuple):
    """A nest that more lines may go into: its shape, block, registers by the cells they are stored in, and what is not
    to be read in it, since it is computed later."""

    shape: tuple[int, ...]
    body: list[Statement]
    registers: dict[int, Register]
    loads: dict[Element, Register]
    written: set[Buffer]
    later: set[int]


class Block(RealNumbers):
    """The lowering of one block of straight-line code and nests.

    Attributes
    ----------
    values
        The cells of variables.
    cells
        The cells of what has been computed, by operation and operands.
    unrolled
        The number of elements up to which an array is computed in registers.
    """

    def __init__(
        self, tree: Memory, values: Mapping[Var, Cells], cells: Mapping[Any, int], unrolled: int = UNROLLED
    ) -> None:
        self.tree, self.values, self.unrolled = tree, dict(values), unrolled
        self.cells: dict[Any, int] = dict(cells)
        self.statements: list[Any] = []
        self.nest: _Open | None = None

    def frozen(self) -> tuple[Statement, ...]:
        """Return the statements, now that nothing is added to them."""
        return tuple(
            [
                Nest(s.shape, tuple(s.body), parallel=True)
                if isinstance(s, _Open)
                else s
                if not isinstance(s, _Decision)
                else s.frozen()
                for s in self.statements
            ]
        )

    # -- Statements of Code --

    def branch(self, branch: Branch) -> None:
        """Lower a branch, from its beginning or from where it continues another."""
        code = branch.code
        exits = iter(branch.exits)
        for statement in code.statements:
            if isinstance(statement, Exit):
                self.decide(statement, next(exits).continuation)
            elif isinstance(statement, Call):
                self.line(statement.line)
            elif isinstance(statement, Zeros):
                var = statement.line.outputs[0]
                self.values[var] = np.full(var.shape, self.constant(0.0))
            elif isinstance(statement, Add):
                self.add(statement)
            elif not isinstance(statement, (Enter, Take, Free, CheckFinite)):  # the processor's flags show overflow
                raise NoLoweringError(str(statement))
        form = code.form
        if form is None:
            raise NoLoweringError("no form of the result")
        parts, cells, offset = [], [], 0
        for leaf in form.leaves:
            if isinstance(leaf, Fixed) and not isinstance(leaf.value, np.ndarray):
                parts.append(Part(leaf, 0, ()))
                continue
            matrix = leaf if isinstance(leaf, Matrix) else None
            data = leaf.data if isinstance(leaf, Matrix) else leaf
            atom_cells = self.of_leaf(data, code.outputs)
            parts.append(Part(data, offset, atom_cells.shape, matrix))
            cells.append(atom_cells.ravel())
            offset += atom_cells.size
        self.statements.append(Return(len(self.tree.forms)))
        self.tree.forms.append((form, tuple(parts)))
        self.tree.results.append((self.statements, np.concatenate([np.zeros(0, np.int64), *cells])))

    def of_leaf(self, leaf: Leaf | Fixed, outputs: Sequence[Atom]) -> Cells:
        """Return the cells of a leaf of the result, which is of double precision."""
        if isinstance(leaf, Fixed):
            if leaf.value.dtype != float:
                raise NoLoweringError(f"a result of {leaf.value.dtype}")
            return self.constants(leaf.value)
        atom = outputs[leaf.place]
        dtype = atom.dtype if isinstance(atom, Var) else np.asarray(atom.value).dtype
        if dtype.char != "d" or leaf.kind not in ("array", "scalar", "0-d array", "float"):
            raise NoLoweringError(f"a result of {dtype}, a {leaf.kind}")
        return self.of(atom)

    def line(self, line: Line) -> None:
        """Lower one line of the Program."""
        try:
            self.values[line.outputs[0]] = self.computed(line)
        except NoLoweringError as error:
            error.place = line.place
            raise

    def computed(self, line: Line) -> Cells:
        """Return the cells of what a line computes."""
        primitive = line.primitive
        facet = primitive.native
        if facet is None or primitive.multiple:
            raise NoLoweringError(primitive.name)
        (out,) = line.outputs
        is_count = out.dtype.kind == "i" and primitive.name == "sum"  # of booleans: whole numbers are exact as doubles
        if out.dtype not in (float, bool) and not is_count:
            raise NoLoweringError(f"{primitive.name} of {out.dtype}")
        operands = [self.of(atom) for atom in line.inputs]
        if facet == "moves":
            cells = self.move(functools.partial(primitive.compute, **line.params), *operands)
        elif isinstance(facet, str):
            cells = self(facet, *operands)
        else:
            cells = facet(self, *operands, **line.params)
        if cells is None:
            raise NoLoweringError(f"{primitive.name} with these parameters")
        cells = np.asarray(cells)
        if cells.shape != out.shape:
            raise NoLoweringError(f"{primitive.name} of shape {cells.shape}, not {out.shape}")
        if out.dtype != bool and any(a.dtype == bool for a in line.inputs if isinstance(a, Var)):
            return self._each(cells, lambda cell: self.as_kind(cell, False))
        return cast(Cells, cells)

    def add(self, statement: Add) -> None:
        """Add a value to a part of an array, which is changed for all later statements."""
        cells = self.values[statement.array].copy()
        value = np.broadcast_to(self.of(statement.value), cells[statement.index].shape)
        cells[statement.index] = value if statement.first else self("add", cells[statement.index], value)
        self.values[statement.array] = cells

    def decide(self, statement: Exit, continuation: Branch | None) -> None:
        """Lower a decision: where it falls otherwise, another branch goes on, or the kernel is left."""
        operand, value = self.decision(statement.guard)
        otherwise = Block(self.tree, self.values, self.cells)
        if continuation is None:
            otherwise.statements.append(Leave())
        else:
            otherwise.branch(continuation)
        self.statements.append(_Decision(operand, value, otherwise))
        self.nest = None

    def decision(self, guard: Guard) -> tuple[Operand, bool]:
        """Return the operand that a decision is taken on, and the value that it has if it falls as before."""
        cells = self.of(guard.var)
        if cells.size != 1:
            raise NoLoweringError("a decision on an array")
        cell, value = cells.reshape(()), True
        if type(guard.value) is bool:
            cell, value = self("truth", cell), guard.value
        else:
            cell = self("equal", self("trunc", cell), float(guard.value))
        return self.operand(int(cell)), value

    # -- Cells --

    def of(self, atom: Atom) -> Cells:
        """Return the cells of a variable or constant."""
        return self.values[atom] if isinstance(atom, Var) else self.constants(atom.value)

    def constants(self, value: Any) -> Cells:
        """Return the cells of the elements of a constant."""
        array = np.asarray(value)
        if array.dtype.kind not in "biuf" or array.size > STACK:
            raise NoLoweringError(f"a constant of {array.dtype}")
        convert = bool if array.dtype.kind == "b" else float
        return np.array([self.constant(convert(v)) for v in array.ravel().tolist()], np.int64).reshape(array.shape)

    def constant(self, value: float | bool) -> int:
        """Return the cell of a constant."""
        key = value if type(value) is bool else float(value).hex()
        if key not in self.cells:
            self.cells[key] = self.tree.cell(value)
        return self.cells[key]

    def value_of(self, cells: Cells) -> float | bool | None:
        """Return the value of an array of one constant; None for any other.

        It is what a facet asks, to write a square as a product.
        """
        if cells.size == 0 or np.any(cells != cells.flat[0]):
            return None
        thing = self.tree.things[int(cells.flat[0])]
        return None if isinstance(thing, (Register, Element)) else thing

    def is_bool(self, cell: int) -> bool:
        """Return whether a cell is that of a boolean."""
        thing = self.tree.things[cell]
        return thing.is_bool if isinstance(thing, Register) else type(thing) is bool

    def operand(self, cell: int) -> Operand:
        """Return a constant or register; load an element."""
        thing = self.tree.things[cell]
        if not isinstance(thing, Element):
            return thing
        key = ("load", cell)
        if key not in self.cells:
            self.cells[key] = self.append(lambda register: Load(register, thing))
        return self.tree.things[self.cells[key]]  # type: ignore[return-value]

    def append(self, statement: Callable[[Register], Statement], is_bool: bool = False) -> int:
        """Add a statement that defines a register, and return the cell of that."""
        self.tree.count_statement()
        register = self.tree.register(is_bool)
        cell = self.tree.cell(register)
        self.statements.append(statement(register))
        if self.nest is not None:
            self.nest.later.add(cell)
        return cell

    # -- Operations: what the native facet of a row calls --

    def __call__(self, name: str, *operands: Cells | float | bool) -> Cells:
        """Apply an operation of scalars to cells, element by element.

        Beside the table of operations there are ``"select"``, and ``"truth"`` and ``"number"``, which make booleans of
        numbers and numbers of booleans.
        """
        if self.tree.portable and name.startswith(SPECIAL):
            raise NoLoweringError(f"{name}, a function of SciPy's")
        arrays = [np.asarray(self.constant(a)) if isinstance(a, (float, bool)) else a for a in operands]
        if name in ("truth", "number"):
            return self._each(arrays[0], lambda cell: self.as_kind(cell, name == "truth"))
        broadcast = np.broadcast_arrays(*arrays)
        shape = broadcast[0].shape
        size = math.prod(shape)
        if size <= self.unrolled or (size <= UNROLLED and not _has_nest(name)):
            lists = [array.ravel().tolist() for array in broadcast]
            cells = [self.scalar(name, *each) for each in zip(*lists, strict=True)]
            return np.array(cells, np.int64).reshape(shape)
        return self.nested(name, broadcast, shape)

    def converted(self, cells: Cells, kind: str) -> Cells:
        """Return cells as numbers of double precision, or as truth values."""
        if kind not in "d?":
            raise NoLoweringError(f"numbers of {np.dtype(kind)}")
        return self._each(cells, lambda cell: self.as_kind(cell, kind == "?"))

    unrolls = True
    """An array is written out element by element: a facet may use NumPy's functions on it."""

    def move(self, function: Callable[..., Cells], cells: Cells) -> Cells:
        """Return the cells that a function, which moves elements, makes of others."""
        return function(cells)

    def assemble(
        self,
        shape: tuple[int, ...],
        first: Cells | float | None,
        parts: Sequence[tuple[Cells, Callable[..., Cells], bool]],
    ) -> Cells:
        """Return an array filled with `first`; then each part is written at the view of it, or added if it says so."""
        y = np.empty(shape, np.int64)
        if first is not None:
            y[...] = self.constant(first) if isinstance(first, float) else first
        for value, function, adds in parts:
            part = function(y)
            if part.size and not np.may_share_memory(part, y):
                raise NoLoweringError("a part that is a copy")
            part[...] = self("add", part, value) if adds else value
        return y

    def fold(self, name: str, x: Cells, axis: tuple[int, ...] | None, keepdims: bool) -> Cells:
        """Combine the elements along axes, by an operation of two scalars or the function of a row."""
        axes = tuple([k % x.ndim for k in (range(x.ndim) if axis is None else axis)])
        shape = tuple([1 if k in axes else n for k, n in enumerate(x.shape) if keepdims or k not in axes])
        rest = tuple([n for k, n in enumerate(x.shape) if k not in axes])
        slices = list(np.moveaxis(x, axes, range(len(axes))).reshape(-1, *rest)) if x.size else []
        if name == "add":
            return (
                np.reshape(self._sum(slices, min(axes, default=0) == x.ndim - len(axes)), shape)
                if slices
                else (np.full(shape, self.constant(0.0)))
            )
        rule: Any = PRIMITIVES[name].native if name in PRIMITIVES else name
        combine = functools.partial(rule, self) if callable(rule) else functools.partial(self, rule)
        if not slices:
            raise NoLoweringError(f"{name} of nothing")
        return np.reshape(functools.reduce(combine, slices), shape)

    def running(self, name: str, x: Cells, axis: int) -> Cells:
        """Combine the elements so far along an axis."""
        if not x.size:
            return x
        rule: Any = PRIMITIVES[name].native if name in PRIMITIVES else name
        combine = functools.partial(rule, self) if callable(rule) else functools.partial(self, rule)
        return np.moveaxis(np.stack(list(itertools.accumulate(np.moveaxis(x, axis, 0), combine))), 0, axis)

    def _sum(self, slices: Sequence[Cells], side_by_side: bool) -> Cells:
        """Add in NumPy's order: with eight partial sums, if the elements lie side by side."""
        add = functools.partial(self, "add")
        count = len(slices)
        if count < 8 or not side_by_side or count > 128:
            return functools.reduce(add, slices, 0.0)  # type: ignore[arg-type]
        sums = [functools.reduce(add, slices[k : count - count % 8 : 8]) for k in range(8)]
        while len(sums) > 1:
            sums = [add(a, b) for a, b in zip(sums[::2], sums[1::2], strict=True)]
        return add(functools.reduce(add, slices[count - count % 8 :], sums[0]), 0.0)  # never -0.0

    def _each(self, cells: Cells, change: Callable[[int], int]) -> Cells:
        return np.array([change(c) for c in cells.ravel().tolist()], np.int64).reshape(cells.shape)

    def scalar(self, name: str, *cells: int) -> int:
        """Return the cell of an operation on cells: computed before, a constant, or a new register."""
        if name == "select":
            return self._select(*cells)
        operation = operation_of(name)
        cells = tuple([self.as_kind(cell, operation.of_bools) for cell in cells])
        key = (name, *(sorted(cells) if operation.commutes else cells))
        if key not in self.cells:
            self.cells[key] = self._scalar(name, operation.is_bool, cells)
        return self.cells[key]

    def _scalar(self, name: str, is_bool: bool, cells: tuple[int, ...]) -> int:
        things = [self.tree.things[cell] for cell in cells]
        if not any(isinstance(thing, (Register, Element)) for thing in things):
            value = constant_of(name, tuple(things), "?" if operation_of(name).of_bools else "d")
            if value is not None:
                return self.constant(value)
        same = unchanged_operand(name, things)
        if same is not None:
            return cells[same]
        operands = tuple([self.operand(cell) for cell in cells])
        return self.append(lambda register: Compute(register, name, operands), is_bool)

    def _select(self, condition: int, a: int, b: int) -> int:
        condition = self.as_kind(condition, True)
        if not (self.is_bool(a) and self.is_bool(b)):
            a, b = self.as_kind(a, False), self.as_kind(b, False)
        chosen = self.tree.things[condition]
        if a == b or type(chosen) is bool:
            return a if chosen else b
        key = ("select", condition, a, b)
        if key not in self.cells:
            operands = tuple([self.operand(cell) for cell in (condition, a, b)])
            self.cells[key] = self.append(lambda register: Compute(register, "select", operands), self.is_bool(a))
        return self.cells[key]

    def as_kind(self, cell: int, as_bool: bool) -> int:
        """Return a cell as a boolean, or as a number."""
        if self.is_bool(cell) == as_bool:
            return cell
        if as_bool:
            return self.scalar("not_equal", cell, self.constant(0.0))
        key = ("convert", cell)
        if key not in self.cells:
            operand = self.operand(cell)
            self.cells[key] = (
                self.append(lambda register: Compute(register, "convert", (operand,)))
                if isinstance(operand, Register)
                else self.constant(float(operand))
            )
        return self.cells[key]

    # -- Nests --

    def nested(self, name: str, operands: Sequence[Cells], shape: tuple[int, ...]) -> Cells:
        """Apply an operation in a nest of loops: the open one, if its operands are there."""
        if not _has_nest(name):
            raise NoLoweringError(f"{name} of large arrays")
        sources = [self.source(array) for array in operands]
        nest = self.nest
        if nest is None or nest.shape != shape or not all(self.is_before(nest, source) for source in sources):
            nest = self.nest = _Open(shape, [], {}, {}, set(), set())
            self.statements.append(nest)
        registers = []
        for source in sources:
            if not isinstance(source, Element):
                registers.append(source)
                continue
            key = self.stored_in(source)
            register = nest.registers.get(key) if key is not None else None
            register = register or nest.loads.get(source)
            if register is None:
                self.tree.count_statement()
                register = nest.loads[source] = self.tree.register()
                nest.body.append(Load(register, source))
            registers.append(register)
        self.tree.count_statement()
        result = self.tree.register()
        nest.body.append(Compute(result, name, tuple(registers)))
        buffer, cells = self.tree.temporary(shape)
        nest.body.append(Store(Element(buffer, 0, row_major(shape)), result))
        nest.written.add(buffer)
        nest.registers[int(cells.flat[0])] = result
        return cells

    def product(self, left: Cells, right: Cells) -> Cells:
        """Multiply matrices, stacks of them too: in registers, or in a nest over the elements of the result."""
        terms = left.shape[-1]
        shape = (*np.broadcast_shapes(left.shape[:-2], right.shape[:-2]), left.shape[-2], right.shape[-1])
        if terms == 1 or math.prod(shape) * terms <= 2 * self.unrolled:
            products = [self("multiply", left[..., :, k, None], right[..., k, None, :]) for k in range(terms)]
            return functools.reduce(functools.partial(self, "add"), products)
        if terms > LONGEST_SUM:
            raise NoLoweringError("a product of large matrices")
        rows = self.in_memory(np.broadcast_to(left, (*shape[:-1], terms)))
        columns = self.in_memory(np.broadcast_to(right, (*shape[:-2], terms, shape[-1])))
        to_row, (along_row, along_column, to_column) = rows.strides[:-1], (rows.strides[-1], *columns.strides[-2:])
        buffer, cells = self.tree.temporary(shape)
        body: list[Statement] = []

        def computed(name: str, *operands: Operand) -> Register:
            self.tree.count_statement()
            register = self.tree.register()
            body.append(Compute(register, name, operands))
            return register

        def loaded(element: Element) -> Register:
            self.tree.count_statement()
            register = self.tree.register()
            body.append(Load(register, element))
            return register

        sums: list[Register] = []
        for k in range(terms):
            a = loaded(Element(rows.buffer, rows.offset + k * along_row, (*to_row, 0)))
            place = columns.offset + k * along_column
            b = loaded(Element(columns.buffer, place, (*columns.strides[:-2], 0, to_column)))
            term = computed("multiply", a, b)
            if k < PARTIAL_SUMS:
                sums.append(term)
            else:
                sums[k % PARTIAL_SUMS] = computed("add", sums[k % PARTIAL_SUMS], term)
        body.append(
            Store(Element(buffer, 0, row_major(shape)), functools.reduce(functools.partial(computed, "add"), sums))
        )
        self.statements.append(Nest(shape, tuple(body), parallel=True))
        self.nest = None
        return cells

    def in_memory(self, cells: Cells) -> Element:
        """Return cells as elements of one buffer by strides: as they are, or copied, each once if that is enough."""
        element = self.strided(cells)
        if element is None:
            some = cells[tuple([slice(None) if s else slice(1) for s in cells.strides])]  # without what is broadcast
            element = self.strided(np.broadcast_to(self.copied(some), cells.shape))
        assert element is not None, "a copy is strided"
        return element

    def source(self, cells: Cells) -> Operand | Element:
        """Return what an operand of a nest reads: a scalar that is the same in all of it, or an element by strides."""
        first = int(cells.flat[0])
        if np.all(cells == first):
            return self.operand(self.as_kind(first, False))
        return self.in_memory(cells)

    def strided(self, cells: Cells) -> Element | None:
        """Return cells as elements of one buffer by strides; None if they are not."""
        things = self.tree.things
        first = things[int(cells.flat[0])]
        last = things[int(cells.flat[-1])]
        if not isinstance(first, Element) or not isinstance(last, Element) or first.buffer != last.buffer:
            return None
        corner = cells[(0,) * cells.ndim]
        strides = [int(np.diff(cells[(0,) * k + (slice(2),) + (0,) * (cells.ndim - k - 1)])[0]) if n > 1 else 0
                   for k, n in enumerate(cells.shape)]  # fmt: skip
        expected = corner + sum(
            s * np.arange(n).reshape((-1,) + (1,) * (cells.ndim - k - 1))
            for k, (s, n) in enumerate(zip(strides, cells.shape, strict=True))
        )
        if not np.array_equal(cells, expected):
            return None
        numbers = cells.ravel()
        low, high = int(numbers.min()) - int(corner), int(numbers.max()) - int(corner)
        if first.offset + low < 0 or first.offset + high >= first.buffer.size:
            return None
        return Element(first.buffer, first.offset, tuple(strides))

    def copied(self, cells: Cells) -> Cells:
        """Copy cells into a new buffer, one by one."""
        buffer, new = self.tree.temporary(cells.shape)
        for k, cell in enumerate(cells.ravel().tolist()):
            operand = self.operand(self.as_kind(cell, False))
            self.tree.count_statement()
            self.statements.append(Store(Element(buffer, k), operand))
        if self.nest is not None:
            self.nest.later.add(int(new.flat[0]))
        return new

    def is_before(self, nest: _Open, source: Operand | Element) -> bool:
        """Return whether an operand is there when a nest runs: computed before, or in the same step of it."""
        if isinstance(source, Element):
            if source.buffer in nest.written:
                return self.stored_in(source) in nest.registers
            return not any(
                isinstance(thing := self.tree.things[cell], Element) and thing.buffer == source.buffer
                for cell in nest.later
            )
        return not isinstance(source, Register) or not any(self.tree.things[cell] == source for cell in nest.later)

    def stored_in(self, source: Element) -> int | None:
        """Return the first cell of a temporary that is read in the order in which it was written; None for others."""
        nest = self.nest
        if nest is None or source.offset or source.strides != row_major(nest.shape):
            return None
        for cell in nest.registers:
            thing = self.tree.things[cell]
            if isinstance(thing, Element) and thing.buffer == source.buffer:
                return cell
        return None


class _Decision(NamedTuple):
    """A decision, while the block of what happens otherwise may still grow."""

    operand: Operand
    value: bool
    otherwise: Block

    def frozen(self) -> Unless:
        """Return the statement."""
        return Unless(self.operand, self.value, self.otherwise.frozen())


def _has_nest(name: str) -> bool:
    """Return whether an operation on arrays can be a nest: on numbers, with numbers as results."""
    operation = None if name == "select" else operation_of(name)
    return operation is not None and not operation.is_bool and not operation.of_bools


def unchanged_operand(name: str, things: Sequence[Any]) -> int | None:
    """Return the place of the operand that an operation returns as it is: ``x * 1.0``, ``x - 0.0``, ``x / 1.0``."""
    neutral = _NEUTRAL.get(name)
    if neutral is None:
        return None
    value, positions = neutral
    for k in positions:
        thing = things[k]
        if type(thing) is float and thing == value and math.copysign(1.0, thing) == math.copysign(1.0, value):
            return 1 - k
    return None


_NEUTRAL: Mapping[str, tuple[float, tuple[int, ...]]] = {
    "multiply": (1.0, (0, 1)),
    "divide": (1.0, (1,)),
    "subtract": (0.0, (1,)),
    "add": (-0.0, (0, 1)),
}
"""Operands that change nothing, not even the sign of zero, and their positions."""
