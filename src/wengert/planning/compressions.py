"""The compressions that a Jacobian or Hessian has, by their names, and what is remembered of patterns.

A pattern is remembered by the trace that it was found in, and its compressions by the pattern; each of them is made
when it is first asked for.

>>> import numpy as np
>>> from wengert.accumulation.coloring import structure_of
>>> arrowhead = np.eye(9)
>>> arrowhead[0] = arrowhead[:, 0] = 1
>>> of_jacobian = Compressions(structure_of(arrowhead))
>>> [(name, of_jacobian[name].passes) for name in JACOBIAN_COMPRESSIONS]
[('column-compressed', 9), ('row-compressed', 9), ('bi-compressed', 3)]
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np

from wengert.accumulation.coloring import Pattern
from wengert.accumulation.compressed import (
    Compression,
    Diagonal,
    acyclic,
    by_columns,
    by_rows,
    by_rows_and_columns,
    check_entries,
    joined,
    star,
)
from wengert.accumulation.sparsity import pattern_of
from wengert.errors import PatternError
from wengert.jacobians import TooDenseError
from wengert.linearization import Linearization
from wengert.primitives.numpy.elementwise import multiply
from wengert.primitives.numpy.structural import matmul
from wengert.program.structure import exactly
from wengert.tracing import COPIED

Shape = tuple[int, ...]
JACOBIAN_COMPRESSIONS = ("column-compressed", "row-compressed", "bi-compressed")
"""The compressions of a Jacobian; of two that cost the same the first is taken."""
HESSIAN_COMPRESSIONS = ("star", "acyclic", "column-compressed")
"""The compressions of a Hessian."""
READING, SUBSTITUTION = 1, 20
"""What it costs to read an entry, and to solve for one, in operations."""


class Compressions:
    """The compressions of one pattern.

    Attributes
    ----------
    pattern
        Where the matrix of all results by all arguments may have entries.
    symmetric
        True for a Hessian.
    shape, result_shape
        The shapes of the argument and the result, where each is one array: lattices are sought in them.
    """

    def __init__(self, pattern: Pattern, symmetric: bool = False, shape: Shape = (), result_shape: Shape = ()) -> None:
        self.pattern, self.symmetric, self.shape, self.result_shape = pattern, symmetric, shape, result_shape
        self._made: dict[str, Compression] = {}

    def __getitem__(self, name: str) -> Compression:
        if name not in self._made:
            makers: dict[str, Callable[[], Compression]] = {
                "column-compressed": lambda: by_columns(self.pattern, self.shape),
                "row-compressed": lambda: by_rows(self.pattern, self.result_shape),
                "bi-compressed": lambda: by_rows_and_columns(self.pattern),
                "star": lambda: star(self.pattern, self.shape),
                "acyclic": lambda: acyclic(self.pattern, self.shape),
                "diagonal": lambda: Diagonal.of(self.pattern, self.shape),
            }
            self._made[name] = makers[name]()
        return self._made[name]

    @property
    def fewest_passes(self) -> int:
        """A number of passes below which there is no compression by columns or rows alone."""
        rows, columns = self._fullest()
        return min(rows, columns)

    def _fullest(self) -> tuple[int, int]:
        """Return the most entries in a row and in a column."""
        by_column = np.bincount(self.pattern.indices, minlength=1)
        return int(np.diff(self.pattern.indptr).max(initial=0)), int(by_column.max(initial=0))

    @property
    def may_need_both(self) -> bool:
        """Whether there are full rows and full columns in a matrix that has few entries."""
        rows, columns = self.pattern.shape
        return min(self._fullest()) * int(min(rows, columns)) > 2 * int(self.pattern.nnz)

    def worth(self, along: int, back: int) -> list[Compression]:
        """Return the compressions that may take the fewest operations; `along` and `back` are those of a pass."""
        if self.symmetric:
            compressions = [self["star"]]
            if (compressions[0].passes - 2) * along > SUBSTITUTION * self.pattern.nnz:
                compressions.append(self["acyclic"])
            return compressions
        compressions = [self["column-compressed"], self["row-compressed"]]
        if self.may_need_both and min([c.passes for c in compressions]) > 3:
            compressions.append(self["bi-compressed"])
        return compressions


def count_operations(compression: Compression, along: int, back: int) -> int:
    """Return what a compression takes in operations, of which `along` is a forward pass and `back` a reverse one."""
    return compression.forward_passes * along + compression.reverse_passes * back + reading(compression)


def reading(compression: Compression) -> int:
    """Return what it takes to read or solve for all entries, in operations."""
    return int(compression.pattern.nnz) * (SUBSTITUTION if compression.substitutes else READING)


MOST_ENTRIES = 1 << 24
"""Compressions are remembered for the latest patterns, of so many entries together."""
_COMPRESSIONS: OrderedDict[Hashable, list[Compressions]] = OrderedDict()


def compressions_of(linearization: Linearization, pattern: Pattern, symmetric: bool = False) -> Compressions:
    """Return the compressions of a Jacobian or Hessian that has a pattern; they are remembered by it."""
    shape, result_shape = (v[0].shape if len(v) == 1 else () for v in (linearization.inputs, linearization.values))
    key = pattern.shape, pattern.nnz, symmetric
    for compressions in _COMPRESSIONS.get(key, ()):
        if _is_same(compressions.pattern, pattern):
            _COMPRESSIONS.move_to_end(key)
            return compressions
    compressions = Compressions(pattern, symmetric, shape, result_shape)
    _COMPRESSIONS.setdefault(key, []).append(compressions)
    while sum([c.pattern.nnz for several in _COMPRESSIONS.values() for c in several]) > MOST_ENTRIES:
        _COMPRESSIONS.popitem(last=False)
    return compressions


def _is_same(pattern: Pattern, other: Pattern) -> bool:
    if pattern is other:
        return True
    return np.array_equal(pattern.indptr, other.indptr) and np.array_equal(pattern.indices, other.indices)


# ---- The patterns of traces ----

MOST_PATTERNS = 32
_PATTERNS: OrderedDict[Hashable, Pattern | None] = OrderedDict()
"""The patterns of the latest traces; None for one that has too many entries to be of use."""


class Sparsity(NamedTuple):
    """The pattern of a Jacobian, and whether it was found just now, for a trace that has not been seen before."""

    pattern: Pattern
    is_new: bool


def find_pattern(linearization: Linearization, symmetric: bool = False, most: int | None = None) -> Sparsity | None:
    """Return where the Jacobian of all results by all arguments may have entries, for all inputs of these shapes.

    It is remembered for traces that do the same, with the same constants.  None is returned for a pattern of about
    more entries than `most`.
    """
    key = _key(linearization, symmetric)
    is_remembered = key is not None and key in _PATTERNS
    pattern = _PATTERNS.pop(key) if is_remembered else None
    is_new = pattern is None
    if is_new and not (is_remembered and most is not None):
        try:
            pattern = joined(pattern_of(linearization, most=most), linearization, symmetric)
        except TooDenseError:
            pattern = None
    if key is not None:
        _PATTERNS[key] = pattern
        if len(_PATTERNS) > MOST_PATTERNS:
            _PATTERNS.popitem(last=False)
    return None if pattern is None else Sparsity(pattern, is_new)


def check_found(jacobian: Any, linearization: Linearization) -> None:
    """Raise PatternError if a pattern that was found lacks an entry, and forget what was found."""
    try:
        check_entries(jacobian, linearization, is_given=False)
    except PatternError:
        _PATTERNS.clear()
        raise


def _key(linearization: Linearization, symmetric: bool) -> Hashable:
    """Return a key of a trace, equal for those that compute the same of their arguments; None if it has none."""
    parts: list[Any] = [symmetric, tuple(linearization.outputs)]
    parts += [(x.shape, x.dtype) for x in linearization.inputs]
    try:
        for primitive, parents, kept, params, _, _ in linearization.rows:
            parts += [primitive, parents]
            content = _zeros if primitive in (matmul, multiply) else _content
            parts += [content(value) for parent, value in zip(parents, kept[1:], strict=True) if parent < 0]
            for name, value in params.items():
                if name == "held":
                    structure = value.structure(COPIED)
                    if structure is None:
                        return None
                    shape, particulars = structure
                    parts += [shape, *map(_content, particulars)]
                elif name != "run":
                    parts.append((name, _content(value)))
    except TypeError:  # a value that may change, or that cannot be compared
        return None
    return tuple(parts)


def _content(value: Any) -> Hashable:
    """Return a key of a constant or parameter; a long array has a digest, so that it need not be kept."""
    if type(value) is np.ndarray and value.size > COPIED and not value.dtype.hasobject:
        return value.shape, value.dtype, sha256(np.ascontiguousarray(value).data).digest()
    if type(value) is tuple:
        return tuple(map(_content, value))
    return exactly(value, COPIED)


def _zeros(value: Any) -> Hashable:
    """Return a key of the zeros of a long array: more of a factor does not show in the pattern of a product."""
    if type(value) is np.ndarray and value.size > COPIED and value.dtype.kind in "fc":
        return value.shape, value.dtype, sha256(np.packbits(value != 0).data).digest()
    return _content(value)
