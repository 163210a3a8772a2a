"""Trees of arrays: arguments and results that are dicts, lists, tuples, named tuples, dataclasses and None, nested.

A tree is flattened to its leaves and a *structure* that rebuilds the tree from leaves; None is a tree without leaves,
and a value of any other type is a leaf.  ``optree`` does the work.  It is imported when the first tree is flattened, so
programs with arrays and numbers alone never import it.

>>> leaves, structure = flatten({"w": [1.0, 2.0], "b": None})
>>> leaves, paths({"w": [1.0, 2.0], "b": None}, "params")
([1.0, 2.0], ["params['w'][0]", "params['w'][1]"])
>>> unflatten(structure, ["one", "two"])
{'w': ['one', 'two'], 'b': None}
"""

from __future__ import annotations

import dataclasses
import functools
import re
import threading
from collections.abc import Callable, Sequence
from typing import Any

from wengert.errors import ArgumentError

Structure = Any
NAMESPACE = "wengert"
"""The namespace in which dataclasses are registered; types that users register globally are found too."""
_lock = threading.Lock()
_optree: Any = None


def optree() -> Any:
    """Import optree on first use."""
    global _optree
    if _optree is None:
        import optree

        _optree = optree
    return _optree


def flatten(tree: Any) -> tuple[list[Any], Structure]:
    """Return the leaves of a tree from left to right (dicts by sorted keys), and its structure.

    >>> flatten((1.0, {"b": 3.0, "a": 2.0}))[0]
    [1.0, 2.0, 3.0]
    """
    module = _optree or optree()
    while True:
        leaves, structure = module.tree_flatten(tree, namespace=NAMESPACE)
        unknown = {
            type(leaf) for leaf in leaves if hasattr(leaf, "__dataclass_fields__") and not isinstance(leaf, type)
        }
        if not unknown:
            return leaves, structure
        for cls in unknown:
            _register(cls)


@functools.cache
def leaf() -> Structure:
    """Return the structure of a leaf.

    >>> leaf() == flatten(1.0)[1]
    True
    """
    return flatten(0)[1]


@functools.cache
def nothing() -> Structure:
    """Return the structure of None, a tree without leaves.

    >>> nothing() == flatten(None)[1]
    True
    """
    return flatten(None)[1]


def unflatten(structure: Structure, leaves: Sequence[Any]) -> Any:
    """Rebuild a tree from its structure and leaves.

    >>> unflatten(flatten([0, (0, 0)])[1], [1, 2, 3])
    [1, (2, 3)]
    """
    return structure.unflatten(leaves)


def skeleton(structure: Structure) -> Any:
    """Return a tree of the given structure: it can be pickled, and flattens to the structure in another process.

    >>> skeleton(flatten({"a": 1.0, "b": [2.0, None]})[1])
    {'a': 0, 'b': [1, None]}
    """
    return unflatten(structure, range(structure.num_leaves))


def map_leaves(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """Apply a function to every leaf, and to the leaves in its place in other trees of the same structure.

    >>> map_leaves(lambda x: 2 * x, {"a": 1, "b": [2, None]})
    {'a': 2, 'b': [4, None]}
    >>> map_leaves(lambda x, y: x - y, (3, [5]), (1, [2]))
    (2, [3])
    """
    leaves, structure = flatten(tree)
    columns = [leaves, *(flatten(other)[0] for other in others)]
    return unflatten(structure, [function(*row) for row in zip(*columns, strict=True)])


def paths(tree: Any, name: str) -> list[str]:
    """Return the Python expression of each leaf: ``params['layer'][0]``.

    >>> paths([0.0, {"a": 0.0}], "x")
    ['x[0]', "x[1]['a']"]
    """
    structure = flatten(tree)[1]
    return [accessor.codify(name) for accessor in structure.accessors()]


def identifiers(structure: Structure, name: str) -> list[str]:
    """Name each leaf by an identifier, for lists of lines and source code: ``params_layer_0``.

    >>> identifiers(flatten({"layer": [0.0, 0.0]})[1], "params")
    ['params_layer_0', 'params_layer_1']
    """
    names: list[str] = []
    for accessor in structure.accessors():
        written = re.sub(r"\W+", "_", accessor.codify(name)).strip("_")
        while written in names:
            written += "_"
        names.append(written)
    return names


def flatten_as(structure: Structure, tree: Any, what: str) -> list[Any]:
    """Return the leaves of a tree that must have the given structure; raise ArgumentError if it differs.

    >>> flatten_as(flatten({"a": 0.0})[1], {"a": 5.0}, "the tangent of x")
    [5.0]
    """
    try:
        flatten(tree)  # enters dataclasses
        return list(structure.flatten_up_to(tree))
    except (ValueError, TypeError) as error:
        wanted = str(structure).removeprefix("PyTreeSpec(").partition(", namespace=")[0].removesuffix(")")
        raise ArgumentError.at_caller(
            f"{what} does not have the structure {wanted}: {str(error).partition(';')[0]}:",
            "Give it the structure of what it belongs to.",
        ) from error


def _register(cls: type[Any]) -> None:
    """Register a dataclass as a tree of its fields, except those with ``metadata={"static": True}``."""
    fields = dataclasses.fields(cls)
    moving = tuple(f.name for f in fields if not f.metadata.get("static"))
    static = tuple(f.name for f in fields if f.metadata.get("static"))

    def apart(value: Any) -> tuple[Any, Any, Any]:
        return [getattr(value, name) for name in moving], tuple(getattr(value, name) for name in static), moving

    def together(kept: Any, children: Any) -> Any:
        # not by __init__, which may convert, check or compute
        value = object.__new__(cls)
        for name, child in (*zip(moving, children, strict=True), *zip(static, kept, strict=True)):
            object.__setattr__(value, name, child)
        return value

    module = optree()
    with _lock:
        try:
            module.register_pytree_node(
                cls, apart, together, path_entry_type=module.DataclassEntry, namespace=NAMESPACE
            )
        except ValueError as error:
            if "already registered" not in str(error):
                raise
