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

import math
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wengert.errors import Location, RawLocation, ShapeError, located
from wengert.program.primitive import Primitive, Recordable, Shape, as_value

Array = Any


def _setters(cls: type) -> list[Any]:
    """Return what fills the fields of a frozen dataclass: the own ``__init__`` of one takes twice as long."""
    return [vars(cls)[name].__set__ for name in cls.__dataclass_fields__]  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True, eq=False, init=False)
class Var:
    """A variable of the list, printed ``u_{number}``."""

    number: int
    shape: Shape
    dtype: np.dtype[Any]

    def __init__(self, number: int, shape: Shape, dtype: np.dtype[Any]) -> None:
        _set_number(self, number)
        _set_shape(self, shape)
        _set_dtype(self, dtype)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    def __str__(self) -> str:
        return f"u_{self.number}" if self.number >= 0 else f"u_{{{self.number}}}"


_set_number, _set_shape, _set_dtype = _setters(Var)


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
    """The short form in which a line prints a long array."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _brief(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.size > 4:
        return _Brief(str(Constant(value)))
    return tuple(_brief(v) for v in value) if isinstance(value, tuple) else value


class Operand:
    """A placeholder in a parameter for the k-th operand: an index that is itself computed."""

    __slots__ = ("k",)

    def __init__(self, k: int) -> None:
        self.k = k

    def __eq__(self, other: object) -> bool:
        return type(other) is Operand and other.k == self.k

    def __hash__(self) -> int:
        return hash((Operand, self.k))

    def __repr__(self) -> str:
        return f"{{{self.k}}}"


class Held:
    """The Programs that a line holds, and the way they run (a loop, a branch); see `wengert.control`.

    It is the line's parameter ``held``.
    """

    __slots__ = ()

    @property
    def programs(self) -> tuple[WengertList, ...]:
        """The Programs, in the order in which they are printed."""
        raise NotImplementedError

    @property
    def times(self) -> tuple[int, ...]:
        """How often each Program runs."""
        raise NotImplementedError

    def weighed(self) -> Sequence[tuple[WengertList, int]]:
        """Return the Programs and how often each runs, for a rough count; nothing is recorded for it."""
        raise NotImplementedError

    def heading(self) -> str:
        """Describe in a few words how the Programs run: ``1,000 steps``."""
        raise NotImplementedError

    def titles(self) -> tuple[str, ...]:
        """Return a title for each Program: ``step``, ``where true``."""
        raise NotImplementedError

    def note(self) -> str:
        """Describe the memory and the recomputation of a reverse sweep over this line; empty if there is none."""
        return ""

    def source(self, names: Sequence[str], args: Sequence[str], left: Sequence[str]) -> list[str]:
        """Return the line as Python statements, which call the Programs as functions by the given names."""
        raise NotImplementedError

    def structure(self, longest: int | None = None) -> tuple[Hashable, list[Any]] | None:
        """Return the key and particulars of the held Programs, as `program.structure` does; None if they have none."""
        return None

    def swept(self, moving: Sequence[bool]) -> tuple[Any, Any, int] | None:
        """Count a line that is itself a sweep over another: once, in each pass, and the values kept for it.

        Only the `moving` operands change from pass to pass.  Return None for a line that is no such sweep.
        """
        return None


@dataclass(frozen=True, slots=True, eq=False, init=False)
class Line:
    """One line of the list: ``outputs = primitive(inputs, **params)``, and where in the user's code it comes from."""

    primitive: Primitive
    inputs: tuple[Atom, ...]
    outputs: tuple[Var, ...]
    params: Mapping[str, Any] = field(default_factory=dict)
    place: RawLocation | None = None

    def __init__(
        self,
        primitive: Primitive,
        inputs: tuple[Atom, ...],
        outputs: tuple[Var, ...],
        params: Mapping[str, Any] | None = None,
        place: RawLocation | None = None,
    ) -> None:
        _set_primitive(self, primitive)
        _set_inputs(self, inputs)
        _set_outputs(self, outputs)
        _set_params(self, {} if params is None else params)
        _set_place(self, place)

    @property
    def location(self) -> Location | None:
        """The place in the user's code."""
        return Location.of(self.place)

    @property
    def programs(self) -> tuple[WengertList, ...]:
        """The Programs that this line holds (the body of a loop)."""
        held = self.held
        return () if held is None else held.programs

    @property
    def held(self) -> Held | None:
        """The Programs that this line runs, with the way they run; None for most lines."""
        held = self.params.get("held") if self.primitive.multiple else None
        return held if isinstance(held, Held) else None

    def __getstate__(self) -> list[Any]:
        return [self.primitive, self.inputs, self.outputs, dict(self.params), located(self.place)]

    def __str__(self) -> str:
        left = ", ".join(map(str, self.outputs))
        params = {name: _brief(value) for name, value in self.params.items()}
        return f"{left} = {readable(self.primitive.write([str(a) for a in self.inputs], params))}"


_set_primitive, _set_inputs, _set_outputs, _set_params, _set_place = _setters(Line)


@dataclass(frozen=True, slots=True, eq=False)
class Guard:
    """A decision that the user's code took on a value: the Program holds only where it is taken again."""

    var: Var
    value: bool | int
    place: RawLocation | None = None

    def __getstate__(self) -> list[Any]:
        return [self.var, self.value, located(self.place)]

    def __str__(self) -> str:
        return f"where {self.var} is {self.value}"


@dataclass(frozen=True, slots=True, eq=False)
class Packing:
    """The layout of an argument or result in variables: one for the whole array, or one for each element."""

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

    def checked(self, value: Array) -> Array:
        """Return a value as an array, NumPy scalar or traced value; raise ShapeError if its shape differs."""
        value = as_value(value)
        if np.shape(value) != self.shape:
            raise ShapeError(
                f"argument {self.name} has shape {np.shape(value)}, and this Program was traced for {self.shape}.\n"
                f"Trace the function again for the new shape: wg.trace(f)(...)."
            )
        return value

    def unpack(self, value: Array) -> list[Any]:
        """Split a value into the values of the variables; raise ArgumentError or ShapeError if it does not fit."""
        value = self.checked(value)
        if self.whole:
            return [value]
        return [value[index] for index in np.ndindex(*self.shape)]

    def pack(self, values: Sequence[Any]) -> Array:
        """Pack the values of the variables into one value; the inverse of `unpack`."""
        if self.whole:
            return values[0]
        if any(isinstance(v, Recordable) for v in values):
            parts: list[Any] = [v if isinstance(v, Recordable) else np.asarray(v, self.dtype) for v in values]
            return np.stack(parts).reshape(self.shape)
        return np.array(values, self.dtype).reshape(self.shape)


class Trees:
    """The conversion of trees to the arguments of a Program, and of its results to a tree; see `wengert.arguments`."""

    __slots__ = ()

    def split(self, args: Sequence[Any]) -> Sequence[Any]:
        """Flatten the arguments of the function to those of the Program."""
        raise NotImplementedError

    def join(self, results: Sequence[Any]) -> Any:
        """Build the result of the function from the results of the Program."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, eq=False)
class WengertList:
    """The data of a `Program`: arguments, lines, guards, results."""

    name: str
    arguments: tuple[Packing, ...]
    lines: tuple[Line, ...]
    results: tuple[Packing, ...]
    guards: tuple[Guard, ...] = ()
    single: bool = True
    """True if the function returned one array, False for several."""
    trees: Trees | None = None
    """The tree structures of the arguments and results; None if all are arrays."""

    @property
    def inputs(self) -> tuple[Var, ...]:
        """The independent variables."""
        return tuple(atom for argument in self.arguments for atom in argument.atoms if isinstance(atom, Var))

    @property
    def outputs(self) -> tuple[Atom, ...]:
        """The dependent variables (constants, where a result does not depend on the arguments)."""
        return tuple(atom for result in self.results for atom in result.atoms)


def readable(expression: str) -> str:
    """Drop the module from a NumPy expression: the Wengert list says ``log(u_2)``."""
    return re.sub(r"\bscipy\.[a-z]+\.|\bwengert\.primitives\.(?:[a-z_]+\.)+|\bnp\.", "", expression)
