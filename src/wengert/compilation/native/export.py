"""Export: a kernel as C source, an object file or LLVM's text, for programs without Python.

The function takes the address of each argument's elements, of an array for the results, and of one to work in; it
allocates nothing and calls the C library alone.  A header beside it has the sizes.

>>> from wengert.compilation.native.loops import Buffer, Compute, Element, Load, Register, Return, Store
>>> x, y, r, s = Buffer("x0", 1, "argument"), Buffer("y", 1, "result"), Register(1), Register(2)
>>> body = Load(r, Element(x, 0)), Compute(s, "multiply", (r, -2.0)), Store(Element(y, 0), s), Return(0)
>>> print("\\n".join(_Source(Kernel("f", (x,), y, body), ["a"]).function("f")))
int f(const double *a, double *restrict result, double *restrict work)
{
    (void)work;
    const double r1 = a[0];
    const double r2 = r1 * (-2.0);
    result[0] = r2;
    return 0;
}
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from wengert import trees
from wengert.compilation.branches import Tree
from wengert.compilation.native.engine import object_file
from wengert.compilation.native.llvm import symbols_of, write_exported
from wengert.compilation.native.loops import (
    VARIABLES,
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
    operands_of,
    walk_statements,
)
from wengert.compilation.native.lowering import Lowered, NoLoweringError, Part, lower_tree
from wengert.compilation.native.operations import operation_of
from wengert.errors import ArgumentError, ExportError
from wengert.program.code import Fixed, ResultForm

ENDINGS = (".c", ".o", ".ll")
"""The endings of files that are written: source, an object file, LLVM's text."""

TYPES: Mapping[str, str] = {"d": "double", "f": "float", "l": "long long", "?": "int"}
"""Types of scalars in C, by the character of a dtype."""
MEMORY: Mapping[str, str] = {**TYPES, "?": "unsigned char"}
"""Types of elements of arrays."""

_WORDS = frozenset(
    re.findall(
        r"\w+",
        "auto break case char const continue default do double else enum extern float for goto if inline int long "
        "register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while "
        "main result work NAN INFINITY and asm bool catch class compl delete explicit export false friend mutable "
        "namespace new not operator or private protected public template this throw true try typeid typename using "
        "virtual xor",
    )
)
"""Words that are no names of arguments or functions, in C and C++."""
_INTERNAL = re.compile(r"([rbnt]\d+(_next)?|[i-w]|(M|FP|HUGE|MATH)_\w*)(?<!_)")
"""Names that the function itself or <math.h> may have."""


def export(path: str | os.PathLike[str], tree: Tree, names: Sequence[str], what: str) -> None:
    """Write all branches of a function into a file, and a header beside it.

    The function has the name of the file, `names` are those of the arguments, and `what` describes it.
    """
    file = Path(path)
    if file.suffix not in ENDINGS:
        raise ArgumentError(f"export({file.name!r}): the file ends in {', '.join(ENDINGS[:2])} or {ENDINGS[2]}.")
    name = file.stem
    if not re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII) or name in _WORDS:
        raise ArgumentError(f"export({file.name!r}): the function has the name of the file, which is none in C.")
    try:
        lowered = lower_tree(tree, name, portable=True)
    except NoLoweringError as error:
        raise ExportError.at(
            error.place,
            f"{what} cannot be exported, for there is no source of {error}:",
            "Exported code computes small arrays and numbers of double precision, by what the C library has."
            if error.place is None
            else "Export what comes before it and after it as functions of their own.",
        ) from error
    called = symbols_of(lowered.kernel)
    if name in called:
        raise ArgumentError(f"export({file.name!r}): the function would have the name of one that it calls.")
    identifiers = _identifiers(names, called)
    if file.suffix == ".c":
        file.write_text(f'#include "{name}.h"\n{write_source(lowered.kernel, identifiers, name)}')
    else:
        text = write_exported(lowered.kernel, name)
        if file.suffix == ".ll":
            file.write_text(text)
        else:
            file.write_bytes(object_file(text, lowered.kernel.has_nests))
    file.with_suffix(".h").write_text(_header(lowered, identifiers, names, name, what))


def _identifiers(names: Sequence[str], called: Sequence[str]) -> list[str]:
    """Return names of arguments as C allows them."""
    identifiers: list[str] = []
    for k, name in enumerate(names):
        identifier = name if re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII) else f"argument{k}"
        while (
            identifier in _WORDS or identifier in called or identifier in identifiers or _INTERNAL.fullmatch(identifier)
        ):
            identifier += "_"
        identifiers.append(identifier)
    return identifiers


# ---- C ----


def write_source(kernel: Kernel, names: Sequence[str], function: str) -> str:
    """Return a kernel as a function in C99; `names` are those of the arguments."""
    head = ["#include <math.h>", "", "#ifdef __clang__", "#pragma STDC FP_CONTRACT OFF", "#endif", ""]
    return "\n".join([*head, *_Source(kernel, names).function(function), ""])


class _Source:
    """Writes statements in C."""

    def __init__(self, kernel: Kernel, names: Sequence[str]) -> None:
        self.kernel, self.names = kernel, names
        self.buffers = dict(zip(kernel.arguments, names, strict=True)) | {kernel.results: "result"}
        self.buffers |= {buffer: buffer.name for buffer in kernel.temporaries}
        self.read = {operand for s in walk_statements(kernel.statements) for operand in operands_of(s)}

    def function(self, name: str) -> Iterator[str]:
        """Yield the lines of the function."""
        yield f"int {name}({_parameters(self.kernel, self.names, 'restrict ')})"
        yield "{"
        used = {s.element.buffer for s in walk_statements(self.kernel.statements) if isinstance(s, (Load, Store))}
        for buffer, written in self.buffers.items():
            if buffer not in used and buffer not in self.kernel.temporaries:
                yield f"    (void){written};"
        if not self.kernel.temporaries:
            yield "    (void)work;"
        for buffer, offset in self.kernel.work_offsets().items():
            kind = MEMORY[buffer.dtype]
            cast = "" if kind == "double" else f"({kind} *)(void *)"
            yield f"    {kind} *const {buffer.name} = {cast}(work + {offset});"
        yield from self.block(self.kernel.statements, "    ")
        yield "}"

    def block(self, statements: Sequence[Statement], indent: str) -> Iterator[str]:
        """Yield the lines of a block."""
        for statement in statements:
            if isinstance(statement, Compute):
                yield f"{indent}const {_declared(statement.register)} = {_computed(statement)};"
            elif isinstance(statement, Load):
                yield f"{indent}const {_declared(statement.register)} = {self.element(statement.element)};"
            elif isinstance(statement, Store):
                yield f"{indent}{self.element(statement.element)} = {_written(statement.value)};"
            elif isinstance(statement, Nest):
                yield from self.nest(statement, indent)
            elif isinstance(statement, Unless):
                test = _written(statement.operand)
                yield f"{indent}if ({f'!{test}' if statement.value else test}) {{"
                yield from self.block(statement.otherwise, indent + "    ")
                yield f"{indent}}}"
            elif isinstance(statement, Return):
                yield f"{indent}return {statement.branch};"
            elif isinstance(statement, Leave):
                yield f"{indent}return -1;"
            else:
                raise NoLoweringError(f"{statement} in C")

    def nest(self, nest: Nest, indent: str) -> Iterator[str]:
        """Yield the lines of a nest of loops."""
        carries = [c for c in nest.carries if c.register in self.read or c.after in self.read]
        for carry in carries:
            yield f"{indent}{_declared(carry.register)} = {_written(carry.first)};"
        indents = [indent + "    " * k for k in range(len(nest.counts) + 1)]
        for variable, count, before in zip(VARIABLES[nest.depth :], nest.counts, indents, strict=False):
            yield f"{before}for (long long {variable} = 0; {variable} < {count}; {variable}++) {{"
        yield from self.block(nest.body, indents[-1])
        for carry in carries:
            yield f"{indents[-1]}const {_declared(carry.register, '_next')} = {_written(carry.then)};"
        for carry in carries:
            yield f"{indents[-1]}{carry.register} = {carry.register}_next;"
        for before in indents[-2::-1]:
            yield f"{before}}}"
        for carry in carries:
            if carry.after in self.read:
                yield f"{indent}const {_declared(carry.after)} = {carry.register};"

    def element(self, element: Element) -> str:
        """Return an element of an array."""
        factors: list[tuple[object, int]] = list(zip(VARIABLES, element.strides, strict=False))
        factors += element.computed
        terms = [f"{variable}" if stride == 1 else f"{stride} * {variable}" for variable, stride in factors if stride]
        if element.offset or not terms:
            terms.append(str(element.offset))
        return f"{self.buffers[element.buffer]}[{' + '.join(terms)}]"


def _declared(register: Register, ending: str = "") -> str:
    return f"{TYPES[register.dtype]} {register}{ending}"


def _parameters(kernel: Kernel, names: Sequence[str], qualifier: str = "") -> str:
    """Return the parameters of the function; a `qualifier` stands before those that it writes."""
    passed = [
        f"{'const ' * (buffer.role == 'argument')}{MEMORY[buffer.dtype]} *{name}"
        for name, buffer in zip(names, kernel.arguments, strict=True)
    ]
    return ", ".join([*passed, f"{MEMORY[kernel.results.dtype]} *{qualifier}result", f"double *{qualifier}work"])


def _computed(statement: Compute) -> str:
    operands = list(map(_written, statement.operands))
    if statement.operation == "select":
        return "{} ? {} : {}".format(*operands)
    if statement.operation == "convert":
        return f"({TYPES[statement.register.dtype]}){operands[0]}"
    source = operation_of(statement.operation).source
    assert source is not None, "the kernel is portable"
    return source.format(*operands)


def _written(operand: Operand) -> str:
    """Return an operand in C; the shortest decimal of a double is read back as the same double."""
    if isinstance(operand, Register):
        return str(operand)
    if isinstance(operand, int):
        return str(int(operand))
    if math.isnan(operand):
        return "NAN"
    text = "INFINITY" if math.isinf(operand) else repr(abs(operand))
    return f"(-{text})" if math.copysign(1.0, operand) < 0 else text


# ---- The header ----


def _header(lowered: Lowered, identifiers: Sequence[str], names: Sequence[str], name: str, what: str) -> str:
    """Return the text of the header: what the function takes and returns, and the sizes."""
    kernel, macro = lowered.kernel, name.upper()
    comment = [
        what,
        "",
        "Written by wengert.  The function allocates nothing, keeps nothing between calls, and calls the C library",
        "alone; link it with -lm.  Arrays are row-major.  No argument may overlap with result or work.",
        "",
        "It returns the number of the branch that was computed, and -1 where a decision fell as it did in no branch",
        "that was traced; what result holds then has no meaning.",
        "",
    ]
    comment += [
        f"  {identifier}[{buffer.size}]" + (f": {original}" if identifier != original else "")
        for identifier, original, buffer in zip(identifiers, names, kernel.arguments, strict=True)
    ]
    for k, (form, parts) in enumerate(lowered.forms):
        comment += ["", f"Branch {k}:", *[f"  {line}" for line in _layout(form, parts)]]
    lines = [f"#ifndef {macro}_H", f"#define {macro}_H", "", "/* " + comment[0].replace("*/", "* /")]
    lines += [f" * {line}".rstrip().replace("*/", "* /") for line in comment[1:]] + [" */", ""]
    sizes = [(identifier, buffer.size) for identifier, buffer in zip(identifiers, kernel.arguments, strict=True)]
    sizes += [("result", kernel.results.size), ("work", sum(buffer.doubles for buffer in kernel.temporaries))]
    lines += [f"#define {macro}_SIZE_OF_{identifier} {size}" for identifier, size in sizes]
    lines += [f"#define {macro}_BRANCHES {len(lowered.forms)}", "", "#ifdef __cplusplus", 'extern "C" {', "#endif", ""]
    lines += [
        f"int {name}({_parameters(kernel, identifiers)});",
        "",
        "#ifdef __cplusplus",
        "}",
        "#endif",
        "",
        "#endif",
        "",
    ]
    return "\n".join(lines)


def _layout(form: ResultForm, parts: Sequence[Part]) -> Iterator[str]:
    """Yield for each leaf of a result where it lies, or what it always is."""
    for path, part in zip(trees.paths(trees.skeleton(form.structure), "result"), parts, strict=True):
        if not part.has_data:
            assert isinstance(part.leaf, Fixed)
            yield f"{path}: always {part.leaf.value!r}"
            continue
        size = math.prod(part.shape)
        shape = f"{' x '.join(map(str, part.shape))}" if part.shape else "a number"
        if part.matrix is not None:
            shape = f"the data of a sparse matrix, by rows: {shape}"
        yield f"{path}: {shape}, from result[{part.offset}]" + (
            f" to result[{part.offset + size - 1}]" if size > 1 else ""
        )
