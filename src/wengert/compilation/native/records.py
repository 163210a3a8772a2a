"""Records: what the function that CPython calls reads of a jitted function, as words of memory (`call.ll`).

    record = what has to be as it was, entries
    entry  = steps through the arguments, kernel, how the result of each branch is made

Arguments and results may be trees of tuples, lists and dicts; trees of other types are taken apart by Python.

>>> words = Words()
>>> address = words.table([[1, 2], [3, 4]])
>>> list((ctypes.c_int64 * 4).from_address(address))
[1, 2, 3, 4]
"""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from wengert import trees
from wengert.compilation import comparisons
from wengert.compilation.environment import Environment
from wengert.compilation.native.layout import (
    ALIGNED,
    CONTENT,
    CONTIGUOUS,
    DATA,
    DTYPE,
    FLAGS,
    ITEMS,
    NDIM,
    SHAPE,
    WRITEABLE,
    generic_dict,
)
from wengert.compilation.native.lowering import Lowered, Part
from wengert.compilation.signatures import Same
from wengert.program.code import Fixed, ResultForm
from wengert.tracing.context import OPEN_TAPES

RELEASES, MAY_RAISE = 1, 2
"""Flags of an entry: its kernel runs without the interpreter's lock; its functions may raise."""


class Words:
    """Memory of words, and the objects that it has the addresses of."""

    def __init__(self) -> None:
        self.kept: list[Any] = []

    def object(self, value: Any) -> int:
        """Return the address of an object."""
        self.kept.append(value)
        return id(value)

    def words(self, values: Iterable[int]) -> int:
        """Return the address of some words."""
        values = [value & 0xFFFF_FFFF_FFFF_FFFF for value in values]
        memory = (ctypes.c_uint64 * max(len(values), 1))(*values)
        self.kept.append(memory)
        return ctypes.addressof(memory)

    def table(self, rows: Iterable[Iterable[int]]) -> int:
        """Return the address of rows of words, one after the other."""
        return self.words([word for row in rows for word in row])

    def objects(self, values: Iterable[Any]) -> int:
        """Return the address of the addresses of objects."""
        return self.words([self.object(value) for value in values])


# ---- What has to be as it was ----

_DICT_OF, _ITEM, _PRESENT, _SIZE, _WORD, _BITS, _MEMORY, _CODE, _DEFAULTS, _KEYWORDS, _SLOT, _ENTRIES = range(12)
_PARTS = {"__code__": _CODE, "__defaults__": _DEFAULTS, "__kwdefaults__": _KEYWORDS}

Row = tuple[int, int, int, int, int]
"""A comparison: its kind, the object that it reads, a name or an offset, what is expected, its size."""


class Surroundings(Words):
    """The comparisons of an environment.

    Attributes
    ----------
    address, count
        The comparisons.
    rest
        Compares what they do not cover; None if that is nothing.
    """

    def __init__(self, environment: Environment) -> None:
        super().__init__()
        rows: list[Row] = []
        by_owner: dict[int, list[Any]] = {}
        remaining = []
        for condition in environment.conditions:
            comparison = environment.comparisons.get(condition)
            if isinstance(comparison, (comparisons.Attribute, comparisons.NoMoreAttributes)):
                if generic_dict()(comparison.owner, None) is comparison.owner.__dict__:
                    by_owner.setdefault(id(comparison.owner), []).append(comparison)
                    continue
                comparison = None
            if comparison is None:
                remaining.append(condition)
            else:
                rows += self._rows(comparison)
        for group in by_owner.values():
            rows.append((_DICT_OF, self.object(group[0].owner), 0, 0, 0))
            for comparison in group:
                rows += self._rows(comparison)
        self.address, self.count = self.table(rows), len(rows)
        self.rest = environment.compiled(remaining) if remaining else None

    def _rows(self, comparison: comparisons.Comparison) -> list[Row]:
        """Lay a comparison out; those of attributes read the latest dict."""
        if isinstance(comparison, (comparisons.Item, comparisons.Attribute)):
            holder = self.object(comparison.holder) if isinstance(comparison, comparisons.Item) else 0
            return [(_ITEM, holder, self.object(comparison.name), self.object(comparison.value), 0)]
        if isinstance(comparison, comparisons.Absent):
            holder = self.object(comparison.holder)
            return [(_ITEM, holder, self.object(name), 0, 0) for name in comparison.names]
        if isinstance(comparison, comparisons.NoMoreAttributes):
            size: Row = _SIZE, 0, 0, 0, comparison.size
            return [size, *[(_PRESENT, 0, self.object(name), 0, 0) for name in comparison.names]]
        if isinstance(comparison, comparisons.Slot):
            return [(_SLOT, self.object(comparison.owner), self.object(comparison.name),
                     self.object(comparison.value), 0)]  # fmt: skip
        if isinstance(comparison, comparisons.Part):
            return [(_PARTS[comparison.name], self.object(comparison.function), 0, self.object(comparison.value), 0)]
        if isinstance(comparison, comparisons.Contents):
            value = self.object(comparison.values[0]) if comparison.values else 0
            return [(_WORD, self.object(comparison.cell), CONTENT, value, 0)]
        if isinstance(comparison, comparisons.Items):
            holder, count = self.object(comparison.holder), len(comparison.values)
            items: Row = _MEMORY, holder, ITEMS, self.objects(comparison.values), 8 * count
            return [(_WORD, holder, CONTENT, count, 0), *([items] if count else [])]
        if isinstance(comparison, comparisons.Entries):
            keys, values = comparison.entries.keys(), comparison.entries.values()
            return [(_ENTRIES, self.object(comparison.holder), self.objects(keys), self.objects(values), len(keys))]
        array = self.object(comparison.array)
        if isinstance(comparison, comparisons.Frozen):
            return [(_BITS, array, FLAGS, WRITEABLE, 0)]
        shape = comparison.array.shape
        rows: list[Row] = [
            (_WORD, array, DTYPE, self.object(comparison.array.dtype), 0),
            (_BITS, array, NDIM, 0xFFFF_FFFF, len(shape)),
            (_BITS, array, FLAGS, CONTIGUOUS, CONTIGUOUS),
        ]
        if shape:
            rows.append((_MEMORY, array, SHAPE, self.words(shape), 8 * len(shape)))
        content = np.frombuffer(comparison.content, np.uint8)
        self.object(content)
        return [*rows, (_MEMORY, array, DATA, content.ctypes.data, content.size)] if content.size else rows


# ---- Arguments ----

_ARRAY, _NUMBER, _TUPLE, _LIST, _DICT, _IS, _EQUAL = range(7)
_CONTAINERS: dict[type, int] = {tuple: _TUPLE, list: _LIST, dict: _DICT}
_BY_VALUE = (int, str, bytes)


class UntakenError(Exception):
    """Arguments are a tree of other types than tuples, lists and dicts."""


class _Steps:
    """The steps through the arguments of one signature."""

    def __init__(self, words: Words, described: Sequence[Any], statics: dict[int, Any], count: int) -> None:
        self.words, self.described, self.statics, self.count = words, described, statics, count
        self.rows: list[tuple[int, ...]] = []
        self.leaves: list[tuple[int, tuple[int, ...]]] = []

    def value(self, number: int, node: Any) -> None:
        """Add the steps through a node of the tree of the numbers of leaves, which is the value of a number."""
        kind = type(node)
        if kind is int:
            self.leaf(number, node)
        elif node is None:
            self.rows.append((_IS, number, id(type(None)), id(None), 0, 0, 0))
        elif kind in _CONTAINERS:
            keys = self.words.objects(node) if kind is dict else 0
            self.rows.append((_CONTAINERS[kind], number, id(kind), 0, len(node), keys, 0))
            first, self.count = self.count, self.count + len(node)
            for k, child in enumerate(node.values() if kind is dict else node):
                self.value(first + k, child)
        else:
            raise UntakenError

    def leaf(self, number: int, leaf: int) -> None:
        """Add the step that takes a leaf: an array, a number, or what is fixed in the signature."""
        described = self.described[leaf]
        if isinstance(described, tuple):
            shape, _, dtype = described
            form = self.words.object(dtype), len(shape), self.words.words(shape), CONTIGUOUS | ALIGNED
            self.leaves.append((leaf, (_ARRAY, number, id(np.ndarray), *form)))
        elif described is not None:
            self.leaves.append((leaf, (_NUMBER, number, self.words.object(described), 0, 0, 0, 0)))
        else:
            kind, value = self.statics[leaf]
            if kind in (float, complex):  # by their texts
                raise UntakenError
            value = value.value if isinstance(value, Same) else value
            how = _EQUAL if kind in _BY_VALUE else _IS
            self.rows.append((how, number, self.words.object(kind), self.words.object(value), 0, 0, 0))


# ---- Entries ----


class Entry(Words):
    """What a kernel takes, and what is made of its results.

    `arguments` is the tree of the numbers of leaves, as a tuple of the arguments; of each leaf, `described` has what it
    is, and None where it is fixed: then `statics` has its type and value.
    """

    def __init__(
        self, lowered: Lowered, kernel: Any, flags: int, arguments: tuple[Any, ...], described: Sequence[Any],
        statics: dict[int, Any],
    ) -> None:  # fmt: skip
        super().__init__()
        self.kept.append(kernel)
        steps = _Steps(self, described, statics, len(arguments))
        for k, node in enumerate(arguments):
            steps.value(k, node)
        rows = [*steps.rows, *[row for _, row in sorted(steps.leaves)]]
        branches = [self._branch(form, parts) for form, parts in lowered.forms]
        depth = max([len(makes) for makes in branches])
        made = self.table([len(makes), self.table(makes)] for makes in branches)
        self.address = self.words([
            kernel.address, len(arguments), 8 * lowered.kernel.results.size, flags, len(rows), self.table(rows),
            max(steps.count, 1), made, len(branches), depth,
        ])  # fmt: skip

    # -- Results --

    def _branch(self, form: ResultForm, parts: Sequence[Part]) -> list[tuple[int, ...]]:
        """Return how the result of a branch is made: in the order in which it is put on a stack."""
        tree = trees.unflatten(form.structure, list(range(len(parts))))
        makes: list[tuple[int, ...]] = []
        if self._make(tree, parts, makes):
            return makes
        makes = [make for part in parts for make in self._leaf(part)]
        rebuild = functools.partial(trees.unflatten, form.structure)
        return [*makes, self._holder(_MAKE_TUPLE, len(parts)), (_CALL, 0, self.object(rebuild), 0, 0, 0, 0, 0)]

    def _make(self, node: Any, parts: Sequence[Part], makes: list[tuple[int, ...]]) -> bool:
        """Add how a node of the tree of a result is made; return False if Python makes it."""
        kind = type(node)
        if kind is int:
            makes += self._leaf(parts[node])
        elif node is None:
            makes.append((_OBJECT, 0, self.object(None), 0, 0, 0, 0, 0))
        elif kind in _HOLDERS:
            children = node.values() if kind is dict else node
            for child in children:
                if not self._make(child, parts, makes):
                    return False
            keys = self.objects(node) if kind is dict else 0
            makes.append(self._holder(_HOLDERS[kind], len(node), keys))
        else:
            return False
        return True

    def _holder(self, kind: int, count: int, keys: int = 0) -> tuple[int, ...]:
        return kind, 0, 0, count, keys, 0, 0, 0

    def _leaf(self, part: Part) -> list[tuple[int, ...]]:
        if not part.has_data:
            return [(_OBJECT, 0, self.object(part.leaf.value), 0, 0, 0, 0, 0)]  # type: ignore[union-attr]
        dtype = self.object(np.dtype(float))
        kind = "array" if isinstance(part.leaf, Fixed) else part.leaf.kind
        how = {"float": _FLOAT, "scalar": _SCALAR}.get(kind, _NEW_ARRAY)
        size = math.prod(part.shape)
        made = how, 8 * part.offset, dtype, len(part.shape), self.words(part.shape), 8 * size, size, id(np.ndarray)
        if part.matrix is None:
            return [made]
        return [made, (_CALL, 0, self.object(part.matrix.build), 0, 0, 0, 0, 0)]


_NEW_ARRAY, _FLOAT, _SCALAR, _OBJECT, _MAKE_TUPLE, _MAKE_LIST, _MAKE_DICT, _CALL = range(8)
_HOLDERS: dict[type, int] = {tuple: _MAKE_TUPLE, list: _MAKE_LIST, dict: _MAKE_DICT}


# ---- Records ----


class Record(Words):
    """Entries under one environment, and what a call is computed by that none of them takes.

    Without an environment, nothing is compared; without a fallback, the result is then NotImplemented.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        environment: Environment | None = None,
        fallback: Callable[..., Any] | None = None,
    ) -> None:
        super().__init__()
        count = comparisons_at = rest = everything = key = 0
        if environment is not None:
            surroundings = environment.laid_out
            if surroundings is None:
                surroundings = environment.laid_out = Surroundings(environment)
            self.kept.append(surroundings)
            count, comparisons_at = surroundings.count, surroundings.address
            rest = 0 if surroundings.rest is None else id(surroundings.rest)
            everything, key = self.object(environment.unchanged), self.object(OPEN_TAPES)
        self.kept += entries
        self.entries, self.environment = tuple(entries), environment
        self.address = self.words([
            id(self), id(NotImplemented), 0 if fallback is None else self.object(fallback), key, comparisons_at, count,
            rest, everything, id(True), len(entries), *[entry.address for entry in entries],
        ])  # fmt: skip
